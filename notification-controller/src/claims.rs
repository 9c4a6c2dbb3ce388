//! What the tokens of an issuer must claim (NC-RECV-085).

use std::sync::Arc;

use flux_api::notification::OIDCProvider;
use flux_cel::{Expression, Limits, Map, Type, Value};
use flux_golang::strconv::quote;
use serde_json::Value as Json;

use crate::expression::{compile, lookup, value};

/// The compiled variables and validations of an issuer.
pub(crate) struct Claims {
    variables: Vec<(String, Expression)>,
    validations: Vec<(String, Expression)>,
}

/// Why a token is not accepted, or could not be judged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimsError {
    /// A variable has no value.
    #[error("failed to evaluate variable {name}: {error}")]
    Variable {
        /// Its name.
        name: String,
        /// Why.
        error: String,
    },
    /// A validation has no value.
    #[error("failed to evaluate validation: {0}")]
    Validation(String),
    /// Validations failed, with these messages.
    #[error("token validation failed: {0}")]
    Failed(String),
}

impl Claims {
    /// Compiles the expressions of an issuer.
    ///
    /// # Errors
    /// One is no expression; the text is upstream's.
    pub(crate) fn new(provider: &OIDCProvider) -> Result<Self, String> {
        let names = ["claims", "vars"];
        let variables = provider.variables.iter().map(|variable| {
            let compiled = compile(&variable.expression, &names, None);
            let compiled = compiled.map_err(|error| {
                let name = quote(&variable.name);
                format!("invalid expression for variable {name}: {error}")
            })?;
            Ok((variable.name.clone(), compiled))
        });
        let validations = provider.validations.iter().map(|validation| {
            let compiled = compile(&validation.expression, &names, Some(Type::Bool));
            let compiled = compiled.map_err(|error| {
                let message = quote(&validation.message);
                format!("invalid expression for validation {message}: {error}")
            })?;
            Ok((validation.message.clone(), compiled))
        });
        Ok(Self {
            variables: variables.collect::<Result<_, String>>()?,
            validations: validations.collect::<Result<_, String>>()?,
        })
    }

    /// Judges the claims of a token: all validations are evaluated, and the messages of those that fail are joined.
    ///
    /// # Errors
    /// One fails, or cannot be evaluated.
    pub(crate) fn check(&self, claims: &Json) -> Result<(), ClaimsError> {
        let claims = value(claims);
        let mut known: Vec<(String, Value)> = Vec::new();
        for (name, expression) in &self.variables {
            let vars = map_of(&known);
            let result = expression.evaluate(
                lookup(&[("claims", &claims), ("vars", &vars)]),
                Limits::default(),
            );
            let result = result.map_err(|error| ClaimsError::Variable {
                name: quote(name),
                error: error.to_string(),
            })?;
            known.retain(|(other, _)| other != name);
            known.push((name.clone(), result));
        }
        let vars = map_of(&known);
        let mut failed = Vec::new();
        for (message, expression) in &self.validations {
            let good = expression.evaluate_bool(
                lookup(&[("claims", &claims), ("vars", &vars)]),
                Limits::default(),
            );
            if !good.map_err(|error| ClaimsError::Validation(error.to_string()))? {
                failed.push(&**message);
            }
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(ClaimsError::Failed(failed.join("; ")))
        }
    }
}

fn map_of(entries: &[(String, Value)]) -> Value {
    let entries = entries.iter().map(|(name, value)| {
        let name = Value::String(name.as_str().into());
        (name, value.clone())
    });
    Value::Map(Arc::new(entries.collect::<Map>()))
}

#[cfg(test)]
mod tests {
    use flux_api::notification::{OIDCValidation, OIDCVariable};
    use serde_json::json;

    use super::*;

    fn claims(variables: &[(&str, &str)], validations: &[(&str, &str)]) -> Claims {
        let provider = OIDCProvider {
            variables: variables
                .iter()
                .map(|(name, expression)| OIDCVariable {
                    name: (*name).to_owned(),
                    expression: (*expression).to_owned(),
                })
                .collect(),
            validations: validations
                .iter()
                .map(|(message, expression)| OIDCValidation {
                    message: (*message).to_owned(),
                    expression: (*expression).to_owned(),
                })
                .collect(),
            ..OIDCProvider::default()
        };
        Claims::new(&provider).unwrap()
    }

    #[test]
    fn variables_build_on_one_another_and_failures_are_joined() {
        // NC-RECV-085
        let repository = json!({"repository": "org/app", "ref": "refs/heads/main"});
        let variables = [
            ("parts", "claims.repository.split('/')"),
            ("owner", "vars.parts[0]"),
        ];
        let good = claims(&variables, &[("owner", "vars.owner == 'org'")]);
        assert_eq!(good.check(&repository), Ok(()));
        let bad = claims(
            &variables,
            &[
                ("not ours", "vars.owner == 'other'"),
                ("fine", "true"),
                ("not main", "claims.ref == 'x'"),
            ],
        );
        assert_eq!(
            bad.check(&repository).unwrap_err().to_string(),
            "token validation failed: not ours; not main"
        );
        let error = bad.check(&json!({})).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to evaluate variable \"parts\": "),
            "{error}"
        );
        let error = claims(&[], &[("m", "claims.absent == 'x'")]).check(&json!({}));
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("failed to evaluate validation: "),
            "{error}"
        );
    }
}
