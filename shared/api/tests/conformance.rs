//! The generated definitions against those of Flux 2.10.1 and against the older versions they replace, property by
//! property. Descriptions are ours and left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flux_api::definitions;
use oracle::conformance;
use serde_json::{Value, json};

fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn without_descriptions(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !(key.as_str() == "description" && value.is_string()))
            .map(|(key, value)| (key.clone(), without_descriptions(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_descriptions).collect(),
        other => other.clone(),
    }
}

/// The path of every difference between two values.
fn differences(path: &str, want: &Value, got: &Value, found: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(left), Value::Object(right)) => {
            for key in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                let below = format!("{path}.{key}");
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => differences(&below, left, right, found),
                    (Some(left), None) => found.push(format!("{below}: missing, want {left}")),
                    (None, right) => found.push(format!(
                        "{below}: not wanted, got {}",
                        right.unwrap_or(&Value::Null)
                    )),
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ if want == got => {}
        _ => found.push(format!("{path}: want {want}, got {got}")),
    }
}

/// The version of that name, as the definition would be with this version alone.
fn only_version(object: &Value, name: &str) -> Option<Value> {
    object["spec"]["versions"]
        .as_array()?
        .iter()
        .find(|version| version["name"] == name)
        .cloned()
}

/// The deprecated fields that upstream's v1 of Alert and Provider drops from stored objects and ours keeps
/// (NC-COMPAT-020, NC-COMPAT-021), with the schema they have in v1beta3.
fn without_kept_fields(file: &str, version: &mut Value) {
    let fields: &[&str] = match file {
        "notification.toolkit.fluxcd.io_alerts.yaml" => &["summary"],
        "notification.toolkit.fluxcd.io_providers.yaml" => &["interval", "proxy"],
        _ => return,
    };
    let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    for field in fields {
        let kept = spec["properties"].as_object_mut().unwrap().remove(*field);
        assert!(kept.is_some(), "{file}: {field}");
    }
}

/// What the ledger's rows say about them is in `rows.rs`.
#[test]
fn current_versions_are_structurally_equal_to_upstream() {
    let folder = conformance("crds-2.10");
    let mut found = Vec::new();
    let mut compared = 0;
    for definition in definitions() {
        let mut want = read(&folder.join(&definition.file_name));
        if let Some(metadata) = want["metadata"].as_object_mut() {
            // The annotation of the tool that wrote upstream's file.
            if let Some(annotations) = metadata
                .get_mut("annotations")
                .and_then(Value::as_object_mut)
            {
                annotations.remove("controller-gen.kubebuilder.io/version");
            }
            metadata.retain(|_, value| *value != json!({}));
        }
        let mut got = without_descriptions(&definition.object);
        let current = want["spec"]["versions"][0].take();
        want["spec"]["versions"] = json!([current]);
        let name = want["spec"]["versions"][0]["name"].as_str().unwrap();
        let mut version = only_version(&got, name).unwrap();
        without_kept_fields(&definition.file_name, &mut version);
        got["spec"]["versions"] = json!([version]);
        differences(&definition.file_name, &want, &got, &mut found);
        compared += 1;
    }
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n")
    );
    assert_eq!(compared, 15);
}

// SC-PROC-108 SC-PROC-109 KC-API-007
#[test]
fn older_versions_are_structurally_equal_to_the_last_ones_of_upstream() {
    let folder = conformance("crds-legacy");
    let definitions = definitions();
    let mut found = Vec::new();
    let mut compared = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let [group, plural, name] = stem.split('.').collect::<Vec<_>>()[..] else {
            panic!("{stem}")
        };
        let definition = definitions
            .iter()
            .find(|definition| {
                definition.file_name == format!("{group}.toolkit.fluxcd.io_{plural}.yaml")
            })
            .unwrap();
        let got = without_descriptions(&only_version(&definition.object, name).unwrap());
        if got["storage"] == json!(true) {
            continue; // the current version has its own test
        }
        let mut want = read(&path)["version"].clone();
        if want.get("deprecated").is_none() {
            // Two image kinds were removed without having been deprecated.
            want["deprecated"] = json!(true);
            want["deprecationWarning"] = got["deprecationWarning"].clone();
        }
        // The version that was current when upstream removed it is deprecated here.
        if let Some(warning) = want["deprecationWarning"].as_str() {
            want["deprecationWarning"] =
                json!(warning.replace("upgrade to v1beta3", "upgrade to v1"));
        }
        differences(&stem, &want, &got, &mut found);
        compared += 1;
    }
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n")
    );
    assert_eq!(compared, 27);
}

