//! Registries of clouds, and those that take the tokens of ServiceAccounts.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use clouds::ECR_PASSWORD;
use git_servers::Proxy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kind_tests::{OCI_REPOSITORY, Result, cache, ensure};
use kube::Api;
use kube::api::DeleteParams;
use registries::{Registry, RegistryBuilder};
use serde_json::{Value, json};

use crate::cloud_settings::{
    AWS_ROLE, CloudSettings, ROLE, STS, account, proxy, reviewed, subject,
};
use crate::support::message;
use crate::world::World;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GAR: &str = "europe-docker.pkg.dev";
const ACR: &str = "app.azurecr.io";

/// A registry with a certificate for this host, which the clouds' proxy leads to.
fn registry(cloud: &CloudSettings, host: &str, builder: RegistryBuilder) -> Registry {
    let pair = cloud.clouds.authority().issue(&[host, "127.0.0.1"]);
    let registry = builder.tls_pair(&pair).start();
    let proxy: &Proxy = cloud.clouds.proxy();
    proxy.resolve(&format!("{host}:443"), registry.address());
    registry
}

// RT-WID-008, SC-AUTH-034, SC-OCI-024
#[tokio::test]
async fn ecr_is_read_with_the_role_of_the_account() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("AWS", ECR_PASSWORD);
    let registry = registry(&cloud, ECR, builder);
    let world = World::start_with("oci-aws", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    world.push("latest", &[("a", "1")]);
    clouds.trust(ROLE, "sts.amazonaws.com", &subject(namespace, "puller"));
    account(namespace, "puller", json!({AWS_ROLE: ROLE})).await?;
    proxy(namespace, clouds).await?;
    let url = format!("oci://{ECR}/org/app");
    let spec = "provider: aws, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world.apply_url("app", &url, spec).await?;
    world.ready("app").await?;
    let api = "api.ecr.eu-west-1.amazonaws.com";
    assert_eq!((clouds.to(STS).len(), clouds.to(api).len()), (1, 1));
    // SC-AUTH-070, RT-WID-022: token and login are cached
    world.reconcile("app").await?;
    assert_eq!((clouds.to(STS).len(), clouds.to(api).len()), (1, 1));

    // SC-AUTH-074: what the cloud takes back is used until the cached token ends
    clouds.distrust(ROLE);
    let object = world.reconcile("app").await?;
    ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    assert_eq!((clouds.to(STS).len(), clouds.to(api).len()), (1, 1));

    // RT-WID-032, SC-AUTH-071: another account with the same role has credentials of its own
    clouds.trust(ROLE, "sts.amazonaws.com", &subject(namespace, "twin"));
    account(namespace, "twin", json!({AWS_ROLE: ROLE})).await?;
    world
        .apply_url("twin", &url, &spec.replace("puller", "twin"))
        .await?;
    world.ready("twin").await?;
    assert_eq!((clouds.to(STS).len(), clouds.to(api).len()), (2, 2));
    Ok(())
}

// RT-WID-012, SC-AUTH-058
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
    let world = World::start_with("oci-azure", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    // The test's own pushes go past the front.
    world.push("latest", &[("a", "1")]);
    clouds.trust(
        "client-1",
        "api://AzureADTokenExchange",
        &subject(namespace, "puller"),
    );
    let annotations = json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "client-1"});
    account(namespace, "puller", annotations).await?;
    proxy(namespace, clouds).await?;
    let spec = "provider: azure, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world
        .apply_url("app", &format!("oci://{ACR}/org/app"), spec)
        .await?;
    world.ready("app").await?;
    let scope = clouds.to("login.microsoftonline.com")[0].field("scope");
    assert_eq!(scope, "https://containerregistry.azure.net/.default");
    Ok(())
}

