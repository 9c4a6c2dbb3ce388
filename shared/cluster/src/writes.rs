//! Writes of objects, one request each.

use flux_objects::path;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, ValidationDirective};
use kube::core::Request;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::discovery::Resource;
use crate::error::RequestError;
use crate::object::{Object, ObjectId};

const JSON: &str = "application/json";

impl Cluster {
    /// Applies an object server-side, taking over fields that others manage. Returns the stored object.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn apply(
        &self,
        resource: &Resource,
        object: &Object,
        dry_run: bool,
    ) -> Result<Object, RequestError> {
        let id = object.id();
        let params = PatchParams {
            dry_run,
            force: true,
            field_manager: Some(self.field_manager().to_owned()),
            field_validation: None,
        };
        let (path, name) = Self::named(resource, id)?;
        let request = path.patch(&name, &params, &Patch::Apply(object.fields()));
        self.object(request, resource, id).await
    }

    /// Dry run of creating an object. An invalid object is refused before the server checks whether the name is taken.
    ///
    /// # Errors
    ///
    /// The server's; `AlreadyExists` if only the name is in the way.
    pub async fn dry_create(
        &self,
        resource: &Resource,
        object: &Object,
    ) -> Result<(), RequestError> {
        let id = object.id();
        let params = PostParams {
            dry_run: true,
            field_manager: Some(self.field_manager().to_owned()),
        };
        let body = body_of(object)?;
        let request = Self::path(resource, id)?.create(&params, body);
        self.send(request, resource, id).await.map(drop)
    }

    /// Changes an object by a JSON patch. Returns the stored object.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn json_patch(
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
            field_manager: Some(self.field_manager().to_owned()),
            ..PatchParams::default()
        };
        let (path, name) = Self::named(resource, id)?;
        let request = path.patch(&name, &params, &patch);
        self.object(request, resource, id).await
    }

    /// Deletes an object, and its dependents in the background.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn delete(&self, resource: &Resource, id: &ObjectId) -> Result<(), RequestError> {
        let (path, name) = Self::named(resource, id)?;
        let request = path.delete(&name, &DeleteParams::background());
        self.send(request, resource, id).await.map(drop)
    }

    /// Deletes the object only if it has this uid; with an empty uid, whichever has its name.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn delete_exactly(
        &self,
        resource: &Resource,
        id: &ObjectId,
        uid: &str,
    ) -> Result<(), RequestError> {
        let mut params = DeleteParams::background();
        if !uid.is_empty() {
            params = params.preconditions(Preconditions {
                uid: Some(uid.to_owned()),
                ..Preconditions::default()
            });
        }
        let (path, name) = Self::named(resource, id)?;
        let request = path.delete(&name, &params);
        self.send(request, resource, id).await.map(drop)
    }

    /// Applies an object server-side with strict field validation. With `force` fields that others manage are taken
    /// over; without it they are a conflict.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn apply_strictly(
        &self,
        resource: &Resource,
        object: &Object,
        force: bool,
    ) -> Result<Object, RequestError> {
        let id = object.id();
        let params = PatchParams {
            dry_run: false,
            force,
            field_manager: Some(self.field_manager().to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let (path, name) = Self::named(resource, id)?;
        let request = path.patch(&name, &params, &Patch::Apply(object.fields()));
        self.object(request, resource, id).await
    }

    /// Creates an object. If it has `metadata.generateName` and no name, the server generates one.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn create(
        &self,
        resource: &Resource,
        object: &Object,
    ) -> Result<Object, RequestError> {
        let id = object.id();
        let params = PostParams {
            dry_run: false,
            field_manager: Some(self.field_manager().to_owned()),
        };
        let body = body_of(object)?;
        let request = Self::path(resource, id)?.create(&params, body);
        self.object(request, resource, id).await
    }

    /// Replaces an object with strict field validation. If it has a resource version, the stored object must still have
    /// the same one.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn replace(
        &self,
        resource: &Resource,
        object: &Object,
    ) -> Result<Object, RequestError> {
        let id = object.id();
        let request = self.write(Method::PUT, resource, id, JSON, true, body_of(object)?)?;
        self.object(Ok(request), resource, id).await
    }

    /// Changes an object by a patch of the given media type.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn patch(
        &self,
        resource: &Resource,
        id: &ObjectId,
        media_type: &str,
        patch: String,
    ) -> Result<Object, RequestError> {
        let patch = patch.into_bytes();
        let request = self.write(Method::PATCH, resource, id, media_type, false, patch)?;
        self.object(Ok(request), resource, id).await
    }

    /// Changes an object's managed fields by a JSON patch, if it still has the resource version at which they were
    /// read.
    ///
    /// # Errors
    ///
    /// The server's; a conflict if the object has changed.
    pub async fn patch_managers(
        &self,
        resource: &Resource,
        live: &Object,
        mut patch: Vec<Value>,
    ) -> Result<Object, RequestError> {
        patch.push(serde_json::json!({
            "op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version(),
        }));
        let id = live.id();
        let media_type = "application/json-patch+json";
        let patch = Value::Array(patch).to_string().into_bytes();
        let request = self.write(Method::PATCH, resource, id, media_type, true, patch)?;
        self.object(Ok(request), resource, id).await
    }

    /// Deletes an object with `params`. Returns whether it is gone; if not, finalizers or dependents delay that.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn delete_with(
        &self,
        resource: &Resource,
        id: &ObjectId,
        params: &DeleteParams,
    ) -> Result<bool, RequestError> {
        let (path, name) = Self::named(resource, id)?;
        let request = path.delete(&name, params);
        let answer = self.send(request, resource, id).await?;
        // An object that still exists is returned with its deletion time; one that is gone is returned without it, or
        // not at all.
        Ok(answer["metadata"]["deletionTimestamp"].is_null())
    }

    fn write(
        &self,
        method: Method,
        resource: &Resource,
        id: &ObjectId,
        media_type: &str,
        strict: bool,
        body: Vec<u8>,
    ) -> Result<http::Request<Vec<u8>>, RequestError> {
        let (Request { url_path, .. }, name) = Self::named(resource, id)?;
        let manager = path::escaped(self.field_manager());
        let strict = if strict {
            "&fieldValidation=Strict"
        } else {
            ""
        };
        http::Request::builder()
            .method(method)
            .uri(format!("{url_path}/{name}?fieldManager={manager}{strict}"))
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, media_type)
            .body(body)
            .map_err(|error| RequestError::local(error.to_string()))
    }
}

fn body_of(object: &Object) -> Result<Vec<u8>, RequestError> {
    serde_json::to_vec(object.fields()).map_err(|error| RequestError::local(error.to_string()))
}
