//! What cannot be fetched or read.

use std::path::{Path, PathBuf};

use git_servers::{HttpGitServer, Proxy};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure, is_ready};
use serde_json::Value;

use crate::{INDEX, plain, world};

/// The files below a folder of temporary files, except the locks of the processes that use it.
fn leftovers(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(leftovers(&path)?);
        } else if path.file_name().is_none_or(|name| name != "lock") {
            found.push(path);
        }
    }
    Ok(found)
}

// SC-HREPO-025, SC-HREPO-031
#[tokio::test]
async fn the_last_index_stays_while_the_new_one_is_unusable() -> Result {
    let temporary = tempfile::TempDir::new()?;
    let settings = Settings::default().env("TMPDIR", temporary.path().to_string_lossy());
    let world = world("helm-broken", settings, HttpGitServer::builder()).await?;
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
    // SC-HREPO-046
    ensure!(
        temporary.path().join("flux-source-controller").is_dir(),
        "the work folders are elsewhere"
    );
    let left = leftovers(temporary.path())?;
    ensure!(left.is_empty(), "{left:?}");

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

    // SC-HREPO-020: storage comes before the source: what is lost is found out though nothing can be fetched
    world.publish("apiVersion: v1\nentries: []\n")?;
    std::fs::remove_dir_all(world.folder("charts"))?;
    let object = world.reconcile("charts").await?;
    ensure!(object["status"]["artifact"].is_null(), "{object}");
    world
        .condition("charts", "FetchFailed", "True", "IndexationFailed")
        .await?;
    Ok(())
}

// SC-HREPO-040
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

// SC-HREPO-028
#[tokio::test]
async fn an_index_comes_uncompressed_through_the_proxy_of_the_environment() -> Result {
    let proxy = Proxy::http(None);
    let settings = Settings::default().env("HTTP_PROXY", proxy.url());
    let world = world("helm-proxy", settings, HttpGitServer::builder()).await?;
    let destination = "charts.example.test:80";
    proxy.resolve(destination, world.git.address());
    world
        .repository_at(
            "charts",
            "url: 'http://charts.example.test/charts', interval: 1h",
        )
        .await?;
    world.ready("charts").await?;
    let destinations = proxy.destinations();
    ensure!(
        destinations.iter().any(|found| found == destination),
        "{destinations:?}"
    );
    let requests = world.git.requests();
    ensure!(
        requests.len() == 1 && requests[0].accept_encoding.is_none(),
        "{requests:?}"
    );
    Ok(())
}
