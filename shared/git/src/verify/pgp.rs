//! OpenPGP signatures: packets and arithmetic by rPGP, and the validation policy, which rPGP leaves to its users.
//!
//! A signature is valid if it is binary or text, made with SHA-2 or SHA-3, neither in the future nor expired, by the
//! primary key or a bound subkey that may sign, and neither the key nor the certifying user id is expired or revoked.

use std::io::Cursor;

use ::pgp::composed::{
    Deserializable as _, DetachedSignature, PublicOrSecret, SignedPublicKey, SignedPublicSubKey,
};
use ::pgp::crypto::hash::HashAlgorithm;
use ::pgp::packet::{Signature, SignatureType, SubpacketData};
use ::pgp::types::{Fingerprint, KeyDetails, Tag};

use super::SignatureError;

pub(crate) use super::MAX_ARMOR;

#[cfg(test)]
mod tests;

/// Verifies an armored detached signature at a time (seconds since 1970) and returns the primary key's id.
pub(crate) fn verify(
    signature: &str,
    payload: &[u8],
    rings: &[String],
    now: u64,
) -> Result<String, SignatureError> {
    if payload.is_empty() {
        return Err(SignatureError::PayloadEmpty);
    }
    let signatures = read_signatures(signature);
    let mut unreadable = None;
    let mut attempted = false;
    for ring in rings {
        let keys = match read_ring(ring) {
            Ok(keys) => keys,
            Err(reason) => {
                unreadable.get_or_insert(reason);
                continue;
            }
        };
        attempted = true;
        for signature in &signatures {
            let signer = keys
                .iter()
                .find(|key| made_by(key, signature, payload, now));
            if let Some(signer) = signer {
                return Ok(signer
                    .primary_key
                    .legacy_key_id()
                    .to_string()
                    .to_uppercase());
            }
        }
    }
    match unreadable {
        Some(reason) if !attempted => Err(SignatureError::KeyRing(reason)),
        _ => Err(SignatureError::NoMatchingPgpKey),
    }
}

fn read_signatures(armored: &str) -> Vec<Signature> {
    if armored.len() > MAX_ARMOR {
        return Vec::new();
    }
    let Ok((signatures, _)) = DetachedSignature::from_armor_many(Cursor::new(armored)) else {
        return Vec::new();
    };
    signatures
        .map_while(Result::ok)
        .map(|signature| signature.signature)
        .collect()
}

/// The keys of a ring; unsupported keys are skipped if at least one is supported. A private key counts as its public
/// key, as in Go.
///
/// The errors are fixed texts: the parser's own errors quote the bytes that it could not read, which may be part of a
/// private key.
fn read_ring(armored: &str) -> Result<Vec<SignedPublicKey>, &'static str> {
    if armored.len() > MAX_ARMOR {
        return Err("openpgp: invalid argument: more than 4 MiB");
    }
    let Some(armored) = unindented(armored) else {
        return Err("openpgp: invalid argument: no armored data found");
    };
    let Ok((keys, _)) = PublicOrSecret::from_armor_many(Cursor::new(armored)) else {
        return Err("openpgp: invalid data: the armored block cannot be read");
    };
    let mut usable = Vec::new();
    let mut refused = false;
    for key in keys {
        match key {
            Ok(PublicOrSecret::Public(key)) => usable.push(key),
            Ok(PublicOrSecret::Secret(key)) => usable.push(key.to_public_key()),
            Err(_) => refused = true,
        }
    }
    match (usable.is_empty(), refused) {
        (false, _) => Ok(usable),
        (true, true) => Err("openpgp: invalid data: no key in the armored block is usable"),
        (true, false) => Err("openpgp: invalid argument: no keys found"),
    }
}

/// The text from its first armor header line on, with white space at both ends of each line removed: Go's reader
/// ignores it, and keys are often indented with the YAML that they were pasted into.
pub(crate) fn unindented(armored: &str) -> Option<String> {
    let lines = armored.lines().map(str::trim);
    let mut lines = lines.skip_while(|line| !line.starts_with("-----BEGIN PGP "));
    let mut text = lines.next()?.to_owned();
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    text.push('\n');
    Some(text)
}

/// The part of a key that signs.
pub(crate) enum Signer {
    /// The primary key.
    Primary,
    /// The subkey with this fingerprint.
    Subkey(Fingerprint),
}

/// What a key signs with, as in Go: its newest subkey that may sign, else the primary key if it may; `None` for a key that is
/// expired or revoked, or may not sign.
pub(crate) fn signer(key: &SignedPublicKey, now: u64) -> Option<Signer> {
    let vouching = valid_self_signature(key, now)?;
    let newest = key
        .public_subkeys
        .iter()
        .filter(|subkey| may_sign(key, subkey, now))
        .max_by_key(|subkey| subkey.key.created_at().as_secs());
    match newest {
        Some(subkey) => Some(Signer::Subkey(subkey.key.fingerprint())),
        None => vouching.key_flags().sign().then_some(Signer::Primary),
    }
}

