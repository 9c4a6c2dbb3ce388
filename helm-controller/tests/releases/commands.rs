//! The real flux command on HelmReleases, with real sources.

use std::process::Command;

use kind_tests::controller::Settings;
use kind_tests::helm_cli::{self, Helm};
use kind_tests::{
    CONFIG_MAP, Controller, Flux, HELM_CHART, HELM_RELEASE, Namespace, Result, SHARD_LABEL, ensure,
    flux_cli, is_ready,
};
use serde_json::{Value, json};

use crate::bench::{MAP, history};

/// Runs a command on the namespace; what it prints, and whether it succeeds.
fn try_run(namespace: &Namespace, program: &mut Command) -> Result<(bool, String)> {
    let output = program
        .args(["--namespace", namespace.name()])
        .env("KUBECONFIG", namespace.cluster().kubeconfig())
        .output()?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((output.status.success(), text.concat()))
}

fn try_flux(namespace: &Namespace, arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(flux_cli::program()?);
    try_run(
        namespace,
        command.args(arguments).args(["--timeout", "60s"]),
    )
}

fn flux(namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    let (succeeded, text) = try_flux(namespace, arguments)?;
    ensure!(succeeded, "flux {} failed:\n{text}", arguments.join(" "));
    Ok(text)
}

fn helm(namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(helm_cli::program(Helm::V3)?);
    let (succeeded, text) = try_run(namespace, command.args(arguments))?;
    ensure!(succeeded, "helm {} failed:\n{text}", arguments.join(" "));
    Ok(text)
}

/// The cells of the row of a table that begins with this name.
fn row(table: &str, name: &str) -> Vec<String> {
    let line = table.lines().find(|line| {
        let first = line.split('\t').next().unwrap_or_default();
        first.trim() == name
    });
    let cells = line.unwrap_or_default().trim_end().split('\t');
    cells.map(|cell| cell.trim().to_owned()).collect()
}

/// The chart of this version, as files of the repository.
fn commit(flux: &Flux, version: &str, more: &[(&str, &str)]) -> String {
    let chart = format!("apiVersion: v2\nname: web\nversion: {version}\n");
    let files = [
        ("charts/web/Chart.yaml", &*chart),
        ("charts/web/values.yaml", "text: default\nother: kept\n"),
        ("charts/web/templates/map.yaml", MAP),
    ];
    flux.commit(&[&files, more].concat())
}

