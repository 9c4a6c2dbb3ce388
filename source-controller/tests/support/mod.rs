//! Shared by the scenarios: a namespace with a source-controller, and inspection of its results.

#![allow(dead_code, reason = "no scenario file needs all of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use flux_artifact::{FetchOptions, Fetcher};
use flux_budget::Budget;
use flux_tree::{Entry, Tree};
use git_servers::{HttpGitServer, Repo};
use http::header::ACCEPT;
use kind_tests::controller::Settings;
use kind_tests::{
    Cluster, Controller, EventSink, GIT_REPOSITORY, Kind, Namespace, Result, condition,
};
use kube::api::{DynamicObject, PostParams};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

/// Events in Kubernetes.
const EVENT: Kind = Kind("v1", "Event");

/// The environment of a test.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) namespace: Namespace,
    pub(crate) events: EventSink,
    pub(crate) git: HttpGitServer,
    /// The kind that the methods are about.
    pub(crate) kind: Kind,
}

impl World {
    pub(crate) async fn start(topic: &str) -> Result<Self> {
        Self::start_with(topic, Settings::default(), HttpGitServer::start()).await
    }

    /// With progress in the status at once.
    pub(crate) async fn start_telling(topic: &str) -> Result<Self> {
        let settings = Settings::default().telling_progress();
        Self::start_with(topic, settings, HttpGitServer::start()).await
    }

