//! Azure: tokens of Entra ID and of the machine, logins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clouds::Clouds;
use flux_cloud::azure::{self, Certificate, Credential};
use flux_http::Secret;

use crate::{SUBJECT, client, file, in_an_hour, principal, token};

const SCOPE: &str = azure::SCOPE_BLOB_STORAGE;
const HOST: &str = "login.microsoftonline.com";

// RT-WID-010, SC-AUTH-057: the service checks every field of the request
#[tokio::test]
async fn a_token_is_exchanged_for_one_of_entra_id() {
    let clouds = Clouds::start();
    clouds.trust("client-1", azure::AUDIENCE, SUBJECT);
    let client = client(&clouds, &[]);
    let assertion = token(azure::AUDIENCE);
    // RT-WID-014
    for scope in [azure::SCOPE_DEVOPS, SCOPE, azure::SCOPE_EVENT_HUBS] {
        let found =
            azure::federated_token(&client, "tenant-1", "client-1", &assertion, scope).await;
        let found = found.unwrap();
        // The object store of the tests wants a JWT.
        let begin = if scope == SCOPE {
            "eyJ"
        } else {
            "azure-token-"
        };
        assert!(found.value.expose_text().starts_with(begin) && in_an_hour(found.expires));
    }
    let scopes: Vec<String> = clouds
        .to(HOST)
        .iter()
        .map(|made| made.field("scope"))
        .collect();
    assert_eq!(
        scopes,
        [
            "499b84ac-1321-427f-aa17-267ca6975798/.default",
            "https://storage.azure.com/.default",
            "https://eventhubs.azure.net//.default"
        ]
    );

    let refused = azure::federated_token(&client, "tenant-1", "other", &assertion, SCOPE).await;
    let refused = refused.unwrap_err();
    let text = flux_errors::chain(&refused);
    assert_eq!(
        text,
        "ClientAssertionCredential authentication failed: POST https://login.microsoftonline.com/tenant-1/oauth2/v2.0/token: 400 Bad Request: invalid_client: AADSTS700213: No matching federated identity record found for presented assertion."
    );
    assert!(!format!("{refused:?}").contains(&*assertion.expose_text()));
    for tenant in ["", "a/b", "..", "a?b"] {
        let refused = azure::federated_token(&client, tenant, "client-1", &assertion, SCOPE).await;
        assert!(
            matches!(refused, Err(azure::Error::InvalidTenant)),
            "{tenant}"
        );
    }
}

// RT-WID-011, SC-AUTH-067, FR-N-130
#[tokio::test]
async fn the_default_chain_takes_the_first_that_is_configured() {
    let clouds = Clouds::start();
    clouds.trust("client-1", azure::AUDIENCE, SUBJECT);
    let (_folder, path) = file(&format!("{}\n", token(azure::AUDIENCE).expose_text()));
    let metadata = format!("http://{}", clouds.metadata());
    let (tenant, id) = (
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
    );
    let authority = ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/");
    let federated = ("AZURE_FEDERATED_TOKEN_FILE", &*path);
    let managed = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*metadata);

    let secret = ("AZURE_CLIENT_SECRET", "secret of client-1");
    let all = [tenant, id, secret, authority, federated, managed];
    azure::default_token(&client(&clouds, &all), SCOPE)
        .await
        .unwrap();
    assert_eq!(
        clouds.requests()[0].field("client_secret"),
        "secret of client-1"
    );

    clouds.clear_requests();
    let workload = [tenant, id, authority, federated, managed];
    azure::default_token(&client(&clouds, &workload), SCOPE)
        .await
        .unwrap();
    assert!(!clouds.requests()[0].field("client_assertion").is_empty());

    // All four variables are needed.
    clouds.clear_requests();
    let partly = [tenant, id, federated, managed];
    let found = azure::default_token(&client(&clouds, &partly), SCOPE)
        .await
        .unwrap();
    assert!(found.value.expose_text().starts_with("managed-token-") && in_an_hour(found.expires));
    let request = &clouds.requests()[0];
    assert_eq!(request.parameter("client_id"), "client-1");
    assert_eq!(request.parameter("resource"), "https://storage.azure.com");

    clouds.clear_requests();
    azure::default_token(&client(&clouds, &[managed]), SCOPE)
        .await
        .unwrap();
    assert_eq!(clouds.requests()[0].parameter("client_id"), "");
}

// SC-AUTH-065
#[tokio::test]
async fn what_a_secret_holds_gives_tokens() {
    let clouds = Clouds::start();
    let client = client(&clouds, &[]);
    let principal = |secret: &str| Credential::ClientSecret {
        tenant: "tenant-1".into(),
        client: "client-1".into(),
        secret: Secret::from(secret),
        authority: Some(format!("https://{HOST}")),
    };
    principal("secret of client-1")
        .token(&client, SCOPE)
        .await
        .unwrap();
    let refused = principal("another")
        .token(&client, SCOPE)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "ClientSecretCredential authentication failed"
    );
    assert!(!format!("{:?} {refused:?}", principal("another")).contains("another"));
}

