//! The files of a source artifact: on disk until a chart needs them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use flux_artifact::{ExtractOptions, ReadContent as _, Spooled, extract_spooled};
use flux_budget::{Budget, Claim, Exhausted};
use flux_chart::{loaded_size, loaded_size_of_folder};
use flux_tree::{Entry, Tree, TreePath};

use super::failure::{SourceFault, StepError};

/// The most bytes that a source may unpack to, and the most entries: consumers of artifacts read no more.
const MAX_UNPACKED: u64 = 4 << 30;

/// The files of a source. What was loaded is in a tree, with its memory claimed.
pub(super) struct Files {
    spooled: Spooled,
    tree: Tree,
    claim: Claim,
    /// The memory of the process.
    limit: u64,
    /// The memory of what was added to the chart.
    others: Vec<Claim>,
}

impl Files {
    /// Unpacks the archive of a source into a file in `folder` (SC-HCHART-040). Blocks.
    pub(super) fn unpack(archive: File, folder: &Path, budget: &Budget) -> Result<Self, StepError> {
        let options = ExtractOptions {
            skip_symlinks: false,
            max_bytes: MAX_UNPACKED,
            ..ExtractOptions::default()
        };
        let spool = tempfile::tempfile_in(folder).map_err(StepError::WorkDirectory)?;
        let spooled = extract_spooled(archive, &options, budget.claim(), spool);
        Ok(Self {
            spooled: spooled.map_err(StepError::Untar)?,
            tree: Tree::new(),
            claim: budget.claim(),
            limit: budget.limit(),
            others: Vec::new(),
        })
    }

    /// What is at `path`: `Some(true)` for a folder.
    pub(super) fn is_folder(&self, path: &TreePath) -> Option<bool> {
        let entry = self.spooled.handles().get(path)?;
        Some(matches!(entry, Entry::Directory))
    }

    /// The size of the file at `path`.
    pub(super) fn size(&mut self, path: &TreePath) -> io::Result<Option<u64>> {
        let Some(Entry::File(file)) = self.spooled.handles().get(path) else {
            return Ok(None);
        };
        let handle = file.content.clone();
        let (size, _) = self.spooled.open(&handle)?;
        Ok(Some(size))
    }

    /// Holds the memory of charts that were added to that of this source.
    pub(super) fn hold(&mut self, claims: Vec<Claim>) {
        self.others.extend(claims);
    }

    /// What was loaded.
    pub(super) fn loaded(&self) -> &Tree {
        &self.tree
    }

    /// Claims what the chart at `path`, which was loaded, takes besides its files. Blocks.
    pub(super) fn claim_chart(&mut self, path: &TreePath) -> Result<(), Exhausted> {
        let limit = self.limit;
        let size = match self.tree.read(path) {
            Ok(archive) => loaded_size(archive, limit),
            Err(_) => loaded_size_of_folder(&self.tree, path, limit),
        };
        self.claim.take(size)
    }

    /// What the memory of what is loaded is taken through.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Loads what is at `path` and below it. Blocks.
    pub(super) fn load(&mut self, path: &TreePath) -> Result<&Tree, SourceFault> {
        let handles = self.spooled.handles();
        let own = handles.get(path).map(|entry| (path, entry));
        let wanted = own.into_iter().chain(handles.below(path));
        let wanted: Vec<_> = wanted
            .filter(|(path, _)| !path.is_root() && self.tree.get(path).is_none())
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect();
        for (path, entry) in wanted {
            let entry = match entry {
                Entry::File(file) => Entry::File(flux_tree::File {
                    content: self.content(&file.content)?,
                    ..file
                }),
                other => other,
            };
            let inserted = self.tree.insert(path, entry);
            inserted.map_err(io::Error::other)?;
        }
        Ok(&self.tree)
    }

    fn content(&mut self, handle: &Bytes) -> Result<Bytes, SourceFault> {
        let (size, mut reader) = self.spooled.open(handle)?;
        self.claim.take(size)?;
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        reader.read_to_end(&mut content)?;
        Ok(content.into())
    }
}

#[cfg(test)]
mod tests {
    use flux_artifact::pack_tree;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    // SC-HCHART-040
    #[test]
    fn only_what_is_needed_is_in_memory() {
        let mut tree = Tree::new();
        let large = vec![b'x'; 1 << 20];
        for (name, content) in [
            ("app/Chart.yaml", &b"name: app"[..]),
            ("other/large", &large),
        ] {
            tree.insert_file(path(name), content.to_vec(), false)
                .unwrap();
        }
        let archive = pack_tree(&tree, |_, _| false, Vec::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar.gz");
        std::fs::write(&file, archive).unwrap();
        let open = || File::open(&file).unwrap();

        let budget = Budget::new(100_000);
        let mut files = Files::unpack(open(), folder.path(), &budget).unwrap();
        assert_eq!(files.is_folder(&path("app")), Some(true));
        assert_eq!(files.is_folder(&path("other/large")), Some(false));
        assert_eq!(files.is_folder(&path("gone")), None);
        assert_eq!(files.size(&path("other/large")).unwrap(), Some(1 << 20));
        let loaded = files.load(&path("app")).unwrap();
        assert_eq!(
            &**loaded.read(&path("app/Chart.yaml")).unwrap(),
            b"name: app"
        );
        assert_eq!(loaded.len(), 2);
        assert!(matches!(
            files.load(&path("other")),
            Err(SourceFault::Memory(_))
        ));
        std::fs::write(&file, "PK").unwrap();
        assert!(matches!(
            Files::unpack(open(), folder.path(), &budget),
            Err(StepError::Untar(_))
        ));
    }
}
