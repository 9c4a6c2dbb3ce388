//! The ImageUpdateAutomation kind: commits the images that policies selected to a Git repository.

mod failure;
mod files;
mod message;
mod policies;
mod reason;
mod source;
mod turns;

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flux_api::image::{ImagePolicy, ImageUpdateAutomation, UpdateStrategyName};
use flux_api::meta::Time;
use flux_api::source::GitRepository;
use flux_budget::{Budget, Claim};
use flux_git::{
    Change, Checkout, CheckoutOptions, Commit, NewCommit, Person, Pushed, Remote, SigningKey,
    SshAlgorithms, WorkingCopy,
};
use flux_identity::Identities;
use flux_references::{Reader, Secrets};
use flux_runtime::per_object::PerObject;
use flux_runtime::policy::{Events, SuspendedStatus, Suspension};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};
use flux_setters::Setters;
use flux_tenancy::Access;
use jiff::Timestamp;
use kube::ResourceExt as _;

use self::failure::{SourceError, StepError};
use self::files::{Note, Update};
pub(crate) use self::policies::policy_selector;
use self::reason::AutomationReason as R;
use self::source::{Credentials, Plan};
pub(crate) use self::turns::Turns;

/// The message of Ready=True (IA-STATUS-025).
const READY_MESSAGE: &str = "repository up-to-date";
/// The Trace event of a run that had nothing to look at (IA-STATUS-033).
const UNCHANGED: &str = "no change since last reconciliation";

/// How often a run starts over because another push has moved the branch (IA-GIT-115).
const ATTEMPTS: u32 = 6;
/// The pause before the second attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// How the frame treats ImageUpdateAutomations.
pub(crate) const SETTINGS: Settings = Settings {
    events: Events::Transition,
    suspension: Suspension {
        status: SuspendedStatus::Untouched, // IA-STATUS-005
        ..Settings::new("").suspension
    },
    ..Settings::new("imageupdateautomation")
};

/// The feature gates (IA-PROC-019 to IA-PROC-022).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gates {
    /// `GitForcePushBranch`
    pub(crate) force_push: bool,
    /// `GitShallowClone`
    pub(crate) shallow: bool,
    /// `GitAllBranchReferences`
    pub(crate) all_branches: bool,
    /// `GitSparseCheckout`
    pub(crate) sparse: bool,
}

/// Reconciles ImageUpdateAutomations.
pub(crate) struct Automations {
    /// Which sources may be referred to.
    pub(crate) access: Access,
    /// The feature gates.
    pub(crate) gates: Gates,
    /// Reads the sources.
    pub(crate) repositories: Reader<GitRepository>,
    /// The policies.
    pub(crate) policies: Cache<ImagePolicy>,
    /// Reads the Secrets with credentials and keys.
    pub(crate) secrets: Secrets,
    /// The identities that objects act with, and the cache of tokens.
    pub(crate) identities: Identities,
    /// Flags for SSH.
    pub(crate) ssh: SshAlgorithms,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
    /// Temporary folders for fetched Git objects.
    pub(crate) work: WorkFolders,
    /// The turns of runs that push to the same branch.
    pub(crate) turns: Turns,
    /// A hash of the revision and the notes on its files that were logged last.
    pub(crate) reported: PerObject<u64>,
}

impl Reconciler for Automations {
    type Kind = ImageUpdateAutomation;

    fn suspended(&self, object: &ImageUpdateAutomation) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<ImageUpdateAutomation>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        run.status.last_automation_run_time = Some(now());

        run.step(Action::ListPolicies);
        let selector = policy_selector(&object.spec).map_err(StepError::from)?;
        passed(run, &[R::InvalidPolicySelector]);
        let observed = policies::observe(&self.policies, run.namespace(), selector.as_ref());
        let mut is_full = run.status.observed_policies != observed; // IA-STATUS-012

