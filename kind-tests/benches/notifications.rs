//! `cargo bench -p kind-tests --bench notifications`: 10,000 events a minute for 50 Alerts, one of whose services hangs. Each
//! event is for one of the Alerts that have a service which answers, and for the one whose service does not.
//!
//! `FLUX_BENCH_SECONDS` shortens the run; the rate stays.

mod figures;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use figures::{Span, mebibytes, print, seconds};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{ALERT, Failure, Namespace, PROVIDER, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ALERTS: usize = 50;
/// Events a second: 10,000 a minute.
const RATE: u32 = 167;

/// When events were sent and when they came, by their number.
#[derive(Default)]
struct Times {
    sent: HashMap<usize, Instant>,
    took: HashMap<usize, Duration>,
}

type Shared = Arc<Mutex<Times>>;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let length = std::env::var("FLUX_BENCH_SECONDS").ok();
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(60_u32);
    let events = (RATE * length) as usize;
    let cluster = figures::cluster().await?;
    let namespace = Namespace::create(&cluster, "notifications").await?;
    let settings = Settings::default();
    let controller = Controller::start("notification-controller", &namespace, settings).await?;
    let times = Shared::default();
    let quick = service(times.clone()).await?;
    let hanging = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let hangs = hanging.local_addr()?;
    tokio::spawn(hold(hanging));
    for (name, address) in [("quick", quick), ("hanging", hangs)] {
        apply(
            &namespace,
            PROVIDER.1,
            name,
            &json!({"type": "generic", "address": format!("http://{address}/")}),
        )
        .await?;
    }
    for number in 0..ALERTS {
        let (provider, name) = if number == 0 {
            ("hanging", "*".to_owned())
        } else {
            ("quick", format!("app-{number}"))
        };
        let spec = json!({
            "providerRef": {"name": provider},
            "eventSources": [{"kind": "Kustomization", "name": name}],
        });
        apply(&namespace, ALERT.1, &format!("alert-{number}"), &spec).await?;
    }
    let url = controller.events_url().unwrap_or_default();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut client = TcpStream::connect(address).await?;
    // The caches of the controller follow the API server.
    for number in events.. {
        post(&mut client, &namespace, number, &times).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        if !lock(&times).took.is_empty() {
            break;
        }
    }
    lock(&times).took.clear();

    let before = controller.resident_bytes()?;
    let span = Span::start(&controller, &namespace)?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut accepted = Vec::new();
    for number in 0..events {
        ticks.tick().await;
        let asked = Instant::now();
        post(&mut client, &namespace, number, &times).await?;
        accepted.push(asked.elapsed());
    }
    let arrived = async {
        while (0..events).any(|number| !lock(&times).took.contains_key(&number)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let all = tokio::time::timeout(Duration::from_mins(2), arrived).await;
    let took = span.end(&controller)?;
    let mut latencies: Vec<Duration> = lock(&times).took.values().copied().collect();
    let what = format!("{events} events at {RATE} a second, {ALERTS} alerts, one hangs");
    print(&what, &seconds(took.wall), "");
    print("  processor time", &seconds(took.cpu), "");
    let lost = events.saturating_sub(latencies.len());
    print("  events that did not arrive", &lost.to_string(), "0");
    percentiles("  until an event is accepted", &mut accepted);
    percentiles("  until it arrived at its service", &mut latencies);
    print("  memory before", &mebibytes(before), "");
    let peak = mebibytes(controller.peak_bytes()?);
    print(
        "  peak memory of notification-controller",
        &peak,
        "target 40 MiB",
    );
    if let Some(requests) = took.request_count() {
        print("  API requests", &requests.to_string(), &took.breakdown());
    }
    all.map_err(|_| Failure::new("some events did not arrive"))
}

fn percentiles(what: &str, times: &mut [Duration]) {
    times.sort();
    for share in [50, 95, 99, 100] {
        let at = (times.len() * share / 100).saturating_sub(1);
        let time = times.get(at).copied().unwrap_or_default();
        let name = if share == 100 {
            format!("{what}, at most")
        } else {
            format!("{what}, {share} %")
        };
        print(&name, &format!("{:.1} ms", time.as_secs_f64() * 1000.0), "");
    }
}

fn lock(times: &Shared) -> std::sync::MutexGuard<'_, Times> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn apply(namespace: &Namespace, kind: &str, name: &str, spec: &Value) -> Result {
    let object = json!({
        "apiVersion": ALERT.0, "kind": kind, "metadata": {"name": name}, "spec": spec});
    namespace.apply(&object.to_string()).await?;
    Ok(())
}

/// Posts the event of this number.
async fn post(
    client: &mut TcpStream,
    namespace: &Namespace,
    number: usize,
    times: &Shared,
) -> Result {
    let name = format!("app-{}", 1 + number % (ALERTS - 1));
    let event = json!({
        "involvedObject": {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "namespace": namespace.name(), "name": name, "uid": name,
        },
        "severity": "info",
        "timestamp": "2026-08-01T10:00:00Z",
        "message": format!("number:{number};"),
        "reason": "ReconciliationSucceeded",
        "metadata": {"kustomize.toolkit.fluxcd.io/revision": format!("main@sha1:{number:040x}")},
        "reportingController": "kustomize-controller",
        "reportingInstance": "host",
    });
    lock(times).sent.insert(number, Instant::now());
    let body = event.to_string();
    let length = body.len();
    let request =
        format!("POST / HTTP/1.1\r\nHost: events\r\nContent-Length: {length}\r\n\r\n{body}");
    client.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await?);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 202 ") {
        Ok(())
    } else {
        Err(Failure::new(format!("an event was answered with {answer}")))
    }
}

/// Takes connections and never answers.
async fn hold(listener: TcpListener) {
    let mut held = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        held.push(stream);
    }
}

/// A service that notes when each event came.
async fn service(times: Shared) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, times.clone()));
        }
    });
    Ok(address)
}

/// Notes that an event came.
fn note(times: &Shared, number: usize) {
    let mut known = lock(times);
    if let Some(sent) = known.sent.get(&number) {
        let took = sent.elapsed();
        known.took.insert(number, took);
    }
}

async fn serve(mut stream: TcpStream, times: Shared) -> io::Result<()> {
    let (mut request, mut buffer) = (String::new(), vec![0; 16 << 10]);
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        request.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let number = request.split("number:").nth(1);
        let number = number.and_then(|rest| rest.split_once(';')?.0.parse().ok());
        // The last field of an event.
        let whole = request.contains("reportingInstance") && request.trim_end().ends_with('}');
        let Some(number) = number.filter(|_: &usize| whole) else {
            continue;
        };
        note(&times, number);
        request.clear();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await?;
    }
}
