//! The credentials, proxy and certificates of a registry.

use std::sync::Arc;
use std::time::Duration;

use flux_api::source::OCIRepository;
use flux_budget::Claim;
use flux_http::{Proxy, TlsSettings};
use flux_identity::{Identities, Provider};
use flux_oci::{Credentials, Keychain, Options, Repository};
use flux_registry::{CredentialError, LoginError, PullSecrets, RegistryFault};
use flux_runtime::Run;
use tokio::time::timeout;

use super::failure::{DigestFault, ShownUrl, StepError, TagError};
use super::reason::OCIReason;
use crate::secrets::Secrets;

/// How a registry is reached.
#[derive(Debug, Default)]
pub(super) struct Access {
    keychain: Keychain,
    /// Whether there are pull secrets, which the provider does not add to (SC-AUTH-032).
    has_secrets: bool,
    login: Credentials,
    proxy: Proxy,
    tls: TlsSettings,
}

impl Access {
    /// The options for this repository.
    pub(super) fn options(self, repository: &Repository, claim: Arc<Claim>) -> Options {
        let credentials = if self.has_secrets {
            self.keychain.credentials(repository)
        } else {
            self.login
        };
        Options {
            credentials,
            tls: self.tls,
            proxy: self.proxy,
            claim,
            ..Options::default()
        }
    }

    /// Logs in with the identity of the object, unless there are pull secrets (SC-AUTH-032, SC-AUTH-034).
    ///
    /// Upstream does so when the registry is asked for the first time, for tags or for a digest, and so a failure is one
    /// of that step (SC-OCI-023).
    pub(super) async fn log_in(
        &mut self,
        identities: &Identities,
        object: &OCIRepository,
        repository: &Repository,
        limit: Duration,
    ) -> Result<(), StepError> {
        let spec = &object.spec;
        let account = spec.service_account_name.as_deref();
        let account = account.filter(|name| !name.is_empty());
        let provider = flux_registry::provider(&spec.provider.clone().unwrap_or_default());
        // A generic login is one of a ServiceAccount that the object names (RT-WID-031).
        if self.has_secrets || (provider == Provider::Generic && account.is_none()) {
            return Ok(());
        }
        let login = flux_registry::credentials(
            identities,
            object,
            account,
            provider,
            repository,
            &self.proxy,
        );
        let fault = match timeout(limit, login).await {
            Ok(Ok(login)) => {
                self.login = login;
                return Ok(());
            }
            Ok(Err(LoginError::Client(source))) => {
                return Err(StepError::Provider {
                    provider: provider.name(),
                    source,
                });
            }
            Ok(Err(LoginError::Identity(error))) => RegistryFault::Identity(error),
            Err(_) => RegistryFault::Timeout,
        };
        let reference = spec.reference.clone().unwrap_or_default();
        let is_set = |text: Option<String>| text.is_some_and(|text| !text.is_empty());
        Err(if is_set(reference.semver) && !is_set(reference.digest) {
            StepError::Tag {
                url: ShownUrl::new(&spec.url),
                source: TagError::Registry(fault),
            }
        } else {
            StepError::Digest(DigestFault::Registry(fault))
        })
    }
}

/// Reads credentials, proxy and certificates, in this order (SC-OCI-020 to SC-OCI-025). The credentials may take `limit` in
/// all, and their memory is taken through `claim`.
pub(super) async fn read(
    run: &Run<OCIRepository>,
    secrets: &Secrets,
    claim: &Claim,
    limit: Duration,
) -> Result<Access, StepError> {
    let object = run.object().clone();
    let (spec, namespace) = (&object.spec, run.namespace());
    let secret = spec.secret_ref.as_ref().map(|secret| secret.name.as_str());
    let named = (secret, spec.service_account_name.as_deref());
    let pull_secrets = PullSecrets::read(run.client(), secrets, namespace, named, claim);
    let pull_secrets = timeout(limit, pull_secrets).await;
    let pull_secrets = pull_secrets.unwrap_or(Err(CredentialError::Timeout));
    if matches!(pull_secrets, Err(CredentialError::Secret { .. })) {
        let message = format!("auth secret '{}' not found", secret.unwrap_or_default());
        run.trace(OCIReason::AuthenticationFailed, message);
    }
    let pull_secrets = pull_secrets?;

    let proxy = match &spec.proxy_secret_ref {
        None => Proxy::Environment,
        Some(reference) => {
            let proxy = secrets.proxy(namespace, &reference.name).await;
            proxy.map_err(StepError::Proxy)?
        }
    };
    let certificates = spec.cert_secret_ref.as_ref();
    let certificates = certificates.filter(|reference| !reference.name.is_empty());
    let tls = match certificates {
        // SC-OCI-049
        None => TlsSettings {
            accept_any_server: spec.insecure,
            ..TlsSettings::default()
        },
        Some(reference) => {
            let tls = secrets.tls(namespace, &reference.name).await;
            tls.map_err(|source| StepError::Transport {
                url: ShownUrl::new(&spec.url),
                source: Box::new(source.into()),
            })?
        }
    };
    Ok(Access {
        keychain: pull_secrets.keychain,
        has_secrets: pull_secrets.count > 0,
        login: Credentials::default(),
        proxy,
        tls,
    })
}
