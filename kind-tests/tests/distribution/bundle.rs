//! The files of a release, and the manifests that they are built from.

use std::collections::BTreeMap;
use std::io::Read as _;

use flux_tree::Tree;
use kind_tests::bundle::{self, CONTROLLERS, Release, VERSION};
use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::{args, object, objects};

/// The tags that upstream's release has, and where the controllers of ours are found.
const TAGS: [(&str, &str); 7] = [
    ("source-controller", "v1.10.1"),
    ("kustomize-controller", "v1.10.1"),
    ("helm-controller", "v1.7.1"),
    ("notification-controller", "v1.10.0"),
    ("image-reflector-controller", "v1.3.0"),
    ("image-automation-controller", "v1.3.0"),
    ("source-watcher", "v2.3.1"),
];

#[test]
fn the_bundle_has_a_file_for_each_component() -> Result {
    let flat = bundle::flat()?;
    let mut names: Vec<String> = CONTROLLERS
        .into_iter()
        .chain(["rbac", "policies"])
        .map(|name| format!("{name}.yaml"))
        .collect();
    names.sort();
    // DI-REL-002, FO-SRC-002
    let release = bundle::release(&Release::default())?;
    let packed = release
        .get("manifests.tar.gz")
        .map_or(&[][..], Vec::as_slice);
    let mut unpacked = BTreeMap::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let (name, mut text) = (entry.path()?.to_string_lossy().into_owned(), String::new());
        entry.read_to_string(&mut text)?;
        unpacked.insert(name, text);
    }
    assert_eq!(unpacked.keys().cloned().collect::<Vec<_>>(), names);
    assert_eq!(unpacked, flat);
    // FO-SRC-001, FO-ALT-002
    for name in &names {
        let path = format!("distribution/flux/{VERSION}/{name}");
        ensure!(release.contains_key(&path), "no {path}");
    }

    for (name, tag) in TAGS {
        let text = flat.get(&format!("{name}.yaml"));
        let all = objects(text.map_or("", String::as_str))?;
        let mut kinds = BTreeMap::new();
        for object in all.values() {
            let kind = object["kind"].as_str().unwrap_or_default();
            *kinds.entry(kind).or_insert(0) += 1;
            // DI-REL-003
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/component"], name, "{object}");
            assert_eq!(labels["app.kubernetes.io/part-of"], "flux", "{object}");
            assert_eq!(object["metadata"]["namespace"], Value::Null, "{object}");
        }
        assert_eq!(kinds.get("ServiceAccount"), Some(&1), "{name}");
        assert_eq!(kinds.get("Deployment"), Some(&1), "{name}");
        let definitions = kinds.get("CustomResourceDefinition").copied();
        let wanted = match name {
            "source-controller" => 6,
            "notification-controller" => 3,
            "image-reflector-controller" => 2,
            _ => 1,
        };
        assert_eq!(definitions, Some(wanted), "{name}");
        let deployment = object(&all, &format!("Deployment {name}"))?;
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        // DI-REL-011, DI-REL-007, FO-SRC-012
        assert_eq!(image, &format!("fluxcd/{name}:{tag}"));
        assert_eq!(bundle::tag(&flat, name)?, tag);
    }
    Ok(())
}

#[test]
fn assets_of_each_controller_have_no_accounts() -> Result {
    let release = bundle::release(&Release::default())?;
    for name in CONTROLLERS {
        let kinds = |file: &str| -> Result<Vec<String>> {
            let bytes = release.get(&format!("{name}.{file}.yaml"));
            let text = String::from_utf8(bytes.cloned().unwrap_or_default())?;
            let all = objects(&text)?;
            let mut kinds: Vec<String> = all
                .into_values()
                .map(|object| object["kind"].as_str().unwrap_or_default().to_owned())
                .collect();
            kinds.dedup();
            Ok(kinds)
        };
        // DI-REL-001
        assert_eq!(kinds("crds")?, ["CustomResourceDefinition"], "{name}");
        let serves = matches!(
            name,
            "source-controller" | "source-watcher" | "notification-controller"
        );
        let wanted: &[&str] = if serves {
            &["Deployment", "Service"]
        } else {
            &["Deployment"]
        };
        assert_eq!(kinds("deployment")?, wanted, "{name}");
    }
    Ok(())
}

