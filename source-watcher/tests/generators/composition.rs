//! Sources of every kind are composed into artifacts, which other generators use in turn.

use flate2::Compression;
use flate2::write::GzEncoder;
use kind_tests::{BUCKET, GIT_REPOSITORY, HELM_CHART, OCI_REPOSITORY, Result, condition, ensure};
use serde_json::{Value, json};

use crate::world::{EXTERNAL_ARTIFACT, World, files};

/// An archive of files.
fn tarball(files: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes())?;
    }
    Ok(archive.into_inner()?.finish()?)
}

#[tokio::test]
async fn sources_of_every_kind_are_composed() -> Result {
    let world = World::start("compose").await?;
    let put = |name: &str, files: &[(&str, &str)]| {
        world.server.put(name, &format!("{name}@sha1:1"), files)
    };
    let chart = put(
        "chart",
        &[
            ("app/values.yaml", "a: 1\nb: {c: 2}\n"),
            ("app/Chart.yaml", "name: app\n"),
        ],
    )?;
    world.publish(HELM_CHART, "chart", chart).await?;
    let git = put(
        "git",
        &[("env/values.yaml", "b: {d: 3}\n"), ("env/notes.md", "")],
    )?;
    world.publish(GIT_REPOSITORY, "git", git).await?;
    world
        .publish(
            OCI_REPOSITORY,
            "oci",
            put("oci", &[("policies/p.yaml", "p: 1\n")])?,
        )
        .await?;
    world
        .publish(
            BUCKET,
            "bucket",
            put("bucket", &[("app/config.yaml", "k: v\n")])?,
        )
        .await?;
    let mut external = put("external", &[("inputs.yaml", "replicas: 3\n")])?;
    external["metadata"] = json!({"org.opencontainers.image.revision": "v1@sha1:0", "other": "x"});
    world
        .publish(EXTERNAL_ARTIFACT, "external", external)
        .await?;

    world
        .apply(
            "all",
            "sources: [
                {alias: chart, kind: HelmChart, name: chart},
                {alias: git, kind: GitRepository, name: git, namespace: ${namespace}},
                {alias: oci, kind: OCIRepository, name: oci},
                {alias: bucket, kind: Bucket, name: bucket},
                {alias: external, kind: ExternalArtifact, name: external}],
             commonMetadata: {labels: {team: a}, annotations: {note: hi}},
             artifacts: [
                {name: app, originRevision: '@external', inputsFrom: '@external/inputs.yaml', copy: [
                    {from: '@chart/', to: '@artifact/'},
                    {from: '@git/env/values.yaml', to: '@artifact/app/values.yaml', strategy: Merge},
                    {from: '@oci/policies/**', to: '@artifact/policies/'},
                    {from: '@bucket/app/config.yaml', to: '@artifact/config/'}]},
                {name: env, revision: '@git', originRevision: '@git', copy: [
                    {from: '@git/**', to: '@artifact/', exclude: ['*.md']}]}]",
        )
        .await?;
    let generator = world.ready("all").await?;
    let ready = condition(&generator, "Ready").cloned().unwrap_or_default();
    // SW-GEN-087
    ensure!(
        (&ready["reason"], &ready["message"])
            == (
                &json!("Succeeded"),
                &json!("reconciliation succeeded, generated 2 artifact(s)")
            ),
        "{ready:#}"
    );
    // SW-ART-006, SW-GEN-160
    let app = world.files("app").await?;
    let names: Vec<&str> = app.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "app/Chart.yaml",
            "app/values.yaml",
            "config/config.yaml",
            "policies/p.yaml"
        ]
    );
    assert_eq!(app["app/values.yaml"], "a: 1\nb:\n  c: 2\n  d: 3\n");
    let env = world.files("env").await?;
    assert_eq!(env.keys().collect::<Vec<_>>(), ["env/values.yaml"]);

    check_objects(&world, &generator).await?;
    check_events(&world, &generator).await?;
    chained(&world).await?;
    served(&world).await
}

