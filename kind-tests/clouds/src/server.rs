//! The server that all services share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use git_servers::{Authority, Listening, Proxy, Serving};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Response, StatusCode};

use crate::clusters::{self, Cluster};
use crate::{aws, azure, google, metadata};

/// The hosts that the proxy leads to the server.
pub const HOSTS: [&str; 15] = [
    "sts.eu-west-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "api.ecr.eu-west-1.amazonaws.com",
    "api.ecr-public.us-east-1.amazonaws.com",
    "kms.eu-west-1.amazonaws.com",
    "eks.eu-west-1.amazonaws.com",
    "management.azure.com",
    "flux.vault.azure.net",
    "login.microsoftonline.com",
    "app.azurecr.io",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "oauth2.googleapis.com",
    "container.googleapis.com",
    "cloudkms.googleapis.com",
];

/// The password of ECR's logins.
pub const ECR_PASSWORD: &str = "ecr-pa55word";

/// A request with the status of its response.
#[derive(Clone, Debug)]
pub struct Request {
    /// The `Host` header.
    pub host: String,
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// The status of the response.
    pub status: u16,
}

impl Request {
    /// A field of the form in the body; empty if it is absent or there twice.
    pub fn field(&self, name: &str) -> String {
        only(&self.body, name)
    }

    /// A parameter of the query; empty if it is absent or there twice.
    pub fn parameter(&self, name: &str) -> String {
        let query = self.target.split_once('?').map(|(_, query)| query);
        only(query.unwrap_or_default(), name)
    }

    /// A header; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// The names of the fields of the form in the body, sorted.
    pub fn fields(&self) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.body.as_bytes());
        let mut names: Vec<String> = pairs.map(|(name, _)| name.into_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

fn only(pairs: &str, name: &str) -> String {
    let pairs = url::form_urlencoded::parse(pairs.as_bytes());
    let mut found = pairs.filter(|(key, _)| key == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => value.into_owned(),
        _ => String::new(),
    }
}

/// Whose tokens stand for an identity of a cloud.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The identity: an ARN of a role, the ID of a client in Azure, an audience of Google's token service.
    pub identity: String,
    /// The only audience of tokens that are accepted.
    pub audience: String,
    /// The only subject of tokens that are accepted.
    pub subject: String,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) trusted: Vec<Trust>,
    /// Access keys by ID: secret, session token, role.
    pub(crate) keys: BTreeMap<String, (String, String, String)>,
    /// Bearer tokens with what they were issued for.
    pub(crate) tokens: BTreeMap<String, String>,
    pub(crate) life: Duration,
    pub(crate) clusters: Vec<Cluster>,
    requests: Vec<Request>,
    answers: Vec<(String, u16, String)>,
    hanging: Vec<String>,
    issued: usize,
}

impl State {
    /// A number that no other credential has.
    pub(crate) fn next(&mut self) -> usize {
        self.issued += 1;
        self.issued
    }

    /// Whether an identity may be had for a token.
    pub(crate) fn is_trusted(&self, identity: &str, token: &str) -> bool {
        self.trusted.iter().any(|trust| {
            trust.identity == identity && crate::jwt::is_for(token, &trust.audience, &trust.subject)
        })
    }

    /// When what is issued at this moment expires.
    pub(crate) fn expiry(&self) -> jiff::Timestamp {
        let life = jiff::SignedDuration::try_from(self.life).unwrap_or_default();
        jiff::Timestamp::now() + life
    }
}

