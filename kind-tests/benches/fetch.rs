//! `cargo bench -p kind-tests --bench fetch`: fetches a repository of 20,000 files, compared with `git clone --depth
//! 1`.

mod figures;

use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use figures::{Span, mebibytes, median, print, seconds};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{GIT_REPOSITORY, Namespace, Result, ensure};

const FILES: usize = 20_000;
const RUNS: usize = 3;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let git = git_servers::HttpGitServer::start();
    let repo = git_servers::Repo::init(git.root(), "big.git");
    let mut commit = repo.commit("main");
    for number in 0..FILES {
        commit = commit.file(
            &format!("dir-{:03}/file-{number:05}.yaml", number % 200),
            manifest(number),
        );
    }
    commit.create();
    repo.git(&["repack", "-adq"]);
    let url = git.url("big.git");

    let mut clones = Vec::new();
    for run in 0..RUNS {
        let folder = git.root().join(format!("clone-{run}"));
        let started = Instant::now();
        let clone = Command::new("git")
            .args(["clone", "-q", "--depth", "1", &url])
            .arg(&folder)
            .status()?;
        clones.push(started.elapsed());
        ensure!(clone.success(), "git clone failed");
        std::fs::remove_dir_all(folder)?;
    }
    let clone = median(clones);
    print(
        &format!("git clone --depth 1 of {FILES} files"),
        &seconds(clone),
        "",
    );

    let mut fetches = Vec::new();
    let mut peak = 0;
    let mut cpu = Duration::ZERO;
    for _ in 0..RUNS {
        let namespace = Namespace::create(&cluster, "fetch").await?;
        let controller =
            Controller::start("source-controller", &namespace, Settings::default()).await?;
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: big}}, \
             spec: {{url: '{url}', interval: 10m, timeout: 2m, ref: {{branch: main}}}}}}"
        );
        let span = Span::start(&controller, &namespace)?;
        namespace.apply(&yaml).await?;
        namespace.wait_ready(GIT_REPOSITORY, "big", "True").await?;
        let took = span.end(&controller)?;
        fetches.push(took.wall);
        cpu = took.cpu;
        peak = peak.max(controller.peak_bytes()?);
    }
    let fetch = median(fetches);
    let ratio = fetch.as_secs_f64() / clone.as_secs_f64();
    let beside = format!("{ratio:.2} times git's, target 1.5; upstream 7.5 s");
    print(
        "GitRepository to Ready: fetched, packed, served",
        &seconds(fetch),
        &beside,
    );
    print(
        "  processor time of source-controller",
        &seconds(cpu),
        "upstream 6.1 s",
    );
    print(
        "  peak memory of source-controller",
        &mebibytes(peak),
        "target 100 MiB, upstream 195 MiB",
    );
    Ok(())
}

/// About two kilobytes, unique per file and as compressible as manifests.
fn manifest(number: usize) -> String {
    let mut text =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-{number}\ndata:\n");
    let mut state = number as u64 + 1;
    for line in 0..40 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = writeln!(text, "  key-{line:02}: value-{state:016x}-of-some-length");
    }
    text
}
