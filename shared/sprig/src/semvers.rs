//! Semantic versions; the only module that calls `flux-semver`.

use std::any::Any;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use flux_gotemplate::{
    Blob, CallError, Functions, Kind, Method, Object, Str, Type, TypeInfo, Value, json, types,
};
use flux_semver::{Constraints, Version, VersionError};

/// The result type of `semver`.
static POINTER: TypeInfo = TypeInfo::object("*semver.Version", Kind::Pointer).with_methods(METHODS);

/// The result type of methods that return a version: methods with a pointer receiver cannot be called on it in templates.
static STRUCT: TypeInfo =
    TypeInfo::object("semver.Version", Kind::Struct).with_methods(VALUE_METHODS);

/// The result type of methods that return only an error.
static ERROR: TypeInfo = TypeInfo::object("*errors.errorString", Kind::Pointer);

pub(super) fn register(f: &mut Functions) {
    f.add("semver", |version: Str| {
        parse(&version.to_text()).map(|version| Semver::value(version, &POINTER))
    });
    f.add("semverCompare", |constraint: Str, version: Str| {
        let constraints =
            Constraints::parse(&constraint.to_text()).map_err(|e| CallError::new(e.to_string()))?;
        Ok::<_, CallError>(constraints.check(&parse(&version.to_text())?))
    });
}

fn parse(text: &str) -> Result<Version, CallError> {
    Version::parse(text).map_err(|e| CallError::new(e.to_string()))
}

/// A version, or a pointer to one, which methods can modify.
struct Semver {
    version: RefCell<Version>,
    go_type: Type,
}

impl Semver {
    fn value(version: Version, go_type: Type) -> Value {
        let version = RefCell::new(version);
        Value::Object(Rc::new(Self { version, go_type }))
    }
}

impl Object for Semver {
    fn go_type(&self) -> Type {
        self.go_type
    }

