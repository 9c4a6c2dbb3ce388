//! The files of a commit: kinds, sparse paths, submodules, and hostile repositories.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use flux_git::{FetchOptions, Fetched, Snapshot};
use git_servers::{HttpGitServer, Repo};
use support::{fetch, fetch_with, files, remote, remote_with};

fn listed(snapshot: &Snapshot) -> String {
    files(snapshot)
        .into_iter()
        .map(|(path, text)| format!("{path}={text}"))
        .collect::<Vec<_>>()
        .join(" ")
}

async fn with(
    remote: &flux_git::Remote,
    wanted: &str,
    options: FetchOptions,
) -> Result<Box<Snapshot>, String> {
    match fetch_with(remote, wanted, &options).await? {
        Fetched::Snapshot(snapshot) => Ok(snapshot),
        other => Err(format!("{other:?}")),
    }
}

fn sparse(prefixes: &[&str]) -> FetchOptions {
    FetchOptions {
        sparse: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        ..FetchOptions::default()
    }
}

fn recursive() -> FetchOptions {
    FetchOptions {
        submodules: true,
        ..FetchOptions::default()
    }
}

/// Path → mode and content of the files on disk, without `.git`.
fn on_disk(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            if name == ".git" {
            } else if metadata.is_dir() {
                pending.push(path);
            } else if metadata.is_symlink() {
                let target = std::fs::read_link(&path)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .as_bytes()
                    .to_vec();
                found.insert(name, (0o120_000, target));
            } else {
                found.insert(
                    name,
                    (
                        metadata.permissions().mode() & 0o111,
                        std::fs::read(&path).unwrap(),
                    ),
                );
            }
        }
    }
    found
}

