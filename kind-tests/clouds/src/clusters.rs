//! Kubernetes clusters of the clouds: EKS, AKS and GKE say where they are, and the webhook that such clusters ask tells
//! whose a token is.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::server::{Answer, Request, State, json as answer};
use crate::signature;

/// What tokens of Azure for clusters are for.
const AKS: &str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default";
/// What tokens of Azure for the resource manager are for.
const MANAGER: &str = "https://management.core.windows.net//.default";

/// A cluster that the clouds know.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name at the cloud: for EKS the ARN, for the others the resource.
    pub id: String,
    /// The address of its API server.
    pub address: String,
    /// The certificate authority of its API server, PEM.
    pub ca: String,
}

impl State {
    fn cluster(&self, fits: impl Fn(&str) -> bool) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| fits(&cluster.id))
    }

    /// What a bearer token was issued for.
    fn issued(&self, request: &Request) -> Option<&str> {
        let bearer = request.header("authorization").strip_prefix("Bearer ")?;
        self.tokens.get(bearer).map(String::as_str)
    }
}

/// `DescribeCluster`, signed.
pub(crate) fn eks(state: &State, request: &Request) -> Answer {
    let region = request.host.split('.').nth(1).unwrap_or_default();
    if let Err(why) = signature::check(state, request, region, "eks") {
        return answer(403, &json!({"message": why}));
    }
    let name = request
        .path()
        .strip_prefix("/clusters/")
        .unwrap_or_default();
    let end = format!(":cluster/{name}");
    let found = state.cluster(|id| id.contains(&format!(":eks:{region}:")) && id.ends_with(&end));
    match found {
        Some(cluster) if request.method == "GET" && request.body.is_empty() => answer(
            200,
            &json!({"cluster": {
                "name": name, "arn": cluster.id, "endpoint": cluster.address, "status": "ACTIVE",
                "certificateAuthority": {"data": STANDARD.encode(&cluster.ca)},
            }}),
        ),
        _ => answer(
            404,
            &json!({"message": format!("No cluster found for name: {name}.")}),
        ),
    }
}

/// The resource manager: the cluster, and the kubeconfigs of its users.
pub(crate) fn azure(state: &State, request: &Request) -> Answer {
    let refuse = |status: u16, code: &str, message: &str| {
        answer(
            status,
            &json!({"error": {"code": code, "message": message}}),
        )
    };
    if state.issued(request) != Some(MANAGER) {
        return refuse(
            401,
            "InvalidAuthenticationToken",
            "The access token is invalid.",
        );
    }
    if request.parameter("api-version").is_empty() {
        return refuse(
            400,
            "MissingApiVersionParameter",
            "The api-version is missing.",
        );
    }
    let path = request.path();
    let (path, action) = match path.strip_suffix("/listClusterUserCredential") {
        Some(path) => (path, "POST"),
        None => (path, "GET"),
    };
    let Some(cluster) = state.cluster(|id| id.eq_ignore_ascii_case(path)) else {
        return refuse(404, "ResourceNotFound", "The resource was not found.");
    };
    match (&*request.method, action) {
        ("GET", "GET") => answer(
            200,
            &json!({"id": cluster.id, "properties": {"aadProfile": {"managed": true}}}),
        ),
        ("POST", "POST") => {
            let config = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{"name": "k", "cluster": {
                    "server": cluster.address, "certificate-authority-data": STANDARD.encode(&cluster.ca),
                }}],
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "users": [{"name": "u", "user": {"exec": {
                    "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "kubelogin", "args": ["get-token"],
                }}}],
            });
            let value = STANDARD.encode(config.to_string());
            answer(
                200,
                &json!({"kubeconfigs": [{"name": "clusterUser", "value": value}]}),
            )
        }
        _ => refuse(405, "MethodNotAllowed", "The method is not allowed."),
    }
}

/// `projects.locations.clusters.get`.
pub(crate) fn google(state: &State, request: &Request) -> Answer {
    let refuse = |code: u16, status: &str| {
        let error = json!({"code": code, "status": status, "message": "refused"});
        answer(code, &json!({"error": error}))
    };
    if !state.issued(request).is_some_and(may_use_platform) {
        return refuse(401, "UNAUTHENTICATED");
    }
    let id = request.path().strip_prefix("/v1/").unwrap_or_default();
    match state.cluster(|known| known == id) {
        Some(cluster) if request.method == "GET" => {
            let endpoint = cluster.address.trim_start_matches("https://");
            let authority = json!({"clusterCaCertificate": STANDARD.encode(&cluster.ca)});
            answer(
                200,
                &json!({"name": id, "endpoint": endpoint, "masterAuth": authority}),
            )
        }
        _ => refuse(404, "NOT_FOUND"),
    }
}

/// Whether a token of Google's is one that has all scopes.
pub(crate) fn may_use_platform(kind: &str) -> bool {
    ["direct", "impersonated", "key"].contains(&kind)
}

/// Answers an API server that asks whose a token is. The users are `cloud:<name>`.
pub(crate) fn review(state: &State, request: &Request) -> Answer {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let token = body["spec"]["token"].as_str().unwrap_or_default();
    let user = match token.strip_prefix("k8s-aws-v1.") {
        Some(encoded) => {
            let url = URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default();
            let url = String::from_utf8(url).unwrap_or_default();
            let names: Vec<&str> = state
                .clusters
                .iter()
                .filter_map(|cluster| Some(cluster.id.split_once(":cluster/")?.1))
                .collect();
            let is_of_cluster = |name: &&&str| {
                let extra = [("x-k8s-aws-id", **name)];
                signature::check_presigned(state, &url, "GetCallerIdentity", &extra).is_ok()
            };
            names.iter().find(is_of_cluster).map(|_| "cloud:aws")
        }
        None => match state.tokens.get(token).map(String::as_str) {
            Some(AKS) => Some("cloud:azure"),
            Some(kind) if may_use_platform(kind) => Some("cloud:gcp"),
            _ => None,
        },
    };
    let status = match user {
        Some(user) => {
            json!({"authenticated": true, "user": {"username": user, "uid": user, "groups": []}})
        }
        None => json!({"authenticated": false, "error": "the token is not valid"}),
    };
    let review = json!({"apiVersion": body["apiVersion"], "kind": "TokenReview", "status": status});
    answer(200, &review)
}
