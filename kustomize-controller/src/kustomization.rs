//! The Kustomization kind: builds the objects in an artifact and applies them to a cluster.

mod apply;
mod build;
mod decryption;
mod deletion;
mod dependencies;
mod failure;
mod fetch;
mod health;
mod history;
mod inventory_room;
mod memory;
mod owner;
mod plan;
mod policy;
mod prune;
mod reason;
mod remote_bases;
mod source;
mod variables;
mod watches;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use build::Builder;
pub(crate) use decryption::Decryption;
pub(crate) use dependencies::applied_revision;
use flux_api::kustomize::Kustomization;
use flux_api::meta::{GoDuration, ResourceInventory};
use flux_apply::{ChangeSet, inventory};
use flux_artifact::Artifacts;
use flux_cluster::{Cluster, Confidential};
use flux_references::{Configs, Sources, Waiting};
use flux_runtime::policy::{Stalls, Start, SuspendedStatus, Suspension, SuspensionNotice};
use flux_runtime::queue::Key;
use flux_runtime::reason::Reason as _;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};
use flux_tenancy::Clusters;
pub(crate) use memory::Memories;
pub(crate) use owner::{FIELD_MANAGER, NAME_LABEL, NAMESPACE_LABEL};
pub(crate) use plan::references;
pub(crate) use policy::Policy;
pub(crate) use remote_bases::Remotes;
pub(crate) use watches::concerned;

use self::build::{BuildError, BuildInputs, Built, Owner};
use self::decryption::{Keys, KeysError};
use self::failure::StepError;
use self::fetch::Files;
use self::health::{Check, HEALTHY};
use self::memory::Inputs;
use self::plan::{Plan, Timings};
use self::reason::KustomizationReason;
use self::variables::VariablesError;
use crate::watched::{Look, Watches};

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: &[HEALTHY],
    start: Start::ByReconciler,
    suspension: Suspension {
        message: "Reconciliation is suspended for this object",
        status: SuspendedStatus::ObservedIfReady,
        notice: SuspensionNotice::Logged,
    },
    stalls: Stalls::Fail,
    ..Settings::new("kustomization")
};

/// The reconciler of Kustomizations.
pub(crate) struct Kustomizations {
    /// Flags and feature gates that apply to all objects.
    pub(crate) policy: Policy,
    /// The caches of the source kinds.
    pub(crate) sources: Sources,
    /// Reads ConfigMaps and Secrets.
    pub(crate) configs: Configs,
    /// Fetches and caches artifacts.
    pub(crate) artifacts: Artifacts,
    /// The cluster for each identity.
    pub(crate) clusters: Clusters,
    /// Builds manifests.
    pub(crate) builder: Builder,
    /// Decrypts them.
    pub(crate) decryption: Decryption,
    /// State kept between the runs of an object: builds and applied objects.
    pub(crate) memories: Memories,
    /// Knows applied objects without a request.
    pub(crate) watches: Watches,
    /// Kustomizations that wait for dependencies.
    pub(crate) waiting: Waiting,
}

impl Reconciler for Kustomizations {
    type Kind = Kustomization;

    fn suspended(&self, object: &Kustomization) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<Kustomization>) -> Result<Outcome, Failure> {
        let timings = Timings::of(run.object(), self.policy.requeue_dependency);
        let plan = match self.plan(run).await {
            Ok(plan) => plan,
            Err(error) => return Err(failed(run, error, &timings, &BTreeMap::new())),
        };
        let mut built = None;
        let result = self.steps(run, &plan, &mut built).await;
        if let Some(built) = built {
            record(run, &plan, &built, result.as_ref().err());
        }
        match result {
            Ok(()) => Ok(finished(run, &plan)),
            Err(error) => Err(failed(run, error, &timings, &plan.metadata)),
        }
    }

    async fn finalize(&self, run: &mut Run<Kustomization>) -> Result<(), Failure> {
        let object = run.object().clone();
        if !deletion::deletes_objects(&object) {
            return Ok(());
        }
        let claim = self.builder.claim();
        let delete =
            deletion::delete_objects(run, &self.policy, &self.clusters, &self.configs, &claim);
        let deleted = Box::pin(delete).await;
        deleted.map_err(|error| {
            let timings = Timings::of(&object, self.policy.requeue_dependency);
            StepError::from(error).failure(&timings)
        })
    }

    fn forget(&self, key: &Key) {
        self.memories.forget(key);
        self.waiting.end(key);
    }
}

