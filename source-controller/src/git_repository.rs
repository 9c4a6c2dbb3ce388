//! The GitRepository kind: publishes a commit of a Git repository as an artifact.

mod credentials;
mod failure;
mod fetch;
mod files;
mod include;
mod outdated;
mod reason;
mod store;
mod verify;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use credentials::Settings as RemoteSettings;
use flux_api::meta::Artifact;
use flux_api::source::GitRepository;
use flux_budget::Budget;
use flux_git::Commit;
use flux_identity::Identities;
use flux_publish::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, News, Owner, Publisher, Row,
    SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, Table,
};
use flux_runtime::conditions::{ConditionType, Status};
use flux_runtime::policy::{Ready, Wording};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};

use self::failure::StepError;
use self::fetch::{Found, Wanted};
use self::files::Files;
use self::outdated::content_changed;
use self::reason::GitReason;
use self::verify::Verification;
use crate::secrets::Secrets;

/// The name of the kind in paths and messages.
const KIND: &str = "GitRepository";

/// Condition: a repository to be included does not exist or has no artifact.
const INCLUDE_UNAVAILABLE: ConditionType = ConditionType::new("IncludeUnavailable");

/// The conditions of the kind (SC-PROC-062 to SC-PROC-064, SC-PROC-086).
const CONDITIONS: &Table = &Table::new(&[
    Row::Failure(STORAGE_OPERATION_FAILED),
    Row::Failure(FETCH_FAILED),
    Row::Failure(INCLUDE_UNAVAILABLE),
    Row::Negative(ARTIFACT_OUTDATED),
    Row::Positive(ARTIFACT_IN_STORAGE),
    Row::Decisive(SOURCE_VERIFIED),
]);

/// Minimum time limit for archiving; otherwise it may take as long as fetching.
const MIN_ARCHIVE_LIMIT: Duration = Duration::from_mins(1);

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: CONDITIONS.owned(),
    ready: Ready::Summary(CONDITIONS.summary()),
    wording: Wording::Named,
    ..Settings::new("gitrepository")
};

/// Reconciles GitRepositories.
pub(crate) struct GitRepositories {
    /// Stores and serves artifacts.
    pub(crate) publisher: Publisher,
    /// The cache of all GitRepositories of this controller, for includes.
    pub(crate) repositories: Cache<GitRepository>,
    /// Reads the Secrets with credentials.
    pub(crate) secrets: Secrets,
    /// The identities that objects act with, and the cache of tokens.
    pub(crate) identities: Identities,
    /// Flags for remotes.
    pub(crate) remotes: RemoteSettings,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
    /// Temporary folders for fetched Git objects.
    pub(crate) work: WorkFolders,
    /// Time until an unavailable include is checked again.
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
        let work_dir = flux_publish::work_folder(run, &self.work);
        let work_dir = work_dir.map_err(StepError::WorkDirectory)?;

        let presence = self.publisher.inspect(run).await;
        presence.map_err(StepError::from)?.announce(run).await?;
        if run.conditions.is(SOURCE_VERIFIED, Status::False) {
            run.conditions.remove(SOURCE_VERIFIED); // verified again below; True is kept for the previous revision
        }

