//! The status of the objects in a wait, and the outcome that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flux_kstatus::Status;
use jiff::Timestamp;
use serde_json::Value;

use super::options::{Target, WaitError, WaitOptions};
use super::rules::{judge, owns_pods};
use crate::confidential::Confidential;
use crate::live::Version;
use crate::object::ObjectId;

/// News of an object in the wait.
#[derive(Debug)]
pub(super) enum News {
    /// The object was read.
    Seen(ObjectId, Value),
    /// The object does not exist.
    Gone(ObjectId),
    /// The object cannot be read.
    Unreadable(ObjectId, String),
    /// A pod of an object was read, or is gone.
    Pod {
        owner: ObjectId,
        name: String,
        pod: Option<Value>,
    },
    /// The identity may not watch the object.
    Unwatchable(ObjectId),
    /// Nothing relevant.
    Nothing,
}

/// All objects in the wait.
pub(super) struct Board<'w> {
    options: &'w WaitOptions,
    confidential: Arc<Confidential>,
    order: Vec<ObjectId>,
    objects: BTreeMap<ObjectId, Entry>,
    /// Objects with news since they were last assessed.
    outdated: BTreeSet<ObjectId>,
    /// Objects that are neither current nor failed.
    pending: BTreeSet<ObjectId>,
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    pods: BTreeMap<String, Value>,
    status: Status,
    error: Option<String>,
}

#[derive(Debug)]
enum Seen {
    Nothing,
    Object(Value),
    Gone,
    Unreadable(String),
}

impl<'w> Board<'w> {
    pub(super) fn new(
        targets: &[Target],
        options: &'w WaitOptions,
        confidential: Arc<Confidential>,
    ) -> Self {
        let entry = || Entry {
            seen: Seen::Nothing,
            pods: BTreeMap::new(),
            status: Status::Unknown,
            error: None,
        };
        let objects: BTreeMap<ObjectId, Entry> = targets
            .iter()
            .map(|target| (target.id.clone(), entry()))
            .collect();
        let all: BTreeSet<ObjectId> = objects.keys().cloned().collect();
        let mut order: Vec<ObjectId> = targets.iter().map(|target| target.id.clone()).collect();
        let mut known = BTreeSet::new();
        order.retain(|id| known.insert(id.clone()));
        Self {
            options,
            confidential,
            order,
            objects,
            outdated: all.clone(),
            pending: all,
        }
    }

    pub(super) fn take(&mut self, news: News) {
        let (id, seen) = match news {
            News::Seen(id, object) => (id, Seen::Object(object)),
            News::Gone(id) => (id, Seen::Gone),
            News::Unreadable(id, error) => (id, Seen::Unreadable(error)),
            News::Pod { owner, name, pod } => {
                if let Some(entry) = self.objects.get_mut(&owner) {
                    match pod {
                        Some(pod) => entry.pods.insert(name, pod),
                        None => entry.pods.remove(&name),
                    };
                    self.outdated.insert(owner);
                }
                return;
            }
            News::Unwatchable(_) | News::Nothing => return,
        };
        if let Some(entry) = self.objects.get_mut(&id) {
            entry.seen = seen;
            self.outdated.insert(id);
        }
    }

    /// Marks all pending objects for reassessment, since some rules depend on time.
    pub(super) fn reassess_pending(&mut self) {
        self.outdated.extend(self.pending.iter().cloned());
    }