#[test]
fn digests_of_images_are_listed_for_the_operator() -> Result {
    let digests: BTreeMap<String, String> = CONTROLLERS
        .into_iter()
        .map(|name| (name.to_owned(), format!("sha256:{name}")))
        .collect();
    let registry = "registry.example/flux".to_owned();
    let release = bundle::release(&Release { registry, digests })?;
    let text = |path: &str| {
        let bytes = release.get(path).cloned().unwrap_or_default();
        String::from_utf8(bytes)
    };
    // FO-SRC-009, FO-ALT-003
    let path = format!("distribution/flux-images/{VERSION}/upstream-alpine.yaml");
    let list: Value = serde_saphyr::from_str(&text(&path)?)?;
    let images = list["images"].as_array().cloned().unwrap_or_default();
    assert_eq!(images.len(), 7, "{list}");
    for (image, (name, tag)) in images.iter().zip([
        ("source-controller", "v1.10.1"),
        ("kustomize-controller", "v1.10.1"),
    ]) {
        let wanted = json!({"name": format!("fluxcd/{name}"), "newTag": tag, "digest": format!("sha256:{name}")});
        assert_eq!(image, &wanted);
    }
    // FO-SRC-013
    assert_eq!(text("distribution/flux-images/VERSION")?.trim(), "2.10.1");
    for variant in ["install.yaml", "openshift.yaml"] {
        let text = text(variant)?;
        for (name, tag) in TAGS {
            let image = format!("image: registry.example/flux/{name}:{tag}\n");
            ensure!(text.contains(&image), "{variant} lacks {image}");
        }
    }
    // Without digests an installer falls back to the tags in the manifests.
    let release = bundle::release(&Release::default())?;
    // FO-SRC-010
    assert!(!release.contains_key(&path));
    Ok(())
}

// DI-RBAC-010
#[test]
fn the_namespace_in_roles_is_only_that_of_accounts() -> Result {
    let flat = bundle::flat()?;
    let rbac = &flat["rbac.yaml"];
    for line in rbac.lines().filter(|line| line.contains("flux-system")) {
        assert_eq!(line.trim(), "namespace: flux-system");
    }
    for (name, object) in objects(&rbac.replace("flux-system", "gitops"))? {
        let subjects = object["subjects"].as_array().cloned().unwrap_or_default();
        for subject in subjects {
            assert_eq!(subject["namespace"], "gitops", "{name}");
        }
        assert_eq!(object["metadata"]["namespace"], Value::Null, "{name}");
    }
    Ok(())
}

#[test]
fn objects_are_in_the_order_of_upstream() -> Result {
    let mut tree = Tree::new();
    bundle::manifests(&mut tree)?;
    let names = |yaml: &str| -> Result<Vec<String>> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
        let names = documents.into_iter().map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let name = match &object["kind"] {
                Value::String(kind) if kind.contains("Role") || kind == "ResourceQuota" => {
                    name.trim_end_matches("-flux-system")
                }
                _ => name,
            };
            format!("{} {name}", object["kind"].as_str().unwrap_or_default())
        });
        Ok(names.collect())
    };
    let mut got = names(&bundle::build(&tree, "manifests/install")?)?;
    // Upstream has no role for source-controller alone, and its record leaves out the definitions.
    got.retain(|name| {
        let is_own_role = name.contains("Role") && name.ends_with(" source-controller");
        !name.starts_with("CustomResourceDefinition") && !is_own_role
    });
    let want = std::fs::read_to_string(oracle::conformance("install.yaml"))?;
    assert_eq!(got, names(&want)?);
    Ok(())
}

