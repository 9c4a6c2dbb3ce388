//! The patches that installers and users of the field make, on our bundle: each must find what it changes.

use std::collections::BTreeMap;

use flux_tree::{Tree, TreePath};
use kind_tests::bundle::{self, CONTROLLERS};
use kind_tests::{Result, cache, ensure};
use serde_json::{Value, json};

use crate::{Objects, args, object, objects};

/// A kustomization of the whole bundle in `gitops`, as FluxInstances and `flux install` make one (FO-BLD-001).
struct Overlay {
    patches: Vec<Value>,
    files: BTreeMap<String, String>,
    extra: Vec<String>,
}

impl Overlay {
    fn new() -> Self {
        Self {
            patches: Vec::new(),
            files: BTreeMap::new(),
            extra: Vec::new(),
        }
    }

    /// A patch of Deployments by a pattern of their name.
    fn deployments(mut self, name: &str, operations: &Value) -> Self {
        let target = json!({"group": "apps", "version": "v1", "kind": "Deployment", "name": name});
        self.patches
            .push(json!({"target": target, "patch": operations.to_string()}));
        self
    }

    fn patch(mut self, target: &Value, patch: &Value) -> Self {
        self.patches
            .push(json!({"target": target, "patch": patch.to_string()}));
        self
    }

    /// Appends an argument to the controllers.
    fn argument(self, name: &str, value: &str) -> Self {
        let path = "/spec/template/spec/containers/0/args/-";
        self.deployments(name, &json!([{"op": "add", "path": path, "value": value}]))
    }

    fn resource(mut self, name: &str, content: String) -> Self {
        self.files.insert(name.to_owned(), content);
        let resource = name.trim_end_matches("/kustomization.yaml").to_owned();
        self.extra.push(resource);
        self
    }

    fn build(self) -> Result<Objects> {
        let mut tree = Tree::new();
        let mut resources = vec![
            "namespace.yaml".to_owned(),
            "policies.yaml".to_owned(),
            "roles".to_owned(),
        ];
        let mut images = Vec::new();
        for (name, text) in bundle::flat()? {
            let path = match &*name {
                "rbac.yaml" => "o/roles/rbac.yaml".to_owned(),
                _ => format!("o/{name}"),
            };
            let text = text.replace("flux-system", "gitops");
            tree.insert_file(TreePath::new(&path)?, text.into_bytes(), false)?;
            if let Some(controller) = name
                .strip_suffix(".yaml")
                .filter(|name| CONTROLLERS.contains(name))
            {
                images.push(json!({"name": format!("fluxcd/{controller}"), "newName": format!("registry.example/{controller}")}));
                resources.push(name.clone());
            }
        }
        resources.extend(self.extra);
        let labels = json!({
            "apiVersion": "builtin", "kind": "LabelTransformer", "metadata": {"name": "labels"},
            "labels": {"app.kubernetes.io/managed-by": "flux-operator", "app.kubernetes.io/instance": "gitops"},
            "fieldSpecs": [{"path": "metadata/labels", "create": true}],
        });
        let annotations = json!({
            "apiVersion": "builtin", "kind": "AnnotationsTransformer", "metadata": {"name": "annotations"},
            "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Ignore", "kustomize.toolkit.fluxcd.io/prune": "Disabled"},
            "fieldSpecs": [{"path": "metadata/annotations", "create": true}],
        });
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "gitops",
            "resources": resources, "images": images, "patches": self.patches, "transformers": ["labels.yaml", "annotations.yaml"],
        });
        let roles = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "gitops",
            "resources": ["rbac.yaml"], "nameSuffix": "-gitops",
        });
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gitops"}});
        let made = [
            ("kustomization.yaml", kustomization),
            ("roles/kustomization.yaml", roles),
            ("namespace.yaml", namespace),
            ("labels.yaml", labels),
            ("annotations.yaml", annotations),
        ];
        let made = made.map(|(name, value)| (name.to_owned(), value.to_string()));
        for (name, text) in made.into_iter().chain(self.files) {
            let path = TreePath::new(&format!("o/{name}"))?;
            tree.insert_file(path, text.into_bytes(), false)?;
        }
        objects(&bundle::build(&tree, "o")?)
    }
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The flags of a Deployment are flags of the controller.
fn check_flags(name: &str, deployment: &Value) -> Result {
    let page = format!("docs/reference/{name}.md");
    let known = std::fs::read_to_string(cache::workspace().join(page))?;
    for flag in args(deployment) {
        let flag = flag.split('=').next().unwrap_or_default();
        // DI-TRP-004
        ensure!(known.contains(&format!("`{flag}")), "{name} has no {flag}");
    }
    Ok(())
}

