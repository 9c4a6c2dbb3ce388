//! The store on disk.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use flux_artifact::{
    Algorithm, Retention, Storage, StorageError, Stored, artifact_dir, is_artifact_of,
};
use tempfile::TempDir;

const ARTIFACT: &str = "gitrepository/ns/app/one.tar.gz";

/// How long a test waits for a lock.
const PATIENCE: Duration = Duration::from_mins(1);

fn store() -> (TempDir, Storage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(
        folder.path(),
        "host",
        Algorithm::Sha256,
        Retention::default(),
    )
    .unwrap();
    (folder, storage)
}

fn write(storage: &Storage, path: &str, content: &str) -> Stored {
    storage.make_dir(path).unwrap();
    let mut writing = storage.create(path).unwrap();
    writing.write_all(content.as_bytes()).unwrap();
    writing.commit().unwrap()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

// SC-ART-001 RT-ART-014
#[test]
fn the_storage_folder_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [PathBuf::from("/nonexistent"), file] {
        let error = Storage::open(&path, "", Algorithm::Sha256, Retention::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("invalid dir path: {}", path.display())
        );
        assert!(!Path::new("/nonexistent").exists());
    }
}

// SC-ART-002 RT-ART-002
#[test]
fn artifact_paths_are_built_from_kind_namespace_and_name() {
    assert_eq!(
        artifact_dir("GitRepository", "flux-system", "podinfo"),
        "gitrepository/flux-system/podinfo"
    );
}

// RT-ART-006
#[test]
fn an_artifact_is_visible_only_once_complete() {
    let (folder, storage) = store();
    storage.make_dir(ARTIFACT).unwrap();
    let dir = folder.path().join("gitrepository/ns/app");
    // SC-ART-005
    for made in [
        folder.path().join("gitrepository"),
        folder.path().join("gitrepository/ns"),
        dir.clone(),
    ] {
        assert_eq!(mode(&made), 0o700, "{}", made.display());
    }
    // SC-ART-006
    let mut writing = storage.create(ARTIFACT).unwrap();
    writing.write_all(b"abc").unwrap();
    assert!(!storage.exists(ARTIFACT).unwrap());
    assert!(names(&dir)[0].starts_with("one.tar.gz."));
    let stored = writing.commit().unwrap();
    assert_eq!(names(&dir), ["one.tar.gz"]);
    assert_eq!(mode(&dir.join("one.tar.gz")), 0o600);
    // SC-ART-008
    assert_eq!(stored.size, 3);
    assert_eq!(
        stored.digest.to_string(),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!(storage.exists(ARTIFACT).unwrap());

    // A failed run leaves nothing behind, and the old artifact unchanged (SC-ART-004: the same name is replaced in
    // place).
    let mut failing = storage.create(ARTIFACT).unwrap();
    failing.write_all(b"half").unwrap();
    drop(failing);
    assert_eq!(names(&dir), ["one.tar.gz"]);
    assert_eq!(fs::read(dir.join("one.tar.gz")).unwrap(), b"abc");
    write(&storage, ARTIFACT, "new");
    assert_eq!(fs::read(dir.join("one.tar.gz")).unwrap(), b"new");
}

// SC-ART-007 RT-ART-009
#[test]
fn a_lock_excludes_others_and_leaves_its_file() {
    let (folder, storage) = store();
    storage.make_dir(ARTIFACT).unwrap();
    let held = storage.lock(ARTIFACT, PATIENCE).unwrap();
    let file = folder.path().join("gitrepository/ns/app/one.tar.gz.lock");
    let other = fs::File::open(&file).unwrap();
    assert!(matches!(
        other.try_lock(),
        Err(fs::TryLockError::WouldBlock)
    ));
    let second = storage.clone();
    let waiting = thread::spawn(move || drop(second.lock(ARTIFACT, PATIENCE).unwrap()));
    drop(held);
    waiting.join().unwrap();
    other.lock().unwrap();
    assert_eq!(
        names(&folder.path().join("gitrepository/ns/app")),
        ["one.tar.gz.lock"]
    );
}

// SC-ART-007
#[test]
fn waiting_for_a_lock_times_out() {
    let (_folder, storage) = store();
    storage.make_dir(ARTIFACT).unwrap();
    let held = storage.lock(ARTIFACT, PATIENCE).unwrap();
    let patience = Duration::from_millis(30);
    let Err(StorageError::Io { action, source, .. }) = storage.lock(ARTIFACT, patience) else {
        panic!("a lock that is held was taken");
    };
    assert_eq!((action, source.kind()), ("lock", ErrorKind::TimedOut));
    assert_eq!(
        source.to_string(),
        "held by another process for more than 30ms"
    );
    drop(held);
    storage.lock(ARTIFACT, Duration::ZERO).unwrap();
}

// RT-ART-008
#[test]
fn artifacts_are_verified_against_every_digest_algorithm() {
    let (folder, storage) = store();
    let stored = write(&storage, ARTIFACT, "abc");
    // SC-ART-035
    for algorithm in Algorithm::ALL {
        storage
            .verify(ARTIFACT, &algorithm.digest(b"abc").to_string())
            .unwrap();
        let other = algorithm.digest(b"other").to_string();
        let error = storage.verify(ARTIFACT, &other).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("computed digest doesn't match '{other}'")
        );
    }
    // SC-ART-033
    assert_eq!(
        storage.verify(ARTIFACT, "").unwrap_err().to_string(),
        "artifact has no digest"
    );
    assert_eq!(
        storage.verify(ARTIFACT, "abc").unwrap_err().to_string(),
        "failed to parse artifact digest 'abc'"
    );
    assert!(
        storage
            .verify(
                "gitrepository/ns/app/two.tar.gz",
                &stored.digest.to_string()
            )
            .is_err()
    );

    // SC-ART-013
    symlink("one.tar.gz", folder.path().join("link")).unwrap();
    assert!(!storage.exists("").unwrap());
    assert!(!storage.exists("gitrepository").unwrap());
    assert!(!storage.exists("nothing").unwrap());
}

