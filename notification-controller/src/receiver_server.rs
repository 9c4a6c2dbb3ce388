//! The server of webhooks: finds the Receiver of a path, checks the request, and asks for reconciles (NC-RECV-050 to
//! NC-RECV-111).

mod cd_event;
mod filters;
mod jwt;
mod payload;
mod signature;
mod targets;
mod validate;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use flux_api::meta::ConditionStatus;
use flux_api::notification::Receiver;
use flux_cluster::Cluster;
use flux_http::ClientOptions;
use flux_references::Reader;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{StatusCode, request};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use self::filters::Filters;
use self::targets::Targets;
use self::validate::{Request, Validator};
use crate::receiver::HOOK;
use crate::server::{Answer, Body, Handler, plain, status};

/// The logger of the server.
pub(crate) const LOGGER: &str = "receiver-server";

/// Receives webhooks.
pub(crate) struct ReceiverServer {
    receivers: Cache<Receiver>,
    paths: Paths,
    validator: Validator,
    targets: Targets,
}

/// The Receivers by path.
#[derive(Clone, Default)]
struct Paths(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    by_path: HashMap<String, BTreeSet<Key>>,
    by_key: HashMap<Key, String>,
}

impl Paths {
    fn of(receivers: &Cache<Receiver>) -> Self {
        let paths = Self::default();
        let known = paths.0.clone();
        receivers.observe(move |key, receiver| {
            let status = receiver.and_then(|receiver| receiver.status.as_ref());
            let path = status.and_then(|status| status.webhook_path.clone());
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            known.set(key, path);
        });
        paths
    }

    /// The first Receiver with this path (NC-RECV-052).
    fn find(&self, path: &str) -> Option<Key> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.by_path.get(path)?.first().cloned()
    }
}

impl Known {
    fn set(&mut self, key: &Key, path: Option<String>) {
        if let Some(old) = self.by_key.remove(key)
            && let Some(keys) = self.by_path.get_mut(&old)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_path.remove(&old);
            }
        }
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            self.by_path
                .entry(path.clone())
                .or_default()
                .insert(key.clone());
            self.by_key.insert(key.clone(), path);
        }
    }
}

