//! Signatures by cosign: with keys or keyless, in the older layout or as Sigstore bundles (SC-VER-030 to SC-VER-043).
//!
//! The caller looks for bundles among the referrers of the artifact first, and without any for the image at
//! [`signature_tag`] (SC-VER-037):
//!
//! ```
//! use flux_signature::cosign::{Candidate, Error, Verifier};
//!
//! let pem = b"-----BEGIN PUBLIC KEY-----
//! MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
//! 6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
//! -----END PUBLIC KEY-----";
//! let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
//! let verifier = Verifier::keyed([&pem[..]]).unwrap();
//! let nothing = Candidate::Layers(&[]);
//! let now = jiff::Timestamp::UNIX_EPOCH;
//! assert_eq!(verifier.verify(&nothing, digest, now), Err(Error::NoSignatures));
//! ```

mod bundle;
mod classic;
mod identity;
mod manifest;
mod rekor;
mod sigstore;
mod trusted_root;

use std::sync::Arc;

pub use bundle::{Bundle, BundleError};
pub use classic::Layer;
pub use identity::{Identity, IdentityError};
use jiff::Timestamp;
pub use manifest::{Blob, ManifestError, bundle_blob, is_bundle, signature_tag, signatures};
pub use trusted_root::{TrustedRoot, TrustedRootError};

use crate::fingerprint::Fingerprint;
use crate::key::{KeyError, PublicKey};
use crate::text::{cut, cut_all};
use crate::x509::{Certificate, scts, signed_by_log};

/// The maximum number of signatures of an artifact that are looked at.
const MAX_SIGNATURES: usize = 256;

/// Why an artifact is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no signatures at all.
    #[error("no signatures found")]
    NoSignatures,
    /// There are signatures, but none verifies; why each of them does not.
    #[error("no matching signatures: {}", texts(.0))]
    NoMatchingSignatures(Vec<Error>),
    /// There are bundles, but none verifies; why each of them does not.
    #[error("no matching attestations: {}", texts(.0))]
    NoMatchingBundles(Vec<Error>),
    /// The signature is not by the key.
    #[error("invalid signature when validating ASN.1 encoded signature")]
    InvalidSignature,
    /// The signature is of another image, whose digest is in the payload.
    #[error("invalid or missing digest in claim: {0}")]
    Claim(String),
    /// The statement is of another artifact.
    #[error(
        "failed to verify signature: provided artifact digest does not match any digest in statement"
    )]
    OtherArtifact,
    /// A part cannot be read.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A part is larger than a real one can be.
    #[error("signature is too large")]
    TooLarge,
    /// The certificate cannot be read or used.
    #[error("invalid certificate found on signature: {0}")]
    Certificate(String),
    /// A keyless signature without a certificate.
    #[error("no certificate found on signature")]
    NoCertificate,
    /// A key is expected, but the bundle is signed with a certificate.
    #[error("expected key signature, not certificate")]
    NotByKey,
    /// An identity is expected, but the bundle is signed with a key.
    #[error("can't verify certificate identities: entity was not signed with a certificate")]
    NotByCertificate,
    /// The certificate does not lead to a trusted authority, or did not at the time of the signature.
    #[error("failed to verify leaf certificate: leaf certificate verification failed")]
    UntrustedCertificate,
    /// The certificate is in no certificate log that is trusted.
    #[error("only able to verify 0 SCT entries; unable to meet threshold of 1")]
    NotInCertificateLog,
    /// The certificate has no timestamp of a log at all.
    #[error("certificate does not include required embedded SCT and no detached SCT was set")]
    NoSct,
    /// Another identity. Of many or long names the beginning is shown.
    #[error(
        "none of the expected identities matched what was in the certificate, got subjects [{}] with issuer {issuer}",
        .subjects.join(", ")
    )]
    Identity {
        /// The names in the certificate.
        subjects: Vec<String>,
        /// Who vouched for them.
        issuer: String,
    },
    /// A bundle is not verified without an identity, as upstream.
    #[error("can't verify certificate identities: no identities provided")]
    NoIdentities,
    /// No entry of a trusted transparency log. Upstream would ask Rekor for entries of the older layout.
    #[error("not enough verified log entries from transparency log: 0 < 1")]
    NotLogged,
    /// The log of an entry is not in the trusted root.
    #[error("rekor log public key not found for payload")]
    UnknownLog,
    /// The log's promise does not verify, or its key was not valid at that time.
    #[error("unable to verify SET")]
    Promise,
    /// An entry has neither a promise nor a proof.
    #[error("entry must contain an inclusion proof and/or promise")]
    NoProof,
    /// An entry is not in the tree of its checkpoint.
    #[error("failed to verify log inclusion: calculated root does not match expected root")]
    Inclusion,
    /// The log did not sign the checkpoint.
    #[error("failed to verify log inclusion: signature on checkpoint did not verify")]
    Checkpoint,
    /// An entry is of something else.
    #[error("{0}")]
    EntryMismatch(&'static str),
    /// The same entry twice.
    #[error("duplicate tlog entries found")]
    DuplicateEntries,
    /// The certificate was not valid when the entry was made.
    #[error("integrated time outside certificate validity")]
    OutsideValidity,
    /// Nothing says when the signature was made.
    #[error("expected a signed timestamp to verify an expired certificate")]
    NoTimestamp,
    /// An envelope has no signature, or several.
    #[error("exactly one signature is required")]
    SignatureCount,
    /// A certificate had expired when the signature was made.
    #[error("{what} expired before observed time: {limit} is before {observed}")]
    Expired {
        /// The certificate, or one that issued it.
        what: &'static str,
        /// Its end.
        limit: String,
        /// The time of the signature.
        observed: String,
    },
    /// A certificate was not valid yet when the signature was made.
    #[error("{what} was issued after observed time: {limit} is after {observed}")]
    NotYetValid {
        /// The certificate, or one that issued it.
        what: &'static str,
        /// Its beginning.
        limit: String,
        /// The time of the signature.
        observed: String,
    },
}

