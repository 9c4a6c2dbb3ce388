//! `flux install`, `check`, `bootstrap`, `migrate` and `uninstall` with our bundle, on a cluster of their own.

use std::path::Path;
use std::time::Duration;

use git_servers::{Authority, HttpGitServer, Proxy, Repo};
use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, Controller, DEPLOYMENT, GIT_REPOSITORY, KUSTOMIZATION, Kind, Namespace,
    Result, SECRET, bundle, ensure,
};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cli::Flux;
use crate::sink::Sink;
use crate::{args, object, objects};

/// The release that the bundle is served as: the command installs those of its own minor only.
const RELEASE: &str = "v2.9.9";
const SYSTEM: &str = "flux-system";
/// Between attempts at what only another process makes possible.
const PAUSE: Duration = Duration::from_millis(100);
const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");

/// GitHub's releases, as the command downloads them: through a proxy that finds them on loopback.
struct Releases {
    _server: HttpGitServer,
    proxy: Proxy,
    authority: std::path::PathBuf,
}

impl Releases {
    fn start(folder: &Path) -> Result<Self> {
        let authority = Authority::new();
        let root = folder.join("releases");
        let file = root.join(format!("flux2/releases/download/{RELEASE}"));
        std::fs::create_dir_all(&file)?;
        std::fs::write(
            file.join("manifests.tar.gz"),
            bundle::archive(&bundle::flat()?)?,
        )?;
        let tag = format!("/repos/fluxcd/flux2/releases/tags/{RELEASE}");
        let server = HttpGitServer::builder()
            .root(&root)
            .files("/fluxcd")
            .answer(&tag, 200, "{}")
            .tls_pair(&authority.issue(&["github.com", "api.github.com"]))
            .start();
        let proxy = Proxy::http(None);
        for host in ["github.com:443", "api.github.com:443"] {
            proxy.resolve(host, server.address());
        }
        let path = folder.join("authority.pem");
        std::fs::write(&path, authority.pem())?;
        Ok(Self {
            _server: server,
            proxy,
            authority: path,
        })
    }

    fn flux(&self, cluster: &Cluster) -> Result<Flux> {
        let authority = self.authority.to_string_lossy();
        Ok(Flux::new(cluster, "flux-cli", SYSTEM)?
            .env("HTTPS_PROXY", self.proxy.url())
            .env("SSL_CERT_FILE", authority))
    }
}