    /// Assesses the objects with news.
    pub(super) fn assess(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.outdated) {
            let Some(entry) = self.objects.get_mut(&id) else {
                continue;
            };
            (entry.status, entry.error) = match &entry.seen {
                Seen::Nothing => (Status::Unknown, None),
                Seen::Gone => (Status::NotFound, None),
                Seen::Unreadable(error) => (Status::Unknown, Some(error.clone())),
                Seen::Object(object) => {
                    let rules = (self.options.rules, &self.options.custom);
                    match judge(rules, &id, object, &entry.pods, now) {
                        Ok(assessment) => (assessment.status, None),
                        Err(mut error) => {
                            self.confidential.mask(&mut error, &id);
                            (Status::Unknown, Some(error))
                        }
                    }
                }
            };
            if matches!(self.status(&id), Status::Current | Status::Failed) {
                self.pending.remove(&id);
            } else {
                self.pending.insert(id);
            }
        }
    }

    /// The owners of pods that are in progress, with their selectors.
    pub(super) fn owners_in_progress(&self) -> Vec<(ObjectId, Value)> {
        let in_progress = self
            .objects
            .iter()
            .filter(|(id, entry)| owns_pods(id) && entry.status == Status::InProgress);
        in_progress
            .filter_map(|(id, entry)| match &entry.seen {
                Seen::Object(object) => {
                    Some((id.clone(), object.pointer("/spec/selector")?.clone()))
                }
                _ => None,
            })
            .collect()
    }

    fn status(&self, id: &ObjectId) -> Status {
        let status = self
            .objects
            .get(id)
            .map_or(Status::Unknown, |entry| entry.status);
        // A Job with a TTL that is gone has completed.
        if status == Status::NotFound && self.options.jobs_with_ttl.contains(id) {
            Status::Current
        } else {
            status
        }
    }

    /// Whether waiting longer cannot change the outcome, or is not wanted.
    pub(super) fn is_decided(&self) -> bool {
        let has_failed = |id| self.status(id) == Status::Failed;
        self.pending.is_empty() || (self.options.fail_fast && self.order.iter().any(has_failed))
    }

    /// The state in which each object was last seen.
    pub(super) fn versions(&self) -> Vec<(ObjectId, Version)> {
        let seen = self
            .objects
            .iter()
            .filter_map(|(id, entry)| match &entry.seen {
                Seen::Object(object) => Some((id.clone(), Version::of(object.as_object()?)?)),
                _ => None,
            });
        seen.collect()
    }

    /// The objects that make the outcome an error, as last seen.
    pub(super) fn not_ready(&self, timed_out: bool) -> Vec<(ObjectId, Option<Value>)> {
        let ids = self.order.iter().filter(|id| self.fails(id, timed_out));
        ids.map(|id| {
            let seen = self.objects.get(id).map(|entry| &entry.seen);
            let object = match seen {
                Some(Seen::Object(object)) => Some(object.clone()),
                _ => None,
            };
            (id.clone(), object)
        })
        .collect()
    }

    fn fails(&self, id: &ObjectId, timed_out: bool) -> bool {
        let status = self.status(id);
        status == Status::Failed || (timed_out && status != Status::Current)
    }

    /// The outcome by the last assessment.
    pub(super) fn outcome(&self, timed_out: bool) -> Result<(), WaitError> {
        let mut objects = Vec::new();
        let is_unseen = |entry: &Entry| matches!(entry.seen, Seen::Nothing);
        let none_seen = self.objects.values().all(is_unseen);
        for id in &self.order {
            if !self.fails(id, timed_out) {
                continue;
            }
            if none_seen {
                // The server answered nothing at all (HC-WAIT-008, KC-HEALTH-008).
                objects.push(format!("can't determine status for {id}"));
                continue;
            }
            let status = self.status(id);
            let error = self
                .objects
                .get(id)
                .and_then(|entry| entry.error.as_deref());
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            objects.push(format!("{id} status: '{status}'{error}"));
        }
        if objects.is_empty() {
            Ok(())
        } else {
            Err(WaitError::NotReady {
                timed_out,
                objects,
                causes: Vec::new(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{Board, News};
    use crate::object::ObjectId;
    use crate::wait::options::{Target, WaitOptions};

    fn id(text: &str) -> ObjectId {
        ObjectId::from_inventory_id(text).unwrap()
    }

    fn claim(phase: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": { "phase": phase } })
    }

    fn stalled() -> Value {
        let condition =
            json!({ "type": "Stalled", "status": "True", "reason": "Bad", "message": "broken" });
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": { "conditions": [condition] } })
    }

    fn outcome(news: Vec<News>, options: &WaitOptions, timed_out: bool) -> (bool, String) {
        let targets = [
            "a_one__PersistentVolumeClaim",
            "a_two__PersistentVolumeClaim",
        ]
        .map(|text| Target::of(&id(text), "v1"));
        let mut board = Board::new(&targets, options, Arc::default());
        for news in news {
            board.take(news);
        }
        board.assess(Timestamp::UNIX_EPOCH);
        let outcome = board.outcome(timed_out);
        (
            board.is_decided(),
            outcome.map_or_else(|error| error.to_string(), |()| "ok".to_owned()),
        )
    }

    #[test]
    fn the_wait_ends_once_every_object_is_ready_or_failed() {
        let (one, two) = (
            || id("a_one__PersistentVolumeClaim"),
            || id("a_two__PersistentVolumeClaim"),
        );
        let ready = |id| News::Seen(id, claim("Bound"));
        let pending = |id| News::Seen(id, claim("Pending"));
        let stuck = |id| News::Seen(id, stalled());
        let patient = WaitOptions::default();
        let hasty = WaitOptions {
            fail_fast: true,
            ..WaitOptions::default()
        };
        let early =
            "failed early due to stalled resources: [PersistentVolumeClaim/a/two status: 'Failed']";
        for (what, news, options, timed_out, decided, verdict) in [
            // KC-HEALTH-007
            (
                "all ready",
                vec![ready(one()), ready(two())],
                &patient,
                false,
                true,
                "ok",
            ),
            (
                "one on its way",
                vec![ready(one()), pending(two())],
                &patient,
                false,
                false,
                "ok",
            ),
            (
                "one not seen yet",
                vec![ready(one())],
                &patient,
                false,
                false,
                "ok",
            ),
            (
                "one stuck, the rest ready",
                vec![ready(one()), stuck(two())],
                &patient,
                false,
                true,
                early,
            ),
            (
                "one stuck, one on its way",
                vec![pending(one()), stuck(two())],
                &patient,
                false,
                false,
                early,
            ),
            // RT-SSA-020
            (
                "the same, failing fast",
                vec![pending(one()), stuck(two())],
                &hasty,
                false,
                true,
                early,
            ),
            (
                "it was stuck and is ready",
                vec![ready(one()), stuck(two()), ready(two())],
                &patient,
                false,
                true,
                "ok",
            ),
            // KC-HEALTH-008
            (
                "the time is over",
                vec![pending(one()), News::Gone(two())],
                &patient,
                true,
                false,
                "timeout waiting for: [PersistentVolumeClaim/a/one status: 'InProgress', PersistentVolumeClaim/a/two status: 'NotFound']",
            ),
            // HC-WAIT-008
            (
                "the time is over and nothing was seen",
                vec![],
                &patient,
                true,
                false,
                "timeout waiting for: [can't determine status for PersistentVolumeClaim/a/one, can't determine status for PersistentVolumeClaim/a/two]",
            ),
            (
                "the time is over and one was never seen",
                vec![ready(one())],
                &patient,
                true,
                false,
                "timeout waiting for: [PersistentVolumeClaim/a/two status: 'Unknown']",
            ),
            // KC-HEALTH-018
            (
                "the time is over and one cannot be read",
                vec![ready(one()), News::Unreadable(two(), "denied".into())],
                &patient,
                true,
                false,
                "timeout waiting for: [PersistentVolumeClaim/a/two status: 'Unknown': denied]",
            ),
        ] {
            assert_eq!(
                outcome(news, options, timed_out),
                (decided, verdict.to_owned()),
                "{what}"
            );
        }
    }

    #[test]
    fn an_object_that_cannot_be_assessed_is_unknown_with_a_reason() {
        let object = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "generation": 1 }, "status": { "observedGeneration": "one" } });
        let reason = flux_kstatus::assess(&object, Timestamp::UNIX_EPOCH).unwrap_err();
        let news = vec![
            News::Seen(id("a_one__PersistentVolumeClaim"), claim("Bound")),
            News::Seen(id("a_two__PersistentVolumeClaim"), object),
        ];
        let want = format!(
            "timeout waiting for: [PersistentVolumeClaim/a/two status: 'Unknown': {reason}]"
        );
        assert_eq!(outcome(news, &WaitOptions::default(), true), (false, want));
    }

    // RT-SSA-021, HC-WAIT-005
    #[test]
    fn a_deleted_job_with_a_ttl_counts_as_current() {
        let job = id("a_migrate_batch_Job");
        let targets = [Target::of(&job, "v1")];
        for (jobs_with_ttl, decided) in [
            (BTreeSet::from([job.clone()]), true),
            (BTreeSet::new(), false),
        ] {
            let options = WaitOptions {
                jobs_with_ttl,
                ..WaitOptions::default()
            };
            let mut board = Board::new(&targets, &options, Arc::default());
            board.take(News::Gone(job.clone()));
            board.assess(Timestamp::UNIX_EPOCH);
            assert_eq!(board.is_decided(), decided);
            assert_eq!(board.outcome(true).is_ok(), decided);
        }
    }

    // KC-HEALTH-025
    #[test]
    fn a_failed_pod_fails_its_owner() {
        let owner = id("a_db_apps_StatefulSet");
        let targets = [Target::of(&owner, "v1")];
        let options = WaitOptions::default();
        let mut board = Board::new(&targets, &options, Arc::default());
        let object = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "spec": { "selector": { "matchLabels": {} } } });
        board.take(News::Seen(owner.clone(), object));
        board.assess(Timestamp::UNIX_EPOCH);
        assert_eq!(board.owners_in_progress().len(), 1);
        let waiting =
            json!([{ "name": "c", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }]);
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "status": { "phase": "Running", "containerStatuses": waiting } });
        board.take(News::Pod {
            owner: owner.clone(),
            name: "db-0".into(),
            pod: Some(pod),
        });
        board.assess(Timestamp::UNIX_EPOCH);
        assert!(board.is_decided());
        board.take(News::Pod {
            owner,
            name: "db-0".into(),
            pod: None,
        });
        board.assess(Timestamp::UNIX_EPOCH);
        assert!(!board.is_decided());
    }
}
