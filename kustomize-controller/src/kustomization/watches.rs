//! Which Kustomizations a new revision of their source enqueues.

use flux_api::kustomize::Kustomization;
use flux_api::meta::{ConditionStatus, FluxObject};
use flux_references::in_order;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;

use super::plan::dependencies;

/// Of the Kustomizations of a source, those to enqueue for its new revision, dependencies first (KC-SRC-017 to KC-SRC-021).
/// For [`on_new_revision`](flux_references::triggers::on_new_revision).
pub(crate) fn concerned(
    kustomizations: Cache<Kustomization>,
) -> impl Fn(Vec<Key>, &str) -> Vec<Key> + Send + Sync + 'static {
    move |mut keys, revision| {
        let is_new = |object: &Kustomization| !has_attempted(object, revision);
        keys.retain(|key| {
            kustomizations
                .get(key)
                .is_some_and(|object| is_new(&object))
        });
        let depends_on = |key: &Key| {
            let object = kustomizations.get(key);
            object
                .map(|object| dependencies(&object))
                .unwrap_or_default()
        };
        let mut order = in_order(&keys, depends_on).unwrap_or_else(|cycle| {
            // In that case upstream enqueues none of them, so that a cycle elsewhere blocks all Kustomizations.
            tracing::error!(
                error = cycle.to_string(),
                "dependencies cannot be put in order, reconciling in the order of names"
            );
            keys
        });
        // The order includes dependencies that do not exist.
        order.retain(|key| kustomizations.has(key));
        order
    }
}

/// Whether a run on this revision has ended or is in progress (KC-SRC-017).
fn has_attempted(object: &Kustomization, revision: &str) -> bool {
    let is_true = |kind: &str| {
        let condition = object.condition(kind);
        condition.is_some_and(|condition| condition.status == ConditionStatus::True)
    };
    let status = object.status.as_ref();
    let attempted = status.and_then(|status| status.last_attempted_revision.as_deref());
    (is_true("Ready") || is_true("Reconciling")) && attempted == Some(revision)
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{KustomizationSpec, KustomizationStatus};
    use flux_api::meta::{Condition, DependencyReference};

    use super::*;

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
    fn a_new_revision_concerns_dependencies_first() {
        // KC-SRC-017, KC-SRC-019
        let kustomizations = Cache::default();
        let add = |name: &str, depends_on: &[&str], attempted: &str| {
            let depends_on = depends_on.iter().map(|name| DependencyReference {
                name: (*name).to_owned(),
                ..DependencyReference::default()
            });
            let spec = KustomizationSpec {
                depends_on: depends_on.collect(),
                ..KustomizationSpec::default()
            };
            let mut object = Kustomization::new(name, spec);
            object.metadata.namespace = Some("ns".into());
            object.status = Some(KustomizationStatus {
                conditions: vec![Condition {
                    type_: "Ready".into(),
                    status: "True".into(),
                    ..Condition::default()
                }],
                last_attempted_revision: Some(attempted.into()),
                ..KustomizationStatus::default()
            });
            kustomizations.upsert(object);
        };
        let chosen = |names: &[&str]| {
            let keys = names.iter().map(|name| Key::new("ns", *name)).collect();
            let chosen = concerned(kustomizations.clone())(keys, "new");
            chosen
                .into_iter()
                .map(|key| key.name)
                .collect::<Vec<_>>()
                .join(" ")
        };
        add("a", &["c", "gone"], "old");
        add("b", &[], "new");
        add("c", &[], "old");
        assert_eq!(chosen(&["a", "b", "c", "deleted"]), "c a");
        // KC-SRC-020
        add("x", &["y"], "old");
        add("y", &["x"], "old");
        assert_eq!(chosen(&["a", "x", "y"]), "a x y");
    }
}
