//! Edits of single scalars in a file that keep every other byte.
//!
//! ```
//! use flux_yaml::edit;
//!
//! let text = "image: app:1.0   # {\"$imagepolicy\": \"apps:app\"}\nport:   8080\n";
//! let scalars = edit::scalars(text)?;
//! let marked = scalars.iter().find(|s| s.comment.contains("$imagepolicy")).unwrap();
//! let edited = edit::replace(text, [(marked, "app:1.1")])?;
//! assert_eq!(edited, "image: app:1.1   # {\"$imagepolicy\": \"apps:app\"}\nport:   8080\n");
//! # Ok::<(), flux_yaml::Error>(())
//! ```

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::compose::Composer;
use crate::emit::flow_plain_allowed;
use crate::error::Error;
use crate::node::{Kind, Node, Style};
use crate::resolve::{self, Flavor, Scalar as Resolved};
use crate::source::Source;
use crate::span::{Span, Spans};
use crate::v3;

/// Line breaks.
const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
const OTHER_BREAKS: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// A step from a document's root towards a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a mapping's value. All scalars below it share the key.
    Key(Arc<str>),
    /// To a sequence's item.
    Index(usize),
}

/// A scalar value (not a key) and its position in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Index of the document in the stream, from 0.
    pub document: usize,
    /// The path from the document's root.
    pub path: Vec<Step>,
    /// The text after unquoting and unfolding.
    pub value: String,
    /// The comment next to the value, otherwise the one next to its key, `#` included.
    pub comment: String,
    /// The comment next to the value only, `#` included.
    pub line_comment: String,
    /// The comment lines above the value, `#` included; those above a `key: value` pair belong to the key.
    pub head_comment: String,
    /// Line of the value, from 1.
    pub line: u32,
    /// Column of the value in characters, from 1.
    pub column: u32,
    /// The bytes of the value, quotes included, anchor and tag excluded.
    pub range: Range<usize>,
    style: Style,
    /// Whether it is a string.
    is_string: bool,
    is_null: bool,
    /// Whether a new value is to be read back as exactly this string.
    exact: bool,
    in_flow: bool,
    /// Whether anything but blanks separates it from the previous scalar; otherwise an omitted value has no position of
    /// its own.
    apart: bool,
}

impl Scalar {
    /// Whether it is null: `~`, `null`, or omitted.
    pub fn is_null(&self) -> bool {
        self.is_null
    }

    /// The same scalar, whose new value is to be read back as exactly the string that [`replace`] gets: what was a number
    /// is quoted if it would be one again, and a block scalar ends without a line break if the string does.
    #[must_use]
    pub fn as_exact_string(&self) -> Self {
        Self {
            is_string: true,
            exact: true,
            ..self.clone()
        }
    }
}

/// A key that its mapping has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedKey {
    /// The key.
    pub key: String,
    /// The line of its second appearance, from 1.
    pub line: u32,
}

/// Every scalar value of a stream of documents, in text order.
///
/// # Errors
/// As [`v3::parse`].
pub fn scalars(text: &str) -> Result<Vec<Scalar>, Error> {
    Ok(walk(text, false)?.0)
}

/// As [`scalars`], with the first key that a mapping has twice.
///
/// # Errors
/// As [`v3::parse`].
pub fn read(text: &str) -> Result<(Vec<Scalar>, Option<RepeatedKey>), Error> {
    walk(text, true)
}

fn walk(text: &str, check_keys: bool) -> Result<(Vec<Scalar>, Option<RepeatedKey>), Error> {
    let source = Source::new(text.as_bytes())?;
    let skipped = text.len() - source.text.len().min(text.len());
    let spans = Spans::new(&source.text, skipped);
    let mut composer = Composer::new(&source, Flavor::V3).with_spans(spans);
    let mut walk = Walk {
        spans: Vec::new().into_iter(),
        found: Vec::new(),
        path: Vec::new(),
        document: 0,
        check_keys,
        repeated: None,
    };
    while let Some(document) = composer.next_document()? {
        walk.spans = composer.take_spans().into_iter();
        if let Some(root) = document.root() {
            walk.node(root, "");
        }
        walk.document += 1;
    }
    Ok((walk.found, walk.repeated))
}

