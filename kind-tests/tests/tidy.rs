//! Checks of the source tree as a whole: ARCHITECTURE.md, the order of crates, dead files, layout and style.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kind_tests::{Doing, Failure, Result, cache, ensure};
use ledger::{Source, cited};
use serde_json::Value;

/// The workspace as cargo sees it.
struct Workspace {
    root: PathBuf,
    metadata: Value,
}

/// One row of the table in ARCHITECTURE.md, whose first two cells are a folder in backticks and a storey.
struct Row {
    folder: String,
    storey: String,
}

impl Workspace {
    fn read() -> Result<Self> {
        let root = cache::workspace();
        // A new machine only has the crates of this platform.
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--offline", "--locked"])
            .args(["--filter-platform", &platform])
            .current_dir(&root)
            .output()?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            root,
            metadata: serde_json::from_slice(&output.stdout)?,
        })
    }

    /// The members: package id, name, and folder relative to the root.
    fn members(&self) -> Vec<(&str, &str, String)> {
        let ids: BTreeSet<&str> = array(&self.metadata["workspace_members"])
            .iter()
            .map(text)
            .collect();
        let packages = array(&self.metadata["packages"])
            .iter()
            .filter(|package| ids.contains(text(&package["id"])));
        packages
            .map(|package| {
                let manifest = Path::new(text(&package["manifest_path"]));
                let folder = manifest
                    .parent()
                    .and_then(|folder| folder.strip_prefix(&self.root).ok());
                let folder = folder.unwrap_or(manifest).to_string_lossy().into_owned();
                (text(&package["id"]), text(&package["name"]), folder)
            })
            .collect()
    }

    /// The ids of each package's ordinary dependencies.
    fn dependencies(&self) -> BTreeMap<&str, Vec<&str>> {
        let nodes = array(&self.metadata["resolve"]["nodes"]).iter();
        nodes
            .map(|node| {
                let ordinary = array(&node["deps"]).iter().filter(|dependency| {
                    array(&dependency["dep_kinds"])
                        .iter()
                        .any(|kind| kind["kind"].is_null())
                });
                (
                    text(&node["id"]),
                    ordinary
                        .map(|dependency| text(&dependency["pkg"]))
                        .collect(),
                )
            })
            .collect()
    }

    /// The Rust files of all members.
    fn sources(&self) -> Result<BTreeSet<PathBuf>> {
        let mut all = BTreeSet::new();
        for (_, _, folder) in self.members() {
            sources(&self.root.join(folder), &mut all)?;
        }
        Ok(all)
    }

    fn architecture(&self) -> Result<Vec<Row>> {
        let map =
            fs::read_to_string(self.root.join("ARCHITECTURE.md")).doing("read ARCHITECTURE.md")?;
        let mut rows = Vec::new();
        for line in map.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, folder, storey, _, ..] = cells.as_slice() else {
                continue;
            };
            if let Some(folder) = folder
                .strip_prefix('`')
                .and_then(|rest| rest.strip_suffix('`'))
            {
                rows.push(Row {
                    folder: folder.to_owned(),
                    storey: (*storey).to_owned(),
                });
            }
        }
        Ok(rows)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn architecture_lists_exactly_the_crates_of_the_workspace() -> Result {
    let workspace = Workspace::read()?;
    let there: BTreeSet<String> = workspace
        .members()
        .into_iter()
        .map(|(_, _, folder)| folder)
        .collect();
    let rows = workspace.architecture()?;
    let named: BTreeSet<String> = rows.iter().map(|row| row.folder.clone()).collect();
    ensure!(
        named.len() == rows.len(),
        "ARCHITECTURE.md has two rows for one crate"
    );
    let missing: Vec<_> = there.difference(&named).collect();
    let gone: Vec<_> = named.difference(&there).collect();
    ensure!(
        missing.is_empty() && gone.is_empty(),
        "ARCHITECTURE.md lacks {missing:?} and names {gone:?}, which is not there"
    );
    Ok(())
}

