//! Transport behaviour: credentials, TLS, proxies, redirects, rejections, deadlines.

mod support;

use std::time::{Duration, Instant};

use flux_errors::chain;
use flux_git::{AuthOptions, FetchOptions, GitUrl, Remote, RemoteOptions};
use flux_http::{Proxy, ProxyUrl, SecretData};
use git_servers::{Authority, HttpGitServer, Proxy as ProxyServer, Repo, Tinyproxy};
use support::{fetch, reference, remote, remote_with};

fn repository(server: &HttpGitServer) -> String {
    Repo::init(server.root(), "app.git")
        .commit("main")
        .file("a", "1")
        .create();
    server.url("app.git")
}

#[tokio::test]
async fn basic_authentication_succeeds() {
    // SC-GIT-120, SC-GIT-121, RT-SEC-011
    let server = HttpGitServer::builder()
        .basic_auth("flux", "p:w@rd")
        .start();
    let url = repository(&server);
    let good = remote_with(
        &url,
        &[("username", "flux"), ("password", "p:w@rd")],
        |_| {},
    );
    fetch(&good, "branch=main").await.unwrap();
    fetch(
        &remote(&server.url_with_user("flux:p%3Aw%40rd", "app.git")),
        "branch=main",
    )
    .await
    .unwrap();
    let wrong = remote_with(&url, &[("username", "flux"), ("password", "no")], |_| {});
    // A server's message is shown only if the server received no credentials that it could echo.
    for (remote, said) in [(wrong, ""), (remote(&url), ": authentication required")] {
        assert_eq!(
            fetch(&remote, "branch=main").await.map(|_| ()).unwrap_err(),
            format!("unable to clone '{url}': authentication required{said}")
        );
    }
}

