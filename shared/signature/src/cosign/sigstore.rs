//! The verification of Sigstore bundles, as sigstore-go does it.

use std::sync::Arc;

use super::bundle::{Bundle, Entry, Proof, Signed, Signer, pre_authentication, statement_names};
use super::rekor::{
    Checkpoint, Content, Kind, is_included, leaf_hash, second_body, verify_promise,
};
use super::trusted_root::{Log, TrustedRoot};
use super::{Error, Trust, Verified};
use crate::key::{Hash, PublicKey, Scheme, Strength};
use crate::x509::Certificate;

/// Verifies a bundle for an artifact with this digest, `algorithm:hex`.
pub(super) fn verify(trust: &Trust, bundle: &Bundle, digest: &str) -> Result<Verified, Error> {
    match (trust, &bundle.signer) {
        (Trust::Keys(_), Signer::Certificate(_)) => Err(Error::NotByKey),
        (Trust::Keyless { .. }, Signer::Key) => Err(Error::NotByCertificate),
        (Trust::Keys(keys), Signer::Key) => {
            let tried = keys
                .iter()
                .map(|key| check_content(bundle, &[(key, Hash::Sha256)], digest));
            let mut why = Error::InvalidSignature;
            for (index, result) in tried.enumerate() {
                match result {
                    Ok(()) => return Ok(Verified::Key { index }),
                    Err(error) => why = error,
                }
            }
            Err(why)
        }
        (Trust::Keyless { root, identities }, Signer::Certificate(certificate)) => {
            let logged = check_entries(root, bundle, certificate)?;
            // The second version of Rekor gives no times: then an authority has to.
            let second = !bundle.entries.is_empty()
                && bundle.entries.iter().all(|entry| entry.integrated == 0);
            let times = if second { stamps(root, bundle) } else { logged };
            let Some(&time) = times.first() else {
                return Err(Error::NoTimestamp);
            };
            let mut chain = Vec::new();
            for at in times {
                chain = root
                    .chain(certificate, at)
                    .ok_or(Error::UntrustedCertificate)?;
            }
            super::check_logged(root, &chain)?;
            let key = certificate.key.as_ref();
            let key = key.map_err(|why| Error::Certificate(why.to_string()))?;
            check_content(bundle, &hashes(key), digest)?;
            if identities.is_empty() {
                return Err(Error::NoIdentities);
            }
            let (issuer, subject) = super::check_identity(identities, certificate)?;
            Ok(Verified::Certificate {
                issuer,
                subject,
                time,
            })
        }
    }
}

/// The hashes that a certificate's key may sign with: the one for its strength, and SHA-256 as older clients did.
fn hashes(key: &PublicKey) -> Vec<(&PublicKey, Hash)> {
    let mut hashes = vec![(key, key.default_hash())];
    if matches!(key.strength(), Strength::P384 | Strength::P521) {
        hashes.push((key, Hash::Sha256));
    }
    hashes
}

/// Verifies the signature with one of the keys, and that it is of the artifact.
fn check_content(bundle: &Bundle, keys: &[(&PublicKey, Hash)], digest: &str) -> Result<(), Error> {
    let (algorithm, hexadecimal) = digest
        .split_once(':')
        .ok_or(Error::Malformed("digest of the artifact"))?;
    match &bundle.signed {
        Signed::Envelope {
            kind,
            payload,
            signatures,
        } => {
            let [signature] = &**signatures else {
                return Err(Error::SignatureCount);
            };
            let content = pre_authentication(kind, payload);
            let by = |(key, hash): &(&PublicKey, Hash)| {
                key.verifies(key.default_scheme(*hash), &content, signature)
            };
            if !keys.iter().any(by) {
                return Err(Error::InvalidSignature);
            }
            match statement_names(kind, payload, algorithm, hexadecimal) {
                Some(true) => Ok(()),
                Some(false) => Err(Error::OtherArtifact),
                None => Err(Error::Malformed("statement")),
            }
        }
        Signed::Message {
            digest: signed,
            signature,
            ..
        } => {
            if hex::encode(signed) != hexadecimal {
                return Err(Error::OtherArtifact);
            }
            // The signature is over the digest of the artifact, so that its length says the hash.
            let by = |(key, hash): &(&PublicKey, Hash)| {
                let scheme = key.default_scheme(*hash);
                let fits = signed.len() == hash.digest(&[]).len();
                fits && scheme != Scheme::Ed25519 && key.verifies_digest(scheme, signed, signature)
            };
            if keys.iter().any(by) {
                Ok(())
            } else {
                Err(Error::InvalidSignature)
            }
        }
    }
}

