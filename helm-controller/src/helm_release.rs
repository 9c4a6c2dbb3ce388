//! The HelmRelease kind: keeps a release of a chart as its spec wants it.

mod chart;
mod counters;
mod decision;
mod deletion;
mod dependencies;
mod failure;
mod inventory;
mod logs;
mod metadata;
mod owner;
mod pass;
mod policy;
mod reason;
mod release;
mod settings;
mod snapshot;
mod source;
mod state;
mod state_conditions;
mod steps;
mod storage;
mod summary;
mod template;
mod values;
mod watches;

use std::sync::Arc;

pub(crate) use chart::Charts;
use flux_api::helm::HelmRelease;
use flux_budget::Budget;
use flux_cluster::{Cluster, CustomRules};
use flux_helm::config_digest;
use flux_references::{Configs, Sources, Waiting};
use flux_release::SchemaDocuments;
use flux_runtime::conditions::{PROGRESSING, RECONCILING};
use flux_runtime::outcome::Again;
use flux_runtime::policy::{
    AtOnce, Ready, Stalls, Start, SuspendedStatus, Suspension, SuspensionNotice,
};
use flux_runtime::queue::Key;
use flux_runtime::reason::Reason as _;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};
use flux_tenancy::{Clusters, Tenant};
use futures::FutureExt as _;
pub(crate) use owner::FIELD_MANAGER;
pub(crate) use policy::Policy;
pub(crate) use storage::Seen;
pub(crate) use template::Written;
use tokio::sync::Semaphore;
pub(crate) use watches::{applied_revision, on_source, references};

use self::chart::{ChartError, Loaded};
use self::decision::Step;
use self::failure::StepError;
use self::pass::{Pass, Target};
use self::reason::HelmReleaseReason as R;
use self::release::ReleaseError;
use self::source::Resolved;
use self::steps::Uninstalling;
use self::storage::Moved;
use self::summary::{DRIFTED, RELEASED, REMEDIATED, TEST_SUCCESS};
use self::values::Composed;

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: &[RELEASED, REMEDIATED, TEST_SUCCESS, DRIFTED],
    ready: Ready::ByRun,
    start: Start::ByReconciler,
    at_once: AtOnce::Limited,
    suspension: Suspension {
        message: "reconciliation is suspended for this object",
        status: SuspendedStatus::Observed,
        notice: SuspensionNotice::Logged,
    },
    stalls: Stalls::Fail,
    ..Settings::new("helmrelease")
};

/// What Ready says while the checks before an action are under way (HC-ACT-010).
const IN_PROGRESS: &str = "reconciliation in progress";

/// The reconciler of HelmReleases.
pub(crate) struct HelmReleases {
    /// Flags and feature gates that apply to all objects.
    pub(crate) policy: Policy,
    /// The caches of the source kinds.
    pub(crate) sources: Sources,
    /// Reads ConfigMaps and Secrets.
    pub(crate) configs: Configs,
    /// Loads charts.
    pub(crate) charts: Charts,
    /// The cluster for each identity.
    pub(crate) clusters: Clusters,
    /// The controller's own cluster and identity.
    pub(crate) own: Cluster,
    /// Documents that the schemas of charts refer to.
    pub(crate) documents: SchemaDocuments,
    /// The memory of the process.
    pub(crate) budget: Budget,
    /// How many actions run concurrently; they hold no worker.
    pub(crate) running: Arc<Semaphore>,
    /// HelmReleases that wait for dependencies.
    pub(crate) waiting: Waiting,
    /// What was found out about the newest records.
    pub(crate) seen: Seen,
    /// What was written for chart templates.
    pub(crate) written: Written,
}

impl Reconciler for HelmReleases {
    type Kind = HelmRelease;

    fn suspended(&self, object: &HelmRelease) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<HelmRelease>) -> Result<Outcome, Failure> {
        let result = Box::pin(self.steps(run)).await;
        let outcome = match result {
            Ok(outcome) if outcome.continues.is_none() => return Ok(outcome),
            outcome => outcome,
        };
        if let Some(failure) = self.canceled(run) {
            return Err(failure);
        }
        outcome.map_err(|error| failed(run, error, self.policy.requeue_dependency))
    }

    async fn finalize(&self, run: &mut Run<HelmRelease>) -> Result<(), Failure> {
        deletion::finalize(self, run).await
    }

    fn forget(&self, key: &Key) {
        self.waiting.end(key);
    }
}

