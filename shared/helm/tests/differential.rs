//! Compares random charts, values and records with Helm's own library.
// HE-TEST-003

mod support;

use std::sync::Arc;

use flux_errors::chain;
use flux_gotemplate::{Environment, Time};
use flux_helm::{
    Chart, Hook, Release, ReleaseChart, RenderOptions, Values, load_values, render, set, set_json,
    set_literal, set_string, sort_manifests, to_go_json,
};
use oracle::{Answer, Oracle, base64};
use serde_json::{Value, json};
use support::{Random, pack};

/// A clock that is always zero; these charts do not use it.
struct Still;

impl Environment for Still {
    fn now(&self) -> Time {
        Time::zero()
    }
}

fn as_json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::from_slice(&to_go_json(value).unwrap()).unwrap()
}

/// The release that Helm would create, as far as a render determines it.
fn release(archive: &[u8], values: &str, upgrade: bool) -> Result<Release, String> {
    let chart = Chart::from_archive(archive).map_err(|e| chain(&e))?;
    let values = load_values(values.as_bytes()).map_err(|e| chain(&e))?;
    let mut options = RenderOptions::new("rel", "apps");
    options.environment = Arc::new(Still);
    options.is_upgrade = upgrade;
    let rendered = render(&chart, &values, &options).map_err(|e| chain(&e))?;
    Ok(Release {
        name: "rel".to_owned(),
        namespace: "apps".to_owned(),
        revision: 1,
        chart: Some(ReleaseChart::new(&chart, &rendered)),
        manifest: rendered.manifest(true),
        hooks: rendered.hooks,
        config: values,
        ..Release::default()
    })
}

/// The lines of an error, sorted: Helm reports on subcharts in random order.
fn sorted(error: &str) -> Vec<&str> {
    let mut lines: Vec<_> = error.lines().collect();
    lines.sort_unstable();
    lines
}

/// A chart that imports a null and then an empty table from a subchart. The null must not be in the result.
fn imports_of_nothing() -> (Vec<(String, String)>, String, bool) {
    let values = "{{ toJson .Values | quote }}";
    let files = [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: root\nversion: 1.0.0\ndependencies: [{name: two, version: '*'}]\n",
        ),
        ("templates/a.yaml", &format!("kind: A\nv: {values}\n")),
        (
            "charts/two/Chart.yaml",
            "apiVersion: v2\nname: two\nversion: 1.0.0\ndependencies: [{name: one, version: '*', import-values: [data, more]}]\n",
        ),
        (
            "charts/two/charts/one/Chart.yaml",
            "apiVersion: v2\nname: one\nversion: 1.0.0\n",
        ),
        (
            "charts/two/charts/one/values.yaml",
            "exports: {data: {c: [], enabled: null}, more: {}}\n",
        ),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    (files.into(), String::new(), false)
}

/// How often Helm is asked again if the answers differ: it iterates over subcharts in the order of a Go map, which is
/// random.
const ASKED_AGAIN: usize = 300;

/// The difference between the release of this crate and Helm's answer, if any.
fn difference(ours: &Result<Release, String>, theirs: Answer, upgrade: bool) -> Option<String> {
    let shown = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        Some(format!("ours: {ours:?}\ntheirs: {theirs:?}"))
    };
    match (ours, theirs) {
        (Ok(ours), Answer::Output(mut theirs)) => {
            // Notes and times are not compared.
            let release = theirs.as_object_mut().unwrap();
            release.remove("info");
            release.remove("apply_method");
            let mut ours = as_json(ours);
            let lines = |release: &mut Value| {
                let manifest = release["manifest"].take();
                let lines = manifest.as_str().unwrap_or_default().lines();
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let (own_lines, their_lines) = (lines(&mut ours), lines(&mut theirs));
            if own_lines != their_lines {
                return shown(&own_lines, &their_lines);
            }
            (ours != theirs).then(|| shown(&ours, &theirs)).flatten()
        }
        (Err(ours), Answer::Error(theirs)) => {
            // Helm's side of an upgrade is an installation here. HE-ACT-005
            let prefix = "chart dependencies processing failed: ";
            let told_apart = upgrade.then(|| theirs.strip_prefix(prefix)).flatten();
            let theirs = told_apart.unwrap_or(&theirs);
            (sorted(ours) != sorted(theirs))
                .then(|| shown(ours, &theirs))
                .flatten()
        }
        (ours, theirs) => shown(ours, &theirs),
    }
}

#[test]
fn random_charts_render_to_the_same_release_as_in_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let mut random = Random::new(oracle::seed());
    let cases: Vec<_> = (0..oracle::cases(400))
        .map(|_| {
            let mut files = Vec::new();
            random.chart("", "root", 2, &mut files);
            let values = random.values(&["one", "two", "three", "other0", "other1"]);
            (files, values, random.one_in(4))
        })
        .collect();
    let cases: Vec<_> = std::iter::once(imports_of_nothing()).chain(cases).collect();
    let questions: Vec<_> = cases
        .iter()
        .map(|(files, values, upgrade)| {
            json!({"mode": "render", "archive": base64(pack(files)), "values": values, "upgrade": upgrade})
        })
        .collect();
    let answers = go.ask_all(&questions);
    let mut rendered = 0;
    for (((files, values, upgrade), question), answer) in cases.iter().zip(&questions).zip(answers)
    {
        let ours = release(&pack(files), values, *upgrade);
        let mut found = difference(&ours, answer, *upgrade);
        for _ in 0..ASKED_AGAIN {
            if found.is_none() {
                break;
            }
            found = difference(&ours, go.ask(question), *upgrade);
        }
        assert_eq!(found, None, "{files:#?}\nvalues: {values}");
        rendered += usize::from(ours.is_ok());
    }
    println!("{rendered} of {} charts rendered", cases.len());
}

