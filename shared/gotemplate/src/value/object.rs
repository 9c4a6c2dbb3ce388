//! Structs and pointers to them.

use std::any::Any;

use super::{Str, Type, Value};

/// A Go struct, or a pointer to one, that a template may look into: `.Capabilities`, a parsed version, a certificate.
///
/// Methods hang on the [type](super::TypeInfo::methods). A named map or slice needs no object: it is a
/// [`Map`](super::Map) or [`List`](super::List) whose type carries the methods.
pub trait Object: Any {
    /// The type; its kind is struct or pointer.
    fn go_type(&self) -> Type;

    /// The exported fields in the order of their declaration.
    fn fields(&self) -> Vec<(&'static str, Value)>;

    /// The exported field of that name.
    fn field(&self, name: &[u8]) -> Option<Value> {
        let mut fields = self.fields().into_iter();
        fields.find(|(n, _)| n.as_bytes() == name).map(|(_, v)| v)
    }

    /// The text of its `String` or `Error` method, where it has one.
    fn text(&self) -> Option<Str> {
        None
    }

    /// The text of the `String` method of a pointer to it: what an action prints of a field that Go can take the address
    /// of, while a function that gets the struct sees its fields.
    fn addressed_text(&self) -> Option<Str> {
        self.text()
    }

    /// All fields, those that are not exported too: `fmt` shows them.
    fn all_fields(&self) -> Vec<(&'static str, Value)> {
        self.fields()
    }

    /// Whether it is a nil of its type, such as an `error` that did not happen.
    fn is_nil(&self) -> bool {
        false
    }

    /// The fields that Go's `encoding/json` writes, under the names that their tags give them.
    fn json_fields(&self) -> Vec<(&'static str, Value)> {
        self.fields()
    }

    /// What Go's `encoding/json` writes in its place, where that differs from an object of the fields.
    fn json(&self) -> Option<Value> {
        None
    }

    /// For [`Value::downcast`].
    fn as_any(&self) -> &dyn Any;
}
