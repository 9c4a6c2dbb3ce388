//! The requests that are sent to a cluster.

use std::sync::Arc;

use flux_objects::path::{self, InvalidPath};
use kube::api::{
    Api, DeleteParams, DynamicObject, GetParams, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::{Request, Resource as _};
use kube::{Client, core};
use serde_json::Value;

use crate::discovery::{Discovery, Resource};
use crate::error::RequestError;
use crate::{Object, ObjectId};

/// How many objects one answer to a list request holds.
const PAGE: u32 = 500;

/// A cluster, seen with one identity.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    discovery: Arc<Discovery>,
    field_manager: Arc<str>,
}

impl Cluster {
    /// The cluster behind a client; what is applied is applied under the name of that field manager.
    pub fn new(client: Client, field_manager: &str) -> Self {
        let discovery = Arc::new(Discovery::new(client.clone()));
        Self {
            client,
            discovery,
            field_manager: field_manager.into(),
        }
    }

    /// The same cluster with another identity. What is known of its kinds is shared.
    pub fn acting_as(&self, client: Client) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    /// The client, for requests about other things than objects.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Which kinds the cluster has.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The field manager's name.
    pub fn field_manager(&self) -> &str {
        &self.field_manager
    }

    /// The kind of an object.
    ///
    /// # Errors
    ///
    /// Where the cluster has no such kind, or does not answer.
    pub async fn resource_of(
        &self,
        id: &ObjectId,
        version: &str,
    ) -> Result<Resource, RequestError> {
        self.discovery.resource(&id.group, version, &id.kind).await
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// The server's, [`RequestError::is_not_found`] where there is none.
    pub async fn get(&self, resource: &Resource, id: &ObjectId) -> Result<Object, RequestError> {
        let (path, name) = Self::named(resource, id)?;
        let request = path.get(&name, &GetParams::default());
        self.object(request, resource, id, "get").await
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
        self.object(request, resource, id, "get").await
    }

    /// Applies an object, taking over what others manage; gives what the server made of it.
    pub(crate) async fn apply(
        &self,
        resource: &Resource,
        object: &Object,
        dry_run: bool,
    ) -> Result<Object, RequestError> {
        let id = object.id();
        let params = PatchParams {
            dry_run,
            force: true,
            field_manager: Some(self.field_manager.to_string()),
            field_validation: None,
        };
        let (path, name) = Self::named(resource, &id)?;
        let request = path.patch(&name, &params, &Patch::Apply(object.fields()));
        self.object(request, resource, &id, "patch").await
    }

    /// Whether the server would make an object of that name if there were none. What it finds wrong with the object it
    /// says before it finds that the name is taken.
    pub(crate) async fn would_be_made(&self, resource: &Resource, object: &Object) -> bool {
        let id = object.id();
        let params = PostParams {
            dry_run: true,
            field_manager: Some(self.field_manager.to_string()),
        };
        let Ok(path) = Self::path(resource, &id) else {
            return false;
        };
        let Ok(body) = serde_json::to_vec(object.fields()) else {
            return false;
        };
        match self
            .send(path.create(&params, body), resource, &id, "create")
            .await
        {
            Ok(_) => true,
            Err(error) => error.reason == "AlreadyExists",
        }
    }

    /// Changes an object by a JSON patch; gives what the server made of it.
    pub(crate) async fn json_patch(
        &self,
        resource: &Resource,
        id: &ObjectId,
        patch: Vec<Value>,
    ) -> Result<Object, RequestError> {
        let patch: Patch<()> = match serde_json::from_value(Value::Array(patch)) {
            Ok(patch) => Patch::Json(patch),
            Err(error) => return Err(RequestError::local(error.to_string())),
        };
        let params = PatchParams {
            field_manager: Some(self.field_manager.to_string()),
            ..PatchParams::default()
        };
        let (path, name) = Self::named(resource, id)?;
        let request = path.patch(&name, &params, &patch);
        self.object(request, resource, id, "patch").await
    }

    /// Deletes an object; its dependents follow in the background.
    pub(crate) async fn delete(
        &self,
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<(), RequestError> {
        let (path, name) = Self::named(resource, id)?;
        let request = path.delete(&name, &DeleteParams::background());
        self.send(request, resource, id, "delete").await.map(drop)
    }

    /// The metadata of every object of a kind that a label selector finds, in one namespace or in all.
    pub(crate) async fn list_metadata(
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
                .send(path.list_metadata(&params), resource, &id, "list")
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

    /// A page of the objects of a kind, in one namespace or in all, as the text that the server wrote.
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
        Ok(self.client.request_text(request).await?)
    }

    /// The objects of a kind, to watch them.
    ///
    /// # Errors
    ///
    /// Where the namespace is no segment of a path.
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
    fn collection(resource: &Resource, namespace: Option<&str>) -> Result<Request, RequestError> {
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
            // The server has no path for this; the words are those of upstream's client.
            return Err(missing(resource, id, "patch"));
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
        verb: &str,
    ) -> Result<Object, RequestError> {
        let value = self.send(request, resource, id, verb).await?;
        Object::new(value).ok_or_else(|| RequestError::local("the server's answer is no object"))
    }

    pub(crate) async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, core::request::Error>,
        resource: &Resource,
        id: &ObjectId,
        verb: &str,
    ) -> Result<Value, RequestError> {
        let request = request.map_err(|error| RequestError::local(error.to_string()))?;
        self.client
            .request::<Value>(request)
            .await
            .map_err(|error| match RequestError::from(error) {
                error if error.code == 404 && error.reason != "NotFound" => {
                    // The path is gone, and with it perhaps the kind.
                    self.discovery.forget(&resource.api_version());
                    missing(resource, id, verb)
                }
                error => error,
            })
    }
}

impl From<InvalidPath> for RequestError {
    fn from(error: InvalidPath) -> Self {
        Self::local(error.to_string())
    }
}

/// What upstream's client makes of an answer that is no status but a bare 404.
fn missing(resource: &Resource, id: &ObjectId, verb: &str) -> RequestError {
    let message = format!(
        "the server could not find the requested resource ({verb} {} {})",
        resource.qualified_name(),
        id.name
    );
    RequestError {
        code: 404,
        reason: "NotFound".to_owned(),
        message,
        is_manager_conflict: false,
    }
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
    fn names_from_manifests_are_segments_of_a_path() {
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
        // The first of both is named, as upstream's client does.
        assert_eq!(
            path("..", "a/b"),
            Err("invalid namespace \"..\": [may not be '..']".into())
        );
        assert_eq!(path("a", ""), Err("resource name may not be empty".into()));
        let cluster_wide = Cluster::named(&resource(false), &id("a/b", "c"));
        assert_eq!(cluster_wide.unwrap().0.url_path, "/api/v1/configmaps");
    }
}
