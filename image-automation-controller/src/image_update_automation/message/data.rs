//! The data of a template, with the names and types of upstream's, which templates and errors show (IA-MSG-003 to IA-MSG-009).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use flux_gotemplate::{
    KeyInfo, Kind, List, Map, Method, Object, Str, Type, TypeInfo, Value, types,
};
use flux_runtime::queue::Key;
use flux_setters::{Change, Changes, ObjectId};

use super::Data;

static TEMPLATE_DATA: TypeInfo = TypeInfo::object("source.TemplateData", Kind::Struct);
static NAMESPACED_NAME: TypeInfo = TypeInfo::object("types.NamespacedName", Kind::Struct)
    .with_methods(&[Method {
        name: "String",
        params: &[],
        variadic: false,
        call: |receiver, _, _| Ok(receiver.downcast::<Name>().map(Name::show).into()),
    }]);
static RESULT: TypeInfo = TypeInfo::object("update.Result", Kind::Struct).with_methods(&[
    Method {
        name: "Changes",
        params: &[],
        variadic: false,
        call: |receiver, _, _| {
            let result = receiver.downcast::<Outcome>();
            Ok(result.map_or(Value::Nil, |result| changes(result.0.distinct())))
        },
    },
    Method {
        name: "Objects",
        params: &[],
        variadic: false,
        call: |receiver, _, _| {
            let result = receiver.downcast::<Outcome>();
            Ok(result.map_or(Value::Nil, |result| objects(result.0.objects())))
        },
    },
    Method {
        name: "Summary",
        params: &[],
        variadic: false,
        call: |receiver, _, _| {
            let result = receiver.downcast::<Outcome>();
            Ok(result.map(|result| summary(&result.0)).into())
        },
    },
]);
static CHANGE: TypeInfo = TypeInfo::object("update.Change", Kind::Struct);
static CHANGES: TypeInfo = TypeInfo::slice("[]update.Change", &CHANGE);
static IDENTIFIER: TypeInfo = TypeInfo::object("update.ObjectIdentifier", Kind::Struct);
static RESOURCE_IDENTIFIER: TypeInfo = TypeInfo::object("yaml.ResourceIdentifier", Kind::Struct);
static TYPE_META: TypeInfo = TypeInfo::object("yaml.TypeMeta", Kind::Struct);
static NAME_META: TypeInfo = TypeInfo::object("yaml.NameMeta", Kind::Struct);
static OBJECT_CHANGES: TypeInfo =
    TypeInfo::map("map[update.ObjectIdentifier][]update.Change", &CHANGES)
        .declared("update.ObjectChanges")
        .with_keys(&KeyInfo {
            go_type: &IDENTIFIER,
            value: |text| Value::object(Identifier::of_text(text)),
            text: |key| key.downcast::<Identifier>().map(Identifier::to_text),
        });
static FILE_CHANGES: TypeInfo = TypeInfo::map("map[string]update.ObjectChanges", &OBJECT_CHANGES);

/// The data at the root of the template.
pub(super) fn root(data: &Data) -> Value {
    Value::object(Root(data.clone()))
}

struct Root(Data);

