//! The real flux command with ArtifactGenerators.

use std::process::Command;

use kind_tests::{Result, ensure, flux_cli};

use crate::world::World;

/// What flux prints in the namespace.
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

// SW-GEN-200, SW-ART-067, DI-GET-017
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_lists_exports_and_shows_trees() -> Result {
    let world = World::start("generator-cli").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let spec = "artifacts: [{name: app, copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    world.ready("gen").await?;
    let table = run(&world, &["get", "artifact", "generators"])?;
    let row = table
        .lines()
        .find(|line| line.starts_with("gen"))
        .unwrap_or_default();
    let cells: Vec<&str> = row.trim_end().split('\t').map(str::trim).collect();
    assert_eq!(
        cells,
        [
            "gen",
            "False",
            "True",
            "reconciliation succeeded, generated 1 artifact(s)"
        ]
    );
    let tree = run(&world, &["tree", "artifact", "generator", "gen"])?;
    let namespace = world.namespace.name();
    ensure!(
        tree.contains(&format!("ArtifactGenerator/{namespace}/gen"))
            && tree.contains(&format!("ExternalArtifact/{namespace}/app")),
        "{tree}"
    );
    let exported = run(&world, &["export", "artifact", "generator", "gen"])?;
    ensure!(
        exported.contains("kind: ArtifactGenerator") && exported.contains("from: '@repo/**'"),
        "{exported}"
    );
    let table = run(&world, &["get", "source", "external"]);
    if let Ok(table) = table {
        ensure!(table.contains("app"), "{table}");
    }
    Ok(())
}
