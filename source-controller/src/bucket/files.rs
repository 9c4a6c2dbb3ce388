//! The files of a bucket's artifact: of objects that were downloaded, and of those that did not change since the last artifact.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flux_artifact::{
    Content, ContentEntry, ExtractError, ExtractOptions, ReadContent, Spooled, extract_spooled,
};
use flux_bucket::Store;
use flux_budget::Claim;
use flux_ignore::IGNORE_FILE;

use super::failure::{Fault, KeyFault};
use super::index::Index;

/// The most bytes of an ignore file that is read into memory; larger ones are refused before.
const MAX_READ: u64 = 4 << 20;

/// Where the content of a file is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In the last artifact, by its handle.
    Held(Bytes),
    /// In a file of the folder, by its number.
    Fetched(usize),
    /// The ignore file.
    Rules,
}

/// Reads the contents.
pub(super) struct Files {
    /// The folder of downloads.
    pub(super) folder: PathBuf,
    /// The last artifact, unpacked.
    pub(super) held: Option<Spooled>,
    /// The ignore file that was read last.
    pub(super) text: Vec<u8>,
}

impl Files {
    /// The file that the object with this number is downloaded to.
    pub(super) fn path(folder: &Path, number: usize) -> PathBuf {
        folder.join(number.to_string())
    }

    /// The file that the ignore file is downloaded to.
    pub(super) fn rules(folder: &Path) -> PathBuf {
        folder.join("rules")
    }

    fn file(&self, place: &Place) -> PathBuf {
        match place {
            Place::Fetched(number) => Self::path(&self.folder, *number),
            Place::Held(_) | Place::Rules => Self::rules(&self.folder),
        }
    }
}

impl ReadContent for Files {
    type Handle = Place;

    fn read<'s>(&'s mut self, place: &'s Place) -> io::Result<&'s [u8]> {
        let mut text = Vec::new();
        let (_, content) = self.open(place)?;
        content.take(MAX_READ).read_to_end(&mut text)?;
        self.text = text;
        Ok(&self.text)
    }

    fn open<'s>(&'s mut self, place: &'s Place) -> io::Result<(u64, Box<dyn Read + 's>)> {
        if let Place::Held(handle) = place {
            let held = self.held.as_mut().ok_or(io::ErrorKind::NotFound)?;
            return held.open(handle);
        }
        let file = File::open(self.file(place))?;
        Ok((file.metadata()?.len(), Box::new(BufReader::new(file))))
    }
}

/// Unpacks the last artifact into a file of the folder.
pub(super) fn unpack(archive: File, folder: &Path, claim: Claim) -> Result<Spooled, ExtractError> {
    let options = ExtractOptions {
        max_bytes: u64::MAX, // it was made by this controller, and its digest was checked
        max_entries: usize::MAX,
        ..ExtractOptions::default()
    };
    let file = tempfile::tempfile_in(folder).map_err(ExtractError::Spool)?;
    extract_spooled(archive, &options, claim, file)
}

/// The handle of each file in the last artifact, by its path.
pub(super) fn handles(held: &Spooled) -> BTreeMap<Vec<u8>, Bytes> {
    let content = held.content();
    let files = content.iter().filter_map(|(path, entry)| match entry {
        ContentEntry::File { content, .. } => Some((path, content.clone())),
        ContentEntry::Directory | ContentEntry::Symlink { .. } => None,
    });
    files.collect()
}

/// The path of each object's file, checked against all others: two objects may not become one file, and none may be a file and a
/// folder at once (SC-BKT-034, SC-BKT-067). The error has the key that is refused.
pub(super) fn paths(
    index: &Index,
    has_rules: bool,
) -> Result<BTreeMap<String, String>, (String, Fault)> {
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    if has_rules {
        keys.insert(IGNORE_FILE.to_owned(), IGNORE_FILE.to_owned());
    }
    for (key, _) in index.iter() {
        let refused = |fault: Fault| (key.clone(), fault);
        let path = Store::path(key).map_err(|error| refused(Fault::Store(Box::new(error))))?;
        if let Some(other) = keys.insert(path, key.clone()) {
            return Err(refused(KeyFault::Twice(other).into()));
        }
    }
    for (path, key) in &keys {
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).and_then(|above| keys.get(above));
            if let Some(above) = above {
                let fault = KeyFault::Folder { below: key.clone() };
                return Err((above.clone(), fault.into()));
            }
        }
    }
    if has_rules {
        keys.remove(IGNORE_FILE);
    }
    Ok(keys.into_iter().map(|(path, key)| (key, path)).collect())
}

/// The content of the artifact.
pub(super) fn content(
    files: impl Iterator<Item = (String, Place)>,
    has_rules: bool,
) -> Content<Place> {
    let mut content = Content::new();
    let file = |content| ContentEntry::File {
        executable: false,
        content,
    };
    if has_rules {
        content.insert(IGNORE_FILE.as_bytes(), file(Place::Rules));
    }
    for (path, place) in files {
        content.insert(path.as_bytes(), file(place));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::super::index::Object;
    use super::*;

    fn index(keys: &[&str]) -> Index {
        let mut index = Index::new(Claim::unlimited());
        for key in keys {
            let object = Object {
                etag: "1".to_owned(),
                size: 0,
            };
            index.add((*key).to_owned(), object).unwrap();
        }
        index
    }

    // SC-BKT-034, SC-BKT-067
    #[test]
    fn objects_that_cannot_both_be_files_are_refused() {
        for (keys, has_rules, key, why) in [
            (
                &["a", "a/b"][..],
                false,
                "a",
                "filename is a directory: 'a/b' is below it",
            ),
            (
                &["a", "a-b", "a/b/c/d"],
                false,
                "a",
                "filename is a directory: 'a/b/c/d' is below it",
            ),
            (
                &["a/b", "a//b"],
                false,
                "a/b",
                "the object 'a//b' has the same path",
            ),
            (
                &["/.sourceignore"],
                true,
                "/.sourceignore",
                "the object '.sourceignore' has the same path",
            ),
            (
                &[".sourceignore/a"],
                true,
                ".sourceignore",
                "filename is a directory: '.sourceignore/a' is below it",
            ),
            (
                &["a/../b"],
                false,
                "a/../b",
                "the key has '.' or '..' between slashes",
            ),
        ] {
            let (refused, fault) = paths(&index(keys), has_rules).unwrap_err();
            assert_eq!((refused.as_str(), fault.to_string().as_str()), (key, why));
        }
        let paths = paths(&index(&["/a", "b//c", "b.c"]), false).unwrap();
        let pairs: Vec<_> = paths
            .iter()
            .map(|(k, p)| (k.as_str(), p.as_str()))
            .collect();
        assert_eq!(pairs, [("/a", "a"), ("b.c", "b.c"), ("b//c", "b/c")]);
    }
}
