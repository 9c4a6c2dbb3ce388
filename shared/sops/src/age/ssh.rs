//! SSH keys as age identities: Ed25519 and RSA, in OpenSSH's format or in PKCS#1 and PKCS#8.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, Oaep, RsaPrivateKey};
use sha2::{Digest as _, Sha256, Sha512};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::header::{Stanza, argument};
use super::identity::{Identity, Unwrapped, exchange};
use super::{derive, open_file_key};

/// Why a text is no usable private key. No variant holds a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// It needs a passphrase.
    #[error("ssh: this private key is passphrase protected")]
    Encrypted,
    /// It is no private key.
    #[error("ssh: no key found")]
    Malformed,
    /// It is a key of another kind.
    #[error("unsupported SSH identity type")]
    Kind,
}

/// The bytes of a key that are read, and the bits of an RSA modulus.
const MAX_INPUT: usize = 1 << 16;
const MAX_BITS: usize = 8192;

/// The identity of a private key.
pub(crate) fn parse(pem: &str) -> Result<Identity, SshError> {
    if pem.len() > MAX_INPUT {
        return Err(SshError::Malformed);
    }
    let at = pem.find("-----BEGIN ").ok_or(SshError::Malformed)?;
    let pem = &pem[at..];
    let (label, rest) = pem["-----BEGIN ".len()..]
        .split_once("-----")
        .ok_or(SshError::Malformed)?;
    match label {
        "OPENSSH PRIVATE KEY" => {
            let body = rest.split("-----END").next().unwrap_or_default();
            let body: String = body.split_ascii_whitespace().collect();
            let data = STANDARD.decode(body).map_err(|_| SshError::Malformed)?;
            openssh(&data)
        }
        "RSA PRIVATE KEY" if rest.contains("ENCRYPTED") => Err(SshError::Encrypted),
        "RSA PRIVATE KEY" => {
            let key = RsaPrivateKey::from_pkcs1_pem(pem.trim_end());
            rsa_identity(key.map_err(|_| SshError::Malformed)?)
        }
        "PRIVATE KEY" => pkcs8(pem, rest),
        "ENCRYPTED PRIVATE KEY" => Err(SshError::Encrypted),
        _ => Err(SshError::Kind),
    }
}

fn pkcs8(pem: &str, rest: &str) -> Result<Identity, SshError> {
    /// The DER of an Ed25519 key up to its seed (RFC 8410).
    const ED25519: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    if let Ok(key) = RsaPrivateKey::from_pkcs8_pem(pem.trim_end()) {
        return rsa_identity(key);
    }
    let body = rest.split("-----END").next().unwrap_or_default();
    let body: String = body.split_ascii_whitespace().collect();
    let data = STANDARD.decode(body).map_err(|_| SshError::Malformed)?;
    let seed = data.strip_prefix(&ED25519).ok_or(SshError::Kind)?;
    let seed = seed.try_into().map_err(|_| SshError::Kind)?;
    Ok(ed25519_identity(&seed))
}

/// A key in OpenSSH's own format (`PROTOCOL.key`).
fn openssh(data: &[u8]) -> Result<Identity, SshError> {
    let mut wire = Wire(
        data.strip_prefix(b"openssh-key-v1\0")
            .ok_or(SshError::Malformed)?,
    );
    let cipher = wire.string()?;
    let (_, _) = (wire.string()?, wire.string()?);
    if cipher != b"none" {
        return Err(SshError::Encrypted);
    }
    let count = wire.number()?;
    let _ = wire.string()?;
    let mut wire = Wire(wire.string()?);
    if count != 1 || wire.number()? != wire.number()? {
        return Err(SshError::Malformed);
    }
    match wire.string()? {
        b"ssh-ed25519" => {
            let _ = wire.string()?;
            let (seed, _) = wire
                .string()?
                .split_first_chunk()
                .ok_or(SshError::Malformed)?;
            Ok(ed25519_identity(seed))
        }
        b"ssh-rsa" => {
            let mut next = || {
                let bytes = wire.string()?;
                let bits = u32::try_from(bytes.len() * 8).map_err(|_| SshError::Malformed)?;
                let number = BoxedUint::from_be_slice(bytes, bits);
                number.map_err(|_| SshError::Malformed)
            };
            let (modulus, exponent, private) = (next()?, next()?, next()?);
            let _ = next()?;
            let primes = vec![next()?, next()?];
            if modulus.bits() as usize > MAX_BITS {
                return Err(SshError::Malformed);
            }
            let key = RsaPrivateKey::from_components(modulus, exponent, private, primes);
            rsa_identity(key.map_err(|_| SshError::Malformed)?)
        }
        _ => Err(SshError::Kind),
    }
}

