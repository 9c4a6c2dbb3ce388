//! Pushes commits: which references change, whether they may, the request, and the server's report on it.

mod ancestry;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gix::hash::ObjectId;

use crate::echo::Sent;
use crate::error::Fault;
use crate::new_objects::NewObjects;
use crate::protocol::explained;
use crate::refspec::{Refspec, RefspecError};
use crate::remote::{Remote, SharedSession};
use crate::revision::Hash;
use crate::session;
use crate::store::Store;
use crate::transport::{self, Service};
use crate::wire::{Advertisement, Command, Listed, Packets, Report, SideBand, Update};

/// The bytes of a response that are read after its report.
const MAX_REST: u64 = 1 << 20;

/// What to push, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushOptions {
    /// Which references update which; the current branch itself if empty (IA-GIT-074, IA-GIT-075).
    pub refspecs: Vec<Refspec>,
    /// Whether to update references that do not move forward.
    pub force: Force,
    /// Push options, sent as `key=value`; dropped if the server does not support them (IA-GIT-078, IA-GIT-079).
    pub options: Vec<(String, String)>,
}

/// Whether to update references whose commit is not an ancestor of the new one (IA-GIT-080).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Force {
    /// Never.
    #[default]
    Never,
    /// Always.
    Always,
    /// Only if the reference still has the value that it had at the checkout or at the last push of this copy, so that no commit
    /// of another writer is lost.
    IfUnmoved,
}

/// An updated reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The full name on the server.
    pub reference: String,
    /// Its value before; `None` if it was created.
    pub old: Option<Hash>,
    /// Its value now.
    pub new: Hash,
}

/// Why a push failed. Print it with its sources, joined by `: `. Texts are upstream's, for rejections with the server's words
/// behind them (IA-GIT-082).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The connection, the login or the protocol failed, or a limit was exceeded.
    #[error("failed to push to remote")]
    Failed {
        /// What failed.
        #[source]
        source: Fault,
    },
    /// A refspec is malformed; nothing was sent.
    #[error("failed to push to remote")]
    Refspec(#[from] RefspecError),
    /// The remote already has everything (IA-GIT-077).
    #[error("failed to push to remote: already up-to-date")]
    UpToDate,
    /// The reference has moved to a commit that the new one does not contain: fetch, change and commit again (IA-GIT-115).
    #[error("failed to push to remote: {}", conflict(.reference, .status.as_deref()))]
    NonFastForward {
        /// The reference on the server.
        reference: String,
        /// The server's words, if the race was lost there.
        status: Option<String>,
    },
    /// The server rejected the update, for example by a hook.
    #[error("failed to push to remote: command error on {reference}: {reason}{}", after_colon(.said))]
    Rejected {
        /// The reference on the server.
        reference: String,
        /// The reason in the server's report.
        reason: String,
        /// What the server and its hooks wrote for the user.
        said: String,
    },
    /// The server could not use the objects.
    #[error("failed to push to remote: unpack error: {reason}{}", after_colon(.said))]
    Unpack {
        /// The reason in the server's report.
        reason: String,
        /// What the server wrote for the user.
        said: String,
    },
}

impl PushError {
    /// Whether another writer was faster, so that the change has to be made again on the new state.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::NonFastForward { .. })
    }

    /// Whether the push is too large for this process or exceeds its limits, so that a retry does not help.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Failed { source } if source.is_too_large())
    }
}

