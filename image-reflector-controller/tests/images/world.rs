//! Shared by the scenarios: a namespace with an image-reflector-controller, and a registry.

use std::path::PathBuf;

use kind_tests::controller::Settings;
use kind_tests::{
    Cluster, Controller, EventSink, IMAGE_POLICY, IMAGE_REPOSITORY, Kind, Namespace, Result,
    condition,
};
use registries::{Artifact, Registry, tar_gz};
use serde_json::Value;

/// The name of the controller.
pub(crate) const REFLECTOR: &str = "image-reflector-controller";
/// The repository of the tests.
pub(crate) const APP: &str = "org/app";
/// Events in Kubernetes.
pub(crate) const EVENT: Kind = Kind("v1", "Event");

/// The environment of a test.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) namespace: Namespace,
    pub(crate) events: EventSink,
    pub(crate) registry: Registry,
}

impl World {
    pub(crate) async fn start(topic: &str, registry: Registry) -> Result<Self> {
        Self::start_with(topic, Settings::default(), registry).await
    }

    pub(crate) async fn start_with(
        topic: &str,
        settings: Settings,
        registry: Registry,
    ) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        Self::start_in(namespace, settings, registry).await
    }

    pub(crate) async fn start_in(
        namespace: Namespace,
        settings: Settings,
        registry: Registry,
    ) -> Result<Self> {
        let events = EventSink::start().await?;
        let settings = settings.flag(format!("--events-addr={}", events.url()));
        let controller = Controller::start(REFLECTOR, &namespace, settings).await?;
        Ok(Self {
            controller,
            namespace,
            events,
            registry,
        })
    }

    /// The name of the image.
    pub(crate) fn image(&self) -> String {
        self.registry.repository(APP)
    }

    /// Pushes an image under these tags, each another one. Returns the digest of the last.
    pub(crate) fn push(&self, tags: &[&str]) -> String {
        let push = |tag: &&str| {
            let content = tar_gz(&[("tag", tag)]);
            self.registry.push(APP, tag, &Artifact::flux(content))
        };
        tags.iter().map(push).last().unwrap_or_default()
    }

    /// Applies an ImageRepository of the image with these additional fields of its spec, in YAML's flow form.
    pub(crate) async fn apply(&self, name: &str, spec: &str) -> Result {
        self.apply_image(name, &self.image(), spec).await
    }

    pub(crate) async fn apply_image(&self, name: &str, image: &str, spec: &str) -> Result {
        let interval = if spec.contains("interval:") {
            ""
        } else {
            ", interval: 1h"
        };
        let comma = if spec.is_empty() { "" } else { ", " };
        let yaml = format!(
            "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageRepository, metadata: {{name: {name}}}, \
             spec: {{image: '{image}'{interval}{comma}{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Applies an ImagePolicy for the repository `of`.
    pub(crate) async fn policy(&self, name: &str, of: &str, spec: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {{name: {name}}}, \
             spec: {{imageRepositoryRef: {{name: {of}}}, {spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Waits until the ImageRepository is Ready for its generation.
    pub(crate) async fn scanned(&self, name: &str) -> Result<Value> {
        self.namespace
            .wait_ready(IMAGE_REPOSITORY, name, "True")
            .await
    }

    /// Waits until the ImagePolicy has selected this tag and is Ready.
    pub(crate) async fn selected(&self, name: &str, tag: &str) -> Result<Value> {
        let fits = |object: &Value| {
            kind_tests::is_ready(object, "True") && object["status"]["latestRef"]["tag"] == tag
        };
        let goal = format!("has selected {tag}");
        self.namespace.wait(IMAGE_POLICY, name, &goal, fits).await
    }

    /// Waits until a condition has this status and reason, and returns its message, with the registry's address as `HOST`.
    pub(crate) async fn condition(
        &self,
        kind: Kind,
        name: &str,
        [condition_type, status, reason]: [&str; 3],
    ) -> Result<String> {
        let goal = format!("has {condition_type}={status} for {reason}");
        let fits = |object: &Value| {
            condition(object, condition_type)
                .is_some_and(|found| found["status"] == status && found["reason"] == reason)
        };
        let object = self.namespace.wait(kind, name, &goal, fits).await?;
        Ok(message(&object, condition_type).replace(&self.registry.host(), "HOST"))
    }

    /// Waits until the repository is not ready for this reason, and returns the message.
    pub(crate) async fn failed(&self, name: &str, reason: &str) -> Result<String> {
        self.condition(IMAGE_REPOSITORY, name, ["Ready", "False", reason])
            .await
    }

    /// Waits until the policy is not ready for this reason, and returns the message.
    pub(crate) async fn refused(&self, name: &str, reason: &str) -> Result<String> {
        self.condition(IMAGE_POLICY, name, ["Ready", "False", reason])
            .await
    }

    /// Requests a reconcile and waits for its end, whatever the result.
    pub(crate) async fn reconcile(&self, kind: Kind, name: &str) -> Result<Value> {
        let at = self.namespace.request_reconcile(kind, name).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        self.namespace
            .wait(kind, name, "has handled the request", handled)
            .await
    }

    /// The events received for an object, as severity, reason, action and message.
    pub(crate) fn told(&self, kind: Kind, name: &str) -> Vec<[String; 4]> {
        let of = |event: &Value| {
            event["involvedObject"]["name"] == name && event["involvedObject"]["kind"] == kind.1
        };
        let keys = ["severity", "reason", "action", "message"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = self.events.events().into_iter().filter(of);
        events
            .map(|event| keys.map(|key| text(&event[key])))
            .collect()
    }

    /// Waits for an event of the object in Kubernetes with this text in its message.
    pub(crate) async fn recorded(&self, name: &str, words: &str) -> Result<Value> {
        let goal = format!("tell of {name}: {words:?}");
        let fits = |event: &&Value| {
            event["involvedObject"]["name"] == name
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
        };
        self.namespace
            .wait_all(EVENT, &goal, |events| events.iter().find(fits).cloned())
            .await
    }

    /// The root of the store.
    pub(crate) fn storage(&self) -> PathBuf {
        self.namespace.folder().join(REFLECTOR)
    }

    /// The file of a repository's tags.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.storage()
            .join("imagerepository")
            .join(self.namespace.name())
            .join(name)
            .join("tags.txt")
    }

    /// How often the registry was asked for the first page of the tags.
    pub(crate) fn scans(&self) -> usize {
        let list = format!("GET /v2/{APP}/tags/list?n=1000");
        let asked = self.registry.asked();
        asked.iter().filter(|line| **line == list).count()
    }
}

/// The message of a condition, empty if absent.
pub(crate) fn message(object: &Value, kind: &str) -> String {
    let found = condition(object, kind).map(|found| found["message"].as_str().unwrap_or_default());
    found.unwrap_or_default().to_owned()
}
