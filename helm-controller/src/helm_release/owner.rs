//! The labels that mark what belongs to a HelmRelease.

use flux_runtime::queue::Key;

/// The API group of the kind, prefix of its labels and annotations.
pub(super) const GROUP: &str = "helm.toolkit.fluxcd.io";
/// The field manager of everything that is written (HC-PROC-054).
pub(crate) const FIELD_MANAGER: &str = "helm-controller";

/// The labels of the objects that belong to a HelmRelease (HC-CHART-003, HC-CRD-005).
pub(super) fn labels(owner: &Key) -> [(String, String); 2] {
    [
        (format!("{GROUP}/name"), owner.name.clone()),
        (format!("{GROUP}/namespace"), owner.namespace.clone()),
    ]
}
