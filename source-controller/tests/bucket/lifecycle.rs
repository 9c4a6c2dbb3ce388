//! From the first artifact of a Bucket to its deletion.

use flux_artifact::Algorithm;
use kind_tests::controller::Settings;
use kind_tests::{BUCKET, Result, ensure};
use serde_json::json;

use crate::support::{conditions, message};
use crate::world::{World, files, revision, seaweed};

/// What `md5sum` prints for `one`, `two` and `three`: SeaweedFS' ETags.
const ONE: &str = "f97c5d29941bfb1b2fdab0874906ab82";
const TWO: &str = "b8a9f715dbb64fd5c56e7783c6820a61";
const THREE: &str = "35d6d33467aae9a2e3dccb4b6b027878";

fn digest(lines: &str) -> String {
    Algorithm::Sha256.digest(lines.as_bytes()).to_string()
}

// SC-BKT-060, SC-BKT-061
#[tokio::test]
async fn a_bucket_is_published_and_only_its_changes_are_fetched() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "b/two.txt", "two").await;
    store.put("app", "a%20b/one.txt", "one").await;
    let world = World::start("bucket", front).await?;
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    // SC-BKT-030
    let first = digest(&format!("a b/one.txt {ONE}\nb/two.txt {TWO}\n"));
    assert_eq!(revision(&object), first);
    // SC-BKT-036, SC-BKT-012
    let stored = format!("stored artifact: revision '{first}'");
    assert_eq!(
        conditions(&object),
        [
            format!("Ready=True Succeeded: {stored}"),
            format!("ArtifactInStorage=True Succeeded: {stored}"),
        ]
    );
    let want = files(&[("a b/one.txt", "one"), ("b/two.txt", "two")]);
    assert_eq!(world.files(&object).await?, want);
    // SC-ART-003, SC-ART-009, SC-ART-010
    let hex = first.trim_start_matches("sha256:").to_owned();
    let artifact = &object["status"]["artifact"];
    let path = format!("bucket/{}/app/{hex}.tar.gz", world.namespace.name());
    assert_eq!(artifact["path"], path.as_str());
    let url = object["status"]["url"].as_str().unwrap_or_default();
    ensure!(url.ends_with("/app/latest.tar.gz"), "{url}");
    let created = "stored artifact with 2 fetched files from 'app' bucket";
    world.told("app", "NewArtifact", created).await?;
    // one request for the bucket, one for the ignore file, one for the list, one for each object
    let mut asked = world.front.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "GET /app/.sourceignore",
            "GET /app/?delimiter=&encoding-type=url&fetch-owner=true&list-type=2&prefix=",
            "GET /app/a%20b/one.txt",
            "GET /app/b/two.txt",
            "HEAD /app/",
        ]
    );

    // SC-BKT-031: nothing changed, nothing is downloaded
    world.front.clear_requests();
    let same = world.reconcile("app").await?;
    assert_eq!(same["status"]["artifact"], object["status"]["artifact"]);
    assert_eq!(world.downloads(), Vec::<String>::new());

    // one object is new, one changed, one gone; the one that stays is taken from the last artifact (SC-BKT-032 the other way)
    store.put("app", "c.txt", "three").await;
    store.put("app", "b/two.txt", "one").await;
    world.reconcile("app").await?;
    world.front.clear_requests();
    store.put("app", "b/two.txt", "three").await;
    store.delete("app", "c.txt").await;
    store.put("app", "d.txt", "two").await;
    let object = world.reconcile("app").await?;
    let second = digest(&format!(
        "a b/one.txt {ONE}\nb/two.txt {THREE}\nd.txt {TWO}\n"
    ));
    assert_eq!(revision(&object), second);
    assert_eq!(world.downloads(), ["b/two.txt", "d.txt"]);
    let want = files(&[
        ("a b/one.txt", "one"),
        ("b/two.txt", "three"),
        ("d.txt", "two"),
    ]);
    assert_eq!(world.files(&object).await?, want);
    assert_eq!(
        message(&object, "Ready"),
        format!("stored artifact: revision '{second}'")
    );
    Ok(())
}

// SC-BKT-030: an empty bucket is an artifact as well
#[tokio::test]
async fn an_empty_bucket_has_the_digest_of_nothing() -> Result {
    let Some((_store, front)) = seaweed().await else {
        return Ok(());
    };
    let world = World::start("bucket-empty", front).await?;
    world.apply("app", "").await?;
    let object = world.ready("app").await?;
    assert_eq!(revision(&object), digest(""));
    assert_eq!(world.files(&object).await?, files(&[]));
    Ok(())
}

// SC-BKT-035
#[tokio::test]
async fn a_new_revision_is_announced() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let settings = Settings::default().telling_progress();
    let world = World::start_with("bucket-announce", front.start(), settings).await?;
    world.apply("app", "").await?;
    world.ready("app").await?;
    store.put("app", "a", "two").await;
    let second = digest(&format!("a {TWO}\n"));
    let outdated = format!("new upstream revision '{second}'");
    let seen = std::sync::Mutex::new(Vec::new());
    let look = |object: &serde_json::Value| {
        if let Ok(mut seen) = seen.lock() {
            seen.push(object.clone());
        }
        revision(object) == second
    };
    let asked = world.namespace.request_reconcile(BUCKET, "app");
    world
        .namespace
        .wait_during(BUCKET, "app", "is new", look, asked)
        .await?;
    let seen = seen.into_inner().unwrap_or_default();
    let announced = seen
        .iter()
        .find(|state| message(state, "ArtifactOutdated") == outdated);
    let announced = announced.unwrap_or(&serde_json::Value::Null);
    assert_eq!(
        message(announced, "Reconciling"),
        format!("building artifact: {outdated}")
    );
    Ok(())
}

// SC-PROC-057, SC-ART-045
#[tokio::test]
async fn a_suspended_bucket_is_left_alone_and_a_deleted_one_cleaned_up() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let world = World::start("bucket-delete", front).await?;
    world.apply("app", "").await?;
    let before = world.ready("app").await?;
    let suspend = json!({"spec": {"suspend": true}});
    world.namespace.merge(BUCKET, "app", suspend).await?;
    world.front.clear_requests();
    let after = world.reconcile("app").await?;
    assert_eq!(after["status"]["artifact"], before["status"]["artifact"]);
    assert_eq!(world.front.asked(), Vec::<String>::new());
    ensure!(world.folder("app").is_dir(), "nothing is stored");
    world.namespace.delete(BUCKET, "app").await?;
    world.namespace.wait_gone(BUCKET, "app").await?;
    ensure!(!world.folder("app").exists(), "the artifact is kept");
    Ok(())
}

// SC-ART-031, SC-ART-033: what is lost or damaged is built again, without what is in it
#[tokio::test]
async fn a_damaged_artifact_is_built_again() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let world = World::start("bucket-damage", front).await?;
    world.apply("app", "").await?;
    let before = world.ready("app").await?;
    let path = before["status"]["artifact"]["path"]
        .as_str()
        .unwrap_or_default();
    let file = world
        .namespace
        .folder()
        .join("source-controller")
        .join(path);
    std::fs::write(&file, "damaged")?;
    let after = world.reconcile("app").await?;
    assert_eq!(world.files(&after).await?, files(&[("a", "one")]));
    assert_eq!(revision(&after), revision(&before));
    Ok(())
}
