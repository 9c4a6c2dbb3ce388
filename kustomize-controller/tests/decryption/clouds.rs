//! Key services of clouds, with static credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git_servers::Authority;
use kind_tests::Result;
use kind_tests::controller::Settings;
use serde_json::json;

use crate::material::{file, for_service};
use crate::servers::{Server, aws, azure, gcp};
use crate::{assert_nothing_leaked, keys, start, value, with};

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[tokio::test]
async fn aws_gives_data_keys() -> Result {
    let server = Server::start(aws).await?;
    let settings = Settings::default().env("AWS_ENDPOINT_URL_KMS", server.url.clone());
    let applier = start("sops-aws", settings).await?;
    let credentials = |secret: &str| {
        let text = format!("aws_access_key_id: AKID\naws_secret_access_key: {secret}\n");
        keys("aws", &[("sops.aws-kms", &text)])
    };
    applier.namespace.apply(&credentials("secret")).await?;
    applier
        .publish("main@sha1:1", &[("secret.yaml", &file("a Secret for KMS"))])
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("aws")]);
    applier.namespace.apply(&app).await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "kms", "token").await?, "very-secret");
    // KC-SOPS-041
    let asked = server.take();
    let first = asked.first().expect("KMS was asked");
    assert_eq!(first.json()["KeyId"], ARN);
    assert!(
        first
            .header("authorization")
            .contains("/eu-west-1/kms/aws4_request")
    );

    // A changed credential is noticed at once; a refusal is shown without what was sent.
    applier.namespace.apply(&credentials("another")).await?;
    applier.run("app").await?;
    applier
        .says(
            "app",
            "BuildFailed",
            "failed to decrypt sops data key with AWS KMS:",
        )
        .await?;
    applier
        .says("app", "BuildFailed", "InvalidSignatureException")
        .await?;
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn google_cloud_gives_data_keys() -> Result {
    let server = Server::start(gcp).await?;
    let settings = Settings::default().env("SOPS_GCP_KMS_ENDPOINT", server.url.clone());
    let applier = start("sops-gcp", settings).await?;
    let output = std::process::Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ])
        .output()?;
    let pem = String::from_utf8_lossy(&output.stdout).into_owned();
    let account = json!({"type": "service_account", "client_email": "sops@p.iam.gserviceaccount.com",
        "private_key_id": "1", "private_key": pem, "token_uri": format!("{}/token", server.url)});
    let secret = keys("gcp", &[("sops.gcp-kms", &format!("\n{account}\n"))]);
    applier.namespace.apply(&secret).await?;
    let key = |resource: &str| {
        for_service(&format!(
            "    gcp_kms:\n        - resource_id: {resource}\n          created_at: '2026-01-02T03:04:05Z'\n          enc: {}\n",
            STANDARD.encode("cipher")
        ))
    };
    let resource = "projects/p/locations/global/keyRings/r/cryptoKeys/k";
    applier
        .publish("main@sha1:1", &[("secret.yaml", &key(resource))])
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("gcp")]);
    applier.namespace.apply(&app).await?;
    // KC-SOPS-043
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "kms", "token").await?, "very-secret");
    applier
        .publish(
            "main@sha1:2",
            &[(
                "secret.yaml",
                &key(&resource.replace("Keys/k", "Keys/other")),
            )],
        )
        .await?;
    applier
        .says("app", "BuildFailed", "PermissionDenied")
        .await?;
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn azure_gives_data_keys() -> Result {
    let authority = Authority::new();
    let server = Server::start_tls(azure, &authority).await?;
    let file = std::env::temp_dir().join(format!("sops-azure-{}.pem", std::process::id()));
    std::fs::write(&file, authority.pem())?;
    let settings = Settings::default().env("SSL_CERT_FILE", file.display().to_string());
    let applier = start("sops-azure", settings).await?;
    let config = json!({"tenantId": "tenant", "clientId": "client", "clientSecret": "azure-password",
        "authorityHost": server.url});
    let secret = keys("azure", &[("sops.azure-kv", &config.to_string())]);
    applier.namespace.apply(&secret).await?;
    let key = |name: &str| {
        for_service(&format!(
            "    azure_kv:\n        - vault_url: {}\n          name: {name}\n          version: \"1\"\n          created_at: '2026-01-02T03:04:05Z'\n          enc: Y2lwaGVy\n",
            server.url
        ))
    };
    applier
        .publish("main@sha1:1", &[("secret.yaml", &key("flux"))])
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("azure")]);
    applier.namespace.apply(&app).await?;
    // KC-SOPS-042
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "kms", "token").await?, "very-secret");
    // Nothing is sent before the vault has said whom the token has to be for.
    let asked = server.take();
    assert!(asked[0].body.is_empty() && asked[0].header("authorization").is_empty());
    applier
        .publish("main@sha1:2", &[("secret.yaml", &key("other"))])
        .await?;
    applier
        .says("app", "BuildFailed", "ERROR CODE: KeyNotFound")
        .await?;
    let _ = std::fs::remove_file(file);
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn an_object_acts_as_the_account_that_it_names() -> Result {
    let settings = Settings::default().flag("--default-decryption-service-account=lockdown");
    let applier = start("sops-account", settings).await?;
    let name = applier.namespace.name().to_owned();
    applier
        .publish("main@sha1:1", &[("secret.yaml", &file("a Secret for KMS"))])
        .await?;
    let app = |decryption: &str| applier.kustomization("app", &["prune: true", decryption]);
    applier
        .namespace
        .apply(&app("decryption: {provider: sops}"))
        .await?;
    // KC-SOPS-044, KC-PROC-010
    applier.says("app", "BuildFailed", "lockdown").await?;
    // KC-PROC-064
    let own = "decryption: {provider: sops, serviceAccountName: own}";
    applier.namespace.apply(&app(own)).await?;
    applier
        .says("app", "BuildFailed", "\"own\" not found")
        .await?;
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: own, annotations: {eks.amazonaws.com/role-arn: nonsense}}}";
    applier.namespace.apply(account).await?;
    applier.run("app").await?;
    // KC-SOPS-046
    applier
        .says("app", "BuildFailed", "eks.amazonaws.com/role-arn")
        .await?;
    applier
        .says("app", "BuildFailed", &format!("{name}/own"))
        .await?;
    Ok(())
}
