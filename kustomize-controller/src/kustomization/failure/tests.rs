//! Tests that each failure of a step has its row in the table.

use std::collections::BTreeSet;

use flux_api::meta::CustomHealthCheck;
use flux_budget::{Budget, Exhausted};
use flux_cel::{CompileError, Type};
use flux_cluster::{CustomRules, MalformedId, ObjectId, WaitError};
use flux_references::ReadError;
use flux_runtime::outcome::Notice;
use flux_runtime::queue::Key;
use flux_runtime::reason::Reason as _;
use flux_runtime::run::StatusError;
use flux_tenancy::AccessDenied;
use flux_tree::TreePath;

use super::super::decryption::SourcesError;
use super::*;

const INTERVAL: Duration = Duration::from_mins(10);
const RETRY: Duration = Duration::from_mins(2);
const REQUEUE: Duration = Duration::from_secs(30);
const TIMINGS: Timings = Timings {
    interval: INTERVAL,
    retry: RETRY,
    timeout: Duration::from_mins(5),
    requeue: REQUEUE,
};

const STALLED: Next = Next::Stalled {
    generation_observed: false,
};
const OBSERVED: Next = Next::Stalled {
    generation_observed: true,
};
const BACK_OFF: Next = Next::Retry(Pace::BackOff);
const AT_RETRY: Next = Next::Retry(Pace::Exactly(RETRY));
const AT_INTERVAL: Next = Next::Retry(Pace::Exactly(INTERVAL));

fn key() -> Key {
    Key::new("ns", "dep")
}

/// The error for `bytes` if another reconcile holds a budget of one byte.
fn exhausted(bytes: u64) -> Exhausted {
    let budget = Budget::new(1);
    let other = budget.claim();
    other.take(1).unwrap();
    budget.claim().take(bytes).unwrap_err()
}

fn missing() -> flux_objects::Error {
    let message = "kustomizations.kustomize.toolkit.fluxcd.io \"dep\" not found";
    let status = kube::core::Status::failure(message, "NotFound").with_code(404);
    kube::Error::Api(status.boxed()).into()
}

fn no_bucket() -> ReadError {
    ReadError::NotFound {
        resource: "Bucket.source.toolkit.fluxcd.io".into(),
        name: "b".into(),
    }
}

fn fetched(error: FetchError) -> StepError {
    FilesError::Fetch(Arc::new(error)).into()
}

fn too_large() -> StatusError {
    StatusError::TooLarge {
        bytes: 2,
        source: missing(),
    }
}

/// An error, and its row: reason, retry, event, whether the reconciler logs it, the history's status, message.
type Row = (
    StepError,
    &'static str,
    Next,
    Notice,
    bool,
    Option<R>,
    &'static str,
);

fn duplicate_rules() -> InvalidRules {
    let check = CustomHealthCheck {
        api_version: "v1".into(),
        kind: Some("ConfigMap".into()),
        current: "true".into(),
        ..CustomHealthCheck::default()
    };
    CustomRules::compile(&[check.clone(), check])
        .unwrap_err()
        .into()
}

fn no_bool() -> CompileError {
    CompileError::Output {
        expected: Type::Bool,
        found: Type::Int,
    }
}

