//! When failures are forgotten, and which requests by annotation count.

use flux_helm::{DigestAlgorithm, config_digest};
use serde_json::json;

use super::*;

fn object(annotations: &serde_json::Value, handled: Option<&str>) -> HelmRelease {
    let object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "apps", "generation": 3, "annotations": annotations},
        "spec": {"interval": "1m"}, "status": {"lastHandledReconcileAt": handled}});
    serde_json::from_value(object).unwrap()
}

fn values() -> Values {
    [("a".to_owned(), "b".into())].into_iter().collect()
}

fn attempted() -> HelmReleaseStatus {
    HelmReleaseStatus {
        last_attempted_generation: Some(3),
        last_attempted_revision: Some("1.0.0".to_owned()),
        last_attempted_config_digest: config_digest(DigestAlgorithm::Sha256, &values()),
        ..HelmReleaseStatus::default()
    }
}

// HC-ACT-029
#[test]
fn failures_are_forgotten_when_the_attempt_is_a_new_one() {
    let reason = |mut status: HelmReleaseStatus| {
        reset_reason(&object(&json!({}), None), &mut status, "1.0.0", &values())
    };
    assert_eq!(reason(attempted()), None);
    let generation = HelmReleaseStatus {
        last_attempted_generation: Some(2),
        ..attempted()
    };
    assert_eq!(
        reason(generation),
        Some("generation differs from last attempt")
    );
    let version = HelmReleaseStatus {
        last_attempted_revision: Some("1.0.1".to_owned()),
        ..attempted()
    };
    assert_eq!(
        reason(version),
        Some("chart version differs from last attempt")
    );
    for digest in ["sha256:00", "odd"] {
        let digest = HelmReleaseStatus {
            last_attempted_config_digest: Some(digest.to_owned()),
            ..attempted()
        };
        assert_eq!(reason(digest), Some("values differ from last attempt"));
    }
}

// HC-API-035, HC-ACT-029
#[test]
fn checksums_of_older_controllers_are_compared() {
    let digest = config_digest(DigestAlgorithm::Sha1, &values()).unwrap();
    let checksum = digest.strip_prefix("sha1:").unwrap();
    let reason = |checksum: &str| {
        let mut status = HelmReleaseStatus {
            last_attempted_config_digest: None,
            last_attempted_values_checksum: Some(checksum.to_owned()),
            ..attempted()
        };
        reset_reason(&object(&json!({}), None), &mut status, "1.0.0", &values())
    };
    assert_eq!(reason(checksum), None);
    assert_eq!(reason("00"), Some("values differ from last attempt"));
}

// RT-ANN-003, RT-ANN-004
#[test]
fn requests_count_once_and_with_a_request_to_reconcile() {
    let cases = [
        // requestedAt, the other annotation, handled before: reconcile, other; whether it counts
        (Some("2"), Some("2"), Some("1"), Some("1"), true),
        (Some("2"), Some("2"), None, None, true),
        (Some("2"), Some("2"), Some("2"), Some("1"), false),
        (Some("2"), Some("2"), Some("1"), Some("2"), false),
        (Some("3"), Some("2"), Some("1"), Some("1"), false),
        (None, Some("2"), None, None, false),
        (Some("2"), None, Some("1"), Some("1"), false),
    ];
    for (requested, asked, handled, before, counts) in cases {
        for (name, is_reset) in [(RESET_AT, true), (FORCE_AT, false)] {
            let mut annotations = json!({});
            for (key, value) in [(REQUESTED_AT, requested), (name, asked)] {
                if let Some(value) = value {
                    annotations[key] = value.into();
                }
            }
            let object = object(&annotations, handled);
            let mut status = attempted();
            let before = before.map(str::to_owned);
            let (got, held) = if is_reset {
                // HC-ACT-031
                status.last_handled_reset_at = before.clone();
                let reason = reset_reason(&object, &mut status, "1.0.0", &values());
                (reason.is_some(), status.last_handled_reset_at)
            } else {
                // HC-ACT-032
                status.last_handled_force_at = before.clone();
                let forced = is_forced(&object, &mut status);
                assert!(!is_forced(&object, &mut status), "it counts once");
                (forced, status.last_handled_force_at)
            };
            assert_eq!(
                got, counts,
                "{requested:?} {asked:?} {handled:?} {before:?}"
            );
            let want = asked.map(str::to_owned).or(before);
            assert_eq!(held, want, "the annotation is handled in any case");
        }
    }
}

// HC-ACT-026, HC-ACT-069
#[test]
fn counters_are_cleared_together() {
    let mut status = HelmReleaseStatus {
        install_failures: Some(1),
        upgrade_failures: Some(2),
        ..HelmReleaseStatus::default()
    };
    count_failure(&mut status);
    count_failure(&mut status);
    assert_eq!(status.failures, Some(2));
    clear(&mut status);
    assert_eq!(status, HelmReleaseStatus::default());
}
