//! The object that `spec.chart` makes: a HelmChart or an OCIRepository, written, followed and removed
//! (HC-CHART-001 to HC-CHART-012, HC-CHART-035 to HC-CHART-039).

use std::collections::BTreeMap;

use flux_api::helm::{HelmChartTemplate, HelmRelease};
use flux_api::source::{
    HelmChart, HelmChartSpec, HelmChartVerification, LocalHelmChartSourceReference, OCIRepository,
    OCIRepositorySpec, OCIRepositoryVerification,
};
use flux_apply::drift::has_drifted;
use flux_cluster::{Cluster, Object, RequestError};
use flux_references::Sources;
use flux_runtime::Run;
use flux_runtime::per_object::PerObject;
use flux_runtime::queue::Key;
use flux_tenancy::Access;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use super::owner;
use super::reason::HelmReleaseReason as R;
use super::settings::own_namespace;
use super::source::{Denied, SourceKind, SourceRef, check, of_template};

/// The version of any chart, and the strategy that is followed where the template has none (HC-API-048).
const ANY_VERSION: &str = "*";
const CHART_VERSION: &str = "ChartVersion";

/// What was last written for each HelmRelease: while the wanted object and the one on the cluster are the same as then, no
/// request is needed.
pub(crate) type Written = PerObject<(blake3::Hash, String)>;

/// Why the object could not be written or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TemplateError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("failed to delete {kind} '{object}'")]
    Delete {
        kind: &'static str,
        object: String,
        #[source]
        source: RequestError,
    },
    #[error("failed to run server-side apply")]
    Apply(#[source] RequestError),
    /// The template cannot be written as JSON, which is a defect.
    #[error("the chart template is not an object")]
    NotAnObject,
}

/// What the step works with.
pub(super) struct Tools<'t> {
    /// The controller's own cluster and identity (HC-REMOTE-003).
    pub(super) cluster: &'t Cluster,
    pub(super) sources: &'t Sources,
    pub(super) written: &'t Written,
    pub(super) access: Access,
}

/// Writes the object that the spec wants, and removes one that it does not want any more.
///
/// # Errors
/// [`TemplateError`]
pub(super) async fn reconcile(
    run: &mut Run<HelmRelease>,
    tools: &Tools<'_>,
) -> Result<(), TemplateError> {
    let object = run.object().clone();
    let wanted = of_template(&object);
    let is_same = match (&run.status.helm_chart, &wanted) {
        (Some(held), Some(wanted)) => *held == wanted.status_text(),
        (held, _) => held.as_ref().is_none_or(String::is_empty),
    };
    if !is_same {
        remove(run, tools).await?;
    }
    let (Some(wanted), Some(template)) = (wanted, &object.spec.chart) else {
        return Ok(());
    };
    check(tools.access, own_namespace(&object), &wanted)?;
    let desired = desired(&object, template, &wanted).ok_or(TemplateError::NotAnObject)?;
    write(run, tools, &wanted, &desired, template).await?;
    run.status.helm_chart = Some(wanted.status_text());
    Ok(())
}

/// Removes the object that the status names (HC-CHART-009, HC-CHART-010, HC-CHART-039).
///
/// # Errors
/// [`TemplateError`]
pub(super) async fn remove(
    run: &mut Run<HelmRelease>,
    tools: &Tools<'_>,
) -> Result<(), TemplateError> {
    let Some(held) = run.status.helm_chart.take() else {
        return Ok(());
    };
    let Some(source) = SourceRef::of_status(&held) else {
        return Ok(());
    };
    if let Err(denied) = check(tools.access, run.namespace(), &source) {
        run.status.helm_chart = Some(held);
        return Err(denied.into());
    }
    let kind = source.kind.as_str();
    let removed = delete(tools.cluster, &source).await;
    match removed {
        Ok(()) => {
            let shown = &source.key;
            if source.kind == SourceKind::HelmChart {
                run.trace(R::HelmChartDeleted, format!("deleted HelmChart '{held}'"));
            } else {
                run.trace(R::HelmChartDeleted, format!("deleted {kind} '{shown}'"));
            }
        }
        Err(error) if error.is_not_found() => {}
        Err(source) => {
            run.status.helm_chart = Some(held.clone());
            return Err(TemplateError::Delete {
                kind,
                object: held,
                source,
            });
        }
    }
    tools.written.remove(&run.key());
    Ok(())
}

