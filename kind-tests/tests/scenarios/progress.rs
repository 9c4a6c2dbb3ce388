//! What a run reports while it is in progress, and what remains afterwards.

use std::sync::Mutex;

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, KUSTOMIZATION, Kind, Result, condition, ensure, is_ready};
use serde_json::{Value, json};

use crate::config_map;

const REVISION: &str = "main@sha1:1111111111111111111111111111111111111111";

fn progress(object: &Value) -> &str {
    condition(object, "Reconciling")
        .and_then(|reconciling| reconciling["message"].as_str())
        .unwrap_or_default()
}

fn types(object: &Value) -> Vec<&str> {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .filter_map(|condition| condition["type"].as_str())
        .collect()
}

#[tokio::test]
async fn each_step_of_a_first_run_is_reported() -> Result {
    let settings = Settings::default().telling_progress();
    let applier = Applier::start("steps", settings).await?;
    let base = applier
        .artifacts
        .put_bytes("base.yaml", "", config_map("base", "1").into());
    let root = format!(
        "resources: [a.yaml, \"{}\"]\n",
        base["url"].as_str().unwrap_or_default()
    );
    applier
        .publish(
            REVISION,
            &[
                ("a.yaml", &config_map("a", "1")),
                ("kustomization.yaml", &root),
            ],
        )
        .await?;

    let seen = Mutex::new(Vec::new());
    let look = |object: &Value| {
        if let Ok(mut seen) = seen.lock() {
            seen.push(object.clone());
        }
        is_ready(object, "True")
    };
    let yaml = applier.kustomization("app", &["prune: true", "wait: true"]);
    let made = applier.namespace.apply(&yaml);
    let (done, _) = applier
        .namespace
        .wait_during(KUSTOMIZATION, "app", "is ready", look, made)
        .await?;
    let seen = seen.into_inner()?;

    let ending = format!("for revision {REVISION} with a timeout of 9m30s");
    let steps: Vec<&Value> = seen
        .iter()
        .filter(|object| !progress(object).is_empty())
        .collect();
    let told: Vec<&str> = steps.iter().map(|object| progress(object)).collect();
    // KC-PROC-065, KC-PROC-067, KC-API-010
    let wanted = [
        "Fetching manifests",
        "Building manifests",
        "Detecting drift",
        "Running health checks",
    ]
    .map(|step| format!("{step} {ending}"));
    assert_eq!(told, wanted);
    for (number, object) in steps.iter().enumerate() {
        // KC-PROC-061: nothing is done for an object without a finalizer
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["finalizers.fluxcd.io"])
        );
        // KC-PROC-066
        let ready = condition(object, "Ready").cloned().unwrap_or_default();
        assert_eq!(
            (&ready["status"], &ready["reason"], &ready["message"]),
            (
                &json!("Unknown"),
                &json!("Progressing"),
                &json!("Reconciliation in progress")
            )
        );
        let reconciling = condition(object, "Reconciling")
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            (&reconciling["status"], &reconciling["reason"]),
            (&json!("True"), &json!("Progressing"))
        );
        // KC-API-034, KC-API-033, KC-HEALTH-004
        let healthy: &[&str] = if number == 3 {
            &["Reconciling", "Ready", "Healthy"]
        } else {
            &["Reconciling", "Ready"]
        };
        assert_eq!(types(object), healthy);
        ensure!(
            object["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all
                    .iter()
                    .all(|condition| condition["observedGeneration"] == 1)),
            "{object:#}"
        );
        assert_eq!(object["status"]["observedGeneration"], -1);
        // KC-API-039
        let attempted = if number == 0 {
            json!(null)
        } else {
            json!(REVISION)
        };
        assert_eq!(object["status"]["lastAttemptedRevision"], attempted);
        assert_eq!(object["status"]["lastAppliedRevision"], json!(null));
    }
    assert_eq!(types(&done), ["Ready", "Healthy"]);
    assert_eq!(done["status"]["observedGeneration"], 1);

    // KC-PROC-049
    let map = applier
        .namespace
        .get(CONFIG_MAP, "base")
        .await?
        .unwrap_or_default();
    let managers = |object: &Value| -> Vec<String> {
        let entries = object["metadata"]["managedFields"].as_array();
        let of = |entry: &Value| {
            format!(
                "{} {}",
                entry["manager"].as_str().unwrap_or_default(),
                entry["operation"].as_str().unwrap_or_default()
            )
        };
        entries.into_iter().flatten().map(of).collect()
    };
    assert_eq!(managers(&map), ["kustomize-controller Apply"]);
    ensure!(
        managers(&done).contains(&"gotk-kustomize-controller Update".to_owned()),
        "{:?}",
        managers(&done)
    );
    Ok(())
}

