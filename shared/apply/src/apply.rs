//! Applies objects in stages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::cluster::Cluster;
use crate::discovery::Resource;
use crate::error::{ApplyError, Failed, RequestError, StepError};
use crate::ignore::{IgnoreRules, Resolution};
use crate::managers::{Cleanup, migrate_api_version};
use crate::memory::Memory;
use crate::normalise::remove_unusable_ca_bundle;
use crate::order::{GroupKind, Stage, apply_order};
use crate::wait::{self, Target, WaitOptions};
use crate::{Action, Change, ChangeSet, Object, ObjectId};

/// How long the objects of a stage may take to become ready, and an object to be gone before it is made again.
const STAGE_TIMEOUT: Duration = Duration::from_mins(1);

/// How often an object that others write between the look at it and the dry run is looked at again.
const LOOKS: usize = 3;

/// How objects are applied.
#[derive(Debug, Default)]
pub struct Options {
    /// Recreate every object of which an immutable field has changed.
    pub force: bool,
    /// Recreate those with one of these labels or annotations.
    pub force_selector: Vec<(String, String)>,
    /// Skip objects with one of these labels or annotations.
    pub exclusions: Vec<(String, String)>,
    /// Skip objects that exist where what would be applied has one of these labels or annotations.
    pub if_not_present: Vec<(String, String)>,
    /// Kinds that are applied before the rest.
    pub custom_stage: BTreeSet<GroupKind>,
    /// What others left behind and is removed.
    pub cleanup: Cleanup,
    /// Write the version that is applied into all managed fields first.
    pub migrate_api_version: bool,
    /// Fields that are left alone.
    pub ignore: IgnoreRules,
    /// How many objects are looked at, and applied, at once.
    pub concurrency: usize,
    /// Finds the objects that were applied before; without one every object is looked at.
    pub known_by: Option<String>,
}