async fn delete(cluster: &Cluster, source: &SourceRef) -> Result<(), RequestError> {
    let object = json!({
        "apiVersion": api_version(source.kind),
        "kind": source.kind.as_str(),
        "metadata": {"name": source.key.name, "namespace": source.key.namespace},
    });
    let object = Object::new(object).ok_or_else(|| RequestError::local("not an object"))?;
    let resource = cluster.resource_of(object.id(), object.version()).await?;
    cluster.delete(&resource, object.id()).await
}

fn api_version(kind: SourceKind) -> String {
    match kind {
        SourceKind::OCIRepository => OCIRepository::api_version(&()).into_owned(),
        _ => HelmChart::api_version(&()).into_owned(),
    }
}

/// Writes the object if it differs from what the cluster has (HC-CHART-004 to HC-CHART-007).
async fn write(
    run: &Run<HelmRelease>,
    tools: &Tools<'_>,
    wanted: &SourceRef,
    desired: &Object,
    template: &HelmChartTemplate,
) -> Result<(), TemplateError> {
    let key = run.key();
    let digest = desired.digest();
    let seen = seen(tools.sources, wanted);
    let shown = shown(wanted, template);
    if let Some(seen) = &seen
        && tools.written.get(&key).as_ref() == Some(&(digest, seen.clone()))
    {
        tracing::info!("{shown} is in-sync");
        return Ok(());
    }
    let applied = apply(tools.cluster, desired).await;
    let (action, stored) = applied.map_err(|error| {
        let error = TemplateError::Apply(error);
        run.trace(R::HelmChartSyncErr, flux_runtime::outcome::chain(&error));
        error
    })?;
    if let Some(action) = action {
        let message = format!("{} {shown}", action.title());
        tracing::info!("{message}");
        run.trace(action.reason(), message);
    } else {
        tracing::info!("{shown} is in-sync");
    }
    if let Some(stored) = stored {
        keep(tools.sources, wanted.kind, stored);
    }
    match self::seen(tools.sources, wanted) {
        Some(seen) => tools.written.insert(&key, (digest, seen)),
        None => tools.written.remove(&key),
    }
    Ok(())
}

/// The object and its source as messages show them (HC-CHART-005).
fn shown(wanted: &SourceRef, template: &HelmChartTemplate) -> String {
    let SourceRef { kind, key } = wanted;
    let kind = kind.as_str();
    match &template.spec.source_ref {
        Some(source) if wanted.kind == SourceKind::HelmChart => format!(
            "{kind}/{key} with SourceRef '{}/{}/{}'",
            source.kind.as_str(),
            key.namespace,
            source.name
        ),
        _ => {
            let url = template.spec.url.as_deref().unwrap_or_default();
            format!("{kind}/{key} with URL '{url}'")
        }
    }
}

/// What happened to the object.
#[derive(Clone, Copy)]
enum Action {
    Created,
    Configured,
}

impl Action {
    const fn title(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Configured => "Configured",
        }
    }

    const fn reason(self) -> R {
        match self {
            Self::Created => R::HelmChartCreated,
            Self::Configured => R::HelmChartConfigured,
        }
    }
}

