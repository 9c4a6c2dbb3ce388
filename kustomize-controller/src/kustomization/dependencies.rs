//! Dependencies between Kustomizations: `spec.dependsOn` (KC-DEP-001..013), and the dependants that wait for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_api::kustomize::Kustomization;
use flux_api::meta::ConditionStatus;
use flux_objects::{Error, Objects};
use flux_runtime::queue::Key;
use kube::Client;

use super::plan::{Plan, source_key};

/// Why a dependency is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("dependency '{0}' not found")]
    Missing(Key, #[source] Error),
    #[error("dependency '{0}' is not ready")]
    Unready(Key),
    #[error("dependency '{0}' revision is not up to date")]
    Behind(Key),
}

/// The Kustomizations that wait for dependencies, with the dependencies of each. Clones share the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Arc<Mutex<HashMap<Key, Vec<Key>>>>);

impl Waiting {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Vec<Key>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, dependant: &Key, dependencies: &[Key]) {
        self.waiting()
            .insert(dependant.clone(), dependencies.to_vec());
    }

    /// Removes `dependant` from those that wait.
    pub(super) fn end(&self, dependant: &Key) {
        self.waiting().remove(dependant);
    }

    /// The Kustomizations that wait for `dependency`.
    pub(super) fn dependants(&self, dependency: &Key) -> Vec<Key> {
        let waiting = self.waiting();
        let found = waiting
            .iter()
            .filter(|(_, dependencies)| dependencies.contains(dependency));
        found.map(|(dependant, _)| dependant.clone()).collect()
    }
}

/// Checks that all dependencies are ready. They are read from the API server, since they may belong to another shard
/// (KC-DEP-001).
///
/// The dependant is registered in `waiting` before the first read and until all are ready, so that a dependency that
/// becomes ready after it was read finds its dependant.
///
/// # Errors
/// The first dependency, in the order of the list, that is not ready (KC-DEP-003).
pub(super) async fn ready(
    client: &Client,
    plan: &Plan<'_>,
    waiting: &Waiting,
) -> Result<(), NotReady> {
    if plan.dependencies.is_empty() {
        waiting.end(&plan.key);
        return Ok(());
    }
    waiting.begin(&plan.key, &plan.dependencies);
    for key in &plan.dependencies {
        let read = async {
            let dependencies =
                Objects::<Kustomization>::in_namespace(client.clone(), &key.namespace)?;
            dependencies.get(&key.name).await
        };
        let found = read
            .await
            .map_err(|error| NotReady::Missing(key.clone(), error))?;
        check(&plan.object, plan.revision(), &found, key)?;
    }
    waiting.end(&plan.key);
    tracing::info!("All dependencies are ready, proceeding with reconciliation");
    Ok(())
}

/// Checks a dependency of `object`, which is about to apply `revision` (KC-DEP-004, KC-DEP-005).
fn check(
    object: &Kustomization,
    revision: &str,
    dependency: &Kustomization,
    key: &Key,
) -> Result<(), NotReady> {
    if !is_ready(dependency) {
        return Err(NotReady::Unready(key.clone()));
    }
    let same_source = object.spec.source_ref.kind == dependency.spec.source_ref.kind
        && source_key(object) == source_key(dependency);
    if same_source && applied_revision(dependency) != Some(revision) {
        return Err(NotReady::Behind(key.clone()));
    }
    Ok(())
}

/// Whether a Kustomization is ready at its current generation.
pub(super) fn is_ready(object: &Kustomization) -> bool {
    object.status.as_ref().is_some_and(|status| {
        status.observed_generation == object.metadata.generation
            && status.conditions.iter().any(|condition| {
                condition.type_ == "Ready" && condition.status == ConditionStatus::True
            })
    })
}

/// The last revision that a Kustomization applied.
pub(super) fn applied_revision(object: &Kustomization) -> Option<&str> {
    object.status.as_ref()?.last_applied_revision.as_deref()
}

/// The dependencies form a cycle. `Display` shows it as `a -> b -> a`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("circular dependency detected: {0}")]
pub(super) struct Circle(String);

/// Sorts the keys so that dependencies come first; `depends_on` returns the dependencies of a key. The result includes
/// dependencies that are not among the keys (KC-SRC-019). The sort is stable.
///
/// # Errors
/// The dependencies form a cycle.
pub(super) fn in_order(
    keys: &[Key],
    depends_on: impl Fn(&Key) -> Vec<Key>,
) -> Result<Vec<Key>, Circle> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Open,
        Done,
    }
    let mut marks = HashMap::new();
    let mut order = Vec::new();
    for start in keys {
        // The path from `start`, each step with the dependencies that have not been visited.
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
                        return Err(Circle(names.join(" -> ")));
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

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{
        CrossNamespaceSourceReference, KustomizationSpec, KustomizationStatus,
    };
    use flux_api::meta::{Artifact, Condition};

    use super::*;
    use crate::kustomization::policy::Policy;
    use crate::kustomization::source::Resolved;

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
            check(&kustomization("repo"), "main@sha1:2", dependency, &key)
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
    fn dependencies_are_queued_before_dependants() {
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
            Err(Circle("ns/a -> ns/b -> ns/a".into()))
        );
    }

    /// A client whose API server calls `look` and answers with `found`.
    fn client(found: Kustomization, look: impl Fn() + Clone + Send + 'static) -> Client {
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            look();
            let body = serde_json::to_vec(&found).unwrap();
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
                kube::client::Body::from(body),
            )))
        });
        Client::new(service, "ns")
    }

    #[tokio::test]
    async fn a_dependant_is_registered_before_its_dependencies_are_read() {
        // KC-DEP-012
        let mut object = kustomization("repo");
        object.spec.depends_on = vec![flux_api::meta::DependencyReference {
            name: "dep".into(),
            ..Default::default()
        }];
        let policy = Policy::default();
        let source = Resolved {
            artifact: Artifact {
                revision: "main@sha1:2".into(),
                ..Artifact::default()
            },
            origin_revision: None,
        };
        let plan = Plan::new(Arc::new(object), source, &policy);
        let (waiting, dependency_key) = (Waiting::default(), Key::new("ns", "dep"));
        let run = async |found: Kustomization| {
            let (seen, waiting) = (Arc::new(Mutex::new(Vec::new())), waiting.clone());
            let look = {
                let (seen, waiting, key) = (seen.clone(), waiting.clone(), dependency_key.clone());
                move || seen.lock().unwrap().extend(waiting.dependants(&key))
            };
            let ready = ready(&client(found, look), &plan, &waiting).await.is_ok();
            let seen = seen.lock().unwrap().clone();
            (seen, ready, waiting.dependants(&dependency_key))
        };
        let own = vec![Key::new("ns", "x")];
        let unready = dependency("repo", "False", 2, "main@sha1:2");
        assert_eq!(run(unready).await, (own.clone(), false, own.clone()));
        let ready = dependency("repo", "True", 2, "main@sha1:2");
        assert_eq!(run(ready).await, (own, true, Vec::new()));
    }
}
