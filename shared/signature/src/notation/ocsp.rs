//! OCSP (RFC 6960): requests for one certificate, and the responses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, constructed,
    context, encode,
};
use sha1::Digest as _;

use super::revocation::{Request, Status};
use crate::x509::{Algorithm, Certificate, USAGE_OCSP_SIGNING, algorithm_of, extensions};

/// The maximum size of a response, as upstream.
const MAX_BYTES: usize = 20_480;
/// Seconds that a server has, as upstream.
const TIMEOUT: u32 = 2;
/// The length from which on a request is sent as a body.
const MAX_URL_PART: usize = 255;

const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];

/// The request for a certificate; `None` if the server's address is not one of HTTP.
pub(super) fn request(
    certificate: &Certificate,
    issuer: &Certificate,
    server: &str,
) -> Option<Request> {
    let (scheme, rest) = server.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") || rest.is_empty() {
        return None;
    }
    let body = body(certificate, issuer)?;
    let encoded = escape(&STANDARD.encode(&body));
    let get = encoded.len() < MAX_URL_PART;
    Some(Request {
        url: if get {
            format!("{}/{encoded}", server.trim_end_matches('/'))
        } else {
            server.to_owned()
        },
        body: (!get).then_some(body),
        limit: MAX_BYTES,
        timeout: TIMEOUT,
    })
}

/// `url.QueryEscape` of base64.
fn escape(text: &str) -> String {
    text.replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

/// An `OCSPRequest` for the certificate, identified by hashes of its issuer.
fn body(certificate: &Certificate, issuer: &Certificate) -> Option<Vec<u8>> {
    let algorithm = encode(SEQUENCE, &[encode(OID, SHA1), encode(NULL, &[])].concat());
    let mut info = Reader::new(&issuer.key_info).sequence()?;
    info.sequence()?;
    let key = info.bits()?;
    let id = [
        algorithm,
        encode(OCTET_STRING, &sha1::Sha1::digest(&issuer.subject)),
        encode(OCTET_STRING, &sha1::Sha1::digest(key)),
        encode(INTEGER, &certificate.serial),
    ];
    let mut request = id.concat();
    // CertID, Request, requestList, TBSRequest, OCSPRequest
    for _ in 0..5 {
        request = encode(SEQUENCE, &request);
    }
    Some(request)
}

/// The status that a response gives a certificate; `None` if the response is of no use.
pub(super) fn status(
    response: &[u8],
    certificate: &Certificate,
    issuer: &Certificate,
    signed_at: Option<i64>,
    now: i64,
) -> Option<Status> {
    if response.len() > MAX_BYTES {
        return None;
    }
    let mut outer = Reader::new(response).sequence()?;
    if outer.expect(ENUMERATED)? != [0] {
        return None;
    }
    let mut bytes = Reader::new(outer.expect(constructed(0))?).sequence()?;
    if bytes.expect(OID)? != BASIC {
        return None;
    }
    let mut basic = Reader::new(bytes.expect(OCTET_STRING)?).sequence()?;
    let data = basic.element(SEQUENCE)?;
    let algorithm = algorithm_of(basic.expect(SEQUENCE)?);
    let signature = basic.bits()?;
    let embedded = basic.optional(constructed(0))?;
    if !is_signed(data.whole, algorithm, signature, embedded, issuer) {
        return None;
    }
    let mut data = Reader::new(data.content);
    data.optional(constructed(0))?;
    data.any()?; // the responder
    data.expect(GENERALIZED_TIME)?;
    let mut list = data.sequence()?;
    while !list.is_empty() {
        let mut single = list.sequence()?;
        let mut id = single.sequence()?;
        id.expect(SEQUENCE)?;
        id.expect(OCTET_STRING)?;
        id.expect(OCTET_STRING)?;
        if id.expect(INTEGER)? == certificate.serial {
            return single_status(single, signed_at, now);
        }
    }
    None
}

/// Whether the issuer signed, or a responder whose certificate the issuer signed for that purpose.
fn is_signed(
    data: &[u8],
    algorithm: Algorithm,
    signature: &[u8],
    embedded: Option<&[u8]>,
    issuer: &Certificate,
) -> bool {
    let Some(embedded) = embedded else {
        return issuer.check_signature(algorithm, data, signature).is_ok();
    };
    let first = Reader::new(embedded).sequence();
    let first = first.and_then(|mut list| list.any());
    let Some(responder) = first.and_then(|first| Certificate::parse(first.whole).ok()) else {
        return false;
    };
    let issued = || {
        issuer
            .check_signature(responder.algorithm, &responder.signed, &responder.signature)
            .is_ok()
            && responder
                .usages
                .iter()
                .any(|usage| usage == USAGE_OCSP_SIGNING)
    };
    responder
        .check_signature(algorithm, data, signature)
        .is_ok()
        && (*responder == *issuer || issued())
}

fn single_status(mut single: Reader<'_>, signed_at: Option<i64>, now: i64) -> Option<Status> {
    let status = single.any()?;
    let status = match status.tag {
        tag if tag == context(0) => Status::Good,
        tag if tag == constructed(1) => Status::Revoked,
        tag if tag == context(2) => Status::Unknown,
        _ => return None,
    };
    single.time()?;
    // Without a next update a response counts as expired, as upstream.
    let next = Reader::new(single.optional(constructed(0))??).time()?;
    if now > next {
        return None;
    }
    let found = match single.optional(constructed(1))? {
        Some(list) => extensions(list)?,
        None => Vec::new(),
    };
    if found.iter().any(|extension| extension.critical) {
        return None;
    }
    // A certificate that became invalid after the signature was good when it signed.
    let invalid = found.iter().find(|one| one.oid == INVALIDITY_DATE);
    let invalid = invalid.and_then(|one| Reader::new(&one.value).time());
    if status == Status::Revoked
        && signed_at
            .zip(invalid)
            .is_some_and(|(signed, invalid)| signed < invalid)
    {
        return Some(Status::Good);
    }
    Some(status)
}
