//! Paths that stay below a root on disk.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// How many links may be followed on a path.
const MAX_LINKS: usize = 255;

/// Where `path` leads below `root`, as if `root` were the root of the file system: `..` stops there, and a link that
/// leads out is followed as if it led inside (SC-ART-012). Missing components are taken as written. `None` for a loop
/// of links.
pub(crate) fn scoped(root: &Path, path: &str) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    let mut rest = parts(Path::new(path));
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            below.pop();
            continue;
        }
        let next = below.join(&part);
        let Ok(target) = fs::read_link(root.join(&next)) else {
            below = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        if target.is_absolute() {
            below.clear();
        }
        rest.extend(parts(&target));
    }
    Some(root.join(below))
}

/// The components of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    // SC-ART-012 RT-ART-015
    #[test]
    fn paths_cannot_leave_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("../../../up", root.join("a/up")).unwrap();
        symlink("a", root.join("in")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, want) in [
            ("a/b", Some("a/b")),
            ("../../etc/passwd", Some("etc/passwd")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a/../../b", Some("b")),
            ("out/passwd", Some("etc/passwd")),
            ("a/up/x", Some("up/x")),
            ("in/x", Some("a/x")),
            ("in/../x", Some("x")),
            ("loop/x", None),
        ] {
            assert_eq!(
                scoped(&root, path),
                want.map(|want| root.join(want)),
                "{path}"
            );
        }
    }
}
