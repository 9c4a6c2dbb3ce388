//! From the first pass to the finalizer: waiting for sources, suspension, requests, deletion.

use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Answer, Result, condition, ensure};
use serde_json::{Value, json};

use crate::world::{EXTERNAL_ARTIFACT, GENERATOR, World};

const SPEC: &str = "artifacts: [{name: app, copy: [{from: '@repo/**', to: '@artifact/'}]}]";

fn annotate(key: &str, value: &Value) -> Value {
    json!({"metadata": {"annotations": {format!("source.extensions.fluxcd.io/{key}"): value}}})
}

// SW-GEN-061, SW-GEN-031
#[tokio::test]
async fn sources_are_waited_for() -> Result {
    let world = World::start("waits").await?;
    world.generate("gen", SPEC).await?;
    let message = world.fails("gen", "SourceFetchFailed").await?;
    assert_eq!(
        message,
        "get sources failed: GitRepository.source.toolkit.fluxcd.io \"repo\" not found"
    );
    world
        .told("gen", &format!("Warning SourceFetchFailed: {message}"))
        .await?;
    world
        .namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: repo}, spec: {url: 'https://host/r', interval: 1h}}")
        .await?;
    let not_ready = format!(
        "get sources failed: source 'GitRepository/{}/repo' is not ready",
        world.namespace.name()
    );
    let waits = |object: &Value| {
        condition(object, "Ready").is_some_and(|ready| ready["message"] == not_ready.as_str())
    };
    let waiting = world
        .namespace
        .wait(GENERATOR, "gen", "waits for the artifact", waits)
        .await?;
    // SW-GEN-062: no stall is left
    ensure!(condition(&waiting, "Stalled").is_none(), "{waiting:#}");
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let ready = world.ready("gen").await?;
    // SW-GEN-025
    assert_eq!(
        ready["metadata"]["finalizers"],
        json!(["source.extensions.fluxcd.io/finalizer"])
    );
    // SW-GEN-040
    ensure!(condition(&ready, "Reconciling").is_none(), "{ready:#}");
    Ok(())
}

// SW-GEN-081, SW-ART-002, SW-ART-004
#[tokio::test]
async fn downloads_are_retried() -> Result {
    let world = World::start("downloads").await?;
    let mut artifact = world.server.put("one", "r1", &[("a.yaml", "1")])?;
    let digest = artifact["digest"].clone();
    artifact["digest"] =
        json!("sha256:0000000000000000000000000000000000000000000000000000000000000000");
    world
        .publish(kind_tests::GIT_REPOSITORY, "repo", artifact.clone())
        .await?;
    world.generate("gen", SPEC).await?;
    let message = world.fails("gen", "SourceFetchFailed").await?;
    ensure!(
        message.starts_with(
            "fetch sources failed: failed to verify archive: computed digest doesn't match"
        ),
        "{message}"
    );
    artifact["digest"] = digest;
    artifact["url"] = json!(world.server.url("none.tar.gz"));
    world
        .publish(kind_tests::GIT_REPOSITORY, "repo", artifact.clone())
        .await?;
    let missing = |object: &Value| {
        condition(object, "Ready")
            .is_some_and(|ready| ready["message"] == "fetch sources failed: file not found")
    };
    let generator = world
        .namespace
        .wait(GENERATOR, "gen", "misses the file", missing)
        .await?;
    let reconciling = condition(&generator, "Reconciling").map(|found| found["reason"].clone());
    assert_eq!(reconciling, Some(json!("ProgressingWithRetry")));
    // SW-ART-001: what may pass is tried again within the run, what does not is not
    artifact["url"] = json!(world.server.url("one.tar.gz"));
    world.server.take_requests();
    let answers = [501, 503, 429, 500].map(Answer::Status);
    world.server.instead(answers);
    world
        .publish(kind_tests::GIT_REPOSITORY, "repo", artifact)
        .await?;
    let refused = |object: &Value| {
        condition(object, "Ready").is_some_and(|ready| {
            ready["message"].as_str().is_some_and(|message| {
                message.starts_with("fetch sources failed: failed to download archive from http://")
                    && message.contains("501")
            })
        })
    };
    world
        .namespace
        .wait(GENERATOR, "gen", "is refused", refused)
        .await?;
    world.ready("gen").await?;
    // SW-ART-069: the address of the status is fetched as it is
    assert_eq!(world.server.take_requests(), ["/one.tar.gz"; 5]);
    Ok(())
}

