//! Label selectors in their text form, `app=web,tier in (a, b),!old`.

use serde_json::{Map, Value};

/// A text that is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0:?}")]
pub struct MalformedSelector(pub String);

/// Requirements on labels, all of which have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

impl LabelSelector {
    /// Reads a selector; an empty text selects everything.
    ///
    /// # Errors
    ///
    /// At the first requirement that cannot be read.
    pub fn parse(text: &str) -> Result<Self, MalformedSelector> {
        let parts = split_outside_parentheses(text);
        let requirements = parts
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty());
        requirements
            .map(|part| requirement(part).ok_or_else(|| MalformedSelector(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = |key: &str| {
            labels
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        let number = |key: &str| value(key).and_then(|text| text.parse::<i64>().ok());
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                value(key).is_some_and(|have| values.iter().any(|want| want == have))
            }
            Requirement::NotIn(key, values) => {
                value(key).is_none_or(|have| values.iter().all(|want| want != have))
            }
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
            Requirement::Greater(key, limit) => number(key).is_some_and(|have| have > *limit),
            Requirement::Less(key, limit) => number(key).is_some_and(|have| have < *limit),
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0u32);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str) -> Option<Requirement> {
    if let Some(key) = text.strip_prefix('!') {
        return Some(Requirement::Absent(key_of(key)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Requirement::NotIn(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Requirement::In(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = text.split_once('>') {
        return Some(Requirement::Greater(
            key_of(key)?,
            value.trim().parse().ok()?,
        ));
    }
    if let Some((key, value)) = text.split_once('<') {
        return Some(Requirement::Less(key_of(key)?, value.trim().parse().ok()?));
    }
    let Some((head, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return Some(Requirement::Exists(key_of(text)?));
    };
    let values = values
        .split(',')
        .map(value_of)
        .collect::<Option<Vec<_>>>()?;
    let (key, operator) = head.trim().split_once(char::is_whitespace)?;
    match operator.trim() {
        "in" => Some(Requirement::In(key_of(key)?, values)),
        "notin" => Some(Requirement::NotIn(key_of(key)?, values)),
        _ => None,
    }
}

fn key_of(text: &str) -> Option<String> {
    let key = text.trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!key.is_empty() && key.chars().all(is_part)).then(|| key.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let value = text.trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (value.len() <= 63 && value.chars().all(is_part)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::LabelSelector;

    #[test]
    fn requirements_hold_or_not() {
        let labels = json!({ "app": "web", "tier": "a", "n": "5", "x.io/y": "" });
        for (text, holds) in [
            ("", true),
            ("app=web", true),
            ("app==web , tier in (a, b)", true),
            ("app!=web", false),
            ("other!=web", true),
            ("tier notin (b,c)", true),
            ("tier in (b)", false),
            ("x.io/y", true),
            ("x.io/y=", true),
            ("!old", true),
            ("!app", false),
            ("n>4,n<6", true),
            ("n>5", false),
        ] {
            assert_eq!(
                LabelSelector::parse(text)
                    .unwrap()
                    .matches(labels.as_object()),
                holds,
                "{text}"
            );
        }
        for text in ["a b", "app=(web)", "tier of (a)", "n>x", "=v", "a in b"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }
}
