//! Expressions evaluated by cel-go and by ours: values, and the texts of errors.

mod expressions;

use flux_cel::{Expression, Limits, Numbers, Type, Value};
use oracle::{Answer, Oracle};
use serde_json::json;

/// An object as it is read from Kubernetes: its fields are the variables.
const OBJECT: &str = r#"{
  "apiVersion": "example.com/v1", "kind": "Widget",
  "metadata": {"name": "w", "namespace": "apps", "generation": 3, "labels": {"app.kubernetes.io/name": "w", "tier": "db"},
    "creationTimestamp": "2026-05-04T10:00:00Z"},
  "spec": {"replicas": 3, "ratio": 0.5, "names": ["a", "b", "c"], "empty": [], "none": null, "nested": [{"x": 1}, {"x": 2}, {}]},
  "status": {"observedGeneration": 3, "phase": "Ready", "ready": true, "big": 9223372036854775807,
    "conditions": [
      {"type": "Ready", "status": "True", "reason": "Done", "lastTransitionTime": "2026-05-04T10:00:30Z"},
      {"type": "Synced", "status": "False", "message": "ünïcode ✓"}
    ]}
}"#;

/// The value as the command writes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => format!("{value}u"),
        Value::Double(value) => format!(
            "double {}",
            flux_golang::strconv::format_float(*value, b'g', None)
        ),
        Value::String(text) => {
            let mut quoted = String::from("\"");
            flux_golang::json::push_escaped(&mut quoted, text, true);
            quoted + "\""
        }
        Value::Bytes(bytes) => format!("bytes {}", flux_golang::encoding::hex(bytes)),
        Value::Duration(value) => format!("duration {value}"),
        Value::Timestamp(time) => format!("timestamp {}", time.text()),
        Value::Type(of) => format!("type {}", of.name()),
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(value)) => format!("some {}", shown(value)),
        Value::List(items) => {
            let items = items.iter().map(|item| shown(item) + ",");
            format!("[{}]", items.collect::<String>())
        }
        Value::Map(map) => {
            let entries = map.entries().iter();
            let mut entries: Vec<String> = entries
                .map(|(key, value)| format!("{}:{},", shown(key), shown(value)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.concat())
        }
    }
}

/// How an expression is used.
#[derive(Clone, Copy, Debug)]
enum Use {
    /// Its types are not checked; its variables are the fields of the object.
    Parsed,
    /// Its types are checked; its variables are `self` and `dep`.
    Compiled(&'static str),
}

fn ours(text: &str, how: Use) -> Result<String, String> {
    let object: serde_json::Value = serde_json::from_str(OBJECT).unwrap();
    let whole = json!({ "self": object, "dep": object });
    let (expression, data) = match how {
        Use::Parsed => (Expression::parse(text), &object),
        Use::Compiled(output) => {
            let of = || Type::map(Type::String, Type::Dyn);
            let output = match output {
                "bool" => Some(Type::Bool),
                "string" => Some(Type::String),
                _ => None,
            };
            let variables = [("self", of()), ("dep", of())];
            (Expression::compile(text, &variables, output), &whole)
        }
    };
    let expression = expression.map_err(|error| error.to_string())?;
    let variable = |name: &str| Some(Value::of_json(data.get(name)?, Numbers::Integers));
    let value = expression.evaluate(variable, Limits::default());
    value
        .map(|value| shown(&value))
        .map_err(|error| error.to_string())
}

/// The part of an error that has to be the same. Syntax errors are worded by ANTLR, whose way to go on after an error is not
/// repeated here: the place of the first has to be the same.
fn compared(text: &str, error: &str) -> String {
    match error.split_once("Syntax error") {
        Some((before, _)) => format!("{before}Syntax error"),
        None => error.replace(text, "…"),
    }
}

#[test]
fn expressions_are_evaluated_as_in_go() {
    // RT-CEL-001, RT-CEL-006, KC-HEALTH-035
    let Some(mut go) = Oracle::start("cel") else {
        return;
    };
    let parsed = expressions::ALL.iter().map(|text| (*text, Use::Parsed));
    let compiled = expressions::ALL.iter().chain(expressions::CHECKED);
    let compiled = compiled.map(|text| (*text, Use::Compiled("")));
    let outputs = expressions::CHECKED.iter().flat_map(|text| {
        [
            (*text, Use::Compiled("bool")),
            (*text, Use::Compiled("string")),
        ]
    });
    let cases: Vec<(&str, Use)> = parsed.chain(compiled).chain(outputs).collect();
    let questions: Vec<serde_json::Value> = cases
        .iter()
        .map(|(text, how)| match how {
            Use::Parsed => json!({ "mode": "evaluate", "expression": text, "data": OBJECT }),
            Use::Compiled(output) => json!({
                "mode": "evaluate", "expression": text, "compile": true, "variables": ["self", "dep"],
                "output": output, "data": format!(r#"{{"self": {OBJECT}, "dep": {OBJECT}}}"#),
            }),
        })
        .collect();
    let mut different = Vec::new();
    for ((text, how), answer) in cases.iter().zip(go.ask_all(&questions)) {
        let theirs = match answer {
            Answer::Output(value) => Ok(value.as_str().unwrap_or_default().to_owned()),
            Answer::Error(error) => Err(compared(text, &error)),
            Answer::Panic(panic) => Err(format!("panic: {panic}")),
        };
        let ours = ours(text, *how).map_err(|error| compared(text, &error));
        if ours != theirs {
            different.push(format!(
                "{text}  ({how:?})\n  go:   {theirs:?}\n  ours: {ours:?}"
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {}:\n{}",
        different.len(),
        cases.len(),
        different.join("\n")
    );
}
