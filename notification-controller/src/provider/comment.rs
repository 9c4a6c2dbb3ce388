//! A comment on a pull request: one per object and Provider, written anew for each event.

use std::fmt;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Job;
use super::send::{Exchange, Reply, SendError, Sender};
use super::settings::{ConfigError, Settings};
use super::status::list;
use super::text::markdown;
use crate::event::Event;

/// The comments of a pull request at a forge: the requests about them, without a body.
pub(super) struct Thread {
    /// What the mark of a comment begins with.
    pub(super) key: &'static str,
    /// Asks for the comments.
    pub(super) list: Exchange,
    /// Where the author's name is in a comment, as a JSON pointer.
    pub(super) author: &'static str,
    /// Replaces a comment: its number is added to the address.
    pub(super) update: Exchange,
    /// Writes a comment.
    pub(super) create: Exchange,
    /// What the errors of listing, replacing and writing begin with.
    pub(super) texts: [&'static str; 3],
}

/// What is to be done for an event as the author `own`, in the pull request of its number.
pub(super) fn job(
    settings: &Settings,
    event: &Event,
    own: String,
    thread: impl FnOnce(u64) -> Thread,
) -> Job {
    match number(event) {
        Ok(number) => Job::Comment(thread(number).job(settings, event, own)),
        Err(error) => Job::Fails(error),
    }
}

impl Thread {
    fn job(self, settings: &Settings, event: &Event, own: String) -> CommentJob {
        let marker = marker(self.key, settings, event);
        let body = json!({"body": body(&marker, event)});
        CommentJob {
            thread: Self {
                update: self.update.json(&body),
                create: self.create.json(&body),
                ..self
            },
            own,
            marker,
        }
    }
}

/// Looks for the earlier comment, and replaces it or writes the first.
pub(crate) struct CommentJob {
    thread: Thread,
    /// The author's name.
    own: String,
    /// What an own comment contains.
    marker: String,
}

impl fmt::Debug for CommentJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommentJob")
            .field("texts", &self.thread.texts)
            .finish_non_exhaustive()
    }
}

impl CommentJob {
    /// Replaces the earlier comment, or writes the first.
    pub(super) async fn run(self, sender: &Sender, deadline: Instant) -> Result<(), SendError> {
        let thread = &self.thread;
        let [listing, updating, creating] = thread.texts;
        let reply = ask(sender, &thread.list, listing, deadline).await?;
        let comments = list(&reply);
        let comments = comments.map_err(|error| SendError::other(format!("{listing}{error}")))?;
        let own = comments.iter().find_map(|comment| self.own(comment));
        match own {
            Some(id) => {
                let mut update = thread.update.clone();
                update.address = format!("{}/{id}", update.address);
                ask(sender, &update, updating, deadline).await?;
            }
            None => {
                ask(sender, &thread.create, creating, deadline).await?;
            }
        }
        Ok(())
    }

    /// The number of a comment, if it is the earlier one.
    fn own(&self, comment: &Value) -> Option<u64> {
        let author = comment.pointer(self.thread.author)?.as_str()?;
        let body = comment["body"].as_str()?;
        (author == self.own && body.contains(&self.marker)).then_some(comment["id"].as_u64()?)
    }
}

/// Sends a request that has to succeed.
async fn ask(
    sender: &Sender,
    request: &Exchange,
    what: &str,
    deadline: Instant,
) -> Result<Reply, SendError> {
    let reply = sender.exchange(request, 0, deadline).await;
    let reply = reply.map_err(|error| error.told(format!("{what}{error}")))?;
    if reply.status.is_success() {
        Ok(reply)
    } else {
        Err(reply.refused(format!("{what}{}", reply.refusal(request))))
    }
}

/// A field of what the service answers to a request that has to succeed before anything is sent, such as the own name.
pub(super) async fn field(
    sender: &Sender,
    request: &Exchange,
    what: &'static str,
    field: &str,
    deadline: Instant,
) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Request { what, source };
    let reply = ask(sender, request, "", deadline).await.map_err(failed)?;
    let body: Value = serde_json::from_slice(&reply.body)
        .map_err(|_| failed(SendError::other("the answer is not JSON")))?;
    Ok(body[field].as_str().unwrap_or_default().to_owned())
}

/// The number of the pull request (NC-GITHUBPULLREQUESTCOMMENT-001).
fn number(event: &Event) -> Result<u64, SendError> {
    let key = "change_request";
    let Some(text) = event.metadata.get(key) else {
        return Err(SendError::other(format!("missing {key:?} metadata key")));
    };
    text.parse::<u64>().map_err(|_| {
        let shown = flux_golang::strconv::quote(text);
        let error = format!("strconv.Atoi: parsing {shown}: invalid syntax");
        SendError::other(format!("invalid {key:?} metadata value {shown}: {error}"))
    })
}

/// What marks the comment of a Provider about an object (NC-GITHUBPULLREQUESTCOMMENT-002).
fn marker(prefix: &str, settings: &Settings, event: &Event) -> String {
    let object = event.involved_object.shown();
    format!("<!-- {prefix}:{}/{object} -->", settings.uid)
}

/// The comment.
fn body(marker: &str, event: &Event) -> String {
    format!("{marker}\n\n{}", markdown(event))
}
