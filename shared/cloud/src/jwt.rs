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
    claims(token)?.exp.map(client::at)
}

/// Whom a token is for by its own account, which is not verified.
pub fn audiences(token: &Secret) -> Vec<String> {
    match claims(token).and_then(|claims| claims.aud) {
        None => Vec::new(),
        Some(Audience::One(audience)) => vec![audience],
        Some(Audience::Many(audiences)) => audiences,
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

fn claims(token: &Secret) -> Option<Claims> {
    let text = token.expose_text();
    let parts: Vec<&str> = text.split('.').collect();
    let [_, claims, _] = parts[..] else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Secret {
        Secret::new(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn claims_are_read_without_verification() {
        let read = token(r#"{"exp": 1700000000, "aud": ["a", "b"]}"#);
        assert_eq!(expiry(&read), Some(client::at(1_700_000_000.0)));
        assert_eq!(audiences(&read), ["a", "b"]);
        assert_eq!(audiences(&token(r#"{"aud": "a"}"#)), ["a"]);
        for wrong in [
            Secret::from(""),
            Secret::from("a.b"),
            Secret::from("a.!.c"),
            token("[]"),
        ] {
            assert_eq!((expiry(&wrong), audiences(&wrong)), (None, Vec::new()));
        }
    }
}
