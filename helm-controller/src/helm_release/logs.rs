//! The last lines that Helm would log during an action, for the events of failures (HC-EVT-011).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_release::{HelmLog, LogLevel};
use jiff::Timestamp;
use serde_json::{Map, Value};

/// How many lines are kept.
const LINES: usize = 10;

/// The last lines of one action. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Logs(Arc<Mutex<VecDeque<Line>>>);

/// A line, and how often it was repeated immediately.
struct Line {
    text: String,
    first: Timestamp,
    last: Timestamp,
    repeats: u64,
}

impl Logs {
    fn lines(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, text: String, now: Timestamp) {
        let mut lines = self.lines();
        if let Some(last) = lines.back_mut().filter(|last| last.text == text) {
            last.repeats += 1;
            last.last = now;
            return;
        }
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(Line {
            text,
            first: now,
            last: now,
            repeats: 0,
        });
    }

    /// The message with the lines behind it, if there are any.
    pub(super) fn behind(&self, message: &str) -> String {
        let lines = self.lines();
        if lines.is_empty() {
            return message.to_owned();
        }
        let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
        format!("{message}\n\nLast Helm logs:\n\n{}", lines.join("\n"))
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.first, self.text)?;
        if self.repeats > 0 {
            write!(f, "\n{}: {}", self.last, self.text)?;
        }
        match self.repeats {
            0 | 1 => Ok(()),
            2 => f.write_str(" (1 duplicate line omitted)"),
            repeats => write!(f, " ({} duplicate lines omitted)", repeats - 1),
        }
    }
}

impl HelmLog for Logs {
    fn line(&self, level: LogLevel, message: &str, attributes: &[(&str, Value)]) {
        let prefix = match level {
            LogLevel::Warn => "warning: ",
            LogLevel::Debug => "",
        };
        let attributes: Map<String, Value> = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let attributes = Value::Object(attributes);
        tracing::debug!(kv = attributes.to_string(), "{prefix}{message}");
        self.add(format!("{prefix}{message}: {attributes}"), Timestamp::now());
    }
}

#[cfg(test)]
mod tests;