/// Walks a tree in text order and assigns each scalar its position.
struct Walk {
    /// Those of this document.
    spans: std::vec::IntoIter<Span>,
    found: Vec<Scalar>,
    path: Vec<Step>,
    document: usize,
    /// Whether to look for repeated keys.
    check_keys: bool,
    repeated: Option<RepeatedKey>,
}

impl Walk {
    fn node(&mut self, node: &Node, key_comment: &str) {
        match node.kind {
            Kind::Scalar => {
                let Some(span) = self.spans.next() else {
                    return;
                };
                let beside = node.line_comment();
                self.found.push(Scalar {
                    document: self.document,
                    path: self.path.clone(),
                    value: node.value.clone(),
                    comment: if beside.is_empty() {
                        key_comment
                    } else {
                        beside
                    }
                    .to_owned(),
                    line_comment: beside.to_owned(),
                    head_comment: node.head_comment().to_owned(),
                    line: span.line,
                    column: span.column,
                    range: span.range,
                    style: node.style,
                    is_string: node.short_tag() == resolve::STR,
                    is_null: node.short_tag() == resolve::NULL,
                    exact: false,
                    in_flow: span.in_flow,
                    apart: span.apart,
                });
            }
            Kind::Mapping => {
                self.check_keys(node);
                for (key, value) in node.entries() {
                    self.key(key);
                    self.path.push(Step::Key(key.value.as_str().into()));
                    self.node(value, key.line_comment());
                    self.path.pop();
                }
            }
            Kind::Sequence => {
                for (index, item) in node.content.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    self.node(item, "");
                    self.path.pop();
                }
            }
            Kind::Document | Kind::Alias => {}
        }
    }

    /// Notes the first key that a mapping has twice.
    fn check_keys(&mut self, mapping: &Node) {
        if self.check_keys && self.repeated.is_none() {
            self.repeated = repeated_key(mapping);
        }
    }

    /// Skips the scalars of a key.
    fn key(&mut self, key: &Node) {
        match key.kind {
            Kind::Scalar => {
                self.spans.next();
            }
            Kind::Mapping => self.check_keys(key),
            _ => {}
        }
        for child in &key.content {
            self.key(child);
        }
    }
}

/// The first key that a mapping has already, of those that are scalars.
fn repeated_key(mapping: &Node) -> Option<RepeatedKey> {
    let mut seen = HashSet::new();
    let keys = mapping.entries().map(|(key, _)| key);
    let mut keys = keys.filter(|key| key.is_scalar());
    let repeated = keys.find(|key| !seen.insert((key.short_tag(), key.value.as_str())))?;
    Some(RepeatedKey {
        key: repeated.value.clone(),
        line: repeated.line,
    })
}

