//! Verifies signatures of OCI artifacts as source-controller's libraries do: cosign (keys, Sigstore bundles, keyless) and
//! notation.
//!
//! ```
//! use std::sync::Arc;
//!
//! use flux_signature::cosign::{Candidate, Identity, TrustedRoot, Verifier};
//!
//! // What an OCIRepository trusts: Sigstore's public instance, and the releases of one repository.
//! let identity = Identity::new(
//!     r"^https://token\.actions\.githubusercontent\.com$",
//!     r"^https://github\.com/stefanprodan/podinfo.*$",
//! )
//! .unwrap();
//! let verifier = Verifier::keyless(TrustedRoot::public_good(), vec![identity]);
//!
//! // What its registry has: the caller fetches bundles, and without any the older layout.
//! let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
//! let found = Candidate::Bundles(&[]);
//! let now = jiff::Timestamp::UNIX_EPOCH;
//! let error = verifier.verify(&found, digest, now).unwrap_err();
//! assert_eq!(error.to_string(), "no signatures found");
//! ```
//!
//! # Entry points
//!
//! | to | use |
//! |---|---|
//! | verify with public keys | [`cosign::Verifier::keyed`] |
//! | verify identities of Sigstore | [`cosign::Verifier::keyless`] with [`cosign::TrustedRoot`] and [`cosign::Identity`] |
//! | find a signature's blobs in a registry | [`cosign::signature_tag`], [`cosign::signatures`], [`cosign::bundle_blob`] |
//! | verify by a notation trust policy | [`notation::Policy::parse`], [`notation::Verifier`] |
//! | tell whether verification material has changed | `fingerprint` of a verifier, [`Fingerprint`] |
//!
//! # What is never asked
//!
//! The crate has no clock, disk or network: the time is an argument, and revocation comes back as
//! [`notation::Outcome::Needs`]. cosign's signatures are verified offline, with the proofs that they carry.
//!
//! # Bad input
//!
//! Everything that is read has a bound on its size, its depth and the number of its parts; nothing panics. Errors have no
//! content of keys, trusted roots and policies, and from signatures only what the texts of the original have, cut off.
//!
//! # Conformance
//!
//! `tests/cosign.rs` and `tests/notation.rs` verify signatures made by the real cosign and notation, whole and tampered
//! with, and compare each verdict with that of the real verifiers.

#![forbid(unsafe_code)]

pub mod cosign;
pub mod notation;

mod fingerprint;
mod json;
mod key;
mod pem;
mod protojson;
mod text;
mod time;
mod tsp;
mod x509;

pub use fingerprint::Fingerprint;
pub use key::{KeyError, PublicKey};
