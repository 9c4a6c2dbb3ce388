//! Ordinary documents read without a tree: as [`v2`](super::v2) reads them, in a fraction of the time and memory.
//!
//! What is ordinary is what manifests and values are: no anchors, no tags, keys that are words or numbers, nothing wrong.
//! Everything else is left to the full reader, which starts anew.

use std::borrow::Cow;

use super::v2;
use crate::parse::{Event, EventKind, Parser};
use crate::resolve::{self, Flavor};
use crate::scan::{MAX_DEPTH, ScalarStyle};
use crate::source::Source;
use crate::value::{Map, Value};

/// The first document, or `None` when it takes the full reader.
pub(crate) fn decode(source: &Source<'_>, strict: bool) -> Option<Value> {
    if source.error(Flavor::V2).is_some() {
        return None;
    }
    let mut reader = Reader {
        parser: Parser::new(&source.text, Flavor::V2),
        strict,
    };
    let mut event = reader.next()?;
    if event.kind == EventKind::StreamStart {
        event = reader.next()?;
    }
    match event.kind {
        EventKind::StreamEnd => return Some(Value::Null),
        EventKind::DocumentStart => {}
        _ => return None,
    }
    let root = reader.next()?;
    let value = reader.value(root, 0)?;
    // What is wrong behind the root is an error of the document, too.
    reader.next()?;
    Some(value)
}

struct Reader<'s> {
    parser: Parser<'s>,
    strict: bool,
}

impl<'s> Reader<'s> {
    fn next(&mut self) -> Option<Event<'s>> {
        let event = self.parser.next_event().ok()?;
        event.properties.is_none().then_some(event)
    }

    fn value(&mut self, event: Event<'s>, depth: usize) -> Option<Value> {
        match event.kind {
            EventKind::Scalar(text, style) => Some(scalar(text, style)),
            EventKind::SequenceStart { .. } if depth < MAX_DEPTH => self.sequence(depth + 1),
            EventKind::MappingStart { .. } if depth < MAX_DEPTH => self.mapping(depth + 1),
            _ => None,
        }
    }

    fn sequence(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if event.kind == EventKind::SequenceEnd {
                return Some(Value::Seq(items));
            }
            items.push(self.value(event, depth)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        loop {
            let key = match self.next()?.kind {
                EventKind::MappingEnd => return Some(Value::Map(map)),
                EventKind::Scalar(text, style) => key(text, style)?,
                _ => return None,
            };
            let event = self.next()?;
            let value = self.value(event, depth)?;
            if map.insert(key, value).is_some() && self.strict {
                return None;
            }
        }
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    match style {
        ScalarStyle::Plain => plain(text),
        _ => Value::String(text.into_owned()),
    }
}

/// What a plain scalar means.
pub(crate) fn plain<'t>(text: impl Into<Cow<'t, str>>) -> Value {
    let text = text.into();
    match v2::value_of(resolve::plain(Flavor::V2, &text, false)) {
        Some(value) => value,
        None => Value::String(text.into_owned()),
    }
}

fn key(text: Cow<'_, str>, style: ScalarStyle) -> Option<String> {
    if style == ScalarStyle::Plain && text == "<<" {
        return None;
    }
    match scalar(text, style) {
        Value::String(text) => Some(text),
        Value::Int(int) => Some(int.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
