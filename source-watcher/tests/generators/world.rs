//! Shared by the scenarios: a namespace with a source-watcher, and sources whose artifacts a test serves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flux_artifact::{FetchOptions, Fetcher};
use flux_budget::Budget;
use flux_tree::Entry;
use kind_tests::controller::Settings;
use kind_tests::{
    ArtifactServer, Cluster, Controller, EventSink, GIT_REPOSITORY, Kind, Namespace, Result,
    condition,
};
use serde_json::{Value, json};

/// ArtifactGenerator.
pub(crate) const GENERATOR: Kind = Kind("source.extensions.fluxcd.io/v1beta1", "ArtifactGenerator");
/// ExternalArtifact.
pub(crate) const EXTERNAL_ARTIFACT: Kind = Kind("source.toolkit.fluxcd.io/v1", "ExternalArtifact");
/// Namespace.
pub(crate) const NAMESPACE: Kind = Kind("v1", "Namespace");
/// Events in Kubernetes.
const EVENT: Kind = Kind("v1", "Event");

/// The environment of a test.
pub(crate) struct World {
    pub(crate) watcher: Controller,
    pub(crate) namespace: Namespace,
    pub(crate) events: EventSink,
    pub(crate) server: ArtifactServer,
}

impl World {
    pub(crate) async fn start(topic: &str) -> Result<Self> {
        Self::start_with(topic, Settings::default()).await
    }

