//! The files that a build reads and that may be encrypted: those of Secret generators, and patches (KC-SOPS-002 to
//! KC-SOPS-010).

use std::collections::BTreeSet;

use bytes::Bytes;
use flux_golang::path;
use flux_golang::url::Url;
use flux_sops::{Answers, Format, Keyring};
use flux_tree::{Entry, Tree, TreePath};
use flux_yaml::Value;

use super::file::{self, Attempt, FileError};

/// The largest file that is decrypted (KC-SOPS-006).
const MAX_FILE: usize = 5 << 20;
/// How many symbolic links may be followed on the way to a file.
const MAX_LINKS: usize = 255;
/// The names of kustomization files.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Where the tree would be on a disk: upstream joins paths as text, so that one that leaves the root gets here.
const ROOT: &str = "/tmp/kustomization-0";

/// Why the files of a build were not decrypted. Paths are shown relative to the root (KC-SOPS-007).
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SourcesError {
    #[error("lstat {0}: no such file or directory")]
    Absent(String),
    #[error("cannot decrypt irregular file as it has file mode type bits set")]
    Irregular,
    #[error("cannot decrypt file with size ({0} bytes) exceeding limit ({MAX_FILE})")]
    TooLarge(usize),
    #[error("found multiple kustomization files")]
    Several,
    #[error("no kustomization file found")]
    NoKustomization,
    #[error("expected {0} to be a regular file")]
    NotRegular(&'static str),
    #[error("failed to unmarshal kustomization file from '/{path}': {message}")]
    Malformed { path: TreePath, message: String },
    #[error("too many levels of symbolic links")]
    Links,
    #[error(transparent)]
    File(#[from] FileError),
}

/// A file to decrypt.
#[derive(Clone, Debug)]
pub(crate) struct Encrypted {
    pub(crate) path: TreePath,
    pub(crate) format: Format,
    pub(crate) content: Bytes,
    /// Whether its values become part of objects of any kind, as those of patches do.
    pub(crate) is_patch: bool,
}

impl Encrypted {
    pub(super) fn decrypt(
        &self,
        ring: &Keyring,
        answers: &Answers,
    ) -> Result<Attempt<file::Decrypted>, FileError> {
        file::decrypt(&self.content, (self.format, self.format), ring, answers)
    }
}

/// The encrypted files of a build in the order in which they are found, and why no more were looked for.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<Encrypted>,
    pub(crate) error: Option<SourcesError>,
}

/// Finds the encrypted files of the build of `dir`.
pub(crate) fn find(tree: &Tree, dir: &TreePath) -> Found {
    let mut walk = Walk {
        tree,
        found: Vec::new(),
        read: BTreeSet::new(),
        visited: BTreeSet::new(),
    };
    let error = walk.folders(&format!("{ROOT}/{}", dir.as_str())).err();
    Found {
        files: walk.found,
        error,
    }
}

struct Walk<'t> {
    tree: &'t Tree,
    found: Vec<Encrypted>,
    /// Files that are decrypted, or need not be.
    read: BTreeSet<TreePath>,
    visited: BTreeSet<TreePath>,
}

