//! Turns a downloaded index into the artifact.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use flux_artifact::Stored;
use flux_budget::Budget;
use flux_chart::index::{self, Index};
use flux_golang::strconv;
use flux_publish::{Deadline, Publisher};

use super::failure::StepError;

/// Reads the index in `file`, and writes it into `folder` in the form in which it is stored; returns that file, with the
/// table of the index. Reading and writing end with the deadline.
pub(super) async fn convert(
    file: &Path,
    folder: &Path,
    budget: &Budget,
    deadline: Deadline,
) -> Result<(PathBuf, Index), StepError> {
    let (file, json, budget) = (file.to_owned(), folder.join("index.json"), budget.clone());
    let convert = move || {
        let input = File::open(file).map_err(index::IndexError::Read)?;
        let output = || File::create(&json).map(|file| deadline.guard(file));
        let table = index::convert(deadline.guard(input), output, &budget)?;
        Ok((json, table))
    };
    let converted = tokio::task::spawn_blocking(convert).await?;
    converted.map_err(StepError::Index)
}

/// Stores the converted index at `path` (SC-HREPO-036).
pub(super) async fn store(
    publisher: &Publisher,
    path: String,
    json: PathBuf,
    deadline: Deadline,
) -> Result<Stored, StepError> {
    let publisher = publisher.clone();
    let store = move || {
        let mut json = File::open(json).map_err(StepError::Converted)?;
        let copy = |output: &mut dyn io::Write| io::copy(&mut json, output).map(|_| ());
        Ok(publisher.store_file(&path, deadline, copy)?)
    };
    tokio::task::spawn_blocking(store).await?
}

/// A size in decimal units with four significant digits, as Docker's `units.HumanSize` prints it.
pub(super) fn human_size(bytes: i64) -> String {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = strconv::format_float(size, b'g', Some(4));
    format!("{digits}{}", UNITS.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn converting_an_index_ends_with_its_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.yaml");
        std::fs::write(&file, "apiVersion: v1\n").unwrap();
        let budget = Budget::unlimited();
        let convert = async |limit| {
            let deadline = Deadline::within(limit);
            let converted = convert(&file, folder.path(), &budget, deadline).await;
            converted.map_err(|error| flux_runtime::outcome::chain(&error))
        };
        assert!(convert(Duration::from_mins(1)).await.is_ok());
        let error = convert(Duration::ZERO).await.unwrap_err();
        assert!(error.contains("took longer than 0s"), "{error}");
    }

    // SC-HREPO-038
    #[test]
    fn sizes_have_four_significant_digits() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (2_345_600, "2.346MB"),
            (999_999, "1000kB"),
            (12_345_678_901, "12.35GB"),
        ] {
            assert_eq!(human_size(bytes), want);
        }
    }
}
