//! Patterns gathered from files and spec, and the filter made of them.

use flux_tree::{Entry, Tree, TreePath};

use crate::pattern::{Pattern, Verdict};

/// The name of an ignore file.
pub const IGNORE_FILE: &str = ".sourceignore";

/// How many patterns one source may have in all.
pub const MAX_PATTERNS: usize = 65_536;

/// A line with this many bytes or more ends the reading of its file without an error, as the reader upstream does.
const LINE_LIMIT: usize = 64 * 1024;

/// Excluded whatever else is said, unless a pattern includes it again (SC-ART-071).
const VCS: [&str; 4] = [".git/", ".gitignore", ".gitmodules", ".gitattributes"];

/// Excluded while there is no pattern at all (SC-ART-072).
const DEFAULTS: [&str; 20] = [
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// Why ignore rules could not be gathered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// The source has more than [`MAX_PATTERNS`] patterns.
    #[error("more than {MAX_PATTERNS} ignore patterns, the last in '{folder}'")]
    TooMany {
        /// The folder of the file that was one too many, `.` for the root.
        folder: String,
    },
}

/// Patterns in the order of rising priority: the root's file, those of its folders in walk order, then `spec.ignore`
/// (SC-ART-074).
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Pattern>);

/// Decides which paths are left out.
#[derive(Clone, Debug)]
pub struct Filter(Vec<Pattern>);

impl Patterns {
    /// No patterns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the patterns of `text`, which count below the folder `scope` (empty for the root). Lines that begin with `#` and blank
    /// ones say nothing; no line is an error (SC-ART-075, SC-ART-078).
    pub fn read(
        &mut self,
        scope: impl AsRef<[u8]>,
        text: impl AsRef<[u8]>,
    ) -> Result<(), IgnoreError> {
        let scope = segments(scope.as_ref());
        for line in lines(text.as_ref()) {
            if line.starts_with(b"#") || is_blank(line) {
                continue;
            }
            if self.0.len() >= MAX_PATTERNS {
                let folder = String::from_utf8_lossy(&scope.join(&b'/')).into_owned();
                let folder = if folder.is_empty() {
                    ".".to_owned()
                } else {
                    folder
                };
                return Err(IgnoreError::TooMany { folder });
            }
            self.0.push(Pattern::parse(line, &scope));
        }
        Ok(())
    }

    /// Reads every [`IGNORE_FILE`] of a tree, `.git` folders left out, links followed within the tree (SC-ART-070).
    pub fn of_tree(tree: &Tree) -> Result<Self, IgnoreError> {
        let mut patterns = Self::new();
        patterns.read_folder(tree, &TreePath::root())?;
        Ok(patterns)
    }

    fn read_folder(&mut self, tree: &Tree, folder: &TreePath) -> Result<(), IgnoreError> {
        if let Ok(path) = folder.join(IGNORE_FILE)
            && let Ok(text) = tree.read(&path)
        {
            self.read(folder.as_str(), text)?;
        }
        // By file name, as a walk goes: a tree's own order has `a-b` before `a/b`.
        let mut folders: Vec<_> = tree
            .children(folder)
            .filter(|(path, entry)| **entry == Entry::Directory && path.file_name() != ".git")
            .map(|(path, _)| path)
            .collect();
        folders.sort_by_key(|path| path.file_name());
        folders
            .into_iter()
            .try_for_each(|folder| self.read_folder(tree, folder))
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Filter {
    /// The filter of a Git or OCI source: the version control files always, the defaults where there are no patterns, else the
    /// patterns (SC-ART-073).
    pub fn for_source(patterns: Patterns) -> Self {
        let defaults: &[&str] = if patterns.is_empty() { &DEFAULTS } else { &[] };
        let mut all: Vec<_> = VCS
            .iter()
            .chain(defaults)
            .map(|line| Pattern::parse(line.as_bytes(), &[]))
            .collect();
        all.extend(patterns.0);
        Self(all)
    }

    /// The filter of a Bucket: the patterns and nothing else (SC-BKT-040).
    pub fn bare(patterns: Patterns) -> Self {
        Self(patterns.0)
    }

    /// Whether `path`, seen from the root, is left out. The root itself never is. What lies below an excluded folder is asked about
    /// on its own (SC-ART-066).
    pub fn excludes(&self, path: impl AsRef<[u8]>, is_dir: bool) -> bool {
        let path = segments(path.as_ref());
        let verdict = self
            .0
            .iter()
            .rev()
            .find_map(|pattern| pattern.verdict(&path, is_dir));
        verdict == Some(Verdict::Exclude)
    }
}

/// The part of `tree` that its own ignore files and `spec_ignore` leave in it.
pub fn keep(tree: &Tree, spec_ignore: Option<&str>) -> Result<Tree, IgnoreError> {
    let mut patterns = Patterns::of_tree(tree)?;
    patterns.read("", spec_ignore.unwrap_or_default())?;
    let filter = Filter::for_source(patterns);
    let mut kept = Tree::new();
    for (path, entry) in tree.iter() {
        if !filter.excludes(path.as_str(), *entry == Entry::Directory) {
            // Cannot fail: the entry stood in a tree, and so did the folders above it.
            let _ = kept.insert(path.clone(), entry.clone());
        }
    }
    Ok(kept)
}

/// The lines of a file as Go's scanner gives them: without one trailing carriage return each, and only up to the first that is
/// too long.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .take_while(|line| line.len() < LINE_LIMIT)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn is_blank(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| line.trim().is_empty())
}

fn segments(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect()
}
