//! Tests of the fixtures with the real git client.

use std::process::Command;

use git_servers::{
    Authority, HttpGitServer, PgpKey, Repo, SshGitServer, SshKey, gpg_available, sshd_available,
};

fn git(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .args(arguments)
        .env_remove("GIT_SSL_CAINFO")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("run git");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn a_commit_is_listed_and_cloned_over_http_with_basic_auth() {
    let server = HttpGitServer::builder()
        .basic_auth("flux", "s3cret")
        .start();
    let repo = Repo::init(server.root(), "org/app.git");
    let first = repo
        .commit("main")
        .file("a/b.yaml", "x: 1\n")
        .executable("run", "#!/bin/sh\n")
        .create();
    let second = repo
        .commit("main")
        .remove("run")
        .symlink("link", "a/b.yaml")
        .message("second\n")
        .create();
    assert_ne!(first, second);
    assert_eq!(
        repo.git(&["rev-list", "main"]),
        format!("{second}\n{first}")
    );

    let (refused, _) = git(&["ls-remote", &server.url("org/app.git")]);
    assert!(!refused);
    let (listed, text) = git(&[
        "ls-remote",
        &server.url_with_user("flux:s3cret", "org/app.git"),
    ]);
    assert!(listed, "{text}");
    assert!(
        text.contains(&format!("{second}\trefs/heads/main")),
        "{text}"
    );
    assert!(
        server
            .requests()
            .iter()
            .any(|request| request.says("command=ls-refs"))
    );
    assert_eq!(server.requests()[0].status, 401);
}

#[test]
fn tls_client_certificates_and_redirects_work_with_git() {
    let authority = Authority::new();
    let server = HttpGitServer::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .redirect("/old/", "/")
        .answer("/broken", 503, "later")
        .start();
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main").file("a", "1").create();
    let folder = tempfile::TempDir::new().expect("temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("write");
        path.display().to_string()
    };
    let pair = authority.issue(&["client"]);
    let (ca, cert, key) = (
        write("ca", &authority.pem()),
        write("cert", &pair.certificate),
        write("key", &pair.key),
    );
    let settings = [
        format!("http.sslCAInfo={ca}"),
        format!("http.sslCert={cert}"),
        format!("http.sslKey={key}"),
    ];
    let with = |url: &str, count: usize| {
        let mut arguments = Vec::new();
        for setting in &settings[..count] {
            arguments.extend(["-c", setting]);
        }
        arguments.extend(["ls-remote", url]);
        git(&arguments)
    };
    assert!(
        !with(&server.url("app.git"), 0).0,
        "an unknown authority is refused"
    );
    assert!(
        !with(&server.url("app.git"), 1).0,
        "a client without certificate is refused"
    );
    let (done, text) = with(&server.url("old/app.git"), 3);
    assert!(done, "{text}");
    assert!(!with(&server.url("broken"), 3).0);
}

#[test]
fn git_clones_over_ssh() {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return;
    }
    let key = SshKey::ed25519();
    let server = SshGitServer::builder().authorize(&key.public()).start();
    let repo = Repo::init(server.root(), "app.git");
    let commit = repo.commit("main").file("a", "1").create();
    let folder = tempfile::TempDir::new().expect("temporary folder");
    let known = folder.path().join("known_hosts");
    std::fs::write(&known, server.known_hosts()).expect("write");
    let ssh = format!(
        "core.sshCommand=ssh -F none -o IdentitiesOnly=yes -o UserKnownHostsFile={} -i {}",
        known.display(),
        key.path().display()
    );
    let (done, text) = git(&["-c", &ssh, "ls-remote", &server.url("app.git")]);
    assert!(done, "{text}\n{}", server.log());
    assert!(text.contains(&commit));
    assert_eq!(server.connections(), 1);
}

#[test]
fn git_accepts_the_signatures() {
    let root = tempfile::TempDir::new().expect("temporary folder");
    let repo = Repo::init(root.path(), "app.git");
    let key = SshKey::ed25519();
    let signed = repo.commit("main").file("a", "1").signed_ssh(&key).create();
    assert!(
        repo.git(&["cat-file", "commit", &signed])
            .contains("BEGIN SSH SIGNATURE")
    );
    let tag = repo.annotated_tag("v1", &signed).signed_ssh(&key).create();
    assert_eq!(repo.rev_parse("v1^{commit}"), signed);
    assert_ne!(tag, signed);
    if !gpg_available() {
        println!("skipped: gpg is not installed");
        return;
    }
    let key = PgpKey::generate("ed25519", "never");
    let signed = repo.commit("main").file("b", "1").signed_pgp(&key).create();
    assert!(
        repo.git(&["cat-file", "commit", &signed])
            .contains("BEGIN PGP SIGNATURE")
    );
    assert_eq!(repo.git(&["rev-list", "--count", "main"]), "2");
}
