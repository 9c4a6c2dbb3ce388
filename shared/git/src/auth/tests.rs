//! Tests of credentials: which Secrets are accepted, and which credentials may be sent.

use flux_http::SecretData;
use git_servers::SshKey;
use rstest::rstest;

use super::*;

fn options(url: &str, entries: Option<&[(&str, &str)]>) -> Result<AuthOptions, AuthError> {
    let url = GitUrl::parse(url).unwrap();
    let data = entries.map(|entries| {
        SecretData::new(
            "apps",
            "creds",
            entries.iter().map(|(key, value)| (*key, value.as_bytes())),
        )
    });
    AuthOptions::new(&url, data.as_ref())
}

/// User, password, token.
type Http = (&'static str, &'static str, &'static str);

#[rstest]
#[case("https://h/x", None, Ok(("", "", "")))]
#[case("https://u:p@h/x", None, Ok(("u", "p", "")))] // SC-AUTH-011
#[case("https://u@h/x", Some(&[("password", "sp")][..]), Ok(("u", "sp", "")))]
#[case("https://u:p@h/x", Some(&[("username", "su"), ("password", "sp")][..]), Ok(("su", "sp", "")))]
#[case("https://u:p@h/x", Some(&[("username", "su")][..]), Ok(("su", "p", "")))]
#[case("https://h/x", Some(&[("username", "su")][..]), Ok(("su", "", "")))]
// SC-AUTH-010, RT-SEC-011
#[case("https://h/x", Some(&[("bearerToken", "t"), ("username", "su"), ("password", "sp")][..]), Ok(("", "", "t")))]
#[case("https://u:p@h/x", Some(&[("bearerToken", "t")][..]), Ok(("u", "p", "t")))]
// SC-AUTH-012, RT-SEC-011
#[case("https://h/x", Some(&[("password", "sp")][..]), Err("invalid 'https' auth option: 'password' requires 'username' to be set"))]
#[case("http://h/x", Some(&[("password", "sp")][..]), Err("invalid 'http' auth option: 'password' requires 'username' to be set"))]
#[case("https://h/x", Some(&[("unrelated", "x")][..]), Ok(("", "", "")))] // SC-AUTH-016
fn http_credentials_are_read_from_the_secret(
    #[case] url: &str,
    #[case] entries: Option<&[(&str, &str)]>,
    #[case] expected: Result<Http, &str>,
) {
    let found = options(url, entries);
    let found = match &found {
        Ok(found) => Ok((
            found.username.as_str(),
            std::str::from_utf8(found.password.expose()).unwrap(),
            std::str::from_utf8(found.bearer_token.expose()).unwrap(),
        )),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(found, expected.map_err(str::to_owned));
}

#[rstest]
// RT-GIT-010
#[case("http://h/x", &[("username", "u")], false, "basic auth cannot be sent over HTTP")]
#[case("http://h/x", &[("bearerToken", "t")], false, "bearer token cannot be sent over HTTP")]
#[case("http://u@h/x", &[], false, "URL cannot contain credentials when using HTTP")]
// RT-GIT-011, SC-GIT-121
#[case("https://u@h/x", &[("bearerToken", "t")], true, "basic auth and bearer token cannot be set at the same time")]
#[case("http://h/x", &[], false, "fine")]
// SC-GIT-120
#[case("http://u@h/x", &[("password", "p")], true, "fine")]
#[case("http://h/x", &[("bearerToken", "t")], true, "fine")]
#[case("https://h/x", &[("username", "u")], false, "fine")]
fn credentials_are_refused_on_insecure_transports(
    #[case] url: &str,
    #[case] entries: &[(&str, &str)],
    #[case] insecure: bool,
    #[case] expected: &str,
) {
    let checked = options(url, Some(entries))
        .unwrap()
        .check(&GitUrl::parse(url).unwrap(), insecure);
    assert_eq!(
        checked
            .err()
            .map_or_else(|| "fine".into(), |error| error.to_string()),
        expected
    );
}

#[test]
fn credentials_become_an_authorization_header() {
    // RT-GIT-012, SC-GIT-122
    let header = |entries: &[(&str, &str)]| {
        let header = options("https://h/x", Some(entries))
            .unwrap()
            .authorization();
        header.map(|header| header.expose_text().into_owned())
    };
    assert_eq!(header(&[]), None);
    assert_eq!(
        header(&[("username", "u"), ("password", "p")]).as_deref(),
        Some("Basic dTpw")
    );
    assert_eq!(header(&[("username", "u")]).as_deref(), Some("Basic dTo="));
    assert_eq!(header(&[("bearerToken", "t")]).as_deref(), Some("Bearer t"));
}

// RT-SEC-010, RT-GIT-010, SC-AUTH-014
#[rstest]
#[case(None, "invalid 'ssh' auth option: 'identity' is required")]
#[case(Some(&[("known_hosts", "k")][..]), "invalid 'ssh' auth option: 'identity' is required")]
#[case(Some(&[("identity", "i")][..]), "invalid 'ssh' auth option: 'known_hosts' is required")]
#[case(Some(&[("identity", "i"), ("known_hosts", "")][..]), "invalid 'ssh' auth option: 'known_hosts' is required")]
fn ssh_needs_a_key_and_known_hosts(
    #[case] entries: Option<&[(&str, &str)]>,
    #[case] expected: &str,
) {
    assert_eq!(
        options("ssh://h/x", entries).unwrap_err().to_string(),
        expected
    );
}

#[test]
fn the_ssh_user_comes_from_the_url() {
    // SC-GIT-124, SC-AUTH-014
    let entries: &[_] = &[
        ("identity", "i"),
        ("known_hosts", "k"),
        ("username", "ignored"),
        ("password", "p"),
    ];
    let named = options("ssh://me@h/x", Some(entries)).unwrap();
    assert_eq!(
        (named.username.as_str(), named.password.expose()),
        ("me", b"p".as_slice())
    );
    assert_eq!(options("ssh://h/x", Some(entries)).unwrap().username, "git");
    let shown = format!("{named:?}");
    assert!(
        !shown.contains("password: b") && shown.contains("***"),
        "{shown}"
    );
}

#[test]
fn legacy_tls_keys_are_not_read_except_ca_file() {
    // SC-AUTH-013: `certFile` and `keyFile` are not read for Git, `caFile` is
    let with = |entries: &[(&str, &str)]| options("https://h/x", Some(entries)).unwrap().tls;
    assert_eq!(
        with(&[("caFile", "old"), ("ca.crt", "new")])
            .authorities
            .as_deref(),
        Some(b"new".as_slice())
    );
    assert_eq!(
        with(&[("caFile", "old"), ("ca.crt", "")])
            .authorities
            .as_deref(),
        Some(b"old".as_slice())
    );
    assert_eq!(
        with(&[("certFile", "c"), ("keyFile", "k")]).client_pair,
        None
    );
    assert_eq!(
        with(&[("tls.crt", "c"), ("tls.key", "k")])
            .client_pair
            .unwrap()
            .certificate,
        b"c"
    );
    assert_eq!(
        with(&[("bearerToken", "t"), ("ca.crt", "ca")])
            .authorities
            .as_deref(),
        Some(b"ca".as_slice())
    );
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    // SC-AUTH-015, SC-GIT-126
    for arguments in [
        &["-t", "ed25519"][..],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        &["-t", "ecdsa"],
    ] {
        let key = SshKey::generate(arguments, "s3cret");
        let private = key.private();
        let entries = [("identity", private.as_str()), ("known_hosts", "k")];
        assert_eq!(
            options("ssh://h/x", Some(&entries))
                .unwrap_err()
                .to_string(),
            "SSH identity key is encrypted but no 'password' field was provided in the secret 'apps/creds'",
            "{arguments:?}"
        );
        let identity = Secret::from(private.as_str());
        let opened = crate::ssh_key::parse(&identity, Some(&Secret::from("s3cret"))).unwrap();
        assert_eq!(
            opened
                .public_key()
                .fingerprint(russh::keys::HashAlg::Sha256)
                .to_string(),
            key.fingerprint()
        );
        assert_eq!(
            crate::ssh_key::parse(&identity, Some(&Secret::from("wrong"))).unwrap_err(),
            crate::ssh_key::SshKeyError::WrongPassphrase,
            "{arguments:?}"
        );
    }
}

#[rstest]
#[case(&["-t", "ed25519"])]
#[case(&["-t", "rsa", "-b", "2048"])]
#[case(&["-t", "rsa", "-b", "2048", "-m", "PEM"])]
#[case(&["-t", "rsa", "-b", "2048", "-m", "PKCS8"])]
#[case(&["-t", "ecdsa", "-b", "256"])]
#[case(&["-t", "ecdsa", "-b", "384"])]
#[case(&["-t", "ecdsa", "-b", "521"])]
#[case(&["-t", "ecdsa", "-b", "256", "-m", "PEM"])]
fn every_ssh_key_type_is_read(#[case] arguments: &[&str]) {
    // SC-GIT-126
    let key = SshKey::generate(arguments, "");
    let parsed = crate::ssh_key::parse(
        &Secret::from(key.private().as_str()),
        Some(&Secret::from("needless")),
    )
    .unwrap();
    assert_eq!(
        parsed
            .public_key()
            .fingerprint(russh::keys::HashAlg::Sha256)
            .to_string(),
        key.fingerprint()
    );
}

#[test]
fn invalid_keys_are_refused_without_showing_them() {
    for text in [
        "",
        "S3CRET",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nS3CRET\n-----END OPENSSH PRIVATE KEY-----\n",
    ] {
        let error = crate::ssh_key::parse(&Secret::from(text), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("ssh: no usable private key found: ") && !error.contains("S3CRET"),
            "{error}"
        );
    }
}
