//! Admission policies that refuse objects of a scenario's namespace.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use std::time::Duration;

use kind_tests::{CONFIG_MAP, Failure, Kind, Namespace, Result};
use kube::api::{Patch, PatchParams};
use serde_json::json;

const POLICY: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
);
const BINDING: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
);

/// What the API server says about refused objects.
pub(crate) const MESSAGE: &str = "not today";

/// A policy of the real API server that refuses the ConfigMaps of a namespace for which an expression is false.
pub(crate) struct Refusal<'n> {
    namespace: &'n Namespace,
    name: String,
    refused: serde_json::Value,
}

impl<'n> Refusal<'n> {
    /// Refuses ConfigMaps for which `allowed`, in CEL, is false, of which `refused` is one, with `quoted` in the message.
    /// Returns once it has effect.
    pub(crate) async fn start(
        namespace: &'n Namespace,
        allowed: &str,
        quoted: &str,
        refused: serde_json::Value,
    ) -> Result<Self> {
        let name = format!("refuse-{}", namespace.name());
        let policy = json!({
            "apiVersion": POLICY.0, "kind": POLICY.1, "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name()}},
                    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                        "resources": ["configmaps"]}],
                },
                "validations": [{"expression": allowed, "messageExpression": format!("'{MESSAGE}: ' + {quoted}")}],
            },
        });
        let binding = json!({
            "apiVersion": BINDING.0, "kind": BINDING.1, "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        for object in [policy, binding] {
            namespace.apply(&object.to_string()).await?;
        }
        let refusal = Self {
            namespace,
            name,
            refused,
        };
        refusal.has_effect(true).await?;
        Ok(refusal)
    }

    /// Refuses ConfigMaps whose text begins with this.
    pub(crate) async fn of_text(namespace: &'n Namespace, text: &str) -> Result<Self> {
        let allowed = format!(
            "!has(object.data) || !('text' in object.data) || !object.data['text'].startsWith('{text}')"
        );
        let refused = json!({"data": {"text": text}});
        Self::start(namespace, &allowed, "object.metadata.name", refused).await
    }

    /// The same, and the message quotes the text.
    pub(crate) async fn quoting(namespace: &'n Namespace, text: &str) -> Result<Self> {
        let allowed = format!(
            "!has(object.data) || !('text' in object.data) || !object.data['text'].startsWith('{text}')"
        );
        let refused = json!({"data": {"text": text}});
        Self::start(namespace, &allowed, "object.data['text']", refused).await
    }

    /// Refuses the ConfigMap with this name whatever it is.
    pub(crate) async fn of_name(namespace: &'n Namespace, name: &str) -> Result<Self> {
        let allowed = format!("object.metadata.name != '{name}'");
        let refused = json!({"metadata": {"name": name}});
        Self::start(namespace, &allowed, "object.metadata.name", refused).await
    }

    /// Leaves it to the end of the namespace, without which it refuses nothing.
    pub(crate) fn keep(self) {
        drop(self);
    }

    /// Ends it. Returns once it has no effect any more.
    pub(crate) async fn lift(self) -> Result {
        self.namespace.delete(BINDING, &self.name).await?;
        self.namespace.delete(POLICY, &self.name).await?;
        self.has_effect(false).await
    }

    /// Waits until the server refuses, or does not refuse, an object that it asks about.
    async fn has_effect(&self, wanted: bool) -> Result {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        object["data"] = self.refused["data"].clone();
        let name = self.refused["metadata"]["name"]
            .as_str()
            .unwrap_or("refusal-probe");
        object["metadata"]["name"] = name.into();
        let api = self.namespace.api(CONFIG_MAP).await?;
        let params = PatchParams::apply("refusal-probe").dry_run().force();
        let asking = async {
            loop {
                match api.patch(name, &params, &Patch::Apply(&object)).await {
                    Ok(_) if !wanted => return Ok(()),
                    Err(kube::Error::Api(status)) if status.message.contains(MESSAGE) => {
                        if wanted {
                            return Ok(());
                        }
                    }
                    Ok(_) => {}
                    Err(error) => return Err(Failure::from(error)),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let goal = format!("the policy {} has effect: {wanted}", self.name);
        self.namespace.wait_for(&goal, asking).await?
    }
}
