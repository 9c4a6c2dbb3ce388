//! Reads fields of an object of any kind.

use serde_json::Value;

use crate::Error;

/// The value at a path of keys; `None` if one of them is absent.
pub(crate) fn at<'o>(object: &'o Value, path: &[&str]) -> Option<&'o Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The text at a path, or the default if it is absent or not a text.
pub(crate) fn text<'o>(object: &'o Value, path: &[&str], default: &'o str) -> &'o str {
    at(object, path).and_then(Value::as_str).unwrap_or(default)
}

/// The integer at a path, or the default if it is absent or not an integer.
pub(crate) fn integer(object: &Value, path: &[&str], default: i64) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or(default)
}

/// The integer at a path: `None` if it is absent, an error if it is not an integer.
pub(crate) fn strict_integer(object: &Value, path: &[&str]) -> Result<Option<i64>, Error> {
    let malformed = || Error::Malformed {
        path: format!(".{}", path.join(".")),
        expected: "an integer",
    };
    match at(object, path) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(malformed),
    }
}

/// A condition of an object.
pub(crate) struct Condition<'o> {
    pub(crate) kind: &'o str,
    pub(crate) status: &'o str,
    pub(crate) reason: &'o str,
    pub(crate) message: &'o str,
}

/// The object's conditions, in its own order.
pub(crate) fn conditions(object: &Value) -> Result<Vec<Condition<'_>>, Error> {
    let malformed = |path: &str, expected| Error::Malformed {
        path: path.to_owned(),
        expected,
    };
    let list = match object.get("status") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(status)) => match status.get("conditions") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(malformed(".status.conditions", "a list")),
        },
        Some(_) => return Err(malformed(".status", "an object")),
    };
    list.iter()
        .map(|condition| {
            let field = |key: &str| match condition.get(key) {
                None | Some(Value::Null) => Ok(""),
                Some(Value::String(text)) => Ok(text.as_str()),
                Some(_) => Err(malformed(&format!(".status.conditions[].{key}"), "a text")),
            };
            // A condition that is null counts as one without fields.
            if !condition.is_object() && !condition.is_null() {
                return Err(malformed(".status.conditions[]", "an object"));
            }
            Ok(Condition {
                kind: field("type")?,
                status: field("status")?,
                reason: field("reason")?,
                message: field("message")?,
            })
        })
        .collect()
}
