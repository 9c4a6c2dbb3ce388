//! INI files as `gopkg.in/ini.v1` reads and writes them.

use flux_golang::unicode::{trim_space, trim_space_start};

use super::dotenv::replaced;
use super::{ReadError, WriteError, to_text};
use crate::value::{Branch, Comment, Entry, Key, Value};

/// The section of the keys before the first header.
const DEFAULT: &[u8] = b"DEFAULT";
const DELIMITERS: [u8; 2] = *b"=:";

/// A section under construction. Names are kept in the order of their first use; a later value replaces an earlier one.
struct Section {
    name: Vec<u8>,
    comment: Vec<u8>,
    keys: Vec<Assignment>,
}

struct Assignment {
    name: Vec<u8>,
    value: Vec<u8>,
    comment: Vec<u8>,
}

impl Section {
    fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            comment: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn set(&mut self, name: Vec<u8>, value: Vec<u8>) -> &mut Assignment {
        let at = self.keys.iter().position(|key| key.name == name);
        let at = at.unwrap_or_else(|| {
            self.keys.push(Assignment {
                name,
                value: Vec::new(),
                comment: Vec::new(),
            });
            self.keys.len() - 1
        });
        let key = &mut self.keys[at];
        key.value = value;
        key
    }
}

/// How many keys a section may have: finding a name takes time for each of them.
const MAX_KEYS: usize = 20_000;

pub(super) fn read(data: &[u8]) -> Result<Branch, ReadError> {
    let sections = Parser::new(data).sections().map_err(ReadError::Data)?;
    let entry = |section: Section| {
        let mut items = Branch::new();
        let comment = |text: &[u8]| {
            Entry::comment(Comment {
                text: without_mark(text).to_vec(),
                inline: false,
            })
        };
        if !section.comment.is_empty() {
            items.push(comment(&section.comment));
        }
        for key in section.keys {
            items.push(Entry::new(key.name, Value::Text(key.value)));
            if !key.comment.is_empty() {
                items.push(comment(&key.comment));
            }
        }
        Entry::new(section.name, Value::Map(items))
    };
    Ok(sections.into_iter().map(entry).collect())
}

/// A comment without the marks and blanks that it begins with.
fn without_mark(text: &[u8]) -> &[u8] {
    let Some(mark @ (b'#' | b';')) = text.first() else {
        return text;
    };
    let skipped = text
        .iter()
        .take_while(|byte| *byte == mark || **byte == b' ')
        .count();
    &text[skipped..]
}

struct Parser<'d> {
    rest: &'d [u8],
    ended: bool,
    comment: Vec<u8>,
}

impl<'d> Parser<'d> {
    fn new(data: &'d [u8]) -> Self {
        let rest = data
            .strip_prefix(b"\xFE\xFF")
            .or_else(|| data.strip_prefix(b"\xFF\xFE"))
            .or_else(|| data.strip_prefix(b"\xEF\xBB\xBF"));
        Self {
            rest: rest.unwrap_or(data),
            ended: false,
            comment: Vec::new(),
        }
    }

