//! The objects of a build in the form in which they are applied, computed once for all runs of that build.

use std::collections::BTreeSet;

use flux_api::meta::CommonMetadata;
use flux_apply::is_encrypted_secret;
use flux_apply::normalise::normalise;
use flux_cluster::{Metadata, Object, ObjectId};
use serde_json::{Map, Value};

use crate::kustomization::owner::{GROUP, Mark};

/// The metadata that the owner adds to its objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    /// The labels that mark the owner's objects.
    pub(crate) labels: Vec<Mark>,
    /// `spec.commonMetadata`.
    pub(crate) common: Option<CommonMetadata>,
}

/// The objects of a build in the form in which they are applied. They are kept between runs, packed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    /// The objects in the order of the build.
    pub(crate) objects: Vec<Object>,
    /// Estimated bytes of memory of the objects while a run uses them.
    pub(crate) unpacked: u64,
    /// A Secret that is still SOPS-encrypted and must not be applied.
    pub(crate) encrypted: Option<ObjectId>,
    /// Jobs that are deleted automatically after they finish.
    pub(crate) jobs_with_ttl: BTreeSet<ObjectId>,
}

impl Prepared {
    pub(super) fn new(objects: Vec<Object>, owner: &Owner) -> Self {
        let encrypted = objects
            .iter()
            .find(|object| is_encrypted_secret(object) && !is_decryption_disabled(object));
        let mut prepared = Self {
            encrypted: encrypted.map(|object| object.id().clone()),
            jobs_with_ttl: jobs_with_ttl(&objects),
            ..Self::default()
        };
        for object in objects {
            let object = prepare(object, owner);
            prepared.unpacked += fields(object.fields());
            prepared.objects.push(object.packed());
        }
        prepared
    }

    /// Estimated bytes of memory of the objects.
    pub(super) fn bytes(&self) -> u64 {
        /// An object without its fields: an id and a digest.
        const IDENTITY: u64 = 512;
        let bytes = |object: &Object| {
            let packed = object.packed_bytes();
            packed.unwrap_or_else(|| fields(object.fields())) + IDENTITY
        };
        self.objects.iter().map(bytes).sum()
    }
}

/// The object in the form in which it is applied: normalised, with the owner's labels and the common metadata
/// (KC-SSA-001..007).
fn prepare(mut object: Object, owner: &Owner) -> Object {
    object.set_metadata(
        Metadata::Labels,
        owner.labels.iter().map(|(key, value)| (key, value)),
    );
    normalise(&mut object);
    if let Some(common) = &owner.common {
        let parts = [
            (Metadata::Labels, &common.labels),
            (Metadata::Annotations, &common.annotations),
        ];
        for (part, map) in parts {
            object.set_metadata(part, map);
        }
    }
    object
}

