//! Drift detection: compares a live object with a dry run of applying it.

use flux_cluster::{Metadata, Object};
use serde_json::{Map, Value};

/// Whether an object differs from the result of a dry run of applying it (RT-SSA-009, KC-SSA-020).
///
/// The labels, the annotations and every field outside `metadata` and `status` are compared.
pub fn has_drifted(live: &Object, dry_run: &Object) -> bool {
    if dry_run.resource_version().is_empty() {
        return true;
    }
    let differs = |part| {
        let empty = Map::new();
        live.metadata(part).unwrap_or(&empty) != dry_run.metadata(part).unwrap_or(&empty)
    };
    differs(Metadata::Labels) || differs(Metadata::Annotations) || content(live) != content(dry_run)
}

/// The fields that are compared besides labels and annotations (KC-SSA-020, KC-SSA-021).
pub fn content(object: &Object) -> Map<String, Value> {
    let kept = object
        .fields()
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"));
    let mut fields: Map<String, Value> = kept
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if object.kind() == "HorizontalPodAutoscaler"
        && let Some(Value::Array(metrics)) = fields
            .get_mut("spec")
            .and_then(|spec| spec.get_mut("metrics"))
    {
        drop_repeated_metrics(metrics);
    }
    fields
}

/// Older servers return a metric twice, and an empty one at the end, in a dry run (KC-SSA-021).
fn drop_repeated_metrics(metrics: &mut Vec<Value>) {
    let mut kept: Vec<Value> = Vec::with_capacity(metrics.len());
    for metric in metrics.drain(..) {
        let has_type = metric
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| !kind.is_empty());
        if has_type && !kept.contains(&metric) {
            kept.push(metric);
        }
    }
    *metrics = kept;
}

#[cfg(test)]
mod tests {
    use flux_cluster::Object;
    use serde_json::{Value, json};

    use super::has_drifted;

    fn object(value: Value) -> Object {
        Object::new(value).unwrap()
    }

    // RT-SSA-009 KC-SSA-020
    #[test]
    fn drift_is_detected_outside_metadata_and_status() {
        let live = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "c", "resourceVersion": "1", "labels": { "a": "b" }, "generation": 1 },
            "data": { "k": "v" }, "status": { "x": 1 },
        });
        for (what, pointer, value, drifted) in [
            ("nothing", "/metadata/resourceVersion", json!("1"), false),
            (
                "a newer resource version",
                "/metadata/resourceVersion",
                json!("2"),
                false,
            ),
            ("a generation", "/metadata/generation", json!(2), false),
            ("the status", "/status/x", json!(2), false),
            ("a label", "/metadata/labels/a", json!("c"), true),
            ("labels gone", "/metadata/labels", json!({}), true),
            ("data", "/data/k", json!("w"), true),
            ("a type", "/data/k", json!(1), true),
            (
                "no resource version: it would be created",
                "/metadata/resourceVersion",
                json!(""),
                true,
            ),
        ] {
            let mut dry_run = live.clone();
            *dry_run.pointer_mut(pointer).unwrap() = value;
            assert_eq!(
                has_drifted(&object(live.clone()), &object(dry_run)),
                drifted,
                "{what}"
            );
        }
        let mut bare = live.clone();
        bare["metadata"]["annotations"] = json!({});
        assert!(
            !has_drifted(&object(live.clone()), &object(bare)),
            "no annotations and none at all are the same"
        );
        let mut immutable = live.clone();
        immutable["immutable"] = json!(true);
        assert!(has_drifted(&object(live), &object(immutable)));
    }

    // KC-SSA-021
    #[test]
    fn repeated_or_untyped_metrics_are_not_drift() {
        let scaler = |metrics: Value| {
            object(json!({
                "kind": "HorizontalPodAutoscaler", "metadata": { "resourceVersion": "1" }, "spec": { "metrics": metrics },
            }))
        };
        let (cpu, memory) = (
            json!({ "type": "Resource", "n": "cpu" }),
            json!({ "type": "Resource", "n": "memory" }),
        );
        let live = scaler(json!([cpu, memory]));
        assert!(!has_drifted(&live, &scaler(json!([cpu, memory, cpu, {}]))));
        assert!(has_drifted(&live, &scaler(json!([memory]))));
    }
}
