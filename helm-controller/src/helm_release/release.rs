//! The loop over a release: its state is determined, the step that follows from it runs, and again, until nothing is left to
//! do or has to wait (HC-ACT-061 to HC-ACT-073).

use std::time::Duration;

use flux_api::helm::HelmRelease;
use flux_api::meta::GoDuration;
use flux_helm::is_config_of;
use flux_release::drift::{Detected, Difference, DriftOptions, Kind, detect};
use flux_release::{Newest, Records, RecordsError, VerifyError};
use flux_runtime::outcome::Again;
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Outcome, Run};

use super::decision::{
    Decision, Exhausted, HistoryEdit, Inputs, Next, Pause, Step, StepKind, decide, remediated,
    repeated,
};
use super::pass::{ActionFailed, Pass};
use super::settings::{Attempt, DriftMode, Remediation};
use super::snapshot::latest;
use super::state::{Desired, Found, State, Unknown, determine};
use super::state_conditions::set_state_conditions;
use super::storage::newest;
use super::summary::{observed_digests, summarize};
use super::{counters, inventory, settings, snapshot, steps};

/// Why a pass ended with an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReleaseError {
    /// HC-ACT-045, HC-ACT-046
    #[error("cannot determine release state: {0}")]
    State(String),
    /// HC-ACT-067
    #[error("{exhausted}")]
    Exhausted {
        exhausted: Exhausted,
        /// The message of Stalled.
        message: String,
    },
    /// HC-ACT-057
    #[error("missing target release for rollback: cannot remediate failed release")]
    MissingTarget,
    /// HC-ACT-057
    #[error("cannot verify previous release to roll back to: {0}")]
    Target(String),
    /// HC-ACT-065
    #[error(transparent)]
    Action(#[from] ActionFailed),
    /// HC-ACT-073
    #[error("atomic release canceled: context canceled")]
    ShuttingDown,
    /// The status could not be written during the pass; the failure comes from the runtime.
    #[error("{}", .0.cause)]
    Status(Box<Failure>),
}

impl From<Failure> for ReleaseError {
    fn from(failure: Failure) -> Self {
        Self::Status(Box::new(failure))
    }
}

