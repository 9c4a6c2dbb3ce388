//! GitRepository: a commit of a Git repository as an artifact.

mod archive;
mod change;
mod checkout;
mod content;
mod deadline;
mod failure;
mod include;
mod reason;
mod remote;
mod storage;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::{Artifact, FluxStatus};
use flux_api::source::GitRepository;
use flux_artifact::{Storage, artifact_dir};
use flux_budget::Budget;
use flux_git::Commit;
use flux_runtime::conditions::{ConditionType, Status};
use flux_runtime::metrics::tokens::Tokens;
use flux_runtime::policy::{Ready, Wording};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_runtime::{Failure, Outcome, Reconciler, Run, Settings};
pub(crate) use remote::Settings as RemoteSettings;
use tempfile::TempDir;

use self::change::content_changed;
use self::checkout::{Found, Wanted};
use self::failure::StepError;
use self::reason::GitReason;
use crate::conditions::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, GIT_FAILURES, GIT_OWNED, GIT_SUMMARY,
    INCLUDE_UNAVAILABLE, SOURCE_VERIFIED, STORAGE_OPERATION_FAILED,
};
use crate::secrets::Secrets;

/// The kind as it stands in paths and messages.
const KIND: &str = "GitRepository";

/// Archiving may take as long as fetching, and no less than this.
const MIN_ARCHIVE_LIMIT: Duration = Duration::from_mins(1);

/// How the frame treats GitRepositories.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: GIT_OWNED,
    ready: Ready::Summary(GIT_SUMMARY),
    wording: Wording::Named,
    ..Settings::new("gitrepository")
};

/// Reconciles GitRepositories.
pub(crate) struct GitRepositories {
    /// Where artifacts go.
    pub(crate) storage: Arc<Storage>,
    /// All repositories that this controller sees, for includes.
    pub(crate) repositories: Cache<GitRepository>,
    /// Where credentials are read.
    pub(crate) secrets: Secrets,
    /// Where tokens are kept.
    pub(crate) tokens: Tokens,
    /// What the flags say of remotes.
    pub(crate) remotes: RemoteSettings,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
    /// Where fetched objects are kept while a reconcile runs.
    pub(crate) work: WorkFolders,
    /// How soon an include that is not available is looked at again.
    pub(crate) recheck: Duration,
}

impl Reconciler for GitRepositories {
    type Kind = GitRepository;

    fn suspended(&self, object: &GitRepository) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<GitRepository>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let spec = &object.spec;
        let work_dir = self.work_directory(run)?;

        storage::inspect(run, &self.storage).await?;
        if run.conditions.is(SOURCE_VERIFIED, Status::False) {
            run.conditions.remove(SOURCE_VERIFIED); // it is found out anew; a success stands for the version before
        }

        let remote = remote::of(run, &self.secrets, &self.tokens, &self.remotes).await?;
        let included = self.included(run).await?;
        let wanted = Wanted::of(spec, last_observed(run));
        let claim = Arc::new(self.budget.claim());
        let late = |error: StepError| error.retried_after(spec.interval.to_std());
        let fetch = async |wanted| {
            let found = checkout::fetch(&remote, wanted, work_dir.path(), &claim);
            found.await.map_err(late)
        };
        let mut found = fetch(&wanted).await?;
        if let Found::Unchanged(commit) = &found {
            if !content_changed(spec, &run.status, &included) {
                return Err(unchanged(run, commit));
            }
            let wanted = Wanted::of(spec, None);
            found = fetch(&wanted).await?;
        }
        let Found::Fetched(snapshot) = found else {
            return Err(StepError::Empty.into()); // a fetch without a known revision is never unchanged
        };
        let commit = snapshot.commit().clone();
        let revision = revision(&object, &commit);
        tracing::debug!(url = %remote.url, revision, "git repository checked out");
        run.conditions.remove(FETCH_FAILED);
        checkout::check_sparse_paths(spec, &snapshot)?;

        verify::signatures(run, &commit, &self.secrets).await?;
        announce(run, &revision).await?;

