//! Requests without kube's own log lines.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tracing::Dispatch;
use tracing::dispatcher::with_default;

/// Runs a future or a stream of kube's without its log lines: these show a refusal, and an answer that cannot be parsed, as a
/// whole. A refusal may quote a Secret's values, and so may the response to a list. The caller still gets the error.
///
/// Only what is logged while the future or stream is polled is dropped, so it must not be wrapped around code that logs
/// for itself.
#[derive(Debug)]
pub struct Quiet<T>(Pin<Box<T>>);

/// Wraps a request, or a watch, in [`Quiet`].
///
/// ```
/// # async fn example(pods: kube::Api<k8s_openapi::api::core::v1::Pod>) -> kube::Result<()> {
/// let list = flux_objects::quiet(pods.list(&kube::api::ListParams::default())).await?;
/// # Ok(())
/// # }
/// ```
pub fn quiet<T>(request: T) -> Quiet<T> {
    Quiet(Box::pin(request))
}

impl<F: Future> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let inner = self.get_mut().0.as_mut();
        with_default(&Dispatch::none(), || inner.poll(context))
    }
}

impl<S: Stream> Stream for Quiet<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let inner = self.get_mut().0.as_mut();
        with_default(&Dispatch::none(), || inner.poll_next(context))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};

    use futures::StreamExt as _;
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Secret;
    use kube::Client;
    use kube::api::{Api, ListParams, PostParams};
    use kube::client::Body;
    use kube::runtime::watcher;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::quiet;
    use crate::Objects;

    /// Collects every log line of every library.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Visit for Log {
        fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
            writeln!(self.0.lock().unwrap(), "{value:?}").unwrap();
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    const QUOTED: &str = "denied: the token MARKED-77ab";

    /// A server that refuses everything, and quotes a value when it does.
    fn server() -> Client {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let text = match request.uri().path() {
                "/api/v1/namespaces/broken/secrets" => QUOTED.to_owned(),
                _ => serde_json::json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                    "reason": "Forbidden", "message": QUOTED,
                })
                .to_string(),
            };
            let code = if text == QUOTED { 200 } else { 403 };
            let answer = Response::builder().status(code);
            Ok::<_, Infallible>(answer.body(Body::from(text.into_bytes())).unwrap())
        });
        Client::new(service, "default")
    }

    #[test]
    fn response_bodies_are_not_logged() {
        let log = Log::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let shown = || std::mem::take(&mut *log.0.lock().unwrap());
        tracing::subscriber::with_default(log.clone(), || {
            runtime.unwrap().block_on(async {
                let objects =
                    |namespace| Objects::<Secret>::in_namespace(server(), namespace).unwrap();
                // Without it kube shows both answers. First, since where a line is logged from is asked once whether anything
                // listens there.
                let api: Api<Secret> = objects("apps").into_api();
                let (params, secret) = (PostParams::default(), Secret::default());
                assert!(api.create(&params, &secret).await.is_err());
                assert!(shown().contains("MARKED-77ab"));
                let broken = objects("broken").into_api();
                assert!(broken.list(&ListParams::default()).await.is_err());
                assert!(shown().contains("MARKED-77ab"));

                let refused = objects("apps")
                    .create(&PostParams::default(), &Secret::default())
                    .await;
                assert_eq!(refused.unwrap_err().to_string(), QUOTED);
                let broken = objects("broken").list(&ListParams::default()).await;
                assert!(broken.is_err());
                let mut watch = quiet(watcher(api, watcher::Config::default()));
                while watch.next().await.unwrap().is_ok() {}
                // The client's worker logs that there are requests, and nothing of what they hold.
                let shown = shown();
                assert!(!shown.contains("MARKED-77ab"), "{shown}");
            });
        });
    }
}
