//! The API server's validation and defaults of Buckets.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use http::header::ACCEPT;
use kind_tests::{BUCKET, Cluster, Failure, Namespace, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// The result of a dry run with this spec; the error is the server's message.
async fn admit(namespace: &Namespace, spec: &Value) -> Result<Result<Value, String>> {
    let object = json!({
        "apiVersion": BUCKET.0, "kind": BUCKET.1, "metadata": {"name": "app"}, "spec": spec});
    let object: DynamicObject = serde_json::from_value(object)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = namespace.api(BUCKET).await?;
    match api.create(&params, &object).await {
        Ok(made) => Ok(Ok(serde_json::to_value(made)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// A valid spec with these fields set to other values, or removed for `null`.
fn spec_with(fields: &Value) -> Value {
    let mut spec = json!({"bucketName": "app", "endpoint": "example.com", "interval": "1m"});
    for (field, value) in fields.as_object().into_iter().flatten() {
        if value.is_null() {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove(field);
            }
        } else {
            spec[field] = value.clone();
        }
    }
    spec
}

#[tokio::test]
async fn invalid_specs_are_refused_with_upstreams_messages() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "bucket-refused").await?;
    let sts = |provider: &str| json!({"provider": provider, "endpoint": "https://sts.example.com"});
    let with = |provider: &str, field: &str| {
        let mut sts = sts(provider);
        sts[field] = json!({"name": "a"});
        sts
    };
    for (fields, words) in [
        // SC-BKT-001
        (
            json!({"bucketName": null}),
            "spec.bucketName: Required value",
        ),
        (json!({"endpoint": null}), "spec.endpoint: Required value"),
        (json!({"interval": null}), "spec.interval: Required value"),
        (
            json!({"timeout": "1h"}),
            r"should match '^([0-9]+(\.[0-9]+)?(ms|s|m))+$'",
        ),
        // SC-BKT-002
        (
            json!({"provider": "minio"}),
            "spec.provider: Unsupported value: \"minio\": supported values: \"generic\", \"aws\", \"gcp\", \"azure\"",
        ),
        // SC-BKT-003
        (json!({"region": 1}), "spec.region"),
        (json!({"prefix": 1}), "spec.prefix"),
        (json!({"ignore": 1}), "spec.ignore"),
        (json!({"insecure": "yes"}), "spec.insecure"),
        (json!({"suspend": "yes"}), "spec.suspend"),
        // SC-BKT-004
        (
            json!({"secretRef": {}}),
            "spec.secretRef.name: Required value",
        ),
        (
            json!({"certSecretRef": {}}),
            "spec.certSecretRef.name: Required value",
        ),
        (
            json!({"proxySecretRef": {}}),
            "spec.proxySecretRef.name: Required value",
        ),
        // SC-BKT-005
        (
            json!({"sts": {"endpoint": "https://h"}}),
            "spec.sts.provider: Required value",
        ),
        (
            json!({"sts": {"provider": "ldap"}}),
            "spec.sts.endpoint: Required value",
        ),
        (
            json!({"sts": {"provider": "ldap", "endpoint": "h"}}),
            "should match '^(http|https)://.*$'",
        ),
        (
            json!({"sts": sts("web")}),
            "spec.sts.provider: Unsupported value: \"web\": supported values: \"aws\", \"ldap\"",
        ),
        // SC-BKT-006
        (
            json!({"provider": "gcp", "sts": sts("aws")}),
            "STS configuration is only supported for the 'aws' and 'generic' Bucket providers",
        ),
        // SC-BKT-007
        (
            json!({"provider": "aws", "sts": sts("ldap")}),
            "'aws' is the only supported STS provider for the 'aws' Bucket provider",
        ),
        // SC-BKT-008
        (
            json!({"sts": sts("aws")}),
            "'ldap' is the only supported STS provider for the 'generic' Bucket provider",
        ),
        // SC-BKT-009
        (
            json!({"provider": "aws", "sts": with("aws", "secretRef")}),
            "spec.sts.secretRef is not required for the 'aws' STS provider",
        ),
        (
            json!({"provider": "aws", "sts": with("aws", "certSecretRef")}),
            "spec.sts.certSecretRef is not required for the 'aws' STS provider",
        ),
        // SC-BKT-010
        (
            json!({"serviceAccountName": "a"}),
            "ServiceAccountName is not supported for the 'generic' Bucket provider",
        ),
        // SC-BKT-011
        (
            json!({"provider": "aws", "serviceAccountName": "a", "secretRef": {"name": "b"}}),
            "cannot set both .spec.secretRef and .spec.serviceAccountName",
        ),
    ] {
        let Err(message) = admit(&namespace, &spec_with(&fields)).await? else {
            return Err(Failure::new(format!("{fields} is admitted")));
        };
        ensure!(message.contains(words), "{fields}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn valid_specs_are_admitted_with_their_defaults() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "bucket-admitted").await?;
    let made = admit(&namespace, &spec_with(&json!({})))
        .await?
        .unwrap_or_default();
    // SC-BKT-001, SC-BKT-002
    assert_eq!(made["spec"]["provider"], "generic");
    assert_eq!(made["spec"]["timeout"], "60s");
    // SC-PROC-103
    assert_eq!(made["status"], json!({"observedGeneration": -1}));
    let spec = spec_with(&json!({
        "provider": "generic", "region": "r", "prefix": "p/", "ignore": "", "insecure": true, "suspend": true, "timeout": "1m",
        "secretRef": {"name": "a"}, "certSecretRef": {"name": "b"}, "proxySecretRef": {"name": "c"},
        "sts": {"provider": "ldap", "endpoint": "http://h", "secretRef": {"name": "d"}, "certSecretRef": {"name": "e"}}}));
    let made = admit(&namespace, &spec).await?.unwrap_or_default();
    assert_eq!(made["spec"], spec);
    Ok(())
}

// SC-BKT-012
#[tokio::test]
async fn the_status_and_kubectls_columns_are_upstreams() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "bucket-status").await?;
    namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: Bucket, metadata: {name: app}, spec: {bucketName: b, endpoint: example.com, interval: 1m}}")
        .await?;
    let api = namespace.api(BUCKET).await?;
    let status = json!({
        "observedGeneration": 1, "url": "http://host/latest", "observedIgnore": "*.md", "lastHandledReconcileAt": "now",
        "artifact": {
            "path": "bucket/ns/app/x.tar.gz", "url": "http://host/x", "revision": "sha256:0", "digest": "sha256:0",
            "lastUpdateTime": "2026-01-02T03:04:05Z", "size": 5, "metadata": {"a": "b"}},
        "conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no such host",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    let mut with_more = status.clone();
    with_more["sourceVerificationFingerprint"] = json!("x");
    let patch = Patch::Merge(json!({"status": with_more}));
    let made = api
        .patch_status("app", &PatchParams::default(), &patch)
        .await?;
    assert_eq!(made.data["status"], status);

    let uri = format!(
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/buckets",
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
    assert_eq!(names, ["Name", "Endpoint", "Age", "Ready", "Status"]);
    let cells = &table["rows"][0]["cells"];
    ensure!(
        cells[1] == "example.com" && cells[3] == "False" && cells[4] == "no such host",
        "{cells}"
    );
    Ok(())
}
