//! Finds a few keys of a mapping whose other keys only need to be well-formed.
//!
//! Most manifests use a small part of YAML: block mappings and sequences, scalars that are plain or quoted on one line,
//! literal and folded text. For such documents one pass over the lines decides whether they are well-formed and where
//! each top-level key is, at a fraction of the cost of parsing them. For a document with anything else (anchors, tags,
//! multi-line flow collections, tabs, odd indentation, ...) `sections` returns `None`, and it is parsed in full.

use crate::resolve::{self, Flavor, Scalar};
use crate::source::Source;

/// The maximum supported nesting of collections.
const MAX_DEPTH: usize = 128;
/// The maximum supported nesting of flow collections.
const MAX_FLOW: usize = 8;
/// The maximum supported length of a key in bytes; go-yaml accepts up to 1,024 characters.
const MAX_KEY: usize = 128;

/// The lines of the wanted top-level keys, in document order; `None` if the document is not plain enough.
pub(super) fn sections(text: &[u8], wanted: impl Fn(&str) -> bool) -> Option<String> {
    let source = Source::new(text).ok()?;
    let text = source.whole()?;
    // Line breaks of other systems, and the byte that ends a text for the scanner.
    if memchr::memchr2(b'\r', 0, text.as_bytes()).is_some()
        || memchr::memchr3_iter(0xC2, 0xE2, 0xEF, text.as_bytes()).any(|at| odd_break(text, at))
    {
        return None;
    }
    let mut skim = Skim {
        text,
        at: 0,
        open: Vec::new(),
        after: After::Nothing,
    };
    let mut found = String::new();
    // Start of the wanted key whose lines are being read.
    let mut section = None;
    while let Some(line) = skim.next_line() {
        let key = skim.line(&line)?;
        if !key.is_empty() && line.indent == 0 {
            if let Some(from) = section.take() {
                found.push_str(text.get(from..line.start)?);
            }
            section = wanted(key).then_some(line.start);
        }
    }
    if skim.open.is_empty() {
        return None;
    }
    if let Some(from) = section {
        found.push_str(text.get(from..)?);
    }
    Some(found)
}

/// Whether a break or mark outside ASCII is here.
fn odd_break(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes().get(at..).unwrap_or_default();
    matches!(
        bytes,
        [0xC2, 0x85, ..] | [0xE2, 0x80, 0xA8 | 0xA9, ..] | [0xEF, 0xBB, 0xBF, ..]
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mapping,
    Sequence,
}

/// What the previous line left open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The value is complete.
    Nothing,
    /// A key or a dash without value yet.
    Empty,
    /// A plain scalar, which continues in lines that are indented further than this.
    Plain(usize),
}

struct Line<'t> {
    start: usize,
    indent: usize,
    /// Without indentation and trailing blanks.
    content: &'t str,
}

struct Skim<'t> {
    text: &'t str,
    at: usize,
    /// The collections around this line, with their columns.
    open: Vec<(usize, Kind)>,
    after: After,
}

