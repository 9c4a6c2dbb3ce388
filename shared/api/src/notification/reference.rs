//! References to objects that send events or are triggered by webhooks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::string_enum;

/// References objects of a Flux kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CrossNamespaceObjectReference {
    /// API group and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind.
    pub kind: FluxKind,
    /// Labels of the objects; only with the name `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Name, or `*` for every object of the kind in the namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace; the referring object's own where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub namespace: Option<String>,
}

string_enum! {
    /// The kinds that send and receive notifications.
    FluxKind {
        /// Bucket.
        Bucket = "Bucket",
        /// GitRepository.
        GitRepository = "GitRepository",
        /// Kustomization.
        Kustomization = "Kustomization",
        /// HelmRelease.
        HelmRelease = "HelmRelease",
        /// HelmChart.
        HelmChart = "HelmChart",
        /// HelmRepository.
        HelmRepository = "HelmRepository",
        /// ImageRepository.
        ImageRepository = "ImageRepository",
        /// ImagePolicy.
        ImagePolicy = "ImagePolicy",
        /// ImageUpdateAutomation.
        ImageUpdateAutomation = "ImageUpdateAutomation",
        /// OCIRepository.
        OCIRepository = "OCIRepository",
        /// ArtifactGenerator.
        ArtifactGenerator = "ArtifactGenerator",
        /// ExternalArtifact.
        ExternalArtifact = "ExternalArtifact",
    }
}
