//! Remote files and repositories are requested, then used (KZ-PATH and KZ-REM rows).

use flux_kustomize::{Build, Error, Options, RemoteBase, RemoteFailure, Remotes, build};
use flux_tree::{Entry, Tree, TreePath};

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
fn a_repository_is_requested_and_then_built() {
    let root = format!("namePrefix: p-\nresources: ['{URL}']\n");
    let mut remotes = Remotes::new();
    let Build::Needs(needs) = run(&root, &remotes).unwrap() else {
        panic!("nothing was asked for");
    };
    // KZ-PATH-002: first as a file
    assert_eq!(needs, [RemoteBase::File(URL.into())]);
    remotes.add_file(URL, not_found());
    let Build::Needs(needs) = run(&root, &remotes).unwrap() else {
        panic!("the repository was not asked for");
    };
    // KZ-REM-001
    let [RemoteBase::Repository(repository)] = needs.as_slice() else {
        panic!("something else was asked for: {needs:?}");
    };
    // KZ-REM-012
    assert_eq!(repository.url, "https://git.example/org/repo");
    // KZ-REM-003
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
fn paths_cannot_leave_a_repository() {
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
fn an_error_status_ends_the_search() {
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

/// The remote files that a build of this root requests, once its earlier requests are fulfilled.
fn asked(root: &str, remotes: &Remotes) -> Vec<RemoteBase> {
    match run(root, remotes).unwrap() {
        Build::Needs(needs) => needs,
        Build::Done(_) => panic!("nothing was asked for"),
    }
}

/// Fulfils every request for a repository with the same checkout, and every one for a file with a failure.
fn answer(root: &str, checkout: &[(&str, &str)]) -> Result<String, Error> {
    let mut remotes = Remotes::new();
    for _ in 0..10 {
        let needs = match run(root, &remotes)? {
            Build::Done(output) => return Ok(output.resources.to_yaml()),
            Build::Needs(needs) => needs,
        };
        for need in needs {
            match need {
                RemoteBase::File(url) => remotes.add_file(url, not_found()),
                RemoteBase::Repository(repository) => {
                    remotes.add_repository(repository, Ok(tree(checkout)));
                }
                other => panic!("something new was asked for: {other:?}"),
            }
        }
    }
    panic!("there is no end of questions")
}

#[test]
fn a_repository_that_is_used_twice_is_requested_once() {
    // KZ-REM-022
    let root = "resources: [one, two]";
    let base = |prefix: &str| format!("namePrefix: {prefix}-\nresources: ['{URL}']\n");
    let files = [
        ("kustomization.yaml", root.to_owned()),
        ("one/kustomization.yaml", base("one")),
        ("two/kustomization.yaml", base("two")),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    let mut remotes = Remotes::new();
    remotes.add_file(URL, not_found());
    let needs = build(&tree(&files), &TreePath::root(), &Options::flux(), &remotes).unwrap();
    assert!(matches!(needs, Build::Needs(needs) if needs.len() == 1));
}

#[test]
fn a_base_in_a_repository_is_a_folder_of_it() {
    // KZ-REM-019
    let root = format!("resources: ['{URL}']");
    let error = answer(&root, &[("deploy", "a file")]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("'/deploy' refers to file 'deploy'; expecting directory"),
        "{text}"
    );
    let mut remotes = Remotes::new();
    remotes.add_file(URL, not_found());
    let RemoteBase::Repository(repository) = asked(&root, &remotes).remove(0) else {
        panic!("no repository was asked for");
    };
    let mut checkout = Tree::new();
    let link = Entry::Symlink("../elsewhere".into());
    checkout
        .insert(TreePath::new("deploy").unwrap(), link)
        .unwrap();
    remotes.add_repository(repository, Ok(checkout));
    let error = run(&root, &remotes).unwrap_err();
    assert!(matches!(error, Error::Escapes { .. }));
    let text = error.to_string();
    assert!(
        text.contains("\"/deploy\" refers to directory outside of repo"),
        "{text}"
    );
}

#[test]
fn a_repository_that_names_itself_is_refused() {
    // KZ-REM-021
    let again = format!("resources: ['{URL}']");
    let error = answer(&again, &[("deploy/kustomization.yaml", &again)]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!(
            "cycle detected: URI '{URL}' referenced by previous URI '{URL}'"
        )),
        "{text}"
    );
}

#[test]
fn every_file_may_be_remote() {
    // KZ-PATH-014
    let url = "https://files.example/x";
    let map = "resources: [a.yaml]\n";
    for field in [
        "resources: [URL]",
        "patches: [{path: URL}]",
        "patchesStrategicMerge: [URL]",
        "patchesJson6902: [{target: {version: v1, kind: ConfigMap, name: a}, path: URL}]",
        "configMapGenerator: [{name: g, files: [URL]}]",
        "configMapGenerator: [{name: g, files: [key=URL]}]",
        "configMapGenerator: [{name: g, envs: [URL]}]",
        "openapi: {path: URL}",
        "crds: [URL]",
        "configurations: [URL]",
        "replacements: [{path: URL}]",
        "transformers: [URL]",
        "generators: [URL]",
        "validators: [URL]",
    ] {
        let root = field.replace("URL", url);
        let root = if field.starts_with("resources") {
            root
        } else {
            format!("{map}{root}")
        };
        let tree = tree(&[("kustomization.yaml", &root), ("a.yaml", MAP)]);
        let built = build(&tree, &TreePath::root(), &Options::flux(), &Remotes::new()).unwrap();
        assert_eq!(
            built,
            Build::Needs(vec![RemoteBase::File(url.into())]),
            "{field}"
        );
    }
}
