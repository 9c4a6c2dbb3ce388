//! The real flux command works with our controllers as with upstream's.

use std::process::{Command, Output};

use kind_tests::{CONFIG_MAP, Flux, Result, SECRET, ensure, flux_cli};
use serde_json::json;

use crate::config_map;

/// Runs flux in the namespace and returns its output.
fn run(flux: &Flux, arguments: &[&str]) -> Result<String> {
    let output: Output = Command::new(flux_cli::program()?)
        .args(arguments)
        .args(["--namespace", flux.namespace.name(), "--timeout", "60s"])
        .env("KUBECONFIG", flux.namespace.cluster().kubeconfig())
        .output()?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.success(),
        "flux {} ended with {}:\n{text}",
        arguments.join(" "),
        output.status
    );
    Ok(text)
}

/// The cells of the single row that flux prints below its header.
fn row(table: &str) -> Vec<String> {
    let line = table.lines().find(|line| line.starts_with("app"));
    // The command ends each row with a tab.
    line.unwrap_or_default()
        .trim_end()
        .split('\t')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_can_get_reconcile_suspend_and_resume() -> Result {
    let (flux, revision) = Flux::running(
        "cli",
        &[("a.yaml", &config_map("a", "1"))],
        &["prune: true"],
    )
    .await?;
    let shown = revision.get(.."main@sha1:".len() + 8).unwrap_or_default();

    let table = run(&flux, &["get", "sources", "git"])?;
    let cells = row(&table);
    let expected = [
        "app",
        shown,
        "False",
        "True",
        &format!("stored artifact for revision '{shown}'"),
    ];
    assert_eq!(cells, expected, "{table}");
    let table = run(&flux, &["get", "kustomizations"])?;
    let expected = [
        "app",
        shown,
        "False",
        "True",
        &format!("Applied revision: {shown}"),
    ];
    assert_eq!(row(&table), expected, "{table}");

    // KC-API-048
    let second = flux.commit(&[("a.yaml", &config_map("a", "2"))]);
    let told = run(
        &flux,
        &["reconcile", "kustomization", "app", "--with-source"],
    )?;
    assert!(
        told.contains(&format!("fetched revision {second}")),
        "{told}"
    );
    assert!(
        told.contains(&format!("applied revision {second}")),
        "{told}"
    );
    let map = flux
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    assert_eq!(map["data"]["v"], "2");

    run(&flux, &["suspend", "kustomization", "app"])?;
    let table = run(&flux, &["get", "kustomizations"])?;
    assert_eq!(
        row(&table).get(2).map(String::as_str),
        Some("True"),
        "{table}"
    );
    let told = run(&flux, &["resume", "kustomization", "app"])?;
    assert!(
        told.contains(&format!("applied revision {second}")),
        "{told}"
    );

    // KC-PRUNE-024
    let tree = run(&flux, &["tree", "kustomization", "app"])?;
    assert!(
        tree.contains(&format!("ConfigMap/{}/a", flux.namespace.name())),
        "{tree}"
    );
    let events = run(&flux, &["events", "--for", "Kustomization/app"])?;
    assert!(events.contains("ReconciliationSucceeded"), "{events}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_diff_only_reports_actual_differences() -> Result {
    const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.k8s.io/pause:3.10, ports: [{containerPort: 80}]}]}
";
    let files = [
        ("deploy/web.yaml", WEB.to_owned()),
        (
            "deploy/a.yaml",
            config_map("a", "${region}"),
        ),
        (
            "deploy/s.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: hidden-value}\n".to_owned(),
        ),
    ];
    let texts: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let substitute = "postBuild: {substitute: {region: north}}";
    let (flux, _) = Flux::running(
        "cli-diff",
        &texts,
        &["path: deploy", "prune: true", substitute],
    )
    .await?;
    let folder = flux.namespace.folder().join("checkout");
    std::fs::create_dir_all(folder.join("deploy"))?;
    for (path, text) in &files {
        std::fs::write(folder.join(path), text)?;
    }
    let deploy = folder.join("deploy");
    let path = format!("--path={}", deploy.display());
    // KC-BLD-038: what flux builds and compares locally equals what the controller has built and applied
    let built = run(&flux, &["build", "kustomization", "app", &path])?;
    ensure!(built.contains("v: north"), "{built}");
    let same = run(
        &flux,
        &[
            "diff",
            "kustomization",
            "app",
            &path,
            "--progress-bar=false",
        ],
    )?;
    for word in ["drifted", "created", "deleted"] {
        ensure!(!same.contains(word), "{same}");
    }
    let namespace = &flux.namespace;
    let changed = json!({"stringData": {"token": "another-value"}});
    namespace.merge(SECRET, "s", changed).await?;
    let drifted = run(
        &flux,
        &[
            "diff",
            "kustomization",
            "app",
            &path,
            "--progress-bar=false",
        ],
    );
    let text = drifted
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    let secret = format!("Secret/{}/s drifted", namespace.name());
    ensure!(text.contains(&secret), "{text}");
    for hidden in ["hidden-value", "another-value"] {
        ensure!(!text.contains(hidden), "{text}");
    }
    Ok(())
}
