//! Managed namespaces on the cluster: applied, adopted, deleted.

use flux_cluster::managers::{Cleanup, FieldManager, Operation};
use flux_cluster::{Cluster, Metadata as Part, Object, ObjectId, RequestError, Resource};
use serde_json::json;

use super::metadata::Metadata;
use crate::artifact_generator::owner::{FIELD_MANAGER, GENERATOR_LABEL, Owners};
use crate::artifact_generator::{EXTERNAL_FINALIZER, annotation};

/// Reads and writes namespaces with the controller's own identity (SW-GEN-208).
#[derive(Clone)]
pub(in crate::artifact_generator) struct Namespaces {
    cluster: Cluster,
    owners: Owners,
    /// The field managers whose fields are taken over (SW-PROC-044).
    managers: Vec<FieldManager>,
}

/// Why a namespace is not as it is to be.
#[derive(Debug, thiserror::Error)]
pub(in crate::artifact_generator) enum NamespaceError {
    #[error("failed to get Namespace")]
    Get(#[source] RequestError),
    #[error("failed to apply Namespace")]
    Apply(#[source] RequestError),
    /// It is managed by another generator (SW-ART-071).
    #[error("Namespace {namespace} is managed by ArtifactGenerator {owner}")]
    Conflict { namespace: String, owner: String },
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::artifact_generator) enum Action {
    Created,
    Configured,
    Unchanged,
    /// Its annotations exclude it (SW-GEN-212).
    Skipped,
    /// It existed without an owner (SW-ART-071).
    Adopted,
}

/// What became of a namespace that is no longer targeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::artifact_generator) enum Pruned {
    Deleted,
    /// It is gone, or belongs to another.
    NotOurs,
    /// Its annotations keep it (SW-GEN-212).
    Kept,
    /// Another party deletes it (SW-GEN-212).
    HandedOver,
}

fn id(name: &str) -> ObjectId {
    ObjectId {
        kind: "Namespace".to_owned(),
        name: name.to_owned(),
        ..ObjectId::default()
    }
}

fn resource() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        plural: "namespaces".to_owned(),
        namespaced: false,
    }
}

fn mark(name: &str, value: &str) -> (String, String) {
    (annotation(name), value.to_owned())
}

/// The annotations and labels of namespaces that are not applied.
fn excluding() -> [(String, String); 2] {
    [mark("reconcile", "Disabled"), mark("ssa", "Ignore")]
}

impl Namespaces {
    pub(in crate::artifact_generator) fn new(
        cluster: Cluster,
        owners: Owners,
        override_managers: &[String],
    ) -> Self {
        let take = |prefix: &str, operation| FieldManager {
            prefix: prefix.to_owned(),
            exact: false,
            operation,
        };
        let mut managers = vec![
            take("kubectl", Operation::Apply),
            take("kubectl", Operation::Update),
            take("before-first-apply", Operation::Update),
        ];
        for manager in override_managers {
            managers.extend([
                take(manager, Operation::Apply),
                take(manager, Operation::Update),
            ]);
        }
        Self {
            cluster,
            owners,
            managers,
        }
    }

