//! Tests of the conditions, events and retries of each failure.

use std::io;

use flux_http::SecretError;
use flux_oci::Error as OciError;
use flux_references::{ReferredError, SecretReadError};
use flux_registry::{AccountError, CredentialError};
use flux_runtime::outcome::Next;

use super::*;

fn full() -> io::Error {
    io::Error::other("no space")
}

#[test]
fn each_failure_has_its_reason_and_retry() {
    let back_off = Next::Retry(Pace::BackOff);
    let stalled = Next::Stalled {
        generation_observed: true,
    };
    let name = || "ns/name".to_owned();
    let cases: Vec<(StepError, &str, Next, &str)> = vec![
        // IR-REPO-062, IR-REPO-065
        (
            ReferenceError::Invalid("X".into()).into(),
            "ImageURLInvalid",
            stalled,
            "could not parse reference: X",
        ),
        // IR-REPO-053, IR-AUTH-003
        (
            AccessError::from(CredentialError::Secret {
                secret: name(),
                source: SecretReadError::NotFound("name".into()),
            })
            .into(),
            "AuthenticationFailed",
            back_off,
            "failed to configure authentication options: secrets \"name\" not found",
        ),
        // IR-AUTH-010
        (
            AccessError::from(CredentialError::Account(AccountError::NotFound(name()))).into(),
            "AuthenticationFailed",
            back_off,
            "failed to configure authentication options: serviceaccount 'ns/name' not found",
        ),
        (
            AccessError::from(CredentialError::Account(AccountError::Secret {
                account: name(),
                source: ReferredError::NotFound("ns/pull".into()),
            }))
            .into(),
            "AuthenticationFailed",
            back_off,
            "failed to configure authentication options: failed to get image pull secret for serviceaccount 'ns/name': secret 'ns/pull' not found",
        ),
        // IR-AUTH-012
        (
            AccessError::Proxy(ReferredError::NotFound(name())).into(),
            "AuthenticationFailed",
            back_off,
            "failed to configure authentication options: secret 'ns/name' not found",
        ),
        // IR-AUTH-015
        (
            AccessError::Certificates(SecretError::TlsMissing { secret: name() }).into(),
            "AuthenticationFailed",
            back_off,
            "failed to configure authentication options: secret 'ns/name' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'",
        ),
        // IR-AUTH-021
        (
            AccessError::Provider("other".into()).into(),
            "AuthenticationFailed",
            back_off,
            "failed to configure authentication options: provider 'other' not implemented",
        ),
        // IR-REPO-054
        (
            StepError::Decision(StoreError::Delete(full())),
            "Failure",
            back_off,
            "failed to determine if it's scan time: failed to delete tags: no space",
        ),
        // IR-REPO-056
        (
            StepError::Scan(ScanError::Registry(RegistryFault::Timeout)),
            "ReadOperationFailed",
            back_off,
            "scan failed: context deadline exceeded",
        ),
        // IR-REPO-086
        (
            StepError::Scan(ScanError::Exclusion {
                pattern: "[".into(),
                source: flux_golang::regexp::Regex::compile(b"[").unwrap_err(),
            }),
            "ReadOperationFailed",
            back_off,
            "scan failed: failed to compile regex [: error parsing regexp: missing closing ]: `[`",
        ),
        // IR-REPO-088, FR-N-080
        (
            StepError::Scan(ScanError::Store {
                canonical: "ghcr.io/app".into(),
                source: StoreError::Write(full()),
            }),
            "ReadOperationFailed",
            back_off,
            "scan failed: failed to set tags for \"ghcr.io/app\": failed to write tags: no space",
        ),
        // IR-REPO-111
        (
            StepError::Delete(StoreError::Delete(full())),
            "Failure",
            back_off,
            "failed to delete tags: no space",
        ),
    ];
    for (error, reason, next, message) in cases {
        let failure = Failure::from(error);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!((failure.reason, failure.next), (reason, next), "{message}");
    }
}

#[test]
fn the_pace_is_that_of_the_registry() {
    let (interval, longest) = (Duration::from_mins(5), Duration::from_mins(15));
    let paced =
        |error: ScanError, interval: Duration| Failure::from(error.paced(interval, longest)).next;
    let of_registry = |error: OciError| ScanError::Registry(RegistryFault::Registry(error));
    let later = |wait: Duration| Next::Retry(Pace::Exactly(wait));
    let back_off = Next::Retry(Pace::BackOff);
    let lost = of_registry(OciError::NoToken);
    assert_eq!(paced(lost, interval), back_off);
    let budget = flux_budget::Budget::new(1);
    let too_large = budget.claim().take(2).unwrap_err();
    assert_eq!(
        paced(ScanError::Memory(too_large), interval),
        later(interval)
    );
    let large = of_registry(OciError::Memory(too_large));
    assert_eq!(paced(large, interval), later(interval));
    let busy = budget.claim();
    busy.take(1).unwrap();
    let busy = budget.claim().take(1).unwrap_err();
    assert_eq!(paced(ScanError::Memory(busy), interval), back_off);
}
