//! Recreates an object whose change the server refuses, and never leaves it deleted (KC-SSA-028, KC-SSA-030).
//!
//! A server calls invalid both a change of an immutable field and an object that is invalid by itself; only the former
//! is helped by recreating. So nothing is deleted before a dry run of creating the new object has distinguished the
//! two, and if the new object is refused after all, the previous one is created again.

use std::time::Duration;

use flux_cluster::{Cluster, Object, ObjectId, RequestError, Resource, wait_until_replaced};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::error::{Previous, StepError};

/// How long an object may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a creation is retried until what the deleted object held is released: the quota controller counts with a
/// delay after the API server, and so do webhooks that use a cache.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause before the second attempt; each further one is twice as long, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Messages of a refused creation if something else, such as the object that is to be replaced, holds a resource:
/// quotas that are used up, ports and addresses that are allocated, defaults and hosts of which there may be only one.
const OCCUPIED: [&str; 7] = [
    "exceeded quota",
    "range is full",
    "already",
    "in use",
    "duplicate",
    "unique",
    "conflict",
];

/// Whether deleting an object makes room for the new one, as far as can be determined while it exists.
///
/// # Errors
///
/// If the server's response does not decide it.
pub(crate) async fn is_possible(
    cluster: &Cluster,
    resource: &Resource,
    desired: &Object,
    live: &Object,
) -> Result<bool, RequestError> {
    let refusal = match cluster.dry_create(resource, desired).await {
        Ok(()) => return Ok(true),
        Err(error) if error.reason == "AlreadyExists" => return Ok(true),
        Err(error) => error,
    };
    if !is_occupied(&refusal) {
        return if refusal.is_transient() {
            Err(refusal)
        } else {
            Ok(false)
        };
    }
    // The live object may be the one that holds the resource. Then its own content, which the server has accepted
    // before, is refused for such a reason as well.
    if !live.exists() {
        return Ok(false);
    }
    match cluster.dry_create(resource, &content_of(live)).await {
        Err(error) => Ok(is_occupied(&error)),
        Ok(()) => Ok(false),
    }
}

/// Deletes an object and creates it again; returns the stored object.
///
/// # Errors
///
/// If the object cannot be deleted, or the new one is refused. In the latter case the previous one is restored, if the
/// server allows that.
pub(crate) async fn recreate(
    cluster: &Cluster,
    resource: &Resource,
    desired: &Object,
    live: &Object,
) -> Result<Object, StepError> {
    // A deleted object has to be recreated even after the run has reached its time limit.
    let cluster = cluster.each_alone();
    let id = desired.id();
    delete(&cluster, resource, id, live.uid()).await?;
    let applied = until_released(|| cluster.apply(resource, desired, false)).await;
    let error = match applied {
        Ok(object) => return Ok(object),
        Err(error) => error,
    };
    let previous = if live.exists() {
        let content = content_of(live);
        match until_released(|| cluster.create(resource, &content)).await {
            Ok(_) => Previous::Restored,
            // Another client has created it first.
            Err(error) if error.reason == "AlreadyExists" => Previous::Restored,
            Err(error) => Previous::Refused(error),
        }
    } else {
        Previous::Unknown
    };
    Err(StepError::Remake { error, previous })
}

/// Deletes the object that was read, and waits until it is gone.
async fn delete(
    cluster: &Cluster,
    resource: &Resource,
    id: &ObjectId,
    uid: &str,
) -> Result<(), StepError> {
    match cluster.delete_exactly(resource, id, uid).await {
        Err(error) if !error.is_not_found() => return Err(StepError::Recreate(error)),
        _ => {}
    }
    wait_until_replaced(cluster, resource, id, uid, GONE_TIMEOUT)
        .await
        .map_err(StepError::Gone)
}

