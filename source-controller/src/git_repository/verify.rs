//! Verifies signatures of commits and tags.

use std::fmt::Write;

use flux_api::source::{GitRepository, GitRepositorySpec, GitVerificationMode};
use flux_git::{Commit, TrustedKeys};
use flux_publish::SOURCE_VERIFIED;
use flux_references::secret_data;
use flux_runtime::Run;
use flux_runtime::conditions::{SUCCEEDED, Status};

use super::failure::StepError;
use crate::secrets::Secrets;

/// Verifies the signatures that the spec asks for, and records the mode in the status (SC-VER-001 to SC-VER-010).
pub(super) async fn signatures(
    run: &mut Run<GitRepository>,
    commit: &Commit,
    secrets: &Secrets,
) -> Result<(), StepError> {
    let object = run.object().clone();
    let (Some(verify), Some(mode)) = (&object.spec.verify, verification_mode(&object.spec)) else {
        run.status.source_verification_mode = None;
        run.conditions.remove(SOURCE_VERIFIED);
        return Ok(());
    };
    let name = &verify.secret_ref.name;
    let secret = secrets
        .read(run.namespace(), name)
        .await
        .map_err(StepError::PublicKeys)?;
    let keys = TrustedKeys::from_secret(&secret_data(&secret, run.namespace(), name));
    let message = check(commit, &mode, &keys)?;
    run.status.source_verification_mode = Some(mode);
    run.conditions
        .set(SOURCE_VERIFIED, Status::True, SUCCEEDED, &*message);
    tracing::info!("{message}");
    run.trace(SUCCEEDED, message);
    Ok(())
}

/// Verifies the tag first, then the commit, according to the mode. Returns the message for the condition.
fn check(
    commit: &Commit,
    mode: &GitVerificationMode,
    keys: &TrustedKeys,
) -> Result<String, StepError> {
    let mut message = "verified signature of".to_owned();
    if verifies_tag(mode) {
        let tag = commit
            .referencing_tag
            .as_ref()
            .ok_or(StepError::NoTagToVerify)?;
        if !tag.is_signed() {
            return Err(StepError::TagNotSigned(tag.to_string()));
        }
        let key = tag.verify(keys).map_err(|source| StepError::TagSignature {
            tag: tag.to_string(),
            source,
        })?;
        // Writing to a string cannot fail.
        let _ = write!(message, "\n\t- tag '{tag}' with key '{key}'");
    }
    if verifies_head(mode) {
        let key = commit
            .verify(keys)
            .map_err(|source| StepError::CommitSignature {
                commit: commit.hash.to_string(),
                source,
            })?;
        let _ = write!(message, "\n\t- commit '{}' with key '{key}'", commit.hash);
    }
    Ok(message)
}

/// The mode of verification, older spellings normalised. `None` if the spec asks for no verification (SC-VER-001,
/// SC-VER-002).
pub(super) fn verification_mode(spec: &GitRepositorySpec) -> Option<GitVerificationMode> {
    match spec.verify.as_ref()?.mode.clone()? {
        GitVerificationMode::LowercaseHead => Some(GitVerificationMode::Head),
        GitVerificationMode::Other(text) if text.is_empty() => None,
        mode => Some(mode),
    }
}

/// Whether the mode verifies the commit's signature.
pub(super) fn verifies_head(mode: &GitVerificationMode) -> bool {
    matches!(
        mode,
        GitVerificationMode::Head
            | GitVerificationMode::LowercaseHead
            | GitVerificationMode::TagAndHead
    )
}

/// Whether the mode verifies the tag's signature.
pub(super) fn verifies_tag(mode: &GitVerificationMode) -> bool {
    matches!(
        mode,
        GitVerificationMode::Tag | GitVerificationMode::TagAndHead
    )
}