fn before_the_work() -> Vec<Row> {
    let (warning, quiet) = (Notice::Warning, Notice::Quiet);
    vec![
        // KC-PROC-063
        (
            duplicate_rules().into(),
            "InvalidCELExpression",
            OBSERVED,
            warning,
            false,
            None,
            "Reconciliation failed terminally due to configuration error: duplicate custom health check for GroupKind \
             ConfigMap at healthchecks[1]",
        ),
        // KC-DEP-009
        (
            NotReady::Invalid {
                name: "db".into(),
                source: no_bool().into(),
            }
            .into(),
            "InvalidCELExpression",
            OBSERVED,
            warning,
            false,
            None,
            "Reconciliation failed terminally due to configuration error: terminal error: failed to evaluate dependency db: \
             CEL expression output type mismatch: expected bool, got int",
        ),
        // KC-SRC-004, KC-API-033
        (
            SourceError::Denied(AccessDenied::CrossNamespace {
                kind: "GitRepository".into(),
                key: Key::new("infra", "repo"),
            })
            .into(),
            "AccessDenied",
            STALLED,
            warning,
            false,
            None,
            "can't access 'GitRepository/infra/repo', cross-namespace references have been blocked",
        ),
        // KC-SRC-005
        (
            SourceError::Denied(AccessDenied::GateDisabled { key: key() }).into(),
            "AccessDenied",
            STALLED,
            warning,
            false,
            None,
            "can't access 'ExternalArtifact/ns/dep', ExternalArtifact feature gate is disabled",
        ),
        // KC-SRC-006, KC-PROC-006
        (
            SourceError::NoArtifact.into(),
            "ArtifactFailed",
            Next::Waiting(REQUEUE),
            quiet,
            false,
            None,
            "Source artifact not found, retrying in 30s",
        ),
        // KC-SRC-002
        (
            SourceError::NotFound(no_bucket()).into(),
            "ArtifactFailed",
            Next::Waiting(RETRY),
            quiet,
            true,
            None,
            "Bucket.source.toolkit.fluxcd.io \"b\" not found",
        ),
        // KC-SRC-003
        (
            SourceError::Unavailable(key(), missing().into()).into(),
            "ArtifactFailed",
            BACK_OFF,
            quiet,
            false,
            None,
            "unable to get source 'ns/dep': kustomizations.kustomize.toolkit.fluxcd.io \"dep\" not found",
        ),
        (
            SourceError::Kind("b".into(), "Other".into()).into(),
            "ArtifactFailed",
            BACK_OFF,
            quiet,
            false,
            None,
            "source `b` kind 'Other' not supported",
        ),
        // KC-DEP-003, KC-DEP-006
        (
            NotReady::Missing(key(), missing()).into(),
            "DependencyNotReady",
            Next::Waiting(REQUEUE),
            quiet,
            true,
            None,
            "dependency 'ns/dep' not found: kustomizations.kustomize.toolkit.fluxcd.io \"dep\" not found",
        ),
        (
            NotReady::Unready(key()).into(),
            "DependencyNotReady",
            Next::Waiting(REQUEUE),
            quiet,
            true,
            None,
            "dependency 'ns/dep' is not ready",
        ),
        (
            NotReady::Behind(key()).into(),
            "DependencyNotReady",
            Next::Waiting(REQUEUE),
            quiet,
            true,
            None,
            "dependency 'ns/dep' revision is not up to date",
        ),
    ]
}

fn until_manifests_are_built() -> Vec<Row> {
    let (warning, quiet) = (Notice::Warning, Notice::Quiet);
    vec![
        // KC-SOPS-031
        (
            KeysError::NotFound(ReadError::NotFound {
                resource: "secrets".into(),
                name: "age".into(),
            })
            .into(),
            "BuildFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "secrets \"age\" not found",
        ),
        // KC-SOPS-006, KC-SOPS-009
        (
            BuildError::Sources(Box::new(SourcesError::TooLarge(5_242_881))).into(),
            "BuildFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "error decrypting sources: cannot decrypt file with size (5242881 bytes) exceeding limit (5242880)",
        ),
        // KC-SRC-008
        (
            fetched(FetchError::NotFound),
            "ArtifactFailed",
            Next::Waiting(REQUEUE),
            quiet,
            false,
            None,
            "Source is not ready, artifact not found, retrying in 30s",
        ),
        // KC-SRC-009
        (
            fetched(FetchError::TooLarge(7)),
            "ArtifactFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "artifact is greater than the max download size of 7 bytes",
        ),
        // An artifact larger than the budget is retried at the interval, one that may fit later sooner.
        (
            fetched(FetchError::Memory(exhausted(2))),
            "ArtifactFailed",
            AT_INTERVAL,
            warning,
            false,
            None,
            "failed to extract archive: not enough memory: 2 B needed, 1 B available to this process",
        ),
        (
            fetched(FetchError::Memory(exhausted(1))),
            "ArtifactFailed",
            BACK_OFF,
            warning,
            false,
            None,
            "failed to extract archive: not enough memory: 1 B needed, 1 B of 1 B in use by other reconciliations",
        ),
        (
            FilesError::TimedOut {
                url: "http://x/a".into(),
            }
            .into(),
            "ArtifactFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "failed to download archive: GET http://x/a: context deadline exceeded",
        ),
        // KC-SRC-015
        (
            FilesError::NoFolder(TreePath::new("apps").unwrap()).into(),
            "ArtifactFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "kustomization path not found: stat apps: no such file or directory",
        ),
        (
            FilesError::Path(flux_tree::PathError::Nul).into(),
            "ArtifactFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "path holds a NUL character",
        ),
        // KC-BLD-029
        (
            BuildError::Panicked("oh").into(),
            "BuildFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "kustomize build failed: recovered from kustomize build panic: oh",
        ),
        (
            BuildError::Memory(exhausted(2)).into(),
            "BuildFailed",
            AT_RETRY,
            warning,
            false,
            None,
            "kustomize build failed: not enough memory: 2 B needed, 1 B available to this process",
        ),
        (
            BuildError::Memory(exhausted(1)).into(),
            "BuildFailed",
            BACK_OFF,
            warning,
            false,
            None,
            "kustomize build failed: not enough memory: 1 B needed, 1 B of 1 B in use by other reconciliations",
        ),
    ]
}

