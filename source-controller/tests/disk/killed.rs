//! Controllers that are killed at steps of their work: what they leave is not served, and does not fill the disk.

use std::fs;
use std::path::{Path, PathBuf};

use kind_tests::controller::Settings;
use kind_tests::{
    BUCKET, Cluster, Controller, Gate, HELM_REPOSITORY, Kind, Namespace, OCI_REPOSITORY, Result,
    Way, ensure,
};
use serde_json::{Value, json};

use crate::servers::Servers;
use crate::support::tree_of;
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

/// The files below a folder, except locks and links.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            Ok(kind) if kind.is_file() && !path.to_string_lossy().ends_with("lock") => {
                found.push(path);
            }
            _ => {}
        }
    }
    found
}

/// A controller that is killed at steps of its work, and the folders that it writes to.
struct Killed {
    namespace: Namespace,
    controller: Controller,
    storage: PathBuf,
    temporary: tempfile::TempDir,
    kind: Kind,
    /// What it left in the temporary folder.
    left: Vec<PathBuf>,
}

impl Killed {
    async fn start(topic: &str, kind: Kind) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let temporary = tempfile::TempDir::new()?;
        let settings = Settings::default().env("TMPDIR", temporary.path().to_string_lossy());
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        let storage = namespace.folder().join("source-controller");
        Ok(Self {
            namespace,
            controller,
            storage,
            temporary,
            kind,
            left: Vec::new(),
        })
    }

    /// Creates an object with the spec of another kind of server behind this address.
    async fn apply(&self, name: &str, mut spec: Value, server: &str, gate: &str) -> Result {
        for field in ["url", "endpoint"] {
            if let Some(text) = spec[field].as_str() {
                spec[field] = json!(text.replace(server, gate));
            }
        }
        spec["interval"] = json!("1h");
        let object = json!({"apiVersion": self.kind.0, "kind": self.kind.1, "metadata": {"name": name}, "spec": spec});
        self.namespace.apply(&object.to_string()).await?;
        Ok(())
    }

    /// The files of artifacts that the process wrote, whole or in part.
    fn stored(&self, name: &str) -> Vec<PathBuf> {
        let mut found = files(&self.storage);
        found.retain(|path| path.components().any(|part| part.as_os_str() == name));
        found
    }

    /// Kills the controller: it leaves parts of objects in the folder of its process at most, and layers nowhere, since they
    /// are in files without a name. Nothing is served that is not whole.
    fn kill(&mut self, name: &str, whole: &[u8]) -> Result {
        self.controller.kill()?;
        self.left = files(self.temporary.path());
        ensure!(
            self.left.is_empty() || self.kind == BUCKET,
            "{name}: {:?}",
            self.left
        );
        for path in self.stored(name) {
            let is_served = path.extension().is_some_and(|ending| ending == "gz");
            ensure!(
                !is_served || fs::read(&path)? == whole,
                "{name}: {} is served in part",
                path.display()
            );
        }
        Ok(())
    }

    /// Starts it again: the object gets the same artifact as one that was never interrupted, and nothing else is left.
    async fn recovered(&mut self, name: &str, whole: &Value) -> Result {
        self.controller.restart().await?;
        let object = self.namespace.wait_ready(self.kind, name, "True").await?;
        for field in ["digest", "revision", "size"] {
            ensure!(
                object["status"]["artifact"][field] == whole["status"]["artifact"][field],
                "{name}: {object}"
            );
        }
        let clean = async {
            while self.stored(name).len() != 1 || self.left.iter().any(|path| path.exists()) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let goal = format!("nothing but the artifact of {name} is left");
        self.namespace.wait_for(&goal, clean).await?;
        tree_of(&object).await?;
        Ok(())
    }
}

// SC-ART-043, SC-ART-006: at whichever step of a download or of the write of an archive a controller is killed, its
// successor serves the same
#[tokio::test]
async fn a_controller_killed_at_any_step_serves_the_same_artifact_afterwards() -> Result {
    let Some(servers) = Servers::start().await else {
        return Ok(());
    };
    servers.publish("1.0.0", &noise(6 << 20)).await?;
    for number in 0..20 {
        let key = format!("more/{number}");
        servers.store.put("app", &key, &noise(64 << 10)).await;
    }
    for (kind, topic) in [(OCI_REPOSITORY, "killed-layer"), (BUCKET, "killed-object")] {
        let mut killed = Killed::start(topic, kind).await?;
        servers.apply_secret(&killed.namespace).await?;
        let objects = servers.objects();
        let spec = objects.iter().find(|(other, ..)| *other == kind);
        let spec = spec.map(|(.., spec)| spec.clone()).unwrap_or_default();
        let server = match kind {
            OCI_REPOSITORY => servers.registry.address(),
            _ => servers.store.address(),
        };
        let from = server.to_string();
        killed.apply("whole", spec.clone(), &from, &from).await?;
        let whole = killed.namespace.wait_ready(kind, "whole", "True").await?;
        let path = whole["status"]["artifact"]["path"]
            .as_str()
            .unwrap_or_default();
        let content = fs::read(killed.storage.join(path))?;

        // While it downloads: after so many bytes of an answer nothing more comes.
        for bytes in [1, 600, 2_000, 64 << 10, 1 << 20, 5 << 20] {
            let gate = Gate::start(server).await?;
            gate.set(Way::Bytes(bytes));
            let name = format!("after-{bytes}");
            let to = gate.address().to_string();
            killed.apply(&name, spec.clone(), &from, &to).await?;
            gate.wait_for_bytes(bytes).await;
            killed.kill(&name, &content)?;
            ensure!(
                killed.stored(&name).is_empty(),
                "{:?}",
                killed.stored(&name)
            );
            gate.set(Way::Open);
            killed.recovered(&name, &whole).await?;
            killed.namespace.delete(kind, &name).await?;
            killed.namespace.wait_gone(kind, &name).await?;
        }

        // While it writes the archive, and once that has its name, mostly before the status tells of it.
        let mut partial = 0;
        for (number, wants_part) in [true, true, true, false, false].into_iter().enumerate() {
            let name = format!("write-{number}");
            killed.apply(&name, spec.clone(), &from, &from).await?;
            let is_whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "gz");
            let seen = async {
                loop {
                    let stored = killed.stored(&name);
                    if stored.iter().any(|path| wants_part || is_whole(path)) {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            killed.namespace.wait_for("it is written", seen).await?;
            killed.kill(&name, &content)?;
            partial += usize::from(killed.stored(&name).iter().any(|path| !is_whole(path)));
            killed.recovered(&name, &whole).await?;
        }
        ensure!(partial > 0, "no archive was seen half written");
    }
    Ok(())
}
