//! Puts files into the storage.

use std::io::{self, Write};

use flux_artifact::{
    Content, Lock, PackError, ReadContent, RulesError, StorageError, Stored, Writing,
};
use flux_ignore::Filter;

use crate::{Deadline, Guarded, Publisher};

/// Which files are left out of an archive.
#[derive(Clone, Copy)]
pub enum Rules<'r> {
    /// Those of the ignore files in the content, and of `spec.ignore` (SC-ART-070, SC-ART-074).
    OfContent(Option<&'r str>),
    /// By this filter, ignoring the ignore files in the content (SW-ART-016, SW-ART-018).
    Given(&'r Filter),
}

/// Why a file could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the artifact cannot be created.
    #[error(transparent)]
    Directory(StorageError),
    /// The artifact cannot be locked.
    #[error(transparent)]
    Lock(StorageError),
    /// The ignore rules of the content cannot be read.
    #[error(transparent)]
    Rules(RulesError),
    /// The file cannot be written.
    #[error(transparent)]
    Write(WriteError),
}

/// Why the file of an artifact could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The content could not be archived, or not in time.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The writer of the file failed, or missed its deadline.
    #[error(transparent)]
    Source(#[from] io::Error),
}

impl Publisher {
    /// Archives what `rules` leave of `content` and stores it at `path`, visible only when complete. Blocks.
    ///
    /// # Errors
    /// The content cannot be read, the storage fails, or `deadline` has passed.
    pub fn store<R: ReadContent>(
        &self,
        path: &str,
        content: &Content<R::Handle>,
        read: &mut R,
        rules: Rules<'_>,
        deadline: Deadline,
    ) -> Result<Stored, StoreError> {
        let _lock = self.lock(path, deadline)?;
        let own;
        let filter = match rules {
            Rules::Given(filter) => filter,
            Rules::OfContent(spec) => {
                own = content.filter(spec, read).map_err(StoreError::Rules)?;
                &own
            }
        };
        self.write(path, deadline, |file| {
            Ok(content.pack(filter, read, || deadline.check(), file)?)
        })
    }

