//! The complete path: a Git repository, source-controller, kustomize-controller, and a namespace.

use git_servers::{HttpGitServer, Repo};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::controller::{Controller, Settings};
use crate::events::EventSink;
use crate::failure::{Failure, Result};
use crate::namespace::{GIT_REPOSITORY, KUSTOMIZATION, Namespace};

/// Both controllers on the objects of their own namespace, and a repository `app.git` for them to fetch.
///
/// The fields drop in this order: the controllers end before the namespace is deleted.
pub struct Flux {
    /// source-controller.
    pub source: Controller,
    /// kustomize-controller.
    pub kustomize: Controller,
    /// notification-controller, if there is one: then the events of the others go to it.
    pub notification: Option<Controller>,
    /// Receives the events of both; with notification-controller it is the service that its Providers may send to.
    pub events: EventSink,
    /// Serves the repository.
    pub git: HttpGitServer,
    /// The repository, whose branch is `main`.
    pub repo: Repo,
    /// The namespace of the Flux objects and, by default, of the objects that they apply.
    pub namespace: Namespace,
}

impl Flux {
    /// Starts everything in a namespace whose name begins with `topic`.
    pub async fn start(topic: &str) -> Result<Self> {
        Self::start_with(topic, Settings::default(), Settings::default()).await
    }

    /// As [`Flux::start`], with settings for source-controller and kustomize-controller.
    pub async fn start_with(topic: &str, source: Settings, kustomize: Settings) -> Result<Self> {
        Self::start_on(&Cluster::shared().await?, topic, source, kustomize).await
    }

    /// As [`Flux::start_with`], on this cluster.
    pub async fn start_on(
        cluster: &Cluster,
        topic: &str,
        source: Settings,
        kustomize: Settings,
    ) -> Result<Self> {
        let namespace = Namespace::create(cluster, topic).await?;
        Self::start_in(namespace, source, kustomize, None).await
    }

    /// As [`Flux::start_on`], with notification-controller.
    pub async fn start_notified_on(cluster: &Cluster, topic: &str) -> Result<Self> {
        let namespace = Namespace::create(cluster, topic).await?;
        let settings = Settings::default();
        let notification = Controller::start("notification-controller", &namespace, settings);
        let notification = Some(notification.await?);
        let (source, kustomize) = (Settings::default(), Settings::default());
        Self::start_in(namespace, source, kustomize, notification).await
    }

    async fn start_in(
        namespace: Namespace,
        source: Settings,
        kustomize: Settings,
        notification: Option<Controller>,
    ) -> Result<Self> {
        let events = match &notification {
            Some(_) => EventSink::start_as_service().await?,
            None => EventSink::start().await?,
        };
        let receiver = notification.as_ref().and_then(Controller::events_url);
        let receiver = receiver.unwrap_or_else(|| events.url());
        let events_flag = format!("--events-addr={receiver}");
        let git = HttpGitServer::start();
        let repo = Repo::init(git.root(), "app.git");

        let source =
            Controller::start("source-controller", &namespace, source.flag(&events_flag)).await?;
        let artifacts = source
            .artifact_address()
            .ok_or_else(|| Failure::new("source-controller has no artifact address"))?;
        let kustomize = kustomize
            .env("SOURCE_CONTROLLER_LOCALHOST", artifacts)
            .flag(events_flag)
            // The default of half a minute is too long for tests.
            .default_flag("--requeue-dependency=1s");
        let kustomize = Controller::start("kustomize-controller", &namespace, kustomize).await?;
        Ok(Self {
            source,
            kustomize,
            notification,
            events,
            git,
            repo,
            namespace,
        })
    }

    /// As [`Flux::start`], with a Kustomization `app` of these files that has been applied; `spec` has additional lines
    /// of its spec. Also returns the revision.
    pub async fn running(
        topic: &str,
        files: &[(&str, &str)],
        spec: &[&str],
    ) -> Result<(Self, String)> {
        let flux = Self::start(topic).await?;
        let revision = flux.commit(files);
        flux.follow_main().await?;
        let yaml = flux.kustomization("app", spec);
        flux.namespace.apply(&yaml).await?;
        flux.applied("app", &revision).await?;
        Ok((flux, revision))
    }

    /// Commits the files to the branch `main` (other files are unchanged) and returns the revision in Flux's format.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        let mut commit = self.repo.commit("main");
        for (path, content) in files {
            commit = commit.file(path, content);
        }
        format!("main@sha1:{}", commit.create())
    }

    /// Applies a GitRepository `app` for the branch `main`, and waits until it has an artifact.
    pub async fn follow_main(&self) -> Result<Value> {
        self.namespace
            .apply(&self.git_repository("app", "ref: {branch: main}"))
            .await?;
        self.namespace
            .wait_ready(GIT_REPOSITORY, "app", "True")
            .await
    }

    /// The YAML of a GitRepository of the repository; `spec` has one additional line of its spec.
    pub fn git_repository(&self, name: &str, spec: &str) -> String {
        format!(
            "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {name}}}
spec:
  url: {url}
  interval: 10m
  {spec}
",
            url = self.git.url("app.git")
        )
    }

    /// The YAML of a Kustomization of the GitRepository `app` that applies into this namespace; `spec` has additional
    /// lines of its spec.
    pub fn kustomization(&self, name: &str, spec: &[&str]) -> String {
        kustomization(name, spec)
    }

    /// Requests a reconcile of the GitRepository `app`.
    pub async fn fetch(&self) -> Result {
        self.namespace
            .request_reconcile(GIT_REPOSITORY, "app")
            .await?;
        Ok(())
    }

    /// Waits until the Kustomization has applied this revision and is ready.
    pub async fn applied(&self, name: &str, revision: &str) -> Result<Value> {
        let goal = format!("is ready at {revision}");
        self.namespace
            .wait(KUSTOMIZATION, name, &goal, |object| {
                crate::is_ready(object, "True")
                    && object["status"]["lastAppliedRevision"] == revision
            })
            .await
    }

    /// Suspends or resumes the object.
    pub async fn suspend(&self, kind: crate::Kind, name: &str, suspend: bool) -> Result {
        self.namespace
            .merge(kind, name, json!({"spec": {"suspend": suspend}}))
            .await?;
        Ok(())
    }
}

/// The YAML of a Kustomization of the GitRepository `app` that applies into the test's namespace.
pub(crate) fn kustomization(name: &str, spec: &[&str]) -> String {
    format!(
        "
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}}}
spec:
  interval: 10m
  retryInterval: 2s
  targetNamespace: ${{namespace}}
  sourceRef: {{kind: GitRepository, name: app}}
  {}
",
        spec.join("\n  ")
    )
}
