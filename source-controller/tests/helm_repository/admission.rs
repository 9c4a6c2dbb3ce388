//! The API server's validation and defaults of HelmRepositories.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use kind_tests::{Cluster, Failure, HELM_REPOSITORY, Namespace, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::plain;
use crate::support::{admit, table};

/// A valid spec with one field set to another value, or removed for `null`.
fn spec_with(field: &str, value: Value) -> Value {
    let mut spec = json!({"url": "https://example.com/charts"});
    match spec.as_object_mut() {
        Some(spec) if value.is_null() => drop(spec.remove(field)),
        _ => spec[field] = value,
    }
    spec
}

#[tokio::test]
async fn invalid_specs_are_refused_with_upstreams_messages() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "helm-refused").await?;
    let url = "should match '^(http|https|oci)://.*$'";
    for (field, value, words) in [
        // SC-HREPO-001
        ("url", Value::Null, "spec.url: Required value"),
        ("url", json!("ftp://example.com/charts"), url),
        ("url", json!("example.com/charts"), url),
        ("url", json!("HTTPS://example.com"), url),
        // SC-HREPO-003
        (
            "type",
            json!("http"),
            "spec.type: Unsupported value: \"http\": supported values: \"default\", \"oci\"",
        ),
        (
            "type",
            json!(""),
            "spec.type: Unsupported value: \"\": supported values",
        ),
        // SC-HREPO-004
        (
            "provider",
            json!("github"),
            "spec.provider: Unsupported value: \"github\": supported values: \"generic\", \"aws\", \"azure\", \"gcp\"",
        ),
        // SC-HREPO-005
        (
            "secretRef",
            json!({}),
            "spec.secretRef.name: Required value",
        ),
        (
            "certSecretRef",
            json!({}),
            "spec.certSecretRef.name: Required value",
        ),
        ("passCredentials", json!("yes"), "spec.passCredentials"),
        ("insecure", json!("yes"), "spec.insecure"),
        ("suspend", json!("yes"), "spec.suspend"),
        // SC-HREPO-006
        (
            "accessFrom",
            json!({}),
            "spec.accessFrom.namespaceSelectors: Required value",
        ),
    ] {
        let shown = format!("{field}: {value}");
        let answer = admit(&namespace, HELM_REPOSITORY, &spec_with(field, value)).await?;
        let Err(message) = answer else {
            return Err(Failure::new(format!("{shown} is admitted")));
        };
        ensure!(message.contains(words), "{shown}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn valid_specs_are_admitted_with_defaults() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "helm-admitted").await?;
    // SC-HREPO-001: the URL is enough; SC-HREPO-004: the only default is the provider
    let least = spec_with("url", json!("http://e"));
    let made = admit(&namespace, HELM_REPOSITORY, &least).await?;
    let made = made.unwrap_or_default();
    ensure!(
        made["spec"] == json!({"url": "http://e", "provider": "generic"}),
        "{made}"
    );
    // SC-HREPO-003, SC-HREPO-005, SC-HREPO-006
    let spec = json!({
        "url": "oci://example.com/charts", "type": "oci", "provider": "gcp", "secretRef": {"name": "a"},
        "certSecretRef": {"name": "b"}, "passCredentials": true, "insecure": true, "suspend": true,
        "accessFrom": {"namespaceSelectors": [{"matchLabels": {"a": "b"}}, {}]}});
    // SC-HREPO-016: what an OCIRepository has and this kind has not is dropped
    let mut with_more = spec.clone();
    for (field, value) in [
        ("proxySecretRef", json!({"name": "c"})),
        ("serviceAccountName", json!("d")),
        ("trustedRootSecretRef", json!({"name": "e"})),
    ] {
        with_more[field] = value;
    }
    let made = admit(&namespace, HELM_REPOSITORY, &with_more).await?;
    let made = made.unwrap_or_default();
    ensure!(made["spec"] == spec, "{made}");
    Ok(())
}

// SC-HREPO-007, SC-PROC-102
#[tokio::test]
async fn the_status_and_kubectls_columns_are_upstreams() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "helm-status").await?;
    namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmRepository, metadata: {name: app}, spec: {url: 'https://example.com/charts'}}")
        .await?;
    let api = namespace.api(HELM_REPOSITORY).await?;
    let status = json!({
        "observedGeneration": 1, "url": "http://host/index.yaml", "lastHandledReconcileAt": "now",
        "artifact": {
            "path": "helmrepository/ns/app/index-0.yaml", "url": "http://host/x", "revision": "sha256:0", "digest": "sha256:0",
            "lastUpdateTime": "2026-01-02T03:04:05Z", "size": 5},
        "conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no such host",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    let mut with_more = status.clone();
    with_more["observedIgnore"] = json!("*.md");
    let patch = Patch::Merge(json!({"status": with_more}));
    let params = PatchParams::default();
    let made = api.patch_status("app", &params, &patch).await?;
    ensure!(made.data["status"] == status, "{}", made.data);
    let (names, cells) = table(&namespace, "helmrepositories").await?;
    assert_eq!(names, ["Name", "URL", "Age", "Ready", "Status"]);
    ensure!(
        cells[1] == "https://example.com/charts"
            && cells[3] == "False"
            && cells[4] == "no such host",
        "{cells}"
    );
    Ok(())
}

// SC-HREPO-006: neither who may use it nor what it is used by depends on the field
#[tokio::test]
async fn access_from_has_no_effect() -> Result {
    let world = plain("helm-access").await?;
    let spec = "accessFrom: {namespaceSelectors: [{matchLabels: {nobody: here}}]}";
    world.repository("charts", spec).await?;
    world.ready("charts").await?;
    Ok(())
}
