//! Dependencies between Kustomizations: `spec.dependsOn` (KC-DEP-001..013).

use flux_api::kustomize::Kustomization;
use flux_objects::Error;
use flux_references::{Cycle, ReadyExpressionError, Waiting, is_ready, ready_by_expression};
use flux_runtime::queue::Key;
use kube::Client;

use super::plan::{Plan, source_reference};

/// Why a dependency is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("dependency '{0}' not found")]
    Missing(Key, #[source] Error),
    #[error("dependency '{0}' is not ready")]
    Unready(Key),
    #[error("dependency '{0}' is not ready according to readyExpr eval")]
    Refused(Key),
    /// The expression has no value for these objects (KC-DEP-010).
    #[error(transparent)]
    Expression(ReadyExpressionError),
    /// The expression cannot be compiled. `terminal error` is how upstream's library marks an error that is not retried.
    #[error(
        "Reconciliation failed terminally due to configuration error: terminal error: failed to evaluate dependency {name}"
    )]
    Invalid {
        /// The dependency's name.
        name: String,
        #[source]
        source: ReadyExpressionError,
    },
    #[error("dependency '{0}' revision is not up to date")]
    Behind(Key),
    /// It will not become ready: it waits for this object.
    #[error("{}: {cycle}", flux_errors::chain(error))]
    Cycle {
        /// What upstream says.
        error: Box<NotReady>,
        /// The objects of the cycle.
        cycle: Cycle,
    },
}

/// Checks that all dependencies are ready.
///
/// # Errors
/// The first dependency, in the order of the list, that is not ready (KC-DEP-003).
pub(super) async fn ready(
    client: &Client,
    plan: &Plan<'_>,
    waiting: &Waiting,
) -> Result<(), NotReady> {
    let additive = plan.policy.additive_expressions;
    let check = |index: usize, key: &Key, found: Result<Kustomization, Error>| {
        let found = found.map_err(|error| NotReady::Missing(key.clone(), error))?;
        let reference = plan.spec().depends_on.get(index);
        let expression = reference.and_then(|reference| reference.ready_expr.as_deref());
        if let Some(expression) = expression.filter(|expression| !expression.is_empty()) {
            check_expression(expression, &plan.object, &found, key)?;
            if !additive {
                return Ok(()); // it replaces the checks below (KC-DEP-007)
            }
        }
        check(&plan.object, plan.revision(), &found, key)
    };
    let checked = waiting.check(client, &plan.key, &plan.dependencies, check);
    checked.await.map_err(|error| match error {
        error @ (NotReady::Unready(_) | NotReady::Behind(_) | NotReady::Refused(_)) => {
            match waiting.cycle(&plan.key) {
                Some(cycle) => NotReady::Cycle {
                    error: Box::new(error),
                    cycle,
                },
                None => error,
            }
        }
        other => other,
    })?;
    if !plan.dependencies.is_empty() {
        tracing::info!("All dependencies are ready, proceeding with reconciliation");
    }
    Ok(())
}

/// Checks a dependency by the expression that `object` has for it (KC-DEP-007, KC-DEP-008).
fn check_expression(
    expression: &str,
    object: &Kustomization,
    dependency: &Kustomization,
    key: &Key,
) -> Result<(), NotReady> {
    match ready_by_expression(expression, object, dependency) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotReady::Refused(key.clone())),
        Err(source @ ReadyExpressionError::Compile(_)) => Err(NotReady::Invalid {
            name: key.name.clone(),
            source,
        }),
        Err(error @ ReadyExpressionError::Evaluate(_)) => Err(NotReady::Expression(error)),
    }
}

/// Checks a dependency of `object`, which is about to apply `revision` (KC-DEP-004, KC-DEP-005).
fn check(
    object: &Kustomization,
    revision: &str,
    dependency: &Kustomization,
    key: &Key,
) -> Result<(), NotReady> {
    if !is_ready(dependency) {
        return Err(NotReady::Unready(key.clone()));
    }
    let same_source = source_reference(object) == source_reference(dependency);
    if same_source && applied_revision(dependency) != Some(revision) {
        return Err(NotReady::Behind(key.clone()));
    }
    Ok(())
}

