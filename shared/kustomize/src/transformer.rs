//! The built-in transformers, one file each.

mod annotations;
mod hash;
mod images;
mod json6902;
mod labels;
pub(crate) mod name_reference;
mod namespace;
mod patch;
mod prefix_suffix;
mod replacement_text;
mod replacements;
mod replicas;
pub(crate) mod sort;
mod strategic_merge;
mod value_add;
pub(crate) mod vars;

pub(crate) use annotations::Annotations;
pub(crate) use hash::Hash;
pub(crate) use images::Images;
pub(crate) use json6902::Json6902;
pub(crate) use labels::Labels;
pub(crate) use namespace::{Namespace, SubjectMode};
pub(crate) use patch::PatchTransformer;
pub(crate) use prefix_suffix::{Prefix, Suffix};
pub(crate) use replacements::Replacements;
pub(crate) use replicas::Replicas;
pub(crate) use strategic_merge::{StrategicMerge, in_file};
pub(crate) use value_add::ValueAdd;

use crate::error::Result;
use crate::resmap::ResMap;
use crate::state::State;

/// A configured transformer.
pub(crate) enum Transformer {
    Annotations(Annotations),
    Hash,
    Images(Images),
    Json6902(Json6902),
    Labels(Labels),
    Namespace(Namespace),
    Patch(PatchTransformer),
    Prefix(Prefix),
    PrefixSuffix(Prefix, Suffix),
    Replacements(Replacements),
    Replicas(Replicas),
    StrategicMerge(StrategicMerge),
    Suffix(Suffix),
    ValueAdd(ValueAdd),
}

impl Transformer {
    /// Its name in messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Annotations(_) => "AnnotationsTransformer",
            Self::Hash => "HashTransformer",
            Self::Images(_) => "ImageTagTransformer",
            Self::Json6902(_) => "PatchJson6902Transformer",
            Self::Labels(_) => "LabelTransformer",
            Self::Namespace(_) => "NamespaceTransformer",
            Self::Patch(_) => "PatchTransformer",
            Self::Prefix(_) => "PrefixTransformer",
            Self::PrefixSuffix(..) => "PrefixSuffixTransformer",
            Self::Replacements(_) => "ReplacementTransformer",
            Self::Replicas(_) => "ReplicaCountTransformer",
            Self::StrategicMerge(_) => "PatchStrategicMergeTransformer",
            Self::Suffix(_) => "SuffixTransformer",
            Self::ValueAdd(_) => "ValueAddTransformer",
        }
    }

    /// Applies it to the objects.
    pub(crate) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        match self {
            Self::Annotations(this) => this.run(map, state),
            Self::Hash => Hash::run(map, state),
            Self::Images(this) => this.run(map, state),
            Self::Json6902(this) => this.run(map, state),
            Self::Labels(this) => this.run(map, state),
            Self::Namespace(this) => this.run(map, state),
            Self::Patch(this) => this.run(map, state),
            Self::Prefix(this) => this.run(map, state),
            Self::PrefixSuffix(prefix, suffix) => {
                prefix.run(map, state)?;
                suffix.run(map, state)
            }
            Self::Replacements(this) => this.run(map, state),
            Self::Replicas(this) => this.run(map, state),
            Self::StrategicMerge(this) => this.run(map, state),
            Self::Suffix(this) => this.run(map, state),
            Self::ValueAdd(this) => this.run(map, state),
        }
    }
}
