//! The pull secrets of an object: those that it names, and those of its ServiceAccount.

use std::collections::BTreeSet;

use flux_budget::{Claim, Exhausted};
use flux_objects::Objects;
use flux_oci::{Keychain, KeychainError};
use flux_references::{ReferredError, SecretReadError, Secrets};
use k8s_openapi::api::core::v1::{LocalObjectReference, Secret, ServiceAccount};
use kube::Client;

/// The types of Secrets with registry credentials, each with its key (SC-AUTH-031, IR-AUTH-004).
const CONFIG: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const LEGACY_CONFIG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// The most image pull secrets of a ServiceAccount.
const MAX_SECRETS: usize = 64;
/// The most bytes of all docker configurations together: two Secrets of the largest size.
const MAX_CONFIGS: usize = 2 << 20;
/// How many times its bytes a docker configuration takes once it is read: an empty entry has a few characters.
const PARSED: u64 = 64;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The Secret that the object names cannot be read.
    #[error("failed to get secret '{secret}'")]
    Secret {
        /// `namespace/name`.
        secret: String,
        /// Why.
        #[source]
        source: SecretReadError,
    },
    /// The pull secrets of the ServiceAccount are unknown.
    #[error(transparent)]
    Account(AccountError),
    /// A docker configuration is not valid.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// There is too much of them.
    #[error("the pull secrets have more than {0} bytes")]
    TooLarge(usize),
    /// They do not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    /// The time for reading is over.
    #[error("{}", flux_http::DEADLINE)]
    Timeout,
}

/// Why the pull secrets of a ServiceAccount are unknown.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such ServiceAccount.
    #[error("serviceaccount '{0}' not found")]
    NotFound(String),
    /// It cannot be read.
    #[error("failed to get serviceaccount '{account}'")]
    Read {
        /// `namespace/name`.
        account: String,
        /// The API server's error.
        #[source]
        source: flux_objects::Error,
    },
    /// It has more pull secrets than are read.
    #[error("serviceaccount '{account}' has more than {limit} image pull secrets")]
    TooMany {
        /// `namespace/name`.
        account: String,
        /// How many are read.
        limit: usize,
    },
    /// One of its pull secrets cannot be read.
    #[error("failed to get image pull secret for serviceaccount '{account}'")]
    Secret {
        /// `namespace/name`.
        account: String,
        /// Why.
        #[source]
        source: ReferredError,
    },
}

/// What was read of pull secrets.
#[derive(Default)]
pub struct PullSecrets {
    /// The credentials in them.
    pub keychain: Keychain,
    /// How many there are, of whichever type.
    pub count: usize,
    /// The names of those without a docker configuration, which add nothing.
    pub without_config: Vec<String>,
    /// The bytes of their configurations.
    bytes: usize,
}

impl PullSecrets {
    /// Reads the Secret `secret` and then the pull secrets of the ServiceAccount `account`, both of this namespace. Each is
    /// read, and then only its docker configuration is kept; its memory is taken through `claim`. Empty names count as none.
    ///
    /// # Errors
    /// [`CredentialError`], but not its `Timeout`, which is up to the caller.
    pub async fn read(
        client: &Client,
        secrets: &Secrets,
        namespace: &str,
        (secret, account_name): (Option<&str>, Option<&str>),
        claim: &Claim,
    ) -> Result<Self, CredentialError> {
        let mut found = Self::default();
        if let Some(name) = secret {
            let read = secrets.read(namespace, name).await;
            let secret = read.map_err(|source| CredentialError::Secret {
                secret: format!("{namespace}/{name}"),
                source,
            })?;
            found.add(name, &secret, claim)?;
        }
        if let Some(name) = account_name.filter(|name| !name.is_empty()) {
            let account = account(client, namespace, name).await;
            let references = account.map_err(CredentialError::Account)?;
            let references = references.image_pull_secrets.unwrap_or_default();
            for secret in distinct(references, namespace, name).map_err(CredentialError::Account)? {
                let read = secrets.referred(namespace, &secret).await;
                let read = read.map_err(|source: ReferredError| {
                    CredentialError::Account(AccountError::Secret {
                        account: format!("{namespace}/{name}"),
                        source,
                    })
                })?;
                found.add(&secret, &read, claim)?;
            }
        }
        Ok(found)
    }

    /// Adds the docker configuration of a Secret. One of another type is skipped, as in upstream.
    fn add(&mut self, name: &str, secret: &Secret, claim: &Claim) -> Result<(), CredentialError> {
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
        let Some(config) = config else {
            self.without_config.push(name.to_owned());
            return Ok(());
        };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flux_oci::Repository;
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(kind: &str, key: &str, text: &str) -> Secret {
        Secret {
            type_: Some(kind.to_owned()),
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(text.into()))])),
            ..Secret::default()
        }
    }

    // SC-AUTH-031, IR-AUTH-004
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
            found.add("name", &secret(kind, key, text), &claim).unwrap();
            let credentials = found.keychain.credentials(&repository);
            assert_eq!(!credentials.is_anonymous(), expected, "{kind} {key}");
            assert_eq!(found.count, 1);
            assert_eq!(found.without_config.is_empty(), expected);
        }
        let broken = secret(CONFIG.0, CONFIG.1, "{");
        assert!(PullSecrets::default().add("name", &broken, &claim).is_err());
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
        found.add("name", &small, &claim).unwrap();
        let again = found.add("name", &small, &claim);
        assert!(matches!(again, Err(CredentialError::Memory(_))));

        let large = secret(CONFIG.0, CONFIG.1, &format!("{{}}{}", " ".repeat(1 << 20)));
        let (claim, mut found) = (Claim::unlimited(), PullSecrets::default());
        found.add("name", &large, &claim).unwrap();
        assert_eq!(
            found.add("name", &large, &claim).unwrap_err().to_string(),
            "the pull secrets have more than 2097152 bytes"
        );
    }
}
