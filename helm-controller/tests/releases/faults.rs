//! What goes wrong around a release: the cluster refuses, hooks hang, records are edited, namespaces go.

use std::net::SocketAddr;

use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, DEPLOYMENT, Failure, Gate, HELM_RELEASE, Kind, Result, SECRET, Way,
    condition, ensure,
};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, has, history, noise};
use crate::refusal::{MESSAGE, Refusal};

const NAMESPACE: Kind = Kind("v1", "Namespace");
const QUOTA: Kind = Kind("v1", "ResourceQuota");

/// A value that must not be shown.
const PASSWORD: &str = "hunter2secret";

/// Makes a Secret with values for a HelmRelease.
async fn secret_values(bench: &Bench, key: &str) -> Result<Value> {
    let values = format!("{key}: {PASSWORD}");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds"},
        "stringData": {"values.yaml": values}});
    bench.namespace.apply(&secret.to_string()).await?;
    Ok(json!([{"kind": "Secret", "name": "creds"}]))
}

/// Checks that neither the object nor an event nor the log shows the Secret's value.
async fn nothing_is_shown(bench: &Bench) -> Result {
    let object = bench.get().await?;
    ensure!(!object.to_string().contains("hunter2"), "{object}");
    for event in bench.events.events() {
        ensure!(!event.to_string().contains("hunter2"), "{event}");
    }
    let log = bench.helm.log().lines().join("\n");
    ensure!(!log.contains("hunter2"), "the log has the value");
    Ok(())
}

