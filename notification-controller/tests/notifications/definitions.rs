//! The definitions of the kinds, as the API server knows them.

use kind_tests::{ALERT, Cluster, Kind, Namespace, PROVIDER, RECEIVER, Result, ensure};
use serde_json::{Value, json};

const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const GROUP: &str = "notification.toolkit.fluxcd.io";

/// Applies an object of the group; the API server's refusal, or the object.
async fn apply(
    namespace: &Namespace,
    version: &str,
    kind: &str,
    spec: &str,
) -> std::result::Result<Value, String> {
    let yaml = format!(
        "{{apiVersion: {GROUP}/{version}, kind: {kind}, metadata: {{name: made}}, spec: {{{spec}}}}}"
    );
    match namespace.apply(&yaml).await {
        Ok(mut made) => Ok(made.pop().unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    }
}

/// A definition as JSON.
async fn definition(namespace: &Namespace, plural: &str) -> Result<Value> {
    let found = namespace
        .get(DEFINITION, &format!("{plural}.{GROUP}"))
        .await?;
    Ok(found.unwrap_or_default())
}

/// The warning of the API server in answer to a request for a version.
async fn warning(namespace: &Namespace, version: &str, plural: &str) -> Result<String> {
    let path = format!(
        "/apis/{GROUP}/{version}/namespaces/{}/{plural}",
        namespace.name()
    );
    let request = http::Request::get(path).body(kube::client::Body::empty())?;
    let answer = namespace.client().send(request).await?;
    let warning = answer.headers().get("warning");
    let text = warning.and_then(|value| value.to_str().ok());
    Ok(text.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_definitions_have_upstreams_versions_columns_and_warnings() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "notify-crds").await?;
    let columns = |version: &Value| -> Vec<String> {
        let columns = version["additionalPrinterColumns"].as_array();
        let columns = columns.into_iter().flatten();
        columns
            .map(|column| column["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    for (plural, kind, deprecated) in [
        // NC-ALERT-001, NC-ALERT-047
        ("alerts", "Alert", true),
        // NC-PROV-001, NC-PROV-085
        ("providers", "Provider", true),
        // NC-RECV-001
        ("receivers", "Receiver", false),
    ] {
        let found = definition(&namespace, plural).await?;
        // NC-PROC-065
        let annotations = &found["metadata"]["annotations"];
        ensure!(
            annotations["kustomize.toolkit.fluxcd.io/substitute"] == "disabled",
            "{annotations}"
        );
        let names = &found["spec"]["names"];
        ensure!(
            names["categories"] == json!(["all", "fluxcd", "fluxcd-notifications"]),
            "{names}"
        );
        ensure!(names["shortNames"].is_null(), "{names}");
        ensure!(found["spec"]["scope"] == "Namespaced", "{kind}");
        // NC-COMPAT-002
        let conversion = &found["spec"]["conversion"]["strategy"];
        ensure!(conversion == "None" || conversion.is_null(), "{conversion}");
        let v1 = &found["spec"]["versions"][0];
        ensure!(
            v1["name"] == "v1" && v1["served"] == true && v1["storage"] == true,
            "{kind}"
        );
        // NC-ALERT-002, NC-RECV-002
        let want = if kind == "Receiver" {
            &["Age", "Ready", "Status"][..]
        } else {
            &["Age"]
        };
        ensure!(columns(v1) == want, "{kind}: {:?}", columns(v1));
        // NC-RECV-013
        let properties = &v1["schema"]["openAPIV3Schema"]["properties"];
        let status = properties["status"]["properties"].as_object();
        let mut fields: Vec<&str> = status
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect();
        fields.sort_unstable();
        let want = if kind == "Receiver" {
            &[
                "conditions",
                "lastHandledReconcileAt",
                "observedGeneration",
                "webhookPath",
            ][..]
        } else {
            &[]
        };
        ensure!(fields == want, "{kind}: {fields:?}");
        ensure!(
            v1["subresources"]["status"].is_null() == (kind != "Receiver"),
            "{kind}: {}",
            v1["subresources"]
        );
        if !deprecated {
            continue;
        }
        let older = &found["spec"]["versions"][1];
        ensure!(
            older["name"] == "v1beta3" && older["served"] == true && older["storage"] == false,
            "{kind}"
        );
        // NC-COMPAT-003
        let text = format!("v1beta3 {kind} is deprecated, upgrade to v1");
        let told = warning(&namespace, "v1beta3", plural).await?;
        ensure!(told.contains(&text), "{told}");
        ensure!(
            warning(&namespace, "v1", plural).await?.is_empty(),
            "{kind}"
        );
        let spec = |version: &Value| {
            version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].clone()
        };
        let (mut newer, older) = (spec(v1), spec(older));
        // NC-PROV-085, NC-PROV-086
        if kind == "Provider" {
            let types = newer["type"]["enum"].as_array_mut();
            if let Some(types) = types {
                types.retain(|name| name != "mastodon");
            }
        }
        ensure!(newer == older, "{kind} differs between its versions");
    }
    Ok(())
}

/// A kind, a version, a spec, and what the API server's refusal says; empty if it accepts it.
type Case = (&'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    // NC-ALERT-003
    (
        "Alert",
        "v1",
        "eventSources: [{kind: Bucket, name: a}]",
        "spec.providerRef: Required value",
    ),
    (
        "Alert",
        "v1",
        "providerRef: {}, eventSources: [{kind: Bucket, name: a}]",
        "spec.providerRef.name: Required value",
    ),
    // NC-ALERT-005
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: a}], eventSeverity: warning",
        "spec.eventSeverity: Unsupported value",
    ),
    // NC-ALERT-006, NC-ALERT-007, NC-ALERT-009
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: a}], inclusionList: ['['], exclusionList: ['(?=x)'], eventMetadata: {a: b}, suspend: true",
        "",
    ),
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: a}], eventMetadata: {a: 1}",
        ".spec.eventMetadata.a: expected string",
    ),
    // NC-ALERT-010
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Pod, name: a}]",
        "spec.eventSources[0].kind: Unsupported value",
    ),
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: ArtifactGenerator, name: a}, {kind: ExternalArtifact, name: a}, {kind: OCIRepository, name: a}]",
        "",
    ),
    // NC-ALERT-011
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket}]",
        "spec.eventSources[0].name: Required value",
    ),
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: ''}]",
        "spec.eventSources[0].name: Invalid value",
    ),
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: '*', namespace: ''}]",
        "spec.eventSources[0].namespace: Invalid value",
    ),
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: '*', namespace: apps, apiVersion: a/v1, matchLabels: {a: b}}]",
        "",
    ),
    // NC-ALERT-046
    (
        "Alert",
        "v1",
        "providerRef: {name: p}, eventSources: [{kind: Bucket, name: a}], eventFilter: 'true'",
        "field not declared in schema",
    ),
    // NC-PROV-002
    (
        "Provider",
        "v1",
        "address: 'https://h'",
        "spec.type: Required value",
    ),
    (
        "Provider",
        "v1",
        "type: pigeon",
        "spec.type: Unsupported value",
    ),
    // NC-PROV-003, NC-PROV-086
    ("Provider", "v1", "type: zoom", ""),
    ("Provider", "v1beta3", "type: incident.io", ""),
    ("Provider", "v1", "type: mastodon", ""),
    (
        "Provider",
        "v1beta3",
        "type: mastodon",
        "spec.type: Unsupported value",
    ),
    // NC-PROV-005
    (
        "Provider",
        "v1",
        "type: googlepubsub, address: my-gcp-project, channel: c, username: u",
        "",
    ),
    // NC-PROV-007
    (
        "Provider",
        "v1",
        "type: slack, proxy: 'socks5://p'",
        "spec.proxy: Invalid value",
    ),
    (
        "Provider",
        "v1beta3",
        "type: slack, proxy: 'socks5://p'",
        "spec.proxy: Invalid value",
    ),
    ("Provider", "v1", "type: slack, proxy: 'https://p'", ""),
    // NC-PROV-008, NC-PROV-009
    (
        "Provider",
        "v1",
        "type: slack, secretRef: {}",
        "spec.secretRef.name: Required value",
    ),
    (
        "Provider",
        "v1",
        "type: slack, certSecretRef: {name: a}, proxySecretRef: {name: b}, secretRef: {name: c}, serviceAccountName: d, suspend: true",
        "",
    ),
    // NC-PROV-010
    (
        "Provider",
        "v1",
        "type: slack, commitStatusExpr: \"'x'\"",
        "spec.commitStatusExpr is only supported for the 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops' provider types",
    ),
    // NC-PROV-011: the syntax does not matter here
    (
        "Provider",
        "v1",
        "type: azuredevops, commitStatusExpr: \"'\"",
        "",
    ),
    // NC-RECV-003
    (
        "Receiver",
        "v1",
        "type: smoke, secretRef: {name: s}, resources: []",
        "spec.type: Unsupported value",
    ),
    // NC-RECV-005, NC-RECV-006, NC-RECV-007
    (
        "Receiver",
        "v1",
        "type: github, secretRef: {name: s}",
        "spec.resources: Required value",
    ),
    (
        "Receiver",
        "v1",
        "type: github, secretRef: {name: s}, events: [push], resourceFilter: 'x', resources: [{kind: Bucket, name: a, filter: 'y'}]",
        "",
    ),
    (
        "Receiver",
        "v1",
        "type: github, secretRef: {name: s}, resources: [{kind: Pod, name: a}]",
        "spec.resources[0].kind: Unsupported value",
    ),
    // NC-RECV-008
    (
        "Receiver",
        "v1",
        "type: github, resources: [{kind: Bucket, name: a}]",
        "secretRef is required when type is not generic-oidc",
    ),
    // NC-RECV-009
    (
        "Receiver",
        "v1",
        "type: generic-oidc, secretRef: {name: s}, resources: [{kind: Bucket, name: a}], oidcProviders: [{issuerURL: 'https://i', validations: [{expression: a, message: b}]}]",
        "secretRef cannot be set when type is generic-oidc",
    ),
    // NC-RECV-011
    (
        "Receiver",
        "v1",
        "type: generic-oidc, resources: [{kind: Bucket, name: a}], oidcProviders: [{issuerURL: 'ftp://i', validations: [{expression: a, message: b}]}]",
        "spec.oidcProviders[0].issuerURL: Invalid value",
    ),
    (
        "Receiver",
        "v1",
        "type: generic-oidc, resources: [{kind: Bucket, name: a}], oidcProviders: [{issuerURL: 'https://i', validations: []}]",
        "spec.oidcProviders[0].validations: Invalid value",
    ),
    (
        "Receiver",
        "v1",
        "type: generic-oidc, resources: [{kind: Bucket, name: a}], oidcProviders: [{issuerURL: 'https://i', variables: [{name: a}], validations: [{expression: a, message: b}]}]",
        "spec.oidcProviders[0].variables[0].expression: Required value",
    ),
    // NC-RECV-012
    (
        "Receiver",
        "v1",
        "type: generic-oidc, suspend: true, resources: [{kind: Bucket, name: a}], oidcProviders: [{issuerURL: 'https://i', validations: [{expression: a, message: b}]}]",
        "",
    ),
];

