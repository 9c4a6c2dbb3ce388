//! `cargo bench -p kind-tests --bench releases`: HelmReleases of one chart of four objects, installed, upgraded, unchanged on
//! request and at their interval, and uninstalled; 25 of them, or as many as `FLUX_BENCH_RELEASES` says.
//!
//! `FLUX_TEST_BINARIES` may name a folder with another helm-controller, such as upstream's, to measure that one.

mod figures;

use std::process::ExitCode;

use figures::{Span, Took, mebibytes, milliseconds, print, seconds};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{
    ArtifactServer, Failure, HELM_RELEASE, Namespace, OCI_REPOSITORY, Result, condition, is_ready,
};
use serde_json::{Value, json};

/// Runs of each release at its interval that are measured.
const RUNS: usize = 4;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let count = std::env::var("FLUX_BENCH_RELEASES");
    let count = count.map_or(Ok(25), |count| count.parse::<usize>())?;
    let cluster = figures::cluster().await?;
    let namespace = Namespace::create(&cluster, "releases").await?;
    let artifacts = ArtifactServer::start().await?;
    let helm = Controller::start("helm-controller", &namespace, Settings::default()).await?;
    let fleet = Releases {
        helm,
        artifacts,
        namespace,
        count,
    };
    memory(&fleet, "idle")?;

    let source = json!({"apiVersion": OCI_REPOSITORY.0, "kind": OCI_REPOSITORY.1, "metadata": {"name": "app"},
        "spec": {"interval": "1h", "url": "oci://127.0.0.1/app"}});
    fleet.namespace.apply(&source.to_string()).await?;
    fleet.publish("1.0.0").await?;
    let took = fleet.install().await?;
    fleet.show("install", &took, 100.0, 60.0);
    memory(&fleet, "after it")?;

    let span = fleet.start()?;
    fleet.publish("1.0.1").await?;
    fleet.released("1.0.1").await?;
    fleet.show("upgrade", &span.end(&fleet.helm)?, 82.0, 47.0);
    memory(&fleet, "after it")?;

    for which in ["unchanged", "unchanged again"] {
        fleet.show(which, &fleet.request(which).await?, 5.0, 6.0);
    }
    at_their_interval(&fleet).await?;
    memory(&fleet, "after it")?;

    let span = fleet.start()?;
    let api = fleet.namespace.api(HELM_RELEASE).await?;
    let all = kube::api::ListParams::default();
    // By one request, so that the benchmark's own are not what takes the time.
    api.delete_collection(&kube::api::DeleteParams::default(), &all)
        .await?;
    let gone = |objects: &[Value]| objects.is_empty().then_some(());
    let wait = fleet.namespace.wait_all(HELM_RELEASE, "are gone", gone);
    wait.await?;
    let took = span.end(&fleet.helm)?;
    print(&what(&fleet, "uninstall"), &seconds(took.wall), "");
    Releases::show_cost(&took, fleet.count, "");
    memory(&fleet, "at the end")
}

/// The HelmReleases of the benchmark and what makes them.
struct Releases {
    helm: Controller,
    artifacts: ArtifactServer,
    namespace: Namespace,
    count: usize,
}

fn name(number: usize) -> String {
    format!("app-{number:03}")
}

fn what(fleet: &Releases, step: &str) -> String {
    format!("{step} of {} HelmReleases of 4 objects", fleet.count)
}

/// Prints how much memory the controller has now, and had at most.
fn memory(fleet: &Releases, when: &str) -> Result {
    let figure = mebibytes(fleet.helm.resident_bytes()?);
    let peak = mebibytes(fleet.helm.peak_bytes()?);
    let beside = format!("peak {peak}; upstream 142 MiB for 100, target 60 MiB for 500");
    print(&format!("  memory {when}"), &figure, &beside);
    Ok(())
}

impl Releases {
    fn start(&self) -> Result<Span> {
        Span::start(&self.helm, &self.namespace)
    }

    /// Publishes the chart as this version.
    async fn publish(&self, version: &str) -> Result {
        let metadata = format!("apiVersion: v2\nname: app\nversion: {version}\n");
        let files = [
            ("app/Chart.yaml", &*metadata),
            ("app/values.yaml", "replicas: 0\n"),
            ("app/templates/_helpers.tpl", HELPERS),
            ("app/templates/account.yaml", ACCOUNT),
            ("app/templates/deployment.yaml", DEPLOYMENT),
            ("app/templates/service.yaml", SERVICE),
            ("app/templates/ingress.yaml", INGRESS),
        ];
        let mut artifact = self.artifacts.put(version, version, &files)?;
        let digest = artifact["digest"].as_str().unwrap_or_default();
        artifact["revision"] = format!("{version}@{digest}").into();
        let source = self.namespace.get(OCI_REPOSITORY, "app").await?;
        let generation = &source.unwrap_or_default()["metadata"]["generation"];
        let status = json!({"artifact": artifact, "observedGeneration": generation});
        self.namespace
            .set_status(OCI_REPOSITORY, "app", status)
            .await?;
        Ok(())
    }

