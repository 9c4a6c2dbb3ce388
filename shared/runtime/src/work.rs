//! Folders for temporary files of running work. A process that was killed leaves its folders behind; the next one that
//! starts removes them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::outcome::chain;

/// The file in a process' folder that is locked for as long as the process lives.
const LOCK: &str = "lock";

/// The work folders of one process, below a folder that all processes of its controller share.
///
/// Processes may share it at the same time: two controllers on one machine, or one that is shutting down while the next
/// starts. A lock, which the kernel releases when its process ends, distinguishes folders in use from leftovers.
/// Clones share the folder of the process.
#[derive(Clone, Debug)]
pub struct WorkFolders {
    shared: PathBuf,
    own: Arc<Mutex<Option<Own>>>,
}

/// The folder of this process.
#[derive(Debug)]
struct Own {
    folder: TempDir,
    _lock: File,
}

impl WorkFolders {
    /// Work folders below the system's folder for temporary files, for the controller `name`. Nothing is created yet.
    pub fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// Work folders of the controller `name`, after removing what a killed process has left there (SC-PROC-061). The
    /// log reports what was removed, and a failure to create the folders: then [`folder`](Self::folder) tries again.
    pub fn opened(name: &str) -> Self {
        let work = Self::new(name);
        match work.open() {
            Ok(0) => {}
            Ok(count) => tracing::info!(logger = "setup", count, "removed leftover work folders"),
            Err(error) => tracing::error!(
                logger = "setup",
                error = chain(&error),
                "cannot open work folders"
            ),
        }
        work
    }

    /// Work folders below `parent`, which must exist when they are created.
    pub fn below(parent: &Path, name: &str) -> Self {
        Self {
            shared: parent.join(format!("flux-{name}")),
            own: Arc::default(),
        }
    }

    /// Creates the folder of this process, and removes those of processes that have ended; returns how many were
    /// removed.
    pub fn open(&self) -> io::Result<usize> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_some() {
            return Ok(0);
        }
        match fs::create_dir(&self.shared) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let message = format!("mkdir {}: {error}", self.shared.display());
                return Err(io::Error::new(error.kind(), message));
            }
            _ => {}
        }
        // One process at a time: a folder that is not locked yet must not be taken for a leftover.
        let guard = File::create(self.shared.join(LOCK))?;
        guard.lock()?;
        let folder = TempDir::with_prefix_in("process-", &self.shared)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        let removed = remove_leftovers(&self.shared)?;
        *own = Some(Own {
            folder,
            _lock: lock,
        });
        Ok(removed)
    }

    /// Creates a folder whose name begins with `prefix`. It is removed when the value is dropped.
    pub fn folder(&self, prefix: &str) -> io::Result<TempDir> {
        self.open()?;
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let own = own.as_ref().ok_or(io::ErrorKind::NotFound)?;
        TempDir::with_prefix_in(prefix, own.folder.path())
    }
}

/// Removes the folders that no living process has locked.
fn remove_leftovers(shared: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(shared)? {
        let folder = entry?.path();
        if !folder.is_dir() {
            continue;
        }
        let lives = match File::open(folder.join(LOCK)) {
            Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if !lives {
            fs::remove_dir_all(&folder)?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn only_folders_of_dead_processes_are_removed() {
        let parent = TempDir::new().unwrap();
        let first = WorkFolders::below(parent.path(), "test");
        let kept = first.folder("one-").unwrap();
        fs::write(kept.path().join("pack"), "1").unwrap();

        // KC-PROC-074
        // A killed process: its folder exists, its lock does not.
        let dead = parent.path().join("flux-test/process-dead");
        fs::create_dir_all(dead.join("one-x")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("one-x/pack"), "1").unwrap();

        let second = WorkFolders::below(parent.path(), "test");
        assert_eq!(second.open().unwrap(), 1);
        assert_eq!(second.open().unwrap(), 0);
        assert!(!dead.exists());
        assert!(kept.path().join("pack").exists());

        drop(kept);
        drop(first);
        // What remains: the lock of all, and the folder of the second.
        assert_eq!(names(&parent.path().join("flux-test")), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_an_error_and_retried() {
        let parent = TempDir::new().unwrap();
        let missing = parent.path().join("later");
        let work = WorkFolders::below(&missing, "test");
        work.folder("one-").unwrap_err();
        fs::create_dir(&missing).unwrap();
        let folder = work.folder("one-").unwrap();
        assert!(folder.path().starts_with(&missing));
    }
}
