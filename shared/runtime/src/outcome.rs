//! How a reconcile ends, and what follows from it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::conditions::{ConditionType, Status};
use crate::reason::Reason;

/// A reconcile that succeeded.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Reason and message of Ready=True; `None` if Ready is a summary of the kind's other conditions.
    pub ready: Option<(&'static str, String)>,
    /// When the object is reconciled again.
    pub again: Again,
    /// The message of Reconciling, if the work is not done although the run succeeded (HC-ACT-064).
    pub continues: Option<String>,
    /// What this run changed outside the status, for the event of a kind with
    /// [`Events::Transition`](crate::policy::Events::Transition) (IA-STATUS-030); `None` if nothing.
    pub news: Option<String>,
    /// The text of the Trace event of such a kind if there is nothing to report (IR-REPO-103, IA-STATUS-033).
    pub routine: Option<String>,
}

/// When an object is reconciled again without a trigger.
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
    /// Ready=True with this reason and message; reconciled again after the interval.
    pub fn ready(reason: impl Reason, message: impl Into<String>, interval: Duration) -> Self {
        Self {
            ready: Some((reason.as_str(), message.into())),
            ..Self::summarized(interval)
        }
    }

    /// Ready is a summary of the kind's conditions; reconciled again after the interval.
    pub fn summarized(interval: Duration) -> Self {
        Self {
            ready: None,
            again: Again::Jittered(interval),
            continues: None,
            news: None,
            routine: None,
        }
    }

    /// The work is not done: it continues in a later run, with this message of Reconciling=True (HC-ACT-064).
    pub fn continuing(message: impl Into<String>, again: Again) -> Self {
        Self {
            again,
            continues: Some(message.into()),
            ..Self::summarized(Duration::ZERO)
        }
    }

    /// Sets the text of the event for a run that changed something outside the status.
    #[must_use]
    pub fn with_news(self, news: impl Into<String>) -> Self {
        Self {
            news: Some(news.into()),
            ..self
        }
    }

    /// Sets the text of the Trace event for a run without anything to report.
    #[must_use]
    pub fn with_routine(self, routine: impl Into<String>) -> Self {
        Self {
            routine: Some(routine.into()),
            ..self
        }
    }
}

/// A reconcile that failed. [`next`](Failure::next) alone decides what follows.
#[derive(Debug)]
pub struct Failure {
    /// The reason of its conditions and event: one of the kind's closed set.
    pub reason: &'static str,
    /// The error, with its sources.
    pub cause: Cause,
    /// What follows.
    pub next: Next,
    /// Which event is emitted.
    pub notice: Notice,
    /// The condition of the kind's own table that this failure sets, and its status (SC-PROC-062).
    pub marks: Option<(ConditionType, Status)>,
    /// Metadata of the event, by key without the kind's group (RT-EVT-012).
    pub metadata: BTreeMap<&'static str, String>,
    /// Whether the reconciler has logged the wait itself, so that the frame does not.
    pub is_logged: bool,
    /// Whether the conditions are left as they are: only the log reports the failure (HC-ACT-007).
    pub leaves_conditions: bool,
    /// Whether Ready is left as it is, while Reconciling and Stalled are set (HC-ACT-067).
    pub leaves_ready: bool,
    /// The message of its conditions, if it is not the cause's (HC-ACT-067, HC-CHART-023).
    pub message: Option<String>,
    /// Whether a wait is spread by the controller's jitter (HC-CHART-019).
    pub is_spread: bool,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Only a change of the object or of what it refers to helps (RT-CON-010). The generation counts as observed in the
    /// cases in which upstream does that.
    Stalled {
        /// Whether `status.observedGeneration` is updated.
        generation_observed: bool,
    },
    /// Retried (RT-CON-009).
    Retry(Pace),
    /// Not a failure of this object: reconciled again after this time, without an error metric and without back-off (SC-PROC-071).
    Waiting(Duration),
    /// A newer trigger arrived during the run: run again now (RT-WAT-013).
    Superseded,
    /// Not retried before the interval is over; the work counts as done (SC-PROC-072).
    Ignored(Duration),
}

/// How soon a failed reconcile is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// After the queue's exponential delay (RT-QUE-004). Counts as an error.
    BackOff,
    /// After exactly this time (KC-PROC-069).
    Exactly(Duration),
}

/// The event of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// None: the status and the log report it.
    Quiet,
    /// A Normal event in Kubernetes, not sent to the notification-controller (RT-EVT-003).
    Trace,
    /// A Normal event in Kubernetes and at the notification-controller.
    Info,
    /// A Warning event in Kubernetes, an error at the notification-controller.
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

