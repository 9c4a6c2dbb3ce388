//! `manifests/install`, built by kustomize, against what upstream's installation builds: object by object.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flux_kustomize::{Build, Options, Remotes};
use flux_tree::{Tree, TreePath};
use serde_json::{Value, json};

/// The release of Flux that the controllers stand in for, as a label of all objects.
const VERSION: &str = "v2.10.1";
/// The controllers whose manifests are here.
const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-automation-controller",
    "image-reflector-controller",
    "source-watcher",
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

/// An object of the bundle as `flux install` changes it: a suffix for all of rbac.yaml, labels, and the nodes that pods
/// may run on (DI-RBAC-009, DI-POD-005, DI-CRX-002).
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
        && let Some(Value::Array(rules)) = object.pointer_mut("/rules")
    {
        // Since 2.10, for source-watcher; the bundle is of the release before (DI-RBAC-003).
        rules.extend([
            json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "patch", "delete"]}),
            json!({"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}),
        ]);
    }
    if object["metadata"]["name"] == "crd-controller-flux-system"
        && let Some(Value::Array(subjects)) = object.pointer_mut("/subjects")
    {
        // It has its own role (docs/security.md).
        subjects.retain(|subject| subject["name"] != "source-controller");
    }
    let version = Value::from(VERSION);
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        if let Some(labels) = object.pointer_mut(labels) {
            labels["app.kubernetes.io/version"] = version.clone();
        }
    }
    if kind == "Deployment" {
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "linux"});
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

