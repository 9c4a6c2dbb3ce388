//! Buckets of Azure Blob Storage, by Azurite.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use git_servers::Authority;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use object_stores::{Answer, Azurite, Front};
use serde_json::json;

use crate::world::{World, files, revision};

/// The endpoint of the account, whose name is the first part of the address.
fn endpoint(front: &Front) -> String {
    format!("{}/{}", front.url(), Azurite::ACCOUNT)
}

// SC-BKT-065, SC-BKT-069, SC-AUTH-065
#[tokio::test]
async fn a_container_is_published_by_the_key_of_the_account() -> Result {
    let Some(store) = Azurite::start() else {
        return Ok(());
    };
    store.make_container("app").await;
    store.put("app", "a%20b/one.txt", "one").await;
    store.put("app", "two.txt", "two").await;
    store.put("app", ".sourceignore", "*.md\n").await;
    store.put("app", "three.md", "three").await;
    let world = World::start("bucket-azure", Front::to(store.address())).await?;
    world
        .secret("azure", &[("accountKey", Azurite::KEY)])
        .await?;
    let spec = "provider: azure, secretRef: {name: azure}";
    world.apply_as("app", &endpoint(&world.front), spec).await?;
    let object = world.ready("app").await?;
    let rules = (".sourceignore", "*.md\n");
    let want = files(&[rules, ("a b/one.txt", "one"), ("two.txt", "two")]);
    assert_eq!(world.files(&object).await?, want);
    // SC-BKT-038: the ETags are those of downloads, quotes included, so the next list is the same
    world.front.clear_requests();
    let same = world.reconcile("app").await?;
    assert_eq!(same["status"]["artifact"], object["status"]["artifact"]);
    let asked = world.front.asked();
    ensure!(
        !asked.iter().any(|asked| asked.contains(".txt")),
        "{asked:?}"
    );

    store.put("app", "two.txt", "changed").await;
    store.delete("app", "a%20b/one.txt").await;
    world.front.clear_requests();
    let object = world.reconcile("app").await?;
    let want = files(&[rules, ("two.txt", "changed")]);
    assert_eq!(world.files(&object).await?, want);
    ensure!(revision(&object) != revision(&same), "{object}");

    // a container that does not exist, and a key that is not the account's
    let missing = format!("{spec}, bucketName: absent");
    world
        .apply_as("missing", &endpoint(&world.front), &missing)
        .await?;
    let text = world.failed("missing", "BucketOperationFailed").await?;
    assert_eq!(text, "bucket 'absent' not found");
    world.secret("wrong", &[("accountKey", "S3CRET+/")]).await?;
    let wrong = "provider: azure, secretRef: {name: wrong}";
    world
        .apply_as("wrong", &endpoint(&world.front), wrong)
        .await?;
    let text = world.failed("wrong", "BucketOperationFailed").await?;
    ensure!(
        text.starts_with("failed to confirm existence of 'app' bucket: ")
            && text.contains("RESPONSE 403"),
        "{text}"
    );
    Ok(())
}

// SC-AUTH-065, SC-BKT-028, FR-H-097
#[tokio::test]
async fn a_sas_token_is_in_each_request_and_in_no_message() -> Result {
    let Some(store) = Azurite::start() else {
        return Ok(());
    };
    store.make_container("app").await;
    store.put("app", "one.txt", "one").await;
    let front = Front::to(store.address()).answering(|request| {
        let body = "<Error><Code>AuthenticationFailed</Code><Message>no</Message></Error>";
        let is_real = request.target.starts_with("/127/real?");
        is_real.then(|| Answer::new(403, body))
    });
    let world = World::start("bucket-sas", front).await?;
    let sas = Azurite::sas("app");
    world.secret("sas", &[("sasKey", &sas)]).await?;
    let spec = "provider: azure, secretRef: {name: sas}";
    world.apply_as("app", &endpoint(&world.front), spec).await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("one.txt", "one")]));
    for request in world.front.requests() {
        ensure!(request.target.contains("sig="), "{}", request.target);
        assert_eq!(request.header("authorization"), "");
    }
    // SC-BKT-065: the token of one container opens no other
    let other = format!("{spec}, bucketName: other");
    world
        .apply_as("other", &endpoint(&world.front), &other)
        .await?;
    let text = world.failed("other", "BucketOperationFailed").await?;
    let want =
        "failed to confirm existence of 'other' bucket: GET http://HOST/127/other: RESPONSE 403: ";
    ensure!(text.starts_with(want), "{text}");
    ensure!(!text.contains("sig="), "{text}");
    // Azurite has another code for it than Azure
    let real = format!("{spec}, bucketName: real");
    world
        .apply_as("real", &endpoint(&world.front), &real)
        .await?;
    let text = world.failed("real", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'real' bucket: the specified bucket name may be incorrect, nonexistent, or the caller might lack sufficient permissions to access it: GET http://HOST/127/real: RESPONSE 403: 403 no: ERROR CODE: AuthenticationFailed"
    );
    Ok(())
}

