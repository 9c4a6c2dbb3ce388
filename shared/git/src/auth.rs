//! Credentials of a remote, from its URL and Secret.

use std::fmt;

use flux_http::{Hidden, RootCertificates, Secret, SecretData, TlsError, TlsSettings, keys};

use crate::url::{GitUrl, Transport};

/// The SSH user if the URL has none (SC-GIT-124).
const DEFAULT_SSH_USER: &str = "git";

/// Credentials and trust settings of one remote. `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthOptions {
    /// The transport of the URL.
    pub transport: Transport,
    /// User of HTTP basic authentication, or SSH user.
    pub username: String,
    /// Password of HTTP basic authentication, or passphrase of the SSH key.
    pub password: Secret,
    /// Token for `Authorization: Bearer`.
    pub bearer_token: Secret,
    /// SSH private key.
    pub identity: Secret,
    /// SSH host keys in OpenSSH's form.
    pub known_hosts: Vec<u8>,
    /// Certificate authorities and client certificate for HTTPS.
    pub tls: TlsSettings,
}

impl fmt::Debug for AuthOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthOptions")
            .field("transport", &self.transport)
            // Some hosts take a token as user name.
            .field("username", &Hidden(self.username.as_bytes()))
            .field("password", &self.password)
            .field("bearer_token", &self.bearer_token)
            .field("identity", &self.identity)
            .field("known_hosts", &Hidden(&self.known_hosts))
            .field("tls", &self.tls)
            .finish()
    }
}

