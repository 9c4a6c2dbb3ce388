//! How the registry of an image is reached: credentials, proxy and certificates of its ImageRepository.

use std::sync::Arc;
use std::time::Duration;

use flux_api::image::{ImageRepository, ImageRepositorySpec};
use flux_api::meta::GoDuration;
use flux_api::source::OCIProvider;
use flux_budget::{Budget, Claim};
use flux_http::{Proxy, RootCertificates, SecretError, TlsSettings};
use flux_identity::{Identities, Involved, Provider};
use flux_oci::{Credentials, Keychain, Options, PageSizes, Repository};
use flux_references::{ReferredError, SecretReadError, Secrets, log_legacy_keys, secret_data};
use flux_registry::{CredentialError, LoginError, PullSecrets, RegistryFault};
use kube::{Client, ResourceExt as _};
use tokio::time::{Instant, timeout_at};

/// The name of the library whose requests these are like (IR-AUTH-041).
const USER_AGENT: &str = "go-containerregistry";
/// The shortest time for a scan (IR-REPO-013).
const SHORTEST: Duration = Duration::from_secs(1);

/// How long reading credentials and asking the registry may take together (IR-REPO-013, IR-REPO-052).
pub(crate) fn time_limit(spec: &ImageRepositorySpec) -> Duration {
    let limit = spec.timeout.unwrap_or(spec.interval);
    GoDuration::to_std(limit).max(SHORTEST)
}

/// Why it is not known how to reach a registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// The proxy is not usable (IR-AUTH-012).
    #[error(transparent)]
    Proxy(ReferredError),
    /// There is no such provider (IR-AUTH-021).
    #[error("provider '{0}' not implemented")]
    Provider(String),
    /// A Secret cannot be read (IR-AUTH-003).
    #[error(transparent)]
    Secret(SecretReadError),
    /// The certificates are not usable (IR-AUTH-015).
    #[error(transparent)]
    Certificates(SecretError),
    /// The pull secrets are not usable (IR-AUTH-005, IR-AUTH-010).
    #[error(transparent)]
    Credentials(CredentialError),
}

impl From<CredentialError> for AccessError {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Secret { source, .. } => Self::Secret(source),
            other => Self::Credentials(other),
        }
    }
}

/// What it takes to reach the registries of images. Clones share it.
#[derive(Clone)]
pub(crate) struct Registries {
    /// Reads the Secrets with credentials.
    pub(crate) secrets: Secrets,
    /// The identities that objects act with.
    pub(crate) identities: Identities,
    /// Which registries refuse large pages.
    pub(crate) page_sizes: PageSizes,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
}

/// How one registry is reached.
pub(crate) struct Access {
    provider: Provider,
    keychain: Keychain,
    proxy: Proxy,
    tls: TlsSettings,
    /// Whether the ServiceAccount of the object may itself be the credential (IR-AUTH-042).
    logs_in: bool,
    /// Pull secrets that hold no docker configuration (FR-N-083).
    pub(crate) without_config: Vec<String>,
}

impl Registries {
    /// Reads what a repository says about its registry until `deadline`: proxy, certificates, and pull secrets unless a
    /// provider has the credentials (IR-AUTH-001, IR-AUTH-002).
    ///
    /// # Errors
    /// [`AccessError`]: the first of them, in upstream's order.
    pub(crate) async fn access(
        &self,
        client: &Client,
        object: &ImageRepository,
        claim: &Claim,
        deadline: Instant,
    ) -> Result<Access, AccessError> {
        let (spec, namespace) = (&object.spec, object.namespace().unwrap_or_default());
        let left = deadline.saturating_duration_since(Instant::now());
        let secrets = self.secrets.within(left);

        let proxy = match &spec.proxy_secret_ref {
            None => Proxy::Environment,
            Some(reference) => {
                let proxy = secrets.proxy(&namespace, &reference.name).await;
                proxy.map_err(AccessError::Proxy)?
            }
        };
        let provider = match spec.provider.clone().unwrap_or_default() {
            OCIProvider::Other(name) if !name.is_empty() => {
                return Err(AccessError::Provider(name));
            }
            name => flux_registry::provider(&name),
        };
        let tls = match &spec.cert_secret_ref {
            None => TlsSettings::default(),
            Some(reference) => certificates(&secrets, &namespace, &reference.name).await?,
        };
        let account = account(spec);
        let pull_secrets = if provider == Provider::Generic {
            let secret = spec.secret_ref.as_ref().map(|secret| secret.name.as_str());
            let read = PullSecrets::read(client, &secrets, &namespace, (secret, account), claim);
            let read = timeout_at(deadline, read).await;
            read.unwrap_or(Err(CredentialError::Timeout))?
        } else {
            PullSecrets::default()
        };
        let has_secrets = pull_secrets.count > 0;
        Ok(Access {
            provider,
            keychain: pull_secrets.keychain,
            proxy,
            tls,
            // Pull secrets win over the account itself.
            logs_in: provider != Provider::Generic || (account.is_some() && !has_secrets),
            without_config: pull_secrets.without_config,
        })
    }