#[tokio::test]
async fn a_checkout_has_the_same_file_modes_and_content_as_git() {
    // SC-GIT-070, RT-GIT-015: modes, links, and unconverted line endings and filters, whatever .gitattributes says
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main")
        .file(".gitattributes", "*.crlf eol=crlf\n*.secret filter=vault\n")
        .file("a.crlf", "one\ntwo\n")
        .file("b.secret", "version https://git-lfs.github.com/spec/v1\n")
        .executable("bin/run", "#!/bin/sh\n")
        .symlink("link", "bin/run")
        .symlink("dangling", "/nowhere")
        .file("deep/er/file with spaces", "x")
        .file("empty", "")
        .file("höhe", "ü")
        .create();
    let snapshot = fetch(&remote(&server.url("app.git")), "branch=main")
        .await
        .unwrap();
    let all = files(&snapshot);
    assert_eq!(all["a.crlf"], "one\ntwo\n");
    assert_eq!(all["bin/run"], "x #!/bin/sh\n");
    assert_eq!(all["link"], "-> bin/run");
    assert!(snapshot.entries().is_sorted_by(|a, b| a.path() < b.path()));

    let ours = tempfile::TempDir::new().unwrap();
    snapshot.checkout(ours.path()).unwrap();
    let gits = tempfile::TempDir::new().unwrap();
    let cloned = Command::new("git")
        .args(["clone", "-q", "-c", "core.attributesFile=/dev/null"])
        .arg(repo.path())
        .arg(gits.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(cloned.status.success());
    let mut expected = on_disk(gits.path());
    // git, unlike upstream's library and this crate, follows .gitattributes.
    expected.get_mut("a.crlf").unwrap().1 = b"one\ntwo\n".to_vec();
    assert_eq!(on_disk(ours.path()), expected);
    assert!(
        snapshot.checkout(ours.path()).is_err(),
        "the folder must be empty"
    );
}

#[tokio::test]
async fn sparse_paths_are_prefixes() {
    // SC-GIT-073, RT-GIT-009
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    let hash = repo
        .commit("main")
        .file("apps/web/a", "1")
        .file("apps/db/b", "2")
        .file("apps-extra/c", "3")
        .file("infra/d", "4")
        .file("root", "5")
        .symlink("shortcut", "apps/web")
        .create();
    repo.tag("v1.0.0", &hash);
    let remote = remote(&server.url("app.git"));
    let commit = format!("commit={hash}");
    for wanted in [
        "branch=main",
        "tag=v1.0.0",
        "semver=1.x",
        "name=refs/heads/main",
        &commit,
    ] {
        let snapshot = with(&remote, wanted, sparse(&["apps/web", "infra"]))
            .await
            .unwrap();
        assert_eq!(listed(&snapshot), "apps/web/a=1 infra/d=4", "{wanted}");
    }
    for (prefixes, expected) in [
        (&["apps/"][..], "apps/db/b=2 apps/web/a=1"),
        (&["apps"], "apps-extra/c=3 apps/db/b=2 apps/web/a=1"),
        (&["root"], "root=5"),
        (&["gone"], ""),
        (
            &[""],
            "apps-extra/c=3 apps/db/b=2 apps/web/a=1 infra/d=4 root=5 shortcut=-> apps/web",
        ),
    ] {
        assert_eq!(
            listed(
                &with(&remote, "branch=main", sparse(prefixes))
                    .await
                    .unwrap()
            ),
            expected,
            "{prefixes:?}"
        );
    }
    // SC-GIT-074
    let snapshot = with(&remote, "branch=main", sparse(&["apps", "shortcut"]))
        .await
        .unwrap();
    for (path, there) in [
        ("apps/web", true),
        ("apps/web/", true),
        ("./apps/web/a", true),
        ("../../apps", true),
        ("shortcut/a", true),
        ("", true),
        ("apps/we", false),
        ("infra", false),
        ("apps/web/a/b", false),
    ] {
        assert_eq!(snapshot.exists(path).unwrap(), there, "{path}");
    }
}

/// A repository with a submodule that has a submodule.
struct Nested {
    server: HttpGitServer,
    app: Repo,
    inner: String,
}

fn nested(server: HttpGitServer) -> Nested {
    let core = Repo::init(server.root(), "org/core.git");
    let inner = core.commit("main").file("core.yaml", "core").create();
    core.commit("main").file("core.yaml", "newer").create();
    let lib = Repo::init(server.root(), "org/lib.git");
    let middle = lib
        .commit("main")
        .file("lib.yaml", "lib")
        .file(
            ".gitmodules",
            "[submodule \"core\"]\n\tpath = deps/core\n\turl = ../core.git\n",
        )
        .submodule("deps/core", &inner)
        .create();
    let app = Repo::init(server.root(), "org/app.git");
    app.commit("main")
        .file("app.yaml", "app")
        .file(
            ".gitmodules",
            "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n",
        )
        .submodule("lib", &middle)
        .submodule("unnamed", &inner)
        .create();
    Nested { server, app, inner }
}

#[tokio::test]
async fn nested_submodules_with_relative_urls_are_fetched() {
    // SC-GIT-071, SC-GIT-075, RT-GIT-009
    let nested = nested(HttpGitServer::builder().basic_auth("flux", "pw").start());
    let url = nested.server.url("org/app.git");
    let remote = remote_with(&url, &[("username", "flux"), ("password", "pw")], |_| {});
    let plain = fetch(&remote, "branch=main").await.unwrap();
    assert_eq!(files(&plain)["lib"], "submodule");
    let full = with(&remote, "branch=main", recursive()).await.unwrap();
    let all = files(&full);
    assert_eq!(
        (
            all["lib/lib.yaml"].as_str(),
            all["lib/deps/core/core.yaml"].as_str()
        ),
        ("lib", "core")
    );
    assert_eq!(
        all["unnamed"], "submodule",
        "what .gitmodules does not name stays an empty folder"
    );
    assert!(!all.contains_key("lib"));
    assert!(
        nested
            .server
            .requests()
            .iter()
            .all(|request| request.authorization.is_some())
    );
    // A pinned commit has its own submodules, and sparse paths exclude them.
    let pinned = format!("commit={}", nested.app.rev_parse("main"));
    assert!(
        files(&with(&remote, &pinned, recursive()).await.unwrap()).contains_key("lib/lib.yaml")
    );
    let both = FetchOptions {
        submodules: true,
        ..sparse(&["lib", "app.yaml"])
    };
    assert_eq!(
        listed(&with(&remote, "branch=main", both).await.unwrap()),
        "app.yaml=app lib=submodule"
    );
    let folder = tempfile::TempDir::new().unwrap();
    full.checkout(folder.path()).unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("lib/deps/core/core.yaml")).unwrap(),
        "core"
    );
    assert!(folder.path().join("unnamed").is_dir());
}

