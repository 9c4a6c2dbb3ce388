//! The namespaces that a generator makes and owns: which it may, with which labels and annotations.

mod apply;
mod metadata;

use std::collections::{BTreeMap, BTreeSet};

use flux_api::extensions::{ArtifactGeneratorSpec, ManagedNamespaces};
use flux_cel::{CompileError, EvaluateError, Expression, Limits, Type, Value};
use flux_golang::strconv::quote;

pub(super) use self::apply::{Action, NamespaceError, Namespaces, Pruned};
pub(super) use self::metadata::{Metadata, MetadataError, Origin};
use super::path_pattern::placeholders;
use super::policy::Policy;

/// Namespaces that no generator manages, whatever its spec says (SW-GEN-210).
const RESERVED: [&str; 4] = ["default", "kube-system", "kube-public", "flux-system"];
/// What one expression may cost: names and values are short.
const LIMITS: Limits = Limits {
    steps: 100_000,
    bytes: 1 << 20,
};

/// The rules of a spec for the namespaces that it manages.
#[derive(Debug)]
pub(super) struct ManagedRules {
    names: Vec<Expression>,
    labels: BTreeMap<String, Expression>,
    annotations: BTreeMap<String, Expression>,
}

/// Why namespaces cannot be managed: only a change of the spec helps.
#[derive(Debug, thiserror::Error)]
pub(super) enum RulesError {
    #[error("invalid expression in managedNamespaces.{field}")]
    Expression { field: String, source: CompileError },
    #[error(
        "managedNamespaces need a service account: set spec.serviceAccountName, or --default-service-account"
    )]
    NoAccount,
    #[error("managedNamespaces.metadata.fromSource.path uses the capture {}, which is not part of the namespace of artifact {}", quote(.capture), quote(.artifact))]
    Capture { capture: String, artifact: String },
    #[error("namespace {} is reserved and cannot be managed", quote(.0))]
    Reserved(String),
    #[error("namespace {} is not allowed by managedNamespaces.allowedNames", quote(.0))]
    NotAllowed(String),
    #[error("managedNamespaces.allowedNames cannot be applied to namespace {}", quote(.namespace))]
    Evaluate {
        namespace: String,
        source: EvaluateError,
    },
}

impl RulesError {
    /// Whether this is about which namespaces the object may manage.
    pub(super) fn is_access(&self) -> bool {
        matches!(self, Self::Reserved(_) | Self::NotAllowed(_))
    }
}

impl ManagedRules {
    /// Checks and compiles the rules of a spec (SW-GEN-208, SW-GEN-211).
    pub(super) fn compile(
        managed: &ManagedNamespaces,
        spec: &ArtifactGeneratorSpec,
        policy: &Policy,
    ) -> Result<Self, RulesError> {
        let names = managed.allowed_names.iter().enumerate();
        let names = names.map(|(at, text)| compile(text, "ns", || format!("allowedNames[{at}]")));
        let names = names.collect::<Result<_, _>>()?;
        let source = managed.metadata.as_ref();
        let source = source.and_then(|metadata| metadata.from_source.as_ref());
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        if let Some(source) = source {
            for (list, allowed, compiled) in [
                ("allowedLabels", &source.allowed_labels, &mut labels),
                (
                    "allowedAnnotations",
                    &source.allowed_annotations,
                    &mut annotations,
                ),
            ] {
                for (key, text) in allowed {
                    let field = || format!("metadata.fromSource.{list}[{}]", quote(key));
                    compiled.insert(key.clone(), compile(text, "value", field)?);
                }
            }
            check_captures(&source.path, spec)?;
        }
        let named = spec.service_account_name.as_deref().unwrap_or_default();
        if named.is_empty() && policy.default_service_account.is_empty() {
            return Err(RulesError::NoAccount);
        }
        Ok(Self {
            names,
            labels,
            annotations,
        })
    }

    /// Whether the namespace may be managed: one expression suffices (SW-GEN-209, SW-GEN-210).
    pub(super) fn check(&self, namespace: &str) -> Result<(), RulesError> {
        if RESERVED.contains(&namespace) {
            return Err(RulesError::Reserved(namespace.to_owned()));
        }
        let mut fault = None;
        for expression in &self.names {
            match holds(expression, "ns", namespace) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(source) => fault = Some(source),
            }
        }
        let namespace = namespace.to_owned();
        Err(match fault {
            Some(source) => RulesError::Evaluate { namespace, source },
            None => RulesError::NotAllowed(namespace),
        })
    }
}

fn compile(
    text: &str,
    variable: &str,
    field: impl Fn() -> String,
) -> Result<Expression, RulesError> {
    let compiled = Expression::compile(text, &[(variable, Type::String)], Some(Type::Bool));
    compiled.map_err(|source| RulesError::Expression {
        field: field(),
        source,
    })
}

/// The value of an expression over one text.
fn holds(expression: &Expression, variable: &str, text: &str) -> Result<bool, EvaluateError> {
    let value = |name: &str| (name == variable).then(|| Value::String(text.into()));
    expression.evaluate_bool(value, LIMITS)
}

/// With a path pattern, several directories may make artifacts in one namespace, which has one file of metadata: the path of
/// the file has only captures that the namespace has too (SW-GEN-211).
fn check_captures(path: &str, spec: &ArtifactGeneratorSpec) -> Result<(), RulesError> {
    if spec.path_pattern.as_deref().unwrap_or_default().is_empty() {
        return Ok(());
    }
    let used = placeholders(path);
    for artifact in &spec.artifacts {
        let Some(namespace) = artifact.namespace.as_deref() else {
            continue;
        };
        let named: BTreeSet<&str> = placeholders(namespace);
        if let Some(capture) = used.difference(&named).next() {
            return Err(RulesError::Capture {
                capture: (*capture).to_owned(),
                artifact: artifact.name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
