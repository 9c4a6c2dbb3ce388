//! Applies objects in stages.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flux_cluster::managers::{Cleanup, migrate_api_version};
use flux_cluster::{
    Cluster, Confidential, Object, ObjectId, RequestError, Resource, Target, WaitOptions,
    wait_until_current,
};
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, Stream, StreamExt as _};

use crate::concurrency::all_or_first_failure;
use crate::definitions::{Served, served, wait_until_listed};
use crate::error::{ApplyError, Failed, StepError};
use crate::ignore::{IgnoreRules, Resolution};
use crate::memory::{Memory, Watched};
use crate::order::{GroupKind, Stage, apply_order};
use crate::recreate::{self, recreate};
use crate::{Action, Change, ChangeSet};

/// How long the objects of a stage may take to become ready, and the kinds that they define to be served.
const STAGE_TIMEOUT: Duration = Duration::from_mins(1);

/// How many further refusals are collected once an object is refused.
const REFUSALS: usize = 100;

/// How often an object is read again if others write it between the read and the dry run.
const LOOKS: usize = 3;

/// Options of a run.
#[derive(Debug, Default)]
pub struct Options {
    /// Recreate every object whose immutable fields have changed.
    pub force: bool,
    /// Recreate objects with one of these labels or annotations.
    pub force_selector: Vec<(String, String)>,
    /// Skip objects with one of these labels or annotations.
    pub exclusions: Vec<(String, String)>,
    /// Skip existing objects if the manifest has one of these labels or annotations.
    pub if_not_present: Vec<(String, String)>,
    /// Kinds that are applied before the rest.
    pub custom_stage: BTreeSet<GroupKind>,
    /// What to remove from objects on the cluster before they are applied.
    pub cleanup: Cleanup,
    /// Managers whose fields are taken over before the dry run; nothing else of it counts (RT-SSA-026).
    pub early_takeover: Cleanup,
    /// First set the applied version in all managed fields.
    pub migrate_api_version: bool,
    /// Fields that are neither compared nor corrected.
    pub ignore: IgnoreRules,
    /// How many objects are compared, and applied, concurrently.
    pub concurrency: usize,
    /// A label selector for the previously applied objects; without it every object is compared.
    pub known_by: Option<String>,
    /// Objects that the owner has not applied before, so that they probably do not exist: a dry run, which is needed
    /// anyway, shows that too, and they are read only if they exist.
    pub new: HashSet<ObjectId>,
    /// What knows the states of objects without a request; asked before they are listed.
    pub watched: Option<Arc<dyn Watched>>,
}

