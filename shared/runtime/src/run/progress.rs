//! Progress of a run that is still under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::status::{StatusError, Writer};
use super::{Kind, Run};
use crate::conditions::{FAILED, PROGRESSING, listed};
use crate::outcome::{Failure, Pace};

/// How long a run is under way before its progress is written, and how old what was written has to be before more is: no
/// user reads faster, and most runs are over before.
const PAUSE: Duration = Duration::from_secs(1);
/// Writes progress at once, as upstream does, if it is `true`.
const AT_ONCE: &str = "FLUX_PROGRESS_AT_ONCE";

/// How long progress waits in this process.
pub(crate) fn pause() -> Duration {
    if std::env::var(AT_ONCE).is_ok_and(|value| value == "true") {
        Duration::ZERO
    } else {
        PAUSE
    }
}

/// A draft that is written when it is due. Nothing is written after this is dropped.
pub(super) struct Due<K> {
    /// The object that the server returned, and when, if there was something to write.
    task: JoinHandle<Option<(Arc<K>, Instant)>>,
    withdraw: DropGuard,
}

impl<K: Kind> Run<K> {
    /// Sets Reconciling=True with this message. It is written when the run, and what was written last, is a second old,
    /// unless the run writes its status before; a routine run, which [is not eager](Run::is_eager), does not write it.
    ///
    /// # Errors
    /// If the message is due and cannot be written.
    pub async fn progress(&mut self, message: impl Into<String>) -> Result<(), Failure> {
        self.conditions.mark_reconciling(PROGRESSING, message);
        if self.eager {
            self.show().await
        } else {
            Ok(())
        }
    }

    /// As [`Run::progress`], in a routine run as well: for steps that may take long.
    ///
    /// # Errors
    /// If the message is due and cannot be written.
    pub async fn progress_of_step(&mut self, message: impl Into<String>) -> Result<(), Failure> {
        self.conditions.mark_reconciling(PROGRESSING, message);
        self.show().await
    }

    /// Writes the draft when it is due, as progress is.
    ///
    /// # Errors
    /// If it is due and cannot be written.
    pub async fn show(&mut self) -> Result<(), Failure> {
        self.report().await.map_err(unwritten)
    }

    /// As [`Run::progress_of_step`], written at once: for what has to be known after a crash.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn progress_now(&mut self, message: impl Into<String>) -> Result<(), Failure> {
        self.conditions.mark_reconciling(PROGRESSING, message);
        self.patch_now().await
    }

    /// Writes the draft as it is now when it is due.
    pub(crate) async fn report(&mut self) -> Result<(), StatusError> {
        self.withdraw_progress().await;
        let due = self.reported.unwrap_or(self.started) + self.context.pause;
        if due <= Instant::now() {
            self.reported = Some(Instant::now());
            return self.patch().await;
        }
        let writer = Writer::new(self)?;
        self.complete();
        let (mut status, mut conditions) = (self.status.clone(), self.conditions.clone());
        let mut server = self.server.clone();
        let withdrawn = CancellationToken::new();
        let withdraw = withdrawn.clone().drop_guard();
        let writing = async move {
            tokio::select! {
                biased;
                () = withdrawn.cancelled() => return None,
                () = tokio::time::sleep_until(due) => {}
            }
            let written = writer.write(&mut server, &mut status, &mut conditions);
            match written.await {
                Ok(()) => Some((server, Instant::now())),
                Err(error) => {
                    tracing::debug!(
                        error = flux_errors::chain(&error),
                        "progress was not written"
                    );
                    None
                }
            }
        };
        let task = tokio::spawn(writing.in_current_span());
        self.due = Some(Due { task, withdraw });
        Ok(())
    }

    /// Withdraws progress that is not written yet, and takes over what the server has of it otherwise.
    pub(super) async fn withdraw_progress(&mut self) {
        let Some(Due { task, withdraw }) = self.due.take() else {
            return;
        };
        drop(withdraw);
        if let Ok(Some((server, written))) = task.await {
            self.reported = Some(written);
            let owned = self.context.settings.conditions;
            self.conditions.rebase(owned, listed(server.status()));
            self.server = server;
        }
    }

    /// Writes the current draft, so that a crash from here on does not lose it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn patch_now(&mut self) -> Result<(), Failure> {
        self.reported = Some(Instant::now());
        self.patch().await.map_err(unwritten)
    }
}

fn unwritten(error: StatusError) -> Failure {
    Failure::retry(FAILED, error, Pace::BackOff).quietly()
}
