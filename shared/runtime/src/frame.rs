//! The part of a reconcile that is the same for all kinds, around the reconciler's own work.

mod conclude;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use flux_api::meta::GoDuration;
use futures::FutureExt;
use kube::{Resource, ResourceExt};

use self::conclude::{conclude, tell};
use crate::action::Action;
use crate::conditions::{FAILED, PROGRESSING, PROGRESSING_WITH_RETRY, READY, STALLED, Status};
use crate::controller::{Controller, Reconciler};
use crate::events::Severity;
use crate::metrics::ReconcileResult;
use crate::outcome::{self, Failure, Next, Pace};
use crate::policy::{
    AtOnce, Durations, FirstPass, Settings, Start, SuspendedStatus, Suspension, SuspensionNotice,
};
use crate::run::{Kind, REQUESTED_AT, Run, StatusError};
use crate::{finalizer, panics};

/// When the queue hands the object out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    At(Duration),
    BackOff,
    Never,
}

/// How one reconcile ended, for the queue, the log and the metrics.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    again: Again,
    /// What the log and the error metrics report; a reconcile may fail without it (RT-QUE-006).
    error: Option<String>,
    terminal: bool,
}

impl Ending {
    fn without_error(again: Again) -> Self {
        Self {
            again,
            error: None,
            terminal: false,
        }
    }

    fn failed(error: impl Into<String>) -> Self {
        Self {
            again: Again::BackOff,
            error: Some(error.into()),
            terminal: false,
        }
    }
}

pub(crate) async fn reconcile<R: Reconciler>(
    controller: &Controller<R>,
    mut run: Run<R::Kind>,
) -> Again {
    let started = std::time::Instant::now();
    let ending = AssertUnwindSafe(one_run(controller, &mut run))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            controller.metrics.panics.inc();
            let text = panics::text(&*panic);
            Ending::failed(format!("panic: {text} [recovered]")) // RT-LED-012
        });
    let metrics = &controller.metrics;
    metrics.time.observe(started.elapsed().as_secs_f64());
    if run.settings().durations == Durations::Observed && !is_gone(&run, &ending) {
        let kind = R::Kind::kind(&());
        controller.environment.metrics.reconciled(
            &kind,
            run.name(),
            run.namespace(),
            started.elapsed().as_secs_f64(),
        );
    }
    if let Some(error) = &ending.error {
        metrics.errors.inc();
        if ending.terminal {
            metrics.terminal_errors.inc();
        }
        tracing::error!(error, "Reconciler error");
    }
    metrics.ended(match (&ending.error, ending.again) {
        (Some(_), _) => ReconcileResult::Error,
        (None, Again::BackOff) => ReconcileResult::Requeue,
        (None, Again::At(_)) => ReconcileResult::RequeueAfter,
        (None, Again::Never) => ReconcileResult::Success,
    });
    ending.again
}

/// Whether this was the object's last run: an observation would recreate its series, which would then outlive it
/// (SC-PROC-090).
fn is_gone<K: Kind>(run: &Run<K>, ending: &Ending) -> bool {
    let deleted = run.object.meta().deletion_timestamp.is_some();
    deleted && ending.error.is_none() && ending.again == Again::Never
}

