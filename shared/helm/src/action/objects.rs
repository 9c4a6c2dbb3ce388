//! The objects in a manifest.

use std::collections::BTreeSet;
use std::fmt;

use flux_chart::documents;
use flux_chart::yaml::{self, YamlError};
use flux_yaml::{Map, Value};

use crate::release::to_go_json;
use crate::text::quote;

/// Whether a kind is namespaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Objects live in namespaces.
    Namespaced,
    /// Objects are cluster-scoped.
    Cluster,
}

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.namespace`, by default the release's; empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`; empty for an object whose name the API server generates.
    pub name: String,
    /// The whole object.
    pub value: Value,
}

/// What identifies an object across manifests: the version of its group is not part of it (HE-KUBE-016).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity<'a> {
    /// The API group, empty for the core one.
    pub group: &'a str,
    /// `kind`
    pub kind: &'a str,
    /// `metadata.namespace`
    pub namespace: &'a str,
    /// `metadata.name`
    pub name: &'a str,
}

impl Object {
    /// The identity of the object.
    pub fn identity(&self) -> Identity<'_> {
        let group = self
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        Identity {
            group,
            kind: &self.kind,
            namespace: &self.namespace,
            name: &self.name,
        }
    }

    /// Whether the API server generates the name, so that the object is created every time (HE-KUBE-003).
    ///
    /// # Errors
    /// It has both `name` and `generateName`.
    pub fn is_generated(&self) -> Result<bool, ObjectError> {
        let generate = self.value.at(["metadata", "generateName"]);
        let generate = generate
            .and_then(Value::as_str)
            .is_some_and(|s| !s.is_empty());
        if generate && !self.name.is_empty() {
            return Err(ObjectError::TwoNames);
        }
        Ok(generate)
    }
}

/// `Deployment "web" in namespace "apps"`
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, namespace) = (quote(&self.name), quote(&self.namespace));
        write!(f, "{} {name} in namespace {namespace}", self.kind)
    }
}

/// Why a document is not an object, in the words of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value of another type.
    #[error("json: cannot unmarshal {found} into Go value of type {wanted}")]
    Value {
        /// The JSON type that was found.
        found: &'static str,
        /// The type of Go that was expected.
        wanted: &'static str,
    },
    /// A field of another type.
    #[error("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")]
    Field {
        /// The JSON type that was found.
        found: &'static str,
        /// The field.
        field: String,
        /// The type of Go that was expected.
        wanted: &'static str,
    },
    /// The object has no kind; this is the object as JSON.
    #[error("Object 'Kind' is missing in '{0}'")]
    NoKind(String),
}

/// A manifest with invalid objects. The texts are Helm's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ObjectError {
    /// A document is not valid YAML; the documents after it were not parsed.
    #[error("error parsing : {0}")]
    Parse(YamlError),
    /// A line begins with `---` but continues with other text.
    #[error("error parsing : invalid Yaml document separator: {0}")]
    Separator(String),
    /// A document is not an object.
    #[error("unable to decode \"\": {0}")]
    Decode(DecodeError),
    /// The cluster does not know the kind (HE-ACT-006).
    #[error(
        "resource mapping not found for name: {} namespace: {} from \"\": no matches for kind {} in version {}\nensure CRDs are installed first",
        quote(name),
        quote(namespace),
        quote(kind),
        quote(api_version)
    )]
    NoMatch {
        /// `apiVersion`
        api_version: String,
        /// `kind`
        kind: String,
        /// `metadata.namespace` as written.
        namespace: String,
        /// `metadata.name`
        name: String,
    },
    /// The cluster does not know the kind of an item of a list.
    #[error(
        "unable to recognize no matches for kind {} in version {}",
        quote(kind),
        quote(api_version)
    )]
    NoMatchInList {
        /// `apiVersion`
        api_version: String,
        /// `kind`
        kind: String,
    },
    /// An item of a list has no kind.
    #[error(
        "unable to get type info from the object \"*unstructured.Unstructured\": Object 'Kind' is missing in 'object has no kind field '"
    )]
    NoKindInList,
    /// An item of a list is a list.
    #[error("*unstructured.Unstructured is not a list: no Items field in this object")]
    ListInList,
    /// Both `name` and `generateName` are set (HE-KUBE-003).
    #[error("metadata.name and metadata.generateName cannot both be set")]
    TwoNames,
    /// Several errors.
    #[error("[{}]", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Several(Vec<ObjectError>),
}

// Not a source: the text has it already.
impl From<DecodeError> for ObjectError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// The objects of a manifest in order, as [`Documents::objects`] returns them.
///
/// # Errors
/// All invalid documents of the manifest.
pub fn objects(
    manifest: &str,
    namespace: &str,
    scope: &dyn Fn(&str, &str) -> Option<Scope>,
) -> Result<Vec<Object>, ObjectError> {
    Documents::parse(manifest).objects(namespace, scope)
}

