//! Tests of the conditions, events and retries of each failure.

use flux_runtime::conditions::Status;
use flux_runtime::outcome::Notice;

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

fn store(text: &str) -> Fault {
    let error = flux_bucket::Error::Response(text.to_owned());
    Fault::Store(Box::new(error))
}

// The rows named at each case.
#[test]
fn every_failure_has_the_expected_outcome() {
    let fetch = Some((FETCH_FAILED, Status::True));
    let stored = Some((STORAGE_OPERATION_FAILED, Status::True));
    let bucket = || "b".to_owned();
    let name = || "ns/name".to_owned();
    let missing = || SecretReadError::NotFound("name".to_owned());
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
        // SC-BKT-022
        (
            StepError::Secret {
                secret: name(),
                source: missing(),
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get secret 'ns/name': secrets \"name\" not found",
        ),
        (
            StepError::StsSecret {
                secret: name(),
                source: missing(),
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get STS secret 'ns/name': secrets \"name\" not found",
        ),
        (
            StepError::Proxy(ReferredError::NotFound(name())),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get proxy URL: secret 'ns/name' not found",
        ),
        (
            StepError::Tls(ReferredError::NotFound(name())),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get TLS config: secret 'ns/name' not found",
        ),
        (
            StepError::StsTls(ReferredError::NotFound(name())),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get STS TLS config: secret 'ns/name' not found",
        ),
        // SC-BKT-023
        (
            StepError::SecretData("invalid 'name' secret data: x".to_owned()),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "invalid 'name' secret data: x",
        ),
        (
            StepError::Credential {
                secret: "name".to_owned(),
                fault: Box::new(flux_cloud::azure::Error::InvalidAuthority.into()),
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to create token credential from 'name' Secret: invalid authority host: an absolute https URL is needed",
        ),
        (
            StepError::Credential {
                secret: "name".to_owned(),
                fault: Box::new(CredentialFault::Account(flux_bucket::Error::Settings(
                    "x".to_owned(),
                ))),
            },
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to create shared credential from 'name' Secret data: x",
        ),
        (
            StepError::Sas(SasError::Token),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "unable to parse SAS token: invalid URL escape \"***\"",
        ),
        (
            StepError::ServiceAccount(flux_cloud::gcp::Error::Key("it is not valid JSON")),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to create Google credentials from secret: failed to parse the Google credentials: it is not valid JSON",
        ),
        // SC-AUTH-063
        (
            StepError::Aws(IdentityFault::Client(flux_http::BuildError::Proxy)),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "AWS authentication failed: failed to configure the proxy",
        ),
        // SC-BKT-025
        (
            StepError::Client(flux_bucket::Error::Settings(
                "Endpoint url cannot be empty.".to_owned(),
            )),
            "AuthenticationFailed",
            BACK_OFF,
            warning,
            fetch,
            "Endpoint url cannot be empty.",
        ),
        // SC-BKT-024
        (
            StepError::Sts("STS provider 'ldap' is not supported".to_owned()),
            "InvalidSTSConfiguration",
            STALLED,
            warning,
            fetch,
            "STS provider 'ldap' is not supported",
        ),
        (
            StepError::StsEndpoint {
                endpoint: "x".to_owned(),
                why: "y".to_owned(),
            },
            "URLInvalid",
            STALLED,
            warning,
            fetch,
            "failed to parse STS endpoint 'x': y",
        ),
        // SC-BKT-026
        (
            StepError::Existence {
                bucket: bucket(),
                source: Fault::Timeout,
            },
            "BucketOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to confirm existence of 'b' bucket: context deadline exceeded",
        ),
        (
            StepError::NotFound(bucket()),
            "BucketOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "bucket 'b' not found",
        ),
        // SC-BKT-027
        (
            StepError::IgnoreFile(store("x")),
            "BucketOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to get Etag for '.sourceignore' object: invalid response: x",
        ),
        (
            StepError::ReadRules(io()),
            "BucketOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "failed to read '.sourceignore': no space",
        ),
        (
            StepError::Index {
                bucket: bucket(),
                source: store("x").of_list("b"),
            },
            "BucketOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "indexation of objects from bucket 'b' failed: listing objects from bucket 'b' failed: invalid response: x",
        ),
        (
            StepError::Fetch {
                bucket: bucket(),
                key: "k".to_owned(),
                source: KeyFault::Twice("a".to_owned()).into(),
            },
            "BucketOperationFailed",
            BACK_OFF,
            warning,
            fetch,
            "fetch from bucket 'b' failed: failed to get 'k' object: the object 'a' has the same path",
        ),
        // SC-BKT-037
        (
            StoreError::Directory(storage()).into(),
            "DirectoryCreationFailed",
            BACK_OFF,
            warning,
            stored,
            "failed to create artifact directory: invalid dir path: /data",
        ),
        (
            StoreError::Lock(storage()).into(),
            "Failed",
            BACK_OFF,
            warning,
            None,
            "failed to acquire lock for artifact: invalid dir path: /data",
        ),
        (
            StoreError::Write(io().into()).into(),
            "ArchiveOperationFailed",
            BACK_OFF,
            warning,
            stored,
            "unable to archive artifact to storage: no space",
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
            StepError::Task("x".to_owned()),
            "Failed",
            BACK_OFF,
            quiet,
            None,
            "a task of the reconcile ended early: x",
        ),
    ] {
        let failure = Failure::from(error);
        assert_eq!(failure.reason, reason, "{message}");
        assert_eq!(failure.next, next, "{message}");
        assert_eq!(failure.notice, notice, "{message}");
        assert_eq!(failure.marks, marks, "{message}");
        assert_eq!(failure.cause.to_string(), message);
    }
}

#[test]
fn what_only_another_content_mends_waits_for_the_interval() {
    let minute = Duration::from_mins(1);
    let budget = flux_budget::Budget::new(1);
    let exhausted = budget.claim().take(2).unwrap_err();
    let fetch = |source: Fault| StepError::Fetch {
        bucket: String::new(),
        key: String::new(),
        source,
    };
    let list = |source: Fault| StepError::Index {
        bucket: String::new(),
        source: source.of_list(""),
    };
    let large = || Fault::Store(Box::new(flux_bucket::Error::TooLarge(1)));
    for (error, waits) in [
        (fetch(KeyFault::Twice(String::new()).into()), true),
        (fetch(large()), true),
        (StepError::IgnoreFile(large()), true),
        (list(exhausted.into()), true),
        (fetch(Fault::Timeout), false),
        (list(store("x")), false),
        (StepError::NotFound(String::new()), false),
    ] {
        let text = error.to_string();
        let failure = Failure::from(error.retried_after(minute));
        let want = if waits {
            Next::Retry(Pace::Exactly(minute))
        } else {
            BACK_OFF
        };
        assert_eq!(failure.next, want, "{text}");
        assert_eq!(failure.reason, "BucketOperationFailed");
    }
}
