//! How the objects of a Kustomization are marked as its own.

use flux_runtime::queue::Key;

/// The group of the kind, which marks what it owns.
pub(super) const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// The name under which objects are applied (KC-PROC-049).
pub(crate) const FIELD_MANAGER: &str = "kustomize-controller";

/// A label or annotation of the group, with its value.
pub(super) type Mark = (String, String);

/// The label or annotation `name` of the group.
pub(super) fn mark(name: &str, value: &str) -> Mark {
    (format!("{GROUP}/{name}"), value.to_owned())
}

/// The labels of the objects that belong to a Kustomization.
pub(super) fn labels(owner: &Key) -> Vec<Mark> {
    vec![
        mark("name", &owner.name),
        mark("namespace", &owner.namespace),
    ]
}

/// The selector of all objects that have these labels.
pub(super) fn selector(labels: &[Mark]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    labels.join(",")
}

/// The marks of objects that are not applied (KC-SSA-015).
pub(super) fn not_applied() -> Vec<Mark> {
    vec![mark("reconcile", "disabled"), mark("ssa", "Ignore")]
}

/// The marks of objects that are not pruned (KC-PRUNE-006).
pub(super) fn not_pruned() -> Vec<Mark> {
    let mut marks = not_applied();
    marks.push(mark("prune", "disabled"));
    marks
}
