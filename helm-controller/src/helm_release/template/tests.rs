//! The objects that chart templates make.

use super::*;

fn object(chart: Value) -> HelmRelease {
    let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "apps"}, "spec": {"interval": "10m"}});
    object["spec"]["chart"] = chart;
    serde_json::from_value(object).unwrap()
}

fn made(chart: Value) -> Value {
    let object = object(chart);
    let wanted = of_template(&object).unwrap();
    let template = object.spec.chart.as_ref().unwrap();
    desired(&object, template, &wanted).unwrap().into_value()
}

#[test]
fn a_helm_chart_has_what_the_template_says() {
    // HC-CHART-002, HC-CHART-003
    let chart = made(
        json!({"metadata": {"labels": {"a": "b", "helm.toolkit.fluxcd.io/name": "other"}, "annotations": {"c": "d"}},
        "spec": {"chart": "podinfo", "version": "6.x", "interval": "5m", "reconcileStrategy": "Revision",
            "valuesFiles": ["a.yaml"], "ignoreMissingValuesFiles": true,
            "sourceRef": {"kind": "HelmRepository", "name": "repo", "namespace": "infra"},
            "verify": {"provider": "cosign", "secretRef": {"name": "keys"}}}}),
    );
    assert_eq!(
        chart,
        json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
            "metadata": {"name": "apps-web", "namespace": "infra", "annotations": {"c": "d"},
                "labels": {"a": "b", "helm.toolkit.fluxcd.io/name": "web", "helm.toolkit.fluxcd.io/namespace": "apps"}},
            "spec": {"chart": "podinfo", "version": "6.x", "interval": "5m0s", "reconcileStrategy": "Revision",
                "valuesFiles": ["a.yaml"], "ignoreMissingValuesFiles": true,
                "sourceRef": {"kind": "HelmRepository", "name": "repo"},
                "verify": {"provider": "cosign", "secretRef": {"name": "keys"}}}})
    );
}

// HC-API-048
#[test]
fn defaults_written_by_older_servers_make_no_difference() {
    let spec = |version: Value, strategy: Value| {
        let mut spec = json!({"chart": "c", "sourceRef": {"kind": "HelmRepository", "name": "r"}});
        for (key, value) in [("version", version), ("reconcileStrategy", strategy)] {
            if !value.is_null() {
                spec[key] = value;
            }
        }
        made(json!({"spec": spec}))
    };
    let bare = spec(Value::Null, Value::Null);
    assert_eq!(bare, spec(json!("*"), json!("ChartVersion")));
    assert_eq!(bare["spec"]["version"], "*");
    assert_eq!(bare["spec"]["reconcileStrategy"], "ChartVersion");
    assert_eq!(bare["spec"]["interval"], "10m0s", "that of the release"); // HC-API-018
}

// HC-CHART-035, HC-API-045
#[test]
fn an_oci_repository_has_what_the_template_says() {
    let spec = json!({"url": "oci://ghcr.io/org/chart", "ref": {"semver": "6.x", "semverFilter": ".*", "tag": "t", "digest": "sha256:1"},
        "layerSelector": {"mediaType": "m", "operation": "copy"}, "provider": "aws", "secretRef": {"name": "s"},
        "serviceAccountName": "sa", "certSecretRef": {"name": "c"}, "proxySecretRef": {"name": "p"}, "interval": "5m0s",
        "timeout": "30s", "ignore": "x", "insecure": true, "suspend": true,
        "verify": {"provider": "cosign", "secretRef": {"name": "k"}, "matchOIDCIdentity": [{"issuer": "i", "subject": "s"}],
            "trustedRootSecretRef": {"name": "r"}}});
    let made = made(json!({"kind": "OCIRepository", "spec": spec}));
    assert_eq!(made["kind"], "OCIRepository");
    assert_eq!(
        (&made["metadata"]["namespace"], &made["metadata"]["name"]),
        (&json!("apps"), &json!("apps-web"))
    );
    assert_eq!(made["spec"], spec);
}

// HC-CHART-005
#[test]
fn messages_name_the_namespace_of_the_helm_chart() {
    let shown = |template: Value| {
        let object = object(template);
        let wanted = of_template(&object).unwrap();
        shown(&wanted, object.spec.chart.as_ref().unwrap())
    };
    assert_eq!(
        shown(json!({"spec": {"chart": "c",
            "sourceRef": {"kind": "GitRepository", "name": "repo", "namespace": "infra"}}})),
        "HelmChart/infra/apps-web with SourceRef 'GitRepository/infra/repo'"
    );
    // HC-CHART-038
    assert_eq!(
        shown(json!({"kind": "OCIRepository", "spec": {"url": "oci://ghcr.io/org/chart"}})),
        "OCIRepository/apps/apps-web with URL 'oci://ghcr.io/org/chart'"
    );
}
