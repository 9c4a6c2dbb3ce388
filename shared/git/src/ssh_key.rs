//! SSH private keys.

use flux_http::Secret;
use russh::keys::{PrivateKey, decode_secret_key};

/// The maximum size of a key file in bytes.
const MAX_KEY: usize = 64 * 1024;

/// Why a private key is unusable. Texts describe the defect, never the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SshKeyError {
    /// It is encrypted and no passphrase was given.
    #[error("ssh: this private key is passphrase protected")]
    PassphraseRequired,
    /// It is encrypted with another passphrase.
    #[error("ssh: the passphrase does not decrypt the private key")]
    WrongPassphrase,
    /// It is not a key, or of an unsupported kind.
    #[error("ssh: no usable private key found: {0}")]
    Unreadable(String),
}

/// Whether the key is encrypted.
pub fn needs_passphrase(identity: &Secret) -> bool {
    parse(identity, None) == Err(SshKeyError::PassphraseRequired)
}

/// Parses a private key in OpenSSH, PKCS#1, PKCS#8 or SEC1 format (SC-GIT-126).
pub(crate) fn parse(
    identity: &Secret,
    passphrase: Option<&Secret>,
) -> Result<PrivateKey, SshKeyError> {
    if identity.expose().len() > MAX_KEY {
        return Err(SshKeyError::Unreadable(format!(
            "longer than {MAX_KEY} bytes"
        )));
    }
    let text = identity.expose_text();
    let passphrase = passphrase
        .filter(|passphrase| !passphrase.is_empty())
        .map(Secret::expose_text);
    // Whether the key is encrypted does not depend on the passphrase; it is ignored for an unencrypted key.
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(key),
        Err(error) if is_encrypted(&text, &error) => match passphrase {
            None => Err(SshKeyError::PassphraseRequired),
            Some(passphrase) => decode_secret_key(&text, Some(&passphrase))
                .map_err(|_| SshKeyError::WrongPassphrase),
        },
        Err(error) => Err(SshKeyError::Unreadable(describe(&error))),
    }
}

fn is_encrypted(text: &str, error: &russh::keys::Error) -> bool {
    matches!(error, russh::keys::Error::KeyIsEncrypted)
        || text.contains("BEGIN ENCRYPTED PRIVATE KEY")
        || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// The defect, without any text of the key.
fn describe(error: &russh::keys::Error) -> String {
    use russh::keys::Error;
    match error {
        Error::UnsupportedKeyType { .. } | Error::UnknownAlgorithm(_) => {
            "unsupported kind of key".to_owned()
        }
        Error::KeyIsCorrupt => "the key is corrupt".to_owned(),
        _ => "not a private key in OpenSSH or PEM form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use git_servers::SshKey;

    use super::*;

    // SC-GIT-126
    #[test]
    fn errors_do_not_quote_the_key() {
        let good = SshKey::ed25519().private();
        let encrypted = SshKey::generate(&["-t", "ed25519"], "S3CRET").private();
        let line = |key: &str| key.lines().nth(2).unwrap_or_default().to_owned();
        let mut texts = vec![
            "S3CRET".to_owned(),
            good.replacen(&line(&good), "S3CRET", 1),
            good.replacen(&line(&good), &format!("S3CRET!{}", line(&good)), 1),
            good[..good.len() / 2].to_owned(),
            encrypted.replacen(&line(&encrypted), "S3CRET", 1),
            format!("S3CRET\n{encrypted}"),
            "S".repeat(MAX_KEY + 1),
        ];
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "S3CRET",
        ] {
            for body in [
                "S3CRET",
                "UzNDUkVU",
                "Proc-Type: 4,ENCRYPTED\nDEK-Info: S3CRET\n\nUzNDUkVU",
            ] {
                texts.push(format!(
                    "-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"
                ));
            }
        }
        for text in texts {
            for passphrase in [None, Some(Secret::from("S3CRET"))] {
                let Err(error) = parse(&Secret::from(text.as_str()), passphrase.as_ref()) else {
                    continue;
                };
                let shown = format!("{error} {error:?}");
                let quoted = text
                    .lines()
                    .any(|line| line.len() > 20 && shown.contains(line));
                let hidden = !shown.contains("S3CRET") && !shown.contains("UzNDUkVU") && !quoted;
                assert!(hidden, "{shown}");
            }
        }
    }
}
