//! The ledger's rows about the definitions: for each the part of a definition that it is about, and what must be there.

use flux_api::definitions;
use serde_json::{Value, json};

/// The definition of this name.
fn definition(name: &str) -> Value {
    let found = definitions()
        .into_iter()
        .find(|definition| definition.object["metadata"]["name"] == name);
    found
        .unwrap_or_else(|| panic!("no definition {name}"))
        .object
}

/// The version that is stored.
fn stored(definition: &Value) -> &Value {
    let versions = definition["spec"]["versions"].as_array().unwrap();
    versions
        .iter()
        .find(|version| version["storage"] == true)
        .unwrap()
}

/// Row, name, stored version, short names, and the last category.
const NAMES: [(&str, &str, &str, &[&str], &str); 15] = [
    (
        "DI-CRD-001",
        "gitrepositories.source.toolkit.fluxcd.io",
        "v1",
        &["gitrepo"],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-002",
        "ocirepositories.source.toolkit.fluxcd.io",
        "v1",
        &["ocirepo"],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-003",
        "buckets.source.toolkit.fluxcd.io",
        "v1",
        &[],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-004",
        "helmrepositories.source.toolkit.fluxcd.io",
        "v1",
        &["helmrepo"],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-005",
        "helmcharts.source.toolkit.fluxcd.io",
        "v1",
        &["hc"],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-006",
        "externalartifacts.source.toolkit.fluxcd.io",
        "v1",
        &["ea"],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-007",
        "artifactgenerators.source.extensions.fluxcd.io",
        "v1beta1",
        &["ag"],
        "fluxcd-sources",
    ),
    (
        "DI-CRD-008",
        "kustomizations.kustomize.toolkit.fluxcd.io",
        "v1",
        &["ks"],
        "fluxcd-appliers",
    ),
    (
        "DI-CRD-009",
        "helmreleases.helm.toolkit.fluxcd.io",
        "v2",
        &["hr"],
        "fluxcd-appliers",
    ),
    (
        "DI-CRD-010",
        "alerts.notification.toolkit.fluxcd.io",
        "v1",
        &[],
        "fluxcd-notifications",
    ),
    (
        "DI-CRD-011",
        "providers.notification.toolkit.fluxcd.io",
        "v1",
        &[],
        "fluxcd-notifications",
    ),
    (
        "DI-CRD-012",
        "receivers.notification.toolkit.fluxcd.io",
        "v1",
        &[],
        "fluxcd-notifications",
    ),
    (
        "DI-CRD-013",
        "imagerepositories.image.toolkit.fluxcd.io",
        "v1",
        &["imgrepo", "imagerepo"],
        "fluxcd-images",
    ),
    (
        "DI-CRD-014",
        "imagepolicies.image.toolkit.fluxcd.io",
        "v1",
        &["imgpol", "imagepol"],
        "fluxcd-images",
    ),
    (
        "DI-CRD-015",
        "imageupdateautomations.image.toolkit.fluxcd.io",
        "v1",
        &["iua", "imgupd", "imgauto"],
        "fluxcd-images",
    ),
];

#[test]
fn crd_names_versions_and_categories_match_upstream() {
    for (row, name, version, short_names, category) in NAMES {
        let definition = definition(name);
        assert_eq!(stored(&definition)["name"], version, "{row}");
        assert_eq!(definition["spec"]["versions"][0]["name"], version, "{row}");
        let names = &definition["spec"]["names"];
        let expected = match short_names {
            [] => Value::Null,
            _ => json!(short_names),
        };
        // SC-PROC-102 (the kinds of source-controller)
        assert_eq!(names["shortNames"], expected, "{row}");
        // SC-PROC-101
        assert_eq!(
            names["categories"],
            json!(["all", "fluxcd", category]),
            "{row}"
        );
        // KC-API-003, SC-PROC-101
        let substitution = "kustomize.toolkit.fluxcd.io/substitute";
        assert_eq!(
            definition["metadata"]["annotations"][substitution], "disabled",
            "{row}"
        );
    }
}

#[test]
fn notification_kinds_still_serve_v1beta3() {
    for (row, name) in [
        ("DI-CRD-010", "alerts.notification.toolkit.fluxcd.io"),
        ("DI-CRD-011", "providers.notification.toolkit.fluxcd.io"),
    ] {
        let definition = definition(name);
        let second = &definition["spec"]["versions"][1];
        assert_eq!(
            (&second["name"], &second["served"], &second["deprecated"]),
            (&json!("v1beta3"), &json!(true), &json!(true)),
            "{row}"
        );
    }
}

