//! The Kustomizations that objects belong to, as numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_runtime::queue::Key;

/// Namespace and name of each owner, once however many objects of whatever kinds it has, and only as long as it has any.
/// Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    numbers: HashMap<Arc<Key>, u32>,
    /// Each owner with the number of its objects.
    keys: Vec<(Arc<Key>, u32)>,
    free: Vec<u32>,
}

impl Owners {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of an owner, for one more object.
    pub(super) fn add(&self, key: Key) -> u32 {
        self.state().add(key)
    }

    /// The owner of this number, for one object less.
    pub(super) fn remove(&self, number: u32) -> Key {
        self.state().remove(number)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state().numbers.len()
    }
}

impl State {
    fn add(&mut self, key: Key) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            if let Some((_, count)) = self.keys.get_mut(*number as usize) {
                *count += 1;
            }
            return *number;
        }
        let key = Arc::new(key);
        let entry = (key.clone(), 1);
        let number = if let Some(number) = self.free.pop()
            && let Some(place) = self.keys.get_mut(number as usize)
        {
            *place = entry;
            number
        } else {
            self.keys.push(entry);
            // There are fewer owners than objects, whose memory is bounded.
            u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
        };
        self.numbers.insert(key, number);
        number
    }

    fn remove(&mut self, number: u32) -> Key {
        let Some((key, count)) = self.keys.get_mut(number as usize) else {
            return Key::new("", "");
        };
        *count = count.saturating_sub(1);
        let key = key.clone();
        if *count == 0 && self.numbers.remove(&key).is_some() {
            self.free.push(number);
        }
        Key::clone(&key)
    }
}
