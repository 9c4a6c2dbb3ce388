//! Differences of single objects and their texts. Detection on a cluster is tested on a real one.

use flux_api::meta::IgnoreRule;
use flux_apply::ignore::IgnoreRules;
use flux_cluster::{Object, RequestError, Resource};
use serde_json::{Value, json};

use super::difference::{Difference, Kind};
use super::{Detected, aggregate};
use crate::error::DriftError;

fn object(value: Value) -> Object {
    Object::new(value).unwrap()
}

fn resource(kind: &str) -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: String::new(),
        namespaced: true,
    }
}

fn map(data: Value) -> Value {
    let mut map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "m", "namespace": "apps", "resourceVersion": "7", "labels": { "a": "1" }, "generation": 1 },
        "status": { "x": 1 },
    });
    map["data"] = data;
    map
}

fn between(live: &Value, applied: &Value, rules: &[IgnoreRule]) -> Difference {
    let rules = IgnoreRules::compile(rules).unwrap();
    let (live, applied) = (object(live.clone()), object(applied.clone()));
    let desired = applied.clone();
    Difference::between(&desired, resource(desired.kind()), live, applied, &rules)
}

fn changed(additions: usize, changes: usize, removals: usize) -> Kind {
    Kind::Changed {
        additions,
        changes,
        removals,
    }
}

#[test]
fn drift_is_what_a_dry_run_would_change() {
    let live = map(json!({ "k": "v", "large": "x".repeat(500) }));
    let edit = |pointer: &str, value: Value| {
        let mut applied = live.clone();
        *applied.pointer_mut(pointer).unwrap() = value;
        applied
    };
    // HC-DRIFT-006
    for (applied, kind) in [
        (live.clone(), Kind::Unchanged),
        (
            edit("/metadata/resourceVersion", json!("8")),
            Kind::Unchanged,
        ),
        (edit("/metadata/generation", json!(2)), Kind::Unchanged),
        (edit("/status/x", json!(2)), Kind::Unchanged),
        (edit("/data/k", json!("w")), changed(0, 1, 0)),
        (
            edit("/metadata/labels", json!({ "a": "2" })),
            changed(0, 1, 0),
        ),
        // What others added to labels and annotations is no drift.
        (edit("/metadata/labels", json!({})), Kind::Unchanged),
        (
            edit("/metadata/labels", json!({ "a": "1", "b": "2" })),
            changed(1, 0, 0),
        ),
    ] {
        assert_eq!(between(&live, &applied, &[]).kind, kind, "{applied}");
    }
    let mut annotated = live.clone();
    annotated["metadata"]["annotations"] = json!({ "n": "1" });
    let difference = between(&live, &annotated, &[]);
    assert_eq!(
        difference.patch_for_log(),
        json!([{ "op": "add", "path": "/metadata/annotations", "value": { "n": "1" } }])
    );
    // What the server would remove is drift elsewhere.
    let mut more = live.clone();
    more["data"]["extra"] = json!("1");
    assert_eq!(between(&more, &live, &[]).kind, changed(0, 0, 1));
}

