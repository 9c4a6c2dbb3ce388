//! Tests of the triggers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use flux_api::kustomize::{Kustomization, KustomizationSpec, KustomizationStatus};
use flux_api::meta::{Artifact, Condition};
use flux_api::source::{GitRepository, GitRepositorySpec, GitRepositoryStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;

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

fn revision(object: &Kustomization) -> Option<&str> {
    object.status.as_ref()?.last_applied_revision.as_deref()
}

#[test]
fn dependants_hear_of_an_object_that_becomes_ready_or_moves_on() {
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
        became_ready(&Change::Updated { old, new }, revision).is_some()
    };
    assert!(updated(object("False", "a"), object("True", "a")));
    assert!(updated(object("True", "a"), object("True", "b")));
    assert!(!updated(object("True", "a"), object("True", "a")));
    assert!(!updated(object("True", "a"), object("Unknown", "b")));
    assert!(!updated(object("False", "a"), old_generation.clone()));
    assert!(updated(old_generation, object("True", "a")));
    let added = |new, initial| became_ready(&Change::Added { new, initial }, revision).is_some();
    assert!(added(object("True", "a"), false));
    assert!(!added(object("False", "a"), false));
    let old = object("True", "a");
    assert!(became_ready(&Change::Deleted { old }, revision).is_none());
}

#[test]
fn the_metadata_of_a_config_is_known_by_the_kind_of_the_config() {
    // KC-DEP-015
    let mut metadata = PartialObjectMeta::<Secret>::default();
    metadata.metadata.namespace = Some("ns".into());
    metadata.metadata.name = Some("vars".into());
    let reference = ObjectRef::new("Secret", Key::new("ns", "vars"));
    assert_eq!(ObjectRef::of(&metadata), reference);
}
