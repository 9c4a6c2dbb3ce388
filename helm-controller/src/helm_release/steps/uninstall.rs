//! Uninstallation (HC-UNI-008 to HC-UNI-015).

use std::sync::Arc;

use flux_api::helm::{HelmRelease, ReleaseSnapshot};
use flux_errors::chain;
use flux_helm::Release;
use flux_helm::action::{ActionError, UninstallOptions};
use flux_release::{BeginError, Options};
use flux_runtime::Run;
use flux_runtime::conditions::Status;
use flux_runtime::queue::Key;

use super::super::decision::Step;
use super::super::logs::Logs;
use super::super::metadata::of_snapshot;
use super::super::pass::{ActionFailed, Target, masked, perform, releaser};
use super::super::reason::HelmReleaseReason as R;
use super::super::release::timeout;
use super::super::snapshot::{self, full_name, is_of, latest, versioned_chart};
use super::super::summary::{RELEASED, summarize};
use super::super::{HelmReleases, counters, settings};

/// What an uninstallation works with.
pub(in super::super) struct Uninstalling<'u> {
    pub(in super::super) tools: &'u HelmReleases,
    pub(in super::super) object: Arc<HelmRelease>,
    pub(in super::super) key: Key,
    pub(in super::super) target: &'u Target,
    /// The namespace that the records are in: that of the last attempt.
    pub(in super::super) storage: String,
}

/// How an uninstallation ended.
pub(super) enum Ended {
    /// There is no record of the release.
    NotFound,
    /// The release was uninstalled before, and its records are to be kept.
    Already,
    /// It ran.
    Ran(Result<(), ActionFailed>),
}

impl Uninstalling<'_> {
    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> ActionFailed {
        let text = chain(error).trim().to_owned();
        let confidential = self.target.cluster.confidential();
        ActionFailed(masked(confidential, &self.key, text))
    }

    /// Uninstalls the release of `current`, and records in the history what is written to its records.
    pub(super) async fn run(
        &self,
        run: &mut Run<HelmRelease>,
        current: &ReleaseSnapshot,
        action: &str,
        logs: &Logs,
    ) -> Ended {
        let object = &self.object;
        let spec = object.spec.uninstall.clone().unwrap_or_default();
        let helm3 = self.tools.policy.helm3_defaults;
        let options = Options {
            timeout: timeout(object, Step::Uninstall).to_std(),
            wait: settings::wait_strategy(object, spec.disable_wait, helm3),
            propagation: settings::propagation(object),
            ..Options::default()
        };
        let releaser = releaser(self.target, &self.storage, logs, &options);
        let options = UninstallOptions {
            keep_history: spec.keep_history,
            disable_hooks: spec.disable_hooks,
        };
        let begun = match releaser.uninstall(&current.name, options).await {
            Ok(begun) => begun,
            Err(BeginError::Action(ActionError::NotLoaded(_))) => return Ended::NotFound,
            Err(BeginError::Action(ActionError::AlreadyDeleted(_))) => return Ended::Already,
            Err(error) => return Ended::Ran(Err(self.failed(&error))),
        };
        let done = perform(self.tools, run, &releaser, begun).await;
        let algorithm = self.tools.policy.digests;
        for record in &done.stored {
            snapshot::update(&mut run.status.history, record, algorithm, action);
        }
        if let Err(error) = &done.result {
            return Ended::Ran(Err(self.failed(error)));
        }
        Ended::Ran(check_gone(current, &done.release))
    }
}

/// Checks that the release that was uninstalled is the one that the history has as its latest.
///
/// # Errors
/// Another client has made a newer one (HC-UNI-013).
fn check_gone(current: &ReleaseSnapshot, gone: &Release) -> Result<(), ActionFailed> {
    if is_of(current, gone) {
        return Ok(());
    }
    Err(ActionFailed(format!(
        "release mismatch: uninstalled release {}/{}.v{} != current release {}",
        gone.namespace,
        gone.name,
        gone.revision,
        full_name(current)
    )))
}

/// What an uninstallation has come to: without an error, but also without a change of its record, it has failed.
///
/// # Errors
/// It failed, or left the record as it was although that was not uninstalled before (HC-UNI-014).
fn checked(
    result: Result<(), ActionFailed>,
    is_unchanged: bool,
    before: &ReleaseSnapshot,
) -> Result<(), ActionFailed> {
    result?;
    if is_unchanged && before.status != "uninstalled" {
        return Err(not_stored());
    }
    Ok(())
}