// SC-ART-033: only a file with another digest may be removed
#[test]
fn unreadable_artifacts_are_not_reported_as_damaged() {
    let (folder, storage) = store();
    let stored = write(&storage, ARTIFACT, "abc");
    let digest = stored.digest.to_string();
    for wrong in ["", "abc", &Algorithm::Sha256.digest(b"other").to_string()] {
        let error = storage.verify(ARTIFACT, wrong).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }
    // A folder can be opened, but not read.
    fs::remove_file(folder.path().join(ARTIFACT)).unwrap();
    fs::create_dir(folder.path().join(ARTIFACT)).unwrap();
    assert!(!storage.verify(ARTIFACT, &digest).unwrap_err().is_damage());
    // Whether it exists is unknown if a name cannot be looked up.
    let name = format!("gitrepository/ns/app/{}", "n".repeat(300));
    assert!(storage.exists(&name).is_err());
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(!storage.exists("file/below").unwrap());
}

#[test]
fn artifact_paths_are_matched_to_their_owner() {
    for (path, own) in [
        ("gitrepository/ns/app/one.tar.gz", true),
        ("gitrepository/ns/app/..tar.gz", true),
        ("gitrepository/ns/app/", false),
        ("gitrepository/ns/app", false),
        ("gitrepository/ns/app/..", false),
        ("gitrepository/ns/app/.", false),
        ("gitrepository/ns/app//one.tar.gz", false),
        ("gitrepository/ns/app/../other/one.tar.gz", false),
        ("gitrepository/ns/app/a/one.tar.gz", false),
        ("gitrepository/ns/application/one.tar.gz", false),
        ("/gitrepository/ns/app/one.tar.gz", false),
        ("gitrepository/other/app/one.tar.gz", false),
        ("bucket/ns/app/one.tar.gz", false),
        ("", false),
    ] {
        assert_eq!(
            is_artifact_of(path, "GitRepository", "ns", "app"),
            own,
            "{path}"
        );
    }
}

// SC-ART-006 SC-ART-007 SC-ART-009
#[test]
fn leftovers_of_a_killed_process_are_removed() {
    let (folder, storage) = store();
    let dir = folder.path().join("gitrepository/ns/app");
    write(&storage, ARTIFACT, "abc");
    drop(storage.lock(ARTIFACT, PATIENCE).unwrap());
    storage.link(ARTIFACT, "latest.tar.gz").unwrap();
    // What a process leaves behind that is killed while it writes.
    let half = storage.create(ARTIFACT).unwrap();
    std::mem::forget(half);
    drop(
        storage
            .lock("gitrepository/ns/app/two.tar.gz", PATIENCE)
            .unwrap(),
    );
    symlink(dir.join("one.tar.gz"), dir.join("latest.tar.gz.tmp")).unwrap();
    let held = storage
        .lock("gitrepository/ns/app/three.tar.gz", PATIENCE)
        .unwrap();
    let all = names(&dir);

    let before = SystemTime::UNIX_EPOCH;
    assert_eq!(storage.remove_leftovers(before).removed, 0);
    assert_eq!(names(&dir), all, "what was written since is in use");

    let leftovers = storage.remove_leftovers(SystemTime::now() + Duration::from_mins(1));
    assert_eq!((leftovers.removed, leftovers.problems), (3, vec![]));
    assert_eq!(
        names(&dir),
        [
            "latest.tar.gz",
            "one.tar.gz",
            "one.tar.gz.lock",
            "three.tar.gz.lock"
        ]
    );
    drop(held);
    assert_eq!(fs::read(dir.join("latest.tar.gz")).unwrap(), b"abc");
}

