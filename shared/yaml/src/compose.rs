//! Composes nodes from events.

use std::borrow::Cow;
use std::collections::HashSet;

use flux_budget::Claim;

use crate::error::Error;
use crate::node::{Comments, Kind, Node, Style};
use crate::parse::{Event, EventKind, Parser};
use crate::resolve::{self, Flavor};
use crate::room::{self, Room};
use crate::scan::{MAX_DEPTH, ScalarStyle};
use crate::source::Source;
use crate::span::{Span, Spans};

/// Reads the documents of a stream one by one.
pub(crate) struct Composer<'s> {
    source: &'s Source<'s>,
    parser: Parser<'s>,
    flavor: Flavor,
    anchors: HashSet<&'s str>,
    depth: usize,
    /// The children read so far of all open collections, the innermost's last, so that each collection allocates the
    /// space for its children once and exactly.
    children: Vec<Node>,
    room: Room<'s>,
    spans: Option<Spans<'s>>,
}

impl<'s> Composer<'s> {
    pub(crate) fn new(source: &'s Source<'s>, flavor: Flavor) -> Self {
        Composer {
            parser: Parser::new(&source.text, flavor),
            source,
            flavor,
            anchors: HashSet::new(),
            depth: 0,
            children: Vec::new(),
            room: Room::new(None),
            spans: None,
        }
    }

    /// Takes the positions of all scalars as well.
    pub(crate) fn with_spans(mut self, spans: Spans<'s>) -> Self {
        self.spans = Some(spans);
        self
    }

    /// The positions of the scalars of what was read since the last call, keys included.
    pub(crate) fn take_spans(&mut self) -> Vec<Span> {
        self.spans.as_mut().map(Spans::take).unwrap_or_default()
    }

    /// Claims the memory of what is read from `claim`.
    pub(crate) fn within(mut self, claim: Option<&'s Claim>) -> Self {
        self.room = Room::new(claim);
        self
    }

    /// Releases the claimed memory, once all documents that were read have been dropped.
    pub(crate) fn release(self) {
        self.room.release();
    }

    /// The next document; `None` after the last one.
    pub(crate) fn next_document(&mut self) -> Result<Option<Node>, Error> {
        let read = self.document();
        if self.parser.touched_end()
            && !matches!(&read, Err(Error::Limit(_) | Error::Memory(_)))
            && let Some(error) = self.source.error(self.flavor)
        {
            return Err(error);
        }
        read
    }

    fn next(&mut self) -> Result<Event<'s>, Error> {
        let event = self.parser.next_event();
        let event = event.map_err(|fault| fault.into_error(self.flavor))?;
        if let Some(spans) = &mut self.spans {
            spans.see(&event);
        }
        Ok(event)
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
            // In v2, anchors are valid within one document only.
            self.anchors.clear();
        }
        let mut node = node_at(Kind::Document, &mut event);
        let root = self.next()?;
        self.children.clear();
        self.value(root)?;
        node.content = std::mem::take(&mut self.children);
        let end = self.next()?;
        set_closing(&mut node, end.comments, false);
        Ok(Some(node))
    }

    /// Reads a node and appends it to the children read so far.
    fn value(&mut self, event: Event<'s>) -> Result<(), Error> {
        let text = match &event.kind {
            EventKind::Scalar(text, _) => text.len(),
            EventKind::Alias(name) => name.len(),
            _ => 0,
        };
        self.room.take(room::NODE + text)?;
        match event.kind {
            EventKind::Alias(name) => self.alias(event, name),
            EventKind::Scalar(..) => {
                self.scalar(event);
                Ok(())
            }
            EventKind::SequenceStart { flow } => self.nested(|c| c.sequence(event, flow)),
            EventKind::MappingStart { flow } => self.nested(|c| c.mapping(event, flow)),
            _ => Err(Error::invalid("unexpected end of document")),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::Limit(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn alias(&mut self, mut event: Event<'s>, name: &'s str) -> Result<(), Error> {
        let mut node = node_at(Kind::Alias, &mut event);
        if !self.anchors.contains(name) {
            return Err(Error::Invalid(format!(
                "unknown anchor '{name}' referenced"
            )));
        }
        name.clone_into(&mut node.value);
        self.children.push(node);
        Ok(())
    }

    /// Sets the anchor of a node; returns its tag.
    fn anchor(&mut self, node: &mut Node, event: &mut Event<'s>) -> Option<String> {
        let properties = event.properties.take()?;
        if let Some(name) = properties.anchor {
            self.anchors.insert(name);
            node.anchor = Some(name.into());
        }
        properties.tag
    }

    fn scalar(&mut self, mut event: Event<'s>) {
        let mut node = node_at(Kind::Scalar, &mut event);
        let tag = self.anchor(&mut node, &mut event);
        let EventKind::Scalar(value, style) = event.kind else {
            return;
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
        self.tag(&mut node, tag, default, |_| resolve::plain_tag_v3(&value));
        node.style = node.style.with(style);
        node.value = value.into_owned();
        self.children.push(node);
    }

    /// Sets the tag: resolved and in short form for v3, unchanged for v2.
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

    fn sequence(&mut self, mut event: Event<'s>, flow: bool) -> Result<(), Error> {
        let mut node = node_at(Kind::Sequence, &mut event);
        let tag = self.anchor(&mut node, &mut event);
        self.tag(&mut node, tag, resolve::SEQ, |_| resolve::SEQ);
        if flow {
            node.style = node.style.with(Style::FLOW);
        }
        let first = self.children.len();
        let end = loop {
            let event = self.next()?;
            if event.kind == EventKind::SequenceEnd {
                break event;
            }
            self.value(event)?;
        };
        node.content = self.children.split_off(first);
        set_closing(&mut node, end.comments, true);
        self.children.push(node);
        Ok(())
    }

    fn mapping(&mut self, mut event: Event<'s>, flow: bool) -> Result<(), Error> {
        let mut node = node_at(Kind::Mapping, &mut event);
        let tag = self.anchor(&mut node, &mut event);
        self.tag(&mut node, tag, resolve::MAP, |_| resolve::MAP);
        if flow {
            node.style = node.style.with(Style::FLOW);
        }
        let first = self.children.len();
        let end = loop {
            let event = self.next()?;
            if event.kind == EventKind::MappingEnd {
                break event;
            }
            self.value(event)?;
            let entries = self.children.get_mut(first..);
            if !flow && let Some([last, _, key]) = entries.and_then(<[_]>::last_chunk_mut) {
                // A comment below an entry is found only when the next key is read.
                give_foot(key, Some(last));
            }
            let event = self.next()?;
            self.value(event)?;
            if let Some([key, value]) = self.children.last_chunk_mut()
                && key.foot_comment().is_empty()
            {
                give_foot(value, Some(key));
            }
        };
        node.content = self.children.split_off(first);
        set_closing(&mut node, end.comments, true);
        if !flow && let Some(last) = node.content.len().checked_sub(2) {
            let mut holder = Node::new(Kind::Scalar);
            std::mem::swap(&mut holder.comments, &mut node.comments);
            give_foot(&mut holder, node.content.get_mut(last));
            node.comments = holder.comments;
        }
        self.children.push(node);
        Ok(())
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

/// The comments at the end of a collection replace those next to and below it.
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
