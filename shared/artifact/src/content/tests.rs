//! Tests of reading the content of a GitRepository.

use rstest::rstest;

use super::*;

/// Content of `path: text` pairs. A text of `-> x` is a link, a path that ends in a slash is a folder, and `*` after a
/// path makes the file executable.
fn content(files: &[(&str, &str)]) -> Content<Bytes> {
    let mut content = Content::new();
    for (path, text) in files {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let entry = match text.strip_prefix("-> ") {
            Some(target) => ContentEntry::Symlink {
                target: bytes(target),
            },
            None if path.ends_with('/') => ContentEntry::Directory,
            None => ContentEntry::File {
                executable: path.ends_with('*'),
                content: bytes(text),
            },
        };
        content.insert(path.trim_end_matches(['/', '*']).as_bytes(), entry);
    }
    content
}

fn listing(content: &Content<Bytes>) -> Vec<String> {
    let show = |(path, entry): (Vec<u8>, &ContentEntry<Bytes>)| {
        let path = String::from_utf8(path).unwrap();
        match entry {
            ContentEntry::Directory => format!("{path}/"),
            ContentEntry::File {
                executable: true, ..
            } => format!("{path}*"),
            ContentEntry::File { content, .. } => {
                format!("{path}={}", String::from_utf8_lossy(content))
            }
            ContentEntry::Symlink { target } => {
                format!("{path}->{}", String::from_utf8_lossy(target))
            }
        }
    };
    content.iter().map(show).collect()
}

// SC-ART-060
#[test]
fn entries_are_in_directory_walk_order() {
    let content = content(&[
        ("a-b", "1"),
        ("a/b/c", "2"),
        ("a.txt", "3"),
        ("a/b-c", "4"),
        ("b/", ""),
    ]);
    let want = ["a/", "a/b/", "a/b/c=2", "a/b-c=4", "a-b=1", "a.txt=3", "b/"];
    assert_eq!(listing(&content), want);
}

fn placed(from: &str, to: &str) -> Result<Vec<String>, PlaceError> {
    let mut own = content(&[
        ("own/file", "0"),
        ("empty/", ""),
        ("file", "1"),
        ("link", "-> own"),
    ]);
    let other = content(&[("x/a", "2"), ("x/b/c*", ""), ("top", "3"), ("x-y", "4")]);
    let path = |text: &str| TreePath::root().join_clamped(text).unwrap();
    own.place(&other, &path(from), &path(to), Clone::clone)?;
    let rest = ["own/", "own/file=0", "empty/", "file=1", "link->own"];
    Ok(listing(&own)
        .into_iter()
        .filter(|line| !rest.contains(&line.as_str()))
        .collect())
}

// SC-GIT-097, SC-GIT-098
#[rstest]
#[case("", "inc", &["inc/", "inc/top=3", "inc/x/", "inc/x/a=2", "inc/x/b/", "inc/x/b/c*", "inc/x-y=4"])]
#[case(".", "a/b", &["a/", "a/b/", "a/b/top=3", "a/b/x/", "a/b/x/a=2", "a/b/x/b/", "a/b/x/b/c*", "a/b/x-y=4"])]
#[case("x", "empty", &["empty/a=2", "empty/b/", "empty/b/c*"])]
#[case("x/", "own/new", &["own/new/", "own/new/a=2", "own/new/b/", "own/new/b/c*"])]
#[case("top", "file", &["file=3"])]
#[case("../../x/b", "../up", &["up/", "up/c*"])]
fn includes_are_copied_into_place(#[case] from: &str, #[case] to: &str, #[case] want: &[&str]) {
    assert_eq!(placed(from, to).unwrap(), want);
}

// SC-GIT-098
#[rstest]
#[case("nothing", "inc", "cannot stat nothing: no such file or directory")]
#[case("x", "own", "rename to own: file exists")]
#[case("x", "file", "rename to file: file exists")]
#[case("top", "empty", "rename to empty: file exists")]
#[case("x", "", "rename to .: file exists")]
#[case("x", "../..", "rename to .: file exists")]
#[case("x", "file/below", "mkdir file: not a directory")]
#[case("x", "link/below", "mkdir link: not a directory")]
fn conflicting_includes_are_refused(#[case] from: &str, #[case] to: &str, #[case] want: &str) {
    assert_eq!(placed(from, to).unwrap_err().to_string(), want);
}

fn kept(files: &[(&str, &str)], spec_ignore: Option<&str>) -> Vec<String> {
    let content = content(files);
    let filter = content.filter(spec_ignore, &mut InMemory).unwrap();
    let keeps = |entry: &(Vec<u8>, &ContentEntry<Bytes>)| {
        matches!(entry.1, ContentEntry::File { .. }) && !filter.excludes(&entry.0, false).unwrap()
    };
    content
        .iter()
        .filter(keeps)
        .map(|(path, _)| String::from_utf8(path).unwrap())
        .collect()
}

