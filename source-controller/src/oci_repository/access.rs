//! The credentials, proxy and certificates of a registry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flux_api::source::OCIRepository;
use flux_budget::Claim;
use flux_http::{Proxy, TlsSettings};
use flux_identity::{Identities, Provider};
use flux_objects::Objects;
use flux_oci::{Credentials, Keychain, Options, Repository};
use flux_runtime::Run;
use k8s_openapi::api::core::v1::{LocalObjectReference, Secret, ServiceAccount};
use kube::Client;
use tokio::time::timeout;

use super::failure::{AccountError, CredentialError, DigestFault, ShownUrl, StepError, TagError};
use super::reason::OCIReason;
use crate::registry::RegistryFault;
use crate::registry_login::{self, LoginError};
use crate::secrets::{ReferredError, Secrets};

/// The types of Secrets with registry credentials, each with its key (SC-AUTH-031).
const CONFIG: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const LEGACY_CONFIG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// The most image pull secrets of a ServiceAccount.
const MAX_SECRETS: usize = 64;
/// The most bytes of all docker configurations together: two Secrets of the largest size.
const MAX_CONFIGS: usize = 2 << 20;
/// How many times its bytes a docker configuration takes once it is read: an empty entry has a few characters.
const PARSED: u64 = 64;

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
    let pull_secrets = timeout(limit, pull_secrets(run, secrets, claim)).await;
    let pull_secrets = pull_secrets.unwrap_or(Err(CredentialError::Timeout))?;

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

/// The pull secrets of an object. Each is read, and then only its docker configuration is kept.
async fn pull_secrets(
    run: &Run<OCIRepository>,
    secrets: &Secrets,
    claim: &Claim,
) -> Result<PullSecrets, CredentialError> {
    let object = run.object().clone();
    let (spec, namespace) = (&object.spec, run.namespace());
    let mut found = PullSecrets::default();
    if let Some(reference) = &spec.secret_ref {
        let read = secrets.read(namespace, &reference.name).await;
        let secret = read.map_err(|source| {
            let message = format!("auth secret '{}' not found", reference.name);
            run.trace(OCIReason::AuthenticationFailed, message);
            CredentialError::Secret {
                secret: format!("{namespace}/{}", reference.name),
                source,
            }
        })?;
        found.add(&secret, claim)?;
    }
    let name = spec.service_account_name.as_deref();
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        let account = account(run.client(), namespace, name).await;
        let references = account.map_err(CredentialError::Account)?;
        let references = references.image_pull_secrets.unwrap_or_default();
        for secret in distinct(references, namespace, name).map_err(CredentialError::Account)? {
            let read = secrets.referred(namespace, &secret).await;
            let secret = read.map_err(|source: ReferredError| {
                CredentialError::Account(AccountError::Secret {
                    account: format!("{namespace}/{name}"),
                    source,
                })
            })?;
            found.add(&secret, claim)?;
        }
    }
    Ok(found)
}

