//! The log: one JSON object per line on stderr, with upstream's keys (RT-LOG rows).
//!
//! Fields of `tracing` events become keys. A field `logger` names the logger. Within a reconcile the span's fields are
//! added: `controller`, `controllerGroup`, `controllerKind`, the object under its kind, `namespace`, `name`,
//! `reconcileID`. A field `kv` whose value is the text of a JSON object is expanded into keys of the line, for keys
//! that are known only at run time.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// The encoding of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A JSON object.
    Json,
    /// Columns separated by tabs, for people.
    Console,
}

/// The layer that writes the log.
pub(crate) struct Log<W = fn(&[u8])> {
    encoding: Encoding,
    level: Level,
    /// Whether errors are logged with a stack trace, which depends on the level (RT-LOG-006).
    traces: bool,
    sampler: Option<Mutex<Sampler>>,
    write: W,
}

impl Log {
    /// The log on stderr at `--log-level` and `--log-encoding`; unknown values mean info and JSON (RT-LOG-014).
    pub(crate) fn to_stderr(level: &str, encoding: &str) -> Self {
        Self::new(level, encoding, |line| {
            // There is no place left to report that stderr is closed.
            let _ = std::io::stderr().lock().write_all(line);
        })
    }
}

impl<W: Fn(&[u8]) + 'static> Log<W> {
    fn new(level: &str, encoding: &str, write: W) -> Self {
        let (level, traces) = match level {
            "trace" => (Level::TRACE, true),
            "debug" => (Level::DEBUG, true),
            "info" => (Level::INFO, false),
            "error" => (Level::ERROR, false),
            _ => (Level::INFO, true),
        };
        Self {
            encoding: if encoding == "console" {
                Encoding::Console
            } else {
                Encoding::Json
            },
            level,
            traces,
            sampler: (level != Level::TRACE).then(Mutex::default),
            write,
        }
    }

    /// The layer with a filter before it, so that lines that are not logged cost nothing.
    pub(crate) fn filtered<S>(self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        W: Send + Sync,
    {
        let level = self.level;
        let hint = LevelFilter::from_level(level.max(Level::INFO)); // spans are at info
        let filter = filter_fn(move |metadata| {
            if metadata.is_span() {
                is_ours(metadata.target())
            } else {
                wants(level, metadata) && !shows_responses(metadata.target())
            }
        });
        self.with_filter(filter.with_max_level_hint(hint))
    }
}

fn wants(level: Level, metadata: &Metadata<'_>) -> bool {
    // Libraries log only problems (RT-LOG-013), controllers at the configured level.
    let limit = if is_ours(metadata.target()) {
        level
    } else {
        level.min(Level::WARN)
    };
    *metadata.level() <= limit
}

/// The filter of what is exported as traces: spans and log lines from info on. Libraries trace their own requests at finer
/// levels.
pub(crate) fn exported<S>() -> impl Filter<S> {
    let filter = filter_fn(|metadata| {
        *metadata.level() <= Level::INFO && !shows_responses(metadata.target())
    });
    filter.with_max_level_hint(LevelFilter::INFO)
}

/// Whether lines of this target may show a response of the API server. kube logs a refusal, and a response that it cannot
/// parse, as a whole, with the Secrets that it lists or the values that the refusal quotes. Its caller gets the error all the
/// same, so these lines say nothing more.
fn shows_responses(target: &str) -> bool {
    matches!(
        target,
        "kube_client::client" | "kube_client::client::builder"
    ) || target.starts_with("kube_runtime")
}

fn is_ours(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    root.starts_with("flux_") || root.ends_with("_controller") || root == "source_watcher"
}

/// The fields of a span or event, in order.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name.starts_with("otel.") {
            return;
        }
        if name == "kv"
            && let Some(Value::Object(spread)) = value
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
        {
            self.0.extend(spread);
            return;
        }
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        match self.0.remove(at).1 {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name)?.1.as_str()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::from(crate::outcome::chain(value)));
    }
}