/// Brings the release to what the spec wants, as far as one pass can.
///
/// # Errors
/// [`ReleaseError`]
pub(super) async fn reconcile(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<Outcome, ReleaseError> {
    let mut ran: Vec<StepKind> = Vec::new();
    loop {
        if run.shutting_down().is_cancelled() {
            return Err(ReleaseError::ShuttingDown);
        }
        let (mut found, drift) = state(pass, run).await?;
        if found.state == State::Unmanaged
            && ran.is_empty()
            && let Some(step) = pass.interrupted
            && steps::resume(pass, run, step)
                .await
                .map_err(|error| unread(&error))?
        {
            (found, _) = state(pass, run).await?;
        }
        let inputs = inputs(pass, run);
        let mut decision = decide(found.state, &inputs);
        if found.state == State::Unmanaged {
            let unlocked =
                ran.contains(&StepKind::Unlock) || pass.interrupted == Some(Step::Unlock);
            if is_own(pass).await && unlocked {
                // What a killed process left is no reason to forget the releases that can be rolled back to.
                decision.history = HistoryEdit::Keep;
                observe_again(pass, run).await;
            }
        }
        announce(&found, &decision, drift.as_ref());
        edit_history(run, decision.history);
        if decision.next == Next::Run(Step::Rollback)
            && let Some(reason) = unusable_target(pass, run, &inputs).await?
        {
            tracing::info!(
                "unable to verify previous release in storage to roll back to: {reason}"
            );
            decision.next = Next::Run(Step::Upgrade);
        }
        set_state_conditions(pass, run, found.state, drift.as_ref(), decision.next);
        let step = match decision.next {
            Next::Run(step) => step,
            Next::Done => {
                summarize(run, pass.tools.policy.digests);
                let interval = pass.object.spec.interval.to_std();
                return Ok(Outcome::summarized(interval));
            }
            Next::Stalled(exhausted) => return Err(exhausted_by(&inputs, exhausted)),
        };
        if ran.contains(&step.kind()) {
            return pause(pass, run, &inputs, repeated(&inputs));
        }
        begin(pass, run, step).await?;
        let result = match step {
            Step::Install => steps::make(pass, run, Attempt::Install).await,
            Step::Upgrade => steps::make(pass, run, Attempt::Upgrade).await,
            Step::Test => steps::test(pass, run).await,
            Step::Unlock => steps::unlock(pass, run).await,
            Step::CorrectDrift => {
                if let Some(drift) = &drift {
                    steps::correct(pass, run, drift).await;
                }
                Ok(())
            }
            Step::Rollback => Box::pin(steps::roll_back(pass, run)).await,
            Step::Uninstall => steps::uninstall_to_remediate(pass, run).await,
        };
        let inputs = self::inputs(pass, run);
        if let Err(error) = result {
            if let Some(interval) = inputs.retry {
                tracing::error!(error = error.0, "failed to run '{}' action", step.name());
                return pause(pass, run, &inputs, Pause::RetryAfter(interval));
            }
            return Err(error.into());
        }
        if step.kind() == StepKind::Remediate {
            return pause(pass, run, &inputs, remediated(&inputs));
        }
        ran.push(step.kind());
        // The beginning of the next step writes it, or the result, unless that takes long (HC-ACT-063).
        run.show().await?;
    }
}

fn unread(error: &RecordsError) -> ReleaseError {
    ReleaseError::State(flux_errors::chain(error))
}

/// The state of the release, and what differs on the cluster if that was looked for.
async fn state(
    pass: &Pass<'_>,
    run: &Run<HelmRelease>,
) -> Result<(Found, Option<Detected>), ReleaseError> {
    let (object, policy) = (&pass.object, &pass.tools.policy);
    let history = &run.status.history;
    let records = pass.records();
    let storage = pass.storage(&records);
    let known = newest(&storage, history, &pass.tools.seen, &pass.key).await;
    let known = known.map_err(|error| {
        let error = pass.failed(&error);
        ReleaseError::State(format!(
            "failed to retrieve last release from storage: {error}"
        ))
    })?;
    let chart = &pass.loaded.chart.chart().metadata;
    let (post_renderers, common_metadata) = observed_digests(object, policy.digests);
    let is = |held: &Option<String>, now: &str| held.as_deref().unwrap_or_default() == now;
    let last = Attempt::last(&run.status);
    let desired = Desired {
        chart: (&chart.name, &chart.version),
        same_values: latest(history)
            .is_some_and(|current| is_config_of(&current.config_digest, &pass.values)),
        new_generation: run.observed_generation() != run.generation(),
        same_post_renderers: is(&run.status.observed_post_renderers_digest, &post_renderers),
        same_common_metadata: is(
            &run.status.observed_common_metadata_digest,
            &common_metadata,
        ),
        tests: settings::tests_enabled(object),
        test_failures_count: last.map(|last| !Remediation::of(object, last).ignores_tests),
    };
    let (record, newest) = known.unzip();
    let found = determine(record.as_ref(), history, &desired);
    let found = found.map_err(|error: Unknown| ReleaseError::State(error.to_string()))?;
    if found.state != State::InSync || settings::drift_mode(object) == DriftMode::Disabled {
        return Ok((found, None));
    }
    let drift = drift(pass, &records, newest).await?;
    let state = match &drift {
        Some(drift) if drift.has_changes() => Found::new(State::Drifted, drift.brief()),
        _ => found,
    };
    Ok((state, drift))
}

/// What differs between the newest record and the cluster (HC-DRIFT-001, HC-DRIFT-011).
async fn drift(
    pass: &Pass<'_>,
    records: &Records,
    newest: Option<Newest>,
) -> Result<Option<Detected>, ReleaseError> {
    let Some(newest) = newest else {
        return Ok(None);
    };
    let release = records.read(&pass.name, &newest).await;
    let Some(release) = release.map_err(|error| unread(&error))? else {
        return Ok(None);
    };
    let detection = pass.object.spec.drift_detection.as_ref();
    let options = DriftOptions {
        ignore: detection.map_or(&[][..], |detection| &detection.ignore),
        override_managers: &pass.tools.policy.override_managers,
    };
    let detected = detect(&pass.target.cluster, &release, &options).await;
    if let Some(error) = detected.error() {
        if !detected.has_changes() {
            let text = format!("unable to determine cluster state: {error}");
            return Err(ReleaseError::State(text));
        }
        tracing::error!(
            error,
            "diff of release against cluster state completed with error"
        );
    }
    Ok(Some(detected))
}

/// Whether the newest record was made for this HelmRelease. Logs which other one it was made for: while both exist, each
/// removes what the other one makes (FR-H-023).
async fn is_own(pass: &Pass<'_>) -> bool {
    let record = pass.records().last(&pass.name).await.ok().flatten();
    let Some(maker) = record.and_then(|record| inventory::maker_of(&record)) else {
        return false;
    };
    if maker == pass.key {
        return true;
    }
    let Key { namespace, name } = maker;
    tracing::warn!(
        "the release was last made by HelmRelease {namespace}/{name}: as long as both want it, each deletes the objects of the other"
    );
    false
}

/// Takes the records of the history as they are now: the killed process may have superseded them without saying so.
async fn observe_again(pass: &Pass<'_>, run: &mut Run<HelmRelease>) {
    let records = pass.records();
    let revisions: Vec<i64> = run
        .status
        .history
        .iter()
        .map(|known| known.version.into())
        .collect();
    for revision in revisions {
        if let Ok(Some(record)) = records.get(&pass.name, revision).await
            && inventory::maker_of(&record).as_ref() == Some(&pass.key)
        {
            let algorithm = pass.tools.policy.digests;
            snapshot::update_in_place(&mut run.status.history, &record, algorithm);
        }
    }
}

/// The inputs of decisions, as the status is now. A request for an attempt counts as handled when it is read here.
fn inputs(pass: &Pass<'_>, run: &mut Run<HelmRelease>) -> Inputs {
    let object = &pass.object;
    let last = Attempt::last(&run.status);
    let default = pass.tools.policy.default_to_retry;
    Inputs {
        last,
        install: Remediation::of(object, Attempt::Install),
        upgrade: Remediation::of(object, Attempt::Upgrade),
        install_failures: Attempt::Install.failures(&run.status),
        upgrade_failures: Attempt::Upgrade.failures(&run.status),
        retry: last.and_then(|last| last.retry_interval(object, default)),
        ignores_tests: settings::test_failures_ignored(object),
        forced: counters::is_forced(object, &mut run.status),
        corrects_drift: settings::drift_mode(object) == DriftMode::Enabled,
    }
}

/// Logs the state, and why a step runs that it does not ask for.
fn announce(found: &Found, decision: &Decision, drift: Option<&Detected>) {
    let what = match found.state {
        State::InSync => "release in-sync with desired state",
        State::Locked => "release locked",
        State::Absent => "release not installed",
        State::Unmanaged => "release not managed by controller",
        State::OutOfSync => "release out-of-sync with desired state",
        State::Drifted => "detected changes in cluster state",
        State::Untested => "release has not been tested",
        State::Failed => "release is in a failed state",
    };
    if found.why.is_empty() {
        tracing::info!("{what}");
    } else {
        tracing::info!("{what}: {}", found.why);
    }
    if found.state == State::Drifted {
        for difference in drift.iter().flat_map(|drift| &drift.differences) {
            log_difference(difference);
        }
    }
    if let Some(forced) = decision.forced {
        tracing::info!("{forced}");
    }
}

/// Logs what differs of one object; values of Secrets are masked (HC-DRIFT-015).
fn log_difference(difference: &Difference) {
    let object = difference.object().to_string();
    match difference.kind {
        Kind::Removed => {
            let kv = serde_json::json!({"resource": object}).to_string();
            tracing::debug!(kv, "resource deleted");
        }
        Kind::Changed { .. } => {
            let patch = difference.patch_for_log();
            let kv = serde_json::json!({"resource": object, "patch": patch}).to_string();
            tracing::debug!(kv, "resource modified");
        }
        _ => {}
    }
}

/// Changes the history as the decision says.
fn edit_history(run: &mut Run<HelmRelease>, edit: HistoryEdit) {
    let history = &mut run.status.history;
    match edit {
        HistoryEdit::Keep => {}
        HistoryEdit::Clear => history.clear(),
        HistoryEdit::Truncate { ignores_tests } => snapshot::truncate(history, ignores_tests),
        HistoryEdit::KeepNewest => snapshot::keep_newest(history),
    }
}

/// Why the release to roll back to cannot be used, so that an upgrade is tried instead; `None` if it can be
/// (HC-ACT-057).
async fn unusable_target(
    pass: &Pass<'_>,
    run: &Run<HelmRelease>,
    inputs: &Inputs,
) -> Result<Option<String>, ReleaseError> {
    let ignores_tests = inputs
        .active()
        .is_some_and(|(_, remediation, _)| remediation.ignores_tests);
    let previous = snapshot::previous(&run.status.history, ignores_tests);
    let previous = previous.ok_or(ReleaseError::MissingTarget)?;
    match pass.records().verified(previous).await {
        Ok(_) => Ok(None),
        Err(VerifyError::Records(error)) => {
            Err(ReleaseError::Target(pass.failed(&error).to_string()))
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// Reports that a step starts (HC-ACT-062).
async fn begin(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    step: Step,
) -> Result<(), ReleaseError> {
    let message = format!(
        "Running '{}' action with timeout of {}",
        step.name(),
        timeout(&pass.object, step)
    );
    if step.kind() == StepKind::Release {
        run.set_ready_unknown(&message);
    }
    // After a crash the message tells which step was interrupted: without it what was released is not this object's, and
    // gets a revision more.
    run.progress_now(&*message).await?;
    tracing::info!("r{}", message.trim_start_matches('R'));
    Ok(())
}

/// How long a step may take.
pub(super) fn timeout(object: &HelmRelease, step: Step) -> GoDuration {
    let spec = &object.spec;
    let own = match step {
        Step::Install => spec.install.as_ref().and_then(|install| install.timeout),
        Step::Upgrade => spec.upgrade.as_ref().and_then(|upgrade| upgrade.timeout),
        Step::Test => spec.test.as_ref().and_then(|test| test.timeout),
        Step::Rollback => spec.rollback.as_ref().and_then(|rollback| rollback.timeout),
        Step::Uninstall => spec
            .uninstall
            .as_ref()
            .and_then(|uninstall| uninstall.timeout),
        Step::Unlock | Step::CorrectDrift => None,
    };
    own.unwrap_or_else(|| settings::timeout(object))
}

/// The attempts are used up (HC-ACT-067).
fn exhausted_by(inputs: &Inputs, exhausted: Exhausted) -> ReleaseError {
    let (what, count) = match inputs.active() {
        Some((attempt, _, failures)) => (attempt.word(), failures),
        None => ("", 0),
    };
    ReleaseError::Exhausted {
        exhausted,
        message: format!("Failed to {what} after {count} attempt(s)"),
    }
}

/// Ends a pass before the release is as wanted.
fn pause(
    pass: &Pass<'_>,
    run: &Run<HelmRelease>,
    inputs: &Inputs,
    pause: Pause,
) -> Result<Outcome, ReleaseError> {
    match pause {
        Pause::RetryAfter(interval) => {
            let message = format!("retrying after {}", GoDuration::from(interval));
            Ok(Outcome::continuing(
                message,
                Again::Jittered(at_least(interval)),
            ))
        }
        Pause::Requeue => {
            let ready = run.conditions.get("Ready");
            let message = ready.map(|ready| ready.message.clone());
            Ok(Outcome::continuing(
                message.unwrap_or_default(),
                Again::BackOff,
            ))
        }
        Pause::Settle => Ok(Outcome::summarized(pass.object.spec.interval.to_std())),
        Pause::Stalled(exhausted) => Err(exhausted_by(inputs, exhausted)),
    }
}

/// A retry interval of zero means that the next pass follows soon, not that none does.
fn at_least(interval: Duration) -> Duration {
    interval.max(Duration::from_millis(1))
}
