//! Certificates as Go's `crypto/x509` reads them, and what signatures of artifacts need of them.

mod chain;
mod name;
mod sct;

use std::sync::Arc;

pub(crate) use chain::chain;
use flux_der::{
    BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed, context,
};
pub(crate) use name::distinguished;
pub(crate) use sct::{scts, signed_by_log};

use crate::key::{Hash, KeyError, PublicKey, Scheme};
use crate::pem;

/// The maximum size of a certificate.
const MAX_BYTES: usize = 64 << 10;
/// The maximum number of extensions of a certificate.
const MAX_EXTENSIONS: usize = 64;

pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
pub(crate) const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(crate) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
pub(crate) const CRL_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
pub(crate) const EXTENDED_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const AUTHORITY_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
const OCSP_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
pub(crate) const USAGE_ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
pub(crate) const USAGE_CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
pub(crate) const USAGE_TIMESTAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
pub(crate) const USAGE_OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];

// Bits of the key usage, as Go numbers them.
pub(crate) const DIGITAL_SIGNATURE: u16 = 1;
pub(crate) const KEY_ENCIPHERMENT: u16 = 1 << 2;
pub(crate) const DATA_ENCIPHERMENT: u16 = 1 << 3;
pub(crate) const KEY_AGREEMENT: u16 = 1 << 4;
pub(crate) const CERT_SIGN: u16 = 1 << 5;
pub(crate) const CRL_SIGN: u16 = 1 << 6;
pub(crate) const ENCIPHER_ONLY: u16 = 1 << 7;
pub(crate) const DECIPHER_ONLY: u16 = 1 << 8;

/// Why bytes are not a usable certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// An extension.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    pub(crate) oid: Vec<u8>,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

/// The algorithm of a certificate's own signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Known(Scheme),
    /// One with a hash that is not collision-resistant, by Go's name.
    Insecure(&'static str),
    Unknown,
}