impl<S, W> Layer<S> for Log<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&[u8]) + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_ours(attributes.metadata().target()) {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(kind), Some(name), Some(namespace)) = (
            fields.text("controllerKind"),
            fields.text("name"),
            fields.text("namespace"),
        ) {
            let object = (
                kind.to_owned(),
                serde_json::json!({"name": name, "namespace": namespace}),
            );
            let at = fields
                .0
                .iter()
                .position(|(name, _)| name == "controllerKind")
                .map_or(0, |at| at + 1);
            fields.0.insert(at, object); // RT-LOG-007
        }
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_default();
        let time = Timestamp::now();
        if let Some(sampler) = &self.sampler {
            let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
            if !sampler.admits(*metadata.level(), &message, time.as_second()) {
                return;
            }
        }
        let logger = fields
            .take("logger")
            .or_else(|| (!is_ours(metadata.target())).then(|| "runtime".to_owned())); // RT-LOG-016
        let mut all: Vec<(String, Value)> = Vec::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                all.extend(fields.0.iter().cloned());
            }
        }
        all.retain(|(name, _)| fields.0.iter().all(|(own, _)| own != name));
        all.extend(fields.0);
        if self.traces && *metadata.level() == Level::ERROR {
            all.push((
                "stacktrace".to_owned(),
                Value::from(std::backtrace::Backtrace::force_capture().to_string()),
            ));
        }
        let line = Line {
            level: *metadata.level(),
            time,
            logger: logger.as_deref(),
            message: &message,
            fields: &all,
        };
        (self.write)(line.encode(self.encoding).as_bytes());
    }
}

struct Line<'a> {
    level: Level,
    time: Timestamp,
    logger: Option<&'a str>,
    message: &'a str,
    fields: &'a [(String, Value)],
}

impl Line<'_> {
    fn encode(&self, encoding: Encoding) -> String {
        let level = match self.level {
            Level::ERROR => "error",
            Level::WARN | Level::INFO => "info", // upstream knows no warnings
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let time = self.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let mut line = String::with_capacity(256);
        match encoding {
            Encoding::Json => {
                line.push('{');
                put(&mut line, "level", &Value::from(level));
                put(&mut line, "ts", &Value::from(time));
                if let Some(logger) = self.logger {
                    put(&mut line, "logger", &Value::from(logger));
                }
                put(&mut line, "msg", &Value::from(self.message));
                for (name, value) in self.fields {
                    put(&mut line, name, value);
                }
                line.push('}');
            }
            Encoding::Console => {
                let _ = write!(line, "{time}\t{}\t", level.to_uppercase());
                if let Some(logger) = self.logger {
                    let _ = write!(line, "{logger}\t");
                }
                line.push_str(self.message);
                if !self.fields.is_empty() {
                    line.push_str("\t{");
                    for (name, value) in self.fields {
                        put(&mut line, name, value);
                    }
                    line.push('}');
                }
            }
        }
        line.push('\n');
        line
    }
}

fn put(line: &mut String, name: &str, value: &Value) {
    if !line.ends_with('{') {
        line.push(',');
    }
    let _ = write!(line, "{}:{value}", Value::from(name));
}

/// Lets through the first hundred lines with the same message in a second, then every hundredth (RT-LOG-015).
#[derive(Default)]
struct Sampler {
    second: i64,
    counts: HashMap<u64, u64>,
}

impl Sampler {
    const FIRST: u64 = 100;
    const THEN: u64 = 100;

    fn admits(&mut self, level: Level, message: &str, second: i64) -> bool {
        if second != self.second {
            self.second = second;
            self.counts.clear();
        }
        let mut hasher = DefaultHasher::new();
        (level.as_str(), message).hash(&mut hasher);
        let count = self.counts.entry(hasher.finish()).or_default();
        *count += 1;
        *count <= Self::FIRST || (*count - Self::FIRST).is_multiple_of(Self::THEN)
    }
}

#[cfg(test)]
pub(crate) mod tests;
