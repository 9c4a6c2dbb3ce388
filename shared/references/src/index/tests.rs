//! Tests of the index.

use flux_api::kustomize::{Kustomization, KustomizationSpec};

use super::*;

fn index() -> (Cache<Kustomization>, Index) {
    let cache = Cache::default();
    let index = Index::of(&cache, |object: &Kustomization| {
        let components = object.spec.components.iter();
        components
            .map(|name| ObjectRef::new("Secret", Key::new("ns", name.as_str())))
            .collect()
    });
    (cache, index)
}

fn object(name: &str, version: &str, refers_to: &[&str]) -> Kustomization {
    let spec = KustomizationSpec {
        components: refers_to.iter().map(|&name| name.to_owned()).collect(),
        ..KustomizationSpec::default()
    };
    let mut object = Kustomization::new(name, spec);
    object.metadata.namespace = Some("ns".into());
    object.metadata.resource_version = Some(version.into());
    object
}

#[test]
fn an_index_follows_the_objects_of_its_cache() {
    let (cache, index) = index();
    let of = |name: &str| {
        let found = index.referrers(&ObjectRef::new("Secret", Key::new("ns", name)));
        let names: Vec<String> = found.into_iter().map(|key| key.name).collect();
        names.join(" ")
    };
    cache.upsert(object("b", "1", &["x", "y", "x"]));
    cache.upsert(object("a", "1", &["x"]));
    assert_eq!((of("x"), of("y")), ("a b".into(), "b".into()));
    let kind = ObjectRef::new("ConfigMap", Key::new("ns", "x"));
    assert!(index.referrers(&kind).is_empty());

    cache.upsert(object("b", "3", &["y", "z"]));
    cache.upsert(object("b", "2", &["x"])); // arrives late
    assert_eq!(of("x"), "a");
    assert_eq!((of("y"), of("z")), ("b".into(), "b".into()));
    cache.upsert(object("a", "2", &[]));
    cache.upsert(object("b", "4", &[]));
    let entries = index.0.read().unwrap();
    assert!(entries.referrers.is_empty() && entries.references.is_empty());
}

#[test]
fn an_index_has_the_objects_that_were_there_before() {
    let cache = Cache::default();
    cache.upsert(object("a", "1", &["x"]));
    let index = Index::of(&cache, |_| {
        vec![ObjectRef::new("Secret", Key::new("ns", "x"))]
    });
    let object = ObjectRef::new("Secret", Key::new("ns", "x"));
    assert_eq!(index.referrers(&object), [Key::new("ns", "a")]);
}

#[test]
fn a_reference_without_namespace_is_to_the_own_one() {
    // KC-API-011, RT-CON-023
    for namespace in [None, Some(""), Some("own")] {
        assert_eq!(key_in(namespace, "own", "a"), Key::new("own", "a"));
    }
    assert_eq!(key_in(Some("other"), "own", "a"), Key::new("other", "a"));
}