#[test]
fn the_installation_equals_the_implemented_part_of_upstream() {
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

/// Each row about the installation: the object, the part of it, and what must be there.
#[test]
fn the_installation_matches_the_ledger() {
    const SOURCE: &str = "Deployment flux-system source-controller";
    const KUSTOMIZE: &str = "Deployment flux-system kustomize-controller";
    const ROLE: &str = "ClusterRole null crd-controller-flux-system";
    const BINDING: &str = "ClusterRoleBinding null cluster-reconciler-flux-system";
    const CONTAINER: &str = "/spec/template/spec/containers/0";
    let objects = built_here();
    let restricted = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}
    });
    let common = [
        "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
        "--watch-all-namespaces",
        "--log-level=info",
        "--log-encoding=json",
        "--enable-leader-election",
    ];
    let storage = [
        "--storage-path=/data",
        "--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.cluster.local.",
    ];
    let source_args = json!([&common[..], &storage[..]].concat());
    let port =
        |name: &str, number: u16| json!({"containerPort": number, "name": name, "protocol": "TCP"});
    let everything =
        |group: &str| json!({"apiGroups": [group], "resources": ["*"], "verbs": ["*"]});
    let full = json!([
        "get", "list", "watch", "create", "update", "patch", "delete"
    ]);
    let scrape = json!({"prometheus.io/port": "8080", "prometheus.io/scrape": "true"});
    let memory_limit = json!({
        "name": "GOMEMLIMIT",
        "valueFrom": {"resourceFieldRef": {"containerName": "manager", "resource": "limits.memory"}}
    });
    let container = |field: &str| format!("{CONTAINER}/{field}");
    let template = |field: &str| format!("/spec/template/{field}");
    let path = str::to_owned;
    let mut wrong = Vec::new();
    for (row, object, pointer, expected) in [
        (
            "DI-DEP-001, SC-PROC-048",
            SOURCE,
            container("args"),
            source_args,
        ),
        ("DI-POD-001", SOURCE, container("args/6"), json!(storage[1])),
        ("DI-DEP-003", KUSTOMIZE, container("args"), json!(common)),
        (
            "DI-DEP-001",
            SOURCE,
            template("spec/terminationGracePeriodSeconds"),
            json!(10),
        ),
        (
            "DI-DEP-003",
            KUSTOMIZE,
            template("spec/terminationGracePeriodSeconds"),
            json!(60),
        ),
        (
            "DI-DEP-003",
            KUSTOMIZE,
            container("readinessProbe/httpGet"),
            json!({"path": "/readyz", "port": "healthz"}),
        ),
        ("DI-POD-002", SOURCE, container("name"), json!("manager")),
        (
            "DI-POD-002",
            SOURCE,
            container("imagePullPolicy"),
            json!("IfNotPresent"),
        ),
        (
            "DI-POD-003",
            SOURCE,
            template("spec/serviceAccountName"),
            json!("source-controller"),
        ),
        (
            "DI-POD-003",
            SOURCE,
            path("/metadata/labels/control-plane"),
            json!("controller"),
        ),
        ("DI-POD-003", SOURCE, path("/spec/replicas"), json!(1)),
        (
            "DI-POD-004",
            KUSTOMIZE,
            path("/spec/selector"),
            json!({"matchLabels": {"app": "kustomize-controller"}}),
        ),
        (
            "DI-POD-005",
            SOURCE,
            template("metadata/labels/app.kubernetes.io~1component"),
            json!("source-controller"),
        ),
        (
            "DI-POD-005",
            SOURCE,
            template("metadata/labels/app.kubernetes.io~1instance"),
            json!("flux-system"),
        ),
        (
            "DI-POD-006, KC-PROC-051",
            KUSTOMIZE,
            template("metadata/annotations"),
            scrape,
        ),
        (
            "DI-POD-007, SC-PROC-049",
            SOURCE,
            container("securityContext"),
            restricted,
        ),
        (
            "DI-POD-007, SC-PROC-049",
            SOURCE,
            template("spec/securityContext"),
            json!({"fsGroup": 1337}),
        ),
        (
            "DI-POD-008",
            KUSTOMIZE,
            container("env/0/name"),
            json!("RUNTIME_NAMESPACE"),
        ),
        (
            "DI-POD-008",
            SOURCE,
            container("env/1"),
            json!({"name": "TUF_ROOT", "value": "/tmp/.sigstore"}),
        ),
        ("DI-POD-008", SOURCE, container("env/2"), memory_limit),
        (
            "DI-POD-009",
            KUSTOMIZE,
            container("volumeMounts/0/mountPath"),
            json!("/tmp"),
        ),
        (
            "DI-POD-009",
            KUSTOMIZE,
            container("resources/limits/memory"),
            json!("1Gi"),
        ),
        (
            "DI-POD-010",
            SOURCE,
            template("spec/volumes/0/name"),
            json!("data"),
        ),
        (
            "DI-POD-010",
            SOURCE,
            container("volumeMounts/0"),
            json!({"mountPath": "/data", "name": "data"}),
        ),
        (
            "SC-PROC-040",
            SOURCE,
            container("ports"),
            json!([
                port("http", 9090),
                port("http-prom", 8080),
                port("healthz", 9440)
            ]),
        ),
        (
            "KC-PROC-051",
            KUSTOMIZE,
            container("ports"),
            json!([port("http-prom", 8080), port("healthz", 9440)]),
        ),
        (
            "DI-SVC-001, SC-PROC-040",
            "Service flux-system source-controller",
            path("/spec"),
            json!({
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
                "selector": {"app": "source-controller"}, "type": "ClusterIP"
            }),
        ),
        (
            "DI-SVC-005",
            "NetworkPolicy flux-system allow-egress",
            path("/spec"),
            json!({
                "egress": [{}], "ingress": [{"from": [{"podSelector": {}}]}], "podSelector": {},
                "policyTypes": ["Ingress", "Egress"]
            }),
        ),
        (
            "DI-SVC-006",
            "NetworkPolicy flux-system allow-scraping",
            path("/spec/ingress"),
            json!([{"from": [{"namespaceSelector": {}}], "ports": [{"port": 8080, "protocol": "TCP"}]}]),
        ),
        (
            "DI-SVC-007",
            "NetworkPolicy flux-system allow-webhooks",
            path("/spec/podSelector"),
            json!({"matchLabels": {"app": "notification-controller"}}),
        ),
        (
            "DI-SVC-009",
            "Namespace null flux-system",
            path("/metadata/labels/pod-security.kubernetes.io~1warn"),
            json!("restricted"),
        ),
        (
            "DI-RBAC-001",
            ROLE,
            path("/rules/0"),
            everything("source.toolkit.fluxcd.io"),
        ),
        (
            "DI-RBAC-001",
            ROLE,
            path("/rules/1"),
            everything("kustomize.toolkit.fluxcd.io"),
        ),
        (
            "DI-RBAC-001",
            ROLE,
            path("/rules/5"),
            everything("source.extensions.fluxcd.io"),
        ),
        (
            "DI-RBAC-002",
            ROLE,
            path("/rules/6/verbs"),
            json!(["get", "list", "watch"]),
        ),
        (
            "DI-RBAC-002",
            ROLE,
            path("/rules/7/verbs"),
            json!(["create", "patch"]),
        ),
        ("DI-RBAC-002", ROLE, path("/rules/8/verbs"), full.clone()),
        (
            "DI-RBAC-002",
            ROLE,
            path("/rules/9/resources"),
            json!(["configmaps/status"]),
        ),
        ("DI-RBAC-002", ROLE, path("/rules/10/verbs"), full),
        (
            "DI-RBAC-003",
            ROLE,
            path("/rules/11/resources"),
            json!(["serviceaccounts/token"]),
        ),
        (
            "DI-RBAC-003",
            ROLE,
            path("/rules/12"),
            json!({"nonResourceURLs": ["/livez/ping"], "verbs": ["head"]}),
        ),
        (
            "DI-RBAC-006, KC-PROC-050",
            BINDING,
            path("/roleRef/name"),
            json!("cluster-admin"),
        ),
        (
            "DI-RBAC-006, KC-PROC-050",
            BINDING,
            path("/subjects/0/name"),
            json!("kustomize-controller"),
        ),
        (
            "DI-RBAC-007",
            "ClusterRole null flux-edit-flux-system",
            path("/rules/0/verbs"),
            json!(["create", "delete", "deletecollection", "patch", "update"]),
        ),
        (
            "DI-RBAC-007",
            "ClusterRole null flux-view-flux-system",
            path("/rules/0/verbs"),
            json!(["get", "list", "watch"]),
        ),
        (
            "DI-RBAC-008, DI-RBAC-009",
            "ResourceQuota flux-system critical-pods-flux-system",
            path("/spec/scopeSelector/matchExpressions/0/values"),
            json!(["system-node-critical", "system-cluster-critical"]),
        ),
    ] {
        let got = objects
            .get(object)
            .and_then(|object| object.pointer(&pointer));
        if got != Some(&expected) {
            wrong.push(format!(
                "{row}: {object} {pointer}: want {expected}, got {got:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// SC-PROC-049, KC-PROC-044: what the Deployment leaves to the image
#[test]
fn images_run_as_the_user_nobody() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(
        text.lines().any(|line| line.trim() == "USER 65534:65534"),
        "{text}"
    );
    // KC-PROC-044, DI-REL-008: nothing but the binary and the authorities, so no program that could be run
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
            object["metadata"]["labels"]["app.kubernetes.io/version"], VERSION,
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

/// Our own engine builds the same objects, so installing needs no other tool.
#[test]
fn our_kustomize_builds_the_same_installation() {
    let Some(want) = built() else { return };
    let got = built_here();
    let want = documents(&want);
    assert_eq!(
        got.keys().collect::<Vec<_>>(),
        want.keys().collect::<Vec<_>>()
    );
    for (name, want) in want {
        assert_eq!(got[&name], want, "{name}");
    }
}

/// `manifests/install`, built by our own engine.
fn built_here() -> BTreeMap<String, Value> {
    let mut tree = Tree::new();
    add_folder(&mut tree, &root().join("manifests"), &TreePath::root());
    let dir = TreePath::new("install").unwrap();
    let build = flux_kustomize::build(&tree, &dir, &Options::default(), &Remotes::new()).unwrap();
    let Build::Done(output) = build else {
        panic!("the installation refers to something elsewhere")
    };
    documents(&output.resources.to_yaml())
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

/// What `kubectl kustomize manifests/install` prints; `None` without kubectl.
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
