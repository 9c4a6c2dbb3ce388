//! Templates whose output or failure is determined by Helm and not by the template language, compared with Helm itself.

mod support;

use std::sync::Arc;

use flux_helm::{Chart, Lookup, RenderOptions, load_values, render};
use oracle::{Answer, Oracle, base64};
use serde_json::json;
use support::pack;

/// Templates, each with the ledger row that it proves; some only have to match Helm.
const TEMPLATES: &[(&str, &str)] = &[
    (
        "HE-ENG-004",
        "{{ define \"q\" }}1{{ end }}{{ define \"q\" }}2{{ end }}a: 1",
    ),
    (
        "HE-ENG-007",
        "a: {{ .Missing }}{{ .Values.none }}{{ print nil }}x<no value>y",
    ),
    ("HE-OBJ-001", "a: {{ .Missing.Deeper }}"),
    ("HE-OBJ-001", "a: {{ .Values.none.deeper }}"),
    (
        "HE-ENG-008",
        "{{ define \"x\" }}{{ include \"x\" . }}{{ end }}a: {{ include \"x\" . }}",
    ),
    ("HE-ENG-021", "a: {{ include \"nope\" . }}"),
    ("HE-ENG-021", "a: {{ template \"nope\" . }}"),
    (
        "HE-ENG-020",
        "{{ define \"b\" }}{{ .Values.none.deeper }}{{ end }}{{ define \"a\" }}{{ include \"b\" . }}{{ end }}a: {{ include \"a\" . }}",
    ),
    (
        "HE-ENG-019",
        "{{ define \"a\" }}{{ required \"need: it\\nnow\" .Values.none }}{{ end }}a: {{ include \"a\" . }}",
    ),
    ("HE-ENG-012", "a: {{ required \"need\" \"\" }}"),
    (
        "HE-ENG-012",
        "a: {{ required \"need\" 0 }}{{ required \"need\" false }}",
    ),
    ("HE-ENG-013", "a: {{ fail \"because: of this\" }}"),
    (
        "HE-ENG-010",
        "a: {{ tpl \"{{ .Release.Name }}{{ define \\\"q\\\" }}1{{ end }}{{ include \\\"q\\\" . }}\" . }}",
    ),
    (
        "HE-ENG-010",
        "a: {{ tpl \"{{ define \\\"q\\\" }}1{{ end }}\" . }}{{ include \"q\" . }}",
    ),
    ("HE-ENG-009", "a: {{ tpl \"{{ .Values.none.deeper }}\" . }}"),
    ("HE-ENG-009", "a: {{ tpl \"{{ nope }}\" . }}"),
    ("HE-ENG-009", "a: {{ tpl \"{{ fail \\\"inside\\\" }}\" . }}"),
    ("HE-ENG-017", "a: {{ env \"HOME\" }}"),
    ("HE-ENG-018", "a: {{ if }}"),
    ("HE-ENG-018", "a: {{ .Values.x"),
    ("HE-ENG-018", "a: {{ end }}"),
    ("HE-ENG-016", "a: {{ getHostByName \"localhost\" | quote }}"),
    ("", "a: {{ lookup \"v1\" \"Pod\" \"\" \"\" | toJson }}"),
    (
        "HE-OBJ-008",
        "a: {{ .Capabilities.KubeVersion }} {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.KubeVersion.GitVersion }}",
    ),
    (
        "HE-OBJ-009, HE-OBJ-011",
        "a: {{ .Capabilities.APIVersions.Has \"apps/v1\" }} {{ .Capabilities.APIVersions.Has \"nope/v1\" }} {{ .Capabilities.HelmVersion.Version }} {{ .Capabilities.HelmVersion.KubeClientVersion }} {{ .Capabilities.HelmVersion.GitCommit | quote }} {{ .Capabilities.HelmVersion.GitTreeState | quote }} {{ hasPrefix \"go1.\" .Capabilities.HelmVersion.GoVersion }}",
    ),
    ("", "a: {{ .Capabilities.HelmVersion.Nope }}"),
    (
        "",
        "a: {{ .Release.Name }} {{ .Release.Namespace }} {{ .Release.Revision }} {{ .Release.IsInstall }} {{ .Release.IsUpgrade }} {{ .Release.Service }} {{ kindOf .Release.Revision }}",
    ),
    (
        "HE-OBJ-012",
        "a: {{ .Template.Name }} {{ .Template.BasePath }} {{ typeOf .Template }} {{ typeOf .Values }} {{ typeOf .Chart }} {{ typeOf .Files }}",
    ),
    (
        "",
        "a: {{ .Values.Table \"m\" | toJson }} {{ .Values.PathValue \"m.k\" }} {{ .Values.AsMap | toJson }}",
    ),
    (
        "HE-OBJ-005",
        "a: {{ .Files.Get \"none\" | quote }} {{ .Files.GetBytes \"f.txt\" }} {{ .Files.Get \"f.txt\" | quote }} {{ .Files.AsSecrets | toJson }}",
    ),
    (
        "",
        "a: {{ toYamlPretty .Values | quote }} {{ toToml .Values | quote }} {{ fromToml \"a = 1\\n[b]\\nc = [1.5]\" | toJson }}",
    ),
    (
        "",
        "a: {{ fromYaml \"[\" | toJson }} {{ fromYaml \"[1]\" | toJson }} {{ fromYamlArray \"a: 1\" | toJson }} {{ fromYaml \"\" | toJson }}",
    ),
    (
        "",
        "a: {{ fromJson \"[1]\" | toJson }} {{ fromJson \"{\" | toJson }} {{ fromJsonArray \"{}\" | toJson }} {{ fromJsonArray \"[1, 2.5]\" | toJson }}",
    ),
    ("", "a: {{ mustFromJson \"{\" }}"),
    ("", "a: {{ dig \"m\" \"k\" \"d\" .Values }}"),
    ("", "a: {{ upper 5 }}"),
    ("", "a: {{ index .Values.l 5 }}"),
    (
        "",
        "a: {{ set .Values \"self\" .Values | len }}{{ toJson .Values }}",
    ),
    (
        "HE-ENG-024",
        "a: \"{{ print \"\\r\\n\" | quote }}\"\r\nb: 1\r\n",
    ),
    ("", "a: ["),
    (
        "HE-OBJ-006",
        "a: {{ range $name, $bytes := .Files }}{{ $name }}={{ typeOf $bytes }} {{ end }}{{ .Files.GetBytes \"f.txt\" }} {{ .Files.GetBytes \"f.txt\" | toString | quote }}{{ range $n, $_ := .Files.Glob \"*.txt\" }} {{ $n }}{{ end }}",
    ),
    (
        "HE-OBJ-017",
        "a: {{ .Files.Lines \"none\" | toJson }} {{ .Files.Lines \"empty.txt\" | toJson }} {{ .Files.Lines \"f.txt\" | toJson }}",
    ),
    (
        "HE-FNN-016",
        "a: {{ durationSeconds \"1m30s\" }} {{ durationSeconds 90 }} {{ durationSeconds 1.5 }} {{ durationSeconds \" 2.5 \" }} {{ durationSeconds \"x\" }} {{ durationSeconds nil }} {{ durationSeconds true }} {{ durationSeconds \"\" }}",
    ),
    (
        "HE-FNN-016",
        "a: {{ durationMinutes \"1h30s\" }} {{ durationHours \"90m\" }} {{ durationDays \"36h\" }} {{ durationWeeks \"252h\" }} {{ durationDays \"1h\" }} {{ durationWeeks 1 }} {{ durationHours -1.25 }}",
    ),
    (
        "HE-FNN-016",
        "a: {{ durationMilliseconds \"1.5s\" }} {{ durationMicroseconds -1.5 }} {{ durationNanoseconds \"1h\" }} {{ durationMilliseconds 9223372036 }} {{ durationMilliseconds 9223372037 }} {{ kindOf (durationMilliseconds 1) }} {{ durationNanoseconds \"9223372036.854776\" }}",
    ),
    (
        "HE-FNN-016",
        "a: {{ durationRoundTo \"1h29m31s\" \"1m\" }} {{ durationTruncateTo \"1h29m31s\" \"1m\" }} {{ durationRoundTo \"-90s\" 60 }} {{ durationTruncateTo -90 \"1m\" }} {{ durationRoundTo \"5s\" \"x\" }} {{ durationRoundTo \"x\" \"1s\" }} {{ durationTruncateTo \"5s\" 0 }} {{ durationRoundTo \"5s\" -1 }} {{ typeOf (durationRoundTo 1 1) }}",
    ),
    (
        "HE-FNN-016",
        "a: {{ mustToDuration \"1h\" }} {{ mustToDuration 90 }} {{ (mustToDuration \"90s\").Minutes }} {{ mustToDuration (mustToDuration 1) }} {{ mustToDuration \"0x1p4\" }}",
    ),
    // HE-ENG-022: a panic of a function is its error.
    ("HE-ENG-022", "a: {{ mustToDuration \"1x\" }}"),
    ("HE-ENG-022", "a: {{ mustToDuration nil }}"),
    ("HE-ENG-022", "a: {{ mustToDuration \" \" }}"),
    ("HE-ENG-022", "a: {{ mustToDuration (list 1) }}"),
    ("HE-FNN-016", "a: {{ mustToDuration 9223372037 }}"),
    ("HE-FNN-016", "a: {{ mustToDuration 1e300 }}"),
    ("HE-FNN-016", "a: {{ mustToDuration \"inf\" }}"),
    ("HE-FNN-016", "a: {{ mustToDuration \"1e400\" }}"),
    ("HE-MAN-005", "a: |+\n  x\n\n\n---\nb: |\n  y\n\n"),
    (
        "HE-MAN-005",
        "a: |+\n  x\n\n\n---\n# only a comment\n---\nb: 1\n",
    ),
    (
        "HE-OBJ-002, HE-OBJ-003",
        "a: {{ .Chart.Name }} {{ .Chart.name }} {{ .Chart.Annotations }} {{ .Chart.IsRoot }} {{ .Chart.Type | quote }}",
    ),
];

