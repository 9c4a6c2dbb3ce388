//! The conditions of an object: how they change, are sorted and summarized (RT-CON rows).

pub use flux_api::meta::{Condition, ConditionStatus as Status};
use flux_api::meta::{FluxStatus, Time};
use jiff::Timestamp;

use crate::reason::Reason;

/// Whether the object is in the state that its spec describes.
pub const READY: &str = "Ready";
/// Work towards that state is under way.
pub const RECONCILING: &str = "Reconciling";
/// Only a change of the object or of something that it depends on can help.
pub const STALLED: &str = "Stalled";

/// The conditions that the frame sets for every kind; reconcilers cannot set them.
pub(crate) const FRAME: [&str; 3] = [READY, RECONCILING, STALLED];

/// The reason of work under way.
pub const PROGRESSING: &str = "Progressing";
/// The reason of work that failed and is retried.
pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
/// The reason of success if the kind defines no other.
pub const SUCCEEDED: &str = "Succeeded";
/// The reason of failure if the step defines no other.
pub const FAILED: &str = "Failed";

/// Messages longer than this are cut (RT-CON-004).
const MAX_MESSAGE: usize = 32_768;

/// The type of a condition that is a kind's own: any but Ready, Reconciling and Stalled, which only the frame sets.
///
/// Declare it as a constant; the name of one of the frame's conditions does not compile there:
///
/// ```
/// # use flux_runtime::conditions::ConditionType;
/// const FETCH_FAILED: ConditionType = ConditionType::new("FetchFailed");
/// assert_eq!(FETCH_FAILED.as_str(), "FetchFailed");
/// ```
///
/// ```compile_fail
/// # use flux_runtime::conditions::ConditionType;
/// const READY: ConditionType = ConditionType::new("Ready");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConditionType(&'static str);

impl ConditionType {
    /// The type with this name.
    ///
    /// # Panics
    ///
    /// If the name is that of a condition of the frame; in a constant this is a compile error.
    pub const fn new(name: &'static str) -> Self {
        assert!(
            !matches!(name.as_bytes(), b"Ready" | b"Reconciling" | b"Stalled"),
            "only the frame sets this condition"
        );
        Self(name)
    }

    /// The name, as the API has it.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl AsRef<str> for ConditionType {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// Whether a condition that is True is good or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// True is good.
    Positive,
    /// True is bad.
    Negative,
}

/// How a kind's conditions are summarized into Ready (RT-CON-013, SC-PROC-062..064). Stalled and Reconciling take part
/// too, with negative polarity and after the kind's own.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// The kind's own conditions that take part, in order of precedence.
    pub types: &'static [(ConditionType, Polarity)],
    /// A condition that takes precedence over all others when it is False (SC-PROC-064).
    pub bipolar: Option<ConditionType>,
}

/// The draft of an object's conditions during one reconcile. A reconciler reads all of them and changes its kind's own.
#[derive(Clone, Debug)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: i64,
    clock: fn() -> Timestamp,
}

impl Conditions {
    /// No conditions, for an object of the given generation; for tests of code that sets conditions.
    pub fn empty(generation: i64) -> Self {
        Self::new(Vec::new(), generation)
    }

    /// The conditions of an object of the given generation.
    pub(crate) fn new(list: Vec<Condition>, generation: i64) -> Self {
        Self {
            list,
            generation,
            clock: Timestamp::now,
        }
    }

    /// The condition of type `kind`.
    pub fn get(&self, kind: impl AsRef<str>) -> Option<&Condition> {
        let kind = kind.as_ref();
        self.list.iter().find(|condition| condition.type_ == kind)
    }

    /// Whether the condition exists with that status.
    pub fn is(&self, kind: impl AsRef<str>, status: Status) -> bool {
        self.get(kind)
            .is_some_and(|condition| condition.status == status)
    }

    /// Whether the condition exists and is True.
    pub fn is_true(&self, kind: impl AsRef<str>) -> bool {
        self.is(kind, Status::True)
    }

    /// Whether there is no condition at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Sets a condition of the kind, with the object's generation (RT-CON-001). Its transition time changes when
    /// status, reason or message do (RT-CON-003).
    pub fn set(
        &mut self,
        kind: ConditionType,
        status: Status,
        reason: impl Reason,
        message: impl Into<String>,
    ) {
        self.write(kind.0, status, reason.as_str(), message);
    }

    /// Turns one condition of the kind into another, which keeps its transition time (HC-ACT-048).
    pub fn replace(
        &mut self,
        from: ConditionType,
        to: ConditionType,
        status: Status,
        reason: impl Reason,
        message: impl Into<String>,
    ) {
        let Some(since) = self.get(from).map(|old| old.last_transition_time) else {
            return;
        };
        self.clear(from.0);
        self.clear(to.0);
        self.set(to, status, reason, message);
        for condition in &mut self.list {
            if condition.type_ == to.0 {
                condition.last_transition_time = since;
            }
        }
    }

