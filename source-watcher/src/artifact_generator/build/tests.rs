//! Building artifacts of sources.

use flux_api::extensions::{CopyOperation, OutputArtifact};
use flux_artifact::{Algorithm, ExtractOptions, Retention, extract, extract_summed, pack_tree};
use flux_budget::Claim;
use flux_tree::{Entry, Tree, TreePath};

use super::*;

fn source(files: &[(&str, &str)]) -> SourceFiles {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, (*text).to_owned(), false).unwrap();
    }
    let archive = pack_tree(&tree, |_, _| false, Vec::new()).unwrap();
    let file = tempfile::tempfile().unwrap();
    let options = ExtractOptions::default();
    let files = extract_summed(&archive[..], &options, Claim::unlimited(), file).unwrap();
    [("src".to_owned(), Arc::new(files))].into()
}

fn workshop(folder: &TempDir, files: &[(&str, &str)]) -> Workshop {
    let retention = Retention::default();
    let storage = Storage::open(folder.path(), "host", Algorithm::Sha256, retention).unwrap();
    Workshop {
        sources: Arc::new(source(files)),
        storage: Arc::new(storage),
        budget: Budget::unlimited(),
        steps: Arc::default(),
        work: Arc::new(tempfile::tempdir().unwrap()),
        until: Instant::now() + Duration::from_mins(1),
    }
}

fn request(name: &str, from: &str) -> Arc<Request> {
    let copy = CopyOperation {
        from: from.to_owned(),
        to: "@artifact/".to_owned(),
        ..CopyOperation::default()
    };
    Arc::new(Request {
        artifact: OutputArtifact {
            name: name.to_owned(),
            copy: vec![copy],
            ..OutputArtifact::default()
        },
        ..Request::default()
    })
}

async fn build(workshop: &Workshop, name: &str, known: Option<Output>) -> Built {
    let built = workshop.build(request(name, "@src/"), "ns".to_owned(), known);
    built.await.unwrap()
}

fn unpacked(workshop: &Workshop, path: &str) -> Vec<String> {
    let archive = workshop.storage.read(path).unwrap();
    let tree = extract(archive, &ExtractOptions::default(), Claim::unlimited()).unwrap();
    tree.iter().map(|(path, _)| path.to_string()).collect()
}

#[tokio::test]
async fn archives_are_stored_by_name_and_content() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("a.yaml", "x"),
        ("b.tar.gz", ""),
        ("c.tgz", ""),
        ("d/.sops.yaml", ""),
        (".sourceignore", "*.yaml"),
    ];
    let workshop = workshop(&folder, &files);
    let app = build(&workshop, "app", None).await;
    // SW-ART-010, SW-ART-066
    assert_eq!(
        app.path,
        format!("externalartifact/ns/app/{}", app.output.file)
    );
    let digits = app.output.file.strip_suffix(".tar.gz").unwrap();
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits}");
    // SW-ART-016, SW-ART-017, SW-ART-018
    assert_eq!(
        unpacked(&workshop, &app.path),
        [".sourceignore", "a.yaml", "c.tgz", "d"]
    );
    // SW-ART-012
    let other = build(&workshop, "other", None).await;
    assert_eq!(other.output.digest, app.output.digest);
    assert_ne!(other.output.file, app.output.file);
    // SW-ART-020: the lock remains
    let lock = folder.path().join(format!("{}.lock", app.path));
    assert!(lock.is_file());
}

// SW-ART-013
#[tokio::test]
async fn another_content_of_the_same_name_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    // both have the same Adler-32
    let first = build(&workshop(&folder, &[("a", "bdb")]), "app", None).await;
    let other = workshop(&folder, &[("a", "cbc")]);
    let second = build(&other, "app", Some(first.output.clone())).await;
    assert_eq!(second.output.file, first.output.file);
    assert!(!second.is_kept);
    assert_ne!(second.output.digest, first.output.digest);
    let archive = other.storage.read(&second.path).unwrap();
    let tree = extract(archive, &ExtractOptions::default(), Claim::unlimited()).unwrap();
    let file = tree.get(&TreePath::new("a").unwrap());
    assert!(matches!(file, Some(Entry::File(file)) if &*file.content == b"cbc"));
}

// SW-ART-015, SW-ART-021, SW-GEN-202
#[tokio::test]
async fn an_equal_artifact_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let first_shop = workshop(&folder, &[("a.yaml", "x")]);
    let first = build(&first_shop, "app", None).await;
    let file = folder.path().join(&first.path);
    let long_ago = SystemTime::now() - Duration::from_hours(1);
    File::open(&file).unwrap().set_modified(long_ago).unwrap();
    let mut known = first.output.clone();
    known.state = FileState::of(&first_shop.storage, &first.path).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());

    // a source that is packed anew, with the same files
    let again = build(
        &workshop(&folder, &[("a.yaml", "x")]),
        "app",
        Some(known.clone()),
    )
    .await;
    assert!(again.is_kept && !first.is_kept);
    assert_eq!(again.output.digest, first.output.digest);
    let found = file.metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&found), inode);
    assert!(found.modified().unwrap() > long_ago + Duration::from_mins(1));

    // SW-ART-022: without memory it is written again, with the same bytes
    let anew = build(&first_shop, "app", None).await;
    assert!(!anew.is_kept);
    assert_eq!(
        (&anew.output.digest, &anew.path),
        (&first.output.digest, &first.path)
    );
    // and so is a file that was edited
    let edited = build(&first_shop, "app", Some(known)).await;
    assert!(!edited.is_kept);

    let changed = workshop(&folder, &[("a.yaml", "y")]);
    let changed = build(&changed, "app", Some(anew.output.clone())).await;
    assert_ne!(changed.output.digest, anew.output.digest);
}

#[tokio::test]
async fn failed_builds_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut workshop = workshop(&folder, &[("a\nb", "x"), ("dir/a.yaml", "x")]);
    let fails = async |workshop: &Workshop, from: &str| {
        let built = workshop
            .build(request("app", from), "ns".to_owned(), None)
            .await;
        flux_runtime::outcome::chain(&built.err().unwrap())
    };
    // SW-ART-011
    assert_eq!(
        fails(&workshop, "@src/").await,
        "failed to hash staging dir: filenames with newlines are not supported"
    );
    workshop.until = Instant::now();
    // SW-GEN-092
    assert_eq!(
        fails(&workshop, "@src/dir/a.yaml").await,
        "failed to create artifact: context deadline exceeded"
    );
    let left = std::fs::read_dir(folder.path().join("externalartifact/ns/app")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter()
            .all(|name| name.to_string_lossy().ends_with(".lock")),
        "{left:?}"
    );
}
