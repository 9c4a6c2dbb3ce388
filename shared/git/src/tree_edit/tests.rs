//! Tests of tree edits on trees in memory.

use rstest::rstest;

use super::*;

/// The objects of a repository in memory.
struct Objects {
    new: NewObjects,
    claim: Arc<Claim>,
}

impl Objects {
    fn new() -> Self {
        Self {
            new: NewObjects::default(),
            claim: Arc::new(Claim::unlimited()),
        }
    }

    fn tree(&mut self, entries: &[(&str, &str, ObjectId)]) -> ObjectId {
        let mut raw = Vec::new();
        for (mode, name, id) in entries {
            raw.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            raw.extend_from_slice(id.as_slice());
        }
        self.new.add(&self.claim, Kind::Tree, raw).unwrap()
    }

    fn blob(&mut self, content: &str) -> ObjectId {
        let content = content.as_bytes().to_vec();
        self.new.add(&self.claim, Kind::Blob, content).unwrap()
    }

    fn edit(
        &mut self,
        tree: Option<ObjectId>,
        changes: &[(&str, &str)],
    ) -> Result<ObjectId, String> {
        let mut editor = Editor {
            fetched: None,
            new: &mut self.new,
            claim: &self.claim,
        };
        let changes = changes
            .iter()
            .map(|(path, content)| (path.as_bytes().to_vec(), content.as_bytes().to_vec()));
        editor
            .edit(tree, changes.collect())
            .map_err(|error| flux_errors::chain(&error))
    }

    /// The tree as `mode name` or `mode name=content` with folders indented by their paths.
    fn show(&self, tree: ObjectId, prefix: &str) -> Vec<String> {
        let mut shown = Vec::new();
        let mut rest = self.new.read(&tree, Kind::Tree).unwrap();
        while let Some(((mode, name, id), after)) = next_entry(rest).unwrap() {
            rest = after;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let (mode, name) = (text(mode), format!("{prefix}{}", text(name)));
            let id = object_id(id);
            match self.new.read(&id, Kind::Blob) {
                Some(content) => shown.push(format!("{mode} {name}={}", text(content))),
                None => shown.push(format!("{mode} {name}")),
            }
            if is_folder(mode.as_bytes()) {
                shown.extend(self.show(id, &format!("{name}/")));
            }
        }
        shown
    }
}

/// The hash of a commit elsewhere, or of an object that is not here.
fn elsewhere() -> ObjectId {
    ObjectId::Sha1([7; 20])
}

#[test]
fn only_changed_files_and_their_folders_are_written() {
    // IA-GIT-071
    let mut objects = Objects::new();
    let (one, two) = (objects.blob("1"), objects.blob("2"));
    let inner = objects.tree(&[("100755", "run", one), ("100664", "x", two)]);
    let other = objects.tree(&[("100644", "y", one)]);
    let root = objects.tree(&[
        ("100644", "a", one),
        ("120000", "link", two),
        ("160000", "module", elsewhere()),
        ("040000", "old", other),
        ("40000", "z", inner),
    ]);
    let before = objects.new.clone();
    let edited = objects
        .edit(Some(root), &[("z/run", "new"), ("z/x", "2"), ("a", "1")])
        .unwrap();
    assert_eq!(
        objects.show(edited, ""),
        [
            "100644 a=1",
            "120000 link=2",
            "160000 module",
            "040000 old",
            "100644 old/y=1",
            "40000 z",
            "100755 z/run=new",
            "100664 z/x=2",
        ]
    );
    let pack = |objects: &NewObjects| objects.pack(&Arc::new(Claim::unlimited()), false);
    let count = |pack: &[u8]| u32::from_be_bytes(pack[8..12].try_into().unwrap());
    let (old, new) = (pack(&before).unwrap(), pack(&objects.new).unwrap());
    assert_eq!(count(&new.bytes) - count(&old.bytes), 3); // a file and two folders
}

#[test]
fn equal_contents_change_nothing() {
    // IA-STATUS-024
    let mut objects = Objects::new();
    let one = objects.blob("1");
    let inner = objects.tree(&[("100644", "x", one)]);
    let root = objects.tree(&[("40000", "d", inner)]);
    assert_eq!(objects.edit(Some(root), &[("d/x", "1")]), Ok(root));
    assert_eq!(objects.edit(Some(root), &[]), Ok(root));
}

