//! Compares random TOML documents, whose tables overlap in all ways, with Helm's `fromToml`.

use std::fmt::Write as _;

mod support;

use flux_helm::{Chart, File, RenderOptions, load_values, render};
use oracle::{Answer, Oracle};
use serde_json::json;
use support::{Random, pack};

const CHART: &str = "apiVersion: v2\nname: c\nversion: 1.0.0\n";

/// Prints a line for each document: its content, or that it is refused.
const NOTES: &str = "{{ range .Values.documents }}{{ $d := fromToml . }}{{ if hasKey $d \"Error\" }}refused{{ else }}{{ toJson $d }} {{ range $k, $v := $d }}{{ $k }}:{{ typeOf $v }} {{ end }}{{ toToml $d | quote }}{{ end }}\n{{ end }}";

fn path(random: &mut Random) -> String {
    let keys: Vec<_> = (0..=random.below(3))
        .map(|_| {
            random
                .pick(&["a", "b", "c", "a", "b", "\"d e\"", "'f.g'"])
                .to_owned()
        })
        .collect();
    keys.join(random.pick(&[".", ".", " . "]))
}

fn document(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(6) {
        let path = path(random);
        let value = random.pick(&[
            "1",
            "-0x1f",
            "1_0.5e3",
            "\"x # y\"",
            "'''\nm\n'''",
            "\"\"\"a\\\n  b\"\"\"",
            "true",
            "[1, 'b']",
            "[]",
            "{}",
            "{a = 1}",
            "{b = {c = 1}, d = {}}",
            "[{a = 1}, {b = 2}]",
            "[[{a = 1}]]",
            "[ # c\n 1,\n]",
            "2001-01-01",
            "2001-01-01T01:02:03.5Z",
            "2001-01-01 01:02:03-07:00",
            "01:02",
            "inf",
        ]);
        let _ = match random.below(5) {
            0 => write!(text, "[{path}]"),
            1 => write!(text, "[[{path}]] # tables"),
            _ => write!(text, "{path} = {value}"),
        };
        text.push_str(random.pick(&["\n", "\n", " # c\n", "\r\n", "\n\n"]));
    }
    text
}

#[test]
fn toml_tables_merge_as_in_helm() {
    // HE-FNE-009
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let mut random = Random::new(9);
    let documents: Vec<_> = (0..oracle::cases(2000))
        .map(|_| document(&mut random))
        .collect();
    let values = json!({"documents": documents}).to_string();
    let files = [
        ("Chart.yaml".to_owned(), CHART.to_owned()),
        ("templates/NOTES.txt".to_owned(), NOTES.to_owned()),
    ];
    let archive = oracle::base64(pack(&files));
    let question = json!({"mode": "render", "archive": archive, "values": values});
    let Answer::Output(release) = go.ask(&question) else {
        panic!("Helm renders the notes");
    };
    let theirs = release["info"]["notes"].as_str().unwrap();
    let chart = Chart::from_files(vec![
        File::new("Chart.yaml", CHART),
        File::new("templates/NOTES.txt", NOTES),
    ]);
    let values = load_values(values.as_bytes()).unwrap();
    let rendered = render(&chart.unwrap(), &values, &RenderOptions::new("rel", "apps")).unwrap();
    let refused = theirs.lines().filter(|line| *line == "refused").count();
    assert!(
        (100..documents.len() - 100).contains(&refused),
        "{refused} of {}",
        documents.len()
    );
    let pairs = theirs.lines().zip(rendered.notes.lines()).zip(&documents);
    let different: Vec<_> = pairs
        .filter(|((theirs, ours), _)| theirs != ours)
        .map(|((theirs, ours), document)| {
            format!("{document:?}\n  ours:   {ours}\n  theirs: {theirs}\n")
        })
        .collect();
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different[..different.len().min(10)].join("\n")
    );
    assert_eq!(theirs.lines().count(), rendered.notes.lines().count());
}