/// A certificate.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    /// The signed part.
    pub(crate) signed: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) signature: Vec<u8>,
    pub(crate) version: u8,
    pub(crate) serial: Vec<u8>,
    /// The names, encoded.
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) key_info: Vec<u8>,
    pub(crate) key: Result<PublicKey, KeyError>,
    pub(crate) extensions: Vec<Extension>,
    /// Whether it is an authority, and how many may be below it; `None` without basic constraints.
    pub(crate) constraints: Option<(bool, Option<u64>)>,
    pub(crate) key_usage: u16,
    pub(crate) usages: Vec<Vec<u8>>,
    /// Subject alternative names in the order e-mail, DNS, address, URI.
    pub(crate) names: Vec<String>,
    pub(crate) ocsp_servers: Vec<String>,
    pub(crate) crl_points: Vec<String>,
    /// Critical extensions that nothing here understands.
    pub(crate) unhandled: Vec<Vec<u8>>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Certificate {
    /// Reads one certificate.
    pub(crate) fn parse(der: &[u8]) -> Result<Arc<Self>, Malformed> {
        let malformed = Malformed("x509: malformed certificate");
        if der.len() > MAX_BYTES {
            return Err(malformed);
        }
        let mut outer = Reader::new(der);
        let mut certificate = outer.sequence().ok_or(malformed)?;
        if !outer.is_empty() {
            return Err(Malformed("x509: trailing data"));
        }
        let signed = certificate.element(SEQUENCE).ok_or(malformed)?;
        let algorithm = certificate.element(SEQUENCE).ok_or(malformed)?;
        let signature = certificate.bits().ok_or(malformed)?;
        let mut fields = Reader::new(signed.content);
        let version = version(&mut fields).ok_or(Malformed("x509: invalid version"))?;
        let serial = fields.expect(INTEGER).ok_or(malformed)?;
        if serial.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(Malformed("x509: negative serial number"));
        }
        if fields.element(SEQUENCE).map(|inner| inner.whole) != Some(algorithm.whole) {
            return Err(Malformed(
                "x509: inner and outer signature algorithm identifiers don't match",
            ));
        }
        let issuer = fields.element(SEQUENCE).ok_or(malformed)?;
        let mut validity = fields.sequence().ok_or(malformed)?;
        let times = validity.time().zip(validity.time());
        let (not_before, not_after) = times.ok_or(Malformed("x509: malformed validity"))?;
        let subject = fields.element(SEQUENCE).ok_or(malformed)?;
        let key_info = fields.element(SEQUENCE).ok_or(malformed)?;
        let key = PublicKey::from_info(key_info.whole);
        if matches!(key, Err(KeyError::Malformed)) {
            return Err(Malformed("x509: malformed public key"));
        }
        let mut parsed = Self {
            der: der.to_vec(),
            signed: signed.whole.to_vec(),
            algorithm: algorithm_of(algorithm.content),
            signature: signature.to_vec(),
            version,
            serial: serial.to_vec(),
            issuer: issuer.whole.to_vec(),
            subject: subject.whole.to_vec(),
            not_before,
            not_after,
            key_info: key_info.whole.to_vec(),
            key,
            extensions: Vec::new(),
            constraints: None,
            key_usage: 0,
            usages: Vec::new(),
            names: Vec::new(),
            ocsp_servers: Vec::new(),
            crl_points: Vec::new(),
            unhandled: Vec::new(),
        };
        for unique_identifier in [context(1), context(2)] {
            fields.optional(unique_identifier).ok_or(malformed)?;
        }
        if let Some(list) = fields.optional(constructed(3)).ok_or(malformed)? {
            let extensions = extensions(list).ok_or(Malformed("x509: malformed extensions"))?;
            for extension in &extensions {
                parsed
                    .understand(extension)
                    .ok_or(Malformed("x509: malformed extension"))?;
            }
            parsed.extensions = extensions;
        }
        Ok(Arc::new(parsed))
    }

    /// Reads the certificates of all PEM blocks, at most `limit`.
    pub(crate) fn from_pem(text: &str, limit: usize) -> Result<Vec<Arc<Self>>, Malformed> {
        let blocks = pem::decode_all(text, limit);
        let blocks = blocks.iter().filter(|block| block.kind == "CERTIFICATE");
        blocks.map(|block| Self::parse(&block.bytes)).collect()
    }

    /// The extension with this identifier.
    pub(crate) fn extension(&self, oid: &[u8]) -> Option<&Extension> {
        self.extensions.iter().find(|one| one.oid == oid)
    }

    /// The subject as Go prints it.
    pub(crate) fn subject_text(&self) -> String {
        distinguished(&self.subject)
    }

    /// Whether the usages restrict nothing, or allow this one.
    pub(crate) fn allows(&self, usage: &[u8]) -> bool {
        self.usages.is_empty()
            || self
                .usages
                .iter()
                .any(|one| one == usage || one == USAGE_ANY)
    }

    /// `Certificate.CheckSignature`: whether this certificate's key signed the content.
    pub(crate) fn check_signature(
        &self,
        algorithm: Algorithm,
        content: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        let scheme = match algorithm {
            Algorithm::Known(scheme) => scheme,
            Algorithm::Insecure(name) => {
                return Err(format!(
                    "x509: cannot verify signature: insecure algorithm {name}"
                ));
            }
            Algorithm::Unknown => {
                return Err("x509: cannot verify signature: algorithm unimplemented".to_owned());
            }
        };
        let Ok(key) = &self.key else {
            return Err("x509: cannot verify signature: algorithm unimplemented".to_owned());
        };
        if key.verifies(scheme, content, signature) {
            return Ok(());
        }
        Err(match scheme {
            Scheme::Pkcs1(_) | Scheme::Pss(_) => "crypto/rsa: verification error",
            Scheme::Ecdsa(_) | Scheme::EcdsaFixed(_) => "x509: ECDSA verification failure",
            Scheme::Ed25519 => "x509: Ed25519 verification failure",
        }
        .to_owned())
    }

    /// `Certificate.CheckSignatureFrom`: whether the parent may sign certificates, and signed this one.
    pub(crate) fn check_signature_from(&self, parent: &Self) -> Result<(), String> {
        let authority = parent
            .constraints
            .map_or(parent.version < 3, |(authority, _)| authority);
        if !authority || (parent.key_usage != 0 && parent.key_usage & CERT_SIGN == 0) {
            return Err(
                "x509: invalid signature: parent certificate cannot sign this kind of certificate"
                    .to_owned(),
            );
        }
        parent.check_signature(self.algorithm, &self.signed, &self.signature)
    }

    /// Takes what is needed from an extension.
    fn understand(&mut self, extension: &Extension) -> Option<()> {
        let value = Reader::new(&extension.value);
        let understood = match &*extension.oid {
            KEY_USAGE => {
                self.key_usage = key_usage(value)?;
                true
            }
            ALTERNATIVE_NAMES => {
                self.names = names(value)?;
                !self.names.is_empty()
            }
            BASIC_CONSTRAINTS => {
                self.constraints = Some(basic_constraints(value)?);
                true
            }
            EXTENDED_USAGE => {
                self.usages = usages(value)?;
                true
            }
            CRL_POINTS => {
                self.crl_points = crl_points(value)?;
                true
            }
            AUTHORITY_ACCESS => {
                self.ocsp_servers = ocsp_servers(value)?;
                false
            }
            // Subject and authority key identifiers, and policies, restrict nothing that is checked here.
            [0x55, 0x1d, 14 | 32 | 35] => true,
            // Name constraints are not understood: what has them is refused where they are critical.
            _ => false,
        };
        if extension.critical && !understood {
            self.unhandled.push(extension.oid.clone());
        }
        Some(())
    }
}

