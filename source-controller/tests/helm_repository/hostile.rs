//! Indexes that make a controller hold much, and servers that answer with what is no index.

use std::fmt::Write as _;

use git_servers::{Authority, HttpGitServer};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure, is_ready};
use serde_json::{Value, json};

use crate::{INDEX, plain, world};

/// The size of a hostile index, of the 50 MiB that are allowed.
const SIZE: usize = 24 << 20;

/// An index of this beginning and end, with as many of these items in between as fit.
fn filled(begin: &str, item: impl Fn(usize) -> String, end: &str) -> String {
    let mut text = begin.to_owned();
    let mut number = 0;
    while text.len() < SIZE {
        text += &item(number);
        number += 1;
    }
    text + end
}

// SC-ART-068, SC-HREPO-031
#[tokio::test]
async fn indexes_that_do_not_fit_into_memory_do_not_affect_others() -> Result {
    let world = plain("helm-much").await?;
    let json = "{\"apiVersion\":\"v1\",\"entries\":{";
    let yaml = "apiVersion: v1\nentries:\n";
    let minimal = "{\"name\":\"a\",\"version\":\"1\"},";
    let cases = [
        (
            "keys-json",
            filled(json, |number| format!("\"{number}\":0,"), "\"a\":0}}"),
        ),
        (
            "keys-yaml",
            filled(yaml, |number| format!(" a{number}:\n"), ""),
        ),
        (
            "versions",
            filled(&format!("{json}\"a\":["), |_| minimal.to_owned(), "null]}}"),
        ),
        (
            "charts",
            filled(
                yaml,
                |number| format!(" a{number}:\n - {{name: a{number}, version: 1}}\n"),
                "",
            ),
        ),
    ];
    for (name, index) in cases {
        std::fs::create_dir(world.git.root().join(name))?;
        std::fs::write(world.git.root().join(name).join("index.yaml"), index)?;
        let url = world.git.url(&format!("charts/{name}"));
        let spec = format!("url: '{url}', interval: 1h");
        world.repository_at(name, &spec).await?;
    }
    world.repository("app", "").await?;
    world.ready("app").await?;
    for name in ["keys-json", "keys-yaml", "versions", "charts"] {
        let ended = |object: &Value| is_ready(object, "True") || is_ready(object, "False");
        world
            .namespace
            .wait(world.kind, name, "has ended", ended)
            .await?;
    }
    world.controller.check_memory()
}

// SC-HREPO-041
#[tokio::test]
async fn an_index_is_stored_with_less_memory_than_its_size() -> Result {
    let world = plain("helm-stream").await?;
    world.repository("small", "").await?;
    world.ready("small").await?;
    let before = world.controller.peak_bytes()?;
    let description = "long ".repeat(200);
    let chart = |number: usize| {
        let mut text = format!("  chart-{number}:\n");
        for version in 0..100 {
            let _ = write!(
                text,
                "  - name: chart-{number}\n    version: 1.{version}.0\n    description: {description}\n"
            );
        }
        text
    };
    let index = filled("apiVersion: v1\nentries:\n", chart, "");
    world.publish(&index)?;
    world.repository("large", "").await?;
    let object = world.ready("large").await?;
    let size = object["status"]["artifact"]["size"].as_u64();
    ensure!(size.is_some_and(|size| size > SIZE as u64), "{object}");
    let more = world.controller.peak_bytes()? - before;
    ensure!(more < index.len() as u64, "{} MiB", more >> 20);
    Ok(())
}

