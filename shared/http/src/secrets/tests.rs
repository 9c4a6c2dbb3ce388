//! Tests of the well-known Secret formats.

use rstest::rstest;

use super::*;

fn secret<'a>(entries: &[(&'a str, &'a str)]) -> SecretData<'a> {
    SecretData::new(
        "apps",
        "creds",
        entries.iter().map(|(key, value)| (*key, value.as_bytes())),
    )
}

fn text<T>(found: Result<T, SecretError>) -> String {
    found
        .err()
        .map_or_else(|| "no error".into(), |error| error.to_string())
}

// RT-SEC-006, SC-AUTH-040
#[rstest]
#[case(&[("username", "u"), ("password", "p")], "no error")]
#[case(&[("username", ""), ("password", "")], "no error")]
#[case(&[("username", "u")], "secret 'apps/creds': malformed basic auth - has 'username' but missing 'password'")]
#[case(&[("password", "p")], "secret 'apps/creds': malformed basic auth - has 'password' but missing 'username'")]
#[case(&[("token", "p")], "secret 'apps/creds': key 'username' not found")] // RT-SEC-014
fn basic_auth_is_read_from_the_secret(#[case] entries: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(text(secret(entries).basic()), expected);
}

// RT-SEC-012, SC-AUTH-005
#[rstest]
#[case(&[], "secret 'apps/creds': key 'address' not found")]
#[case(&[("address", "")], "secret 'apps/creds': proxy address is empty")]
#[case(
    &[("address", "ftp://proxy")],
    "secret 'apps/creds': proxy URL must use one of the supported schemes (http, https, socks5), got 'ftp'"
)]
#[case(
    &[("address", "proxy.internal")],
    "secret 'apps/creds': proxy URL must use one of the supported schemes (http, https, socks5), got ''"
)]
#[case(&[("address", "http://")], "secret 'apps/creds': failed to parse proxy address: empty host")]
#[case(&[("address", "socks5:///x")], "secret 'apps/creds': proxy URL has no host")]
#[case(&[("address", "http://proxy:3128"), ("password", "p")], "no error")]
#[case(&[("address", "socks5://proxy")], "no error")]
#[case(&[("address", "https://proxy")], "no error")]
fn proxies(#[case] entries: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(text(secret(entries).proxy()), expected);
}

#[test]
fn a_proxy_address_is_at_most_2048_characters_long() {
    // RT-SEC-012
    let fits = format!("http://{}", "a".repeat(MAX - 7));
    let long = format!("{fits}a");
    assert!(secret(&[("address", &fits)]).proxy().is_ok());
    assert_eq!(
        text(secret(&[("address", &long)]).proxy()),
        "secret 'apps/creds': proxy URL exceeds maximum length of 2048 characters"
    );
}
const MAX: usize = crate::MAX_PROXY_ADDRESS;

#[test]
fn proxy_credentials_need_a_user_name() {
    // RT-SEC-012: a password is only used together with a user name
    let full = secret(&[
        ("address", "http://p"),
        ("username", "u"),
        ("password", "s3cret"),
    ])
    .proxy()
    .unwrap();
    assert_eq!(
        (full.username(), full.password().map(Secret::expose)),
        (Some("u"), Some(b"s3cret".as_slice()))
    );
    let user = secret(&[("address", "http://p"), ("username", "u")])
        .proxy()
        .unwrap();
    assert_eq!((user.username(), user.password()), (Some("u"), None));
    let none = secret(&[("address", "http://p"), ("password", "s3cret")])
        .proxy()
        .unwrap();
    assert_eq!((none.username(), none.password()), (None, None));
}

#[rstest]
// RT-SEC-001, SC-AUTH-003
#[case(&[], "secret 'apps/creds' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'")]
#[case(&[("ca.crt", "")], "secret 'apps/creds' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'")]
// RT-SEC-002, SC-AUTH-002, SC-AUTH-003
#[case(&[("tls.crt", "x")], "secret 'apps/creds' contains 'tls.crt' but missing 'tls.key'")]
#[case(&[("certFile", "x")], "secret 'apps/creds' contains 'tls.crt' but missing 'tls.key'")]
#[case(&[("tls.key", "x"), ("ca.crt", "x")], "secret 'apps/creds' contains 'tls.key' but missing 'tls.crt'")]
#[case(&[("ca.crt", "nonsense")], "failed to parse CA certificate")] // RT-SEC-004
#[case(&[("caFile", "nonsense")], "failed to parse CA certificate")] // RT-SEC-003
fn tls_is_read_from_the_secret(#[case] entries: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(
        text(secret(entries).tls(RootCertificates::AddToSystem)),
        expected
    );
}

