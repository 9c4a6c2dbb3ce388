//! Signatures in cosign's older layout: the image at the tag `sha256-<hex>.sig` has a layer for each signature.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::rekor::{Content, Kind, verify_promise};
use super::{Error, Trust, Verified};
use crate::key::{Hash, PublicKey};
use crate::x509::Certificate;

/// The maximum size of a payload.
const MAX_PAYLOAD: usize = 1 << 20;
/// The maximum size of an annotation that is read.
const MAX_ANNOTATION: usize = 1 << 20;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";

/// A layer of the image with the signatures: its content, and the annotations of its descriptor.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The payload in the format "simple signing". The caller has checked its digest.
    pub payload: Vec<u8>,
    /// The annotations, with the signature in `dev.cosignproject.cosign/signature`.
    pub annotations: BTreeMap<String, String>,
}

impl Layer {
    fn annotation(&self, name: &str) -> Result<&str, Error> {
        let text = self.annotations.get(name).map_or("", String::as_str);
        if text.len() > MAX_ANNOTATION {
            return Err(Error::TooLarge);
        }
        Ok(text)
    }

    fn certificate(&self) -> Result<Option<Arc<Certificate>>, Error> {
        let text = self.annotation(CERTIFICATE)?;
        if text.is_empty() {
            return Ok(None);
        }
        let found =
            Certificate::from_pem(text, 1).map_err(|why| Error::Certificate(why.to_string()))?;
        Ok(found.into_iter().next())
    }
}

/// Rekor's promise in an annotation.
#[derive(Deserialize)]
struct Promise {
    #[serde(rename = "SignedEntryTimestamp")]
    signed: String,
    #[serde(rename = "Payload")]
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// Verifies a layer, as `cosign.VerifyImageSignature` with the claim verifier of `cosign verify`. `now` is in seconds
/// since 1970.
pub(super) fn verify(
    trust: &Trust,
    layer: &Layer,
    digest: &str,
    now: i64,
) -> Result<Verified, Error> {
    if layer.payload.len() > MAX_PAYLOAD {
        return Err(Error::TooLarge);
    }
    let text = layer.annotation(SIGNATURE)?;
    let certificate = layer.certificate()?;
    let signature = || {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|_| Error::Malformed("signature"))
    };
    match trust {
        Trust::Keys(keys) => {
            let signature = signature()?;
            let by = |key: &&PublicKey| {
                key.verifies(key.default_scheme(Hash::Sha256), &layer.payload, &signature)
            };
            let index = keys.iter().position(|key| by(&key));
            let index = index.ok_or(Error::InvalidSignature)?;
            claims(&layer.payload, digest)?;
            // A key's signature may carry a certificate, which then has to be valid (upstream without a log).
            if let Some(certificate) = certificate
                && check_time(&[certificate], now).is_err()
            {
                return Err(Error::NoTimestamp);
            }
            Ok(Verified::Key { index })
        }
        Trust::Keyless { root, identities } => {
            let annotation = layer.annotation(BUNDLE)?;
            if annotation.is_empty() {
                return Err(Error::NotLogged);
            }
            let promise: Promise =
                serde_json::from_str(annotation).map_err(|_| Error::Malformed("log entry"))?;
            let entry = promise.payload;
            let certificate = certificate.ok_or(Error::NoCertificate)?;
            compare(&entry.body, text, &layer.payload, &certificate)?;
            let log_id = hex::decode(&entry.log_id).map_err(|_| Error::Malformed("log ID"))?;
            let log = root.rekor(&log_id).ok_or(Error::UnknownLog)?;
            let body = STANDARD
                .decode(&entry.body)
                .map_err(|_| Error::Malformed("log entry"))?;
            let signed = STANDARD
                .decode(&promise.signed)
                .map_err(|_| Error::Malformed("signed entry timestamp"))?;
            let (index, at) = (entry.log_index, entry.integrated_time);
            if !verify_promise(log, &log_id, &body, index, at, &signed) {
                return Err(Error::Promise);
            }
            // The chain is built at the certificate's own time; the entry's time is compared below.
            let chain = root
                .chain(&certificate, certificate.not_before)
                .ok_or(Error::UntrustedCertificate)?;
            let (issuer, subject) = super::check_identity(identities, &certificate)?;
            super::check_logged(root, &chain)?;
            let key = certificate
                .key
                .as_ref()
                .map_err(|why| Error::Certificate(why.to_string()))?;
            let signature = signature()?;
            if !key.verifies(key.default_scheme(Hash::Sha256), &layer.payload, &signature) {
                return Err(Error::InvalidSignature);
            }
            claims(&layer.payload, digest)?;
            check_time(&chain, at)?;
            Ok(Verified::Certificate {
                issuer,
                subject,
                time: at,
            })
        }
    }
}

/// Whether a log entry is of this signature, payload and certificate.
fn compare(
    body: &str,
    signature: &str,
    payload: &[u8],
    certificate: &Certificate,
) -> Result<(), Error> {
    let body = STANDARD.decode(body).ok();
    let content = body.and_then(|body| Content::parse(&body));
    let Some(Content::First(entry)) = content else {
        return Err(Error::Malformed("log entry"));
    };
    if entry.kind != Kind::HashedRekord {
        return Err(Error::Malformed("log entry"));
    }
    if entry.signature_text != signature {
        return Err(Error::EntryMismatch(
            "signature in bundle does not match signature being verified",
        ));
    }
    if entry.verifier_der().as_deref() != Some(&certificate.der) {
        return Err(Error::EntryMismatch(
            "certificate in bundle does not match that of the signature",
        ));
    }
    let hash = hex::encode(Hash::Sha256.digest(payload));
    if entry.algorithm != "sha256" || entry.hash != hash {
        return Err(Error::EntryMismatch(
            "payload in bundle does not match that of the signature",
        ));
    }
    Ok(())
}

/// Whether the payload is about the image with this digest (SC-VER-040).
fn claims(payload: &[u8], digest: &str) -> Result<(), Error> {
    let payload: Value =
        serde_json::from_slice(payload).map_err(|_| Error::Malformed("payload"))?;
    let found = payload.pointer("/critical/image/docker-manifest-digest");
    let found = found.and_then(Value::as_str).unwrap_or_default();
    if found == digest {
        Ok(())
    } else {
        Err(Error::Claim(found.chars().take(128).collect()))
    }
}

/// `cosign.CheckExpiry`: whether all certificates of a chain are valid at a time.
fn check_time(chain: &[Arc<Certificate>], at: i64) -> Result<(), Error> {
    for (place, certificate) in chain.iter().enumerate() {
        let what = if place == 0 {
            "certificate"
        } else {
            "issuing CA certificate"
        };
        if certificate.not_after < at {
            return Err(Error::Expired {
                what,
                limit: crate::time::rfc3339(certificate.not_after),
                observed: crate::time::rfc3339(at),
            });
        }
        if certificate.not_before > at {
            return Err(Error::NotYetValid {
                what,
                limit: crate::time::rfc3339(certificate.not_before),
                observed: crate::time::rfc3339(at),
            });
        }
    }
    Ok(())
}