#[tokio::test]
async fn run_logs_identify_the_object() -> Result {
    let applier = Applier::start("logged", Settings::default()).await?;
    applier
        .publish(REVISION, &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", REVISION).await?;

    // KC-PROC-073: the keys that the flux command filters by, and the usual words
    let is_about_app = |line: &Value| {
        line["controllerKind"] == "Kustomization"
            && line["name"] == "app"
            && line["namespace"] == applier.namespace.name()
            && line["reconcileID"]
                .as_str()
                .is_some_and(|id| id.len() == 36)
    };
    let log = applier.kustomize.log();
    let finished = log
        .wait("of the end of the run", |line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.starts_with("Reconciliation finished in "))
        })
        .await?;
    ensure!(is_about_app(&finished), "{finished:#}");
    ensure!(
        finished["msg"]
            .as_str()
            .is_some_and(|text| text.ends_with(", next run in 10m0s")),
        "{finished:#}"
    );
    assert_eq!(
        (&finished["revision"], &finished["level"]),
        (&json!(REVISION), &json!("info"))
    );

    // KC-SSA-036: by object
    let applied = log
        .wait("of what was applied", |line| {
            line["msg"] == "server-side apply completed"
        })
        .await?;
    ensure!(is_about_app(&applied), "{applied:#}");
    let id = format!("ConfigMap/{}/a", applier.namespace.name());
    assert_eq!(applied["output"], json!({id: "created"}));
    assert_eq!(applied["revision"], REVISION);

    let broken = "main@sha1:2";
    applier
        .publish(broken, &[("a.yaml", "a: b\n c: d\n")])
        .await?;
    let failed = log
        .wait("of the failure", |line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.starts_with("Reconciliation failed after "))
        })
        .await?;
    ensure!(is_about_app(&failed), "{failed:#}");
    ensure!(
        failed["msg"]
            .as_str()
            .is_some_and(|text| text.ends_with(", next try in 2s")),
        "{failed:#}"
    );
    ensure!(
        failed["error"]
            .as_str()
            .is_some_and(|text| text.contains("a.yaml")),
        "{failed:#}"
    );
    assert_eq!(
        (&failed["revision"], &failed["level"]),
        (&json!(broken), &json!("error"))
    );
    Ok(())
}

/// Rejects status changes of the Kustomizations in a namespace.
fn refusal(namespace: &str) -> String {
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [kustomize.toolkit.fluxcd.io], apiVersions: [v1], operations: [UPDATE], resources: [kustomizations/status]}}
  validations:
  - expression: \"request.namespace != '{namespace}' || has(object.metadata.labels.allowed)\"
    message: no status today
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec: {{policyName: {namespace}, validationActions: [Deny]}}
"
    )
}

#[tokio::test]
async fn a_failed_status_write_fails_the_run_and_is_retried() -> Result {
    const POLICY: Kind = Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
    );
    const BINDING: Kind = Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
    );
    let applier = Applier::start("refused", Settings::default()).await?;
    let namespace = applier.namespace.name();
    applier
        .publish(REVISION, &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", REVISION).await?;

    applier.namespace.apply(&refusal(namespace)).await?;
    let refused = applier.namespace.wait_for("the server refuses", async {
        // The server applies the policy at some point; this cannot be watched.
        while applier
            .namespace
            .set_status(
                KUSTOMIZATION,
                "app",
                json!({"lastHandledReconcileAt": jiff::Timestamp::now().to_string()}),
            )
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    });
    refused.await?;
    applier
        .publish("main@sha1:2", &[("a.yaml", &config_map("a", "2"))])
        .await?;
    // KC-PROC-071
    let failed = applier
        .kustomize
        .log()
        .wait("of the refusal", |line| {
            line["error"].as_str().is_some_and(|text| {
                text.contains("failed to update status: ") && text.contains("no status today")
            })
        })
        .await?;
    assert_eq!(failed["msg"], "Reconciler error");

    let labels = json!({"metadata": {"labels": {"allowed": "yes"}}});
    applier
        .namespace
        .merge(KUSTOMIZATION, "app", labels)
        .await?;
    let healed = applier.applied("app", "main@sha1:2").await;
    applier.namespace.delete(BINDING, namespace).await?;
    applier.namespace.delete(POLICY, namespace).await?;
    healed.map(drop)
}

#[tokio::test]
async fn our_conditions_are_corrected_and_foreign_ones_kept() -> Result {
    let applier = Applier::start("tampered", Settings::default()).await?;
    applier
        .publish(REVISION, &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true", "wait: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", REVISION).await?;
    let false_one = |kind: &str| {
        json!({"type": kind, "status": "False", "reason": "ByHand", "message": "by hand",
            "lastTransitionTime": "2001-01-01T00:00:00Z", "observedGeneration": 1})
    };
    let by_hand = ["Ready", "Healthy", "Stalled", "Reconciling", "Audited"].map(false_one);
    applier
        .namespace
        .set_status(KUSTOMIZATION, "app", json!({"conditions": by_hand}))
        .await?;
    // KC-API-047
    let after = applier.run("app").await?;
    let found: Vec<(&str, &Value, &Value)> = types(&after)
        .into_iter()
        .filter_map(|kind| {
            let condition = condition(&after, kind)?;
            Some((kind, &condition["status"], &condition["reason"]))
        })
        .collect();
    let (yes, no) = (json!("True"), json!("False"));
    let wanted = [
        ("Ready", &yes, &json!("ReconciliationSucceeded")),
        ("Audited", &no, &json!("ByHand")),
        ("Healthy", &yes, &json!("Succeeded")),
    ];
    assert_eq!(found, wanted);
    Ok(())
}
