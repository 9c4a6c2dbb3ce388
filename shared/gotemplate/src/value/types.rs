//! Go's types, as far as templates can observe them.

use crate::context::Context;
use crate::error::CallError;
use crate::value::{Str, Value};

/// A type. Types are compared by the address of their description, so descriptions are statics.
pub type Type = &'static TypeInfo;

/// `reflect.Kind`: the result of `kindOf`, which determines the behaviour of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint`
    Uint,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
    /// `uintptr`
    Uintptr,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `complex128`
    Complex128,
    /// `func`
    Func,
    /// `interface`
    Interface,
    /// `map`
    Map,
    /// `ptr`
    Pointer,
    /// `slice`
    Slice,
    /// `string`
    String,
    /// `struct`
    Struct,
}

impl Kind {
    /// The name, the same as `reflect.Kind.String`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint => "uint",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Uintptr => "uintptr",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Complex128 => "complex128",
            Self::Func => "func",
            Self::Interface => "interface",
            Self::Map => "map",
            Self::Pointer => "ptr",
            Self::Slice => "slice",
            Self::String => "string",
            Self::Struct => "struct",
        }
    }

    pub(crate) const fn is_signed(self) -> bool {
        matches!(
            self,
            Self::Int | Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64
        )
    }

    pub(crate) const fn is_unsigned(self) -> bool {
        matches!(
            self,
            Self::Uint | Self::Uint8 | Self::Uint16 | Self::Uint32 | Self::Uint64 | Self::Uintptr
        )
    }

    /// Whether a value of this kind may be nil (`reflect.Value.IsNil` does not panic).
    pub const fn can_be_nil(self) -> bool {
        matches!(
            self,
            Self::Func | Self::Interface | Self::Map | Self::Pointer | Self::Slice
        )
    }
}

/// A method of a named type, callable from a template as `.Name arg…`.
pub struct Method {
    /// The name, exported in Go's sense.
    pub name: &'static str,
    /// The parameter types without the receiver; for a variadic method the last one is the element type.
    pub params: &'static [Type],
    /// Whether the last parameter may be passed any number of times.
    pub variadic: bool,
    /// The implementation. The arguments have been checked and converted to `params`.
    pub call: MethodBody,
}

/// The body of a [`Method`]; takes the receiver and the arguments.
pub type MethodBody = fn(&Value, &mut Context<'_>, &mut Vec<Value>) -> Result<Value, CallError>;

/// The key type of a map whose keys are not strings. The [`Map`](super::Map) has a text for each key; they sort as Go sorts
/// the keys.
pub struct KeyInfo {
    /// The type of the keys.
    pub go_type: Type,
    /// The key of a text.
    pub value: fn(&Str) -> Value,
    /// The text of a key of this type.
    pub text: fn(&Value) -> Option<Str>,
}

/// The description of a Go type.
pub struct TypeInfo {
    /// The name that `%T` prints, such as `map[string]interface {}`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Whether it was declared with `type Name …`, which matters for assignability.
    pub named: bool,
    /// The element type of slices and maps, the base type of pointers.
    pub elem: Option<Type>,
    /// The key type of a map; `None` for string keys.
    pub key: Option<&'static KeyInfo>,
    /// The method set.
    pub methods: &'static [Method],
}

impl TypeInfo {
    /// A predeclared type.
    pub const fn plain(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            named: true,
            elem: None,
            key: None,
            methods: &[],
        }
    }

    /// `[]elem`; `name` is the text for `%T`.
    pub const fn slice(name: &'static str, elem: Type) -> Self {
        Self {
            name,
            kind: Kind::Slice,
            named: false,
            elem: Some(elem),
            key: None,
            methods: &[],
        }
    }

    /// `map[string]elem`; `name` is the text for `%T`.
    pub const fn map(name: &'static str, elem: Type) -> Self {
        Self {
            name,
            kind: Kind::Map,
            named: false,
            elem: Some(elem),
            key: None,
            methods: &[],
        }
    }

    /// A struct type, or with `Kind::Pointer` a pointer to one.
    pub const fn object(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            named: matches!(kind, Kind::Struct),
            elem: None,
            key: None,
            methods: &[],
        }
    }

    /// The type with a name of its own: `type name …`.
    pub const fn declared(mut self, name: &'static str) -> Self {
        self.name = name;
        self.named = true;
        self
    }

    /// The map type with keys of another type than string.
    pub const fn with_keys(mut self, key: &'static KeyInfo) -> Self {
        self.key = Some(key);
        self
    }

    /// The type with a method set.
    pub const fn with_methods(mut self, methods: &'static [Method]) -> Self {
        self.methods = methods;
        self
    }

    /// The method with this name.
    pub fn method(&self, name: &[u8]) -> Option<&'static Method> {
        self.methods.iter().find(|m| m.name.as_bytes() == name)
    }

    /// Whether this is the empty interface.
    pub fn is_any(&self) -> bool {
        self.kind == Kind::Interface && self.methods.is_empty()
    }

    /// What templates see as the key with this text of a map of this type.
    pub fn key_value(&self, text: Str) -> Value {
        match self.key {
            Some(key) => (key.value)(&text),
            None => Value::Str(text),
        }
    }

    /// Whether both describe the same type.
    pub fn same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.kind == other.kind && self.name == other.name)
    }

    /// Go's assignability of a value of this type to a variable of type `target`.
    pub fn assignable_to(&self, target: &Self) -> bool {
        if target.is_any() || self.same(target) {
            return true;
        }
        // The underlying types are identical and at least one is not a declared type; only composite types qualify.
        matches!(self.kind, Kind::Map | Kind::Slice)
            && self.kind == target.kind
            && !(self.named && target.named)
            && match (self.key, target.key) {
                (None, None) => true,
                (Some(a), Some(b)) => a.go_type.same(b.go_type),
                _ => false,
            }
            && match (self.elem, target.elem) {
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            }
    }
}

