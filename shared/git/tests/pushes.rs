//! Pushes to real servers: `git http-backend` and OpenSSH's sshd.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flux_errors::chain;
use flux_git::{Force, PushError, PushOptions, Refspec, Remote, WorkingCopy};
use flux_http::{Proxy, ProxyUrl};
use git_servers::{
    Authority, HttpGitServer, HttpGitServerBuilder, Proxy as ProxyServer, Repo, Request,
    SshGitServer, SshKey, Tinyproxy, sshd_available,
};
use rstest::rstest;
use support::{
    MINUTE, check_out, check_out_with, commit, push, push_with, remote, remote_with, switching,
};

fn repository(server: &HttpGitServer) -> Repo {
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main").file("a", "0").create();
    repo.commit("main").file("a", "1").file("d/b", "1").create();
    repo.git(&["config", "receive.advertisePushOptions", "true"]);
    repo
}

fn setup_with(
    build: impl FnOnce(HttpGitServerBuilder) -> HttpGitServerBuilder,
) -> (HttpGitServer, Repo, Remote) {
    let server = build(HttpGitServer::builder()).start();
    let repo = repository(&server);
    let remote = remote(&server.url("app.git"));
    (server, repo, remote)
}

fn setup() -> (HttpGitServer, Repo, Remote) {
    setup_with(|builder| builder)
}

fn options(refspecs: &[&str], force: Force) -> PushOptions {
    PushOptions {
        refspecs: refspecs
            .iter()
            .map(|text| Refspec::parse(text).unwrap())
            .collect(),
        force,
        options: Vec::new(),
    }
}

/// The number of objects in the pack of a push, and its commands.
fn sent(request: &Request) -> (u32, String) {
    let at = request
        .body
        .windows(8)
        .position(|window| window == b"PACK\0\0\0\x02")
        .unwrap();
    let count = request.body[at + 8..at + 12].try_into().unwrap();
    let commands = String::from_utf8_lossy(&request.body[..at]).into_owned();
    (u32::from_be_bytes(count), commands)
}

fn posts(server: &HttpGitServer) -> Vec<Request> {
    let is_push = |request: &Request| request.target.ends_with("/git-receive-pack");
    server.requests().into_iter().filter(is_push).collect()
}

#[tokio::test]
async fn only_new_objects_are_sent_over_http() {
    // IA-GIT-074
    let (server, repo, remote) = setup();
    let mut copy = check_out(&remote, "branch=main").await;
    let made = commit(&mut copy, "a", "2");
    server.clear_requests();
    let old = repo.rev_parse("main");
    let pushed = push(&mut copy).await.unwrap();
    assert_eq!(pushed[0].reference, "refs/heads/main");
    assert_eq!(pushed[0].old.as_ref().unwrap().as_str(), old);
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    let requests = server.requests();
    let targets: Vec<(&str, &str)> = requests
        .iter()
        .map(|request| (request.method.as_str(), request.target.as_str()))
        .collect();
    assert_eq!(
        targets,
        [
            ("GET", "/app.git/info/refs?service=git-receive-pack"),
            ("POST", "/app.git/git-receive-pack"),
        ]
    );
    // There is no version 2 of the push.
    assert!(
        requests
            .iter()
            .all(|request| request.git_protocol.is_none())
    );
    let (count, commands) = sent(&requests[1]);
    assert_eq!(count, 3); // commit, tree and file
    let line = format!(
        "{old} {} refs/heads/main\0 report-status-v2 side-band-64k quiet",
        made.hash
    );
    assert!(commands.contains(&line), "{commands}");
    // Pushed again, there is nothing to do.
    let error = push(&mut copy).await.unwrap_err();
    assert_eq!(error, "failed to push to remote: already up-to-date");
}

#[tokio::test]
async fn credentials_certificates_and_redirects_are_used() {
    // IA-GIT-021, IA-GIT-022, IA-GIT-026
    let authority = Authority::new();
    let server = HttpGitServer::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .basic_auth("flux", "p4ss")
        .redirect("/old/", "/")
        .start();
    let repo = repository(&server);
    let (ca, pair) = (authority.pem(), authority.issue(&["flux"]));
    let secret = [
        ("username", "flux"),
        ("password", "p4ss"),
        ("ca.crt", ca.as_str()),
        ("tls.crt", &pair.certificate),
        ("tls.key", &pair.key),
    ];
    let mut copy = check_out(
        &remote_with(&server.url("old/app.git"), &secret, |_| {}),
        "branch=main",
    )
    .await;
    let made = commit(&mut copy, "a", "2");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    let server = HttpGitServer::builder().bearer_token("t0ken").start();
    let repo = repository(&server);
    let secret = [("bearerToken", "t0ken")];
    let mut copy = check_out(
        &remote_with(&server.url("app.git"), &secret, |_| {}),
        "branch=main",
    )
    .await;
    let made = commit(&mut copy, "a", "2");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
}