#[test]
fn invalid_certificates_and_mismatched_key_pairs_are_refused() {
    let authority = git_servers::Authority::new();
    let (one, two) = (authority.issue(&["one"]), authority.issue(&["two"]));
    let ca = authority.pem();
    let good = secret(&[
        ("ca.crt", &ca),
        ("tls.crt", &one.certificate),
        ("tls.key", &one.key),
    ]);
    good.tls(RootCertificates::ReplaceSystem)
        .unwrap()
        .client_config()
        .unwrap();
    // RT-SEC-004: text around the certificates and other PEM entries are ignored
    let noisy = format!("# our authority\n{ca}\n{}", one.key);
    secret(&[("ca.crt", &noisy)])
        .tls(RootCertificates::AddToSystem)
        .unwrap();
    for (certificate, key) in [
        (&one.certificate, &two.key),
        (&one.key, &one.key),
        (&one.certificate, &ca),
    ] {
        let error = text(
            secret(&[("tls.crt", certificate), ("tls.key", key)])
                .tls(RootCertificates::AddToSystem),
        );
        assert!(
            error.starts_with("failed to parse TLS certificate and key: "),
            "{error}"
        );
        assert!(!error.contains("BEGIN"));
    }
}

#[test]
fn legacy_keys_are_reported_and_new_keys_win() {
    // RT-SEC-003
    let authority = git_servers::Authority::new();
    let ca = authority.pem();
    let mixed = secret(&[("ca.crt", &ca), ("caFile", "nonsense")]);
    assert!(mixed.tls(RootCertificates::AddToSystem).is_ok());
    assert_eq!(mixed.legacy_tls_keys(), []);
    let old = secret(&[("caFile", &ca)]);
    assert!(old.tls(RootCertificates::AddToSystem).is_ok());
    assert_eq!(
        old.legacy_tls_keys(),
        [LegacyKey {
            key: "caFile",
            preferred: "ca.crt"
        }]
    );
}

// RT-SEC-009
#[rstest]
#[case(&[("identity", "i"), ("known_hosts", "k")], "no error")]
#[case(&[("identity", "i")], "secret 'apps/creds': key 'known_hosts' not found")]
#[case(&[("known_hosts", "k")], "secret 'apps/creds': key 'identity' not found")]
fn ssh_is_read_from_the_secret(#[case] entries: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(text(secret(entries).ssh()), expected);
}

// SC-AUTH-019, RT-WID-020
#[rstest]
#[case(&[], "secret 'apps/creds': key 'githubAppID' not found")]
#[case(&[("githubAppPrivateKey", "k")], "secret 'apps/creds': key 'githubAppID' not found")]
#[case(&[("githubAppID", "1")], "secret 'apps/creds': key 'githubAppPrivateKey' not found")]
#[case(
    &[("githubAppID", "1"), ("githubAppPrivateKey", "k")],
    "secret 'apps/creds' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"
)]
#[case(
    &[
        ("githubAppID", "1"), ("githubAppPrivateKey", "k"),
        ("githubAppInstallationOwner", "o"), ("githubAppInstallationID", "2"),
    ],
    "secret 'apps/creds' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"
)]
#[case(
    &[("githubAppID", "1"), ("githubAppPrivateKey", "k"), ("githubAppInstallationID", "2")],
    "no error"
)]
// RT-SEC-017
#[case(
    &[("githubAppClientID", "Iv1.a"), ("githubAppPrivateKey", "k"), ("githubAppInstallationID", "2")],
    "no error"
)]
#[case(
    &[("githubAppClientID", "Iv1.a"), ("githubAppID", "1"), ("githubAppPrivateKey", "k"), ("githubAppInstallationID", "2")],
    "secret 'apps/creds' must contain exactly one of 'githubAppID' or 'githubAppClientID'"
)]
#[case(&[("githubAppClientID", "Iv1.a")], "secret 'apps/creds': key 'githubAppPrivateKey' not found")]
fn github_app(#[case] entries: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(text(secret(entries).github_app()), expected);
}

#[test]
fn conflicting_authentication_methods_are_refused() {
    // RT-SEC-007, RT-SEC-008, SC-AUTH-016
    let half_tls = secret(&[
        ("username", "u"),
        ("password", "p"),
        ("bearerToken", "b"),
        ("token", "t"),
        ("tls.crt", "x"),
        ("unrelated", "y"),
    ]);
    let methods = half_tls
        .auth_methods(RootCertificates::AddToSystem)
        .unwrap();
    assert_eq!(methods.basic.unwrap().username, "u");
    assert_eq!(methods.bearer.unwrap().expose(), b"b");
    assert_eq!(methods.token.unwrap().expose(), b"t");
    assert!(methods.tls.is_none() && methods.ssh.is_none() && methods.github_app.is_none());
    let half_basic = secret(&[("username", "u"), ("token", "t")]);
    assert_eq!(
        text(half_basic.auth_methods(RootCertificates::AddToSystem)),
        "secret 'apps/creds': malformed basic auth - has 'username' but missing 'password'"
    );
    let bad_ca = secret(&[("ca.crt", "x")]);
    assert_eq!(
        text(bad_ca.auth_methods(RootCertificates::AddToSystem)),
        "failed to parse CA certificate"
    );
}

