//! Types of values.

use flux_gotemplate::{Functions, Str, Value, deep_equal};

pub(super) fn register(f: &mut Functions) {
    f.add("typeOf", |v: Value| v.type_name());
    f.add("typeIs", |target: Str, v: Value| target == v.type_name());
    f.add("typeIsLike", |target: Str, v: Value| {
        let name = v.type_name();
        target == name || name.strip_prefix('*').is_some_and(|name| target == name)
    });
    f.add("kindOf", |v: Value| kind_of(&v));
    f.add("kindIs", |target: Str, v: Value| target == kind_of(&v));
    f.add("deepEqual", |a: Value, b: Value| deep_equal(&a, &b));
}

fn kind_of(value: &Value) -> &'static str {
    value.kind().map_or("invalid", flux_gotemplate::Kind::name)
}
