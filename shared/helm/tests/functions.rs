//! Tables of templates with the output of Helm 4.2: the functions that Helm adds, its objects, and its errors.
//!
//! The expected output is written by Helm itself: `go run ./cmd/gotemplate -tables FILE` in `kind-tests/oracle`, which
//! describes the format. Every case is the only template of a chart; here it is the notes, which are the file as rendered.

use std::collections::BTreeSet;

use flux_errors::chain;
use flux_helm::{Chart, File, RenderOptions, Values, load_values, render};

/// The rows of the table's cases, all of them.
const ROWS: &[&str] = &[
    "HE-ENG-008",
    "HE-ENG-009",
    "HE-ENG-010",
    "HE-ENG-011",
    "HE-ENG-012",
    "HE-ENG-013",
    "HE-ENG-017",
    "HE-ENG-020",
    "HE-ENG-021",
    "HE-FNE-001",
    "HE-FNE-002",
    "HE-FNE-003",
    "HE-FNE-004",
    "HE-FNE-005",
    "HE-FNE-006",
    "HE-FNE-007",
    "HE-FNE-008",
    "HE-FNE-009",
    "HE-TPL-023",
    "HE-TPL-025",
    "HE-TPL-027",
    "HE-TPL-040",
];

fn notes(template: &str, values: &Values) -> String {
    let chart = Chart::from_files(vec![
        File::new("Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.2.3\n"),
        File::new("templates/NOTES.txt", template.to_owned()),
    ])
    .expect("a chart");
    match render(&chart, values, &RenderOptions::new("rel", "apps")) {
        Ok(rendered) => rendered.notes,
        Err(e) => format!("ERROR {}", chain(&e)),
    }
}

#[test]
fn template_functions_match_helm() {
    let values = load_values(include_bytes!("tables/data.json")).expect("values");
    let (mut wrong, mut rows, mut cases) = (Vec::new(), BTreeSet::new(), 0);
    let table = include_str!("tables/functions.txt");
    for case in table.trim_end_matches("\n====\n").split("\n====\n") {
        let (mut template, expected) = case.split_once("\n----\n").expect("a case has an answer");
        while let Some(line) = template.strip_prefix("#: ") {
            let (words, rest) = line.split_once('\n').unwrap_or((line, ""));
            rows.extend(
                words
                    .split_whitespace()
                    .filter(|word| word.starts_with("HE-")),
            );
            template = rest;
        }
        let ours = notes(template, &values).replace("templates/NOTES.txt", "templates/t.yaml");
        if ours != expected {
            wrong.push(format!("{template}\n  helm: {expected}\n  ours: {ours}"));
        }
        cases += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {cases} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(rows, ROWS.iter().copied().collect(), "rows of the table");
}
