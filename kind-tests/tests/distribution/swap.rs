//! Each controller takes upstream's place by itself, all do, and upstream goes on after them: nothing is done twice, and
//! what is left is what upstream would have written.

mod facts;
mod objects;
mod upstream;
mod world;

use kind_tests::bundle::CONTROLLERS;
use kind_tests::{
    CONFIG_MAP, GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION, OCI_REPOSITORY, Result, SECRET,
    ensure, is_ready,
};
use serde_json::{Value, json};

use facts::{Facts, changes};
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_controller_takes_over_by_itself_and_gives_back() -> Result {
    let Some(mut world) = World::start().await? else {
        return Ok(());
    };
    world.as_upstream_leaves().await?;
    let before = Facts::read(&world).await?;
    let mut wrong = Vec::new();
    for name in CONTROLLERS {
        world.swap(name).await?;
        world.handle_all(name).await?;
        wrong.extend(changes(&before, &world, &format!("{name} alone")).await?);
        wrong.extend(writes(&world, name)?);
        if name == "notification-controller" {
            webhook_and_alert(&mut world).await?;
        }
        // Besides what upstream's own restart sends.
        let alerts = world.take_alerts().into_iter();
        wrong.extend(alerts.map(|event| format!("{name} alone: {event:#}")));
        world.give_back(name).await?;
        wrong.extend(changes(&before, &world, &format!("upstream after {name}")).await?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    for name in world::order() {
        world.swap(name).await?;
    }
    for name in CONTROLLERS {
        world.handle_all(name).await?;
    }
    wrong.extend(changes(&before, &world, "all").await?);
    for name in CONTROLLERS {
        wrong.extend(writes(&world, name)?);
    }
    let alerts = world.take_alerts().into_iter();
    wrong.extend(alerts.map(|event| format!("all: {event:#}")));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    // What ours did meanwhile, upstream goes on with.
    new_revisions(&world).await?;
    for name in CONTROLLERS {
        world.handle_all(name).await?;
    }
    let after = Facts::read(&world).await?;
    for name in CONTROLLERS {
        world.give_back(name).await?;
    }
    let wrong = changes(&after, &world, "upstream after all").await?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The writes of the controller since it took over, besides its own statuses, events and Leases, and dry runs.
fn writes(world: &World, name: &str) -> Result<Vec<String>> {
    let requests = world.requests(name)?;
    ensure!(!requests.is_empty(), "{name} did nothing");
    let others = requests.into_iter().filter(|request| {
        let reads = matches!(&*request.verb, "get" | "list" | "watch" | "head");
        let own = request.resource.ends_with("/status")
            || matches!(
                &*request.resource,
                "events" | "leases" | "subjectaccessreviews"
            );
        !reads && !own && !request.uri.contains("dryRun=All")
    });
    // DI-TRP-001: nothing is applied, upgraded, pruned or annotated
    Ok(others
        .map(|request| format!("{name}: {request:?}"))
        .collect())
}

/// A webhook at the address that upstream gave the Receiver, and one event that alerts are for.
async fn webhook_and_alert(world: &mut World) -> Result {
    let source = world.get(GIT_REPOSITORY, "app").await?;
    let requested = source["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
    world.webhook().await?;
    world
        .namespace
        .wait(GIT_REPOSITORY, "app", "was triggered", |object| {
            object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"] != requested
        })
        .await?;
    // What upstream's kustomize-controller posts when it has restarted refreshes commit statuses only; the failure after it
    // is an alert, so the first was handled before.
    for (severity, reason, refresh) in [
        ("info", "ReconciliationSucceeded", true),
        ("error", "ReconciliationFailed", false),
    ] {
        world.post_event(severity, reason, refresh).await?;
    }
    world.alerted("ReconciliationFailed").await?;
    let alerts = world.take_alerts();
    ensure!(alerts.len() == 1, "{alerts:#?}");
    Ok(())
}

/// A commit, and a chart that differs: both are rolled out by ours, once.
async fn new_revisions(world: &World) -> Result {
    let commit = world
        .repo
        .commit("main")
        .file("deploy/map.yaml", world::map("new"))
        .create();
    world
        .namespace
        .request_reconcile(GIT_REPOSITORY, "app")
        .await?;
    let revision = format!("main@sha1:{commit}");
    world
        .namespace
        .wait(KUSTOMIZATION, "app", "is at the new commit", |object| {
            is_ready(object, "True") && object["status"]["lastAppliedRevision"] == *revision
        })
        .await?;
    let map = world.get(CONFIG_MAP, "map").await?;
    assert_eq!(map["data"]["k"], "new");
    world.push_chart("1.2.4", "large");
    let patch = json!({"spec": {"ref": {"tag": "1.2.4"}}});
    world
        .namespace
        .merge(OCI_REPOSITORY, "chart", patch)
        .await?;
    world
        .namespace
        .wait(HELM_RELEASE, "rel", "is at the new chart", |object| {
            let version = object["status"]["history"][0]["chartVersion"].as_str();
            // The digest of the chart follows its version.
            is_ready(object, "True") && version.is_some_and(|version| version.starts_with("1.2.4"))
        })
        .await?;
    // The record of the upgrade is one that Helm finds next to the one before.
    let first = world.get(SECRET, "sh.helm.release.v1.rel.v1").await?;
    let second = world.get(SECRET, "sh.helm.release.v1.rel.v2").await?;
    let labels = |secret: &Value| {
        let labels = &secret["metadata"]["labels"];
        ["name", "owner", "status", "version"].map(|label| labels[label].clone())
    };
    assert_eq!(
        labels(&first),
        ["rel", "helm", "superseded", "1"].map(Value::from)
    );
    assert_eq!(
        labels(&second),
        ["rel", "helm", "deployed", "2"].map(Value::from)
    );
    assert_eq!(second["type"], "helm.sh/release.v1");
    Ok(())
}
