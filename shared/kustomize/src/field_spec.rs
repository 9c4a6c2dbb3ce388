//! Visits the fields of an object that a spec selects (KZ-FS-002 to KZ-FS-008).

use crate::config::FieldSpec;
use crate::error::{Cause, Context, Fail, Limited, Result};
use crate::id::Gvk;
use crate::meter::Meter;
use crate::node::{self, Kind, Node};

/// A walk through an object.
pub(crate) struct Walk<'s> {
    spec: &'s FieldSpec,
    /// The kind and tag of a missing field to create; without it, none is created.
    create: Option<(Kind, &'static str)>,
    meter: &'s Meter,
}

/// Calls `set` for every field of `object` that the spec selects.
pub(crate) fn visit(
    object: &mut Node,
    spec: &FieldSpec,
    create: Option<(Kind, &'static str)>,
    meter: &Meter,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    meter.steps(1)?;
    let gvk = Gvk::new(node::api_version(object), node::kind_field(object));
    if !gvk.is_selected(&spec.gvk) {
        return Ok(());
    }
    let walk = Walk {
        spec,
        create,
        meter,
    };
    let path = node::split_path(&spec.path, '/');
    match walk.step(object, &path, 1, set) {
        Ok(()) => Ok(()),
        Err(fail) => {
            let id = crate::id::ResId {
                gvk,
                name: text(object, "name"),
                namespace: text(object, "namespace"),
            };
            // The error for a path that nests too deep is that of reading it.
            if matches!(fail.cause, Cause::Limit(Limited::Nesting, _)) {
                let start: String = spec.path.chars().take(40).collect();
                return Err(fail.within(|| format!("field '{start}...' of object {id}")));
            }
            let fail = meter.in_object_of(&id.gvk.kind, fail);
            Err(fail.within(|| format!("considering field '{}' of object {id}", spec.path)))
        }
    }
}

fn in_list(fail: Fail, path: &[String]) -> Fail {
    if fail.is_final() {
        return fail;
    }
    fail.within(|| format!("visit traversal on path: {}", crate::go::list_of(path)))
}

fn text(object: &Node, field: &str) -> String {
    node::meta_field(object, field).map_or_else(String::new, |value| value.value.clone())
}

impl Walk<'_> {
    fn step(
        &self,
        at: &mut Node,
        path: &[String],
        depth: usize,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        self.meter.steps(1)?;
        if at.kind != Kind::Scalar {
            Meter::fits(depth)?;
        }
        let Some((part, rest)) = path.split_first() else {
            return set(at);
        };
        if node::is_null(at) {
            return Ok(());
        }
        match at.kind {
            Kind::Mapping => self.enter(at, part, rest, depth, set),
            Kind::Sequence => at
                .content
                .iter_mut()
                .try_for_each(|item| self.step(item, path, depth + 1, set))
                .map_err(|fail| in_list(fail, path)),
            _ => Err("expected sequence or mapping node".into()),
        }
    }

    fn enter(
        &self,
        at: &mut Node,
        part: &str,
        rest: &[String],
        depth: usize,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let (name, is_list) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        if name.is_empty() {
            return Err("cannot set or create an empty field name".into());
        }
        let creates = self.create.filter(|_| self.spec.create && !is_list);
        // The kind of a missing field, and the replacement of a null.
        let (made, fill) = match creates {
            None => (None, is_list.then_some((Kind::Sequence, ""))),
            Some((kind, tag)) if rest.is_empty() => (Some(kind), Some((kind, tag))),
            Some(_) => (Some(Kind::Mapping), Some((Kind::Mapping, "!!map"))),
        };
        let found = match made {
            Some(kind) => {
                node::lookup_create(at, kind, &[name]).context(|| format!("fieldName: {name}"))?
            }
            // A name that is a number or a `[key=value]` selects a list item, but this is a mapping.
            None => match node::lookup(at, &[name]).context(|| format!("fieldName: {name}"))? {
                Some(_) => at.get_mut(name.trim()),
                None => None,
            },
        };
        let Some(field) = found else {
            return Ok(());
        };
        if node::is_null(field)
            && let Some((kind, tag)) = fill
        {
            field.kind = kind;
            field.tag = tag.into();
        }
        self.step(field, rest, depth + 1, set)
    }
}
