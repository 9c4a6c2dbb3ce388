//! What the controllers show at `/metrics` about the objects that the commands made.

use std::collections::BTreeSet;

use kind_tests::{OCI_REPOSITORY, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::World;
use super::{PAUSE, queries};

/// The metrics that the queries of `manifests/monitoring` name.
fn queried() -> Result<BTreeSet<String>> {
    let families = [
        "gotk_",
        "controller_runtime_",
        "workqueue_",
        "rest_client_",
        "process_",
        "leader_election_",
    ];
    let mut names = BTreeSet::new();
    for query in queries::all()? {
        let query = query.text;
        let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let before = names.len();
        names.extend(
            words
                .filter(|word| families.iter().any(|family| word.starts_with(family)))
                .map(str::to_owned),
        );
        ensure!(
            names.len() > before || names.iter().any(|name| query.contains(name)),
            "{query} names no metric"
        );
    }
    Ok(names)
}

/// What all controllers show at `/metrics`.
pub(super) async fn pages(world: &World) -> Result<String> {
    let mut pages = String::new();
    for controller in world.controllers.iter().chain([&world.notification]) {
        let mut stream = tokio::net::TcpStream::connect(controller.metrics_address()).await?;
        let head = "GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await?;
        pages += &String::from_utf8_lossy(&page);
    }
    Ok(pages)
}

pub(super) async fn measured(world: &World) -> Result {
    let sent = async {
        while !self::pages(world)
            .await
            .is_ok_and(|pages| pages.contains("gotk_alert_events_total{"))
        {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world
        .namespace
        .wait_for("an alert is counted", sent)
        .await?;
    ensure!(!world.events.events().is_empty(), "no alert was sent");
    let pages = pages(world).await?;
    for name in queried()? {
        let shown = pages.lines().any(|line| {
            line.strip_prefix(&*name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        ensure!(shown, "no controller has the metric {name}");
    }
    // FO-MET-002, FO-ALT-010: the state of each object, with what operators read of its status
    let series = |kind: &str| {
        pages
            .lines()
            .filter(|line| line.starts_with("gotk_resource_info{"))
            .find(|line| line.contains(&format!("customresource_kind=\"{kind}\"")))
            .unwrap_or_default()
    };
    for (kind, labels) in [
        (
            "GitRepository",
            &["ready=\"True\"", "revision=\"main@sha1:", "url=\"http://"][..],
        ),
        (
            "Kustomization",
            &[
                "ready=\"True\"",
                "revision=\"main@sha1:",
                "source_name=\"app\"",
            ],
        ),
        (
            "HelmRelease",
            &[
                "ready=\"True\"",
                "revision=\"1.2.3",
                "chart_name=\"web\"",
                "chart_ref_name=\"chart\"",
            ],
        ),
        ("ImageRepository", &["ready=\"True\"", "image=\""]),
        ("ImagePolicy", &["ready=\"True\"", "source_name=\"app\""]),
        (
            "ImageUpdateAutomation",
            &["ready=\"True\"", "source_name=\"app\""],
        ),
        ("Receiver", &["ready=\"True\"", "webhook_path=\"/hook/"]),
        ("ArtifactGenerator", &["ready=\"True\""]),
        ("Alert", &["name=\"all\""]),
        ("Provider", &["name=\"chat\""]),
    ] {
        let series = series(kind);
        for label in labels {
            ensure!(series.contains(label), "{kind} lacks {label}: {series}");
        }
        let namespace = format!("exported_namespace=\"{}\"", world.namespace.name());
        ensure!(series.contains(&namespace), "{kind}: {series}");
    }
    // An object that is gone has no series.
    world
        .flux
        .run(&["delete", "source", "oci", "pushed", "--silent"])?;
    world.namespace.wait_gone(OCI_REPOSITORY, "pushed").await?;
    world
        .namespace
        .wait_for("the series is gone", async {
            while self::pages(world)
                .await
                .is_ok_and(|pages| pages.contains("/org/pushed\""))
            {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
}
