//! Envelopes in CBOR (`application/cose`): `COSE_Sign1` of RFC 9052.

use super::cbor::{Value, head};
use super::signer::{Algorithm, Attribute, Envelope, SigningScheme, certificates_of};
use crate::x509::Certificate;

const EXPIRY: &str = "io.cncf.notary.expiry";
const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
const AUTHENTIC_SIGNING_TIME: &str = "io.cncf.notary.authenticSigningTime";
const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";
const ALGORITHM: Value = Value::Integer(1);
const CRITICAL: Value = Value::Integer(2);
const CONTENT_TYPE: Value = Value::Integer(3);
const CHAIN: Value = Value::Integer(33);

/// The tagged message in its parts.
struct Message {
    protected: Vec<u8>,
    headers: Value,
    unprotected: Value,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Reads an envelope and verifies its signature with its own first certificate.
pub(super) fn open(bytes: &[u8]) -> Result<Envelope, String> {
    let message = parse(bytes)
        .map_err(|why| format!("unable to parse the digital signature, error : {why}"))?;
    let missing = || "certificate chain is not present".to_owned();
    let Some(Value::Array(chain)) = message.unprotected.get(&CHAIN) else {
        return Err(missing());
    };
    let first = chain.first().ok_or_else(missing)?;
    let first = first
        .as_bytes()
        .ok_or("COSE envelope malformed leaf certificate")?;
    let leaf = Certificate::parse(first).map_err(|_| "malformed leaf certificate")?;
    let derived = Algorithm::of_key(&leaf)?;
    let bad = |why: &str| format!("signature is invalid. Error: {why}");
    let headers = &message.headers;
    let number = match headers.get(&ALGORITHM) {
        Some(Value::Integer(number)) => *number,
        Some(_) => return Err(bad("invalid algorithm")),
        None => return Err(bad("algorithm not found")),
    };
    if Algorithm::from_number(number) != Some(derived) {
        return Err(bad("algorithm mismatch"));
    }
    let content = signed_content(&message.protected, &message.payload);
    let verified = leaf
        .key
        .as_ref()
        .is_ok_and(|key| key.verifies(derived.scheme(), &content, &message.signature));
    if !verified {
        return Err(bad("verification error"));
    }
    let content_type = match headers.get(&CONTENT_TYPE) {
        Some(Value::Text(text)) => text.clone(),
        Some(_) => return Err("content type should be of 'tstr' type".to_owned()),
        None => return Err("missing content type".to_owned()),
    };
    let critical = check_critical(headers)?;
    let scheme = headers.get_text(SIGNING_SCHEME).and_then(Value::as_text);
    let (scheme, label) = match scheme.unwrap_or_default() {
        "notary.x509" => (SigningScheme::X509, SIGNING_TIME),
        "notary.x509.signingAuthority" => (SigningScheme::Authority, AUTHENTIC_SIGNING_TIME),
        other => return Err(format!("unsupported signingScheme: {other}")),
    };
    let signed_at = time(headers, label).map_err(|why| format!("invalid signingTime: {why}"))?;
    let expiry = match headers.get_text(EXPIRY) {
        None => None,
        Some(_) => Some(time(headers, EXPIRY).map_err(|why| format!("invalid expiry: {why}"))?),
    };
    let ders = chain.iter().map(|one| one.as_bytes().unwrap_or_default());
    let timestamp = message.unprotected.get_text(TIMESTAMP);
    Ok(Envelope {
        content_type,
        payload: message.payload.clone(),
        algorithm: derived,
        scheme,
        signed_at: Some(signed_at),
        expiry,
        attributes: attributes(headers, critical),
        certificates: certificates_of(ders)?,
        timestamp: timestamp
            .and_then(Value::as_bytes)
            .unwrap_or_default()
            .to_vec(),
        signature: message.signature,
    })
}

fn parse(bytes: &[u8]) -> Result<Message, &'static str> {
    // The tag of COSE_Sign1, and an array of four.
    if !bytes.starts_with(&[0xd2, 0x84]) {
        return Err("cbor: invalid COSE_Sign1_Tagged object");
    }
    let malformed = "cbor: malformed COSE_Sign1 object";
    let Some(Value::Tag(_, array)) = Value::parse(bytes) else {
        return Err(malformed);
    };
    let Value::Array(parts) = *array else {
        return Err(malformed);
    };
    let Ok([protected, unprotected, payload, signature]) = <[Value; 4]>::try_from(parts) else {
        return Err(malformed);
    };
    let (Value::Bytes(protected), Value::Bytes(signature)) = (protected, signature) else {
        return Err(malformed);
    };
    if signature.is_empty() {
        return Err("empty signature");
    }
    let Value::Bytes(payload) = payload else {
        return Err("missing payload");
    };
    let headers = if protected.is_empty() {
        Value::Map(Vec::new())
    } else {
        Value::parse(&protected).ok_or(malformed)?
    };
    check_headers(&headers, true)?;
    check_headers(&unprotected, false)?;
    // A label is in one of the two buckets only.
    if let (Value::Map(inside), Value::Map(_)) = (&headers, &unprotected)
        && inside
            .iter()
            .any(|(label, _)| unprotected.get(label).is_some())
    {
        return Err("header label: duplicated label");
    }
    Ok(Message {
        protected,
        headers,
        unprotected,
        payload,
        signature,
    })
}

