//! The steps that the runs of all source kinds have in common.

use std::io;

use flux_api::meta::{Artifact, Condition};
use flux_api::source::{
    BucketStatus, GitRepositoryStatus, HelmChartStatus, HelmRepositoryStatus, OCIRepositoryStatus,
};
use flux_artifact::StorageError;
use flux_runtime::conditions::Status;
use flux_runtime::outcome::chain;
use flux_runtime::reason::Reason;
use flux_runtime::run::Kind;
use flux_runtime::work::WorkFolders;
use flux_runtime::{Failure, Run};
use kube::core::object::HasStatus;
use tempfile::TempDir;

use crate::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, Owner, Publisher, STORAGE_OPERATION_FAILED,
    SourceReason, Table,
};

/// A status with an artifact.
pub trait ArtifactStatus {
    /// The artifact.
    fn artifact(&self) -> Option<&Artifact>;

    /// The artifact, mutably.
    fn artifact_mut(&mut self) -> &mut Option<Artifact>;

    /// The URL of the link to the newest artifact; `None` for kinds without such a link (SC-ART-009, SC-ART-010).
    fn link_mut(&mut self) -> Option<&mut Option<String>>;

    /// The conditions.
    fn conditions(&self) -> &[Condition];

    /// Removes the artifact and the link to it from the status.
    fn withdraw(&mut self) {
        *self.artifact_mut() = None;
        if let Some(link) = self.link_mut() {
            *link = None;
        }
    }
}

/// Implements [`ArtifactStatus`] for the status of a source kind, with the field of its link.
macro_rules! artifact_status {
    (@link $status:ident) => { None };
    (@link $status:ident, $link:ident) => { Some(&mut $status.$link) };
    ($($status:ty $(, $link:ident)?;)+) => {$(
        impl ArtifactStatus for $status {
            fn artifact(&self) -> Option<&Artifact> {
                self.artifact.as_ref()
            }

            fn artifact_mut(&mut self) -> &mut Option<Artifact> {
                &mut self.artifact
            }

            fn link_mut(&mut self) -> Option<&mut Option<String>> {
                artifact_status!(@link self $(, $link)?)
            }

            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
        }
    )+};
}

artifact_status! {
    GitRepositoryStatus;
    OCIRepositoryStatus, url;
    BucketStatus, url;
    HelmRepositoryStatus, url;
    HelmChartStatus, url;
}

/// A kind whose objects publish an artifact of their own.
pub trait Source: Kind + HasStatus<Status: ArtifactStatus> {}
impl<K: Kind + HasStatus<Status: ArtifactStatus>> Source for K {}

/// Why the artifacts of a deleted object still exist.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The task ended without a result, which is a defect.
    #[error("a task of the reconcile ended early")]
    Task,
}

impl Publisher {
    /// Removes everything that is stored for a deleted object, and its artifact from the status (SC-ART-045,
    /// SC-PROC-088).
    ///
    /// # Errors
    /// The files cannot be removed.
    pub async fn finalize<K: Source>(&self, run: &mut Run<K>) -> Result<(), RemoveError> {
        let (publisher, owner) = (self.clone(), Owner::of(&**run.object()));
        let removed = tokio::task::spawn_blocking(move || publisher.remove(&owner)).await;
        if removed.map_err(|_| RemoveError::Task)?? {
            let message = "garbage collected artifacts for deleted resource";
            tracing::info!("{message}");
            run.trace(SourceReason::GarbageCollectionSucceeded, message);
        }
        *run.status.artifact_mut() = None;
        Ok(())
    }

