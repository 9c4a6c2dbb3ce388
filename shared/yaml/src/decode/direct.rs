//! Decodes common documents without a tree: with the result of [`v2`](super::v2), in a fraction of the time and memory.
//!
//! Common are manifests and values files: anchors only on scalars, no tags, keys that are words or numbers, no errors.
//! Everything else is left to the full reader, which starts over.

use std::borrow::Cow;
use std::collections::HashMap;

use flux_budget::Claim;

use super::v2;
use crate::parse::{Event, EventKind, Parser};
use crate::resolve::{self, Flavor};
use crate::room::{self, Room};
use crate::scan::{MAX_DEPTH, ScalarStyle};
use crate::source::Source;
use crate::value::{Map, Value};

/// The first document; `None` if it needs the full reader.
///
/// Its memory is claimed; if the claim fails, the full reader reports that.
pub(crate) fn decode(source: &Source<'_>, strict: bool, claim: Option<&Claim>) -> Option<Value> {
    let mut room = Room::new(claim);
    let value = read(source, strict, &mut room);
    if value.is_none() {
        room.release();
    }
    value
}

fn read(source: &Source<'_>, strict: bool, room: &mut Room<'_>) -> Option<Value> {
    if source.error(Flavor::V2).is_some() {
        return None;
    }
    let mut reader = Reader {
        parser: Parser::new(&source.text, Flavor::V2),
        strict,
        anchors: HashMap::new(),
        uses: 0,
        room,
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
    // Errors after the root are errors of the document, too.
    reader.next()?;
    Some(value)
}

/// The maximum bytes of an anchored scalar, each use of which takes that much memory.
const MAX_NAMED: usize = 256;

/// The maximum number of alias uses. Documents with more need the counting of [`AliasGuard`](crate::alias::AliasGuard).
const MAX_USES: usize = 100_000;

struct Reader<'s, 'r, 'c> {
    parser: Parser<'s>,
    strict: bool,
    /// The anchored scalars so far.
    anchors: HashMap<&'s str, Value>,
    /// The number of alias uses.
    uses: usize,
    room: &'r mut Room<'c>,
}

impl<'s> Reader<'s, '_, '_> {
    fn next(&mut self) -> Option<Event<'s>> {
        let event = self.parser.next_event().ok()?;
        let named = event.properties.as_ref();
        named
            .is_none_or(|properties| properties.tag.is_none())
            .then_some(event)
    }

    fn value(&mut self, event: Event<'s>, depth: usize) -> Option<Value> {
        let anchor = event.properties.and_then(|properties| properties.anchor);
        let text = match &event.kind {
            EventKind::Scalar(text, _) => text.len(),
            EventKind::Alias(_) => MAX_NAMED,
            _ => 0,
        };
        self.room.take(room::VALUE + text).ok()?;
        match event.kind {
            EventKind::Scalar(text, style) => {
                let short = text.len() <= MAX_NAMED;
                let value = scalar(text, style);
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor, short.then(|| value.clone())?);
                }
                Some(value)
            }
            EventKind::Alias(name) => {
                self.uses += 1;
                let named = self.anchors.get(name).filter(|_| self.uses <= MAX_USES);
                named.cloned()
            }
            _ if anchor.is_some() || depth >= MAX_DEPTH => None,
            EventKind::SequenceStart { .. } => self.sequence(depth + 1),
            EventKind::MappingStart { .. } => self.mapping(depth + 1),
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
            let event = self.next()?;
            let key = match event.kind {
                _ if event.properties.is_some() => return None,
                EventKind::MappingEnd => return Some(Value::Map(map)),
                EventKind::Scalar(text, style) => {
                    self.room.take(room::VALUE + text.len()).ok()?;
                    key(text, style)?
                }
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

/// The value of a plain scalar.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::Composer;

    /// The value of a text according to the full reader.
    fn full(text: &str) -> Option<Value> {
        let source = Source::new(text.as_bytes()).unwrap();
        let document = Composer::new(&source, Flavor::V2).next_document();
        let root = document.ok()??.content.into_iter().next()?;
        v2::decode(&root, false, None).ok()
    }

    #[test]
    fn anchored_scalars_are_read_directly() {
        for text in [
            "a: &a http\nb: *a\n",
            "a: &a 1\nb: [*a, *a]\nc: {d: *a}\n",
            "a: &a\nb: *a\n",
            "a: &a \"x\\ny\"\nb: *a\na2: &a 2.5\nb2: *a\n",
            "- &a yes\n- *a\n- &a |\n  text\n- *a\n",
            "&a top",
        ] {
            let source = Source::new(text.as_bytes()).unwrap();
            let value = decode(&source, false, None);
            assert!(value.is_some(), "{text}");
            assert_eq!(value, full(text), "{text}");
        }
        for text in [
            "a: *a\nb: &a 1\n",
            "a: &a {b: 1}\nb: *a\n",
            "a: &a [1]\nb: *a\n",
            "&a k: 1\nb: *a\n",
            "a: &a k\n*a : 1\n",
            "a: &a !!str 1\nb: *a\n",
            "a: &a {b: 1}\n<<: *a\n",
        ] {
            let source = Source::new(text.as_bytes()).unwrap();
            assert_eq!(decode(&source, false, None), None, "{text}");
        }
    }
}
