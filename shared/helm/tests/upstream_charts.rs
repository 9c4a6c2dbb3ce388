//! Loads and renders the charts of Helm's own tests with both libraries, if Helm's Go module is available.
// HE-TEST-001

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flux_errors::chain;
use flux_helm::{Chart, Release, ReleaseChart, RenderOptions, load_values, render, to_go_json};
use oracle::{Answer, Oracle, base64};
use serde_json::{Value, json};
use support::pack;

/// The folder of Helm's Go module, which contains its test data.
fn module() -> Option<PathBuf> {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kind-tests/oracle/helm");
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "helm.sh/helm/v4"])
        .current_dir(oracle)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = PathBuf::from(text.trim());
    folder.join("pkg").is_dir().then_some(folder)
}

/// The folders below `at` that have a Chart.yaml and are not subcharts, and the chart archives.
fn charts(at: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(at)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    if entries.iter().any(|entry| entry.ends_with("Chart.yaml")) {
        into.push(at.to_path_buf());
        return;
    }
    for entry in entries {
        if entry.is_dir() {
            charts(&entry, into);
        } else if entry.extension().is_some_and(|end| end == "tgz") {
            into.push(entry);
        }
    }
}

fn files(folder: &Path, below: &str, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    entries.sort();
    for entry in entries {
        let name = format!("{below}{}", entry.file_name().unwrap().to_string_lossy());
        if entry.is_dir() {
            files(&entry, &format!("{name}/"), into);
        } else if let Ok(text) = fs::read_to_string(&entry) {
            into.push((name, text));
        }
    }
}

fn ours(archive: &[u8]) -> Result<Value, String> {
    let chart = Chart::from_archive(archive).map_err(|e| chain(&e))?;
    let config = load_values(b"").unwrap();
    let rendered =
        render(&chart, &config, &RenderOptions::new("rel", "apps")).map_err(|e| chain(&e))?;
    let release = Release {
        name: "rel".to_owned(),
        namespace: "apps".to_owned(),
        revision: 1,
        chart: Some(ReleaseChart::new(&chart, &rendered)),
        manifest: rendered.manifest(true),
        hooks: rendered.hooks,
        ..Release::default()
    };
    Ok(serde_json::from_slice(&to_go_json(&release).unwrap()).unwrap())
}

#[test]
fn test_charts_of_helm_render_as_in_helm() {
    let (Some(mut go), Some(module)) = (Oracle::start("helm"), module()) else {
        println!("skipped: no go, so Helm's module is not here");
        return;
    };
    let mut found = Vec::new();
    charts(&module.join("pkg"), &mut found);
    let (mut rendered, mut refused, mut random) = (0, 0, 0);
    for path in &found {
        let archive = if path.is_dir() {
            let mut entries = Vec::new();
            files(path, "", &mut entries);
            pack(&entries)
        } else {
            fs::read(path).unwrap()
        };
        let question = json!({"mode": "render", "archive": base64(&archive), "values": ""});
        let told = path.strip_prefix(&module).unwrap().display();
        match (ours(&archive), go.ask(&question)) {
            (Ok(mut ours), Answer::Output(mut theirs)) => {
                for release in [&mut ours, &mut theirs] {
                    let release = release.as_object_mut().unwrap();
                    release.remove("info");
                    release.remove("apply_method");
                }
                // If several subcharts define a template, Helm uses a random one.
                let lines = |release: &Value| {
                    let text = release["manifest"].as_str().unwrap_or_default().to_owned();
                    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                    lines.sort();
                    lines
                };
                assert_eq!(lines(&ours), lines(&theirs), "{told}");
                ours["manifest"].take();
                theirs["manifest"].take();
                assert_eq!(ours, theirs, "{told}");
                rendered += 1;
            }
            // There is nothing to compare.
            (Err(ours), _) if ours.contains("no source of random bytes") => random += 1,
            (Err(ours), Answer::Error(theirs)) => {
                let sorted = |text: &str| {
                    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                    lines.sort();
                    lines
                };
                assert_eq!(sorted(&ours), sorted(&theirs), "{told}");
                refused += 1;
            }
            (ours, theirs) => panic!("{told}\n{ours:?}\n{theirs:?}"),
        }
    }
    println!("{rendered} charts rendered, {refused} refused alike, {random} are random");
    assert!(rendered > 50, "{rendered}");
}
