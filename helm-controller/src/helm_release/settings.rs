//! What the spec of a HelmRelease asks for, with upstream's defaults (HC-API rows).

use std::time::Duration;

use flux_api::helm::{
    ActionStrategyName, ChartNameChangeStrategy, DeletionPropagation, DriftDetectionMode,
    HelmRelease, HelmReleaseStatus, PostRenderStrategy, ReleaseAction, RemediationStrategy,
    ServerSideApplyMode, WaitStrategyName,
};
use flux_api::meta::GoDuration;
use flux_helm::action::{ApplyMethod, ApplyMethodChoice, WaitStrategy};
use flux_release::Propagation;
use sha2::{Digest as _, Sha256};

/// The longest name of a release (HC-ACT-023).
const MAX_NAME: usize = 53;
/// The hexadecimal digits of the hash in a shortened name.
const HASH: usize = 12;
/// How long an action may take if the spec does not say (HC-API-010).
const TIMEOUT: GoDuration = GoDuration::from_seconds(300);
/// How long to wait before a retry if the strategy does not say (HC-ACT-064).
const RETRY_INTERVAL: Duration = Duration::from_mins(5);
/// How many revisions Helm keeps if the spec does not say (HC-API-011).
const MAX_HISTORY: i32 = 5;

/// The name of the release as the spec has it, before it is shortened.
pub(super) fn full_release_name(object: &HelmRelease) -> String {
    let spec = &object.spec;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match (
        text(spec.release_name.as_ref()),
        text(spec.target_namespace.as_ref()),
    ) {
        (Some(release), _) => release.to_owned(),
        (None, Some(target)) => format!("{target}-{name}"),
        (None, None) => name.to_owned(),
    }
}

/// The name of the release: of a longer one than Helm allows the beginning and a hash (HC-ACT-023).
pub(super) fn release_name(object: &HelmRelease) -> String {
    let name = full_release_name(object);
    if name.len() <= MAX_NAME {
        return name;
    }
    let mut hash = hex::encode(Sha256::digest(name.as_bytes()));
    hash.truncate(HASH);
    let start = name
        .as_bytes()
        .get(..MAX_NAME - HASH - 1)
        .unwrap_or_default();
    format!("{}-{hash}", String::from_utf8_lossy(start))
}

/// The namespace of the object.
pub(super) fn own_namespace(object: &HelmRelease) -> &str {
    object.metadata.namespace.as_deref().unwrap_or_default()
}

/// The namespace that the release is in (HC-ACT-024).
pub(super) fn release_namespace(object: &HelmRelease) -> &str {
    text(object.spec.target_namespace.as_ref()).unwrap_or_else(|| own_namespace(object))
}

/// The namespace that the records are in (HC-ACT-024).
pub(super) fn storage_namespace(object: &HelmRelease) -> &str {
    text(object.spec.storage_namespace.as_ref()).unwrap_or_else(|| own_namespace(object))
}

/// How long each of the object's actions may take, if the action has no timeout of its own.
pub(super) fn timeout(object: &HelmRelease) -> GoDuration {
    object.spec.timeout.unwrap_or(TIMEOUT)
}

/// How many records are kept; zero for all (HC-REL-009).
pub(super) fn max_history(object: &HelmRelease) -> usize {
    usize::try_from(object.spec.max_history.unwrap_or(MAX_HISTORY)).unwrap_or(0)
}

/// Whether tests run.
pub(super) fn tests_enabled(object: &HelmRelease) -> bool {
    object.spec.test.as_ref().is_some_and(|test| test.enable)
}

/// Whether failed tests are no failure of the release.
pub(super) fn test_failures_ignored(object: &HelmRelease) -> bool {
    let test = object.spec.test.as_ref();
    test.is_some_and(|test| test.ignore_failures)
}

/// What is done about changes on the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DriftMode {
    /// They are not looked for.
    #[default]
    Disabled,
    /// They are reported.
    Warn,
    /// They are reported and corrected.
    Enabled,
}

/// The mode of drift detection (HC-API-031).
pub(super) fn drift_mode(object: &HelmRelease) -> DriftMode {
    let detection = object.spec.drift_detection.as_ref();
    match detection.and_then(|detection| detection.mode.as_ref()) {
        Some(DriftDetectionMode::Enabled) => DriftMode::Enabled,
        Some(DriftDetectionMode::Warn) => DriftMode::Warn,
        _ => DriftMode::Disabled,
    }
}