#[tokio::test]
async fn pushes_go_through_the_proxy() {
    // IA-GIT-030, RT-GIT-019
    let (server, repo, _) = setup();
    let with = |proxy: &str| {
        let address = ProxyUrl::parse(proxy).unwrap();
        remote_with(&server.url("app.git"), &[], |options| {
            options.proxy = Proxy::Url(address);
        })
    };
    for (proxy, content) in [
        (ProxyServer::http(None), "http"),
        (ProxyServer::socks5(None), "socks5"),
    ] {
        let mut copy = check_out(&with(&proxy.url()), "branch=main").await;
        let made = commit(&mut copy, "a", content);
        let before = proxy.destinations().len();
        push(&mut copy).await.unwrap();
        assert!(proxy.destinations().len() > before);
        assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    }
    let Some(proxy) = Tinyproxy::start() else {
        println!("skipped: tinyproxy is not installed");
        return;
    };
    // It closes connections between the requests of one push.
    for round in 0..10 {
        let mut copy = check_out(&with(&proxy.url()), "branch=main").await;
        let made = commit(&mut copy, "a", &round.to_string());
        push(&mut copy).await.unwrap();
        assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    }
}

#[rstest]
#[case(401, "authentication required: no entry")]
#[case(403, "authorization failed: no entry")]
#[case(404, "repository not found: no entry")]
#[tokio::test]
async fn rejected_requests_are_errors(#[case] status: u16, #[case] expected: &str) {
    // IA-GIT-082
    for path in [
        "/app.git/info/refs?service=git-receive-pack",
        "/app.git/git-receive-pack",
    ] {
        let (_server, repo, remote) =
            setup_with(|builder| builder.answer(path, status, "no entry"));
        let old = repo.rev_parse("main");
        let mut copy = check_out(&remote, "branch=main").await;
        commit(&mut copy, "a", "2");
        let error = push(&mut copy).await.unwrap_err();
        assert_eq!(error, format!("failed to push to remote: {expected}"));
        assert_eq!(repo.rev_parse("main"), old);
    }
}

#[tokio::test]
async fn refspecs_push_to_further_references() {
    // IA-GIT-075, IA-GIT-076, IA-GIT-085
    let (server, repo, remote) = setup();
    let mut copy = check_out_with(&remote, "branch=main", &switching("x", true))
        .await
        .unwrap();
    let made = commit(&mut copy, "a", "2");
    push(&mut copy).await.unwrap();
    server.clear_requests();
    let spec = options(&["refs/heads/x:refs/for/main"], Force::Never);
    let pushed = push_with(&mut copy, &spec).await.unwrap();
    assert_eq!(pushed[0].reference, "refs/for/main");
    assert_eq!(repo.rev_parse("refs/for/main"), made.hash.as_str());
    assert_eq!(repo.rev_parse("x"), made.hash.as_str());
    // The server has the objects already.
    assert_eq!(sent(&posts(&server)[0]).0, 0);

    // Several at once, and by a hash.
    let hash = format!("{}:refs/heads/by-hash", made.hash);
    let specs = ["refs/heads/*:refs/heads/copy/*", &hash];
    server.clear_requests();
    let pushed = push_with(&mut copy, &options(&specs, Force::Never))
        .await
        .unwrap();
    let names: Vec<&str> = pushed
        .iter()
        .map(|update| update.reference.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "refs/heads/copy/main",
            "refs/heads/copy/x",
            "refs/heads/by-hash"
        ]
    );
    assert_eq!(repo.rev_parse("copy/main"), repo.rev_parse("main"));
    assert_eq!(repo.rev_parse("by-hash"), made.hash.as_str());
    assert!(sent(&posts(&server)[0]).1.contains(" atomic"));
}

