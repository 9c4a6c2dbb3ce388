//! Digests of selected tags.

use kind_tests::{IMAGE_POLICY, Result, ensure};
use registries::Registry;
use serde_json::{Value, json};

use crate::world::{APP, World, message};

const SEMVER: &str = "policy: {semver: {range: '*'}}";

fn heads(world: &World) -> usize {
    let head = format!("HEAD /v2/{APP}/manifests/1.0.0");
    let asked = world.registry.asked();
    asked.iter().filter(|line| **line == head).count()
}

#[tokio::test]
async fn digests_are_fetched_as_the_policy_says() -> Result {
    let world = World::start("img-digests", Registry::start()).await?;
    let first = world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    // IR-POL-100
    world.policy("app", "app", SEMVER).await?;
    let object = world.selected("app", "1.0.0").await?;
    ensure!(
        object["status"]["latestRef"]["digest"].is_null(),
        "{object}"
    );
    assert_eq!(heads(&world), 0);

    // IR-POL-101, IR-POL-103, IR-POL-107
    let spec = format!("digestReflectionPolicy: IfNotPresent, {SEMVER}");
    world.policy("app", "app", &spec).await?;
    let object = world.selected("app", "1.0.0").await?;
    let image = world.image();
    let status = &object["status"];
    assert_eq!(
        status["latestRef"],
        json!({"name": image, "tag": "1.0.0", "digest": first})
    );
    assert_eq!(
        status["observedPreviousRef"],
        json!({"name": image, "tag": "1.0.0"})
    );
    let expected = format!(
        "Latest image tag for {image} resolved to 1.0.0 with digest {first} (previously {image}:1.0.0)"
    );
    assert_eq!(message(&object, "Ready"), expected);
    // the tag moves, and the digest stays
    let content = registries::tar_gz(&[("moved", "")]);
    let second = world
        .registry
        .push(APP, "1.0.0", &registries::Artifact::flux(content));
    world.reconcile(IMAGE_POLICY, "app").await?;
    assert_eq!(heads(&world), 1);

    // IR-POL-102, IR-POL-055
    let spec = format!("digestReflectionPolicy: Always, interval: 1s, {SEMVER}");
    world.policy("app", "app", &spec).await?;
    let moved = |object: &Value| object["status"]["latestRef"]["digest"] == *second;
    let goal = "has the digest of the moved tag";
    let object = world
        .namespace
        .wait(IMAGE_POLICY, "app", goal, moved)
        .await?;
    assert_eq!(object["status"]["observedPreviousRef"]["digest"], first);
    let content = registries::tar_gz(&[("again", "")]);
    let third = world
        .registry
        .push(APP, "1.0.0", &registries::Artifact::flux(content));
    let moved = |object: &Value| object["status"]["latestRef"]["digest"] == *third;
    world
        .namespace
        .wait(IMAGE_POLICY, "app", goal, moved)
        .await?;

    // IR-POL-100: a digest that is no longer wanted is removed
    world.policy("app", "app", SEMVER).await?;
    let gone = |object: &Value| {
        kind_tests::is_ready(object, "True") && object["status"]["latestRef"]["digest"].is_null()
    };
    let object = world
        .namespace
        .wait(IMAGE_POLICY, "app", "has no digest", gone)
        .await?;
    assert_eq!(object["status"]["observedPreviousRef"]["digest"], third);
    Ok(())
}

// FR-N-076
#[tokio::test]
async fn a_moving_tag_can_be_followed() -> Result {
    let world = World::start("img-latest", Registry::start()).await?;
    world.push(&["1.0.0", "latest"]);
    world.apply("app", "").await?;
    let spec = "digestReflectionPolicy: Always, interval: 1h, filterTags: {pattern: '^latest$'}, policy: {alphabetical: {}}";
    world.policy("app", "app", spec).await?;
    let object = world.selected("app", "latest").await?;
    ensure!(
        object["status"]["latestRef"]["digest"].is_string(),
        "{object}"
    );
    Ok(())
}

// IR-POL-051, IR-POL-052, IR-POL-111: a digest that cannot be fetched keeps what was selected
#[tokio::test]
async fn a_failure_keeps_the_selected_image() -> Result {
    let registry = Registry::builder()
        .answer(99, "HEAD", "/v2/org/app/manifests/2.0.0", 404, "")
        .start();
    let world = World::start("img-digest-fails", registry).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    let spec = format!("digestReflectionPolicy: IfNotPresent, {SEMVER}");
    world.policy("app", "app", &spec).await?;
    world.selected("app", "1.0.0").await?;
    world.push(&["2.0.0"]);
    world.reconcile(kind_tests::IMAGE_REPOSITORY, "app").await?;
    let text = world.refused("app", "Failed").await?;
    let expected = "failed fetching digest of HOST/org/app:2.0.0: failed fetching descriptor for \"HOST/org/app:2.0.0\": \
                    HEAD http://HOST/v2/org/app/manifests/2.0.0: unexpected status code 404 Not Found (HEAD responses have no body, use GET for details)";
    assert_eq!(text, expected);
    let object = world
        .namespace
        .get(IMAGE_POLICY, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(object["status"]["latestRef"]["tag"], "1.0.0");
    Ok(())
}
