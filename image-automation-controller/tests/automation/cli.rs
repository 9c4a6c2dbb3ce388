//! The real flux command with ImageUpdateAutomations.

use std::process::Command;

use kind_tests::{IMAGE_UPDATE_AUTOMATION, Result, ensure, flux_cli};

use crate::world::World;

/// Runs flux in the namespace; its output.
fn run(world: &World, arguments: &[&str]) -> Result<String> {
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
    Ok(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_lists_and_reconciles() -> Result {
    let world = World::start("ia-cli").await?;
    world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-STATUS-066
    let text = run(&world, &["get", "image", "update"])?;
    let row = text
        .lines()
        .find(|line| line.starts_with("auto"))
        .unwrap_or_default();
    let cells: Vec<_> = row.split('\t').map(str::trim).collect();
    let last = object["status"]["lastAutomationRunTime"]
        .as_str()
        .unwrap_or_default();
    ensure!(cells[..4] == ["auto", last, "False", "True"], "{text}");
    ensure!(cells.get(4) == Some(&"repository up-to-date"), "{text}");
    run(&world, &["reconcile", "image", "update", "auto"])?;
    run(&world, &["suspend", "image", "update", "auto"])?;
    let object = world.namespace.get(IMAGE_UPDATE_AUTOMATION, "auto").await?;
    ensure!(
        object.is_some_and(|it| it["spec"]["suspend"] == true),
        "suspended"
    );
    run(&world, &["resume", "image", "update", "auto"])?;
    let text = run(&world, &["export", "image", "update", "auto"])?;
    ensure!(text.contains("kind: ImageUpdateAutomation"), "{text}");

    // The command waits until what it has created is ready; only objects with the label are this controller's.
    let label = format!("{}={}", kind_tests::SHARD_LABEL, world.namespace.name());
    let spec = [
        "create",
        "image",
        "update",
        "made",
        "--git-repo-ref=app",
        "--git-repo-path=./apps",
        "--checkout-branch=main",
        "--push-branch=made",
        "--author-name=Flux",
        "--author-email=flux@example.com",
        "--commit-template={{range .Changed.Changes}}{{println .OldValue}}{{end}}",
        "--label",
        &label,
    ];
    run(&world, &spec)?;
    world.ready("made").await?;
    run(&world, &["delete", "image", "update", "made", "--silent"])?;
    world
        .namespace
        .wait_gone(IMAGE_UPDATE_AUTOMATION, "made")
        .await?;
    Ok(())
}
