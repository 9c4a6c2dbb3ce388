//! Remote files and repositories: asked for, then used (KZ-PATH and KZ-REM rows).

use flux_kustomize::{Build, Error, Options, RemoteBase, RemoteFailure, Remotes, build};
use flux_tree::{Tree, TreePath};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";
const URL: &str = "https://git.example/org/repo//deploy?ref=v1";

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::new(path).unwrap();
        tree.insert_file(path, (*text).to_owned(), false).unwrap();
    }
    tree
}

fn run(root: &str, remotes: &Remotes) -> Result<Build, Error> {
    let tree = tree(&[("kustomization.yaml", root)]);
    build(&tree, &TreePath::root(), &Options::flux(), remotes)
}

fn not_found() -> Result<bytes::Bytes, RemoteFailure> {
    Err(RemoteFailure::Other("no such host".into()))
}

#[test]
fn a_repository_is_asked_for_and_then_built() {
    // KZ-REM-001, KZ-REM-003, KZ-REM-012, KZ-PATH-002
    let root = format!("namePrefix: p-\nresources: ['{URL}']\n");
    let mut remotes = Remotes::new();
    let Build::Needs(needs) = run(&root, &remotes).unwrap() else {
        panic!("nothing was asked for");
    };
    assert_eq!(needs, [RemoteBase::File(URL.into())]);
    remotes.add_file(URL, not_found());
    let Build::Needs(needs) = run(&root, &remotes).unwrap() else {
        panic!("the repository was not asked for");
    };
    let [RemoteBase::Repository(repository)] = needs.as_slice() else {
        panic!("something else was asked for: {needs:?}");
    };
    assert_eq!(repository.url, "https://git.example/org/repo");
    assert_eq!(repository.reference, "v1");
    let checkout = tree(&[
        ("deploy/kustomization.yaml", "resources: [a.yaml]"),
        ("deploy/a.yaml", MAP),
    ]);
    remotes.add_repository(repository.clone(), Ok(checkout));
    let Build::Done(output) = run(&root, &remotes).unwrap() else {
        panic!("more was asked for");
    };
    assert_eq!(
        output.resources.to_yaml(),
        MAP.replace("name: a", "name: p-a")
    );
}

#[test]
fn a_repository_is_left_neither_by_files_nor_by_bases() {
    // KZ-REM-020
    for (text, part) in [
        (
            "resources: [../a.yaml]",
            "security; file '/a.yaml' is not in or below '/deploy'",
        ),
        (
            "resources: [../../up]",
            "security; bases in kustomizations found in cloned git repos",
        ),
    ] {
        let mut remotes = Remotes::new();
        remotes.add_file(URL, not_found());
        let root = format!("resources: ['{URL}']");
        let Build::Needs(needs) = run(&root, &remotes).unwrap() else {
            panic!("nothing was asked for");
        };
        let RemoteBase::Repository(repository) = &needs[0] else {
            panic!("something else was asked for: {needs:?}");
        };
        let checkout = tree(&[("deploy/kustomization.yaml", text), ("a.yaml", MAP)]);
        remotes.add_repository(repository.clone(), Ok(checkout));
        let error = run(&root, &remotes).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_bad_answer_ends_the_search() {
    // KZ-PATH-016
    let url = "https://files.example/a.yaml";
    let mut remotes = Remotes::new();
    let status = RemoteFailure::Status {
        code: 404,
        text: "Not Found".into(),
    };
    remotes.add_file(url, Err(status));
    let error = run(&format!("resources: ['{url}']"), &remotes).unwrap_err();
    assert!(matches!(error, Error::Remote { .. }));
    assert!(
        error
            .to_string()
            .ends_with("HTTP Error: status code 404 (Not Found)"),
        "{error}"
    );
}
