//! Reads the files of a chart folder.

use flux_tree::{Entry, ResolveError, Tree, TreePath};

use super::archive::without_bom;
use super::ignore::Rules;
use super::{LoadError, MAX_CHART_BYTES, MAX_ENTRIES};
use crate::{File, Time};

/// Maximum depth of folders: links can make an infinite tree.
const MAX_DEPTH: usize = 255;

/// Reads a folder recursively, in the order of names. The names of the files are paths relative to it.
/// `too_large` tells whether a file of this name and size is too large.
pub(super) fn files(
    tree: &Tree,
    folder: &TreePath,
    too_large: &dyn Fn(&str, u64) -> Option<LoadError>,
) -> Result<Vec<File>, LoadError> {
    let resolve = |path: &TreePath, shown: &str| {
        tree.resolve(path)
            .map_err(|e| LoadError::Symlink(shown.to_owned(), e))
    };
    let top = resolve(folder, folder.as_str())?;
    let ignore_file = top
        .join(".helmignore")
        .map_err(|_| LoadError::IllegalName)?;
    let ignore_text = tree
        .read(&ignore_file)
        .ok()
        .map(|data| String::from_utf8_lossy(data).into_owned());
    let mut walk = Walk {
        tree,
        rules: Rules::parse(ignore_text.as_deref())?,
        files: Vec::new(),
        left: MAX_CHART_BYTES,
        too_large,
    };
    walk.folder(&top, "", 0)?;
    Ok(walk.files)
}

struct Walk<'a> {
    tree: &'a Tree,
    rules: Rules,
    files: Vec<File>,
    left: u64,
    too_large: &'a dyn Fn(&str, u64) -> Option<LoadError>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &TreePath, below: &str, depth: usize) -> Result<(), LoadError> {
        for (path, entry) in self.tree.children(folder) {
            let name = if below.is_empty() {
                path.file_name().to_owned()
            } else {
                format!("{below}/{}", path.file_name())
            };
            let target = match entry {
                Entry::Symlink(_) => self
                    .tree
                    .resolve(path)
                    .map_err(|e| LoadError::Symlink(name.clone(), e))?,
                Entry::File(_) | Entry::Directory => path.clone(),
            };
            let is_directory = self.tree.is_dir(&target);
            if self.rules.ignores(&name, is_directory) {
                continue;
            }
            if is_directory {
                if depth >= MAX_DEPTH {
                    let error = ResolveError::LinkLoop(path.clone());
                    return Err(LoadError::Symlink(name, error));
                }
                self.folder(&target, &name, depth + 1)?;
            } else {
                self.file(&target, name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &TreePath, name: String) -> Result<(), LoadError> {
        let data = self
            .tree
            .read(path)
            .map_err(|e| LoadError::Symlink(name.clone(), e))?;
        let size = data.len() as u64;
        if self.files.len() >= MAX_ENTRIES {
            return Err(LoadError::TooManyEntries);
        }
        if let Some(error) = (self.too_large)(&name, size) {
            return Err(error);
        }
        self.left = self
            .left
            .checked_sub(size)
            .ok_or(LoadError::ChartTooLarge)?;
        self.files.push(File {
            name,
            data: without_bom(data.clone()),
            mod_time: Time::zero(),
        });
        Ok(())
    }
}
