//! Counts the rows of the parity ledgers (`docs/parity/*.md`) that are proven by tests.
//!
//! A row is a line of a table that begins with its ID (`| SC-GIT-001 | … |`) or a heading of a field case
//! (`### FR-H-012 …`). A test proves a row by citing the ID in a comment or a string at the case that would fail if the
//! behaviour were wrong; `SC-GIT-001..002` cites two rows.
//!
//! ```
//! use ledger::{Ledger, Source};
//!
//! let mut ledger = Ledger::default();
//! ledger.add("source-controller", "## 3. GitRepository (SC-GIT)\n| SC-GIT-001 | A branch is fetched. | |\n");
//! let test = Source {
//!     path: "source-controller/tests/branches.rs".into(),
//!     text: "// SC-GIT-001".to_owned(),
//! };
//! let proof = ledger.proof(&[test]);
//! assert_eq!(ledger.missing(&proof.proven), Vec::<&str>::new());
//! ```
//!
//! A test of a shared crate shows what a controller will do that uses it, but not that the controller exists. So the rows
//! of a controller's ledger count only in areas (`SC-GIT`) that the controller's own folder names; the others that a test
//! cites are counted apart ([`Proof::shared`]).
//!
//! Whether a test that cites a row really proves it is up to review.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{fs, io};

use regex::Regex;

/// An ID, and the last number of a range.
static ID: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b([A-Z]{2}(?:-[A-Z0-9]+)*)-(\d{3})\b(?:\.\.(\d{3})\b)?"));
/// A row of a table, or the heading of a field case.
static ROW: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?:\|\s*|### )([A-Z]{2}(?:-[A-Z0-9]+)*-\d{3})[ `*]*(?:\||\s)(.*)"));

/// An inline module of tests; `mod tests;` does not count, since the tests are in another file.
static TESTS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?m)^\s*#\[cfg\(test\)\]\s*(?:pub(?:\(\w+\))? )?mod \w+ \{"));

/// The pattern is a constant of this file.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

/// The names of the controllers, which are those of their folders and of their ledgers.
const CONTROLLERS: &[&str] = &[
    "helm-controller",
    "image-automation-controller",
    "image-reflector-controller",
    "kustomize-controller",
    "notification-controller",
    "source-controller",
    "source-watcher",
];

/// A row: a behaviour of the real tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The ledger: its file name without extension.
    pub ledger: String,
    /// The text of the row after its ID.
    pub text: String,
}

/// What tests show of the ledgers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The IDs of the rows that are proven.
    pub proven: BTreeSet<String>,
    /// The IDs of the rows that tests of shared code cite, though the controller of their ledger does not have the area
    /// yet. None of them is in `proven`.
    pub shared: BTreeSet<String>,
}

/// All ledgers.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rows: BTreeMap<String, Row>,
    /// The title of the section in which an area begins.
    titles: BTreeMap<String, String>,
    /// The IDs of more than one row.
    repeated: BTreeSet<String>,
}

