//! What the release of a HelmRelease is, compared with what the spec wants (HC-ACT-033 to HC-ACT-046): a pure function.

use flux_api::helm::ReleaseSnapshot;
use flux_helm::Status;

use super::snapshot::{has_failed_test, is_tested, latest};

/// The state of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is not installed.
    Absent,
    /// It was not made for this object, or something else has changed it.
    Unmanaged,
    /// It is not the one that the spec wants.
    OutOfSync,
    /// The cluster has changed since.
    Drifted,
    /// An action was interrupted.
    Locked,
    /// Its tests have not run.
    Untested,
    /// It is the one that the spec wants.
    InSync,
    /// It has failed.
    Failed,
}

/// A state, with the words for the log that say why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) state: State,
    pub(super) why: String,
}

impl Found {
    pub(super) fn new(state: State, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { state, why }
    }
}

/// How a record compares with the snapshot of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It is as it was observed, or the snapshot is too old to say (HC-ACT-036).
    Same,
    /// It is another one.
    Other,
    /// The snapshot has no digest to compare with.
    NoDigest,
}

/// What is known of the newest record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) status: Status,
    /// How it compares with the latest snapshot.
    pub(super) matches: Match,
    pub(super) chart_name: String,
    pub(super) chart_version: String,
}

/// What the spec wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Desired<'a> {
    /// Name and version of the chart.
    pub(super) chart: (&'a str, &'a str),
    /// Whether the values are those of the latest snapshot (HC-ACT-040).
    pub(super) same_values: bool,
    /// Whether this generation is new (HC-ACT-041).
    pub(super) new_generation: bool,
    /// Whether the post-renderers are those of the last release.
    pub(super) same_post_renderers: bool,
    /// Whether the common metadata is that of the last release.
    pub(super) same_common_metadata: bool,
    /// Whether tests run.
    pub(super) tests: bool,
    /// Whether a failed test is a failure of the release: `None` if no attempt was made.
    pub(super) test_failures_count: Option<bool>,
}

/// The state cannot be told (HC-ACT-045).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to determine state for release with status '{0}'")]
pub(super) struct Unknown(Status);

/// The state of the release, drift apart: a release that is [`State::InSync`] may still have drifted.
///
/// # Errors
/// The newest record has a status from which nothing follows.
pub(super) fn determine(
    record: Option<&Record>,
    history: &[ReleaseSnapshot],
    desired: &Desired<'_>,
) -> Result<Found, Unknown> {
    let Some(record) = record else {
        return Ok(Found::new(
            State::Absent,
            "no release in storage for object",
        ));
    };
    if record.status.is_pending() {
        let why = format!("release with status '{}'", record.status);
        return Ok(Found::new(State::Locked, why));
    }
    let uninstalled = || Found::new(State::Absent, "found uninstalled release in storage");
    let Some(current) = latest(history) else {
        return Ok(match record.status {
            Status::Uninstalled => uninstalled(),
            _ => Found::new(State::Unmanaged, "found existing release in storage"),
        });
    };
    match record.matches {
        Match::Same => {}
        Match::Other => {
            let why = "release not observed to be made for object";
            return Ok(Found::new(State::Unmanaged, why));
        }
        Match::NoDigest => {
            let why = "release digest verification error";
            return Ok(Found::new(State::Unmanaged, why));
        }
    }
    match record.status {
        Status::Failed => Ok(Found::new(State::Failed, "")),
        Status::Uninstalled => Ok(uninstalled()),
        Status::Deployed => Ok(deployed(record, current, desired)),
        other => Err(Unknown(other)),
    }
}

/// The state of a release that is deployed and as it was observed.
fn deployed(record: &Record, current: &ReleaseSnapshot, desired: &Desired<'_>) -> Found {
    let out_of_sync = |why: &str| Found::new(State::OutOfSync, why);
    if (&*record.chart_name, &*record.chart_version) != desired.chart {
        return out_of_sync("release chart changed");
    }
    if !desired.same_values {
        return out_of_sync("release config values changed");
    }
    if desired.new_generation && !desired.same_post_renderers {
        return out_of_sync("postrenderers digest has changed");
    }
    if desired.new_generation && !desired.same_common_metadata {
        return out_of_sync("common metadata digest has changed");
    }
    if desired.tests {
        if !is_tested(current) {
            return Found::new(State::Untested, "");
        }
        if desired.test_failures_count == Some(true) && has_failed_test(current) {
            return Found::new(State::Failed, "release has test in failed phase");
        }
    }
    Found::new(State::InSync, "")
}

#[cfg(test)]
mod tests;
