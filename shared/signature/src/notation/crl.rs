//! Certificate revocation lists (RFC 5280).

use flux_der::{ENUMERATED, GENERALIZED_TIME, INTEGER, Reader, SEQUENCE, UTC_TIME, constructed};

use super::revocation::{Request, Status};
use crate::x509::{CRL_SIGN, Certificate, algorithm_of, extensions};

/// The maximum size of a list, as upstream.
const MAX_BYTES: usize = 32 << 20;
/// Seconds that a server has, as upstream.
const TIMEOUT: u32 = 5;

const FRESHEST: &[u8] = &[0x55, 0x1d, 0x2e];
const DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const REASON: &[u8] = &[0x55, 0x1d, 0x15];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];
const CERTIFICATE_HOLD: u8 = 6;
const REMOVE_FROM_LIST: u8 = 8;

/// The request for a list; `None` if the address is not one of HTTP.
pub(super) fn request(url: &str) -> Option<Request> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") || rest.is_empty() {
        return None;
    }
    Some(Request {
        url: url.to_owned(),
        body: None,
        limit: MAX_BYTES,
        timeout: TIMEOUT,
    })
}

/// Whether a certificate wants delta lists too, which are not read here.
pub(super) fn has_freshest(certificate: &Certificate) -> bool {
    certificate.extension(FRESHEST).is_some()
}

/// The status of a certificate by a list; `None` if the list is of no use.
pub(super) fn status(
    list: &[u8],
    certificate: &Certificate,
    issuer: &Certificate,
    signed_at: Option<i64>,
    now: i64,
) -> Option<Status> {
    if list.len() > MAX_BYTES {
        return None;
    }
    let mut whole = Reader::new(list);
    let mut outer = whole.sequence()?;
    let signed = outer.element(SEQUENCE)?;
    let algorithm = outer.element(SEQUENCE)?;
    let signature = outer.bits()?;
    let may_sign = matches!(issuer.constraints, Some((true, _)))
        && (issuer.key_usage == 0 || issuer.key_usage & CRL_SIGN != 0);
    let good = issuer.check_signature(algorithm_of(algorithm.content), signed.whole, signature);
    if !whole.is_empty() || !may_sign || good.is_err() {
        return None;
    }
    let mut fields = Reader::new(signed.content);
    fields.optional(INTEGER)?;
    if fields.element(SEQUENCE)?.whole != algorithm.whole
        || fields.element(SEQUENCE)?.whole != issuer.subject
    {
        return None;
    }
    fields.time()?;
    let next = match fields.optional(UTC_TIME)? {
        Some(content) => flux_der::time(UTC_TIME, content)?,
        None => flux_der::time(GENERALIZED_TIME, fields.expect(GENERALIZED_TIME)?)?,
    };
    if now > next {
        return None;
    }
    let entries = fields.optional(SEQUENCE)?;
    if let Some(content) = fields.optional(constructed(0))? {
        // A delta list without its base is of no use, and neither is a base that wants one.
        let found = extensions(content)?;
        let known = |oid: &[u8]| oid == DISTRIBUTION_POINT;
        if found
            .iter()
            .any(|one| one.oid == FRESHEST || (one.critical && !known(&one.oid)))
        {
            return None;
        }
    }
    match entries {
        Some(entries) => entry_status(entries, certificate, signed_at),
        None => Some(Status::Good),
    }
}

/// Looks for the certificate among the entries.
fn entry_status(
    entries: &[u8],
    certificate: &Certificate,
    signed_at: Option<i64>,
) -> Option<Status> {
    let mut entries = Reader::new(entries);
    // Of an entry that holds a certificate for the time being, and one that takes it back, the later counts.
    let mut temporary: Option<(i64, u8)> = None;
    while !entries.is_empty() {
        let mut entry = entries.sequence()?;
        if entry.expect(INTEGER)? != certificate.serial {
            continue;
        }
        let at = entry.time()?;
        let found = if entry.is_empty() {
            Vec::new()
        } else {
            extensions(entry.element(SEQUENCE)?.whole)?
        };
        let mut reason = 0;
        for extension in &found {
            let mut value = Reader::new(&extension.value);
            match &*extension.oid {
                REASON => reason = *value.expect(ENUMERATED)?.first()?,
                INVALIDITY_DATE => {
                    let invalid = value.time()?;
                    if signed_at.is_some_and(|signed| signed < invalid) {
                        return Some(Status::Good);
                    }
                }
                _ if extension.critical => return None,
                _ => {}
            }
        }
        if !matches!(reason, CERTIFICATE_HOLD | REMOVE_FROM_LIST) {
            return Some(Status::Revoked);
        }
        if temporary.is_none_or(|(before, _)| before < at) {
            temporary = Some((at, reason));
        }
    }
    Some(match temporary {
        Some((_, CERTIFICATE_HOLD)) => Status::Revoked,
        _ => Status::Good,
    })
}
