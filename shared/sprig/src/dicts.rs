//! Dictionaries.

use flux_gotemplate::{CallError, Context, Functions, List, Map, Str, Value, Variadic, types};

use super::convert::to_text;

/// Maximum depth for merging and copying: only cyclic maps are deeper.
const MAX_DEPTH: usize = 500;

pub(super) fn register(f: &mut Functions) {
    f.add("dict", |v: Variadic<Value>| dict(v.0));
    f.add("get", |d: Map, key: Str| {
        d.get(&key).unwrap_or_else(|| "".into())
    });
    f.add(
        "set",
        |c: &mut Context<'_>, d: Map, key: Str, value: Value| {
            if value.is_container() {
                c.note_change(&d);
            }
            d.insert(key, value)?;
            Ok::<_, CallError>(d)
        },
    );
    f.add("unset", |d: Map, key: Str| {
        d.remove(&key);
        d
    });
    f.add("hasKey", |d: Map, key: Str| d.contains_key(&key));
    f.add("pluck", |key: Str, dicts: Variadic<Map>| {
        dicts.0.iter().filter_map(|d| d.get(&key)).collect::<List>()
    });
    // Upstream returns keys and values in random order; here they are sorted.
    f.add("keys", |dicts: Variadic<Map>| {
        List::strings(dicts.0.iter().flat_map(Map::keys))
    });
    f.add("values", |d: Map| {
        d.entries().into_iter().map(|(_, v)| v).collect::<List>()
    });
    f.add("pick", |d: Map, keys: Variadic<Str>| {
        let keys = keys.0.into_iter();
        keys.filter_map(|k| d.get(&k).map(|v| (k, v)))
            .collect::<Map>()
    });
    f.add("omit", |d: Map, keys: Variadic<Str>| {
        let entries = d.entries().into_iter();
        entries
            .filter(|(k, _)| !keys.0.contains(k))
            .collect::<Map>()
    });
    f.add(
        "merge",
        |c: &mut Context<'_>, d: Map, sources: Variadic<Map>| merge_all(c, d, &sources.0, false),
    );
    f.add(
        "mergeOverwrite",
        |c: &mut Context<'_>, d: Map, sources: Variadic<Map>| merge_all(c, d, &sources.0, true),
    );
    f.alias("mustMerge", "merge");
    f.alias("mustMergeOverwrite", "mergeOverwrite");
    f.add("deepCopy", |c: &mut Context<'_>, v: Value| match v {
        Value::Nil => Err("reflect: call of reflect.Value.Type on zero Value".into()),
        v => deep_copy(c, &v, 0),
    });
    f.alias("mustDeepCopy", "deepCopy");
    f.add("dig", |v: Variadic<Value>| dig(v.0));
}

fn dict(values: Vec<Value>) -> Result<Map, CallError> {
    let map = Map::new();
    let mut values = values.into_iter();
    while let Some(key) = values.next() {
        map.insert(to_text(&key)?, values.next().unwrap_or_else(|| "".into()))?;
    }
    Ok(map)
}

fn merge_all(
    c: &mut Context<'_>,
    mut target: Map,
    sources: &[Map],
    overwrite: bool,
) -> Result<Map, CallError> {
    for source in sources {
        if target.is_nil() && !source.is_nil() {
            target = Map::new();
        }
        merge(c, &target, source, overwrite, 0)?;
    }
    Ok(target)
}

/// `mergo.Merge` and `MergeWithOverwrite` on untyped maps, including quirks: overwriting uses empty values too, and maps
/// are merged in place.
fn merge(
    c: &mut Context<'_>,
    target: &Map,
    source: &Map,
    overwrite: bool,
    depth: usize,
) -> Result<(), CallError> {
    if depth > MAX_DEPTH {
        return Err(CallError::limit(
            "the dictionaries are nested too deeply to merge",
        ));
    }
    let entries = source.entries();
    c.spend(entries.len() as u64)?;
    for (key, from) in entries {
        let to = target.get(&key);
        if matches!(from, Value::Nil) {
            if overwrite {
                target.insert(key, Value::Nil)?;
            }
            continue;
        }
        if let (Value::Map(from), Some(Value::Map(to))) = (&from, &to)
            && (!to.is_nil() || from.is_nil())
        {
            merge(c, to, from, overwrite, depth + 1)?;
        }
        let filled = to.as_ref().is_some_and(|to| !mergo_empty(to));
        if filled {
            match (&from, &to) {
                (Value::List(_) | Value::Bytes(_), _) => {
                    if overwrite {
                        set(c, target, key, from)?;
                    }
                    continue;
                }
                (Value::Map(_), Some(Value::Map(_))) => continue,
                _ => {}
            }
        }
        if overwrite || !filled {
            set(c, target, key, from)?;
        }
    }
    Ok(())
}

fn set(c: &mut Context<'_>, map: &Map, key: Str, value: Value) -> Result<(), CallError> {
    if value.is_container() {
        c.note_change(map);
    }
    Ok(map.insert(key, value)?)
}

/// `mergo.isEmptyValue`
fn mergo_empty(value: &Value) -> bool {
    match value {
        Value::Complex(..) => false,
        value => !value.truth(),
    }
}

/// `copystructure.Copy`
fn deep_copy(c: &mut Context<'_>, value: &Value, depth: usize) -> Result<Value, CallError> {
    if depth > MAX_DEPTH {
        return Err(CallError::limit("the value is nested too deeply to copy"));
    }
    c.spend(1)?;
    Ok(match value {
        Value::List(list) if !list.is_nil() => {
            c.charge(std::mem::size_of_val(list.items()))?;
            let items: Result<Vec<_>, _> = list
                .items()
                .iter()
                .map(|item| deep_copy(c, item, depth + 1))
                .collect();
            Value::List(List::of(list.go_type(), items?))
        }
        Value::Map(map) if !map.is_nil() => {
            let copy = Map::of(map.go_type(), std::collections::BTreeMap::new());
            for (key, item) in map.entries() {
                c.charge(64)?;
                copy.insert(key, deep_copy(c, &item, depth + 1)?)?;
            }
            Value::Map(copy)
        }
        other => other.clone(),
    })
}

fn dig(mut args: Vec<Value>) -> Result<Value, CallError> {
    if args.len() < 3 {
        return Err("dig needs at least three arguments".into());
    }
    let mut current = args.pop().unwrap_or_default();
    let default = args.pop().unwrap_or_default();
    plain_map(&current)?;
    for key in &args {
        if !matches!(key, Value::Str(_)) {
            return Err(conversion(key, "string"));
        }
    }
    for key in args {
        let map = plain_map(&current)?;
        match key.as_str().and_then(|key| map.get(key)) {
            Some(next) => current = next,
            None => return Ok(default),
        }
    }
    Ok(current)
}

/// A type assertion to `map[string]interface {}`, which fails for a declared map type.
fn plain_map(value: &Value) -> Result<&Map, CallError> {
    match value {
        Value::Map(map) if map.go_type().same(&types::ANY_MAP) => Ok(map),
        other => Err(conversion(other, types::ANY_MAP.name)),
    }
}

fn conversion(value: &Value, wanted: &str) -> CallError {
    let is = match value {
        Value::Nil => "nil",
        other => other.type_name(),
    };
    CallError::new(format!(
        "interface conversion: interface {{}} is {is}, not {wanted}"
    ))
}
