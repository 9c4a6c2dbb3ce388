//! Tests of the values that templates get, and of which subcharts are enabled.

mod support;

use flux_helm::{Chart, RenderOptions, load_values, render};
use oracle::{Answer, Oracle, base64};
use serde_json::json;
use support::pack;

const ONE: &str = "dependencies: [{name: db, version: 1.x}]";
const TAGGED: &str = "dependencies: [{name: db, version: 1.x, tags: [x, y]}]";
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
    Case {
        row: "HE-VAL-007",
        dependencies: ONE,
        values: "",
        files: &[("templates/t.yaml", "a: '{{ .Values | toJson }}'")],
        want: &["a: '{\"db\":{\"global\":{}}}'"],
    },
    // The alias is there when tags and conditions are looked at, and a condition overrides tags.
    Case {
        row: "HE-VAL-008",
        dependencies: "dependencies: [{name: db, version: 1.x, alias: store, tags: [t], condition: store.use}]",
        values: "tags: {t: true}\nstore: {use: false}\n",
        files: &[
            ("charts/db/templates/t.yaml", "a: store"),
            (
                "templates/t.yaml",
                "a: '{{ hasKey .Values \"store\" }} {{ len .Subcharts }}'",
            ),
        ],
        want: &["a: 'true 0'"],
    },
    Case {
        row: "HE-VAL-009",
        dependencies: "dependencies: [{name: db, version: 2.x, alias: store}]",
        values: "",
        files: &[("charts/db/templates/t.yaml", "a: {{ .Chart.Name }}")],
        want: &["a: db"],
    },
    Case {
        row: "HE-VAL-009",
        dependencies: "",
        values: "",
        files: &[("charts/db/templates/t.yaml", "a: {{ .Chart.Name }}")],
        want: &["a: db"],
    },
    Case {
        row: "HE-VAL-010",
        dependencies: "dependencies: [{name: db, version: 1.x, alias: one}, {name: db, version: 1.x, alias: two}]",
        values: "two: {size: 2}\n",
        files: &[
            ("charts/db/values.yaml", "size: 1\n"),
            (
                "charts/db/templates/t.yaml",
                "{{ .Chart.Name }}: {{ .Values.size }}",
            ),
        ],
        want: &["one: 1", "two: 2"],
    },
    Case {
        row: "HE-VAL-011",
        dependencies: TAGGED,
        values: "tags: {x: false, y: true}\n",
        files: &[("charts/db/templates/t.yaml", "a: 1")],
        want: &["a: 1"],
    },
    Case {
        row: "HE-VAL-011",
        dependencies: TAGGED,
        values: "tags: {x: false}\n",
        files: &[("charts/db/templates/t.yaml", "a: 1")],
        want: &[],
    },
    Case {
        row: "HE-VAL-011",
        dependencies: TAGGED,
        values: "tags: {z: false}\n",
        files: &[("charts/db/templates/t.yaml", "a: 1")],
        want: &["a: 1"],
    },
    // The first path with a boolean decides; a text and a table do not.
    Case {
        row: "HE-VAL-012",
        dependencies: "dependencies: [{name: db, version: 1.x, condition: 'db.none,db.text,db.table,db.never,db.always'}]",
        values: "db: {text: 'true', table: {a: 1}, never: false, always: true}\n",
        files: &[("charts/db/templates/t.yaml", "a: 1")],
        want: &[],
    },
    Case {
        row: "HE-VAL-012",
        dependencies: "dependencies: [{name: db, version: 1.x, condition: 'db.none,db.text'}]",
        values: "db: {text: 'false'}\n",
        files: &[("charts/db/templates/t.yaml", "a: 1")],
        want: &["a: 1"],
    },
    Case {
        row: "HE-VAL-013",
        dependencies: "dependencies: [{name: mid, version: 1.0.0}]",
        values: "mid: {in: {use: false}}\nin: {use: true}\n",
        files: &[
            (
                "charts/mid/Chart.yaml",
                "apiVersion: v2\nname: mid\nversion: 1.0.0\ndependencies: [{name: in, version: 1.0.0, condition: in.use}]\n",
            ),
            ("charts/mid/values.yaml", "in: {use: true}\n"),
            ("charts/mid/templates/t.yaml", "mid: 1"),
            (
                "charts/mid/charts/in/Chart.yaml",
                "apiVersion: v2\nname: in\nversion: 1.0.0\n",
            ),
            ("charts/mid/charts/in/templates/t.yaml", "in: 1"),
        ],
        want: &["mid: 1"],
    },
    Case {
        row: "HE-VAL-014",
        dependencies: "dependencies: [{name: db, version: 1.x, import-values: [data, {child: inner, parent: moved}, {child: none, parent: gone}]}]",
        values: "",
        files: &[
            ("values.yaml", "both: parent\n"),
            (
                "charts/db/values.yaml",
                "exports: {data: {k: 1, both: child}}\ninner: {z: 2}\n",
            ),
            (
                "templates/t.yaml",
                "a: '{{ .Values.k }} {{ .Values.both }} {{ .Values.moved | toJson }} {{ hasKey .Values \"gone\" }}'",
            ),
        ],
        want: &["a: '1 parent {\"z\":2} false'"],
    },
    Case {
        row: "HE-VAL-015",
        dependencies: "dependencies: [{name: db, version: 1.x, alias: one}, {name: db, version: 1.x, alias: two, condition: two.use}]",
        values: "two: {use: false}\n",
        files: &[(
            "templates/t.yaml",
            "a: '{{ range .Chart.Dependencies }}{{ .Name }} {{ .Alias }} {{ .Enabled }}{{ end }}'",
        )],
        want: &["a: 'one one true'"],
    },
    Case {
        row: "HE-VAL-017",
        dependencies: ONE,
        values: "",
        files: &[(
            "charts/db/templates/t.yaml",
            "a: '{{ with .Release }}{{ .Name }} {{ .Namespace }} {{ .Revision }} {{ .IsInstall }} {{ .IsUpgrade }} {{ .Service }} {{ kindOf .Revision }}{{ end }}'",
        )],
        want: &["a: 'rel apps 1 true false Helm int'"],
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

#[test]
fn a_subchart_value_that_is_no_table_is_refused_before_schemas() {
    // HE-SCHEMA-004, HE-VAL-005
    let case = Case {
        row: "",
        dependencies: ONE,
        values: "db: 5\n",
        files: &[("charts/db/values.schema.json", "{}")],
        want: &[],
    };
    let chart = Chart::from_archive(&case.archive()).unwrap();
    let values = load_values(case.values.as_bytes()).unwrap();
    let mut options = RenderOptions::new("rel", "apps");
    for (is_upgrade, want) in [
        (
            false,
            "chart dependencies processing failed: type mismatch on db: %!t(float64=5)",
        ),
        (true, "type mismatch on db: %!t(float64=5)"),
    ] {
        options.is_upgrade = is_upgrade;
        let error = render(&chart, &values, &options).unwrap_err();
        assert_eq!(flux_errors::chain(&error), want);
    }
}
