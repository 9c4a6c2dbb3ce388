//! The plan of one run of a Kustomization, computed once from the object, its source and the flags, without I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flux_api::kustomize::{Kustomization, KustomizationSpec};
use flux_api::meta::{GoDuration, ValuesKind};
use flux_cluster::CustomRules;
use flux_references::{ObjectRef, dependency_keys, key_in};
use flux_runtime::queue::Key;
use flux_tenancy::Tenant;
use kube::ResourceExt;

use super::decryption::Keys;
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
    /// On whose behalf the run acts.
    pub(super) tenant: Tenant,
    /// The rules of `spec.healthCheckExprs`.
    pub(super) health_rules: CustomRules,
    /// The dependencies, in the order of the spec.
    pub(super) dependencies: Vec<Key>,
    /// The labels of all objects that the run applies.
    pub(super) labels: Vec<Mark>,
    /// The metadata of its events (KC-EVT-003).
    pub(super) metadata: BTreeMap<&'static str, String>,
}

impl<'p> Plan<'p> {
    pub(super) fn new(
        object: Arc<Kustomization>,
        source: Resolved,
        health_rules: CustomRules,
        policy: &'p Policy,
    ) -> Self {
        let key = Key::of(&*object);
        Self {
            timings: Timings::of(&object, policy.requeue_dependency),
            tenant: tenant(&object, policy),
            health_rules,
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
    pub(super) fn made_from(&self, keys: Option<&Keys>) -> Made {
        Made {
            uid: self.object.uid().unwrap_or_default(),
            generation: self.object.metadata.generation.unwrap_or_default(),
            artifact: self.source.artifact.digest.clone(),
            keys: keys.map(|keys| keys.digest.clone()).unwrap_or_default(),
        }
    }

    /// A key for the state of the objects on the cluster: the object and its generation determine the owner's labels and
    /// the common metadata; the digest of the build, the account and the version of the cluster determine the rest.
    pub(super) fn applied_from(&self, build_digest: &str, cluster: &str) -> String {
        format!(
            "{} {} {} {build_digest} {cluster}",
            self.object.uid().unwrap_or_default(),
            self.object.metadata.generation.unwrap_or_default(),
            self.tenant.account.as_deref().unwrap_or_default(),
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

/// On whose behalf a Kustomization acts (KC-REMOTE-001, KC-REMOTE-002).
pub(super) fn tenant(object: &Kustomization, policy: &Policy) -> Tenant {
    let named = object.spec.service_account_name.as_deref();
    let default = &policy.default_service_account;
    Tenant::new(own_namespace(object), named, default)
}

/// The namespace of the object.
fn own_namespace(object: &Kustomization) -> &str {
    object.metadata.namespace.as_deref().unwrap_or_default()
}

/// The source that the object refers to (KC-API-011).
pub(super) fn source_reference(object: &Kustomization) -> ObjectRef {
    let reference = &object.spec.source_ref;
    let own = own_namespace(object);
    let key = key_in(reference.namespace.as_deref(), own, &reference.name);
    ObjectRef::new(reference.kind.as_str().to_owned(), key)
}

/// The keys of the Kustomizations that an object depends on (RT-CON-023).
pub(super) fn dependencies(object: &Kustomization) -> Vec<Key> {
    dependency_keys(&object.spec.depends_on, own_namespace(object))
}

/// All objects whose changes concern the object: its source, and the ConfigMaps and Secrets in its namespace that it refers
/// to (KC-SRC-021, KC-DEP-015).
pub(crate) fn references(object: &Kustomization) -> Vec<ObjectRef> {
    let (spec, own) = (&object.spec, own_namespace(object));
    let local = |kind: &'static str, name: &str| ObjectRef::new(kind, Key::new(own, name));
    let mut references = vec![source_reference(object)];
    let post_build = spec.post_build.iter();
    let variables = post_build.flat_map(|post_build| &post_build.substitute_from);
    references.extend(variables.filter_map(|reference| match &reference.kind {
        ValuesKind::ConfigMap => Some(local("ConfigMap", &reference.name)),
        ValuesKind::Secret => Some(local("Secret", &reference.name)),
        ValuesKind::Other(_) => None,
    }));
    if let Some(cluster) = &spec.kube_config {
        let map = cluster.config_map_ref.as_ref();
        references.extend(map.map(|map| local("ConfigMap", &map.name)));
        let secret = cluster.secret_ref.as_ref();
        references.extend(secret.map(|secret| local("Secret", &secret.name)));
    }
    let keys = spec.decryption.as_ref();
    let keys = keys.and_then(|decryption| decryption.secret_ref.as_ref());
    references.extend(keys.map(|keys| local("Secret", &keys.name)));
    references
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{Decryption, PostBuild, SourceKind, SubstituteReference};
    use flux_api::meta::{KubeConfigReference, LocalObjectReference, SecretKeyReference};

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
    fn a_kustomization_acts_as_the_account_that_it_names() {
        // KC-REMOTE-001, KC-REMOTE-002
        let policy = Policy {
            default_service_account: "default".into(),
            ..Policy::default()
        };
        let account = |named: Option<&str>| {
            let object = kustomization(KustomizationSpec {
                service_account_name: named.map(str::to_owned),
                ..KustomizationSpec::default()
            });
            tenant(&object, &policy)
        };
        let of = |account: &str| Tenant {
            namespace: "flux-system".into(),
            account: Some(account.into()),
        };
        assert_eq!(account(Some("own")), of("own"));
        assert_eq!(account(None), of("default"));
    }

    #[test]
    fn sources_are_indexed_by_kind_namespace_and_name() {
        // KC-SRC-021, KC-API-011
        let source = |namespace: Option<&str>| {
            let mut object = kustomization(KustomizationSpec::default());
            object.spec.source_ref.kind = SourceKind::Bucket;
            object.spec.source_ref.name = "app".into();
            object.spec.source_ref.namespace = namespace.map(str::to_owned);
            references(&object)
        };
        let bucket = |namespace| ObjectRef::new("Bucket", Key::new(namespace, "app"));
        assert_eq!(source(None), [bucket("flux-system")]);
        assert_eq!(source(Some("")), [bucket("flux-system")]);
        assert_eq!(source(Some("other")), [bucket("other")]);
    }

    #[test]
    fn config_references_are_indexed() {
        // KC-DEP-015
        let reference = |kind, optional| SubstituteReference {
            kind,
            name: "vars".into(),
            optional,
        };
        let kube_config = |map: Option<&str>, secret: Option<&str>| KubeConfigReference {
            config_map_ref: map.map(|name| LocalObjectReference { name: name.into() }),
            secret_ref: secret.map(|name| SecretKeyReference {
                key: None,
                name: name.into(),
            }),
        };
        let mut spec = KustomizationSpec {
            post_build: Some(PostBuild {
                substitute_from: vec![
                    reference(ValuesKind::Secret, true),
                    reference(ValuesKind::ConfigMap, false),
                    reference(ValuesKind::Other("Pod".into()), false),
                ],
                ..PostBuild::default()
            }),
            kube_config: Some(kube_config(Some("cluster"), None)),
            decryption: Some(Decryption {
                secret_ref: Some(LocalObjectReference { name: "age".into() }),
                ..Decryption::default()
            }),
            ..KustomizationSpec::default()
        };
        let found = |spec: &KustomizationSpec| {
            let object = kustomization(spec.clone());
            let references = references(&object).into_iter().skip(1);
            references
                .map(|reference| reference.to_string())
                .collect::<Vec<_>>()
        };
        let variables = ["Secret/flux-system/vars", "ConfigMap/flux-system/vars"];
        assert_eq!(found(&spec)[..2], variables);
        assert_eq!(
            found(&spec)[2..],
            ["ConfigMap/flux-system/cluster", "Secret/flux-system/age"]
        );
        spec.kube_config = Some(kube_config(None, Some("cluster")));
        assert_eq!(found(&spec)[2], "Secret/flux-system/cluster");
        // KC-DEP-016: what is the same for all objects is no reference of theirs
        spec.decryption = Some(Decryption::default());
        assert_eq!(found(&spec).len(), 3);
    }
}