// RT-ANN-002
#[test]
fn only_reconciled_kinds_record_the_request() {
    let current = |definition: &flux_api::Definition| {
        let versions = definition.object["spec"]["versions"].as_array().unwrap();
        let stored = versions.iter().find(|version| version["storage"] == true);
        stored.unwrap().clone()
    };
    for definition in definitions() {
        let kind = definition.object["spec"]["names"]["kind"].as_str().unwrap();
        let status = &current(&definition)["schema"]["openAPIV3Schema"]["properties"]["status"];
        let records = !status["properties"]["lastHandledReconcileAt"].is_null();
        let is_static = matches!(kind, "Alert" | "Provider" | "ExternalArtifact");
        assert_eq!(records, !is_static, "{kind}");
    }
}

// DI-CRX-006 KC-API-002 SC-PROC-100
#[test]
fn one_version_is_stored_and_the_others_are_served_as_deprecated() {
    for definition in definitions() {
        let versions = definition.object["spec"]["versions"].as_array().unwrap();
        let (current, older) = versions.split_first().unwrap();
        assert_eq!(definition.object["spec"]["scope"], "Namespaced");
        assert!(definition.object["spec"].get("conversion").is_none());
        assert_eq!(
            (&current["served"], &current["storage"]),
            (&json!(true), &json!(true)),
            "{}",
            definition.file_name
        );
        for version in older {
            assert_eq!(
                (&version["served"], &version["storage"]),
                (&json!(true), &json!(false))
            );
            assert_eq!(version["deprecated"], json!(true));
            let warning = version["deprecationWarning"].as_str().unwrap();
            assert!(
                warning.starts_with(&format!("{} ", version["name"].as_str().unwrap())),
                "{warning}"
            );
        }
    }
}

#[test]
fn yaml_output_reads_back_equal() {
    for definition in definitions() {
        let back: Value = serde_saphyr::from_str(&definition.to_yaml()).unwrap();
        let mut found = Vec::new();
        differences(&definition.file_name, &definition.object, &back, &mut found);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

#[test]
fn the_files_in_manifests_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/crds");
    let mut expected = BTreeSet::from(["kustomization.yaml".to_owned()]);
    let list = fs::read_to_string(folder.join("kustomization.yaml")).unwrap_or_default();
    assert_eq!(list, flux_api::kustomization(&definitions()));
    for definition in definitions() {
        let present = fs::read_to_string(folder.join(&definition.file_name)).unwrap_or_default();
        assert!(
            present == definition.to_yaml(),
            "{} is out of date: run `cargo xcrds`",
            definition.file_name
        );
        expected.insert(definition.file_name);
    }
    let files: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, expected);
}

/// Every property of a definition has a description.
#[test]
fn every_property_has_a_description() {
    fn walk(path: &str, schema: &Value, missing: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let below = format!("{path}.{name}");
            if property.get("description").is_none() && !below.ends_with(".metadata") {
                missing.push(below.clone());
            }
            walk(&below, property, missing);
        }
        for inner in ["items", "additionalProperties"]
            .iter()
            .filter_map(|keyword| schema.get(keyword))
        {
            walk(path, inner, missing);
        }
    }
    let mut missing = Vec::new();
    for definition in definitions() {
        let version = &definition.object["spec"]["versions"][0];
        walk(
            &definition.file_name,
            &version["schema"]["openAPIV3Schema"],
            &mut missing,
        );
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