// SC-AUTH-065: Entra ID is not to be had for tests, so this service checks each request itself
#[tokio::test]
async fn a_service_principal_gets_a_token() -> Result {
    let authority = Authority::new();
    let pair = authority.issue(&["127.0.0.1"]);
    let folder = tempfile_folder()?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map(|()| path.to_string_lossy().into_owned())
    };
    let (certificate, key) = (
        write("tls.crt", &pair.certificate)?,
        write("tls.key", &pair.key)?,
    );
    let roots = write("ca.crt", &authority.pem())?;
    let Some(store) = Azurite::start_with_tokens(&certificate, &key) else {
        return Ok(());
    };
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant-1/",
        "nbf": 0, "iat": 0, "exp": 4_000_000_000_u64,
    });
    let token = format!(
        "{}.{}.c2ln",
        encode(json!({"alg": "RS256", "typ": "JWT"})),
        encode(claims)
    );
    let entra = Front::alone()
        .tls(&authority, &[])
        .answering(move |request| {
            let form = "client_id=client-1&grant_type=client_credentials&scope=https%3A%2F%2Fstorage.azure.com%2F.default&client_secret=s3cret";
            let is_right = request.method == "POST"
                && request.target == "/tenant-1/oauth2/v2.0/token"
                && request.header("content-type") == "application/x-www-form-urlencoded"
                && request.body == form;
            let body = if is_right {
                json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
            } else {
                json!({"error": "invalid_client", "error_description": "who is this"})
            };
            Some(Answer::new(if is_right { 200 } else { 401 }, body.to_string()))
        })
        .start();
    let settings = Settings::default().env("SSL_CERT_FILE", roots);
    let world = World::start_with("bucket-entra", Front::alone().start(), settings).await?;
    let principal = |secret: &'static str| {
        [
            ("tenantId", "tenant-1".to_owned()),
            ("clientId", "client-1".to_owned()),
            ("clientSecret", secret.to_owned()),
            ("authorityHost", entra.url()),
        ]
    };
    for (name, secret) in [("right", "s3cret"), ("wrong", "S3CRET")] {
        let data = principal(secret);
        let data: Vec<_> = data
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        world.secret(name, &data).await?;
    }
    let endpoint = format!("https://{}/{}", store.address(), Azurite::ACCOUNT);
    // the token opens the account; Azurite has no container for it yet
    let spec = "provider: azure, secretRef: {name: right}";
    world.apply_as("app", &endpoint, spec).await?;
    let text = world.failed("app", "BucketOperationFailed").await?;
    assert_eq!(text, "bucket 'app' not found");
    let spec = "provider: azure, secretRef: {name: wrong}";
    world.apply_as("wrong", &endpoint, spec).await?;
    let text = world.failed("wrong", "BucketOperationFailed").await?;
    ensure!(
        text.starts_with("failed to confirm existence of 'app' bucket: ClientSecretCredential authentication failed: "),
        "{text}"
    );
    ensure!(!text.contains("S3CRET"), "{text}");
    // tokens are not sent without TLS
    let plain = endpoint.replace("https:", "http:");
    world
        .apply_as("plain", &plain, "provider: azure, secretRef: {name: right}")
        .await?;
    let text = world.failed("plain", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'app' bucket: authenticated requests are not permitted for non TLS protected (https) endpoints"
    );
    Ok(())
}

fn tempfile_folder() -> Result<std::path::PathBuf> {
    let folder = kind_tests::cache::folder()?.join("object-stores-tls");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
