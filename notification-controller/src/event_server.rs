//! The server that events are posted to, and what becomes of them (NC-EVT rows).

mod dispatch;
mod journal;
mod limiter;
mod lines;
mod matching;
mod metadata;
mod outcomes;
mod selection;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header, request};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::task::TaskTracker;

pub(crate) use self::dispatch::{Dispatcher, Parts};
pub(crate) use self::journal::{Entry, Journal};
use self::limiter::{Limiter, Verdict, key};
pub(crate) use self::outcomes::Outcomes;
use crate::event::Event;
use crate::server::{Answer, Body, Handler, Received, plain, status};

/// The logger of the server.
pub(crate) const LOGGER: &str = "event-server";

/// Receives events.
pub(crate) struct EventServer {
    limiter: Limiter,
    /// Whether what varies in messages tells events apart (FR-N-030).
    exact: bool,
    dispatcher: Arc<Dispatcher>,
    journal: Option<Arc<Journal>>,
    /// The events that are being worked on.
    tasks: TaskTracker,
}

/// The environment variable that makes events the same whose messages differ in identifiers and times only.
const SIMILAR: &str = "NOTIFICATION_DEDUPLICATE_SIMILAR";

impl EventServer {
    /// A server that lets the same event pass once in an interval, and notes in the journal what it has accepted.
    pub(crate) fn new(
        interval: Duration,
        dispatcher: Arc<Dispatcher>,
        journal: Option<Arc<Journal>>,
        tasks: TaskTracker,
    ) -> Self {
        let similar = std::env::var(SIMILAR);
        Self {
            limiter: Limiter::new(interval),
            exact: similar.as_deref() != Ok("true"),
            dispatcher,
            journal,
            tasks,
        }
    }

    /// Takes up the events that another process has left. The same event does not pass again in their interval.
    pub(crate) async fn resume(&self, left: Vec<(Event, Entry)>) {
        if !left.is_empty() {
            let count = left.len();
            tracing::info!(logger = LOGGER, count, "sending events that were pending");
        }
        for (event, entry) in left {
            self.limiter.take(key(&event, self.exact), Instant::now());
            let turn = self.dispatcher.turn(&event).await;
            let dispatcher = self.dispatcher.clone();
            self.tasks
                .spawn(async move { dispatcher.dispatch(event, turn, entry).await });
        }
    }

    /// Accepts an event, or answers why not (NC-EVT-010 to NC-EVT-015).
    async fn accept(&self, path: &str, received: Received) -> Answer {
        let mut event = match Event::decode(&received.bytes) {
            Ok(event) => event,
            Err(error) => {
                let error = flux_errors::chain(&error);
                tracing::error!(logger = LOGGER, error, "decoding the request body failed");
                return status(StatusCode::BAD_REQUEST);
            }
        };
        // FR-N-045
        if path.starts_with("/hook/") || event.involved_object.kind.is_empty() {
            tracing::error!(
                logger = LOGGER,
                error = "the request is no event of a controller",
                path,
                "a webhook may have been sent to the event server: webhooks belong to the receiver server"
            );
        }
        metadata::clean(&mut event);
        let verdict = self.limiter.take(key(&event, self.exact), Instant::now());
        if !verdict.passes {
            let kv = json!({"eventInvolvedObject": event.involved_object.to_value()}).to_string();
            tracing::debug!(
                logger = LOGGER,
                kv,
                "Discarding event, rate limiting duplicate events"
            );
            let refused = plain(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n");
            return limited(refused, verdict);
        }
        metadata::drop_internal(&mut event);
        let dispatcher = self.dispatcher.clone();
        let entry = Journal::accept(self.journal.as_ref(), &event);
        let turn = dispatcher.turn(&event).await;
        self.tasks.spawn(async move {
            dispatcher.dispatch(event, turn, entry).await;
            drop(received); // its memory counts until here
        });
        limited(status(StatusCode::ACCEPTED), verdict)
    }
}

impl Handler for EventServer {
    fn answer(&self, head: request::Parts, body: Body) -> BoxFuture<'_, Answer> {
        async move {
            match body.read().await {
                Ok(received) => self.accept(head.uri.path(), received).await,
                Err(refusal) => refusal,
            }
        }
        .boxed()
    }
}

/// With the headers of the rate limit (NC-EVT-014).
fn limited(mut answer: Answer, verdict: Verdict) -> Answer {
    let at = Timestamp::now() + verdict.reset;
    let at = at.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
    let Ok(at) = HeaderValue::from_str(&at) else {
        return answer;
    };
    let headers = answer.headers_mut();
    headers.insert("x-ratelimit-limit", HeaderValue::from_static("1"));
    headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
    headers.insert("x-ratelimit-reset", at.clone());
    if !verdict.passes {
        headers.insert(header::RETRY_AFTER, at);
    }
    answer
}
