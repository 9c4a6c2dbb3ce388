//! The steps of a reconcile: free functions with what they need as parameters, and typed errors.

use flux_api::source::{Bucket, BucketSpec};
use flux_references::{ObjectRef, Reader};
use flux_runtime::queue::Key;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::failure::StepError;

/// The host that is asked for the bucket.
pub(super) fn endpoint(spec: &BucketSpec) -> Result<String, StepError> {
    let endpoint = spec.endpoint.trim_end_matches('/');
    if endpoint.is_empty() || endpoint.contains('/') {
        return Err(StepError::Endpoint(spec.endpoint.clone()));
    }
    Ok(endpoint.to_owned())
}

/// The Secret that a Bucket refers to: a change of it concerns the Bucket.
pub(crate) fn references(bucket: &Bucket) -> Vec<ObjectRef> {
    let own = bucket.namespace().unwrap_or_default();
    let secret = bucket.spec.secret_ref.iter();
    secret
        .map(|secret| ObjectRef::new("Secret", Key::new(&*own, &*secret.name)))
        .collect()
}

/// The access key in the Secret of the Bucket.
pub(super) async fn access_key(
    secrets: &Reader<Secret>,
    bucket: &Bucket,
) -> Result<String, StepError> {
    let Some(ObjectRef { key, .. }) = references(bucket).pop() else {
        return Err(StepError::NoSecret);
    };
    let secret = secrets.get(&key).await.map_err(|error| {
        if error.is_not_found() {
            return StepError::SecretMissing(key.name.clone());
        }
        StepError::Read(error)
    })?;
    let data = secret.data.iter().flatten();
    let mut keys = data.filter(|(name, _)| *name == "accesskey");
    let (_, access_key) = keys.next().ok_or(StepError::KeyMissing(key.name))?;
    Ok(String::from_utf8_lossy(&access_key.0).into_owned())
}