async fn one_run<R: Reconciler>(controller: &Controller<R>, run: &mut Run<R::Kind>) -> Ending {
    let deleted = run.object.meta().deletion_timestamp.is_some();
    let finalized = finalizer::is_set(&*run.object, run.settings().finalizer);

    if controller.reconciler.is_static(&run.object) {
        return retire(controller, run).await;
    }
    if deleted {
        return if finalized {
            finalize(controller, run).await
        } else {
            Ending::without_error(Again::Never)
        };
    }
    if !finalized {
        // The next run does the work, so that nothing is created before the finalizer protects it (SC-PROC-056).
        return match run.set_finalizer(true).await {
            Ok(()) => first_pass(controller, run).await,
            Err(error) => Ending::failed(outcome::chain(&error)),
        };
    }
    if controller.reconciler.suspended(&run.object) {
        return suspended(run).await;
    }

    if run.settings().start == Start::ByFrame
        && let Err(error) = begin(run).await
    {
        return Ending::failed(outcome::chain(&error));
    }
    let result = match run.settings().timeout {
        None => controller.reconciler.reconcile(run).await,
        Some(limit) => {
            if let Ok(result) =
                tokio::time::timeout(limit, controller.reconciler.reconcile(run)).await
            {
                result
            } else {
                controller.metrics.timeouts.inc();
                let error = format!(
                    "reconciliation took longer than {}",
                    GoDuration::from(limit)
                );
                Err(Failure::retry(FAILED, error, Pace::BackOff))
            }
        }
    };
    if run.timed_out {
        controller.metrics.timeouts.inc();
    }
    let ending = conclude(run, result, controller.environment.jitter);
    close(run, ending).await
}

/// Ends the run that added the finalizer.
async fn first_pass<R: Reconciler>(controller: &Controller<R>, run: &mut Run<R::Kind>) -> Ending {
    let ending = Ending::without_error(at_once(run.settings()));
    let FirstPass::Reported { message, suspended } = run.settings().first_pass else {
        return ending;
    };
    if controller.reconciler.suspended(&run.object) {
        let (reason, message) = suspended;
        run.conditions.write(READY, Status::True, reason, message);
    } else {
        run.set_ready_unknown(message);
        run.conditions.mark_reconciling(PROGRESSING, message);
    }
    close(run, ending).await
}

/// Marks the object as reconciling, and reports that if there is new work (SC-PROC-059, SC-PROC-060).
async fn begin<K: Kind>(run: &mut Run<K>) -> Result<(), StatusError> {
    let message = if run.observed_generation() == run.generation() {
        "reconciliation in progress".to_owned()
    } else {
        format!(
            "processing object: new generation {} -> {}",
            run.observed_generation(),
            run.generation()
        )
    };
    run.conditions.mark_reconciling(PROGRESSING, &message);
    if run.conditions.get(READY).is_none() || run.conditions.is(READY, Status::Unknown) {
        run.set_ready_unknown(&message);
    }
    if run.is_eager() {
        run.report().await
    } else {
        Ok(())
    }
}

async fn suspended<K: Kind>(run: &mut Run<K>) -> Ending {
    let Suspension {
        message,
        status,
        notice,
    } = run.settings().suspension;
    match notice {
        SuspensionNotice::Logged => tracing::info!("{message}"),
        SuspensionNotice::Traced { error, reason } => {
            tracing::error!(error, "{message}");
            run.trace(reason, message);
        }
    }
    let is_observed = match status {
        SuspendedStatus::Untouched => return Ending::without_error(Again::Never),
        SuspendedStatus::RequestOnly => false,
        SuspendedStatus::Observed => true,
        SuspendedStatus::ObservedIfReady => run.conditions.is_settled(),
        SuspendedStatus::ObservedIfKnown => {
            run.conditions.clear(STALLED);
            !run.conditions.is_empty()
        }
    };
    if is_observed {
        run.observed_generation = Some(run.generation());
    }
    close(run, Ending::without_error(Again::Never)).await
}

/// When another run follows immediately, by the kind's policy.
fn at_once(settings: &Settings) -> Again {
    match settings.at_once {
        AtOnce::Now => Again::At(Duration::ZERO),
        AtOnce::Limited => Again::BackOff,
    }
}

/// Whether a static object still has the finalizer or a status (SC-HREPO-011, SC-HREPO-012).
pub(crate) fn has_leftovers<K: Kind>(object: &K, finalizer: &str) -> bool {
    let empty = K::Status::default();
    finalizer::is_set(object, finalizer) || object.status().is_some_and(|status| *status != empty)
}

