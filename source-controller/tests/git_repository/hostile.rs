//! Repositories that no honest Git client creates, or that an old one created.

use std::fmt::Write as _;

use flux_tree::name_bytes;
use git_servers::Repo;
use kind_tests::{Result, ensure};

use crate::support::World;

/// Adds a commit with these fast-import commands to `main`.
fn import(repo: &Repo, changes: &str) {
    let head = "commit refs/heads/main\ncommitter t <t@x> 1700000000 +0000\ndata 1\nx\ndeleteall\n";
    repo.fast_import(format!("{head}{changes}").as_bytes());
}

/// Ten files in ten times ten folders, and so on: few objects, 10^10 files.
fn share_trees(repo: &Repo) {
    let mut changes = String::new();
    for number in 0..10 {
        let _ = write!(changes, "M 100644 inline f{number}\ndata 2\nx\n\n");
    }
    import(repo, &changes);
    for _ in 0..9 {
        let tree = repo.rev_parse("main^{tree}");
        repo.delete_branch("main");
        let folder = |number| format!("M 040000 {tree} d{number}\n");
        import(repo, &(0..10).map(folder).collect::<String>());
    }
}

// SC-ART-068
#[tokio::test]
async fn repositories_that_do_not_fit_into_memory_do_not_affect_others() -> Result {
    let world = World::start("git-large").await?;
    share_trees(&world.repo("bomb.git"));
    world.repo("app.git");
    for name in ["one", "two"] {
        world
            .apply(name, "bomb.git", "ref: {branch: main}, timeout: 10m")
            .await?;
    }
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    for name in ["one", "two"] {
        let message = world
            .condition(name, "FetchFailed", "True", "GitOperationFailed")
            .await?;
        let expected = "of the repository take too much memory: not enough memory: ";
        ensure!(message.contains(expected), "{message}");
    }
    world.ready("app").await?;
    world.controller.check_memory()
}

// SC-GIT-070, SC-ART-090
#[tokio::test]
async fn names_that_are_not_utf8_keep_their_bytes_in_artifacts_and_includes() -> Result {
    let world = World::start("git-names").await?;
    let library = world.repo("lib.git");
    let file = |name: &[u8], text: &str| {
        let begin = format!("data {}\n{text}\n", text.len());
        [b"M 100644 inline ", name, b"\n", begin.as_bytes()].concat()
    };
    let head =
        b"commit refs/heads/main\ncommitter t <t@x> 1700000000 +0000\ndata 1\nx\ndeleteall\n";
    library.fast_import(
        &[
            &head[..],
            &file(b"caf\xe9.txt", "1"),
            &file(b"caf\xe8.txt", "2"),
            &file(b"left\xff/out", "3"),
            &file(b".sourceignore", "left?\n"),
        ]
        .concat(),
    );
    world.repo("app.git");
    world.apply("lib", "lib.git", "ref: {branch: main}").await?;
    world.ready("lib").await?;
    let include = "ref: {branch: main}, include: [{repository: {name: lib}}]";
    world.apply("app", "app.git", include).await?;
    for (name, folder) in [("lib", ""), ("app", "lib/")] {
        let object = world.ready(name).await?;
        let files = world.files(&object).await?;
        for (file, text) in [(b"caf\xe8.txt", "2"), (b"caf\xe9.txt", "1")] {
            let path = [folder.as_bytes(), file].concat();
            let found = files.iter().find(|(name, _)| *name_bytes(name) == path[..]);
            ensure!(found.is_some_and(|(_, found)| found == text), "{files:?}");
        }
        ensure!(!files.values().any(|text| text == "3"), "{files:?}");
    }
    world.controller.check_memory()
}
