//! The client against real peers on loopback: TLS, client certificates, proxies, redirects, limits.

use std::time::Duration;

use flux_budget::Budget;
use flux_http::{
    BodyError, ClientOptions, ClientPair, Proxy, ProxyUrl, Redirects, Repeat, RootCertificates,
    Secret, TlsSettings, read_body, read_body_within,
};
use git_servers::{Authority, HttpGitServer, Proxy as ProxyServer, Repo};

/// The status of a GET, or the error's text.
async fn get(options: &ClientOptions, url: &str) -> Result<u16, String> {
    let client = options.build().map_err(|error| error.to_string())?;
    let answer = flux_http::send(client.get(url), Repeat::Idempotent).await;
    answer
        .map(|response| response.status().as_u16())
        .map_err(|error| error.to_string())
}

fn trusting(pem: &str) -> ClientOptions {
    let tls = TlsSettings {
        authorities: Some(pem.as_bytes().to_vec()),
        ..TlsSettings::default()
    };
    ClientOptions {
        tls,
        ..ClientOptions::default()
    }
}

fn repository(server: &HttpGitServer) -> String {
    Repo::init(server.root(), "app.git")
        .commit("main")
        .file("a", "1")
        .create();
    server.url("app.git/info/refs?service=git-upload-pack")
}

