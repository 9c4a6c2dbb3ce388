//! `cargo bench -p kind-tests --bench index`: Helm repositories with an index of 20, 30 and 49 MiB (50 is the limit), as the
//! largest public ones have. Each is fetched by a HelmRepository and read for a HelmChart, beside `helm repo add` and
//! `helm pull`.

mod figures;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use figures::{Span, mebibytes, print, seconds};
use git_servers::HttpGitServer;
use kind_tests::controller::{Controller, Settings};
use kind_tests::helm_cli::{self, Helm};
use kind_tests::{Cluster, Failure, HELM_CHART, HELM_REPOSITORY, Namespace, Result};
use registries::tar_gz;
use serde_json::json;

/// The sizes of the indexes in MiB.
const SIZES: [usize; 3] = [20, 30, 49];
/// The versions of each chart.
const VERSIONS: usize = 200;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let helm = tokio::task::spawn_blocking(|| helm_cli::program(Helm::V4)).await??;
    for size in SIZES {
        one(&cluster, &helm, size).await?;
    }
    Ok(())
}

async fn one(cluster: &Cluster, helm: &Path, size: usize) -> Result {
    let server = HttpGitServer::builder().files("/charts").start();
    let text = index(size << 20);
    std::fs::write(server.root().join("index.yaml"), text)?;
    let manifest = "apiVersion: v2\nname: chart-000\nversion: 1.0.0\n";
    let chart = tar_gz(&[("chart-000/Chart.yaml", manifest)]);
    std::fs::write(server.root().join("chart-000-1.0.0.tgz"), chart)?;
    let url = server.url("charts");

    let home = tempfile::tempdir()?;
    let add = ["repo", "add", "charts", &url];
    let by_helm = tokio::task::block_in_place(|| run(helm, home.path(), &add))?;
    by_helm.show(&format!("helm repo add, an index of {size} MiB"));
    let pull = ["pull", "charts/chart-000", "--version=1.0.0"];
    tokio::task::block_in_place(|| run(helm, home.path(), &pull))?.show("helm pull from it");

    let namespace = Namespace::create(cluster, "index").await?;
    let controller =
        Controller::start("source-controller", &namespace, Settings::default()).await?;
    let span = Span::start(&controller, &namespace)?;
    let repository = json!({"apiVersion": HELM_REPOSITORY.0, "kind": HELM_REPOSITORY.1,
        "metadata": {"name": "charts"}, "spec": {"url": url, "interval": "1h"}});
    namespace.apply(&repository.to_string()).await?;
    namespace
        .wait_ready(HELM_REPOSITORY, "charts", "True")
        .await?;
    let took = span.end(&controller)?;
    let times = took.wall.as_secs_f64() / by_helm.wall.as_secs_f64();
    print(
        "HelmRepository to Ready",
        &seconds(took.wall),
        &format!("{times:.2} times Helm's"),
    );
    print("  processor time", &seconds(took.cpu), "");
    let span = Span::start(&controller, &namespace)?;
    let chart = json!({"apiVersion": HELM_CHART.0, "kind": HELM_CHART.1, "metadata": {"name": "chart"},
        "spec": {"chart": "chart-000", "version": "1.0.0", "interval": "1h",
            "sourceRef": {"kind": "HelmRepository", "name": "charts"}}});
    namespace.apply(&chart.to_string()).await?;
    namespace.wait_ready(HELM_CHART, "chart", "True").await?;
    let took = span.end(&controller)?;
    print("HelmChart to Ready", &seconds(took.wall), "");
    print("  processor time", &seconds(took.cpu), "");
    let peak = controller.peak_bytes()?;
    let share = peak as f64 / by_helm.peak as f64;
    print(
        "  peak memory of source-controller",
        &mebibytes(peak),
        &format!("{share:.2} times Helm's"),
    );
    Ok(())
}

/// An index of about this many bytes, with the fields that public ones have.
fn index(bytes: usize) -> String {
    let mut text = "apiVersion: v1\nentries:\n".to_owned();
    let mut chart = 0;
    while text.len() < bytes {
        let _ = writeln!(text, "  chart-{chart:03}:");
        for version in (0..VERSIONS).rev() {
            // The one that is downloaded has none, which is checked otherwise.
            let digest = match (chart, version) {
                (0, 0) => String::new(),
                _ => format!("    digest: ab{:062x}\n", chart * VERSIONS + version),
            };
            let _ = write!(
                text,
                "  - annotations:\n      category: Database\n      images: |\n        - name: server\n          image: docker.io/org/server:{version}\n        - name: exporter\n          image: docker.io/org/exporter:{version}\n      licenses: Apache-2.0\n    apiVersion: v2\n    appVersion: 8.0.{version}\n    created: \"2026-01-02T03:04:05.678901234Z\"\n    dependencies:\n    - name: common\n      repository: oci://registry.example.com/charts\n      tags:\n      - common\n      version: 2.x.x\n    description: A database for this and that, packaged with all that it needs to run.\n{digest}    home: https://example.com\n    icon: https://example.com/icon.svg\n    keywords:\n    - database\n    - sql\n    maintainers:\n    - name: Example, Inc.\n      url: https://github.com/example/charts\n    name: chart-{chart:03}\n    sources:\n    - https://github.com/example/charts/tree/main/chart-{chart:03}\n    urls:\n    - chart-{chart:03}-1.0.{version}.tgz\n    version: 1.0.{version}\n"
            );
        }
        chart += 1;
    }
    text
}

/// What a run of `helm` took.
struct ByHelm {
    wall: Duration,
    /// As last seen before its end.
    cpu: Duration,
    peak: u64,
}

impl ByHelm {
    fn show(&self, what: &str) {
        print(what, &seconds(self.wall), "");
        print("  processor time", &seconds(self.cpu), "");
        print("  peak memory of helm", &mebibytes(self.peak), "");
    }
}

/// Runs `helm`, and looks at it until it ends.
fn run(helm: &Path, home: &Path, arguments: &[&str]) -> Result<ByHelm> {
    let started = Instant::now();
    let mut child = Command::new(helm)
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .stdout(Stdio::null())
        .spawn()?;
    let (mut cpu, mut peak) = (Duration::ZERO, 0);
    loop {
        if let Ok(seen) = kind_tests::controller::cpu(child.id()) {
            cpu = seen;
        }
        if let Ok(seen) = kind_tests::controller::memory(child.id(), "VmHWM:") {
            peak = seen;
        }
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                return Err(Failure::new(format!("helm {arguments:?}: {status}")));
            }
            let wall = started.elapsed();
            return Ok(ByHelm { wall, cpu, peak });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
