//! Brings manifests into the form in which they are applied.
//!
//! Upstream sends every object of a kind that its Go client knows through that kind's Go type and back. What that shows
//! outside is done here with `k8s-openapi`'s types: fields that a kind does not have are dropped (KC-SSA-003). The empty
//! fields that Go adds (`strategy: {}`, `resources: {}`) are not: they change nothing but who manages them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling, batch::v1 as batch,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
    networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Object;

/// Brings an object into the form in which it is applied (RT-SSA-002, KC-SSA-003 to 006).
pub fn normalise(object: &mut Object) {
    let is_rbac = object.api_version() == "rbac.authorization.k8s.io/v1";
    if is_rbac && matches!(object.kind(), "Role" | "ClusterRole") {
        return;
    }
    if let Some(typed) = through_its_type(object) {
        *object = typed;
    }
    default_protocols(object);
    if object.is_secret() {
        encode_string_data(object);
    }
    if let Some(Value::Object(metadata)) = object.fields_mut().get_mut("metadata") {
        metadata.insert("creationTimestamp".to_owned(), Value::Null);
    }
    if !object.is_crd() {
        object.fields_mut().remove("status");
    }
}

/// Removes a CA bundle that the API server would refuse from the conversion webhook of a CustomResourceDefinition
/// (RT-SSA-003, KC-SSA-007).
pub fn remove_unusable_ca_bundle(object: &mut Object) {
    const PATH: [&str; 5] = ["spec", "conversion", "webhook", "clientConfig", "caBundle"];
    let Some(bundle) = object.at(&PATH).and_then(Value::as_str) else {
        return;
    };
    if !object.is_crd() || bundle.is_empty() || is_usable(bundle) {
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

fn round_trip<T: DeserializeOwned + Serialize>(object: &Object) -> Option<Object> {
    let typed: T = serde_json::from_value(object.to_value()).ok()?;
    Object::new(serde_json::to_value(typed).ok()?)
}

/// The object as its type holds it; nothing where the kind is not known or the object does not fit its type.
fn through_its_type(object: &Object) -> Option<Object> {
    let convert = match (object.api_version(), object.kind()) {
        ("v1", "ConfigMap") => round_trip::<core::ConfigMap>,
        ("v1", "Endpoints") => round_trip::<core::Endpoints>,
        ("v1", "LimitRange") => round_trip::<core::LimitRange>,
        ("v1", "Namespace") => round_trip::<core::Namespace>,
        ("v1", "PersistentVolume") => round_trip::<core::PersistentVolume>,
        ("v1", "PersistentVolumeClaim") => round_trip::<core::PersistentVolumeClaim>,
        ("v1", "Pod") => round_trip::<core::Pod>,
        ("v1", "PodTemplate") => round_trip::<core::PodTemplate>,
        ("v1", "ReplicationController") => round_trip::<core::ReplicationController>,
        ("v1", "ResourceQuota") => round_trip::<core::ResourceQuota>,
        ("v1", "Secret") => round_trip::<core::Secret>,
        ("v1", "Service") => round_trip::<core::Service>,
        ("v1", "ServiceAccount") => round_trip::<core::ServiceAccount>,
        ("apps/v1", "DaemonSet") => round_trip::<apps::DaemonSet>,
        ("apps/v1", "Deployment") => round_trip::<apps::Deployment>,
        ("apps/v1", "ReplicaSet") => round_trip::<apps::ReplicaSet>,
        ("apps/v1", "StatefulSet") => round_trip::<apps::StatefulSet>,
        ("batch/v1", "CronJob") => round_trip::<batch::CronJob>,
        ("batch/v1", "Job") => round_trip::<batch::Job>,
        ("autoscaling/v1", "HorizontalPodAutoscaler") => {
            round_trip::<autoscaling::v1::HorizontalPodAutoscaler>
        }
        ("autoscaling/v2", "HorizontalPodAutoscaler") => {
            round_trip::<autoscaling::v2::HorizontalPodAutoscaler>
        }
        ("networking.k8s.io/v1", "Ingress") => round_trip::<networking::Ingress>,
        ("networking.k8s.io/v1", "IngressClass") => round_trip::<networking::IngressClass>,
        ("networking.k8s.io/v1", "NetworkPolicy") => round_trip::<networking::NetworkPolicy>,
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => round_trip::<rbac::RoleBinding>,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            round_trip::<rbac::ClusterRoleBinding>
        }
        ("policy/v1", "PodDisruptionBudget") => round_trip::<policy::PodDisruptionBudget>,
        ("storage.k8s.io/v1", "StorageClass") => round_trip::<storage::StorageClass>,
        ("storage.k8s.io/v1", "CSIDriver") => round_trip::<storage::CSIDriver>,
        ("scheduling.k8s.io/v1", "PriorityClass") => round_trip::<scheduling::PriorityClass>,
        ("node.k8s.io/v1", "RuntimeClass") => round_trip::<node::RuntimeClass>,
        ("coordination.k8s.io/v1", "Lease") => round_trip::<coordination::Lease>,
        ("discovery.k8s.io/v1", "EndpointSlice") => round_trip::<discovery::EndpointSlice>,
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
            round_trip::<admission::MutatingWebhookConfiguration>
        }
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration") => {
            round_trip::<admission::ValidatingWebhookConfiguration>
        }
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => {
            round_trip::<admission::ValidatingAdmissionPolicy>
        }
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
            round_trip::<admission::ValidatingAdmissionPolicyBinding>
        }
        _ => return None,
    };
    convert(object)
}