// SW-GEN-033
#[tokio::test]
async fn suspension_comes_before_the_checks_of_the_spec() -> Result {
    let world = World::start("order").await?;
    let copy = "{from: '@repo/**', to: '@artifact/'}";
    let invalid = format!("artifacts: [{{name: x, copy: [{copy}]}}, {{name: x, copy: [{copy}]}}]");
    let yaml = format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: gen, annotations: {{source.extensions.fluxcd.io/reconcile: disabled}}}},
          spec: {{sources: [{{alias: repo, kind: GitRepository, name: repo}}], {invalid}}}}}",
        GENERATOR.0, GENERATOR.1
    );
    world.namespace.apply(&yaml).await?;
    let generator = world.reconcile("gen").await?;
    let ready = condition(&generator, "Ready").map(|ready| ready["reason"].clone());
    assert_eq!(ready, Some(json!("ReconciliationDisabled")));
    ensure!(condition(&generator, "Stalled").is_none(), "{generator:#}");
    // the finalizer comes before both
    assert_eq!(
        generator["metadata"]["finalizers"],
        json!(["source.extensions.fluxcd.io/finalizer"])
    );
    world
        .namespace
        .merge(GENERATOR, "gen", annotate("reconcile", &Value::Null))
        .await?;
    // the checks come before the sources, which are absent
    world
        .condition("gen", "Stalled", "True", "ValidationFailed")
        .await?;
    world.namespace.delete(GENERATOR, "gen").await?;
    world.namespace.wait_gone(GENERATOR, "gen").await
}

// SW-GEN-091
#[tokio::test]
async fn a_generator_is_reconciled_at_its_interval() -> Result {
    let world = World::start("interval").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let yaml = format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: gen, annotations: {{source.extensions.fluxcd.io/reconcileEvery: 1s}}}},
          spec: {{sources: [{{alias: repo, kind: GitRepository, name: repo}}], {SPEC}}}}}",
        GENERATOR.0, GENERATOR.1
    );
    world.namespace.apply(&yaml).await?;
    world.ready("gen").await?;
    // nothing but the interval starts these runs: after the build, and after a run without drift
    for _ in 0..2 {
        std::fs::remove_dir_all(world.folder("app"))?;
        let back = async {
            while !world.folder("app").exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        world
            .namespace
            .wait_for("the artifact is back", back)
            .await?;
        world.ready("gen").await?;
    }
    world
        .told(
            "gen",
            "Normal Ready: No drift detected, 1 artifact(s) up to date",
        )
        .await
}

