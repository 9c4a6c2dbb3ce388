//! Readiness by the rules of Helm 3 (HC-WAIT-017). Upstream polls every two seconds; this watches.

mod rules;

use std::time::Duration;

use flux_cluster::{Cluster, ObjectId, RequestError, Resource};
use flux_helm::action::Object;
use futures::stream::{self, StreamExt as _};
use kube::api::{DynamicObject, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use rules::Rule;
use serde_json::Value;

use crate::PARALLEL;
use crate::convert::id_of;
use crate::error::{LegacyError, StepError};
use crate::kinds::Kinds;

/// How often an object is read that the identity may not watch.
const INTERVAL: Duration = Duration::from_secs(2);

/// Waits until each object is ready, one after the other.
///
/// # Errors
/// The timeout is over, a Job has failed for good, or an object cannot be read (HC-WAIT-018).
pub(crate) async fn ready(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &[&Object],
    for_jobs: bool,
    timeout: Duration,
) -> Result<(), StepError> {
    let all = async {
        for object in objects {
            let Some(rule) = Rule::of(object, for_jobs) else {
                continue;
            };
            let waited = Waited {
                cluster,
                resource: kinds.resource(object)?,
                id: id_of(object),
                rule,
            };
            waited.until_ready().await?;
        }
        Ok(())
    };
    let timely = tokio::time::timeout(timeout, all).await;
    timely.unwrap_or_else(|_| Err(LegacyError::TimedOut.into()))
}

/// Waits until the Jobs and Pods of a hook have completed; one that is gone counts as completed.
///
/// # Errors
/// A Job or Pod has failed, or the timeout is over.
pub(crate) async fn hook(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &[&Object],
    timeout: Duration,
) -> Result<(), StepError> {
    let mut errors = Vec::new();
    for row in objects.chunk_by(|left, right| left.kind == right.kind) {
        let waits: Vec<_> = row
            .iter()
            .map(|object| done(cluster, kinds, object, timeout))
            .collect();
        let ends: Vec<_> = stream::iter(waits).buffered(PARALLEL).collect().await;
        errors.extend(ends.into_iter().filter_map(Result::err));
    }
    StepError::of_several(errors, "\n")
}

async fn done(
    cluster: &Cluster,
    kinds: &Kinds,
    object: &Object,
    timeout: Duration,
) -> Result<(), StepError> {
    let rule = match object.kind.as_str() {
        "Job" => Rule::HookJob,
        "Pod" => Rule::HookPod,
        _ => return Ok(()),
    };
    let waited = Waited {
        cluster,
        resource: kinds.resource(object)?,
        id: id_of(object),
        rule,
    };
    let timely = tokio::time::timeout(timeout, waited.until_ready()).await;
    timely.unwrap_or_else(|_| Err(LegacyError::HookTimedOut.into()))
}

/// An object in the wait.
struct Waited<'w> {
    cluster: &'w Cluster,
    resource: &'w Resource,
    id: ObjectId,
    rule: Rule,
}

impl Waited<'_> {
    async fn until_ready(&self) -> Result<(), StepError> {
        let fields = format!("metadata.name={}", self.id.name);
        let config = watcher::Config::default().fields(&fields);
        let api = self.cluster.api(self.resource, &self.id.namespace)?;
        let mut news = std::pin::pin!(watcher(api, config).default_backoff());
        let mut there = false;
        while let Some(event) = news.next().await {
            match event {
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    there = true;
                    if self.is_ready(object).await? {
                        return Ok(());
                    }
                }
                Ok(watcher::Event::Init) => there = false,
                Ok(watcher::Event::InitDone) if there => {}
                Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) if self.is_hook() => {
                    return Ok(());
                }
                Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => {
                    let plural = &self.resource.plural;
                    let group = &self.resource.group;
                    let dot = if group.is_empty() { "" } else { "." };
                    let resource = format!("{plural}{dot}{group}");
                    let name = self.id.name.clone();
                    return Err(LegacyError::NotFound { resource, name }.into());
                }
                Err(
                    watcher::Error::InitialListFailed(kube::Error::Api(status))
                    | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
                ) if status.code == 403 => {
                    return self.read_until_ready().await;
                }
                Err(_) => {} // the watcher retries
            }
        }
        Ok(())
    }

    fn is_hook(&self) -> bool {
        matches!(self.rule, Rule::HookJob | Rule::HookPod)
    }

    /// Reads the object every two seconds: an identity that may not watch may still be permitted to read.
    async fn read_until_ready(&self) -> Result<(), StepError> {
        loop {
            let live = self.cluster.get(self.resource, &self.id).await;
            let live = live?.into_value();
            let related = self.related(&live).await?;
            if self.rule.is_met(&live, &related)? {
                return Ok(());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn is_ready(&self, object: DynamicObject) -> Result<bool, StepError> {
        let live = serde_json::to_value(object).unwrap_or_default();
        let related = self.related(&live).await?;
        Ok(self.rule.is_met(&live, &related)?)
    }

    /// The ReplicaSets of a Deployment, or the Pods of a ReplicaSet. They are listed when the object changes, which
    /// happens whenever they become ready.
    async fn related(&self, live: &Value) -> Result<Vec<Value>, StepError> {
        let (group, kind) = match self.rule {
            Rule::Deployment => ("apps", "ReplicaSet"),
            Rule::Replicas => ("", "Pod"),
            _ => return Ok(Vec::new()),
        };
        let discovery = self.cluster.discovery();
        let resource = discovery.resource(group, "v1", kind).await?;
        let selector = &live["spec"]["selector"];
        let labels = if self.id.kind == "ReplicationController" {
            selector
        } else {
            &selector["matchLabels"]
        };
        let labels = labels.as_object().into_iter().flatten();
        let labels: Vec<String> = labels
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        let params = ListParams::default().labels(&labels.join(","));
        let api = self.cluster.api(&resource, &self.id.namespace)?;
        let list = api.list(&params).await.map_err(RequestError::from)?;
        let uid = &live["metadata"]["uid"];
        Ok(list
            .into_iter()
            .filter_map(|related| serde_json::to_value(related).ok())
            .filter(|related| {
                let owners = related["metadata"]["ownerReferences"].as_array();
                let mut owners = owners.into_iter().flatten();
                owners.any(|owner| owner["uid"] == *uid)
            })
            .collect())
    }
}