#[test]
fn single_templates_render_as_in_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let values = "x: 1\nm: {k: v, n: 2.5}\nl: [a, 1]\n";
    for (row, template) in TEMPLATES {
        let files = [
            ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
            ("values.yaml", values),
            ("empty.txt", ""),
            ("f.txt", "hi\n"),
            ("templates/t.yaml", template),
        ];
        let archive = pack(&files.map(|(name, text)| (name.to_owned(), text.to_owned())));
        let chart = Chart::from_archive(&archive).unwrap();
        let ours = render(
            &chart,
            &load_values(b"").unwrap(),
            &RenderOptions::new("rel", "apps"),
        );
        let ours = ours.map(|rendered| rendered.manifest(true)).map_err(|e| {
            let source = std::error::Error::source(&e).map(|s| format!(": {s}"));
            format!("{e}{}", source.unwrap_or_default())
        });
        let theirs =
            match go.ask(&json!({"mode": "render", "archive": base64(&archive), "values": ""})) {
                Answer::Output(release) => {
                    Ok(release["manifest"].as_str().unwrap_or_default().to_owned())
                }
                Answer::Error(text) => Err(text),
                Answer::Panic(text) => panic!("{row} {template}: {text}"),
            };
        assert_eq!(ours, theirs, "{row} {template}");
    }
}