// SC-HREPO-025, SC-HREPO-031, SC-PROC-062
#[tokio::test]
async fn what_is_no_index_keeps_the_last_one() -> Result {
    let server = HttpGitServer::builder()
        .redirect("/loop", "/loop")
        .redirect("/metadata", "http://169.254.169.254/latest")
        .answer("/html", 200, "<html><body>Sign in</body></html>");
    let world = world("helm-hostile", Settings::default(), server).await?;
    let authority = Authority::new();
    let ca = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"ca.crt": authority.pem()}});
    world.namespace.apply(&ca.to_string()).await?;
    let secure = |pair| {
        let server = HttpGitServer::builder().tls_pair(&pair).files("/charts");
        let server = server.start();
        std::fs::write(server.root().join("index.yaml"), INDEX).map(|()| server)
    };
    let expired = secure(authority.issue_expired(&["127.0.0.1"]))?;
    let other_name = secure(authority.issue(&["charts.example.com"]))?;
    let json = r#"{"apiVersion": "v1", "entries": {"web": [{"name": "web", "vers"#;
    let yaml = "apiVersion: v1\nentries:\n  web:\n  - name: \"we";
    for (name, text) in [("cut-json", json), ("cut-yaml", yaml), ("empty", "")] {
        let folder = world.git.root().join(name);
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("index.yaml"), text)?;
    }
    let tls = "tls: failed to verify certificate: x509: ";
    let not_valid = format!("{tls}certificate has expired or is not yet valid");
    let not_for = format!("{tls}cannot validate certificate for 127.0.0.1");
    let load = "failed to load Helm repository from index YAML: failed to load index: ";
    for (name, url, reason, words) in [
        (
            "loop",
            world.git.url("loop"),
            "Failed",
            "stopped after 10 redirects",
        ),
        ("metadata", world.git.url("metadata"), "Failed", "302 Found"),
        ("html", world.git.url("html"), "IndexationFailed", load),
        (
            "cut-json",
            world.git.url("charts/cut-json"),
            "IndexationFailed",
            load,
        ),
        (
            "cut-yaml",
            world.git.url("charts/cut-yaml"),
            "IndexationFailed",
            load,
        ),
        (
            "empty",
            world.git.url("charts/empty"),
            "IndexationFailed",
            load,
        ),
        ("expired", expired.url("charts"), "Failed", &not_valid),
        ("other-name", other_name.url("charts"), "Failed", &not_for),
    ] {
        world.repository(name, "").await?;
        let before = world.ready(name).await?;
        let spec = json!({"spec": {"url": url, "certSecretRef": {"name": "ca"}}});
        world.namespace.merge(world.kind, name, spec).await?;
        let text = world.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(text.contains(words), "{name}: {text}");
        world
            .condition(name, "Reconciling", "True", "ProgressingWithRetry")
            .await?;
        let object = world.namespace.get(world.kind, name).await?;
        let object = object.unwrap_or_default();
        ensure!(
            object["status"]["artifact"] == before["status"]["artifact"]
                && is_ready(&object, "False"),
            "{name}: {object}"
        );
        let good = json!({"spec": {"url": world.git.url("charts"), "certSecretRef": null}});
        world.namespace.merge(world.kind, name, good).await?;
        world.ready(name).await?;
    }
    ensure!(world.controller.log().panic().is_none(), "a panic");
    Ok(())
}

// SC-HREPO-033: entries that are no charts are left out, and the others are published
#[tokio::test]
async fn broken_entries_do_not_break_an_index() -> Result {
    let world = plain("helm-entries").await?;
    world.publish(
        "apiVersion: v1
entries:
  web:
  - {name: web, version: one, urls: [web-one.tgz]}
  - null
  - {name: web, version: 1.0.0, urls: [web-1.0.0.tgz]}
  - {version: 2.0.0, urls: [web-2.0.0.tgz]}
  none: []
",
    )?;
    world.repository("charts", "").await?;
    let object = world.ready("charts").await?;
    let path = object["status"]["artifact"]["path"].as_str();
    let index = std::fs::read(world.storage().join(path.unwrap_or_default()))?;
    let index: Value = serde_json::from_slice(&index)?;
    let versions = index["entries"]["web"].as_array().cloned();
    let versions: Vec<_> = versions
        .unwrap_or_default()
        .into_iter()
        .map(|entry| entry["version"].clone())
        .collect();
    assert_eq!(versions, ["1.0.0"]);
    Ok(())
}