#[test]
fn new_entries_are_in_the_order_of_git() {
    let mut objects = Objects::new();
    let one = objects.blob("1");
    let root = objects.tree(&[
        ("100644", "a", one),
        ("100644", "a.b", one),
        ("100644", "b", one),
    ]);
    let changes = [("a-b", "2"), ("a0", "3"), ("c/d/e", "4"), ("B", "5")];
    let edited = objects.edit(Some(root), &changes).unwrap();
    assert_eq!(
        objects.show(edited, ""),
        [
            "100644 B=5",
            "100644 a=1",
            "100644 a-b=2",
            "100644 a.b=1",
            "100644 a0=3",
            "100644 b=1",
            "40000 c",
            "40000 c/d",
            "100644 c/d/e=4",
        ]
    );
    // A folder sorts as if its name ended in a slash: after `a.b`, before `a0`.
    let root = objects.tree(&[("100644", "a.b", one), ("100644", "a0", one)]);
    let edited = objects.edit(Some(root), &[("a/x", "1")]).unwrap();
    assert_eq!(
        objects.show(edited, ""),
        ["100644 a.b=1", "40000 a", "100644 a/x=1", "100644 a0=1"]
    );
    let first = objects.edit(None, &[("x/y", "1"), ("w", "2")]).unwrap();
    assert_eq!(
        objects.show(first, ""),
        ["100644 w=2", "40000 x", "100644 x/y=1"]
    );
}

// IA-GIT-112
#[rstest]
#[case("link", "it is not an ordinary file")]
#[case("module", "it is not an ordinary file")]
#[case("d", "it is not an ordinary file")]
#[case("a/b", "it is not a folder")]
#[case("link/b", "it is not a folder")]
#[case("module/b", "it is not a folder")]
#[case("", "empty name")]
#[case("/etc/passwd", "empty name")]
#[case("d//x", "empty name")]
#[case("../x", "relative component")]
#[case("d/./x", "relative component")]
#[case(".git/config", "stands for the .git folder")]
#[case("d/.GIT/hooks/x", "stands for the .git folder")]
#[case("d/x\n", "control character")]
fn paths_that_are_no_files_are_refused(#[case] path: &str, #[case] reason: &str) {
    let mut objects = Objects::new();
    let one = objects.blob("1");
    let inner = objects.tree(&[("100644", "x", one)]);
    let root = objects.tree(&[
        ("100644", "a", one),
        ("40000", "d", inner),
        ("120000", "link", one),
        ("160000", "module", elsewhere()),
    ]);
    let error = objects.edit(Some(root), &[(path, "2")]).unwrap_err();
    assert!(error.ends_with(reason), "{error}");
}

#[test]
fn a_path_is_not_both_a_file_and_a_folder() {
    let mut objects = Objects::new();
    let error = objects.edit(None, &[("n", "1"), ("n/x", "2")]).unwrap_err();
    assert!(error.ends_with("it is both a file and a folder"), "{error}");
}

#[test]
fn long_and_deep_paths_are_refused() {
    let mut objects = Objects::new();
    let long = objects.edit(None, &[(&"x".repeat(5000), "1")]).unwrap_err();
    assert!(long.ends_with("it is longer than 4096 bytes"), "{long}");
    let deep = objects
        .edit(None, &[(&"x/".repeat(2000), "1")])
        .unwrap_err();
    assert!(deep.ends_with("folders are nested too deep"), "{deep}");
}

#[test]
fn damaged_trees_are_errors() {
    for raw in [&b"100644"[..], b"100644 x", b"100644 x\0abc", b"40000 d\0"] {
        let mut objects = Objects::new();
        let root = objects
            .new
            .add(&objects.claim, Kind::Tree, raw.to_vec())
            .unwrap();
        let error = objects.edit(Some(root), &[("y", "1")]).unwrap_err();
        assert!(error.ends_with("the tree is malformed"), "{error}");
    }
    let mut objects = Objects::new();
    let error = objects.edit(Some(elsewhere()), &[("y", "1")]).unwrap_err();
    assert!(error.ends_with("object not found"), "{error}");
}

#[test]
fn memory_is_claimed() {
    let budget = flux_budget::Budget::new(100_000);
    let mut objects = Objects::new();
    objects.claim = Arc::new(budget.claim());
    let big = "x".repeat(200_000);
    let error = objects.edit(None, &[("y", &big)]).unwrap_err();
    assert!(error.contains("take too much memory"), "{error}");
    drop(objects);
    assert_eq!(budget.used(), 0);
}
