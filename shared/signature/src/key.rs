//! Public keys, and the verification of signatures with them.

use ed25519_dalek::Verifier as _;
use flux_der::{OID, Reader};
use p521::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::pem;

/// The smallest RSA modulus in bits that verifies anything, as in Go.
const MIN_RSA_BITS: u32 = 1024;
/// The maximum size of a PEM file with a public key.
const MAX_PEM: usize = 64 << 10;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// Bytes of a P-521 field element.
const P521_BYTES: usize = 66;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// A signature scheme. ECDSA signatures are DER, or as in JOSE and COSE both numbers one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Hash),
    EcdsaFixed(Hash),
    Ed25519,
}

/// Why a public key is refused. No content of the key is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no PEM block.
    #[error("PEM decoding failed")]
    NotPem,
    /// The block is of another kind.
    #[error("unknown Public key PEM file type: {0}. Are you passing the correct public key?")]
    NotPublic(String),
    /// The content is not a public key.
    #[error("x509: failed to parse public key")]
    Malformed,
    /// The key is of a kind that signs nothing here.
    #[error("unsupported public key type")]
    Unsupported,
}

/// A public key: ECDSA on P-256, P-384 or P-521, RSA, or Ed25519.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// The encoded `SubjectPublicKeyInfo`.
    info: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Rsa(Box<RsaPublicKey>),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// The kind of a key with its size, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    P256,
    P384,
    P521,
    /// Bits of the modulus, rounded up to bytes.
    Rsa(usize),
    Ed25519,
}

