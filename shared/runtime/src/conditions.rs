//! The conditions of an object: how they change, sort and sum up (RT-CON rows).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether the object is in the state that its spec asks for.
pub const READY: &str = "Ready";
/// Work towards that state is under way.
pub const RECONCILING: &str = "Reconciling";
/// Only a change of the object or its surroundings can help.
pub const STALLED: &str = "Stalled";

/// The reason of work under way.
pub const PROGRESSING: &str = "Progressing";
/// The reason of work that failed and is tried again.
pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
/// The reason of success where the kind has none of its own.
pub const SUCCEEDED: &str = "Succeeded";
/// The reason of failure where the step has none of its own.
pub const FAILED: &str = "Failed";

/// Messages longer than this are cut (RT-CON-004).
const MAX_MESSAGE: usize = 32_768;

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl Status {
    /// The status as the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// Whether a condition is good news when it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// True is good.
    Positive,
    /// True is bad.
    Negative,
}

/// How a kind's conditions sum up to Ready (RT-CON-013, SC-PROC-062..064).
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The conditions that count, the more telling first.
    pub types: &'static [(&'static str, Polarity)],
    /// A condition that beats all others when it is False (SC-PROC-064).
    pub bipolar: Option<&'static str>,
}

/// The draft of an object's conditions during one reconcile.
#[derive(Clone, Debug)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: i64,
    clock: fn() -> Timestamp,
}

impl Conditions {
    /// The conditions as they stand on an object of the given generation.
    pub fn new(list: Vec<Condition>, generation: i64) -> Self {
        Self {
            list,
            generation,
            clock: Timestamp::now,
        }
    }

    /// The condition of type `kind`.
    pub fn get(&self, kind: &str) -> Option<&Condition> {
        self.list.iter().find(|condition| condition.type_ == kind)
    }

    /// Whether the condition exists with that status.
    pub fn is(&self, kind: &str, status: Status) -> bool {
        self.get(kind)
            .is_some_and(|condition| Status::of(condition) == status)
    }

    /// Whether the condition exists and is True.
    pub fn is_true(&self, kind: &str) -> bool {
        self.is(kind, Status::True)
    }

    /// Whether there is no condition at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Sets a condition, stamping it with the object's generation (RT-CON-001). Its transition time moves when status,
    /// reason or message do (RT-CON-003).
    pub fn set(&mut self, kind: &str, status: Status, reason: &str, message: impl Into<String>) {
        let message = cut(message.into());
        let at = self
            .list
            .iter()
            .position(|condition| condition.type_ == kind);
        let same = at.and_then(|at| self.list.get(at)).filter(|old| {
            old.status == status.as_str() && old.reason == reason && old.message == message
        });
        let since = match same {
            Some(old) => old.last_transition_time.clone(),
            None => Time(whole_seconds((self.clock)())),
        };
        let condition = Condition {
            type_: kind.to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: since,
        };
        match at.and_then(|at| self.list.get_mut(at)) {
            Some(old) => *old = condition,
            None => self.list.push(condition),
        }
    }