/// Verifies the entries of known logs, of which there has to be one. Returns the times at which logs promised to include
/// the signature.
fn check_entries(
    root: &TrustedRoot,
    bundle: &Bundle,
    certificate: &Arc<Certificate>,
) -> Result<Vec<i64>, Error> {
    for (at, entry) in bundle.entries.iter().enumerate() {
        let same = |other: &Entry| other.log_id == entry.log_id && other.index == entry.index;
        if bundle.entries.iter().skip(at + 1).any(same) {
            return Err(Error::DuplicateEntries);
        }
    }
    let mut verified = false;
    let mut times: Vec<(&[u8], i64)> = Vec::new();
    for entry in &bundle.entries {
        let Some(log) = root.rekor(&entry.log_id) else {
            continue;
        };
        let second = entry.content == Content::Second;
        if entry.promise.is_none() && entry.proof.is_none() || second && entry.proof.is_none() {
            return Err(Error::NoProof);
        }
        if let Some(promise) = &entry.promise {
            let (index, at) = (entry.index, entry.integrated);
            let good =
                !second && verify_promise(log, &entry.log_id, &entry.body, index, at, promise);
            if !good {
                continue;
            }
        }
        if let Some(proof) = &entry.proof {
            check_proof(log, bundle, entry, proof, certificate)?;
        }
        if let Content::First(body) = &entry.content {
            check_body(body, bundle, certificate)?;
        }
        let within = certificate.not_before..=certificate.not_after;
        if entry.integrated != 0 && !within.contains(&entry.integrated) {
            return Err(Error::OutsideValidity);
        }
        verified = true;
        if entry.promise.is_some() && !times.iter().any(|(log, _)| *log == entry.log_id) {
            times.push((&entry.log_id, entry.integrated));
        }
    }
    if !verified {
        return Err(Error::NotLogged);
    }
    Ok(times.into_iter().map(|(_, time)| time).collect())
}

/// Verifies that an entry is in the tree of a checkpoint that the log signed.
fn check_proof(
    log: &Log,
    bundle: &Bundle,
    entry: &Entry,
    proof: &Proof,
    certificate: &Certificate,
) -> Result<(), Error> {
    let checkpoint = Checkpoint::parse(&proof.checkpoint).ok_or(Error::Malformed("checkpoint"))?;
    let number = |number: i64| u64::try_from(number).map_err(|_| Error::Inclusion);
    let hashes: Vec<&[u8]> = proof.hashes.iter().map(Vec::as_slice).collect();
    if checkpoint.is_first_version() {
        let leaf = leaf_hash(&entry.body);
        let (index, size) = (number(proof.index)?, number(proof.size)?);
        if !is_included(&leaf, index, size, &hashes, &proof.root) {
            return Err(Error::Inclusion);
        }
        if !checkpoint.is_signed_by(&log.key) || checkpoint.root != proof.root {
            return Err(Error::Checkpoint);
        }
        return Ok(());
    }
    if !checkpoint.is_of_log(log) {
        return Err(Error::Checkpoint);
    }
    // The entry is made again from the signature, so that it cannot be of another.
    let key = certificate.key.as_ref();
    let key = key.map_err(|why| Error::Certificate(why.to_string()))?;
    let digest_of = |hash: Hash| match &bundle.signed {
        Signed::Envelope { kind, payload, .. } => hash.digest(&pre_authentication(kind, payload)),
        Signed::Message { digest, .. } => digest.clone(),
    };
    let body = second_body(digest_of, bundle.signature(), &certificate.der, key);
    let leaf = leaf_hash(&body.ok_or(Error::Inclusion)?);
    let index = number(entry.index)?;
    if is_included(&leaf, index, checkpoint.size, &hashes, &checkpoint.root) {
        Ok(())
    } else {
        Err(Error::Inclusion)
    }
}

/// Whether an entry is of the bundle's signature, certificate and content.
fn check_body(
    body: &super::rekor::Body,
    bundle: &Bundle,
    certificate: &Certificate,
) -> Result<(), Error> {
    if body.signature != bundle.signature() {
        return Err(Error::EntryMismatch(
            "transparency log signature does not match",
        ));
    }
    if body.verifier_der().as_deref() != Some(&certificate.der) {
        return Err(Error::EntryMismatch(
            "transparency log certificate does not match",
        ));
    }
    let same = match &bundle.signed {
        Signed::Envelope { payload, .. } => {
            body.kind != Kind::HashedRekord
                && body.hash == hex::encode(Hash::Sha256.digest(payload))
        }
        Signed::Message {
            algorithm, digest, ..
        } => {
            let same = matches!(
                (&**algorithm, &*body.algorithm),
                ("SHA2_256", "sha256") | ("SHA2_384", "sha384") | ("SHA2_512", "sha512")
            );
            same && body.kind == Kind::HashedRekord && body.hash == hex::encode(digest)
        }
    };
    if same {
        Ok(())
    } else {
        Err(Error::EntryMismatch(
            "transparency log entry is of other content",
        ))
    }
}

/// The times that trusted authorities gave to the signature, one of each.
fn stamps(root: &TrustedRoot, bundle: &Bundle) -> Vec<i64> {
    let mut found: Vec<(&str, i64)> = Vec::new();
    for response in &bundle.timestamps {
        if let Some((stamp, authority)) = root.stamp(response, bundle.signature())
            && !found.iter().any(|(known, _)| *known == authority)
        {
            found.push((authority, stamp.time));
        }
    }
    found.into_iter().map(|(_, time)| time).collect()
}
