//! Providers that act as a ServiceAccount at a cloud, whose token services check each request.

use clouds::Clouds;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::World;

const SOURCES: &str = "eventSources: [{kind: Kustomization, name: '*'}]";
const POOL: &str = "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";

/// Clouds, and a controller that trusts their authority.
async fn start(topic: &str, settings: Settings) -> Result<(World, Clouds, tempfile::TempDir)> {
    let (clouds, folder) = (Clouds::start(), tempfile::TempDir::new()?);
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, clouds.authority().pem())?;
    let settings = settings.env("SSL_CERT_FILE", authority.to_string_lossy());
    let world = World::start_with(topic, settings).await?;
    let address = format!("address: '{}'", clouds.proxy().url());
    world.secret("proxy", &address).await?;
    Ok((world, clouds, folder))
}

impl World {
    async fn robot(&self, annotations: Value) -> Result {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "robot", "annotations": annotations}});
        self.namespace.apply(&account.to_string()).await?;
        Ok(())
    }

    /// A Provider that acts as `robot`, and an Alert for it.
    async fn acting(&self, name: &str, spec: &str) -> Result {
        let spec = format!("{spec}, serviceAccountName: robot, proxySecretRef: {{name: proxy}}");
        self.apply("Provider", name, &spec).await?;
        let spec = format!("providerRef: {{name: {name}}}, {SOURCES}");
        self.apply("Alert", name, &spec).await
    }

    /// An event that sets commit statuses, too.
    fn failure(&self) -> Value {
        let mut event = self.event("failing");
        event["severity"] = json!("error");
        let revision = format!("main@sha1:{}", "7".repeat(40));
        event["metadata"] = json!({"kustomize.toolkit.fluxcd.io/revision": revision});
        event
    }
}

#[tokio::test]
async fn azure_and_google_give_tokens_for_a_service_account() -> Result {
    let (world, clouds, _folder) = start("notify-clouds", Settings::default()).await?;
    let subject = format!("system:serviceaccount:{}:robot", world.namespace.name());
    let audience = format!("//iam.googleapis.com/{POOL}");
    clouds.trust("client-1", "api://AzureADTokenExchange", &subject);
    clouds.trust(&audience, &audience, &subject);
    world
        .robot(json!({
            "azure.workload.identity/tenant-id": "tenant-1",
            "azure.workload.identity/client-id": "client-1",
            "gcp.auth.fluxcd.io/workload-identity-provider": POOL,
            "iam.gke.io/gcp-service-account": "flux@project-1.iam.gserviceaccount.com",
        }))
        .await?;
    for (name, spec, host) in [
        (
            "devops",
            "type: azuredevops, address: 'https://dev.azure.com/org/proj/_git/repo'",
            "login.microsoftonline.com",
        ),
        (
            "hub",
            "type: azureeventhub, address: hub, channel: ns",
            "login.microsoftonline.com",
        ),
        (
            "topic",
            "type: googlepubsub, address: project, channel: topic",
            "sts.googleapis.com",
        ),
    ] {
        clouds.clear_requests();
        world.acting(name, spec).await?;
        // What it is for cannot be reached, which is told once the token is there.
        let words = "failed to send notification for ";
        world
            .told(name, "NotificationDispatchFailed", words, &world.failure())
            .await?;
        // NC-PROV-066: however many events there were
        let asked = clouds.to(host);
        ensure!(asked.len() == 1, "{name}: {}", asked.len());
        // NC-PROV-062, NC-PROV-064, NC-PROV-065
        if name == "topic" {
            let claims = clouds::claims(&asked[0].field("subject_token"));
            ensure!(
                claims["sub"] == subject && claims["aud"] == json!([audience]),
                "{claims}"
            );
            ensure!(
                clouds.to("iamcredentials.googleapis.com").len() == 1,
                "{name}"
            );
        } else {
            let scope = if name == "hub" {
                "https://eventhubs.azure.net//.default"
            } else {
                "499b84ac-1321-427f-aa17-267ca6975798/.default"
            };
            ensure!(
                asked[0].field("scope") == scope,
                "{name}: {}",
                asked[0].body
            );
            let claims = clouds::claims(&asked[0].field("client_assertion"));
            ensure!(claims["sub"] == subject, "{claims}");
        }
    }
    // NC-PROV-065: annotations have a form
    world
        .robot(json!({"gcp.auth.fluxcd.io/workload-identity-provider": "nonsense"}))
        .await?;
    world
        .acting("odd", "type: googlepubsub, address: other, channel: topic")
        .await?;
    let words = "invalid gcp.auth.fluxcd.io/workload-identity-provider annotation";
    world
        .told("odd", "NotificationDispatchFailed", words, &world.failure())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_default_account_is_a_lockdown() -> Result {
    let settings = Settings::default().flag("--default-service-account=absent");
    let (world, _clouds, _folder) = start("notify-lockdown", settings).await?;
    let spec = "type: azuredevops, address: 'https://dev.azure.com/org/proj/_git/repo'";
    world.apply("Provider", "devops", spec).await?;
    let spec = format!("providerRef: {{name: devops}}, {SOURCES}");
    world.apply("Alert", "devops", &spec).await?;
    // NC-PROV-063, NC-PROC-018
    let words = "multi-tenant workload identity lockdown";
    world
        .told(
            "devops",
            "NotificationDispatchFailed",
            words,
            &world.failure(),
        )
        .await?;
    Ok(())
}
