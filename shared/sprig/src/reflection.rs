//! Types of values.

use flux_gotemplate::{Context, Functions, Str, Value};

pub(super) fn register(f: &mut Functions) {
    f.add("typeOf", |v: Value| v.type_name());
    f.add("typeIs", |target: Str, v: Value| target == v.type_name());
    f.add("typeIsLike", |target: Str, v: Value| {
        let name = v.type_name();
        target == name || name.strip_prefix('*').is_some_and(|name| target == name)
    });
    f.add("kindOf", |v: Value| kind_of(&v));
    f.add("kindIs", |target: Str, v: Value| target == kind_of(&v));
    f.add("deepEqual", |c: &mut Context<'_>, a: Value, b: Value| {
        c.deep_equal(&a, &b)
    });
}

fn kind_of(value: &Value) -> &'static str {
    value.kind().map_or("invalid", flux_gotemplate::Kind::name)
}