    /// The next line with its newline.
    fn line(&mut self) -> &'d [u8] {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        self.ended |= end.is_none();
        let (line, rest) = self.rest.split_at(end.map_or(self.rest.len(), |at| at + 1));
        self.rest = rest;
        line
    }

    fn take_comment(&mut self) -> Vec<u8> {
        let comment = std::mem::take(&mut self.comment);
        trim_space(&comment).to_vec()
    }

    fn sections(mut self) -> Result<Vec<Section>, String> {
        let mut done = Vec::new();
        let mut section = Section::new(DEFAULT);
        let mut count = 1;
        while !self.ended {
            let line = trim_space_start(self.line());
            match line.first() {
                None => {}
                Some(b'#' | b';') => self.comment.extend_from_slice(line),
                Some(b'[') => {
                    let end = line.iter().rposition(|byte| *byte == b']');
                    let end = end.ok_or("unclosed section: <redacted>")?;
                    if end == 1 {
                        return Err("empty section name".to_owned());
                    }
                    done.push(std::mem::replace(&mut section, Section::new(&line[1..end])));
                    if let Some(comment) = comment_in(&line[end + 1..]) {
                        self.comment.extend_from_slice(comment);
                    }
                    section.comment = self.take_comment();
                    count = 1;
                }
                Some(_) => {
                    let (mut name, offset) = key_name(line)?;
                    if name == b"-" {
                        name = format!("#{count}").into_bytes();
                        count += 1;
                    }
                    let value = self.value(line.get(offset..).unwrap_or_default())?;
                    if name.is_empty() {
                        return Err("error creating new key: empty key name".to_owned());
                    }
                    if section.keys.len() > MAX_KEYS {
                        return Err(format!("a section has more than {MAX_KEYS} keys"));
                    }
                    let comment = self.take_comment();
                    section.set(name, value).comment = comment;
                }
            }
        }
        done.push(section);
        Ok(done)
    }

    fn value(&mut self, text: &[u8]) -> Result<Vec<u8>, String> {
        let line = trim_space_start(text);
        let Some(first) = line.first() else {
            return Ok(Vec::new());
        };
        let quote: &[u8] = if line.len() > 3 && line.starts_with(br#"""""#) {
            br#"""""#
        } else if *first == b'`' {
            b"`"
        } else {
            b""
        };
        if !quote.is_empty() {
            let inner = &line[quote.len()..];
            return match find_last(inner, quote) {
                Some(end) => Ok(inner[..end].to_vec()),
                None => self.lines_until(quote, inner),
            };
        }
        let mut line = trim_space(line);
        if let Some(continued) = line.strip_suffix(b"\\") {
            return Ok(self.continued(continued.to_vec()));
        }
        if let Some(at) = line.iter().position(|byte| matches!(byte, b'#' | b';')) {
            self.comment.extend_from_slice(&line[at..]);
            line = trim_space(&line[..at]);
        }
        let unquoted = [b'\'', b'"']
            .iter()
            .find_map(|quote| surrounded(line, *quote));
        Ok(unquoted.unwrap_or(line).to_vec())
    }

    /// A value in quotes that go on in further lines.
    fn lines_until(&mut self, quote: &[u8], first: &[u8]) -> Result<Vec<u8>, String> {
        let mut value = first.to_vec();
        loop {
            let next = self.line();
            if let Some(end) = find_last(next, quote) {
                value.extend_from_slice(&next[..end]);
                if let Some(comment) = comment_in(&next[end..]) {
                    self.comment.extend_from_slice(trim_space(comment));
                }
                return Ok(value);
            }
            value.extend_from_slice(next);
            if self.ended {
                return Err("missing closing key quote from <redacted> to <redacted>".to_owned());
            }
        }
    }

    /// A value whose lines end in a backslash.
    fn continued(&mut self, mut value: Vec<u8>) -> Vec<u8> {
        loop {
            let next = trim_space(self.line());
            if next.is_empty() {
                return value;
            }
            value.extend_from_slice(next);
            if value.last() != Some(&b'\\') {
                return value;
            }
            value.pop();
        }
    }
}