/// The last revision that a Kustomization applied.
pub(crate) fn applied_revision(object: &Kustomization) -> Option<&str> {
    object.status.as_ref()?.last_applied_revision.as_deref()
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{
        CrossNamespaceSourceReference, KustomizationSpec, KustomizationStatus,
    };
    use flux_api::meta::Condition;

    use super::*;

    fn kustomization(source: &str) -> Kustomization {
        let source_ref = CrossNamespaceSourceReference {
            name: source.into(),
            ..CrossNamespaceSourceReference::default()
        };
        let mut object = Kustomization::new(
            "x",
            KustomizationSpec {
                source_ref,
                ..KustomizationSpec::default()
            },
        );
        object.metadata.namespace = Some("ns".into());
        object.metadata.generation = Some(2);
        object
    }

    fn dependency(source: &str, ready: &str, observed: i64, applied: &str) -> Kustomization {
        let condition = Condition {
            type_: "Ready".into(),
            status: ready.into(),
            reason: "x".into(),
            ..Condition::default()
        };
        let status = KustomizationStatus {
            conditions: vec![condition],
            observed_generation: Some(observed),
            last_applied_revision: Some(applied.into()),
            ..KustomizationStatus::default()
        };
        Kustomization {
            status: Some(status),
            ..kustomization(source)
        }
    }

    #[test]
    fn a_dependency_is_ready_at_the_same_revision() {
        // KC-DEP-003, KC-DEP-004, KC-DEP-005
        let key = Key::new("ns", "dep");
        let said = |dependency: &Kustomization| {
            check(&kustomization("repo"), "main@sha1:2", dependency, &key)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(said(&dependency("repo", "True", 2, "main@sha1:2")), None);
        let unready = Some("dependency 'ns/dep' is not ready".to_owned());
        assert_eq!(
            said(&dependency("repo", "False", 2, "main@sha1:2")),
            unready
        );
        assert_eq!(said(&dependency("repo", "True", 1, "main@sha1:2")), unready);
        assert_eq!(said(&kustomization("repo")), unready);
        let behind = Some("dependency 'ns/dep' revision is not up to date".to_owned());
        assert_eq!(said(&dependency("repo", "True", 2, "main@sha1:1")), behind);
        assert_eq!(said(&dependency("other", "True", 2, "main@sha1:1")), None);
    }

    #[test]
    fn an_expression_decides_whether_a_dependency_is_ready() {
        let key = Key::new("ns", "dep");
        let said = |expression: &str| {
            let dependency = dependency("repo", "False", 1, "main@sha1:1");
            let checked = check_expression(expression, &kustomization("repo"), &dependency, &key);
            checked
                .err()
                .map(|error| flux_runtime::outcome::chain(&error))
        };
        // KC-DEP-003, KC-DEP-007
        assert_eq!(
            said("dep.status.lastAppliedRevision == 'main@sha1:1'"),
            None
        );
        assert_eq!(
            said("dep.status.observedGeneration == self.metadata.generation").unwrap(),
            "dependency 'ns/dep' is not ready according to readyExpr eval"
        );
        // KC-DEP-009
        let prefix = "Reconciliation failed terminally due to configuration error: terminal error: failed to evaluate dependency dep: ";
        assert_eq!(
            said("dep.status").unwrap(),
            format!("{prefix}CEL expression output type mismatch: expected bool, got dyn")
        );
        assert!(said("dep.").unwrap().starts_with(&format!(
            "{prefix}failed to parse the CEL expression 'dep.': "
        )));
        // KC-DEP-010
        assert_eq!(
            said("dep.status.phase == 'x'").unwrap(),
            "failed to evaluate the CEL expression 'dep.status.phase == 'x'': no such key: phase"
        );
    }
}