fn on_the_cluster() -> Vec<Row> {
    let (warning, quiet) = (Notice::Warning, Notice::Quiet);
    let applying = Some(R::ReconciliationFailed);
    vec![
        // KC-REMOTE-001
        (
            ActingError::User.into(),
            "ReconciliationFailed",
            AT_RETRY,
            quiet,
            false,
            None,
            "net/http: invalid header field value for \"Impersonate-User\"",
        ),
        // KC-PRUNE-023, KC-API-046
        (
            NoRoom {
                entries: 3,
                source: too_large(),
            }
            .into(),
            "ReconciliationFailed",
            AT_RETRY,
            warning,
            false,
            applying,
            "nothing was applied, since the inventory of 3 objects does not fit into the status of this Kustomization: split it \
             into several that apply fewer objects each: failed to update status: the object has grown too large for the API \
             server, with 2 bytes of status: let it hold less, or split it into several: \
             kustomizations.kustomize.toolkit.fluxcd.io \"dep\" not found",
        ),
        (
            ApplyError::Encrypted(ObjectId {
                kind: "Secret".into(),
                name: "s".into(),
                ..ObjectId::default()
            })
            .into(),
            "ReconciliationFailed",
            AT_RETRY,
            warning,
            false,
            applying,
            "Secret/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
        ),
        (
            PruneError::Inventory(MalformedId("x".into())).into(),
            "ReconciliationFailed",
            AT_RETRY,
            warning,
            false,
            applying,
            "unable to parse stored object metadata: x",
        ),
        (
            PruneError::Status(StatusError::Conflict).into(),
            "PruneFailed",
            AT_RETRY,
            warning,
            false,
            Some(R::PruneFailed),
            "failed to update status: 5 tries met a conflict",
        ),
        // KC-HEALTH-006
        (
            HealthError::NotReady {
                took: Duration::from_secs(3),
                source: WaitError::NotReady {
                    timed_out: true,
                    objects: vec!["Deployment/ns/web status: 'InProgress'".into()],
                    causes: vec!["Deployment/ns/web: its pod says why".into()],
                },
            }
            .into(),
            "HealthCheckFailed",
            AT_RETRY,
            warning,
            false,
            Some(R::HealthCheckFailed),
            "health check failed after 3s: timeout waiting for: [Deployment/ns/web status: 'InProgress']; Deployment/ns/web: its pod says why",
        ),
        // KC-HEALTH-011
        (
            HealthError::Canceled {
                by: "GitRepository/ns/app".into(),
            }
            .into(),
            "HealthCheckCanceled",
            Next::Superseded,
            quiet,
            false,
            None,
            "New reconciliation triggered by GitRepository/ns/app",
        ),
        (
            HealthError::ShuttingDown.into(),
            "HealthCheckCanceled",
            Next::Superseded,
            quiet,
            false,
            None,
            "health checks canceled, the controller is shutting down",
        ),
        // KC-PROC-071: the text of the runtime
        (
            HealthError::Status(Box::new(Failure::retry(
                R::Progressing,
                "written by the frame",
                Pace::BackOff,
            )))
            .into(),
            "Progressing",
            BACK_OFF,
            warning,
            false,
            None,
            "written by the frame",
        ),
        (
            Failure::retry(R::Progressing, "written by the frame", Pace::BackOff).into(),
            "Progressing",
            BACK_OFF,
            warning,
            false,
            None,
            "written by the frame",
        ),
        // KC-PRUNE-017
        (
            DeletionError::Account(missing()).into(),
            "PruneFailed",
            BACK_OFF,
            quiet,
            false,
            None,
            "kustomizations.kustomize.toolkit.fluxcd.io \"dep\" not found",
        ),
        (
            DeletionError::Acting(ActingError::User).into(),
            "PruneFailed",
            BACK_OFF,
            quiet,
            false,
            None,
            "net/http: invalid header field value for \"Impersonate-User\"",
        ),
        (
            DeletionError::ShuttingDown.into(),
            "PruneFailed",
            Next::Waiting(Duration::ZERO),
            quiet,
            false,
            None,
            "the controller is shutting down while resources are being terminated",
        ),
    ]
}

