//! The well-known Secret formats.

use std::collections::BTreeMap;

use crate::proxy::{ProxyUrl, ProxyUrlError};
use crate::secret::{Hidden, Secret};
use crate::tls::{ClientPair, RootCertificates, TlsError, TlsSettings};

/// The keys of the well-known formats.
pub mod keys {
    /// Client certificate (PEM).
    pub const TLS_CERT: &str = "tls.crt";
    /// Client private key (PEM).
    pub const TLS_KEY: &str = "tls.key";
    /// Certificate authorities (PEM).
    pub const CA_CERT: &str = "ca.crt";
    /// Older name of [`TLS_CERT`].
    pub const LEGACY_TLS_CERT: &str = "certFile";
    /// Older name of [`TLS_KEY`].
    pub const LEGACY_TLS_KEY: &str = "keyFile";
    /// Older name of [`CA_CERT`].
    pub const LEGACY_CA_CERT: &str = "caFile";
    /// User of basic authentication and of proxies.
    pub const USERNAME: &str = "username";
    /// Password of basic authentication and of proxies; passphrase of an SSH key.
    pub const PASSWORD: &str = "password";
    /// Proxy address.
    pub const ADDRESS: &str = "address";
    /// Token for `Authorization: Bearer`.
    pub const BEARER_TOKEN: &str = "bearerToken";
    /// Token of an API.
    pub const TOKEN: &str = "token";
    /// SSH private key.
    pub const SSH_IDENTITY: &str = "identity";
    /// SSH public key.
    pub const SSH_IDENTITY_PUB: &str = "identity.pub";
    /// SSH host keys.
    pub const SSH_KNOWN_HOSTS: &str = "known_hosts";
    /// GitHub App: its ID.
    pub const GITHUB_APP_ID: &str = "githubAppID";
    /// GitHub App: its client ID, in place of the ID.
    pub const GITHUB_APP_CLIENT_ID: &str = "githubAppClientID";
    /// GitHub App: organisation or user of the installation.
    pub const GITHUB_APP_OWNER: &str = "githubAppInstallationOwner";
    /// GitHub App: ID of the installation.
    pub const GITHUB_APP_INSTALLATION_ID: &str = "githubAppInstallationID";
    /// GitHub App: RSA private key (PEM).
    pub const GITHUB_APP_PRIVATE_KEY: &str = "githubAppPrivateKey";
    /// GitHub App: API address of a GitHub Enterprise Server.
    pub const GITHUB_APP_BASE_URL: &str = "githubAppBaseURL";
}

/// The data of one Secret, borrowed, with its name for errors.
#[derive(Clone)]
pub struct SecretData<'a> {
    name: String,
    data: BTreeMap<&'a str, &'a [u8]>,
}

impl std::fmt::Debug for SecretData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.data.keys().collect();
        f.debug_struct("SecretData")
            .field("name", &self.name)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

/// Why a Secret lacks the expected data. The texts are upstream's (RT-SEC rows).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// A required key is missing (RT-SEC-014).
    #[error("secret '{secret}': key '{key}' not found")]
    KeyNotFound {
        /// `namespace/name`.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// Only one of user name and password is present (RT-SEC-006).
    #[error("secret '{secret}': malformed basic auth - has '{present}' but missing '{missing}'")]
    BasicAuthMalformed {
        /// `namespace/name`.
        secret: String,
        /// The key that is present.
        present: &'static str,
        /// The key that is missing.
        missing: &'static str,
    },
    /// Only one of client certificate and private key is present (RT-SEC-002).
    #[error("secret '{secret}' contains '{present}' but missing '{missing}'")]
    TlsPairIncomplete {
        /// `namespace/name`.
        secret: String,
        /// The key that is present.
        present: &'static str,
        /// The key that is missing.
        missing: &'static str,
    },
    /// Neither authorities nor a client certificate are present (RT-SEC-001).
    #[error("secret '{secret}' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'")]
    TlsMissing {
        /// `namespace/name`.
        secret: String,
    },
    /// Certificates or keys do not parse (RT-SEC-004).
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy address is present but empty (RT-SEC-012).
    #[error("secret '{secret}': proxy address is empty")]
    ProxyAddressEmpty {
        /// `namespace/name`.
        secret: String,
    },
    /// The proxy address is unusable (RT-SEC-012).
    #[error("secret '{secret}': {reason}")]
    ProxyAddressInvalid {
        /// `namespace/name`.
        secret: String,
        /// The reason; part of upstream's text.
        reason: ProxyUrlError,
    },
    /// Both the ID and the client ID of the GitHub App are present (RT-SEC-017).
    #[error("secret '{secret}' must contain exactly one of 'githubAppID' or 'githubAppClientID'")]
    GitHubAppId {
        /// `namespace/name`.
        secret: String,
    },
    /// Both or neither of the GitHub App installation keys are present (SC-AUTH-019).
    #[error(
        "secret '{secret}' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"
    )]
    GitHubAppInstallation {
        /// `namespace/name`.
        secret: String,
    },
}