    pub(crate) async fn start_with(
        topic: &str,
        settings: Settings,
        git: HttpGitServer,
    ) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let events = EventSink::start().await?;
        let settings = settings.flag(format!("--events-addr={}", events.url()));
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        Ok(Self {
            controller,
            namespace,
            events,
            git,
            kind: GIT_REPOSITORY,
        })
    }

    /// The same for another kind.
    pub(crate) fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// A repository with one commit on `main`.
    pub(crate) fn repo(&self, name: &str) -> Repo {
        let repo = Repo::init(self.git.root(), name);
        repo.commit("main")
            .file("app/web.yaml", "kind: Service\n")
            .message("first\n")
            .create();
        repo
    }

    /// Applies a GitRepository with these additional lines of its spec, in YAML's flow form.
    pub(crate) async fn apply(&self, name: &str, repo: &str, spec: &str) -> Result {
        self.apply_url(name, &self.git.url(repo), spec).await
    }

    pub(crate) async fn apply_url(&self, name: &str, url: &str, spec: &str) -> Result {
        let comma = if spec.is_empty() { "" } else { ", " };
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}}}, \
             spec: {{url: '{url}', interval: 1h{comma}{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Waits until the object is Ready for its generation, and returns it.
    pub(crate) async fn ready(&self, name: &str) -> Result<Value> {
        self.namespace.wait_ready(self.kind, name, "True").await
    }

    /// Waits until a condition has this status and reason, and returns its message.
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
        let object = self.namespace.wait(self.kind, name, &goal, fits).await?;
        let message = condition(&object, kind)
            .map(|found| found["message"].as_str().unwrap_or_default().to_owned());
        Ok(message.unwrap_or_default())
    }

    /// Requests a reconcile and waits for its end, whatever the result.
    pub(crate) async fn reconcile(&self, name: &str) -> Result<Value> {
        let at = self.namespace.request_reconcile(self.kind, name).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        self.namespace
            .wait(self.kind, name, "has handled the request", handled)
            .await
    }

    /// The files of the object's artifact, by path. Paths of executables end in a star.
    pub(crate) async fn files(&self, object: &Value) -> Result<BTreeMap<String, String>> {
        Ok(listing(&self.tree(object).await?))
    }

    pub(crate) async fn tree(&self, object: &Value) -> Result<Tree> {
        tree_of(object).await
    }

    /// The events received for an object, as reason and message.
    pub(crate) fn told(&self, name: &str) -> Vec<(String, String)> {
        let of = |event: &Value| event["involvedObject"]["name"] == name;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pair = |event: Value| (text(&event["reason"]), text(&event["message"]));
        self.events
            .events()
            .into_iter()
            .filter(of)
            .map(pair)
            .collect()
    }

    /// Waits for an event of the object in Kubernetes with this reason and with this text in its message.
    pub(crate) async fn recorded(&self, name: &str, reason: &str, words: &str) -> Result<Value> {
        let goal = format!("tell of {name}: {reason} {words:?}");
        let fits = |event: &&Value| {
            event["involvedObject"]["name"] == name
                && event["reason"] == reason
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
        };
        self.namespace
            .wait_all(EVENT, &goal, |events| events.iter().find(fits).cloned())
            .await
    }

    /// Makes a change once the object is watched, and returns every state from before it until one satisfies `done`.
    pub(crate) async fn history(
        &self,
        name: &str,
        change: impl Future<Output = Result>,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        let seen = Mutex::new(Vec::new());
        let look = |object: &Value| {
            if let Ok(mut seen) = seen.lock() {
                seen.push(object.clone());
            }
            done(object)
        };
        self.namespace
            .wait_during(self.kind, name, "is through with a change", look, change)
            .await?;
        Ok(seen.into_inner().unwrap_or_default())
    }

    /// The folder of an object's artifacts.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.storage()
            .join(self.kind.1.to_lowercase())
            .join(self.namespace.name())
            .join(name)
    }

    /// The names of the files stored for an object.
    pub(crate) fn stored(&self, name: &str) -> Vec<String> {
        let dir = self.folder(name);
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn storage(&self) -> PathBuf {
        self.namespace.folder().join("source-controller")
    }
}

/// The result of a dry run with this spec; the error is the server's message.
pub(crate) async fn admit(
    namespace: &Namespace,
    kind: Kind,
    spec: &Value,
) -> Result<Result<Value, String>> {
    let object =
        json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "app"}, "spec": spec});
    let object: DynamicObject = serde_json::from_value(object)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = namespace.api(kind).await?;
    match api.create(&params, &object).await {
        Ok(made) => Ok(Ok(serde_json::to_value(made)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// The names of the columns that kubectl prints of a resource, and the cells of the first object of the namespace.
pub(crate) async fn table(namespace: &Namespace, plural: &str) -> Result<(Vec<String>, Value)> {
    let uri = format!(
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/{plural}",
        namespace.name()
    );
    let request =
        http::Request::get(uri).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let request = request.body(Vec::new())?;
    let table: Value = namespace.client().request(request).await?;
    let columns = table["columnDefinitions"].as_array().cloned();
    let names = columns.unwrap_or_default().into_iter();
    let names = names.map(|column| column["name"].as_str().unwrap_or_default().to_owned());
    Ok((names.collect(), table["rows"][0]["cells"].clone()))
}

/// The files of an object's artifact.
pub(crate) async fn tree_of(object: &Value) -> Result<Tree> {
    let artifact = &object["status"]["artifact"];
    let text = |key: &str| artifact[key].as_str().unwrap_or_default();
    let client = flux_http::ClientOptions::default().build()?;
    let fetcher = Fetcher::new(client, FetchOptions::default(), Budget::unlimited());
    Ok(fetcher
        .fetch(text("url"), &Fetcher::digest(text("digest"))?)
        .await?)
}

/// The paths of files with their content, without folders.
pub(crate) fn listing(tree: &Tree) -> BTreeMap<String, String> {
    tree.iter()
        .filter_map(|(path, entry)| match entry {
            Entry::File(file) => {
                let star = if file.executable { "*" } else { "" };
                Some((
                    format!("{path}{star}"),
                    String::from_utf8_lossy(&file.content).into_owned(),
                ))
            }
            Entry::Symlink(target) => Some((format!("{path}@"), target.clone())),
            Entry::Directory => None,
        })
        .collect()
}

/// The conditions of an object as `Type=Status Reason: message`, in order.
pub(crate) fn conditions(object: &Value) -> Vec<String> {
    let show = |condition: &Value| {
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{}={} {}: {}",
            text("type"),
            text("status"),
            text("reason"),
            text("message")
        )
    };
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(show)
        .collect()
}

/// The message of a condition, empty if absent.
pub(crate) fn message(object: &Value, kind: &str) -> String {
    let found = condition(object, kind).map(|found| found["message"].as_str().unwrap_or_default());
    found.unwrap_or_default().to_owned()
}

/// The messages of `Reconciling` in the order of the states, without duplicates.
pub(crate) fn progress(states: &[Value]) -> Vec<String> {
    let mut told: Vec<String> = states
        .iter()
        .map(|state| message(state, "Reconciling"))
        .filter(|message| !message.is_empty())
        .collect();
    told.dedup();
    told
}

/// Limits the number of files that a process may open.
pub(crate) fn limit_files(pid: u32, most: Option<u64>) -> Result {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: most,
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(pid, Resource::Nofile, limit)?;
    Ok(())
}
