//! The ArtifactGenerator kind: composes ExternalArtifacts of the artifacts of sources.

mod access;
mod build;
mod copy;
mod doublestar;
mod drift;
mod failure;
mod glob;
mod inputs;
mod memory;
mod merge;
mod names;
mod namespaces;
mod observe;
mod output;
mod owner;
mod path_pattern;
mod policy;
mod prune;
mod publish;
mod reason;
mod staging;
mod steps;
mod triggers;
mod validation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flux_api::extensions::{ArtifactGenerator, GeneratedReference};
use flux_api::meta::GoDuration;
use flux_artifact::{Artifacts, Location};
use flux_budget::Budget;
use flux_cluster::Cluster;
use flux_publish::Publisher;
use flux_references::Sources;
use flux_runtime::controller::is_disabled;
use flux_runtime::outcome::{Again, chain};
use flux_runtime::per_object::PerObject;
use flux_runtime::policy::{
    FirstPass, Stalls, Start, SuspendedStatus, Suspension, SuspensionNotice,
};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};
use kube::ResourceExt as _;

use self::build::Workshop;
use self::copy::SourceFiles;
use self::drift::Drift;
use self::failure::{FetchSourceError, StepError};
use self::memory::Known;
use self::namespaces::{ManagedRules, Metadata, Namespaces};
pub(crate) use self::observe::references;
use self::observe::{Observed, observe};
use self::output::Outcomes;
pub(crate) use self::owner::FIELD_MANAGER;
use self::owner::{Outputs, Owners};
use self::path_pattern::{Request, requests};
pub(crate) use self::policy::Policy;
pub(crate) use self::prune::sweep_once;
use self::prune::{is_namespace, orphans};
use self::publish::ExternalArtifacts;
use self::reason::GeneratorReason as R;
use self::steps::Steps;
pub(crate) use self::triggers::{on_change_of_source, resumes};

/// The group of the kind, and of its annotations (SW-GEN-026).
const GROUP: &str = "source.extensions.fluxcd.io";
/// The annotation of a Namespace with the object that deletes it (SW-GEN-212).
const EXTERNAL_FINALIZER: &str = "source.extensions.fluxcd.io/externalFinalizer";
/// The message while artifacts are built (SW-GEN-034, SW-GEN-080).
const IN_PROGRESS: &str = "Reconciliation in progress";
/// How often a generator is reconciled (SW-GEN-020).
const INTERVAL: Duration = Duration::from_hours(1);

/// The annotation of this name in the kind's group.
fn annotation(name: &str) -> String {
    format!("{GROUP}/{name}")
}

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    finalizer: "source.extensions.fluxcd.io/finalizer",
    first_pass: FirstPass::Reported {
        message: IN_PROGRESS,
        suspended: (
            "ReconciliationDisabled",
            "Initialized with reconciliation suspended",
        ),
    },
    start: Start::ByReconciler,
    suspension: Suspension {
        message: "Reconciliation is disabled",
        status: SuspendedStatus::RequestOnly,
        notice: SuspensionNotice::Traced {
            error: "can't reconcile",
            reason: "ReconciliationDisabled",
        },
    },
    stalls: Stalls::Fail,
    ..Settings::new("artifactgenerator")
};

/// What a reconciler is made of.
pub(crate) struct Parts {
    /// Flags that apply to all objects.
    pub(crate) policy: Policy,
    /// The caches of the source kinds.
    pub(crate) sources: Sources,
    /// Fetches artifacts.
    pub(crate) artifacts: Artifacts,
    /// Stores artifacts.
    pub(crate) publisher: Publisher,
    /// The cluster, with the controller's own identity.
    pub(crate) cluster: Cluster,
    /// Folders for temporary files.
    pub(crate) work: WorkFolders,
    /// The memory of the process.
    pub(crate) budget: Budget,
    /// The cache of the kind.
    pub(crate) generators: Cache<ArtifactGenerator>,
    /// The only namespace that is watched, if there is one.
    pub(crate) namespace: Option<String>,
}

/// The reconciler of ArtifactGenerators.
pub(crate) struct ArtifactGenerators {
    policy: Policy,
    sources: Sources,
    artifacts: Artifacts,
    publisher: Publisher,
    external: ExternalArtifacts,
    namespaces: Namespaces,
    outputs: Outputs,
    work: WorkFolders,
    budget: Budget,
    memory: PerObject<Known>,
}

