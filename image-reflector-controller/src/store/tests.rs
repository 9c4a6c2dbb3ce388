//! Tests of the store on a real file system.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

const KIB: usize = 1024;

fn opened(folder: &TempDir) -> Store {
    Store::open(folder.path(), KIB, RevisionForm::Files).unwrap()
}

fn tags(lines: &str) -> Tags {
    Tags::of_lines(lines.to_owned())
}

fn key() -> Key {
    Key::new("apps", "web")
}

fn read(store: &Store) -> Option<String> {
    let stored = store.read(&key(), &Claim::unlimited()).unwrap();
    stored.map(|stored| stored.tags.lines().to_owned())
}

/// The files below a folder, with their modes.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let name = entry.file_name().into_string().unwrap();
        found.push(format!("{name} {mode:o}"));
        let below = files(&entry.path());
        found.extend(below.into_iter().map(|path| format!("{name}/{path}")));
    }
    found.sort();
    found
}

#[test]
fn tags_are_stored_as_upstream_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    assert_eq!(read(&store), None); // IR-DB-003
    let revision = store.write(&key(), &tags("b\na\n")).unwrap();
    // IR-DB-021, IR-DB-011
    assert_eq!(
        files(folder.path()),
        [
            ".storage-version 600",
            "imagerepository 700",
            "imagerepository/apps 700",
            "imagerepository/apps/web 700",
            "imagerepository/apps/web/tags.txt 600",
        ]
    );
    let file = folder.path().join("imagerepository/apps/web/tags.txt");
    assert_eq!(fs::read_to_string(file).unwrap(), "b\na\n");
    let marker = folder.path().join(".storage-version");
    assert_eq!(fs::read_to_string(marker).unwrap(), "2\n");
    // IR-DB-005, IR-DB-007
    assert_eq!(read(&store).as_deref(), Some("b\na\n"));
    let again = opened(&folder);
    let stored = again.read(&key(), &Claim::unlimited()).unwrap().unwrap();
    assert_eq!(stored.revision, revision);
    again.write(&key(), &tags("c\n")).unwrap();
    assert_eq!(read(&store).as_deref(), Some("c\n"));
    // IR-DB-029
    store.remove(&key()).unwrap();
    store.remove(&key()).unwrap();
    assert_eq!(files(&folder.path().join("imagerepository/apps")), [""; 0]);
}

// IR-PROC-006, IR-DB-020, IR-DB-024
#[test]
fn large_sets_are_compressed_and_have_the_same_revision() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let dir = folder.path().join("imagerepository/apps/web");
    let large = tags(&"v1.0.0\n".repeat(147)); // 1029 bytes
    let compressed = store.write(&key(), &large).unwrap();
    assert_eq!(files(&dir), ["tags.txt.gz 600"]);
    assert_eq!(read(&store).as_deref(), Some(large.lines()));
    let bytes = fs::read(dir.join("tags.txt.gz")).unwrap();
    // IR-DB-023: no name, no time, best compression, no system
    assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    store.write(&key(), &large).unwrap();
    assert_eq!(fs::read(dir.join("tags.txt.gz")).unwrap(), bytes);

    let plain = Store::open(folder.path(), KIB * KIB, RevisionForm::Files).unwrap();
    assert_eq!(plain.write(&key(), &large).unwrap(), compressed);
    assert_eq!(files(&dir), ["tags.txt 600"]);
    let exactly = tags(&"v1.0.00\n".repeat(128));
    assert_eq!(exactly.lines().len(), KIB);
    store.write(&key(), &exactly).unwrap();
    assert_eq!(files(&dir), ["tags.txt.gz 600"]);
}

// IR-DB-022
#[test]
fn repositories_of_one_image_have_tags_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    store.write(&Key::new("apps", "one"), &tags("a\n")).unwrap();
    store
        .write(&Key::new("other", "one"), &tags("b\n"))
        .unwrap();
    store.write(&key(), &tags("c\n")).unwrap();
    store.remove(&Key::new("apps", "one")).unwrap();
    assert_eq!(read(&store).as_deref(), Some("c\n"));
    let other = store.read(&Key::new("other", "one"), &Claim::unlimited());
    assert_eq!(other.unwrap().unwrap().tags.lines(), "b\n");
}

// IR-DB-025, IR-DB-026
#[test]
fn of_two_files_the_newer_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let dir = folder.path().join("imagerepository/apps/web");
    let (plain, compressed) = (dir.join("tags.txt"), dir.join("tags.txt.gz"));
    let large = tags(&"new\n".repeat(400));
    for newer in [true, false] {
        store.write(&key(), &large).unwrap();
        fs::write(&plain, "old\n").unwrap();
        let file = fs::File::options().write(true).open(&plain).unwrap();
        let now = SystemTime::now();
        let shift = Duration::from_mins(1);
        let time = if newer { now + shift } else { now - shift };
        file.set_modified(time).unwrap();
        let expected = if newer { "old\n" } else { large.lines() };
        assert_eq!(read(&store).as_deref(), Some(expected));
        assert_eq!((plain.exists(), compressed.exists()), (newer, !newer));
    }
    // A compressed file that is a link to nothing is as if it was not there.
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink("nowhere", &compressed).unwrap();
    assert_eq!(read(&store), None);
    fs::write(&plain, "a\n").unwrap();
    assert_eq!(read(&store).as_deref(), Some("a\n"));
}

