//! ServiceAccounts: what their annotations say, and their tokens.

use std::collections::BTreeMap;

use flux_cloud::{CloudClient, Token, aws, azure, gcp};
use flux_http::Secret;
use flux_objects::Objects;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Client, ResourceExt as _};

use crate::error::CloudError;
use crate::generic::Generic;
use crate::provider::Provider;

const AWS_ROLE: &str = "eks.amazonaws.com/role-arn";
const AZURE_TENANT: &str = "azure.workload.identity/tenant-id";
const AZURE_CLIENT: &str = "azure.workload.identity/client-id";
const GCP_EMAIL: &str = "iam.gke.io/gcp-service-account";
const GCP_PROVIDER: &str = "gcp.auth.fluxcd.io/workload-identity-provider";

/// Whom a ServiceAccount stands for at a provider, by its annotations.
#[derive(Debug)]
pub(crate) enum Cloud {
    /// A role (RT-WID-005).
    Aws { role: String },
    /// A client of a tenant (RT-WID-010).
    Azure { tenant: String, client: String },
    /// A workload identity provider, or the cluster itself, and the service account to impersonate (RT-WID-015,
    /// RT-WID-017).
    Gcp {
        provider: Option<String>,
        email: Option<String>,
    },
    /// The ServiceAccount itself.
    Generic(Generic),
}

impl Cloud {
    /// Reads the annotations for a provider; those for `generic` are given.
    ///
    /// # Errors
    /// One is missing or not valid; the texts name it (SC-AUTH-053, SC-AUTH-057, SC-AUTH-059).
    pub(crate) fn new(
        provider: Provider,
        account: &ServiceAccount,
        generic: &Generic,
    ) -> Result<Self, CloudError> {
        let annotations = account.annotations();
        let get = |name: &str| annotations.get(name).map(String::as_str);
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        Ok(match provider {
            Provider::Aws => {
                let role = get(AWS_ROLE).unwrap_or_default();
                aws::check_role_arn(role)?;
                Self::Aws {
                    role: role.to_owned(),
                }
            }
            Provider::Azure => Self::Azure {
                tenant: get(AZURE_TENANT)
                    .ok_or(azure::Error::TenantMissing)?
                    .to_owned(),
                client: get(AZURE_CLIENT)
                    .ok_or(azure::Error::ClientMissing)?
                    .to_owned(),
            },
            Provider::Gcp => {
                let email = set(GCP_EMAIL);
                email.map(gcp::check_email).transpose()?;
                Self::Gcp {
                    provider: workload_identity_provider(annotations)?,
                    email: email.map(str::to_owned),
                }
            }
            Provider::Generic => Self::Generic(generic.clone()),
        })
    }

    /// The parts of cache keys that name this identity (RT-WID-023, RT-WID-032).
    pub(crate) fn key_parts(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Aws { role } => vec![("identity", role.clone())],
            Self::Azure { tenant, client } => {
                vec![("tenant", tenant.clone()), ("client", client.clone())]
            }
            Self::Gcp { provider, email } => vec![
                ("identity", email.clone().unwrap_or_default()),
                (
                    "workload identity provider",
                    provider.clone().unwrap_or_default(),
                ),
            ],
            Self::Generic(generic) => generic.key_parts(),
        }
    }
}

/// The audience of the workload identity provider in the annotations, if there is one (RT-WID-015).
pub(crate) fn workload_identity_provider(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<String>, gcp::Error> {
    let provider = annotations.get(GCP_PROVIDER);
    let provider = provider.filter(|provider| !provider.is_empty());
    provider
        .map(|text| gcp::provider_audience(text))
        .transpose()
}

/// The audiences of a ServiceAccount's token for a provider.
///
/// # Errors
/// The annotation for GCP is not valid, or nothing says which GKE cluster this is.
pub(crate) async fn audiences(
    provider: Provider,
    account: &ServiceAccount,
    generic: &Generic,
    cluster: &gcp::Cluster,
    client: &CloudClient,
) -> Result<Vec<String>, CloudError> {
    Ok(match provider {
        Provider::Aws => vec![aws::AUDIENCE.to_owned()],
        Provider::Azure => vec![azure::AUDIENCE.to_owned()],
        Provider::Gcp => match workload_identity_provider(account.annotations())? {
            Some(audience) => vec![audience],
            None => vec![cluster.token_audience(client).await?],
        },
        Provider::Generic => generic.audiences.clone(),
    })
}

/// Requests a token of a ServiceAccount for these audiences, or for the API server itself if there are none. `seconds`
/// is its lifetime, the API server's default otherwise (RT-WID-001).
///
/// # Errors
/// The API server refuses, as it does without the right to create tokens (RT-WID-028).
pub(crate) async fn token(
    client: &Client,
    namespace: &str,
    name: &str,
    audiences: &[String],
    seconds: Option<i64>,
) -> Result<Secret, flux_objects::Error> {
    let accounts = Objects::<ServiceAccount>::in_namespace(client.clone(), namespace)?;
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(audiences.to_vec()),
            expiration_seconds: seconds,
            bound_object_ref: None,
        }),
        ..TokenRequest::default()
    };
    let issued: TokenRequest = accounts.create_subresource("token", name, &request).await?;
    let token = issued.status.and_then(|status| status.token);
    Ok(token.map(Secret::new).unwrap_or_default())
}

/// A Kubernetes token with the expiry that it has by its own account.
///
/// # Errors
/// It is not a JSON web token.
pub(crate) fn dated(value: Secret) -> Result<Token, CloudError> {
    let expires = flux_cloud::expiry(&value).ok_or(CloudError::Expiry)?;
    Ok(Token { value, expires })
}