#[test]
fn positional_patches_of_installers_find_their_arguments() -> Result {
    let mut overlay = Overlay::new();
    let replace = |index: usize, value: &str| json!({"op": "replace", "path": format!("/spec/template/spec/containers/0/args/{index}"), "value": value});
    let events = "--events-addr=http://notification-controller.gitops.svc.example.local./";
    for name in CONTROLLERS {
        let mut operations = match name {
            "notification-controller" => vec![
                replace(0, "--watch-all-namespaces=true"),
                replace(1, "--log-level=debug"),
            ],
            _ => vec![
                replace(0, events),
                replace(1, "--watch-all-namespaces=true"),
                replace(2, "--log-level=debug"),
            ],
        };
        if matches!(name, "source-controller" | "source-watcher") {
            let address = "--storage-adv-addr=x.gitops.svc.example.local.";
            operations.push(replace(6, address));
        }
        overlay = overlay.deployments(name, &Value::Array(operations));
    }
    let strategic = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "all"}, "spec": {"template": {
        "metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}, "labels": {"app.kubernetes.io/part-of": "flux"}},
        "spec": {"nodeSelector": {"kubernetes.io/os": "linux"}, "imagePullSecrets": [{"name": "regcred"}],
            "tolerations": [{"key": "dedicated", "operator": "Exists"}]}}}});
    let built = overlay
        .patch(&json!({"kind": "Deployment"}), &strategic)
        .build()?;
    for name in CONTROLLERS {
        let deployment = object(&built, &format!("Deployment {name}"))?;
        let mut wanted = vec![
            events,
            "--watch-all-namespaces=true",
            "--log-level=debug",
            "--log-encoding=json",
            "--enable-leader-election",
        ];
        match name {
            "notification-controller" => drop(wanted.remove(0)),
            "source-controller" | "source-watcher" => wanted.extend([
                "--storage-path=/data",
                "--storage-adv-addr=x.gitops.svc.example.local.",
            ]),
            _ => {}
        }
        // FO-BLD-007
        assert_eq!(args(deployment), wanted, "{name}");
        check_flags(name, deployment)?;
        let pod = &deployment["spec"]["template"]["spec"];
        // DI-POD-011, FO-BLD-009
        assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "regcred"}]));
        assert_eq!(pod["tolerations"][0]["key"], "dedicated");
        // FO-BLD-002, FO-STA-004
        let image = container(deployment)["image"].as_str().unwrap_or_default();
        let begin = format!("registry.example/{name}:v");
        ensure!(image.starts_with(&begin), "{image}");
        assert_eq!(container(deployment)["name"], "manager");
        // FO-BLD-003, FO-BLD-005
        let metadata = &deployment["metadata"];
        assert_eq!(
            metadata["labels"]["app.kubernetes.io/managed-by"],
            "flux-operator"
        );
        assert_eq!(
            metadata["annotations"]["kustomize.toolkit.fluxcd.io/ssa"],
            "Ignore"
        );
        // FO-BLD-004, FO-REC-005
        let template = &deployment["spec"]["template"]["metadata"];
        assert_eq!(
            template["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"],
            "true"
        );
        assert_eq!(
            deployment["spec"]["selector"],
            json!({"matchLabels": {"app": name}})
        );
        assert_eq!(metadata["namespace"], "gitops");
    }
    // FO-BLD-010
    for name in ["crd-controller", "flux-edit", "flux-view"] {
        object(&built, &format!("ClusterRole {name}-gitops"))?;
    }
    Ok(())
}

