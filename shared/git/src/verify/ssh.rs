//! SSH signatures (`ssh-keygen -Y sign -n git`).

use russh::keys::ssh_key::{Error, SshSig};
use russh::keys::{HashAlg, PublicKey};

use super::{MAX_ARMOR, SignatureError};

/// Git's signature namespace.
pub(crate) const NAMESPACE: &str = "git";

/// Verifies an armored signature and returns the key's fingerprint.
pub(super) fn verify(
    signature: &str,
    payload: &[u8],
    texts: &[String],
) -> Result<String, SignatureError> {
    if payload.is_empty() {
        return Err(SignatureError::PayloadEmpty);
    }
    if signature.len() > MAX_ARMOR {
        return Err(SignatureError::Armor(format!(
            "longer than {MAX_ARMOR} bytes"
        )));
    }
    // The armor ends with a newline, which a commit header has lost.
    let signature = SshSig::from_pem(format!("{signature}\n").as_bytes())
        .map_err(|error| SignatureError::Armor(error.to_string()))?;
    let mut unreadable = None;
    let mut attempted = false;
    let mut reasons: Vec<String> = Vec::new();
    for text in texts {
        let keys = match authorized_keys(text) {
            Ok(keys) => keys,
            Err(reason) => {
                unreadable.get_or_insert(reason);
                continue;
            }
        };
        attempted = true;
        for key in keys {
            match key.verify(NAMESPACE, payload, &signature) {
                Ok(()) => return Ok(key.fingerprint(HashAlg::Sha256).to_string()),
                Err(error) => {
                    let reason = match error {
                        Error::PublicKey => "public key does not match".to_owned(),
                        Error::Namespace => "namespace does not match".to_owned(),
                        _ => "ssh: signature did not verify".to_owned(),
                    };
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
        }
    }
    match unreadable {
        Some(reason) if !attempted => Err(SignatureError::AuthorizedKeys(reason)),
        _ => Err(SignatureError::NoMatchingSshKey(reasons)),
    }
}

/// The keys of an `authorized_keys` text; one bad line invalidates it (SC-VER-015).
fn authorized_keys(text: &str) -> Result<Vec<PublicKey>, &'static str> {
    if text.len() > MAX_ARMOR {
        return Err("more than 4 MiB");
    }
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| authorized_key(line).ok_or("ssh: no key found"))
        .collect()
}

/// A line's key, with or without options before it.
fn authorized_key(line: &str) -> Option<PublicKey> {
    if let Ok(key) = PublicKey::from_openssh(line) {
        return Some(key);
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                return PublicKey::from_openssh(line.get(at..)?.trim_start()).ok();
            }
            _ => {}
        }
        escaped = false;
    }
    None
}
