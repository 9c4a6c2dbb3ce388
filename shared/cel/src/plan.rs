//! What is known of an expression before it is evaluated.

use std::sync::Arc;

use crate::ast::{Expr, Kind, operators};
use crate::declarations::{Binding, function};
use crate::eval::{Limits, Meter, resolved};
use crate::functions;
use crate::value::Value;

/// Checks an expression before it is evaluated, and returns its value if that is a constant: a literal, or a conversion of
/// one.
///
/// # Errors
/// A call whose function is known not to take its number of arguments, a conversion of a constant that fails, an index of a
/// type that no key has, a message, or a literal regular expression that is malformed.
pub(crate) fn plan(expr: &Expr) -> Result<Option<Value>, String> {
    let constants = |of: Vec<&Expr>| -> Result<Vec<Option<Value>>, String> {
        of.into_iter().map(plan).collect()
    };
    match &expr.kind {
        Kind::Literal(value) => Ok(Some(value.clone())),
        Kind::Message { name, .. } => Err(format!("unknown type: {name}")),
        Kind::List(items) if items.iter().all(|item| !item.optional) => {
            let items = constants(expr.kind.children())?.into_iter();
            let items: Option<Vec<Value>> = items.collect();
            Ok(items.map(|items| Value::List(Arc::new(items))))
        }
        Kind::Call {
            target,
            function,
            args,
        } => {
            let (name, target) = resolved(target.as_deref(), function);
            let values = constants(target.into_iter().chain(args).collect())?;
            plan_call(&name, values.len())?;
            match (&*name, values.as_slice()) {
                ("matches", [_, Some(Value::String(pattern))]) => {
                    let compiled = flux_golang::regexp::Regex::cached(pattern.as_bytes());
                    compiled.map_err(|error| error.to_string())?;
                }
                (operators::INDEX | operators::OPTIONAL_INDEX, [_, Some(key)]) => {
                    let of = match key {
                        Value::List(_) => "*types.baseList",
                        Value::Null | Value::Bytes(_) => key.go_type(),
                        _ => return Ok(None),
                    };
                    return Err(format!("invalid qualifier type: {of}"));
                }
                (
                    "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp"
                    | "uint",
                    [Some(value)],
                ) => {
                    let mut meter = Meter::new(Limits::default());
                    let value = std::slice::from_ref(value);
                    return functions::call(&name, expr.id, value, &mut meter).map(Some);
                }
                _ => {}
            }
            Ok(None)
        }
        kind => constants(kind.children()).map(|_| None),
    }
}

fn plan_call(name: &str, count: usize) -> Result<(), String> {
    let wanted = match function(name) {
        _ if matches!(name, "or" | "orValue") => return Ok(()),
        None => (count == 0).then_some(1),
        Some(function) => match (&function.binding, function.overloads.as_slice()) {
            (Binding::Shared(wanted), _) => Some(*wanted),
            (Binding::Overloads, [only]) => Some(only.args.len()),
            (Binding::Overloads, _) => None,
        },
    };
    if wanted.is_none_or(|wanted| wanted == count) {
        return Ok(());
    }
    let args = match count {
        0 => "",
        1 => "arg",
        2 => "lhs, rhs",
        _ => "...",
    };
    Err(format!("no such overload: {name}({args})"))
}