// SC-AUTH-065: a certificate proves the client; the chain is sent along where that is asked for
#[tokio::test]
async fn a_certificate_gives_tokens() {
    let clouds = Clouds::start();
    let client = client(&clouds, &[]);
    let audience = format!("https://{HOST}/tenant-1/oauth2/v2.0/token");
    clouds.trust("client-1", &audience, "client-1");
    let (certificate, key) = principal();
    let pem = Secret::new(certificate + &key);
    for send_chain in [false, true] {
        let credential = Credential::ClientCertificate {
            tenant: "tenant-1".into(),
            client: "client-1".into(),
            certificate: Box::new(Certificate::new(&pem, None, send_chain).unwrap()),
            authority: None,
        };
        // The service looks at the claims, and refuses every other audience.
        credential.token(&client, SCOPE).await.unwrap();
        let assertion = clouds.to(HOST).pop().unwrap().field("client_assertion");
        let header = assertion.split('.').next().unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["alg"], "PS256");
        assert_eq!(header["x5t#S256"].as_str().map(str::len), Some(43));
        assert_eq!(header["x5c"].is_array(), send_chain);
        let claims = clouds::claims(&assertion);
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&"client-1".into(), &"client-1".into())
        );
        assert!(claims["jti"].as_str().is_some_and(|id| id.len() == 36));
        assert!(!format!("{credential:?}").contains("PRIVATE"));
    }
    for (text, said) in [
        (
            "\u{30}\u{82}",
            "failed to parse the client certificate: it is not in PEM form; PKCS #12 is not supported",
        ),
        (
            "-----BEGIN X-----\n-----END X-----\n",
            "failed to parse the client certificate: found no certificate",
        ),
    ] {
        let refused = Certificate::new(&Secret::from(text), None, false).unwrap_err();
        assert_eq!(refused.to_string(), said);
    }
    let password = Secret::from("password");
    assert!(Certificate::new(&pem, Some(&password), false).is_err());
}

// RT-WID-012, SC-AUTH-058
#[tokio::test]
async fn a_token_is_exchanged_for_a_login_of_the_registry() {
    let clouds = Clouds::start();
    clouds.trust("client-1", azure::AUDIENCE, SUBJECT);
    let client = client(&clouds, &[]);
    let host = "app.azurecr.io";
    azure::check_registry(&client, host).await.unwrap();
    let scope = azure::registry_scope(&client).await.unwrap();
    let assertion = token(azure::AUDIENCE);
    let own = azure::federated_token(&client, "tenant-1", "client-1", &assertion, &scope).await;
    let own = own.unwrap();
    let login = azure::registry_login(&client, &own, host).await.unwrap();
    assert_eq!(login.username, "00000000-0000-0000-0000-000000000000");
    assert!(in_an_hour(login.expires));

    let other = azure::federated_token(&client, "tenant-1", "client-1", &assertion, SCOPE).await;
    let refused = azure::registry_login(&client, &other.unwrap(), host)
        .await
        .unwrap_err();
    assert_eq!(
        flux_errors::chain(&refused),
        "failed to exchange the access token for a registry token: POST https://app.azurecr.io/oauth2/exchange: 401 Unauthorized: UNAUTHORIZED: authentication required"
    );
    for host in ["ghcr.io", "azurecr.io"] {
        let refused = azure::check_registry(&client, host).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                r"invalid Azure registry: '{host}'. must match ^.+\.(azurecr\.io|azurecr\.cn|azurecr\.de|azurecr\.us)$"
            )
        );
    }
}

// RT-WID-013, SC-AUTH-058
#[tokio::test]
async fn a_file_describes_an_air_gapped_cloud() {
    let clouds = Clouds::start();
    let with = |content: &str| {
        let (folder, path) = file(content);
        (
            client(&clouds, &[("AZURE_ENVIRONMENT_FILEPATH", &path)]),
            folder,
        )
    };
    let (client, _folder) = with(
        r#"{"containerRegistryDNSSuffix": ".azurecr.private", "resourceManagerEndpoint": "https://management.private", "tokenAudience": "https://audience.private"}"#,
    );
    azure::check_registry(&client, "app.azurecr.private")
        .await
        .unwrap();
    azure::check_registry(&client, "app.azurecr.io")
        .await
        .unwrap();
    let refused = azure::check_registry(&client, "ghcr.io").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "invalid Azure registry: 'ghcr.io'. must end with .azurecr.private"
    );
    let scope = azure::registry_scope(&client).await.unwrap();
    assert_eq!(scope, "https://management.private/.default");
    let scope = azure::resource_manager_scope(&client).await.unwrap();
    assert_eq!(scope, "https://audience.private/.default");

    let (client, _folder) = with(r#"{"resourceManagerEndpoint": "https://management.private"}"#);
    let refused = azure::registry_scope(&client).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "resourceManagerEndpoint and tokenAudience must be set in the environment file"
    );
    let refused = azure::check_registry(&client, "ghcr.io").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "failed to get container registry suffix from environment file: containerRegistryDNSSuffix must be set in the environment file"
    );
}

#[tokio::test]
async fn the_resource_manager_is_that_of_the_authoritys_cloud() {
    let clouds = Clouds::start();
    for (authority, scope) in [
        (
            "https://login.microsoftonline.com/",
            "https://management.core.windows.net//.default",
        ),
        (
            "https://login.chinacloudapi.cn/",
            "https://management.core.chinacloudapi.cn//.default",
        ),
        (
            "https://login.microsoftonline.us/",
            "https://management.core.usgovcloudapi.net//.default",
        ),
    ] {
        let client = client(&clouds, &[("AZURE_AUTHORITY_HOST", authority)]);
        assert_eq!(azure::resource_manager_scope(&client).await.unwrap(), scope);
    }
}
