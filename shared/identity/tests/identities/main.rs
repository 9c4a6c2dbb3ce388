//! As whom objects act, with an API server of the test's own that issues tokens, and the clouds.
//!
//! The scenarios of source-controller have the real API server; here the tokens are cached or not by every input.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clouds::Clouds;
use flux_api::source::{Bucket, BucketSpec};
use flux_cloud::{CloudClient, Environment, aws};
use flux_errors::chain;
use flux_http::{Proxy, ProxyUrl, RootCertificates, TlsSettings};
use flux_identity::{Identities, IdentityError, Provider, Tokens};
use flux_runtime::metrics::Metrics;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/puller";
const REGION: Option<&str> = Some("eu-west-1");
const STS: &str = "sts.eu-west-1.amazonaws.com";

/// An API server with ServiceAccounts, which issues tokens of them, and the requests that it received.
#[derive(Clone, Default)]
struct Server {
    accounts: Arc<Mutex<BTreeMap<String, Value>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn set(&self, namespace: &str, name: &str, annotations: &Value) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations}});
        self.accounts.lock().unwrap().insert(path, account);
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let audiences = &body["spec"]["audiences"];
        let shown = if audiences.is_array() {
            audiences.to_string()
        } else {
            String::new()
        };
        self.requests
            .lock()
            .unwrap()
            .push(format!("{method} {path} {shown}").trim_end().to_owned());
        let accounts = self.accounts.lock().unwrap();
        let account = path.strip_suffix("/token").unwrap_or(path);
        let Some(found) = accounts.get(account) else {
            let name = account.rsplit('/').next().unwrap_or_default();
            let message = format!("serviceaccounts \"{name}\" not found");
            return (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": message}),
            );
        };
        if method == "GET" {
            return (200, found.clone());
        }
        let metadata = &found["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
        let subject = format!(
            "system:serviceaccount:{}:{}",
            text("namespace"),
            text("name")
        );
        let named = audiences.as_array().is_some_and(|named| !named.is_empty());
        let audiences = if named {
            audiences.clone()
        } else {
            json!(["https://cluster.local"])
        };
        let claims = json!({"aud": audiences, "sub": subject, "exp": 4_102_444_800_u64});
        let token = clouds::token(&claims);
        (
            201,
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
                "spec": {"audiences": audiences}, "status": {"token": token, "expirationTimestamp": "2100-01-01T00:00:00Z"}}),
        )
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = server.answer(head.method.as_str(), head.uri.path(), &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
            }
        });
        Client::new(service, "default")
    }
}

/// The environment of a test: the identities of objects, whose requests reach the clouds.
struct World {
    server: Server,
    clouds: Clouds,
    identities: Identities,
    proxy: Proxy,
}

