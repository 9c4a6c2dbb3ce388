//! Values in Go syntax, as `%#v` prints them into error messages.

use std::fmt::Write as _;

use flux_golang::strconv::quote;

use crate::number;
use crate::value::Value;

/// A value as Go prints an `interface{}` of it.
pub(crate) fn value(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("interface {}(nil)"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(int) => {
            let _ = write!(out, "{int}");
        }
        Value::Uint(int) => {
            let _ = write!(out, "{int:#x}");
        }
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::String(text) => out.push_str(&quote(text)),
        Value::Seq(items) => {
            out.push_str("[]interface {}{");
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push('}');
        }
        Value::Map(map) => {
            out.push_str("map[interface {}]interface {}{");
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by(|a, b| a.0.cmp(b.0));
            for (at, (key, item)) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                out.push_str(&quote(key));
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
    }
}

/// A float as `%#v` prints it: `%g` with the exponent from 1e21 on.
pub(crate) fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number::format_go_syntax(float)
}