impl Ledger {
    /// Reads every `*.md` file of a folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut ledger = Self::default();
        let mut files: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        files.sort();
        for file in files {
            if file.extension().is_some_and(|ending| ending == "md") {
                let name = file.file_stem().unwrap_or_default().to_string_lossy();
                ledger.add(&name, &fs::read_to_string(&file)?);
            }
        }
        Ok(ledger)
    }

    /// Adds the rows of one ledger.
    pub fn add(&mut self, name: &str, text: &str) {
        let mut title = "";
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                title = heading;
            }
            let Some(found) = ROW.captures(line) else {
                continue;
            };
            let id = found[1].to_owned();
            let row = Row {
                ledger: name.to_owned(),
                text: found[2].trim().to_owned(),
            };
            self.titles
                .entry(area(&id).to_owned())
                .or_insert_with(|| plain_title(title));
            if self.rows.insert(id.clone(), row).is_some() {
                self.repeated.insert(id);
            }
        }
    }

    /// The rows by ID.
    pub fn rows(&self) -> &BTreeMap<String, Row> {
        &self.rows
    }

    /// The IDs of more than one row.
    pub fn repeated(&self) -> &BTreeSet<String> {
        &self.repeated
    }

    /// The IDs among `named` without a row. Texts that only look like an ID (with a prefix of no ledger) are ignored.
    pub fn unknown<'n>(&self, named: &'n BTreeSet<String>) -> Vec<&'n str> {
        let prefixes: BTreeSet<&str> = self.rows.keys().map(|id| &id[..2]).collect();
        named
            .iter()
            .filter(|id| prefixes.contains(&id[..2]) && !self.rows.contains_key(*id))
            .map(String::as_str)
            .collect()
    }

    /// The rows that are not in `proven`.
    pub fn missing(&self, proven: &BTreeSet<String>) -> Vec<&str> {
        let missing = self.rows.keys().filter(|id| !proven.contains(*id));
        missing.map(String::as_str).collect()
    }

    /// What the tests among the `sources` show. IDs without a row are left out.
    pub fn proof(&self, sources: &[Source]) -> Proof {
        let mut there: BTreeSet<(&str, String)> = BTreeSet::new();
        for source in sources.iter().filter(|source| source.is_rust()) {
            let mut controllers = CONTROLLERS.iter();
            if let Some(controller) = controllers.find(|name| source.path.starts_with(name)) {
                let areas = cited(&source.text);
                there.extend(areas.iter().map(|id| (*controller, area(id).to_owned())));
            }
        }
        let mut proof = Proof::default();
        for id in sources.iter().map(Source::tests).flat_map(cited) {
            let Some(row) = self.rows.get(&id) else {
                continue;
            };
            let ledger = row.ledger.as_str();
            let counts =
                !CONTROLLERS.contains(&ledger) || there.contains(&(ledger, area(&id).to_owned()));
            let set = if counts {
                &mut proof.proven
            } else {
                &mut proof.shared
            };
            set.insert(id);
        }
        proof
    }

    /// The page `docs/status.md`: for each area the number of rows, of proven ones, and the IDs of the others: those
    /// that only shared code shows, and the missing ones.
    pub fn status(&self, proof: &Proof) -> String {
        let all = self.rows.len();
        let (count, shared) = (proof.proven.len(), proof.shared.len());
        let mut lines = vec![
            HEAD.to_owned(),
            format!(
                "{count} of {all} rows are proven by a test. Tests of shared code show {shared} more, whose controllers do not have \
                 the area yet."
            ),
        ];
        let ledgers: BTreeSet<&str> = self.rows.values().map(|row| &*row.ledger).collect();
        for ledger in ledgers {
            let mut areas: BTreeMap<&str, Area<'_>> = BTreeMap::new();
            for (id, _) in self.rows.iter().filter(|(_, row)| row.ledger == ledger) {
                let area = areas.entry(area(id)).or_default();
                area.rows += 1;
                if proof.proven.contains(id) {
                    area.proven += 1;
                } else if proof.shared.contains(id) {
                    area.shared.push(id);
                } else {
                    area.missing.push(id);
                }
            }
            let rows: usize = areas.values().map(|area| area.rows).sum();
            let done: usize = areas.values().map(|area| area.proven).sum();
            lines.push(format!("\n## {ledger}: {done} of {rows}\n"));
            lines.push(
                "| area | what | proven | in shared code only | missing |\n|---|---|---|---|---|"
                    .to_owned(),
            );
            for (name, area) in areas {
                let title = self.titles.get(name).map_or("", String::as_str);
                let (shared, missing) = (ranges(&area.shared), ranges(&area.missing));
                lines.push(format!(
                    "| {name} | {title} | {} of {} | {shared} | {missing} |",
                    area.proven, area.rows
                ));
            }
        }
        lines.join("\n") + "\n"
    }
}

/// The rows of an area.
#[derive(Default)]
struct Area<'l> {
    /// How many there are.
    rows: usize,
    /// How many are proven.
    proven: usize,
    /// The IDs of those that only shared code shows.
    shared: Vec<&'l str>,
    /// The IDs of the others.
    missing: Vec<&'l str>,
}

const HEAD: &str = "\
# What works, and what does not yet

Generated by `cargo xledger --write` from the ledgers in [parity](parity) and the tests; do not edit. A row is a behaviour of
upstream; it counts as proven when a test that would fail without it names its ID. A row of a controller counts only in areas
that the controller's folder names: until then, tests of shared code show what the controller will do, in a column of their own.
";

