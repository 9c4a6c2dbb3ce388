//! Tests of the conditions, events and retries of each failure.

use std::time::Duration;

use flux_budget::Exhausted;
use flux_http::SecretError;
use flux_identity::IdentityError;
use flux_oci::KeychainError;
use flux_references::SecretReadError;
use flux_registry::AccountError;
use flux_runtime::conditions::Status;
use flux_runtime::outcome::{Next, Notice, Pace};
use flux_signature::{cosign, notation};

use super::*;
use crate::signatures::TrustedRootFault;

fn no_identity() -> RegistryFault {
    RegistryFault::Identity(Box::new(IdentityError::DefaultAccountMissing(
        "ns/name".into(),
    )))
}

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

fn registry(error: flux_oci::Error) -> RegistryFault {
    RegistryFault::Registry(error)
}

fn unverified(provider: &str, source: SignatureFault) -> StepError {
    StepError::Signature {
        provider: provider.to_owned(),
        source: Box::new(source),
    }
}

// SC-OCI-025, SC-OCI-026: a client is made before the URL is looked at
#[test]
fn urls_are_shown_without_user_information() {
    let error = StepError::Transport {
        url: ShownUrl::new("oci://user:s3cret@r.io/app"),
        source: Box::new(ReferredError::NotFound("ns/name".into()).into()),
    };
    assert_eq!(
        error.to_string(),
        "failed to generate transport for 'oci://***@r.io/app'"
    );
    assert!(!format!("{error:?}").contains("s3cret"));
}

