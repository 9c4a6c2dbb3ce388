//! Tests of the GitHub App client against an API server in this process.

use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method as AxumMethod, StatusCode as AxumStatus, Uri};
use git_servers::SshKey;
use rstest::rstest;
use rustls::crypto::ring::default_provider;
use serde_json::{Value, json};

use super::*;

/// An RSA key in PKCS#1 form, as GitHub issues them.
fn pem() -> &'static str {
    static PEM: LazyLock<String> = LazyLock::new(|| {
        let key = SshKey::generate(&["-t", "rsa", "-b", "2048", "-m", "PEM"], "");
        key.private()
    });
    &PEM
}

fn data(id: Option<&str>, owner: Option<&str>, base_url: &str) -> GitHubAppData {
    GitHubAppData {
        app: GitHubAppId::Id("42".into()),
        private_key: Secret::new(pem()),
        installation_owner: owner.map(str::to_owned),
        installation_id: id.map(str::to_owned),
        base_url: Some(base_url.to_owned()),
    }
}

type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// An API that knows the user `octocat` and installation 7, and rejects everything else. Returns the requests it
/// received.
async fn api() -> (String, Asked) {
    let _ = default_provider().install_default();
    let asked = Asked::default();
    let answer = |State(asked): State<Asked>, method: AxumMethod, uri: Uri, headers: HeaderMap| async move {
        let bearer = headers["authorization"].to_str().unwrap().to_owned();
        asked
            .lock()
            .unwrap()
            .push((format!("{method} {uri}"), bearer));
        match uri.path() {
            "/api/v3/users/octocat/installation" => (AxumStatus::OK, json!({"id": 7}).to_string()),
            "/api/v3/app/installations/7/access_tokens" => (
                AxumStatus::CREATED,
                json!({"token": "ghs_secret", "expires_at": "2030-01-01T00:00:00Z"}).to_string(),
            ),
            "/api/v3/app/installations/8/access_tokens" => {
                (AxumStatus::CREATED, json!({"token": 1}).to_string())
            }
            _ => (
                AxumStatus::NOT_FOUND,
                json!({"message": "Not Found"}).to_string(),
            ),
        }
    };
    let router = Router::new().fallback(answer).with_state(asked.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/api/v3"), asked)
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn claims(bearer: &str) -> (Value, Value) {
    let token = bearer.strip_prefix("Bearer ").unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let decode =
        |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 256);
    (decode(parts[0]), decode(parts[1]))
}

// SC-AUTH-020
#[tokio::test]
async fn an_installation_gives_a_token() {
    let (url, asked) = api().await;
    let app = GitHubApp::new(data(Some("7"), None, &url)).unwrap();
    let token = app.token(&client()).await.unwrap();
    assert_eq!(token.value, "ghs_secret".into());
    let start_of_2030: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(token.expires, SystemTime::from(start_of_2030));
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].0, "POST /api/v3/app/installations/7/access_tokens");
    let (header, claims) = claims(&asked[0].1);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
    assert_eq!(claims["iss"], "42");
    let issued = claims["iat"].as_u64().unwrap();
    assert_eq!(claims["exp"], issued + 120);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!((now - 60..=now - 30).contains(&issued), "{issued} at {now}");
    assert!(!format!("{token:?} {app:?}").contains("ghs_secret"));
    assert!(!format!("{app:?}").contains("PRIVATE KEY"));
}

// RT-SEC-017: the client ID is the issuer, and part of the key of the cache
#[tokio::test]
async fn an_app_may_be_named_by_its_client_id() {
    let (url, asked) = api().await;
    let of = |app: GitHubAppId| {
        let data = GitHubAppData {
            app,
            ..data(Some("7"), None, &url)
        };
        GitHubApp::new(data).unwrap()
    };
    let app = of(GitHubAppId::Client("Iv1.0123".into()));
    app.token(&client()).await.unwrap();
    let (_, claims) = claims(&asked.lock().unwrap()[0].1);
    assert_eq!(claims["iss"], "Iv1.0123");
    assert_ne!(
        app.cache_key(),
        of(GitHubAppId::Client("Iv1.4567".into())).cache_key()
    );
    // A client ID of digits is another App than that with the ID.
    assert_ne!(
        of(GitHubAppId::Client("42".into())).cache_key(),
        of(GitHubAppId::Id("42".into())).cache_key()
    );
}

