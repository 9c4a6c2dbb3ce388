//! The commands of `flux` that read, change and make objects, with all controllers running.

use std::path::PathBuf;
use std::time::Duration;

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{
    ARTIFACT_GENERATOR, Cluster, Controller, EXTERNAL_ARTIFACT, GIT_REPOSITORY, HELM_RELEASE,
    IMAGE_POLICY, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION, Kind, Namespace,
    OCI_REPOSITORY, RECEIVER, Result, SECRET, SHARD_LABEL, ensure,
};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cli::{Flux, row};
use crate::sink::Sink;

const CLI: &str = "flux-cli";
/// Between looks at what another process writes.
const PAUSE: Duration = Duration::from_millis(100);

/// The fields drop in this order: the controllers end before the namespace is deleted.
struct World {
    controllers: Vec<Controller>,
    notification: Controller,
    /// The requests of each controller, by its user.
    counters: Vec<(String, Counter)>,
    events: Sink,
    registry: Registry,
    git: HttpGitServer,
    repo: Repo,
    flux: Flux,
    namespace: Namespace,
}

const CHART: &[(&str, &str)] = &[
    (
        "web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\n",
    ),
    (
        "web/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-chart}\ndata: {size: \"{{ .Values.size }}\"}\n",
    ),
    ("web/values.yaml", "size: small\n"),
];

impl World {
    async fn start() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, "cli-all").await?;
        let mut counters = Vec::new();
        for name in kind_tests::bundle::CONTROLLERS {
            let user = format!("{name}.{}", namespace.name());
            let counter = Counter::start(&cluster, &user)?;
            counters.push((user, counter));
        }
        let events = Sink::start().await?;
        let registry = Registry::start();
        registry.push("org/web", "1.2.3", &Artifact::helm(tar_gz(CHART)));
        for tag in ["1.0.0", "1.1.0"] {
            let layer = tar_gz(&[("a", tag)]);
            registry.push("org/app", tag, &Artifact::flux(layer));
        }
        let git = HttpGitServer::start();
        let repo = Repo::init(git.root(), "app.git");
        let settings = Settings::default();
        let settings = settings.env("FLUX_RESOURCE_METRICS", "true");
        let notification = Controller::start("notification-controller", &namespace, settings);
        let notification = notification.await?;
        let address = notification.events_url().unwrap_or_default();
        let plain = || {
            Settings::default()
                .flag(format!("--events-addr={address}"))
                .env("FLUX_RESOURCE_METRICS", "true")
        };
        let source = Controller::start("source-controller", &namespace, plain()).await?;
        let artifacts = source.artifact_address().unwrap_or_default();
        let watcher = plain()
            .flag("--enable-leader-election")
            .env("SOURCE_CONTROLLER_LOCALHOST", &artifacts);
        let watcher = Controller::start("source-watcher", &namespace, watcher).await?;
        let mut controllers = vec![source, watcher];
        for name in ["kustomize-controller", "helm-controller"] {
            let settings = plain()
                .env("SOURCE_CONTROLLER_LOCALHOST", &artifacts)
                .default_flag("--requeue-dependency=1s");
            controllers.push(Controller::start(name, &namespace, settings).await?);
        }
        for name in ["image-reflector-controller", "image-automation-controller"] {
            controllers.push(Controller::start(name, &namespace, plain()).await?);
        }
        let flux = Flux::new(&cluster, CLI, namespace.name())?;
        Ok(Self {
            controllers,
            notification,
            counters,
            events,
            registry,
            git,
            repo,
            flux,
            namespace,
        })
    }

    /// The label by which the controllers of this test find objects.
    fn label(&self) -> String {
        format!("--label={SHARD_LABEL}={}", self.namespace.name())
    }

    /// `flux create` with the label.
    fn create(&self, arguments: &[&str]) -> Result<String> {
        let label = self.label();
        self.flux
            .run(&[&["create"][..], arguments, &[label.as_str()][..]].concat())
    }

    fn folder(&self) -> PathBuf {
        self.namespace.folder()
    }

    async fn get(&self, kind: Kind, name: &str) -> Result<Value> {
        Ok(self.namespace.get(kind, name).await?.unwrap_or_default())
    }

    /// The repository: a map, an image with a marker, and a HelmRelease.
    fn files(&self) -> Vec<(String, String)> {
        let (namespace, registry) = (self.namespace.name(), self.registry.host());
        let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: rel}\nspec: {interval: 1h, \
             chartRef: {kind: OCIRepository, name: chart}, values: {size: large}}\n";
        let marked = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: image}}\ndata:\n  image: {registry}/org/app:1.0.0 # {{\"$imagepolicy\": \"{namespace}:app\"}}\n"
        );
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {region: \"${region}\"}\n";
        vec![
            ("deploy/map.yaml".to_owned(), map.to_owned()),
            ("deploy/image.yaml".to_owned(), marked),
            ("deploy/release.yaml".to_owned(), release.to_owned()),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_works_with_every_kind() -> Result {
    let world = World::start().await?;
    created(&world).await?;
    shown(&world).await?;
    reconciled(&world).await?;
    built_and_compared(&world).await?;
    debugged(&world)?;
    measured(&world).await
}

async fn created(world: &World) -> Result {
    let mut commit = world.repo.commit("main");
    for (path, text) in world.files() {
        commit = commit.file(&path, text);
    }
    commit.create();
    let (git, registry) = (world.git.url("app.git"), world.registry.host());
    let (image, chart) = (
        format!("{registry}/org/app"),
        format!("oci://{registry}/org/web"),
    );
    // DI-CLI-007: each waits until its object is ready in its own generation
    world.create(&[
        "source",
        "git",
        "app",
        "--url",
        &git,
        "--branch=main",
        "--interval=1h",
    ])?;
    world.create(&[
        "source",
        "oci",
        "chart",
        "--url",
        &chart,
        "--tag=1.2.3",
        "--insecure",
        "--interval=1h",
    ])?;
    let namespace = world.namespace.name();
    let labels = format!("commonMetadata: {{labels: {{{SHARD_LABEL}: {namespace}}}}}");
    world
        .namespace
        .apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: vars}}, data: {{region: north}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app}}
