//! Changes on the cluster that no release made.

use kind_tests::controller::Settings;
use kind_tests::{CONFIG_MAP, HELM_RELEASE, Kind, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, has, until};

// HC-DRIFT-012, HC-DRIFT-017, HC-DRIFT-018
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_reported_and_corrected() -> Result {
    let bench = Bench::start("hr-drift").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"driftDetection": {"mode": "warn"}}))
        .await?;
    // HC-ACT-050
    let none = "No drift detected against the cluster state";
    bench
        .condition("Drifted", "False", "NoDriftDetected", none)
        .await?;
    let change = json!({"data": {"text": "by hand"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", change).await?;
    let object = bench.run().await?;
    let said = format!(
        "Cluster state of release {ns}/web.v1 has drifted from the desired state:\nConfigMap/{ns}/web-map changed (0 additions, 1 changes, 0 removals)"
    );
    ensure!(
        crate::bench::has(&object, "Drifted", "True", "DriftDetected", &said),
        "{object}"
    );
    // HC-DRIFT-023
    ensure!(
        crate::bench::has(&object, "Ready", "True", "InstallSucceeded", ""),
        "{object}"
    );
    let event = bench.event("DriftDetected", &said).await?;
    // HC-DRIFT-014
    ensure!(
        event["metadata"]["helm.toolkit.fluxcd.io/revision"].is_null(),
        "{event}"
    );
    ensure!(bench.text().await? == "by hand", "it was corrected");

    // HC-DRIFT-020
    bench
        .release(json!({"driftDetection": {"mode": "enabled"}}))
        .await?;
    let said = format!(
        "Cluster state of release {ns}/web.v1 has been corrected:\nConfigMap/{ns}/web-map configured"
    );
    bench.event("DriftCorrected", &said).await?;
    bench
        .condition("Drifted", "False", "NoDriftDetected", none)
        .await?;
    ensure!(bench.text().await? == "default", "it was not corrected");
    bench.namespace.delete(CONFIG_MAP, "web-map").await?;
    bench.run().await?;
    bench
        .event("DriftDetected", &format!("ConfigMap/{ns}/web-map removed"))
        .await?;
    bench
        .event("DriftCorrected", &format!("ConfigMap/{ns}/web-map created"))
        .await?;
    bench.wait_revisions(&[(1, "deployed")]).await?;

    // HC-DRIFT-008
    let ignore = json!([{"paths": ["/data/text"]}]);
    let detection = json!({"mode": "enabled", "ignore": ignore});
    bench.release(json!({"driftDetection": detection})).await?;
    bench.run().await?;
    let change = json!({"data": {"text": "by hand"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", change).await?;
    let object = bench.run().await?;
    ensure!(
        crate::bench::has(&object, "Drifted", "False", "NoDriftDetected", none),
        "{object}"
    );
    ensure!(
        bench.text().await? == "by hand",
        "an ignored field was corrected"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_are_shown_and_their_failures_repeated() -> Result {
    let bench = Bench::with("hr-correct", Settings::default().telling_progress()).await?;
    let ns = bench.namespace.name().to_owned();
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web-secret}\nstringData: {key: hunter2}\n";
    let templates = [
        ("templates/map.yaml", MAP),
        ("templates/secret.yaml", secret),
    ];
    bench.publish("1.0.0", &templates).await?;
    bench
        .release(json!({"driftDetection": {"mode": "enabled"}}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    // HC-DRIFT-019
    let correcting = |object: &Value| {
        has(
            object,
            "Ready",
            "Unknown",
            "Progressing",
            "correcting cluster drift",
        )
    };
    let correcting = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is being corrected", correcting);
    let drifts = async {
        let change = json!({"data": {"text": "by hand"}});
        bench.namespace.merge(CONFIG_MAP, "web-map", change).await?;
        bench.namespace.request_reconcile(HELM_RELEASE, "web").await
    };
    let (corrected, requested) = tokio::join!(correcting, drifts);
    requested?;
    corrected?;
    bench.says("True", "InstallSucceeded", "").await?;
    ensure!(bench.text().await? == "default", "it was not corrected");

    // HC-DRIFT-022: a policy lets dry runs pass, and nothing else
    let change = json!({"data": {"text": "by hand"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", change).await?;
    let change = json!({"stringData": {"key": "by hand"}});
    bench.namespace.merge(SECRET, "web-secret", change).await?;
    forbid(&bench).await?;
    bench
        .namespace
        .request_reconcile(HELM_RELEASE, "web")
        .await?;
    let said = format!("Failed to correct cluster state of release {ns}/web.v1:\n");
    let event = bench.event("DriftCorrectionFailed", &said).await?;
    ensure!(event["severity"] == "error", "{event}");
    // HC-DRIFT-021: only the end of the server's words about a Secret
    let text = event["message"].as_str().unwrap_or_default();
    let reason = format!("\nSecret/{ns}/web-secret patch failure: nothing changes here");
    ensure!(text.contains(&reason), "{text}");
    let whole =
        format!("ConfigMap/{ns}/web-map patch failure: configmaps \"web-map\" is forbidden: ");
    ensure!(text.contains(&whole), "{text}");
    let object = bench
        .condition("Reconciling", "True", "ProgressingWithRetry", "")
        .await?;
    ensure!(
        has(&object, "Drifted", "True", "DriftDetected", ""),
        "{object}"
    );
    bench.wait_revisions(&[(1, "deployed")]).await?;
    // HC-DRIFT-024: the condition outlives its detection
    bench
        .release(json!({"driftDetection": {"mode": "disabled"}}))
        .await?;
    let done = |object: &Value| object["status"]["observedGeneration"] == 2;
    let object = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is done", done)
        .await?;
    ensure!(
        has(&object, "Drifted", "True", "DriftDetected", ""),
        "{object}"
    );
    bench.namespace.delete(POLICY_BINDING, &ns).await?;
    bench.namespace.delete(POLICY, &ns).await
}

// HC-DRIFT-011
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_record_cannot_be_read_is_not_in_sync() -> Result {
    let bench = Bench::start("hr-unread").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let rules = |verbs: &[&str]| {
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}])
    };
    bench.account("deployer", &rules(&["*"])).await?;
    let detection = json!({"mode": "enabled"});
    bench
        .release(json!({"serviceAccountName": "deployer", "driftDetection": detection}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench
        .account("deployer", &rules(&["list", "create", "update"]))
        .await?;
    let unread = async || {
        let object = bench.run().await?;
        let unread = has(&object, "Ready", "False", "StateError", "is forbidden");
        Ok(unread.then_some(()))
    };
    until("the rights are withdrawn", unread).await?;
    bench.account("deployer", &rules(&["*"])).await?;
    bench.run().await?;
    bench.says("True", "InstallSucceeded", "").await?;
    Ok(())
}

const POLICY: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
);
const POLICY_BINDING: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
);

/// Refuses all changes of the namespace's ConfigMaps and Secrets but dry runs.
async fn forbid(bench: &Bench) -> Result {
    let ns = bench.namespace.name();
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps", "secrets"]});
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": ns}});
    let policy = json!({"apiVersion": POLICY.0, "kind": POLICY.1, "metadata": {"name": ns}, "spec": {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "validations": [{"expression": "request.dryRun", "message": "refused: nothing changes here"}]}});
    let binding = json!({"apiVersion": POLICY.0, "kind": POLICY_BINDING.1, "metadata": {"name": ns},
        "spec": {"policyName": ns, "validationActions": ["Deny"]}});
    let probe = "{apiVersion: v1, kind: ConfigMap, metadata: {name: probe}, data: {n: '0'}}";
    bench.namespace.apply(probe).await?;
    bench.namespace.apply(&policy.to_string()).await?;
    bench.namespace.apply(&binding.to_string()).await?;
    let mut count = 0;
    let refused = async || {
        count += 1;
        let change = json!({"data": {"n": count.to_string()}});
        let changed = bench.namespace.merge(CONFIG_MAP, "probe", change).await;
        Ok(changed.is_err().then_some(()))
    };
    until("the policy is in force", refused).await
}
