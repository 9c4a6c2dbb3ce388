//! The real flux command works with this controller as with upstream's.

use std::process::Command;

use kind_tests::{Result, ensure, flux_cli};
use registries::Registry;

use crate::world::World;

/// Runs flux in the namespace and returns its output.
fn flux(world: &World, arguments: &[&str]) -> Result<String> {
    let output = Command::new(flux_cli::program()?)
        .args(arguments)
        .args(["--namespace", world.namespace.name(), "--timeout", "60s"])
        .env("KUBECONFIG", world.namespace.cluster().kubeconfig())
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let text = text(&output.stdout) + &text(&output.stderr);
    ensure!(
        output.status.success(),
        "flux {}: {text}",
        arguments.join(" ")
    );
    Ok(text)
}

/// The cells of the row of this name.
fn row(table: &str, name: &str) -> Vec<String> {
    let line = table
        .lines()
        .find(|line| line.split('\t').any(|cell| cell.trim() == name));
    let cells = line.unwrap_or_default().trim_end().split('\t');
    cells.map(|cell| cell.trim().to_owned()).collect()
}

// IR-REPO-123, IR-REPO-124
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_shows_reconciles_suspends_and_resumes_images() -> Result {
    let world = World::start("img-cli", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    let object = world.scanned("app").await?;
    world.selected("app", "1.0.0").await?;
    let scan = &object["status"]["lastScanResult"];
    let (time, revision) = (&scan["scanTime"], &scan["revision"]);
    let (time, revision) = (
        time.as_str().unwrap_or_default(),
        revision.as_str().unwrap_or_default(),
    );

    let table = flux(&world, &["get", "image", "repository"])?;
    let message = format!("successful scan: found 1 tags with checksum {revision}");
    assert_eq!(
        row(&table, "app"),
        ["app", time, "False", "True", &message],
        "{table}"
    );
    let table = flux(&world, &["get", "image", "policy"])?;
    let image = world.image();
    let message = format!("Latest image tag for {image} resolved to 1.0.0");
    assert_eq!(
        row(&table, "app"),
        ["app", &image, "1.0.0", "True", &message],
        "{table}"
    );
    let all = flux(&world, &["get", "images", "all"])?;
    ensure!(
        all.contains("imagerepository/app") && all.contains("imagepolicy/app"),
        "{all}"
    );

    world.push(&["1.1.0"]);
    let told = flux(&world, &["reconcile", "image", "repository", "app"])?;
    ensure!(told.contains("scan fetched 2 tags"), "{told}");
    world.selected("app", "1.1.0").await?;
    let told = flux(&world, &["reconcile", "image", "policy", "app"])?;
    ensure!(
        told.contains("selected ref") || told.contains("1.1.0"),
        "{told}"
    );
    flux(&world, &["suspend", "image", "repository", "app"])?;
    let table = flux(&world, &["get", "image", "repository"])?;
    assert_eq!(
        row(&table, "app").get(2).map(String::as_str),
        Some("True"),
        "{table}"
    );
    flux(&world, &["resume", "image", "repository", "app"])?;
    let exported = flux(&world, &["export", "image", "repository", "app"])?;
    ensure!(exported.contains(&format!("image: {image}")), "{exported}");
    flux(&world, &["suspend", "image", "policy", "app"])?;
    let object = world.namespace.get(kind_tests::IMAGE_POLICY, "app").await?;
    ensure!(
        object.is_some_and(|it| it["spec"]["suspend"] == true),
        "not suspended"
    );
    flux(&world, &["resume", "image", "policy", "app"])?;
    let exported = flux(&world, &["export", "image", "policy", "app"])?;
    ensure!(exported.contains("range: '*'"), "{exported}");

    // The command waits until what it has created is ready; only objects with the label are this controller's.
    let label = format!("{}={}", kind_tests::SHARD_LABEL, world.namespace.name());
    let spec = ["--image", &image, "--interval", "1h", "--label", &label];
    flux(
        &world,
        &[&["create", "image", "repository", "made"][..], &spec].concat(),
    )?;
    world.scanned("made").await?;
    let spec = [
        "--image-ref",
        "made",
        "--select-semver",
        "1.0.x",
        "--label",
        &label,
    ];
    flux(
        &world,
        &[&["create", "image", "policy", "made"][..], &spec].concat(),
    )?;
    world.selected("made", "1.0.0").await?;
    flux(&world, &["delete", "image", "policy", "made", "--silent"])?;
    flux(
        &world,
        &["delete", "image", "repository", "made", "--silent"],
    )?;
    world
        .namespace
        .wait_gone(kind_tests::IMAGE_REPOSITORY, "made")
        .await?;
    Ok(())
}