    /// Reads a namespace.
    pub(in crate::artifact_generator) async fn get(
        &self,
        name: &str,
    ) -> Result<Option<Object>, RequestError> {
        match self.cluster.get(&resource(), &id(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates or updates a namespace for the generator `uid`. `recorded` is the digest of the metadata that an earlier run
    /// applied.
    pub(in crate::artifact_generator) async fn apply(
        &self,
        name: &str,
        metadata: &Metadata,
        uid: &str,
        recorded: Option<&str>,
    ) -> Result<Action, NamespaceError> {
        let live = self.get(name).await.map_err(NamespaceError::Get)?;
        let mut desired = Object::new(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        }))
        .unwrap_or_default();
        desired.set_metadata(Part::Labels, &metadata.labels);
        desired.set_metadata(Part::Annotations, &metadata.annotations);
        if desired.carries_any(&excluding()) {
            return Ok(Action::Skipped);
        }
        let Some(live) = live else {
            let applied = self.cluster.apply(&resource(), &desired, false).await;
            applied.map_err(NamespaceError::Apply)?;
            return Ok(Action::Created);
        };
        let skipped = live.carries_any(&excluding())
            || live.carries_any(&[mark("ssa", "IfNotPresent")])
            || desired.carries_any(&[mark("ssa", "IfNotPresent")]);
        if skipped {
            return Ok(Action::Skipped);
        }
        let owner = label_of(&live);
        if owner == uid && recorded == Some(&*metadata.digest()) && has(&live, metadata) {
            return Ok(Action::Unchanged);
        }
        if !owner.is_empty() && owner != uid {
            let other = self.owners.find(owner).await;
            if let Some(other) = other.map_err(NamespaceError::Get)? {
                return Err(NamespaceError::Conflict {
                    namespace: name.to_owned(),
                    owner: other.to_string(),
                });
            }
        }
        let cleanup = Cleanup {
            annotations: vec!["kubectl.kubernetes.io/last-applied-configuration".to_owned()],
            managers: self.managers.clone(),
            exclusions: vec![mark("ssa", "Merge")],
            ..Cleanup::default()
        };
        if !live.carries_any(&cleanup.exclusions) && !desired.carries_any(&cleanup.exclusions) {
            let patch = cleanup.patch(&live, FIELD_MANAGER);
            if !patch.is_empty() {
                let cleaned = self.cluster.json_patch(&resource(), &id(name), patch).await;
                cleaned.map_err(NamespaceError::Apply)?;
            }
        }
        let applied = self.cluster.apply(&resource(), &desired, false).await;
        let applied = applied.map_err(NamespaceError::Apply)?;
        Ok(if owner != uid {
            Action::Adopted
        } else if applied.resource_version() == live.resource_version() {
            Action::Unchanged
        } else {
            Action::Configured
        })
    }

    /// Whether a namespace differs from what was applied: it is gone, belongs to another, or lacks `expected`.
    pub(in crate::artifact_generator) async fn has_drifted(
        &self,
        name: &str,
        uid: &str,
        expected: Option<&Metadata>,
    ) -> Result<bool, RequestError> {
        let Some(live) = self.get(name).await? else {
            return Ok(true);
        };
        let untouched =
            live.carries_any(&excluding()) || live.carries_any(&[mark("ssa", "IfNotPresent")]);
        Ok(!untouched
            && (label_of(&live) != uid || expected.is_some_and(|expected| !has(&live, expected))))
    }

    /// Deletes a namespace of the generator `uid`, unless its annotations keep it (SW-GEN-210, SW-GEN-212).
    pub(in crate::artifact_generator) async fn prune(
        &self,
        name: &str,
        uid: &str,
    ) -> Result<Pruned, RequestError> {
        let Some(live) = self.get(name).await? else {
            return Ok(Pruned::NotOurs);
        };
        if label_of(&live) != uid {
            return Ok(Pruned::NotOurs);
        }
        if live.carries_any(&excluding()) || live.carries_any(&[mark("prune", "Disabled")]) {
            return Ok(Pruned::Kept);
        }
        if self.is_handed_over(&live).await? {
            return Ok(Pruned::HandedOver);
        }
        let deleted = self
            .cluster
            .delete_exactly(&resource(), &id(name), live.uid())
            .await;
        match deleted {
            Ok(()) => Ok(Pruned::Deleted),
            Err(error) if error.is_not_found() => Ok(Pruned::NotOurs),
            Err(error) => Err(error),
        }
    }

    /// Whether another object is responsible for the end of a namespace: it is named by an annotation and exists with its
    /// uid (SW-GEN-212). With a malformed annotation, or without the object, nothing is handed over.
    async fn is_handed_over(&self, namespace: &Object) -> Result<bool, RequestError> {
        let annotations = namespace.metadata(Part::Annotations);
        let named = annotations.and_then(|held| held.get(EXTERNAL_FINALIZER)?.as_str());
        let Some(named) = named.filter(|named| !named.is_empty()) else {
            return Ok(false);
        };
        let Some((holder, version, uid)) = holder(named) else {
            tracing::error!(
                namespace = namespace.name(),
                annotation = EXTERNAL_FINALIZER,
                value = named,
                "ignoring malformed external finalizer annotation, the controller remains accountable"
            );
            return Ok(false);
        };
        let found = match self.cluster.resource_of(&holder, version).await {
            Ok(resource) => self.cluster.get_metadata(&resource, &holder).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => Ok(found.uid() == uid),
            // The kind may be gone too.
            Err(error) if error.is_transient() && error.code != 0 => Err(error),
            Err(error) if error.is_forbidden() => Err(error),
            Err(_) => Ok(false),
        }
    }
}

/// The object that an annotation names as `group/version/kind/namespace/name/uid`; group and namespace may be empty.
fn holder(text: &str) -> Option<(ObjectId, &str, &str)> {
    let parts: Vec<&str> = text.split('/').collect();
    let [group, version, kind, namespace, name, uid] = parts[..] else {
        return None;
    };
    let complete = [version, kind, name, uid]
        .iter()
        .all(|part| !part.is_empty());
    let id = ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    complete.then_some((id, version, uid))
}

fn label_of(live: &Object) -> &str {
    let labels = live.metadata(Part::Labels);
    let owner = labels.and_then(|held| held.get(GENERATOR_LABEL)?.as_str());
    owner.unwrap_or_default()
}

fn has(live: &Object, metadata: &Metadata) -> bool {
    [
        (Part::Labels, &metadata.labels),
        (Part::Annotations, &metadata.annotations),
    ]
    .into_iter()
    .all(|(part, wanted)| {
        let held = live.metadata(part);
        wanted.iter().all(|(key, value)| {
            let found = held.and_then(|held| held.get(key)?.as_str());
            found == Some(value.as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // SW-GEN-212
    #[test]
    fn an_external_finalizer_names_one_object() {
        let (id, version, uid) = holder("apps.example.com/v1/Set//tenants/u-1").unwrap();
        assert_eq!(
            (id.to_string().as_str(), id.group.as_str(), version, uid),
            ("Set/tenants", "apps.example.com", "v1", "u-1")
        );
        let (id, ..) = holder("/v1/ConfigMap/ns/name/u").unwrap();
        assert_eq!(id.to_string(), "ConfigMap/ns/name");
        for malformed in [
            "",
            "a/b",
            "g//Kind/ns/name/u",
            "g/v1/Kind/ns/name/",
            "g/v1/K/n/n/u/x",
        ] {
            assert!(holder(malformed).is_none(), "{malformed}");
        }
    }
}
