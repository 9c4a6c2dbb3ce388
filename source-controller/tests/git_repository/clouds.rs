//! Git hosts of clouds: CodeCommit and Azure DevOps.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_cloud::aws;
use flux_http::Secret;
use git_servers::{HttpGitServer, HttpGitServerBuilder};
use kind_tests::requests::Counter;
use kind_tests::{GIT_REPOSITORY, Result, ensure};
use serde_json::json;

use crate::cloud_settings::{
    ACCOUNT, AWS_ROLE, CloudSettings, OTHER_ROLE, ROLE, STS, account, proxy, reviewed, subject,
};
use crate::support::{World, message};

const CODE_COMMIT: &str = "git-codecommit.eu-west-1.amazonaws.com";
const DEV_OPS: &str = "dev.azure.com";

/// A Git server with a certificate for this host, which the clouds' proxy leads to.
fn server(cloud: &CloudSettings, host: &str, builder: HttpGitServerBuilder) -> HttpGitServer {
    let pair = cloud.clouds.authority().issue(&[host]);
    let server = builder.tls_pair(&pair).start();
    let proxy = cloud.clouds.proxy();
    proxy.resolve(&format!("{host}:443"), server.address());
    server
}

/// User and password of the last request.
fn last_login(server: &HttpGitServer) -> Option<(String, String)> {
    let header = server.requests().pop()?.authorization?;
    let pair = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[tokio::test]
async fn code_commit_is_signed_for_with_the_role_of_the_account() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let git = server(&cloud, CODE_COMMIT, HttpGitServer::builder());
    let world = World::start_with("git-aws", cloud.settings(), git).await?;
    let namespace = &world.namespace;
    let puller = subject(namespace, "puller");
    clouds.trust(ROLE, aws::AUDIENCE, &puller);
    clouds.trust(OTHER_ROLE, aws::AUDIENCE, &puller);
    world.repo("app.git");
    proxy(namespace, clouds).await?;
    account(namespace, "puller", json!({AWS_ROLE: ROLE})).await?;
    let counter = Counter::start(namespace.cluster(), world.controller.user())?;

    let url = format!("https://{CODE_COMMIT}/app.git");
    let spec = "ref: {branch: main}, provider: aws, serviceAccountName: puller, proxySecretRef: {name: proxy}";
    world.apply_url("app", &url, spec).await?;
    world.ready("app").await?;

    // RT-WID-005, SC-AUTH-053: role and session; RT-WID-001: the API server itself says whose token it is, and what for
    let exchanges = clouds.to(STS);
    ensure!(exchanges.len() == 1, "{exchanges:?}");
    let session = format!("puller.{}.eu-west-1.fluxcd.io", namespace.name());
    assert_eq!(exchanges[0].field("RoleSessionName"), session);
    assert_eq!(exchanges[0].field("RoleArn"), ROLE);
    let token = exchanges[0].field("WebIdentityToken");
    let user = reviewed(namespace, &token, Some(aws::AUDIENCE)).await?;
    assert_eq!(user.as_deref(), Some(&*puller));
    assert_eq!(reviewed(namespace, &token, None).await?, None);
    // SC-AUTH-051, RT-WID-028: no gate is on, and no Secret is read but that of the proxy
    let requests = counter.requests()?;
    let created: Vec<_> = requests
        .iter()
        .filter(|made| made.resource == "serviceaccounts/token")
        .collect();
    ensure!(
        created.len() == 1 && created[0].verb == "create" && created[0].code == 201,
        "{created:?}"
    );
    ensure!(
        requests
            .iter()
            .all(|made| made.resource != "secrets" || made.uri.ends_with("/secrets/proxy")),
        "{requests:?}"
    );

    // RT-WID-009, SC-AUTH-023: the login is a signature with the credentials of the role
    let (user, password) = last_login(&world.git).unwrap_or_default();
    let (id, session_token) = user.split_once('%').unwrap_or_default();
    let (secret, issued) = clouds.key(id).unwrap_or_default();
    ensure!(!secret.is_empty() && session_token == issued, "{user}");
    let credentials = aws::Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: Secret::new(secret),
        session_token: Some(Secret::new(issued)),
        expires: None,
    };
    let time = password.split('Z').next().unwrap_or_default();
    let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", time)?;
    let signed: SystemTime = signed.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().into();
    let age = SystemTime::now().duration_since(signed).unwrap_or_default();
    ensure!(age < Duration::from_mins(5), "{time}");
    let expected = aws::git_login(&credentials, &url.parse()?, signed)?;
    assert_eq!(expected.password.expose_text(), password);

    // RT-WID-019, SC-AUTH-073: through the proxy of the object
    let destinations = clouds.proxy().destinations();
    ensure!(
        destinations.contains(&format!("{STS}:443")),
        "{destinations:?}"
    );

    // SC-AUTH-070, RT-WID-023: cached, for this object and another with the same identity, and counted
    world.apply_url("same", &url, spec).await?;
    world.ready("same").await?;
    world.reconcile("app").await?;
    assert_eq!(clouds.to(STS).len(), 1);
    let metrics = world.controller.metrics().await?;
    for (event, name) in [
        ("cache_miss", "app"),
        ("cache_hit", "app"),
        ("cache_hit", "same"),
    ] {
        let series = format!(
            "gotk_token_cache_events_total{{event_type=\"{event}\",kind=\"GitRepository\",name=\"{name}\""
        );
        ensure!(metrics.contains(&series), "{series}");
    }

    // RT-WID-024, SC-AUTH-072: an annotation that changes takes effect at once
    account(namespace, "puller", json!({AWS_ROLE: OTHER_ROLE})).await?;
    world.reconcile("app").await?;
    assert_eq!(clouds.to(STS).len(), 2);
    assert_eq!(clouds.to(STS)[1].field("RoleArn"), OTHER_ROLE);

    // An account that is not annotated, or gone, is not used any more.
    account(namespace, "puller", json!({AWS_ROLE: ""})).await?;
    let object = world.reconcile("app").await?;
    assert_eq!(
        message(&object, "FetchFailed"),
        format!(
            r"failed to configure authentication options: failed to get access token for Git repository: failed to get provider identity from service account '{}/puller' annotations: invalid eks.amazonaws.com/role-arn annotation: ''. must match ^arn:aws[\w-]*:iam::[0-9]{{1,30}}:role/.{{1,200}}$",
            namespace.name()
        )
    );
    namespace.delete(ACCOUNT, "puller").await?;
    namespace.wait_gone(ACCOUNT, "puller").await?;
    let object = world.reconcile("app").await?;
    // RT-WID-029
    assert_eq!(
        message(&object, "FetchFailed"),
        format!(
            "failed to configure authentication options: failed to get access token for Git repository: failed to get service account '{}/puller': serviceaccounts \"puller\" not found",
            namespace.name()
        )
    );
    assert_eq!(clouds.to(STS).len(), 2);

    // A refusal of the cloud has its own words, and no token.
    account(namespace, "stranger", json!({AWS_ROLE: ROLE})).await?;
    let spec = spec.replace("puller", "stranger");
    world.apply_url("stranger", &url, &spec).await?;
    let said = world
        .condition("stranger", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    // SC-AUTH-025
    assert_eq!(
        said,
        format!(
            "failed to configure authentication options: failed to get access token for Git repository: failed to create provider access token for service account '{}/stranger': operation error STS: AssumeRoleWithWebIdentity, https response error StatusCode: 403, RequestID: request-1, api error AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity",
            namespace.name()
        )
    );
    // No secret reaches the log.
    let log = world.controller.log().lines().join("\n");
    for secret in [&*token, &*password, session_token] {
        ensure!(!log.contains(secret), "the log has {secret}");
    }
    Ok(())
}

