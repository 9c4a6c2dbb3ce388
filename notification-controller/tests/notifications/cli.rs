//! The real flux command with Alerts, Providers and Receivers.

use std::process::Command;

use kind_tests::{RECEIVER, Result, ensure, flux_cli};

use crate::World;

/// Runs flux in the namespace; the cells of the row that begins with `name`, if the output is a table.
fn run(world: &World, arguments: &[&str], name: &str) -> Result<Vec<String>> {
    let output = Command::new(flux_cli::program()?)
        .args(arguments)
        .args(["--namespace", world.namespace.name(), "--timeout", "60s"])
        .env("KUBECONFIG", world.namespace.cluster().kubeconfig())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "flux {}:\n{text}{errors}",
        arguments.join(" ")
    );
    let row = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default();
    Ok(row
        .trim_end()
        .split('\t')
        .map(|cell| cell.trim().to_owned())
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_lists_and_reconciles() -> Result {
    let world = World::start("notify-cli").await?;
    world.secret("token", "token: t").await?;
    world
        .apply("Provider", "out", "type: generic, address: 'https://h'")
        .await?;
    world
        .apply(
            "Alert",
            "all",
            "providerRef: {name: out}, eventSources: [{kind: Kustomization, name: '*'}]",
        )
        .await?;
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    // NC-COMPAT-012
    let cells = run(&world, &["get", "alert-providers"], "out")?;
    ensure!(cells == ["out", "True", "Provider is Ready"], "{cells:?}");
    let cells = run(&world, &["get", "alerts"], "all")?;
    ensure!(
        cells == ["all", "False", "True", "Alert is Ready"],
        "{cells:?}"
    );
    // NC-COMPAT-013
    let cells = run(&world, &["get", "receivers"], "hook")?;
    ensure!(cells[..3] == ["hook", "False", "True"], "{cells:?}");
    ensure!(
        cells[3].starts_with("Receiver initialized for path: /hook/"),
        "{cells:?}"
    );
    // NC-COMPAT-014, NC-COMPAT-015
    run(&world, &["reconcile", "receiver", "hook"], "")?;
    run(&world, &["suspend", "receiver", "hook"], "")?;
    run(&world, &["resume", "receiver", "hook"], "")?;
    Ok(())
}
