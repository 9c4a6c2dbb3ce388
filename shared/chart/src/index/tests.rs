//! What an index becomes, and which errors it has.

use std::cell::RefCell;
use std::io::Cursor;
use std::rc::Rc;

use flux_budget::Budget;

use super::*;

/// An output that is emptied when it is opened again.
#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The JSON that is stored, and the table.
fn converted(text: &str) -> Result<(String, Index), IndexError> {
    let output = Output::default();
    let open = || {
        output.0.borrow_mut().clear();
        Ok(output.clone())
    };
    let index = convert(Cursor::new(text), open, &Budget::unlimited())?;
    Ok((String::from_utf8(output.0.take()).unwrap(), index))
}

fn stored(text: &str) -> String {
    converted(text).unwrap().0
}

fn error(text: &str) -> String {
    converted(text)
        .map(|(stored, _)| stored)
        .unwrap_err()
        .to_string()
}

const ALPINE: &str = "apiVersion: v1
entries:
  alpine:
  - created: 2016-10-06T16:23:20.499543808-06:00
    description: Deploy <a> basic Alpine Linux pod
    digest: 99c76e403d752c84ead610644d4b1c2f2b453a74b921f422b9dcb8a7c8b559cd
    home: https://k8s.io/helm
    name: alpine
    urls:
    - https://charts.example.com/alpine-0.1.0.tgz
    version: 0.1.0
    maintainers:
    - name: A
  - name: alpine
    version: 0.2.0
    urls: []
    appVersion: v1.10
    dependencies:
    - {name: a, version: 1.0.0, repository: \"\"}
    - {name: a, version: 2.0.0, repository: \"\"}
  - name: alpine
    version: not-one
  -
generated: 2016-10-06T16:23:20.499029981-06:00
";

const ALPINE_JSON: &str = r#"{
  "apiVersion": "v1",
  "generated": "2016-10-06T16:23:20.499029981-06:00",
  "entries": {
    "alpine": [
      {
        "name": "alpine",
        "version": "0.2.0",
        "apiVersion": "v1",
        "appVersion": "v1.10",
        "dependencies": [
          {
            "name": "a",
            "version": "1.0.0",
            "repository": ""
          },
          {
            "name": "a",
            "version": "2.0.0",
            "repository": ""
          }
        ],
        "urls": [],
        "created": "0001-01-01T00:00:00Z"
      },
      {
        "name": "alpine",
        "home": "https://k8s.io/helm",
        "version": "0.1.0",
        "description": "Deploy \u003ca\u003e basic Alpine Linux pod",
        "maintainers": [
          {
            "name": "A"
          }
        ],
        "apiVersion": "v1",
        "urls": [
          "https://charts.example.com/alpine-0.1.0.tgz"
        ],
        "created": "2016-10-06T16:23:20.499543808-06:00",
        "digest": "99c76e403d752c84ead610644d4b1c2f2b453a74b921f422b9dcb8a7c8b559cd"
      }
    ]
  }
}"#;

// SC-HREPO-033, SC-HREPO-036
#[test]
fn an_index_is_stored_sorted_and_without_invalid_versions() {
    assert_eq!(stored(ALPINE), ALPINE_JSON);
    // What is stored is read to the same again.
    assert_eq!(stored(ALPINE_JSON), ALPINE_JSON);
}

#[test]
fn an_index_without_a_layout_is_stored_the_same() {
    let anchored = ALPINE.replace("urls: []", "urls: &none []\n    keywords: *none");
    assert_eq!(stored(&anchored), ALPINE_JSON);
    let flow = "{apiVersion: v1, entries: {b: [{name: b, version: 1.0.0}], a: null}}";
    let block = "apiVersion: v1\nentries:\n  b:\n  - name: b\n    version: 1.0.0\n  a:\n";
    assert_eq!(stored(flow), stored(block));
    assert_eq!(
        stored(block),
        "{\n  \"apiVersion\": \"v1\",\n  \"generated\": \"0001-01-01T00:00:00Z\",\n  \"entries\": {\n    \"a\": null,\n    \"b\": [\n      {\n        \"name\": \"b\",\n        \"version\": \"1.0.0\",\n        \"apiVersion\": \"v1\",\n        \"urls\": null,\n        \"created\": \"0001-01-01T00:00:00Z\"\n      }\n    ]\n  }\n}"
    );
}

#[test]
fn what_surrounds_the_charts_is_kept() {
    let text = "apiVersion: v1\nserverInfo: {contextPath: /v1}\npublicKeys: [k]\nannotations: {b: c, a: \"1\"}\n";
    assert_eq!(
        stored(text),
        "{\n  \"serverInfo\": {\n    \"contextPath\": \"/v1\"\n  },\n  \"apiVersion\": \"v1\",\n  \"generated\": \"0001-01-01T00:00:00Z\",\n  \"entries\": null,\n  \"publicKeys\": [\n    \"k\"\n  ],\n  \"annotations\": {\n    \"a\": \"1\",\n    \"b\": \"c\"\n  }\n}"
    );
    assert!(stored("apiVersion: v1\nentries: {}\n").contains("\"entries\": {}"));
}

// SC-HREPO-032
#[test]
fn json_is_read_leniently_and_yaml_strictly() {
    let unknown = r#"{"apiVersion": "v1", "x": 1, "entries": {"a": [{"name": "a", "version": "1.0.0", "y": 2}]}}"#;
    assert!(stored(unknown).contains("\"version\": \"1.0.0\""));
    for (text, want) in [
        ("", "empty index.yaml file"),
        ("entries: {}\n", "no API version specified"),
        ("{}", "no API version specified"),
        (
            "apiVersion: v1\nx: 1\n",
            "error unmarshaling JSON: while decoding JSON: json: unknown field \"x\"",
        ),
        (
            "apiVersion: v1\nentries:\n  a:\n  - name: a\n    other: 1\n",
            "error unmarshaling JSON: while decoding JSON: json: unknown field \"other\"",
        ),
        (
            "apiVersion: v1\nentries:\n  a:\n  - name: a\n    maintainers: [{name: x, z: 1}]\n",
            "error unmarshaling JSON: while decoding JSON: json: unknown field \"z\"",
        ),
        (
            "apiVersion: v1\nentries:\n  a:\n  - name: a\n    name: b\n",
            "error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"name\" already set in map",
        ),
        (
            "apiVersion: v1\nentries:\n  a:\n  - name: a\n  a:\n  - name: b\n",
            "error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"a\" already set in map",
        ),
        (
            "apiVersion: v1\nentries:\n  a:\n  - created: yesterday\n",
            "error unmarshaling JSON: while decoding JSON: parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        ),
        (
            r#"{"apiVersion": "v1", "entries": {"a": [{"version": 1}]}}"#,
            "json: cannot unmarshal number into Go struct field ChartVersion.entries.Metadata.version of type string",
        ),
        (
            "<html>\n",
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go value of type repo.IndexFile",
        ),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
}

#[test]
fn a_version_is_chosen() {
    let versions = [
        "1.0.0",
        "1.2.0",
        "1.2.0+b",
        "2.0.0-rc.1",
        "v1.3.0",
        "latest",
        "1.4",
    ];
    let mut text = "apiVersion: v1\nentries:\n  none:\n  - name: x\n  a:\n".to_owned();
    for (at, version) in versions.iter().enumerate() {
        text += &format!(
            "  - {{name: a, version: \"{version}\", created: \"2020-01-0{}T00:00:00Z\", urls: [u]}}\n",
            at + 1
        );
    }
    let (_, index) = converted(&text).unwrap();
    let found = |wanted: &str| match index.find("a", wanted) {
        Ok(found) => found.version.to_string(),
        Err(error) => error.to_string(),
    };
    for (wanted, want) in [
        ("", "v1.3.0"),
        ("*", "v1.3.0"),
        ("1.0.0", "1.0.0"),
        ("1.4", "1.4"),
        ("1.3.0", "v1.3.0"),
        ("~1.2", "1.2.0+b"),
        (">=1.0.0-0", "2.0.0-rc.1"),
        (">=3", "no 'a' chart with version matching '>=3' found"),
        ("x y", "improper constraint: \"x y\""),
    ] {
        assert_eq!(found(wanted), want, "{wanted}");
    }
    assert_eq!(index.find("b", ""), Err(LookupError::NoChart));
    assert_eq!(index.find("none", ""), Err(LookupError::NoVersion));
    assert_eq!(index.names().collect::<Vec<_>>(), ["a", "none"]);
}

#[test]
fn memory_is_claimed_for_one_chart_at_a_time() {
    let mut text = "apiVersion: v1\nentries:\n".to_owned();
    for chart in 0..60 {
        text += &format!("  chart-{chart}:\n");
        for version in 0..40 {
            let description = "long ".repeat(40);
            text += &format!(
                "  - name: chart-{chart}\n    version: 1.{version}.0\n    description: {description}\n    urls: [chart-{chart}-1.{version}.0.tgz]\n"
            );
        }
    }
    let budget = Budget::new(768 << 10);
    let index = load(Cursor::new(&text), &budget).unwrap();
    assert!(text.len() > 600 << 10, "{}", text.len());
    assert_eq!(budget.used(), index.bytes());
    assert!(index.bytes() < 512 << 10, "{}", index.bytes());
    drop(index);
    assert_eq!(budget.used(), 0);

    // With an anchor it is read as a whole, which does not fit.
    let anchored = text.replacen("name: chart-0", "name: &a chart-0", 1) + "annotations: {a: *a}\n";
    let loaded = load(Cursor::new(&anchored), &budget);
    assert!(matches!(loaded, Err(IndexError::Memory(_))), "{loaded:?}");
}

/// What a short text becomes is claimed before there is more of it: charts without versions, and the shortest versions.
#[test]
fn the_smallest_charts_and_versions_are_claimed() {
    let budget = Budget::new(8 << 20);
    let load = |text: &str| load(Cursor::new(text), &budget);
    let charts: Vec<String> = (0..200_000).map(|chart| format!("\"{chart}\":0")).collect();
    let json = format!(
        r#"{{"apiVersion": "v1", "entries": {{{}}}}}"#,
        charts.join(",")
    );
    let yaml: String = (0..200_000).map(|chart| format!(" {chart}:\n")).collect();
    let yaml = format!("apiVersion: v1\nentries:\n{yaml}");
    let one = r#"{"name":"a","version":"1"}"#;
    let versions = format!(
        r#"{{"apiVersion": "v1", "entries": {{"a": [{one}{}]}}}}"#,
        format!(",{one}").repeat(8_000)
    );
    for text in [&json, &yaml, &versions] {
        assert!(text.len() < 3 << 20);
        let loaded = load(text);
        assert!(matches!(loaded, Err(IndexError::Memory(_))), "{loaded:?}");
        assert_eq!(budget.used(), 0);
    }
    // A tenth of each fits.
    let json = format!(
        r#"{{"apiVersion": "v1", "entries": {{{}}}}}"#,
        charts[..20_000].join(",").replace(":0", ":[]")
    );
    assert_eq!(load(&json).unwrap().names().count(), 20_000);
    let versions = format!(
        r#"{{"apiVersion": "v1", "entries": {{"a": [{one}{}]}}}}"#,
        format!(",{one}").repeat(800)
    );
    assert_eq!(load(&versions).unwrap().versions("a").unwrap().len(), 801);
}
