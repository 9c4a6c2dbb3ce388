//! Counts the rows of the parity ledgers (`docs/parity/*.md`) that are proven by tests.
//!
//! A row is a line of a table that begins with its ID (`| SC-GIT-001 | … |`) or a heading of a field case
//! (`### FR-H-012 …`). A test proves a row by citing the ID in a comment or a string at the case that would fail if the
//! behaviour were wrong; `SC-GIT-001..002` cites two rows.
//!
//! ```
//! use ledger::{Ledger, cited};
//!
//! let mut ledger = Ledger::default();
//! ledger.add("source-controller", "## 3. GitRepository (SC-GIT)\n| SC-GIT-001 | A branch is fetched. | |\n");
//! assert_eq!(ledger.missing(&cited("// SC-GIT-001")), Vec::<&str>::new());
//! ```
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

/// A row: a behaviour of the real tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The ledger: its file name without extension.
    pub ledger: String,
    /// The text of the row after its ID.
    pub text: String,
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

    /// The page `docs/status.md`: for each area the number of rows, of proven ones, and the IDs of the missing ones.
    pub fn status(&self, proven: &BTreeSet<String>) -> String {
        let all = self.rows.len();
        let count = self.rows.keys().filter(|id| proven.contains(*id)).count();
        let mut lines = vec![
            HEAD.to_owned(),
            format!("{count} of {all} rows are proven by a test."),
        ];
        let ledgers: BTreeSet<&str> = self.rows.values().map(|row| &*row.ledger).collect();
        for ledger in ledgers {
            let mut areas: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
            for (id, _) in self.rows.iter().filter(|(_, row)| row.ledger == ledger) {
                let (rows, missing) = areas.entry(area(id)).or_default();
                *rows += 1;
                if !proven.contains(id) {
                    missing.push(id);
                }
            }
            let rows: usize = areas.values().map(|(rows, _)| rows).sum();
            let left: usize = areas.values().map(|(_, missing)| missing.len()).sum();
            lines.push(format!("\n## {ledger}: {} of {rows}\n", rows - left));
            lines.push("| area | what | proven | missing |\n|---|---|---|---|".to_owned());
            for (area, (rows, missing)) in areas {
                let title = self.titles.get(area).map_or("", String::as_str);
                let (done, missing) = (rows - missing.len(), ranges(&missing));
                lines.push(format!(
                    "| {area} | {title} | {done} of {rows} | {missing} |"
                ));
            }
        }
        lines.join("\n") + "\n"
    }
}

const HEAD: &str = "\
# What works, and what does not yet

Generated by `cargo xledger --write` from the ledgers in [parity](parity) and the tests; do not edit. A row is a behaviour of
upstream; it counts as proven when a test that would fail without it names its ID.
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
    /// The tests in the file: all of it in a folder or file of tests, otherwise its module of tests and what follows.
    pub fn tests(&self) -> &str {
        let folders = self.path.parent().into_iter().flat_map(Path::components);
        let in_folder = folders
            .map(|part| part.as_os_str().to_string_lossy())
            .any(|part| matches!(&*part, "tests" | "kind-tests" | "fuzz"));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        if in_folder || name == "tests.rs" || name.ends_with("_test.rs") {
            return &self.text;
        }
        let is_rust = name.ends_with(".rs");
        let tests = TESTS.find(&self.text).filter(|_| is_rust);
        tests.map_or("", |tests| &self.text[tests.start()..])
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

/// The IDs cited by tests.
pub fn proven(sources: &[Source]) -> BTreeSet<String> {
    let tests = sources.iter().map(Source::tests);
    tests.flat_map(cited).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Ledger, Source, cited};

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
        assert_eq!(tests("docs/a.md", text), set(&[]));
    }

    #[test]
    fn the_status_page_counts_and_lists_rows() {
        let page = ledger().status(&set(&["XA-ART-001"]));
        assert!(page.contains("1 of 4 rows are proven"), "{page}");
        assert!(
            page.contains("| XA-ART | Storage | 1 of 3 | 002, 004 |"),
            "{page}"
        );
        assert!(page.contains("| XF-N | Rest | 0 of 1 | 001 |"), "{page}");
    }
}
