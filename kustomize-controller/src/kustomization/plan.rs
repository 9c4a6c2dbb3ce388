//! What a Kustomization asks for, with its defaults filled in and what cannot be had refused. Pure.

use std::time::Duration;

use flux_api::kustomize::{DeletionPolicy, Kustomization};
use flux_api::meta::GoDuration;
use flux_runtime::Failure;
use flux_runtime::outcome::Next;
use kube::ResourceExt;

/// The least time that a run gets (KC-API-010).
const MIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The timings of a Kustomization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timings {
    /// Between runs that succeed.
    pub(crate) interval: Duration,
    /// After a run that failed.
    pub(crate) retry: Duration,
    /// For health checks and terminations.
    pub(crate) timeout: Duration,
}

impl Timings {
    pub(crate) fn of(object: &Kustomization) -> Self {
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
        }
    }
}

/// Whether the objects go when their Kustomization does (KC-PRUNE-014, KC-PRUNE-020).
pub(crate) fn deletes_objects(object: &Kustomization) -> bool {
    let tracked = object
        .status
        .as_ref()
        .and_then(|status| status.inventory.as_ref());
    if object.spec.suspend || tracked.is_none_or(|inventory| inventory.entries.is_empty()) {
        return false;
    }
    match object.spec.deletion_policy {
        None | Some(DeletionPolicy::MirrorPrune) => object.spec.prune,
        Some(DeletionPolicy::Delete | DeletionPolicy::WaitForTermination) => true,
        Some(_) => false,
    }
}

/// Refuses what this controller does not do, rather than leave it out silently: a manifest that is applied without being
/// decrypted, or to the wrong cluster, is worse than one that is not applied.
pub(crate) fn refuse_unsupported(
    object: &Kustomization,
    workload_identity: bool,
) -> Result<(), Failure> {
    let spec = &object.spec;
    if let Some(decryption) = &spec.decryption {
        if decryption
            .service_account_name
            .as_deref()
            .is_some_and(|name| !name.is_empty())
            && !workload_identity
        {
            // KC-PROC-064
            let message = "to use spec.decryption.serviceAccountName for decryption authentication please enable the \
                           ObjectLevelWorkloadIdentity feature gate in the controller";
            return Err(unobserved("FeatureGateDisabled", message));
        }
        return Err(unobserved(
            "BuildFailed",
            "spec.decryption is not supported by this controller yet: remove it, or keep upstream's image for this object",
        ));
    }
    if spec.kube_config.is_some() {
        let message = "spec.kubeConfig is not supported by this controller yet: remove it, or keep upstream's image for this object";
        return Err(unobserved("ReconciliationFailed", message));
    }
    if !spec.health_check_exprs.is_empty() {
        let message = "spec.healthCheckExprs is not supported by this controller yet: remove it, or keep upstream's image for this object";
        return Err(unobserved("InvalidCELExpression", message));
    }
    let expression = |dependency: &&flux_api::meta::DependencyReference| {
        dependency
            .ready_expr
            .as_deref()
            .is_some_and(|expression| !expression.is_empty())
    };
    if let Some(dependency) = spec.depends_on.iter().find(expression) {
        let message = format!(
            "the expression of dependency '{dependency}' is not supported by this controller yet: remove it, or keep upstream's image for this object"
        );
        return Err(unobserved("InvalidCELExpression", message));
    }
    Ok(())
}

/// A stall that leaves the generation unobserved (KC-API-033).
pub(crate) fn unobserved(
    reason: &'static str,
    cause: impl Into<flux_runtime::outcome::Cause>,
) -> Failure {
    Failure {
        next: Next::Stalled {
            generation_observed: false,
        },
        ..Failure::stalled(reason, cause)
    }
}

/// The namespace of the source that the object names (KC-API-011).
pub(crate) fn source_namespace(object: &Kustomization) -> String {
    let own = || object.namespace().unwrap_or_default();
    object
        .spec
        .source_ref
        .namespace
        .clone()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(own)
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{Decryption, KustomizationSpec, KustomizationStatus};
    use flux_api::meta::{ResourceInventory, ResourceRef};

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
            let timings = Timings::of(&kustomization(KustomizationSpec {
                interval: parse(interval),
                timeout: timeout.map(parse),
                retry_interval: retry.map(parse),
                ..KustomizationSpec::default()
            }));
            (timings.timeout.as_secs(), timings.retry.as_secs())
        };
        assert_eq!(timings("10m", None, None), (570, 600));
        assert_eq!(timings("40s", None, Some("1m")), (30, 60));
        assert_eq!(timings("10m", Some("5s"), None), (30, 600));
        assert_eq!(timings("10m", Some("15m"), None), (900, 600));
    }

    #[test]
    fn deletion_follows_the_policy() {
        // KC-PRUNE-014, KC-PRUNE-020
        use DeletionPolicy::{Delete, MirrorPrune, Orphan, WaitForTermination};
        let deletes =
            |policy: Option<DeletionPolicy>, prune: bool, suspend: bool, entries: usize| {
                let mut object = kustomization(KustomizationSpec {
                    deletion_policy: policy,
                    prune,
                    suspend,
                    ..KustomizationSpec::default()
                });
                let entries = vec![
                    ResourceRef {
                        id: "a_b__ConfigMap".into(),
                        version: "v1".into()
                    };
                    entries
                ];
                let inventory = Some(ResourceInventory { entries });
                object.status = Some(KustomizationStatus {
                    inventory,
                    ..KustomizationStatus::default()
                });
                deletes_objects(&object)
            };
        assert!(deletes(None, true, false, 1) && !deletes(None, false, false, 1));
        assert!(deletes(Some(MirrorPrune), true, false, 1));
        assert!(
            deletes(Some(Delete), false, false, 1)
                && deletes(Some(WaitForTermination), false, false, 1)
        );
        assert!(!deletes(Some(Orphan), true, false, 1));
        assert!(!deletes(Some(Delete), true, true, 1), "suspended");
        assert!(!deletes(Some(Delete), true, false, 0), "nothing tracked");
    }

    #[test]
    fn what_is_not_done_is_refused() {
        // KC-PROC-064
        let decryption = Decryption {
            service_account_name: Some("sops".into()),
            ..Decryption::default()
        };
        let object = kustomization(KustomizationSpec {
            decryption: Some(decryption),
            ..KustomizationSpec::default()
        });
        let failure = refuse_unsupported(&object, false).unwrap_err();
        assert_eq!(failure.reason, "FeatureGateDisabled");
        assert_eq!(
            failure.next,
            Next::Stalled {
                generation_observed: false
            }
        );
        assert_eq!(
            refuse_unsupported(&object, true).unwrap_err().reason,
            "BuildFailed"
        );
        assert!(refuse_unsupported(&kustomization(KustomizationSpec::default()), false).is_ok());
    }
}
