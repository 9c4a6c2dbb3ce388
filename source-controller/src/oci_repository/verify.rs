//! Verifies the signatures of an artifact.

use flux_api::source::OCIRepository;
use flux_oci::Client;
use flux_publish::SOURCE_VERIFIED;
use flux_runtime::Run;

use super::failure::StepError;
use super::version::Version;

/// Verifies the signatures that the spec asks for, before any content is pulled (SC-OCI-080, SC-OCI-084).
///
/// Signatures cannot be verified yet: an object that requires them fails, and nothing is pulled (SC-OCI-082).
pub(super) fn signatures(
    run: &mut Run<OCIRepository>,
    _client: &Client,
    _version: &Version,
) -> Result<(), StepError> {
    let object = run.object().clone();
    let Some(verify) = &object.spec.verify else {
        run.conditions.remove(SOURCE_VERIFIED);
        run.status.source_verification_fingerprint = None;
        return Ok(());
    };
    let provider = verify.provider.to_string();
    let keyless = provider == "cosign" && verify.secret_ref.is_none();
    Err(StepError::Signature {
        provider: if keyless {
            format!("{provider} keyless")
        } else {
            provider
        },
    })
}