impl PublicKey {
    /// Reads the first block of a PEM file: `PUBLIC KEY` or `RSA PUBLIC KEY`.
    ///
    /// # Errors
    /// If it is not a public key of a supported kind.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        if text.len() > MAX_PEM {
            return Err(KeyError::NotPem);
        }
        let text = std::str::from_utf8(text).map_err(|_| KeyError::NotPem)?;
        let (block, _) = pem::decode(text).ok_or(KeyError::NotPem)?;
        match &*block.kind {
            "PUBLIC KEY" => Self::from_info(&block.bytes),
            "RSA PUBLIC KEY" => Self::from_pkcs1(&block.bytes),
            kind => Err(KeyError::NotPublic(kind.chars().take(64).collect())),
        }
    }

    /// Reads a DER `SubjectPublicKeyInfo`.
    pub(crate) fn from_info(der: &[u8]) -> Result<Self, KeyError> {
        let (kind, parameters, bits) = split(der).ok_or(KeyError::Malformed)?;
        macro_rules! curve {
            ($curve:ident, $kind:ident) => {
                $curve::ecdsa::VerifyingKey::from_sec1_bytes(bits)
                    .map(Kind::$kind)
                    .map_err(|_| KeyError::Malformed)?
            };
        }
        let kind = match (kind, parameters) {
            // A compressed point is not accepted, as in Go.
            (EC_PUBLIC_KEY, _) if bits.first() != Some(&4) => return Err(KeyError::Malformed),
            (EC_PUBLIC_KEY, Some(P256)) => curve!(p256, P256),
            (EC_PUBLIC_KEY, Some(P384)) => curve!(p384, P384),
            (EC_PUBLIC_KEY, Some(P521)) => curve!(p521, P521),
            (RSA_ENCRYPTION, _) => Kind::Rsa(Box::new(rsa(bits)?)),
            (ED25519, _) => {
                let bytes = <&[u8; 32]>::try_from(bits).map_err(|_| KeyError::Malformed)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes);
                Kind::Ed25519(key.map_err(|_| KeyError::Malformed)?)
            }
            _ => return Err(KeyError::Unsupported),
        };
        let info = der.to_vec();
        Ok(Self { info, kind })
    }

    /// Reads a DER `RSAPublicKey`.
    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        use flux_der::{BIT_STRING, NULL, SEQUENCE, encode};
        let algorithm = [encode(OID, RSA_ENCRYPTION), encode(NULL, &[])].concat();
        let bits = [&[0], der].concat();
        let info = [encode(SEQUENCE, &algorithm), encode(BIT_STRING, &bits)].concat();
        Ok(Self {
            kind: Kind::Rsa(Box::new(rsa(der)?)),
            info: encode(SEQUENCE, &info),
        })
    }

    /// The encoded `SubjectPublicKeyInfo`.
    pub(crate) fn info(&self) -> &[u8] {
        &self.info
    }

    pub(crate) fn strength(&self) -> Strength {
        match &self.kind {
            Kind::P256(_) => Strength::P256,
            Kind::P384(_) => Strength::P384,
            Kind::P521(_) => Strength::P521,
            Kind::Rsa(key) => Strength::Rsa(key.size() * 8),
            Kind::Ed25519(_) => Strength::Ed25519,
        }
    }

    /// The scheme that Sigstore uses with a key: PKCS#1 1.5 for RSA.
    pub(crate) fn default_scheme(&self, hash: Hash) -> Scheme {
        match &self.kind {
            Kind::P256(_) | Kind::P384(_) | Kind::P521(_) => Scheme::Ecdsa(hash),
            Kind::Rsa(_) => Scheme::Pkcs1(hash),
            Kind::Ed25519(_) => Scheme::Ed25519,
        }
    }

    /// The hash that fits the strength of the key.
    pub(crate) fn default_hash(&self) -> Hash {
        match &self.kind {
            Kind::P256(_) | Kind::Rsa(_) => Hash::Sha256,
            Kind::P384(_) => Hash::Sha384,
            Kind::P521(_) | Kind::Ed25519(_) => Hash::Sha512,
        }
    }

    /// Whether the signature over the message is by this key.
    pub(crate) fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.kind, scheme) {
            (Kind::Ed25519(key), Scheme::Ed25519) => {
                ed25519_dalek::Signature::from_slice(signature)
                    .ok()
                    .and_then(|signature| key.verify(message, &signature).ok())
            }
            (
                _,
                Scheme::Pkcs1(hash)
                | Scheme::Pss(hash)
                | Scheme::Ecdsa(hash)
                | Scheme::EcdsaFixed(hash),
            ) => return self.verifies_digest(scheme, &hash.digest(message), signature),
            _ => None,
        };
        verified.is_some()
    }

    /// Whether the signature over a message with this digest is by this key. Never true for Ed25519, which signs messages.
    pub(crate) fn verifies_digest(&self, scheme: Scheme, digest: &[u8], signature: &[u8]) -> bool {
        macro_rules! ecdsa {
            ($curve:ident, $key:expr, $digest:expr) => {{
                let signature = match scheme {
                    Scheme::Ecdsa(_) => $curve::ecdsa::Signature::from_der(signature),
                    _ => $curve::ecdsa::Signature::from_slice(signature),
                };
                signature
                    .ok()
                    .and_then(|signature| $key.verify_prehash($digest, &signature).ok())
            }};
        }
        let verified = match (&self.kind, scheme) {
            (Kind::P256(key), Scheme::Ecdsa(_) | Scheme::EcdsaFixed(_)) => {
                ecdsa!(p256, key, digest)
            }
            (Kind::P384(key), Scheme::Ecdsa(_) | Scheme::EcdsaFixed(_)) => {
                ecdsa!(p384, key, digest)
            }
            (Kind::P521(key), Scheme::Ecdsa(_) | Scheme::EcdsaFixed(_)) => {
                // As a number, a shorter hash equals one padded with zeros; the crate requires the padding.
                let mut padded = vec![0; P521_BYTES.saturating_sub(digest.len())];
                padded.extend_from_slice(digest);
                ecdsa!(p521, key, &padded)
            }
            (Kind::Rsa(key), _) if key.n().bits() < MIN_RSA_BITS => None,
            (Kind::Rsa(key), Scheme::Pkcs1(hash)) => {
                let padding = match hash {
                    Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                    Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                    Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
                };
                key.verify(padding, digest, signature).ok()
            }
            (Kind::Rsa(key), Scheme::Pss(hash)) => match hash {
                Hash::Sha256 => key.verify(Pss::<Sha256>::new(), digest, signature).ok(),
                Hash::Sha384 => key.verify(Pss::<Sha384>::new(), digest, signature).ok(),
                Hash::Sha512 => key.verify(Pss::<Sha512>::new(), digest, signature).ok(),
            },
            _ => None,
        };
        verified.is_some()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.info == other.info
    }
}

impl Eq for PublicKey {}

/// The algorithm, the identifier in its parameters, and the key's bits.
type Parts<'d> = (&'d [u8], Option<&'d [u8]>, &'d [u8]);

fn split(der: &[u8]) -> Option<Parts<'_>> {
    let mut outer = Reader::new(der);
    let mut info = outer.sequence()?;
    let mut algorithm = info.sequence()?;
    let kind = algorithm.expect(OID)?;
    let parameters = algorithm.expect(OID);
    let bits = info.bits()?;
    (outer.is_empty() && info.is_empty()).then_some((kind, parameters, bits))
}

fn rsa(der: &[u8]) -> Result<RsaPublicKey, KeyError> {
    RsaPublicKey::from_pkcs1_der(der).map_err(|_| KeyError::Malformed)
}
