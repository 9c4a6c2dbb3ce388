//! Signed certificate timestamps that are embedded in certificates (RFC 6962).

use flux_der::{OCTET_STRING, OID, Reader, SEQUENCE, constructed, encode};

use super::Certificate;
use crate::key::{Hash, PublicKey, Scheme};

/// The extension with the list.
const EXTENSION: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];
/// The maximum number of timestamps of a certificate.
const MAX: usize = 32;

/// A timestamp of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sct<'a> {
    /// The id of the log: the digest of its key.
    pub(crate) log: &'a [u8],
    /// Milliseconds since 1970.
    pub(crate) timestamp: u64,
    extensions: &'a [u8],
    /// The identifiers of the hash and of the signature algorithm in TLS.
    algorithm: (u8, u8),
    signature: &'a [u8],
}

/// The timestamps of a certificate: an empty list if it has none, `None` if they are malformed.
pub(crate) fn scts(certificate: &Certificate) -> Option<Vec<Sct<'_>>> {
    let Some(extension) = certificate.extension(EXTENSION) else {
        return Some(Vec::new());
    };
    let mut outer = Reader::new(&extension.value);
    let mut content = outer.expect(OCTET_STRING)?;
    let mut list = vector(&mut content)?;
    if !content.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    while !list.is_empty() {
        if found.len() == MAX {
            return None;
        }
        found.push(sct(vector(&mut list)?)?);
    }
    Some(found)
}

fn sct(mut bytes: &[u8]) -> Option<Sct<'_>> {
    if take(&mut bytes, 1)? != [0] {
        return None;
    }
    let log = take(&mut bytes, 32)?;
    let timestamp = u64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?);
    let extensions = vector(&mut bytes)?;
    let algorithm = take(&mut bytes, 2)?;
    let algorithm = (algorithm[0], algorithm[1]);
    let signature = vector(&mut bytes)?;
    bytes.is_empty().then_some(Sct {
        log,
        timestamp,
        extensions,
        algorithm,
        signature,
    })
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// A vector with a length of two bytes.
fn vector<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(bytes, 2)?;
    take(bytes, usize::from(length[0]) << 8 | usize::from(length[1]))
}

/// Whether the log's key signed that it has seen the certificate.
pub(crate) fn signed_by_log(
    sct: &Sct<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
    key: &PublicKey,
) -> bool {
    let scheme = key.default_scheme(Hash::Sha256);
    let expected = match scheme {
        Scheme::Pkcs1(_) => (4, 1),
        Scheme::Ecdsa(_) => (4, 3),
        _ => return false,
    };
    let Some(body) = without_list(certificate) else {
        return false;
    };
    let Ok(length) = u32::try_from(body.len()) else {
        return false;
    };
    let Ok(extensions) = u16::try_from(sct.extensions.len()) else {
        return false;
    };
    let mut content = vec![0, 0];
    content.extend(sct.timestamp.to_be_bytes());
    content.extend([0, 1]);
    content.extend(Hash::Sha256.digest(&issuer.key_info));
    content.extend(&length.to_be_bytes()[1..]);
    content.extend(body);
    content.extend(extensions.to_be_bytes());
    content.extend(sct.extensions);
    sct.algorithm == expected && key.verifies(scheme, &content, sct.signature)
}

/// The signed part of a certificate as it was before the timestamps were put in.
fn without_list(certificate: &Certificate) -> Option<Vec<u8>> {
    let mut fields = Reader::new(&certificate.signed).sequence()?;
    let mut body = Vec::new();
    while !fields.is_empty() {
        let field = fields.any()?;
        if field.tag != constructed(3) {
            body.extend_from_slice(field.whole);
            continue;
        }
        let mut list = Reader::new(field.content).sequence()?;
        let mut kept = Vec::new();
        while !list.is_empty() {
            let extension = list.element(SEQUENCE)?;
            if Reader::new(extension.content).expect(OID)? != EXTENSION {
                kept.extend_from_slice(extension.whole);
            }
        }
        body.extend(encode(constructed(3), &encode(SEQUENCE, &kept)));
    }
    Some(encode(SEQUENCE, &body))
}
