//! Dependencies between objects of one kind (`spec.dependsOn`), and the dependants that wait for them.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_api::meta::{DependencyReference, FluxObject, FluxStatus};
use flux_objects::{Error, Objects};
use flux_runtime::queue::Key;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::key_in;

/// The keys of the dependencies of an object in the namespace `own` (RT-CON-023, KC-DEP-002).
pub fn dependency_keys(dependencies: &[DependencyReference], own: &str) -> Vec<Key> {
    let key = |dependency: &DependencyReference| {
        key_in(dependency.namespace.as_deref(), own, &dependency.name)
    };
    dependencies.iter().map(key).collect()
}

/// Whether an object is ready at its current generation (KC-DEP-004, HC-DEP-003).
pub fn is_ready<K: Resource + HasStatus<Status: FluxStatus>>(object: &K) -> bool {
    let observed = object.status().and_then(FluxStatus::observed_generation);
    observed == object.meta().generation && object.is_ready()
}

/// The objects that wait for dependencies, with the dependencies of each. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<HashMap<Key, Vec<Key>>>>);

impl Waiting {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Vec<Key>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes `dependant` from those that wait.
    pub fn end(&self, dependant: &Key) {
        self.waiting().remove(dependant);
    }

    /// The objects that wait for `dependency`.
    pub fn dependants(&self, dependency: &Key) -> Vec<Key> {
        let waiting = self.waiting();
        let found = waiting
            .iter()
            .filter(|(_, dependencies)| dependencies.contains(dependency));
        found.map(|(dependant, _)| dependant.clone()).collect()
    }

    /// The cycle that a waiting object is part of, if each object of it waits for the next.
    pub fn cycle(&self, dependant: &Key) -> Option<Cycle> {
        let waiting = self.waiting();
        let none = Vec::new();
        let depends_on = |key: &Key| waiting.get(key).unwrap_or(&none).clone();
        // Depth first: each object once, so that the walk ends however many cycles there are.
        let mut seen = HashSet::new();
        let mut path = vec![(dependant.clone(), depends_on(dependant))];
        while let Some((_, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                path.pop();
                continue;
            };
            if next == *dependant {
                let mut names: Vec<String> = path.iter().map(|(key, _)| key.to_string()).collect();
                names.push(next.to_string());
                return Some(Cycle(names.join(" -> ")));
            }
            if seen.insert(next.clone()) {
                let rest = depends_on(&next);
                path.push((next, rest));
            }
        }
        None
    }

    /// Reads the dependencies one by one and passes each to `check` with its position, up to the first error. They are read from the API
    /// server, since they may belong to another shard (KC-DEP-001, HC-DEP-001).
    ///
    /// The dependant counts as waiting from before the first read until all have passed, so that a dependency that becomes
    /// ready after it was read finds its dependant.
    ///
    /// # Errors
    /// The first error of `check`, in the order of the list (KC-DEP-003).
    pub async fn check<K, E>(
        &self,
        client: &Client,
        dependant: &Key,
        dependencies: &[Key],
        check: impl Fn(usize, &Key, Result<K, Error>) -> Result<(), E>,
    ) -> Result<(), E>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        if !dependencies.is_empty() {
            let mut waiting = self.waiting();
            waiting.insert(dependant.clone(), dependencies.to_vec());
        }
        for (index, key) in dependencies.iter().enumerate() {
            let read = async {
                let objects = Objects::<K>::in_namespace(client.clone(), &key.namespace)?;
                objects.get(&key.name).await
            };
            check(index, key, read.await)?;
        }
        self.end(dependant);
        Ok(())
    }
}

/// The dependencies form a cycle. `Display` shows it as `a -> b -> a`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("circular dependency detected: {0}")]
pub struct Cycle(String);

/// Sorts the keys so that dependencies come first; `depends_on` returns the dependencies of a key. The result includes
/// dependencies that are not among the keys (KC-SRC-019). The sort is stable.
///
/// # Errors
/// The dependencies form a cycle.
pub fn in_order(keys: &[Key], depends_on: impl Fn(&Key) -> Vec<Key>) -> Result<Vec<Key>, Cycle> {
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
                        let steps = path.iter().map(|(step, _)| step);
                        let cycle = steps.skip_while(|step| **step != key);
                        let mut names: Vec<String> = cycle.map(Key::to_string).collect();
                        names.push(key.to_string());
                        return Err(Cycle(names.join(" -> ")));
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
mod tests;