impl Kustomizations {
    /// Resolves the source and plans the run.
    async fn plan(&self, run: &mut Run<Kustomization>) -> Result<Plan<'_>, StepError> {
        let object = run.object().clone();
        let impersonates = plan::tenant(&object, &self.policy).account.is_some();
        let health_rules = health::rules(&object, impersonates)?;
        run.step(Action::ResolveSource);
        let source = source::resolve(&self.sources, &object, self.policy.access).await?;
        Ok(Plan::new(object, source, health_rules, &self.policy))
    }

    /// The steps of a run. `made` is set as soon as the manifests are built; the history needs it even if a later step
    /// fails.
    async fn steps(
        &self,
        run: &mut Run<Kustomization>,
        plan: &Plan<'_>,
        made: &mut Option<Arc<Built>>,
    ) -> Result<(), StepError> {
        run.step(Action::CheckDependencies);
        dependencies::ready(run.client(), plan, &self.waiting).await?;
        begin(run, plan).await?;
        run.step(Action::ResolveSource);
        let keys = self.decryption.keys(&plan.object).await;
        let files = self.files(plan, keys.as_ref()).await?;

        run.status.last_attempted_revision = Some(plan.revision().to_owned());
        run.step(Action::Reconcile);
        run.progress(plan.doing("Building manifests")).await?;
        let kube_config = plan.spec().kube_config.as_ref();
        let acting = self.clusters.of(&plan.object, &plan.tenant, kube_config);
        let acting = acting.await?;
        let cluster = acting.cluster.within(plan.timings.timeout);
        let (namespace, spec) = (plan.key.namespace.as_str(), plan.spec());
        // The memory of the variables, and of what messages must not show.
        let claim = self.builder.claim();
        let variables = variables::read(&self.configs, namespace, spec, &claim).await;
        let variables = variables.map_err(Arc::new);
        let keys = keys?;
        let built = self
            .manifests(plan, files, keys.as_ref(), variables.as_ref())
            .await?;
        let unpacked = claim.take(built.prepared.unpacked);
        unpacked.map_err(BuildError::Memory)?;
        let confidential = match &variables {
            Ok(variables) => variables.confidential(&claim).map_err(BuildError::Memory)?,
            Err(_) => Confidential::default(),
        };
        let confidential = built.confidential(confidential, &claim);
        let confidential = confidential.map_err(BuildError::Memory)?;
        let cluster = cluster.masking(confidential);
        *made = Some(built.clone());

        run.step(Action::Apply);
        run.progress(plan.doing("Detecting drift")).await?;
        let of = plan.applied_from(&built.digest, &acting.version);
        let applied = self.apply(run, plan, &cluster, &built, &of).await?;
        run.status.inventory = Some(inventory::of(&applied));
        run.step(Action::Prune);
        prune::prune(run, plan, &cluster, &inventory_before(plan)).await?;
        run.step(Action::HealthCheck);
        self.check_health(run, plan, &cluster, &applied, &built)
            .await?;
        run.step(Action::Reconcile);

        run.status.last_applied_revision = Some(plan.revision().to_owned());
        run.status
            .last_applied_origin_revision
            .clone_from(&plan.source.origin_revision);
        Ok(())
    }

    /// The files to build from. `None` if the cached build has the same inputs apart from its variables, so that the files
    /// are unlikely to be needed.
    async fn files(
        &self,
        plan: &Plan<'_>,
        keys: Result<&Option<Keys>, &KeysError>,
    ) -> Result<Option<Files>, StepError> {
        if let Ok(keys) = keys
            && self
                .memories
                .has_build(&plan.key, &plan.made_from(keys.as_ref()))
        {
            return Ok(None);
        }
        self.fetch(plan).await.map(Some)
    }

    async fn fetch(&self, plan: &Plan<'_>) -> Result<Files, StepError> {
        let (artifact, path) = (&plan.source.artifact, plan.spec().path.as_deref());
        let files = fetch::files(&self.artifacts, artifact, path, plan.timings.timeout);
        Ok(files.await?)
    }

    /// The build of these inputs: the cached one if the inputs are the same, else a new one.
    async fn manifests(
        &self,
        plan: &Plan<'_>,
        files: Option<Files>,
        keys: Option<&Keys>,
        variables: Result<&variables::Inputs, &Arc<VariablesError>>,
    ) -> Result<Arc<Built>, StepError> {
        let inputs = variables.ok().map(|variables| Inputs {
            made: plan.made_from(keys),
            variables: variables.digest.clone(),
        });
        if let Some(inputs) = &inputs
            && let Some(built) = self.memories.build(&plan.key, inputs)
        {
            return Ok(built);
        }
        let files = match files {
            Some(files) => files,
            None => self.fetch(plan).await?,
        };
        let owner = Owner {
            labels: plan.labels.clone(),
            common: plan.spec().common_metadata.clone(),
        };
        let decryptor = keys.map(|keys| self.decryption.decryptor(&plan.object, keys));
        let wanted = BuildInputs {
            spec: plan.spec(),
            files: &files,
            variables,
            decryptor: decryptor.as_ref(),
            owner: &owner,
            timeout: plan.timings.timeout,
        };
        let built = Arc::new(self.builder.build(wanted).await?);
        if !built.from_elsewhere
            && let Some(inputs) = inputs
        {
            self.memories.keep_build(&plan.key, inputs, built.clone());
        }
        Ok(built)
    }

    /// Applies the built objects, whose cached state is that of `of`, once the inventory has room for all of them. On failure the inventory stays as it was
    /// (KC-SSA-033).
    async fn apply(
        &self,
        run: &mut Run<Kustomization>,
        plan: &Plan<'_>,
        cluster: &Cluster,
        built: &Built,
        of: &str,
    ) -> Result<ChangeSet, StepError> {
        // A copy, so that what the run unpacks is dropped with it.
        let prepared = &built.prepared.clone();
        let new = inventory_room::reserve(run, cluster, &prepared.objects).await?;
        let result = match apply::check_encryption(cluster, prepared) {
            Ok(()) => {
                let mut kept = self.memories.take_applied(&plan.key, of);
                let known = apply::Known {
                    watched: self.watches.look(look(run, plan)),
                    new,
                    memory: &mut kept.memory,
                };
                let result = apply::apply(run, plan, cluster, prepared, known).await;
                self.memories.put_applied(&plan.key, kept);
                result
            }
            Err(error) => Err(error),
        };
        if result.is_err() {
            let status = plan.object.status.as_ref();
            run.status.inventory = status.and_then(|status| status.inventory.clone());
        }
        Ok(result?)
    }

    /// Waits until the objects that are subject to health checks are healthy.
    async fn check_health(
        &self,
        run: &mut Run<Kustomization>,
        plan: &Plan<'_>,
        cluster: &Cluster,
        applied: &ChangeSet,
        built: &Built,
    ) -> Result<(), StepError> {
        let Some(targets) = health::targets(&plan.object, applied) else {
            run.conditions.remove(HEALTHY);
            return Ok(());
        };
        let targets = self.memories.not_known_current(&plan.key, targets);
        let is_reported = !targets.is_empty();
        let rules = &plan.health_rules;
        let targets = self.memories.to_wait_for(&plan.key, targets, rules);
        let jobs_with_ttl = &built.prepared.jobs_with_ttl;
        let check = Check::new(run, plan, targets, is_reported, jobs_with_ttl);
        let found = check.wait(run, plan, cluster).await?;
        self.memories.note_current(&plan.key, found);
        check.passed(run, plan, applied);
        Ok(())
    }
}

