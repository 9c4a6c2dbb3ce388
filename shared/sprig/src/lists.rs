//! Lists.

use std::borrow::Cow;

use flux_gotemplate::{CallError, Context, Functions, List, UintType, Value, Variadic, types};

use super::convert::to_int64;

type Listed = Result<List, CallError>;

/// The panic for nil in place of a list.
const NIL: &str = "runtime error: invalid memory address or nil pointer dereference";

pub(super) fn register(f: &mut Functions) {
    f.add("list", |v: Variadic<Value>| List::new(v.0));
    f.alias("tuple", "list");
    f.add("push", |list: Value, v: Value| push(&list, v));
    f.add("prepend", |list: Value, v: Value| prepend(&list, v));
    f.add("first", |list: Value| {
        Ok::<_, CallError>(items(&list, "find first on")?.first().cloned())
    });
    f.add("last", |list: Value| {
        Ok::<_, CallError>(items(&list, "find last on")?.last().cloned())
    });
    f.add("rest", |list: Value| {
        Ok::<_, CallError>(tail(
            items(&list, "find rest on")?
                .split_first()
                .map(|(_, rest)| rest),
        ))
    });
    f.add("initial", |list: Value| {
        Ok::<_, CallError>(tail(
            items(&list, "find initial on")?
                .split_last()
                .map(|(_, rest)| rest),
        ))
    });
    f.add("reverse", |list: Value| {
        Ok::<_, CallError>(
            items(&list, "find reverse on")?
                .iter()
                .rev()
                .cloned()
                .collect::<List>(),
        )
    });
    f.add("compact", |list: Value| {
        let items = items(&list, "compact on")?;
        Ok::<_, CallError>(
            items
                .iter()
                .filter(|v| v.truth())
                .cloned()
                .collect::<List>(),
        )
    });
    f.add("uniq", |c: &mut Context<'_>, list: Value| uniq(c, &list));
    f.add(
        "without",
        |c: &mut Context<'_>, list: Value, omit: Variadic<Value>| {
            let items = items(&list, "find without on")?;
            let mut kept = Vec::new();
            for item in items.iter() {
                if !any_equal(c, item, &omit.0)? {
                    kept.push(item.clone());
                }
            }
            Ok::<_, CallError>(List::new(kept))
        },
    );
    f.add("has", |c: &mut Context<'_>, needle: Value, list: Value| {
        if matches!(list, Value::Nil) {
            return Ok::<_, CallError>(false);
        }
        let items = items(&list, "find has on")?;
        any_equal(c, &needle, &items)
    });
    f.add("slice", |list: Value, at: Variadic<Value>| {
        slice(&list, &at.0)
    });
    f.add("concat", |c: &mut Context<'_>, lists: Variadic<Value>| {
        concat(c, &lists.0)
    });
    f.add("chunk", |size: i64, list: Value| chunk(size, &list));
    f.alias("append", "push");
    for (must, plain) in [
        ("mustAppend", "push"),
        ("mustPush", "push"),
        ("mustPrepend", "prepend"),
        ("mustFirst", "first"),
        ("mustLast", "last"),
        ("mustRest", "rest"),
        ("mustInitial", "initial"),
        ("mustReverse", "reverse"),
        ("mustCompact", "compact"),
        ("mustUniq", "uniq"),
        ("mustWithout", "without"),
        ("mustHas", "has"),
        ("mustSlice", "slice"),
        ("mustChunk", "chunk"),
    ] {
        // Returned errors and panics have the same text.
        f.alias(must, plain);
    }
}

/// The elements of any slice; `None` for other values.
pub(super) fn elements(value: &Value) -> Option<Cow<'_, [Value]>> {
    match value {
        Value::List(list) => Some(Cow::Borrowed(list.items())),
        Value::Bytes(bytes) => Some(
            bytes
                .iter()
                .map(|&b| Value::Uint(UintType::Uint8, u64::from(b)))
                .collect(),
        ),
        _ => None,
    }
}