        if is_current(run, &revision, &included) {
            let message = format!("artifact up-to-date with remote revision: '{revision}'");
            tracing::info!("{message}");
            run.trace(GitReason::ArtifactUpToDate, message); // SC-GIT-066
            run.conditions.remove(INCLUDE_UNAVAILABLE);
        } else {
            let path = artifact_path(run, &format!("{}.tar.gz", commit.hash));
            let storing = archive::Storing {
                storage: self.storage.clone(),
                path,
                object: object.clone(),
                included: included.clone(),
                budget: self.budget.clone(),
                limit: wanted.timeout().max(MIN_ARCHIVE_LIMIT),
            };
            let (path, stored) = storing
                .run(checkout::Files::of(snapshot, &claim).map_err(late)?)
                .await
                .map_err(late)?;
            run.conditions.remove(INCLUDE_UNAVAILABLE);
            observe(
                run,
                Artifact {
                    url: self.storage.url(&path),
                    path,
                    revision: revision.clone(),
                    digest: stored.digest.to_string(),
                    size: i64::try_from(stored.size).ok(),
                    last_update_time: jiff::Timestamp::now().into(),
                    metadata: BTreeMap::new(),
                },
                included,
            );
            run.conditions.remove(STORAGE_OPERATION_FAILED);
        }
        run.conditions.remove(ARTIFACT_OUTDATED);
        in_storage(run, &revision);
        notify(run, &commit.short_message());
        Ok(Outcome::summarized(spec.interval.to_std()))
    }

    async fn finalize(&self, run: &mut Run<GitRepository>) -> Result<(), Failure> {
        let storage = self.storage.clone();
        let dir = artifact_dir(KIND, run.namespace(), run.name());
        let removed = tokio::task::spawn_blocking(move || storage.remove_all(&dir)).await;
        if removed
            .map_err(StepError::from)?
            .map_err(StepError::Collect)?
        {
            let message = "garbage collected artifacts for deleted resource";
            tracing::info!("{message}");
            run.trace(GitReason::GarbageCollectionSucceeded, message);
        }
        run.status.artifact = None;
        Ok(())
    }
}

impl GitRepositories {
    /// A folder of the run's own, gone with the value (SC-PROC-061).
    fn work_directory(&self, run: &mut Run<GitRepository>) -> Result<TempDir, StepError> {
        let prefix = format!("gitrepository-{}-{}-", run.namespace(), run.name());
        let dir = self
            .work
            .folder(&prefix)
            .map_err(StepError::WorkDirectory)?;
        run.conditions.remove(STORAGE_OPERATION_FAILED);
        Ok(dir)
    }

    /// The artifacts to copy in; a set that differs from the last one is announced (SC-GIT-095, SC-GIT-096).
    async fn included(&self, run: &mut Run<GitRepository>) -> Result<Vec<Artifact>, Failure> {
        let object = run.object().clone();
        if !object.spec.include.is_empty() {
            self.repositories.synced().await;
        }
        let recheck = if self.recheck.is_zero() {
            object.spec.interval.to_std()
        } else {
            self.recheck
        };
        let included = include::find(
            &object.spec.include,
            run.namespace(),
            &self.repositories,
            recheck,
        )?;
        run.conditions.remove(INCLUDE_UNAVAILABLE);
        if change::includes_differ(&included, &run.status.included_artifacts) {
            let message = "included artifacts differ from last observed includes";
            if !run.status.included_artifacts.is_empty() {
                run.conditions.set(
                    ARTIFACT_OUTDATED,
                    Status::True,
                    GitReason::IncludeChange,
                    message,
                );
            }
            progress(run, message).await?;
        }
        run.conditions.remove(ARTIFACT_OUTDATED);
        Ok(included)
    }
}

/// The revision with which a listing of the remote may save the fetch (SC-GIT-060).
fn last_observed(run: &Run<GitRepository>) -> Option<String> {
    let artifact = run.status.artifact.as_ref()?;
    run.conditions
        .is_true(ARTIFACT_IN_STORAGE)
        .then(|| artifact.revision.clone())
}

