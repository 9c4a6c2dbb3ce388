//! What happens to the rendered manifests of a HelmRelease.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Image, Patch, string_enum};

string_enum! {
    /// Which part of a release goes through the post-renderers.
    PostRenderStrategy {
        /// All but the hooks.
        NoHooks = "nohooks",
        /// Templates and hooks together.
        Combined = "combined",
        /// Templates and hooks, each on its own.
        Separate = "separate",
    }
}

/// One change to the rendered manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct PostRenderer {
    /// A change made by kustomize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizePostRenderer>,
}

/// Patches and images, as kustomize applies them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct KustomizePostRenderer {
    /// Image names, tags and digests to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Patches to apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
}
