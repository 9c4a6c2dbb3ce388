//! Fetches a repository of 20,000 files over HTTP and compares it with `git clone --depth 1`: wall time and peak memory
//! of each.
//!
//! `cargo run --release -p flux-git --example fetch_20000`

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flux_git::{AuthOptions, FetchOptions, Fetched, GitUrl, Reference, Remote, RemoteOptions};
use git_servers::{HttpGitServer, Repo};

const FILES: usize = 20_000;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, url] = &arguments[..] {
        return child(mode, url);
    }
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    let mut commit = repo.commit("main");
    for number in 0..FILES {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-{number}\ndata:\n  key: {}\n",
            "value ".repeat(number % 300)
        );
        commit = commit.file(
            &format!(
                "apps/{}/{}/config-{number}.yaml",
                number / 1000,
                number / 50
            ),
            text,
        );
    }
    commit.create();
    let url = server.url("app.git");
    let program = std::env::current_exe()?;
    let mut git_wall = Duration::ZERO;
    for what in ["git clone", "fetch and read", "fetch and checkout"] {
        let (mut wall, mut peak) = (Duration::MAX, 0);
        for _ in 0..ROUNDS {
            let folder = tempfile::TempDir::new()?;
            let mut command = if what == "git clone" {
                let mut command = Command::new("git");
                command
                    .args(["clone", "-q", "--depth", "1", &url])
                    .arg(folder.path().join("clone"));
                command.env("GIT_CONFIG_GLOBAL", "/dev/null");
                command
            } else {
                let mut command = Command::new(&program);
                command.args([what, &url]).env("TMPDIR", folder.path());
                command
            };
            let (took, memory) = measure(&mut command)?;
            wall = wall.min(took);
            peak = peak.max(memory);
        }
        if what == "git clone" {
            git_wall = wall;
        }
        println!(
            "{what:20} {:6.2} s  {:5.2} times git's  peak {:4} MiB",
            wall.as_secs_f64(),
            wall.as_secs_f64() / git_wall.as_secs_f64(),
            peak / 1024
        );
    }
    Ok(())
}

/// Runs a program; returns its wall time, and the highest sampled memory (KiB) of it and its children.
fn measure(command: &mut Command) -> Result<(Duration, u64), Box<dyn Error>> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            assert!(status.success(), "{command:?}");
            return Ok((begun.elapsed(), peak));
        }
        peak = peak.max(resident(child.id()));
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Resident memory of a process and its descendants, in KiB.
fn resident(pid: u32) -> u64 {
    let folder = format!("/proc/{pid}");
    let status = std::fs::read_to_string(Path::new(&folder).join("status")).unwrap_or_default();
    let own = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    let children =
        std::fs::read_to_string(format!("{folder}/task/{pid}/children")).unwrap_or_default();
    own.unwrap_or(0)
        + children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .map(resident)
            .sum::<u64>()
}

fn child(mode: &str, url: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let url = GitUrl::parse(url)?;
        let remote = Remote::new(
            url.clone(),
            AuthOptions::new(&url, None)?,
            RemoteOptions::default(),
        )?;
        let main = Reference {
            branch: Some("main".to_owned()),
            ..Reference::default()
        };
        let Fetched::Snapshot(snapshot) = remote
            .fetch(&main, &FetchOptions::default(), Duration::from_mins(10))
            .await?
        else {
            return Err("nothing was fetched".into());
        };
        if mode == "fetch and checkout" {
            let folder = tempfile::TempDir::new()?;
            snapshot.checkout(folder.path())?;
            // The files stay, as git's do: removing them is not part of the measurement.
            let _ = folder.keep();
            return Ok(());
        }
        let reader = snapshot.reader()?;
        let mut bytes = 0;
        for entry in snapshot.entries() {
            bytes += reader.read(entry)?.len();
        }
        assert!(snapshot.entries().len() == FILES && bytes > FILES);
        Ok(())
    })
}
