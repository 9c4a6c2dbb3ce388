//! Runs that fail before anything is read, and what their conditions say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kind_tests::{BUCKET, Result, condition, ensure, is_ready};
use object_stores::{Answer, Front};
use serde_json::Value;

use crate::support::message;
use crate::world::{World, files, seaweed};

// SC-BKT-022, SC-BKT-023
#[tokio::test]
async fn secrets_that_are_missing_or_incomplete() -> Result {
    let world = World::start("bucket-secrets", Front::alone()).await?;
    let namespace = world.namespace.name().to_owned();
    world.secret("half", &[("accesskey", "a")]).await?;
    world
        .secret("user", &[("username", "u"), ("password", "")])
        .await?;
    world.secret("none", &[("other", "x")]).await?;
    let external = r#"{"type": "external_account", "token_url": "https://127.0.0.1:1/"}"#;
    world
        .secret("external", &[("serviceaccount", external)])
        .await?;
    world.secret("sas", &[("sasKey", "?sig=%zzS3CRET")]).await?;
    world.secret("account", &[("accountKey", "a2V5")]).await?;
    let host = world.front.host();
    let not_found =
        |what: &str| format!("{what} '{namespace}/absent': secrets \"absent\" not found");
    let referred = |what: &str| format!("{what}: secret '{namespace}/absent' not found");
    let ldap = "sts: {provider: ldap, endpoint: 'https://127.0.0.1:1'";
    for (name, endpoint, spec, want) in [
        (
            "secret",
            host.as_str(),
            // SC-BKT-020: the first of them is read first
            "secretRef: {name: absent}, proxySecretRef: {name: absent}".to_owned(),
            not_found("failed to get secret"),
        ),
        (
            "sts",
            &host,
            format!("{ldap}, secretRef: {{name: absent}}}}, proxySecretRef: {{name: absent}}"),
            not_found("failed to get STS secret"),
        ),
        (
            "proxy",
            &host,
            "proxySecretRef: {name: absent}, certSecretRef: {name: absent}".to_owned(),
            referred("failed to get proxy URL"),
        ),
        (
            "cert",
            &host,
            format!("certSecretRef: {{name: absent}}, {ldap}, certSecretRef: {{name: absent}}}}"),
            referred("failed to get TLS config"),
        ),
        (
            "sts-cert",
            &host,
            format!("{ldap}, certSecretRef: {{name: absent}}}}"),
            referred("failed to get STS TLS config"),
        ),
        // SC-AUTH-060
        (
            "half",
            &host,
            "secretRef: {name: half}".to_owned(),
            "invalid 'half' secret data: required fields 'accesskey' and 'secretkey'".to_owned(),
        ),
        // SC-AUTH-062
        (
            "user",
            &host,
            format!("{ldap}, secretRef: {{name: user}}}}"),
            "invalid 'user' secret data for 'ldap' STS provider: required fields username, password"
                .to_owned(),
        ),
        // SC-AUTH-064
        (
            "gcp",
            &host,
            "provider: gcp, secretRef: {name: none}".to_owned(),
            "invalid 'none' secret data: required fields 'serviceaccount'".to_owned(),
        ),
        // SC-AUTH-075
        (
            "external",
            &host,
            "provider: gcp, secretRef: {name: external}".to_owned(),
            "failed to create Google credentials from secret: unsupported Google credentials type 'external_account': only 'service_account' keys are allowed".to_owned(),
        ),
        // SC-AUTH-066
        (
            "azure",
            "https://a.blob.core.windows.net",
            "provider: azure, secretRef: {name: none}".to_owned(),
            "invalid 'none' secret data: requires a 'clientId' or 'accountKey' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', 'clientId' and 'clientCertificate'".to_owned(),
        ),
        // SC-AUTH-065
        (
            "account",
            "https://windows.net",
            "provider: azure, secretRef: {name: account}".to_owned(),
            "failed to create shared credential from 'account' Secret data: failed to extract account name from endpoint: expected 'windows.net' to be a subdomain".to_owned(),
        ),
        // SC-AUTH-068
        (
            "sas",
            "https://a.blob.core.windows.net",
            "provider: azure, secretRef: {name: sas}".to_owned(),
            "unable to parse SAS token: invalid URL escape \"***\"".to_owned(),
        ),
        // SC-BKT-025
        (
            "endpoint",
            "example.com/path",
            "region: us-east-1".to_owned(),
            "Endpoint url cannot have fully qualified paths.".to_owned(),
        ),
    ] {
        world.apply_as(name, endpoint, &spec).await?;
        let text = world.failed(name, "AuthenticationFailed").await?;
        assert_eq!(text, want, "{name}");
    }
    assert_eq!(world.front.asked(), Vec::<String>::new());
    Ok(())
}