/// Whether headers are a map with labels and types as RFC 9052 has them.
fn check_headers(headers: &Value, protected: bool) -> Result<(), &'static str> {
    let Value::Map(pairs) = headers else {
        return Err("cbor: malformed header");
    };
    for (label, value) in pairs {
        if !matches!(label, Value::Integer(_) | Value::Text(_)) {
            return Err("header label: require int / tstr type");
        }
        if *label == CRITICAL {
            let Value::Array(labels) = value else {
                return Err("header parameter: crit: invalid crit header");
            };
            let known = |label: &Value| headers.get(label).is_some();
            if !protected || labels.is_empty() || !labels.iter().all(known) {
                return Err("header parameter: crit: missing critical header");
            }
        }
        if *label == CONTENT_TYPE {
            let good = match value {
                Value::Text(text) => {
                    text.trim_matches(' ') == text && text.matches('/').count() == 1
                }
                Value::Integer(number) => *number >= 0,
                _ => false,
            };
            if !good {
                return Err("header parameter: content type: require tstr / uint type");
            }
        }
    }
    Ok(())
}

/// `Sig_structure` of RFC 9052, without external data.
fn signed_content(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let context = "Signature1";
    [
        &head(4, 4)[..],
        &head(3, context.len() as u64),
        context.as_bytes(),
        &head(2, protected.len() as u64),
        protected,
        &head(2, 0),
        &head(2, payload.len() as u64),
        payload,
    ]
    .concat()
}

/// The critical labels, if all that must be critical is among them.
fn check_critical(headers: &Value) -> Result<&[Value], String> {
    let labels: &[Value] = match headers.get(&CRITICAL) {
        Some(Value::Array(labels)) => labels,
        _ => &[],
    };
    let scheme = headers.get_text(SIGNING_SCHEME).and_then(Value::as_text);
    let scheme = scheme.ok_or("invalid signingScheme")?;
    let mut required = vec![SIGNING_SCHEME];
    if scheme == "notary.x509.signingAuthority" {
        required.push(AUTHENTIC_SIGNING_TIME);
    }
    if headers.get_text(EXPIRY).is_some() {
        required.push(EXPIRY);
    }
    required.retain(|name| !labels.iter().any(|label| label.as_text() == Some(name)));
    if required.is_empty() {
        Ok(labels)
    } else {
        Err(format!(
            "these required headers are not marked as critical: [{}]",
            required.join(" ")
        ))
    }
}

/// A time: a number of seconds with tag 1.
fn time(headers: &Value, label: &str) -> Result<i64, String> {
    match headers.get_text(label) {
        None => Err(format!(r#"protected header "{label}" is missing"#)),
        Some(Value::Tag(1, value)) => match &**value {
            Value::Integer(seconds) => {
                i64::try_from(*seconds).map_err(|_| "invalid timeValue type".to_owned())
            }
            Value::Float(seconds) if seconds.is_finite() => Ok(seconds.floor() as i64),
            _ => Err("invalid timeValue type".to_owned()),
        },
        Some(Value::Tag(0, _)) => Err("only Tag `1` Datetime CBOR object is supported".to_owned()),
        Some(_) => Err("invalid timeValue type".to_owned()),
    }
}

/// The attributes that the specification does not define.
fn attributes(headers: &Value, critical: &[Value]) -> Vec<Attribute> {
    let Value::Map(pairs) = headers else {
        return Vec::new();
    };
    let known = [EXPIRY, SIGNING_SCHEME, SIGNING_TIME, AUTHENTIC_SIGNING_TIME];
    let named = pairs.iter().filter_map(|(label, value)| {
        let name = label.as_text().filter(|name| !known.contains(name))?;
        Some(Attribute {
            name: name.to_owned(),
            critical: critical.contains(label),
            text: value.as_text().map(str::to_owned),
        })
    });
    named.collect()
}