    /// Stores what `write` writes at `path`, unchanged: an index, a chart, a layer. Visible only when complete. Blocks.
    ///
    /// # Errors
    /// `write` fails, the storage fails, or `deadline` has passed.
    pub fn store_file(
        &self,
        path: &str,
        deadline: Deadline,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Stored, StoreError> {
        let _lock = self.lock(path, deadline)?;
        self.write(path, deadline, |mut file| {
            write(&mut file)?;
            Ok(file)
        })
    }

    /// Creates the folder of the artifact, and takes its lock.
    fn lock(&self, path: &str, deadline: Deadline) -> Result<Lock, StoreError> {
        self.storage.make_dir(path).map_err(StoreError::Directory)?;
        let lock = self.storage.lock(path, deadline.left());
        lock.map_err(StoreError::Lock)
    }

    fn write(
        &self,
        path: &str,
        deadline: Deadline,
        write: impl FnOnce(Guarded<Writing>) -> Result<Guarded<Writing>, WriteError>,
    ) -> Result<Stored, StoreError> {
        let writing = self.storage.create(path).map_err(WriteError::from);
        let stored = writing.and_then(|writing| {
            let written = write(deadline.guard(writing))?;
            Ok(written.into_inner().commit()?)
        });
        stored.map_err(StoreError::Write)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use flux_artifact::{
        Algorithm, ContentEntry, ExtractOptions, InMemory, Retention, Storage, extract,
    };
    use flux_budget::Claim;
    use flux_ignore::Patterns;

    use super::*;

    const PATH: &str = "bucket/ns/app/a.tar.gz";

    fn publisher(folder: &tempfile::TempDir) -> Publisher {
        let retention = Retention::default();
        let storage = Storage::open(folder.path(), "host", Algorithm::Sha256, retention).unwrap();
        Publisher::new(Arc::new(storage))
    }

    fn content(files: &[(&str, &'static str)]) -> Content<Bytes> {
        let mut content = Content::new();
        for (path, text) in files {
            let content_of = Bytes::from_static(text.as_bytes());
            let file = ContentEntry::File {
                executable: false,
                content: content_of,
            };
            content.insert(path.as_bytes(), file);
        }
        content
    }

    fn soon() -> Deadline {
        Deadline::within(Duration::from_mins(1))
    }

    fn stored_files(publisher: &Publisher) -> Vec<String> {
        let archive = publisher.storage().read(PATH).unwrap();
        let tree = extract(archive, &ExtractOptions::default(), Claim::unlimited()).unwrap();
        tree.iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn ignore_rules_come_from_the_content_or_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(&folder);
        let files = content(&[
            (".sourceignore", "*.md"),
            ("a.md", ""),
            ("b.yaml", ""),
            ("c.jpg", ""),
        ]);
        let given = Filter::for_source(Patterns::new());
        for (rules, want) in [
            (
                // SC-ART-070
                Rules::OfContent(None),
                vec![".sourceignore", "b.yaml", "c.jpg"],
            ),
            (
                // SC-ART-074
                Rules::OfContent(Some("b.yaml")),
                vec![".sourceignore", "c.jpg"],
            ),
            (
                // SW-ART-016, SW-ART-018
                Rules::Given(&given),
                vec![".sourceignore", "a.md", "b.yaml"],
            ),
        ] {
            let stored = publisher.store(PATH, &files, &mut InMemory, rules, soon());
            let digest = stored.unwrap().digest.to_string();
            assert_eq!(stored_files(&publisher), want);
            publisher.storage().verify(PATH, &digest).unwrap();
        }
    }

    // SC-ART-006
    #[test]
    fn a_timed_out_store_keeps_the_previous_artifact() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(&folder);
        let write = |text: &'static [u8]| move |file: &mut dyn Write| file.write_all(text);
        let stored = publisher.store_file(PATH, soon(), write(b"one")).unwrap();
        assert_eq!(
            (stored.size, stored.digest),
            (3, Algorithm::Sha256.digest(b"one"))
        );

        let late = Deadline::within(Duration::ZERO);
        let rules = Rules::OfContent(None);
        let errors = [
            publisher.store_file(PATH, late, write(b"two")).unwrap_err(),
            publisher
                .store(PATH, &content(&[("a", "")]), &mut InMemory, rules, late)
                .unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, StoreError::Write(_)), "{error}");
        }
        assert_eq!(std::fs::read(folder.path().join(PATH)).unwrap(), b"one");
        let names = std::fs::read_dir(folder.path().join("bucket/ns/app")).unwrap();
        assert_eq!(names.count(), 2, "the file and its lock");
    }

    #[test]
    fn failed_steps_have_distinct_errors() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(&folder);
        std::fs::write(folder.path().join("bucket"), "a file in the way").unwrap();
        let rules = || Rules::OfContent(None);
        let blocked = publisher.store(PATH, &content(&[]), &mut InMemory, rules(), soon());
        assert!(matches!(blocked, Err(StoreError::Directory(_))));
        std::fs::remove_file(folder.path().join("bucket")).unwrap();
        let lock = folder.path().join(format!("{PATH}.lock"));
        std::fs::create_dir_all(&lock).unwrap();
        let blocked = publisher.store(PATH, &content(&[]), &mut InMemory, rules(), soon());
        assert!(matches!(blocked, Err(StoreError::Lock(_))));
        std::fs::remove_dir(&lock).unwrap();
        let mut looped = Content::new();
        let target = Bytes::from(".sourceignore");
        looped.insert(b".sourceignore", ContentEntry::Symlink { target });
        let blocked = publisher.store(PATH, &looped, &mut InMemory, rules(), soon());
        assert!(matches!(blocked, Err(StoreError::Rules(_))));
    }
}