/// SSH's encoding: strings and numbers.
struct Wire<'d>(&'d [u8]);

impl<'d> Wire<'d> {
    fn number(&mut self) -> Result<u32, SshError> {
        let (number, rest) = self.0.split_first_chunk().ok_or(SshError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Result<&'d [u8], SshError> {
        let length = self.number()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or(SshError::Malformed)?;
        self.0 = rest;
        Ok(string)
    }
}

fn encoded(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// What a stanza names a key by.
fn tag_of(public: &[u8]) -> String {
    STANDARD_NO_PAD.encode(&Sha256::digest(public)[..4])
}

/// An Ed25519 key, used on the Montgomery curve.
#[derive(Clone)]
pub(crate) struct SshEd25519 {
    secret: [u8; 32],
    public: [u8; 32],
    wire: Vec<u8>,
}

fn ed25519_identity(seed: &[u8; 32]) -> Identity {
    let key = ed25519_dalek::SigningKey::from_bytes(seed);
    let hash = Sha512::digest(seed);
    let mut secret = [0; 32];
    secret.copy_from_slice(&hash[..32]);
    Identity::SshEd25519(SshEd25519 {
        secret,
        public: x25519(secret, X25519_BASEPOINT_BYTES),
        wire: encoded(&[b"ssh-ed25519", key.verifying_key().as_bytes()]),
    })
}

impl SshEd25519 {
    pub(super) fn unwrap(&self, stanza: &Stanza<'_>) -> Unwrapped {
        const INVALID: &str = "invalid ssh-ed25519 recipient block";
        const LABEL: &[u8] = b"age-encryption.org/v1/ssh-ed25519";
        if stanza.kind != "ssh-ed25519" {
            return Ok(None);
        }
        let [tag, share] = *stanza.arguments.as_slice() else {
            return Err(INVALID);
        };
        let share = argument(share).ok_or(INVALID)?;
        if tag != tag_of(&self.wire) {
            return Ok(None);
        }
        let shared = exchange(self.secret, share).ok_or("invalid X25519 recipient")?;
        let tweak = derive(b"", Some(&self.wire), LABEL);
        let shared = x25519(tweak, shared);
        let salt = [share, self.public].concat();
        let key = derive(&shared, Some(&salt), LABEL);
        let opened = open_file_key(&key, [0; 12], &stanza.body)?;
        opened
            .map(Some)
            .ok_or("failed to decrypt file key: chacha20poly1305: message authentication failed")
    }
}

/// An RSA key.
#[derive(Clone)]
pub(crate) struct SshRsa {
    key: RsaPrivateKey,
    wire: Vec<u8>,
}

fn rsa_identity(key: RsaPrivateKey) -> Result<Identity, SshError> {
    if key.n().bits() as usize > MAX_BITS {
        return Err(SshError::Malformed);
    }
    // A number has a leading zero where its first bit is set, and no other.
    let number = |bytes: &[u8]| {
        let first = bytes.iter().position(|byte| *byte != 0);
        let bytes = &bytes[first.unwrap_or(bytes.len())..];
        let signed = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        [&[0][..usize::from(signed)], bytes].concat()
    };
    let exponent = number(&key.e().to_be_bytes());
    let modulus = number(&key.n().to_be_bytes());
    let wire = encoded(&[b"ssh-rsa", &exponent, &modulus]);
    Ok(Identity::SshRsa(Box::new(SshRsa { key, wire })))
}

impl SshRsa {
    pub(super) fn unwrap(&self, stanza: &Stanza<'_>) -> Unwrapped {
        const LABEL: &[u8] = b"age-encryption.org/v1/ssh-rsa";
        const FAILED: &str = "failed to decrypt file key: crypto/rsa: decryption error";
        if stanza.kind != "ssh-rsa" {
            return Ok(None);
        }
        let [tag] = *stanza.arguments.as_slice() else {
            return Err("invalid ssh-rsa recipient block");
        };
        if tag != tag_of(&self.wire) {
            return Ok(None);
        }
        let padding = Oaep::<Sha256>::new_with_label(LABEL);
        let opened = self
            .key
            .decrypt(padding, &stanza.body)
            .map_err(|_| FAILED)?;
        opened.try_into().map(Some).map_err(|_| FAILED)
    }
}
