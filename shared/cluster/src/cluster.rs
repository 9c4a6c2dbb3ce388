//! Requests about objects, sent to a cluster.

use std::sync::Arc;
use std::time::Duration;

use flux_objects::path::{self, InvalidPath};
use kube::api::{Api, DynamicObject, GetParams, ListParams};
use kube::core::{Request, Resource as _};
use kube::{Client, core};
use serde_json::Value;

use crate::confidential::Confidential;
use crate::discovery::{Discovery, Resource};
use crate::error::RequestError;
use crate::object::{Object, ObjectId};
use crate::request::{About, Limit, exchange, exchange_json};

/// How many objects one response to a list request has.
pub(crate) const PAGE: u32 = 500;

/// A cluster, accessed with one identity.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    discovery: Arc<Discovery>,
    field_manager: Arc<str>,
    limit: Limit,
    confidential: Arc<Confidential>,
}

impl Cluster {
    /// The cluster behind a client; `field_manager` is the name under which objects are applied.
    pub fn new(client: Client, field_manager: &str) -> Self {
        let discovery = Arc::new(Discovery::new(client.clone()));
        Self {
            client,
            discovery,
            field_manager: field_manager.into(),
            limit: Limit::default(),
            confidential: Arc::default(),
        }
    }

    /// The same cluster, with `confidential` values masked in its error messages (KC-SUB-009).
    #[must_use]
    pub fn masking(&self, confidential: Confidential) -> Self {
        Self {
            confidential: Arc::new(confidential),
            ..self.clone()
        }
    }

