//! Reads response bodies up to a limit.

use bytes::{Bytes, BytesMut};
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
}

/// Reads a response's body of at most `limit` bytes. A longer one is not read to its end.
pub async fn read_body(response: reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge { limit };
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large);
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(limit));
    let mut stream = response.bytes_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| BodyError::Read(error.into()))?;
        if piece.len() > limit - body.len() {
            return Err(too_large);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
