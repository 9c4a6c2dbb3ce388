//! Checkouts that commits are made in, and the commits as the real git reads them.

mod support;

use flux_errors::chain;
use flux_git::{Checkout, CheckoutOptions, CommitError, EntryKind, Error, Remote, SigningKey};
use flux_http::Secret;
use git_servers::{HttpGitServer, PgpKey, Repo, SshKey};
use rstest::rstest;
use support::{
    MINUTE, changes, check_out, check_out_with, commit, details, push, reference, remote, shallow,
    switching,
};

/// A repository with files of every kind.
fn repository(server: &HttpGitServer) -> Repo {
    let repo = Repo::init(server.root(), "app.git");
    let module = "1111111111111111111111111111111111111111";
    repo.commit("main").file("old", "0").create();
    repo.commit("main")
        .file("apps/web.yaml", "image: a:1\n")
        .executable("apps/run", "#!/bin/sh\n")
        .symlink("apps/link", "web.yaml")
        .submodule("vendor/lib", module)
        .file("README.md", "hello\n")
        .create();
    repo
}

fn setup() -> (HttpGitServer, Repo, Remote) {
    let server = HttpGitServer::start();
    let repo = repository(&server);
    let remote = remote(&server.url("app.git"));
    (server, repo, remote)
}

#[tokio::test]
async fn a_commit_has_only_the_changed_files() {
    let (_server, repo, remote) = setup();
    let before = repo.git(&["ls-tree", "-r", "main"]);
    let mut copy = check_out(&remote, "branch=main").await;
    assert_eq!(copy.branch(), Some("refs/heads/main"));
    assert_eq!(copy.head(), Some(&copy.commit().unwrap().hash));
    let kinds: Vec<_> = copy.entries().iter().map(flux_git::Entry::kind).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::File,
            EntryKind::Symlink,
            EntryKind::Executable,
            EntryKind::File,
            EntryKind::File,
            EntryKind::Submodule,
        ]
    );
    let files = [
        ("apps/web.yaml", "image: a:2\n"),
        ("apps/run", "#!/bin/bash\n"),
        ("README.md", "hello\n"),
    ];
    let message = " Update\n\n- a:1 -> a:2\n\n\n";
    let made = copy
        .commit_files(changes(&files), &details(message), None)
        .unwrap()
        .unwrap();
    let pushed = push(&mut copy).await.unwrap();
    assert_eq!(pushed[0].new, made.hash);
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    assert_eq!(made.revision(), format!("main@sha1:{}", made.hash));
    repo.git(&["fsck", "--strict", "--no-dangling"]);

    // IA-GIT-071: the modes are kept, the link, the submodule and all else stay.
    let changed = repo.git(&["diff-tree", "-r", "main~1", "main"]);
    let changed: Vec<&str> = changed
        .lines()
        .map(|line| line.rsplit_once('\t').unwrap().1)
        .collect();
    assert_eq!(changed, ["apps/run", "apps/web.yaml"]);
    let modes = |listed: &str| -> Vec<String> {
        let of = |line: &str| format!("{} {}", &line[..6], line.rsplit_once('\t').unwrap().1);
        listed.lines().map(of).collect()
    };
    assert_eq!(modes(&repo.git(&["ls-tree", "-r", "main"])), modes(&before));

    // IA-GIT-072, IA-GIT-073
    let raw = repo.git(&["cat-file", "commit", "main"]);
    let tree = repo.rev_parse("main^{tree}");
    let parent = repo.rev_parse("main~1");
    let who = "Flux <flux@example.com> 1700000000 +0000";
    let expected =
        format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{message}");
    assert_eq!(raw, expected.trim());
    let size = repo.git(&["cat-file", "-s", "main"]);
    assert_eq!(size, expected.len().to_string());
}

#[tokio::test]
async fn equal_contents_make_no_commit() {
    // IA-STATUS-024
    let (_server, repo, remote) = setup();
    let mut copy = check_out(&remote, "branch=main").await;
    let same = changes(&[("README.md", "hello\n"), ("apps/web.yaml", "image: a:1\n")]);
    let made = copy.commit_files(same, &details("x"), None).unwrap();
    assert!(made.is_none());
    // RT-GIT-017
    let error = push(&mut copy).await.unwrap_err();
    assert_eq!(error, "failed to push to remote: already up-to-date");
    assert_eq!(repo.git(&["rev-list", "--count", "main"]), "2");
}

