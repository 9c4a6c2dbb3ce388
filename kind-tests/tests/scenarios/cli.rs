//! The real flux command works on our controllers as on upstream's.

use std::process::{Command, Output};

use kind_tests::{CONFIG_MAP, Flux, Result, ensure, flux_cli};

use crate::config_map;

/// Runs flux in the namespace and gives what it printed.
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

/// The cells of the one row that flux prints below its header.
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
async fn the_flux_command_shows_reconciles_suspends_and_resumes() -> Result {
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