/// A cluster with one object.
struct One;

impl Lookup for One {
    fn lookup(
        &self,
        api: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<flux_yaml::Value, String> {
        match name {
            "there" => Ok([("is", format!("{api} {kind} {namespace}"))]
                .into_iter()
                .collect()),
            "broken" => Err("no such kind".to_owned()),
            _ => Ok(flux_yaml::Value::map()),
        }
    }
}

#[test]
fn lookup_is_delegated_to_the_caller() {
    // HE-ENG-014
    let chart = |template: &str| {
        let files = [
            ("Chart.yaml", "name: web\nversion: 1.0.0\n"),
            ("templates/t.yaml", template),
        ];
        Chart::from_files(
            files
                .map(|(name, text)| flux_helm::File::new(name, text.to_owned()))
                .to_vec(),
        )
        .unwrap()
    };
    let mut options = RenderOptions::new("rel", "apps");
    options.lookup = Arc::new(One);
    let values = load_values(b"").unwrap();
    let found = chart(
        "a: {{ (lookup \"v1\" \"Pod\" \"ns\" \"there\").is }}{{ if lookup \"v1\" \"Pod\" \"\" \"x\" }}!{{ end }}",
    );
    let rendered = render(&found, &values, &options).unwrap();
    assert_eq!(rendered.manifests[0].content, "a: v1 Pod ns");
    let broken = chart("a: {{ lookup \"v1\" \"Pod\" \"\" \"broken\" }}");
    let error = render(&broken, &values, &options).unwrap_err().to_string();
    assert!(
        error.ends_with("error calling lookup: no such kind"),
        "{error}"
    );
}
