//! source-controller as a process: flags, ports, leadership, metrics.

mod support;

use std::process::{Command, Output};

use flux_chart::{Chart, File};
use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{
    Cluster, Controller, HELM_CHART, HELM_REPOSITORY, Kind, Namespace, Result, SHARD_LABEL, ensure,
    free_ports,
};
use registries::{Artifact, Registry};
use serde_json::json;
use support::World;

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");

fn run(args: &[&str], kubeconfig: &str) -> Result<Output> {
    let program = env!("CARGO_BIN_EXE_source-controller");
    let mut command = Command::new(program);
    command
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .env("RUNTIME_NAMESPACE", "default");
    Ok(command.output()?)
}

#[tokio::test]
async fn invalid_flags_prevent_the_start() -> Result {
    let cluster = Cluster::shared().await?;
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let folder = std::env::temp_dir();
    let storage = format!("--storage-path={}", folder.display());
    let file = env!("CARGO_MANIFEST_PATH");
    let (no_folder, not_there) = (
        format!("--storage-path={file}"),
        "--storage-path=/nonexistent",
    );
    // The row that a case proves, the flags, the exit code and the message.
    for (row, args, code, text) in [
        ("SC-PROC-001", &["--unknown"][..], 2, "--unknown"),
        (
            "SC-PROC-001",
            &["--requeue-dependency=5"],
            2,
            "requeue-dependency",
        ),
        ("SC-PROC-001", &["--concurrent=x"], 2, "concurrent"),
        ("SC-PROC-001", &["--feature-gates=Foo"], 2, "feature-gates"),
        (
            "SC-PROC-027",
            &[&storage, "--feature-gates=Foo=true"],
            1,
            "feature-gate 'Foo' not supported",
        ),
        (
            "SC-PROC-028",
            &[&storage, "--feature-gates=OptimizedGitClones=true"],
            1,
            "feature-gate 'OptimizedGitClones' not supported",
        ),
        (
            "SC-PROC-021",
            &[&storage, "--artifact-digest-algo=md5"],
            1,
            "unable to configure canonical digest algorithm",
        ),
        (
            "SC-ART-001",
            &[not_there],
            1,
            "invalid dir path: /nonexistent",
        ),
        ("SC-ART-001", &[&no_folder], 1, "invalid dir path: "),
        (
            "SC-ART-023",
            &[&storage, "--storage-addr=9090"],
            1,
            "invalid storage address",
        ),
        (
            "SC-PROC-033",
            &[&storage, "--interval-jitter-percentage=100"],
            1,
            "unable to set global jitter",
        ),
        (
            "SC-PROC-030",
            &[&storage, "--watch-label-selector=a b"],
            1,
            "unable to parse label selector",
        ),
        (
            "SC-PROC-011",
            &[&storage, "--helm-cache-max-size=1", "--helm-cache-ttl=x"],
            1,
            "invalid duration",
        ),
        (
            "SC-PROC-012",
            &[
                &storage,
                "--helm-cache-max-size=1",
                "--helm-cache-purge-interval=y",
            ],
            1,
            "invalid duration",
        ),
        // Without a cache the durations are not validated, and the next fault is reported.
        (
            "SC-PROC-011, SC-PROC-012",
            &[
                &storage,
                "--helm-cache-ttl=x",
                "--helm-cache-purge-interval=y",
                "--artifact-digest-algo=md5",
            ],
            1,
            "unable to configure canonical digest algorithm",
        ),
    ] {
        let output = run(args, &kubeconfig)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code) && said.contains(text),
            "{row} {args:?}: {:?}\n{said}",
            output.status
        );
    }
    Ok(())
}