#[tokio::test]
async fn links_submodules_and_unsafe_paths_are_not_written() {
    // IA-GIT-112
    let (_server, _repo, remote) = setup();
    let mut copy = check_out(&remote, "branch=main").await;
    for path in [
        "apps/link",
        "vendor/lib",
        "apps",
        "apps/link/x",
        "../x",
        ".git/config",
    ] {
        let error = copy
            .commit_files(changes(&[(path, "x")]), &details("x"), None)
            .unwrap_err();
        assert!(
            matches!(&error, CommitError::Files(Error::Path { .. })),
            "{path}: {error}"
        );
    }
    assert_eq!(copy.head(), Some(&copy.commit().unwrap().hash));
    assert_eq!(
        copy.resolve("apps/link").unwrap().unwrap(),
        b"apps/web.yaml"
    );
    assert_eq!(copy.resolve("../../apps").unwrap().unwrap(), b"apps");
    assert!(copy.exists("apps/link").unwrap() && !copy.exists("nowhere").unwrap());
}

#[tokio::test]
async fn commits_can_be_stacked_and_are_pushed_together() {
    let (_server, repo, remote) = setup();
    let mut copy = check_out(&remote, "branch=main").await;
    let first = commit(&mut copy, "apps/web.yaml", "image: a:2\n");
    let second = commit(&mut copy, "apps/new/x.yaml", "x: 1\n");
    assert_eq!(copy.head(), Some(&second.hash));
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main"), second.hash.as_str());
    assert_eq!(repo.rev_parse("main~1"), first.hash.as_str());
    assert_eq!(repo.git(&["show", "main:apps/web.yaml"]), "image: a:2");
    repo.git(&["fsck", "--strict", "--no-dangling"]);
}

#[tokio::test]
async fn a_sparse_checkout_commits_the_whole_tree() {
    // IA-GIT-048
    let (_server, repo, remote) = setup();
    let options = CheckoutOptions {
        sparse: vec!["apps".to_owned()],
        ..shallow()
    };
    let mut copy = check_out_with(&remote, "branch=main", &options)
        .await
        .unwrap();
    let paths: Vec<_> = copy.entries().iter().map(flux_git::Entry::path).collect();
    assert_eq!(paths, [&b"apps/link"[..], b"apps/run", b"apps/web.yaml"]);
    assert!(copy.find("README.md").is_none());
    commit(&mut copy, "apps/web.yaml", "image: a:2\n");
    push(&mut copy).await.unwrap();
    let changed = repo.git(&["diff-tree", "-r", "--name-status", "main~1", "main"]);
    assert_eq!(changed, "M\tapps/web.yaml");
}

#[tokio::test]
async fn a_branch_of_the_remote_is_built_upon() {
    // IA-GIT-047, IA-GIT-060, IA-GIT-111
    let (server, repo, remote) = setup();
    let other = repo
        .commit("updates")
        .parent("main")
        .file("pushed", "1")
        .create();
    server.clear_requests();
    let mut copy = check_out_with(&remote, "branch=main", &switching("updates", true))
        .await
        .unwrap();
    // IA-GIT-059: one listing and one fetch.
    let requests = server.requests();
    let asked: Vec<&str> = requests
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| {
            if request.says("command=fetch") {
                "fetch"
            } else {
                "list"
            }
        })
        .collect();
    assert_eq!(asked, ["list", "fetch"]);
    assert_eq!(copy.branch(), Some("refs/heads/updates"));
    assert_eq!(copy.commit().unwrap().hash.as_str(), repo.rev_parse("main"));
    assert_eq!(
        copy.commit().unwrap().revision(),
        format!("main@sha1:{}", repo.rev_parse("main"))
    );
    assert_eq!(copy.head().unwrap().as_str(), other);
    assert!(copy.find("pushed").is_some());
    let made = commit(&mut copy, "apps/web.yaml", "image: a:2\n");
    assert_eq!(made.reference, "refs/heads/updates");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("updates"), made.hash.as_str());
    assert_eq!(repo.rev_parse("updates~1"), other);
}

