//! The kustomize-controller by itself, on sources that the test plays.

use serde_json::{Value, json};

use crate::artifacts::ArtifactServer;
use crate::cluster::Cluster;
use crate::controller::{Controller, Settings};
use crate::events::EventSink;
use crate::failure::Result;
use crate::namespace::{GIT_REPOSITORY, KUSTOMIZATION, Kind, Namespace};

/// A kustomize-controller on the objects of a namespace of its own, and artifacts that the test makes.
///
/// The fields drop in this order: the controller ends before the namespace goes.
pub struct Applier {
    /// The controller.
    pub kustomize: Controller,
    /// Where it sends its events.
    pub events: EventSink,
    /// What its sources have.
    pub artifacts: ArtifactServer,
    /// Where the Flux objects are, and what they apply unless it names another namespace.
    pub namespace: Namespace,
}

impl Applier {
    /// Starts the controller in a namespace whose name begins with `topic`.
    pub async fn start(topic: &str, settings: Settings) -> Result<Self> {
        Self::start_on(&Cluster::shared().await?, topic, settings).await
    }

    /// As [`Applier::start`], on this cluster.
    pub async fn start_on(cluster: &Cluster, topic: &str, settings: Settings) -> Result<Self> {
        let namespace = Namespace::create(cluster, topic).await?;
        let events = EventSink::start().await?;
        let artifacts = ArtifactServer::start().await?;
        let settings = settings
            .flag(format!("--events-addr={}", events.url()))
            // Half a minute, the default, is long for someone who waits.
            .default_flag("--requeue-dependency=1s");
        let kustomize = Controller::start("kustomize-controller", &namespace, settings).await?;
        Ok(Self {
            kustomize,
            events,
            artifacts,
            namespace,
        })
    }

    /// Plays a source-controller that has made an artifact of these files for the GitRepository `app`.
    pub async fn publish(&self, revision: &str, files: &[(&str, &str)]) -> Result<Value> {
        let artifact =
            self.artifacts
                .put(&revision.replace([':', '@', '/'], "-"), revision, files)?;
        self.serve(GIT_REPOSITORY, "app", &artifact).await?;
        Ok(artifact)
    }

    /// Gives a source this artifact; the source is made where there is none.
    pub async fn serve(&self, kind: Kind, name: &str, artifact: &Value) -> Result {
        if self.namespace.get(kind, name).await?.is_none() {
            let spec = match kind.1 {
                "Bucket" => json!({"interval": "1h", "endpoint": "127.0.0.1", "bucketName": "b"}),
                "ExternalArtifact" => json!({}),
                _ => {
                    json!({"interval": "1h", "url": format!("{}://127.0.0.1/app", if kind.1 == "OCIRepository" { "oci" } else { "https" })})
                }
            };
            let source = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": name}, "spec": spec});
            self.namespace.apply(&source.to_string()).await?;
        }
        let status = json!({"artifact": artifact});
        self.namespace.set_status(kind, name, status).await?;
        Ok(())
    }

    /// The YAML of a Kustomization of the GitRepository `app` that applies into this namespace; `spec` has more lines
    /// of its spec.
    pub fn kustomization(&self, name: &str, spec: &[&str]) -> String {
        crate::flux::kustomization(name, spec)
    }

    /// Waits until the Kustomization has applied this revision and is ready.
    pub async fn applied(&self, name: &str, revision: &str) -> Result<Value> {
        let goal = format!("is ready at {revision}");
        let done = |object: &Value| {
            crate::is_ready(object, "True") && object["status"]["lastAppliedRevision"] == revision
        };
        self.namespace.wait(KUSTOMIZATION, name, &goal, done).await
    }

    /// Waits until Ready has this reason and a message with this text.
    pub async fn says(&self, name: &str, reason: &str, text: &str) -> Result<Value> {
        let goal = format!("says {reason}: {text}");
        let says = |object: &Value| {
            crate::condition(object, "Ready").is_some_and(|ready| {
                ready["reason"] == reason
                    && ready["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(text))
            })
        };
        self.namespace.wait(KUSTOMIZATION, name, &goal, says).await
    }

    /// Asks for a run and waits until it is over.
    pub async fn run(&self, name: &str) -> Result<Value> {
        let at = self
            .namespace
            .request_reconcile(KUSTOMIZATION, name)
            .await?;
        let done = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
        self.namespace
            .wait(KUSTOMIZATION, name, "has handled the request", done)
            .await
    }
}
