//! Shared by the scenarios: a namespace with a source-controller, and a registry.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, EventSink, Namespace, OCI_REPOSITORY, Result, condition};
use registries::{Artifact, Registry, tar_gz};
use serde_json::Value;

use crate::support::tree_of;

/// The repository of the tests.
pub(crate) const APP: &str = "org/app";

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
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        Ok(Self {
            controller,
            namespace,
            events,
            registry,
        })
    }

    /// The URL of the repository.
    pub(crate) fn url(&self) -> String {
        format!("oci://{}", self.registry.repository(APP))
    }

    /// Pushes files under a tag, and returns the digest.
    pub(crate) fn push(&self, tag: &str, files: &[(&str, &str)]) -> String {
        self.registry.push(APP, tag, &Artifact::flux(tar_gz(files)))
    }

    /// Applies an OCIRepository with these additional lines of its spec, in YAML's flow form.
    pub(crate) async fn apply(&self, name: &str, spec: &str) -> Result {
        self.apply_url(name, &self.url(), spec).await
    }

    pub(crate) async fn apply_url(&self, name: &str, url: &str, spec: &str) -> Result {
        let comma = if spec.is_empty() { "" } else { ", " };
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {{name: {name}}}, \
             spec: {{url: '{url}', interval: 1h{comma}{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Waits until the object is Ready for its generation, and returns it.
    pub(crate) async fn ready(&self, name: &str) -> Result<Value> {
        self.namespace
            .wait_ready(OCI_REPOSITORY, name, "True")
            .await
    }

    /// Waits until a condition has this status and reason, and returns its message, with the registry's address as `HOST`.
    pub(crate) async fn condition(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let goal = format!("has {kind}={status} for {reason}");
        let fits = |object: &Value| {
            condition(object, kind)
                .is_some_and(|found| found["status"] == status && found["reason"] == reason)
        };
        let object = self
            .namespace
            .wait(OCI_REPOSITORY, name, &goal, fits)
            .await?;
        let message = crate::support::message(&object, kind);
        Ok(message.replace(&self.registry.host(), "HOST"))
    }

    /// Requests a reconcile and waits for its end, whatever the result.
    pub(crate) async fn reconcile(&self, name: &str) -> Result<Value> {
        let at = self
            .namespace
            .request_reconcile(OCI_REPOSITORY, name)
            .await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        self.namespace
            .wait(OCI_REPOSITORY, name, "has handled the request", handled)
            .await
    }

    /// The files of the object's artifact, by path.
    pub(crate) async fn files(&self, object: &Value) -> Result<BTreeMap<String, String>> {
        Ok(crate::support::listing(&tree_of(object).await?))
    }

    /// The events received for an object, as reason and message.
    pub(crate) fn told(&self, name: &str) -> Vec<(String, String)> {
        let of = |event: &Value| event["involvedObject"]["name"] == name;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = self.events.events().into_iter().filter(of);
        events
            .map(|event| (text(&event["reason"]), text(&event["message"])))
            .collect()
    }

    /// The folder of an object's artifacts.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.namespace
            .folder()
            .join("source-controller/ocirepository")
            .join(self.namespace.name())
            .join(name)
    }
}

/// The only files of an artifact.
pub(crate) fn files(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    expected.iter().map(pair).collect()
}
