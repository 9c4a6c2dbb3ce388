//! The plan of one run of a Kustomization, computed once from the object, its source and the flags, without I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flux_api::kustomize::{Kustomization, KustomizationSpec};
use flux_api::meta::{DependencyReference, GoDuration};
use flux_runtime::queue::Key;
use kube::ResourceExt;

use super::memory::Made;
use super::owner::{self, Mark};
use super::policy::Policy;
use super::source::Resolved;

/// The minimum timeout of a run (KC-API-010).
const MIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The timings of a Kustomization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timings {
    /// Until the next run after success.
    pub(super) interval: Duration,
    /// Until the next run after failure.
    pub(super) retry: Duration,
    /// Limit for health checks and for waiting on deletions.
    pub(super) timeout: Duration,
    /// Until the next run if a source or a dependency is not ready (KC-PROC-006).
    pub(super) requeue: Duration,
}

impl Timings {
    /// The timings of `object`, where `requeue` is the process's `--requeue-dependency`.
    pub(super) fn of(object: &Kustomization, requeue: Duration) -> Self {
        let interval = object.spec.interval.to_std();
        let timeout = object
            .spec
            .timeout
            .map_or(interval.saturating_sub(MIN_TIMEOUT), GoDuration::to_std);
        Self {
            interval,
            retry: object
                .spec
                .retry_interval
                .map_or(interval, GoDuration::to_std),
            timeout: timeout.max(MIN_TIMEOUT),
            requeue,
        }
    }
}

/// The inputs of one run.
#[derive(Clone, Debug)]
pub(super) struct Plan<'p> {
    /// The object as it was at the start of the run.
    pub(super) object: Arc<Kustomization>,
    /// Flags and feature gates that apply to all objects.
    pub(super) policy: &'p Policy,
    /// Namespace and name of the object.
    pub(super) key: Key,
    pub(super) timings: Timings,
    /// The source and its artifact.
    pub(super) source: Resolved,
    /// The ServiceAccount to impersonate, if any.
    pub(super) account: Option<String>,
    /// The dependencies, in the order of the spec.
    pub(super) dependencies: Vec<Key>,
    /// The labels of all objects that the run applies.
    pub(super) labels: Vec<Mark>,
    /// The metadata of its events (KC-EVT-003).
    pub(super) metadata: BTreeMap<&'static str, String>,
}

impl<'p> Plan<'p> {
    pub(super) fn new(object: Arc<Kustomization>, source: Resolved, policy: &'p Policy) -> Self {
        let key = Key::of(&*object);
        Self {
            timings: Timings::of(&object, policy.requeue_dependency),
            account: account(&object, &policy.default_service_account),
            dependencies: dependencies(&object),
            labels: owner::labels(&key),
            metadata: event_metadata(
                Some(&source.artifact.revision),
                source.origin_revision.as_ref(),
            ),
            key,
            object,
            source,
            policy,
        }
    }

    pub(super) fn spec(&self) -> &KustomizationSpec {
        &self.object.spec
    }

    /// The revision to apply.
    pub(super) fn revision(&self) -> &str {
        &self.source.artifact.revision
    }

    /// The label selector for all objects of the Kustomization.
    pub(super) fn selector(&self) -> String {
        owner::selector(&self.labels)
    }

    /// The inputs of a build without its variables: the generation identifies the spec.
    pub(super) fn made_from(&self) -> Made {
        Made {
            uid: self.object.uid().unwrap_or_default(),
            generation: self.object.metadata.generation.unwrap_or_default(),
            artifact: self.source.artifact.digest.clone(),
        }
    }

    /// A key for the state of the objects on the cluster: the object and its generation determine the owner's labels and
    /// the common metadata; the digest of the build and the account determine the rest.
    pub(super) fn applied_from(&self, build_digest: &str) -> String {
        format!(
            "{} {} {} {build_digest}",
            self.object.uid().unwrap_or_default(),
            self.object.metadata.generation.unwrap_or_default(),
            self.account.as_deref().unwrap_or_default(),
        )
    }

    /// A progress message (KC-PROC-067).
    pub(super) fn doing(&self, what: &str) -> String {
        format!(
            "{what} for revision {} with a timeout of {}",
            self.revision(),
            GoDuration::from(self.timings.timeout)
        )
    }
}

