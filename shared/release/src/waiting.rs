//! Waits for the objects of a release, by watching them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flux_cluster::{
    Cluster, CustomRules, ObjectId, Rules, Target, WaitOptions, wait_until_current, wait_until_gone,
};
use flux_helm::action::{Object, WaitStrategy};
use serde_json::Value;

use crate::convert::id_of;
use crate::error::StepError;
use crate::kinds::{Kinds, group_and_version};
use crate::legacy;

/// Options of the waits of an action.
#[derive(Clone, Copy)]
pub(crate) struct Waiting<'r> {
    pub(crate) cluster: &'r Cluster,
    pub(crate) kinds: &'r Kinds,
    /// Expressions that precede the watcher's rules (HC-WAIT-011, HC-WAIT-013).
    pub(crate) checks: &'r CustomRules,
    pub(crate) strategy: WaitStrategy,
    pub(crate) timeout: Duration,
}

impl Waiting<'_> {
    /// Waits until the objects of a release are ready (HE-KUBE-021, HC-WAIT-001, HC-WAIT-003..007, HC-WAIT-017).
    /// Those in `stored` are watched from the state that a response had on.
    pub(crate) async fn ready(
        self,
        objects: &[&Object],
        stored: &HashMap<ObjectId, Arc<Value>>,
        for_jobs: bool,
    ) -> Result<(), StepError> {
        let rules = if for_jobs {
            Rules::Complete
        } else {
            Rules::Running
        };
        let Self { cluster, kinds, .. } = self;
        match self.strategy {
            WaitStrategy::HookOnly => Ok(()),
            WaitStrategy::Watcher => self.wait(objects, stored, rules, true).await,
            WaitStrategy::Legacy => {
                legacy::ready(cluster, kinds, objects, for_jobs, self.timeout).await
            }
        }
    }

    /// Waits until the Jobs and Pods of a hook have ended, and objects of kinds with expressions are current
    /// (HE-HOOK-010, HC-WAIT-009).
    pub(crate) async fn hook(self, objects: &[Object]) -> Result<(), StepError> {
        let runs = |object: &&Object| matches!(object.kind.as_str(), "Job" | "Pod");
        if self.strategy == WaitStrategy::Legacy {
            let running: Vec<&Object> = objects.iter().filter(runs).collect();
            return legacy::hook(self.cluster, self.kinds, &running, self.timeout).await;
        }
        // Objects of other kinds are ready at once and need no request.
        let has_rule = |object: &&Object| runs(object) || self.checks.apply_to(&id_of(object));
        let waited_for: Vec<&Object> = objects.iter().filter(has_rule).collect();
        let stored = HashMap::new();
        self.wait(&waited_for, &stored, Rules::Hook, false).await
    }

    async fn wait(
        self,
        objects: &[&Object],
        stored: &HashMap<ObjectId, Arc<Value>>,
        rules: Rules,
        fail_fast: bool,
    ) -> Result<(), StepError> {
        let waited_for: Vec<&Object> = objects
            .iter()
            .copied()
            .filter(|object| !is_paused(object) && !object.name.is_empty())
            .collect();
        let targets: Vec<Target> = waited_for
            .iter()
            .filter_map(|object| {
                let (_, version) = group_and_version(&object.api_version)?;
                let id = id_of(object);
                Some(Target {
                    stored: stored.get(&id).cloned(),
                    ..Target::of(&id, version)
                })
            })
            .collect();
        let options = WaitOptions {
            timeout: self.timeout,
            fail_fast,
            jobs_with_ttl: jobs_with_ttl(&waited_for),
            rules,
            custom: self.checks.clone(),
            ..WaitOptions::default()
        };
        let ready = wait_until_current(self.cluster, &targets, &options).await;
        Ok(ready.map(drop)?)
    }

    /// Waits until all of these are gone, in order within one timeout (HE-ACT-034, HC-WAIT-010).
    pub(crate) async fn gone(self, objects: &[Object]) -> Result<(), StepError> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        for object in objects {
            let (resource, id) = (self.kinds.resource(object)?, id_of(object));
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let gone = wait_until_gone(self.cluster, resource, &id, left).await;
            gone.map_err(|source| match self.strategy {
                WaitStrategy::Legacy => source.into(),
                _ => StepError::Termination {
                    object: id.to_string(),
                    source,
                },
            })?;
        }
        Ok(())
    }
}

/// HC-WAIT-003
fn is_paused(object: &Object) -> bool {
    let paused = object.value.at(["spec", "paused"]);
    object.api_version == "apps/v1"
        && object.kind == "Deployment"
        && paused.and_then(flux_yaml::Value::as_bool) == Some(true)
}

/// HC-WAIT-005
fn jobs_with_ttl(objects: &[&Object]) -> BTreeSet<ObjectId> {
    let has_ttl = |object: &&&Object| {
        let ttl = object.value.at(["spec", "ttlSecondsAfterFinished"]);
        object.api_version == "batch/v1" && object.kind == "Job" && ttl.is_some()
    };
    objects
        .iter()
        .filter(has_ttl)
        .map(|object| id_of(object))
        .collect()
}
