//! Compares the size estimate of a cached chart with the allocator's count.

mod support;

use std::alloc::System;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use flate2::read::GzDecoder;
use flux_helm::{Chart, ParsedChart, RenderOptions, Values};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{Random, pack};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// The chart's estimate of its size, and the bytes allocated for it.
fn sizes(archive: &[u8]) -> (usize, usize) {
    let before = held();
    let chart = ParsedChart::new(Chart::from_archive(archive).unwrap());
    // A chart that cannot be rendered with its own values is parsed as well.
    drop(chart.render(&Values::new(), &RenderOptions::new("rel", "apps")));
    let (estimate, held) = (chart.size(), held() - before);
    drop(chart);
    (estimate, held)
}

/// A single test, because allocations of concurrent tests would be counted.
#[test]
fn the_estimate_is_within_a_factor_of_two() {
    let mut archives = BTreeMap::new();
    for case in 0..8 {
        let mut files = Vec::new();
        Random::new(9_000 + case).chart("", "web", 2, &mut files);
        archives.insert(format!("generated {case}"), pack(&files));
    }
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let chart = file("Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0\n");
    let properties: Vec<_> = (0..300)
        .map(|n| format!("\"p{n}\": {{\"type\": \"string\", \"pattern\": \"^[a-z]+$\", \"description\": \"one of many properties\"}}"))
        .collect();
    let schema = format!("{{\"properties\": {{{}}}}}", properties.join(","));
    archives.insert(
        "a schema to compile".to_owned(),
        pack(&[chart.clone(), file("values.schema.json", &schema)]),
    );
    archives.insert("small".to_owned(), pack(&[chart]));
    archives.extend(real());
    // Allocates the data that every process has once.
    for archive in archives.values() {
        let _ = sizes(archive);
    }
    let mut wrong = Vec::new();
    for (name, archive) in &archives {
        let (estimate, held) = sizes(archive);
        if estimate > 2 * held || held > 2 * estimate {
            wrong.push(format!("{name}: {estimate} instead of {held}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Charts of the conformance data.
fn real() -> BTreeMap<String, Vec<u8>> {
    const NAMES: [&str; 7] = [
        "alertmanager",
        "argo-rollouts",
        "crds",
        "ingress-nginx",
        "prometheus",
        "prometheus-kafka-exporter",
        "prometheus-mysql-exporter",
    ];
    let archive = File::open(oracle::conformance("helm/charts.tar.gz")).unwrap();
    let mut charts: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(archive))
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.strip_prefix("charts/").unwrap_or(&path);
        let Some((chart, file)) = path
            .split_once('/')
            .filter(|(chart, _)| NAMES.contains(chart))
        else {
            continue;
        };
        let mut text = Vec::new();
        entry.read_to_end(&mut text).unwrap();
        if entry.header().entry_type().is_file() {
            let text = String::from_utf8_lossy(&text).into_owned();
            charts
                .entry(chart.to_owned())
                .or_default()
                .push((file.to_owned(), text));
        }
    }
    charts
        .into_iter()
        .map(|(name, files)| (name, pack(&files)))
        .collect()
}
