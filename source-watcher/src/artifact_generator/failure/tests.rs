//! The conditions, events and retries of failures.

use flux_references::ObjectRef;
use flux_runtime::outcome::Next;

use super::*;
use crate::artifact_generator::inputs::{FileError, InputsError};
use crate::artifact_generator::namespaces::RulesError;

fn policy() -> Policy {
    Policy {
        requeue_dependency: Duration::from_secs(5),
        ..Policy::default()
    }
}

fn key() -> Key {
    Key::new("ns", "app")
}

fn output(name: &str, error: OutputError) -> OutputFailure {
    OutputFailure {
        name: name.to_owned(),
        error,
    }
}

fn build(text: &str) -> OutputError {
    let error = FileError::Alias(text.to_owned());
    OutputError::Build(BuildError::Inputs(InputsError::Read(
        text.to_owned(),
        error,
    )))
}

fn refused() -> flux_objects::Error {
    let status = kube::core::Status::failure("no", "Forbidden").with_code(403);
    kube::Error::Api(status.boxed()).into()
}

#[test]
fn failures_match_the_ledger() {
    const STALLED: Next = Next::Stalled {
        generation_observed: true,
    };
    let wait = Next::Waiting(Duration::from_secs(5));
    let again = Next::Retry(Pace::BackOff);
    for (error, reason, next, message) in [
        // SW-GEN-050, SW-GEN-052
        (
            StepError::Validation(ValidationError::DuplicateAlias("a".to_owned())),
            "ValidationFailed",
            STALLED,
            "duplicate source alias 'a' found",
        ),
        // SW-GEN-053
        (
            StepError::Validation(ValidationError::ForeignSource("Bucket/o/b".to_owned())),
            "AccessDenied",
            STALLED,
            "cross-namespace reference to source Bucket/o/b is not allowed",
        ),
        // SW-GEN-210
        (
            StepError::Validation(RulesError::Reserved("default".to_owned()).into()),
            "AccessDenied",
            STALLED,
            "namespace \"default\" is reserved and cannot be managed",
        ),
        (
            StepError::Validation(RulesError::NoAccount.into()),
            "ValidationFailed",
            STALLED,
            "managedNamespaces need a service account: set spec.serviceAccountName, or --default-service-account",
        ),
        // SW-GEN-061
        (
            StepError::Observe(ObserveError::NotReady(ObjectRef::new("Bucket", key()))),
            "SourceFetchFailed",
            wait,
            "get sources failed: source 'Bucket/ns/app' is not ready",
        ),
        // SW-GEN-081, SW-ART-002
        (
            StepError::Fetch(Arc::new(FetchError::NotFound).into()),
            "SourceFetchFailed",
            wait,
            "fetch sources failed: file not found",
        ),
        // SW-GEN-092
        (
            StepError::Fetch(FetchSourceError::Deadline),
            "SourceFetchFailed",
            wait,
            "fetch sources failed: context deadline exceeded",
        ),
        // SW-GEN-118, SW-GEN-201
        (
            StepError::PathPattern(PathPatternError::Empty("@a/{}".to_owned())),
            "BuildFailed",
            STALLED,
            "failed to expand path pattern: pathPattern \"@a/{}\": empty capture variable",
        ),
        // SW-GEN-208
        (
            StepError::Access(AccessError::Denied {
                account: key(),
                verb: "patch",
                namespace: "other".to_owned(),
            }),
            "AccessDenied",
            STALLED,
            "service account ns/app is not allowed to patch externalartifacts in namespace other",
        ),
        // SW-GEN-082, FR-N-114
        (
            StepError::Outputs(vec![
                output("one", build("x")),
                output("two", OutputError::Publish(PublishError::Apply(refused()))),
            ]),
            "BuildFailed",
            again,
            "one build failed: failed to read inputs file \"x\": source alias \"x\" not found; two reconcile failed: failed to apply ExternalArtifact: no",
        ),
        // SW-GEN-083, SW-ART-057
        (
            StepError::Outputs(vec![output(
                "two",
                OutputError::Publish(PublishError::Status(refused())),
            )]),
            "ReconciliationFailed",
            again,
            "two reconcile failed: failed to patchStatus ExternalArtifact status: no",
        ),
        // SW-ART-059, SW-ART-071
        (
            StepError::Outputs(vec![output(
                "app",
                OutputError::Conflict {
                    key: key(),
                    owner: "other/gen".to_owned(),
                },
            )]),
            "OwnershipConflict",
            again,
            "app reconcile failed: ExternalArtifact ns/app is managed by ArtifactGenerator other/gen",
        ),
        (
            StepError::Outputs(vec![output(
                "app",
                OutputError::Namespace(NamespaceError::Conflict {
                    namespace: "team".to_owned(),
                    owner: "other/gen".to_owned(),
                }),
            )]),
            "OwnershipConflict",
            again,
            "app reconcile failed: Namespace team is managed by ArtifactGenerator other/gen",
        ),
        (
            StepError::Remove(refused()),
            "Failed",
            again,
            "failed to delete ExternalArtifacts: no",
        ),
        (
            StepError::Task,
            "Failed",
            again,
            "a task of the reconcile ended early",
        ),
        (
            StepError::Status(Box::new(Failure::retry(
                "Failed",
                "no answer",
                Pace::BackOff,
            ))),
            "Failed",
            again,
            "no answer",
        ),
    ] {
        let failure = error.failure(&policy());
        assert_eq!(
            (failure.reason, failure.next, &*failure.cause.to_string()),
            (reason, next, message)
        );
        assert_eq!(failure.notice, Notice::Warning, "{message}");
    }
}

#[test]
fn a_wait_of_zero_ends() {
    let error = StepError::Fetch(FetchSourceError::Deadline);
    let failure = error.failure(&Policy::default());
    assert_eq!(failure.next, Next::Waiting(Duration::from_millis(1)));
}

#[test]
fn what_needs_more_memory_than_there_is_waits_for_the_interval() {
    let budget = flux_budget::Budget::new(10);
    let exhausted = budget.claim().take(20).unwrap_err();
    let fetch = Arc::new(FetchError::Memory(exhausted)).into();
    let failure = StepError::Fetch(fetch).failure(&policy());
    assert_eq!(failure.next, Next::Waiting(INTERVAL));
}
