//! The programs of a cluster, run by `kube supervise` (see `kind-tests/kube/supervise.go`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::failure::{Doing, Failure, Result};

/// The programs to run, in the supervisor's input format.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    /// The programs, in start order.
    pub programs: Vec<Program>,
    /// Stop everything when the process that started the supervisor has exited.
    pub end_with_stdin: bool,
    /// Stop everything when this file has not been written to for `idle_seconds`.
    pub idle_file: Option<PathBuf>,
    /// See `idle_file`.
    pub idle_seconds: u64,
}

/// One program of a [`Plan`].
#[derive(Default, Serialize)]
pub(crate) struct Program {
    /// Its name, which for an empty `path` also selects it in the multi-call binary.
    pub name: String,
    /// The executable, if it is not the multi-call binary.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Additional environment variables, `NAME=value`.
    pub env: Vec<String>,
    /// The log of both its output streams.
    pub log: PathBuf,
    /// A URL that must respond with 200 before it is started.
    pub after: String,
    /// Whether it is terminated gracefully instead of killed.
    pub graceful: bool,
}

/// A supervisor that ends with this process.
pub(crate) struct Owned(Child);

impl Owned {
    /// Stops the programs and waits for their exit.
    pub(crate) fn end(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the plan's programs; they are stopped when the returned value is dropped, or with this process.
pub(crate) fn start_owned(kube: &Path, folder: &Path, mut plan: Plan) -> Result<Owned> {
    plan.end_with_stdin = true;
    Ok(Owned(
        command(kube, folder, &plan)?
            .stdin(Stdio::piped())
            .spawn()
            .doing("start the supervisor")?,
    ))
}

/// Starts the plan's programs for other processes to use as well; returns the supervisor's process id.
pub(crate) fn start_detached(kube: &Path, folder: &Path, plan: &Plan) -> Result<i32> {
    let mut command = command(kube, folder, plan)?;
    command.stdin(Stdio::null());
    // A new session would need unsafe code here; an intermediate shell has the same effect and leaves no child to reap.
    let mut child = Command::new("setsid")
        .arg("--fork")
        .arg(kube)
        .args(command.get_args())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log(folder)?)
        .spawn()
        .doing("run setsid (Debian package util-linux)")?;
    child.wait()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(pid) = find(folder)? {
            return Ok(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failure::new(format!(
        "the supervisor of {} did not start, see supervise.log there",
        folder.display()
    )))
}

/// Whether this process is the supervisor of `folder`.
pub(crate) fn runs(pid: i32, folder: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        let mut words = line.split(|byte| *byte == 0);
        words.any(|word| word == b"supervise")
            && words.any(|word| word == plan_file(folder).as_os_str().as_encoded_bytes())
    })
}

/// Stops the supervisor and waits for its exit.
pub(crate) fn end_detached(pid: i32, folder: &Path) -> Result {
    if !runs(pid, folder) {
        return Ok(());
    }
    if let Some(process) = Pid::from_raw(pid) {
        kill_process(process, Signal::TERM).doing(format!("end process {pid}"))?;
    }
    let deadline = Instant::now() + Duration::from_mins(1);
    while runs(pid, folder) {
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "process {pid} does not exit, see {}/supervise.log",
                folder.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn find(folder: &Path) -> Result<Option<i32>> {
    for entry in fs::read_dir("/proc")? {
        let pid = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid.filter(|pid| runs(*pid, folder)) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn plan_file(folder: &Path) -> PathBuf {
    folder.join("plan.json")
}

fn log(folder: &Path) -> Result<File> {
    File::create(folder.join("supervise.log")).doing("create supervise.log")
}

fn command(kube: &Path, folder: &Path, plan: &Plan) -> Result<Command> {
    fs::write(plan_file(folder), serde_json::to_vec_pretty(plan)?).doing("write plan.json")?;
    let mut command = Command::new(kube);
    command
        .arg("supervise")
        .arg(plan_file(folder))
        .current_dir(folder);
    command.stdout(Stdio::null()).stderr(log(folder)?);
    Ok(command)
}
