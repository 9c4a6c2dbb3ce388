//! The OCIRepository kind: publishes a layer of an artifact in an OCI registry as an artifact.

mod access;
mod failure;
mod layer;
mod reason;
mod store;
mod verify;
mod version;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_api::source::{OCILayerOperation, OCIRepository, OCIRepositorySpec, OCIRepositoryStatus};
use flux_budget::Budget;
use flux_identity::Identities;
use flux_oci::Client;
use flux_publish::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, News, Owner, Publisher, Row,
    SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, Table,
};
use flux_runtime::conditions::Status;
use flux_runtime::policy::{Ready, Wording};
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};

use self::failure::{ShownUrl, StepError};
use self::version::Version;
use crate::secrets::Secrets;

/// The conditions of the kind (SC-PROC-062 to SC-PROC-064, SC-PROC-086).
const CONDITIONS: &Table = &Table::new(&[
    Row::Failure(STORAGE_OPERATION_FAILED),
    Row::Failure(FETCH_FAILED),
    Row::Negative(ARTIFACT_OUTDATED),
    Row::Positive(ARTIFACT_IN_STORAGE),
    Row::Decisive(SOURCE_VERIFIED),
]);

/// The time limit if the spec has none (SC-OCI-086).
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// Minimum time limit for archiving, and for downloading a layer; otherwise each may take as long as the timeout.
const MIN_TRANSFER_LIMIT: Duration = Duration::from_mins(10);
/// The name of the link to the newest artifact (SC-ART-009).
const LATEST: &str = "latest.tar.gz";

/// Where an artifact came from, by its annotations (SC-OCI-068).
const ORIGIN_SOURCE: &str = "org.opencontainers.image.source";
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: CONDITIONS.owned(),
    ready: Ready::Summary(CONDITIONS.summary()),
    wording: Wording::Named,
    ..Settings::new("ocirepository")
};

/// Reconciles OCIRepositories.
pub(crate) struct OCIRepositories {
    /// Stores and serves artifacts.
    pub(crate) publisher: Publisher,
    /// Reads the Secrets with credentials.
    pub(crate) secrets: Secrets,
    /// The identities that objects act with.
    pub(crate) identities: Identities,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
    /// Temporary folders for layers.
    pub(crate) work: WorkFolders,
}

impl Reconciler for OCIRepositories {
    type Kind = OCIRepository;

    fn suspended(&self, object: &OCIRepository) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<OCIRepository>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let spec = &object.spec;
        let work_dir = flux_publish::work_folder(run, &self.work);
        let work_dir = work_dir.map_err(StepError::WorkDirectory)?;

        let presence = self.publisher.inspect(run).await;
        presence.map_err(StepError::from)?.announce(run).await?;
        if run.conditions.is(SOURCE_VERIFIED, Status::False) {
            run.conditions.remove(SOURCE_VERIFIED); // it is found out anew; a success stands for the version before
        }

        run.step(Action::ReconcileSource);
        let late = |error: StepError| error.retried_after(spec.interval.to_std());
        let client = Box::pin(self.connect(run)).await?;
        let found = version::find(&client, spec, timeout(spec)).await;
        let version = found.map_err(late)?;
        let revision = version.revision();
        let message = format!("new revision '{revision}' for '{}'", version.reference);
        flux_publish::announce(run, &revision, &message).await?;

        let limit = timeout(spec);
        run.step(Action::VerifySource);
        let secrets = self.secrets.within(limit);
        let verified = verify::signatures(run, &secrets, &self.budget, &client, &version, limit);
        Box::pin(verified).await.map_err(late)?;
        run.step(Action::ReconcileSource);
        if is_current(run, &revision) {
            run.conditions.remove(FETCH_FAILED);
            flux_publish::up_to_date(run, &revision);
        } else {
            let publishing = self.publish(run, &client, &version, work_dir.path());
            Box::pin(publishing).await.map_err(late)?;
        }
        run.conditions.remove(ARTIFACT_OUTDATED);
        let message = format!("stored artifact for digest '{revision}'"); // the whole revision: SC-OCI-067
        flux_publish::stored(run, message);
        notify(run);
        Ok(Outcome::summarized(spec.interval.to_std()))
    }

    async fn finalize(&self, run: &mut Run<OCIRepository>) -> Result<(), Failure> {
        let removed = self.publisher.finalize(run).await;
        Ok(removed.map_err(StepError::from)?)
    }
}

