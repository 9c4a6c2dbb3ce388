//! Readiness of each kind by the rules of Helm 3.

use flux_helm::action::{Scope, objects};
use serde_json::{Value, json};

use super::Rule;

fn rule(api_version: &str, kind: &str, for_jobs: bool) -> Option<Rule> {
    let manifest = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n");
    let built = objects(&manifest, "apps", &|_, _| Some(Scope::Namespaced)).unwrap();
    Rule::of(&built[0], for_jobs)
}

// HC-WAIT-017
#[test]
fn only_listed_kinds_have_a_readiness_rule() {
    for (api_version, kind, known) in [
        ("v1", "Pod", true),
        ("batch/v1", "Job", true),
        ("apps/v1", "Deployment", true),
        ("v1", "PersistentVolumeClaim", true),
        ("v1", "Service", true),
        ("serving.knative.dev/v1", "Service", false),
        ("apps/v1", "DaemonSet", true),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", true),
        ("apps/v1", "StatefulSet", true),
        ("apps/v1", "ReplicaSet", true),
        ("v1", "ReplicationController", true),
        ("v1", "ConfigMap", false),
    ] {
        assert_eq!(rule(api_version, kind, true).is_some(), known, "{kind}");
    }
    assert_eq!(rule("batch/v1", "Job", false), None);
}

fn status(status: &Value) -> Value {
    json!({"status": status})
}

fn condition(of_type: &str, value: &str) -> Value {
    status(&json!({"conditions": [{"type": of_type, "status": value}]}))
}

fn deployment(replicas: i64, strategy: &Value, observed: i64) -> Value {
    json!({
        "metadata": {"generation": 2, "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": replicas, "strategy": strategy},
        "status": {"observedGeneration": observed},
    })
}

fn set(revision: &str, ready: i64) -> Value {
    json!({
        "metadata": {"generation": 1, "annotations": {"deployment.kubernetes.io/revision": revision}},
        "status": {"observedGeneration": 1, "readyReplicas": ready},
    })
}