/// What a run works with once the sources are fetched.
struct Work<'w> {
    object: &'w ArtifactGenerator,
    uid: String,
    rules: Option<&'w ManagedRules>,
    observed: &'w Observed,
    requests: Vec<Arc<Request>>,
    workshop: Workshop,
}

impl Reconciler for ArtifactGenerators {
    type Kind = ArtifactGenerator;

    fn suspended(&self, object: &ArtifactGenerator) -> bool {
        is_disabled(object, &annotation("reconcile"))
    }

    async fn reconcile(&self, run: &mut Run<ArtifactGenerator>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let until = Instant::now() + time_left(self.policy.timeout);
        let result = Box::pin(self.steps(run, &object, until)).await;
        if result.is_err() && Instant::now() >= until {
            run.has_timed_out(); // RT-QUE-009
        }
        result.map_err(|error| error.failure(&self.policy))
    }

    async fn finalize(&self, run: &mut Run<ArtifactGenerator>) -> Result<(), Failure> {
        let object = run.object().clone();
        let inventory = object.status.clone().unwrap_or_default().inventory;
        let removed = self.remove(&object, &inventory, &BTreeSet::new()).await;
        removed.map_err(|error| StepError::Remove(error).failure(&self.policy))?;
        self.prune_namespaces(&object, &inventory, &BTreeSet::new())
            .await;
        Ok(())
    }
}

/// The time for the steps of a run, a little less than the run may take, so that the step that takes too long is named.
fn time_left(timeout: Duration) -> Duration {
    let reserve = (timeout / 20).min(Duration::from_secs(1));
    timeout.saturating_sub(reserve)
}

/// How often the object is reconciled (SW-GEN-213).
fn interval(object: &ArtifactGenerator) -> Duration {
    let every = object.annotations().get(&annotation("reconcileEvery"));
    let every = every.and_then(|text| text.parse::<GoDuration>().ok());
    let every = every.map(GoDuration::to_std);
    every.filter(|every| !every.is_zero()).unwrap_or(INTERVAL)
}

