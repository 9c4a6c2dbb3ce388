//! Tests that every field of the spec that changes the build reaches the overlay.

use flux_api::kustomize::KustomizationSpec;
use flux_kustomize::flux::{Image, Overlay, Patch, Selector};
use serde_json::{Value, json};

use super::super::overlay::overlay;

fn overlay_of(fields: Value) -> Overlay {
    let Value::Object(mut spec) = fields else {
        unreachable!("the fields of a spec")
    };
    let source = json!({"kind": "Bucket", "name": "b"});
    spec.extend([
        ("interval".to_owned(), json!("10m")),
        ("prune".to_owned(), json!(true)),
        ("sourceRef".to_owned(), source),
    ]);
    let spec: KustomizationSpec = serde_json::from_value(spec.into()).unwrap();
    overlay(&spec)
}

fn selector(of: impl FnOnce(&mut Selector)) -> Selector {
    let mut selector = Selector::default();
    of(&mut selector);
    selector
}

#[test]
fn every_spec_field_is_in_the_overlay() {
    let found = overlay_of(json!({
        // KC-BLD-008
        "targetNamespace": "prod",
        // KC-BLD-009
        "namePrefix": "pre-",
        "nameSuffix": "-post",
        // KC-BLD-010
        "patches": [{"patch": "first"}, {"patch": "second", "target": {"name": "web"}}],
        // KC-BLD-012
        "components": ["../one", "../two"],
        // KC-BLD-014
        "ignoreMissingComponents": true,
        // KC-BLD-015
        "images": [
            {"name": "app", "newName": "registry.example.com/app", "newTag": "v2", "digest": "sha256:aa"},
            {"name": "other"},
        ],
        // KC-BLD-016
        "buildMetadata": ["originAnnotations", "transformerAnnotations"],
    }));
    let image = |name: &str, new_name: &str, new_tag: &str, digest: &str| Image {
        name: name.to_owned(),
        new_name: new_name.to_owned(),
        new_tag: new_tag.to_owned(),
        digest: digest.to_owned(),
    };
    // Without `..`, so that a new field fails to compile until it is added here.
    let want = Overlay {
        target_namespace: Some("prod".to_owned()),
        name_prefix: Some("pre-".to_owned()),
        name_suffix: Some("-post".to_owned()),
        patches: vec![
            Patch {
                patch: "first".to_owned(),
                target: None,
            },
            Patch {
                patch: "second".to_owned(),
                target: Some(selector(|to| to.name = "web".to_owned())),
            },
        ],
        components: vec!["../one".to_owned(), "../two".to_owned()],
        ignore_missing_components: true,
        images: vec![
            image("app", "registry.example.com/app", "v2", "sha256:aa"),
            image("other", "", "", ""),
        ],
        build_metadata: vec![
            "originAnnotations".to_owned(),
            "transformerAnnotations".to_owned(),
        ],
        patches_strategic_merge: Vec::new(),
        patches_json6902: Vec::new(),
    };
    assert_eq!(found, want);
}

#[test]
fn every_patch_target_field_selects() {
    // KC-BLD-011
    type Field = fn(&mut Selector) -> &mut String;
    let fields: [(&str, Field); 7] = [
        ("group", |to| &mut to.group),
        ("version", |to| &mut to.version),
        ("kind", |to| &mut to.kind),
        ("name", |to| &mut to.name),
        ("namespace", |to| &mut to.namespace),
        ("labelSelector", |to| &mut to.label_selector),
        ("annotationSelector", |to| &mut to.annotation_selector),
    ];
    for (name, field) in fields {
        let found = overlay_of(json!({"patches": [{"patch": "p", "target": {(name): "value"}}]}));
        let want = Some(selector(|to| "value".clone_into(field(to))));
        assert_eq!(found.patches[0].target, want, "{name}");
    }
}

#[test]
fn empty_or_absent_fields_do_not_change_the_root_kustomization() {
    // KC-BLD-008, KC-BLD-009, KC-BLD-016
    let empty = json!({"targetNamespace": "", "namePrefix": "", "nameSuffix": "", "patches": [],
        "components": [], "images": [], "buildMetadata": []});
    for fields in [json!({}), empty] {
        assert_eq!(overlay_of(fields), Overlay::default());
    }
}
