//! Every failure with its reason, messages and pace, compared with the ledger.

use flux_references::ReadError;
use flux_runtime::outcome::Next;
use flux_runtime::queue::Key;

use super::super::decision::Exhausted;
use super::*;

const REQUEUE: Duration = Duration::from_secs(30);

/// What a failure does: reason, text of the log, message of the conditions, what follows.
struct Told {
    reason: &'static str,
    error: String,
    message: String,
    next: Next,
    failure: Failure,
}

fn told(error: impl Into<StepError>) -> Told {
    let failure = error.into().failure(REQUEUE);
    let text = failure.cause.to_string();
    Told {
        reason: failure.reason,
        message: failure.message.clone().unwrap_or_else(|| text.clone()),
        error: text,
        next: failure.next,
        failure,
    }
}

const BACK_OFF: Next = Next::Retry(Pace::BackOff);
const STALLED: Next = Next::Stalled {
    generation_observed: true,
};

fn missing(name: &str) -> ReadError {
    ReadError::NotFound {
        resource: "secrets".to_owned(),
        name: name.to_owned(),
    }
}

// HC-ACT-002
#[test]
fn a_spec_without_chart_leaves_no_trace_in_the_status() {
    let told = told(StepError::NoChart);
    assert_eq!(told.error, "invalid Chart reference");
    assert!(told.failure.leaves_conditions);
    assert_eq!(
        told.next,
        Next::Stalled {
            generation_observed: false
        }
    );
}

// HC-ACT-006, HC-WAIT-011
#[test]
fn invalid_expressions_stall() {
    let rules = flux_cluster::CustomRules::compile(&[flux_api::meta::CustomHealthCheck {
        api_version: "v1".to_owned(),
        kind: Some("ConfigMap".to_owned()),
        current: "a.".to_owned(),
        ..flux_api::meta::CustomHealthCheck::default()
    }]);
    let error = StepError::from(rules.unwrap_err());
    let (severity, reason, event) = error.event().unwrap();
    assert_eq!(
        (severity, reason),
        (Severity::Warning, R::InvalidCELExpression)
    );
    let told = told(error);
    assert_eq!((told.reason, told.next), ("InvalidCELExpression", STALLED));
    assert_eq!(told.message, format!("{TERMINALLY}: {event}"));
}

// HC-ACT-007, HC-CHART-007
#[test]
fn a_template_that_cannot_be_written_is_retried_quietly() {
    let denied = super::super::source::Denied::CrossNamespace {
        kind: "HelmChart",
        key: Key::new("infra", "apps-web"),
    };
    let told = told(TemplateError::from(denied));
    // HC-CHART-012
    assert_eq!(
        told.error,
        "cross-namespace references are not allowed: cannot access HelmChart infra/apps-web"
    );
    assert!(told.failure.leaves_conditions);
    assert_eq!(told.next, BACK_OFF);
}

// HC-DEP-002, HC-DEP-008
#[test]
fn dependencies_are_waited_for() {
    let error = || StepError::from(NotReady::Unready(Key::new("apps", "db")));
    let said = "dependency 'apps/db' is not ready".to_owned();
    assert_eq!(
        error().event(),
        Some((Severity::Info, R::DependencyNotReady, said.clone()))
    );
    assert_eq!(
        error().log_line(REQUEUE).unwrap(),
        "dependencies do not meet ready condition (dependency 'apps/db' is not ready): retrying in 30s"
    );
    let told = told(error());
    assert_eq!(
        (told.reason, told.message, told.next),
        ("DependencyNotReady", said, Next::Waiting(REQUEUE))
    );
    assert!(!told.failure.is_spread);
}

#[test]
fn sources_are_waited_for_or_asked_again() {
    // HC-CHART-014
    let denied = super::super::source::Denied::CrossNamespace {
        kind: "HelmChart",
        key: Key::new("infra", "c"),
    };
    let error = StepError::from(SourceError::from(denied));
    assert!(matches!(
        error.event(),
        Some((Severity::Warning, R::AccessDenied, _))
    ));
    let told_of = told(error);
    assert_eq!((told_of.reason, told_of.next), ("AccessDenied", STALLED));
    // HC-CHART-016
    let error = StepError::from(SourceError::from(missing("c")));
    assert_eq!(error.event(), None);
    let told_of = told(error);
    assert_eq!((told_of.reason, told_of.next), ("ArtifactFailed", BACK_OFF));
    assert_eq!(
        told_of.message,
        "could not get Source object: secrets \"c\" not found"
    );
    // HC-CHART-017, HC-CHART-019
    let error = SourceError::NotReady {
        kind: "HelmChart",
        key: Key::new("apps", "c"),
        why: "w".to_owned(),
    };
    let told_of = told(error);
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        (
            "SourceNotReady",
            "HelmChart 'apps/c' is not ready: w",
            Next::Waiting(REQUEUE)
        )
    );
    assert!(told_of.failure.is_spread);
}

