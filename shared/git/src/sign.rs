//! Signs commits with OpenPGP and SSH keys (IA-GIT-092 to IA-GIT-101).

mod pgp;
mod ssh;

use std::fmt;
use std::sync::Arc;

use flux_http::{Secret, SecretData};

/// Keys of a Secret with a signing key.
mod entries {
    pub(super) const PGP_KEY: &str = "git.asc";
    pub(super) const PGP_PASSPHRASE: &str = "passphrase";
    pub(super) const SSH_KEY: &str = "identity";
    pub(super) const SSH_PASSPHRASE: &str = "password";
}

/// A private key that signs commits. A copy shares its memory; `Debug` shows its kind only.
#[derive(Clone)]
pub struct SigningKey(Arc<Kind>);

enum Kind {
    OpenPgp(Box<pgp::Key>),
    Ssh(Box<ssh::Key>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.0 {
            Kind::OpenPgp(_) => "SigningKey(openpgp)",
            Kind::Ssh(_) => "SigningKey(ssh)",
        })
    }
}

/// Why a Secret has no usable signing key. Print it with its sources, joined by `: `: the texts are upstream's, with the name
/// of the Secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// The kind is neither `gpg` nor `ssh` (IA-GIT-094).
    #[error("unknown signing key type {0:?}")]
    UnknownKind(String),
    /// The Secret has no OpenPGP key (IA-GIT-092).
    #[error("signing key secret '{0}' does not contain a 'git.asc' key")]
    PgpKeyMissing(String),
    /// The Secret has no SSH key (IA-GIT-093).
    #[error("signing key secret '{0}' does not contain an 'identity' key")]
    SshKeyMissing(String),
    /// The key ring has several keys (IA-GIT-095).
    #[error(
        "multiple entities read from secret '{0}', could not determine which signing key to use"
    )]
    Several(String),
    /// The key is encrypted, and its passphrase is missing (IA-GIT-096, IA-GIT-098).
    #[error(
        "can not use passphrase protected signing key without '{entry}' field present in secret {name}"
    )]
    PassphraseMissing {
        /// The entry of the Secret that the passphrase belongs into.
        entry: &'static str,
        /// The name of the Secret.
        name: String,
    },
    /// The key ring cannot be read (IA-GIT-095).
    #[error("could not read signing key from secret '{name}'")]
    PgpUnreadable {
        /// The name of the Secret.
        name: String,
        /// What is wrong.
        #[source]
        source: KeyFault,
    },
    /// The passphrase does not fit (IA-GIT-096).
    #[error("could not decrypt private key of the signing key present in secret {name}")]
    PgpLocked {
        /// The name of the Secret.
        name: String,
        /// What is wrong.
        #[source]
        source: KeyFault,
    },
    /// The SSH key cannot be used (IA-GIT-099).
    #[error("could not parse SSH signing key from secret '{name}'")]
    SshUnreadable {
        /// The name of the Secret.
        name: String,
        /// What is wrong.
        #[source]
        source: KeyFault,
    },
}

/// Why a private key cannot sign. Texts describe the defect, never the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// The key ring has several keys.
    #[error("the key ring has several keys")]
    Several,
    /// It is encrypted, and no passphrase was given.
    #[error("the private key is passphrase protected")]
    PassphraseRequired,
    /// It is encrypted with another passphrase.
    #[error("{0}")]
    WrongPassphrase(&'static str),
    /// It is not a key, or one that cannot sign.
    #[error("{0}")]
    Unusable(String),
}

/// Why a signature could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignError(&'static str);

impl SigningKey {
    /// Reads the key of a Secret: an OpenPGP key if `kind` is `gpg` or empty, an SSH key if it is `ssh`. `name` is the name
    /// that errors show.
    pub fn from_secret(
        kind: &str,
        name: &str,
        secret: &SecretData<'_>,
    ) -> Result<Self, SigningKeyError> {
        let name = || name.to_owned();
        match kind {
            "gpg" | "" => {
                let armored = secret
                    .get(entries::PGP_KEY)
                    .ok_or_else(|| SigningKeyError::PgpKeyMissing(name()))?;
                let passphrase = secret.get(entries::PGP_PASSPHRASE).map(Secret::new);
                Self::openpgp(&Secret::new(armored), passphrase.as_ref()).map_err(|fault| {
                    match fault {
                        KeyFault::Several => SigningKeyError::Several(name()),
                        KeyFault::PassphraseRequired => SigningKeyError::PassphraseMissing {
                            entry: entries::PGP_PASSPHRASE,
                            name: name(),
                        },
                        KeyFault::WrongPassphrase(_) => SigningKeyError::PgpLocked {
                            name: name(),
                            source: fault,
                        },
                        KeyFault::Unusable(_) => SigningKeyError::PgpUnreadable {
                            name: name(),
                            source: fault,
                        },
                    }
                })
            }
            "ssh" => {
                let identity = secret
                    .get(entries::SSH_KEY)
                    .ok_or_else(|| SigningKeyError::SshKeyMissing(name()))?;
                let passphrase = secret.get(entries::SSH_PASSPHRASE).map(Secret::new);
                Self::ssh(&Secret::new(identity), passphrase.as_ref()).map_err(
                    |fault| match fault {
                        KeyFault::PassphraseRequired => SigningKeyError::PassphraseMissing {
                            entry: entries::SSH_PASSPHRASE,
                            name: name(),
                        },
                        source => SigningKeyError::SshUnreadable {
                            name: name(),
                            source,
                        },
                    },
                )
            }
            other => Err(SigningKeyError::UnknownKind(other.to_owned())),
        }
    }

    /// Reads an armored OpenPGP key ring with exactly one key. The newest subkey that may sign is used, else the primary key.
    pub fn openpgp(armored: &Secret, passphrase: Option<&Secret>) -> Result<Self, KeyFault> {
        let key = pgp::Key::read(armored, passphrase)?;
        Ok(Self(Arc::new(Kind::OpenPgp(Box::new(key)))))
    }

    /// Reads an SSH private key: Ed25519, ECDSA on a NIST curve, or RSA with at least 2,048 bits.
    pub fn ssh(identity: &Secret, passphrase: Option<&Secret>) -> Result<Self, KeyFault> {
        let key = ssh::Key::read(identity, passphrase)?;
        Ok(Self(Arc::new(Kind::Ssh(Box::new(key)))))
    }

    /// The armored signature of a payload.
    pub(crate) fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        match &*self.0 {
            Kind::OpenPgp(key) => key.sign(payload),
            Kind::Ssh(key) => key.sign(payload),
        }
    }
}

#[cfg(test)]
mod tests;