    async fn install(&self) -> Result<Took> {
        let span = self.start()?;
        let releases = (0..self.count).map(|number| {
            let release = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1,
                "metadata": {"name": name(number)},
                "spec": {"interval": "1h", "chartRef": {"kind": "OCIRepository", "name": "app"},
                    "values": {"host": format!("{}.example.com", name(number))}}});
            release.to_string()
        });
        figures::apply_all(&self.namespace, releases).await?;
        self.released("1.0.0").await?;
        span.end(&self.helm)
    }

    /// Waits until all have released this version of the chart.
    async fn released(&self, version: &str) -> Result {
        let released = |object: &Value| {
            let newest = &object["status"]["history"][0]["chartVersion"];
            newest
                .as_str()
                .is_some_and(|newest| newest.starts_with(version))
        };
        self.all("have released the chart", released).await
    }

    /// Requests a reconcile of each, and waits for all.
    async fn request(&self, at: &str) -> Result<Took> {
        let span = self.start()?;
        let names = (0..self.count).map(name);
        figures::request_all(&self.namespace, HELM_RELEASE, names, at).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
        self.all("have handled the request", handled).await?;
        span.end(&self.helm)
    }

    async fn all(&self, goal: &str, done: impl Fn(&Value) -> bool) -> Result {
        let done = |object: &Value| {
            is_ready(object, "True") && condition(object, "Reconciling").is_none() && done(object)
        };
        let wait = self.namespace.wait_all(HELM_RELEASE, goal, |objects| {
            (objects.len() == self.count && objects.iter().all(done)).then_some(())
        });
        wait.await
    }

    /// How many runs there were.
    async fn runs(&self) -> Result<usize> {
        let page = self.helm.metrics().await?;
        let counts = page.lines().filter_map(|line| {
            let rest = line.strip_prefix("gotk_reconcile_duration_seconds_count{")?;
            rest.rsplit(' ').next()?.parse::<usize>().ok()
        });
        Ok(counts.sum())
    }

    /// Prints what a step took beside upstream's figures for a hundred.
    fn show(&self, step: &str, took: &Took, upstream_seconds: f64, upstream_requests: f64) {
        let time = upstream_seconds * self.count as f64 / 100.0;
        let beside = format!("upstream {time:.1} s, target a third");
        print(&what(self, step), &seconds(took.wall), &beside);
        let requests = format!("upstream {upstream_requests}, target half: ");
        Self::show_cost(took, self.count, &requests);
    }

    fn show_cost(took: &Took, runs: usize, beside: &str) {
        let each = took.cpu / u32::try_from(runs.max(1)).unwrap_or(u32::MAX);
        let target = "upstream 110 to 180 ms, target a fifth";
        print("  processor time of each", &milliseconds(each), target);
        if let Some(total) = took.request_count() {
            let each = format!("{:.1}", total as f64 / runs.max(1) as f64);
            let beside = format!("{beside}{}", took.breakdown());
            print("  API requests of each", &each, &beside);
        }
    }
}

/// The cost of runs at the interval that change nothing.
async fn at_their_interval(fleet: &Releases) -> Result {
    for number in 0..fleet.count {
        let patch = json!({"spec": {"interval": "3s"}});
        fleet
            .namespace
            .merge(HELM_RELEASE, &name(number), patch)
            .await?;
    }
    let observed =
        |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    fleet.all("have observed the interval", observed).await?;
    let another = async |more: usize| {
        let wanted = fleet.runs().await? + more * fleet.count;
        let poll = async {
            while fleet.runs().await? < wanted {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Ok::<_, Failure>(())
        };
        fleet
            .namespace
            .wait_for("runs at the interval", poll)
            .await?
    };
    another(1).await?;
    let (span, before) = (fleet.start()?, fleet.runs().await?);
    another(RUNS).await?;
    let runs = fleet.runs().await? - before;
    let took = span.end(&fleet.helm)?;
    print(&what(fleet, "runs at the interval"), &runs.to_string(), "");
    Releases::show_cost(&took, runs, "");
    let writes = took.requests.iter().flatten().filter(|request| {
        let reads = ["get", "list", "watch"].contains(&&*request.verb);
        // The lease is renewed whatever the releases do.
        !reads && request.resource != "leases"
    });
    print("  writes", &writes.count().to_string(), "target 0");
    Ok(())
}

const HELPERS: &str = r#"{{- define "app.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/name: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
"#;

const ACCOUNT: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
"#;

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ .Release.Name }}
  template:
    metadata:
      labels:
        {{- include "app.labels" . | nindent 8 }}
    spec:
      serviceAccountName: {{ .Release.Name }}
      containers:
      - name: app
        image: ghcr.io/stefanprodan/podinfo:{{ .Chart.Version }}
        ports:
        - {name: http, containerPort: 9898}
        resources:
          requests: {cpu: 100m, memory: 32Mi}
"#;

const SERVICE: &str = r#"apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  selector:
    app.kubernetes.io/name: {{ .Release.Name }}
  ports:
  - {name: http, port: 9898, targetPort: http}
"#;

const INGRESS: &str = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  rules:
  - host: {{ .Values.host }}
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: {{ .Release.Name }}, port: {name: http}}}
"#;