#[test]
fn the_token_rule_and_the_lists_of_kinds_are_where_the_operator_patches_them() -> Result {
    let kinds = ["FluxInstance", "ResourceSet", "ResourceSetInputProvider"];
    let add = |path: &str| -> Value {
        let operations = kinds.map(|kind| json!({"op": "add", "path": path, "value": kind}));
        Value::Array(operations.to_vec())
    };
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let alerts = format!("{schema}/eventSources/items/properties/kind/enum");
    let receivers = format!("{schema}/resources/items/properties/kind/enum");
    let definition = |name: &str| json!({"kind": "CustomResourceDefinition", "name": format!("{name}.notification.toolkit.fluxcd.io")});
    let remove = json!([{"op": "remove", "path": "/rules/11"}]);
    let group = json!([{"op": "add", "path": "/rules/-", "value":
        {"apiGroups": ["fluxcd.controlplane.io"], "resources": ["*"], "verbs": ["*"]}}]);
    let role = json!({"kind": "ClusterRole", "name": "crd-controller"});
    let before = Overlay::new().build()?;
    let built = Overlay::new()
        .patch(&role, &remove)
        .patch(&role, &group)
        .patch(&definition("alerts"), &add(&format!("{alerts}/-")))
        .patch(&definition("receivers"), &add(&format!("{receivers}/-")))
        .build()?;
    let rules = |objects: &Objects| -> Result<Vec<Value>> {
        let rules = object(objects, "ClusterRole crd-controller-gitops")?["rules"].clone();
        Ok(rules.as_array().cloned().unwrap_or_default())
    };
    let (mut before, mut after) = (rules(&before)?, rules(&built)?);
    // FO-BLD-011
    let token = before.remove(11);
    assert_eq!(token["resources"], json!(["serviceaccounts/token"]));
    let operator = after.pop();
    assert_eq!(before, after);
    // FO-BLD-012
    assert_eq!(
        operator.unwrap_or_default()["apiGroups"],
        json!(["fluxcd.controlplane.io"])
    );
    for (name, path) in [("alerts", alerts), ("receivers", receivers)] {
        let name = format!("CustomResourceDefinition {name}.notification.toolkit.fluxcd.io");
        let definition = object(&built, &name)?;
        let list = definition.pointer(&path).and_then(Value::as_array);
        let list = list.map(Vec::as_slice).unwrap_or_default();
        assert!(list.ends_with(&kinds.map(Value::from)), "{name}: {list:?}");
    }
    Ok(())
}