#[test]
fn ignored_fields_are_not_compared() {
    // HC-DRIFT-008
    let live = map(json!({ "k": "v", "l": "1", "large": "x".repeat(500) }));
    let applied = map(json!({ "k": "w", "l": "2", "large": "x".repeat(500) }));
    let rule = |paths: &[&str], target: Value| IgnoreRule {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        target: serde_json::from_value(target).unwrap(),
    };
    for (rules, kind) in [
        (vec![rule(&["/data/k"], json!(null))], changed(0, 1, 0)),
        (
            vec![
                rule(&["/data/k", "/data/none"], json!(null)),
                rule(&["/data/l"], json!({ "kind": "Config.*" })),
            ],
            Kind::Unchanged,
        ),
        (
            vec![rule(&["/data/k", "/data/l"], json!({ "kind": "Config" }))],
            changed(0, 2, 0),
        ),
        (
            vec![rule(
                &["/data"],
                json!({ "name": "m", "namespace": "apps", "version": "v1", "labelSelector": "a=1" }),
            )],
            Kind::Unchanged,
        ),
        (
            vec![rule(&["/data"], json!({ "labelSelector": "a!=1" }))],
            changed(0, 2, 0),
        ),
    ] {
        assert_eq!(between(&live, &applied, &rules).kind, kind, "{rules:?}");
    }
    // HC-DRIFT-009
    for (target, want) in [
        (
            json!({ "kind": "(" }),
            "failed to create ignore rule selector: invalid kind regex",
        ),
        (
            json!({ "labelSelector": "a in" }),
            "failed to create ignore rule selector: invalid label selector",
        ),
    ] {
        let error = IgnoreRules::compile(&[rule(&["/data"], target)]).unwrap_err();
        let error = flux_errors::chain(&DriftError::from(error));
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn values_of_secrets_are_masked_in_logged_patches() {
    // HC-DRIFT-015, RT-SSA-023
    let secret = |data: Value| {
        let mut secret = map(data);
        secret["kind"] = json!("Secret");
        secret["type"] = json!("x".repeat(500));
        secret
    };
    let live = secret(json!({ "a": "b2xk", "same": "c2FtZQ==" }));
    let patch = |applied: Value| between(&live, &applied, &[]).patch_for_log();
    let applied = secret(json!({ "a": "bmV3", "same": "c2FtZQ==", "more": "bW9yZQ==" }));
    assert_eq!(
        patch(applied),
        json!([
            { "op": "replace", "path": "/data", "value": { "a": "*** (after)", "same": "***", "more": "***" } },
        ])
    );
    let mut applied = secret(json!({ "a": "bmV3", "same": "c2FtZQ==", "gone": "b2xk" }));
    applied["data"]["large"] = json!("x".repeat(500));
    let mut live = applied.clone();
    live["data"]["a"] = json!("b2xk");
    let difference = between(&live, &applied, &[]);
    assert_eq!(
        difference.patch_for_log(),
        json!([{ "op": "replace", "path": "/data/a", "value": "*** (after)" }])
    );
    let shown = format!("{difference:?}");
    assert!(
        !shown.contains("b2xk") && !shown.contains("bmV3"),
        "{shown}"
    );
}

#[test]
fn findings_are_summarised_as_upstream_does() {
    let named = |name: &str| {
        let mut value = map(json!({}));
        value["metadata"]["name"] = json!(name);
        object(value)
    };
    let mut cluster_scoped = map(json!({}));
    cluster_scoped["metadata"]["namespace"] = json!("");
    let difference = |kind: Kind, object: &Object| Difference {
        kind,
        ..Difference::removed(object, resource("ConfigMap"))
    };
    let mut detected = Detected {
        differences: vec![
            difference(Kind::Unchanged, &named("a")),
            difference(changed(1, 2, 3), &named("b")),
            difference(Kind::Removed, &object(cluster_scoped)),
            difference(Kind::Excluded, &named("d")),
        ],
        errors: Vec::new(),
    };
    // HC-DRIFT-013
    assert_eq!(
        detected.summary(),
        "ConfigMap/apps/b changed (1 additions, 2 changes, 3 removals)\nConfigMap/m removed\nConfigMap/apps/d excluded"
    );
    // HC-DRIFT-015
    assert_eq!(detected.brief(), "removed: 1, changed: 1, excluded: 1");
    assert!(detected.has_changes());
    // HC-DRIFT-016
    detected
        .differences
        .retain(|each| matches!(each.kind, Kind::Unchanged | Kind::Excluded));
    assert!(!detected.has_changes());
    // HC-DRIFT-011
    assert_eq!(detected.error(), None);
    let failed = |text: &str| DriftError::DryRun {
        text: text.to_owned(),
    };
    detected.errors = vec![failed("a"), failed("b"), failed("a")];
    assert_eq!(detected.error().as_deref(), Some("[a, b]"));
    assert_eq!(
        aggregate(vec!["a".to_owned(), "a".to_owned()]).as_deref(),
        Some("a")
    );
    // HC-DRIFT-004
    let scope = DriftError::Scope {
        kind: "Widget".to_owned(),
        source: RequestError::local("no matches for kind \"Widget\" in version \"x.io/v1\""),
    };
    assert_eq!(
        flux_errors::chain(&scope),
        "failed to determine if Widget is namespace scoped: no matches for kind \"Widget\" in version \"x.io/v1\""
    );
}