/// The name of a key, and where its value begins.
fn key_name(line: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let missing = || "key-value delimiter not found: <redacted>".to_owned();
    let delimiter = |text: &[u8]| text.iter().position(|byte| DELIMITERS.contains(byte));
    let quote: &[u8] = match line {
        [b'"', ..] if line.len() > 6 && line.starts_with(br#"""""#) => br#"""""#,
        [b'"', ..] => b"\"",
        [b'`', ..] => b"`",
        _ => b"",
    };
    if quote.is_empty() {
        let end = delimiter(line).ok_or_else(missing)?;
        if end == 0 {
            return Err("empty key name: <redacted>".to_owned());
        }
        return Ok((trim_space(&line[..end]).to_vec(), end + 1));
    }
    let start = quote.len();
    let end = line[start..]
        .windows(start)
        .position(|part| part == quote)
        .ok_or("missing closing key quote: <redacted>")?
        + start;
    let after = line.get(end + start..).unwrap_or_default();
    let at = delimiter(after).ok_or_else(missing)?;
    Ok((trim_space(&line[start..end]).to_vec(), end + at + start + 1))
}

/// From the first mark of a comment on.
fn comment_in(text: &[u8]) -> Option<&[u8]> {
    let at = text.iter().position(|byte| matches!(byte, b'#' | b';'))?;
    Some(&text[at..])
}

fn find_last(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

/// The text between quotes that occur at its ends only.
fn surrounded(text: &[u8], quote: u8) -> Option<&[u8]> {
    let inner = text.strip_prefix(&[quote])?.strip_suffix(&[quote])?;
    (!inner.contains(&quote)).then_some(inner)
}

pub(super) fn write(documents: &[Branch]) -> Result<Vec<u8>, WriteError> {
    let mut sections = Vec::new();
    for entry in documents.iter().flatten() {
        let name = match &entry.key {
            Key::Comment(_) => continue,
            Key::Text(name) if name.is_empty() => {
                return Err(WriteError::IniName(
                    "Error encoding section : empty section name",
                ));
            }
            Key::Text(name) => name,
            Key::Other(kind) => return Err(WriteError::Key(kind)),
        };
        let Value::Map(items) = &entry.value else {
            return Err(WriteError::IniSection);
        };
        sections.push(section(name, items)?);
    }
    let mut out = Vec::new();
    let last = sections.len().saturating_sub(1);
    for (at, section) in sections.iter().enumerate() {
        write_section(section, at, at == last, &mut out);
    }
    Ok(out)
}

fn section(name: &[u8], items: &Branch) -> Result<Section, WriteError> {
    let mut section = Section::new(name);
    let mut items = items.as_slice();
    if let [first, rest @ ..] = items
        && let Key::Comment(comment) = &first.key
    {
        section.comment.clone_from(&comment.text);
        items = rest;
    }
    let mut last = None;
    for item in items {
        match &item.key {
            Key::Comment(comment) => {
                let key = last.and_then(|at: usize| section.keys.get_mut(at));
                if let Some(key) = key {
                    key.comment.clone_from(&comment.text);
                }
            }
            Key::Text(name) if name.is_empty() => {
                return Err(WriteError::IniName(
                    "Error encoding key: error creating new key: empty key name",
                ));
            }
            Key::Text(name) => {
                section.set(name.clone(), to_text(&item.value));
                last = section.keys.iter().position(|key| key.name == *name);
            }
            Key::Other(kind) => return Err(WriteError::Key(kind)),
        }
    }
    Ok(section)
}

fn write_section(section: &Section, at: usize, is_last: bool, out: &mut Vec<u8>) {
    write_comment(&section.comment, out);
    if at > 0 || !section.name.eq_ignore_ascii_case(DEFAULT) {
        out.push(b'[');
        out.extend_from_slice(&section.name);
        out.extend_from_slice(b"]\n");
    } else if section.keys.is_empty() {
        return;
    }
    let has = |text: &[u8], any: &[u8]| text.iter().any(|byte| any.contains(byte));
    let written = |name: &[u8]| {
        if has(name, b"\"=:") {
            [b"`", name, b"`"].concat()
        } else if has(name, b"`") {
            [br#"""""#, name, br#"""""#].concat()
        } else {
            name.to_vec()
        }
    };
    let widths = section.keys.iter().map(|key| written(&key.name).len());
    let width = widths.max().unwrap_or_default();
    for key in &section.keys {
        write_comment(&key.comment, out);
        let name = written(&key.name);
        out.extend_from_slice(&name);
        out.extend(std::iter::repeat_n(b' ', width - name.len()));
        out.extend_from_slice(b" = ");
        let value = key.value.as_slice();
        let quotes: &[u8] = if has(value, b"\n`") {
            br#"""""#
        } else if has(value, b"#;") {
            b"`"
        } else if trim_space(value).len() != value.len() {
            b"\""
        } else {
            b""
        };
        for part in [quotes, value, quotes, b"\n"] {
            out.extend_from_slice(part);
        }
    }
    if !is_last {
        out.push(b'\n');
    }
}

fn write_comment(comment: &[u8], out: &mut Vec<u8>) {
    if comment.is_empty() {
        return;
    }
    for line in comment.split(|byte| *byte == b'\n') {
        match line {
            [mark @ (b'#' | b';'), text @ ..] => {
                out.extend_from_slice(&[*mark, b' ']);
                out.extend_from_slice(trim_space(text));
            }
            text => {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(trim_space(text));
            }
        }
        out.push(b'\n');
    }
}

/// A value of SOPS' own section, where newlines are escaped once more.
pub(crate) fn unescaped(text: &[u8]) -> Vec<u8> {
    replaced(text, b"\\n", b"\n")
}
