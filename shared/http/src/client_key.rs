//! Private keys of client certificates: those supported by *ring*, and those that only Go supports.
//!
//! *ring* signs with RSA keys of 2,048 to 4,096 bits and with P-256, P-384 and Ed25519. For others the RustCrypto
//! crates sign. Their RSA is blinded, but not constant-time in every step (RUSTSEC-2023-0071); a client signs once per
//! handshake that it initiates itself, as SSH does.

use std::sync::Arc;

use p521::ecdsa::signature::Signer as _;
use p521::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use rsa::traits::PublicKeyParts as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use sha2::{Sha256, Sha384, Sha512};

/// The smallest RSA modulus in bits, as in Go.
const MIN_RSA_BITS: u32 = 1024;

/// Loads a private key; `None` if it does not parse or is of an unsupported kind.
pub(crate) fn load(key: &PrivateKeyDer<'static>) -> Option<Arc<dyn SigningKey>> {
    if let Ok(key) = rustls::crypto::ring::sign::any_supported_type(key) {
        return Some(key);
    }
    let rsa = match key {
        PrivateKeyDer::Pkcs1(key) => {
            rsa::RsaPrivateKey::from_pkcs1_der(key.secret_pkcs1_der()).ok()
        }
        PrivateKeyDer::Pkcs8(key) => {
            rsa::RsaPrivateKey::from_pkcs8_der(key.secret_pkcs8_der()).ok()
        }
        _ => None,
    };
    if let Some(key) = rsa.filter(|key| key.n().bits() >= MIN_RSA_BITS) {
        let public = key.to_public_key().to_public_key_der().ok()?.into_vec();
        return Some(Arc::new(Key {
            kind: Kind::Rsa(Box::new(key)),
            public,
        }));
    }
    let curve = match key {
        PrivateKeyDer::Sec1(key) => p521::SecretKey::from_sec1_der(key.secret_sec1_der()).ok(),
        PrivateKeyDer::Pkcs8(key) => p521::SecretKey::from_pkcs8_der(key.secret_pkcs8_der()).ok(),
        _ => None,
    }?;
    let public = curve.public_key().to_public_key_der().ok()?.into_vec();
    Some(Arc::new(Key {
        kind: Kind::P521(Box::new(p521::ecdsa::SigningKey::from(&curve))),
        public,
    }))
}

#[derive(Clone)]
enum Kind {
    Rsa(Box<rsa::RsaPrivateKey>),
    P521(Box<p521::ecdsa::SigningKey>),
}

struct Key {
    kind: Kind,
    /// The encoded `SubjectPublicKeyInfo`.
    public: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// The signature schemes of RSA keys, best first.
const RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let schemes: &[SignatureScheme] = match self.kind {
            Kind::Rsa(_) => &RSA_SCHEMES,
            Kind::P521(_) => &[SignatureScheme::ECDSA_NISTP521_SHA512],
        };
        let scheme = *schemes.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(WithScheme {
            kind: self.kind.clone(),
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public.as_slice().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            Kind::Rsa(_) => SignatureAlgorithm::RSA,
            Kind::P521(_) => SignatureAlgorithm::ECDSA,
        }
    }
}

struct WithScheme {
    kind: Kind,
    scheme: SignatureScheme,
}

impl std::fmt::Debug for WithScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WithScheme({:?})", self.scheme)
    }
}

impl Signer for WithScheme {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::General("the client key cannot sign".to_owned());
        macro_rules! rsa {
            ($module:ident, $hash:ty, $key:expr) => {
                rsa::$module::SigningKey::<$hash>::new((**$key).clone())
                    .try_sign_with_rng(&mut rand::rng(), message)
                    .map(|signature| signature.to_vec())
                    .map_err(failed)
            };
        }
        match (&self.kind, self.scheme) {
            (Kind::P521(key), _) => {
                let signature: p521::ecdsa::Signature = key.try_sign(message).map_err(failed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            (Kind::Rsa(key), SignatureScheme::RSA_PSS_SHA256) => rsa!(pss, Sha256, key),
            (Kind::Rsa(key), SignatureScheme::RSA_PSS_SHA384) => rsa!(pss, Sha384, key),
            (Kind::Rsa(key), SignatureScheme::RSA_PSS_SHA512) => rsa!(pss, Sha512, key),
            (Kind::Rsa(key), SignatureScheme::RSA_PKCS1_SHA384) => rsa!(pkcs1v15, Sha384, key),
            (Kind::Rsa(key), SignatureScheme::RSA_PKCS1_SHA512) => rsa!(pkcs1v15, Sha512, key),
            (Kind::Rsa(key), _) => rsa!(pkcs1v15, Sha256, key),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