/// Whether an object is annotated to stay encrypted (KC-SOPS-013).
fn is_decryption_disabled(object: &Object) -> bool {
    let mark = object
        .metadata(Metadata::Annotations)
        .and_then(|annotations| annotations.get(&format!("{GROUP}/decrypt")));
    mark.and_then(Value::as_str)
        .is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// Jobs that are deleted automatically after they finish (KC-HEALTH-010): those whose TTL is an integer, zero included.
fn jobs_with_ttl(objects: &[Object]) -> BTreeSet<ObjectId> {
    let jobs = objects.iter().filter(|object| {
        let ttl = object.at(&["spec", "ttlSecondsAfterFinished"]);
        object.group() == "batch" && object.kind() == "Job" && ttl.is_some_and(Value::is_i64)
    });
    jobs.map(|object| object.id().clone()).collect()
}

/// Estimated bytes of memory of a value, itself included.
fn bytes(value: &Value) -> u64 {
    const VALUE: u64 = 2 * size_of::<Value>() as u64;
    VALUE
        + match value {
            Value::String(text) => text.len() as u64,
            Value::Array(items) => items.iter().map(bytes).sum(),
            Value::Object(map) => fields(map),
            _ => 0,
        }
}

fn fields(map: &Map<String, Value>) -> u64 {
    const KEY: u64 = size_of::<String>() as u64;
    let entries = map.iter();
    entries
        .map(|(key, value)| key.len() as u64 + KEY + bytes(value))
        .sum()
}

#[cfg(test)]
mod tests {
    use flux_runtime::queue::Key;
    use serde_json::json;

    use super::*;
    use crate::kustomization::owner::labels;

    #[test]
    fn common_metadata_overrides_only_top_level_metadata() {
        let common = json!({"labels": {"team": "new", (format!("{GROUP}/name")): "theirs"}, "annotations": {"a": "b"}});
        let owner = Owner {
            labels: labels(&Key::new("ns", "app")),
            common: Some(serde_json::from_value(common).unwrap()),
        };
        let pods = json!({"metadata": {"labels": {"app": "web"}}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"team": "old", "own": "x"}},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pods}});
        let object = prepare(Object::new(object).unwrap(), &owner);
        let labels = json!({"team": "new", "own": "x", (format!("{GROUP}/name")): "theirs", (format!("{GROUP}/namespace")): "ns"});
        // KC-SSA-001, RT-SSA-004
        assert_eq!(object.at(&["metadata", "labels"]), Some(&labels));
        // KC-API-020
        assert_eq!(
            object.at(&["metadata", "annotations"]),
            Some(&json!({"a": "b"}))
        );
        // KC-SSA-002
        let inner = ["spec", "template", "metadata", "labels"];
        assert_eq!(object.at(&inner), Some(&json!({"app": "web"})));
        let selector = ["spec", "selector", "matchLabels"];
        assert_eq!(object.at(&selector), Some(&json!({"app": "web"})));
    }

    #[test]
    fn an_encrypted_secret_is_detected_unless_decryption_is_disabled_for_it() {
        // KC-SOPS-013
        let secret = |annotations: Value| {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "sops": {"mac": "x"},
                "metadata": {"name": "s", "annotations": annotations}});
            let prepared = Prepared::new(vec![Object::new(secret).unwrap()], &Owner::default());
            prepared.encrypted.map(|id| id.to_string())
        };
        assert_eq!(secret(json!({})).as_deref(), Some("Secret/s"));
        let disabled = json!({(format!("{GROUP}/decrypt")): "Disabled"});
        assert_eq!(secret(disabled), None);
        // KC-SOPS-020: normalising drops the field of a Secret with `stringData` only
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "sops": {"mac": "x"},
            "metadata": {"name": "s"}, "stringData": {"token": "ENC[x]"}});
        let prepared = Prepared::new(vec![Object::new(secret).unwrap()], &Owner::default());
        assert!(prepared.encrypted.is_some());
    }

    #[test]
    fn the_memory_of_an_object_is_its_content_and_its_identity() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let prepared = Prepared::new(vec![Object::new(map).unwrap()], &Owner::default());
        let content = "apiVersionv1kindConfigMapmetadatanamea".len() as u64;
        assert!(prepared.bytes() >= content + size_of::<Object>() as u64);
        assert_eq!(prepared.unpacked, fields(prepared.objects[0].fields()));
        assert!(prepared.unpacked > content);
    }

    #[test]
    fn jobs_with_a_ttl_may_be_deleted() {
        // KC-HEALTH-010
        let object = |version: &str, kind: &str, spec: Value| {
            let object = json!({"apiVersion": version, "kind": kind,
                "metadata": {"name": "x", "namespace": "ns"}, "spec": spec});
            Object::new(object).unwrap()
        };
        let ttl = |value: Value| json!({"ttlSecondsAfterFinished": value});
        for (what, object, counts) in [
            ("a TTL", object("batch/v1", "Job", ttl(60.into())), true),
            ("zero", object("batch/v1", "Job", ttl(0.into())), true),
            (
                "an old version",
                object("batch/v1beta1", "Job", ttl(60.into())),
                true,
            ),
            ("no TTL", object("batch/v1", "Job", json!({})), false),
            ("null", object("batch/v1", "Job", ttl(Value::Null)), false),
            ("a text", object("batch/v1", "Job", ttl("60".into())), false),
            (
                "another kind",
                object("batch/v1", "CronJob", ttl(60.into())),
                false,
            ),
            (
                "another group",
                object("example.com/v1", "Job", ttl(60.into())),
                false,
            ),
        ] {
            let found = jobs_with_ttl(std::slice::from_ref(&object));
            assert_eq!(found.contains(object.id()), counts, "{what}");
        }
    }
}
