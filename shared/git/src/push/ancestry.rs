//! Whether one commit is in the history of another, as far as that is known here.

use std::collections::HashSet;

use gix::hash::ObjectId;
use gix::objs::{CommitRefIter, Kind};

use super::Job;
use crate::error::{Error, Fault};
use crate::memory::{ClaimedVec, Portion};
use crate::remote::SharedSession;
use crate::store::Store;

/// The memory of a visited commit in bytes.
const VISITED: usize = 64;

impl Job {
    /// Whether `old` is `new` or in its history. In a shallow clone the history ends early: then an older commit is not found, and
    /// the update counts as one that does not move forward.
    pub(super) fn is_ancestor(
        &self,
        old: ObjectId,
        new: ObjectId,
        session: &SharedSession,
    ) -> Result<bool, Fault> {
        let claim = &self.remote.options.claim;
        let fetched = self.layers.as_ref().and_then(|layers| layers.first());
        let fetched = fetched
            .map(|store: &Store| store.objects_until(Some(session.stop_flag())))
            .transpose()?;
        let mut visited = HashSet::new();
        let mut memory = Portion::take(claim, "history", 0)?;
        let mut pending = ClaimedVec::new(claim, "history");
        pending.push(new, 0)?;
        while let Some(id) = pending.pop(|_| 0) {
            session.check()?;
            if id == old {
                return Ok(true);
            }
            if !visited.insert(id) {
                continue;
            }
            memory.grow(VISITED)?;
            let mut parents = Vec::new();
            if let Some(raw) = self.new.read(&id, Kind::Commit) {
                parents.extend(CommitRefIter::from_bytes(raw, gix::hash::Kind::Sha1).parent_ids());
            } else if let Some(objects) = &fetched
                && objects.kind(&id) == Some(Kind::Commit)
            {
                let raw = objects.read(&id, Kind::Commit).map_err(fault_of)?;
                parents.extend(CommitRefIter::from_bytes(&raw, gix::hash::Kind::Sha1).parent_ids());
            }
            for parent in parents {
                pending.push(parent, 0)?;
            }
        }
        Ok(false)
    }

    /// Whether this commit is known here.
    pub(super) fn has_commit(&self, id: &ObjectId) -> bool {
        let is_fetched = || {
            let store = self.layers.as_ref()?.first()?;
            Some(store.objects().ok()?.kind(id)? == Kind::Commit)
        };
        self.new.read(id, Kind::Commit).is_some() || is_fetched().unwrap_or_default()
    }
}

fn fault_of(error: Error) -> Fault {
    match error {
        Error::Object { source, .. } => source,
        other => Fault::Corrupt(other.to_string()),
    }
}
