//! What Helm logs about an action.

use serde_json::{Value, json};

use flux_helm::action::Object;

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Details of a step.
    Debug,
    /// Something that a user should look at.
    Warn,
}

/// Takes the lines that Helm logs about an action (HC-EVT-011). They name objects of the release, and quote nothing of
/// them.
pub trait HelmLog: Send + Sync {
    /// Takes a line. The attributes are in Helm's order.
    fn line(&self, level: LogLevel, message: &str, attributes: &[(&str, Value)]);
}

/// Discards all lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl HelmLog for NoLog {
    fn line(&self, _: LogLevel, _: &str, _: &[(&str, Value)]) {}
}

/// The lines about the objects of an action.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'l>(pub(crate) &'l dyn HelmLog);

impl std::fmt::Debug for dyn HelmLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HelmLog")
    }
}

impl Lines<'_> {
    pub(crate) fn debug(self, message: &str, attributes: &[(&str, Value)]) {
        self.0.line(LogLevel::Debug, message, attributes);
    }

    /// A line about an object, with its kind.
    pub(crate) fn about(self, level: LogLevel, message: &str, object: &Object) {
        let attributes = [
            ("namespace", json!(object.namespace)),
            ("name", json!(object.name)),
            ("kind", json!(object.kind)),
        ];
        self.0.line(level, message, &attributes);
    }

    /// A line about a request that applies an object.
    pub(crate) fn applied(self, message: &str, object: &Object, error: Option<&str>) {
        let slash = if object.api_version.contains('/') {
            ""
        } else {
            "/"
        };
        let gvk = format!("{slash}{}, Kind={}", object.api_version, object.kind);
        let mut attributes = vec![
            ("namespace", json!(object.namespace)),
            ("name", json!(object.name)),
            ("gvk", json!(gvk)),
        ];
        if let Some(error) = error {
            attributes.push(("error", json!(error)));
        }
        self.0.line(LogLevel::Debug, message, &attributes);
    }
}
