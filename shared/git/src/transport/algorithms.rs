//! The SSH algorithms that are offered to a server, and the hashes for signatures with RSA user keys.
//!
//! The sets are those of Go's client (`golang.org/x/crypto/ssh`), so that every host that works with upstream works
//! here, plus those that russh adds. They are ordered by strength, so that SHA-1 is negotiated only with a server that
//! offers nothing else. Go's `hmac-sha1-96` and `ssh-dss` are missing because russh does not implement them.

use std::borrow::Cow;

use russh::keys::{Algorithm, HashAlg};
use russh::{Preferred, cipher, kex, mac};

use crate::error::Fault;
use crate::known_hosts::{KnownHosts, certificate_algorithms};
use crate::remote::Remote;

/// Key exchange algorithms, best first. The last one uses SHA-1, the only option of old appliances.
const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G15_SHA512,
    kex::DH_G14_SHA256,
    kex::DH_G14_SHA1,
];

/// Names in the list of key exchange algorithms that announce protocol extensions.
const EXTENSIONS: [kex::Name; 2] = [
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512,
    mac::HMAC_SHA256,
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA1,
];

/// The algorithms to offer to `host` (RT-GIT-014): those of the flags, otherwise the defaults.
///
/// # Errors
/// [`Fault::SshSettings`] if a flag contains no supported algorithm.
pub(super) fn preferred(
    remote: &Remote,
    known: &KnownHosts,
    host: &str,
    port: u16,
) -> Result<Preferred, Fault> {
    let ssh = &remote.options.ssh;
    let mut preferred = Preferred {
        kex: Cow::Owned(key_exchanges(&ssh.kex)?),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        ..Preferred::DEFAULT
    };
    if ssh.host_key.is_empty() {
        preferred.key = Cow::Owned(known.algorithms(host, port));
        if known.has_authority(host, port) {
            preferred.host_key_certificates = Cow::Owned(certificate_algorithms());
        }
        if preferred.key.is_empty() {
            preferred.key = Cow::Owned(certificate_algorithms());
        }
        return Ok(preferred);
    }
    let (mut plain, mut certificates) = (Vec::new(), Vec::new());
    for name in &ssh.host_key {
        let name = name.trim();
        if let Some(name) = name.strip_suffix("-cert-v01@openssh.com") {
            certificates.extend(Algorithm::new(name).ok());
        } else {
            plain.extend(
                Algorithm::new(name)
                    .ok()
                    .filter(|name| !matches!(name, Algorithm::Other(_))),
            );
        }
    }
    if plain.is_empty() && certificates.is_empty() {
        return Err(Fault::SshSettings(format!(
            "ssh: none of the host key algorithms [{}] is supported",
            ssh.host_key.join(" ")
        )));
    }
    preferred.key = Cow::Owned(plain);
    preferred.host_key_certificates = Cow::Owned(certificates);
    Ok(preferred)
}

/// The key exchange algorithms of `--ssh-kex-algos`, unknown names ignored as in Go, or the defaults.
fn key_exchanges(wanted: &[String]) -> Result<Vec<kex::Name>, Fault> {
    let mut names: Vec<kex::Name> = if wanted.is_empty() {
        KEY_EXCHANGES.to_vec()
    } else {
        wanted
            .iter()
            .filter_map(|name| kex::Name::try_from(name.trim()).ok())
            .collect()
    };
    if names.is_empty() {
        return Err(Fault::SshSettings(format!(
            "ssh: none of the key exchange algorithms [{}] is supported",
            wanted.join(" ")
        )));
    }
    names.extend(EXTENSIONS);
    Ok(names)
}

/// The hashes to try with a user key, in order; `announced` is the best one that the server announces.
///
/// A server that announces nothing (before OpenSSH 7.2, and many appliances) may support only one of them, and one that
/// announces SHA-2 may reject it by `PubkeyAcceptedAlgorithms`: each is tried until one is accepted.
#[allow(clippy::option_option)] // as russh gives it: nothing announced, or SHA-1 as the best one
pub(super) fn user_key_hashes(
    key: &Algorithm,
    announced: Option<Option<HashAlg>>,
) -> Vec<Option<HashAlg>> {
    if !matches!(key, Algorithm::Rsa { .. }) {
        return vec![None];
    }
    let mut hashes = vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256), None];
    if let Some(best) = announced {
        hashes.retain(|hash| *hash != best);
        hashes.insert(0, best);
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_keys_try_every_hash_and_the_announced_one_first() {
        let rsa = Algorithm::Rsa { hash: None };
        let (long, short) = (Some(HashAlg::Sha512), Some(HashAlg::Sha256));
        assert_eq!(user_key_hashes(&rsa, None), [long, short, None]);
        assert_eq!(user_key_hashes(&rsa, Some(short)), [short, long, None]);
        assert_eq!(user_key_hashes(&rsa, Some(None)), [None, long, short]);
        assert_eq!(user_key_hashes(&Algorithm::Ed25519, None), [None]);
    }
}
