//! What a HelmRelease refers to, and which changes of sources concern it (HC-ACT-016 to HC-ACT-020).

use flux_api::helm::HelmRelease;
use flux_api::meta::{ConditionStatus, FluxObject as _, FluxStatus, ValuesKind};
use flux_references::{Index, ObjectRef, Source};
use flux_runtime::controller::Enqueue;
use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Change};
use kube::core::object::HasStatus;

use super::settings::own_namespace;
use super::source;

/// The source, ConfigMaps and Secrets of a HelmRelease: changes of them concern it (HC-ACT-017, HC-ACT-020).
pub(crate) fn references(object: &HelmRelease) -> Vec<ObjectRef> {
    let own = own_namespace(object);
    let config = |kind: &'static str, name: &str| ObjectRef::new(kind, Key::new(own, name));
    let mut found: Vec<ObjectRef> = source::index_key(object).into_iter().collect();
    if let Some(kube_config) = &object.spec.kube_config {
        let secret = kube_config.secret_ref.iter();
        found.extend(secret.map(|secret| config("Secret", &secret.name)));
        let map = kube_config.config_map_ref.iter();
        found.extend(map.map(|map| config("ConfigMap", &map.name)));
    }
    for reference in &object.spec.values_from {
        match reference.kind {
            ValuesKind::Secret => found.push(config("Secret", &reference.name)),
            ValuesKind::ConfigMap => found.push(config("ConfigMap", &reference.name)),
            ValuesKind::Other(_) => {}
        }
    }
    found
}

/// The chart version that a HelmRelease has attempted last, for dependants that wait for it.
pub(crate) fn applied_revision(object: &HelmRelease) -> Option<&str> {
    object.status.as_ref()?.last_attempted_revision.as_deref()
}

/// Enqueues the HelmReleases of a source when it has a new artifact, or has become ready (HC-ACT-016). Those that have
/// attempted that artifact already are left alone (HC-ACT-018, HC-ACT-019).
pub(crate) fn on_source<S>(
    index: Index,
    releases: Cache<HelmRelease>,
) -> impl Fn(&Change<S>, &Enqueue) + Send + Sync + 'static
where
    S: Source + HasStatus<Status: FluxStatus>,
{
    move |change, enqueue| {
        let Change::Updated { old, new } = change else {
            return;
        };
        let Some(artifact) = new.artifact() else {
            return;
        };
        let before = old.artifact().map(|artifact| artifact.revision.as_str());
        let became_ready = !old.is_ready() && new.is_ready();
        if before == Some(&*artifact.revision) && !became_ready {
            return;
        }
        let kind = S::kind(&());
        for key in index.referrers(&ObjectRef::of(&**new)) {
            let release = releases.get(&key);
            if release.is_some_and(|release| !has_attempted(&release, &kind, &artifact.revision)) {
                enqueue.add(key, &**new);
            }
        }
    }
}

/// Whether a HelmRelease has attempted this revision of its source, and is ready or at it.
fn has_attempted(release: &HelmRelease, kind: &str, revision: &str) -> bool {
    let is_true = |kind: &str| {
        let condition = release.condition(kind);
        condition.is_some_and(|condition| condition.status == ConditionStatus::True)
    };
    if !is_true("Ready") && !is_true("Reconciling") {
        return false;
    }
    let Some(status) = &release.status else {
        return false;
    };
    let is = |attempted: &Option<String>, revision: &str| {
        attempted.as_deref().unwrap_or_default() == revision
    };
    match kind {
        "HelmChart" => is(&status.last_attempted_revision, revision),
        "ExternalArtifact" if !revision.contains(':') => {
            is(&status.last_attempted_revision, revision)
        }
        _ => is(&status.last_attempted_revision_digest, digest(revision)),
    }
}

/// The digest in a revision: what is behind `@`, or all of it.
fn digest(revision: &str) -> &str {
    let mut parts = revision.split('@');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(digest), None) => digest,
        (Some(whole), None, _) => whole,
        _ => "",
    }
}

#[cfg(test)]
mod tests;
