//! Expressions that decide whether a dependency is ready (`spec.dependsOn[].readyExpr`).

use flux_cel::{CompileError, EvaluateError, Expression, Limits, Numbers, Type, Value};
use serde::Serialize;

/// Why an expression does not say whether a dependency is ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadyExpressionError {
    /// It cannot be compiled: only a change of the spec helps (KC-DEP-009, HC-DEP-006).
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It has no value for these objects, for instance since a field is missing (KC-DEP-010).
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// Whether `dependency` is ready for `object` according to `expression`, in which they are the variables `dep` and `self`
/// (KC-DEP-008, RT-CEL-003).
///
/// # Errors
/// The expression cannot be compiled, is not of type bool, or has no value.
pub fn ready_by_expression<K: Serialize>(
    expression: &str,
    object: &K,
    dependency: &K,
) -> Result<bool, ReadyExpressionError> {
    let fields = || Type::map(Type::String, Type::Dyn);
    let declared = [("self", fields()), ("dep", fields())];
    let expression = Expression::compile(expression, &declared, Some(Type::Bool))?;
    let variable = |name: &str| {
        let of = match name {
            "self" => object,
            "dep" => dependency,
            _ => return None,
        };
        let mut json = serde_json::to_value(of).ok()?;
        if let Some(fields) = json.as_object_mut() {
            // Go writes an empty status too
            fields
                .entry("status")
                .or_insert_with(|| serde_json::json!({}));
        }
        Some(Value::of_json(&json, Numbers::Integers))
    };
    Ok(expression.evaluate_bool(variable, Limits::default())?)
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{Kustomization, KustomizationSpec};

    use super::*;

    fn ready(expression: &str) -> Result<bool, ReadyExpressionError> {
        let object = |name: &str, generation: i64| {
            let mut object = Kustomization::new(name, KustomizationSpec::default());
            object.metadata.generation = Some(generation);
            object
        };
        ready_by_expression(expression, &object("app", 1), &object("db", 2))
    }

    #[test]
    fn expressions_are_about_the_dependency_and_its_dependant() {
        // KC-DEP-008, RT-CEL-003
        assert_eq!(ready("dep.metadata.name == 'db'"), Ok(true));
        assert_eq!(ready("self.metadata.name == 'app'"), Ok(true));
        assert_eq!(
            ready("dep.metadata.generation == self.metadata.generation"),
            Ok(false)
        );
        assert_eq!(ready("has(dep.status.conditions)"), Ok(false));
        let refused = |expression: &str| match ready(expression).unwrap_err() {
            ReadyExpressionError::Compile(error) => error.to_string(),
            ReadyExpressionError::Evaluate(error) => panic!("{error}"),
        };
        assert_eq!(
            refused("dep.status.ready"),
            "CEL expression output type mismatch: expected bool, got dyn"
        );
        assert!(refused("other.x == 1").contains("undeclared reference to 'other'"));
        // KC-DEP-010
        assert!(matches!(
            ready("dep.status.missing == 1"),
            Err(ReadyExpressionError::Evaluate(_))
        ));
    }
}
