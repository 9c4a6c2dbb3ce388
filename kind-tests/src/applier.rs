//! kustomize-controller alone, with sources faked by the test.

use serde_json::{Value, json};

use crate::artifacts::ArtifactServer;
use crate::cluster::Cluster;
use crate::controller::{Controller, Settings};
use crate::events::EventSink;
use crate::failure::Result;
use crate::namespace::{GIT_REPOSITORY, KUSTOMIZATION, Kind, Namespace};

/// kustomize-controller limited to one namespace, with artifacts made by the test.
///
/// The fields drop in this order: the controller ends before the namespace is deleted.
pub struct Applier {
    /// The controller.
    pub kustomize: Controller,
    /// Receives its events.
    pub events: EventSink,
    /// Serves the artifacts of its sources.
    pub artifacts: ArtifactServer,
    /// The namespace of the Flux objects and, by default, of the objects that they apply.
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
            // The default of half a minute is too long for tests.
            .default_flag("--requeue-dependency=1s");
        let kustomize = Controller::start("kustomize-controller", &namespace, settings).await?;
        Ok(Self {
            kustomize,
            events,
            artifacts,
            namespace,
        })
    }

    /// Acts as source-controller: publishes an artifact of these files for the GitRepository `app`.
    pub async fn publish(&self, revision: &str, files: &[(&str, &str)]) -> Result<Value> {
        let artifact =
            self.artifacts
                .put(&revision.replace([':', '@', '/'], "-"), revision, files)?;
        self.serve(GIT_REPOSITORY, "app", &artifact).await?;
        Ok(artifact)
    }

    /// Sets the artifact of a source, which is created if necessary.
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

    /// The YAML of a Kustomization of the GitRepository `app` that applies into this namespace; `spec` has additional
    /// lines of its spec.
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
        self.says_during(name, reason, text, async { Ok(()) }).await
    }

    /// As [`Applier::says`], and carries out `change` as soon as the Kustomization is watched.
    pub async fn says_during<T>(
        &self,
        name: &str,
        reason: &str,
        text: &str,
        change: impl Future<Output = Result<T>>,
    ) -> Result<Value> {
        let goal = format!("says {reason}: {text}");
        let says = |object: &Value| {
            crate::condition(object, "Ready").is_some_and(|ready| {
                ready["reason"] == reason
                    && ready["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(text))
            })
        };
        let waited = self
            .namespace
            .wait_during(KUSTOMIZATION, name, &goal, says, change);
        Ok(waited.await?.0)
    }

    /// Requests a reconcile and waits for its end.
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
