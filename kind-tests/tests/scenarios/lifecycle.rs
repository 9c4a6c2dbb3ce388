//! Deletion, suspension, requests.

use kind_tests::{CONFIG_MAP, Flux, GIT_REPOSITORY, KUSTOMIZATION, Result, condition};
use serde_json::json;

use crate::config_map;

/// The state of a Kustomization when it is deleted, and whether its objects are deleted.
struct Deletion {
    topic: &'static str,
    spec: &'static [&'static str],
    suspended: bool,
    pruned: bool,
}

const DELETIONS: &[Deletion] = &[
    // KC-PRUNE-014
    Deletion {
        topic: "prune",
        spec: &["prune: true"],
        suspended: false,
        pruned: true,
    },
    Deletion {
        topic: "no-prune",
        spec: &["prune: false"],
        suspended: false,
        pruned: false,
    },
    Deletion {
        topic: "orphan",
        spec: &["prune: true", "deletionPolicy: Orphan"],
        suspended: false,
        pruned: false,
    },
    Deletion {
        topic: "delete",
        spec: &["prune: false", "deletionPolicy: Delete"],
        suspended: false,
        pruned: true,
    },
    // KC-PRUNE-016
    Deletion {
        topic: "termination",
        spec: &["prune: false", "deletionPolicy: WaitForTermination"],
        suspended: false,
        pruned: true,
    },
    // KC-PRUNE-020
    Deletion {
        topic: "suspended",
        spec: &["prune: true"],
        suspended: true,
        pruned: false,
    },
];

#[tokio::test]
async fn deleting_a_kustomization_follows_its_deletion_policy() -> Result {
    let flux = Flux::start("deletion").await?;
    for deletion in DELETIONS {
        let path = format!("{}/map.yaml", deletion.topic);
        flux.commit(&[(&path, &config_map(deletion.topic, "1"))]);
    }
    flux.follow_main().await?;
    for deletion in DELETIONS {
        let name = deletion.topic;
        let path = format!("path: {name}");
        let spec = [&[path.as_str()], deletion.spec].concat();
        flux.namespace
            .apply(&flux.kustomization(name, &spec))
            .await?;
        flux.namespace
            .wait_ready(KUSTOMIZATION, name, "True")
            .await?;
        if deletion.suspended {
            flux.suspend(KUSTOMIZATION, name, true).await?;
        }
        flux.namespace.delete(KUSTOMIZATION, name).await?;
        flux.namespace.wait_gone(KUSTOMIZATION, name).await?;
        if deletion.pruned {
            flux.namespace.wait_gone(CONFIG_MAP, name).await?;
        } else {
            let left = flux
                .namespace
                .get(CONFIG_MAP, name)
                .await?
                .unwrap_or_default();
            assert_eq!(left["data"]["v"], "1", "{name} was pruned");
            assert_eq!(
                left["metadata"]["deletionTimestamp"],
                json!(null),
                "{name} is being pruned"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_source_removes_its_artifacts_and_keeps_applied_objects() -> Result {
    let (flux, _) = Flux::running(
        "no-more",
        &[("a.yaml", &config_map("a", "1"))],
        &["prune: true"],
    )
    .await?;

    let kept = flux
        .namespace
        .folder()
        .join("source-controller/gitrepository")
        .join(flux.namespace.name())
        .join("app");
    assert!(kept.is_dir(), "{} is not there", kept.display());
    flux.namespace.delete(GIT_REPOSITORY, "app").await?;
    flux.namespace.wait_gone(GIT_REPOSITORY, "app").await?;
    // SC-ART-045
    assert!(!kept.exists(), "{} is still there", kept.display());
    assert!(flux.namespace.get(CONFIG_MAP, "a").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn suspended_objects_are_not_reconciled_until_resumed() -> Result {
    let (flux, first) = Flux::running(
        "suspended",
        &[("a.yaml", &config_map("a", "1"))],
        &["prune: true"],
    )
    .await?;

    flux.suspend(KUSTOMIZATION, "app", true).await?;
    let second = flux.commit(&[("a.yaml", &config_map("a", "2"))]);
    flux.fetch().await?;
    flux.namespace
        .wait(GIT_REPOSITORY, "app", "has the second revision", |source| {
            source["status"]["artifact"]["revision"] == second
        })
        .await?;
    // KC-PROC-062, KC-API-040: it handles a request, and does nothing else
    let at = flux
        .namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    let resting = flux
        .namespace
        .wait(KUSTOMIZATION, "app", "has seen the request", |object| {
            object["status"]["lastHandledReconcileAt"] == at
        })
        .await?;
    assert_eq!(resting["status"]["lastAppliedRevision"], first);
    let map = flux
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    assert_eq!(map["data"]["v"], "1");

    flux.suspend(KUSTOMIZATION, "app", false).await?;
    flux.applied("app", &second).await?;

    flux.suspend(GIT_REPOSITORY, "app", true).await?;
    let third = flux.commit(&[("a.yaml", &config_map("a", "3"))]);
    let at = flux
        .namespace
        .request_reconcile(GIT_REPOSITORY, "app")
        .await?;
    let resting = flux
        .namespace
        .wait(GIT_REPOSITORY, "app", "has seen the request", |object| {
            object["status"]["lastHandledReconcileAt"] == at
        })
        .await?;
    // SC-PROC-057
    assert_eq!(resting["status"]["artifact"]["revision"], second);
    flux.suspend(GIT_REPOSITORY, "app", false).await?;
    flux.applied("app", &third).await?;
    Ok(())
}

#[tokio::test]
async fn a_request_is_handled_once_and_its_removal_triggers_nothing() -> Result {
    let flux = Flux::start("requested").await?;
    let revision = flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    let first = flux.applied("app", &revision).await?;
    let runs = |object: &serde_json::Value| {
        object["status"]["history"][0]["totalReconciliations"].as_u64()
    };

    let at = flux
        .namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    let handled = flux
        .namespace
        .wait(KUSTOMIZATION, "app", "has handled the request", |object| {
            // KC-API-040
            object["status"]["lastHandledReconcileAt"] == at
                && condition(object, "Reconciling").is_none()
        })
        .await?;
    // KC-API-044: the same digest and status increment the existing entry
    assert_eq!(runs(&handled), runs(&first).map(|count| count + 1));
    assert_eq!(
        handled["status"]["history"].as_array().map(Vec::len),
        Some(1)
    );

    // KC-DEP-014: only a later request triggers a run; the preceding removal did not
    let removal = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": null}}});
    flux.namespace.merge(KUSTOMIZATION, "app", removal).await?;
    let at = flux
        .namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    let handled = flux
        .namespace
        .wait(
            KUSTOMIZATION,
            "app",
            "has handled the second request",
            |object| {
                object["status"]["lastHandledReconcileAt"] == at
                    && condition(object, "Reconciling").is_none()
            },
        )
        .await?;
    assert_eq!(runs(&handled), runs(&first).map(|count| count + 2));
    Ok(())
}