/// The Deployments whose arguments no other test has in full.
#[test]
fn deployments_have_the_arguments_probes_and_limits_of_upstream() -> Result {
    let flat = bundle::flat()?;
    let events =
        "--events-addr=http://notification-controller.flux-system.svc.cluster.local./".to_owned();
    let common = [
        "--watch-all-namespaces",
        "--log-level=info",
        "--log-encoding=json",
        "--enable-leader-election",
    ];
    for (name, posts, grace, critical, ports, volumes) in [
        // DI-DEP-004
        (
            "helm-controller",
            true,
            600,
            true,
            &["http-prom", "healthz"][..],
            &["temp"][..],
        ),
        // DI-DEP-005
        (
            "notification-controller",
            false,
            10,
            false,
            &["http", "http-webhook", "http-prom", "healthz"],
            &["temp"],
        ),
        // DI-DEP-006
        (
            "image-reflector-controller",
            true,
            10,
            false,
            &["http-prom", "healthz"],
            &["temp", "data"],
        ),
        // DI-DEP-007
        (
            "image-automation-controller",
            true,
            10,
            false,
            &["http-prom", "healthz"],
            &["temp"],
        ),
    ] {
        let all = objects(&flat[&format!("{name}.yaml")])?;
        let deployment = object(&all, &format!("Deployment {name}"))?;
        let wanted: Vec<&str> = posts
            .then_some(&*events)
            .into_iter()
            .chain(common)
            .collect();
        assert_eq!(args(deployment), wanted, "{name}");
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(pod["terminationGracePeriodSeconds"], grace, "{name}");
        let class = if critical {
            json!("system-cluster-critical")
        } else {
            Value::Null
        };
        assert_eq!(pod["priorityClassName"], class, "{name}");
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(|item| item["name"].as_str().map(str::to_owned))
                .collect()
        };
        assert_eq!(names(&container["ports"]), ports, "{name}");
        assert_eq!(names(&pod["volumes"]), volumes, "{name}");
        assert_eq!(names(&container["volumeMounts"]), volumes, "{name}");
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let wanted = json!({"path": path, "port": "healthz"});
            assert_eq!(container[probe]["httpGet"], wanted, "{name}");
        }
        let wanted = json!({"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "64Mi"}});
        assert_eq!(container["resources"], wanted, "{name}");
    }

    for (file, service, selector, port, label) in [
        // DI-SVC-002
        (
            "source-watcher",
            "source-watcher",
            "source-watcher",
            "http",
            "source-watcher",
        ),
        // DI-SVC-003
        (
            "notification-controller",
            "notification-controller",
            "notification-controller",
            "http",
            "controller",
        ),
        // DI-SVC-004
        (
            "notification-controller",
            "webhook-receiver",
            "notification-controller",
            "http-webhook",
            "controller",
        ),
    ] {
        let all = objects(&flat[&format!("{file}.yaml")])?;
        let found = object(&all, &format!("Service {service}"))?;
        let wanted = json!({"type": "ClusterIP", "selector": {"app": selector},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": port}]});
        assert_eq!(found["spec"], wanted);
        assert_eq!(found["metadata"]["labels"]["control-plane"], label);
    }
    // DI-SVC-008: of pods of other namespaces, only scrapes and webhooks come through
    let policies = objects(&flat["policies.yaml"])?;
    let mut open = Vec::new();
    for policy in policies.values() {
        let rules = policy["spec"]["ingress"].as_array().cloned();
        for rule in rules.into_iter().flatten() {
            if rule["from"] != json!([{"podSelector": {}}]) {
                let ports = rule["ports"].as_array().cloned().unwrap_or_default();
                open.extend(ports.into_iter().map(|port| port["port"].clone()));
            }
        }
    }
    assert_eq!(open, [json!(8080), json!(9292)]);
    Ok(())
}

#[test]
fn openshift_chooses_users_itself() -> Result {
    let mut tree = Tree::new();
    bundle::manifests(&mut tree)?;
    let all = objects(&bundle::build(&tree, "manifests/openshift")?)?;
    for name in CONTROLLERS {
        let deployment = object(&all, &format!("Deployment {name}"))?;
        let pod = &deployment["spec"]["template"]["spec"];
        // DI-POD-012
        assert_eq!(pod["securityContext"], Value::Null, "{name}");
        let wanted = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
            "runAsNonRoot": true, "runAsUser": 65534,
        });
        assert_eq!(pod["containers"][0]["securityContext"], wanted, "{name}");
    }
    let role = object(&all, "ClusterRole flux-scc")?;
    let wanted = json!([{"apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"],
        "resourceNames": ["nonroot"], "verbs": ["use"]}]);
    assert_eq!(role["rules"], wanted);
    let binding = object(&all, "ClusterRoleBinding flux-scc")?;
    assert_eq!(binding["roleRef"]["name"], "flux-scc");
    let mut bound: Vec<&str> = binding["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|subject| subject["namespace"] == "flux-system")
        .filter_map(|subject| subject["name"].as_str())
        .collect();
    let mut wanted = CONTROLLERS.to_vec();
    bound.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(bound, wanted);
    Ok(())
}