/// Whether a release whose chart has another name is uninstalled first (HC-ACT-027).
pub(super) fn reinstalls_other_chart(object: &HelmRelease) -> bool {
    let upgrade = object.spec.upgrade.as_ref();
    let strategy = upgrade.and_then(|upgrade| upgrade.chart_name_change_strategy.as_ref());
    match strategy {
        Some(ChartNameChangeStrategy::Other(other)) => other.is_empty(),
        strategy => strategy != Some(&ChartNameChangeStrategy::InPlaceUpdate),
    }
}

/// The method by which an installation applies objects (HC-ACT-091).
pub(super) fn install_method(object: &HelmRelease, helm3_defaults: bool) -> ApplyMethod {
    let install = object.spec.install.as_ref();
    match install.and_then(|install| install.server_side_apply) {
        Some(false) => ApplyMethod::ClientSide,
        None if helm3_defaults => ApplyMethod::ClientSide,
        Some(true) | None => ApplyMethod::ServerSide,
    }
}

/// The method by which an upgrade or rollback applies objects (HC-ACT-093, HC-ROLL-003).
pub(super) fn later_method(mode: Option<&ServerSideApplyMode>) -> ApplyMethodChoice {
    match mode {
        Some(ServerSideApplyMode::Enabled) => ApplyMethodChoice::Fixed(ApplyMethod::ServerSide),
        Some(ServerSideApplyMode::Disabled) => ApplyMethodChoice::Fixed(ApplyMethod::ClientSide),
        _ => ApplyMethodChoice::Auto,
    }
}

/// How an action waits for objects (HC-WAIT-001).
pub(super) fn wait_strategy(
    object: &HelmRelease,
    disabled: bool,
    helm3_defaults: bool,
) -> WaitStrategy {
    let strategy = object.spec.wait_strategy.as_ref();
    match strategy.map(|strategy| &strategy.name) {
        _ if disabled => WaitStrategy::HookOnly,
        Some(WaitStrategyName::Poller) => WaitStrategy::Watcher,
        Some(WaitStrategyName::Legacy) => WaitStrategy::Legacy,
        _ if helm3_defaults => WaitStrategy::Legacy,
        _ => WaitStrategy::Watcher,
    }
}

/// Which rendered files go through the post-renderers (HC-POST-007).
pub(super) fn post_render_strategy(
    object: &HelmRelease,
    helm3_defaults: bool,
) -> flux_helm::PostRenderStrategy {
    use flux_helm::PostRenderStrategy as Strategy;
    match &object.spec.post_render_strategy {
        Some(PostRenderStrategy::Combined) => Strategy::Combined,
        Some(PostRenderStrategy::Separate) => Strategy::Separate,
        Some(PostRenderStrategy::NoHooks) => Strategy::NoHooks,
        _ if helm3_defaults => Strategy::NoHooks,
        _ => Strategy::Combined,
    }
}

/// When the dependents of uninstalled objects are deleted (HC-UNI-008).
pub(super) fn propagation(object: &HelmRelease) -> Propagation {
    let uninstall = object.spec.uninstall.as_ref();
    match uninstall.and_then(|uninstall| uninstall.deletion_propagation.as_ref()) {
        Some(DeletionPropagation::Foreground) => Propagation::Foreground,
        Some(DeletionPropagation::Orphan) => Propagation::Orphan,
        _ => Propagation::Background,
    }
}

/// An action that makes a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// An installation.
    Install,
    /// An upgrade.
    Upgrade,
}

impl Attempt {
    /// The last one that was attempted, whose settings are in effect for what follows (HC-ACT-060).
    pub(super) fn last(status: &HelmReleaseStatus) -> Option<Self> {
        match status.last_attempted_release_action {
            Some(ReleaseAction::Install) => Some(Self::Install),
            Some(ReleaseAction::Upgrade) => Some(Self::Upgrade),
            _ => None,
        }
    }

    /// Its word in the status.
    pub(super) const fn action(self) -> ReleaseAction {
        match self {
            Self::Install => ReleaseAction::Install,
            Self::Upgrade => ReleaseAction::Upgrade,
        }
    }

