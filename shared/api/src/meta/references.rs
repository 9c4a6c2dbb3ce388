//! References to other objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::string_enum;

/// References an object of a known kind in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct LocalObjectReference {
    /// Name of the object.
    pub name: String,
}

/// References an object of a known kind, in the same namespace unless one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct NamespacedObjectReference {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; defaults to the referring object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// References an object of any kind, in the same namespace unless one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct NamespacedObjectKindReference {
    /// API group and version of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; defaults to the referring object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// References a key in a Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct SecretKeyReference {
    /// Key in the Secret; the consumer has its own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name of the Secret.
    pub name: String,
}

/// How to reach another cluster: by a ConfigMap (workload identity) or by a Secret (a kubeconfig).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "has(self.configMapRef) != has(self.secretRef)",
    "message": "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
}]))]
pub struct KubeConfigReference {
    /// ConfigMap with the provider, address and identity to reach the cluster without a stored credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalObjectReference>,
    /// Secret with a kubeconfig, under the key `value` or `value.yaml` unless another is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
}

/// References an object of the same kind that must be ready first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct DependencyReference {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; defaults to the referring object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// CEL expression over `dep` and `self` that decides whether the dependency is ready. It is combined with the
    /// ordinary readiness check or replaces it, depending on the controller's feature gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_expr: Option<String>,
}

/// The text form `[namespace/]name[@readyExpr]` (RT-CON-023).
impl std::fmt::Display for DependencyReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(namespace) = filled(&self.namespace) {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)?;
        match filled(&self.ready_expr) {
            Some(expression) => write!(f, "@{expression}"),
            None => Ok(()),
        }
    }
}

string_enum! {
    /// The kinds of object that values can be read from.
    ValuesKind {
        /// A Secret.
        Secret = "Secret",
        /// A ConfigMap.
        ConfigMap = "ConfigMap",
    }
}

#[cfg(test)]
mod tests {
    use super::DependencyReference;

    #[test]
    fn dependencies_have_a_text_form() {
        // RT-CON-023
        for (namespace, expression, text) in [
            (None, None, "app"),
            (Some("ns"), None, "ns/app"),
            (None, Some("dep.ok"), "app@dep.ok"),
            (Some("ns"), Some("dep.ok"), "ns/app@dep.ok"),
            (Some(""), Some(""), "app"),
        ] {
            let reference = DependencyReference {
                name: "app".into(),
                namespace: namespace.map(str::to_owned),
                ready_expr: expression.map(str::to_owned),
            };
            assert_eq!(reference.to_string(), text);
        }
    }
}
