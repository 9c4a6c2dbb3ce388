//! How a real registry is reached: authentication, TLS, proxies, redirects, retries.

mod support;

use std::time::Duration;

use flux_http::{Proxy, ProxyUrl, Secret, TlsSettings};
use flux_oci::{Client, Credentials, Keychain, Options, Repository};
use git_servers::Authority;
use registries::{Artifact, Registry, tar_gz};
use rstest::rstest;
use support::{APP, basic, client, client_with, latest, options, repository, text};

fn artifact() -> Artifact {
    Artifact::flux(tar_gz(&[("a.yaml", "kind: A")]))
}

fn with(credentials: Credentials) -> Options {
    Options {
        credentials,
        ..options()
    }
}

// SC-OCI-050, SC-AUTH-030
#[tokio::test]
async fn basic_authentication_succeeds() {
    let registry = Registry::builder().basic_auth("flux", "s3cret").start();
    let digest = registry.push(APP, "latest", &artifact());
    let mut keychain = Keychain::default();
    let config = format!(
        r#"{{"auths": {{"{}": {{"auth": "Zmx1eDpzM2NyZXQ="}}}}}}"#,
        registry.host()
    );
    keychain.add_config(config.as_bytes()).unwrap();
    let credentials = keychain.credentials(&repository(&registry));
    let found = latest(&client_with(&registry, with(credentials))).await;
    assert_eq!(found.unwrap(), digest);

    for credentials in [Credentials::default(), basic("flux", "wrong-one")] {
        let error = latest(&client_with(&registry, with(credentials))).await;
        assert_eq!(
            text(&registry, &error.unwrap_err()),
            "GET http://HOST/v2/org/app/manifests/latest: UNAUTHORIZED: authentication required"
        );
    }
}

// SC-OCI-050
#[tokio::test]
async fn tokens_are_fetched_once_and_renewed() {
    let registry = Registry::builder().token_auth("flux", "s3cret").start();
    let digest = registry.push(APP, "latest", &artifact());
    let client = client_with(&registry, with(basic("flux", "s3cret")));
    for _ in 0..3 {
        assert_eq!(latest(&client).await.unwrap(), digest);
    }
    let tokens = |registry: &Registry| {
        let asked = registry.asked().into_iter();
        asked
            .filter(|line| line.contains("/token"))
            .collect::<Vec<_>>()
    };
    let wanted = "GET /token?scope=repository%3Aorg%2Fapp%3Apull&service=registry";
    assert_eq!(tokens(&registry), [wanted]);

    registry.revoke_tokens();
    assert_eq!(latest(&client).await.unwrap(), digest);
    assert_eq!(tokens(&registry), [wanted, wanted]);
    // The password went to the token service only.
    for request in registry.requests() {
        let sent = request.authorization.unwrap_or_default();
        assert_eq!(
            sent.starts_with("Basic"),
            request.target.starts_with("/token"),
            "{sent}"
        );
    }
}

// SC-OCI-050
#[tokio::test]
async fn anonymous_and_identity_tokens() {
    let registry = Registry::builder().anonymous_tokens().start();
    let digest = registry.push(APP, "latest", &artifact());
    assert_eq!(latest(&client(&registry)).await.unwrap(), digest);

    let identity = |token: &str| Credentials {
        identity_token: Some(Secret::from(token)),
        ..Credentials::default()
    };
    let registry = Registry::builder().identity_token("id-token").start();
    registry.push(APP, "latest", &artifact());
    let found = latest(&client_with(&registry, with(identity("id-token")))).await;
    assert_eq!(found.unwrap(), digest);
    let error = latest(&client_with(&registry, with(identity("other-token")))).await;
    assert_eq!(
        text(&registry, &error.unwrap_err()),
        "POST http://HOST/token: UNAUTHORIZED: incorrect username or password"
    );

    // A service without OAuth 2 is asked with user and password.
    let registry = Registry::builder().token_auth("flux", "s3cret").start();
    registry.push(APP, "latest", &artifact());
    let both = Credentials {
        identity_token: Some(Secret::from("id-token")),
        ..basic("flux", "s3cret")
    };
    assert_eq!(
        latest(&client_with(&registry, with(both))).await.unwrap(),
        digest
    );
}

