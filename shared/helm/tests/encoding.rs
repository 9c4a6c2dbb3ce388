//! Compares rendered text that is not UTF-8 with Helm.

mod support;

use std::sync::Arc;

use flux_errors::chain;
use flux_helm::{
    Chart, File, PostRenderStrategy, PostRenderer, RenderOptions, Values, load_values, render,
};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};
use support::{Random, pack};

const CHART: &str = "apiVersion: v2\nname: c\nversion: 1.0.0\n";

/// Returns its input.
struct Unchanged;

impl PostRenderer for Unchanged {
    fn run(&self, manifests: &str) -> Result<String, String> {
        Ok(manifests.to_owned())
    }
}

fn ours(files: &[(String, String)], strategy: Option<&str>) -> Result<String, String> {
    let mut all = vec![File::new("Chart.yaml", CHART)];
    let templates = files.iter();
    all.extend(templates.map(|(name, text)| File::new(format!("templates/{name}"), text.clone())));
    let mut options = RenderOptions::new("rel", "apps");
    if let Some(strategy) = strategy {
        options.post_renderer = Some(Arc::new(Unchanged));
        options.post_render_strategy = PostRenderStrategy::named(strategy).unwrap();
    }
    let chart = Chart::from_files(all).unwrap();
    let rendered = render(&chart, &Values::new(), &options).map_err(|e| chain(&e))?;
    Ok(rendered.manifest(false))
}

fn theirs(go: &mut Oracle, files: &[(String, String)], strategy: Option<&str>) -> Answer {
    if let Some(strategy) = strategy {
        let files: serde_json::Map<String, Value> = files
            .iter()
            .map(|(name, text)| (name.clone(), text.clone().into()))
            .collect();
        return go.ask(&json!({"mode": "postrender", "files": files, "strategy": strategy}));
    }
    let mut all = vec![("Chart.yaml".to_owned(), CHART.to_owned())];
    let templates = files.iter();
    all.extend(templates.map(|(name, text)| (format!("templates/{name}"), text.clone())));
    let archive = oracle::base64(pack(&all));
    go.ask(&json!({"mode": "render", "archive": archive, "values": ""}))
}

/// A template that writes these bytes.
fn bytes(base64: &str) -> String {
    format!("{{{{ \"{base64}\" | b64dec }}}}")
}

fn files(texts: &[String]) -> Vec<(String, String)> {
    let named = texts.iter().zip(["a.yaml", "b.yaml", "NOTES.txt"]);
    named
        .map(|(text, name)| (name.to_owned(), text.clone()))
        .collect()
}

/// Invalid at the first byte, in the middle, at the end; overlong; a surrogate; beyond Unicode; valid characters.
const BYTES: [&str; 9] = [
    "/w==", "gQ==", "wyg=", "4oI=", "wIA=", "7aCA", "9JCAgA==", "w6k=", "4oKs",
];

#[test]
fn text_that_is_not_utf_8_is_refused() {
    // HE-MAN-006
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let mut cases = Vec::new();
    for broken in BYTES {
        let broken = bytes(broken);
        for text in [
            format!("kind: A\nv: \"{broken}\"\n"),
            format!("kind: A\nv: {broken}\n"),
            format!("# {broken}\nkind: A\n"),
            format!("kind: A\n---\n# {broken}\nkind: B\n"),
            format!("kind: A\nv: |\n  {broken}\n"),
            format!("é kind\n---\nkind: [\n---\n{broken}"),
            format!("kind: A\n--- \nv: é{broken}é\n---\nkind: ["),
            format!("\n\n{broken}---\nkind: A\n"),
            format!(
                "kind: Pod\nmetadata: {{annotations: {{\"helm.sh/hook\": test}}}}\nx: {broken}\n"
            ),
            "kind: A\nv: {{ \"/w==\" | b64dec | quote }}{{ \"/w==\" | b64dec | toJson }}\n"
                .to_string(),
        ] {
            cases.push(vec![text]);
        }
        cases.push(vec![format!("kind: {broken}\n"), "kind: [\n".to_owned()]);
        cases.push(vec!["kind: [\n".to_owned(), format!("kind: {broken}\n")]);
        cases.push(vec!["kind: A\n".to_owned(), "kind: B\n".to_owned(), broken]);
    }
    let mut random = Random::new(5);
    for _ in 0..oracle::cases(200) {
        let mut text = String::new();
        for _ in 0..=random.below(6) {
            text.push_str(&match random.below(3) {
                0 => bytes(random.pick(&BYTES)),
                _ => random
                    .pick(&[
                        "kind: A\n",
                        "---\n",
                        "# é\n",
                        "a: ",
                        "\n",
                        "x",
                        "- ",
                        "\"",
                        "  ",
                    ])
                    .to_owned(),
            });
        }
        cases.push(vec![text, "kind: Z\n".to_owned()]);
    }
    let (mut different, mut refused) = (Vec::new(), 0);
    for texts in &cases {
        let files = files(texts);
        for strategy in [None, Some("combined"), Some("separate"), Some("nohooks")] {
            let ours = ours(&files, strategy);
            let theirs = match theirs(&mut go, &files, strategy) {
                Answer::Output(release) => {
                    Ok(release["manifest"].as_str().unwrap_or_default().to_owned())
                }
                Answer::Error(text) | Answer::Panic(text) => Err(text),
            };
            refused += usize::from(theirs.as_ref().is_err_and(|text| text.contains("UTF-8")));
            if ours != theirs {
                different.push(format!(
                    "{texts:?} {strategy:?}\n  ours:   {ours:?}\n  theirs: {theirs:?}\n"
                ));
            }
        }
    }
    assert!(refused > 200, "{refused}");
    let count = different.len();
    different.truncate(10);
    assert!(
        different.is_empty(),
        "{count} differ:\n{}",
        different.join("\n")
    );
}

#[test]
fn notes_may_hold_any_bytes() {
    let chart = Chart::from_files(vec![
        File::new("Chart.yaml", CHART),
        File::new("templates/NOTES.txt", bytes("/w==")),
    ]);
    let values = load_values(b"").unwrap();
    let rendered = render(&chart.unwrap(), &values, &RenderOptions::new("rel", "apps")).unwrap();
    assert_eq!(rendered.notes, "\u{fffd}");
}
