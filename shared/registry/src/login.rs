//! Logs in to registries with cloud identities.

use flux_api::source::OCIProvider;
use flux_http::{BasicAuth, Proxy};
use flux_identity::{Identities, Identity, IdentityError, Provider};
use flux_oci::{Credentials, Repository};
use kube::Resource;

/// Why there are no credentials for a registry.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The proxy cannot be used.
    #[error(transparent)]
    Client(#[from] flux_http::BuildError),
    /// The object's identity gives none.
    #[error(transparent)]
    Identity(Box<IdentityError>),
}

/// The provider of a registry's login by its name in a spec; `generic` otherwise.
pub fn provider(name: &OCIProvider) -> Provider {
    match name {
        OCIProvider::Aws => Provider::Aws,
        OCIProvider::Azure => Provider::Azure,
        OCIProvider::Gcp => Provider::Gcp,
        OCIProvider::Generic | OCIProvider::Other(_) => Provider::Generic,
    }
}

/// The credentials for a repository that a provider gives to an object: as the ServiceAccount `account`, as the default one
/// of its namespace, or as the controller (SC-AUTH-034, SC-AUTH-050 to SC-AUTH-052). Anonymous for provider `generic`
/// without a ServiceAccount that is annotated for it (RT-WID-031). Nothing is asked of the registry itself, except that
/// of Azure exchanges tokens.
///
/// For sources without a ServiceAccount in their spec, such as a HelmRepository, `account` is `None`: so
/// `--default-service-account` holds for them too (SC-AUTH-045).
///
/// # Errors
/// [`LoginError`].
pub async fn credentials<K: Resource<DynamicType = ()> + Sync>(
    identities: &Identities,
    object: &K,
    account: Option<&str>,
    provider: Provider,
    repository: &Repository,
    proxy: &Proxy,
) -> Result<Credentials, LoginError> {
    let identity = identities.of(object, account, proxy)?;
    login(&identity, provider, repository).await
}

/// As [`credentials`], for an identity that the caller has made.
///
/// # Errors
/// [`LoginError::Identity`].
pub async fn login<K: Resource<DynamicType = ()> + Sync>(
    identity: &Identity<'_, K>,
    provider: Provider,
    repository: &Repository,
) -> Result<Credentials, LoginError> {
    let login = Box::pin(identity.registry_login(provider, repository.registry())).await;
    let Some(login) = login.map_err(|error| LoginError::Identity(Box::new(error)))? else {
        return Ok(Credentials::default());
    };
    let basic = (!login.username.is_empty()).then_some(BasicAuth {
        username: login.username,
        password: login.password,
    });
    Ok(Credentials {
        basic,
        identity_token: None,
        registry_token: login.bearer,
    })
}
