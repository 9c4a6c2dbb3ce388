//! Every kind of reference to a commit, over smart HTTP with protocol version 2 and with the old one.

mod support;

use flux_git::{FetchOptions, Fetched};
use git_servers::{HttpGitServer, Repo};
use support::{fetch, fetch_with, files, remote};

/// A repository with history, tags of all kinds and a pull request; the hashes by name.
struct Story {
    server: HttpGitServer,
    repo: Repo,
    first: String,
    second: String,
    side: String,
    pull: String,
}

fn story(old_protocol: bool) -> Story {
    let mut builder = HttpGitServer::builder();
    if old_protocol {
        builder = builder.without_protocol_v2();
    }
    let server = builder.start();
    let repo = Repo::init(server.root(), "org/app.git");
    let first = repo
        .commit("main")
        .file("a", "1")
        .when(1_600_000_000)
        .message("one\n")
        .create();
    let second = repo
        .commit("main")
        .file("a", "2")
        .when(1_600_000_100)
        .message("two\n")
        .create();
    let side = repo
        .commit("feature/x")
        .orphan()
        .file("side", "s")
        .when(1_600_000_200)
        .create();
    let pull = repo.commit("tmp").parent("main").file("pull", "p").create();
    repo.update_ref("refs/pull/1/head", &pull);
    repo.delete_branch("tmp");
    repo.tag("light", &first);
    repo.annotated_tag("noted", &first)
        .message("about it\n")
        .create();
    for (tag, commit) in [
        ("v0.1.0", &first),
        ("0.2.0", &second),
        ("v0.2.0-rc.1", &side),
        ("nonsense", &side),
    ] {
        repo.tag(tag, commit);
    }
    // Of versions that differ only in build metadata, the newer commit wins, whatever the order of names.
    repo.tag("v1.0.0+zzz", &first);
    repo.tag("v1.0.0+aaa", &second);
    Story {
        server,
        repo,
        first,
        second,
        side,
        pull,
    }
}

impl Story {
    fn fill(&self, text: &str) -> String {
        text.replace("FIRST", &self.first)
            .replace("SECOND", &self.second)
            .replace("SIDE", &self.side)
            .replace("PULL", &self.pull)
            .replace("URL", &self.server.url("org/app.git"))
    }
}

const ZERO: &str = "0000000000000000000000000000000000000000";