async fn definition(namespace: &Namespace, name: &str) -> Result<Value> {
    Ok(namespace.get(DEFINITION, name).await?.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_installs_and_checks_the_bundle() -> Result {
    let cluster = Cluster::own(kind_tests::Settings::default()).await?;
    let system = Namespace::existing(&cluster, SYSTEM).await?;
    let folder = tempfile::tempdir()?;
    let releases = Releases::start(folder.path())?;
    let flux = releases.flux(&cluster)?;

    before_the_installation(&flux)?;
    exported(&flux)?;
    installed(&flux, &system).await?;
    checked(&flux, &system).await?;
    events_of_the_operator(&system).await?;
    partly_installed(&flux, &system).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flux_bootstraps_migrates_and_uninstalls() -> Result {
    let cluster = Cluster::own(kind_tests::Settings::default()).await?;
    // What `flux bootstrap` installs first.
    let client = cluster.client().await?;
    let namespace: k8s_openapi::api::core::v1::Namespace =
        serde_json::from_value(json!({"metadata": {"name": SYSTEM}}))?;
    Api::all(client)
        .create(&kube::api::PostParams::default(), &namespace)
        .await?;
    let system = Namespace::existing(&cluster, SYSTEM).await?;
    let folder = tempfile::tempdir()?;
    let releases = Releases::start(folder.path())?;
    bootstrapped(&releases.flux(&cluster)?, &system, folder.path()).await
}

fn before_the_installation(flux: &Flux) -> Result {
    // DI-REL-010, DI-REL-012, DI-CLI-006
    let told = flux.run(&["check", "--pre"])?;
    ensure!(told.contains("► checking prerequisites"), "{told}");
    ensure!(
        told.contains("✔ Kubernetes ") && told.contains(" >=1.3"),
        "{told}"
    );
    ensure!(told.contains("✔ prerequisites checks passed"), "{told}");
    let told = flux.fails(&["check"])?;
    // DI-CHK-005, DI-CLI-005
    let none = "no controllers found in the 'flux-system' namespace with the label selector 'app.kubernetes.io/part-of=flux'";
    ensure!(told.contains(none), "{told}");
    Ok(())
}

fn exported(flux: &Flux) -> Result {
    let version = format!("--version={RELEASE}");
    let base = [
        "install",
        "--export",
        &version,
        "--registry=registry.example/flux-rs",
    ];
    // DI-CHK-008
    let told = flux.fails(&[&base[..], &["--components=x-controller"]].concat())?;
    ensure!(
        told.contains("component x-controller is not available"),
        "{told}"
    );
    let told = flux.fails(&[&base[..], &["--registry-creds=u:p"]].concat())?;
    ensure!(
        told.contains("requires --image-pull-secret to be set"),
        "{told}"
    );

    // DI-CHK-009
    let flags = [
        "--components-extra=image-reflector-controller,image-automation-controller,source-watcher",
        "--image-pull-secret=regcred",
        "--watch-all-namespaces=false",
        "--log-level=debug",
        "--cluster-domain=example.local",
        "--toleration-keys=dedicated",
    ];
    let text = flux.run(&[&base[..], &flags].concat())?;
    // DI-CHK-010
    let head = format!(
        "---\n# This manifest was generated by flux. DO NOT EDIT.\n# Flux Version: {RELEASE}\n# Components: source-controller,"
    );
    ensure!(
        text.starts_with(&head),
        "{}",
        text.get(..400).unwrap_or_default()
    );
    let all = objects(&text)?;
    for name in bundle::CONTROLLERS {
        let deployment = object(&all, &format!("Deployment {name}"))?;
        let pod = &deployment["spec"]["template"];
        let image = pod["spec"]["containers"][0]["image"].as_str();
        let image = image.unwrap_or_default();
        // DI-REL-005
        let begin = format!("registry.example/flux-rs/{name}:v");
        ensure!(image.starts_with(&begin), "{image}");
        let args = args(deployment);
        // DI-CHK-011
        let events =
            "--events-addr=http://notification-controller.$(RUNTIME_NAMESPACE).svc.example.local./";
        let posts = name != "notification-controller";
        assert_eq!(args.first() == Some(&events), posts, "{name}");
        for flag in ["--watch-all-namespaces=false", "--log-level=debug"] {
            ensure!(args.contains(&flag), "{name}: {args:?}");
        }
        // DI-CHK-012
        let gate = args.contains(&"--feature-gates=ExternalArtifact=true");
        let applies = matches!(name, "kustomize-controller" | "helm-controller");
        assert_eq!(gate, applies, "{name}");
        // DI-CHK-013
        for labels in [
            &deployment["metadata"]["labels"],
            &pod["metadata"]["labels"],
        ] {
            assert_eq!(labels["app.kubernetes.io/instance"], SYSTEM, "{name}");
            assert_eq!(labels["app.kubernetes.io/version"], RELEASE, "{name}");
            assert_eq!(labels["app.kubernetes.io/part-of"], "flux", "{name}");
        }
        assert_eq!(
            pod["spec"]["imagePullSecrets"],
            json!([{"name": "regcred"}])
        );
        assert_eq!(pod["spec"]["tolerations"][0]["key"], "dedicated");
    }
    object(&all, "ClusterRole crd-controller-flux-system")?;
    object(&all, "NetworkPolicy allow-egress")?;

    // Without notification-controller events are not posted, and policies can be left out.
    let few = [
        "--components=source-controller,kustomize-controller",
        "--network-policy=false",
    ];
    let all = objects(&flux.run(&[&base[..], &few].concat())?)?;
    let deployment = object(&all, "Deployment kustomize-controller")?;
    assert_eq!(args(deployment).first(), Some(&"--events-addr="));
    assert!(!all.contains_key("NetworkPolicy allow-egress"));

    // DI-REL-006: a folder in place of a download
    let folder = kind_tests::cache::workspace().join("manifests/install");
    let folder = format!("--manifests={}", folder.display());
    let all = objects(&flux.run(&["install", "--export", &version, &folder])?)?;
    let deployment = object(&all, "Deployment source-controller")?;
    assert_eq!(
        deployment["metadata"]["labels"]["app.kubernetes.io/version"],
        bundle::VERSION
    );
    Ok(())
}

async fn installed(flux: &Flux, system: &Namespace) -> Result {
    let version = format!("--version={RELEASE}");
    let told = flux.run(&[
        "install",
        &version,
        "--registry=registry.example/flux-rs",
        "--image-pull-secret=regcred",
        "--registry-creds=user:password",
        "--components-extra=image-reflector-controller,image-automation-controller,source-watcher",
    ])?;
    // DI-CHK-007
    for line in [
        "✚ generating manifests",
        "✔ manifests build completed",
        "► installing components in flux-system namespace",
        "◎ verifying installation",
        "✔ source-controller: deployment ready",
        "✔ install finished",
    ] {
        ensure!(told.contains(line), "{line}: {told}");
    }
    let deployment = system
        .get(DEPLOYMENT, "source-controller")
        .await?
        .unwrap_or_default();
    // DI-CHK-014
    let managers = deployment["metadata"]["managedFields"].as_array().cloned();
    let managers = managers.unwrap_or_default();
    ensure!(
        managers
            .iter()
            .any(|entry| entry["manager"] == "flux" && entry["operation"] == "Apply"),
        "{managers:?}"
    );
    // DI-CHK-015
    let secret = system.get(SECRET, "regcred").await?.unwrap_or_default();
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    Ok(())
}

async fn checked(flux: &Flux, system: &Namespace) -> Result {
    // DI-CHK-001, DI-CHK-002
    let told = flux.run(&["check"])?;
    let distribution = format!("✔ distribution: flux-{RELEASE}");
    for line in [&*distribution, "✔ bootstrapped: false"] {
        ensure!(told.contains(line), "{line}: {told}");
    }
    let flat = bundle::flat()?;
    for name in bundle::CONTROLLERS {
        let tag = bundle::tag(&flat, name)?;
        // DI-CHK-003
        ensure!(
            told.contains(&format!("✔ {name}: deployment ready")),
            "{told}"
        );
        let image = format!("► registry.example/flux-rs/{name}:{tag}");
        ensure!(told.contains(&image), "{image}: {told}");
    }
    // DI-CHK-004
    for crd in [
        "alerts.notification.toolkit.fluxcd.io/v1",
        "artifactgenerators.source.extensions.fluxcd.io/v1beta1",
        "helmreleases.helm.toolkit.fluxcd.io/v2",
    ] {
        ensure!(told.contains(&format!("✔ {crd}\n")), "{crd}: {told}");
    }

    // DI-CHK-006
    let told = flux.run(&["version"])?;
    ensure!(told.contains("flux: v2.9.4"), "{told}");
    ensure!(
        told.contains(&format!("distribution: flux-{RELEASE}")),
        "{told}"
    );
    for name in bundle::CONTROLLERS {
        let line = format!("{name}: {}", bundle::tag(&flat, name)?);
        ensure!(told.contains(&line), "{line}: {told}");
    }
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "manager", "image": image}]}}}});
    let api = system.api(DEPLOYMENT).await?;
    let set = async |value: Value| -> Result {
        let patch = Patch::Strategic(value);
        api.patch("source-watcher", &PatchParams::default(), &patch)
            .await?;
        Ok(())
    };
    set(image("registry.example/flux-rs/source-watcher")).await?;
    let told = flux.fails(&["version"])?;
    ensure!(told.contains("missing image tag in image"), "{told}");
    let digest = format!(
        "registry.example/flux-rs/source-watcher:v2.3.1@sha256:{}",
        "0".repeat(64)
    );
    set(image(&digest)).await?;
    let told = flux.run(&["version"])?;
    ensure!(
        told.contains("source-watcher: v2.3.1@sha256:0000"),
        "{told}"
    );
    Ok(())
}