/// The error of an uninstallation that left the record as it was (HC-UNI-014).
pub(super) fn not_stored() -> ActionFailed {
    let text = "uninstall completed with error: release not updated in Helm storage";
    ActionFailed(text.to_owned())
}

/// Whether the latest snapshot is still the one that it was.
pub(super) fn is_unchanged(run: &Run<HelmRelease>, before: &ReleaseSnapshot) -> bool {
    latest(&run.status.history).is_some_and(|now| now.digest == before.digest)
}

/// Uninstalls the release because its object is deleted or has another target. Without a history there is nothing to
/// uninstall (HC-UNI-007). Returns whether something was uninstalled.
///
/// # Errors
/// The release could not be uninstalled (HC-UNI-010).
pub(in super::super) async fn uninstall(
    with: &Uninstalling<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<bool, ActionFailed> {
    let Some(current) = latest(&run.status.history).cloned() else {
        return Ok(false);
    };
    let logs = Logs::default();
    let ended = with.run(run, &current, "uninstall", &logs).await;
    let name = full_name(&current);
    let gone = |run: &mut Run<HelmRelease>, message: String| {
        run.conditions
            .set(RELEASED, Status::False, R::UninstallSucceeded, message);
    };
    let result = match ended {
        Ended::NotFound => {
            let message = format!("Release {name} was not found, assuming it is uninstalled");
            gone(run, message);
            Ok(true)
        }
        Ended::Already => {
            gone(run, format!("Release {name} was already uninstalled"));
            Ok(true)
        }
        Ended::Ran(result) => match checked(result, is_unchanged(run, &current), &current) {
            Ok(()) => {
                report_success(run);
                Ok(true)
            }
            Err(error) => Err(report_failure(with, run, error, &logs)),
        },
    };
    summarize(run, with.tools.policy.digests);
    result
}

/// HC-UNI-009
fn report_success(run: &mut Run<HelmRelease>) {
    let Some(current) = latest(&run.status.history).cloned() else {
        return;
    };
    run.status.inventory = None;
    let message = format!(
        "Helm uninstall succeeded for release {} with chart {}",
        full_name(&current),
        versioned_chart(&current)
    );
    run.conditions
        .set(RELEASED, Status::False, R::UninstallSucceeded, &*message);
    run.event(R::UninstallSucceeded, message, &of_snapshot(&current));
}

/// HC-UNI-010
fn report_failure(
    with: &Uninstalling<'_>,
    run: &mut Run<HelmRelease>,
    error: ActionFailed,
    logs: &Logs,
) -> ActionFailed {
    let Some(current) = latest(&run.status.history).cloned() else {
        return error;
    };
    let message = format!(
        "Helm uninstall failed for release {} with chart {}: {error}",
        full_name(&current),
        versioned_chart(&current)
    );
    counters::count_failure(&mut run.status);
    run.conditions
        .set(RELEASED, Status::False, R::UninstallFailed, &*message);
    let confidential = with.target.cluster.confidential();
    let logged = masked(confidential, &with.key, logs.behind(&message));
    run.warn(R::UninstallFailed, logged, &of_snapshot(&current));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uninstallation_has_to_be_of_the_latest_and_in_its_record() {
        let snapshot = |version, status: &str| ReleaseSnapshot {
            name: "web".to_owned(),
            namespace: "apps".to_owned(),
            version,
            status: status.to_owned(),
            ..ReleaseSnapshot::default()
        };
        let gone = Release {
            name: "web".to_owned(),
            namespace: "apps".to_owned(),
            revision: 3,
            ..Release::default()
        };
        let said = |result: Result<(), ActionFailed>| result.err().map(|error| error.to_string());
        // HC-UNI-013
        assert_eq!(said(check_gone(&snapshot(3, "deployed"), &gone)), None);
        assert_eq!(
            said(check_gone(&snapshot(2, "deployed"), &gone)).as_deref(),
            Some(
                "release mismatch: uninstalled release apps/web.v3 != current release apps/web.v2"
            )
        );
        // HC-UNI-014
        let deployed = snapshot(3, "deployed");
        assert_eq!(said(checked(Ok(()), false, &deployed)), None);
        assert_eq!(
            said(checked(Ok(()), true, &deployed)).as_deref(),
            Some("uninstall completed with error: release not updated in Helm storage")
        );
        assert_eq!(
            said(checked(Ok(()), true, &snapshot(3, "uninstalled"))),
            None
        );
        let failed = || Err(ActionFailed("why".to_owned()));
        assert_eq!(
            said(checked(failed(), true, &deployed)).as_deref(),
            Some("why")
        );
    }
}
