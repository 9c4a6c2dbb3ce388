//! Lines `NAME=value`, where `\n` in a value is a newline (KC-SOPS-030).

use super::{ReadError, WriteError, to_text};
use crate::value::{Branch, Comment, Entry, Key, Value};

pub(super) fn read(data: &[u8]) -> Result<Branch, ReadError> {
    let mut branch = Branch::new();
    for line in data.split(|byte| *byte == b'\n') {
        match line {
            [] => {}
            [b'#', text @ ..] => branch.push(Entry::comment(Comment {
                text: text.to_vec(),
                inline: false,
            })),
            line => {
                let equals = line.iter().position(|byte| *byte == b'=');
                let (name, value) = line.split_at(equals.ok_or(ReadError::Dotenv)?);
                let value = replaced(&value[1..], b"\\n", b"\n");
                branch.push(Entry::new(name, Value::Text(value)));
            }
        }
    }
    Ok(branch)
}

pub(super) fn write(branch: &Branch) -> Result<Vec<u8>, WriteError> {
    let mut out = Vec::new();
    for entry in branch {
        let name = match &entry.key {
            Key::Comment(comment) => {
                out.push(b'#');
                out.extend_from_slice(&comment.text);
                out.push(b'\n');
                continue;
            }
            Key::Text(name) => name.as_slice(),
            Key::Other(kind) => kind.as_bytes(),
        };
        let value = match &entry.value {
            Value::List(_) | Value::Map(_) => {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(WriteError::Dotenv(name));
            }
            Value::Text(text) => replaced(text, b"\n", b"\\n"),
            value => to_text(value),
        };
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(&value);
        out.push(b'\n');
    }
    Ok(out)
}

/// `text` with every `from` replaced.
pub(crate) fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}