/// The metadata of events about a revision.
pub(super) fn event_metadata(
    revision: Option<&String>,
    origin_revision: Option<&String>,
) -> BTreeMap<&'static str, String> {
    let entries = [("revision", revision), ("originRevision", origin_revision)];
    let entries = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?.clone())));
    entries.collect()
}

/// The ServiceAccount that a Kustomization impersonates, if any (KC-REMOTE-001, KC-REMOTE-002).
pub(super) fn account(object: &Kustomization, default: &str) -> Option<String> {
    let named = object
        .spec
        .service_account_name
        .as_deref()
        .filter(|name| !name.is_empty());
    named
        .or(Some(default).filter(|name| !name.is_empty()))
        .map(str::to_owned)
}

/// The namespace of a reference, by default that of the object.
fn namespace_of(named: Option<&str>, object: &Kustomization) -> String {
    let named = named.filter(|namespace| !namespace.is_empty());
    let own = object.metadata.namespace.as_deref();
    named.or(own).unwrap_or_default().to_owned()
}

/// Namespace and name of the source that the object refers to (KC-API-011).
pub(super) fn source_key(object: &Kustomization) -> Key {
    let reference = &object.spec.source_ref;
    Key::new(
        namespace_of(reference.namespace.as_deref(), object),
        reference.name.clone(),
    )
}

/// The keys of the Kustomizations that an object depends on (RT-CON-023).
pub(super) fn dependencies(object: &Kustomization) -> Vec<Key> {
    let key = |dependency: &DependencyReference| {
        Key::new(
            namespace_of(dependency.namespace.as_deref(), object),
            dependency.name.clone(),
        )
    };
    object.spec.depends_on.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kustomization(spec: KustomizationSpec) -> Kustomization {
        let mut object = Kustomization::new("apps", spec);
        object.metadata.namespace = Some("flux-system".into());
        object
    }

    #[test]
    fn timeouts_default_to_the_interval_less_half_a_minute() {
        // KC-API-009, KC-API-010
        let timings = |interval: &str, timeout: Option<&str>, retry: Option<&str>| {
            let parse = |text: &str| text.parse::<GoDuration>().unwrap();
            let object = kustomization(KustomizationSpec {
                interval: parse(interval),
                timeout: timeout.map(parse),
                retry_interval: retry.map(parse),
                ..KustomizationSpec::default()
            });
            let timings = Timings::of(&object, Duration::ZERO);
            (timings.timeout.as_secs(), timings.retry.as_secs())
        };
        assert_eq!(timings("10m", None, None), (570, 600));
        assert_eq!(timings("40s", None, Some("1m")), (30, 60));
        assert_eq!(timings("10m", Some("5s"), None), (30, 600));
        assert_eq!(timings("10m", Some("15m"), None), (900, 600));
    }

    #[test]
    fn the_service_account_of_the_object_precedes_the_default() {
        // RT-ACL-005, RT-ACL-006, KC-REMOTE-001, KC-REMOTE-002
        let object = |name: Option<&str>| {
            let service_account_name = name.map(str::to_owned);
            kustomization(KustomizationSpec {
                service_account_name,
                ..KustomizationSpec::default()
            })
        };
        assert_eq!(
            account(&object(Some("own")), "default").as_deref(),
            Some("own")
        );
        assert_eq!(
            account(&object(Some("")), "default").as_deref(),
            Some("default")
        );
        assert_eq!(account(&object(None), ""), None);
    }

    #[test]
    fn a_dependency_defaults_to_the_namespace_of_the_object() {
        // RT-CON-023
        let names = [None, Some(""), Some("other")];
        let depends_on = names.map(|namespace| DependencyReference {
            name: "dep".into(),
            namespace: namespace.map(str::to_owned),
            ..Default::default()
        });
        let object = kustomization(KustomizationSpec {
            depends_on: depends_on.to_vec(),
            ..KustomizationSpec::default()
        });
        let keys = [
            Key::new("flux-system", "dep"),
            Key::new("flux-system", "dep"),
            Key::new("other", "dep"),
        ];
        assert_eq!(dependencies(&object), keys);
    }
}
