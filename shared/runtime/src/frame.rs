//! What every reconcile does alike, around the reconciler's own work.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use flux_api::meta::GoDuration;
use futures::FutureExt;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::conditions::{
    FAILED, PROGRESSING, PROGRESSING_WITH_RETRY, READY, RECONCILING, STALLED, Status,
};
use crate::controller::{Controller, Reconciler, Settings};
use crate::events::Severity;
use crate::metrics::ReconcileResult;
use crate::outcome::{self, Failure, Next, Notice, Outcome, Pace};
use crate::panics;
use crate::run::{Kind, REQUESTED_AT, Run, StatusError};

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
    /// What the log and the error metrics tell of; a reconcile may fail without it (RT-QUE-006).
    error: Option<String>,
    terminal: bool,
}

impl Ending {
    fn calm(again: Again) -> Self {
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
    mut run: Result<Run<R::Kind>, StatusError>,
) -> Again {
    let started = std::time::Instant::now();
    let ending = match &mut run {
        Err(error) => Ending::failed(outcome::chain(error)),
        Ok(run) => AssertUnwindSafe(one_run(controller, run))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| {
                controller.metrics.panics.inc();
                let text = panics::text(&*panic);
                Ending::failed(format!("panic: {text} [recovered]")) // RT-LED-012
            }),
    };
    let metrics = &controller.metrics;
    metrics.time.observe(started.elapsed().as_secs_f64());
    if let Ok(run) = &run
        && run.settings().measured
        && !is_gone(run, &ending)
    {
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

/// Whether this was the object's last run: measured again, its series would outlive it (SC-PROC-090).
fn is_gone<K: Kind>(run: &Run<K>, ending: &Ending) -> bool {
    let deleted = run.object.meta().deletion_timestamp.is_some();
    deleted && ending.error.is_none() && ending.again == Again::Never
}

async fn one_run<R: Reconciler>(controller: &Controller<R>, run: &mut Run<R::Kind>) -> Ending {
    let finalizer = run.settings().finalizer;
    let deleted = run.object.meta().deletion_timestamp.is_some();
    let finalized = run.object.finalizers().iter().any(|name| name == finalizer);

    if deleted {
        return if finalized {
            finalize(controller, run).await
        } else {
            Ending::calm(Again::Never)
        };
    }
    if !finalized {
        // The rest is done by the next run, so that nothing exists that the finalizer does not guard (SC-PROC-056).
        return match run.set_finalizer(true).await {
            Ok(()) => Ending::calm(Again::At(Duration::ZERO)),
            Err(error) => Ending::failed(outcome::chain(&error)),
        };
    }
    if controller.reconciler.suspended(&run.object) {
        tracing::info!("{}", run.settings().suspended);
        return suspended(run).await;
    }

    if run.settings().begins_at_once
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
    let ending = conclude(run, result, controller.environment.jitter);
    close(run, ending).await
}

/// Marks the object as being worked on, and tells so at once where the work is new (SC-PROC-059, SC-PROC-060).
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
        run.unready(&message);
    }
    if run.is_eager() {
        run.patch().await
    } else {
        Ok(())
    }
}

async fn suspended<K: Kind>(run: &mut Run<K>) -> Ending {
    if run.settings().observes_suspended {
        run.conditions.remove(STALLED);
        if !run.conditions.is_empty() {
            run.observed_generation = Some(run.generation());
        }
    } else if run.conditions.is_settled() {
        run.observed_generation = Some(run.generation());
    }
    close(run, Ending::calm(Again::Never)).await
}

async fn finalize<R: Reconciler>(controller: &Controller<R>, run: &mut Run<R::Kind>) -> Ending {
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
    match run.set_finalizer(false).await {
        Ok(()) => {
            controller
                .environment
                .metrics
                .forget(&R::Kind::kind(&()), run.name(), run.namespace());
            Ending::calm(Again::Never)
        }
        Err(error) => Ending::failed(outcome::chain(&error)),
    }
}

/// Turns the result into conditions, events and what follows. Writes nothing.
fn conclude<K: Kind>(run: &mut Run<K>, result: Result<Outcome, Failure>, jitter: u8) -> Ending {
    let settings = *run.settings();
    let ending = match result {
        Ok(outcome) => succeed(run, &settings, &outcome, jitter),
        Err(failure) => {
            tell(run, &failure);
            fail(run, &settings, &failure, jitter)
        }
    };
    if run.conditions.is_settled() {
        run.observed_generation = Some(run.generation()); // RT-CON-007
    }
    ending
}

fn succeed<K: Kind>(
    run: &mut Run<K>,
    settings: &Settings,
    outcome: &Outcome,
    jitter: u8,
) -> Ending {
    run.conditions.remove(STALLED);
    if outcome.again == outcome::Again::BackOff {
        keep_trying(run);
    } else {
        run.conditions.remove(RECONCILING);
    }
    match (&settings.summary, &outcome.ready) {
        (Some(summary), _) => run.conditions.summarize(summary),
        (None, Some((reason, message))) => run.conditions.set(READY, Status::True, reason, message),
        (None, None) => {}
    }
    let ready = run.conditions.get(READY);
    if outcome.again != outcome::Again::BackOff
        && let Some(ready) = ready.filter(|ready| ready.status != "True")
    {
        return Ending::failed(ready.message.clone()); // RT-CON-012, SC-PROC-074
    }
    Ending::calm(match outcome.again {
        outcome::Again::Never => Again::Never,
        outcome::Again::Jittered(interval) => {
            after(spread(interval, jitter, rand::random_range(-1.0..1.0)))
        }
        outcome::Again::After(delay) => Again::At(delay),
        outcome::Again::BackOff => Again::BackOff,
    })
}

