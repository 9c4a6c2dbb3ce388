//! Objects of any kind, and their ids.

mod packed;

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use self::packed::Packed;

/// An object of any kind, as its JSON.
///
/// Its id and its digest are computed on first use, and again only after a change. A clone shares them, so that the
/// objects of an unchanged build are hashed once.
///
/// An object that is kept may be [packed](Object::packed).
#[derive(Clone, Default)]
pub struct Object {
    /// Empty while it is packed.
    fields: Map<String, Value>,
    packed: Option<Packed>,
    id: OnceLock<Arc<ObjectId>>,
    digest: OnceLock<blake3::Hash>,
}

/// Compares the fields.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }
}

/// Formats as the object's name only, since it may contain a Secret's values.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.id())
    }
}

impl Object {
    /// `None` unless the value is a JSON object.
    pub fn new(value: Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self {
                fields,
                ..Self::default()
            }),
            _ => None,
        }
    }

    /// The fields.
    pub fn fields(&self) -> &Map<String, Value> {
        match &self.packed {
            Some(packed) => packed.fields(),
            None => &self.fields,
        }
    }

    /// The fields, mutably.
    pub fn fields_mut(&mut self) -> &mut Map<String, Value> {
        if let Some(packed) = self.packed.take() {
            self.fields = packed.into_fields();
        }
        self.id.take();
        self.digest.take();
        &mut self.fields
    }

    /// The object as a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(match self.packed {
            Some(packed) => packed.into_fields(),
            None => self.fields,
        })
    }

    /// A copy of the object as a JSON value.
    pub fn to_value(&self) -> Value {
        Value::Object(self.fields().clone())
    }

    /// The object in a form that takes a tenth of the memory: its text, which is parsed when a field is first read. Its
    /// id, its version and its digest are known without that, and a clone is cheap until then. An object whose text does
    /// not give the same fields again, such as one that is nested too deeply, stays as it is.
    #[must_use]
    pub fn packed(self) -> Self {
        match Packed::of(&self) {
            Some(packed) => Self {
                id: self.shared_id().clone().into(),
                digest: packed.digest().into(),
                packed: Some(packed),
                fields: Map::new(),
            },
            None => self,
        }
    }

    /// The bytes of the text, if the object is packed.
    pub fn packed_bytes(&self) -> Option<u64> {
        self.packed.as_ref().map(Packed::bytes)
    }

    /// The value at a path of keys, if it exists.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.fields().get(*first)?, |value, key| value.get(key))
    }

    fn text(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// Group and version, `v1` or `apps/v1`.
    pub fn api_version(&self) -> &str {
        match &self.packed {
            Some(packed) => packed.api_version(),
            None => self.text(&["apiVersion"]),
        }
    }

    /// The group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version()
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// The version, without group.
    pub fn version(&self) -> &str {
        self.api_version()
            .split_once('/')
            .map_or(self.api_version(), |(_, version)| version)
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        match &self.packed {
            Some(_) => &self.id().kind,
            None => self.text(&["kind"]),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match &self.packed {
            Some(_) => &self.id().name,
            None => self.text(&["metadata", "name"]),
        }
    }

    /// The namespace; empty for an object without one.
    pub fn namespace(&self) -> &str {
        match &self.packed {
            Some(_) => &self.id().namespace,
            None => self.text(&["metadata", "namespace"]),
        }
    }

    /// The resource version; empty for an object that is not stored on a server.
    pub fn resource_version(&self) -> &str {
        self.text(&["metadata", "resourceVersion"])
    }

    /// The uid; empty for an object that is not stored on a server.
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"])
    }

    /// Whether the object is stored on a server.
    pub fn exists(&self) -> bool {
        !self.text(&["metadata", "uid"]).is_empty()
    }

    /// What identifies the object.
    pub fn id(&self) -> &ObjectId {
        self.shared_id()
    }

    /// The id, to be kept without a copy.
    pub fn shared_id(&self) -> &Arc<ObjectId> {
        self.id.get_or_init(|| {
            Arc::new(ObjectId {
                group: self.group().to_owned(),
                kind: self.kind().to_owned(),
                namespace: self.namespace().to_owned(),
                name: self.name().to_owned(),
            })
        })
    }

    /// A digest of the fields: equal for objects with the same fields in the same order.
    pub fn digest(&self) -> blake3::Hash {
        *self.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            // Writing JSON values into a hasher cannot fail. If it did, the digest would differ and the object be
            // compared.
            if serde_json::to_writer(&mut hasher, self.fields()).is_err() {
                hasher.update(b"\0");
            }
            hasher.finalize()
        })
    }

    /// The labels or annotations of the object, if it has any.
    pub fn metadata(&self, part: Metadata) -> Option<&Map<String, Value>> {
        self.at(&["metadata", part.key()])
            .and_then(Value::as_object)
    }

    /// Sets labels or annotations, replacing existing values.
    pub fn set_metadata<'p>(
        &mut self,
        part: Metadata,
        pairs: impl IntoIterator<Item = (&'p String, &'p String)>,
    ) {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_none() {
            return;
        }
        let metadata = self
            .fields_mut()
            .entry("metadata")
            .or_insert_with(|| json!({}));
        if !metadata.is_object() {
            *metadata = json!({});
        }
        let Some(metadata) = metadata.as_object_mut() else {
            return;
        };
        let held = metadata.entry(part.key()).or_insert_with(|| json!({}));
        if !held.is_object() {
            *held = json!({});
        }
        let Some(held) = held.as_object_mut() else {
            return;
        };
        for (key, value) in pairs {
            held.insert(key.clone(), Value::String(value.clone()));
        }
    }

    /// Whether the object has one of the pairs as a label or annotation; values are compared without regard to case
    /// (KC-SSA-015).
    pub fn carries_any(&self, pairs: &[(String, String)]) -> bool {
        pairs.iter().any(|(key, want)| {
            [Metadata::Labels, Metadata::Annotations]
                .into_iter()
                .any(|part| {
                    let value = self
                        .metadata(part)
                        .and_then(|held| held.get(key))
                        .and_then(Value::as_str);
                    value.is_some_and(|value| {
                        !value.is_empty() && value.to_lowercase() == want.to_lowercase()
                    })
                })
        })
    }

    /// Whether this is a CustomResourceDefinition.
    pub fn is_crd(&self) -> bool {
        self.kind().eq_ignore_ascii_case("customresourcedefinition")
            && self.api_version().starts_with("apiextensions.k8s.io/")
    }

    /// Whether this is a Secret.
    pub fn is_secret(&self) -> bool {
        self.kind().eq_ignore_ascii_case("secret") && self.api_version() == "v1"
    }
}

