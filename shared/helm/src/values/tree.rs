//! Values as templates see them: maps that are shared, not copied, as Go's are.

use flux_gotemplate::{IntType, List, Map, Value};
use flux_yaml::Value as Data;

/// Values of their own from plain data.
pub(crate) fn from_yaml(data: &flux_yaml::Map) -> Map {
    data.iter()
        .map(|(key, value)| (key.as_str(), value_of(value)))
        .collect()
}

pub(crate) fn value_of(data: &Data) -> Value {
    match data {
        Data::Null => Value::Nil,
        Data::Bool(truth) => Value::Bool(*truth),
        Data::Int(number) => Value::int64(*number),
        Data::Uint(number) => Value::uint64(*number),
        Data::Float(number) => Value::Float(*number),
        Data::String(text) => Value::from(text.as_str()),
        Data::Seq(items) => items.iter().map(value_of).collect::<List>().into(),
        Data::Map(map) => from_yaml(map).into(),
    }
}

/// Plain data from values; what JSON could not say becomes null.
pub(crate) fn to_yaml(values: &Map) -> flux_yaml::Map {
    values.read(|entries| {
        entries
            .iter()
            .map(|(key, value)| (key.to_text().into_owned(), data_of(value)))
            .collect()
    })
}

fn data_of(value: &Value) -> Data {
    match value {
        Value::Bool(truth) => Data::Bool(*truth),
        Value::Int(IntType::Int | IntType::Int64, number) => Data::Int(*number),
        Value::Uint(_, number) => Data::Uint(*number),
        Value::Float(number) => Data::Float(*number),
        Value::Str(text) => Data::String(text.to_text().into_owned()),
        Value::List(list) => Data::Seq(list.items().iter().map(data_of).collect()),
        Value::Map(map) => Data::Map(to_yaml(map)),
        _ => Data::Null,
    }
}

/// A copy that shares nothing that can change.
pub(crate) fn deep_copy(map: &Map) -> Map {
    map.read(|entries| {
        entries
            .iter()
            .map(|(key, value)| (key.clone(), copy_of(value)))
            .collect()
    })
}

fn copy_of(value: &Value) -> Value {
    match value {
        Value::Map(map) => deep_copy(map).into(),
        Value::List(list) => list.items().iter().map(copy_of).collect::<List>().into(),
        other => other.clone(),
    }
}

/// The table at a dotted path.
pub(crate) fn table(values: &Map, path: &str) -> Option<Map> {
    path.split('.').try_fold(values.clone(), |table, key| {
        match table.get(key.as_bytes())? {
            Value::Map(map) => Some(map),
            _ => None,
        }
    })
}

/// What stands at a dotted path, unless it is a table.
pub(crate) fn path_value(values: &Map, path: &str) -> Option<Value> {
    let (holder, key) = match path.rsplit_once('.') {
        Some((tables, key)) => (table(values, tables)?, key),
        None => (values.clone(), path),
    };
    holder
        .get(key.as_bytes())
        .filter(|value| value.as_map().is_none())
}
