//! Semantic versions: the one place that calls `flux-semver`.

use std::any::Any;
use std::rc::Rc;

use flux_semver::{Constraints, Version};

use crate::error::CallError;
use crate::functions::Functions;
use crate::value::{Kind, Method, Object, Str, Type, TypeInfo, Value};

static VERSION: TypeInfo = TypeInfo::object("*semver.Version", Kind::Pointer).with_methods(METHODS);

pub(super) fn register(f: &mut Functions) {
    f.add("semver", |version: Str| {
        parse(&version).map(|v| Value::object(Semver(v)))
    });
    f.add("semverCompare", |constraint: Str, version: Str| {
        let constraints =
            Constraints::parse(&constraint.to_text()).map_err(|e| CallError::new(e.to_string()))?;
        Ok::<_, CallError>(constraints.check(&parse(&version)?))
    });
}

fn parse(text: &Str) -> Result<Version, CallError> {
    Version::parse(&text.to_text()).map_err(|e| CallError::new(e.to_string()))
}

/// What `semver` returns.
struct Semver(Version);

impl Object for Semver {
    fn go_type(&self) -> Type {
        &VERSION
    }

    /// Its fields are not exported.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn text(&self) -> Option<Str> {
        Some(self.0.to_string().into())
    }

    fn json(&self) -> Option<Value> {
        Some(self.0.to_string().into())
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

static METHODS: &[Method] = methods! {
    "Major" () |r, _, _| with(r, |v| Value::uint64(v.major()));
    "Minor" () |r, _, _| with(r, |v| Value::uint64(v.minor()));
    "Patch" () |r, _, _| with(r, |v| Value::uint64(v.patch()));
    "Prerelease" () |r, _, _| with(r, |v| v.prerelease().into());
    "Metadata" () |r, _, _| with(r, |v| v.metadata().into());
    "Original" () |r, _, _| with(r, |v| v.original().into());
    "String" () |r, _, _| with(r, |v| v.to_string().into());
    "Compare" (&VERSION) |r, _, a| compare(r, a, |o| Value::int(o as i64));
    "Equal" (&VERSION) |r, _, a| compare(r, a, |o| Value::Bool(o.is_eq()));
    "LessThan" (&VERSION) |r, _, a| compare(r, a, |o| Value::Bool(o.is_lt()));
    "LessThanEqual" (&VERSION) |r, _, a| compare(r, a, |o| Value::Bool(o.is_le()));
    "GreaterThan" (&VERSION) |r, _, a| compare(r, a, |o| Value::Bool(o.is_gt()));
    "GreaterThanEqual" (&VERSION) |r, _, a| compare(r, a, |o| Value::Bool(o.is_ge()));
    "IncMajor" () |r, _, _| changed(r, Version::inc_major);
    "IncMinor" () |r, _, _| changed(r, Version::inc_minor);
    "IncPatch" () |r, _, _| changed(r, Version::inc_patch);
};

fn with(receiver: &Value, of: impl FnOnce(&Version) -> Value) -> Result<Value, CallError> {
    match receiver.downcast::<Semver>() {
        Some(semver) => Ok(of(&semver.0)),
        None => Err("the receiver is no version".into()),
    }
}

fn compare(
    receiver: &Value,
    args: &mut Vec<Value>,
    of: fn(std::cmp::Ordering) -> Value,
) -> Result<Value, CallError> {
    let other = args.pop().unwrap_or_default();
    let Some(other) = other.downcast::<Semver>() else {
        return Err("runtime error: invalid memory address or nil pointer dereference".into());
    };
    with(receiver, |v| of(v.compare(&other.0)))
}

fn changed(
    receiver: &Value,
    change: fn(&Version) -> Result<Version, flux_semver::VersionError>,
) -> Result<Value, CallError> {
    match receiver.downcast::<Semver>() {
        Some(semver) => change(&semver.0)
            .map(|v| Value::Object(Rc::new(Semver(v))))
            .map_err(|e| CallError::new(e.to_string())),
        None => Err("the receiver is no version".into()),
    }
}
