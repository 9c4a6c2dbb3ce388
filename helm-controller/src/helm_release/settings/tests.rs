//! The spec's settings, and their defaults.

use serde_json::json;

use super::*;

/// The HelmRelease `apps/web` with this spec.
pub(in crate::helm_release) fn object(spec: serde_json::Value) -> HelmRelease {
    let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "apps"}});
    object["spec"] = spec;
    serde_json::from_value(object).unwrap()
}

// HC-ACT-023, HC-API-008
#[test]
fn a_release_is_named_by_the_spec_or_after_its_object() {
    let name = |spec| release_name(&object(spec));
    assert_eq!(name(json!({})), "web");
    assert_eq!(name(json!({"targetNamespace": "prod"})), "prod-web");
    assert_eq!(
        name(json!({"targetNamespace": "prod", "releaseName": "site"})),
        "site"
    );
    let mut long = object(json!({"targetNamespace": "a-very-lengthy-target-namespace"}));
    long.metadata.name = Some("with-a-nice-object-name".to_owned());
    assert_eq!(
        release_name(&long),
        "a-very-lengthy-target-namespace-with-a-n-97af5d7f41f3"
    );
    assert_eq!(
        full_release_name(&long),
        "a-very-lengthy-target-namespace-with-a-nice-object-name"
    );
}

// HC-ACT-024, HC-API-009
#[test]
fn the_records_are_in_the_own_namespace_by_default() {
    let both = |spec| {
        let object = object(spec);
        (
            release_namespace(&object).to_owned(),
            storage_namespace(&object).to_owned(),
        )
    };
    let pair = |release: &str, storage: &str| (release.to_owned(), storage.to_owned());
    assert_eq!(both(json!({})), pair("apps", "apps"));
    assert_eq!(
        both(json!({"targetNamespace": "prod"})),
        pair("prod", "apps")
    );
    assert_eq!(
        both(json!({"targetNamespace": "prod", "storageNamespace": "store"})),
        pair("prod", "store")
    );
}

#[test]
fn times_and_counts_have_upstreams_defaults() {
    // HC-API-010, HC-API-011
    assert_eq!(timeout(&object(json!({}))).to_string(), "5m0s");
    assert_eq!(
        timeout(&object(json!({"timeout": "90s"}))).to_string(),
        "1m30s"
    );
    assert_eq!(max_history(&object(json!({}))), 5);
    assert_eq!(max_history(&object(json!({"maxHistory": 0}))), 0);
    assert_eq!(max_history(&object(json!({"maxHistory": -1}))), 0);
    // HC-API-031
    assert_eq!(drift_mode(&object(json!({}))), DriftMode::Disabled);
    assert_eq!(
        drift_mode(&object(json!({"driftDetection": {}}))),
        DriftMode::Disabled
    );
    for (mode, want) in [
        ("enabled", DriftMode::Enabled),
        ("warn", DriftMode::Warn),
        ("disabled", DriftMode::Disabled),
    ] {
        let spec = json!({"driftDetection": {"mode": mode}});
        assert_eq!(drift_mode(&object(spec)), want);
    }
}

// HC-ACT-027
#[test]
fn another_chart_is_a_new_release_by_default() {
    assert!(reinstalls_other_chart(&object(json!({}))));
    assert!(reinstalls_other_chart(&object(json!({"upgrade": {}}))));
    let with = |name: &str| {
        reinstalls_other_chart(&object(
            json!({"upgrade": {"chartNameChangeStrategy": name}}),
        ))
    };
    assert!(with("Reinstall") && !with("InPlaceUpdate"));
}

#[test]
fn objects_are_applied_server_side_unless_told_otherwise() {
    // HC-ACT-091, HC-PROC-041
    let method = |spec, helm3| install_method(&object(spec), helm3);
    assert_eq!(method(json!({}), false), ApplyMethod::ServerSide);
    assert_eq!(method(json!({}), true), ApplyMethod::ClientSide);
    let off = json!({"install": {"serverSideApply": false}});
    assert_eq!(method(off, false), ApplyMethod::ClientSide);
    let on = json!({"install": {"serverSideApply": true}});
    assert_eq!(method(on, true), ApplyMethod::ServerSide);
    // HC-ACT-093, HC-ROLL-003
    assert_eq!(later_method(None), ApplyMethodChoice::Auto);
    assert_eq!(
        later_method(Some(&ServerSideApplyMode::Auto)),
        ApplyMethodChoice::Auto
    );
    assert_eq!(
        later_method(Some(&ServerSideApplyMode::Enabled)),
        ApplyMethodChoice::Fixed(ApplyMethod::ServerSide)
    );
    assert_eq!(
        later_method(Some(&ServerSideApplyMode::Disabled)),
        ApplyMethodChoice::Fixed(ApplyMethod::ClientSide)
    );
}

