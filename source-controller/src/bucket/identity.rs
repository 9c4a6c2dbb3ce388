//! The cloud identity that a Bucket without credentials of its own acts with (SC-AUTH-063, SC-AUTH-064, SC-AUTH-067).

use std::sync::Arc;

use flux_api::source::Bucket;
use flux_bucket::{BoxError, TokenSource};
use flux_cloud::azure::{self, SCOPE_BLOB_STORAGE};
use flux_cloud::{Environment, aws};
use flux_http::{BuildError, Proxy, Secret};
use flux_identity::{Identities, IdentityError};

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityFault {
    #[error(transparent)]
    Client(#[from] BuildError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Who a Bucket acts as: the ServiceAccount that it names, the default one, or the controller.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) identities: Identities,
    pub(super) object: Arc<Bucket>,
    /// The proxy of the object, which requests for tokens leave through as well (SC-BKT-066).
    pub(super) proxy: Proxy,
}

impl Identity {
    fn account(&self) -> Option<&str> {
        self.object.spec.service_account_name.as_deref()
    }

    /// Access keys (SC-AUTH-063).
    pub(super) async fn aws(
        &self,
        region: Option<&str>,
        sts_endpoint: Option<&str>,
    ) -> Result<aws::Credentials, IdentityFault> {
        let (object, account) = (&*self.object, self.account());
        let identity = self.identities.of(object, account, &self.proxy)?;
        Ok(identity.aws_credentials(region, sts_endpoint).await?)
    }

    /// Tokens for Azure: of a service principal in the environment, else of the identity (SC-AUTH-067).
    pub(super) fn azure(self) -> TokenSource {
        TokenSource::new(move || {
            let this = self.clone();
            Box::pin(async move { this.azure_token().await })
        })
    }

    async fn azure_token(&self) -> Result<Secret, BoxError> {
        let (object, account) = (&*self.object, self.account());
        let identity = self.identities.of(object, account, &self.proxy)?;
        let token = if has_principal(identity.cloud().environment()) {
            azure::default_token(identity.cloud(), SCOPE_BLOB_STORAGE).await?
        } else {
            identity.azure_token(SCOPE_BLOB_STORAGE).await?
        };
        Ok(token.value)
    }

    /// Tokens for Google Cloud (SC-AUTH-064).
    pub(super) fn google(self) -> TokenSource {
        TokenSource::new(move || {
            let this = self.clone();
            Box::pin(async move {
                let (object, account) = (&*this.object, this.account());
                let identity = this.identities.of(object, account, &this.proxy)?;
                Ok(identity.gcp_token().await?.value)
            })
        })
    }
}

/// Whether the environment has a service principal, which upstream's chain asks first.
fn has_principal(environment: &Environment) -> bool {
    let has = |name: &str| environment.get(name).is_some();
    has("AZURE_TENANT_ID")
        && has("AZURE_CLIENT_ID")
        && (has("AZURE_CLIENT_SECRET") || has("AZURE_CLIENT_CERTIFICATE_PATH"))
}
