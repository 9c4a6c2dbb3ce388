//! What the kinds share: conditions, references, artifacts, inventories, history, selectors and plain values.

mod access;
mod artifact;
mod condition;
mod duration;
mod history;
mod inventory;
mod label_selector;
mod references;
mod selector;
mod status;
mod string_enum;
mod time;

pub use access::{AccessFrom, NamespaceSelector};
pub use artifact::Artifact;
pub use condition::{Condition, ConditionStatus};
pub use duration::{DurationError, GoDuration};
pub use history::Snapshot;
pub use inventory::{ResourceInventory, ResourceRef};
pub use label_selector::{LabelSelector, LabelSelectorRequirement};
pub use references::{
    DependencyReference, KubeConfigReference, LocalObjectReference, NamespacedObjectKindReference,
    NamespacedObjectReference, SecretKeyReference, ValuesKind,
};
pub use selector::{CommonMetadata, CustomHealthCheck, IgnoreRule, Image, Patch, Selector};
pub(crate) use status::flux_status;
pub use status::{FluxObject, FluxStatus};
pub(crate) use string_enum::string_enum;
pub use time::Time;
