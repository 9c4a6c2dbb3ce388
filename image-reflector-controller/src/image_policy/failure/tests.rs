//! Tests of the conditions, events and retries of each failure.

use flux_api::image::ImagePolicyChoice;
use flux_runtime::outcome::Next;

use super::*;
use crate::selection::Order;

#[test]
fn each_failure_has_its_reason_and_retry() {
    let back_off = Next::Retry(Pace::BackOff);
    let stalled = Next::Stalled {
        generation_observed: true,
    };
    let key = || Key::new("infra", "app");
    let missing = ReadError::NotFound {
        resource: "ImageRepository.image.toolkit.fluxcd.io".into(),
        name: "app".into(),
    };
    let digest = |source| StepError::Digest {
        image: "ghcr.io/app".into(),
        tag: "v1".into(),
        source: Box::new(source),
    };
    let cases: Vec<(StepError, &str, Next, &str)> = vec![
        // IR-POL-035
        (
            StepError::NoInterval,
            "IntervalNotConfigured",
            stalled,
            "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
        ),
        // IR-POL-037, IR-POL-038
        (
            StepError::Repository(RepositoryError::Missing(missing)),
            "DependencyNotReady",
            back_off,
            "failed to get the referred ImageRepository: referenced ImageRepository does not exist: ImageRepository.image.toolkit.fluxcd.io \"app\" not found",
        ),
        // IR-POL-039
        (
            StepError::Repository(RepositoryError::Unreadable(ReadError::Request(
                flux_objects::path::name("").unwrap_err().into(),
            ))),
            "Failure",
            back_off,
            "failed to get the referred ImageRepository: resource name may not be empty",
        ),
        // IR-POL-040, IR-POL-044
        (
            StepError::Repository(RepositoryError::CrossNamespace(key())),
            "AccessDenied",
            back_off,
            "failed to get the referred ImageRepository: cannot access 'ImageRepository/infra/app', cross-namespace references have been blocked",
        ),
        // IR-POL-041
        (
            StepError::Repository(RepositoryError::Denied(AccessDenied::NoAccessFrom {
                object: key().to_string(),
            })),
            "AccessDenied",
            back_off,
            "failed to get the referred ImageRepository: access denied: 'infra/app' can't be accessed due to missing ACL labels on 'accessFrom'",
        ),
        // IR-POL-042
        (
            StepError::Repository(RepositoryError::Denied(AccessDenied::LabelMismatch {
                object: key().to_string(),
                namespace: "apps".into(),
            })),
            "AccessDenied",
            back_off,
            "failed to get the referred ImageRepository: access denied: 'infra/app' can't be accessed due to ACL labels mismatch on namespace 'apps'",
        ),
        // IR-POL-045
        (
            StepError::Image(ReferenceError::Invalid("X".into())),
            "ImageURLInvalid",
            stalled,
            "could not parse reference: X",
        ),
        // IR-POL-047, IR-POL-070
        (
            StepError::Order(Order::new(&ImagePolicyChoice::default()).unwrap_err()),
            "InvalidPolicy",
            stalled,
            "invalid policy: given ImagePolicyChoice object is invalid",
        ),
        // IR-POL-048, IR-PROC-010
        (
            StepError::NoTags(Duration::from_millis(29_600)),
            "DependencyNotReady",
            Next::Waiting(Duration::from_millis(29_600)),
            "retrying in 30s error: no tags in database",
        ),
        // IR-POL-050
        (
            StepError::Select(SelectError::Empty),
            "Failure",
            back_off,
            "version list argument cannot be empty",
        ),
        (
            StepError::Read(StoreError::Name),
            "Failure",
            back_off,
            "failed to read tags from database: repo namespace and name are required",
        ),
        // IR-POL-051, IR-POL-052
        (
            digest(DigestError::Registry {
                reference: "ghcr.io/app:v1".into(),
                source: RegistryFault::Timeout,
            }),
            "Failed",
            back_off,
            "failed fetching digest of ghcr.io/app:v1: failed fetching descriptor for \"ghcr.io/app:v1\": context deadline exceeded",
        ),
        (
            digest(DigestError::Access(AccessError::Provider("x".into()))),
            "Failed",
            back_off,
            "failed fetching digest of ghcr.io/app:v1: failed to configure authentication options: provider 'x' not implemented",
        ),
        // IR-POL-110
        (
            digest(DigestError::Reference {
                reference: "ghcr.io/app:?".into(),
                source: NameError::Empty,
            }),
            "Failed",
            back_off,
            "failed fetching digest of ghcr.io/app:v1: failed parsing reference \"ghcr.io/app:?\": a repository name must be specified",
        ),
    ];
    for (error, reason, next, message) in cases {
        let failure = Failure::from(error);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!((failure.reason, failure.next), (reason, next), "{message}");
    }
}
