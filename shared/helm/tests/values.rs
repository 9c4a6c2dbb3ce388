//! Tests of the values that templates get, and of which subcharts are enabled.

mod support;

use flux_helm::{Chart, RenderOptions, load_values, render};
use oracle::{Answer, Oracle, base64};
use serde_json::json;
use support::pack;

const ONE: &str = "dependencies: [{name: db, version: 1.x}]";
const SUBCHART: (&str, &str) = (
    "charts/db/Chart.yaml",
    "apiVersion: v2\nname: db\nversion: 1.2.3\n",
);

/// A render: the ledger row, the dependencies in Chart.yaml, the user's values, the files besides the two Chart.yaml, and
/// the manifests.
struct Case {
    row: &'static str,
    dependencies: &'static str,
    values: &'static str,
    files: &'static [(&'static str, &'static str)],
    want: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        row: "HE-VAL-001",
        dependencies: "",
        values: "m: {b: 3, c: 4}\nl: [9]\n",
        files: &[
            ("values.yaml", "m: {a: 1, b: 2}\nl: [1, 2]\n"),
            (
                "templates/t.yaml",
                "a: '{{ .Values.m | toJson }} {{ .Values.l | toJson }}'",
            ),
        ],
        want: &["a: '{\"a\":1,\"b\":3,\"c\":4} [9]'"],
    },
    Case {
        row: "HE-VAL-002",
        dependencies: "",
        values: "gone: null\nnew: null\n",
        files: &[
            ("values.yaml", "gone: 1\nkept: 2\n"),
            (
                "templates/t.yaml",
                "a: '{{ hasKey .Values \"gone\" }} {{ hasKey .Values \"new\" }} {{ hasKey .Values \"kept\" }}'",
            ),
        ],
        want: &["a: 'false true true'"],
    },
    Case {
        row: "HE-VAL-003",
        dependencies: "",
        values: "",
        files: &[
            ("values.yaml", "gone: null\nm: {gone: null, kept: 1}\n"),
            (
                "templates/t.yaml",
                "a: '{{ hasKey .Values \"gone\" }} {{ .Values.m | toJson }}'",
            ),
        ],
        want: &["a: 'false {\"kept\":1}'"],
    },
    Case {
        row: "HE-VAL-004",
        dependencies: "",
        values: "scalar: {a: 1}\ntable: 5\n",
        files: &[
            ("values.yaml", "scalar: 1\ntable: {a: 1}\n"),
            (
                "templates/t.yaml",
                "a: '{{ .Values.scalar | toJson }} {{ .Values.table | toJson }}'",
            ),
        ],
        want: &["a: '{\"a\":1} 5'"],
    },
    Case {
        row: "HE-VAL-005",
        dependencies: ONE,
        values: "db: {user: 3}\n",
        files: &[
            ("values.yaml", "db: {parent: 2, both: parent}\n"),
            ("charts/db/values.yaml", "own: 1\nboth: own\n"),
            (
                "charts/db/templates/t.yaml",
                "a: '{{ .Values.own }} {{ .Values.parent }} {{ .Values.user }} {{ .Values.both }}'",
            ),
        ],
        want: &["a: '1 2 3 parent'"],
    },
    Case {
        row: "HE-VAL-006",
        dependencies: ONE,
        values: "global: {user: 3}\n",
        files: &[
            ("values.yaml", "global: {a: root, t: {x: root}}\n"),
            (
                "charts/db/values.yaml",
                "global: {a: db, b: db, t: {z: db}}\n",
            ),
            (
                "charts/db/templates/t.yaml",
                "sub: '{{ .Values.global | toJson }}'",
            ),
            ("templates/t.yaml", "root: '{{ .Values.global | toJson }}'"),
        ],
        want: &[
            "root: '{\"a\":\"root\",\"t\":{\"x\":\"root\"},\"user\":3}'",
            "sub: '{\"a\":\"root\",\"b\":\"db\",\"t\":{\"x\":\"root\",\"z\":\"db\"},\"user\":3}'",
        ],
    },
];

impl Case {
    fn archive(&self) -> Vec<u8> {
        let chart = format!(
            "apiVersion: v2\nname: web\nversion: 1.0.0\n{}\n",
            self.dependencies
        );
        let all = [("Chart.yaml", &*chart), SUBCHART];
        let all = all.iter().chain(self.files);
        let all: Vec<(String, String)> = all
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        pack(&all)
    }
}

/// The manifests in the format of `helm template`, sorted and without comments.
fn documents(manifest: &str) -> Vec<String> {
    let documents = manifest.split("---\n");
    let without_source = documents.map(|text| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    });
    let mut found: Vec<String> = without_source.filter(|text| !text.is_empty()).collect();
    found.sort();
    found
}

#[test]
fn values_and_subcharts_match_the_ledger() {
    for case in CASES {
        let chart = Chart::from_archive(&case.archive()).unwrap();
        let values = load_values(case.values.as_bytes()).unwrap();
        let rendered = render(&chart, &values, &RenderOptions::new("rel", "apps")).unwrap();
        let found = documents(&rendered.manifest(true));
        assert_eq!(found, case.want, "{} {}", case.row, case.values);
    }
}

#[test]
fn values_and_subcharts_match_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    for case in CASES {
        let archive = base64(case.archive());
        let answer = go.ask(&json!({"mode": "render", "archive": archive, "values": case.values}));
        let Answer::Output(release) = answer else {
            panic!("{}: {answer:?}", case.row);
        };
        let found = documents(release["manifest"].as_str().unwrap_or_default());
        assert_eq!(found, case.want, "{} {}", case.row, case.values);
    }
}
