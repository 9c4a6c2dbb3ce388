//! The strategies to find and fetch a commit (SC-GIT-040 to SC-GIT-060).

use std::cell::Cell;
use std::cmp::Ordering;
use std::num::NonZeroU32;

use flux_semver::{Constraints, parse_tag};
use gix::hash::ObjectId;
use gix::objs::Kind;

use crate::error::{Error, Fault};
use crate::object::{Commit, Tag};
use crate::protocol::{Conversation, Listed};
use crate::reference::{Reference, Strategy};
use crate::remote::{FetchOptions, Fetched, Phase, Remote, SharedSession};
use crate::revision::{Hash, transform_revision};
use crate::snapshot::Snapshot;
use crate::store::Store;

const ONE: Option<NonZeroU32> = NonZeroU32::new(1);
/// The maximum number of tags, differing only in build metadata, that are fetched to compare their dates.
const MAX_SAME_VERSION: usize = 1000;
/// The maximum number of branches that are fetched for a commit that the server does not serve by hash.
const MAX_BRANCHES: usize = 100_000;
/// The suffix by which a reference denotes the commit that a tag points to.
const PEELED: &str = "^{}";

/// What a working copy needs besides the selected commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// Whether to fetch the whole history instead of one commit (IA-GIT-045).
    pub(crate) full: bool,
    /// The full name of a branch to look for.
    pub(crate) branch: Option<String>,
    /// Whether the files of that branch are wanted, if it exists (IA-GIT-047).
    pub(crate) switches: bool,
}

/// A fetch's result, and what was found besides.
pub(crate) struct Found {
    pub(crate) fetched: Fetched,
    /// The commit whose files the snapshot has, and its tree.
    pub(crate) head: Option<(ObjectId, ObjectId)>,
    /// The tip of the extra branch.
    pub(crate) extra: Option<ObjectId>,
}

pub(crate) fn fetch(
    remote: &Remote,
    reference: &Reference,
    options: &FetchOptions,
    session: &SharedSession,
) -> Result<Fetched, Error> {
    fetch_with(remote, reference, options, &Extra::default(), session).map(|found| found.fetched)
}

pub(crate) fn fetch_with(
    remote: &Remote,
    reference: &Reference,
    options: &FetchOptions,
    extra: &Extra,
    session: &SharedSession,
) -> Result<Found, Error> {
    let fetch = Fetch {
        remote,
        options,
        session,
        extra,
        extra_tip: Cell::new(None),
        head: Cell::new(None),
        known: options
            .last_observed
            .as_deref()
            .map(transform_revision)
            .filter(|known| !known.is_empty()),
    };
    let fetched = match reference.strategy() {
        Strategy::Branch(branch) => fetch.branch(branch, None),
        Strategy::Tag(tag) => fetch.tag(tag, None),
        Strategy::SemVer(range) => fetch.semver(range),
        Strategy::Name(name) => fetch.name(name),
        Strategy::Commit { hash, branch, name } => fetch.commit(hash, branch, name),
    }?;
    Ok(Found {
        fetched,
        head: fetch.head.get(),
        extra: fetch.extra_tip.get(),
    })
}

struct Fetch<'a> {
    remote: &'a Remote,
    options: &'a FetchOptions,
    session: &'a SharedSession,
    extra: &'a Extra,
    extra_tip: Cell<Option<ObjectId>>,
    /// The commit whose files the snapshot has, and its tree.
    head: Cell<Option<(ObjectId, ObjectId)>>,
    /// The last observed revision, in its current form.
    known: Option<String>,
}

impl<'a> Fetch<'a> {
    /// The phase that faults while listing are attributed to: upstream lists separately from cloning only to compare.
    fn phase(&self) -> Phase {
        if self.known.is_some() {
            Phase::List
        } else {
            Phase::Clone
        }
    }