    /// A client for the repository `image` of the object, with its credentials. A provider is asked for them only here, where
    /// the registry will be asked too (IR-AUTH-020); `involved` is the object that the metrics name for that (IR-POL-105).
    ///
    /// # Errors
    /// The provider gives no credentials.
    pub(crate) async fn client(
        &self,
        access: Access,
        object: &ImageRepository,
        involved: Involved,
        image: Repository,
        claim: Arc<Claim>,
    ) -> Result<flux_oci::Client, RegistryFault> {
        let credentials = if access.logs_in {
            let account = account(&object.spec);
            let identity = self.identities.of(object, account, &access.proxy);
            let identity =
                identity.map_err(|error| RegistryFault::Registry(flux_oci::Error::from(error)))?;
            let identity = identity.counted_for(involved);
            let login = flux_registry::login(&identity, access.provider, &image);
            login.await.map_err(|error| match error {
                LoginError::Client(error) => RegistryFault::Registry(error.into()),
                LoginError::Identity(error) => RegistryFault::Identity(error),
            })?
        } else if access.keychain.is_empty() {
            Credentials::default()
        } else {
            access.keychain.credentials(&image)
        };
        let options = Options {
            credentials,
            tls: access.tls,
            proxy: access.proxy,
            user_agent: USER_AGENT.to_owned(),
            claim,
            page_sizes: self.page_sizes.clone(),
            ..Options::default()
        };
        flux_oci::Client::new(image, options).map_err(RegistryFault::Registry)
    }
}

/// The ServiceAccount that the object names.
fn account(spec: &ImageRepositorySpec) -> Option<&str> {
    let name = spec.service_account_name.as_deref();
    name.filter(|name| !name.is_empty())
}

/// The certificates of a Secret of any type; the system's authorities stay trusted (IR-AUTH-014, IR-AUTH-016, IR-AUTH-017).
async fn certificates(
    secrets: &Secrets,
    namespace: &str,
    name: &str,
) -> Result<TlsSettings, AccessError> {
    let secret = secrets.read(namespace, name).await;
    let secret = secret.map_err(AccessError::Secret)?;
    let data = secret_data(&secret, namespace, name);
    let settings = data.tls(RootCertificates::AddToSystem);
    let settings = settings.map_err(AccessError::Certificates)?;
    log_legacy_keys(&data);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    // IR-AUTH-008
    #[test]
    fn docker_hub_has_the_credentials_of_its_older_name() {
        let mut keychain = Keychain::default();
        let config =
            br#"{"auths": {"https://index.docker.io/v1/": {"username": "flux", "password": "x"}}}"#;
        keychain.add_config(config).unwrap();
        for image in ["alpine", "docker.io/org/app", "index.docker.io/org/app"] {
            let image = crate::reference::parse(image, false).unwrap();
            assert!(!keychain.credentials(&image).is_anonymous(), "{image}");
        }
    }

    // IR-REPO-013
    #[test]
    fn the_time_limit_is_the_timeout_or_the_interval_and_a_second_at_least() {
        let limit = |interval: &str, timeout: Option<&str>| {
            time_limit(&ImageRepositorySpec {
                interval: interval.parse().unwrap(),
                timeout: timeout.map(|text| text.parse().unwrap()),
                ..ImageRepositorySpec::default()
            })
        };
        assert_eq!(limit("5m", None), Duration::from_mins(5));
        assert_eq!(limit("5m", Some("30s")), Duration::from_secs(30));
        assert_eq!(limit("5m", Some("10ms")), Duration::from_secs(1));
        assert_eq!(limit("0s", None), Duration::from_secs(1));
    }
}
