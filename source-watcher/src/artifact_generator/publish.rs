//! The ExternalArtifact of a stored artifact.

use std::collections::BTreeMap;

use flux_api::extensions::ArtifactGenerator;
use flux_api::helm::Values;
use flux_api::meta::Artifact;
use flux_api::source::ExternalArtifact;
use flux_objects::Objects;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use kube::api::{Patch, PatchParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::observe::{ORIGIN_REVISION, Observed};
use super::owner::{FIELD_MANAGER, Owners, generator_of, owner_labels};
use super::path_pattern::Request;

/// What the condition of an ExternalArtifact says (SW-ART-055).
const READY: (&str, &str) = ("Succeeded", "Artifact is ready");

/// What an ExternalArtifact is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desired {
    key: Key,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    source: Value,
    pub(super) artifact: Artifact,
    inputs: BTreeMap<String, Values>,
}

/// Why an ExternalArtifact was not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("failed to get ExternalArtifact")]
    Get(#[source] flux_objects::Error),
    #[error("failed to find the owner of ExternalArtifact")]
    Owner(#[source] flux_cluster::RequestError),
    #[error("failed to apply ExternalArtifact")]
    Apply(#[source] flux_objects::Error),
    #[error("failed to patchStatus ExternalArtifact status")]
    Status(#[source] flux_objects::Error),
}

/// Reads and writes ExternalArtifacts.
#[derive(Clone)]
pub(super) struct ExternalArtifacts {
    pub(super) known: Cache<ExternalArtifact>,
    pub(super) client: Client,
    pub(super) owners: Owners,
    /// The only namespace whose objects are in the cache, if there is one.
    pub(super) namespace: Option<String>,
}

impl Desired {
    /// The object for an artifact (SW-ART-050 to SW-ART-055).
    pub(super) fn new(
        object: &ArtifactGenerator,
        request: &Request,
        artifact: Artifact,
        inputs: BTreeMap<String, Values>,
    ) -> Self {
        let own = object.namespace().unwrap_or_default();
        let common = object.spec.common_metadata.clone().unwrap_or_default();
        let mut labels = common.labels;
        labels.extend(request.labels.clone());
        labels.extend(owner_labels(&object.uid().unwrap_or_default()));
        Self {
            key: Key::new(request.namespace(&own), &*request.artifact.name),
            labels,
            annotations: common.annotations,
            source: json!({
                "apiVersion": ArtifactGenerator::api_version(&()),
                "kind": ArtifactGenerator::kind(&()),
                "name": object.name_any(),
                "namespace": own,
            }),
            artifact,
            inputs,
        }
    }

    fn object(&self) -> Value {
        let mut object = self.head();
        object["metadata"]["labels"] = json!(self.labels);
        if !self.annotations.is_empty() {
            object["metadata"]["annotations"] = json!(self.annotations);
        }
        object["spec"] = json!({"sourceRef": self.source});
        object
    }

    fn head(&self) -> Value {
        json!({
            "apiVersion": ExternalArtifact::api_version(&()),
            "kind": ExternalArtifact::kind(&()),
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
        })
    }

    fn with_status(&self, generation: i64) -> Value {
        let (reason, message) = READY;
        let mut object = self.head();
        object["status"] = json!({
            "artifact": self.artifact,
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": reason,
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": self.artifact.last_update_time,
            }],
        });
        if !self.inputs.is_empty() {
            object["status"]["exportedInputs"] = json!(self.inputs);
        }
        object
    }

    /// Whether metadata and spec of an object are these.
    fn is_object(&self, live: &ExternalArtifact) -> bool {
        let source = live.spec.source_ref.as_ref();
        *live.labels() == self.labels
            && *live.annotations() == self.annotations
            && source.is_some_and(|source| json!(source) == self.source)
    }

    /// Whether the status of an object is this. When the artifact was stored does not count.
    fn is_status(&self, live: &ExternalArtifact) -> bool {
        let Some(status) = &live.status else {
            return false;
        };
        let artifact = status.artifact.as_ref().map(|artifact| Artifact {
            last_update_time: self.artifact.last_update_time,
            ..artifact.clone()
        });
        let (reason, message) = READY;
        let ready = status.conditions.iter().any(|condition| {
            condition.type_ == "Ready"
                && condition.status.as_str() == "True"
                && (&*condition.reason, &*condition.message) == (reason, message)
                && condition.observed_generation == live.metadata.generation
        });
        ready && artifact.as_ref() == Some(&self.artifact) && status.exported_inputs == self.inputs
    }
}

/// The revision of an artifact, and what it tells of its origin (SW-GEN-100 to SW-GEN-105).
pub(super) fn set_revisions(artifact: &mut Artifact, request: &Request, observed: &Observed) {
    let wanted = &request.artifact;
    artifact.revision = format!("latest@{}", artifact.digest);
    if let Some(revision) = wanted
        .revision
        .as_deref()
        .and_then(|of| observed.revision(of))
    {
        revision.clone_into(&mut artifact.revision);
    }
    let origin = wanted.origin_revision.as_deref();
    if let Some(origin) = origin.and_then(|of| observed.origin_revision(of)) {
        let origin = origin.to_owned();
        artifact.metadata.insert(ORIGIN_REVISION.to_owned(), origin);
    }
}

impl ExternalArtifacts {
    /// The objects of a generator, in whichever namespace.
    pub(super) fn of(&self, uid: &str) -> Vec<std::sync::Arc<ExternalArtifact>> {
        let mut all = self.known.all();
        all.retain(|object| generator_of(object.metadata.labels.as_ref()) == uid);
        all
    }

    /// The object, from the cache if that has its namespace.
    pub(super) async fn get(
        &self,
        key: &Key,
    ) -> Result<Option<ExternalArtifact>, flux_objects::Error> {
        let is_cached = |namespace: &String| *namespace == key.namespace;
        if self.namespace.as_ref().is_none_or(is_cached) {
            return Ok(self.known.get(key).map(|object| (*object).clone()));
        }
        self.objects(key)?.get_opt(&key.name).await
    }

    pub(super) fn objects(
        &self,
        key: &Key,
    ) -> Result<Objects<ExternalArtifact>, flux_objects::Error> {
        Ok(Objects::in_namespace(self.client.clone(), &key.namespace)?)
    }

    /// The generator that the object belongs to, if that is another one and exists (SW-ART-059).
    pub(super) async fn other_owner(
        &self,
        key: &Key,
        object: &ArtifactGenerator,
    ) -> Result<Option<Key>, PublishError> {
        let live = self.get(key).await.map_err(PublishError::Get)?;
        let Some(live) = live else { return Ok(None) };
        let owner = generator_of(live.metadata.labels.as_ref());
        if owner.is_empty() || Some(owner) == object.uid().as_deref() {
            return Ok(None);
        }
        self.owners.find(owner).await.map_err(PublishError::Owner)
    }

    /// Applies the object and its status, each only where it differs, and returns whether anything did.
    pub(super) async fn apply(&self, desired: &Desired) -> Result<bool, PublishError> {
        let key = &desired.key;
        let live = self.get(key).await.map_err(PublishError::Get)?;
        let objects = self.objects(key).map_err(PublishError::Apply)?;
        let kept = live.filter(|live| desired.is_object(live));
        let was_applied = kept.is_none();
        let live = if let Some(live) = kept {
            live
        } else {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patch = Patch::Apply(desired.object());
            let applied = objects.patch(&key.name, &params, &patch).await;
            let applied = applied.map_err(PublishError::Apply)?;
            (*self.known.upsert(applied)).clone()
        };
        if desired.is_status(&live) {
            return Ok(was_applied);
        }
        let generation = live.metadata.generation.unwrap_or_default();
        let patch = Patch::Apply(desired.with_status(generation));
        // Fields of other managers are a conflict, as in upstream (SW-ART-057).
        let params = PatchParams::apply(FIELD_MANAGER);
        let applied = objects.patch_status(&key.name, &params, &patch).await;
        self.known.upsert(applied.map_err(PublishError::Status)?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