/// The self-signature of a key that is neither expired nor revoked.
fn valid_self_signature(key: &SignedPublicKey, now: u64) -> Option<&Signature> {
    let vouching = primary_self_signature(key, now)?;
    let primary = &key.primary_key;
    let revoked = key
        .details
        .revocation_signatures
        .iter()
        .any(|revocation| revocation.verify_key(primary).is_ok());
    (!revoked && !is_expired(primary, vouching, now)).then_some(vouching)
}

/// Whether the key or one of its subkeys made the signature and was allowed to.
fn made_by(key: &SignedPublicKey, signature: &Signature, payload: &[u8], now: u64) -> bool {
    if !is_usable(signature, now) || !is_strong(signature) {
        return false;
    }
    let Some(vouching) = valid_self_signature(key, now) else {
        return false;
    };
    let primary = &key.primary_key;
    if vouching.key_flags().sign() && signature.verify(primary, payload).is_ok() {
        return true;
    }
    key.public_subkeys
        .iter()
        .any(|subkey| may_sign(key, subkey, now) && signature.verify(&subkey.key, payload).is_ok())
}

/// Whether the hash is collision-resistant. SHA-1 signatures over content that others may shape are rejected, as are
/// MD5 and RIPEMD.
fn is_strong(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha224
                | HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    ) && matches!(
        signature.typ(),
        Some(SignatureType::Binary | SignatureType::Text)
    )
}

/// Whether the signature is made before `now`, not expired, and without an unknown critical notation.
fn is_usable(signature: &Signature, now: u64) -> bool {
    let Some(created) = signature
        .created()
        .map(|created| u64::from(created.as_secs()))
    else {
        return false;
    };
    let lifetime = signature
        .signature_expiration_time()
        .map_or(0, |lifetime| u64::from(lifetime.as_secs()));
    let notation = signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| {
            subpacket.is_critical && matches!(subpacket.data, SubpacketData::Notation(_))
        })
    });
    created <= now && (lifetime == 0 || created + lifetime > now) && !notation
}

/// Whether a key is not yet or no longer valid, by the lifetime in its self-signature.
fn is_expired(key: &impl KeyDetails, vouching: &Signature, now: u64) -> bool {
    let created = u64::from(key.created_at().as_secs());
    let lifetime = vouching
        .key_expiration_time()
        .map_or(0, |lifetime| u64::from(lifetime.as_secs()));
    created > now || (lifetime != 0 && created + lifetime <= now)
}

fn is_self_certification(signature: &Signature) -> bool {
    matches!(
        signature.typ(),
        Some(
            SignatureType::CertGeneric
                | SignatureType::CertPersona
                | SignatureType::CertCasual
                | SignatureType::CertPositive
        )
    )
}

/// The self-signature of the primary user id: the one marked as primary, otherwise the newest; revoked ones do not
/// count. A key without user ids is certified by its direct signature.
fn primary_self_signature(key: &SignedPublicKey, now: u64) -> Option<&Signature> {
    let primary = &key.primary_key;
    let mut best: Option<&Signature> = None;
    for user in &key.details.users {
        let good = |signature: &&Signature| {
            signature
                .verify_certification(primary, Tag::UserId, &user.id)
                .is_ok()
        };
        let revoked = user
            .signatures
            .iter()
            .filter(|signature| signature.typ() == Some(SignatureType::CertRevocation))
            .any(|signature| good(&signature));
        if revoked {
            continue;
        }
        let newest = user
            .signatures
            .iter()
            .filter(|signature| is_self_certification(signature))
            .filter(good)
            .max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs));
        let Some(newest) = newest else { continue };
        let rank = |signature: &Signature| {
            (
                signature.is_primary(),
                signature.created().map(pgp::types::Timestamp::as_secs),
            )
        };
        if best.is_none_or(|best| rank(newest) > rank(best)) {
            best = Some(newest);
        }
    }
    if key.details.users.is_empty() {
        best = key
            .details
            .direct_signatures
            .iter()
            .filter(|signature| {
                signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
            })
            .max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs));
    }
    best.filter(|signature| is_usable(signature, now))
}

/// Whether a subkey is bound by the primary key and has a back signature, may sign, and is neither expired nor revoked.
fn may_sign(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: u64) -> bool {
    let primary = &key.primary_key;
    let bound = |signature: &&Signature| {
        signature
            .verify_subkey_binding(primary, &subkey.key)
            .is_ok()
    };
    let of_type = |kind| move |signature: &&Signature| signature.typ() == Some(kind);
    let revocation = of_type(SignatureType::SubkeyRevocation);
    if subkey
        .signatures
        .iter()
        .filter(revocation)
        .any(|signature| bound(&signature))
    {
        return false;
    }
    let newest = subkey
        .signatures
        .iter()
        .filter(of_type(SignatureType::SubkeyBinding))
        .filter(bound)
        .max_by_key(|signature| signature.created().map(pgp::types::Timestamp::as_secs));
    let Some(binding) = newest else { return false };
    binding.key_flags().sign()
        && is_usable(binding, now)
        && !is_expired(&subkey.key, binding, now)
        && binding.embedded_signature().is_some_and(|back| {
            is_usable(back, now)
                && back
                    .verify_primary_key_binding(&subkey.key, primary)
                    .is_ok()
        })
}