        run.step(Action::ReconcileSource);
        let wanted = Wanted::of(spec, last_observed(run));
        let limit = wanted.timeout();
        let secrets = self.secrets.within(limit);
        let remote = credentials::read(run, &secrets, &self.identities, &self.remotes).await?;
        let included = self.included(run).await?;
        let claim = Arc::new(self.budget.claim());
        let late = |error: StepError| error.retried_after(spec.interval.to_std());
        let fetch = async |wanted| {
            let found = fetch::fetch(&remote, wanted, work_dir.path(), &claim);
            found.await.map_err(late)
        };
        let mut found = fetch(&wanted).await?;
        run.conditions.remove(FETCH_FAILED);
        let mut verification = None;
        if let Found::Unchanged(commit) = &found {
            let keys = Verification::read(run, &self.secrets.within(limit)).await?;
            let same_keys = if let Some(keys) = &keys {
                !keys.is_outdated(&run.status)
            } else {
                run.status.source_verification_fingerprint = None; // SC-VER-061
                true
            };
            if same_keys && !content_changed(spec, &run.status, &included) {
                return Err(unchanged(run, commit));
            }
            verification = Some(keys);
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
        fetch::check_sparse_paths(spec, &snapshot)?;

        let verification = match verification {
            Some(known) => known,
            None => Verification::read(run, &self.secrets.within(limit)).await?,
        };
        run.step(Action::VerifySource);
        verify::signatures(run, &commit, verification)?;
        run.step(Action::ReconcileSource);
        let message = format!("new upstream revision '{revision}'");
        flux_publish::announce(run, &revision, &message).await?;

        run.step(Action::ReconcileArtifact);
        if is_current(run, &revision, &included) {
            flux_publish::up_to_date(run, &revision);
            run.conditions.remove(INCLUDE_UNAVAILABLE);
        } else {
            let path = Owner::of(&*object).path(&format!("{}.tar.gz", commit.hash));
            let storing = store::Storing {
                publisher: self.publisher.clone(),
                path: path.clone(),
                object: object.clone(),
                included: included.clone(),
                budget: self.budget.clone(),
                limit: wanted.timeout().max(MIN_ARCHIVE_LIMIT),
            };
            let files = Files::of(snapshot, &claim).map_err(late)?;
            let stored = storing.run(files).await.map_err(late)?;
            run.conditions.remove(INCLUDE_UNAVAILABLE);
            let artifact = self.publisher.artifact(path, revision.clone(), &stored);
            observe(run, artifact, included);
            run.conditions.remove(STORAGE_OPERATION_FAILED);
        }
        run.conditions.remove(ARTIFACT_OUTDATED);
        in_storage(run, &revision);
        notify(run, &commit.short_message());
        Ok(Outcome::summarized(spec.interval.to_std()))
    }

    async fn finalize(&self, run: &mut Run<GitRepository>) -> Result<(), Failure> {
        let removed = self.publisher.finalize(run).await;
        Ok(removed.map_err(StepError::from)?)
    }
}

impl GitRepositories {
    /// The artifacts to include. Emits an event if they differ from the last ones (SC-GIT-095, SC-GIT-096).
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
        if outdated::includes_differ(&included, &run.status.included_artifacts) {
            let message = "included artifacts differ from last observed includes";
            if !run.status.included_artifacts.is_empty() {
                run.conditions.set(
                    ARTIFACT_OUTDATED,
                    Status::True,
                    GitReason::IncludeChange,
                    message,
                );
            }
            flux_publish::progress(run, message).await?;
        }
        run.conditions.remove(ARTIFACT_OUTDATED);
        Ok(included)
    }
}

/// The revision for which listing the remote's references is enough and nothing is fetched (SC-GIT-060).
fn last_observed(run: &Run<GitRepository>) -> Option<String> {
    let artifact = run.status.artifact.as_ref()?;
    run.conditions
        .is_true(ARTIFACT_IN_STORAGE)
        .then(|| artifact.revision.clone())
}

/// The revision as in the status: with the full reference if the spec names one (SC-GIT-049).
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

/// Ends a run that found no change (SC-GIT-063, SC-GIT-064).
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
    flux_publish::stored(run, format!("stored artifact for revision '{revision}'"));
}

/// Whether the stored artifact is up to date with this revision and these includes.
fn is_current(run: &Run<GitRepository>, revision: &str, included: &[Artifact]) -> bool {
    run.status
        .artifact
        .as_ref()
        .is_some_and(|artifact| artifact.revision == revision)
        && !outdated::includes_differ(included, &run.status.included_artifacts)
        && !content_changed(&run.object().spec, &run.status, included)
}

/// Records the artifact and its inputs in the status (SC-GIT-111).
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

/// Emits the event of a new artifact or a recovery (SC-GIT-112).
fn notify(run: &Run<GitRepository>, commit: &str) {
    let message = format!("stored artifact for commit '{commit}'");
    flux_publish::notify(run, CONDITIONS, News::reason, message);
}