#[rstest]
#[case::absent_on_the_remote(true, false)]
#[case::ignored(false, true)]
#[case::absent_and_ignored(false, false)]
#[tokio::test]
async fn a_new_branch_begins_at_the_checked_out_commit(
    #[case] use_remote: bool,
    #[case] exists: bool,
) {
    // IA-GIT-047, IA-GIT-060
    let (_server, repo, remote) = setup();
    if exists {
        repo.commit("updates")
            .parent("main")
            .file("pushed", "1")
            .create();
    }
    let options = switching("updates", use_remote);
    let mut copy = check_out_with(&remote, "branch=main", &options)
        .await
        .unwrap();
    assert_eq!(copy.head().unwrap().as_str(), repo.rev_parse("main"));
    assert!(copy.find("pushed").is_none());
    commit(&mut copy, "apps/web.yaml", "image: a:2\n");
    let pushed = push(&mut copy).await;
    if exists {
        // IA-GIT-081
        assert_eq!(
            pushed.unwrap_err(),
            "failed to push to remote: non-fast-forward update: refs/heads/updates"
        );
    } else {
        assert_eq!(pushed.unwrap()[0].old, None);
        assert_eq!(repo.rev_parse("updates~1"), repo.rev_parse("main"));
    }
}

#[rstest]
#[case::tag("tag=v1", "v1", true)]
#[case::annotated_tag("tag=v2", "v2", true)]
#[case::version("semver=>=1.0.0", "1.1.0", true)]
#[case::branch("branch=main", "main", true)]
#[case::branch_by_name("name=refs/heads/main", "main", true)]
#[case::pull_request("name=refs/pull/1/head", "1/head", true)]
// IA-GIT-045
#[case::commit("commit=TIP branch=main", "main", false)]
#[case::bare_commit("commit=TIP", "", false)]
#[tokio::test]
async fn every_reference_can_be_built_upon(
    #[case] wanted: &str,
    #[case] label: &str,
    #[case] is_shallow: bool,
) {
    // IA-GIT-044, IA-GIT-060
    let (server, repo, remote) = setup();
    let tip = repo.rev_parse("main~1");
    repo.branch("main", &tip);
    let tip = repo.commit("main").file("more", "1").create();
    repo.tag("v1", &tip);
    repo.tag("1.1.0", &tip);
    repo.annotated_tag("v2", &tip).create();
    repo.update_ref("refs/pull/1/head", &tip);
    server.clear_requests();
    let wanted = wanted.replace("TIP", &tip);
    let mut copy = check_out_with(&remote, &wanted, &switching("updates", true))
        .await
        .unwrap();
    let deepens = server
        .requests()
        .iter()
        .any(|request| request.says("deepen 1"));
    assert_eq!(deepens, is_shallow);
    let at = if label.is_empty() { "" } else { "@" };
    assert_eq!(
        copy.commit().unwrap().revision(),
        format!("{label}{at}sha1:{tip}")
    );
    let made = commit(&mut copy, "old", "1");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("updates"), made.hash.as_str());
    assert_eq!(repo.rev_parse("updates~1"), tip);
}

#[tokio::test]
async fn a_detached_head_is_not_pushed_to_a_branch() {
    // IA-GIT-074
    let (_server, repo, remote) = setup();
    repo.tag("v1", "main");
    let mut copy = check_out(&remote, "tag=v1").await;
    assert_eq!(copy.branch(), None);
    let made = commit(&mut copy, "old", "1");
    assert_eq!(made.reference, "");
    let error = push(&mut copy).await.unwrap_err();
    let expected = "failed to push to remote: command error on HEAD: funny refname";
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::shallow(true)]
#[case::full(false)]
#[tokio::test]
async fn the_history_is_fetched_only_if_wanted(#[case] is_shallow: bool) {
    // IA-GIT-045
    let (server, _repo, remote) = setup();
    let options = CheckoutOptions {
        shallow: is_shallow,
        ..CheckoutOptions::default()
    };
    let copy = check_out_with(&remote, "branch=main", &options)
        .await
        .unwrap();
    let deepens = server
        .requests()
        .iter()
        .any(|request| request.says("deepen 1"));
    assert_eq!(deepens, is_shallow);
    assert!(copy.received_bytes() > 0);
}

