//! Rules for the health of objects that users write as expressions (`spec.healthCheckExprs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use flux_api::meta::CustomHealthCheck;
use flux_cel::{CompileError, EvaluateError, Expression, Limits, Numbers, Value as CelValue};
use flux_kstatus::Status;
use serde_json::Value;

use crate::object::ObjectId;

/// What the evaluation of one expression may cost: an object is assessed at each of its events.
const LIMITS: Limits = Limits {
    steps: 1_000_000,
    bytes: 8 << 20,
};

/// The expressions of an object, by the kinds that they are for (KC-HEALTH-030 to 036, RT-CEL-002 to 006).
#[derive(Clone, Debug, Default)]
pub struct CustomRules {
    /// By group and kind; an empty kind is the whole group.
    rules: Arc<BTreeMap<(String, String), Rule>>,
    jobs_first: bool,
}

/// The expressions for a kind, in the order in which they are evaluated.
#[derive(Debug)]
struct Rule {
    in_progress: Option<Expression>,
    failed: Option<Expression>,
    current: Expression,
}

/// Why expressions cannot be used. The texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomRulesError {
    /// Two entries are for the same kind.
    #[error("duplicate custom health check for GroupKind {kind} at healthchecks[{index}]")]
    Duplicate {
        /// The kind with its group.
        kind: String,
        /// The position of the second entry.
        index: usize,
    },
    /// The expression that every entry has is missing.
    #[error(
        "failed to create custom status evaluator for healthchecks[{index}]: expression Current not specified"
    )]
    NoCurrent {
        /// The position of the entry.
        index: usize,
    },
    /// An expression cannot be compiled.
    #[error(
        "failed to create custom status evaluator for healthchecks[{index}]: failed to parse the expression {field}"
    )]
    Expression {
        /// The position of the entry.
        index: usize,
        /// `Current`, `Failed` or `InProgress`.
        field: &'static str,
        /// Why.
        #[source]
        source: CompileError,
    },
}

impl CustomRules {
    /// Compiles the expressions of `checks`.
    ///
    /// # Errors
    /// The first entry that cannot be used.
    pub fn compile(checks: &[CustomHealthCheck]) -> Result<Self, CustomRulesError> {
        let mut rules = BTreeMap::new();
        for (index, check) in checks.iter().enumerate() {
            let group = group_of(&check.api_version).to_owned();
            let kind = check.kind.clone().unwrap_or_default();
            if rules.contains_key(&(group.clone(), kind.clone())) {
                let dot = if group.is_empty() { "" } else { "." };
                let kind = format!("{kind}{dot}{group}");
                return Err(CustomRulesError::Duplicate { kind, index });
            }
            rules.insert((group, kind), Rule::compile(check, index)?);
        }
        Ok(Self {
            rules: Arc::new(rules),
            jobs_first: false,
        })
    }

    /// The same expressions, which do not apply to Jobs: without impersonation upstream's own rule for them comes first
    /// (KC-HEALTH-031).
    #[must_use]
    pub fn except_jobs(&self) -> Self {
        Self {
            jobs_first: true,
            ..self.clone()
        }
    }

    /// Whether there are expressions for the object's kind, or else for its group.
    pub fn apply_to(&self, id: &ObjectId) -> bool {
        self.rule(id).is_some()
    }

    fn rule(&self, id: &ObjectId) -> Option<&Rule> {
        if self.jobs_first && id.group == "batch" && id.kind == "Job" {
            return None;
        }
        let rule = |kind: &str| self.rules.get(&(id.group.clone(), kind.to_owned()));
        rule(&id.kind).or_else(|| rule(""))
    }

    /// The status of an object by the expressions for its kind, or else for its group; `None` without expressions.
    ///
    /// # Errors
    /// An expression has no value, or one that is no boolean.
    pub(super) fn assess(
        &self,
        id: &ObjectId,
        object: &Value,
    ) -> Option<Result<Status, EvaluateError>> {
        if self.rules.is_empty() {
            return None;
        }
        let rule = self.rule(id)?;
        let status = rule.assess(object).map_err(|error| match error {
            // What is wrong may be quoted from the Secret.
            EvaluateError::Failed { text, .. } if id.group.is_empty() && id.kind == "Secret" => {
                let problem = "the object is a Secret".to_owned();
                EvaluateError::Failed { text, problem }
            }
            other => other,
        });
        Some(status)
    }
}

