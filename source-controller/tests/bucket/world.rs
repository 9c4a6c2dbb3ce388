//! Shared by the scenarios: a namespace with a source-controller, and an object store behind a front.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kind_tests::controller::Settings;
use kind_tests::{BUCKET, Cluster, Controller, EventSink, Namespace, Result, condition};
use object_stores::{ACCESS_KEY, Front, FrontBuilder, SECRET_KEY, Seaweed};
use serde_json::{Value, json};

use crate::support::tree_of;

/// The bucket of the tests.
pub(crate) const APP: &str = "app";

/// The environment of a test.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) namespace: Namespace,
    pub(crate) events: EventSink,
    pub(crate) front: Front,
}

/// A SeaweedFS with an empty bucket, and a front of it; `None` if it is not installed.
pub(crate) async fn seaweed() -> Option<(Seaweed, FrontBuilder)> {
    let store = Seaweed::start()?;
    store.make_bucket(APP).await;
    let front = Front::to(store.address());
    Some((store, front))
}

impl World {
    pub(crate) async fn start(topic: &str, front: FrontBuilder) -> Result<Self> {
        Self::start_with(topic, front.start(), Settings::default()).await
    }

    pub(crate) async fn start_with(topic: &str, front: Front, settings: Settings) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let events = EventSink::start().await?;
        let settings = settings.flag(format!("--events-addr={}", events.url()));
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        let world = Self {
            controller,
            namespace,
            events,
            front,
        };
        let keys = [("accesskey", ACCESS_KEY), ("secretkey", SECRET_KEY)];
        world.secret("keys", &keys).await?;
        Ok(world)
    }

    /// Applies a Secret.
    pub(crate) async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Result {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        self.namespace.apply(&secret.to_string()).await?;
        Ok(())
    }

    /// Applies a Bucket of the store by plain HTTP with its keys, and these additional lines of its spec, in YAML's flow form.
    pub(crate) async fn apply(&self, name: &str, spec: &str) -> Result {
        let own = "insecure: true, region: us-east-1, secretRef: {name: keys}";
        let comma = if spec.is_empty() { "" } else { ", " };
        self.apply_as(name, &self.front.host(), &format!("{own}{comma}{spec}"))
            .await
    }

    /// Applies a Bucket of this endpoint.
    pub(crate) async fn apply_as(&self, name: &str, endpoint: &str, spec: &str) -> Result {
        let bucket = if spec.contains("bucketName") {
            String::new()
        } else {
            format!("bucketName: {APP}, ")
        };
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: Bucket, metadata: {{name: {name}}}, \
             spec: {{endpoint: '{endpoint}', interval: 1h, {bucket}{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Waits until the object is Ready for its generation, and returns it.
    pub(crate) async fn ready(&self, name: &str) -> Result<Value> {
        self.namespace.wait_ready(BUCKET, name, "True").await
    }

    /// Waits until `FetchFailed` is True with this reason, and returns its message, with the store's address as `HOST`.
    pub(crate) async fn failed(&self, name: &str, reason: &str) -> Result<String> {
        let goal = format!("has failed for {reason}");
        let fits = |object: &Value| {
            condition(object, "FetchFailed")
                .is_some_and(|found| found["status"] == "True" && found["reason"] == reason)
        };
        let object = self.namespace.wait(BUCKET, name, &goal, fits).await?;
        let message = crate::support::message(&object, "FetchFailed");
        Ok(message.replace(&self.front.host(), "HOST"))
    }

    /// Requests a reconcile and waits for its end, whatever the result.
    pub(crate) async fn reconcile(&self, name: &str) -> Result<Value> {
        let at = self.namespace.request_reconcile(BUCKET, name).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        self.namespace
            .wait(BUCKET, name, "has handled the request", handled)
            .await
    }

    /// The files of the object's artifact, by path.
    pub(crate) async fn files(&self, object: &Value) -> Result<BTreeMap<String, String>> {
        Ok(crate::support::listing(&tree_of(object).await?))
    }

    /// Waits for an event of the object with this reason and message.
    pub(crate) async fn told(&self, name: &str, reason: &str, message: &str) -> Result {
        let wanted = |event: &Value| {
            event["involvedObject"]["name"] == name
                && event["reason"] == reason
                && event["message"] == message
        };
        let goal = format!("of {name}: {reason} {message:?}");
        self.events.wait(&goal, wanted).await?;
        Ok(())
    }

    /// The keys of the objects that were downloaded, in order.
    pub(crate) fn downloads(&self) -> Vec<String> {
        let requests = self.front.requests().into_iter();
        let paths = requests.filter(|request| request.method == "GET" && request.status == 200);
        let mut keys: Vec<String> = paths
            .filter_map(|request| {
                let path = request.target.split('?').next()?;
                let key = path.strip_prefix(&format!("/{APP}/"))?;
                (!key.is_empty()).then(|| key.to_owned())
            })
            .collect();
        keys.sort();
        keys
    }

    /// The folder of an object's artifacts.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.namespace
            .folder()
            .join("source-controller/bucket")
            .join(self.namespace.name())
            .join(name)
    }
}

/// The only files of an artifact.
pub(crate) fn files(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    expected.iter().map(pair).collect()
}

/// The revision of an artifact.
pub(crate) fn revision(object: &Value) -> String {
    let revision = &object["status"]["artifact"]["revision"];
    revision.as_str().unwrap_or_default().to_owned()
}
