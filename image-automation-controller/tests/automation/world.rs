//! The environment of a test: a namespace with an image-automation-controller, and a Git server.

use git_servers::{HttpGitServer, HttpGitServerBuilder, Repo};
use kind_tests::controller::Settings;
use kind_tests::{
    Cluster, Controller, EventSink, GIT_REPOSITORY, IMAGE_POLICY, IMAGE_UPDATE_AUTOMATION, Kind,
    Namespace, Result, condition,
};
use serde_json::{Value, json};

/// Events in Kubernetes.
pub(crate) const EVENT: Kind = Kind("v1", "Event");

/// A Deployment with a marker for the policy `app`.
pub(crate) const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: prod\nspec:\n  # the image\n  image:   reg.io/app:1.0.0   # {\"$imagepolicy\": \"NAMESPACE:app\"}\n";

pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) namespace: Namespace,
    pub(crate) events: EventSink,
    pub(crate) git: HttpGitServer,
}

impl World {
    pub(crate) async fn start(topic: &str) -> Result<Self> {
        Self::start_with(topic, Settings::default(), HttpGitServer::builder()).await
    }

    pub(crate) async fn start_with(
        topic: &str,
        settings: Settings,
        git: HttpGitServerBuilder,
    ) -> Result<Self> {
        Self::start_on(topic, settings, git.start()).await
    }

    pub(crate) async fn start_on(
        topic: &str,
        settings: Settings,
        git: HttpGitServer,
    ) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let events = EventSink::start().await?;
        let settings = settings.flag(format!("--events-addr={}", events.url()));
        let controller =
            Controller::start("image-automation-controller", &namespace, settings).await?;
        Ok(Self {
            controller,
            namespace,
            events,
            git,
        })
    }

    /// The text with the namespace in its markers.
    pub(crate) fn marked(&self, text: &str) -> String {
        text.replace("NAMESPACE", self.namespace.name())
    }

    /// A repository with a marked Deployment on `main`.
    pub(crate) fn repo(&self, name: &str) -> Repo {
        let repo = Repo::init(self.git.root(), name);
        repo.commit("main")
            .file("apps/deploy.yaml", self.marked(DEPLOYMENT))
            .message("first\n")
            .create();
        repo
    }

    /// Applies a GitRepository on `main` with these further lines of its spec, in YAML's flow form.
    pub(crate) async fn source(&self, name: &str, repo: &str, spec: &str) -> Result {
        let reference = if spec.contains("ref:") {
            ""
        } else {
            ", ref: {branch: main}"
        };
        let comma = if spec.is_empty() { "" } else { ", " };
        let url = if repo.contains("://") {
            repo.to_owned()
        } else {
            self.git.url(repo)
        };
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}}}, \
             spec: {{url: '{url}', interval: 1h{reference}{comma}{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Applies an ImagePolicy, with the image that it selected in its status.
    pub(crate) async fn policy(&self, name: &str, image: &str, tag: &str) -> Result {
        self.labelled_policy(name, "{}", json!({"name": image, "tag": tag}))
            .await
    }

    /// As [`World::policy`], with labels and the whole image.
    pub(crate) async fn labelled_policy(&self, name: &str, labels: &str, latest: Value) -> Result {
        let yaml = format!(
            "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {{name: {name}, labels: {labels}}}, \
             spec: {{imageRepositoryRef: {{name: {name}}}, policy: {{semver: {{range: '*'}}}}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        let status = json!({"latestRef": latest});
        self.namespace
            .set_status(IMAGE_POLICY, name, status)
            .await?;
        Ok(())
    }

    /// Applies an ImageUpdateAutomation of the source `app`: further lines of `spec.git` and of `spec`, in YAML's flow form.
    pub(crate) async fn automation(&self, name: &str, git: &str, spec: &str) -> Result {
        let comma = |text: &str| if text.is_empty() { "" } else { ", " };
        let author = if git.contains("author:") {
            String::new()
        } else {
            "commit: {author: {name: Flux, email: flux@example.com}}".to_owned()
        };
        let between = if author.is_empty() { "" } else { comma(git) };
        let source = if spec.contains("sourceRef:") {
            ""
        } else {
            ", sourceRef: {kind: GitRepository, name: app}"
        };
        let interval = if spec.contains("interval:") {
            ""
        } else {
            ", interval: 1h"
        };
        let yaml = format!(
            "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageUpdateAutomation, metadata: {{name: {name}}}, \
             spec: {{git: {{{author}{between}{git}}}{source}{interval}{}{spec}}}}}",
            comma(spec)
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    pub(crate) async fn ready(&self, name: &str) -> Result<Value> {
        self.namespace
            .wait_ready(IMAGE_UPDATE_AUTOMATION, name, "True")
            .await
    }

    /// Waits until Ready is False with this reason.
    pub(crate) async fn failed(&self, name: &str, reason: &str) -> Result<Value> {
        let goal = format!("has failed: {reason}");
        self.namespace
            .wait(IMAGE_UPDATE_AUTOMATION, name, &goal, |object| {
                condition(object, "Ready")
                    .is_some_and(|ready| ready["status"] == "False" && ready["reason"] == reason)
            })
            .await
    }

    /// Requests a reconcile, and waits until it is over.
    pub(crate) async fn reconcile(&self, name: &str) -> Result<Value> {
        let at = self
            .namespace
            .request_reconcile(IMAGE_UPDATE_AUTOMATION, name)
            .await?;
        self.namespace
            .wait(IMAGE_UPDATE_AUTOMATION, name, "is reconciled", |object| {
                object["status"]["lastHandledReconcileAt"] == at
            })
            .await
    }

    /// Waits until the automation has pushed another commit than `before`.
    pub(crate) async fn pushed(&self, name: &str, before: &str) -> Result<Value> {
        self.namespace
            .wait(IMAGE_UPDATE_AUTOMATION, name, "has pushed", |object| {
                let commit = object["status"]["lastPushCommit"].as_str();
                commit.is_some_and(|commit| commit != before) && is_settled(object)
            })
            .await
    }

    /// Changes the spec of an object.
    pub(crate) async fn change(&self, name: &str, spec: Value) -> Result {
        self.namespace
            .merge(IMAGE_UPDATE_AUTOMATION, name, json!({"spec": spec}))
            .await?;
        Ok(())
    }

    /// Changes the spec of a source.
    pub(crate) async fn change_source(&self, name: &str, spec: Value) -> Result {
        self.namespace
            .merge(GIT_REPOSITORY, name, json!({"spec": spec}))
            .await?;
        Ok(())
    }

    /// Waits for an event in Kubernetes about an automation.
    pub(crate) async fn recorded(&self, name: &str, kind: &str, words: &str) -> Result<Value> {
        let goal = format!("an event of {name}: {kind} {words:?}");
        let fits = |event: &&Value| {
            event["involvedObject"]["name"] == name
                && event["type"] == kind
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
        };
        self.namespace
            .wait_all(EVENT, &goal, |events| events.iter().find(fits).cloned())
            .await
    }
}

/// Whether a run has ended: Ready is True, and nothing is under way.
pub(crate) fn is_settled(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
        && condition(object, "Reconciling").is_none()
}

/// The message of Ready.
pub(crate) fn message(object: &Value) -> &str {
    condition(object, "Ready")
        .and_then(|ready| ready["message"].as_str())
        .unwrap_or_default()
}

/// The content of a file at a revision.
pub(crate) fn content(repo: &Repo, revision: &str, path: &str) -> String {
    repo.git(&["show", &format!("{revision}:{path}")])
}