impl Rule {
    fn compile(check: &CustomHealthCheck, index: usize) -> Result<Self, CustomRulesError> {
        let parse = |field, text: &str| {
            Expression::parse(text).map_err(|source| CustomRulesError::Expression {
                index,
                field,
                source,
            })
        };
        let optional = |field, text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| parse(field, text)).transpose()
        };
        if check.current.is_empty() {
            return Err(CustomRulesError::NoCurrent { index });
        }
        Ok(Self {
            current: parse("Current", &check.current)?,
            failed: optional("Failed", &check.failed)?,
            in_progress: optional("InProgress", &check.in_progress)?,
        })
    }

    fn assess(&self, object: &Value) -> Result<Status, EvaluateError> {
        // A generation that is no integer is left to the expressions (KC-HEALTH-033).
        let generation = |path| object.pointer(path).and_then(Value::as_i64);
        let observed = generation("/status/observedGeneration");
        if let (Some(observed), Some(wanted)) = (observed, generation("/metadata/generation"))
            && observed != wanted
        {
            return Ok(Status::InProgress);
        }
        let variable = |name: &str| Some(CelValue::of_json(object.get(name)?, Numbers::Integers));
        let expressions = [
            (self.in_progress.as_ref(), Status::InProgress),
            (self.failed.as_ref(), Status::Failed),
            (Some(&self.current), Status::Current),
        ];
        for (expression, status) in expressions {
            if let Some(expression) = expression
                && expression.evaluate_bool(variable, LIMITS)?
            {
                return Ok(status);
            }
        }
        Ok(Status::InProgress)
    }
}

