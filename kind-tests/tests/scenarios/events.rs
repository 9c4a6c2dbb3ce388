//! Events for the receiver of `--events-addr`, and events in Kubernetes.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, KUSTOMIZATION, Kind, Result, condition, ensure};
use serde_json::{Map, Value, json};

use crate::config_map;

const EVENT: Kind = Kind("v1", "Event");

/// An event: reason, whether it is a warning, start of the message, revision.
type ExpectedEvent<'t> = (&'t str, bool, String, &'t str);

/// The start of a message, up to the first duration that differs from run to run.
fn message_start(message: &str) -> String {
    for start in ["Health check passed in ", "Reconciliation finished in "] {
        if message.starts_with(start) {
            return start.to_owned();
        }
    }
    message.to_owned()
}

#[tokio::test]
async fn events_go_to_the_receiver_and_to_kubernetes() -> Result {
    let applier = Applier::start("told", Settings::default()).await?;
    let namespace = applier.namespace.name().to_owned();
    let annotations = json!({"metadata": {"annotations": {"event.toolkit.fluxcd.io/deploymentID": "d-1", "other": "x"}}});
    let files = |value: &str| {
        [
            ("a.yaml", config_map("a", value)),
            ("b.yaml", config_map("b", "1")),
        ]
    };
    let publish = async |revision: &str, files: &[(&str, String)]| {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        applier.publish(revision, &files).await.map(drop)
    };
    let yaml = applier.kustomization("app", &["suspend: true", "prune: true", "wait: true"]);
    applier.namespace.apply(&yaml).await?;
    applier
        .namespace
        .merge(KUSTOMIZATION, "app", annotations)
        .await?;
    publish("main@sha1:1", &files("1")).await?;
    applier
        .namespace
        .merge(KUSTOMIZATION, "app", json!({"spec": {"suspend": false}}))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    // An unchanged run: only its end is reported.
    applier.run("app").await?;
    publish("main@sha1:2", &files("2")[..1]).await?;
    applier.applied("app", "main@sha1:2").await?;
    let broken = [("a.yaml", "a: b\n c: d\n".to_owned())];
    publish("main@sha1:3", &broken).await?;
    let failed = applier.says("app", "BuildFailed", "a.yaml").await?;
    let error = condition(&failed, "Ready")
        .and_then(|ready| ready["message"].as_str())
        .unwrap_or_default()
        .to_owned();
    applier
        .namespace
        .merge(
            KUSTOMIZATION,
            "app",
            json!({"spec": {"retryInterval": "1h"}}),
        )
        .await?;
    publish("main@sha1:4", &files("2")[..1]).await?;
    applier.applied("app", "main@sha1:4").await?;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;

    let ended = |revision| {
        (
            "ReconciliationSucceeded",
            false,
            "Reconciliation finished in ".to_owned(),
            revision,
        )
    };
    let news = |text: String, revision| ("Progressing", false, text, revision);
    let id = |name: &str| format!("ConfigMap/{namespace}/{name}");
    // KC-EVT-002: the reasons
    let expected: Vec<ExpectedEvent> = vec![
        // KC-EVT-005
        news(
            format!("{} created\n{} created", id("a"), id("b")),
            "main@sha1:1",
        ),
        // KC-HEALTH-009
        news("Health check passed in ".into(), "main@sha1:1"),
        // KC-EVT-004
        ended("main@sha1:1"),
        // KC-SSA-035, KC-HEALTH-009: the unchanged run
        ended("main@sha1:1"),
        news(format!("{} configured", id("a")), "main@sha1:2"),
        news(format!("{} deleted", id("b")), "main@sha1:2"),
        news("Health check passed in ".into(), "main@sha1:2"),
        ended("main@sha1:2"),
        // KC-EVT-001, KC-EVT-006
        ("BuildFailed", true, error, "main@sha1:3"),
        ended("main@sha1:4"),
        // KC-PRUNE-021, KC-EVT-012: nothing else about a successful run
        (
            "ReconciliationSucceeded",
            false,
            format!("{} deleted", id("a")),
            "main@sha1:4",
        ),
    ];
    let last = expected
        .last()
        .map(|told| told.2.clone())
        .unwrap_or_default();
    applier
        .events
        .wait("of the deletion", |event| event["message"] == json!(last))
        .await?;
    let posted = applier.events.events();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut told: Vec<ExpectedEvent> = posted
        .iter()
        .map(|event| {
            let revision = event["metadata"]["kustomize.toolkit.fluxcd.io/revision"].as_str();
            let reason = event["reason"].as_str().unwrap_or_default();
            (
                reason,
                event["severity"] == "error",
                message_start(&text(&event["message"])),
                revision.unwrap_or_default(),
            )
        })
        .collect();
    // From here on runs overlap with what triggers them, and an additional run may happen.
    told.dedup_by(|one, next| one == next && matches!(one.3, "main@sha1:3" | "main@sha1:4"));
    assert_eq!(told, expected);
    for event in &posted {
        // KC-EVT-003, KC-EVT-014: only these
        let ends = event["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("Reconciliation finished"));
        let mut metadata = event["metadata"].as_object().cloned().unwrap_or_default();
        metadata.remove("kustomize.toolkit.fluxcd.io/revision");
        let mut expected = Map::new();
        expected.insert("event.toolkit.fluxcd.io/deploymentID".into(), json!("d-1"));
        if ends {
            expected.insert(
                "kustomize.toolkit.fluxcd.io/commit_status".into(),
                json!("update"),
            );
        }
        assert_eq!(metadata, expected, "{event:#}");
    }

    // RT-EVT-021, KC-EVT-008
    for event in &posted {
        let (reason, message) = (text(&event["reason"]), text(&event["message"]));
        let step = match message.lines().next().unwrap_or_default() {
            line if line.ends_with(" deleted") && reason == "Progressing" => "Prune",
            line if line.ends_with(" deleted") => "Finalize",
            line if line.ends_with(" created") || line.ends_with(" configured") => "Apply",
            line if line.starts_with("Health check passed") => "HealthCheck",
            _ => "Reconcile",
        };
        assert_eq!(event["action"], step, "{event:#}");
    }

    // KC-EVT-001, KC-EVT-003: the same as events in Kubernetes
    let of_app = |event: &Value| {
        event["involvedObject"]["name"] == "app"
            && event["involvedObject"]["kind"] == "Kustomization"
    };
    let events = applier
        .namespace
        .wait_all(EVENT, "tell of the deletion", |events| {
            let events: Vec<Value> = events
                .iter()
                .filter(|event| of_app(event))
                .cloned()
                .collect();
            events
                .iter()
                .any(|event| event["message"] == json!(last))
                .then_some(events)
        })
        .await?;
    for (reason, warning, message, revision) in &expected {
        let same = |event: &&Value| {
            event["reason"] == *reason
                && event["message"]
                    .as_str()
                    .is_some_and(|text| message_start(text) == *message)
                && event["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/revision"]
                    == *revision
        };
        let found = events.iter().find(same).cloned().unwrap_or_default();
        assert_eq!(
            found["type"],
            if *warning { "Warning" } else { "Normal" },
            "{reason} {message}: {events:#?}"
        );
        assert_eq!(found["source"]["component"], "kustomize-controller");
        assert_eq!(
            found["metadata"]["annotations"]["event.toolkit.fluxcd.io/deploymentID"],
            "d-1"
        );
    }
    applier.events.check()
}

#[tokio::test]
async fn access_denials_are_reported_without_a_revision() -> Result {
    const SOURCE: Kind = Kind("source.toolkit.fluxcd.io/v1", "GitRepository");
    let flag = Settings::default().flag("--no-cross-namespace-refs");
    let applier = Applier::start("denied", flag).await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    ensure!(
        applier.namespace.get(SOURCE, "app").await?.is_some(),
        "no source"
    );
    let gate = "can't access 'ExternalArtifact/NS/app', ExternalArtifact feature gate is disabled";
    let decryption = "to use spec.decryption.serviceAccountName for decryption authentication please enable the \
                      ObjectLevelWorkloadIdentity feature gate in the controller";
    for (name, change, reason, message) in [
        // KC-SRC-004, KC-PROC-019, RT-ACL-001
        (
            "namespace",
            json!({"sourceRef": {"namespace": "elsewhere"}}),
            "AccessDenied",
            "can't access 'GitRepository/elsewhere/app', cross-namespace references have been blocked",
        ),
        // KC-SRC-005
        (
            "gate",
            json!({"sourceRef": {"kind": "ExternalArtifact"}}),
            "AccessDenied",
            gate,
        ),
        // KC-PROC-064, KC-PROC-040
        (
            "identity",
            json!({"decryption": {"provider": "sops", "serviceAccountName": "sops"}}),
            "FeatureGateDisabled",
            decryption,
        ),
    ] {
        let yaml = applier.kustomization(name, &["suspend: true", "prune: true"]);
        applier.namespace.apply(&yaml).await?;
        applier
            .namespace
            .merge(KUSTOMIZATION, name, json!({"spec": change}))
            .await?;
        applier
            .namespace
            .merge(KUSTOMIZATION, name, json!({"spec": {"suspend": false}}))
            .await?;
        let message = message.replace("NS", applier.namespace.name());
        let stalled = applier.says(name, reason, &message).await?;
        for kind in ["Ready", "Stalled"] {
            let condition = condition(&stalled, kind).cloned().unwrap_or_default();
            let status = if kind == "Stalled" { "True" } else { "False" };
            assert_eq!(
                (
                    &condition["status"],
                    &condition["reason"],
                    &condition["message"]
                ),
                (&json!(status), &json!(reason), &json!(message))
            );
        }
        assert_eq!(condition(&stalled, "Reconciling"), None);
        // KC-API-033
        assert_eq!(stalled["status"]["observedGeneration"], -1);
        // KC-EVT-007
        let told = applier
            .events
            .wait("of the refusal", |event| event["message"] == json!(message))
            .await?;
        assert_eq!(
            (&told["severity"], &told["reason"]),
            (&json!("error"), &json!(reason))
        );
        assert_eq!(
            told["metadata"].get("kustomize.toolkit.fluxcd.io/revision"),
            None
        );
    }
    assert_eq!(applier.namespace.get(CONFIG_MAP, "a").await?, None);
    Ok(())
}
