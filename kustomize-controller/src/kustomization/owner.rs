//! The labels and annotations that mark the objects of a Kustomization.

use flux_runtime::queue::Key;

/// The API group of the kind, prefix of its labels and annotations.
pub(super) const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// The label with the name of the Kustomization that an object belongs to.
pub(crate) const NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
/// The label with its namespace.
pub(crate) const NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// The field manager for server-side apply (KC-PROC-049).
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
        (NAME_LABEL.to_owned(), owner.name.clone()),
        (NAMESPACE_LABEL.to_owned(), owner.namespace.clone()),
    ]
}

/// The label selector for all objects with these labels.
pub(super) fn selector(labels: &[Mark]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    labels.join(",")
}

/// The annotations and labels of objects that are skipped on apply (KC-SSA-015).
pub(super) fn not_applied() -> Vec<Mark> {
    vec![mark("reconcile", "disabled"), mark("ssa", "Ignore")]
}

/// The annotations and labels of objects that are not pruned (KC-PRUNE-006).
pub(super) fn not_pruned() -> Vec<Mark> {
    let mut marks = not_applied();
    marks.push(mark("prune", "disabled"));
    marks
}
