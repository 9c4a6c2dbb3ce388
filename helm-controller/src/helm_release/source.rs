//! The source of the chart: which object, and whether it is ready (HC-CHART-013 to HC-CHART-019).

use flux_api::helm::{ChartReferenceKind, ChartTemplateKind, HelmRelease};
use flux_api::meta::{Artifact, ConditionStatus, FluxObject as _, FluxStatus};
use flux_api::source::{ExternalArtifact, HelmChart, OCIRepository};
use flux_references::{ObjectRef, ReadError, Sources, key_in};
use flux_runtime::queue::Key;
use flux_tenancy::{Access, AccessDenied};
use kube::Resource;
use kube::core::object::HasStatus;

use super::settings::own_namespace;

/// The kinds that a chart may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceKind {
    HelmChart,
    OCIRepository,
    ExternalArtifact,
}

impl SourceKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::HelmChart => "HelmChart",
            Self::OCIRepository => "OCIRepository",
            Self::ExternalArtifact => "ExternalArtifact",
        }
    }
}

/// An object that has a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceRef {
    pub(super) kind: SourceKind,
    pub(super) key: Key,
}

impl SourceRef {
    /// As the status names it (HC-CHART-036).
    pub(super) fn status_text(&self) -> String {
        match self.kind {
            SourceKind::HelmChart => self.key.to_string(),
            kind => format!("{}/{}", kind.as_str(), self.key),
        }
    }

    /// The object that a text of the status names: two parts are always a HelmChart, three name their kind, anything else is
    /// no reference (HC-CHART-036).
    pub(super) fn of_status(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [namespace, name] | ["HelmChart", namespace, name] => {
                (SourceKind::HelmChart, namespace, name)
            }
            ["OCIRepository", namespace, name] => (SourceKind::OCIRepository, namespace, name),
            _ => return None,
        };
        if namespace.is_empty() || name.is_empty() {
            return None;
        }
        Some(Self {
            kind,
            key: Key::new(*namespace, *name),
        })
    }
}

/// The object that a chart template makes (HC-CHART-001, HC-CHART-035).
pub(super) fn of_template(object: &HelmRelease) -> Option<SourceRef> {
    let template = object.spec.chart.as_ref()?;
    let own = own_namespace(object);
    let name = format!(
        "{own}-{}",
        object.metadata.name.as_deref().unwrap_or_default()
    );
    if template.kind == Some(ChartTemplateKind::OCIRepository) {
        return Some(SourceRef {
            kind: SourceKind::OCIRepository,
            key: Key::new(own, name),
        });
    }
    let source = template.spec.source_ref.as_ref();
    let namespace = source.and_then(|source| source.namespace.as_deref());
    Some(SourceRef {
        kind: SourceKind::HelmChart,
        key: key_in(namespace, own, &name),
    })
}

/// The object that `spec.chartRef` names.
fn of_reference(object: &HelmRelease) -> Option<SourceRef> {
    let reference = object.spec.chart_ref.as_ref()?;
    let kind = match reference.kind {
        ChartReferenceKind::OCIRepository => SourceKind::OCIRepository,
        ChartReferenceKind::ExternalArtifact => SourceKind::ExternalArtifact,
        _ => SourceKind::HelmChart,
    };
    let own = own_namespace(object);
    let key = key_in(reference.namespace.as_deref(), own, &reference.name);
    Some(SourceRef { kind, key })
}

/// The object that the chart comes from; `None` if the spec names none or two (HC-ACT-002).
pub(super) fn of_spec(object: &HelmRelease) -> Option<SourceRef> {
    match (&object.spec.chart, &object.spec.chart_ref) {
        (Some(_), None) => of_template(object),
        (None, Some(_)) => of_reference(object),
        _ => None,
    }
}

/// The source as an index key (HC-ACT-017).
pub(super) fn index_key(object: &HelmRelease) -> Option<ObjectRef> {
    let source = of_spec(object)?;
    Some(ObjectRef::new(source.kind.as_str(), source.key))
}

