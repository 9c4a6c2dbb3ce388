//! Status of the owners of pods.

use flux_kstatus::{Status, assess, assess_job, assess_owner_of_pods};
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

// FR-H-041: a node may still come, however long a new pod has waited for one
#[test]
fn an_owner_does_not_fail_for_pods_without_a_node() {
    let mut waiting = unschedulable();
    waiting["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(assess(&waiting, later).unwrap().status, Status::Failed);
    let owner = assess_owner_of_pods(&stateful_set(0), &[waiting], later).unwrap();
    assert_eq!(owner.status, Status::InProgress);
}

// FR-H-039: a Job that has met its criteria has not ended as long as its last pods run
#[test]
fn a_job_with_met_criteria_is_in_progress_until_it_is_complete() {
    let job = |conditions: &[&str]| {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|kind| json!({ "type": kind, "status": "True" }))
            .collect();
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": "j" },
            "spec": { "completions": 1 },
            "status": { "startTime": "2026-01-01T00:00:00Z", "terminating": 1, "conditions": conditions },
        })
    };
    let met = assess_job(&job(&["SuccessCriteriaMet"])).unwrap();
    assert_eq!(met.status, Status::InProgress);
    let complete = assess_job(&job(&["SuccessCriteriaMet", "Complete"])).unwrap();
    assert_eq!(complete.status, Status::Current);
}
