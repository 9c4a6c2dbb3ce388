//! Runs the real Go libraries, or looks up their recorded answers, so that tests can compare our results with theirs.
//!
//! The Go module in this folder has one command per engine (`cmd/yaml`, `cmd/kustomize`, ...), which answers JSON
//! requests line by line. `records` has one file per command with its answers and the versions of its libraries, so an
//! ordinary run needs no Go. `$FLUX_ORACLE` selects the source of the answers:
//!
//! | value | answers |
//! |---|---|
//! | unset | the record of the request, else the real library |
//! | `ask` | always the real library; an answer that differs from its record fails the test |
//! | `write` | always the real library; `.ci/records` rewrites the records from these answers |
//!
//! A record always holds an answer of a real library. The records of a command are ignored if its sources or libraries
//! have changed since.
//!
//! ```no_run
//! use oracle::{Answer, Oracle, base64};
//! use serde_json::json;
//!
//! let Some(mut go) = Oracle::start("yaml") else {
//!     return; // neither records nor Go: a line about the skipped test was printed
//! };
//! let request = json!({"mode": "sigs-to-json", "input": base64("a: yes")});
//! assert_eq!(go.ask(&request), Answer::Output(json!(r#"{"a":true}"#)));
//! ```
//!
//! To add an engine, add a folder `cmd/<name>` with a `main` that passes its modes to `serve.Run`, or `helm/cmd/<name>` if it
//! asks Helm: these commands are a module of their own, with the versions that Helm needs.
//!
//! What to ask and how to compare is up to the tests.

mod process;
mod records;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use process::Process;
pub use records::write_records;
use records::{Records, Written, key};
use serde_json::Value;

/// A command of the Go module: what it answered before, and where that does not suffice the running program.
#[derive(Debug)]
pub struct Oracle {
    command: String,
    mode: Mode,
    records: Records,
    process: Option<Process>,
    written: Written,
}

/// Where answers come from: `$FLUX_ORACLE`, but for questions that are never asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Live,
    Records,
    Ask,
    Write,
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

    /// Parses a line of the protocol.
    fn parse(line: &str) -> Answer {
        assert!(!line.is_empty(), "the oracle ended without an answer");
        let answer: Value = serde_json::from_str(line)
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

/// A file or folder of `kind-tests/conformance`: inputs with the outputs that the real tools gave for them.
pub fn conformance(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let data = tests.unwrap_or(Path::new(".")).join("conformance");
    data.join(path)
}

impl Oracle {
    /// The command of this name. Without both records and Go, prints that the test is skipped and returns `None`.
    ///
    /// # Panics
    /// If `$FLUX_ORACLE` has a value that the crate's documentation does not list.
    pub fn start(command: &str) -> Option<Oracle> {
        let mode = match std::env::var("FLUX_ORACLE").as_deref() {
            Err(_) | Ok("") => Mode::Records,
            Ok("ask") => Mode::Ask,
            Ok("write") => Mode::Write,
            Ok(other) => panic!("FLUX_ORACLE={other}: neither ask nor write"),
        };
        let records = Records::read(command);
        if !process::is_go_here() && (mode != Mode::Records || records.is_empty()) {
            println!("skipped: no go, so nothing is compared with the real libraries");
            return None;
        }
        Some(Oracle {
            command: command.to_owned(),
            mode,
            records,
            process: None,
            written: Written::default(),
        })
    }

    /// Like [`start`](Self::start), but always the real library: for requests that never repeat, since they name a port.
    pub fn live(command: &str) -> Option<Oracle> {
        if !process::is_go_here() {
            println!("skipped: no go, so nothing is compared with the real libraries");
            return None;
        }
        Some(Oracle {
            command: command.to_owned(),
            mode: Mode::Live,
            records: Records::default(),
            process: None,
            written: Written::default(),
        })
    }

    /// Sends one request.
    ///
    /// # Panics
    /// If the request is not recorded and Go is not installed, or the command does not build or start; with
    /// `FLUX_ORACLE=ask` also if the answer differs from the record.
    pub fn ask(&mut self, request: &Value) -> Answer {
        let question = request.to_string();
        if self.mode == Mode::Records
            && let Some(line) = self.records.get(&question)
        {
            return Answer::parse(line);
        }
        let line = self.process().ask(&question);
        self.keep(&question, &line);
        Answer::parse(&line)
    }

    /// Sends a request in a protocol of the command's own: a line in, a line out. The answer is empty if the program ended
    /// (Go cannot recover from a stack overflow). Answers that are not `steady` (such as those with an address) are
    /// neither recorded nor compared with a record.
    ///
    /// # Panics
    /// As [`ask`](Self::ask).
    pub fn ask_line(&mut self, question: &str, steady: impl Fn(&str) -> bool) -> String {
        if self.mode == Mode::Records
            && let Some(line) = self.records.get(question)
        {
            return line.to_owned();
        }
        let line = self.process().ask(question);
        if steady(&line) {
            match (self.mode, self.records.get(question)) {
                (Mode::Ask, Some(record)) => assert_eq!(record, line, "{question}"),
                (Mode::Write, _) => self.written.push(key(question), &line),
                _ => {}
            }
        }
        line
    }

    /// Sends many requests in batches, which is much faster than one by one.
    ///
    /// # Panics
    /// As [`ask`](Self::ask).
    pub fn ask_all(&mut self, requests: &[Value]) -> Vec<Answer> {
        let questions: Vec<String> = requests.iter().map(Value::to_string).collect();
        let recorded = |question: &String| {
            let line = (self.mode == Mode::Records).then(|| self.records.get(question));
            line.flatten().map(str::to_owned)
        };
        let mut lines: Vec<Option<String>> = questions.iter().map(recorded).collect();
        let unknown: Vec<&str> = questions
            .iter()
            .zip(&lines)
            .filter(|(_, line)| line.is_none())
            .map(|(question, _)| question.as_str())
            .collect();
        if !unknown.is_empty() {
            let answered = self.process().ask_all(&unknown);
            for (question, line) in unknown.iter().zip(&answered) {
                self.keep(question, line);
            }
            let mut answered = answered.into_iter();
            for line in lines.iter_mut().filter(|line| line.is_none()) {
                *line = answered.next();
            }
        }
        let lines = lines.into_iter();
        lines
            .map(|line| Answer::parse(&line.unwrap_or_default()))
            .collect()
    }

    fn process(&mut self) -> &mut Process {
        self.process
            .get_or_insert_with(|| Process::start(&self.command))
    }

    /// Compares an answer of the real library with its record, or records it.
    fn keep(&mut self, question: &str, line: &str) {
        match self.mode {
            Mode::Live | Mode::Records => {}
            Mode::Ask => {
                if let Some(record) = self.records.get(question) {
                    assert_eq!(
                        Answer::parse(record),
                        Answer::parse(line),
                        "the record of {} no longer holds (record, then answer); .ci/records writes it anew: {question}",
                        self.command
                    );
                }
            }
            Mode::Write => self.written.push(key(question), line),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.written.flush(&self.command);
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

/// The number of random cases of a differential test: `$FLUX_ORACLE_CASES`, else `default`, or `$FLUX_ORACLE_TIMES` times
/// as many.
pub fn cases(default: usize) -> usize {
    number("FLUX_ORACLE_CASES")
        .unwrap_or_else(|| default * number("FLUX_ORACLE_TIMES").unwrap_or(1))
}

/// The first seed of a test's random numbers: `$FLUX_ORACLE_SEED`, else a fixed one, so that the records hold the
/// requests.
pub fn seed() -> u64 {
    number("FLUX_ORACLE_SEED").unwrap_or(1)
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}