#[tokio::test]
async fn authorities_of_a_secret_extend_or_replace_the_system_roots() {
    // RT-SEC-004, RT-SEC-005, SC-AUTH-004
    let authority = Authority::new();
    let server = HttpGitServer::builder().tls(&authority).start();
    let url = repository(&server);
    assert_eq!(get(&trusting(&authority.pem()), &url).await, Ok(200));
    let error = get(&ClientOptions::default(), &url).await.unwrap_err();
    let unknown =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(error, format!("Get \"{url}\": {unknown}"));
    let stranger = get(&trusting(&Authority::new().pem()), &url)
        .await
        .unwrap_err();
    assert!(stranger.contains(unknown), "{stranger}");
    let mut replaced = trusting(&authority.pem());
    replaced.tls.roots = RootCertificates::ReplaceSystem;
    assert_eq!(get(&replaced, &url).await, Ok(200));
    let mut nobody = ClientOptions::default();
    nobody.tls.roots = RootCertificates::ReplaceSystem;
    assert!(get(&nobody, &url).await.is_err());
    // The name must match, too.
    let other = HttpGitServer::builder()
        .tls_pair(&authority.issue(&["elsewhere.example"]))
        .start();
    let error = get(&trusting(&authority.pem()), &other.url(""))
        .await
        .unwrap_err();
    assert!(
        error.contains(
            "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_self_signed_certificate_given_as_ca_is_trusted() {
    let pair = Authority::self_signed_server(&["127.0.0.1"]);
    let server = HttpGitServer::builder().tls_pair(&pair).start();
    let url = repository(&server);
    assert_eq!(get(&trusting(&pair.certificate), &url).await, Ok(200));
    assert!(get(&ClientOptions::default(), &url).await.is_err());
    let wrong_name = Authority::self_signed_server(&["elsewhere.example"]);
    let server = HttpGitServer::builder().tls_pair(&wrong_name).start();
    let error = get(&trusting(&wrong_name.certificate), &server.url(""))
        .await
        .unwrap_err();
    assert!(error.contains("doesn't contain any IP SANs"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_sent_on_request() {
    // RT-SEC-001
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = HttpGitServer::builder()
        .tls(&servers)
        .client_certificates(&clients)
        .start();
    let url = repository(&server);
    let mut options = trusting(&servers.pem());
    assert!(get(&options, &url).await.is_err());
    let pair = clients.issue(&["flux"]);
    options.tls.client_pair = Some(ClientPair {
        certificate: pair.certificate.into_bytes(),
        key: Secret::from(pair.key.as_str()),
    });
    assert_eq!(get(&options, &url).await, Ok(200));
}

#[tokio::test]
async fn requests_go_through_the_given_proxy() {
    // RT-GIT-019
    let authority = Authority::new();
    let plain = HttpGitServer::start();
    let tls = HttpGitServer::builder().tls(&authority).start();
    let (plain_url, tls_url) = (repository(&plain), repository(&tls));
    for proxy in [
        ProxyServer::http(Some(("flux", "p:w@rd"))),
        ProxyServer::socks5(Some(("flux", "p:w@rd"))),
    ] {
        let address = ProxyUrl::parse(&proxy.url()).unwrap();
        let mut options = trusting(&authority.pem());
        options.proxy = Proxy::Url(
            address
                .clone()
                .with_credentials("flux", Some(Secret::from("p:w@rd"))),
        );
        assert_eq!(get(&options, &plain_url).await, Ok(200), "{}", proxy.url());
        assert_eq!(get(&options, &tls_url).await, Ok(200), "{}", proxy.url());
        let expected = [plain.address().to_string(), tls.address().to_string()];
        assert_eq!(proxy.destinations(), expected);
        // The proxy resolves names.
        let named = plain_url.replace("127.0.0.1", "localhost");
        assert_eq!(get(&options, &named).await, Ok(200), "{}", proxy.url());
        assert_eq!(
            proxy.destinations()[2],
            format!("localhost:{}", plain.address().port())
        );
        options.proxy = Proxy::Url(address.with_credentials("flux", Some(Secret::from("wrong"))));
        assert!(!matches!(get(&options, &tls_url).await, Ok(200)));
    }
}

#[tokio::test]
async fn redirects_are_followed_or_returned() {
    let server = HttpGitServer::builder()
        .redirect("/old/", "/")
        .redirect("/loop/", "/loop/")
        .redirect("/metadata", "http://169.254.169.254/latest/meta-data")
        .start();
    repository(&server);
    // the metadata service of a cloud is not where a server may lead
    let metadata = server.url("metadata");
    assert_eq!(get(&ClientOptions::default(), &metadata).await, Ok(302));
    let url = server.url("old/app.git/info/refs?service=git-upload-pack");
    assert_eq!(get(&ClientOptions::default(), &url).await, Ok(200));
    let refusing = ClientOptions {
        redirects: Redirects::Refuse,
        ..ClientOptions::default()
    };
    assert_eq!(get(&refusing, &url).await, Ok(302));
    assert!(
        get(&ClientOptions::default(), &server.url("loop/x"))
            .await
            .unwrap_err()
            .contains("redirect")
    );
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|request| request.target == "/loop/x")
            .count(),
        11
    );
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit() {
    let server = HttpGitServer::builder()
        .answer("/ten", 200, "0123456789")
        .start();
    let client = ClientOptions {
        user_agent: Some("flux/test".into()),
        ..ClientOptions::default()
    }
    .build()
    .unwrap();
    let fetch = || async { client.get(server.url("ten")).send().await.unwrap() };
    assert_eq!(read_body(fetch().await, 10).await.unwrap(), "0123456789");
    assert!(matches!(
        read_body(fetch().await, 9).await,
        Err(BodyError::TooLarge { limit: 9 })
    ));
    let budget = Budget::new(20);
    let claim = budget.claim();
    let within = read_body_within(fetch().await, 10, &claim).await;
    assert_eq!(within.unwrap(), "0123456789");
    assert!(claim.held() >= 10, "what was read is claimed");
    let full = read_body_within(fetch().await, 10, &claim).await;
    assert!(matches!(full, Err(BodyError::Memory(_))));
    assert_eq!(
        server.requests()[0].user_agent.as_deref(),
        Some("flux/test")
    );
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let server = HttpGitServer::builder().hang("/").start();
    let options = ClientOptions {
        timeout: Some(Duration::from_millis(50)),
        ..ClientOptions::default()
    };
    assert!(get(&options, &server.url("x")).await.is_err());
    let options = ClientOptions {
        read_timeout: Some(Duration::from_millis(50)),
        ..ClientOptions::default()
    };
    assert!(get(&options, &server.url("x")).await.is_err());
}
