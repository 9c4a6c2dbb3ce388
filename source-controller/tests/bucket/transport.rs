//! Certificates and proxies.

use git_servers::{Authority, Tinyproxy};
use kind_tests::{Result, ensure};
use object_stores::Front;

use crate::world::{World, files, seaweed};

// SC-BKT-060, SC-BKT-063
#[tokio::test]
async fn https_with_an_own_authority_and_a_client_certificate() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let (authority, clients) = (Authority::new(), Authority::new());
    let front = front.tls(&authority, &[]).client_certificates(&clients);
    let world = World::start("bucket-tls", front).await?;
    let pair = clients.issue(&["flux"]);
    world
        .secret(
            "certs",
            &[
                ("ca.crt", &authority.pem()),
                ("tls.crt", &pair.certificate),
                ("tls.key", &pair.key),
            ],
        )
        .await?;
    world.secret("ca", &[("ca.crt", &authority.pem())]).await?;
    let host = world.front.host();
    let own = "region: us-east-1, secretRef: {name: keys}";
    world
        .apply_as(
            "app",
            &host,
            &format!("{own}, certSecretRef: {{name: certs}}"),
        )
        .await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    for request in world.front.requests() {
        assert_eq!(request.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    }

    world
        .apply_as(
            "no-pair",
            &host,
            &format!("{own}, certSecretRef: {{name: ca}}"),
        )
        .await?;
    let text = world.failed("no-pair", "BucketOperationFailed").await?;
    ensure!(
        text.starts_with("failed to confirm existence of 'app' bucket: Head \"https://HOST/app/\": remote error: tls: "),
        "{text}"
    );
    world.apply_as("no-ca", &host, own).await?;
    let text = world.failed("no-ca", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'app' bucket: Head \"https://HOST/app/\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    Ok(())
}

// SC-BKT-066
#[tokio::test]
async fn requests_leave_through_the_proxy() -> Result {
    let Some((store, front)) = seaweed().await else {
        return Ok(());
    };
    store.put("app", "a", "one").await;
    let Some(tinyproxy) = Tinyproxy::start() else {
        println!("skipped: tinyproxy is not installed");
        return Ok(());
    };
    let proxy = git_servers::Proxy::http(None);
    let world = World::start("bucket-proxy", front).await?;
    world
        .secret("proxy", &[("address", &tinyproxy.url())])
        .await?;
    world.secret("named", &[("address", &proxy.url())]).await?;
    world.apply("app", "proxySecretRef: {name: proxy}").await?;
    let object = world.ready("app").await?;
    assert_eq!(world.files(&object).await?, files(&[("a", "one")]));
    ensure!(
        world
            .front
            .requests()
            .iter()
            .all(|request| !request.header("via").is_empty()),
        "{:?}",
        world.front.requests()
    );

    // a name that only the proxy knows
    proxy.resolve("store.internal:80", world.front.address());
    let spec =
        "insecure: true, region: us-east-1, secretRef: {name: keys}, proxySecretRef: {name: named}";
    world.apply_as("named", "store.internal", spec).await?;
    world.ready("named").await?;
    ensure!(
        proxy
            .destinations()
            .iter()
            .all(|to| to == "store.internal:80"),
        "{:?}",
        proxy.destinations()
    );
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_down_is_told() -> Result {
    let world = World::start("bucket-down", Front::alone()).await?;
    let spec = "insecure: true, region: us-east-1";
    world.apply_as("app", "127.0.0.1:1", spec).await?;
    let text = world.failed("app", "BucketOperationFailed").await?;
    assert_eq!(
        text,
        "failed to confirm existence of 'app' bucket: Head \"http://127.0.0.1:1/app/\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    Ok(())
}
