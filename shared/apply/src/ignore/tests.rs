//! Tests of ignore rules.

use flux_api::meta::{IgnoreRule, Selector};
use flux_cluster::Object;
use serde_json::{Value, json};

use super::IgnoreRules;

fn rules(paths: &[&str], target: Option<Selector>) -> IgnoreRules {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    IgnoreRules::compile(&[IgnoreRule { paths, target }]).unwrap()
}

fn deployment(replicas: i64, image: &str, managers: &Value) -> Object {
    Object::new(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "apps", "uid": "u", "resourceVersion": "1",
            "labels": { "tier": "front" }, "managedFields": managers,
        },
        "spec": { "replicas": replicas, "template": { "spec": { "containers": [
            { "name": "side", "image": "s" }, { "name": "main", "image": image },
        ]}}},
    }))
    .unwrap()
}

// KC-SSA-037 KC-SSA-038
#[test]
fn target_patterns_are_anchored_and_all_fields_must_match() {
    let (live, dry_run) = (
        deployment(5, "a", &json!([])),
        deployment(1, "a", &json!([])),
    );
    let text = |text: &str| Some(text.to_owned());
    for (what, target, drifted) in [
        ("everything", None, false),
        ("an empty target", Some(Selector::default()), false),
        (
            "the kind",
            Some(Selector {
                kind: text("Deploy.*"),
                ..Selector::default()
            }),
            false,
        ),
        (
            "part of the kind",
            Some(Selector {
                kind: text("Deploy"),
                ..Selector::default()
            }),
            true,
        ),
        (
            "another name",
            Some(Selector {
                kind: text("Deployment"),
                name: text("api"),
                ..Selector::default()
            }),
            true,
        ),
        (
            "a label",
            Some(Selector {
                label_selector: text("tier in (front,back)"),
                ..Selector::default()
            }),
            false,
        ),
        (
            "no annotation",
            Some(Selector {
                annotation_selector: text("a=b"),
                ..Selector::default()
            }),
            true,
        ),
        (
            "group and version",
            Some(Selector {
                group: text("apps"),
                version: text("v1"),
                ..Selector::default()
            }),
            false,
        ),
    ] {
        assert_eq!(
            rules(&["/spec/replicas"], target).has_drifted(&live, &dry_run),
            drifted,
            "{what}"
        );
    }
    let broken = Selector {
        kind: text("("),
        ..Selector::default()
    };
    let error = IgnoreRules::compile(&[IgnoreRule {
        paths: vec![],
        target: Some(broken),
    }])
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create ignore rule selector: invalid kind regex"
    );
}

// KC-SSA-039 KC-SSA-040 KC-SSA-044
#[test]
fn ignored_fields_are_not_drift_and_may_be_missing() {
    let (live, dry_run) = (
        deployment(5, "a", &json!([])),
        deployment(1, "b", &json!([])),
    );
    let image = "/spec/template/spec/containers/1/image";
    assert!(rules(&["/spec/replicas"], None).has_drifted(&live, &dry_run));
    assert!(
        !rules(
            &[
                "/spec/replicas",
                image,
                "/spec/none/9/x",
                "/metadata/annotations/a~1b"
            ],
            None
        )
        .has_drifted(&live, &dry_run)
    );
    let rule = |path: &str| IgnoreRule {
        paths: vec![path.to_owned()],
        target: None,
    };
    let both = IgnoreRules::compile(&[rule("/spec/replicas"), rule(image)]).unwrap();
    assert!(!both.has_drifted(&live, &dry_run));
}

// RT-SSA-016
#[test]
fn an_ignored_field_is_left_to_its_manager_or_unchanged() {
    let vpa = json!({ "manager": "vpa", "operation": "Apply", "fieldsV1": { "f:spec": {
        "f:replicas": {},
        "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"main\"}": { "f:image": {} } } } },
    }}});
    let mut edit = vpa.clone();
    edit["operation"] = json!("Update");
    let image = "/spec/template/spec/containers/1/image";
    let side = "/spec/template/spec/containers/0/image";
    for (what, managers, path, value) in [
        // KC-SSA-041
        ("owned by another", json!([vpa]), "/spec/replicas", None),
        // KC-SSA-042
        ("owned by another, in a list", json!([vpa]), image, None),
        ("of another item", json!([vpa]), side, Some(json!("s"))),
        (
            "updated by another",
            json!([edit]),
            "/spec/replicas",
            Some(json!(5)),
        ),
        ("owned by nobody", json!([]), image, Some(json!("a"))),
    ] {
        let (live, mut dry_run) = (deployment(5, "a", &managers), deployment(1, "b", &managers));
        dry_run.fields_mut()["spec"]["template"]["spec"]["containers"][0]["image"] = json!("new");
        let mut payload = dry_run.clone();
        for resolution in rules(&[path], None).resolve(&live, &dry_run, "flux") {
            resolution.apply(&mut payload);
        }
        let got = payload.into_value();
        assert_eq!(got.pointer(path), value.as_ref(), "{what}");
    }
    // RT-SSA-027: what the manifest leaves out, the server may have set by default
    let defaulted = deployment(5, "a", &json!([]));
    let dry_run = deployment(1, "a", &json!([]));
    let mut payload = Object::new(json!({ "spec": { "paused": true } })).unwrap();
    let rules_of = rules(&["/spec/replicas", "/spec/paused"], None);
    let resolved = rules_of.resolve(&defaulted, &dry_run, "flux");
    assert_eq!(resolved.len(), 1);
    for one in &resolved {
        one.apply(&mut payload);
    }
    assert_eq!(payload.into_value(), json!({ "spec": { "paused": true } }));
    // KC-SSA-043
    let missing = Object::new(json!({})).unwrap();
    assert_eq!(
        rules(&["/spec/replicas"], None).resolve(&missing, &deployment(1, "b", &json!([])), "flux"),
        []
    );
}