impl<'t> Skim<'t> {
    fn next_line(&mut self) -> Option<Line<'t>> {
        let start = self.at;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest.as_bytes());
        self.at = length.map_or(self.text.len(), |length| start + length + 1);
        let line = rest.get(..length.unwrap_or(rest.len()))?;
        let indented = line.trim_end_matches(' ');
        let content = indented.trim_start_matches(' ');
        Some(Line {
            start,
            indent: indented.len() - content.len(),
            content,
        })
    }

    /// Processes a line; returns the key at its start, or an empty text. `None` if it is not plain enough.
    fn line(&mut self, line: &Line<'t>) -> Option<&'t str> {
        let (content, indent) = (line.content, line.indent);
        if content.is_empty() {
            return Some("");
        }
        if content.starts_with('#') {
            // A comment ends a plain scalar.
            if matches!(self.after, After::Plain(_)) {
                self.after = After::Nothing;
            }
            return Some("");
        }
        if content.contains('\t') {
            return None;
        }
        if indent == 0 && (is_marker(content) || content.starts_with('%')) {
            return None;
        }
        if let After::Plain(column) = self.after
            && indent > column
        {
            let plain = !has_colon(content)
                && !content.contains(" #")
                && !is_indicator(content, '-')
                && !is_indicator(content, '?');
            return plain.then_some("");
        }
        let closed = self.close(indent);
        if is_indicator(content, '-') {
            self.entry(indent, content, closed)?;
            return Some("");
        }
        if content.starts_with(['{', '[']) {
            let nested = self.open.last().is_some_and(|(column, _)| *column < indent);
            if !nested || !self.may_nest(closed) || !ends(flow(content, 0)?) {
                return None;
            }
            self.after = After::Nothing;
            return Some("");
        }
        let key = key(content).filter(|key| indent > 0 || !key.starts_with(['"', '\'']))?;
        self.open_mapping(indent, closed)?;
        self.value(content.get(key.len() + 1..)?, indent)?;
        Some(key)
    }

    /// Closes the collections that are indented further; returns whether there were any.
    fn close(&mut self, indent: usize) -> bool {
        let before = self.open.len();
        while self.open.last().is_some_and(|(column, _)| *column > indent) {
            self.open.pop();
        }
        self.open.len() < before
    }

    /// Whether a collection that starts here would be the missing value of the previous line.
    fn may_nest(&self, closed: bool) -> bool {
        !closed && self.after == After::Empty
    }

    /// `- …`
    fn entry(&mut self, indent: usize, content: &'t str, closed: bool) -> Option<()> {
        match self.open.last() {
            Some((column, Kind::Sequence)) if *column == indent => {}
            Some((column, Kind::Mapping)) if *column == indent && self.may_nest(closed) => {
                self.push(indent, Kind::Sequence)?;
            }
            Some((column, _)) if *column < indent && self.may_nest(closed) => {
                self.push(indent, Kind::Sequence)?;
            }
            _ => return None,
        }
        let item = content.get(1..)?;
        let text = item.trim_start_matches(' ');
        if text.is_empty() {
            self.after = After::Empty;
            return Some(());
        }
        if text.starts_with('#') || is_indicator(text, '-') {
            return None;
        }
        if let Some(key) = key(text) {
            let column = indent + 1 + item.len() - text.len();
            self.push(column, Kind::Mapping)?;
            return self.value(text.get(key.len() + 1..)?, column);
        }
        self.value(text, indent)
    }

    /// Handles a key in this column.
    fn open_mapping(&mut self, indent: usize, closed: bool) -> Option<()> {
        if self.open.last() == Some(&(indent, Kind::Sequence)) {
            // Only a sequence that is not indented further than the key it belongs to ends here.
            self.open.pop();
            return (self.open.last() == Some(&(indent, Kind::Mapping))).then_some(());
        }
        match self.open.last() {
            Some((column, Kind::Mapping)) if *column == indent => Some(()),
            Some((column, _)) if *column < indent && self.may_nest(closed) => {
                self.push(indent, Kind::Mapping)
            }
            None if indent == 0 => self.push(0, Kind::Mapping),
            _ => None,
        }
    }

    fn push(&mut self, column: usize, kind: Kind) -> Option<()> {
        self.open.push((column, kind));
        (self.open.len() <= MAX_DEPTH).then_some(())
    }

    /// Handles what follows a key's colon or a dash, in a collection of this column.
    fn value(&mut self, text: &'t str, column: usize) -> Option<()> {
        let text = text.trim_start_matches(' ');
        self.after = match text.as_bytes() {
            [] | [b'#', ..] => After::Empty,
            [quote @ (b'"' | b'\''), ..] => {
                self.quoted(text.get(1..)?, *quote)?;
                After::Nothing
            }
            [b'{' | b'[', ..] => ends(flow(text, 0)?).then_some(After::Nothing)?,
            b"|" | b"|-" | b"|+" | b">" | b">-" | b">+" => {
                self.block_scalar(column)?;
                After::Nothing
            }
            [
                b',' | b']' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'%' | b'@' | b'`' | b'?'
                | b':',
                ..,
            ]
            | [b'<', b'<', ..] => return None,
            _ if is_indicator(text, '-') || has_colon(text) => return None,
            _ => {
                let (text, after) = match text.find(" #") {
                    Some(comment) => (text.get(..comment)?, After::Nothing),
                    None => (text, After::Plain(column)),
                };
                // JSON has no infinities.
                match resolve::plain(Flavor::V2, text.trim_end_matches(' '), true) {
                    Scalar::Float(number) if !number.is_finite() => return None,
                    _ => after,
                }
            }
        };
        Some(())
    }

    /// Skips a quoted scalar, from after its first quote to the end of its last line.
    fn quoted(&mut self, text: &'t str, quote: u8) -> Option<()> {
        let mut rest = text;
        while !rest.contains('\t') {
            if let Close::At(end) = closing(rest, quote)? {
                return ends(rest.get(end + 1..)?).then_some(());
            }
            let line = self.next_line()?;
            if line.indent == 0 && is_marker(line.content) {
                return None;
            }
            rest = line.content;
        }
        None
    }

    /// Skips the lines of literal or folded text.
    fn block_scalar(&mut self, column: usize) -> Option<()> {
        let mut indent = None;
        let mut widest = 0;
        loop {
            let start = self.at;
            let Some(line) = self.next_line() else {
                return Some(());
            };
            if line.content.is_empty() {
                let rest = self.text.get(start..self.at)?.trim_end_matches('\n');
                widest = widest.max(rest.len());
                continue;
            }
            if line.indent <= column {
                self.at = start;
                return (!line.content.starts_with('\t')).then_some(());
            }
            let least = *indent.get_or_insert_with(|| widest.max(line.indent));
            if line.indent < least || (line.indent == least && line.content.starts_with('\t')) {
                return None;
            }
        }
    }
}