impl World {
    fn start(default_account: &str) -> Self {
        let (server, clouds) = (Server::default(), Clouds::start());
        let metrics = Metrics::new().unwrap();
        let tokens = Tokens::new(100, Duration::from_hours(1), &metrics).unwrap();
        let tls = TlsSettings {
            roots: RootCertificates::AddToSystem,
            authorities: Some(clouds.authority().pem().into_bytes()),
            ..TlsSettings::default()
        };
        let identities = Identities::new(server.client(), tokens, default_account);
        let metadata = clouds.metadata();
        let environment = Environment::of_values([
            ("AWS_ACCESS_KEY_ID", "AKIACONTROLLER"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("GCE_METADATA_HOST", &*metadata),
        ]);
        let identities = identities.with_clients(move |proxy| {
            let client = CloudClient::trusting(proxy, tls.clone())?;
            Ok(client.with_environment(environment.clone()))
        });
        let proxy = ProxyUrl::parse(&clouds.proxy().url()).unwrap().into();
        Self {
            server,
            clouds,
            identities,
            proxy,
        }
    }

    async fn aws(
        &self,
        namespace: &str,
        account: Option<&str>,
        region: Option<&str>,
    ) -> Result<aws::Credentials, String> {
        let object = object(namespace);
        let identity = self.identities.of(&object, account, &self.proxy).unwrap();
        let found = identity.aws_credentials(region, None).await;
        found.map_err(|error| chain(&error))
    }
}

fn object(namespace: &str) -> Bucket {
    let mut object = Bucket::new("app", BucketSpec::default());
    object.metadata.namespace = Some(namespace.to_owned());
    object
}

// RT-WID-023, SC-AUTH-071: nothing is shared by different accounts, namespaces, roles, regions or proxies
#[tokio::test]
async fn each_input_of_an_exchange_has_credentials_of_its_own() {
    let world = World::start("");
    let role = json!({"eks.amazonaws.com/role-arn": ROLE});
    for (namespace, name) in [("apps", "puller"), ("apps", "other"), ("team", "puller")] {
        world.server.set(namespace, name, &role);
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        world.clouds.trust(ROLE, aws::AUDIENCE, &subject);
    }
    let mut found = Vec::new();
    for (namespace, name, region) in [
        ("apps", "puller", "eu-west-1"),
        ("apps", "other", "eu-west-1"),
        ("team", "puller", "eu-west-1"),
        ("apps", "puller", "us-east-1"),
    ] {
        let first = world
            .aws(namespace, Some(name), Some(region))
            .await
            .unwrap();
        let again = world
            .aws(namespace, Some(name), Some(region))
            .await
            .unwrap();
        assert_eq!(first, again, "{namespace}/{name} {region}");
        found.push(first.access_key_id);
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 4);
    // RT-WID-005
    let sessions: Vec<String> = world
        .clouds
        .requests()
        .iter()
        .map(|made| made.field("RoleSessionName"))
        .collect();
    assert_eq!(
        sessions,
        [
            "puller.apps.eu-west-1.fluxcd.io",
            "other.apps.eu-west-1.fluxcd.io",
            "puller.team.eu-west-1.fluxcd.io",
            "puller.apps.us-east-1.fluxcd.io"
        ]
    );
    // Another proxy, which leads to the same place.
    let proxy = git_servers::Proxy::http(None);
    proxy.resolve(&format!("{STS}:443"), world.clouds.address());
    let other = ProxyUrl::parse(&proxy.url()).unwrap().into();
    let object = object("apps");
    let identity = world
        .identities
        .of(&object, Some("puller"), &other)
        .unwrap();
    let through = identity.aws_credentials(REGION, None).await.unwrap();
    assert!(!found.contains(&through.access_key_id));

    // RT-WID-024, SC-AUTH-072: the account is read each time, and a token of it is requested once per exchange.
    let requests = world.server.requests();
    let reads = requests
        .iter()
        .filter(|made| made.starts_with("GET"))
        .count();
    assert_eq!((reads, requests.len() - reads), (9, 5));
    assert!(
        requests.contains(
            &"POST /api/v1/namespaces/apps/serviceaccounts/puller/token [\"sts.amazonaws.com\"]"
                .to_owned()
        )
    );
}

// RT-WID-003, SC-AUTH-052
#[tokio::test]
async fn objects_act_as_their_account_as_the_default_one_or_as_the_controller() {
    let world = World::start("");
    let own = world.aws("apps", None, REGION).await.unwrap();
    assert_eq!(own.access_key_id, "AKIACONTROLLER");
    assert_eq!(world.aws("apps", Some(""), REGION).await.unwrap(), own);
    assert!(world.server.requests().is_empty() && world.clouds.requests().is_empty());

    let locked = World::start("tenant");
    assert_eq!(
        locked.aws("apps", None, REGION).await.unwrap_err(),
        "failed to get service account 'apps/tenant': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help"
    );
    // RT-WID-029
    assert_eq!(
        locked.aws("apps", Some("named"), REGION).await.unwrap_err(),
        "failed to get service account 'apps/named': serviceaccounts \"named\" not found"
    );
    let role = json!({"eks.amazonaws.com/role-arn": ROLE});
    locked.server.set("apps", "tenant", &role);
    locked
        .clouds
        .trust(ROLE, aws::AUDIENCE, "system:serviceaccount:apps:tenant");
    let found = locked.aws("apps", None, REGION).await.unwrap();
    assert!(found.access_key_id.starts_with("ASIA"));
    // SC-AUTH-054
    assert_eq!(
        locked.aws("apps", None, None).await.unwrap_err(),
        "failed to create provider access token for service account 'apps/tenant': an AWS region is required for authenticating with a service account. please configure one in the object spec"
    );
    // RT-WID-006, SC-AUTH-055
    let object = object("apps");
    let identity = locked.identities.of(&object, None, &locked.proxy).unwrap();
    let refused = identity
        .aws_credentials(REGION, Some("https://example.com"))
        .await;
    let text = chain(&refused.unwrap_err());
    assert!(
        text.contains("invalid STS endpoint: 'https://example.com'. must match ^https://"),
        "{text}"
    );
    assert_eq!(locked.clouds.requests().len(), 1);
}

// RT-WID-015, RT-WID-016, RT-WID-032
#[tokio::test]
async fn googles_audience_is_of_the_annotation_or_of_the_cluster() {
    let world = World::start("");
    let provider = "projects/1/locations/global/workloadIdentityPools/p/providers/c";
    let audience = format!("//iam.googleapis.com/{provider}");
    let subject = "system:serviceaccount:apps:puller";
    let pool = "project-1.svc.id.goog";
    let cluster = format!(
        "identitynamespace:{pool}:https://container.googleapis.com/v1/projects/project-1/locations/europe-west1/clusters/cluster-1"
    );
    world.clouds.trust(&audience, &audience, subject);
    world.clouds.trust(&cluster, pool, subject);
    let object = object("apps");
    let identity = world
        .identities
        .of(&object, Some("puller"), &world.proxy)
        .unwrap();
    let email = "flux@project-1.iam.gserviceaccount.com";
    let mut tokens = Vec::new();
    for annotations in [
        json!({"gcp.auth.fluxcd.io/workload-identity-provider": provider}),
        json!({"gcp.auth.fluxcd.io/workload-identity-provider": provider, "iam.gke.io/gcp-service-account": email}),
        json!({"iam.gke.io/gcp-service-account": email}),
        json!({}),
    ] {
        world.server.set("apps", "puller", &annotations);
        let token = identity.gcp_token().await.unwrap();
        assert_eq!(identity.gcp_token().await.unwrap(), token);
        tokens.push(token.value.expose_text().into_owned());
    }
    let kinds: Vec<&str> = tokens
        .iter()
        .filter_map(|token| token.split('-').nth(1))
        .collect();
    assert_eq!(kinds, ["direct", "impersonated", "impersonated", "direct"]);
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    world.server.set(
        "apps",
        "puller",
        &json!({"gcp.auth.fluxcd.io/workload-identity-provider": "x"}),
    );
    let refused = identity.gcp_token().await.unwrap_err();
    assert!(matches!(refused, IdentityError::Audience(_)));
    let text = chain(&refused);
    assert!(text.starts_with("failed to get provider audience: invalid gcp.auth.fluxcd.io/workload-identity-provider annotation: 'x'."), "{text}");
}

// RT-WID-030, RT-WID-031
#[tokio::test]
async fn a_token_of_the_account_is_never_one_for_its_own_api_server() {
    let world = World::start("");
    world.server.set("apps", "puller", &json!({}));
    let object = object("apps");
    let identity = world
        .identities
        .of(&object, Some("puller"), &world.proxy)
        .unwrap();
    let remote = ["https://remote.example.com".to_owned()];
    let token = identity.kubernetes_token(&remote).await.unwrap().unwrap();
    assert_eq!(flux_cloud::audiences(&token.value), remote);
    let local = ["https://cluster.local".to_owned()];
    let refused = identity.kubernetes_token(&local).await.unwrap_err();
    assert_eq!(
        chain(&refused),
        "audience 'https://cluster.local' is not allowed as it is intended for the local kubernetes cluster"
    );
    // What the API server accepts is asked for once.
    let issued: Vec<String> = world
        .server
        .requests()
        .into_iter()
        .filter(|made| made.starts_with("POST"))
        .collect();
    let path = "POST /api/v1/namespaces/apps/serviceaccounts/puller/token";
    assert_eq!(
        issued,
        [
            format!("{path} []"),
            format!("{path} [\"https://remote.example.com\"]")
        ]
    );
    // The controller has no such token.
    let own = world.identities.of(&object, None, &world.proxy).unwrap();
    assert_eq!(own.kubernetes_token(&remote).await.unwrap(), None);
    let login = own.registry_login(Provider::Generic, "registry.example.com");
    assert_eq!(login.await.unwrap(), None);

    // The login of a registry is the token, for the host.
    let generic = json!({"credential.auth.fluxcd.io/provider": "kubernetes"});
    world.server.set("apps", "puller", &generic);
    let login = identity.registry_login(Provider::Generic, "registry.example.com:5000");
    let login = login.await.unwrap().unwrap();
    let bearer = login.bearer.unwrap();
    assert_eq!(
        flux_cloud::audiences(&bearer),
        ["registry.example.com:5000"]
    );
    let user = json!({"credential.auth.fluxcd.io/provider": "kubernetes", "credential.auth.fluxcd.io/username": "flux"});
    world.server.set("apps", "puller", &user);
    let login = identity.registry_login(Provider::Generic, "registry.example.com:5000");
    let login = login.await.unwrap().unwrap();
    assert_eq!((login.username.as_str(), login.bearer), ("flux", None));
    assert!(!login.password.is_empty());
}

#[tokio::test]
async fn only_aws_and_azure_have_git_hosts() {
    let world = World::start("");
    let object = object("apps");
    let identity = world.identities.of(&object, None, &world.proxy).unwrap();
    let refused = identity
        .git_login(Provider::Gcp, "https://example.com/a")
        .await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "provider 'gcp' does not support Git credentials"
    );
    // RT-WID-009
    let refused = identity.git_login(Provider::Aws, "git@host:a").await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "AWS CodeCommit authentication requires an HTTPS Git URL"
    );
    let address = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/a";
    let login = identity.git_login(Provider::Aws, address).await.unwrap();
    assert_eq!(login.username.expose(), b"AKIACONTROLLER%");
}
