//! Caches for each Kustomization between its runs: the last build, and the objects as the last run left them.

use std::sync::Arc;

use flux_budget::{Budget, Cache, Claim};
use flux_cluster::{CustomRules, Live, ObjectId, Target, Uid, Version};
use flux_runtime::per_object::PerObject;
use flux_runtime::queue::Key;

use super::build::Built;
use crate::watched::{Drift, Known};

/// Every how many routine runs all objects are checked although nothing seems to have changed.
const FULL_PASS_EVERY: u32 = 10;

/// The caches of all Kustomizations.
pub(crate) struct Memories {
    budget: Budget,
    /// The last build of each Kustomization. Together they may take a quarter of the process's memory, and less when other
    /// work needs it; the least recently used are evicted first.
    builds: Cache<Key, Built>,
    objects: PerObject<Memory>,
}

/// What is kept of one Kustomization besides its build.
#[derive(Default)]
struct Memory {
    /// The inputs of the cached build.
    inputs: Option<Inputs>,
    /// `None` while a run has taken it.
    applied: Option<Applied>,
}

/// The inputs of a build without its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) uid: String,
    /// The generation identifies the spec.
    pub(super) generation: i64,
    /// The digest of the artifact.
    pub(super) artifact: String,
    /// The digest of the keys that decrypt, empty without.
    pub(super) keys: String,
}

/// All inputs of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    pub(super) made: Made,
    /// The digest of the variables, whose values may be secret.
    pub(super) variables: String,
}

/// The objects as the last run left them.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) memory: flux_apply::Memory,
    /// The inputs that the objects were applied from. With other manifests or another identity the cache starts empty.
    of: String,
    routine_runs: u32,
    /// The memory claimed for the entry.
    claim: Option<Claim>,
}

impl Memories {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            builds: Cache::new(&budget, budget.limit() / 4),
            budget,
            objects: PerObject::default(),
        }
    }

    /// Whether a build of these inputs is cached, whatever its variables.
    pub(super) fn has_build(&self, key: &Key, made: &Made) -> bool {
        let inputs = |memory: &mut Memory| {
            let inputs = memory.inputs.as_ref();
            inputs.is_some_and(|inputs| inputs.made == *made)
        };
        self.objects.update(key, inputs) && self.builds.get(key).is_some()
    }

    /// The cached build of these inputs.
    pub(super) fn build(&self, key: &Key, inputs: &Inputs) -> Option<Arc<Built>> {
        let is_same = |memory: &mut Memory| memory.inputs.as_ref() == Some(inputs);
        if !self.objects.update(key, is_same) {
            return None;
        }
        self.builds.get(key)
    }

    /// Caches a build in place of the last one, unless it is larger than all that may be cached.
    pub(super) fn keep_build(&self, key: &Key, inputs: Inputs, built: Arc<Built>) {
        let bytes = built.bytes();
        self.builds.insert(key.clone(), built, bytes);
        let keep = |memory: &mut Memory| memory.inputs = Some(inputs);
        self.objects.update(key, keep);
    }

    /// Takes the state of the applied objects for one run, emptied if a full pass is due. If the run ends without returning
    /// it, the state is lost and the next run checks all objects.
    pub(super) fn take_applied(&self, key: &Key, of: &str) -> Applied {
        let taken = self
            .objects
            .update(key, |memory: &mut Memory| memory.applied.take());
        let mut applied = taken.unwrap_or_default();
        if applied.of != of || applied.routine_runs >= FULL_PASS_EVERY {
            applied.memory.forget();
            applied.routine_runs = 0;
            of.clone_into(&mut applied.of);
        }
        applied.routine_runs += 1;
        applied
    }

    /// Returns the state of the applied objects. If memory is short, only the parts that protect objects are kept.
    pub(super) fn put_applied(&self, key: &Key, mut applied: Applied) {
        let claim = self.budget.claim();
        applied.claim = None;
        if claim.take(applied.memory.bytes()).is_err() {
            applied.memory.forget();
        }
        applied.claim = Some(claim);
        let put = |memory: &mut Memory| memory.applied = Some(applied);
        self.objects.update(key, put);
    }

    /// The targets that are not known to be healthy in the version that the run has seen (KC-HEALTH-012).
    pub(super) fn not_known_current(&self, key: &Key, targets: Vec<Target>) -> Vec<Target> {
        self.objects
            .update(key, |memory: &mut Memory| match &memory.applied {
                Some(applied) => applied.memory.not_known_current(targets),
                None => targets,
            })
    }

    /// The targets of which nothing has shown yet that they are healthy: neither an earlier check nor what the run has seen.
    pub(super) fn to_wait_for(
        &self,
        key: &Key,
        targets: Vec<Target>,
        rules: &CustomRules,
    ) -> Vec<Target> {
        self.objects
            .update(key, |memory: &mut Memory| match &mut memory.applied {
                Some(applied) => applied.memory.to_wait_for(targets, |id| rules.apply_to(id)),
                None => targets,
            })
    }

    /// Records the objects that a health check has found healthy.
    pub(super) fn note_current(&self, key: &Key, found: Vec<(ObjectId, Version)>) {
        self.objects.update(key, |memory: &mut Memory| {
            if let Some(applied) = &mut memory.applied {
                applied.memory.note_current(found);
            }
        });
    }

    /// The states in which the last runs have left their objects, for what watches them.
    pub(crate) fn last_states(&self) -> LastStates {
        LastStates(self.objects.clone())
    }

    /// Forgets a deleted Kustomization.
    pub(super) fn forget(&self, key: &Key) {
        self.objects.remove(key);
        self.builds.remove(key);
    }
}

