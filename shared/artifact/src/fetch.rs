//! Downloads artifacts from the artifact server.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::ops::Deref;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use flux_budget::{Budget, Claim, Exhausted};
use flux_http::{ErrorKind, ReadError, Repeat, RequestError, shown_text};
use flux_tree::Tree;
use reqwest::{Client, Response, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::{
    Digest, DigestError, ExtractError, ExtractOptions, Hasher, Spooled, StorageError, UnpackError,
    extract, extract_summed,
};

/// The bytes per second that a server has to send on average, after [`FetchOptions::stall`].
const MIN_RATE: u64 = 16 * 1024;

/// How many pieces of a download may wait to be unpacked.
const PIECES: usize = 4;

/// Options of a download.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The number of retries (`--http-retry`).
    pub retries: u32,
    /// The wait before the first retry, doubled before each further one.
    pub min_wait: Duration,
    /// The longest wait.
    pub max_wait: Duration,
    /// How long the server may send nothing: before the response begins, and between two pieces of it.
    pub stall: Duration,
    /// The size limit of a download in bytes.
    pub max_download: u64,
    /// The limits of the archive.
    pub extract: ExtractOptions,
}

impl Default for FetchOptions {
    /// Upstream's waits, nine retries, 1 GiB, and a stall of 30 seconds.
    fn default() -> Self {
        Self {
            retries: 9,
            min_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            max_download: 1 << 30,
            extract: ExtractOptions::default(),
        }
    }
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server does not have the file: the source will rebuild it, so wait for it (SC-ART-056).
    #[error("file not found")]
    NotFound,
    /// The server answered with an unexpected status.
    #[error("failed to download archive from {url} (status: {status})")]
    Status {
        /// The requested URL, without user information and the values of its query.
        url: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// No attempt succeeded.
    #[error("failed to download archive: GET {url} giving up after {attempts} attempt(s)")]
    GaveUp {
        /// The requested URL, without user information and the values of its query.
        url: String,
        /// The number of attempts.
        attempts: u32,
        /// Why the last attempt got no response; `None` if it got a response with an error status.
        #[source]
        source: Option<TransferError>,
    },
    /// The body ended early.
    #[error("failed to copy temp contents")]
    Body(#[source] TransferError),
    /// The file is larger than allowed.
    #[error("artifact is greater than the max download size of {0} bytes")]
    TooLarge(u64),
    /// The digest is empty or malformed, or does not match the file.
    #[error("failed to verify archive")]
    Digest(#[from] DigestMismatch),
    /// The file is not an archive that may be unpacked.
    #[error("failed to extract archive (check whether file size exceeds max download size)")]
    Extract(#[source] ExtractError),
    /// The files do not fit into the memory budget.
    #[error("failed to extract archive")]
    Memory(#[source] Exhausted),
    /// The file in this process's own storage cannot be opened.
    #[error(transparent)]
    Stored(StorageError),
    /// The file in this process's own storage cannot be read to its end.
    #[error("failed to read archive")]
    Read(#[source] io::Error),
    /// Unpacking ended without a result, which is a defect.
    #[error("failed to extract archive: unpacking ended without a result")]
    Task,
}

impl From<ExtractError> for FetchError {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Memory(exhausted) => Self::Memory(exhausted),
            error => Self::Extract(error),
        }
    }
}

impl From<UnpackError> for FetchError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Read(error) => Self::Read(error),
            UnpackError::Digest(mismatch) => Self::Digest(mismatch),
            UnpackError::Extract(error) => error.into(),
        }
    }
}

/// Why a request or the rest of its answer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server sent nothing for too long.
    #[error("no data from the server for {0:?}")]
    Stalled(Duration),
    /// The server sends too slowly.
    #[error("only {received} bytes from the server in {elapsed:?}")]
    Slow {
        /// The bytes received.
        received: u64,
        /// The time they took.
        elapsed: Duration,
    },
    /// There is no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The rest of the response is missing.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl TransferError {
    /// Whether a retry is not worth its time: it would fail in the same way, or take as long again.
    fn is_hopeless(&self) -> bool {
        match self {
            Self::Stalled(_) | Self::Slow { .. } => true,
            Self::Request(error) => !error.may_pass() || error.kind() == ErrorKind::Timeout,
            Self::Read(_) => false,
        }
    }
}