// HC-ACT-055, HC-ACT-064
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_refuses_until_there_is_room() -> Result {
    let bench = Bench::start("hr-quota").await?;
    let quota = json!({"apiVersion": QUOTA.0, "kind": QUOTA.1, "metadata": {"name": "few"},
        "spec": {"hard": {"count/configmaps": "0"}}});
    bench.namespace.apply(&quota.to_string()).await?;
    let known = |quota: &Value| quota["status"]["hard"]["count/configmaps"] == "0";
    bench
        .namespace
        .wait(QUOTA, "few", "is in effect", known)
        .await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let strategy = json!({"name": "RetryOnFailure", "retryInterval": "1s"});
    let spec = json!({"install": {"strategy": strategy}, "upgrade": {"strategy": strategy}});
    bench.release(spec).await?;
    let said = "is forbidden: exceeded quota: few, requested: count/configmaps=1";
    let object = bench
        .condition("Released", "False", "InstallFailed", said)
        .await?;
    ensure!(condition(&object, "Stalled").is_none(), "{object}");
    let event = bench.event("InstallFailed", said).await?;
    ensure!(event["severity"] == "error", "{event}");
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "it was made"
    );
    bench.namespace.delete(QUOTA, "few").await?;
    let object = bench.says("True", "UpgradeSucceeded", "").await?;
    ensure!(object["status"]["failures"].is_null(), "{object}");
    ensure!(bench.text().await? == "default", "{}", bench.text().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_refuses_without_showing_what_it_quotes() -> Result {
    let bench = Bench::start("hr-policy").await?;
    let ns = bench.namespace.name().to_owned();
    let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: before}\n";
    let templates = [
        ("templates/map.yaml", MAP),
        ("templates/before.yaml", other),
    ];
    bench.publish("1.0.0", &templates).await?;
    let refusal = Refusal::quoting(&bench.namespace, "hunter2").await?;
    let from = secret_values(&bench, "text").await?;
    let remediation = json!({"remediation": {"retries": 0, "remediateLastFailure": true}});
    bench
        .release(json!({"valuesFrom": from, "install": remediation}))
        .await?;
    let said = "Failed to install after 1 attempt(s)";
    let object = bench
        .condition("Stalled", "True", "RetriesExceeded", said)
        .await?;
    let said = format!("Helm install failed for release {ns}/web with chart web@1.0.0: ");
    let released = condition(&object, "Released").cloned().unwrap_or_default();
    let message = released["message"].as_str().unwrap_or_default();
    // HC-VAL-007, HC-EVT-011: the server's words, and the value masked
    ensure!(
        message.starts_with(&said) && message.contains(MESSAGE) && message.contains("***"),
        "{released}"
    );
    // HC-UNI-016: what had been made is gone
    ensure!(
        has(&object, "Remediated", "True", "UninstallSucceeded", ""),
        "{object}"
    );
    for name in ["before", "web-map"] {
        let left = bench.namespace.get(CONFIG_MAP, name).await?;
        ensure!(left.is_none(), "{name} is left");
    }
    ensure!(bench.revisions().await?.is_empty(), "a record is left");
    nothing_is_shown(&bench).await?;

    // The same in an upgrade: what was deployed stays.
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    bench.release(json!({"upgrade": remediation})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let from = json!([{"kind": "Secret", "name": "creds"}]);
    bench
        .release(json!({"valuesFrom": from, "upgrade": remediation}))
        .await?;
    let object = bench
        .condition("Remediated", "True", "RollbackSucceeded", "")
        .await?;
    ensure!(
        has(&object, "Released", "False", "UpgradeFailed", MESSAGE),
        "{object}"
    );
    ensure!(bench.text().await? == "default", "it was changed");
    bench
        .wait_revisions(&[(1, "superseded"), (2, "failed"), (3, "deployed")])
        .await?;
    nothing_is_shown(&bench).await?;
    refusal.lift().await
}

fn hook(events: &str, spec: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: hook, annotations: {{helm.sh/hook: {events}}}}}\nspec:\n  backoffLimit: 0\n{spec}  template:\n    spec: {{restartPolicy: Never, nodeSelector: {{no: such-node}}, containers: [{{name: c, image: example.com/c}}]}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_that_fail_or_hang_fail_their_release() -> Result {
    let bench = Bench::start("hr-hooks").await?;
    let ns = bench.namespace.name().to_owned();
    let dead = "  activeDeadlineSeconds: 1\n";
    for (round, events, spec, said) in [
        // HE-HOOK-011
        (
            0,
            "pre-install",
            dead,
            "failed pre-install: failed early due to stalled resources: [Job/NS/hook status: 'Failed']",
        ),
        (
            1,
            "pre-install",
            "",
            "failed pre-install: timeout waiting for: [Job/NS/hook status: 'InProgress']",
        ),
        (
            2,
            "post-install",
            "",
            "failed post-install: timeout waiting for: [Job/NS/hook status: 'InProgress']",
        ),
    ] {
        let hook = hook(events, spec);
        let templates = [("templates/hook.yaml", &*hook), ("templates/map.yaml", MAP)];
        bench.publish(&format!("1.{round}.0"), &templates).await?;
        bench.release(json!({"timeout": "3s"})).await?;
        let said = said.replace("NS", &ns);
        let object = bench
            .condition("Stalled", "True", "RetriesExceeded", "")
            .await?;
        ensure!(
            has(&object, "Released", "False", "InstallFailed", &said),
            "{object}"
        );
        ensure!(history(&object) == ["1 failed install"], "{object}");
        let map = bench.namespace.get(CONFIG_MAP, "web-map").await?;
        ensure!(map.is_some() == (events == "post-install"), "{round}");
        bench.namespace.delete(HELM_RELEASE, "web").await?;
        bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
        let left = bench.namespace.get(CONFIG_MAP, "web-map").await?;
        ensure!(left.is_none(), "{round}: it is left");
        ensure!(bench.revisions().await?.is_empty(), "{round}: a record");
    }
    Ok(())
}

// HE-SCHEMA-002, HC-VAL-007
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_break_the_schema_make_no_release_and_are_not_shown() -> Result {
    let bench = Bench::start("hr-schema").await?;
    let schema = r#"{"properties": {"port": {"type": "integer"}, "text": {"type": "string", "enum": ["default"]}}}"#;
    let templates = [("values.schema.json", schema), ("templates/map.yaml", MAP)];
    bench.publish("1.0.0", &templates).await?;
    let from = secret_values(&bench, "port").await?;
    bench
        .release(json!({"valuesFrom": from, "values": {"text": "other"}}))
        .await?;
    let said = "values don't meet the specifications of the schema(s) in the following chart(s):";
    let object = bench.says("False", "InstallFailed", said).await?;
    let shown = object["status"].to_string();
    ensure!(
        shown.contains("/port") && shown.contains("/text"),
        "{shown}"
    );
    // HC-ACT-095, HC-ACT-069: nothing was stored, and it does not count
    ensure!(object["status"]["installFailures"].is_null(), "{object}");
    ensure!(bench.revisions().await?.is_empty(), "a record");
    nothing_is_shown(&bench).await?;
    let skip = json!({"disableSchemaValidation": true});
    bench
        .release(json!({"valuesFrom": from, "values": {"text": "other"}, "install": skip}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    nothing_is_shown(&bench).await
}

// HC-ACT-035, HC-ACT-037, HC-REL-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_records_are_replaced_by_a_new_revision() -> Result {
    let bench = Bench::installed("hr-edited", json!({"values": {"text": "one"}})).await?;
    bench.release(json!({"values": {"text": "two"}})).await?;
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    let name = |revision: i64| format!("sh.helm.release.v1.web.v{revision}");
    let record = async |revision: i64| -> Result<String> {
        let secret = bench.namespace.get(SECRET, &name(revision)).await?;
        let secret = secret.unwrap_or_default();
        Ok(secret["data"]["release"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    // The label alone says nothing: Helm reads the record.
    let label = json!({"metadata": {"labels": {"status": "failed"}}});
    bench.namespace.merge(SECRET, &name(2), label).await?;
    let object = bench.run().await?;
    ensure!(
        has(&object, "Ready", "True", "UpgradeSucceeded", "web.v2"),
        "{object}"
    );
    // Another manifest than the one that was observed.
    let client = bench.namespace.cluster().client().await?;
    let cluster = flux_cluster::Cluster::new(client, "editor");
    let records = flux_release::Records::new(&cluster, bench.namespace.name());
    let mut edited = records.get("web", 2).await?.unwrap_or_default();
    edited.manifest.push_str("# edited\n");
    records.update(&edited).await?;
    bench.run().await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v3").await?;
    ensure!(history(&object) == ["3 deployed upgrade"], "{object}");
    ensure!(bench.text().await? == "two", "{object}");
    // The record of another revision in its place, and then half of one: Helm goes by what it can read, and finds its next
    // revision taken.
    let whole = record(3).await?;
    let half = whole.get(..whole.len() / 8 * 4).unwrap_or_default();
    for broken in [record(2).await?, half.to_owned()] {
        let broken = json!({"data": {"release": broken}});
        bench.namespace.merge(SECRET, &name(3), broken).await?;
        bench.run().await?;
        let said = "release: already exists";
        bench.says("False", "UpgradeFailed", said).await?;
        bench.namespace.delete(SECRET, &name(3)).await?;
        bench.run().await?;
        bench.says("True", "UpgradeSucceeded", "web.v3").await?;
    }
    ensure!(bench.text().await? == "two", "{}", bench.text().await?);
    // Deleted by hand, each of them: it is installed anew over what is there.
    for (revision, _) in bench.revisions().await? {
        bench.namespace.delete(SECRET, &name(revision)).await?;
    }
    bench.run().await?;
    let object = bench.says("True", "InstallSucceeded", "web.v1").await?;
    ensure!(history(&object) == ["1 deployed install"], "{object}");
    Ok(())
}

// HC-REL-008, HE-ACT-040, FR-H-010
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_stored_whole_or_not_at_all() -> Result {
    let bench = Bench::start("hr-large").await?;
    // What compression saves of such text base64 takes back, more than once: the limit is a mebibyte.
    let (fits, exceeds) = (noise(800_000), noise(860_000));
    let chart = async |version: &str, text: &str| {
        let templates = [("templates/map.yaml", MAP), ("files/noise", text)];
        bench.publish(version, &templates).await
    };
    chart("2.0.0", &exceeds).await?;
    bench.release(json!({})).await?;
    let said = "create: failed to create: Secret \"sh.helm.release.v1.web.v1\" is invalid: data: Too long: may not be more than 1048576 bytes";
    let object = bench.says("False", "InstallFailed", said).await?;
    ensure!(object["status"]["installFailures"].is_null(), "{object}");
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "it was applied"
    );
    chart("2.1.0", &fits).await?;
    bench.says("True", "InstallSucceeded", "web.v1").await?;
    let secret = bench
        .namespace
        .get(SECRET, "sh.helm.release.v1.web.v1")
        .await?;
    let secret = secret.unwrap_or_default();
    let stored = secret["data"]["release"].as_str().map_or(0, str::len) / 4 * 3;
    ensure!(stored > 950_000, "{stored} bytes are not near the limit");
    chart("2.2.0", &exceeds).await?;
    let object = bench.says("False", "UpgradeFailed", "Too long").await?;
    ensure!(object["status"]["upgradeFailures"].is_null(), "{object}");
    bench.wait_revisions(&[(1, "deployed")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_deleted_takes_nothing_else_with_it() -> Result {
    let bench = Bench::start("hr-nsgone").await?;
    let other = format!("{}-target", bench.namespace.name());
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let spec = |text: &str| {
        json!({"targetNamespace": other, "releaseName": "web", "values": {"text": text},
            "install": {"createNamespace": true}})
    };
    bench.release(spec("one")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench.namespace.delete(NAMESPACE, &other).await?;
    bench.namespace.wait_gone(NAMESPACE, &other).await?;
    // The record is in a namespace of its own, and an upgrade does not make the target's again.
    bench.release(spec("two")).await?;
    let said = format!("namespaces \"{other}\" not found");
    let object = bench.says("False", "UpgradeFailed", &said).await?;
    ensure!(history(&object)[0] == "2 failed upgrade", "{object}");
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(bench.revisions().await?.is_empty(), "records are left");
    Ok(())
}

/// A gate to the API server, and a kubeconfig whose requests pass it.
async fn gate(user: &str) -> Result<(Gate, tempfile::TempPath)> {
    let cluster = Cluster::shared().await?;
    let text = std::fs::read_to_string(cluster.kubeconfig_for(user)?)?;
    let (before, rest) = text
        .split_once("https://")
        .ok_or_else(|| Failure::new("the kubeconfig names no server"))?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c)));
    let end = end.unwrap_or(rest.len());
    let server: SocketAddr = rest[..end].parse()?;
    let gate = Gate::start(server).await?;
    let file = tempfile::NamedTempFile::new()?.into_temp_path();
    let text = format!("{before}https://{}{}", gate.address(), &rest[end..]);
    std::fs::write(&file, text)?;
    Ok((gate, file))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_outlives_the_loss_of_the_api_server() -> Result {
    let (gate, kubeconfig) = gate(&format!("hr-lost-{}", std::process::id())).await?;
    let settings = Settings::default().env("KUBECONFIG", kubeconfig.to_string_lossy());
    let bench = Bench::with("hr-lost", settings).await?;
    let web = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      nodeSelector: {{ .Values.node | default dict | toJson }}\n      containers: [{name: c, image: example.com/c}]\n";
    let templates = [("templates/map.yaml", MAP), ("templates/web.yaml", web)];
    bench.publish("1.0.0", &templates).await?;
    bench.release(json!({"timeout": "5m"})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let values = json!({"node": {"no": "such-node"}, "text": "two"});
    bench
        .release(json!({"timeout": "5m", "values": values}))
        .await?;
    let waits = |web: &Value| web["status"]["unavailableReplicas"] == 1;
    bench
        .namespace
        .wait(DEPLOYMENT, "web", "has no node", waits)
        .await?;
    gate.set(Way::Broken);
    // It becomes ready while the controller cannot see it.
    let freed = json!({"spec": {"template": {"spec": {"nodeSelector": null}}}});
    bench.namespace.merge(DEPLOYMENT, "web", freed).await?;
    let ready = |web: &Value| {
        web["status"]["updatedReplicas"] == 1
            && web["status"]["readyReplicas"] == 1
            && web["status"]["unavailableReplicas"].is_null()
            && web["status"]["observedGeneration"] == web["metadata"]["generation"]
    };
    bench
        .namespace
        .wait(DEPLOYMENT, "web", "is ready", ready)
        .await?;
    gate.set(Way::Open);
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await?;
    ensure!(bench.text().await? == "two", "{}", bench.text().await?);
    Ok(())
}
