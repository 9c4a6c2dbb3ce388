//! Strategic merge patches, as `k8s.io/apimachinery` computes them from three states of an object: deletions are those from
//! the old manifest to the new, everything else is the difference from the live object to the new manifest.

use std::cmp::Ordering;

use flux_golang::strconv;
use flux_yaml::{Map, Value};

use super::PatchError;
use super::types::{Field, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Which half of a difference to compute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Additions and changes.
    Changes,
    /// Deletions.
    Deletions,
}

type Made<T> = Result<T, PatchError>;

/// The patch that changes `live` to `new`, without fields that are in `old` but not in `new`.
pub(super) fn three_way(old: &Map, new: &Map, live: &Map, of: Type) -> Made<Map> {
    let changes = diff_maps(live, new, Some(of), Half::Changes, false)?;
    let mut patch = diff_maps(old, new, Some(of), Half::Deletions, false)?;
    merge_maps(&mut patch, changes, Some(of))?;
    Ok(patch)
}

fn diff_maps(from: &Map, to: &Map, of: Option<Type>, half: Half, retain: bool) -> Made<Map> {
    let mut patch = Map::new();
    for (key, new) in to {
        let Some(old) = from.get(key) else {
            if half == Half::Changes {
                patch.insert(key.clone(), new.clone());
            }
            continue;
        };
        if key == DIRECTIVE {
            let (Some(old), Some(new)) = (old.as_str(), new.as_str()) else {
                return Err(PatchError::Directive(DIRECTIVE.to_owned()));
            };
            if old != new {
                patch.insert(key.clone(), Value::String(new.to_owned()));
            }
            continue;
        }
        let field = Type::field(of, key);
        match (old, new) {
            (Value::Map(_), Value::Map(_)) if field.replaces => {
                if half == Half::Changes {
                    patch.insert(key.clone(), new.clone());
                }
            }
            (Value::Map(old), Value::Map(new)) => {
                let below = diff_maps(old, new, field.of, half, field.retains)?;
                if !below.is_empty() {
                    patch.insert(key.clone(), Value::Map(below));
                }
            }
            (Value::Seq(old), Value::Seq(new)) if field.merges => {
                let lists = diff_lists(old, new, field, half)?;
                let mut put = |key: String, list: Vec<Value>| {
                    if !list.is_empty() {
                        patch.insert(key, Value::Seq(list));
                    }
                };
                put(key.clone(), lists.patch);
                put(format!("{DELETE_FROM}{key}"), lists.deleted);
                put(format!("{SET_ORDER}{key}"), lists.order);
            }
            (old, new) => {
                if half == Half::Changes && old != new {
                    patch.insert(key.clone(), new.clone());
                }
            }
        }
    }
    if half == Half::Deletions {
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    if retain {
        let mut kept: Vec<_> = to.iter().filter(|(_, value)| !value.is_null()).collect();
        kept.sort_by_key(|(key, _)| key.as_str());
        let more = from
            .iter()
            .any(|(key, value)| !value.is_null() && !to.contains_key(key));
        if !kept.is_empty() && (!patch.is_empty() || more) {
            let names = kept.into_iter().map(|(key, _)| Value::String(key.clone()));
            patch.insert(RETAIN_KEYS.to_owned(), Value::Seq(names.collect()));
        }
    }
    Ok(patch)
}

/// The difference of two mergeable lists.
#[derive(Default)]
struct Lists {
    /// Items to add or change, and directives that delete items.
    patch: Vec<Value>,
    /// Scalars to delete.
    deleted: Vec<Value>,
    /// The order of the result.
    order: Vec<Value>,
}

fn diff_lists(from: &[Value], to: &[Value], field: Field, half: Half) -> Made<Lists> {
    if from.is_empty() {
        let patch = if half == Half::Changes {
            to.to_vec()
        } else {
            Vec::new()
        };
        return Ok(Lists {
            patch,
            ..Lists::default()
        });
    }
    match element_type(from.iter().chain(to))? {
        Some(Element::Object) => diff_objects(from, to, field, half),
        _ => Ok(diff_scalars(from, to, half)),
    }
}

#[derive(PartialEq, Eq)]
enum Element {
    Object,
    Other(u8),
}

/// The type of all items; `None` for an empty list.
fn element_type<'v>(items: impl Iterator<Item = &'v Value>) -> Made<Option<Element>> {
    let mut found = None;
    for item in items {
        let of = match item {
            Value::Map(_) => Element::Object,
            Value::Seq(_) if found.is_none() => return Err(PatchError::ListOfLists),
            Value::Seq(_) => return Err(PatchError::MixedList),
            Value::Null => Element::Other(0),
            Value::Bool(_) => Element::Other(1),
            Value::Int(_) => Element::Other(2),
            Value::Uint(_) | Value::Float(_) => Element::Other(3),
            Value::String(_) => Element::Other(4),
        };
        if found.as_ref().is_some_and(|found| *found != of) {
            return Err(PatchError::MixedList);
        }
        found = Some(of);
    }
    Ok(found)
}

