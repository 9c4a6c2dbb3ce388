//! The flags and feature gates of the process that apply to every HelmRelease.

use std::time::Duration;

use flux_helm::DigestAlgorithm;
use flux_tenancy::Access;

/// The flags and feature gates that apply to every HelmRelease.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(Default))]
#[allow(clippy::struct_excessive_bools, reason = "each is a gate")]
pub(crate) struct Policy {
    pub(crate) access: Access,
    pub(crate) requeue_dependency: Duration,
    pub(crate) default_service_account: String,
    /// The field managers whose fields are taken over before drift is looked for (HC-DRIFT-010).
    pub(crate) override_managers: Vec<String>,
    /// The algorithm of the digests in the status (HC-PROC-015).
    pub(crate) digests: DigestAlgorithm,
    /// Whether dependencies with an expression have to be ready too (HC-DEP-004).
    pub(crate) additive_expressions: bool,
    /// Whether `getHostByName` in templates resolves names (HC-PROC-033).
    pub(crate) allow_dns: bool,
    pub(crate) cancel_health_checks: bool,
    /// Whether failures are retried where the spec does not say what is done about them (HC-PROC-043).
    pub(crate) default_to_retry: bool,
    /// Whether the versions of charts get the digests of their artifacts (HC-CHART-026, HC-CHART-032).
    pub(crate) track_digests: bool,
    /// Whether the defaults of Helm 3 apply (HC-PROC-041).
    pub(crate) helm3_defaults: bool,
}
