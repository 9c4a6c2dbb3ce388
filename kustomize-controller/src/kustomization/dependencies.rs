//! Kustomizations that must be ready first (KC-DEP-001..013).

use flux_api::kustomize::Kustomization;
use flux_api::meta::{ConditionStatus, GoDuration};
use flux_objects::{Error, Objects};
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Run};
use kube::ResourceExt;

use super::plan::source_namespace;

/// Why a dependency holds its dependants back.
#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("dependency '{0}' not found")]
    Missing(Key, #[source] Error),
    #[error("dependency '{0}' is not ready")]
    Unready(Key),
    #[error("dependency '{0}' revision is not up to date")]
    Behind(Key),
}

/// Fails with Waiting while one of the dependencies is not ready, naming the first in the order of the list (KC-DEP-003).
/// They are read from the API server, since they may belong to another shard (KC-DEP-001).
pub(crate) async fn ready(
    run: &Run<Kustomization>,
    revision: &str,
    requeue: std::time::Duration,
) -> Result<(), Failure> {
    let object = run.object().clone();
    for dependency in &object.spec.depends_on {
        let namespace = dependency
            .namespace
            .clone()
            .filter(|namespace| !namespace.is_empty());
        let key = Key::new(
            namespace.unwrap_or_else(|| run.namespace().to_owned()),
            dependency.name.clone(),
        );
        let read = async {
            let client = run.client().clone();
            let dependencies = Objects::<Kustomization>::in_namespace(client, &key.namespace)?;
            dependencies.get(&key.name).await
        };
        let checked = match read.await {
            Ok(found) => check(&object, &found, &key, revision),
            Err(error) => Err(NotReady::Missing(key, error)),
        };
        if let Err(not_ready) = checked {
            let wait = GoDuration::from(requeue);
            tracing::info!("Dependencies do not meet ready condition, retrying in {wait}");
            return Err(Failure::waiting("DependencyNotReady", not_ready, requeue).logged());
        }
    }
    if !object.spec.depends_on.is_empty() {
        tracing::info!("All dependencies are ready, proceeding with reconciliation");
    }
    Ok(())
}

/// What is asked of a dependency (KC-DEP-004, KC-DEP-005).
fn check(
    object: &Kustomization,
    dependency: &Kustomization,
    key: &Key,
    revision: &str,
) -> Result<(), NotReady> {
    let status = dependency.status.clone().unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == ConditionStatus::True);
    if !ready || status.observed_generation != dependency.metadata.generation {
        return Err(NotReady::Unready(key.clone()));
    }
    let source = |object: &Kustomization| {
        let reference = &object.spec.source_ref;
        (
            reference.kind.clone(),
            source_namespace(object),
            reference.name.clone(),
        )
    };
    if source(object) == source(dependency)
        && status.last_applied_revision.as_deref() != Some(revision)
    {
        return Err(NotReady::Behind(key.clone()));
    }
    Ok(())
}

/// The keys in the order in which their objects should run, dependencies first; `depends_on` gives those of a key. What
/// they depend on comes along, listed or not (KC-SRC-019). Equal ones keep the order in which they came.
///
/// A circle is an error that shows it: `a -> b -> a`.
pub(crate) fn in_order(
    keys: &[Key],
    depends_on: impl Fn(&Key) -> Vec<Key>,
) -> Result<Vec<Key>, String> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Open,
        Done,
    }
    let mut marks = std::collections::HashMap::new();
    let mut order = Vec::new();
    for start in keys {
        // The path from `start`, each step with the dependencies that are still to be walked.
        let mut path: Vec<(Key, Vec<Key>)> = Vec::new();
        let mut next = Some(start.clone());
        loop {
            if let Some(key) = next.take() {
                match marks.get(&key) {
                    Some(Mark::Done) => {}
                    Some(Mark::Open) => {
                        let circle = path
                            .iter()
                            .map(|(step, _)| step)
                            .skip_while(|step| **step != key);
                        let mut names: Vec<String> = circle.map(Key::to_string).collect();
                        names.push(key.to_string());
                        return Err(format!(
                            "circular dependency detected: {}",
                            names.join(" -> ")
                        ));
                    }
                    None => {
                        marks.insert(key.clone(), Mark::Open);
                        let mut rest = depends_on(&key);
                        rest.reverse();
                        path.push((key, rest));
                    }
                }
            }
            let Some((_, rest)) = path.last_mut() else {
                break;
            };
            if let Some(dependency) = rest.pop() {
                next = Some(dependency);
            } else if let Some((key, _)) = path.pop() {
                marks.insert(key.clone(), Mark::Done);
                order.push(key);
            }
        }
    }
    Ok(order)
}