/// A scalar in the format of Go's `%v`, by which lists are sorted.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Float(number) => strconv::format_float(*number, b'g', None),
        Value::Seq(_) | Value::Map(_) => String::new(),
    }
}

fn sorted(items: &[Value]) -> Vec<(String, &Value)> {
    let mut items: Vec<_> = items.iter().map(|item| (shown(item), item)).collect();
    items.sort_by(|a, b| a.0.cmp(&b.0));
    items
}

fn diff_scalars(from: &[Value], to: &[Value], half: Half) -> Lists {
    let (old, new) = (sorted(from), sorted(to));
    let (mut added, mut deleted) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    loop {
        let order = match (old.get(i), new.get(j)) {
            (None, None) => break,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(old), Some(new)) => old.0.cmp(&new.0),
        };
        if order.is_le() {
            if let Some((_, gone)) = old.get(i).filter(|_| order.is_lt()) {
                deleted.push((*gone).clone());
            }
            i += 1;
        }
        if order.is_ge() {
            if let Some((_, more)) = new.get(j).filter(|_| order.is_gt()) {
                added.push((*more).clone());
            }
            j += 1;
        }
    }
    let place = |item: &Value| to.iter().position(|other| other == item);
    match half {
        Half::Changes => {
            added.sort_by_key(place);
            // The old items are compared in the order of their text.
            let same = old.iter().map(|(_, item)| *item).eq(to);
            Lists {
                patch: added,
                deleted: Vec::new(),
                order: if same { Vec::new() } else { to.to_vec() },
            }
        }
        Half::Deletions => {
            deduplicate(&mut deleted);
            let order = if deleted.is_empty() {
                Vec::new()
            } else {
                to.to_vec()
            };
            Lists {
                patch: Vec::new(),
                deleted,
                order,
            }
        }
    }
}

/// Removes duplicates; the last one replaces the first.
fn deduplicate(items: &mut Vec<Value>) {
    let mut i = 0;
    while i < items.len() {
        let mut j = i + 1;
        while j < items.len() {
            if items.get(i) == items.get(j) {
                items.swap_remove(j);
            } else {
                j += 1;
            }
        }
        i += 1;
    }
}

fn as_object(item: &Value, field: Field) -> Made<&Map> {
    let object = item.as_map();
    object.ok_or_else(|| PatchError::NotAnObject(field.key.to_owned()))
}

fn key_of(item: &Value, field: Field) -> Made<&Value> {
    let object = as_object(item, field)?;
    object.get(field.key).ok_or_else(|| {
        let mut names: Vec<_> = object.keys().map(String::as_str).collect();
        names.sort_unstable();
        PatchError::NoMergeKey {
            item: format!("[{}]", names.join(" ")),
            key: field.key.to_owned(),
        }
    })
}

/// Items by their keys, sorted by key.
fn by_key(items: &[Value], field: Field) -> Made<Vec<(String, &Value)>> {
    let items = items
        .iter()
        .map(|item| Ok((shown(key_of(item, field)?), item)));
    let mut items = items.collect::<Made<Vec<_>>>()?;
    items.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(items)
}

