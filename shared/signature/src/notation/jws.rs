//! Envelopes in JSON (`application/jose+json`).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::signer::{Algorithm, Attribute, Envelope, SigningScheme, certificates_of};
use crate::x509::Certificate;

const EXPIRY: &str = "io.cncf.notary.expiry";
const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";
const KNOWN: [&str; 7] = [
    "alg",
    "cty",
    "crit",
    EXPIRY,
    SIGNING_TIME,
    SIGNING_SCHEME,
    AUTHENTIC_SIGNING_TIME,
];

/// Reads an envelope and verifies its signature with its own first certificate.
pub(super) fn open(bytes: &[u8]) -> Result<Envelope, String> {
    let unreadable = |why: String| format!("unable to parse the digital signature, error : {why}");
    let outer: Value =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    let text = |name: &str| outer.get(name).and_then(Value::as_str).unwrap_or_default();
    let (protected, payload, signature) = (text("protected"), text("payload"), text("signature"));
    let empty = Map::new();
    let header = outer
        .get("header")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut chain: Vec<Vec<u8>> = Vec::new();
    for one in header
        .get("x5c")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let der = one.as_str().and_then(|text| STANDARD.decode(text).ok());
        chain.push(der.ok_or_else(|| unreadable("malformed certificate chain".to_owned()))?);
    }
    let Some(first) = chain.first() else {
        return Err("certificate chain is not present".to_owned());
    };
    let leaf = Certificate::parse(first).map_err(|_| "malformed leaf certificate")?;
    let raw = URL_SAFE_NO_PAD.decode(protected);
    let raw = raw.map_err(|_| "jws envelope protected header can't be decoded")?;
    let fields: Map<String, Value> = serde_json::from_slice(&raw)
        .map_err(|error| format!("jws envelope protected header can't be decoded: {error}"))?;
    let bad = |why: &str| format!("signature is invalid. Error: {why}");
    let name = fields
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let algorithm = Algorithm::from_name(name)
        .ok_or_else(|| bad(&format!("signing method {name} is invalid")))?;
    let content = URL_SAFE_NO_PAD.decode(payload);
    let content = content.map_err(|_| bad("token is malformed"))?;
    if !serde_json::from_slice::<Value>(&content).is_ok_and(|value| value.is_object()) {
        return Err(bad("token is malformed"));
    }
    let signature = URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|_| bad("token is malformed"))?;
    let signed = format!("{protected}.{payload}");
    let key = leaf
        .key
        .as_ref()
        .map_err(|_| bad("key is of invalid type"))?;
    if !key.verifies(algorithm.scheme(), signed.as_bytes(), &signature) {
        return Err(bad(match algorithm {
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => {
                "crypto/ecdsa: verification error"
            }
            _ => "crypto/rsa: verification error",
        }));
    }
    let times = times(&fields)?;
    let critical: Vec<&str> = fields
        .get("crit")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    check_critical(&fields, &critical, &times)?;
    let attributes = fields.iter().filter(|(name, _)| !KNOWN.contains(&&***name));
    let attributes = attributes.map(|(name, value)| Attribute {
        critical: critical.contains(&&**name),
        text: value.as_str().map(str::to_owned),
        name: name.clone(),
    });
    let attributes = attributes.collect();
    let timestamp = header
        .get(TIMESTAMP)
        .and_then(Value::as_str)
        .unwrap_or_default();
    let timestamp = STANDARD
        .decode(timestamp)
        .map_err(|_| unreadable("malformed timestamp".to_owned()))?;
    Ok(Envelope {
        content_type: fields
            .get("cty")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        payload: content,
        algorithm,
        scheme: times.scheme,
        signed_at: times.signed_at,
        expiry: times.expiry,
        attributes,
        certificates: certificates_of(chain.iter().map(Vec::as_slice))?,
        signature,
        timestamp,
    })
}

struct Times {
    scheme: SigningScheme,
    signed_at: Option<i64>,
    expiry: Option<i64>,
}

/// The signing scheme, and the times that it allows.
fn times(fields: &Map<String, Value>) -> Result<Times, String> {
    let time = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .and_then(crate::time::from_rfc3339)
            .map(Some)
            .ok_or_else(|| {
                format!("jws envelope protected header can't be decoded: malformed time in {name}")
            }),
    };
    let (expiry, signing, authentic) = (
        time(EXPIRY)?,
        time(SIGNING_TIME)?,
        time(AUTHENTIC_SIGNING_TIME)?,
    );
    let scheme = fields.get(SIGNING_SCHEME).and_then(Value::as_str);
    let (scheme, signed_at) = match scheme.unwrap_or_default() {
        "notary.x509" if authentic.is_some() => {
            return Err(format!(
                r#""{AUTHENTIC_SIGNING_TIME}" header must not be present for notary.x509 signing scheme"#
            ));
        }
        "notary.x509" => (SigningScheme::X509, signing),
        "notary.x509.signingAuthority" if signing.is_some() => {
            return Err(format!(
                r#""{SIGNING_TIME}" header must not be present for notary.x509.signingAuthority signing scheme"#
            ));
        }
        "notary.x509.signingAuthority" if authentic.is_none() => {
            return Err(format!(
                r#""{AUTHENTIC_SIGNING_TIME}" header must be present for notary.x509 signing scheme"#
            ));
        }
        "notary.x509.signingAuthority" => (SigningScheme::Authority, authentic),
        other => return Err(format!("unsupported SigningScheme: `{other}`")),
    };
    Ok(Times {
        scheme,
        signed_at,
        expiry,
    })
}

/// Whether all that must be critical is, and all that is critical is there.
fn check_critical(
    fields: &Map<String, Value>,
    critical: &[&str],
    times: &Times,
) -> Result<(), String> {
    if critical.is_empty() {
        return Err(r#"missing "crit" header"#.to_owned());
    }
    let mut required = vec![SIGNING_SCHEME];
    if times.expiry.is_some() {
        required.push(EXPIRY);
    }
    if times.scheme == SigningScheme::Authority {
        required.push(AUTHENTIC_SIGNING_TIME);
    }
    for name in critical {
        let before = required.len();
        required.retain(|known| known != name);
        let extended = fields.contains_key(*name) && !KNOWN.contains(name);
        if required.len() == before && !extended {
            return Err(format!(
                r#""{name}" header is marked critical but not present"#
            ));
        }
    }
    if required.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "these required headers are not marked as critical: [{}]",
            required.join(" ")
        ))
    }
}
