//! The functions that expressions can call: the standard ones, and the libraries strings, sets, encoders and optional.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::types::{Param, Type};

/// How a function is called when the types of its arguments are not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// By one implementation for all its overloads, with this many arguments.
    Shared(usize),
    /// By the overload that fits the arguments.
    Overloads,
}

/// A signature of a function.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    /// Whether it is called on its first argument: `a.f(b)`.
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// The type parameters, each once.
    pub(crate) params: Vec<char>,
}

#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) binding: Binding,
    pub(crate) overloads: Vec<Overload>,
}

/// The function of this name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name.strip_prefix('.').unwrap_or(name))
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    let mut add = |name: &'static str, binding, signatures: &str| {
        let overloads = signatures.split(';').filter_map(overload).collect();
        functions.insert(name, Function { binding, overloads });
    };
    for (name, signatures) in SHARED {
        let binding = Binding::Shared(arity(signatures));
        add(name, binding, signatures);
    }
    for name in ["_<_", "_<=_", "_>_", "_>=_"] {
        add(name, Binding::Shared(2), ORDERED);
    }
    for (name, signatures) in OVERLOADED {
        add(name, Binding::Overloads, signatures);
    }
    for (name, of_duration) in PARTS_OF_TIME {
        let mut signatures = String::from("timestamp.() -> int; timestamp.(string) -> int");
        if *of_duration {
            signatures.push_str("; duration.() -> int");
        }
        add(name, Binding::Overloads, &signatures);
    }
    functions
});

/// Functions with one implementation, each with its signatures.
const SHARED: &[(&str, &str)] = &[
    ("_?_:_", "(bool, A, A) -> A"),
    ("_&&_", "(bool, bool) -> bool"),
    ("_||_", "(bool, bool) -> bool"),
    ("!_", "(bool) -> bool"),
    ("@not_strictly_false", "(bool) -> bool"),
    ("_==_", "(A, A) -> bool"),
    ("_!=_", "(A, A) -> bool"),
    (
        "_+_",
        "(bytes, bytes) -> bytes; (double, double) -> double; (duration, duration) -> duration; \
         (duration, timestamp) -> timestamp; (timestamp, duration) -> timestamp; (int, int) -> int; \
         (list(A), list(A)) -> list(A); (string, string) -> string; (uint, uint) -> uint",
    ),
    (
        "_-_",
        "(double, double) -> double; (duration, duration) -> duration; (int, int) -> int; \
         (timestamp, duration) -> timestamp; (timestamp, timestamp) -> duration; (uint, uint) -> uint",
    ),
    (
        "_*_",
        "(double, double) -> double; (int, int) -> int; (uint, uint) -> uint",
    ),
    (
        "_/_",
        "(double, double) -> double; (int, int) -> int; (uint, uint) -> uint",
    ),
    ("_%_", "(int, int) -> int; (uint, uint) -> uint"),
    ("-_", "(double) -> double; (int) -> int"),
    (
        "_[_]",
        "(list(A), int) -> A; (map(A, B), A) -> B; (optional(list(V)), int) -> optional(V); \
         (optional(map(K, V)), K) -> optional(V)",
    ),
    (
        "_[?_]",
        "(list(V), int) -> optional(V); (optional(list(V)), int) -> optional(V); \
         (map(K, V), K) -> optional(V); (optional(map(K, V)), K) -> optional(V)",
    ),
    ("@in", "(A, list(A)) -> bool; (A, map(A, B)) -> bool"),
    (
        "size",
        "(bytes) -> int; bytes.() -> int; (list(A)) -> int; list(A).() -> int; (map(A, B)) -> int; \
         map(A, B).() -> int; (string) -> int; string.() -> int",
    ),
    ("type", "(A) -> type(A)"),
    ("dyn", "(A) -> dyn"),
    (
        "matches",
        "(string, string) -> bool; string.(string) -> bool",
    ),
    ("or", "optional(V).(optional(V)) -> optional(V)"),
    ("orValue", "optional(V).(V) -> V"),
];

const ORDERED: &str = "(bool, bool) -> bool; (int, int) -> bool; (int, double) -> bool; (int, uint) -> bool; \
    (uint, uint) -> bool; (uint, double) -> bool; (uint, int) -> bool; (double, double) -> bool; (double, int) -> bool; \
    (double, uint) -> bool; (string, string) -> bool; (bytes, bytes) -> bool; (timestamp, timestamp) -> bool; \
    (duration, duration) -> bool";