    fn begin(&self, phase: Phase) -> Result<Conversation<'a>, Error> {
        Conversation::begin(self.remote, self.session).map_err(self.remote.failing(phase))
    }

    fn store(&self) -> Result<Store, Error> {
        let options = &self.remote.options;
        let folder = options.temporary_folder.as_deref();
        Store::create(folder, options.limits.object, &options.claim)
            .map_err(self.remote.failing(Phase::Clone))
    }

    /// The number of commits of history to fetch.
    fn depth(&self) -> Option<NonZeroU32> {
        if self.extra.full { None } else { ONE }
    }

    /// Looks for the extra branch.
    fn find_extra(&self, talk: &mut Conversation<'_>) -> Result<(), Fault> {
        let wanted = self.extra.branch.as_deref();
        if let Some(name) = wanted.filter(|name| is_reference(name)) {
            self.note_extra(&talk.list(&[name])?);
        }
        Ok(())
    }

    fn note_extra(&self, listed: &[Listed]) {
        if let Some(name) = &self.extra.branch {
            let found = listed.iter().find(|listed| listed.name == *name);
            self.extra_tip.set(found.map(|listed| listed.target));
        }
    }

    /// What to fetch for the object `target`: with it the tip of the branch whose files are wanted.
    fn wants(&self, target: ObjectId) -> Vec<ObjectId> {
        let extra = self.extra_tip.get();
        let extra = extra.filter(|tip| self.extra.switches && *tip != target);
        std::iter::once(target).chain(extra).collect()
    }

    /// The reference of this name. If it is missing, distinguishes an empty repository from a missing reference.
    fn find(&self, talk: &mut Conversation<'_>, name: &str) -> Result<Listed, Fault> {
        if !is_reference(name) {
            return Err(Fault::ReferenceNotFound(name.to_owned()));
        }
        let extra = self.extra.branch.as_deref();
        let extra = extra.filter(|extra| is_reference(extra));
        let names: Vec<&str> = std::iter::once(name).chain(extra).collect();
        let listed = talk.list(&names)?;
        self.note_extra(&listed);
        let found = listed.iter().find(|listed| listed.name == name).cloned();
        match found {
            Some(found) => Ok(found),
            None if talk.list(&[])?.is_empty() => Err(Fault::EmptyRemote),
            None => Err(Fault::ReferenceNotFound(name.to_owned())),
        }
    }

    /// Returns the commit if it is the last observed one.
    fn unchanged(&self, label: &str, commit: ObjectId, reference: &str) -> Option<Fetched> {
        let hash = Hash::new(commit.to_string());
        let revision = if label.is_empty() {
            hash.digest()
        } else {
            format!("{label}@{}", hash.digest())
        };
        (self.known.as_ref() == Some(&revision))
            .then(|| Fetched::Unchanged(Box::new(Commit::listed(hash, reference))))
    }

    fn branch(&self, branch: &str, reference: Option<&str>) -> Result<Fetched, Error> {
        let full = format!("refs/heads/{branch}");
        let phase = self.phase();
        let mut talk = self.begin(phase)?;
        let tip = match self.find(&mut talk, &full) {
            Ok(tip) => tip,
            Err(Fault::EmptyRemote) if phase == Phase::Clone => return Ok(Fetched::Empty),
            // Upstream's listing succeeds for a missing branch; the clone after it fails.
            Err(fault @ Fault::ReferenceNotFound(_)) => {
                return Err(self.remote.failing(Phase::Clone)(fault));
            }
            Err(fault) => return Err(self.remote.failing(phase)(fault)),
        };
        if reference.is_none()
            && let Some(unchanged) = self.unchanged(branch, tip.commit(), &full)
        {
            return Ok(unchanged);
        }
        let store = self.store()?;
        talk.fetch(&self.wants(tip.target), self.depth(), &store)
            .map_err(self.remote.failing(Phase::Clone))?;
        self.snapshot(store, tip.commit(), reference.unwrap_or(&full), None)
    }

    /// `reference` is the full name to report if the tag was given as such.
    fn tag(&self, tag: &str, reference: Option<&str>) -> Result<Fetched, Error> {
        let full = format!("refs/tags/{tag}");
        let phase = self.phase();
        let mut talk = self.begin(phase)?;
        let found = match self.find(&mut talk, &full) {
            Ok(found) => found,
            Err(fault @ Fault::ReferenceNotFound(_)) => {
                return Err(self.remote.failing(Phase::Clone)(fault));
            }
            Err(fault) => return Err(self.remote.failing(phase)(fault)),
        };
        if reference.is_none()
            && let Some(unchanged) = self.unchanged(tag, found.commit(), &full)
        {
            return Ok(unchanged);
        }
        let store = self.store()?;
        talk.fetch(&self.wants(found.target), self.depth(), &store)
            .map_err(self.remote.failing(Phase::Clone))?;
        self.tagged(store, &found, reference.unwrap_or(&full), tag)
    }

    fn tagged(
        &self,
        store: Store,
        found: &Listed,
        reference: &str,
        tag: &str,
    ) -> Result<Fetched, Error> {
        let object = store
            .objects()
            .map_err(self.remote.failing(Phase::Clone))?
            .tag(&found.target)?;
        self.snapshot(
            store,
            found.commit(),
            reference,
            Some(object.unwrap_or_else(|| Tag::lightweight(tag))),
        )
    }

    fn semver(&self, range: &str) -> Result<Fetched, Error> {
        let range_text = range;
        let range = Constraints::parse(range).map_err(Error::SemVerInvalid)?;
        let clone = self.remote.failing(Phase::Clone);
        let mut talk = self.begin(Phase::Clone)?;
        let listed = talk.list(&["refs/tags/"]).map_err(&clone)?;
        if listed.is_empty() && talk.list(&[]).map_err(&clone)?.is_empty() {
            return Err(clone(Fault::EmptyRemote));
        }
        let mut candidates = highest(&listed, &range);
        drop(listed);
        if candidates.len() > MAX_SAME_VERSION {
            return Err(clone(Fault::TooLarge {
                limit: MAX_SAME_VERSION as u64,
                unit: "tags of the same version",
            }));
        }
        if candidates.is_empty() {
            return Err(Error::SemVerNoMatch(range_text.to_owned()));
        }
        if let [only] = &candidates[..]
            && let Some(unchanged) = self.unchanged(short(&only.name), only.commit(), &only.name)
        {
            return Ok(unchanged);
        }
        self.find_extra(&mut talk).map_err(&clone)?;
        let store = self.store()?;
        let mut wants: Vec<ObjectId> = candidates
            .iter()
            .flat_map(|listed| self.wants(listed.target))
            .collect();
        wants.sort();
        wants.dedup();
        talk.fetch(&wants, self.depth(), &store).map_err(&clone)?;
        if candidates.len() > 1 {
            // Of versions that differ only in build metadata, the newest commit wins (SC-GIT-044).
            let objects = store.objects().map_err(&clone)?;
            let mut dated = Vec::new();
            for listed in candidates {
                let (commit, _) = objects.commit(&listed.commit(), &listed.name)?;
                dated.push((commit.committer.seconds, listed));
            }
            dated.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
            candidates = dated.into_iter().map(|(_, listed)| listed).collect();
        }
        let Some(chosen) = candidates.last() else {
            return Err(Error::SemVerNoMatch(range_text.to_owned()));
        };
        if let Some(unchanged) = self.unchanged(short(&chosen.name), chosen.commit(), &chosen.name)
        {
            return Ok(unchanged);
        }
        self.tagged(store, chosen, &chosen.name, short(&chosen.name))
    }

    fn name(&self, name: &str) -> Result<Fetched, Error> {
        if name.starts_with('/') || name.ends_with('/') {
            return Err(Error::ReferenceInvalid(name.to_owned()));
        }
        let list = self.remote.failing(Phase::List);
        let bare = name.strip_suffix(PEELED).unwrap_or(name);
        let peeled_only = bare.len() != name.len();
        let mut talk = self.begin(Phase::List)?;
        let found = match self.find(&mut talk, bare) {
            Ok(found) if peeled_only && found.peeled.is_none() => {
                return Err(Error::ReferenceUnresolved(name.to_owned()));
            }
            Ok(found) => found,
            Err(Fault::ReferenceNotFound(_)) => {
                return Err(Error::ReferenceUnresolved(name.to_owned()));
            }
            Err(fault) => return Err(list(fault)),
        };
        if let Some(unchanged) = self.unchanged(name, found.commit(), name) {
            return Ok(unchanged);
        }
        let store = self.store()?;
        talk.fetch(&self.wants(found.target), self.depth(), &store)
            .map_err(self.remote.failing(Phase::Clone))?;
        match bare.strip_prefix("refs/tags/") {
            Some(tag) => self.tagged(store, &found, name, tag),
            None => self.snapshot(store, found.commit(), name, None),
        }
    }

    fn commit(
        &self,
        commit: &str,
        branch: Option<&str>,
        name: Option<&str>,
    ) -> Result<Fetched, Error> {
        let clone = self.remote.failing(Phase::Clone);
        let reference = match (name, branch) {
            (Some(name), _) => name.to_owned(),
            (None, Some(branch)) => format!("refs/heads/{branch}"),
            (None, None) => String::new(),
        };
        let not_found = || Error::CommitNotFound {
            commit: commit.to_owned(),
            source: Fault::ObjectNotFound,
        };
        let id = ObjectId::from_hex(commit.as_bytes()).ok();
        let mut talk = self.begin(Phase::Clone)?;
        let tip = branch.map(|branch| self.find(&mut talk, &format!("refs/heads/{branch}")));
        let tip = tip.transpose().map_err(&clone)?;
        let Some(id) = id else {
            return Err(not_found());
        };
        let label = Commit::listed(Hash::new(id.to_string()), &reference);
        let revision = if name.is_some() {
            label.absolute_revision()
        } else {
            label.revision()
        };
        if self.known.as_deref() == Some(revision.as_str()) {
            return Ok(Fetched::Unchanged(Box::new(label)));
        }
        if tip.is_none() {
            self.find_extra(&mut talk).map_err(&clone)?;
        }
        let store = match tip {
            // The commit must be in the branch's history.
            Some(tip) if self.extra.full || tip.commit() != id => {
                let store = self.store()?;
                talk.fetch(&self.wants(tip.target), None, &store)
                    .map_err(&clone)?;
                store
            }
            None if self.extra.full => all_branches(self.remote, talk)?.ok_or_else(not_found)?,
            Some(_) | None => self.one_commit(talk, id)?.ok_or_else(not_found)?,
        };
        let kind = store.objects().map_err(&clone)?.kind(&id);
        if kind != Some(Kind::Commit) {
            return Err(not_found());
        }
        let tag = reference.strip_prefix("refs/tags/").map(Tag::lightweight);
        self.snapshot(store, id, &reference, tag)
    }

    /// Fetches one commit by its hash or, if the server does not serve hashes, with all branches. `None` if a server
    /// that serves any hash does not have it.
    fn one_commit(&self, talk: Conversation<'a>, id: ObjectId) -> Result<Option<Store>, Error> {
        one_commit(self.remote, self.session, talk, id)
    }

    fn snapshot(
        &self,
        store: Store,
        commit: ObjectId,
        reference: &str,
        tag: Option<Tag>,
    ) -> Result<Fetched, Error> {
        let objects = store.objects().map_err(self.remote.failing(Phase::Clone))?;
        let id = commit;
        let (mut commit, tree) = objects.commit(&id, reference)?;
        commit.referencing_tag = tag;
        let extra = self.extra_tip.get().filter(|_| self.extra.switches);
        let (head, tree) = match extra {
            Some(tip) => (tip, objects.commit(&tip, "")?.1),
            None => (id, tree),
        };
        self.head.set(Some((head, tree)));
        let submodules = self.options.submodules && self.options.sparse.is_empty();
        let snapshot = Snapshot::build(
            self.remote,
            self.session,
            commit,
            store,
            tree,
            &self.options.sparse,
            submodules,
        )?;
        Ok(Fetched::Snapshot(Box::new(snapshot)))
    }
}