/// User name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl std::fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Some hosts take a token as user name.
        f.debug_struct("BasicAuth")
            .field("username", &Hidden(self.username.as_bytes()))
            .field("password", &self.password)
            .finish()
    }
}

/// SSH credentials of a Secret, unparsed.
#[derive(Clone, PartialEq, Eq)]
pub struct SshAuth {
    /// The private key.
    pub identity: Secret,
    /// The public key.
    pub identity_pub: Option<Vec<u8>>,
    /// Host keys, in OpenSSH's `known_hosts` form.
    pub known_hosts: Vec<u8>,
    /// Passphrase of the private key.
    pub passphrase: Option<Secret>,
}

impl std::fmt::Debug for SshAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshAuth")
            .field("identity", &self.identity)
            .field("identity_pub", &self.identity_pub.as_deref().map(Hidden))
            .field("known_hosts", &Hidden(&self.known_hosts))
            .field("passphrase", &self.passphrase)
            .finish()
    }
}

/// Which GitHub App a Secret is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GitHubAppId {
    /// By its ID, a number.
    Id(String),
    /// By its client ID.
    Client(String),
}

/// GitHub App credentials of a Secret, unparsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitHubAppData {
    /// The App.
    pub app: GitHubAppId,
    /// RSA private key as PEM.
    pub private_key: Secret,
    /// Organisation or user of the installation; set if and only if `installation_id` is not.
    pub installation_owner: Option<String>,
    /// ID of the installation.
    pub installation_id: Option<String>,
    /// API address of a GitHub Enterprise Server.
    pub base_url: Option<String>,
}

/// A legacy key, which the caller logs as `using legacy key in secret data` (RT-SEC-003).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyKey {
    /// The key in use.
    pub key: &'static str,
    /// The key to use instead.
    pub preferred: &'static str,
}

/// All authentication methods of one Secret (RT-SEC-008).
#[derive(Debug, Clone, Default)]
pub struct AuthMethods {
    /// User name and password.
    pub basic: Option<BasicAuth>,
    /// `bearerToken`.
    pub bearer: Option<Secret>,
    /// `token`.
    pub token: Option<Secret>,
    /// SSH key and known hosts.
    pub ssh: Option<SshAuth>,
    /// GitHub App.
    pub github_app: Option<GitHubAppData>,
    /// Certificate authorities and client certificate; the authorities are added to the system's.
    pub tls: Option<TlsSettings>,
}

impl<'a> SecretData<'a> {
    /// Borrows the entries of the Secret `namespace/name`.
    pub fn new<I>(namespace: &str, name: &str, entries: I) -> Self
    where
        I: IntoIterator<Item = (&'a str, &'a [u8])>,
    {
        Self {
            name: format!("{namespace}/{name}"),
            data: entries.into_iter().collect(),
        }
    }

