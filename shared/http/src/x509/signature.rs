//! Verifies signatures: those supported by *ring*, and those that only Go supports.
//!
//! *ring* lacks P-521, SHA-512 with the smaller curves, and RSA keys below 2,048 bits. Private authorities use them,
//! and rejecting them would only move their users to plain HTTP. The RustCrypto crates, which SSH needs anyway, verify
//! them; no secret is involved. SHA-1 and MD5 are rejected, as in Go.

use flux_der::{INTEGER, OID, Reader};
use p521::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::signature::Verifier as _;
use rustls::pki_types::{AlgorithmIdentifier, alg_id};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The smallest RSA modulus in bits, as in Go.
const MIN_RSA_BITS: usize = 1024;
/// The largest RSA modulus in bits.
const MAX_RSA_BITS: usize = 8192;
/// The smallest RSA modulus in bits that *ring* verifies.
const RING_RSA_BITS: usize = 2048;
/// Bytes of a P-521 field element.
const P521_BYTES: usize = 66;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const RSA_MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Hash),
    Ed25519,
    /// One with a hash that is not collision-resistant, by Go's name.
    Insecure(&'static str),
    Unknown,
}

/// An elliptic curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// Bits of the modulus, and the `RSAPublicKey`.
    Rsa(usize, &'a [u8]),
    /// The curve and the uncompressed point.
    Ec(Curve, &'a [u8]),
    Ed25519(&'a [u8]),
    /// Unsupported; nothing verifies with it.
    Unsupported,
}

/// Why a signature is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

impl Scheme {
    /// The scheme of an `AlgorithmIdentifier`'s content.
    pub(super) fn of_algorithm(content: &[u8]) -> Self {
        // The parameters of PSS must be one of three encodings, as in Go.
        for (id, hash) in [
            (alg_id::RSA_PSS_SHA256, Hash::Sha256),
            (alg_id::RSA_PSS_SHA384, Hash::Sha384),
            (alg_id::RSA_PSS_SHA512, Hash::Sha512),
        ] {
            if id.as_ref() == content {
                return Self::Pss(hash);
            }
        }
        match Reader::new(content).expect(OID) {
            Some(RSA_SHA256) => Self::Pkcs1(Hash::Sha256),
            Some(RSA_SHA384) => Self::Pkcs1(Hash::Sha384),
            Some(RSA_SHA512) => Self::Pkcs1(Hash::Sha512),
            Some(ECDSA_SHA256) => Self::Ecdsa(Hash::Sha256),
            Some(ECDSA_SHA384) => Self::Ecdsa(Hash::Sha384),
            Some(ECDSA_SHA512) => Self::Ecdsa(Hash::Sha512),
            Some(ED25519) => Self::Ed25519,
            Some(RSA_SHA1) => Self::Insecure("SHA1-RSA"),
            Some(RSA_MD5) => Self::Insecure("MD5-RSA"),
            Some(ECDSA_SHA1) => Self::Insecure("ECDSA-SHA1"),
            _ => Self::Unknown,
        }
    }
}

impl<'a> PublicKey<'a> {
    /// Parses a `SubjectPublicKeyInfo`; `None` if it is malformed.
    pub(super) fn parse(key_info: &'a [u8]) -> Option<Self> {
        let mut info = Reader::new(key_info).sequence()?;
        let mut algorithm = info.sequence()?;
        let kind = algorithm.expect(OID)?;
        let bits = info.bits()?;
        match kind {
            RSA_ENCRYPTION => {
                let mut numbers = Reader::new(bits).sequence()?;
                let modulus = numbers.expect(INTEGER)?;
                let first = modulus.iter().position(|&byte| byte != 0)?;
                let digits = modulus.get(first..)?;
                let size = digits.len() * 8 - usize::try_from(digits[0].leading_zeros()).ok()?;
                Some(Self::Rsa(size, bits))
            }
            EC_PUBLIC_KEY => Some(match algorithm.expect(OID) {
                Some(P256) => Self::Ec(Curve::P256, bits),
                Some(P384) => Self::Ec(Curve::P384, bits),
                Some(P521) => Self::Ec(Curve::P521, bits),
                _ => Self::Unsupported,
            }),
            ED25519 => Some(Self::Ed25519(bits)),
            _ => Some(Self::Unsupported),
        }
    }

    /// Verifies a signature over `message`.
    pub(super) fn verify(
        &self,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        let refused = match self {
            Self::Rsa(..) => Refused("crypto/rsa: verification error"),
            Self::Ec(..) => Refused("x509: ECDSA verification failure"),
            Self::Ed25519(_) => Refused("x509: Ed25519 verification failure"),
            Self::Unsupported => {
                return Err(Refused(
                    "x509: cannot verify signature: algorithm unimplemented",
                ));
            }
        };
        let good = match (*self, scheme) {
            (_, Scheme::Insecure("MD5-RSA")) => {
                return Err(Refused(
                    "x509: cannot verify signature: insecure algorithm MD5-RSA",
                ));
            }
            (_, Scheme::Insecure("SHA1-RSA")) => {
                return Err(Refused(
                    "x509: cannot verify signature: insecure algorithm SHA1-RSA",
                ));
            }
            (_, Scheme::Insecure(_)) => {
                return Err(Refused(
                    "x509: cannot verify signature: insecure algorithm ECDSA-SHA1",
                ));
            }
            (_, Scheme::Unknown) => {
                return Err(Refused(
                    "x509: cannot verify signature: algorithm unimplemented",
                ));
            }
            (Self::Rsa(bits, _), Scheme::Pkcs1(_) | Scheme::Pss(_))
                if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) =>
            {
                return Err(Refused("crypto/rsa: key size is insecure or not supported"));
            }
            (Self::Rsa(bits, key), scheme @ (Scheme::Pkcs1(_) | Scheme::Pss(_))) => {
                if bits >= RING_RSA_BITS {
                    ring(alg_id::RSA_ENCRYPTION, scheme, key, message, signature)
                } else {
                    small_rsa(scheme, key, message, signature).is_some()
                }
            }
            (Self::Ec(curve, point), Scheme::Ecdsa(hash)) => match (curve, hash) {
                (Curve::P256, Hash::Sha256 | Hash::Sha384) => {
                    ring(alg_id::ECDSA_P256, scheme, point, message, signature)
                }
                (Curve::P384, Hash::Sha256 | Hash::Sha384) => {
                    ring(alg_id::ECDSA_P384, scheme, point, message, signature)
                }
                _ => other_ecdsa(curve, hash, point, message, signature).is_some(),
            },
            (Self::Ed25519(key), Scheme::Ed25519) => {
                ring(alg_id::ED25519, scheme, key, message, signature)
            }
            _ => {
                return Err(Refused(
                    "x509: signature algorithm and public key do not fit each other",
                ));
            }
        };
        if good { Ok(()) } else { Err(refused) }
    }
}

/// Verifies with *ring*; also false if it lacks the algorithm.
fn ring(
    key_kind: AlgorithmIdentifier,
    scheme: Scheme,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let wanted = match scheme {
        Scheme::Pkcs1(Hash::Sha256) => alg_id::RSA_PKCS1_SHA256,
        Scheme::Pkcs1(Hash::Sha384) => alg_id::RSA_PKCS1_SHA384,
        Scheme::Pkcs1(Hash::Sha512) => alg_id::RSA_PKCS1_SHA512,
        Scheme::Pss(Hash::Sha256) => alg_id::RSA_PSS_SHA256,
        Scheme::Pss(Hash::Sha384) => alg_id::RSA_PSS_SHA384,
        Scheme::Pss(Hash::Sha512) => alg_id::RSA_PSS_SHA512,
        Scheme::Ecdsa(Hash::Sha256) => alg_id::ECDSA_SHA256,
        Scheme::Ecdsa(Hash::Sha384) => alg_id::ECDSA_SHA384,
        Scheme::Ed25519 => alg_id::ED25519,
        _ => return false,
    };
    crate::tls::provider()
        .signature_verification_algorithms
        .all
        .iter()
        .find(|known| known.public_key_alg_id() == key_kind && known.signature_alg_id() == wanted)
        .is_some_and(|known| known.verify_signature(key, message, signature).is_ok())
}

/// RSA below 2,048 bits.
fn small_rsa(scheme: Scheme, key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let key = RsaPublicKey::from_pkcs1_der(key).ok()?;
    macro_rules! verify {
        ($module:ident, $hash:ty) => {{
            let signature = rsa::$module::Signature::try_from(signature).ok()?;
            rsa::$module::VerifyingKey::<$hash>::new(key)
                .verify(message, &signature)
                .ok()
        }};
    }
    match scheme {
        Scheme::Pkcs1(Hash::Sha256) => verify!(pkcs1v15, Sha256),
        Scheme::Pkcs1(Hash::Sha384) => verify!(pkcs1v15, Sha384),
        Scheme::Pkcs1(Hash::Sha512) => verify!(pkcs1v15, Sha512),
        Scheme::Pss(Hash::Sha256) => verify!(pss, Sha256),
        Scheme::Pss(Hash::Sha384) => verify!(pss, Sha384),
        Scheme::Pss(Hash::Sha512) => verify!(pss, Sha512),
        _ => None,
    }
}

/// The combinations of curve and hash that *ring* lacks.
fn other_ecdsa(
    curve: Curve,
    hash: Hash,
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<()> {
    let mut digest = match hash {
        Hash::Sha256 => Sha256::digest(message).to_vec(),
        Hash::Sha384 => Sha384::digest(message).to_vec(),
        Hash::Sha512 => Sha512::digest(message).to_vec(),
    };
    macro_rules! verify {
        ($curve:ident) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
            let signature = $curve::ecdsa::Signature::from_der(signature).ok()?;
            key.verify_prehash(&digest, &signature).ok()
        }};
    }
    match curve {
        Curve::P256 => verify!(p256),
        Curve::P384 => verify!(p384),
        Curve::P521 => {
            // As a number, a shorter hash equals one padded with zeros; the crate requires the padding.
            let mut padded = vec![0; P521_BYTES - digest.len()];
            padded.append(&mut digest);
            digest = padded;
            verify!(p521)
        }
    }
}
