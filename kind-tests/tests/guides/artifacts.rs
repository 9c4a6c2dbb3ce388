//! Artifact generators.

use kind_tests::{
    ARTIFACT_GENERATOR, CONFIG_MAP, EXTERNAL_ARTIFACT, KUSTOMIZATION, Result, ensure, is_ready,
};
use serde_json::{Value, json};

use crate::world::World;

const PAGE: &str = "artifact-generators.md";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_about_artifact_generators_works_as_written() -> Result {
    let controllers = [
        "source-controller",
        "source-watcher",
        "kustomize-controller",
    ];
    let Some(world) = World::start_with_store(&controllers).await? else {
        return Ok(());
    };
    let sources = [
        "Secret git-auth",
        "GitRepository shop",
        "Secret registry-auth",
        "OCIRepository bundles",
        "Secret s3-keys",
        "Bucket settings",
    ];
    world
        .apply(&world.pages.of_page("sources.md", &sources)?)
        .await?;
    world.apply(&world.pages.page(PAGE)?).await?;
    let system = &world.system;
    for name in ["storefront", "services"] {
        system.wait_ready(ARTIFACT_GENERATOR, name, "True").await?;
    }
    let first = world.revision();
    for name in ["storefront", "basket", "search"] {
        let artifact = system.wait_ready(EXTERNAL_ARTIFACT, name, "True").await?;
        let origin =
            &artifact["status"]["artifact"]["metadata"]["org.opencontainers.image.revision"];
        ensure!(*origin == first, "{artifact}");
        system.wait_ready(KUSTOMIZATION, name, "True").await?;
    }
    let default = world.namespace("default").await?;
    for (name, data) in [
        // Of the repository, and one key of the bucket.
        ("storefront", json!({"theme": "plain", "currency": "GBP"})),
        ("policy", json!({"level": "strict"})),
        ("basket", json!({"size": "small"})),
        ("search", json!({"index": "titles"})),
    ] {
        let map = default.get(CONFIG_MAP, name).await?.unwrap_or_default();
        ensure!(map["data"] == data, "{name}: {map}");
    }

    // A commit to one part is applied by one Kustomization.
    let revision = |object: &Value| object["status"]["lastAppliedRevision"].clone();
    let before = system
        .get(KUSTOMIZATION, "search")
        .await?
        .unwrap_or_default();
    let basket = &world.pages.files()["services/basket/basket.yaml"];
    let second = world.commit(
        "services/basket/basket.yaml",
        &basket.replace("small", "large"),
    );
    system
        .request_reconcile(kind_tests::GIT_REPOSITORY, "shop")
        .await?;
    let grown = |map: &Value| map["data"]["size"] == "large";
    default
        .wait(CONFIG_MAP, "basket", "is the new one", grown)
        .await?;
    let applied = |object: &Value| {
        is_ready(object, "True") && object["status"]["lastAppliedOriginRevision"] == second
    };
    system
        .wait(KUSTOMIZATION, "basket", "has the commit", applied)
        .await?;
    let after = system
        .get(KUSTOMIZATION, "search")
        .await?
        .unwrap_or_default();
    ensure!(
        revision(&before) == revision(&after) && revision(&after).is_string(),
        "{after}"
    );
    Ok(())
}
