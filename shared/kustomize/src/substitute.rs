//! Post-build substitution of variables, with the bash-like functions of Flux's envsubst (KC-SUB and RT-SUB rows).
//!
//! ```
//! use flux_kustomize::substitute::{Variables, substitute};
//!
//! let mut variables = Variables::default();
//! variables.set("cluster", "prod\n");
//! let text = substitute("name: ${cluster^^}-${region:=eu}, not $${this}", &variables, false)?;
//! assert_eq!(text, b"name: PROD-eu, not ${this}");
//! # Ok::<(), flux_kustomize::substitute::SubstituteError>(())
//! ```

mod eval;
mod glob;
mod parse;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use flux_budget::Exhausted;
use flux_yaml::{Value, sigs};
pub use secrets::{secret_identities, secret_texts};

use crate::meter::Allowance;

/// The label and annotation that disable substitution for an object (KC-SUB-003).
pub const SUBSTITUTE_KEY: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// The pattern of variable names, as shown in upstream's messages (KC-SUB-008).
const NAME_PATTERN: &str = "^[_[:alpha:]][_[:alpha:][:digit:]]*$";

/// The maximum size of a text after substitution, in bytes.
const MAX_OUTPUT: usize = 256 << 20;

/// Why a text could not be substituted. Upstream prefixes it with `variable substitution failed: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// `${` is not followed by a name (KC-SUB-020).
    #[error("unable to parse variable name")]
    VariableName,
    /// A name is followed by something that is neither an operator nor `}` (KC-SUB-021).
    #[error("missing closing brace")]
    MissingClosingBrace,
    /// A malformed operator (KC-SUB-022).
    #[error("bad substitution")]
    BadSubstitution,
    /// A missing or unterminated parameter (KC-SUB-022).
    #[error("unable to parse substitution within function")]
    Parameter,
    /// A malformed default operator.
    #[error("unable to parse default function")]
    DefaultFunction,
    /// A variable is not set, in strict mode (KC-SUB-023).
    #[error("variable not set (strict mode): \"{0}\"")]
    NotSet(String),
    /// Expressions are nested too deep.
    #[error("expressions are nested too deeply")]
    TooDeep,
    /// The result is too large.
    #[error("substituted text is larger than {MAX_OUTPUT} bytes")]
    TooLarge,
    /// The result does not fit into the available memory.
    #[error("{0}")]
    Memory(Exhausted),
    /// The caller has [cancelled](crate::Allowance::cancel) the substitution.
    #[error("the build was cancelled")]
    Cancelled,
}

/// Why an object could not be substituted, with the texts of Flux's conditions (KC-SUB-009).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A variable has an invalid name.
    #[error("envsubst error: '{0}' var name is invalid, must match '{NAME_PATTERN}'")]
    InvalidName(String),
    /// The object's text has an invalid expression.
    #[error("envsubst error: variable substitution failed: {0}")]
    Substitute(SubstituteError),
    /// The result is not YAML.
    #[error("envsubst error: YAMLToJSON: {0}")]
    Parse(flux_yaml::Error),
    /// The result is YAML, but not an object.
    #[error("UnmarshalJSON: {0}")]
    NotAnObject(String),
    /// The object could not be rendered.
    #[error("{0}")]
    Render(flux_yaml::Error),
}

impl ObjectError {
    /// The memory that was exhausted, if that is the cause.
    pub fn memory(&self) -> Option<Exhausted> {
        match self {
            Self::Substitute(SubstituteError::Memory(exhausted))
            | Self::Parse(flux_yaml::Error::Memory(exhausted)) => Some(*exhausted),
            _ => None,
        }
    }
}

/// The variables of a build. Their values may come from Secrets, so `Debug` shows only names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, Vec<u8>>,
    /// Names of variables whose values must not be quoted in messages.
    secret: BTreeSet<String>,
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Variables {
    /// Sets a variable; a later value replaces an earlier one. Newlines are removed from the value (KC-SUB-004,
    /// KC-SUB-006).
    pub fn set(&mut self, name: impl Into<String>, value: impl AsRef<[u8]>) {
        let value = value.as_ref().iter().copied().filter(|byte| *byte != b'\n');
        self.set_verbatim(name, value.collect::<Vec<u8>>());
    }

    /// As [`set`](Variables::set), for values from a Secret: with such a variable, no error quotes the substituted
    /// text.
    pub fn set_secret(&mut self, name: impl Into<String>, value: impl AsRef<[u8]>) {
        let name = name.into();
        self.set(name.clone(), value);
        self.secret.insert(name);
    }

    /// Sets a variable to exactly this value, newlines included.
    pub fn set_verbatim(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        let name = name.into();
        self.secret.remove(&name);
        self.values.insert(name, value.into());
    }

    /// Whether there are no variables.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The variables' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The values that must not be quoted in messages.
    pub fn secret_values(&self) -> impl Iterator<Item = &[u8]> {
        self.secret.iter().filter_map(|name| self.get(name))
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// The first invalid name (KC-SUB-008).
    fn invalid_name(&self) -> Option<&str> {
        self.names().find(|name| {
            let mut bytes = name.bytes();
            let first = bytes.next();
            let good = first.is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
                && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric());
            !good
        })
    }
}