impl HelmReleases {
    /// The steps of a run (HC-ACT-006 to HC-ACT-009).
    async fn steps(&self, run: &mut Run<HelmRelease>) -> Result<Outcome, StepError> {
        let object = run.object().clone();
        let source = source::of_spec(&object).ok_or(StepError::NoChart)?;
        let checks = CustomRules::compile(&object.spec.health_check_exprs)?;
        template::reconcile(run, &self.template_tools()).await?;
        let interrupted = interrupted(run);
        if object
            .spec
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.recreate)
        {
            tracing::info!(
                "warning: the .spec.rollback.recreate field is deprecated and has no effect. for details, please see: https://github.com/fluxcd/helm-controller/issues/1300#issuecomment-3740272924"
            );
        }
        run.progress("Fulfilling prerequisites").await?;

        run.step(Action::CheckDependencies);
        let additive = self.policy.additive_expressions;
        dependencies::ready(run.client(), &object, &self.waiting, additive).await?;
        passed(run, &[R::DependencyNotReady]);

        run.step(Action::ResolveSource);
        let own = settings::own_namespace(&object);
        let found = source::find(&self.sources, source, own, self.policy.access).await?;
        passed(run, &[R::AccessDenied, R::ArtifactFailed]);
        let resolved = found.ready()?;
        passed(run, &[R::SourceNotReady]);

        run.step(Action::Reconcile);
        let claim = Arc::new(self.budget.claim());
        let composed = values::compose(&self.configs, &object, &claim).await?;
        passed(run, &[R::ValuesError]);
        let loaded = self.load(run, &resolved).await?;
        let target = self.target(run, checks, &composed).await?;
        passed(run, &[R::RESTClientError]);
        if let Some(outcome) = self.follow_target(run, &target, &loaded).await? {
            return Ok(outcome);
        }
        let pass = self.attempt(run, loaded, composed, target, interrupted)?;
        passed(run, &[R::FactoryError]);
        if is_new(run) {
            run.report_progress();
        }
        run.step(Action::Apply);
        let done = Box::pin(release::reconcile(&pass, run)).await;
        run.step(Action::Reconcile);
        Ok(done?)
    }

    fn template_tools(&self) -> template::Tools<'_> {
        template::Tools {
            cluster: &self.own,
            sources: &self.sources,
            written: &self.written,
            access: self.policy.access,
        }
    }

    /// Loads the chart of the source (HC-CHART-020 to HC-CHART-032).
    async fn load(
        &self,
        run: &mut Run<HelmRelease>,
        source: &Resolved,
    ) -> Result<Arc<Loaded>, StepError> {
        let loaded = self.charts.load(source, self.policy.track_digests).await;
        // The archive was loaded if only its version does not fit.
        if matches!(loaded, Ok(_) | Err(ChartError::Mutate(_))) {
            passed(run, &[R::ArtifactFailed]);
        }
        Ok(loaded?)
    }

    /// The cluster that the object acts on, which masks the values of Secrets in errors (HC-REMOTE rows).
    async fn target(
        &self,
        run: &Run<HelmRelease>,
        checks: CustomRules,
        composed: &Composed,
    ) -> Result<Target, StepError> {
        let object = run.object();
        let tenant = self.tenant(object);
        let kube_config = object.spec.kube_config.as_ref();
        let acting = self.clusters.of(object, &tenant, kube_config).await;
        let acting = acting.map_err(failure::ClusterError)?;
        Ok(Target {
            cluster: acting.cluster.masking(composed.confidential.clone()),
            version: acting.version,
            checks,
        })
    }

    /// On whose behalf the object acts (HC-REMOTE-002).
    fn tenant(&self, object: &HelmRelease) -> Tenant {
        let named = object.spec.service_account_name.as_deref();
        let default = &self.policy.default_service_account;
        Tenant::new(settings::own_namespace(object), named, default)
    }

    /// Uninstalls the release if the spec has another target for it now (HC-ACT-025 to HC-ACT-027). `None` if it has not.
    async fn follow_target(
        &self,
        run: &mut Run<HelmRelease>,
        target: &Target,
        loaded: &Loaded,
    ) -> Result<Option<Outcome>, StepError> {
        let object = run.object().clone();
        let stored_in = run.status.storage_namespace.clone();
        let name = loaded.chart.chart().name();
        let moved = storage::moved(&object, stored_in.as_deref(), &run.status.history, name);
        let Some(moved) = moved else {
            return Ok(None);
        };
        if moved == Moved::ChartName && !settings::reinstalls_other_chart(&object) {
            return Ok(None);
        }
        tracing::info!(
            "release target configuration changed ({}): running uninstall for current release",
            moved.words()
        );
        let uninstalling = Uninstalling {
            tools: self,
            key: run.key(),
            object,
            target,
            storage: stored_in.unwrap_or_default(),
        };
        steps::uninstall(&uninstalling, run)
            .await
            .map_err(StepError::Uninstall)?;
        run.status.history.clear();
        counters::clear(&mut run.status);
        run.status.storage_namespace = None;
        let again = Outcome {
            again: Again::BackOff,
            ..Outcome::summarized(std::time::Duration::ZERO)
        };
        Ok(Some(again))
    }

    /// Records the attempt in the status, and puts together what the pass works with (HC-ACT-028 to HC-ACT-030).
    fn attempt(
        &self,
        run: &mut Run<HelmRelease>,
        loaded: Arc<Loaded>,
        composed: Composed,
        target: Target,
        interrupted: Option<Step>,
    ) -> Result<Pass<'_>, StepError> {
        let object = run.object().clone();
        let storage = settings::storage_namespace(&object).to_owned();
        let version = loaded.chart.chart().metadata.version.clone();
        let digest = config_digest(self.policy.digests, &composed.values);
        let digest = digest.ok_or(StepError::Digest)?;
        let status = &mut run.status;
        status.storage_namespace = Some(storage.clone());
        let reset = counters::reset_reason(&object, status, &version, &composed.values);
        if let Some(reason) = reset {
            tracing::debug!("resetting failure count ({reason})");
            counters::clear(status);
        }
        // An attempt of something else than what is wanted now was not interrupted but given up.
        let interrupted = interrupted.filter(|_| reset.is_none());
        status.last_attempted_generation = object.metadata.generation;
        status.last_attempted_revision = Some(version);
        status.last_attempted_revision_digest =
            Some(loaded.oci_digest.clone()).filter(|digest| !digest.is_empty());
        status.last_attempted_config_digest = Some(digest.clone());
        status.last_attempted_values_checksum = None;
        status.last_release_revision = None;
        Ok(Pass {
            tools: self,
            key: run.key(),
            name: settings::release_name(&object),
            namespace: settings::release_namespace(&object).to_owned(),
            storage,
            loaded,
            values: composed.values,
            config_digest: digest,
            target,
            interrupted,
            object,
        })
    }

    /// What follows if the object was queued again during a run that did not end as wanted: the next run starts at once
    /// (HC-WAIT-019, HC-WAIT-021).
    fn canceled(&self, run: &Run<HelmRelease>) -> Option<Failure> {
        if !self.policy.cancel_health_checks {
            return None;
        }
        let trigger = run.interrupted().now_or_never()?;
        let by = format!("{}/{}/{}", trigger.kind, trigger.namespace, trigger.name);
        tracing::info!("New reconciliation triggered, canceling health checks");
        let message = format!("Health checks canceled due to new reconciliation triggered by {by}");
        run.event(R::HealthCheckCanceled, message, &[].into());
        let message = format!("New reconciliation triggered by {by}");
        Some(Failure::superseded(R::HealthCheckCanceled, message).quietly())
    }
}

