//! The HelmChart kind: publishes a chart of a Helm repository, a GitRepository or a Bucket as an artifact.

mod build;
mod dependencies;
mod failure;
mod files;
mod local;
mod reason;
mod remote;
mod repository;
mod source;

use std::time::Duration;

use flux_api::source::{HelmChart, HelmRepository, ReconcileStrategy};
use flux_publish::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, Deadline, FETCH_FAILED, Owner, Publisher, Row,
    SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, Table,
};
use flux_runtime::conditions::{ConditionType, SUCCEEDED, Status};
use flux_runtime::outcome::Again;
use flux_runtime::policy::{Ready, Wording};
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};

pub(crate) use self::build::Limits;
use self::build::{Build, Stored, Wanted, own_values_files};
use self::failure::StepError;
use self::reason::ChartReason;
pub(crate) use self::repository::Repositories;
use self::source::Source;
pub(crate) use self::source::{Sources, on_revision, references};
use crate::helm::indexes::Full;

/// The chart could not be built.
const BUILD_FAILED: ConditionType = ConditionType::new("BuildFailed");

/// The conditions of the kind (SC-PROC-062 to SC-PROC-064, SC-PROC-086).
const CONDITIONS: &Table = &Table::new(&[
    Row::Failure(STORAGE_OPERATION_FAILED),
    Row::Failure(FETCH_FAILED),
    Row::Failure(BUILD_FAILED),
    Row::Negative(ARTIFACT_OUTDATED),
    Row::Positive(ARTIFACT_IN_STORAGE),
    Row::Decisive(SOURCE_VERIFIED),
]);

/// The range of versions of a spec without one (SC-HCHART-002).
const ANY_VERSION: &str = "*";
/// The time limit for storing a chart.
const STORE_LIMIT: Duration = Duration::from_mins(10);
/// The name of the link to the newest artifact (SC-ART-009).
const LATEST: &str = "latest.tar.gz";

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: CONDITIONS.owned(),
    ready: Ready::Summary(CONDITIONS.summary()),
    wording: Wording::Named,
    ..Settings::new("helmchart")
};

/// Reconciles HelmCharts.
pub(crate) struct HelmCharts {
    /// Stores and serves artifacts.
    pub(crate) publisher: Publisher,
    /// The sources of charts.
    pub(crate) sources: Sources,
    /// Where charts are downloaded from.
    pub(crate) repositories: Repositories,
    /// Temporary folders for sources.
    pub(crate) work: WorkFolders,
    /// The limits of charts.
    pub(crate) limits: Limits,
}

impl Reconciler for HelmCharts {
    type Kind = HelmChart;

    fn suspended(&self, object: &HelmChart) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<HelmChart>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let interval = object.spec.interval.to_std();

        let presence = self.publisher.inspect(run).await;
        presence.map_err(StepError::from)?.announce(run).await?;
        if run.conditions.is(SOURCE_VERIFIED, Status::False) {
            run.conditions.remove(SOURCE_VERIFIED); // it is found out anew (SC-HCHART-016)
        }

        run.step(Action::ReconcileSource);
        let found = source::find(&object, &self.sources, self.publisher.storage()).await;
        let source = found.map_err(|error| unavailable(run, error))?;
        if source.artifact().is_none() && !source.needs_no_artifact() {
            return Ok(without_artifact(run));
        }
        if let Some(artifact) = &source.recorded {
            let revision = artifact.revision.clone();
            run.status.observed_source_artifact_revision = Some(revision); // SC-HCHART-015
        }

        let mut full = None;
        let built = Box::pin(self.build(run, &source, &mut full)).await;
        if let Some(full) = full {
            report(run, full);
        }
        if object.spec.verify.is_none() {
            run.conditions.remove(SOURCE_VERIFIED);
        }
        let build = built.map_err(|error| {
            error.observe(&mut run.conditions);
            error.retried_after(interval)
        })?;
        run.step(Action::ReconcileArtifact);
        observe(run, &build).await?;
        self.store(run, &build).await?;
        notify(run, &build);
        Ok(Outcome::summarized(interval))
    }

    async fn finalize(&self, run: &mut Run<HelmChart>) -> Result<(), Failure> {
        let removed = self.publisher.finalize(run).await;
        Ok(removed.map_err(StepError::from)?)
    }
}

