//! Removes what a killed process has left in the store.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, FileType};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// The file extensions of artifacts (SC-ART-003).
const ENDINGS: [&str; 3] = [".tar.gz", ".tgz", ".yaml"];

/// The length of the random part of a temporary file's name.
const RANDOM: usize = 6;

/// The depth of the store's folders: kind, namespace, name.
const DEPTH: usize = 3;

/// The result of removing leftovers.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// How many files were removed.
    pub removed: usize,
    /// What could not be read or removed, with the reasons.
    pub problems: Vec<String>,
}

impl Leftovers {
    pub(crate) fn remove_below(&mut self, root: &Path, begin: SystemTime) {
        let mut folders = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.note(&folder, &error);
                    continue;
                }
            };
            for entry in entries.filter_map(Result::ok) {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth < DEPTH => {
                        folders.push((entry.path(), depth + 1));
                    }
                    Ok(kind) if is_leftover(&entry, kind, begin) => self.remove(&entry.path()),
                    _ => {}
                }
            }
        }
    }

    fn remove(&mut self, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => self.removed += 1,
            Err(error) => self.note(path, &error),
        }
    }

    fn note(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.problems.push(format!("{}: {error}", path.display()));
        }
    }
}

fn is_leftover(entry: &DirEntry, kind: FileType, begin: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|found| found.modified());
    if !modified.is_ok_and(|modified| modified < begin) {
        return false;
    }
    let (name, path) = (entry.file_name(), entry.path());
    if kind.is_symlink() {
        return path.extension() == Some(OsStr::new("tmp"));
    }
    kind.is_file() && (is_temporary(&name) || is_lock_of_nothing(&path))
}

/// Whether a name is that of an unfinished artifact: the artifact's name, a dot and random characters (SC-ART-006).
fn is_temporary(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.rsplit_once('.'));
    parts.is_some_and(|(artifact, random)| {
        random.len() == RANDOM
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && ENDINGS.iter().any(|ending| artifact.ends_with(ending))
    })
}

/// Whether a file is the lock of an artifact that does not exist, and is not held.
fn is_lock_of_nothing(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("lock"))
        && path
            .with_extension("")
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        && File::open(path).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_recognised_by_name() {
        for (name, temporary) in [
            ("0c4f.tar.gz.aB3dE9", true),
            ("sha256:0c4f.tar.gz.abcdef", true),
            ("index-0c4f.yaml.abcdef", true),
            ("app-1.0.0.tgz.abcdef", true),
            ("0c4f.tar.gz", false),
            ("0c4f.tar.gz.lock", false),
            ("0c4f.tar.gz.abcde", false),
            ("0c4f.tar.gz.abcd-f", false),
            ("index.abcdef", false),
            ("app-1.0.abcdef", false),
        ] {
            assert_eq!(is_temporary(OsStr::new(name)), temporary, "{name}");
        }
    }
}
