//! Repositories over SSH.

use git_servers::{Repo, SshGitServer, SshKey, sshd_available};
use kind_tests::controller::Settings;
use kind_tests::{GIT_REPOSITORY, Result, ensure};
use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn a_repository_is_cloned_with_a_deploy_key() -> Result {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return Ok(());
    }
    let (key, locked) = (
        SshKey::ed25519(),
        SshKey::generate(&["-t", "ed25519"], "s3cret"),
    );
    let server = SshGitServer::builder()
        .authorize(&key.public())
        .authorize(&locked.public())
        .start();
    let repo = Repo::init(server.root(), "app.git");
    let commit = repo.commit("main").file("f", "x").create();
    let world = World::start("git-ssh").await?;
    let secret = |name: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}).to_string()
    };
    let other_host = "127.0.0.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n";
    for (name, data) in [
        (
            "key",
            json!({"identity": key.private(), "known_hosts": server.known_hosts()}),
        ),
        (
            "locked",
            json!({"identity": locked.private(), "known_hosts": server.known_hosts(), "password": "s3cret"}),
        ),
        (
            "no-password",
            json!({"identity": locked.private(), "known_hosts": server.known_hosts()}),
        ),
        ("no-hosts", json!({"identity": key.private()})),
        (
            "stranger",
            json!({"identity": key.private(), "known_hosts": other_host}),
        ),
    ] {
        world.namespace.apply(&secret(name, data)).await?;
        let spec = format!("ref: {{branch: main}}, secretRef: {{name: {name}}}");
        world.apply_url(name, &server.url("app.git"), &spec).await?;
    }
    // SC-GIT-126
    for name in ["key", "locked"] {
        let object = world.ready(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == format!("main@sha1:{commit}"),
            "{object}"
        );
    }
    let ns = world.namespace.name();
    // SC-AUTH-015
    let message = world
        .condition("no-password", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    assert_eq!(
        message,
        format!(
            "SSH identity key is encrypted but no 'password' field was provided in the secret '{ns}/no-password'"
        )
    );
    // SC-AUTH-014
    let message = world
        .condition("no-hosts", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    assert_eq!(
        message,
        "failed to configure authentication options: invalid 'ssh' auth option: 'known_hosts' is required"
    );
    // SC-GIT-124
    let message = world
        .condition("stranger", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(message.contains("knownhosts: key"), "{message}");
    let object = world
        .namespace
        .get(GIT_REPOSITORY, "stranger")
        .await?
        .unwrap_or_default();
    ensure!(object["status"]["artifact"].is_null(), "{object}");
    Ok(())
}

// SC-PROC-013, SC-PROC-014, RT-GIT-014
#[tokio::test]
async fn only_configured_ssh_algorithms_are_offered() -> Result {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return Ok(());
    }
    let settings = Settings::default()
        .flag("--ssh-kex-algos=ecdh-sha2-nistp256")
        .flag("--ssh-kex-algos=ecdh-sha2-nistp384")
        .flag("--ssh-hostkey-algos=ssh-ed25519");
    let world =
        World::start_with("git-algos", settings, git_servers::HttpGitServer::start()).await?;
    let key = SshKey::ed25519();
    let builder = || SshGitServer::builder().authorize(&key.public());
    let rsa = || SshKey::generate(&["-t", "rsa", "-b", "2048"], "");
    let servers = [
        ("any", builder().start(), ""),
        (
            "second",
            builder()
                .setting("KexAlgorithms ecdh-sha2-nistp384")
                .start(),
            "",
        ),
        (
            "other-kex",
            builder().setting("KexAlgorithms curve25519-sha256").start(),
            "ssh: no common algorithm for key exchange; we offered: [ecdh-sha2-nistp256 ecdh-sha2-nistp384",
        ),
        (
            "other-key",
            builder().host_key(rsa()).start(),
            "ssh: no common algorithm for host key; we offered: [ssh-ed25519",
        ),
    ];
    for (name, server, _) in &servers {
        Repo::init(server.root(), "app.git")
            .commit("main")
            .file("f", "x")
            .create();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"identity": key.private(), "known_hosts": server.known_hosts()}});
        world.namespace.apply(&secret.to_string()).await?;
        let spec = format!("ref: {{branch: main}}, secretRef: {{name: {name}}}");
        world.apply_url(name, &server.url("app.git"), &spec).await?;
    }
    for (name, server, words) in &servers {
        if words.is_empty() {
            world.ready(name).await?;
            let log = server.log();
            ensure!(
                log.contains("kex: algorithm: ecdh-sha2-nistp")
                    && log.contains("kex: host key algorithm: ssh-ed25519"),
                "{name}: {log}"
            );
        } else {
            let message = world
                .condition(name, "FetchFailed", "True", "GitOperationFailed")
                .await?;
            ensure!(message.contains(words), "{name}: {message}");
        }
    }
    Ok(())
}

// SC-AUTH-014, SC-GIT-124, SC-GIT-126: a Secret's defects are reported without showing it
#[tokio::test]
async fn invalid_ssh_keys_and_known_hosts_are_reported() -> Result {
    let world = World::start("git-nokeys").await?;
    let (key, locked) = (
        SshKey::ed25519(),
        SshKey::generate(&["-t", "ed25519"], "s3cret"),
    );
    let hosts = format!("127.0.0.1 {}", key.public());
    let failed = "failed to checkout and determine revision: unable to set up the connection to 'ssh://git@127.0.0.1:1/app.git': ";
    for (name, data, reason, words) in [
        (
            "no-key",
            json!({"identity": "no key at all", "known_hosts": hosts}),
            "GitOperationFailed",
            format!("{failed}ssh: "),
        ),
        (
            "half-key",
            json!({"identity": &key.private()[..80], "known_hosts": hosts}),
            "GitOperationFailed",
            format!("{failed}ssh: "),
        ),
        (
            "public-key",
            json!({"identity": key.public(), "known_hosts": hosts}),
            "GitOperationFailed",
            format!("{failed}ssh: "),
        ),
        (
            "wrong-phrase",
            json!({"identity": locked.private(), "known_hosts": hosts, "password": "wr0ng"}),
            "GitOperationFailed",
            format!("{failed}ssh: "),
        ),
        (
            "no-hosts",
            json!({"identity": key.private(), "known_hosts": "127.0.0.1 ssh-ed25519 AAAA\n"}),
            "GitOperationFailed",
            format!("{failed}knownhosts: "),
        ),
        (
            "second-line",
            json!({"identity": key.private(), "known_hosts": format!("{hosts}nonsense\n")}),
            "GitOperationFailed",
            "(line 2)".to_owned(),
        ),
        (
            "empty-hosts",
            json!({"identity": key.private(), "known_hosts": ""}),
            "AuthenticationFailed",
            "invalid 'ssh' auth option: 'known_hosts' is required".to_owned(),
        ),
        (
            "empty-key",
            json!({"identity": "", "known_hosts": hosts}),
            "AuthenticationFailed",
            "invalid 'ssh' auth option: 'identity' is required".to_owned(),
        ),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        world.namespace.apply(&secret.to_string()).await?;
        let spec = format!("ref: {{branch: main}}, secretRef: {{name: {name}}}");
        world
            .apply_url(name, "ssh://git@127.0.0.1:1/app.git", &spec)
            .await?;
        let message = world.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(message.contains(&words), "{name}: {message}");
        for hidden in ["no key at all", "wr0ng", "PRIVATE"] {
            ensure!(!message.contains(hidden), "{name}: {message}");
        }
    }
    Ok(())
}
