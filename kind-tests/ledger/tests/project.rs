//! Checks the ledgers, and the project's citations of their rows.

use std::path::{Path, PathBuf};

use ledger::{Ledger, cited, sources};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn ledger() -> Ledger {
    Ledger::read(&root().join("docs/parity")).unwrap()
}

#[test]
fn rows_are_unique() {
    let ledger = ledger();
    assert!(ledger.rows().len() > 4500, "{} rows", ledger.rows().len());
    assert!(ledger.repeated().is_empty(), "{:?}", ledger.repeated());
}

#[test]
fn sources_and_documents_cite_rows_that_exist() {
    let ledger = ledger();
    let mut wrong = Vec::new();
    for source in sources(&root()).unwrap() {
        let cited = cited(&source.text);
        let unknown = ledger.unknown(&cited);
        wrong.extend(
            unknown
                .iter()
                .map(|id| format!("{}: {id}", source.path.display())),
        );
    }
    assert!(
        wrong.is_empty(),
        "rows that no ledger has:\n{}",
        wrong.join("\n")
    );
}

/// Every row is claimed at the case that proves it, never as part of a range.
#[test]
fn tests_claim_rows_individually() {
    let range = r"^\s*//[^/!].*\b[A-Z]{2}(-[A-Z0-9]+)*-\d{3}(\.\.| to )([A-Z]{2}-|\d{3})";
    let range = regex::Regex::new(range).unwrap();
    let mut wrong = Vec::new();
    for source in sources(&root()).unwrap() {
        if source.path.extension().is_some_and(|ending| ending == "rs") {
            let lines = source.tests().lines().filter(|line| range.is_match(line));
            wrong.extend(lines.map(|line| format!("{}: {line}", source.path.display())));
        }
    }
    assert!(wrong.is_empty(), "ranges of rows:\n{}", wrong.join("\n"));
}

#[test]
fn rows_that_cite_rows_name_ones_that_exist() {
    let ledger = ledger();
    let mut wrong = Vec::new();
    for (id, row) in ledger.rows() {
        let cited = cited(&row.text);
        let unknown = ledger.unknown(&cited);
        wrong.extend(unknown.iter().map(|other| format!("{id} cites {other}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_status_page_is_up_to_date() {
    let root = root();
    let ledger = ledger();
    let proof = ledger.proof(&sources(&root).unwrap());
    let page = std::fs::read_to_string(root.join("docs/status.md")).unwrap_or_default();
    assert!(
        page == ledger.status(&proof),
        "docs/status.md is not up to date: run cargo xledger --write"
    );
}