/// The group of an `apiVersion`, as Go's `schema.ParseGroupVersion` reads it: empty if there is more than one slash.
fn group_of(api_version: &str) -> &str {
    match api_version.split_once('/') {
        Some((group, version)) if !version.contains('/') => group,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(api_version: &str, kind: &str, current: &str) -> CustomHealthCheck {
        CustomHealthCheck {
            api_version: api_version.to_owned(),
            kind: Some(kind.to_owned()),
            current: current.to_owned(),
            ..CustomHealthCheck::default()
        }
    }

    fn id(group: &str, kind: &str) -> ObjectId {
        ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..ObjectId::default()
        }
    }

    /// The status of an object of this kind, or the error's text.
    fn assess(rules: &CustomRules, id: &ObjectId, object: &Value) -> String {
        match rules.assess(id, object) {
            None => "no rule".to_owned(),
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
        }
    }

    #[test]
    fn the_entry_of_a_kind_precedes_that_of_its_group() {
        // KC-HEALTH-030, RT-CEL-005
        let rules = CustomRules::compile(&[
            check("example.com/v1", "", "false"),
            check("example.com/v2", "Widget", "true"),
            check("v1", "ConfigMap", "data.ready == 'yes'"),
        ]);
        let rules = rules.unwrap();
        let any = json!({});
        assert_eq!(
            assess(&rules, &id("example.com", "Widget"), &any),
            "Current"
        );
        assert_eq!(
            assess(&rules, &id("example.com", "Gadget"), &any),
            "InProgress"
        );
        assert_eq!(assess(&rules, &id("other.com", "Widget"), &any), "no rule");
        // KC-HEALTH-031
        let map = json!({ "kind": "ConfigMap", "data": { "ready": "yes" } });
        assert_eq!(assess(&rules, &id("", "ConfigMap"), &map), "Current");
        let jobs = CustomRules::compile(&[check("batch/v1", "", "true")]).unwrap();
        let job = id("batch", "Job");
        assert_eq!(assess(&jobs, &job, &any), "Current");
        assert_eq!(assess(&jobs.except_jobs(), &job, &any), "no rule");
        assert_eq!(
            assess(&jobs.except_jobs(), &id("batch", "CronJob"), &any),
            "Current"
        );
    }

    #[test]
    fn entries_that_cannot_be_used_are_refused_with_their_position() {
        let refusal = |checks: &[CustomHealthCheck]| {
            let error = CustomRules::compile(checks).unwrap_err();
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        };
        let fine = || check("example.com/v1", "Widget", "true");
        // KC-HEALTH-030, RT-CEL-005
        assert_eq!(
            refusal(&[fine(), check("example.com/v2", "Widget", "false")]),
            "duplicate custom health check for GroupKind Widget.example.com at healthchecks[1]"
        );
        assert_eq!(
            refusal(&[check("v1", "Pod", "true"), check("v1", "Pod", "true")]),
            "duplicate custom health check for GroupKind Pod at healthchecks[1]"
        );
        // RT-CEL-004
        assert_eq!(
            refusal(&[check("example.com/v1", "Widget", "")]),
            "failed to create custom status evaluator for healthchecks[0]: expression Current not specified"
        );
        // KC-HEALTH-032
        let syntax = refusal(&[
            fine(),
            CustomHealthCheck {
                failed: Some("status.".to_owned()),
                ..check("v1", "Pod", "true")
            },
        ]);
        let prefix = "failed to create custom status evaluator for healthchecks[1]: failed to parse the expression Failed: \
                      failed to parse the CEL expression 'status.': ERROR: <input>:1:8: Syntax error";
        assert!(syntax.starts_with(prefix), "{syntax}");
        // types are not checked, and names are those of the object
        CustomRules::compile(&[check("v1", "Pod", "anything.at.all + 1")]).unwrap();
    }

    #[test]
    fn expressions_are_evaluated_in_their_order() {
        // KC-HEALTH-033, RT-CEL-004
        let rules = CustomRules::compile(&[CustomHealthCheck {
            in_progress: Some("status.phase == 'Pending'".to_owned()),
            failed: Some("status.phase in ['Failed', 'Pending']".to_owned()),
            ..check(
                "example.com/v1",
                "Widget",
                "status.phase == 'Ready' && spec.on",
            )
        }]);
        let (rules, id) = (rules.unwrap(), id("example.com", "Widget"));
        let object = |phase: &str, observed: Value| {
            json!({
                "metadata": { "generation": 2, "deletionTimestamp": "2026-05-04T10:00:00Z" }, "spec": { "on": true },
                "status": { "phase": phase, "observedGeneration": observed }
            })
        };
        for (phase, observed, status) in [
            ("Pending", json!(2), "InProgress"),
            ("Failed", json!(2), "Failed"),
            // KC-HEALTH-036
            ("Ready", json!(2), "Current"),
            ("Other", json!(2), "InProgress"),
            ("Ready", json!(1), "InProgress"),
            ("Failed", json!(1), "InProgress"),
            ("Ready", json!("1"), "Current"),
            ("Ready", json!(null), "Current"),
        ] {
            assert_eq!(
                assess(&rules, &id, &object(phase, observed)),
                status,
                "{phase}"
            );
        }
    }

    #[test]
    fn an_evaluation_that_fails_is_an_error_of_the_object() {
        // KC-HEALTH-034, RT-CEL-006, RT-CEL-002
        let rule = |current: &str| CustomRules::compile(&[check("v1", "", current)]).unwrap();
        let map = id("", "ConfigMap");
        let of = |current: &str, object: Value| assess(&rule(current), &map, &object);
        assert_eq!(
            of("data.foo.bar == 'x'", json!({ "kind": "ConfigMap" })),
            "failed to evaluate the CEL expression 'data.foo.bar == 'x'': no such attribute(s): data.foo.bar"
        );
        assert_eq!(
            of("data.foo.bar == 'x'", json!({ "data": {} })),
            "failed to evaluate the CEL expression 'data.foo.bar == 'x'': no such key: foo"
        );
        assert_eq!(
            of("data.ready", json!({ "data": { "ready": "yes" } })),
            "failed to evaluate CEL expression as boolean: 'data.ready'"
        );
        let secret = json!({ "data": { "a": "aHVudGVyMg==" } });
        let said = assess(&rule("data[data.a] == ''"), &id("", "Secret"), &secret);
        assert!(!said.contains("aHVudGVyMg"), "{said}");
    }
}
