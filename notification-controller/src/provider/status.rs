//! The status of a commit: set unless it is set already.

use std::fmt;

use http::StatusCode;
use tokio::time::Instant;

use super::send::{Exchange, Reply, SendError, Sender};
use crate::event::{Event, MISSING_REVISION};

/// Whether a response says that the status is set.
pub(super) type IsSet = Box<dyn Fn(&Reply) -> Result<bool, SendError> + Send + Sync>;

/// Asks for the statuses of a commit, and sets one unless it is among them.
pub(crate) struct StatusJob {
    /// Asks for the statuses.
    pub(super) list: Exchange,
    /// Whether the answer has the status.
    pub(super) is_set: IsSet,
    /// Sets the status.
    pub(super) create: Exchange,
    /// How errors are worded.
    pub(super) texts: Texts,
    /// How often each request is sent again.
    pub(super) retries: [u32; 2],
}

/// How errors are worded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    /// What the error of the first request begins with.
    pub(super) list: &'static str,
    /// What the error of the second begins with.
    pub(super) create: &'static str,
    /// Whether a refusal is told by its status alone.
    pub(super) by_status: bool,
    /// Whether `404` means that there is no status.
    pub(super) may_be_absent: bool,
}

impl fmt::Debug for StatusJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusJob")
            .field("texts", &self.texts)
            .finish_non_exhaustive()
    }
}

impl StatusJob {
    /// Sets the status unless it is set.
    pub(super) async fn run(self, sender: &Sender, deadline: Instant) -> Result<(), SendError> {
        let texts = self.texts;
        let told = |what: &str, error: &SendError| error.told(format!("{what}{error}"));
        if sender.posted().is_last(&self.create) {
            return Ok(()); // FR-N-029: nothing else has set it since
        }
        let reply = sender
            .exchange(&self.list, self.retries[0], deadline)
            .await
            .map_err(|error| told(texts.list, &error))?;
        let absent = texts.may_be_absent && reply.status == StatusCode::NOT_FOUND;
        if !absent {
            if !reply.status.is_success() {
                return Err(refused(texts, texts.list, &self.list, &reply));
            }
            if (self.is_set)(&reply).map_err(|error| told(texts.list, &error))? {
                sender.posted().note(&self.create);
                return Ok(());
            }
        }
        let reply = sender
            .exchange(&self.create, self.retries[1], deadline)
            .await
            .map_err(|error| told(texts.create, &error))?;
        if reply.status.is_success() {
            sender.posted().note(&self.create);
            Ok(())
        } else {
            Err(refused(texts, texts.create, &self.create, &reply))
        }
    }
}

fn refused(texts: Texts, what: &str, request: &Exchange, reply: &Reply) -> SendError {
    reply.refused(if texts.by_status {
        let reason = reply.status.canonical_reason().unwrap_or_default();
        format!("{what}{} - {reason}", reply.status.as_u16())
    } else {
        format!("{what}{}", reply.refusal(request))
    })
}

/// The commit that an event is about (NC-PROV-076, NC-PROV-077).
pub(super) fn commit(event: &Event) -> Result<&str, SendError> {
    let keys = ["commit", "originRevision", "revision"];
    let revision = keys.iter().find_map(|key| event.metadata.get(*key));
    let revision = revision.ok_or_else(|| SendError::other(MISSING_REVISION))?;
    let hash = revision
        .rsplit_once(':')
        .or_else(|| revision.rsplit_once('/'))
        .map_or(&**revision, |(_, hash)| hash);
    if hash.len() == 40 && hash.is_ascii() {
        return Ok(hash);
    }
    Err(SendError::other(format!(
        "failed to extract commit hash from '{revision}' revision"
    )))
}

/// The JSON list in a response.
pub(super) fn list(reply: &Reply) -> Result<Vec<serde_json::Value>, SendError> {
    serde_json::from_slice(&reply.body)
        .map_err(|_| SendError::other("the answer is not a JSON list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_found_in_revisions() {
        const HASH: &str = "0123456789012345678901234567890123456789";
        let found = |entries: &[(&str, String)]| {
            let mut event = Event::default();
            for (key, value) in entries {
                event.metadata.insert((*key).to_owned(), value.clone());
            }
            commit(&event).map(str::to_owned)
        };
        // NC-PROV-077, FR-N-019
        for revision in [
            format!("main@sha1:{HASH}"),
            format!("environment/dev@sha1:{HASH}"),
            format!("environment/dev/{HASH}"),
            format!("a:b@c@sha1:{HASH}"),
            format!("sha1:{HASH}"),
            HASH.to_owned(),
        ] {
            assert_eq!(
                found(&[("revision", revision.clone())]).as_deref(),
                Ok(HASH),
                "{revision}"
            );
        }
        for revision in ["master", "main@sha1:abc", "main@sha256:0123"] {
            let text = format!("failed to extract commit hash from '{revision}' revision");
            let error = found(&[("revision", revision.to_owned())]).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        // NC-PROV-076
        let other = "9".repeat(40);
        assert_eq!(
            found(&[
                ("revision", "x".to_owned()),
                ("originRevision", other.clone())
            ]),
            Ok(other.clone())
        );
        assert_eq!(
            found(&[
                ("originRevision", "x".to_owned()),
                ("commit", other.clone())
            ]),
            Ok(other)
        );
        assert_eq!(
            found(&[]).unwrap_err().to_string(),
            "missing revision metadata"
        );
    }
}
