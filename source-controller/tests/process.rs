//! source-controller as a process: flags, ports, leadership, metrics.

mod support;

use std::process::{Command, Output};

use git_servers::{Authority, HttpGitServer, SshGitServer, SshKey, sshd_available};
use kind_tests::{
    Cluster, Controller, GIT_REPOSITORY, Kind, Namespace, Result, controller::Settings, ensure,
};
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

// SC-PROC-001, SC-PROC-011, SC-PROC-012, SC-PROC-021, SC-PROC-027, SC-PROC-028, SC-PROC-030, SC-PROC-033, SC-PROC-035, SC-ART-001, SC-ART-023
#[tokio::test]
async fn what_the_process_refuses_to_start_with() -> Result {
    let cluster = Cluster::shared().await?;
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let folder = std::env::temp_dir();
    let storage = format!("--storage-path={}", folder.display());
    for (args, code, text) in [
        (&["--unknown"][..], 2, "--unknown"),
        (&["--requeue-dependency=5"], 2, "requeue-dependency"),
        (&["--concurrent=x"], 2, "concurrent"),
        (&["--feature-gates=Foo"], 2, "feature-gates"),
        (
            &[&storage, "--feature-gates=Foo=true"],
            1,
            "feature-gate 'Foo' not supported",
        ),
        (
            &[&storage, "--feature-gates=OptimizedGitClones=true"],
            1,
            "feature-gate 'OptimizedGitClones' not supported",
        ),
        (
            &[&storage, "--artifact-digest-algo=md5"],
            1,
            "unable to configure canonical digest algorithm",
        ),
        (
            &["--storage-path=/nonexistent"],
            1,
            "invalid dir path: /nonexistent",
        ),
        (
            &[&storage, "--storage-addr=9090"],
            1,
            "invalid storage address",
        ),
        (
            &[&storage, "--interval-jitter-percentage=100"],
            1,
            "unable to set global jitter",
        ),
        (
            &[&storage, "--watch-label-selector=a b"],
            1,
            "unable to parse label selector",
        ),
        (
            &[&storage, "--helm-cache-max-size=1", "--helm-cache-ttl=x"],
            1,
            "invalid duration",
        ),
        (
            &[&storage, "--default-service-account=x"],
            1,
            "cannot set default service accounts when the feature gate ObjectLevelWorkloadIdentity is not enabled",
        ),
    ] {
        let output = run(args, &kubeconfig)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code) && said.contains(text),
            "{args:?}: {:?}\n{said}",
            output.status
        );
    }
    Ok(())
}

// SC-PROC-041, SC-PROC-042, SC-PROC-043, SC-PROC-044, SC-PROC-045, SC-PROC-046
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
    ensure!(
        leases.len() == 1 && leases[0].starts_with("source-controller-leader-election-"),
        "{leases:?}"
    );
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

// SC-PROC-047, SC-PROC-090, SC-PROC-094, SC-PROC-095
#[tokio::test]
async fn metrics_and_log_lines() -> Result {
    let world = World::start("git-metrics").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    world.ready("app").await?;
    world.reconcile("app").await?;
    let client = flux_http::ClientOptions::default().build()?;
    let url = format!("http://{}/metrics", world.controller.metrics_address());
    let page = client.get(url).send().await?.text().await?;
    let ns = world.namespace.name();
    for series in [
        format!(
            "gotk_reconcile_duration_seconds_count{{kind=\"GitRepository\",name=\"app\",namespace=\"{ns}\"}}"
        ),
        "controller_runtime_reconcile_total{controller=\"gitrepository\",result=\"requeue_after\"}"
            .to_owned(),
        "controller_runtime_max_concurrent_reconciles{controller=\"gitrepository\"} 2".to_owned(),
        "gotk_token_cached_items 0".to_owned(),
    ] {
        ensure!(page.contains(&series), "no {series} in\n{page}");
    }
    let stored = |line: &serde_json::Value| line["msg"] == "stored artifact for commit 'first'";
    let line = world
        .controller
        .log()
        .wait("of the artifact", stored)
        .await?;
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
async fn secrets_come_from_a_cache_where_the_gate_is_on() -> Result {
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
    let counter =
        kind_tests::requests::Counter::start(world.namespace.cluster(), world.controller.user())?;
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

// SC-AUTH-010, SC-AUTH-013, SC-GIT-123
#[tokio::test]
async fn a_private_authority_and_a_client_certificate() -> Result {
    let authority = Authority::new();
    let git = HttpGitServer::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .bearer_token("t0ken")
        .start();
    let world = World::start_with("git-tls", Settings::default(), git).await?;
    world.repo("app.git");
    let pair = authority.issue(&["client"]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "stringData": {
        "ca.crt": authority.pem(), "tls.crt": pair.certificate, "tls.key": pair.key, "bearerToken": "t0ken"}});
    world.namespace.apply(&secret.to_string()).await?;
    world
        .apply(
            "app",
            "app.git",
            "ref: {branch: main}, secretRef: {name: tls}",
        )
        .await?;
    world.ready("app").await?;
    world
        .apply("stranger", "app.git", "ref: {branch: main}")
        .await?;
    let message = world
        .condition("stranger", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(
        message.starts_with("failed to checkout and determine revision: "),
        "{message}"
    );
    Ok(())
}

// SC-AUTH-014, SC-AUTH-015, SC-GIT-124, SC-GIT-126
#[tokio::test]
async fn a_deploy_key_over_ssh() -> Result {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return Ok(());
    }
    let (key, locked) = (
        SshKey::ed25519(),
        SshKey::generate(&["-t", "ed25519"], "s3cret"),
    );
    let server = SshGitServer::builder()
        .authorize(&key.public())
        .authorize(&locked.public())
        .start();
    let repo = git_servers::Repo::init(server.root(), "app.git");
    let commit = repo.commit("main").file("f", "x").create();
    let world = World::start("git-ssh").await?;
    let secret = |name: &str, data: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}).to_string()
    };
    let other_host = "127.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n";
    for (name, data) in [
        (
            "key",
            json!({"identity": key.private(), "known_hosts": server.known_hosts()}),
        ),
        (
            "locked",
            json!({"identity": locked.private(), "known_hosts": server.known_hosts(), "password": "s3cret"}),
        ),
        (
            "no-password",
            json!({"identity": locked.private(), "known_hosts": server.known_hosts()}),
        ),
        ("no-hosts", json!({"identity": key.private()})),
        (
            "stranger",
            json!({"identity": key.private(), "known_hosts": other_host}),
        ),
    ] {
        world.namespace.apply(&secret(name, data)).await?;
        let spec = format!("ref: {{branch: main}}, secretRef: {{name: {name}}}");
        world.apply_url(name, &server.url("app.git"), &spec).await?;
    }
    for name in ["key", "locked"] {
        let object = world.ready(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == format!("main@sha1:{commit}"),
            "{object}"
        );
    }
    let ns = world.namespace.name();
    let message = world
        .condition("no-password", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    assert_eq!(
        message,
        format!(
            "SSH identity key is encrypted but no 'password' field was provided in the secret '{ns}/no-password'"
        )
    );
    let message = world
        .condition("no-hosts", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    assert_eq!(
        message,
        "failed to configure authentication options: invalid 'ssh' auth option: 'known_hosts' is required"
    );
    let message = world
        .condition("stranger", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(message.contains("knownhosts: key"), "{message}");
    let object = world
        .namespace
        .get(GIT_REPOSITORY, "stranger")
        .await?
        .unwrap_or_default();
    ensure!(object["status"]["artifact"].is_null(), "{object}");
    Ok(())
}
