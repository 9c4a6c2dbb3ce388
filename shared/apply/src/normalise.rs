//! Normalises manifests into the form in which they are applied.
//!
//! Upstream sends every object of a kind that its Go client knows through that kind's Go type and back (KC-SSA-003).
//! Applying a field makes the applier its manager, so what Go adds (`strategy: {}`, `resources: {}`) and what it drops
//! (fields that a kind does not have, empty ones that may be omitted) is reproduced here field for field: an object
//! that upstream has applied is then in sync for us, and vice versa. The types are in a table, `normalise/types.txt`,
//! that is generated from Kubernetes' Go code.

mod convert;
#[cfg(test)]
mod differential;
mod quantity;
mod time;
mod types;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flux_cluster::Object;
use serde_json::{Map, Value, json};

use self::types::{Table, Type};

/// Normalises an object for applying (RT-SSA-002, RT-SSA-003, KC-SSA-003 to 007).
///
/// An object of a built-in kind that does not match its type is unchanged except for `creationTimestamp` and `status`:
/// the API server's message then says what is wrong with it.
pub fn normalise(object: &mut Object) {
    (object.fields_mut().values_mut()).for_each(convert::normalise_numbers);
    let is_rbac = object.api_version() == "rbac.authorization.k8s.io/v1";
    if is_rbac && matches!(object.kind(), "Role" | "ClusterRole") {
        return;
    }
    if let Some(mut fields) = through_its_type(object) {
        default_protocols(object.api_version(), object.kind(), &mut fields);
        if object.api_version() == "v1" && object.kind() == "Secret" {
            encode_string_data(&mut fields);
        }
        *object.fields_mut() = fields;
    }
    let metadata = object.fields_mut().entry("metadata");
    if let Value::Object(metadata) = metadata.or_insert_with(|| json!({})) {
        metadata.insert("creationTimestamp".to_owned(), Value::Null);
    }
    if object.is_crd() {
        remove_unusable_ca_bundle(object);
    } else {
        object.fields_mut().remove("status");
    }
}

/// Removes a CA bundle that the API server would refuse from the conversion webhook of a CustomResourceDefinition
/// (RT-SSA-003, KC-SSA-007).
fn remove_unusable_ca_bundle(object: &mut Object) {
    const PATH: [&str; 5] = ["spec", "conversion", "webhook", "clientConfig", "caBundle"];
    let Some(bundle) = object.at(&PATH).and_then(Value::as_str) else {
        return;
    };
    if bundle.is_empty() || is_usable(bundle) {
        return;
    }
    let config = object
        .fields_mut()
        .get_mut("spec")
        .and_then(|spec| spec.pointer_mut("/conversion/webhook/clientConfig"));
    if let Some(Value::Object(config)) = config {
        config.remove("caBundle");
    }
}

/// Whether a bundle is base64 of at least one certificate in PEM.
fn is_usable(bundle: &str) -> bool {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let Ok(decoded) = BASE64.decode(bundle) else {
        return false;
    };
    let Ok(text) = String::from_utf8(decoded) else {
        return false;
    };
    if text.is_empty() {
        return true;
    }
    let mut blocks = text
        .split(BEGIN)
        .skip(1)
        .map(|block| block.split_once(END).map(|(body, _)| body))
        .peekable();
    let is_certificate = |body: Option<&str>| {
        let body: String = body.unwrap_or_default().split_whitespace().collect();
        // A certificate is a DER sequence.
        BASE64
            .decode(body)
            .is_ok_and(|der| der.first() == Some(&0x30))
    };
    blocks.peek().is_some() && blocks.all(is_certificate)
}

/// The object after a round trip through its type; `None` if the kind is not built in or the object does not match its
/// type.
fn through_its_type(object: &Object) -> Option<Map<String, Value>> {
    let table = Table::get();
    match table.kind(object.api_version(), object.kind())? {
        Type::Struct(number) => table.structure(number, object.fields()).ok(),
        _ => None,
    }
}

/// Ports are merged by number and protocol, so a port without a protocol would be a different one (KC-SSA-004).
fn default_protocols(api_version: &str, kind: &str, fields: &mut Map<String, Value>) {
    let path = match (api_version, kind) {
        ("v1", "Service") => "",
        ("v1", "Pod") => "/containers",
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch/v1", "Job") => "/template/spec/containers",
        ("batch/v1", "CronJob") => "/jobTemplate/spec/template/spec/containers",
        _ => return,
    };
    let spec = fields.get_mut("spec");
    match spec.and_then(|spec| spec.pointer_mut(path)) {
        Some(Value::Array(containers)) => containers.iter_mut().for_each(default_protocols_of),
        Some(service) => default_protocols_of(service),
        None => {}
    }
}

fn default_protocols_of(holder: &mut Value) {
    let ports = holder.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.entry("protocol").or_insert_with(|| "TCP".into());
    }
}

