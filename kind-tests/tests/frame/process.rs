//! The frame as the controllers use it: their own binaries with flags and environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use git_servers::{HttpGitServer, Proxy};
use kind_tests::controller::{self, Controller, Settings};
use kind_tests::requests::{Counter, Request};
use kind_tests::{
    Cluster, Failure, Flux, GIT_REPOSITORY, Kind, Namespace, Result, condition, ensure, free_ports,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The interval between reads of what cannot be watched.
const PAUSE: Duration = Duration::from_millis(5);

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");

/// The response of `address` to a GET; `None` if the connection is refused.
async fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// A process that is killed on drop.
struct Process(Child);

impl Process {
    /// Terminates it as Kubernetes does.
    fn terminate(&self) -> Result {
        let pid = Pid::from_raw(self.0.id() as i32).ok_or_else(|| Failure::new("no process"))?;
        Ok(kill_process(pid, Signal::TERM)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn health_and_metrics_are_served_without_a_cluster() -> Result {
    // RT-PRB-003, RT-MET-002, RT-KUB-003: the API server does not respond
    let folder = std::env::temp_dir().join(format!("frame-process-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], \
         clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}",
    )?;
    let program =
        tokio::task::spawn_blocking(|| controller::program("kustomize-controller")).await??;
    for election in [true, false] {
        let [health, metrics] = free_ports()?;
        let (health, metrics) = (
            format!("127.0.0.1:{health}"),
            format!("127.0.0.1:{metrics}"),
        );
        let mut process = Process(
            Command::new(&program)
                .args([
                    format!("--health-addr={health}"),
                    format!("--metrics-addr={metrics}"),
                ])
                .arg(format!("--enable-leader-election={election}"))
                .env("KUBECONFIG", &kubeconfig)
                .env("RUNTIME_NAMESPACE", "default")
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?,
        );
        let up = async {
            while get(&health, "/healthz").await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(kind_tests::deadline(), up).await?;
        for (address, path, text) in [
            (&health, "/healthz", "ok"),
            (&health, "/readyz", "ok"),
            (&metrics, "/metrics", "process_open_fds"),
            (&metrics, "/debug/pprof/cmdline", "kustomize-controller"),
        ] {
            let answer = get(address, path).await.unwrap_or_default();
            ensure!(
                answer.contains(" 200 OK\r\n") && answer.contains(text),
                "{path}: {answer}"
            );
        }
        // RT-LED-009: the shutdown does not wait for it either
        process.terminate()?;
        let ended = async {
            loop {
                if let Some(status) = process.0.try_wait()? {
                    return Ok::<_, Failure>(status);
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let status = tokio::time::timeout(kind_tests::deadline(), ended).await??;
        ensure!(status.success(), "election {election}: {status}");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The lists and watches of these resources.
fn watched<'a>(requests: &'a [Request], resources: &[&str]) -> Vec<&'a Request> {
    requests
        .iter()
        .filter(|request| matches!(&*request.verb, "list" | "watch"))
        .filter(|request| resources.contains(&&*request.resource))
        .collect()
}

#[tokio::test]
async fn watch_flags_select_the_watched_objects() -> Result {
    let cluster = Cluster::shared().await?;
    let kinds = [
        "kustomizations",
        "gitrepositories",
        "ocirepositories",
        "buckets",
    ];
    let configs = ["secrets", "configmaps"];
    let marked = "labelSelector=reconcile.fluxcd.io%2Fwatch%3DEnabled";
    for (flags, runtime_namespace, scoped, config_selector) in [
        // RT-WAT-009, RT-WAT-010, RT-KUB-004: everywhere, and only labelled Secrets and ConfigMaps
        (&[][..], None, false, Some(Some(marked))),
        // RT-WAT-009: an empty selector selects everything
        (
            &["--watch-configs-label-selector="][..],
            None,
            false,
            Some(None),
        ),
        // RT-WAT-011
        (
            &["--feature-gates=DisableConfigWatchers=true"][..],
            None,
            false,
            None,
        ),
        // RT-WAT-008, RT-ENV-001
        (
            &["--watch-all-namespaces=false"][..],
            None,
            true,
            Some(Some(marked)),
        ),
        // RT-ENV-002
        (
            &["--watch-all-namespaces=false"][..],
            Some(""),
            false,
            Some(Some(marked)),
        ),
    ] {
        let namespace = Namespace::create(&cluster, "frame-scope").await?;
        let mut settings = Settings::default();
        for flag in flags {
            settings = settings.flag(*flag);
        }
        if let Some(value) = runtime_namespace {
            settings = settings.env("RUNTIME_NAMESPACE", value);
        }
        let user = format!("kustomize-controller.{}", namespace.name());
        let counter = Counter::start(&cluster, &user)?;
        let controller = Controller::start("kustomize-controller", &namespace, settings).await?;
        let started = |line: &Value| line["msg"] == "Starting workers";
        controller.log().wait("that workers start", started).await?;
        let all = async {
            loop {
                let requests = counter.requests()?;
                if !watched(&requests, &["kustomizations"]).is_empty() {
                    return Ok::<_, Failure>(requests);
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let requests = namespace
            .wait_for("the requests of the start", all)
            .await??;

        let own = format!("/namespaces/{}/", namespace.name());
        for request in watched(&requests, &kinds) {
            ensure!(
                request.uri.contains(&own) == scoped,
                "{flags:?}: {request:?}"
            );
            let sharded = request.uri.contains("labelSelector=");
            ensure!(
                sharded == (request.resource == "kustomizations"),
                "RT-WAT-005: {request:?}"
            );
        }
        let found = watched(&requests, &configs);
        ensure!(
            found.is_empty() == config_selector.is_none(),
            "{flags:?}: {found:?}"
        );
        for request in found {
            ensure!(
                request.uri.contains(&own) == scoped,
                "{flags:?}: {request:?}"
            );
            let selector = request
                .uri
                .split(['?', '&'])
                .find(|part| part.starts_with("labelSelector="));
            ensure!(
                selector == config_selector.flatten(),
                "{flags:?}: {request:?}"
            );
        }
        // RT-KUB-001: one request, on a server that limits clients itself
        let probes = requests
            .iter()
            .filter(|request| request.uri == "/livez/ping")
            .count();
        ensure!(probes == 1, "{probes} probes: {requests:?}");
        // RT-LED-010: without election there are no requests for a Lease
        let leases = requests
            .iter()
            .filter(|request| request.resource == "leases")
            .count();
        ensure!(leases == 0, "{requests:?}");
    }
    Ok(())
}

#[tokio::test]
async fn log_lines_match_upstream() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-log").await?;
    let settings = Settings::default()
        .flag("--enable-leader-election")
        .flag("--log-level=debug")
        .flag("--concurrent=3");
    let source = Controller::start("source-controller", &namespace, settings).await?;
    namespace
        .apply(
            "{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: repo}, \
             spec: {interval: 1h, url: 'http://127.0.0.1:1/x.git'}}",
        )
        .await?;
    let object = namespace
        .wait(GIT_REPOSITORY, "repo", "has failed", |object| {
            condition(object, "FetchFailed").is_some()
        })
        .await?;
    let message = condition(&object, "Ready").map(|ready| ready["message"].clone());
    // RT-LOG-010, RT-LOG-007
    let failed = |line: &Value| line["msg"] == "Reconciler error";
    let line = source.log().wait("of the failure", failed).await?;
    assert_eq!(Some(&line["error"]), message.as_ref());
    assert_eq!(
        (&line["level"], &line["controller"], &line["controllerKind"]),
        (
            &json!("error"),
            &json!("gitrepository"),
            &json!("GitRepository")
        )
    );
    // RT-LOG-006: at debug level, errors have a stack
    ensure!(line["stacktrace"].is_string(), "{line}");
    // RT-LOG-012
    let sent = |line: &Value| line["logger"] == "events" && line["reason"] == "GitOperationFailed";
    let event = source.log().wait("of the event", sent).await?;
    assert_eq!(
        (&event["level"], &event["type"], &event["object"]["name"]),
        (&json!("debug"), &json!("Warning"), &json!("repo"))
    );
    // RT-LOG-016, RT-LOG-017
    let entries = source.log().entries();
    for (logger, message) in [
        (Some("setup"), "starting manager"),
        (
            Some("controller-runtime.metrics"),
            "Starting metrics server",
        ),
        (Some("controller-runtime.metrics"), "Serving metrics server"),
        (None, "starting server"),
        (Some("runtime"), "attempting to acquire leader lease"),
        (Some("runtime"), "successfully acquired lease"),
        (None, "Starting EventSource"),
        (None, "Starting Controller"),
        (None, "Starting workers"),
    ] {
        let entry = entries.iter().find(|line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.starts_with(message))
        });
        let logger = logger.map_or(Value::Null, Value::from);
        ensure!(
            entry.is_some_and(|line| line["logger"] == logger),
            "{message}: {entry:?}"
        );
    }
    // RT-QUE-002
    for controller in [
        "gitrepository",
        "helmchart",
        "helmrepository",
        "ocirepository",
    ] {
        let started =
            |line: &&Value| line["msg"] == "Starting workers" && line["controller"] == controller;
        let workers = entries.iter().find(started);
        ensure!(
            workers.is_some_and(|line| line["worker count"] == 3),
            "{controller}: {workers:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_use() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-metrics").await?;
    // RT-LOG-008: with this gate lines keep all their keys
    let settings = Settings::default()
        .flag("--feature-gates=CancelHealthCheckOnNewRevision=true")
        .flag("--feature-gates=DirectSourceFetch=true");
    let kustomize = Controller::start("kustomize-controller", &namespace, settings).await?;
    // RT-FGT-004
    let direct = |line: &Value| {
        line["logger"] == "setup"
            && line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("not from the cache"))
    };
    kustomize
        .log()
        .wait("that sources are not cached", direct)
        .await?;
    namespace
        .apply(
            "{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: app}, \
             spec: {interval: 1h, path: ./, prune: true, sourceRef: {kind: GitRepository, name: missing}}}",
        )
        .await?;
    let about = |line: &Value| {
        line["name"] == "app"
            && line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("not found"))
    };
    let line = kustomize.log().wait("about the object", about).await?;
    for (key, want) in [
        ("controller", json!("kustomization")),
        ("controllerGroup", json!("kustomize.toolkit.fluxcd.io")),
        ("controllerKind", json!("Kustomization")),
        (
            "Kustomization",
            json!({"name": "app", "namespace": namespace.name()}),
        ),
    ] {
        assert_eq!(line[key], want, "{line}");
    }
    let series = [
        // RT-MET-021, RT-QUE-002
        "controller_runtime_active_workers{controller=\"kustomization\"}",
        "controller_runtime_max_concurrent_reconciles{controller=\"kustomization\"} 4",
        "controller_runtime_reconcile_time_seconds_bucket{controller=\"kustomization\",le=\"60\"}",
        "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue_after\"}",
        "workqueue_longest_running_processor_seconds{controller=\"kustomization\",name=\"kustomization\"}",
        "workqueue_depth{controller=\"kustomization\",name=\"kustomization\",priority=\"0\"}",
        "workqueue_adds_total{controller=\"kustomization\",name=\"kustomization\"}",
        "rest_client_requests_total{code=\"200\",host=\"",
        // RT-MET-009
        "gotk_token_cached_items 0",
        "gotk_token_cache_evictions_total 0",
        "gotk_token_cache_requests_total{status=\"success\"} 0",
    ];
    let page = kustomize.metrics_with(&series).await?;
    // RT-MET-023: these labels are added by the scrape, not by us
    for label in ["pod=", "exported_", "instance=", "job="] {
        ensure!(!page.contains(label), "{label} in\n{page}");
    }
    let off = Settings::default().flag("--token-cache-max-size=0");
    let other = Namespace::create(namespace.cluster(), "frame-metrics").await?;
    let without = Controller::start("kustomize-controller", &other, off).await?;
    let page = without.metrics().await?;
    ensure!(
        page.contains("process_open_fds") && !page.contains("gotk_token_cache"),
        "{page}"
    );
    Ok(())
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_lease_is_held_until_running_reconciles_end() -> Result {
    // RT-LED-009, RT-LED-011
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-ending").await?;
    let settings = Settings::default().flag("--enable-leader-election");
    let mut source = Controller::start("source-controller", &namespace, settings).await?;
    // Accepts the request and never responds.
    let git = TcpListener::bind("127.0.0.1:0").await?;
    namespace
        .apply(&format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: repo}}, \
             spec: {{interval: 1h, url: 'http://{}/app.git'}}}}",
            git.local_addr()?
        ))
        .await?;
    let accepted = namespace
        .wait_for("a fetch that hangs", git.accept())
        .await?;
    let (fetch, _) = accepted?;
    let leases = namespace.names(LEASE).await?;
    let name = leases.first().cloned().unwrap_or_default();
    let log = source.log().clone();
    let midway = async {
        let told = |line: &Value| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.starts_with("Shutdown signal received"))
        };
        log.wait("of the shutdown", told).await?;
        let lease = namespace.get(LEASE, &name).await?.unwrap_or_default();
        ensure!(
            !holder(&lease).is_empty(),
            "given up while work is under way: {lease}"
        );
        drop((git, fetch)); // the fetch fails, and with it the last work ends
        Ok::<_, Failure>(())
    };
    let (status, held) = tokio::join!(source.terminate(), midway);
    held?;
    ensure!(status?.success(), "{}", source.log().tail(20));
    let lease = namespace.get(LEASE, &name).await?.unwrap_or_default();
    assert_eq!(holder(&lease), "", "{lease}");
    let entries = source.log().entries();
    ensure!(
        entries
            .iter()
            .any(|line| line["msg"] == "All workers finished"),
        "{}",
        source.log().tail(20)
    );
    Ok(())
}

#[tokio::test]
async fn the_kubeconfig_is_located_like_kubectl_does() -> Result {
    // RT-ENV-003: a list with one missing file; no list, but a file in the home folder
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-home").await?;
    let user = format!("kustomize-controller.{}", namespace.name());
    let kubeconfig = namespace.cluster().kubeconfig_for(&user)?;
    let home = namespace.folder().join("home");
    std::fs::create_dir_all(home.join(".kube"))?;
    std::fs::copy(&kubeconfig, home.join(".kube/config"))?;
    let list = std::env::join_paths([Path::new("/missing"), &kubeconfig])?;
    for (kubeconfig, home) in [
        (list.to_string_lossy().into_owned(), "/nowhere".to_owned()),
        (String::new(), home.to_string_lossy().into_owned()),
    ] {
        let settings = Settings::default()
            .env("KUBECONFIG", &kubeconfig)
            .env("HOME", home);
        let controller = Controller::start("kustomize-controller", &namespace, settings).await?;
        let started = |line: &Value| line["msg"] == "Starting workers";
        controller.log().wait("that workers start", started).await?;
    }
    Ok(())
}

#[tokio::test]
async fn events_are_sent_through_the_proxy_from_the_environment() -> Result {
    // RT-ENV-004, RT-ENV-008
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-proxy").await?;
    let proxy = Proxy::http(None);
    let [port] = free_ports()?;
    let settings = Settings::default()
        .flag("--events-addr=http://notification-controller.flux-system.svc.cluster.local./")
        .flag(format!("--storage-addr=0.0.0.0:{port}"))
        .flag("--storage-adv-addr=")
        .env("HTTP_PROXY", proxy.url())
        .env("HOSTNAME", "pod-7")
        .env("GOMEMLIMIT", "1073741824"); // RT-ENV-006: without effect
    let mut source = Controller::start_unready("source-controller", &namespace, settings).await?;
    source.healthy().await?;
    let git = HttpGitServer::start();
    let repo = git_servers::Repo::init(git.root(), "app.git");
    repo.commit("main").file("a", "b").create();
    namespace
        .apply(&format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: repo}}, \
             spec: {{interval: 1h, url: '{}', ref: {{branch: main}}}}}}",
            git.url("app.git")
        ))
        .await?;
    let object = namespace.wait_ready(GIT_REPOSITORY, "repo", "True").await?;
    let url = object["status"]["artifact"]["url"]
        .as_str()
        .unwrap_or_default();
    ensure!(url.starts_with(&format!("http://pod-7:{port}/")), "{url}");
    let through = async {
        while proxy.destinations().is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        proxy.destinations()
    };
    let destinations = namespace.wait_for("the event", through).await?;
    // Neither the API server nor the Git server: both are on this machine.
    ensure!(
        destinations
            .iter()
            .all(|to| to.contains("notification-controller.flux-system.svc.cluster.local")),
        "{destinations:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_artifact_host_can_be_overridden_by_environment() -> Result {
    // RT-ENV-005: the advertised host does not exist, SOURCE_CONTROLLER_LOCALHOST is the server
    // RT-LED-010: which serves at once, as there is no election
    let source = Settings::default().flag("--storage-adv-addr=source-controller.nowhere.invalid.");
    let flux = Flux::start_with("localhost", source, Settings::default()).await?;
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    let revision = flux.commit(&[("a.yaml", map)]);
    let fetched = flux.follow_main().await?;
    let url = fetched["status"]["artifact"]["url"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        url.starts_with("http://source-controller.nowhere.invalid./"),
        "{url}"
    );
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &revision).await?;
    Ok(())
}