#[tokio::test]
async fn azure_dev_ops_gets_a_bearer_token() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let git = HttpGitServer::builder().bearer_token("azure-token-1");
    let git = server(&cloud, DEV_OPS, git);
    // The certificates and the user of a Secret: SC-AUTH-024
    let world = World::start_with("git-azure", cloud.settings(), git).await?;
    let namespace = &world.namespace;
    world.repo("app.git");
    proxy(namespace, clouds).await?;
    clouds.trust(
        "client-1",
        "api://AzureADTokenExchange",
        &subject(namespace, "puller"),
    );
    namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {username: a, password: b}}")
        .await?;
    account(namespace, "puller", json!({})).await?;
    let url = format!("https://{DEV_OPS}/app.git");
    let spec = "ref: {branch: main}, provider: azure, serviceAccountName: puller, proxySecretRef: {name: proxy}, secretRef: {name: login}";
    world.apply_url("app", &url, spec).await?;
    let head = format!(
        "failed to configure authentication options: failed to get access token for Git repository: failed to get provider identity from service account '{}/puller' annotations: ",
        namespace.name()
    );
    // RT-WID-010, SC-AUTH-057: each of the two annotations is named
    let said = world
        .condition("app", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    assert_eq!(
        said,
        format!(
            "{head}azure tenant ID is not set in the service account annotation azure.workload.identity/tenant-id"
        )
    );
    account(
        namespace,
        "puller",
        json!({"azure.workload.identity/tenant-id": "tenant-1"}),
    )
    .await?;
    let object = world.reconcile("app").await?;
    assert_eq!(
        message(&object, "FetchFailed"),
        format!(
            "{head}azure client ID is not set in the service account annotation azure.workload.identity/client-id"
        )
    );
    ensure!(clouds.requests().is_empty(), "{:?}", clouds.requests());
    let annotations = json!({"azure.workload.identity/tenant-id": "tenant-1", "azure.workload.identity/client-id": "client-1"});
    account(namespace, "puller", annotations).await?;
    namespace.request_reconcile(GIT_REPOSITORY, "app").await?;
    // SC-AUTH-022, SC-AUTH-024: the server takes nothing but the token
    world.ready("app").await?;
    let requests = clouds.requests();
    // RT-WID-014
    assert_eq!(
        requests[0].field("scope"),
        "499b84ac-1321-427f-aa17-267ca6975798/.default"
    );
    let assertion = requests[0].field("client_assertion");
    let user = reviewed(namespace, &assertion, Some("api://AzureADTokenExchange")).await?;
    assert_eq!(user, Some(subject(namespace, "puller")));
    Ok(())
}

