//! Every render of the conformance data: 251 that Helm 4.2 printed, 18 that it refused.
// HE-TEST-002

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use flux_errors::chain;
use flux_gotemplate::{CallError, Environment, Time};
use flux_helm::{Chart, RenderOptions, ValueOptions, render};
use flux_tree::{Tree, TreePath};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    chart: String,
    values: Option<String>,
    release: String,
    namespace: String,
    #[serde(rename = "includeCRDs")]
    include_crds: bool,
    deterministic: bool,
    output: Option<String>,
    error: Option<String>,
}

/// Constant bytes in place of random ones; texts made from them are masked.
struct Fixed;

impl Environment for Fixed {
    fn now(&self) -> Time {
        Time::unix(1_700_000_000, 0)
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = (i as u8).wrapping_mul(37).wrapping_add(11);
        }
        Ok(())
    }
}

fn unpack(archive: &Path) -> Tree {
    let mut tree = Tree::new();
    let file = std::fs::File::open(archive).unwrap();
    for entry in tar::Archive::new(GzDecoder::new(file)).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = TreePath::new(&entry.path().unwrap().to_string_lossy()).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            tree.insert_file(path, content, false).unwrap();
        }
    }
    tree
}

fn text(tree: &Tree, path: &str) -> String {
    let path = TreePath::new(path).unwrap();
    String::from_utf8(tree.read(&path).unwrap().to_vec()).unwrap()
}

fn run(charts: &Tree, case: &Case) -> Result<String, String> {
    let folder = format!("charts/{}", case.chart);
    let chart =
        Chart::from_tree(charts, &TreePath::new(&folder).unwrap()).map_err(|e| chain(&e))?;
    let mut given = ValueOptions::default();
    if let Some(file) = &case.values {
        given.files.push((
            file.clone(),
            text(charts, &format!("{folder}/{file}")).into_bytes(),
        ));
    }
    let values = given
        .merge(&mut |name| Err(name.to_owned()))
        .map_err(|e| chain(&e))?;
    chart.check_installable().map_err(|e| chain(&e))?;
    let mut options = RenderOptions::new(&case.release, &case.namespace);
    options.environment = Arc::new(Fixed);
    match render(&chart, &values, &options) {
        Ok(rendered) => Ok(rendered.template_output(case.include_crds)),
        Err(e) if e.is_late() => Err(format!(
            "{}\n\nUse --debug flag to render out invalid YAML",
            chain(&e)
        )),
        Err(e) => Err(chain(&e)),
    }
}

/// Whether two lines differ only in a generated secret or a checksum of it.
fn same_but_random(ours: &str, theirs: &str) -> bool {
    let split = |line: &str| {
        let (key, value) = line.split_once(": ").unwrap_or(("", line));
        (key.to_owned(), value.trim_matches('"').to_owned())
    };
    let ((our_key, our_value), (their_key, their_value)) = (split(ours), split(theirs));
    let random = |value: &str| {
        value.len() >= 10
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=$._-".contains(&b))
    };
    ours == theirs
        || (our_key == their_key
            && our_value.len() == their_value.len()
            && random(&our_value)
            && random(&their_value))
}

fn first_difference(ours: &str, theirs: &str) -> String {
    let line = ours
        .lines()
        .zip(theirs.lines())
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| ours.lines().count().min(theirs.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("<end>").to_owned();
    let source = ours
        .lines()
        .take(line)
        .filter(|l| l.starts_with("# Source: "))
        .last();
    format!(
        "line {}: {:?} instead of {:?} in {source:?}",
        line + 1,
        at(ours),
        at(theirs)
    )
}

#[test]
fn rendered_manifests_match_helm() {
    let folder = oracle::conformance("helm");
    let cases: Vec<Case> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let charts = unpack(&folder.join("charts.tar.gz"));
    let renders = unpack(&folder.join("renders.tar.gz"));
    let filter = std::env::var("FLUX_HELM_CASE").unwrap_or_default();
    let mut passed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        let name = case.output.as_ref().or(case.error.as_ref()).unwrap();
        if !name.contains(&filter) {
            continue;
        }
        let theirs = text(&renders, name);
        let (kind, problem) = match (run(&charts, case), &case.error) {
            (Ok(ours), None) if case.deterministic => (
                "byte-equal",
                (ours != theirs).then(|| first_difference(&ours, &theirs)),
            ),
            (Ok(ours), None) => {
                let same = ours.lines().count() == theirs.lines().count()
                    && ours
                        .lines()
                        .zip(theirs.lines())
                        .all(|(a, b)| same_but_random(a, b));
                (
                    "equal after masking",
                    (!same).then(|| first_difference(&ours, &theirs)),
                )
            }
            (Err(ours), Some(_)) => {
                let (ours, theirs) = (format!("Error: {ours}"), theirs.trim_end());
                (
                    "same error",
                    (ours != theirs).then(|| format!("{ours:?} instead of {theirs:?}")),
                )
            }
            (Err(ours), None) => ("byte-equal", Some(format!("fails: {ours}"))),
            (Ok(_), Some(_)) => ("same error", Some("does not fail".to_owned())),
        };
        match problem {
            None => *passed.entry(kind).or_default() += 1,
            Some(problem) => failures.push(format!("{name}: {problem}")),
        }
    }
    println!(
        "{} of {} cases pass: {passed:?}",
        passed.values().sum::<usize>(),
        cases.len()
    );
    assert!(
        failures.is_empty(),
        "{} fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
