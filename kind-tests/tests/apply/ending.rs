//! Waiting for objects, and deleting them.

use std::time::Duration;

use flux_apply::{apply_in_stages, delete_all, inventory, wait_for_termination};
use flux_cluster::{ObjectId, WaitOptions, wait_until_current};
use kind_tests::{CONFIG_MAP, Kind, Result, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use crate::{Bench, GROUP, config_map};

#[tokio::test]
async fn only_objects_with_owner_labels_are_deleted() -> Result {
    let mut bench = Bench::new("apply-prune").await?;
    let note = |pair: &str| format!(", annotations: {{{GROUP}/{pair}}}");
    let yaml = config_map("gone", "")
        + &config_map("kept", &note("prune: disabled"))
        + &config_map("once", &note("ssa: IfNotPresent"))
        + &config_map("held", ", finalizers: [example.com/hold]")
        + &config_map("taken", "");
    let objects = bench.objects(&yaml)?;
    let options = bench.options();
    let changes = apply_in_stages(&bench.target, &objects, &options, &mut bench.memory).await?;
    let others = json!({ "metadata": { "labels": { format!("{GROUP}/name"): "another" } } });
    bench.namespace.merge(CONFIG_MAP, "taken", others).await?;
    let mut tracked = inventory::list(&inventory::of(&changes))?;
    let ghost = ObjectId {
        name: "ghost".into(),
        kind: "ConfigMap".into(),
        namespace: bench.namespace.name().into(),
        group: String::new(),
    };
    tracked.push(inventory::Tracked {
        id: ghost,
        version: "v1".into(),
    });

    // RT-SSA-018, KC-PRUNE-006, KC-PRUNE-007
    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    let text = pruned
        .changes
        .to_string()
        .replace(bench.namespace.name(), "ns");
    let want = "ConfigMap/ns/taken skipped\nConfigMap/ns/once deleted\nConfigMap/ns/kept skipped\nConfigMap/ns/held deleted\nConfigMap/ns/gone deleted\nConfigMap/ns/ghost deleted";
    ensure!(text == want, "{text}");
    ensure!(pruned.error.is_none(), "{:?}", pruned.error);
    // RT-SSA-022
    let held =
        wait_for_termination(&bench.target, &pruned.changes, Duration::from_millis(300)).await;
    let held = held
        .err()
        .map(|error| error.to_string().replace(bench.namespace.name(), "ns"));
    ensure!(
        held.as_deref() == Some("ConfigMap/ns/held termination timeout: context deadline exceeded"),
        "{held:?}"
    );
    let (waiting, freeing) = tokio::join!(
        wait_for_termination(&bench.target, &pruned.changes, kind_tests::deadline()),
        bench.namespace.merge(
            CONFIG_MAP,
            "held",
            json!({ "metadata": { "finalizers": null } })
        ),
    );
    waiting?;
    freeing?;
    let names = bench.config_maps().await?;
    ensure!(
        names == ["kept", "taken"],
        "not what was expected is left: {names:?}"
    );
    Ok(())
}

// RT-SSA-019
#[tokio::test]
async fn dependents_of_a_deleted_object_are_collected() -> Result {
    let mut bench = Bench::new("apply-background").await?;
    let objects = bench.objects(&config_map("owner", ""))?;
    let options = bench.options();
    let changes = apply_in_stages(&bench.target, &objects, &options, &mut bench.memory).await?;
    let owner = bench.uid(CONFIG_MAP, "owner").await?;
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner, "blockOwnerDeletion": true}]);
    let dependent = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "dependent", "ownerReferences": reference, "finalizers": ["example.com/hold"]}});
    bench.namespace.apply(&dependent.to_string()).await?;
    let tracked = inventory::list(&inventory::of(&changes))?;
    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    ensure!(pruned.error.is_none(), "{:?}", pruned.error);
    // With foreground deletion the owner would wait for its dependent, which has a finalizer; with orphaning the
    // dependent would stay.
    bench.namespace.wait_gone(CONFIG_MAP, "owner").await?;
    bench
        .namespace
        .wait(CONFIG_MAP, "dependent", "is being deleted", |object| {
            object["metadata"]["deletionTimestamp"].is_string()
        })
        .await?;
    let free = json!({"metadata": {"finalizers": null}});
    bench.namespace.merge(CONFIG_MAP, "dependent", free).await?;
    bench.namespace.wait_gone(CONFIG_MAP, "dependent").await
}

