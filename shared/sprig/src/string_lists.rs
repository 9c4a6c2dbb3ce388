//! Conversion between texts and lists: `split`, `join`, `sortAlpha`.

use std::collections::BTreeMap;

use flux_golang::unicode;
use flux_gotemplate::{CallError, Functions, List, Map, Str, Value, types};
use memchr::memmem;

use super::convert::to_text;
use super::lists::elements;

pub(super) fn register(f: &mut Functions) {
    f.add("splitList", |sep: Str, s: Str| {
        List::strings(split(&s, &sep, None))
    });
    f.add("split", |sep: Str, s: Str| numbered(split(&s, &sep, None)));
    f.add("splitn", |sep: Str, n: i64, s: Str| {
        numbered(split(&s, &sep, usize::try_from(n).ok()))
    });
    f.add("join", |sep: Str, v: Value| {
        let parts = texts(&v)?;
        Ok::<_, CallError>(Str::from(parts.join(sep.as_bytes())))
    });
    f.add("toStrings", |v: Value| match v {
        Value::List(list) if list.go_type().same(&types::STRING_SLICE) => Ok(list),
        v => Ok::<_, CallError>(List::strings(texts(&v)?)),
    });
    f.add("sortAlpha", |v: Value| {
        let mut parts = match elements(&v) {
            Some(_) => texts(&v)?,
            None => vec![to_text(&v)?],
        };
        parts.sort_unstable();
        Ok::<_, CallError>(List::strings(parts))
    });
}

/// `strings.SplitN`, or `strings.Split` without a limit.
pub(super) fn split<'a>(s: &'a [u8], sep: &[u8], limit: Option<usize>) -> Vec<&'a [u8]> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    if limit == 0 {
        return parts;
    }
    let mut from = 0;
    if sep.is_empty() {
        for (at, _, width) in unicode::runes(s) {
            if parts.len() + 1 == limit {
                break;
            }
            parts.push(s.get(at..at + width).unwrap_or_default());
            from = at + width;
        }
        if from < s.len() {
            parts.push(s.get(from..).unwrap_or_default());
        }
        return parts;
    }
    for at in memmem::find_iter(s, sep) {
        if parts.len() + 1 == limit {
            break;
        }
        parts.push(s.get(from..at).unwrap_or_default());
        from = at + sep.len();
    }
    parts.push(s.get(from..).unwrap_or_default());
    parts
}

/// `map[string]string{"_0": …}`
fn numbered(parts: Vec<&[u8]>) -> Map {
    let entries: BTreeMap<Str, Value> = parts
        .into_iter()
        .enumerate()
        .map(|(i, part)| (format!("_{i}").into(), Value::Str(Str::new(part))))
        .collect();
    Map::of(&types::STRING_MAP, entries)
}

/// Sprig's `strslice`: the texts of a list without nils; for any other value its own text.
pub(super) fn texts(value: &Value) -> Result<Vec<Str>, CallError> {
    match elements(value) {
        Some(items) => items
            .iter()
            .filter(|v| !matches!(v, Value::Nil))
            .map(to_text)
            .collect(),
        None if matches!(value, Value::Nil) => Ok(Vec::new()),
        None => Ok(vec![to_text(value)?]),
    }
}
