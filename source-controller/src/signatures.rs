//! Verifies the signatures of artifacts in OCI registries: those of OCIRepositories and of charts.

mod cosign;
mod material;
mod notation;

use bytes::Bytes;
use flux_api::source::OCIVerificationProvider;
use flux_budget::{Budget, Claim};
use flux_oci::{Client, Descriptor, Digest, ManifestContent};
use flux_signature::KeyError;
use flux_signature::cosign::{IdentityError, ManifestError, TrustedRootError};
use flux_signature::notation::PolicyError;

pub(crate) use self::material::{Material, Trust};
use crate::secrets::SecretReadError;

/// What is verified, and how its registry is reached (SC-VER-038).
pub(crate) struct Artifact<'a> {
    pub(crate) client: &'a Client,
    /// The memory for signatures.
    pub(crate) budget: &'a Budget,
    /// The digest of the manifest or index: what was signed, and what is pulled (SC-VER-040).
    pub(crate) digest: &'a Digest,
    /// The repository with the digest.
    pub(crate) reference: &'a str,
}

impl Artifact<'_> {
    /// A manifest of the same repository.
    async fn manifest(&self, digest: &Digest) -> Result<ManifestContent, flux_oci::Error> {
        let reference = self.client.repository().at(digest.clone());
        self.client.manifest(&reference).await
    }

    /// A blob of at most `limit` bytes.
    async fn blob(
        &self,
        descriptor: &Descriptor,
        limit: u64,
        claim: &Claim,
    ) -> Result<Bytes, flux_oci::Error> {
        let blob = self.client.blob(descriptor).await?;
        Ok(blob.read(limit, claim).await?)
    }
}

/// Why an artifact is not verified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignatureFault {
    #[error("context deadline exceeded")]
    Timeout,
    #[error(transparent)]
    Registry(#[from] flux_oci::Error),
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
    #[error("unsupported verification provider '{0}'")]
    Provider(String),
    #[error(transparent)]
    Secret(SecretReadError),

    #[error("failed to read trusted root from secret '{secret}'")]
    TrustedRootSecret {
        secret: String,
        #[source]
        source: TrustedRootFault,
    },
    #[error("unable to parse trusted root")]
    TrustedRoot(#[source] TrustedRootError),
    #[error("unable to extract Rekor URL from trusted root")]
    RekorUrl(#[source] TrustedRootError),
    #[error("no public keys found in secret '{0}'")]
    NoKeys(String),
    #[error(transparent)]
    Key(KeyError),
    #[error(transparent)]
    Identity(IdentityError),
    #[error("more than {0} identities")]
    Identities(usize),
    #[error(transparent)]
    Signatures(ManifestError),
    #[error("no matching signatures were found for '{0}'")]
    NoMatch(String),
    #[error(transparent)]
    Cosign(flux_signature::cosign::Error),

    #[error("verification secret cannot be empty: '{0}'")]
    NoSecret(String),
    #[error("'{key}' not found in secret '{secret}'")]
    KeyMissing { key: &'static str, secret: String },
    #[error("no certificates found in secret '{0}'")]
    NoCertificates(String),
    #[error(transparent)]
    Policy(PolicyError),
    #[error(
        "unable to retrieve digital signature with digest \"{digest}\" associated with \"{reference}\" from the Repository, error : {why}"
    )]
    Retrieval {
        digest: String,
        reference: String,
        why: String,
    },
    #[error("the certificates of the signatures need more than {0} requests about revocation")]
    Revocations(usize),
    #[error(transparent)]
    Notation(flux_signature::notation::Error),
}

/// Why there is no trusted root.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustedRootFault {
    #[error(transparent)]
    Read(SecretReadError),
    #[error("'{key}' not found in secret '{secret}'")]
    Missing { key: &'static str, secret: String },
}

/// The name of the provider in messages (SC-OCI-082, SC-HCHART-096).
pub(crate) fn provider(provider: &OCIVerificationProvider, has_secret: bool) -> String {
    let provider = provider.to_string();
    if provider == "cosign" && !has_secret {
        return format!("{provider} keyless");
    }
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-OCI-082
    #[test]
    fn providers_in_messages() {
        for (name, secret, expected) in [
            (OCIVerificationProvider::Cosign, true, "cosign"),
            (OCIVerificationProvider::Cosign, false, "cosign keyless"),
            (OCIVerificationProvider::Notation, true, "notation"),
            (OCIVerificationProvider::Notation, false, "notation"),
        ] {
            assert_eq!(provider(&name, secret), expected);
        }
    }
}
