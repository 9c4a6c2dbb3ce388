//! Paths in a tree, which cannot leave it.

use std::borrow::Borrow;
use std::fmt;

/// A path below a tree's root: `/`-separated, without a leading slash, without `.`, `..` or empty parts.
///
/// The root itself is the empty path and prints as `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// Why a text is not a path below the root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Walking the `..` parts ends above the root.
    #[error("path '{0}' leaves the root")]
    Escapes(String),
    /// The path begins with a slash where only relative ones are allowed.
    #[error("path '{0}' is absolute")]
    Absolute(String),
    /// The path holds a NUL character.
    #[error("path holds a NUL character")]
    Nul,
}

impl TreePath {
    /// The root of a tree.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Reads a relative path and cleans it of `.`, `..` and doubled slashes.
    pub fn new(text: &str) -> Result<Self, PathError> {
        Self::root().join(text)
    }

    /// Resolves the relative path `text` from here. Its `..` may climb, but not above the root.
    pub fn join(&self, text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        self.walk(text, |text| Err(PathError::Escapes(text.to_owned())))
    }

    /// Resolves `text` from here with `..` stopping at the root and a leading slash meaning the root, as in a `chroot`
    /// (KC-SRC-014).
    pub fn join_clamped(&self, text: &str) -> Result<Self, PathError> {
        let from = if text.starts_with('/') {
            Self::root()
        } else {
            self.clone()
        };
        from.walk(text, |_| Ok(()))
    }

    fn walk(
        &self,
        text: &str,
        above_root: impl Fn(&str) -> Result<(), PathError>,
    ) -> Result<Self, PathError> {
        if text.contains('\0') {
            return Err(PathError::Nul);
        }
        let mut path = self.0.clone();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." if path.is_empty() => above_root(text)?,
                ".." => path.truncate(path.rfind('/').unwrap_or(0)),
                name => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(name);
                }
            }
        }
        Ok(Self(path))
    }

    /// The path as text, empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent folder; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        (!self.is_root()).then(|| Self(self.0[..self.0.rfind('/').unwrap_or(0)].to_owned()))
    }

    /// The last part of the path, empty for the root.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// This path relative to `folder`; `None` unless it is at or below it.
    pub fn strip_prefix(&self, folder: &Self) -> Option<Self> {
        if folder.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(folder.as_str())?;
        if rest.is_empty() {
            Some(Self::root())
        } else {
            rest.strip_prefix('/').map(|rest| Self(rest.to_owned()))
        }
    }

    /// Whether this path is at or below `folder`, compared part by part.
    pub fn starts_with(&self, folder: &Self) -> bool {
        self.strip_prefix(folder).is_some()
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (text, want) in [
            ("", ""),
            (".", ""),
            ("a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("a/b/", "a/b"),
            ("a/..", ""),
        ] {
            assert_eq!(TreePath::new(text).unwrap().as_str(), want, "{text:?}");
        }
    }

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(
            TreePath::new("a/../../b"),
            Err(PathError::Escapes("a/../../b".into()))
        );
        assert_eq!(TreePath::new("/a"), Err(PathError::Absolute("/a".into())));
        // KC-SRC-014: the path of a Kustomization is clamped instead
        assert_eq!(
            TreePath::root().join_clamped("../../x").unwrap().as_str(),
            "x"
        );
        assert_eq!(
            TreePath::new("a")
                .unwrap()
                .join_clamped("/x/..")
                .unwrap()
                .as_str(),
            ""
        );
    }

    #[test]
    fn prefixes_are_whole_parts() {
        let path = TreePath::new("root-other/a").unwrap();
        assert!(!path.starts_with(&TreePath::new("root").unwrap()));
        assert_eq!(
            path.strip_prefix(&TreePath::new("root-other").unwrap())
                .unwrap()
                .as_str(),
            "a"
        );
        assert_eq!(path.parent().unwrap().as_str(), "root-other");
        assert_eq!(path.parent().unwrap().parent(), Some(TreePath::root()));
    }
}