async fn check_objects(world: &World, generator: &Value) -> Result {
    let uid = &generator["metadata"]["uid"];
    let app = world.artifact("app").await?;
    // SW-ART-051, SW-ART-052, SW-ART-053
    let labels = &app["metadata"]["labels"];
    assert_eq!(labels["team"], "a");
    assert_eq!(labels["app.kubernetes.io/managed-by"], "source-watcher");
    assert_eq!(labels["source.extensions.fluxcd.io/generator"], *uid);
    assert_eq!(app["metadata"]["annotations"], json!({"note": "hi"}));
    let managers = app["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let managers: Vec<_> = managers
        .iter()
        .map(|entry| {
            [
                &entry["manager"],
                &entry["operation"],
                &entry["subresource"],
            ]
            .map(Value::as_str)
        })
        .collect();
    assert_eq!(
        managers,
        [
            [Some("source-watcher"), Some("Apply"), None],
            [Some("source-watcher"), Some("Apply"), Some("status")],
        ]
    );
    // SW-ART-058
    ensure!(
        app["metadata"].get("ownerReferences").is_none()
            && app["metadata"].get("finalizers").is_none(),
        "{app:#}"
    );
    let artifact = &app["status"]["artifact"];
    // SW-GEN-100
    let revision = format!("latest@{}", artifact["digest"].as_str().unwrap_or_default());
    assert_eq!(artifact["revision"], json!(revision));
    // SW-GEN-103, SW-GEN-105
    assert_eq!(
        artifact["metadata"],
        json!({"org.opencontainers.image.revision": "v1@sha1:0"})
    );
    // SW-GEN-215
    assert_eq!(app["status"]["exportedInputs"], json!({"replicas": 3}));
    // SW-ART-055, SW-ART-066, SW-ART-030
    let ready = condition(&app, "Ready").cloned().unwrap_or_default();
    assert_eq!(
        [&ready["status"], &ready["reason"], &ready["message"]],
        ["True", "Succeeded", "Artifact is ready"]
    );
    assert_eq!(ready["observedGeneration"], app["metadata"]["generation"]);
    let path = artifact["path"].as_str().unwrap_or_default();
    let folder = format!("externalartifact/{}/app/", world.namespace.name());
    ensure!(
        path.starts_with(&folder) && path.ends_with(".tar.gz"),
        "{path}"
    );
    let host = world.watcher.artifact_address().unwrap_or_default();
    assert_eq!(artifact["url"], json!(format!("http://{host}/{path}")));
    // SW-GEN-101, SW-GEN-103
    let env = world.artifact("env").await?["status"]["artifact"].clone();
    assert_eq!(env["revision"], "git@sha1:1");
    assert_eq!(
        env["metadata"]["org.opencontainers.image.revision"],
        "git@sha1:1"
    );
    // SW-GEN-021, SW-GEN-022, SW-GEN-023
    let inventory = &generator["status"]["inventory"];
    let file = path.rsplit('/').next();
    assert_eq!(
        inventory[0],
        json!({"name": "app", "namespace": world.namespace.name(), "digest": artifact["digest"], "filename": file})
    );
    assert_eq!(inventory[1]["name"], "env");
    ensure!(
        generator["status"].get("observedGeneration").is_none(),
        "{generator:#}"
    );
    Ok(())
}

async fn check_events(world: &World, generator: &Value) -> Result {
    let namespace = world.namespace.name();
    let digest = |at: usize| {
        generator["status"]["inventory"][at]["digest"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    // SW-GEN-089, SW-PROC-037
    let news = format!(
        "external artifacts reconciled: {namespace}/app ({})\n{namespace}/env ({})",
        digest(0),
        digest(1)
    );
    let event = world
        .events
        .wait("about the artifacts", |event| {
            event["message"] == news.as_str()
        })
        .await?;
    assert_eq!(event["reason"], "Ready");
    assert_eq!(event["reportingController"], "source-watcher");
    // SW-GEN-088, SW-GEN-090: in Kubernetes only
    for message in [
        "reconciliation succeeded, generated 2 artifact(s)".to_owned(),
        format!(
            "ExternalArtifact/{namespace}/app reconciled with revision latest@{}",
            digest(0)
        ),
        format!("ExternalArtifact/{namespace}/env reconciled with revision git@sha1:1"),
    ] {
        world
            .told("all", &format!("Normal Ready: {message}"))
            .await?;
        ensure!(
            !world
                .posted("all")
                .iter()
                .any(|posted| posted.contains(&message)),
            "{message} was posted"
        );
    }
    world.events.check()
}

/// SW-ART-064: an artifact is the source of another one, which has its origin.
async fn chained(world: &World) -> Result {
    world
        .apply(
            "chained",
            "sources: [{alias: app, kind: ExternalArtifact, name: app}],
             artifacts: [{name: config, originRevision: '@app', copy: [{from: '@app/config/**', to: '@artifact/'}]}]",
        )
        .await?;
    let before = world.ready("chained").await?;
    let config = world.artifact("config").await?;
    let artifact = &config["status"]["artifact"];
    assert_eq!(files(artifact).await?["config.yaml"], "k: v\n");
    assert_eq!(
        artifact["metadata"]["org.opencontainers.image.revision"],
        "v1@sha1:0"
    );
    let untouched = world.artifact("env").await?;
    let bucket = world.server.put(
        "bucket-2",
        "bucket@sha1:2",
        &[("app/config.yaml", "k: w\n")],
    )?;
    world.publish(BUCKET, "bucket", bucket).await?;
    world.settled("chained", &before).await?;
    assert_eq!(world.files("config").await?["config.yaml"], "k: w\n");
    // the other artifact has not changed
    let env = world.artifact("env").await?;
    ensure!(env == untouched, "{env:#}");
    Ok(())
}

/// SW-ART-031 to SW-ART-035
async fn served(world: &World) -> Result {
    let client = flux_http::ClientOptions::default().build()?;
    let host = world.watcher.artifact_address().unwrap_or_default();
    let artifact = world.artifact("app").await?["status"]["artifact"].clone();
    let url = artifact["url"].as_str().unwrap_or_default().to_owned();
    // SW-ART-032
    let root = client.get(format!("http://{host}/")).send().await?;
    assert_eq!(root.status(), 200);
    // SW-ART-033, SW-ART-034: over plain HTTP, without credentials
    let head = client.head(&url).send().await?;
    assert_eq!(head.status(), 200);
    let length = head.headers()["content-length"].to_str()?.to_owned();
    assert_eq!(length, artifact["size"].to_string());
    ensure!(head.headers().contains_key("last-modified"), "{head:?}");
    let part = client.get(&url).header("range", "bytes=0-1").send().await?;
    assert_eq!(
        (part.status().as_u16(), part.bytes().await?.len()),
        (206, 2)
    );
    assert_eq!(client.get(format!("{url}x")).send().await?.status(), 404);
    // SW-ART-035
    let outside = client
        .get(format!("http://{host}/..%2f..%2fetc/passwd"))
        .send()
        .await?;
    assert_eq!(outside.status(), 404);
    Ok(())
}

// SW-GEN-184, SW-GEN-187: a chart in a repository, unpacked and given values
#[tokio::test]
async fn a_chart_is_extracted_and_given_values() -> Result {
    let world = World::start("extract").await?;
    let chart = tarball(&[
        ("app/Chart.yaml", "name: app\n"),
        ("app/values.yaml", "replicas: 1\n"),
    ])?;
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in [
        ("charts/app-1.0.0.tgz", &chart[..]),
        ("env/prod.yaml", b"replicas: 3\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content)?;
    }
    let bytes = archive.into_inner()?.finish()?;
    let artifact = world.server.put_bytes("repo.tar.gz", "main@sha1:1", bytes);
    world.publish(GIT_REPOSITORY, "repo", artifact).await?;
    world
        .generate(
            "gen",
            "artifacts: [{name: chart, copy: [
                {from: '@repo/charts/*.tgz', to: '@artifact/', strategy: Extract},
                {from: '@repo/env/prod.yaml', to: '@artifact/app/values.yaml', strategy: Merge}]}]",
        )
        .await?;
    world.ready("gen").await?;
    assert_eq!(
        world.files("chart").await?["app/values.yaml"],
        "replicas: 3\n"
    );
    Ok(())
}

// SW-GEN-137
#[tokio::test]
async fn an_artifact_may_have_the_name_of_a_source() -> Result {
    let world = World::start("alias").await?;
    world
        .source("repo", "r1", &[("a.yaml", "1"), ("b.yaml", "2")])
        .await?;
    let copy =
        "{from: '@repo/a.yaml', to: '@artifact/'}, {from: '@repo/b.yaml', to: '@artifact/a.yaml'}";
    world
        .generate(
            "gen",
            &format!("artifacts: [{{name: repo, copy: [{copy}]}}]"),
        )
        .await?;
    world.ready("gen").await?;
    let found = world.files("repo").await?;
    assert_eq!(found, [("a.yaml".to_owned(), "2".to_owned())].into());
    Ok(())
}
