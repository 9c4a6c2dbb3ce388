//! Defaults and choices. A value is empty if `if` treats it as false.

use flux_gotemplate::{CallError, Functions, Str, Value, Variadic};

pub(super) fn register(f: &mut Functions) {
    f.add(
        "default",
        |default: Value, given: Variadic<Value>| match given.0.into_iter().next() {
            Some(value) if value.truth() => value,
            _ => default,
        },
    );
    f.add("empty", |v: Value| !v.truth());
    f.add("coalesce", |v: Variadic<Value>| {
        v.0.into_iter().find(Value::truth).unwrap_or_default()
    });
    f.add("all", |v: Variadic<Value>| v.0.iter().all(Value::truth));
    f.add("any", |v: Variadic<Value>| v.0.iter().any(Value::truth));
    f.add(
        "ternary",
        |yes: Value, no: Value, which: bool| if which { yes } else { no },
    );
    f.add("fail", |message: Str| {
        Err::<Value, _>(CallError::new(message.to_text()))
    });
}
