//! Policies and names; definitions on a cluster are tested on a real one.

use flux_errors::chain;
use flux_helm::action::{Scope, objects};

use super::{CrdPolicy, is_definition, label, named};
use crate::post_render::origin_labels;

#[test]
fn policies_have_names() {
    // HC-CRD-001
    for (name, policy) in [
        ("", CrdPolicy::Create),
        ("Create", CrdPolicy::Create),
        ("Skip", CrdPolicy::Skip),
        ("CreateReplace", CrdPolicy::CreateReplace),
    ] {
        assert_eq!(CrdPolicy::named(name).unwrap(), policy);
    }
    // HC-CRD-002
    assert_eq!(
        chain(&CrdPolicy::named("x").unwrap_err()),
        "invalid CRD upgrade policy 'x', valid values are 'Skip', 'Create' or 'CreateReplace'"
    );
}

#[test]
fn only_definitions_are_labelled_with_their_origin() {
    let text = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.x.io}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n---\napiVersion: x.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: c, labels: null}\n";
    let scope = |_: &str, kind: &str| {
        let namespaced = kind == "ConfigMap";
        Some(if namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        })
    };
    let mut objects = objects(text, "apps", &scope).unwrap();
    // HC-CRD-004
    let found: Vec<(bool, String)> = objects
        .iter()
        .map(|o| (is_definition(o), named(o)))
        .collect();
    assert_eq!(
        found,
        [
            (
                true,
                "apiextensions.k8s.io/CustomResourceDefinition/a.x.io".to_owned()
            ),
            (false, "/ConfigMap/apps/m".to_owned()),
            (false, "x.io/CustomResourceDefinition/c".to_owned()),
        ]
    );
    // HC-CRD-005
    let labels = origin_labels("flux", "podinfo");
    for object in &mut objects {
        label(object, &labels);
        let held = object.value.at(["metadata", "labels"]).unwrap();
        for (key, value) in [("name", "podinfo"), ("namespace", "flux")] {
            let key = format!("helm.toolkit.fluxcd.io/{key}");
            assert_eq!(
                held.get(&key).and_then(flux_yaml::Value::as_str),
                Some(value)
            );
        }
    }
}
