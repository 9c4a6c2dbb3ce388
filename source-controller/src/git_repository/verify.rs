//! Verifies signatures of commits and tags.

use std::fmt::Write;

use flux_api::source::{
    GitRepository, GitRepositorySpec, GitRepositoryStatus, GitVerificationMode,
};
use flux_git::{Commit, TrustedKeys};
use flux_publish::SOURCE_VERIFIED;
use flux_references::secret_data;
use flux_runtime::Run;
use flux_runtime::conditions::{SUCCEEDED, Status};
use flux_signature::Fingerprint;

use super::failure::StepError;
use crate::secrets::Secrets;

/// What signatures are verified with.
pub(super) struct Verification {
    mode: GitVerificationMode,
    keys: TrustedKeys,
    /// The fingerprint of the keys (SC-VER-060).
    fingerprint: String,
}

impl Verification {
    /// Reads the keys of the Secret that the spec names. `None` if it asks for no verification (SC-VER-001).
    pub(super) async fn read(
        run: &mut Run<GitRepository>,
        secrets: &Secrets,
    ) -> Result<Option<Self>, StepError> {
        let object = run.object().clone();
        let (Some(verify), Some(mode)) = (&object.spec.verify, verification_mode(&object.spec))
        else {
            return Ok(None);
        };
        let name = &verify.secret_ref.name;
        let secret = secrets.read(run.namespace(), name).await;
        let secret = secret.map_err(|error| {
            // What was verified before is not known to hold, even if the same keys come back.
            run.status.source_verification_fingerprint = None;
            StepError::PublicKeys(error)
        })?;
        let keys = TrustedKeys::from_secret(&secret_data(&secret, run.namespace(), name));
        let fingerprint = fingerprint(&keys);
        Ok(Some(Self {
            mode,
            keys,
            fingerprint,
        }))
    }

    /// Whether the last verification was with other keys (SC-VER-061).
    pub(super) fn is_outdated(&self, status: &GitRepositoryStatus) -> bool {
        status.source_verification_fingerprint.as_ref() != Some(&self.fingerprint)
    }
}

/// A digest of the keys: neither of the Secret's name nor of the names of its entries.
fn fingerprint(keys: &TrustedKeys) -> String {
    let pgp = keys.pgp.iter().map(|key| ("pgp", key));
    let ssh = keys.ssh.iter().map(|key| ("ssh", key));
    pgp.chain(ssh)
        .fold(Fingerprint::new("git"), |all, (kind, key)| {
            all.with(kind, key.trim().as_bytes())
        })
        .finish()
}

/// Verifies the signatures that the spec asks for, and records the mode and the keys in the status (SC-VER-001 to
/// SC-VER-010, SC-VER-060).
pub(super) fn signatures(
    run: &mut Run<GitRepository>,
    commit: &Commit,
    verification: Option<Verification>,
) -> Result<(), StepError> {
    run.status.source_verification_fingerprint = None;
    let Some(verification) = verification else {
        run.status.source_verification_mode = None;
        run.conditions.remove(SOURCE_VERIFIED);
        return Ok(());
    };
    let message = check(commit, &verification.mode, &verification.keys)?;
    run.status.source_verification_mode = Some(verification.mode);
    run.status.source_verification_fingerprint = Some(verification.fingerprint);
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

#[cfg(test)]
mod tests {
    use super::*;

    // SC-VER-060: neither the names of the entries nor their order, but the keys and their kinds.
    #[test]
    fn fingerprints_are_of_the_keys() {
        let of = |pgp: &[&str], ssh: &[&str]| {
            let texts = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
            fingerprint(&TrustedKeys {
                pgp: texts(pgp),
                ssh: texts(ssh),
            })
        };
        let one = of(&["a", "b"], &["c"]);
        assert_eq!(one, of(&["b\n", "a"], &["c"]));
        for other in [of(&["a"], &["c"]), of(&["a", "b", "c"], &[]), of(&[], &[])] {
            assert_ne!(one, other);
        }
    }

    // SC-VER-061
    #[test]
    fn other_keys_are_due() {
        let verification = Verification {
            mode: GitVerificationMode::Head,
            keys: TrustedKeys::default(),
            fingerprint: "sha256:1".into(),
        };
        let status = |fingerprint: Option<&str>| GitRepositoryStatus {
            source_verification_fingerprint: fingerprint.map(Into::into),
            ..GitRepositoryStatus::default()
        };
        assert!(!verification.is_outdated(&status(Some("sha256:1"))));
        assert!(verification.is_outdated(&status(Some("sha256:2"))));
        assert!(verification.is_outdated(&status(None)));
    }
}
