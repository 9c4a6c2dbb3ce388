//! The types of the built-in kinds, read from a table that is generated from Kubernetes' Go types.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The table as text; its head says how it was generated, and what the letters mean.
pub(super) const TEXT: &str = include_str!("types.txt");

/// How a value of a type is converted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    Text,
    Bool,
    Int32,
    Int64,
    Bytes,
    Quantity,
    Time,
    MicroTime,
    IntOrString,
    /// JSON that is kept unchanged: `RawExtension` and `FieldsV1`.
    Json,
    Struct(u16),
    Pointer(Inner),
    List(Inner),
    Map(Inner),
}

/// The index of an inner type in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Inner(u16);

/// When a field is omitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Omit {
    Never,
    /// `omitempty`: if it is false, 0, empty, or a nil pointer. A struct never is.
    Empty,
    /// `omitzero`, which only times have.
    Zero,
}

/// A field of a struct.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) omit: Omit,
    pub(super) ty: Type,
}

impl Field {
    /// Whether the field is written even if the manifest does not have it.
    pub(super) fn is_always_written(&self) -> bool {
        match self.omit {
            Omit::Never => true,
            Omit::Zero => false,
            Omit::Empty => matches!(
                self.ty,
                Type::Quantity
                    | Type::Time
                    | Type::MicroTime
                    | Type::IntOrString
                    | Type::Json
                    | Type::Struct(_)
            ),
        }
    }
}

/// All types, and the type of each kind.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Sorted by name within each struct.
    fields: Vec<Field>,
    /// The end of each struct's fields, where those of the next one begin.
    ends: Vec<u16>,
    inner: Vec<Type>,
    kinds: HashMap<(&'static str, &'static str), Type>,
}

impl Table {
    /// The table, parsed on first use.
    ///
    /// # Panics
    /// Never: the text is compiled in, and the tests parse it.
    pub(super) fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::read(TEXT).expect("the table of types can be read"))
    }

    /// The type of a kind; `None` if the kind is not built into Kubernetes.
    pub(super) fn kind(&self, group_version: &str, kind: &str) -> Option<Type> {
        self.kinds.get(&(group_version, kind)).copied()
    }

    /// The type that a pointer points to, or that the items of a list or map have.
    pub(super) fn inner(&self, Inner(place): Inner) -> Type {
        self.inner[usize::from(place)]
    }

    /// The fields of a struct, sorted by name.
    pub(super) fn fields(&self, number: u16) -> &[Field] {
        let number = usize::from(number);
        let start = number.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.fields[usize::from(start)..usize::from(self.ends[number])]
    }

    /// All kinds, in a fixed order.
    #[cfg(test)]
    pub(super) fn kinds(&self) -> Vec<(&'static str, &'static str, Type)> {
        let mut kinds: Vec<_> = (self.kinds.iter())
            .map(|((version, kind), ty)| (*version, *kind, *ty))
            .collect();
        kinds.sort_unstable_by_key(|(version, kind, _)| (*version, *kind));
        kinds
    }

    /// The number of fields of all structs together.
    #[cfg(test)]
    pub(super) fn number_of_fields(&self) -> usize {
        self.fields.len()
    }

    fn read(text: &'static str) -> Option<Self> {
        let mut table = Self::default();
        let mut places = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(kinds) = line.strip_prefix('@') {
                let mut words = kinds.split(' ');
                let version = words.next()?;
                for word in words {
                    let (kind, code) = word.split_once('=')?;
                    let ty = table.type_of(code, &mut places)?;
                    table.kinds.insert((version, kind), ty);
                }
            } else {
                for word in line.split(' ').filter(|word| !word.is_empty()) {
                    let (name, code) = word.split_once('=')?;
                    let (name, omit) = match name.strip_suffix('?') {
                        Some(name) => (name, Omit::Empty),
                        None => match name.strip_suffix('!') {
                            Some(name) => (name, Omit::Zero),
                            None => (name, Omit::Never),
                        },
                    };
                    let ty = table.type_of(code, &mut places)?;
                    table.fields.push(Field { name, omit, ty });
                }
                table.ends.push(u16::try_from(table.fields.len()).ok()?);
            }
        }
        Some(table)
    }

    /// The type of a code. A struct must have been read before, so that no type contains itself.
    fn type_of(
        &mut self,
        code: &'static str,
        places: &mut HashMap<&'static str, Inner>,
    ) -> Option<Type> {
        Some(match code.as_bytes().first()? {
            b's' => Type::Text,
            b'b' => Type::Bool,
            b'i' => Type::Int32,
            b'l' => Type::Int64,
            b'y' => Type::Bytes,
            b'q' => Type::Quantity,
            b't' => Type::Time,
            b'm' => Type::MicroTime,
            b'o' => Type::IntOrString,
            b'j' => Type::Json,
            b'0'..=b'9' => {
                let number = code.parse().ok()?;
                (usize::from(number) < self.ends.len()).then_some(Type::Struct(number))?
            }
            &prefix => {
                let rest = code.get(1..)?;
                let place = if let Some(place) = places.get(rest) {
                    *place
                } else {
                    let ty = self.type_of(rest, places)?;
                    let place = Inner(u16::try_from(self.inner.len()).ok()?);
                    self.inner.push(ty);
                    places.insert(rest, place);
                    place
                };
                match prefix {
                    b'*' => Type::Pointer(place),
                    b'[' => Type::List(place),
                    b'{' => Type::Map(place),
                    _ => return None,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Omit, Table, Type};

    #[test]
    fn the_type_table_is_parsed() {
        let table = Table::get();
        let Some(Type::Struct(secret)) = table.kind("v1", "Secret") else {
            panic!("a Secret is a struct");
        };
        let names: Vec<_> = (table.fields(secret).iter().map(|field| field.name)).collect();
        assert!(names.is_sorted());
        assert_eq!(
            names,
            [
                "apiVersion",
                "data",
                "immutable",
                "kind",
                "metadata",
                "stringData",
                "type"
            ]
        );
        let data = &table.fields(secret)[1];
        let Type::Map(inner) = data.ty else {
            panic!("data is a map");
        };
        assert_eq!((data.omit, table.inner(inner)), (Omit::Empty, Type::Bytes));
        assert_eq!(table.kind("v1", "PodList"), None, "lists are no objects");
        assert_eq!(table.kind("apps/v1", "Pod"), None);
    }

    #[test]
    fn a_malformed_type_table_is_refused() {
        for text in ["a", "a=", "a=x", "a=[", "a=0", "a=s\n@v1 Pod=1", "a=*99999"] {
            assert!(Table::read(text).is_none(), "{text}");
        }
        assert!(Table::read("a=s b?=[*q\nc!=t d=0\n@v1 Pod=1").is_some());
    }
}
