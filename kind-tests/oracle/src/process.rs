//! The commands of the Go module: built once per content of their sources, and run.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::records::Fnv;

/// A running command.
#[derive(Debug)]
pub(crate) struct Process {
    binary: PathBuf,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Builds and starts the command.
    ///
    /// # Panics
    /// If Go is not installed, or the command does not build or start.
    pub(crate) fn start(command: &str) -> Process {
        let version = go_version().unwrap_or_else(|| {
            panic!("{command} has no record of this request, and there is no Go to ask")
        });
        Process::run(build(command, &version))
    }

    fn run(binary: PathBuf) -> Process {
        let mut child = Command::new(&binary)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Process {
            binary,
            child,
            requests,
            answers,
        }
    }

    /// Sends a line and returns the answer: empty if the program ended, which is then restarted.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        let requests = self.requests.as_mut().expect("the oracle listens");
        requests
            .write_all(format!("{question}\n").as_bytes())
            .and_then(|()| requests.flush())
            .expect("the oracle takes requests");
        let line = self.read();
        if line.is_empty() {
            let binary = self.binary.clone();
            *self = Process::run(binary);
        }
        line
    }

    /// Sends lines and returns their answers, writing and reading at the same time.
    pub(crate) fn ask_all(&mut self, questions: &[&str]) -> Vec<String> {
        let mut requests = self.requests.take().expect("the oracle listens");
        let mut answers = Vec::with_capacity(questions.len());
        requests = std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for question in questions {
                    requests
                        .write_all(format!("{question}\n").as_bytes())
                        .expect("the oracle takes requests");
                }
                requests.flush().expect("the oracle takes requests");
                requests
            });
            for question in questions {
                let line = self.read();
                assert!(!line.is_empty(), "the oracle ended at {question}");
                answers.push(line);
            }
            writer.join().expect("all requests are written")
        });
        self.requests = Some(requests);
        answers
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the oracle answers");
        line.truncate(line.trim_end().len());
        line
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing its input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// Whether Go is installed.
pub(crate) fn is_go_here() -> bool {
    go_version().is_some()
}

fn go_version() -> Option<String> {
    let output = Command::new("go").arg("version").output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The Go module.
pub(crate) fn module() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Go module of a command: its own or that of Helm's commands if it is there, since their libraries need versions
/// that the others cannot have.
pub(crate) fn module_of(command: &str) -> PathBuf {
    let folder = folder_of(command);
    let mut folders = folder.ancestors();
    let found = folders.find(|folder| folder.join("go.mod").exists());
    found.unwrap_or(module()).to_owned()
}

/// The folder with the sources of a command.
fn folder_of(command: &str) -> PathBuf {
    let of_helm = module().join("helm/cmd").join(command);
    if of_helm.is_dir() {
        of_helm
    } else {
        module().join("cmd").join(command)
    }
}

/// A file or folder of the build cache.
pub(crate) fn cache(name: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("FLUX_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| PathBuf::from(folder).join("flux-rs")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/flux-rs")))
        .expect("a cache folder: set FLUX_TEST_CACHE or HOME")
        .join(name)
}

/// A hash of everything that the answers of a command depend on: the required versions, the shared code and its own
/// sources.
///
/// # Panics
/// If the module has no such command.
pub(crate) fn fingerprint(command: &str) -> Fnv {
    let root = module();
    let mut files = vec![
        module_of(command).join("go.mod"),
        module_of(command).join("go.sum"),
    ];
    for folder in [root.join("serve"), folder_of(command)] {
        let entries = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("no command {command}: {}: {error}", folder.display()));
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    files.dedup();
    let mut hash = Fnv::default();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        hash.write(name.as_os_str().as_encoded_bytes());
        hash.write(&fs::read(&file).unwrap_or_default());
    }
    hash
}

fn build(command: &str, version: &str) -> PathBuf {
    let folder = cache("oracle");
    let mut hash = fingerprint(command);
    hash.write(version.as_bytes());
    let binary = folder.join(format!("{command}-{:016x}", hash.finish()));
    if binary.exists() {
        return binary;
    }
    fs::create_dir_all(&folder)
        .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    // If several tests need it, one builds it.
    let lock = fs::File::create(folder.join(format!(".{command}.lock")))
        .unwrap_or_else(|error| panic!("cannot lock {command}: {error}"));
    lock.lock()
        .unwrap_or_else(|error| panic!("cannot lock {command}: {error}"));
    if binary.exists() {
        return binary;
    }
    let aside = folder.join(format!(".{command}-{}", std::process::id()));
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&aside)
        .arg(folder_of(command))
        .current_dir(module_of(command))
        .output()
        .unwrap_or_else(|error| panic!("cannot run go: {error}"));
    assert!(
        output.status.success(),
        "go build ./cmd/{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&aside, &binary)
        .unwrap_or_else(|error| panic!("cannot keep {}: {error}", binary.display()));
    binary
}
