//! SSH against OpenSSH's sshd.

mod support;

use std::time::Duration;

use flux_errors::chain;
use flux_git::{FetchOptions, Fetched, Remote, RemoteOptions};
use flux_http::{Proxy, ProxyUrl};
use git_servers::{
    Proxy as ProxyServer, Repo, SshGitServer, SshGitServerBuilder, SshKey, sshd_available,
};
use support::{fetch, fetch_with, files, reference, remote_with};

macro_rules! need_sshd {
    () => {
        if !sshd_available() {
            println!("skipped: sshd is not installed");
            return;
        }
    };
}

/// A server with a repository, and an authorized key.
struct Site {
    server: SshGitServer,
    repo: Repo,
    key: SshKey,
}

fn site(key: SshKey, build: impl FnOnce(SshGitServerBuilder) -> SshGitServerBuilder) -> Site {
    let server = build(SshGitServer::builder().authorize(&key.public())).start();
    let repo = Repo::init(server.root(), "it's an app.git");
    repo.commit("main").file("a", "1").create();
    repo.commit("main").file("a", "2").create();
    Site { server, repo, key }
}

impl Site {
    fn url(&self) -> String {
        self.server.url("it's%20an%20app.git")
    }

    fn remote(&self, known_hosts: &str, change: impl FnOnce(&mut RemoteOptions)) -> Remote {
        let private = self.key.private();
        remote_with(
            &self.url(),
            &[("identity", &private), ("known_hosts", known_hosts)],
            change,
        )
    }

    fn trusting(&self) -> Remote {
        self.remote(&self.server.known_hosts(), |_| {})
    }
}