/// The two parts of an object's metadata that users manage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
}

impl Metadata {
    /// The name of the field in `metadata`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }
}

/// What identifies an object, independent of the version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for an object that has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Formats as `<Kind>/<namespace>/<name>`, without an empty namespace (RT-SSA-010).
impl Display for ObjectId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// An id of an inventory that is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse stored object metadata: {0}")]
pub struct MalformedId(pub String);

impl ObjectId {
    /// The id in an inventory, `<namespace>_<name>_<group>_<kind>`. Names of RBAC objects may contain colons, which are
    /// written as `__` (KC-API-041).
    pub fn inventory_id(&self) -> String {
        let Self {
            group,
            kind,
            namespace,
            name,
        } = self;
        let is_rbac = group == "rbac.authorization.k8s.io"
            && matches!(
                kind.as_str(),
                "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding"
            );
        let name = if is_rbac {
            name.replace(':', "__")
        } else {
            name.clone()
        };
        format!("{namespace}_{name}_{group}_{kind}")
    }

    /// Parses what [`ObjectId::inventory_id`] writes.
    ///
    /// # Errors
    ///
    /// If the text has fewer than four fields.
    pub fn from_inventory_id(text: &str) -> Result<Self, MalformedId> {
        // For a truncated id upstream shows the rest that it could not split further; so does this.
        let malformed = |rest: &str| MalformedId(rest.to_owned());
        let (namespace, rest) = text.split_once('_').ok_or_else(|| malformed(text))?;
        let (rest, kind) = rest.rsplit_once('_').ok_or_else(|| malformed(rest))?;
        let (name, group) = rest.rsplit_once('_').ok_or_else(|| malformed(rest))?;
        Ok(Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.replace("__", ":"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Metadata, Object, ObjectId};

    fn id(namespace: &str, name: &str, group: &str, kind: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    // KC-API-041 RT-CON-022 RT-SSA-010
    #[test]
    fn ids_round_trip() {
        for (object, text, subject) in [
            (
                id("apps", "web", "apps", "Deployment"),
                "apps_web_apps_Deployment",
                "Deployment/apps/web",
            ),
            (
                id("", "apps", "", "Namespace"),
                "_apps__Namespace",
                "Namespace/apps",
            ),
            (
                id(
                    "",
                    "system:node",
                    "rbac.authorization.k8s.io",
                    "ClusterRole",
                ),
                "_system__node_rbac.authorization.k8s.io_ClusterRole",
                "ClusterRole/system:node",
            ),
        ] {
            assert_eq!(object.inventory_id(), text);
            assert_eq!(ObjectId::from_inventory_id(text).unwrap(), object);
            assert_eq!(object.to_string(), subject);
        }
    }

    // KC-PRUNE-022
    #[test]
    fn a_truncated_id_is_refused() {
        for (text, rest) in [("", ""), ("apps", "apps"), ("a_b", "b"), ("a_b_c", "b")] {
            let error = ObjectId::from_inventory_id(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("unable to parse stored object metadata: {rest}")
            );
        }
    }

    // KC-SSA-015
    #[test]
    fn a_label_or_annotation_matches_case_insensitively() {
        let object = Object::new(json!({ "metadata": {
            "labels": { "a": "Disabled", "empty": "" },
            "annotations": { "b": "ignore", "A": "x" },
        }}))
        .unwrap();
        let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        assert!(object.carries_any(&pair("a", "disabled")));
        assert!(object.carries_any(&pair("b", "Ignore")));
        assert!(!object.carries_any(&pair("b", "disabled")));
        assert!(
            !object.carries_any(&pair("B", "Ignore")),
            "keys are compared exactly"
        );
        assert!(!object.carries_any(&pair("empty", "")));
    }

    #[test]
    fn id_and_digest_are_recomputed_after_a_change() {
        let object = |name: &str| {
            Object::new(
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } }),
            )
            .unwrap()
        };
        let mut changed = object("a");
        let digest = changed.digest();
        assert_eq!(changed.id().name, "a");
        assert_eq!(digest, object("a").digest());
        changed.fields_mut()["metadata"]["name"] = json!("b");
        assert_eq!(changed.id().name, "b");
        assert_eq!(changed.digest(), object("b").digest());
        assert_ne!(changed.digest(), digest);
        let (key, value) = ("k".to_owned(), "v".to_owned());
        let before = changed.digest();
        changed.set_metadata(Metadata::Labels, [(&key, &value)]);
        assert_ne!(changed.digest(), before, "labels are part of the digest");
        assert_eq!(changed.clone().digest(), changed.digest());
        let mut asked = object("a");
        asked.fields_mut();
        assert_eq!(
            asked,
            object("a"),
            "what was computed is no part of the object"
        );
        object("a").id();
        assert_eq!(object("a"), asked);
    }

    #[test]
    fn debug_shows_no_values() {
        let secret = json!({ "kind": "Secret", "metadata": { "name": "s" }, "data": { "password": "aHVudGVyMg==" } });
        assert_eq!(
            format!("{:?}", Object::new(secret).unwrap()),
            "Object(Secret/s)"
        );
    }
}