#[tokio::test]
async fn a_wait_ends_with_the_event_that_decides_it() -> Result {
    let bench = Bench::new("apply-wait").await?;
    let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {suspend: false, backoffLimit: 0, template: {spec: {restartPolicy: Never,
        nodeSelector: {nowhere: 'true'}, containers: [{name: c, image: i}]}}}}";
    bench.namespace.apply(job).await?;
    let id = |kind: &str, group: &str, name: &str| flux_cluster::Target {
        id: ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: bench.namespace.name().into(),
            name: name.into(),
        },
        version: None,
        stored: None,
    };
    let targets = [
        id("Job", "batch", "j"),
        id("ConfigMap", "", "later"),
        id("Thing", "nowhere.io", "t"),
    ];
    let options = |timeout| WaitOptions {
        timeout,
        ..WaitOptions::default()
    };
    // RT-SSA-020, KC-HEALTH-006: unknown kinds are retried until the timeout
    let error = wait_until_current(&bench.target, &targets, &options(Duration::from_secs(2))).await;
    let error = error
        .err()
        .map(|error| error.to_string().replace(bench.namespace.name(), "ns"))
        .unwrap_or_default();
    let want = "timeout waiting for: [Job/ns/j status: 'InProgress', ConfigMap/ns/later status: 'NotFound', Thing/ns/t status: 'Unknown': no matches for kind \"Thing\" in group \"nowhere.io\"]";
    ensure!(error == want, "{error}");

    // KC-HEALTH-005: objects are found by group and kind
    let targets = [id("Job", "batch", "j"), id("ConfigMap", "", "later")];
    let options = options(kind_tests::deadline());
    let (waited, changed) = tokio::join!(
        wait_until_current(&bench.target, &targets, &options),
        async {
            bench
                .namespace
                .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: later}}")
                .await?;
            bench
                .namespace
                .merge(
                    Kind("batch/v1", "Job"),
                    "j",
                    json!({ "spec": { "suspend": true } }),
                )
                .await
        }
    );
    changed?;
    waited?;

    // KC-HEALTH-006
    let homeless = flux_cluster::Target {
        id: ObjectId {
            kind: "Pod".into(),
            name: "p".into(),
            ..ObjectId::default()
        },
        version: None,
        stored: None,
    };
    let error = wait_until_current(&bench.target, &[homeless], &options)
        .await
        .err()
        .map(|error| error.to_string());
    ensure!(
        error.as_deref() == Some("resource Pod p is namespace scoped, but namespace is not set"),
        "{error:?}"
    );
    Ok(())
}

/// A tenant's account may have permission to read and write, but not to list or watch.
// KC-SSA-014
#[tokio::test]
async fn a_wait_polls_if_watch_is_forbidden() -> Result {
    let mut bench = Bench::new("apply-tenant").await?;
    let user = format!("tenant-of-{}", bench.namespace.name());
    let rules = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: tenant}}, rules: [
           {{apiGroups: [''], resources: [configmaps], verbs: [get, create, patch, delete]}}]}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: tenant}},
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}},
  subjects: [{{kind: User, apiGroup: rbac.authorization.k8s.io, name: {user}}}]}}"
    );
    bench.namespace.apply(&rules).await?;
    let kubeconfig = Kubeconfig::read_from(bench.namespace.cluster().kubeconfig_for(&bench.user)?)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user);
    bench.target = bench.target.acting_as(Client::try_from(config)?);

    let changes = bench.apply(&config_map("c", "")).await?;
    ensure!(changes == "ConfigMap/ns/c created", "{changes}");
    let changes = bench.apply(&config_map("c", "")).await?;
    ensure!(changes == "ConfigMap/ns/c unchanged", "{changes}");
    let id = |kind: &str| ObjectId {
        kind: kind.into(),
        namespace: bench.namespace.name().into(),
        name: "c".into(),
        ..ObjectId::default()
    };
    let options = WaitOptions {
        timeout: kind_tests::deadline(),
        ..WaitOptions::default()
    };
    wait_until_current(
        &bench.target,
        &[flux_cluster::Target::of(&id("ConfigMap"), "v1")],
        &options,
    )
    .await?;
    let brief = WaitOptions {
        timeout: Duration::from_secs(1),
        ..options
    };
    let secret = flux_cluster::Target::of(&id("Secret"), "v1");
    let error = wait_until_current(&bench.target, &[secret], &brief).await;
    let error = error
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(
        error.contains("status: 'Unknown': secrets \"c\" is forbidden:"),
        "{error}"
    );

    let tracked = [inventory::Tracked {
        id: id("ConfigMap"),
        version: "v1".into(),
    }];
    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    wait_for_termination(&bench.target, &pruned.changes, kind_tests::deadline()).await?;
    Ok(())
}
