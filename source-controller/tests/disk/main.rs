//! Disks that are full or that cannot be written to, controllers that are killed while they write, and statuses that do not
//! tell what is stored: for every kind.

#[path = "../support/servers.rs"]
mod servers;
#[path = "../support/mod.rs"]
mod support;

mod killed;
mod statuses;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kind_tests::controller::Settings;
use kind_tests::{
    BUCKET, Cluster, Controller, GIT_REPOSITORY, HELM_CHART, HELM_REPOSITORY, Kind, Namespace,
    OCI_REPOSITORY, Result, condition, ensure, is_ready,
};
use serde_json::{Value, json};

use crate::servers::Servers;
use crate::support::tree_of;

/// Between two looks at files, which cannot be watched here.
const PAUSE: Duration = Duration::from_millis(1);
/// The size of the disk, and of what does not fit onto it.
const DISK: usize = 1 << 20;
const LARGE: usize = 2 << 20;

/// Text that becomes half as long when it is compressed.
fn noise(compressed: usize) -> String {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut text = String::new();
    while text.len() < 2 * compressed {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = write!(text, "{state:016x}");
    }
    text
}

/// Events in Kubernetes.
const EVENT: Kind = Kind("v1", "Event");

/// The kinds with their objects.
const OBJECTS: [(Kind, &str); 5] = [
    (GIT_REPOSITORY, "git"),
    (OCI_REPOSITORY, "oci"),
    (BUCKET, "bucket"),
    (HELM_REPOSITORY, "index"),
    (HELM_CHART, "chart"),
];

/// A disk of its own for the storage of a controller, in a mount namespace of its own.
struct Disk {
    controller: Controller,
    folder: PathBuf,
}

impl Disk {
    /// Starts a controller with such a disk.
    async fn start(namespace: &Namespace) -> Result<Self> {
        let folder = namespace.folder().join("source-controller");
        let script = format!("mount -t tmpfs -o size={DISK} tmpfs \"$0\" && exec \"$@\"");
        let mut under = vec!["unshare".to_owned(), "--mount".to_owned()];
        if !rustix::process::geteuid().is_root() {
            under.extend(["--user".to_owned(), "--map-root-user".to_owned()]);
        }
        under.extend(["sh".to_owned(), "-c".to_owned(), script]);
        under.push(folder.to_string_lossy().into_owned());
        let settings = Settings {
            under,
            ..Settings::default()
        };
        let controller = Controller::start("source-controller", namespace, settings).await?;
        Ok(Self { controller, folder })
    }

    /// Mounts the disk again with this option.
    fn remount(&self, option: &str) -> Result {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.controller.pid()));
        command.arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        let option = format!("remount,{option}");
        let status = command
            .args(["mount", "-o", &option])
            .arg(&self.folder)
            .status()?;
        ensure!(status.success(), "mount -o {option} ended with {status}");
        Ok(())
    }

    /// The files on it, except locks and links.
    fn files(&self) -> BTreeSet<String> {
        let root = PathBuf::from(format!("/proc/{}/root", self.controller.pid()));
        let root = root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder));
        let mut found = BTreeSet::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
                    continue;
                };
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && path.extension().is_none_or(|ending| ending != "lock") {
                    let below = path.strip_prefix(&root).unwrap_or(&path);
                    found.insert(below.to_string_lossy().into_owned());
                }
            }
        }
        found
    }
}

/// The artifacts of the objects.
async fn artifacts(namespace: &Namespace) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for (kind, name) in OBJECTS {
        let object = namespace.get(kind, name).await?.unwrap_or_default();
        found.push(object["status"]["artifact"].clone());
    }
    Ok(found)
}

/// Asks for a reconcile of everything. A chart is packed anew in any case, since it does not see an index that cannot be
/// stored.
async fn ask(namespace: &Namespace, interval: &str) -> Result {
    namespace
        .request_reconcile(HELM_REPOSITORY, "small")
        .await?;
    for (kind, name) in OBJECTS {
        let spec = json!({"spec": {"interval": interval}});
        namespace.merge(kind, name, spec).await?;
        namespace.request_reconcile(kind, name).await?;
    }
    Ok(())
}

/// Waits until each object has told of a failure with these words; what was served before is served whole. A lock that cannot
/// be taken has no condition of its own, as upstream.
async fn refused(namespace: &Namespace, before: &[Value], words: &str) -> Result {
    for ((kind, name), artifact) in OBJECTS.iter().zip(before) {
        let goal = format!("tell that {name} cannot be stored");
        let told = |event: &&Value| {
            let text = event["message"].as_str().unwrap_or_default();
            event["involvedObject"]["name"] == *name
                && event["type"] == "Warning"
                && text.contains(words)
        };
        namespace
            .wait_all(EVENT, &goal, |events| events.iter().find(told).cloned())
            .await?;
        let object = namespace.get(*kind, name).await?.unwrap_or_default();
        ensure!(
            object["status"]["artifact"] == *artifact && !is_ready(&object, "True"),
            "{name}: {object}"
        );
        // An index is no archive.
        if *kind != HELM_REPOSITORY {
            tree_of(&object).await?;
        }
    }
    Ok(())
}

/// Waits until everything is stored.
async fn recovered(namespace: &Namespace) -> Result {
    for (kind, name) in OBJECTS {
        let done = |object: &Value| {
            is_ready(object, "True") && condition(object, "StorageOperationFailed").is_none()
        };
        let object = namespace
            .wait(kind, name, "has stored what fits", done)
            .await?;
        if kind != HELM_REPOSITORY {
            tree_of(&object).await?;
        }
    }
    Ok(())
}

// SC-OCI-069, SC-BKT-037, SC-HREPO-042
#[tokio::test]
async fn full_and_read_only_disks_serve_what_they_have() -> Result {
    let Some(servers) = Servers::start().await else {
        return Ok(());
    };
    let namespace = Namespace::create(&Cluster::shared().await?, "disk").await?;
    let disk = Disk::start(&namespace).await?;
    servers.publish("1.0.0", "small").await?;
    servers.apply(&namespace).await?;
    for (kind, name) in OBJECTS {
        namespace.wait_ready(kind, name, "True").await?;
    }
    let (before, files) = (artifacts(&namespace).await?, disk.files());
    servers.publish("2.0.0", &noise(LARGE)).await?;
    ask(&namespace, "2h").await?;
    refused(&namespace, &before, "No space left on device").await?;
    // Nothing else is there to be served: no part of what did not fit. Retries may be underway.
    let clean = async {
        let is_other = |path: &String| !files.contains(path) && !path.contains("/small/");
        while disk.files().iter().any(is_other) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    namespace
        .wait_for("no part of an artifact is left", clean)
        .await?;

    // What fits is stored at the next try.
    servers.publish("3.0.0", "other").await?;
    ask(&namespace, "3h").await?;
    recovered(&namespace).await?;

    let before = artifacts(&namespace).await?;
    servers.publish("4.0.0", "third").await?;
    disk.remount("ro")?;
    ask(&namespace, "4h").await?;
    refused(&namespace, &before, "Read-only file system").await?;
    disk.remount("rw")?;
    ask(&namespace, "5h").await?;
    recovered(&namespace).await
}
