//! The patch by which an upgrade without server-side apply changes a live object: what the manifest changed since the last
//! release, and what somebody else changed of that (HE-KUBE-009, HE-KUBE-010).

mod merge;
mod strategic;
mod types;

use flux_yaml::json::{self, Escape};
use flux_yaml::{Map, Value};

/// A patch and how the API server is to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The patch's type.
    pub kind: PatchKind,
    /// The patch in JSON.
    pub body: String,
}

impl Patch {
    /// Whether it changes nothing, and so is not sent (HE-KUBE-010).
    pub fn is_empty(&self) -> bool {
        self.body == "{}"
    }
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// Lists merge by their items' keys: built-in kinds.
    Strategic,
    /// Lists are replaced: all other kinds.
    Merge,
}

impl PatchKind {
    /// The request's content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Merge => "application/merge-patch+json",
        }
    }
}

/// Why there is no patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// An item of a list that merges lacks its key.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The names of what the item has.
        item: String,
        /// The key.
        key: String,
    },
    /// A list that merges holds things of different types.
    #[error("list element types are not identical")]
    MixedList,
    /// A list that merges holds lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// A list that merges by key holds something else than objects.
    #[error("expected an object in a list that merges by {0}")]
    NotAnObject(String),
    /// A list that merges holds something twice, which has no order.
    #[error("the order in the patch of {0} does not match the order of the list")]
    Order(String),
    /// A directive that belongs into patches stands in a manifest and means nothing.
    #[error("invalid value for special key: {0}")]
    Directive(String),
    /// Apply would change what an object is.
    #[error("precondition failed: at least one field was changed: apiVersion, kind or name")]
    Identity,
    /// One patch removes what the other sets.
    #[error("patch: {0} is removed and set at once")]
    Conflict(String),
}

/// Makes the patch that brings `live` from `old` to `new`. Built-in kinds get a strategic merge of all three. Other kinds get
/// what changed from `old` to `new`, so that what others changed stays; with `three_way` (an adopted object) that is
/// taken back as well.
///
/// # Errors
/// [`PatchError`]
pub fn create_patch(
    old: &Value,
    new: &Value,
    live: &Value,
    three_way: bool,
) -> Result<Patch, PatchError> {
    let empty = Map::new();
    let [old_map, new_map, live_map] =
        [old, new, live].map(|value| value.as_map().unwrap_or(&empty));
    let text = |key: &str| new.get(key).and_then(Value::as_str).unwrap_or_default();
    let (kind, patch) = match types::of(text("apiVersion"), text("kind")) {
        Some(known) => (
            PatchKind::Strategic,
            strategic::three_way(old_map, new_map, live_map, known)?,
        ),
        None if three_way => (
            PatchKind::Merge,
            merge::three_way(old_map, new_map, live_map)?,
        ),
        None => (PatchKind::Merge, merge::difference(old_map, new_map)),
    };
    let mut value = Value::Map(patch);
    value.sort_keys();
    let body = json::to_string(&value, Escape::Html).unwrap_or_default();
    Ok(Patch { kind, body })
}