async fn released(flux: &Flux, name: &str, version: &str) -> Result<Value> {
    let at = |object: &Value| {
        is_ready(object, "True")
            && object["status"]["history"][0]["chartVersion"] == version
            && kind_tests::condition(object, "Reconciling").is_none()
    };
    let goal = format!("is released at {version}");
    flux.namespace.wait(HELM_RELEASE, name, &goal, at).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_creates_shows_changes_and_deletes_releases() -> Result {
    let all = Flux::start("hr-flux").await?;
    let namespace = &all.namespace;
    let ns = namespace.name().to_owned();
    let settings = Settings::default().flag(format!("--events-addr={}", all.events.url()));
    let _helm = Controller::start("helm-controller", namespace, settings).await?;
    commit(&all, "1.0.0", &[]);
    all.follow_main().await?;
    let label = format!("--label={SHARD_LABEL}={ns}");
    let chart = [
        "create",
        "source",
        "chart",
        "web",
        "--source=GitRepository/app",
        "--chart=./charts/web",
        "--interval=1h",
        &label,
    ];
    flux(namespace, &chart)?;
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {values.yaml: 'text: from-secret'}}";
    namespace.apply(secret).await?;
    // DI-ACT-009
    let create = [
        "create",
        "helmrelease",
        "web",
        "--chart-ref=HelmChart/web",
        "--values-from=Secret/creds",
        "--interval=1h",
        &label,
    ];
    let told = flux(namespace, &create)?;
    ensure!(told.contains("HelmRelease web is ready"), "{told}");
    released(&all, "web", "1.0.0").await?;

    // DI-GET-001, DI-GET-003
    let table = flux(namespace, &["get", "helmreleases"])?;
    let cells = row(&table, "web");
    ensure!(
        cells.get(1..4) == Some(&["1.0.0".to_owned(), "False".into(), "True".into()][..])
            && cells[4].starts_with("Helm install succeeded for release"),
        "{cells:?}\n{table}"
    );
    let table = flux(namespace, &["get", "helmreleases", "web", "--show-source"])?;
    ensure!(table.contains(&format!("HelmChart/{ns}/web")), "{table}");

    // DI-ACT-015
    let values = flux(namespace, &["debug", "helmrelease", "web", "--show-values"])?;
    ensure!(values.contains("text: from-secret"), "{values}");
    let told = flux(
        namespace,
        &["debug", "helmrelease", "web", "--show-history"],
    )?;
    ensure!(
        told.contains("chartVersion: 1.0.0") && told.contains("status: deployed"),
        "{told}"
    );
    let told = flux(namespace, &["debug", "helmrelease", "web", "--show-status"])?;
    ensure!(told.contains("InstallSucceeded"), "{told}");

    // DI-ACT-001, DI-ACT-003, DI-ACT-005
    commit(&all, "1.1.0", &[]);
    let with_source = ["reconcile", "helmrelease", "web", "--with-source"];
    let told = flux(namespace, &with_source)?;
    ensure!(told.contains("applied revision 1.1.0"), "{told}");
    let object = released(&all, "web", "1.1.0").await?;
    ensure!(history(&object)[0] == "2 deployed upgrade", "{object}");
    let told = flux(namespace, &["reconcile", "helmrelease", "web"])?;
    ensure!(told.contains("applied revision 1.1.0"), "{told}");
    let object = released(&all, "web", "1.1.0").await?;
    ensure!(history(&object)[0] == "2 deployed upgrade", "{object}");
    // DI-ACT-004
    flux(namespace, &["reconcile", "helmrelease", "web", "--force"])?;
    let object = released(&all, "web", "1.1.0").await?;
    ensure!(history(&object)[0] == "3 deployed upgrade", "{object}");
    flux(namespace, &["reconcile", "helmrelease", "web", "--reset"])?;
    let object = released(&all, "web", "1.1.0").await?;
    ensure!(history(&object)[0] == "3 deployed upgrade", "{object}");
    let handled = &object["status"];
    ensure!(
        handled["lastHandledForceAt"].is_string()
            && handled["lastHandledResetAt"] == handled["lastHandledReconcileAt"],
        "{handled}"
    );

    // DI-ACT-006
    flux(namespace, &["suspend", "helmrelease", "web"])?;
    let table = flux(namespace, &["get", "helmreleases", "web"])?;
    ensure!(
        row(&table, "web").get(2).is_some_and(|cell| cell == "True"),
        "{table}"
    );
    let (succeeded, told) = try_flux(namespace, &["reconcile", "helmrelease", "web"])?;
    ensure!(
        !succeeded && told.contains("resource is suspended"),
        "{told}"
    );
    let told = flux(namespace, &["resume", "helmrelease", "web"])?;
    ensure!(told.contains("applied revision 1.1.0"), "{told}");

    // DI-GET-015
    let traced = flux(namespace, &["trace", "configmap", "web-map"])?;
    for line in ["HelmRelease:", "1.1.0", "Helm upgrade succeeded"] {
        ensure!(traced.contains(line), "{line}: {traced}");
    }
    // DI-ACT-012
    let text = flux(namespace, &["export", "helmrelease", "web"])?;
    ensure!(
        text.contains("kind: HelmRelease")
            && text.contains("valuesFrom:")
            && !text.contains("status:"),
        "{text}"
    );

    // What helm removes, the next run installs again.
    let told = helm(namespace, &["status", "web"])?;
    ensure!(told.contains("STATUS: deployed"), "{told}");
    helm(namespace, &["uninstall", "web"])?;
    flux(namespace, &["reconcile", "helmrelease", "web"])?;
    let object = released(&all, "web", "1.1.0").await?;
    ensure!(history(&object) == ["1 deployed install"], "{object}");

    // DI-ACT-008
    flux(namespace, &["delete", "helmrelease", "web", "--silent"])?;
    namespace.wait_gone(HELM_RELEASE, "web").await?;
    let map = namespace.get(CONFIG_MAP, "web-map").await?;
    ensure!(map.is_none(), "the map is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_follows_a_release_from_its_kustomization_to_its_objects() -> Result {
    let all = Flux::start("hr-tree").await?;
    let namespace = &all.namespace;
    let ns = namespace.name().to_owned();
    let settings = Settings::default().flag(format!("--events-addr={}", all.events.url()));
    let _helm = Controller::start("helm-controller", namespace, settings).await?;
    let labels = json!({SHARD_LABEL: ns});
    let release = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1,
        "metadata": {"name": "web", "labels": labels},
        "spec": {"interval": "1h", "chart": {"metadata": {"labels": labels}, "spec": {"chart": "./charts/web",
            "reconcileStrategy": "Revision", "sourceRef": {"kind": "GitRepository", "name": "app"}}}}});
    let release = release.to_string();
    let revision = commit(&all, "1.0.0", &[("apps/web.yaml", &release)]);
    all.follow_main().await?;
    let kustomization = all.kustomization("apps", &["path: ./apps", "prune: true", "wait: true"]);
    namespace.apply(&kustomization).await?;
    all.applied("apps", &revision).await?;
    // DI-GET-016
    let tree = flux(namespace, &["tree", "kustomization", "apps"])?;
    for line in [
        format!("HelmRelease/{ns}/web"),
        format!("ConfigMap/{ns}/web-map"),
    ] {
        ensure!(tree.contains(&line), "{line}: {tree}");
    }
    // DI-GET-015
    let traced = flux(namespace, &["trace", "configmap", "web-map"])?;
    for line in ["HelmRelease:", "GitRepository:", "HelmChart:"] {
        ensure!(traced.contains(line), "{line}: {traced}");
    }
    // DI-GET-011: the command wants a `spec.chart`
    let events = flux(namespace, &["events", "--for", "HelmRelease/web"])?;
    ensure!(events.contains("InstallSucceeded"), "{events}");
    // DI-ACT-003: the generated HelmChart, and its source
    commit(&all, "1.2.0", &[]);
    let with_source = ["reconcile", "helmrelease", "web", "--with-source"];
    let told = flux(namespace, &with_source)?;
    let chart = namespace.get(HELM_CHART, &format!("{ns}-web")).await?;
    let chart = chart.unwrap_or_default();
    let revision = chart["status"]["artifact"]["revision"].as_str();
    let revision = revision.unwrap_or_default();
    ensure!(
        revision.starts_with("1.2.0+") && told.contains(&format!("applied revision {revision}")),
        "{revision}: {told}"
    );
    released(&all, "web", revision).await?;
    namespace.delete(kind_tests::KUSTOMIZATION, "apps").await?;
    namespace
        .wait_gone(kind_tests::KUSTOMIZATION, "apps")
        .await?;
    namespace.wait_gone(HELM_RELEASE, "web").await?;
    let map = namespace.get(CONFIG_MAP, "web-map").await?;
    ensure!(map.is_none(), "the map is left");
    Ok(())
}