// SC-ART-012 RT-ART-015
#[test]
fn malicious_paths_cannot_leave_the_storage() {
    let (folder, storage) = store();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path(), folder.path().join("out")).unwrap();
    assert!(!storage.exists("out/secret").unwrap());
    let up = format!("..{}/secret", outside.path().display());
    assert!(!storage.exists(&up).unwrap());
    for nothing in ["", "/", "..", "a/.."] {
        assert!(
            matches!(storage.locate(nothing), Err(StorageError::Path(_))),
            "{nothing}"
        );
        assert!(storage.remove_all(nothing).is_err());
    }
}

// SC-ART-009 SC-ART-010
#[test]
fn latest_symlinks_are_replaced_atomically() {
    let (folder, storage) = store();
    let dir = folder.path().join("helmchart/ns/app");
    for path in [
        "helmchart/ns/app/app-1.0.0.tgz",
        "helmchart/ns/app/app-1.1.0.tgz",
    ] {
        write(&storage, path, path);
        let url = storage.link(path, "latest.tar.gz").unwrap();
        assert_eq!(url, "http://host/helmchart/ns/app/latest.tar.gz");
        assert_eq!(fs::read_to_string(dir.join("latest.tar.gz")).unwrap(), path);
        assert_eq!(
            fs::read_link(dir.join("latest.tar.gz")).unwrap(),
            folder.path().join(path)
        );
    }
    symlink("stale", dir.join("latest.tar.gz.tmp")).unwrap();
    storage
        .link("helmchart/ns/app/app-1.0.0.tgz", "latest.tar.gz")
        .unwrap();
    assert_eq!(
        names(&dir),
        ["app-1.0.0.tgz", "app-1.1.0.tgz", "latest.tar.gz"]
    );
}

// SC-ART-011: as in upstream, whose clients read the artifact's own URL
#[test]
fn only_artifact_urls_keep_the_scheme_of_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let host = "https://cdn.example.com/base";
    let (algorithm, retention) = (Algorithm::Sha256, Retention::default());
    let storage = Storage::open(folder.path(), host, algorithm, retention).unwrap();
    write(&storage, ARTIFACT, "x");
    assert_eq!(storage.url(ARTIFACT), format!("{host}/{ARTIFACT}"));
    assert_eq!(
        storage.link(ARTIFACT, "latest.tar.gz").unwrap(),
        format!("http://{host}/gitrepository/ns/app/latest.tar.gz")
    );
}

// SC-ART-040 RT-ART-010
#[test]
fn garbage_is_removed_with_its_lock_files() {
    let (folder, storage) = store();
    let dir = folder.path().join("gitrepository/ns/app");
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    for name in ["one", "two", "three"] {
        let path = format!("gitrepository/ns/app/{name}.tar.gz");
        write(&storage, &path, name);
        drop(storage.lock(&path, PATIENCE).unwrap());
        let file = fs::File::open(dir.join(format!("{name}.tar.gz"))).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    write(&storage, "gitrepository/ns/app/young.tar.gz", "young");
    storage.link(ARTIFACT, "latest.tar.gz").unwrap();
    fs::File::open(dir.join("two.tar.gz.lock"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(storage.collect_garbage(ARTIFACT).unwrap(), 2);
    assert_eq!(
        // SC-ART-041, SC-ART-042
        names(&dir),
        [
            "latest.tar.gz",
            "one.tar.gz",
            "one.tar.gz.lock",
            "young.tar.gz"
        ]
    );
    assert_eq!(storage.collect_garbage(ARTIFACT).unwrap(), 0);
}

// SC-ART-045 SC-ART-046
#[test]
fn deleting_an_object_removes_its_folder() {
    let (folder, storage) = store();
    write(&storage, ARTIFACT, "x");
    drop(storage.lock(ARTIFACT, PATIENCE).unwrap());
    storage.link(ARTIFACT, "latest.tar.gz").unwrap();
    write(&storage, "gitrepository/ns/other/x.tar.gz", "y");
    assert!(storage.remove_all("gitrepository/ns/app").unwrap());
    assert!(!storage.remove_all("gitrepository/ns/app").unwrap());
    assert_eq!(names(&folder.path().join("gitrepository/ns")), ["other"]);

    // What cannot be removed is reported.
    fs::write(folder.path().join("gitrepository/ns/file"), "").unwrap();
    let error = storage.remove_all("gitrepository/ns/file").unwrap_err();
    assert!(matches!(
        error,
        StorageError::Io {
            action: "remove",
            ..
        }
    ));
}

// SC-ART-026
#[test]
fn artifact_urls_use_the_current_host() {
    let (_folder, storage) = store();
    assert_eq!(
        storage.rehosted("http://old:9090/a/latest.tar.gz"),
        "http://host/a/latest.tar.gz"
    );
    assert_eq!(storage.rehosted("nothing"), "");
}
