//! SSH signatures, as `ssh-keygen -Y sign -n git` makes them.

use flux_http::Secret;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

use super::{KeyFault, SignError};
use crate::ssh_key::{self, SshKeyError};
use crate::verify::SSH_NAMESPACE;

/// The smallest RSA key that OpenSSH verifies signatures of.
const MIN_RSA_BITS: usize = 2048;

pub(super) struct Key(PrivateKey);

impl Key {
    pub(super) fn read(identity: &Secret, passphrase: Option<&Secret>) -> Result<Self, KeyFault> {
        let key = ssh_key::parse(identity, passphrase).map_err(|error| match error {
            SshKeyError::PassphraseRequired => KeyFault::PassphraseRequired,
            SshKeyError::WrongPassphrase => KeyFault::WrongPassphrase(
                "could not parse SSH signing key: x509: decryption password incorrect",
            ),
            SshKeyError::Unreadable(_) => {
                KeyFault::Unusable(format!("could not parse SSH signing key: {error}"))
            }
        })?;
        match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => {}
            Algorithm::Rsa { .. } => {
                let bits = key
                    .public_key()
                    .key_data()
                    .rsa()
                    .map_or(0, |rsa| rsa.key_size() as usize);
                if bits < MIN_RSA_BITS {
                    return Err(KeyFault::Unusable(format!(
                        "RSA key size {bits} bits is below the minimum supported by NewSSHSigner; \
                         must be at least {MIN_RSA_BITS}"
                    )));
                }
            }
            other => {
                return Err(KeyFault::Unusable(format!(
                    "unsupported SSH signing key algorithm: {other}"
                )));
            }
        }
        Ok(Self(key))
    }

    /// IA-GIT-100
    pub(super) fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        let signature = self.0.sign(SSH_NAMESPACE, HashAlg::Sha512, payload);
        signature
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|_| SignError("ssh: the key cannot sign"))
    }
}
