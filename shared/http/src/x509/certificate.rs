//! The parts of a certificate that path validation needs (RFC 5280), parsed as leniently as in Go's `crypto/x509`:
//! version 1, serial numbers of any length, unique identifiers and unknown extensions are accepted.

use std::net::IpAddr;

use flux_der::x509::{Extension, Fields, Malformed, basic_constraints};
use flux_der::{BIT_STRING, Element, OID, Reader, SET, constructed, context};

use super::signature::{PublicKey, Scheme};

/// `id-ce`, the arc of the standard extensions.
const STANDARD_EXTENSION: [u8; 2] = [0x55, 0x1d];
const EKU_ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const EKU_SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
// Kinds of `GeneralName`.
const EMAIL: u8 = context(1);
const DNS: u8 = context(2);
const URI: u8 = context(6);
const ADDRESS: u8 = context(7);
/// `keyCertSign` in the first byte of the extension `keyUsage`.
const KEY_CERT_SIGN: u8 = 0x04;

/// The names of a certificate or of one side of a name constraint.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    pub(super) dns: Vec<&'a str>,
    pub(super) emails: Vec<&'a str>,
    pub(super) uris: Vec<&'a str>,
    /// Addresses; in constraints followed by the mask.
    pub(super) addresses: Vec<&'a [u8]>,
}

/// The extension `nameConstraints`.
#[derive(Debug, Default)]
pub(super) struct NameConstraints<'a> {
    pub(super) permitted: Names<'a>,
    pub(super) excluded: Names<'a>,
}

/// The extension `basicConstraints`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BasicConstraints {
    pub(super) is_ca: bool,
    pub(super) path_length: Option<u64>,
}

/// A parsed certificate, borrowed from its DER bytes.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub(super) der: &'a [u8],
    /// The signed part.
    pub(super) signed: &'a [u8],
    pub(super) scheme: Scheme,
    pub(super) signature: &'a [u8],
    pub(super) version: u8,
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// The encoded `SubjectPublicKeyInfo`.
    pub(super) key_info: &'a [u8],
    pub(super) key: PublicKey<'a>,
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// Whether `keyUsage` is present and excludes signing certificates.
    pub(super) may_not_sign: bool,
    /// Whether `extKeyUsage` is present and excludes servers.
    pub(super) may_not_serve: bool,
    pub(super) subject_alternative_names: Option<&'a [u8]>,
    pub(super) names: Names<'a>,
    pub(super) name_constraints: Option<NameConstraints<'a>>,
    /// A critical extension that is not supported.
    pub(super) unhandled_critical: bool,
}

impl<'a> Certificate<'a> {
    /// Parses one certificate.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let fields = Fields::read(der)?;
        let key_info = fields.key_info.whole;
        let mut parsed = Self {
            der,
            signed: fields.signed.whole,
            scheme: Scheme::of_algorithm(fields.algorithm.content),
            signature: fields.signature,
            version: fields.version,
            issuer: fields.issuer.whole,
            subject: fields.subject.whole,
            not_before: fields.not_before,
            not_after: fields.not_after,
            key_info,
            key: PublicKey::parse(key_info).ok_or(Malformed("x509: malformed public key"))?,
            basic_constraints: None,
            may_not_sign: false,
            may_not_serve: false,
            subject_alternative_names: None,
            names: Names::default(),
            name_constraints: None,
            unhandled_critical: false,
        };
        for extension in fields.extensions {
            parsed
                .take_extension(extension)
                .ok_or(Malformed("x509: malformed extension"))?;
        }
        Ok(parsed)
    }

    /// Takes what is needed from an extension; `None` if it is malformed.
    fn take_extension(&mut self, extension: Extension<'a>) -> Option<()> {
        let Extension {
            oid,
            critical,
            value,
        } = extension;
        let understood = match oid.strip_prefix(&STANDARD_EXTENSION) {
            Some([15]) => {
                let bits = Reader::new(value).expect(BIT_STRING)?;
                let first = bits.get(1).copied().unwrap_or(0);
                // No bit at all means no restriction, as in Go.
                let any = bits.iter().skip(1).any(|&byte| byte != 0);
                self.may_not_sign = any && first & KEY_CERT_SIGN == 0;
                true
            }
            Some([17]) => {
                self.subject_alternative_names = Some(value);
                self.names = names(Reader::new(value).sequence()?)?;
                let names = &self.names;
                !(names.dns.is_empty()
                    && names.emails.is_empty()
                    && names.uris.is_empty()
                    && names.addresses.is_empty())
            }
            Some([19]) => {
                let (is_ca, path_length) = basic_constraints(value)?;
                self.basic_constraints = Some(BasicConstraints { is_ca, path_length });
                true
            }
            Some([30]) => {
                let (constraints, all_understood) = name_constraints(value)?;
                self.name_constraints = Some(constraints);
                all_understood
            }
            Some([37]) => {
                let mut usages = Reader::new(value).sequence()?;
                let (mut any, mut server) = (usages.is_empty(), false);
                while !usages.is_empty() {
                    let usage = usages.expect(OID)?;
                    any |= usage == EKU_ANY;
                    server |= usage == EKU_SERVER_AUTH;
                }
                self.may_not_serve = !any && !server;
                true
            }
            Some([14]) if critical => return None, // must not be, as Go says
            // Distribution points, authority key identifiers and policies restrict nothing that is checked here, nor in
            // Go if no particular policy is required. Policy constraints and mappings would, and are not supported.
            Some([14 | 31 | 32 | 35]) => true,
            _ => false,
        };
        self.unhandled_critical |= critical && !understood;
        Some(())
    }

    /// A name for messages: the common name, otherwise the organisation.
    pub(super) fn display_name(&self) -> String {
        attribute(self.subject, COMMON_NAME)
            .or_else(|| attribute(self.subject, ORGANIZATION))
            .unwrap_or_default()
    }

    /// The subject's common name.
    pub(super) fn common_name(&self) -> Option<String> {
        attribute(self.subject, COMMON_NAME)
    }
}