type Set = fn(&mut Values, &str) -> Result<(), flux_helm::SetError>;

const PIECES: [&str; 30] = [
    "a", "b", "c", "=", "=", "=", ".", ".", ",", "[0]", "[1]", "[2]", "[", "]", "{", "}", "{x,y}",
    "1", "007", "true", "null", "\\,", "\\.", "\\", " ", "é", "-1", "[-1]", "[65537]", "\"j\"",
];

const BASES: [&str; 5] = [
    "{}",
    r#"{"a": {"b": "x", "c": [1, {"a": 2}]}}"#,
    r#"{"a": [["x"], {"b": null}], "b": null}"#,
    r#"{"a": 5, "c": {"a": {}}}"#,
    r#"{"a": "text", "b": [null, 1]}"#,
];

#[test]
fn set_arguments_have_the_same_effect_as_in_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let mut random = Random::new(oracle::seed() + 1);
    let options: [(&str, Set); 4] = [
        ("set", set),
        ("set-string", set_string),
        ("set-json", set_json),
        ("set-literal", set_literal),
    ];
    let cases: Vec<_> = (0..oracle::cases(4000))
        .map(|_| {
            let mut argument = String::new();
            for _ in 0..=random.below(12) {
                argument.push_str(random.pick(&PIECES));
            }
            (random.below(4), argument, random.pick(&BASES))
        })
        .collect();
    let questions: Vec<_> = cases
        .iter()
        .map(|(option, argument, base)| {
            let values: Value = serde_json::from_str(base).unwrap();
            json!({"mode": "set", "option": options[*option].0, "argument": argument, "values": values})
        })
        .collect();
    for ((option, argument, base), answer) in cases.iter().zip(go.ask_all(&questions)) {
        let mut values = load_values(base.as_bytes()).unwrap();
        let (name, apply) = options[*option];
        let ours = match apply(&mut values, argument) {
            Ok(()) => Answer::Output(
                as_json(&Release {
                    config: values,
                    ..Release::default()
                })["config"]
                    .take(),
            ),
            Err(e) => Answer::Error(e.to_string()),
        };
        let ours = match ours {
            // An empty config is omitted from a release.
            Answer::Output(Value::Null) => Answer::Output(json!({})),
            // Only that the JSON is invalid is compared, not the parser's message.
            Answer::Error(_) if name == "set-json" && matches!(answer, Answer::Error(_)) => {
                answer.clone()
            }
            other => other,
        };
        assert_eq!(ours, answer, "--{name} {argument:?} on {base}");
    }
}

#[test]
fn an_item_of_a_list_keeps_what_it_has_besides_a_literal() {
    let mut values = load_values(b"x: [1, {a: 2}]").unwrap();
    set_literal(&mut values, "x[1].b=c,d=e").unwrap();
    let wanted = load_values(b"x: [1, {a: 2, b: 'c,d=e'}]").unwrap();
    assert_eq!(values, wanted);
}

const LINES: [&str; 18] = [
    "---",
    "--- ",
    "---\t# c",
    "---kind: A",
    " ---",
    "kind: Service",
    "kind: Pod",
    "kind: [",
    "",
    "  ",
    "# comment",
    "apiVersion: v1",
    "metadata:",
    "  annotations: {helm.sh/hook: test, helm.sh/hook-weight: \"7\"}",
    "  annotations: {a: [1]}",
    "  name: x",
    "text: |",
    "  ---",
];

#[test]
fn random_manifests_are_split_as_in_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let mut random = Random::new(oracle::seed() + 2);
    let texts: Vec<_> = (0..oracle::cases(3000))
        .map(|_| {
            let lines: Vec<_> = (0..random.below(9)).map(|_| random.pick(&LINES)).collect();
            lines.join(random.pick(&["\n", "\n", "\r\n"]))
        })
        .collect();
    let questions: Vec<_> = texts
        .iter()
        .map(|text| json!({"mode": "split", "name": "c/t.yaml", "text": text}))
        .collect();
    for (text, answer) in texts.iter().zip(go.ask_all(&questions)) {
        let files = [("c/t.yaml".to_owned(), text.clone())].into();
        match (
            sort_manifests(&files, flux_helm::KindOrder::Install),
            answer,
        ) {
            (Ok(ours), Answer::Output(theirs)) => {
                let contents: Vec<_> = ours.manifests.iter().map(|m| m.content.as_str()).collect();
                assert_eq!(json!(contents), theirs["manifests"], "{text:?}");
                let hooks: Vec<Hook> = serde_json::from_value(match &theirs["hooks"] {
                    Value::Null => json!([]),
                    hooks => hooks.clone(),
                })
                .unwrap();
                assert_eq!(ours.hooks, hooks, "{text:?}");
            }
            (Err(ours), Answer::Error(theirs)) => assert_eq!(chain(&ours), theirs, "{text:?}"),
            (ours, theirs) => panic!("{text:?}\n{ours:?}\n{theirs:?}"),
        }
    }
}