    /// Its fields are not exported.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn all_fields(&self) -> Vec<(&'static str, Value)> {
        let version = self.version.borrow();
        vec![
            ("major", Value::uint64(version.major())),
            ("minor", Value::uint64(version.minor())),
            ("patch", Value::uint64(version.patch())),
            ("pre", version.prerelease().into()),
            ("metadata", version.metadata().into()),
            ("original", version.original().into()),
        ]
    }

    fn text(&self) -> Option<Str> {
        Some(self.version.borrow().to_string().into())
    }

    fn json(&self) -> Option<Value> {
        Some(self.version.borrow().to_string().into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An error as a value, possibly nil.
struct ErrorValue(Option<CallError>);

impl Object for ErrorValue {
    fn go_type(&self) -> Type {
        &ERROR
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn text(&self) -> Option<Str> {
        let text = self.0.as_ref().map(ToString::to_string);
        Some(text.unwrap_or_else(|| "<nil>".to_owned()).into())
    }

    fn is_nil(&self) -> bool {
        self.0.is_none()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

macro_rules! methods {
    ($($name:literal ($($param:expr),*) $body:expr;)*) => {
        &[$(Method { name: $name, params: &[$($param),*], variadic: false, call: $body }),*]
    };
}

/// The methods with a value receiver, followed by those with a pointer receiver.
macro_rules! version_methods {
    (value { $($value:tt)* } pointer { $($pointer:tt)* }) => {
        static VALUE_METHODS: &[Method] = methods! { $($value)* };
        static METHODS: &[Method] = methods! { $($value)* $($pointer)* };
    };
}

version_methods! {
    value {
        "Major" () |r, _, _| with(r, |v| Value::uint64(v.major()));
        "Minor" () |r, _, _| with(r, |v| Value::uint64(v.minor()));
        "Patch" () |r, _, _| with(r, |v| Value::uint64(v.patch()));
        "Prerelease" () |r, _, _| with(r, |v| v.prerelease().into());
        "Metadata" () |r, _, _| with(r, |v| v.metadata().into());
        "String" () |r, _, _| with(r, |v| v.to_string().into());
        "Value" () |r, _, _| with(r, |v| v.to_string().into());
        "MarshalText" () |r, _, _| with(r, |v| bytes(v.to_string()));
        "MarshalJSON" () |r, _, _| with(r, |v| bytes(format!("\"{v}\"")));
        "IncMajor" () |r, _, _| changed(r, Version::inc_major);
        "IncMinor" () |r, _, _| changed(r, Version::inc_minor);
        "IncPatch" () |r, _, _| changed(r, Version::inc_patch);
        "SetPrerelease" (&types::STRING) |r, _, a| {
            let text = text_argument(a);
            changed(r, |v| v.set_prerelease(&text))
        };
        "SetMetadata" (&types::STRING) |r, _, a| {
            let text = text_argument(a);
            changed(r, |v| v.set_metadata(&text))
        };
    }
    pointer {
        "Original" () |r, _, _| with(r, |v| v.original().into());
        "Compare" (&POINTER) |r, _, a| compare(r, a, |o| Value::int(o as i64));
        "Equal" (&POINTER) |r, _, a| compare(r, a, |o| Value::Bool(o.is_eq()));
        "LessThan" (&POINTER) |r, _, a| compare(r, a, |o| Value::Bool(o.is_lt()));
        "LessThanEqual" (&POINTER) |r, _, a| compare(r, a, |o| Value::Bool(o.is_le()));
        "GreaterThan" (&POINTER) |r, _, a| compare(r, a, |o| Value::Bool(o.is_gt()));
        "GreaterThanEqual" (&POINTER) |r, _, a| compare(r, a, |o| Value::Bool(o.is_ge()));
        "Scan" (&types::ANY) |r, _, a| {
            let text = match a.pop().unwrap_or_default() {
                Value::Str(text) => Ok(text.to_text().into_owned()),
                Value::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Value::Nil => Err("cannot scan nil into Version".into()),
                other => Err(CallError::new(format!("unsupported Scan type {}", other.type_name()))),
            };
            replace(r, text)
        };
        "UnmarshalText" (&types::BYTES) |r, _, a| {
            replace(r, Ok(String::from_utf8_lossy(&bytes_argument(a)).into_owned()))
        };
        "UnmarshalJSON" (&types::BYTES) |r, _, a| replace(r, json_text(&bytes_argument(a)));
    }
}

fn receiver(receiver: &Value) -> Result<&Semver, CallError> {
    let semver = receiver.downcast::<Semver>();
    semver.ok_or_else(|| "the receiver is not a version".into())
}

fn with(value: &Value, of: impl FnOnce(&Version) -> Value) -> Result<Value, CallError> {
    Ok(of(&receiver(value)?.version.borrow()))
}

fn compare(
    value: &Value,
    args: &mut Vec<Value>,
    of: fn(Ordering) -> Value,
) -> Result<Value, CallError> {
    let other = args.pop().unwrap_or_default();
    let Some(other) = other.downcast::<Semver>() else {
        return Err("runtime error: invalid memory address or nil pointer dereference".into());
    };
    with(
        value,
        |version| of(version.compare(&other.version.borrow())),
    )
}

fn changed(
    value: &Value,
    change: impl FnOnce(&Version) -> Result<Version, VersionError>,
) -> Result<Value, CallError> {
    let version = change(&receiver(value)?.version.borrow());
    let version = version.map_err(|e| CallError::new(e.to_string()))?;
    Ok(Semver::value(version, &STRUCT))
}

/// Replaces the receiver by another version. The result is the error, if any.
fn replace(value: &Value, text: Result<String, CallError>) -> Result<Value, CallError> {
    let semver = receiver(value)?;
    let error = match text.and_then(|text| parse(&text)) {
        Ok(version) => {
            semver.version.replace(version);
            None
        }
        Err(error) => Some(error),
    };
    Ok(Value::object(ErrorValue(error)))
}

fn text_argument(args: &mut Vec<Value>) -> String {
    let text = args.pop().unwrap_or_default();
    let text = text.as_str().map(|text| text.to_text().into_owned());
    text.unwrap_or_default()
}

fn bytes_argument(args: &mut Vec<Value>) -> Vec<u8> {
    match args.pop() {
        Some(Value::Bytes(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

fn bytes(text: String) -> Value {
    Value::Bytes(Blob::new(text.into_bytes()))
}

/// The text in a JSON document; `null` is the empty text.
fn json_text(document: &[u8]) -> Result<String, CallError> {
    match json::unmarshal(document).map_err(|e| CallError::new(e.to_string()))? {
        Value::Str(text) => Ok(text.to_text().into_owned()),
        Value::Nil => Ok(String::new()),
        other => {
            let kind = match other {
                Value::Bool(_) => "bool",
                Value::List(_) => "array",
                Value::Map(_) => "object",
                _ => "number",
            };
            Err(CallError::new(format!(
                "json: cannot unmarshal {kind} into Go value of type string"
            )))
        }
    }
}
