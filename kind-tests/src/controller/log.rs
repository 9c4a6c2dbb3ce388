//! What a controller logs.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::watch;

use crate::failure::{Doing as _, Failure, Result};
use crate::namespace::deadline;

/// A controller's error stream.
pub struct Log {
    lines: Mutex<Vec<String>>,
    /// A copy on disk, for the user.
    file: Mutex<Option<File>>,
    /// Whether a failure has already printed it.
    shown: AtomicBool,
    count: watch::Sender<usize>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            lines: Mutex::default(),
            file: Mutex::default(),
            shown: AtomicBool::new(false),
            count: watch::Sender::new(0),
        }
    }

    pub(super) fn add(&self, line: String) {
        if let Ok(mut lines) = self.lines.lock() {
            if let Ok(mut file) = self.file.lock()
                && let Some(file) = file.as_mut()
            {
                let _ = writeln!(file, "{line}");
            }
            lines.push(line);
        }
        self.count.send_modify(|count| *count += 1);
    }

    /// Writes the lines so far, and all that follow, to a file.
    pub(crate) fn copy_to(&self, path: &Path) -> Result {
        let doing = || format!("write {}", path.display());
        let mut copy = File::create(path).doing(doing())?;
        if let (Ok(lines), Ok(mut file)) = (self.lines.lock(), self.file.lock()) {
            for line in &*lines {
                writeln!(copy, "{line}").doing(doing())?;
            }
            *file = Some(copy);
        }
        Ok(())
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .map(|lines| lines.clone())
            .unwrap_or_default()
    }

    /// The lines that are JSON objects, parsed.
    pub fn entries(&self) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str::<Value>(line)
                .ok()
                .filter(Value::is_object)
        };
        self.lines().iter().filter_map(parse).collect()
    }

    /// The first line about a panic.
    pub fn panic(&self) -> Option<String> {
        self.lines()
            .into_iter()
            .find(|line| line.contains("panicked at"))
    }

    /// The part that a failed wait prints.
    pub(crate) fn show(&self) -> String {
        self.shown.store(true, Ordering::Relaxed);
        let panic = self
            .panic()
            .map(|line| format!("PANIC: {line}\n"))
            .unwrap_or_default();
        format!("{panic}{}", self.tail(40))
    }

    /// Whether a failure has already printed it.
    pub(super) fn is_shown(&self) -> bool {
        self.shown.load(Ordering::Relaxed)
    }

    /// The last lines, for the user.
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Waits for an entry that satisfies `wanted`, including past ones.
    pub async fn wait(&self, goal: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut changes = self.count.subscribe();
        let found = tokio::time::timeout(deadline(), async {
            loop {
                changes.borrow_and_update();
                if let Some(entry) = self.entries().into_iter().find(&wanted) {
                    return Ok::<_, Failure>(entry);
                }
                changes.changed().await?;
            }
        });
        match found.await {
            Ok(entry) => entry,
            Err(_) => Err(Failure::new(format!(
                "no log line {goal}; the last lines:\n{}",
                self.tail(40)
            ))),
        }
    }
}
