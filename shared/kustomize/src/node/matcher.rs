//! Finds the nodes that a replacement's field path selects.

use std::rc::Rc;

use super::path::{atoi, element, is_list_index, kind_for, list_index};
use super::{Changes, Kind, Node, contents, fields, scalar, set_field};
use crate::error::Result;
use crate::meter::Meter;
use crate::regexp::Regex;

/// The result of a replacement's field path.
#[derive(Debug)]
pub(crate) enum Match {
    /// Nodes, each as its path of indexes through `content`.
    Here(Vec<Vec<usize>>),
    /// The number of places inside the text of a scalar, parsed as YAML: they count as found, but changing them has no
    /// effect.
    Inside(usize),
}

impl Match {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Match::Here(places) => places.is_empty(),
            Match::Inside(found) => *found == 0,
        }
    }
}

/// Finds every node that a replacement's field path selects, and creates missing ones if `create` is a kind
/// (KZ-REPL-014 to KZ-REPL-019).
pub(crate) fn find_all(
    node: &mut Node,
    path: &[String],
    create: Option<Kind>,
    meter: &Rc<Meter>,
) -> Result<Match> {
    let mut finder = Finder {
        meter,
        create,
        found: Vec::new(),
        inside: 0,
        at: Vec::new(),
    };
    finder.visit(node, path)?;
    Ok(if finder.found.is_empty() && finder.inside > 0 {
        Match::Inside(finder.inside)
    } else {
        Match::Here(finder.found)
    })
}

struct Finder<'m> {
    meter: &'m Rc<Meter>,
    create: Option<Kind>,
    found: Vec<Vec<usize>>,
    inside: usize,
    at: Vec<usize>,
}

impl Finder<'_> {
    fn total(&self) -> usize {
        self.found.len() + self.inside
    }

    fn visit(&mut self, node: &mut Node, path: &[String]) -> Result<()> {
        let Some((part, rest)) = path.split_first() else {
            return self.note();
        };
        self.meter.steps(1)?;
        if let Some(index) = atoi(part).filter(|index| *index >= 0) {
            return self.index(node, index, path);
        }
        if is_list_index(part) {
            return self.elements(node, part, rest, false);
        }
        if part == "*" {
            fields::expect(node, Kind::Sequence)?;
            for index in 0..node.content.len() {
                self.down(node, index, rest)?;
            }
            return Ok(());
        }
        self.field(node, part, rest)
    }

    fn note(&mut self) -> Result<()> {
        self.meter.work(self.at.len())?;
        self.found.push(self.at.clone());
        Ok(())
    }

    /// Fails if the collection at the current path may not get children.
    fn fits(&self) -> Result<()> {
        Meter::fits(self.at.len() + 2)
    }

    fn down(&mut self, node: &mut Node, index: usize, rest: &[String]) -> Result<()> {
        let Some(child) = node.content.get_mut(index) else {
            return Ok(());
        };
        self.at.push(index);
        let result = self.visit(child, rest);
        self.at.pop();
        result
    }

    fn field(&mut self, node: &mut Node, name: &str, rest: &[String]) -> Result<()> {
        if fields::get(node, name)?.is_none() {
            let Some(kind) = self.create else {
                return Ok(());
            };
            if fields::is_null(node) {
                // Nodes created below a null are never printed.
                self.inside += 1;
                return Ok(());
            }
            self.fits()?;
            let fresh = Node::new(kind_for(rest.first().map(String::as_str), kind));
            set_field(node, name, fresh, &mut Changes::default())?;
        }
        let Some(at) = node.position(name) else {
            return Ok(());
        };
        let is_text = node
            .content
            .get(at + 1)
            .is_some_and(|value| value.kind == Kind::Scalar);
        if is_text && !rest.is_empty() {
            let value = &node.content[at + 1].value;
            return self.text(value, rest);
        }
        self.down(node, at + 1, rest)
    }

    /// The path continues inside a scalar's text (KZ-REPL-024).
    fn text(&mut self, text: &str, rest: &[String]) -> Result<()> {
        let (parsed, _charge) = super::read::parse_one(text, self.meter)?;
        let Some(mut inner) = parsed else {
            return Err("unexpected null node".into());
        };
        if let Match::Here(found) = find_all(&mut inner, rest, self.create, self.meter)? {
            self.inside += found.len();
        }
        Ok(())
    }

    fn index(&mut self, node: &mut Node, index: i64, path: &[String]) -> Result<()> {
        fields::expect(node, Kind::Sequence)?;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let rest = path.get(1..).unwrap_or_default();
        if node.content.len() == index
            && let Some(kind) = self.create
        {
            self.fits()?;
            let fresh = kind_for(rest.first().map(String::as_str), kind);
            node.content.push(Node::new(fresh));
        }
        if index >= node.content.len() {
            return Err(format!(
                "index {index} specified but only {} elements found",
                node.content.len()
            )
            .into());
        }
        self.down(node, index, rest)
    }

    fn elements(
        &mut self,
        node: &mut Node,
        part: &str,
        rest: &[String],
        created: bool,
    ) -> Result<()> {
        let (key, pattern) = list_index(part)?;
        let before = self.total();
        fields::expect(node, Kind::Sequence)?;
        let mut regex = None;
        for index in 0..node.content.len() {
            self.meter.steps(1)?;
            let item = &node.content[index];
            let text = if key.is_empty() {
                contents(item)
            } else {
                match item.get(key) {
                    Some(value) => contents(value),
                    None => continue,
                }
            };
            if regex.is_none() {
                regex = Some(Regex::new(pattern)?);
            }
            let Some(regex) = &regex else {
                continue;
            };
            self.meter.steps(regex.cost(&text))?;
            if !regex.is_match(text.trim()) {
                continue;
            }
            if key.is_empty() {
                self.at.push(index);
                let noted = self.note();
                self.at.pop();
                noted?;
            } else {
                self.down(node, index, rest)?;
            }
        }
        if self.create.is_none() || self.total() > before || created {
            return Ok(());
        }
        self.fits()?;
        let mut fresh = element(key, pattern);
        if key.is_empty() {
            fresh = scalar(pattern);
        }
        node.content.push(fresh);
        self.elements(node, part, rest, true)
    }
}
