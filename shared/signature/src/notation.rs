//! Signatures by notation (Notary Project): a trust policy, signature envelopes, certificate chains, timestamps and
//! revocation (SC-VER-050 to SC-VER-058).
//!
//! ```
//! use flux_signature::notation::{Artifact, Outcome, Policy, Responses, Verifier};
//!
//! let policy = br#"{"version": "1.0", "trustPolicies": [{
//!     "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "skip"}}]}"#;
//! let verifier = Verifier::new(Policy::parse(policy).unwrap(), [&b""[..]]);
//! let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
//! let artifact = Artifact {
//!     reference: format!("registry.example.com/app@{digest}"),
//!     media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
//!     digest: digest.to_owned(),
//!     size: 528,
//! };
//! let now = jiff::Timestamp::UNIX_EPOCH;
//! let outcome = verifier.verify(&artifact, &[], &Responses::new(), now).unwrap();
//! assert_eq!(outcome, Outcome::Ignored(Vec::new()));
//! ```

mod cbor;
mod certificates;
mod cose;
mod crl;
mod distinguished;
mod jws;
mod ocsp;
mod policy;
mod revocation;
mod signer;
mod verifier;

pub use policy::{Policy, PolicyError};
pub use revocation::{Request, Responses};
pub use verifier::{Artifact, Check, Error, Failure, Outcome, Signature, Verifier};
