//! What a Bucket refers to: Secrets with credentials, a proxy, certificates.

use std::sync::Arc;

use flux_api::source::Bucket;
use flux_http::{Proxy, TlsSettings};
use flux_runtime::Run;
use k8s_openapi::api::core::v1::Secret;

use super::failure::StepError;
use crate::secrets::Secrets;

/// What the Secrets of a Bucket have.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// The credentials.
    pub(super) secret: Option<Arc<Secret>>,
    /// The credentials for the token service.
    pub(super) sts_secret: Option<Arc<Secret>>,
    /// The proxy.
    pub(super) proxy: Proxy,
    /// The certificates for the store.
    pub(super) tls: TlsSettings,
    /// The certificates for the token service.
    pub(super) sts_tls: TlsSettings,
}

/// Reads credentials, those for the token service, the proxy, and the certificates of both, in this order (SC-BKT-020,
/// SC-BKT-022).
pub(super) async fn read(run: &Run<Bucket>, secrets: &Secrets) -> Result<Access, StepError> {
    let object = run.object().clone();
    let (spec, namespace) = (&object.spec, run.namespace());
    let mut access = Access::default();
    let full = |name: &str| format!("{namespace}/{name}");
    if let Some(reference) = &spec.secret_ref {
        let read = secrets.read(namespace, &reference.name).await;
        access.secret = Some(read.map_err(|source| StepError::Secret {
            secret: full(&reference.name),
            source,
        })?);
    }
    let sts = spec.sts.as_ref();
    if let Some(reference) = sts.and_then(|sts| sts.secret_ref.as_ref()) {
        let read = secrets.read(namespace, &reference.name).await;
        access.sts_secret = Some(read.map_err(|source| StepError::StsSecret {
            secret: full(&reference.name),
            source,
        })?);
    }
    if let Some(reference) = &spec.proxy_secret_ref {
        let proxy = secrets.proxy(namespace, &reference.name).await;
        access.proxy = proxy.map_err(StepError::Proxy)?;
    }
    if let Some(reference) = &spec.cert_secret_ref {
        let tls = secrets.tls(namespace, &reference.name).await;
        access.tls = tls.map_err(StepError::Tls)?;
    }
    if let Some(reference) = sts.and_then(|sts| sts.cert_secret_ref.as_ref()) {
        let tls = secrets.tls(namespace, &reference.name).await;
        access.sts_tls = tls.map_err(StepError::StsTls)?;
    }
    Ok(access)
}
