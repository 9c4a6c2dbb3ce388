//! JSON objects, with repeated keys kept, written as `encoding/json` indents them.

use std::borrow::Cow;

use flux_golang::encoding::base64;
use flux_golang::json::{format_float, push_bytes};
use flux_yaml::json::Build;

use super::{ReadError, WriteError};
use crate::value::{Branch, Entry, Key, Value};

pub(super) fn read(data: &[u8]) -> Result<Branch, ReadError> {
    let value = flux_yaml::json::read::<Read>(data);
    let value = value.map_err(|error| ReadError::Data(error.without_text().to_string()))?;
    match value.0 {
        Value::Map(branch) => Ok(branch),
        Value::List(_) => Err(ReadError::Data(
            "SOPS only supports JSON files with a top-level object (starting with '{'), not arrays or other types. Got delimiter \
             [ instead. To encrypt this file, wrap it in an object, e.g., {\"data\": [...]}"
                .to_owned(),
        )),
        value => Err(ReadError::Data(format!(
            "SOPS only supports JSON files with a top-level object (starting with '{{'), not other JSON types. Got <redacted> of \
             type {} instead",
            value.go_type()
        ))),
    }
}

/// A value as it is read: whole numbers within 64 bits are integers, others floats.
struct Read(Value);

impl<'t> Build<'t> for Read {
    fn null() -> Self {
        Self(Value::Null)
    }

    fn bool(truth: bool) -> Self {
        Self(Value::Bool(truth))
    }

    fn number(text: &'t str) -> Result<Self, String> {
        if let Ok(int) = text.parse() {
            return Ok(Self(Value::Int(int)));
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Self(Value::Float(float))),
            _ => Err("strconv.ParseFloat: value out of range".to_owned()),
        }
    }

    fn string(text: Cow<'t, str>) -> Self {
        Self(Value::text(text.into_owned()))
    }

    fn array(items: Vec<Self>) -> Self {
        Self(Value::List(items.into_iter().map(|item| item.0).collect()))
    }

    fn object(entries: Vec<(Cow<'t, str>, Self)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| Entry::new(key.into_owned(), value.0));
        Self(Value::Map(entries.collect()))
    }
}

pub(super) fn write(branch: &Branch) -> Result<Vec<u8>, WriteError> {
    let mut out = String::new();
    map(branch, 0, &mut out)?;
    out.push('\n');
    Ok(out.into_bytes())
}

fn value(value: &Value, depth: usize, out: &mut String) -> Result<(), WriteError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Float(value) => {
            let text = format_float(*value);
            out.push_str(&text.ok_or(WriteError::Json("json: unsupported value"))?);
        }
        Value::Text(text) => push_bytes(out, text, true),
        Value::Bytes(bytes) => push_bytes(out, base64(bytes).as_bytes(), true),
        Value::Time(time) => push_bytes(out, time.nanoseconds().as_bytes(), true),
        Value::Comment(_) => {}
        Value::List(items) => list(items, depth, out)?,
        Value::Map(branch) => map(branch, depth, out)?,
    }
    Ok(())
}

fn list(items: &[Value], depth: usize, out: &mut String) -> Result<(), WriteError> {
    let mut items = items
        .iter()
        .filter(|item| !matches!(item, Value::Comment(_)))
        .peekable();
    if items.peek().is_none() {
        out.push_str("[]");
        return Ok(());
    }
    out.push('[');
    let mut first = true;
    for item in items {
        separate(&mut first, depth + 1, out);
        value(item, depth + 1, out)?;
    }
    line(depth, out);
    out.push(']');
    Ok(())
}

fn map(branch: &Branch, depth: usize, out: &mut String) -> Result<(), WriteError> {
    let mut first = true;
    for entry in branch {
        let key = match &entry.key {
            Key::Comment(_) => continue,
            Key::Text(key) => key,
            Key::Other(kind) => return Err(WriteError::Key(kind)),
        };
        if first {
            out.push('{');
        }
        separate(&mut first, depth + 1, out);
        push_bytes(out, key, true);
        out.push_str(": ");
        value(&entry.value, depth + 1, out)?;
    }
    if first {
        out.push_str("{}");
    } else {
        line(depth, out);
        out.push('}');
    }
    Ok(())
}

fn separate(first: &mut bool, depth: usize, out: &mut String) {
    if !*first {
        out.push(',');
    }
    *first = false;
    line(depth, out);
}

fn line(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n('\t', depth));
}