/// The parsed documents of a manifest. Their kinds are known, but not whether these are namespaced: the caller looks that
/// up for [`Documents::kinds`] and then calls [`Documents::objects`].
///
/// ```
/// use flux_helm::action::{Documents, Scope};
///
/// let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
/// let documents = Documents::parse(manifest);
/// assert_eq!(documents.kinds(), [("v1", "ConfigMap")]);
/// let objects = documents.objects("apps", &|_, _| Some(Scope::Namespaced))?;
/// assert_eq!(objects[0].namespace, "apps");
/// # Ok::<(), flux_helm::action::ObjectError>(())
/// ```
#[derive(Debug)]
pub struct Documents {
    documents: Vec<Result<Document, ObjectError>>,
    /// Why the documents after these were not parsed.
    end: Option<ObjectError>,
}

#[derive(Debug)]
enum Document {
    Object(Value),
    List {
        /// The list without its items.
        head: Value,
        items: Result<Vec<Value>, ObjectError>,
    },
}

impl Documents {
    /// Parses a manifest. Errors are reported by [`Documents::objects`].
    pub fn parse(manifest: &str) -> Self {
        let mut parsed = Vec::new();
        let (documents, end) = documents(manifest.as_bytes());
        for document in documents {
            match yaml::value(&document) {
                Ok(value) if value.is_null() => {}
                Ok(value) => parsed.push(Document::new(value)),
                Err(error) => {
                    return Self {
                        documents: parsed,
                        end: Some(ObjectError::Parse(error)),
                    };
                }
            }
        }
        let end = end.err().map(|error| match error {
            YamlError::Separator(rest) => ObjectError::Separator(rest),
            other => ObjectError::Parse(other),
        });
        Self {
            documents: parsed,
            end,
        }
    }

    /// `apiVersion` and `kind` of all objects and lists, each once, in the order of the manifest.
    pub fn kinds(&self) -> Vec<(&str, &str)> {
        let mut known = BTreeSet::new();
        let documents = self.documents.iter().flatten();
        let kinds = documents.flat_map(Document::kinds);
        kinds.filter(|kind| known.insert(*kind)).collect()
    }

    /// The objects in order, with lists flattened, and with the release's `namespace` on namespaced objects that have none
    /// (HE-KUBE-002). `scope` returns whether the kind with this `apiVersion` and `kind` is namespaced, and `None` if the
    /// cluster does not know it.
    ///
    /// # Errors
    /// All invalid documents of the manifest.
    pub fn objects(
        self,
        namespace: &str,
        scope: &dyn Fn(&str, &str) -> Option<Scope>,
    ) -> Result<Vec<Object>, ObjectError> {
        let mut reader = Reader {
            namespace,
            scope,
            objects: Vec::new(),
        };
        let read = |document: Result<Document, ObjectError>| reader.document(document?);
        let read = self.documents.into_iter().map(read);
        let failed: Vec<ObjectError> = read.filter_map(Result::err).chain(self.end).collect();
        let mut errors: Vec<ObjectError> = Vec::new();
        for error in failed {
            if !errors.iter().any(|e| e.to_string() == error.to_string()) {
                errors.push(error);
            }
        }
        match errors.len() {
            0 => Ok(reader.objects),
            1 => Err(errors.remove(0)),
            _ => Err(ObjectError::Several(errors)),
        }
    }
}

impl Document {
    fn new(mut value: Value) -> Result<Self, ObjectError> {
        let Value::Map(_) = value else {
            let found = yaml::json_kind(&value);
            let wanted = "unstructured.detector";
            return Err(DecodeError::Value { found, wanted }.into());
        };
        if text(&value, "kind").is_empty() {
            return Err(DecodeError::NoKind(json(&value)).into());
        }
        check_metadata(&value)?;
        let items = value.as_map_mut().and_then(|map| map.get_mut("items"));
        let Some(items) = items.map(std::mem::take) else {
            return Ok(Self::Object(value));
        };
        let items = items_of(&value, items);
        Ok(Self::List { head: value, items })
    }

    /// The kinds to look up, in order of first occurrence.
    fn kinds(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Object(value) => vec![kind_of(value)],
            Self::List { head, items } => {
                let head = Some(kind_of(head)).filter(|_| !is_plain_list(head));
                let items = items.iter().flatten().map(kind_of);
                let items = items.filter(|(_, kind)| !kind.is_empty());
                head.into_iter().chain(items).collect()
            }
        }
    }
}

/// Every group has a kind `List`, which discovery does not report.
fn is_plain_list(list: &Value) -> bool {
    text(list, "kind") == "List"
}

