//! A change in the repository becomes the same change on the cluster.

use kind_tests::{
    CONFIG_MAP, DEPLOYMENT, Flux, GIT_REPOSITORY, KUSTOMIZATION, Result, condition, is_ready,
};
use serde_json::json;

use crate::config_map;

#[tokio::test]
async fn a_commit_is_applied_to_the_cluster() -> Result {
    let flux = Flux::start("commit").await?;
    let deployment = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: registry.k8s.io/pause:3.10
";
    let revision = flux.commit(&[
        ("deploy/web.yaml", deployment),
        ("deploy/map.yaml", &config_map("settings", "1")),
    ]);
    let source = flux.follow_main().await?;
    // SC-GIT-042, SC-GIT-111
    assert_eq!(source["status"]["artifact"]["revision"], revision);
    let ready = condition(&source, "Ready").cloned().unwrap_or_default();
    assert_eq!(ready["reason"], "Succeeded");
    assert_eq!(
        ready["message"],
        format!("stored artifact for revision '{revision}'")
    );

    flux.namespace
        .apply(&flux.kustomization("app", &["path: ./deploy", "prune: true", "wait: true"]))
        .await?;
    let applied = flux.applied("app", &revision).await?;
    // KC-PROC-068, KC-API-037, KC-API-039
    let ready = condition(&applied, "Ready").cloned().unwrap_or_default();
    assert_eq!(ready["reason"], "ReconciliationSucceeded");
    assert_eq!(ready["message"], format!("Applied revision: {revision}"));
    assert_eq!(applied["status"]["lastAttemptedRevision"], revision);
    assert_eq!(condition(&applied, "Reconciling"), None);
    // KC-HEALTH-009
    assert_eq!(
        condition(&applied, "Healthy").map(|healthy| &healthy["status"]),
        Some(&json!("True"))
    );
    // KC-API-041, KC-PRUNE-001
    let namespace = flux.namespace.name();
    let entries = json!([
        {"id": format!("{namespace}_settings__ConfigMap"), "v": "v1"},
        {"id": format!("{namespace}_web_apps_Deployment"), "v": "v1"},
    ]);
    assert_eq!(applied["status"]["inventory"]["entries"], entries);

    let web = flux
        .namespace
        .get(DEPLOYMENT, "web")
        .await?
        .unwrap_or_default();
    assert_eq!(
        web["status"]["readyReplicas"], 2,
        "wait: true waits for the pods"
    );
    // KC-SSA-001, RT-SSA-004
    assert_eq!(
        web["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"],
        "app"
    );
    assert_eq!(
        web["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/namespace"],
        namespace
    );

    flux.events
        .wait("of the new artifact", |event| {
            event["reason"] == "NewArtifact"
        })
        .await?;
    // KC-EVT-005
    let changes = flux
        .events
        .wait("that lists what was created", |event| {
            event["message"]
                .as_str()
                .is_some_and(|text| text.contains(&format!("Deployment/{namespace}/web created")))
        })
        .await?;
    // KC-EVT-008
    assert_eq!(changes["severity"], "info");
    assert_eq!(changes["reportingController"], "kustomize-controller");
    assert_eq!(
        changes["metadata"]["kustomize.toolkit.fluxcd.io/revision"],
        revision
    );
    // RT-EVT-004, RT-EVT-013: with no other fields and keys than notification-controller knows
    flux.events.check()
}

#[tokio::test]
async fn a_moved_branch_rolls_out() -> Result {
    let (flux, _) = Flux::running(
        "moved",
        &[("map.yaml", &config_map("settings", "1"))],
        &["prune: true"],
    )
    .await?;

    let revision = flux.commit(&[("map.yaml", &config_map("settings", "2"))]);
    flux.fetch().await?;
    // KC-SRC-017: only the new artifact triggers the run, ten minutes before its interval
    flux.applied("app", &revision).await?;
    let map = flux
        .namespace
        .get(CONFIG_MAP, "settings")
        .await?
        .unwrap_or_default();
    assert_eq!(map["data"]["v"], "2");
    Ok(())
}

