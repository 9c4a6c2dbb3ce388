//! Post-renderers, compared with kustomize's library, and the digests of their specification.

use std::sync::Arc;

use flux_api::helm::PostRenderer as Step;
use flux_api::meta::CommonMetadata;
use flux_helm::{
    Chart, DigestAlgorithm, File, PostRenderStrategy, PostRenderer as _, RenderOptions, Values,
    render,
};
use flux_kustomize::Allowance;
use oracle::Oracle;
use serde_json::{Value, json};

use super::{PostRenderers, common_metadata_digest, post_renderers_digest};

const MANIFESTS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b # comment\n  labels: {z: '1', a: x}\ndata:\n  long: \"a text of many words that goes on for more than eighty columns, so that it may be folded somewhere\"\n---\nkind: Deployment\napiVersion: apps/v1\nmetadata:\n  annotations:\n    note: kept\n  name: web\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: 'docker.io/library/web:1'}]}\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}\n";

fn steps(value: Value) -> Vec<Step> {
    serde_json::from_value(value).unwrap()
}

fn renderers(steps: &[Step], common: Option<&CommonMetadata>) -> PostRenderers {
    PostRenderers::new(steps, common, ("flux", "podinfo"), Allowance::unlimited())
}

fn metadata(value: Value) -> CommonMetadata {
    serde_json::from_value(value).unwrap()
}

/// The result of the same changes by kustomize's library.
fn theirs(go: &mut Oracle, manifests: &str, steps: &Value, common: &Value) -> String {
    let mut manifests = manifests.to_owned();
    let mut ask = |request: Value| go.ask(&request).text().unwrap_or_else(|error| error);
    for step in steps.as_array().into_iter().flatten() {
        let kustomize = &step["kustomize"];
        let mut patches = kustomize["patches"].clone();
        for patch in patches.as_array_mut().into_iter().flatten() {
            if let Some(target) = patch.get_mut("target") {
                let group_kind = json!({ "group": target["group"], "version": target["version"], "kind": target["kind"] });
                for (key, value) in group_kind.as_object().unwrap() {
                    if value.is_null() {
                        target.as_object_mut().unwrap().remove(key);
                    }
                }
            }
        }
        manifests = ask(json!({
            "mode": "kustomize", "manifests": manifests, "patches": patches, "images": kustomize["images"],
        }));
    }
    if !common.is_null() {
        manifests = ask(json!({
            "mode": "metadata", "manifests": manifests, "labels": common["labels"], "annotations": common["annotations"],
        }));
    }
    ask(json!({
        "mode": "metadata", "manifests": manifests,
        "labels": { "helm.toolkit.fluxcd.io/name": "podinfo", "helm.toolkit.fluxcd.io/namespace": "flux" },
    }))
}

#[test]
fn post_renderers_match_kustomize() {
    let Some(mut go) = Oracle::start("helm-postrender") else {
        return;
    };
    let patch = |patch: &str| json!({ "patch": patch });
    let target = |patch: &str, target: Value| json!({ "patch": patch, "target": target });
    for (steps_of, common) in [
        // HC-POST-002, HC-POST-005
        (json!([]), json!(null)),
        (json!([{}]), json!(null)),
        (json!([{ "kustomize": {} }]), json!(null)),
        // HC-POST-003
        (
            json!([]),
            json!({ "labels": { "a": "y", "helm.toolkit.fluxcd.io/name": "other", "n": "1" }, "annotations": { "note": "new", "o": "" } }),
        ),
        // HC-POST-001, HC-POST-004
        (
            json!([
                { "kustomize": { "images": [{ "name": "docker.io/library/web", "newName": "ghcr.io/web", "newTag": "2" }] } },
                { "kustomize": { "images": [{ "name": "ghcr.io/web", "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000" }] } },
            ]),
            json!(null),
        ),
        (
            json!([{ "kustomize": { "patches": [
                patch("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n"),
                target("- {op: add, path: /metadata/labels, value: {by: patch}}", json!({ "kind": "Deploy.*|Service", "name": "^(w|s)" })),
                target("- {op: replace, path: /data/long, value: short}", json!({ "version": "v1", "labelSelector": "a=x" })),
                target("$patch: delete\nkind: x\nmetadata: {name: x}\n", json!({ "annotationSelector": "note=none" })),
            ] } }]),
            json!({ "labels": { "by": "metadata" } }),
        ),
    ] {
        let common_of = (!common.is_null()).then(|| metadata(common.clone()));
        let ours = renderers(&steps(steps_of.clone()), common_of.as_ref()).run(MANIFESTS);
        let theirs = theirs(&mut go, MANIFESTS, &steps_of, &common);
        assert_eq!(
            ours.unwrap_or_else(|error| error),
            theirs,
            "{steps_of} {common}"
        );
    }
}

