//! Signatures of webhooks, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// Why a signature is not accepted. Shown in the log only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    /// It is absent.
    #[error("missing signature")]
    Missing,
    /// It has no `=`.
    #[error("error parsing signature")]
    Form,
    /// Its hash is not known.
    #[error("unknown hash type prefix")]
    Hash,
    /// It is not hexadecimal.
    #[error("error decoding signature")]
    Hex,
    /// It is of another body or key.
    #[error("payload signature check failed")]
    Mismatch,
}

/// Checks `<hash>=<hex>` of a body (NC-RECV-066, NC-RECV-067).
pub(super) fn check(signature: &str, key: &[u8], body: &[u8]) -> Result<(), SignatureError> {
    if signature.is_empty() {
        return Err(SignatureError::Missing);
    }
    let parts: Vec<&str> = signature.split('=').collect();
    let [hash, code] = *parts else {
        return Err(SignatureError::Form);
    };
    let decoded = || hex::decode(code).map_err(|_| SignatureError::Hex);
    let good = match hash {
        "sha1" => verified::<Hmac<Sha1>>(key, body, &decoded()?),
        "sha256" => verified::<Hmac<Sha256>>(key, body, &decoded()?),
        "sha512" => verified::<Hmac<Sha512>>(key, body, &decoded()?),
        _ => return Err(SignatureError::Hash),
    };
    if good {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// Checks a bare hexadecimal HMAC-SHA1 in small letters (NC-RECV-077).
pub(super) fn check_sha1(signature: &str, key: &[u8], body: &[u8]) -> Result<(), SignatureError> {
    if signature.is_empty() {
        return Err(SignatureError::Missing);
    }
    let is_lower = signature
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match hex::decode(signature) {
        Ok(code) if is_lower && verified::<Hmac<Sha1>>(key, body, &code) => Ok(()),
        _ => Err(SignatureError::Mismatch),
    }
}

fn verified<M: Mac + KeyInit>(key: &[u8], body: &[u8], code: &[u8]) -> bool {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
        return false;
    };
    mac.update(body);
    mac.verify_slice(code).is_ok()
}

/// Whether two texts are equal, without telling by time where they differ (NC-RECV-071).
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    // Digests of equal length under a key that is not known outside: their comparison says nothing of the texts.
    let digest = |text: &[u8]| {
        let mut mac = match Hmac::<Sha256>::new_from_slice(b"receiver-server") {
            Ok(mac) => mac,
            Err(never) => unreachable!("HMAC takes keys of any length: {never}"),
        };
        mac.update(text);
        mac
    };
    let code = digest(other).finalize().into_bytes();
    digest(one).verify_slice(&code).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_three_hashes_are_accepted() {
        // Made with: openssl dgst -<hash> -hmac key <<< body
        let body = b"body\n";
        // NC-RECV-066, NC-RECV-067
        for hash in ["sha1", "sha256", "sha512"] {
            let code = match hash {
                "sha1" => sign::<Hmac<Sha1>>(b"key", body),
                "sha256" => sign::<Hmac<Sha256>>(b"key", body),
                _ => sign::<Hmac<Sha512>>(b"key", body),
            };
            let signature = format!("{hash}={code}");
            assert_eq!(check(&signature, b"key", body), Ok(()));
            assert_eq!(
                check(&signature, b"other", body),
                Err(SignatureError::Mismatch)
            );
            assert_eq!(
                check(&signature, b"key", b"body"),
                Err(SignatureError::Mismatch)
            );
        }
        for (signature, error) in [
            ("", SignatureError::Missing),
            ("sha256", SignatureError::Form),
            ("sha256=a=b", SignatureError::Form),
            ("md5=00", SignatureError::Hash),
            ("sha256=xx", SignatureError::Hex),
            ("sha256=00", SignatureError::Mismatch),
        ] {
            assert_eq!(check(signature, b"key", body), Err(error), "{signature}");
        }
    }

    #[test]
    fn bare_signatures_are_in_small_letters() {
        // NC-RECV-077
        let code = sign::<Hmac<Sha1>>(b"key", b"body");
        assert_eq!(check_sha1(&code, b"key", b"body"), Ok(()));
        let upper = code.to_uppercase();
        assert_eq!(
            check_sha1(&upper, b"key", b"body"),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            check_sha1("", b"key", b"body"),
            Err(SignatureError::Missing)
        );
        assert_eq!(
            check_sha1("zz", b"key", b"body"),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn texts_are_compared_as_a_whole() {
        // NC-RECV-071
        assert!(equal(b"token", b"token") && equal(b"", b""));
        assert!(!equal(b"token", b"toke") && !equal(b"token", b"tokeN"));
    }

    fn sign<M: Mac + KeyInit>(key: &[u8], body: &[u8]) -> String {
        let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }
}