impl ArtifactGenerators {
    /// The reconciler of these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        let owners = Owners::new(parts.generators, parts.cluster.clone());
        let external = ExternalArtifacts {
            known: parts.sources.external_artifacts.clone(),
            client: parts.cluster.client().clone(),
            owners: owners.clone(),
            namespace: parts.namespace,
        };
        let managers = &parts.policy.override_managers;
        Self {
            namespaces: Namespaces::new(parts.cluster, owners, managers),
            policy: parts.policy,
            sources: parts.sources,
            artifacts: parts.artifacts,
            publisher: parts.publisher,
            external,
            outputs: Outputs::default(),
            work: parts.work,
            budget: parts.budget,
            memory: PerObject::default(),
        }
    }

    /// What is kept of each object between runs.
    pub(crate) fn memory(&self) -> PerObject<Known> {
        self.memory.clone()
    }

    /// The steps of a run.
    async fn steps(
        &self,
        run: &mut Run<ArtifactGenerator>,
        object: &ArtifactGenerator,
        until: Instant,
    ) -> Result<Outcome, StepError> {
        let rules = validation::validate(object, &self.policy)?;
        run.step(Action::ResolveSource);
        let observed = observe(&self.sources, object).await?;
        run.step(Action::Reconcile);
        let sources_digest = observed.digest();
        let Some(drift) = self
            .drift(run, object, rules.as_ref(), &sources_digest)
            .await?
        else {
            return Ok(up_to_date(run, object));
        };
        tracing::info!(reason = ?drift, "{IN_PROGRESS}");
        run.set_ready_unknown(IN_PROGRESS);
        run.progress_of_step(IN_PROGRESS).await?;

        run.step(Action::FetchSource);
        let work = self.work.folder("ag-").map_err(StepError::Work)?;
        let work = Arc::new(work);
        let files = self.fetch(&observed, work.clone(), until).await?;
        run.step(Action::Build);
        let requests = requests(&object.spec, &files)?;
        validation::check_targets(&requests, run.namespace(), &self.policy)?;
        self.check_access(run, object, rules.as_ref(), &requests)
            .await?;
        let work = Work {
            object,
            uid: object.uid().unwrap_or_default(),
            rules: rules.as_ref(),
            observed: &observed,
            requests: requests.into_iter().map(Arc::new).collect(),
            workshop: Workshop {
                sources: Arc::new(files),
                storage: self.publisher.storage().clone(),
                budget: self.budget.clone(),
                steps: Arc::new(Steps::default()),
                work,
                until,
            },
        };
        let made = self.make(run, &work).await;
        if !made.failures.is_empty() {
            return Err(StepError::Outputs(made.failures));
        }
        run.step(Action::Reconcile);
        self.finish(run, &work, made, sources_digest).await
    }

    /// Why artifacts have to be built, if they have to (SW-GEN-065).
    async fn drift(
        &self,
        run: &Run<ArtifactGenerator>,
        object: &ArtifactGenerator,
        rules: Option<&ManagedRules>,
        sources_digest: &str,
    ) -> Result<Option<Drift>, StepError> {
        if let Some(drift) = drift::of_status(object, sources_digest) {
            return Ok(Some(drift));
        }
        let key = run.key();
        let inventory = object.status.clone().unwrap_or_default().inventory;
        let mut known = self.memory.get(&key).unwrap_or_default();
        let storage = self.publisher.storage().clone();
        let entries = inventory.clone();
        let look = move || (drift::of_files(&entries, &storage, &mut known), known);
        let looked = tokio::task::spawn_blocking(look).await;
        let (drift, known) = looked.map_err(|_| StepError::Task)?;
        self.memory.insert(&key, known);
        if drift.is_some() {
            return Ok(drift);
        }
        let storage = self.publisher.storage();
        if let Some(drift) = drift::of_objects(object, &self.external, storage).await {
            return Ok(Some(drift));
        }
        let namespaces = inventory.iter().filter(|entry| is_namespace(entry));
        let uid = object.uid().unwrap_or_default();
        for entry in namespaces {
            let Some(rules) = rules else {
                return Ok(Some(Drift::NamespacesChanged)); // they are no longer managed
            };
            // What comes from a file is not known here.
            let expected = Metadata::of(object, rules, &entry.name, None).ok();
            let expected = expected.filter(|expected| expected.digest() == entry.digest);
            let changed = self
                .namespaces
                .has_drifted(&entry.name, &uid, expected.as_ref());
            match changed.await {
                Ok(false) => {}
                Ok(true) => return Ok(Some(Drift::NamespacesChanged)),
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(error, "Failed to verify managed namespaces for drift");
                    return Ok(Some(Drift::NamespacesChanged));
                }
            }
        }
        Ok(None)
    }

    /// Downloads the sources, all at once; one that is in the cache is not downloaded again (SW-ART-008).
    async fn fetch(
        &self,
        observed: &Observed,
        work: Arc<tempfile::TempDir>,
        until: Instant,
    ) -> Result<SourceFiles, StepError> {
        let fetches = observed.0.iter().map(|(alias, artifact)| {
            let location = Location {
                url: &artifact.url,
                path: &artifact.path,
                digest: &artifact.digest,
            };
            let folder = work.clone();
            let create = move || tempfile::tempfile_in(folder.path());
            async move {
                let files = self.artifacts.spooled(location, create).await?;
                Ok::<_, FetchSourceError>((alias.clone(), files))
            }
        });
        let all = futures::future::try_join_all(fetches);
        let fetched = tokio::time::timeout_at(until.into(), all).await;
        let fetched = fetched.unwrap_or(Err(FetchSourceError::Deadline));
        Ok(fetched.map_err(StepError::Fetch)?.into_iter().collect())
    }

    /// Whether the generator may make its artifacts, and manage their namespaces (SW-GEN-208 to SW-GEN-210).
    async fn check_access(
        &self,
        run: &Run<ArtifactGenerator>,
        object: &ArtifactGenerator,
        rules: Option<&ManagedRules>,
        requests: &[Request],
    ) -> Result<(), StepError> {
        let own = run.namespace();
        let namespaces: BTreeSet<&str> = requests
            .iter()
            .map(|request| request.namespace(own))
            .collect();
        if let Some(rules) = rules {
            let others = namespaces.iter().filter(|namespace| **namespace != own);
            for namespace in others {
                rules
                    .check(namespace)
                    .map_err(validation::ValidationError::from)?;
            }
        }
        access::check(run.client(), object, &namespaces, &self.policy).await?;
        Ok(())
    }

    /// Removes what is no longer made, and reports the success (SW-GEN-086 to SW-GEN-091).
    async fn finish(
        &self,
        run: &mut Run<ArtifactGenerator>,
        work: &Work<'_>,
        made: Outcomes,
        sources_digest: String,
    ) -> Result<Outcome, StepError> {
        let object = work.object;
        let before = object.status.clone().unwrap_or_default().inventory;
        let kept: BTreeSet<Key> = made.keys();
        let left = self.remove(object, &before, &kept).await.err();
        let namespaces: BTreeSet<String> = made
            .namespaces
            .iter()
            .map(|entry| entry.name.clone())
            .collect();
        self.prune_namespaces(object, &before, &namespaces).await;
        self.collect_garbage(&made.artifacts).await;
        if let Some(error) = left {
            // The next run finds it by its label.
            tracing::error!(error = chain(&error), "Failed to delete ExternalArtifact");
        }

        let changed: Vec<String> = made.changed(&before);
        let count = made.artifacts.len();
        run.status.inventory = made.artifacts.into_iter().chain(made.namespaces).collect();
        run.status.observed_sources_digest = Some(sources_digest);
        let message = format!("reconciliation succeeded, generated {count} artifact(s)");
        run.trace(R::Ready, &*message); // SW-GEN-088, SW-GEN-090
        if !changed.is_empty() {
            let news = format!("external artifacts reconciled: {}", changed.join("\n"));
            run.event(R::Ready, news, &BTreeMap::new()); // SW-GEN-089
        }
        Ok(Outcome::ready(R::Succeeded, message, interval(object)))
    }

    /// Removes the ExternalArtifacts of a generator that are not `kept`. Returns the last error that may pass.
    async fn remove(
        &self,
        object: &ArtifactGenerator,
        inventory: &[GeneratedReference],
        kept: &BTreeSet<Key>,
    ) -> Result<(), flux_objects::Error> {
        let uid = object.uid().unwrap_or_default();
        let mut left = Ok(());
        for key in orphans(inventory, &self.external, &uid, kept) {
            let removed = prune::artifact(&key, &uid, &self.external, &self.publisher).await;
            if let Err(error) = removed {
                tracing::error!(error = chain(&error), "Failed to delete ExternalArtifact");
                // What the server refuses would be refused again (SW-ART-060).
                if error.code().is_none_or(|code| code >= 500 || code == 429) {
                    left = Err(error);
                }
            }
        }
        left
    }

    /// Deletes the namespaces of an inventory that are not `kept`, if the spec has it so (SW-GEN-210).
    async fn prune_namespaces(
        &self,
        object: &ArtifactGenerator,
        inventory: &[GeneratedReference],
        kept: &BTreeSet<String>,
    ) {
        let managed = object.spec.managed_namespaces.as_ref();
        if !managed.is_some_and(|managed| managed.prune) {
            return;
        }
        let uid = object.uid().unwrap_or_default();
        let entries = inventory.iter().filter(|entry| is_namespace(entry));
        for entry in entries.filter(|entry| !kept.contains(&entry.name)) {
            prune::namespace(&entry.name, &uid, &self.namespaces).await;
        }
    }

    /// Applies the retention rules to the files of each artifact (SW-ART-040, SW-ART-043).
    async fn collect_garbage(&self, artifacts: &[GeneratedReference]) {
        let paths: Vec<String> = artifacts.iter().map(output::path).collect();
        let storage = self.publisher.storage().clone();
        let collect = move || {
            for path in paths {
                match storage.collect_garbage(&path) {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(path, "garbage collected {count} old artifact(s)"),
                    Err(error) => tracing::error!(
                        path,
                        error = chain(&error),
                        "failed to garbage collect artifacts"
                    ),
                }
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(collect).await {
            tracing::error!(%error, "failed to garbage collect artifacts");
        }
    }
}

/// The end of a run that found nothing to do (SW-GEN-068).
fn up_to_date(run: &Run<ArtifactGenerator>, object: &ArtifactGenerator) -> Outcome {
    let status = object.status.clone().unwrap_or_default();
    let made = status.inventory.iter().filter(|entry| !is_namespace(entry));
    let message = format!("No drift detected, {} artifact(s) up to date", made.count());
    tracing::info!("{message}");
    run.trace(R::Ready, message);
    Outcome {
        again: Again::After(interval(object)),
        ..Outcome::summarized(INTERVAL)
    }
}

#[cfg(test)]
mod tests;