// SC-AUTH-020
#[tokio::test]
async fn an_owner_is_looked_up_as_organisation_then_as_user() {
    let (url, asked) = api().await;
    let app = GitHubApp::new(data(None, Some("octocat"), &url)).unwrap();
    app.token(&client()).await.unwrap();
    let paths: Vec<_> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|(line, _)| line.clone())
        .collect();
    assert_eq!(
        paths,
        [
            "GET /api/v3/orgs/octocat/installation",
            "GET /api/v3/users/octocat/installation",
            "POST /api/v3/app/installations/7/access_tokens",
        ]
    );
    let nobody = GitHubApp::new(data(None, Some("no/body"), &url)).unwrap();
    let error = nobody.token(&client()).await.unwrap_err().to_string();
    let want = format!(
        "failed to find organization installation: GET {url}/orgs/no%2Fbody/installation: 404 Not Found: the App has no such installation\n\
         failed to find user installation: GET {url}/users/no%2Fbody/installation: 404 Not Found: the App has no such installation"
    );
    assert_eq!(error, want);
}

#[tokio::test]
async fn unusable_answers_are_errors() {
    let (url, _) = api().await;
    let refused = GitHubApp::new(data(Some("9"), None, &url))
        .unwrap()
        .token(&client())
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            GitHubAppError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }
        ),
        "{refused}"
    );
    let odd = GitHubApp::new(data(Some("8"), None, &url))
        .unwrap()
        .token(&client())
        .await
        .unwrap_err();
    assert!(matches!(odd, GitHubAppError::Answer { .. }), "{odd}");
    let nowhere = GitHubApp::new(data(Some("7"), None, "http://127.0.0.1:1")).unwrap();
    let unreachable = nowhere.token(&client()).await.unwrap_err();
    assert!(
        matches!(unreachable, GitHubAppError::Request { .. }),
        "{unreachable}"
    );
}

// SC-AUTH-021, RT-WID-021
#[rstest]
#[case("", "https://api.github.com/")]
#[case("https://ghe.example.com", "https://ghe.example.com/")]
#[case("https://ghe.example.com/api/v3", "https://ghe.example.com/api/v3/")]
#[case("https://ghe.example.com/api/v3/", "https://ghe.example.com/api/v3/")]
#[case(
    "https://gateway.example.com/github",
    "https://gateway.example.com/github/"
)]
#[case("https://api.ghe.com", "https://api.ghe.com/")]
#[case("https://x.api.ghe.com/", "https://x.api.ghe.com/")]
#[case("http://127.0.0.1:8080/a/", "http://127.0.0.1:8080/a/")]
fn base_urls(#[case] text: &str, #[case] want: &str) {
    assert_eq!(base_url(text).unwrap().as_str(), want);
}

// SC-AUTH-073: a call that is never answered times out after ten seconds
#[tokio::test(start_paused = true)]
async fn an_api_that_never_answers_times_out() {
    let _ = default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = GitHubApp::new(data(Some("7"), None, &url)).unwrap();
    let begun = tokio::time::Instant::now();
    let error = app.token(&client()).await.unwrap_err();
    assert!(matches!(error, GitHubAppError::Request { .. }), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

// SC-AUTH-019
#[test]
fn invalid_app_data_is_refused() {
    let with = |change: fn(&mut GitHubAppData)| {
        let mut data = data(Some("7"), None, "");
        change(&mut data);
        GitHubApp::new(data).unwrap_err().to_string()
    };
    assert_eq!(
        with(|data| data.app = GitHubAppId::Id("x".into())),
        "app ID must be provided to use github app authentication"
    );
    assert_eq!(
        with(|data| data.app = GitHubAppId::Client(" ".into())),
        "app ID must be provided to use github app authentication"
    );
    assert_eq!(
        with(|data| data.installation_id = Some("0".into())),
        "app installation owner or ID must be provided to use github app authentication"
    );
    assert_eq!(
        with(|data| data.private_key = "no key".into()),
        "could not parse private key: it is not a private key in PEM form"
    );
    assert_eq!(
        with(|data| data.base_url = Some("::".into())),
        "invalid API URL"
    );
    for key in [
        "S3CRET",
        "-----BEGIN RSA PRIVATE KEY-----\nS3CRET\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nUzNDUkVU\n-----END PRIVATE KEY-----\n",
    ] {
        let mut marked = data(Some("7"), None, "");
        marked.private_key = Secret::from(key);
        let error = GitHubApp::new(marked).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("S3CRET") && !shown.contains("UzNDUkVU"),
            "{shown}"
        );
    }
    let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let mut wrong_kind = data(Some("7"), None, "");
    wrong_kind.private_key = Secret::new(ec);
    let error = GitHubApp::new(wrong_kind).unwrap_err().to_string();
    assert_eq!(error, "could not parse private key: it is not an RSA key");
}
