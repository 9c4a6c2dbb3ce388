//! The store: files below one folder, visible only when complete.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::NamedTempFile;

use crate::address::{artifact_url, with_host};
use crate::leftovers::Leftovers;
use crate::retention::{Retention, StoredFile, garbage};
use crate::scope::scoped;
use crate::{Algorithm, Digest, DigestError, Hasher};

/// How long one garbage collection may take (SC-ART-042).
const COLLECTION_LIMIT: Duration = Duration::from_secs(5);

/// The longest pause between two attempts to get a lock that another process holds.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The path of an object's artifacts: `<lower-case kind>/<namespace>/<name>` (SC-ART-002).
pub fn artifact_dir(kind: &str, namespace: &str, name: &str) -> String {
    format!("{}/{namespace}/{name}", kind.to_lowercase())
}

/// Whether `path` is that of a file directly in the folder of an object's artifacts. Another client may have written a
/// status, and its path may be that of another object's artifact.
pub fn is_artifact_of(path: &str, kind: &str, namespace: &str, name: &str) -> bool {
    let file = path
        .strip_prefix(&artifact_dir(kind, namespace, name))
        .and_then(|rest| rest.strip_prefix('/'));
    file.is_some_and(|file| !file.contains(['/', '\0']) && !matches!(file, "" | "." | ".."))
}

/// The storage of artifacts, and the host that it advertises.
#[derive(Clone, Debug)]
pub struct Storage {
    root: PathBuf,
    host: String,
    algorithm: Algorithm,
    retention: Retention,
}

/// A file that was stored as an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The store's folder does not exist (SC-ART-001).
    #[error("invalid dir path: {0}")]
    NotADirectory(PathBuf),
    /// An artifact's path is empty or has a loop of links.
    #[error("invalid artifact path '{0}'")]
    Path(String),
    /// The file system returned an error.
    #[error("{action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// Some garbage could not be removed, or not in time.
    #[error("failed to remove files: {0}")]
    Garbage(String),
}

/// Why an artifact does not match its status (SC-ART-033).
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The status has no digest.
    #[error("artifact has no digest")]
    NoDigest,
    /// The recorded digest is invalid.
    #[error("failed to parse artifact digest '{text}'")]
    BadDigest {
        /// The recorded text.
        text: String,
        /// Why it is invalid.
        #[source]
        source: DigestError,
    },
    /// The file has another digest.
    #[error("computed digest doesn't match '{0}'")]
    Mismatch(Digest),
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] StorageError),
}

impl VerifyError {
    /// Whether the file or its digest is permanently wrong. Otherwise it could not be read, which may be transient.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::NoDigest | Self::BadDigest { .. } | Self::Mismatch(_) => true,
            Self::Read(_) => false,
        }
    }
}

