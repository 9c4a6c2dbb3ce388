//! `Receiver`: a webhook that triggers reconciliation.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FluxKind;
use crate::meta::{Condition, GoDuration, LocalObjectReference, flux_status, string_enum};
use crate::schema::INTERVAL;

/// A webhook that triggers the reconciliation of objects.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1",
    kind = "Receiver",
    plural = "receivers",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-notifications",
    namespaced,
    status = "ReceiverStatus",
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [
    {
        "rule": "self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)",
        "message": "generic-oidc receivers must define at least one oidcProvider",
    },
    {
        "rule": "self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0",
        "message": "oidcProviders can only be set when type is generic-oidc",
    },
    {
        "rule": "self.type != 'generic-oidc' || !has(self.secretRef)",
        "message": "secretRef cannot be set when type is generic-oidc",
    },
    {
        "rule": "self.type == 'generic-oidc' || has(self.secretRef)",
        "message": "secretRef is required when type is not generic-oidc",
    },
]))]
pub struct ReceiverSpec {
    /// The kinds of event to react to; their names depend on the sender.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// How often to check the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL), extend("default" = "10m"))]
    pub interval: Option<GoDuration>,
    /// Trusted issuers of the tokens that callers present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["issuerURL"]))]
    pub oidc_providers: Vec<OIDCProvider>,
    /// CEL expression over the object and the request that selects among the resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_filter: Option<String>,
    /// The objects to reconcile.
    pub resources: Vec<ReceiverResource>,
    /// Secret with the token that the path is derived from and requests are checked against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Do nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// The sender.
    #[serde(rename = "type")]
    pub type_: ReceiverType,
}

string_enum! {
    /// A sender of webhooks.
    ReceiverType {
        /// Any client that knows the path.
        Generic = "generic",
        /// Any client that signs the request.
        GenericHmac = "generic-hmac",
        /// Any client with a token of a trusted issuer.
        GenericOidc = "generic-oidc",
        /// GitHub.
        Github = "github",
        /// GitLab.
        Gitlab = "gitlab",
        /// Bitbucket Server.
        Bitbucket = "bitbucket",
        /// Harbor.
        Harbor = "harbor",
        /// Docker Hub.
        DockerHub = "dockerhub",
        /// Quay.
        Quay = "quay",
        /// Google Container Registry, over Pub/Sub.
        Gcr = "gcr",
        /// Nexus.
        Nexus = "nexus",
        /// Azure Container Registry.
        Acr = "acr",
        /// CDEvents.
        Cdevents = "cdevents",
    }
}

/// References objects of a Flux kind and selects among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ReceiverResource {
    /// API group and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// CEL expression over the object and the request that selects among these objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Kind.
    pub kind: FluxKind,
    /// Labels of the objects; only with the name `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Name, or `*` for every object of the kind in the namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace; the Receiver's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub namespace: Option<String>,
}

/// An issuer of tokens, and what its tokens must contain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OIDCProvider {
    /// Audience that the token must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Address of the issuer.
    #[serde(rename = "issuerURL")]
    #[schemars(regex(pattern = "^https?://"))]
    pub issuer_url: String,
    /// Conditions that a token must meet.
    #[schemars(length(min = 1))]
    pub validations: Vec<OIDCValidation>,
    /// Expressions that validations may refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<OIDCVariable>,
}

/// A condition that a token must meet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OIDCValidation {
    /// CEL expression over the claims.
    pub expression: String,
    /// Error message if the token does not meet it.
    pub message: String,
}

/// A named expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OIDCVariable {
    /// CEL expression over the claims.
    pub expression: String,
    /// Name.
    pub name: String,
}

/// The observed state of a Receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ReceiverStatus {
    /// The state of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The last generation that was reconciled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Path that the sender has to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
}

flux_status!(ReceiverStatus);