fn texts(errors: &[Error]) -> String {
    let texts: Vec<String> = errors.iter().map(Error::to_string).collect();
    cut_all(&texts).join("\n ")
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// One of the keys, by its place among them.
    Key {
        /// The place, from zero.
        index: usize,
    },
    /// An identity, at a time that a log or a timestamp authority vouches for.
    Certificate {
        /// The provider that the signer logged in with.
        issuer: String,
        /// The names in the certificate.
        subject: Vec<String>,
        /// Seconds since 1970.
        time: i64,
    },
}

/// What may verify an artifact.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    /// Bundles among the referrers. Those that [`Bundle::parse`] refuses are left out, as upstream does.
    Bundles(&'a [Bundle]),
    /// The layers of the image at [`signature_tag`].
    Layers(&'a [Layer]),
}

#[derive(Debug)]
enum Trust {
    Keys(Vec<PublicKey>),
    Keyless {
        root: Arc<TrustedRoot>,
        identities: Vec<Identity>,
    },
}

/// Verifies what an OCI artifact is signed with.
#[derive(Debug)]
pub struct Verifier {
    trust: Trust,
}

impl Verifier {
    /// Trusts public keys, PEM: one that verifies suffices (SC-VER-031). Transparency logs are ignored (SC-VER-030).
    ///
    /// # Errors
    /// A malformed key fails the whole verification, as upstream.
    pub fn keyed<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, KeyError> {
        let keys = keys.into_iter().map(PublicKey::from_pem);
        let trust = Trust::Keys(keys.collect::<Result<_, _>>()?);
        Ok(Self { trust })
    }

    /// Trusts certificates of a trusted root's authorities for one of the identities (SC-VER-034). Without identities the
    /// older layout accepts any; bundles are refused, as upstream.
    pub fn keyless(root: Arc<TrustedRoot>, identities: Vec<Identity>) -> Self {
        let trust = Trust::Keyless { root, identities };
        Self { trust }
    }

    /// Verifies an artifact with this digest (`sha256:…`): whether one of its signatures is good. Everything else, such as
    /// an entry of a transparency log, is in the candidate: nothing is asked of the network.
    ///
    /// `now` matters only for a certificate that goes with a key's signature; keyless certificates are verified at the time
    /// that a log vouches for.
    ///
    /// # Errors
    /// Why no signature is good.
    pub fn verify(
        &self,
        candidate: &Candidate<'_>,
        digest: &str,
        now: Timestamp,
    ) -> Result<Verified, Error> {
        let mut why = Vec::new();
        let tried: Box<dyn Iterator<Item = Result<Verified, Error>>> = match candidate {
            Candidate::Bundles(bundles) => Box::new(
                bundles
                    .iter()
                    .map(|bundle| sigstore::verify(&self.trust, bundle, digest)),
            ),
            Candidate::Layers(layers) => Box::new(
                layers
                    .iter()
                    .map(|layer| classic::verify(&self.trust, layer, digest, now.as_second())),
            ),
        };
        for result in tried.take(MAX_SIGNATURES) {
            match result {
                Ok(verified) => return Ok(verified),
                Err(error) => why.push(error),
            }
        }
        Err(match candidate {
            _ if why.is_empty() => Error::NoSignatures,
            Candidate::Bundles(_) => Error::NoMatchingBundles(why),
            Candidate::Layers(_) => Error::NoMatchingSignatures(why),
        })
    }

    /// The fingerprint of the keys, or of the trusted root (SC-VER-060). Identities are part of the object's spec, whose
    /// change makes it be verified again anyway.
    pub fn fingerprint(&self) -> String {
        match &self.trust {
            Trust::Keys(keys) => keys
                .iter()
                .fold(Fingerprint::new("cosign"), |all, key| {
                    all.with("key", key.info())
                })
                .finish(),
            Trust::Keyless { root, .. } => Fingerprint::new("cosign")
                .with("root", root.digest())
                .finish(),
        }
    }
}

/// Whether the certificate is of one of the identities, or no identity is asked for. Returns its issuer and its names.
fn check_identity(
    identities: &[Identity],
    certificate: &Certificate,
) -> Result<(String, Vec<String>), Error> {
    let issuer = identity::issuer(certificate);
    let subjects = certificate.names.clone();
    let known = |identity: &Identity| identity.matches(&issuer, &subjects);
    if identities.is_empty() || identities.iter().any(known) {
        return Ok((issuer, subjects));
    }
    Err(Error::Identity {
        subjects: cut_all(&subjects),
        issuer: cut(&issuer),
    })
}

/// Whether a trusted certificate log has seen the certificate of a chain, while its key was valid.
fn check_logged(root: &TrustedRoot, chain: &[Arc<Certificate>]) -> Result<(), Error> {
    let [certificate, issuer, ..] = chain else {
        return Err(Error::NotInCertificateLog);
    };
    let found = scts(certificate).ok_or(Error::Malformed("SCT list"))?;
    if found.is_empty() {
        return Err(Error::NoSct);
    }
    let good = found.iter().any(|sct| {
        let at = i64::try_from(sct.timestamp / 1000).unwrap_or(i64::MAX);
        root.certificate_log(sct.log).is_some_and(|log| {
            log.is_valid_at(at) && signed_by_log(sct, certificate, issuer, &log.key)
        })
    });
    if good {
        Ok(())
    } else {
        Err(Error::NotInCertificateLog)
    }
}