/// flux-operator adds its kinds to the definition of Alerts, and posts events about its own objects.
async fn events_of_the_operator(system: &Namespace) -> Result {
    let definitions: Api<DynamicObject> = system.api(DEFINITION).await?;
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/eventSources/items/properties/kind/enum/-";
    let patch = json!([{"op": "add", "path": path, "value": "FluxInstance"}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
    let name = "alerts.notification.toolkit.fluxcd.io";
    definitions
        .patch(name, &PatchParams::default(), &patch)
        .await?;
    let sink = Sink::start().await?;
    let mut notification =
        Controller::start("notification-controller", system, Settings::default()).await?;
    let provider = format!(
        "{{apiVersion: notification.toolkit.fluxcd.io/v1, kind: Provider, metadata: {{name: sink}}, spec: {{type: generic, address: '{}'}}}}",
        sink.url()
    );
    system.apply(&provider).await?;
    let alert =
        "{apiVersion: notification.toolkit.fluxcd.io/v1, kind: Alert, metadata: {name: operator},
        spec: {providerRef: {name: sink}, eventSources: [{kind: FluxInstance, name: flux}]}}";
    // The schema that the API server uses follows the definition a moment later.
    let applied = async {
        while system.apply(alert).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    system.wait_for("the Alert is accepted", applied).await?;
    let event = json!({
        "involvedObject": {"apiVersion": "fluxcd.controlplane.io/v1", "kind": "FluxInstance", "name": "flux", "namespace": SYSTEM},
        "severity": "info", "timestamp": "2026-01-02T03:04:05Z", "message": "Flux installed", "reason": "ReconciliationSucceeded",
        "metadata": {"fluxcd.controlplane.io/revision": "v2.10.1"}, "reportingController": "flux-operator",
    });
    let address = notification.events_url().unwrap_or_default();
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    // The caches of the controller follow the API server, and equal events are sent once only.
    let posting = async {
        for number in 0_u32.. {
            let mut event = event.clone();
            event["message"] = format!("Flux installed {number}").into();
            post(&address, &event.to_string()).await?;
            if !sink.events().is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, kind_tests::Failure>(())
    };
    system.wait_for("an event arrives", posting).await??;
    // FO-BLD-013, FO-ALT-009, FO-REC-012
    let events = sink.events();
    let sent = events.first().cloned().unwrap_or_default();
    assert_eq!(sent["involvedObject"]["kind"], "FluxInstance");
    assert_eq!(sent["metadata"]["revision"], "v2.10.1", "{sent}");
    assert_eq!(sent["reportingController"], "flux-operator");
    notification.terminate().await?;
    Ok(())
}

/// Posts an event to notification-controller, which accepts it.
pub(crate) async fn post(address: &str, body: &str) -> Result {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: events\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    Ok(())
}

async fn partly_installed(flux: &Flux, system: &Namespace) -> Result {
    // DI-GET-010: a kind that is not installed is passed over
    let name = "artifactgenerators.source.extensions.fluxcd.io";
    system.delete(DEFINITION, name).await?;
    system.wait_gone(DEFINITION, name).await?;
    let map = "{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: lone}, spec: {url: 'https://h/r.git', interval: 1h}}";
    system.apply(map).await?;
    let told = flux.run(&["get", "all"])?;
    ensure!(told.contains("gitrepository/lone"), "{told}");
    system.delete(GIT_REPOSITORY, "lone").await?;
    Ok(())
}

/// The lines of kustomize-controller about runs that ended well.
fn runs(controller: &Controller) -> usize {
    let entries = controller.log().entries();
    let ended = |entry: &&Value| {
        let text = entry["msg"].as_str().unwrap_or_default();
        text.starts_with("Reconciliation finished")
    };
    entries.iter().filter(ended).count()
}

async fn bootstrapped(flux: &Flux, system: &Namespace, folder: &Path) -> Result {
    let git = HttpGitServer::builder()
        .basic_auth("flux", "s3cret")
        .start();
    let repo = Repo::init(git.root(), "fleet.git");
    repo.commit("main").file("README.md", "fleet\n").create();
    // The Deployments have simulated pods; these are the controllers. The harness has given both flags already.
    // FO-ALT-006: of a repeated flag the last value counts
    let all = || Settings::default().flag("--watch-label-selector=");
    let storage = format!("--storage-path={}", folder.join("storage").display());
    std::fs::create_dir_all(folder.join("storage"))?;
    let mut source = Controller::start("source-controller", system, all().flag(storage)).await?;
    let artifacts = source.artifact_address().unwrap_or_default();
    let settings = all().env("SOURCE_CONTROLLER_LOCALHOST", artifacts);
    let mut kustomize = Controller::start("kustomize-controller", system, settings).await?;

    let (url, version) = (git.url("fleet.git"), format!("--version={RELEASE}"));
    let bootstrap = |path: &str| {
        let path = format!("--path={path}");
        let arguments = [
            "bootstrap",
            "git",
            "--url",
            &url,
            &version,
            "--registry=registry.example/flux-rs",
            "--components-extra=image-reflector-controller,image-automation-controller,source-watcher",
            "--allow-insecure-http",
            "--token-auth",
            "--username=flux",
            "--password=s3cret",
            "--branch=main",
            "--interval=1h",
            "--silent",
            &path,
        ];
        flux.attempt(&arguments)
    };
    let told = bootstrap("clusters/dev")?;
    ensure!(told.code == Some(0), "{}", told.text());
    // DI-CHK-016
    let head = repo.rev_parse("main");
    let subjects = repo.git(&["log", "--format=%s", "main"]);
    let subjects: Vec<&str> = subjects.lines().collect();
    let components = format!("Add Flux {RELEASE} component manifests");
    assert_eq!(
        subjects.get(..2),
        Some(&["Add Flux sync manifests", &components][..]),
        "{subjects:?}"
    );
    let files = repo.git(&["ls-tree", "-r", "--name-only", "main", "clusters"]);
    let wanted = [
        "gotk-components.yaml",
        "gotk-sync.yaml",
        "kustomization.yaml",
    ];
    let wanted = wanted.map(|name| format!("clusters/dev/flux-system/{name}"));
    assert_eq!(files.lines().collect::<Vec<_>>(), wanted);
    // DI-CHK-017
    let repository = system.wait_ready(GIT_REPOSITORY, SYSTEM, "True").await?;
    let applied = system.wait_ready(KUSTOMIZATION, SYSTEM, "True").await?;
    assert_eq!(
        repository["spec"]["secretRef"],
        json!({"name": "flux-system"})
    );
    assert_eq!(repository["spec"]["ref"], json!({"branch": "main"}));
    assert_eq!(applied["spec"]["path"], "./clusters/dev");
    assert_eq!(applied["spec"]["prune"], true);
    // DI-CHK-018
    let revision = format!("main@sha1:{head}");
    assert_eq!(repository["status"]["artifact"]["revision"], revision);
    assert_eq!(applied["status"]["lastAttemptedRevision"], revision);
    // DI-CHK-021
    let secret = system.get(SECRET, SYSTEM).await?.unwrap_or_default();
    let keys: Vec<&String> = secret["data"]
        .as_object()
        .into_iter()
        .flat_map(|data| data.keys())
        .collect();
    assert_eq!(keys, ["password", "username"]);

    // DI-CHK-022
    let own = system
        .wait(
            DEPLOYMENT,
            "kustomize-controller",
            "belongs to its own Kustomization",
            |object| {
                let labels = &object["metadata"]["labels"];
                labels["kustomize.toolkit.fluxcd.io/name"] == SYSTEM
                    && labels["kustomize.toolkit.fluxcd.io/namespace"] == SYSTEM
            },
        )
        .await?;
    assert_eq!(
        own["metadata"]["labels"]["app.kubernetes.io/version"],
        RELEASE
    );
    let told = flux.run(&["check"])?;
    ensure!(told.contains("✔ bootstrapped: true"), "{told}");
    let told = flux.fails(&["install", &version])?;
    ensure!(
        told.contains("this cluster has already been bootstrapped with Flux v2.9.9"),
        "{told}"
    );
    // DI-CHK-019
    flux.run(&["suspend", "kustomization", SYSTEM])?;
    let told = bootstrap("clusters/dev")?;
    ensure!(
        told.code == Some(1) && told.text().contains("is suspended"),
        "{}",
        told.text()
    );
    flux.run(&["resume", "kustomization", SYSTEM])?;
    // DI-CHK-020
    let told = bootstrap("clusters/other")?.text();
    ensure!(
        told.contains("sync path configuration") && told.contains("would overwrite path"),
        "{told}"
    );

    migrated(flux, system, &kustomize, folder).await?;
    source.terminate().await?;
    kustomize.terminate().await?;
    uninstalled(flux, system, &repo).await
}

async fn migrated(
    flux: &Flux,
    system: &Namespace,
    kustomize: &Controller,
    folder: &Path,
) -> Result {
    // An Alert that a 2.9 cluster stored, and the definition as that cluster has it.
    const OLD: Kind = Kind("notification.toolkit.fluxcd.io/v1beta3", "Alert");
    const NEW: Kind = Kind("notification.toolkit.fluxcd.io/v1", "Alert");
    let alert = "{apiVersion: notification.toolkit.fluxcd.io/v1beta3, kind: Alert, metadata: {name: old},
        spec: {providerRef: {name: chat}, summary: 'cluster one', eventSources: [{kind: Kustomization, name: '*'}]}}";
    system.apply(alert).await?;
    let name = "alerts.notification.toolkit.fluxcd.io";
    let definitions: Api<DynamicObject> = system.api(DEFINITION).await?;
    let stored = json!({"status": {"storedVersions": ["v1beta3", "v1"]}});
    let params = PatchParams::default();
    definitions
        .patch_status(name, &params, &Patch::Merge(&stored))
        .await?;
    let before = [
        system.get(NEW, "old").await?.unwrap_or_default(),
        system.get(KUSTOMIZATION, SYSTEM).await?.unwrap_or_default(),
    ];
    let count = runs(kustomize);
    flux.run(&["migrate"])?;
    // DI-CHK-026
    let after = definition(system, name).await?;
    assert_eq!(after["status"]["storedVersions"], json!(["v1"]));
    let migrated = system.get(NEW, "old").await?.unwrap_or_default();
    let entries = migrated["metadata"]["managedFields"].as_array().cloned();
    for entry in entries.unwrap_or_default() {
        assert_eq!(entry["apiVersion"], NEW.0, "{migrated}");
    }
    // DI-CHK-029, DI-CRX-005
    assert_eq!(migrated["spec"], before[0]["spec"]);
    let old = system.get(OLD, "old").await?.unwrap_or_default();
    assert_eq!(old["spec"]["summary"], "cluster one");
    // DI-CHK-028, FO-ALT-007
    let now = system.get(KUSTOMIZATION, SYSTEM).await?.unwrap_or_default();
    assert_eq!(
        now["metadata"]["generation"],
        before[1]["metadata"]["generation"]
    );
    // The next run is the one that is requested here: the patches caused none.
    system.request_reconcile(KUSTOMIZATION, SYSTEM).await?;
    kustomize
        .log()
        .wait("of the requested run", |_| runs(kustomize) > count)
        .await?;
    assert_eq!(runs(kustomize), count + 1);

    // DI-CHK-027
    let folder = folder.join("old-manifests");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("image.yaml");
    let text = "apiVersion: image.toolkit.fluxcd.io/v1beta2\nkind: ImagePolicy\nmetadata:\n  name: a # kept\n";
    std::fs::write(&file, text)?;
    let told = flux.within(&folder, &["migrate", "-f", ".", "--yes"])?;
    ensure!(told.code == Some(0), "{}", told.text());
    let changed = std::fs::read_to_string(&file)?;
    assert_eq!(changed, text.replace("v1beta2", "v1"));
    Ok(())
}

/// An object of each kind that has a finalizer, as a controller leaves it.
const FINALIZED: [(&str, &str, &str); 14] = [
    (
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
        "{url: 'https://h/r.git', interval: 1h}",
    ),
    (
        "source.toolkit.fluxcd.io/v1",
        "OCIRepository",
        "{url: 'oci://h/r', interval: 1h}",
    ),
    (
        "source.toolkit.fluxcd.io/v1",
        "HelmRepository",
        "{url: 'https://h/r', interval: 1h}",
    ),
    (
        "source.toolkit.fluxcd.io/v1",
        "HelmChart",
        "{chart: c, interval: 1h, sourceRef: {kind: HelmRepository, name: all}}",
    ),
    (
        "source.toolkit.fluxcd.io/v1",
        "Bucket",
        "{bucketName: b, endpoint: h, interval: 1h}",
    ),
    (
        "kustomize.toolkit.fluxcd.io/v1",
        "Kustomization",
        "{interval: 1h, prune: true, sourceRef: {kind: GitRepository, name: all}}",
    ),
    (
        "helm.toolkit.fluxcd.io/v2",
        "HelmRelease",
        "{interval: 1h, chartRef: {kind: OCIRepository, name: all}}",
    ),
    (
        "notification.toolkit.fluxcd.io/v1",
        "Alert",
        "{providerRef: {name: all}, eventSources: [{kind: Kustomization, name: '*'}]}",
    ),
    (
        "notification.toolkit.fluxcd.io/v1",
        "Provider",
        "{type: generic, address: 'https://h'}",
    ),
    (
        "notification.toolkit.fluxcd.io/v1",
        "Receiver",
        "{type: generic, secretRef: {name: s}, resources: [{kind: GitRepository, name: all}]}",
    ),
    (
        "image.toolkit.fluxcd.io/v1",
        "ImagePolicy",
        "{imageRepositoryRef: {name: all}, policy: {semver: {range: '*'}}}",
    ),
    (
        "image.toolkit.fluxcd.io/v1",
        "ImageRepository",
        "{image: h/i, interval: 1h}",
    ),
    (
        "image.toolkit.fluxcd.io/v1",
        "ImageUpdateAutomation",
        "{interval: 1h, sourceRef: {kind: GitRepository, name: all}, git: {commit: {author: {email: a@b.c}}}}",
    ),
    (
        "source.extensions.fluxcd.io/v1beta1",
        "ArtifactGenerator",
        "{sources: [{alias: a, kind: GitRepository, name: all}], artifacts: [{name: x, copy: [{from: '@a/**', to: '@artifact/'}]}]}",
    ),
];

async fn uninstalled(flux: &Flux, system: &Namespace, repo: &Repo) -> Result {
    let cluster = system.cluster();
    let apps = Namespace::create(cluster, "workloads").await?;
    apps.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: app, labels: {kustomize.toolkit.fluxcd.io/name: all}}, data: {k: v}}").await?;
    let mut kinds = Vec::new();
    for (version, kind, spec) in FINALIZED {
        let finalizer = if kind == "ArtifactGenerator" {
            "source.extensions.fluxcd.io/finalizer"
        } else {
            "finalizers.fluxcd.io"
        };
        apps.apply(&format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: all, finalizers: [{finalizer}]}}, spec: {spec}}}"
        ))
        .await?;
        kinds.push(kind);
    }
    let before = repo.rev_parse("main");
    let told = flux.run(&["uninstall", "--silent"])?;
    // DI-CHK-023
    for name in bundle::CONTROLLERS {
        let line = format!("Deployment/flux-system/{name} deleted");
        ensure!(told.contains(&line), "{line}: {told}");
    }
    // DI-CHK-025
    for kind in kinds {
        let line = format!("{kind}/{}/all finalizers deleted", apps.name());
        ensure!(told.contains(&line), "{line}: {told}");
    }
    ensure!(!told.contains("removing finalizers failed"), "{told}");
    ensure!(told.contains("✔ uninstall finished"), "{told}");
    for definition in flux_api::definitions() {
        let name = definition.object["metadata"]["name"].as_str();
        system
            .wait_gone(DEFINITION, name.unwrap_or_default())
            .await?;
    }
    system.wait_gone(Kind("v1", "Namespace"), SYSTEM).await?;
    // DI-CHK-024, FO-REC-016
    let kept = apps.get(CONFIG_MAP, "app").await?;
    ensure!(kept.is_some(), "the workload is gone");
    assert_eq!(repo.rev_parse("main"), before);
    Ok(())
}
