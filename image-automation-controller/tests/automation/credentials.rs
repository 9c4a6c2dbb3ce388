//! GitHub Apps and clouds.

use git_servers::{Authority, GitHubApp, HttpGitServer};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::json;

use crate::cloud_settings::{AWS_ROLE, CloudSettings, ROLE, STS, account, proxy, subject};
use crate::world::{World, message};

#[tokio::test]
async fn a_github_app_gives_access() -> Result {
    let app = GitHubApp::new(42, 7);
    let (authority, key) = (Authority::new(), app.private_key());
    let git = HttpGitServer::builder()
        .tls(&authority)
        .github_app(app)
        .start();
    let world = World::start_on("ia-app", Settings::default(), git).await?;
    let repo = world.repo("app.git");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"},
        "stringData": {"githubAppID": "42", "githubAppInstallationID": "7", "githubAppPrivateKey": key,
            "githubAppBaseURL": world.git.url("api/v3"), "ca.crt": authority.pem()},
    });
    world.namespace.apply(&secret.to_string()).await?;
    world
        .source("app", "app.git", "secretRef: {name: app}")
        .await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("auto", "InvalidSourceConfiguration").await?;
    // IA-GIT-033
    let text = format!(
        "secretRef '{}/app' has github app data but provider is not set to github: invalid source configuration",
        world.namespace.name()
    );
    ensure!(message(&object) == text, "{object}");
    world
        .change_source("app", json!({"provider": "github"}))
        .await?;
    world.pushed("auto", "").await?;
    // IA-GIT-032, IA-GIT-022
    let requests = world.git.requests();
    let calls = requests
        .iter()
        .filter(|request| request.target.starts_with("/api/"));
    let calls: Vec<_> = calls.map(|call| call.target.as_str()).collect();
    ensure!(
        calls == ["/api/v3/app/installations/7/access_tokens"],
        "{calls:?}"
    );
    ensure!(!repo.rev_parse("main").is_empty(), "pushed");
    // IA-GIT-040: cached, and counted as the automation's
    let page = world.controller.metrics().await?;
    let series = format!(
        "gotk_token_cache_events_total{{event_type=\"cache_miss\",kind=\"ImageUpdateAutomation\",name=\"auto\",namespace=\"{}\",operation=\"reconcile\"}} 1",
        world.namespace.name()
    );
    ensure!(page.contains(&series), "{page}");
    Ok(())
}

#[tokio::test]
async fn code_commit_is_signed_for_with_the_account_of_the_own_namespace() -> Result {
    const CODE_COMMIT: &str = "git-codecommit.eu-west-1.amazonaws.com";
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let pair = clouds.authority().issue(&[CODE_COMMIT]);
    let git = HttpGitServer::builder().tls_pair(&pair).start();
    clouds
        .proxy()
        .resolve(&format!("{CODE_COMMIT}:443"), git.address());
    let world = World::start_on("ia-aws", cloud.settings(), git).await?;
    let namespace = &world.namespace;
    clouds.trust(
        ROLE,
        flux_cloud::aws::AUDIENCE,
        &subject(namespace, "pusher"),
    );
    world.repo("app.git");
    proxy(namespace, clouds).await?;
    account(namespace, "pusher", json!({AWS_ROLE: ROLE})).await?;
    let url = format!("https://{CODE_COMMIT}/app.git");
    let spec = "provider: aws, serviceAccountName: pusher, proxySecretRef: {name: proxy}";
    world.source("app", &url, spec).await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    world.pushed("auto", "").await?;
    // IA-GIT-038, IA-GIT-039
    let exchanges = clouds.to(STS);
    ensure!(
        exchanges.len() == 1 && exchanges[0].field("RoleArn") == ROLE,
        "{exchanges:?}"
    );
    // IA-GIT-035, IA-GIT-036
    let requests = world.git.requests();
    ensure!(
        requests.iter().all(|request| {
            request
                .authorization
                .as_deref()
                .is_some_and(|value| value.starts_with("Basic "))
        }),
        "{requests:?}"
    );
    // IA-GIT-030, IA-GIT-110: an address that leads to loopback, by a proxy on loopback
    let destinations = clouds.proxy().destinations();
    ensure!(
        destinations.contains(&format!("{CODE_COMMIT}:443")),
        "{destinations:?}"
    );
    // IA-GIT-035, IA-GIT-037
    let elsewhere = world.git.url("app.git");
    world
        .change_source("app", json!({"url": elsewhere}))
        .await?;
    let object = world.failed("auto", "SourceManagerFailed").await?;
    ensure!(
        message(&object).starts_with(
            "failed configuring source manager: failed to configure authentication options: "
        ),
        "{object}"
    );
    Ok(())
}

