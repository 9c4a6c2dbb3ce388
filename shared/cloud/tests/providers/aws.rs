//! AWS: roles of tokens, the default chain, logins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clouds::{Clouds, ECR_PASSWORD};
use flux_cloud::aws::{self, Call, Credentials, Sts};
use flux_http::Secret;
use serde_json::json;

use crate::{SUBJECT, client, file, in_an_hour, token};

const ROLE: &str = "arn:aws:iam::123456789012:role/puller";
const REGION: &str = "eu-west-1";
const HOST: &str = "sts.eu-west-1.amazonaws.com";
const STS: Sts<'_> = Sts {
    region: REGION,
    endpoint: None,
};

fn key(id: &str) -> Credentials {
    Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: Secret::from("s3cret"),
        session_token: None,
        expires: None,
    }
}

// RT-WID-005, SC-AUTH-053: the service checks every field of the request
#[tokio::test]
async fn a_token_is_exchanged_for_credentials_of_a_role() {
    let clouds = Clouds::start();
    clouds.trust(ROLE, aws::AUDIENCE, SUBJECT);
    let client = client(&clouds, &[]);
    let token = token(aws::AUDIENCE);
    let session = "puller.apps.eu-west-1.fluxcd.io";
    let found = aws::assume_role_with_web_identity(&client, &STS, ROLE, session, &token).await;
    let found = found.unwrap();
    let (secret, session_token) = clouds.key(&found.access_key_id).unwrap();
    assert_eq!(found.secret_access_key.expose_text(), secret);
    assert_eq!(
        found.session_token.clone().unwrap().expose_text(),
        session_token
    );
    assert!(in_an_hour(found.expires.unwrap()));
    assert_eq!(Credentials::of_token(&found.to_token()).unwrap(), found);
    let requests = clouds.to(HOST);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].field("RoleSessionName"), session);
    assert_eq!(requests[0].field("WebIdentityToken"), token.expose_text());

    // A refusal has the SDK's text, and no token.
    let other = "arn:aws:iam::123456789012:role/other";
    let refused = aws::assume_role_with_web_identity(&client, &STS, other, session, &token).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "operation error STS: AssumeRoleWithWebIdentity, https response error StatusCode: 403, RequestID: request-1, api error AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"
    );
    assert!(!format!("{refused:?}").contains(&*token.expose_text()));
}

// RT-WID-007, SC-AUTH-054
#[tokio::test]
async fn the_controllers_own_credentials_need_a_region() {
    let clouds = Clouds::start();
    let keys = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];
    let found = aws::default_credentials(&client(&clouds, &keys), None, None).await;
    assert_eq!(
        found.unwrap_err().to_string(),
        "AWS_REGION environment variable is not set in the Flux controller. if you have properly configured IAM Roles for Service Accounts (IRSA) or EKS Pod Identity, please delete/replace the controller pod so the EKS admission controllers can inject this environment variable, or set it manually if the cluster is not EKS"
    );
    let with_region = [keys[0], keys[1], ("AWS_REGION", REGION)];
    for (environment, region) in [(&keys[..], Some(REGION)), (&with_region, None)] {
        let client = client(&clouds, environment);
        let found = aws::default_credentials(&client, region, None)
            .await
            .unwrap();
        assert_eq!(found.access_key_id, "id");
        assert_eq!(found.secret_access_key.expose(), b"key");
    }
    // RT-WID-006, SC-AUTH-055
    let wrong = Some("https://sts.example.com");
    let refused = aws::default_credentials(&client(&clouds, &with_region), None, wrong).await;
    let text = refused.unwrap_err().to_string();
    assert!(
        text.starts_with("invalid STS endpoint: 'https://sts.example.com'. must match ^https://")
    );
    assert!(clouds.requests().is_empty());
}

