//! Runs the real Go libraries, so that tests can compare our results with theirs.
//!
//! The Go module in this folder has one command per engine (`cmd/yaml`, `cmd/kustomize`, ...), which answers JSON
//! requests line by line. [`Oracle::start`] builds a command once per content of the module, keeps the binary outside
//! of the checkout (`$FLUX_TEST_CACHE`, else `$XDG_CACHE_HOME/flux-rs`, else `~/.cache/flux-rs`), and runs it.
//!
//! ```no_run
//! use oracle::{Answer, Oracle, base64};
//! use serde_json::json;
//!
//! let Some(mut go) = Oracle::start("yaml") else {
//!     return; // no Go: a line about the skipped test was printed
//! };
//! let request = json!({"mode": "sigs-to-json", "input": base64("a: yes")});
//! assert_eq!(go.ask(&request), Answer::Output(json!(r#"{"a":true}"#)));
//! ```
//!
//! To add an engine, add a folder `cmd/<name>` with a `main` that passes its modes to `serve.Run`.
//!
//! What to ask and how to compare is up to the tests.

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

/// The Go library's response to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The result.
    Output(Value),
    /// The returned error.
    Error(String),
    /// It panicked, which is a defect in itself.
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

/// A file or folder of `kind-tests/conformance`: inputs with the outputs of the real tools.
pub fn conformance(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let data = tests.unwrap_or(Path::new(".")).join("conformance");
    data.join(path)
}

impl Oracle {
    /// Builds and starts the command of this name. Without Go, prints that the test is skipped and returns `None`.
    ///
    /// # Panics
    /// If Go is installed but the command does not build or start.
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

    /// Sends one request.
    ///
    /// # Panics
    /// If the command has exited.
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

    /// Sends many requests in batches, which is much faster than one by one.
    ///
    /// # Panics
    /// If the command has exited.
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
        // Closing its input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// Bytes encoded as in the oracle's requests.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Bytes decoded as in the oracle's responses.
///
/// # Errors
/// The decoder's.
pub fn from_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64_STANDARD.decode(text)
}

/// The number of random cases of a differential test: `$FLUX_ORACLE_CASES`, else `default`.
pub fn cases(default: usize) -> usize {
    std::env::var("FLUX_ORACLE_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(default)
}

/// The first seed of a test's random numbers: `$FLUX_ORACLE_SEED`, else a fixed one.
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

/// Everything that the binary depends on: Go, the required versions, the shared code and its own sources.
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
