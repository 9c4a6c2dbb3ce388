//! From the finalizer to the deletion.

use kind_tests::controller::Settings;
use kind_tests::{Controller, IMAGE_POLICY, IMAGE_REPOSITORY, Result, ensure};
use registries::Registry;
use serde_json::{Value, json};

use crate::world::{REFLECTOR, World};

const LEASE: kind_tests::Kind = kind_tests::Kind("coordination.k8s.io/v1", "Lease");

#[tokio::test]
async fn objects_are_finalized_and_their_tags_removed() -> Result {
    let world = World::start("img-delete", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    // IR-REPO-043, IR-POL-033
    let object = world.scanned("app").await?;
    let finalizers = json!(["finalizers.fluxcd.io"]);
    assert_eq!(object["metadata"]["finalizers"], finalizers);
    let object = world.selected("app", "1.0.0").await?;
    assert_eq!(object["metadata"]["finalizers"], finalizers);
    // IR-PROC-038, IR-PROC-043
    let series = [
        "gotk_reconcile_duration_seconds_count{kind=\"ImageRepository\",name=\"app\"",
        "gotk_reconcile_duration_seconds_count{kind=\"ImagePolicy\",name=\"app\"",
        "controller_runtime_reconcile_total{controller=\"imagerepository\"",
        "controller_runtime_reconcile_total{controller=\"imagepolicy\"",
        "workqueue_adds_total{controller=\"imagerepository\"",
        // IR-PROC-009
        "controller_runtime_max_concurrent_reconciles{controller=\"imagepolicy\"} 4",
        // IR-PROC-041
        "gotk_token_cached_items 0",
    ];
    let metrics = world.controller.metrics_with(&series).await?;
    // IR-PROC-040
    for series in ["gotk_reconcile_condition{", "gotk_suspend_status{"] {
        ensure!(!metrics.contains(series), "{series} in\n{metrics}");
    }

    // IR-REPO-018, IR-REPO-045, IR-REPO-046
    world
        .namespace
        .merge(IMAGE_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    let before = world
        .namespace
        .get(IMAGE_REPOSITORY, "app")
        .await?
        .unwrap_or_default();
    let object = world.reconcile(IMAGE_REPOSITORY, "app").await?;
    let mut after = object["status"].clone();
    after
        .as_object_mut()
        .map(|status| status.remove("lastHandledReconcileAt"));
    assert_eq!(after, before["status"]);
    assert_eq!(world.scans(), 1);
    let message = "reconciliation is suspended for this object";
    world
        .controller
        .log()
        .wait("of the suspension", |line| line["msg"] == message)
        .await?;
    world
        .namespace
        .merge(IMAGE_POLICY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    let object = world.reconcile(IMAGE_POLICY, "app").await?;
    // IR-POL-020, IR-POL-024
    assert_eq!(object["status"]["observedGeneration"], 1);

    // IR-REPO-042, IR-REPO-110, IR-REPO-113: suspended objects are deleted too
    ensure!(world.file("app").exists(), "no tags");
    world.namespace.delete(IMAGE_REPOSITORY, "app").await?;
    world.namespace.wait_gone(IMAGE_REPOSITORY, "app").await?;
    ensure!(
        !world
            .file("app")
            .parent()
            .is_some_and(std::path::Path::exists),
        "tags are left"
    );
    // IR-POL-034
    world.namespace.delete(IMAGE_POLICY, "app").await?;
    world.namespace.wait_gone(IMAGE_POLICY, "app").await?;
    // IR-PROC-039
    let metrics = world.controller.metrics().await?;
    ensure!(!metrics.contains("name=\"app\""), "{metrics}");
    // IR-REPO-041, IR-REPO-112: what is gone is no error
    let log = world.controller.log().entries();
    ensure!(!log.iter().any(|line| line["level"] == "error"), "{log:?}");
    Ok(())
}

/// The status of a path of a server of the controller.
async fn answer(address: &str, path: &str) -> Result<u16> {
    let client = flux_http::ClientOptions::default().build()?;
    let answer = client.get(format!("http://{address}{path}")).send().await?;
    Ok(answer.status().as_u16())
}

#[tokio::test]
async fn one_replica_leads() -> Result {
    // IR-PROC-035: what the shipped Deployment sets
    let settings = || {
        Settings::default()
            .flag("--watch-all-namespaces")
            .flag("--log-level=info")
            .flag("--log-encoding=json")
            .flag("--enable-leader-election")
            .env("GOMEMLIMIT", "1073741824")
    };
    let world = World::start_with("img-lease", settings(), Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world.scanned("app").await?;
    // IR-PROC-018, IR-PROC-020: the selector is in the name of the Lease
    let names = world.namespace.names(LEASE).await?;
    let begin = "image-reflector-controller-leader-election-";
    ensure!(names.len() == 1 && names[0].starts_with(begin), "{names:?}");
    assert_eq!(names[0].len(), begin.len() + 8);

    // IR-DB-009, IR-PROC-037: the standby opens its store and answers, and leaves the objects alone
    let folder = world.namespace.folder().join("standby");
    let flag = format!("--storage-path={}", folder.display());
    let standby = Controller::start(REFLECTOR, &world.namespace, settings().flag(flag)).await?;
    for path in ["/healthz", "/readyz", "/healthz/ping", "/readyz/ping"] {
        // IR-PROC-003
        assert_eq!(
            answer(&standby.health_address(), path).await?,
            200,
            "{path}"
        );
    }
    ensure!(folder.join(".storage-version").is_file(), "no store");
    world.reconcile(IMAGE_REPOSITORY, "app").await?;
    ensure!(!folder.join("imagerepository").exists(), "both scan");
    // IR-PROC-044
    let pprof = answer(&standby.metrics_address(), "/debug/pprof/cmdline").await?;
    assert_eq!(pprof, 200);
    Ok(())
}

// IR-REPO-044: an object that was deleted before it had the finalizer
#[tokio::test]
async fn a_deleted_object_gets_no_finalizer() -> Result {
    let mut world = World::start("img-gone", Registry::start()).await?;
    world.push(&["1.0.0"]);
    let yaml = format!(
        "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageRepository, metadata: {{name: gone, finalizers: \
         [example.com/keep]}}, spec: {{image: '{}', interval: 1h}}}}",
        world.image()
    );
    // Created while no controller is there to see it.
    world.controller.terminate().await?;
    world.namespace.apply(&yaml).await?;
    world.namespace.delete(IMAGE_REPOSITORY, "gone").await?;
    world.controller.restart().await?;
    world.apply("app", "").await?;
    world.scanned("app").await?;
    let object = world.namespace.get(IMAGE_REPOSITORY, "gone").await?;
    let object = object.unwrap_or_default();
    let finalizers = json!(["example.com/keep"]);
    assert_eq!(object["metadata"]["finalizers"], finalizers);
    // Those of the second process.
    let entries = world.controller.log().entries();
    let mut lines = entries.rsplit(|line| line["msg"] == "starting manager");
    let lines = lines.next().unwrap_or_default();
    ensure!(
        !lines.iter().any(|line| line["level"] == "error"),
        "{lines:?}"
    );
    let none = json!({"metadata": {"finalizers": null}});
    world
        .namespace
        .merge(IMAGE_REPOSITORY, "gone", none)
        .await?;
    Ok(())
}

// IR-REPO-111: tags that cannot be removed keep the object
#[tokio::test]
async fn a_deletion_waits_for_the_store() -> Result {
    let world = World::start("img-undeletable", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world.scanned("app").await?;
    // A mount point, or a folder in use, cannot be removed; here a link that leads round in a circle stands for it.
    let kind = world
        .storage()
        .join("imagerepository")
        .join(world.namespace.name());
    let aside = world.storage().join("aside");
    std::fs::rename(&kind, &aside)?;
    std::os::unix::fs::symlink(&kind, &kind)?;
    world.namespace.delete(IMAGE_REPOSITORY, "app").await?;
    let failed = |line: &Value| {
        let text = line["error"].as_str().unwrap_or_default();
        text.starts_with("failed to delete tags: ")
    };
    world
        .controller
        .log()
        .wait("of the deletion", failed)
        .await?;
    let object = world
        .namespace
        .get(IMAGE_REPOSITORY, "app")
        .await?
        .unwrap_or_default();
    ensure!(object["metadata"]["finalizers"].is_array(), "{object}");
    // IR-PROC-053: the state of the store is not that of the process
    let ready = answer(&world.controller.health_address(), "/readyz").await?;
    assert_eq!(ready, 200);
    std::fs::remove_file(&kind)?;
    std::fs::rename(&aside, &kind)?;
    world.namespace.wait_gone(IMAGE_REPOSITORY, "app").await?;
    Ok(())
}
