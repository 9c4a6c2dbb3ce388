//! The objects deleted with a release.

use std::time::Duration;

use flux_errors::chain;
use flux_helm::action::{UninstallOptions, WaitStrategy};
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Result, SECRET, ensure};
use serde_json::json;

use crate::bench::{Bench, files};

const OBJECTS: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: foreign}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: bare}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: gone}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: secret}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: example.com/web}]}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uninstallation_deletes_only_objects_of_the_release() -> Result {
    let ours = Bench::new("helm-uninstall", &files(&[("templates/all.yaml", OBJECTS)])).await?;
    ours.install("{}").await?;
    ours.upgrade("{}").await?;
    let namespace = &ours.namespace;
    // One was adopted by another release, one has lost its metadata, and one is gone.
    let other = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "other"}}});
    namespace.merge(CONFIG_MAP, "foreign", other).await?;
    let bare = json!({"metadata": {"labels": null, "annotations": null}});
    namespace.merge(CONFIG_MAP, "bare", bare).await?;
    namespace.delete(CONFIG_MAP, "gone").await?;
    // Its deletion takes a while.
    let finalizer = json!({"metadata": {"finalizers": ["kind-tests.fluxcd.io/hold"]}});
    namespace.merge(SECRET, "secret", finalizer).await?;

    let counter = ours.counter()?;
    let (performed, released) = tokio::join!(ours.uninstall(UninstallOptions::default()), async {
        let deleted =
            |secret: &serde_json::Value| !secret["metadata"]["deletionTimestamp"].is_null();
        namespace
            .wait(SECRET, "secret", "is being deleted", deleted)
            .await?;
        let there = ours.releaser().records().history("web").await?.len();
        // HE-ACT-034
        ensure!(
            there == 2,
            "the records did not wait for the objects: {there}"
        );
        let free = json!({"metadata": {"finalizers": null}});
        namespace.merge(SECRET, "secret", free).await
    });
    released?;
    let performed = performed?;
    // HE-KUBE-019: one object is gone already
    ensure!(performed.result.is_ok(), "{:?}", performed.result);
    // HE-ACT-031, HE-ACT-041, HE-ACT-042
    ensure!(
        performed.info
            == "These resources were kept due to the resource policy:\n[ConfigMap] kept\n\n2 resource(s) were not deleted because they are not owned by this release:\n[ConfigMap] foreign\n[ConfigMap] bare\n",
        "{}",
        performed.info
    );
    for (name, there) in [
        ("a", false),
        ("foreign", true),
        ("bare", true),
        ("kept", true),
    ] {
        let found = namespace.get(CONFIG_MAP, name).await?.is_some();
        ensure!(found == there, "{name} is there: {found}");
    }
    ensure!(
        namespace.get(DEPLOYMENT, "web").await?.is_none(),
        "web is there"
    );
    // HE-ACT-036
    ensure!(
        ours.releaser().records().history("web").await?.is_empty(),
        "records are left"
    );

    let requests = counter.requests()?;
    let deletes = requests
        .iter()
        .filter(|r| r.verb == "delete" && !r.uri.contains("sh.helm.release"));
    let kinds: Vec<&str> = deletes.map(|r| r.resource.as_str()).collect();
    // HE-ACT-030: in this order
    ensure!(
        kinds == ["deployments", "configmaps", "secrets"],
        "{kinds:?}"
    );
    Ok(())
}

// HE-ACT-038 HE-KUBE-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_prunes_nothing_of_another_release() -> Result {
    let map =
        |name: &str| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let all = [map("a"), map("lost"), map("b")].concat();
    let mut ours = Bench::new("helm-prune-own", &files(&[("templates/all.yaml", &all)])).await?;
    ours.install("{}").await?;
    let other = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "other"}}});
    ours.namespace.merge(CONFIG_MAP, "lost", other).await?;
    ours.change(&files(&[("templates/all.yaml", &map("a"))]))?;
    ours.upgrade("{}").await?;
    ours.namespace.wait_gone(CONFIG_MAP, "b").await?;
    let lost = ours.namespace.get(CONFIG_MAP, "lost").await?;
    ensure!(lost.is_some(), "what another release owns was pruned");
    Ok(())
}

// HE-ACT-032 HE-ACT-034 HC-WAIT-010
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uninstallation_reports_remaining_objects() -> Result {
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [kind-tests.fluxcd.io/hold]}\n";
    let mut ours = Bench::new("helm-held", &files(&[("templates/all.yaml", held)])).await?;
    for (strategy, want) in [
        (
            WaitStrategy::Watcher,
            Err(
                "uninstallation completed with 1 error(s): ConfigMap/ns/held termination timeout: context deadline exceeded",
            ),
        ),
        (
            WaitStrategy::Legacy,
            Err("uninstallation completed with 1 error(s): context deadline exceeded"),
        ),
        (WaitStrategy::HookOnly, Ok(())),
    ] {
        ours.options.timeout = kind_tests::deadline();
        ours.install("{}").await?;
        ours.options.timeout = Duration::from_secs(1);
        ours.options.wait = strategy;
        let told = ours.uninstall(UninstallOptions::default()).await?.result;
        let told = told.map_err(|error| chain(&error).replace(ours.namespace.name(), "ns"));
        ensure!(
            told == want.map_err(ToOwned::to_owned),
            "{strategy:?}: {told:?}"
        );
        let left = ours.releaser().records().history("web").await?;
        ensure!(left.is_empty(), "{strategy:?}: the records stay");
        let free = json!({"metadata": {"finalizers": null}});
        ours.namespace.merge(CONFIG_MAP, "held", free).await?;
        ours.namespace.wait_gone(CONFIG_MAP, "held").await?;
    }
    Ok(())
}