/// Functions with an implementation for each signature.
const OVERLOADED: &[(&str, &str)] = &[
    ("bool", "(bool) -> bool; (string) -> bool"),
    ("bytes", "(bytes) -> bytes; (string) -> bytes"),
    (
        "double",
        "(double) -> double; (int) -> double; (string) -> double; (uint) -> double",
    ),
    (
        "duration",
        "(duration) -> duration; (int) -> duration; (string) -> duration",
    ),
    (
        "int",
        "(int) -> int; (double) -> int; (duration) -> int; (string) -> int; (timestamp) -> int; (uint) -> int",
    ),
    (
        "string",
        "(string) -> string; (bool) -> string; (bytes) -> string; (double) -> string; (duration) -> string; \
         (int) -> string; (timestamp) -> string; (uint) -> string",
    ),
    (
        "timestamp",
        "(timestamp) -> timestamp; (int) -> timestamp; (string) -> timestamp",
    ),
    (
        "uint",
        "(uint) -> uint; (double) -> uint; (int) -> uint; (string) -> uint",
    ),
    ("contains", "string.(string) -> bool"),
    ("endsWith", "string.(string) -> bool"),
    ("startsWith", "string.(string) -> bool"),
    ("charAt", "string.(int) -> string"),
    (
        "indexOf",
        "string.(string) -> int; string.(string, int) -> int",
    ),
    (
        "lastIndexOf",
        "string.(string) -> int; string.(string, int) -> int",
    ),
    ("lowerAscii", "string.() -> string"),
    ("upperAscii", "string.() -> string"),
    (
        "replace",
        "string.(string, string) -> string; string.(string, string, int) -> string",
    ),
    (
        "split",
        "string.(string) -> list(string); string.(string, int) -> list(string)",
    ),
    (
        "substring",
        "string.(int) -> string; string.(int, int) -> string",
    ),
    ("trim", "string.() -> string"),
    ("reverse", "string.() -> string"),
    (
        "join",
        "list(string).() -> string; list(string).(string) -> string",
    ),
    ("format", "string.(list(dyn)) -> string"),
    ("strings.quote", "(string) -> string"),
    ("sets.contains", "(list(T), list(T)) -> bool"),
    ("sets.equivalent", "(list(T), list(T)) -> bool"),
    ("sets.intersects", "(list(T), list(T)) -> bool"),
    ("base64.decode", "(string) -> bytes"),
    ("base64.encode", "(bytes) -> string"),
    ("optional.of", "(V) -> optional(V)"),
    ("optional.ofNonZeroValue", "(V) -> optional(V)"),
    ("optional.none", "() -> optional(V)"),
    ("optional.unwrap", "(list(optional(V))) -> list(V)"),
    ("unwrapOpt", "list(optional(V)).() -> list(V)"),
    ("value", "optional(V).() -> V"),
    ("hasValue", "optional(V).() -> bool"),
    ("first", "list(V).() -> optional(V)"),
    ("last", "list(V).() -> optional(V)"),
];

/// The functions that return a part of a timestamp, each with whether durations have it too.
const PARTS_OF_TIME: &[(&str, bool)] = &[
    ("getFullYear", false),
    ("getMonth", false),
    ("getDayOfYear", false),
    ("getDayOfMonth", false),
    ("getDate", false),
    ("getDayOfWeek", false),
    ("getHours", true),
    ("getMinutes", true),
    ("getSeconds", true),
    ("getMilliseconds", true),
];

/// The number of arguments of the first signature.
fn arity(signatures: &str) -> usize {
    let first = signatures.split(';').next().and_then(overload);
    first.map_or(0, |overload| overload.args.len())
}

/// Reads a signature: `(arguments) -> result`, or `target.(arguments) -> result`.
fn overload(text: &str) -> Option<Overload> {
    let (call, result) = text.trim().split_once(" -> ")?;
    let (target, args) = match call.split_once(".(") {
        Some((target, args)) => (Some(target), args),
        None => (None, call.strip_prefix('(')?),
    };
    let args = list(args.strip_suffix(')')?);
    let member = target.is_some();
    let args: Vec<Type> = target.into_iter().chain(args).map(type_of).collect();
    let result = type_of(result);
    let mut params = Vec::new();
    for of in args.iter().chain([&result]) {
        collect(of, &mut params);
    }
    Some(Overload {
        member,
        args,
        result,
        params,
    })
}

/// Splits at the commas outside of parentheses.
fn list(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn type_of(text: &str) -> Type {
    let text = text.trim();
    if let Some((name, inner)) = text.split_once('(') {
        let inner = inner.strip_suffix(')').unwrap_or(inner);
        let mut inner = list(inner).into_iter().map(type_of);
        let mut next = || inner.next().unwrap_or(Type::Dyn);
        return match name {
            "list" => Type::list(next()),
            "map" => Type::map(next(), next()),
            "optional" => Type::optional(next()),
            _ => Type::Type(Some(next().into())),
        };
    }
    match text {
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "dyn" => Type::Dyn,
        name if name.len() == 1 => name.chars().next().map_or(Type::Dyn, param),
        name => Type::named(name).unwrap_or(Type::Dyn),
    }
}

fn param(name: char) -> Type {
    Type::Param(Param::Declared(name))
}

fn collect(of: &Type, params: &mut Vec<char>) {
    if let Type::Param(Param::Declared(name)) = of
        && !params.contains(name)
    {
        params.push(*name);
    }
    for parameter in of.parameters() {
        collect(parameter, params);
    }
}