fn conflict(reference: &str, status: Option<&str>) -> String {
    match status {
        None => format!("non-fast-forward update: {reference}"),
        Some(status) => format!("command error on {reference}: {status}"),
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// A push.
pub(crate) struct Job {
    pub(crate) remote: Remote,
    /// The name of the current branch.
    pub(crate) current: String,
    pub(crate) references: BTreeMap<String, ObjectId>,
    pub(crate) seen: BTreeMap<String, Option<ObjectId>>,
    pub(crate) layers: Option<Arc<Vec<Store>>>,
    pub(crate) new: NewObjects,
    pub(crate) options: PushOptions,
}

/// Carries the push out within `timeout`.
pub(crate) async fn push(job: Job, timeout: Duration) -> Result<Vec<Pushed>, PushError> {
    let limits = job.remote.options.limits;
    // The result is known before the server has closed the connection: a hook that runs long after the update must not turn it
    // into a failure.
    let done = Arc::new(OnceLock::new());
    let known = Arc::clone(&done);
    let late = |source| PushError::Failed { source };
    let result = session::run(timeout, limits, late, move |session| {
        job.run(session, &known).map_err(|error| job.masked(error))
    })
    .await;
    match (result, done.get()) {
        (
            Err(PushError::Failed {
                source: Fault::DeadlineExceeded,
            }),
            Some(pushed),
        ) => Ok(Vec::clone(pushed)),
        (result, _) => result,
    }
}

impl Job {
    fn run(
        &self,
        session: &SharedSession,
        known: &OnceLock<Vec<Pushed>>,
    ) -> Result<Vec<Pushed>, PushError> {
        let failed = |source| PushError::Failed { source };
        let mut channel =
            transport::connect(&self.remote, session, Service::ReceivePack).map_err(failed)?;
        let server = channel
            .greeting()
            .and_then(|input| self.greet(input))
            .map_err(|fault| failed(said_instead(session, fault)))?;
        let remote_references = server.references.as_deref().unwrap_or_default();
        let planned = self.plan(remote_references, session);
        if planned.is_err() {
            // The server waits for commands.
            channel.end();
        }
        let commands = planned?;
        let message = self.message(&server, &commands).map_err(failed)?;
        let pushed = || commands.iter().map(described).collect::<Vec<_>>();
        let finish = |report: &Report, said: &str| {
            let judged = judge(report, &commands, said);
            if judged.is_ok() {
                let _ = known.set(pushed()); // set once
            }
            judged
        };
        let outcome = channel
            .request(&message.bytes, false)
            .map_err(failed)
            .and_then(|input| receive(input, &server, &commands, finish));
        drop(message);
        drop(channel);
        match outcome {
            Ok(()) => Ok(pushed()),
            Err(error) => {
                let error = match error {
                    PushError::Failed { source } => failed(said_instead(session, source)),
                    other => other,
                };
                self.explain(session, &commands, error).map(|()| pushed())
            }
        }
    }

    fn greet(&self, input: impl std::io::Read) -> Result<Advertisement, Fault> {
        let claim = &self.remote.options.claim;
        let server = Advertisement::read(&mut Packets::new(input), claim)?;
        if server.is_v2() {
            return Err(Fault::Protocol(
                "the server speaks version 2 of the protocol, which has no push".to_owned(),
            ));
        }
        Ok(server)
    }

    /// The updates, as go-git selects them.
    fn plan(
        &self,
        remote_references: &[Listed],
        session: &SharedSession,
    ) -> Result<Vec<Command>, PushError> {
        let own = [Refspec::same(&self.current)];
        let refspecs = match &self.options.refspecs[..] {
            [] => &own[..],
            some => some,
        };
        let mut commands: Vec<Command> = Vec::new();
        for (name, new) in refspecs.iter().flat_map(|refspec| self.selected(refspec)) {
            let listed = remote_references.iter().find(|listed| listed.name == name);
            let old = listed.map_or(ObjectId::null(gix::hash::Kind::Sha1), |found| found.target);
            if old == new || commands.iter().any(|command| command.name == name) {
                continue;
            }
            let command = Command { name, old, new };
            if !self.may_update(&command, session)? {
                let reference = command.name;
                let status = None;
                return Err(PushError::NonFastForward { reference, status });
            }
            commands.push(command);
        }
        if commands.is_empty() {
            return Err(PushError::UpToDate);
        }
        Ok(commands)
    }

    /// Names on the remote, and their new values.
    fn selected(&self, refspec: &Refspec) -> Vec<(String, ObjectId)> {
        if let Some((hash, name)) = refspec.hash() {
            let id = ObjectId::from_hex(hash.as_bytes()).ok();
            let known = id.filter(|id| self.has_commit(id));
            return known.map(|id| (name.to_owned(), id)).into_iter().collect();
        }
        let references = self.references.iter();
        references
            .filter_map(|(name, id)| Some((refspec.destination(name)?, *id)))
            .collect()
    }

    /// IA-GIT-080
    fn may_update(&self, command: &Command, session: &SharedSession) -> Result<bool, PushError> {
        let unmoved = self.seen.get(&command.name) == Some(&Some(command.old));
        let is_free = match self.options.force {
            Force::Always => true,
            Force::IfUnmoved => unmoved || command.old.is_null(),
            Force::Never => command.old.is_null(),
        };
        if is_free {
            return Ok(true);
        }
        self.is_ancestor(command.old, command.new, session)
            .map_err(|source| PushError::Failed { source })
    }

    fn message(
        &self,
        server: &Advertisement,
        commands: &[Command],
    ) -> Result<crate::new_objects::PackBytes, Fault> {
        let options: Vec<String> = self
            .options
            .options
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let update = Update {
            commands,
            options: &options,
        };
        let request = update.encode(server)?;
        let remote_references = server.references.as_deref().unwrap_or_default();
        // A second push of the same commit to another reference sends nothing again.
        let is_there = |new: &ObjectId| remote_references.iter().any(|found| found.target == *new);
        let has_all = commands.iter().all(|command| is_there(&command.new));
        let mut pack = self.new.pack(&self.remote.options.claim, has_all)?;
        // HTTP keeps a copy of what it sends.
        pack.portion.grow(pack.bytes.len() + request.len() * 2)?;
        pack.bytes.splice(..0, request);
        Ok(pack)
    }

    /// What a failed push means for the caller: another look at the references tells a lost race from a rejection, and an update
    /// whose response was lost from one that was not made.
    fn explain(
        &self,
        session: &SharedSession,
        commands: &[Command],
        error: PushError,
    ) -> Result<(), PushError> {
        let asks = match &error {
            PushError::Failed { source } => {
                matches!(source, Fault::Connection(_) | Fault::Protocol(_))
            }
            PushError::Rejected { reason, .. } => !reason.contains("hook declined"),
            _ => false,
        };
        if !asks || session.check().is_err() {
            return Err(error);
        }
        let Some(server) = self.look_again(session) else {
            return Err(error);
        };
        let remote_references = server.references.as_deref().unwrap_or_default();
        let value = |name: &str| {
            let found = remote_references.iter().find(|listed| listed.name == name);
            found.map_or(ObjectId::null(gix::hash::Kind::Sha1), |found| found.target)
        };
        if commands
            .iter()
            .all(|command| value(&command.name) == command.new)
        {
            return Ok(());
        }
        match error {
            PushError::Rejected {
                reference,
                reason,
                said,
            } => {
                let moved = commands
                    .iter()
                    .any(|command| value(&command.name) != command.old);
                if moved {
                    let status = Some(format!("{reason}{}", after_colon(&said)));
                    Err(PushError::NonFastForward { reference, status })
                } else {
                    Err(PushError::Rejected {
                        reference,
                        reason,
                        said,
                    })
                }
            }
            other => Err(other),
        }
    }

    fn look_again(&self, session: &SharedSession) -> Option<Advertisement> {
        let mut channel = transport::connect(&self.remote, session, Service::ReceivePack).ok()?;
        let greeted = channel.greeting().and_then(|input| self.greet(input));
        channel.end();
        // A fault of this request does not replace the first one.
        let _ = session.take_fault();
        greeted.ok()
    }

    /// Masks the credentials in the server's words.
    fn masked(&self, error: PushError) -> PushError {
        let sent: Sent = self.remote.sent();
        match error {
            PushError::Failed { source } => PushError::Failed {
                source: sent.hide(source),
            },
            PushError::NonFastForward { reference, status } => PushError::NonFastForward {
                reference,
                status: status.map(|status| sent.mask(status)),
            },
            PushError::Rejected {
                reference,
                reason,
                said,
            } => PushError::Rejected {
                reference,
                reason: sent.mask(reason),
                said: sent.mask(said),
            },
            PushError::Unpack { reason, said } => PushError::Unpack {
                reason: sent.mask(reason),
                said: sent.mask(said),
            },
            other => other,
        }
    }
}

fn described(command: &Command) -> Pushed {
    let hash = |id: ObjectId| Hash::new(id.to_string());
    Pushed {
        reference: command.name.clone(),
        old: (!command.old.is_null()).then(|| hash(command.old)),
        new: hash(command.new),
    }
}

/// Reads the response; `finish` judges the report as soon as it is there.
fn receive(
    mut input: Box<dyn std::io::Read + '_>,
    server: &Advertisement,
    commands: &[Command],
    finish: impl FnOnce(&Report, &str) -> Result<(), PushError>,
) -> Result<(), PushError> {
    let failed = |source| PushError::Failed { source };
    let is_wanted = |name: &str| commands.iter().any(|command| command.name == name);
    if !Update::has_report(server) {
        // Such a server says nothing if all is well.
        let mut rest = Vec::new();
        input
            .take(MAX_REST)
            .read_to_end(&mut rest)
            .map_err(|error| failed(Fault::Connection(error.to_string())))?;
        return finish(&Report::accepted(commands), "");
    }
    if !Update::has_side_band(server) {
        let report = Report::read(&mut input, is_wanted).map_err(failed)?;
        let judged = finish(&report, "");
        let _ = std::io::copy(&mut input.take(MAX_REST), &mut std::io::sink());
        return judged;
    }
    let mut band = SideBand::new(input);
    let report = Report::read(&mut band, is_wanted).map_err(failed)?;
    let judged = finish(&report, &band.said());
    band.drain();
    judged
}

/// The first error of a report, in the order of the commands.
fn judge(report: &Report, commands: &[Command], said: &str) -> Result<(), PushError> {
    let said = said.to_owned();
    if let Some(reason) = &report.unpack {
        let reason = reason.clone();
        return Err(PushError::Unpack { reason, said });
    }
    for command in commands {
        match report.status(&command.name) {
            Some(Ok(())) => {}
            Some(Err(reason)) => {
                return Err(PushError::Rejected {
                    reference: command.name.clone(),
                    reason: reason.to_owned(),
                    said,
                });
            }
            None => {
                let source =
                    Fault::Protocol(format!("the server did not report on {}", command.name));
                return Err(PushError::Failed { source });
            }
        }
    }
    Ok(())
}

/// The fault that the transport recorded, else what the server wrote besides a response that ended too early.
fn said_instead(session: &SharedSession, fault: Fault) -> Fault {
    let ended = matches!(fault, Fault::Protocol(_) | Fault::Connection(_));
    let fault = explained(session, fault);
    match session.take_remark() {
        Some(remark) if ended && matches!(fault, Fault::Protocol(_)) => remark,
        _ => fault,
    }
}