/// Applies objects in stages and remembers the state in which it left them (RT-SSA-005 and 008, KC-SSA-009 to 012).
///
/// The objects are [normalised](crate::normalise::normalise). Their ids and digests are computed once: a caller that applies
/// the same objects repeatedly keeps them, so that a run without changes neither copies nor hashes them.
///
/// All objects of a stage are compared with the cluster, by a dry run, before the first of them is changed or deleted.
/// Objects of one kind are changed concurrently, kinds one after another.
///
/// Dropping the future may leave an object deleted that was to be recreated.
///
/// # Errors
///
/// At the first object that cannot be applied, or if the objects of a stage do not become ready. The error has the
/// changes of the earlier stages. If the server refuses the dry run of an object, the others of its stage are tried too,
/// so that one run reports all that is refused.
pub async fn apply_in_stages(
    cluster: &Cluster,
    objects: &[Object],
    options: &Options,
    memory: &mut Memory,
) -> Result<ChangeSet, Failed> {
    memory.begin(objects);
    let unchanged = match &options.known_by {
        Some(selector) => {
            let watched = options.watched.as_deref();
            memory.unchanged(cluster, objects, selector, watched).await
        }
        None => HashMap::new(),
    };
    let refused = memory.refused(objects);
    let mut stages: BTreeMap<Stage, Vec<&Object>> = BTreeMap::new();
    for object in objects {
        stages
            .entry(Stage::of(object, &options.custom_stage))
            .or_default()
            .push(object);
    }

    let mut applied = ChangeSet::default();
    for stage in Stage::ALL {
        let Some(objects) = stages.remove(&stage) else {
            continue;
        };
        let run = Run {
            cluster,
            options,
            unchanged: &unchanged,
            refused: &refused,
            failing: AtomicBool::new(false),
        };
        let kinds = run.kinds_of(&objects);
        let changes = match run.stage(objects, memory).await {
            Ok(changes) => changes,
            Err((error, others)) => {
                return Err(Failed {
                    error,
                    others,
                    applied,
                });
            }
        };
        let touched = changes
            .changes
            .iter()
            .any(|change| !unchanged.contains_key(&change.id));
        let kinds = kinds_of_applied(kinds, &changes.changes);
        let targets: Vec<Target> = changes
            .changes
            .iter()
            .map(|change| changes.target(change))
            .collect();
        applied.extend(changes);
        // Untouched objects were current when they were last waited for.
        if stage.is_waited_for() && touched {
            let targets = memory.to_wait_for(targets, |_| false);
            let wait = WaitOptions {
                timeout: STAGE_TIMEOUT,
                fail_fast: false,
                ..WaitOptions::default()
            };
            match wait_until_current(cluster, &targets, &wait).await {
                Ok(found) => {
                    memory.note_current(found);
                    wait_until_listed(cluster, kinds, STAGE_TIMEOUT).await;
                }
                Err(error) => {
                    // They are not current: the next run has to compare them and wait for them again.
                    for target in &targets {
                        memory.forget_one(&target.id);
                    }
                    return Err(Failed {
                        error: ApplyError::Wait(error),
                        others: Vec::new(),
                        applied,
                    });
                }
            }
        }
    }
    Ok(applied)
}

struct Run<'r> {
    cluster: &'r Cluster,
    options: &'r Options,
    unchanged: &'r HashMap<ObjectId, Change>,
    /// Objects that are not recreated, since an earlier attempt failed.
    refused: &'r BTreeSet<ObjectId>,
    /// Whether the dry run of an object was refused: then nothing more is written.
    failing: AtomicBool,
}

/// What to do with an object.
struct Plan<'r> {
    desired: &'r Object,
    change: Change,
    write: Write,
    /// The object on the cluster, if it was read.
    live: Option<Object>,
}

/// How to write an object.
enum Write {
    /// No write.
    Nothing,
    /// Apply it, leaving these fields to others.
    Apply(Resource, Vec<Resolution>),
    /// Delete and recreate it.
    Recreate(Resource),
}

impl<'r> Run<'r> {
    async fn stage(
        &self,
        mut objects: Vec<&'r Object>,
        memory: &mut Memory,
    ) -> Result<ChangeSet, (ApplyError, Vec<ApplyError>)> {
        objects.sort_by(|left, right| apply_order(left.id(), right.id()));
        let concurrency = self.options.concurrency.max(1);
        // Boxed, so that the future is `Send`.
        let plans: Vec<BoxFuture<'_, _>> = objects
            .into_iter()
            .map(|object| self.plan(object).boxed())
            .collect();
        let plans = self
            .planned(stream::iter(plans).buffered(concurrency))
            .await?;

        let mut changes = ChangeSet::default();
        let mut rest = plans.as_slice();
        while let Some(first) = rest.first() {
            let (group, kind) = (&first.desired.id().group, &first.desired.id().kind);
            let is_other = |id: &ObjectId| id.group != *group || id.kind != *kind;
            let end = rest
                .iter()
                .position(|plan| is_other(plan.desired.id()))
                .unwrap_or(rest.len());
            let (group, after) = rest.split_at(end);
            let writes = group.iter().map(|plan| self.write(plan).boxed()).collect();
            let written = all_or_first_failure(writes, concurrency).await;
            let written: Vec<Option<Object>> = written
                .inspect_err(|error| {
                    // It is unknown which of them were written: all have to be compared again.
                    for plan in group {
                        memory.forget_one(plan.desired.id());
                        if error.is_restored(plan.desired.id()) {
                            memory.note_refused(plan.desired);
                        }
                    }
                })
                .map_err(|error| (error, Vec::new()))?;
            for (plan, written) in group.iter().zip(written) {
                let live = match plan.write {
                    Write::Nothing => plan.live.as_ref(),
                    Write::Apply(..) | Write::Recreate(_) => written.as_ref(),
                };
                if let Some(live) = live {
                    memory.note_seen(plan.desired.id(), &plan.change.id, live);
                }
                match live {
                    Some(live) if self.is_clean(plan.desired, live) => {
                        memory.note(plan.desired, live, plan.change.action);
                    }
                    Some(_) => memory.forget_one(plan.desired.id()),
                    None if !self.unchanged.contains_key(plan.desired.id()) => {
                        memory.forget_one(plan.desired.id());
                    }
                    None => {}
                }
                changes.push(plan.change.clone(), live);
            }
            rest = after;
        }
        Ok(changes)
    }

