//! The HelmRepository kind: publishes the index of a Helm repository as an artifact. Objects of type oci are static.

mod failure;
mod index;
mod reason;

use std::time::Duration;

use flux_api::source::{HelmRepository, HelmRepositoryType};
use flux_artifact::Digest;
use flux_budget::Budget;
use flux_publish::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, Deadline, FETCH_FAILED, News, Owner, Publisher, Row,
    STORAGE_OPERATION_FAILED, Table,
};
use flux_runtime::policy::{Ready, Wording};
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};

use self::failure::StepError;
use self::reason::HelmReason;
use crate::helm::access;
use crate::helm::fetch::{self, FetchError, Wanted};
use crate::helm::http::{self, Clients, HttpRepository};
use crate::helm::indexes::{Full, Indexes};
use crate::secrets::Secrets;

/// The conditions of the kind (SC-PROC-062 to SC-PROC-064, SC-PROC-086).
const CONDITIONS: &Table = &Table::new(&[
    Row::Failure(STORAGE_OPERATION_FAILED),
    Row::Failure(FETCH_FAILED),
    Row::Negative(ARTIFACT_OUTDATED),
    Row::Positive(ARTIFACT_IN_STORAGE),
]);

/// Minimum time limit for storing; otherwise it may take as long as fetching.
const MIN_STORE_LIMIT: Duration = Duration::from_mins(1);

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: CONDITIONS.owned(),
    ready: Ready::Summary(CONDITIONS.summary()),
    wording: Wording::Named,
    ..Settings::new("helmrepository")
};

/// Reconciles HelmRepositories.
pub(crate) struct HelmRepositories {
    /// Stores and serves artifacts.
    pub(crate) publisher: Publisher,
    /// Reads the Secrets with credentials.
    pub(crate) secrets: Secrets,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
    /// Temporary folders for fetched indexes.
    pub(crate) work: WorkFolders,
    /// The most bytes of an index.
    pub(crate) max_index: u64,
    /// The connections to repositories.
    pub(crate) clients: Clients,
    /// The tables of indexes, for HelmCharts.
    pub(crate) indexes: Indexes,
}

impl Reconciler for HelmRepositories {
    type Kind = HelmRepository;

    fn suspended(&self, object: &HelmRepository) -> bool {
        object.spec.suspend
    }

    fn is_static(&self, object: &HelmRepository) -> bool {
        object.spec.type_ == Some(HelmRepositoryType::Oci)
    }

    async fn reconcile(&self, run: &mut Run<HelmRepository>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let spec = &object.spec;
        let timeout = crate::helm::timeout(spec);
        let interval = crate::helm::interval(spec);

        let presence = self.publisher.inspect(run).await;
        presence.map_err(StepError::from)?.announce(run).await?;

        run.step(Action::ReconcileSource);
        let remote = self.remote(run, timeout).await?;
        let prefix = format!("helmrepository-{}-{}-", run.namespace(), run.name());
        let folder = self.work.folder(&prefix);
        let folder = folder.map_err(|error| StepError::Fetch(FetchError::Folder(error)))?;
        let wanted = Wanted {
            max: self.max_index,
            canonical: self.publisher.storage().algorithm(),
            last: last_revision(run),
        };
        let fetched = fetch::index(&remote, &wanted, &folder.path().join("index.yaml")).await;
        let fetched = fetched.map_err(StepError::Fetch)?;

        if fetched.is_unchanged {
            run.conditions.remove(FETCH_FAILED);
            let revision = run
                .status
                .artifact
                .as_ref()
                .map(|held| held.revision.clone());
            let revision = revision.unwrap_or_default();
            if let Some(artifact) = &run.status.artifact {
                self.indexes.extend(artifact);
            }
            flux_publish::up_to_date(run, &revision);
            up_to_date(run, &revision);
        } else {
            let revision = fetched.digest.to_string();
            let deadline = Deadline::within(timeout.max(MIN_STORE_LIMIT));
            let converted =
                index::convert(&fetched.file, folder.path(), &self.budget, deadline).await;
            let (json, table) = converted.map_err(|error| error.retried_after(interval))?;
            run.conditions.remove(FETCH_FAILED);
            let message = format!("new index revision '{revision}'");
            flux_publish::announce(run, &revision, &message).await?;

            run.step(Action::ReconcileArtifact);
            let path = Owner::of(&*object).path(&format!("index-{}.yaml", fetched.digest.hex()));
            let deadline = Deadline::within(timeout.max(MIN_STORE_LIMIT));
            let stored = index::store(&self.publisher, path.clone(), json, deadline).await?;
            let artifact = self
                .publisher
                .artifact(path.clone(), revision.clone(), &stored);
            let before = run.status.artifact.take();
            if let Err(full) = self.indexes.replace(before.as_ref(), &artifact, table) {
                report(run, full);
            }
            run.status.artifact = Some(artifact);
            self.publisher.link(run, &path, "index.yaml").await;
            run.conditions.remove(STORAGE_OPERATION_FAILED);
            up_to_date(run, &revision);
        }
        notify(run);
        Ok(Outcome::summarized(interval))
    }

    async fn finalize(&self, run: &mut Run<HelmRepository>) -> Result<(), Failure> {
        let removed = self.publisher.finalize(run).await;
        Ok(removed.map_err(StepError::from)?)
    }
}

impl HelmRepositories {
    /// Checks the URL, and reads the Secrets (SC-HREPO-021 to SC-HREPO-028).
    async fn remote(
        &self,
        run: &Run<HelmRepository>,
        timeout: Duration,
    ) -> Result<HttpRepository, StepError> {
        let object = run.object().clone();
        let spec = &object.spec;
        if spec.url.starts_with("oci://") {
            return Err(StepError::OciUrl);
        }
        let url = http::parse(&spec.url)?;
        HttpRepository::check_scheme(&url)?;
        let access = access::read(spec, run.namespace(), &self.secrets).await?;
        let remote =
            HttpRepository::new(&self.clients, url, access, spec.pass_credentials, timeout);
        remote.map_err(StepError::Client)
    }
}

/// Reports that the cache of indexes has no room; the run goes on (SC-HREPO-039).
fn report(run: &Run<HelmRepository>, full: Full) {
    let message = full.to_string();
    tracing::info!("{message}");
    run.trace(HelmReason::CacheOperationFailed, message);
}

/// The revision of the stored artifact, if it is a digest: an index with it is not read again (SC-HREPO-030).
fn last_revision(run: &Run<HelmRepository>) -> Option<Digest> {
    let artifact = run.status.artifact.as_ref()?;
    artifact.revision.parse().ok()
}

/// The artifact is up to date with this revision.
fn up_to_date(run: &mut Run<HelmRepository>, revision: &str) {
    run.conditions.remove(ARTIFACT_OUTDATED);
    flux_publish::stored(run, format!("stored artifact: revision '{revision}'"));
}

/// Emits the event of a new artifact or a recovery (SC-HREPO-038).
fn notify(run: &Run<HelmRepository>) {
    let size = run
        .status
        .artifact
        .as_ref()
        .and_then(|artifact| artifact.size);
    let size = size.map_or_else(
        || "unknown size".to_owned(),
        |size| format!("size {}", index::human_size(size)),
    );
    let url = flux_http::shown_text(&run.object().spec.url);
    let message = format!("stored fetched index of {size} from '{url}'");
    flux_publish::notify(run, CONDITIONS, News::reason, message);
}
