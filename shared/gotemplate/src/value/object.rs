//! Structs and pointers to them.

use std::any::Any;

use super::{Str, Type, Value};

/// A Go struct, or a pointer to one, that templates can access: `.Capabilities`, a parsed version, a certificate.
///
/// Methods are part of the [type](super::TypeInfo::methods). A named map or slice needs no object: it is a
/// [`Map`](super::Map) or [`List`](super::List) whose type has the methods.
pub trait Object: Any {
    /// The type; its kind is struct or pointer.
    fn go_type(&self) -> Type;

    /// The exported fields in order of declaration.
    fn fields(&self) -> Vec<(&'static str, Value)>;

    /// The exported field with this name.
    fn field(&self, name: &[u8]) -> Option<Value> {
        let mut fields = self.fields().into_iter();
        fields.find(|(n, _)| n.as_bytes() == name).map(|(_, v)| v)
    }

    /// The result of its `String` or `Error` method, if it has one.
    fn text(&self) -> Option<Str> {
        None
    }

    /// The result of the `String` method of a pointer to it: an action prints this for an addressable field, while a
    /// function that gets the struct prints its fields.
    fn addressed_text(&self) -> Option<Str> {
        self.text()
    }

    /// All fields, including unexported ones, as `fmt` prints them.
    fn all_fields(&self) -> Vec<(&'static str, Value)> {
        self.fields()
    }

    /// Whether it is a typed nil, such as a nil `error`.
    fn is_nil(&self) -> bool {
        false
    }

    /// The fields that Go's `encoding/json` writes, with the names in their tags.
    fn json_fields(&self) -> Vec<(&'static str, Value)> {
        self.fields()
    }

    /// The value that Go's `encoding/json` and yaml.v3 write in its place, if that is not an object of the fields.
    fn json(&self) -> Option<Value> {
        None
    }

    /// For [`Value::downcast`].
    fn as_any(&self) -> &dyn Any;
}
