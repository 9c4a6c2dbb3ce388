//! Bearer tokens that are looked up for each request, so that long waits survive the expiry of one.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use flux_http::Secret;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service};

/// There is no token for a request.
pub type TokenError = BoxError;

type Lookup = dyn Fn() -> BoxFuture<'static, Result<Secret, TokenError>> + Send + Sync;

/// Returns the token for a request.
#[derive(Clone)]
pub struct BearerToken(Arc<Lookup>);

impl BearerToken {
    /// Looks tokens up with `lookup`, which is expected to cache them.
    pub fn new(
        lookup: impl Fn() -> BoxFuture<'static, Result<Secret, TokenError>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(lookup))
    }
}

/// Adds a bearer token to each request, if there is where to look it up.
#[derive(Clone)]
pub(super) struct Bearer(Option<BearerToken>);

impl Bearer {
    pub(super) fn new(token: Option<BearerToken>) -> Self {
        Self(token)
    }
}

impl<S> Layer<S> for Bearer {
    type Service = BearerService<S>;

    fn layer(&self, inner: S) -> BearerService<S> {
        match &self.0 {
            None => BearerService::Plain(inner),
            Some(token) => BearerService::WithTokens {
                inner: Arc::new(Mutex::new(inner)),
                token: token.clone(),
            },
        }
    }
}

/// The service that [`Bearer`] wraps around another.
pub(super) enum BearerService<S> {
    Plain(S),
    WithTokens {
        /// Locked until a request is handed over, which takes no time.
        inner: Arc<Mutex<S>>,
        token: BearerToken,
    },
}

impl<S, B> Service<Request<B>> for BearerService<S>
where
    S: Service<Request<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Plain(inner) => inner.poll_ready(context).map_err(Into::into),
            Self::WithTokens { .. } => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (inner, token) = match self {
            Self::Plain(inner) => {
                let answer = inner.call(request);
                return Box::pin(async move { answer.await.map_err(Into::into) });
            }
            Self::WithTokens { inner, token } => (inner.clone(), (token.0)()),
        };
        Box::pin(async move {
            let value = format!("Bearer {}", token.await?.expose_text());
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| BoxError::from("the token does not fit into an HTTP header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
            let answer = {
                let mut inner = inner.lock().await;
                poll_fn(|context| inner.poll_ready(context))
                    .await
                    .map_err(Into::into)?;
                inner.call(request)
            };
            answer.await.map_err(Into::into)
        })
    }
}
