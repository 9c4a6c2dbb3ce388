//! A time limit for every request except watches.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use flux_http::RequestError;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tower::{BoxError, Layer, Service};

/// Ends each request after a time, from when it is sent to the last byte of the answer. Watches go on for as long as
/// the server lets them.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit(Duration);

impl TimeLimit {
    /// Longer than the minute after which an API server itself ends a request, so that its own error arrives first.
    pub const DEFAULT: Self = Self(Duration::from_secs(75));

    /// A limit of this duration.
    pub fn new(limit: Duration) -> Self {
        Self(limit)
    }
}

impl<S> Layer<S> for TimeLimit {
    type Service = LimitedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitedService {
            inner,
            limit: self.0,
        }
    }
}

/// The service that [`TimeLimit`] wraps around another.
#[derive(Clone, Debug)]
pub struct LimitedService<S> {
    inner: S,
    limit: Duration,
}

impl<S, A, B> Service<Request<A>> for LimitedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<Limited<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let limit = (!is_watch(&request)).then_some(self.limit);
        let late = RequestError::timed_out(request.method(), request.uri());
        let answer = self.inner.call(request); // nothing is sent before it is awaited
        Box::pin(async move {
            let Some(limit) = limit else {
                let answer = answer.await.map_err(Into::into)?;
                return Ok(answer.map(|body| Limited { body, limit: None }));
            };
            let mut sleep = Box::pin(tokio::time::sleep(limit));
            let answer = tokio::select! {
                answer = answer => answer.map_err(Into::into)?,
                () = &mut sleep => return Err(late.into()),
            };
            Ok(answer.map(|body| Limited {
                body,
                limit: Some((sleep, late)),
            }))
        })
    }
}

/// Whether the request is a watch. No object name can turn a read into one: names are path segments.
fn is_watch<A>(request: &Request<A>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::GET
        && url::form_urlencoded::parse(query.as_bytes())
            .any(|(key, value)| key == "watch" && matches!(&*value, "true" | "1"))
}

/// The body of an answer, which has to be over by the time that the request has.
#[derive(Debug)]
pub struct Limited<B> {
    body: B,
    limit: Option<(Pin<Box<Sleep>>, RequestError)>,
}

impl<B> Body for Limited<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some((sleep, late)) = &mut self.limit else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(late.clone().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(75);

    /// A body that never ends.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn request(target: &str) -> Request<()> {
        let uri = format!("https://10.0.0.1:6443{target}");
        Request::builder().uri(uri).body(()).unwrap()
    }

    /// How and after which time the request ends at a server that starts to respond or does not; `None` if it has not
    /// ended after a day.
    async fn end(target: &str, answers: bool) -> Option<(String, Duration)> {
        let hanging = tower::service_fn(move |_: Request<()>| async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Endless))
        });
        let started = Instant::now();
        let run = async {
            let service = TimeLimit::new(LIMIT).layer(hanging);
            match service.oneshot(request(target)).await {
                Ok(answer) => answer.into_body().collect().await.map(drop),
                Err(error) => Err(error),
            }
        };
        let end = tokio::time::timeout(Duration::from_hours(24), run).await;
        let error = end.ok()?.unwrap_err();
        Some((error.to_string(), started.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn requests_except_watches_time_out() {
        for (target, shown) in [
            (
                "/api/v1/namespaces/a/secrets/b",
                "/api/v1/namespaces/a/secrets/b",
            ),
            ("/api/v1/secrets?limit=500&watch=false", "/api/v1/secrets"),
            (
                "/api/v1/secrets/%3Fwatch=true",
                "/api/v1/secrets/%3Fwatch=true",
            ),
        ] {
            for answers in [false, true] {
                let (error, after) = end(target, answers).await.unwrap();
                let want =
                    format!("Get \"https://10.0.0.1:6443{shown}\": context deadline exceeded");
                assert_eq!((error, after), (want, LIMIT), "{target} {answers}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn watches_do_not_time_out() {
        for target in ["/api/v1/secrets?watch=true", "/api/v1/secrets?a=b&watch=1"] {
            for answers in [false, true] {
                assert_eq!(end(target, answers).await, None, "{target} {answers}");
            }
        }
    }
}
