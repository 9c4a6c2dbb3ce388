//! The tests of a release (HC-TEST rows).

use flux_api::helm::{HelmRelease, ReleaseSnapshot};
use flux_helm::Release;
use flux_release::Options;
use flux_release::snapshot::{test_hooks, test_options};
use flux_runtime::Run;
use flux_runtime::conditions::Status;

use super::super::counters;
use super::super::decision::Step;
use super::super::logs::Logs;
use super::super::metadata::of_snapshot;
use super::super::pass::{ActionFailed, Pass};
use super::super::reason::HelmReleaseReason as R;
use super::super::release::timeout;
use super::super::settings::{Attempt, Remediation};
use super::super::snapshot::{self, full_name, is_of, is_tested, latest, versioned_chart};
use super::super::summary::{TEST_SUCCESS, summarize};

/// Runs the tests of the newest record.
///
/// # Errors
/// Nothing was tested: only a retry helps, and the failure does not count (HC-TEST-008).
pub(in super::super) async fn test(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<(), ActionFailed> {
    let result = run_tests(pass, run).await;
    let result = match result {
        Ok(()) => {
            report_success(run);
            Ok(())
        }
        Err(error) => {
            report_failure(pass, run, &error);
            if latest(&run.status.history).is_some_and(is_tested) {
                Ok(())
            } else {
                Err(error)
            }
        }
    };
    summarize(run, pass.tools.policy.digests);
    result
}

async fn run_tests(pass: &Pass<'_>, run: &mut Run<HelmRelease>) -> Result<(), ActionFailed> {
    let current = to_test(&run.status.history)?.clone();
    let spec = pass.object.spec.test.clone().unwrap_or_default();
    let options = Options {
        timeout: timeout(&pass.object, Step::Test).to_std(),
        ..Options::default()
    };
    let releaser = pass.releaser(&Logs::default(), &options);
    let filters = test_options(&spec.filters);
    let action = releaser.test(&pass.name, &filters);
    let action = action.await.map_err(|error| pass.failed(&error))?;
    let performed = pass.perform(run, &releaser, action).await;
    let algorithm = pass.tools.policy.digests;
    for record in performed
        .stored
        .iter()
        .filter(|record| is_of(&current, record))
    {
        // Only results of the release that is recorded as the latest count (HC-TEST-005, HC-TEST-011).
        snapshot::update_in_place(&mut run.status.history, record, algorithm);
        let history = run.status.history.iter_mut();
        for tested in history.filter(|tested| is_of(tested, record)) {
            tested.test_hooks = Some(test_hooks(record, &spec.filters));
        }
    }
    if let Some(last) = performed.stored.last() {
        pass.remember(run, performed.newest, last);
    }
    performed.result?;
    check_tested(&current, &performed.release)
}

/// The snapshot of the release to test.
///
/// # Errors
/// There is no snapshot (HC-TEST-014).
fn to_test(history: &[ReleaseSnapshot]) -> Result<&ReleaseSnapshot, ActionFailed> {
    let text = "no latest release: required for test";
    latest(history).ok_or_else(|| ActionFailed(text.to_owned()))
}

/// Checks that the release that was tested is the one to test.
///
/// # Errors
/// Another client has made a newer one meanwhile (HC-TEST-011).
fn check_tested(current: &ReleaseSnapshot, tested: &Release) -> Result<(), ActionFailed> {
    if is_of(current, tested) {
        return Ok(());
    }
    Err(ActionFailed(format!(
        "release mismatch: tested release {}/{}.v{} != current release {}",
        tested.namespace,
        tested.name,
        tested.revision,
        full_name(current)
    )))
}

/// HC-TEST-006
fn report_success(run: &mut Run<HelmRelease>) {
    let Some(current) = latest(&run.status.history).cloned() else {
        return;
    };
    let hooks = current
        .test_hooks
        .as_ref()
        .map_or(0, std::collections::BTreeMap::len);
    let result = match hooks {
        0 => "no test hooks".to_owned(),
        1 => "1 test hook completed successfully".to_owned(),
        count => format!("{count} test hooks completed successfully"),
    };
    let message = format!(
        "Helm test succeeded for release {} with chart {}: {result}",
        full_name(&current),
        versioned_chart(&current)
    );
    run.conditions
        .set(TEST_SUCCESS, Status::True, R::TestSucceeded, &*message);
    run.event(R::TestSucceeded, message, &of_snapshot(&current));
}

/// HC-TEST-007
fn report_failure(pass: &Pass<'_>, run: &mut Run<HelmRelease>, error: &ActionFailed) {
    let Some(current) = latest(&run.status.history).cloned() else {
        return;
    };
    let message = format!(
        "Helm test failed for release {} with chart {}: {error}",
        full_name(&current),
        versioned_chart(&current)
    );
    counters::count_failure(&mut run.status);
    run.conditions
        .set(TEST_SUCCESS, Status::False, R::TestFailed, &*message);
    run.warn(R::TestFailed, message, &of_snapshot(&current));
    if is_tested(&current)
        && let Some(attempt) = Attempt::last(&run.status)
        && !Remediation::of(&pass.object, attempt).ignores_tests
    {
        attempt.count_failure(&mut run.status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_release_is_tested() {
        let snapshot = |version| ReleaseSnapshot {
            name: "web".to_owned(),
            namespace: "apps".to_owned(),
            version,
            ..ReleaseSnapshot::default()
        };
        let tested = Release {
            name: "web".to_owned(),
            namespace: "apps".to_owned(),
            revision: 3,
            ..Release::default()
        };
        // HC-TEST-014
        assert_eq!(
            to_test(&[]).unwrap_err().to_string(),
            "no latest release: required for test"
        );
        let history = [snapshot(3), snapshot(2)];
        let current = to_test(&history).unwrap();
        assert_eq!(check_tested(current, &tested), Ok(()));
        // HC-TEST-011
        assert_eq!(
            check_tested(&snapshot(2), &tested).unwrap_err().to_string(),
            "release mismatch: tested release apps/web.v3 != current release apps/web.v2"
        );
    }
}
