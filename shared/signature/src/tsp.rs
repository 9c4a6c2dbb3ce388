//! Timestamps by RFC 3161: a CMS message in which an authority signs a digest together with a time.

use std::sync::Arc;

use flux_der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, constructed,
    context, encode,
};

use crate::key::{Hash, Scheme, Strength};
use crate::x509::{
    Algorithm, Certificate, EXTENDED_USAGE, USAGE_TIMESTAMPING, algorithm_of, chain, hash_of,
};

/// The maximum size of a token.
const MAX_BYTES: usize = 256 << 10;
/// The maximum number of certificates in a token.
const MAX_CERTIFICATES: usize = 32;

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TIMESTAMP_INFO: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04,
];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f,
];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// ETSI's policy for timestamps that are exact to a second.
const BASELINE_POLICY: &[u8] = &[0x04, 0x00, 0x8f, 0x67, 0x01, 0x01];

/// A time that an authority signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// By how many seconds the time may be wrong in either direction, rounded up.
    pub(crate) accuracy: i64,
}

/// A token whose signature is not verified.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    content: &'a [u8],
    certificates: Vec<Arc<Certificate>>,
    signer: Signer<'a>,
    hash: Hash,
    digest: &'a [u8],
    stamp: Stamp,
}

#[derive(Debug)]
struct Signer<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    hash: Hash,
    /// The signed attributes as a `SET`.
    attributes: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Token<'a> {
    /// Reads a response, which carries a token behind its status.
    pub(crate) fn from_response(response: &'a [u8]) -> Option<Self> {
        if response.len() > MAX_BYTES {
            return None;
        }
        let mut fields = Reader::new(response).sequence()?;
        let status = fields.sequence()?.small_integer()?;
        // Granted, with or without changes.
        (status <= 1)
            .then(|| fields.element(SEQUENCE))?
            .and_then(|token| Self::parse(token.whole))
    }

    /// Reads a token.
    pub(crate) fn parse(token: &'a [u8]) -> Option<Self> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let mut outer = Reader::new(token);
        let mut info = outer.sequence()?;
        if !outer.is_empty() || info.expect(OID)? != SIGNED_DATA {
            return None;
        }
        let mut data = Reader::new(info.expect(constructed(0))?).sequence()?;
        data.small_integer()?;
        data.expect(SET)?;
        let mut inner = data.sequence()?;
        if inner.expect(OID)? != TIMESTAMP_INFO {
            return None;
        }
        let content = Reader::new(inner.expect(constructed(0))?).expect(OCTET_STRING)?;
        let mut certificates = Vec::new();
        if let Some(list) = data.optional(constructed(0))? {
            let mut list = Reader::new(list);
            while !list.is_empty() {
                let one = list.any()?;
                if certificates.len() == MAX_CERTIFICATES {
                    return None;
                }
                certificates.push(Certificate::parse(one.whole).ok()?);
            }
        }
        data.optional(constructed(1))?;
        let mut signers = Reader::new(data.expect(SET)?);
        let signer = signer(signers.sequence()?)?;
        if !signers.is_empty() {
            return None;
        }
        let (hash, digest, stamp) = timestamp_info(content)?;
        Some(Self {
            content,
            certificates,
            signer,
            hash,
            digest,
            stamp,
        })
    }

    /// The time, if the timestamp is of this message.
    pub(crate) fn stamp_of(&self, message: &[u8]) -> Option<Stamp> {
        (self.hash.digest(message) == self.digest).then_some(self.stamp)
    }

    /// The certificate that the signer names: by its identifier, which must agree with the hash in the signed attribute
    /// `signing-certificate-v2` where there is one, or where it is `required`.
    fn signing_certificate(
        &self,
        known: Option<&Arc<Certificate>>,
        required: bool,
    ) -> Option<Arc<Certificate>> {
        let certificate = self
            .certificates
            .iter()
            .chain(known)
            .find(|one| one.issuer == self.signer.issuer && one.serial == self.signer.serial)?;
        match self.attribute(SIGNING_CERTIFICATE) {
            Some(value) => {
                let mut list = Reader::new(value).sequence()?.sequence()?;
                let mut id = list.sequence()?;
                let hash = match id.optional(SEQUENCE)? {
                    Some(algorithm) => hash_of(algorithm)?,
                    None => Hash::Sha256,
                };
                if id.expect(OCTET_STRING)? != hash.digest(&certificate.der) {
                    return None;
                }
            }
            None if required => return None,
            None => {}
        }
        Some(Arc::clone(certificate))
    }

    /// The value of a signed attribute that has exactly one.
    fn attribute(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut list = Reader::new(self.signer.attributes);
        while !list.is_empty() {
            let mut attribute = list.sequence()?;
            if attribute.expect(OID)? == wanted {
                let mut values = Reader::new(attribute.expect(SET)?);
                let value = values.any()?;
                return values.is_empty().then_some(value.whole);
            }
        }
        None
    }

    /// Whether the certificate's key signed the content by way of the signed attributes.
    fn signed_by(&self, certificate: &Certificate) -> bool {
        let digest = encode(OCTET_STRING, &self.signer.hash.digest(self.content));
        let kind = encode(OID, TIMESTAMP_INFO);
        if self.attribute(MESSAGE_DIGEST) != Some(&digest)
            || self.attribute(CONTENT_TYPE) != Some(&kind)
        {
            return false;
        }
        let Ok(key) = &certificate.key else {
            return false;
        };
        // The algorithm is either of the signature, or of the key alone.
        let scheme = match (algorithm_of(self.signer.algorithm), key.strength()) {
            (Algorithm::Known(Scheme::Pss(hash)), _) => Scheme::Pss(hash),
            (Algorithm::Known(Scheme::Ed25519), Strength::Ed25519) => Scheme::Ed25519,
            (Algorithm::Known(scheme), _) if scheme == key.default_scheme(self.signer.hash) => {
                scheme
            }
            _ if matches!(
                Reader::new(self.signer.algorithm).expect(OID),
                Some(RSA_ENCRYPTION | EC_PUBLIC_KEY)
            ) =>
            {
                key.default_scheme(self.signer.hash)
            }
            _ => return false,
        };
        let content = encode(SET, self.signer.attributes);
        key.verifies(scheme, &content, self.signer.signature)
    }

    /// Verifies as Sigstore's timestamp-authority does: with the certificates of the trusted root, of which `leaf` must
    /// be the signer if it is there, at the time of the timestamp itself.
    pub(crate) fn verify_sigstore(
        &self,
        leaf: Option<&Arc<Certificate>>,
        root: &Arc<Certificate>,
        intermediates: &[Arc<Certificate>],
    ) -> bool {
        let Some(signer) = self.signing_certificate(leaf, false) else {
            return false;
        };
        if leaf.is_some_and(|leaf| *leaf != signer) || !self.signed_by(&signer) {
            return false;
        }
        let known: Vec<_> = intermediates
            .iter()
            .chain(&self.certificates)
            .cloned()
            .collect();
        let roots = [Arc::clone(root)];
        is_stamper(&signer)
            && chain(
                &signer,
                &roots,
                &known,
                self.stamp.time,
                USAGE_TIMESTAMPING,
                &[],
            )
            .is_ok()
    }

    /// Verifies as Notary Project's tspclient does, and returns the chain of the signer.
    pub(crate) fn verify_notation(
        &self,
        roots: &[Arc<Certificate>],
    ) -> Result<Vec<Arc<Certificate>>, String> {
        let signer = self
            .signing_certificate(None, true)
            .ok_or("signing certificate not found in the timestamp token")?;
        if !self.signed_by(&signer) {
            return Err("signature verification failure".to_owned());
        }
        let found = chain(
            &signer,
            roots,
            &self.certificates,
            self.stamp.time,
            USAGE_TIMESTAMPING,
            &[],
        )?;
        if !is_stamper(&signer) {
            return Err("signing certificate must have and only have ExtKeyUsageTimeStamping as extended key usage".to_owned());
        }
        Ok(found)
    }
}