/// What the run may ask of the watches.
fn look(run: &Run<Kustomization>, plan: &Plan<'_>) -> Look {
    Look {
        owner: plan.key.clone(),
        interval: plan.timings.interval,
        own: plan.tenant.account.is_none() && plan.spec().kube_config.is_none(),
        eager: run.is_eager(),
    }
}

/// Reports that the run has started (KC-PROC-066).
async fn begin(run: &mut Run<Kustomization>, plan: &Plan<'_>) -> Result<(), Failure> {
    if run.status.last_applied_revision.as_deref() != Some(plan.revision()) {
        run.report_progress();
    }
    run.set_ready_unknown("Reconciliation in progress");
    run.progress(plan.doing("Fetching manifests")).await
}

/// The inventory as it was at the start of the run.
fn inventory_before<'p>(plan: &'p Plan<'_>) -> Cow<'p, ResourceInventory> {
    let status = plan.object.status.as_ref();
    let held = status.and_then(|status| status.inventory.as_ref());
    held.map_or_else(Default::default, Cow::Borrowed)
}

/// Records the run and its result in the history.
fn record(run: &mut Run<Kustomization>, plan: &Plan<'_>, built: &Built, error: Option<&StepError>) {
    let status = match error {
        None => Some(KustomizationReason::ReconciliationSucceeded),
        Some(error) => error.history_status(),
    };
    let Some(status) = status else { return };
    let metadata = plan.metadata.iter();
    let entry = history::Entry {
        digest: built.digest.clone(),
        metadata: metadata
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    };
    let (took, now) = (run.elapsed(), jiff::Timestamp::now());
    history::record(&mut run.status.history, &entry, status.as_str(), took, now);
}

/// Maps a failed step to the failure of the run. Emits the event and writes the log line that the runtime does not.
fn failed(
    run: &Run<Kustomization>,
    error: StepError,
    timings: &Timings,
    metadata: &BTreeMap<&'static str, String>,
) -> Failure {
    if let Some(line) = error.log_line(timings, &source::shown(run.object())) {
        tracing::info!("{line}");
    }
    if let Some((reason, message)) = error.warning() {
        run.warn(reason, message, metadata);
    }
    if let Some((reason, message)) = error.event(timings) {
        run.event(reason, message, metadata);
    }
    error.failure(timings).with_metadata(metadata.clone())
}

/// Ends a successful run.
fn finished(run: &Run<Kustomization>, plan: &Plan<'_>) -> Outcome {
    let revision = plan.revision();
    let message = format!(
        "Reconciliation finished in {}, next run in {}",
        GoDuration::from(run.elapsed()),
        GoDuration::from(plan.timings.interval)
    );
    tracing::info!(revision, "{message}");
    let reason = KustomizationReason::ReconciliationSucceeded;
    if plan.policy.report_success {
        let mut metadata = plan.metadata.clone();
        metadata.insert("commit_status", "update".to_owned()); // KC-EVT-004
        run.event(reason, message, &metadata);
    }
    let message = format!("Applied revision: {revision}");
    Outcome::ready(reason, message, plan.timings.interval)
}