#[tokio::test]
async fn every_reference_type_resolves() {
    let cases = [
        // SC-GIT-042, RT-GIT-003
        (
            "branch=main",
            "main@sha1:SECOND",
            "refs/heads/main@sha1:SECOND",
            "a=2",
        ),
        (
            "branch=feature/x",
            "feature/x@sha1:SIDE",
            "refs/heads/feature/x@sha1:SIDE",
            "side=s",
        ),
        // SC-GIT-043, RT-GIT-004
        (
            "tag=light",
            "light@sha1:FIRST",
            "refs/tags/light@sha1:FIRST",
            "a=1",
        ),
        (
            "tag=noted",
            "noted@sha1:FIRST",
            "refs/tags/noted@sha1:FIRST",
            "a=1",
        ),
        // SC-GIT-044, SC-GIT-046, RT-GIT-005
        (
            "semver=<1.0.0",
            "0.2.0@sha1:SECOND",
            "refs/tags/0.2.0@sha1:SECOND",
            "a=2",
        ),
        (
            "semver=0.1.x",
            "v0.1.0@sha1:FIRST",
            "refs/tags/v0.1.0@sha1:FIRST",
            "a=1",
        ),
        (
            "semver=>=0.2.0-0%<0.2.0",
            "v0.2.0-rc.1@sha1:SIDE",
            "refs/tags/v0.2.0-rc.1@sha1:SIDE",
            "side=s",
        ),
        (
            "semver=>=1.0.0",
            "v1.0.0+aaa@sha1:SECOND",
            "refs/tags/v1.0.0+aaa@sha1:SECOND",
            "a=2",
        ),
        // SC-GIT-048, SC-GIT-049, RT-GIT-006
        (
            "name=refs/heads/main",
            "main@sha1:SECOND",
            "refs/heads/main@sha1:SECOND",
            "a=2",
        ),
        (
            "name=refs/tags/noted",
            "noted@sha1:FIRST",
            "refs/tags/noted@sha1:FIRST",
            "a=1",
        ),
        (
            "name=refs/tags/noted^{}",
            "noted^{}@sha1:FIRST",
            "refs/tags/noted^{}@sha1:FIRST",
            "a=1",
        ),
        (
            "name=refs/pull/1/head",
            "1/head@sha1:PULL",
            "refs/pull/1/head@sha1:PULL",
            "a=2 pull=p",
        ),
        // SC-GIT-050
        ("commit=FIRST", "sha1:FIRST", "sha1:FIRST", "a=1"),
        ("commit=SIDE", "sha1:SIDE", "sha1:SIDE", "side=s"),
        // SC-GIT-051
        (
            "commit=SECOND branch=main",
            "main@sha1:SECOND",
            "refs/heads/main@sha1:SECOND",
            "a=2",
        ),
        (
            "commit=FIRST branch=main",
            "main@sha1:FIRST",
            "refs/heads/main@sha1:FIRST",
            "a=1",
        ),
        // SC-GIT-052
        (
            "commit=FIRST name=refs/tags/light",
            "light@sha1:FIRST",
            "refs/tags/light@sha1:FIRST",
            "a=1",
        ),
    ];
    for old_protocol in [false, true] {
        let story = story(old_protocol);
        let remote = remote(&story.server.url("org/app.git"));
        for (wanted, revision, absolute, content) in cases {
            let snapshot = fetch(&remote, &story.fill(wanted))
                .await
                .unwrap_or_else(|error| panic!("{wanted}: {error}"));
            assert_eq!(
                snapshot.commit().revision(),
                story.fill(revision),
                "{wanted}"
            );
            assert_eq!(
                snapshot.commit().absolute_revision(),
                story.fill(absolute),
                "{wanted}"
            );
            let found: Vec<String> = files(&snapshot)
                .into_iter()
                .map(|(path, text)| format!("{path}={text}"))
                .collect();
            assert_eq!(found.join(" "), content, "{wanted}");
            // SC-GIT-060, RT-GIT-002: already observed, so nothing is fetched
            story.server.clear_requests();
            let known = if wanted.starts_with("name=") {
                absolute
            } else {
                revision
            };
            let known = if wanted.contains("name=refs/tags/light") {
                absolute
            } else {
                known
            };
            let options = FetchOptions {
                last_observed: Some(story.fill(known)),
                ..FetchOptions::default()
            };
            let again = fetch_with(&remote, &story.fill(wanted), &options)
                .await
                .unwrap();
            if wanted.starts_with("semver=>=1") {
                // Two tags of one version: which is newer must be fetched.
                assert!(matches!(again, Fetched::Unchanged(_)));
                continue;
            }
            let Fetched::Unchanged(commit) = again else {
                panic!("{wanted}: {again:?}")
            };
            assert_eq!(commit.revision(), story.fill(revision), "{wanted}");
            assert!(!commit.is_concrete());
            let requests = story.server.requests();
            assert!(
                !requests
                    .iter()
                    .any(|request| request.says("command=fetch") || request.says("want ")),
                "{wanted}"
            );
            assert!(requests.len() <= 2, "{wanted}: {requests:?}");
        }
    }
}

#[tokio::test]
async fn commits_and_tags_are_parsed() {
    let story = story(false);
    let snapshot = fetch(&remote(&story.server.url("org/app.git")), "tag=noted")
        .await
        .unwrap();
    let commit = snapshot.commit();
    assert_eq!(
        (commit.author.name.as_str(), commit.author.email.as_str()),
        ("Ada Author", "ada@example.com")
    );
    assert_eq!(
        (commit.committer.name.as_str(), commit.committer.seconds),
        ("Carl Committer", 1_600_000_000)
    );
    assert_eq!(
        (commit.message.as_str(), commit.short_message().as_str()),
        ("one\n", "one")
    );
    let tag = commit.referencing_tag.as_ref().unwrap();
    assert_eq!(
        tag.hash.as_ref().unwrap().as_str(),
        story.repo.rev_parse("refs/tags/noted")
    );
    assert_eq!(
        (tag.name.as_str(), tag.message.as_str(), tag.is_signed()),
        ("noted", "about it\n", false)
    );
    let encoded = story.repo.git(&["cat-file", "commit", &story.first]);
    assert_eq!(
        String::from_utf8(commit.encoded.clone()).unwrap().trim(),
        encoded
    );
}

