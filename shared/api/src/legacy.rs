//! The older versions that a definition serves, so that manifests written for them apply unchanged.
//!
//! Their schemas are kept as differences: a JSON merge patch (RFC 7386) from each version to the one before it, counted
//! down from the current one. Only the current version is stored, and nothing is converted (strategy `None`), as
//! upstream did while it served these versions.

use serde_json::{Map, Value, json};

/// The file of differences of each kind, by plural name.
const DIFFERENCES: &[(&str, &str)] = &[
    ("alerts", include_str!("../legacy/alerts.json")),
    ("buckets", include_str!("../legacy/buckets.json")),
    (
        "gitrepositories",
        include_str!("../legacy/gitrepositories.json"),
    ),
    ("helmcharts", include_str!("../legacy/helmcharts.json")),
    ("helmreleases", include_str!("../legacy/helmreleases.json")),
    (
        "helmrepositories",
        include_str!("../legacy/helmrepositories.json"),
    ),
    (
        "imagepolicies",
        include_str!("../legacy/imagepolicies.json"),
    ),
    (
        "imagerepositories",
        include_str!("../legacy/imagerepositories.json"),
    ),
    (
        "imageupdateautomations",
        include_str!("../legacy/imageupdateautomations.json"),
    ),
    (
        "kustomizations",
        include_str!("../legacy/kustomizations.json"),
    ),
    (
        "ocirepositories",
        include_str!("../legacy/ocirepositories.json"),
    ),
    ("providers", include_str!("../legacy/providers.json")),
    ("receivers", include_str!("../legacy/receivers.json")),
];

/// The older versions of a kind, newest first, as in `spec.versions`.
///
/// # Panics
///
/// If a file of differences is not JSON: these files are part of the crate, and its tests read each.
pub(crate) fn versions(plural: &str, kind: &str, current: &Value) -> Vec<Value> {
    let Some((_, text)) = DIFFERENCES.iter().find(|(name, _)| *name == plural) else {
        return Vec::new();
    };
    let differences: Map<String, Value> =
        serde_json::from_str(text).expect("the crate's own data is JSON");
    let mut names: Vec<&String> = differences.keys().collect();
    names.sort_by(|left, right| right.cmp(left));

    let mut newer = current.clone();
    let mut older = Vec::new();
    for name in names {
        let version = step_down(&newer, name, kind, &current["name"], &differences[name]);
        older.push(version.clone());
        newer = version;
    }
    older
}

fn step_down(newer: &Value, name: &str, kind: &str, current: &Value, difference: &Value) -> Value {
    let mut version = newer.clone();
    version["name"] = json!(name);
    version["storage"] = json!(false);
    version["deprecated"] = json!(true);
    version["deprecationWarning"] = match difference.get("warning") {
        Some(warning) => warning.clone(),
        None => json!(format!(
            "{name} {kind} is deprecated, upgrade to {}",
            current.as_str().unwrap_or_default()
        )),
    };
    // They replace `required`, which the older versions have.
    if let Some(root) = version["schema"]["openAPIV3Schema"].as_object_mut() {
        root.remove("x-kubernetes-validations");
    }
    for (field, place) in [
        ("columns", "additionalPrinterColumns"),
        ("subresources", "subresources"),
    ] {
        if let Some(value) = difference.get(field) {
            version[place] = value.clone();
        }
    }
    for field in ["spec", "status"] {
        if let Some(patch) = difference.get(field) {
            merge(
                &mut version["schema"]["openAPIV3Schema"]["properties"][field],
                patch,
            );
        }
    }
    version
}

/// Applies a JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
