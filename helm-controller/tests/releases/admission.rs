//! The API server's validation, defaults and columns of HelmReleases.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use http::header::ACCEPT;
use kind_tests::{Cluster, Failure, HELM_RELEASE, Kind, Namespace, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::bench::merge;

const CRD: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const CRD_NAME: &str = "helmreleases.helm.toolkit.fluxcd.io";

/// The result of a dry run with this spec; the error is the server's message.
async fn admit(namespace: &Namespace, spec: &Value) -> Result<Result<Value, String>> {
    let object = json!({
        "apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1, "metadata": {"name": "app"}, "spec": spec});
    let object: DynamicObject = serde_json::from_value(object)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = namespace.api(HELM_RELEASE).await?;
    match api.create(&params, &object).await {
        Ok(made) => Ok(Ok(serde_json::to_value(made)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// A valid spec with these fields set to other values, or removed for `null`.
fn spec_with(fields: Value) -> Value {
    let mut spec = json!({"interval": "1m", "chartRef": {"kind": "HelmChart", "name": "web"}});
    merge(&mut spec, fields);
    spec
}

/// As [`spec_with`], with a chart template instead of a reference.
fn chart_with(fields: Value) -> Value {
    let mut chart =
        json!({"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "repo"}}});
    merge(&mut chart, fields);
    spec_with(json!({"chartRef": null, "chart": chart}))
}

fn oci_with(fields: Value) -> Value {
    let oci = json!({"kind": "OCIRepository", "spec": {"chart": null, "sourceRef": null, "url": "oci://host/web"}});
    let mut chart =
        json!({"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "repo"}}});
    merge(&mut chart, oci);
    merge(&mut chart, fields);
    spec_with(json!({"chartRef": null, "chart": chart}))
}

const CHART_NEEDS: &str =
    "chart.spec.chart and chart.spec.sourceRef must be set when chart.kind is not 'OCIRepository'";
const URL_NEEDS_KIND: &str = "chart.spec.url requires chart.kind: 'OCIRepository'; for a HelmChart template set spec.chart and spec.sourceRef instead";
const KUBE_CONFIG: &str =
    "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified";
const DURATION: &str = r"should match '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'";
const EITHER: &str = "either chart or chartRef must be set";

async fn refused(namespace: &Namespace, cases: &[(Value, &str)]) -> Result {
    for (spec, words) in cases {
        let Err(message) = admit(namespace, spec).await? else {
            return Err(Failure::new(format!("{spec} is admitted")));
        };
        ensure!(message.contains(words), "{spec}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn invalid_specs_are_refused_with_upstreams_messages() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "hr-refused").await?;
    let long = |length: usize| "a".repeat(length);
    let spec = spec_with;
    let values_from = |field: &str, value: Value| {
        spec(json!({"valuesFrom": [{"kind": "Secret", "name": "s", field: value}]}))
    };
    refused(
        &namespace,
        &[
            // HC-API-005
            (spec(json!({"chartRef": null})), EITHER),
            (spec(json!({"chart": chart_with(json!({}))["chart"]})), EITHER),
            // HC-API-006
            (spec(json!({"interval": null})), "spec.interval: Required value"),
            (spec(json!({"interval": "-1m"})), DURATION),
            (spec(json!({"interval": "0"})), DURATION),
            // HC-API-007
            (spec(json!({"suspend": "yes"})), "spec.suspend"),
            // HC-API-008
            (spec(json!({"releaseName": long(54)})), "may not be more than 53"),
            (spec(json!({"releaseName": ""})), "at least 1 chars long"),
            // HC-API-009
            (spec(json!({"targetNamespace": long(64)})), "may not be more than 63"),
            (spec(json!({"storageNamespace": ""})), "at least 1 chars long"),
            // HC-API-010
            (spec(json!({"timeout": "5"})), DURATION),
            // HC-API-012
            (spec(json!({"serviceAccountName": long(254)})), "may not be more than 253"),
            (spec(json!({"serviceAccountName": ""})), "at least 1 chars long"),
            // HC-API-013
            (spec(json!({"persistentClient": "yes"})), "spec.persistentClient"),
            // HC-API-014
            (spec(json!({"dependsOn": [{"namespace": "a"}]})), "spec.dependsOn[0].name: Required value"),
            (spec(json!({"dependsOn": [{"name": "a", "readyExpr": 1}]})), "spec.dependsOn[0].readyExpr"),
            // HC-API-019
            (spec(json!({"chartRef": {"kind": "GitRepository"}})), "supported values: \"OCIRepository\", \"HelmChart\", \"ExternalArtifact\""),
            (spec(json!({"chartRef": {"name": long(254)}})), "may not be more than 253"),
            (spec(json!({"chartRef": {"namespace": long(64)}})), "may not be more than 63"),
            // HC-API-021, RT-VAL-007
            (values_from("kind", json!("Pod")), "supported values: \"Secret\", \"ConfigMap\""),
            (values_from("valuesKey", json!("a b")), r"should match '^[\-._a-zA-Z0-9]+$'"),
            (values_from("valuesKey", json!(long(254))), "may not be more than 253"),
            (values_from("targetPath", json!("a[")), "spec.valuesFrom[0].targetPath"),
            (values_from("targetPath", json!("a[b]")), "spec.valuesFrom[0].targetPath"),
            (values_from("targetPath", json!(long(251))), "may not be more than 250"),
            (values_from("name", json!("")), "at least 1 chars long"),
            // HC-API-022
            (spec(json!({"install": {"crds": "Always"}})), "supported values: \"Skip\", \"Create\", \"CreateReplace\""),
            (spec(json!({"install": {"timeout": "1d"}})), DURATION),
            (spec(json!({"install": {"serverSideApply": "enabled"}})), "spec.install.serverSideApply"),
            // HC-API-023
            (spec(json!({"install": {"strategy": {"name": "RemediateOnFailure", "retryInterval": "1m"}}})),
                ".retryInterval cannot be set when .name is 'RemediateOnFailure'"),
            (spec(json!({"install": {"strategy": {"retryInterval": "1m"}}})), "spec.install.strategy.name: Required value"),
            (spec(json!({"install": {"strategy": {"name": "Retry"}}})), "supported values: \"RemediateOnFailure\", \"RetryOnFailure\""),
            // HC-API-025
            (spec(json!({"upgrade": {"serverSideApply": "on"}})), "supported values: \"enabled\", \"disabled\", \"auto\""),
            (spec(json!({"upgrade": {"chartNameChangeStrategy": "Keep"}})), "supported values: \"InPlaceUpdate\", \"Reinstall\""),
            (spec(json!({"upgrade": {"crds": "Always"}})), "supported values: \"Skip\", \"Create\", \"CreateReplace\""),
            // HC-API-026
            (spec(json!({"upgrade": {"strategy": {"name": "RemediateOnFailure", "retryInterval": "1m"}}})),
                ".retryInterval can only be set when .name is 'RetryOnFailure'"),
            // HC-API-028
            (spec(json!({"test": {"filters": [{"exclude": true}]}})), "spec.test.filters[0].name: Required value"),
            (spec(json!({"test": {"filters": [{"name": long(254)}]}})), "may not be more than 253"),
            (spec(json!({"test": {"timeout": "1d"}})), DURATION),
            // HC-API-029
            (spec(json!({"rollback": {"serverSideApply": true}})), "spec.rollback.serverSideApply"),
            (spec(json!({"rollback": {"timeout": "1d"}})), DURATION),
            // HC-API-030
            (spec(json!({"uninstall": {"deletionPropagation": "Orphan"}})), "supported values: \"background\", \"foreground\", \"orphan\""),
            (spec(json!({"uninstall": {"timeout": "1d"}})), DURATION),
            // HC-API-032
            (spec(json!({"postRenderers": [{"kustomize": {"patches": [{}]}}]})), "patches[0].patch: Required value"),
            (spec(json!({"postRenderers": [{"kustomize": {"images": [{}]}}]})), "images[0].name: Required value"),
            (spec(json!({"postRenderStrategy": "all"})), "supported values: \"nohooks\", \"combined\", \"separate\""),
            (spec(json!({"commonMetadata": {"labels": {"a": 1}}})), "spec.commonMetadata.labels.a"),
            // HC-API-033
            (spec(json!({"waitStrategy": {}})), "spec.waitStrategy.name: Required value"),
            (spec(json!({"waitStrategy": {"name": "watcher"}})), "supported values: \"poller\", \"legacy\""),
            (spec(json!({"healthCheckExprs": [{"kind": "A"}]})), "spec.healthCheckExprs[0].apiVersion: Required value"),
            (spec(json!({"healthCheckExprs": [{"apiVersion": "v1"}]})), "spec.healthCheckExprs[0].current: Required value"),
        ],
    )
    .await?;
    // HC-API-015: one message for either mistake
    let both = json!({"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}});
    for kube_config in [json!({}), both] {
        let said = admit(&namespace, &spec(json!({"kubeConfig": kube_config}))).await?;
        let said = said.err().unwrap_or_default();
        ensure!(said.matches(KUBE_CONFIG).count() == 1, "{said}");
    }
    refused(
        &namespace,
        &[
            (
                spec(json!({"kubeConfig": {"secretRef": {}}})),
                "spec.kubeConfig.secretRef.name: Required value",
            ),
            (
                spec(json!({"kubeConfig": {"configMapRef": {}}})),
                "spec.kubeConfig.configMapRef.name: Required value",
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn chart_templates_are_checked_by_their_kind() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "hr-template").await?;
    let no = |field: &str| {
        format!("chart.spec.{field} cannot be set when chart.kind is 'OCIRepository'")
    };
    let [chart, source, files, missing, version, strategy] = [
        "chart",
        "sourceRef",
        "valuesFiles",
        "ignoreMissingValuesFiles",
        "version",
        "reconcileStrategy",
    ]
    .map(no);
    let url = "chart.spec.url must be set when chart.kind is 'OCIRepository'";
    let of = |spec: Value| json!({"spec": spec});
    refused(
        &namespace,
        &[
            // HC-API-016
            (
                spec_with(json!({"chartRef": null, "chart": {}})),
                "spec.chart.spec: Required value",
            ),
            (
                chart_with(json!({"kind": "GitRepository"})),
                "supported values: \"HelmChart\", \"OCIRepository\"",
            ),
            (
                chart_with(json!({"metadata": {"labels": {"a": 1}}})),
                "spec.chart.metadata.labels.a",
            ),
            // HC-API-017
            (
                chart_with(of(json!({"chart": ""}))),
                "at least 1 chars long",
            ),
            (
                chart_with(of(json!({"chart": "a".repeat(2049)}))),
                "may not be more than 2048",
            ),
            (
                chart_with(of(json!({"sourceRef": {"kind": "OCIRepository"}}))),
                "supported values: \"HelmRepository\", \"GitRepository\", \"Bucket\"",
            ),
            (
                chart_with(of(json!({"sourceRef": {"name": "a".repeat(254)}}))),
                "may not be more than 253",
            ),
            (
                chart_with(of(json!({"sourceRef": {"namespace": "a".repeat(64)}}))),
                "may not be more than 63",
            ),
            // HC-API-047
            (chart_with(of(json!({"chart": null}))), CHART_NEEDS),
            (
                chart_with(json!({"kind": "HelmChart", "spec": {"sourceRef": null}})),
                CHART_NEEDS,
            ),
            (
                chart_with(of(json!({"url": "oci://host/web"}))),
                URL_NEEDS_KIND,
            ),
            // HC-API-046
            (oci_with(of(json!({"url": null}))), url),
            (oci_with(of(json!({"chart": "web"}))), &chart),
            (
                oci_with(of(
                    json!({"sourceRef": {"kind": "HelmRepository", "name": "repo"}}),
                )),
                &source,
            ),
            (oci_with(of(json!({"valuesFiles": ["a"]}))), &files),
            (
                oci_with(of(json!({"ignoreMissingValuesFiles": true}))),
                &missing,
            ),
            (oci_with(of(json!({"version": "1.x"}))), &version),
            (
                oci_with(of(json!({"reconcileStrategy": "Revision"}))),
                &strategy,
            ),
        ],
    )
    .await?;
    let several = oci_with(of(json!({"version": "1.x", "chart": "web"})));
    let said = admit(&namespace, &several).await?.err().unwrap_or_default();
    ensure!(said.contains(&version) && said.contains(&chart), "{said}");
    // HC-API-046: what older API servers wrote as defaults
    let defaults = oci_with(of(
        json!({"version": "*", "reconcileStrategy": "ChartVersion"}),
    ));
    let made = admit(&namespace, &defaults).await?;
    ensure!(made.is_ok(), "{made:?}");
    // HC-API-017: no version is written
    let made = admit(&namespace, &chart_with(json!({}))).await?;
    let made = made.map_err(Failure::new)?;
    ensure!(made["spec"] == chart_with(json!({})), "{made}");
    Ok(())
}

#[tokio::test]
async fn valid_specs_are_admitted_as_they_are() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "hr-admitted").await?;
    let target = json!({"kind": "ConfigMap", "name": "a"});
    let strategy = json!({"name": "RetryOnFailure", "retryInterval": "1m30s"});
    let all = json!({
        "suspend": true, "releaseName": "a", "targetNamespace": "b", "storageNamespace": "c", "timeout": "1.5h", "maxHistory": 0,
        // HC-API-012, HC-API-013
        "serviceAccountName": "d", "persistentClient": false,
        // HC-API-014
        "dependsOn": [{"name": "db", "namespace": "e", "readyExpr": "true"}],
        // HC-API-015
        "kubeConfig": {"secretRef": {"name": "kube", "key": "k"}},
        // HC-API-019, HC-API-043: any API version
        "chartRef": {"kind": "OCIRepository", "name": "web", "namespace": "e", "apiVersion": "made.up/v9"},
        // HC-API-021
        "valuesFrom": [{"kind": "ConfigMap", "name": "f", "valuesKey": "values.yaml", "targetPath": r"a.b\.c[0]/d-e_f", "optional": true, "literal": true}],
        // HC-API-022
        "install": {"timeout": "1m", "strategy": strategy, "disableTakeOwnership": true, "disableWait": true, "disableWaitForJobs": true,
            "disableHooks": true, "disableOpenAPIValidation": true, "disableSchemaValidation": true, "replace": true, "skipCRDs": true,
            "crds": "CreateReplace", "createNamespace": true, "serverSideApply": false,
            "remediation": {"retries": -1, "ignoreTestFailures": true, "remediateLastFailure": false}},
        // HC-API-025, HC-API-026
        "upgrade": {"timeout": "1m", "strategy": strategy, "disableTakeOwnership": true, "disableWait": true, "disableWaitForJobs": true,
            "disableHooks": true, "disableOpenAPIValidation": true, "disableSchemaValidation": true, "force": true, "preserveValues": true,
            "cleanupOnFail": true, "crds": "Skip", "serverSideApply": "auto", "chartNameChangeStrategy": "InPlaceUpdate",
            "remediation": {"retries": 3, "strategy": "uninstall"}},
        // HC-API-028
        "test": {"enable": true, "timeout": "1m", "ignoreFailures": true, "filters": [{"name": "g", "exclude": true}]},
        // HC-API-029
        "rollback": {"timeout": "1m", "disableWait": true, "disableWaitForJobs": true, "disableHooks": true, "recreate": true,
            "force": true, "cleanupOnFail": true, "serverSideApply": "disabled"},
        // HC-API-030
        "uninstall": {"timeout": "1m", "disableHooks": true, "keepHistory": true, "disableWait": true, "deletionPropagation": "orphan"},
        "driftDetection": {"mode": "warn", "ignore": [{"paths": ["/a"], "target": target}]},
        // HC-API-032
        "commonMetadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
        "postRenderers": [{"kustomize": {"patches": [{"patch": "x", "target": target}],
            "images": [{"name": "a", "newName": "b", "newTag": "c", "digest": "d"}]}}],
        "postRenderStrategy": "separate",
        // HC-API-033
        "waitStrategy": {"name": "legacy"},
        "healthCheckExprs": [{"apiVersion": "v1", "kind": "A", "current": "true", "inProgress": "false", "failed": "false"}],
    });
    let spec = spec_with(all);
    let made = admit(&namespace, &spec).await?.map_err(Failure::new)?;
    ensure!(made["spec"] == spec, "{made}");
    // HC-API-004
    ensure!(
        made["status"] == json!({"observedGeneration": -1}),
        "{made}"
    );
    // HC-API-020: any value
    for values in [
        json!({"a": [1, null, {"b": "c"}]}),
        json!([1]),
        json!("text"),
        json!(1),
    ] {
        let spec = spec_with(json!({"values": values}));
        let made = admit(&namespace, &spec).await?.map_err(Failure::new)?;
        ensure!(made["spec"]["values"] == values, "{made}");
    }
    // HC-API-030: the default is part of the object only where there is a block for it
    let plain = admit(&namespace, &spec_with(json!({})))
        .await?
        .map_err(Failure::new)?;
    ensure!(plain["spec"] == spec_with(json!({})), "{plain}");
    let block = spec_with(json!({"uninstall": {"keepHistory": true}}));
    let made = admit(&namespace, &block).await?.map_err(Failure::new)?;
    ensure!(
        made["spec"]["uninstall"]
            == json!({"keepHistory": true, "deletionPropagation": "background"}),
        "{made}"
    );
    Ok(())
}

#[tokio::test]
async fn the_definition_and_kubectls_columns_are_upstreams() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "hr-status").await?;
    let crd = namespace.get(CRD, CRD_NAME).await?.unwrap_or_default();
    // HC-API-001
    let names = json!({"kind": "HelmRelease", "listKind": "HelmReleaseList", "plural": "helmreleases",
        "singular": "helmrelease", "shortNames": ["hr"], "categories": ["all", "fluxcd", "fluxcd-appliers"]});
    ensure!(
        crd["spec"]["names"] == names && crd["spec"]["scope"] == "Namespaced",
        "{}",
        crd["spec"]["names"]
    );
    // HC-API-002
    let versions = crd["spec"]["versions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let stored: Vec<&Value> = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .collect();
    ensure!(
        stored.len() == 1
            && stored[0]["name"] == "v2"
            && stored[0]["served"] == true
            && stored[0]["subresources"] == json!({"status": {}}),
        "{stored:?}"
    );
    let annotation = &crd["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/substitute"];
    ensure!(annotation == "disabled", "{annotation}");

    let spec = json!({"suspend": true, "interval": "1m", "chartRef": {"kind": "HelmChart", "name": "web"}});
    let object = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1, "metadata": {"name": "app"}, "spec": spec});
    namespace.apply(&object.to_string()).await?;
    let api = namespace.api(HELM_RELEASE).await?;
    let time = "2026-01-02T03:04:05Z";
    let digest = "sha256:0";
    let status = json!({
        // HC-API-034
        "observedGeneration": 1, "lastAttemptedGeneration": 1, "observedPostRenderersDigest": digest,
        "observedCommonMetadataDigest": digest, "helmChart": "OCIRepository/ns/web", "storageNamespace": "ns",
        "lastAttemptedReleaseAction": "upgrade", "lastAttemptedReleaseActionDuration": "1.5s", "failures": 3,
        "installFailures": 1, "upgradeFailures": 2, "lastAttemptedRevision": "1.0.0", "lastAttemptedRevisionDigest": digest,
        "lastAttemptedConfigDigest": digest, "lastHandledReconcileAt": "a", "lastHandledForceAt": "b", "lastHandledResetAt": "c",
        // HC-API-037
        "history": [{"digest": digest, "name": "web", "namespace": "ns", "version": 2, "status": "deployed", "chartName": "web",
            "chartVersion": "1.0.0", "configDigest": digest, "firstDeployed": time, "lastDeployed": time, "apiVersion": "v2",
            "action": "uninstall-remediation", "appVersion": "1", "deleted": time, "ociDigest": digest,
            "testHooks": {"t": {"lastStarted": time, "lastCompleted": time, "phase": "Succeeded"}}}],
        // HC-API-038
        "inventory": {"entries": [{"id": "ns_web_apps_Deployment", "v": "v1"}]},
        // HC-API-036
        "conditions": [{"type": "Ready", "status": "False", "reason": "InstallFailed", "message": "no such host",
            "observedGeneration": 1, "lastTransitionTime": time}]});
    let mut with_more = status.clone();
    with_more["unknown"] = json!("x");
    let patch = Patch::Merge(json!({"status": with_more}));
    let made = api
        .patch_status("app", &PatchParams::default(), &patch)
        .await?;
    ensure!(made.data["status"] == status, "{}", made.data["status"]);
    // HC-API-036: a merge patch replaces the whole list
    let other = json!([{"type": "Released", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": time}]);
    let patch = Patch::Merge(json!({"status": {"conditions": other}}));
    let made = api
        .patch_status("app", &PatchParams::default(), &patch)
        .await?;
    ensure!(
        made.data["status"]["conditions"] == other,
        "{}",
        made.data["status"]
    );
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status("app", &PatchParams::default(), &patch)
        .await?;
    for wrong in [
        // HC-API-034
        json!({"lastAttemptedReleaseAction": "rollback"}),
        json!({"storageNamespace": ""}),
        json!({"failures": "1"}),
        // HC-API-037, HC-API-038
        json!({"history": [{"digest": digest}]}),
        json!({"inventory": {"entries": [{"id": "x"}]}}),
    ] {
        let patch = Patch::Merge(json!({"status": wrong}));
        let made = api
            .patch_status("app", &PatchParams::default(), &patch)
            .await;
        ensure!(made.is_err(), "{wrong} is admitted");
    }

    let uri = format!(
        "/apis/helm.toolkit.fluxcd.io/v2/namespaces/{}/helmreleases",
        namespace.name()
    );
    let request =
        http::Request::get(uri).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = namespace
        .client()
        .request(request.body(Vec::new())?)
        .await?;
    // HC-API-003
    let columns = table["columnDefinitions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let names: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
    ensure!(names == ["Name", "Age", "Ready", "Status"], "{names:?}");
    let cells = &table["rows"][0]["cells"];
    ensure!(cells[2] == "False" && cells[3] == "no such host", "{cells}");

    // HC-API-039: the versions that upstream has removed are served, with a warning
    let fields = |version: &Value, pointer: &str| -> Vec<String> {
        let found = version.pointer(&format!(
            "/schema/openAPIV3Schema/properties/{pointer}/properties"
        ));
        found
            .and_then(Value::as_object)
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default()
    };
    let version = |name: &str| {
        let found = versions.iter().find(|version| version["name"] == name);
        found
            .cloned()
            .ok_or_else(|| Failure::new(format!("no version {name}")))
    };
    let (second, first) = (version("v2beta2")?, version("v2beta1")?);
    for old in [&second, &first] {
        ensure!(
            old["served"] == true && old["deprecated"] == true,
            "{}",
            old["name"]
        );
    }
    // HC-API-040
    let spec = fields(&second, "spec");
    for missing in [
        "commonMetadata",
        "postRenderStrategy",
        "waitStrategy",
        "healthCheckExprs",
    ] {
        ensure!(
            !spec.iter().any(|field| field == missing),
            "v2beta2 has {missing}"
        );
    }
    ensure!(
        fields(&second, "spec/properties/chart/properties/spec").contains(&"valuesFile".to_owned()),
        "no valuesFile"
    );
    ensure!(
        fields(&second, "status").contains(&"lastAppliedRevision".to_owned()),
        "no lastAppliedRevision"
    );
    ensure!(
        !fields(&second, "status").contains(&"inventory".to_owned()),
        "an inventory"
    );
    // HC-API-041
    ensure!(
        !fields(&first, "spec/properties/test").contains(&"filters".to_owned()),
        "filters"
    );
    let providers = first.pointer("/schema/openAPIV3Schema/properties/spec/properties/chart/properties/spec/properties/verify/properties/provider/enum");
    ensure!(providers == Some(&json!(["cosign"])), "{providers:?}");
    for kept in [
        "lastReleaseRevision",
        "lastAppliedRevision",
        "lastAttemptedValuesChecksum",
    ] {
        ensure!(
            fields(&first, "status").contains(&kept.to_owned()),
            "no {kept}"
        );
    }
    let old = |version: &str, spec: Value| json!({"apiVersion": format!("helm.toolkit.fluxcd.io/{version}"), "kind": "HelmRelease", "metadata": {"name": format!("old-{version}")}, "spec": spec});
    let template = json!({"suspend": true, "interval": "1m", "chart": {"spec": {"chart": "web", "valuesFile": "a.yaml",
        "sourceRef": {"kind": "HelmRepository", "name": "repo"}}}});
    for name in ["v2beta1", "v2beta2"] {
        namespace
            .apply(&old(name, template.clone()).to_string())
            .await?;
        let read = namespace
            .get(HELM_RELEASE, &format!("old-{name}"))
            .await?
            .unwrap_or_default();
        ensure!(read["spec"]["chart"]["spec"]["chart"] == "web", "{read}");
    }
    Ok(())
}