/// The keys that an object depends on.
pub(crate) fn of(object: &Kustomization) -> Vec<Key> {
    let own = object.namespace().unwrap_or_default();
    let key = |dependency: &flux_api::meta::DependencyReference| {
        let namespace = dependency
            .namespace
            .clone()
            .filter(|namespace| !namespace.is_empty());
        Key::new(
            namespace.unwrap_or_else(|| own.clone()),
            dependency.name.clone(),
        )
    };
    object.spec.depends_on.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{
        CrossNamespaceSourceReference, KustomizationSpec, KustomizationStatus,
    };
    use flux_api::meta::Condition;

    use super::*;

    fn kustomization(source: &str) -> Kustomization {
        let source_ref = CrossNamespaceSourceReference {
            name: source.into(),
            ..CrossNamespaceSourceReference::default()
        };
        let mut object = Kustomization::new(
            "x",
            KustomizationSpec {
                source_ref,
                ..KustomizationSpec::default()
            },
        );
        object.metadata.namespace = Some("ns".into());
        object.metadata.generation = Some(2);
        object
    }

    fn dependency(source: &str, ready: &str, observed: i64, applied: &str) -> Kustomization {
        let condition = Condition {
            type_: "Ready".into(),
            status: ready.into(),
            reason: "x".into(),
            ..Condition::default()
        };
        let status = KustomizationStatus {
            conditions: vec![condition],
            observed_generation: Some(observed),
            last_applied_revision: Some(applied.into()),
            ..KustomizationStatus::default()
        };
        Kustomization {
            status: Some(status),
            ..kustomization(source)
        }
    }

    #[test]
    fn a_dependency_is_ready_at_the_same_revision() {
        // KC-DEP-003, KC-DEP-004, KC-DEP-005
        let key = Key::new("ns", "dep");
        let said = |dependency: &Kustomization| {
            check(&kustomization("repo"), dependency, &key, "main@sha1:2")
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(said(&dependency("repo", "True", 2, "main@sha1:2")), None);
        let unready = Some("dependency 'ns/dep' is not ready".to_owned());
        assert_eq!(
            said(&dependency("repo", "False", 2, "main@sha1:2")),
            unready
        );
        assert_eq!(said(&dependency("repo", "True", 1, "main@sha1:2")), unready);
        assert_eq!(said(&kustomization("repo")), unready);
        let behind = Some("dependency 'ns/dep' revision is not up to date".to_owned());
        assert_eq!(said(&dependency("repo", "True", 2, "main@sha1:1")), behind);
        assert_eq!(said(&dependency("other", "True", 2, "main@sha1:1")), None);
    }

    #[test]
    fn a_dependency_without_namespace_is_a_neighbour() {
        // RT-CON-023
        let mut object = kustomization("repo");
        let names = [None, Some(""), Some("other")];
        object.spec.depends_on = names
            .map(|namespace| flux_api::meta::DependencyReference {
                name: "dep".into(),
                namespace: namespace.map(str::to_owned),
                ..Default::default()
            })
            .to_vec();
        let keys = [
            Key::new("ns", "dep"),
            Key::new("ns", "dep"),
            Key::new("other", "dep"),
        ];
        assert_eq!(of(&object), keys);
    }

    #[test]
    fn dependencies_come_first() {
        // KC-SRC-019, KC-SRC-020, RT-WAT-012
        let order = |keys: &[&str], edges: &[(&str, &str)]| {
            let keys: Vec<Key> = keys.iter().map(|name| Key::new("ns", *name)).collect();
            let depends_on = |key: &Key| {
                edges
                    .iter()
                    .filter(|(from, _)| *from == key.name)
                    .map(|(_, to)| Key::new("ns", *to))
                    .collect()
            };
            in_order(&keys, depends_on).map(|order| {
                order
                    .into_iter()
                    .map(|key| key.name)
                    .collect::<Vec<_>>()
                    .join(" ")
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
            Err("circular dependency detected: ns/a -> ns/b -> ns/a".into())
        );
    }
}