impl HelmCharts {
    async fn build(
        &self,
        run: &mut Run<HelmChart>,
        source: &Source,
        full: &mut Option<Full>,
    ) -> Result<Build, StepError> {
        let wanted = self.wanted(run, source);
        if let Some(repository) = source.repository.clone() {
            let built = self.of_repository(run, &repository, source, wanted, full);
            return Box::pin(built).await.map_err(StepError::of_repository);
        }
        let Some(artifact) = source.artifact() else {
            return Err(StepError::SourceKind(String::new())); // checked before
        };
        let prefix = format!("helmchart-{}-{}-", run.namespace(), run.name());
        let folder = self.work.folder(&prefix);
        let folder = folder.map_err(StepError::WorkDirectory)?;
        let object = run.object().clone();
        let input = local::Input {
            artifact,
            chart: &object.spec.chart,
            object: run.key(),
            folder: folder.path(),
        };
        Box::pin(local::build(&self.repositories, &input, wanted)).await
    }

    async fn of_repository(
        &self,
        run: &Run<HelmChart>,
        repository: &HelmRepository,
        source: &Source,
        wanted: Wanted,
        full: &mut Option<Full>,
    ) -> Result<Build, StepError> {
        let object = run.object().clone();
        let repositories = &self.repositories;
        let opened = repositories.source(repository, source.artifact()).await;
        let downloader = opened?;
        let material = remote::verifier(run, repositories, &downloader).await?;
        let reference = remote::Reference {
            name: &object.spec.chart,
            version: object.spec.version.as_deref().unwrap_or(ANY_VERSION),
            verify: object.spec.verify.is_some(),
            material,
            limit: crate::helm::timeout(&repository.spec),
        };
        Box::pin(remote::build(
            repositories,
            &downloader,
            &reference,
            wanted,
            full,
        ))
        .await
    }

    /// What the chart depends on besides its source.
    fn wanted(&self, run: &Run<HelmChart>, source: &Source) -> Wanted {
        let spec = &run.object().spec;
        let stored = run.status.artifact.as_ref().map(|artifact| Stored {
            path: artifact.path.clone(),
            values_files: run.status.observed_values_files.clone(),
        });
        let mut metadata = String::new();
        if source.repository.is_none()
            && spec.reconcile_strategy == Some(ReconcileStrategy::Revision)
            && let Some(artifact) = source.artifact()
        {
            metadata = local::revision_metadata(&spec.source_ref.kind, &artifact.revision);
        }
        if !own_values_files(&spec.values_files).is_empty() {
            let dot = if metadata.is_empty() { "" } else { "." };
            metadata = format!("{metadata}{dot}{}", run.generation());
        }
        Wanted {
            values_files: spec.values_files.clone(),
            ignore_missing: spec.ignore_missing_values_files,
            metadata,
            force: run.generation() != run.observed_generation(),
            stored,
            limits: self.limits,
            storage: self.publisher.storage().clone(),
            budget: self.repositories.budget.clone(),
        }
    }

