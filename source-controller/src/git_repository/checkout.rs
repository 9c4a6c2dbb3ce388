//! A commit fetched from its remote.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flux_api::meta::GoDuration;
use flux_api::source::{GitRepositoryRef, GitRepositorySpec};
use flux_budget::Claim;
use flux_git::{
    Commit, Content as Held, EntryKind, FetchOptions, Fetched, Reader, Reference, RemoteOptions,
    Snapshot, SshAlgorithms,
};
use flux_runtime::outcome::chain;

use super::archive::Source;
use super::content::{Content, Entry};
use super::failure::StepError;
use super::remote::Remote;

/// How long a checkout may take where the spec does not say (SC-GIT-002).
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// What is asked of the remote.
#[derive(Debug)]
pub(super) struct Wanted {
    reference: Reference,
    options: FetchOptions,
    timeout: Duration,
}

impl Wanted {
    /// What the spec asks for; `last_observed` is the revision with which nothing needs to be fetched (SC-GIT-060).
    pub(super) fn of(spec: &GitRepositorySpec, last_observed: Option<String>) -> Self {
        let prefix = |path: &String| path.strip_prefix("./").unwrap_or(path).to_owned();
        Self {
            reference: spec.reference.as_ref().map(reference).unwrap_or_default(),
            options: FetchOptions {
                last_observed,
                sparse: spec.sparse_checkout.iter().map(prefix).collect(),
                submodules: spec.recurse_submodules,
            },
            timeout: spec.timeout.map_or(DEFAULT_TIMEOUT, GoDuration::to_std),
        }
    }

    /// How long the fetch may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn reference(spec: &GitRepositoryRef) -> Reference {
    Reference {
        branch: spec.branch.clone(),
        tag: spec.tag.clone(),
        semver: spec.semver.clone(),
        name: spec.name.clone(),
        commit: spec.commit.clone(),
    }
}

/// What the remote has.
#[derive(Debug)]
pub(super) enum Found {
    /// The revision that was known: only hash and reference of the commit were listed.
    Unchanged(Box<Commit>),
    /// Something else, which was fetched.
    Fetched(Box<Snapshot>),
}

/// Fetches the commit, keeping its objects in `dir` and taking memory through `claim` (SC-GIT-026, SC-GIT-027, SC-GIT-029).
pub(super) async fn fetch(
    remote: &Remote,
    wanted: &Wanted,
    dir: &Path,
    claim: &Arc<Claim>,
) -> Result<Found, StepError> {
    let options = RemoteOptions {
        proxy: remote.proxy.clone(),
        ssh: SshAlgorithms {
            kex: remote.settings.kex_algorithms.clone(),
            host_key: remote.settings.host_key_algorithms.clone(),
        },
        credentials_over_http: true, // SC-GIT-120
        temporary_folder: Some(dir.to_owned()),
        claim: claim.clone(),
        ..RemoteOptions::default()
    };
    let remote = flux_git::Remote::new(remote.url.clone(), remote.auth.clone(), options)
        .map_err(StepError::Client)?;
    let fetched = remote
        .fetch(&wanted.reference, &wanted.options, wanted.timeout)
        .await;
    match fetched.map_err(StepError::Checkout)? {
        Fetched::Unchanged(commit) => Ok(Found::Unchanged(commit)),
        Fetched::Snapshot(snapshot) => Ok(Found::Fetched(snapshot)),
        _ => Err(StepError::Empty),
    }
}

/// Whether each folder of a sparse checkout is there (SC-GIT-074).
pub(super) fn check_sparse_paths(
    spec: &GitRepositorySpec,
    snapshot: &Snapshot,
) -> Result<(), StepError> {
    for path in &spec.sparse_checkout {
        if !snapshot.exists(path).map_err(StepError::Checkout)? {
            return Err(StepError::SparseMissing(path.clone()));
        }
    }
    Ok(())
}

