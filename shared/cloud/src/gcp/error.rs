//! Why no token could be obtained from Google Cloud.

use serde::Deserialize;

use crate::client::CallError;

/// Why no token could be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The provider in a ServiceAccount's annotation is none (RT-WID-015).
    #[error("invalid gcp.auth.fluxcd.io/workload-identity-provider annotation: '{0}'. must match {pattern}", pattern = super::federation::PROVIDER_PATTERN)]
    Provider(String),
    /// The service account in a ServiceAccount's annotation is none (RT-WID-017).
    #[error("invalid iam.gke.io/gcp-service-account annotation: '{0}'. must match {pattern}", pattern = super::federation::EMAIL_PATTERN)]
    Email(String),
    /// The metadata server does not say which cluster this is (RT-WID-015).
    #[error("failed to get GKE cluster {0} from the metadata service")]
    Cluster(&'static str, #[source] CallError),
    /// The metadata server says nothing where it should name the cluster.
    #[error("failed to get GKE cluster {0} from the metadata service: empty value")]
    ClusterEmpty(&'static str),
    /// The metadata server has no token.
    #[error("failed to get a token from the metadata service")]
    Metadata(#[source] CallError),
    /// A token service refused.
    #[error("oauth2/google: failed to exchange the token")]
    Exchange(#[source] CallError),
    /// The service account may not be impersonated.
    #[error("oauth2/google: failed to impersonate the service account")]
    Impersonation(#[source] CallError),
    /// The JSON key is not usable; nothing of it is shown (SC-AUTH-064).
    #[error("failed to parse the Google credentials: {0}")]
    Key(&'static str),
    /// A credential configuration of another kind than `service_account` (SC-AUTH-075).
    #[error("unsupported Google credentials type '{0}': only 'service_account' keys are allowed")]
    KeyType(String),
    /// A credential configuration that the environment names is of a kind that is not supported.
    #[error("unsupported Google credentials type '{0}'")]
    DefaultType(String),
    /// A file cannot be read. Its content is not shown.
    #[error("failed to read {what} {path}")]
    File {
        /// What the file is.
        what: &'static str,
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a host of Artifact Registry (RT-WID-018).
    #[error("invalid GCP registry: '{0}'. must match {pattern}", pattern = super::REGISTRY_PATTERN)]
    Registry(String),
}

/// Code and explanation of a refusal: of OAuth (`error` is a text), or of an API (`error` is an object).
pub(super) fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        Api {
            error: Status,
        },
        OAuth {
            error: String,
            #[serde(default)]
            error_description: String,
        },
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        status: String,
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let (code, text) = match refusal {
        Refusal::Api { error } => (error.status, error.message),
        Refusal::OAuth {
            error,
            error_description,
        } => (error, error_description),
    };
    Some(format!("{code}: {text}"))
}
