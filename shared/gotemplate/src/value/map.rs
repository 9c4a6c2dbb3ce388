//! Go maps, whose keys are strings or texts for keys of another type.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::{Constant, Constants, Str, Type, Value, dispose, types};

/// A Go map with string keys: shared by all its clones, modified in place, iterated in the order of its keys.
///
/// Values that come from JSON, YAML and template functions have no other key types. The maps of a host may
/// ([`TypeInfo::with_keys`](super::TypeInfo::with_keys)): their texts are turned into keys where templates see them.
#[derive(Clone)]
pub struct Map {
    ty: Type,
    entries: Option<Rc<Entries>>,
}

pub(super) struct Entries(RefCell<State>);

enum State {
    Own(BTreeMap<Str, Value>),
    /// Unmodified, without a list or map of it in use elsewhere.
    Constant(Constants),
}

impl Entries {
    /// The entries as values that all clones of the map share.
    fn own(&self) -> Ref<'_, BTreeMap<Str, Value>> {
        self.thaw();
        Ref::map(self.0.borrow(), |state| match state {
            State::Own(entries) => entries,
            // Converted above.
            State::Constant(_) => const { &BTreeMap::new() },
        })
    }

    fn own_mut<T>(&self, change: impl FnOnce(&mut BTreeMap<Str, Value>) -> T) -> Option<T> {
        self.thaw();
        match &mut *self.0.borrow_mut() {
            State::Own(entries) => Some(change(entries)),
            State::Constant(_) => None,
        }
    }

    fn thaw(&self) {
        let own = self.with_constants(|constants| {
            let entries = constants.entries().iter();
            entries
                .map(|(key, constant)| (key.clone(), constant.value()))
                .collect()
        });
        if let Some(own) = own {
            self.0.replace(State::Own(own));
        }
    }

    fn with_constants<T>(&self, look: impl FnOnce(&Constants) -> T) -> Option<T> {
        match &*self.0.borrow() {
            State::Own(_) => None,
            State::Constant(constants) => Some(look(constants)),
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        if let State::Own(entries) = self.0.get_mut() {
            dispose::values(std::mem::take(entries).into_values());
        }
    }
}

/// A write to a nil map, which panics in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("assignment to entry in nil map")]
pub struct NilMap;

impl Map {
    /// An empty `map[string]interface {}`.
    pub fn new() -> Self {
        Self::of(&types::ANY_MAP, BTreeMap::new())
    }

    /// A map of type `ty` (its kind is map); the values must have its element type.
    pub fn of(ty: Type, entries: BTreeMap<Str, Value>) -> Self {
        Self {
            ty,
            entries: Some(Rc::new(Entries(RefCell::new(State::Own(entries))))),
        }
    }

    /// A `map[string]interface {}` of these constants.
    pub fn constant(constants: Constants) -> Self {
        Self {
            ty: &types::ANY_MAP,
            entries: Some(Rc::new(Entries(RefCell::new(State::Constant(constants))))),
        }
    }

    /// The constants that it was created from, unless it was modified or a part of it is in use elsewhere.
    pub fn as_constants(&self) -> Option<Constants> {
        self.entries.as_ref()?.with_constants(Constants::clone)
    }

    /// A snapshot of its values as constants.
    pub fn to_constants(&self) -> Constants {
        self.as_constants().unwrap_or_else(|| {
            self.read(|entries| {
                let entries = entries.iter();
                entries
                    .map(|(key, value)| (key.clone(), Constant::of(value)))
                    .collect()
            })
        })
    }

    /// The nil map of type `ty`: reads as empty, fails on writes.
    pub const fn nil(ty: Type) -> Self {
        Self { ty, entries: None }
    }

    /// Whether this is a nil map.
    pub const fn is_nil(&self) -> bool {
        self.entries.is_none()
    }

    /// The type.
    pub const fn go_type(&self) -> Type {
        self.ty
    }

    /// The same map, shared, with another map type (assigning `Values` to `map[string]interface {}`).
    pub fn with_type(mut self, ty: Type) -> Self {
        self.ty = ty;
        self
    }

    /// The value under `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        let entries = self.entries.as_ref()?;
        if let State::Own(entries) = &*entries.0.borrow() {
            return entries.get(key).cloned();
        }
        let shared = |constant: &Constant| constant.is_container();
        match entries.with_constants(|constants| {
            let constant = constants.get(key);
            (!constant.is_some_and(shared)).then(|| constant.map(Constant::value))
        }) {
            Some(Some(found)) => found,
            _ => entries.own().get(key).cloned(),
        }
    }

    /// Whether there is a value under `key`, possibly nil.
    pub fn contains_key(&self, key: &[u8]) -> bool {
        let constant = |constants: &Constants| constants.get(key).is_some();
        let known = self
            .entries
            .as_ref()
            .and_then(|entries| entries.with_constants(constant));
        known.unwrap_or_else(|| self.read(|entries| entries.contains_key(key)))
    }

    /// Sets the value under `key`.
    pub fn insert(&self, key: impl Into<Str>, value: impl Into<Value>) -> Result<(), NilMap> {
        let entries = self.entries.as_ref().ok_or(NilMap)?;
        // The old value is dropped after the borrow has ended: dropping may access this very map.
        let (key, value) = (key.into(), value.into());
        let old = entries.own_mut(|entries| entries.insert(key, value));
        drop(old);
        Ok(())
    }

    /// Removes and returns the value under `key`.
    pub fn remove(&self, key: &[u8]) -> Option<Value> {
        self.entries
            .as_ref()?
            .own_mut(|entries| entries.remove(key))?
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        let constant = |constants: &Constants| constants.entries().len();
        let known = self
            .entries
            .as_ref()
            .and_then(|entries| entries.with_constants(constant));
        known.unwrap_or_else(|| self.read(BTreeMap::len))
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A snapshot of the keys and values, sorted by key.
    pub fn entries(&self) -> Vec<(Str, Value)> {
        self.read(|entries| {
            entries
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        })
    }

    /// A snapshot of the keys, sorted.
    pub fn keys(&self) -> Vec<Str> {
        self.read(|entries| entries.keys().cloned().collect())
    }

    /// Accesses the entries in place. `look` must not write to this map.
    pub fn read<T>(&self, look: impl FnOnce(&BTreeMap<Str, Value>) -> T) -> T {
        match &self.entries {
            Some(entries) => look(&entries.own()),
            None => look(&BTreeMap::new()),
        }
    }

    /// Whether both are the same map in memory.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.entries, &other.entries) {
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }

    pub(crate) fn address(&self) -> usize {
        self.entries
            .as_ref()
            .map_or(0, |entries| Rc::as_ptr(entries).cast::<u8>() as usize)
    }

    pub(crate) fn watch(&self) -> Option<WeakMap> {
        self.entries
            .as_ref()
            .map(|entries| WeakMap(Rc::downgrade(entries)))
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Into<Str>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let entries = iter.into_iter().map(|(k, v)| (k.into(), v.into()));
        Self::of(&types::ANY_MAP, entries.collect())
    }
}

/// A weak reference to a map, so that cycles created by `set` can be broken.
pub(crate) struct WeakMap(Weak<Entries>);

impl WeakMap {
    /// Empties the map if it is still alive, for example because of a cycle.
    pub(crate) fn clear(&self) {
        if let Some(entries) = self.0.upgrade() {
            let old = entries.0.replace(State::Own(BTreeMap::new()));
            drop(old);
        }
    }
}