// SC-AUTH-001, SC-OCI-027: what a server repeats of the credentials is masked
#[rstest]
#[case("/v2/org/app/", "you sent Zmx1eDpzM2NyZXQ= and s3cret")]
#[case(
    "/v2/org/app/",
    r#"{"errors": [{"code": "DENIED", "message": "s3cret", "detail": "s3cret"}]}"#
)]
#[tokio::test]
async fn errors_hold_no_credentials(#[case] prefix: &str, #[case] body: &str) {
    let registry = Registry::builder().answer(9, "", prefix, 403, body).start();
    let error = latest(&client_with(&registry, with(basic("flux", "s3cret")))).await;
    let shown = format!("{0} {0:?}", error.unwrap_err());
    assert!(shown.contains("***"), "{shown}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("Zmx1eDpzM2NyZXQ="),
        "{shown}"
    );
}

// SC-OCI-087
#[rstest]
#[case(
    "http://169.254.169.254/token",
    "invalid realm in www-authenticate: realm host \"169.254.169.254\" is a link-local address"
)]
#[case(
    "ftp://example.com/",
    "invalid realm in www-authenticate: realm scheme \"ftp\" not allowed; must be https (or http for insecure registries)"
)]
#[tokio::test]
async fn token_services_that_are_not_asked(#[case] realm: &str, #[case] expected: &str) {
    let registry = Registry::builder()
        .token_auth("flux", "s3cret")
        .realm(realm)
        .start();
    let error = latest(&client_with(&registry, with(basic("flux", "s3cret")))).await;
    assert_eq!(error.unwrap_err().to_string(), expected);
}

// SC-OCI-087, FR-H-073: the token service of a registry on plain HTTP, encrypted and on a private address
#[tokio::test]
async fn a_token_service_of_another_server_is_asked() {
    let authority = Authority::new();
    let tokens = Registry::builder()
        .tls(&authority)
        .token_auth("flux", "s3cret")
        .start();
    let registry = Registry::builder()
        .accept("token-1", "repository:org/app:pull")
        .realm(&format!("{}/token", tokens.url()))
        .start();
    let digest = registry.push(APP, "latest", &artifact());
    let options = Options {
        tls: TlsSettings {
            authorities: Some(authority.pem().into_bytes()),
            ..TlsSettings::default()
        },
        ..with(basic("flux", "s3cret"))
    };
    assert_eq!(
        latest(&client_with(&registry, options)).await.unwrap(),
        digest
    );
    assert_eq!(
        tokens.asked(),
        ["GET /token?scope=repository%3Aorg%2Fapp%3Apull&service=registry"]
    );
}

// SC-AUTH-004, SC-AUTH-035
#[tokio::test]
async fn own_authorities_and_client_certificates() {
    let authority = Authority::new();
    let registry = Registry::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .token_auth("flux", "s3cret")
        .start();
    let digest = registry.push(APP, "latest", &artifact());
    let pair = authority.issue(&["client"]);
    let tls = TlsSettings {
        authorities: Some(authority.pem().into_bytes()),
        client_pair: Some(flux_http::ClientPair {
            certificate: pair.certificate.into_bytes(),
            key: Secret::from(pair.key.as_str()),
        }),
        ..TlsSettings::default()
    };
    let trusting = Options {
        tls: tls.clone(),
        ..with(basic("flux", "s3cret"))
    };
    assert_eq!(
        latest(&client_with(&registry, trusting)).await.unwrap(),
        digest
    );

    let without = Options {
        tls: TlsSettings {
            client_pair: None,
            ..tls
        },
        ..options()
    };
    assert!(latest(&client_with(&registry, without)).await.is_err());
    let error = latest(&client(&registry)).await.unwrap_err();
    let shown = text(&registry, &error);
    assert!(
        shown.starts_with(
            "Get \"https://HOST/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
        ),
        "{shown}"
    );
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.target != "/v2/" || request.authorization.is_none())
    );
}

// SC-OCI-049: the certificate of an insecure registry is not verified
#[tokio::test]
async fn an_insecure_registry_needs_no_certificate() {
    let registry = Registry::builder().tls(&Authority::new()).start();
    let digest = registry.push(APP, "latest", &artifact());
    let any = Options {
        tls: TlsSettings {
            accept_any_server: true,
            ..TlsSettings::default()
        },
        ..options()
    };
    let client = Client::new(repository(&registry).insecure(), any).unwrap();
    assert_eq!(latest(&client).await.unwrap(), digest);
}

