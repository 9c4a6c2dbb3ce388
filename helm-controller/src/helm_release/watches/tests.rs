//! What a HelmRelease refers to, and which revisions concern it.

use serde_json::json;

use super::*;

// HC-ACT-017, HC-ACT-020
#[test]
fn sources_and_configs_are_indexed() {
    let object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "apps"},
        "spec": {"chartRef": {"kind": "OCIRepository", "name": "c", "namespace": "infra"},
            "kubeConfig": {"secretRef": {"name": "kube"}, "configMapRef": {"name": "cluster"}},
            "valuesFrom": [{"kind": "Secret", "name": "s"}, {"kind": "ConfigMap", "name": "m"}, {"kind": "Odd", "name": "o"}]}});
    let object: HelmRelease = serde_json::from_value(object).unwrap();
    let found: Vec<String> = references(&object)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "OCIRepository/infra/c",
            "Secret/apps/kube",
            "ConfigMap/apps/cluster",
            "Secret/apps/s",
            "ConfigMap/apps/m"
        ]
    );
}

#[test]
fn an_attempted_revision_does_not_trigger_again() {
    let release = |condition: &str, status: &str| {
        let object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "apps"}, "spec": {},
            "status": {"lastAttemptedRevision": "1.0.0", "lastAttemptedRevisionDigest": "sha256:1",
                "conditions": [{"type": condition, "status": status, "reason": "R", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        serde_json::from_value::<HelmRelease>(object).unwrap()
    };
    let attempted = |kind: &str, revision: &str| {
        ["Ready", "Reconciling"]
            .map(|condition| has_attempted(&release(condition, "True"), kind, revision))
    };
    // HC-ACT-018, FR-H-026
    assert_eq!(attempted("HelmChart", "1.0.0"), [true, true]);
    assert_eq!(attempted("HelmChart", "1.0.1"), [false, false]);
    // HC-ACT-019
    assert_eq!(attempted("OCIRepository", "2.0.0@sha256:1"), [true, true]);
    assert_eq!(attempted("OCIRepository", "2.0.0@sha256:2"), [false, false]);
    assert_eq!(attempted("ExternalArtifact", "1.0.0"), [true, true]);
    assert_eq!(attempted("ExternalArtifact", "x@sha256:1"), [true, true]);
    assert_eq!(attempted("ExternalArtifact", "x@sha256:2"), [false, false]);
    // HC-CHART-031
    assert_eq!(attempted("OCIRepository", "latest"), [false, false]);
    for (condition, status) in [("Ready", "False"), ("Stalled", "True")] {
        assert!(!has_attempted(
            &release(condition, status),
            "HelmChart",
            "1.0.0"
        ));
    }
    assert_eq!(digest("a@b@c"), "");
    assert_eq!(digest("sha256:1"), "sha256:1");
}
