//! Updates of checkouts of real repositories.

use std::time::Duration;

use flux_git::{AuthOptions, Checkout, CheckoutOptions, GitUrl, Reference, Remote, RemoteOptions};
use flux_setters::Image;
use git_servers::{CommitBuilder, HttpGitServer, Repo};

use super::*;

const MARKED: &str = "tag: old # {\"$imagepolicy\": \"ns:app:tag\"}\n";

fn updated(content: &str) -> String {
    content.replace("old", "v2")
}

/// A checkout of a repository with the files of one commit.
async fn checked_out(
    files: impl FnOnce(CommitBuilder<'_>) -> CommitBuilder<'_>,
    sparse: &[&str],
) -> WorkingCopy {
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    files(repo.commit("main")).create();
    let url = GitUrl::parse(&server.url("app.git")).unwrap();
    let auth = AuthOptions::new(&url, None).unwrap();
    let remote = Remote::new(url, auth, RemoteOptions::default()).unwrap();
    let main = Reference {
        branch: Some("main".into()),
        ..Reference::default()
    };
    let options = CheckoutOptions {
        shallow: true,
        sparse: sparse.iter().map(|&path| path.to_owned()).collect(),
        ..CheckoutOptions::default()
    };
    let copy = remote
        .checkout(&main, &options, Duration::from_mins(1))
        .await;
    let Checkout::WorkingCopy(copy) = copy.unwrap() else {
        panic!("the repository has a commit");
    };
    *copy
}

fn setters() -> Setters {
    let mut setters = Setters::default();
    let image = Image {
        name: "app",
        tag: "v2",
        digest: None,
    };
    setters.add("ns", "app", &image);
    setters
}

fn run(copy: &WorkingCopy, path: &str) -> Result<Update, FilesError> {
    update(copy, path, &setters(), &Claim::unlimited())
}

fn paths(update: &Update) -> Vec<String> {
    let files = update.files.iter();
    files
        .map(|file| String::from_utf8(file.path.clone()).unwrap())
        .collect()
}

fn recorded(update: &Update) -> Vec<&str> {
    update.changes.files().into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_files_below_the_path_are_updated() {
    fn tree(commit: CommitBuilder<'_>) -> CommitBuilder<'_> {
        commit
            .file("a.yaml", MARKED)
            .file("apps/b.yml", MARKED)
            .file("apps/deep/Kustomization", MARKED)
            .file("apps/.ci/c.yaml", MARKED)
            .file("appsx/d.yaml", MARKED)
            .file("apps/e.json", MARKED)
            .file("apps/f.yaml", "tag: old\n")
            .executable("apps/g.yaml", MARKED)
    }
    let copy = checked_out(tree, &[]).await;
    tokio::task::spawn_blocking(move || {
        // IA-UPD-001, IA-UPD-002, IA-UPD-005
        let update = run(&copy, "").unwrap();
        let all = [
            "a.yaml",
            "apps/.ci/c.yaml",
            "apps/b.yml",
            "apps/deep/Kustomization",
            "apps/g.yaml",
            "appsx/d.yaml",
        ];
        // FR-N-109: without a path all environments
        assert_eq!(paths(&update), all);
        let wanted = updated(MARKED);
        assert!(
            update
                .files
                .iter()
                .all(|file| file.content == wanted.as_bytes())
        );
        for path in ["./apps", "apps/", "/apps", "x/../apps", "../../apps"] {
            let update = run(&copy, path).unwrap();
            assert_eq!(paths(&update), all[1..5], "{path}");
            // IA-UPD-080
            let files = [".ci/c.yaml", "b.yml", "deep/Kustomization", "g.yaml"];
            assert_eq!(recorded(&update), files);
        }
        // IA-UPD-002
        let update = run(&copy, "apps/b.yml").unwrap();
        assert_eq!(
            (paths(&update), recorded(&update)),
            (vec!["apps/b.yml".to_owned()], vec!["b.yml"])
        );
        // IA-UPD-003
        for path in ["none", "apps/none.yaml", "a.yaml/x"] {
            let error = run(&copy, path).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("walking path for files: lstat {path}: no such file or directory")
            );
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_followed_within_the_repository_only() {
    fn tree(commit: CommitBuilder<'_>) -> CommitBuilder<'_> {
        commit
            .file("base/real.txt", MARKED)
            .file("base/other.yaml", MARKED)
            .symlink("apps/link.yaml", "../base/real.txt")
            .symlink("apps/again.yaml", "link.yaml")
            .symlink("apps/out.yaml", "../../base/other.yaml")
            .symlink("apps/absolute.yaml", "/base/other.yaml")
            .symlink("apps/passwd.yaml", "/etc/passwd")
            .symlink("apps/dangling.yaml", "none.yaml")
            .symlink("apps/loop.yaml", "loop.yaml")
            .symlink("apps/folder", "../base")
            .symlink("apps/folder.yaml", "../base")
            .symlink("current", "apps")
    }
    let copy = checked_out(tree, &[]).await;
    tokio::task::spawn_blocking(move || {
        let update = run(&copy, "apps").unwrap();
        // IA-UPD-007, IA-UPD-008, IA-GIT-058: through links to files, not to folders, not out of the repository
        assert_eq!(paths(&update), ["base/real.txt"]);
        assert_eq!(recorded(&update), ["again.yaml", "link.yaml"]);
        // IA-UPD-001: a link in the update path stays in the repository
        assert_eq!(paths(&run(&copy, "current").unwrap()), ["base/real.txt"]);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_do_not_block_others() {
    fn tree(commit: CommitBuilder<'_>) -> CommitBuilder<'_> {
        commit
            .file("bad.yaml", format!("{MARKED}x: {{\n"))
            .file("binary.yaml", [MARKED.as_bytes(), b"\xff\xfe\0"].concat())
            .file("good.yaml", MARKED)
            .file(
                "huge.yaml",
                [MARKED.as_bytes(), &b"#".repeat(17 << 20)].concat(),
            )
            .file("text.yaml", format!("a: |\n  {MARKED}"))
            .submodule("vendor.yaml", "1234567890123456789012345678901234567890")
    }
    let copy = checked_out(tree, &[]).await;
    tokio::task::spawn_blocking(move || {
        let update = run(&copy, "").unwrap();
        // IA-UPD-009, IA-UPD-012
        assert_eq!(paths(&update), ["good.yaml"]);
        let notes = update.notes.iter();
        let notes: Vec<_> = notes.map(|note| (note.path.as_str(), note.line)).collect();
        assert_eq!(
            notes,
            [
                ("bad.yaml", None),
                ("binary.yaml", None),
                ("text.yaml", Some(2))
            ]
        );
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_checkout_has_only_its_path() {
    fn tree(commit: CommitBuilder<'_>) -> CommitBuilder<'_> {
        commit.file("apps/a.yaml", MARKED).file("b.yaml", MARKED)
    }
    let copy = checked_out(tree, &["apps"]).await;
    tokio::task::spawn_blocking(move || {
        // IA-GIT-048
        assert_eq!(paths(&run(&copy, "").unwrap()), ["apps/a.yaml"]);
    })
    .await
    .unwrap();
}
