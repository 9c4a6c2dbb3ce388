//! Finds the newest served version of a kind on a cluster whose CRDs are older than the controller (NC-COMPAT-001): an
//! image can be replaced before the CRDs are.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http::uri::{PathAndQuery, Uri};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::client::Body;
use kube::core::Version;
use kube::{Client, Resource};
use tower::{Layer, Service};

/// Timeout of one discovery request.
const LIMIT: Duration = Duration::from_secs(10);

/// A kind in the version that this process is built for; its CRD may serve older versions only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VersionedKind {
    group: String,
    version: String,
    plural: String,
}

impl VersionedKind {
    /// The kind `K`.
    pub fn of<K: Resource<DynamicType = ()>>() -> Self {
        Self {
            group: K::group(&()).into_owned(),
            version: K::version(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
        }
    }
}

/// The versions to use for the kinds whose own version is not served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions {
    served: Arc<HashMap<VersionedKind, String>>,
}

impl Versions {
    /// Asks the API server for each of these kinds. A kind whose own version is served costs one request, for its group
    /// and version. A kind that is not served at all keeps its own version, under which it will be found once its CRD
    /// is installed.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    pub(crate) async fn discover(
        client: &Client,
        kinds: &[VersionedKind],
    ) -> Result<Self, kube::Error> {
        let mut served = HashMap::new();
        let mut lists: HashMap<String, Vec<String>> = HashMap::new();
        for kind in kinds {
            let own = format!("/apis/{}/{}", kind.group, kind.version);
            if plurals(client, &mut lists, &own)
                .await?
                .contains(&kind.plural)
            {
                continue;
            }
            for version in older(client, kind).await? {
                let path = format!("/apis/{}/{version}", kind.group);
                if plurals(client, &mut lists, &path)
                    .await?
                    .contains(&kind.plural)
                {
                    tracing::info!(
                        logger = "setup",
                        group = kind.group,
                        resource = kind.plural,
                        version,
                        "the cluster does not serve version {}, using an older one",
                        kind.version
                    );
                    served.insert(kind.clone(), version);
                    break;
                }
            }
        }
        Ok(Self {
            served: Arc::new(served),
        })
    }

    /// Whether every kind is served in its own version.
    pub(crate) fn is_empty(&self) -> bool {
        self.served.is_empty()
    }

    /// The same URI with the served version, if it is one of a kind that is served in another version.
    fn rewritten(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path().strip_prefix("/apis/")?;
        let (group, path) = path.split_once('/')?;
        let (version, below) = path.split_once('/')?;
        let plural = match below.strip_prefix("namespaces/") {
            Some(namespaced) => namespaced.split_once('/')?.1,
            None => below,
        };
        let plural = plural.split('/').next()?;
        let (_, served) = self.served.iter().find(|(kind, _)| {
            (&*kind.group, &*kind.version, &*kind.plural) == (group, version, plural)
        })?;
        let query = uri.query().map(|query| format!("?{query}"));
        let path = format!(
            "/apis/{group}/{served}/{below}{}",
            query.unwrap_or_default()
        );
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The versions of the kind's group that the server has besides the kind's own, newest first.
async fn older(client: &Client, kind: &VersionedKind) -> Result<Vec<String>, kube::Error> {
    let group: Option<APIGroup> = get(client, format!("/apis/{}", kind.group)).await?;
    let mut versions: Vec<String> = group
        .into_iter()
        .flat_map(|group| group.versions)
        .map(|version| version.version)
        .filter(|version| *version != kind.version)
        .collect();
    versions.sort_by_cached_key(|version| std::cmp::Reverse(Version::parse(version).priority()));
    Ok(versions)
}

/// The plural names of the kinds that a group and version serves.
async fn plurals<'a>(
    client: &Client,
    lists: &'a mut HashMap<String, Vec<String>>,
    path: &str,
) -> Result<&'a [String], kube::Error> {
    if !lists.contains_key(path) {
        let list: Option<APIResourceList> = get(client, path.to_owned()).await?;
        let names = list
            .into_iter()
            .flat_map(|list| list.resources)
            .map(|resource| resource.name);
        lists.insert(path.to_owned(), names.collect());
    }
    Ok(lists.get(path).map(Vec::as_slice).unwrap_or_default())
}

/// Reads from the API server; `None` if the path does not exist.
async fn get<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: String,
) -> Result<Option<T>, kube::Error> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let answer = tokio::time::timeout(LIMIT, client.request::<T>(request)).await;
    match answer {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(late) => Err(kube::Error::Service(late.into())),
    }
}

impl<S> Layer<S> for Versions {
    type Service = VersionedService<S>;

    fn layer(&self, inner: S) -> VersionedService<S> {
        VersionedService {
            inner,
            versions: self.clone(),
        }
    }
}

