//! In-memory state of a reconciler for each object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queue::Key;

/// A value for each object, for as long as the object exists: pass it to
/// [`Controller::clearing`](crate::controller::Controller::clearing), and the frame removes the value of an object that
/// is gone. Clones share the values.
///
/// ```
/// use flux_runtime::per_object::PerObject;
/// use flux_runtime::queue::Key;
///
/// let digests = PerObject::<String>::default();
/// let key = Key::new("apps", "podinfo");
/// assert_eq!(digests.get(&key), None);
/// digests.insert(&key, "sha256:1".to_owned());
/// assert_eq!(digests.get(&key).as_deref(), Some("sha256:1"));
/// digests.update(&key, |digest| digest.push('2'));
/// assert_eq!(digests.get(&key).as_deref(), Some("sha256:12"));
/// assert_eq!(digests.read(&key, String::len), Some(9));
/// ```
pub struct PerObject<T> {
    values: Arc<Mutex<Values<T>>>,
}

/// Boxed, since half of a map may be room for values to come.
type Values<T> = HashMap<Key, Box<T>>;

impl<T> Clone for PerObject<T> {
    fn clone(&self) -> Self {
        Self {
            values: self.values.clone(),
        }
    }
}

impl<T> Default for PerObject<T> {
    fn default() -> Self {
        Self {
            values: Arc::default(),
        }
    }
}

impl<T> PerObject<T> {
    fn values(&self) -> MutexGuard<'_, Values<T>> {
        // A panic in `update` leaves one value as that closure left it, and the map intact.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the object's value, if there is one.
    pub fn get(&self, key: &Key) -> Option<T>
    where
        T: Clone,
    {
        self.values().get(key).map(|value| T::clone(value))
    }

    /// Sets the object's value.
    pub fn insert(&self, key: &Key, value: T) {
        self.values().insert(key.clone(), Box::new(value));
    }

    /// Changes the object's value, initially the default, and returns the result of `change`. All values are locked
    /// meanwhile, so `change` should be short.
    pub fn update<R>(&self, key: &Key, change: impl FnOnce(&mut T) -> R) -> R
    where
        T: Default,
    {
        change(self.values().entry(key.clone()).or_default())
    }

    /// What `read` finds in the object's value, if there is one. All values are locked meanwhile, so `read` should be short.
    pub fn read<R>(&self, key: &Key, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.values().get(key).map(|value| read(value))
    }

    /// Removes the object's value.
    pub fn remove(&self, key: &Key) {
        self.values().remove(key);
    }
}