#[rstest]
#[case("branch=main", "main@sha1:TIP", true)]
#[case("branch=main", "main/TIP", true)] // IA-GIT-054
#[case("branch=main", "sha1:TIP", false)]
#[case("tag=v1", "v1@sha1:TIP", true)]
#[case("name=refs/heads/main", "main@sha1:TIP", false)] // IA-GIT-053
#[case("semver=>=1.0.0", "1.1.0@sha1:TIP", false)] // IA-GIT-052
#[case("commit=TIP branch=main", "main@sha1:TIP", false)] // IA-GIT-052
#[tokio::test]
async fn an_unchanged_remote_is_only_listed(
    #[case] wanted: &str,
    #[case] known: &str,
    #[case] unchanged: bool,
) {
    // IA-GIT-051
    let (server, repo, remote) = setup();
    let tip = repo.rev_parse("main");
    repo.annotated_tag("v1", &tip).create();
    repo.tag("1.1.0", &tip);
    let options = CheckoutOptions {
        last_observed: Some(known.replace("TIP", &tip)),
        ..shallow()
    };
    let wanted = reference(&wanted.replace("TIP", &tip));
    let found = remote.checkout(&wanted, &options, MINUTE).await.unwrap();
    let fetched = server
        .requests()
        .iter()
        .any(|request| request.says("command=fetch"));
    assert_eq!(fetched, !unchanged);
    match found {
        Checkout::Unchanged(commit) => {
            assert!(unchanged && !commit.is_concrete());
            assert_eq!(commit.hash.as_str(), tip);
        }
        Checkout::WorkingCopy(_) => assert!(!unchanged),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_commit_of_an_empty_repository_is_pushed() {
    // RT-GIT-008
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    let remote = remote(&server.url("app.git"));
    let found = remote
        .checkout(&reference("branch=main"), &shallow(), MINUTE)
        .await;
    let Ok(Checkout::Empty(mut copy)) = found else {
        panic!("{found:?}");
    };
    assert!(copy.commit().is_none() && copy.head().is_none() && copy.entries().is_empty());
    assert!(copy.reader().is_err() && !copy.exists("x").unwrap());
    let made = commit(&mut copy, "a/b", "1");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.git(&["rev-list", "main"]), made.hash.as_str());
    assert_eq!(repo.git(&["show", "main:a/b"]), "1");
}

#[tokio::test]
async fn missing_references_are_errors_of_the_clone() {
    // IA-GIT-056, IA-GIT-057
    let (server, _repo, remote) = setup();
    let url = server.url("app.git");
    let gone = server.url("gone.git");
    for (wanted, expected) in [
        (
            "branch=x",
            format!("unable to clone '{url}': couldn't find remote ref \"refs/heads/x\""),
        ),
        (
            "tag=x",
            format!("unable to clone '{url}': couldn't find remote ref \"refs/tags/x\""),
        ),
        (
            "name=refs/heads/main/",
            "ref refs/heads/main/ is invalid; Git refs cannot begin or end with a slash '/'"
                .to_owned(),
        ),
        (
            "name=refs/heads/x",
            "unable to resolve ref 'refs/heads/x' to a specific commit".to_owned(),
        ),
    ] {
        let found = check_out_with(&remote, wanted, &shallow()).await;
        assert_eq!(found.map(|_| ()).unwrap_err(), expected);
    }
    let found = check_out_with(&support::remote(&gone), "branch=main", &shallow()).await;
    let error = found.map(|_| ()).unwrap_err();
    assert!(error.contains("repository not found"), "{error}");
}

#[rstest]
#[case::ed25519("ed25519", "", false)]
#[case::rsa("rsa2048", "", false)]
#[case::ecdsa("nistp256", "", false)]
#[case::ecdsa_521("nistp521", "", false)]
#[case::locked("ed25519", "p4ss", false)]
// IA-GIT-101: the passphrase opens the subkey, too.
#[case::locked_subkey("ed25519", "p4ss", true)]
#[case::subkey("ed25519", "", true)]
#[tokio::test]
async fn git_verifies_pgp_signatures(
    #[case] algorithm: &str,
    #[case] passphrase: &str,
    #[case] subkey: bool,
) {
    // IA-GIT-096, IA-GIT-097, RT-GIT-018
    let (_server, repo, remote) = setup();
    let key = PgpKey::locked(algorithm, passphrase);
    let mut armored = vec![key.private()];
    if subkey {
        key.add_signing_subkey("ed25519", "never");
        // The second form is without the primary key's secret.
        armored = vec![key.private(), key.private_subkeys()];
    }
    let passphrase = Secret::from(passphrase);
    for armored in armored {
        let signer =
            SigningKey::openpgp(&Secret::from(armored.as_str()), Some(&passphrase)).unwrap();
        let mut copy = check_out(&remote, "branch=main").await;
        let content = format!("image: {}\n", copy.head().unwrap());
        let files = changes(&[("apps/web.yaml", &content)]);
        let message = details("signed\n\nby a key\n");
        let made = copy
            .commit_files(files, &message, Some(&signer))
            .unwrap()
            .unwrap();
        push(&mut copy).await.unwrap();
        let said = repo.verify_pgp(made.hash.as_str(), &key);
        assert!(said.contains("[GNUPG:] GOODSIG"), "{said}");
        repo.git(&["fsck", "--strict", "--no-dangling"]);
        let trusted = flux_git::TrustedKeys {
            pgp: vec![key.public()],
            ssh: Vec::new(),
        };
        assert_eq!(made.verify(&trusted).unwrap(), key.key_id());
    }
}

#[rstest]
#[case::ed25519(&["-t", "ed25519"], "")]
#[case::ecdsa_256(&["-t", "ecdsa", "-b", "256"], "")]
#[case::ecdsa_384(&["-t", "ecdsa", "-b", "384"], "")]
#[case::ecdsa_521(&["-t", "ecdsa", "-b", "521"], "")]
#[case::rsa(&["-t", "rsa", "-b", "2048"], "")]
#[case::locked(&["-t", "ed25519"], "p4ss")]
#[tokio::test]
async fn git_verifies_ssh_signatures(#[case] arguments: &[&str], #[case] passphrase: &str) {
    // IA-GIT-098, IA-GIT-099, IA-GIT-100
    let (_server, repo, remote) = setup();
    let key = SshKey::generate(arguments, passphrase);
    let passphrase = Secret::from(passphrase);
    let signer = SigningKey::ssh(&Secret::from(key.private().as_str()), Some(&passphrase)).unwrap();
    let mut copy = check_out(&remote, "branch=main").await;
    let files = changes(&[("apps/web.yaml", "image: a:2\n")]);
    let made = copy
        .commit_files(files, &details("signed\n"), Some(&signer))
        .unwrap()
        .unwrap();
    push(&mut copy).await.unwrap();
    let said = repo.verify_ssh(made.hash.as_str(), &key);
    assert!(
        said.contains("Good \"git\" signature for flux@example.com"),
        "{said}"
    );
    let other = SshKey::ed25519();
    assert_eq!(repo.verify_ssh(made.hash.as_str(), &other), "");
}

#[tokio::test]
async fn a_key_that_cannot_sign_makes_no_commit() {
    let (_server, repo, remote) = setup();
    let key = PgpKey::generate_at("ed25519", "1d", Some("20200101T000000"));
    let signer = SigningKey::openpgp(&Secret::from(key.private().as_str()), None).unwrap();
    let mut copy = check_out(&remote, "branch=main").await;
    let files = changes(&[("apps/web.yaml", "image: a:2\n")]);
    let error = copy
        .commit_files(files, &details("x"), Some(&signer))
        .unwrap_err();
    assert_eq!(
        chain(&error),
        "openpgp: invalid argument: no valid signing keys"
    );
    assert_eq!(copy.head().unwrap().as_str(), repo.rev_parse("main"));
}

#[tokio::test]
async fn memory_is_given_back() {
    let (server, _repo, _) = setup();
    let budget = flux_budget::Budget::new(16 << 20);
    let claim = std::sync::Arc::new(budget.claim());
    let remote = support::remote_with(&server.url("app.git"), &[], |options| {
        options.claim = claim;
    });
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "apps/web.yaml", &"x".repeat(100_000));
    assert!(budget.used() > 100_000);
    push(&mut copy).await.unwrap();
    let big = "y".repeat(17 << 20);
    let error = copy
        .commit_files(changes(&[("big", &big)]), &details("x"), None)
        .unwrap_err();
    assert!(error.is_too_large(), "{error}");
    drop((copy, remote));
    assert_eq!(budget.used(), 0);
}
