//! What a reconcile ends in, and what follows from it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A reconcile that did what the spec asks for.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Reason and message of Ready=True. `None` where the kind's other conditions sum up to it.
    pub ready: Option<(&'static str, String)>,
    /// When the object comes back.
    pub again: Again,
}

/// When an object comes back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After its interval, spread by the controller's jitter (RT-QUE-007). Zero is [`Again::Never`] (SC-PROC-078).
    Jittered(Duration),
    /// After exactly this time.
    After(Duration),
    /// At once, slowed by the back-off (SC-PROC-077).
    BackOff,
    /// Only when something changes.
    Never,
}

impl Outcome {
    /// Ready=True with this reason and message, and back after the interval.
    pub fn ready(reason: &'static str, message: impl Into<String>, interval: Duration) -> Self {
        Self {
            ready: Some((reason, message.into())),
            again: Again::Jittered(interval),
        }
    }

    /// Ready as the kind's conditions say, and back after the interval.
    pub fn summarized(interval: Duration) -> Self {
        Self {
            ready: None,
            again: Again::Jittered(interval),
        }
    }
}

/// A reconcile that did not. Its [`next`](Failure::next) alone decides what follows.
#[derive(Debug)]
pub struct Failure {
    /// The reason of the conditions and events that tell of it: one of the kind's closed set.
    pub reason: &'static str,
    /// What went wrong, with its sources.
    pub cause: Cause,
    /// What follows.
    pub next: Next,
    /// What is told of it, and to whom.
    pub notice: Notice,
    /// The condition of the kind's own table that this failure sets, and to what (SC-PROC-062).
    pub marks: Option<(&'static str, crate::conditions::Status)>,
    /// Metadata of the event, by key without the kind's group (RT-EVT-012).
    pub metadata: BTreeMap<&'static str, String>,
    /// Whether the reconciler has logged that it waits, and the frame need not.
    pub is_logged: bool,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Only a change of the object or of what it refers to helps (RT-CON-010). Where upstream counts the generation as
    /// observed, so do we.
    Stalled {
        /// Whether `status.observedGeneration` moves.
        generation_observed: bool,
    },
    /// Tried again (RT-CON-009).
    Retry(Pace),
    /// Nobody's fault: looked at again after this time, without an error metric and without back-off (SC-PROC-071).
    Waiting(Duration),
    /// A newer trigger came during the run: run again now (RT-WAT-013).
    Superseded,
    /// Not worth a retry before the interval is over; the work counts as done (SC-PROC-072).
    Ignored(Duration),
}

/// How soon a failed reconcile is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// After the queue's exponential delay (RT-QUE-004). Counts as an error.
    BackOff,
    /// After exactly this time (KC-PROC-069).
    Exactly(Duration),
}

/// Who is told of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Only the status and the log.
    Quiet,
    /// Kubernetes, as a Normal event; not the notification-controller (RT-EVT-003).
    Trace,
    /// Both, as news.
    Info,
    /// Both, as a warning.
    Warning,
}

/// An error with its sources, printed as one line.
pub struct Cause(Box<dyn Error + Send + Sync>);

impl Cause {
    /// The error itself.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.0))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As [`flux_errors::chain`], with what [`flux_objects::words`] gives for errors of kube: these are printed in the server's
/// words, as upstream does, since kube adds the reason and the whole status in its Debug form and its source repeats them.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    flux_errors::chain_with(error, |error| flux_objects::words(error.downcast_ref()?))
}

impl Failure {
    fn new(reason: &'static str, cause: impl Into<Cause>, next: Next, notice: Notice) -> Self {
        Self {
            reason,
            cause: cause.into(),
            next,
            notice,
            marks: None,
            metadata: BTreeMap::new(),
            is_logged: false,
        }
    }

    /// Only a change helps; the generation counts as observed.
    pub fn stalled(reason: &'static str, cause: impl Into<Cause>) -> Self {
        Self::new(
            reason,
            cause,
            Next::Stalled {
                generation_observed: true,
            },
            Notice::Warning,
        )
    }

    /// Tried again at this pace, with a warning.
    pub fn retry(reason: &'static str, cause: impl Into<Cause>, pace: Pace) -> Self {
        Self::new(reason, cause, Next::Retry(pace), Notice::Warning)
    }

    /// Looked at again after `recheck`, quietly.
    pub fn waiting(reason: &'static str, cause: impl Into<Cause>, recheck: Duration) -> Self {
        Self::new(reason, cause, Next::Waiting(recheck), Notice::Quiet)
    }

    /// Given up for a newer trigger.
    pub fn superseded(reason: &'static str, cause: impl Into<Cause>) -> Self {
        Self::new(reason, cause, Next::Superseded, Notice::Info)
    }

    /// Whose wait the reconciler has logged itself, in other words than the cause's.
    pub fn logged(self) -> Self {
        Self {
            is_logged: true,
            ..self
        }
    }

    /// Told to the log and the status only.
    pub fn quietly(self) -> Self {
        self.noticed(Notice::Quiet)
    }

    /// Told to these.
    pub fn noticed(self, notice: Notice) -> Self {
        Self { notice, ..self }
    }

    /// Setting this condition of the kind's table to True (a failure condition).
    pub fn marking(self, condition: &'static str) -> Self {
        Self {
            marks: Some((condition, crate::conditions::Status::True)),
            ..self
        }
    }

    /// Setting this condition of the kind's table to False (a condition that ought to hold).
    pub fn denying(self, condition: &'static str) -> Self {
        Self {
            marks: Some((condition, crate::conditions::Status::False)),
            ..self
        }
    }

    /// With this metadata on its event.
    pub fn with_metadata(self, metadata: BTreeMap<&'static str, String>) -> Self {
        Self { metadata, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;
    #[derive(Debug, thiserror::Error)]
    #[error("embeds inner")]
    struct Embeds(#[source] Inner);

    #[test]
    fn a_cause_tells_its_sources_once() {
        assert_eq!(Cause::from(Outer(Inner)).to_string(), "outer: inner");
        assert_eq!(Cause::from(Embeds(Inner)).to_string(), "embeds inner");
        assert_eq!(Cause::from("plain").to_string(), "plain");
    }

    #[test]
    fn a_refusal_of_the_api_server_is_told_in_its_words() {
        // KC-DEP-003, KC-SRC-003
        #[derive(Debug, thiserror::Error)]
        #[error("dependency 'apps/db' not found")]
        struct Missing(#[source] kube::Error);
        let message = "kustomizations.kustomize.toolkit.fluxcd.io \"db\" not found";
        let status = kube::core::Status::failure(message, "NotFound").with_code(404);
        let missing = Missing(kube::Error::Api(status.boxed()));
        assert_eq!(
            Cause::from(missing).to_string(),
            format!("dependency 'apps/db' not found: {message}")
        );
    }
}