    /// `namespace/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key, if present.
    pub fn get(&self, key: &str) -> Option<&'a [u8]> {
        self.data.get(key).copied()
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.data.keys().copied()
    }

    /// Whether the Secret is empty.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The value of a required key (RT-SEC-014).
    pub fn require(&self, key: &'static str) -> Result<&'a [u8], SecretError> {
        self.get(key).ok_or_else(|| SecretError::KeyNotFound {
            secret: self.name.clone(),
            key,
        })
    }

    fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Certificate authorities and client certificate (RT-SEC-001..005), with fallback to the legacy key names.
    /// `roots` decides whether the authorities are added to the system's or replace them.
    /// `roots` says whether the authorities are added to the system's or replace them.
    pub fn tls(&self, roots: RootCertificates) -> Result<TlsSettings, SecretError> {
        let cert = self.tls_value(keys::TLS_CERT, keys::LEGACY_TLS_CERT);
        let key = self.tls_value(keys::TLS_KEY, keys::LEGACY_TLS_KEY);
        let ca = self.tls_value(keys::CA_CERT, keys::LEGACY_CA_CERT);
        let incomplete = |present, missing| SecretError::TlsPairIncomplete {
            secret: self.name.clone(),
            present,
            missing,
        };
        let pair = match (cert, key) {
            (Some(certificate), Some(key)) => Some(ClientPair {
                certificate: certificate.to_vec(),
                key: Secret::new(key),
            }),
            (Some(_), None) => return Err(incomplete(keys::TLS_CERT, keys::TLS_KEY)),
            (None, Some(_)) => return Err(incomplete(keys::TLS_KEY, keys::TLS_CERT)),
            (None, None) => None,
        };
        if pair.is_none() && ca.is_none() {
            return Err(SecretError::TlsMissing {
                secret: self.name.clone(),
            });
        }
        let settings = TlsSettings {
            roots,
            authorities: ca.map(<[u8]>::to_vec),
            client_pair: pair,
            accept_any_server: false,
        };
        settings.validate()?;
        Ok(settings)
    }

    /// The value of a TLS key; an empty value counts as absent, but hides the legacy key.
    fn tls_value(&self, key: &str, legacy: &str) -> Option<&'a [u8]> {
        self.get(key)
            .or_else(|| self.get(legacy))
            .filter(|value| !value.is_empty())
    }

    /// The legacy TLS keys that [`SecretData::tls`] falls back to (RT-SEC-003).
    pub fn legacy_tls_keys(&self) -> Vec<LegacyKey> {
        [
            LegacyKey {
                key: keys::LEGACY_TLS_CERT,
                preferred: keys::TLS_CERT,
            },
            LegacyKey {
                key: keys::LEGACY_TLS_KEY,
                preferred: keys::TLS_KEY,
            },
            LegacyKey {
                key: keys::LEGACY_CA_CERT,
                preferred: keys::CA_CERT,
            },
        ]
        .into_iter()
        .filter(|legacy| self.get(legacy.key).is_some() && self.get(legacy.preferred).is_none())
        .collect()
    }

    /// User name and password, both required (RT-SEC-006).
    pub fn basic(&self) -> Result<BasicAuth, SecretError> {
        let malformed = |present, missing| SecretError::BasicAuthMalformed {
            secret: self.name.clone(),
            present,
            missing,
        };
        match (self.text(keys::USERNAME), self.get(keys::PASSWORD)) {
            (Some(username), Some(password)) => Ok(BasicAuth {
                username,
                password: Secret::new(password),
            }),
            (Some(_), None) => Err(malformed(keys::USERNAME, keys::PASSWORD)),
            (None, Some(_)) => Err(malformed(keys::PASSWORD, keys::USERNAME)),
            (None, None) => Err(SecretError::KeyNotFound {
                secret: self.name.clone(),
                key: keys::USERNAME,
            }),
        }
    }

    /// `bearerToken` (RT-SEC-007).
    pub fn bearer(&self) -> Result<Secret, SecretError> {
        self.require(keys::BEARER_TOKEN).map(Secret::new)
    }

    /// `token` (RT-SEC-007).
    pub fn token(&self) -> Result<Secret, SecretError> {
        self.require(keys::TOKEN).map(Secret::new)
    }

    /// SSH key, known hosts and passphrase (RT-SEC-009).
    pub fn ssh(&self) -> Result<SshAuth, SecretError> {
        Ok(SshAuth {
            identity: Secret::new(self.require(keys::SSH_IDENTITY)?),
            known_hosts: self.require(keys::SSH_KNOWN_HOSTS)?.to_vec(),
            identity_pub: self.get(keys::SSH_IDENTITY_PUB).map(<[u8]>::to_vec),
            passphrase: self.get(keys::PASSWORD).map(Secret::new),
        })
    }

    /// The proxy's address with its credentials (RT-SEC-012, SC-AUTH-005).
    pub fn proxy(&self) -> Result<ProxyUrl, SecretError> {
        let address = String::from_utf8_lossy(self.require(keys::ADDRESS)?);
        if address.is_empty() {
            return Err(SecretError::ProxyAddressEmpty {
                secret: self.name.clone(),
            });
        }
        let proxy =
            ProxyUrl::parse(&address).map_err(|reason| SecretError::ProxyAddressInvalid {
                secret: self.name.clone(),
                reason,
            })?;
        // A password is only used together with a user name.
        Ok(match self.text(keys::USERNAME) {
            Some(username) => {
                proxy.with_credentials(&username, self.get(keys::PASSWORD).map(Secret::new))
            }
            None => proxy,
        })
    }

    /// GitHub App data (SC-AUTH-019, RT-SEC-017).
    pub fn github_app(&self) -> Result<GitHubAppData, SecretError> {
        let id = self.text(keys::GITHUB_APP_ID);
        let app = match (id, self.text(keys::GITHUB_APP_CLIENT_ID)) {
            (Some(id), None) => GitHubAppId::Id(id),
            (None, Some(client)) => GitHubAppId::Client(client),
            (Some(_), Some(_)) => {
                return Err(SecretError::GitHubAppId {
                    secret: self.name.clone(),
                });
            }
            (None, None) => {
                return Err(SecretError::KeyNotFound {
                    secret: self.name.clone(),
                    key: keys::GITHUB_APP_ID,
                });
            }
        };
        let private_key = Secret::new(self.require(keys::GITHUB_APP_PRIVATE_KEY)?);
        let installation_owner = self.text(keys::GITHUB_APP_OWNER);
        let installation_id = self.text(keys::GITHUB_APP_INSTALLATION_ID);
        if installation_owner.is_some() == installation_id.is_some() {
            return Err(SecretError::GitHubAppInstallation {
                secret: self.name.clone(),
            });
        }
        let base_url = self.text(keys::GITHUB_APP_BASE_URL);
        Ok(GitHubAppData {
            app,
            private_key,
            installation_owner,
            installation_id,
            base_url,
        })
    }

    /// Whether a key that names a GitHub App is there.
    pub fn names_github_app(&self) -> bool {
        [keys::GITHUB_APP_ID, keys::GITHUB_APP_CLIENT_ID]
            .iter()
            .any(|key| self.get(key).is_some_and(|id| !id.is_empty()))
    }

    /// All authentication methods. Absent ones are `None`, malformed ones are an error, except that incomplete TLS keys
    /// are ignored (RT-SEC-008).
    pub fn auth_methods(&self, roots: RootCertificates) -> Result<AuthMethods, SecretError> {
        fn offered<T>(found: Result<T, SecretError>) -> Result<Option<T>, SecretError> {
            match found {
                Ok(value) => Ok(Some(value)),
                Err(
                    SecretError::KeyNotFound { .. }
                    | SecretError::TlsMissing { .. }
                    | SecretError::TlsPairIncomplete { .. },
                ) => Ok(None),
                Err(error) => Err(error),
            }
        }
        Ok(AuthMethods {
            basic: offered(self.basic())?,
            bearer: offered(self.bearer())?.filter(|token| !token.is_empty()),
            token: offered(self.token())?.filter(|token| !token.is_empty()),
            ssh: offered(self.ssh())?,
            github_app: offered(self.github_app())?,
            tls: offered(self.tls(roots))?,
        })
    }
}

#[cfg(test)]
mod tests;