#[test]
fn kustomization_columns_and_status_match_upstream() {
    let definition = definition("kustomizations.kustomize.toolkit.fluxcd.io");
    // KC-API-001
    assert_eq!(
        definition["spec"]["names"],
        json!({
            "kind": "Kustomization", "listKind": "KustomizationList", "plural": "kustomizations",
            "singular": "kustomization", "shortNames": ["ks"], "categories": ["all", "fluxcd", "fluxcd-appliers"]
        })
    );
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    let version = stored(&definition);
    // KC-API-004
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| {
            (
                column["name"].as_str().unwrap(),
                column["jsonPath"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("Age", ".metadata.creationTimestamp"),
            ("Ready", r#".status.conditions[?(@.type=="Ready")].status"#),
            (
                "Status",
                r#".status.conditions[?(@.type=="Ready")].message"#
            ),
        ]
    );
    // KC-API-005
    assert_eq!(version["subresources"], json!({"status": {}}));
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert_eq!(status["default"], json!({"observedGeneration": -1}));
}

const INTERVAL: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
const TIMEOUT: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";

#[test]
fn kustomization_specs_are_validated_like_upstream() {
    let definition = definition("kustomizations.kustomize.toolkit.fluxcd.io");
    let spec = &stored(&definition)["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let sources = json!([
        "OCIRepository",
        "GitRepository",
        "Bucket",
        "ExternalArtifact"
    ]);
    let policies = json!(["MirrorPrune", "Delete", "WaitForTermination", "Orphan"]);
    let text = json!("string");
    let truth = json!("boolean");
    for (row, pointer, expected) in [
        (
            "KC-API-006",
            "/required",
            json!(["interval", "prune", "sourceRef"]),
        ),
        (
            "KC-API-008",
            "/properties/interval/pattern",
            json!(INTERVAL),
        ),
        (
            "KC-API-009",
            "/properties/retryInterval/pattern",
            json!(INTERVAL),
        ),
        (
            "KC-API-011",
            "/properties/sourceRef/required",
            json!(["kind", "name"]),
        ),
        (
            "KC-API-011",
            "/properties/sourceRef/properties/kind/enum",
            sources,
        ),
        ("KC-API-012", "/properties/path/type", text.clone()),
        ("KC-API-013", "/properties/prune/type", truth.clone()),
        ("KC-API-013", "/properties/prune/default", Value::Null),
        ("KC-API-014", "/properties/deletionPolicy/enum", policies),
        ("KC-API-015", "/properties/suspend/type", truth.clone()),
        ("KC-API-016", "/properties/force/default", json!(false)),
        ("KC-API-017", "/properties/wait/type", truth.clone()),
        (
            "KC-API-018",
            "/properties/targetNamespace/minLength",
            json!(1),
        ),
        (
            "KC-API-018",
            "/properties/targetNamespace/maxLength",
            json!(63),
        ),
        ("KC-API-019", "/properties/namePrefix/minLength", json!(1)),
        ("KC-API-019", "/properties/namePrefix/maxLength", json!(200)),
        ("KC-API-019", "/properties/nameSuffix/minLength", json!(1)),
        ("KC-API-019", "/properties/nameSuffix/maxLength", json!(200)),
        (
            "KC-API-020",
            "/properties/commonMetadata/properties/labels/additionalProperties/type",
            text.clone(),
        ),
        (
            "KC-API-020",
            "/properties/commonMetadata/properties/annotations/additionalProperties/type",
            text.clone(),
        ),
        (
            "KC-API-021",
            "/properties/patches/items/required",
            json!(["patch"]),
        ),
        (
            "KC-API-021",
            "/properties/patches/items/properties/target/properties/annotationSelector/type",
            text.clone(),
        ),
        (
            "KC-API-021",
            "/properties/patches/items/properties/target/required",
            Value::Null,
        ),
        (
            "KC-API-022",
            "/properties/images/items/required",
            json!(["name"]),
        ),
        (
            "KC-API-022",
            "/properties/images/items/properties/newTag/type",
            text.clone(),
        ),
        (
            "KC-API-023",
            "/properties/components/items/type",
            text.clone(),
        ),
        (
            "KC-API-023",
            "/properties/ignoreMissingComponents/type",
            truth,
        ),
        (
            "KC-API-024",
            "/properties/buildMetadata/items/enum",
            json!(["originAnnotations", "transformerAnnotations"]),
        ),
        (
            "KC-API-025",
            "/properties/postBuild/properties/substitute/additionalProperties/type",
            text.clone(),
        ),
        (
            "KC-API-025",
            "/properties/postBuild/properties/substituteFrom/items/required",
            json!(["kind", "name"]),
        ),
        (
            "KC-API-025",
            "/properties/postBuild/properties/substituteFrom/items/properties/kind/enum",
            json!(["Secret", "ConfigMap"]),
        ),
        (
            "KC-API-025",
            "/properties/postBuild/properties/substituteFrom/items/properties/name/maxLength",
            json!(253),
        ),
        (
            "KC-API-025",
            "/properties/postBuild/properties/substituteFrom/items/properties/optional/default",
            json!(false),
        ),
        (
            "KC-API-025",
            "/properties/postBuild/properties/substituteStrategy/enum",
            json!(["WithVariables", "Always"]),
        ),
        (
            "KC-API-026",
            "/properties/decryption/required",
            json!(["provider"]),
        ),
        (
            "KC-API-026",
            "/properties/decryption/properties/provider/enum",
            json!(["sops"]),
        ),
        (
            "KC-API-027",
            "/properties/dependsOn/items/required",
            json!(["name"]),
        ),
        (
            "KC-API-027",
            "/properties/dependsOn/items/properties/readyExpr/type",
            text.clone(),
        ),
        (
            "KC-API-029",
            "/properties/healthCheckExprs/items/required",
            json!(["apiVersion", "current"]),
        ),
        (
            "KC-API-030",
            "/properties/ignore/items/required",
            json!(["paths"]),
        ),
        ("KC-API-031", "/properties/serviceAccountName/type", text),
        (
            "KC-API-032",
            "/properties/kubeConfig/properties/secretRef/required",
            json!(["name"]),
        ),
        (
            "KC-API-032",
            "/properties/kubeConfig/properties/configMapRef/required",
            json!(["name"]),
        ),
        (
            "RT-ACL-009",
            "/properties/kubeConfig/x-kubernetes-validations",
            json!([{
                "rule": "has(self.configMapRef) != has(self.secretRef)",
                "message": "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"
            }]),
        ),
    ] {
        let got = spec.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*got, expected, "{row}: {pointer}");
    }
}