#[tokio::test]
async fn only_the_leader_serves_artifacts() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "git-leader").await?;
    let settings = Settings::default()
        .flag("--enable-leader-election")
        .flag("--leader-election-lease-duration=4s")
        .flag("--leader-election-renew-deadline=3s")
        .flag("--leader-election-retry-period=200ms");
    let mut first = Controller::start("source-controller", &namespace, settings.clone()).await?;
    let client = flux_http::ClientOptions::default().build()?;
    let address = first.artifact_address().unwrap_or_default();
    ensure!(
        client
            .get(format!("http://{address}/"))
            .send()
            .await?
            .status()
            == 200,
        "the leader is ready"
    );

    // SC-PROC-041: whether it is the leader or not
    let second = Controller::start_unready("source-controller", &namespace, settings).await?;
    let healthy = async {
        loop {
            let asked = client
                .get(format!("http://{}/healthz", second.health_address()))
                .send()
                .await;
            if asked.is_ok_and(|answer| answer.status() == 200) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    namespace.wait_for("the second is healthy", healthy).await?;
    // SC-PROC-042, SC-PROC-043
    let waiting = second.artifact_address().unwrap_or_default();
    ensure!(
        client
            .get(format!("http://{waiting}/"))
            .send()
            .await
            .is_err(),
        "the second serves artifacts"
    );

    let leases = namespace.names(LEASE).await?;
    // SC-PROC-044
    ensure!(
        leases.len() == 1 && leases[0].starts_with("source-controller-leader-election-"),
        "{leases:?}"
    );
    let lease = namespace.get(LEASE, &leases[0]).await?.unwrap_or_default();
    ensure!(lease["spec"]["leaseDurationSeconds"] == 4, "{lease}"); // SC-PROC-025
    // SC-PROC-046
    ensure!(first.terminate().await?.success(), "the first ends cleanly");
    let takes_over = async {
        while client
            .get(format!("http://{waiting}/"))
            .send()
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    namespace
        .wait_for("the second serves artifacts", takes_over)
        .await?;
    Ok(())
}

#[tokio::test]
async fn metrics_and_log_lines_match_upstream() -> Result {
    let world = World::start("git-metrics").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    world.ready("app").await?;
    world.reconcile("app").await?;
    // SC-PROC-079: a run is measured whatever its result
    world.apply("failing", "none.git", "").await?;
    world
        .condition("failing", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    world.apply("dormant", "app.git", "suspend: true").await?;
    world.reconcile("dormant").await?;
    let ns = world.namespace.name();
    let runs = ["failing", "dormant"].map(|name| {
        format!(
            "gotk_reconcile_duration_seconds_count{{kind=\"GitRepository\",name=\"{name}\",namespace=\"{ns}\"}}"
        )
    });
    let page = world.controller.metrics_with(&runs).await?;
    // SC-PROC-091
    for series in ["gotk_reconcile_condition{", "gotk_suspend_status{"] {
        ensure!(!page.contains(series), "{series} in\n{page}");
    }
    // SC-PROC-047
    for series in [
        // SC-PROC-090
        format!(
            "gotk_reconcile_duration_seconds_count{{kind=\"GitRepository\",name=\"app\",namespace=\"{ns}\"}}"
        ),
        // SC-PROC-094
        "controller_runtime_reconcile_total{controller=\"gitrepository\",result=\"requeue_after\"}"
            .to_owned(),
        // SC-PROC-005
        "controller_runtime_max_concurrent_reconciles{controller=\"gitrepository\"} 2".to_owned(),
        "controller_runtime_max_concurrent_reconciles{controller=\"ocirepository\"} 2".to_owned(),
        "gotk_token_cached_items 0".to_owned(),
    ] {
        ensure!(page.contains(&series), "no {series} in\n{page}");
    }
    let uncached = |line: &serde_json::Value| {
        line["msg"] == "caching of Helm index files is disabled" && line["logger"] == "setup"
    };
    world
        .controller
        .log()
        .wait("of the start", uncached)
        .await?; // SC-PROC-010
    let stored = |line: &serde_json::Value| line["msg"] == "stored artifact for commit 'first'";
    let line = world
        .controller
        .log()
        .wait("of the artifact", stored)
        .await?;
    // SC-PROC-095
    for (key, want) in [
        ("level", json!("info")),
        ("controller", json!("gitrepository")),
        ("controllerGroup", json!("source.toolkit.fluxcd.io")),
        ("controllerKind", json!("GitRepository")),
        ("GitRepository", json!({"name": "app", "namespace": ns})),
        ("name", json!("app")),
        ("namespace", json!(ns)),
    ] {
        ensure!(line[key] == want, "{key} in {line}");
    }
    ensure!(
        line["reconcileID"].is_string() && line["ts"].is_string(),
        "{line}"
    );
    Ok(())
}

// SC-PROC-052
#[tokio::test]
async fn secrets_are_cached_if_the_gate_is_enabled() -> Result {
    let settings = Settings::default().flag("--feature-gates=CacheSecretsAndConfigMaps=true");
    let git = HttpGitServer::builder()
        .basic_auth("flux", "s3cret")
        .start();
    let world = World::start_with("git-cached", settings, git).await?;
    world.repo("app.git");
    world
        .namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {username: flux, password: s3cret}}")
        .await?;
    let counter = Counter::start(world.namespace.cluster(), world.controller.user())?;
    world
        .apply(
            "app",
            "app.git",
            "ref: {branch: main}, secretRef: {name: login}",
        )
        .await?;
    world.ready("app").await?;
    let gets = counter
        .requests()?
        .into_iter()
        .filter(|request| request.resource == "secrets" && request.verb == "get");
    assert_eq!(gets.count(), 0);
    Ok(())
}

// SC-PROC-025: the expiry of an unreleased Lease is awaited
#[tokio::test]
async fn the_lease_is_not_released_if_disabled_by_flag() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "git-lease").await?;
    let settings = Settings::default()
        .flag("--enable-leader-election=true")
        .flag("--leader-election-release-on-cancel=false")
        .flag("--leader-election-lease-duration=77s");
    let mut controller = Controller::start("source-controller", &namespace, settings).await?;
    let leases = namespace.names(LEASE).await?;
    ensure!(controller.terminate().await?.success(), "it ends cleanly");
    let lease = namespace.get(LEASE, &leases[0]).await?.unwrap_or_default();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    ensure!(
        !holder.is_empty() && lease["spec"]["leaseDurationSeconds"] == 77,
        "{lease}"
    );
    Ok(())
}

