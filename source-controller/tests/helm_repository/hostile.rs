//! Indexes that make a controller hold much.

use std::fmt::Write as _;

use kind_tests::{Result, ensure, is_ready};
use serde_json::Value;

use crate::plain;

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