/// Access is denied; the text is helm-controller's own (HC-CHART-012, HC-CHART-013).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("cross-namespace references are not allowed: cannot access {kind} {key}")]
    CrossNamespace { kind: &'static str, key: Key },
    #[error(transparent)]
    Gate(AccessDenied),
}

/// Checks whether an object in the namespace `own` may refer to a source.
///
/// # Errors
/// It may not.
pub(super) fn check(access: Access, own: &str, source: &SourceRef) -> Result<(), Denied> {
    let checked = access.check(own, source.kind.as_str(), &source.key);
    checked.map_err(|denied| match denied {
        AccessDenied::CrossNamespace { .. } => Denied::CrossNamespace {
            kind: source.kind.as_str(),
            key: source.key.clone(),
        },
        denied => Denied::Gate(denied),
    })
}

/// Why the source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("could not get Source object")]
    Unavailable(#[from] ReadError),
    #[error("{kind} '{key}' is not ready: {why}")]
    NotReady {
        kind: &'static str,
        key: Key,
        why: String,
    },
}

/// A source that was found.
pub(super) struct Found {
    source: SourceRef,
    artifact: Option<Artifact>,
    /// Why it is not ready, its artifact apart.
    unready: Option<String>,
}

/// Finds the source (HC-CHART-013, HC-CHART-016).
///
/// # Errors
/// Access is denied, or there is no such object.
pub(super) async fn find(
    sources: &Sources,
    source: SourceRef,
    own: &str,
    access: Access,
) -> Result<Found, SourceError> {
    check(access, own, &source)?;
    let (artifact, unready) = match source.kind {
        SourceKind::HelmChart => {
            let found = sources.reader::<HelmChart>(&sources.helm_charts);
            let found = found.get(&source.key).await?;
            let status = found.status.as_ref();
            let artifact = status.and_then(|status| status.artifact.clone());
            (artifact, unready(&*found))
        }
        SourceKind::OCIRepository => {
            let found = sources.reader::<OCIRepository>(&sources.oci_repositories);
            let found = found.get(&source.key).await?;
            let status = found.status.as_ref();
            let artifact = status.and_then(|status| status.artifact.clone());
            (artifact, unready(&*found))
        }
        SourceKind::ExternalArtifact => {
            let found = sources.reader::<ExternalArtifact>(&sources.external_artifacts);
            let found = found.get(&source.key).await?;
            let status = found.status.as_ref();
            // HC-CHART-018
            (status.and_then(|status| status.artifact.clone()), None)
        }
    };
    Ok(Found {
        source,
        artifact,
        unready,
    })
}

/// Why a source is not ready, its artifact apart (HC-CHART-017).
fn unready<K: Resource + HasStatus<Status: FluxStatus>>(source: &K) -> Option<String> {
    let of_type = |kind: &str| source.condition(kind).cloned();
    let observed = source.status().and_then(FluxStatus::observed_generation);
    if source.meta().generation.unwrap_or_default() != observed.unwrap_or_default() {
        let ready = of_type("Ready").filter(|ready| ready.status == ConditionStatus::False);
        return Some(ready.map_or_else(
            || "latest generation of object has not been reconciled".to_owned(),
            |ready| ready.message,
        ));
    }
    let stalled = of_type("Stalled").filter(|stalled| stalled.status == ConditionStatus::True);
    stalled.map(|stalled| stalled.message)
}

/// A source that is ready.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) kind: SourceKind,
    pub(super) artifact: Artifact,
}

impl Found {
    /// The artifact of a source that is ready (HC-CHART-017, HC-CHART-018).
    ///
    /// # Errors
    /// It is not ready.
    pub(super) fn ready(self) -> Result<Resolved, SourceError> {
        let SourceRef { kind, key } = self.source;
        match (self.unready, self.artifact) {
            (None, Some(artifact)) => Ok(Resolved { kind, artifact }),
            (unready, _) => Err(SourceError::NotReady {
                kind: kind.as_str(),
                key,
                why: unready.unwrap_or_else(|| "does not have an artifact".to_owned()),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
