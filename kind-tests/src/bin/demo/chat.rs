//! The chat that alerts arrive at: what notification-controller sends is shown at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use kind_tests::{EventSink, Kind, Result};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::screen::{brief, say, text};

/// A service that notification-controller sends to.
pub(crate) struct Chat {
    sink: Arc<EventSink>,
    shown: JoinHandle<()>,
}

impl Chat {
    pub(crate) async fn start() -> Result<Self> {
        let sink = Arc::new(EventSink::start_as_service().await?);
        let messages = sink.clone();
        let shown = tokio::spawn(async move {
            let mut known = 0;
            loop {
                for event in messages.after(known).await {
                    known += 1;
                    say(&format!("    alert   {}", line(&event)));
                }
            }
        });
        Ok(Self { sink, shown })
    }

    /// The address for a Provider.
    pub(crate) fn url(&self) -> String {
        self.sink.url()
    }

    /// Waits for an alert about an object of this kind that contains these words, also a past one.
    pub(crate) async fn wait(&self, kind: Kind, words: &str) -> Result {
        let goal = format!("about a {} with {words:?}", kind.1);
        let wanted = |event: &Value| {
            event["involvedObject"]["kind"] == kind.1 && text(&event["message"]).contains(words)
        };
        self.sink.wait(&goal, wanted).await?;
        Ok(())
    }

    /// Fails if a message was not in the format of notification-controller.
    pub(crate) fn check(&self) -> Result {
        self.sink.check()
    }

    /// The number of alerts about the objects of each kind.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for event in self.sink.events() {
            *counts
                .entry(text(&event["involvedObject"]["kind"]))
                .or_default() += 1;
        }
        counts
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.shown.abort();
    }
}

fn line(event: &Value) -> String {
    let object = &event["involvedObject"];
    format!(
        "{}/{} {}: {}",
        text(&object["kind"]),
        text(&object["name"]),
        text(&event["severity"]),
        brief(&text(&event["message"]))
    )
}