    /// Takes the condition away.
    pub fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.type_ != kind);
    }

    /// Marks work as under way, which ends a stall (RT-CON-005).
    pub fn mark_reconciling(&mut self, reason: &str, message: impl Into<String>) {
        self.remove(STALLED);
        self.set(RECONCILING, Status::True, reason, message);
    }

    /// Marks the object as stuck, which ends the work (RT-CON-005).
    pub fn mark_stalled(&mut self, reason: &str, message: impl Into<String>) {
        self.remove(RECONCILING);
        self.set(STALLED, Status::True, reason, message);
    }

    /// Whether the object has arrived: Ready, nothing under way, not stuck (RT-CON-007).
    pub fn is_settled(&self) -> bool {
        self.is_true(READY) && !self.is_true(RECONCILING) && !self.is_true(STALLED)
    }

    /// Sets Ready from the other conditions (RT-CON-013). Without any of them Ready stays as it is.
    pub fn summarize(&mut self, summary: &Summary) {
        if let Some(decisive) = summary.bipolar.and_then(|kind| self.get(kind)).cloned()
            && Status::of(&decisive) == Status::False
        {
            self.set(READY, Status::False, &decisive.reason, decisive.message);
            return;
        }
        let rank = |status, polarity| match (status, polarity) {
            (Status::True, Polarity::Negative) => (0, Status::False),
            (Status::False, Polarity::Positive) => (1, Status::False),
            (Status::True, Polarity::Positive) => (2, Status::True),
            (Status::False, Polarity::Negative) => (3, Status::True),
            (Status::Unknown, _) => (4, Status::Unknown),
        };
        let decisive = summary
            .types
            .iter()
            .filter_map(|(kind, polarity)| {
                let condition = self.get(kind)?;
                Some((rank(Status::of(condition), *polarity), condition))
            })
            .min_by_key(|((rank, _), _)| *rank) // the first of equals, which the order of the table makes the one to tell
            .map(|((_, status), condition)| {
                (status, condition.reason.clone(), condition.message.clone())
            });
        if let Some((status, reason, message)) = decisive {
            self.set(READY, status, &reason, message);
        }
    }

    /// The conditions in the order that the API shows them (RT-CON-002), with the transition times of those that are as
    /// the server has them: a condition that went away and came back within one run did not change for anybody.
    pub fn sorted(&self, server: &[Condition]) -> Vec<Condition> {
        let mut list = self.list.clone();
        for condition in &mut list {
            let same = server.iter().find(|old| {
                old.type_ == condition.type_
                    && old.status == condition.status
                    && old.reason == condition.reason
                    && old.message == condition.message
            });
            if let Some(old) = same {
                condition.last_transition_time = old.last_transition_time.clone();
            }
        }
        let place = |condition: &Condition| match condition.type_.as_str() {
            STALLED => 0,
            RECONCILING => 1,
            READY => 2,
            _ => 3,
        };
        list.sort_by(|a, b| {
            place(a).cmp(&place(b)).then_with(|| match place(a) {
                3 => b
                    .observed_generation
                    .cmp(&a.observed_generation)
                    .then_with(|| a.type_.cmp(&b.type_)),
                _ => std::cmp::Ordering::Equal,
            })
        });
        list
    }

    /// Takes over what others have written since this draft was made: every condition that is not `owned` stands as on
    /// the server (RT-CON-017).
    pub fn rebase(&mut self, owned: &[&str], server: &[Condition]) {
        let ours = |condition: &Condition| owned.contains(&condition.type_.as_str());
        self.list.retain(ours);
        self.list
            .extend(server.iter().filter(|condition| !ours(condition)).cloned());
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Cuts a message at the limit of the API, on a character's edge, ending in dots (RT-CON-004).
fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE - 3;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str("...");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Summary = Summary {
        types: &[
            ("StorageOperationFailed", Polarity::Negative),
            ("FetchFailed", Polarity::Negative),
            ("ArtifactOutdated", Polarity::Negative),
            ("ArtifactInStorage", Polarity::Positive),
            ("SourceVerified", Polarity::Positive),
            (STALLED, Polarity::Negative),
            (RECONCILING, Polarity::Negative),
        ],
        bipolar: Some("SourceVerified"),
    };

    fn conditions(set: &[(&str, Status)]) -> Conditions {
        let mut conditions = Conditions::new(Vec::new(), 3);
        for (kind, status) in set {
            conditions.set(
                kind,
                *status,
                &format!("{kind}Reason"),
                format!("{kind} message"),
            );
        }
        conditions
    }

    #[test]
    fn the_summary_follows_polarity_then_order() {
        // RT-CON-013, SC-PROC-062, SC-PROC-063, SC-PROC-064
        use Status::{False, True, Unknown};
        for (set, want) in [
            (
                &[("ArtifactInStorage", True)][..],
                Some((True, "ArtifactInStorageReason")),
            ),
            (
                &[("ArtifactInStorage", True), ("FetchFailed", True)],
                Some((False, "FetchFailedReason")),
            ),
            (
                &[("FetchFailed", True), ("StorageOperationFailed", True)],
                Some((False, "StorageOperationFailedReason")),
            ),
            (
                &[("ArtifactInStorage", True), (RECONCILING, True)],
                Some((False, "ReconcilingReason")),
            ),
            (
                &[("FetchFailed", True), ("SourceVerified", False)],
                Some((False, "SourceVerifiedReason")),
            ),
            (
                &[("ArtifactInStorage", True), ("SourceVerified", True)],
                Some((True, "ArtifactInStorageReason")),
            ),
            (&[("FetchFailed", False)], Some((True, "FetchFailedReason"))),
            (
                &[("ArtifactInStorage", Unknown)],
                Some((Unknown, "ArtifactInStorageReason")),
            ),
            (&[("Foreign", True)], None),
        ] {
            let mut conditions = conditions(set);
            conditions.summarize(&SOURCE);
            let ready = conditions
                .get(READY)
                .map(|ready| (Status::of(ready), ready.reason.clone()));
            assert_eq!(
                ready,
                want.map(|(status, reason)| (status, reason.to_owned())),
                "{set:?}"
            );
        }
    }

    #[test]
    fn transition_time_moves_with_status_reason_or_message() {
        // RT-CON-003, SC-PROC-065, KC-API-035
        let mut conditions = Conditions::new(Vec::new(), 1);
        conditions.clock = || Timestamp::from_millisecond(1_999).unwrap();
        conditions.set(READY, Status::True, "A", "m");
        let since = |conditions: &Conditions| {
            conditions
                .get(READY)
                .unwrap()
                .last_transition_time
                .0
                .as_millisecond()
        };
        assert_eq!(since(&conditions), 1_000, "whole seconds");
        conditions.clock = || Timestamp::from_second(5).unwrap();
        conditions.generation = 2;
        conditions.set(READY, Status::True, "A", "m");
        assert_eq!(since(&conditions), 1_000);
        assert_eq!(conditions.get(READY).unwrap().observed_generation, Some(2));
        conditions.set(READY, Status::True, "A", "other");
        assert_eq!(since(&conditions), 5_000);
    }

    #[test]
    fn conditions_sort_as_the_api_shows_them() {
        // RT-CON-002, SC-PROC-066, KC-API-034
        let mut conditions = conditions(&[
            ("B", Status::True),
            ("A", Status::True),
            (READY, Status::True),
            (RECONCILING, Status::True),
        ]);
        conditions.generation = 4;
        conditions.set("C", Status::True, "R", "");
        let order: Vec<_> = conditions
            .sorted(&[])
            .into_iter()
            .map(|condition| condition.type_)
            .collect();
        assert_eq!(order, [RECONCILING, READY, "C", "A", "B"]);
    }

    #[test]
    fn reconciling_and_stalled_exclude_each_other() {
        // RT-CON-005, RT-CON-010
        let mut conditions = conditions(&[]);
        conditions.mark_reconciling(PROGRESSING, "x");
        conditions.mark_stalled("URLInvalid", "x");
        assert!(conditions.is_true(STALLED) && conditions.get(RECONCILING).is_none());
        conditions.mark_reconciling(PROGRESSING, "x");
        assert!(conditions.is_true(RECONCILING) && conditions.get(STALLED).is_none());
    }

    #[test]
    fn long_messages_are_cut() {
        // RT-CON-004, SC-PROC-067, KC-API-036
        let mut conditions = conditions(&[]);
        conditions.set(READY, Status::False, "R", "ä".repeat(20_000));
        let message = &conditions.get(READY).unwrap().message;
        assert!(
            message.len() <= MAX_MESSAGE
                && message.len() > MAX_MESSAGE - 4
                && message.ends_with("...")
        );
    }

    #[test]
    fn foreign_conditions_survive() {
        // RT-CON-017, SC-PROC-076
        let mut draft = conditions(&[(READY, Status::True), ("Theirs", Status::False)]);
        let server = conditions(&[
            (READY, Status::False),
            ("Theirs", Status::True),
            ("New", Status::True),
        ]);
        draft.rebase(&[READY], &server.list);
        assert!(draft.is_true(READY) && draft.is_true("Theirs") && draft.is_true("New"));
    }
}
