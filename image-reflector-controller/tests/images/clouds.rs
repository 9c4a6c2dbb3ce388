//! Registries of clouds, and those that take the tokens of ServiceAccounts.

use clouds::ECR_PASSWORD;
use git_servers::Proxy;
use kind_tests::{IMAGE_REPOSITORY, Result, ensure};
use registries::{Registry, RegistryBuilder};
use serde_json::json;

use crate::cloud_settings::{
    AWS_ROLE, CloudSettings, ROLE, STS, account, proxy, reviewed, subject,
};
use crate::world::World;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GAR: &str = "europe-docker.pkg.dev";
const ACR: &str = "app.azurecr.io";
const SEMVER: &str = "digestReflectionPolicy: Always, interval: 1h, policy: {semver: {range: '*'}}";

/// A registry with a certificate for this host, which the clouds' proxy leads to.
fn registry(cloud: &CloudSettings, host: &str, builder: RegistryBuilder) -> Registry {
    let pair = cloud.clouds.authority().issue(&[host, "127.0.0.1"]);
    let registry = builder.tls_pair(&pair).start();
    let proxy: &Proxy = cloud.clouds.proxy();
    proxy.resolve(&format!("{host}:443"), registry.address());
    registry
}

// IR-AUTH-023, IR-AUTH-026, IR-REPO-047: no gate is needed
#[tokio::test]
async fn ecr_is_read_with_the_role_of_the_account() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("AWS", ECR_PASSWORD);
    let registry = registry(&cloud, ECR, builder);
    let world = World::start_with("img-aws", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    world.push(&["1.0.0"]);
    clouds.trust(ROLE, "sts.amazonaws.com", &subject(namespace, "puller"));
    account(namespace, "puller", json!({AWS_ROLE: ROLE})).await?;
    proxy(namespace, clouds).await?;
    let image = format!("{ECR}/org/app");
    // IR-AUTH-020: pull secrets do not count, not even one that is missing
    let spec = "provider: aws, serviceAccountName: puller, proxySecretRef: {name: proxy}, secretRef: {name: absent}";
    world.apply_image("app", &image, spec).await?;
    world.policy("policy", "app", SEMVER).await?;
    world.scanned("app").await?;
    // IR-POL-046
    let object = world.selected("policy", "1.0.0").await?;
    ensure!(
        object["status"]["latestRef"]["digest"].is_string(),
        "{object}"
    );
    let api = "api.ecr.eu-west-1.amazonaws.com";
    // IR-AUTH-031: the proxy of the object leads to both
    for host in [STS, api] {
        let destinations = clouds.proxy().destinations();
        let target = format!("{host}:443");
        ensure!(destinations.contains(&target), "{destinations:?}");
    }
    // IR-AUTH-032: one login serves both objects
    assert_eq!((clouds.to(STS).len(), clouds.to(api).len()), (1, 1));
    // IR-PROC-041, IR-POL-105, IR-PROC-042
    let metrics = world.controller.metrics().await?;
    for (event, kind, name) in [
        ("cache_miss", "ImageRepository", "app"),
        ("cache_hit", "ImagePolicy", "policy"),
    ] {
        let series = format!(
            "gotk_token_cache_events_total{{event_type=\"{event}\",kind=\"{kind}\",name=\"{name}\",namespace=\"{}\",operation=\"reconcile\"}}",
            namespace.name()
        );
        ensure!(metrics.contains(&series), "{series} is not in\n{metrics}");
    }
    Ok(())
}

// IR-AUTH-027, IR-AUTH-028
#[tokio::test]
async fn acr_exchanges_the_token_of_the_account() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let until = jiff::Timestamp::now().as_second() + 3600;
    let password = clouds::token(&json!({"exp": until}));
    let exchanged = json!({"refresh_token": password}).to_string();
    let builder = Registry::builder()
        .basic_auth("00000000-0000-0000-0000-000000000000", &password)
        .answer(1, "POST", "/oauth2/exchange", 200, &exchanged);
    let registry = registry(&cloud, ACR, builder);
    let world = World::start_with("img-azure", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    world.push(&["1.0.0"]);
    let puller = subject(namespace, "puller");
    clouds.trust("client-1", "api://AzureADTokenExchange", &puller);
    let annotations = json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "client-1"});
    account(namespace, "puller", annotations).await?;
    proxy(namespace, clouds).await?;
    let spec = "provider: azure, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world
        .apply_image("app", &format!("{ACR}/org/app"), spec)
        .await?;
    world.scanned("app").await?;
    Ok(())
}

