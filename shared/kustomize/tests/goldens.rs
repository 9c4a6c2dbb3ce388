//! Small builds with the output or the error of the real library: `tests/golden/*.md`, one page per topic.
//!
//! A page is Markdown. Each `##` heading is a case, which names the ledger rows that it proves, followed by a fenced
//! block of files, each under a line `-- name --`, and the result under `-- output --` or `-- error --`. A block before
//! the first heading has the files of every case of the page. The folder of a block's first file is built if that is a
//! kustomization file, otherwise the root. Further options of a block:
//!
//! - ```` ```cli ```` builds with kustomize's own settings instead of Flux's.
//! - `-- name (escaped) --`: the text has Rust's escapes (`\r`, `\xff`), and lines end only at `\n`.
//! - `-- name -> target --`: a symbolic link.
//! - `-- ours --`, after the result: our output, where `docs/differences.md` lists a difference.
//!
//! The results are written by the real library: `FLUX_GOLDEN=write cargo test -p flux-kustomize --test goldens`.
//! Without the variable the test checks that it still agrees. `FLUX_GOLDEN=ours` writes our output where it differs,
//! once the difference is decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use flux_kustomize::{Build, Options, Remotes, build};
use flux_tree::{Entry, Tree, TreePath};
use oracle::{Answer, Oracle, base64};
use serde_json::{Value, json};

const RESULTS: [&str; 3] = ["output", "error", "ours"];

#[derive(Clone, Debug, Default)]
struct Case {
    title: String,
    settings: String,
    /// The sections in their order, each with its header.
    files: Vec<(String, String)>,
    results: BTreeMap<String, String>,
}

/// A page: its lines outside of blocks, and its blocks in place.
struct Page {
    path: PathBuf,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Given(Case),
    Case(Case),
}

fn pages() -> Vec<Page> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.into_iter().map(page).collect()
}

fn page(path: PathBuf) -> Page {
    let text = fs::read_to_string(&path).unwrap();
    let mut parts = Vec::new();
    let mut title = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(settings) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mut case = case(&block);
            settings.clone_into(&mut case.settings);
            parts.push(match title.take() {
                None => Part::Given(case),
                Some(title) => Part::Case(Case { title, ..case }),
            });
            continue;
        }
        if let Some(heading) = line.strip_prefix("## ") {
            assert!(
                title.is_none(),
                "{}: a case without files: {title:?}",
                path.display()
            );
            title = Some(heading.to_owned());
        }
        parts.push(Part::Text(line.to_owned()));
    }
    Page { path, parts }
}

fn case(block: &[&str]) -> Case {
    let mut case = Case::default();
    for line in block {
        let header = line
            .strip_prefix("-- ")
            .and_then(|rest| rest.strip_suffix(" --"));
        if let Some(header) = header {
            case.files.push((header.to_owned(), String::new()));
            continue;
        }
        let last = case.files.last_mut();
        let (_, text) = last.expect("a block begins with a file's name");
        let _ = writeln!(text, "{line}");
    }
    for name in RESULTS {
        if let Some(at) = case.files.iter().position(|(header, _)| header == name) {
            let (_, text) = case.files.remove(at);
            case.results.insert(name.to_owned(), text);
        }
    }
    case
}

impl Page {
    /// The files of every case.
    fn given(&self) -> Case {
        let given = self.parts.iter().find_map(|part| match part {
            Part::Given(case) => Some(case.clone()),
            _ => None,
        });
        given.unwrap_or_default()
    }

    fn cases(&self) -> impl Iterator<Item = &Case> {
        self.parts.iter().filter_map(|part| match part {
            Part::Case(case) => Some(case),
            _ => None,
        })
    }

    fn cases_mut(&mut self) -> impl Iterator<Item = &mut Case> {
        self.parts.iter_mut().filter_map(|part| match part {
            Part::Case(case) => Some(case),
            _ => None,
        })
    }

    fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    fn write(&self) {
        let mut out = String::new();
        for part in &self.parts {
            let case = match part {
                Part::Text(line) => {
                    let _ = writeln!(out, "{line}");
                    continue;
                }
                Part::Given(case) | Part::Case(case) => case,
            };
            let _ = writeln!(out, "```{}", case.settings);
            let results = RESULTS
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), case.results.get(*name)?.clone())));
            for (header, text) in case.files.iter().cloned().chain(results) {
                let _ = write!(out, "-- {header} --\n{text}");
            }
            out.push_str("```\n");
        }
        fs::write(&self.path, out).unwrap();
    }
}

/// A tree in the form that both sides read.
#[derive(Default)]
struct Files {
    contents: BTreeMap<String, Vec<u8>>,
    links: BTreeMap<String, String>,
    dir: String,
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let text = text.replace('\n', "");
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'\\') => out.push(b'\\'),
            Some(b'x') => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let digits = String::from_utf8(digits).unwrap();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => panic!("no such escape: {other:?}"),
        }
    }
    out
}

