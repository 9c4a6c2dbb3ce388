//! JSON web tokens: signed with RSA keys, and read where only the expiry matters.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flux_http::Secret;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::Value;

use crate::client;

/// Why a key cannot sign: text for a user, without anything of the key.
pub(crate) type Unusable = &'static str;

/// How a token is signed.
#[derive(Clone, Copy)]
pub(crate) enum Algorithm {
    /// RSA with PKCS #1 padding.
    Rs256,
    /// RSA with PSS padding.
    Ps256,
}

/// The first private key of a PEM text.
pub(crate) fn private_key(pem: &Secret) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| "it is not a private key in PEM form")
}

/// Makes a token; `header` gets the algorithm.
pub(crate) fn signed(
    key: &PrivateKeyDer<'static>,
    algorithm: Algorithm,
    mut header: Value,
    claims: &Value,
) -> Result<Secret, Unusable> {
    let (name, scheme) = match algorithm {
        Algorithm::Rs256 => ("RS256", SignatureScheme::RSA_PKCS1_SHA256),
        Algorithm::Ps256 => ("PS256", SignatureScheme::RSA_PSS_SHA256),
    };
    header["alg"] = name.into();
    header["typ"] = "JWT".into();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&header), encode(claims));
    let key = rustls::crypto::ring::sign::any_supported_type(key);
    let key = key.map_err(|_| "it is of a kind or size that is not supported")?;
    let signer = key.choose_scheme(&[scheme]).ok_or("it is not an RSA key")?;
    let signature = signer.sign(text.as_bytes()).map_err(|_| "it cannot sign")?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Ok(Secret::new(format!("{text}.{signature}")))
}

/// When a token expires by its own account, which is not verified.
pub fn expiry(token: &Secret) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let text = token.expose_text();
    let mut parts = text.split('.');
    let claims = parts.nth(1)?;
    parts.next()?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(client::at(claims.exp))
}