/// The files of a snapshot, read from its packs without a checkout.
pub(super) struct Files {
    snapshot: Box<Snapshot>,
    reader: Reader,
    /// What was read last.
    held: Option<Arc<Held>>,
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(super) enum Blob {
    /// Of the snapshot's entry of this number.
    Entry(usize),
    /// Of an included artifact.
    Bytes(Bytes),
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl Files {
    /// Prepares the files for the archive; what the table of them takes is taken through `claim`.
    pub(super) fn of(snapshot: Box<Snapshot>, claim: &Claim) -> Result<Self, StepError> {
        let paths = snapshot.entries().iter().map(flux_git::Entry::path);
        claim.take(memory(paths)).map_err(StepError::Memory)?;
        let reader = snapshot.reader().map_err(StepError::Checkout)?;
        Ok(Self {
            snapshot,
            reader,
            held: None,
        })
    }

    fn entry(&self, number: usize) -> io::Result<&flux_git::Entry> {
        let entry = self.snapshot.entries().get(number);
        entry.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What a path takes in [`Content`] besides its own bytes.
const ENTRY_BYTES: u64 = 192;
/// The most bytes of an ignore file or of the target of a link, which are held in memory.
const MAX_READ: u64 = 4 << 20;

/// The memory that [`Content`] takes for these sorted paths and the folders above them.
fn memory<'p>(paths: impl Iterator<Item = &'p [u8]>) -> u64 {
    let (mut sum, mut last): (u64, &[u8]) = (0, b"");
    for path in paths {
        let same = path.iter().zip(last).take_while(|(a, b)| a == b).count();
        let folders = path.iter().enumerate().skip(same);
        for (at, _) in folders.filter(|(_, byte)| **byte == b'/') {
            sum += ENTRY_BYTES + at as u64;
        }
        sum += ENTRY_BYTES + path.len() as u64;
        last = path;
    }
    sum
}

fn failed(error: &flux_git::Error) -> io::Error {
    io::Error::other(chain(error))
}

impl Source for Files {
    type Blob = Blob;

    fn content(&self) -> Content<Blob> {
        let mut content = Content::new();
        for (number, entry) in self.snapshot.entries().iter().enumerate() {
            let blob = Blob::Entry(number);
            let found = match entry.kind() {
                EntryKind::File => Entry::File {
                    executable: false,
                    content: blob,
                },
                EntryKind::Executable => Entry::File {
                    executable: true,
                    content: blob,
                },
                EntryKind::Symlink => Entry::Symlink { target: blob },
                EntryKind::Submodule => Entry::Directory,
            };
            content.insert(entry.path(), found);
        }
        content
    }

    fn read<'s>(&'s mut self, blob: &'s Blob) -> io::Result<&'s [u8]> {
        let number = match blob {
            Blob::Bytes(bytes) => return Ok(bytes),
            Blob::Entry(number) => *number,
        };
        let entry = self.entry(number)?;
        let size = self.reader.size(entry).map_err(|error| failed(&error))?;
        if size > MAX_READ {
            return Err(io::Error::other(format!(
                "it has {size} bytes, and {MAX_READ} at most are read"
            )));
        }
        let read = self.reader.read(entry).map_err(|error| failed(&error))?;
        Ok(self.held.insert(read))
    }

    fn open<'s>(&'s mut self, blob: &'s Blob) -> io::Result<(u64, Box<dyn Read + 's>)> {
        match blob {
            Blob::Bytes(bytes) => Ok((bytes.len() as u64, Box::new(&bytes[..]))),
            Blob::Entry(number) => {
                let stream = self.reader.open(self.entry(*number)?);
                let stream = stream.map_err(|error| failed(&error))?;
                Ok((stream.remaining(), Box::new(stream)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_take_memory_once() {
        let of = |paths: &[&str]| memory(paths.iter().map(|path| path.as_bytes()));
        let entries = |count: u64, bytes: u64| count * ENTRY_BYTES + bytes;
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&["a"]), entries(1, 1));
        // a, a/b, a/b/c, a/b/d, a/bc
        assert_eq!(
            of(&["a/b/c", "a/b/d", "a/bc"]),
            entries(5, 1 + 3 + 5 + 5 + 4)
        );
    }

    // SC-GIT-002, SC-GIT-060, SC-GIT-073
    #[test]
    fn what_the_spec_asks_for() {
        let spec = GitRepositorySpec {
            sparse_checkout: vec!["./a".into(), "b/".into(), "././c".into()],
            recurse_submodules: true,
            reference: Some(GitRepositoryRef {
                branch: Some("main".into()),
                tag: Some("v1".into()),
                ..GitRepositoryRef::default()
            }),
            ..GitRepositorySpec::default()
        };
        let wanted = Wanted::of(&spec, Some("main@sha1:0".into()));
        assert_eq!(wanted.options.sparse, ["a", "b/", "./c"]);
        assert!(wanted.options.submodules);
        assert_eq!(wanted.options.last_observed.as_deref(), Some("main@sha1:0"));
        assert_eq!(wanted.reference.branch.as_deref(), Some("main"));
        assert_eq!(wanted.reference.tag.as_deref(), Some("v1"));
        assert_eq!(wanted.timeout, DEFAULT_TIMEOUT);
        let hurried = GitRepositorySpec {
            timeout: Some("5s".parse().unwrap()),
            ..GitRepositorySpec::default()
        };
        assert_eq!(Wanted::of(&hurried, None).timeout, Duration::from_secs(5));
        assert_eq!(Wanted::of(&hurried, None).reference, Reference::default());
    }
}
