//! `*time.Location`, the result of `Time.Location` and parameter of `Time.In`.

use std::any::Any;

use super::object::Object;
use super::types::{Kind, Method, TypeInfo};
use super::{Str, Type, Value, Zone};

/// `*time.Location`
pub(super) static LOCATION: TypeInfo = TypeInfo::object("*time.Location", Kind::Pointer)
    .with_methods(&[Method {
        name: "String",
        params: &[],
        variadic: false,
        call: |receiver, _, _| Ok(crate::fmt::method_text(receiver).unwrap_or_default().into()),
    }]);

/// A zone as a value.
pub(super) struct Location(pub(super) Zone);

impl Object for Location {
    fn go_type(&self) -> Type {
        &LOCATION
    }

    /// Its fields are not exported.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn text(&self) -> Option<Str> {
        Some(match &self.0 {
            Zone::Utc => "UTC".into(),
            Zone::Fixed(name, _) => (**name).into(),
            Zone::Named(zone) => zone.iana_name().unwrap_or_default().into(),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
