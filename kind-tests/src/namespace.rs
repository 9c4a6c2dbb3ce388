//! A test's own namespace, with operations on it: apply, read, wait, change.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::discovery::{self, Scope};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::controller::Log;
use crate::failure::{Doing, Failure, Result};
use crate::{conditions, report};

/// An API version and a kind, such as `Kind("source.toolkit.fluxcd.io/v1", "GitRepository")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind(pub &'static str, pub &'static str);

/// GitRepository.
pub const GIT_REPOSITORY: Kind = Kind("source.toolkit.fluxcd.io/v1", "GitRepository");
/// OCIRepository.
pub const OCI_REPOSITORY: Kind = Kind("source.toolkit.fluxcd.io/v1", "OCIRepository");
/// HelmRepository.
pub const HELM_REPOSITORY: Kind = Kind("source.toolkit.fluxcd.io/v1", "HelmRepository");
/// HelmChart.
pub const HELM_CHART: Kind = Kind("source.toolkit.fluxcd.io/v1", "HelmChart");
/// Bucket.
pub const BUCKET: Kind = Kind("source.toolkit.fluxcd.io/v1", "Bucket");
/// Kustomization.
pub const KUSTOMIZATION: Kind = Kind("kustomize.toolkit.fluxcd.io/v1", "Kustomization");
/// HelmRelease.
pub const HELM_RELEASE: Kind = Kind("helm.toolkit.fluxcd.io/v2", "HelmRelease");
/// Alert.
pub const ALERT: Kind = Kind("notification.toolkit.fluxcd.io/v1", "Alert");
/// Provider.
pub const PROVIDER: Kind = Kind("notification.toolkit.fluxcd.io/v1", "Provider");
/// Receiver.
pub const RECEIVER: Kind = Kind("notification.toolkit.fluxcd.io/v1", "Receiver");
/// ImagePolicy.
pub const IMAGE_POLICY: Kind = Kind("image.toolkit.fluxcd.io/v1", "ImagePolicy");
/// ImageUpdateAutomation.
pub const IMAGE_UPDATE_AUTOMATION: Kind =
    Kind("image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation");
/// ImageRepository.
pub const IMAGE_REPOSITORY: Kind = Kind("image.toolkit.fluxcd.io/v1", "ImageRepository");
/// ArtifactGenerator.
pub const ARTIFACT_GENERATOR: Kind =
    Kind("source.extensions.fluxcd.io/v1beta1", "ArtifactGenerator");
/// ExternalArtifact.
pub const EXTERNAL_ARTIFACT: Kind = Kind("source.toolkit.fluxcd.io/v1", "ExternalArtifact");
/// ConfigMap.
pub const CONFIG_MAP: Kind = Kind("v1", "ConfigMap");
/// Secret.
pub const SECRET: Kind = Kind("v1", "Secret");
/// Deployment.
pub const DEPLOYMENT: Kind = Kind("apps/v1", "Deployment");

/// The label that selects the objects of one test for its controllers.
pub const SHARD_LABEL: &str = "kind-tests.fluxcd.io/shard";

/// The deadline of each wait: `FLUX_TEST_DEADLINE` in seconds, else two minutes.
pub fn deadline() -> Duration {
    let asked = std::env::var("FLUX_TEST_DEADLINE")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(120))
}

/// A namespace, deleted on drop, unless the test failed or `FLUX_TEST_KEEP` is set.
///
/// Every object of a Flux kind applied through it has [`SHARD_LABEL`] with the namespace's name as value: controllers
/// started with [`Namespace::selector`] only see these objects, so that tests run concurrently.
pub struct Namespace {
    cluster: Cluster,
    client: Client,
    name: String,
    resources: tokio::sync::Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>,
    logs: Mutex<Vec<(String, Arc<Log>)>>,
    /// The folder that the logs are also written to.
    kept_logs: Mutex<Option<PathBuf>>,
    /// Whether it is deleted on drop.
    owned: bool,
    failed: AtomicBool,
}

impl Namespace {
    /// Creates a namespace whose name begins with `topic`, a short word or two joined by dashes.
    pub async fn create(cluster: &Cluster, topic: &str) -> Result<Self> {
        let name = format!("{topic}-{:05x}", rand::random::<u32>() & 0xf_ffff);
        let client = cluster.client().await?;
        let api: Api<KubeNamespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        api.create(&PostParams::default(), &object)
            .await
            .doing(format!("create the namespace {name}"))?;
        Ok(Self::of(cluster, client, name, true))
    }

    /// An existing namespace, which is not deleted.
    pub async fn existing(cluster: &Cluster, name: &str) -> Result<Self> {
        let client = cluster.client().await?;
        Ok(Self::of(cluster, client, name.to_owned(), false))
    }