/// Ports are merged by number and protocol, so one without a protocol would be another port (KC-SSA-004).
fn default_protocols(object: &mut Object) {
    let lists = match (object.api_version(), object.kind()) {
        ("v1", "Service") => vec!["/spec"],
        ("v1", "Pod") => vec!["/spec/containers"],
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch/v1", "Job") => {
            vec!["/spec/template/spec/containers"]
        }
        ("batch/v1", "CronJob") => vec!["/spec/jobTemplate/spec/template/spec/containers"],
        _ => return,
    };
    for path in lists {
        let path = path.strip_prefix("/spec").unwrap_or(path);
        let Some(holders) = object
            .fields_mut()
            .get_mut("spec")
            .and_then(|spec| spec.pointer_mut(path))
        else {
            continue;
        };
        match holders {
            Value::Array(containers) => containers.iter_mut().for_each(default_protocols_of),
            service => default_protocols_of(service),
        }
    }
}

fn default_protocols_of(holder: &mut Value) {
    let ports = holder.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if port
            .get("protocol")
            .is_none_or(|protocol| protocol.is_null() || protocol == "")
        {
            port.insert("protocol".to_owned(), json!("TCP"));
        }
    }
}

/// The server would do the same, but without giving up the fields of an earlier `stringData`.
fn encode_string_data(object: &mut Object) {
    let Some(Value::Object(plain)) = object.fields_mut().remove("stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    let data = object
        .fields_mut()
        .entry("data")
        .or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    if let Value::Object(data) = data {
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, Value::String(BASE64.encode(text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::{Value, json};

    use super::{BASE64, normalise, remove_unusable_ca_bundle};
    use crate::Object;

    fn normalised(value: Value) -> Value {
        let mut object = Object::new(value).unwrap();
        normalise(&mut object);
        object.into_value()
    }

    // RT-SSA-002 KC-SSA-003 KC-SSA-004 KC-SSA-005 KC-SSA-006
    #[test]
    fn manifests_are_brought_into_form() {
        for (what, given, want) in [
            (
                "a field that the kind does not have goes, ports get a protocol, init containers' do not",
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
                    "spec": { "selector": {}, "template": { "spec": {
                        "containers": [{ "name": "c", "ports": [
                            { "containerPort": 80, "protocol": "TCP" }, { "containerPort": 53, "protocol": "UDP" },
                        ]}],
                        "initContainers": [{ "name": "i", "ports": [{ "containerPort": 81 }] }],
                    }}},
                }),
            ),
            (
                "an object that does not fit its type stays, protocols aside",
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
                    "spec": { "odd": true, "sessionAffinity": 5, "ports": [{ "port": 80 }] },
                }),
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "creationTimestamp": null },
                    "spec": { "odd": true, "sessionAffinity": 5, "ports": [{ "port": 80, "protocol": "TCP" }] },
                }),
            ),
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
    fn normalising_again_changes_nothing() {
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
    fn a_bundle_that_the_server_would_refuse_is_removed() {
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
            remove_unusable_ca_bundle(&mut object);
            let config = object
                .at(&["spec", "conversion", "webhook", "clientConfig"])
                .unwrap();
            assert_eq!(config.get("caBundle").is_some(), stays, "{bundle}");
            assert_eq!(config["url"], "u");
        }
    }
}
