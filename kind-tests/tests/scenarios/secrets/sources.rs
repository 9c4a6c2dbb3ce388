//! Credentials of repositories: passwords, tokens, keys, certificates, GitHub Apps, proxies.

use git_servers::{
    Authority, GitHubApp, HttpGitServer, PgpKey, Proxy, Repo, SshGitServer, SshKey, gpg_available,
    sshd_available,
};
use kind_tests::{Flux, GIT_REPOSITORY, Result};
use serde_json::{Value, json};

use super::echo::Echo;
use super::{MARK, armoured, ends, nothing_is_shown, secret, talkative};
use crate::config_map;

/// A GitRepository with what opens it, and how it ends.
struct Case {
    name: String,
    url: String,
    data: Value,
    /// More fields of the spec; `secretRef` is added if there is data.
    spec: String,
    reason: Option<&'static str>,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        name: &str,
        url: impl Into<String>,
        data: Value,
        reason: Option<&'static str>,
    ) {
        self.with(name, url, data, String::new(), reason);
    }

    fn with(
        &mut self,
        name: &str,
        url: impl Into<String>,
        data: Value,
        spec: String,
        reason: Option<&'static str>,
    ) {
        self.0.push(Case {
            name: name.to_owned(),
            url: url.into(),
            data,
            spec,
            reason,
        });
    }

    /// Applies them all and waits for their ends.
    async fn run(&self, flux: &Flux) -> Result {
        for case in &self.0 {
            let name = &case.name;
            let mut spec = case.spec.clone();
            if !case.data.is_null() {
                secret(&flux.namespace, name, &case.data).await?;
                if !spec.contains("SecretRef") && !spec.contains("verify") {
                    spec = format!("secretRef: {{name: {name}}}, {spec}");
                }
            }
            let yaml = format!(
                "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}}}, spec: \
                 {{url: '{}', interval: 10m, timeout: 20s, ref: {{branch: main}}, {spec}}}}}",
                case.url
            );
            flux.namespace.apply(&yaml).await?;
        }
        for case in &self.0 {
            ends(flux, GIT_REPOSITORY, &case.name, case.reason).await?;
        }
        Ok(())
    }
}

const GIT: Option<&str> = Some("GitOperationFailed");
const AUTH: Option<&str> = Some("AuthenticationFailed");

fn password() -> Value {
    json!({"username": "flux", "password": format!("{MARK}password")})
}

fn token() -> Value {
    json!({"bearerToken": format!("{MARK}token")})
}

// SC-GIT-053, SC-GIT-054, RT-LOG-012
#[tokio::test]
async fn http_credentials_are_never_shown() -> Result {
    let flux = Flux::start_with("secrets-http", talkative(), talkative()).await?;
    let echo = Echo::start().await?;
    let host = echo.host();
    let mut cases = Cases::default();

    // What works shows nothing either.
    let git = HttpGitServer::builder()
        .basic_auth("flux", &format!("{MARK}password"))
        .start();
    let repo = Repo::init(git.root(), "app.git");
    repo.commit("main")
        .file("a.yaml", config_map("a", "1"))
        .create();
    cases.add("right", git.url("app.git"), password(), None);
    let inside = git.url_with_user(&format!("flux:{MARK}password"), "app.git");
    cases.add("in-url", inside, Value::Null, None);
    let wrong = json!({"username": "flux", "password": format!("{MARK}wrong")});
    cases.add("wrong", git.url("app.git"), wrong, GIT);

    // Servers that repeat what they were sent.
    for path in [
        "400",
        "401",
        "403",
        "404",
        "429",
        "500",
        "html",
        "text",
        "err",
        "err-at-once",
        "reference",
        "moved",
        "astray",
    ] {
        let url = format!("http://{host}/{path}/app.git");
        cases.add(&format!("password-{path}"), &url, password(), GIT);
        cases.add(&format!("token-{path}"), &url, token(), GIT);
        let url = format!("http://flux:{MARK}inurl@{host}/{path}/app.git");
        cases.add(&format!("url-{path}"), &url, Value::Null, GIT);
        let url = format!("http://{host}/{path}/app.git?private_token={MARK}query");
        cases.add(&format!("query-{path}"), &url, Value::Null, GIT);
    }
    for (name, url) in [
        (
            "refused",
            format!("http://flux:{MARK}a@127.0.0.1:1/app.git?t={MARK}b"),
        ),
        (
            "unknown-host",
            format!("http://flux:{MARK}a@nowhere.invalid/app.git"),
        ),
        (
            "bad-escape",
            format!("http://flux:{MARK}%zz@{host}/401/app.git"),
        ),
        (
            "no-tls",
            format!("https://flux:{MARK}a@{host}/401/app.git?t={MARK}b"),
        ),
    ] {
        cases.add(name, url, Value::Null, GIT);
    }
    for (name, url) in [
        ("open-bracket", format!("http://flux:{MARK}a@[::1/app.git")),
        ("bad-port", format!("http://flux:{MARK}a@{host}x/app.git")),
        ("no-host", format!("https://flux:{MARK}a@/app.git")),
    ] {
        cases.add(name, url, Value::Null, Some("URLInvalid"));
    }

    // Submodules have URLs of their own.
    let modules = format!(
        "[submodule \"s\"]\n\tpath = s\n\turl = http://flux:{MARK}sub@{host}/401/sub.git\n"
    );
    let commit = repo.rev_parse("main");
    let with = Repo::init(git.root(), "with.git");
    with.commit("main")
        .file(".gitmodules", modules)
        .submodule("s", &commit)
        .create();
    let recurse = "recurseSubmodules: true".to_owned();
    cases.with("submodule", git.url("with.git"), password(), recurse, GIT);

    // Proxies, whose addresses and passwords are in Secrets of their own.
    let proxy = Proxy::http(Some(("user", &format!("{MARK}proxy"))));
    let reference = |name: &str| format!("proxySecretRef: {{name: {name}}}");
    for (name, address, reason) in [
        ("proxy-right", proxy.url(), GIT),
        ("proxy-refused", "http://127.0.0.1:1".to_owned(), GIT),
        ("proxy-echo", format!("http://{host}"), GIT),
        (
            "proxy-inside",
            format!("http://user:{MARK}x@127.0.0.1:1"),
            GIT,
        ),
        ("proxy-broken", format!("http://user:{MARK}x@[::1"), AUTH),
        (
            "proxy-scheme",
            format!("ftp://user:{MARK}x@127.0.0.1:1"),
            AUTH,
        ),
        ("proxy-name", MARK.to_owned(), AUTH),
        ("proxy-password", format!("{MARK}:{MARK}@127.0.0.1:1"), AUTH),
    ] {
        let data =
            json!({"address": address, "username": "user", "password": format!("{MARK}proxy")});
        let url = format!("http://flux:{MARK}a@{host}/401/app.git");
        cases.with(name, url, data, reference(name), reason);
    }

    cases.run(&flux).await?;
    nothing_is_shown(&flux, &[]).await
}

