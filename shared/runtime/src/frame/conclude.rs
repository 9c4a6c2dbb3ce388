//! Maps the result of a reconciler to conditions, events, log lines and the next run: the only place where that is
//! decided.

use std::time::Duration;

use flux_api::meta::GoDuration;
use serde_json::json;

use super::{Again, Ending, at_once};
use crate::conditions::{
    Conditions, PROGRESSING_WITH_RETRY, READY, RECONCILING, STALLED, SUCCEEDED, Status, listed,
};
use crate::events::Severity;
use crate::outcome::{self, Failure, Next, Notice, Outcome, Pace};
use crate::policy::{Events, Ready, ReadyRule, Settings, Stalls, Wording};
use crate::run::{Kind, Run};

/// Turns the result into conditions, events and the next run. Does not write the status.
pub(super) fn conclude<K: Kind>(
    run: &mut Run<K>,
    result: Result<Outcome, Failure>,
    jitter: u8,
) -> Ending {
    let settings = *run.settings();
    let ending = match result {
        Ok(outcome) => {
            let ending = succeed(run, &settings, &outcome, jitter);
            if settings.events == Events::Transition {
                let reason = outcome.ready.map_or(SUCCEEDED, |(reason, _)| reason);
                tell_transition(run, reason, outcome.news, outcome.routine);
            }
            ending
        }
        Err(failure) => {
            if settings.events == Events::ByRun {
                tell(run, &failure);
            }
            let ending = fail(run, &settings, &failure, jitter);
            if settings.events == Events::Transition {
                tell_transition(run, failure.reason, None, None);
            }
            ending
        }
    };
    // Where the run itself sets Ready, its end decides instead (HC-ACT-012).
    if run.conditions.is_settled() && !matches!(settings.ready, Ready::ByRun) {
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
    run.conditions.clear(STALLED);
    if let Some(message) = &outcome.continues {
        let reason = PROGRESSING_WITH_RETRY;
        run.conditions.mark_reconciling(reason, message.clone());
    } else if outcome.again == outcome::Again::BackOff {
        retrying(&mut run.conditions);
    } else {
        run.conditions.clear(RECONCILING);
    }
    let at_once = outcome.again == outcome::Again::BackOff;
    match (&settings.ready, &outcome.ready) {
        (Ready::ByRun, _) if at_once => {}
        (Ready::ByRun, _) => run.observed_generation = Some(run.generation()),
        (Ready::Summary(summary), _) => run.conditions.summarize(summary),
        (Ready::Rule(rule), _) => apply_rule(&mut run.conditions, *rule),
        (Ready::Outcome, Some((reason, message))) => {
            run.conditions.write(READY, Status::True, reason, message);
        }
        (Ready::Outcome, None) => {}
    }
    let ready = run.conditions.get(READY);
    if !at_once
        && !matches!(settings.ready, Ready::ByRun)
        && let Some(ready) = ready.filter(|ready| ready.status != Status::True)
    {
        return Ending::failed(ready.message.clone()); // RT-CON-012, SC-PROC-074
    }
    Ending::without_error(match outcome.again {
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
    if !failure.leaves_conditions {
        let said = failure.message.as_ref().unwrap_or(&message);
        mark(&mut run.conditions, settings, failure, said);
    }
    match failure.next {
        Next::Stalled {
            generation_observed,
        } => {
            if generation_observed {
                run.observed_generation = Some(run.generation());
            }
            if settings.stalls == Stalls::Fail {
                return Ending {
                    again: Again::Never,
                    error: Some(message),
                    terminal: true,
                };
            }
            if settings.wording == Wording::Named {
                tracing::error!(error = message, "reconciliation stalled");
            } else {
                tracing::error!(error = message, "Reconciler error");
            }
            Ending::without_error(Again::Never)
        }
        Next::Retry(Pace::BackOff) => Ending::failed(message),
        Next::Retry(Pace::Exactly(delay)) => {
            // The form of KC-PROC-073
            let took = GoDuration::from(run.elapsed());
            tracing::error!(
                error = message,
                revision = failure
                    .metadata
                    .get("revision")
                    .or_else(|| run.metadata.get("revision"))
                    .map(String::as_str),
                "Reconciliation failed after {took}, next try in {}",
                GoDuration::from(delay)
            );
            Ending::without_error(Again::At(delay))
        }
        Next::Waiting(delay) => {
            if settings.wording == Wording::Named {
                let kv = json!({"reason": message, "duration": seconds(delay)}).to_string();
                tracing::info!(kv, "reconciliation waiting");
            } else if !failure.is_logged {
                tracing::info!("{message}");
            }
            let delay = if failure.is_spread {
                spread(delay, jitter, rand::random_range(-1.0..1.0))
            } else {
                delay
            };
            Ending::without_error(after(delay))
        }
        Next::Superseded => {
            tracing::info!("{message}");
            Ending::without_error(at_once(settings))
        }
        Next::Ignored(interval) => {
            tracing::info!("{message}");
            run.observed_generation = Some(run.generation());
            Ending::without_error(after(spread(
                interval,
                jitter,
                rand::random_range(-1.0..1.0),
            )))
        }
    }
}

/// Sets the conditions of a failed run.
fn mark(conditions: &mut Conditions, settings: &Settings, failure: &Failure, message: &str) {
    if let Some((condition, status)) = failure.marks {
        conditions.set(condition, status, failure.reason, message);
    }
    match failure.next {
        Next::Stalled { .. } => conditions.mark_stalled(failure.reason, message),
        Next::Ignored(_) => {
            conditions.clear(STALLED);
            conditions.clear(RECONCILING);
        }
        Next::Retry(_) | Next::Waiting(_) | Next::Superseded => {
            conditions.clear(STALLED);
            if !matches!(settings.ready, Ready::ByRun) {
                retrying(conditions);
            }
        }
    }
    if failure.leaves_ready {
        return;
    }
    match &settings.ready {
        Ready::Summary(summary) => conditions.summarize(summary),
        Ready::Rule(rule) if failure.marks.is_some() => apply_rule(conditions, *rule),
        Ready::Outcome | Ready::Rule(_) | Ready::ByRun => {
            conditions.write(READY, Status::False, failure.reason, message);
        }
    }
}

/// Sets Ready by the kind's rule.
fn apply_rule(conditions: &mut Conditions, rule: ReadyRule) {
    if let Some((status, condition)) = rule(conditions) {
        let (reason, message) = (condition.reason.clone(), condition.message.clone());
        conditions.write(READY, status, &reason, message);
    }
}

/// Marks work in progress as being retried (RT-CON-009, SC-PROC-069).
fn retrying(conditions: &mut Conditions) {
    if let Some(message) = conditions
        .get(RECONCILING)
        .map(|condition| condition.message.clone())
    {
        conditions.mark_reconciling(PROGRESSING_WITH_RETRY, message);
    }
}

pub(super) fn tell<K: Kind>(run: &Run<K>, failure: &Failure) {
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

/// Emits and logs the event of a kind with [`Events::Transition`]: the first rule that applies (IR-REPO-100 to IR-REPO-103,
/// IA-STATUS-030 to IA-STATUS-033). `reason` is that of the run's end.
fn tell_transition<K: Kind>(
    run: &Run<K>,
    reason: &'static str,
    news: Option<String>,
    routine: Option<String>,
) {
    let Some(ready) = run.conditions.get(READY) else {
        return;
    };
    let before = listed(run.object.status())
        .iter()
        .find(|condition| condition.type_ == READY && condition.status == Status::True);
    let message = ready.message.clone();
    let (severity, reason, message) = match before {
        _ if ready.status != Status::True => (Severity::Error, reason, message),
        None => (Severity::Info, reason, news.unwrap_or(message)),
        Some(before) if news.is_some() || before.message != message => {
            (Severity::Info, SUCCEEDED, news.unwrap_or(message))
        }
        Some(_) => match routine {
            Some(routine) => (Severity::Trace, SUCCEEDED, routine),
            None => return,
        },
    };
    // IR-REPO-104
    if severity == Severity::Error {
        tracing::error!(error = reason, "{message}");
    } else {
        tracing::info!("{message}");
    }
    let none = std::collections::BTreeMap::new();
    run.record(severity, reason, message, &none);
}

/// A duration as zap writes it: seconds, without a fraction if that is zero.
pub(super) fn seconds(duration: Duration) -> serde_json::Value {
    if duration.subsec_nanos() == 0 {
        duration.as_secs().into()
    } else {
        duration.as_secs_f64().into()
    }
}

/// A delay of zero means no further run without a trigger (SC-PROC-078).
fn after(delay: Duration) -> Again {
    if delay.is_zero() {
        Again::Never
    } else {
        Again::At(delay)
    }
}

/// An interval scaled by a factor within `percent` of one; `draw` is uniform in -1..1 (RT-QUE-007).
pub(super) fn spread(interval: Duration, percent: u8, draw: f64) -> Duration {
    interval.mul_f64((1.0 + f64::from(percent) / 100.0 * draw).max(0.0))
}