/// Whether the certificate is for timestamps and nothing else, and says so critically.
fn is_stamper(certificate: &Certificate) -> bool {
    let critical = certificate
        .extension(EXTENDED_USAGE)
        .is_some_and(|extension| extension.critical);
    let only = certificate
        .usages
        .iter()
        .all(|usage| usage == USAGE_TIMESTAMPING);
    critical && certificate.usages.len() == 1 && only
}

fn signer(mut fields: Reader<'_>) -> Option<Signer<'_>> {
    fields.small_integer()?;
    let mut id = fields.sequence()?;
    let issuer = id.element(SEQUENCE)?.whole;
    let serial = id.expect(INTEGER)?;
    let hash = hash_of(fields.expect(SEQUENCE)?)?;
    let attributes = fields.expect(constructed(0))?;
    let algorithm = fields.expect(SEQUENCE)?;
    let signature = fields.expect(OCTET_STRING)?;
    Some(Signer {
        issuer,
        serial,
        hash,
        attributes,
        algorithm,
        signature,
    })
}

fn timestamp_info(content: &[u8]) -> Option<(Hash, &[u8], Stamp)> {
    let mut outer = Reader::new(content);
    let mut fields = outer.sequence()?;
    if !outer.is_empty() || fields.small_integer()? != 1 {
        return None;
    }
    let policy = fields.expect(OID)?;
    let mut imprint = fields.sequence()?;
    let hash = hash_of(imprint.expect(SEQUENCE)?)?;
    let digest = imprint.expect(OCTET_STRING)?;
    fields.expect(INTEGER)?;
    let time = flux_der::time(GENERALIZED_TIME, fields.expect(GENERALIZED_TIME)?)?;
    let mut accuracy = 0;
    if let Some(parts) = fields.optional(SEQUENCE)? {
        let mut parts = Reader::new(parts);
        if let Some(seconds) = parts.optional(INTEGER)? {
            accuracy = i64::try_from(flux_der::small(seconds)?).ok()?;
        }
        for fraction in [context(0), context(1)] {
            if let Some(fraction) = parts.optional(fraction)?
                && flux_der::small(fraction)? > 0
            {
                accuracy = accuracy.checked_add(1)?;
            }
        }
    }
    if accuracy == 0 && policy == BASELINE_POLICY {
        accuracy = 1;
    }
    fields.optional(BOOLEAN)?;
    Some((hash, digest, Stamp { time, accuracy }))
}