// The rows named at each case.
#[test]
fn every_failure_has_the_expected_outcome() {
    let fetch = Some((FETCH_FAILED, Status::True));
    let stored = Some((STORAGE_OPERATION_FAILED, Status::True));
    let verified = Some((SOURCE_VERIFIED, Status::False));
    let name = || "ns/name".to_owned();
    let url = || ShownUrl::new("oci://r.io/app");
    let minute = Duration::from_mins(1);
    let exactly = Next::Retry(Pace::Exactly(minute));
    let no_layer = || registry(flux_oci::Error::NoToken);
    let (warning, quiet) = (Notice::Warning, Notice::Quiet);
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
        // SC-OCI-021
        (
            CredentialError::Secret {
                secret: name(),
                source: SecretReadError::NotFound("name".into()),
            }
            .into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get credential: failed to get secret 'ns/name': secrets \"name\" not found",
        ),
        (
            CredentialError::Keychain(KeychainError::NoPassword).into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get credential: unable to decode auth field: must be formatted as base64(username:password)",
        ),
        // SC-AUTH-033
        (
            CredentialError::Account(AccountError::NotFound(name())).into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get credential: serviceaccount 'ns/name' not found",
        ),
        (
            CredentialError::Account(AccountError::Secret {
                account: name(),
                source: ReferredError::NotFound("ns/pull".into()),
            })
            .into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get credential: failed to get image pull secret for serviceaccount 'ns/name': secret 'ns/pull' not found",
        ),
        // SC-OCI-022, SC-AUTH-006
        (
            StepError::Proxy(ReferredError::NotFound(name())),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get proxy address: secret 'ns/name' not found",
        ),
        // SC-OCI-023
        (
            StepError::Provider {
                provider: "aws",
                source: BuildError::Proxy,
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get credential from aws: failed to configure the proxy",
        ),
        (
            StepError::Tag {
                url: url(),
                source: TagError::Registry(no_identity()),
            },
            "ReadOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to determine the artifact tag for 'oci://r.io/app': failed to get service account 'ns/name': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help",
        ),
        (
            StepError::Digest(DigestFault::Registry(no_identity())),
            "OCIArtifactPullFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to determine artifact digest: failed to get service account 'ns/name': the specified default service account does not exist in the object namespace. your cluster is subject to multi-tenant workload identity lockdown, reach out to your cluster administrator for help",
        ),
        // SC-OCI-025, SC-AUTH-003
        (
            StepError::Transport {
                url: url(),
                source: Box::new(
                    ReferredError::Data(SecretError::TlsMissing { secret: name() }).into(),
                ),
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to generate transport for 'oci://r.io/app': secret 'ns/name' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'",
        ),
        // SC-OCI-026
        (
            StepError::Url {
                url: url(),
                source: UrlFault::Tag("v1".into()),
            },
            "URLInvalid",
            STALLED,
            warning,
            fetch,
            "URL validation failed for 'oci://r.io/app': URL must not contain a tag; remove ':v1'",
        ),
        (
            StepError::Tag {
                url: url(),
                source: TagError::NoMatch(">=2".into()),
            },
            "ReadOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to determine the artifact tag for 'oci://r.io/app': no match found for semver: >=2",
        ),
        // SC-OCI-030
        (
            StepError::Tag {
                url: url(),
                source: TagError::Registry(RegistryFault::Timeout),
            },
            "ReadOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to determine the artifact tag for 'oci://r.io/app': context deadline exceeded",
        ),
        // SC-OCI-027
        (
            StepError::Digest(DigestFault::Digest(DigestError::Format("c2ca".into()))),
            "OCIArtifactPullFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to determine artifact digest: cannot parse hash: \"c2ca\"",
        ),
        // SC-OCI-082
        (
            unverified(
                "cosign",
                SignatureFault::NoMatch("r.io/app@sha256:00".into()),
            ),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'cosign': no matching signatures were found for 'r.io/app@sha256:00'",
        ),
        (
            unverified(
                "cosign keyless",
                SignatureFault::Cosign(cosign::Error::NoSignatures),
            ),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'cosign keyless': no signatures found",
        ),
        (
            unverified("cosign", flux_oci::Error::DeadlineExceeded.into()),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'cosign': context deadline exceeded",
        ),
        (
            unverified("cosign", SignatureFault::Registry(flux_oci::Error::NoToken)),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'cosign': no token in bearer response",
        ),
        // SC-VER-036
        (
            unverified(
                "cosign keyless",
                SignatureFault::TrustedRootSecret {
                    secret: name(),
                    source: TrustedRootFault::Missing {
                        key: "trusted_root.json",
                        secret: name(),
                    },
                },
            ),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'cosign keyless': failed to read trusted root from secret 'ns/name': 'trusted_root.json' not found in secret 'ns/name'",
        ),
        // SC-VER-050, SC-VER-051
        (
            unverified("notation", SignatureFault::NoSecret("r.io/app".into())),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'notation': verification secret cannot be empty: 'r.io/app'",
        ),
        (
            unverified(
                "notation",
                SignatureFault::KeyMissing {
                    key: "trustpolicy.json",
                    secret: name(),
                },
            ),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'notation': 'trustpolicy.json' not found in secret 'ns/name'",
        ),
        (
            unverified("notation", SignatureFault::NoCertificates(name())),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'notation': no certificates found in secret 'ns/name'",
        ),
        // SC-VER-057
        (
            unverified(
                "notation",
                SignatureFault::Notation(notation::Error::NotSigned("r.io/app".into())),
            ),
            "VerificationError",
            BACK_OFF,
            warning,
            verified,
            "failed to verify the signature using provider 'notation': no signature is associated with \"r.io/app\", make sure the artifact was signed successfully",
        ),
        // SC-OCI-028
        (
            StepError::Pull {
                url: url(),
                source: registry(flux_oci::Error::NoToken),
            },
            "OCIArtifactPullFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to pull artifact from 'oci://r.io/app': no token in bearer response",
        ),
        // SC-OCI-029
        (
            StepError::Manifest(LayerError::Registry(registry(flux_oci::Error::Manifest(
                "invalid syntax at line 1 column 1".into(),
            )))),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to parse artifact manifest: the manifest is not valid JSON: invalid syntax at line 1 column 1",
        ),
        (
            StepError::NoLayers,
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "no layers found in artifact",
        ),
        (
            StepError::LayerMissing("a/b".into()),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to find layer with media type 'a/b' in artifact",
        ),
        (
            StepError::FirstLayer(LayerError::Registry(no_layer())),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to extract the first layer from artifact: no token in bearer response",
        ),
        (
            StepError::Extract(LayerError::Archive(ExtractError::Gzip(io()))),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to extract layer contents from artifact: requires gzip-compressed body: no space",
        ),
        (
            StepError::Copy(LayerError::File(io())),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to copy layer from artifact: failed to write a temporary file: no space",
        ),
        (
            StepError::Annotations { bytes: 2, limit: 1 },
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "the annotations of the artifact have 2 bytes, and 1 at most are kept",
        ),
        (
            StepError::Operation("x".into()),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "unsupported layer operation: x",
        ),
        // what does not fit into memory at all is retried at the interval, what may fit later sooner
        (
            StepError::Extract(LayerError::Archive(exhausted(2).into())).retried_after(minute),
            "OCIArtifactLayerOperationFailed",
            exactly,
            warning,
            fetch,
            "failed to extract layer contents from artifact: not enough memory: 2 B needed, 1 B available to this process",
        ),
        (
            StepError::Extract(LayerError::Archive(exhausted(1).into())).retried_after(minute),
            "OCIArtifactLayerOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to extract layer contents from artifact: not enough memory: 1 B needed, 1 B of 1 B in use by other reconciliations",
        ),
        // SC-OCI-069
        (
            StepError::ArtifactDirectory(storage()),
            "DirectoryCreationFailed",
            BACK_OFF,
            warning,
            stored,
            "failed to create artifact directory: invalid dir path: /data",
        ),
        (
            StepError::of_copy(StoreError::Write(io().into())),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to copy artifact to storage: no space",
        ),
        (
            StoreError::Write(io().into()).into(),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to archive artifact to storage: no space",
        ),
        (
            StoreError::Lock(storage()).into(),
            "Failed",
            BACK_OFF,
            warning,
            None,
            "failed to acquire lock for artifact: invalid dir path: /data",
        ),
        // SC-ART-070
        (
            StoreError::Rules(RulesError::LinkLoop("/x".into())).into(),
            "SourceIgnoreError",
            BACK_OFF,
            warning,
            None,
            "failed to load source ignore patterns from repository: open /x: too many levels of symbolic links",
        ),
        // SC-PROC-088
        (
            RemoveError::Storage(storage()).into(),
            "GarbageCollectionFailed",
            BACK_OFF,
            warning,
            None,
            "garbage collection for deleted resource failed: invalid dir path: /data",
        ),
        (
            StepError::Task("defect".into()),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "a task of the reconcile ended early: defect",
        ),
    ] {
        let failure = Failure::from(error);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!(failure.reason, reason, "{message}");
        assert_eq!(failure.next, next, "{message}");
        assert_eq!(failure.notice, notice, "{message}");
        assert_eq!(failure.marks, marks, "{message}");
    }
}
