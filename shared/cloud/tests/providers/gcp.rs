//! Google Cloud: federation, impersonation, keys, the metadata server.

use clouds::Clouds;
use flux_cloud::gcp::{self, Cluster, Federation, ServiceAccountKey};
use serde_json::json;

use crate::{SUBJECT, client, file, in_an_hour, principal, token};

const PROVIDER: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/c";
const EMAIL: &str = "flux@project-1.iam.gserviceaccount.com";
const STS: &str = "sts.googleapis.com";

// RT-WID-016, SC-AUTH-059: the service checks every field of the request
#[tokio::test]
async fn a_token_is_exchanged_for_direct_access() {
    let clouds = Clouds::start();
    clouds.trust(PROVIDER, PROVIDER, SUBJECT);
    let client = client(&clouds, &[]);
    let token = token(PROVIDER);
    let federation = Federation {
        audience: PROVIDER,
        token: &token,
        email: None,
    };
    let found = gcp::federated_token(&client, &federation).await.unwrap();
    assert!(found.value.expose_text().starts_with("google-direct-") && in_an_hour(found.expires));
    let login = gcp::registry_login(&found);
    // RT-WID-018
    assert_eq!(
        (login.username.as_str(), &login.password),
        ("oauth2accesstoken", &found.value)
    );
    assert_eq!(login.expires, found.expires);

    let other = Federation {
        audience: "//iam.googleapis.com/other",
        ..federation
    };
    let refused = gcp::federated_token(&client, &other).await.unwrap_err();
    assert_eq!(
        flux_errors::chain(&refused).to_string(),
        "oauth2/google: failed to exchange the token: POST https://sts.googleapis.com/v1/token: 400 Bad Request: invalid_grant: the subject token is not accepted"
    );
    assert!(!format!("{refused:?}").contains(&*token.expose_text()));
}

// RT-WID-017
#[tokio::test]
async fn a_service_account_is_impersonated() {
    let clouds = Clouds::start();
    clouds.trust(PROVIDER, PROVIDER, SUBJECT);
    let client = client(&clouds, &[]);
    let token = token(PROVIDER);
    let federation = Federation {
        audience: PROVIDER,
        token: &token,
        email: Some(EMAIL),
    };
    let found = gcp::federated_token(&client, &federation).await.unwrap();
    assert!(
        found
            .value
            .expose_text()
            .starts_with("google-impersonated-")
    );
    assert!(in_an_hour(found.expires));
    assert_eq!(clouds.requests().len(), 2);
    let other = Federation {
        email: Some("other@project-1.iam.gserviceaccount.com"),
        ..federation
    };
    let refused = gcp::federated_token(&client, &other).await.unwrap_err();
    let text = flux_errors::chain(&refused).to_string();
    assert!(
        text.starts_with("oauth2/google: failed to impersonate the service account: POST https://iamcredentials")
            && text.ends_with("403 Forbidden: PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied"),
        "{text}"
    );
}

// RT-WID-015: asked for once, again while that fails; RT-WID-019: never through a proxy
#[tokio::test]
async fn the_metadata_server_names_the_cluster() {
    let clouds = Clouds::start();
    let host = clouds.metadata();
    let client = client(&clouds, &[("GCE_METADATA_HOST", &host)]);
    let cluster = Cluster::default();
    clouds.answer(&host, 404, "");
    let refused = cluster.token_audience(&client).await.unwrap_err();
    let text = flux_errors::chain(&refused).to_string();
    assert!(
        text.starts_with("failed to get GKE cluster project ID from the metadata service: "),
        "{text}"
    );
    assert_eq!(
        cluster.token_audience(&client).await.unwrap(),
        "project-1.svc.id.goog"
    );
    assert_eq!(
        cluster.exchange_audience(&client).await.unwrap(),
        "identitynamespace:project-1.svc.id.goog:https://container.googleapis.com/v1/projects/project-1/locations/europe-west1/clusters/cluster-1"
    );
    assert_eq!(clouds.to(&host).len(), 4);
    assert!(clouds.proxy().destinations().is_empty());
}

#[tokio::test]
async fn the_controllers_own_token_is_of_the_metadata_server_or_a_file() {
    let clouds = Clouds::start();
    clouds.trust(PROVIDER, PROVIDER, SUBJECT);
    let host = clouds.metadata();
    let node = client(&clouds, &[("GCE_METADATA_HOST", &host)]);
    let found = gcp::default_token(&node).await.unwrap();
    assert!(found.value.expose_text().starts_with("google-node-") && in_an_hour(found.expires));
    assert_eq!(
        clouds.requests()[0].parameter("scopes"),
        "https://www.googleapis.com/auth/cloud-platform,https://www.googleapis.com/auth/userinfo.email"
    );
    let (_folder, subject) = file(&token(PROVIDER).expose_text());
    for (impersonation, kind) in [
        (None, "google-direct-"),
        (
            Some(format!(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
            )),
            "google-impersonated-",
        ),
    ] {
        let config = json!({
            "type": "external_account",
            "audience": PROVIDER,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url": impersonation,
            "credential_source": {"file": subject},
        });
        let (_config, path) = file(&config.to_string());
        let client = client(&clouds, &[("GOOGLE_APPLICATION_CREDENTIALS", &path)]);
        let found = gcp::default_token(&client).await.unwrap();
        assert!(found.value.expose_text().starts_with(kind));
    }
    assert_eq!(clouds.to(STS).len(), 2);
}

// SC-AUTH-064, SC-AUTH-075
#[tokio::test]
async fn only_a_service_accounts_key_is_taken_from_a_secret() {
    let clouds = Clouds::start();
    let client = client(&clouds, &[]);
    let (_, pem) = principal();
    let key = json!({"type": "service_account", "client_email": EMAIL, "private_key_id": "1", "private_key": pem});
    let found = ServiceAccountKey::parse(key.to_string().as_bytes()).unwrap();
    assert_eq!(found.email(), EMAIL);
    assert!(!format!("{found:?}").contains("PRIVATE"));
    let token = found.token(&client).await.unwrap();
    assert!(token.value.expose_text().starts_with("google-key-") && in_an_hour(token.expires));
    clouds.clear_requests();

    let with = |name: &str, value: &str| {
        let mut key = key.clone();
        key[name] = json!(value);
        ServiceAccountKey::parse(key.to_string().as_bytes())
            .unwrap_err()
            .to_string()
    };
    for kind in [
        "external_account",
        "authorized_user",
        "impersonated_service_account",
        "",
    ] {
        assert_eq!(
            with("type", kind),
            format!(
                "unsupported Google credentials type '{kind}': only 'service_account' keys are allowed"
            )
        );
    }
    assert!(
        with("private_key", "-----s3cret").starts_with("failed to parse the Google credentials")
    );
    assert!(with("token_uri", "http://example.com/").contains("token_uri"));
    assert!(ServiceAccountKey::parse(b"{\"private_key\": s3cret").is_err());
    assert!(clouds.requests().is_empty());
}
