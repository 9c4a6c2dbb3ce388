//! Rules collected from a tree.

use flux_ignore::{IgnoreError, MAX_PATTERNS, Patterns, keep};
use flux_tree::{Entry, File, Tree, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// A tree of `path: content` pairs; a content `-> x` makes a link.
fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, content) in files {
        let entry = if let Some(target) = content.strip_prefix("-> ") {
            Entry::Symlink(target.to_owned())
        } else {
            Entry::File(File {
                content: (*content).to_owned().into(),
                executable: false,
            })
        };
        tree.insert(path(name), entry).unwrap();
    }
    tree
}

fn kept(files: &[(&str, &str)], spec_ignore: Option<&str>) -> Vec<String> {
    let kept = keep(&tree(files), spec_ignore).unwrap();
    kept.iter()
        .filter(|(_, entry)| **entry != Entry::Directory)
        .map(|(path, _)| path.as_str().to_owned())
        .collect()
}

#[test]
fn ignore_files_apply_below_their_folder() {
    for (name, files, spec, want) in [
        // SC-ART-070, SC-ART-080: nor is the ignore file itself excluded
        (
            "a nested file counts in its own folder only",
            &[
                ("a/.sourceignore", "x"),
                ("a/x", ""),
                ("a/b/x", ""),
                ("x", ""),
            ][..],
            None,
            &["a/.sourceignore", "x"][..],
        ),
        // SC-ART-074
        (
            "a folder overrides the root",
            &[
                (".sourceignore", "x"),
                ("a/.sourceignore", "!x"),
                ("a/x", ""),
                ("x", ""),
            ],
            None,
            &[".sourceignore", "a/.sourceignore", "a/x"],
        ),
        (
            "the spec overrides both",
            &[
                (".sourceignore", "x"),
                ("a/.sourceignore", "!x"),
                ("a/x", ""),
                ("x", ""),
            ],
            Some("/a\n!/x"),
            &[".sourceignore", "x"],
        ),
        // SC-ART-066
        (
            "a file may be included again below an excluded folder",
            &[("a/b/c", ""), ("a/d", "")],
            Some("a\n!a/b/c"),
            &["a/b/c"],
        ),
        // SC-ART-070
        (
            "no ignore file is read in .git",
            &[(".git/.sourceignore", "*"), ("pic.png", ""), ("x", "")],
            None,
            &["x"],
        ),
        (
            "one pattern drops the defaults",
            &[("pic.png", ""), ("x", ""), (".gitignore", "")],
            Some("x"),
            &["pic.png"],
        ),
        (
            "an empty spec is no pattern",
            &[("pic.png", ""), ("x", "")],
            Some(""),
            &["x"],
        ),
        (
            "a linked ignore file is read, one that leads out is not there",
            &[
                ("rules", "x"),
                (".sourceignore", "-> rules"),
                ("a/.sourceignore", "-> ../../rules"),
                ("x", ""),
                ("a/y", ""),
            ],
            None,
            &[".sourceignore", "a/.sourceignore", "a/y", "rules"],
        ),
    ] {
        assert_eq!(kept(files, spec), want, "{name}");
    }
}

#[test]
fn patterns_are_bounded() {
    let mut patterns = Patterns::new();
    patterns.read("", "x\n".repeat(MAX_PATTERNS)).unwrap();
    patterns.read("a", "# only a comment\n").unwrap();
    let error = patterns.read("a/b", "x\n").unwrap_err();
    assert_eq!(
        error,
        IgnoreError::TooMany {
            folder: "a/b".into()
        }
    );
    let error = Patterns::of_tree(&tree(&[(".sourceignore", &"x\n".repeat(MAX_PATTERNS + 1))]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "more than 65536 ignore patterns, the last in '.'"
    );
}