/// The part of an ID before its number.
fn area(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(area, _)| area)
}

/// A section's title without its number and without the areas in trailing parentheses.
fn plain_title(title: &str) -> String {
    let title = title.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let title = match title.rsplit_once(" (") {
        Some((before, after)) if ID_PREFIX.is_match(after) => before,
        _ => title,
    };
    title.trim().replace('|', "\\|")
}

static ID_PREFIX: LazyLock<Regex> = LazyLock::new(|| regex(r"^[A-Z]{2}-[A-Z0-9]"));

/// The numbers of IDs of one area, with consecutive ones joined: `001, 004..007`.
fn ranges(ids: &[&str]) -> String {
    let numbers = ids
        .iter()
        .filter_map(|id| id.rsplit_once('-')?.1.parse::<u32>().ok());
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let text = |(first, last): (u32, u32)| {
        if first == last {
            format!("{first:03}")
        } else {
            format!("{first:03}..{last:03}")
        }
    };
    runs.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The IDs cited in a text; ranges of up to 200 are expanded.
pub fn cited(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for found in ID.captures_iter(text) {
        let number = |part: usize| found.get(part)?.as_str().parse::<u32>().ok();
        let Some(first) = number(2) else { continue };
        let last = number(3).unwrap_or(first).min(first + 200);
        ids.extend((first..=last.max(first)).map(|n| format!("{}-{n:03}", &found[1])));
    }
    ids
}

/// A file of the project that may cite rows.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path relative to the project's root.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl Source {
    /// The tests in the file: all of it in a folder or file of tests, otherwise its module of tests and what follows. The
    /// tools that tests use, in `kind-tests/src` and the like, are no tests: they only check what a test shows them.
    pub fn tests(&self) -> &str {
        let folders = self.path.parent().into_iter().flat_map(Path::components);
        let folders: Vec<_> = folders
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        let is_part = |name: &str| folders.iter().any(|part| part == name);
        let in_folder =
            is_part("tests") || is_part("fuzz") || is_part("kind-tests") && !is_part("src");
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        if in_folder || name == "tests.rs" || name.ends_with("_test.rs") {
            return &self.text;
        }
        let tests = TESTS.find(&self.text).filter(|_| self.is_rust());
        tests.map_or("", |tests| &self.text[tests.start()..])
    }

    fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending == "rs")
    }
}

