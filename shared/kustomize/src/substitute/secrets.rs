//! Tracks the values of Secrets through substitution.

use std::collections::BTreeSet;

use flux_yaml::{Value, sigs};

use super::Variables;

/// The texts of an object that were made from variables of Secrets: a part of a value, or one in other letters, is as secret
/// as the whole. `before` is the object with its expressions, `after` what came of it.
pub fn secret_texts(before: &Value, after: &Value, variables: &Variables) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    if !variables.secret.is_empty() {
        collect(before, after, variables, &mut texts);
    }
    texts
}

/// The names, namespaces, kinds and API groups among [`secret_texts`]: what identifies the object.
pub fn secret_identities(before: &Value, after: &Value, variables: &Variables) -> BTreeSet<String> {
    let places: [&[&str]; 4] = [
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["kind"],
        &["apiVersion"],
    ];
    let mut texts = BTreeSet::new();
    for place in places {
        let field = |object: &Value| object.at(place.iter().copied()).cloned();
        if let (Some(before), Some(after)) = (field(before), field(after)) {
            texts.extend(secret_texts(&before, &after, variables));
        }
    }
    let groups: Vec<String> = texts
        .iter()
        .filter_map(|text| Some(text.split_once('/')?.0.to_owned()))
        .collect();
    texts.extend(groups);
    texts
}

fn collect(before: &Value, after: &Value, variables: &Variables, texts: &mut BTreeSet<String>) {
    match (before, after) {
        (Value::Map(before), Value::Map(after)) => {
            for (key, value) in after {
                if let Some(before) = before.get(key) {
                    collect(before, value, variables, texts);
                } else {
                    // A key with an expression: that or its value may be what a Secret holds.
                    texts.insert(key.clone());
                    leaves(value, texts);
                }
            }
        }
        (Value::Seq(before), Value::Seq(after)) => {
            for (index, value) in after.iter().enumerate() {
                match before.get(index) {
                    Some(before) => collect(before, value, variables, texts),
                    None => leaves(value, texts),
                }
            }
        }
        (Value::String(text), after) if uses_secret(text, variables) => leaves(after, texts),
        _ => {}
    }
}

/// Whether a text has an expression with a variable of a Secret, in whichever place.
fn uses_secret(text: &str, variables: &Variables) -> bool {
    text.split("${").skip(1).any(|expression| {
        let end = expression
            .find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
            .unwrap_or(expression.len());
        // `${#name}` is a length.
        variables.secret.contains(&expression[..end])
    })
}

fn leaves(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::Null => {}
        Value::String(text) => {
            texts.insert(text.clone());
        }
        Value::Seq(items) => items.iter().for_each(|item| leaves(item, texts)),
        Value::Map(map) => {
            for (key, value) in map {
                texts.insert(key.clone());
                leaves(value, texts);
            }
        }
        other => {
            let text = sigs::to_string(other).unwrap_or_default();
            texts.insert(text.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::substitute::{SubstituteOptions, substitute_object};

    // KC-SUB-009
    #[test]
    fn what_identifies_an_object_is_known_if_it_was_made_from_a_secret() {
        let mut variables = Variables::default();
        variables.set("plain", "visible");
        variables.set_secret("word", "hunter2");
        for (text, want) in [
            ("{metadata: {name: 'a-${word}'}}", &["a-hunter2"][..]),
            ("{metadata: {namespace: '${word:0:4}'}}", &["hunt"]),
            ("{kind: '${word}'}", &["hunter2"]),
            (
                "{apiVersion: '${word}.x/v1'}",
                &["hunter2.x", "hunter2.x/v1"],
            ),
            (
                "{metadata: {name: '${plain}', labels: {a: '${word}'}}}",
                &[],
            ),
            (
                "{data: {name: '${word}'}, metadata: {name: '${plain}'}}",
                &[],
            ),
        ] {
            let before = sigs::yaml_to_json(text.as_bytes()).unwrap();
            let options = SubstituteOptions::default();
            let after = substitute_object(&before, &variables, options)
                .unwrap()
                .unwrap();
            let want: BTreeSet<String> = want.iter().map(|text| (*text).to_owned()).collect();
            let found = secret_identities(&before, &after, &variables);
            assert_eq!(found, want, "{text}");
        }
    }

    // KC-SUB-009
    #[test]
    fn only_values_derived_from_secrets_are_confidential() {
        let mut variables = Variables::default();
        variables.set("plain", "visible");
        variables.set_secret("word", "hunter2");
        variables.set_secret("number", "4711");
        variables.set_secret("yaml", "a: {b: deep, c: [1, true, null]}");
        for (text, want) in [
            ("{a: '${word}'}", &["hunter2"][..]),
            (
                "{a: 'x-${word}-y', b: '${plain}', c: visible}",
                &["x-hunter2-y"],
            ),
            ("{a: '${word^^}', b: '${word:2:3}'}", &["HUNTER2", "nte"]),
            ("{a: '${word/hunter/fisher}'}", &["fisher2"]),
            ("{a: '${unset:-${word}}'}", &["hunter2"]),
            ("{a: ['${plain}', {b: '${number}'}]}", &["4711"]),
            ("{'${word}': 1}", &["hunter2", "1"]),
            ("{a: '${plain}'}", &[]),
            ("{a: '${words:=none}'}", &[]),
            ("{a: '$${word}'}", &["${word}"]),
        ] {
            let before = sigs::yaml_to_json(text.as_bytes()).unwrap();
            let options = SubstituteOptions::default();
            let after = substitute_object(&before, &variables, options)
                .unwrap()
                .unwrap();
            let want: BTreeSet<String> = want.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(secret_texts(&before, &after, &variables), want, "{text}");
        }
        let before = sigs::yaml_to_json("{a: '${yaml}'}".as_bytes()).unwrap();
        // A null is in too many messages to be masked, and tells nothing.
        let after = "{a: {b: deep, c: [1, true, null]}}";
        let after = sigs::yaml_to_json(after.as_bytes()).unwrap();
        let want = ["1", "b", "c", "deep", "true"].map(str::to_owned);
        assert_eq!(
            secret_texts(&before, &after, &variables),
            BTreeSet::from(want)
        );
        assert!(secret_texts(&before, &after, &Variables::default()).is_empty());
    }
}
