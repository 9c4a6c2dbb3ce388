//! Jobs: kstatus' rule, and Flux's stricter one.

use serde_json::Value;

use crate::fields::{at, conditions, integer, text};
use crate::{Assessment, Error};

/// The pod counts of a Job.
struct Counts {
    parallelism: i64,
    completions: i64,
    active: i64,
    succeeded: i64,
    failed: i64,
}

impl Counts {
    fn from_object(object: &Value) -> Self {
        let parallelism = integer(object, &["spec", "parallelism"], 1);
        let count = |field| integer(object, &["status", field], 0);
        Self {
            parallelism,
            completions: integer(object, &["spec", "completions"], parallelism),
            active: count("active"),
            succeeded: count("succeeded"),
            failed: count("failed"),
        }
    }

    fn progress(&self) -> String {
        let Self {
            succeeded,
            active,
            failed,
            ..
        } = self;
        format!("Job in progress. success:{succeeded}, active: {active}, failed: {failed}")
    }

    /// The status by a finished Job's conditions.
    fn outcome(&self, object: &Value) -> Result<Option<Assessment>, Error> {
        let Self {
            completions,
            succeeded,
            failed,
            ..
        } = self;
        for condition in conditions(object)? {
            match (condition.kind, condition.status) {
                ("Complete", "True") => {
                    let message = format!("Job Completed. succeeded: {succeeded}/{completions}");
                    return Ok(Some(Assessment::current(message)));
                }
                ("Failed", "True") => {
                    let message = format!("Job Failed. failed: {failed}/{completions}");
                    return Ok(Some(Assessment::failed("JobFailed", message)));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

fn has_started(object: &Value) -> bool {
    !text(object, &["status", "startTime"], "").is_empty()
}

/// kstatus' rule: a Job is current once it has started.
pub(super) fn assess(object: &Value) -> Result<Assessment, Error> {
    let counts = Counts::from_object(object);
    if let Some(outcome) = counts.outcome(object)? {
        return Ok(outcome);
    }
    if has_started(object) {
        return Ok(Assessment::current(counts.progress()));
    }
    Ok(Assessment::in_progress("JobNotStarted", "Job not started"))
}

/// Flux's rule for Jobs: a Job is current when it has completed or is suspended (RT-CEL-007, KC-HEALTH-028). The rules
/// for objects of any kind, such as for deletion, do not apply.
///
/// # Errors
///
/// If the status has a form that the rule cannot read.
pub fn assess_job(object: &Value) -> Result<Assessment, Error> {
    if at(object, &["spec", "suspend"]) == Some(&Value::Bool(true)) {
        return Ok(Assessment::current("Job is suspended"));
    }
    let counts = Counts::from_object(object);
    if let Some(outcome) = counts.outcome(object)? {
        return Ok(outcome);
    }
    if has_started(object) {
        return Ok(Assessment::in_progress("JobInProgress", counts.progress()));
    }
    let message = format!("Job not started. active: 0/{}", counts.parallelism);
    Ok(Assessment::in_progress("JobNotStarted", message))
}
