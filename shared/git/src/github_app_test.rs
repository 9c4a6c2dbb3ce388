use super::*;
use git_servers::{HttpGitServer, SshKey};
use russh::keys::signature::Verifier as _;

fn data(base_url: &str, installation: (&str, &str), key: &str) -> GitHubAppData {
    let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    GitHubAppData {
        app_id: "123".into(),
        private_key: Secret::from(key),
        installation_owner: set(installation.0),
        installation_id: set(installation.1),
        base_url: set(base_url),
    }
}

fn key() -> SshKey {
    SshKey::generate(&["-t", "rsa", "-b", "2048", "-m", "PEM"], "")
}

const TOKEN: &str = r#"{"token":"T0KEN","expires_at":"2030-01-01T00:00:00Z"}"#;

#[tokio::test]
async fn a_token_for_an_installation() {
    // RT-WID-020, SC-AUTH-020
    let key = key();
    let server = HttpGitServer::builder()
        .answer("/app/installations/456/access_tokens", 201, TOKEN)
        .start();
    let app = GitHubApp::new(
        &data(&server.url(""), ("", "456"), &key.private()),
        &ClientOptions::default(),
    )
    .unwrap();
    let token = app.token().await.unwrap();
    assert_eq!(
        (token.token.expose(), token.expires_at.as_second()),
        (b"T0KEN".as_slice(), 1_893_456_000)
    );
    let request = &server.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/app/installations/456/access_tokens")
    );
    // RT-WID-020: the claims.
    let jwt = request
        .authorization
        .as_ref()
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    let parts: Vec<&str> = jwt.split('.').collect();
    let claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(claims["iss"], "123");
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        120
    );
    let shown = format!("{app:?} {token:?}");
    assert!(
        !shown.contains("T0KEN") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[test]
fn the_jwt_is_dated_back_and_signed_by_the_key() {
    // RT-WID-020
    let key = key();
    let app = GitHubApp::new(
        &data("", ("", "456"), &key.private()),
        &ClientOptions::default(),
    )
    .unwrap();
    assert_eq!(app.api.as_str(), "https://api.github.com/");
    let jwt = app.jwt(1_700_000_000).unwrap();
    let jwt = jwt.expose_text();
    let parts: Vec<&str> = jwt.split('.').collect();
    let claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(
        claims,
        serde_json::json!({ "iat": 1_699_999_970, "exp": 1_700_000_090, "iss": "123" })
    );
    let public = russh::keys::PublicKey::from_openssh(&key.public()).unwrap();
    let signature = russh::keys::ssh_key::Signature::new(
        russh::keys::Algorithm::Rsa {
            hash: Some(russh::keys::HashAlg::Sha256),
        },
        URL_SAFE_NO_PAD.decode(parts[2]).unwrap(),
    )
    .unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    public
        .key_data()
        .verify(signed.as_bytes(), &signature)
        .unwrap();
}

#[tokio::test]
async fn the_owner_is_looked_up_as_organisation_then_as_user() {
    // RT-WID-020, SC-AUTH-020
    let key = key();
    let server = HttpGitServer::builder()
        .answer("/orgs/acme/installation", 200, r#"{"id":7}"#)
        .answer("/orgs/me/installation", 404, r#"{"message":"Not Found"}"#)
        .answer("/users/me/installation", 200, r#"{"id":8}"#)
        .answer(
            "/orgs/nobody/installation",
            404,
            r#"{"message":"Not Found"}"#,
        )
        .answer("/users/nobody/installation", 403, "")
        .answer("/app/installations/7/access_tokens", 201, TOKEN)
        .answer(
            "/app/installations/8/access_tokens",
            422,
            r#"{"message":"no"}"#,
        )
        .start();
    let app = |owner: &str| {
        GitHubApp::new(
            &data(&server.url(""), (owner, ""), &key.private()),
            &ClientOptions::default(),
        )
        .unwrap()
    };
    app("acme").token().await.unwrap();
    let url = server.url("");
    assert_eq!(
        app("me").token().await.unwrap_err().to_string(),
        format!(
            "failed to create an installation token: POST {url}app/installations/8/access_tokens: 422 no"
        )
    );
    assert_eq!(
        app("nobody").token().await.unwrap_err().to_string(),
        format!(
            "failed to find organization installation: GET {url}orgs/nobody/installation: 404 Not Found\n\
             failed to find user installation: GET {url}users/nobody/installation: 403"
        )
    );
}

#[tokio::test]
async fn the_address_of_an_enterprise_server_is_taken_as_given() {
    // RT-WID-021, SC-AUTH-021
    let key = key();
    let server = HttpGitServer::builder()
        .answer(
            "/ghe/api/v3/app/installations/456/access_tokens",
            201,
            TOKEN,
        )
        .start();
    for base in ["ghe/api/v3", "ghe/api/v3/"] {
        let data = data(&server.url(base), ("", "456"), &key.private());
        GitHubApp::new(&data, &ClientOptions::default())
            .unwrap()
            .token()
            .await
            .unwrap();
    }
}

#[test]
fn credentials_that_cannot_be_used() {
    // RT-WID-020
    let key = key();
    let make = |change: fn(&mut GitHubAppData)| {
        let mut data = data("", ("", "456"), &key.private());
        change(&mut data);
        GitHubApp::new(&data, &ClientOptions::default())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        make(|data| data.app_id = "x".into()),
        "app ID must be provided to use github app authentication"
    );
    let expected = "app installation owner or ID must be provided to use github app authentication";
    assert_eq!(
        make(|data| data.installation_id = Some("x".into())),
        expected
    );
    assert_eq!(make(|data| data.installation_id = None), expected);
    let error = make(|data| data.private_key = Secret::from("S3CRET"));
    assert_eq!(error, "could not parse private key: it is not a PEM key");
    assert_eq!(
        make(|data| data.base_url = Some("::".into())),
        "invalid API URL"
    );
}