fn kind_of(value: &Value) -> (&str, &str) {
    (text(value, "apiVersion"), text(value, "kind"))
}

/// The items of a list, each with its kind.
fn items_of(list: &Value, items: Value) -> Result<Vec<Value>, ObjectError> {
    let inferred = text(list, "kind").trim_end_matches("List");
    let mut items = match items {
        Value::Seq(items) => items,
        Value::Null => Vec::new(),
        other => {
            return Err(DecodeError::Field {
                found: yaml::json_kind(&other),
                field: "decodeList.items".to_owned(),
                wanted: "[]json.RawMessage",
            }
            .into());
        }
    };
    for item in &mut items {
        if !matches!(item, Value::Map(_) | Value::Null) {
            let found = yaml::json_kind(item);
            let wanted = "map[string]interface {}";
            return Err(DecodeError::Value { found, wanted }.into());
        }
        infer_kind(item, inferred, text(list, "apiVersion"));
    }
    if items
        .iter()
        .any(|item| matches!(item.get("items"), Some(Value::Seq(_))))
    {
        return Err(ObjectError::ListInList);
    }
    Ok(items)
}

struct Reader<'a> {
    namespace: &'a str,
    scope: &'a dyn Fn(&str, &str) -> Option<Scope>,
    objects: Vec<Object>,
}

impl Reader<'_> {
    fn document(&mut self, document: Document) -> Result<(), ObjectError> {
        match document {
            Document::Object(value) => {
                let scope = self.scope(&value)?;
                self.add(value, scope);
                Ok(())
            }
            Document::List { head, items } => {
                if !is_plain_list(&head) {
                    self.scope(&head)?;
                }
                let errors = items?.into_iter().filter_map(|item| self.item(item).err());
                let mut errors: Vec<_> = errors.collect();
                match errors.len() {
                    0 => Ok(()),
                    1 => Err(errors.remove(0)),
                    _ => Err(ObjectError::Several(errors)),
                }
            }
        }
    }

    fn scope(&self, value: &Value) -> Result<Scope, ObjectError> {
        let (api_version, kind) = kind_of(value);
        (self.scope)(api_version, kind).ok_or_else(|| ObjectError::NoMatch {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: metadata(value, "namespace").to_owned(),
            name: metadata(value, "name").to_owned(),
        })
    }

    fn item(&mut self, item: Value) -> Result<(), ObjectError> {
        let (api_version, kind) = kind_of(&item);
        if kind.is_empty() {
            return Err(ObjectError::NoKindInList);
        }
        let Some(scope) = (self.scope)(api_version, kind) else {
            return Err(ObjectError::NoMatchInList {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            });
        };
        self.add(item, scope);
        Ok(())
    }

    fn add(&mut self, mut value: Value, scope: Scope) {
        value.kubernetes_numbers();
        let named = metadata(&value, "namespace").to_owned();
        let namespace = match scope {
            Scope::Cluster => String::new(),
            Scope::Namespaced if named.is_empty() => self.namespace.to_owned(),
            Scope::Namespaced => named.clone(),
        };
        if namespace != named {
            set_namespace(&mut value, &namespace);
        }
        self.objects.push(Object {
            api_version: text(&value, "apiVersion").to_owned(),
            kind: text(&value, "kind").to_owned(),
            name: metadata(&value, "name").to_owned(),
            namespace,
            value,
        });
    }
}

/// An item without kind and version gets those of the list's items.
fn infer_kind(item: &mut Value, kind: &str, version: &str) {
    if !text(item, "kind").is_empty() || !text(item, "apiVersion").is_empty() {
        return;
    }
    if let Value::Map(map) = item
        && !kind.is_empty()
    {
        map.insert("kind".to_owned(), Value::from(kind));
        map.insert("apiVersion".to_owned(), Value::from(version));
    }
}

