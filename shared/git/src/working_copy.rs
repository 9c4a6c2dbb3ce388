//! A checkout that new commits are made in and pushed from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gix::hash::ObjectId;
use gix::objs::Kind;

use crate::create::{Change, CommitError, NewCommit, encode};
use crate::error::{Error, Fault};
use crate::fetch::{Extra, Found, fetch_with};
use crate::new_objects::NewObjects;
use crate::object::Commit;
use crate::push::{self, PushError, PushOptions, Pushed};
use crate::reference::{Reference, Strategy};
use crate::remote::{FetchOptions, Fetched, Phase, Remote};
use crate::revision::Hash;
use crate::session;
use crate::sign::SigningKey;
use crate::snapshot::{Entry, Reader, Snapshot};
use crate::tree_edit::Editor;

/// What to check out (IA-GIT-044 to IA-GIT-060).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckoutOptions {
    /// The last observed revision, in either form (IA-GIT-051, IA-GIT-054). It does not count for versions and commits
    /// (IA-GIT-052).
    pub last_observed: Option<String>,
    /// Whether to fetch one commit of history only; for a commit, history is always fetched (IA-GIT-045).
    pub shallow: bool,
    /// Prefixes of the wanted paths, without `./`; all if empty (IA-GIT-048).
    pub sparse: Vec<String>,
    /// The branch to commit on, if it is not the checked out one.
    pub switch: Option<SwitchBranch>,
}

/// A branch to switch to (IA-GIT-060).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchBranch {
    /// The name, without `refs/heads/`.
    pub name: String,
    /// Whether a branch of this name on the remote is built upon; otherwise its state is ignored (IA-GIT-047).
    pub use_remote: bool,
}

/// The result of a checkout.
#[derive(Debug)]
#[non_exhaustive]
pub enum Checkout {
    /// The remote still has the last observed revision. Only hash and reference of the commit are known.
    Unchanged(Box<Commit>),
    /// The remote has no commit yet; only for branches (RT-GIT-008). The first commit can be made in it.
    Empty(Box<WorkingCopy>),
    /// The checked out commit.
    WorkingCopy(Box<WorkingCopy>),
}

/// A checkout, new commits, and the local branches. Files are read from packs in a temporary folder, and new objects are in
/// memory; both are gone when the copy is dropped.
pub struct WorkingCopy {
    remote: Remote,
    /// The files; `None` in an empty repository.
    snapshot: Option<Snapshot>,
    /// The commit that the next one is made on, and its tree.
    head: Option<(ObjectId, ObjectId)>,
    head_hash: Option<Hash>,
    /// The full name of the current branch; `None` if HEAD is detached.
    branch: Option<String>,
    /// Local references. A detached HEAD is one of them.
    references: BTreeMap<String, ObjectId>,
    /// The remote's references as they were seen last.
    seen: BTreeMap<String, Option<ObjectId>>,
    new: NewObjects,
}

impl fmt::Debug for WorkingCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkingCopy")
            .field("remote", &self.remote)
            .field("branch", &self.branch)
            .field("head", &self.head_hash)
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// Fetches the commit that `reference` selects, with the branch to switch to, and prepares commits on it. All of it is one
    /// conversation with one fetch, so that servers which negotiate in other ways work, too (IA-GIT-059).
    ///
    /// # Errors
    /// As [`Remote::fetch`] (IA-GIT-056, IA-GIT-057). Dropping the future cancels the work.
    pub async fn checkout(
        &self,
        reference: &Reference,
        options: &CheckoutOptions,
        timeout: Duration,
    ) -> Result<Checkout, Error> {
        let (remote, reference, options) = (self.clone(), reference.clone(), options.clone());
        let compares = matches!(
            reference.strategy(),
            Strategy::Branch(_) | Strategy::Tag(_) | Strategy::Name(_)
        );
        let last_observed = options.last_observed.clone().filter(|_| compares);
        let lists_first =
            matches!(reference.strategy(), Strategy::Name(_)) || last_observed.is_some();
        let late = self.failing(if lists_first {
            Phase::List
        } else {
            Phase::Clone
        });
        session::run(timeout, self.options.limits, &late, move |session| {
            let fetch = FetchOptions {
                last_observed,
                sparse: options.sparse.clone(),
                submodules: false, // IA-GIT-050
            };
            let local = local_branch(&reference);
            let switch = options.switch.as_ref().map(|switch| SwitchBranch {
                name: format!("refs/heads/{}", switch.name),
                use_remote: switch.use_remote,
            });
            // A local branch takes precedence over the remote's.
            let switches = switch
                .as_ref()
                .is_some_and(|switch| switch.use_remote && local.as_ref() != Some(&switch.name));
            let extra = Extra {
                full: !options.shallow || matches!(reference.strategy(), Strategy::Commit { .. }),
                branch: switch.as_ref().map(|switch| switch.name.clone()),
                switches,
            };
            let found = fetch_with(&remote, &reference, &fetch, &extra, session)?;
            Ok(assemble(remote, local, switch, found))
        })
        .await
    }
}