/// `GeneralNames`; kinds that do not identify servers are skipped.
fn names(mut list: Reader<'_>) -> Option<Names<'_>> {
    let mut names = Names::default();
    while !list.is_empty() {
        let Element { tag, content, .. } = list.any()?;
        add_name(&mut names, tag, content)?;
    }
    for address in &names.addresses {
        if !matches!(address.len(), 4 | 16) {
            return None;
        }
    }
    Some(names)
}

/// Adds one `GeneralName`; returns false if its kind is not supported.
fn add_name<'a>(names: &mut Names<'a>, tag: u8, content: &'a [u8]) -> Option<bool> {
    let text = || {
        std::str::from_utf8(content)
            .ok()
            .filter(|text| text.is_ascii())
    };
    match tag {
        EMAIL => names.emails.push(text()?),
        DNS => names.dns.push(text()?),
        URI => names.uris.push(text()?),
        ADDRESS => names.addresses.push(content),
        _ => return Some(false),
    }
    Some(true)
}

/// The constraints, and whether all of them are of supported kinds.
fn name_constraints(value: &[u8]) -> Option<(NameConstraints<'_>, bool)> {
    let mut sides = Reader::new(value).sequence()?;
    let mut constraints = NameConstraints::default();
    let mut all_understood = true;
    let mut any = false;
    for (tag, side) in [
        (constructed(0), &mut constraints.permitted),
        (constructed(1), &mut constraints.excluded),
    ] {
        let Some(subtrees) = sides.optional(tag)? else {
            continue;
        };
        let mut subtrees = Reader::new(subtrees);
        while !subtrees.is_empty() {
            any = true;
            let Element { tag, content, .. } = subtrees.sequence()?.any()?;
            all_understood &= add_name(side, tag, content)?;
        }
        for address in &side.addresses {
            if !matches!(address.len(), 8 | 32) || !is_prefix_mask(&address[address.len() / 2..]) {
                return None;
            }
        }
    }
    (any && sides.is_empty()).then_some((constraints, all_understood))
}

/// Whether the mask is ones followed by zeros.
fn is_prefix_mask(mask: &[u8]) -> bool {
    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
    let total: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let whole = usize::try_from(ones / 8).unwrap_or(usize::MAX);
    ones == total && mask.iter().take(whole).all(|&byte| byte == 0xff)
}

/// The text of the first attribute of this type in a name.
fn attribute(name: &[u8], wanted: &[u8]) -> Option<String> {
    let mut sets = Reader::new(name).sequence()?;
    while !sets.is_empty() {
        let mut set = Reader::new(sets.expect(SET)?);
        while !set.is_empty() {
            let mut pair = set.sequence()?;
            let found = pair.expect(OID)?;
            let text = pair.any()?.content;
            if found == wanted {
                return Some(String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    None
}

/// An address of a subject alternative name.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|bytes| IpAddr::from(bytes).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_masks_must_be_contiguous() {
        assert!(is_prefix_mask(&[255, 255, 240, 0]));
        assert!(is_prefix_mask(&[0, 0, 0, 0]));
        assert!(!is_prefix_mask(&[255, 0, 255, 0]));
        assert!(!is_prefix_mask(&[254, 255, 0, 0]));
        assert!(!is_prefix_mask(&[240, 240, 0, 0]));
    }
}