#[tokio::test]
async fn the_api_server_checks_objects_as_with_upstreams_definitions() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "notify-schema").await?;
    let mut wrong = Vec::new();
    for (kind, version, spec, refusal) in CASES {
        let made = apply(&namespace, version, kind, spec).await;
        match (&made, *refusal) {
            (Ok(_), "") => {}
            (Err(error), refusal) if !refusal.is_empty() && error.contains(refusal) => {}
            _ => wrong.push(format!("{kind} {version} {spec}: {made:?}")),
        }
        if made.is_ok() {
            let kind: Kind = match *kind {
                "Alert" => ALERT,
                "Provider" => PROVIDER,
                _ => RECEIVER,
            };
            namespace.delete(kind, "made").await?;
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    for length in [2048, 2049] {
        // NC-PROV-005
        let spec = format!("type: slack, address: '{}'", "a".repeat(length));
        let made = apply(&namespace, "v1", "Provider", &spec).await;
        ensure!(made.is_ok() == (length == 2048), "{length}: {made:?}");
    }
    namespace.delete(PROVIDER, "made").await?;
    for length in [253, 254] {
        // NC-ALERT-011
        let name = "a".repeat(length);
        let spec =
            format!("providerRef: {{name: p}}, eventSources: [{{kind: Bucket, name: {name}}}]");
        let made = apply(&namespace, "v1", "Alert", &spec).await;
        ensure!(made.is_ok() == (length == 253), "{length}: {made:?}");
        // NC-ALERT-005
        if let Ok(made) = made {
            ensure!(made["spec"]["eventSeverity"] == "info", "{made}");
        }
    }
    // NC-RECV-001: as it is before it is reconciled
    let spec = "type: github, secretRef: {name: s}, resources: [{kind: Bucket, name: a}]";
    let made = apply(&namespace, "v1", "Receiver", spec).await;
    let made = made.map_err(kind_tests::Failure::new)?;
    ensure!(
        made["status"] == json!({"observedGeneration": -1}),
        "{made}"
    );
    Ok(())
}

#[tokio::test]
async fn manifests_of_older_versions_apply_and_read_back_as_the_current_one() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "notify-older").await?;
    let long = "s".repeat(400);
    let summary = format!(
        "providerRef: {{name: p}}, eventSources: [{{kind: Bucket, name: '*', matchLabels: {{a: b}}}}], summary: {long}"
    );
    for (kind, version, spec, fields) in [
        // NC-COMPAT-004, NC-COMPAT-010, NC-COMPAT-018
        (
            "Alert",
            "v1beta2",
            "providerRef: {name: p}, eventSources: [{kind: Bucket, name: '*', matchLabels: {a: b}}], inclusionList: [x], eventMetadata: {a: b}",
            json!({"inclusionList": ["x"], "eventMetadata": {"a": "b"}}),
        ),
        // NC-COMPAT-005
        ("Alert", "v1beta1", &*summary, json!({"summary": long})),
        // NC-COMPAT-006
        (
            "Provider",
            "v1beta2",
            "type: generic, address: 'https://h', interval: 5m",
            json!({"interval": "5m", "address": "https://h"}),
        ),
        // NC-COMPAT-007
        (
            "Provider",
            "v1beta1",
            "type: slack, address: 'https://h', proxy: 'http://p', certSecretRef: {name: c}",
            json!({"proxy": "http://p", "certSecretRef": {"name": "c"}}),
        ),
        // NC-COMPAT-008
        (
            "Receiver",
            "v1beta2",
            "type: github, events: [push], secretRef: {name: s}, resources: [{kind: Bucket, name: a}]",
            json!({"events": ["push"], "secretRef": {"name": "s"}}),
        ),
        // NC-COMPAT-009
        (
            "Receiver",
            "v1beta1",
            "type: generic, secretRef: {name: s}, resources: [{kind: Bucket, name: a}]",
            json!({"type": "generic"}),
        ),
    ] {
        let made = apply(&namespace, version, kind, spec).await;
        made.map_err(|error| kind_tests::Failure::new(format!("{kind} {version}: {error}")))?;
        let read = match kind {
            "Alert" => ALERT,
            "Provider" => PROVIDER,
            _ => RECEIVER,
        };
        let found = namespace.get(read, "made").await?.unwrap_or_default();
        ensure!(found["apiVersion"] == format!("{GROUP}/v1"), "{found}");
        for (name, value) in fields.as_object().into_iter().flatten() {
            ensure!(
                found["spec"][name] == *value,
                "{kind} {version} {name}: {found}"
            );
        }
        namespace.delete(read, "made").await?;
        namespace.wait_gone(read, "made").await?;
    }
    // NC-COMPAT-011, NC-COMPAT-001: what is left of a status in storage does not matter, and is not shown
    let yaml = format!(
        "{{apiVersion: {GROUP}/v1beta2, kind: Alert, metadata: {{name: made}}, spec: {{providerRef: {{name: p}}, eventSources: [{{kind: Bucket, name: a}}]}}}}"
    );
    namespace.apply(&yaml).await?;
    let older = Kind("notification.toolkit.fluxcd.io/v1beta2", "Alert");
    let status = json!({"observedGeneration": 3});
    namespace.set_status(older, "made", status).await?;
    let found = namespace.get(ALERT, "made").await?.unwrap_or_default();
    ensure!(found.get("status").is_none(), "{found}");
    Ok(())
}