/// Why a download does not match its digest (RT-ART-017).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestMismatch {
    /// The digest is empty.
    #[error("empty digest")]
    Empty,
    /// The text is not a digest.
    #[error("failed to parse digest '{text}'")]
    Malformed {
        /// The text.
        text: String,
        /// Why it is invalid.
        #[source]
        source: DigestError,
    },
    /// The file has another digest.
    #[error(
        "computed digest doesn't match provided '{0}' (check whether file size exceeds max download size)"
    )]
    Differs(Digest),
}

/// The bytes of an artifact, with their claim on the budget.
#[derive(Debug)]
pub struct ArtifactBytes {
    bytes: Bytes,
    _claim: Claim,
}

impl ArtifactBytes {
    /// `bytes`, whose memory is claimed by `claim`.
    pub(crate) fn new(bytes: Bytes, claim: Claim) -> Self {
        Self {
            bytes,
            _claim: claim,
        }
    }
}

impl Deref for ArtifactBytes {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Downloads artifacts.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    options: FetchOptions,
    budget: Budget,
}

impl Fetcher {
    /// A fetcher that uses `client`, and claims the memory of its trees from `budget`.
    pub fn new(client: Client, options: FetchOptions, budget: Budget) -> Self {
        Self {
            client,
            options,
            budget,
        }
    }

    /// Parses the digest of an artifact's status; older versions wrote it without an algorithm (RT-ART-008).
    pub fn digest(text: &str) -> Result<Digest, DigestMismatch> {
        if text.is_empty() {
            return Err(DigestMismatch::Empty);
        }
        let text = if text.contains(':') {
            text.to_owned()
        } else {
            format!("sha256:{text}")
        };
        text.parse()
            .map_err(|source| DigestMismatch::Malformed { text, source })
    }

    /// Downloads the artifact at `url` and unpacks it. The tree is returned only if the file has the expected digest
    /// (RT-ART-016 to RT-ART-018).
    ///
    /// Dropping the future cancels the download. The caller sets the deadline; a server that sends nothing is an error
    /// before that.
    pub async fn fetch(&self, url: &str, digest: &Digest) -> Result<Tree, FetchError> {
        let response = self.request(url).await?;
        self.unpack(response, digest, extract).await
    }

    /// As [`Fetcher::fetch`], with the contents of the files in `file`: only their paths are held in memory.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`]; and the file cannot be written.
    pub async fn fetch_spooled(
        &self,
        url: &str,
        digest: &Digest,
        file: File,
    ) -> Result<Spooled, FetchError> {
        let response = self.request(url).await?;
        let unpack = |body: Pieces, options: &ExtractOptions, claim| {
            extract_summed(body, options, claim, file)
        };
        self.unpack(response, digest, unpack).await
    }