#[tokio::test]
async fn missing_references_are_errors() {
    for old_protocol in [false, true] {
        let story = story(old_protocol);
        let url = story.server.url("org/app.git");
        let remote = remote(&url);
        for (wanted, expected) in [
            // SC-GIT-054, RT-GIT-007; the default branch is `master` (RT-GIT-001)
            (
                "",
                "unable to clone 'URL': couldn't find remote ref \"refs/heads/master\"",
            ),
            (
                "branch=gone",
                "unable to clone 'URL': couldn't find remote ref \"refs/heads/gone\"",
            ),
            (
                "branch=mai",
                "unable to clone 'URL': couldn't find remote ref \"refs/heads/mai\"",
            ),
            (
                "branch=a%b",
                "unable to clone 'URL': couldn't find remote ref \"refs/heads/a b\"",
            ),
            (
                "branch=../x",
                "unable to clone 'URL': couldn't find remote ref \"refs/heads/../x\"",
            ),
            (
                "tag=gone",
                "unable to clone 'URL': couldn't find remote ref \"refs/tags/gone\"",
            ),
            // SC-GIT-045, RT-GIT-005
            ("semver=>9", "no match found for semver: >9"),
            (
                "semver=bad%range",
                "semver parse error: improper constraint: \"bad range\"",
            ),
            // SC-GIT-047, RT-GIT-006
            (
                "name=refs/pull/9/head",
                "unable to resolve ref 'refs/pull/9/head' to a specific commit",
            ),
            (
                "name=main",
                "unable to resolve ref 'main' to a specific commit",
            ),
            (
                "name=refs/tags/light^{}",
                "unable to resolve ref 'refs/tags/light^{}' to a specific commit",
            ),
            (
                "name=/refs/heads/main",
                "ref /refs/heads/main is invalid; Git refs cannot begin or end with a slash '/'",
            ),
            (
                "name=refs/heads/",
                "ref refs/heads/ is invalid; Git refs cannot begin or end with a slash '/'",
            ),
            // SC-GIT-053, SC-GIT-051
            (
                "commit=ZERO",
                "unable to resolve commit object for 'ZERO': object not found",
            ),
            (
                "commit=4649f2a",
                "unable to resolve commit object for '4649f2a': object not found",
            ),
            (
                "commit=SIDE branch=main",
                "unable to resolve commit object for 'SIDE': object not found",
            ),
            (
                "commit=FIRST branch=gone",
                "unable to clone 'URL': couldn't find remote ref \"refs/heads/gone\"",
            ),
        ] {
            let fill = |text: &str| story.fill(text).replace("ZERO", ZERO);
            let error = fetch(&remote, &fill(wanted)).await.map(|_| ()).unwrap_err();
            assert_eq!(error, fill(expected), "{wanted}");
        }
        // A branch that existed and was deleted.
        let options = FetchOptions {
            last_observed: Some(format!("gone@sha1:{ZERO}")),
            ..FetchOptions::default()
        };
        let error = fetch_with(&remote, "branch=gone", &options)
            .await
            .unwrap_err();
        assert_eq!(
            error,
            story.fill("unable to clone 'URL': couldn't find remote ref \"refs/heads/gone\"")
        );
    }
}

#[tokio::test]
async fn a_tag_or_tree_hash_is_not_accepted_as_a_commit() {
    // SC-GIT-053
    let story = story(false);
    let remote = remote(&story.server.url("org/app.git"));
    for object in [
        story.repo.rev_parse("refs/tags/noted"),
        story.repo.rev_parse("main^{tree}"),
    ] {
        let error = fetch(&remote, &format!("commit={object}"))
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            error,
            format!("unable to resolve commit object for '{object}': object not found")
        );
    }
}

#[tokio::test]
async fn an_empty_repository_is_reported() {
    // SC-GIT-027, RT-GIT-008
    for old_protocol in [false, true] {
        let mut builder = HttpGitServer::builder();
        if old_protocol {
            builder = builder.without_protocol_v2();
        }
        let server = builder.start();
        let repo = Repo::init(server.root(), "new.git");
        let remote = remote(&server.url("new.git"));
        for wanted in ["", "branch=main", "branch=other"] {
            let found = fetch_with(&remote, wanted, &FetchOptions::default())
                .await
                .unwrap();
            assert!(matches!(found, Fetched::Empty), "{wanted}: {found:?}");
        }
        let url = server.url("new.git");
        for wanted in [
            "tag=v1",
            "semver=>=1.0.0",
            &format!("commit={ZERO} branch=main"),
        ] {
            let error = fetch(&remote, wanted).await.map(|_| ()).unwrap_err();
            assert_eq!(
                error,
                format!("unable to clone: remote repository is empty: git repository: '{url}'")
            );
        }
        let error = fetch(&remote, "name=refs/heads/main")
            .await
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            error,
            format!("unable to list remote for '{url}': remote repository is empty")
        );
        // The first push makes it an ordinary one; HEAD still points to a missing branch.
        repo.commit("trunk").file("a", "1").create();
        assert_eq!(
            files(&fetch(&remote, "branch=trunk").await.unwrap())["a"],
            "1"
        );
        assert!(
            fetch(&remote, "branch=main")
                .await
                .unwrap_err()
                .contains("couldn't find remote ref")
        );
    }
}