/// Why the credentials are unusable. The texts are upstream's (RT-GIT and SC-AUTH rows).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// A password without a user name (SC-AUTH-012).
    #[error("invalid '{0}' auth option: 'password' requires 'username' to be set")]
    PasswordWithoutUsername(Transport),
    /// No SSH key (SC-AUTH-014).
    #[error("invalid 'ssh' auth option: 'identity' is required")]
    IdentityRequired,
    /// No SSH host keys (RT-GIT-010).
    #[error("invalid 'ssh' auth option: 'known_hosts' is required")]
    KnownHostsRequired,
    /// The SSH key is encrypted and the Secret has no passphrase (SC-AUTH-015).
    #[error(
        "SSH identity key is encrypted but no 'password' field was provided in the secret '{secret}'"
    )]
    PassphraseRequired {
        /// `namespace/name`.
        secret: String,
    },
    /// Both basic authentication and a token (RT-GIT-011).
    #[error("basic auth and bearer token cannot be set at the same time")]
    BasicAndBearer,
    /// A user or password over plain HTTP where that is not allowed (RT-GIT-010).
    #[error("basic auth cannot be sent over HTTP")]
    BasicOverHttp,
    /// A token over plain HTTP where that is not allowed (RT-GIT-010).
    #[error("bearer token cannot be sent over HTTP")]
    BearerOverHttp,
    /// User information in a plain HTTP URL where that is not allowed (RT-GIT-010).
    #[error("URL cannot contain credentials when using HTTP")]
    UrlCredentialsOverHttp,
    /// The TLS settings do not parse (SC-GIT-123).
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AuthOptions {
    /// Reads the credentials for `url` from its Secret, if it has one (SC-AUTH-010 to SC-AUTH-016).
    ///
    /// TLS keys are checked only when they are used; half a client certificate is ignored.
    pub fn new(url: &GitUrl, secret: Option<&SecretData<'_>>) -> Result<Self, AuthError> {
        let mut options = Self {
            transport: url.transport(),
            username: String::new(),
            password: Secret::default(),
            bearer_token: Secret::default(),
            identity: Secret::default(),
            known_hosts: Vec::new(),
            tls: TlsSettings::default(),
        };
        let get = |key: &str| {
            secret
                .and_then(|secret| secret.get(key))
                .filter(|value| !value.is_empty())
        };
        let take = |key: &str| get(key).map(Secret::new).unwrap_or_default();
        if url.transport() == Transport::Ssh {
            url.user()
                .unwrap_or(DEFAULT_SSH_USER)
                .clone_into(&mut options.username);
            options.identity = take(keys::SSH_IDENTITY);
            options.known_hosts = get(keys::SSH_KNOWN_HOSTS).unwrap_or_default().to_vec();
            options.password = take(keys::PASSWORD);
        } else {
            options.tls = TlsSettings {
                roots: RootCertificates::AddToSystem,
                authorities: get(keys::CA_CERT)
                    .or_else(|| get(keys::LEGACY_CA_CERT))
                    .map(<[u8]>::to_vec),
                client_pair: get(keys::TLS_CERT).zip(get(keys::TLS_KEY)).map(
                    |(certificate, key)| flux_http::ClientPair {
                        certificate: certificate.to_vec(),
                        key: Secret::new(key),
                    },
                ),
                accept_any_server: false,
            };
            if secret.is_some_and(|secret| secret.get(keys::BEARER_TOKEN).is_some()) {
                options.bearer_token = take(keys::BEARER_TOKEN);
            } else {
                options.username = take(keys::USERNAME).expose_text().into_owned();
                options.password = take(keys::PASSWORD);
            }
            if options.username.is_empty() {
                url.user()
                    .unwrap_or_default()
                    .clone_into(&mut options.username);
            }
            if options.password.is_empty() {
                options.password = url.password().cloned().unwrap_or_default();
            }
        }
        options.validate()?;
        if options.transport == Transport::Ssh
            && options.password.is_empty()
            && let Some(secret) = secret
            && crate::ssh_key::needs_passphrase(&options.identity)
        {
            return Err(AuthError::PassphraseRequired {
                secret: secret.name().to_owned(),
            });
        }
        Ok(options)
    }

    fn validate(&self) -> Result<(), AuthError> {
        match self.transport {
            Transport::Http | Transport::Https => {
                if self.username.is_empty() && !self.password.is_empty() {
                    return Err(AuthError::PasswordWithoutUsername(self.transport));
                }
            }
            Transport::Ssh => {
                if self.identity.is_empty() {
                    return Err(AuthError::IdentityRequired);
                }
                if self.known_hosts.is_empty() {
                    return Err(AuthError::KnownHostsRequired);
                }
            }
        }
        Ok(())
    }

    /// Checks which credentials may be sent over this transport (RT-GIT-010, RT-GIT-011). `insecure` allows credentials
    /// over plain HTTP, as source-controller does (SC-GIT-120).
    pub(crate) fn check(&self, url: &GitUrl, insecure: bool) -> Result<(), AuthError> {
        if self.transport == Transport::Ssh {
            return Ok(());
        }
        let basic = !self.username.is_empty() || !self.password.is_empty();
        if basic && !self.bearer_token.is_empty() {
            return Err(AuthError::BasicAndBearer);
        }
        if insecure || url.transport() != Transport::Http {
            return Ok(());
        }
        if url.user().is_some() || url.password().is_some() {
            return Err(AuthError::UrlCredentialsOverHttp);
        }
        if basic {
            return Err(AuthError::BasicOverHttp);
        }
        if !self.bearer_token.is_empty() {
            return Err(AuthError::BearerOverHttp);
        }
        Ok(())
    }

    /// The value of the `Authorization` header; `None` without credentials (RT-GIT-012).
    pub(crate) fn authorization(&self) -> Option<Secret> {
        use base64::Engine as _;
        if !self.username.is_empty() || !self.password.is_empty() {
            let mut pair = format!("{}:", self.username).into_bytes();
            pair.extend_from_slice(self.password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            return Some(Secret::new(format!("Basic {encoded}")));
        }
        if self.bearer_token.is_empty() {
            return None;
        }
        let mut header = b"Bearer ".to_vec();
        header.extend_from_slice(self.bearer_token.expose());
        Some(Secret::new(header))
    }
}

#[cfg(test)]
mod tests;
