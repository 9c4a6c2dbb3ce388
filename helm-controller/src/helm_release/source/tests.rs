//! Which object the chart comes from, and whether it is ready.

use serde_json::json;

use super::*;
use crate::helm_release::settings::tests::object;

fn shown(source: Option<SourceRef>) -> Option<String> {
    source.map(|source| format!("{}/{}", source.kind.as_str(), source.key))
}

const OPEN: Access = Access {
    no_cross_namespace: false,
    external_artifacts: false,
};

#[test]
fn a_template_makes_an_object_named_after_the_release() {
    let of = |spec| shown(of_spec(&object(spec)));
    // HC-CHART-001
    let chart = json!({"chart": {"spec": {"chart": "c", "sourceRef": {"kind": "HelmRepository", "name": "r"}}}});
    assert_eq!(of(chart).as_deref(), Some("HelmChart/apps/apps-web"));
    let chart = json!({"chart": {"kind": "HelmChart", "spec": {"chart": "c",
        "sourceRef": {"kind": "HelmRepository", "name": "r", "namespace": "infra"}}}});
    assert_eq!(of(chart).as_deref(), Some("HelmChart/infra/apps-web"));
    // HC-CHART-035, HC-API-044
    let oci = json!({"chart": {"kind": "OCIRepository", "spec": {"url": "oci://host/chart"}}});
    assert_eq!(of(oci).as_deref(), Some("OCIRepository/apps/apps-web"));
}

#[test]
fn a_reference_names_an_object_of_three_kinds() {
    let of = |kind: &str, namespace: Option<&str>| {
        shown(of_spec(&object(
            json!({"chartRef": {"kind": kind, "name": "c", "namespace": namespace}}),
        )))
    };
    // HC-CHART-013
    for kind in ["OCIRepository", "HelmChart", "ExternalArtifact"] {
        assert_eq!(of(kind, None), Some(format!("{kind}/apps/c")));
        assert_eq!(of(kind, Some("infra")), Some(format!("{kind}/infra/c")));
    }
    // HC-ACT-002
    assert_eq!(of_spec(&object(json!({}))), None);
    let both = json!({"chart": {"spec": {}}, "chartRef": {"kind": "HelmChart", "name": "c"}});
    assert_eq!(of_spec(&object(both)), None);
}

// HC-CHART-036
#[test]
fn the_status_names_the_object_with_its_kind_unless_it_is_a_helm_chart() {
    for (text, want) in [
        ("apps/apps-web", Some("HelmChart/apps/apps-web")),
        ("HelmChart/apps/apps-web", Some("HelmChart/apps/apps-web")),
        (
            "OCIRepository/apps/apps-web",
            Some("OCIRepository/apps/apps-web"),
        ),
        ("Bucket/apps/apps-web", None),
        ("apps", None),
        ("/web", None),
        ("a/b/c/d", None),
        ("", None),
    ] {
        assert_eq!(shown(SourceRef::of_status(text)).as_deref(), want, "{text}");
    }
    for kind in [SourceKind::HelmChart, SourceKind::OCIRepository] {
        let key = Key::new("apps", "apps-web");
        let source = SourceRef { kind, key };
        let text = source.status_text();
        assert_eq!(SourceRef::of_status(&text), Some(source));
    }
}

