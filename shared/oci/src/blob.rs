//! Blobs, checked while they are read.

use std::fmt;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use flux_budget::{Claim, Exhausted};
use flux_http::ReadError;
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::manifest::Descriptor;

/// Why a blob is not what its descriptor says (SC-OCI-063), with go-containerregistry's texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The content has another digest.
    #[error(
        "error verifying sha256 checksum after reading {read} bytes; got \"{actual}\", want \"{wanted}\""
    )]
    Digest {
        /// The bytes that were read.
        read: u64,
        /// The digest of what was read.
        actual: Digest,
        /// The digest of the descriptor.
        wanted: Digest,
    },
    /// The content has another size.
    #[error("error verifying size; got {actual}, want {wanted}")]
    Size {
        /// The bytes that were read, or more than there may be.
        actual: u64,
        /// The size of the descriptor.
        wanted: u64,
    },
    /// The response announces another size.
    #[error("GET {url}: Content-Length header {announced} does not match expected size {wanted}")]
    Announced {
        /// The URL without secrets.
        url: String,
        /// The announced size.
        announced: u64,
        /// The size of the descriptor.
        wanted: u64,
    },
    /// The size of the descriptor is negative.
    #[error("the descriptor's size {0} is negative")]
    Negative(i64),
    /// The blob is larger than the caller reads.
    #[error("the blob has {size} bytes, and {limit} at most are read")]
    TooLarge {
        /// The size of the descriptor.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The connection failed.
    #[error(transparent)]
    Read(ReadError),
    /// It does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, ReadError>> + Send>>;

/// A blob that is being read. What was read is only valid when [`next`](Self::next) has returned `None`.
pub struct Blob {
    pieces: Pieces,
    hasher: Option<Sha256>,
    wanted: Digest,
    size: u64,
    read: u64,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.wanted)
            .field("size", &self.size)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Blob {
    pub(crate) fn new(
        response: reqwest::Response,
        url: &str,
        descriptor: &Descriptor,
    ) -> Result<Self, BlobError> {
        let size = descriptor.byte_count()?;
        if let Some(announced) = response.content_length()
            && announced != size
        {
            return Err(BlobError::Announced {
                url: url.to_owned(),
                announced,
                wanted: size,
            });
        }
        let from = response.url().clone();
        let pieces = response
            .bytes_stream()
            .map(move |piece| piece.map_err(|error| ReadError::new(&from, &error)));
        Ok(Self {
            pieces: Box::pin(pieces),
            hasher: Some(Sha256::new()),
            wanted: descriptor.digest.clone(),
            size,
            read: 0,
        })
    }

    /// The size in bytes, by its descriptor.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; `None` once all were read and are those of the descriptor.
    ///
    /// # Errors
    /// The connection fails, or the content is not that of the descriptor.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(None);
        };
        if let Some(piece) = self.pieces.next().await {
            let piece = piece.map_err(BlobError::Read)?;
            self.read += piece.len() as u64;
            if self.read > self.size {
                return Err(self.wrong_size());
            }
            hasher.update(&piece);
            return Ok(Some(piece));
        }
        if self.read != self.size {
            return Err(self.wrong_size());
        }
        let actual = self.hasher.take().map(Digest::finish);
        match actual {
            Some(actual) if actual != self.wanted => Err(BlobError::Digest {
                read: self.read,
                actual,
                wanted: self.wanted.clone(),
            }),
            _ => Ok(None),
        }
    }

    /// The whole blob of at most `limit` bytes; its memory is taken through `claim`.
    ///
    /// # Errors
    /// As [`next`](Self::next); and it is larger than the limit, or does not fit into memory.
    pub async fn read(mut self, limit: u64, claim: &Claim) -> Result<Bytes, BlobError> {
        if self.size > limit {
            return Err(BlobError::TooLarge {
                size: self.size,
                limit,
            });
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            // A buffer that grows has up to as much to spare.
            claim.take(2 * piece.len() as u64)?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    fn wrong_size(&self) -> BlobError {
        BlobError::Size {
            actual: self.read,
            wanted: self.size,
        }
    }
}