#[rstest]
#[case("refs/heads/main:refs/heads/main")] // IA-GIT-077
#[case("refs/heads/other:refs/heads/new")]
#[case("main:main")]
#[case("refs/tags/*:refs/tags/*")]
#[case("1111111111111111111111111111111111111111:refs/heads/new")]
#[tokio::test]
async fn a_refspec_that_changes_nothing_is_an_error(#[case] text: &str) {
    let (server, _repo, remote) = setup();
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "2");
    push(&mut copy).await.unwrap();
    server.clear_requests();
    let pushed = copy.push(&options(&[text], Force::Never), MINUTE).await;
    let error = pushed.unwrap_err();
    assert!(matches!(error, PushError::UpToDate), "{error}");
    assert_eq!(
        chain(&error),
        "failed to push to remote: already up-to-date"
    );
    assert!(posts(&server).is_empty());
}

#[tokio::test]
async fn push_options_reach_the_hooks() {
    // IA-GIT-078
    let (_server, repo, remote) = setup();
    repo.hook(
        "pre-receive",
        "echo \"$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" > seen",
    );
    let wanted = PushOptions {
        options: vec![
            ("merge_request.create".to_owned(), String::new()),
            ("topic".to_owned(), "a b".to_owned()),
        ],
        ..PushOptions::default()
    };
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "2");
    push_with(&mut copy, &wanted).await.unwrap();
    let seen = || std::fs::read_to_string(repo.path().join("seen")).unwrap();
    assert_eq!(seen(), "2 merge_request.create= topic=a b\n");

    // IA-GIT-079
    repo.git(&["config", "receive.advertisePushOptions", "false"]);
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "3");
    push_with(&mut copy, &wanted).await.unwrap();
    assert_eq!(seen(), "0  \n");
}

#[rstest]
#[case::pre_receive("pre-receive", "pre-receive hook declined", "")]
#[case::update(
    "update",
    "hook declined",
    " error: hook declined to update refs/heads/main"
)]
#[tokio::test]
async fn the_words_of_hooks_are_shown(
    #[case] hook: &str,
    #[case] reason: &str,
    #[case] after: &str,
) {
    // IA-GIT-113
    let server = HttpGitServer::builder()
        .basic_auth("flux", "hunter2!")
        .start();
    let repo = repository(&server);
    repo.hook(
        hook,
        "printf 'GL-HOOK-ERR: \\033[31mmain is protected\\033[0m\\r\\n' >&2; echo 'password hunter2!' >&2; exit 1",
    );
    let secret = [("username", "flux"), ("password", "hunter2!")];
    let remote = remote_with(&server.url("app.git"), &secret, |_| {});
    let old = repo.rev_parse("main");
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "2");
    server.clear_requests();
    let error = copy
        .push(&PushOptions::default(), MINUTE)
        .await
        .unwrap_err();
    assert!(matches!(error, PushError::Rejected { .. }) && !error.is_conflict());
    assert_eq!(
        chain(&error),
        format!(
            "failed to push to remote: command error on refs/heads/main: {reason}: \
             GL-HOOK-ERR: main is protected password ***{after}"
        )
    );
    assert_eq!(repo.rev_parse("main"), old);
    assert_eq!(
        server.requests().len(),
        2,
        "a hook's decision is not doubted"
    );
}

#[tokio::test]
async fn a_moved_branch_is_a_conflict_and_the_change_can_be_made_again() {
    // IA-GIT-115, IA-STATUS-038
    let (_server, repo, remote) = setup();
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "2");
    let theirs = repo.commit("main").file("b", "theirs").create();
    let error = copy
        .push(&PushOptions::default(), MINUTE)
        .await
        .unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(
        chain(&error),
        "failed to push to remote: non-fast-forward update: refs/heads/main"
    );
    assert_eq!(repo.rev_parse("main"), theirs);
    let mut copy = check_out(&remote, "branch=main").await;
    assert_eq!(copy.head().unwrap().as_str(), theirs);
    commit(&mut copy, "a", "2");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main~1"), theirs);
}

/// A server on which another writer is faster: `main` moves between the discovery of a push and its request.
fn racing() -> (HttpGitServer, Repo, Remote) {
    let root = tempfile::TempDir::new().unwrap().keep();
    let races = AtomicUsize::new(0);
    let repo = Repo::init(&root, "app.git");
    repo.commit("main").file("a", "1").create();
    let other = repo.clone();
    let server = HttpGitServer::builder()
        .root(&root)
        .mangle(move |target, body| {
            if target.ends_with("service=git-receive-pack")
                && races.fetch_add(1, Ordering::SeqCst) == 0
            {
                other.commit("main").file("theirs", "1").create();
            }
            body
        })
        .start();
    let remote = remote(&server.url("app.git"));
    (server, repo, remote)
}

