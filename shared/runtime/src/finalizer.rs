//! Adds and removes a finalizer.

use flux_objects::{Error, Objects};
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::watch::Watched;

/// Whether the object has the finalizer.
pub(crate) fn is_set<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.finalizers().iter().any(|name| name == finalizer)
}

/// Adds or removes the finalizer of an object that is at `version` on the server. Returns the changed object; `None` if
/// the finalizer was to be removed and the object is gone.
///
/// # Errors
///
/// If the server cannot be reached or refuses the change, for example because the object has changed since.
pub(crate) async fn set<K>(
    objects: &Objects<K>,
    object: &K,
    version: &str,
    finalizer: &str,
    present: bool,
    manager: &str,
) -> Result<Option<K>, Error>
where
    K: Watched + Resource<DynamicType = ()>,
{
    let mut finalizers: Vec<String> = object.finalizers().to_vec();
    finalizers.retain(|name| name != finalizer);
    if present {
        finalizers.push(finalizer.to_owned());
    }
    let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    match objects
        .patch(&object.name_any(), &params, &Patch::Merge(&body))
        .await
    {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() && !present => Ok(None),
        Err(error) => Err(error),
    }
}
