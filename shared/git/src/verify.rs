//! Verifies the signatures of commits and tags (SC-VER-003 to SC-VER-017).

pub(crate) mod pgp;
mod ssh;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use flux_http::SecretData;

use crate::object::{Commit, Tag};

pub(crate) use ssh::NAMESPACE as SSH_NAMESPACE;

/// The maximum size of a key ring or signature in bytes.
pub(crate) const MAX_ARMOR: usize = 4 << 20;
/// The suffix of a Secret's keys that hold SSH keys; all others hold OpenPGP keys.
const SSH_SUFFIX: &str = ".sshpub";

/// The kind of a signature, by its armor (SC-VER-005).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// OpenPGP.
    OpenPgp,
    /// OpenSSH.
    Ssh,
    /// S/MIME.
    X509,
    /// No signature.
    Empty,
    /// An unknown kind.
    Unknown,
}

impl SignatureKind {
    /// The kind of an armored signature.
    pub fn from_armor(signature: &str) -> Self {
        let begins = |prefix: &str| signature.trim_start().starts_with(prefix);
        if begins("-----BEGIN PGP SIGNATURE-----") {
            Self::OpenPgp
        } else if begins("-----BEGIN SSH SIGNATURE-----") {
            Self::Ssh
        } else if begins("-----BEGIN SIGNED MESSAGE-----") {
            Self::X509
        } else if signature.is_empty() {
            Self::Empty
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenPgp => "openpgp",
            Self::Ssh => "ssh",
            Self::X509 => "x509",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        })
    }
}

/// The trusted keys.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TrustedKeys {
    /// Armored OpenPGP key rings.
    pub pgp: Vec<String>,
    /// `authorized_keys` texts.
    pub ssh: Vec<String>,
}

impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // They may include a private key by mistake.
        f.debug_struct("TrustedKeys")
            .field("pgp", &self.pgp.len())
            .field("ssh", &self.ssh.len())
            .finish()
    }
}

impl TrustedKeys {
    /// Reads the keys of a Secret: entries whose name ends in `.sshpub` are SSH keys, all others OpenPGP (SC-VER-003).
    pub fn from_secret(secret: &SecretData<'_>) -> Self {
        let mut keys = Self::default();
        for name in secret.keys() {
            let text = String::from_utf8_lossy(secret.get(name).unwrap_or_default()).into_owned();
            if name.ends_with(SSH_SUFFIX) {
                keys.ssh.push(text);
            } else {
                keys.pgp.push(text);
            }
        }
        keys
    }
}

/// The kind of object that was verified; part of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// A commit.
    Commit,
    /// A tag object.
    Tag,
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "commit",
            Self::Tag => "tag",
        })
    }
}

/// Why a signature is rejected. Print it with its sources, joined by `: ` (SC-VER-006, SC-VER-012, SC-VER-015).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// An OpenPGP signature, but no trusted OpenPGP keys.
    #[error(
        "PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)"
    )]
    NoPgpKeys,
    /// An SSH signature, but no trusted SSH keys.
    #[error(
        "SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)"
    )]
    NoSshKeys,
    /// No signature, or one of an unsupported kind.
    #[error("unsupported signature type: {0}")]
    Unsupported(SignatureKind),
    /// The OpenPGP signature is invalid.
    #[error("unable to verify Git {signed}")]
    Pgp {
        /// The kind of object.
        signed: Signed,
        /// The reason.
        #[source]
        source: SignatureError,
    },
    /// The SSH signature is invalid.
    #[error("unable to verify Git {signed} SSH signature")]
    Ssh {
        /// The kind of object.
        signed: Signed,
        /// The reason.
        #[source]
        source: SignatureError,
    },
}

/// Why one signature is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signed payload.
    #[error("unable to verify payload: payload is empty")]
    PayloadEmpty,
    /// No key ring could be read.
    #[error("unable to read armored key ring: {0}")]
    KeyRing(&'static str),
    /// No trusted OpenPGP key made the signature, or the key is no longer valid.
    #[error("unable to verify payload with any of the given key rings: no matching key")]
    NoMatchingPgpKey,
    /// The armor of the SSH signature cannot be read.
    #[error("unable to unarmor SSH signature: {0}")]
    Armor(String),
    /// No `authorized_keys` text could be read.
    #[error("unable to parse authorized keys: unable to parse authorized key: {0}")]
    AuthorizedKeys(&'static str),
    /// No trusted SSH key made the signature; the reasons, one per line.
    #[error("unable to verify payload with any of the given authorized keys: no matching key{}", lines(.0))]
    NoMatchingSshKey(Vec<String>),
}

fn lines(reasons: &[String]) -> String {
    reasons
        .iter()
        .fold(String::new(), |text, reason| text + "\n" + reason)
}

fn verify(
    signed: Signed,
    signature: &str,
    payload: &[u8],
    keys: &TrustedKeys,
) -> Result<String, VerifyError> {
    match SignatureKind::from_armor(signature) {
        SignatureKind::OpenPgp if keys.pgp.is_empty() => Err(VerifyError::NoPgpKeys),
        SignatureKind::OpenPgp => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |now| now.as_secs());
            pgp::verify(signature.trim(), payload, &keys.pgp, now)
                .map_err(|source| VerifyError::Pgp { signed, source })
        }
        SignatureKind::Ssh if keys.ssh.is_empty() => Err(VerifyError::NoSshKeys),
        SignatureKind::Ssh => ssh::verify(signature.trim(), payload, &keys.ssh)
            .map_err(|source| VerifyError::Ssh { signed, source }),
        other => Err(VerifyError::Unsupported(other)),
    }
}

impl Commit {
    /// Verifies the commit's own signature and returns the signer: an OpenPGP key id (16 upper-case hexadecimal digits,
    /// that of the primary key) or an SSH fingerprint (`SHA256:...`, SC-VER-011).
    pub fn verify(&self, keys: &TrustedKeys) -> Result<String, VerifyError> {
        verify(Signed::Commit, &self.signature, &self.encoded, keys)
    }
}

impl Tag {
    /// Verifies the tag object's signature and returns the signer, as [`Commit::verify`] does.
    pub fn verify(&self, keys: &TrustedKeys) -> Result<String, VerifyError> {
        verify(Signed::Tag, &self.signature, &self.encoded, keys)
    }
}

#[cfg(test)]
mod tests;