/// Checks the metadata that all objects have in common. The error is that of Go's decoder: the first one in the order of
/// the keys.
fn check_metadata(value: &Value) -> Result<(), DecodeError> {
    let wrong = |found: &Value, field: &str, wanted: &'static str| {
        Err(DecodeError::Field {
            found: yaml::json_kind(found),
            field: field.to_owned(),
            wanted,
        })
    };
    if let Some(version) = value.get("apiVersion")
        && !matches!(version, Value::String(_) | Value::Null)
    {
        return wrong(version, "metadataOnlyObject.TypeMeta.apiVersion", "string");
    }
    let metadata = match value.get("metadata") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Map(metadata)) => metadata,
        Some(other) => return wrong(other, "metadataOnlyObject.metadata", "v1.ObjectMeta"),
    };
    let mut fields: Vec<_> = metadata.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in fields {
        let field = format!("ObjectMeta.metadata.{name}");
        let text = |value: &Value| matches!(value, Value::String(_) | Value::Null);
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            (
                "name" | "generateName" | "namespace" | "selfLink" | "resourceVersion"
                | "creationTimestamp" | "deletionTimestamp",
                value,
            ) if !text(value) => return wrong(value, &field, "string"),
            ("uid", value) if !text(value) => return wrong(value, &field, "types.UID"),
            ("labels" | "annotations", Value::Map(map)) => {
                if let Some(odd) = map.values().find(|value| !text(value)) {
                    return wrong(odd, &field, "string");
                }
            }
            ("labels" | "annotations", other) => {
                return wrong(other, &field, "map[string]string");
            }
            ("finalizers", Value::Seq(items)) => {
                if let Some(odd) = items.iter().find(|value| !text(value)) {
                    return wrong(odd, &field, "string");
                }
            }
            ("finalizers", other) => return wrong(other, &field, "[]string"),
            ("ownerReferences", other) if other.as_seq().is_none() => {
                return wrong(other, &field, "[]v1.OwnerReference");
            }
            ("managedFields", other) if other.as_seq().is_none() => {
                return wrong(other, &field, "[]v1.ManagedFieldsEntry");
            }
            ("generation" | "deletionGracePeriodSeconds", other)
                if !matches!(other, Value::Int(_) | Value::Uint(_) | Value::Float(_)) =>
            {
                return wrong(other, &field, "int64");
            }
            _ => {}
        }
    }
    Ok(())
}

fn set_namespace(value: &mut Value, namespace: &str) {
    let Value::Map(map) = value else { return };
    let metadata = map.entry("metadata".to_owned()).or_insert_with(Value::map);
    let Value::Map(metadata) = metadata else {
        return;
    };
    if namespace.is_empty() {
        metadata.shift_remove("namespace");
    } else {
        metadata.insert("namespace".to_owned(), Value::from(namespace));
    }
}

/// The text of a field; empty if it is absent.
fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn metadata<'v>(value: &'v Value, field: &str) -> &'v str {
    value
        .get("metadata")
        .map_or("", |metadata| text(metadata, field))
}

/// A mapping of text to text; `None` if any value is not text.
pub(super) fn text_map<'v>(value: &'v Value, field: &str) -> Option<Vec<(&'v str, &'v str)>> {
    let map: &Map = value.at(["metadata", field])?.as_map()?;
    map.iter()
        .map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}

fn json(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_keys();
    String::from_utf8(to_go_json(&yaml::JsonRef(&sorted)).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{DecodeError, Documents, ObjectError, Scope};

    const MANIFEST: &str = "\
---
apiVersion: v1
kind: Secret
metadata: {name: a}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: b}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: c}}
---
apiVersion: v1
kind: ConfigMapList
items: [{metadata: {name: d}}]
---
kind: [no, text]
---
apiVersion: v1
kind: Pod
metadata: {name: [e]}
";

    // HE-KUBE-002
    #[test]
    fn kinds_of_documents_are_listed_once() {
        let documents = Documents::parse(MANIFEST);
        let kinds = [
            ("v1", "Secret"),
            ("apps/v1", "Deployment"),
            ("v1", "ConfigMapList"),
            ("v1", "ConfigMap"),
        ];
        assert_eq!(documents.kinds(), kinds);
    }

    // HE-KUBE-002 HE-ACT-006
    #[test]
    fn errors_are_in_document_order() {
        let unknown = |_: &str, kind: &str| (kind != "Secret").then_some(Scope::Namespaced);
        let error = Documents::parse(&format!("{MANIFEST}---\n{{\n"))
            .objects("apps", &unknown)
            .unwrap_err();
        let ObjectError::Several(errors) = error else {
            panic!("{error}");
        };
        let found: Vec<&str> = errors
            .iter()
            .map(|error| match error {
                ObjectError::NoMatch { name, .. } => name.as_str(),
                ObjectError::NoMatchInList { kind, .. } => kind.as_str(),
                ObjectError::Decode(DecodeError::Field { field, .. })
                    if field.contains("metadata.name") =>
                {
                    "metadata"
                }
                ObjectError::Decode(_) => "decode",
                ObjectError::Parse(_) => "parse",
                _ => "other",
            })
            .collect();
        assert_eq!(found, ["a", "Secret", "decode", "metadata", "parse"]);
        let objects =
            Documents::parse("apiVersion: v1\nkind: Node\nmetadata: {name: node, namespace: x}\n");
        let objects = objects
            .objects("apps", &|_, _| Some(Scope::Cluster))
            .unwrap();
        assert_eq!(objects[0].namespace, "");
        assert_eq!(objects[0].value.at(["metadata", "namespace"]), None);
    }
}
