//! The parts of `manifests/` that controllers, scrapers and users depend on.

use std::path::Path;

use kind_tests::{Result, cache, ensure};
use serde_json::{Value, json};

fn documents(path: &str) -> Result<Vec<Value>> {
    let path = cache::workspace().join("manifests").join(path);
    let text = std::fs::read_to_string(&path)?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

fn first(path: &str, kind: &str) -> Result<Value> {
    let found = documents(path)?
        .into_iter()
        .find(|object| object["kind"] == kind);
    found.ok_or_else(|| kind_tests::Failure::new(format!("{path} has no {kind}")))
}

#[test]
fn deployments_match_the_controllers() -> Result {
    for (name, grace, ports) in [
        // RT-DIF-003, RT-DIF-004: of the existing controllers
        (
            "source-controller",
            10,
            &[("http", 9090), ("http-prom", 8080), ("healthz", 9440)][..],
        ),
        (
            "kustomize-controller",
            60,
            &[("http-prom", 8080), ("healthz", 9440)],
        ),
        // IA-PROC-025
        (
            "image-automation-controller",
            10,
            &[("http-prom", 8080), ("healthz", 9440)],
        ),
        // IR-PROC-034, IR-PROC-036
        (
            "image-reflector-controller",
            10,
            &[("http-prom", 8080), ("healthz", 9440)],
        ),
        // HC-PROC-053
        (
            "helm-controller",
            600,
            &[("http-prom", 8080), ("healthz", 9440)],
        ),
        // SW-PROC-029, DI-DEP-002
        (
            "source-watcher",
            10,
            &[("http", 9090), ("http-prom", 8080), ("healthz", 9440)],
        ),
        // NC-PROC-060
        (
            "notification-controller",
            10,
            &[
                ("http", 9090),
                ("http-webhook", 9292),
                ("http-prom", 8080),
                ("healthz", 9440),
            ],
        ),
    ] {
        let deployment = first(&format!("{name}/deployment.yaml"), "Deployment")?;
        let pod = &deployment["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        assert_eq!(
            pod["spec"]["terminationGracePeriodSeconds"], grace,
            "{name}"
        );
        let have: Vec<_> = container["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| {
                (
                    port["name"].as_str().unwrap_or_default(),
                    port["containerPort"].as_i64().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(have, ports, "{name}");
        // RT-MET-001, RT-MET-021, RT-MET-022: how scrapers find it
        assert_eq!(pod["metadata"]["labels"]["app"], name);
        assert_eq!(container["name"], "manager");
        let base = first(&format!("{name}/kustomization.yaml"), "Kustomization")?;
        assert_eq!(
            base["labels"][0]["pairs"]["app.kubernetes.io/part-of"],
            "flux"
        );
        assert_eq!(base["labels"][0]["includeTemplates"], true);
        let variable = |wanted: &str| {
            let variables = container["env"].as_array().into_iter().flatten();
            variables
                .into_iter()
                .find(|variable| variable["name"] == wanted)
                .cloned()
                .unwrap_or_default()
        };
        // RT-ENV-001, RT-ENV-006, RT-ENV-007
        assert_eq!(
            variable("RUNTIME_NAMESPACE")["valueFrom"]["fieldRef"]["fieldPath"],
            "metadata.namespace"
        );
        assert_eq!(
            variable("GOMEMLIMIT")["valueFrom"]["resourceFieldRef"],
            json!({"containerName": "manager", "resource": "limits.memory"})
        );
        let root = if name == "source-controller" {
            json!("/tmp/.sigstore")
        } else {
            Value::Null
        };
        assert_eq!(variable("TUF_ROOT")["value"], root, "{name}");
    }
    Ok(())
}

#[test]
fn the_cluster_role_covers_the_requests_of_the_controllers() -> Result {
    let role = first("rbac/controller.yaml", "ClusterRole")?;
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    let lists = |rule: &Value, key: &str, wanted: &str| {
        let values = rule[key].as_array().into_iter().flatten();
        values
            .into_iter()
            .any(|value| value == wanted || value == "*")
    };
    for (row, group, resource, verbs) in [
        // IA-PROC-034
        (
            "IA-PROC-034",
            "image.toolkit.fluxcd.io",
            "imageupdateautomations/status",
            &["patch"][..],
        ),
        (
            "IA-PROC-034",
            "image.toolkit.fluxcd.io",
            "imagepolicies",
            &["get", "list", "watch"],
        ),
        (
            "IA-PROC-034",
            "source.toolkit.fluxcd.io",
            "gitrepositories",
            &["get", "list", "watch"],
        ),
        ("IA-PROC-034", "", "serviceaccounts", &["get"]),
        ("IA-PROC-034", "", "serviceaccounts/token", &["create"]),
        (
            "IR-PROC-050",
            "image.toolkit.fluxcd.io",
            "imagerepositories/status",
            &["patch"][..],
        ),
        (
            "IR-PROC-050",
            "image.toolkit.fluxcd.io",
            "imagepolicies",
            &["get", "list", "watch", "patch"],
        ),
        ("IR-PROC-050", "", "namespaces", &["get"]),
        ("IR-PROC-050", "", "serviceaccounts/token", &["create"]),
        (
            "NC-PROC-063",
            "notification.toolkit.fluxcd.io",
            "receivers/status",
            &["patch"],
        ),
        (
            "NC-PROC-063",
            "image.toolkit.fluxcd.io",
            "imagerepositories",
            &["get", "list", "patch"],
        ),
        (
            "SW-PROC-038",
            "source.extensions.fluxcd.io",
            "artifactgenerators/status",
            &["patch"],
        ),
        (
            "SW-PROC-038",
            "source.toolkit.fluxcd.io",
            "externalartifacts",
            &["get", "list", "watch", "patch", "delete"],
        ),
        (
            "SW-PROC-038",
            "",
            "namespaces",
            &["get", "create", "patch", "delete"],
        ),
        (
            "SW-PROC-044",
            "authorization.k8s.io",
            "subjectaccessreviews",
            &["create"],
        ),
        ("RT-ACL-004", "", "namespaces", &["get"]),
        ("RT-WAT-010", "", "secrets", &["get", "list", "watch"]),
        ("RT-WAT-010", "", "configmaps", &["get", "list", "watch"]),
        ("RT-EVT-016", "", "events", &["create", "patch"]),
        (
            "RT-LED-001",
            "coordination.k8s.io",
            "leases",
            &["get", "create", "update"],
        ),
        (
            "RT-KUB-006",
            "kustomize.toolkit.fluxcd.io",
            "kustomizations/status",
            &["patch"],
        ),
        (
            "RT-KUB-006",
            "source.toolkit.fluxcd.io",
            "gitrepositories/status",
            &["patch"],
        ),
        (
            "RT-KUB-006",
            "source.toolkit.fluxcd.io",
            "ocirepositories/status",
            &["patch"],
        ),
        (
            "RT-KUB-006",
            "source.toolkit.fluxcd.io",
            "helmrepositories/status",
            &["patch"],
        ),
    ] {
        for verb in verbs {
            let allowed = rules.iter().any(|rule| {
                lists(rule, "apiGroups", group)
                    && lists(rule, "resources", resource)
                    && lists(rule, "verbs", verb)
            });
            ensure!(allowed, "{row}: {verb} {resource} of {group:?}");
        }
    }
    // RT-KUB-001: the probe
    let probe = rules
        .iter()
        .any(|rule| lists(rule, "nonResourceURLs", "/livez/ping") && lists(rule, "verbs", "head"));
    ensure!(probe, "the probe is not allowed");
    Ok(())
}

#[test]
fn every_manifest_is_part_of_a_base() -> Result {
    let root = cache::workspace().join("manifests");
    for folder in std::fs::read_dir(&root)? {
        let folder = folder?.path();
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let base = first(&format!("{name}/kustomization.yaml"), "Kustomization")?;
        let listed: Vec<&str> = base["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for file in std::fs::read_dir(&folder)? {
            let file = file?.file_name().to_string_lossy().into_owned();
            let yaml = Path::new(&file)
                .extension()
                .is_some_and(|end| end == "yaml");
            if yaml && file != "kustomization.yaml" {
                ensure!(
                    listed.contains(&&*file),
                    "{name}/kustomization.yaml does not list {file}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn definitions_are_safe_from_substitution() -> Result {
    // FR-N-040
    let base = first("crds/kustomization.yaml", "Kustomization")?;
    for file in base["resources"].as_array().into_iter().flatten() {
        let file = file.as_str().unwrap_or_default();
        let definition = first(&format!("crds/{file}"), "CustomResourceDefinition")?;
        let annotations = &definition["metadata"]["annotations"];
        ensure!(
            annotations["kustomize.toolkit.fluxcd.io/substitute"] == "disabled",
            "{file}: {annotations}"
        );
    }
    Ok(())
}

#[test]
fn source_watcher_serves_artifacts_behind_its_service() -> Result {
    // SW-PROC-031
    let service = first("source-watcher/service.yaml", "Service")?;
    let spec = &service["spec"];
    assert_eq!(spec["type"], "ClusterIP");
    assert_eq!(spec["selector"], json!({"app": "source-watcher"}));
    assert_eq!(
        [&spec["ports"][0]["port"], &spec["ports"][0]["targetPort"]],
        [&json!(80), &json!("http")]
    );
    let deployment = first("source-watcher/deployment.yaml", "Deployment")?;
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    // SW-PROC-030
    assert_eq!(
        container["readinessProbe"]["httpGet"],
        json!({"path": "/", "port": "http"})
    );
    assert_eq!(
        container["livenessProbe"]["httpGet"],
        json!({"path": "/healthz", "port": "healthz"})
    );
    // SW-PROC-032, FR-N-116
    let arguments = json!([
        "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
        "--watch-all-namespaces",
        "--log-level=info",
        "--log-encoding=json",
        "--enable-leader-election",
        "--storage-path=/data",
        "--storage-adv-addr=source-watcher.$(RUNTIME_NAMESPACE).svc.cluster.local.",
    ]);
    assert_eq!(container["args"], arguments);
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    // SW-PROC-033
    let security = &container["securityContext"];
    assert_eq!(
        [
            &security["readOnlyRootFilesystem"],
            &security["runAsNonRoot"]
        ],
        [&json!(true), &json!(true)]
    );
    assert_eq!(pod["securityContext"]["fsGroup"], 1337);
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mounts: Vec<_> = mounts.map(|mount| mount["mountPath"].as_str()).collect();
    assert_eq!(mounts, [Some("/data"), Some("/tmp")]);
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}})
    );
    Ok(())
}

#[test]
fn notification_controller_is_reached_by_two_services() -> Result {
    // NC-PROC-061
    let services = documents("notification-controller/service.yaml")?;
    let found: Vec<_> = services
        .iter()
        .map(|service| {
            let port = &service["spec"]["ports"][0];
            json!([
                service["metadata"]["name"],
                port["port"],
                port["targetPort"]
            ])
        })
        .collect();
    let want = [
        json!(["notification-controller", 80, "http"]),
        json!(["webhook-receiver", 80, "http-webhook"]),
    ];
    assert_eq!(found, want);
    // NC-PROC-062
    let deployment = first("notification-controller/deployment.yaml", "Deployment")?;
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    // RT-DIF-002
    let want = json!([
        "--watch-all-namespaces",
        "--log-level=info",
        "--log-encoding=json",
        "--enable-leader-election",
    ]);
    assert_eq!(*arguments, want);
    // NC-PROC-064
    let webhooks = first("policies/allow-webhooks.yaml", "NetworkPolicy")?;
    let selected = &webhooks["spec"]["podSelector"]["matchLabels"]["app"];
    assert_eq!(selected, "notification-controller");
    let rule = &webhooks["spec"]["ingress"][0];
    assert_eq!(rule["ports"][0]["port"], 9292);
    assert_eq!(rule["from"][0]["namespaceSelector"], json!({}));
    Ok(())
}