/// The full name of the branch that a reference checks out; `None` if it leaves HEAD detached.
fn local_branch(reference: &Reference) -> Option<String> {
    match reference.strategy() {
        Strategy::Branch(branch) => Some(format!("refs/heads/{branch}")),
        Strategy::Name(name) if name.starts_with("refs/heads/") => Some(name.to_owned()),
        _ => None,
    }
}

fn assemble(
    remote: Remote,
    local: Option<String>,
    switch: Option<SwitchBranch>,
    found: Found,
) -> Checkout {
    let mut copy = WorkingCopy {
        remote,
        snapshot: None,
        head: found.head,
        head_hash: found.head.map(|(head, _)| Hash::new(head.to_string())),
        branch: local.clone(),
        references: BTreeMap::new(),
        seen: BTreeMap::new(),
        new: NewObjects::default(),
    };
    let snapshot = match found.fetched {
        Fetched::Unchanged(commit) => return Checkout::Unchanged(commit),
        Fetched::Empty => None,
        Fetched::Snapshot(snapshot) => Some(*snapshot),
    };
    let hex = |snapshot: &Snapshot| ObjectId::from_hex(snapshot.commit().hash.as_str().as_bytes());
    let checked_out = snapshot.as_ref().and_then(|snapshot| hex(snapshot).ok());
    if let Some(local) = local {
        copy.references
            .extend(checked_out.map(|id| (local.clone(), id)));
        copy.seen.insert(local, checked_out);
    }
    if let Some(switch) = switch {
        copy.references
            .extend(found.head.map(|(head, _)| (switch.name.clone(), head)));
        copy.seen.insert(switch.name.clone(), found.extra);
        copy.branch = Some(switch.name);
    }
    if copy.branch.is_none() {
        copy.references
            .extend(checked_out.map(|id| (HEAD.to_owned(), id)));
    }
    let is_empty = snapshot.is_none();
    copy.snapshot = snapshot;
    if is_empty {
        Checkout::Empty(Box::new(copy))
    } else {
        Checkout::WorkingCopy(Box::new(copy))
    }
}

/// The name that a detached HEAD is pushed by.
const HEAD: &str = "HEAD";

impl WorkingCopy {
    /// The commit that the reference selected; `None` in an empty repository.
    pub fn commit(&self) -> Option<&Commit> {
        self.snapshot.as_ref().map(Snapshot::commit)
    }

    /// The full name of the branch that commits are made on; `None` if HEAD is detached.
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// The commit that the next one is made on. After a switch to an existing branch it is not [`WorkingCopy::commit`].
    pub fn head(&self) -> Option<&Hash> {
        self.head_hash.as_ref()
    }

    /// The files of the branch as they were fetched, ordered by the bytes of their paths; new commits do not change them.
    pub fn entries(&self) -> &[Entry] {
        self.snapshot.as_ref().map_or(&[], Snapshot::entries)
    }