#[tokio::test]
async fn a_bearer_token_is_sent_and_no_header_without_credentials() {
    // SC-GIT-121, SC-GIT-122, RT-GIT-012
    let server = HttpGitServer::builder().bearer_token("t0ken").start();
    let url = repository(&server);
    fetch(
        &remote_with(&url, &[("bearerToken", "t0ken")], |_| {}),
        "branch=main",
    )
    .await
    .unwrap();
    let with_line_end = remote_with(&url, &[("bearerToken", "t0ken\n")], |_| {});
    let found = fetch(&with_line_end, "branch=main").await;
    assert_eq!(
        found.map(|_| ()).unwrap_err(),
        format!(
            "unable to clone '{url}': Get \"{url}/info/refs?service=git-upload-pack\": \
             net/http: invalid header field value for \"Authorization\""
        )
    );
    let open = HttpGitServer::start();
    let url = repository(&open);
    fetch(&remote(&url), "branch=main").await.unwrap();
    assert!(
        open.requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
    assert!(
        open.requests()[0]
            .user_agent
            .as_ref()
            .unwrap()
            .starts_with("git/flux-")
    );
}

#[test]
fn credentials_do_not_go_over_plain_http_unless_allowed() {
    // RT-GIT-010, RT-GIT-011
    let url = GitUrl::parse("http://host/app").unwrap();
    let entries = [("username", b"flux".as_slice()), ("password", b"x")];
    let auth = AuthOptions::new(&url, Some(&SecretData::new("n", "s", entries))).unwrap();
    let error = Remote::new(url, auth, RemoteOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "basic auth cannot be sent over HTTP");
}

#[tokio::test]
async fn tls_with_a_private_ca_and_client_certificate() {
    // SC-GIT-123, SC-AUTH-013
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = HttpGitServer::builder()
        .tls(&servers)
        .client_certificates(&clients)
        .start();
    let url = repository(&server);
    let (ca, pair) = (servers.pem(), clients.issue(&["flux"]));
    let full = [
        ("ca.crt", ca.as_str()),
        ("tls.crt", &pair.certificate),
        ("tls.key", &pair.key),
    ];
    fetch(&remote_with(&url, &full, |_| {}), "branch=main")
        .await
        .unwrap();
    let old_name = [
        ("caFile", ca.as_str()),
        ("tls.crt", &pair.certificate),
        ("tls.key", &pair.key),
    ];
    fetch(&remote_with(&url, &old_name, |_| {}), "branch=main")
        .await
        .unwrap();
    assert!(
        fetch(&remote_with(&url, &full[..1], |_| {}), "branch=main")
            .await
            .is_err()
    );
    let error = fetch(&remote(&url), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.ends_with(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        ),
        "{error}"
    );
    for (entries, expected) in [
        (
            &[("ca.crt", "nonsense")][..],
            "failed to parse CA certificate",
        ),
        (
            &[("tls.crt", "x"), ("tls.key", "y")],
            "failed to parse TLS certificate and key: ",
        ),
    ] {
        let error = fetch(&remote_with(&url, entries, |_| {}), "branch=main")
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn each_remote_can_have_its_own_proxy() {
    // SC-GIT-127, RT-GIT-019
    let server = HttpGitServer::start();
    let url = repository(&server);
    for proxy in [
        ProxyServer::http(Some(("u", "p"))),
        ProxyServer::socks5(Some(("u", "p"))),
    ] {
        let with = |password: &str| {
            let address = ProxyUrl::parse(&proxy.url()).unwrap();
            let address = address.with_credentials("u", Some(password.into()));
            remote_with(&url, &[], |options| options.proxy = Proxy::Url(address))
        };
        fetch(&with("p"), "branch=main").await.unwrap();
        assert!(!proxy.destinations().is_empty());
        assert!(fetch(&with("wrong"), "branch=main").await.is_err());
    }
}

#[tokio::test]
async fn only_redirects_of_discovery_are_followed() {
    let target = HttpGitServer::builder().basic_auth("flux", "pw").start();
    let open = HttpGitServer::start();
    repository(&target);
    repository(&open);
    let server = HttpGitServer::builder()
        .redirect("/old/", "/")
        .redirect("/other/", &open.url(""))
        .redirect("/guarded/", &target.url(""))
        .redirect("/loop/", "/loop/")
        .redirect("/login/", "/sign-in?next=")
        .redirect("/file/", "file:///etc/")
        .start();
    repository(&server);
    let with = |path: &str| {
        remote_with(
            &server.url(path),
            &[("username", "flux"), ("password", "pw")],
            |_| {},
        )
    };
    fetch(&with("old/app.git"), "branch=main").await.unwrap();
    assert!(
        server
            .requests()
            .iter()
            .any(|r| r.method == "POST" && r.target == "/app.git/git-upload-pack")
    );
    fetch(&with("other/app.git"), "branch=main").await.unwrap();
    // Another host never receives the credentials.
    assert!(
        open.requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
    let error = fetch(&with("guarded/app.git"), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    // Nor is the message of a server that a redirect chose.
    assert!(error.ends_with("': authentication required"), "{error}");
    for (path, expected) in [
        ("loop/app.git", "http redirect: too many redirects"),
        (
            "login/app.git",
            "http redirect: target \"/sign-in\" does not end with /info/refs",
        ),
        ("file/app.git", "http redirect: unsupported scheme \"file\""),
    ] {
        let error = fetch(&with(path), "branch=main")
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(error.ends_with(expected), "{error}");
    }
    let authority = Authority::new();
    let secure = HttpGitServer::builder()
        .tls(&authority)
        .redirect("/", &open.url(""))
        .start();
    let ca = authority.pem();
    let error = fetch(
        &remote_with(&secure.url("app.git"), &[("ca.crt", &ca)], |_| {}),
        "branch=main",
    )
    .await;
    assert!(
        error
            .map(|_| ())
            .unwrap_err()
            .ends_with("http redirect: changes scheme from \"https\" to \"http\"")
    );
    let posts = HttpGitServer::builder()
        .redirect("/app.git/git-upload-pack", "/elsewhere")
        .redirect_posts()
        .start();
    let url = repository(&posts);
    let error = fetch(&remote(&url), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.contains("http redirect: redirect on non-initial request to "),
        "{error}"
    );
}

#[tokio::test]
async fn rejections_become_typed_errors() {
    // RT-GIT-007, SC-GIT-026
    let server = HttpGitServer::builder()
        .answer("/forbidden", 403, "not for you\n")
        .answer("/broken", 503, "later")
        .answer("/page", 200, "<html>")
        .start();
    let url = |path: &str| server.url(path);
    for (path, expected) in [
        (
            "gone.git",
            "unable to clone: repository not found: git repository: 'URL'",
        ),
        (
            "forbidden",
            "unable to clone 'URL': authorization failed: not for you",
        ),
        (
            "broken",
            "unable to clone 'URL': unexpected client error: unexpected requesting \
             \"URL/info/refs?service=git-upload-pack\" status code: 503",
        ),
    ] {
        let error = fetch(&remote(&url(path)), "branch=main")
            .await
            .map(|_| ())
            .unwrap_err();
        let expected = expected.replace("URL", &url(path));
        assert!(
            error == expected || error.contains("repository not found: Repository not exported"),
            "{error}"
        );
    }
    // Neither an HTML page nor the dumb protocol is a repository.
    let error = fetch(&remote(&url("page")), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    let expected = format!("unable to clone '{}': invalid pkt-len found", url("page"));
    assert_eq!(error, expected);
    // While comparing, the error is that of the listing.
    let options = FetchOptions {
        last_observed: Some("main@sha1:x".into()),
        ..FetchOptions::default()
    };
    let error = support::fetch_with(&remote(&url("broken")), "branch=main", &options)
        .await
        .unwrap_err();
    assert!(
        error.starts_with(&format!(
            "unable to list remote for '{}': unexpected client error",
            url("broken")
        )),
        "{error}"
    );
    let error = fetch(&remote("http://127.0.0.1:1/app.git"), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error,
        "unable to clone 'http://127.0.0.1:1/app.git': \
         Get \"http://127.0.0.1:1/app.git/info/refs?service=git-upload-pack\": \
         dial tcp 127.0.0.1:1: connect: connection refused"
    );
}

#[tokio::test]
async fn credentials_repeated_by_the_server_are_masked() {
    // SC-GIT-053, SC-GIT-054
    let echo = |status: u16| {
        let basic = "Zmx1eDpTM0NSRVQ="; // flux:S3CRET
        HttpGitServer::builder()
            .answer(
                "/app.git",
                status,
                &format!("Authorization: Basic {basic} flux:S3CRET"),
            )
            .start()
    };
    for status in [400, 401, 403, 404, 407, 500] {
        let server = echo(status);
        for entries in [
            &[("username", "flux"), ("password", "S3CRET")][..],
            &[("bearerToken", "S3CRET")],
        ] {
            let url = server.url("app.git?private_token=S3CRET");
            let text = fetch(&remote_with(&url, entries, |_| {}), "branch=main")
                .await
                .map(|_| ())
                .unwrap_err();
            assert!(
                !text.contains("S3CRET") && !text.contains("Zmx1eDpTM0NSRVQ"),
                "{text}"
            );
        }
    }
    // Nor is one that a redirect leads to.
    let target = echo(401);
    let server = HttpGitServer::builder()
        .redirect("/", &target.url(""))
        .start();
    let text = fetch(&remote(&server.url("app.git")), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(text.ends_with("': authentication required"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_closes_connections_fails_no_fetch() {
    // RT-GIT-019; `forgetful` in flux-http's tests shows the same without tinyproxy
    let Some(proxy) = Tinyproxy::start() else {
        println!("skipped: tinyproxy is not installed");
        return;
    };
    let server = HttpGitServer::start();
    let url = repository(&server);
    let address = ProxyUrl::parse(&proxy.url()).unwrap();
    for round in 0..25 {
        let through = remote_with(&url, &[], |options| {
            options.proxy = Proxy::Url(address.clone());
        });
        fetch(&through, "branch=main")
            .await
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
}

#[tokio::test]
async fn the_deadline_covers_every_step() {
    // SC-GIT-029
    let server = HttpGitServer::builder()
        .hang("/silent")
        .hang("/app.git/git-upload-pack")
        .start();
    let url = repository(&server);
    for (path, last, expected) in [
        (
            "silent.git",
            None,
            "unable to clone 'URL': context deadline exceeded",
        ),
        (
            "app.git",
            None,
            "unable to clone 'URL': context deadline exceeded",
        ),
        (
            "silent.git",
            Some("main@sha1:x"),
            "unable to list remote for 'URL': context deadline exceeded",
        ),
    ] {
        let url = url.replace("app.git", path);
        let options = FetchOptions {
            last_observed: last.map(str::to_owned),
            ..FetchOptions::default()
        };
        let begun = Instant::now();
        let error = remote(&url)
            .fetch(
                &reference("branch=main"),
                &options,
                Duration::from_millis(200),
            )
            .await;
        assert_eq!(chain(&error.unwrap_err()), expected.replace("URL", &url));
        // Far below any timeout of the connection itself: the deadline ended it.
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn dropping_the_future_ends_the_work() {
    let server = HttpGitServer::builder().hang("/silent").start();
    let folder = tempfile::TempDir::new().unwrap();
    let remote = remote_with(&server.url("silent.git"), &[], |options| {
        options.temporary_folder = Some(folder.path().to_owned());
    });
    let wanted = reference("branch=main");
    let options = FetchOptions::default();
    tokio::select! {
        found = remote.fetch(&wanted, &options, support::MINUTE) => panic!("{found:?}"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    // The runtime waits for its blocking threads when this test returns: a hanging thread would hang the test.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

// SC-ART-068
#[tokio::test]
async fn limits_on_size_and_count_are_enforced() {
    let server = HttpGitServer::start();
    let repo = Repo::init(server.root(), "app.git");
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let commit = repo
        .commit("main")
        .file("big", &noise)
        .file("b", "")
        .file("c", "")
        .create();
    let limited = |change: fn(&mut flux_git::Limits)| {
        remote_with(&server.url("app.git"), &[], |options| {
            change(&mut options.limits);
        })
    };
    let error = fetch(&limited(|limits| limits.received = 100_000), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.ends_with("the repository exceeds the limit of 100000 received bytes"),
        "{error}"
    );
    let error = fetch(&limited(|limits| limits.entries = 2), "branch=main")
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.ends_with("the repository exceeds the limit of 2 files and folders"),
        "{error}"
    );
    for wanted in ["branch=main".to_owned(), format!("commit={commit}")] {
        let error = fetch(&limited(|limits| limits.object = 100_000), &wanted)
            .await
            .map(|_| ())
            .unwrap_err();
        assert!(
            error.ends_with("the repository exceeds the limit of 100000 bytes in one object"),
            "{wanted}: {error}"
        );
    }
}
