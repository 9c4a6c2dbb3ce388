//! Patterns collected from files and spec, and the filter built from them.

use std::collections::HashMap;

use flux_tree::{Entry, Tree, TreePath};

use crate::pattern::{Key, Pattern, Verdict};
use crate::steps::{Spent, Steps};

/// The name of an ignore file.
pub const IGNORE_FILE: &str = ".sourceignore";

/// The maximum number of patterns in one source.
pub const MAX_PATTERNS: usize = 65_536;

/// The maximum bytes of patterns, and of the names of their folders, in one source.
pub const MAX_TEXT: usize = 1 << 20;

/// The maximum number of steps of a filter for all paths together: some seconds of work.
pub const MAX_STEPS: u64 = 1 << 32;

/// A line of this many bytes or more ends the reading of its file without an error, as in upstream's reader.
const LINE_LIMIT: usize = 64 * 1024;

/// Always excluded, unless a pattern includes it again (SC-ART-071).
const VCS: [&str; 4] = [".git/", ".gitignore", ".gitmodules", ".gitattributes"];

/// Excluded if there are no patterns at all (SC-ART-072).
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

/// Why ignore rules could not be collected or applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// The source has more than [`MAX_PATTERNS`] patterns.
    #[error("more than {MAX_PATTERNS} ignore patterns, the last in '{folder}'")]
    TooMany {
        /// The folder of the file that exceeded the limit, `.` for the root.
        folder: String,
    },
    /// The patterns of the source have more than [`MAX_TEXT`] bytes.
    #[error("more than {MAX_TEXT} bytes of ignore patterns, the last in '{folder}'")]
    TooLarge {
        /// The folder of the file that exceeded the limit, `.` for the root.
        folder: String,
    },
    /// Matching took more than [`MAX_STEPS`] steps.
    #[error(
        "matching {patterns} ignore patterns takes too long: use fewer patterns, or such without wildcards"
    )]
    TooSlow {
        /// The number of patterns.
        patterns: usize,
    },
}

/// Patterns in order of rising priority: the root's file, those of its folders in walk order, then `spec.ignore`
/// (SC-ART-074).
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// Each pattern with the index of its folder.
    list: Vec<(u32, Pattern)>,
    /// The folders that hold patterns.
    folders: Vec<Box<[u8]>>,
    bytes: usize,
}

/// Decides which paths are excluded.
#[derive(Clone, Debug)]
pub struct Filter {
    patterns: Vec<Pattern>,
    /// The patterns of each folder, by its path.
    folders: HashMap<Box<[u8]>, Index>,
    /// The number of segments of the longest of these paths.
    depth: usize,
    steps: Steps,
}

/// The patterns of a folder by their [`Key`], each list in order of rising priority.
#[derive(Clone, Debug, Default)]
struct Index {
    names: HashMap<Box<[u8]>, Vec<u32>>,
    firsts: HashMap<Box<[u8]>, Vec<u32>>,
    any: Vec<u32>,
}

impl Patterns {
    /// No patterns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the patterns of `text`, which apply below the folder `scope` (empty for the root). Comment lines (`#`) and
    /// blank lines are skipped; no line is an error (SC-ART-075, SC-ART-078).
    pub fn read(
        &mut self,
        scope: impl AsRef<[u8]>,
        text: impl AsRef<[u8]>,
    ) -> Result<(), IgnoreError> {
        let scope = segments(scope.as_ref()).join(&b'/');
        let shown = || {
            let folder = if scope.is_empty() { b"." } else { &*scope };
            String::from_utf8_lossy(folder).into_owned()
        };
        for line in lines(text.as_ref()) {
            if line.starts_with(b"#") || is_blank(line) {
                continue;
            }
            if self.list.len() >= MAX_PATTERNS {
                return Err(IgnoreError::TooMany { folder: shown() });
            }
            let is_new = self.folders.last().is_none_or(|last| **last != *scope);
            self.bytes += line.len() + if is_new { scope.len() } else { 0 };
            if self.bytes > MAX_TEXT {
                return Err(IgnoreError::TooLarge { folder: shown() });
            }
            if is_new {
                self.folders.push(scope.as_slice().into());
            }
            let folder = self.folders.len() - 1;
            self.list.push((folder as u32, Pattern::parse(line)));
        }
        Ok(())
    }