/// Whether a line without indentation may separate documents.
fn is_marker(content: &str) -> bool {
    content.starts_with("---") || content.starts_with("...")
}

/// Whether the line begins with this indicator, separated from what follows.
fn is_indicator(content: &str, indicator: char) -> bool {
    let rest = content.strip_prefix(indicator);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// Whether the text starts with a colon that ends a key.
fn has_colon(text: &str) -> bool {
    let mut colons = memchr::memchr_iter(b':', text.as_bytes());
    colons.any(|at| matches!(text.as_bytes().get(at + 1), None | Some(b' ')))
}

/// Whether a line ends here, except for a comment.
pub(super) fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ') && rest.trim_start_matches(' ').starts_with('#')
}

/// The key that a line begins with, including its quotes.
pub(super) fn key(content: &str) -> Option<&str> {
    let quote = content.bytes().next().filter(|b| matches!(b, b'"' | b'\''));
    let length = match quote {
        Some(quote) => {
            let end = 2 + closing(content.get(1..)?, quote)?.here()?;
            let plain = !content.get(..end)?.contains(['\\', '\t']);
            plain.then_some(end)?
        }
        None => word(content)?,
    };
    let (key, rest) = content.split_at_checked(length)?;
    let value = rest.strip_prefix(':')?;
    let separate = value.is_empty() || value.starts_with(' ');
    (separate && length <= MAX_KEY).then_some(key)
}

/// The length of a plain word that can be a key.
fn word(text: &str) -> Option<usize> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'$');
    let length = text.bytes().take_while(|b| fits(b)).count();
    let word = text.get(..length)?;
    let string = matches!(
        resolve::plain(Flavor::V2, word, true),
        Scalar::Str | Scalar::Bool(_)
    );
    (string && !word.starts_with('-') && !word.is_empty()).then_some(length)
}

/// Skips a flow collection, or a scalar within one, on a single line; returns the rest.
fn flow(text: &str, depth: usize) -> Option<&str> {
    let rest = text.get(1..)?;
    match text.as_bytes().first()? {
        quote @ (b'"' | b'\'') => rest.get(closing(rest, *quote)?.here()? + 1..),
        b'[' if depth < MAX_FLOW => flow_items(rest, ']', |item| flow(item, depth + 1)),
        b'{' if depth < MAX_FLOW => flow_items(rest, '}', |item| {
            let value = item.get(word(item)?..)?.strip_prefix(": ")?;
            flow(value.trim_start_matches(' '), depth + 1)
        }),
        _ => text.get(word(text)?..),
    }
}

/// Skips the items of a flow collection and its closing bracket; returns the rest.
fn flow_items<'t>(
    text: &'t str,
    close: char,
    mut item: impl FnMut(&'t str) -> Option<&'t str>,
) -> Option<&'t str> {
    let mut rest = text.trim_start_matches(' ');
    if let Some(behind) = rest.strip_prefix(close) {
        return Some(behind);
    }
    loop {
        rest = item(rest)?.trim_start_matches(' ');
        if let Some(behind) = rest.strip_prefix(close) {
            return Some(behind);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(' ');
    }
}

/// The end of a quoted scalar.
enum Close {
    /// At this position of the line.
    At(usize),
    /// In a later line.
    Later,
}

impl Close {
    fn here(self) -> Option<usize> {
        match self {
            Self::At(at) => Some(at),
            Self::Later => None,
        }
    }
}

