//! Dependencies between HelmReleases: `spec.dependsOn` (HC-DEP-001..010).

use flux_api::helm::HelmRelease;
use flux_objects::Error;
use flux_references::{
    ReadyExpressionError, Waiting, dependency_keys, is_ready, ready_by_expression,
};
use flux_runtime::queue::Key;
use kube::Client;

use super::settings::own_namespace;

/// Why a dependency is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("unable to get '{0}' dependency")]
    Missing(Key, #[source] Error),
    #[error("dependency '{0}' is not ready")]
    Unready(Key),
    #[error("dependency '{0}' is not ready according to readyExpr eval")]
    Refused(Key),
    /// The expression has no value for these objects (HC-DEP-007).
    #[error(transparent)]
    Expression(ReadyExpressionError),
    /// The expression cannot be compiled (HC-DEP-006). `terminal error` is how upstream's library marks an error that is not
    /// retried.
    #[error("terminal error: failed to evaluate dependency {name}")]
    Invalid {
        /// The dependency's name.
        name: String,
        #[source]
        source: ReadyExpressionError,
    },
}

/// Checks that all dependencies are ready.
///
/// # Errors
/// The first dependency, in the order of the list, that is not ready (HC-DEP-001).
pub(super) async fn ready(
    client: &Client,
    object: &HelmRelease,
    waiting: &Waiting,
    additive: bool,
) -> Result<(), NotReady> {
    let references = &object.spec.depends_on;
    if references.is_empty() {
        return Ok(());
    }
    tracing::info!("checking {} dependencies", references.len());
    let keys = dependency_keys(references, own_namespace(object));
    let check = |index: usize, key: &Key, found: Result<HelmRelease, Error>| {
        let found = found.map_err(|error| NotReady::Missing(key.clone(), error))?;
        let reference = references.get(index);
        let expression = reference.and_then(|reference| reference.ready_expr.as_deref());
        check(object, expression, &found, key, additive)
    };
    let dependant = Key::of(object);
    waiting.check(client, &dependant, &keys, check).await?;
    tracing::info!("all dependencies are ready");
    Ok(())
}

/// Checks one dependency (HC-DEP-003, HC-DEP-004).
fn check(
    object: &HelmRelease,
    expression: Option<&str>,
    dependency: &HelmRelease,
    key: &Key,
    additive: bool,
) -> Result<(), NotReady> {
    if let Some(expression) = expression.filter(|expression| !expression.is_empty()) {
        match ready_by_expression(expression, object, dependency) {
            Ok(true) if additive => {}
            Ok(true) => return Ok(()),
            Ok(false) => return Err(NotReady::Refused(key.clone())),
            Err(source @ ReadyExpressionError::Compile(_)) => {
                let name = key.name.clone();
                return Err(NotReady::Invalid { name, source });
            }
            Err(error) => return Err(NotReady::Expression(error)),
        }
    }
    if is_ready(dependency) {
        Ok(())
    } else {
        Err(NotReady::Unready(key.clone()))
    }
}

#[cfg(test)]
mod tests;
