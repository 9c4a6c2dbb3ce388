//! The steps of a reconcile: free functions with what they need as parameters, and typed errors.

use flux_api::source::{Bucket, BucketSpec};
use flux_objects::Objects;
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt};

use super::failure::StepError;

/// The host that is asked for the bucket.
pub(super) fn endpoint(spec: &BucketSpec) -> Result<String, StepError> {
    let endpoint = spec.endpoint.trim_end_matches('/');
    if endpoint.is_empty() || endpoint.contains('/') {
        return Err(StepError::Endpoint(spec.endpoint.clone()));
    }
    Ok(endpoint.to_owned())
}

/// The access key in the Secret of the Bucket.
pub(super) async fn access_key(client: &Client, bucket: &Bucket) -> Result<String, StepError> {
    let Some(reference) = &bucket.spec.secret_ref else {
        return Err(StepError::NoSecret);
    };
    let namespace = bucket.namespace().unwrap_or_default();
    let secrets = Objects::<Secret>::in_namespace(client.clone(), &namespace)
        .map_err(|error| StepError::Read(error.into()))?;
    let secret = secrets.get_opt(&reference.name).await;
    let secret = secret
        .map_err(StepError::Read)?
        .ok_or_else(|| StepError::SecretMissing(reference.name.clone()))?;
    let data = secret.data.unwrap_or_default();
    let access_key = data
        .get("accesskey")
        .ok_or_else(|| StepError::KeyMissing(reference.name.clone()))?;
    Ok(String::from_utf8_lossy(&access_key.0).into_owned())
}