#[test]
fn charts_that_cannot_be_loaded_are_fetched_again() {
    // HC-CHART-022
    let error = StepError::from(ChartError::NotFound("u".to_owned()));
    assert_eq!(error.event(), None);
    let told_of = told(error);
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        (
            "ArtifactFailed",
            "Source not ready: artifact not found. Retrying in 30s",
            Next::Waiting(REQUEUE)
        )
    );
    assert!(!told_of.failure.is_spread);
    // HC-CHART-023, HC-CHART-024
    let error = StepError::from(ChartError::Integrity("sha256:1".to_owned()));
    let (_, reason, event) = error.event().unwrap();
    let told_of = told(error);
    assert_eq!(reason, R::ArtifactFailed);
    assert_eq!(
        (told_of.reason, told_of.message, told_of.next),
        (
            "ArtifactFailed",
            format!("Could not load chart: {event}"),
            BACK_OFF
        )
    );
    // HC-CHART-027, HC-CHART-029
    let error = super::super::chart::MutateError::Version("x".to_owned());
    let error = StepError::from(ChartError::from(error));
    assert_eq!(error.event(), None);
    let told_of = told(error);
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        ("ChartMutateError", "invalid chart version x", BACK_OFF)
    );
}

#[test]
fn clusters_have_texts_of_their_own() {
    let key = || Key::new("apps", "kube");
    let cases = [
        // HC-REMOTE-008
        (
            ActingError::Secret {
                secret: key(),
                source: missing("kube"),
            },
            "could not get KubeConfig secret 'apps/kube': secrets \"kube\" not found",
        ),
        // HC-REMOTE-004
        (
            ActingError::NoKey {
                secret: key(),
                key: "value".to_owned(),
            },
            "KubeConfig secret 'apps/kube' does not contain a 'value' or 'value.yaml' key with data",
        ),
        (
            ActingError::NoKey {
                secret: key(),
                key: "k".to_owned(),
            },
            "KubeConfig secret 'apps/kube' does not contain a 'k' key with data",
        ),
        (
            ActingError::NoReference,
            "exactly one of .spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be set",
        ),
    ];
    for (error, want) in cases {
        let error = ClusterError(error);
        // HC-UNI-004
        assert_eq!(error.is_not_found(), want.contains("not found"), "{want}");
        let error = StepError::from(error);
        assert_eq!(error.event(), None);
        let told = told(error);
        assert_eq!(
            (told.reason, &*told.message, told.next),
            ("RESTClientError", want, BACK_OFF)
        );
    }
    // HC-REMOTE-009
    let error = ClusterError(ActingError::Authorities("unable to load root certificates"));
    assert!(!error.is_not_found());
    let told = told(StepError::from(error));
    assert_eq!(
        (told.reason, &*told.message, told.next),
        (
            "ResourceManagerError",
            "unable to load root certificates",
            BACK_OFF
        )
    );
}

#[test]
fn the_loop_over_a_release_ends_in_upstreams_words() {
    // HC-ACT-045, HC-ACT-046
    let told_of = told(ReleaseError::State("why".to_owned()));
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        (
            "StateError",
            "Could not determine release state: why",
            BACK_OFF
        )
    );
    assert_eq!(told_of.error, "cannot determine release state: why");
    // HC-ACT-067
    let told_of = told(ReleaseError::Exhausted {
        exhausted: Exhausted::Install,
        message: "Failed to install after 1 attempt(s)".to_owned(),
    });
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        (
            "RetriesExceeded",
            "Failed to install after 1 attempt(s)",
            STALLED
        )
    );
    assert_eq!(
        told_of.error,
        "exceeded maximum retries: cannot install release"
    );
    assert!(told_of.failure.leaves_ready && !told_of.failure.leaves_conditions);
    // HC-ACT-057, HC-ROLL-008
    let told_of = told(ReleaseError::MissingTarget);
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        (
            "MissingRollbackTarget",
            "Failed to perform remediation: missing target release for rollback: cannot remediate failed release",
            STALLED
        )
    );
    assert!(told_of.failure.leaves_ready);
    // HC-ACT-065
    let told_of = told(ReleaseError::Action(ActionFailed("it".to_owned())));
    assert_eq!(
        (told_of.reason, &*told_of.message, told_of.next),
        ("ReconcileError", "it", BACK_OFF)
    );
    // HC-ACT-073
    let told_of = told(ReleaseError::ShuttingDown);
    assert_eq!(told_of.error, "atomic release canceled: context canceled");
    assert!(told_of.failure.leaves_conditions);
}

// HC-VAL-007
#[test]
fn values_that_cannot_be_resolved_are_reported() {
    let error = StepError::from(ValuesError::Read(flux_references::ValuesError::TooLarge));
    let (severity, reason, event) = error.event().unwrap();
    assert_eq!((severity, reason), (Severity::Warning, R::ValuesError));
    let told = told(error);
    assert_eq!(
        (told.reason, told.message, told.next),
        ("ValuesError", event, BACK_OFF)
    );
}