        run.step(Action::ConfigureSource);
        let plan = source::plan(&object, &self.repositories, self.access).await?;
        let folder = self.work_folder(&plan.source)?;
        let claim = Arc::new(self.budget.claim());
        let from = Credentials {
            secrets: &self.secrets,
            identities: &self.identities,
            ssh: &self.ssh,
        };
        let remote = source::remote(&object, &plan, from, folder.path(), &claim).await?;
        let key = source::signing_key(&object, &self.secrets.within(plan.timeout)).await;
        let key = key.map_err(StepError::from)?;
        passed(
            run,
            &[
                R::AccessDenied,
                R::InvalidSourceConfiguration,
                R::SourceManagerFailed,
            ],
        );
        is_full |= plan.switches || plan.refspec.is_some(); // IA-STATUS-014

        let known = run.status.observed_source_revision.clone();
        let options = CheckoutOptions {
            last_observed: known.filter(|known| !is_full && !known.is_empty()), // IA-STATUS-015
            shallow: self.gates.shallow,
            sparse: source::sparse(&object, self.gates),
            switch: plan.switch(self.gates),
        };
        let work = Work {
            automation: &object,
            gates: self.gates,
            plan: &plan,
            remote: &remote,
            options,
            key: key.as_ref(),
            observed: &observed,
            claim: &claim,
        };
        let end = self.attempts(run, &work).await?;
        if !matches!(end, End::Unchanged) {
            run.status.observed_policies = observed;
        }
        Ok(conclude(run, &plan, end))
    }

    async fn finalize(&self, _: &mut Run<ImageUpdateAutomation>) -> Result<(), Failure> {
        Ok(()) // nothing outside of memory is kept of an automation (IA-STATUS-006)
    }
}

/// What all attempts of a run have in common.
struct Work<'w> {
    automation: &'w ImageUpdateAutomation,
    gates: Gates,
    plan: &'w Plan,
    remote: &'w Remote,
    options: CheckoutOptions,
    key: Option<&'w SigningKey>,
    observed: &'w policies::Observed,
    claim: &'w Arc<Claim>,
}

/// How a run ended.
enum End {
    /// The remote still has the last observed revision, and the policies select the same images.
    Unchanged,
    /// There was nothing to change at this revision.
    UpToDate(String),
    /// A commit was pushed.
    Pushed {
        /// The revision that was checked out.
        checked_out: String,
        commit: Box<Commit>,
        refspecs: Vec<String>,
    },
}

/// How an attempt ended: with an end of the run, or because another push has moved the branch.
enum Attempt {
    Done(End),
    /// Another run of this process had its turn meanwhile.
    Late,
    Conflict(StepError),
}

impl Automations {
    /// The folder for Git objects, named as upstream's (IA-PROC-027).
    fn work_folder(&self, source: &GitRepository) -> Result<tempfile::TempDir, StepError> {
        let namespace = source.namespace().unwrap_or_default();
        let prefix = format!("{namespace}-{}-", source.name_any());
        let folder = self.work.folder(&prefix);
        folder.map_err(|error| SourceError::WorkFolder(error).into())
    }