#[test]
fn access_is_denied_in_upstreams_words() {
    let denied = |access, kind, namespace: &str| {
        let source = SourceRef {
            kind,
            key: Key::new(namespace, "c"),
        };
        check(access, "apps", &source)
            .err()
            .map(|denied| denied.to_string())
    };
    let closed = Access {
        no_cross_namespace: true,
        ..OPEN
    };
    // HC-CHART-012, HC-CHART-013, HC-PROC-019
    assert_eq!(denied(closed, SourceKind::HelmChart, "apps"), None);
    assert_eq!(denied(OPEN, SourceKind::HelmChart, "infra"), None);
    assert_eq!(
        denied(closed, SourceKind::OCIRepository, "infra").unwrap(),
        "cross-namespace references are not allowed: cannot access OCIRepository infra/c"
    );
    // HC-CHART-015, HC-PROC-038
    assert_eq!(
        denied(OPEN, SourceKind::ExternalArtifact, "apps").unwrap(),
        "can't access 'ExternalArtifact/apps/c', ExternalArtifact feature gate is disabled"
    );
    let open = Access {
        external_artifacts: true,
        ..OPEN
    };
    assert_eq!(denied(open, SourceKind::ExternalArtifact, "apps"), None);
}

fn chart(status: serde_json::Value) -> HelmChart {
    let mut object = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
        "metadata": {"name": "c", "namespace": "apps", "generation": 2},
        "spec": {"chart": "c", "interval": "1m", "sourceRef": {"kind": "HelmRepository", "name": "r"}}});
    object["status"] = status;
    serde_json::from_value(object).unwrap()
}

async fn resolve(status: Option<serde_json::Value>) -> Result<Resolved, String> {
    let sources = Sources::default();
    if let Some(status) = status {
        sources.helm_charts.upsert(chart(status));
    }
    let source = SourceRef {
        kind: SourceKind::HelmChart,
        key: Key::new("apps", "c"),
    };
    let found = find(&sources, source, "apps", OPEN).await;
    let ready = found.and_then(Found::ready);
    ready.map_err(|error| flux_errors::chain(&error))
}

#[tokio::test]
async fn a_source_has_to_be_reconciled_and_have_an_artifact() {
    let artifact = json!({"revision": "1.0.0", "path": "p", "url": "u", "digest": "d",
        "lastUpdateTime": "2026-01-01T00:00:00Z"});
    let condition = |kind: &str, status: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": "R", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    // HC-CHART-016
    assert_eq!(
        resolve(None).await.unwrap_err(),
        "could not get Source object: HelmChart.source.toolkit.fluxcd.io \"c\" not found"
    );
    // HC-CHART-017
    let not_ready = |why: &str| format!("HelmChart 'apps/c' is not ready: {why}");
    for (status, why) in [
        (
            json!({"observedGeneration": 1, "artifact": artifact}),
            "latest generation of object has not been reconciled",
        ),
        (
            json!({"observedGeneration": 1, "conditions": [condition("Ready", "False", "no such chart")]}),
            "no such chart",
        ),
        (
            json!({"observedGeneration": 2, "artifact": artifact, "conditions": [condition("Stalled", "True", "bad url")]}),
            "bad url",
        ),
        (
            json!({"observedGeneration": 2}),
            "does not have an artifact",
        ),
    ] {
        assert_eq!(resolve(Some(status)).await.unwrap_err(), not_ready(why));
    }
    // HC-CHART-019: its own Ready does not matter
    let ready = json!({"observedGeneration": 2, "artifact": artifact,
        "conditions": [condition("Ready", "False", "fetch failed")]});
    assert_eq!(
        resolve(Some(ready)).await.unwrap().artifact.revision,
        "1.0.0"
    );
}

// HC-CHART-018
#[tokio::test]
async fn of_an_external_artifact_only_the_artifact_counts() {
    let open = Access {
        external_artifacts: true,
        ..OPEN
    };
    let sources = Sources::default();
    let external = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
        "metadata": {"name": "c", "namespace": "apps", "generation": 7}, "spec": {}});
    sources
        .external_artifacts
        .upsert(serde_json::from_value(external).unwrap());
    let source = SourceRef {
        kind: SourceKind::ExternalArtifact,
        key: Key::new("apps", "c"),
    };
    let found = find(&sources, source, "apps", open).await.unwrap();
    assert_eq!(
        found.ready().unwrap_err().to_string(),
        "ExternalArtifact 'apps/c' is not ready: does not have an artifact"
    );
}