impl Storage {
    /// Opens the store in `root`, which has to exist. `host` is used in URLs (see [`crate::advertised_address`]).
    pub fn open(
        root: impl Into<PathBuf>,
        host: impl Into<String>,
        algorithm: Algorithm,
        retention: Retention,
    ) -> Result<Self, StorageError> {
        let root = root.into();
        if !root.is_dir() {
            return Err(StorageError::NotADirectory(root));
        }
        Ok(Self {
            root,
            host: host.into(),
            algorithm,
            retention,
        })
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The algorithm of new digests.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The URL of the artifact at `path` (SC-ART-024).
    pub fn url(&self, path: &str) -> String {
        artifact_url(&self.host, path)
    }

    /// `url` with its host replaced by the store's current one (SC-ART-026).
    pub fn rehosted(&self, url: &str) -> String {
        with_host(url, &self.host)
    }

    /// The file path of the artifact at `path`, never outside the store (SC-ART-012).
    pub fn locate(&self, path: &str) -> Result<PathBuf, StorageError> {
        let file = scoped(&self.root, path).filter(|file| *file != self.root);
        file.ok_or_else(|| StorageError::Path(path.to_owned()))
    }

    /// Whether there is a regular file at `path` (SC-ART-013). Fails if that cannot be determined.
    pub fn exists(&self, path: &str) -> Result<bool, StorageError> {
        let Ok(file) = self.locate(path) else {
            return Ok(false);
        };
        match file.symlink_metadata() {
            Ok(found) => Ok(found.is_file()),
            Err(source) if is_missing(&source) => Ok(false),
            Err(source) => Err(failed("lstat", &file, source)),
        }
    }

    /// Opens the artifact at `path` for reading.
    pub fn read(&self, path: &str) -> Result<File, StorageError> {
        let file = self.locate(path)?;
        File::open(&file).map_err(|source| failed("open", &file, source))
    }

    /// Checks the artifact at `path` against the digest in its status, which may use any algorithm (SC-ART-035).
    pub fn verify(&self, path: &str, digest: &str) -> Result<(), VerifyError> {
        if digest.is_empty() {
            return Err(VerifyError::NoDigest);
        }
        let bad = |source| VerifyError::BadDigest {
            text: digest.to_owned(),
            source,
        };
        let wanted: Digest = digest.parse().map_err(bad)?;
        let mut file = self.read(path)?;
        let mut hasher = wanted.algorithm().hasher();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut buffer);
            match read.map_err(|source| failed("read", Path::new(path), source))? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        if hasher.finish() == wanted {
            Ok(())
        } else {
            Err(VerifyError::Mismatch(wanted))
        }
    }

    /// Creates the folder of the artifact at `path`, mode 0700 (SC-ART-005).
    pub fn make_dir(&self, path: &str) -> Result<(), StorageError> {
        let dir = folder_of(&self.locate(path)?);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| failed("mkdir", &dir, source))
    }

    /// Takes the lock of the artifact at `path`, waiting for at most `patience`. It is released when the guard is
    /// dropped; its file remains (SC-ART-007).
    ///
    /// # Errors
    ///
    /// [`StorageError::Path`]; [`StorageError::Io`] if the file cannot be created or locked, of the kind
    /// [`TimedOut`](io::ErrorKind::TimedOut) if others held the lock the whole time.
    pub fn lock(&self, path: &str, patience: Duration) -> Result<Lock, StorageError> {
        let file = lock_file(&self.locate(path)?);
        let taken = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o666)
            .open(&file)
            .and_then(|file| wait_for_lock(&file, patience).map(|()| file));
        match taken {
            Ok(file) => Ok(Lock { _file: file }),
            Err(source) => Err(failed("lock", &file, source)),
        }
    }

    /// Begins the artifact at `path`. [`Writing::commit`] makes it visible; without it, nothing remains (SC-ART-006).
    pub fn create(&self, path: &str) -> Result<Writing, StorageError> {
        let target = self.locate(path)?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".");
        let dir = folder_of(&target);
        // The library's own way to open it has the name of the temporary file in its errors, which would read another way
        // at each attempt.
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            options.open(path)
        };
        let temporary = tempfile::Builder::new().prefix(&name).make_in(&dir, open);
        Ok(Writing {
            file: temporary.map_err(|source| failed("create", &dir, source))?,
            hasher: self.algorithm.hasher(),
            size: 0,
            target,
        })
    }

    /// Links `name` to the artifact at `path`, in its folder, and returns the link's URL (SC-ART-009, SC-ART-010).
    pub fn link(&self, path: &str, name: &str) -> Result<String, StorageError> {
        let target = self.locate(path)?;
        let link = folder_of(&target).join(name);
        let aside = folder_of(&target).join(format!("{name}.tmp"));
        match fs::remove_file(&aside) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &aside, source));
            }
            _ => {}
        }
        symlink(&target, &aside).map_err(|source| failed("symlink", &aside, source))?;
        fs::rename(&aside, &link).map_err(|source| failed("rename", &link, source))?;
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        Ok(format!("http://{}/{dir}/{name}", self.host))
    }

    /// Removes the artifact at `path`.
    pub fn remove(&self, path: &str) -> Result<(), StorageError> {
        let file = self.locate(path)?;
        fs::remove_file(&file).map_err(|source| failed("remove", &file, source))
    }

    /// Removes the folder `dir` with everything that an object has stored, and returns whether it existed (SC-ART-045).
    pub fn remove_all(&self, dir: &str) -> Result<bool, StorageError> {
        let dir = self.locate(dir)?;
        match fs::remove_dir_all(&dir) {
            Ok(()) => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(failed("remove", &dir, source)),
        }
    }

    /// Removes what a process that was killed before `begin` has left: unfinished artifacts and links, and locks whose
    /// artifact is gone. Returns how many there were, and what could not be removed.
    pub fn remove_leftovers(&self, begin: SystemTime) -> Leftovers {
        let mut leftovers = Leftovers::default();
        leftovers.remove_below(&self.root, begin);
        leftovers
    }

    /// Removes files from the folder of the artifact at `path` by the retention rules, and returns how many were
    /// removed (SC-ART-040 to SC-ART-042).
    pub fn collect_garbage(&self, path: &str) -> Result<usize, StorageError> {
        let current = self.locate(path)?;
        let dir = folder_of(&current);
        let files = stored_files(&dir).map_err(|source| failed("list", &dir, source))?;
        let victims = garbage(&files, &current, SystemTime::now(), self.retention);
        let begun = Instant::now();
        let mut problems = Vec::new();
        let mut removed = 0;
        for victim in victims {
            if begun.elapsed() > COLLECTION_LIMIT {
                problems.push("out of time".to_owned());
                break;
            }
            match fs::remove_file(&victim.path) {
                Ok(()) => removed += 1,
                Err(error) => problems.push(format!("{}: {error}", victim.path.display())),
            }
            let lock = lock_file(&victim.path);
            match fs::remove_file(&lock) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    problems.push(format!("{}: {error}", lock.display()));
                }
                _ => {}
            }
        }
        if problems.is_empty() {
            Ok(removed)
        } else {
            Err(StorageError::Garbage(problems.join(", ")))
        }
    }
}