fn diff_objects(from: &[Value], to: &[Value], field: Field, half: Half) -> Made<Lists> {
    let (old, new) = (by_key(from, field)?, by_key(to, field)?);
    let (mut patch, mut deleted) = (Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    loop {
        match (old.get(i), new.get(j)) {
            (None, None) => break,
            (Some((old_key, old)), Some((new_key, new))) if old_key == new_key => {
                let (old, new_map) = (as_object(old, field)?, as_object(new, field)?);
                let mut below = diff_maps(old, new_map, field.of, half, field.retains)?;
                if !below.is_empty() {
                    below.insert(field.key.to_owned(), key_of(new, field)?.clone());
                    patch.push(Value::Map(below));
                }
                (i, j) = (i + 1, j + 1);
            }
            (old, Some((new_key, new))) if old.is_none_or(|(key, _)| key > new_key) => {
                if half == Half::Changes {
                    patch.push((*new).clone());
                }
                j += 1;
            }
            (Some((_, old)), _) => {
                if half == Half::Deletions {
                    deleted.push(deletion(key_of(old, field)?, field));
                }
                i += 1;
            }
            (None, Some(_)) => j += 1,
        }
    }
    let key = |item: &Value| key_of(item, field).ok().cloned();
    let places: Vec<_> = to.iter().map(key).collect();
    patch.sort_by_key(|item| {
        let own = key(item);
        places.iter().position(|place| *place == own)
    });
    let same_order = from.iter().map(key).eq(places.iter().cloned());
    patch.extend(deleted);
    let ordered = !patch.is_empty() || half == Half::Changes && !same_order;
    let order = if ordered {
        let only_key = |item| {
            let key = key_of(item, field)?.clone();
            Ok(Value::Map(
                [(field.key.to_owned(), key)].into_iter().collect(),
            ))
        };
        to.iter().map(only_key).collect::<Made<_>>()?
    } else {
        Vec::new()
    };
    Ok(Lists {
        patch,
        deleted: Vec::new(),
        order,
    })
}

fn deletion(key: &Value, field: Field) -> Value {
    let entries = [
        (field.key.to_owned(), key.clone()),
        (DIRECTIVE.to_owned(), Value::String("delete".to_owned())),
    ];
    Value::Map(entries.into_iter().collect())
}

fn directive(item: &Value) -> Option<&Value> {
    item.get(DIRECTIVE)
}

/// Merges one patch into another.
fn merge_maps(into: &mut Map, mut patch: Map, of: Option<Type>) -> Made<()> {
    match patch.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default()) {
        None => {}
        Some("replace") => {
            patch.shift_remove(DIRECTIVE);
            *into = patch;
            return Ok(());
        }
        Some("delete") => {
            into.clear();
            return Ok(());
        }
        Some(_) => return Err(PatchError::Directive(DIRECTIVE.to_owned())),
    }
    if let Some(kept) = patch.shift_remove(RETAIN_KEYS) {
        match into.get(RETAIN_KEYS) {
            Some(other) if *other != kept => {
                return Err(PatchError::Directive(RETAIN_KEYS.to_owned()));
            }
            _ => into.insert(RETAIN_KEYS.to_owned(), kept),
        };
    }
    merge_ordered(into, &mut patch, of)?;
    for (key, value) in patch {
        if value.is_null() {
            into.insert(key, Value::Null);
            continue;
        }
        let field = Type::field(of, &key);
        match (into.get_mut(&key), value) {
            (Some(Value::Map(own)), Value::Map(value)) => {
                if field.replaces {
                    *own = value;
                } else {
                    merge_maps(own, value, field.of)?;
                }
            }
            (Some(Value::Seq(own)), Value::Seq(value)) if !key.starts_with(DELETE_FROM) => {
                if field.merges {
                    let before = std::mem::take(own);
                    *own = merge_lists(before, value, field)?;
                } else {
                    *own = value;
                }
            }
            (_, value) if key.starts_with(DELETE_FROM) => {
                into.insert(key, value);
            }
            (own, value) => match without_directives(value) {
                Some(value) => {
                    into.insert(key, value);
                }
                None => {
                    if own.is_some() {
                        into.shift_remove(&key);
                    }
                }
            },
        }
    }
    Ok(())
}

