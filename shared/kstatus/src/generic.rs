//! The rules for objects of any kind, and the order in which rules apply.

use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{at, conditions, strict_integer, text};
use crate::{Assessment, Error, Status, kinds};

/// Computes the status of an object (RT-SSA-024, KC-HEALTH-014 to 027 and 029).
///
/// The object must be complete, status included. The time is only needed for pods: they get fifteen seconds to be
/// scheduled before they count as failed.
///
/// # Errors
///
/// If the status has a form that the rules cannot read.
pub fn assess(object: &Value, now: Timestamp) -> Result<Assessment, Error> {
    if let Some(assessment) = common(object)? {
        return Ok(assessment);
    }
    if let Some(assessment) = kinds::assess(object, now)? {
        return Ok(assessment);
    }
    Ok(ready(object)?.unwrap_or_else(|| Assessment::current("Resource is current")))
}

/// The generation that the status is of. Some controllers write it as a text, which is a number all the same (FR-N-137).
fn observed_generation(object: &Value) -> Result<Option<i64>, Error> {
    let path = ["status", "observedGeneration"];
    match at(object, &path).and_then(Value::as_str).map(str::parse) {
        Some(Ok(observed)) => Ok(Some(observed)),
        _ => strict_integer(object, &path),
    }
}

/// The status by deletion, generations and the conditions Reconciling and Stalled.
fn common(object: &Value) -> Result<Option<Assessment>, Error> {
    match at(object, &["metadata", "deletionTimestamp"]) {
        None | Some(Value::Null) => {}
        Some(Value::String(time)) if time.is_empty() => {}
        Some(Value::String(_)) => {
            let message = "Resource scheduled for deletion".to_owned();
            return Ok(Some(Assessment {
                status: Status::Terminating,
                reason: None,
                message,
            }));
        }
        Some(_) => {
            return Err(Error::Malformed {
                path: ".metadata.deletionTimestamp".into(),
                expected: "a text",
            });
        }
    }
    if let Some(generation) = strict_integer(object, &["metadata", "generation"])?
        && let Some(observed) = observed_generation(object)?
        && observed != generation
    {
        let kind = text(object, &["kind"], "");
        return Ok(Some(Assessment::in_progress(
            "LatestGenerationNotObserved",
            format!(
                "{kind} generation is {generation}, but latest observed generation is {observed}"
            ),
        )));
    }
    for condition in conditions(object)? {
        match (condition.kind, condition.status) {
            ("Reconciling", "True") => {
                return Ok(Some(Assessment::in_progress(
                    condition.reason,
                    condition.message,
                )));
            }
            ("Stalled", "True") => {
                return Ok(Some(Assessment::failed(
                    condition.reason,
                    condition.message,
                )));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The status by the Ready condition; `None` without one.
fn ready(object: &Value) -> Result<Option<Assessment>, Error> {
    for condition in conditions(object)?
        .iter()
        .filter(|condition| condition.kind == "Ready")
    {
        match condition.status {
            "True" => return Ok(Some(Assessment::current("Resource is Ready"))),
            "False" | "Unknown" => {
                return Ok(Some(Assessment::in_progress(
                    condition.reason,
                    condition.message,
                )));
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_observed_generation_may_be_a_text() {
        let status = |observed: Value| {
            let object =
                json!({"metadata": {"generation": 4}, "status": {"observedGeneration": observed}});
            assess(&object, Timestamp::UNIX_EPOCH).map(|assessment| assessment.status)
        };
        // FR-N-137
        assert_eq!(status(json!("4")), Ok(Status::Current));
        assert_eq!(status(json!("3")), Ok(Status::InProgress));
        assert!(status(json!("four")).is_err());
    }
}