impl Walk<'_> {
    /// Visits a folder and all that its kustomization refers to, depth first.
    fn folders(&mut self, first: &str) -> Result<(), SourcesError> {
        let mut open = vec![first.to_owned()];
        let mut is_first = true;
        while let Some(folder) = open.pop() {
            let at = self.resolve(&folder)?;
            if !self.visited.insert(at.clone()) {
                continue;
            }
            // What is not there may be an address, and a file is an object (KC-SOPS-008).
            if !self.tree.is_dir(&at) || !matches!(self.tree.get(&at), Some(Entry::Directory)) {
                if is_first {
                    return Err(SourcesError::Absent(at.to_string()));
                }
                continue;
            }
            is_first = false;
            let kustomization = self.kustomization(&at)?;
            self.references(&folder, &kustomization)?;
            let below = ["resources", "components"]
                .into_iter()
                .flat_map(|field| texts(&kustomization, field));
            let below: Vec<String> = below.map(|path| joined(&folder, path)).collect();
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// The kustomization of a folder (KC-SOPS-009).
    fn kustomization(&self, folder: &TreePath) -> Result<Value, SourcesError> {
        let mut found = None;
        for name in NAMES {
            let path = self.resolve(&format!("{ROOT}/{}/{name}", folder.as_str()))?;
            match self.tree.get(&path) {
                None => {}
                Some(Entry::File(file)) if found.is_none() => found = Some((path, file)),
                Some(Entry::File(_)) => return Err(SourcesError::Several),
                Some(_) => return Err(SourcesError::NotRegular(name)),
            }
        }
        let (path, file) = found.ok_or(SourcesError::NoKustomization)?;
        let value = flux_yaml::sigs::from_str(&file.content);
        value.map_err(|error| SourcesError::Malformed {
            path,
            message: error.without_text().to_string(),
        })
    }

    /// The files of Secret generators and the patches (KC-SOPS-003).
    fn references(&mut self, folder: &str, kustomization: &Value) -> Result<(), SourcesError> {
        for generator in items(kustomization, "secretGenerator") {
            for source in texts(generator, "files") {
                let (key, path) = source.split_once('=').unwrap_or((source, source));
                self.file(folder, path, Format::of_path(key), false)?;
            }
            for path in texts(generator, "envs") {
                let format = match Format::of_path(path) {
                    Format::Binary => Format::Dotenv,
                    format => format,
                };
                self.file(folder, path, format, false)?;
            }
        }
        for patch in items(kustomization, "patches") {
            let path = patch
                .get("path")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !path.is_empty() && !is_remote(path) {
                self.file(folder, path, Format::of_path(path), true)?;
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        folder: &str,
        path: &str,
        format: Format,
        is_patch: bool,
    ) -> Result<(), SourcesError> {
        let at = self.resolve(&joined(folder, path))?;
        if self.read.contains(&at) {
            return Ok(());
        }
        let file = match self.tree.get(&at) {
            None => return Err(SourcesError::Absent(at.to_string())),
            Some(Entry::File(file)) => file,
            Some(_) => return Err(SourcesError::Irregular),
        };
        let size = file.content.len();
        if size > MAX_FILE {
            return Err(SourcesError::TooLarge(size));
        }
        // KC-SOPS-005
        if format.marks(&file.content) {
            self.found.push(Encrypted {
                path: at.clone(),
                format,
                content: file.content.clone(),
                is_patch,
            });
        }
        self.read.insert(at);
        Ok(())
    }

    /// The path below the root that a path on the disk leads to. Links are followed, and neither they nor the path leave the
    /// root (KC-SOPS-007).
    fn resolve(&self, full: &str) -> Result<TreePath, SourcesError> {
        let cleaned = path::clean(full);
        let inner = match cleaned.strip_prefix(ROOT) {
            Some("") => "",
            Some(inner) if inner.starts_with('/') => inner,
            _ => &cleaned,
        };
        let mut done = TreePath::root();
        let mut open: Vec<String> = parts(inner).collect();
        let mut links = 0;
        while let Some(part) = open.pop() {
            let next = done.join_clamped(&part).map_err(|_| SourcesError::Links)?;
            let Some(Entry::Symlink(target)) = self.tree.get(&next) else {
                done = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(SourcesError::Links);
            }
            if target.starts_with('/') {
                done = TreePath::root();
            }
            open.extend(parts(target));
        }
        Ok(done)
    }
}

/// The parts of a path, the last first.
fn parts(path: &str) -> impl Iterator<Item = String> + '_ {
    let parts = path.rsplit('/').filter(|part| !matches!(*part, "" | "."));
    parts.map(str::to_owned)
}

/// A path as seen from a folder; one that is absolute stays.
fn joined(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        path::join(folder, path)
    }
}

/// Whether a path is an address with a scheme and a host.
fn is_remote(path: &str) -> bool {
    Url::parse(path.as_bytes()).is_ok_and(|url| !url.scheme.is_empty() && !url.host.is_empty())
}

fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_seq).unwrap_or_default()
}

fn texts<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v str> {
    items(value, field).iter().filter_map(Value::as_str)
}
