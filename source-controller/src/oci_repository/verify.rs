//! Verifies the signatures of an artifact, before any content is pulled.

mod cosign;
mod material;
mod notation;

use std::time::Duration;

use bytes::Bytes;
use flux_api::source::{OCIRepository, OCIRepositoryStatus, OCIRepositoryVerification};
use flux_budget::{Budget, Claim};
use flux_oci::{Client, Descriptor, Digest, ManifestContent};
use flux_publish::SOURCE_VERIFIED;
use flux_runtime::Run;
use flux_runtime::conditions::{Conditions, SUCCEEDED, Status};

use self::material::Material;
use super::failure::StepError;
use super::version::Version;
use crate::secrets::Secrets;

/// What is verified, and how its registry is reached (SC-VER-038).
struct Artifact<'a> {
    client: &'a Client,
    /// The memory for signatures.
    budget: &'a Budget,
    /// The digest of the manifest or index: what was signed, and what is pulled (SC-VER-040).
    digest: &'a Digest,
    /// The repository with the digest.
    reference: &'a str,
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

/// Verifies the signatures that the spec asks for within `limit`, unless that was done before for the same version, spec and
/// trusted material, and records the result in the status (SC-OCI-080 to SC-OCI-084, SC-VER-060, SC-VER-061).
pub(super) async fn signatures(
    run: &mut Run<OCIRepository>,
    secrets: &Secrets,
    budget: &Budget,
    client: &Client,
    version: &Version,
    limit: Duration,
) -> Result<(), StepError> {
    // It returns only after a success.
    let last = run.status.source_verification_fingerprint.take();
    let object = run.object().clone();
    let Some(verify) = &object.spec.verify else {
        run.conditions.remove(SOURCE_VERIFIED);
        return Ok(());
    };
    let failed = |source| StepError::Signature {
        provider: provider(verify),
        source: Box::new(source),
    };
    let reference = client.repository().at(version.digest.clone()).to_string();
    let material = Material::read(verify, run.namespace(), secrets, &reference);
    let material = material.await.map_err(failed)?;
    let fingerprint = material.fingerprint();
    let revision = version.revision();
    let generation = object.metadata.generation;
    if last.as_ref() == Some(&fingerprint)
        && !is_due(&run.status, &run.conditions, generation, &revision)
    {
        run.status.source_verification_fingerprint = last;
        return Ok(());
    }
    let artifact = Artifact {
        client,
        budget,
        digest: &version.digest,
        reference: &reference,
    };
    let verified = tokio::time::timeout(limit, material.verify(&artifact)).await;
    let verified = verified.unwrap_or_else(|_| Err(client.deadline_exceeded().into()));
    if verified.map_err(failed)? {
        let message = format!("verified signature of revision {revision}");
        run.conditions
            .set(SOURCE_VERIFIED, Status::True, SUCCEEDED, message);
        run.status.source_verification_fingerprint = Some(fingerprint);
    } else {
        // SC-VER-055: an earlier success does not stand for what the policy lets pass unverified
        run.conditions.remove(SOURCE_VERIFIED);
    }
    Ok(())
}

/// The name of the provider in messages (SC-OCI-082).
fn provider(verify: &OCIRepositoryVerification) -> String {
    let provider = verify.provider.to_string();
    if provider == "cosign" && verify.secret_ref.is_none() {
        return format!("{provider} keyless");
    }
    provider
}

/// Whether the version has to be verified whatever the trusted material (SC-OCI-081).
fn is_due(
    status: &OCIRepositoryStatus,
    conditions: &Conditions,
    generation: Option<i64>,
    revision: &str,
) -> bool {
    let artifact = status.artifact.as_ref();
    let Some(last) = conditions.get(SOURCE_VERIFIED) else {
        return true;
    };
    artifact.is_none_or(|artifact| artifact.revision != revision)
        || last.observed_generation != generation
        || last.status != Status::True
}

#[cfg(test)]
mod tests {
    use flux_api::meta::{Artifact, LocalObjectReference};
    use flux_api::source::OCIVerificationProvider;

    use super::*;

    // SC-OCI-081
    #[test]
    fn verified_versions_are_skipped() {
        let status = |revision: Option<&str>| OCIRepositoryStatus {
            artifact: revision.map(|revision| Artifact {
                revision: revision.to_owned(),
                ..Artifact::default()
            }),
            ..OCIRepositoryStatus::default()
        };
        let conditions = |status: Option<Status>| {
            let mut conditions = Conditions::empty(2);
            if let Some(status) = status {
                conditions.set(SOURCE_VERIFIED, status, SUCCEEDED, "");
            }
            conditions
        };
        for (stored, condition, generation, due) in [
            (Some("a"), Some(Status::True), 2, false),
            (Some("b"), Some(Status::True), 2, true),
            (None, Some(Status::True), 2, true),
            (Some("a"), Some(Status::True), 3, true),
            (Some("a"), Some(Status::False), 2, true),
            (Some("a"), None, 2, true),
        ] {
            let found = is_due(
                &status(stored),
                &conditions(condition),
                Some(generation),
                "a",
            );
            assert_eq!(found, due, "{stored:?} {generation}");
        }
    }

    // SC-OCI-082
    #[test]
    fn providers_in_messages() {
        for (name, secret, expected) in [
            (OCIVerificationProvider::Cosign, true, "cosign"),
            (OCIVerificationProvider::Cosign, false, "cosign keyless"),
            (OCIVerificationProvider::Notation, true, "notation"),
            (OCIVerificationProvider::Notation, false, "notation"),
        ] {
            let verify = OCIRepositoryVerification {
                provider: name,
                secret_ref: secret.then(LocalObjectReference::default),
                ..OCIRepositoryVerification::default()
            };
            assert_eq!(provider(&verify), expected);
        }
    }
}