spec:
  interval: 1h
  retryInterval: 2s
  path: ./deploy
  prune: true
  wait: true
  targetNamespace: {namespace}
  sourceRef: {{kind: GitRepository, name: app}}
  postBuild: {{substituteFrom: [{{kind: ConfigMap, name: vars}}]}}
  {labels}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app}}
spec: {{image: {image}, interval: 1h, insecure: true}}
---
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {{name: parts}}
spec:
  sources: [{{alias: app, kind: GitRepository, name: app}}]
  artifacts: [{{name: part, copy: [{{from: '@app/deploy/**', to: '@artifact/'}}]}}]
"
        ))
        .await?;
    world
        .namespace
        .wait_ready(IMAGE_REPOSITORY, "app", "True")
        .await?;
    world.create(&[
        "image",
        "policy",
        "app",
        "--image-ref=app",
        "--select-semver=1.0.x",
    ])?;
    world.create(&[
        "image",
        "update",
        "app",
        "--git-repo-ref=app",
        "--git-repo-path=./deploy",
        "--checkout-branch=main",
        "--author-name=flux",
        "--author-email=flux@example.com",
        "--commit-template={{range .Changed.Changes}}{{.NewValue}}{{end}}",
        "--interval=1h",
    ])?;
    // DI-CLI-003: the command writes Alerts and Providers as v1beta3
    world.create(&[
        "alert-provider",
        "chat",
        "--type=generic",
        &format!("--address={}", world.events.url()),
    ])?;
    world.create(&[
        "alert",
        "all",
        "--provider-ref=chat",
        "--event-source=Kustomization/*",
        "--event-severity=info",
    ])?;
    secrets(world).await?;
    world.create(&[
        "receiver",
        "hook",
        "--type=generic-hmac",
        "--secret-ref=hook-token",
        "--resource=GitRepository/app",
    ])?;
    for (kind, name) in [
        (KUSTOMIZATION, "app"),
        (HELM_RELEASE, "rel"),
        (ARTIFACT_GENERATOR, "parts"),
        (EXTERNAL_ARTIFACT, "part"),
    ] {
        world.namespace.wait_ready(kind, name, "True").await?;
    }

    // DI-TRP-002
    for (kind, name) in [
        (GIT_REPOSITORY, "app"),
        (OCI_REPOSITORY, "chart"),
        (KUSTOMIZATION, "app"),
        (HELM_RELEASE, "rel"),
        (IMAGE_REPOSITORY, "app"),
        (IMAGE_POLICY, "app"),
        (IMAGE_UPDATE_AUTOMATION, "app"),
        (RECEIVER, "hook"),
    ] {
        let finalizers = world.get(kind, name).await?["metadata"]["finalizers"].clone();
        assert_eq!(finalizers, json!(["finalizers.fluxcd.io"]), "{}", kind.1);
    }
    let generator = world.get(ARTIFACT_GENERATOR, "parts").await?;
    let wanted = json!(["source.extensions.fluxcd.io/finalizer"]);
    assert_eq!(generator["metadata"]["finalizers"], wanted);

    // DI-CLI-008, DI-CLI-002: what is retried is waited for until the timeout
    let missing = world.git.url("missing.git");
    let told = world.flux.fails(&[
        "create",
        "source",
        "git",
        "missing",
        "--url",
        &missing,
        "--branch=main",
        &world.label(),
        "--timeout",
        "4s",
    ])?;
    ensure!(told.contains("context deadline exceeded"), "{told}");
    // DI-CLI-006
    for line in [
        "✚ generating GitRepository source",
        "► applying GitRepository source",
        "◎ waiting for GitRepository source reconciliation",
        "✗ ",
    ] {
        ensure!(told.contains(line), "{line}: {told}");
    }
    world
        .flux
        .run(&["delete", "source", "git", "missing", "--silent"])?;
    Ok(())
}

