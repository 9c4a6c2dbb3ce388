//! `cargo bench -p kind-tests --bench fleet`: 100 Kustomizations of four objects each, installed, upgraded, unchanged.

mod figures;

use std::process::ExitCode;

use figures::{Span, Took, mebibytes, print, seconds};
use kind_tests::controller::Settings;
use kind_tests::{Flux, KUSTOMIZATION, Result, is_ready};
use serde_json::{Value, json};

const KUSTOMIZATIONS: usize = 100;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let flux = Flux::start_on(&cluster, "fleet", Settings::default(), Settings::default()).await?;
    let revision = commit(&flux, "1.0.0");
    flux.follow_main().await?;

    let span = Span::start(&flux.kustomize, &flux.namespace)?;
    for number in 0..KUSTOMIZATIONS {
        let path = format!("path: ./app-{number:03}");
        flux.namespace
            .apply(&flux.kustomization(&name(number), &[&path, "prune: true", "wait: true"]))
            .await?;
    }
    all(&flux, "are installed", |object| at(object, &revision)).await?;
    show("install", &span.end(&flux.kustomize)?, 25, 56);

    let revision = commit(&flux, "1.0.1");
    let span = Span::start(&flux.kustomize, &flux.namespace)?;
    flux.fetch().await?;
    all(&flux, "are upgraded", |object| at(object, &revision)).await?;
    show("upgrade", &span.end(&flux.kustomize)?, 32, 40);

    for which in ["second", "unchanged"] {
        let requested = format!("{which}-{}", revision.len());
        let span = Span::start(&flux.kustomize, &flux.namespace)?;
        for number in 0..KUSTOMIZATIONS {
            let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": requested}}});
            flux.namespace
                .merge(KUSTOMIZATION, &name(number), patch)
                .await?;
        }
        all(&flux, "have handled the request", |object| {
            object["status"]["lastHandledReconcileAt"] == requested && is_ready(object, "True")
        })
        .await?;
        show(which, &span.end(&flux.kustomize)?, 21, 30);
    }
    print(
        "peak memory of kustomize-controller",
        &mebibytes(flux.kustomize.peak_bytes()?),
        "upstream 172 MiB",
    );
    Ok(())
}

fn name(number: usize) -> String {
    format!("app-{number:03}")
}

fn at(object: &Value, revision: &str) -> bool {
    is_ready(object, "True") && object["status"]["lastAppliedRevision"] == revision
}

async fn all(flux: &Flux, goal: &str, done: impl Fn(&Value) -> bool) -> Result {
    flux.namespace
        .wait_all(KUSTOMIZATION, goal, |objects| {
            (objects.len() == KUSTOMIZATIONS && objects.iter().all(&done)).then_some(())
        })
        .await
}

fn show(what: &str, took: &Took, upstream_seconds: u32, upstream_requests: usize) {
    let beside = format!("upstream {upstream_seconds} s, target a third");
    print(
        &format!("{what} of {KUSTOMIZATIONS} Kustomizations of 4 objects"),
        &seconds(took.wall),
        &beside,
    );
    print(
        "  processor time",
        &seconds(took.cpu),
        "upstream 10 s, target a tenth",
    );
    if let Some(count) = took.request_count() {
        let each = format!("{:.1}", count as f64 / KUSTOMIZATIONS as f64);
        let beside = format!("upstream {upstream_requests}: {}", took.breakdown());
        print("  API requests per Kustomization", &each, &beside);
    }
}

/// Manifests equivalent to podinfo's four objects, without pods.
fn commit(flux: &Flux, version: &str) -> String {
    let files: Vec<(String, String)> = (0..KUSTOMIZATIONS)
        .map(|number| {
            let text = MANIFEST
                .replace("NAME", &name(number))
                .replace("VERSION", version);
            (format!("{}/app.yaml", name(number)), text)
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