// IR-AUTH-022, IR-AUTH-029, IR-AUTH-024: the controller's own identity, and that of the default account
#[tokio::test]
async fn without_an_account_the_controllers_identity_is_used() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("oauth2accesstoken", "google-node-1");
    let registry = registry(&cloud, GAR, builder);
    let settings = cloud
        .settings()
        .env("GCE_METADATA_HOST", clouds.metadata())
        .env("HTTPS_PROXY", clouds.proxy().url());
    let world = World::start_with("img-gcp-own", settings.clone(), registry).await?;
    world.push(&["1.0.0"]);
    let image = format!("{GAR}/org/app");
    world.apply_image("app", &image, "provider: gcp").await?;
    world.scanned("app").await?;
    // IR-PROC-033
    assert_eq!(clouds.requests().len(), 1);

    // IR-AUTH-021, IR-AUTH-025: a host that is not one of the provider fails where the registry would be asked
    for (provider, expected) in [
        (
            "gcp",
            r"scan failed: invalid GCP registry: 'HOST'. must match ^(((.+\.)?gcr\.io)|(.+-docker\.pkg\.dev)|(docker\.s3nsregistry\.fr))$",
        ),
        (
            "aws",
            "scan failed: invalid AWS registry: 'HOST'. must match ",
        ),
    ] {
        world
            .apply(provider, &format!("provider: {provider}"))
            .await?;
        let text = world.failed(provider, "ReadOperationFailed").await?;
        ensure!(text.starts_with(expected), "{text}");
    }

    // IR-PROC-029, IR-AUTH-024, RT-WID-003
    let locked = settings.flag("--default-service-account=missing");
    let second = World::start_with("img-lockdown", locked, Registry::start()).await?;
    second.apply_image("app", &image, "provider: gcp").await?;
    let text = second.failed("app", "ReadOperationFailed").await?;
    let name = format!("{}/missing", second.namespace.name());
    let expected = format!(
        "scan failed: failed to get access token for artifact registry: failed to get service account '{name}': the specified default service account does not exist in the object namespace."
    );
    ensure!(text.starts_with(&expected), "{text}");
    ensure!(
        text.contains("multi-tenant workload identity lockdown"),
        "{text}"
    );
    Ok(())
}

// IR-AUTH-042
#[tokio::test]
async fn an_annotated_account_is_itself_the_login() -> Result {
    let cloud = CloudSettings::start()?;
    let registry = Registry::builder().token_auth("nobody", "nothing").start();
    let world = World::start_with("img-generic", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    world.push(&["1.0.0"]);
    let host = world.registry.host();
    let annotations = json!({"credential.auth.fluxcd.io/provider": "kubernetes"});
    account(namespace, "puller", annotations).await?;
    world.apply("app", "serviceAccountName: puller").await?;
    world.failed("app", "ReadOperationFailed").await?;
    let requests = world.registry.requests();
    let sent = requests
        .into_iter()
        .rev()
        .find_map(|made| made.authorization);
    let sent = sent.unwrap_or_default();
    let token = sent.strip_prefix("Bearer ").unwrap_or_default();
    let user = reviewed(namespace, token, Some(&host)).await?;
    assert_eq!(user, Some(subject(namespace, "puller")));
    world.registry.grant(token, "repository:org/app:pull");
    namespace.request_reconcile(IMAGE_REPOSITORY, "app").await?;
    world.scanned("app").await?;
    Ok(())
}

// IR-AUTH-030
#[tokio::test]
async fn google_is_asked_as_the_provider_of_the_account() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("oauth2accesstoken", "google-direct-1");
    let registry = registry(&cloud, GAR, builder);
    let world = World::start_with("img-gcp", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    world.push(&["1.0.0"]);
    proxy(namespace, clouds).await?;
    let provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
    let audience = format!("//iam.googleapis.com/{provider}");
    clouds.trust(&audience, &audience, &subject(namespace, "puller"));
    let annotations = json!({"gcp.auth.fluxcd.io/workload-identity-provider": provider});
    account(namespace, "puller", annotations).await?;
    let spec = "provider: gcp, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world
        .apply_image("app", &format!("{GAR}/org/app"), spec)
        .await?;
    world.scanned("app").await?;
    let exchanged = clouds.to("sts.googleapis.com");
    assert_eq!(exchanged[0].field("audience"), audience);
    Ok(())
}