// SW-GEN-035, SW-GEN-036, SW-GEN-038
#[tokio::test]
async fn an_annotation_suspends_and_resumes() -> Result {
    let world = World::start("suspends").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let yaml = format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: gen, annotations: {{source.extensions.fluxcd.io/reconcile: Disabled}}}},
          spec: {{sources: [{{alias: repo, kind: GitRepository, name: repo}}], {SPEC}}}}}",
        GENERATOR.0, GENERATOR.1
    );
    world.namespace.apply(&yaml).await?;
    let message = world
        .condition("gen", "Ready", "True", "ReconciliationDisabled")
        .await?;
    assert_eq!(message, "Initialized with reconciliation suspended");
    world
        .told(
            "gen",
            "Normal ReconciliationDisabled: Reconciliation is disabled",
        )
        .await?;
    // SW-GEN-039
    world.reconcile("gen").await?;
    assert!(
        world
            .namespace
            .get(EXTERNAL_ARTIFACT, "app")
            .await?
            .is_none()
    );
    world
        .namespace
        .merge(GENERATOR, "gen", annotate("reconcile", &json!("enabled")))
        .await?;
    let published = |object: &Value| !object["status"]["artifact"].is_null();
    world
        .namespace
        .wait(EXTERNAL_ARTIFACT, "app", "is published", published)
        .await?;
    let before = world.condition("gen", "Ready", "True", "Succeeded").await?;

    world
        .namespace
        .merge(GENERATOR, "gen", annotate("reconcile", &json!("DISABLED")))
        .await?;
    // The controller knows of the annotation once it has handled a later request.
    world.reconcile("gen").await?;
    world.source("repo", "r2", &[("a.yaml", "2")]).await?;
    let generator = world.reconcile("gen").await?;
    assert_eq!(
        condition(&generator, "Ready").map(|ready| &ready["message"]),
        Some(&json!(before))
    );
    assert_eq!(world.files("app").await?["a.yaml"], "1");
    // SW-GEN-037
    world.namespace.delete(GENERATOR, "gen").await?;
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "app").await?;
    world.namespace.wait_gone(GENERATOR, "gen").await
}

// SW-GEN-115, SW-GEN-086, SW-ART-060
#[tokio::test]
async fn what_is_no_longer_made_is_removed() -> Result {
    let world = World::start("orphans").await?;
    world
        .source("repo", "r1", &[("apps/a/x", ""), ("apps/b/x", "")])
        .await?;
    let spec = |name: &str| {
        format!(
            "pathPattern: '@repo/apps/{{app}}', artifacts: [{{name: '{name}', copy: [{{from: '@repo/apps/{{app}}/**', to: '@artifact/'}}]}}]"
        )
    };
    world.generate("gen", &spec("{app}")).await?;
    let before = world.ready("gen").await?;
    world.generate("gen", &spec("new-{app}")).await?;
    world.ready("gen").await?;
    for name in ["a", "b"] {
        world.namespace.wait_gone(EXTERNAL_ARTIFACT, name).await?;
        ensure!(
            !world.folder(name).exists(),
            "the files of {name} are there"
        );
    }
    assert_eq!(
        world.namespace.names(EXTERNAL_ARTIFACT).await?,
        ["new-a", "new-b"]
    );
    world.source("repo", "r2", &[("other", "")]).await?;
    let none = world.settled("gen", &before).await?;
    assert_eq!(none["status"].get("inventory"), None);
    assert_eq!(
        condition(&none, "Ready").map(|ready| &ready["message"]),
        Some(&json!("reconciliation succeeded, generated 0 artifact(s)"))
    );
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "new-a").await
}

// SW-GEN-104, FR-N-115
#[tokio::test]
async fn a_commit_that_changes_no_copied_file_moves_the_origin_only() -> Result {
    let world = World::start("origin").await?;
    let spec = "artifacts: [{name: app, originRevision: '@repo', copy: [{from: '@repo/app/**', to: '@artifact/'}]}]";
    world.source("repo", "r1", &[("app/x", "1")]).await?;
    world.generate("gen", spec).await?;
    let before = world.ready("gen").await?;
    let first = world.artifact("app").await?["status"]["artifact"].clone();
    world
        .source("repo", "r2", &[("app/x", "1"), ("README.md", "more")])
        .await?;
    world.settled("gen", &before).await?;
    let second = world.artifact("app").await?["status"]["artifact"].clone();
    assert_eq!(
        [&first["revision"], &first["digest"]],
        [&second["revision"], &second["digest"]]
    );
    let origin =
        |artifact: &Value| artifact["metadata"]["org.opencontainers.image.revision"].clone();
    assert_eq!([origin(&first), origin(&second)], ["r1", "r2"]);
    // no artifact is news
    assert_eq!(world.posted("gen").len(), 1, "{:?}", world.posted("gen"));
    Ok(())
}

