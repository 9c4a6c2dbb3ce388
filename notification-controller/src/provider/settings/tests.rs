//! Providers and Secrets that become settings.

use flux_http::GitHubAppId;
use serde_json::{Value, json};

use super::*;

/// A Provider of this type with these fields of its spec.
pub(crate) fn provider(kind: &str, spec: &Value) -> Provider {
    let mut object = json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1",
        "kind": "Provider",
        "metadata": {"name": "p", "namespace": "ns", "uid": "0c9c2e41-d2f9-4f9b"},
        "spec": {"type": kind},
    });
    for (name, value) in spec.as_object().into_iter().flatten() {
        object["spec"][name] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// A Secret with these entries.
#[expect(clippy::unnecessary_wraps, reason = "it is a field of `Secrets`")]
pub(crate) fn secret(entries: &[(&str, &[u8])]) -> Option<(String, Arc<v1::Secret>)> {
    let data = entries.iter().map(|(key, value)| {
        let value = k8s_openapi::ByteString(value.to_vec());
        ((*key).to_owned(), value)
    });
    let secret = v1::Secret {
        data: Some(data.collect()),
        ..v1::Secret::default()
    };
    Some(("s".to_owned(), Arc::new(secret)))
}

/// A Secret of the Provider's own, and one with this certificate authority.
pub(crate) fn with_certificates(entries: &[(&str, &[u8])], authority: &[u8]) -> Secrets {
    Secrets {
        own: secret(entries),
        certificates: secret(&[("ca.crt", authority)]),
        ..Secrets::default()
    }
}

/// The settings of a Provider with a Secret of its own.
pub(crate) fn settings(kind: &str, spec: &Value, entries: &[(&str, &[u8])]) -> Settings {
    let settings = read(kind, spec, entries).unwrap();
    settings.with_status("kustomization/web/0c9c2e41".to_owned(), false)
}

fn read(kind: &str, spec: &Value, entries: &[(&str, &[u8])]) -> Result<Settings, ConfigError> {
    let secrets = Secrets {
        own: secret(entries),
        ..Secrets::default()
    };
    Settings::new(&provider(kind, spec), &secrets)
}

fn refusal(kind: &str, spec: &Value, secrets: &Secrets) -> String {
    match Settings::new(&provider(kind, spec), secrets) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => flux_errors::chain(&error),
    }
}

#[test]
fn the_secret_overrides_the_spec() {
    let spec = json!({"address": "https://spec", "username": "spec", "channel": "c"});
    // NC-PROV-021
    let settings = settings("slack", &spec, &[("address", b" https://secret\n")]);
    assert_eq!(settings.address, "https://secret");
    assert_eq!((&*settings.username, &*settings.channel), ("spec", "c"));
    let empty = self::settings("slack", &spec, &[("address", b"")]);
    assert_eq!(empty.address, "");
    let (long, longest) = (vec![b'a'; 2049], vec![b'a'; 2048]);
    assert!(read("slack", &spec, &[("address", &longest)]).is_ok());
    let secrets = Secrets {
        own: secret(&[("address", &long)]),
        ..Secrets::default()
    };
    assert_eq!(
        refusal("slack", &spec, &secrets),
        "invalid address in secret: address exceeds maximum length of 2048 bytes"
    );
    // NC-PROV-024
    let basic = self::settings("slack", &spec, &[("username", b"u"), ("password", b"p")]);
    assert_eq!(
        (&*basic.username, basic.password.expose()),
        ("u", &b"p"[..])
    );
    // NC-PROV-022: raw for signatures, FR-N-044: without line breaks for headers
    let token = self::settings("slack", &spec, &[("token", b"abc\r\n")]);
    assert_eq!(token.token.expose(), b"abc\r\n");
    assert_eq!(token.header_token(), "abc");
    // NC-PROV-029
    let keys = [("creds", &b"c"[..]), ("nkey", b"n")];
    let nats = self::settings("nats", &spec, &keys);
    assert_eq!(nats.nats_creds().as_deref(), Some("c"));
    assert_eq!(nats.nats_seed().as_deref(), Some("n"));
    let app: [(&str, &[u8]); 3] = [
        ("githubAppClientID", b"Iv1"),
        ("githubAppInstallationOwner", b"org"),
        ("githubAppPrivateKey", b"pem"),
    ];
    let app = self::settings("github", &spec, &app);
    let app = app.wanted_app().unwrap();
    assert_eq!(app.app, GitHubAppId::Client("Iv1".to_owned()));
    assert_eq!(app.installation_owner.as_deref(), Some("org"));
    // NC-PROV-006
    assert_eq!(token.timeout(), Duration::from_secs(15));
    let patient = self::settings("slack", &json!({"timeout": "40s"}), &[]);
    assert_eq!(patient.timeout(), Duration::from_secs(40));
}

