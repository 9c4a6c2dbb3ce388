//! CustomResourceDefinitions: names accepted and established.

use serde_json::Value;

use crate::fields::conditions;
use crate::{Assessment, Error};

pub(super) fn assess(object: &Value) -> Result<Assessment, Error> {
    for condition in conditions(object)? {
        match (condition.kind, condition.status, condition.reason) {
            ("Established", "False", "Installing") => {}
            ("NamesAccepted" | "Established", "False", _) => {
                return Ok(Assessment::failed(condition.reason, condition.message));
            }
            ("Established", "True", _) => return Ok(Assessment::current("CRD is established")),
            _ => {}
        }
    }
    Ok(Assessment::in_progress("Installing", "Install in progress"))
}