#[test]
fn debug_output_shows_no_secret() {
    let entries = [
        ("username", "S3CRET"),
        ("password", "S3CRET"),
        ("bearerToken", "S3CRET"),
        ("token", "S3CRET"),
        ("identity", "S3CRET"),
        ("identity.pub", "S3CRET"),
        ("known_hosts", "S3CRET"),
        ("githubAppID", "1"),
        ("githubAppPrivateKey", "S3CRET"),
        ("githubAppInstallationID", "2"),
        ("address", "http://proxy"),
    ];
    let secret = secret(&entries);
    let methods = secret.auth_methods(RootCertificates::AddToSystem).unwrap();
    let pair = ClientPair {
        certificate: b"S3CRET".to_vec(),
        key: Secret::from("S3CRET"),
    };
    let options = crate::ClientOptions {
        proxy: secret.proxy().unwrap().into(),
        tls: TlsSettings {
            client_pair: Some(pair),
            authorities: Some(b"S3CRET".to_vec()),
            ..TlsSettings::default()
        },
        ..crate::ClientOptions::default()
    };
    let shown = format!("{secret:?} {methods:?} {:?} {options:?}", secret.proxy());
    assert!(!shown.contains("S3CRET"), "{shown}");
    assert!(!shown.contains("83, 51, 67"), "bytes as numbers: {shown}");
    assert!(shown.contains("***"));
}

/// Marked texts that not every parser of keys, certificates or addresses accepts.
fn marked() -> Vec<String> {
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let mut texts = vec![
        "S3CRET".to_owned(),
        "S3CRET\n".repeat(50),
        "-----BEGIN S3CRET-----".to_owned(),
    ];
    for label in [
        "CERTIFICATE",
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "S3CRET",
    ] {
        for body in [
            "S3CRET",
            "UzNDUkVU",
            "!S3CRET!",
            "MAMCAQBTM0NSRVQ=",
            "Proc-Type: S3CRET\n\nUzNDUkVU",
        ] {
            texts.push(pem(label, body));
            texts.push(pem(label, body).replace("END", "END S3CRET"));
        }
    }
    for address in [
        "S3CRET:S3CRET@proxy:3128",
        "http://S3CRET:S3CRET@",
        "http://u:S3CRET@h:S3CRET",
        "ftp://u:S3CRET@h",
        "http://[S3CRET]/",
        "http://S3CRET@[::1",
        "//S3CRET@h",
        "http://u:S3CRET@h:99999",
    ] {
        texts.push(address.to_owned());
    }
    texts
}

// RT-SEC-004, RT-SEC-012
#[test]
fn errors_do_not_quote_secrets() {
    let authority = git_servers::Authority::new();
    let pair = authority.issue(&["one"]);
    let mut shown = Vec::new();
    for text in marked() {
        let (ca, certificate, key) = (
            [("ca.crt", text.as_str())],
            [("tls.crt", text.as_str()), ("tls.key", &pair.key)],
            [("tls.crt", pair.certificate.as_str()), ("tls.key", &text)],
        );
        for entries in [&ca[..], &certificate, &key] {
            let secret = secret(entries);
            let settings = secret.tls(RootCertificates::AddToSystem);
            shown.push(format!("{secret:?} {settings:?}"));
            if let Err(error) = settings {
                shown.push(error.to_string());
            }
        }
        let address = [("address", text.as_str()), ("password", "S3CRET")];
        let proxy = secret(&address).proxy();
        if let Err(error) = &proxy {
            shown.push(error.to_string());
        }
        shown.push(format!("{:?}", proxy.as_ref().err()));
    }
    assert!(shown.len() > 300);
    for text in shown {
        let lower = text.to_lowercase();
        let hidden =
            !lower.contains("s3cret") && !text.contains("UzNDUkVU") && !text.contains("83, 51");
        assert!(hidden, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn readers_never_panic(
        values in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..80), 12),
        address in "[a-z0-9]{0,6}:?/{0,2}[ -~]{0,30}",
    ) {
        let names = [
            "username", "password", "bearerToken", "token", "identity", "known_hosts", "tls.crt", "tls.key", "ca.crt",
            "githubAppID", "githubAppPrivateKey", "githubAppInstallationID",
        ];
        let entries = names.into_iter().zip(values.iter().map(Vec::as_slice)).chain([("address", address.as_bytes())]);
        let secret = SecretData::new("n", "s", entries);
        let _ = secret.auth_methods(RootCertificates::AddToSystem);
        if let Ok(proxy) = secret.proxy() {
            let _ = (proxy.for_reqwest(), proxy.host_and_port());
        }
    }
}
