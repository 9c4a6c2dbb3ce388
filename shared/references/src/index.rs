//! Which objects refer to which.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, PoisonError, RwLock};

use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Watched};
use kube::Resource;

/// An object that another refers to, by kind, namespace and name. The API version of a reference is ignored (KC-API-011).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The kind.
    pub kind: Cow<'static, str>,
    /// Namespace and name.
    pub key: Key,
}

impl ObjectRef {
    /// The object of this kind, namespace and name.
    pub fn new(kind: impl Into<Cow<'static, str>>, key: Key) -> Self {
        Self {
            kind: kind.into(),
            key,
        }
    }

    /// The reference to `object`.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new(K::kind(&()), Key::of(object))
    }
}

/// As `Kind/namespace/name`.
impl Display for ObjectRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

/// The key of the object `name` in the namespace that a reference names, by default `own`. An empty namespace counts as
/// none (KC-API-011, RT-CON-023).
pub fn key_in(namespace: Option<&str>, own: &str, name: &str) -> Key {
    let named = namespace.filter(|namespace| !namespace.is_empty());
    Key::new(named.unwrap_or(own), name)
}

/// The objects of one kind by what they refer to, kept up to date with a cache of the kind. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Index(Arc<RwLock<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    referrers: HashMap<ObjectRef, BTreeSet<Key>>,
    references: HashMap<Key, Vec<ObjectRef>>,
}

impl Index {
    /// The index of the objects in `cache`; `references` lists what an object refers to.
    pub fn of<K: Watched>(
        cache: &Cache<K>,
        references: impl Fn(&K) -> Vec<ObjectRef> + Send + Sync + 'static,
    ) -> Self {
        let index = Self::default();
        let entries = index.0.clone();
        cache.observe(move |key, object| {
            let references = object.map(&references).unwrap_or_default();
            let mut entries = entries.write().unwrap_or_else(PoisonError::into_inner);
            entries.set(key, references);
        });
        index
    }

    /// The objects that refer to `object`, sorted.
    pub fn referrers(&self, object: &ObjectRef) -> Vec<Key> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = entries.referrers.get(object);
        found.into_iter().flatten().cloned().collect()
    }
}

impl Entries {
    fn set(&mut self, key: &Key, mut references: Vec<ObjectRef>) {
        references.sort();
        references.dedup();
        let before = self.references.get(key).map_or(&[][..], Vec::as_slice);
        if before == references {
            return;
        }
        for gone in self.references.remove(key).unwrap_or_default() {
            if let Some(referrers) = self.referrers.get_mut(&gone) {
                referrers.remove(key);
                if referrers.is_empty() {
                    self.referrers.remove(&gone);
                }
            }
        }
        for object in &references {
            let referrers = self.referrers.entry(object.clone()).or_default();
            referrers.insert(key.clone());
        }
        if !references.is_empty() {
            self.references.insert(key.clone(), references);
        }
    }
}

#[cfg(test)]
mod tests;
