//! `ArtifactGenerator`: composes ExternalArtifacts from the artifacts of other sources.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{CommonMetadata, Condition, flux_status, string_enum};

/// Composes artifacts from the content of other sources.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "source.extensions.fluxcd.io",
    version = "v1beta1",
    kind = "ArtifactGenerator",
    plural = "artifactgenerators",
    shortname = "ag",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    namespaced,
    status = "ArtifactGeneratorStatus",
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": r"has(self.pathPattern) && size(self.pathPattern) > 0 || self.artifacts.all(a, a.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') && a.name.size() <= 253)",
    "message": "artifact names must be valid Kubernetes object names when pathPattern is not set",
}, {
    "rule": "has(self.pathPattern) && size(self.pathPattern) > 0 || self.artifacts.all(a, !has(a.__namespace__) || (a.__namespace__.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && a.__namespace__.size() <= 63))",
    "message": "artifact namespaces must be valid Kubernetes namespaces when pathPattern is not set",
}]))]
pub struct ArtifactGeneratorSpec {
    /// The artifacts to make.
    #[schemars(length(min = 1, max = 1000))]
    pub artifacts: Vec<OutputArtifact>,
    /// Labels and annotations for every ExternalArtifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// The namespaces that the generator makes and owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_namespaces: Option<ManagedNamespaces>,
    /// Pattern of directories in a source, `@alias/...`; each match makes the artifacts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        regex(pattern = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$")
    )]
    pub path_pattern: Option<String>,
    /// ServiceAccount to act as.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub service_account_name: Option<String>,
    /// The sources.
    #[schemars(length(min = 1, max = 1000))]
    pub sources: Vec<SourceReference>,
}

/// One artifact to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct OutputArtifact {
    /// What to copy into it, in this order.
    #[schemars(length(min = 1))]
    pub copy: Vec<CopyOperation>,
    /// YAML file, `@alias/<path>` (alias `artifact`: of what was built), whose content the ExternalArtifact exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$")
    )]
    pub inputs_from: Option<String>,
    /// Name of the ExternalArtifact; with a path pattern it may refer to its captures.
    #[schemars(length(max = 1024))]
    pub name: String,
    /// Namespace of the ExternalArtifact; defaults to the generator's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub namespace: Option<String>,
    /// Source, `@alias`, whose origin revision the artifact carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$")
    )]
    pub origin_revision: Option<String>,
    /// Source, `@alias`, whose revision the artifact carries; a digest of its content where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$")
    )]
    pub revision: Option<String>,
}

/// Copies files of a source into an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CopyOperation {
    /// Patterns of files to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 1024)))]
    pub exclude: Vec<String>,
    /// What to copy, `@alias/<pattern>`.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$")
    )]
    pub from: String,
    /// Continue if nothing matches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What to do if the file exists already; defaults to Overwrite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<CopyStrategy>,
    /// Where to put it, `@artifact/<path>`.
    #[schemars(
        length(min = 1, max = 1024),
        regex(
            pattern = r"^@artifact/([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,})(/([^/]{0,1}|[^./][^/]|[.][^./]|[^/]{3,}))*$"
        )
    )]
    pub to: String,
}

string_enum! {
    /// How a copied file is combined with an existing one.
    CopyStrategy {
        /// Replaces the existing file.
        Overwrite = "Overwrite",
        /// Merges YAML into the existing file.
        Merge = "Merge",
        /// Unpacks an archive.
        Extract = "Extract",
    }
}

/// The namespaces that a generator makes and owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ManagedNamespaces {
    /// CEL expressions over `ns`; a namespace may be created if one of them accepts its name.
    #[schemars(length(min = 1))]
    pub allowed_names: Vec<String>,
    /// Labels and annotations of the namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<NamespaceMetadata>,
    /// Delete namespaces that the generator created and that are no longer generated.
    pub prune: bool,
}

/// Where the labels and annotations of managed namespaces come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "has(self.fromSource) || (has(self.from) && size(self.from) > 0)",
    "message": "either fromSource or at least one from operation must be set",
}]))]
pub struct NamespaceMetadata {
    /// Fixed labels and annotations, applied in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<NamespaceMetadataOperation>,
    /// A file of a source that has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_source: Option<NamespaceMetadataSource>,
}

/// Labels and annotations for the namespaces of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct NamespaceMetadataOperation {
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Name of the namespace, or `*` for all of them.
    #[schemars(
        length(max = 63),
        regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
    )]
    pub namespace: String,
    /// How these are combined with those of the operations before.
    pub strategy: MetadataStrategy,
}

string_enum! {
    /// How labels and annotations are combined with earlier ones.
    MetadataStrategy {
        /// Replaces all earlier ones.
        Reset = "Reset",
        /// Overrides earlier ones of the same key.
        Override = "Override",
        /// Keeps earlier ones of the same key.
        Merge = "Merge",
    }
}

/// A file of a source with labels and annotations, and which of them are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "(has(self.allowedAnnotations) && size(self.allowedAnnotations) > 0) || (has(self.allowedLabels) && size(self.allowedLabels) > 0)",
    "message": "at least one annotation or label must be set",
}]))]
pub struct NamespaceMetadataSource {
    /// Annotations that are taken, each with a CEL expression over its `value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allowed_annotations: BTreeMap<String, String>,
    /// Labels that are taken, each with a CEL expression over its `value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allowed_labels: BTreeMap<String, String>,
    /// The file, `@alias/<path>`.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$")
    )]
    pub path: String,
}

/// Names a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct SourceReference {
    /// Name under which the copy operations know it.
    #[schemars(length(max = 63), regex(pattern = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"))]
    pub alias: String,
    /// Kind of the source.
    pub kind: GeneratorSourceKind,
    /// Name of the source.
    #[schemars(length(max = 253), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// Namespace of the source; defaults to the generator's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
}

string_enum! {
    /// The kinds of source that artifacts can be made of.
    GeneratorSourceKind {
        /// A Bucket.
        Bucket = "Bucket",
        /// A GitRepository.
        GitRepository = "GitRepository",
        /// An OCIRepository.
        OCIRepository = "OCIRepository",
        /// A HelmChart.
        HelmChart = "HelmChart",
        /// An ExternalArtifact.
        ExternalArtifact = "ExternalArtifact",
    }
}

/// What the controller has made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ArtifactGeneratorStatus {
    /// The state of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The ExternalArtifacts and namespaces made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<GeneratedReference>,
    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Digest over the revisions of the sources at the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_sources_digest: Option<String>,
}

flux_status!(ArtifactGeneratorStatus, without observed_generation);

/// An ExternalArtifact or a namespace that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct GeneratedReference {
    /// Digest of the file, or of the namespace's metadata.
    pub digest: String,
    /// Name of the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filename: String,
    /// Kind of the object; ExternalArtifact where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<GeneratedKind>,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

string_enum! {
    /// The kinds of object that a generator makes.
    GeneratedKind {
        /// An ExternalArtifact.
        ExternalArtifact = "ExternalArtifact",
        /// A Namespace.
        Namespace = "Namespace",
    }
}