// SC-PROC-036, SC-OCI-022
#[tokio::test]
async fn requests_leave_through_the_proxy() {
    let proxy = git_servers::Proxy::http(Some(("proxy-user", "proxy-pass")));
    let registry = Registry::start();
    let digest = registry.push(APP, "latest", &artifact());
    proxy.resolve("registry.local:80", registry.address());
    let url = ProxyUrl::parse(&proxy.url())
        .unwrap()
        .with_credentials("proxy-user", Some(Secret::from("proxy-pass")));
    let options = Options {
        proxy: Proxy::Url(url),
        ..options()
    };
    let repository = Repository::parse(&format!("registry.local:80/{APP}")).unwrap();
    let client = Client::new(repository, options).unwrap();
    assert_eq!(latest(&client).await.unwrap(), digest);
}

// SC-OCI-050: blobs on another server, which gets no credentials
#[tokio::test]
async fn a_store_of_blobs_gets_no_credentials() {
    let store = Registry::start();
    let registry = Registry::builder()
        .basic_auth("flux", "s3cret")
        .blob_store(&store.url())
        .start();
    let digest = registry.push(APP, "latest", &artifact());
    store.push(APP, "latest", &artifact());
    let client = client_with(&registry, with(basic("flux", "s3cret")));
    let image = client.image(&digest.parse().unwrap()).await.unwrap();
    let mut blob = client.blob(&image.manifest.layers[0]).await.unwrap();
    while blob.next().await.unwrap().is_some() {}
    let asked = store.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None);
}

#[rstest]
#[case(
    "http://169.254.169.254/latest/meta-data",
    "SSRF protection: redirect from"
)]
#[case("/v2/org/app/manifests/latest", "stopped after 10 redirects")]
#[case("file:///etc/passwd", "the redirect leads nowhere")]
#[tokio::test]
async fn redirects_that_are_not_followed(#[case] location: &str, #[case] expected: &str) {
    let registry = Registry::builder()
        .answer_with(99, "", "/v2/org/app/", 307, &[("location", location)], "")
        .start();
    let error = latest(&client(&registry)).await.unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

// SC-OCI-051
#[rstest]
#[case(408)]
#[case(429)]
#[case(499)]
#[case(500)]
#[case(502)]
#[case(503)]
#[case(504)]
#[case(522)]
#[tokio::test]
async fn transient_errors_are_retried_twice(#[case] status: u16) {
    let prefix = format!("/v2/{APP}/");
    let registry = Registry::builder()
        .answer(2, "HEAD", &prefix, status, "")
        .start();
    let digest = registry.push(APP, "latest", &artifact());
    assert_eq!(latest(&client(&registry)).await.unwrap(), digest);
    assert_eq!(registry.asked().len(), 4, "{:?}", registry.asked());
}

// SC-OCI-051
#[tokio::test]
async fn what_is_not_transient_is_not_retried() {
    let registry = Registry::builder()
        .answer(9, "", "/v2/", 501, "down")
        .start();
    let error = latest(&client(&registry)).await.unwrap_err();
    assert_eq!(error.status(), None);
    let http = text(&registry, &error);
    assert!(
        http.ends_with("GET http://HOST/v2/: unexpected status code 501 Not Implemented: down"),
        "{http}"
    );
    assert_eq!(registry.asked().len(), 1);
}

// SC-OCI-051, FR-H-080: a long Retry-After is left to the caller, and a limited registry is not asked by GET as well
#[tokio::test]
async fn a_rate_limit_is_reported() {
    let prefix = format!("/v2/{APP}/");
    let registry = Registry::builder()
        .answer_with(9, "", &prefix, 429, &[("retry-after", "60")], "")
        .start();
    let error = latest(&client(&registry)).await.unwrap_err();
    assert_eq!(
        text(&registry, &error),
        "HEAD http://HOST/v2/org/app/manifests/latest: unexpected status code 429 Too Many Requests (HEAD responses have no body, use GET for details)"
    );
    assert_eq!(error.retry_after(), Some(Duration::from_mins(1)));
    assert_eq!(registry.asked().len(), 2, "{:?}", registry.asked());
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let registry = Registry::builder()
        .answer_with(1, "", "/v2/org/app/", 503, &[("retry-after", "1")], "")
        .start();
    let digest = registry.push(APP, "latest", &artifact());
    assert_eq!(latest(&client(&registry)).await.unwrap(), digest);
}