fn fail<K: Kind>(run: &mut Run<K>, settings: &Settings, failure: &Failure, jitter: u8) -> Ending {
    let message = failure.cause.to_string();
    if let Some((condition, status)) = failure.marks {
        run.conditions
            .set(condition, status, failure.reason, &message);
    }
    match failure.next {
        Next::Stalled { .. } => run.conditions.mark_stalled(failure.reason, &message),
        Next::Ignored(_) => {
            run.conditions.remove(STALLED);
            run.conditions.remove(RECONCILING);
        }
        Next::Retry(_) | Next::Waiting(_) | Next::Superseded => {
            run.conditions.remove(STALLED);
            keep_trying(run);
        }
    }
    match &settings.summary {
        Some(summary) => run.conditions.summarize(summary),
        None => run
            .conditions
            .set(READY, Status::False, failure.reason, &message),
    }
    match failure.next {
        Next::Stalled {
            generation_observed,
        } => {
            if generation_observed {
                run.observed_generation = Some(run.generation());
            }
            if settings.stalled_is_error {
                return Ending {
                    again: Again::Never,
                    error: Some(message),
                    terminal: true,
                };
            }
            if settings.names_ends {
                tracing::error!(error = message, "reconciliation stalled");
            } else {
                tracing::error!(error = message, "Reconciler error");
            }
            Ending::calm(Again::Never)
        }
        Next::Retry(Pace::BackOff) => Ending::failed(message),
        Next::Retry(Pace::Exactly(delay)) => {
            // The form of KC-PROC-073
            let took = GoDuration::from(run.elapsed());
            tracing::error!(
                error = message,
                revision = failure.metadata.get("revision").map(String::as_str),
                "Reconciliation failed after {took}, next try in {}",
                GoDuration::from(delay)
            );
            Ending::calm(Again::At(delay))
        }
        Next::Waiting(delay) => {
            if settings.names_ends {
                let kv = json!({"reason": message, "duration": seconds(delay)}).to_string();
                tracing::info!(kv, "reconciliation waiting");
            } else if !failure.is_logged {
                tracing::info!("{message}");
            }
            Ending::calm(after(delay))
        }
        Next::Superseded => {
            tracing::info!("{message}");
            Ending::calm(Again::At(Duration::ZERO))
        }
        Next::Ignored(interval) => {
            tracing::info!("{message}");
            run.observed_generation = Some(run.generation());
            Ending::calm(after(spread(
                interval,
                jitter,
                rand::random_range(-1.0..1.0),
            )))
        }
    }
}

/// What is still marked as under way is from here on tried again (RT-CON-009, SC-PROC-069).
fn keep_trying<K: Kind>(run: &mut Run<K>) {
    if let Some(message) = run
        .conditions
        .get(RECONCILING)
        .map(|condition| condition.message.clone())
    {
        run.conditions
            .mark_reconciling(PROGRESSING_WITH_RETRY, message);
    }
}

fn tell<K: Kind>(run: &Run<K>, failure: &Failure) {
    let severity = match failure.notice {
        Notice::Quiet => return,
        Notice::Trace => Severity::Trace,
        Notice::Info => Severity::Info,
        Notice::Warning => Severity::Error,
    };
    run.record(
        severity,
        failure.reason,
        failure.cause.to_string(),
        &failure.metadata,
    );
}

/// The one patch that ends every run: the request as handled (RT-ANN-001) and the draft.
async fn close<K: Kind>(run: &mut Run<K>, ending: Ending) -> Ending {
    if let Some(requested) = run.object.annotations().get(REQUESTED_AT) {
        run.handled = Some(requested.clone());
    }
    match run.patch().await {
        Ok(()) => ending,
        Err(error) => {
            if matches!(error, StatusError::TooLarge { .. }) {
                tell_too_large(run, &error).await;
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

/// Says in the status, as far as it was written before, that the rest of it cannot be: else nobody but the log would
/// know (KC-PRUNE-023).
async fn tell_too_large<K: Kind>(run: &mut Run<K>, error: &StatusError) {
    let message = outcome::chain(error);
    if run.withdraw().is_err() {
        return;
    }
    run.conditions
        .mark_reconciling(PROGRESSING_WITH_RETRY, &message);
    run.conditions.set(READY, Status::False, FAILED, &message);
    let none = std::collections::BTreeMap::new();
    run.record(Severity::Error, FAILED, message, &none);
    if let Err(error) = run.patch().await {
        tracing::error!(error = outcome::chain(&error), "unable to update status");
    }
}

/// A duration as zap writes it: seconds, without a fraction where there is none.
fn seconds(duration: Duration) -> serde_json::Value {
    if duration.subsec_nanos() == 0 {
        duration.as_secs().into()
    } else {
        duration.as_secs_f64().into()
    }
}

/// No time stands for no other run by itself (SC-PROC-078).
fn after(delay: Duration) -> Again {
    if delay.is_zero() {
        Again::Never
    } else {
        Again::At(delay)
    }
}

/// An interval times a factor within `percent` of one; `draw` is uniform in -1..1 (RT-QUE-007).
fn spread(interval: Duration, percent: u8, draw: f64) -> Duration {
    interval.mul_f64((1.0 + f64::from(percent) / 100.0 * draw).max(0.0))
}

#[cfg(test)]
mod tests;
