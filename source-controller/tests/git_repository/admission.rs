//! The API server's validation and defaults of GitRepositories.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use http::header::ACCEPT;
use kind_tests::{Cluster, GIT_REPOSITORY, Namespace, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// The result of a dry run with this spec; the error is the server's message.
async fn admit(namespace: &Namespace, spec: &Value) -> Result<Result<Value, String>> {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": GIT_REPOSITORY.0, "kind": GIT_REPOSITORY.1, "metadata": {"name": "app"}, "spec": spec}))?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match namespace
        .api(GIT_REPOSITORY)
        .await?
        .create(&params, &object)
        .await
    {
        Ok(made) => Ok(Ok(serde_json::to_value(made)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// A valid spec with one field set to another value, or removed for `null`.
fn spec_with(field: &str, value: Value) -> Value {
    let mut spec = json!({"url": "https://example.com/app.git", "interval": "1m"});
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
    let namespace = Namespace::create(&Cluster::shared().await?, "git-refused").await?;
    let url = "should match '^(http|https|ssh)://.*$'";
    let interval = r"should match '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'";
    let timeout = r"should match '^([0-9]+(\.[0-9]+)?(ms|s|m))+$'";
    let account = "serviceAccountName can only be set when provider is 'azure' or 'aws'";
    let keys = json!({"name": "keys"});
    for (field, value, words) in [
        // SC-GIT-001
        ("url", Value::Null, "spec.url: Required value"),
        ("url", json!("git@example.com:app.git"), url),
        ("url", json!("file:///app.git"), url),
        ("url", json!("HTTPS://example.com/app.git"), url),
        // SC-GIT-002, SC-PROC-104
        ("interval", Value::Null, "spec.interval: Required value"),
        ("interval", json!("5"), interval),
        ("interval", json!("-5m"), interval),
        ("interval", json!("1d"), interval),
        ("timeout", json!("1h"), timeout),
        // SC-GIT-003
        (
            "secretRef",
            json!({}),
            "spec.secretRef.name: Required value",
        ),
        (
            "proxySecretRef",
            json!({}),
            "spec.proxySecretRef.name: Required value",
        ),
        // SC-GIT-004
        (
            "provider",
            json!("gcp"),
            "spec.provider: Unsupported value: \"gcp\": supported values: \"generic\", \"aws\", \"azure\", \"github\"",
        ),
        (
            "provider",
            json!(""),
            "spec.provider: Unsupported value: \"\"",
        ),
        // SC-GIT-005
        ("serviceAccountName", json!("account"), account),
        // SC-GIT-006
        ("ref", json!({"branch": 5}), "spec.ref.branch"),
        // SC-GIT-007
        (
            "verify",
            json!({"mode": "Head", "secretRef": keys}),
            "spec.verify.mode: Unsupported value: \"Head\": supported values: \"head\", \"HEAD\", \"Tag\", \"TagAndHEAD\"",
        ),
        (
            "verify",
            json!({"mode": "HEAD"}),
            "spec.verify.secretRef: Required value",
        ),
        (
            "verify",
            json!({"secretRef": {}}),
            "spec.verify.secretRef.name: Required value",
        ),
        // SC-GIT-008
        ("ignore", json!(["*.md"]), "spec.ignore"),
        ("suspend", json!("yes"), "spec.suspend"),
        ("recurseSubmodules", json!(1), "spec.recurseSubmodules"),
        ("sparseCheckout", json!("apps"), "spec.sparseCheckout"),
        // SC-GIT-009
        (
            "include",
            json!([{"fromPath": "apps"}]),
            "spec.include[0].repository: Required value",
        ),
        (
            "include",
            json!([{"repository": {}}]),
            "spec.include[0].repository.name: Required value",
        ),
    ] {
        let shown = format!("{field}: {value}");
        let answer = admit(&namespace, &spec_with(field, value)).await?;
        let Err(message) = answer else {
            return Err(kind_tests::Failure::new(format!("{shown} is admitted")));
        };
        ensure!(message.contains(words), "{shown}: {message}");
    }
    for provider in ["generic", "github"] {
        let mut spec = spec_with("serviceAccountName", json!("account"));
        spec["provider"] = json!(provider);
        let answer = admit(&namespace, &spec).await?;
        ensure!(
            answer.is_err_and(|message| message.contains(account)),
            "{provider}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn valid_specs_are_admitted_with_defaults() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "git-admitted").await?;
    for (field, value) in [
        // SC-GIT-001
        ("url", json!("http://example.com/app.git")),
        ("url", json!("ssh://git@example.com:2222/app.git")),
        // SC-GIT-002, SC-PROC-078, SC-PROC-104
        ("interval", json!("1h2m3.5s4ms")),
        ("interval", json!("0s")),
        ("timeout", json!("1.5m")),
        // SC-GIT-006: references are not validated
        (
            "ref",
            json!({"branch": "a b", "tag": "..", "semver": "x", "name": "/x/", "commit": "x"}),
        ),
        // SC-GIT-007
        (
            "verify",
            json!({"mode": "head", "secretRef": {"name": "keys"}}),
        ),
        (
            "verify",
            json!({"mode": "TagAndHEAD", "secretRef": {"name": "keys"}}),
        ),
    ] {
        let shown = format!("{field}: {value}");
        let made = admit(&namespace, &spec_with(field, value.clone())).await?;
        ensure!(
            made.as_ref().is_ok_and(|made| made["spec"][field] == value),
            "{shown}: {made:?}"
        );
    }
    for provider in ["aws", "azure"] {
        let mut spec = spec_with("serviceAccountName", json!("account"));
        spec["provider"] = json!(provider);
        ensure!(admit(&namespace, &spec).await?.is_ok(), "{provider}"); // SC-GIT-005
    }

    let spec = json!({
        "url": "https://example.com/app.git", "interval": "1m", "ignore": "", "suspend": true, "recurseSubmodules": true,
        "sparseCheckout": ["./apps"], "secretRef": {"name": "a"}, "proxySecretRef": {"name": "b"}, "provider": "github",
        "ref": {}, "include": [{"repository": {"name": "c"}}, {"repository": {"name": "d"}, "fromPath": "x", "toPath": "y"}],
        "verify": {"secretRef": {"name": "keys"}}, "unknown": "field"});
    let made = admit(&namespace, &spec).await?.unwrap_or_default();
    // SC-GIT-008, SC-GIT-009: kept as given, and unknown fields are dropped
    let mut want = spec.clone();
    // SC-GIT-002
    want["timeout"] = json!("60s");
    // SC-GIT-007
    want["verify"]["mode"] = json!("HEAD");
    if let Some(want) = want.as_object_mut() {
        want.remove("unknown");
    }
    ensure!(made["spec"] == want, "{made}");
    ensure!(
        made["status"] == json!({"observedGeneration": -1}),
        "{made}"
    ); // SC-PROC-103
    let plain = admit(&namespace, &spec_with("suspend", json!(false)))
        .await?
        .unwrap_or_default();
    ensure!(plain["spec"]["provider"].is_null(), "{plain}"); // SC-GIT-004
    Ok(())
}

#[tokio::test]
async fn statuses_are_validated() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "git-status").await?;
    namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: app}, spec: {url: 'https://example.com/app.git', interval: 1m}}")
        .await?;
    let api = namespace.api(GIT_REPOSITORY).await?;
    let artifact = json!({
        "path": "gitrepository/ns/app/x.tar.gz", "url": "http://host/x", "revision": "main@sha1:0", "digest": "sha256:0",
        "lastUpdateTime": "2026-01-02T03:04:05Z", "size": 5, "metadata": {"a": "b"}});
    let status = json!({
        "observedGeneration": 1, "artifact": artifact, "includedArtifacts": [artifact], "observedIgnore": "*.md",
        "observedRecurseSubmodules": true, "observedInclude": [{"repository": {"name": "lib"}}], "observedSparseCheckout": ["apps"],
        "sourceVerificationMode": "HEAD", "lastHandledReconcileAt": "now",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    let patch = |status: &Value| Patch::Merge(json!({"status": status}));
    // SC-GIT-010: unknown fields are dropped
    let mut with_url = status.clone();
    with_url["url"] = json!("http://host/latest");
    let made = api
        .patch_status("app", &PatchParams::default(), &patch(&with_url))
        .await?;
    ensure!(made.data["status"] == status, "{}", made.data);

    // SC-PROC-105, RT-ART-001
    for (key, value, words) in [
        ("digest", json!("no digest"), "status.artifact.digest"),
        (
            "digest",
            Value::Null,
            "status.artifact.digest: Required value",
        ),
        ("path", Value::Null, "status.artifact.path: Required value"),
        ("url", Value::Null, "status.artifact.url: Required value"),
        (
            "revision",
            Value::Null,
            "status.artifact.revision: Required value",
        ),
        (
            "lastUpdateTime",
            Value::Null,
            "status.artifact.lastUpdateTime: Required value",
        ),
        (
            "lastUpdateTime",
            json!("yesterday"),
            "status.artifact.lastUpdateTime",
        ),
        ("size", json!("large"), "status.artifact.size"),
    ] {
        let patch = patch(&json!({"artifact": {key: value}}));
        let answer = api
            .patch_status("app", &PatchParams::default(), &patch)
            .await;
        let message = match answer {
            Err(kube::Error::Api(status)) => status.message.clone(),
            other => format!("{other:?}"),
        };
        ensure!(message.contains(words), "{key}: {message}");
    }
    Ok(())
}

// SC-GIT-011, SC-PROC-102
#[tokio::test]
async fn kubectl_columns_match_upstream() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "git-columns").await?;
    namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: app}, spec: {url: 'https://example.com/app.git', interval: 1m}}")
        .await?;
    let condition = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no such host",
        "lastTransitionTime": "2026-01-02T03:04:05Z"}]}});
    let api = namespace.api(GIT_REPOSITORY).await?;
    api.patch_status("app", &PatchParams::default(), &Patch::Merge(condition))
        .await?;
    let uri = format!(
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/gitrepositories",
        namespace.name()
    );
    let request =
        http::Request::get(uri).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = namespace
        .client()
        .request(request.body(Vec::new())?)
        .await?;
    let columns = table["columnDefinitions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let names: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "URL", "Age", "Ready", "Status"]);
    let cells = &table["rows"][0]["cells"];
    ensure!(
        cells[1] == "https://example.com/app.git"
            && cells[3] == "False"
            && cells[4] == "no such host",
        "{cells}"
    );
    let resources: Value = namespace
        .client()
        .request(http::Request::get("/apis/source.toolkit.fluxcd.io/v1").body(Vec::new())?)
        .await?;
    let resources = resources["resources"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = resources
        .iter()
        .find(|resource| resource["name"] == "gitrepositories");
    ensure!(
        found.is_some_and(|found| found["shortNames"] == json!(["gitrepo"])),
        "{resources:?}"
    );
    Ok(())
}
