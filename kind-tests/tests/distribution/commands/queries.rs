//! The queries of `manifests/monitoring`.

use std::collections::BTreeSet;

use kind_tests::{Result, cache, ensure};
use serde_json::Value;

/// A query of the dashboard or of an alert.
pub(super) struct Query {
    /// Of the panel or alert.
    pub(super) title: String,
    pub(super) text: String,
    /// The labels that the texts of an alert name.
    pub(super) labels: BTreeSet<String>,
    pub(super) is_alert: bool,
}

impl Query {
    /// What the query compares, where it is an alert's: the series that it chooses from.
    pub(super) fn compared(&self) -> &str {
        let mut depth = 0;
        let mut end = self.text.len();
        for (at, letter) in self.text.char_indices() {
            match letter {
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' => depth -= 1,
                '<' | '>' if depth == 0 => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let compared = self.text.get(..end).unwrap_or_default().trim();
        compared.trim_end_matches(" or vector(0)")
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// `spec` of the PrometheusRule: a file of rules.
pub(super) fn rules() -> Result<Value> {
    let path = cache::workspace().join("manifests/monitoring/rules.yaml");
    let mut rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    Ok(rules["spec"].take())
}

/// All of them.
pub(super) fn all() -> Result<Vec<Query>> {
    let path = cache::workspace().join("manifests/monitoring/dashboards/flux.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut queries = Vec::new();
    for group in list(&rules()?["groups"]) {
        for rule in list(&group["rules"]) {
            let summary = text(&rule["annotations"]["summary"]);
            let labels = summary.split("$labels.").skip(1);
            let labels = labels.filter_map(|rest| rest.split([' ', '}']).next());
            queries.push(Query {
                title: text(&rule["alert"]),
                text: text(&rule["expr"]),
                labels: labels.map(str::to_owned).collect(),
                is_alert: true,
            });
        }
    }
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            queries.push(Query {
                title: text(&panel["title"]),
                text: text(&target["expr"]),
                labels: BTreeSet::new(),
                is_alert: false,
            });
        }
    }
    ensure!(queries.len() > 20, "{} queries", queries.len());
    Ok(queries)
}
