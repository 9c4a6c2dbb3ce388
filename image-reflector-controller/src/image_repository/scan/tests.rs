//! Tests of what a list of tags becomes.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::store::RevisionForm;

fn storing(folder: &TempDir, tags: &str, exclusions: &[&str]) -> Storing {
    Storing {
        listed: Tags::of_lines(tags.to_owned()),
        exclusions: exclusions.iter().map(|&text| text.to_owned()).collect(),
        canonical: "ghcr.io/org/app".to_owned(),
        key: Key::new("apps", "web"),
        seen: None,
        store: Store::open(folder.path(), 64 << 10, RevisionForm::Files).unwrap(),
        claim: Arc::new(Claim::unlimited()),
        deadline: Instant::now() + Duration::from_mins(1),
    }
}

fn error(storing: Storing) -> String {
    let error = storing.run().map(|seen| seen.result).unwrap_err();
    flux_runtime::outcome::chain(&error)
}

#[test]
fn excluded_tags_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for (exclusions, kept) in [
        // IR-REPO-085, IR-REPO-089
        (
            &[r"^.*\.sig$"][..],
            "v2\nv1\nsha256-1.sig.att\nsha256-1.att\n",
        ),
        (&["sig|att"], "v2\nv1\n"),
        (&["^v", r"\.sig$"], "sha256-1.sig.att\nsha256-1.att\n"),
        (&["."], ""),
    ] {
        let listed = "sha256-1.att\nsha256-1.sig\nsha256-1.sig.att\nv1\nv2\n";
        let storing = storing(&folder, listed, exclusions);
        let (store, key) = (storing.store.clone(), storing.key.clone());
        let seen = storing.run().unwrap();
        let stored = store.read(&key, &Claim::unlimited()).unwrap().unwrap();
        assert_eq!(stored.tags.lines(), kept, "{exclusions:?}");
        // IR-REPO-026, IR-REPO-027, IR-REPO-028
        let result = seen.result();
        assert_eq!(result.revision.as_deref(), Some(&*stored.revision));
        assert_eq!(result.tag_count, i32::try_from(stored.tags.len()).unwrap());
        assert!(result.scan_time.is_some());
        // IR-REPO-029
        assert_eq!(result.latest_tags, kept.lines().collect::<Vec<_>>());
    }
}

// IR-REPO-029, IR-REPO-087
#[test]
fn the_status_has_ten_tags_and_no_order_of_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = || 10..=30;
    let ascending: String = numbers().map(|n| format!("{n}\n")).collect();
    let descending: String = numbers().rev().map(|n| format!("{n}\n")).collect();
    let one = storing(&folder, &ascending, &["x"]).run().unwrap();
    let other = storing(&folder, &descending, &["x"]).run().unwrap();
    assert_eq!(one.result.revision, other.result.revision);
    let latest: Vec<String> = (21..=30).rev().map(|n| n.to_string()).collect();
    assert_eq!(one.result.latest_tags, latest);
    assert_eq!(one.result.tag_count, 21);
}

#[test]
fn what_is_listed_again_is_neither_sorted_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("imagerepository/apps/web/tags.txt");
    let inode = || {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&file).unwrap().ino()
    };
    let first = storing(&folder, "a\nb\n", &["x"]).run().unwrap();
    let before = inode();
    // A process that knows the scan before does not compile the expressions again.
    let mut again = storing(&folder, "a\nb\n", &["x"]);
    again.seen = Some(first.clone());
    again.deadline = Instant::now();
    assert_eq!(again.run().unwrap().result.revision, first.result.revision);
    // Another one sorts, and finds the same in the store.
    storing(&folder, "b\na\n", &["x"]).run().unwrap();
    assert_eq!(inode(), before);
    // Tags that are lost are written again.
    std::fs::remove_file(&file).unwrap();
    let mut lost = storing(&folder, "a\nb\n", &["x"]);
    lost.seen = Some(first.clone());
    lost.run().unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "b\na\n");
    // Other exclusions are another result.
    let mut other = storing(&folder, "a\nb\n", &["b"]);
    other.seen = Some(first);
    assert_eq!(other.run().unwrap().result.tag_count, 1);
}

#[test]
fn hostile_exclusions_have_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let large = r"\pL{40}".repeat(20);
    let text = error(storing(&folder, "a\n", &[&large]));
    assert!(text.contains("expression too large"), "{text}");
    // IR-REPO-086
    let text = error(storing(&folder, "a\n", &["x", "("]));
    assert!(
        text.starts_with("failed to compile regex (: error parsing regexp: "),
        "{text}"
    );
    // IR-DB-004
    let mut late = storing(&folder, "a\n", &["x"]);
    late.deadline = Instant::now();
    let (store, key) = (late.store.clone(), late.key.clone());
    assert_eq!(error(late), "context deadline exceeded");
    assert!(store.read(&key, &Claim::unlimited()).unwrap().is_none());
}