    /// Downloads the file at `url` unchanged, if it has the expected digest.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    pub async fn fetch_bytes(
        &self,
        url: &str,
        digest: &Digest,
    ) -> Result<ArtifactBytes, FetchError> {
        let mut receiving = self.receive(self.request(url).await?, digest);
        let (claim, mut bytes) = (self.budget.claim(), Vec::new());
        while let Some(piece) = receiving.next().await? {
            // A growing vector may have as much spare capacity as content.
            let taken = claim.take(2 * piece.len() as u64);
            taken.map_err(FetchError::Memory)?;
            bytes.extend_from_slice(&piece);
        }
        receiving.verify(digest)?;
        bytes.shrink_to_fit();
        claim.give_back(bytes.len() as u64);
        Ok(ArtifactBytes::new(bytes.into(), claim))
    }

    /// The options of downloads.
    pub(crate) fn options(&self) -> &FetchOptions {
        &self.options
    }

    /// The budget that the memory of trees and bytes is claimed from.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    async fn request(&self, url: &str) -> Result<Response, FetchError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let request = flux_http::send(self.client.get(url), Repeat::Idempotent);
            let answer = within(self.options.stall, request).await;
            let (source, retry_after) = match answer {
                Ok(response) if response.status() == StatusCode::OK => return Ok(response),
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    return Err(FetchError::NotFound);
                }
                Ok(response) if is_passing(response.status()) => (None, retry_after(&response)),
                Ok(response) => {
                    return Err(FetchError::Status {
                        url: shown_text(url),
                        status: response.status(),
                    });
                }
                Err(error) => (Some(error), None),
            };
            // A server that sends nothing has delayed this run for long enough; the next run may retry.
            let hopeless = source.as_ref().is_some_and(TransferError::is_hopeless);
            if hopeless || attempt > self.options.retries {
                return Err(FetchError::GaveUp {
                    url: shown_text(url),
                    attempts: attempt,
                    source,
                });
            }
            let wait = retry_after.unwrap_or_else(|| self.wait_before_retry(attempt));
            tracing::debug!(
                url = shown_text(url),
                attempt,
                ?wait,
                "artifact download failed, retrying"
            );
            tokio::time::sleep(wait).await;
        }
    }

    fn wait_before_retry(&self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt - 1);
        self.options
            .min_wait
            .saturating_mul(factor)
            .min(self.options.max_wait)
    }

    /// Unpacks the body as it arrives, on a thread that may block. An error of unpacking is reported only if the digest
    /// is the expected one.
    async fn unpack<T: Send + 'static>(
        &self,
        response: Response,
        digest: &Digest,
        unpack: impl FnOnce(Pieces, &ExtractOptions, Claim) -> Result<T, ExtractError> + Send + 'static,
    ) -> Result<T, FetchError> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let (options, claim) = (self.options.extract.clone(), self.budget.claim());
        let body = Pieces {
            pieces,
            piece: Bytes::new(),
        };
        let unpacking = tokio::task::spawn_blocking(move || unpack(body, &options, claim));
        let mut receiving = self.receive(response, digest);
        while let Some(piece) = receiving.next().await? {
            // Fails if unpacking has ended early, with an error that is reported later.
            let _ = sender.send(piece).await;
        }
        drop(sender);
        receiving.verify(digest)?;
        Ok(unpacking.await.map_err(|_| FetchError::Task)??)
    }

    fn receive(&self, response: Response, digest: &Digest) -> Receiving {
        Receiving {
            response,
            hasher: digest.algorithm().hasher(),
            begun: Instant::now(),
            size: 0,
            stall: self.options.stall,
            max: self.options.max_download,
        }
    }
}

/// A body being received, with its limits.
struct Receiving {
    response: Response,
    hasher: Hasher,
    begun: Instant,
    size: u64,
    stall: Duration,
    max: u64,
}

impl Receiving {
    /// The next piece, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let response = &mut self.response;
        let chunk = async {
            let chunk = response.chunk().await;
            chunk.map_err(|error| ReadError::new(response.url(), &error))
        };
        let piece = within(self.stall, chunk).await;
        let Some(piece) = piece.map_err(FetchError::Body)? else {
            return Ok(None);
        };
        self.size += piece.len() as u64;
        let elapsed = self.begun.elapsed();
        if elapsed > self.stall + Duration::from_secs(self.size / MIN_RATE) {
            let received = self.size;
            return Err(FetchError::Body(TransferError::Slow { received, elapsed }));
        }
        if self.size > self.max {
            return Err(FetchError::TooLarge(self.max));
        }
        self.hasher.update(&piece);
        Ok(Some(piece))
    }

    /// Checks that what was received has the digest `digest`.
    fn verify(self, digest: &Digest) -> Result<(), DigestMismatch> {
        if self.hasher.finish() == *digest {
            Ok(())
        } else {
            Err(DigestMismatch::Differs(digest.clone()))
        }
    }
}

/// Awaits `request` for at most `stall`.
async fn within<T, E: Into<TransferError>>(
    stall: Duration,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, TransferError> {
    let answered = timeout(stall, request).await;
    answered
        .map_err(|_| TransferError::Stalled(stall))?
        .map_err(Into::into)
}

/// A body as a blocking reader. It ends when the sender is dropped, for whatever reason.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// Whether a retry after this status may succeed.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// The delay that an overloaded server asks for, at most a minute.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}
