//! The credentials, proxy and certificates of a registry.

use std::sync::Arc;
use std::time::Duration;

use flux_api::source::OCIRepository;
use flux_budget::Claim;
use flux_http::{Proxy, TlsSettings};
use flux_identity::{Identities, Provider};
use flux_objects::Objects;
use flux_oci::{Credentials, Keychain, Options, Repository};
use flux_runtime::Run;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Client;
use tokio::time::timeout;

use super::failure::{
    AccountError, CredentialError, DigestFault, RegistryFault, StepError, TagError,
};
use super::reason::OCIReason;
use crate::registry_login::{self, LoginError};
use crate::secrets::{ReferredError, Secrets};

/// The types of Secrets with registry credentials, each with its key (SC-AUTH-031).
const CONFIG: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const LEGACY_CONFIG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

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
        let provider = registry_login::provider(&spec.provider.clone().unwrap_or_default());
        // A generic login is one of a ServiceAccount that the object names (RT-WID-031).
        if self.has_secrets || (provider == Provider::Generic && account.is_none()) {
            return Ok(());
        }
        let login = registry_login::credentials(
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
                url: spec.url.clone(),
                source: TagError::Registry(fault),
            }
        } else {
            StepError::Digest(DigestFault::Registry(fault))
        })
    }
}

/// Reads credentials, proxy and certificates, in this order (SC-OCI-020 to SC-OCI-025).
pub(super) async fn read(run: &Run<OCIRepository>, secrets: &Secrets) -> Result<Access, StepError> {
    let object = run.object().clone();
    let (spec, namespace) = (&object.spec, run.namespace());
    let mut pull_secrets = Vec::new();
    if let Some(reference) = &spec.secret_ref {
        let read = secrets.read(namespace, &reference.name).await;
        pull_secrets.push(read.map_err(|source| {
            let message = format!("auth secret '{}' not found", reference.name);
            run.trace(OCIReason::AuthenticationFailed, message);
            CredentialError::Secret {
                secret: format!("{namespace}/{}", reference.name),
                source,
            }
        })?);
    }
    let account = spec.service_account_name.as_deref();
    if let Some(account) = account.filter(|name| !name.is_empty()) {
        let found = of_account(run.client(), secrets, namespace, account).await;
        pull_secrets.extend(found.map_err(CredentialError::Account)?);
    }
    let keychain = keychain(&pull_secrets)?;

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
                url: spec.url.clone(),
                source: Box::new(source.into()),
            })?
        }
    };
    Ok(Access {
        keychain,
        has_secrets: !pull_secrets.is_empty(),
        login: Credentials::default(),
        proxy,
        tls,
    })
}

/// The image pull secrets of a ServiceAccount (SC-AUTH-033).
async fn of_account(
    client: &Client,
    secrets: &Secrets,
    namespace: &str,
    name: &str,
) -> Result<Vec<Arc<Secret>>, AccountError> {
    let full_name = || format!("{namespace}/{name}");
    let read = async {
        let accounts = Objects::<ServiceAccount>::in_namespace(client.clone(), namespace)?;
        accounts.get_opt(name).await
    };
    let account = match read.await {
        Ok(Some(account)) => account,
        Ok(None) => return Err(AccountError::NotFound(full_name())),
        Err(source) => {
            return Err(AccountError::Read {
                account: full_name(),
                source,
            });
        }
    };
    let mut found = Vec::new();
    for reference in account.image_pull_secrets.unwrap_or_default() {
        let secret = secrets.referred(namespace, &reference.name).await;
        found.push(
            secret.map_err(|source: ReferredError| AccountError::Secret {
                account: full_name(),
                source,
            })?,
        );
    }
    Ok(found)
}

/// The docker configurations of these Secrets. One of another type is skipped, as in upstream.
fn keychain(secrets: &[Arc<Secret>]) -> Result<Keychain, CredentialError> {
    let mut keychain = Keychain::default();
    for secret in secrets {
        let data = |key: &str| {
            let value = secret.data.as_ref()?.get(key)?;
            (!value.0.is_empty()).then_some(value.0.as_slice())
        };
        let kind = secret.type_.as_deref().unwrap_or_default();
        if kind == CONFIG.0
            && let Some(config) = data(CONFIG.1)
        {
            keychain.add_config(config)?;
        }
        if kind == LEGACY_CONFIG.0
            && let Some(config) = data(LEGACY_CONFIG.1)
        {
            keychain.add_legacy_config(config)?;
        }
    }
    Ok(keychain)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn secret(kind: &str, key: &str, text: &str) -> Arc<Secret> {
        Arc::new(Secret {
            type_: Some(kind.to_owned()),
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(text.into()))])),
            ..Secret::default()
        })
    }

    // SC-AUTH-031
    #[test]
    fn secrets_of_other_types_are_skipped() {
        let entry = r#"{"ghcr.io": {"username": "flux", "password": "s3cret"}}"#;
        let config = format!("{{\"auths\": {entry}}}");
        let repository = Repository::parse("ghcr.io/org/app").unwrap();
        for (kind, key, text, expected) in [
            (CONFIG.0, CONFIG.1, config.as_str(), true),
            (LEGACY_CONFIG.0, LEGACY_CONFIG.1, entry, true),
            (CONFIG.0, LEGACY_CONFIG.1, entry, false),
            ("Opaque", CONFIG.1, &config, false),
            (CONFIG.0, CONFIG.1, "", false),
        ] {
            let keychain = keychain(&[secret(kind, key, text)]).unwrap();
            let found = !keychain.credentials(&repository).is_anonymous();
            assert_eq!(found, expected, "{kind} {key}");
        }
        assert!(keychain(&[secret(CONFIG.0, CONFIG.1, "{")]).is_err());
    }
}
