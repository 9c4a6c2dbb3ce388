//! Statuses that name what is not the object's, and artifacts that cannot be read for a while.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, EventSink, Kind, Namespace, Result, ensure};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::OBJECTS;
use crate::servers::Servers;
use crate::support::limit_files;

/// A controller that has an artifact of each kind.
struct Stored {
    namespace: Namespace,
    controller: Controller,
    events: EventSink,
    artifacts: Vec<Value>,
}

impl Stored {
    async fn start(topic: &str, servers: &Servers) -> Result<Self> {
        servers.publish("1.0.0", "small").await?;
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let events = EventSink::start().await?;
        let settings = Settings::default().flag(format!("--events-addr={}", events.url()));
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        servers.apply(&namespace).await?;
        let mut artifacts = Vec::new();
        for (kind, name) in OBJECTS {
            let object = namespace.wait_ready(kind, name, "True").await?;
            artifacts.push(object["status"]["artifact"].clone());
        }
        Ok(Self {
            namespace,
            controller,
            events,
            artifacts,
        })
    }

    fn file(&self, artifact: &Value) -> PathBuf {
        let path = artifact["path"].as_str().unwrap_or_default();
        self.namespace.folder().join("source-controller").join(path)
    }

    /// Requests a reconcile and waits for its end.
    async fn reconciled(&self, kind: Kind, name: &str) -> Result<Value> {
        let at = self.namespace.request_reconcile(kind, name).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        self.namespace
            .wait(kind, name, "has handled the request", handled)
            .await
    }
}

// SC-ART-012, SC-ART-033: for every kind, the artifact of another one in the status is neither used nor removed
#[tokio::test]
async fn statuses_of_no_kind_give_access_to_other_artifacts() -> Result {
    let Some(servers) = Servers::start().await else {
        return Ok(());
    };
    let stored = Stored::start("disk-forged", &servers).await?;
    for (index, (kind, name)) in OBJECTS.into_iter().enumerate() {
        let own = &stored.artifacts[index];
        let victim = &stored.artifacts[(index + 1) % OBJECTS.len()];
        let content = fs::read(stored.file(victim))?;
        let mut damaged = victim.clone();
        damaged["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
        for forged in [victim, &damaged] {
            let status = json!({"artifact": forged});
            stored.namespace.set_status(kind, name, status).await?;
            let object = stored.reconciled(kind, name).await?;
            let artifact = &object["status"]["artifact"];
            ensure!(
                artifact["path"] == own["path"] && artifact["digest"] == own["digest"],
                "{name}: {object}"
            );
            assert_eq!(fs::read(stored.file(victim))?, content, "{name}");
        }
        let path = victim["path"].as_str().unwrap_or_default();
        let message = format!(
            "failed to verify integrity of artifact: path '{path}' is not one of this object's artifacts"
        );
        let told = |event: &Value| {
            event["involvedObject"]["name"] == name
                && event["reason"] == "ArtifactVerificationFailed"
                && event["message"] == *message
        };
        let goal = format!("tells of the path of {name}");
        stored.events.wait(&goal, told).await?;
    }
    Ok(())
}

// SC-ART-033: for every kind, only a file with another digest is removed
#[tokio::test]
async fn artifacts_of_no_kind_are_removed_because_they_cannot_be_read() -> Result {
    let Some(servers) = Servers::start().await else {
        return Ok(());
    };
    let stored = Stored::start("disk-unreadable", &servers).await?;
    for ((kind, name), artifact) in OBJECTS.into_iter().zip(&stored.artifacts) {
        let inode = fs::metadata(stored.file(artifact))?.ino();
        limit_files(stored.controller.pid(), Some(0))?;
        stored.namespace.request_reconcile(kind, name).await?;
        let path = artifact["path"].as_str().unwrap_or_default();
        let refused = |line: &Value| {
            let error = line["error"].as_str().unwrap_or_default();
            error.starts_with("failed to verify integrity of artifact, which is kept: open ")
                && error.contains(path)
                && error.contains("Too many open files")
        };
        let log = stored.controller.log();
        let goal = format!("of the artifact of {name}, which cannot be opened");
        log.wait(&goal, refused).await?;
        limit_files(stored.controller.pid(), getrlimit(Resource::Nofile).current)?;
        let object = stored.reconciled(kind, name).await?;
        ensure!(
            object["status"]["artifact"] == *artifact,
            "{name}: {object}"
        );
        assert_eq!(fs::metadata(stored.file(artifact))?.ino(), inode, "{name}");
    }
    Ok(())
}
