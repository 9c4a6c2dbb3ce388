//! Tests of the conditions, events and retries of each failure.

use flux_budget::Budget;
use flux_chart::YamlError;
use flux_runtime::conditions::Status;
use flux_runtime::outcome::{Next, Notice};

use flux_http::SecretError;

use super::*;
use crate::secrets::SecretReadError;

fn io() -> io::Error {
    io::Error::other("no space")
}

fn storage() -> StorageError {
    StorageError::NotADirectory("/data".into())
}

fn not_found() -> SecretReadError {
    SecretReadError::NotFound("name".into())
}

const STALLED: Next = Next::Stalled {
    generation_observed: true,
};
const BACK_OFF: Next = Next::Retry(Pace::BackOff);

/// The error for two bytes of a budget of one.
fn too_large() -> IndexError {
    let claimed = Budget::new(1).claim().take(2);
    claimed.unwrap_err().into()
}

// The rows named at each case.
#[test]
fn each_failure_has_its_condition_and_pace() {
    let fetch = Some((FETCH_FAILED, Status::True));
    let stored = Some((STORAGE_OPERATION_FAILED, Status::True));
    let name = || "ns/name".to_owned();
    let (warning, quiet) = (Notice::Warning, Notice::Quiet);
    let minute = Duration::from_mins(1);
    for (error, reason, next, notice, marks, message) in [
        // SC-ART-034
        (
            InspectError::Remove(storage()).into(),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "failed to remove artifact after digest mismatch: invalid dir path: /data",
        ),
        // SC-HREPO-021
        (
            StepError::OciUrl,
            "URLInvalid",
            STALLED,
            warning,
            fetch,
            "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type",
        ),
        // SC-HREPO-022
        (
            UrlError::Parse("parse \"x\": y".to_owned()).into(),
            "URLInvalid",
            STALLED,
            warning,
            fetch,
            "invalid Helm repository URL: parse \"x\": y",
        ),
        // SC-HREPO-024
        (
            UrlError::Scheme("ftp".to_owned()).into(),
            "Failed",
            STALLED,
            warning,
            fetch,
            "failed to construct Helm client: scheme \"ftp\" not supported",
        ),
        // SC-HREPO-023
        (
            AccessError::Secret {
                secret: name(),
                source: not_found(),
            }
            .into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get authentication secret 'ns/name': secrets \"name\" not found",
        ),
        (
            AccessError::TlsSecret {
                secret: name(),
                source: not_found(),
            }
            .into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get TLS authentication secret 'ns/name': secrets \"name\" not found",
        ),
        (
            AccessError::Tls(SecretError::TlsMissing { secret: name() }).into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to construct Helm client's TLS config: secret 'ns/name' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'",
        ),
        // SC-AUTH-040
        (
            AccessError::Methods(SecretError::BasicAuthMalformed {
                secret: name(),
                present: "username",
                missing: "password",
            })
            .into(),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to detect authentication methods: secret 'ns/name': malformed basic auth - has 'username' but missing 'password'",
        ),
        (
            StepError::Client(BuildError::Client),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to construct Helm client's TLS config: failed to configure the HTTP client",
        ),
        // SC-HREPO-025
        (
            StepError::Fetch(FetchError::Status {
                url: "http://x/index.yaml".to_owned(),
                status: "404 Not Found".to_owned(),
            }),
            "Failed",
            BACK_OFF,
            warning,
            fetch,
            "failed to fetch Helm repository index: failed to cache index to temporary file: failed to fetch http://x/index.yaml : 404 Not Found",
        ),
        (
            StepError::Fetch(FetchError::Folder(io())),
            "Failed",
            BACK_OFF,
            warning,
            fetch,
            "failed to fetch Helm repository index: failed to create temp file to cache index to: no space",
        ),
        // SC-HREPO-040
        (
            StepError::Fetch(FetchError::TooLarge(9)),
            "Failed",
            BACK_OFF,
            warning,
            fetch,
            "failed to fetch Helm repository index: failed to cache index to temporary file: index exceeds the maximum index file size of 9 bytes",
        ),
        // SC-HREPO-031
        (
            StepError::Index(YamlError::Decode("x".to_owned()).into()).retried_after(minute),
            "IndexationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to load Helm repository from index YAML: failed to load index: error unmarshaling JSON: while decoding JSON: json: x",
        ),
        (
            StepError::Index(too_large()).retried_after(minute),
            "IndexationFailed",
            Next::Retry(Pace::Exactly(minute)),
            warning,
            fetch,
            "failed to load Helm repository from index YAML: failed to load index: not enough memory: 2 B needed, 1 B available to this process",
        ),
        // SC-HREPO-042
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
            StepError::Converted(io()),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to get JSON index from chart repo: no space",
        ),
        (
            StepError::Store(io().into()),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to save artifact to storage: no space",
        ),
        // SC-PROC-088
        (
            StepError::Collect(RemoveError::Task),
            "GarbageCollectionFailed",
            BACK_OFF,
            warning,
            None,
            "garbage collection for deleted resource failed: a task of the reconcile ended early",
        ),
    ] {
        let failure = Failure::from(error);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!(
            (failure.reason, failure.next, failure.notice, failure.marks),
            (reason, next, notice, marks),
            "{message}"
        );
    }
}