/// The extensions of a certificate or of another signed structure, each at most once.
pub(crate) fn extensions(list: &[u8]) -> Option<Vec<Extension>> {
    let mut outer = Reader::new(list);
    let mut list = outer.sequence()?;
    let mut found: Vec<Extension> = Vec::new();
    while !list.is_empty() {
        let mut extension = list.sequence()?;
        let oid = extension.expect(OID)?.to_vec();
        let critical = match extension.optional(BOOLEAN)? {
            None | Some([0]) => false,
            Some([0xff]) => true,
            Some(_) => return None,
        };
        let value = extension.expect(OCTET_STRING)?.to_vec();
        let known = found.iter().any(|one| one.oid == oid);
        if !extension.is_empty() || known || found.len() == MAX_EXTENSIONS {
            return None;
        }
        found.push(Extension {
            oid,
            critical,
            value,
        });
    }
    outer.is_empty().then_some(found)
}

/// The version, from one to three.
fn version(fields: &mut Reader<'_>) -> Option<u8> {
    match fields.optional(constructed(0))? {
        None => Some(1),
        Some(content) => match Reader::new(content).expect(INTEGER)? {
            [version @ 0..=2] => Some(version + 1),
            _ => None,
        },
    }
}

/// The algorithm of an `AlgorithmIdentifier`'s content.
pub(crate) fn algorithm_of(content: &[u8]) -> Algorithm {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let mut reader = Reader::new(content);
    let Some(oid) = reader.expect(OID) else {
        return Algorithm::Unknown;
    };
    if let Some(kind) = oid.strip_prefix(RSA) {
        return match kind {
            [11] => Algorithm::Known(Scheme::Pkcs1(Hash::Sha256)),
            [12] => Algorithm::Known(Scheme::Pkcs1(Hash::Sha384)),
            [13] => Algorithm::Known(Scheme::Pkcs1(Hash::Sha512)),
            [10] => pss_of(reader).map_or(Algorithm::Unknown, Algorithm::Known),
            [5] => Algorithm::Insecure("SHA1-RSA"),
            [4] => Algorithm::Insecure("MD5-RSA"),
            _ => Algorithm::Unknown,
        };
    }
    match oid.strip_prefix(ECDSA) {
        Some([3, 2]) => Algorithm::Known(Scheme::Ecdsa(Hash::Sha256)),
        Some([3, 3]) => Algorithm::Known(Scheme::Ecdsa(Hash::Sha384)),
        Some([3, 4]) => Algorithm::Known(Scheme::Ecdsa(Hash::Sha512)),
        Some([1]) => Algorithm::Insecure("ECDSA-SHA1"),
        _ if oid == [0x2b, 0x65, 0x70] => Algorithm::Known(Scheme::Ed25519),
        _ => Algorithm::Unknown,
    }
}

/// The hash of a digest algorithm's content.
pub(crate) fn hash_of(content: &[u8]) -> Option<Hash> {
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    match Reader::new(content).expect(OID)?.strip_prefix(SHA2)? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        _ => None,
    }
}

