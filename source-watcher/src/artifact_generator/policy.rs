//! The flags of the process that apply to every generator.

use std::time::Duration;

/// The flags that apply to every generator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Whether sources and artifacts in other namespaces are refused (SW-PROC-009).
    pub(crate) no_cross_namespace: bool,
    /// When a run is repeated whose sources are not available (SW-PROC-007).
    pub(crate) requeue_dependency: Duration,
    /// The account that is asked for rights where a generator names none (SW-PROC-027).
    pub(crate) default_service_account: String,
    /// The field managers whose fields of Namespaces are taken over (SW-PROC-044).
    pub(crate) override_managers: Vec<String>,
    /// How long one run may take (SW-PROC-006).
    pub(crate) timeout: Duration,
}
