//! Values whose tables and lists are shared, as Go's maps and slices are: a change of one is seen wherever it is used.

use std::cell::RefCell;
use std::rc::Rc;

use flux_budget::Claim;
use flux_yaml::{Map, Value};
use indexmap::IndexMap;

use super::set::{self, SetError};

/// A table that other tables may share.
///
/// ```
/// use flux_budget::Claim;
/// use flux_chart::{SharedMap, load_values};
///
/// let inline = SharedMap::from(load_values(b"image: {tag: a}\n").unwrap());
/// let merged = SharedMap::default().merged(&inline);
/// merged.set("image.tag=b", &Claim::unlimited()).unwrap();
/// // The table `image` is in both.
/// assert_eq!(inline.to_map(), merged.to_map());
/// ```
#[derive(Clone, Debug, Default)]
pub struct SharedMap(Rc<RefCell<IndexMap<String, SharedValue>>>);

/// A list that several tables may share.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedList(Rc<RefCell<Vec<SharedValue>>>);

/// A value of a table or list.
#[derive(Clone, Debug)]
pub(super) enum SharedValue {
    /// Neither a table nor a list.
    Scalar(Value),
    List(SharedList),
    Map(SharedMap),
}

impl SharedMap {
    /// Merges `other` over these values into a new table: tables recursively, anything else replaces, a null too. Tables
    /// and lists that only one of them has are shared with the result (RT-VAL-005, HC-VAL-002).
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut merged = self.0.borrow().clone();
        for (key, value) in other.0.borrow().iter() {
            let value = match (merged.get(key), value) {
                (Some(SharedValue::Map(old)), SharedValue::Map(new)) => {
                    SharedValue::Map(old.merged(new))
                }
                (_, value) => value.clone(),
            };
            merged.insert(key.clone(), value);
        }
        Self(Rc::new(RefCell::new(merged)))
    }

    /// As [`set`](super::set()), in this table and all that share its parts. The memory for what is added is taken
    /// through `claim`: a few bytes make a long list.
    ///
    /// # Errors
    /// The argument is invalid, or what it sets does not fit into memory; the settings before the invalid part have been
    /// applied.
    pub fn set(&self, argument: &str, claim: &Claim) -> Result<(), SetError> {
        set::parse_within(self, argument, set::Values::Typed, claim)
    }

    /// As [`set_string`](super::set_string()), in this table and all that share its parts.
    ///
    /// # Errors
    /// As [`SharedMap::set`].
    pub fn set_string(&self, argument: &str, claim: &Claim) -> Result<(), SetError> {
        set::parse_within(self, argument, set::Values::Text, claim)
    }

    /// A copy as plain data.
    pub fn to_map(&self) -> Map {
        let entries = self.0.borrow();
        let entries = entries.iter();
        entries
            .map(|(key, value)| (key.clone(), value.to_value()))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Sets a key, unless it is empty.
    pub(super) fn put(&self, key: String, value: SharedValue) {
        if !key.is_empty() {
            self.0.borrow_mut().insert(key, value);
        }
    }

    /// The list under a key; a new one if it is missing.
    pub(super) fn list(&self, key: &str) -> Result<SharedList, SetError> {
        match self.0.borrow().get(key) {
            None => Ok(SharedList::default()),
            Some(SharedValue::List(list)) => Ok(list.clone()),
            Some(other) => Err(other.conversion("[]interface {}")),
        }
    }

    /// The table under a key; a new one if it is missing.
    pub(super) fn map(&self, key: &str) -> Result<Self, SetError> {
        match self.0.borrow().get(key) {
            None => Ok(Self::default()),
            Some(SharedValue::Map(map)) => Ok(map.clone()),
            Some(other) => Err(other.conversion("map[string]interface {}")),
        }
    }
}

impl From<Map> for SharedMap {
    fn from(map: Map) -> Self {
        let entries = map
            .into_iter()
            .map(|(key, value)| (key, SharedValue::from(value)));
        Self(Rc::new(RefCell::new(entries.collect())))
    }
}

impl SharedList {
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Sets an item. A list that is too short is replaced by a longer copy, which shares only the items.
    pub(super) fn put(&mut self, at: usize, value: SharedValue) {
        if self.0.borrow().len() <= at {
            let mut longer = self.0.borrow().clone();
            longer.resize(at + 1, SharedValue::Scalar(Value::Null));
            self.0 = Rc::new(RefCell::new(longer));
        }
        if let Some(slot) = self.0.borrow_mut().get_mut(at) {
            *slot = value;
        }
    }

    /// The list in this list; a new one for null and beyond the end.
    pub(super) fn list(&self, at: usize) -> Result<Self, SetError> {
        match self.0.borrow().get(at) {
            None | Some(SharedValue::Scalar(Value::Null)) => Ok(Self::default()),
            Some(SharedValue::List(list)) => Ok(list.clone()),
            Some(other) => Err(other.conversion("[]interface {}")),
        }
    }

    /// The table in this list; any other value is replaced by an empty table.
    pub(super) fn map(&self, at: usize) -> SharedMap {
        match self.0.borrow_mut().get_mut(at) {
            Some(SharedValue::Map(map)) => map.clone(),
            Some(other) => {
                let map = SharedMap::default();
                *other = SharedValue::Map(map.clone());
                map
            }
            None => SharedMap::default(),
        }
    }
}

impl SharedValue {
    fn to_value(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::List(list) => Value::Seq(list.0.borrow().iter().map(Self::to_value).collect()),
            Self::Map(map) => Value::Map(map.to_map()),
        }
    }

    fn conversion(&self, wanted: &'static str) -> SetError {
        let found = match self {
            Self::Scalar(Value::Bool(_)) => "bool",
            Self::Scalar(Value::Int(_) | Value::Uint(_)) => "int64",
            Self::Scalar(Value::Float(_)) => "float64",
            Self::Scalar(Value::String(_)) => "string",
            Self::Scalar(_) => "nil",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        };
        SetError::Conversion { found, wanted }
    }
}

impl From<Value> for SharedValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Map(map) => Self::Map(map.into()),
            Value::Seq(items) => {
                let items = items.into_iter().map(Self::from);
                Self::List(SharedList(Rc::new(RefCell::new(items.collect()))))
            }
            scalar => Self::Scalar(scalar),
        }
    }
}
