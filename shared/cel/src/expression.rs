//! Expressions as Flux uses them.

use std::fmt::{self, Debug, Formatter};

use crate::ast::Expr;
use crate::check::check;
use crate::eval::{Limits, evaluate, plan};
use crate::parse::parse;
use crate::source::{Problems, Source};
use crate::types::Type;
use crate::value::Value;

/// An expression that can be evaluated.
#[derive(Clone)]
pub struct Expression {
    text: String,
    tree: Expr,
}

impl Debug for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Why a text is no expression. `Display` is the message of Flux (RT-CEL-001).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It does not parse, or its types do not agree.
    #[error("failed to parse the CEL expression '{text}': {problems}")]
    Invalid {
        /// The expression.
        text: String,
        /// The problems, each with its place.
        problems: String,
    },
    /// Its value would be of another type than it has to be (KC-DEP-008).
    #[error("CEL expression output type mismatch: expected {}, got {}", expected.declared(), found.declared())]
    Output {
        /// The type that is needed.
        expected: Type,
        /// The type of the expression.
        found: Type,
    },
    /// A call can never be evaluated.
    #[error("failed to create CEL program: {0}")]
    Program(String),
}

/// Why an expression has no value, or not one of the type that is needed. `Display` is the message of Flux (KC-HEALTH-034).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// The evaluation failed, for instance since a field is missing.
    #[error("failed to evaluate the CEL expression '{text}': {problem}")]
    Failed {
        /// The expression.
        text: String,
        /// What failed.
        problem: String,
    },
    /// The value is no `bool`.
    #[error("failed to evaluate CEL expression as boolean: '{0}'")]
    NoBool(String),
    /// The value is no `string`.
    #[error("failed to evaluate CEL expression as string: '{0}'")]
    NoString(String),
    /// The value is no list of texts.
    #[error(
        "failed to evaluate CEL expression '{0}' as []string: the value is not a list of strings"
    )]
    NoStrings(String),
}

impl Expression {
    /// Parses an expression without checking its types: its variables are those of the evaluation.
    ///
    /// # Errors
    /// The text is no expression.
    pub fn parse(text: &str) -> Result<Self, CompileError> {
        let source = Source::new(text);
        let mut problems = Problems::new(&source);
        let Some((tree, _)) = parse(&source, &mut problems) else {
            return Err(invalid(text, problems));
        };
        Self::planned(text, tree)
    }

    /// Parses an expression and checks its types. `variables` are those that it may use; its value is of type `output` if
    /// one is given.
    ///
    /// # Errors
    /// The text is no expression, its types do not agree, it uses an unknown name, or its value is of another type.
    pub fn compile(
        text: &str,
        variables: &[(&str, Type)],
        output: Option<Type>,
    ) -> Result<Self, CompileError> {
        let source = Source::new(text);
        let mut problems = Problems::new(&source);
        let Some((tree, nodes)) = parse(&source, &mut problems) else {
            return Err(invalid(text, problems));
        };
        let variables = variables.iter();
        let variables: Vec<(String, Type)> = variables
            .map(|(name, of)| ((*name).to_owned(), of.clone()))
            .collect();
        let types = check(&tree, nodes, &variables, &mut problems);
        if !problems.is_empty() {
            return Err(invalid(text, problems));
        }
        let found = types.of(&tree).clone();
        if let Some(expected) = output
            && expected != found
        {
            return Err(CompileError::Output { expected, found });
        }
        Self::planned(text, tree)
    }

    fn planned(text: &str, tree: Expr) -> Result<Self, CompileError> {
        plan(&tree).map(drop).map_err(CompileError::Program)?;
        let text = text.to_owned();
        Ok(Self { text, tree })
    }

    /// The text of the expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value, where `variable` returns the value of a variable by its name. It is asked once for each.
    ///
    /// # Errors
    /// The evaluation failed, or reached the limits.
    pub fn evaluate(
        &self,
        variable: impl Fn(&str) -> Option<Value>,
        limits: Limits,
    ) -> Result<Value, EvaluateError> {
        let value = evaluate(&self.tree, &variable, limits);
        value.map_err(|problem| EvaluateError::Failed {
            text: self.text.clone(),
            problem,
        })
    }

    /// As [`Expression::evaluate`], for an expression whose value is `true` or `false`.
    ///
    /// # Errors
    /// As there; also a value of another type.
    pub fn evaluate_bool(
        &self,
        variable: impl Fn(&str) -> Option<Value>,
        limits: Limits,
    ) -> Result<bool, EvaluateError> {
        match self.evaluate(variable, limits)? {
            Value::Bool(value) => Ok(value),
            _ => Err(EvaluateError::NoBool(self.text.clone())),
        }
    }

    /// As [`Expression::evaluate`], for an expression whose value is a text.
    ///
    /// # Errors
    /// As there; also a value of another type.
    pub fn evaluate_string(
        &self,
        variable: impl Fn(&str) -> Option<Value>,
        limits: Limits,
    ) -> Result<String, EvaluateError> {
        match self.evaluate(variable, limits)? {
            Value::String(value) => Ok(value.as_ref().to_owned()),
            _ => Err(EvaluateError::NoString(self.text.clone())),
        }
    }

    /// As [`Expression::evaluate`], for an expression whose value is a list of texts.
    ///
    /// # Errors
    /// As there; also a value of another type.
    pub fn evaluate_strings(
        &self,
        variable: impl Fn(&str) -> Option<Value>,
        limits: Limits,
    ) -> Result<Vec<String>, EvaluateError> {
        let failed = || EvaluateError::NoStrings(self.text.clone());
        let Value::List(list) = self.evaluate(variable, limits)? else {
            return Err(failed());
        };
        let texts = list.iter().map(|value| match value {
            Value::String(text) => Ok(text.as_ref().to_owned()),
            _ => Err(failed()),
        });
        texts.collect()
    }
}

fn invalid(text: &str, problems: Problems<'_>) -> CompileError {
    CompileError::Invalid {
        text: text.to_owned(),
        problems: problems.into_text(),
    }
}
