//! The objects that templates see, across the files and the subcharts of a chart.

mod support;

use flux_helm::{Chart, RenderOptions, load_values, render};
use oracle::{Answer, Oracle, base64};
use serde_json::json;
use support::pack;

const ROOT: (&str, &str) = (
    "Chart.yaml",
    "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, alias: store, version: 2.0.0}]\n",
);
const SUBCHART: (&str, &str) = (
    "charts/db/Chart.yaml",
    "apiVersion: v2\nname: db\nversion: 2.0.0\nappVersion: \"7\"\n",
);

/// The ledger row, the files of a chart in addition to those above, and the manifests.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "HE-OBJ-004",
        &[
            (
                "charts/db/templates/t.yaml",
                "a: {{ .Chart.Name }} {{ .Chart.Version }} {{ .Chart.AppVersion }} {{ .Chart.IsRoot }}",
            ),
            (
                "templates/t.yaml",
                "a: {{ .Chart.Name }} {{ .Chart.Version }} {{ .Chart.IsRoot }}",
            ),
        ],
        &["a: store 2.0.0 7 false", "a: web 1.0.0 true"],
    ),
    (
        "HE-OBJ-013",
        &[
            ("charts/db/values.yaml", "size: 3\n"),
            ("charts/db/f.txt", "file of db"),
            (
                "templates/t.yaml",
                "a: {{ with .Subcharts.store }}{{ .Values.size }} {{ .Chart.Name }} {{ .Files.Get \"f.txt\" }} {{ .Release.Name }} {{ .Capabilities.KubeVersion.Major }} {{ len .Subcharts }}{{ end }} {{ len .Subcharts }}",
            ),
        ],
        &["a: 3 store file of db rel 1 0 1"],
    ),
    (
        "HE-ENG-002, HE-OBJ-014",
        &[
            ("values.yaml", "store: {size: 5}\n"),
            ("charts/db/values.yaml", "size: 3\nkind: small\n"),
            (
                "charts/db/templates/t.yaml",
                "a: {{ .Values.size }} {{ .Values.kind }}{{ $_ := set .Values \"seen\" \"by the parent\" }}",
            ),
            (
                "templates/t.yaml",
                "a: {{ .Values.store.seen }} {{ .Values.store.kind }}",
            ),
        ],
        &["a: 5 small", "a: by the parent small"],
    ),
    (
        "HE-ENG-002, HE-OBJ-015",
        &[
            ("values.yaml", "kept: 1\ndropped: 1\nm: {a: 1}\n"),
            (
                "templates/z.yaml",
                "z: {{ set .Values \"new\" \"from z\" | len }}{{ $_ := unset .Values \"dropped\" }}{{ $_ := merge .Values.m (dict \"b\" 2) }}",
            ),
            (
                "templates/a.yaml",
                "a: {{ .Values.new }} {{ .Values.kept }} {{ hasKey .Values \"dropped\" }} {{ .Values.m | toJson }}",
            ),
        ],
        &["a: from z 1 false {\"a\":1,\"b\":2}", "z: 5"],
    ),
    (
        "HE-ENG-001",
        &[
            (
                "charts/db/templates/_h.tpl",
                "{{ define \"db.x\" }}from db{{ end }}",
            ),
            ("templates/t.yaml", "a: {{ include \"db.x\" . }}"),
        ],
        &["a: from db"],
    ),
    // A later definition replaces an earlier one, unless it is empty.
    (
        "HE-ENG-003",
        &[
            (
                "charts/db/templates/_h.tpl",
                "{{ define \"x\" }}x of db{{ end }}{{ define \"y\" }}y of db{{ end }}",
            ),
            (
                "charts/db/templates/t.yaml",
                "a: {{ include \"x\" . }}, {{ include \"y\" . }}",
            ),
            (
                "templates/_h.tpl",
                "{{ define \"x\" }}x of web{{ end }}{{ define \"y\" }} {{/* nothing */}} {{ end }}",
            ),
        ],
        &["a: x of web, y of db"],
    ),
    (
        "HE-ENG-005",
        &[
            ("templates/_t.yaml", "a: not rendered"),
            ("templates/t.yaml", "a: 1"),
        ],
        &["a: 1"],
    ),
    (
        "HE-ENG-006",
        &[
            ("templates/a.json", "{\"a\": 1}"),
            ("templates/b.tpl", "b: 2"),
            ("templates/deep/c", "c: 3"),
        ],
        &["b: 2", "c: 3", "{\"a\": 1}"],
    ),
];

fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    let all = [ROOT, SUBCHART].iter().chain(files);
    let all: Vec<(String, String)> = all
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    pack(&all)
}

/// The manifests in the format of `helm template`, without comments.
fn documents(manifest: &str) -> Vec<String> {
    let documents = manifest.split("---\n");
    let without_source = documents.map(|text| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    });
    without_source.filter(|text| !text.is_empty()).collect()
}

fn rendered(files: &[(&str, &str)]) -> Vec<String> {
    let chart = Chart::from_archive(&packed(files)).unwrap();
    let options = RenderOptions::new("rel", "apps");
    let rendered = render(&chart, &load_values(b"").unwrap(), &options).unwrap();
    let mut found = documents(&rendered.manifest(true));
    found.sort();
    found
}

#[test]
fn templates_share_mutated_objects() {
    for (row, files, want) in CASES {
        assert_eq!(rendered(files), *want, "{row}");
    }
}

#[test]
fn shared_objects_behave_as_in_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    for (row, files, want) in CASES {
        let archive = base64(packed(files));
        let answer = go.ask(&json!({"mode": "render", "archive": archive, "values": ""}));
        let Answer::Output(release) = answer else {
            panic!("{row}: {answer:?}");
        };
        let mut found = documents(release["manifest"].as_str().unwrap_or_default());
        found.sort();
        assert_eq!(found, *want, "{row}");
    }
}

#[test]
fn a_file_without_text_has_no_lines() {
    // HE-OBJ-007, HE-OBJ-017
    let lines = "a: {{ len (.Files.Lines \"empty.txt\") }}{{ range .Files.Lines \"empty.txt\" }}!{{ end }} {{ len (.Files.Lines \"two.txt\") }}";
    let files = [
        ("empty.txt", ""),
        ("two.txt", "one\ntwo\n"),
        ("templates/t.yaml", lines),
    ];
    assert_eq!(rendered(&files), ["a: 0 2"]);
}