/// Replaces scalars by new values. The quoting style is kept if it can represent the new value; a plain scalar that is
/// a string stays a string, for readers of YAML 1.1 as well, with quotes if necessary.
///
/// # Errors
/// [`Error::Invalid`] if two edits overlap or do not belong to this text, for new values that a block scalar of this
/// layout cannot hold, and for an omitted value without a place to insert one (`{a}`).
pub fn replace<'e>(
    text: &str,
    edits: impl IntoIterator<Item = (&'e Scalar, &'e str)>,
) -> Result<String, Error> {
    let mut edits: Vec<_> = edits.into_iter().collect();
    edits.sort_by_key(|(scalar, _)| scalar.range.start);
    let mut out = String::with_capacity(text.len() + 64);
    let mut from = 0;
    for (scalar, value) in edits {
        let old = text.get(scalar.range.clone());
        let before = text.get(from..scalar.range.start);
        let (Some(before), Some(old)) = (before, old) else {
            return Err(Error::invalid("edits overlap or belong to another text"));
        };
        out.push_str(before);
        if scalar.style.has(Style::LITERAL) || scalar.style.has(Style::FOLDED) {
            out.push_str(&render_block(scalar, old, value)?);
        } else {
            let new = render(scalar, value)?;
            let behind = text.get(scalar.range.end..).unwrap_or("");
            if allows_tabs(scalar, old) && !allows_tabs(scalar, &new) && tabs_matter(&new, behind) {
                return Err(Error::Invalid(format!(
                    "line {}: only a plain value can stand before these tabs",
                    scalar.line
                )));
            }
            if old.is_empty() {
                // A plain root would continue in a directive below it.
                let directive = scalar.path.is_empty() && behind.trim_start().starts_with('%');
                if directive || !scalar.apart || !fits_between(&out, behind) {
                    return Err(Error::Invalid(format!(
                        "line {}: there is no place for a value",
                        scalar.line
                    )));
                }
                // A value that was omitted needs a blank before it.
                if !out.ends_with([' ', '\t']) {
                    out.push(' ');
                }
            }
            // Only a colon or a blank ends an anchor (`&x:0`).
            if old.starts_with(':')
                && out.ends_with(|c: char| c.is_alphanumeric() || "_-".contains(c))
            {
                out.push(' ');
            }
            out.push_str(&new);
        }
        from = scalar.range.end;
    }
    out.push_str(text.get(from..).unwrap_or(""));
    Ok(out)
}

/// Whether tabs may start the lines after a scalar written this way.
fn allows_tabs(scalar: &Scalar, written: &str) -> bool {
    scalar.in_flow || !(written.is_empty() || written.starts_with(['"', '\'']))
}

/// Whether there are tabs after a value that are significant unless the value is plain: at the start of a line, or
/// before the first token of the line.
fn tabs_matter(value: &str, behind: &str) -> bool {
    let blanks = &behind[..behind.len() - behind.trim_start().len()];
    let mut lines = blanks.split(BREAKS);
    let first = lines.next().unwrap_or("");
    value.is_empty() && first.contains('\t') || lines.any(|line| line.contains('\t'))
}

/// Whether a value fits between these: after an indicator, an anchor or a tag of the same line, and followed only by a
/// comment or the rest of a flow collection.
fn fits_between(before: &str, behind: &str) -> bool {
    let line = before.rsplit(BREAKS).next().unwrap_or(before).trim_end();
    // Within quotes it counts as a comment, too.
    let comment = line.split([' ', '\t']).any(|word| word.starts_with('#'));
    let word = line.rsplit([' ', '\t']).next().unwrap_or(line);
    let follows = behind.trim_start_matches([' ', '\t']).chars().next();
    let apart = behind.starts_with([' ', '\t', ',', ']', '}']);
    !comment
        && (line.ends_with(':') || word == "-" || word.starts_with(['&', '!']))
        && (matches!(follows, None | Some('\n' | '\r'))
            || apart && matches!(follows, Some('#' | ',' | ']' | '}')))
}

fn render(scalar: &Scalar, value: &str) -> Result<String, Error> {
    let quotes = Style::DOUBLE_QUOTED.with(Style::SINGLE_QUOTED);
    let mut node = Node::string(value);
    if scalar.style.has(Style::DOUBLE_QUOTED) {
        node.style = Style::DOUBLE_QUOTED;
    } else if scalar.style.has(Style::SINGLE_QUOTED) {
        node.style = Style::SINGLE_QUOTED;
    }
    if value.contains(['\n', '\r']) {
        node.style = Style::DOUBLE_QUOTED;
    }
    if !node.style.has(quotes) {
        let text_to_all = resolve::plain(Flavor::V2, value, true) == Resolved::Str;
        if !scalar.is_string {
            // What was a number or null may become one again.
            node.tag = resolve::plain_tag_v3(value).into();
        } else if !text_to_all {
            node.style = Style::DOUBLE_QUOTED;
        }
        if scalar.in_flow && !flow_plain_allowed(value) {
            node.style = Style::SINGLE_QUOTED;
        }
        // A document without root may vanish altogether.
        if scalar.path.is_empty() && value.is_empty() {
            node.style = Style::DOUBLE_QUOTED;
        }
    }
    let mut text = v3::to_string(&node)?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text)
}