/// Applies the object if a dry run shows a difference. Returns what happened, and what the cluster stores now.
async fn apply(
    cluster: &Cluster,
    desired: &Object,
) -> Result<(Option<Action>, Option<Object>), RequestError> {
    let resource = cluster.resource_of(desired.id(), desired.version()).await?;
    let live = match cluster.get(&resource, desired.id()).await {
        Ok(live) => Some(live),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let action = match live {
        None => Action::Created,
        Some(live) => {
            let dry_run = cluster.apply(&resource, desired, true).await?;
            if !has_drifted(&live, &dry_run) {
                return Ok((None, Some(live)));
            }
            Action::Configured
        }
    };
    let stored = cluster.apply(&resource, desired, false).await?;
    Ok((Some(action), Some(stored)))
}

/// What identifies the state of the object on the cluster, its status apart; `None` if it is not known.
fn seen(sources: &Sources, wanted: &SourceRef) -> Option<String> {
    fn state<K: Resource>(object: &K) -> String {
        let meta = object.meta();
        let parts = (&meta.uid, meta.generation, &meta.labels, &meta.annotations);
        serde_json::to_string(&parts).unwrap_or_default()
    }
    if wanted.kind == SourceKind::OCIRepository {
        let found = sources.oci_repositories.get(&wanted.key)?;
        Some(state(&*found))
    } else {
        let found = sources.helm_charts.get(&wanted.key)?;
        Some(state(&*found))
    }
}

/// Stores what was written in the cache, so that the same run finds it.
fn keep(sources: &Sources, kind: SourceKind, stored: Object) {
    let value = stored.into_value();
    match kind {
        SourceKind::OCIRepository => {
            if let Ok(object) = serde_json::from_value(value) {
                sources.oci_repositories.upsert(object);
            }
        }
        _ => {
            if let Ok(object) = serde_json::from_value(value) {
                sources.helm_charts.upsert(object);
            }
        }
    }
}

/// The object that a template makes.
fn desired(
    object: &HelmRelease,
    template: &HelmChartTemplate,
    wanted: &SourceRef,
) -> Option<Object> {
    let spec = match wanted.kind {
        SourceKind::OCIRepository => value(&oci_repository(object, template))?,
        _ => value(&helm_chart(object, template)?)?,
    };
    let metadata = template.metadata.as_ref();
    let mut labels = metadata.map(|m| m.labels.clone()).unwrap_or_default();
    labels.extend(owner::labels(&Key::of(object)));
    let mut meta = json!({
        "name": wanted.key.name,
        "namespace": wanted.key.namespace,
        "labels": labels,
    });
    let annotations: BTreeMap<String, String> =
        metadata.map(|m| m.annotations.clone()).unwrap_or_default();
    if !annotations.is_empty()
        && let Some(meta) = meta.as_object_mut()
    {
        meta.insert("annotations".to_owned(), json!(annotations));
    }
    Object::new(json!({
        "apiVersion": api_version(wanted.kind),
        "kind": wanted.kind.as_str(),
        "metadata": meta,
        "spec": spec,
    }))
}

fn value(spec: &impl Serialize) -> Option<Value> {
    serde_json::to_value(spec).ok()
}

/// The spec of a HelmChart (HC-CHART-002). The values that older API servers wrote as defaults are written where the template
/// has none, so that it is the same for both (HC-API-048).
fn helm_chart(object: &HelmRelease, template: &HelmChartTemplate) -> Option<HelmChartSpec> {
    let spec = &template.spec;
    let source = spec.source_ref.as_ref()?;
    let version = spec
        .version
        .as_deref()
        .filter(|version| !version.is_empty());
    let strategy = spec.reconcile_strategy.clone();
    Some(HelmChartSpec {
        chart: spec.chart.clone(),
        version: Some(version.unwrap_or(ANY_VERSION).to_owned()),
        source_ref: LocalHelmChartSourceReference {
            kind: source.kind.clone(),
            name: source.name.clone(),
            ..LocalHelmChartSourceReference::default()
        },
        interval: spec.interval.unwrap_or(object.spec.interval),
        reconcile_strategy: Some(strategy.unwrap_or_else(|| CHART_VERSION.into())),
        values_files: spec.values_files.clone(),
        ignore_missing_values_files: spec.ignore_missing_values_files,
        verify: spec.verify.as_ref().map(|verify| HelmChartVerification {
            provider: verify.provider.clone(),
            secret_ref: verify.secret_ref.clone(),
            match_oidc_identity: verify.match_oidc_identity.clone(),
        }),
        ..HelmChartSpec::default()
    })
}

/// The spec of an OCIRepository (HC-CHART-035).
fn oci_repository(object: &HelmRelease, template: &HelmChartTemplate) -> OCIRepositorySpec {
    let spec = &template.spec;
    OCIRepositorySpec {
        url: spec.url.clone().unwrap_or_default(),
        interval: spec.interval.unwrap_or(object.spec.interval),
        reference: spec.reference.clone(),
        layer_selector: spec.layer_selector.clone(),
        provider: spec.provider.clone(),
        secret_ref: spec.secret_ref.clone(),
        service_account_name: spec.service_account_name.clone(),
        cert_secret_ref: spec.cert_secret_ref.clone(),
        proxy_secret_ref: spec.proxy_secret_ref.clone(),
        timeout: spec.timeout,
        ignore: spec.ignore.clone(),
        insecure: spec.insecure,
        suspend: spec.suspend,
        verify: spec
            .verify
            .as_ref()
            .map(|verify| OCIRepositoryVerification {
                provider: verify.provider.clone(),
                secret_ref: verify.secret_ref.clone(),
                match_oidc_identity: verify.match_oidc_identity.clone(),
                trusted_root_secret_ref: verify.trusted_root_secret_ref.clone(),
            }),
    }
}

#[cfg(test)]
mod tests;
