//! What an envelope says, whatever its format: the payload, the attributes, and the certificates.

use std::sync::Arc;

use flux_golang::strconv::quote;

use super::certificates;
use crate::key::{Hash, Scheme, Strength};
use crate::x509::Certificate;

/// The maximum size of an envelope.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The maximum number of certificates.
const MAX_CERTIFICATES: usize = 32;

/// How trust in the signer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SigningScheme {
    /// `notary.x509`
    X509,
    /// `notary.x509.signingAuthority`
    Authority,
}

/// The algorithms that are allowed, each for one strength of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

impl Algorithm {
    /// By its number in notation-core-go's messages.
    const ALL: [(&'static str, i128, Self); 6] = [
        ("PS256", -37, Self::Ps256),
        ("PS384", -38, Self::Ps384),
        ("PS512", -39, Self::Ps512),
        ("ES256", -7, Self::Es256),
        ("ES384", -35, Self::Es384),
        ("ES512", -36, Self::Es512),
    ];

    /// By its name in JOSE.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, ..)| *known == name).map(|one| one.2)
    }

    /// By its number in COSE.
    pub(super) fn from_number(number: i128) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, known, _)| *known == number).map(|one| one.2)
    }

    /// The algorithm for a certificate's key.
    pub(super) fn of_key(certificate: &Certificate) -> Result<Self, String> {
        let Ok(key) = &certificate.key else {
            return Err("unsupported public key type".to_owned());
        };
        Ok(match key.strength() {
            Strength::P256 => Self::Es256,
            Strength::P384 => Self::Es384,
            Strength::P521 => Self::Es512,
            Strength::Rsa(2048) => Self::Ps256,
            Strength::Rsa(3072) => Self::Ps384,
            Strength::Rsa(4096) => Self::Ps512,
            Strength::Rsa(bits) => {
                return Err(format!("rsa key size {bits} bits is not supported"));
            }
            Strength::Ed25519 => return Err("unsupported public key type".to_owned()),
        })
    }

    pub(super) fn scheme(self) -> Scheme {
        match self {
            Self::Ps256 => Scheme::Pss(Hash::Sha256),
            Self::Ps384 => Scheme::Pss(Hash::Sha384),
            Self::Ps512 => Scheme::Pss(Hash::Sha512),
            Self::Es256 => Scheme::EcdsaFixed(Hash::Sha256),
            Self::Es384 => Scheme::EcdsaFixed(Hash::Sha384),
            Self::Es512 => Scheme::EcdsaFixed(Hash::Sha512),
        }
    }

    fn number(self) -> usize {
        let at = Self::ALL.iter().position(|one| one.2 == self);
        at.map_or(0, |at| at + 1)
    }
}

/// An attribute that the specification does not define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) critical: bool,
    /// Its value, if that is a text.
    pub(super) text: Option<String>,
}

/// A signed envelope whose signature is good.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) content_type: String,
    pub(super) payload: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) scheme: SigningScheme,
    /// Seconds since 1970.
    pub(super) signed_at: Option<i64>,
    pub(super) expiry: Option<i64>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) certificates: Vec<Arc<Certificate>>,
    pub(super) signature: Vec<u8>,
    pub(super) timestamp: Vec<u8>,
}

/// Reads the certificates of an envelope, the signer's first.
pub(super) fn certificates_of<'a>(
    chain: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<Vec<Arc<Certificate>>, String> {
    if chain.len() > MAX_CERTIFICATES {
        return Err("certificate chain is too long".to_owned());
    }
    chain
        .map(|der| Certificate::parse(der).map_err(|why| why.to_string()))
        .collect()
}

impl Envelope {
    /// The checks of notation-core-go that do not depend on the format.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.payload.is_empty() {
            return Err("content not present".to_owned());
        }
        if self.signature.is_empty() {
            return Err("signature not present or is empty".to_owned());
        }
        let Some(signed_at) = self.signed_at else {
            return Err("signing-time not present".to_owned());
        };
        if self.expiry.is_some_and(|expiry| expiry <= signed_at) {
            return Err("expiry cannot be equal or before the signing time".to_owned());
        }
        let Some(leaf) = self.certificates.first() else {
            return Err("certificate-chain not present or is empty".to_owned());
        };
        certificates::check_signing_chain(&self.certificates)
            .map_err(|why| format!("certificate-chain is invalid, {why}"))?;
        let derived = Algorithm::of_key(leaf)?;
        if derived != self.algorithm {
            return Err(format!(
                "mismatch between signature algorithm derived from signing certificate ({}) and signing algorithm specified ({}s)",
                derived.number(),
                self.algorithm.number()
            ));
        }
        if self.content_type != "application/vnd.cncf.notary.payload.v1+json" {
            return Err(format!(
                "payload content type {} not supported",
                quote(&self.content_type)
            ));
        }
        Ok(())
    }
}