/// The elements of a list, or Go's error: `Cannot <doing> type <kind>`.
fn items<'a>(value: &'a Value, doing: &str) -> Result<Cow<'a, [Value]>, CallError> {
    let Some(kind) = value.kind() else {
        return Err(NIL.into());
    };
    elements(value).ok_or_else(|| CallError::new(format!("Cannot {doing} type {}", kind.name())))
}

/// A list, or the nil slice for `None`.
fn tail(items: Option<&[Value]>) -> List {
    match items {
        Some(items) => List::new(items.to_vec()),
        None => List::nil(&types::ANY_SLICE),
    }
}

fn push(list: &Value, value: Value) -> Listed {
    let items = items(list, "push on")?;
    let mut all = Vec::with_capacity(items.len() + 1);
    all.extend_from_slice(&items);
    all.push(value);
    Ok(List::new(all))
}

fn prepend(list: &Value, value: Value) -> Listed {
    let items = items(list, "prepend on")?;
    let mut all = Vec::with_capacity(items.len() + 1);
    all.push(value);
    all.extend_from_slice(&items);
    Ok(List::new(all))
}

fn uniq(c: &mut Context<'_>, list: &Value) -> Listed {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(list, "find uniq on")?.iter() {
        if !any_equal(c, item, &kept)? {
            kept.push(item.clone());
        }
    }
    Ok(List::new(kept))
}

/// Whether one of the items equals the value.
fn any_equal(c: &mut Context<'_>, value: &Value, items: &[Value]) -> Result<bool, CallError> {
    for item in items {
        if c.deep_equal(value, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn slice(list: &Value, at: &[Value]) -> Result<Value, CallError> {
    let Some(kind) = list.kind() else {
        return Err(NIL.into());
    };
    let len = match list {
        Value::List(list) => list.items().len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => {
            return Err(
                format!("list should be type of slice or array but {}", kind.name()).into(),
            );
        }
    };
    if len == 0 {
        return Ok(Value::Nil);
    }
    let start = at.first().map_or(0, to_int64);
    let end = at.get(1).map_or(len as i64, to_int64);
    let range = match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => start..end,
        _ => usize::MAX..usize::MAX,
    };
    let out = || CallError::new("reflect.Value.Slice: slice index out of bounds");
    match list {
        Value::Bytes(bytes) => {
            let part: Vec<u8> = bytes.get(range).ok_or_else(out)?.into();
            Ok(Value::bytes(part))
        }
        Value::List(list) => {
            let items = list.items().get(range).ok_or_else(out)?;
            Ok(List::of(list.go_type(), items.to_vec()).into())
        }
        _ => Ok(Value::Nil),
    }
}

fn concat(c: &mut Context<'_>, lists: &[Value]) -> Listed {
    let mut all = Vec::new();
    for list in lists {
        let Some(kind) = list.kind() else {
            return Err(NIL.into());
        };
        let items = elements(list)
            .ok_or_else(|| CallError::new(format!("Cannot concat type {} as list", kind.name())))?;
        // Before they are copied: one list may be named many times.
        c.charge(2 * std::mem::size_of_val(&*items))?;
        all.extend_from_slice(&items);
    }
    if all.is_empty() {
        return Ok(List::nil(&types::ANY_SLICE));
    }
    Ok(List::new(all))
}

fn chunk(size: i64, list: &Value) -> Listed {
    let items = items(list, "chunk")?;
    // Go computes the number of chunks with floats; for a size below one it may be zero.
    let count = ((items.len() as f64 - 1.0) / size as f64).floor() + 1.0;
    if items.len() == 1 && size < -1 {
        let chunk = List::new(items.to_vec()).into();
        return Ok(List::of(&types::ANY_SLICE_SLICE, vec![chunk]));
    }
    let size = usize::try_from(size).ok().filter(|&n| n > 0);
    let Some(size) = size else {
        if count == 0.0 {
            return Ok(List::of(&types::ANY_SLICE_SLICE, Vec::new()));
        }
        return Err("runtime error: makeslice: len out of range".into());
    };
    let chunks = items
        .chunks(size)
        .map(|chunk| List::new(chunk.to_vec()).into())
        .collect();
    Ok(List::of(&types::ANY_SLICE_SLICE, chunks))
}
