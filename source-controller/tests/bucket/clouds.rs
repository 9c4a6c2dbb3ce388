//! Buckets that are read with cloud identities: of the environment of the controller, and of the ServiceAccount of the object.

use std::path::PathBuf;

use git_servers::Pair;
use kind_tests::{BUCKET, Namespace, Result, cache, ensure};
use object_stores::{Answer, Azurite, FakeGoogle, Front};
use serde_json::json;

use crate::cloud_settings::{
    AWS_ROLE, CloudSettings, ROLE, STS, account, proxy, reviewed, subject,
};
use crate::world::{World, files};

const ENTRA: &str = "login.microsoftonline.com";

/// Writes a certificate and its key to files that Azurite can read.
fn write(pair: &Pair, name: &str) -> Result<[String; 2]> {
    let folder = cache::folder()?.join("object-stores-tls");
    std::fs::create_dir_all(&folder)?;
    let write = |file: String, text: &str| -> Result<String> {
        let path: PathBuf = folder.join(file);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    Ok([
        write(format!("{name}.crt"), &pair.certificate)?,
        write(format!("{name}.key"), &pair.key)?,
    ])
}

/// An Azurite that takes tokens of Entra ID, with a container; `None` if it is not installed.
async fn azurite(cloud: &CloudSettings, name: &str) -> Result<Option<Azurite>> {
    let pair = cloud.clouds.authority().issue(&["127.0.0.1"]);
    let [certificate, key] = write(&pair, name)?;
    let Some(store) = Azurite::start_with_tokens(&certificate, &key) else {
        return Ok(None);
    };
    store.make_container("app").await;
    store.put("app", "one.txt", "one").await;
    Ok(Some(store))
}

fn endpoint(store: &Azurite) -> String {
    format!("https://{}/{}", store.address(), Azurite::ACCOUNT)
}

// SC-AUTH-067, SC-BKT-065; RT-ENV-009: a service principal in the environment comes before everything else
#[tokio::test]
async fn azure_uses_the_principal_of_the_environment() -> Result {
    let cloud = CloudSettings::start()?;
    let Some(store) = azurite(&cloud, "environment").await? else {
        return Ok(());
    };
    let settings = cloud
        .settings()
        .env("HTTPS_PROXY", cloud.clouds.proxy().url())
        .env("AZURE_TENANT_ID", "tenant-1")
        .env("AZURE_CLIENT_ID", "client-1")
        .env("AZURE_CLIENT_SECRET", "secret of client-1");
    let world = World::start_with("bucket-azure-env", Front::alone().start(), settings).await?;
    world
        .apply_as("app", &endpoint(&store), "provider: azure")
        .await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("one.txt", "one")]));
    let tokens = cloud.clouds.to(ENTRA);
    ensure!(
        tokens.iter().all(
            |request| request.field("client_secret") == "secret of client-1"
                && request.field("scope") == "https://storage.azure.com/.default"
        ),
        "{tokens:?}"
    );
    Ok(())
}

// SC-AUTH-067, RT-WID-010, RT-WID-014
#[tokio::test]
async fn azure_uses_the_account_of_the_object() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let Some(store) = azurite(&cloud, "account").await? else {
        return Ok(());
    };
    let front = Front::alone().start();
    let world = World::start_with("bucket-azure-account", front, cloud.settings()).await?;
    let namespace = &world.namespace;
    let audience = "api://AzureADTokenExchange";
    clouds.trust("client-1", audience, &subject(namespace, "reader"));
    let annotations = json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "client-1"});
    account(namespace, "reader", annotations).await?;
    proxy(namespace, clouds).await?;
    let spec = "provider: azure, serviceAccountName: reader, proxySecretRef: {name: proxy}";
    world.apply_as("app", &endpoint(&store), spec).await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("one.txt", "one")]));
    let tokens = clouds.to(ENTRA);
    let assertion = tokens[0].field("client_assertion");
    let user = reviewed(namespace, &assertion, Some(audience)).await?;
    assert_eq!(user, Some(subject(namespace, "reader")));
    // SC-AUTH-070: the token is kept for the next run
    world.reconcile("app").await?;
    assert_eq!(clouds.to(ENTRA).len(), tokens.len());
    // An account that is not annotated is no identity.
    account(namespace, "reader", json!({})).await?;
    namespace.request_reconcile(BUCKET, "app").await?;
    let text = world.failed("app", "BucketOperationFailed").await?;
    ensure!(
        text.contains("azure tenant ID is not set in the service account annotation"),
        "{text}"
    );
    Ok(())
}

