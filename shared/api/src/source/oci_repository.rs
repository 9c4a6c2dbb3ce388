//! `OCIRepository`: an artifact in an OCI registry.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{
    Artifact, Condition, GoDuration, LocalObjectReference, flux_status, string_enum,
};
use crate::schema::{INTERVAL, TIMEOUT};

/// An artifact in an OCI registry, and which version of it to fetch.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "OCIRepository",
    plural = "ocirepositories",
    shortname = "ocirepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    namespaced,
    status = "OCIRepositoryStatus",
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OCIRepositorySpec {
    /// Secret with the CA certificate (`ca.crt`) and client certificate (`tls.crt`, `tls.key`) for the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Patterns, in .gitignore syntax, of files to exclude. Defaults to the controller's own list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Use plain HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// How often to look for a new version. Required, by a rule of the definition (SC-OCI-085).
    #[serde(default, skip_serializing_if = "GoDuration::is_zero")]
    #[schemars(regex(pattern = INTERVAL))]
    pub interval: GoDuration,
    /// Which layer to take; the first where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_selector: Option<OCILayerSelector>,
    /// Where credentials come from: generic means the Secret, the others name a cloud whose identity is used; generic
    /// where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<OCIProvider>,
    /// Secret with the address and credentials of a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// Which version to fetch; the tag `latest` where absent.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<OCIRepositoryRef>,
    /// Secret of type kubernetes.io/dockerconfigjson with the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// ServiceAccount whose image pull secrets, or whose cloud identity, are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Stop reconciling.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How long one operation with the registry may take; 60s where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = TIMEOUT))]
    pub timeout: Option<GoDuration>,
    /// Address of the artifact, `oci://<host>/<organisation>/<name>`, without tag. Required, by a rule of the definition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = "^oci://.*$"))]
    pub url: String,
    /// Which signatures to require.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<OCIRepositoryVerification>,
}

string_enum! {
    /// Where the credentials of a registry come from.
    OCIProvider {
        /// From the Secret.
        Generic = "generic",
        /// From AWS (ECR).
        Aws = "aws",
        /// From Azure (ACR).
        Azure = "azure",
        /// From Google Cloud (Artifact Registry).
        Gcp = "gcp",
    }
}

/// Which version to fetch: a digest takes precedence over a version range, the range over a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OCIRepositoryRef {
    /// Digest of the manifest, `sha256:<hex>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Range of versions; the highest matching tag is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// Regular expression that a tag must match before its version is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semver_filter: Option<String>,
    /// Tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Which layer of an artifact to use, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OCILayerSelector {
    /// Media type of the layer; the first layer of that type is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What to do with the layer; extract where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OCILayerOperation>,
}

string_enum! {
    /// What to do with a layer.
    OCILayerOperation {
        /// Unpack it, and pack it again with the ignore rules applied.
        Extract = "extract",
        /// Keep it unchanged.
        Copy = "copy",
    }
}

/// Requires a signature, by a key or by an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OCIRepositoryVerification {
    /// Identities that may have signed without a key; one match is enough.
    #[serde(
        rename = "matchOIDCIdentity",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub match_oidc_identity: Vec<OIDCIdentityMatch>,
    /// The signature scheme.
    #[schemars(extend("default" = "cosign"))]
    pub provider: OCIVerificationProvider,
    /// Secret with the public keys or the trust policy of the trusted signers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Secret with a Sigstore trusted root, for signatures made with private instances of its services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// Regular expressions for the identity in a signing certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OIDCIdentityMatch {
    /// Pattern for the issuer.
    pub issuer: String,
    /// Pattern for the subject.
    pub subject: String,
}

string_enum! {
    /// A signature scheme.
    OCIVerificationProvider {
        /// Sigstore cosign.
        Cosign = "cosign",
        /// Notary Project.
        Notation = "notation",
    }
}

/// The observed state of an OCIRepository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OCIRepositoryStatus {
    /// The last artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The state of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The last generation that was reconciled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The ignore patterns of the last artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// The layer selector of the last artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_layer_selector: Option<OCILayerSelector>,
    /// Digest of the keys and rules that the signature was verified with (SC-VER-060).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_verification_fingerprint: Option<String>,
    /// Stable address of the last artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

flux_status!(OCIRepositoryStatus);