/// Locks a file with a timeout, which the system call does not have.
fn wait_for_lock(file: &File, patience: Duration) -> io::Result<()> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = patience.saturating_sub(begin.elapsed());
        if left.is_zero() {
            let text = format!("held by another process for more than {patience:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// An artifact being written.
pub struct Writing {
    file: NamedTempFile,
    hasher: Hasher,
    size: u64,
    target: PathBuf,
}

impl Writing {
    /// Makes the artifact visible under its name, with mode 0600, after its bytes were synced to disk.
    pub fn commit(self) -> Result<Stored, StorageError> {
        let synced = self.file.as_file().sync_all();
        synced.map_err(|source| failed("sync", &self.target, source))?;
        let persisted = self.file.persist(&self.target);
        persisted.map_err(|error| failed("rename", &self.target, error.error))?;
        let dir = folder_of(&self.target);
        let synced = File::open(&dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| failed("sync", &dir, source))?;
        Ok(Stored {
            digest: self.hasher.finish(),
            size: self.size,
        })
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.as_file_mut().write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// The regular files in `dir` that count for retention: without links and locks.
fn stored_files(dir: &Path) -> io::Result<Vec<StoredFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let found = match path.symlink_metadata() {
            // Removed by another run in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        if found.is_file() && path.extension().is_none_or(|extension| extension != "lock") {
            files.push(StoredFile {
                modified: found.modified()?,
                path,
            });
        }
    }
    Ok(files)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}

fn lock_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StorageError {
    StorageError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn a_lock_that_the_system_refuses_is_an_error() {
        /// `O_PATH` of Linux: the file can be named, but neither read nor locked.
        const NAME_ONLY: i32 = 0o10_000_000;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(NAME_ONLY)
            .open("/")
            .unwrap();
        let error = wait_for_lock(&file, Duration::from_mins(1)).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }
}