/// The name of the failed step. A new step has to be added here, and needs a row.
fn step(error: &StepError) -> &'static str {
    match error {
        StepError::Rules(_) => "rules",
        StepError::Source(_) => "source",
        StepError::Dependency(_) => "dependency",
        StepError::Files(_) => "files",
        StepError::Acting(_) => "acting",
        StepError::Keys(_) => "keys",
        StepError::Build(_) => "build",
        StepError::Room(_) => "room",
        StepError::Apply(_) => "apply",
        StepError::Prune(_) => "prune",
        StepError::Health(_) => "health",
        StepError::Deletion(_) => "deletion",
        StepError::Status(_) => "status",
    }
}

#[test]
fn every_failure_has_the_expected_outcome() {
    // The cases above name the rows.
    let mut steps = BTreeSet::new();
    let rows = [
        before_the_work(),
        until_manifests_are_built(),
        on_the_cluster(),
    ];
    for (error, reason, next, notice, logged, history, message) in rows.into_iter().flatten() {
        steps.insert(step(&error));
        assert_eq!(error.history_status(), history, "{message}");
        let failure = error.failure(&TIMINGS);
        assert_eq!(failure.cause.to_string(), message);
        assert_eq!(
            (
                failure.reason,
                failure.next,
                failure.notice,
                failure.is_logged
            ),
            (reason, next, notice, logged),
            "{message}"
        );
        assert_eq!(failure.marks, None, "{message}");
    }
    assert_eq!(steps.len(), 13, "{steps:?}");
}

#[test]
fn some_failures_have_their_own_event_and_log_line() {
    // KC-DEP-006, KC-HEALTH-011, KC-SRC-002
    let told = |error: StepError| {
        let event = error.event(&TIMINGS);
        let event = event.map(|(reason, text)| (reason.as_str(), text));
        (event, error.log_line(&TIMINGS, "Bucket/b"))
    };
    let dependencies = "Dependencies do not meet ready condition, retrying in 30s".to_owned();
    assert_eq!(
        told(NotReady::Unready(key()).into()),
        (
            Some(("DependencyNotReady", dependencies.clone())),
            Some(dependencies)
        )
    );
    let canceled = "Health checks canceled due to new reconciliation triggered by a/b/c".to_owned();
    assert_eq!(
        told(HealthError::Canceled { by: "a/b/c".into() }.into()),
        (
            Some(("HealthCheckCanceled", canceled)),
            Some("New reconciliation triggered, canceling health checks".into())
        )
    );
    assert_eq!(
        told(SourceError::NotFound(no_bucket()).into()),
        (None, Some("Source 'Bucket/b' not found".into()))
    );
    assert_eq!(told(SourceError::NoArtifact.into()), (None, None));
}

#[test]
fn a_cluster_that_cannot_be_reached_has_a_warning_of_its_own() {
    // KC-REMOTE-006
    let secret = Key::new("ns", "remote");
    let error = StepError::from(ActingError::NoKey {
        secret,
        key: "value".into(),
    });
    let text = "KubeConfig secret 'ns/remote' does not contain a 'value' key with a kubeconfig";
    assert_eq!(error.to_string(), text);
    let (reason, message) = error.warning().unwrap();
    assert_eq!(reason.as_str(), "ReconciliationFailed");
    assert_eq!(message, format!("failed to build kube client: {text}"));
    assert!(StepError::from(SourceError::NoArtifact).warning().is_none());
}
