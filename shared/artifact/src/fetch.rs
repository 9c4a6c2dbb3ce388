//! Artifacts downloaded from the artifact server into trees.

use std::time::Duration;

use flux_tree::Tree;
use reqwest::{Client, Response, StatusCode, header};

use crate::{
    Digest, DigestError, ExtractError, ExtractOptions, extract::Inflating, extract_tar, with_host,
};

/// How a download is done.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// How often it is tried again (`--http-retry`).
    pub retries: u32,
    /// The wait before the first retry, doubled before each further one.
    pub min_wait: Duration,
    /// The longest wait.
    pub max_wait: Duration,
    /// A host that replaces the one in every URL: the variable `SOURCE_CONTROLLER_LOCALHOST`.
    pub host: Option<String>,
    /// The most bytes that a download may have.
    pub max_download: u64,
    /// What the archive may hold.
    pub extract: ExtractOptions,
}

impl Default for FetchOptions {
    /// Upstream's waits, nine retries, 1 GiB.
    fn default() -> Self {
        Self {
            retries: 9,
            min_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(30),
            host: None,
            max_download: 1 << 30,
            extract: ExtractOptions::default(),
        }
    }
}

/// Why an artifact was not had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server has no such file: the source will build it anew, so wait for it (SC-ART-056).
    #[error("file not found")]
    NotFound,
    /// The server answered something else than the file.
    #[error("failed to download archive from {url} (status: {status})")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// No try succeeded.
    #[error("failed to download archive: GET {url} giving up after {attempts} attempt(s)")]
    GaveUp {
        /// What was asked for.
        url: String,
        /// How often.
        attempts: u32,
        /// What the last try met, where it was no answer.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The body broke off.
    #[error("failed to copy temp contents")]
    Body(#[source] reqwest::Error),
    /// The file is larger than allowed.
    #[error("artifact is greater than the max download size of {0} bytes")]
    TooLarge(u64),
    /// The digest is empty or none, or not that of the file.
    #[error("failed to verify archive")]
    Digest(#[from] DigestMismatch),
    /// The file is no archive that may be unpacked.
    #[error("failed to extract archive (check whether file size exceeds max download size)")]
    Extract(#[from] ExtractError),
}

/// How a download does not fit its digest (RT-ART-017).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestMismatch {
    /// None was given.
    #[error("empty digest")]
    Empty,
    /// What was given is none.
    #[error("failed to parse digest '{text}'")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// The file has other bytes.
    #[error(
        "computed digest doesn't match provided '{0}' (check whether file size exceeds max download size)"
    )]
    Differs(Digest),
}

/// Downloads artifacts.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    options: FetchOptions,
}

impl Fetcher {
    /// A fetcher that uses `client`.
    pub fn new(client: Client, options: FetchOptions) -> Self {
        Self { client, options }
    }

    /// Reads the digest of an artifact's status, of which older forms had no algorithm (RT-ART-008).
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

    /// Downloads the artifact at `url`, and unpacks it if it has the digest it should. Nothing of it is seen before that is known
    /// (RT-ART-016 to RT-ART-018).
    pub async fn fetch(&self, url: &str, digest: &Digest) -> Result<Tree, FetchError> {
        let url = match &self.options.host {
            Some(host) => with_host(url, host),
            None => url.to_owned(),
        };
        let response = self.request(&url).await?;
        let tar = self.unpack(response, digest).await?;
        Ok(extract_tar(&tar, &self.options.extract)?)
    }

    async fn request(&self, url: &str) -> Result<Response, FetchError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = self.client.get(url).send().await;
            let (source, retry_after) = match answer {
                Ok(response) if response.status() == StatusCode::OK => return Ok(response),
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    return Err(FetchError::NotFound);
                }
                Ok(response) if is_passing(response.status()) => (None, retry_after(&response)),
                Ok(response) => {
                    return Err(FetchError::Status {
                        url: url.to_owned(),
                        status: response.status(),
                    });
                }
                Err(error) => (Some(error), None),
            };
            let hopeless = source
                .as_ref()
                .is_some_and(|error| error.is_builder() || error.is_redirect());
            if hopeless || attempt > self.options.retries {
                return Err(FetchError::GaveUp {
                    url: url.to_owned(),
                    attempts: attempt,
                    source,
                });
            }
            let wait = retry_after.unwrap_or_else(|| self.wait_before_retry(attempt));
            tracing::debug!(
                url,
                attempt,
                ?wait,
                "artifact download failed, trying again"
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

    async fn unpack(
        &self,
        mut response: Response,
        digest: &Digest,
    ) -> Result<bytes::Bytes, FetchError> {
        let mut hasher = digest.algorithm().hasher();
        // An archive that does not unpack is only told of once the digest has shown that it is the right one.
        let mut unpacked = Ok(Inflating::new(self.options.extract.max_bytes));
        let mut size = 0;
        while let Some(portion) = response.chunk().await.map_err(FetchError::Body)? {
            size += portion.len() as u64;
            if size > self.options.max_download {
                return Err(FetchError::TooLarge(self.options.max_download));
            }
            hasher.update(&portion);
            unpacked =
                unpacked.and_then(|mut inflating| inflating.push(&portion).map(|()| inflating));
        }
        if hasher.finish() != *digest {
            return Err(DigestMismatch::Differs(digest.clone()).into());
        }
        Ok(unpacked?.finish()?)
    }
}

/// Whether the same request may fare better later.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// The wait that a server under load asks for, at most a minute.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}
