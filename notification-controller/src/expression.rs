//! Expressions in CEL that users write: filters of webhooks' targets, checks of tokens, identities of commit statuses.

use flux_cel::{CompileError, EvaluateError, Expression, Limits, Numbers, Type, Value};
use serde_json::Value as Json;

/// An expression over these variables, each an object (NC-PROV-073, NC-RECV-107).
///
/// # Errors
/// It is no expression, or its value would be of another type than `output`.
pub(crate) fn compile(
    text: &str,
    variables: &[&str],
    output: Option<Type>,
) -> Result<Expression, CompileError> {
    let object = || Type::map(Type::String, Type::Dyn);
    let variables: Vec<_> = variables.iter().map(|name| (*name, object())).collect();
    Expression::compile(text, &variables, output)
}

/// A filter of the objects that a webhook asks to reconcile, over the object, the request and, for `generic-oidc`, the claims
/// of the caller's token (NC-RECV-102).
///
/// # Errors
/// It is no expression that is true or false.
pub(crate) fn filter(text: &str, with_claims: bool) -> Result<Expression, CompileError> {
    let variables = ["res", "req", "claims"];
    let count = if with_claims { 3 } else { 2 };
    compile(text, &variables[..count], Some(Type::Bool))
}

/// JSON as a value; its numbers are doubles (NC-RECV-108).
pub(crate) fn value(json: &Json) -> Value {
    Value::of_json(json, Numbers::Doubles)
}

/// Whether a filter accepts what its variables stand for.
///
/// # Errors
/// It cannot be evaluated.
pub(crate) fn accepts(
    filter: &Expression,
    variables: &[(&str, &Value)],
) -> Result<bool, EvaluateError> {
    filter.evaluate_bool(lookup(variables), Limits::default())
}

/// The value of a variable by its name.
pub(crate) fn lookup<'v>(
    variables: &'v [(&str, &'v Value)],
) -> impl Fn(&str) -> Option<Value> + 'v {
    move |name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_are_checked_when_they_are_compiled() {
        let error = |text: &str, claims| filter(text, claims).unwrap_err().to_string();
        // NC-RECV-107
        assert_eq!(
            error("'test'", false),
            "CEL expression output type mismatch: expected bool, got string"
        );
        assert!(error("req.flag", false).ends_with("expected bool, got dyn"));
        // NC-RECV-102
        assert!(error("claims.sub == 'x'", false).contains("undeclared reference to 'claims'"));
        assert!(filter("claims.sub == 'x'", true).is_ok());
        assert!(error("other == 1", false).contains("undeclared reference to 'other'"));
    }

    #[test]
    fn filters_see_objects_and_requests() {
        let res = value(&json!({
            "kind": "ImageRepository",
            "metadata": {"name": "app1", "labels": {"team": "a"}},
        }));
        let req = value(&json!({"tag": "eu-docker.example:5000/p/r/app1:v1.2.3", "n": 1}));
        for (text, want) in [
            // FR-N-053
            (
                "req.tag.split('/').last().value().split(':').first().value() == res.metadata.name",
                Ok(true),
            ),
            // NC-RECV-108
            ("req.n == 1", Ok(true)),
            ("req.n == 1.0 && req.n < 2", Ok(true)),
            ("res.metadata.labels.team == 'b'", Ok(false)),
            ("has(req.absent)", Ok(false)),
            // NC-RECV-105
            ("req.absent == 'x'", Err(())),
        ] {
            let compiled = filter(text, false).unwrap();
            let accepted = accepts(&compiled, &[("res", &res), ("req", &req)]);
            assert_eq!(accepted.map_err(drop), want, "{text}");
        }
    }
}