    /// The entry at this path, links not followed.
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        self.snapshot.as_ref()?.find(path)
    }

    /// The path with links followed inside the tree and `..` clamped at its root; `None` if they are broken or form a loop
    /// (IA-UPD-001).
    pub fn resolve(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.snapshot {
            Some(snapshot) => snapshot.resolve(path.as_bytes()),
            None => Ok(None),
        }
    }

    /// Whether a path is a file or folder, with links in it followed.
    pub fn exists(&self, path: &str) -> Result<bool, Error> {
        match &self.snapshot {
            Some(snapshot) => snapshot.exists(path),
            None => Ok(false),
        }
    }

    /// A reader of the files' contents. It reads from disk, so use it on a blocking thread.
    ///
    /// # Errors
    /// [`Error::Object`], also in an empty repository.
    pub fn reader(&self) -> Result<Reader, Error> {
        match &self.snapshot {
            Some(snapshot) => snapshot.reader(),
            None => Err(Error::Object {
                what: "the object store".to_owned(),
                source: Fault::EmptyRemote,
            }),
        }
    }

    /// The number of bytes received for it.
    pub fn received_bytes(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, Snapshot::received_bytes)
    }

    /// Commits the changed files on top of [`WorkingCopy::head`], and moves the branch. Modes are kept, a new path becomes an
    /// ordinary file, and everything else in the tree keeps its bytes (IA-GIT-071). Blocks: reads from disk, and signs.
    ///
    /// Returns `None` if each content is what the file has: then nothing is done (IA-STATUS-024).
    ///
    /// # Errors
    /// [`CommitError::Files`] with [`Error::Path`] for a path that is not a file's or that a repository must not have
    /// (IA-GIT-112). The copy is then unchanged.
    pub fn commit_files(
        &mut self,
        changes: Vec<Change>,
        commit: &NewCommit,
        signer: Option<&SigningKey>,
    ) -> Result<Option<Commit>, CommitError> {
        let claim = Arc::clone(&self.remote.options.claim);
        let fetched = self.snapshot.as_ref().map(Snapshot::objects);
        let mut new = self.new.clone();
        let mut editor = Editor {
            fetched: fetched.transpose()?,
            new: &mut new,
            claim: &claim,
        };
        let changes = changes
            .into_iter()
            .map(|change| (change.path, change.content))
            .collect();
        let before = self.head.map(|(_, tree)| tree);
        let tree = editor.edit(before, changes)?;
        if before == Some(tree) {
            return Ok(None);
        }
        let parent = self.head_hash.as_ref().map(Hash::as_str);
        let raw = encode(commit, &tree.to_string(), parent, signer)?;
        let reference = self.branch.clone().unwrap_or_default();
        let name = self.branch.as_deref().unwrap_or(HEAD);
        let hash = |id: ObjectId| Hash::new(id.to_string());
        let id = crate::new_objects::hash(Kind::Commit, &raw).map_err(CommitError::Write)?;
        let made = Commit::parse(hash(id), &reference, &raw);
        new.add(&claim, Kind::Commit, raw)
            .map_err(CommitError::Write)?;
        self.references.insert(name.to_owned(), id);
        self.head = Some((id, tree));
        self.head_hash = Some(hash(id));
        self.new = new;
        Ok(Some(made))
    }

    /// Pushes the branch, or what the refspecs select, within `timeout` (IA-GIT-074 to IA-GIT-085). Only new objects are sent.
    ///
    /// Dropping the future cancels the push. If that, or the deadline, comes after the server has accepted the update, the
    /// branch has moved nevertheless; the server never keeps a part of an update.
    pub async fn push(
        &mut self,
        options: &PushOptions,
        timeout: Duration,
    ) -> Result<Vec<Pushed>, PushError> {
        let job = push::Job {
            remote: self.remote.clone(),
            current: self.branch.clone().unwrap_or_else(|| HEAD.to_owned()),
            references: self.references.clone(),
            seen: self.seen.clone(),
            layers: self.snapshot.as_ref().map(Snapshot::layers),
            new: self.new.clone(),
            options: options.clone(),
        };
        let pushed = push::push(job, timeout).await?;
        for update in &pushed {
            let new = ObjectId::from_hex(update.new.as_str().as_bytes()).ok();
            self.seen.insert(update.reference.clone(), new);
        }
        Ok(pushed)
    }
}