#[tokio::test]
async fn azure_devops_gets_the_token_of_the_account() -> Result {
    const DEV_OPS: &str = "dev.azure.com";
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let pair = clouds.authority().issue(&[DEV_OPS]);
    let git = HttpGitServer::builder()
        .tls_pair(&pair)
        .bearer_token("azure-token-1")
        .start();
    clouds
        .proxy()
        .resolve(&format!("{DEV_OPS}:443"), git.address());
    let world = World::start_on("ia-azure", cloud.settings(), git).await?;
    let namespace = &world.namespace;
    let pusher = subject(namespace, "pusher");
    clouds.trust("client-1", "api://AzureADTokenExchange", &pusher);
    let annotations = json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "client-1"});
    account(namespace, "pusher", annotations).await?;
    proxy(namespace, clouds).await?;
    world.repo("app.git");
    let url = format!("https://{DEV_OPS}/app.git");
    let spec = "provider: azure, serviceAccountName: pusher, proxySecretRef: {name: proxy}";
    world.source("app", &url, spec).await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    // IA-GIT-034: the server takes nothing but the token, for the checkout and for the push
    world.pushed("auto", "").await?;
    let requests = clouds.requests();
    ensure!(
        requests[0].field("scope") == "499b84ac-1321-427f-aa17-267ca6975798/.default",
        "{requests:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used() -> Result {
    const HOST: &str = "git.example.com";
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let pair = clouds.authority().issue(&[HOST]);
    let git = HttpGitServer::builder().tls_pair(&pair).start();
    let target = format!("{HOST}:443");
    clouds.proxy().resolve(&target, git.address());
    let settings = cloud.settings().env("HTTPS_PROXY", clouds.proxy().url());
    let world = World::start_on("ia-proxy", settings, git).await?;
    world.repo("app.git");
    let url = format!("https://{HOST}/app.git");
    world.source("app", &url, "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    world.pushed("auto", "").await?;
    // IA-PROC-037
    let destinations = clouds.proxy().destinations();
    ensure!(destinations.contains(&target), "{destinations:?}");

    let own = git_servers::Proxy::http(None);
    own.resolve(&target, world.git.address());
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own"},
        "stringData": {"address": own.url()}});
    world.namespace.apply(&secret.to_string()).await?;
    clouds.proxy().clear_destinations();
    let spec = json!({"proxySecretRef": {"name": "own"}});
    world.change_source("app", spec).await?;
    world.reconcile("auto").await?;
    world.ready("auto").await?;
    ensure!(own.destinations().contains(&target), "its own proxy");
    let destinations = clouds.proxy().destinations();
    ensure!(destinations.is_empty(), "{destinations:?}");
    Ok(())
}

#[tokio::test]
async fn user_information_of_the_address_is_used() -> Result {
    let git = HttpGitServer::builder().basic_auth("flux", "pa55-word");
    let world = World::start_with("ia-userinfo", Settings::default(), git).await?;
    world.repo("app.git");
    let url = world.git.url_with_user("flux:pa55-word", "app.git");
    world.source("app", &url, "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    // IA-GIT-023
    let object = world.pushed("auto", "").await?;
    let log = world.controller.log().lines().join("\n");
    ensure!(
        !log.contains("pa55-word") && !object["status"].to_string().contains("pa55-word"),
        "shown"
    );

    let open = World::start("ia-open").await?;
    open.repo("app.git");
    open.source("app", "app.git", "").await?;
    open.policy("app", "reg.io/app", "1.1.0").await?;
    open.automation("auto", "", "").await?;
    open.pushed("auto", "").await?;
    // IA-GIT-024
    let requests = open.git.requests();
    ensure!(
        requests
            .iter()
            .all(|request| request.authorization.is_none()),
        "{requests:?}"
    );
    Ok(())
}