#[tokio::test]
async fn only_needed_objects_are_requested_and_sent() {
    for old_protocol in [false, true] {
        let story = story(old_protocol);
        for number in 0..50 {
            story
                .repo
                .commit("main")
                .file("a", number.to_string())
                .create();
            story.repo.branch(&format!("other-{number}"), "main");
        }
        let remote = remote(&story.server.url("org/app.git"));
        let head = story.repo.rev_parse("main");
        for wanted in [
            "branch=main".to_owned(),
            format!("commit={head}"),
            "tag=noted".to_owned(),
        ] {
            story.server.clear_requests();
            let snapshot = fetch(&remote, &wanted).await.unwrap();
            let requests = story.server.requests();
            let last = requests.last().unwrap();
            // RT-GIT-003, SC-GIT-042
            assert!(
                last.says("deepen 1") && !last.says("deepen-relative"),
                "{wanted}: {}",
                String::from_utf8_lossy(&last.body)
            );
            if old_protocol {
                // RT-GIT-013, SC-GIT-057: hosts that require it see support for multiple acknowledgements
                assert!(
                    last.says("multi_ack") && !last.says("thin-pack"),
                    "{wanted}: {}",
                    String::from_utf8_lossy(&last.body)
                );
            }
            assert_eq!(
                last.body
                    .windows(6)
                    .filter(|window| window[0].is_ascii_hexdigit() && window[1..] == *b"want ")
                    .count(),
                1,
                "{wanted} {}",
                String::from_utf8_lossy(&last.body)
            );
            if !old_protocol {
                for request in requests
                    .iter()
                    .filter(|request| request.says("command=ls-refs"))
                {
                    assert!(
                        request.says("ref-prefix refs/"),
                        "{}",
                        String::from_utf8_lossy(&request.body)
                    );
                }
                // SC-GIT-055: discovery, listing, fetch; a bare commit needs no listing
                let expected = if wanted.starts_with("commit") { 2 } else { 3 };
                assert_eq!(requests.len(), expected, "{wanted}");
            }
            assert!(
                snapshot.received_bytes() < 20_000,
                "{wanted}: {}",
                snapshot.received_bytes()
            );
        }
    }
}

#[tokio::test]
async fn all_branches_are_fetched_from_a_server_without_hash_requests() {
    // SC-GIT-050
    let story = story(true);
    story
        .repo
        .git(&["config", "uploadpack.allowReachableSHA1InWant", "false"]);
    let remote = remote(&story.server.url("org/app.git"));
    let snapshot = fetch(&remote, &format!("commit={}", story.first))
        .await
        .unwrap();
    assert_eq!(files(&snapshot)["a"], "1");
    story.repo.update_ref("refs/pull/1/head", "main");
    assert!(
        fetch(&remote, &format!("commit={}", story.pull))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn moved_and_force_pushed_branches_are_fetched() {
    // SC-GIT-060, SC-GIT-061
    let story = story(false);
    let remote = remote(&story.server.url("org/app.git"));
    let known = |revision: String| FetchOptions {
        last_observed: Some(revision),
        ..FetchOptions::default()
    };
    let old_form = known(format!("main/{}", story.second));
    assert!(matches!(
        fetch_with(&remote, "branch=main", &old_form).await.unwrap(),
        Fetched::Unchanged(_)
    ));
    story.repo.branch("main", &story.side);
    let Fetched::Snapshot(moved) = fetch_with(&remote, "branch=main", &old_form).await.unwrap()
    else {
        panic!("the branch has moved");
    };
    assert_eq!(moved.commit().hash.as_str(), story.side);
    assert_eq!(files(&moved).keys().collect::<Vec<_>>(), ["side"]);
}

#[tokio::test]
async fn another_object_format_is_refused() {
    // SC-GIT-058
    for old_protocol in [false, true] {
        let mut builder = HttpGitServer::builder();
        if old_protocol {
            builder = builder.without_protocol_v2();
        }
        let server = builder.start();
        let repo = Repo::init_with(server.root(), "app.git", &["--object-format=sha256"]);
        repo.commit("main").file("a", "1").create();
        let error = fetch(&remote(&server.url("app.git")), "branch=main")
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(
            error.contains("uses the object format 'sha256', which is not supported"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn references_are_listed() {
    let story = story(false);
    let remote = remote(&story.server.url("org/app.git"));
    let listed = remote
        .list(&["refs/tags/noted"], support::MINUTE)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].peeled.as_ref().unwrap().as_str(), story.first);
    assert_eq!(
        listed[0].hash.as_str(),
        story.repo.rev_parse("refs/tags/noted")
    );
    assert!(remote.list(&[], support::MINUTE).await.unwrap().len() > 8);
}
