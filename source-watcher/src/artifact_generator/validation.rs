//! Checks of the spec before anything is read.

use std::collections::BTreeSet;

use flux_api::extensions::{ArtifactGenerator, OutputArtifact};
use flux_golang::strconv::quote;
use kube::ResourceExt as _;

use super::copy::split_alias;
use super::inputs::ARTIFACT;
use super::names::{fault_of_name, fault_of_namespace};
use super::namespaces::{ManagedRules, RulesError};
use super::path_pattern::Request;
use super::policy::Policy;

/// Why a spec is refused: only a change of it helps (SW-GEN-050).
#[derive(Debug, thiserror::Error)]
pub(super) enum ValidationError {
    #[error("duplicate source alias '{0}' found")]
    DuplicateAlias(String),
    #[error("cross-namespace reference to source {0} is not allowed")]
    ForeignSource(String),
    #[error("cross-namespace reference to artifact {0} is not allowed")]
    ForeignArtifact(String),
    #[error("duplicate artifact name '{name}' found in namespace '{namespace}'")]
    DuplicateArtifact { name: String, namespace: String },
    #[error("artifact name {} is not a valid Kubernetes object name: {why}", quote(.name))]
    Name { name: String, why: String },
    #[error("artifact namespace {} is not a valid Kubernetes namespace: {why}", quote(.name))]
    Namespace { name: String, why: String },
    #[error("artifact {artifact} revision source alias '{alias}' not found")]
    Revision { artifact: String, alias: String },
    #[error("artifact {artifact} inputsFrom {}: {why}", quote(.path))]
    Inputs {
        artifact: String,
        path: String,
        why: PathError,
    },
    #[error("artifact {artifact} inputsFrom {} uses capture placeholders but pathPattern is not set", quote(.path))]
    InputsPlaceholder { artifact: String, path: String },
    #[error("managedNamespaces metadata fromSource path {}: {why}", quote(.path))]
    MetadataPath { path: String, why: PathError },
    #[error("managedNamespaces metadata fromSource path {} uses capture placeholders but pathPattern is not set", quote(.0))]
    MetadataPlaceholder(String),
    #[error(transparent)]
    Managed(#[from] RulesError),
}

/// Why a path names no file of a source or of the artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error("path must be in the format '@<alias>/<path>'")]
    Format,
    #[error("source alias '{0}' not found")]
    Alias(String),
}

impl ValidationError {
    /// Whether this is about what the object may refer to.
    pub(super) fn is_access(&self) -> bool {
        match self {
            Self::ForeignSource(_) | Self::ForeignArtifact(_) => true,
            Self::Managed(error) => error.is_access(),
            _ => false,
        }
    }
}

/// Checks the spec in upstream's order: sources, then artifacts, then what namespaces are managed (SW-GEN-051). Returns the
/// rules for namespaces.
pub(super) fn validate(
    object: &ArtifactGenerator,
    policy: &Policy,
) -> Result<Option<ManagedRules>, ValidationError> {
    use ValidationError as E;
    let (spec, own) = (&object.spec, object.namespace().unwrap_or_default());
    let mut aliases = BTreeSet::new();
    for source in &spec.sources {
        if !aliases.insert(source.alias.as_str()) {
            return Err(E::DuplicateAlias(source.alias.clone()));
        }
        let namespace = source.namespace.as_deref().unwrap_or_default();
        let foreign = !namespace.is_empty() && namespace != own;
        if policy.no_cross_namespace && foreign {
            let (kind, name) = (source.kind.as_str(), &source.name);
            return Err(E::ForeignSource(format!("{kind}/{namespace}/{name}")));
        }
    }
    let has_pattern = !spec.path_pattern.as_deref().unwrap_or_default().is_empty();
    let mut names = BTreeSet::new();
    for artifact in &spec.artifacts {
        let namespace = artifact.namespace.as_deref().unwrap_or_default();
        let namespace = if namespace.is_empty() {
            &*own
        } else {
            namespace
        };
        if !names.insert((namespace, artifact.name.as_str())) {
            return Err(E::DuplicateArtifact {
                name: artifact.name.clone(),
                namespace: namespace.to_owned(),
            });
        }
        if !has_pattern {
            check_names(artifact, namespace)?;
            check_target(artifact, namespace, &own, policy)?;
        }
        let revision = artifact.revision.as_deref().unwrap_or_default();
        let alias = revision.trim_start_matches('@');
        if !alias.is_empty() && !aliases.contains(alias) {
            return Err(E::Revision {
                artifact: artifact.name.clone(),
                alias: alias.to_owned(),
            });
        }
        let inputs = artifact.inputs_from.as_deref().unwrap_or_default();
        if !inputs.is_empty() {
            let (artifact, path) = (artifact.name.clone(), inputs.to_owned());
            if let Some(why) = fault_of_path(inputs, &aliases) {
                return Err(E::Inputs {
                    artifact,
                    path,
                    why,
                });
            }
            if !has_pattern && inputs.contains(['{', '}']) {
                return Err(E::InputsPlaceholder { artifact, path });
            }
        }
    }
    let managed = spec.managed_namespaces.as_ref();
    let metadata = managed.and_then(|managed| managed.metadata.as_ref());
    if let Some(source) = metadata.and_then(|metadata| metadata.from_source.as_ref()) {
        let path = source.path.clone();
        if let Some(why) = fault_of_path(&path, &aliases) {
            return Err(E::MetadataPath { path, why });
        }
        if !has_pattern && path.contains(['{', '}']) {
            return Err(E::MetadataPlaceholder(path));
        }
    }
    let rules = managed.map(|managed| ManagedRules::compile(managed, spec, policy));
    Ok(rules.transpose()?)
}

/// Why `path` is no file `@alias/path` of a source with one of these aliases, or of the artifact (SW-GEN-211, SW-GEN-215).
fn fault_of_path(path: &str, aliases: &BTreeSet<&str>) -> Option<PathError> {
    let Some((alias, _)) =
        split_alias(path).filter(|(alias, below)| !alias.is_empty() && !below.is_empty())
    else {
        return Some(PathError::Format);
    };
    let is_known = alias == ARTIFACT || aliases.contains(alias);
    (!is_known).then(|| PathError::Alias(alias.to_owned()))
}

/// Checks the namespaces of artifacts whose names a path pattern gives.
pub(super) fn check_targets(
    requests: &[Request],
    own: &str,
    policy: &Policy,
) -> Result<(), ValidationError> {
    let mut requests = requests.iter();
    requests.try_for_each(|request| {
        check_target(&request.artifact, request.namespace(own), own, policy)
    })
}

fn check_names(artifact: &OutputArtifact, namespace: &str) -> Result<(), ValidationError> {
    if let Some(why) = fault_of_name(&artifact.name) {
        let name = artifact.name.clone();
        return Err(ValidationError::Name { name, why });
    }
    if artifact.namespace.is_some()
        && let Some(why) = fault_of_namespace(namespace)
    {
        let name = namespace.to_owned();
        return Err(ValidationError::Namespace { name, why });
    }
    Ok(())
}

fn check_target(
    artifact: &OutputArtifact,
    namespace: &str,
    own: &str,
    policy: &Policy,
) -> Result<(), ValidationError> {
    if policy.no_cross_namespace && namespace != own {
        let name = format!("{namespace}/{}", artifact.name);
        return Err(ValidationError::ForeignArtifact(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
