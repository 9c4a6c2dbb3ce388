//! Tests of dependencies.

use flux_api::kustomize::{Kustomization, KustomizationSpec, KustomizationStatus};
use flux_api::meta::Condition;

use super::*;
use crate::fake;

fn object(ready: &str, observed: i64) -> Kustomization {
    let mut object = Kustomization::new("dep", KustomizationSpec::default());
    object.metadata.namespace = Some("ns".into());
    object.metadata.generation = Some(2);
    object.status = Some(KustomizationStatus {
        conditions: vec![Condition {
            type_: "Ready".into(),
            status: ready.into(),
            reason: "x".into(),
            ..Condition::default()
        }],
        observed_generation: Some(observed),
        ..KustomizationStatus::default()
    });
    object
}

#[test]
fn an_object_is_ready_at_its_generation() {
    // KC-DEP-004
    assert!(is_ready(&object("True", 2)));
    assert!(!is_ready(&object("True", 1)));
    assert!(!is_ready(&object("False", 2)));
    let new = Kustomization::new("dep", KustomizationSpec::default());
    assert!(!is_ready(&new));
}

#[test]
fn a_dependency_defaults_to_the_namespace_of_the_object() {
    // RT-CON-023
    let names = [None, Some(""), Some("other")];
    let depends_on = names.map(|namespace| DependencyReference {
        name: "dep".into(),
        namespace: namespace.map(str::to_owned),
        ..DependencyReference::default()
    });
    let keys = [
        Key::new("flux-system", "dep"),
        Key::new("flux-system", "dep"),
        Key::new("other", "dep"),
    ];
    assert_eq!(dependency_keys(&depends_on, "flux-system"), keys);
}

#[test]
fn dependencies_are_queued_before_dependants() {
    // KC-SRC-019, KC-SRC-020, RT-WAT-012
    let order = |keys: &[&str], edges: &[(&str, &str)]| {
        let keys: Vec<Key> = keys.iter().map(|name| Key::new("ns", *name)).collect();
        let depends_on = |key: &Key| {
            let edges = edges.iter().filter(|(from, _)| *from == key.name);
            edges.map(|(_, to)| Key::new("ns", *to)).collect()
        };
        in_order(&keys, depends_on).map(|order| {
            let names: Vec<String> = order.into_iter().map(|key| key.name).collect();
            names.join(" ")
        })
    };
    assert_eq!(
        order(&["a", "b", "c"], &[("a", "c"), ("c", "b")]),
        Ok("b c a".into())
    );
    assert_eq!(
        order(&["a"], &[("a", "z")]),
        Ok("z a".into()),
        "also what is not listed"
    );
    assert_eq!(order(&["a", "b", "c"], &[]), Ok("a b c".into()));
    assert_eq!(
        order(&["a", "b"], &[("a", "b"), ("b", "a")]),
        Err(Cycle("ns/a -> ns/b -> ns/a".into()))
    );
}

#[tokio::test]
async fn a_dependant_is_registered_before_its_dependencies_are_read() {
    // KC-DEP-012
    let (own, dependency) = (Key::new("ns", "x"), Key::new("ns", "dep"));
    let waiting = Waiting::default();
    let run = async |found: Kustomization| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let client = {
            let (seen, waiting, key) = (seen.clone(), waiting.clone(), dependency.clone());
            fake::client(move |_| {
                seen.lock().unwrap().extend(waiting.dependants(&key));
                serde_json::to_value(&found).ok()
            })
        };
        let dependencies = std::slice::from_ref(&dependency);
        let check = |_, _: &Key, found: Result<Kustomization, Error>| {
            is_ready(&found.unwrap()).then_some(()).ok_or(())
        };
        let checked = waiting.check(&client, &own, dependencies, check).await;
        let seen = seen.lock().unwrap().clone();
        (seen, checked.is_ok(), waiting.dependants(&dependency))
    };
    let alone = vec![own.clone()];
    let unready = run(object("False", 2)).await;
    assert_eq!(unready, (alone.clone(), false, alone.clone()));
    assert_eq!(run(object("True", 2)).await, (alone, true, Vec::new()));
}

#[test]
fn objects_that_wait_for_one_another_are_a_cycle() {
    let waiting = Waiting::default();
    let key = |name: &str| Key::new("ns", name);
    let wait = |name: &str, on: &[&str]| {
        let on = on.iter().map(|name| key(name)).collect();
        waiting.waiting().insert(key(name), on);
    };
    wait("a", &["other", "b"]);
    wait("b", &["c"]);
    assert_eq!(waiting.cycle(&key("a")), None);
    // One that is not of it waits for the cycle.
    wait("before", &["a"]);
    wait("c", &["b", "a"]);
    let said = |name: &str| waiting.cycle(&key(name)).map(|cycle| cycle.to_string());
    let text = "circular dependency detected: ns/a -> ns/b -> ns/c -> ns/a";
    assert_eq!(said("a").as_deref(), Some(text));
    assert_eq!(said("before"), None);
    wait("self", &["self"]);
    let text = "circular dependency detected: ns/self -> ns/self";
    assert_eq!(said("self").as_deref(), Some(text));
    waiting.end(&key("b"));
    assert_eq!(said("a"), None);
}

#[tokio::test]
async fn the_first_dependency_that_fails_decides() {
    // KC-DEP-003
    let client = fake::client(|path| {
        let is_first = path.ends_with("/a");
        is_first.then(|| serde_json::to_value(object("True", 2)).unwrap())
    });
    let keys = ["a", "b", "c"].map(|name| Key::new("ns", name));
    let waiting = Waiting::default();
    let check = |_, key: &Key, found: Result<Kustomization, Error>| {
        let missing = |error: Error| (key.name.clone(), error.is_not_found());
        found.map(drop).map_err(missing)
    };
    let own = Key::new("ns", "x");
    let checked = waiting.check(&client, &own, &keys, check).await;
    assert_eq!(checked, Err(("b".to_owned(), true)));
    assert_eq!(waiting.dependants(&keys[2]), std::slice::from_ref(&own));
    waiting.end(&own);
    assert!(waiting.dependants(&keys[2]).is_empty());
}
