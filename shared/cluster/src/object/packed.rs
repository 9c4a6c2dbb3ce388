//! The text of an object that is kept, in place of its fields.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::Object;

/// The text, and the fields once they are needed. Clones share the text.
#[derive(Clone)]
pub(super) struct Packed {
    text: Arc<Text>,
    fields: OnceLock<Map<String, Value>>,
}

struct Text {
    api_version: Box<str>,
    json: Box<[u8]>,
}

impl Packed {
    /// The text of an object, if it gives the same fields again.
    pub(super) fn of(object: &Object) -> Option<Self> {
        let json = serde_json::to_vec(object.fields()).ok()?;
        let again: Map<String, Value> = serde_json::from_slice(&json).ok()?;
        (again == *object.fields()).then(|| Self {
            text: Arc::new(Text {
                api_version: object.api_version().into(),
                json: json.into(),
            }),
            fields: OnceLock::new(),
        })
    }

    pub(super) fn fields(&self) -> &Map<String, Value> {
        // `of` has parsed it before.
        let parse = || serde_json::from_slice(&self.text.json).unwrap_or_default();
        self.fields.get_or_init(parse)
    }

    pub(super) fn into_fields(mut self) -> Map<String, Value> {
        self.fields();
        self.fields.take().unwrap_or_default()
    }

    pub(super) fn api_version(&self) -> &str {
        &self.text.api_version
    }

    /// The digest of the fields ([`Object::digest`]).
    pub(super) fn digest(&self) -> blake3::Hash {
        blake3::hash(&self.text.json)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.text.json.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Metadata;

    fn object() -> Object {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "apps", "creationTimestamp": null},
            "spec": {"replicas": 2, "rate": 0.1, "max": u64::MAX, "min": i64::MIN, "text": "a\u{0}\u{2028}\"", "items": [[], {}, true]},
        });
        Object::new(object).unwrap()
    }

    #[test]
    fn a_packed_object_is_the_same_object() {
        let (plain, packed) = (object(), object().packed());
        assert!(packed.packed_bytes().is_some() && plain.packed_bytes().is_none());
        let names = |object: &Object| {
            let version = [object.api_version(), object.group(), object.version()];
            let name = [object.kind(), object.namespace(), object.name()];
            [version, name].map(|parts| parts.join(" "))
        };
        assert_eq!(names(&packed), names(&plain));
        assert_eq!((packed.id(), packed.digest()), (plain.id(), plain.digest()));
        let is_parsed = |object: &Object| object.packed.as_ref().unwrap().fields.get().is_some();
        assert!(!is_parsed(&packed.clone()), "names need no fields");
        let used = packed.clone();
        assert_eq!(used, plain);
        assert!(is_parsed(&used) && !is_parsed(&packed));
        assert_eq!(packed.to_value(), plain.to_value());
        assert_eq!(packed.clone().packed(), plain);
        assert_eq!(packed.into_value(), plain.into_value());
    }

    #[test]
    fn a_packed_object_can_be_changed() {
        let (mut plain, mut packed) = (object(), object().packed());
        let (key, value) = ("team".to_owned(), "a".to_owned());
        for object in [&mut plain, &mut packed] {
            object.fields_mut()["metadata"]["name"] = json!("other");
            object.set_metadata(Metadata::Labels, [(&key, &value)]);
        }
        assert_eq!(packed, plain);
        assert_eq!((packed.id(), packed.digest()), (plain.id(), plain.digest()));
        assert_eq!(packed.name(), "other");
    }

    #[test]
    fn an_object_that_cannot_be_read_back_stays_as_it_is() {
        let mut deep = json!("end");
        for _ in 0..200 {
            deep = json!({"a": deep});
        }
        let deep = Object::new(json!({"kind": "Deep", "spec": deep})).unwrap();
        let packed = deep.clone().packed();
        assert_eq!(packed.packed_bytes(), None);
        assert_eq!(packed, deep);
        assert_eq!((packed.kind(), packed.digest()), ("Deep", deep.digest()));
    }
}