#[test]
fn definitions_are_namespaced_and_left_alone_by_substitution() -> Result {
    for definition in flux_api::definitions() {
        let object = &definition.object;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        // DI-CRX-001
        let substitute =
            &object["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/substitute"];
        assert_eq!(substitute, "disabled", "{name}");
        // DI-CRX-003
        assert_eq!(object["spec"]["scope"], "Namespaced", "{name}");
        assert_eq!(object["spec"]["conversion"], Value::Null, "{name}");
        let versions = object["spec"]["versions"].as_array().cloned();
        let versions = versions.unwrap_or_default();
        for version in &versions {
            // ExternalArtifact and the rest have a status; Alert and Provider have none since v1beta3.
            let has = version["subresources"]["status"] == json!({});
            assert_eq!(version["subresources"]["scale"], Value::Null, "{name}");
            let schema = &version["schema"]["openAPIV3Schema"]["properties"]["status"];
            assert_eq!(has, !schema.is_null(), "{name}");
        }
        let listed: Vec<_> = versions
            .iter()
            .map(|version| {
                (
                    version["name"].as_str().unwrap_or_default(),
                    version["storage"] == true,
                    version["deprecated"] == true,
                )
            })
            .collect();
        // DI-CRX-006
        let (_, stored, deprecated) = listed.first().copied().unwrap_or_default();
        ensure!(stored && !deprecated, "{name}: {listed:?}");
        assert_eq!(
            listed.iter().filter(|(_, stored, _)| *stored).count(),
            1,
            "{name}"
        );
        // DI-CRD-016
        if name.starts_with("alerts.") || name.starts_with("providers.") {
            let wanted = [("v1", true, false), ("v1beta3", false, true)];
            assert_eq!(listed.get(..2), Some(&wanted[..]), "{name}");
        }
    }
    Ok(())
}

#[test]
fn releases_publish_every_image_for_two_architectures() -> Result {
    let path = kind_tests::cache::workspace().join(".github/workflows/release.yaml");
    let workflow: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    let images = &workflow["jobs"]["images"];
    let mut built: Vec<&str> = images["strategy"]["matrix"]["controller"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut wanted = CONTROLLERS.to_vec();
    built.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(built, wanted);
    let steps = images["steps"].as_array().cloned().unwrap_or_default();
    let build = steps
        .iter()
        .find(|step| step["id"] == "build")
        .cloned()
        .unwrap_or_default();
    // DI-REL-009
    assert_eq!(build["with"]["platforms"], "linux/amd64,linux/arm64");
    assert_eq!(build["with"]["sbom"], true);
    // DI-REL-005, FO-ALT-001: under the tag of the bundle
    let tags = build["with"]["tags"].as_str().unwrap_or_default();
    ensure!(
        tags.contains("/${{ matrix.controller }}:${{ steps.tag.outputs.tag }}"),
        "{tags}"
    );
    Ok(())
}
