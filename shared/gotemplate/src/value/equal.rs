//! `reflect.DeepEqual`

use super::{Kind, Value};

/// Depth beyond which values count as different: only cyclic ones are deeper.
const MAX_DEPTH: usize = 500;

/// `reflect.DeepEqual`: equal types and contents, where nil and empty differ.
pub fn deep_equal(a: &Value, b: &Value) -> bool {
    let mut steps = u64::MAX;
    equal(a, b, 0, &mut steps)
}

/// As [`deep_equal`]; each value that is looked at takes a step. Without steps left the result is `false`. Values that are
/// in others several times are compared as often.
pub(crate) fn deep_equal_within(a: &Value, b: &Value, steps: &mut u64) -> bool {
    equal(a, b, 0, steps)
}

#[allow(clippy::float_cmp)] // Go compares floats exactly
fn equal(a: &Value, b: &Value, depth: usize, steps: &mut u64) -> bool {
    *steps = steps.saturating_sub(1);
    if depth > MAX_DEPTH || *steps == 0 {
        return false;
    }
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(s, a), Value::Int(t, b)) => s == t && a == b,
        (Value::Uint(s, a), Value::Uint(t, b)) => s == t && a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Float32(a), Value::Float32(b)) => a == b,
        (Value::Complex(ar, ai), Value::Complex(br, bi)) => ar == br && ai == bi,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.go_type().same(b.go_type())
                && a.is_nil() == b.is_nil()
                && (a.same(b)
                    || a.items().len() == b.items().len()
                        && a.items()
                            .iter()
                            .zip(b.items())
                            .all(|(a, b)| equal(a, b, depth + 1, steps)))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.go_type().same(b.go_type())
                && a.is_nil() == b.is_nil()
                && (a.same(b)
                    || a.len() == b.len()
                        && a.entries().iter().all(|(key, value)| {
                            b.get(key)
                                .is_some_and(|other| equal(value, &other, depth + 1, steps))
                        }))
        }
        (Value::Time(a), Value::Time(b)) => a.identical(b),
        (Value::Object(x), Value::Object(y)) => {
            if std::rc::Rc::ptr_eq(x, y) {
                return true;
            }
            let same_type = x.go_type().same(y.go_type());
            let comparable = matches!(x.go_type().kind, Kind::Struct | Kind::Pointer);
            let (x, y) = (x.all_fields(), y.all_fields());
            same_type
                && comparable
                && !x.is_empty()
                && x.len() == y.len()
                && x.iter()
                    .zip(&y)
                    .all(|((_, a), (_, b))| equal(a, b, depth + 1, steps))
        }
        _ => false,
    }
}
