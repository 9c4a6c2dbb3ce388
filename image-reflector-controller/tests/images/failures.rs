//! Scans that fail, and how they are repeated.

use kind_tests::{IMAGE_REPOSITORY, Result, ensure};
use registries::Registry;
use serde_json::Value;

use crate::world::{APP, World};

#[tokio::test]
async fn each_failure_has_its_reason_and_message() -> Result {
    let world = World::start("img-fail", Registry::start()).await?;
    world.push(&["1.0.0"]);
    let host = world.registry.host();
    for (name, image, spec, reason, expected) in [
        // IR-REPO-060
        (
            "scheme",
            format!("https://{host}/org/app"),
            "",
            "ImageURLInvalid",
            "image 'https://HOST/org/app' should not include URL scheme; remove 'https://'",
        ),
        // IR-REPO-061
        (
            "tag",
            format!("{host}/org/app:v1"),
            "",
            "ImageURLInvalid",
            "image 'HOST/org/app:v1' should not include a tag; remove ':v1'",
        ),
        // IR-REPO-062
        (
            "name",
            format!("{host}/Org"),
            "",
            "ImageURLInvalid",
            "could not parse reference: HOST/Org",
        ),
        // IR-REPO-056, IR-REPO-084
        (
            "absent",
            format!("{host}/org/absent"),
            "",
            "ReadOperationFailed",
            "scan failed: GET http://HOST/v2/org/absent/tags/list?n=***: NAME_UNKNOWN: repository name not known to registry",
        ),
        // IR-REPO-086
        (
            "exclusion",
            format!("{host}/org/app"),
            "exclusionList: ['[']",
            "ReadOperationFailed",
            "scan failed: failed to compile regex [: error parsing regexp: missing closing ]: `[`",
        ),
    ] {
        world.apply_image(name, &image, spec).await?;
        assert_eq!(world.failed(name, reason).await?, expected);
        let object = world
            .namespace
            .get(IMAGE_REPOSITORY, name)
            .await?
            .unwrap_or_default();
        if reason == "ImageURLInvalid" {
            // IR-REPO-050, IR-REPO-065, IR-REPO-066
            let types: Vec<_> = object["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|condition| condition["type"].as_str().unwrap_or_default())
                .collect();
            assert_eq!(types, ["Stalled", "Ready"]);
            assert_eq!(object["status"]["observedGeneration"], 1);
        } else {
            // IR-REPO-122
            let state = ["Reconciling", "True", "ProgressingWithRetry"];
            world.condition(IMAGE_REPOSITORY, name, state).await?;
            // IR-REPO-031
            assert_eq!(object["status"]["observedGeneration"], -1);
        }
        // IR-REPO-102
        let is_told = |event: &Value| {
            event["involvedObject"]["name"] == name
                && event["severity"] == "error"
                && event["reason"] == reason
        };
        world.events.wait("tells of the failure", is_told).await?;
    }
    // IR-REPO-051
    world.apply("tag", "").await?;
    let object = world.scanned("tag").await?;
    assert_eq!(
        object["status"]["conditions"].as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

// IR-REPO-052, IR-REPO-013: a registry that does not answer holds no worker
#[tokio::test]
async fn a_registry_that_hangs_is_given_up() -> Result {
    let registry = Registry::builder().hang(&format!("/v2/{APP}/")).start();
    let world = World::start("img-hang", registry).await?;
    world.apply("app", "timeout: 1s").await?;
    let text = world.failed("app", "ReadOperationFailed").await?;
    let expected =
        "scan failed: Get \"http://HOST/v2/org/app/tags/list?n=***\": context deadline exceeded";
    assert_eq!(text, expected);
    Ok(())
}

// FR-N-063, IR-REPO-083: a registry that limits requests names the time of the next
#[tokio::test]
async fn a_rate_limit_sets_the_time_of_the_next_scan() -> Result {
    let limited = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    let prefix = format!("/v2/{APP}/tags");
    let registry = Registry::builder()
        .answer_with(1, "GET", &prefix, 429, &[("retry-after", "11")], limited)
        .start();
    let world = World::start("img-limit", registry).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    let text = world.failed("app", "ReadOperationFailed").await?;
    ensure!(text.ends_with("TOOMANYREQUESTS: slow down"), "{text}");
    let next = |line: &Value| {
        let text = line["msg"].as_str().unwrap_or_default();
        text.starts_with("Reconciliation failed after ") && text.ends_with(", next try in 11s")
    };
    world.controller.log().wait("of the next try", next).await?;
    world.scanned("app").await?;
    assert_eq!(world.scans(), 2);
    Ok(())
}

// FR-N-062: an answer that credentials are wrong is not asked for again before the interval is over
#[tokio::test]
async fn a_refusal_is_not_repeated_before_the_interval() -> Result {
    let registry = Registry::builder().basic_auth("flux", "s3cret").start();
    let world = World::start("img-refused", registry).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "interval: 7m").await?;
    world.apply("long", "interval: 24h").await?;
    for (name, wait) in [("app", "7m0s"), ("long", "15m0s")] {
        world.failed(name, "ReadOperationFailed").await?;
        let next = |line: &Value| {
            let text = line["msg"].as_str().unwrap_or_default();
            line["name"] == name && text.ends_with(&format!(", next try in {wait}"))
        };
        world.controller.log().wait("of the next try", next).await?;
    }
    Ok(())
}

// IR-REPO-083: what is transient is repeated within the scan
#[tokio::test]
async fn transient_failures_are_repeated() -> Result {
    let registry = Registry::builder()
        .answer(1, "GET", &format!("/v2/{APP}/tags"), 503, "")
        .start();
    let world = World::start("img-transient", registry).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world.scanned("app").await?;
    let told = world.told(IMAGE_REPOSITORY, "app");
    ensure!(told.iter().all(|event| event[0] == "info"), "{told:?}");
    Ok(())
}
