//! The certificate of a service principal, which signs an assertion in place of a secret.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flux_http::Secret;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Error;
use crate::jwt::{self, Algorithm};

/// For how long an assertion is valid, in seconds.
const ASSERTION_LIFE: u64 = 600;

/// A certificate with its RSA key. `Debug` shows no key.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    send_chain: bool,
}

impl Clone for Certificate {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            send_chain: self.send_chain,
        }
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("certificates", &self.chain.len())
            .field("send_chain", &self.send_chain)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads certificate and key from PEM text. `send_chain` adds the certificates to the assertion, for tenants that
    /// trust a subject and its issuer in place of one certificate.
    ///
    /// # Errors
    /// There is no certificate or no RSA key, or they are in PKCS #12 or encrypted, which is not supported.
    pub fn new(pem: &Secret, password: Option<&Secret>, send_chain: bool) -> Result<Self, Error> {
        let unusable = Error::Certificate;
        let is_pem = pem.expose().windows(10).any(|part| part == b"-----BEGIN");
        if !is_pem {
            return Err(unusable("it is not in PEM form; PKCS #12 is not supported"));
        }
        if password.is_some_and(|password| !password.is_empty()) {
            return Err(unusable("keys with a password are not supported"));
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose()).collect();
        let chain = chain.map_err(|_| unusable("it is not valid PEM"))?;
        if chain.is_empty() {
            return Err(unusable("found no certificate"));
        }
        let key = jwt::private_key(pem).map_err(unusable)?;
        let certificate = Self {
            chain,
            key,
            send_chain,
        };
        certificate.assertion("", "")?; // a key that cannot sign is found out at once
        Ok(certificate)
    }

    /// An assertion for the client, for the one who issues tokens at `audience`.
    pub(super) fn assertion(&self, client: &str, audience: &str) -> Result<Secret, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let leaf = self.chain.first().map(AsRef::as_ref).unwrap_or_default();
        let mut header = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(leaf))});
        if self.send_chain {
            let chain = self.chain.iter().map(|part| STANDARD.encode(part));
            header["x5c"] = chain.map(Value::from).collect();
        }
        let claims = json!({
            "aud": audience,
            "exp": now + ASSERTION_LIFE,
            "iss": client,
            "jti": uuid::Uuid::new_v4().to_string(),
            "nbf": now,
            "sub": client,
        });
        let signed = jwt::signed(&self.key, Algorithm::Ps256, header, &claims);
        signed.map_err(Error::Certificate)
    }
}