impl OCIRepositories {
    /// A client for the repository, with credentials, proxy and certificates (SC-OCI-021 to SC-OCI-026).
    async fn connect(&self, run: &Run<OCIRepository>) -> Result<Client, StepError> {
        let object = run.object().clone();
        let spec = &object.spec;
        let claim = Arc::new(self.budget.claim());
        let secrets = self.secrets.within(timeout(spec));
        let mut access = access::read(run, &secrets, &claim, timeout(spec)).await?;
        let repository = version::repository(spec)?;
        let login = access.log_in(&self.identities, &object, &repository, timeout(spec));
        let login = Box::pin(login).await;
        login.map_err(|error| error.retried_after(spec.interval.to_std()))?;
        let options = access.options(&repository, claim);
        Client::new(repository, options).map_err(|source| StepError::Transport {
            url: ShownUrl::new(&spec.url),
            source: Box::new(source.into()),
        })
    }

    /// Pulls the layer of a version, stores it, and records the artifact in the status.
    async fn publish(
        &self,
        run: &mut Run<OCIRepository>,
        client: &Client,
        version: &Version,
        folder: &Path,
    ) -> Result<(), StepError> {
        let object = run.object().clone();
        let spec = &object.spec;
        let limit = timeout(spec).max(MIN_TRANSFER_LIMIT);
        let pulled = layer::pull(client, version, spec, folder, limit).await?;
        let metadata = pulled.annotations.clone();
        let content = layer::unpack(pulled, spec, self.budget.claim()).await?;
        run.conditions.remove(FETCH_FAILED);

        run.step(Action::ReconcileArtifact);
        let path = Owner::of(&*object).path(&format!("{}.tar.gz", version.digest));
        let storing = store::Storing {
            publisher: self.publisher.clone(),
            path: path.clone(),
            ignore: spec.ignore.clone(),
            limit,
        };
        let stored = storing.run(content).await?;
        let revision = version.revision();
        let mut artifact = self.publisher.artifact(path.clone(), revision, &stored);
        artifact.metadata = metadata;
        run.status.artifact = Some(artifact);
        run.status.observed_ignore.clone_from(&spec.ignore);
        run.status
            .observed_layer_selector
            .clone_from(&spec.layer_selector);
        self.publisher.link(run, &path, LATEST).await;
        run.conditions.remove(STORAGE_OPERATION_FAILED);
        Ok(())
    }
}

/// The time limit for one operation with the registry.
fn timeout(spec: &OCIRepositorySpec) -> Duration {
    spec.timeout.map_or(DEFAULT_TIMEOUT, GoDuration::to_std)
}

/// The media type of the layer, if one is selected.
fn layer_media_type(spec: &OCIRepositorySpec) -> Option<&str> {
    let selected = spec.layer_selector.as_ref()?.media_type.as_deref();
    selected.filter(|media_type| !media_type.is_empty())
}

/// What is done with the layer.
fn layer_operation(spec: &OCIRepositorySpec) -> OCILayerOperation {
    let operation = spec.layer_selector.as_ref();
    match operation.and_then(|selector| selector.operation.clone()) {
        Some(OCILayerOperation::Other(text)) if text.is_empty() => OCILayerOperation::Extract,
        None => OCILayerOperation::Extract,
        Some(operation) => operation,
    }
}