#[tokio::test]
async fn watches_have_the_configured_scope() -> Result {
    let cluster = Cluster::shared().await?;
    for (flag, prefix) in [
        ("--watch-all-namespaces=true", String::new()),
        (
            "--watch-all-namespaces=false",
            "/namespaces/NAMESPACE".to_owned(),
        ),
    ] {
        let namespace = Namespace::create(&cluster, "git-watch").await?;
        let user = format!("source-controller.{}", namespace.name());
        let counter = Counter::start(&cluster, &user)?;
        let settings = Settings::default()
            .flag(flag)
            .flag("--watch-configs-label-selector=reconcile.fluxcd.io/watch=Always")
            // SC-PROC-022: no client-side limit on a server that limits its clients itself
            .flag("--kube-api-qps=0.001")
            .flag("--kube-api-burst=1");
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        let prefix = prefix.replace("NAMESPACE", namespace.name());
        let kinds = [
            "buckets",
            "gitrepositories",
            "helmcharts",
            "helmrepositories",
            "ocirepositories",
        ];
        let paths = kinds.map(|kind| format!("/apis/source.toolkit.fluxcd.io/v1{prefix}/{kind}?"));
        let watched = async {
            loop {
                let requests = counter.requests()?;
                let is_watched = |path: &String| {
                    let mut watches = requests.iter().filter(|request| request.verb == "watch");
                    watches.any(|request| request.uri.starts_with(path))
                };
                if paths.iter().all(is_watched) {
                    return Ok::<_, kind_tests::Failure>(requests);
                }
                tokio::task::yield_now().await;
            }
        };
        let requests = namespace
            .wait_for(&format!("{paths:?} are watched"), watched)
            .await??;
        // SC-PROC-029, SC-PROC-052: no Secrets and ConfigMaps; RT-WAT-006: all with the same selector
        let selector = format!("labelSelector={SHARD_LABEL}%3D{}", namespace.name());
        let selector = selector.replace('/', "%2F");
        for request in requests
            .iter()
            .filter(|request| request.verb == "watch" || request.verb == "list")
        {
            let is_own = paths.iter().any(|path| request.uri.starts_with(path));
            ensure!(is_own && request.uri.contains(&selector), "{request:?}");
        }
        drop(controller);
    }
    Ok(())
}

