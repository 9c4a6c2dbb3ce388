//! Verifies the signatures of an artifact, before any content is pulled.

use std::time::Duration;

use flux_api::source::{OCIRepository, OCIRepositoryStatus};
use flux_budget::Budget;
use flux_oci::Client;
use flux_publish::SOURCE_VERIFIED;
use flux_runtime::Run;
use flux_runtime::conditions::{Conditions, SUCCEEDED, Status};

use super::failure::StepError;
use super::version::Version;
use crate::secrets::Secrets;
use crate::signatures::{Artifact, Material, Trust, provider};

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
        provider: provider(&verify.provider, verify.secret_ref.is_some()),
        source: Box::new(source),
    };
    let reference = client.repository().at(version.digest.clone()).to_string();
    let trust = Trust::of_repository(verify, &reference);
    let material = Material::read(&trust, run.namespace(), secrets).await;
    let material = material.map_err(failed)?;
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
    use flux_api::meta;

    use super::*;

    // SC-OCI-081
    #[test]
    fn verified_versions_are_skipped() {
        let status = |revision: Option<&str>| OCIRepositoryStatus {
            artifact: revision.map(|revision| meta::Artifact {
                revision: revision.to_owned(),
                ..meta::Artifact::default()
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
}