    fn of(cluster: &Cluster, client: Client, name: String, owned: bool) -> Self {
        Self {
            cluster: cluster.clone(),
            client,
            name,
            owned,
            resources: tokio::sync::Mutex::default(),
            logs: Mutex::default(),
            kept_logs: Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client with administrator rights.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The value for `--watch-label-selector` that selects this namespace's objects.
    pub fn selector(&self) -> String {
        format!("{SHARD_LABEL}={}", self.name)
    }

    /// A folder on disk for this test's programs, deleted with the namespace.
    pub fn folder(&self) -> PathBuf {
        std::env::temp_dir().join("flux-tests").join(&self.name)
    }

    /// Also writes the log of each controller that is started from now on to a file of its name in this folder.
    pub fn keep_logs(&self, folder: &Path) {
        if let Ok(mut kept) = self.kept_logs.lock() {
            *kept = Some(folder.to_owned());
        }
    }

    /// Adds a log to the output of failed waits in this namespace.
    pub(crate) fn show_on_failure(&self, name: &str, log: Arc<Log>) -> Result {
        let kept = self.kept_logs.lock().ok().and_then(|kept| kept.clone());
        if let Some(folder) = kept {
            log.copy_to(&folder.join(format!("{name}.log")))?;
        }
        if let Ok(mut logs) = self.logs.lock() {
            logs.push((name.to_owned(), log));
        }
        Ok(())
    }

    /// Applies the objects of a YAML text by server-side apply, and returns the server's response.
    ///
    /// Namespaced objects without a namespace are applied to this one; objects of Flux kinds get [`SHARD_LABEL`].
    /// `${namespace}` in the text is replaced by this namespace's name.
    pub async fn apply(&self, yaml: &str) -> Result<Vec<Value>> {
        let text = yaml.replace("${namespace}", &self.name);
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).doing("read the test's YAML")?;
        let mut applied = Vec::new();
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            applied.push(self.apply_object(document).await?);
        }
        Ok(applied)
    }