// RT-WID-015, RT-WID-017, RT-WID-018
#[tokio::test]
async fn google_is_asked_as_the_cluster_or_as_a_provider() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("oauth2accesstoken", "google-direct-1");
    let registry = registry(&cloud, GAR, builder);
    let settings = cloud.settings().env("GCE_METADATA_HOST", clouds.metadata());
    let world = World::start_with("oci-gcp", settings, registry).await?;
    let namespace = &world.namespace;
    world.push("latest", &[("a", "1")]);
    proxy(namespace, clouds).await?;
    let puller = subject(namespace, "puller");
    let provider = "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
    let audience = format!("//iam.googleapis.com/{provider}");
    clouds.trust(&audience, &audience, &puller);
    let annotations = json!({"gcp.auth.fluxcd.io/workload-identity-provider": provider});
    account(namespace, "puller", annotations).await?;
    let url = format!("oci://{GAR}/org/app");
    let spec = "provider: gcp, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world.apply_url("app", &url, spec).await?;
    world.ready("app").await?;
    // RT-WID-015, RT-WID-001
    let token = clouds.to("sts.googleapis.com")[0].field("subject_token");
    let user = reviewed(namespace, &token, Some(&audience)).await?;
    assert_eq!(user, Some(puller.clone()));

    // RT-WID-032: without the provider the identity is another one, of the cluster that the metadata server names
    let pool = "project-1.svc.id.goog";
    let cluster = format!(
        "identitynamespace:{pool}:https://container.googleapis.com/v1/projects/project-1/locations/europe-west1/clusters/cluster-1"
    );
    clouds.trust(&cluster, pool, &puller);
    // RT-WID-017
    let annotations = json!({"gcp.auth.fluxcd.io/workload-identity-provider": "", "iam.gke.io/gcp-service-account": "flux@project-1.iam.gserviceaccount.com"});
    account(namespace, "puller", annotations).await?;
    world.reconcile("app").await?;
    let exchanges = clouds.to("sts.googleapis.com");
    assert_eq!(exchanges.len(), 2);
    assert_eq!(exchanges[1].field("audience"), cluster);
    assert_eq!(clouds.to("iamcredentials.googleapis.com").len(), 1);
    // RT-WID-019: the metadata server was asked past the proxy
    let destinations = clouds.proxy().destinations();
    ensure!(
        !destinations.contains(&clouds.metadata()),
        "{destinations:?}"
    );
    Ok(())
}

// SC-AUTH-050, SC-PROC-038: the controller's own identity, of the metadata server, through no proxy
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
    let world = World::start_with("oci-gcp-own", settings, registry).await?;
    world.push("latest", &[("a", "1")]);
    world
        .apply_url("app", &format!("oci://{GAR}/org/app"), "provider: gcp")
        .await?;
    world.ready("app").await?;
    assert_eq!(clouds.requests().len(), 1);
    Ok(())
}

// RT-WID-031, RT-WID-004, SC-AUTH-034
#[tokio::test]
async fn an_annotated_account_is_itself_the_login() -> Result {
    let cloud = CloudSettings::start()?;
    let registry = Registry::builder().token_auth("nobody", "nothing").start();
    let world = World::start_with("oci-generic", cloud.settings(), registry).await?;
    let namespace = &world.namespace;
    world.push("latest", &[("a", "1")]);
    let host = world.registry.host();
    let spec = "provider: generic, serviceAccountName: puller";
    let sent = || {
        let requests = world.registry.requests();
        let headers = requests.into_iter().filter_map(|made| made.authorization);
        headers.collect::<Vec<_>>().pop().unwrap_or_default()
    };
    // Without the annotation there is no login.
    account(namespace, "puller", json!({})).await?;
    world.apply("app", spec).await?;
    world
        .condition("app", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    assert_eq!(sent(), "");

    let annotations = json!({"credential.auth.fluxcd.io/provider": "kubernetes"});
    account(namespace, "puller", annotations).await?;
    world.reconcile("app").await?;
    let token = sent()
        .strip_prefix("Bearer ")
        .unwrap_or_default()
        .to_owned();
    let user = reviewed(namespace, &token, Some(&host)).await?;
    assert_eq!(user, Some(subject(namespace, "puller")));
    world.registry.grant(&token, "repository:org/app:pull");
    namespace.request_reconcile(OCI_REPOSITORY, "app").await?;
    world.ready("app").await?;

    // RT-WID-030: never the cluster's own API server
    let local = namespace_audience(namespace).await?;
    let annotations = json!({"credential.auth.fluxcd.io/provider": "kubernetes", "credential.auth.fluxcd.io/audiences": format!("other,{local}")});
    account(namespace, "puller", annotations).await?;
    let object = world.reconcile("app").await?;
    assert_eq!(
        message(&object, "FetchFailed"),
        format!(
            "failed to determine artifact digest: failed to get access token for artifact registry: audience '{local}' is not allowed as it is intended for the local kubernetes cluster"
        )
    );

    // RT-WID-032: a user makes it another login
    world.registry.clear_requests();
    let annotations = json!({"credential.auth.fluxcd.io/provider": "kubernetes", "credential.auth.fluxcd.io/username": "flux"});
    account(namespace, "puller", annotations).await?;
    let object = world.reconcile("app").await?;
    ensure!(
        !message(&object, "FetchFailed").contains(&token),
        "{object}"
    );
    let asked = world.registry.requests();
    ensure!(
        asked
            .iter()
            .all(|made| made.authorization.as_deref() != Some(&*format!("Bearer {token}"))),
        "{asked:?}"
    );
    Ok(())
}

/// An audience of the API server itself.
async fn namespace_audience(namespace: &kind_tests::Namespace) -> Result<String> {
    use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
    use k8s_openapi::api::core::v1::ServiceAccount;
    let accounts = flux_objects::Objects::<ServiceAccount>::in_namespace(
        namespace.client().clone(),
        namespace.name(),
    )?;
    let request = TokenRequest {
        spec: Some(TokenRequestSpec::default()),
        ..TokenRequest::default()
    };
    let issued: Value = accounts
        .create_subresource("token", "puller", &request)
        .await?;
    let token = issued["status"]["token"].as_str().unwrap_or_default();
    let audience = &clouds::claims(token)["aud"][0];
    Ok(audience.as_str().unwrap_or_default().to_owned())
}

/// Grants the user the rules of source-controller's manifest that `keep` keeps, under names of the namespace.
async fn grant(
    namespace: &kind_tests::Namespace,
    user: &str,
    keep: impl Fn(&Value) -> bool,
) -> Result {
    let manifest = cache::workspace().join("manifests/rbac/source-controller.yaml");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(manifest)?)?;
    for mut object in objects {
        object["metadata"]["name"] = json!(namespace.name());
        if object["kind"] == "ClusterRole"
            && let Some(rules) = object["rules"].as_array_mut()
        {
            rules.retain(&keep);
        }
        if object.get("roleRef").is_some() {
            object["roleRef"]["name"] = json!(namespace.name());
            object["subjects"] =
                json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]);
        }
        namespace.apply(&object.to_string()).await?;
    }
    Ok(())
}

