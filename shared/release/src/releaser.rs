//! Starts actions, and performs them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flux_cluster::{Cluster, CustomRules, RequestError};
use flux_helm::action::{
    Action, Failed, History, Install, InstallOptions, Rollback, RollbackOptions, Step, Test,
    TestOptions, Uninstall, UninstallOptions, Upgrade, UpgradeOptions, WaitStrategy,
};
use flux_helm::{Capabilities, KubeVersion, Release, Time};
use kube::api::PropagationPolicy;

use crate::capabilities::capabilities;
use crate::error::{BeginError, PerformError, RecordsError, StepError};
use crate::log::{HelmLog, NoLog};
use crate::records::{Newest, Records};
use crate::run::Run;

/// The propagation policy of deletions: when dependents are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// After their owner.
    #[default]
    Background,
    /// Before their owner.
    Foreground,
    /// Never.
    Orphan,
}

impl From<Propagation> for PropagationPolicy {
    fn from(propagation: Propagation) -> Self {
        match propagation {
            Propagation::Background => Self::Background,
            Propagation::Foreground => Self::Foreground,
            Propagation::Orphan => Self::Orphan,
        }
    }
}

/// Options for performing actions.
#[derive(Clone, Debug)]
pub struct Options {
    /// The timeout of each wait: for a hook, for the release's objects, and for deletions.
    pub timeout: Duration,
    /// What to wait for.
    pub wait: WaitStrategy,
    /// Whether Jobs of the release have to be complete (HC-WAIT-004).
    pub wait_for_jobs: bool,
    /// Whether existing objects are taken over regardless of their owner (HE-ACT-009).
    pub take_ownership: bool,
    /// Whether client-side apply replaces objects instead of patching them (HE-KUBE-014).
    pub force: bool,
    /// The propagation policy for the objects of an uninstalled release.
    pub propagation: Propagation,
    /// Expressions that precede the rules of the watcher for the kinds that they are for, not those of the other
    /// strategies (HC-WAIT-011, HC-WAIT-013).
    pub checks: CustomRules,
    /// Takes what Helm logs (HC-EVT-011).
    pub log: Arc<dyn HelmLog>,
}

/// Five minutes; waits for all objects including Jobs; without force.
impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(5),
            wait: WaitStrategy::Watcher,
            wait_for_jobs: true,
            take_ownership: false,
            force: false,
            propagation: Propagation::Background,
            checks: CustomRules::default(),
            log: Arc::new(NoLog),
        }
    }
}

/// The result of an action.
#[derive(Debug)]
pub struct Performed {
    /// The record of the action in its final state.
    pub release: Release,
    /// Helm's text about objects that were not deleted.
    pub info: String,
    /// The newest record that was written; `None` if the server stores something else than was sent.
    pub newest: Option<Newest>,
    /// The outcome.
    pub result: Result<(), PerformError>,
}

/// Installs, upgrades, rolls back, tests and uninstalls releases on a cluster.
pub struct Releaser {
    cluster: Cluster,
    records: Records,
    options: Options,
    /// What the cluster says of itself, once it was asked.
    version: OnceLock<KubeVersion>,
}

impl Releaser {
    /// Works on a cluster with its identity, with the records in this namespace.
    pub fn new(cluster: Cluster, storage_namespace: &str, options: Options) -> Self {
        Self {
            records: Records::new(&cluster, storage_namespace),
            cluster,
            options,
            version: OnceLock::new(),
        }
    }

    /// The cluster.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The records.
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// The options for performing actions.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Checks whether an installation may start. Next, render the chart and call [`Install::start`].
    ///
    /// # Errors
    /// The cluster does not answer, or the records do not allow it.
    pub async fn install(&self, options: InstallOptions) -> Result<Install, BeginError> {
        let reachable = self.reachable().await;
        reachable.map_err(BeginError::UnreachableForInstall)?;
        let history = self.history(&options.name).await?;
        Ok(Install::check(&history, options)?)
    }

    /// Checks whether an upgrade may start. Next, render the chart and call [`Upgrade::start`].
    ///
    /// # Errors
    /// As [`Releaser::install`].
    pub async fn upgrade(
        &self,
        name: &str,
        options: UpgradeOptions,
    ) -> Result<Upgrade, BeginError> {
        self.reachable().await.map_err(BeginError::Unreachable)?;
        Ok(Upgrade::check(&self.history(name).await?, name, options)?)
    }

    /// Starts a rollback.
    ///
    /// # Errors
    /// As [`Releaser::install`].
    pub async fn rollback(
        &self,
        name: &str,
        options: &RollbackOptions,
    ) -> Result<Action, BeginError> {
        self.reachable().await.map_err(BeginError::Unreachable)?;
        let history = self.history(name).await?;
        Ok(Rollback::start(&history, name, options, now())?)
    }