// IR-DB-027, FR-N-078
#[test]
fn damaged_files_are_errors_and_no_tags() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let large = tags(&"v1.0.0-rc.1\n".repeat(400));
    store.write(&key(), &large).unwrap();
    let dir = folder.path().join("imagerepository/apps/web");
    let whole = fs::read(dir.join("tags.txt.gz")).unwrap();
    let long = "a".repeat(1024);
    let cases: [(&str, &[u8], &str); 5] = [
        (
            "tags.txt.gz",
            &whole[..whole.len() / 2],
            "failed to read tags: ",
        ),
        ("tags.txt.gz", b"", "failed to read tags: "),
        ("tags.txt.gz", b"text", "failed to read tags: "),
        (
            "tags.txt",
            long.as_bytes(),
            "failed to read tags: bufio.Scanner: token too long",
        ),
        (
            "tags.txt",
            b"\xff\n",
            "failed to read tags: the file is not UTF-8",
        ),
    ];
    for (name, content, expected) in cases {
        store.remove(&key()).unwrap();
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), content).unwrap();
        let error = store.read(&key(), &Claim::unlimited()).unwrap_err();
        let text = flux_runtime::outcome::chain(&error);
        assert!(text.starts_with(expected), "{text}");
    }
    // an empty file is an empty set, which no status speaks of; a folder in its place is an error
    fs::write(dir.join("tags.txt"), "").unwrap();
    assert_eq!(read(&store).as_deref(), Some(""));
    store.remove(&key()).unwrap();
    fs::create_dir_all(dir.join("tags.txt")).unwrap();
    assert!(store.read(&key(), &Claim::unlimited()).is_err());
    store.remove(&key()).unwrap();
    assert_eq!(read(&store), None);
}

// FR-N-080: what killed processes left is removed by the next write
#[test]
fn a_folder_holds_the_current_set_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    store.write(&key(), &tags("a\n")).unwrap();
    let dir = folder.path().join("imagerepository/apps/web");
    fs::write(dir.join("tags.txt-1234"), "half").unwrap();
    store.write(&key(), &tags("b\n")).unwrap();
    assert_eq!(files(&dir), ["tags.txt 600"]);
    // and a write that fails leaves the set before
    let blocked = Key::new("apps", "blocked");
    fs::write(folder.path().join("imagerepository/apps/blocked"), "").unwrap();
    let error = store.write(&blocked, &tags("a\n")).unwrap_err();
    assert!(matches!(error, StoreError::Folder(_)), "{error}");
    assert_eq!(read(&store).as_deref(), Some("b\n"));
}

// IR-DB-028, IR-DB-032
#[test]
fn names_stay_below_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    for (namespace, name) in [
        ("", "a"),
        ("a", ""),
        ("..", "a"),
        ("a", ".."),
        ("a/b", "c"),
        ("a", "../b"),
    ] {
        let error = store.remove(&Key::new(namespace, name)).unwrap_err();
        assert_eq!(error.to_string(), "repo namespace and name are required");
    }
}

// IR-DB-030, IR-DB-031
#[test]
fn orphans_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    assert_eq!(store.remove_orphans(&HashSet::new()), 0);
    for name in ["web", "gone"] {
        store.write(&Key::new("apps", name), &tags("a\n")).unwrap();
        store.write(&Key::new("old", name), &tags("a\n")).unwrap();
    }
    let kind = folder.path().join("imagerepository");
    fs::write(kind.join("apps/file"), "").unwrap();
    assert_eq!(store.remove_orphans(&HashSet::from([key()])), 3);
    fs::remove_file(kind.join("apps/file")).unwrap();
    assert_eq!(
        files(&kind),
        ["apps 700", "apps/web 700", "apps/web/tags.txt 600"]
    );
}

#[test]
fn a_folder_of_another_format_is_emptied_once() {
    // IR-DB-010
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("new/data");
    Store::open(&root, KIB, RevisionForm::Files).unwrap();
    assert_eq!(files(&root), [".storage-version 600"]);
    let mode = fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    // IR-DB-012, IR-DB-051, IR-DB-053: a Badger database, and an odd version
    for version in [None, Some("1\n"), Some("")] {
        let folder = tempfile::tempdir().unwrap();
        for name in ["MANIFEST", "000001.vlog", "KEYREGISTRY", "LOCK"] {
            fs::write(folder.path().join(name), "badger").unwrap();
        }
        fs::create_dir_all(folder.path().join("imagerepository/apps/web")).unwrap();
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        if let Some(version) = version {
            fs::write(folder.path().join(".storage-version"), version).unwrap();
        }
        let store = opened(&folder);
        assert_eq!(files(folder.path()), [".storage-version 600"]);
        assert_eq!(read(&store), None);
    }

    // IR-DB-014
    let folder = tempfile::tempdir().unwrap();
    opened(&folder).write(&key(), &tags("a\n")).unwrap();
    fs::write(folder.path().join(".storage-version"), " 2 \n\n").unwrap();
    assert_eq!(read(&opened(&folder)).as_deref(), Some("a\n"));

    // IR-DB-013: a process was killed while it emptied the folder
    fs::write(folder.path().join(".storage-wipe-in-progress"), "").unwrap();
    assert_eq!(read(&opened(&folder)), None);
    assert_eq!(files(folder.path()).len(), 1);
}

// IR-DB-015
#[test]
fn a_folder_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file, KIB, RevisionForm::Files).unwrap_err();
    assert_eq!(error.to_string(), "failed to create storage path");
}

#[tokio::test]
async fn readers_are_told_of_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder);
    let mut written = store.clone().subscribe();
    store.write(&key(), &tags("a\n")).unwrap();
    assert_eq!(written.recv().await.unwrap(), key());
}