/// The files of a project that may cite rows: sources, documents and test data, except the ledgers and the generated
/// page.
pub fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let below = path.strip_prefix(root).unwrap_or(&path);
            if entry.file_type()?.is_dir() {
                let skipped = name.starts_with("target")
                    || name.starts_with('.')
                    || name == "corpus"
                    || below == Path::new("docs/parity")
                    || below == Path::new("kind-tests/ledger")
                    || below == Path::new("kind-tests/conformance");
                if !skipped {
                    folders.push(path);
                }
                continue;
            }
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            let wanted = ["rs", "yaml", "md", "toml", "json"].contains(&&*ending);
            if !wanted || below == Path::new("docs/status.md") {
                continue;
            }
            match fs::read_to_string(&path) {
                Ok(text) => found.push(Source {
                    path: below.to_owned(),
                    text,
                }),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Ledger, Proof, Source, cited};

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.add(
            "one",
            "## 2. Storage (XA-ART)\n| ID | Behaviour |\n|---|---|\n| XA-ART-001 | a \\| b | |\n| XA-ART-002* | c | |\n\
             | XA-ART-004 | see XA-ART-009 | |\n## 3. Rest\n### XF-N-001 A case\n",
        );
        ledger
    }

    #[test]
    fn rows_are_read_from_tables_and_headings() {
        let ledger = ledger();
        let ids: Vec<&str> = ledger.rows().keys().map(String::as_str).collect();
        assert_eq!(ids, ["XA-ART-001", "XA-ART-002", "XA-ART-004", "XF-N-001"]);
        assert_eq!(ledger.rows()["XF-N-001"].text, "A case");
        assert!(ledger.repeated().is_empty());
    }

    #[test]
    fn a_duplicate_row_is_reported() {
        let mut ledger = ledger();
        ledger.add("two", "| XA-ART-001 | again | |\n");
        assert_eq!(*ledger.repeated(), set(&["XA-ART-001"]));
    }

    #[test]
    fn citations_and_ranges_are_parsed() {
        assert_eq!(
            cited("// XA-ART-001, XA-ART-003..005 and XB-007; not AXA-ART-001, XA-ART-0012"),
            set(&[
                "XA-ART-001",
                "XA-ART-003",
                "XA-ART-004",
                "XA-ART-005",
                "XB-007"
            ])
        );
    }

    #[test]
    fn unknown_rows_with_a_known_prefix_are_reported() {
        let named = set(&["XA-ART-003", "ZZ-001", "XA-ART-001"]);
        assert_eq!(ledger().unknown(&named), ["XA-ART-003"]);
    }

    #[test]
    fn only_tests_prove() {
        let tests = |path: &str, text: &str| {
            let source = Source {
                path: path.into(),
                text: text.to_owned(),
            };
            cited(source.tests())
        };
        let text = "// XA-ART-001\n#[cfg(test)]\nmod tests { /* XA-ART-002 */ }";
        let elsewhere = "#[cfg(test)]\nmod tests;\n/// XA-ART-001\nfn made() {}";
        assert_eq!(tests("shared/a/src/lib.rs", elsewhere), set(&[]));
        assert_eq!(tests("shared/a/src/lib.rs", text), set(&["XA-ART-002"]));
        let both = set(&["XA-ART-001", "XA-ART-002"]);
        assert_eq!(tests("shared/a/tests/b.rs", text), both);
        assert_eq!(tests("shared/a/src/b_test.rs", text), both);
        assert_eq!(tests("kind-tests/tests/b/c.rs", text), both);
        assert_eq!(tests("kind-tests/benches/b.rs", text), both);
        let tools = "kind-tests/registries/src/lib.rs";
        assert_eq!(tests(tools, text), set(&["XA-ART-002"]));
        assert_eq!(tests("docs/a.md", text), set(&[]));
    }

    #[test]
    fn rows_of_a_controller_count_in_areas_that_its_folder_names() {
        let mut ledger = ledger();
        ledger.add(
            "source-watcher",
            "## Rest (XW-GEN)\n| XW-GEN-001 | a | |\n| XW-GEN-002 | b | |\n| XW-ART-001 | c | |\n",
        );
        let source = |path: &str, text: &str| Source {
            path: path.into(),
            text: text.to_owned(),
        };
        let shared = source(
            "shared/a/tests/b.rs",
            "// XW-GEN-001, XW-ART-001, XA-ART-001 and XA-ART-999",
        );
        let page = source("source-watcher/README.md", "XW-GEN-002");
        let without = ledger.proof(&[shared.clone(), page.clone()]);
        assert_eq!(without.proven, set(&["XA-ART-001"]));
        assert_eq!(without.shared, set(&["XW-ART-001", "XW-GEN-001"]));

        let other = source("source-controller/src/lib.rs", "/// XW-GEN-002");
        assert_eq!(ledger.proof(&[shared.clone(), page, other]), without);

        let own = source("source-watcher/src/lib.rs", "/// XW-GEN-002");
        let with = ledger.proof(&[shared, own]);
        assert_eq!(with.proven, set(&["XA-ART-001", "XW-GEN-001"]));
        assert_eq!(with.shared, set(&["XW-ART-001"]));
    }

    #[test]
    fn the_status_page_counts_and_lists_rows() {
        let page = ledger().status(&Proof {
            proven: set(&["XA-ART-001"]),
            shared: set(&["XA-ART-004"]),
        });
        assert!(
            page.contains("1 of 4 rows are proven by a test. Tests of shared code show 1 more,"),
            "{page}"
        );
        assert!(page.contains("## one: 1 of 4\n"), "{page}");
        assert!(
            page.contains("| XA-ART | Storage | 1 of 3 | 004 | 002 |"),
            "{page}"
        );
        assert!(page.contains("| XF-N | Rest | 0 of 1 |  | 001 |"), "{page}");
    }
}