/// A ServiceAccount that names pull secrets (SC-AUTH-033).
async fn account(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<ServiceAccount, AccountError> {
    let full_name = || format!("{namespace}/{name}");
    let read = async {
        let accounts = Objects::<ServiceAccount>::in_namespace(client.clone(), namespace)?;
        accounts.get_opt(name).await
    };
    match read.await {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(AccountError::NotFound(full_name())),
        Err(source) => Err(AccountError::Read {
            account: full_name(),
            source,
        }),
    }
}

/// The names of these Secrets, each once, in their order: the first one that has a repository counts.
fn distinct(
    references: Vec<LocalObjectReference>,
    namespace: &str,
    account: &str,
) -> Result<Vec<String>, AccountError> {
    let mut seen = BTreeSet::new();
    let names = references.into_iter().map(|reference| reference.name);
    let mut names = names.filter(|name| seen.insert(name.clone()));
    let found: Vec<String> = names.by_ref().take(MAX_SECRETS).collect();
    if names.next().is_some() {
        return Err(AccountError::TooMany {
            account: format!("{namespace}/{account}"),
            limit: MAX_SECRETS,
        });
    }
    Ok(found)
}

/// What was read of pull secrets.
#[derive(Default)]
struct PullSecrets {
    keychain: Keychain,
    /// How many there are, of whichever type.
    count: usize,
    /// The bytes of their configurations.
    bytes: usize,
}

impl PullSecrets {
    /// Adds the docker configuration of a Secret. One of another type is skipped, as in upstream.
    fn add(&mut self, secret: &Secret, claim: &Claim) -> Result<(), CredentialError> {
        self.count += 1;
        let data = |key: &str| {
            let value = secret.data.as_ref()?.get(key)?;
            (!value.0.is_empty()).then_some(value.0.as_slice())
        };
        let kind = secret.type_.as_deref().unwrap_or_default();
        let (config, is_legacy) = match kind {
            _ if kind == CONFIG.0 => (data(CONFIG.1), false),
            _ if kind == LEGACY_CONFIG.0 => (data(LEGACY_CONFIG.1), true),
            _ => (None, false),
        };
        let Some(config) = config else { return Ok(()) };
        self.bytes += config.len();
        if self.bytes > MAX_CONFIGS {
            return Err(CredentialError::TooLarge(MAX_CONFIGS));
        }
        claim.take(PARSED * config.len() as u64)?;
        if is_legacy {
            self.keychain.add_legacy_config(config)?;
        } else {
            self.keychain.add_config(config)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn secret(kind: &str, key: &str, text: &str) -> Secret {
        Secret {
            type_: Some(kind.to_owned()),
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(text.into()))])),
            ..Secret::default()
        }
    }

    // SC-AUTH-031
    #[test]
    fn secrets_of_other_types_are_skipped() {
        let entry = r#"{"ghcr.io": {"username": "flux", "password": "s3cret"}}"#;
        let config = format!("{{\"auths\": {entry}}}");
        let repository = Repository::parse("ghcr.io/org/app").unwrap();
        let claim = Claim::unlimited();
        for (kind, key, text, expected) in [
            (CONFIG.0, CONFIG.1, config.as_str(), true),
            (LEGACY_CONFIG.0, LEGACY_CONFIG.1, entry, true),
            (CONFIG.0, LEGACY_CONFIG.1, entry, false),
            ("Opaque", CONFIG.1, &config, false),
            (CONFIG.0, CONFIG.1, "", false),
        ] {
            let mut found = PullSecrets::default();
            found.add(&secret(kind, key, text), &claim).unwrap();
            let credentials = found.keychain.credentials(&repository);
            assert_eq!(!credentials.is_anonymous(), expected, "{kind} {key}");
            assert_eq!(found.count, 1);
        }
        let broken = secret(CONFIG.0, CONFIG.1, "{");
        assert!(PullSecrets::default().add(&broken, &claim).is_err());
    }

    // SC-AUTH-033
    #[test]
    fn pull_secrets_are_bounded_and_claimed() {
        let references = |names: Vec<String>| {
            let names = names.into_iter();
            let references = names.map(|name| LocalObjectReference { name });
            distinct(references.collect(), "ns", "account")
        };
        let many = vec!["b".to_owned(); 10_000];
        assert_eq!(references(many.clone()).unwrap(), ["b"]);
        let two = [vec!["b".to_owned(), "a".to_owned()], many].concat();
        assert_eq!(references(two).unwrap(), ["b", "a"]);
        let names = |count: usize| (0..count).map(|name| name.to_string()).collect();
        assert_eq!(references(names(64)).unwrap().len(), 64);
        assert_eq!(
            references(names(65)).unwrap_err().to_string(),
            "serviceaccount 'ns/account' has more than 64 image pull secrets"
        );

        let entries: Vec<_> = (0..9_000)
            .map(|entry| format!("\"{entry}\":null"))
            .collect();
        let small = format!("{{\"auths\": {{{}}}}}", entries.join(","));
        let small = secret(CONFIG.0, CONFIG.1, &small);
        let budget = flux_budget::Budget::new(8 << 20);
        let (claim, mut found) = (budget.claim(), PullSecrets::default());
        found.add(&small, &claim).unwrap();
        let again = found.add(&small, &claim);
        assert!(matches!(again, Err(CredentialError::Memory(_))));

        let large = secret(CONFIG.0, CONFIG.1, &format!("{{}}{}", " ".repeat(1 << 20)));
        let (claim, mut found) = (Claim::unlimited(), PullSecrets::default());
        found.add(&large, &claim).unwrap();
        assert_eq!(
            found.add(&large, &claim).unwrap_err().to_string(),
            "the pull secrets have more than 2097152 bytes"
        );
    }
}