/// The revision as it is told: with the full reference where the spec names one (SC-GIT-049).
fn revision(object: &GitRepository, commit: &Commit) -> String {
    let name = object
        .spec
        .reference
        .as_ref()
        .and_then(|reference| reference.name.as_deref());
    if name.is_some_and(|name| !name.is_empty()) {
        commit.absolute_revision()
    } else {
        commit.revision()
    }
}

/// Ends a run that found nothing new (SC-GIT-063, SC-GIT-064).
fn unchanged(run: &mut Run<GitRepository>, commit: &Commit) -> Failure {
    let object = run.object().clone();
    let revision = revision(&object, commit);
    run.conditions.remove(FETCH_FAILED);
    in_storage(run, &revision);
    notify(run, &revision);
    let interval = object.spec.interval.to_std();
    StepError::Unchanged { revision, interval }.into()
}

fn in_storage(run: &mut Run<GitRepository>, revision: &str) {
    let message = format!("stored artifact for revision '{revision}'");
    run.conditions.set(
        ARTIFACT_IN_STORAGE,
        Status::True,
        GitReason::Succeeded,
        message,
    );
}

/// Tells of a revision that is new (SC-GIT-030).
async fn announce(run: &mut Run<GitRepository>, revision: &str) -> Result<(), Failure> {
    let before = run
        .status
        .artifact
        .as_ref()
        .map(|artifact| artifact.revision.clone());
    if before.as_deref() == Some(revision) {
        return Ok(());
    }
    let message = format!("new upstream revision '{revision}'");
    if before.is_some() {
        run.conditions.set(
            ARTIFACT_OUTDATED,
            Status::True,
            GitReason::NewRevision,
            &*message,
        );
    }
    progress(run, &message).await
}

async fn progress(run: &mut Run<GitRepository>, message: &str) -> Result<(), Failure> {
    let message = format!("building artifact: {message}");
    run.unready(&message);
    run.progress_now(message).await
}

/// Whether the stored artifact is what would be made now.
fn is_current(run: &Run<GitRepository>, revision: &str, included: &[Artifact]) -> bool {
    run.status
        .artifact
        .as_ref()
        .is_some_and(|artifact| artifact.revision == revision)
        && !change::includes_differ(included, &run.status.included_artifacts)
        && !content_changed(&run.object().spec, &run.status, included)
}

fn artifact_path(run: &Run<GitRepository>, file: &str) -> String {
    format!("{}/{file}", artifact_dir(KIND, run.namespace(), run.name()))
}

/// Records the artifact and what it was made with (SC-GIT-111).
fn observe(run: &mut Run<GitRepository>, artifact: Artifact, included: Vec<Artifact>) {
    let object = run.object().clone();
    let status = &mut run.status;
    status.artifact = Some(artifact);
    status.included_artifacts = included;
    status.observed_ignore.clone_from(&object.spec.ignore);
    status.observed_recurse_submodules = object.spec.recurse_submodules;
    status.observed_include.clone_from(&object.spec.include);
    status
        .observed_sparse_checkout
        .clone_from(&object.spec.sparse_checkout);
}

/// Tells of a new artifact, or that a failure is over (SC-PROC-085, SC-PROC-086, SC-GIT-112).
fn notify(run: &Run<GitRepository>, commit: &str) {
    let Some(artifact) = &run.status.artifact else {
        return;
    };
    let before = run.object().status.as_ref();
    let is_new = before
        .and_then(|status| status.artifact.as_ref())
        .is_none_or(|old| old.digest != artifact.digest);
    let had = |kind: &ConditionType| {
        before.is_some_and(|status| status.condition(kind.as_str()).is_some())
    };
    let has = |kind: &ConditionType| run.conditions.get(kind).is_some();
    let has_recovered = GIT_FAILURES.iter().any(had) && !GIT_FAILURES.iter().any(has);
    let reason = match (is_new, has_recovered) {
        (true, _) => GitReason::NewArtifact,
        (false, true) => GitReason::Succeeded,
        (false, false) => return,
    };
    let message = format!("stored artifact for commit '{commit}'");
    tracing::info!("{message}");
    let metadata = [
        ("revision", artifact.revision.clone()),
        ("digest", artifact.digest.clone()),
    ];
    run.event(reason, message, &metadata.into());
}