// RT-WID-007, SC-AUTH-063: IRSA, EKS Pod Identity, the instance; the first that is configured counts
#[tokio::test]
async fn the_default_chain_finds_every_kind_of_credentials() {
    let clouds = Clouds::start();
    clouds.trust(ROLE, aws::AUDIENCE, SUBJECT);
    let (_folder, web_token) = file(&format!("{}\n", token(aws::AUDIENCE).expose_text()));
    let (_other, agent_token) = file("agent-token");
    let metadata = format!("http://{}", clouds.metadata());
    let agent = format!("{metadata}/v1/credentials");
    let region = ("AWS_REGION", REGION);
    let no_files = [
        ("AWS_CONFIG_FILE", "/none"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/none"),
    ];

    let irsa = [
        region,
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &*web_token),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ROLE_SESSION_NAME", "controller"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent),
    ];
    let found = aws::default_credentials(&client(&clouds, &irsa), None, None).await;
    assert!(clouds.key(&found.unwrap().access_key_id).is_some());
    assert_eq!(clouds.to(HOST)[0].field("RoleSessionName"), "controller");
    assert_eq!(clouds.requests().len(), 1);

    clouds.clear_requests();
    let pod = [
        region,
        no_files[0],
        no_files[1],
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*agent),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &agent_token),
    ];
    let found = aws::default_credentials(&client(&clouds, &pod), None, None)
        .await
        .unwrap();
    assert!(found.access_key_id.starts_with("ASIANODE") && in_an_hour(found.expires.unwrap()));
    assert_eq!(clouds.requests().len(), 1);

    clouds.clear_requests();
    let node = [
        region,
        no_files[0],
        no_files[1],
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata),
    ];
    let found = aws::default_credentials(&client(&clouds, &node), None, None)
        .await
        .unwrap();
    assert!(found.access_key_id.starts_with("ASIANODE"));
    let targets: Vec<String> = clouds
        .requests()
        .into_iter()
        .map(|made| made.target)
        .collect();
    assert_eq!(
        targets,
        [
            "/latest/api/token",
            "/latest/meta-data/iam/security-credentials/",
            "/latest/meta-data/iam/security-credentials/node-role"
        ]
    );

    let disabled = [
        node[0],
        node[1],
        node[2],
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let refused = aws::default_credentials(&client(&clouds, &disabled), None, None).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .starts_with("no EC2 IMDS role found")
    );
    let elsewhere = [
        region,
        no_files[0],
        no_files[1],
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/"),
    ];
    let refused = aws::default_credentials(&client(&clouds, &elsewhere), None, None).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("http://example.com/")
    );
}

#[tokio::test]
async fn a_profile_assumes_the_role_that_it_names() {
    let clouds = Clouds::start();
    clouds.add_key("AKIABASE", "s3cret", "");
    let (_folder, config) = file(&format!(
        "[profile flux]\nrole_arn = {ROLE}\nsource_profile = base\nrole_session_name = flux\n"
    ));
    let (_other, keys) =
        file("[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = s3cret\n");
    let environment = [
        ("AWS_REGION", REGION),
        ("AWS_PROFILE", "flux"),
        ("AWS_CONFIG_FILE", &*config),
        ("AWS_SHARED_CREDENTIALS_FILE", &keys),
    ];
    let found = aws::default_credentials(&client(&clouds, &environment), None, None).await;
    assert!(clouds.key(&found.unwrap().access_key_id).is_some());
    let request = &clouds.to(HOST)[0];
    assert_eq!(request.field("Action"), "AssumeRole");
    assert_eq!(request.field("RoleSessionName"), "flux");
    let unknown = [
        environment[0],
        ("AWS_PROFILE", "other"),
        environment[2],
        environment[3],
    ];
    let refused = aws::default_credentials(&client(&clouds, &unknown), None, None).await;
    let text = refused.unwrap_err().to_string();
    assert_eq!(
        text,
        "failed to load AWS profile 'other': there is no such profile"
    );
}