/// The server would do the same, but without releasing the fields of an earlier `stringData` (KC-SSA-004).
fn encode_string_data(secret: &mut Map<String, Value>) {
    let Some(Value::Object(plain)) = secret.remove("stringData") else {
        return;
    };
    let data = secret.entry("data").or_insert_with(|| json!({}));
    if let Value::Object(data) = data {
        for (key, value) in plain {
            if let Value::String(text) = value {
                data.insert(key, convert::encode(text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use flux_cluster::Object;
    use serde_json::{Value, json};

    use super::{BASE64, normalise};

    fn normalised(value: Value) -> Value {
        let mut object = Object::new(value).unwrap();
        normalise(&mut object);
        object.into_value()
    }

    // RT-SSA-002
    #[test]
    fn manifests_are_normalised() {
        for (what, given, want) in [
            // KC-SSA-003
            (
                "fields that the kind does not have go, Go's empty ones come, ports get a protocol, init containers' do not",
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
                    "spec": { "replica": 3, "selector": {}, "template": { "spec": {
                        "containers": [{ "name": "c", "ports": [{ "containerPort": 80 }, { "containerPort": 53, "protocol": "UDP" }] }],
                        "initContainers": [{ "name": "i", "ports": [{ "containerPort": 81 }] }],
                    }}},
                    "status": { "replicas": 1 },
                }),
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": { "name": "web", "creationTimestamp": null },
                    "spec": { "selector": {}, "strategy": {}, "template": { "metadata": {}, "spec": {
                        "containers": [{ "name": "c", "resources": {}, "ports": [
                            { "containerPort": 80, "protocol": "TCP" }, { "containerPort": 53, "protocol": "UDP" },
                        ]}],
                        "initContainers": [{ "name": "i", "resources": {}, "ports": [{ "containerPort": 81 }] }],
                    }}},
                }),
            ),
            (
                "what is empty goes where Go leaves it out, and stays where it is set by a pointer",
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": {} },
                    "spec": { "replicas": 0, "paused": false, "minReadySeconds": 0, "selector": {},
                        "template": { "metadata": { "creationTimestamp": "0001-01-01T00:00:00Z" }, "spec": {
                        "hostNetwork": false, "nodeSelector": {}, "tolerations": [], "priorityClassName": "",
                        "automountServiceAccountToken": false, "containers": null,
                    }}},
                }),
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "creationTimestamp": null },
                    "spec": { "replicas": 0, "selector": {}, "strategy": {}, "template": { "metadata": {}, "spec": {
                        "automountServiceAccountToken": false, "containers": null,
                    }}},
                }),
            ),
            (
                "an object that does not match its type stays",
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
                    "spec": { "odd": true, "sessionAffinity": 5, "ports": [{ "port": 80 }] }, "status": {},
                }),
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "creationTimestamp": null },
                    "spec": { "odd": true, "sessionAffinity": 5, "ports": [{ "port": 80 }] },
                }),
            ),
            (
                "a Secret whose plain data is not text stays, so that the server refuses it",
                json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "HOST": "h", "PORT": 8080 },
                }),
                json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "creationTimestamp": null },
                    "stringData": { "HOST": "h", "PORT": 8080 },
                }),
            ),
            // KC-SSA-004
            (
                "plain Secret data is encoded over what is there",
                json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
                    "data": { "a": "b2xk", "b": "b2xk" }, "stringData": { "a": "new" },
                }),
                json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "creationTimestamp": null },
                    "data": { "a": "bmV3", "b": "b2xk" },
                }),
            ),
            // KC-SSA-006
            (
                "roles stay as they are",
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "r" },
                    "rules": [{ "verbs": null, "odd": 1 }], "status": {},
                }),
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "r" },
                    "rules": [{ "verbs": null, "odd": 1 }], "status": {},
                }),
            ),
            // KC-SSA-005
            (
                "custom resources lose their status only",
                json!({ "apiVersion": "x.io/v1", "kind": "Thing", "metadata": { "name": "t" }, "any": { "x": [1.5] }, "status": 1 }),
                json!({ "apiVersion": "x.io/v1", "kind": "Thing", "metadata": { "name": "t", "creationTimestamp": null }, "any": { "x": [1.5] } }),
            ),
            (
                "definitions keep their status",
                json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "t" }, "status": {} }),
                json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                    "metadata": { "name": "t", "creationTimestamp": null }, "status": {} }),
            ),
        ] {
            assert_eq!(normalised(given), want, "{what}");
        }
    }

    #[test]
    fn normalising_is_idempotent() {
        let cron_job = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "j", "labels": { "a": "b" } },
            "spec": { "schedule": "@daily", "jobTemplate": { "spec": { "template": { "spec": {
                "containers": [{ "name": "c", "image": "i", "resources": { "limits": { "cpu": "100m" } }, "ports": [{ "containerPort": 1 }] }],
            }}}}},
        });
        let once = normalised(cron_job);
        let port =
            once.pointer("/spec/jobTemplate/spec/template/spec/containers/0/ports/0/protocol");
        assert_eq!(port, Some(&json!("TCP")));
        assert_eq!(normalised(once.clone()), once);
    }

    // RT-SSA-003 KC-SSA-007
    #[test]
    fn a_ca_bundle_that_the_server_would_refuse_is_removed() {
        let pem = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        for (bundle, stays) in [
            (BASE64.encode(pem), true),
            (BASE64.encode("no certificate"), false),
            (
                BASE64.encode("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----"),
                false,
            ),
            ("Cg==".to_owned(), false),
            ("not base64!".to_owned(), false),
            (String::new(), true),
        ] {
            let mut object = Object::new(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "t" },
                "spec": { "conversion": { "webhook": { "clientConfig": { "caBundle": bundle, "url": "u" } } } },
            }))
            .unwrap();
            normalise(&mut object);
            let config = object
                .at(&["spec", "conversion", "webhook", "clientConfig"])
                .unwrap();
            assert_eq!(config.get("caBundle").is_some(), stays, "{bundle}");
            assert_eq!(config["url"], "u");
        }
    }
}