fn files(given: &Case, case: &Case) -> Files {
    let mut files = Files::default();
    for (header, text) in given.files.iter().chain(&case.files) {
        if let Some((name, target)) = header.split_once(" -> ") {
            files.links.insert(name.to_owned(), target.to_owned());
        } else if let Some(name) = header.strip_suffix(" (escaped)") {
            files.contents.insert(name.to_owned(), unescaped(text));
        } else {
            files
                .contents
                .insert(header.clone(), text.clone().into_bytes());
        }
    }
    let first = case.files.first().map_or("", |(header, _)| header);
    let first = first.split(' ').next().unwrap_or_default();
    let (dir, name) = first.rsplit_once('/').unwrap_or(("", first));
    if matches!(
        name.to_lowercase().as_str(),
        "kustomization.yaml" | "kustomization.yml" | "kustomization"
    ) {
        dir.clone_into(&mut files.dir);
    }
    files
}

fn ours(files: &Files, case: &Case) -> (&'static str, String) {
    let path = |path: &str| TreePath::new(path).unwrap();
    let mut tree = Tree::new();
    for (name, content) in &files.contents {
        tree.insert_file(path(name), content.clone(), false)
            .unwrap();
    }
    for (name, target) in &files.links {
        let link = Entry::Symlink(target.clone());
        tree.insert(path(name), link).unwrap();
    }
    let mut options = if case.settings == "cli" {
        Options::default()
    } else {
        Options::flux()
    };
    options.version = "(devel)".into();
    match build(&tree, &path(&files.dir), &options, &Remotes::new()) {
        Ok(Build::Done(output)) => ("output", output.resources.to_yaml()),
        Ok(Build::Needs(bases)) => ("error", format!("needs {bases:?}\n")),
        Err(error) => ("error", format!("{error}\n")),
    }
}

fn question(files: &Files, case: &Case) -> Value {
    let absolute = |name: &String| format!("/{name}");
    let contents: BTreeMap<_, _> = files
        .contents
        .iter()
        .map(|(name, content)| (absolute(name), base64(content)))
        .collect();
    let links: BTreeMap<_, _> = files
        .links
        .iter()
        .map(|(name, target)| (absolute(name), target))
        .collect();
    json!({
        "mode": "build",
        "files": contents,
        "links": links,
        "dir": format!("/{}", files.dir),
        "flux": case.settings != "cli",
    })
}

fn theirs(answer: Answer) -> (&'static str, String) {
    match answer {
        Answer::Output(output) => ("output", output.as_str().unwrap().to_owned()),
        Answer::Error(error) => ("error", format!("{error}\n")),
        Answer::Panic(error) => ("error", format!("panic: {error}\n")),
    }
}

fn asked_to_write(what: &str) -> bool {
    std::env::var_os("FLUX_GOLDEN").is_some_and(|value| value == what)
}

#[test]
fn builds_match_the_golden_pages() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let write = asked_to_write("ours");
    for mut page in pages() {
        let name = page.name();
        let given = page.given();
        for case in page.cases_mut() {
            count += 1;
            let (kind, text) = ours(&files(&given, case), case);
            let wanted = case.results.get("ours").or_else(|| case.results.get(kind));
            if wanted == Some(&text) {
                continue;
            }
            let wanted = wanted.or_else(|| case.results.values().next());
            wrong.push(format!(
                "{name}: {}\n{kind}:\n{text}wanted: {wanted:?}",
                case.title
            ));
            case.results.insert("ours".to_owned(), text);
        }
        if write {
            page.write();
        }
    }
    println!("{count} builds");
    assert!(
        write || wrong.is_empty(),
        "{} wrong:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn golden_pages_match_the_real_library() {
    let Some(mut go) = Oracle::start("kustomize") else {
        return;
    };
    let mut pages = pages();
    let questions: Vec<_> = pages
        .iter()
        .flat_map(|page| {
            let given = page.given();
            page.cases()
                .map(move |case| question(&files(&given, case), case))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut answers = go.ask_all(&questions).into_iter().map(theirs);
    let mut wrong = Vec::new();
    let write = asked_to_write("write");
    for page in &mut pages {
        let name = page.name();
        for case in page.cases_mut() {
            let (kind, text) = answers.next().unwrap();
            if case.results.get(kind) != Some(&text) {
                wrong.push(format!("{name}: {}: {kind}:\n{text}", case.title));
            }
            case.results.retain(|name, _| name == "ours");
            case.results.insert(kind.to_owned(), text);
        }
        if write {
            page.write();
        }
    }
    assert!(
        write || wrong.is_empty(),
        "{} wrong:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
