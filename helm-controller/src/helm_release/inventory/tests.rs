//! The objects of a manifest.

use super::*;

// HC-EVT-018
#[test]
fn lists_are_flattened_and_hooks_recognised() {
    let manifest = "---\n# Source: a\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: b, namespace: other}\n---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: c\n  annotations: {helm.sh/hook: test}\n";
    let found = objects(manifest.as_bytes()).unwrap();
    let shown: Vec<(String, bool)> = found
        .iter()
        .map(|object| (object.id().inventory_id(), is_hook(object)))
        .collect();
    assert_eq!(
        shown,
        [
            ("_a__ConfigMap".to_owned(), false),
            ("other_b__Secret".to_owned(), false),
            ("_c_batch_Job".to_owned(), true),
        ]
    );
    assert!(objects(b"a: [").is_err());
}