    async fn apply_object(&self, mut object: Value) -> Result<Value> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let name = text(&object["metadata"]["name"]);
        let gvk = GroupVersionKind::try_from(TypeMeta {
            api_version: version,
            kind: kind.clone(),
        })?;
        let (resource, scope) = self.resource(&gvk).await?;
        if gvk.group.ends_with(".fluxcd.io") {
            object["metadata"]["labels"][SHARD_LABEL] = json!(self.name);
        }
        let api = match (scope, object["metadata"]["namespace"].as_str()) {
            (Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
            (Scope::Namespaced, namespace) => Api::<DynamicObject>::namespaced_with(
                self.client.clone(),
                namespace.unwrap_or(&self.name),
                &resource,
            ),
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api
            .patch(&name, &params, &Patch::Apply(&object))
            .await
            .doing(format!("apply {kind} {name}"))?;
        Ok(serde_json::to_value(applied)?)
    }

    /// The objects of a kind in this namespace, or of the whole cluster for a cluster-scoped kind.
    pub async fn api(&self, kind: Kind) -> Result<Api<DynamicObject>> {
        let type_meta = TypeMeta {
            api_version: kind.0.to_owned(),
            kind: kind.1.to_owned(),
        };
        let (resource, scope) = self
            .resource(&GroupVersionKind::try_from(type_meta)?)
            .await?;
        Ok(match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), &self.name, &resource),
        })
    }

    async fn resource(&self, gvk: &GroupVersionKind) -> Result<(ApiResource, Scope)> {
        let mut resources = self.resources.lock().await;
        if let Some((resource, scope)) = resources.get(gvk) {
            return Ok((resource.clone(), scope.clone()));
        }
        let (resource, capabilities) =
            discovery::pinned_kind(&self.client, gvk)
                .await
                .doing(format!(
                    "find the kind {} of {}",
                    gvk.kind,
                    gvk.api_version()
                ))?;
        resources.insert(gvk.clone(), (resource.clone(), capabilities.scope.clone()));
        Ok((resource, capabilities.scope))
    }

    /// The object; `None` if it does not exist.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        let found = self.api(kind).await?.get_opt(name).await?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// The names of all objects of the kind, sorted.
    pub async fn names(&self, kind: Kind) -> Result<Vec<String>> {
        let list = self
            .api(kind)
            .await?
            .list_metadata(&ListParams::default())
            .await?;
        let mut names: Vec<String> = list.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }

    /// Changes the object by a JSON merge patch.
    pub async fn merge(&self, kind: Kind, name: &str, patch: Value) -> Result<Value> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let changed = self
            .api(kind)
            .await?
            .patch(name, &params, &Patch::Merge(&patch))
            .await
            .doing(format!("change {} {name}", kind.1))?;
        Ok(serde_json::to_value(changed)?)
    }

    /// Changes the object's status by a JSON merge patch, as its controller does.
    pub async fn set_status(&self, kind: Kind, name: &str, status: Value) -> Result<Value> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = json!({"status": status});
        let changed = self
            .api(kind)
            .await?
            .patch_status(name, &params, &Patch::Merge(&patch))
            .await
            .doing(format!("change the status of {} {name}", kind.1))?;
        Ok(serde_json::to_value(changed)?)
    }

    /// Requests a reconcile as `flux reconcile` does; returns the value to expect in `status.lastHandledReconcileAt`.
    pub async fn request_reconcile(&self, kind: Kind, name: &str) -> Result<String> {
        let at = jiff::Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": at}}});
        self.merge(kind, name, patch).await?;
        Ok(at)
    }

    /// Deletes the object; it may exist until its finalizers are removed.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result {
        let api = self.api(kind).await?;
        api.delete(name, &DeleteParams::default())
            .await
            .doing(format!("delete {} {name}", kind.1))?;
        Ok(())
    }

    /// Waits until the object satisfies `wanted`, and returns it. `goal` describes it for the user.
    ///
    /// The object is watched, never polled. A wait that reaches the [`deadline`] prints the state of the namespace, its
    /// events and the controllers' logs.
    pub async fn wait(
        &self,
        kind: Kind,
        name: &str,
        goal: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = self
            .watch(kind, name, goal, |object| {
                object.filter(|o| wanted(o)).cloned()
            })
            .await?;
        Ok(found)
    }

    /// As [`Namespace::wait`], and carries out `change` as soon as the object is watched, so that each state that it leads
    /// to is seen. Returns the object and the result of the change.
    pub async fn wait_during<T>(
        &self,
        kind: Kind,
        name: &str,
        goal: &str,
        wanted: impl Fn(&Value) -> bool,
        change: impl Future<Output = Result<T>>,
    ) -> Result<(Value, T)> {
        let (watching, mut watched) = tokio::sync::watch::channel(false);
        let waited = self.watch(kind, name, goal, |object| {
            watching.send_replace(true);
            object.filter(|object| wanted(object)).cloned()
        });
        let changed = async {
            // The sender lives as long as the wait does.
            let _ = watched.wait_for(|watching| *watching).await;
            change.await
        };
        tokio::try_join!(waited, changed)
    }

    /// Waits until the object does not exist.
    pub async fn wait_gone(&self, kind: Kind, name: &str) -> Result {
        self.watch(kind, name, "is gone", |object| {
            object.is_none().then_some(())
        })
        .await
    }

    /// Waits until `Ready` has this status (`"True"` or `"False"`) for the object's current generation.
    pub async fn wait_ready(&self, kind: Kind, name: &str, status: &str) -> Result<Value> {
        self.wait(kind, name, &format!("is Ready={status}"), |object| {
            is_ready(object, status)
        })
        .await
    }

    async fn watch<T>(
        &self,
        kind: Kind,
        name: &str,
        goal: &str,
        look: impl Fn(Option<&Value>) -> Option<T>,
    ) -> Result<T> {
        let api = self.api(kind).await?;
        let last = Mutex::new(None);
        let follow = async {
            let mut changes = std::pin::pin!(watcher::watch_object(api, name).default_backoff());
            while let Some(object) = changes.next().await {
                // The stream restarts a broken watch itself.
                let Ok(object) = object else { continue };
                let object = object.map(serde_json::to_value).transpose()?;
                if let Some(problem) = object.as_ref().and_then(conditions::unexpected) {
                    return Err(Failure::new(format!("{} {name}: {problem}", kind.1)));
                }
                let found = look(object.as_ref());
                if let Ok(mut last) = last.lock() {
                    *last = object;
                }
                if let Some(found) = found {
                    return Ok(found);
                }
            }
            Err(Failure::new("the watch has ended"))
        };
        match tokio::time::timeout(deadline(), follow).await {
            Ok(result) => result,
            Err(_) => Err(self
                .failure(
                    &format!("{} {name} {goal}", kind.1),
                    last.into_inner().ok().flatten(),
                )
                .await),
        }
    }

    /// Waits until `look` returns a value, calling it after every change of the kind's objects in the namespace.
    pub async fn wait_all<T>(
        &self,
        kind: Kind,
        goal: &str,
        look: impl Fn(&[Value]) -> Option<T>,
    ) -> Result<T> {
        let api = self.api(kind).await?;
        let follow = async {
            // The names, sorted, and the objects in the same order.
            let (mut names, mut objects) = (Vec::<String>::new(), Vec::<Value>::new());
            let mut changes =
                std::pin::pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
            let mut complete = false;
            while let Some(event) = changes.next().await {
                match event {
                    Ok(watcher::Event::Init) => {
                        names.clear();
                        objects.clear();
                        complete = false;
                    }
                    Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                        let (name, value) = (object.name_any(), serde_json::to_value(&object)?);
                        match names.binary_search(&name) {
                            Ok(place) => objects[place] = value,
                            Err(place) => {
                                names.insert(place, name);
                                objects.insert(place, value);
                            }
                        }
                    }
                    Ok(watcher::Event::Delete(object)) => {
                        if let Ok(place) = names.binary_search(&object.name_any()) {
                            names.remove(place);
                            objects.remove(place);
                        }
                    }
                    Ok(watcher::Event::InitDone) => complete = true,
                    Err(_) => continue,
                }
                if let Some(found) = look(&objects).filter(|_| complete) {
                    return Ok(found);
                }
            }
            Err(Failure::new("the watch has ended"))
        };
        match tokio::time::timeout(deadline(), follow).await {
            Ok(result) => result,
            Err(_) => Err(self.failure(&format!("{}s {goal}", kind.1), None).await),
        }
    }

    /// Waits for any future, with the deadline and the report of the other waits.
    pub async fn wait_for<T>(&self, goal: &str, future: impl Future<Output = T>) -> Result<T> {
        match tokio::time::timeout(deadline(), future).await {
            Ok(value) => Ok(value),
            Err(_) => Err(self.failure(goal, None).await),
        }
    }

    async fn failure(&self, goal: &str, last: Option<Value>) -> Failure {
        self.failed.store(true, Ordering::Relaxed);
        let mut text = format!("waited {} s in vain until {goal}", deadline().as_secs());
        if let Some(mut last) = last {
            report::strip(&mut last);
            let _ = write!(text, "\nlast seen: {last:#}");
        }
        text.push('\n');
        text.push_str(&self.report().await);
        Failure::new(text)
    }

    /// The state of this namespace: Flux objects, pods, events, and the end of the controllers' logs.
    pub async fn report(&self) -> String {
        let mut text = report::namespace(&self.client, &self.name).await;
        let logs = self
            .logs
            .lock()
            .map(|logs| logs.clone())
            .unwrap_or_default();
        for (name, log) in logs {
            let _ = writeln!(text, "--- log of {name}, last lines\n{}", log.show());
        }
        text
    }
}