    /// Starts an uninstallation.
    ///
    /// # Errors
    /// As [`Releaser::install`].
    pub async fn uninstall(
        &self,
        name: &str,
        options: UninstallOptions,
    ) -> Result<Action, BeginError> {
        self.reachable().await.map_err(BeginError::Unreachable)?;
        let history = self.history(name).await?;
        Ok(Uninstall::start(&history, name, options, now())?)
    }

    /// Starts the tests of a release.
    ///
    /// # Errors
    /// As [`Releaser::install`].
    pub async fn test(&self, name: &str, options: &TestOptions) -> Result<Action, BeginError> {
        self.reachable().await.map_err(BeginError::Unreachable)?;
        Ok(Test::start(&self.history(name).await?, name, options)?)
    }

    /// Performs an action. `stored` is called with every record right after it was written (HC-REL-012). When `stopped`
    /// resolves, the watcher's wait for the release's objects is cancelled, and nothing else (HC-WAIT-019,
    /// HC-WAIT-020); the result is [`PerformError::Cancelled`].
    ///
    /// Dropping the future leaves the last written record pending, as a crash does (HE-REL-017).
    pub async fn perform(
        &self,
        action: Action,
        stored: &mut (dyn FnMut(&Release) + Send),
        stopped: impl Future<Output = ()> + Send,
    ) -> Performed {
        let never = std::future::pending();
        self.perform_until(action, stored, stopped, never).await
    }

    /// As [`Releaser::perform`]. When `shutdown` resolves, an installation or upgrade whose record is stored ends at once,
    /// whichever step it is at, and its record is marked as failed with `context canceled` (HC-ACT-074). Other actions
    /// are not interrupted.
    pub async fn perform_until(
        &self,
        action: Action,
        stored: &mut (dyn FnMut(&Release) + Send),
        stopped: impl Future<Output = ()> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Performed {
        // An action is large, and every future that awaits this one would hold it.
        Box::pin(self.carry_out(action, stored, stopped, shutdown)).await
    }

    async fn carry_out(
        &self,
        mut action: Action,
        stored: &mut (dyn FnMut(&Release) + Send),
        stopped: impl Future<Output = ()> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Performed {
        let mut run = Run::new(self, &action);
        let (mut outcome, mut steps) = (Ok(()), Vec::new());
        let (mut is_stored, mut is_interrupted) = (false, !action.is_interruptible());
        tokio::pin!(stopped, shutdown);
        let result = loop {
            let may_interrupt = is_stored && !is_interrupted;
            let step = match action.next(now(), outcome) {
                Step::Done(result) => break result.map_err(ToString::to_string),
                step => step,
            };
            let stores = matches!(step, Step::CreateRecord(_));
            let done = Box::pin(run.step(step, stored, stopped.as_mut()));
            let done = tokio::select! {
                biased;
                () = shutdown.as_mut(), if may_interrupt => None,
                done = done => Some(done),
            };
            outcome = match done {
                None => {
                    is_interrupted = true;
                    action.interrupt(now(), &Failed::new("context canceled"));
                    Ok(())
                }
                Some(done) => {
                    is_stored |= stores && done.is_ok();
                    done.map_err(|error| {
                        let failed = Failed::of(&error);
                        steps.push(error);
                        failed
                    })
                }
            };
        };
        let result = result.map_err(|message| {
            if steps.iter().any(StepError::is_cancelled) {
                PerformError::Cancelled { message }
            } else {
                PerformError::Failed { message, steps }
            }
        });
        Performed {
            info: run.info,
            newest: run.newest,
            release: action.into_release(),
            result,
        }
    }

    /// Checks whether the cluster answers (HE-ACT-001).
    async fn reachable(&self) -> Result<(), RequestError> {
        let version = self.cluster.client().apiserver_version().await?;
        let version = KubeVersion {
            version: version.git_version,
            normalized: String::new(),
            major: version.major,
            minor: version.minor,
        };
        // Another answer of the same cluster is as good.
        let _ = self.version.set(version);
        Ok(())
    }

    /// The version of the cluster, and the versions and kinds that it serves: one discovery for each action (HE-OBJ-008,
    /// HE-OBJ-009, HE-OBJ-010, HC-REMOTE-014). Returned with what Helm would warn about.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn capabilities(&self) -> Result<(Capabilities, Vec<String>), RequestError> {
        capabilities(&self.cluster, self.version.get()).await
    }

    async fn history(&self, name: &str) -> Result<History, RecordsError> {
        Ok(History::new(self.records.history(name).await?))
    }
}

/// The current time, as written into records.
pub fn now() -> Time {
    Time::at(jiff::Timestamp::now())
}