    /// The same cluster with a time limit for each request of one run. Once a request has reached the limit, later ones
    /// fail without being sent.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            limit: Limit::new(limit),
            ..self.clone()
        }
    }

    /// The same cluster for requests that have to be sent even after others of the run have reached the time limit.
    #[must_use]
    pub fn each_alone(&self) -> Self {
        Self {
            limit: self.limit.each_alone(),
            ..self.clone()
        }
    }

    /// The same cluster with another identity; the discovered kinds are shared.
    #[must_use]
    pub fn acting_as(&self, client: Client) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    /// The client, for requests that are not about objects.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The kinds that the cluster serves.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The values that are masked in error messages.
    pub fn confidential(&self) -> &Arc<Confidential> {
        &self.confidential
    }

    /// The field manager's name.
    pub fn field_manager(&self) -> &str {
        &self.field_manager
    }

    /// The kind of an object.
    ///
    /// # Errors
    ///
    /// If the cluster does not have the kind, or does not answer.
    pub async fn resource_of(
        &self,
        id: &ObjectId,
        version: &str,
    ) -> Result<Resource, RequestError> {
        let found = self.discovery.resource(&id.group, version, &id.kind);
        self.limit.bound(found).await
    }

    /// The kind of an object in the version that the cluster prefers.
    ///
    /// # Errors
    ///
    /// As [`Cluster::resource_of`].
    pub async fn preferred_resource_of(&self, id: &ObjectId) -> Result<Resource, RequestError> {
        let found = self.discovery.preferred(&id.group, &id.kind);
        self.limit.bound(found).await
    }

    /// Whether the cluster serves a kind, by a new request instead of the discovery cache.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    pub async fn serves_kind(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<bool, RequestError> {
        self.discovery.forget_version(group, version);
        let found = self.discovery.find(group, version, kind);
        Ok(self.limit.bound(found).await?.is_some())
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// The server's; [`RequestError::is_not_found`] if there is no such object.
    pub async fn get(&self, resource: &Resource, id: &ObjectId) -> Result<Object, RequestError> {
        let (path, name) = Self::named(resource, id)?;
        let request = path.get(&name, &GetParams::default());
        self.object(request, resource, id).await
    }

    /// Reads an object's metadata.
    ///
    /// # Errors
    ///
    /// As [`Cluster::get`].
    pub async fn get_metadata(
        &self,
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<Object, RequestError> {
        let (path, name) = Self::named(resource, id)?;
        let request = path.get_metadata(&name, &GetParams::default());
        self.object(request, resource, id).await
    }

    /// The metadata of every object of a kind that matches a label selector, in one namespace or in all.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn list_metadata(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Object>, RequestError> {
        let path = Self::collection(resource, namespace)?;
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        let mut objects = Vec::new();
        let id = ObjectId {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
            ..ObjectId::default()
        };
        loop {
            let mut page = self
                .send(path.list_metadata(&params), resource, &id)
                .await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                objects.extend(items.into_iter().filter_map(Object::new));
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => params = params.continue_token(token),
                _ => return Ok(objects),
            }
        }
    }

    /// A page of the objects of a kind, in one namespace or in all, as the text of the response.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn list_text(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<String, RequestError> {
        let request = Self::collection(resource, namespace)?.list(params);
        let request = request.map_err(|error| RequestError::local(error.to_string()))?;
        let about = About {
            resource: resource.qualified_name(),
            name: String::new(),
        };
        let answer = exchange(&self.client, request, &about);
        let text = self.limit.bound(answer).await?;
        String::from_utf8(text.into())
            .map_err(|_| RequestError::local("the server's answer is not UTF-8"))
    }

    /// The API of a kind, to watch its objects.
    ///
    /// # Errors
    ///
    /// If the namespace is not a valid path segment.
    #[expect(clippy::disallowed_methods, reason = "the namespace is checked here")]
    pub fn api(
        &self,
        resource: &Resource,
        namespace: &str,
    ) -> Result<Api<DynamicObject>, RequestError> {
        let kind = resource.api_resource();
        Ok(if resource.namespaced && !namespace.is_empty() {
            let namespace = path::namespace(namespace)?;
            Api::namespaced_with(self.client.clone(), &namespace, &kind)
        } else {
            Api::all_with(self.client.clone(), &kind)
        })
    }

    /// The path of the objects of a kind, in one namespace or in all.
    #[expect(clippy::disallowed_methods, reason = "the namespace is checked here")]
    pub(crate) fn collection(
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<Request, RequestError> {
        let namespace = namespace.map(path::namespace).transpose()?;
        let kind = resource.api_resource();
        Ok(Request::new(DynamicObject::url_path(
            &kind,
            namespace.as_deref(),
        )))
    }

    /// The path of the objects of an object's kind in its namespace.
    pub(crate) fn path(resource: &Resource, id: &ObjectId) -> Result<Request, RequestError> {
        if resource.namespaced && id.namespace.is_empty() {
            // The server has no path for this; the text is that of upstream's client.
            return Err(missing(resource, id));
        }
        Self::collection(
            resource,
            resource.namespaced.then_some(id.namespace.as_str()),
        )
    }

    /// As [`Cluster::path`], with the segment for the object's name.
    pub(crate) fn named(
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<(Request, String), RequestError> {
        Ok((Self::path(resource, id)?, path::name(&id.name)?))
    }

    pub(crate) async fn object(
        &self,
        request: Result<http::Request<Vec<u8>>, core::request::Error>,
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<Object, RequestError> {
        let value = self.send(request, resource, id).await?;
        Object::new(value)
            .ok_or_else(|| RequestError::local("the server's answer is not an object"))
    }

    /// Sends a request about an object and returns the response, within the run's limit.
    pub(crate) async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, core::request::Error>,
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<Value, RequestError> {
        self.send_for(request, resource, id).await
    }

    /// As [`Cluster::send`], with a response of this type.
    pub(crate) async fn send_for<T: serde::de::DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, core::request::Error>,
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<T, RequestError> {
        let request = request.map_err(|error| RequestError::local(error.to_string()))?;
        let about = About {
            resource: resource.qualified_name(),
            name: id.name.clone(),
        };
        let answer = exchange_json(&self.client, request, &about);
        self.limit.bound(answer).await.map_err(|mut error| {
            if error.is_missing_path() {
                // The path is gone, and possibly the kind with it.
                self.discovery.forget(&resource.api_version());
            }
            self.confidential.mask(&mut error.message, id);
            error
        })
    }
}

impl From<InvalidPath> for RequestError {
    fn from(error: InvalidPath) -> Self {
        Self::local(error.to_string())
    }
}

/// The error of upstream's client for an object of a namespaced kind without a namespace: the server has no such path.
fn missing(resource: &Resource, id: &ObjectId) -> RequestError {
    let message = format!(
        "the server could not find the requested resource (patch {} {})",
        resource.qualified_name(),
        id.name
    );
    RequestError::refusal(404, "NotFound", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(namespaced: bool) -> Resource {
        Resource {
            group: String::new(),
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            namespaced,
        }
    }

    fn id(namespace: &str, name: &str) -> ObjectId {
        ObjectId {
            kind: "ConfigMap".into(),
            namespace: namespace.into(),
            name: name.into(),
            ..ObjectId::default()
        }
    }

    #[test]
    fn names_from_manifests_are_escaped_in_paths() {
        let path = |namespace, name| {
            Cluster::named(&resource(true), &id(namespace, name))
                .map(|(request, name)| format!("{}/{name}", request.url_path))
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            path("a?b", "?watch=true"),
            Ok("/api/v1/namespaces/a%3Fb/configmaps/%3Fwatch%3Dtrue".into())
        );
        assert_eq!(
            path("a", "../b"),
            Err("invalid resource name \"../b\": [may not contain '/']".into())
        );
        // The first of the two is named, as in upstream's client.
        assert_eq!(
            path("..", "a/b"),
            Err("invalid namespace \"..\": [may not be '..']".into())
        );
        assert_eq!(path("a", ""), Err("resource name may not be empty".into()));
        let cluster_wide = Cluster::named(&resource(false), &id("a/b", "c"));
        assert_eq!(cluster_wide.unwrap().0.url_path, "/api/v1/configmaps");
    }
}
