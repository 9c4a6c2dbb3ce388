//! The Go program that answers the same cases.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use flux_gotemplate::{Map, Value, json};

/// What a template came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Output(String),
    Error(String),
    /// Go's runtime gave up: a map that contains itself overflows its stack, other things take longer than ten seconds.
    Crash,
}

pub(crate) struct Oracle {
    program: PathBuf,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Oracle {
    /// Starts the program at `FLUX_GOTEMPLATE_ORACLE`, else one built from the module beside the workspace's crates.
    pub(crate) fn start() -> Option<Self> {
        let program = match std::env::var_os("FLUX_GOTEMPLATE_ORACLE") {
            Some(path) => PathBuf::from(path),
            None => build()?,
        };
        Self::start_program(program)
    }

    fn start_program(program: PathBuf) -> Option<Self> {
        let mut child = Command::new(&program)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let stdin = child.stdin.take()?;
        let stdout = BufReader::new(child.stdout.take()?);
        Some(Self {
            program,
            child,
            stdin,
            stdout,
        })
    }

    pub(crate) fn ask(&mut self, template: &str, values: &str, missing: &str) -> Answer {
        let query: Map = [
            ("template", Value::from(template)),
            ("missing", Value::from(missing)),
            (
                "values",
                json::unmarshal(values.as_bytes()).expect("values are JSON"),
            ),
        ]
        .into_iter()
        .collect();
        let mut line = json::marshal(&query.into()).expect("a query is JSON");
        line.push(b'\n');
        self.stdin.write_all(&line).expect("the oracle reads");
        self.stdin.flush().expect("the oracle reads");
        let mut answer = String::new();
        self.stdout
            .read_line(&mut answer)
            .expect("the oracle answers");
        if answer.is_empty() {
            *self = Self::start_program(self.program.clone()).expect("the oracle starts again");
            return Answer::Crash;
        }
        let answer = json::unmarshal(answer.as_bytes()).expect("the answer is JSON");
        let map = answer.as_map().expect("the answer is an object");
        let text = |key: &str| {
            let value = map.get(key.as_bytes());
            value.and_then(|v| v.as_str().map(|s| decode(s)))
        };
        match text("err") {
            Some(error) => Answer::Error(error),
            None => Answer::Output(text("out").unwrap_or_default()),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build() -> Option<PathBuf> {
    let module = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../kind-tests/oracle");
    if !module.join("go.mod").exists() {
        return None;
    }
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gotemplate-oracle");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&target)
        .arg("./cmd/gotemplate")
        .current_dir(&module)
        .status()
        .ok()?;
    built.success().then_some(target)
}

fn decode(text: &[u8]) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("the oracle writes base64");
    String::from_utf8_lossy(&bytes).into_owned()
}