// SC-BKT-026, SC-BKT-027, SC-BKT-028
#[tokio::test]
async fn refusals_are_told_with_their_step() -> Result {
    let refuse = |code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>told in words</Message></Error>");
        Some(Answer::new(400, body))
    };
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let front = front.answering(move |request| {
        let path = request.target.split('?').next().unwrap_or_default();
        match path {
            "/no-list/" if request.method != "GET" => Some(Answer::new(200, "")),
            "/no-rules/" => Some(Answer::new(200, "")),
            "/no-list/.sourceignore" => Some(Answer::new(404, "")),
            "/no-list/" | "/no-rules/.sourceignore" | "/app/a" => refuse("Odd"),
            _ => None,
        }
    });
    let world = World::start("bucket-refusals", front).await?;
    world
        .secret("wrong", &[("accesskey", "flux"), ("secretkey", "S3CRET")])
        .await?;
    for (name, spec, want) in [
        ("missing", "bucketName: absent", "bucket 'absent' not found"),
        (
            "short",
            "bucketName: ab",
            "failed to confirm existence of 'ab' bucket: Bucket name cannot be shorter than 3 characters",
        ),
        (
            "list",
            "bucketName: no-list",
            "indexation of objects from bucket 'no-list' failed: listing objects from bucket 'no-list' failed: told in words",
        ),
        (
            "rules",
            "bucketName: no-rules",
            "failed to get Etag for '.sourceignore' object: told in words",
        ),
        (
            "object",
            "",
            "fetch from bucket 'app' failed: failed to get 'a' object: told in words",
        ),
    ] {
        world.apply(name, spec).await?;
        let text = world.failed(name, "BucketOperationFailed").await?;
        assert_eq!(text, want, "{name}");
        world.told(name, "BucketOperationFailed", want).await?;
    }
    // a wrong key: a HEAD has no body to say more
    let wrong = "insecure: true, region: us-east-1, secretRef: {name: wrong}";
    world.apply_as("wrong", &world.front.host(), wrong).await?;
    let text = world.failed("wrong", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'app' bucket: Access Denied."
    );
    Ok(())
}

// SC-BKT-029, SC-BKT-068
#[tokio::test]
async fn a_store_that_does_not_answer_is_left_in_time() -> Result {
    let front = Front::alone().answering(|request| {
        Some(match request.target.as_str() {
            "/app/" => Answer::new(200, ""),
            "/app/.sourceignore" => Answer::new(404, ""),
            "/app/a" => Answer::Never,
            _ if request.target.starts_with("/app/?") => Answer::new(
                200,
                "<ListBucketResult><Contents><Key>a</Key><ETag>1</ETag></Contents></ListBucketResult>",
            ),
            _ => Answer::Never,
        })
    });
    let world = World::start("bucket-hang", front).await?;
    world.apply("app", "timeout: 1s").await?;
    world.apply("hang", "timeout: 1s, bucketName: hang").await?;
    for (name, want) in [
        (
            "app",
            "fetch from bucket 'app' failed: failed to get 'a' object: context deadline exceeded",
        ),
        (
            "hang",
            "failed to confirm existence of 'hang' bucket: context deadline exceeded",
        ),
    ] {
        assert_eq!(world.failed(name, "BucketOperationFailed").await?, want);
    }
    Ok(())
}

#[tokio::test]
async fn a_failure_keeps_the_artifact_until_the_recovery() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let down = Arc::new(AtomicUsize::new(0));
    let switch = down.clone();
    let front = front.answering(move |_| {
        let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        (switch.load(Ordering::SeqCst) == 1).then(|| Answer::new(403, body))
    });
    let world = World::start("bucket-recover", front).await?;
    world.apply("app", "").await?;
    let before = world.ready("app").await?;
    down.store(1, Ordering::SeqCst);
    world.namespace.request_reconcile(BUCKET, "app").await?;
    let failed = |object: &Value| is_ready(object, "False");
    let object = world
        .namespace
        .wait(BUCKET, "app", "has failed", failed)
        .await?;
    assert_eq!(object["status"]["artifact"], before["status"]["artifact"]);
    assert_eq!(
        message(&object, "FetchFailed"),
        "failed to confirm existence of 'app' bucket: Access Denied."
    );
    ensure!(
        condition(&object, "ArtifactInStorage").is_some(),
        "{object}"
    );
    down.store(0, Ordering::SeqCst);
    let object = world.ready("app").await?;
    ensure!(condition(&object, "FetchFailed").is_none(), "{object}");
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    // SC-PROC-085, SC-PROC-086
    let recovered = "stored artifact with 1 fetched files from 'app' bucket";
    world.told("app", "Succeeded", recovered).await?;
    Ok(())
}
