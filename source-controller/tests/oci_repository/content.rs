//! What becomes of a layer.

use kind_tests::{Kind, OCI_REPOSITORY, Result, ensure};
use registries::{Artifact, Registry, digest_of, tar_gz};
use serde_json::{Value, json};

use crate::support::{conditions, message, tree_of};
use crate::world::{APP, World, files};

const EVENT: Kind = Kind("v1", "Event");

// SC-OCI-041, SC-OCI-064
#[tokio::test]
async fn an_artifact_is_published_and_then_only_looked_at() -> Result {
    let world = World::start("oci-publish", Registry::start()).await?;
    let layer = tar_gz(&[("app/web.yaml", "kind: Service\n"), ("notes.jpg", "")]);
    let artifact = Artifact::flux(layer)
        .annotate("org.opencontainers.image.source", "https://git/app")
        .annotate("org.opencontainers.image.revision", "main@sha1:0c4f");
    let digest = world.registry.push(APP, "latest", &artifact);
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    let revision = format!("latest@{digest}");
    let stored = &object["status"]["artifact"];
    ensure!(stored["revision"] == revision, "{object}");
    // SC-OCI-062
    ensure!(
        stored["metadata"]["org.opencontainers.image.source"] == "https://git/app",
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        files(&[("app/web.yaml", "kind: Service\n")])
    );
    // SC-OCI-067
    let stored_for = format!("stored artifact for digest '{revision}'");
    assert_eq!(message(&object, "Ready"), stored_for);
    assert_eq!(message(&object, "ArtifactInStorage"), stored_for);
    // SC-ART-009
    let url = object["status"]["url"].as_str().unwrap_or_default();
    ensure!(url.ends_with("/app/latest.tar.gz"), "{object}");
    // SC-OCI-068
    let news = format!(
        "stored artifact with revision '{revision}' from '{}', origin source 'https://git/app', origin revision 'main@sha1:0c4f'",
        world.url()
    );
    assert_eq!(world.told("app"), [("NewArtifact".to_owned(), news)]);
    let sent = world.events.events();
    let metadata = &sent[0]["metadata"];
    ensure!(
        metadata["source.toolkit.fluxcd.io/revision"] == revision,
        "{sent:?}"
    );

    // SC-OCI-060, SC-PROC-087: neither manifest nor blob is read again
    world.registry.clear_requests();
    let again = world.reconcile("app").await?;
    let head = format!("HEAD /v2/{APP}/manifests/latest");
    assert_eq!(world.registry.asked(), ["GET /v2/".to_owned(), head]);
    ensure!(again["status"]["artifact"] == *stored, "{again}");
    assert_eq!(conditions(&again), conditions(&object));
    let up_to_date = format!("artifact up-to-date with remote revision: '{revision}'");
    world
        .namespace
        .wait_all(EVENT, "tell that nothing has changed", |events| {
            let of_it = |event: &&Value| event["message"] == up_to_date;
            events.iter().find(of_it).cloned()
        })
        .await?;
    assert_eq!(world.told("app").len(), 1, "routine is not sent");

    // SC-OCI-070: what the status says of the annotations is left as it is
    let name = "org.opencontainers.image.source";
    let edited = json!({"artifact": {"metadata": {name: "edited"}}});
    world
        .namespace
        .set_status(OCI_REPOSITORY, "app", edited)
        .await?;
    let again = world.reconcile("app").await?;
    ensure!(
        again["status"]["artifact"]["metadata"][name] == "edited",
        "{again}"
    );

    // SC-OCI-061: another tag of the same digest is another revision
    world.registry.push(APP, "v2", &artifact);
    world.apply("app", "ref: {tag: v2}").await?;
    let moved = world.ready("app").await?;
    let revision = format!("v2@{digest}");
    ensure!(
        moved["status"]["artifact"]["revision"] == revision,
        "{moved}"
    );
    ensure!(
        moved["status"]["artifact"]["digest"] == stored["digest"],
        "{moved}"
    );
    assert_eq!(world.told("app").len(), 1, "the digest has not changed");
    Ok(())
}

// SC-OCI-065
#[tokio::test]
async fn a_layer_is_copied_as_it_is() -> Result {
    let world = World::start("oci-copy", Registry::start()).await?;
    let chart = tar_gz(&[("app/Chart.yaml", "name: app\n"), ("app/a.jpg", "")]);
    let provenance = b"signature".to_vec();
    let mut artifact = Artifact::helm(chart.clone());
    let signature = "application/vnd.cncf.helm.chart.provenance.v1.prov".to_owned();
    artifact.layers.insert(0, (signature, provenance));
    world.registry.push(APP, "1.0.0", &artifact);
    let selector = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    let spec = format!(
        "ref: {{tag: 1.0.0}}, ignore: '*.yaml', layerSelector: {{mediaType: {selector}, operation: copy}}"
    );
    world.apply("app", &spec).await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["artifact"]["digest"] == digest_of(&chart),
        "{object}"
    );
    ensure!(
        object["status"]["observedLayerSelector"]["operation"] == "copy",
        "{object}"
    );

    // SC-OCI-060: the selector is part of what the artifact is made of; SC-OCI-063
    world
        .apply("app", "ref: {tag: 1.0.0}, ignore: '*.jpg'")
        .await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"].get("observedLayerSelector").is_none(),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        files(&[("app/Chart.yaml", "name: app\n")])
    );
    Ok(())
}

// SC-ART-070, SC-ART-092, SC-OCI-064
#[tokio::test]
async fn links_are_left_out_and_ignore_files_read() -> Result {
    let world = World::start("oci-ignore", Registry::start()).await?;
    world.push(
        "latest",
        &[
            (".sourceignore", "*.md\n"),
            ("a.md", ""),
            ("b/c.yaml", "c"),
            ("b/d.txt", "d"),
        ],
    );
    world.apply("app", "ignore: '*.txt'").await?;
    let object = world.ready("app").await?;
    assert_eq!(
        world.files(&object).await?,
        files(&[(".sourceignore", "*.md\n"), ("b/c.yaml", "c")])
    );
    Ok(())
}

// SC-ART-025, SC-ART-032, SC-ART-045
#[tokio::test]
async fn an_artifact_that_is_lost_is_built_anew() -> Result {
    let world = World::start("oci-lost", Registry::start()).await?;
    world.push("latest", &[("a.yaml", "a")]);
    world.apply("app", "").await?;
    let before = world.ready("app").await?;
    std::fs::remove_dir_all(world.folder("app"))?;
    let after = world.reconcile("app").await?;
    ensure!(
        after["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"],
        "{after}"
    );
    assert_eq!(tree_of(&after).await?.iter().count(), 1);

    world
        .namespace
        .merge(OCI_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    world.namespace.delete(OCI_REPOSITORY, "app").await?;
    world.namespace.wait_gone(OCI_REPOSITORY, "app").await?;
    ensure!(
        !world.folder("app").exists(),
        "artifacts of a deleted object"
    );
    Ok(())
}

// A layer of 32 MiB is unpacked on disk, not in memory; SC-ART-093
#[tokio::test]
async fn a_large_layer_is_published() -> Result {
    let world = World::start("oci-large", Registry::start()).await?;
    let mut text = String::with_capacity(32 << 20);
    let mut state = 1_u32;
    while text.len() < 32 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(char::from(b' ' + (state >> 26) as u8));
    }
    world.push("latest", &[("large.txt", &text)]);
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    let size = object["status"]["artifact"]["size"].as_i64();
    ensure!(size.is_some_and(|size| size > 16 << 20), "{object}");
    Ok(())
}