// RT-WID-028, SC-AUTH-051
#[tokio::test]
async fn without_the_right_to_create_tokens_nothing_falls_back() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let builder = Registry::builder().basic_auth("AWS", ECR_PASSWORD);
    let registry = registry(&cloud, ECR, builder);
    let cluster = kind_tests::Cluster::shared().await?;
    let user = format!("tokens.{}", std::process::id());
    let Some(kubeconfig) = cluster.kubeconfig_without_rights(&user)? else {
        println!("skipped: no users can be made in this cluster");
        return Ok(());
    };
    let settings = cloud
        .settings()
        .env("KUBECONFIG", kubeconfig.to_string_lossy())
        .env("AWS_ACCESS_KEY_ID", "AKIACONTROLLER")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret");
    let namespace = kind_tests::Namespace::create(&cluster, "oci-tokens").await?;
    grant(&namespace, &user, |rule| {
        rule["resources"][0] != "serviceaccounts/token"
    })
    .await?;
    let world = World::start_in(namespace, settings, registry).await?;
    let namespace = &world.namespace;
    world.push("latest", &[("a", "1")]);
    clouds.trust(ROLE, "sts.amazonaws.com", &subject(namespace, "puller"));
    account(namespace, "puller", json!({AWS_ROLE: ROLE})).await?;
    proxy(namespace, clouds).await?;
    let spec = "provider: aws, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world
        .apply_url("app", &format!("oci://{ECR}/org/app"), spec)
        .await?;
    let said = world
        .condition("app", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    let ns = namespace.name();
    assert_eq!(
        said,
        format!(
            "failed to determine artifact digest: failed to get access token for artifact registry: failed to create kubernetes token for service account '{ns}/puller': serviceaccounts \"puller\" is forbidden: User \"{user}\" cannot create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"{ns}\""
        )
    );
    ensure!(
        clouds.requests().is_empty() && world.registry.asked().is_empty(),
        "something was asked"
    );
    // With the role as it is installed it works.
    grant(namespace, &user, |_| true).await?;
    namespace.request_reconcile(OCI_REPOSITORY, "app").await?;
    world.ready("app").await?;

    // These are cluster-scoped and not deleted with the namespace.
    let (client, params) = (namespace.client().clone(), DeleteParams::default());
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.delete(ns, &params).await?;
    let roles: Api<ClusterRole> = Api::all(client);
    roles.delete(ns, &params).await?;
    Ok(())
}

// SC-OCI-024, RT-WID-003, SC-AUTH-052
#[tokio::test]
async fn the_default_account_locks_registries_down() -> Result {
    let cloud = CloudSettings::start()?;
    let registry = registry(&cloud, ECR, Registry::builder());
    let settings = cloud
        .settings()
        .flag("--default-service-account=tenant")
        .env("AWS_ACCESS_KEY_ID", "AKIACONTROLLER")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret");
    let world = World::start_with("oci-lockdown", settings, registry).await?;
    proxy(&world.namespace, &cloud.clouds).await?;
    world
        .apply_url(
            "app",
            &format!("oci://{ECR}/org/app"),
            "provider: aws, proxySecretRef: {name: proxy}",
        )
        .await?;
    let said = world
        .condition("app", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    assert_eq!(
        said,
        format!(
            "failed to determine artifact digest: failed to get access token for artifact registry: failed to get service account '{}/tenant': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help",
            world.namespace.name()
        )
    );
    ensure!(cloud.clouds.requests().is_empty(), "a cloud was asked");
    // A generic object that names no account is not concerned.
    world.push("latest", &[("a", "1")]);
    world
        .apply_url(
            "generic",
            &format!("oci://{ECR}/org/app"),
            "proxySecretRef: {name: proxy}",
        )
        .await?;
    world.ready("generic").await?;
    Ok(())
}
