//! Every query of dashboards and alerts, asked of a real Prometheus that scrapes the controllers.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kind_tests::{Failure, Namespace, Result, ensure, free_ports};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::World;
use super::{PAUSE, queries};

/// A Prometheus of this test; killed on drop.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it with these targets by the name of their pod, as the PodMonitor finds them.
    fn start(folder: &Path, targets: &[(String, String)]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let configs = targets.iter().map(|(pod, address)| {
            json!({"targets": [address], "labels": {"namespace": "flux-system", "pod": pod}})
        });
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "flux-system/flux", "static_configs": configs.collect::<Vec<_>>()}],
        });
        std::fs::write(folder.join("prometheus.yaml"), config.to_string())?;
        std::fs::write(folder.join("rules.yaml"), queries::rules()?.to_string())?;
        let [port] = free_ports()?;
        let log = std::fs::File::create(folder.join("log"))?;
        let child = Command::new("prometheus")
            .current_dir(folder)
            .arg("--config.file=prometheus.yaml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child, port })
    }

    /// The answer to a request of its API. HTTP/1.0, so that it comes in one piece.
    async fn ask(&self, path: &str, body: &str) -> Result<Value> {
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let method = if body.is_empty() { "GET" } else { "POST" };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: prometheus\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let value: Value = serde_json::from_str(body)?;
        ensure!(value["status"] == "success", "{path}: {value}");
        Ok(value["data"].clone())
    }

    /// The series that the query gives now.
    async fn series(&self, query: &str) -> Result<Vec<Value>> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self
            .ask("/api/v1/query", &format!("query={escaped}"))
            .await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until the query gives series: the first scrapes are seconds after the start, and a rate needs two.
    async fn wait(&self, namespace: &Namespace, title: &str, query: &str) -> Result<Vec<Value>> {
        let mut told = None;
        let series = async {
            loop {
                match self.series(query).await {
                    Ok(series) if !series.is_empty() => return series,
                    Ok(_) => {}
                    Err(error) => told = Some(error),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let series = namespace
            .wait_for(&format!("{title} has series: {query}"), series)
            .await;
        match (series, told) {
            (Err(_), Some(error)) => Err(Failure::new(format!("{title}: {query}: {error}"))),
            (series, _) => series,
        }
    }
}

/// Objects that alerts are about: one that fails, one that is suspended, and an Alert whose service refuses what it is sent.
async fn troubles(world: &World) -> Result {
    let (missing, refuses) = (world.git.url("missing.git"), world.registry.host());
    world
        .namespace
        .apply(&format!(
            "
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Provider
metadata: {{name: refuses}}
spec: {{type: generic, address: 'http://{refuses}/refused'}}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Alert
metadata: {{name: lost}}
spec: {{providerRef: {{name: refuses}}, eventSources: [{{kind: GitRepository, name: broken}}]}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: paused}}
spec: {{interval: 1h, prune: true, suspend: true, sourceRef: {{kind: GitRepository, name: app}}}}
"
        ))
        .await?;
    // notification-controller finds the Alert before it receives the event.
    let page = async {
        while !super::metrics::pages(world)
            .await
            .is_ok_and(|pages| pages.contains("name=\"lost\""))
        {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world.namespace.wait_for("the Alert is known", page).await?;
    world
        .namespace
        .apply(&format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: broken}}, \
             spec: {{interval: 1h, url: '{missing}', ref: {{branch: main}}}}}}"
        ))
        .await?;
    Ok(())
}

pub(super) async fn queried(world: &World) -> Result {
    if Command::new("prometheus")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: prometheus not found");
        return Ok(());
    }
    troubles(world).await?;
    let controllers = world.controllers.iter().chain([&world.notification]);
    let targets: Vec<_> = controllers
        .map(|controller| (controller.name().to_owned(), controller.metrics_address()))
        .collect();
    let prometheus = Prometheus::start(&world.folder().join("prometheus"), &targets)?;
    let namespace = &world.namespace;
    let up = prometheus.wait(namespace, "all targets", "count(up == 1) == 7");
    assert_eq!(up.await?.len(), 1);
    for query in queries::all()? {
        // The API server of the test throttles no request.
        let text = query.compared().replace("code=\"429\"", "code=\"200\"");
        let found = prometheus.wait(namespace, &query.title, &text).await?;
        for label in &query.labels {
            // What the text of an alert names is a label of what it is about.
            let has = found
                .iter()
                .all(|series| series["metric"][label].is_string());
            ensure!(has, "{} has no {label}: {found:#?}", query.title);
        }
        if !query.is_alert {
            // As the panel asks it.
            prometheus.series(&query.text).await?;
        }
    }
    // Two alerts are for what is the case here: one fires, the other waits for its time.
    for (alert, state, labels) in [
        ("FluxAlertsLost", "firing", "name=\"lost\""),
        ("FluxObjectFailing", "pending", "name=\"broken\""),
    ] {
        let own = format!("exported_namespace=\"{}\"", namespace.name());
        let query =
            format!("ALERTS{{alertname=\"{alert}\", alertstate=\"{state}\", {labels}, {own}}}");
        prometheus.wait(namespace, alert, &query).await?;
    }
    let rules = prometheus.ask("/api/v1/rules", "").await?;
    let groups = rules["groups"].as_array().into_iter().flatten();
    for rule in groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
        assert_eq!(rule["health"], "ok", "{rule}");
        let fires = rule["state"] == "firing";
        assert_eq!(fires, rule["name"] == "FluxAlertsLost", "{rule}");
    }
    Ok(())
}

/// Each alert in the state that it is for, and next to it.
#[test]
fn alerts_fire_in_the_states_that_they_are_for() -> Result {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: promtool not found");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("rules.yaml"),
        queries::rules()?.to_string(),
    )?;
    let cases = include_str!("../alerts.yaml");
    std::fs::write(folder.path().join("alerts.yaml"), cases)?;
    let output = Command::new("promtool")
        .args(["test", "rules", "alerts.yaml"])
        .current_dir(folder.path())
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    for query in queries::all()?.iter().filter(|query| query.is_alert) {
        let named = format!("alertname: {}", query.title);
        ensure!(cases.contains(&named), "no case fires {}", query.title);
    }
    Ok(())
}