/// Secrets as the command makes them, with the keys that the controllers read.
async fn secrets(world: &World) -> Result {
    let folder = world.folder();
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let authority = git_servers::Authority::new();
    let pair = authority.issue(&["client"]);
    let pem = write("ca.crt", &authority.pem())?;
    let policy = write(
        "policy.json",
        "{\"version\": \"1.0\", \"trustPolicies\": [{\"name\": \"all\", \"registryScopes\": [\"*\"], \
         \"signatureVerification\": {\"level\": \"strict\"}, \"trustStores\": [\"ca:all\"], \"trustedIdentities\": [\"*\"]}]}",
    )?;
    let (certificate, key) = (
        write("tls.crt", &pair.certificate)?,
        write("tls.key", &pair.key)?,
    );
    let app_key = git_servers::GitHubApp::new(1, 2).private_key();
    let app_key = write("app.pem", &app_key)?;
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "git",
            &[
                "--url=https://h/r.git",
                "--username=u",
                "--password=p",
                &format!("--ca-crt-file={pem}"),
            ],
            &["ca.crt", "password", "username"],
        ),
        (
            "helm",
            &["--username=u", "--password=p"],
            &["password", "username"],
        ),
        (
            "oci",
            &["--url=reg.example", "--username=u", "--password=p"],
            &[".dockerconfigjson"],
        ),
        (
            "tls",
            &[
                &format!("--ca-crt-file={pem}"),
                &format!("--tls-crt-file={certificate}"),
                &format!("--tls-key-file={key}"),
            ],
            &["ca.crt", "tls.crt", "tls.key"],
        ),
        (
            "proxy",
            &[
                "--address=http://proxy:3128",
                "--username=u",
                "--password=p",
            ],
            &["address", "password", "username"],
        ),
        (
            "githubapp",
            &[
                "--app-id=1",
                "--app-installation-id=2",
                &format!("--app-private-key={app_key}"),
            ],
            &[
                "githubAppID",
                "githubAppInstallationID",
                "githubAppPrivateKey",
            ],
        ),
        (
            "notation",
            &[
                &format!("--trust-policy-file={policy}"),
                &format!("--ca-cert-file={pem}"),
            ],
            &["ca.crt", "trustpolicy.json"],
        ),
    ];
    for (kind, flags, keys) in cases {
        let name = format!("{kind}-auth");
        let arguments = [&["create", "secret", kind, &*name][..], flags].concat();
        world.flux.run(&arguments)?;
        let secret = world.get(SECRET, &name).await?;
        let found: Vec<&String> = secret["data"]
            .as_object()
            .into_iter()
            .flat_map(|data| data.keys())
            .collect();
        // DI-ACT-010
        assert_eq!(found, *keys, "{kind}");
    }
    world.flux.run(&[
        "create",
        "secret",
        "receiver",
        "hook-token",
        "--type=generic-hmac",
        "--hostname=flux.example.com",
        "--token=t0ken",
    ])?;
    let secret = world.get(SECRET, "hook-token").await?;
    let url = &secret["metadata"]["annotations"]["notification.toolkit.fluxcd.io/webhook"];
    let begin = "https://flux.example.com/hook/";
    ensure!(
        url.as_str().is_some_and(|url| url.starts_with(begin)),
        "{secret}"
    );
    Ok(())
}

