//! Field paths: splitting them, and following them through an object.

use super::{Kind, Node, fields, scalar};
use crate::error::Result;

/// Splits a path at separators without a preceding backslash.
pub(crate) fn split_path(path: &str, separator: char) -> Vec<String> {
    let mut parts = path.split(separator).peekable();
    let mut done: Vec<String> = Vec::new();
    if path.starts_with(separator) {
        parts.next();
    }
    done.push(parts.next().unwrap_or_default().to_owned());
    for part in parts {
        match done.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(separator);
                last.push_str(part);
            }
            _ => done.push(part.to_owned()),
        }
    }
    done
}

/// As [`split_path`], where `[a.b]` is one part: without its brackets, unless it is a `[key=value]`.
pub(crate) fn split_path_smart(path: &str, separator: char) -> Vec<String> {
    let mut parts = split_path(path, separator).into_iter();
    let mut done = Vec::new();
    while let Some(part) = parts.next() {
        if !part.starts_with('[') || part.ends_with(']') {
            done.push(part);
            continue;
        }
        let mut whole = part;
        for next in parts.by_ref() {
            whole.push(separator);
            whole.push_str(&next);
            if next.ends_with(']') {
                break;
            }
        }
        if whole.contains('=') {
            done.push(whole);
        } else {
            done.push(whole.trim_matches(['[', ']']).to_owned());
        }
    }
    done
}

/// Go's `strconv.Atoi`.
pub(super) fn atoi(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

pub(super) fn is_list_index(part: &str) -> bool {
    part.starts_with('[') && part.ends_with(']')
}

/// The `key` and `value` of `[key=value]`.
pub(super) fn list_index(part: &str) -> Result<(&str, &str)> {
    let inner = part.strip_suffix(']').unwrap_or(part);
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    inner.split_once('=').ok_or_else(|| {
        "list path element must contain fieldName=fieldValue for element to match".into()
    })
}

/// The required kind of a path's part, given the next part.
pub(super) fn kind_for(next: Option<&str>, last: Kind) -> Kind {
    match next {
        None | Some("") => last,
        Some(part) if is_list_index(part) || atoi(part).is_some_and(|index| index >= 0) => {
            Kind::Sequence
        }
        Some(_) => Kind::Mapping,
    }
}

pub(super) fn clean<S: AsRef<str>>(path: &[S]) -> Vec<&str> {
    path.iter()
        .map(|part| part.as_ref().trim())
        .filter(|part| !part.is_empty())
        .collect()
}

/// Where a part of a path leads in a node.
enum Step {
    At(usize),
    Nowhere,
    /// The key, if any, and the value.
    Create(Option<Box<Node>>, Box<Node>),
}

fn step(node: &Node, part: &str, create: Option<Kind>) -> Result<Step> {
    if let Some(index) = atoi(part) {
        if index < 0 {
            return Err(format!("array index {index} cannot be negative").into());
        }
        fields::expect(node, Kind::Sequence)?;
        return Ok(match usize::try_from(index) {
            Ok(at) if at < node.content.len() => Step::At(at),
            _ => Step::Nowhere,
        });
    }
    if part == "-" {
        fields::expect(node, Kind::Sequence)?;
        return Ok(node
            .content
            .len()
            .checked_sub(1)
            .map_or(Step::Nowhere, Step::At));
    }
    if part == "*" {
        return Err("wildcard is not supported in PathGetter".into());
    }
    if is_list_index(part) {
        let (key, value) = list_index(part)?;
        fields::expect(node, Kind::Sequence)?;
        let found = node.content.iter().position(|item| {
            if key.is_empty() {
                item.value == value
            } else {
                field_matches(item, key, value)
            }
        });
        return Ok(match (found, create) {
            (Some(at), _) => Step::At(at),
            (None, None) => Step::Nowhere,
            (None, Some(_)) => Step::Create(None, Box::new(element(key, value))),
        });
    }
    if fields::is_null(node) {
        return Ok(Step::Nowhere);
    }
    fields::expect(node, Kind::Mapping)?;
    Ok(match (node.position(part), create) {
        (Some(at), _) => Step::At(at + 1),
        (None, None) => Step::Nowhere,
        (None, Some(kind)) => Step::Create(Some(Box::new(scalar(part))), Box::new(Node::new(kind))),
    })
}

/// Whether the item is a mapping with a field of this value.
pub(crate) fn field_matches(item: &Node, key: &str, value: &str) -> bool {
    !fields::is_null(item)
        && item.kind == Kind::Mapping
        && item.get(key).is_some_and(|found| found.value == value)
}

/// The list element to create for `[key=value]`.
pub(super) fn element(key: &str, value: &str) -> Node {
    if key.is_empty() {
        return scalar(value);
    }
    let mut map = Node::new(Kind::Mapping);
    map.content.extend([scalar(key), scalar(value)]);
    map
}

/// Follows a path of field names, list indices and `[key=value]` parts.
pub(crate) fn lookup<'n, S: AsRef<str>>(node: &'n Node, path: &[S]) -> Result<Option<&'n Node>> {
    let mut at = node;
    for part in clean(path) {
        match step(at, part, None)? {
            Step::At(index) => match at.content.get(index) {
                Some(next) => at = next,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// As [`lookup`], and creates what is missing; the last part becomes a node of the given kind.
///
/// Nothing is created below a null.
pub(crate) fn lookup_create<'n, S: AsRef<str>>(
    node: &'n mut Node,
    kind: Kind,
    path: &[S],
) -> Result<Option<&'n mut Node>> {
    let parts = clean(path);
    let mut at = node;
    for (depth, part) in parts.iter().enumerate() {
        let wanted = kind_for(parts.get(depth + 1).copied(), kind);
        let index = match step(at, part, Some(wanted))? {
            Step::At(index) => index,
            Step::Nowhere => return Ok(None),
            Step::Create(key, value) => {
                at.content.extend(key.map(|key| *key));
                at.content.push(*value);
                at.content.len() - 1
            }
        };
        match at.content.get_mut(index) {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_written() {
        // KZ-REPL-014, KZ-FS-002
        for (path, want) in [
            ("a.b", vec!["a", "b"]),
            (r"a\.b.c", vec!["a.b", "c"]),
            (".a", vec!["a"]),
            ("", vec![""]),
            ("m.[x.io/a].b", vec!["m", "x.io/a", "b"]),
            ("a.[k=v.w].b", vec!["a", "[k=v.w]", "b"]),
        ] {
            assert_eq!(split_path_smart(path, '.'), want, "{path}");
        }
        assert_eq!(split_path(r"/m/x\/y", '/'), ["m", "x/y"]);
    }
}
