//! The format of the folder: a marker that says that it holds files, and the removal of what another format left.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The file with the version of the format.
const VERSION_FILE: &str = ".storage-version";
/// The file that is there while the folder is emptied.
const WIPE_FILE: &str = ".storage-wipe-in-progress";
/// The version of files; a Badger database has none (IR-DB-011).
const VERSION: &str = "2";

/// Why the folder is not ready. The texts are upstream's.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub(crate) struct FormatError {
    /// The step.
    step: String,
    /// Why.
    #[source]
    source: io::Error,
}

fn failed(step: impl Into<String>) -> impl FnOnce(io::Error) -> FormatError {
    let step = step.into();
    move |source| FormatError { step, source }
}

/// Makes a folder for tags of `root`. One of another format, such as that of a Badger database, is emptied once: first a
/// marker is written, then the version, then everything else is removed, so that a process that is killed in between leaves a
/// folder that the next one goes on with (IR-DB-010 to IR-DB-014).
pub(super) fn prepare(root: &Path) -> Result<(), FormatError> {
    make_folder(root).map_err(failed("failed to create storage path"))?;
    if version(root)?.as_deref() != Some(VERSION) {
        begin_wipe(root)?;
        let written = write_synced(root, VERSION_FILE, format!("{VERSION}\n").as_bytes());
        written.map_err(failed("failed to write storage version"))?;
    }
    let marker = root.join(WIPE_FILE);
    let exists = marker
        .try_exists()
        .map_err(failed(format!("failed to stat {}", marker.display())))?;
    if !exists {
        return Ok(());
    }
    wipe(root)?;
    sync(root).map_err(failed("failed to sync storage path after wipe"))?;
    match fs::remove_file(&marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("failed to remove wipe marker")(error));
        }
        _ => {}
    }
    sync(root).map_err(failed("failed to sync storage path after marker removal"))
}

/// The version that the folder has, without blanks around it (IR-DB-014).
fn version(root: &Path) -> Result<Option<String>, FormatError> {
    match fs::read(root.join(VERSION_FILE)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("failed to read storage version")(error)),
    }
}

fn begin_wipe(root: &Path) -> Result<(), FormatError> {
    let mut options = OpenOptions::new();
    let options = options.create(true).write(true).truncate(false).mode(0o600);
    let marker = options
        .open(root.join(WIPE_FILE))
        .map_err(failed("failed to create wipe marker"))?;
    let synced = marker.sync_all();
    synced.map_err(failed("failed to sync wipe marker"))?;
    sync(root).map_err(failed("failed to sync storage path after marker creation"))
}

/// Removes everything but the markers.
fn wipe(root: &Path) -> Result<(), FormatError> {
    let entries = fs::read_dir(root).map_err(failed("failed to read storage path"))?;
    for entry in entries {
        let entry = entry.map_err(failed("failed to read storage path"))?;
        let name = entry.file_name();
        if name != VERSION_FILE && name != WIPE_FILE {
            let step = format!("failed to remove storage entry \"{}\"", name.display());
            remove_all(&entry.path()).map_err(failed(step))?;
        }
    }
    Ok(())
}

/// Removes a file, a link, or a folder with its content. It may be missing. An empty folder needs no right to be read, as the
/// `lost+found` of a file system.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir(path).or_else(|_| fs::remove_dir_all(path)),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a folder, and those that it is in, for this process's user only.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file for this process's user only: once it has the name, it has the whole content, on disk.
pub(super) fn write_synced(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    let persisted = file.persist(folder.join(name));
    persisted.map_err(|error| error.error)?;
    sync(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