#[tokio::test]
async fn a_race_that_is_lost_on_the_server_is_a_conflict() {
    // IA-GIT-115
    for force in [Force::Never, Force::IfUnmoved, Force::Always] {
        let (_server, repo, remote) = racing();
        let mut copy = check_out(&remote, "branch=main").await;
        commit(&mut copy, "a", "2");
        let error = copy.push(&options(&[], force), MINUTE).await.unwrap_err();
        assert!(error.is_conflict(), "{error}");
        let text = chain(&error);
        let upstream = "failed to push to remote: command error on refs/heads/main: ";
        assert!(text.starts_with(upstream), "{text}");
        assert_eq!(repo.git(&["show", "main:theirs"]), "1");
        // The second attempt sees the new state.
        let mut copy = check_out(&remote, "branch=main").await;
        commit(&mut copy, "a", "2");
        push(&mut copy).await.unwrap();
        assert_eq!(repo.git(&["show", "main:theirs"]), "1");
        std::fs::remove_dir_all(repo.path().parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_branch_is_overwritten_only_by_force() {
    // IA-GIT-080, IA-GIT-111
    let (_server, repo, remote) = setup();
    repo.commit("x").parent("main").file("b", "1").create();
    let mut stacked = check_out_with(&remote, "branch=main", &switching("x", true))
        .await
        .unwrap();
    let mut fresh = check_out_with(&remote, "branch=main", &switching("x", false))
        .await
        .unwrap();
    let theirs = repo.commit("x").file("b", "2").create();
    for copy in [&mut stacked, &mut fresh] {
        commit(copy, "a", "2");
        for force in [Force::Never, Force::IfUnmoved] {
            let error = copy.push(&options(&[], force), MINUTE).await.unwrap_err();
            assert!(error.is_conflict(), "{error}");
        }
        assert_eq!(repo.rev_parse("x"), theirs);
    }
    let pushed = push_with(&mut fresh, &options(&[], Force::Always))
        .await
        .unwrap();
    assert_eq!(pushed[0].old.as_ref().unwrap().as_str(), theirs);
    assert_eq!(repo.rev_parse("x~1"), repo.rev_parse("main"));

    // The branch is where the copy saw it.
    let mut again = check_out_with(&remote, "branch=main", &switching("x", false))
        .await
        .unwrap();
    let made = commit(&mut again, "a", "3");
    push_with(&mut again, &options(&[], Force::IfUnmoved))
        .await
        .unwrap();
    assert_eq!(repo.rev_parse("x"), made.hash.as_str());
    let after = commit(&mut again, "a", "4");
    push_with(&mut again, &options(&[], Force::IfUnmoved))
        .await
        .unwrap();
    assert_eq!(repo.rev_parse("x"), after.hash.as_str());
}

#[rstest]
#[case::shallow(true)]
#[case::full(false)]
#[tokio::test]
async fn older_commits_count_as_ancestors_in_a_full_clone(#[case] is_shallow: bool) {
    let (_server, repo, remote) = setup();
    repo.branch("behind", "main~1");
    repo.commit("main").file("a", "1b").create();
    let wanted = flux_git::CheckoutOptions {
        shallow: is_shallow,
        ..flux_git::CheckoutOptions::default()
    };
    let mut copy = check_out_with(&remote, "branch=main", &wanted)
        .await
        .unwrap();
    commit(&mut copy, "a", "2");
    let made = commit(&mut copy, "a", "3");
    let spec = options(&["refs/heads/main:refs/heads/behind"], Force::Never);
    let pushed = copy.push(&spec, MINUTE).await;
    if is_shallow {
        assert!(pushed.unwrap_err().is_conflict());
    } else {
        pushed.unwrap();
        assert_eq!(repo.rev_parse("behind"), made.hash.as_str());
    }
}

#[tokio::test]
async fn a_push_from_a_commit_that_the_server_has_lost_is_rejected() {
    let (_server, repo, remote) = setup();
    let mut copy = check_out_with(&remote, "branch=main", &switching("x", true))
        .await
        .unwrap();
    commit(&mut copy, "a", "2");
    repo.commit("main").orphan().file("other", "1").create();
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "-q", "--prune=now"]);
    let error = push(&mut copy).await.unwrap_err();
    assert!(
        error.starts_with(
            "failed to push to remote: command error on refs/heads/x: missing necessary objects"
        ) || error.starts_with("failed to push to remote: unpack error: "),
        "{error}"
    );
}

#[rstest]
#[case::no_report(&[" report-status-v2", " report-status"])]
#[case::no_side_band(&[" side-band-64k"])]
#[case::first_version_of_the_report(&[" report-status-v2"])]
#[case::nothing(&[" report-status-v2", " report-status", " side-band-64k", " quiet", " atomic", " ofs-delta", " push-options", " object-format=sha1"])]
#[tokio::test]
async fn servers_with_fewer_capabilities_are_pushed_to(#[case] missing: &'static [&str]) {
    let (_server, repo, remote) = setup_with(|builder| {
        builder.mangle(move |target, body| {
            if !target.ends_with("service=git-receive-pack") {
                return body;
            }
            // The first packet has the capabilities; its length changes with them.
            let text = String::from_utf8(body).unwrap();
            let (announced, rest) = text.split_at(text.find("0000").unwrap() + 4);
            let length = usize::from_str_radix(&rest[..4], 16).unwrap();
            let mut first = rest[4..length].to_owned();
            for name in missing {
                first = first.replace(name, "");
            }
            format!(
                "{announced}{:04x}{first}{}",
                first.len() + 4,
                &rest[length..]
            )
            .into_bytes()
        })
    });
    let mut copy = check_out(&remote, "branch=main").await;
    let made = commit(&mut copy, "a", "2");
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
}

#[rstest]
#[case::nothing("")]
#[case::half_a_report("0012")]
#[tokio::test]
async fn an_update_whose_response_is_lost_counts(#[case] body: &'static str) {
    let (server, repo, remote) = setup_with(|builder| {
        builder.mangle(move |target, whole| {
            if target.ends_with("/git-receive-pack") {
                body.as_bytes().to_vec()
            } else {
                whole
            }
        })
    });
    let mut copy = check_out(&remote, "branch=main").await;
    let made = commit(&mut copy, "a", "2");
    server.clear_requests();
    let pushed = push(&mut copy).await.unwrap();
    assert_eq!(pushed[0].new, made.hash);
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    // An update that was rejected does not.
    repo.hook("pre-receive", "exit 1");
    commit(&mut copy, "a", "3");
    let error = push(&mut copy).await.unwrap_err();
    assert_eq!(
        error,
        "failed to push to remote: the server's answer ends too early: unexpected EOF"
    );
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
}

#[tokio::test]
async fn a_push_ends_at_its_deadline() {
    // IA-GIT-005, FR-N-106
    for path in [
        "/app.git/info/refs?service=git-receive-pack",
        "/app.git/git-receive-pack",
    ] {
        let (_server, repo, remote) = setup_with(|builder| builder.hang(path));
        let old = repo.rev_parse("main");
        let mut copy = check_out(&remote, "branch=main").await;
        commit(&mut copy, "a", "2");
        let pushed = copy
            .push(&PushOptions::default(), Duration::from_millis(500))
            .await;
        let error = chain(&pushed.unwrap_err());
        assert_eq!(error, "failed to push to remote: context deadline exceeded");
        assert_eq!(repo.rev_parse("main"), old);
    }
}

#[tokio::test]
async fn dropping_the_future_ends_a_push() {
    let (_server, repo, remote) = setup_with(|builder| builder.hang("/app.git/git-receive-pack"));
    let old = repo.rev_parse("main");
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "2");
    let wanted = PushOptions::default();
    tokio::select! {
        pushed = copy.push(&wanted, MINUTE) => panic!("{pushed:?}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    // The runtime waits for its blocking threads when this test returns: a hanging thread would hang the test.
    assert_eq!(repo.rev_parse("main"), old);
}

#[tokio::test]
async fn a_hook_that_outlives_the_deadline_does_not_undo_the_push() {
    let (_server, repo, remote) = setup();
    let pipe = repo.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    repo.hook("post-receive", "cat pipe > seen; echo done > seen");
    let mut copy = check_out(&remote, "branch=main").await;
    let made = commit(&mut copy, "a", "2");
    let pushed = copy
        .push(&PushOptions::default(), Duration::from_secs(3))
        .await;
    // Lets the hook end.
    drop(std::fs::OpenOptions::new().write(true).open(&pipe));
    assert_eq!(pushed.unwrap()[0].new, made.hash);
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
}

#[tokio::test]
async fn other_hash_functions_are_refused() {
    let server = HttpGitServer::start();
    let repo = repository(&server);
    let remote = remote(&server.url("app.git"));
    let mut copy = check_out(&remote, "branch=main").await;
    commit(&mut copy, "a", "2");
    std::fs::remove_dir_all(repo.path()).unwrap();
    let other = Repo::init_with(server.root(), "app.git", &["--object-format=sha256"]);
    other.commit("main").file("a", "1").create();
    let error = push(&mut copy).await.unwrap_err();
    assert!(error.contains("object format 'sha256'"), "{error}");
}

/// A writer of `name`: commits a file for each number, and makes the change again when others were faster.
async fn write(remote: Remote, name: &'static str, count: usize, force: Force) {
    for number in 0..count {
        let path = format!("{name}/{number}");
        loop {
            let mut copy = check_out(&remote, "branch=main").await;
            commit(&mut copy, &path, name);
            match copy.push(&options(&[], force), MINUTE).await {
                Ok(_) => break,
                Err(error) => assert!(error.is_conflict(), "{}", chain(&error)),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_of_concurrent_writers_is_lost() {
    const EACH: usize = 4;
    // IA-STATUS-038, IA-GIT-115
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return;
    }
    let (ssh, key) = ssh_server(|builder| builder);
    let server = HttpGitServer::builder().root(ssh.root()).start();
    let repo = repository(&server);
    let http = remote(&server.url("app.git"));
    let over_ssh = ssh_remote(&ssh, &key);
    tokio::join!(
        write(http.clone(), "one", EACH, Force::Never),
        write(http, "two", EACH, Force::IfUnmoved),
        write(over_ssh, "three", EACH, Force::Never),
    );
    let messages = repo.git(&["log", "--format=%s", "main"]);
    assert_eq!(messages.lines().count(), 2 + 3 * EACH);
    for name in ["one", "two", "three"] {
        for number in 0..EACH {
            let message = format!("write {name} to {name}/{number}");
            assert!(messages.lines().any(|line| line == message), "{messages}");
            assert_eq!(repo.git(&["show", &format!("main:{name}/{number}")]), name);
        }
    }
    repo.git(&["fsck", "--strict", "--no-dangling"]);
}

fn ssh_server(
    build: impl FnOnce(git_servers::SshGitServerBuilder) -> git_servers::SshGitServerBuilder,
) -> (SshGitServer, SshKey) {
    let key = SshKey::ed25519();
    let server = build(SshGitServer::builder().authorize(&key.public())).start();
    (server, key)
}

fn ssh_remote(server: &SshGitServer, key: &SshKey) -> Remote {
    let (private, known_hosts) = (key.private(), server.known_hosts());
    let secret = [
        ("identity", private.as_str()),
        ("known_hosts", &known_hosts),
    ];
    remote_with(&server.url("app.git"), &secret, |_| {})
}

fn ssh_repository(server: &SshGitServer) -> Repo {
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main").file("a", "1").create();
    repo.git(&["config", "receive.advertisePushOptions", "true"]);
    repo
}

async fn over_ssh(server: &SshGitServer, key: &SshKey) -> WorkingCopy {
    let mut copy = *check_out(&ssh_remote(server, key), "branch=main").await;
    let content = format!("on {}", copy.head().unwrap());
    commit(&mut copy, "a", &content);
    copy
}

#[tokio::test]
async fn pushes_over_ssh_report_like_those_over_http() {
    // IA-GIT-020, IA-GIT-027, IA-GIT-078
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return;
    }
    let (server, key) = ssh_server(|builder| builder);
    let repo = ssh_repository(&server);
    repo.hook("pre-receive", "echo \"$GIT_PUSH_OPTION_0\" > seen");
    repo.hook("post-receive", "echo pushed; echo done > after");
    let mut copy = over_ssh(&server, &key).await;
    let wanted = PushOptions {
        options: vec![("ci.skip".to_owned(), "yes".to_owned())],
        ..PushOptions::default()
    };
    let pushed = push_with(&mut copy, &wanted).await.unwrap();
    assert_eq!(repo.rev_parse("main"), pushed[0].new.as_str());
    let read = |name: &str| std::fs::read_to_string(repo.path().join(name)).unwrap();
    assert_eq!(read("seen"), "ci.skip=yes\n");
    assert_eq!(read("after"), "done\n", "the push waits for the hooks");

    // Larger than the window of a channel.
    let noise = noise(1, 6 << 20);
    let mut copy = over_ssh(&server, &key).await;
    let made = commit(&mut copy, "noise", &noise);
    push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main"), made.hash.as_str());
    assert_eq!(
        repo.git(&["cat-file", "-s", "main:noise"]),
        noise.len().to_string()
    );

    repo.hook("pre-receive", "echo not today >&2; exit 1");
    let mut copy = over_ssh(&server, &key).await;
    let error = push(&mut copy).await.unwrap_err();
    let rejected =
        "failed to push to remote: command error on refs/heads/main: pre-receive hook declined";
    assert_eq!(error, format!("{rejected}: not today"));

    repo.commit("main").file("b", "theirs").create();
    let error = push(&mut copy).await.unwrap_err();
    assert_eq!(
        error,
        "failed to push to remote: non-fast-forward update: refs/heads/main"
    );
}

#[rstest]
#[case::before_the_discovery("exit 1", "remote: ERROR: this key may only read")]
#[case::after_the_discovery(
    "git receive-pack --advertise-refs ROOT/app.git 2>/dev/null; exit 1",
    "remote: ERROR: this key may only read"
)]
#[tokio::test]
async fn the_words_of_an_ssh_server_that_refuses_pushes_are_shown(
    #[case] script: &str,
    #[case] expected: &str,
) {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let command = folder.path().join("command");
    let setting = format!("ForceCommand sh {}", command.display());
    let (server, key) = ssh_server(|builder| builder.setting(&setting));
    let repo = ssh_repository(&server);
    let script = script.replace("ROOT", &server.root().display().to_string());
    std::fs::write(
        &command,
        format!(
            "case \"$SSH_ORIGINAL_COMMAND\" in\n\
             git-receive-pack*) echo 'ERROR: this key may only read' >&2; {script};;\n\
             *) eval \"$SSH_ORIGINAL_COMMAND\";;\nesac\n"
        ),
    )
    .unwrap();
    let old = repo.rev_parse("main");
    let mut copy = over_ssh(&server, &key).await;
    let error = push(&mut copy).await.unwrap_err();
    assert_eq!(error, format!("failed to push to remote: {expected}"));
    assert_eq!(repo.rev_parse("main"), old);
}

/// A hook's output after the update, larger than what the connection buffers, is read to its end: the hook is not stopped in the
/// middle, and the push ends with it.
#[rstest]
#[case::in_one_piece("head -c 300000 /dev/zero | tr '\\0' x")]
#[case::in_lines("yes 'a line of a hook' | head -c 300000")]
#[case::as_errors("yes 'a line of a hook' | head -c 3000000 >&2")]
#[tokio::test]
async fn the_output_of_a_hook_is_read_to_its_end(#[case] output: &str) {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return;
    }
    let (server, key) = ssh_server(|builder| builder);
    let repo = ssh_repository(&server);
    repo.hook("post-receive", &format!("{output}; echo done > after"));
    let mut copy = over_ssh(&server, &key).await;
    let pushed = push(&mut copy).await.unwrap();
    assert_eq!(repo.rev_parse("main"), pushed[0].new.as_str());
    let after = std::fs::read_to_string(repo.path().join("after")).unwrap();
    assert_eq!(after, "done\n");
}

/// Text that does not compress.
fn noise(seed: u32, length: usize) -> String {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (state >> 24) as u8 % 95)
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A server that refuses the pack before it has read all of it: the client does not wait for the rest to be read.
#[tokio::test]
async fn a_pack_that_an_ssh_server_stops_reading_is_refused() {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return;
    }
    let (server, key) = ssh_server(|builder| builder);
    let repo = ssh_repository(&server);
    repo.git(&["config", "receive.maxInputSize", "100000"]);
    let old = repo.rev_parse("main");
    let mut copy = over_ssh(&server, &key).await;
    // Larger than the window of a channel.
    commit(&mut copy, "noise", &noise(1, 6 << 20));
    let error = push(&mut copy).await.unwrap_err();
    // IA-GIT-082
    let text = "failed to push to remote: unpack error: ";
    assert!(error.starts_with(text), "{error}");
    assert!(
        error.contains("pack exceeds maximum allowed size"),
        "{error}"
    );
    assert_eq!(repo.rev_parse("main"), old);
}