// HC-WAIT-001
#[test]
fn the_strategy_of_waits_follows_spec_and_gate() {
    let strategy = |spec, disabled, helm3| wait_strategy(&object(spec), disabled, helm3);
    let named = |name: &str| json!({"waitStrategy": {"name": name}});
    assert_eq!(strategy(json!({}), false, false), WaitStrategy::Watcher);
    assert_eq!(strategy(json!({}), false, true), WaitStrategy::Legacy);
    assert_eq!(
        strategy(named("poller"), false, true),
        WaitStrategy::Watcher
    );
    assert_eq!(
        strategy(named("legacy"), false, false),
        WaitStrategy::Legacy
    );
    assert_eq!(
        strategy(named("legacy"), true, false),
        WaitStrategy::HookOnly
    );
}

// HC-POST-007
#[test]
fn hooks_are_post_rendered_with_the_templates_by_default() {
    use flux_helm::PostRenderStrategy as Strategy;
    let strategy = |spec, helm3| post_render_strategy(&object(spec), helm3);
    assert_eq!(strategy(json!({}), false), Strategy::Combined);
    assert_eq!(strategy(json!({}), true), Strategy::NoHooks);
    for (name, want) in [
        ("combined", Strategy::Combined),
        ("separate", Strategy::Separate),
        ("nohooks", Strategy::NoHooks),
    ] {
        assert_eq!(strategy(json!({"postRenderStrategy": name}), true), want);
    }
}

// HC-UNI-008
#[test]
fn dependents_are_deleted_in_the_background_by_default() {
    assert_eq!(propagation(&object(json!({}))), Propagation::Background);
    for (name, want) in [
        ("background", Propagation::Background),
        ("foreground", Propagation::Foreground),
        ("orphan", Propagation::Orphan),
    ] {
        let spec = json!({"uninstall": {"deletionPropagation": name}});
        assert_eq!(propagation(&object(spec)), want);
    }
}

#[test]
fn remediation_has_upstreams_defaults() {
    let of = |spec, attempt| Remediation::of(&object(spec), attempt);
    // HC-API-024
    assert_eq!(
        of(json!({"test": {"ignoreFailures": true}}), Attempt::Install),
        Remediation {
            retries: 0,
            ignores_tests: true,
            remediates_last: false,
            remedy: Remedy::Uninstall,
        }
    );
    // HC-API-027
    let retries = |retries: i64| {
        let spec = json!({"upgrade": {"remediation": {"retries": retries}}});
        of(spec, Attempt::Upgrade)
    };
    assert!(!retries(0).remediates_last && retries(2).remediates_last);
    assert!(!retries(-1).remediates_last);
    assert_eq!(retries(0).remedy, Remedy::Rollback);
    let spec = json!({"upgrade": {"remediation":
        {"strategy": "uninstall", "ignoreTestFailures": false, "remediateLastFailure": true}},
        "test": {"ignoreFailures": true}});
    assert_eq!(
        of(spec, Attempt::Upgrade),
        Remediation {
            retries: 0,
            ignores_tests: false,
            remediates_last: true,
            remedy: Remedy::Uninstall,
        }
    );
    // HC-ACT-059
    for (count, failures, exhausted) in [
        (0, 0, false),
        (0, 1, true),
        (2, 2, false),
        (2, 3, true),
        (-1, 99, false),
    ] {
        assert_eq!(
            retries(count).exhausted(failures),
            exhausted,
            "{count} {failures}"
        );
    }
}

// HC-ACT-055, HC-ACT-064, HC-PROC-043
#[test]
fn failures_are_retried_where_the_strategy_or_the_gate_says_so() {
    let retry = |spec, attempt: Attempt, default| {
        attempt
            .retry_interval(&object(spec), default)
            .map(|interval| interval.as_secs())
    };
    let strategy = |of: &str, strategy: serde_json::Value| json!({of: {"strategy": strategy}});
    let on = json!({"name": "RetryOnFailure", "retryInterval": "7s"});
    assert_eq!(retry(json!({}), Attempt::Install, false), None);
    assert_eq!(retry(json!({}), Attempt::Install, true), Some(300));
    for (word, attempt, other) in [
        ("install", Attempt::Install, Attempt::Upgrade),
        ("upgrade", Attempt::Upgrade, Attempt::Install),
    ] {
        assert_eq!(retry(strategy(word, on.clone()), attempt, false), Some(7));
        assert_eq!(retry(strategy(word, on.clone()), other, false), None);
        let bare = json!({"name": "RetryOnFailure"});
        assert_eq!(retry(strategy(word, bare), attempt, false), Some(300));
        let remediate = json!({"name": "RemediateOnFailure"});
        assert_eq!(retry(strategy(word, remediate), attempt, true), None);
    }
}

// HC-ACT-060, HC-ACT-069
#[test]
fn failures_count_for_the_attempt_that_failed() {
    let mut status = HelmReleaseStatus::default();
    assert_eq!(Attempt::last(&status), None);
    status.last_attempted_release_action = Some(Attempt::Upgrade.action());
    assert_eq!(Attempt::last(&status), Some(Attempt::Upgrade));
    Attempt::Upgrade.count_failure(&mut status);
    Attempt::Upgrade.count_failure(&mut status);
    Attempt::Install.count_failure(&mut status);
    assert_eq!(Attempt::Upgrade.failures(&status), 2);
    assert_eq!(Attempt::Install.failures(&status), 1);
}
