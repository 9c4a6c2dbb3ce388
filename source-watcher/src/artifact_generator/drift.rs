//! Whether what a generator has made is still what it makes.

use flux_api::extensions::{ArtifactGenerator, GeneratedReference};
use flux_artifact::{Storage, VerifyError};
use flux_publish::Owner;
use flux_runtime::conditions::{READY, Status};
use flux_runtime::outcome::chain;
use flux_runtime::queue::Key;
use kube::ResourceExt as _;

use super::build::EXTERNAL_ARTIFACT;
use super::memory::{FileState, Known, Output};
use super::prune::is_namespace;
use super::publish::ExternalArtifacts;

/// Why artifacts are built again: the words of the log (SW-GEN-065 to SW-GEN-067).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drift {
    NotReady,
    GenerationChanged,
    SourcesChanged,
    ArtifactsChanged,
    ArtifactMissing,
    ArtifactCorrupted,
    ExternalArtifactsNotFound,
    ExternalArtifactsChanged,
    NamespacesChanged,
}

/// What the status says, compared with the spec and the sources (SW-GEN-065). Anything but a Ready that is True is drift: a
/// process may have been killed after it had written that work is under way (SW-GEN-073).
pub(super) fn of_status(object: &ArtifactGenerator, sources_digest: &str) -> Option<Drift> {
    let status = object.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == READY);
    let Some(ready) = ready.filter(|ready| ready.status == Status::True) else {
        return Some(Drift::NotReady);
    };
    if ready.observed_generation != object.metadata.generation {
        return Some(Drift::GenerationChanged);
    }
    if status.observed_sources_digest.as_deref() != Some(sources_digest) {
        return Some(Drift::SourcesChanged);
    }
    let spec = &object.spec;
    let has_pattern = !spec.path_pattern.as_deref().unwrap_or_default().is_empty();
    let made = status.inventory.iter().filter(|entry| !is_namespace(entry));
    if !has_pattern && made.count() != spec.artifacts.len() {
        return Some(Drift::ArtifactsChanged);
    }
    None
}

/// The stored files, compared with the inventory (SW-GEN-066). A file that has not changed since it had its digest is not
/// read again (SW-GEN-071). Blocks.
pub(super) fn of_files(
    inventory: &[GeneratedReference],
    storage: &Storage,
    known: &mut Known,
) -> Option<Drift> {
    let artifacts = inventory.iter().filter(|entry| !is_namespace(entry));
    for entry in artifacts {
        let key = Key::new(&*entry.namespace, &*entry.name);
        let owner = Owner::new(EXTERNAL_ARTIFACT, &entry.namespace, &entry.name);
        let path = owner.path(&entry.filename);
        let found = FileState::of(storage, &path);
        let Some(state) = found.filter(|_| owner.owns(&path)) else {
            tracing::debug!(path, "Drift detected, artifact missing from storage");
            return Some(Drift::ArtifactMissing);
        };
        let is_known = known.get(&key).is_some_and(|known| {
            known.file == entry.filename && known.digest == entry.digest && known.state == state
        });
        if is_known {
            continue;
        }
        match storage.verify(&path, &entry.digest) {
            Ok(()) => {
                let output = Output {
                    file: entry.filename.clone(),
                    digest: entry.digest.clone(),
                    size: state.size(),
                    fingerprint: None,
                    state,
                };
                known.insert(key, output);
            }
            Err(error) => {
                remove(storage, &path, &error);
                known.remove(&key);
                return Some(Drift::ArtifactCorrupted);
            }
        }
    }
    None
}

fn remove(storage: &Storage, path: &str, error: &VerifyError) {
    tracing::error!(
        path,
        error = chain(error),
        "Artifact integrity verification failed, deleting corrupted artifact"
    );
    if let Err(error) = storage.remove(path) {
        tracing::error!(
            path,
            error = chain(&error),
            "Failed to remove corrupted artifact from storage"
        );
    }
}

/// The ExternalArtifacts, compared with the inventory (SW-GEN-067, SW-GEN-072, SW-GEN-074).
pub(super) async fn of_objects(
    object: &ArtifactGenerator,
    artifacts: &ExternalArtifacts,
    storage: &Storage,
) -> Option<Drift> {
    let status = object.status.clone().unwrap_or_default();
    let inventory = status.inventory.iter().filter(|entry| !is_namespace(entry));
    let inventory: Vec<_> = inventory.collect();
    let uid = object.uid().unwrap_or_default();
    if artifacts.namespace.is_none() && artifacts.of(&uid).len() != inventory.len() {
        return Some(Drift::ExternalArtifactsChanged);
    }
    for entry in inventory {
        let key = Key::new(&*entry.namespace, &*entry.name);
        let live = match artifacts.get(&key).await {
            Ok(live) => live,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(
                    error,
                    "Failed to verify in-cluster external artifacts for drift"
                );
                return Some(Drift::ExternalArtifactsNotFound);
            }
        };
        let owner = Owner::new(EXTERNAL_ARTIFACT, &entry.namespace, &entry.name);
        let path = owner.path(&entry.filename);
        let is_ours = live.as_ref().is_some_and(|live| {
            let source = live.spec.source_ref.as_ref();
            super::owner::generator_of(live.metadata.labels.as_ref()) == uid
                && source.is_some_and(|source| {
                    source.name == object.name_any() && source.namespace == object.namespace()
                })
        });
        let artifact = live.and_then(|live| live.status?.artifact);
        let is_current = artifact.is_some_and(|artifact| {
            artifact.digest == entry.digest
                && artifact.path == path
                && artifact.url == storage.url(&path)
        });
        if !is_ours || !is_current {
            return Some(Drift::ExternalArtifactsChanged);
        }
    }
    None
}

#[cfg(test)]
mod tests;
