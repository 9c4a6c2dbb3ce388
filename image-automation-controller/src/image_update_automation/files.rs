//! Finds the files with markers in a checkout and updates them, in memory: nothing is written to disk, so that no link can
//! lead out of the repository.

use std::collections::BTreeMap;

use flux_budget::{Claim, Exhausted};
use flux_git::{Change, Entry, EntryKind, Error as GitError, Reader, WorkingCopy};
use flux_setters::{Changes, Setters, Skipped};

/// The largest file that is looked at, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Memory that reading a file takes, as a multiple of its size.
const MEMORY_FACTOR: u64 = 64;
/// The most links that are followed to a file, and the longest target of one, as on Linux.
const MAX_LINKS: usize = 40;
const MAX_TARGET: u64 = 4096;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// The new contents.
    pub(super) files: Vec<Change>,
    /// The changes of values. There may be some without new contents.
    pub(super) changes: Changes,
    /// What was left as it is, and why.
    pub(super) notes: Vec<Note>,
}

/// A file, or a marker in it, without effect (IA-UPD-009, IA-UPD-012).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Note {
    /// The file, relative to the folder that was searched.
    pub(super) path: String,
    /// The line, if it is about one.
    pub(super) line: Option<usize>,
    /// Why.
    pub(super) text: String,
}

/// Why files cannot be updated.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// The update path does not exist (IA-UPD-003).
    #[error("walking path for files: lstat {0}: no such file or directory")]
    Missing(String),
    /// A file cannot be read.
    #[error("reading YAML file")]
    Read(#[from] GitError),
    /// The memory is taken by other work.
    #[error("reading YAML file")]
    Memory(#[from] Exhausted),
}

/// Updates the marked values of all files at `path`, a folder or a file; the empty path is the root (IA-UPD-001,
/// IA-UPD-002).
///
/// # Errors
/// The path does not exist, or a file cannot be read.
pub(super) fn update(
    copy: &WorkingCopy,
    path: &str,
    setters: &Setters,
    claim: &Claim,
) -> Result<Update, FilesError> {
    let missing = || FilesError::Missing(path.to_owned());
    let root = copy.resolve(path)?.ok_or_else(missing)?;
    let reader = copy.reader()?;
    let found = select(copy.entries(), &root);
    if found.is_empty() && !root.is_empty() {
        return Err(missing());
    }
    let mut walk = Walk {
        copy,
        reader,
        setters,
        claim,
        update: Update::default(),
        contents: BTreeMap::new(),
    };
    for entry in found {
        let relative = relative(entry.path(), &root);
        if flux_setters::is_candidate(entry.path()) {
            walk.file(entry, &String::from_utf8_lossy(relative))?;
        }
    }
    let mut update = walk.update;
    let contents = walk.contents.into_iter();
    update.files = contents
        .map(|(path, content)| Change { path, content })
        .collect();
    Ok(update)
}

/// The entries below a folder, or the one file of this path.
fn select<'e>(entries: &'e [Entry], root: &[u8]) -> Vec<&'e Entry> {
    let is_below = |path: &[u8]| {
        root.is_empty()
            || path
                .strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let entries = entries.iter();
    entries.filter(|entry| is_below(entry.path())).collect()
}

/// A path as the change record has it: relative to the folder, or the name of the only file (IA-UPD-080).
fn relative<'p>(path: &'p [u8], root: &[u8]) -> &'p [u8] {
    let rest = path.strip_prefix(root).unwrap_or(path);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    if rest.is_empty() {
        path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
    } else {
        rest
    }
}

struct Walk<'w> {
    copy: &'w WorkingCopy,
    reader: Reader,
    setters: &'w Setters,
    claim: &'w Claim,
    update: Update,
    /// The new contents by the path of the file, which several links may lead to.
    contents: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<'w> Walk<'w> {
    /// Updates one file, or the file that a link leads to; links that lead nowhere, or out of the repository, are skipped
    /// (IA-UPD-007, IA-UPD-008).
    fn file(&mut self, entry: &'w Entry, relative: &str) -> Result<(), FilesError> {
        let entry = match entry.kind() {
            EntryKind::File | EntryKind::Executable => entry,
            EntryKind::Submodule => return Ok(()),
            EntryKind::Symlink => match self.target(entry)? {
                Some(target) => target,
                None => return Ok(()),
            },
        };
        let size = self.reader.size(entry)?;
        if size > MAX_FILE {
            tracing::debug!(
                path = relative,
                size,
                "file is too large to look for markers"
            );
            return Ok(());
        }
        let content = self.reader.read(entry)?;
        if !flux_setters::is_marked(&content) {
            return Ok(());
        }
        tracing::trace!(path = relative, "reading file");
        let Ok(text) = std::str::from_utf8(&content) else {
            self.problem(relative, "it is not UTF-8");
            return Ok(());
        };
        let bytes = size.saturating_mul(MEMORY_FACTOR);
        if let Err(exhausted) = self.claim.take(bytes) {
            if exhausted.is_too_large() {
                self.problem(relative, &exhausted.to_string());
                return Ok(());
            }
            return Err(exhausted.into());
        }
        let updated = flux_setters::update(text, self.setters);
        self.claim.give_back(bytes);
        match updated {
            Err(problem) => self.problem(relative, &flux_runtime::outcome::chain(&problem)),
            Ok(updated) => {
                for (_, change) in &updated.changes {
                    tracing::trace!(
                        path = relative,
                        setter = change.setter,
                        old = change.old_value,
                        new = change.new_value,
                        "applying setter"
                    );
                }
                self.update.changes.add(relative, updated.changes);
                self.update.notes.extend(
                    updated
                        .skipped
                        .iter()
                        .map(|skipped| note(relative, skipped)),
                );
                if let Some(content) = updated.content {
                    let path = entry.path().to_vec();
                    self.contents.insert(path, content.into_bytes());
                }
            }
        }
        Ok(())
    }

    fn problem(&mut self, path: &str, text: &str) {
        tracing::trace!(path, reason = text, "problem file");
        self.update.notes.push(Note {
            path: path.to_owned(),
            line: None,
            text: text.to_owned(),
        });
    }

    /// The file that a link leads to within the repository.
    fn target(&self, link: &Entry) -> Result<Option<&'w Entry>, FilesError> {
        let copy: &'w WorkingCopy = self.copy;
        let mut rest: Vec<Vec<u8>> = parts(link.path());
        let mut resolved: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if resolved.pop().is_none() {
                        return Ok(None); // it leads out of the repository
                    }
                    continue;
                }
                _ => resolved.push(part),
            }
            let Some(entry) = copy.find(resolved.join(&b'/')) else {
                continue;
            };
            if entry.kind() == EntryKind::Symlink {
                links += 1;
                if links > MAX_LINKS || self.reader.size(entry)? > MAX_TARGET {
                    return Ok(None);
                }
                let target = self.reader.read(entry)?;
                if target.starts_with(b"/") {
                    return Ok(None);
                }
                resolved.pop();
                rest.extend(parts(&target));
            }
        }
        let found = copy.find(resolved.join(&b'/'));
        let is_file =
            |entry: &&Entry| matches!(entry.kind(), EntryKind::File | EntryKind::Executable);
        Ok(found.filter(is_file))
    }
}

/// The parts of a path, the first one last.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').rev();
    parts.map(<[u8]>::to_vec).collect()
}

fn note(path: &str, skipped: &Skipped) -> Note {
    Note {
        path: path.to_owned(),
        line: Some(skipped.line),
        text: skipped.why.to_string(),
    }
}

#[cfg(test)]
mod tests;
