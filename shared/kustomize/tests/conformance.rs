//! The shared build cases: trees with the output of the real kustomize, compared with Flux's settings (`flux` if a case
//! has it), and with each case's own settings unless the case's tool is newer than ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use flux_kustomize::{Build, LoadRestriction, Options, Order, Remotes, build};
use flux_tree::{Tree, TreePath};
use serde_json::Value;

/// Cases that are known to fail, each with the reason. A case that passes must be removed from the list.
const EXPECTED_FAILURES: &[(&str, &str)] = &[];

/// Cases of a kustomize newer than 5.8.1, whose own settings are not supported.
const NEWER_KUSTOMIZE: &[&str] = &[
    // a delimiter inside structured text (KZ-REPL-026)
    "filter/replacement/replacement_json_substring_options_first",
    "filter/replacement/replacement_json_substring_options_middle",
    "filter/replacement/replacement_json_substring_options_suffix",
    "filter/replacement/replacement_yaml_substring_options_first",
    "filter/replacement/replacement_yaml_substring_options_middle",
    "filter/replacement/replacement_yaml_substring_options_suffix",
    // volumeClaimTemplateLabels and includeVolumeClaimTemplates (KZ-LBL-009)
    "krusty/TestCustomConfig",
    "krusty/TestFixedBug605_BaseCustomizationAvailableInOverlay",
    "krusty/TestFixedBug605_BaseCustomizationAvailableInOverlay@/base",
    "krusty/TestKustomizationLabelsInStatefulSetTemplateWithClaimTemplateAndIncludeVolumeClaimTemplatesFalse",
    "krusty/TestKustomizationLabelsInStatefulSetTemplateWithClaimTemplateAndIncludeVolumeClaimTemplatesTrue",
    "krusty/TestKustomizationLabelsInStatefulSetTemplateWithClaimTemplateIncludeTemplateFalseAndIncludeVolumeClaimTemplatesTrue",
    "krusty/TestKustomizationLabelsInStatefulSetTemplateWithIncludeSelectorsTrue",
];

fn cases() -> Vec<Value> {
    let folder = oracle::conformance("kustomize");
    ["krusty.jsonl.gz", "repo.jsonl.gz"]
        .iter()
        .flat_map(|name| {
            let file = File::open(folder.join(name)).unwrap();
            BufReader::new(flate2::read::GzDecoder::new(file))
                .lines()
                .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
                .collect::<Vec<Value>>()
        })
        .collect()
}

fn tree(case: &Value) -> Tree {
    let mut tree = Tree::new();
    let path = |path: &str| TreePath::new(path.trim_start_matches('/')).unwrap();
    for (name, text) in case["files"].as_object().into_iter().flatten() {
        let text = text.as_str().unwrap().to_owned();
        tree.insert_file(path(name), text, false).unwrap();
    }
    for (name, text) in case["files_base64"].as_object().into_iter().flatten() {
        let bytes = base64::prelude::BASE64_STANDARD
            .decode(text.as_str().unwrap())
            .unwrap();
        tree.insert_file(path(name), bytes, false).unwrap();
    }
    tree
}

fn run(case: &Value, options: &Options) -> Result<String, String> {
    let dir = TreePath::new(case["root"].as_str().unwrap().trim_start_matches('/')).unwrap();
    match build(&tree(case), &dir, options, &Remotes::new()) {
        Ok(Build::Done(output)) => Ok(output.resources.to_yaml()),
        Ok(Build::Needs(bases)) => Err(format!("needs {bases:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn own_options(case: &Value) -> Options {
    let text = |field: &str| case["options"][field].as_str().unwrap_or_default();
    let mut options = Options::default();
    options.order = match text("reorder") {
        "none" => Order::None,
        _ => Order::Legacy,
    };
    options.load = match text("load_restrictor") {
        "none" => LoadRestriction::None,
        _ => LoadRestriction::RootOnly,
    };
    options.managed_by_label = case["options"]["managed_by_label"] == true;
    options.version = "(devel)".into();
    options
}

/// The difference from the expected result, if any.
fn judge(got: &Result<String, String>, want: &Value) -> Option<String> {
    let output = want["output"].as_str();
    match (got, output) {
        (Ok(got), Some(want)) if got == want => None,
        (Ok(got), Some(want)) => Some(difference(got, want)),
        (Err(error), Some(_)) => Some(format!("failed: {error}")),
        (Err(_), None) => None,
        (Ok(_), None) => Some(format!("should fail: {}", want["error"])),
    }
}

fn difference(got: &str, want: &str) -> String {
    let (mut left, mut right) = (got.lines(), want.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (None, None) => return "line ends".into(),
            (a, b) if a == b => {}
            (a, b) => return format!("line {number}: {a:?} instead of {b:?}"),
        }
    }
}

fn in_parallel<T: Send>(cases: &[Value], each: impl Fn(&Value) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(at) else {
                            return done;
                        };
                        done.push((at, each(case)));
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn builds_with_flux_settings_match_upstream() {
    let all = cases();
    let expected: BTreeMap<_, _> = EXPECTED_FAILURES.iter().copied().collect();
    let verdicts = in_parallel(&all, |case| {
        let want = if case["flux"].is_null() {
            case
        } else {
            &case["flux"]
        };
        let mut options = Options::flux();
        options.version = "(devel)".into();
        judge(&run(case, &options), want)
    });
    let mut wrong = Vec::new();
    let mut passed = 0;
    for (case, verdict) in all.iter().zip(verdicts) {
        let id = case["id"].as_str().unwrap();
        match (verdict, expected.get(id)) {
            (None, None) => passed += 1,
            (Some(_), Some(_)) => {}
            (Some(problem), None) => wrong.push(format!("{id}: {problem}")),
            (None, Some(reason)) => wrong.push(format!("{id} passes now, though: {reason}")),
        }
    }
    println!("{passed} of {} cases pass", all.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn builds_with_their_own_settings_match_upstream() {
    let all = cases();
    let verdicts = in_parallel(&all, |case| judge(&run(case, &own_options(case)), case));
    let mut wrong = Vec::new();
    let mut passed = 0;
    for (case, verdict) in all.iter().zip(verdicts) {
        let id = case["id"].as_str().unwrap();
        match (verdict, NEWER_KUSTOMIZE.contains(&id)) {
            (None, false) => passed += 1,
            (Some(_), true) => {}
            (Some(problem), false) => wrong.push(format!("{id}: {problem}")),
            (None, true) => wrong.push(format!("{id} is not newer")),
        }
    }
    println!("{passed} of {} cases pass at their own settings", all.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
