//! Private keys: `genPrivateKey`, and the keys that sign certificates.

use flux_gotemplate::{CallError, Context, Functions, Str};
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::Generate;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha2::{Digest, Sha256};

use super::drbg::Drbg;
use super::{der, dsa, pem};

const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const OID_SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const OID_ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

pub(super) fn register(f: &mut Functions) {
    f.add(
        "genPrivateKey",
        |c: &mut Context<'_>, kind: Str| -> Result<String, CallError> {
            let mut rng = Drbg::new(c)?;
            // Generating a key takes as long as a large template.
            c.spend(1_000_000)?;
            Ok(match &*kind {
                b"" | b"rsa" => PrivateKey::rsa(&mut rng, 4096)?.pem()?,
                b"dsa" => pem::encode("DSA PRIVATE KEY", &dsa::generate(&mut rng)),
                b"ecdsa" => PrivateKey::Ec(p256::SecretKey::generate_from_rng(&mut rng)).pem()?,
                b"ed25519" => {
                    let mut seed = [0; 32];
                    rng.fill(&mut seed);
                    PrivateKey::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed)).pem()?
                }
                _ => format!("Unknown type {kind}"),
            })
        },
    );
}

/// A private key for signing.
pub(super) enum PrivateKey {
    Rsa(Box<RsaPrivateKey>),
    Ec(p256::SecretKey),
    Ed25519(ed25519_dalek::SigningKey),
}

fn unencodable(e: impl std::fmt::Display) -> CallError {
    CallError::new(format!("error pem-encoding key: {e}"))
}

impl PrivateKey {
    pub(super) fn rsa(rng: &mut Drbg, bits: usize) -> Result<Self, CallError> {
        RsaPrivateKey::new(rng, bits)
            .map(|key| Self::Rsa(Box::new(key)))
            .map_err(|e| CallError::new(format!("error generating rsa key: {e}")))
    }