/// Applies objects in stages and remembers how it left them (RT-SSA-005 and 008, KC-SSA-009 to 012).
///
/// All objects of a stage are looked at, by a dry run, before the first of them is changed. Objects of one kind are changed
/// concurrently, kinds one after another.
///
/// # Errors
///
/// At the first object that cannot be applied, or when the objects of a stage do not become ready. What earlier stages have
/// done is told with the error.
pub async fn apply_in_stages(
    cluster: &Cluster,
    objects: Vec<Object>,
    options: &Options,
    memory: &mut Memory,
) -> Result<ChangeSet, Failed> {
    let ids: BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
    memory.begin(&ids);
    let unchanged = match &options.known_by {
        Some(selector) => memory.unchanged(cluster, &objects, selector).await,
        None => HashMap::new(),
    };
    let mut stages: BTreeMap<Stage, Vec<Object>> = BTreeMap::new();
    for object in objects {
        stages
            .entry(Stage::of(&object, &options.custom_stage))
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
        };
        let changes = match run.stage(objects, memory).await {
            Ok(changes) => changes,
            Err(error) => return Err(Failed { error, applied }),
        };
        let touched = changes
            .iter()
            .any(|change| !unchanged.contains_key(&change.id));
        let targets: Vec<Target> = changes
            .iter()
            .map(|change| Target::of(&change.id, &change.version))
            .collect();
        applied.changes.extend(changes);
        // Where nothing was touched everything is as it was when it was last waited for.
        if stage.is_waited_for() && touched {
            let wait = WaitOptions {
                timeout: STAGE_TIMEOUT,
                fail_fast: false,
                ..WaitOptions::default()
            };
            match wait::wait_until_current(cluster, &targets, &wait).await {
                Ok(found) => memory.note_current(found),
                Err(error) => {
                    // They are not as they should be: the next run has to look and to wait again.
                    for target in &targets {
                        memory.forget_one(&target.id);
                    }
                    return Err(Failed {
                        error: ApplyError::Wait(error),
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
}

/// What is to be done about an object.
struct Plan {
    desired: Object,
    change: Change,
    /// Nothing where the object stays as it is.
    write: Option<(Resource, Vec<Resolution>)>,
    /// The object as it is, where it is as it should be.
    live: Option<Object>,
}

impl Run<'_> {
    async fn stage(
        &self,
        mut objects: Vec<Object>,
        memory: &mut Memory,
    ) -> Result<Vec<Change>, ApplyError> {
        objects.sort_by(|left, right| apply_order(&left.id(), &right.id()));
        let concurrency = self.options.concurrency.max(1);
        // Boxed, so that the whole may move between threads.
        let plans: Vec<BoxFuture<'_, _>> = objects
            .into_iter()
            .map(|object| self.plan(object).boxed())
            .collect();
        let plans: Vec<Plan> = stream::iter(plans)
            .buffered(concurrency)
            .try_collect()
            .await?;

        let mut changes = Vec::with_capacity(plans.len());
        let mut rest = plans.as_slice();
        while let Some(first) = rest.first() {
            let kind = |plan: &Plan| {
                (
                    plan.desired.group().to_owned(),
                    plan.desired.kind().to_owned(),
                )
            };
            let end = rest
                .iter()
                .position(|plan| kind(plan) != kind(first))
                .unwrap_or(rest.len());
            let (group, after) = rest.split_at(end);
            let writes: Vec<BoxFuture<'_, _>> =
                group.iter().map(|plan| self.write(plan).boxed()).collect();
            let written: Vec<Option<Object>> = stream::iter(writes)
                .buffered(concurrency)
                .try_collect()
                .await
                .inspect_err(|_| {
                    // Which of them were written is not known: all are to be looked at again.
                    for plan in group {
                        memory.forget_one(&plan.desired.id());
                    }
                })?;
            for (plan, written) in group.iter().zip(written) {
                let live = written.as_ref().or(plan.live.as_ref());
                if let Some(live) = live {
                    memory.note_seen(&plan.change.id, live);
                }
                match live {
                    Some(live) if self.is_clean(&plan.desired, live) => {
                        memory.note(&plan.desired, live, &plan.change);
                    }
                    Some(_) => memory.forget_one(&plan.desired.id()),
                    None if !self.unchanged.contains_key(&plan.desired.id()) => {
                        memory.forget_one(&plan.desired.id());
                    }
                    None => {}
                }
                changes.push(plan.change.clone());
            }
            rest = after;
        }
        Ok(changes)
    }

    /// Looks at an object and decides what is to be done about it.
    async fn plan(&self, mut desired: Object) -> Result<Plan, ApplyError> {
        remove_unusable_ca_bundle(&mut desired);
        let id = desired.id();
        if let Some(change) = self.unchanged.get(&id) {
            let change = Change {
                action: Action::Unchanged,
                ..change.clone()
            };
            return Ok(Plan {
                desired,
                change,
                write: None,
                live: None,
            });
        }
        let failed = |step| ApplyError::Object {
            id: id.clone(),
            step,
        };
        let resource = self.cluster.resource_of(&id, desired.version()).await;
        let resource = resource.map_err(|error| failed(StepError::DryRun(error)))?;

        // What cannot be read now may still be applied, or will tell why not.
        let found = self.cluster.get(&resource, &id).await;
        let exists = !found.as_ref().is_err_and(RequestError::is_not_found);
        let mut live = found.unwrap_or_default();
        if self.is_skipped(&desired, &live) {
            let change = change_of(
                if live.exists() { &live } else { &desired },
                Action::Skipped,
            );
            return Ok(Plan {
                desired,
                change,
                write: None,
                live: None,
            });
        }

        let mut patched = false;
        if self.options.migrate_api_version && live.exists() {
            let patch = migrate_api_version(&live, desired.api_version());
            if !patch.is_empty() {
                let answer = self.cluster.json_patch(&resource, &id, patch).await;
                let api_version = desired.api_version().to_owned();
                live = answer.map_err(|error| failed(StepError::Migrate { api_version, error }))?;
                patched = true;
            }
        }

        let mut dry_run = self.cluster.apply(&resource, &desired, true).await;
        if let Err(error) = &dry_run
            && exists
            && error.is_immutable()
            && self.may_recreate(&desired, &live)
        {
            // A server calls invalid what may not change and what is wrong by itself; only the former is helped by starting
            // over, and an object that cannot be made again may not be deleted.
            if self.cluster.would_be_made(&resource, &desired).await {
                self.recreate(&resource, &id).await?;
                live = Object::default();
                dry_run = self.cluster.apply(&resource, &desired, true).await;
            }
        }
        let mut dry_run = dry_run.map_err(|error| failed(StepError::DryRun(error)))?;
        // What others wrote between the two answers is no drift.
        for _ in 0..LOOKS {
            let moved = live.exists() && live.resource_version() != dry_run.resource_version();
            if patched || !moved || !self.options.ignore.has_drifted(&live, &dry_run) {
                break;
            }
            let Ok(now) = self.cluster.get(&resource, &id).await else {
                break;
            };
            live = now;
            if live.resource_version() != dry_run.resource_version() {
                let answer = self.cluster.apply(&resource, &desired, true).await;
                dry_run = answer.map_err(|error| failed(StepError::DryRun(error)))?;
            }
        }

        if live.exists() && !self.keeps_other_managers(&desired, &live) {
            let patch = self
                .options
                .cleanup
                .patch(&live, self.cluster.field_manager());
            if !patch.is_empty() {
                let answer = self.cluster.json_patch(&resource, &id, patch).await;
                live = answer.map_err(|error| failed(StepError::Cleanup(error)))?;
                patched = true;
            }
        }

        if !patched && !self.options.ignore.has_drifted(&live, &dry_run) {
            let change = change_of(&dry_run, Action::Unchanged);
            return Ok(Plan {
                desired,
                change,
                write: None,
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
            write: Some((resource, resolutions)),
            live: None,
        })
    }

    /// Does what was decided; gives what the server made of it.
    async fn write(&self, plan: &Plan) -> Result<Option<Object>, ApplyError> {
        let Some((resource, resolutions)) = &plan.write else {
            return Ok(None);
        };
        let mut payload = plan.desired.clone();
        for resolution in resolutions {
            resolution.apply(&mut payload);
        }
        let answer = self.cluster.apply(resource, &payload, false).await;
        answer.map(Some).map_err(|error| ApplyError::Object {
            id: plan.desired.id(),
            step: StepError::Apply(error),
        })
    }

    /// RT-SSA-011, RT-SSA-012, KC-SSA-015, KC-SSA-016.
    fn is_skipped(&self, desired: &Object, live: &Object) -> bool {
        let excluded = |object: &Object| object.carries_any(&self.options.exclusions);
        excluded(desired)
            || excluded(live)
            || (live.exists() && desired.carries_any(&self.options.if_not_present))
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

    /// Whether nothing is left that a later run would have to clean up.
    fn is_clean(&self, desired: &Object, live: &Object) -> bool {
        let cleanup = &self.options.cleanup;
        self.keeps_other_managers(desired, live)
            || cleanup.patch(live, self.cluster.field_manager()).is_empty()
    }

    /// Deletes an object and waits until it is gone.
    async fn recreate(&self, resource: &Resource, id: &ObjectId) -> Result<(), ApplyError> {
        let failed = |step| ApplyError::Object {
            id: id.clone(),
            step,
        };
        match self.cluster.delete(resource, id).await {
            Err(error) if !error.is_not_found() => return Err(failed(StepError::Recreate(error))),
            _ => {}
        }
        let gone = wait::wait_until_gone(self.cluster, resource, id, STAGE_TIMEOUT).await;
        gone.map_err(|error| failed(StepError::Gone(error)))
    }
}

fn change_of(object: &Object, action: Action) -> Change {
    Change {
        id: object.id(),
        version: object.version().to_owned(),
        action,
    }
}