impl<K: Into<String>, V: AsRef<[u8]>> FromIterator<(K, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut variables = Variables::default();
        for (name, value) in entries {
            variables.set(name, value);
        }
        variables
    }
}

/// Options of a substitution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubstituteOptions {
    /// Whether an unset variable is an error (KC-SUB-023).
    pub strict: bool,
    /// Whether to substitute even when there are no variables (KC-SUB-002).
    pub always: bool,
}

/// Replaces the expressions in a text by their values.
///
/// The result need not be UTF-8: substrings count bytes (KC-SUB-031). In strict mode, an unset variable is an error
/// unless the expression has a default.
///
/// # Errors
/// The first malformed expression, otherwise the first that cannot be evaluated.
pub fn substitute(
    text: impl AsRef<[u8]>,
    variables: &Variables,
    strict: bool,
) -> Result<Vec<u8>, SubstituteError> {
    substitute_within(text, variables, strict, &Allowance::unlimited())
}

/// As [`substitute`], with the memory of the result claimed; temporary memory is released.
///
/// # Errors
/// As [`substitute`], [`SubstituteError::Memory`] and [`SubstituteError::Cancelled`].
fn substitute_within(
    text: impl AsRef<[u8]>,
    variables: &Variables,
    strict: bool,
    allowance: &Allowance,
) -> Result<Vec<u8>, SubstituteError> {
    let text = text.as_ref();
    let template = parse::parse(text)?;
    let mut evaluation = eval::Evaluation::new(variables, strict, allowance);
    evaluation.text(&template)
}

/// Substitutes the variables of an object: it is written as YAML with sorted keys, substituted as one text, and parsed
/// again, so that types follow from the result (KC-SUB-012 to KC-SUB-016).
///
/// Returns `None` if the object is unchanged: it is disabled by label or annotation (KC-SUB-003), or there are no
/// variables and `always` is not set (KC-SUB-002).
///
/// # Errors
/// [`ObjectError`], whose text follows `post build failed for '<id>': ` in a condition.
pub fn substitute_object(
    object: &Value,
    variables: &Variables,
    options: SubstituteOptions,
) -> Result<Option<Value>, ObjectError> {
    substitute_object_within(object, variables, options, &Allowance::unlimited())
}

/// As [`substitute_object`], with the memory of the new object claimed.
///
/// # Errors
/// As [`substitute_object`]; [`ObjectError::memory`] if there was not enough memory.
pub fn substitute_object_within(
    object: &Value,
    variables: &Variables,
    options: SubstituteOptions,
    allowance: &Allowance,
) -> Result<Option<Value>, ObjectError> {
    if is_disabled(object) || variables.is_empty() && !options.always {
        return Ok(None);
    }
    if let Some(name) = variables.invalid_name() {
        return Err(ObjectError::InvalidName(name.to_owned()));
    }
    // No error quotes the content of a Secret, or of an object that contains a Secret's value.
    let is_secret = object.get("kind").and_then(Value::as_str) == Some("Secret");
    let told = |error: flux_yaml::Error| {
        if variables.secret.is_empty() && !is_secret {
            error
        } else {
            error.without_text()
        }
    };
    let text = sigs::to_string(object).map_err(|error| ObjectError::Render(told(error)))?;
    let text = substitute_within(text, variables, options.strict, allowance)
        .map_err(ObjectError::Substitute)?;
    let length = text.len() as u64;
    let value = sigs::yaml_to_json_within(&text, allowance.claim());
    drop(text);
    allowance.claim().give_back(length);
    let value = value.map_err(|error| ObjectError::Parse(told(error)))?;
    match value {
        Value::Map(_) => Ok(Some(value)),
        Value::Null => Ok(Some(Value::map())),
        other => Err(ObjectError::NotAnObject(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_kind(&other)
        ))),
    }
}

/// Whether an object's label or annotation disables substitution.
pub fn is_disabled(object: &Value) -> bool {
    ["labels", "annotations"].into_iter().any(|field| {
        object
            .at(["metadata", field, SUBSTITUTE_KEY])
            .and_then(Value::as_str)
            == Some("disabled")
    })
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Seq(_) => "array",
        Value::Map(_) => "object",
    }
}
