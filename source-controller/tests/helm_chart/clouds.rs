//! Charts in the registries of clouds. A HelmRepository has no ServiceAccount of its own: the identity is the controller's, or
//! that of the default ServiceAccount.

use clouds::ECR_PASSWORD;
use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::{HELM_CHART, Namespace, Result, ensure};
use rcgen::KeyPair;
use registries::{Artifact, Registry, RegistryBuilder};
use serde_json::json;

use crate::cloud_settings::{AWS_ROLE, CloudSettings, ROLE, STS, account, subject};
use crate::signatures::{WEB, sign};
use crate::support::World;
use crate::{packed, world};

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GAR: &str = "europe-docker.pkg.dev";
const ACR: &str = "app.azurecr.io";

/// A registry with a certificate for this host, which the clouds' proxy leads to, with a chart. Returns the chart's digest, too.
fn registry(cloud: &CloudSettings, host: &str, builder: RegistryBuilder) -> (Registry, String) {
    let pair = cloud.clouds.authority().issue(&[host, "127.0.0.1"]);
    let registry = builder.tls_pair(&pair).start();
    let destination = format!("{host}:443");
    cloud
        .clouds
        .proxy()
        .resolve(&destination, registry.address());
    let digest = registry.push(WEB, "1.0.0", &Artifact::helm(packed("web", "1.0.0", &[])));
    (registry, digest)
}

/// The settings of a controller whose requests leave through the clouds' proxy.
fn settings(cloud: &CloudSettings) -> Settings {
    cloud
        .settings()
        .env("HTTPS_PROXY", cloud.clouds.proxy().url())
}

async fn start(topic: &str, settings: Settings) -> Result<World> {
    world(topic, settings, HttpGitServer::builder()).await
}

impl World {
    /// Applies a HelmRepository at a host, and a chart of it.
    async fn cloud_chart(&self, name: &str, host: &str, provider: &str, spec: &str) -> Result {
        let repository =
            format!("type: oci, url: 'oci://{host}/charts', interval: 1h, provider: {provider}");
        self.repository(name, &repository).await?;
        let spec = format!("chart: web, version: 1.0.0, {spec}");
        self.chart(name, name, &spec).await
    }
}

// SC-AUTH-044, SC-PROC-038, RT-ENV-009: the identity of the controller, from the variables of each cloud
#[tokio::test]
async fn charts_of_cloud_registries_are_pulled_by_the_controller() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    clouds.add_key("AKIACONTROLLER", "s3cret", "");
    let (aws, digest) = registry(
        &cloud,
        ECR,
        Registry::builder().basic_auth("AWS", ECR_PASSWORD),
    );
    let node = Registry::builder().basic_auth("oauth2accesstoken", "google-node-1");
    let (_google, _) = registry(&cloud, GAR, node);
    // Azure: a token in a file is exchanged at Entra ID, and what that gives at the registry.
    let until = jiff::Timestamp::now().as_second() + 3600;
    let password = clouds::token(&json!({"exp": until}));
    let exchanged = json!({"refresh_token": password}).to_string();
    let builder = Registry::builder()
        .basic_auth("00000000-0000-0000-0000-000000000000", &password)
        .answer(1, "POST", "/oauth2/exchange", 200, &exchanged);
    let (_azure, _) = registry(&cloud, ACR, builder);
    let audience = "api://AzureADTokenExchange";
    clouds.trust("client-1", audience, "controller");
    let folder = tempfile::TempDir::new()?;
    let token = folder.path().join("token");
    let federated = clouds::token(&json!({"aud": audience, "sub": "controller"}));
    std::fs::write(&token, federated)?;
    let settings = settings(&cloud)
        .env("AWS_ACCESS_KEY_ID", "AKIACONTROLLER")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret")
        .env("GCE_METADATA_HOST", clouds.metadata())
        .env("AZURE_TENANT_ID", "tenant-1")
        .env("AZURE_CLIENT_ID", "client-1")
        .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
        .env("AZURE_FEDERATED_TOKEN_FILE", token.to_string_lossy());
    let world = start("chart-clouds", settings).await?;
    for (name, host, provider) in [
        ("aws", ECR, "aws"),
        ("google", GAR, "gcp"),
        ("azure", ACR, "azure"),
    ] {
        world.cloud_chart(name, host, provider, "").await?;
        world.revision(name, "1.0.0").await?;
    }
    let api = "api.ecr.eu-west-1.amazonaws.com";
    assert_eq!(clouds.to(api).len(), 1);

    // FR-H-092: signatures are looked for with the credentials of the pull
    let key = KeyPair::generate()?;
    sign(&aws, &key, &digest);
    let keys = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"a.pub": key.public_key_pem()}});
    world.namespace.apply(&keys.to_string()).await?;
    aws.clear_requests();
    let verify = json!({"spec": {"verify": {"provider": "cosign", "secretRef": {"name": "keys"}}}});
    world.namespace.merge(HELM_CHART, "aws", verify).await?;
    world
        .condition("aws", "SourceVerified", "True", "Succeeded")
        .await?;
    let asked = aws.requests();
    ensure!(
        asked
            .iter()
            .any(|request| request.target.contains(".sig") && request.status == 200),
        "{asked:?}"
    );
    Ok(())
}

// SC-AUTH-045, RT-WID-003: unlike with upstream, whose controller would use its own identity for any tenant
#[tokio::test]
async fn the_default_account_locks_helm_repositories_down() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("AWS", ECR_PASSWORD);
    let (registry, _) = registry(&cloud, ECR, builder);
    clouds.add_key("AKIACONTROLLER", "s3cret", "");
    let settings = settings(&cloud)
        .flag("--default-service-account=tenant")
        .env("AWS_ACCESS_KEY_ID", "AKIACONTROLLER")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret");
    let world = start("chart-lockdown", settings).await?;
    let namespace: &Namespace = &world.namespace;
    world.cloud_chart("web", ECR, "aws", "").await?;
    let said = world
        .condition("web", "FetchFailed", "True", "Unknown")
        .await?;
    assert_eq!(
        said,
        format!(
            "unknown build error: failed to get credential from 'aws': failed to get access token for artifact registry: failed to get service account '{}/tenant': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help",
            namespace.name()
        )
    );
    ensure!(
        clouds.requests().is_empty() && registry.asked().is_empty(),
        "something was asked with the controller's identity"
    );
    clouds.trust(ROLE, "sts.amazonaws.com", &subject(namespace, "tenant"));
    account(namespace, "tenant", json!({AWS_ROLE: ROLE})).await?;
    namespace.request_reconcile(HELM_CHART, "web").await?;
    world.revision("web", "1.0.0").await?;
    assert_eq!(clouds.to(STS).len(), 1);
    Ok(())
}