/// The scheme of the parameters of RSASSA-PSS: one hash for both purposes, and salt of its length.
fn pss_of(mut reader: Reader<'_>) -> Option<Scheme> {
    let mut parameters = reader.sequence()?;
    let hash = Reader::new(parameters.expect(constructed(0))?).expect(SEQUENCE)?;
    let hash = hash_of(hash)?;
    let mut mask = Reader::new(parameters.expect(constructed(1))?).sequence()?;
    mask.expect(OID)?;
    let salt = Reader::new(parameters.expect(constructed(2))?).small_integer()?;
    let same = hash_of(mask.expect(SEQUENCE)?)? == hash;
    let length = hash.digest(&[]).len() as u64;
    (same && salt == length).then_some(Scheme::Pss(hash))
}

fn key_usage(mut value: Reader<'_>) -> Option<u16> {
    let (&unused, bytes) = value.expect(BIT_STRING)?.split_first()?;
    if unused > 7 {
        return None;
    }
    let mut usage = 0;
    for bit in 0..9 {
        let byte = bytes.get(bit / 8).copied().unwrap_or(0);
        if byte & (0x80 >> (bit % 8)) != 0 {
            usage |= 1 << bit;
        }
    }
    Some(usage)
}

fn basic_constraints(mut value: Reader<'_>) -> Option<(bool, Option<u64>)> {
    let mut fields = value.sequence()?;
    let authority = match fields.optional(BOOLEAN)? {
        None | Some([0]) => false,
        Some([0xff]) => true,
        Some(_) => return None,
    };
    let limit = match fields.optional(INTEGER)? {
        None => None,
        Some(content) => Some(flux_der::small(content)?),
    };
    Some((authority, limit))
}

fn usages(mut value: Reader<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = value.sequence()?;
    let mut found = Vec::new();
    while !list.is_empty() {
        found.push(list.expect(OID)?.to_vec());
    }
    Some(found)
}

/// The subject alternative names that Sigstore reads, in its order. One of another kind is skipped.
fn names(mut value: Reader<'_>) -> Option<Vec<String>> {
    let mut list = value.sequence()?;
    let (mut emails, mut hosts, mut addresses, mut uris, mut others) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let text = |content: &[u8]| String::from_utf8(content.to_vec()).ok();
    while !list.is_empty() {
        let element = list.any()?;
        match element.tag {
            tag if tag == context(1) => emails.push(text(element.content)?),
            tag if tag == context(2) => hosts.push(text(element.content)?),
            tag if tag == context(6) => uris.push(text(element.content)?),
            tag if tag == context(7) => {
                let content = element.content;
                let four = <[u8; 4]>::try_from(content).map(std::net::IpAddr::from);
                let address =
                    four.or_else(|_| <[u8; 16]>::try_from(content).map(std::net::IpAddr::from));
                addresses.push(address.ok()?.to_string());
            }
            tag if tag == constructed(0) => others.extend(other_name(element.content)),
            _ => {}
        }
    }
    Some([hosts, emails, addresses, uris, others].concat())
}

/// The text of Fulcio's `OtherName`, which names users without an address.
fn other_name(content: &[u8]) -> Option<String> {
    const FULCIO: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x07];
    let mut fields = Reader::new(content);
    if fields.expect(OID)? != FULCIO {
        return None;
    }
    let value = Reader::new(fields.expect(constructed(0))?).expect(flux_der::UTF8_STRING)?;
    String::from_utf8(value.to_vec()).ok()
}

fn crl_points(mut value: Reader<'_>) -> Option<Vec<String>> {
    let mut list = value.sequence()?;
    let mut found = Vec::new();
    while !list.is_empty() {
        let mut point = list.sequence()?;
        let Some(name) = point.optional(constructed(0))? else {
            continue;
        };
        let Some(full) = Reader::new(name).optional(constructed(0))? else {
            continue;
        };
        let mut names = Reader::new(full);
        while !names.is_empty() {
            let name = names.any()?;
            if name.tag == context(6) {
                found.push(String::from_utf8(name.content.to_vec()).ok()?);
            }
        }
    }
    Some(found)
}

fn ocsp_servers(mut value: Reader<'_>) -> Option<Vec<String>> {
    let mut list = value.sequence()?;
    let mut found = Vec::new();
    while !list.is_empty() {
        let mut access = list.sequence()?;
        let method = access.expect(OID)?;
        let location = access.any()?;
        if method == OCSP_ACCESS && location.tag == context(6) {
            found.push(String::from_utf8(location.content.to_vec()).ok()?);
        }
    }
    Some(found)
}
