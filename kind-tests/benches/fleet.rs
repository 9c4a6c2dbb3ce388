//! `cargo bench -p kind-tests --bench fleet`: 100 Kustomizations of four objects each, installed, upgraded, unchanged; or
//! as many as `FLUX_BENCH_KUSTOMIZATIONS` says.

mod figures;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use figures::{Kustomizations, Took, mebibytes, print, seconds};
use kind_tests::controller::Settings;
use kind_tests::{Cluster, DEPLOYMENT, Flux, Namespace, Result};
use serde_json::Value;

/// How many Kustomizations there are.
fn kustomizations() -> Result<usize> {
    let count = std::env::var("FLUX_BENCH_KUSTOMIZATIONS");
    Ok(count.map_or(Ok(100), |count| count.parse::<usize>())?)
}

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let flux = Flux::start_on(&cluster, "fleet", Settings::default(), Settings::default()).await?;
    let count = kustomizations()?;
    let revision = commit(&flux, count, "1.0.0");
    flux.follow_main().await?;
    let fleet = Kustomizations {
        flux: &flux,
        count,
        of: "of 4 objects".to_owned(),
    };

    let bare = bare_applies(&cluster, count).await?;
    let took = fleet
        .install(&revision, &["prune: true", "wait: true"])
        .await?;
    show(&fleet, "install", &took, 25, 56);
    let times = took.wall.as_secs_f64() / bare.as_secs_f64();
    print(
        "  beside the bare applies",
        &format!("{times:.1} times"),
        "target 2.2",
    );

    let revision = commit(&flux, count, "1.0.1");
    let span = fleet.start()?;
    flux.fetch().await?;
    fleet.applied(&revision).await?;
    show(&fleet, "upgrade", &span.end(&flux.kustomize)?, 32, 40);

    // The kinds are watched from the second look at them on.
    for which in ["second", "third", "unchanged"] {
        show(&fleet, which, &fleet.request(which).await?, 21, 30);
    }
    let resident = mebibytes(flux.kustomize.resident_bytes()?);
    print("memory of kustomize-controller at the end", &resident, "");
    print(
        "peak memory of kustomize-controller",
        &mebibytes(flux.kustomize.peak_bytes()?),
        "upstream 172 MiB for 100",
    );
    Ok(())
}

/// Applies the objects of as many Kustomizations, and nothing else: what the API server needs for them.
async fn bare_applies(cluster: &Cluster, count: usize) -> Result<Duration> {
    let namespace = Namespace::create(cluster, "bare").await?;
    let manifests = (0..count).flat_map(|number| {
        let text = MANIFEST
            .replace("NAME", &Kustomizations::name(number))
            .replace("VERSION", "1.0.0");
        let objects: Vec<String> = text.split("---\n").map(str::to_owned).collect();
        objects
    });
    let started = Instant::now();
    figures::apply_all(&namespace, manifests).await?;
    let took = started.elapsed();
    let what = format!("bare applies of the objects of {count} Kustomizations");
    print(&what, &seconds(took), "over four connections");
    // What the cluster's own controllers have left would count as the install's.
    let is_observed =
        |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let goal = "are all observed";
    let observed = |objects: &[Value]| objects.iter().all(is_observed).then_some(());
    namespace.wait_all(DEPLOYMENT, goal, observed).await?;
    print(
        "  until their Deployments are observed",
        &seconds(started.elapsed()),
        "",
    );
    Ok(took)
}

fn show(
    fleet: &Kustomizations<'_>,
    what: &str,
    took: &Took,
    upstream_seconds: u32,
    upstream_requests: usize,
) {
    // Upstream was measured with 100 of them.
    let wall = format!("upstream {upstream_seconds} s for 100, target a third");
    let requests = format!("upstream {upstream_requests}: ");
    let cpu = "upstream 10 s for 100, target a tenth";
    fleet.show(what, took, [&wall, cpu, &requests]);
}

/// Manifests equivalent to podinfo's four objects, without pods.
fn commit(flux: &Flux, count: usize, version: &str) -> String {
    let files: Vec<(String, String)> = (0..count)
        .map(|number| {
            let text = MANIFEST
                .replace("NAME", &Kustomizations::name(number))
                .replace("VERSION", version);
            (format!("{}/app.yaml", Kustomizations::name(number)), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    flux.commit(&files)
}

const MANIFEST: &str = "apiVersion: v1
kind: ServiceAccount
metadata:
  name: NAME
  labels: {version: VERSION}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
spec:
  replicas: 0
  selector:
    matchLabels: {app: NAME}
  template:
    metadata:
      labels: {app: NAME}
    spec:
      serviceAccountName: NAME
      containers:
      - name: app
        image: ghcr.io/stefanprodan/podinfo:VERSION
        ports:
        - {name: http, containerPort: 9898}
        resources:
          requests: {cpu: 100m, memory: 32Mi}
---
apiVersion: v1
kind: Service
metadata:
  name: NAME
  labels: {version: VERSION}
spec:
  selector: {app: NAME}
  ports:
  - {name: http, port: 9898, targetPort: http}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: NAME
  labels: {version: VERSION}
spec:
  rules:
  - host: NAME.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: NAME, port: {name: http}}}
";