#[test]
fn profiles_lockdown_and_identities_add_flags_that_exist() -> Result {
    let resources = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "all", "annotations":
        {"fluxcd.controlplane.io/profile": "small"}}, "spec": {"template": {"spec": {"containers": [{"name": "manager",
        "resources": {"limits": {"cpu": "1000m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}});
    let appliers = "(kustomize-controller|helm-controller)";
    let built = Overlay::new()
        .patch(&json!({"kind": "Deployment"}), &resources)
        .argument(appliers, "--concurrent=5")
        .argument(appliers, "--requeue-dependency=10s")
        .argument("source-controller", "--helm-cache-max-size=10")
        .argument("source-controller", "--helm-cache-ttl=720m")
        .argument("source-controller", "--helm-cache-purge-interval=60m")
        .argument("source-controller", "--concurrent=5")
        .argument("(kustomize-controller|helm-controller|notification-controller|image-reflector-controller|image-automation-controller|source-watcher)", "--no-cross-namespace-refs=true")
        .argument("kustomize-controller", "--no-remote-bases=true")
        .argument(appliers, "--default-service-account=default")
        .argument("(source-controller|kustomize-controller|notification-controller|image-reflector-controller|image-automation-controller|helm-controller)", "--feature-gates=ObjectLevelWorkloadIdentity=false")
        .argument("(source-controller|notification-controller|image-reflector-controller|image-automation-controller)", "--default-service-account=default")
        .argument("kustomize-controller", "--default-decryption-service-account=default")
        .argument(appliers, "--default-kubeconfig-service-account=default")
        .argument(appliers, "--feature-gates=ExternalArtifact=true")
        .build()?;
    for name in CONTROLLERS {
        let deployment = object(&built, &format!("Deployment {name}"))?;
        check_flags(name, deployment)?;
        // DI-TRP-005, FO-BLD-014, FO-BLD-017
        assert_eq!(
            container(deployment)["resources"]["limits"]["memory"],
            "512Mi"
        );
        assert_eq!(
            deployment["metadata"]["annotations"]["fluxcd.controlplane.io/profile"],
            "small"
        );
    }
    let kustomize = object(&built, "Deployment kustomize-controller")?;
    // FO-BLD-019, FO-BLD-020
    assert_eq!(
        args(kustomize).get(5..).unwrap_or_default(),
        [
            "--concurrent=5",
            "--requeue-dependency=10s",
            "--no-cross-namespace-refs=true",
            "--no-remote-bases=true",
            "--default-service-account=default",
            "--feature-gates=ObjectLevelWorkloadIdentity=false",
            "--default-decryption-service-account=default",
            "--default-kubeconfig-service-account=default",
            "--feature-gates=ExternalArtifact=true",
        ]
    );
    // FO-BLD-021, FO-BLD-022
    let helm = object(&built, "Deployment helm-controller")?;
    ensure!(
        args(helm).contains(&"--default-kubeconfig-service-account=default"),
        "{helm}"
    );
    ensure!(
        args(helm).contains(&"--feature-gates=ExternalArtifact=true"),
        "{helm}"
    );
    // FO-BLD-015, FO-BLD-016
    let source = object(&built, "Deployment source-controller")?;
    ensure!(args(source).contains(&"--concurrent=5"), "{source}");
    Ok(())
}

/// What the documentation of the field has users patch.
#[test]
fn patches_of_users_apply_unchanged() -> Result {
    let pod = "/spec/template/spec";
    let identity = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "any", "annotations":
        {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/flux", "azure.workload.identity/client-id": "1"}}});
    let azure = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "any"},
        "spec": {"template": {"metadata": {"labels": {"azure.workload.identity/use": "true"}}}}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "source-controller"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}});
    let persistent = json!([
        {"op": "add", "path": format!("{pod}/volumes/-"), "value": {"name": "persistent-data", "persistentVolumeClaim": {"claimName": "source-controller"}}},
        {"op": "replace", "path": format!("{pod}/containers/0/volumeMounts/0"), "value": {"name": "persistent-data", "mountPath": "/data"}},
    ]);
    let memory = json!([
        {"op": "replace", "path": format!("{pod}/volumes/0"), "value": {"name": "temp", "emptyDir": {"medium": "Memory"}}},
        {"op": "add", "path": format!("{pod}/containers/0/env/-"), "value": {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}},
        {"op": "replace", "path": format!("{pod}/containers/0/resources/limits/memory"), "value": "2Gi"},
        {"op": "add", "path": format!("{pod}/containers/0/args/-"), "value": "--concurrent=20"},
        {"op": "replace", "path": format!("{pod}/terminationGracePeriodSeconds"), "value": 120},
    ]);
    let openshift = json!([
        {"op": "remove", "path": format!("{pod}/securityContext")},
        {"op": "remove", "path": format!("{pod}/containers/0/securityContext/seccompProfile")},
        {"op": "remove", "path": format!("{pod}/containers/0/securityContext/runAsNonRoot")},
    ]);
    let named = |name: &str| json!({"kind": "Deployment", "name": name});
    let built = Overlay::new()
        .resource("pvc.yaml", claim.to_string())
        .patch(&json!({"kind": "ServiceAccount"}), &identity)
        .patch(&json!({"kind": "Deployment"}), &azure)
        .patch(&named("source-controller"), &persistent)
        .patch(&named("kustomize-controller"), &memory)
        .patch(&named("image-.*"), &openshift)
        .build()?;
    let source = &object(&built, "Deployment source-controller")?["spec"]["template"]["spec"];
    // FO-BLD-023, FO-BLD-025
    assert_eq!(
        source["containers"][0]["volumeMounts"][0],
        json!({"name": "persistent-data", "mountPath": "/data"})
    );
    assert_eq!(
        source["volumes"][2]["persistentVolumeClaim"]["claimName"],
        "source-controller"
    );
    let kustomize = object(&built, "Deployment kustomize-controller")?;
    let spec = &kustomize["spec"]["template"]["spec"];
    assert_eq!(
        spec["volumes"],
        json!([{"name": "temp", "emptyDir": {"medium": "Memory"}}])
    );
    assert_eq!(spec["containers"][0]["env"][2]["name"], "HTTPS_PROXY");
    check_flags("kustomize-controller", kustomize)?;
    for name in ["image-reflector-controller", "image-automation-controller"] {
        let deployment = object(&built, &format!("Deployment {name}"))?;
        // FO-BLD-018
        assert_eq!(
            deployment["spec"]["template"]["spec"]["securityContext"],
            Value::Null
        );
        let context = &container(deployment)["securityContext"];
        assert_eq!(context["seccompProfile"], Value::Null);
        assert_eq!(context["runAsNonRoot"], Value::Null);
    }
    for name in CONTROLLERS {
        let account = object(&built, &format!("ServiceAccount {name}"))?;
        assert_eq!(
            account["metadata"]["annotations"]["azure.workload.identity/client-id"],
            "1"
        );
        let deployment = object(&built, &format!("Deployment {name}"))?;
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["azure.workload.identity/use"], "true");
    }
    Ok(())
}

/// A shard as FluxInstances and the documentation's guide make it: suffixed copies of the Deployments and of the Services
/// that serve artifacts.
#[test]
fn shards_are_copies_with_their_own_selector_and_address() -> Result {
    let sharded = [
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "image-reflector-controller",
        "image-automation-controller",
        "source-watcher",
    ];
    let delete = |target: Value| {
        json!({"target": target, "patch":
        "$patch: delete\napiVersion: v1\nkind: any\nmetadata: {name: any}\n"})
    };
    let mut patches: Vec<Value> = ["CustomResourceDefinition", "ServiceAccount"]
        .map(|kind| delete(json!({"kind": kind})))
        .to_vec();
    for name in sharded {
        let label = format!("{name}-one");
        let mut operations = vec![
            json!({"op": "replace", "path": "/spec/selector/matchLabels/app", "value": label}),
            json!({"op": "replace", "path": "/spec/template/metadata/labels/app", "value": label}),
        ];
        if matches!(name, "source-controller" | "source-watcher") {
            let value =
                format!("--storage-adv-addr={name}-one.$(RUNTIME_NAMESPACE).svc.cluster.local.");
            operations.push(json!({"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": value}));
            let operations =
                json!([{"op": "replace", "path": "/spec/selector/app", "value": label}]);
            patches.push(json!({"target": {"kind": "Service", "name": name}, "patch": operations.to_string()}));
        }
        operations.push(
            json!({"op": "add", "path": "/spec/template/spec/containers/0/args/-",
            "value": "--watch-label-selector=sharding.fluxcd.io/key=one"}),
        );
        if name == "source-controller" {
            operations.extend([
                json!({"op": "replace", "path": "/spec/template/spec/volumes/0", "value": {"name": "data", "persistentVolumeClaim": {"claimName": "source-controller-one"}}}),
                json!({"op": "replace", "path": "/spec/template/spec/containers/0/volumeMounts/0", "value": {"name": "data", "mountPath": "/data"}}),
            ]);
        }
        let operations = Value::Array(operations).to_string();
        patches.push(json!({"target": {"kind": "Deployment", "name": name}, "patch": operations}));
    }
    let flat = bundle::flat()?;
    let mut overlay = Overlay::new();
    let resources = sharded.map(|name| format!("{name}.yaml"));
    for name in sharded {
        let file = format!("{name}.yaml");
        overlay
            .files
            .insert(format!("one/{file}"), flat[&file].clone());
    }
    let shard = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "gitops", "nameSuffix": "-one",
        "resources": resources, "patches": patches, "commonAnnotations": {"sharding.fluxcd.io/role": "shard"},
    });
    let built = overlay
        .resource("one/kustomization.yaml", shard.to_string())
        .argument(
            "(source-controller|kustomize-controller|helm-controller|image-reflector-controller|image-automation-controller|source-watcher)$",
            "--log-encoding=json",
        )
        .build()?;
    for name in sharded {
        let deployment = object(&built, &format!("Deployment {name}-one"))?;
        let label = format!("{name}-one");
        // FO-SHD-001, FO-SHD-002
        assert_eq!(
            deployment["spec"]["selector"],
            json!({"matchLabels": {"app": label}})
        );
        assert_eq!(
            deployment["spec"]["template"]["metadata"]["labels"]["app"],
            label
        );
        assert_eq!(
            deployment["spec"]["template"]["spec"]["serviceAccountName"],
            name
        );
        let args = args(deployment);
        // FO-SHD-003, FO-SHD-004
        ensure!(
            args.contains(&"--watch-label-selector=sharding.fluxcd.io/key=one"),
            "{args:?}"
        );
        // FO-BLD-008: a target matches the name before the suffix
        assert_eq!(args.last(), Some(&"--log-encoding=json"), "{args:?}");
        check_flags(name, deployment)?;
        // FO-SHD-005
        assert_eq!(
            deployment["metadata"]["annotations"]["sharding.fluxcd.io/role"],
            "shard"
        );
        // The unsharded one is as it was.
        let base = object(&built, &format!("Deployment {name}"))?;
        assert_eq!(
            base["spec"]["selector"],
            json!({"matchLabels": {"app": name}})
        );
    }
    let source = object(&built, "Deployment source-controller-one")?;
    let address =
        "--storage-adv-addr=source-controller-one.$(RUNTIME_NAMESPACE).svc.cluster.local.";
    ensure!(args(source).contains(&address), "{source}");
    // FO-SHD-006
    let pod = &source["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"][0]["persistentVolumeClaim"]["claimName"],
        "source-controller-one"
    );
    for name in ["source-controller", "source-watcher"] {
        let service = object(&built, &format!("Service {name}-one"))?;
        assert_eq!(service["spec"]["selector"]["app"], format!("{name}-one"));
    }
    Ok(())
}