impl Object for Root {
    fn go_type(&self) -> Type {
        &TEMPLATE_DATA
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let values = self.0.values.iter();
        let values = values.map(|(key, value)| (Str::from(key.as_str()), value.as_str().into()));
        let values: BTreeMap<Str, Value> = values.collect();
        // A field that is absent from the spec is a nil map; that it is empty shows nowhere.
        let values = Map::of(&types::STRING_MAP, values);
        vec![
            (
                "AutomationObject",
                Value::object(Name(self.0.automation.clone())),
            ),
            ("Changed", Value::object(Outcome(self.0.changes.clone()))),
            ("Values", values.into()),
        ]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `types.NamespacedName`, which prints as `namespace/name` (IA-MSG-004).
struct Name(Key);

impl Name {
    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Object for Name {
    fn go_type(&self) -> Type {
        &NAMESPACED_NAME
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("Namespace", self.0.namespace.as_str().into()),
            ("Name", self.0.name.as_str().into()),
        ]
    }

    fn text(&self) -> Option<Str> {
        Some(self.show().into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `update.Result`: what was changed.
struct Outcome(Changes);

impl Object for Outcome {
    fn go_type(&self) -> Type {
        &RESULT
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let files = self.0.files().into_iter();
        let files: BTreeMap<Str, Value> = files
            .map(|(path, of_file)| (Str::from(path), objects(of_file)))
            .collect();
        let files = if files.is_empty() {
            Map::nil(&FILE_CHANGES)
        } else {
            Map::of(&FILE_CHANGES, files)
        };
        vec![("FileChanges", files.into())]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `update.ObjectChanges` (IA-MSG-005, IA-MSG-006).
fn objects(objects: BTreeMap<&ObjectId, Vec<&Change>>) -> Value {
    let entries = objects.into_iter();
    let entries = entries.map(|(object, of_object)| {
        let key = Identifier(object.clone()).to_text();
        (key, changes(of_object))
    });
    Map::of(&OBJECT_CHANGES, entries.collect()).into()
}

/// `[]update.Change` (IA-MSG-007).
fn changes(changes: Vec<&Change>) -> Value {
    let items = changes.into_iter();
    let items = items.map(|change| Value::object(OneChange(change.clone())));
    List::of(&CHANGES, items.collect()).into()
}

/// One line for each distinct change. What upstream's text is, is not known (IA-MSG-027).
fn summary(changes: &Changes) -> String {
    let mut text = String::new();
    for change in changes.distinct() {
        let (old, new) = (&change.old_value, &change.new_value);
        let _ = writeln!(text, "- {old} -> {new}");
    }
    text
}

/// `update.Change` (IA-MSG-008).
struct OneChange(Change);

impl Object for OneChange {
    fn go_type(&self) -> Type {
        &CHANGE
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("OldValue", self.0.old_value.as_str().into()),
            ("NewValue", self.0.new_value.as_str().into()),
            ("Setter", self.0.setter.as_str().into()),
        ]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `update.ObjectIdentifier`, which embeds a resource identifier of kyaml: its fields are those of what it embeds
/// (IA-MSG-008).
struct Identifier(ObjectId);

/// Separates the parts in the text of a key: less than any other character, so that texts sort as the parts do.
const SEPARATOR: char = '\0';

impl Identifier {
    fn to_text(&self) -> Str {
        let id = &self.0;
        let parts = [&id.api_version, &id.kind, &id.name, &id.namespace];
        // A quoted text of YAML can have the separator as a character.
        let parts = parts.map(|part| {
            part.replace('\u{1}', "\u{1}\u{2}")
                .replace(SEPARATOR, "\u{1}\u{1}")
        });
        parts.join("\0").into()
    }

    fn of_text(text: &Str) -> Self {
        let text = text.to_text();
        let mut parts = text.split(SEPARATOR).map(|part| {
            part.replace("\u{1}\u{1}", "\0")
                .replace("\u{1}\u{2}", "\u{1}")
        });
        let mut next = || parts.next().unwrap_or_default();
        Self(ObjectId {
            api_version: next(),
            kind: next(),
            name: next(),
            namespace: next(),
        })
    }

    fn promoted(&self) -> [(&'static str, &String); 4] {
        [
            ("APIVersion", &self.0.api_version),
            ("Kind", &self.0.kind),
            ("Name", &self.0.name),
            ("Namespace", &self.0.namespace),
        ]
    }

    fn embedded(&self) -> Value {
        let part = |go_type, from: usize| {
            let fields = self.promoted().into_iter().skip(from).take(2);
            let fields = fields.map(|(name, value)| (name, Value::from(value.as_str())));
            Value::object(Part {
                go_type,
                fields: fields.collect(),
            })
        };
        let fields = vec![
            ("TypeMeta", part(&TYPE_META, 0)),
            ("NameMeta", part(&NAME_META, 2)),
        ];
        Value::object(Part {
            go_type: &RESOURCE_IDENTIFIER,
            fields,
        })
    }
}

impl Object for Identifier {
    fn go_type(&self) -> Type {
        &IDENTIFIER
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![("ResourceIdentifier", self.embedded())]
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        let promoted = self.promoted().into_iter();
        let mut promoted = promoted.filter(|(field, _)| field.as_bytes() == name);
        if let Some((_, value)) = promoted.next() {
            return Some(value.as_str().into());
        }
        match name {
            b"ResourceIdentifier" => Some(self.embedded()),
            b"TypeMeta" | b"NameMeta" => self.embedded().downcast::<Part>()?.field(name),
            _ => None,
        }
    }

    fn json_fields(&self) -> Vec<(&'static str, Value)> {
        let names = ["apiVersion", "kind", "name", "namespace"];
        let fields = names.into_iter().zip(self.promoted());
        let fields = fields.filter(|(_, (_, value))| !value.is_empty());
        fields
            .map(|(name, (_, value))| (name, value.as_str().into()))
            .collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A struct that is embedded in another.
struct Part {
    go_type: Type,
    fields: Vec<(&'static str, Value)>,
}

impl Object for Part {
    fn go_type(&self) -> Type {
        self.go_type
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        self.fields.clone()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