    /// Removes a condition of the kind.
    pub fn remove(&mut self, kind: ConditionType) {
        self.clear(kind.0);
    }

    /// As [`Conditions::set`], for any condition.
    pub(crate) fn write(
        &mut self,
        kind: &str,
        status: Status,
        reason: &str,
        message: impl Into<String>,
    ) {
        let message = cut(message.into());
        let at = self
            .list
            .iter()
            .position(|condition| condition.type_ == kind);
        let same = at
            .and_then(|at| self.list.get(at))
            .filter(|old| old.status == status && old.reason == reason && old.message == message);
        let since = match same {
            Some(old) => old.last_transition_time,
            None => Time(whole_seconds((self.clock)())),
        };
        let condition = Condition {
            type_: kind.to_owned(),
            status,
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

    /// As [`Conditions::remove`], for any condition.
    pub(crate) fn clear(&mut self, kind: &str) {
        self.list.retain(|condition| condition.type_ != kind);
    }

    /// Marks work as in progress, which ends a stall (RT-CON-005).
    pub(crate) fn mark_reconciling(&mut self, reason: &str, message: impl Into<String>) {
        self.clear(STALLED);
        self.write(RECONCILING, Status::True, reason, message);
    }

    /// Marks the object as stalled, which ends the work (RT-CON-005).
    pub(crate) fn mark_stalled(&mut self, reason: &str, message: impl Into<String>) {
        self.clear(RECONCILING);
        self.write(STALLED, Status::True, reason, message);
    }

    /// Whether the object is Ready, neither Reconciling nor Stalled (RT-CON-007).
    pub fn is_settled(&self) -> bool {
        self.is_true(READY) && !self.is_true(RECONCILING) && !self.is_true(STALLED)
    }

    /// Sets Ready from the other conditions (RT-CON-013). Without any of them Ready stays unchanged.
    pub(crate) fn summarize(&mut self, summary: &Summary) {
        if let Some(decisive) = summary.bipolar.and_then(|kind| self.get(kind)).cloned()
            && decisive.status == Status::False
        {
            self.write(READY, Status::False, &decisive.reason, decisive.message);
            return;
        }
        let rank = |status, polarity| match (status, polarity) {
            (Status::True, Polarity::Negative) => (0, Status::False),
            (Status::False, Polarity::Positive) => (1, Status::False),
            (Status::True, Polarity::Positive) => (2, Status::True),
            (Status::False, Polarity::Negative) => (3, Status::True),
            (Status::Unknown, _) => (4, Status::Unknown),
        };
        let own = summary
            .types
            .iter()
            .map(|(kind, polarity)| (kind.0, *polarity));
        let decisive = own
            .chain([STALLED, RECONCILING].map(|kind| (kind, Polarity::Negative)))
            .filter_map(|(kind, polarity)| {
                let condition = self.get(kind)?;
                Some((rank(condition.status, polarity), condition))
            })
            .min_by_key(|((rank, _), _)| *rank) // the first of equals: the earliest in the kind's table
            .map(|((_, status), condition)| {
                (status, condition.reason.clone(), condition.message.clone())
            });
        if let Some((status, reason, message)) = decisive {
            self.write(READY, status, &reason, message);
        }
    }

    /// The conditions in the order in which the API shows them (RT-CON-002). A condition that differs from the server's
    /// only in its transition time keeps the server's: removing and setting it again within one run is no change.
    pub(crate) fn sorted(&self, server: &[Condition]) -> Vec<Condition> {
        let mut list = self.list.clone();
        for condition in &mut list {
            let same = server.iter().find(|old| {
                old.type_ == condition.type_
                    && old.status == condition.status
                    && old.reason == condition.reason
                    && old.message == condition.message
            });
            if let Some(old) = same {
                condition.last_transition_time = old.last_transition_time;
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

    /// Merges what other clients have written since this draft was made: every condition that is neither the frame's
    /// nor in `owned` is taken from the server (RT-CON-017).
    pub(crate) fn rebase(&mut self, owned: &[ConditionType], server: &[Condition]) {
        let ours = |condition: &Condition| {
            let kind = condition.type_.as_str();
            FRAME.contains(&kind) || owned.iter().any(|own| own.0 == kind)
        };
        self.list.retain(ours);
        self.list
            .extend(server.iter().filter(|condition| !ours(condition)).cloned());
    }
}

/// The conditions of a status; empty without a status.
pub(crate) fn listed<S: FluxStatus>(status: Option<&S>) -> &[Condition] {
    status.map_or(&[], FluxStatus::conditions)
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Truncates a message to the limit of the API, at a character boundary and with dots at the end (RT-CON-004).
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
            (
                ConditionType::new("StorageOperationFailed"),
                Polarity::Negative,
            ),
            (ConditionType::new("FetchFailed"), Polarity::Negative),
            (ConditionType::new("ArtifactOutdated"), Polarity::Negative),
            (ConditionType::new("ArtifactInStorage"), Polarity::Positive),
            (ConditionType::new("SourceVerified"), Polarity::Positive),
        ],
        bipolar: Some(ConditionType::new("SourceVerified")),
    };

    fn conditions(set: &[(&str, Status)]) -> Conditions {
        let mut conditions = Conditions::new(Vec::new(), 3);
        for (kind, status) in set {
            conditions.write(
                kind,
                *status,
                &format!("{kind}Reason"),
                format!("{kind} message"),
            );
        }
        conditions
    }

    #[test]
    fn the_summary_is_ordered_by_polarity_then_declaration() {
        // RT-CON-013, SC-PROC-062
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
            // SC-PROC-063
            (
                &[("FetchFailed", True), ("StorageOperationFailed", True)],
                Some((False, "StorageOperationFailedReason")),
            ),
            (
                &[("ArtifactInStorage", True), (RECONCILING, True)],
                Some((False, "ReconcilingReason")),
            ),
            // SC-PROC-064
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
                .map(|ready| (ready.status, ready.reason.clone()));
            assert_eq!(
                ready,
                want.map(|(status, reason)| (status, reason.to_owned())),
                "{set:?}"
            );
        }
    }

    #[test]
    fn transition_time_changes_with_status_reason_or_message() {
        // RT-CON-003, SC-PROC-065, KC-API-035
        let mut conditions = Conditions::new(Vec::new(), 1);
        conditions.clock = || Timestamp::from_millisecond(1_999).unwrap();
        conditions.write(READY, Status::True, "A", "m");
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
        conditions.write(READY, Status::True, "A", "m");
        assert_eq!(since(&conditions), 1_000);
        assert_eq!(conditions.get(READY).unwrap().observed_generation, Some(2));
        conditions.write(READY, Status::True, "A", "other");
        // HC-EVT-021
        assert_eq!(since(&conditions), 5_000);
    }

    #[test]
    fn conditions_are_sorted_for_the_api() {
        // RT-CON-002, SC-PROC-066, KC-API-034
        let mut conditions = conditions(&[
            ("B", Status::True),
            ("A", Status::True),
            (READY, Status::True),
            (RECONCILING, Status::True),
        ]);
        conditions.generation = 4;
        conditions.write("C", Status::True, "R", "");
        let order: Vec<_> = conditions
            .sorted(&[])
            .into_iter()
            .map(|condition| condition.type_)
            .collect();
        // HC-EVT-020
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
        conditions.write(READY, Status::False, "R", "ä".repeat(20_000));
        let message = &conditions.get(READY).unwrap().message;
        // HC-EVT-019
        assert!(
            message.len() <= MAX_MESSAGE
                && message.len() > MAX_MESSAGE - 4
                && message.ends_with("...")
        );
    }

    #[test]
    fn foreign_conditions_are_kept() {
        // RT-CON-017, SC-PROC-076
        let mut draft = conditions(&[
            (READY, Status::True),
            ("Ours", Status::True),
            ("Theirs", Status::False),
        ]);
        let server = conditions(&[
            (READY, Status::False),
            ("Ours", Status::False),
            ("Theirs", Status::True),
            ("New", Status::True),
        ]);
        draft.rebase(&[ConditionType::new("Ours")], &server.list);
        assert!(draft.is_true(READY) && draft.is_true("Theirs") && draft.is_true("New"));
        assert!(
            draft.is_true("Ours"),
            "an owned condition stays as this process has it"
        );
    }

    // HC-ACT-048
    #[test]
    fn a_replaced_condition_keeps_its_time() {
        const FROM: ConditionType = ConditionType::new("Remediated");
        const TO: ConditionType = ConditionType::new("Released");
        let since = |conditions: &Conditions, kind: ConditionType| {
            conditions.get(kind).map(|found| found.last_transition_time)
        };
        let mut conditions = Conditions::empty(2);
        conditions.replace(FROM, TO, Status::True, "R", "m");
        assert!(conditions.is_empty());
        conditions.clock = || Timestamp::from_second(60).unwrap();
        conditions.set(FROM, Status::True, "RollbackSucceeded", "back");
        conditions.clock = || Timestamp::from_second(120).unwrap();
        conditions.set(TO, Status::False, "UpgradeFailed", "no");
        conditions.replace(FROM, TO, Status::True, "UpgradeSucceeded", "yes");
        assert!(conditions.get(FROM).is_none() && conditions.is_true(TO));
        let minute = Time(Timestamp::from_second(60).unwrap());
        assert_eq!(since(&conditions, TO), Some(minute));
    }
}
