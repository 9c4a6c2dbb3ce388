//! Why an object has no credentials, with upstream's texts.

use flux_cloud::{aws, azure, gcp};

/// Why a cloud gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// AWS.
    #[error(transparent)]
    Aws(Box<aws::Error>),
    /// Azure.
    #[error(transparent)]
    Azure(Box<azure::Error>),
    /// Google Cloud.
    #[error(transparent)]
    Gcp(Box<gcp::Error>),
    /// An annotation for provider `generic` has a value that it cannot have (RT-WID-031).
    #[error("invalid credential.auth.fluxcd.io/{name} annotation: '{value}'. {expected}")]
    Annotation {
        /// The annotation's name without its prefix.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The audience is that of the cluster's own API server (RT-WID-030).
    #[error("audience '{0}' is not allowed as it is intended for the local kubernetes cluster")]
    LocalAudience(String),
    /// The API server's token is not a JSON web token with an expiry.
    #[error("failed to get expiration time from service account token")]
    Expiry,
    /// The provider has no such credentials.
    #[error("provider '{0}' does not support Git credentials")]
    NoGit(&'static str),
    /// A cached value is of another kind: two keys are equal that must differ.
    #[error("the cached credential is of another kind")]
    Cached,
}

impl From<aws::Error> for CloudError {
    fn from(error: aws::Error) -> Self {
        Self::Aws(Box::new(error))
    }
}

impl From<azure::Error> for CloudError {
    fn from(error: azure::Error) -> Self {
        Self::Azure(Box::new(error))
    }
}

impl From<gcp::Error> for CloudError {
    fn from(error: gcp::Error) -> Self {
        Self::Gcp(Box::new(error))
    }
}

/// Why an object has no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The ServiceAccount could not be read (RT-WID-029).
    #[error("failed to get service account '{account}'")]
    Account {
        /// `namespace/name`.
        account: String,
        /// The API server's error.
        #[source]
        source: flux_objects::Error,
    },
    /// The default ServiceAccount is not in the object's namespace (RT-WID-003, SC-AUTH-052).
    #[error(
        "failed to get service account '{0}': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help"
    )]
    DefaultAccountMissing(String),
    /// The audience of the ServiceAccount's token is unknown.
    #[error("failed to get provider audience")]
    Audience(#[source] CloudError),
    /// The ServiceAccount's annotations name no identity, or not a valid one.
    #[error("failed to get provider identity from service account '{account}' annotations")]
    Annotations {
        /// `namespace/name`.
        account: String,
        /// Why.
        #[source]
        source: CloudError,
    },
    /// The API server issued no token for the ServiceAccount (RT-WID-028).
    #[error("failed to create kubernetes token for service account '{account}'")]
    KubernetesToken {
        /// `namespace/name`.
        account: String,
        /// The API server's error.
        #[source]
        source: flux_objects::Error,
    },
    /// The cloud did not exchange the ServiceAccount's token.
    #[error("failed to create provider access token for service account '{account}'")]
    AccountToken {
        /// `namespace/name`.
        account: String,
        /// Why.
        #[source]
        source: CloudError,
    },
    /// The controller has no credentials of its own (SC-AUTH-050).
    #[error("failed to create provider access token for the controller")]
    ControllerToken(#[source] CloudError),
    /// There is no token to make a registry's login of.
    #[error("failed to get access token for artifact registry")]
    RegistryAccess(#[source] Box<IdentityError>),
    /// The registry gave no login.
    #[error("failed to create artifact registry credentials")]
    RegistryLogin(#[source] CloudError),
    /// There is no token to make a Git login of.
    #[error("failed to get access token for Git repository")]
    GitAccess(#[source] Box<IdentityError>),
    /// There is no Git login.
    #[error("failed to create Git credentials")]
    GitLogin(#[source] CloudError),
    /// The address is not one of the provider, or its configuration is incomplete.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}
