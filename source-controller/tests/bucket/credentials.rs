//! Who reads a bucket, and in which region.

use std::sync::{Arc, Mutex};

use git_servers::Authority;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use object_stores::{ACCESS_KEY, Answer, Front, SECRET_KEY, Seaweed};
use serde_json::json;

use crate::world::{World, files, seaweed};

// SC-AUTH-060, SC-AUTH-061
#[tokio::test]
async fn a_public_bucket_is_read_without_a_signature() -> Result {
    let Some(store) = Seaweed::start() else {
        return Ok(());
    };
    store.make_bucket("public").await;
    store.put("public", "a", "one").await;
    let world = World::start("bucket-anonymous", Front::to(store.address())).await?;
    world
        .secret("empty", &[("accesskey", ""), ("secretkey", "")])
        .await?;
    let host = world.front.host();
    for (name, spec) in [
        ("none", "insecure: true, bucketName: public"),
        (
            "empty",
            "insecure: true, bucketName: public, secretRef: {name: empty}",
        ),
    ] {
        world.apply_as(name, &host, spec).await?;
        let object = world.ready(name).await?;
        assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    }
    let requests = world.front.requests();
    ensure!(!requests.is_empty(), "nothing was asked");
    for request in requests {
        assert_eq!(request.header("authorization"), "", "{}", request.target);
    }
    Ok(())
}

// SC-BKT-060
#[tokio::test]
async fn a_region_that_is_not_given_is_looked_up() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let location = "<LocationConstraint>eu-north-1</LocationConstraint>";
    let front = front.answering(move |request| {
        (request.target == "/app/?location=").then(|| Answer::new(200, location))
    });
    let world = World::start("bucket-region", front).await?;
    let host = world.front.host();
    let spec = "insecure: true, secretRef: {name: keys}";
    world.apply_as("app", &host, spec).await?;
    world.ready("app").await?;
    let requests = world.front.requests();
    let scope = |target: &str| {
        let found = requests.iter().find(|request| request.target == target);
        let header = found.map(|request| request.header("authorization").to_owned());
        let header = header.unwrap_or_default();
        let scope = header.split_once('=').map(|(_, scope)| scope.to_owned());
        let scope = scope.unwrap_or_default();
        scope.split('/').nth(2).unwrap_or_default().to_owned()
    };
    assert_eq!(scope("/app/?location="), "us-east-1");
    assert_eq!(scope("/app/a"), "eu-north-1");
    let lookups = requests
        .iter()
        .filter(|request| request.target.contains("location"));
    assert_eq!(lookups.count(), 1);
    Ok(())
}

// SC-BKT-060: who may not ask for the region is told of it by the refusal
#[tokio::test]
async fn the_region_of_a_refusal_is_used() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let front = front.answering(|request| {
        let elsewhere =
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>";
        let is_there = request.header("authorization").contains("/eu-north-1/s3/");
        match request.target.as_str() {
            "/app/?location=" => Some(Answer::new(403, "<Error><Code>AccessDenied</Code></Error>")),
            _ if !is_there && request.method == "HEAD" => Some(Answer::With(
                400,
                vec![
                    ("x-amz-bucket-region", "eu-north-1".to_owned()),
                    (
                        "x-minio-error-code",
                        "AuthorizationHeaderMalformed".to_owned(),
                    ),
                ],
                String::new(),
            )),
            _ if !is_there => Some(Answer::new(400, elsewhere)),
            _ => None,
        }
    });
    let world = World::start("bucket-elsewhere", front).await?;
    let spec = "insecure: true, secretRef: {name: keys}";
    world.apply_as("app", &world.front.host(), spec).await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    Ok(())
}

/// The credentials that the token service gives: those of the store, without a token, which SeaweedFS would have to know.
fn given() -> String {
    format!(
        "<AssumeRoleWithLDAPIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId>\
         <SecretAccessKey>{SECRET_KEY}</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"
    )
}