#[tokio::test]
async fn the_default_account_locks_objects_down() -> Result {
    let cloud = CloudSettings::start()?;
    let clouds = &cloud.clouds;
    let git = server(&cloud, CODE_COMMIT, HttpGitServer::builder());
    // The controller has credentials of its own, which no object gets; RT-FGT-003, SC-PROC-035: no gate is needed.
    let settings = cloud
        .settings()
        .flag("--default-service-account=tenant")
        .env("AWS_ACCESS_KEY_ID", "AKIACONTROLLER")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret");
    let world = World::start_with("git-lockdown", settings, git).await?;
    let namespace = &world.namespace;
    world.repo("app.git");
    proxy(namespace, clouds).await?;
    let url = format!("https://{CODE_COMMIT}/app.git");
    let spec = "ref: {branch: main}, provider: aws, proxySecretRef: {name: proxy}";
    world.apply_url("app", &url, spec).await?;
    let said = world
        .condition("app", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    // RT-WID-003, SC-AUTH-052, SC-PROC-015
    assert_eq!(
        said,
        format!(
            "failed to configure authentication options: failed to get access token for Git repository: failed to get service account '{}/tenant': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help",
            namespace.name()
        )
    );
    ensure!(world.git.requests().is_empty(), "the server was asked");
    clouds.trust(ROLE, aws::AUDIENCE, &subject(namespace, "tenant"));
    account(namespace, "tenant", json!({AWS_ROLE: ROLE})).await?;
    namespace.request_reconcile(GIT_REPOSITORY, "app").await?;
    world.ready("app").await?;
    assert_eq!(clouds.to(STS).len(), 1);
    let (user, _) = last_login(&world.git).unwrap_or_default();
    ensure!(user.starts_with("ASIA"), "{user}");

    // An object's own account precedes the default one.
    clouds.trust(OTHER_ROLE, aws::AUDIENCE, &subject(namespace, "own"));
    account(namespace, "own", json!({AWS_ROLE: OTHER_ROLE})).await?;
    world
        .apply_url("own", &url, &format!("{spec}, serviceAccountName: own"))
        .await?;
    world.ready("own").await?;
    assert_eq!(clouds.to(STS)[1].field("RoleArn"), OTHER_ROLE);
    Ok(())
}

// SC-AUTH-050, SC-AUTH-054: the controller's own credentials sign for the region of the host; SC-PROC-034: without a cache
#[tokio::test]
async fn without_an_account_the_controller_signs() -> Result {
    let cloud = CloudSettings::start()?;
    let git = server(&cloud, CODE_COMMIT, HttpGitServer::builder());
    let settings = cloud
        .settings()
        .flag("--token-cache-max-size=0")
        .env("AWS_ACCESS_KEY_ID", "AKIACONTROLLER")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret");
    let world = World::start_with("git-aws-own", settings, git).await?;
    world.repo("app.git");
    proxy(&world.namespace, &cloud.clouds).await?;
    let url = format!("https://{CODE_COMMIT}/app.git");
    let spec = "ref: {branch: main}, provider: aws, proxySecretRef: {name: proxy}";
    world.apply_url("app", &url, spec).await?;
    world.ready("app").await?;
    let (user, password) = last_login(&world.git).unwrap_or_default();
    assert_eq!(user, "AKIACONTROLLER%");
    assert_eq!(password.len(), "20150830T123600Z".len() + 64);
    ensure!(cloud.clouds.requests().is_empty(), "a cloud was asked");
    Ok(())
}