    /// Parses PKCS#1, SEC 1 and PKCS#8 blocks.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, String> {
        let (label, block) = pem::decode(text).ok_or("no PEM data in input")?;
        if label == "PRIVATE KEY" {
            return Self::from_pkcs8(&block)
                .ok_or_else(|| "decoding PEM as PKCS#8: x509: malformed private key".to_owned());
        }
        let Some(kind) = label.strip_suffix(" PRIVATE KEY") else {
            return Err(format!("no private key data in PEM block of type {label}"));
        };
        match kind {
            "RSA" => Self::from_pkcs1(&block).ok_or_else(|| {
                "parsing RSA private key from PEM: x509: malformed private key".to_owned()
            }),
            "EC" => Self::from_sec1(&block, None).ok_or_else(|| {
                "parsing EC private key from PEM: x509: unknown elliptic curve".to_owned()
            }),
            _ => Err(format!("invalid private key type {kind}")),
        }
    }

    fn from_pkcs1(block: &[u8]) -> Option<Self> {
        let key = RsaPrivateKey::from_pkcs1_der(block).ok()?;
        Some(Self::Rsa(Box::new(key)))
    }

    /// Parses an EC key; `curve` is the curve named by an enclosing block.
    fn from_sec1(mut block: &[u8], curve: Option<&[u8]>) -> Option<Self> {
        let mut fields = der::take_tag(&mut block, der::SEQUENCE)?;
        der::take_tag(&mut fields, der::INTEGER)?;
        let scalar = der::take_tag(&mut fields, der::OCTET_STRING)?;
        let named = match der::take_tag(&mut fields, 0xa0) {
            Some(mut inner) => der::take_tag(&mut inner, der::OID)?,
            None => curve?,
        };
        if named != OID_P256 {
            return None;
        }
        Some(Self::Ec(p256::SecretKey::from_slice(scalar).ok()?))
    }

    fn from_pkcs8(mut block: &[u8]) -> Option<Self> {
        let mut fields = der::take_tag(&mut block, der::SEQUENCE)?;
        der::take_tag(&mut fields, der::INTEGER)?;
        let mut algorithm = der::take_tag(&mut fields, der::SEQUENCE)?;
        let mut key = der::take_tag(&mut fields, der::OCTET_STRING)?;
        match der::take_tag(&mut algorithm, der::OID)? {
            OID_RSA => Self::from_pkcs1(key),
            OID_EC => Self::from_sec1(key, der::take_tag(&mut algorithm, der::OID)),
            OID_ED25519 => {
                let seed = der::take_tag(&mut key, der::OCTET_STRING)?;
                let key = ed25519_dalek::SigningKey::from_bytes(seed.try_into().ok()?);
                Some(Self::Ed25519(key))
            }
            _ => None,
        }
    }

    /// The key in the format in which Go encodes its kind.
    pub(super) fn pem(&self) -> Result<String, CallError> {
        Ok(match self {
            Self::Rsa(key) => {
                let der = key.to_pkcs1_der().map_err(unencodable)?;
                pem::encode("RSA PRIVATE KEY", der.as_bytes())
            }
            Self::Ec(key) => {
                let curve = der::element(der::OID, OID_P256);
                let point = der::bits(&ec_point(key));
                let fields = der::sequence(&[
                    &der::unsigned(&[1]),
                    &der::element(der::OCTET_STRING, &key.to_bytes()),
                    &der::element(0xa0, &curve),
                    &der::element(0xa1, &point),
                ]);
                pem::encode("EC PRIVATE KEY", &fields)
            }
            Self::Ed25519(key) => {
                let seed = der::element(der::OCTET_STRING, key.as_bytes());
                let fields = der::sequence(&[
                    &der::unsigned(&[0]),
                    &der::sequence(&[&der::element(der::OID, OID_ED25519)]),
                    &der::element(der::OCTET_STRING, &seed),
                ]);
                pem::encode("PRIVATE KEY", &fields)
            }
        })
    }

    /// The content of the bit string of the public key.
    pub(super) fn public_bits(&self) -> Result<Vec<u8>, CallError> {
        Ok(match self {
            Self::Rsa(key) => {
                let der = key.to_public_key().to_pkcs1_der().map_err(unencodable)?;
                der.as_bytes().to_vec()
            }
            Self::Ec(key) => ec_point(key),
            Self::Ed25519(key) => key.verifying_key().as_bytes().to_vec(),
        })
    }

    /// `SubjectPublicKeyInfo`
    pub(super) fn public_info(&self) -> Result<Vec<u8>, CallError> {
        let oid = |oid| der::element(der::OID, oid);
        let algorithm = match self {
            Self::Rsa(_) => [oid(OID_RSA), vec![5, 0]].concat(),
            Self::Ec(_) => [oid(OID_EC), oid(OID_P256)].concat(),
            Self::Ed25519(_) => oid(OID_ED25519),
        };
        let algorithm = der::element(der::SEQUENCE, &algorithm);
        Ok(der::sequence(&[
            &algorithm,
            &der::bits(&self.public_bits()?),
        ]))
    }

    /// The identifier of the signature algorithm, encoded.
    pub(super) fn signature_algorithm(&self) -> Vec<u8> {
        let (oid, null): (_, &[u8]) = match self {
            Self::Rsa(_) => (OID_SHA256_RSA, &[5, 0]),
            Self::Ec(_) => (OID_ECDSA_SHA256, &[]),
            Self::Ed25519(_) => (OID_ED25519, &[]),
        };
        der::sequence(&[&der::element(der::OID, oid), null])
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CallError> {
        match self {
            Self::Rsa(key) => {
                let digest = Sha256::digest(message);
                key.sign(Pkcs1v15Sign::new::<Sha256>(), &digest)
                    .map_err(|e| CallError::new(format!("error creating certificate: {e}")))
            }
            Self::Ec(key) => {
                let signer = p256::ecdsa::SigningKey::from(key);
                let signature: p256::ecdsa::Signature = signer.sign(message);
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::Ed25519(key) => {
                use ed25519_dalek::Signer as _;
                Ok(key.sign(message).to_bytes().to_vec())
            }
        }
    }
}

/// The uncompressed point.
fn ec_point(key: &p256::SecretKey) -> Vec<u8> {
    use p256::elliptic_curve::sec1::ToSec1Point;
    key.public_key().to_sec1_point(false).as_bytes().to_vec()
}
