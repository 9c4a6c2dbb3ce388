//! The files and folders of a source that a `from` pattern matches.

use flux_golang::path::{BadPattern, Pattern};
use flux_tree::{Entry, Tree, TreePath};

use super::doublestar::{Doublestar, PatternError};
use super::steps::{Steps, TooSlow};

/// Why a pattern has no matches at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum GlobError {
    /// It is malformed (SW-GEN-154).
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// It takes too long.
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
}

impl From<BadPattern> for GlobError {
    fn from(_: BadPattern) -> Self {
        Self::Pattern(PatternError::Syntax)
    }
}

/// Whether a `from` path is a pattern (SW-GEN-134).
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', ']'])
}

/// The paths that match segment by segment, in the order of their folders, then by name (SW-GEN-150, SW-GEN-161). The root
/// is never among them (SW-GEN-157).
pub(super) fn by_segment(
    tree: &Tree,
    pattern: &str,
    steps: &Steps,
) -> Result<Vec<TreePath>, GlobError> {
    // Go looks at the whole pattern first.
    Pattern::compile(pattern.as_bytes())?;
    if pattern.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<&str> = pattern.split('/').collect();
    let mut found = vec![TreePath::root()];
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        found = level(tree, &found, segment, is_last, steps)?;
    }
    Ok(found)
}

/// What a segment of a pattern matches within `folders`; only folders, unless it is the last.
fn level(
    tree: &Tree,
    folders: &[TreePath],
    segment: &str,
    is_last: bool,
    steps: &Steps,
) -> Result<Vec<TreePath>, GlobError> {
    let mut found = Vec::new();
    // No entry of a folder has such a name.
    if matches!(segment, "" | "." | "..") {
        let stays = segment == "." && !is_last && folders == [TreePath::root()];
        return Ok(if stays { folders.to_vec() } else { found });
    }
    let pattern = Pattern::compile(segment.as_bytes())?;
    let literal = pattern.literal();
    let literal = literal
        .as_deref()
        .and_then(|name| std::str::from_utf8(name).ok());
    for folder in folders {
        if let Some(name) = literal {
            steps.spend(1)?;
            let path = folder.join(name).ok();
            found.extend(path.filter(|path| leads_on(tree, path, is_last)));
            continue;
        }
        for (path, _) in tree.children(folder) {
            let name = path.file_name().as_bytes();
            steps.spend(1)?;
            let spend = |count: usize| steps.spend(count as u64);
            if pattern.matches_within(name, spend)? && leads_on(tree, path, is_last) {
                found.push(path.clone());
            }
        }
    }
    Ok(found)
}

fn leads_on(tree: &Tree, path: &TreePath, is_last: bool) -> bool {
    match tree.get(path) {
        Some(Entry::Directory) => true,
        Some(_) => is_last,
        None => false,
    }
}

/// The paths that match at any depth, folder by folder in the order of a walk, then by name (SW-GEN-153, SW-GEN-161). The
/// root is an empty path.
pub(super) fn at_any_depth(
    tree: &Tree,
    pattern: &str,
    steps: &Steps,
) -> Result<Vec<TreePath>, GlobError> {
    let compiled = Doublestar::compile(pattern)?;
    let mut found = Vec::new();
    if compiled.matches("", steps)? {
        found.push(TreePath::root());
    }
    for (path, _) in tree.iter() {
        if compiled.matches(path.as_str(), steps)? {
            found.push(path.clone());
        }
    }
    found.sort_by(|a, b| place(a).cmp(&place(b)));
    Ok(found)
}

/// The folder of a path, compared segment by segment, and its name.
fn place(path: &TreePath) -> (Vec<&str>, &str) {
    let mut folders: Vec<&str> = path.as_str().split('/').collect();
    let name = folders.pop().unwrap_or_default();
    (folders, name)
}

/// The literal folders that a pattern begins with: what excludes are relative to (SW-GEN-170).
pub(super) fn literal_folder(pattern: &str) -> String {
    let pattern = flux_golang::path::clean(pattern);
    let literal: Vec<&str> = pattern
        .split('/')
        .take_while(|segment| !is_pattern(segment))
        .collect();
    literal.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        for path in [
            "README.md",
            "apps/a/a.yaml",
            "apps/a/deep/b.yaml",
            "apps/b/b.yaml",
            "apps/.hidden/c.yaml",
            "charts/one.tgz",
            "charts/sub/two.tar.gz",
            "top.tgz",
        ] {
            let path = TreePath::new(path).unwrap();
            tree.insert_file(path, "", false).unwrap();
        }
        tree
    }

    fn texts(paths: &[TreePath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    // SW-GEN-150, SW-GEN-152
    #[test]
    fn segments_match_as_in_go() {
        for (pattern, expected) in [
            ("*.md", &["README.md"][..]),
            ("apps/*", &["apps/.hidden", "apps/a", "apps/b"]),
            ("apps/**", &["apps/.hidden", "apps/a", "apps/b"]),
            ("apps/[ab]/*.yaml", &["apps/a/a.yaml", "apps/b/b.yaml"]),
            ("apps/?/*.yaml", &["apps/a/a.yaml", "apps/b/b.yaml"]),
            (
                "apps/**/*.yaml",
                &["apps/.hidden/c.yaml", "apps/a/a.yaml", "apps/b/b.yaml"],
            ),
            ("**/*.tgz", &["charts/one.tgz"]),
            ("{top,x}.tg?", &[]),
            ("apps/\\a/*", &["apps/a/a.yaml", "apps/a/deep"]),
            ("README.md/*", &[]),
            ("apps/*/", &[]),
            ("apps//*", &[]),
            ("../*", &[]),
            ("/*", &[]),
            ("./*.md", &["README.md"]),
            ("nothing/*", &[]),
        ] {
            let found = by_segment(&tree(), pattern, &Steps::default()).unwrap();
            assert_eq!(texts(&found), expected, "{pattern}");
        }
        // SW-GEN-154
        let bad = by_segment(&tree(), "nothing/[", &Steps::default()).unwrap_err();
        assert_eq!(bad.to_string(), "syntax error in pattern");
    }

    // SW-GEN-153, SW-GEN-161
    #[test]
    fn archives_are_found_at_any_depth() {
        let archives = "**/*.{tgz,tar.gz}";
        let found = at_any_depth(&tree(), archives, &Steps::default()).unwrap();
        assert_eq!(
            texts(&found),
            ["top.tgz", "charts/one.tgz", "charts/sub/two.tar.gz"]
        );
        let all = at_any_depth(&Tree::new(), "**", &Steps::default()).unwrap();
        assert_eq!(texts(&all), ["."]);
        let slow = at_any_depth(&tree(), "**/*.tgz", &Steps::new(20)).unwrap_err();
        assert!(matches!(slow, GlobError::TooSlow(_)));
    }

    #[test]
    fn excludes_are_relative_to_the_literal_folders() {
        for (pattern, folder) in [
            ("apps/a/*.yaml", "apps/a"),
            ("apps/./a/**", "apps/a"),
            ("*.yaml", ""),
            ("**/a/*", ""),
        ] {
            assert_eq!(literal_folder(pattern), folder);
        }
    }
}
