//! Values as templates see them: maps are shared, not copied, as in Go.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flux_gotemplate::{Constant, Constants, IntType, List, Map, UintType, Value};
use flux_yaml::Value as Data;

/// Converts plain data to new values.
pub(crate) fn from_yaml(data: &flux_yaml::Map) -> Map {
    Map::constant(constants(data))
}

pub(crate) fn value_of(data: &Data) -> Value {
    constant_of(data).value()
}

/// Converts plain data to a form that any number of renders can share.
pub(crate) fn constants(data: &flux_yaml::Map) -> Constants {
    data.iter()
        .map(|(key, value)| (key.as_str().into(), constant_of(value)))
        .collect()
}

fn constant_of(data: &Data) -> Constant {
    match data {
        Data::Null => Constant::Nil,
        Data::Bool(truth) => Constant::Bool(*truth),
        Data::Int(number) => Constant::Int(IntType::Int64, *number),
        Data::Uint(number) => Constant::Uint(UintType::Uint64, *number),
        Data::Float(number) => Constant::Float(*number),
        Data::String(text) => Constant::Str(text.as_str().into()),
        Data::Seq(items) => Constant::List(items.iter().map(constant_of).collect()),
        Data::Map(map) => Constant::Map(constants(map)),
    }
}

/// Converts values to plain data, as JSON would represent them.
pub(crate) fn to_yaml(values: &Constants) -> flux_yaml::Map {
    let entries = values.entries().iter();
    entries
        .map(|(key, value)| (key.to_text().into_owned(), data_of(value)))
        .collect()
}

fn data_of(value: &Constant) -> Data {
    match value {
        Constant::Bool(truth) => Data::Bool(*truth),
        Constant::Int(_, number) => Data::Int(*number),
        Constant::Uint(_, number) => Data::Uint(*number),
        Constant::Float(number) => Data::Float(*number),
        Constant::Str(text) => Data::String(text.to_text().into_owned()),
        Constant::List(items) => Data::Seq(items.iter().map(data_of).collect()),
        Constant::Map(map) => Data::Map(to_yaml(map)),
        Constant::Bytes(bytes) => Data::String(STANDARD.encode(&***bytes)),
        Constant::Nil => Data::Null,
    }
}

/// A copy that shares no mutable data.
pub(crate) fn deep_copy(map: &Map) -> Map {
    if let Some(constants) = map.as_constants() {
        return Map::constant(constants);
    }
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
        Value::List(list) => match list.as_constant() {
            Some(items) => List::constant(Arc::clone(items)),
            None => list.items().iter().map(copy_of).collect(),
        }
        .into(),
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

/// The value at a dotted path, unless it is a table.
pub(crate) fn path_value(values: &Map, path: &str) -> Option<Value> {
    let (holder, key) = match path.rsplit_once('.') {
        Some((tables, key)) => (table(values, tables)?, key),
        None => (values.clone(), path),
    };
    holder
        .get(key.as_bytes())
        .filter(|value| value.as_map().is_none())
}