/// Rewrites the lines of a block scalar, below its header and at its indentation.
fn render_block(scalar: &Scalar, old: &str, value: &str) -> Result<String, Error> {
    let unfit = || {
        Error::Invalid(format!(
            "line {}: a block scalar cannot be given this value",
            scalar.line
        ))
    };
    // Only line feeds, with or without carriage returns, are supported.
    if old.replace("\r\n", "\n").contains(OTHER_BREAKS) {
        return Err(unfit());
    }
    let (header, body) = old.split_once('\n').ok_or_else(unfit)?;
    let first = body
        .lines()
        .find(|line| !line.trim().is_empty())
        .ok_or_else(unfit)?;
    let indent = first.get(..first.len() - first.trim_start_matches(' ').len());
    let lines: Vec<&str> = value.trim_end_matches('\n').split('\n').collect();
    let folded = scalar.style.has(Style::FOLDED) && lines.len() > 1;
    // Other line breaks, and characters that only double quotes can hold.
    let unfit_char = |c: char| {
        c.is_control() && c != '\t'
            || matches!(
                c,
                '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}'..='\u{FFFF}'
            )
    };
    let unsafe_line = |line: &&str| line.starts_with([' ', '\t']) || line.contains(unfit_char);
    let keeps_indent = header.bytes().any(|b| b.is_ascii_digit());
    if folded || keeps_indent || value.is_empty() || lines.iter().any(unsafe_line) {
        return Err(unfit());
    }
    let header = if scalar.exact {
        exact_header(header, value)
    } else {
        header.to_owned()
    };
    let line_break = if header.ends_with('\r') { "\r\n" } else { "\n" };
    let mut out = format!("{header}\n");
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push_str(line_break);
        }
        if !line.is_empty() {
            out.push_str(indent.unwrap_or(""));
            out.push_str(line);
        }
    }
    if old.ends_with('\n') {
        out.push_str(line_break);
    }
    Ok(out)
}