/// Where a quoted scalar ends in this line; `None` if it has an unusual escape.
fn closing(text: &str, quote: u8) -> Option<Close> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => {
                // At the end of a line the break is escaped, or a blank before it.
                if !matches!(bytes.get(at + 1), None | Some(b'\\' | b'"' | b'n' | b't')) {
                    return None;
                }
                at += 2;
            }
            b'\'' if quote == b'\'' && bytes.get(at + 1) == Some(&b'\'') => at += 2,
            byte if *byte == quote => return Some(Close::At(at)),
            _ => at += 1,
        }
    }
    Some(Close::Later)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigs::{from_str, from_str_only};

    const WANTED: [&str; 3] = ["apiVersion", "kind", "metadata"];

    const DOCUMENTS: [&str; 4] = [
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  annotations:\n    controller-gen.kubebuilder.io/version: v0.21.0\n  name: things.example.com\nspec:\n  group: example.com\n  names:\n    categories:\n    - all\n    shortNames: []\n  versions:\n  - name: v1\n    schema:\n      openAPIV3Schema:\n        description: |-\n          A thing.\n\n            Indented: yes\n          - item\n        properties:\n          a:\n            description: one line that\n              goes on, and on\n            format: date-time\n            type: string\n          b: {}\n        required:\n          - a\n",
        "# Source: x\napiVersion: v1\nkind: \"ConfigMap\"\nmetadata:\n  name: 'it''s'   # a comment\n  labels:\n    \"on/x\": yes\n    'b': {}\n    n: 12\ndata:\n  a.conf: |\n    key\t= value\n     \tmore\n\n    # not a comment\n  b: >+\n   folded\n\n  empty:\n  quoted: \"a\\n\\\"b\\\\\"\n  long: 'one\n\n   two: three\n  four'\n",
        "kind: Deployment\nmetadata: {name: web, labels: {a: \"b\", c: [d, 'e']}}\nspec:\n  replicas:\n    []\n  containers:\n  - args: [\"a\", 'b' , c]  # c\n    command:\n    - --port=80\n    - =\n    - <a>\n    - -x\n    image: a:1\n  -   name: b\n      env:\n      - name: A\n        value: \"1\"\n\n  - plain\n    more\n",
        "metadata:\n  name: x\n\nrules:\n- apiGroups: [\"\"]\n  verbs:\n  - '*'\n- {}\nkind: Role\nkind: ClusterRole\n",
    ];

    #[test]
    fn plain_manifests_are_skimmed() {
        let wanted = |key: &str| WANTED.contains(&key);
        let sections = |text: &str| sections(text.as_bytes(), wanted);
        assert_eq!(
            sections(DOCUMENTS[0]).as_deref(),
            DOCUMENTS[0].split("spec:").next()
        );
        let (_, after_comment) = DOCUMENTS[1].split_once('\n').unwrap();
        let (head, _) = after_comment.split_once("data:\n  a").unwrap();
        assert_eq!(sections(DOCUMENTS[1]).as_deref(), Some(head));
        let (head, _) = DOCUMENTS[2].split_once("spec:").unwrap();
        assert_eq!(sections(DOCUMENTS[2]).as_deref(), Some(head));
        // Anchors are not supported here.
        assert_eq!(sections("kind: &a Role\n"), None);
    }

    /// For any mutation of a document, skimming gives the result of parsing, errors included.
    #[test]
    fn skimming_gives_the_result_of_reading() {
        const PIECES: [&str; 30] = [
            " ", "  ", "\n", "\n\n", "\t", ":", ": ", "- ", "-", "#", " # c", "|", ">-\n", "\"",
            "'", "\\", "&a ", "*a", "!!int ", "? ", "{", "}", "[a]", ",", "---\n", "%", "<<: ",
            ".inf", "null", "\u{85}",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(oracle::seed()) | 1;
        let mut next = move |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        let mut skimmed = 0;
        let cases = oracle::cases(6_000);
        for _ in 0..cases {
            let mut text = DOCUMENTS[next(DOCUMENTS.len())].to_owned();
            for _ in 0..=next(3) {
                let mut at = next(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                match next(4) {
                    0 => drop(text.remove(at)),
                    1 => {
                        // Shift a line to the left or right.
                        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
                        if text[start..].starts_with(' ') {
                            text.remove(start);
                        } else {
                            text.insert(start, ' ');
                        }
                    }
                    2 => {
                        let lines: Vec<_> = text.split_inclusive('\n').collect();
                        let line = lines[next(lines.len())].to_owned();
                        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
                        text.insert_str(start, &line);
                    }
                    _ => text.insert_str(at, PIECES[next(PIECES.len())]),
                }
            }
            let wanted = |key: &str| WANTED.contains(&key);
            skimmed += usize::from(sections(text.as_bytes(), wanted).is_some());
            match (from_str(&text), from_str_only(&text, wanted)) {
                (Ok(all), Ok(some)) => {
                    assert_eq!(all.as_map().is_some(), some.as_map().is_some(), "{text}");
                    for key in WANTED {
                        assert_eq!(all.get(key), some.get(key), "{key} of {text}");
                    }
                }
                (all, some) => assert_eq!(
                    all.map_err(|e| e.to_string()),
                    some.map_err(|e| e.to_string()),
                    "{text}"
                ),
            }
        }
        assert!(
            skimmed > cases / 10,
            "only {skimmed} documents were skimmed"
        );
    }
}
