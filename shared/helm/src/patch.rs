//! The patch by which an upgrade without server-side apply changes a live object: the changes of the manifest since the
//! last release, and the reversal of changes that others made to the same fields (HE-KUBE-009, HE-KUBE-010).

mod merge;
mod strategic;
mod types;

use flux_yaml::json::{self, Escape};
use flux_yaml::{Map, Value};

/// A patch and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The patch's type.
    pub kind: PatchKind,
    /// The patch as JSON.
    pub body: String,
}

impl Patch {
    /// Whether the patch changes nothing, so that it is not sent (HE-KUBE-010).
    pub fn is_empty(&self) -> bool {
        self.body == "{}"
    }
}

/// The type of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// Lists merge by the keys of their items: built-in kinds.
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

/// Why no patch can be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// An item of a mergeable list lacks its key.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The fields of the item.
        item: String,
        /// The key.
        key: String,
    },
    /// A mergeable list has items of different types.
    #[error("list element types are not identical")]
    MixedList,
    /// A mergeable list has lists as items.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// A list that merges by key has an item that is not an object.
    #[error("expected an object in a list that merges by {0}")]
    NotAnObject(String),
    /// A mergeable list has a duplicate item, so that its order is undefined.
    #[error("the order in the patch of {0} does not match the order of the list")]
    Order(String),
    /// A manifest has a directive that is only allowed in patches.
    #[error("invalid value for special key: {0}")]
    Directive(String),
    /// The patch would change the identity of an object.
    #[error("precondition failed: at least one field was changed: apiVersion, kind or name")]
    Identity,
    /// One patch removes a field that the other sets.
    #[error("patch: {0} is removed and set at once")]
    Conflict(String),
}

/// Computes the patch that changes `live` from `old` to `new`. For built-in kinds this is a strategic three-way merge. For
/// other kinds it is the difference between `old` and `new`, so that changes of others are kept; with `three_way` (an
/// adopted object) they are reverted as well.
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