/// The header of a block scalar with the indicator that keeps exactly the line breaks at the end of `value`. The range
/// of the scalar has one line break at most, so that more are kept as they are.
fn exact_header(header: &str, value: &str) -> String {
    let (style, rest) = header.split_at(header.len().min(1));
    let wanted = match (value.ends_with("\n\n"), value.ends_with('\n')) {
        (true, _) => return header.to_owned(),
        (false, true) => "",
        (false, false) => "-",
    };
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    format!("{style}{wanted}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\u{FEFF}# top\nspec:\n  image:   \"app:1.0\"   # {\"$imagepolicy\": \"a:app\"}\n\n  tag: 1.0 # t\n  name: 'it''s'\n  \
        list: [ a,  b ] # l\n  none:\n  note: |-\n    old text\n    of two lines\n\n  end: &x !!str last\n---\nother: x\n";

    fn edit(path: &[&str], document: usize, value: &str) -> String {
        let scalars = scalars(FILE).unwrap();
        let wanted = |scalar: &&Scalar| {
            let steps = scalar.path.iter().map(|step| match step {
                Step::Key(key) => key.to_string(),
                Step::Index(index) => index.to_string(),
            });
            scalar.document == document && steps.eq(path.iter().map(|s| (*s).to_owned()))
        };
        let scalar = scalars.iter().find(wanted).unwrap();
        let edited = replace(FILE, [(scalar, value)]).unwrap();
        let again = super::scalars(&edited).unwrap();
        let new = again.iter().find(wanted).unwrap();
        assert_eq!(new.value, value.trim_end_matches('\n'), "{edited}");
        edited
    }

    #[test]
    fn one_scalar_changes_and_nothing_else() {
        let cases: &[(&[&str], usize, &str, &str, &str)] = &[
            (
                &["spec", "image"],
                0,
                "app:1.1",
                "\"app:1.0\"",
                "\"app:1.1\"",
            ),
            (&["spec", "tag"], 0, "1.10", "tag: 1.0", "tag: 1.10"),
            (&["spec", "name"], 0, "that's", "'it''s'", "'that''s'"),
            (&["spec", "list", "1"], 0, "c", "a,  b ]", "a,  c ]"),
            (&["spec", "list", "1"], 0, "c, d", "a,  b ]", "a,  'c, d' ]"),
            (&["spec", "none"], 0, "some", "none:\n", "none: some\n"),
            (
                &["spec", "note"],
                0,
                "new\n\ntext",
                "    old text\n    of two lines\n",
                "    new\n\n    text\n",
            ),
            (&["spec", "end"], 0, "yes", "!!str last", "!!str \"yes\""),
            (&["other"], 1, "1.0", "other: x", "other: \"1.0\""),
            (&["other"], 1, "a: b", "other: x", "other: 'a: b'"),
            (&["other"], 1, "a\nb", "other: x", "other: \"a\\nb\""),
        ];
        for (path, document, value, old, new) in cases {
            assert_eq!(FILE.matches(old).count(), 1, "{old}");
            assert_eq!(
                edit(path, *document, value),
                FILE.replace(old, new),
                "{value}"
            );
        }
    }

    #[test]
    fn an_edited_root_is_never_empty() {
        for text in ["1\n", "1\n---\n2\n", "--- 1\n"] {
            let scalars = scalars(text).unwrap();
            let edited = replace(text, [(&scalars[0], "")]).unwrap();
            assert_eq!(edited, text.replacen('1', "\"\"", 1));
        }
    }

    #[test]
    fn several_edits_are_made_at_once() {
        let text = "a: 1\nb: 2\n";
        let scalars = scalars(text).unwrap();
        let edited = replace(text, [(&scalars[1], "20"), (&scalars[0], "10")]).unwrap();
        assert_eq!(edited, "a: 10\nb: 20\n");
        assert!(replace(text, [(&scalars[0], "1"), (&scalars[0], "2")]).is_err());
        assert!(replace("", [(&scalars[0], "1")]).is_err());
    }

    #[test]
    fn comments_next_to_values_and_keys_are_found() {
        let scalars = scalars(FILE).unwrap();
        let comments: Vec<_> = scalars.iter().map(|s| s.comment.as_str()).collect();
        assert_eq!(comments[0], "# {\"$imagepolicy\": \"a:app\"}");
        assert_eq!(comments[1], "# t");
        assert_eq!((scalars[0].line, scalars[0].column), (3, 12));
    }

    #[test]
    fn a_block_scalar_refuses_what_it_cannot_hold() {
        let text = "a: >-\n  folded\n";
        let scalars = scalars(text).unwrap();
        assert_eq!(
            replace(text, [(&scalars[0], "new")]).unwrap(),
            "a: >-\n  new\n"
        );
        assert!(replace(text, [(&scalars[0], "two\nlines")]).is_err());
        assert!(replace(text, [(&scalars[0], " blank")]).is_err());
        assert!(replace(text, [(&scalars[0], "a\u{85}b")]).is_err());
    }

    #[test]
    fn an_exact_string_is_read_back_as_it_was_given() {
        let cases = [
            ("a: 1\n", "2", "a: \"2\"\n"),
            ("a: 1\n", "v2", "a: v2\n"),
            ("a: ~\n", "1.0", "a: \"1.0\"\n"),
            ("a: 'x'\n", "1.0", "a: '1.0'\n"),
            ("a: | # c\n  x\n", "y", "a: |- # c\n  y\n"),
            ("a: >+\n  x\n\nb: 1\n", "y", "a: >-\n  y\n\nb: 1\n"),
            ("a: |-\r\n  x\r\nb: 1\r\n", "y", "a: |-\r\n  y\r\nb: 1\r\n"),
            ("a: &v 1 # c\n", "x", "a: &v x # c\n"),
        ];
        for (text, value, want) in cases {
            let scalars = scalars(text).unwrap();
            let exact = scalars[0].as_exact_string();
            let edited = replace(text, [(&exact, value)]).unwrap();
            assert_eq!(edited, want);
            assert_eq!(super::scalars(&edited).unwrap()[0].value, value);
        }
    }

    #[test]
    fn comments_above_belong_to_items_and_keys() {
        let text = "# of the key\na: 1 # beside\nlist:\n# above\n- x\nb: # of b\n  y\n";
        let found: Vec<_> = scalars(text)
            .unwrap()
            .into_iter()
            .map(|scalar| (scalar.head_comment, scalar.line_comment))
            .collect();
        assert_eq!(found[0], (String::new(), "# beside".to_owned()));
        assert_eq!(found[1], ("# above".to_owned(), String::new()));
        assert!(
            scalars(text)
                .unwrap()
                .iter()
                .all(|scalar| !scalar.is_null())
        );
        assert!(scalars("a:\n").unwrap()[0].is_null());
    }

    #[test]
    fn a_block_scalar_with_other_line_breaks_is_refused() {
        for text in ["a: |\n  old\rb: 1\n", "a: |\u{2028}\n  old\n"] {
            let scalars = scalars(text).unwrap();
            assert!(replace(text, [(&scalars[0], "new")]).is_err(), "{text:?}");
        }
        let text = "a: |\r\n  old\r\nb: 1\r\n";
        let scalars = scalars(text).unwrap();
        let edited = replace(text, [(&scalars[0], "new")]).unwrap();
        assert_eq!(edited, "a: |\r\n  new\r\nb: 1\r\n");
    }

    #[test]
    fn text_next_to_a_plain_value_keeps_its_meaning() {
        let cases = [
            ("old\n\t", "a: b", None),
            ("old\n\t", "new", Some("new\n\t")),
            ("- 1\t\n", "", None),
            ("- 1\t\n", "2", Some("- 2\t\n")),
            ("- &x:0\n", "a: b", Some("- &x 'a: b'\n")),
            ("- [1\n  \t]\n", "a: b", Some("- ['a: b'\n  \t]\n")),
        ];
        for (text, value, want) in cases {
            let scalars = scalars(text).unwrap();
            let edited = replace(text, [(&scalars[0], value)]);
            assert_eq!(edited.ok().as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn blanks_at_the_end_of_a_block_scalar_belong_to_it() {
        let text = "a: |+\n  old\n    \n\nb: 1\n";
        let scalars = scalars(text).unwrap();
        assert_eq!(scalars[0].value, "old\n  \n\n");
        assert_eq!(
            replace(text, [(&scalars[0], "new")]).unwrap(),
            "a: |+\n  new\n\nb: 1\n"
        );
    }

    #[test]
    fn omitted_values_can_be_set_where_they_fit() {
        let cases = [
            ("a:\n", Some("a: new\n")),
            ("a: # c\n", Some("a: new # c\n")),
            ("-\n", Some("- new\n")),
            ("{a: , b: 1}", Some("{a: new, b: 1}")),
            ("a: &x\n", Some("a: &x new\n")),
            ("--- &x\n---\n", Some("--- &x new\n---\n")),
            ("--- &x\n%TAG !e! tag:e:\n---\na\n", None),
            (
                "a:\n%TAG !e! tag:e:\n---\na\n",
                Some("a: new\n%TAG !e! tag:e:\n---\na\n"),
            ),
            ("{a, b: 1}", None),
            ("? a\n", None),
            ("? ? ...\n#", None),
            ("? \n  a: ", None),
            ("? |\n a:", None),
            ("---\n# a:", None),
            ("a: # b:\n", Some("a: new # b:\n")),
        ];
        for (text, want) in cases {
            let scalars = scalars(text).unwrap();
            let empty = scalars.iter().find(|scalar| scalar.value.is_empty());
            let edited = replace(text, [(empty.unwrap(), "new")]);
            assert_eq!(edited.ok().as_deref(), want, "{text}");
        }
    }
}
