//! Runs that push to one branch take turns: without that, all but one of those that a policy wakes at the same time would
//! lose the race and start over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The turns of all branches. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Turns {
    /// By address and branch; those that no run holds or waits for are dropped.
    branches: Arc<Mutex<Branches>>,
}

type Branches = HashMap<(String, String), Weak<Turn<()>>>;

/// The turn of one branch, until it is dropped.
pub(super) type Held = OwnedMutexGuard<()>;

impl Turns {
    /// The turn of a branch.
    pub(super) fn of(&self, address: &str, branch: &str) -> Arc<Turn<()>> {
        let mut branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        branches.retain(|_, turn| turn.strong_count() > 0);
        let key = (address.to_owned(), branch.to_owned());
        if let Some(turn) = branches.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        branches.insert(key, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_branch_has_one_turn_at_a_time() {
        let turns = Turns::default();
        let held = turns.of("a", "main").try_lock_owned().unwrap();
        assert!(turns.of("a", "main").try_lock().is_err());
        assert!(turns.of("a", "other").try_lock().is_ok());
        assert!(turns.of("b", "main").try_lock().is_ok());
        drop(held);
        assert!(turns.of("a", "main").try_lock().is_ok());
        assert_eq!(turns.branches.lock().unwrap().len(), 1);
    }
}
