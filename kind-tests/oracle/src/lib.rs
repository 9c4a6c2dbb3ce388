//! Asks the real Go libraries what they do, so that tests can compare ours with them.
//!
//! The Go module in this folder has one command per engine (`cmd/yaml`, `cmd/kustomize`, ...), each answering JSON
//! requests line by line. [`Oracle::start`] builds a command once per content of the module, keeps the binary outside the
//! checkout (`$FLUX_TEST_CACHE`, else `$XDG_CACHE_HOME/flux-rs`, else `~/.cache/flux-rs`), and runs it.
//!
//! ```no_run
//! use oracle::{Answer, Oracle, base64};
//! use serde_json::json;
//!
//! let Some(mut go) = Oracle::start("yaml") else {
//!     return; // no Go here: one line said so
//! };
//! let request = json!({"mode": "sigs-to-json", "input": base64("a: yes")});
//! assert_eq!(go.ask(&request), Answer::Output(json!(r#"{"a":true}"#)));
//! ```
//!
//! To add an engine: a folder `cmd/<name>` with a `main` that hands its modes to `serve.Run`.
//!
//! It leaves to the tests what to ask and how to compare.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// A running command of the Go module.
#[derive(Debug)]
pub struct Oracle {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What the Go library did with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It gave this.
    Output(Value),
    /// It returned this error.
    Error(String),
    /// It panicked, which counts as a defect of its own.
    Panic(String),
}

impl Answer {
    /// The output as text, or the error's message.
    ///
    /// # Errors
    /// The library's error or panic.
    pub fn text(self) -> Result<String, String> {
        match self {
            Answer::Output(Value::String(text)) => Ok(text),
            Answer::Output(other) => Ok(other.to_string()),
            Answer::Error(message) => Err(message),
            Answer::Panic(message) => Err(format!("panic: {message}")),
        }
    }
}

/// A file or folder of `kind-tests/conformance`: inputs with the outputs that the real tools gave for them.
pub fn conformance(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let data = tests.unwrap_or(Path::new(".")).join("conformance");
    data.join(path)
}

impl Oracle {
    /// Builds and starts the command of this name. Where there is no Go, says so in one line and gives `None`.
    ///
    /// # Panics
    /// When Go is there and the command does not build or start: the tests could not say anything.
    pub fn start(command: &str) -> Option<Oracle> {
        let Some(version) = go_version() else {
            println!("skipped: no go, so nothing is compared with the real libraries");
            return None;
        };
        let binary = build(command, &version);
        let mut child = Command::new(&binary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Some(Oracle {
            child,
            requests,
            answers,
        })
    }

    /// Asks one question.
    ///
    /// # Panics
    /// When the command is gone.
    pub fn ask(&mut self, request: &Value) -> Answer {
        let mut line = request.to_string();
        line.push('\n');
        let requests = self.requests.as_mut().expect("the oracle listens");
        requests
            .write_all(line.as_bytes())
            .and_then(|()| requests.flush())
            .expect("the oracle takes requests");
        self.read()
    }

    /// Asks many questions, a batch at a time, which takes a fraction of the time of asking one by one.
    ///
    /// # Panics
    /// When the command is gone.
    pub fn ask_all(&mut self, questions: &[Value]) -> Vec<Answer> {
        let mut requests = self.requests.take().expect("the oracle listens");
        let mut answers = Vec::with_capacity(questions.len());
        requests = std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for question in questions {
                    let mut line = question.to_string();
                    line.push('\n');
                    requests
                        .write_all(line.as_bytes())
                        .expect("the oracle takes requests");
                }
                requests.flush().expect("the oracle takes requests");
                requests
            });
            for _ in questions {
                answers.push(self.read());
            }
            writer.join().expect("all requests are written")
        });
        self.requests = Some(requests);
        answers
    }

    fn read(&mut self) -> Answer {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the oracle answers");
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("not an answer: {error}: {line:?}"));
        if answer["failed"] != Value::Bool(true) {
            return Answer::Output(answer["output"].clone());
        }
        match (&answer["panic"], &answer["error"]) {
            (Value::String(message), _) => Answer::Panic(message.clone()),
            (_, error) => Answer::Error(error.as_str().unwrap_or_default().to_owned()),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// Bytes as the oracle's requests carry them.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Bytes as the oracle's answers carry them.
///
/// # Errors
/// The decoder's.
pub fn from_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64_STANDARD.decode(text)
}

/// How many random cases a differential test runs: `$FLUX_ORACLE_CASES`, else this many.
pub fn cases(default: usize) -> usize {
    std::env::var("FLUX_ORACLE_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(default)
}

/// Where a test's random numbers start: `$FLUX_ORACLE_SEED`, else always at the same place.
pub fn seed() -> u64 {
    std::env::var("FLUX_ORACLE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1)
}

fn go_version() -> Option<String> {
    let output = Command::new("go").arg("version").output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn module() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("FLUX_TEST_CACHE")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| PathBuf::from(folder).join("flux-rs")))
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache/flux-rs")))
        .expect("a cache folder: set FLUX_TEST_CACHE or HOME")
        .join("oracle")
}

/// Everything the binary depends on: Go, the versions it requires, the frame and its own sources.
fn fingerprint(command: &str, version: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    let root = module();
    let mut files = vec![root.join("go.mod"), root.join("go.sum")];
    for folder in [root.join("serve"), root.join("cmd").join(command)] {
        let entries = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("no command {command}: {}: {error}", folder.display()));
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    for file in files {
        file.strip_prefix(root).ok().hash(&mut hasher);
        fs::read(&file).ok().hash(&mut hasher);
    }
    hasher.finish()
}

fn build(command: &str, version: &str) -> PathBuf {
    let folder = cache();
    let binary = folder.join(format!("{command}-{:016x}", fingerprint(command, version)));
    if binary.exists() {
        return binary;
    }
    fs::create_dir_all(&folder)
        .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    // Several tests may build at once; the last to finish wins, with the same binary.
    let thread = std::thread::current().id();
    let aside = folder.join(format!(".{command}-{}-{thread:?}", std::process::id()));
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&aside)
        .arg(format!("./cmd/{command}"))
        .current_dir(module())
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