// HC-WAIT-017
#[test]
fn readiness_matches_helm_3() {
    let rolling = |unavailable: Value, surge: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}});
    let quarter = || rolling(json!("25%"), json!("25%"));
    let stateful = |partition: i64, updated: i64, ready: i64, current: &str| {
        json!({
            "metadata": {"generation": 1},
            "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}},
            "status": {"observedGeneration": 1, "updatedReplicas": updated, "readyReplicas": ready, "currentRevision": current, "updateRevision": "b"},
        })
    };
    let daemon = |unavailable: Value, updated: i64, ready: i64| {
        json!({
            "metadata": {"generation": 1},
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 4, "updatedNumberScheduled": updated, "numberReady": ready},
        })
    };
    let service = |spec: Value, ingress: Value| json!({"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}});
    let replicas = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}});
    let cases: Vec<(&str, Rule, Value, Vec<Value>, bool)> = vec![
        (
            "a ready pod",
            Rule::Pod,
            condition("Ready", "True"),
            vec![],
            true,
        ),
        (
            "a pod",
            Rule::Pod,
            condition("Ready", "False"),
            vec![],
            false,
        ),
        (
            "a bound claim",
            Rule::Claim,
            status(&json!({"phase": "Bound"})),
            vec![],
            true,
        ),
        (
            "a claim",
            Rule::Claim,
            status(&json!({"phase": "Pending"})),
            vec![],
            false,
        ),
        (
            "a definition",
            Rule::Definition,
            condition("Established", "True"),
            vec![],
            true,
        ),
        (
            "one whose names are taken",
            Rule::Definition,
            condition("NamesAccepted", "False"),
            vec![],
            true,
        ),
        (
            "a new one",
            Rule::Definition,
            status(&json!({})),
            vec![],
            false,
        ),
        (
            "a service",
            Rule::Service,
            service(json!({"clusterIP": "None"}), Value::Null),
            vec![],
            true,
        ),
        (
            "one without address",
            Rule::Service,
            service(json!({}), Value::Null),
            vec![],
            false,
        ),
        (
            "an outer one",
            Rule::Service,
            service(json!({"type": "ExternalName"}), Value::Null),
            vec![],
            true,
        ),
        (
            "an unbalanced one",
            Rule::Service,
            service(
                json!({"type": "LoadBalancer", "clusterIP": "1.2.3.4"}),
                Value::Null,
            ),
            vec![],
            false,
        ),
        (
            "a balanced one",
            Rule::Service,
            service(
                json!({"type": "LoadBalancer", "clusterIP": "1.2.3.4"}),
                json!([{"ip": "1.2.3.4"}]),
            ),
            vec![],
            true,
        ),
        (
            "one with addresses",
            Rule::Service,
            service(
                json!({"type": "LoadBalancer", "clusterIP": "1.2.3.4", "externalIPs": ["1.2.3.4"]}),
                Value::Null,
            ),
            vec![],
            true,
        ),
        (
            "no new set",
            Rule::Deployment,
            deployment(4, &quarter(), 2),
            vec![set("1", 4)],
            false,
        ),
        (
            "three of four",
            Rule::Deployment,
            deployment(4, &quarter(), 2),
            vec![set("1", 4), set("2", 3)],
            true,
        ),
        (
            "two of four",
            Rule::Deployment,
            deployment(4, &quarter(), 2),
            vec![set("2", 2)],
            false,
        ),
        (
            "an older generation",
            Rule::Deployment,
            deployment(4, &quarter(), 1),
            vec![set("2", 4)],
            false,
        ),
        (
            "recreated",
            Rule::Deployment,
            deployment(4, &json!({"type": "Recreate"}), 2),
            vec![set("2", 3)],
            false,
        ),
        (
            "neither is allowed",
            Rule::Deployment,
            deployment(1, &rolling(json!(0), json!(0)), 2),
            vec![set("2", 0)],
            true,
        ),
        (
            "one of one",
            Rule::Deployment,
            deployment(1, &quarter(), 2),
            vec![set("2", 0)],
            false,
        ),
        (
            "none of none",
            Rule::Deployment,
            deployment(0, &quarter(), 2),
            vec![set("2", 0)],
            true,
        ),
        (
            "a paused one",
            Rule::Deployment,
            json!({"spec": {"paused": true}}),
            vec![],
            true,
        ),
        (
            "all current",
            Rule::StatefulSet,
            stateful(0, 3, 3, "b"),
            vec![],
            true,
        ),
        (
            "not all current",
            Rule::StatefulSet,
            stateful(0, 3, 3, "a"),
            vec![],
            false,
        ),
        (
            "part of it",
            Rule::StatefulSet,
            stateful(2, 1, 3, "a"),
            vec![],
            true,
        ),
        (
            "not all ready",
            Rule::StatefulSet,
            stateful(2, 1, 2, "a"),
            vec![],
            false,
        ),
        (
            "all of a daemon",
            Rule::DaemonSet,
            daemon(json!(1), 4, 4),
            vec![],
            true,
        ),
        (
            "all but one",
            Rule::DaemonSet,
            daemon(json!("1%"), 4, 3),
            vec![],
            true,
        ),
        (
            "all but two",
            Rule::DaemonSet,
            daemon(json!(1), 4, 2),
            vec![],
            false,
        ),
        (
            "not updated",
            Rule::DaemonSet,
            daemon(json!(1), 3, 4),
            vec![],
            false,
        ),
        (
            "ready pods",
            Rule::Replicas,
            replicas.clone(),
            vec![condition("Ready", "True")],
            true,
        ),
        (
            "a pod that is not",
            Rule::Replicas,
            replicas,
            vec![condition("Ready", "True"), condition("Ready", "False")],
            false,
        ),
        (
            "a hook's job",
            Rule::HookJob,
            condition("Complete", "True"),
            vec![],
            true,
        ),
        (
            "a hook's job under way",
            Rule::HookJob,
            status(&json!({"succeeded": 1})),
            vec![],
            false,
        ),
        (
            "a hook's pod",
            Rule::HookPod,
            status(&json!({"phase": "Succeeded"})),
            vec![],
            true,
        ),
        (
            "a hook's pod under way",
            Rule::HookPod,
            status(&json!({"phase": "Running"})),
            vec![],
            false,
        ),
        (
            "a complete job",
            Rule::Job,
            json!({"spec": {"completions": 1}, "status": {"succeeded": 1}}),
            vec![],
            true,
        ),
        (
            "a job",
            Rule::Job,
            json!({"spec": {"completions": 1}, "status": {"failed": 6}}),
            vec![],
            false,
        ),
    ];
    for (what, rule, live, related, ready) in cases {
        let met = rule.is_met(&live, &related);
        assert_eq!(met.map_err(|error| error.to_string()), Ok(ready), "{what}");
    }
    let failed = json!({
        "metadata": {"namespace": "apps", "name": "x"},
        "spec": {"backoffLimit": 0}, "status": {"failed": 1},
    });
    let hook = json!({
        "metadata": {"name": "h"},
        "status": {"phase": "Failed", "conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]},
    });
    let failure = |rule: Rule, live| rule.is_met(live, &[]).unwrap_err().to_string();
    assert_eq!(
        failure(Rule::HookJob, &hook),
        "job h failed: DeadlineExceeded"
    );
    assert_eq!(failure(Rule::HookPod, &hook), "pod h failed");
    // HC-WAIT-018
    assert_eq!(failure(Rule::Job, &failed), "job is failed: apps/x");
}
