//! Controllers that are killed at steps of their work: what they leave is not served, and does not fill the disk.

use std::fs;
use std::path::Path;

use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, Gate, HELM_REPOSITORY, Namespace, Result, Way, ensure};
use serde_json::json;

use crate::servers::Servers;
use crate::{PAUSE, noise};

/// The bytes of the files below a folder.
fn bytes(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(kind) if kind.is_dir() => sum += bytes(&entry.path()),
            Ok(kind) => sum += kind.len(),
            Err(_) => {}
        }
    }
    sum
}

// SC-ART-043: a killed controller leaves nothing that is served, and nothing that fills the disk
#[tokio::test]
async fn killed_downloads_leave_no_files() -> Result {
    let Some(servers) = Servers::start().await else {
        return Ok(());
    };
    servers.publish("1.0.0", &noise(8 << 20)).await?;
    let namespace = Namespace::create(&Cluster::shared().await?, "disk-killed").await?;
    let temporary = tempfile::TempDir::new()?;
    let work = temporary.path().join("flux-source-controller");
    let settings = Settings::default().env("TMPDIR", temporary.path().to_string_lossy());
    let mut controller = Controller::start("source-controller", &namespace, settings).await?;
    let storage = namespace.folder().join("source-controller");
    let gate = Gate::start(servers.git.address()).await?;
    gate.set(Way::Bytes(3 << 20));
    let (kind, url) = (HELM_REPOSITORY, format!("http://{}/charts", gate.address()));
    let object = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "index"},
        "spec": {"url": url, "interval": "1h"}});
    namespace.apply(&object.to_string()).await?;
    let begun = async {
        while bytes(&work) < 1 << 20 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    namespace
        .wait_for("a part of the download is on disk", begun)
        .await?;
    controller.kill()?;
    ensure!(bytes(&work) >= 1 << 20, "nothing was left");
    ensure!(bytes(&storage) == 0, "a part is served");
    // What is asked again hangs, so that nothing but what was left can be there.
    gate.set(Way::Silent);
    controller.restart().await?;
    let gone = async {
        while bytes(&work) >= 1 << 20 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    namespace.wait_for("what was left is gone", gone).await?;
    gate.set(Way::Open);
    namespace.request_reconcile(kind, "index").await?;
    namespace.wait_ready(kind, "index", "True").await?;
    Ok(())
}