#[rstest]
// SC-ART-070
#[case::scoped(&[("a/.sourceignore", "x"), ("a/x", ""), ("x", "")], None, &["a/.sourceignore", "x"])]
// SC-ART-074
#[case::deeper_wins(&[(".sourceignore", "x"), ("a/.sourceignore", "!x"), ("a/x", ""), ("x", "")], None, &["a/.sourceignore", "a/x", ".sourceignore"])]
#[case::spec_wins(&[(".sourceignore", "x"), ("x", ""), ("y", "")], Some("!x\ny"), &[".sourceignore", "x"])]
// The difference listed under SC-ART-070: a link is followed only within the source.
#[case::link(&[("rules", "x"), (".sourceignore", "-> ./rules"), ("x", "")], None, &["rules"])]
#[case::link_through_folder(&[("d/rules", "x"), ("l", "-> d"), (".sourceignore", "-> l/rules"), ("x", "")], None, &["d/rules"])]
#[case::link_out(&[(".sourceignore", "-> ../rules"), ("x", "")], None, &["x"])]
#[case::link_absolute(&[(".sourceignore", "-> /etc/hosts"), ("x", "")], None, &["x"])]
#[case::link_to_folder(&[("d/x", ""), (".sourceignore", "-> d")], None, &["d/x"])]
#[case::folder(&[(".sourceignore/x", ""), ("y", "")], None, &[".sourceignore/x", "y"])]
// SC-ART-072
#[case::defaults(&[("a.png", ""), ("x", "")], Some("# nothing\n"), &["x"])]
fn ignore_files_and_patterns_exclude_files(
    #[case] files: &[(&str, &str)],
    #[case] spec: Option<&str>,
    #[case] want: &[&str],
) {
    let mut want = want.to_vec();
    let mut found = kept(files, spec);
    want.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, want);
}

#[test]
fn a_symlink_loop_is_an_error() {
    let looped = content(&[(".sourceignore", "-> a"), ("a", "-> .sourceignore")]);
    let error = looped.filter(None, &mut InMemory).unwrap_err();
    assert_eq!(
        error.to_string(),
        "open .sourceignore: too many levels of symbolic links"
    );
}

/// Fails every read.
struct Unreadable;

impl ReadContent for Unreadable {
    type Handle = Bytes;

    fn read<'s>(&'s mut self, _: &'s Bytes) -> io::Result<&'s [u8]> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn open<'s>(&'s mut self, _: &'s Bytes) -> io::Result<(u64, Box<dyn Read + 's>)> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

// SC-ART-060, SC-ART-066, SC-GIT-076
#[test]
fn an_archive_contains_only_unfiltered_files() {
    let content = content(&[
        ("a/run*", "1"),
        ("a/b/kept", "2"),
        ("a/x", "3"),
        ("link", "-> a/run"),
        ("empty/", ""),
    ]);
    let filter = content.filter(Some("x\na/b"), &mut InMemory).unwrap();
    let packed = content.pack(&filter, &mut InMemory, || Ok(()), Vec::new());
    let tree = crate::extract(
        &packed.unwrap()[..],
        &crate::ExtractOptions::default(),
        flux_budget::Claim::unlimited(),
    );
    let found = Content::from(&tree.unwrap());
    assert_eq!(listing(&found), ["a/", "a/run*", "empty/"]);
}

#[test]
fn packing_stops_when_the_check_fails() {
    let content = content(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let filter = content.filter(None, &mut InMemory).unwrap();
    let mut left = 2;
    let check = || {
        left -= 1;
        if left == 0 {
            return Err(io::Error::other("late"));
        }
        Ok(())
    };
    let stopped = content.pack(&filter, &mut InMemory, check, io::sink());
    assert!(matches!(&stopped, Err(PackError::Stopped(error)) if error.to_string() == "late"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let content = content(&[("a/b", "1")]);
    let filter = content.filter(None, &mut InMemory).unwrap();
    let failed = content.pack(&filter, &mut Unreadable, || Ok(()), io::sink());
    assert_eq!(failed.unwrap_err().to_string(), "failed to read a/b");
    let rules = content_with_rules().filter(None, &mut Unreadable);
    assert_eq!(
        rules.unwrap_err().to_string(),
        "failed to read .sourceignore"
    );
}

fn content_with_rules() -> Content<Bytes> {
    content(&[(".sourceignore", "x")])
}
