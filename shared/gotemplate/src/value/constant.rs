//! Immutable data that is kept between runs and shared between threads.

use std::sync::Arc;

use bytes::Bytes;

use super::{Blob, IntType, List, Map, Str, UintType, Value};

/// An immutable value, which a run converts to a [`Value`] on first access.
#[derive(Clone, Debug)]
pub enum Constant {
    /// The nil interface.
    Nil,
    /// `bool`
    Bool(bool),
    /// A signed integer and its type.
    Int(IntType, i64),
    /// An unsigned integer and its type.
    Uint(UintType, u64),
    /// `float64`
    Float(f64),
    /// `string`
    Str(Str),
    /// `[]byte`
    Bytes(Arc<Bytes>),
    /// `[]interface {}`
    List(Arc<[Constant]>),
    /// `map[string]interface {}`
    Map(Constants),
}

/// The entries of an immutable map, cheap to clone.
///
/// A [`Map`] of them costs next to nothing: its entries are converted to values when the map is first changed, or when a
/// list or map among them is first accessed, one level at a time. So large defaults are not copied if a template reads only
/// a few of them.
#[derive(Clone, Debug, Default)]
pub struct Constants(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Sorted by key, without duplicates.
    entries: Box<[(Str, Constant)]>,
    has_nil: bool,
}

impl Constants {
    /// The entries, sorted by key.
    pub fn entries(&self) -> &[(Str, Constant)] {
        &self.0.entries
    }

    /// The constant under `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Constant> {
        let entries = self.entries();
        let found = entries.binary_search_by(|(own, _)| own.as_bytes().cmp(key));
        found
            .ok()
            .and_then(|at| entries.get(at))
            .map(|(_, constant)| constant)
    }

    /// Whether it contains nil, at any depth of maps; lists are not searched.
    pub fn has_nil(&self) -> bool {
        self.0.has_nil
    }

    /// Estimated bytes of memory.
    pub fn size(&self) -> usize {
        let entries = self.entries().iter();
        let within: usize = entries
            .map(|(key, constant)| key.heap_size() + constant.heap_size())
            .sum();
        std::mem::size_of::<Inner>() + std::mem::size_of_val(self.entries()) + within
    }
}

impl FromIterator<(Str, Constant)> for Constants {
    /// Of equal keys the last one counts.
    fn from_iter<I: IntoIterator<Item = (Str, Constant)>>(iter: I) -> Self {
        let mut entries: Vec<_> = iter.into_iter().collect();
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            let sorted: std::collections::BTreeMap<_, _> = entries.into_iter().collect();
            entries = sorted.into_iter().collect();
        }
        let has_nil = entries.iter().any(|(_, constant)| match constant {
            Constant::Nil => true,
            Constant::Map(map) => map.has_nil(),
            _ => false,
        });
        let entries = entries.into_boxed_slice();
        Self(Arc::new(Inner { entries, has_nil }))
    }
}

impl Constant {
    /// Converts it to a value.
    pub fn value(&self) -> Value {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(ty, number) => Value::Int(*ty, *number),
            Self::Uint(ty, number) => Value::Uint(*ty, *number),
            Self::Float(number) => Value::Float(*number),
            Self::Str(text) => Value::Str(text.clone()),
            Self::Bytes(bytes) => Value::Bytes(Blob::new(Bytes::clone(bytes))),
            Self::List(items) => Value::List(List::constant(Arc::clone(items))),
            Self::Map(map) => Value::Map(Map::constant(map.clone())),
        }
    }

    /// A snapshot of a value as constant; nil for values without a constant form (functions, objects, times).
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(ty, number) => Self::Int(*ty, *number),
            Value::Uint(ty, number) => Self::Uint(*ty, *number),
            Value::Float(number) => Self::Float(*number),
            Value::Str(text) => Self::Str(text.clone()),
            Value::List(list) => Self::List(match list.as_constant() {
                Some(items) => Arc::clone(items),
                None => list.items().iter().map(Self::of).collect(),
            }),
            Value::Map(map) => Self::Map(map.to_constants()),
            _ => Self::Nil,
        }
    }

    /// Whether reading it returns an object that all readers share.
    pub(super) const fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_))
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Str(text) => text.heap_size(),
            Self::Bytes(bytes) => std::mem::size_of::<Bytes>() + bytes.len(),
            Self::List(items) => {
                let within: usize = items.iter().map(Self::heap_size).sum();
                std::mem::size_of_val(&**items) + within
            }
            Self::Map(map) => map.size(),
            _ => 0,
        }
    }
}