#[tokio::test]
async fn a_force_pushed_branch_rolls_out() -> Result {
    let flux = Flux::start("forced").await?;
    flux.commit(&[("map.yaml", &config_map("settings", "1"))]);
    flux.commit(&[
        ("map.yaml", &config_map("settings", "2")),
        ("other.yaml", &config_map("other", "2")),
    ]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.namespace
        .wait_ready(KUSTOMIZATION, "app", "True")
        .await?;

    // Unrelated history.
    let rewritten = flux
        .repo
        .commit("main")
        .orphan()
        .clear()
        .file("map.yaml", config_map("settings", "3"))
        .create();
    flux.fetch().await?;
    flux.applied("app", &format!("main@sha1:{rewritten}"))
        .await?;
    let map = flux
        .namespace
        .get(CONFIG_MAP, "settings")
        .await?
        .unwrap_or_default();
    assert_eq!(map["data"]["v"], "3");
    flux.namespace.wait_gone(CONFIG_MAP, "other").await
}

#[tokio::test]
async fn a_moved_tag_rolls_out() -> Result {
    let flux = Flux::start("tag").await?;
    let first = flux
        .repo
        .commit("main")
        .file("map.yaml", config_map("settings", "1"))
        .create();
    flux.repo.tag("stable", &first);
    flux.namespace
        .apply(&flux.git_repository("app", "ref: {tag: stable}"))
        .await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    // SC-GIT-043
    flux.applied("app", &format!("stable@sha1:{first}")).await?;

    let second = flux
        .repo
        .commit("main")
        .file("map.yaml", config_map("settings", "2"))
        .create();
    flux.repo.tag("stable", &second);
    flux.fetch().await?;
    flux.applied("app", &format!("stable@sha1:{second}"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_highest_matching_version_rolls_out() -> Result {
    let flux = Flux::start("semver").await?;
    let version = |value: &str| {
        let commit = flux
            .repo
            .commit("main")
            .file("map.yaml", config_map("settings", value))
            .create();
        flux.repo.tag(value, &commit);
        commit
    };
    let chosen = version("1.4.2");
    version("2.0.0");
    version("1.5.0-rc.1");
    flux.namespace
        .apply(&flux.git_repository("app", "ref: {semver: 1.x}"))
        .await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    // SC-GIT-044, SC-GIT-046
    flux.applied("app", &format!("1.4.2@sha1:{chosen}")).await?;

    let next = version("v1.10.0");
    flux.fetch().await?;
    flux.applied("app", &format!("v1.10.0@sha1:{next}")).await?;
    Ok(())
}

#[tokio::test]
async fn objects_of_a_removed_file_are_pruned() -> Result {
    let (flux, _) = Flux::running(
        "pruned",
        &[
            ("a.yaml", &config_map("a", "1")),
            ("b.yaml", &config_map("b", "1")),
        ],
        &["prune: true"],
    )
    .await?;

    let commit = flux.repo.commit("main").remove("b.yaml").create();
    flux.fetch().await?;
    let applied = flux.applied("app", &format!("main@sha1:{commit}")).await?;
    // KC-PRUNE-003
    flux.namespace.wait_gone(CONFIG_MAP, "b").await?;
    assert!(flux.namespace.get(CONFIG_MAP, "a").await?.is_some());
    assert_eq!(
        applied["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let pruned = format!("ConfigMap/{}/b deleted", flux.namespace.name());
    flux.events
        .wait("that lists what was pruned", |event| {
            event["message"]
                .as_str()
                .is_some_and(|text| text.contains(&pruned))
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn without_prune_objects_of_a_removed_file_are_kept() -> Result {
    let (flux, _) = Flux::running(
        "kept",
        &[
            ("a.yaml", &config_map("a", "1")),
            ("b.yaml", &config_map("b", "1")),
        ],
        &["prune: false"],
    )
    .await?;

    let commit = flux.repo.commit("main").remove("b.yaml").create();
    flux.fetch().await?;
    let applied = flux.applied("app", &format!("main@sha1:{commit}")).await?;
    // KC-PRUNE-004
    assert_eq!(
        applied["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let left = flux
        .namespace
        .get(CONFIG_MAP, "b")
        .await?
        .unwrap_or_default();
    assert_eq!(left["metadata"]["deletionTimestamp"], json!(null));
    assert_eq!(left["data"]["v"], "1");
    Ok(())
}

#[tokio::test]
async fn manual_changes_are_reverted() -> Result {
    let (flux, _) = Flux::running(
        "drift",
        &[("a.yaml", &config_map("a", "1"))],
        &["prune: true"],
    )
    .await?;

    flux.namespace
        .merge(CONFIG_MAP, "a", json!({"data": {"v": "by hand"}}))
        .await?;
    flux.namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    // KC-SSA-019, KC-SSA-020
    flux.namespace
        .wait(CONFIG_MAP, "a", "has its value back", |map| {
            map["data"]["v"] == "1"
        })
        .await?;

    flux.namespace.delete(CONFIG_MAP, "a").await?;
    flux.namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    flux.namespace
        .wait(CONFIG_MAP, "a", "is back", |map| map["data"]["v"] == "1")
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_unchanged_revision_writes_nothing() -> Result {
    let (flux, _) = Flux::running(
        "unchanged",
        &[("a.yaml", &config_map("a", "1"))],
        &["prune: true"],
    )
    .await?;
    let before = flux
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    flux.git.clear_requests();

    let at = flux
        .namespace
        .request_reconcile(GIT_REPOSITORY, "app")
        .await?;
    let handled = |at: String| {
        move |object: &serde_json::Value| {
            object["status"]["lastHandledReconcileAt"] == at && is_ready(object, "True")
        }
    };
    flux.namespace
        .wait(
            GIT_REPOSITORY,
            "app",
            "has handled the request",
            handled(at),
        )
        .await?;
    let at = flux
        .namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    flux.namespace
        .wait(KUSTOMIZATION, "app", "has handled the request", handled(at))
        .await?;

    // SC-GIT-060: only the remote's references were listed, nothing was fetched
    let requests = flux.git.requests();
    assert!(!requests.is_empty());
    assert!(
        !requests.iter().any(|request| request.says("command=fetch")),
        "{requests:#?}"
    );
    let after = flux
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    assert_eq!(
        before["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
    Ok(())
}
