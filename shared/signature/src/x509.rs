//! Certificates as Go's `crypto/x509` reads them, and what signatures of artifacts need of them.

mod chain;
mod name;
mod sct;

use std::sync::Arc;

pub(crate) use chain::chain;
pub(crate) use flux_der::x509::Malformed;
use flux_der::x509::{Fields, basic_constraints};
use flux_der::{BIT_STRING, OID, Reader, SEQUENCE, constructed, context};
pub(crate) use name::distinguished;
pub(crate) use sct::{scts, signed_by_log};

use crate::key::{Hash, KeyError, PublicKey, Scheme};
use crate::pem;

/// The maximum size of a certificate.
const MAX_BYTES: usize = 64 << 10;

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

/// An extension.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    pub(crate) oid: Vec<u8>,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

impl Extension {
    fn of(read: &flux_der::x509::Extension<'_>) -> Self {
        Self {
            oid: read.oid.to_vec(),
            critical: read.critical,
            value: read.value.to_vec(),
        }
    }
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
        if der.len() > MAX_BYTES {
            return Err(Malformed("x509: malformed certificate"));
        }
        let fields = Fields::read(der)?;
        let key = PublicKey::from_info(fields.key_info.whole);
        if matches!(key, Err(KeyError::Malformed)) {
            return Err(Malformed("x509: malformed public key"));
        }
        let mut parsed = Self {
            der: der.to_vec(),
            signed: fields.signed.whole.to_vec(),
            algorithm: algorithm_of(fields.algorithm.content),
            signature: fields.signature.to_vec(),
            version: fields.version,
            serial: fields.serial.to_vec(),
            issuer: fields.issuer.whole.to_vec(),
            subject: fields.subject.whole.to_vec(),
            not_before: fields.not_before,
            not_after: fields.not_after,
            key_info: fields.key_info.whole.to_vec(),
            key,
            extensions: fields.extensions.iter().map(Extension::of).collect(),
            constraints: None,
            key_usage: 0,
            usages: Vec::new(),
            names: Vec::new(),
            ocsp_servers: Vec::new(),
            crl_points: Vec::new(),
            unhandled: Vec::new(),
        };
        for extension in &fields.extensions {
            parsed
                .understand(extension)
                .ok_or(Malformed("x509: malformed extension"))?;
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
    fn understand(&mut self, extension: &flux_der::x509::Extension<'_>) -> Option<()> {
        let value = Reader::new(extension.value);
        let understood = match extension.oid {
            KEY_USAGE => {
                self.key_usage = key_usage(value)?;
                true
            }
            ALTERNATIVE_NAMES => {
                self.names = names(value)?;
                !self.names.is_empty()
            }
            BASIC_CONSTRAINTS => {
                self.constraints = Some(basic_constraints(extension.value)?);
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
            self.unhandled.push(extension.oid.to_vec());
        }
        Some(())
    }
}

/// The extensions of a signed structure, each at most once.
pub(crate) fn extensions(list: &[u8]) -> Option<Vec<Extension>> {
    let found = flux_der::x509::extensions(list).ok()?;
    Some(found.iter().map(Extension::of).collect())
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
