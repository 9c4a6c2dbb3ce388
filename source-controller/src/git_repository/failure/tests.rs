//! Tests of the conditions, events and retries of each failure.

use std::time::Duration;

use flux_git::SignatureKind;
use flux_identity::IdentityError;
use flux_runtime::conditions::Status;
use flux_runtime::outcome::{Next, Notice, Pace};

use super::*;

fn io() -> io::Error {
    io::Error::other("no space")
}

fn storage() -> StorageError {
    StorageError::NotADirectory("/data".into())
}

const STALLED: Next = Next::Stalled {
    generation_observed: true,
};
const BACK_OFF: Next = Next::Retry(Pace::BackOff);

/// The error for `bytes` if another reconcile holds a budget of one byte.
fn exhausted(bytes: u64) -> Exhausted {
    let budget = flux_budget::Budget::new(1);
    let other = budget.claim();
    other.take(1).unwrap();
    budget.claim().take(bytes).unwrap_err()
}

// The rows named at each case.
#[test]
fn every_failure_has_the_expected_outcome() {
    let secs = Duration::from_secs;
    let fetch = Some((FETCH_FAILED, Status::True));
    let stored = Some((STORAGE_OPERATION_FAILED, Status::True));
    let include = Some((INCLUDE_UNAVAILABLE, Status::True));
    let verified = Some((SOURCE_VERIFIED, Status::False));
    let name = || "ns/name".to_owned();
    let copied = |source| StepError::IncludeCopy {
        name: "other".into(),
        from: "x".into(),
        to: "y".into(),
        source: Box::new(source),
    };
    let not_found = || SecretReadError::NotFound("name".into());
    let (warning, quiet, trace) = (Notice::Warning, Notice::Quiet, Notice::Trace);
    for (error, reason, next, notice, marks, message) in [
        // SC-PROC-061
        (
            StepError::WorkDirectory(io()),
            "DirectoryCreationFailed",
            BACK_OFF,
            warning,
            stored,
            "failed to create temporary working directory: no space",
        ),
        // SC-ART-034
        (
            InspectError::Remove(storage()).into(),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "failed to remove artifact after digest mismatch: invalid dir path: /data",
        ),
        // SC-ART-033: an artifact that is temporarily unreadable is kept
        (
            InspectError::Read(storage().into()).into(),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "failed to verify integrity of artifact, which is kept: invalid dir path: /data",
        ),
        // SC-ART-068: an artifact larger than the budget is retried at the interval, one that may fit later sooner
        (
            StepError::Memory(exhausted(2)).retried_after(secs(60)),
            "GitOperationFailed",
            Next::Retry(Pace::Exactly(secs(60))),
            warning,
            fetch,
            "the files of the repository do not fit into memory: not enough memory: 2 B needed, 1 B available to this process",
        ),
        (
            StepError::Memory(exhausted(1)).retried_after(secs(60)),
            "GitOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "the files of the repository do not fit into memory: not enough memory: 1 B needed, 1 B of 1 B in use by other reconciliations",
        ),
        // SC-GIT-022, SC-AUTH-006
        (
            StepError::Proxy(ReferredError::NotFound(name())),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to configure proxy options: secret 'ns/name' not found",
        ),
        // SC-GIT-023
        (
            StepError::Url {
                url: "http://".into(),
                source: UrlError::NoHost,
            },
            "URLInvalid",
            STALLED,
            warning,
            fetch,
            "failed to parse url 'http://': invalid URL: no host",
        ),
        // SC-GIT-024
        (
            StepError::Secret {
                secret: name(),
                source: not_found(),
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get secret 'ns/name': secrets \"name\" not found",
        ),
        // SC-GIT-025, SC-AUTH-014
        (
            StepError::Auth(AuthError::IdentityRequired),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required",
        ),
        // SC-AUTH-015
        (
            StepError::Passphrase(name()),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "SSH identity key is encrypted but no 'password' field was provided in the secret 'ns/name'",
        ),
        // SC-AUTH-017
        (
            StepError::UnexpectedGitHubApp(name()),
            "InvalidProviderConfiguration",
            BACK_OFF,
            warning,
            fetch,
            "secretRef 'ns/name' has github app data but provider is not set to github",
        ),
        // SC-AUTH-018
        (
            StepError::GitHubAppSecretMissing,
            "InvalidProviderConfiguration",
            STALLED,
            warning,
            fetch,
            "secretRef with github app data must be specified when provider is set to github",
        ),
        (
            StepError::GitHubAppDataMissing,
            "InvalidProviderConfiguration",
            BACK_OFF,
            warning,
            fetch,
            "secretRef with github app data must be specified when provider is set to github",
        ),
        // SC-AUTH-019
        (
            StepError::GitHubAppKeys(SecretError::GitHubAppInstallation { secret: name() }),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "secret 'ns/name' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'",
        ),
        // SC-AUTH-025
        (
            LoginError::Identity(Box::new(IdentityError::DefaultAccountMissing(name()))).into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to configure authentication options: failed to get service account 'ns/name': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help",
        ),
        // SC-GIT-091, SC-GIT-094
        (
            StepError::IncludeMissing {
                name: "other".into(),
                recheck: secs(30),
            },
            "NotFound",
            Next::Waiting(secs(30)),
            trace,
            include,
            "could not get resource for include 'other': GitRepository.source.toolkit.fluxcd.io \"other\" not found",
        ),
        // SC-GIT-092
        (
            StepError::IncludeWithoutArtifact {
                name: "other".into(),
                recheck: secs(30),
            },
            "NoArtifact",
            Next::Waiting(secs(30)),
            trace,
            include,
            "no artifact available for include 'other'",
        ),
        // SC-GIT-027
        (
            StepError::Empty,
            "EmptyGitRepository",
            BACK_OFF,
            warning,
            fetch,
            "git repository is empty",
        ),
        // SC-GIT-063
        (
            StepError::Unchanged {
                revision: "main@sha1:0".into(),
                interval: secs(60),
            },
            "GitOperationSucceeded",
            Next::Ignored(secs(60)),
            trace,
            None,
            "no changes since last reconciliation: observed revision 'main@sha1:0'",
        ),
        // SC-GIT-074
        (
            StepError::SparseMissing("apps".into()),
            "GitOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to sparse checkout directories : sparse checkout dir 'apps' does not exist in repository: lstat apps: no such file or directory",
        ),
        // SC-VER-004
        (
            StepError::PublicKeys(not_found()),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "public keys secret error: secrets \"name\" not found",
        ),
        // SC-VER-008
        (
            StepError::NoTagToVerify,
            "InvalidVerificationMode",
            STALLED,
            warning,
            verified,
            "cannot verify tag object's signature if a tag reference is not specified",
        ),
        // SC-VER-009
        (
            StepError::TagNotSigned("v1".into()),
            "InvalidGitObject",
            BACK_OFF,
            warning,
            verified,
            "cannot verify signature of tag 'v1' since it is not signed",
        ),
        // SC-VER-006, SC-VER-007
        (
            StepError::TagSignature {
                tag: "v1@0".into(),
                source: VerifyError::NoPgpKeys,
            },
            "InvalidTagSignature",
            BACK_OFF,
            warning,
            verified,
            "signature verification of tag 'v1@0' failed: PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)",
        ),
        (
            StepError::CommitSignature {
                commit: "0".into(),
                source: VerifyError::NoSshKeys,
            },
            "InvalidCommitSignature",
            BACK_OFF,
            warning,
            verified,
            "signature verification of commit '0' failed: SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)",
        ),
        (
            StepError::CommitSignature {
                commit: "0".into(),
                source: VerifyError::Unsupported(SignatureKind::Empty),
            },
            "InvalidCommitSignature",
            BACK_OFF,
            warning,
            verified,
            "signature verification of commit '0' failed: unsupported signature type: empty",
        ),
        // SC-GIT-098
        (
            StepError::IncludePath {
                name: "other".into(),
                source: PathError::Nul,
            },
            "IllegalPath",
            BACK_OFF,
            warning,
            stored,
            "path calculation for include 'other' failed: path holds a NUL character",
        ),
        // SC-GIT-098: an include larger than the budget is retried at the interval
        (
            copied(CopyError::Memory(exhausted(2))).retried_after(secs(60)),
            "CopyFailure",
            Next::Retry(Pace::Exactly(secs(60))),
            warning,
            stored,
            "failed to copy 'other' include from x to y: not enough memory: 2 B needed, 1 B available to this process",
        ),
        (
            copied(ExtractError::Memory(exhausted(1)).into()).retried_after(secs(60)),
            "CopyFailure",
            BACK_OFF,
            warning,
            stored,
            "failed to copy 'other' include from x to y: not enough memory: 1 B needed, 1 B of 1 B in use by other reconciliations",
        ),
        (
            copied(ExtractError::TooLarge(7).into()).retried_after(secs(60)),
            "CopyFailure",
            Next::Retry(Pace::Exactly(secs(60))),
            warning,
            stored,
            "failed to copy 'other' include from x to y: tar is bigger than max archive size of 7 bytes",
        ),
        (
            copied(CopyError::Place(PlaceError::Missing("x".into()))),
            "CopyFailure",
            BACK_OFF,
            warning,
            stored,
            "failed to copy 'other' include from x to y: cannot stat x: no such file or directory",
        ),
        // SC-GIT-110
        (
            StepError::ArtifactDirectory(storage()),
            "DirectoryCreationFailed",
            BACK_OFF,
            warning,
            stored,
            "failed to create artifact directory: invalid dir path: /data",
        ),
        (
            StepError::Lock(storage()),
            "Failed",
            BACK_OFF,
            warning,
            None,
            "failed to acquire lock for artifact: invalid dir path: /data",
        ),
        (
            StoreError::Write(WriteError::Storage(storage())).into(),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to archive artifact to storage: invalid dir path: /data",
        ),
        // SC-ART-070, SC-PROC-054
        (
            StoreError::Rules(RulesError::LinkLoop("a".into())).into(),
            "SourceIgnoreError",
            BACK_OFF,
            warning,
            None,
            "failed to load source ignore patterns from repository: open a: too many levels of symbolic links",
        ),
        // SC-ART-045
        (
            RemoveError::Storage(storage()).into(),
            "GarbageCollectionFailed",
            BACK_OFF,
            warning,
            None,
            "garbage collection for deleted resource failed: invalid dir path: /data",
        ),
    ] {
        let failure = Failure::from(error);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!(
            (failure.reason, failure.next, failure.notice, failure.marks),
            (reason, next, notice, marks),
            "{message}"
        );
        assert!(failure.metadata.is_empty(), "{message}"); // SC-PROC-083
    }
}
