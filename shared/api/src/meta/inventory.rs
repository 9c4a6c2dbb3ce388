//! The inventory of applied objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The objects that were applied and can be garbage collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ResourceInventory {
    /// The objects, each once.
    pub entries: Vec<ResourceRef>,
}

/// One object of an inventory (KC-API-041).
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ResourceRef {
    /// `<namespace>_<name>_<group>_<kind>`.
    pub id: String,
    /// API version of the kind, without the group.
    #[serde(rename = "v")]
    pub version: String,
}