/// The states in which the last runs have left their objects.
pub(crate) struct LastStates(PerObject<Memory>);

impl Known for LastStates {
    fn drift(&self, owner: &Key, uid: Uid, now: Option<&Live>) -> Drift {
        let drift = |memory: &Memory| {
            let Some(applied) = &memory.applied else {
                return Drift::Running;
            };
            let drifted = applied.memory.drifted(uid, now);
            drifted.map_or(Drift::None, |id| Drift::Of(id.clone()))
        };
        self.0.read(owner, drift).unwrap_or(Drift::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(variables: &str) -> Inputs {
        Inputs {
            made: Made {
                uid: "u".into(),
                generation: 1,
                artifact: "sha256:a".into(),
                keys: "k".into(),
            },
            variables: variables.into(),
        }
    }

    #[test]
    fn the_least_recently_used_build_is_evicted() {
        let budget = Budget::new(400);
        let memories = Memories::new(budget.clone());
        let key = |name: &str| Key::new("ns", name);
        let wanted = inputs("v");
        let keep = |name: &str, bytes| {
            memories.keep_build(&key(name), wanted.clone(), Built::of_size(&budget, bytes));
        };
        let has = |name: &str| memories.build(&key(name), &wanted).is_some();
        for name in ["a", "b"] {
            keep(name, 40);
            assert!(has(name));
        }
        assert!(has("a"));
        keep("c", 40);
        assert!(!has("b"));
        assert!(has("a") && has("c"));
        assert_eq!(budget.used(), 80);

        keep("large", 101);
        assert!(!has("large"));
        // What other work needs is given up.
        let claim = budget.claim();
        claim.take(360).unwrap();
        assert!(has("c") && !has("a"));
        claim.take(40).unwrap();
        assert!(!has("c"));
        assert_eq!(budget.used(), 400);
    }

    #[test]
    fn a_cached_build_is_keyed_by_all_its_inputs() {
        let budget = Budget::new(400);
        let memories = Memories::new(budget.clone());
        let (key, kept) = (Key::new("ns", "app"), inputs("v"));
        memories.keep_build(&key, kept.clone(), Built::of_size(&budget, 1));
        let other = |change: fn(&mut Made)| {
            let mut made = kept.made.clone();
            change(&mut made);
            made
        };
        for (what, made) in [
            ("uid", other(|made| made.uid = "other".into())),
            ("generation", other(|made| made.generation = 2)),
            ("artifact", other(|made| made.artifact = "other".into())),
            ("keys", other(|made| made.keys = "other".into())),
        ] {
            assert!(!memories.has_build(&key, &made), "{what}");
            let variables = kept.variables.clone();
            let inputs = Inputs { made, variables };
            assert!(memories.build(&key, &inputs).is_none(), "{what}");
        }
        assert!(memories.has_build(&key, &kept.made));
        assert!(memories.build(&key, &inputs("other")).is_none());
        assert!(memories.build(&key, &kept).is_some());
        memories.forget(&key);
        assert!(!memories.has_build(&key, &kept.made));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn applied_state_is_kept_per_build_and_identity_until_a_full_pass() {
        let memories = Memories::new(Budget::new(1 << 20));
        let key = Key::new("ns", "app");
        let runs = |of: &str| {
            let applied = memories.take_applied(&key, of);
            let runs = applied.routine_runs;
            memories.put_applied(&key, applied);
            runs
        };
        for run in 1..=FULL_PASS_EVERY {
            assert_eq!(runs("a"), run);
        }
        assert_eq!(runs("a"), 1, "a full pass is due");
        assert_eq!(runs("a"), 2);
        assert_eq!(runs("b"), 1, "other manifests");
        // State that a run takes and does not return is lost.
        drop(memories.take_applied(&key, "b"));
        assert_eq!(runs("b"), 1);
    }
}