/// Retries a request while the server is unavailable, or while its message says that a resource is held: the object
/// that held it was just deleted.
async fn until_released<T, F>(mut request: impl FnMut() -> F) -> Result<T, RequestError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    let mut pause = FIRST_PAUSE;
    loop {
        match request().await {
            Err(error)
                if error.reason != "AlreadyExists"
                    && (is_occupied(&error) || error.is_transient())
                    && Instant::now() + pause < deadline =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Whether a creation is refused because something else holds a resource. A refusal for several reasons is not:
/// deleting the object could help against one of them only.
fn is_occupied(error: &RequestError) -> bool {
    let message = error.message.to_lowercase();
    error.code >= 400
        && error.reason != "AlreadyExists"
        && !message.contains(" is invalid: [")
        && OCCUPIED.iter().any(|words| message.contains(words))
}

/// The manifest of a live object: without the fields that only the server sets.
fn content_of(live: &Object) -> Object {
    let mut object = live.clone();
    object.fields_mut().remove("status");
    if let Some(Value::Object(metadata)) = object.fields_mut().get_mut("metadata") {
        for key in [
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(key);
        }
    }
    if object.group() == "batch" && object.kind() == "Job" {
        remove_generated_selector(&mut object);
    }
    object
}

/// A Job's selector contains the Job's uid, unless the user has set it, and the new Job has another uid.
fn remove_generated_selector(job: &mut Object) {
    let Some(spec) = job
        .fields_mut()
        .get_mut("spec")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    spec.remove("selector");
    let labels: Option<&mut Map<String, Value>> = spec
        .get_mut("template")
        .and_then(|template| template.pointer_mut("/metadata/labels"))
        .and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        for key in ["controller-uid", "job-name"] {
            labels.remove(key);
            labels.remove(&format!("batch.kubernetes.io/{key}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_cluster::{Object, RequestError};
    use serde_json::json;

    use super::{content_of, is_occupied};

    // KC-SSA-030
    #[test]
    fn resource_conflicts_are_distinguished_from_invalid_objects() {
        for (code, reason, message, occupied) in [
            (
                403,
                "Forbidden",
                "jobs.batch \"j\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1",
                true,
            ),
            (
                422,
                "Invalid",
                "Service \"s\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
                true,
            ),
            (
                500,
                "InternalError",
                "Internal error occurred: failed to allocate a serviceIP: range is full",
                true,
            ),
            (
                403,
                "Forbidden",
                "PriorityClass high is already marked as default. Only one default can exist",
                true,
            ),
            (
                422,
                "Invalid",
                "Service \"s\" is invalid: [spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, spec.ports[0].nodePort: provided port is already allocated]",
                false,
            ),
            (
                422,
                "Invalid",
                "Service \"s\" is invalid: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
                false,
            ),
            (
                409,
                "AlreadyExists",
                "jobs.batch \"j\" already exists",
                false,
            ),
            (0, "", "connection already closed", false),
        ] {
            let error = RequestError::refusal(code, reason, message);
            assert_eq!(is_occupied(&error), occupied, "{message}");
        }
    }

    #[test]
    fn restored_content_lacks_fields_set_by_the_server() {
        let labels = json!({ "app": "a", "controller-uid": "u", "batch.kubernetes.io/controller-uid": "u",
            "job-name": "j", "batch.kubernetes.io/job-name": "j" });
        let job = |manual: bool| {
            Object::new(json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": { "name": "j", "namespace": "n", "labels": { "x": "y" }, "uid": "u", "resourceVersion": "1",
                    "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [] },
                "spec": { "manualSelector": manual, "selector": { "matchLabels": { "controller-uid": "u" } },
                    "template": { "metadata": { "labels": labels } } },
                "status": { "active": 1 },
            }))
            .unwrap()
        };
        let want = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": "j", "namespace": "n", "labels": { "x": "y" } },
            "spec": { "manualSelector": false, "template": { "metadata": { "labels": { "app": "a" } } } },
        });
        assert_eq!(content_of(&job(false)).into_value(), want);
        let manual = content_of(&job(true));
        assert_eq!(
            manual.at(&["spec", "selector", "matchLabels", "controller-uid"]),
            Some(&json!("u"))
        );
    }
}