    /// The plans of all objects, or the first error with further refusals. Only what the server refuses for what is in the
    /// object lets the others be tried: anything else would fail them in the same way.
    async fn planned(
        &self,
        plans: impl Stream<Item = Result<Plan<'r>, ApplyError>>,
    ) -> Result<Vec<Plan<'r>>, (ApplyError, Vec<ApplyError>)> {
        let mut plans = std::pin::pin!(plans);
        let mut planned = Vec::new();
        let mut failed: Option<(ApplyError, Vec<ApplyError>)> = None;
        while let Some(plan) = plans.next().await {
            match (plan, &mut failed) {
                (Ok(plan), None) => planned.push(plan),
                (Ok(_), Some(_)) => {}
                (Err(error), None) => {
                    let goes_on = error.is_refusal();
                    failed = Some((error, Vec::new()));
                    if !goes_on {
                        break;
                    }
                }
                (Err(error), Some((_, others))) => {
                    if !error.is_refusal() {
                        break;
                    }
                    others.push(error);
                    if others.len() >= REFUSALS {
                        break;
                    }
                }
            }
        }
        match failed {
            None => Ok(planned),
            Some(failed) => Err(failed),
        }
    }

    /// Compares an object and decides what to do with it.
    async fn plan(&self, desired: &'r Object) -> Result<Plan<'r>, ApplyError> {
        let id = desired.id();
        if let Some(change) = self.unchanged.get(id) {
            let change = Change {
                action: Action::Unchanged,
                ..change.clone()
            };
            return Ok(Plan {
                desired,
                change,
                write: Write::Nothing,
                live: None,
            });
        }
        let resource = self.cluster.resource_of(id, desired.version()).await;
        let resource = resource.map_err(|error| {
            self.failure(self.cluster.confidential(), id, StepError::DryRun(error))
        })?;

        let early = if self.is_probably_new(desired) {
            Some(self.cluster.apply(&resource, desired, true).await)
        } else {
            None
        };
        // An object that cannot be read may still be applied; otherwise the write fails with the reason.
        let found = match &early {
            Some(Ok(dry_run)) if dry_run.resource_version().is_empty() => {
                Err(RequestError::refusal(404, "NotFound", ""))
            }
            _ => self.cluster.get(&resource, id).await,
        };
        let exists = !found.as_ref().is_err_and(RequestError::is_not_found);
        let mut live = found.unwrap_or_default();
        let own = self.values_of(desired, &live);
        let failed = |step| self.failure(&own, id, step);
        if self.is_skipped(desired, &live) {
            let change = change_of(if live.exists() { &live } else { desired }, Action::Skipped);
            return Ok(Plan {
                desired,
                change,
                write: Write::Nothing,
                live: None,
            });
        }

        let mut patched = false;
        if self.options.migrate_api_version && live.exists() {
            let patch = migrate_api_version(&live, desired.api_version());
            if !patch.is_empty() {
                let answer = self.cluster.json_patch(&resource, id, patch).await;
                let api_version = desired.api_version().to_owned();
                live = answer.map_err(|error| failed(StepError::Migrate { api_version, error }))?;
                patched = true;
            }
        }

        // RT-SSA-026: not undone if the dry run fails
        let failing = || self.failing.load(Ordering::Relaxed);
        if live.exists() && !failing() && !self.keeps_other_managers(desired, &live) {
            let owner = self.cluster.field_manager();
            let patch = self.options.early_takeover.take_over_patch(&live, owner);
            if !patch.is_empty() {
                let answer = self.cluster.json_patch(&resource, id, patch).await;
                live = answer.map_err(|error| failed(StepError::Takeover(error)))?;
                patched = true;
            }
        }

        let dry_run = match early {
            Some(answer) if !patched => answer,
            _ => self.cluster.apply(&resource, desired, true).await,
        };
        if let Err(error) = &dry_run
            && exists
            && error.is_immutable()
            && self.may_recreate(desired, &live)
            && !self.refused.contains(id)
        {
            let possible = recreate::is_possible(self.cluster, &resource, desired, &live).await;
            if possible.map_err(|error| failed(StepError::DryRun(error)))? {
                // The name in the kind's scope: that of the live object, if it could be read.
                let change =
                    change_of(if live.exists() { &live } else { desired }, Action::Created);
                return Ok(Plan {
                    desired,
                    change,
                    write: Write::Recreate(resource),
                    live: Some(live),
                });
            }
        }
        let mut dry_run = dry_run.map_err(|error| {
            self.failing.store(true, Ordering::Relaxed);
            failed(StepError::DryRun(error))
        })?;
        if failing() {
            // Nothing of this stage is written any more.
            return Ok(Plan {
                change: change_of(desired, Action::Unchanged),
                desired,
                write: Write::Nothing,
                live: None,
            });
        }
        // Writes of others between the two responses are not drift.
        for _ in 0..LOOKS {
            let moved = live.exists() && live.resource_version() != dry_run.resource_version();
            if patched || !moved || !self.options.ignore.has_drifted(&live, &dry_run) {
                break;
            }
            let Ok(now) = self.cluster.get(&resource, id).await else {
                break;
            };
            live = now;
            if live.resource_version() != dry_run.resource_version() {
                let answer = self.cluster.apply(&resource, desired, true).await;
                dry_run = answer.map_err(|error| failed(StepError::DryRun(error)))?;
            }
        }

        if live.exists() && !self.keeps_other_managers(desired, &live) {
            let patch = self
                .options
                .cleanup
                .patch(&live, self.cluster.field_manager());
            if !patch.is_empty() {
                let answer = self.cluster.json_patch(&resource, id, patch).await;
                live = answer.map_err(|error| failed(StepError::Cleanup(error)))?;
                patched = true;
            }
        }

        if !patched && !self.options.ignore.has_drifted(&live, &dry_run) {
            let change = change_of(&dry_run, Action::Unchanged);
            return Ok(Plan {
                desired,
                change,
                write: Write::Nothing,
                live: Some(live),
            });
        }
        let is_new = dry_run.resource_version().is_empty();
        let action = if is_new {
            Action::Created
        } else {
            Action::Configured
        };
        let resolutions =
            self.options
                .ignore
                .resolve(&live, &dry_run, self.cluster.field_manager());
        Ok(Plan {
            change: change_of(&dry_run, action),
            desired,
            write: Write::Apply(resource, resolutions),
            // Only its values are needed, to be masked in messages.
            live: (live.is_secret() || !self.cluster.confidential().is_empty()).then_some(live),
        })
    }

    /// Carries out the plan; returns the stored object.
    async fn write(&self, plan: &Plan<'_>) -> Result<Option<Object>, ApplyError> {
        let unread = Object::default();
        let live = plan.live.as_ref().unwrap_or(&unread);
        let desired = plan.desired;
        let answer = match &plan.write {
            Write::Nothing => return Ok(None),
            Write::Apply(resource, resolutions) => {
                let mut payload = Cow::Borrowed(desired);
                for resolution in resolutions {
                    resolution.apply(payload.to_mut());
                }
                let answer = self.cluster.apply(resource, &payload, false).await;
                answer.map_err(StepError::Apply)
            }
            Write::Recreate(resource) => recreate(self.cluster, resource, desired, live).await,
        };
        answer.map(Some).map_err(|step| {
            let own = self.values_of(desired, live);
            self.failure(&own, plan.desired.id(), step)
        })
    }

    /// The kinds that the CRDs of a stage define, by CRD, except for CRDs that are known to be unchanged.
    fn kinds_of(&self, objects: &[&Object]) -> Vec<(String, Vec<Served>)> {
        let looked_at = objects
            .iter()
            .filter(|object| object.is_crd() && !self.unchanged.contains_key(object.id()));
        looked_at
            .map(|object| (object.id().name.clone(), served(object)))
            .collect()
    }

    /// The values of the objects to be masked in messages: those of Secrets, and the previous values in the live object
    /// if Secrets were substituted into it.
    fn values_of(&self, desired: &Object, live: &Object) -> Confidential {
        let mut values = Confidential::default();
        values.add_secret(desired);
        values.add_secret(live);
        if !self.cluster.confidential().is_empty() {
            values.add_former(live, Some(desired));
        }
        values
    }

    /// The failure of a step for an object, with the values of a Secret masked.
    fn failure(&self, own: &Confidential, id: &ObjectId, mut step: StepError) -> ApplyError {
        step.mask(own, id);
        ApplyError::Object {
            id: id.clone(),
            shown: self.cluster.confidential().shown(id).into(),
            step,
        }
    }

    /// RT-SSA-011, RT-SSA-012, KC-SSA-015, KC-SSA-016.
    fn is_skipped(&self, desired: &Object, live: &Object) -> bool {
        let excluded = |object: &Object| object.carries_any(&self.options.exclusions);
        excluded(desired)
            || excluded(live)
            || (live.exists() && desired.carries_any(&self.options.if_not_present))
    }

    /// Whether the dry run of an object comes first, since it probably does not exist. Not for one that is skipped if it
    /// exists.
    fn is_probably_new(&self, desired: &Object) -> bool {
        let Options {
            new,
            exclusions,
            if_not_present,
            ..
        } = self.options;
        new.contains(desired.id())
            && !desired.carries_any(exclusions)
            && !desired.carries_any(if_not_present)
            && !self.failing.load(Ordering::Relaxed)
    }

    /// RT-SSA-013, KC-SSA-028.
    fn may_recreate(&self, desired: &Object, live: &Object) -> bool {
        let selected = |object: &Object| object.carries_any(&self.options.force_selector);
        self.options.force || selected(desired) || selected(live)
    }

    /// KC-SSA-023.
    fn keeps_other_managers(&self, desired: &Object, live: &Object) -> bool {
        let exclusions = &self.options.cleanup.exclusions;
        desired.carries_any(exclusions) || live.carries_any(exclusions)
    }

    /// Whether there is nothing for a later run to clean up.
    fn is_clean(&self, desired: &Object, live: &Object) -> bool {
        let cleanup = &self.options.cleanup;
        let owner = self.cluster.field_manager();
        let early = &self.options.early_takeover;
        self.keeps_other_managers(desired, live)
            || (cleanup.patch(live, owner).is_empty()
                && early.take_over_patch(live, owner).is_empty())
    }
}

/// The kinds whose CRDs were not skipped.
fn kinds_of_applied(kinds: Vec<(String, Vec<Served>)>, changes: &[Change]) -> Vec<Served> {
    let applied = |name: &str| {
        changes
            .iter()
            .any(|change| change.id.name == name && change.action != Action::Skipped)
    };
    let kinds = kinds.into_iter().filter(|(name, _)| applied(name));
    kinds.flat_map(|(_, kinds)| kinds).collect()
}

fn change_of(object: &Object, action: Action) -> Change {
    Change {
        id: object.id().clone(),
        version: object.version().to_owned(),
        action,
    }
}