    /// Checks out, updates, commits and pushes; starts over if another push came first, so that no commit is lost
    /// and none is given up (IA-GIT-115, IA-STATUS-038).
    async fn attempts(
        &self,
        run: &mut Run<ImageUpdateAutomation>,
        work: &Work<'_>,
    ) -> Result<End, Failure> {
        let mut turn = None;
        let mut attempt = 1;
        loop {
            match self.attempt(run, work, &mut turn).await? {
                Attempt::Done(end) => return Ok(end),
                Attempt::Late => {}
                Attempt::Conflict(error) => {
                    if attempt >= ATTEMPTS || !work.plan.follows_branch(work.gates) {
                        return Err(error.into());
                    }
                    tracing::info!(
                        attempt,
                        branch = work.plan.branch,
                        "the branch has moved, starting over"
                    );
                    let pause = PAUSE * 2_u32.pow(attempt - 1);
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(
        &self,
        run: &mut Run<ImageUpdateAutomation>,
        work: &Work<'_>,
        turn: &mut Option<turns::Held>,
    ) -> Result<Attempt, Failure> {
        let object = work.automation;
        run.step(Action::Reconcile);
        let plan = work.plan;
        let checkout = work
            .remote
            .checkout(&plan.reference, &work.options, plan.timeout);
        let interval = object.spec.interval.to_std();
        let checkout = checkout
            .await
            .map_err(|error| StepError::of_checkout(error, interval))?;
        let copy = match checkout {
            Checkout::Unchanged(_) => {
                passed(run, &[R::GitOperationFailed]);
                return Ok(Attempt::Done(End::Unchanged));
            }
            Checkout::WorkingCopy(copy) => *copy,
            _ => return Err(StepError::Empty.into()), // IA-STATUS-039
        };
        let Some(checked_out) = copy.commit().map(Commit::revision) else {
            return Err(StepError::Empty.into());
        };
        passed(run, &[R::GitOperationFailed]);

        run.step(Action::ApplyPolicies);
        let (copy, update) = apply(work, copy).await?;
        passed(run, &[R::InvalidUpdateStrategy, R::UpdateFailed]);
        self.report(run, &checked_out, &update.notes);
        if update.changes.is_empty() {
            run.step(Action::Reconcile);
            return Ok(Attempt::Done(End::UpToDate(checked_out)));
        }

        run.step(Action::CommitAndPush);
        let second = plan.push_refspec(work.gates)?; // IA-GIT-114: before any push
        let message = self::message(work, &update).await?;
        if turn.is_none() {
            let branch = self.turns.of(&plan.source.spec.url, &plan.branch);
            if let Ok(held) = branch.clone().try_lock_owned() {
                *turn = Some(held);
            } else {
                // Others wait without a worker, and start from what the one before has pushed.
                drop(copy);
                *turn = Some(run.idle(branch.lock_owned()).await);
                return Ok(Attempt::Late);
            }
        }
        let (mut copy, commit) = commit(work, copy, update.files, message).await?;
        let Some(commit) = commit else {
            tracing::info!("no changes made in the source; no commit");
            run.step(Action::Reconcile);
            return Ok(Attempt::Done(End::UpToDate(checked_out)));
        };
        let started = Instant::now();
        let pushed = copy.push(&plan.push(work.gates), plan.timeout).await;
        match pushed {
            Ok(pushed) => trace(&pushed),
            Err(error) if error.is_conflict() => return Ok(Attempt::Conflict(error.into())),
            Err(error) => return Err(StepError::from(error).into()),
        }
        let mut refspecs = Vec::new();
        if let Some(second) = second {
            let rest = plan.timeout.saturating_sub(started.elapsed());
            let pushed = copy.push(&second, rest).await;
            trace(&pushed.map_err(StepError::from)?);
            refspecs.extend(plan.refspec.clone());
        }
        passed(run, &[R::GitOperationFailed]);
        Ok(Attempt::Done(End::Pushed {
            checked_out,
            commit: Box::new(commit),
            refspecs,
        }))
    }

    /// Logs what is in files and has no effect, once for each revision (IA-UPD-012).
    fn report(&self, run: &Run<ImageUpdateAutomation>, revision: &str, notes: &[Note]) {
        if notes.is_empty() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (revision, notes).hash(&mut hasher);
        let hash = hasher.finish();
        if self.reported.get(&run.key()) == Some(hash) {
            return;
        }
        self.reported.insert(&run.key(), hash);
        for note in notes {
            tracing::info!(
                revision,
                path = note.path,
                line = note.line,
                reason = note.text,
                "a marker or a file with markers is skipped"
            );
        }
    }
}

/// Updates the files of a checkout.
async fn apply(work: &Work<'_>, copy: WorkingCopy) -> Result<(WorkingCopy, Update), StepError> {
    let update = work.automation.spec.update.as_ref();
    let update = update.ok_or(StepError::NoStrategy)?;
    let strategy = update.strategy.as_ref();
    if strategy != Some(&UpdateStrategyName::Setters) {
        let name = strategy.map_or("", UpdateStrategyName::as_str);
        return Err(StepError::Strategy(name.to_owned()));
    }
    let namespace = work.automation.namespace().unwrap_or_default();
    let setters: Setters = policies::setters(&namespace, work.observed)?;
    let path = update.path.clone().unwrap_or_default();
    let claim = work.claim.clone();
    let task = tokio::task::spawn_blocking(move || {
        let found = files::update(&copy, &path, &setters, &claim);
        found.map(|update| (copy, update))
    });
    Ok(task.await??)
}

/// The commit message.
async fn message(work: &Work<'_>, update: &Update) -> Result<String, StepError> {
    let commit = work.automation.spec.git.as_ref().map(|git| &git.commit);
    let commit = commit.ok_or(StepError::NoGit)?;
    let template = commit.message_template.clone().unwrap_or_default();
    let data = message::Data {
        automation: flux_runtime::queue::Key::of(work.automation),
        changes: update.changes.clone(),
        values: commit.message_template_values.clone(),
    };
    let task = tokio::task::spawn_blocking(move || message::render(&template, &data));
    Ok(task.await??)
}

/// Commits the files: exactly those that were edited (IA-GIT-071). `None` if their contents are what they were
/// (IA-STATUS-024).
async fn commit(
    work: &Work<'_>,
    mut copy: WorkingCopy,
    files: Vec<Change>,
    message: String,
) -> Result<(WorkingCopy, Option<Commit>), StepError> {
    let commit = work.automation.spec.git.as_ref().map(|git| &git.commit);
    let author = &commit.ok_or(StepError::NoGit)?.author;
    // IA-GIT-072
    let commit = NewCommit {
        author: Person {
            name: author.name.clone().unwrap_or_default(),
            email: author.email.clone(),
            seconds: Timestamp::now().as_second(),
            offset: 0,
        },
        committer: None,
        message,
    };
    let key = work.key.cloned();
    let task = tokio::task::spawn_blocking(move || {
        let made = copy.commit_files(files, &commit, key.as_ref());
        made.map(|commit| (copy, commit))
    });
    Ok(task.await??)
}

fn trace(pushed: &[Pushed]) {
    for pushed in pushed {
        tracing::trace!(reference = pushed.reference, revision = %pushed.new, "pushed commit");
    }
}

/// Writes how the run ended to the status (IA-STATUS-019 to IA-STATUS-023).
fn conclude(run: &mut Run<ImageUpdateAutomation>, plan: &Plan, end: End) -> Outcome {
    let interval = run.object().spec.interval.to_std();
    let outcome = Outcome::ready(R::Succeeded, READY_MESSAGE, interval);
    match end {
        End::Unchanged => outcome.with_routine(UNCHANGED),
        End::UpToDate(revision) => {
            run.status.observed_source_revision = Some(revision);
            outcome.with_routine(READY_MESSAGE)
        }
        End::Pushed {
            checked_out,
            commit,
            refspecs,
        } => {
            let observed = if plan.switches {
                checked_out
            } else {
                commit.revision()
            };
            run.status.observed_source_revision = Some(observed);
            run.status.last_push_commit = Some(commit.hash.to_string());
            run.status.last_push_time = Some(now());
            outcome.with_news(summary(&plan.branch, &commit, &refspecs))
        }
    }
}

/// What was pushed, for the event (IA-STATUS-034, IA-MSG-026).
fn summary(branch: &str, commit: &Commit, refspecs: &[String]) -> String {
    let hash = commit.hash.as_str();
    let hash = hash.get(..7).unwrap_or(hash);
    let mut text = format!("pushed commit '{hash}' to branch '{branch}'");
    if !refspecs.is_empty() {
        let _ = write!(text, " and refspecs '{}'", refspecs.join("', '"));
    }
    if !commit.message.is_empty() {
        text.push('\n');
        text.push_str(&commit.message);
    }
    text
}

/// Ends a failure that an earlier run reported, once the step that caused it succeeds (IA-STATUS-028).
fn passed(run: &mut Run<ImageUpdateAutomation>, reasons: &[R]) {
    use flux_runtime::conditions::{READY, Status};
    use flux_runtime::reason::Reason as _;
    let is_stale = run.conditions.get(READY).is_some_and(|ready| {
        ready.status == Status::False
            && reasons.iter().any(|reason| reason.as_str() == ready.reason)
    });
    if is_stale {
        run.set_ready_unknown("reconciliation in progress");
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}