    /// Its word in messages.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
        }
    }

    /// Its failures so far.
    pub(super) fn failures(self, status: &HelmReleaseStatus) -> i64 {
        let failures = match self {
            Self::Install => status.install_failures,
            Self::Upgrade => status.upgrade_failures,
        };
        failures.unwrap_or_default()
    }

    /// Counts a failure (HC-ACT-069).
    pub(super) fn count_failure(self, status: &mut HelmReleaseStatus) {
        let failures = match self {
            Self::Install => &mut status.install_failures,
            Self::Upgrade => &mut status.upgrade_failures,
        };
        *failures = Some(failures.unwrap_or_default().saturating_add(1));
    }

    /// How long to wait before a retry, if failures are retried instead of remediated (HC-ACT-055, HC-PROC-043).
    pub(super) fn retry_interval(
        self,
        object: &HelmRelease,
        default_to_retry: bool,
    ) -> Option<Duration> {
        let spec = &object.spec;
        let strategy = match self {
            Self::Install => {
                let strategy = spec
                    .install
                    .as_ref()
                    .and_then(|install| install.strategy.as_ref());
                strategy.map(|strategy| (&strategy.name, strategy.retry_interval))
            }
            Self::Upgrade => {
                let strategy = spec
                    .upgrade
                    .as_ref()
                    .and_then(|upgrade| upgrade.strategy.as_ref());
                strategy.map(|strategy| (&strategy.name, strategy.retry_interval))
            }
        };
        match strategy {
            None => default_to_retry.then_some(RETRY_INTERVAL),
            Some((ActionStrategyName::RetryOnFailure, interval)) => {
                Some(interval.map_or(RETRY_INTERVAL, GoDuration::to_std))
            }
            Some(_) => None,
        }
    }
}

/// How a failed release is remediated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// By a rollback.
    Rollback,
    /// By an uninstallation.
    Uninstall,
}

/// What is done about failures of one kind of attempt (HC-API-024, HC-API-027).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remediation {
    /// The retries after the first failure; a negative number for any number.
    pub(super) retries: i64,
    /// Whether failed tests are no failure.
    pub(super) ignores_tests: bool,
    /// Whether the failure after the last retry is remediated.
    pub(super) remediates_last: bool,
    /// How.
    pub(super) remedy: Remedy,
}

impl Remediation {
    /// That of an attempt.
    pub(super) fn of(object: &HelmRelease, attempt: Attempt) -> Self {
        let spec = &object.spec;
        let ignored = test_failures_ignored(object);
        match attempt {
            Attempt::Install => {
                let install = spec.install.as_ref();
                let settings = install.and_then(|install| install.remediation.as_ref());
                Self {
                    retries: settings.and_then(|s| s.retries).unwrap_or_default().into(),
                    ignores_tests: settings
                        .and_then(|s| s.ignore_test_failures)
                        .unwrap_or(ignored),
                    remediates_last: settings
                        .and_then(|s| s.remediate_last_failure)
                        .unwrap_or_default(),
                    remedy: Remedy::Uninstall,
                }
            }
            Attempt::Upgrade => {
                let upgrade = spec.upgrade.as_ref();
                let settings = upgrade.and_then(|upgrade| upgrade.remediation.as_ref());
                let retries = settings.and_then(|s| s.retries).unwrap_or_default();
                let strategy = settings.and_then(|s| s.strategy.as_ref());
                Self {
                    retries: retries.into(),
                    ignores_tests: settings
                        .and_then(|s| s.ignore_test_failures)
                        .unwrap_or(ignored),
                    remediates_last: settings
                        .and_then(|s| s.remediate_last_failure)
                        .unwrap_or(retries > 0),
                    remedy: match strategy {
                        Some(RemediationStrategy::Uninstall) => Remedy::Uninstall,
                        _ => Remedy::Rollback,
                    },
                }
            }
        }
    }

    /// Whether there are no retries left after this many failures (HC-ACT-059).
    pub(super) const fn exhausted(self, failures: i64) -> bool {
        self.retries >= 0 && failures > self.retries
    }
}

fn text(field: Option<&String>) -> Option<&str> {
    field.map(String::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
pub(super) mod tests;