#[test]
fn half_credentials_are_no_credentials() {
    let none = json!({});
    // NC-PROV-025
    let half = settings("slack", &none, &[("token", b"t"), ("password", b"p")]);
    assert!(half.token.is_empty() && half.password.is_empty());
    let secrets = Secrets {
        own: secret(&[("password", b"p")]),
        ..Secrets::default()
    };
    assert_eq!(
        refusal("bitbucketserver", &none, &secrets),
        "failed to get TLS config: secret 'ns/s': malformed basic auth - has 'password' but missing 'username'"
    );
    // NC-PROV-026: neither does half of a GitHub App's data, nor an invalid certificate
    let secrets = Secrets {
        own: secret(&[("token", b"t"), ("githubAppID", b"1")]),
        ..Secrets::default()
    };
    assert_eq!(
        refusal("github", &none, &secrets),
        "secret 'ns/s': key 'githubAppPrivateKey' not found"
    );
    let odd = settings(
        "slack",
        &none,
        &[("token", b"t"), ("ca.crt", b"no certificate")],
    );
    assert!(odd.token.is_empty());
    // NC-PROV-030
    let password = settings("github", &none, &[("username", b"u"), ("password", b"p")]);
    assert_eq!(password.token_or_password(), "p");
}

#[test]
fn headers_are_a_map_of_texts() {
    let read_all = |text: &str| super::read_headers(text.as_bytes());
    // NC-PROV-027
    let read = read_all("A: b\nNumber: 12\nX: \"yes\"\n").unwrap();
    let pairs: Vec<_> = read.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(pairs, [("A", "b"), ("Number", "12"), ("X", "yes")]);
    assert!(read_all("").unwrap().is_empty());
    for bad in ["- a", "A: [b]", "A: {b: c}", "a: b: c", "text"] {
        let error = read_all(bad).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to read headers from secret: "),
            "{error}"
        );
    }
}

#[test]
fn proxies_come_from_the_spec_the_secret_or_a_secret_of_their_own() {
    let host = |settings: &Settings| match settings.client_options().proxy {
        Proxy::Url(url) => url.host_and_port().0,
        Proxy::None => "(none)".to_owned(),
        Proxy::Environment => "(environment)".to_owned(),
    };
    let spec = json!({"proxy": "http://spec:1"});
    // NC-PROV-035, NC-COMPAT-020
    assert_eq!(host(&settings("slack", &spec, &[])), "spec");
    let own = [("proxy", &b"http://secret:1\n"[..])];
    assert_eq!(host(&settings("slack", &spec, &own)), "secret");
    let secrets = Secrets {
        own: secret(&own),
        proxy: secret(&[("address", b"socks5://proxy:1080"), ("username", b"u")]),
        certificates: None,
    };
    // NC-PROV-036, FR-N-007
    let with_proxy = Settings::new(&provider("slack", &spec), &secrets).unwrap();
    assert_eq!(host(&with_proxy), "proxy");
    // NC-PROC-024, NC-HTTP-009
    assert_eq!(host(&settings("slack", &json!({}), &[])), "(environment)");
    // NC-GITEA-006, NC-SENTRY-005
    assert_eq!(host(&settings("gitea", &json!({}), &[])), "(none)");
    assert_eq!(host(&settings("sentry", &json!({}), &[])), "(none)");
    // NC-PROV-039, FR-N-005
    for kind in [
        "github",
        "gitlab",
        "bitbucket",
        "azuredevops",
        "lark",
        "matrix",
        "sentry",
    ] {
        assert_eq!(host(&settings(kind, &spec, &[])), "spec", "{kind}");
    }
    // NC-PROV-038: for all hosts, whatever the environment leaves out
    let proxied = Settings::new(&provider("slack", &spec), &Secrets::default()).unwrap();
    assert!(matches!(proxied.client_options().proxy, Proxy::Url(_)));
    // NC-PROV-028
    let secrets = Secrets {
        own: secret(&[("proxy", b"://no")]),
        ..Secrets::default()
    };
    assert_eq!(
        refusal("slack", &spec, &secrets),
        "invalid 'proxy' in secret 'ns/s'"
    );
    let secrets = Secrets {
        proxy: secret(&[("address", b"")]),
        ..Secrets::default()
    };
    assert_eq!(
        refusal("slack", &json!({}), &secrets),
        "failed to get proxy URL: secret 'ns/s': proxy address is empty"
    );
}

