//! The flags and feature gates of the process that apply to every Kustomization.

use std::collections::BTreeSet;
use std::time::Duration;

use flux_apply::order::GroupKind;
use flux_tenancy::Access;

/// The flags and feature gates that apply to every Kustomization.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Policy {
    pub(crate) access: Access,
    pub(crate) requeue_dependency: Duration,
    pub(crate) default_service_account: String,
    pub(crate) concurrent_ssa: usize,
    pub(crate) override_managers: Vec<String>,
    /// Managers whose fields are taken over before the dry run (KC-SSA-045).
    pub(crate) early_override_managers: Vec<String>,
    pub(crate) custom_stage: BTreeSet<GroupKind>,
    pub(crate) fail_fast: bool,
    /// Whether health checks list the objects of a kind even if there are only a few (KC-PROC-030).
    pub(crate) health_by_kind: bool,
    pub(crate) cancel_health_checks: bool,
    /// Whether dependencies with an expression have to pass the other checks too (KC-PROC-034).
    pub(crate) additive_expressions: bool,
    /// Whether each run that succeeded is reported at its end, as commit statuses need it (KC-PROC-075).
    pub(crate) report_success: bool,
    pub(crate) group_change_log: bool,
    pub(crate) migrate_api_version: bool,
}
