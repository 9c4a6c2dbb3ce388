//! The API server's validation and defaults of OCIRepositories.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use http::header::ACCEPT;
use kind_tests::{Cluster, Namespace, OCI_REPOSITORY, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// The result of a dry run with this spec; the error is the server's message.
async fn admit(namespace: &Namespace, spec: &Value) -> Result<Result<Value, String>> {
    let mut object = json!({
        "apiVersion": OCI_REPOSITORY.0, "kind": OCI_REPOSITORY.1, "metadata": {"name": "app"}, "spec": spec});
    if spec.is_null()
        && let Some(object) = object.as_object_mut()
    {
        object.remove("spec");
    }
    let object: DynamicObject = serde_json::from_value(object)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = namespace.api(OCI_REPOSITORY).await?;
    match api.create(&params, &object).await {
        Ok(made) => Ok(Ok(serde_json::to_value(made)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// A valid spec with one field set to another value, or removed for `null`.
fn spec_with(field: &str, value: Value) -> Value {
    let mut spec = json!({"url": "oci://example.com/app", "interval": "1m"});
    if value.is_null() {
        if let Some(spec) = spec.as_object_mut() {
            spec.remove(field);
        }
    } else {
        spec[field] = value;
    }
    spec
}

#[tokio::test]
async fn invalid_specs_are_refused_with_upstreams_messages() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "oci-refused").await?;
    let interval = r"should match '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'";
    let timeout = r"should match '^([0-9]+(\.[0-9]+)?(ms|s|m))+$'";
    for (field, value, words) in [
        // SC-OCI-001, SC-OCI-085
        ("url", Value::Null, "spec.url is required"),
        (
            "url",
            json!("https://example.com/app"),
            "should match '^oci://.*$'",
        ),
        // SC-OCI-002, SC-OCI-085
        ("interval", Value::Null, "spec.interval is required"),
        ("interval", json!("1d"), interval),
        ("timeout", json!("1h"), timeout),
        ("suspend", json!("yes"), "spec.suspend"),
        ("insecure", json!("yes"), "spec.insecure"),
        ("ignore", json!(["*.md"]), "spec.ignore"),
        // SC-OCI-003
        ("ref", json!({"tag": 5}), "spec.ref.tag"),
        // SC-OCI-004
        (
            "layerSelector",
            json!({"operation": "unpack"}),
            "spec.layerSelector.operation: Unsupported value: \"unpack\": supported values: \"extract\", \"copy\"",
        ),
        // SC-OCI-005
        (
            "provider",
            json!("github"),
            "spec.provider: Unsupported value: \"github\": supported values: \"generic\", \"aws\", \"azure\", \"gcp\"",
        ),
        // SC-OCI-006
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
        (
            "proxySecretRef",
            json!({}),
            "spec.proxySecretRef.name: Required value",
        ),
        // SC-OCI-007
        (
            "verify",
            json!({"provider": "gpg"}),
            "spec.verify.provider: Unsupported value: \"gpg\": supported values: \"cosign\", \"notation\"",
        ),
        (
            "verify",
            json!({"provider": "cosign", "matchOIDCIdentity": [{"issuer": "a"}]}),
            "spec.verify.matchOIDCIdentity[0].subject: Required value",
        ),
    ] {
        let shown = format!("{field}: {value}");
        let answer = admit(&namespace, &spec_with(field, value)).await?;
        let Err(message) = answer else {
            return Err(kind_tests::Failure::new(format!("{shown} is admitted")));
        };
        ensure!(message.contains(words), "{shown}: {message}");
    }
    // SC-OCI-085: an object without a spec gets both messages
    let message = admit(&namespace, &Value::Null)
        .await?
        .err()
        .unwrap_or_default();
    ensure!(
        message.contains("spec.url is required") && message.contains("spec.interval is required"),
        "{message}"
    );
    Ok(())
}

#[tokio::test]
async fn valid_specs_are_admitted_as_they_are() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "oci-admitted").await?;
    let plain = spec_with("suspend", json!(false));
    let made = admit(&namespace, &plain).await?.unwrap_or_default();
    // SC-OCI-086: neither provider nor timeout is written
    ensure!(made["spec"] == plain, "{made}");
    // SC-PROC-103
    ensure!(
        made["status"] == json!({"observedGeneration": -1}),
        "{made}"
    );

    let spec = json!({
        "url": "oci://", "interval": "0s", "timeout": "1.5m", "suspend": true, "insecure": true, "ignore": "",
        "ref": {"digest": "x", "semver": "y", "semverFilter": "[", "tag": ".."}, "provider": "gcp",
        "layerSelector": {"mediaType": "a/b", "operation": "copy"}, "serviceAccountName": "account",
        "secretRef": {"name": "a"}, "certSecretRef": {"name": "b"}, "proxySecretRef": {"name": "c"},
        "verify": {"secretRef": {"name": "d"}, "trustedRootSecretRef": {"name": "e"},
            "matchOIDCIdentity": [{"issuer": "[", "subject": "["}]}, "unknown": "field"});
    let made = admit(&namespace, &spec).await?.unwrap_or_default();
    let mut want = spec;
    // SC-OCI-007
    want["verify"]["provider"] = json!("cosign");
    if let Some(want) = want.as_object_mut() {
        want.remove("unknown");
    }
    ensure!(made["spec"] == want, "{made}");
    Ok(())
}

// SC-OCI-008, SC-OCI-009, SC-PROC-102
#[tokio::test]
async fn the_status_and_kubectls_columns_are_upstreams() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "oci-status").await?;
    namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {name: app}, spec: {url: 'oci://example.com/app', interval: 1m}}")
        .await?;
    let api = namespace.api(OCI_REPOSITORY).await?;
    let status = json!({
        "observedGeneration": 1, "url": "http://host/latest", "observedIgnore": "*.md", "lastHandledReconcileAt": "now",
        "observedLayerSelector": {"mediaType": "a/b", "operation": "copy"}, "sourceVerificationFingerprint": "sha256:0",
        "artifact": {
            "path": "ocirepository/ns/app/x.tar.gz", "url": "http://host/x", "revision": "v1@sha256:0", "digest": "sha256:0",
            "lastUpdateTime": "2026-01-02T03:04:05Z", "size": 5, "metadata": {"a": "b"}},
        "conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no such host",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    let mut with_more = status.clone();
    with_more["includedArtifacts"] = json!([]);
    let patch = Patch::Merge(json!({"status": with_more}));
    let made = api
        .patch_status("app", &PatchParams::default(), &patch)
        .await?;
    ensure!(made.data["status"] == status, "{}", made.data);

    let uri = format!(
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/ocirepositories",
        namespace.name()
    );
    let request =
        http::Request::get(uri).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = namespace
        .client()
        .request(request.body(Vec::new())?)
        .await?;
    let columns = table["columnDefinitions"].as_array().cloned();
    let columns = columns.unwrap_or_default();
    let names: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "URL", "Ready", "Status", "Age"]);
    let cells = &table["rows"][0]["cells"];
    ensure!(
        cells[1] == "oci://example.com/app" && cells[2] == "False" && cells[3] == "no such host",
        "{cells}"
    );
    Ok(())
}