/// Whether the spec differs from the inputs of the stored artifact (SC-OCI-060).
fn content_changed(spec: &OCIRepositorySpec, status: &OCIRepositoryStatus) -> bool {
    spec.ignore != status.observed_ignore || spec.layer_selector != status.observed_layer_selector
}

/// Whether the stored artifact is that of this revision and this spec (SC-OCI-060, SC-OCI-061).
fn is_current(run: &Run<OCIRepository>, revision: &str) -> bool {
    let artifact = run.status.artifact.as_ref();
    artifact.is_some_and(|artifact| artifact.revision == revision)
        && !content_changed(&run.object().spec, &run.status)
}

/// Emits the event of a new artifact or a recovery (SC-OCI-068).
fn notify(run: &Run<OCIRepository>) {
    let Some(artifact) = &run.status.artifact else {
        return;
    };
    let mut message = format!(
        "stored artifact with revision '{}' from '{}'",
        artifact.revision,
        ShownUrl::new(&run.object().spec.url)
    );
    let origin = |name: &str| {
        let value = artifact.metadata.get(name);
        value.filter(|value| !value.is_empty())
    };
    if let (Some(source), Some(revision)) = (origin(ORIGIN_SOURCE), origin(ORIGIN_REVISION)) {
        message = format!("{message}, origin source '{source}', origin revision '{revision}'");
    }
    flux_publish::notify(run, CONDITIONS, News::reason, message);
}

#[cfg(test)]
mod tests {
    use flux_api::source::OCILayerSelector;

    use super::*;

    fn selecting(media_type: Option<&str>, operation: Option<&str>) -> OCIRepositorySpec {
        OCIRepositorySpec {
            layer_selector: Some(OCILayerSelector {
                media_type: media_type.map(str::to_owned),
                operation: operation
                    .map(|text| serde_json::from_str(&format!("\"{text}\"")).unwrap()),
            }),
            ..OCIRepositorySpec::default()
        }
    }

    // SC-OCI-004, SC-OCI-086
    #[test]
    fn what_is_absent_has_its_default() {
        let none = OCIRepositorySpec::default();
        assert_eq!(timeout(&none), Duration::from_mins(1));
        assert_eq!(layer_operation(&none), OCILayerOperation::Extract);
        assert_eq!(layer_media_type(&none), None);
        let empty = selecting(Some(""), Some(""));
        assert_eq!(layer_operation(&empty), OCILayerOperation::Extract);
        assert_eq!(layer_media_type(&empty), None);
        let copied = selecting(Some("a/b"), Some("copy"));
        assert_eq!(layer_operation(&copied), OCILayerOperation::Copy);
        assert_eq!(layer_media_type(&copied), Some("a/b"));
    }

    // SC-OCI-060: both fields of the selector, and whether there is one
    #[test]
    fn relevant_spec_changes_rebuild_the_artifact() {
        let status = |spec: &OCIRepositorySpec| OCIRepositoryStatus {
            observed_ignore: spec.ignore.clone(),
            observed_layer_selector: spec.layer_selector.clone(),
            ..OCIRepositoryStatus::default()
        };
        let ignoring = |text: &str| OCIRepositorySpec {
            ignore: Some(text.to_owned()),
            ..OCIRepositorySpec::default()
        };
        let specs = [
            OCIRepositorySpec::default(),
            ignoring(""),
            ignoring("*.md"),
            selecting(None, None),
            selecting(Some("a/b"), None),
            selecting(Some("a/b"), Some("copy")),
            selecting(Some("a/b"), Some("extract")),
        ];
        for (a, now) in specs.iter().enumerate() {
            for (b, before) in specs.iter().enumerate() {
                assert_eq!(content_changed(now, &status(before)), a != b, "{a} {b}");
            }
        }
        let moved = OCIRepositorySpec {
            url: "oci://other".to_owned(),
            ..OCIRepositorySpec::default()
        };
        assert!(!content_changed(&moved, &OCIRepositoryStatus::default()));
    }
}