impl std::fmt::Debug for TypeInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// `interface {}`
pub static ANY: TypeInfo = TypeInfo {
    name: "interface {}",
    kind: Kind::Interface,
    named: false,
    elem: None,
    key: None,
    methods: &[],
};
/// `bool`
pub static BOOL: TypeInfo = TypeInfo::plain("bool", Kind::Bool);
/// `int`
pub static INT: TypeInfo = TypeInfo::plain("int", Kind::Int);
/// `int8`
pub static INT8: TypeInfo = TypeInfo::plain("int8", Kind::Int8);
/// `int16`
pub static INT16: TypeInfo = TypeInfo::plain("int16", Kind::Int16);
/// `int32`
pub static INT32: TypeInfo = TypeInfo::plain("int32", Kind::Int32);
/// `int64`
pub static INT64: TypeInfo = TypeInfo::plain("int64", Kind::Int64);
/// `uint`
pub static UINT: TypeInfo = TypeInfo::plain("uint", Kind::Uint);
/// `uint8`
pub static UINT8: TypeInfo = TypeInfo::plain("uint8", Kind::Uint8);
/// `uint16`
pub static UINT16: TypeInfo = TypeInfo::plain("uint16", Kind::Uint16);
/// `uint32`
pub static UINT32: TypeInfo = TypeInfo::plain("uint32", Kind::Uint32);
/// `uint64`
pub static UINT64: TypeInfo = TypeInfo::plain("uint64", Kind::Uint64);
/// `uintptr`
pub static UINTPTR: TypeInfo = TypeInfo::plain("uintptr", Kind::Uintptr);
/// `float32`
pub static FLOAT32: TypeInfo = TypeInfo::plain("float32", Kind::Float32);
/// `float64`
pub static FLOAT64: TypeInfo = TypeInfo::plain("float64", Kind::Float64);
/// `complex128`
pub static COMPLEX128: TypeInfo = TypeInfo::plain("complex128", Kind::Complex128);
/// `string`
pub static STRING: TypeInfo = TypeInfo::plain("string", Kind::String);
/// `[]uint8`
pub static BYTES: TypeInfo = TypeInfo::slice("[]uint8", &UINT8);
/// `[]interface {}`
pub static ANY_SLICE: TypeInfo = TypeInfo::slice("[]interface {}", &ANY);
/// `[]string`
pub static STRING_SLICE: TypeInfo = TypeInfo::slice("[]string", &STRING);
/// `[]int`
pub static INT_SLICE: TypeInfo = TypeInfo::slice("[]int", &INT);
/// `[][]interface {}`
pub static ANY_SLICE_SLICE: TypeInfo = TypeInfo::slice("[][]interface {}", &ANY_SLICE);
/// `map[string]interface {}`
pub static ANY_MAP: TypeInfo = TypeInfo::map("map[string]interface {}", &ANY);
/// `map[string]string`
pub static STRING_MAP: TypeInfo = TypeInfo::map("map[string]string", &STRING);
/// `[]map[string]interface {}`
pub static ANY_MAP_SLICE: TypeInfo = TypeInfo::slice("[]map[string]interface {}", &ANY_MAP);
/// A function; the text for `%T` is not available.
pub static FUNC: TypeInfo = TypeInfo::plain("func", Kind::Func);

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::sync::Arc;

    use super::*;
    use crate::{Functions, Limits, Map, Nothing, Object, Session, Templates};

    static KEY: TypeInfo = TypeInfo::object("host.Key", Kind::Struct);
    static KEYED: TypeInfo = TypeInfo::map("map[host.Key]int", &INT).with_keys(&KeyInfo {
        go_type: &KEY,
        value: |text| Value::object(Key(text.clone())),
        text: |key| key.downcast::<Key>().map(|key| key.0.clone()),
    });

    struct Key(Str);

    impl Object for Key {
        fn go_type(&self) -> Type {
            &KEY
        }

        fn fields(&self) -> Vec<(&'static str, Value)> {
            vec![("Name", self.0.clone().into())]
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    fn rendered(template: &str) -> String {
        let mut templates = Templates::new("t", Arc::new(Functions::new()));
        templates.parse("t", template.as_bytes()).unwrap();
        let entries = [("b", 2), ("a", 1)].map(|(key, n)| (Str::from(key), Value::int(n)));
        let data = Map::of(&KEYED, entries.into_iter().collect());
        let mut session = Session::new(Nothing, Limits::default());
        match templates.execute(&mut session, "t", data.into()) {
            Ok(output) => String::from_utf8(output).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn keys_of_another_type_than_string_are_values() {
        for (template, output) in [
            (
                "{{ range $k, $n := . }}{{ $k.Name }}={{ $n }} {{ end }}",
                "a=1 b=2 ",
            ),
            ("{{ . }}", "map[{a}:1 {b}:2]"),
            (
                "{{ range $k, $n := . }}{{ index $ $k }}{{ end }}{{ len . }}",
                "122",
            ),
            (
                "{{ .a }}",
                "template: t:1:3: executing \"t\" at <.a>: can't evaluate field a in type map[host.Key]int",
            ),
            (
                "{{ index . \"a\" }}",
                "template: t:1:3: executing \"t\" at <index . \"a\">: error calling index: value has type string; should be host.Key",
            ),
        ] {
            assert_eq!(rendered(template), output);
        }
        assert!(!KEYED.assignable_to(&TypeInfo::map("map[string]int", &INT)));
    }
}