#[tokio::test]
async fn submodules_on_another_host_get_no_credentials() {
    // SC-GIT-072
    let open = HttpGitServer::start();
    let lib = Repo::init(open.root(), "lib.git");
    let commit = lib.commit("main").file("lib.yaml", "lib").create();
    let server = HttpGitServer::builder().basic_auth("flux", "pw").start();
    let app = Repo::init(server.root(), "app.git");
    let modules = format!(
        "[submodule \"lib\"]\n\tpath = lib\n\turl = {}\n",
        open.url("lib.git")
    );
    app.commit("main")
        .file(".gitmodules", modules)
        .submodule("lib", &commit)
        .create();
    let remote = remote_with(
        &server.url("app.git"),
        &[("username", "flux"), ("password", "pw")],
        |_| {},
    );
    assert_eq!(
        files(&with(&remote, "branch=main", recursive()).await.unwrap())["lib/lib.yaml"],
        "lib"
    );
    assert!(
        open.requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
}

#[tokio::test]
async fn unavailable_submodules_are_errors() {
    // SC-GIT-071
    let nested = nested(HttpGitServer::start());
    let commit = |modules: &str, at: &str, hash: &str| {
        nested
            .app
            .commit("main")
            .clear()
            .file(".gitmodules", modules)
            .submodule(at, hash)
            .create();
    };
    let section = |url: &str| format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n");
    let remote = remote(&nested.server.url("org/app.git"));
    let gone = "0123456789012345678901234567890123456789";
    for (modules, at, hash, expected) in [
        (
            section("../gone.git"),
            "lib",
            nested.inner.as_str(),
            "unable to update submodule 'lib': unable to clone",
        ),
        (
            section("../core.git"),
            "lib",
            gone,
            "unable to update submodule 'lib': unable to resolve commit object for",
        ),
        (
            section("../core.git"),
            "other",
            &nested.inner,
            "unable to update submodule 'lib': invalid .gitmodules: the commit has no",
        ),
        (
            section("ssh://git@h/x"),
            "lib",
            &nested.inner,
            "the submodule is reached by ssh, but the credentials are for http",
        ),
        (
            section("file:///etc"),
            "lib",
            &nested.inner,
            "invalid .gitmodules: submodule \"lib\" has no usable URL",
        ),
        (
            "[submodule \"lib\"".to_owned(),
            "lib",
            &nested.inner,
            "invalid .gitmodules: ",
        ),
    ] {
        commit(&modules, at, hash);
        let error = with(&remote, "branch=main", recursive())
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(error.contains(expected), "{error}");
        fetch(&remote, "branch=main").await.unwrap();
    }
}

#[tokio::test]
async fn a_repository_that_is_its_own_submodule_ends_at_the_limit() {
    // SC-GIT-071: ten levels deep at most
    let server = HttpGitServer::start();
    let app = Repo::init(server.root(), "app.git");
    let first = app
        .commit("main")
        .file(
            ".gitmodules",
            "[submodule \"me\"]\n\tpath = me\n\turl = ../app.git\n",
        )
        .submodule("me", &"1".repeat(40))
        .create();
    let mut tip = first;
    for _ in 0..12 {
        tip = app.commit("main").submodule("me", &tip).create();
    }
    let snapshot = with(&remote(&server.url("app.git")), "branch=main", recursive())
        .await
        .unwrap();
    let deepest = snapshot
        .entries()
        .iter()
        .map(|entry| String::from_utf8_lossy(entry.path()).matches("me/").count())
        .max()
        .unwrap();
    assert_eq!(deepest, 10);
    assert!(snapshot.entries().len() < 30);
}

#[tokio::test]
async fn hostile_repositories_are_refused() {
    // SC-GIT-070, SC-GIT-077, RT-GIT-015
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    let blob = {
        let commit = repo.commit("good").file("x", "evil").create();
        repo.rev_parse(&format!("{commit}:x"))
    };
    let tree = |entries: &str| -> String {
        let file = server.root().join("entries");
        std::fs::write(&file, entries).unwrap();
        let script = format!(
            "git -C '{}' mktree --missing < '{}'",
            repo.path().display(),
            file.display()
        );
        let made = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let inner = tree(&format!("100644 blob {blob}\tconfig\n"));
    let outer = tree(&format!("100644 blob {blob}\tb\n"));
    let remote = remote(&server.url("app.git"));
    for (entries, expected) in [
        (
            format!("040000 tree {inner}\t.git\n"),
            "invalid path \".git\": stands for the .git folder",
        ),
        (
            format!("040000 tree {inner}\t.GIT\n"),
            "invalid path \".GIT\": stands for the .git folder",
        ),
        (
            format!("040000 tree {inner}\tgit~1\n"),
            "invalid path \"git~1\": stands for the .git folder",
        ),
        (
            format!("040000 tree {inner}\t..\n"),
            "invalid path \"..\": relative component",
        ),
        (
            format!("100644 blob {blob}\t.git\n"),
            "invalid path \".git\": stands for the .git folder",
        ),
        (
            format!("120000 blob {blob}\t.gitmodules\n"),
            "invalid path \".gitmodules\": it must not be a symbolic link",
        ),
        (
            format!("120000 blob {blob}\ta\n040000 tree {outer}\ta\n"),
            "invalid path \"a\": it is there twice",
        ),
    ] {
        let hash = tree(&entries);
        let commit = repo.git(&["commit-tree", "-m", "x", &hash]);
        repo.branch("evil", &commit);
        let error = fetch(&remote, "branch=evil").await.map(|_| ()).unwrap_err();
        assert_eq!(error, expected);
    }
    // A link that leaves the folder is created, but nothing is written through it.
    repo.commit("links")
        .orphan()
        .symlink("out", "../..")
        .file("z/file", "x")
        .create();
    let snapshot = fetch(&remote, "branch=links").await.unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    snapshot.checkout(folder.path()).unwrap();
    assert_eq!(on_disk(folder.path()).len(), 2);
}

#[tokio::test]
async fn temporary_files_are_removed() {
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main").file("a", "1").create();
    let folder = tempfile::TempDir::new().unwrap();
    let remote = remote_with(&server.url("app.git"), &[], |options| {
        options.temporary_folder = Some(folder.path().to_owned());
    });
    let snapshot = fetch(&remote, "branch=main").await.unwrap();
    let reader = snapshot.reader().unwrap();
    let entry = snapshot.entries()[0].clone();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(snapshot);
    // A reader keeps the files alive.
    assert_eq!(reader.read(&entry).unwrap()[..], *b"1");
    drop(reader);
    assert!(fetch(&remote, "branch=gone").await.is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

// SC-GIT-070, SC-ART-090: names are bytes, and two that differ in bytes that are not UTF-8 are two files
#[tokio::test]
async fn names_that_are_not_utf8_keep_their_bytes() {
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    let stream = b"commit refs/heads/main\ncommitter t <t@x> 1700000000 +0000\ndata 1\nx\n\
        M 100644 inline caf\xe9.txt\ndata 1\n1\nM 100644 inline caf\xe8.txt\ndata 1\n2\n\
        M 100644 inline d\xff/ok\ndata 1\n3\nM 120000 inline link\ndata 8\ncaf\xe9.txt\n";
    repo.fast_import(stream);
    let snapshot = fetch(&remote(&server.url("app.git")), "branch=main")
        .await
        .unwrap();
    let reader = snapshot.reader().unwrap();
    let names: Vec<&[u8]> = snapshot
        .entries()
        .iter()
        .map(flux_git::Entry::path)
        .collect();
    assert_eq!(
        names,
        [&b"caf\xe8.txt"[..], b"caf\xe9.txt", b"d\xff/ok", b"link"]
    );
    let content = |path: &[u8]| reader.read(snapshot.find(path).unwrap()).unwrap().to_vec();
    assert_eq!(
        (content(b"caf\xe8.txt"), content(b"caf\xe9.txt")),
        (b"2".to_vec(), b"1".to_vec())
    );
    let folder = tempfile::TempDir::new().unwrap();
    snapshot.checkout(folder.path()).unwrap();
    let name = std::os::unix::ffi::OsStrExt::from_bytes(&b"caf\xe9.txt"[..]);
    assert_eq!(
        std::fs::read(folder.path().join::<&std::ffi::OsStr>(name)).unwrap(),
        b"1"
    );
    assert_eq!(std::fs::read(folder.path().join("link")).unwrap(), b"1");
}