#[test]
fn certificates_come_from_their_secret_or_in_git_types_from_the_own() {
    let key = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap();
    let ca = key.cert.pem().into_bytes();
    let own = [("ca.crt", &*ca)];
    let tls = |kind: &str, spec: &Value, secrets: &Secrets| {
        let settings = Settings::new(&provider(kind, spec), secrets).unwrap();
        settings.client_options().tls
    };
    let in_own = Secrets {
        own: secret(&own),
        ..Secrets::default()
    };
    let in_cert = || Secrets {
        certificates: secret(&own),
        ..Secrets::default()
    };
    let enterprise = json!({"address": "https://ghe.example.com/o/r"});
    // NC-PROV-046, NC-PROV-049
    for kind in [
        "github",
        "gitlab",
        "gitea",
        "bitbucketserver",
        "azuredevops",
    ] {
        let tls = tls(kind, &enterprise, &in_own);
        assert!(tls.authorities.is_some(), "{kind}");
        assert_eq!(tls.roots, RootCertificates::ReplaceSystem);
    }
    for kind in [
        "slack",
        "generic",
        "githubdispatch",
        "githubpullrequestcomment",
    ] {
        assert!(
            tls(kind, &enterprise, &in_own).authorities.is_none(),
            "{kind}"
        );
        assert!(
            tls(kind, &enterprise, &in_cert()).authorities.is_some(),
            "{kind}"
        );
    }
    // NC-PROV-050, NC-PROV-048: the Secret for certificates counts, and no name is pinned
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let both = Secrets {
        own: secret(&[("ca.crt", other.cert.pem().as_bytes())]),
        certificates: secret(&own),
        ..Secrets::default()
    };
    let used = tls("gitea", &enterprise, &both);
    assert_eq!(used.authorities.as_deref(), Some(&*ca));
    // NC-PROV-045
    let legacy = Secrets {
        certificates: secret(&[("caFile", &*ca)]),
        ..Secrets::default()
    };
    assert!(tls("slack", &json!({}), &legacy).authorities.is_some());
    // NC-PROV-051
    for kind in ["discord", "googlechat", "telegram", "lark"] {
        assert!(
            tls(kind, &json!({}), &in_cert()).authorities.is_none(),
            "{kind}"
        );
    }
    let public = json!({"address": "https://github.com/o/r"});
    assert!(tls("github", &public, &in_cert()).authorities.is_none());
    // NC-PROV-047
    let empty = Secrets {
        certificates: secret(&[("other", b"x")]),
        ..Secrets::default()
    };
    assert_eq!(
        refusal("slack", &json!({}), &empty),
        "failed to get TLS config: secret 'ns/s' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"
    );
    let half = Secrets {
        certificates: secret(&[("tls.crt", &*ca)]),
        ..Secrets::default()
    };
    assert!(refusal("slack", &json!({}), &half).starts_with("failed to get TLS config: "));
}

#[test]
fn what_is_secret_is_masked() {
    let own = [
        (
            "address",
            &b"https://hooks.example.com/services/T0/B0?key=k3y"[..],
        ),
        ("token", b" tok3n\n"),
        ("username", b"u"),
        ("password", b"passw0rd"),
        (
            "headers",
            b"Authorization: Basic s3cret\nContent-Type: text/plain\n",
        ),
    ];
    let mask = settings("generic", &json!({}), &own).mask();
    // NC-EVT-054, NC-EVT-055
    let text = "tok3n passw0rd https://hooks.example.com/services/T0/B0?key=k3y key=k3y Basic s3cret text/plain";
    assert_eq!(mask.apply(text), "***** ***** ***** ***** ***** text/plain");
    // An address in the spec is no secret.
    let open = settings("generic", &json!({"address": "https://h/path"}), &[]).mask();
    assert_eq!(open.apply("https://h/path"), "https://h/path");
}

#[test]
fn objects_of_older_versions_lack_what_is_a_default_now() {
    // FR-N-037
    let old = provider("slack", &json!({}));
    assert!(old.spec.interval.is_none());
    let at = json!({"address": "https://h"});
    assert!(Settings::new(&provider("slack", &at), &Secrets::default()).is_ok());
    let receiver = json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1",
        "kind": "Receiver",
        "metadata": {"name": "r", "namespace": "ns"},
        "spec": {"type": "generic", "resources": [], "secretRef": {"name": "s"}},
    });
    let receiver: flux_api::notification::Receiver = serde_json::from_value(receiver).unwrap();
    assert!(receiver.spec.interval.is_none());
}
