//! What is remembered of each Kustomization's objects between runs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flux_apply::{Memory, ObjectId, Target, Version};
use flux_runtime::queue::Key;

/// Routine runs between two that look at every object although nothing seems to have changed.
const FULL_PASS_EVERY: u32 = 10;

/// What is remembered of each Kustomization's objects.
#[derive(Default)]
pub(crate) struct Memories(Mutex<HashMap<Key, Remembered>>);

/// The memory of one Kustomization.
#[derive(Default)]
pub(super) struct Remembered {
    pub(super) memory: Memory,
    /// What the memory is of: other manifests or another identity start anew.
    of: String,
    routine_runs: u32,
}

impl Memories {
    /// The targets that are not known to be healthy as the run has seen them (KC-HEALTH-012).
    pub(super) fn unsettled(&self, key: &Key, targets: Vec<Target>) -> Vec<Target> {
        let memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match memories.get(key) {
            Some(remembered) => remembered.memory.unsettled(targets),
            None => targets,
        }
    }

    /// Notes what a health check has found healthy.
    pub(super) fn note_current(&self, key: &Key, found: Vec<(ObjectId, Version)>) {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remembered) = memories.get_mut(key) {
            remembered.memory.note_current(found);
        }
    }

    /// Takes the memory for one run, emptied where a full pass is due. A run that fails before it puts it back loses it,
    /// and the next one looks at everything.
    pub(super) fn take(&self, key: &Key, of: &str) -> Remembered {
        let mut remembered = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
            .unwrap_or_default();
        if remembered.of != of || remembered.routine_runs >= FULL_PASS_EVERY {
            remembered.memory.forget();
            remembered.routine_runs = 0;
            of.clone_into(&mut remembered.of);
        }
        remembered.routine_runs += 1;
        remembered
    }

    pub(super) fn put(&self, key: Key, remembered: Remembered) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, remembered);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}