/// Cleans up what earlier runs left of an object that has become static; not while it is suspended, unless it is being
/// deleted (SC-HREPO-011).
async fn retire<R: Reconciler>(controller: &Controller<R>, run: &mut Run<R::Kind>) -> Ending {
    let deleted = run.object.meta().deletion_timestamp.is_some();
    if !has_leftovers(&*run.object, run.settings().finalizer)
        || (!deleted && controller.reconciler.suspended(&run.object))
    {
        return Ending::without_error(Again::Never);
    }
    let ending = finalize(controller, run).await;
    if deleted || ending != Ending::without_error(Again::Never) {
        return ending;
    }
    run.reset();
    match run.patch().await {
        Ok(()) => ending,
        Err(error) => Ending::failed(outcome::chain(&error)),
    }
}

async fn finalize<R: Reconciler>(controller: &Controller<R>, run: &mut Run<R::Kind>) -> Ending {
    run.step(Action::Finalize);
    if let Err(failure) = controller.reconciler.finalize(run).await {
        tell(run, &failure);
        let error = failure.cause.to_string();
        let again = match failure.next {
            Next::Waiting(delay) | Next::Retry(Pace::Exactly(delay)) | Next::Ignored(delay) => {
                Again::At(delay)
            }
            Next::Retry(Pace::BackOff) | Next::Stalled { .. } | Next::Superseded => Again::BackOff,
        };
        let draft = run.patch().await;
        if let Err(status) = draft {
            tracing::error!(error = outcome::chain(&status), "unable to update status");
        }
        let calm = matches!(failure.next, Next::Waiting(_));
        return Ending {
            again,
            error: (!calm).then_some(error),
            terminal: false,
        };
    }
    if !finalizer::is_set(&*run.object, run.settings().finalizer) {
        return Ending::without_error(Again::Never);
    }
    match run.set_finalizer(false).await {
        Ok(()) => {
            controller
                .environment
                .metrics
                .forget(&R::Kind::kind(&()), run.name(), run.namespace());
            // Another finalizer holds the object: its last status can be read.
            let own = run.settings().finalizer;
            let mut finalizers = run.object.finalizers().iter();
            if finalizers.any(|finalizer| finalizer != own)
                && let Err(error) = run.patch().await
            {
                return Ending::failed(outcome::chain(&error));
            }
            Ending::without_error(Again::Never)
        }
        Err(error) => Ending::failed(outcome::chain(&error)),
    }
}

/// The one patch that ends every run: it marks the request as handled (RT-ANN-001) and writes the draft.
async fn close<K: Kind>(run: &mut Run<K>, ending: Ending) -> Ending {
    if let Some(requested) = run.object.annotations().get(REQUESTED_AT) {
        run.handled = Some(requested.clone());
    }
    match run.patch().await {
        Ok(()) => ending,
        Err(error) => {
            if matches!(error, StatusError::TooLarge { .. }) {
                report_too_large(run, &error).await;
            }
            let error = outcome::chain(&error);
            let said = ending
                .error
                .map_or(error.clone(), |said| format!("{said}: {error}"));
            Ending {
                again: Again::BackOff,
                error: Some(said),
                terminal: false,
            }
        }
    }
}

/// Drops a draft that is too large, and reports `TooLarge` on the last stored status: otherwise only the log would show
/// it (KC-PRUNE-023).
async fn report_too_large<K: Kind>(run: &mut Run<K>, error: &StatusError) {
    let message = outcome::chain(error);
    run.withdraw();
    run.conditions
        .mark_reconciling(PROGRESSING_WITH_RETRY, &message);
    run.conditions.write(READY, Status::False, FAILED, &message);
    let none = std::collections::BTreeMap::new();
    run.record(Severity::Error, FAILED, message, &none);
    if let Err(error) = run.patch().await {
        tracing::error!(error = outcome::chain(&error), "unable to update status");
    }
}

#[cfg(test)]
mod tests;
