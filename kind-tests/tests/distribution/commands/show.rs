//! Commands that read: `flux get`, `tree`, `list`.

use kind_tests::requests::Counter;
use kind_tests::{
    EXTERNAL_ARTIFACT, HELM_RELEASE, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION,
    Result, SHARD_LABEL, ensure,
};

use super::PAUSE;
use super::world::{CLI, World};
use crate::cli::{Flux, row};

pub(super) async fn shown(world: &World) -> Result {
    let flux = &world.flux;
    let cut = |text: &str| match text.rsplit_once(':') {
        Some((head, hex)) => format!("{head}:{}", hex.get(..8).unwrap_or(hex)),
        None => text.to_owned(),
    };
    let applied = world.get(KUSTOMIZATION, "app").await?;
    let revision = applied["status"]["lastAppliedRevision"].as_str();
    let revision = cut(revision.unwrap_or_default());
    // DI-GET-002, DI-CLI-004
    let table = flux.run(&["get", "kustomizations"])?;
    let message = format!("Applied revision: {revision}");
    assert_eq!(
        row(&table, "app"),
        ["app", &revision, "False", "True", &message],
        "{table}"
    );
    let table = flux.run(&["get", "ks", "--show-source"])?;
    ensure!(
        row(&table, "app")
            .iter()
            .any(|cell| cell.contains("GitRepository")),
        "{table}"
    );
    // DI-GET-003
    let release = world.get(HELM_RELEASE, "rel").await?;
    let version = release["status"]["history"][0]["chartVersion"].as_str();
    let table = flux.run(&["get", "helmreleases"])?;
    let cells = row(&table, "rel");
    assert_eq!(
        cells.get(1..4).unwrap_or_default(),
        [version.unwrap_or_default(), "False", "True"],
        "{table}"
    );
    let table = flux.run(&["get", "hr", "--show-source"])?;
    ensure!(
        table.contains("OCIRepository/") && table.contains("/chart"),
        "{table}"
    );
    // DI-GET-005
    let part = world.get(EXTERNAL_ARTIFACT, "part").await?;
    let table = flux.run(&["get", "sources", "external"])?;
    let cells = row(&table, "part");
    let digest = part["status"]["artifact"]["revision"].as_str();
    ensure!(
        cells.get(1) == Some(&cut(digest.unwrap_or_default()))
            && cells
                .iter()
                .any(|cell| cell.contains("ArtifactGenerator/") && cell.ends_with("/parts")),
        "{cells:?}\n{table}"
    );
    // DI-GET-006
    let scanned = world.get(IMAGE_REPOSITORY, "app").await?;
    let time = scanned["status"]["lastScanResult"]["scanTime"].as_str();
    let table = flux.run(&["get", "images", "all"])?;
    let cells = row(&table, "imagerepository/app");
    assert_eq!(cells.get(1).map(String::as_str), time, "{table}");
    let cells = row(&table, "imagepolicy/app");
    let image = format!("{}/org/app", world.registry.host());
    assert_eq!(
        cells.get(1..3).unwrap_or_default(),
        [&*image, "1.0.0"],
        "{table}"
    );
    let updated = world.get(IMAGE_UPDATE_AUTOMATION, "app").await?;
    let time = updated["status"]["lastAutomationRunTime"].as_str();
    let cells = row(&table, "imageupdateautomation/app");
    assert_eq!(cells.get(1).map(String::as_str), time, "{table}");
    // DI-GET-007
    let table = flux.run(&["get", "all"])?;
    for (name, message) in [
        ("alert/all", "Alert is Ready"),
        ("provider/chat", "Provider is Ready"),
    ] {
        let cells = row(&table, name);
        ensure!(
            cells.ends_with(&["True".to_owned(), message.to_owned()]),
            "{name}: {cells:?}\n{table}"
        );
    }
    let cells = row(&table, "receiver/hook");
    ensure!(
        cells
            .last()
            .is_some_and(|cell| cell.starts_with("Receiver initialized for path: /hook/")),
        "{cells:?}\n{table}"
    );
    let table = flux.run(&["get", "artifact", "generators"])?;
    ensure!(
        row(&table, "parts")
            .get(2)
            .is_some_and(|cell| cell == "True"),
        "{table}"
    );
    // DI-GET-008, DI-ACT-018
    let table = flux.run(&["get", "ks", "--status-selector", "ready=TRUE"])?;
    ensure!(!row(&table, "app").is_empty(), "{table}");
    let told = flux
        .attempt(&["get", "ks", "--status-selector", "ready!=true"])?
        .text();
    ensure!(
        row(&told, "app").first().is_none_or(String::is_empty),
        "{told}"
    );
    let label = format!("{SHARD_LABEL}={}", world.namespace.name());
    let table = flux
        .plain(&["get", "ks", "-A", "-l", &label, "--no-header"])?
        .stdout;
    ensure!(
        table.lines().count() == 1 && table.starts_with(world.namespace.name()),
        "{table}"
    );
    // DI-CLI-001
    let other = Flux::new(world.namespace.cluster(), CLI, "none")?
        .env("FLUX_SYSTEM_NAMESPACE", world.namespace.name());
    let told = other.plain(&["get", "kustomizations"])?;
    ensure!(
        told.code == Some(0) && !row(&told.stdout, "app").is_empty(),
        "{}",
        told.text()
    );
    // DI-GET-009
    let counter = Counter::start(world.namespace.cluster(), CLI)?;
    flux.run(&["get", "kustomization", "app"])?;
    world
        .namespace
        .wait_for("the request is in the audit log", async {
            loop {
                let requests = counter.requests().unwrap_or_default();
                let asked = requests.iter().any(|request| {
                    request.verb == "list"
                        && request.uri.contains("fieldSelector=metadata.name%3Dapp")
                });
                if asked {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await?;
    // DI-GET-016
    let namespace = world.namespace.name();
    let tree = flux.run(&["tree", "kustomization", "app"])?;
    for line in [
        format!("Kustomization/{namespace}/app"),
        format!("ConfigMap/{namespace}/map"),
        format!("HelmRelease/{namespace}/rel"),
        format!("ConfigMap/{namespace}/from-chart"),
    ] {
        ensure!(tree.contains(&line), "{line}: {tree}");
    }
    Ok(())
}
