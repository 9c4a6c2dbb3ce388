//! Selectors from the fields of a `LabelSelector` object, as apimachinery's `LabelSelectorAsSelector` reads them.

use std::error::Error;
use std::fmt;

use flux_golang::strconv::quote;

use crate::error::{key_text, value_text};
use crate::{Operator, Requirement, Selector, validate};

/// An entry of `matchExpressions`.
#[derive(Clone, Copy, Debug)]
pub struct Expression<'s> {
    /// The key of the label.
    pub key: &'s str,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: &'s str,
    /// The values.
    pub values: &'s [String],
}

/// A field that is not valid. `Display` prints the error of apimachinery 0.36.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldsError(String);

impl fmt::Display for FieldsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FieldsError {}

impl Selector {
    /// The selector of `matchLabels` and `matchExpressions`; without any it selects everything.
    ///
    /// # Errors
    /// The first field that is not valid.
    pub fn from_fields<'s>(
        labels: impl IntoIterator<Item = (&'s str, &'s str)>,
        expressions: impl IntoIterator<Item = Expression<'s>>,
    ) -> Result<Self, FieldsError> {
        let mut requirements = Vec::new();
        for (key, value) in labels {
            requirements.push(requirement(key, Operator::Equals, vec![value.to_owned()])?);
        }
        for Expression {
            key,
            operator,
            values,
        } in expressions
        {
            let operator = match operator {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let text = format!("{} is not a valid label selector operator", quote(other));
                    return Err(FieldsError(text));
                }
            };
            requirements.push(requirement(key, operator, values.to_vec())?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }
}

/// Checks one requirement; all its faults are in one error.
fn requirement(
    key: &str,
    operator: Operator,
    mut values: Vec<String>,
) -> Result<Requirement, FieldsError> {
    let mut faults = Vec::new();
    let of_key = validate::key(key);
    if !of_key.is_empty() {
        let text = key_text(&of_key);
        faults.push(format!("key: Invalid value: {}: {text}", quote(key)));
    }
    let is_list = matches!(operator, Operator::In | Operator::NotIn);
    let is_unary = matches!(operator, Operator::Exists | Operator::DoesNotExist);
    if is_list && values.is_empty() {
        faults.push(
            "values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty"
                .to_owned(),
        );
    }
    if is_unary && !values.is_empty() {
        let shown: Vec<_> = values.iter().map(quote).collect();
        faults.push(format!(
            "values: Invalid value: [{}]: values set must be empty for exists and does not exist",
            shown.join(",")
        ));
    }
    let invalid = validate::values(&values, false);
    faults.extend(invalid.iter().map(|invalid| value_text(key, invalid)));
    match &mut faults[..] {
        [] => {
            values.sort();
            values.dedup();
            Ok(Requirement {
                key: key.to_owned(),
                operator,
                values,
            })
        }
        [only] => Err(FieldsError(std::mem::take(only))),
        _ => Err(FieldsError(format!("[{}]", faults.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        labels: &[(&str, &str)],
        expressions: &[(&str, &str, &[&str])],
    ) -> Result<String, String> {
        let values: Vec<Vec<String>> = expressions
            .iter()
            .map(|(_, _, values)| values.iter().map(|&value| value.into()).collect())
            .collect();
        let expressions = expressions.iter().zip(&values);
        let expressions = expressions.map(|(&(key, operator, _), values)| Expression {
            key,
            operator,
            values,
        });
        Selector::from_fields(labels.iter().copied(), expressions)
            .map(|selector| selector.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_becomes_a_requirement() {
        assert_eq!(of(&[], &[]).unwrap(), "");
        let text = of(
            &[("b", "1"), ("a", "2")],
            &[
                ("c", "In", &["y", "x"]),
                ("d", "NotIn", &["z"]),
                ("e", "Exists", &[]),
                ("f", "DoesNotExist", &[]),
            ],
        );
        assert_eq!(text.unwrap(), "a=2,b=1,c in (x,y),d notin (z),e,!f");
    }

    #[test]
    fn fields_that_are_not_valid_are_named() {
        let fault = |labels: &[(&str, &str)], expressions: &[(&str, &str, &[&str])]| {
            of(labels, expressions).unwrap_err()
        };
        assert_eq!(
            fault(&[], &[("a", "Is", &[])]),
            "\"Is\" is not a valid label selector operator"
        );
        assert_eq!(
            fault(&[], &[("a", "In", &[])]),
            "values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty"
        );
        assert_eq!(
            fault(&[], &[("a", "Exists", &["b"])]),
            "values: Invalid value: [\"b\"]: values set must be empty for exists and does not exist"
        );
        assert!(
            fault(&[("a,b", "c")], &[]).starts_with("key: Invalid value: \"a,b\": name part must")
        );
        assert!(
            fault(&[("a", "b,c")], &[])
                .starts_with("values[0][a]: Invalid value: \"b,c\": a valid label")
        );
        assert!(fault(&[("", "b c")], &[]).starts_with("[key: Invalid value: \"\": "));
    }
}
