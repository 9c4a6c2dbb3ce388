//! Tests of the conditions and retries of each failure.

use flux_git::{AuthError, Fault, UrlError};
use flux_http::SecretError;
use flux_references::ReferredError;
use flux_repository::LoginError;
use flux_runtime::outcome::Next;
use flux_runtime::queue::Key;

use super::*;

const STALLED: Next = Next::Stalled {
    generation_observed: true,
};
const BACK_OFF: Next = Next::Retry(Pace::BackOff);

fn name() -> String {
    "ns/name".to_owned()
}

fn not_found() -> SecretReadError {
    SecretReadError::NotFound("name".into())
}

fn checkout(fault: Fault) -> flux_git::Error {
    flux_git::Error::Clone {
        url: "https://host/repo".into(),
        source: fault,
    }
}

// The rows named at each case.
#[test]
fn every_failure_has_the_expected_outcome() {
    let hour = Duration::from_hours(1);
    for (error, reason, next, message) in [
        // IA-STATUS-010
        (
            policy_selector_error(),
            "InvalidPolicySelector",
            STALLED,
            "failed to parse policy selector: \"Is\" is not a valid label selector operator",
        ),
        // IA-GIT-010, IA-STATUS-013
        (
            AccessDenied::CrossNamespace {
                kind: "GitRepository".into(),
                key: Key::new("ns", "name"),
            }
            .into(),
            "AccessDenied",
            STALLED,
            "can't access 'GitRepository/ns/name', cross-namespace references have been blocked",
        ),
        // IA-GIT-001
        (
            StepError::SourceKind("Bucket".into()),
            "InvalidSourceConfiguration",
            STALLED,
            "source kind 'Bucket' not supported: invalid source configuration",
        ),
        // IA-GIT-002
        (
            StepError::NoGit,
            "InvalidSourceConfiguration",
            STALLED,
            "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration",
        ),
        // IA-GIT-114
        (
            StepError::Refspec("+a:b".into()),
            "InvalidSourceConfiguration",
            STALLED,
            "refspec '+a:b' would force an update or delete a reference: invalid source configuration",
        ),
        // IA-GIT-031
        (
            AccessError::GitHubAppSecretMissing.into(),
            "InvalidSourceConfiguration",
            STALLED,
            "secretRef with github app data must be specified when provider is set to github: invalid source configuration",
        ),
        (
            AccessError::GitHubAppDataMissing.into(),
            "InvalidSourceConfiguration",
            STALLED,
            "secretRef with github app data must be specified when provider is set to github: invalid source configuration",
        ),
        // IA-GIT-033
        (
            AccessError::UnexpectedGitHubApp(name()).into(),
            "InvalidSourceConfiguration",
            STALLED,
            "secretRef 'ns/name' has github app data but provider is not set to github: invalid source configuration",
        ),
        // IA-GIT-003
        (
            SourceError::Missing(ReadError::NotFound {
                resource: "GitRepository.source.toolkit.fluxcd.io".into(),
                name: "repo".into(),
            })
            .into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: referenced git repository does not exist: GitRepository.source.toolkit.fluxcd.io \"repo\" not found",
        ),
        // IA-GIT-007
        (
            SourceError::NoBranch.into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref",
        ),
        // IA-GIT-013
        (
            AccessError::Secret {
                secret: name(),
                source: not_found(),
            }
            .into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: failed to get auth secret 'ns/name': secrets \"name\" not found",
        ),
        // IA-GIT-030
        (
            AccessError::Proxy(ReferredError::NotFound(name())).into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: secret 'ns/name' not found",
        ),
        // IA-GIT-020
        (
            AccessError::Url {
                url: "ftp://host".into(),
                source: UrlError::Scheme("ftp".into()),
            }
            .into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: failed to configure authentication options: unknown transport 'ftp'",
        ),
        // IA-GIT-021, IA-GIT-027
        (
            AccessError::Auth(AuthError::IdentityRequired).into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required",
        ),
        (
            AccessError::GitHubAppKeys(SecretError::GitHubAppInstallation { secret: name() })
                .into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: secret 'ns/name' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'",
        ),
        // IA-GIT-037
        (
            AccessError::Login(LoginError::App(flux_cloud::GitHubAppError::AppId)).into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: failed to configure authentication options: app ID must be provided to use github app authentication",
        ),
        // IA-GIT-025
        (
            SourceError::Client(flux_git::Error::Auth(AuthError::BasicAndBearer)).into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: basic auth and bearer token cannot be set at the same time",
        ),
        // IA-GIT-091
        (
            SourceError::SigningSecret {
                name: "key".into(),
                source: SecretReadError::NotFound("key".into()),
            }
            .into(),
            "SourceManagerFailed",
            BACK_OFF,
            "failed configuring source manager: could not find signing key secret 'key': secrets \"key\" not found",
        ),
        // IA-STATUS-017, IA-GIT-056
        (
            StepError::of_checkout(checkout(Fault::DeadlineExceeded), hour),
            "GitOperationFailed",
            BACK_OFF,
            "failed to checkout source: unable to clone 'https://host/repo': context deadline exceeded",
        ),
        (
            StepError::of_checkout(
                checkout(Fault::TooLarge {
                    limit: 1,
                    unit: "files and folders",
                }),
                hour,
            ),
            "GitOperationFailed",
            Next::Retry(Pace::Exactly(hour)),
            "failed to checkout source: unable to clone 'https://host/repo': the repository exceeds the limit of 1 files and folders",
        ),
        // IA-STATUS-039
        (
            StepError::Empty,
            "GitOperationFailed",
            BACK_OFF,
            "failed to checkout source: git repository is empty",
        ),
        // IA-STATUS-018
        (
            StepError::NoStrategy,
            "InvalidUpdateStrategy",
            STALLED,
            "no update strategy",
        ),
        (
            StepError::Strategy("Other".into()),
            "InvalidUpdateStrategy",
            STALLED,
            "unsupported update strategy: Other",
        ),
        // IA-UPD-003
        (
            FilesError::Missing("apps".into()).into(),
            "UpdateFailed",
            BACK_OFF,
            "failed to apply policies: walking path for files: lstat apps: no such file or directory",
        ),
        // IA-GIT-077, IA-STATUS-021
        (
            PushError::UpToDate.into(),
            "GitOperationFailed",
            BACK_OFF,
            "failed to update source: failed to push to remote: already up-to-date",
        ),
        (
            StepError::Task("stopped".into()),
            "Failed",
            BACK_OFF,
            "a task of the reconcile ended early: stopped",
        ),
    ] {
        let failure = Failure::from(error);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!((failure.reason, failure.next), (reason, next), "{message}");
    }
}

fn policy_selector_error() -> StepError {
    let expression = flux_selector::Expression {
        key: "a",
        operator: "Is",
        values: &[],
    };
    let selector = flux_selector::Selector::from_fields([], [expression]);
    selector.unwrap_err().into()
}
