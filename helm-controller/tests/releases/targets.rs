//! Prerequisites in their order, namespaces, and the identity that reads what a release needs.

use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Failure, HELM_CHART, HELM_RELEASE, Kind, OCI_REPOSITORY, Result, SECRET, condition,
    ensure,
};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, has, until};

const NAMESPACE: Kind = Kind("v1", "Namespace");
const EVENT: Kind = Kind("v1", "Event");
const CRD: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const CLUSTER_ROLE: Kind = Kind("rbac.authorization.k8s.io/v1", "ClusterRole");
const CLUSTER_ROLE_BINDING: Kind = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding");

/// The reasons of the object's Kubernetes events, with their messages and types.
async fn events(bench: &Bench) -> Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    for name in bench.namespace.names(EVENT).await? {
        let event = bench.namespace.get(EVENT, &name).await?.unwrap_or_default();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        found.push((text("reason"), text("message"), text("type")));
    }
    Ok(found)
}

// HC-ACT-009, HC-EVT-003
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_prerequisite_is_checked_in_its_turn() -> Result {
    let bench = Bench::start("hr-order").await?;
    let ns = bench.namespace.name().to_owned();
    // Everything is wrong.
    bench
        .release(json!({"chartRef": {"kind": "OCIRepository", "name": "web", "apiVersion": "made.up/v9"}, "dependsOn": [{"name": "db"}],
            "valuesFrom": [{"kind": "ConfigMap", "name": "base"}], "kubeConfig": {"secretRef": {"name": "kube"}}}))
        .await?;
    bench.says("False", "DependencyNotReady", "").await?;
    // HC-API-007: it is suspended, so that the controller leaves its status alone
    bench.release_named("db", json!({"suspend": true})).await?;
    let condition = json!({"type": "Ready", "status": "True", "reason": "InstallSucceeded", "message": "m", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    bench
        .namespace
        .set_status(
            HELM_RELEASE,
            "db",
            json!({"observedGeneration": 1, "conditions": [condition]}),
        )
        .await?;
    bench
        .says("False", "ArtifactFailed", "could not get Source object: ")
        .await?;
    let source = json!({"apiVersion": OCI_REPOSITORY.0, "kind": "OCIRepository", "metadata": {"name": "web"},
        "spec": {"interval": "1h", "url": "oci://127.0.0.1/web"}});
    bench.namespace.apply(&source.to_string()).await?;
    bench.says("False", "SourceNotReady", "").await?;
    let mut artifact = bench.chart("1.0.0", &[("templates/map.yaml", MAP)])?;
    let digest = artifact["digest"].as_str().unwrap_or_default().to_owned();
    let wrong = format!("sha256:{}", "0".repeat(64));
    artifact["digest"] = wrong.into();
    artifact["revision"] = format!("2.0.0@{digest}").into();
    bench
        .serve_existing(OCI_REPOSITORY, "web", &artifact)
        .await?;
    bench.says("False", "ValuesError", "").await?;
    // HC-ACT-011: a request counts as handled by a run that failed
    bench.run().await?;
    let base = "{apiVersion: v1, kind: ConfigMap, metadata: {name: base, labels: {reconcile.fluxcd.io/watch: Enabled}}, data: {values.yaml: 'text: a'}}";
    bench.namespace.apply(base).await?;
    bench
        .says("False", "ArtifactFailed", "Could not load chart: ")
        .await?;
    artifact["digest"] = digest.clone().into();
    bench
        .serve_existing(OCI_REPOSITORY, "web", &artifact)
        .await?;
    bench
        .says(
            "False",
            "ChartMutateError",
            "artifact revision 2.0.0 does not match chart version 1.0.0",
        )
        .await?;
    artifact["revision"] = format!("1.0.0@{digest}").into();
    bench
        .serve_existing(OCI_REPOSITORY, "web", &artifact)
        .await?;
    bench.says("False", "RESTClientError", "").await?;
    bench.release(json!({"chartRef": {"kind": "OCIRepository", "name": "web"}, "valuesFrom": [{"kind": "ConfigMap", "name": "base"}]})).await?;
    let object = bench.says("True", "InstallSucceeded", "").await?;
    // HC-EVT-001
    let kinds: Vec<&Value> = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|each| &each["type"])
        .collect();
    ensure!(kinds == ["Ready", "Released"], "{kinds:?} in {ns}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_made_on_request_and_stays() -> Result {
    let bench = Bench::start("hr-target").await?;
    let ns = bench.namespace.name().to_owned();
    let target = format!("{ns}-target");
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    // HC-REMOTE-015
    bench.release(json!({"targetNamespace": target})).await?;
    let said = format!("namespaces \"{target}\" not found");
    bench.says("False", "InstallFailed", &said).await?;
    // HC-ACT-092
    let made = json!({"targetNamespace": target, "install": {"createNamespace": true}});
    bench.release_named("made", made).await?;
    let said = format!("{target}/{target}-made.v1");
    bench
        .named_says("made", "True", "InstallSucceeded", &said)
        .await?;
    let made = bench.namespace.get(NAMESPACE, &target).await?;
    let made = made.unwrap_or_default();
    ensure!(made["metadata"]["labels"]["name"] == *target, "{made}");
    bench.namespace.delete(HELM_RELEASE, "made").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "made").await?;
    let kept = bench.namespace.get(NAMESPACE, &target).await?;
    let kept = kept.unwrap_or_default();
    ensure!(
        kept["metadata"]["name"] == *target && kept["metadata"]["deletionTimestamp"].is_null(),
        "{kept}"
    );
    bench.namespace.delete(NAMESPACE, &target).await
}

// HC-REMOTE-003, HC-VAL-021
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_release_is_touched_as_the_account() -> Result {
    let bench = Bench::start("hr-own-id").await?;
    let ns = bench.namespace.name().to_owned();
    let template = json!({"chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "repo"}}}});
    let base = "{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {values.yaml: 'text: from-map'}}";
    bench.namespace.apply(base).await?;
    // Its rights are those that the release needs: neither charts nor ConfigMaps can be read.
    bench
        .account(
            "deployer",
            &json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]),
        )
        .await?;
    bench
        .release(
            json!({"chartRef": null, "chart": template["chart"], "serviceAccountName": "deployer",
            "valuesFrom": [{"kind": "ConfigMap", "name": "base"}]}),
        )
        .await?;
    let name = format!("{ns}-web");
    let any = |_: &Value| true;
    bench
        .namespace
        .wait(HELM_CHART, &name, "is made", any)
        .await?;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: web-secret}\nstringData: {text: {{ .Values.text | quote }}}\n";
    let artifact = bench.chart("1.0.0", &[("templates/secret.yaml", secret)])?;
    bench.serve_existing(HELM_CHART, &name, &artifact).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let made = bench
        .namespace
        .get(SECRET, "web-secret")
        .await?
        .unwrap_or_default();
    ensure!(made["data"]["text"] == "ZnJvbS1tYXA=", "{made}");

    // HC-CHART-006: nothing is reported of a chart that is in sync
    let shown = format!("HelmChart/{ns}/{name} with SourceRef 'HelmRepository/{ns}/repo'");
    bench.run().await?;
    let in_sync =
        |line: &Value| line["msg"] == format!("{shown} is in-sync") && line["level"] == "info";
    bench.helm.log().wait("of the chart", in_sync).await?;
    // HC-EVT-016: Kubernetes has it, the notification-controller has not
    let created = async || {
        let found = events(&bench).await?;
        let made = found
            .iter()
            .find(|(reason, ..)| reason == "HelmChartCreated")
            .cloned();
        Ok(made)
    };
    let (_, message, kind) = until("the chart's event", created).await?;
    ensure!(
        (&*message, &*kind) == (&*format!("Created {shown}"), "Normal"),
        "{message}"
    );
    let told = bench.events.events();
    ensure!(
        !told.iter().any(|event| event["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("HelmChart"))),
        "{told:#?}"
    );
    let found = events(&bench).await?;
    ensure!(
        !found
            .iter()
            .any(|(_, message, _)| message.contains("in-sync")),
        "{found:?}"
    );

    // HC-EVT-010, HC-ACT-101: an account that may not unlock a release that is pending
    let mut record = bench.record(1).await?;
    record["info"]["status"] = "pending-upgrade".into();
    bench.account("deployer", &json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create"]}])).await?;
    bench.put_record(&record).await?;
    bench.run().await?;
    let said = format!(
        "Unlock of Helm release {ns}/web.v1 with chart web@1.0.0 in pending-upgrade state failed: update: failed to update: "
    );
    let event = bench.event("PendingRelease", &said).await?;
    ensure!(event["severity"] == "error", "{event}");
    let object = bench
        .condition("Released", "False", "PendingRelease", &said)
        .await?;
    // HC-EVT-006
    ensure!(
        has(&object, "Ready", "False", "PendingRelease", &said),
        "{object}"
    );
    bench
        .account(
            "deployer",
            &json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]),
        )
        .await?;
    let said =
        format!("Unlocked Helm release {ns}/web.v1 with chart web@1.0.0 in pending-upgrade state");
    let event = bench.event("PendingRelease", &said).await?;
    ensure!(event["severity"] == "info", "{event}");
    bench.says("True", "UpgradeSucceeded", "").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependencies_may_be_elsewhere_and_wake_their_dependants() -> Result {
    let settings = Settings::default()
        .flag("--no-cross-namespace-refs=true")
        .flag("--requeue-dependency=1h");
    let bench = Bench::with("hr-circle", settings).await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    // HC-DEP-009: another namespace is no matter of access, and a circle is not detected
    bench
        .release_named(
            "far",
            json!({"dependsOn": [{"name": "gone", "namespace": "default"}]}),
        )
        .await?;
    bench
        .named_says(
            "far",
            "False",
            "DependencyNotReady",
            "unable to get 'default/gone' dependency: ",
        )
        .await?;
    bench
        .release_named("one", json!({"dependsOn": [{"name": "two"}]}))
        .await?;
    bench
        .release_named("two", json!({"dependsOn": [{"name": "one"}]}))
        .await?;
    bench
        .named_says("one", "False", "DependencyNotReady", &format!("'{ns}/two'"))
        .await?;
    bench
        .named_says("two", "False", "DependencyNotReady", &format!("'{ns}/one'"))
        .await?;
    // HC-DEP-010: the dependant does not wait for the next hour
    bench.release_named("two", json!({})).await?;
    bench
        .named_says("one", "True", "InstallSucceeded", "")
        .await?;

    // HC-ACT-105: a template that is refused is only logged
    let source = json!({"kind": "HelmRepository", "name": "repo", "namespace": "default"});
    let template = json!({"chart": {"spec": {"chart": "web", "sourceRef": source}}});
    bench
        .release_named(
            "closed",
            json!({"chartRef": null, "chart": template["chart"]}),
        )
        .await?;
    let refused = |line: &Value| {
        line["level"] == "error"
            && line["name"] == "closed"
            && line["error"].as_str().is_some_and(|error| {
                error.starts_with("cross-namespace references are not allowed: ")
            })
    };
    bench.helm.log().wait("of the refusal", refused).await?;
    let object = bench
        .namespace
        .get(HELM_RELEASE, "closed")
        .await?
        .unwrap_or_default();
    ensure!(
        condition(&object, "Stalled").is_none()
            && condition(&object, "Ready").is_none_or(|ready| ready["status"] == "Unknown"),
        "{object}"
    );
    let told = bench.events.events();
    ensure!(
        !told
            .iter()
            .any(|event| event["involvedObject"]["name"] == "closed"),
        "{told:#?}"
    );
    Ok(())
}

// HC-EVT-017
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inventories_that_are_incomplete_are_reported() -> Result {
    let mut bench = Bench::start("hr-list").await?;
    let ns = bench.namespace.name().to_owned();
    let group = format!("{ns}.example.com");
    let name = format!("widgets.{group}");
    let crd = json!({"apiVersion": CRD.0, "kind": CRD.1, "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    .to_string();
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\n");
    let templates = [
        ("crds/widget.yaml", &*crd),
        ("templates/widget.yaml", &*widget),
    ];
    bench.publish("1.0.0", &templates).await?;
    // HC-POST-012, HC-API-042: the definition is made without what is common to the release's objects
    bench
        .release(
            json!({"commonMetadata": {"labels": {"team": "a"}}, "install": {"skipCRDs": true}}),
        )
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let made = bench.namespace.get(CRD, &name).await?.unwrap_or_default();
    let labels = &made["metadata"]["labels"];
    ensure!(
        labels["helm.toolkit.fluxcd.io/name"] == "web" && labels["team"].is_null(),
        "{labels}"
    );

    // Its kind is unknown to the next process, which takes over the result of the last one.
    bench.helm.kill()?;
    let message = "Running 'install' action with timeout of 20s";
    let left = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Progressing", "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let status = json!({"history": null, "conditions": [left("Reconciling", "True"), left("Ready", "Unknown")]});
    bench
        .namespace
        .set_status(HELM_RELEASE, "web", status)
        .await?;
    bench.namespace.delete(CRD, &name).await?;
    bench.namespace.wait_gone(CRD, &name).await?;
    bench.helm.restart().await?;
    let said = "failed to determine if Widget is namespace scoped, skipping namespace: ";
    let event = bench.event("NamespaceCheckSkipped", said).await?;
    ensure!(event["severity"] == "error", "{event}");
    let listed = |object: &Value| {
        object["status"]["inventory"]["entries"][0]["id"] == format!("_one_{group}_Widget")
    };
    bench
        .namespace
        .wait(HELM_RELEASE, "web", "lists the object", listed)
        .await?;

    // A file of definitions that is not read for the release, but for the list.
    let broken = [("crds/widget.yaml", "a: [\n"), ("templates/map.yaml", MAP)];
    bench.publish("1.1.0", &broken).await?;
    bench
        .release_named("listed", json!({"install": {"crds": "Skip"}}))
        .await?;
    bench
        .named_says("listed", "True", "InstallSucceeded", "")
        .await?;
    let event = bench
        .event(
            "InventoryBuildFailed",
            &format!("failed to build inventory for {ns}/listed: "),
        )
        .await?;
    ensure!(event["severity"] == "error", "{event}");
    let map = bench.namespace.get(CONFIG_MAP, "listed-map").await?;
    ensure!(map.is_some(), "no map");
    Ok(())
}

// HC-PROC-056
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_needs_no_more_than_its_rights() -> Result {
    let mut role = None;
    let bench = Bench::prepared("hr-rights", |namespace, _| {
        let user = format!("role.{}", namespace.name());
        let kubeconfig = namespace.cluster().kubeconfig_without_rights(&user)?;
        let Some(kubeconfig) = kubeconfig else {
            return Err(Failure::new("no users can be made in this cluster"));
        };
        role = Some(user);
        let settings = Settings::default().env("KUBECONFIG", kubeconfig.to_string_lossy());
        Ok(settings.flag("--max-retry-delay=200ms"))
    });
    let bench = bench.await?;
    let user = role.unwrap_or_default();
    let ns = bench.namespace.name().to_owned();
    let group = "rbac.authorization.k8s.io";
    let read = ["get", "list", "watch"];
    let rules = json!([
        {"apiGroups": ["helm.toolkit.fluxcd.io"], "resources": ["helmreleases", "helmreleases/status", "helmreleases/finalizers"], "verbs": ["*"]},
        {"apiGroups": ["source.toolkit.fluxcd.io"], "resources": ["helmcharts", "ocirepositories"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": [""], "resources": ["secrets", "configmaps", "serviceaccounts"], "verbs": read},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}]);
    let named =
        |kind: Kind| json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": ns}});
    let (mut made, mut bound) = (named(CLUSTER_ROLE), named(CLUSTER_ROLE_BINDING));
    made["rules"] = rules;
    bound["roleRef"] = json!({"apiGroup": group, "kind": "ClusterRole", "name": ns});
    bound["subjects"] = json!([{"kind": "User", "name": user, "apiGroup": group}]);
    bench.namespace.apply(&made.to_string()).await?;
    bench.namespace.apply(&bound.to_string()).await?;

    let rule = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["*"]});
    bench
        .account("deployer", &json!([rule("secrets"), rule("configmaps")]))
        .await?;
    let base = "{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {values.yaml: 'text: from-map'}}";
    bench.namespace.apply(base).await?;
    let source = json!({"kind": "HelmRepository", "name": "repo"});
    bench
        .release(json!({"chartRef": null, "chart": {"spec": {"chart": "web", "sourceRef": source}}, "serviceAccountName": "deployer",
            "valuesFrom": [{"kind": "ConfigMap", "name": "base"}]}))
        .await?;
    let name = format!("{ns}-web");
    let any = |_: &Value| true;
    bench
        .namespace
        .wait(HELM_CHART, &name, "is made", any)
        .await?;
    let artifact = bench.chart("1.0.0", &[("templates/map.yaml", MAP)])?;
    bench.serve_existing(HELM_CHART, &name, &artifact).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    // HC-REMOTE-007: an account's token has no gate, but needs one more right
    let cluster = "{apiVersion: v1, kind: ConfigMap, metadata: {name: cluster}, data: {provider: generic, address: 'https://127.0.0.1:1', audiences: elsewhere, serviceAccountName: deployer}}";
    bench.namespace.apply(cluster).await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release_named(
            "far",
            json!({"kubeConfig": {"configMapRef": {"name": "cluster"}}}),
        )
        .await?;
    let said = "cannot create resource \"serviceaccounts/token\"";
    bench
        .named_says("far", "False", "RESTClientError", said)
        .await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the map stays"
    );
    bench.namespace.delete(CLUSTER_ROLE_BINDING, &ns).await?;
    bench.namespace.delete(CLUSTER_ROLE, &ns).await
}