// The variables of the SDK replace the endpoint of the controller's own exchange, and that of no other.
#[tokio::test]
async fn an_endpoint_of_the_environment_is_used_for_the_controllers_own_credentials() {
    let clouds = Clouds::start();
    clouds.trust(ROLE, aws::AUDIENCE, SUBJECT);
    let (_folder, path) = file(&token(aws::AUDIENCE).expose_text());
    let environment = [
        ("AWS_REGION", "eu-west-3"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &*path),
        ("AWS_ROLE_ARN", ROLE),
        (
            "AWS_ENDPOINT_URL_STS",
            "https://sts.us-east-1.amazonaws.com",
        ),
    ];
    let client = client(&clouds, &environment);
    aws::default_credentials(&client, None, None).await.unwrap();
    assert_eq!(clouds.to("sts.us-east-1.amazonaws.com").len(), 1);
    let token = token(aws::AUDIENCE);
    let own = aws::assume_role_with_web_identity(&client, &STS, ROLE, "session", &token).await;
    own.unwrap();
    assert_eq!(clouds.to(HOST).len(), 1);
}

// RT-WID-008, SC-AUTH-056: the service recomputes the signature
#[tokio::test]
async fn ecr_gives_a_login() {
    let clouds = Clouds::start();
    clouds.add_key("AKIA", "s3cret", "");
    let client = client(&clouds, &[]);
    for (host, api) in [
        (
            "123.dkr.ecr.eu-west-1.amazonaws.com",
            "api.ecr.eu-west-1.amazonaws.com",
        ),
        // FR-N-082
        ("public.ecr.aws", "api.ecr-public.us-east-1.amazonaws.com"),
    ] {
        let login = aws::registry_login(&client, &key("AKIA"), host)
            .await
            .unwrap();
        assert_eq!(login.username, "AWS");
        assert_eq!(login.password.expose_text(), ECR_PASSWORD);
        assert!(in_an_hour(login.expires));
        assert_eq!(clouds.to(api).len(), 1);
    }
    let host = "123.dkr.ecr.eu-west-1.amazonaws.com";
    let refused = aws::registry_login(&client, &key("AKIAOTHER"), host).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "operation error ECR: GetAuthorizationToken, https response error StatusCode: 400, RequestID: request-1, api error InvalidSignatureException: unknown key"
    );
    for (token, said) in [
        ("!", "failed to parse authorization token"),
        (
            &*STANDARD.encode("AWS:a:b"),
            "invalid authorization token format",
        ),
        (
            &*STANDARD.encode("AWS"),
            "invalid authorization token format",
        ),
    ] {
        let body = json!({"authorizationData": [{"authorizationToken": token, "expiresAt": 1.0}]});
        clouds.answer("api.ecr.eu-west-1.amazonaws.com", 200, &body.to_string());
        let refused = aws::registry_login(&client, &key("AKIA"), host).await;
        assert_eq!(refused.unwrap_err().to_string(), said);
    }
}

#[tokio::test]
async fn an_api_of_json_is_called() {
    let clouds = Clouds::start();
    clouds.add_key("AKIA", "s3cret", "session");
    let client = client(&clouds, &[]);
    let url = aws::endpoint("kms", REGION).unwrap();
    let call = Call {
        name: "KMS",
        service: "kms",
        region: REGION,
        url: &url,
        target: "TrentService.Decrypt",
    };
    let own = Credentials {
        session_token: Some(Secret::from("session")),
        ..key("AKIA")
    };
    let answer = aws::call(&client, &own, &call, &json!({"CiphertextBlob": "eA=="})).await;
    assert_eq!(answer.unwrap()["Plaintext"], "eA==");
    let refused = aws::call(&client, &own, &call, &json!({})).await;
    let text = refused.unwrap_err().to_string();
    assert!(
        text.ends_with("api error ValidationException: no blob"),
        "{text}"
    );
}