/// A response: status, content type and body.
pub(crate) type Answer = (u16, &'static str, String);

pub(crate) fn json(status: u16, body: &serde_json::Value) -> Answer {
    (status, "application/json", body.to_string())
}

/// The services; stopped on drop.
pub struct Clouds {
    authority: Authority,
    metadata: SocketAddr,
    secure: SocketAddr,
    proxy: Proxy,
    state: Arc<Mutex<State>>,
    _serving: [Serving; 2],
}

impl Clouds {
    /// Starts the services on free ports of 127.0.0.1. They trust nothing yet.
    ///
    /// # Panics
    /// If they cannot be started.
    pub fn start() -> Self {
        let authority = Authority::new();
        let state = Arc::new(Mutex::new(State {
            life: Duration::from_hours(1),
            ..State::default()
        }));
        let plain = Listening::new(None, None);
        let tls = Listening::new(Some(&authority.issue(&HOSTS)), None);
        let (metadata, secure) = (plain.address(), tls.address());
        let proxy = Proxy::http(None);
        for host in HOSTS {
            proxy.resolve(&format!("{host}:443"), secure);
        }
        let serve = |listening: Listening| {
            let state = Arc::clone(&state);
            listening.serve(move |request| respond(Arc::clone(&state), request))
        };
        let serving = [serve(plain), serve(tls)];
        Self {
            authority,
            metadata,
            secure,
            proxy,
            state,
            _serving: serving,
        }
    }

    /// The authority of the services' certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The proxy that leads to the services by their names.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The address of the services, for further proxies.
    pub fn address(&self) -> SocketAddr {
        self.secure
    }

    /// Host and port of the metadata servers.
    pub fn metadata(&self) -> String {
        self.metadata.to_string()
    }

    /// Accepts tokens for an identity: an ARN of a role, the ID of a client in Azure, an audience of Google's token
    /// service.
    pub fn trust(&self, identity: &str, audience: &str, subject: &str) {
        self.state().trusted.push(Trust {
            identity: identity.to_owned(),
            audience: audience.to_owned(),
            subject: subject.to_owned(),
        });
    }

    /// Accepts no more tokens for an identity.
    pub fn distrust(&self, identity: &str) {
        let trusted = &mut self.state().trusted;
        trusted.retain(|trust| trust.identity != identity);
    }

    /// Adds access keys to sign with.
    pub fn add_key(&self, id: &str, secret: &str, session: &str) {
        let key = (secret.to_owned(), session.to_owned(), String::new());
        self.state().keys.insert(id.to_owned(), key);
    }

    /// Adds a cluster that the clouds say where it is.
    pub fn add_cluster(&self, cluster: Cluster) {
        self.state().clusters.push(cluster);
    }

    /// The address that an API server asks whose a token is.
    pub fn token_reviews(&self) -> String {
        format!("http://{}/tokenreview", self.metadata)
    }

    /// The secret and session token of access keys that were issued.
    pub fn key(&self, id: &str) -> Option<(String, String)> {
        let state = self.state();
        let (secret, session, _) = state.keys.get(id)?;
        Some((secret.clone(), session.clone()))
    }

    /// Sets the lifetime of what is issued from here on; an hour by default.
    pub fn set_life(&self, life: Duration) {
        self.state().life = life;
    }

    /// Answers the next requests to a host with these statuses and bodies, one each.
    pub fn answer(&self, host: &str, status: u16, body: &str) {
        let answer = (host.to_owned(), status, body.to_owned());
        self.state().answers.push(answer);
    }

    /// Never answers requests to a host.
    pub fn hang(&self, host: &str) {
        self.state().hanging.push(host.to_owned());
    }

    /// The requests in the order of their responses.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The requests to a host.
    pub fn to(&self, host: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.host == host);
        requests
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.state().requests.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("state")
    }
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: hyper::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let headers: BTreeMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let target = head.uri.path_and_query().map(ToString::to_string);
    let mut request = Request {
        host: headers.get("host").cloned().unwrap_or_default(),
        method: head.method.to_string(),
        target: target.unwrap_or_default(),
        headers,
        body,
        status: 0,
    };
    let hangs = {
        let state = state.lock().expect("state");
        state.hanging.contains(&request.host)
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    let mut state = state.lock().expect("state");
    let fixed = state
        .answers
        .iter()
        .position(|(host, ..)| *host == request.host);
    let (status, kind, body) = match fixed {
        Some(at) => {
            let (_, status, body) = state.answers.remove(at);
            (status, "application/json", body)
        }
        None => service(&mut state, &request),
    };
    request.status = status;
    let challenges = status == 401 && request.host == "flux.vault.azure.net";
    state.requests.push(request);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let headers = response.headers_mut();
    if challenges {
        let challenge = "Bearer authorization=\"https://login.microsoftonline.com/tenant-1\", resource=\"https://vault.azure.net\"";
        headers.insert("www-authenticate", challenge.parse().expect("a header"));
    }
    headers.insert("content-type", kind.parse().expect("a header"));
    headers.insert("x-amzn-requestid", "request-1".parse().expect("a header"));
    response
}

fn service(state: &mut State, request: &Request) -> Answer {
    let host = request.host.as_str();
    match host {
        "login.microsoftonline.com" => azure::tokens(state, request),
        "app.azurecr.io" => azure::exchange(state, request),
        "flux.vault.azure.net" => azure::vault(state, request),
        "management.azure.com" => clusters::azure(state, request),
        "container.googleapis.com" => clusters::google(state, request),
        "cloudkms.googleapis.com" => google::kms(state, request),
        "sts.googleapis.com" => google::exchange(state, request),
        "iamcredentials.googleapis.com" => google::impersonate(state, request),
        "oauth2.googleapis.com" => google::assertion(state, request),
        _ if host.starts_with("sts.") => aws::sts(state, request),
        _ if host.starts_with("api.ecr") => aws::ecr(state, request),
        _ if host.starts_with("kms.") => aws::kms(state, request),
        _ if host.starts_with("eks.") => clusters::eks(state, request),
        _ if request.target.starts_with("/tokenreview") => clusters::review(state, request),
        _ => metadata::answer(state, request),
    }
}