// SC-ART-021, SC-ART-022, RT-ART-004
#[tokio::test]
async fn the_advertised_address_is_derived_from_the_listen_address() -> Result {
    for (listen, host) in [
        ("0.0.0.0:PORT", "pod-name:PORT"),
        (":PORT", "localhost:PORT"),
        ("127.0.0.1:PORT", "127.0.0.1:PORT"),
    ] {
        let [port] = free_ports()?;
        let address = |text: &str| text.replace("PORT", &port.to_string());
        let settings = Settings::default()
            .flag("--storage-adv-addr=")
            .flag(format!("--storage-addr={}", address(listen)))
            .env("HOSTNAME", "pod-name");
        let namespace = Namespace::create(&Cluster::shared().await?, "git-host").await?;
        let mut controller =
            Controller::start_unready("source-controller", &namespace, settings).await?;
        controller.healthy().await?;
        let git = HttpGitServer::start();
        let repo = git_servers::Repo::init(git.root(), "app.git");
        repo.commit("main").file("f", "").create();
        namespace
            .apply(&format!(
                "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: app}}, \
                 spec: {{url: '{}', interval: 1h, ref: {{branch: main}}}}}}",
                git.url("app.git")
            ))
            .await?;
        let object = namespace
            .wait_ready(kind_tests::GIT_REPOSITORY, "app", "True")
            .await?;
        let url = object["status"]["artifact"]["url"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            url.starts_with(&format!("http://{}/gitrepository/", address(host))),
            "{listen}: {url}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn artifacts_are_served_as_files() -> Result {
    let world = World::start("git-serve").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let object = world.ready("app").await?;
    let artifact = &object["status"]["artifact"];
    let (url, path) = (
        artifact["url"].as_str().unwrap_or_default(),
        artifact["path"].as_str().unwrap_or_default(),
    );
    let root = url.strip_suffix(path).unwrap_or_default();
    let bytes = std::fs::read(world.storage().join(path))?;
    let client = flux_http::ClientOptions {
        redirects: flux_http::Redirects::Refuse,
        ..flux_http::ClientOptions::default()
    };
    let client = client.build()?;
    let first = client.get(url).send().await?;
    let header = |name: &str| {
        first
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let modified = header("last-modified");
    // SC-ART-050, SC-ART-054
    assert_eq!(header("content-type"), "application/x-gzip");
    assert_eq!(header("accept-ranges"), "bytes");
    assert_eq!(header("content-length"), bytes.len().to_string());
    assert_eq!(header("content-encoding"), "");
    assert_eq!(first.bytes().await?, bytes);

    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (listing, escape) = (
        format!("{root}{folder}/"),
        format!("{root}%2e%2e/%2e%2e/etc/passwd"),
    );
    let (plain_folder, missing) = (format!("{root}{folder}"), format!("{url}.none"));
    for (method, address, name, value, status, body) in [
        // SC-ART-052, RT-ART-012
        ("HEAD", url, "accept", "*/*", 200, Some(&b""[..])),
        ("GET", url, "range", "bytes=2-5", 206, bytes.get(2..6)),
        ("GET", url, "range", "bytes=999999999-", 416, None),
        (
            "GET",
            url,
            "if-modified-since",
            &*modified,
            304,
            Some(&b""[..]),
        ),
        (
            "GET",
            url,
            "if-unmodified-since",
            "Mon, 01 Jan 2001 00:00:00 GMT",
            412,
            None,
        ),
        (
            "GET",
            &*missing,
            "accept",
            "*/*",
            404,
            Some(&b"404 page not found\n"[..]),
        ),
        // SC-ART-053
        ("GET", &*escape, "accept", "*/*", 404, None),
        // SC-ART-051, SC-ART-055
        ("GET", &*plain_folder, "accept", "*/*", 301, None),
        ("GET", &*listing, "accept", "*/*", 200, None),
        ("GET", root, "accept", "*/*", 200, None),
    ] {
        let request = client.request(method.parse()?, address).header(name, value);
        let answer = request.send().await?;
        ensure!(
            answer.status() == status,
            "{method} {address} {name}: {value}: {}",
            answer.status()
        );
        let got = answer.bytes().await?;
        if let Some(body) = body {
            ensure!(got == body, "{method} {address} {name}: {value}: {got:?}");
        }
        if address == listing {
            let name = path.rsplit('/').next().unwrap_or_default();
            ensure!(String::from_utf8_lossy(&got).contains(name), "{got:?}");
        }
    }
    Ok(())
}

// SC-PROC-043, RT-ART-013
#[tokio::test]
async fn a_port_in_use_ends_the_process() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "git-port").await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let settings = Settings::default().flag(format!("--storage-addr={}", taken.local_addr()?));
    let mut controller =
        Controller::start_unready("source-controller", &namespace, settings).await?;
    let ended = async {
        while controller.runs() {
            tokio::task::yield_now().await;
        }
    };
    namespace.wait_for("the process has ended", ended).await?;
    let log = controller.log().lines().join("\n");
    ensure!(
        log.contains("artifact server error: listen tcp ")
            && log.contains("Address already in use"),
        "{log}"
    );
    Ok(())
}

// FR-H-077, SC-PROC-037: a home that is not there, and a docker configuration of the process, which is not for its objects
#[tokio::test]
async fn no_home_is_needed_and_none_is_used() -> Result {
    let registry = Registry::builder().basic_auth("flux", "s3cret").start();
    let chart = vec![File::new(
        "Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    )];
    let chart = Chart::from_files(chart)?.package()?;
    registry.push("charts/web", "1.0.0", &Artifact::helm(chart));
    let folder = tempfile::TempDir::new()?;
    let login = json!({"auths": {registry.host(): {"username": "flux", "password": "s3cret"}}});
    std::fs::write(folder.path().join("config.json"), login.to_string())?;
    let settings = Settings::default()
        .env("HOME", "/nonexistent")
        .env("TUF_ROOT", "/nonexistent/.sigstore")
        .env("DOCKER_CONFIG", folder.path().to_string_lossy());
    let world = World::start_with("home", settings, HttpGitServer::start()).await?;
    let world = world.of(HELM_CHART);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"username": "flux", "password": "s3cret"}});
    world.namespace.apply(&secret.to_string()).await?;
    for (name, more) in [
        ("anonymous", json!({})),
        ("login", json!({"secretRef": {"name": "login"}})),
    ] {
        let mut spec = json!({
            "type": "oci", "url": format!("oci://{}", registry.repository("charts")), "interval": "1h"});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let repository = json!({"apiVersion": HELM_REPOSITORY.0, "kind": HELM_REPOSITORY.1, "metadata": {"name": name}, "spec": spec});
        world.namespace.apply(&repository.to_string()).await?;
        let source = json!({"kind": HELM_REPOSITORY.1, "name": name});
        let spec =
            json!({"chart": "web", "version": "1.0.0", "interval": "1h", "sourceRef": source});
        let chart = json!({"apiVersion": HELM_CHART.0, "kind": HELM_CHART.1, "metadata": {"name": name}, "spec": spec});
        world.namespace.apply(&chart.to_string()).await?;
    }
    world.ready("login").await?;
    let text = world
        .condition("anonymous", "FetchFailed", "True", "Unknown")
        .await?;
    ensure!(text.contains("UNAUTHORIZED"), "{text}");
    Ok(())
}