/// Replaces what an earlier run has set Ready to, if the check that set it has passed now (HC-ACT-010).
fn passed(run: &mut Run<HelmRelease>, reasons: &[R]) {
    let ready = run.conditions.get("Ready");
    let is_stale =
        ready.is_some_and(|ready| reasons.iter().any(|reason| reason.as_str() == ready.reason));
    if is_stale {
        run.set_ready_unknown(IN_PROGRESS);
    }
}

/// The step that was under way when the last process ended: the status still says that it runs.
fn interrupted(run: &Run<HelmRelease>) -> Option<Step> {
    let running = run.conditions.get(RECONCILING);
    let running = running.filter(|running| running.reason == PROGRESSING)?;
    [Step::Install, Step::Upgrade, Step::Rollback, Step::Unlock]
        .into_iter()
        .find(|step| {
            let words = format!("Running '{}' action", step.name());
            running.message.starts_with(&words)
        })
}

/// Whether this attempt is of something new, so that its progress is reported as it happens.
fn is_new(run: &Run<HelmRelease>) -> bool {
    let before = run.object().status.as_ref();
    before.is_none_or(|before| {
        before.last_attempted_revision != run.status.last_attempted_revision
            || before.last_attempted_config_digest != run.status.last_attempted_config_digest
    })
}

/// Maps a failed step to the failure of the run. Emits the event and writes the log line that the runtime does not.
fn failed(run: &Run<HelmRelease>, error: StepError, requeue: std::time::Duration) -> Failure {
    if let Some(line) = error.log_line(requeue) {
        tracing::info!("{line}");
    }
    if let Some((severity, reason, message)) = error.event() {
        match severity {
            failure::Severity::Info => run.event(reason, message, &[].into()),
            failure::Severity::Warning => run.warn(reason, message, &[].into()),
        }
    }
    if let StepError::Release(ReleaseError::Action(_)) = &error
        && !run.conditions.is_true("Ready")
    {
        // Ready has what failed already (HC-ACT-065).
        return error.failure(requeue).leaving_conditions();
    }
    error.failure(requeue)
}
