//! The functions of texts.

use std::sync::Arc;

use flux_golang::unicode;

use crate::eval::{Meter, NO_OVERLOAD};
use crate::value::Value;

type Result<T = Value> = std::result::Result<T, String>;

/// Calls a function of a text. Indices count characters.
pub(crate) fn call(name: &str, text: &Arc<str>, args: &[Value], meter: &mut Meter) -> Result {
    use Value::{Bool, Int, String};
    meter.steps(text.len() / 64)?;
    let made = |text: std::string::String| Ok(String(text.into()));
    match (name, args) {
        ("contains", [String(part)]) => Ok(Bool(text.contains(&**part))),
        ("startsWith", [String(part)]) => Ok(Bool(text.starts_with(&**part))),
        ("endsWith", [String(part)]) => Ok(Bool(text.ends_with(&**part))),
        ("charAt", [Int(at)]) => {
            let count = text.chars().count();
            let out_of_range = || format!("index out of range: {at}");
            let at = usize::try_from(*at).map_err(|_| out_of_range())?;
            match text.chars().nth(at) {
                Some(found) => made(found.to_string()),
                None if at == count => made(std::string::String::new()),
                None => Err(out_of_range()),
            }
        }
        ("indexOf", [String(part)]) => index_of(text, part, 0).map(Int),
        ("indexOf", [String(part), Int(from)]) => index_of(text, part, *from).map(Int),
        ("lastIndexOf", [String(part)]) => {
            let count = text.chars().count() as i64;
            if part.is_empty() {
                Ok(Int(count))
            } else if text.len() < part.len() {
                Ok(Int(-1))
            } else {
                last_index_of(text, part, count - 1).map(Int)
            }
        }
        ("lastIndexOf", [String(part), Int(from)]) => last_index_of(text, part, *from).map(Int),
        ("lowerAscii", []) => made(text.to_ascii_lowercase()),
        ("upperAscii", []) => made(text.to_ascii_uppercase()),
        ("trim", []) => {
            let trimmed = unicode::trim_space(text.as_bytes());
            made(std::string::String::from_utf8_lossy(trimmed).into_owned())
        }
        ("reverse", []) => made(text.chars().rev().collect()),
        ("strings.quote", []) => {
            meter.bytes(2 * text.len() + 2)?;
            made(quote(text))
        }
        ("substring", [Int(start)]) => substring(text, *start, None).and_then(made),
        ("substring", [Int(start), Int(end)]) => substring(text, *start, Some(*end)).and_then(made),
        ("replace", [String(old), String(new)]) => {
            replace(text, old, new, -1, meter).and_then(made)
        }
        ("replace", [String(old), String(new), Int(limit)]) => {
            replace(text, old, new, *limit, meter).and_then(made)
        }
        ("split", [String(separator)]) => split(text, separator, -1, meter),
        ("split", [String(separator), Int(limit)]) => split(text, separator, *limit, meter),
        _ => Err(NO_OVERLOAD.to_owned()),
    }
}

/// Joins the texts of a list.
pub(crate) fn join(list: &[Value], separator: Option<&Value>, meter: &mut Meter) -> Result {
    let separator = match separator {
        Some(Value::String(separator)) => &**separator,
        _ => "",
    };
    let mut joined = String::new();
    for (i, value) in list.iter().enumerate() {
        let Value::String(text) = value else {
            return Err(format!("join: invalid input: {}", value.shown()));
        };
        meter.bytes(text.len() + separator.len())?;
        if i > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
    }
    Ok(Value::String(joined.into()))
}

/// The number of characters before `part`, from the character `from` on; -1 if it does not occur.
fn index_of(text: &str, part: &str, from: i64) -> Result<i64> {
    if part.is_empty() {
        return Ok(from);
    }
    let Ok(start) = usize::try_from(from) else {
        return Err(format!("index out of range: {from}"));
    };
    let Some((at, _)) = text.char_indices().nth(start) else {
        return Ok(-1);
    };
    let found = text[at..].find(part);
    Ok(found.map_or(-1, |found| text[..at + found].chars().count() as i64))
}

/// As [`index_of`], for the last occurrence that begins at or before the character `from`.
fn last_index_of(text: &str, part: &str, from: i64) -> Result<i64> {
    if part.is_empty() {
        return Ok(from);
    }
    let Ok(from) = usize::try_from(from) else {
        return Err(format!("index out of range: {from}"));
    };
    let Some((at, _)) = text.char_indices().nth(from) else {
        return Ok(-1);
    };
    // an occurrence that begins at `at` ends this much later
    let mut end = (at + part.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let found = text[..end].rfind(part).filter(|found| *found <= at);
    Ok(found.map_or(-1, |found| text[..found].chars().count() as i64))
}

fn substring(text: &str, start: i64, end: Option<i64>) -> Result<String> {
    let count = text.chars().count();
    let last = end.unwrap_or(count as i64);
    if let Some(end) = end
        && start > end
    {
        return Err(format!(
            "invalid substring range. start: {start}, end: {end}"
        ));
    }
    let within = |at: i64| {
        let found = usize::try_from(at).ok().filter(|at| *at <= count);
        found.ok_or_else(|| format!("index out of range: {at}"))
    };
    let (start, end) = (within(start)?, within(last)?);
    Ok(text.chars().skip(start).take(end - start).collect())
}

/// Replaces the first `limit` occurrences, or all if it is negative.
fn replace(text: &str, old: &str, new: &str, limit: i64, meter: &mut Meter) -> Result<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = if old.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(old).count()
    };
    meter.bytes(
        text.len()
            .saturating_add(count.min(limit).saturating_mul(new.len())),
    )?;
    Ok(text.replacen(old, new, limit))
}

/// Splits at a separator, into at most `limit` parts unless it is negative.
fn split(text: &str, separator: &str, limit: i64, meter: &mut Meter) -> Result {
    let list = |parts: Vec<&str>, meter: &mut Meter| {
        meter.bytes(text.len() + parts.len() * (size_of::<Value>() + 16))?;
        let parts = parts.into_iter().map(|part| Value::String(part.into()));
        Ok(Value::List(Arc::new(parts.collect())))
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return list(Vec::new(), meter);
    }
    if !separator.is_empty() {
        return list(text.splitn(limit, separator).collect(), meter);
    }
    // into characters, the rest in the last part
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if parts.len() + 1 >= limit {
            parts.push(rest);
            break;
        }
        let (character, after) = rest.split_at(first.len_utf8());
        parts.push(character);
        rest = after;
    }
    list(parts, meter)
}

/// A text in quotes, with the escape sequences of the language.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