/// See [`Fetch::one_commit`]; also used for submodules.
pub(crate) fn one_commit<'a>(
    remote: &'a Remote,
    session: &'a SharedSession,
    talk: Conversation<'a>,
    id: ObjectId,
) -> Result<Option<Store>, Error> {
    let clone = remote.failing(Phase::Clone);
    let options = &remote.options;
    let is_v2 = talk.is_v2();
    let folder = options.temporary_folder.as_deref();
    let store = Store::create(folder, options.limits.object, &options.claim).map_err(&clone)?;
    match talk.fetch(&[id], ONE, &store) {
        Ok(()) => return Ok(Some(store)),
        Err(Fault::Protocol(text) | Fault::Remote(text) | Fault::ErrorLine(text)) => {
            if is_v2 && text.contains("not our ref") {
                return Ok(None);
            }
            let reason = remote.sent().mask(text);
            tracing::debug!(url = %remote.url, reason, "the server does not serve the commit by its hash");
        }
        Err(fault) => return Err(clone(fault)),
    }
    drop(store);
    let talk = Conversation::begin(remote, session).map_err(&clone)?;
    all_branches(remote, talk)
}

/// Fetches all branches with their history. `None` if the repository has no branches.
fn all_branches(remote: &Remote, mut talk: Conversation<'_>) -> Result<Option<Store>, Error> {
    let clone = remote.failing(Phase::Clone);
    let mut tips: Vec<ObjectId> = talk
        .list(&["refs/heads/"])
        .map_err(&clone)?
        .iter()
        .map(|listed| listed.target)
        .collect();
    tips.sort();
    tips.dedup();
    if tips.len() > MAX_BRANCHES {
        return Err(clone(Fault::TooLarge {
            limit: MAX_BRANCHES as u64,
            unit: "branches to search for the commit",
        }));
    }
    if tips.is_empty() {
        return Ok(None);
    }
    let options = &remote.options;
    let folder = options.temporary_folder.as_deref();
    let store = Store::create(folder, options.limits.object, &options.claim).map_err(&clone)?;
    talk.fetch(&tips, None, &store).map_err(&clone)?;
    Ok(Some(store))
}

/// The tags with the highest version in a range: several if they differ only in build metadata.
fn highest(listed: &[Listed], range: &Constraints) -> Vec<Listed> {
    let mut highest = None;
    let mut found: Vec<Listed> = Vec::new();
    for listed in listed {
        let name = listed.name.strip_prefix("refs/tags/").unwrap_or_default();
        let Ok(version) = parse_tag(name) else {
            continue;
        };
        if !range.check(&version) {
            continue;
        }
        match highest.as_ref().map(|highest| version.compare(highest)) {
            Some(Ordering::Less) => continue,
            Some(Ordering::Equal) => {}
            Some(Ordering::Greater) | None => {
                highest = Some(version);
                found.clear();
            }
        }
        if found.len() <= MAX_SAME_VERSION {
            found.push(listed.clone());
        }
    }
    found
}

/// Whether a reference can have this name.
fn is_reference(name: &str) -> bool {
    name == "HEAD"
        || (name.starts_with("refs/") && gix::validate::reference::name(name.into()).is_ok())
}

fn short(reference: &str) -> &str {
    reference.strip_prefix("refs/tags/").unwrap_or(reference)
}