impl ReceiverServer {
    /// A server for the Receivers in a cache.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub(crate) fn new(
        receivers: &Cache<Receiver>,
        secrets: Reader<Secret>,
        cluster: Cluster,
        no_cross_namespace: bool,
    ) -> Result<Self, flux_http::BuildError> {
        Ok(Self {
            receivers: receivers.clone(),
            paths: Paths::of(receivers),
            validator: Validator::new(secrets, ClientOptions::default().build()?),
            targets: Targets::new(cluster, no_cross_namespace),
        })
    }

    async fn handle(&self, head: &request::Parts, body: Body) -> Result<StatusCode, Answer> {
        let uri = head.uri.path_and_query().map_or("", |uri| uri.as_str());
        let digest = uri.strip_prefix(HOOK).unwrap_or(uri);
        let digest = flux_objects::path::escaped(digest);
        tracing::info!(logger = LOGGER, "handling request: {digest}");
        // Before the lookup (NC-PROC-043).
        let received = body.read().await?;
        let receiver = self
            .paths
            .find(uri)
            .and_then(|key| self.receivers.get(&key));
        let Some(receiver) = receiver else {
            return Ok(StatusCode::NOT_FOUND);
        };
        let about = json!({
            "reconciler kind": "Receiver",
            "name": receiver.name_any(),
            "namespace": receiver.namespace(),
        });
        let kv = about.to_string();
        // NC-RECV-054
        if receiver.spec.suspend || !is_ready(&receiver) {
            let why = if receiver.spec.suspend {
                "receiver is suspended"
            } else {
                "receiver is not ready"
            };
            let error = "unable to process request";
            tracing::error!(logger = LOGGER, kv, error, "{why}");
            return Ok(StatusCode::SERVICE_UNAVAILABLE);
        }
        let request = Request {
            headers: &head.headers,
            body: &received.bytes,
        };
        let accepted = match self.validator.validate(&receiver, &request).await {
            Ok(accepted) => accepted,
            Err(error) => {
                // NC-RECV-055
                let error = flux_errors::chain(&error);
                tracing::error!(logger = LOGGER, kv, error, "unable to validate payload");
                return Ok(StatusCode::BAD_REQUEST);
            }
        };
        if let Some(line) = &accepted.line {
            tracing::info!(logger = LOGGER, kv, "{line}");
        }
        let filters = match Filters::new(&receiver.spec, &request, &accepted) {
            Ok(filters) => filters,
            Err(error) => {
                // NC-RECV-056
                tracing::error!(
                    logger = LOGGER,
                    kv,
                    error,
                    "unable to create resource filters"
                );
                return Ok(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        // NC-RECV-057
        let mut good = true;
        for (at, resource) in receiver.spec.resources.iter().enumerate() {
            let own = receiver.namespace().unwrap_or_default();
            let accepts = |object: &Value| filters.accept(at, object);
            let asked = self.targets.request(resource, &own, &accepts, &about).await;
            if let Err(error) = asked {
                let mut told = about.clone();
                told["resource"] = json!(resource);
                let kv = told.to_string();
                let error = flux_errors::chain(&error);
                tracing::error!(
                    logger = LOGGER,
                    kv,
                    error,
                    "unable to request reconciliation"
                );
                good = false;
            }
        }
        Ok(if good {
            StatusCode::OK
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

impl Handler for ReceiverServer {
    fn answer(&self, head: request::Parts, body: Body) -> BoxFuture<'_, Answer> {
        async move {
            // NC-RECV-050
            if !head.uri.path().starts_with(HOOK) {
                return plain(StatusCode::NOT_FOUND, "404 page not found\n");
            }
            match self.handle(&head, body).await {
                Ok(code) => status(code),
                Err(answer) => answer,
            }
        }
        .boxed()
    }
}

/// Whether a Receiver is ready, and neither stalled nor being reconciled (NC-RECV-054).
fn is_ready(receiver: &Receiver) -> bool {
    let is_true = |kind: &str| {
        let status = receiver.status.iter();
        status
            .flat_map(|status| &status.conditions)
            .any(|condition| condition.type_ == kind && condition.status == ConditionStatus::True)
    };
    is_true("Ready") && !is_true("Stalled") && !is_true("Reconciling")
}

#[cfg(test)]
mod tests {
    use flux_api::notification::{ReceiverSpec, ReceiverStatus};

    use super::*;

    fn receiver(name: &str, version: &str, path: &str) -> Receiver {
        let mut receiver = Receiver::new(name, ReceiverSpec::default());
        receiver.metadata.resource_version = Some(version.into());
        receiver.metadata.namespace = Some("ns".into());
        receiver.status = Some(ReceiverStatus {
            webhook_path: Some(path.to_owned()).filter(|path| !path.is_empty()),
            ..ReceiverStatus::default()
        });
        receiver
    }

    #[test]
    fn receivers_are_found_by_their_exact_path() {
        let cache = Cache::default();
        let paths = Paths::of(&cache);
        cache.upsert(receiver("b", "1", "/hook/1"));
        cache.upsert(receiver("a", "1", "/hook/1"));
        cache.upsert(receiver("c", "1", ""));
        // NC-RECV-052: the first of those that collide (NC-RECV-111)
        assert_eq!(paths.find("/hook/1"), Some(Key::new("ns", "a")));
        // NC-RECV-053
        for other in ["/hook/1?x=y", "/hook/1/", "/hook/", ""] {
            assert_eq!(paths.find(other), None, "{other}");
        }
        cache.upsert(receiver("a", "2", "/hook/2"));
        assert_eq!(paths.find("/hook/1"), Some(Key::new("ns", "b")));
        assert_eq!(paths.find("/hook/2"), Some(Key::new("ns", "a")));
    }
}
