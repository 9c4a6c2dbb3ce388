//! The controllers as pods, from manifests/install and images from their Dockerfiles, on a real node or on kind.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use git_servers::{HttpGitServer, Repo};
use kind_tests::{
    Cluster, DEPLOYMENT, GIT_REPOSITORY, KUSTOMIZATION, Kind, Namespace, PodCluster, Result,
    controller, ensure, flux_cli,
};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

const POD: Kind = Kind("v1", "Pod");

const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-automation-controller",
    "image-reflector-controller",
    "source-watcher",
];

fn idle(name: &str, replicas: u32) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: idle
        image: localhost/pause:1
        imagePullPolicy: Never
        securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
        resources: {{limits: {{cpu: 100m, memory: 16Mi}}}}
"
    )
}

/// The steps of a user who installs from this repository: apply manifests/install, then a GitRepository and a
/// Kustomization.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controllers_run_as_pods_and_apply_a_commit() -> Result {
    if let Some(why) = PodCluster::missing()? {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let images = tokio::task::spawn_blocking(|| {
        CONTROLLERS
            .into_iter()
            .map(|name| controller::image(name, &format!("docker.io/flux-rs/{name}:v0.1.0")))
            .collect::<Result<Vec<_>>>()
    })
    .await??;
    let kubernetes = PodCluster::start(&images).await?;
    install(&kubernetes)?;
    let system = Namespace::existing(kubernetes.cluster(), "flux-system").await?;
    // IA-PROC-026: with the security context, probes, limits and arguments of the manifests.
    for name in CONTROLLERS {
        system
            .wait(DEPLOYMENT, name, "is available", |object| {
                object["status"]["availableReplicas"] == 1
            })
            .await?;
    }

    let git = HttpGitServer::start();
    let repo = Repo::init(git.root(), "app.git");
    let commit = repo
        .commit("main")
        .file("deploy/idle.yaml", idle("idle", 2))
        .create();
    let url = format!(
        "http://{}/app.git",
        forward(git.address(), kubernetes.host()).await?
    );
    let namespace = Namespace::create(kubernetes.cluster(), "deployed").await?;
    namespace
        .apply(&format!(
            "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{url: '{url}', interval: 10m, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app}}
spec:
  interval: 10m
  path: ./deploy
  prune: true
  wait: true
  targetNamespace: ${{namespace}}
  sourceRef: {{kind: GitRepository, name: app}}
"
        ))
        .await?;
    let revision = format!("main@sha1:{commit}");
    applied(&namespace, &revision).await?;
    let pods = namespace.names(POD).await?;
    assert_eq!(pods.len(), 2, "{pods:?}");

    let commit = repo
        .commit("main")
        .file("deploy/idle.yaml", idle("idle", 1))
        .create();
    namespace.request_reconcile(GIT_REPOSITORY, "app").await?;
    applied(&namespace, &format!("main@sha1:{commit}")).await?;

    // RT-LOG-009, DI-GET-013: the real flux command reads the pods' logs.
    let logs = flux(
        kubernetes.cluster(),
        &[
            "logs",
            "--kind=Kustomization",
            "--name=app",
            "-n",
            namespace.name(),
        ],
    )?;
    ensure!(
        logs.contains("Reconciliation finished in"),
        "flux logs printed:\n{logs}"
    );

    namespace.delete(KUSTOMIZATION, "app").await?;
    namespace.wait_gone(KUSTOMIZATION, "app").await?;
    namespace.wait_gone(DEPLOYMENT, "idle").await?;
    let restarts = |pods: &[Value]| -> u64 {
        let statuses = pods
            .iter()
            .filter_map(|pod| pod["status"]["containerStatuses"].as_array())
            .flatten();
        statuses
            .filter_map(|status| status["restartCount"].as_u64())
            .sum()
    };
    let restarted = system
        .wait_all(POD, "are listed", |pods| Some(restarts(pods)))
        .await?;
    assert_eq!(restarted, 0, "{}", system.report().await);
    Ok(())
}

async fn applied(namespace: &Namespace, revision: &str) -> Result<Value> {
    namespace
        .wait(
            KUSTOMIZATION,
            "app",
            &format!("is ready at {revision}"),
            |object| {
                kind_tests::is_ready(object, "True")
                    && object["status"]["lastAppliedRevision"] == revision
            },
        )
        .await
}

fn install(cluster: &PodCluster) -> Result {
    let manifests = kind_tests::cache::workspace().join("manifests/install");
    cluster.kubectl(&[
        "apply".as_ref(),
        "--server-side".as_ref(),
        "-k".as_ref(),
        manifests.as_os_str(),
    ])?;
    Ok(())
}

fn flux(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = Command::new(flux_cli::program()?)
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.success(),
        "flux {}: {text}",
        arguments.join(" ")
    );
    Ok(text)
}

/// Makes a server on the host's loopback reachable for pods.
async fn forward(to: SocketAddr, host: IpAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((host, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut upstream) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut upstream).await;
                }
            });
        }
    });
    Ok(address)
}
