//! Events to nodes.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::error::Error;
use crate::node::{Comments, Kind, Node, Style};
use crate::parse::{Event, EventKind, Parser};
use crate::resolve::{self, Flavor};
use crate::scan::{MAX_DEPTH, ScalarStyle};
use crate::source::Source;

/// Reads the documents of a stream one after the other.
pub(crate) struct Composer<'s> {
    source: &'s Source<'s>,
    parser: Parser<'s>,
    flavor: Flavor,
    peeked: Option<Event<'s>>,
    anchors: HashSet<&'s str>,
    depth: usize,
}

impl<'s> Composer<'s> {
    pub(crate) fn new(source: &'s Source<'s>, flavor: Flavor) -> Self {
        Composer {
            parser: Parser::new(&source.text, flavor),
            source,
            flavor,
            peeked: None,
            anchors: HashSet::new(),
            depth: 0,
        }
    }

    /// The next document, or `None` behind the last.
    pub(crate) fn next_document(&mut self) -> Result<Option<Node>, Error> {
        let read = self.document();
        if self.parser.touched_end()
            && !matches!(&read, Err(Error::Limit(_)))
            && let Some(error) = self.source.error(self.flavor)
        {
            return Err(error);
        }
        read
    }

    fn next(&mut self) -> Result<Event<'s>, Error> {
        match self.peeked.take() {
            Some(event) => Ok(event),
            None => self
                .parser
                .next_event()
                .map_err(|fault| fault.into_error(self.flavor)),
        }
    }

    fn peek(&mut self) -> Result<&EventKind<'s>, Error> {
        if self.peeked.is_none() {
            self.peeked = Some(self.next()?);
        }
        Ok(self
            .peeked
            .as_ref()
            .map_or(&EventKind::StreamEnd, |event| &event.kind))
    }

    fn document(&mut self) -> Result<Option<Node>, Error> {
        let mut event = self.next()?;
        if event.kind == EventKind::StreamStart {
            event = self.next()?;
        }
        if event.kind != EventKind::DocumentStart {
            return Ok(None);
        }
        if self.flavor == Flavor::V2 {
            // There, names are known within a document only.
            self.anchors.clear();
        }
        let mut node = node_at(Kind::Document, &mut event);
        let root = self.value()?;
        node.content.push(root);
        let end = self.next()?;
        set_closing(&mut node, end.comments, false);
        Ok(Some(node))
    }

    fn value(&mut self) -> Result<Node, Error> {
        let event = self.next()?;
        match event.kind {
            EventKind::Alias(name) => self.alias(event, name),
            EventKind::Scalar(..) => Ok(self.scalar(event)),
            EventKind::SequenceStart { flow } => self.nested(|c| c.sequence(event, flow)),
            EventKind::MappingStart { flow } => self.nested(|c| c.mapping(event, flow)),
            _ => Err(Error::invalid("unexpected end of document")),
        }
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Node, Error>,
    ) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::Limit(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        let node = read(self);
        self.depth -= 1;
        node
    }

    fn alias(&mut self, mut event: Event<'s>, name: &'s str) -> Result<Node, Error> {
        let mut node = node_at(Kind::Alias, &mut event);
        if !self.anchors.contains(name) {
            return Err(Error::Invalid(format!(
                "unknown anchor '{name}' referenced"
            )));
        }
        name.clone_into(&mut node.value);
        Ok(node)
    }

    fn anchor(&mut self, node: &mut Node, event: &Event<'s>) {
        if let Some(name) = event.anchor {
            self.anchors.insert(name);
            node.anchor = Some(name.into());
        }
    }

    fn scalar(&mut self, mut event: Event<'s>) -> Node {
        let mut node = node_at(Kind::Scalar, &mut event);
        self.anchor(&mut node, &event);
        let EventKind::Scalar(value, style) = event.kind else {
            return node;
        };
        let style = match style {
            ScalarStyle::Plain => Style::PLAIN,
            ScalarStyle::Single => Style::SINGLE_QUOTED,
            ScalarStyle::Double => Style::DOUBLE_QUOTED,
            ScalarStyle::Literal => Style::LITERAL,
            ScalarStyle::Folded => Style::FOLDED,
        };
        let default = if style != Style::PLAIN {
            resolve::STR
        } else if value == "<<" {
            resolve::MERGE
        } else {
            ""
        };
        self.tag(&mut node, event.tag, default, |_| {
            resolve::plain_tag_v3(&value)
        });
        node.style = node.style.with(style);
        node.value = value.into_owned();
        node
    }

    /// Sets the tag: as v3 does, in short form and resolved; for v2 as it stands.
    fn tag(
        &self,
        node: &mut Node,
        tag: Option<String>,
        default: &'static str,
        resolve: impl FnOnce(&Node) -> &'static str,
    ) {
        match (self.flavor, tag) {
            (Flavor::V2, tag) => node.tag = tag.map_or(Cow::Borrowed(""), Cow::Owned),
            (Flavor::V3, Some(tag)) if tag != "!" => {
                node.tag = resolve::short_tag_owned(&tag);
                node.style = node.style.with(Style::TAGGED);
            }
            (Flavor::V3, _) if default.is_empty() => node.tag = Cow::Borrowed(resolve(node)),
            (Flavor::V3, _) => node.tag = Cow::Borrowed(default),
        }
    }

    fn sequence(&mut self, mut event: Event<'s>, flow: bool) -> Result<Node, Error> {
        let mut node = node_at(Kind::Sequence, &mut event);
        self.anchor(&mut node, &event);
        self.tag(&mut node, event.tag.take(), resolve::SEQ, |_| resolve::SEQ);
        if flow {
            node.style = node.style.with(Style::FLOW);
        }
        while *self.peek()? != EventKind::SequenceEnd {
            let item = self.value()?;
            node.content.push(item);
        }
        // Nodes are large, and what growing leaves free would be a third of a tree.
        node.content.shrink_to_fit();
        let end = self.next()?;
        set_closing(&mut node, end.comments, true);
        Ok(node)
    }

    fn mapping(&mut self, mut event: Event<'s>, flow: bool) -> Result<Node, Error> {
        let mut node = node_at(Kind::Mapping, &mut event);
        self.anchor(&mut node, &event);
        self.tag(&mut node, event.tag.take(), resolve::MAP, |_| resolve::MAP);
        if flow {
            node.style = node.style.with(Style::FLOW);
        }
        while *self.peek()? != EventKind::MappingEnd {
            let mut key = self.value()?;
            if !flow && let Some(last) = node.content.len().checked_sub(2) {
                // A comment below an entry is found when the next key is read.
                give_foot(&mut key, node.content.get_mut(last));
            }
            let mut value = self.value()?;
            if key.foot_comment().is_empty() {
                give_foot(&mut value, Some(&mut key));
            }
            node.content.push(key);
            node.content.push(value);
        }
        node.content.shrink_to_fit();
        let end = self.next()?;
        set_closing(&mut node, end.comments, true);
        if !flow && let Some(last) = node.content.len().checked_sub(2) {
            let mut holder = Node::new(Kind::Scalar);
            std::mem::swap(&mut holder.comments, &mut node.comments);
            give_foot(&mut holder, node.content.get_mut(last));
            node.comments = holder.comments;
        }
        Ok(node)
    }
}

fn node_at(kind: Kind, event: &mut Event<'_>) -> Node {
    let mut node = Node::new(kind);
    node.line = event.start.line + 1;
    node.column = event.start.column + 1;
    node.comments = event.comments.take();
    node
}

/// Moves a comment below one node to another.
fn give_foot(from: &mut Node, to: Option<&mut Node>) {
    let (Some(comments), Some(to)) = (&mut from.comments, to) else {
        return;
    };
    if comments.foot.is_empty() {
        return;
    }
    to.comments_mut().foot = std::mem::take(&mut comments.foot);
    if comments.is_empty() {
        from.comments = None;
    }
}

/// The comments that the end of a collection carries replace those at its side and below it.
fn set_closing(node: &mut Node, closing: Option<Box<Comments>>, line: bool) {
    if node.comments.is_none() && closing.is_none() {
        return;
    }
    let closing = closing.map(|boxed| *boxed).unwrap_or_default();
    let comments = node.comments_mut();
    comments.foot = closing.foot;
    if line {
        comments.line = closing.line;
    }
    if comments.is_empty() {
        node.comments = None;
    }
}