    /// Reads every [`IGNORE_FILE`] of a tree, except in `.git` folders; links are followed within the tree
    /// (SC-ART-070).
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
        // By file name, in the order of a walk: a tree's own order has `a-b` before `a/b`.
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

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Filter {
    /// The filter of a Git or OCI source: the version control files always, then the patterns, or the defaults without
    /// any pattern (SC-ART-073).
    pub fn for_source(patterns: Patterns) -> Self {
        let defaults: &[&str] = if patterns.is_empty() { &DEFAULTS } else { &[] };
        let built_in = VCS.iter().chain(defaults);
        Self::new(built_in.map(|line| line.as_bytes()), patterns)
    }

    /// The filter of a Bucket: only the patterns (SC-BKT-040).
    pub fn bare(patterns: Patterns) -> Self {
        Self::new(std::iter::empty(), patterns)
    }

    fn new<'l>(built_in: impl Iterator<Item = &'l [u8]>, patterns: Patterns) -> Self {
        let mut filter = Self {
            patterns: Vec::new(),
            folders: HashMap::new(),
            depth: 0,
            steps: Steps::new(MAX_STEPS),
        };
        for line in built_in {
            filter.add(b"", Pattern::parse(line));
        }
        for (folder, pattern) in patterns.list {
            filter.add(&patterns.folders[folder as usize], pattern);
        }
        filter
    }

    fn add(&mut self, folder: &[u8], pattern: Pattern) {
        let Some(key) = pattern.key() else { return };
        let number = self.patterns.len() as u32;
        self.patterns.push(pattern);
        self.depth = self.depth.max(segments(folder).len());
        let index = self.folders.entry(folder.into()).or_default();
        let list = match key {
            Key::Name(name) => index.names.entry(name).or_default(),
            Key::First(name) => index.firsts.entry(name).or_default(),
            Key::Any => &mut index.any,
        };
        list.push(number);
    }

    /// The same filter with another limit than [`MAX_STEPS`].
    pub fn with_steps(self, steps: u64) -> Self {
        Self {
            steps: Steps::new(steps),
            ..self
        }
    }

    /// Whether `path`, relative to the root, is excluded. The root itself never is. Entries below an excluded folder
    /// are decided on their own (SC-ART-066).
    ///
    /// Fails once all calls together have taken more than the maximum number of steps.
    pub fn excludes(&self, path: impl AsRef<[u8]>, is_dir: bool) -> Result<bool, IgnoreError> {
        let path = segments(path.as_ref());
        let last = self.last_match(&path, is_dir);
        let last = last.map_err(|Spent| IgnoreError::TooSlow {
            patterns: self.patterns.len(),
        })?;
        let verdict = last.map(|number| self.patterns[number as usize].verdict);
        Ok(verdict == Some(Verdict::Exclude))
    }

    /// The pattern of the highest priority that matches.
    fn last_match(&self, path: &[&[u8]], is_dir: bool) -> Result<Option<u32>, Spent> {
        let mut best = None;
        let mut folder = Vec::new();
        for (at, name) in path.iter().enumerate().take(self.depth + 1) {
            self.steps.spend(1 + folder.len() / 64)?;
            if let Some(index) = self.folders.get(&*folder) {
                let below = &path[at..];
                let mut look = |list: Option<&Vec<u32>>| {
                    let list = list.map_or(&[][..], Vec::as_slice);
                    self.look(list, below, is_dir, &mut best)
                };
                look(Some(&index.any))?;
                look(index.firsts.get(*name))?;
                for name in below {
                    look(index.names.get(*name))?;
                }
            }
            if at > 0 {
                folder.push(b'/');
            }
            folder.extend_from_slice(name);
        }
        Ok(best)
    }

    /// Sets `best` to the last pattern of `list` that matches, if that has a higher priority.
    fn look(
        &self,
        list: &[u32],
        path: &[&[u8]],
        is_dir: bool,
        best: &mut Option<u32>,
    ) -> Result<(), Spent> {
        self.steps.spend(1)?;
        let before = *best;
        let better = |number: &&u32| before.is_none_or(|before| **number > before);
        for number in list.iter().rev().take_while(better) {
            self.steps.spend(1)?;
            if self.patterns[*number as usize].matches(path, is_dir, &self.steps)? {
                *best = Some(*number);
                break;
            }
        }
        Ok(())
    }
}

/// The part of `tree` that its own ignore files and `spec_ignore` do not exclude.
pub fn keep(tree: &Tree, spec_ignore: Option<&str>) -> Result<Tree, IgnoreError> {
    let mut patterns = Patterns::of_tree(tree)?;
    patterns.read("", spec_ignore.unwrap_or_default())?;
    let filter = Filter::for_source(patterns);
    let mut kept = Tree::new();
    for (path, entry) in tree.iter() {
        if !filter.excludes(path.as_str(), *entry == Entry::Directory)? {
            // Cannot fail: the entry was in a tree, and so were its parents.
            let _ = kept.insert(path.clone(), entry.clone());
        }
    }
    Ok(kept)
}

/// The lines of a file as Go's scanner returns them: without one trailing carriage return each, up to the first one
/// that is too long.
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
