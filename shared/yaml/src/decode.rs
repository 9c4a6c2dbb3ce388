//! Converts trees to plain data: what go-yaml's decoders of both versions have in common.

pub(crate) mod direct;
pub(crate) mod v2;
pub(crate) mod v3;

use std::collections::HashSet;

use flux_budget::Claim;

use crate::alias::{AliasGuard, Aliases, MAX_COPIED};
use crate::error::Error;
use crate::node::{Kind, Node};
use crate::room::{self, Room};
use crate::scan::MAX_DEPTH;
use crate::value::Value;

/// The state of a walk through a tree, aliases followed.
struct Progress<'n> {
    aliases: Aliases<'n>,
    guard: AliasGuard,
    /// Aliases that are being followed.
    open: HashSet<*const Node>,
    depth: usize,
    room: Room<'n>,
}

impl<'n> Progress<'n> {
    fn new(root: &'n Node, claim: Option<&'n Claim>) -> Self {
        Progress {
            aliases: Aliases::new(root),
            guard: AliasGuard::default(),
            open: HashSet::new(),
            depth: 0,
            room: Room::new(claim),
        }
    }
}

/// A decoder into untyped values.
trait Decoder<'n>: Sized {
    /// A mapping under construction.
    type Building;

    fn progress(&mut self) -> &mut Progress<'n>;

    fn scalar(&mut self, node: &Node) -> Result<Value, Error>;

    fn mapping(&mut self, node: &Node) -> Result<Value, Error>;

    /// Adds the entries of `node` to a mapping under construction.
    fn fill(&mut self, node: &Node, building: &mut Self::Building) -> Result<(), Error>;

    fn node(&mut self, node: &Node) -> Result<Value, Error> {
        self.step()?;
        self.progress().room.take(room::VALUE + node.value.len())?;
        match node.kind {
            Kind::Alias => self.followed(node, Self::node),
            Kind::Scalar => {
                if !self.progress().guard.count_text(node.value.len()) {
                    return Err(Error::Limit(format!(
                        "aliases bring more than {MAX_COPIED} bytes"
                    )));
                }
                self.scalar(node)
            }
            Kind::Sequence => self.nested(|decoder| {
                let items = node.content.iter().map(|item| decoder.node(item));
                Ok(Value::Seq(items.collect::<Result<_, _>>()?))
            }),
            Kind::Mapping => self.nested(|decoder| decoder.mapping(node)),
            Kind::Document => match node.content.first() {
                Some(root) => self.nested(|decoder| decoder.node(root)),
                None => Ok(Value::Null),
            },
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        if self.progress().guard.count() {
            Ok(())
        } else {
            Err(Error::invalid("document contains excessive aliasing"))
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let progress = self.progress();
        progress.depth += 1;
        if progress.depth > MAX_DEPTH {
            return Err(Error::Limit(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        let result = read(self);
        self.progress().depth -= 1;
        result
    }

    fn followed<T>(
        &mut self,
        alias: &Node,
        read: impl FnOnce(&mut Self, &'n Node) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let name = &alias.value;
        let progress = self.progress();
        let Some(target) = progress.aliases.target(alias) else {
            return Err(Error::Invalid(format!(
                "unknown anchor '{name}' referenced"
            )));
        };
        let id = std::ptr::from_ref(alias);
        if !progress.open.insert(id) {
            return Err(Error::Invalid(format!(
                "anchor '{name}' value contains itself"
            )));
        }
        progress.guard.enter();
        let result = self.nested(|decoder| read(decoder, target));
        let progress = self.progress();
        progress.guard.leave();
        progress.open.remove(&id);
        result
    }

    /// Adds the entries of one mapping, or alias of a mapping, that `<<` merges.
    fn merge_one(&mut self, node: &Node, building: &mut Self::Building) -> Result<(), Error> {
        match node.kind {
            Kind::Mapping => {
                self.step()?;
                self.nested(|decoder| decoder.fill(node, building))
            }
            Kind::Alias => {
                let target = self.progress().aliases.target(node);
                if target.is_some_and(|target| target.kind != Kind::Mapping) {
                    return Err(want_map());
                }
                self.step()?;
                self.followed(node, |decoder, source| {
                    decoder.step()?;
                    decoder.fill(source, building)
                })
            }
            _ => Err(want_map()),
        }
    }
}

fn want_map() -> Error {
    Error::invalid("map merge requires map or sequence of maps as the value")
}
