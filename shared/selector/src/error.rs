//! Errors of selectors, with the texts of Kubernetes.

use std::error::Error;
use std::fmt;

use flux_golang::strconv::quote;

use crate::validate::{InvalidValue, KeyFault, MAX_NAME, MAX_PREFIX, ValueFault};

/// A text that is not a selector. `Display` prints the error of apimachinery 0.36.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(pub(crate) Problem);

/// Each variant holds the text that was found in place of the expected token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Start(String),
    AfterComma(String),
    AfterRequirement(String),
    Requirement(RequirementProblem),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequirementProblem {
    Identifier(String),
    Operator(String),
    Open(String),
    FirstValue(String),
    AfterValue(String),
    Value(String),
    Key {
        key: String,
        faults: Vec<KeyFault>,
    },
    Values {
        key: String,
        invalid: Vec<InvalidValue>,
    },
}

/// The version of apimachinery whose texts are used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// 0.36, which the controllers use.
    Current,
    /// 0.19, of which kustomize contains a copy.
    Kustomize,
}

impl ParseError {
    /// The error with the text of apimachinery 0.19, of which kustomize contains a copy.
    pub fn kustomize_text(&self) -> String {
        self.0.text(Words::Kustomize)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text(Words::Current))
    }
}

impl Error for ParseError {}

impl Problem {
    fn text(&self, words: Words) -> String {
        match self {
            Self::Start(found) => {
                format!("found '{found}', expected: !, identifier, or 'end of string'")
            }
            Self::AfterComma(found) => format!("found '{found}', expected: identifier after ','"),
            Self::AfterRequirement(found) => {
                format!("found '{found}', expected: ',' or 'end of string'")
            }
            Self::Requirement(problem) => {
                format!("unable to parse requirement: {}", problem.text(words))
            }
        }
    }
}

impl RequirementProblem {
    fn text(&self, words: Words) -> String {
        match self {
            Self::Identifier(found) => format!("found '{found}', expected: identifier"),
            Self::Operator(found) => {
                let operators = match words {
                    Words::Current => "in, notin, =, ==, !=, gt, lt",
                    Words::Kustomize => "'=', '!=', '==', 'in', notin'",
                };
                format!("found '{found}', expected: {operators}")
            }
            Self::Open(found) => format!("found '{found}' expected: '('"),
            Self::FirstValue(found) => {
                format!("found '{found}', expected: ',', ')' or identifier")
            }
            Self::AfterValue(found) => format!("found '{found}', expected: ',' or ')'"),
            Self::Value(found) => format!("found '{found}', expected: ',', or identifier"),
            Self::Key { key, faults } => {
                let faults: Vec<_> = faults.iter().map(|fault| fault.text(words)).collect();
                let (key, faults) = (quote(key), faults.join("; "));
                match words {
                    Words::Current => format!("<nil>: Invalid value: {key}: {faults}"),
                    Words::Kustomize => format!("invalid label key {key}: {faults}"),
                }
            }
            Self::Values { key, invalid } => {
                let mut texts: Vec<_> = invalid.iter().map(|one| one.text(key, words)).collect();
                match words {
                    Words::Current if texts.len() > 1 => format!("[{}]", texts.join(", ")),
                    _ if texts.is_empty() => String::new(),
                    _ => texts.swap_remove(0),
                }
            }
        }
    }
}

const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                    character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const SUBDOMAIN: &str = "must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
                     start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
                     for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// The faults of a key in one text.
pub(crate) fn key_text(faults: &[KeyFault]) -> String {
    let faults: Vec<_> = faults
        .iter()
        .map(|fault| fault.text(Words::Current))
        .collect();
    faults.join("; ")
}

/// The fault of a value with its path.
pub(crate) fn value_text(key: &str, invalid: &InvalidValue) -> String {
    invalid.text(key, Words::Current)
}

fn too_long(limit: usize, words: Words) -> String {
    let unit = match words {
        Words::Current => "bytes",
        Words::Kustomize => "characters",
    };
    format!("must be no more than {limit} {unit}")
}

impl KeyFault {
    fn text(self, words: Words) -> String {
        let is_current = words == Words::Current;
        match self {
            Self::TwoSlashes => {
                let what = if is_current {
                    "valid label key"
                } else {
                    "qualified name"
                };
                format!(
                    "a {what} {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                )
            }
            Self::EmptyPrefix => "prefix part must be non-empty".to_owned(),
            Self::LongPrefix => format!("prefix part {}", too_long(MAX_PREFIX, words)),
            Self::PrefixCharacters => {
                let what = if is_current {
                    "lowercase RFC 1123"
                } else {
                    "DNS-1123"
                };
                format!("prefix part a {what} subdomain {SUBDOMAIN}")
            }
            Self::EmptyName => "name part must be non-empty".to_owned(),
            Self::LongName => format!("name part {}", too_long(MAX_NAME, words)),
            Self::NameCharacters => format!("name part {NAME}"),
        }
    }
}

impl InvalidValue {
    fn text(&self, key: &str, words: Words) -> String {
        let (index, value) = (self.index, quote(&self.value));
        match (self.fault, words) {
            (ValueFault::NotANumber, Words::Current) => {
                format!("values[{index}]: Invalid value: {value}: {NUMBER}")
            }
            (ValueFault::NotANumber, Words::Kustomize) => NUMBER.to_owned(),
            (ValueFault::NotALabel { long, characters }, _) => {
                let long = long.then(|| too_long(MAX_NAME, words));
                let characters = characters.then(|| VALUE.to_owned());
                let faults: Vec<_> = long.into_iter().chain(characters).collect();
                let faults = faults.join("; ");
                match words {
                    Words::Current => {
                        format!("values[{index}][{key}]: Invalid value: {value}: {faults}")
                    }
                    Words::Kustomize => {
                        format!(
                            "invalid label value: {value}: at key: {}: {faults}",
                            quote(key)
                        )
                    }
                }
            }
        }
    }
}

const NUMBER: &str = "for 'Gt', 'Lt' operators, the value must be an integer";