// SC-AUTH-010, SC-VER-012, RT-SEC-003
#[tokio::test]
async fn keys_and_certificates_are_never_shown() -> Result {
    let flux = Flux::start_with("secrets-keys", talkative(), talkative()).await?;
    let echo = Echo::start().await?;
    let host = echo.host();
    let mut cases = Cases::default();
    let mut others = Vec::new();

    let authority = Authority::new();
    let client = authority.issue(&["client"]);
    others.push(client.key.clone());
    let server = HttpGitServer::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .start();
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main")
        .file("a.yaml", config_map("a", "1"))
        .create();
    let pair =
        json!({"ca.crt": authority.pem(), "tls.crt": client.certificate, "tls.key": client.key});
    cases.add("tls-right", server.url("app.git"), pair.clone(), None);
    let change = |key: &str, value: String| {
        let mut data = pair.clone();
        data[key] = json!(value);
        data
    };
    for (name, data) in [
        ("tls-ca", change("ca.crt", armoured("CERTIFICATE"))),
        (
            "tls-ca-text",
            change("ca.crt", format!("{MARK} is no certificate")),
        ),
        ("tls-crt", change("tls.crt", armoured("CERTIFICATE"))),
        ("tls-key", change("tls.key", armoured("PRIVATE KEY"))),
        ("tls-rsa", change("tls.key", armoured("RSA PRIVATE KEY"))),
        ("tls-text", change("tls.key", format!("{MARK} is no key"))),
        (
            "tls-other",
            change("tls.key", Authority::new().issue(&["x"]).key),
        ),
        (
            "tls-legacy",
            json!({"caFile": armoured("CERTIFICATE"), "certFile": armoured("CERTIFICATE"), "keyFile": armoured("PRIVATE KEY")}),
        ),
    ] {
        others.push(data["tls.key"].as_str().unwrap_or_default().to_owned());
        cases.add(name, server.url("app.git"), data, GIT);
    }

    let _ssh = if sshd_available() {
        let phrase = format!("{MARK}phrase");
        let (plain, locked) = (
            SshKey::ed25519(),
            SshKey::generate(&["-t", "ed25519"], &phrase),
        );
        others.extend([plain.private(), locked.private()]);
        let server = SshGitServer::builder()
            .authorize(&plain.public())
            .authorize(&locked.public())
            .start();
        let repo = Repo::init(server.root(), "app.git");
        repo.commit("main")
            .file("a.yaml", config_map("a", "1"))
            .create();
        let url = server.url("app.git");
        let hosts = server.known_hosts();
        let with = |identity: String, known: String, password: Option<String>| {
            let mut data = json!({"identity": identity, "known_hosts": known});
            if let Some(password) = password {
                data["password"] = json!(password);
            }
            data
        };
        let noted = format!("{MARK}.example.com ssh-ed25519 {MARK}\n");
        let stranger = format!("[{MARK}.example.com]:22 {}", plain.public());
        for (name, data, reason) in [
            (
                "ssh-right",
                with(plain.private(), hosts.clone(), None),
                None,
            ),
            (
                "ssh-locked",
                with(locked.private(), hosts.clone(), Some(phrase)),
                None,
            ),
            (
                "ssh-phrase",
                with(locked.private(), hosts.clone(), Some(format!("{MARK}no"))),
                GIT,
            ),
            (
                "ssh-no-phrase",
                with(locked.private(), hosts.clone(), None),
                AUTH,
            ),
            (
                "ssh-stranger",
                with(SshKey::ed25519().private(), hosts.clone(), None),
                GIT,
            ),
            (
                "ssh-armour",
                with(armoured("OPENSSH PRIVATE KEY"), hosts.clone(), None),
                GIT,
            ),
            (
                "ssh-pem",
                with(armoured("RSA PRIVATE KEY"), hosts.clone(), None),
                GIT,
            ),
            (
                "ssh-text",
                with(format!("{MARK} is no key"), hosts.clone(), None),
                GIT,
            ),
            ("ssh-hosts", with(plain.private(), noted, None), GIT),
            ("ssh-host", with(plain.private(), stranger, None), GIT),
            (
                "ssh-host-text",
                with(plain.private(), MARK.to_owned(), None),
                GIT,
            ),
        ] {
            others.push(data["identity"].as_str().unwrap_or_default().to_owned());
            cases.add(name, &url, data, reason);
        }
        Some(server)
    } else {
        println!("skipped: no sshd");
        None
    };

    let app = GitHubApp::new(42, 7);
    let key = app.private_key();
    others.push(key.clone());
    let github = || "provider: github".to_owned();
    let app = |key: &str, installation: &str, base: &str| json!({"githubAppID": "42", "githubAppInstallationID": installation, "githubAppPrivateKey": key, "githubAppBaseURL": base});
    let url = format!("http://{host}/401/app.git");
    for (name, data) in [
        (
            "app-key",
            app(
                &armoured("RSA PRIVATE KEY"),
                "7",
                &format!("http://{host}/401"),
            ),
        ),
        (
            "app-text",
            app(
                &format!("{MARK} is no key"),
                "7",
                &format!("http://{host}/401"),
            ),
        ),
        (
            "app-installation",
            app(&key, &format!("{MARK}7"), &format!("http://{host}/401")),
        ),
        (
            "app-base",
            app(&key, "7", &format!("http://u:{MARK}@[::1/")),
        ),
        (
            "app-refused",
            app(&key, "7", &format!("http://u:{MARK}@127.0.0.1:1/?t={MARK}")),
        ),
        ("app-401", app(&key, "7", &format!("http://{host}/401"))),
        ("app-404", app(&key, "7", &format!("http://{host}/404"))),
        ("app-500", app(&key, "7", &format!("http://{host}/500"))),
        ("app-html", app(&key, "7", &format!("http://{host}/html"))),
        ("app-moved", app(&key, "7", &format!("http://{host}/moved"))),
    ] {
        cases.with(name, &url, data, github(), AUTH);
    }
    // Here the App gets its token, and Git's server repeats it.
    let data = app(&key, "7", &format!("http://{host}/"));
    cases.with("app-token", &url, data, github(), GIT);

    // Keys of signers are public, but other content put into the Secret by mistake may not be.
    let signed = Repo::init(flux.git.root(), "signed.git");
    let commit = signed.commit("main").file("a.yaml", config_map("a", "1"));
    let signer = if gpg_available() {
        Some(PgpKey::generate("ed25519", "0"))
    } else {
        println!("skipped: no gpg");
        None
    };
    match &signer {
        Some(key) => commit.signed_pgp(key).create(),
        None => commit.create(),
    };
    for (name, key) in [
        ("pgp-armour", armoured("PGP PUBLIC KEY BLOCK")),
        (
            "pgp-private",
            signer.as_ref().map(PgpKey::private).unwrap_or_default(),
        ),
        ("pgp-text", format!("{MARK} is no key")),
    ] {
        let verify = format!("verify: {{mode: HEAD, secretRef: {{name: {name}}}}}");
        others.push(if name == "pgp-private" {
            key.clone()
        } else {
            String::new()
        });
        let data = json!({"signer.asc": key});
        let url = flux.git.url("signed.git");
        // As with upstream, a private key verifies as its public half does.
        let verifies = name == "pgp-private" && signer.is_some();
        let reason = (!verifies).then_some("InvalidCommitSignature");
        cases.with(name, url, data, verify, reason);
    }

    cases.run(&flux).await?;
    nothing_is_shown(&flux, &others).await
}