// SW-ART-054
#[tokio::test]
async fn metadata_that_is_gone_from_the_spec_is_removed() -> Result {
    let world = World::start("metadata").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let with = |labels: &str| format!("commonMetadata: {{labels: {{{labels}}}}}, {SPEC}");
    world.generate("gen", &with("a: x, b: w")).await?;
    world.ready("gen").await?;
    assert_eq!(world.artifact("app").await?["metadata"]["labels"]["a"], "x");
    world.generate("gen", &with("b: z")).await?;
    world.ready("gen").await?;
    let labels = world.artifact("app").await?["metadata"]["labels"].clone();
    assert_eq!((labels.get("a"), &labels["b"]), (None, &json!("z")));
    Ok(())
}

// SW-PROC-026
#[tokio::test]
async fn sources_may_be_read_from_the_api_server() -> Result {
    let settings = Settings::default().flag("--feature-gates=DirectSourceFetch=true");
    let world = World::start_with("direct", settings).await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let counter = Counter::start(world.namespace.cluster(), world.watcher.user())?;
    world.generate("gen", SPEC).await?;
    world.ready("gen").await?;
    let reads = counter.requests()?.into_iter();
    ensure!(
        reads
            .filter(|request| request.verb == "get" && request.resource == "gitrepositories")
            .count()
            > 0,
        "nothing was read"
    );
    let logged = |entry: &Value| {
        entry["msg"]
            .as_str()
            .is_some_and(|text| text.starts_with("DirectSourceFetch feature gate is enabled"))
    };
    world.watcher.log().wait("about the gate", logged).await?;
    Ok(())
}

// SW-PROC-022, FR-N-119
#[tokio::test]
async fn only_selected_generators_are_reconciled() -> Result {
    let world = World::start("sharded").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    // neither is a source of another shard left out
    let other = json!({"metadata": {"labels": {kind_tests::SHARD_LABEL: "other"}}});
    world
        .namespace
        .merge(kind_tests::GIT_REPOSITORY, "repo", other.clone())
        .await?;
    world.generate("gen", SPEC).await?;
    world.ready("gen").await?;
    world
        .generate("foreign", &SPEC.replace("app", "foreign"))
        .await?;
    world.ready("foreign").await?;
    world.namespace.merge(GENERATOR, "foreign", other).await?;
    world.reconcile("gen").await?;
    let foreign = world
        .namespace
        .get(GENERATOR, "foreign")
        .await?
        .unwrap_or_default();
    world
        .namespace
        .request_reconcile(GENERATOR, "foreign")
        .await?;
    world.reconcile("gen").await?;
    let after = world
        .namespace
        .get(GENERATOR, "foreign")
        .await?
        .unwrap_or_default();
    assert_eq!(foreign["status"], after["status"]);
    Ok(())
}

// SW-PROC-006, SW-GEN-092, RT-QUE-009
#[tokio::test]
async fn a_reconcile_ends_when_its_time_is_up() -> Result {
    let settings = Settings::default()
        .flag("--reconciliation-timeout=5s")
        .flag("--http-retry=0");
    let world = World::start_with("timeout", settings).await?;
    world
        .server
        .instead([kind_tests::Answer::Late(std::time::Duration::from_hours(1))]);
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    world.generate("gen", SPEC).await?;
    let message = world.fails("gen", "SourceFetchFailed").await?;
    assert_eq!(message, "fetch sources failed: context deadline exceeded");
    world.ready("gen").await?;
    let page = world.watcher.metrics().await?;
    let counter = "controller_runtime_reconcile_timeouts_total{controller=\"artifactgenerator\"} ";
    let counted = page.lines().find_map(|line| line.strip_prefix(counter));
    ensure!(counted.is_some_and(|count| count != "0"), "{counted:?}");
    Ok(())
}
