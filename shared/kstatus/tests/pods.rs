//! Status of the owners of pods.

use flux_kstatus::{Status, assess_owner_of_pods};
use jiff::Timestamp;
use serde_json::{Value, json};

#[allow(clippy::needless_pass_by_value)] // reads better where the argument is a json! literal
fn pod(status: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "status": status })
}

fn crashing() -> Value {
    let waiting = json!({ "reason": "CrashLoopBackOff" });
    pod(json!({
        "phase": "Running",
        "containerStatuses": [{ "name": "main", "state": { "waiting": waiting } }],
    }))
}

fn unschedulable() -> Value {
    let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" });
    pod(json!({ "phase": "Pending", "conditions": [condition] }))
}

fn deleted(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod
}

fn stateful_set(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "db" },
        "spec": { "replicas": 1 },
        "status": { "replicas": replicas, "readyReplicas": replicas, "currentReplicas": replicas },
    })
}

// KC-HEALTH-025, FR-N-143, HC-WAIT-016
#[test]
fn an_owner_in_progress_fails_with_a_failed_pod() {
    let (waiting, done) = (stateful_set(0), stateful_set(1));
    for (object, pods, status, message) in [
        (&waiting, vec![], Status::InProgress, "Replicas: 0/1"),
        (
            &waiting,
            vec![crashing()],
            Status::Failed,
            "1 pods have failed",
        ),
        (
            &waiting,
            vec![crashing(), pod(json!({})), crashing()],
            Status::Failed,
            "2 pods have failed",
        ),
        (
            &waiting,
            vec![deleted(crashing())],
            Status::InProgress,
            "Replicas: 0/1",
        ),
        (
            &waiting,
            vec![unschedulable()],
            Status::InProgress,
            "Replicas: 0/1",
        ),
        (
            &waiting,
            vec![pod(json!({ "phase": "Odd" }))],
            Status::InProgress,
            "Replicas: 0/1",
        ),
        (
            &done,
            vec![crashing()],
            Status::Current,
            "All replicas scheduled as expected. Replicas: 1",
        ),
    ] {
        let assessment = assess_owner_of_pods(object, &pods, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (assessment.status, assessment.message.as_str()),
            (status, message),
            "{pods:?}"
        );
    }
}
