//! The measurements of the benchmarks, and how they print them.

// Each benchmark is a separate program and uses only part of this.
#![allow(dead_code, unreachable_pub)]

use std::time::{Duration, Instant};

use futures::{TryStreamExt as _, stream};
use kind_tests::controller::Controller;
use kind_tests::requests::{Counter, Request};
use kind_tests::{Cluster, Flux, KUSTOMIZATION, Kind, Namespace, Result, is_ready};
use serde_json::{Value, json};

/// Runs a benchmark, or prints why it could not run.
pub fn main(bench: impl Future<Output = Result>) -> std::process::ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime
        .map_err(kind_tests::Failure::from)
        .and_then(|runtime| runtime.block_on(bench))
    {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// `FLUX_BENCH_SCALE`: by how much a benchmark that can be made smaller is made smaller; 1 by default.
pub fn scale() -> usize {
    let text = std::env::var("FLUX_BENCH_SCALE").unwrap_or_default();
    text.parse().unwrap_or(1).max(1)
}

/// Measures time, processor time and API requests of a controller between two moments.
pub struct Span {
    started: Instant,
    cpu: Duration,
    counter: Option<Counter>,
}

/// The measurements of a [`Span`].
pub struct Took {
    pub wall: Duration,
    pub cpu: Duration,
    /// `None` if the cluster's requests cannot be counted.
    pub requests: Option<Vec<Request>>,
}

impl Span {
    pub fn start(controller: &Controller, namespace: &Namespace) -> Result<Self> {
        let cluster = namespace.cluster();
        let counter = cluster
            .audit_log()
            .map(|_| Counter::start(cluster, controller.user()))
            .transpose()?;
        Ok(Self {
            started: Instant::now(),
            cpu: controller.cpu()?,
            counter,
        })
    }

    pub fn end(self, controller: &Controller) -> Result<Took> {
        let wall = self.started.elapsed();
        let cpu = controller.cpu()?.saturating_sub(self.cpu);
        let requests = self.counter.map(|counter| counter.requests()).transpose()?;
        Ok(Took {
            wall,
            cpu,
            requests,
        })
    }
}

impl Took {
    /// The number of requests: the sum of the [`breakdown`](Self::breakdown).
    pub fn request_count(&self) -> Option<usize> {
        self.requests.as_ref().map(Vec::len)
    }

    /// The number of requests by verb and resource, the most frequent first.
    pub fn breakdown(&self) -> String {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for request in self.requests.iter().flatten() {
            let dry_run = if request.uri.contains("dryRun=All") {
                " (dry run)"
            } else {
                ""
            };
            let name = format!("{} {}{dry_run}", request.verb, request.resource);
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let parts: Vec<String> = counts
            .into_iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        parts.join(", ")
    }
}

/// Prints a figure next to its target or upstream's.
pub fn print(what: &str, figure: &str, beside: &str) {
    println!("{what:<58} {figure:>14}   {beside}");
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

pub fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

/// The median.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The shared cluster; prints a line about the machine.
pub async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::shared().await?;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!(
        "on {cores} cores, {}, {}",
        cluster.describe(),
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
    );
    Ok(cluster)
}

/// The connections over which a benchmark makes its own changes, so that it is not what takes the time.
const CONNECTIONS: usize = 4;

/// Applies all these objects.
pub async fn apply_all(namespace: &Namespace, manifests: impl Iterator<Item = String>) -> Result {
    stream::iter(manifests.map(Ok))
        .try_for_each_concurrent(CONNECTIONS, async |manifest| {
            namespace.apply(&manifest).await.map(drop)
        })
        .await
}

/// Requests a reconcile of all objects of these names.
pub async fn request_all(
    namespace: &Namespace,
    kind: Kind,
    names: impl Iterator<Item = String>,
    at: &str,
) -> Result {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": at}}});
    stream::iter(names.map(Ok))
        .try_for_each_concurrent(CONNECTIONS, async |name| {
            namespace.merge(kind, &name, patch.clone()).await.map(drop)
        })
        .await
}

/// The Kustomizations of a benchmark, each of a folder that has its name.
pub struct Kustomizations<'f> {
    pub flux: &'f Flux,
    pub count: usize,
    /// What they are of, for the figures.
    pub of: String,
}

impl Kustomizations<'_> {
    /// The name of one, and of its folder.
    pub fn name(number: usize) -> String {
        format!("app-{number:03}")
    }

    /// Creates them with these additional lines of their specs, and waits until they have applied `revision`.
    pub async fn install(&self, revision: &str, lines: &[&str]) -> Result<Took> {
        let span = self.start()?;
        let manifests = (0..self.count).map(|number| {
            let path = format!("path: ./{}", Self::name(number));
            let lines: Vec<&str> = std::iter::once(path.as_str())
                .chain(lines.iter().copied())
                .collect();
            self.flux.kustomization(&Self::name(number), &lines)
        });
        apply_all(&self.flux.namespace, manifests).await?;
        self.applied(revision).await?;
        span.end(&self.flux.kustomize)
    }

    /// Waits until all have applied `revision`.
    pub async fn applied(&self, revision: &str) -> Result {
        let applied = |object: &Value| object["status"]["lastAppliedRevision"] == revision;
        self.all("have applied the revision", applied).await
    }

    /// Requests a reconcile of each, and waits for all.
    pub async fn request(&self, at: &str) -> Result<Took> {
        let span = self.start()?;
        let names = (0..self.count).map(Self::name);
        request_all(&self.flux.namespace, KUSTOMIZATION, names, at).await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
        self.all("have handled the request", handled).await?;
        span.end(&self.flux.kustomize)
    }

    /// Begins to measure kustomize-controller.
    pub fn start(&self) -> Result<Span> {
        Span::start(&self.flux.kustomize, &self.flux.namespace)
    }

    async fn all(&self, goal: &str, done: impl Fn(&Value) -> bool) -> Result {
        let done = |object: &Value| is_ready(object, "True") && done(object);
        self.flux
            .namespace
            .wait_all(KUSTOMIZATION, goal, |objects| {
                (objects.len() == self.count && objects.iter().all(done)).then_some(())
            })
            .await
    }

    /// Prints what one step took; `beside` has what stands beside time, processor time and requests.
    pub fn show(&self, what: &str, took: &Took, beside: [&str; 3]) {
        let Self { count, of, .. } = self;
        let [wall, cpu, requests] = beside;
        print(
            &format!("{what} of {count} Kustomizations {of}"),
            &seconds(took.wall),
            wall,
        );
        print("  processor time", &seconds(took.cpu), cpu);
        if let Some(total) = took.request_count() {
            let each = format!("{:.1}", total as f64 / *count as f64);
            let beside = format!("{requests}{}", took.breakdown());
            print("  API requests per Kustomization", &each, &beside);
        }
    }
}