async fn shown(world: &World) -> Result {
    let flux = &world.flux;
    let cut = |text: &str| match text.rsplit_once(':') {
        Some((head, hex)) => format!("{head}:{}", hex.get(..8).unwrap_or(hex)),
        None => text.to_owned(),
    };
    let applied = world.get(KUSTOMIZATION, "app").await?;
    let revision = applied["status"]["lastAppliedRevision"].as_str();
    let revision = cut(revision.unwrap_or_default());
    // DI-GET-002, DI-CLI-004
    let table = flux.run(&["get", "kustomizations"])?;
    let message = format!("Applied revision: {revision}");
    assert_eq!(
        row(&table, "app"),
        ["app", &revision, "False", "True", &message],
        "{table}"
    );
    let table = flux.run(&["get", "ks", "--show-source"])?;
    ensure!(
        row(&table, "app")
            .iter()
            .any(|cell| cell.contains("GitRepository")),
        "{table}"
    );
    // DI-GET-003
    let release = world.get(HELM_RELEASE, "rel").await?;
    let version = release["status"]["history"][0]["chartVersion"].as_str();
    let table = flux.run(&["get", "helmreleases"])?;
    let cells = row(&table, "rel");
    assert_eq!(
        cells.get(1..4).unwrap_or_default(),
        [version.unwrap_or_default(), "False", "True"],
        "{table}"
    );
    let table = flux.run(&["get", "hr", "--show-source"])?;
    ensure!(
        table.contains("OCIRepository/") && table.contains("/chart"),
        "{table}"
    );
    // DI-GET-005
    let part = world.get(EXTERNAL_ARTIFACT, "part").await?;
    let table = flux.run(&["get", "sources", "external"])?;
    let cells = row(&table, "part");
    let digest = part["status"]["artifact"]["revision"].as_str();
    ensure!(
        cells.get(1) == Some(&cut(digest.unwrap_or_default()))
            && cells
                .iter()
                .any(|cell| cell.contains("ArtifactGenerator/") && cell.ends_with("/parts")),
        "{cells:?}\n{table}"
    );
    // DI-GET-006
    let scanned = world.get(IMAGE_REPOSITORY, "app").await?;
    let time = scanned["status"]["lastScanResult"]["scanTime"].as_str();
    let table = flux.run(&["get", "images", "all"])?;
    let cells = row(&table, "imagerepository/app");
    assert_eq!(cells.get(1).map(String::as_str), time, "{table}");
    let cells = row(&table, "imagepolicy/app");
    let image = format!("{}/org/app", world.registry.host());
    assert_eq!(
        cells.get(1..3).unwrap_or_default(),
        [&*image, "1.0.0"],
        "{table}"
    );
    let updated = world.get(IMAGE_UPDATE_AUTOMATION, "app").await?;
    let time = updated["status"]["lastAutomationRunTime"].as_str();
    let cells = row(&table, "imageupdateautomation/app");
    assert_eq!(cells.get(1).map(String::as_str), time, "{table}");
    // DI-GET-007
    let table = flux.run(&["get", "all"])?;
    for (name, message) in [
        ("alert/all", "Alert is Ready"),
        ("provider/chat", "Provider is Ready"),
    ] {
        let cells = row(&table, name);
        ensure!(
            cells.ends_with(&["True".to_owned(), message.to_owned()]),
            "{name}: {cells:?}\n{table}"
        );
    }
    let cells = row(&table, "receiver/hook");
    ensure!(
        cells
            .last()
            .is_some_and(|cell| cell.starts_with("Receiver initialized for path: /hook/")),
        "{cells:?}\n{table}"
    );
    let table = flux.run(&["get", "artifact", "generators"])?;
    ensure!(
        row(&table, "parts")
            .get(2)
            .is_some_and(|cell| cell == "True"),
        "{table}"
    );
    // DI-GET-008, DI-ACT-018
    let table = flux.run(&["get", "ks", "--status-selector", "ready=TRUE"])?;
    ensure!(!row(&table, "app").is_empty(), "{table}");
    let told = flux
        .attempt(&["get", "ks", "--status-selector", "ready!=true"])?
        .text();
    ensure!(
        row(&told, "app").first().is_none_or(String::is_empty),
        "{told}"
    );
    let label = format!("{SHARD_LABEL}={}", world.namespace.name());
    let table = flux
        .plain(&["get", "ks", "-A", "-l", &label, "--no-header"])?
        .stdout;
    ensure!(
        table.lines().count() == 1 && table.starts_with(world.namespace.name()),
        "{table}"
    );
    // DI-CLI-001
    let other = Flux::new(world.namespace.cluster(), CLI, "none")?
        .env("FLUX_SYSTEM_NAMESPACE", world.namespace.name());
    let told = other.plain(&["get", "kustomizations"])?;
    ensure!(
        told.code == Some(0) && !row(&told.stdout, "app").is_empty(),
        "{}",
        told.text()
    );
    // DI-GET-009
    let counter = Counter::start(world.namespace.cluster(), CLI)?;
    flux.run(&["get", "kustomization", "app"])?;
    world
        .namespace
        .wait_for("the request is in the audit log", async {
            loop {
                let requests = counter.requests().unwrap_or_default();
                let asked = requests.iter().any(|request| {
                    request.verb == "list"
                        && request.uri.contains("fieldSelector=metadata.name%3Dapp")
                });
                if asked {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await?;
    // DI-GET-016
    let namespace = world.namespace.name();
    let tree = flux.run(&["tree", "kustomization", "app"])?;
    for line in [
        format!("Kustomization/{namespace}/app"),
        format!("ConfigMap/{namespace}/map"),
        format!("HelmRelease/{namespace}/rel"),
        format!("ConfigMap/{namespace}/from-chart"),
    ] {
        ensure!(tree.contains(&line), "{line}: {tree}");
    }
    Ok(())
}

async fn reconciled(world: &World) -> Result {
    let flux = &world.flux;
    flux.run(&["reconcile", "kustomization", "app"])?;
    // DI-ACT-003
    let told = flux.run(&["reconcile", "helmrelease", "rel", "--with-source"])?;
    ensure!(
        told.contains("annotating OCIRepository chart")
            && told.contains("annotating HelmRelease rel"),
        "{told}"
    );
    flux.run(&["reconcile", "hr", "rel", "--force", "--reset"])?;
    // DI-ACT-004
    let release = world.get(HELM_RELEASE, "rel").await?;
    let annotations = &release["metadata"]["annotations"];
    let requested = &annotations["reconcile.fluxcd.io/requestedAt"];
    ensure!(requested.is_string(), "{annotations}");
    for name in ["forceAt", "resetAt"] {
        let name = format!("reconcile.fluxcd.io/{name}");
        assert_eq!(&annotations[&*name], requested, "{name}");
    }
    assert_eq!(release["status"]["lastHandledForceAt"], *requested);
    assert_eq!(release["status"]["lastHandledResetAt"], *requested);
    let told = flux.run(&["reconcile", "image", "update", "app"])?;
    ensure!(told.contains("✔"), "{told}");
    // DI-ACT-007
    for kind in ["alert", "alert-provider"] {
        let name = if kind == "alert" { "all" } else { "chat" };
        flux.run(&["suspend", kind, name])?;
        let told = flux.run(&["resume", kind, name])?;
        ensure!(told.contains("✔"), "{told}");
    }

    // DI-ACT-016
    let counter = world.get(GIT_REPOSITORY, "app").await?;
    let before = counter["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
    let url = world.notification.webhooks_url().unwrap_or_default();
    let told = flux.attempt(&[
        "trigger",
        "receiver",
        "hook",
        "--type=generic-hmac",
        "--token=t0ken",
        "--url",
        &url,
        "--payload={}",
        "--retries=0",
    ])?;
    ensure!(told.code == Some(0), "{}", told.text());
    world
        .namespace
        .wait(GIT_REPOSITORY, "app", "was triggered", |object| {
            object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"] != before
        })
        .await?;

    // DI-ACT-011
    let tenant = format!("{}-team", world.namespace.name());
    flux.run(&[
        "create",
        "tenant",
        "team",
        &format!("--with-namespace={tenant}"),
    ])?;
    let owned = Namespace::existing(world.namespace.cluster(), &tenant).await?;
    let binding = owned
        .get(
            Kind("rbac.authorization.k8s.io/v1", "RoleBinding"),
            "team-reconciler",
        )
        .await?;
    let binding = binding.unwrap_or_default();
    assert_eq!(
        binding["metadata"]["labels"]["toolkit.fluxcd.io/tenant"],
        "team"
    );
    assert_eq!(binding["roleRef"]["name"], "cluster-admin");
    let subjects: Vec<&str> = binding["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|subject| subject["name"].as_str())
        .collect();
    let user = format!("gotk:{tenant}:reconciler");
    ensure!(
        subjects.len() == 2 && subjects.contains(&&*user) && subjects.contains(&"team"),
        "{subjects:?}"
    );
    owned.delete(Kind("v1", "Namespace"), &tenant).await?;
    Ok(())
}

async fn built_and_compared(world: &World) -> Result {
    let flux = &world.flux;
    let folder = world.folder().join("checkout");
    std::fs::create_dir_all(folder.join("deploy"))?;
    for (path, text) in world.files() {
        std::fs::write(folder.join(path), text)?;
    }
    let path = format!("--path={}", folder.join("deploy").display());
    let diff = [
        "diff",
        "kustomization",
        "app",
        &path,
        "--progress-bar=false",
    ];
    // DI-ACT-013
    let built = flux.run(&["build", "kustomization", "app", &path])?;
    ensure!(built.contains("region: north"), "{built}");
    let told = flux.attempt(&diff)?;
    assert_eq!(told.code, Some(0), "{}", told.text());
    // DI-ACT-014
    std::fs::remove_file(folder.join("deploy/map.yaml"))?;
    let told = flux.attempt(&diff)?;
    // DI-CLI-005
    assert_eq!(told.code, Some(1), "{}", told.text());
    let broken = flux.attempt(&["diff", "kustomization", "app", "--path=/none"])?;
    assert_eq!(broken.code, Some(2), "{}", broken.text());
    let line = format!("ConfigMap/{}/map deleted", world.namespace.name());
    ensure!(told.text().contains(&line), "{}", told.text());

    // DI-ACT-017
    let url = format!("oci://{}/org/pushed", world.registry.host());
    let artifact = |tag: &str| format!("{url}:{tag}");
    let deploy = folder.join("deploy").to_string_lossy().into_owned();
    let insecure = "--insecure-registry";
    flux.run(&[
        "push",
        "artifact",
        &artifact("v1"),
        "--path",
        &deploy,
        "--source=https://h/r",
        "--revision=main@sha1:0",
        insecure,
    ])?;
    flux.run(&["tag", "artifact", &artifact("v1"), "--tag=latest"])?;
    let told = flux.run(&["list", "artifacts", &url, insecure])?;
    ensure!(
        told.contains("latest") && told.contains("main@sha1:0"),
        "{told}"
    );
    let pulled = world.folder().join("pulled");
    std::fs::create_dir_all(&pulled)?;
    flux.run(&[
        "pull",
        "artifact",
        &artifact("latest"),
        "--output",
        &pulled.to_string_lossy(),
        insecure,
    ])?;
    ensure!(pulled.join("image.yaml").exists(), "nothing was pulled");
    flux.run(&[
        "diff",
        "artifact",
        &artifact("v1"),
        "--path",
        &deploy,
        insecure,
    ])?;
    world.create(&[
        "source",
        "oci",
        "pushed",
        "--url",
        &url,
        "--tag=latest",
        "--insecure",
        "--interval=1h",
    ])?;
    let object = world.get(OCI_REPOSITORY, "pushed").await?;
    let metadata = &object["status"]["artifact"]["metadata"];
    assert_eq!(metadata["org.opencontainers.image.revision"], "main@sha1:0");
    Ok(())
}

fn debugged(world: &World) -> Result {
    let flux = &world.flux;
    // DI-ACT-015
    let told = flux.run(&["debug", "ks", "app", "--show-vars"])?;
    assert_eq!(told.trim(), "region=north");
    let told = flux.run(&["debug", "ks", "app", "--show-status"])?;
    ensure!(told.contains("lastAppliedRevision: main@sha1:"), "{told}");
    let told = flux.run(&["debug", "ks", "app", "--show-history"])?;
    ensure!(
        told.contains("lastReconciledStatus: ReconciliationSucceeded"),
        "{told}"
    );
    let told = flux.run(&["debug", "hr", "rel", "--show-values"])?;
    assert_eq!(told.trim(), "size: large");
    let told = flux.run(&["debug", "hr", "rel", "--show-status"])?;
    ensure!(told.contains("chartVersion: 1.2.3"), "{told}");
    let told = flux.run(&["debug", "hr", "rel", "--show-history"])?;
    ensure!(told.contains("status: deployed"), "{told}");
    // DI-RBAC-004
    for controller in world.controllers.iter().chain([&world.notification]) {
        let counter = world
            .counters
            .iter()
            .find(|(user, _)| user == controller.user());
        let requests = counter
            .map(|(_, counter)| counter.requests())
            .transpose()?
            .unwrap_or_default();
        ensure!(
            !requests.is_empty(),
            "{} made no request",
            controller.name()
        );
        let newer = requests
            .iter()
            .find(|request| request.uri.starts_with("/apis/events.k8s.io/"));
        ensure!(newer.is_none(), "{newer:?}");
    }
    Ok(())
}

/// The metrics that the queries of `manifests/monitoring` name.
fn queried() -> Result<std::collections::BTreeSet<String>> {
    let folder = kind_tests::cache::workspace().join("manifests/monitoring");
    let rules = std::fs::read_to_string(folder.join("rules.yaml"))?;
    let rules: Value = serde_saphyr::from_str(&rules)?;
    let dashboard = std::fs::read_to_string(folder.join("dashboards/flux.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let mut queries = Vec::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for group in list(&rules["spec"]["groups"]) {
        queries.extend(
            list(&group["rules"])
                .iter()
                .map(|rule| rule["expr"].clone()),
        );
    }
    for panel in list(&dashboard["panels"]) {
        queries.extend(
            list(&panel["targets"])
                .iter()
                .map(|target| target["expr"].clone()),
        );
    }
    ensure!(queries.len() > 20, "{queries:?}");
    let families = [
        "gotk_",
        "controller_runtime_",
        "workqueue_",
        "rest_client_",
        "process_",
        "leader_election_",
    ];
    let mut names = std::collections::BTreeSet::new();
    for query in &queries {
        let query = query.as_str().unwrap_or_default();
        let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let before = names.len();
        names.extend(
            words
                .filter(|word| families.iter().any(|family| word.starts_with(family)))
                .map(str::to_owned),
        );
        ensure!(
            names.len() > before || names.iter().any(|name| query.contains(name)),
            "{query} names no metric"
        );
    }
    Ok(names)
}

/// What all controllers show at `/metrics`.
async fn pages(world: &World) -> Result<String> {
    let mut pages = String::new();
    for controller in world.controllers.iter().chain([&world.notification]) {
        let mut stream = tokio::net::TcpStream::connect(controller.metrics_address()).await?;
        let head = "GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await?;
        pages += &String::from_utf8_lossy(&page);
    }
    Ok(pages)
}

async fn measured(world: &World) -> Result {
    let sent = async {
        while !self::pages(world)
            .await
            .is_ok_and(|pages| pages.contains("gotk_alert_events_total{"))
        {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world
        .namespace
        .wait_for("an alert is counted", sent)
        .await?;
    ensure!(!world.events.events().is_empty(), "no alert was sent");
    let pages = pages(world).await?;
    for name in queried()? {
        let shown = pages.lines().any(|line| {
            line.strip_prefix(&*name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        ensure!(shown, "no controller has the metric {name}");
    }
    // FO-MET-002, FO-ALT-010: the state of each object, with what operators read of its status
    let series = |kind: &str| {
        pages
            .lines()
            .filter(|line| line.starts_with("gotk_resource_info{"))
            .find(|line| line.contains(&format!("customresource_kind=\"{kind}\"")))
            .unwrap_or_default()
    };
    for (kind, labels) in [
        (
            "GitRepository",
            &["ready=\"True\"", "revision=\"main@sha1:", "url=\"http://"][..],
        ),
        (
            "Kustomization",
            &[
                "ready=\"True\"",
                "revision=\"main@sha1:",
                "source_name=\"app\"",
            ],
        ),
        (
            "HelmRelease",
            &[
                "ready=\"True\"",
                "revision=\"1.2.3",
                "chart_name=\"web\"",
                "chart_ref_name=\"chart\"",
            ],
        ),
        ("ImageRepository", &["ready=\"True\"", "image=\""]),
        ("ImagePolicy", &["ready=\"True\"", "source_name=\"app\""]),
        (
            "ImageUpdateAutomation",
            &["ready=\"True\"", "source_name=\"app\""],
        ),
        ("Receiver", &["ready=\"True\"", "webhook_path=\"/hook/"]),
        ("ArtifactGenerator", &["ready=\"True\""]),
        ("Alert", &["name=\"all\""]),
        ("Provider", &["name=\"chat\""]),
    ] {
        let series = series(kind);
        for label in labels {
            ensure!(series.contains(label), "{kind} lacks {label}: {series}");
        }
        let namespace = format!("exported_namespace=\"{}\"", world.namespace.name());
        ensure!(series.contains(&namespace), "{kind}: {series}");
    }
    // An object that is gone has no series.
    world
        .flux
        .run(&["delete", "source", "oci", "pushed", "--silent"])?;
    world.namespace.wait_gone(OCI_REPOSITORY, "pushed").await?;
    world
        .namespace
        .wait_for("the series is gone", async {
            while self::pages(world)
                .await
                .is_ok_and(|pages| pages.contains("/org/pushed\""))
            {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
}
