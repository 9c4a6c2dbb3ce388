//! The inline values of a HelmRelease.

use flux_api::helm::Values as Inline;
use flux_helm::Values;
use serde_json::Value as Json;

use crate::convert::engine_value;

/// The inline values as Helm takes them: numbers are floats, and anything but a table is empty (HC-ACT-102).
pub fn values_of(inline: &Inline) -> Values {
    let Json::Object(fields) = &inline.0 else {
        return Values::new();
    };
    let mut values: Values = fields
        .iter()
        .map(|(key, value)| (key.clone(), engine_value(value)))
        .collect();
    values.values_mut().for_each(flux_yaml::Value::floats_only);
    values
}
