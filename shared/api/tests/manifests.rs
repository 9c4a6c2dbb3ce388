//! `manifests/install`, built by kustomize, against what upstream's installation builds: object by object.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flux_kustomize::{Build, Options, Remotes};
use flux_tree::{Tree, TreePath};
use serde_json::Value;

/// The controllers whose manifests are here.
const CONTROLLERS: [&str; 2] = ["source-controller", "kustomize-controller"];
/// The controllers that are still to come, with the objects that are theirs.
const ABSENT: [&str; 6] = [
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
    "webhook-receiver",
];

/// The objects that upstream does not have: source-controller's own role (docs/security.md).
const OWN_ROLES: [&str; 4] = [
    "ClusterRole null source-controller-flux-system",
    "ClusterRoleBinding null source-controller-flux-system",
    "Role flux-system source-controller-flux-system",
    "RoleBinding flux-system source-controller-flux-system",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documents(text: &str) -> BTreeMap<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
        .into_iter()
        .map(|object| (name_of(&object), object))
        .collect()
}

fn name_of(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(
        "{} {} {}",
        object["kind"], metadata["namespace"], metadata["name"]
    )
    .replace('"', "")
}

/// What `flux install` makes of an object of the bundle: a suffix for all of rbac.yaml, labels, and the nodes that pods may
/// run on (DI-RBAC-009, DI-POD-005, DI-CRX-002).
fn as_installed(mut object: Value) -> Value {
    const SUFFIX: &str = "-flux-system";
    let roles = ["ClusterRole", "ClusterRoleBinding", "ResourceQuota"];
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if roles.contains(&&*kind) {
        for name in ["/metadata/name", "/roleRef/name"] {
            if let Some(Value::String(name)) = object.pointer_mut(name)
                && name != "cluster-admin"
            {
                name.push_str(SUFFIX);
            }
        }
    }
    if object["metadata"]["name"] == "crd-controller-flux-system"
        && let Some(Value::Array(subjects)) = object.pointer_mut("/subjects")
    {
        // It has a role of its own (docs/security.md).
        subjects.retain(|subject| subject["name"] != "source-controller");
    }
    let version = Value::from("v2.9.4");
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        if let Some(labels) = object.pointer_mut(labels) {
            labels["app.kubernetes.io/version"] = version.clone();
        }
    }
    if kind == "Deployment" {
        object["spec"]["template"]["spec"]["nodeSelector"] =
            serde_json::json!({"kubernetes.io/os": "linux"});
    }
    object
}

fn without_images(mut object: Value) -> Value {
    for container in object["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        container["image"] = Value::Null;
    }
    if object["spec"].is_null() {
        object.as_object_mut().unwrap().remove("spec");
    }
    object
}

// DI-DEP-001 DI-DEP-003 DI-POD-001 DI-POD-002 DI-POD-003 DI-POD-004 DI-POD-006 DI-POD-007 DI-POD-008 DI-POD-009
// DI-POD-010 DI-SVC-001 DI-SVC-005 DI-SVC-006 DI-SVC-007 DI-SVC-009 DI-RBAC-001 DI-RBAC-002 DI-RBAC-003 DI-RBAC-006
// DI-RBAC-007 DI-RBAC-008 DI-RBAC-009 DI-POD-005 SC-PROC-040 SC-PROC-048 SC-PROC-049 SC-PROC-050 SC-PROC-051 KC-PROC-044 KC-PROC-050 KC-PROC-051
#[test]
fn the_installation_is_equal_to_upstreams_in_the_part_that_is_here() {
    let want = fs::read_to_string(oracle::conformance("install.yaml")).unwrap();
    let Some(built) = built() else { return };
    let want: BTreeMap<String, Value> = documents(&want)
        .into_values()
        .map(as_installed)
        .map(|object| (name_of(&object), object))
        .collect();
    let mut got = documents(&built);
    got.retain(|name, _| !name.starts_with("CustomResourceDefinition "));

    let mut wrong = Vec::new();
    for (name, want) in want {
        if ABSENT
            .iter()
            .any(|absent| name.ends_with(&format!(" {absent}")))
        {
            continue;
        }
        match got.remove(&name) {
            None => wrong.push(format!("{name}: missing")),
            Some(got) if without_images(got.clone()) != without_images(want.clone()) => {
                wrong.push(format!("{name}:\n  want {want}\n   got {got}"));
            }
            Some(_) => {}
        }
    }
    wrong.extend(
        got.into_keys()
            .filter(|name| !OWN_ROLES.contains(&&**name))
            .map(|name| format!("{name}: upstream has none")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// SC-PROC-049, KC-PROC-044: what the Deployment leaves to the image
#[test]
fn images_run_as_nobody() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(
        text.lines().any(|line| line.trim() == "USER 65534:65534"),
        "{text}"
    );
    // KC-PROC-044: nothing but the binary and the authorities, so no program that could be run
    let last = text.rsplit_once("\nFROM ").unwrap().1;
    assert!(last.starts_with("scratch\n"), "{text}");
    let copied: Vec<&str> = last
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter_map(|line| line.split(' ').next_back())
        .collect();
    assert_eq!(
        copied,
        ["/etc/ssl/certs/ca-certificates.crt", "/controller"]
    );
}

#[test]
fn every_definition_is_installed_and_found_by_its_label() {
    let Some(built) = built() else { return };
    let objects = documents(&built);
    for definition in flux_api::definitions() {
        let name = definition.object["metadata"]["name"].as_str().unwrap();
        let object = &objects[&format!("CustomResourceDefinition null {name}")];
        // DI-CRX-002
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/part-of"], "flux",
            "{name}"
        );
        // `flux version` and `flux check` read the distribution from here.
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/version"], "v2.9.4",
            "{name}"
        );
    }
}

// DI-REL-004
#[test]
fn installers_find_the_image_names_that_they_rewrite() {
    for controller in CONTROLLERS {
        let text = fs::read_to_string(
            root()
                .join("manifests")
                .join(controller)
                .join("deployment.yaml"),
        )
        .unwrap();
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, &format!("fluxcd/{controller}"));
    }
}

/// Our own engine builds the same objects, so that nobody needs another tool to install.
#[test]
fn our_own_engine_builds_the_same_installation() {
    let Some(want) = built() else { return };
    let mut tree = Tree::new();
    add_folder(&mut tree, &root().join("manifests"), &TreePath::root());
    let dir = TreePath::new("install").unwrap();
    let build = flux_kustomize::build(&tree, &dir, &Options::default(), &Remotes::new()).unwrap();
    let Build::Done(output) = build else {
        panic!("the installation refers to something elsewhere")
    };
    let got = documents(&output.resources.to_yaml());
    let want = documents(&want);
    assert_eq!(
        got.keys().collect::<Vec<_>>(),
        want.keys().collect::<Vec<_>>()
    );
    for (name, want) in want {
        assert_eq!(got[&name], want, "{name}");
    }
}

fn add_folder(tree: &mut Tree, folder: &Path, at: &TreePath) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let inner = at.join(name).unwrap();
        if path.is_dir() {
            add_folder(tree, &path, &inner);
        } else {
            tree.insert_file(inner, fs::read(&path).unwrap(), false)
                .unwrap();
        }
    }
}

/// What `kubectl kustomize manifests/install` prints, or nothing where there is no kubectl.
fn built() -> Option<String> {
    let kubectl = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let Ok(output) = Command::new(kubectl)
        .arg("kustomize")
        .arg(root().join("manifests/install"))
        .output()
    else {
        eprintln!("skipped: no kubectl (set KUBECTL to one)");
        return None;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}
