//! Tests of packaging.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;

/// The entries of an archive, as path, mode, time and content.
fn entries(archive: &[u8]) -> Vec<(String, u32, u64, String)> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let entry = |entry: io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let header = entry.header();
        (path, header.mode().unwrap(), header.mtime().unwrap(), text)
    };
    archive.entries().unwrap().map(entry).collect()
}

fn chart(metadata: &str, others: &[(&str, &str)]) -> Chart {
    let mut files = vec![File::new("Chart.yaml", metadata.to_owned())];
    files.extend(
        others
            .iter()
            .map(|(name, text)| File::new(*name, (*text).to_owned())),
    );
    Chart::from_files(files).unwrap()
}

const V2: &str = "version: 1.0.0\nname: web # the name\napiVersion: v2\n";

// SC-HCHART-075
#[test]
fn the_archive_is_laid_out_as_by_helm() {
    let chart = chart(
        V2,
        &[
            ("README.md", "read"),
            (
                "charts/sub/Chart.yaml",
                "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
            ),
            ("charts/sub/templates/b.yaml", "b"),
            ("templates/a.yaml", "a"),
            ("values.schema.json", "{}"),
            ("values.yaml", "a: 1 # kept\n"),
            (
                "Chart.lock",
                "digest: d\ngenerated: 2026-01-02T03:04:05.5Z\ndependencies: [{name: sub, version: 0.1.0, repository: ''}]\n",
            ),
        ],
    );
    let archive = chart.package().unwrap();
    let metadata = "apiVersion: v2\nname: web\nversion: 1.0.0\n";
    let lock = "dependencies:\n- name: sub\n  repository: \"\"\n  version: 0.1.0\ndigest: d\ngenerated: \"2026-01-02T03:04:05.5Z\"\n";
    let when = 1_767_323_045;
    let want = [
        ("web/Chart.yaml", 0, metadata),
        ("web/Chart.lock", when, lock),
        ("web/values.yaml", 0, "a: 1 # kept\n"),
        ("web/values.schema.json", 0, "{}"),
        ("web/templates/a.yaml", 0, "a"),
        ("web/README.md", 0, "read"),
        (
            "web/charts/sub/Chart.yaml",
            0,
            "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
        ),
        ("web/charts/sub/templates/b.yaml", 0, "b"),
    ];
    let want = want.map(|(path, time, text)| (path.to_owned(), 0o644, time, text.to_owned()));
    assert_eq!(entries(&archive), want);
    // the header of the gzip stream: flags for extra field and comment
    assert_eq!(archive[3], 4 | 16);
    assert_eq!(&archive[12..16], b"rr\x28\x00");
    let again = Chart::from_archive(&archive).unwrap();
    assert_eq!(again.dependencies[0].name(), "sub");
    assert_eq!(again.lock, chart.lock);
}

// SC-HCHART-076
#[test]
fn the_same_chart_gives_the_same_bytes() {
    let build = || {
        let files = [("templates/a.yaml", "a"), ("values.yaml", "")];
        chart(V2, &files).package().unwrap()
    };
    assert_eq!(build(), build());
}

// SC-HCHART-077
#[test]
fn charts_of_the_first_api_version_keep_their_requirements() {
    let requirements = "dependencies: [{name: sub, version: 0.1.0, repository: ''}]\n";
    let chart = chart(
        "name: web\nversion: 1.0.0\n",
        &[
            ("requirements.yaml", requirements),
            ("requirements.lock", requirements),
        ],
    );
    assert!(chart.metadata.dependencies.is_some());
    let found = entries(&chart.package().unwrap());
    let names: Vec<_> = found.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(
        names,
        [
            "web/Chart.yaml",
            "web/requirements.yaml",
            "web/requirements.lock"
        ]
    );
    assert_eq!(found[0].3, "apiVersion: v1\nname: web\nversion: 1.0.0\n");
}

#[test]
fn long_names_are_kept() {
    let name = format!("templates/{}.yaml", "n".repeat(200));
    let chart = chart(V2, &[(&name, "a")]);
    let again = Chart::from_archive(&chart.package().unwrap()).unwrap();
    assert_eq!(again.templates[0].name, name);
}

#[test]
fn invalid_charts_are_not_packed() {
    let mut broken = chart(V2, &[("values.schema.json", "{")]);
    let error = broken.package().unwrap_err();
    assert_eq!(error.to_string(), "invalid JSON in values.schema.json");
    broken.metadata.version = "x".to_owned();
    let error = flux_errors(&broken.package().unwrap_err());
    assert_eq!(
        error,
        "chart validation: validation: chart.metadata.version \"x\" is invalid"
    );
}

/// The error with its sources.
fn flux_errors(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
