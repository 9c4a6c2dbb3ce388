//! Downloads an index into a file.

use std::io;
use std::path::{Path, PathBuf};

use flux_artifact::{Algorithm, Digest};
use flux_http::{ReadError, Repeat, RequestError, send};
use futures::StreamExt as _;
use reqwest::StatusCode;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::http::{HttpRepository, shown};

/// What to fetch, and how far.
pub(crate) struct Wanted {
    /// The most bytes of the index.
    pub(crate) max: u64,
    /// The algorithm of the revision.
    pub(crate) canonical: Algorithm,
    /// The revision of the stored index.
    pub(crate) last: Option<Digest>,
}

/// A downloaded index.
pub(crate) struct Fetched {
    pub(crate) file: PathBuf,
    /// Its digest, which is the revision (SC-HREPO-034).
    pub(crate) digest: Digest,
    /// Whether it is the stored one (SC-HREPO-030).
    pub(crate) is_unchanged: bool,
}

/// Why an index could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("failed to create temp file to cache index to")]
    Folder(#[source] io::Error),
    #[error("failed to cache index to temporary file")]
    Request(#[source] RequestError),
    #[error("failed to cache index to temporary file: failed to fetch {url} : {status}")]
    Status { url: String, status: String },
    #[error(
        "failed to cache index to temporary file: index exceeds the maximum index file size of {0} bytes"
    )]
    TooLarge(u64),
    #[error("failed to cache index to temporary file")]
    Read(#[source] ReadError),
    #[error("failed to cache index to temporary file")]
    Write(#[source] io::Error),
}

/// Downloads the index in pieces; a larger one than allowed is not read to its end (SC-HREPO-040, SC-HREPO-041).
pub(crate) async fn index(
    repository: &HttpRepository,
    wanted: &Wanted,
    file: &Path,
) -> Result<Fetched, FetchError> {
    let url = repository.index_url();
    let response = send(repository.request(&url), Repeat::Idempotent).await;
    let response = response.map_err(FetchError::Request)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status {
            url: flux_http::shown_text(&url),
            status: shown(response.status()),
        });
    }
    if response
        .content_length()
        .is_some_and(|length| length > wanted.max)
    {
        return Err(FetchError::TooLarge(wanted.max));
    }
    let mut canonical = wanted.canonical.hasher();
    let mut other = wanted.last.as_ref().map(|last| last.algorithm().hasher());
    let mut output = File::create(file).await.map_err(FetchError::Folder)?;
    let from = response.url().clone();
    let (mut length, mut pieces) = (0, response.bytes_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| FetchError::Read(ReadError::new(&from, &error)))?;
        length += piece.len() as u64;
        if length > wanted.max {
            return Err(FetchError::TooLarge(wanted.max));
        }
        canonical.update(&piece);
        if let Some(other) = &mut other {
            other.update(&piece);
        }
        output.write_all(&piece).await.map_err(FetchError::Write)?;
    }
    output.flush().await.map_err(FetchError::Write)?;
    Ok(Fetched {
        file: file.to_owned(),
        digest: canonical.finish(),
        is_unchanged: wanted.last.is_some()
            && other.map(flux_artifact::Hasher::finish) == wanted.last,
    })
}