// SC-AUTH-062: MinIO is not to be had for tests, so this service checks each request itself
#[tokio::test]
async fn ldap_credentials_come_from_the_token_service() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let authority = Authority::new();
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let noted = wrong.clone();
    let service = Front::alone()
        .tls(&authority, &[])
        .answering(move |request| {
            let form = "Action=AssumeRoleWithLDAPIdentity&LDAPPassword=p%26ss+w%C3%B6rd&LDAPUsername=cn%3Du&Version=2011-06-15";
            let is_right = request.method == "POST"
                && request.target == "/sts?x=1"
                && request.header("content-type") == "application/x-www-form-urlencoded"
                && request.header("authorization").is_empty()
                && request.body == form;
            if is_right {
                return Some(Answer::new(200, given()));
            }
            if let Ok(mut noted) = noted.lock() {
                noted.push(format!("{request:?}"));
            }
            let body = "<ErrorResponse><Error><Code>InvalidParameterValue</Code><Message>no user with p&amp;ss-wrong</Message></Error></ErrorResponse>";
            Some(Answer::new(400, body))
        })
        .start();
    let world = World::start("bucket-ldap", front).await?;
    world.secret("ca", &[("ca.crt", &authority.pem())]).await?;
    world
        .secret("user", &[("username", "cn=u"), ("password", "p&ss wörd")])
        .await?;
    world
        .secret("other", &[("username", "cn=u"), ("password", "p&ss-wrong")])
        .await?;
    let host = world.front.host();
    let spec = |secret: &str| {
        format!(
            "insecure: true, region: us-east-1, sts: {{provider: ldap, endpoint: '{}/sts?x=1', secretRef: {{name: {secret}}}, certSecretRef: {{name: ca}}}}",
            service.url()
        )
    };
    world.apply_as("app", &host, &spec("user")).await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    let asked = service.requests().len();
    assert_eq!(asked, 1, "{:?}", wrong.lock().map(|wrong| wrong.clone()));

    // the service's own words, without the password that it repeats
    world.apply_as("other", &host, &spec("other")).await?;
    let text = world.failed("other", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'app' bucket: no user with ***"
    );
    Ok(())
}

// SC-AUTH-063
#[tokio::test]
async fn aws_uses_the_identity_of_the_controller() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let settings = Settings::default()
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let world = World::start_with("bucket-aws", front.start(), settings).await?;
    let host = world.front.host();
    let spec = "provider: aws, insecure: true, region: us-east-1";
    world.apply_as("app", &host, spec).await?;
    world.ready("app").await?;
    for (name, more, want) in [
        (
            "region",
            "provider: aws, insecure: true",
            "AWS_REGION environment variable is not set in the Flux controller",
        ),
        // SC-AUTH-055
        (
            "sts",
            "provider: aws, insecure: true, region: us-east-1, sts: {provider: aws, endpoint: 'https://example.com'}",
            "invalid STS endpoint: 'https://example.com'",
        ),
        // SC-BKT-021: a ServiceAccount needs no gate
        (
            "account",
            "provider: aws, insecure: true, region: us-east-1, serviceAccountName: absent",
            "failed to get service account",
        ),
    ] {
        world.apply_as(name, &host, more).await?;
        let text = world.failed(name, "AuthenticationFailed").await?;
        ensure!(
            text.starts_with("AWS authentication failed: ") && text.contains(want),
            "{name}: {text}"
        );
    }
    Ok(())
}

// SC-BKT-024: objects that are older than the rules of admission
#[tokio::test]
async fn token_services_of_other_providers_stall() -> Result {
    let world = World::start("bucket-sts", Front::alone()).await?;
    let host = world.front.host();
    let spec = "sts: {provider: ldap, endpoint: 'https://h:port'}";
    world.apply_as("app", &host, spec).await?;
    let text = world.failed("app", "URLInvalid").await?;
    assert_eq!(
        text,
        "failed to parse STS endpoint 'https://h:port': parse \"https://h:port\": invalid port \":port\" after host"
    );
    let object = world.namespace.get(kind_tests::BUCKET, "app").await?;
    let object = object.unwrap_or_default();
    let stalled = kind_tests::condition(&object, "Stalled").cloned();
    assert_eq!(stalled.unwrap_or_default()["status"], json!("True"));
    Ok(())
}
