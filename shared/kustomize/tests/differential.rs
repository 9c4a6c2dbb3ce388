//! Random overlays, built by this crate and by the real library: both return the same bytes, or fail with the same
//! text.
//!
//! `FLUX_ORACLE_CASES` sets the number of cases, `FLUX_ORACLE_SEED` the first seed.

mod overlay;

use std::collections::BTreeMap;

use flux_kustomize::{Build, Options, Remotes, build};
use flux_tree::{Tree, TreePath};
use oracle::{Answer, Oracle, base64};
use serde_json::json;

fn ours(files: &BTreeMap<String, String>, dir: &str, options: &Options) -> Result<String, String> {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::new(path.trim_start_matches('/')).unwrap();
        tree.insert_file(path, text.clone(), false).unwrap();
    }
    let dir = TreePath::new(dir.trim_start_matches('/')).unwrap();
    match build(&tree, &dir, options, &Remotes::new()) {
        Ok(Build::Done(output)) => Ok(output.resources.to_yaml()),
        Ok(Build::Needs(bases)) => Err(format!("needs {bases:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn random_overlays_build_as_in_kustomize() {
    let Some(mut go) = Oracle::start("kustomize") else {
        return;
    };
    let cases = oracle::cases(200) as u64;
    let first = oracle::seed();
    let (mut built, mut failed) = (0, 0);
    let mut wrong = Vec::new();
    for seed in first..first + cases {
        let files = overlay::files(seed);
        let flux = seed % 2 == 0;
        let encoded: BTreeMap<_, _> = files
            .iter()
            .map(|(path, text)| (path, base64(text)))
            .collect();
        let request = json!({"mode": "build", "files": encoded, "dir": "/over", "flux": flux});
        let theirs = go.ask(&request);
        let mut options = if flux {
            Options::flux()
        } else {
            Options::default()
        };
        options.version = "(devel)".into();
        let ours = ours(&files, "/over", &options);
        let same = match (&ours, &theirs) {
            (Ok(ours), Answer::Output(theirs)) => {
                built += 1;
                theirs.as_str() == Some(ours)
            }
            (Err(ours), Answer::Error(theirs)) => {
                failed += 1;
                same_words(ours, theirs)
            }
            (Err(_), Answer::Panic(_)) => {
                failed += 1;
                true
            }
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "seed {seed}:\n{}\n--- ours\n{ours:?}\n--- theirs\n{theirs:?}",
                shown(&files)
            ));
        }
    }
    println!(
        "{built} overlays built alike, {failed} failed alike, {} differ",
        wrong.len()
    );
    let first: Vec<_> = wrong.iter().take(3).cloned().collect();
    assert!(
        wrong.is_empty(),
        "{} differ, among them\n{}",
        wrong.len(),
        first.join("\n\n")
    );
}

/// Whether both texts are equal, up to the point where the real library's message contains whole objects or
/// configurations, which may be Secrets; ours only names them.
fn same_words(ours: &str, theirs: &str) -> bool {
    const MARKS: [&str; 7] = [
        "out of bounds for value",
        "namespace transformation produces ID conflict",
        "found multiple objects",
        "merging config",
        "found multiple possible referrals",
        "validator shouldn't modify the resource map",
        "has invalid utf8 bytes",
    ];
    let until = |mark: &str| match (ours.split_once(mark), theirs.split_once(mark)) {
        (Some((ours, _)), Some((theirs, _))) => ours == theirs,
        _ => false,
    };
    let end = |text: &str| {
        let at = text.rfind("yaml: ").or_else(|| text.rfind("json: "));
        at.map(|at| text[at..].to_owned())
    };
    let contents = theirs.split_once(": node contents:\n");
    ours == theirs
        || contents.is_some_and(|(theirs, _)| theirs == ours)
        || MARKS.into_iter().any(until)
        || theirs.starts_with("map[string]interface {}") && end(ours) == end(theirs)
}

fn shown(files: &BTreeMap<String, String>) -> String {
    files
        .iter()
        .map(|(path, text)| format!("# {path}\n{text}"))
        .collect::<Vec<_>>()
        .join("\n")
}
