//! The state of the artifact that the status tells of.

use std::sync::Arc;

use flux_api::meta::Artifact;
use flux_api::source::GitRepository;
use flux_artifact::{Storage, StorageError, VerifyError, is_artifact_of};
use flux_runtime::outcome::chain;
use flux_runtime::{Failure, Run};

use super::KIND;
use super::failure::StepError;
use crate::conditions::ARTIFACT_IN_STORAGE;

/// What was found where the artifact should be.
enum Found {
    /// The file that the status tells of.
    Whole,
    /// Nothing.
    Nothing,
    /// Another file than the status tells of; it is removed.
    Damaged(VerifyError),
}

/// Why the state of the artifact is not known.
enum LookError {
    /// The file cannot be read, which may pass: no descriptor is left, the disk does not answer.
    Read(VerifyError),
    Remove(StorageError),
}

/// Clears away old artifacts, and looks whether the current one is still there and whole (SC-ART-030 to SC-ART-034). One that is
/// not is taken out of the status, and the work of making it is announced.
///
/// Whoever may write statuses could name the artifact of another object there: such a path is neither read nor removed.
pub(super) async fn inspect(
    run: &mut Run<GitRepository>,
    storage: &Arc<Storage>,
) -> Result<(), Failure> {
    let Some(artifact) = run.status.artifact.clone() else {
        return announce(run, "building artifact").await;
    };
    if !is_artifact_of(&artifact.path, KIND, run.namespace(), run.name()) {
        let message = format!(
            "failed to verify integrity of artifact: path '{}' is not one of this object's artifacts",
            artifact.path
        );
        run.warn("ArtifactVerificationFailed", message, &[].into());
        run.status.artifact = None;
        return announce(run, "building artifact: disappeared from storage").await;
    }
    let (collected, found) = {
        let (storage, artifact) = (storage.clone(), artifact.clone());
        let look = move || {
            (
                storage.collect_garbage(&artifact.path),
                look(&storage, &artifact),
            )
        };
        tokio::task::spawn_blocking(look)
            .await
            .map_err(StepError::from)?
    };
    match collected {
        Ok(0) => {}
        Ok(count) => {
            let message = format!("garbage collected {count} artifacts");
            tracing::info!("{message}");
            run.trace("GarbageCollectionSucceeded", message); // SC-PROC-088
        }
        Err(error) => tracing::debug!(
            error = chain(&error),
            "garbage collection of artifacts failed"
        ),
    }
    let found = found.map_err(|error| match error {
        LookError::Read(error) => StepError::ReadArtifact(error),
        LookError::Remove(error) => StepError::RemoveArtifact(error),
    });
    match found? {
        Found::Whole => {
            // SC-ART-025
            if let Some(artifact) = &mut run.status.artifact {
                artifact.url = storage.url(&artifact.path);
            }
            return Ok(());
        }
        Found::Nothing => {}
        Found::Damaged(error) => {
            let message = format!("failed to verify integrity of artifact: {}", chain(&error));
            run.warn("ArtifactVerificationFailed", message, &[].into());
        }
    }
    run.status.artifact = None;
    announce(run, "building artifact: disappeared from storage").await
}

fn look(storage: &Storage, artifact: &Artifact) -> Result<Found, LookError> {
    let exists = storage.exists(&artifact.path);
    if !exists.map_err(|error| LookError::Read(error.into()))? {
        return Ok(Found::Nothing);
    }
    match storage.verify(&artifact.path, &artifact.digest) {
        Ok(()) => Ok(Found::Whole),
        Err(error) if error.is_damage() => {
            let removed = storage.remove(&artifact.path);
            removed.map_err(LookError::Remove)?;
            Ok(Found::Damaged(error))
        }
        Err(error) => Err(LookError::Read(error)),
    }
}

async fn announce(run: &mut Run<GitRepository>, message: &'static str) -> Result<(), Failure> {
    run.unready(message);
    run.conditions.remove(ARTIFACT_IN_STORAGE);
    run.progress_now(message).await
}
