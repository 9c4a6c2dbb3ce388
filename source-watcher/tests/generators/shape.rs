//! What others see of generators and artifacts: the columns of kubectl, the owners of fields, the entries of archives.

use std::io::Read as _;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kind_tests::{ALERT, Failure, GIT_REPOSITORY, OCI_REPOSITORY, Result, ensure};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::world::{EXTERNAL_ARTIFACT, GENERATOR, World};

async fn get(world: &World, uri: &str, accept: &str) -> Result<Value> {
    let request = http::Request::get(uri).header(http::header::ACCEPT, accept);
    let request = request.body(Vec::new())?;
    Ok(world.namespace.client().request(request).await?)
}

#[tokio::test]
async fn objects_look_as_upstreams_do() -> Result {
    let world = World::start("shape").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let spec = "artifacts: [{name: app, copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    world.ready("gen").await?;
    let group = format!("/apis/{}", GENERATOR.0);
    let uri = format!(
        "{group}/namespaces/{}/artifactgenerators",
        world.namespace.name()
    );
    let table = get(&world, &uri, "application/json;as=Table;v=v1;g=meta.k8s.io").await?;
    // SW-GEN-003
    let columns = table["columnDefinitions"].as_array().cloned();
    let columns = columns.unwrap_or_default();
    let names: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "Age", "Ready", "Status"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!(cells[2], "True");
    assert_eq!(
        cells[3],
        "reconciliation succeeded, generated 1 artifact(s)"
    );

    // SW-GEN-001, SW-GEN-002
    let resources = get(&world, &group, "application/json").await?;
    let resources = resources["resources"].as_array().cloned();
    let found = resources.unwrap_or_default().into_iter();
    let names = found.map(|found| (found["name"].clone(), found));
    let [(name, kind), (status, _)] = &names.collect::<Vec<_>>()[..] else {
        return Err(Failure::new("other resources"));
    };
    assert_eq!(
        [name, status],
        ["artifactgenerators", "artifactgenerators/status"]
    );
    assert_eq!(kind["shortNames"], json!(["ag"]));
    let categories = json!(["all", "fluxcd", "fluxcd-sources"]);
    assert_eq!(kind["categories"], categories);

    // SW-GEN-041, SW-ART-051
    for (kind, name, subresource, operation) in [
        (GENERATOR, "gen", "status", None),
        (EXTERNAL_ARTIFACT, "app", "status", Some("Apply")),
    ] {
        let object = world.namespace.get(kind, name).await?.unwrap_or_default();
        let fields = object["metadata"]["managedFields"].as_array().cloned();
        ensure!(
            fields.iter().flatten().any(|entry| {
                entry["manager"] == "source-watcher"
                    && entry["subresource"] == subresource
                    && operation.is_none_or(|operation| entry["operation"] == operation)
            }),
            "{object}"
        );
    }
    Ok(())
}

fn source() -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, mode, content) in [
        ("z/run", 0o755, "#!/bin/sh"),
        ("z/a.txt", 0o640, "text"),
        ("b.txt", 0o600, "text"),
        ("app.tar.gz", 0o600, "left out"),
        ("app.tgz", 0o600, "kept"),
        // SW-ART-018
        (".sourceignore", 0o600, "*.txt\n"),
    ] {
        let mut header = Header::new_gnu();
        header.set_size(content.len().try_into()?);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_mtime(1_000_000);
        archive.append_data(&mut header, path, content.as_bytes())?;
    }
    // SW-ART-005, SW-ART-019, SW-GEN-138
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    link.set_mode(0o777);
    archive.append_link(&mut link, "z/link", "/etc/passwd")?;
    Ok(archive.into_inner()?.finish()?)
}

// SW-ART-014, SW-ART-016, SW-ART-017
#[tokio::test]
async fn archives_are_packed_as_upstreams_are() -> Result {
    let world = World::start("archive").await?;
    let artifact = world.server.put_bytes("source", "r1", source()?);
    world.publish(GIT_REPOSITORY, "repo", artifact).await?;
    let spec = "artifacts: [{name: app, copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    world.ready("gen").await?;
    let status = world.artifact("app").await?["status"]["artifact"].clone();
    let folder = world.folder("app");
    let name = status["path"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let file = std::fs::File::open(folder.join(name.unwrap_or_default()))?;
    let mut shown = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(file)).entries()? {
        let mut entry = entry?;
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        let (header, path) = (entry.header(), entry.path()?);
        let path = path.to_string_lossy().trim_end_matches('/').to_owned();
        shown.push(format!("{:o} {path} {text}", header.mode()? & 0o777));
        let owner = (header.uid()?, header.gid()?, header.mtime()?);
        assert_eq!(owner, (0, 0, 0), "{path}");
    }
    let wanted = [
        "750 . ",
        "600 .sourceignore *.txt\n",
        "600 app.tgz kept",
        "600 b.txt text",
        "750 z ",
        "600 z/a.txt text",
        "700 z/run #!/bin/sh",
    ];
    assert_eq!(shown, wanted);
    Ok(())
}

// SW-ART-007
#[tokio::test]
async fn sources_that_are_no_archives_fail() -> Result {
    let world = World::start("layer").await?;
    let layer = world
        .server
        .put_bytes("layer", "latest@sha256:1", b"plain".to_vec());
    world.publish(OCI_REPOSITORY, "image", layer).await?;
    let spec = "sources: [{alias: image, kind: OCIRepository, name: image}], \
                artifacts: [{name: app, copy: [{from: '@image/**', to: '@artifact/'}]}]";
    world.apply("gen", spec).await?;
    let message = world.fails("gen", "SourceFetchFailed").await?;
    ensure!(message.starts_with("fetch sources failed: "), "{message}");
    Ok(())
}

// SW-GEN-027
#[tokio::test]
async fn alerts_may_be_about_generators_and_artifacts() -> Result {
    let world = World::start("alerts").await?;
    let alert = |kind: &str| {
        format!(
            "{{apiVersion: {}, kind: {}, metadata: {{name: alert}}, spec: {{providerRef: {{name: chat}}, eventSources: [{{kind: {kind}, name: '*'}}]}}}}",
            ALERT.0, ALERT.1
        )
    };
    for kind in ["ArtifactGenerator", "ExternalArtifact"] {
        world.namespace.apply(&alert(kind)).await?;
    }
    ensure!(
        world.namespace.apply(&alert("Artifact")).await.is_err(),
        "any kind is accepted"
    );
    Ok(())
}
