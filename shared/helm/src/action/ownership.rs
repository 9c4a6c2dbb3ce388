//! Ownership of objects: which release an object belongs to.

use flux_yaml::{Map, Value};

use super::objects::text_map;
use super::{Object, ObjectError, Scope, objects};
use crate::Release;
use crate::text::quote;

/// The label of objects of any release, with the value `Helm`.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The annotation with the release's name.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// The annotation with the release's namespace.
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

const HELM: &str = "Helm";

/// The release that objects belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The release's name.
    pub name: &'a str,
    /// The release's namespace.
    pub namespace: &'a str,
}

/// An object exists and does not belong to the release. The text is Helm's (HE-ACT-008).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{object} exists and cannot be imported into the current release: invalid ownership metadata; {}",
    findings.join("; ")
)]
pub struct NotOwned {
    /// The object.
    pub object: String,
    /// The missing or different label and annotations.
    pub findings: Vec<String>,
}

impl<'a> Owner<'a> {
    /// The release of a record.
    pub fn of(record: &'a Release) -> Self {
        Self {
            name: &record.name,
            namespace: &record.namespace,
        }
    }

    /// Sets the label and annotations of this release on an object (HE-ACT-007), for requests only: the stored manifest has
    /// none of them. As in upstream, labels or annotations are lost here if any value is not text.
    pub fn stamp(&self, object: &mut Object) {
        merge(&mut object.value, "labels", &[(MANAGED_BY, HELM)]);
        let annotations = [
            (RELEASE_NAME, self.name),
            (RELEASE_NAMESPACE, self.namespace),
        ];
        merge(&mut object.value, "annotations", &annotations);
    }

    /// Checks that the `live` object in place of `object` belongs to this release (HE-ACT-008). Callers that take ownership
    /// of all objects skip this (HE-ACT-009).
    ///
    /// # Errors
    /// The object belongs to another release or to none.
    pub fn check(&self, object: &Object, live: &Value) -> Result<(), NotOwned> {
        let labels = text_map(live, "labels").unwrap_or_default();
        let annotations = text_map(live, "annotations").unwrap_or_default();
        let findings: Vec<String> = [
            ("label", &labels, MANAGED_BY, HELM),
            ("annotation", &annotations, RELEASE_NAME, self.name),
            (
                "annotation",
                &annotations,
                RELEASE_NAMESPACE,
                self.namespace,
            ),
        ]
        .into_iter()
        .filter_map(|(what, map, key, wanted)| {
            let found = map.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
            let finding = lacking(key, wanted, found)?;
            Some(format!("{what} validation error: {finding}"))
        })
        .collect();
        if findings.is_empty() {
            return Ok(());
        }
        Err(NotOwned {
            object: object.to_string(),
            findings,
        })
    }

    /// Whether a live object is marked as another release's.
    pub fn is_anothers(&self, live: &Value) -> bool {
        let annotations = text_map(live, "annotations").unwrap_or_default();
        let differs =
            |key: &str, own: &str| annotations.iter().any(|(k, v)| *k == key && *v != own);
        differs(RELEASE_NAME, self.name) || differs(RELEASE_NAMESPACE, self.namespace)
    }
}

/// The target objects of a record: those of its manifest, as [`super::objects`] returns them, with the metadata that marks
/// their ownership (HE-ACT-007).
///
/// # Errors
/// As [`super::objects`].
pub fn target_objects(
    record: &Release,
    scope: &dyn Fn(&str, &str) -> Option<Scope>,
) -> Result<Vec<Object>, ObjectError> {
    let mut objects = objects(&record.manifest, &record.namespace, scope)?;
    let owner = Owner::of(record);
    for object in &mut objects {
        owner.stamp(object);
    }
    Ok(objects)
}

fn lacking(key: &str, wanted: &str, found: Option<&str>) -> Option<String> {
    let (key, must) = (quote(key), quote(wanted));
    match found {
        None => Some(format!("missing key {key}: must be set to {must}")),
        Some(found) if found != wanted => {
            let found = quote(found);
            Some(format!(
                "key {key} must equal {must}: current value is {found}"
            ))
        }
        Some(_) => None,
    }
}

fn merge(value: &mut Value, field: &str, entries: &[(&str, &str)]) {
    let mut merged: Map = text_map(value, field)
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect();
    for (key, text) in entries {
        merged.insert((*key).to_owned(), Value::from(*text));
    }
    let Value::Map(map) = value else { return };
    let metadata = map.entry("metadata".to_owned()).or_insert_with(Value::map);
    if let Value::Map(metadata) = metadata {
        metadata.insert(field.to_owned(), Value::Map(merged));
    }
}

/// The annotation that protects objects from deletion.
pub struct ResourcePolicy;

impl ResourcePolicy {
    /// Its key.
    pub const ANNOTATION: &'static str = "helm.sh/resource-policy";
    /// The only value with an effect.
    pub const KEEP: &'static str = "keep";

    /// Whether a live object that is no longer in the manifest is kept (HE-KUBE-017): the value is compared exactly.
    pub fn keeps(live: &Value) -> bool {
        let annotations = text_map(live, "annotations").unwrap_or_default();
        annotations.contains(&(Self::ANNOTATION, Self::KEEP))
    }
}
