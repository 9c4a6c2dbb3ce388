//! What a run did to each object.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use flux_cluster::{Object, ObjectId, Target, is_current_as_written};
use serde_json::Value;

/// How many stored objects are kept: what a large stage leaves is listed by one request for each kind.
const STORED: usize = 16;

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It was created.
    Created,
    /// It was changed.
    Configured,
    /// It was in sync.
    Unchanged,
    /// It was deleted, or did not exist.
    Deleted,
    /// It was skipped because its metadata asks for it.
    Skipped,
    /// The action is unknown, since a request failed.
    Unknown,
}

impl Action {
    /// The word used in logs and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }

    /// Whether something was changed, which is worth an event (KC-SSA-035).
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Skipped | Self::Unchanged)
    }
}

/// What was done to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub id: ObjectId,
    /// The version of its kind, without group.
    pub version: String,
    /// What was done.
    pub action: Action,
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.action.as_str())
    }
}

/// What was done to each object, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// The changes.
    pub changes: Vec<Change>,
    /// The first objects of which their answers do not show that they are current, as the last answer had them.
    stored: HashMap<ObjectId, Arc<Value>>,
}

impl ChangeSet {
    /// Adds the change of an object; `live` is the last answer about it.
    pub(crate) fn push(&mut self, change: Change, live: Option<&Object>) {
        if let Some(live) = live
            && self.stored.len() < STORED
            && !is_current_as_written(live)
        {
            let stored = Arc::new(live.clone().into_value());
            self.stored.insert(change.id.clone(), stored);
        }
        self.changes.push(change);
    }

    /// Adds the changes of a later stage.
    pub(crate) fn extend(&mut self, later: Self) {
        self.changes.extend(later.changes);
        let room = STORED.saturating_sub(self.stored.len());
        self.stored.extend(later.stored.into_iter().take(room));
    }

    /// What to wait for if the changed object shall be current.
    pub fn target(&self, change: &Change) -> Target {
        Target {
            stored: self.stored.get(&change.id).cloned(),
            ..Target::of(&change.id, &change.version)
        }
    }

    /// The lines of the changed objects, without a final newline; empty if there were no changes.
    pub fn changed_lines(&self) -> String {
        let lines: Vec<String> = self
            .changes
            .iter()
            .filter(|change| change.action.is_change())
            .map(Change::to_string)
            .collect();
        lines.join("\n")
    }
}

impl From<Vec<Change>> for ChangeSet {
    fn from(changes: Vec<Change>) -> Self {
        Self {
            changes,
            stored: HashMap::new(),
        }
    }
}

/// Formats as one line per object.
impl Display for ChangeSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, change) in self.changes.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{change}")?;
        }
        Ok(())
    }
}
