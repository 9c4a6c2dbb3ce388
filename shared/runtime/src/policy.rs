//! How the frame treats a kind: the policies in which Flux's kinds differ.

use std::time::Duration;

use crate::conditions::{Condition, ConditionType, Conditions, Status, Summary};

/// The finalizer of the Flux kinds, ArtifactGenerator excepted (SW-GEN-025).
pub const FINALIZER: &str = "finalizers.fluxcd.io";

/// How the frame treats a kind. Begin with [`Settings::new`] and name the policies that differ:
///
/// ```
/// use flux_runtime::Settings;
/// use flux_runtime::conditions::ConditionType;
/// use flux_runtime::policy::Start;
///
/// const HEALTHY: ConditionType = ConditionType::new("Healthy");
/// const SETTINGS: Settings = Settings {
///     conditions: &[HEALTHY],
///     start: Start::ByReconciler,
///     ..Settings::new("kustomization")
/// };
/// # let _ = SETTINGS;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The name of queue and controller: the kind in lower case (RT-QUE-002).
    pub name: &'static str,
    /// The finalizer.
    pub finalizer: &'static str,
    /// The conditions that the kind owns besides the frame's Ready, Reconciling and Stalled (RT-CON-017).
    pub conditions: &'static [ConditionType],
    /// Where Ready comes from.
    pub ready: Ready,
    /// What is written with the finalizer.
    pub first_pass: FirstPass,
    /// Who marks the start of a run.
    pub start: Start,
    /// How soon a run follows immediately on another.
    pub at_once: AtOnce,
    /// How a suspended object is handled.
    pub suspension: Suspension,
    /// Who emits the events of the usual ends.
    pub events: Events,
    /// How metrics and log report a stalled object.
    pub stalls: Stalls,
    /// How the log reports ends that are not errors of the frame.
    pub wording: Wording,
    /// Whether `gotk_reconcile_duration_seconds` is observed.
    pub durations: Durations,
    /// The longest a reconcile may take (RT-QUE-009).
    pub timeout: Option<Duration>,
}

impl Settings {
    /// The policies of most kinds; Ready comes from the [`Outcome`](crate::Outcome).
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            finalizer: FINALIZER,
            conditions: &[],
            ready: Ready::Outcome,
            first_pass: FirstPass::Silent,
            start: Start::ByFrame,
            at_once: AtOnce::Now,
            suspension: Suspension {
                message: "reconciliation is suspended for this object",
                status: SuspendedStatus::ObservedIfKnown,
                notice: SuspensionNotice::Logged,
            },
            events: Events::ByRun,
            stalls: Stalls::Settle,
            wording: Wording::Message,
            durations: Durations::Observed,
            timeout: None,
        }
    }
}

/// Where the condition Ready comes from at the end of a run.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// From the outcome, or from the failure.
    Outcome,
    /// From the kind's conditions, by polarity and order (RT-CON-013).
    Summary(Summary),
    /// From the condition that a rule of the kind selects. A failure that marks no condition of the kind sets Ready itself.
    Rule(ReadyRule),
    /// From what the reconciler does during the run: [`Run::set_ready_from`](crate::Run::set_ready_from) and
    /// [`Run::set_ready_unknown`](crate::Run::set_ready_unknown). An outcome leaves it as it is, whatever it is, and so does Reconciling a failure
    /// that is retried (HC-DEP-008). The generation is observed by every run that ends without an error and without another
    /// run at once (HC-ACT-012).
    ByRun,
}

/// The status of Ready, and the condition whose reason and message it takes; `None` leaves Ready unchanged.
pub type ReadyRule = for<'a> fn(&'a Conditions) -> Option<(Status, &'a Condition)>;

/// What the first pass, which adds the finalizer, writes to the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPass {
    /// Nothing: the run that follows reports.
    Silent,
    /// That the object is reconciling, or that it was created suspended.
    Reported {
        /// The message of Ready=Unknown and Reconciling (SW-GEN-034).
        message: &'static str,
        /// Reason and message of Ready=True of an object that was created suspended (SW-GEN-035).
        suspended: (&'static str, &'static str),
    },
}

/// Who marks an object as reconciling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The frame before the reconciler runs: Reconciling, and Ready=Unknown where Ready was missing or Unknown
    /// (SC-PROC-059, SC-PROC-060, IR-REPO-048).
    ByFrame,
    /// The reconciler, by [`Run::progress`](crate::Run::progress), when its checks are done (KC-PROC-066, HC-ACT-008). Ready
    /// stays unchanged until then, and after unless [`Run::set_ready_unknown`](crate::Run::set_ready_unknown) is called.
    ByReconciler,
}

/// How soon a run follows immediately on another: after the finalizer was added, and after a run that a newer trigger
/// superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// Without delay.
    Now,
    /// After the queue's back-off, which such runs increase (HC-ACT-022, NC-RECV-023).
    Limited,
}

/// How a suspended object is handled.
#[derive(Clone, Copy, Debug)]
pub struct Suspension {
    /// The log line; upstream's controllers do not agree on its first letter (KC-PROC-062, HC-ACT-005, IR-REPO-045).
    pub message: &'static str,
    /// What is written to its status.
    pub status: SuspendedStatus,
    /// How the suspension is reported.
    pub notice: SuspensionNotice,
}

/// How the suspension of an object is reported at each of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspensionNotice {
    /// By an info line in the log.
    Logged,
    /// By an error line in the log, and by a Normal event in Kubernetes, both with the message of the suspension
    /// (SW-GEN-036).
    Traced {
        /// The error of the log line.
        error: &'static str,
        /// The reason of the event.
        reason: &'static str,
    },
}

/// What is written to a suspended object's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspendedStatus {
    /// The request as handled; Stalled is removed, and the generation is observed if there is a condition
    /// (SC-PROC-057).
    ObservedIfKnown,
    /// The request as handled; the generation is observed if the object is Ready (KC-PROC-062).
    ObservedIfReady,
    /// The request as handled, the generation as observed (HC-ACT-005).
    Observed,
    /// The request as handled (IR-REPO-045).
    RequestOnly,
    /// Nothing (IA-STATUS-005).
    Untouched,
}

/// Who emits the events of the usual ends of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// The reconciler emits those of success, and the frame that of a failure, by its [`Notice`](crate::Notice).
    ByRun,
    /// The frame, from how Ready changed (IR-REPO-100 to IR-REPO-103, IA-STATUS-030 to IA-STATUS-033); the notice of a failure
    /// has no effect.
    Transition,
}

/// What a stalled object counts as (RT-QUE-006).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalls {
    /// A success without requeue.
    Settle,
    /// A terminal error.
    Fail,
}

/// How the log reports a wait and a stall (SC-PROC-071).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// `reconciliation waiting` with `reason` and `duration`, `reconciliation stalled`.
    Named,
    /// The failure's message.
    Message,
}

/// Whether `gotk_reconcile_duration_seconds` is observed (RT-MET-004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durations {
    /// Yes.
    Observed,
    /// No: Alert, Provider, ArtifactGenerator.
    Unobserved,
}
