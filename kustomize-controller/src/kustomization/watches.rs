//! Events that enqueue a Kustomization: new revisions of its source, its dependencies, changed ConfigMaps and Secrets.

use std::sync::Arc;

use flux_api::kustomize::{Kustomization, SourceKind};
use flux_api::meta::{ConditionStatus, ValuesKind};
use flux_runtime::controller::Enqueue;
use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Change};
use flux_selector::Selector;
use kube::{Resource, ResourceExt};

use super::dependencies::{Waiting, applied_revision, in_order, is_ready};
use super::plan::{dependencies, source_key};
use super::source::Source;

/// Enqueues the Kustomizations of a source when it has a new revision, dependencies first (KC-SRC-017 to KC-SRC-021).
pub(crate) fn on_source<S: Source>(
    kind: SourceKind,
    kustomizations: Cache<Kustomization>,
) -> impl Fn(&Change<S>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        let Some(revision) = new_revision(change) else {
            return;
        };
        let source = change.object();
        let key = Key::of(&**source);
        let concerned = kustomizations.all().into_iter().filter(|object| {
            is_built_from(object, &kind, &key) && !has_attempted(object, revision)
        });
        let mut concerned: Vec<Key> = concerned.map(|object| Key::of(&*object)).collect();
        concerned.sort();
        let depends_on = |key: &Key| {
            let object = kustomizations.get(key);
            object
                .map(|object| dependencies(&object))
                .unwrap_or_default()
        };
        let order = in_order(&concerned, depends_on).unwrap_or_else(|circle| {
            // In that case upstream enqueues none of them, so that a cycle elsewhere blocks all Kustomizations.
            tracing::error!(
                error = circle.to_string(),
                "dependencies form a cycle, reconciling in the order of names"
            );
            concerned
        });
        for key in order {
            // The order includes dependencies that do not exist.
            if kustomizations.get(&key).is_some() {
                enqueue.add(key, &**source);
            }
        }
    }
}

/// Whether this is the source that a Kustomization refers to (KC-SRC-021).
fn is_built_from(object: &Kustomization, kind: &SourceKind, source: &Key) -> bool {
    let reference = &object.spec.source_ref;
    reference.kind == *kind && reference.name == source.name && source_key(object) == *source
}

/// The new revision of a change: that of a new or updated artifact, or of a deleted source, so that Kustomizations that
/// have not attempted it report that at once. Objects of the first list have none, since the initial reconcile of every
/// Kustomization sees them.
fn new_revision<S: Source>(change: &Change<S>) -> Option<&str> {
    let revision = |source: &Arc<S>| source.artifact().map(|artifact| artifact.revision.clone());
    let changed = match change {
        Change::Added { initial, .. } => !initial,
        Change::Updated { old, new } => revision(old) != revision(new),
        Change::Deleted { .. } => true,
    };
    let artifact = change.object().artifact()?;
    changed.then_some(artifact.revision.as_str())
}

/// Whether a run on this revision has ended or is in progress (KC-SRC-017).
fn has_attempted(object: &Kustomization, revision: &str) -> bool {
    let Some(status) = &object.status else {
        return false;
    };
    let condition = |kind: &str| {
        status
            .conditions
            .iter()
            .any(|condition| condition.type_ == kind && condition.status == ConditionStatus::True)
    };
    (condition("Ready") || condition("Reconciling"))
        && status.last_attempted_revision.as_deref() == Some(revision)
}

/// Enqueues the dependants of a Kustomization as soon as it is ready, or ready at another revision; in upstream they notice
/// when their `--requeue-dependency` has passed (KC-DEP-012).
pub(crate) fn on_ready(change: &Change<Kustomization>, waiting: &Waiting, enqueue: &Enqueue) {
    if let Some(new) = became_ready(change) {
        for dependant in waiting.dependants(&Key::of(&**new)) {
            enqueue.add(dependant, &**new);
        }
    }
}

/// The Kustomization, if a change made it ready or brought a ready one to another revision.
fn became_ready(change: &Change<Kustomization>) -> Option<&Arc<Kustomization>> {
    let (old, new) = match change {
        Change::Added { new, .. } => (None, new),
        Change::Updated { old, new } => (Some(old), new),
        Change::Deleted { .. } => return None,
    };
    let was_so =
        old.is_some_and(|old| is_ready(old) && applied_revision(old) == applied_revision(new));
    (is_ready(new) && !was_so).then_some(new)
}

/// Enqueues the Kustomizations that refer to a ConfigMap or Secret when it changes (KC-DEP-015).
pub(crate) fn on_config<C>(
    kind: ValuesKind,
    kustomizations: Cache<Kustomization>,
) -> impl Fn(&Change<C>, &Enqueue) + Send + Sync + 'static
where
    C: Resource,
{
    move |change, enqueue| {
        if matches!(change, Change::Added { initial: true, .. }) {
            return; // every Kustomization is reconciled at the start anyhow
        }
        let config = change.object();
        let (namespace, name) = (
            config.meta().namespace.as_deref().unwrap_or_default(),
            config.name_any(),
        );
        for object in kustomizations.all() {
            let own = object.metadata.namespace.as_deref();
            if own == Some(namespace) && refers_to(&object, &kind, &name) {
                enqueue.add(Key::of(&*object), &*object);
            }
        }
    }
}