#[test]
fn crates_depend_only_downwards() -> Result {
    let workspace = Workspace::read()?;
    let rows = workspace.architecture()?;
    let place = |folder: &str| rows.iter().position(|row| row.folder == folder);
    let members = workspace.members();
    let dependencies = workspace.dependencies();
    let mut wrong = Vec::new();
    for (id, _, folder) in &members {
        let Some(own) = place(folder) else { continue };
        for (other_id, _, other_folder) in &members {
            let depends = dependencies
                .get(id)
                .is_some_and(|all| all.contains(other_id));
            if let Some(other) = place(other_folder).filter(|_| depends) {
                // The rows are ordered from the ground up, so the order also decides within a storey.
                let (storey, below) = (rank(&rows[own].storey)?, rank(&rows[other].storey)?);
                if below > storey || (below == storey && other >= own) {
                    wrong.push(format!(
                        "{folder} (storey {}) uses {other_folder}",
                        rows[own].storey
                    ));
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "against the order of ARCHITECTURE.md:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

fn rank(storey: &str) -> Result<usize> {
    ["1", "2", "3", "controller", "tests"]
        .iter()
        .position(|known| *known == storey)
        .ok_or_else(|| Failure::new(format!("ARCHITECTURE.md: {storey:?} is no storey")))
}

#[test]
fn lower_storeys_do_not_depend_on_banned_crates() -> Result {
    // Dependencies that a storey must not have, even transitively: engines are values in, values out; I/O knows no
    // Kubernetes.
    const ENGINES: &[&str] = &[
        "tokio",
        "reqwest",
        "hyper",
        "axum",
        "gix",
        "kube",
        "kube-client",
        "k8s-openapi",
    ];
    const IO: &[&str] = &["kube", "kube-client", "kube-core", "k8s-openapi"];

    let workspace = Workspace::read()?;
    let rows = workspace.architecture()?;
    let names: BTreeMap<&str, &str> = array(&workspace.metadata["packages"])
        .iter()
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect();
    let dependencies = workspace.dependencies();
    let mut wrong = Vec::new();
    for (id, _, folder) in workspace.members() {
        let storey = rows
            .iter()
            .find(|row| row.folder == folder)
            .map_or("", |row| row.storey.as_str());
        let banned = match storey {
            "1" => ENGINES,
            "2" => IO,
            _ => continue,
        };
        let mut seen = BTreeSet::from([id]);
        let mut open = vec![id];
        while let Some(next) = open.pop() {
            for dependency in dependencies.get(next).into_iter().flatten() {
                if seen.insert(dependency) {
                    open.push(dependency);
                }
            }
        }
        let found = seen
            .iter()
            .filter_map(|id| names.get(id))
            .filter(|name| banned.contains(name));
        wrong.extend(found.map(|name| format!("{folder} (storey {storey}) depends on {name}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_source_file_is_compiled() -> Result {
    let workspace = Workspace::read()?;
    let ids: BTreeSet<&str> = workspace
        .members()
        .into_iter()
        .map(|(id, _, _)| id)
        .collect();
    let mut reached = BTreeSet::new();
    for package in array(&workspace.metadata["packages"])
        .iter()
        .filter(|p| ids.contains(text(&p["id"])))
    {
        for target in array(&package["targets"]) {
            let root = PathBuf::from(text(&target["src_path"]));
            let beside = root.parent().unwrap_or(&root).to_path_buf();
            reach(&root, &beside, &mut reached)?;
        }
    }
    let all = workspace.sources()?;
    let dead: Vec<_> = all.difference(&reached).collect();
    ensure!(dead.is_empty(), "no target declares these files: {dead:#?}");
    Ok(())
}

/// Adds `file` and the files of its modules, which are in `folder`.
fn reach(file: &Path, folder: &Path, reached: &mut BTreeSet<PathBuf>) -> Result {
    // A #[path] may climb.
    let file = &file
        .canonicalize()
        .doing(format!("read {}", file.display()))?;
    if !reached.insert(file.clone()) {
        return Ok(());
    }
    let source = fs::read_to_string(file).doing(format!("read {}", file.display()))?;
    let mut path_attribute = None;
    for line in source.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path_attribute = rest.split('"').next().map(str::to_owned);
        }
        if let Some(included) = line
            .split("include!(\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
        {
            let beside = file.parent().unwrap_or(file);
            reach(&beside.join(included), folder, reached)?;
        }
        let declaration = line.strip_prefix("pub").map_or(line, |rest| {
            rest.trim_start_matches(|c: char| c != ' ').trim_start()
        });
        let Some(name) = declaration
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'))
        else {
            continue;
        };
        if let Some(path) = path_attribute.take() {
            let module = file.parent().unwrap_or(file).join(path);
            let beside = module.with_extension("");
            reach(&module, &beside, reached)?;
            continue;
        }
        let (flat, nested) = (
            folder.join(format!("{name}.rs")),
            folder.join(name).join("mod.rs"),
        );
        let module = if flat.is_file() { flat } else { nested };
        reach(&module, &folder.join(name), reached)?;
    }
    Ok(())
}

/// The Rust files of a crate's folder, without those of crates inside it.
fn sources(folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result {
    for entry in fs::read_dir(folder).doing(format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            let skipped = path.ends_with("target") || path.join("Cargo.toml").exists();
            if !skipped {
                sources(&path, found)?;
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.insert(path.canonicalize()?);
        }
    }
    Ok(())
}

#[test]
fn every_crate_inherits_the_workspace_lints_and_has_docs() -> Result {
    let workspace = Workspace::read()?;
    let mut wrong = Vec::new();
    for (_, _, folder) in workspace.members() {
        let folder = workspace.root.join(folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
        let lints = manifest.split("[lints]").nth(1).unwrap_or_default();
        if !lints.trim_start().starts_with("workspace = true")
            && !manifest.contains("lints.workspace = true")
        {
            wrong.push(format!(
                "{}: [lints] workspace = true is missing",
                folder.display()
            ));
        }
        let root = folder.join("src/lib.rs");
        if root.exists() && !fs::read_to_string(&root)?.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", root.display()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_source_file_has_a_doc_comment() -> Result {
    let workspace = Workspace::read()?;
    let all = workspace.sources()?;
    let mut wrong = Vec::new();
    for path in all {
        if !fs::read_to_string(&path)?.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", path.display()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The sources of all crates, their paths relative to the root.
fn plain_sources() -> Result<Vec<Source>> {
    let root = cache::workspace().canonicalize()?;
    let all = Workspace::read()?.sources()?;
    all.into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path)?;
            let path = path.strip_prefix(&root).unwrap_or(&path).to_path_buf();
            Ok(Source { path, text })
        })
        .collect()
}

/// The comments of a source, each with the number of its first line. Comments on consecutive lines are one.
fn comments(source: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in source.lines().enumerate() {
        let is_whole_line = line.trim_start().starts_with("//");
        let Some(text) = comment_in(line) else {
            continues = false;
            continue;
        };
        match found.last_mut() {
            Some((_, comment)) if continues && is_whole_line => {
                comment.push(' ');
                comment.push_str(text);
            }
            _ => found.push((number + 1, text.to_owned())),
        }
        continues = is_whole_line;
    }
    found
}

/// The text of the comment in a line.
fn comment_in(line: &str) -> Option<&str> {
    let (start, _) = line.match_indices("//").find(|(at, _)| {
        let before = &line[..*at];
        let quotes = before.matches('"').count() - before.matches("\\\"").count();
        // Slashes in a text literal, or of a URL, begin no comment.
        quotes.is_multiple_of(2) && !before.ends_with(':')
    })?;
    Some(line[start..].trim_start_matches(['/', '!']).trim())
}

#[test]
fn comments_are_found_and_joined() {
    let source =
        "//! Head.\n\nlet url = \"http://x\"; // one\n// two\n/// three\nlet text = \"// no\";\n";
    let expected = [(1, "Head."), (3, "one"), (4, "two three")];
    assert_eq!(
        comments(source),
        expected.map(|(line, text)| (line, text.to_owned()))
    );
}

#[test]
fn comments_use_plain_english() -> Result {
    const BANNED: &[&str] = &[
        "is none",
        "are none",
        "as it should be",
        "as they should be",
        "nobody",
        "somebody",
        "anybody",
        "whoever",
    ];
    let mut wrong = Vec::new();
    for source in plain_sources()? {
        for (line, comment) in comments(&source.text) {
            let words: String = comment
                .chars()
                // Backticks and underscores stay, so that the code `None` and a call of `is_none` are not the words.
                .map(|char| match char {
                    '`' | '_' => char,
                    _ if char.is_alphanumeric() => char,
                    _ => ' ',
                })
                .collect();
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            let words = format!(" {} ", words.to_lowercase());
            let found = BANNED
                .iter()
                .filter(|phrase| words.contains(&format!(" {phrase} ")));
            let path = source.path.display();
            wrong.extend(found.map(|phrase| format!("{path}:{line}: {phrase:?}")));
        }
    }
    ensure!(
        wrong.is_empty(),
        "see docs/style.md, Words:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

#[test]
fn a_comment_claims_at_most_three_rows() -> Result {
    let mut wrong = Vec::new();
    for source in plain_sources()? {
        let tests = source.tests();
        let skipped = source.text.len() - tests.len();
        let before = source.text[..skipped].lines().count();
        for (line, comment) in comments(tests) {
            let rows = cited(&comment).len();
            if rows > 3 {
                wrong.push(format!(
                    "{}:{}: {rows} rows",
                    source.path.display(),
                    before + line
                ));
            }
        }
        let heads = tests.lines().enumerate();
        let heads = heads.filter(|(_, line)| line.starts_with("//!") && !cited(line).is_empty());
        let path = source.path.display();
        wrong.extend(heads.map(|(at, _)| format!("{path}:{}: rows of a file", before + at + 1)));
    }
    ensure!(
        wrong.is_empty(),
        "put each ID at the case that fails without the row's behaviour:\n{}",
        wrong.join("\n")
    );
    Ok(())
}

#[test]
fn no_code_is_unfinished_and_no_test_ignored() -> Result {
    let workspace = Workspace::read()?;
    let all = workspace.sources()?;
    let mut found = Vec::new();
    for path in all {
        for (number, line) in fs::read_to_string(&path)?.lines().enumerate() {
            // Assembled here, so that this file does not match.
            let marks = [
                concat!("todo", "!("),
                concat!("unimplemented", "!("),
                concat!("TO", "DO"),
                concat!("FIX", "ME"),
            ];
            // The marks are words: the name of a service contains one.
            let is_marked = |mark: &&str| {
                let starts = line.match_indices(*mark).map(|(at, _)| &line[..at]);
                starts
                    .into_iter()
                    .any(|before| !before.ends_with(char::is_alphanumeric))
            };
            if marks.iter().any(is_marked) || line.trim_start().starts_with("#[ignore") {
                found.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn differences_are_sorted_and_listed_once() -> Result {
    let text = fs::read_to_string(Workspace::read()?.root.join("docs/differences.md"))?;
    let mut told = BTreeSet::new();
    let mut wrong = Vec::new();
    // What was said and why, of each list of rows.
    let mut lists: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut last = "";
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("## ") {
            last = "";
        }
        let Some(row) = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |")) else {
            continue;
        };
        // A bar within a cell is `\|`, and so never between spaces.
        let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
        let [rows, what, why] = cells[..] else {
            wrong.push(format!("line {}: not three cells", number + 1));
            continue;
        };
        if rows == "row" {
            continue;
        }
        for id in rows.split(", ") {
            let parts: Vec<&str> = id.split('-').collect();
            let number = parts.last().copied().unwrap_or_default();
            if parts.len() != 3 || number.len() != 3 || !number.bytes().all(|b| b.is_ascii_digit())
            {
                wrong.push(format!("`{id}` names no row: {line}"));
            }
        }
        if what.is_empty() || why.is_empty() || !told.insert(what) {
            wrong.push(format!("line {}: empty, or told before", number + 1));
        }
        let others = lists.entry(rows).or_default();
        if others
            .iter()
            .any(|other| other.1 == why || are_alike(other.0, what))
        {
            wrong.push(format!("line {}: told before of {rows}", number + 1));
        }
        others.push((what, why));
        let first = rows.split(", ").next().unwrap_or_default();
        if first < last {
            wrong.push(format!("line {}: {first} is after {last}", number + 1));
        }
        last = first;
    }
    ensure!(told.len() > 50 && wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Whether two texts have three quarters of the shorter one's words in common, as two versions of one sentence have.
fn are_alike(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|text| {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect::<BTreeSet<_>>()
    });
    one.intersection(&other).count() * 4 >= one.len().min(other.len()) * 3
}

#[test]
fn two_versions_of_one_sentence_are_alike() {
    let version = "the roles are those that `flux install` makes, not those of the controller's own repository";
    assert!(are_alike(
        version,
        "the roles are those of `flux install`, not those of the controller's own repository"
    ));
    assert!(!are_alike(
        version,
        "the run after adding the finalizer starts immediately"
    ));
}

#[test]
fn modules_tests_and_imports_follow_the_style_guide() -> Result {
    let workspace = Workspace::read()?;
    let all = workspace.sources()?;
    let mut wrong = Vec::new();
    for path in all {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // In a `tests` folder `name.rs` would be a separate test target.
        let source = path.components().any(|part| part.as_os_str() == "src");
        if source && (name == "mod.rs" || name.ends_with("_test.rs") || name.ends_with("_tests.rs"))
        {
            wrong.push(format!("{}: see docs/style.md, Files", path.display()));
        }
        wrong.extend(
            scattered_imports(&fs::read_to_string(&path)?)
                .into_iter()
                .map(|what| format!("{}: {what}", path.display())),
        );
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Imports at the head of a file that are not one declaration per module.
fn scattered_imports(source: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    // Those of functions and inner modules are indented, those with an attribute begin with it.
    for part in source.split(";\n") {
        let declaration = part.rsplit("\n\n").next().unwrap_or(part);
        let declaration = declaration.trim_start_matches('\n');
        let Some(path) = declaration.strip_prefix("use ") else {
            continue;
        };
        let (module, items) = match path.split_once('{') {
            Some((module, items)) => (module, items),
            None => (path.rsplit_once("::").map_or("", |(module, _)| module), ""),
        };
        if items.contains("::") {
            wrong.push(format!(
                "`use {module}{{..}}` names items of several modules"
            ));
        }
        let module = module.trim_end_matches("::");
        if !module.is_empty() && !path.contains(" as ") && !seen.insert(module.to_owned()) {
            wrong.push(format!("`use {module}` stands twice"));
        }
    }
    wrong
}