#[test]
fn post_render_errors_are_those_of_kustomize() {
    // HC-POST-006
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let twice = format!("{map}---\n{map}");
    let error = renderers(&[], None).run(&twice).unwrap_err();
    let known = "may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a.[noNs]";
    assert_eq!(error, known);
    // FR-H-050: a namespace that only one of them names tells them apart
    let other = map.replace("{name: a}", "{name: a, namespace: other}");
    let both = renderers(&[], None).run(&format!("{map}---\n{other}"));
    assert!(both.is_ok_and(|text| text.matches("name: a\n").count() == 2));
    let step = steps(
        json!([{ "kustomize": { "patches": [{ "patch": "kind: ConfigMap\nmetadata: {name: b}\napiVersion: v1\n" }] } }]),
    );
    let error = renderers(&step, None).run(map).unwrap_err();
    assert!(
        error.contains("no matches for Id ConfigMap.v1.[noGrp]/b.[noNs]"),
        "{error}"
    );
    // A Secret that cannot be patched is not quoted.
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2}\n";
    let step = steps(
        json!([{ "kustomize": { "patches": [{ "patch": "- {op: test, path: /data/a, value: x}", "target": { "kind": "Secret" } }] } }]),
    );
    let error = renderers(&step, None).run(secret).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn hooks_are_post_rendered_as_the_strategy_says() {
    // HC-POST-007, HC-POST-008
    let file = |name: &str, text: &str| File::new(name, text.to_owned());
    let map = |name: &str, hook: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{hook}")
    };
    let hook = "  annotations: {helm.sh/hook: pre-install}\n";
    let chart = |hook_name: &str| {
        Chart::from_files(vec![
            file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            file("templates/hook.yaml", &map(hook_name, hook)),
            file("templates/map.yaml", &map("a", "")),
        ])
        .unwrap()
    };
    let rendered = |chart: &Chart, strategy: &str| {
        let mut options = RenderOptions::new("rel", "apps");
        options.post_renderer = Some(Arc::new(renderers(&[], None)));
        options.post_render_strategy = PostRenderStrategy::named(strategy).unwrap();
        render(chart, &Values::new(), &options).map_err(|error| flux_errors::chain(&error))
    };
    for (strategy, labelled) in [
        ("", true),
        ("combined", true),
        ("separate", true),
        ("nohooks", false),
    ] {
        let rendered = rendered(&chart("h"), strategy).unwrap();
        let origin = "helm.toolkit.fluxcd.io/name: podinfo";
        assert_eq!(
            rendered.hooks[0].manifest.contains(origin),
            labelled,
            "{strategy}"
        );
        // HC-POST-009, HC-POST-010
        let manifest = rendered.manifest(false);
        assert!(
            manifest.contains("# Source: web/templates/map.yaml\n"),
            "{manifest}"
        );
        assert!(
            manifest.contains(origin) && !manifest.contains("postrender"),
            "{manifest}"
        );
    }
    // HC-POST-008, HC-POST-011, FR-H-049
    let same = chart("a");
    let error = rendered(&same, "combined").unwrap_err();
    assert_eq!(
        error,
        "error while running post render on files: may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a.[noNs]"
    );
    for strategy in ["separate", "nohooks"] {
        assert!(rendered(&same, strategy).is_ok(), "{strategy}");
    }
}

#[test]
fn digests_of_specifications_are_upstreams() {
    // HC-ACT-042: computed by upstream's code over the same objects
    let algorithm = DigestAlgorithm::Sha256;
    assert_eq!(post_renderers_digest(algorithm, &[]), "");
    assert_eq!(common_metadata_digest(algorithm, None), "");
    let digest_of = |text: &str| algorithm.digest(format!("{text}\n").as_bytes());
    let step = steps(json!([
        {},
        { "kustomize": { "images": [{ "name": "a", "digest": "sha256:0", "newTag": "t", "newName": "n" }], "patches": [
            { "patch": "a: <b> & c", "target": { "name": "n", "labelSelector": "l", "annotationSelector": "a", "namespace": "s", "kind": "k", "version": "v", "group": "g" } },
            { "patch": "x", "target": {} },
        ] } },
    ]));
    let text = r#"[{},{"kustomize":{"patches":[{"patch":"a: \u003cb\u003e \u0026 c","target":{"group":"g","version":"v","kind":"k","namespace":"s","name":"n","annotationSelector":"a","labelSelector":"l"}},{"patch":"x","target":{}}],"images":[{"name":"a","newName":"n","newTag":"t","digest":"sha256:0"}]}}]"#;
    assert_eq!(post_renderers_digest(algorithm, &step), digest_of(text));
    let common = metadata(json!({ "labels": { "b": "2", "a": "1" }, "annotations": {} }));
    let text = r#"{"labels":{"a":"1","b":"2"}}"#;
    assert_eq!(
        common_metadata_digest(algorithm, Some(&common)),
        digest_of(text)
    );
}