async fn error(remote: &Remote) -> String {
    fetch(remote, "branch=main").await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_repository_is_fetched_and_compared_over_ssh() {
    // SC-GIT-060, SC-GIT-124
    need_sshd!();
    for old_protocol in [false, true] {
        let site = site(SshKey::ed25519(), |builder| {
            if old_protocol {
                builder.without_protocol_v2()
            } else {
                builder
            }
        });
        let remote = site.trusting();
        let snapshot = fetch(&remote, "branch=main").await.unwrap();
        assert_eq!(files(&snapshot)["a"], "2");
        assert_eq!(snapshot.commit().hash.as_str(), site.repo.rev_parse("main"));
        let known = FetchOptions {
            last_observed: Some(snapshot.commit().revision()),
            ..FetchOptions::default()
        };
        assert!(matches!(
            fetch_with(&remote, "branch=main", &known).await.unwrap(),
            Fetched::Unchanged(_)
        ));
        assert_eq!(site.server.connections(), 2, "one connection for each");
        let first = site.repo.rev_parse("main~1");
        assert_eq!(
            files(&fetch(&remote, &format!("commit={first}")).await.unwrap())["a"],
            "1"
        );
        assert!(
            error_text(&remote, "branch=gone")
                .await
                .ends_with("couldn't find remote ref \"refs/heads/gone\"")
        );
    }
}

async fn error_text(remote: &Remote, wanted: &str) -> String {
    fetch(remote, wanted).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn all_branches_are_fetched_from_a_server_without_hash_requests() {
    // SC-GIT-050
    need_sshd!();
    let site = site(SshKey::ed25519(), SshGitServerBuilder::without_protocol_v2);
    site.repo
        .git(&["config", "uploadpack.allowReachableSHA1InWant", "false"]);
    let first = site.repo.rev_parse("main~1");
    let snapshot = fetch(&site.trusting(), &format!("commit={first}"))
        .await
        .unwrap();
    assert_eq!(files(&snapshot)["a"], "1");
    assert_eq!(site.server.connections(), 2, "the hash was refused first");
    let gone = "0123456789012345678901234567890123456789";
    assert_eq!(
        error_text(&site.trusting(), &format!("commit={gone}")).await,
        format!("unable to resolve commit object for '{gone}': object not found")
    );
}

#[tokio::test]
async fn every_client_key_type_authenticates() {
    // SC-GIT-126
    need_sshd!();
    for arguments in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
    ] {
        let site = site(SshKey::generate(arguments, "s3cret"), |builder| builder);
        let (private, hosts) = (site.key.private(), site.server.known_hosts());
        let entries = [
            ("identity", private.as_str()),
            ("known_hosts", &hosts),
            ("password", "s3cret"),
        ];
        let remote = remote_with(&site.url(), &entries, |_| {});
        fetch(&remote, "branch=main")
            .await
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        let entries = [
            ("identity", private.as_str()),
            ("known_hosts", &hosts),
            ("password", "wrong"),
        ];
        let remote = remote_with(&site.url(), &entries, |_| {});
        assert!(
            error(&remote)
                .await
                .ends_with("ssh: the passphrase does not decrypt the private key")
        );
    }
}

#[tokio::test]
async fn host_keys_are_checked_strictly() {
    // SC-GIT-124, RT-GIT-014, FR-N-100
    need_sshd!();
    let site = site(SshKey::ed25519(), |builder| {
        builder.host_key(SshKey::ed25519())
    });
    let address = site.server.address();
    let other = SshKey::ed25519().public();
    let host = format!("[{}]:{}", address.ip(), address.port());
    let known = site.server.known_hosts();
    for (file, expected) in [
        (
            format!("{host} {other}"),
            "ssh: handshake failed: knownhosts: key mismatch",
        ),
        (
            format!("elsewhere {other}"),
            "ssh: handshake failed: knownhosts: key is unknown",
        ),
        (
            known.replace(&host, &address.ip().to_string()),
            "ssh: handshake failed: knownhosts: key is unknown",
        ),
        (
            format!("{known}@revoked * {}", site.server.host_keys()[0].public()),
            "knownhosts: key is revoked",
        ),
        (
            format!("{host} S3CRET S3CRET"),
            "knownhosts: the key is not base64 (line 1)",
        ),
        (
            "nonsense".to_owned(),
            "knownhosts: missing key type pattern (line 1)",
        ),
    ] {
        let text = error(&site.remote(&file, |_| {})).await;
        assert!(text.ends_with(expected), "{text}");
    }
    // Patterns and negation.
    let key = known.split_once(' ').unwrap().1;
    fetch(
        &site.remote(
            &format!("[127.0.0.*]:* {key}[127.0.0.?]:{} {key}", address.port())
                .replace(":* ", ":1 "),
            |_| {},
        ),
        "branch=main",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn the_host_key_type_in_known_hosts_is_requested() {
    // RT-GIT-014, SC-GIT-125
    need_sshd!();
    let rsa = || SshKey::generate(&["-t", "rsa", "-b", "2048"], "");
    let ecdsa = SshKey::generate(&["-t", "ecdsa"], "");
    let site = site(SshKey::ed25519(), |builder| {
        builder
            .host_key(SshKey::ed25519())
            .host_key(rsa())
            .host_key(ecdsa)
    });
    let known = site.server.known_hosts();
    for line in known.lines() {
        // FR-N-100: only one of the server's three keys is known: the server must present that one, or it is a mismatch.
        fetch(&site.remote(line, |_| {}), "branch=main")
            .await
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert!(
        site.server.log().contains("rsa-sha2-512"),
        "SHA-1 is the last resort"
    );
    let with = |kex: &str, host_key: &str| {
        let list = |text: &str| {
            text.split(',')
                .filter(|t| !t.is_empty())
                .map(str::to_owned)
                .collect()
        };
        site.remote(&known, |options| {
            options.ssh.kex = list(kex);
            options.ssh.host_key = list(host_key);
        })
    };
    fetch(
        &with("diffie-hellman-group14-sha256", "rsa-sha2-256"),
        "branch=main",
    )
    .await
    .unwrap();
    let log = site.server.log();
    assert!(
        log.contains("kex: algorithm: diffie-hellman-group14-sha256"),
        "{log}"
    );
    assert!(
        log.contains("kex: host key algorithm: rsa-sha2-256"),
        "{log}"
    );
    for kex in [
        "curve25519-sha256",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group16-sha512",
        "unknown,curve25519-sha256",
    ] {
        fetch(&with(kex, ""), "branch=main")
            .await
            .unwrap_or_else(|error| panic!("{kex}: {error}"));
    }
    let text = error(&with("unknown", "")).await;
    assert!(
        text.ends_with("ssh: none of the key exchange algorithms [unknown] is supported"),
        "{text}"
    );
    let text = error(&with("", "unknown")).await;
    assert!(
        text.ends_with("ssh: none of the host key algorithms [unknown] is supported"),
        "{text}"
    );
    let text = error(&with("diffie-hellman-group1-sha1", "")).await;
    assert!(
        text.contains("ssh: handshake failed: ssh: no common algorithm for key exchange"),
        "{text}"
    );
}

/// A server with these settings, and an authorized key.
fn restricted(settings: &[&str], key: SshKey) -> Site {
    site(key, |mut builder| {
        for setting in settings {
            builder = builder.setting(setting);
        }
        builder.host_key(SshKey::generate(&["-t", "rsa", "-b", "2048"], ""))
    })
}

#[tokio::test]
async fn servers_with_a_single_algorithm_are_reached() {
    // RT-GIT-014: what Go's client offers by default
    need_sshd!();
    let mac = |name: &str| vec!["Ciphers aes128-ctr".to_owned(), format!("MACs {name}")];
    let mut settings: Vec<Vec<String>> = [
        "KexAlgorithms curve25519-sha256",
        "KexAlgorithms curve25519-sha256@libssh.org",
        "KexAlgorithms ecdh-sha2-nistp256",
        "KexAlgorithms ecdh-sha2-nistp384",
        "KexAlgorithms ecdh-sha2-nistp521",
        "KexAlgorithms diffie-hellman-group14-sha256",
        "KexAlgorithms diffie-hellman-group14-sha1",
        "KexAlgorithms diffie-hellman-group16-sha512",
        "KexAlgorithms diffie-hellman-group-exchange-sha256",
        "Ciphers aes128-gcm@openssh.com",
        "Ciphers aes256-gcm@openssh.com",
        "Ciphers chacha20-poly1305@openssh.com",
        "Ciphers aes128-ctr",
        "Ciphers aes192-ctr",
        "Ciphers aes256-ctr",
        "HostKeyAlgorithms ssh-rsa",
        "HostKeyAlgorithms rsa-sha2-256",
    ]
    .map(|line| vec![line.to_owned()])
    .into();
    settings.extend([
        mac("hmac-sha2-256-etm@openssh.com"),
        mac("hmac-sha2-512-etm@openssh.com"),
        mac("hmac-sha2-256"),
        mac("hmac-sha2-512"),
        mac("hmac-sha1"),
        mac("hmac-sha1-etm@openssh.com"),
    ]);
    for lines in settings {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let site = restricted(&lines, SshKey::ed25519());
        fetch(&site.trusting(), "branch=main")
            .await
            .unwrap_or_else(|error| panic!("{lines:?}: {error}"));
    }
    // A server that supports all of them never negotiates SHA-1.
    let site = restricted(&[], SshKey::ed25519());
    fetch(&site.trusting(), "branch=main").await.unwrap();
    let log = site.server.log();
    for negotiated in [
        "kex: algorithm: curve25519-sha256",
        "cipher: chacha20-poly1305@openssh.com",
    ] {
        assert!(log.contains(negotiated), "{negotiated} in {log}");
    }
}

#[tokio::test]
async fn an_rsa_key_signs_with_an_accepted_hash() {
    // SC-GIT-126
    need_sshd!();
    for accepted in ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"] {
        for conditional in [false, true] {
            // In a `Match` block the server announces all hashes and rejects those that the user may not use.
            let line = format!("PubkeyAcceptedAlgorithms {accepted}");
            let all = "PubkeyAcceptedAlgorithms rsa-sha2-512,rsa-sha2-256,ssh-rsa";
            let settings = if conditional {
                vec![all, "Match User *", &line]
            } else {
                vec![line.as_str()]
            };
            let key = SshKey::generate(&["-t", "rsa", "-b", "2048"], "");
            let site = restricted(&settings, key);
            fetch(&site.trusting(), "branch=main")
                .await
                .unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        }
    }
}

#[tokio::test]
async fn host_certificates_are_accepted() {
    // SC-GIT-124, FR-N-100
    need_sshd!();
    let (authority, host) = (SshKey::ed25519(), SshKey::ed25519());
    let certificate = authority.certify(&host, &["-h", "-I", "host", "-n", "127.0.0.1"]);
    let site = site(SshKey::ed25519(), |builder| {
        builder.host_key(host).host_certificate(&certificate)
    });
    let port = site.server.address().port();
    let trusting = format!("@cert-authority [127.0.0.*]:{port} {}", authority.public());
    fetch(&site.remote(&trusting, |_| {}), "branch=main")
        .await
        .unwrap();
    let stranger = format!(
        "@cert-authority [127.0.0.1]:{port} {}",
        SshKey::ed25519().public()
    );
    let text = error(&site.remote(&stranger, |_| {})).await;
    assert!(
        text.contains("ssh: handshake failed: knownhosts: key is unknown"),
        "{text}"
    );
}

#[tokio::test]
async fn rejections_are_explained() {
    // RT-GIT-007, SC-GIT-026
    need_sshd!();
    let site = site(SshKey::ed25519(), |builder| builder);
    let (private, hosts) = (SshKey::ed25519().private(), site.server.known_hosts());
    let stranger = remote_with(
        &site.url(),
        &[("identity", &private), ("known_hosts", &hosts)],
        |_| {},
    );
    assert_eq!(
        error(&stranger).await,
        format!(
            "unable to clone '{}': ssh: handshake failed: ssh: unable to authenticate, \
             attempted methods [none publickey], no supported methods remain",
            stranger.url()
        )
    );
    let private = site.key.private();
    let gone = site.server.url("gone.git");
    let gone = remote_with(
        &gone,
        &[("identity", &private), ("known_hosts", &hosts)],
        |_| {},
    );
    assert_eq!(
        error(&gone).await,
        format!(
            "unable to clone: repository not found: git repository: '{}'",
            gone.url()
        )
    );
    let nonsense = remote_with(
        &site.url(),
        &[("identity", "S3CRET"), ("known_hosts", &hosts)],
        |_| {},
    );
    let text = error(&nonsense).await;
    assert!(
        text.contains("ssh: no usable private key found") && !text.contains("S3CRET"),
        "{text}"
    );
    let nobody = format!("ssh://git@127.0.0.1:1/{}", "x");
    let nobody = remote_with(
        &nobody,
        &[("identity", &private), ("known_hosts", &hosts)],
        |_| {},
    );
    assert!(
        error(&nobody)
            .await
            .ends_with(": dial tcp 127.0.0.1:1: connect: connection refused")
    );
}

#[tokio::test]
async fn ssh_connects_through_proxies() {
    // SC-GIT-127
    need_sshd!();
    let site = site(SshKey::ed25519(), |builder| builder);
    for proxy in [
        ProxyServer::http(Some(("u", "p"))),
        ProxyServer::socks5(Some(("u", "p"))),
        ProxyServer::socks5(None),
    ] {
        let through = |password: &str| {
            let address = ProxyUrl::parse(&proxy.url())
                .unwrap()
                .with_credentials("u", Some(password.into()));
            site.remote(&site.server.known_hosts(), |options| {
                options.proxy = Proxy::Url(address);
            })
        };
        fetch(&through("p"), "branch=main").await.unwrap();
        assert_eq!(proxy.destinations(), [site.server.address().to_string()]);
    }
    let proxy = ProxyServer::socks5(Some(("u", "p")));
    let address = ProxyUrl::parse(&proxy.url())
        .unwrap()
        .with_credentials("u", Some("wrong".into()));
    let remote = site.remote(&site.server.known_hosts(), |options| {
        options.proxy = Proxy::Url(address);
    });
    let text = error(&remote).await;
    assert!(
        text.ends_with("socks connect: username/password authentication failed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_silent_server_times_out() {
    // SC-GIT-029, SC-GIT-128
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/app.git", listener.local_addr().unwrap());
    let key = SshKey::ed25519();
    let (private, hosts) = (key.private(), format!("* {}", key.public()));
    let remote = remote_with(
        &url,
        &[("identity", &private), ("known_hosts", &hosts)],
        |_| {},
    );
    let found = remote
        .fetch(
            &reference("branch=main"),
            &FetchOptions::default(),
            Duration::from_millis(200),
        )
        .await;
    assert_eq!(
        chain(&found.unwrap_err()),
        format!("unable to clone '{url}': context deadline exceeded")
    );
}
