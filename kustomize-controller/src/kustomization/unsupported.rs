//! Features of the API that this controller does not implement. Objects that use them are refused, since applying a
//! manifest to the wrong cluster, is worse than not applying it.

use flux_api::kustomize::Kustomization;
use flux_api::meta::DependencyReference;

/// A field of the spec that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsupported {
    #[error(
        "spec.kubeConfig is not supported by this controller yet: remove it, or keep upstream's image for this object"
    )]
    KubeConfig,
    #[error(
        "spec.healthCheckExprs is not supported by this controller yet: remove it, or keep upstream's image for this object"
    )]
    HealthCheckExprs,
    #[error(
        "the expression of dependency '{0}' is not supported by this controller yet: remove it, or keep upstream's image for this object"
    )]
    ReadyExpr(String),
}

/// Refuses an object that uses an unsupported feature.
pub(super) fn refuse(object: &Kustomization) -> Result<(), Unsupported> {
    let is_set = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let spec = &object.spec;
    if spec.kube_config.is_some() {
        return Err(Unsupported::KubeConfig);
    }
    if !spec.health_check_exprs.is_empty() {
        return Err(Unsupported::HealthCheckExprs);
    }
    let expression = |dependency: &&DependencyReference| is_set(dependency.ready_expr.as_deref());
    match spec.depends_on.iter().find(expression) {
        Some(dependency) => Err(Unsupported::ReadyExpr(dependency.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::KustomizationSpec;

    use super::*;

    #[test]
    fn unsupported_fields_are_refused() {
        let dependency = DependencyReference {
            name: "db".into(),
            ready_expr: Some("true".into()),
            ..DependencyReference::default()
        };
        let depending = |expression: Option<&str>| {
            let ready_expr = expression.map(str::to_owned);
            let dependency = DependencyReference {
                ready_expr,
                ..dependency.clone()
            };
            let spec = KustomizationSpec {
                depends_on: vec![dependency],
                ..KustomizationSpec::default()
            };
            refuse(&Kustomization::new("apps", spec))
        };
        assert_eq!(
            depending(Some("true")),
            Err(Unsupported::ReadyExpr(dependency.to_string()))
        );
        assert_eq!(depending(Some("")), Ok(()));
        assert_eq!(depending(None), Ok(()));
    }
}
