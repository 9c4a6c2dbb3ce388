//! Reads response bodies up to a limit.

use bytes::{Bytes, BytesMut};
use flux_budget::{Claim, Exhausted};
use futures::StreamExt as _;

use crate::error::ReadError;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It exceeds the limit.
    #[error("response body exceeds the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection failed.
    #[error("failed to read the response body")]
    Read(#[source] ReadError),
    /// It does not fit into the memory that is left for it.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Reads a response's body of at most `limit` bytes. A longer one is not read to its end.
///
/// # Errors
/// The body is too long, or the connection fails.
pub async fn read_body(response: reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    read_body_within(response, limit, &Claim::unlimited()).await
}

/// As [`read_body`], with the memory for the body taken through `claim` as it comes.
///
/// # Errors
/// As [`read_body`]; and the claim does not fit into its budget. What was taken until then stays taken.
pub async fn read_body_within(
    response: reqwest::Response,
    limit: usize,
    claim: &Claim,
) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { limit };
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large);
    }
    let url = response.url().clone();
    let mut body = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| BodyError::Read(ReadError::new(&url, &error)))?;
        if piece.len() > limit - body.len() {
            return Err(too_large);
        }
        // A body that grows has up to as much to spare.
        claim.take(2 * piece.len() as u64)?;
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