    /// Stores a new chart, or keeps the stored one (SC-HCHART-086, SC-HCHART-089).
    async fn store(&self, run: &mut Run<HelmChart>, build: &Build) -> Result<(), StepError> {
        match &build.archive {
            None => flux_publish::up_to_date(run, &build.version),
            Some(archive) => {
                let name = flux_golang::path::base(build.name.as_str());
                let file = format!("{name}-{}.tgz", build.version);
                let path = Owner::of(&**run.object()).path(&file);
                let stored = {
                    let (publisher, path) = (self.publisher.clone(), path.clone());
                    let bytes = archive.bytes.clone();
                    let deadline = Deadline::within(STORE_LIMIT);
                    let store = move || {
                        publisher.store_file(&path, deadline, |into| into.write_all(&bytes))
                    };
                    tokio::task::spawn_blocking(store).await??
                };
                let version = build.version.clone();
                let artifact = self.publisher.artifact(path.clone(), version, &stored);
                run.status.artifact = Some(artifact);
                run.status.observed_chart_name = Some(build.name.clone());
                // SC-HCHART-074
                run.status.observed_values_files = if run.object().spec.ignore_missing_values_files
                {
                    build.values_files.clone()
                } else {
                    Vec::new()
                };
                self.publisher.link(run, &path, LATEST).await;
                run.conditions.remove(STORAGE_OPERATION_FAILED);
            }
        }
        run.conditions.remove(ARTIFACT_OUTDATED);
        let (reason, summary) = (build.reason(), build.summary());
        run.conditions
            .set(ARTIFACT_IN_STORAGE, Status::True, reason, summary);
        Ok(())
    }
}

/// Reports that there is no source. An unknown kind stalls, with the condition of a source that cannot be read
/// (SC-HCHART-013).
fn unavailable(run: &mut Run<HelmChart>, error: StepError) -> StepError {
    if let StepError::SourceKind(_) = error {
        let reason = ChartReason::SourceUnavailable;
        let message = error.to_string();
        run.conditions
            .set(FETCH_FAILED, Status::True, reason, message);
    }
    error
}

/// Reports that the source has no artifact, and tries again soon (SC-HCHART-014).
fn without_artifact(run: &mut Run<HelmChart>) -> Outcome {
    let source = &run.object().spec.source_ref;
    let message = format!(
        "no artifact available for {} source '{}'",
        source.kind, source.name
    );
    let interval = run.object().spec.interval.to_std();
    tracing::info!("{message}");
    run.trace(ChartReason::NoSourceArtifact, &*message);
    let reason = ChartReason::NoSourceArtifact;
    run.conditions
        .set(FETCH_FAILED, Status::True, reason, message);
    Outcome {
        again: Again::BackOff,
        ..Outcome::summarized(interval)
    }
}

/// Reports that the cache of indexes has no room; the run goes on (SC-HREPO-039).
fn report(run: &Run<HelmChart>, full: Full) {
    let message = full.to_string();
    tracing::info!("{message}");
    run.trace(ChartReason::CacheOperationFailed, message);
}

/// Sets the conditions of a build (SC-HCHART-067, SC-HCHART-080, SC-HCHART-082).
async fn observe(run: &mut Run<HelmChart>, build: &Build) -> Result<(), Failure> {
    let artifact = run.status.artifact.as_ref();
    let is_stored = artifact.is_some_and(|artifact| artifact.revision == build.version);
    let is_known = run.status.observed_chart_name.as_ref() == Some(&build.name);
    if !is_stored || !is_known {
        let summary = build.summary();
        if artifact.is_some() {
            let reason = ChartReason::NewChart;
            run.conditions
                .set(ARTIFACT_OUTDATED, Status::True, reason, &summary);
        }
        flux_publish::progress(run, &summary).await?;
    }
    run.conditions.remove(FETCH_FAILED);
    run.conditions.remove(BUILD_FAILED);
    if build.is_verified {
        let message = format!("verified signature of version {}", build.version);
        run.conditions
            .set(SOURCE_VERIFIED, Status::True, SUCCEEDED, message);
    } else {
        // SC-VER-055: an earlier success does not stand for what the policy lets pass unverified
        run.conditions.remove(SOURCE_VERIFIED);
    }
    if build.resolved > 0 {
        let message = format!("resolved {} chart dependencies", build.resolved);
        run.trace(ChartReason::ResolvedDependencies, message);
    }
    Ok(())
}

/// Emits the event of a new chart or a recovery (SC-HCHART-087).
fn notify(run: &Run<HelmChart>, build: &Build) {
    flux_publish::notify(run, CONDITIONS, |_| build.reason(), build.summary());
}
