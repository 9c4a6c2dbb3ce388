//! Folders of build results and running programs outside of the checkout, and their keys.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::failure::{Doing, Failure, Result};

/// The folder shared by all checkouts: `$FLUX_TEST_CACHE`, else `$XDG_CACHE_HOME/flux-rs`, else `~/.cache/flux-rs`.
pub fn folder() -> Result<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = variable("FLUX_TEST_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("flux-rs")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/flux-rs")))
        .ok_or_else(|| Failure::new("no cache folder: set FLUX_TEST_CACHE or HOME"))?;
    fs::create_dir_all(&folder).doing(format!("create {}", folder.display()))?;
    Ok(folder)
}

/// The root of the checkout this crate was compiled in.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// A key derived from everything that a cached result depends on.
#[derive(Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds an input; its length is part of the key, so that adjacent inputs cannot be confused.
    pub fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// Adds the name and content of every file of `folder` (not below it) that `wanted` accepts, ordered by name.
    pub fn with_files(mut self, folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Self> {
        for path in files(folder, wanted)? {
            self = self
                .with(path.file_name().unwrap_or_default().as_encoded_bytes())
                .with(fs::read(&path).doing(format!("read {}", path.display()))?);
        }
        Ok(self)
    }

    /// The key: sixteen hexadecimal digits.
    pub fn key(self) -> String {
        let digest = self.0.finalize();
        hex::encode(&digest[..8])
    }
}

/// The files of `folder` whose name `wanted` accepts, sorted; empty if the folder does not exist.
pub fn files(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing(format!("list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() && wanted(Path::new(&entry.file_name())) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Locks `path` against other processes and threads; dropping the returned file unlocks it.
pub fn lock(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File::create(path).doing(format!("open {}", path.display()))?;
    file.lock().doing(format!("lock {}", path.display()))?;
    Ok(file)
}

/// Returns the folder `parent/key`, created by `make` in a temporary folder if it does not exist. Folders of other keys
/// that were unused for two weeks are deleted.
pub fn folder_of(parent: &Path, key: &str, make: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let _lock = lock(&parent.join("lock"))?;
    let ready = parent.join(key);
    let used = ready.join(".used");
    if !ready.is_dir() {
        let aside = parent.join(format!("{key}.new"));
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::create_dir_all(&aside)?;
        make(&aside)?;
        fs::rename(&aside, &ready)?;
        forget_unused(parent)?;
    }
    fs::write(used, "")?;
    Ok(ready)
}

fn forget_unused(parent: &Path) -> Result {
    let old = SystemTime::now() - Duration::from_hours(336);
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        if let Ok(used) = fs::metadata(path.join(".used")).and_then(|found| found.modified())
            && used < old
        {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// Copies the folder `from` recursively to `to`.
pub fn copy_folder(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).doing(format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).doing(format!("copy to {}", target.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn inputs_with_the_same_concatenation_have_different_keys() {
        let key = |inputs: &[&str]| {
            inputs
                .iter()
                .fold(Fingerprint::default(), Fingerprint::with)
                .key()
        };
        assert_eq!(key(&["ab", "c"]).len(), 16);
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
    }
}
