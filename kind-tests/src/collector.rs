//! A real OpenTelemetry collector on loopback, built from the Go module in `kind-tests/collector`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cache::{self, Fingerprint};
use crate::cluster::free_ports;
use crate::failure::{Doing, Failure, Result};
use crate::go_program::go_command;
use crate::namespace::deadline;

/// A span with what encloses it, in the JSON form of OTLP.
#[derive(Clone, Debug)]
pub struct Span {
    /// The attributes of its resource, by their names.
    pub resource: Value,
    /// The name of its scope.
    pub scope: String,
    /// Its own attributes, by their names.
    pub attributes: Value,
    /// The span as it was received.
    pub span: Value,
}

/// A running collector; stopped on drop.
pub struct Collector {
    child: Child,
    http: u16,
    grpc: u16,
    spans: Arc<Mutex<Vec<Span>>>,
    count: watch::Receiver<usize>,
}

impl Collector {
    /// The program, built if it is not cached (two minutes of a processor).
    ///
    /// # Errors
    /// If it does not build.
    pub fn build() -> Result<PathBuf> {
        let module = cache::workspace().join("kind-tests/collector");
        let go = go_command(&module, &["env", "GOVERSION", "GOARCH"], false)?;
        let key = Fingerprint::default()
            .with(go)
            .with_files(&module, |_| true)?
            .key();
        let folder = cache::folder_of(&cache::folder()?.join("collector"), &key, |folder| {
            build_into(&module, &folder.join("collector"))
        })?;
        Ok(folder.join("collector"))
    }

    /// Starts one that receives OTLP over HTTP and gRPC.
    ///
    /// # Errors
    /// If it does not build or start.
    pub async fn start() -> Result<Self> {
        let program = tokio::task::spawn_blocking(Self::build).await??;
        let [http, grpc] = free_ports()?;
        let settings = json!({
            "receivers": {"otlp": {"protocols": {
                "http": {"endpoint": format!("127.0.0.1:{http}")},
                "grpc": {"endpoint": format!("127.0.0.1:{grpc}")},
            }}},
            "exporters": {"lines": {}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["lines"]}},
            },
        });
        let mut child = Command::new(program)
            .arg(format!("--config=yaml:{settings}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .doing("start the collector")?;
        let output = child.stdout.take();
        let output = output.ok_or_else(|| Failure::new("the collector has no output"))?;
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let (counted, count) = watch::channel(0);
        let seen = spans.clone();
        // It ends with the process, which closes its output.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let request: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Ok(mut seen) = seen.lock() {
                    seen.extend(spans_of(&request));
                }
                counted.send_modify(|count| *count += 1);
            }
        });
        let mut collector = Self {
            child,
            http,
            grpc,
            spans,
            count,
        };
        collector.ready().await?;
        Ok(collector)
    }

    async fn ready(&mut self) -> Result {
        let listens = async {
            for port in [self.http, self.grpc] {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(Failure::new(format!("the collector exited with {status}")));
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Ok(())
        };
        let listens = tokio::time::timeout(deadline(), listens).await;
        listens.unwrap_or_else(|_| Err(Failure::new("the collector does not listen")))
    }

    /// The address for OTLP over HTTP, without a path.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The address for OTLP over gRPC.
    pub fn grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.spans.lock();
        spans.map(|spans| spans.clone()).unwrap_or_default()
    }

    /// Waits for a span that satisfies `wanted`, including past ones.
    ///
    /// # Errors
    /// If no such span comes in time; the text has those that came.
    pub async fn wait(&self, goal: &str, wanted: impl Fn(&Span) -> bool) -> Result<Span> {
        let mut count = self.count.clone();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(span) = self.spans().into_iter().find(&wanted) {
                    return Ok(span);
                }
                count.changed().await?;
            }
        };
        match tokio::time::timeout(deadline(), found).await {
            Ok(found) => found,
            Err(_) => Err(Failure::new(format!("no span {goal}: {:#?}", self.spans()))),
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build_into(module: &Path, output: &Path) -> Result {
    eprintln!("kind-tests: building the OpenTelemetry collector (once; one to two minutes)");
    go_command(
        module,
        &[
            "build",
            "-buildvcs=false",
            "-trimpath",
            "-gcflags=all=-dwarf=false",
            "-ldflags",
            "-s -w",
            "-o",
            &output.to_string_lossy(),
            ".",
        ],
        false,
    )?;
    Ok(())
}

/// The spans of a request.
fn spans_of(request: &Value) -> Vec<Span> {
    let mut all = Vec::new();
    for resource in list(&request["resourceSpans"]) {
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                all.push(Span {
                    resource: named(&resource["resource"]["attributes"]),
                    scope: scope["scope"]["name"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    attributes: named(&span["attributes"]),
                    span: span.clone(),
                });
            }
        }
    }
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Attributes by their names; the values of texts are texts.
fn named(attributes: &Value) -> Value {
    let pair = |attribute: &Value| {
        let (key, value) = (attribute["key"].as_str()?, &attribute["value"]);
        let text = value.get("stringValue").unwrap_or(value);
        Some((key.to_owned(), text.clone()))
    };
    list(attributes).filter_map(pair).collect()
}
