//! Removes the tags of repositories that are gone: deleted while no process could see it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use flux_runtime::queue::Key;

use super::format::remove_all;

/// The logger of the removal, as upstream names it.
pub(crate) const LOGGER: &str = "filesystem-storage-gc";

/// Removes the folders of repositories that are not `known` below `kind`, and then those of namespaces without any.
pub(super) fn remove(kind: &Path, known: &HashSet<Key>) -> usize {
    let mut removed = 0;
    for (namespace, folder) in folders(kind) {
        for (name, folder) in folders(&folder) {
            let key = Key::new(&*namespace, &*name);
            if known.contains(&key) {
                continue;
            }
            match remove_all(&folder) {
                Ok(()) => {
                    removed += 1;
                    let path = folder.display().to_string();
                    tracing::debug!(
                        logger = LOGGER,
                        repository = %key,
                        path,
                        "deleted orphaned filesystem storage entry"
                    );
                }
                Err(error) => tracing::error!(
                    logger = LOGGER,
                    error = %error,
                    repository = %key,
                    "failed to delete orphaned filesystem storage entry"
                ),
            }
        }
        // Fails for a folder that is not empty.
        if fs::remove_dir(&folder).is_ok() {
            let path = folder.display().to_string();
            tracing::debug!(logger = LOGGER, path, "removed empty namespace directory");
        }
    }
    removed
}

/// The folders in `path`, by name; none if it does not exist.
fn folders(path: &Path) -> Vec<(String, PathBuf)> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!(
                    logger = LOGGER,
                    error = %error,
                    path = %path.display(),
                    "failed to enumerate filesystem storage entries"
                );
            }
            return Vec::new();
        }
    };
    let folders = entries.flatten().filter_map(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().into_string().ok()?;
        is_folder.then(|| (name, entry.path()))
    });
    folders.collect()
}
