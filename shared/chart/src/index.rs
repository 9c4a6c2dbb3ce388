//! The index of a Helm repository: read in pieces, written as the JSON that is stored, and kept as a compact table.
//!
//! An index may be tens of megabytes. It is never held as a whole: [`convert`] finds the part of each chart, reads it,
//! writes it, and keeps of it only what choosing and downloading a version needs.

mod decode;
mod encode;
mod layout;
mod lookup;
mod source;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};

use flux_budget::{Budget, Claim, Exhausted};
pub use lookup::LookupError;

use self::source::Parts;
use crate::{Time, YamlError};

/// The table of an index: the versions of each chart, the highest first.
#[derive(Debug)]
pub struct Index {
    charts: BTreeMap<Box<str>, Vec<IndexedVersion>>,
    claim: Claim,
}

/// One version of a chart in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedVersion {
    /// The chart's name by its own metadata, usually that of its list.
    pub name: Box<str>,
    /// The version as written.
    pub version: Box<str>,
    /// Where the archive is: absolute URLs, or relative to that of the repository.
    pub urls: Box<[Box<str>]>,
    /// The digest of the archive, as the index gives it.
    pub digest: Box<str>,
    /// When it was added.
    pub created: Time,
}

/// Why an index cannot be used. The messages are those of Helm and of the libraries it reads indexes with.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file has no content.
    #[error("empty index.yaml file")]
    Empty,
    /// The file has no `apiVersion`.
    #[error("no API version specified")]
    NoApiVersion,
    /// The file is not YAML, has an unknown or repeated key, or a value of the wrong type.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The file is JSON with a value of the wrong type.
    #[error("json: {0}")]
    Json(String),
    /// A time is invalid.
    #[error("{0}")]
    Time(String),
    /// The file cannot be read.
    #[error("failed to read the index")]
    Read(#[source] io::Error),
    /// The result cannot be written.
    #[error("failed to write the index")]
    Write(#[source] io::Error),
    /// It does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

impl Index {
    /// The names of the charts, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.charts.keys().map(AsRef::as_ref)
    }

    /// The versions of a chart, the highest first.
    pub fn versions(&self, name: &str) -> Option<&[IndexedVersion]> {
        self.charts.get(name).map(Vec::as_slice)
    }

    /// The bytes of memory that the table takes, which are claimed as long as it exists.
    pub fn bytes(&self) -> u64 {
        self.claim.held()
    }

    fn new(budget: &Budget) -> Self {
        Self {
            charts: BTreeMap::new(),
            claim: budget.claim(),
        }
    }

    fn insert(&mut self, name: &str, versions: Vec<IndexedVersion>) -> Result<(), Exhausted> {
        let bytes: usize = versions.iter().map(IndexedVersion::bytes).sum();
        self.claim.take((bytes + 2 * name.len() + 64) as u64)?;
        self.charts.insert(name.into(), versions);
        Ok(())
    }
}

impl IndexedVersion {
    fn bytes(&self) -> usize {
        let urls = self
            .urls
            .iter()
            .map(|url| url.len() + size_of::<Box<str>>());
        size_of::<Self>()
            + self.name.len()
            + self.version.len()
            + self.digest.len()
            + urls.sum::<usize>()
    }
}

/// Reads the index in `input`, JSON or YAML, and writes it as Helm does in JSON: charts by name, versions from the highest
/// to the lowest, invalid ones left out (SC-HREPO-032, SC-HREPO-033, SC-HREPO-036).
///
/// Text that is valid JSON is read leniently, other text as strict YAML. `output` opens an empty output; it is called a
/// second time, to begin again, if the parts of the text cannot be told apart, as in YAML with anchors. Memory is claimed
/// from `budget`: for the table and for one chart at a time, or else for the whole text.
///
/// # Errors
/// [`IndexError`]
pub fn convert<W: Write>(
    input: impl Read + Seek,
    mut output: impl FnMut() -> io::Result<W>,
    budget: &Budget,
) -> Result<Index, IndexError> {
    let mut input = io::BufReader::new(input);
    let mut output = || output().map_err(IndexError::Write);
    let claim = budget.claim();
    if let Some(layout) = layout::find(&mut input, budget, &claim)? {
        let pieces = Parts::in_pieces(&mut input, layout, budget, claim);
        match pieces.and_then(|pieces| encode::write(pieces, output()?, budget)) {
            Err(IndexError::Yaml(_) | IndexError::Json(_) | IndexError::Time(_)) => {} // reported of the whole text
            ended => return ended,
        }
    } else {
        drop(claim);
    }
    let whole = Parts::<io::BufReader<_>>::whole(&mut input, budget)?;
    encode::write(whole, output()?, budget)
}

/// Reads the table of a stored index.
///
/// # Errors
/// [`IndexError`]
pub fn load(input: impl Read + Seek, budget: &Budget) -> Result<Index, IndexError> {
    convert(input, || Ok(io::sink()), budget)
}

#[cfg(test)]
mod tests;
