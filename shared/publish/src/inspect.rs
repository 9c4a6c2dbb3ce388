//! The state of the artifact in a status.

use flux_api::meta::Artifact;
use flux_artifact::{Storage, StorageError, VerifyError};
use flux_runtime::outcome::chain;
use flux_runtime::{Action, Failure, Run};

use crate::source::progress_as;
use crate::{ARTIFACT_IN_STORAGE, ArtifactStatus, Owner, Publisher, Source, SourceReason};

/// Whether the artifact of a status exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a missing artifact has to be announced"]
pub enum Presence {
    /// It exists and has the recorded digest.
    Whole,
    /// It has to be built; this is the message of the conditions.
    Missing(&'static str),
}

/// Why the state of the artifact is unknown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The file cannot be read, which may be transient: the descriptors are exhausted, the disk does not answer.
    #[error("failed to verify integrity of artifact, which is kept")]
    Read(#[source] VerifyError),
    /// The file is corrupt and cannot be removed (SC-ART-034).
    #[error("failed to remove artifact after digest mismatch")]
    Remove(#[source] StorageError),
    /// The task ended without a result, which is a defect.
    #[error("a task of the reconcile ended early")]
    Task,
}

/// What was found at the path of the artifact.
enum Found {
    /// The file that the status records.
    Whole,
    /// Nothing.
    Nothing,
    /// A file that does not match; it is removed.
    Damaged(VerifyError),
}

impl Presence {
    /// If the artifact is missing, reports in the conditions that it is missing and is being built (SC-ART-031,
    /// SC-ART-032).
    ///
    /// # Errors
    /// The status cannot be written.
    pub async fn announce<K: Source>(self, run: &mut Run<K>) -> Result<(), Failure> {
        let Self::Missing(message) = self else {
            return Ok(());
        };
        run.conditions.remove(ARTIFACT_IN_STORAGE);
        progress_as(run, message).await
    }
}

impl Publisher {
    /// Collects garbage, and checks whether the artifact of the status exists and is intact (SC-ART-030 to SC-ART-034).
    /// If not, it is removed from the status, with the link to it. If so, it gets the current address (SC-ART-025,
    /// SC-ART-026).
    ///
    /// A client that may write statuses could enter the path of another object's artifact: such a path is neither read
    /// nor removed.
    ///
    /// # Errors
    /// The state of the artifact is unknown. The status is unchanged.
    pub async fn inspect<K: Source>(&self, run: &mut Run<K>) -> Result<Presence, InspectError> {
        const DISAPPEARED: Presence =
            Presence::Missing("building artifact: disappeared from storage");
        run.step(Action::ReconcileStorage);
        let Some(artifact) = run.status.artifact_mut().clone() else {
            return Ok(Presence::Missing("building artifact"));
        };
        if !Owner::of(&**run.object()).owns(&artifact.path) {
            let message = format!(
                "failed to verify integrity of artifact: path '{}' is not one of this object's artifacts",
                artifact.path
            );
            run.warn(
                SourceReason::ArtifactVerificationFailed,
                message,
                &[].into(),
            );
            run.status.withdraw();
            return Ok(DISAPPEARED);
        }
        let (collected, found) = {
            let (storage, artifact) = (self.storage.clone(), artifact.clone());
            let look = move || {
                (
                    storage.collect_garbage(&artifact.path),
                    look(&storage, &artifact),
                )
            };
            let looked = tokio::task::spawn_blocking(look).await;
            looked.map_err(|_| InspectError::Task)?
        };
        match collected {
            Ok(0) => {}
            Ok(count) => {
                let message = format!("garbage collected {count} artifacts");
                tracing::info!("{message}");
                run.step(Action::GarbageCollect);
                run.trace(SourceReason::GarbageCollectionSucceeded, message); // SC-PROC-088
                run.step(Action::ReconcileStorage);
            }
            Err(error) => tracing::debug!(
                error = chain(&error),
                "garbage collection of artifacts failed"
            ),
        }
        match found? {
            Found::Whole => {
                if let Some(artifact) = run.status.artifact_mut() {
                    artifact.url = self.storage.url(&artifact.path);
                }
                if let Some(link) = run.status.link_mut().and_then(Option::as_mut) {
                    *link = self.storage.rehosted(link);
                }
                return Ok(Presence::Whole);
            }
            Found::Nothing => {}
            Found::Damaged(error) => {
                let message = format!("failed to verify integrity of artifact: {}", chain(&error));
                run.warn(
                    SourceReason::ArtifactVerificationFailed,
                    message,
                    &[].into(),
                );
            }
        }
        run.status.withdraw();
        Ok(DISAPPEARED)
    }
}

fn look(storage: &Storage, artifact: &Artifact) -> Result<Found, InspectError> {
    let exists = storage.exists(&artifact.path);
    if !exists.map_err(|error| InspectError::Read(error.into()))? {
        return Ok(Found::Nothing);
    }
    match storage.verify(&artifact.path, &artifact.digest) {
        Ok(()) => Ok(Found::Whole),
        Err(error) if error.is_damage() => {
            let removed = storage.remove(&artifact.path);
            removed.map_err(InspectError::Remove)?;
            Ok(Found::Damaged(error))
        }
        Err(error) => Err(InspectError::Read(error)),
    }
}
