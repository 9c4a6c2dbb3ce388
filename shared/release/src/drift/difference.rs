//! How one object differs from what it should be.

use flux_apply::drift::content;
use flux_apply::ignore::IgnoreRules;
use flux_apply::json_diff::{Operation, OperationKind, json_diff};
use flux_cluster::{Metadata, Object, ObjectId, Resource};
use serde_json::{Map, Value, json};

/// The difference of one object. `Debug` shows no content.
#[derive(Clone)]
pub struct Difference {
    /// What has become of it.
    pub kind: Kind,
    pub(super) desired: Object,
    pub(super) resource: Option<Resource>,
    pub(super) live: Option<Object>,
    pub(super) patch: Vec<Operation>,
}

/// The kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None.
    Unchanged,
    /// The object does not exist.
    Removed,
    /// The object is not compared.
    Excluded,
    /// The number of operations of the patch that would restore it.
    Changed {
        /// Values that are missing.
        additions: usize,
        /// Values that are others.
        changes: usize,
        /// Values that should not be there.
        removals: usize,
    },
}

impl std::fmt::Debug for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.desired.id(), self.kind)
    }
}

impl Difference {
    /// The object.
    pub fn object(&self) -> &ObjectId {
        self.desired.id()
    }

    /// Whether the object is missing or has changed.
    pub fn is_change(&self) -> bool {
        use Kind::{Changed, Removed};
        matches!(self.kind, Removed | Changed { .. })
    }

    /// The line about the object in events and conditions; `None` if it is unchanged (HC-DRIFT-013).
    pub(super) fn line(&self) -> Option<String> {
        let object = self.object();
        match self.kind {
            Kind::Unchanged => None,
            Kind::Removed => Some(format!("{object} removed")),
            Kind::Excluded => Some(format!("{object} excluded")),
            Kind::Changed {
                additions,
                changes,
                removals,
            } => Some(format!(
                "{object} changed ({additions} additions, {changes} changes, {removals} removals)"
            )),
        }
    }

    /// The patch that would restore the object, as JSON for the debug log, with the values of a Secret masked
    /// (HC-DRIFT-015). Empty unless the object has changed.
    pub fn patch_for_log(&self) -> Value {
        let is_secret = self.object().group.is_empty() && self.object().kind == "Secret";
        let operations = self.patch.iter().map(|operation| {
            let mut operation = operation.clone();
            if is_secret {
                mask(&mut operation);
            }
            operation.to_json()
        });
        Value::Array(operations.collect())
    }

    pub(super) fn excluded(desired: &Object) -> Self {
        Self::new(Kind::Excluded, desired, None)
    }

    pub(super) fn removed(desired: &Object, resource: Resource) -> Self {
        Self::new(Kind::Removed, desired, Some(resource))
    }

    fn new(kind: Kind, desired: &Object, resource: Option<Resource>) -> Self {
        Self {
            kind,
            desired: desired.clone(),
            resource,
            live: None,
            patch: Vec::new(),
        }
    }

    /// The difference between an object and the result of a dry run of applying it: in labels and annotations, where what
    /// others added counts as no difference, and in everything besides `metadata` and `status` (HC-DRIFT-006..008).
    pub(super) fn between(
        desired: &Object,
        resource: Resource,
        live: Object,
        mut applied: Object,
        rules: &IgnoreRules,
    ) -> Self {
        let mut compared = live.clone();
        for state in [&mut compared, &mut applied] {
            rules.remove_ignored(desired, state);
        }
        let mut patch = json_diff(&marks(&compared), &marks(&applied));
        patch.retain(|operation| operation.kind != OperationKind::Remove);
        let rest = |object: &Object| Value::Object(content(object));
        // Repeated metrics are an error of the dry run only.
        let mut before = compared.into_value();
        if let Value::Object(fields) = &mut before {
            fields.retain(|key, _| !matches!(key.as_str(), "metadata" | "status"));
        }
        patch.extend(json_diff(&before, &rest(&applied)));
        let count = |kind| patch.iter().filter(|each| each.kind == kind).count();
        let kind = if patch.is_empty() {
            Kind::Unchanged
        } else {
            Kind::Changed {
                additions: count(OperationKind::Add),
                changes: count(OperationKind::Replace),
                removals: count(OperationKind::Remove),
            }
        };
        Self {
            kind,
            desired: desired.clone(),
            resource: Some(resource),
            live: Some(live),
            patch,
        }
    }
}

/// The labels and annotations of an object, if it has them, and its name, so that `metadata` is always there.
fn marks(object: &Object) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), object.name().into());
    for part in [Metadata::Labels, Metadata::Annotations] {
        if let Some(marks) = object.metadata(part) {
            metadata.insert(part.key().to_owned(), Value::Object(marks.clone()));
        }
    }
    json!({ "metadata": metadata })
}

const MASK: &str = "***";
const MASK_BEFORE: &str = "*** (before)";
const MASK_AFTER: &str = "*** (after)";

/// Masks the values of a Secret in an operation.
fn mask(operation: &mut Operation) {
    let Operation { path, old, new, .. } = operation;
    let in_values = ["/data", "/stringData"].iter().any(|field| {
        let rest = path.strip_prefix(field);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let whole = matches!(path.as_str(), "/data" | "/stringData");
    if whole && (old.is_object() || new.is_object()) {
        let before = old.clone();
        mask_each(old, new, MASK_BEFORE);
        mask_each(new, &before, MASK_AFTER);
    } else if in_values {
        let both = !old.is_null() && !new.is_null();
        for (value, changed) in [(old, MASK_BEFORE), (new, MASK_AFTER)] {
            if !value.is_null() {
                *value = if both { changed } else { MASK }.into();
            }
        }
    }
}

/// Masks each value of a map: as `changed` if `other` has another value for it.
fn mask_each(map: &mut Value, other: &Value, changed: &str) {
    for (key, value) in map.as_object_mut().into_iter().flatten() {
        let differs = other.get(key).is_some_and(|other| *other != *value);
        *value = if differs { changed } else { MASK }.into();
    }
}