/// Merges lists for which a patch has an order, and sorts them by it.
fn merge_ordered(into: &mut Map, patch: &mut Map, of: Option<Type>) -> Made<()> {
    let keys: Vec<_> = patch
        .keys()
        .filter(|key| key.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for order_key in keys {
        let Some(order) = patch.shift_remove(&order_key) else {
            continue;
        };
        let list_key = order_key.strip_prefix(SET_ORDER).unwrap_or_default();
        match into.get(&order_key) {
            Some(other) if *other != order => return Err(PatchError::Directive(order_key)),
            _ => into.insert(order_key.clone(), order.clone()),
        };
        let field = Type::field(of, list_key);
        let order = order.as_seq().unwrap_or_default();
        let before = into
            .get(list_key)
            .and_then(Value::as_seq)
            .map(<[_]>::to_vec);
        let more = match patch.shift_remove(list_key) {
            Some(Value::Seq(items)) => Some(items),
            _ => None,
        };
        if let Some(more) = &more {
            check_order(more, order, field, list_key)?;
        }
        let (before, merged) = match (before, more) {
            (None, None) => continue,
            (Some(before), None) => (before.clone(), before),
            (None, Some(more)) => {
                let kept = more.into_iter().filter_map(without_directives);
                (Vec::new(), kept.collect())
            }
            (Some(before), Some(more)) => (before.clone(), merge_lists(before, more, field)?),
        };
        let all = arranged(merged, order, &before, field)?;
        into.insert(list_key.to_owned(), Value::Seq(all));
    }
    Ok(())
}

/// Checks that the items of a patch are in the patch's order, and that none is a duplicate.
fn check_order(items: &[Value], order: &[Value], field: Field, list: &str) -> Made<()> {
    let key = |item: &Value| match field.key {
        "" => Some(item.clone()),
        key => item.get(key).cloned(),
    };
    if order.is_empty() {
        return Ok(());
    }
    let mut order = order.iter().map(key);
    for item in items.iter().filter(|item| directive(item).is_none()) {
        let wanted = key(item);
        if !order.any(|next| next == wanted) {
            return Err(PatchError::Order(list.to_owned()));
        }
    }
    Ok(())
}

fn merge_lists(mut own: Vec<Value>, patch: Vec<Value>, field: Field) -> Made<Vec<Value>> {
    if own.is_empty() && patch.is_empty() {
        return Ok(own);
    }
    if element_type(own.iter().chain(&patch))? != Some(Element::Object) {
        let before = own.clone();
        own.extend(patch.iter().cloned());
        deduplicate(&mut own);
        return arranged(own, &patch, &before, field);
    }
    let mut plain = Vec::new();
    let mut replaces = false;
    for item in patch {
        match directive(&item).map(|d| d.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("delete") => {
                let key = key_of(&item, field)?;
                own.retain(|other| other.get(field.key) != Some(key));
            }
            Some("replace") => replaces = true,
            Some(_) => return Err(PatchError::Directive(DIRECTIVE.to_owned())),
        }
    }
    if replaces {
        (own, plain) = (plain, Vec::new());
    }
    let before = own.clone();
    for item in &plain {
        let key = key_of(item, field)?;
        let found = own
            .iter_mut()
            .find(|other| other.get(field.key) == Some(key))
            .and_then(Value::as_map_mut);
        match found {
            Some(other) => merge_maps(other, as_object(item, field)?.clone(), field.of)?,
            None => own.push(item.clone()),
        }
    }
    arranged(own, &plain, &before, field)
}

/// Sorts items by a list. Items that are not in the list keep their places relative to the others.
fn arranged(
    items: Vec<Value>,
    order: &[Value],
    before: &[Value],
    field: Field,
) -> Made<Vec<Value>> {
    let key = |item: &Value| match field.key {
        "" => Some(item.clone()),
        key => item.get(key).cloned(),
    };
    let keys = |list: &[Value]| list.iter().map(key).collect::<Vec<_>>();
    let (order, before) = (keys(order), keys(before));
    let place = |list: &[Option<Value>], item: &Value| {
        let own = key(item);
        list.iter().position(|other| *other == own)
    };
    if !field.key.is_empty() {
        for item in &items {
            key_of(item, field)?;
        }
    }
    let (mut named, mut others): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|item| place(&order, item).is_some());
    let deleted = |item: &Value| directive(item).and_then(Value::as_str) == Some("delete");
    named.sort_by_key(|item| (deleted(item), place(&order, item)));
    others.sort_by_key(|item| (deleted(item), place(&before, item)));
    let mut all = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let first = match (others.peek(), named.peek()) {
            (None, None) => return Ok(all),
            (None, Some(_)) => false,
            (Some(_), None) => true,
            (Some(other), Some(named)) => {
                let places = (place(&before, other), place(&before, named));
                matches!(places, (Some(other), Some(named)) if other < named)
            }
        };
        all.extend(if first { others.next() } else { named.next() });
    }
}

/// The value without directives; `None` if it is a directive.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Map(entries) if entries.contains_key(DIRECTIVE) => None,
        Value::Map(entries) => {
            let entries = entries.into_iter();
            let kept = entries.filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Map(kept.collect()))
        }
        Value::Seq(items) => Some(Value::Seq(
            items.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}
