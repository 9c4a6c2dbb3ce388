//! Removes what a generator no longer makes.

use std::collections::BTreeSet;
use std::sync::Arc;

use flux_api::extensions::{GeneratedKind, GeneratedReference};
use flux_objects::Error;
use flux_publish::{Owner, Publisher};
use flux_runtime::outcome::chain;
use flux_runtime::queue::Key;
use kube::api::{DeleteParams, Preconditions};

use super::build::EXTERNAL_ARTIFACT;
use super::namespaces::{Namespaces, Pruned};
use super::owner::generator_of;
use super::publish::ExternalArtifacts;

/// Whether an entry of the inventory is a Namespace (SW-GEN-216).
pub(super) fn is_namespace(entry: &GeneratedReference) -> bool {
    entry.kind == Some(GeneratedKind::Namespace)
}

/// The ExternalArtifacts that an inventory or a label names as the generator's, without those in `kept`: also those that a
/// killed process has applied and not recorded (SW-GEN-086, SW-ART-062).
pub(super) fn orphans(
    inventory: &[GeneratedReference],
    artifacts: &ExternalArtifacts,
    uid: &str,
    kept: &BTreeSet<Key>,
) -> BTreeSet<Key> {
    let recorded = inventory.iter().filter(|entry| !is_namespace(entry));
    let recorded = recorded.map(|entry| Key::new(&*entry.namespace, &*entry.name));
    let labelled = artifacts.of(uid);
    let labelled = labelled.iter().map(|object| Key::of(&**object));
    let all = recorded.chain(labelled);
    all.filter(|key| !kept.contains(key)).collect()
}

/// Removes the files and the object of an ExternalArtifact that belongs to the generator `uid` (SW-ART-060). Returns the error
/// of a deletion that may succeed when it is repeated.
pub(super) async fn artifact(
    key: &Key,
    uid: &str,
    artifacts: &ExternalArtifacts,
    publisher: &Publisher,
) -> Result<(), Error> {
    let live = artifacts.get(key).await?;
    if let Some(live) = &live
        && !matches!(generator_of(live.metadata.labels.as_ref()), owner if owner == uid)
    {
        return Ok(()); // another generator's, and so are the files
    }
    let owner = Owner::new(EXTERNAL_ARTIFACT, &key.namespace, &key.name);
    let shown = format!("{EXTERNAL_ARTIFACT}/{key}");
    let publisher = publisher.clone();
    let removed = tokio::task::spawn_blocking(move || publisher.remove(&owner)).await;
    match removed {
        Ok(Ok(true)) => tracing::info!("{shown} deleted from storage"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            tracing::error!(
                error = chain(&error),
                "Failed to delete artifact from storage"
            );
        }
        Err(error) => tracing::error!(%error, "Failed to delete artifact from storage"),
    }
    let Some(live) = live else { return Ok(()) };
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: live.metadata.uid.clone(),
        ..Preconditions::default()
    });
    match artifacts.objects(key)?.delete(&key.name, &params).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => {
            tracing::info!("{shown} deleted from cluster");
            Ok(())
        }
    }
}

/// Deletes a managed namespace that no artifact targets any more. A failure is logged: the namespace stays.
pub(super) async fn namespace(name: &str, uid: &str, namespaces: &Namespaces) {
    match namespaces.prune(name, uid).await {
        Ok(Pruned::Deleted) => tracing::info!(namespace = name, "Namespace deleted from cluster"),
        Ok(Pruned::Kept) => tracing::info!(
            namespace = name,
            "Skipping managed namespace deletion, deletion is disabled"
        ),
        Ok(Pruned::HandedOver) => tracing::info!(
            namespace = name,
            "Namespace finalization is delegated to an external object"
        ),
        Ok(Pruned::NotOurs) => {}
        Err(error) => tracing::error!(
            namespace = name,
            error = chain(&error),
            "Failed to delete Namespace"
        ),
    }
}

/// Removes the folders of ExternalArtifacts that do not exist: of generators that were deleted while no controller ran
/// (SW-ART-047). Blocks.
pub(super) fn sweep(publisher: &Publisher, exists: &dyn Fn(&Key) -> bool) -> usize {
    let root = publisher.storage().root().join("externalartifact");
    let names = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
        names.collect::<Vec<_>>()
    };
    let mut removed = 0;
    for namespace in names(&root) {
        for name in names(&root.join(&namespace)) {
            if exists(&Key::new(&*namespace, &*name)) {
                continue;
            }
            match publisher.remove(&Owner::new(EXTERNAL_ARTIFACT, &namespace, &name)) {
                Ok(found) => removed += usize::from(found),
                Err(error) => tracing::error!(
                    logger = "setup",
                    error = chain(&error),
                    "cannot remove the artifacts of an object that is gone"
                ),
            }
        }
    }
    removed
}

/// As [`sweep`], once `artifacts` has every object; in one namespace only if others are not watched.
pub(crate) async fn sweep_once(
    publisher: Publisher,
    known: flux_runtime::watch::Cache<flux_api::source::ExternalArtifact>,
    namespace: Option<String>,
) {
    known.synced().await;
    let known = Arc::new(known);
    let work = move || {
        let exists = |key: &Key| {
            let foreign = namespace.as_ref().is_some_and(|own| *own != key.namespace);
            foreign || known.get(key).is_some()
        };
        sweep(&publisher, &exists)
    };
    if let Ok(count @ 1..) = tokio::task::spawn_blocking(work).await {
        tracing::info!(
            logger = "setup",
            count,
            "removed the artifacts of objects that are gone"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use flux_artifact::{Algorithm, Retention, Storage};

    use super::*;

    // SW-ART-047
    #[test]
    fn folders_of_objects_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let retention = Retention::default();
        let storage = Storage::open(folder.path(), "host", Algorithm::Sha256, retention).unwrap();
        let publisher = Publisher::new(Arc::new(storage));
        for path in [
            "externalartifact/a/x",
            "externalartifact/a/y",
            "externalartifact/b/x",
            "other/a/x",
        ] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let removed = sweep(&publisher, &|key| *key == Key::new("a", "x"));
        assert_eq!(removed, 2);
        for (path, stays) in [
            ("externalartifact/a/x", true),
            ("externalartifact/a/y", false),
            ("externalartifact/b/x", false),
            ("other/a/x", true),
        ] {
            assert_eq!(folder.path().join(path).is_dir(), stays, "{path}");
        }
    }
}