/// Whether the condition `Ready` has this status for the object's current generation.
pub fn is_ready(object: &Value, status: &str) -> bool {
    condition(object, "Ready").is_some_and(|ready| {
        ready["status"] == status && ready["observedGeneration"] == object["metadata"]["generation"]
    })
}

/// The condition of this type.
pub fn condition<'a>(object: &'a Value, of_type: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == of_type)
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let failed = std::thread::panicking() || self.failed.load(Ordering::Relaxed);
        if failed || std::env::var_os("FLUX_TEST_KEEP").is_some() {
            eprintln!(
                "kept the namespace {} of {}",
                self.name,
                self.cluster.describe()
            );
            return;
        }
        let _ = std::fs::remove_dir_all(self.folder());
        // Drop is not async, and the test's runtime may be shutting down: use a thread with its own runtime.
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(delete_namespace(&cluster, &name))
        });
        if let Ok(Err(failure)) = deleting.join() {
            eprintln!("cannot delete the namespace {}: {failure}", self.name);
        }
    }
}

/// Deletes the namespace, and removes the finalizers of its Flux objects: their controllers have ended with the test.
async fn delete_namespace(cluster: &Cluster, name: &str) -> Result {
    let client = cluster.client().await?;
    let namespaces: Api<KubeNamespace> = Api::all(client.clone());
    namespaces.delete(name, &DeleteParams::default()).await?;
    for resource in report::flux_resources(&client).await? {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), name, &resource);
        let with_finalizers: Vec<String> = api
            .list_metadata(&ListParams::default())
            .await?
            .into_iter()
            .filter(|object| !object.finalizers().is_empty())
            .map(|object| object.name_any())
            .collect();
        futures::stream::iter(with_finalizers.into_iter().map(Ok::<_, Failure>))
            .try_for_each(|object| {
                let api = api.clone();
                async move {
                    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                    match api.patch(&object, &PatchParams::default(), &patch).await {
                        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                        other => other.map(|_| ()).map_err(Failure::from),
                    }
                }
            })
            .await?;
    }
    Ok(())
}