#[test]
fn sources_are_validated_like_upstream() {
    for (name, reconciled) in [
        ("gitrepositories.source.toolkit.fluxcd.io", true),
        ("ocirepositories.source.toolkit.fluxcd.io", true),
        ("buckets.source.toolkit.fluxcd.io", true),
        ("helmrepositories.source.toolkit.fluxcd.io", true),
        ("helmcharts.source.toolkit.fluxcd.io", true),
        ("externalartifacts.source.toolkit.fluxcd.io", false),
    ] {
        let definition = definition(name);
        let properties = &stored(&definition)["schema"]["openAPIV3Schema"]["properties"];
        let (spec, status) = (&properties["spec"]["properties"], &properties["status"]);
        let default = if reconciled {
            json!({"observedGeneration": -1})
        } else {
            Value::Null
        };
        assert_eq!(status["default"], default, "SC-PROC-103: {name}");
        let artifact = &status["properties"]["artifact"];
        assert_eq!(
            (
                &artifact["required"],
                &artifact["properties"]["digest"]["pattern"]
            ),
            (
                &json!(["digest", "lastUpdateTime", "path", "revision", "url"]),
                &json!("^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$")
            ),
            "SC-PROC-105: {name}"
        );
        let condition = &status["properties"]["conditions"]["items"]["properties"];
        for (field, keyword, limit) in [
            ("message", "maxLength", 32768),
            ("reason", "minLength", 1),
            ("reason", "maxLength", 1024),
            ("type", "maxLength", 316),
        ] {
            assert_eq!(
                condition[field][keyword], limit,
                "SC-PROC-106: {name} {field}"
            );
        }
        let handled = &status["properties"]["lastHandledReconcileAt"]["type"];
        assert_eq!(*handled == "string", reconciled, "SC-PROC-106: {name}");
        if reconciled {
            assert_eq!(spec["interval"]["pattern"], INTERVAL, "SC-PROC-104: {name}");
        }
        if let Some(timeout) = spec.get("timeout") {
            assert_eq!(timeout["pattern"], TIMEOUT, "SC-PROC-104: {name}");
        }
        if !reconciled {
            let fields: Vec<_> = status["properties"].as_object().unwrap().keys().collect();
            assert_eq!(
                fields,
                ["artifact", "conditions", "exportedInputs"],
                "SC-EXT-003"
            );
        }
    }
}