    /// Points the link `name` to the newest artifact at `path`, and records its URL in the status. That the link cannot be
    /// made is an event and no failure (SC-ART-009 to SC-ART-011).
    pub async fn link<K: Source>(&self, run: &mut Run<K>, path: &str, name: &'static str) {
        let (storage, path) = (self.storage.clone(), path.to_owned());
        let linked = tokio::task::spawn_blocking(move || storage.link(&path, name)).await;
        let problem = match linked {
            Ok(Ok(url)) => {
                if let Some(recorded) = run.status.link_mut() {
                    *recorded = Some(url);
                }
                return;
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => "a task of the reconcile ended early".to_owned(),
        };
        let message = format!("failed to update status URL symlink: {problem}");
        tracing::info!("{message}");
        run.trace(SourceReason::SymlinkUpdateFailed, message);
    }
}

/// Creates a folder for the files of this run, removed when the value is dropped (SC-PROC-061).
///
/// # Errors
/// The folder cannot be created.
pub fn work_folder<K: Source>(run: &mut Run<K>, work: &WorkFolders) -> io::Result<TempDir> {
    let kind = K::kind(&()).to_lowercase();
    let prefix = format!("{kind}-{}-{}-", run.namespace(), run.name());
    let folder = work.folder(&prefix)?;
    run.conditions.remove(STORAGE_OPERATION_FAILED);
    Ok(folder)
}

/// Reports a new revision in the conditions, if it is new: `message` is in the kind's words (SC-GIT-030, SC-OCI-031,
/// SC-BKT-035).
///
/// # Errors
/// The status cannot be written.
pub async fn announce<K: Source>(
    run: &mut Run<K>,
    revision: &str,
    message: &str,
) -> Result<(), Failure> {
    let before = run.status.artifact().map(|artifact| &artifact.revision);
    if before.is_some_and(|before| before == revision) {
        return Ok(());
    }
    if before.is_some() {
        run.conditions.set(
            ARTIFACT_OUTDATED,
            Status::True,
            SourceReason::NewRevision,
            message,
        );
    }
    progress(run, message).await
}

/// Reports in the conditions why the artifact is being built.
///
/// # Errors
/// The status cannot be written.
pub async fn progress<K: Source>(run: &mut Run<K>, message: &str) -> Result<(), Failure> {
    progress_as(run, &format!("building artifact: {message}")).await
}

/// As [`progress`], with the whole message.
pub(crate) async fn progress_as<K: Source>(run: &mut Run<K>, message: &str) -> Result<(), Failure> {
    run.set_ready_unknown(message);
    run.progress_of_step(message).await
}

/// Emits the event of a run that found the artifact current (SC-PROC-087, SC-GIT-066).
pub fn up_to_date<K: Source>(run: &Run<K>, revision: &str) {
    let message = format!("artifact up-to-date with remote revision: '{revision}'");
    tracing::info!("{message}");
    run.trace(SourceReason::ArtifactUpToDate, message);
}

/// Reports in the conditions that the artifact is in the storage, in the kind's words.
pub fn stored<K: Source>(run: &mut Run<K>, message: String) {
    run.conditions.set(
        ARTIFACT_IN_STORAGE,
        Status::True,
        SourceReason::Succeeded,
        message,
    );
}

/// A result of a run that is worth an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// An artifact with another digest.
    NewArtifact,
    /// The end of a failure.
    Recovery,
}

impl News {
    /// The reason of the event, of all kinds but HelmChart.
    pub fn reason(self) -> SourceReason {
        match self {
            Self::NewArtifact => SourceReason::NewArtifact,
            Self::Recovery => SourceReason::Succeeded,
        }
    }
}

/// Emits the event of a new artifact or of a recovery, if the run had one, with the artifact's revision and digest
/// (SC-PROC-085, SC-PROC-086).
pub fn notify<K: Source, R: Reason>(
    run: &Run<K>,
    table: &Table,
    reason: impl FnOnce(News) -> R,
    message: String,
) {
    let before = run.object().status();
    let Some(artifact) = run.status.artifact() else {
        return;
    };
    let is_new = before
        .and_then(ArtifactStatus::artifact)
        .is_none_or(|old| old.digest != artifact.digest);
    let conditions = before.map_or(&[][..], ArtifactStatus::conditions);
    let news = if is_new {
        News::NewArtifact
    } else if table.has_recovered(conditions, &run.conditions) {
        News::Recovery
    } else {
        return;
    };
    tracing::info!("{message}");
    let metadata = [
        ("revision", artifact.revision.clone()),
        ("digest", artifact.digest.clone()),
    ];
    run.event(reason(news), message, &metadata.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-ART-031
    #[test]
    fn withdrawing_an_artifact_clears_its_url() {
        let artifact = Some(Artifact::default());
        let mut bucket = BucketStatus {
            artifact: artifact.clone(),
            url: Some("http://host/bucket/ns/app/latest.tar.gz".to_owned()),
            ..BucketStatus::default()
        };
        bucket.withdraw();
        assert_eq!(bucket, BucketStatus::default());
        let mut repository = GitRepositoryStatus {
            artifact,
            ..GitRepositoryStatus::default()
        };
        assert!(repository.link_mut().is_none());
        repository.withdraw();
        assert!(repository.artifact().is_none());
    }
}
