//! Decodes block mappings of one-line scalars, such as the head of a manifest.
//!
//! The text has been [skimmed](super::skim) and is known to be well-formed; such a head is decoded in a fifth of the
//! time that the scanner and the parser need.

use super::skim;
use crate::decode::direct::plain;
use crate::value::{Map, Value};

/// The mapping; `None` if it contains anything that this decoder does not support.
pub(super) fn decode(text: &str) -> Option<Value> {
    let mut lines = Lines { text, next: None };
    lines.advance();
    let map = lines.mapping(0)?;
    lines.next.is_none().then_some(Value::Map(map))
}

struct Lines<'t> {
    text: &'t str,
    /// The indentation of the next line that has more than a comment, and its text.
    next: Option<(usize, &'t str)>,
}

impl Lines<'_> {
    fn advance(&mut self) {
        self.next = None;
        while !self.text.is_empty() {
            let (line, rest) = self.text.split_once('\n').unwrap_or((self.text, ""));
            self.text = rest;
            let indented = line.trim_end_matches(' ');
            let content = indented.trim_start_matches(' ');
            if !content.is_empty() && !content.starts_with('#') {
                self.next = Some((indented.len() - content.len(), content));
                return;
            }
        }
    }

    /// The mapping whose keys are in this column, the first of which is next.
    fn mapping(&mut self, column: usize) -> Option<Map> {
        let mut map = Map::new();
        while let Some((_, content)) = self.next.filter(|(indent, _)| *indent == column) {
            let key = skim::key(content)?;
            let text = content.get(key.len() + 1..)?.trim_start_matches(' ');
            let key = match key.as_bytes() {
                [b'"' | b'\'', key @ .., _] => std::str::from_utf8(key).ok()?.to_owned(),
                _ => match plain(key) {
                    Value::String(key) => key,
                    _ => return None,
                },
            };
            self.advance();
            let further = self.next.filter(|(indent, _)| *indent > column);
            let value = match (text.is_empty() || text.starts_with('#'), further) {
                (true, Some((column, _))) => Value::Map(self.mapping(column)?),
                (true, None) => Value::Null,
                (false, None) => scalar(text)?,
                // The scalar continues, or is a block of lines.
                (false, Some(_)) => return None,
            };
            map.insert(key, value);
        }
        let ended = self.next.is_none_or(|(indent, _)| indent < column);
        ended.then_some(map)
    }
}

/// A scalar on the rest of a line, or an empty collection.
fn scalar(text: &str) -> Option<Value> {
    let (value, rest) = match text.as_bytes() {
        [quote @ (b'"' | b'\''), ..] => {
            let (inner, rest) = text.get(1..)?.split_once(char::from(*quote))?;
            // Escapes, including a quote within single quotes.
            if inner.contains('\\') || rest.starts_with('\'') {
                return None;
            }
            (Value::from(inner), rest)
        }
        [b'{', b'}', ..] => (Value::map(), text.get(2..)?),
        [b'[', b']', ..] => (Value::Seq(Vec::new()), text.get(2..)?),
        [b'{' | b'[' | b'|' | b'>', ..] => return None,
        _ => {
            let end = text.find(" #").unwrap_or(text.len());
            let value = plain(text.get(..end)?.trim_end_matches(' '));
            // JSON decides about floats.
            (!matches!(value, Value::Float(_))).then_some((value, ""))?
        }
    };
    skim::ends(rest).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::sigs::from_str;

    #[test]
    fn heads_are_read_as_the_parser_reads_them() {
        for text in [
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n",
            "kind: \"Role\" # c\n\n# c\nmetadata:\n    name: 'x y'\n    labels:\n        a.b/c: \"1\"\n        num: 12\n        t: yes\n        e:\n        m: {}\n        l: [] # c\n    annotations:\n  # c\n",
            "metadata:\n  annotations:\n    \"helm.sh/hook\": pre-install,post-install\n    'a': null\n    b: 2024-01-01\n    c: 0x10\n    d: a#b\n    helm.sh/hook-weight: -5\n",
            "kind: a\nkind: b\n",
            "metadata:\nkind: Ünïcode ✓\n",
        ] {
            assert_eq!(decode(text), Some(from_str(text).unwrap()), "{text}");
        }
        for text in [
            "metadata:\n  - a\n",
            "metadata:\n- a\n",
            "kind: a\n  b\n",
            "kind: |\n  a\n",
            "kind: 'it''s'\n",
            "kind: \"a\\n\"\n",
            "kind: {a: b}\n",
            "num: 1.5\n",
            "n: a\n",
            "on: 1\n",
            "- a\n",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