/// Sends requests for a kind to the served version.
#[derive(Clone)]
pub(crate) struct VersionedService<S> {
    inner: S,
    versions: Versions,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for VersionedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(uri) = self.versions.rewritten(request.uri()) {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use flux_api::notification::{Alert, Provider, Receiver};
    use http::Response;
    use kube::Api;
    use kube::api::{ListParams, Patch, PatchParams};
    use serde_json::{Value, json};

    use super::*;

    /// An API server whose notification group serves these plural names by version, and the requests that it received.
    fn server(
        served: &'static [(&'static str, &'static [&'static str])],
        versions: &Versions,
    ) -> (Client, Arc<Mutex<Vec<String>>>) {
        const GROUP: &str = "/apis/notification.toolkit.fluxcd.io";
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = requests.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let uri = request.uri().to_string();
            let path = request.uri().path().to_owned();
            log.lock()
                .unwrap()
                .push(format!("{} {uri}", request.method()));
            let version = |path: &str| {
                let rest = path.strip_prefix(GROUP)?.strip_prefix('/')?;
                let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
                let (_, plurals) = served.iter().find(|(served, _)| *served == version)?;
                Some((*plurals, rest.to_owned()))
            };
            let body: Option<Value> = if path == GROUP {
                let versions: Vec<Value> = served
                    .iter()
                    .map(|(version, _)| json!({"version": version, "groupVersion": version}))
                    .collect();
                Some(json!({"name": "notification.toolkit.fluxcd.io", "versions": versions}))
            } else {
                version(&path).map(|(plurals, rest)| {
                    if rest.is_empty() {
                        let resources: Vec<Value> = plurals
                            .iter()
                            .map(|plural| json!({"name": plural, "kind": "K", "namespaced": true, "singularName": "", "verbs": []}))
                            .collect();
                        json!({"groupVersion": "g", "resources": resources})
                    } else if request.method() == http::Method::GET {
                        json!({"metadata": {}, "items": [{"metadata": {"name": "a"}, "spec": {}}]})
                    } else {
                        json!({"metadata": {"name": "a"}, "spec": {}})
                    }
                })
            };
            async move {
                let (code, body) = body.map_or_else(
                    || {
                        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                            "reason": "NotFound", "message": "the server could not find the requested resource"});
                        (404, status)
                    },
                    |body| (200, body),
                );
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(code).body(body).unwrap(),
                )
            }
        });
        (Client::new(versions.layer(service), "default"), requests)
    }

    fn kinds() -> [VersionedKind; 3] {
        [
            VersionedKind::of::<Provider>(),
            VersionedKind::of::<Alert>(),
            VersionedKind::of::<Receiver>(),
        ]
    }

    #[tokio::test]
    async fn each_kind_is_used_in_its_newest_served_version() {
        // NC-COMPAT-001: the CRDs of 2.9, and one with a further version
        let older: &[(&str, &[&str])] = &[
            ("v1", &["receivers"]),
            ("v1beta2", &["alerts", "providers", "receivers"]),
            ("v1beta3", &["alerts", "providers"]),
        ];
        let (client, requests) = server(older, &Versions::default());
        let versions = Versions::discover(&client, &kinds()).await.unwrap();
        assert!(!versions.is_empty());
        assert_eq!(
            requests.lock().unwrap().len(),
            4,
            "v1 and v1beta3 once, the group for each"
        );

        let (client, requests) = server(older, &versions);
        let providers: Api<Provider> = Api::default_namespaced(client.clone());
        let listed = providers
            .list(&ListParams::default().labels("a=b"))
            .await
            .unwrap();
        assert_eq!(listed.items.len(), 1);
        let patch = Patch::Merge(json!({"metadata": {"finalizers": []}}));
        #[expect(clippy::disallowed_methods, reason = "the name is the test's own")]
        providers
            .patch("a", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let alerts: Api<Alert> = Api::all(client.clone());
        alerts.list(&ListParams::default()).await.unwrap();
        let receivers: Api<Receiver> = Api::all(client);
        receivers.list(&ListParams::default()).await.unwrap();
        let group = "/apis/notification.toolkit.fluxcd.io";
        assert_eq!(
            *requests.lock().unwrap(),
            [
                format!("GET {group}/v1beta3/namespaces/default/providers?&labelSelector=a%3Db"),
                format!("PATCH {group}/v1beta3/namespaces/default/providers/a?"),
                format!("GET {group}/v1beta3/alerts?"),
                format!("GET {group}/v1/receivers?"),
            ]
        );
    }

    #[tokio::test]
    async fn discovery_of_a_group_with_current_versions_costs_one_request() {
        // DI-CRX-004: the CRDs of 2.10
        let current: &[(&str, &[&str])] = &[
            ("v1", &["alerts", "providers", "receivers"]),
            ("v1beta3", &["alerts", "providers"]),
        ];
        let (client, requests) = server(current, &Versions::default());
        let versions = Versions::discover(&client, &kinds()).await.unwrap();
        assert!(versions.is_empty());
        assert_eq!(
            *requests.lock().unwrap(),
            ["GET /apis/notification.toolkit.fluxcd.io/v1"]
        );
        // without any CRD nothing changes either: they may be installed later
        let (client, _) = server(&[], &Versions::default());
        assert!(
            Versions::discover(&client, &kinds())
                .await
                .unwrap()
                .is_empty()
        );
    }
}