/// As [`flux_errors::chain`], but prints errors of kube by [`flux_objects::words`]: in the server's words, as upstream
/// does, since kube adds the reason and the whole status in its Debug form and its source repeats them.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    flux_errors::chain_with(error, |error| flux_objects::words(error.downcast_ref()?))
}

impl Failure {
    fn new(reason: impl Reason, cause: impl Into<Cause>, next: Next, notice: Notice) -> Self {
        Self {
            reason: reason.as_str(),
            cause: cause.into(),
            next,
            notice,
            marks: None,
            metadata: BTreeMap::new(),
            is_logged: false,
            leaves_conditions: false,
            leaves_ready: false,
            message: None,
            is_spread: false,
        }
    }

    /// Stalled: only a change helps; the generation counts as observed.
    pub fn stalled(reason: impl Reason, cause: impl Into<Cause>) -> Self {
        Self::new(
            reason,
            cause,
            Next::Stalled {
                generation_observed: true,
            },
            Notice::Warning,
        )
    }

    /// Retried at this pace, with a warning.
    pub fn retry(reason: impl Reason, cause: impl Into<Cause>, pace: Pace) -> Self {
        Self::new(reason, cause, Next::Retry(pace), Notice::Warning)
    }

    /// Reconciled again after `recheck`, without an event.
    pub fn waiting(reason: impl Reason, cause: impl Into<Cause>, recheck: Duration) -> Self {
        Self::new(reason, cause, Next::Waiting(recheck), Notice::Quiet)
    }

    /// Abandoned for a newer trigger.
    pub fn superseded(reason: impl Reason, cause: impl Into<Cause>) -> Self {
        Self::new(reason, cause, Next::Superseded, Notice::Info)
    }

    /// Marks the wait as logged by the reconciler itself, in other words than the cause's.
    #[must_use]
    pub fn logged(self) -> Self {
        Self {
            is_logged: true,
            ..self
        }
    }

    /// Makes a stall not count the generation as observed, as upstream does in some cases. Other failures never count
    /// it.
    #[must_use]
    pub fn unobserved(self) -> Self {
        let next = match self.next {
            Next::Stalled { .. } => Next::Stalled {
                generation_observed: false,
            },
            next => next,
        };
        Self { next, ..self }
    }

    /// Leaves all conditions unchanged: only the log reports the failure (HC-ACT-007).
    #[must_use]
    pub fn leaving_conditions(self) -> Self {
        Self {
            leaves_conditions: true,
            ..self.quietly()
        }
    }

    /// Emits no event.
    #[must_use]
    pub fn quietly(self) -> Self {
        self.with_notice(Notice::Quiet)
    }

    /// Emits this event.
    #[must_use]
    pub fn with_notice(self, notice: Notice) -> Self {
        Self { notice, ..self }
    }

    /// Sets this condition of the kind's table to True (a failure condition).
    #[must_use]
    pub fn marking(self, condition: ConditionType) -> Self {
        Self {
            marks: Some((condition, Status::True)),
            ..self
        }
    }

    /// Sets this condition of the kind's table to False (a condition that should be True).
    #[must_use]
    pub fn marking_false(self, condition: ConditionType) -> Self {
        Self {
            marks: Some((condition, Status::False)),
            ..self
        }
    }

    /// Leaves Ready unchanged: Stalled and Reconciling only report what follows (HC-ACT-067).
    #[must_use]
    pub fn leaving_ready(self) -> Self {
        Self {
            leaves_ready: true,
            ..self
        }
    }

    /// Sets the message of the conditions, where it is not that of the cause (HC-ACT-067, HC-CHART-023).
    #[must_use]
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..self
        }
    }

    /// Spreads a wait by the controller's jitter (HC-CHART-019).
    #[must_use]
    pub fn spread(self) -> Self {
        Self {
            is_spread: true,
            ..self
        }
    }

    /// Sets the metadata of the event.
    #[must_use]
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
    fn a_cause_prints_each_source_once() {
        assert_eq!(Cause::from(Outer(Inner)).to_string(), "outer: inner");
        assert_eq!(Cause::from(Embeds(Inner)).to_string(), "embeds inner");
        assert_eq!(Cause::from("plain").to_string(), "plain");
    }

    #[test]
    fn only_stalled_failures_can_be_unobserved() {
        let stalled = Failure::stalled("R", "m");
        assert_eq!(
            stalled.next,
            Next::Stalled {
                generation_observed: true
            }
        );
        assert_eq!(
            stalled.unobserved().next,
            Next::Stalled {
                generation_observed: false
            }
        );
        let retry = Failure::retry("R", "m", Pace::BackOff).unobserved();
        assert_eq!(retry.next, Next::Retry(Pace::BackOff));
    }

    #[test]
    fn api_errors_keep_the_message_of_the_server() {
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
