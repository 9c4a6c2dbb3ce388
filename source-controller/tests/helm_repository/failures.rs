//! What cannot be fetched or read.

use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure, is_ready};
use serde_json::Value;

use crate::{INDEX, plain, world};

// SC-HREPO-025, SC-HREPO-031, SC-HREPO-046
#[tokio::test]
async fn the_last_index_stays_while_the_new_one_is_unusable() -> Result {
    let world = plain("helm-broken").await?;
    world.repository("charts", "").await?;
    let before = world.ready("charts").await?;
    std::fs::remove_file(world.git.root().join("index.yaml"))?;
    world.reconcile("charts").await?;
    let text = world
        .condition("charts", "FetchFailed", "True", "Failed")
        .await?;
    let want = format!(
        "failed to fetch Helm repository index: failed to cache index to temporary file: failed to fetch {}/index.yaml : 404 Not Found",
        world.git.url("charts")
    );
    ensure!(text == want, "{text}");

    world.publish("apiVersion: v1\nentries: []\n")?;
    world.reconcile("charts").await?;
    let text = world
        .condition("charts", "FetchFailed", "True", "IndexationFailed")
        .await?;
    ensure!(
        text.starts_with(
            "failed to load Helm repository from index YAML: failed to load index: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go struct field IndexFile.entries"
        ),
        "{text}"
    );
    let after = world.reconcile("charts").await?;
    ensure!(
        after["status"]["artifact"] == before["status"]["artifact"],
        "{after}"
    );

    // The recovery is told.
    world.publish(INDEX)?;
    world.reconcile("charts").await?;
    let recovered = |object: &Value| is_ready(object, "True");
    world
        .namespace
        .wait(world.kind, "charts", "has recovered", recovered)
        .await?;
    world
        .recorded("charts", "Succeeded", "stored fetched index")
        .await?;
    Ok(())
}

// SC-HREPO-040, SC-HREPO-041
#[tokio::test]
async fn an_index_larger_than_allowed_is_refused() -> Result {
    let limit = INDEX.len() - 1;
    let settings = Settings::default().flag(format!("--helm-index-max-size={limit}"));
    let world = world("helm-large", settings, HttpGitServer::builder()).await?;
    world.repository("charts", "").await?;
    let text = world
        .condition("charts", "FetchFailed", "True", "Failed")
        .await?;
    let want = format!("index exceeds the maximum index file size of {limit} bytes");
    ensure!(text.ends_with(&want), "{text}");
    Ok(())
}

// SC-HREPO-021
#[tokio::test]
async fn a_registry_needs_its_type() -> Result {
    let world = plain("helm-oci-url").await?;
    world
        .repository_at("charts", "url: 'oci://127.0.0.1:1/charts'")
        .await?;
    let text = world
        .condition("charts", "Stalled", "True", "URLInvalid")
        .await?;
    let want = "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type";
    ensure!(text == want, "{text}");
    Ok(())
}

// SC-HREPO-028
#[tokio::test]
async fn a_server_that_hangs_is_left_after_the_timeout() -> Result {
    let server = HttpGitServer::builder().hang("/charts/index.yaml");
    let world = world("helm-hang", Settings::default(), server).await?;
    world.repository("charts", "timeout: 1s").await?;
    let text = world
        .condition("charts", "FetchFailed", "True", "Failed")
        .await?;
    ensure!(text.contains("context deadline exceeded"), "{text}");
    Ok(())
}