/// Passes on only the changes of objects that have or had the label to be watched; none without a selector (KC-PROC-025,
/// KC-PROC-037).
pub(crate) fn only_marked<C, E>(
    selector: Option<Arc<Selector>>,
    on_change: impl Fn(&Change<C>, &E) + Send + Sync + 'static,
) -> impl Fn(&Change<C>, &E) + Send + Sync + 'static
where
    C: Resource,
{
    move |change, enqueue| {
        let Some(selector) = &selector else { return };
        let is_marked = |object: &C| {
            let labels = object.meta().labels.as_ref();
            selector.matches(|key| labels?.get(key).map(String::as_str))
        };
        let was_marked = match change {
            Change::Updated { old, .. } => is_marked(old),
            _ => false,
        };
        if was_marked || is_marked(change.object()) {
            on_change(change, enqueue);
        }
    }
}

fn refers_to(object: &Kustomization, kind: &ValuesKind, name: &str) -> bool {
    let spec = &object.spec;
    let variables = spec
        .post_build
        .iter()
        .flat_map(|post_build| &post_build.substitute_from);
    let mut named = variables
        .filter(|reference| reference.kind == *kind)
        .map(|reference| reference.name.as_str());
    let kube_config = spec.kube_config.as_ref();
    let cluster = match kind {
        ValuesKind::ConfigMap => kube_config
            .and_then(|config| config.config_map_ref.as_ref())
            .map(|reference| &*reference.name),
        _ => kube_config
            .and_then(|config| config.secret_ref.as_ref())
            .map(|reference| &*reference.name),
    };
    let decryption = spec
        .decryption
        .as_ref()
        .and_then(|decryption| decryption.secret_ref.as_ref());
    let keys = decryption
        .filter(|_| *kind == ValuesKind::Secret)
        .map(|reference| &*reference.name);
    named.any(|named| named == name) || cluster == Some(name) || keys == Some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};

    use flux_api::kustomize::{
        KustomizationSpec, KustomizationStatus, PostBuild, SubstituteReference,
    };
    use flux_api::meta::{Artifact, Condition};
    use flux_api::source::{GitRepository, GitRepositorySpec, GitRepositoryStatus};
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn source(revision: Option<&str>) -> Arc<GitRepository> {
        let mut source = GitRepository::new("repo", GitRepositorySpec::default());
        let artifact = revision.map(|revision| Artifact {
            revision: revision.into(),
            ..Artifact::default()
        });
        source.status = Some(GitRepositoryStatus {
            artifact,
            ..GitRepositoryStatus::default()
        });
        Arc::new(source)
    }

    #[test]
    fn only_new_revisions_trigger_a_reconcile() {
        // KC-SRC-017, KC-SRC-018
        let updated = |old, new| {
            new_revision(&Change::Updated {
                old: source(old),
                new: source(new),
            })
            .map(str::to_owned)
        };
        assert_eq!(updated(Some("a"), Some("b")), Some("b".into()));
        assert_eq!(updated(None, Some("b")), Some("b".into()));
        assert_eq!(updated(Some("b"), Some("b")), None);
        assert_eq!(updated(Some("b"), None), None);
        assert_eq!(
            new_revision(&Change::Added {
                new: source(Some("a")),
                initial: false
            }),
            Some("a")
        );
        let gone = |revision| {
            let old = source(revision);
            new_revision(&Change::Deleted { old }).map(str::to_owned)
        };
        assert_eq!(gone(Some("a")), Some("a".into()));
        assert_eq!(gone(None), None);
    }

    #[test]
    fn sources_are_indexed_by_kind_namespace_and_name() {
        // KC-SRC-021, KC-API-011
        let object = |kind: SourceKind, namespace: Option<&str>| {
            let mut object = Kustomization::new("apps", KustomizationSpec::default());
            object.metadata.namespace = Some("own".into());
            object.spec.source_ref.kind = kind;
            object.spec.source_ref.name = "app".into();
            object.spec.source_ref.namespace = namespace.map(str::to_owned);
            object
        };
        let bucket = |namespace| object(SourceKind::Bucket, namespace);
        for (object, kind, namespace, name, want) in [
            (bucket(None), SourceKind::Bucket, "own", "app", true),
            (bucket(None), SourceKind::GitRepository, "own", "app", false),
            (bucket(None), SourceKind::Bucket, "other", "app", false),
            (bucket(None), SourceKind::Bucket, "own", "b", false),
            (bucket(Some("")), SourceKind::Bucket, "own", "app", true),
            (
                bucket(Some("other")),
                SourceKind::Bucket,
                "other",
                "app",
                true,
            ),
            (
                bucket(Some("other")),
                SourceKind::Bucket,
                "own",
                "app",
                false,
            ),
        ] {
            let source = Key::new(namespace, name);
            assert_eq!(
                is_built_from(&object, &kind, &source),
                want,
                "{kind:?} {source}"
            );
        }
    }

    #[test]
    fn an_attempted_revision_does_not_trigger_again() {
        // KC-SRC-017
        let object = |condition: &str, status: &str| {
            let condition = Condition {
                type_: condition.into(),
                status: status.into(),
                reason: "x".into(),
                ..Condition::default()
            };
            let mut object = Kustomization::new("apps", KustomizationSpec::default());
            object.status = Some(KustomizationStatus {
                conditions: vec![condition],
                last_attempted_revision: Some("a".into()),
                ..KustomizationStatus::default()
            });
            object
        };
        assert!(has_attempted(&object("Ready", "True"), "a"));
        assert!(has_attempted(&object("Reconciling", "True"), "a"));
        assert!(!has_attempted(&object("Ready", "False"), "a"));
        assert!(!has_attempted(&object("Ready", "True"), "b"));
    }

    #[test]
    fn only_labelled_configs_trigger_a_reconcile() {
        // KC-PROC-025, KC-PROC-037
        let config = |label: &str| {
            let mut config = ConfigMap::default();
            config.metadata.labels = Some(BTreeMap::from([("watch".into(), label.into())]));
            Arc::new(config)
        };
        let (marked, unmarked) = (|| config("Enabled"), || config("Disabled"));
        let selector = Selector::parse("watch=Enabled").unwrap();
        for (change, want) in [
            (
                Change::Added {
                    new: marked(),
                    initial: false,
                },
                true,
            ),
            (
                Change::Added {
                    new: unmarked(),
                    initial: false,
                },
                false,
            ),
            (
                Change::Updated {
                    old: marked(),
                    new: marked(),
                },
                true,
            ),
            (
                Change::Updated {
                    old: unmarked(),
                    new: marked(),
                },
                true,
            ),
            (
                Change::Updated {
                    old: marked(),
                    new: unmarked(),
                },
                true,
            ),
            (
                Change::Updated {
                    old: unmarked(),
                    new: unmarked(),
                },
                false,
            ),
            (Change::Deleted { old: marked() }, true),
            (Change::Deleted { old: unmarked() }, false),
        ] {
            for (selector, want) in [(Some(selector.clone()), want), (None, false)] {
                let filtered = only_marked(
                    selector.map(Arc::new),
                    |_: &Change<ConfigMap>, passed: &AtomicBool| {
                        passed.store(true, Ordering::Relaxed);
                    },
                );
                let passed = AtomicBool::new(false);
                filtered(&change, &passed);
                assert_eq!(passed.into_inner(), want, "{change:?}");
            }
        }
    }

    #[test]
    fn config_references_are_indexed() {
        // KC-DEP-015
        let reference = SubstituteReference {
            kind: ValuesKind::Secret,
            name: "vars".into(),
            optional: true,
        };
        let post_build = Some(PostBuild {
            substitute_from: vec![reference],
            ..PostBuild::default()
        });
        let object = Kustomization::new(
            "apps",
            KustomizationSpec {
                post_build,
                ..KustomizationSpec::default()
            },
        );
        assert!(refers_to(&object, &ValuesKind::Secret, "vars"));
        assert!(!refers_to(&object, &ValuesKind::ConfigMap, "vars"));
        assert!(!refers_to(&object, &ValuesKind::Secret, "other"));
    }

    #[test]
    fn dependants_are_triggered_by_readiness_and_new_revisions() {
        // KC-DEP-012
        let object = |ready: &str, revision: &str| {
            let condition = Condition {
                type_: "Ready".into(),
                status: ready.into(),
                reason: "x".into(),
                ..Condition::default()
            };
            let mut object = Kustomization::new("apps", KustomizationSpec::default());
            object.metadata.generation = Some(1);
            object.status = Some(KustomizationStatus {
                conditions: vec![condition],
                observed_generation: Some(1),
                last_applied_revision: Some(revision.into()),
                ..KustomizationStatus::default()
            });
            Arc::new(object)
        };
        let old_generation = {
            let mut object = (*object("True", "a")).clone();
            object.metadata.generation = Some(2);
            Arc::new(object)
        };
        let updated = |old: Arc<Kustomization>, new: Arc<Kustomization>| {
            became_ready(&Change::Updated { old, new }).is_some()
        };
        assert!(updated(object("False", "a"), object("True", "a")));
        assert!(updated(object("True", "a"), object("True", "b")));
        assert!(!updated(object("True", "a"), object("True", "a")));
        assert!(!updated(object("True", "a"), object("Unknown", "b")));
        assert!(!updated(object("False", "a"), old_generation.clone()));
        assert!(updated(old_generation, object("True", "a")));
        let added = |new, initial| became_ready(&Change::Added { new, initial }).is_some();
        assert!(added(object("True", "a"), false));
        assert!(!added(object("False", "a"), false));
        let old = object("True", "a");
        assert!(became_ready(&Change::Deleted { old }).is_none());
    }
}
