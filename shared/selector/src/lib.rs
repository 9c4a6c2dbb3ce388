//! Kubernetes label selectors in their text form, `app=web,tier in (a, b),!old`, compatible with apimachinery's `labels`
//! package.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use flux_selector::Selector;
//!
//! let selector = Selector::parse("tier in (b, a),!old").unwrap();
//! assert_eq!(selector.to_string(), "!old,tier in (a,b)");
//!
//! let labels = BTreeMap::from([("tier", "a")]);
//! assert!(selector.matches(|key| labels.get(key).copied()));
//!
//! let error = Selector::parse("a,").unwrap_err();
//! assert_eq!(error.to_string(), "found '', expected: identifier after ','");
//! ```

mod error;
mod fields;
mod parse;
mod validate;

use std::fmt;

pub use error::ParseError;
pub use fields::{Expression, FieldsError};

/// Requirements on labels, all of which must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Sorted by their keys.
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted, without duplicates; a single one for the operators that compare.
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    DoesNotExist,
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    GreaterThan,
    LessThan,
}

impl Selector {
    /// Parses a selector; an empty text selects everything.
    ///
    /// # Errors
    /// The first invalid requirement.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    /// Whether there are no requirements.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels meet every requirement; `value` returns the value of a label, or `None` if there is no such label.
    pub fn matches<'l>(&self, value: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.matches(value(&requirement.key)))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let is_listed = |value: &str| self.values.iter().any(|listed| listed == value);
        let number = |text: &str| text.parse::<i64>().ok();
        let both = || Some((number(value?)?, number(self.values.first()?)?));
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Equals | Operator::DoubleEquals | Operator::In => {
                value.is_some_and(is_listed)
            }
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(is_listed),
            Operator::GreaterThan => both().is_some_and(|(value, limit)| value > limit),
            Operator::LessThan => both().is_some_and(|(value, limit)| value < limit),
        }
    }
}

/// The form that the API server accepts.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(requirement, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests;
