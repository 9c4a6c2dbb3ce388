//! Finds where the chart lists of an index are, without reading them.
//!
//! Both forms are scanned once, in small steps. What does not look like an index as tools write it has no layout, and is
//! read as a whole; what looks like one but is not fails when its parts are read.

mod json;
mod yaml;

use std::io::{BufRead, Seek, SeekFrom};
use std::ops::Range;

use flux_budget::{Budget, Claim, Exhausted};

use super::IndexError;

/// How an index is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Yaml,
}

/// The parts of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) form: Form,
    /// The text without the charts.
    pub(super) header: Vec<u8>,
    /// The name of each chart, and where its list is: in YAML with its key, in JSON without. `None` without `entries`.
    pub(super) charts: Option<Vec<Place>>,
}

/// The name of a chart, and where its list is.
type Place = (String, Range<u64>);

/// The bytes that a chart takes besides its name: its place in the list of all, which grows, and in the map that is made
/// of that.
const CHART: usize = 256;

/// Claims the memory of one chart more.
pub(super) fn claim_chart(claim: &Claim, name: &str) -> Result<(), Exhausted> {
    claim.take((CHART + name.len()) as u64)
}

/// The most bytes of a header. Annotations and public keys fit many times.
const MAX_HEADER: usize = 1 << 20;

/// The layout of the text, if it has one. The memory of its charts is taken through `charts`, what is needed only for a
/// moment from `budget`.
///
/// # Errors
/// The text is empty, or cannot be read, or does not fit into memory.
pub(super) fn find(
    input: &mut (impl BufRead + Seek),
    budget: &Budget,
    charts: &Claim,
) -> Result<Option<Layout>, IndexError> {
    input.seek(SeekFrom::Start(0)).map_err(IndexError::Read)?;
    let first = input.fill_buf().map_err(IndexError::Read)?;
    if first.is_empty() {
        return Err(IndexError::Empty);
    }
    let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n');
    let begin = first.iter().find(|byte| !blank(byte)).copied();
    if begin == Some(b'{') {
        Ok(json::find(input, charts)?)
    } else {
        yaml::find(input, budget, charts)
    }
}

#[cfg(test)]
mod tests;
