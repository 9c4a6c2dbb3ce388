//! OpenPGP signatures.

use std::io::Cursor;
use std::time::{SystemTime, UNIX_EPOCH};

use ::pgp::composed::{ArmorOptions, DetachedSignature, PublicOrSecret, SignedSecretKey};
use ::pgp::crypto::hash::HashAlgorithm;
use ::pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use ::pgp::types::{
    KeyDetails as _, KeyVersion, Password, S2kParams, SecretParams, SigningKey, StringToKey,
    Timestamp,
};
use flux_http::Secret;

use super::{KeyFault, SignError};
use crate::verify::pgp::{MAX_ARMOR, Signer, signer, unindented};

const NOT_PRIVATE: &str = "openpgp: invalid argument: signing key doesn't have a private key";
/// The largest memory of a passphrase's derivation, as the exponent of its kibibytes: 64 MiB.
const MAX_DERIVATION: u8 = 16;

/// A key, decrypted as far as needed.
pub(super) struct Key {
    key: SignedSecretKey,
}

impl Key {
    pub(super) fn read(armored: &Secret, passphrase: Option<&Secret>) -> Result<Self, KeyFault> {
        let mut key = read_one(armored)?;
        let password = passphrase.map_or_else(Password::empty, |text| text.expose().into());
        let given = passphrase.is_some();
        if is_locked(key.primary_key.secret_params())? {
            unlock(given, || key.primary_key.remove_password(&password))?;
        }
        // IA-GIT-101: upstream leaves an encrypted subkey encrypted, and every commit fails.
        if let Some(Signer::Subkey(fingerprint)) = signer(&key.to_public_key(), now()) {
            let subkey = key
                .secret_subkeys
                .iter_mut()
                .find(|subkey| subkey.key.fingerprint() == fingerprint);
            if let Some(subkey) = subkey
                && is_locked(subkey.key.secret_params())?
            {
                unlock(given, || subkey.key.remove_password(&password))?;
            }
        }
        Ok(Self { key })
    }

    /// IA-GIT-097
    pub(super) fn sign(&self, payload: &[u8]) -> Result<String, SignError> {
        match signer(&self.key.to_public_key(), now()) {
            None => Err(SignError(
                "openpgp: invalid argument: no valid signing keys",
            )),
            Some(Signer::Primary) => sign_with(
                &self.key.primary_key,
                self.key.primary_key.secret_params(),
                payload,
            ),
            Some(Signer::Subkey(fingerprint)) => {
                let mut subkeys = self.key.secret_subkeys.iter();
                let subkey = subkeys.find(|subkey| subkey.key.fingerprint() == fingerprint);
                let subkey = subkey.ok_or(SignError(NOT_PRIVATE))?;
                sign_with(&subkey.key, subkey.key.secret_params(), payload)
            }
        }
    }
}

/// The only key of a ring.
///
/// The errors are fixed texts: the parser's own errors quote the bytes that it could not read.
fn read_one(armored: &Secret) -> Result<SignedSecretKey, KeyFault> {
    let unusable = |text: &str| Err(KeyFault::Unusable(text.to_owned()));
    if armored.expose().len() > MAX_ARMOR {
        return unusable("openpgp: invalid argument: more than 4 MiB");
    }
    let Some(text) = unindented(&armored.expose_text()) else {
        return unusable("openpgp: invalid argument: no armored data found");
    };
    let Ok((keys, _)) = PublicOrSecret::from_armor_many(Cursor::new(text)) else {
        return unusable("openpgp: invalid data: the armored block cannot be read");
    };
    let mut found = None;
    let mut refused = false;
    for key in keys {
        match key {
            Ok(_) if found.is_some() => return Err(KeyFault::Several),
            Ok(key) => found = Some(key),
            Err(_) => refused = true,
        }
    }
    match found {
        Some(PublicOrSecret::Secret(key)) => Ok(key),
        Some(PublicOrSecret::Public(_)) => unusable(NOT_PRIVATE),
        None if refused => unusable("openpgp: invalid data: no key in the armored block is usable"),
        None => unusable("openpgp: invalid argument: no keys found"),
    }
}

/// How the secret part of a key is stored.
#[derive(PartialEq, Eq)]
enum Lock {
    Open,
    Passphrase,
    /// The key is elsewhere, for example on a smart card (GnuPG's stubs).
    Absent,
    /// The passphrase's derivation takes too much memory.
    TooLarge,
}

fn lock(params: &SecretParams) -> Lock {
    let SecretParams::Encrypted(encrypted) = params else {
        return Lock::Open;
    };
    match encrypted.string_to_key_params() {
        S2kParams::Unprotected => Lock::Open,
        S2kParams::LegacyCfb { .. } => Lock::Passphrase,
        S2kParams::Aead { s2k, .. }
        | S2kParams::Cfb { s2k, .. }
        | S2kParams::MalleableCfb { s2k, .. } => match s2k {
            StringToKey::Argon2 { m_enc, .. } if *m_enc > MAX_DERIVATION => Lock::TooLarge,
            StringToKey::Private { .. } | StringToKey::Other { .. } => Lock::Absent,
            _ => Lock::Passphrase,
        },
    }
}

/// Whether the key needs a passphrase.
fn is_locked(params: &SecretParams) -> Result<bool, KeyFault> {
    match lock(params) {
        Lock::Open | Lock::Absent => Ok(false),
        Lock::Passphrase => Ok(true),
        Lock::TooLarge => Err(KeyFault::Unusable(
            "openpgp: unsupported feature: deriving the key from its passphrase takes more than 64 MiB"
                .to_owned(),
        )),
    }
}

fn unlock(given: bool, work: impl FnOnce() -> ::pgp::errors::Result<()>) -> Result<(), KeyFault> {
    if !given {
        return Err(KeyFault::PassphraseRequired);
    }
    work().map_err(|_| {
        KeyFault::WrongPassphrase("openpgp: invalid data: private key checksum failure")
    })
}

fn sign_with(
    key: &impl SigningKey,
    params: &SecretParams,
    payload: &[u8],
) -> Result<String, SignError> {
    match lock(params) {
        Lock::Open => {}
        Lock::Absent => return Err(SignError(NOT_PRIVATE)),
        Lock::Passphrase | Lock::TooLarge => {
            return Err(SignError(
                "openpgp: invalid argument: signing key is encrypted",
            ));
        }
    }
    make(key, payload).map_err(|_| SignError("openpgp: the key cannot sign"))
}

fn make(key: &impl SigningKey, payload: &[u8]) -> ::pgp::errors::Result<String> {
    let hash = match key.hash_alg() {
        HashAlgorithm::Sha384 => HashAlgorithm::Sha384,
        HashAlgorithm::Sha512 => HashAlgorithm::Sha512,
        _ => HashAlgorithm::Sha256,
    };
    let kind = SignatureType::Binary;
    let mut config = if key.version() == KeyVersion::V6 {
        let salt: [u8; 32] = rand::random();
        let salt = salt[..hash.salt_len().unwrap_or_default().min(salt.len())].to_vec();
        SignatureConfig::v6_with_salt(kind, key.algorithm(), hash, salt)
    } else {
        SignatureConfig::v4(kind, key.algorithm(), hash)
    };
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now()))?,
    ];
    if key.version() == KeyVersion::V4 {
        let id = SubpacketData::IssuerKeyId(key.legacy_key_id());
        config.unhashed_subpackets = vec![Subpacket::regular(id)?];
    }
    let signature = config.sign(key, &Password::empty(), payload)?;
    DetachedSignature::new(signature).to_armored_string(ArmorOptions::default())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
}
