//! Tokens that the caller gets.

use std::error::Error as StdError;
use std::fmt;

use flux_http::Secret;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::error::Error;

/// An error of the caller's own.
pub type BoxError = Box<dyn StdError + Send + Sync>;

type Fetch = dyn Fn() -> BoxFuture<'static, Result<Secret, BoxError>> + Send + Sync;

/// Gets an access token, once, when the first request needs it.
pub struct TokenSource {
    fetch: Box<Fetch>,
    token: OnceCell<Secret>,
}

impl TokenSource {
    /// A source that calls `fetch`.
    pub fn new(
        fetch: impl Fn() -> BoxFuture<'static, Result<Secret, BoxError>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            fetch: Box::new(fetch),
            token: OnceCell::new(),
        }
    }

    /// The token. A failure is not kept.
    pub(crate) async fn token(&self) -> Result<&Secret, Error> {
        let token = self.token.get_or_try_init(|| (self.fetch)()).await;
        token.map_err(Error::Credentials)
    }

    /// The token, if it was needed so far.
    pub(crate) fn held(&self) -> Option<&Secret> {
        self.token.get()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource(***)")
    }
}
