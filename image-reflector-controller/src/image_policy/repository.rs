//! The ImageRepository that a policy refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use flux_api::image::{ImagePolicy, ImageRepository};
use flux_objects::Objects;
use flux_references::{ObjectRef, Reader, key_in};
use flux_runtime::queue::Key;
use flux_tenancy::check_access_from;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Client, ResourceExt as _};

use super::failure::RepositoryError;

/// Namespace and name of the ImageRepository (IR-POL-010).
pub(super) fn key(policy: &ImagePolicy) -> Key {
    let reference = &policy.spec.image_repository_ref;
    let own = policy.metadata.namespace.as_deref().unwrap_or_default();
    key_in(reference.namespace.as_deref(), own, &reference.name)
}

/// What a policy refers to, for the index.
pub(crate) fn references(policy: &ImagePolicy) -> Vec<ObjectRef> {
    vec![ObjectRef::new("ImageRepository", key(policy))]
}

/// Reads the ImageRepository of a policy, and checks that the policy may use it (IR-POL-037 to IR-POL-043).
pub(super) async fn referred(
    client: &Client,
    repositories: &Reader<ImageRepository>,
    policy: &ImagePolicy,
    no_cross_namespace: bool,
) -> Result<Arc<ImageRepository>, RepositoryError> {
    let key = key(policy);
    let own = policy.namespace().unwrap_or_default();
    if no_cross_namespace && key.namespace != own {
        return Err(RepositoryError::CrossNamespace(key));
    }
    repositories.synced().await;
    let repository = repositories.get(&key).await.map_err(|error| {
        if error.is_not_found() {
            RepositoryError::Missing(error)
        } else {
            RepositoryError::Unreadable(error)
        }
    })?;
    if key.namespace == own {
        return Ok(repository);
    }
    let selectors: Option<Vec<_>> = repository.spec.access_from.as_ref().map(|access| {
        let selectors = access.namespace_selectors.iter();
        selectors
            .map(|selector| selector.match_labels.clone())
            .collect()
    });
    // Without selectors the labels do not matter.
    let labels = match selectors {
        Some(_) => labels(client, &own).await?,
        None => BTreeMap::new(),
    };
    let object = (key.namespace.as_str(), key.name.as_str());
    check_access_from(object, selectors.as_deref(), (&own, &labels))
        .map_err(RepositoryError::Denied)?;
    Ok(repository)
}

/// The labels of a namespace at this time: they are not watched (IR-POL-044).
async fn labels(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, String>, RepositoryError> {
    let namespaces = Objects::<Namespace>::of_cluster(client.clone());
    let found = namespaces.get(namespace).await;
    let found = found.map_err(RepositoryError::Namespace)?;
    Ok(found.metadata.labels.unwrap_or_default())
}