// SC-AUTH-064, SC-BKT-064, RT-WID-015
#[tokio::test]
async fn google_uses_the_account_of_the_object() -> Result {
    const HOST: &str = "storage.googleapis.com";
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let Some(store) = FakeGoogle::start() else {
        return Ok(());
    };
    store.make_bucket("app").await;
    store.put("app", "one.txt", "one").await;
    // The store checks no credentials, so its front does.
    let front = Front::to(store.address())
        .tls(clouds.authority(), &[HOST])
        .answering(|request| {
            let is_known = request.header("authorization") == "Bearer google-direct-1";
            (!is_known).then(|| Answer::new(401, r#"{"error":{"code":401,"message":"no"}}"#))
        })
        .start();
    clouds
        .proxy()
        .resolve(&format!("{HOST}:443"), front.address());
    let world = World::start_with("bucket-google-account", front, cloud.settings()).await?;
    let namespace: &Namespace = &world.namespace;
    let provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
    let audience = format!("//iam.googleapis.com/{provider}");
    clouds.trust(&audience, &audience, &subject(namespace, "reader"));
    let annotations = json!({"gcp.auth.fluxcd.io/workload-identity-provider": provider});
    account(namespace, "reader", annotations).await?;
    proxy(namespace, clouds).await?;
    let spec = "provider: gcp, serviceAccountName: reader, proxySecretRef: {name: proxy}";
    world.apply_as("app", HOST, spec).await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("one.txt", "one")]));
    let token = clouds.to("sts.googleapis.com")[0].field("subject_token");
    let user = reviewed(namespace, &token, Some(&audience)).await?;
    assert_eq!(user, Some(subject(namespace, "reader")));
    // SC-BKT-066: the store, too, was reached through the proxy of the object
    let destinations = clouds.proxy().destinations();
    ensure!(
        destinations.contains(&format!("{HOST}:443")),
        "{destinations:?}"
    );
    Ok(())
}

// SC-AUTH-063, RT-WID-005: no store knows the keys that a token service issues, so this one looks at them itself
#[tokio::test]
async fn aws_uses_the_account_of_the_object() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let front = Front::alone().answering(|request| {
        let header = request.header("authorization");
        let is_known = header.starts_with("AWS4-HMAC-SHA256 Credential=ASIA0000000000000001/")
            && header.contains("/eu-west-1/s3/aws4_request, ")
            && request.header("x-amz-security-token") == "session//token+1==";
        Some(match request.target.as_str() {
            _ if !is_known => Answer::new(403, "<Error><Code>AccessDenied</Code></Error>"),
            "/app/" => Answer::new(200, ""),
            "/app/.sourceignore" => Answer::new(404, ""),
            "/app/a" => Answer::With(200, vec![("etag", "\"1\"".to_owned())], "one".to_owned()),
            _ => Answer::new(
                200,
                "<ListBucketResult><Contents><Key>a</Key><ETag>\"1\"</ETag></Contents></ListBucketResult>",
            ),
        })
    });
    let world = World::start_with("bucket-aws-account", front.start(), cloud.settings()).await?;
    let namespace = &world.namespace;
    clouds.trust(ROLE, "sts.amazonaws.com", &subject(namespace, "reader"));
    account(namespace, "reader", json!({AWS_ROLE: ROLE})).await?;
    proxy(namespace, clouds).await?;
    let spec = "provider: aws, insecure: true, region: eu-west-1, serviceAccountName: reader, proxySecretRef: {name: proxy}";
    world.apply_as("app", &world.front.host(), spec).await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    let session = format!("reader.{}.eu-west-1.fluxcd.io", namespace.name());
    assert_eq!(clouds.to(STS)[0].field("RoleSessionName"), session);
    Ok(())
}
