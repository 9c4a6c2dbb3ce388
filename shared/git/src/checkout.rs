//! Writes a snapshot's files to disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::{fs, io};

use crate::error::Error;
use crate::snapshot::{EntryKind, Snapshot};

impl Snapshot {
    /// Writes the files into `folder`, which must be empty, with the repository's content: line endings are not
    /// converted and no filters run, whatever `.gitattributes` says (as in upstream's library). Blocks.
    ///
    /// Links are created last, and no existing file or link is written through, so that no entry can leave the folder
    /// (SC-GIT-070, RT-GIT-015).
    pub fn checkout(&self, folder: &Path) -> Result<(), Error> {
        let failed = |path: &[u8]| {
            let path = String::from_utf8_lossy(path).into_owned();
            move |source: io::Error| Error::Write { path, source }
        };
        if fs::read_dir(folder).map_err(failed(b"."))?.next().is_some() {
            return Err(failed(b".")(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        let reader = self.reader()?;
        let mut made = Vec::new();
        let of_links = |links: bool| {
            self.entries()
                .iter()
                .filter(move |entry| (entry.kind() == EntryKind::Symlink) == links)
        };
        for entry in of_links(false).chain(of_links(true)) {
            let path = folder.join(OsStr::from_bytes(entry.path()));
            let slash = entry.path().iter().rposition(|byte| *byte == b'/');
            if let Some(parent) = slash.map(|at| &entry.path()[..at])
                && parent != made
            {
                make_folders(folder, parent).map_err(failed(parent))?;
                parent.clone_into(&mut made);
            }
            let written = match entry.kind() {
                EntryKind::Submodule => fs::create_dir(&path),
                EntryKind::Symlink => symlink(OsStr::from_bytes(&reader.read(entry)?), &path),
                kind => {
                    let mode = if kind == EntryKind::Executable {
                        0o755
                    } else {
                        0o644
                    };
                    let mut content = reader.open(entry)?;
                    let file = fs::OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(mode)
                        .open(&path);
                    file.and_then(|mut file| io::copy(&mut content, &mut file).map(|_| ()))
                }
            };
            written.map_err(failed(entry.path()))?;
        }
        Ok(())
    }
}

/// Creates the folders of `path` below `root`; a link in place of one is an error.
fn make_folders(root: &Path, path: &[u8]) -> io::Result<()> {
    let mut at = root.to_owned();
    for part in path.split(|byte| *byte == b'/') {
        at.push(OsStr::from_bytes(part));
        match fs::create_dir(&at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&at)?.is_dir() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