    pub(crate) async fn start_with(topic: &str, settings: Settings) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let events = EventSink::start().await?;
        let settings = settings
            .flag(format!("--events-addr={}", events.url()))
            .default_flag("--requeue-dependency=1s");
        let watcher = Controller::start("source-watcher", &namespace, settings).await?;
        Ok(Self {
            watcher,
            namespace,
            events,
            server: ArtifactServer::start().await?,
        })
    }

    /// Applies a GitRepository with an artifact of these files. Its revision is that of a branch.
    pub(crate) async fn source(
        &self,
        name: &str,
        revision: &str,
        files: &[(&str, &str)],
    ) -> Result<Value> {
        let artifact = self
            .server
            .put(&format!("{name}-{revision}"), revision, files)?;
        self.publish(GIT_REPOSITORY, name, artifact).await
    }

    /// Applies an object of a kind of sources, and writes this artifact to its status.
    pub(crate) async fn publish(&self, kind: Kind, name: &str, artifact: Value) -> Result<Value> {
        let spec = match kind.1 {
            "GitRepository" => "url: 'https://host/repo', interval: 1h",
            "OCIRepository" => "url: 'oci://host/repo', interval: 1h",
            "Bucket" => "bucketName: b, endpoint: host, interval: 1h",
            "HelmChart" => {
                "chart: app, interval: 1h, sourceRef: {kind: HelmRepository, name: charts}"
            }
            _ => "",
        };
        let yaml = format!(
            "{{apiVersion: {}, kind: {}, metadata: {{name: {name}}}, spec: {{{spec}}}}}",
            kind.0, kind.1
        );
        self.namespace.apply(&yaml).await?;
        let status = json!({"artifact": artifact});
        self.namespace.set_status(kind, name, status).await
    }

    /// Applies a generator with this spec, in YAML's flow form, on the GitRepository `repo`.
    pub(crate) async fn generate(&self, name: &str, spec: &str) -> Result {
        let sources = "sources: [{alias: repo, kind: GitRepository, name: repo}]";
        self.apply(name, &format!("{sources}, {spec}")).await
    }

    /// Applies a generator with this spec, in YAML's flow form.
    pub(crate) async fn apply(&self, name: &str, spec: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: {}, kind: {}, metadata: {{name: {name}}}, spec: {{{spec}}}}}",
            GENERATOR.0, GENERATOR.1
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Waits until the generator is Ready for its generation, and returns it.
    pub(crate) async fn ready(&self, name: &str) -> Result<Value> {
        self.namespace.wait_ready(GENERATOR, name, "True").await
    }

    /// Waits until the generator's status is that of the sources as they are.
    pub(crate) async fn settled(&self, name: &str, before: &Value) -> Result<Value> {
        let digest = before["status"]["observedSourcesDigest"].clone();
        let goal = "has seen the new sources";
        let fits = |object: &Value| {
            kind_tests::is_ready(object, "True")
                && object["status"]["observedSourcesDigest"] != digest
        };
        self.namespace.wait(GENERATOR, name, goal, fits).await
    }

    /// Waits until Ready is False for this reason, and returns its message.
    pub(crate) async fn fails(&self, name: &str, reason: &str) -> Result<String> {
        self.condition(name, "Ready", "False", reason).await
    }

    /// Waits until a condition has this status and reason for the generation, and returns its message.
    pub(crate) async fn condition(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let goal = format!("has {kind}={status} for {reason}");
        let fits = |object: &Value| {
            condition(object, kind).is_some_and(|found| {
                found["status"] == status
                    && found["reason"] == reason
                    && found["observedGeneration"] == object["metadata"]["generation"]
            })
        };
        let object = self.namespace.wait(GENERATOR, name, &goal, fits).await?;
        let message = condition(&object, kind).map(|found| found["message"].clone());
        Ok(message
            .unwrap_or_default()
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Requests a reconcile and waits for its end, whatever the result.
    pub(crate) async fn reconcile(&self, name: &str) -> Result<Value> {
        let at = self.namespace.request_reconcile(GENERATOR, name).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        let goal = "has handled the request";
        self.namespace.wait(GENERATOR, name, goal, handled).await
    }

    /// The ExternalArtifact of this name.
    pub(crate) async fn artifact(&self, name: &str) -> Result<Value> {
        let found = self.namespace.get(EXTERNAL_ARTIFACT, name).await?;
        found.ok_or_else(|| kind_tests::Failure::new(format!("no ExternalArtifact {name}")))
    }

    /// The files of an ExternalArtifact, by path.
    pub(crate) async fn files(&self, name: &str) -> Result<BTreeMap<String, String>> {
        files(&self.artifact(name).await?["status"]["artifact"]).await
    }

    /// The folder with the files of an ExternalArtifact.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let root = self
            .namespace
            .folder()
            .join("source-watcher/externalartifact");
        root.join(self.namespace.name()).join(name)
    }

    /// The events that were posted about an object, as severity, reason and message.
    pub(crate) fn posted(&self, name: &str) -> Vec<String> {
        let of = |event: &Value| event["involvedObject"]["name"] == name;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = self.events.events().into_iter().filter(of);
        let shown = events.map(|event| {
            let [severity, reason, message] =
                ["severity", "reason", "message"].map(|key| text(&event[key]));
            format!("{severity} {reason}: {message}")
        });
        shown.collect()
    }

    /// Waits for an event of an object in Kubernetes, as type, reason and message.
    pub(crate) async fn told(&self, name: &str, wanted: &str) -> Result {
        let goal = format!("tell of {name}: {wanted:?}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let fits = |event: &Value| {
            let [kind, reason, message] =
                ["type", "reason", "message"].map(|key| text(&event[key]));
            event["involvedObject"]["name"] == name
                && format!("{kind} {reason}: {message}").contains(wanted)
        };
        self.namespace
            .wait_all(EVENT, &goal, |events| events.iter().any(fits).then_some(()))
            .await
    }
}

/// The files of an artifact of a status, by path.
pub(crate) async fn files(artifact: &Value) -> Result<BTreeMap<String, String>> {
    let text = |key: &str| artifact[key].as_str().unwrap_or_default();
    let client = flux_http::ClientOptions::default().build()?;
    let fetcher = Fetcher::new(client, FetchOptions::default(), Budget::unlimited());
    let digest = Fetcher::digest(text("digest"))?;
    let tree = fetcher.fetch(text("url"), &digest).await?;
    let files = tree.iter().filter_map(|(path, entry)| match entry {
        Entry::File(file) => {
            let content = String::from_utf8_lossy(&file.content).into_owned();
            Some((path.to_string(), content))
        }
        _ => None,
    });
    Ok(files.collect())
}
