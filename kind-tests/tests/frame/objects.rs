//! The life of an object, from creation to deletion.

use std::sync::atomic::Ordering;
use std::time::Duration;

use flux_api::source::GitRepository;
use flux_runtime::metrics::Page;
use kind_tests::{Cluster, GIT_REPOSITORY, Namespace, Result, condition, is_ready};
use kube::Api;
use serde_json::json;

use crate::{EVENT, repository, start};

#[tokio::test]
async fn an_object_becomes_ready_and_is_not_reconciled_again() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-ready").await?;
    let running = start(&namespace).await?;
    namespace.apply(&repository("repo", "ok")).await?;
    let ready = namespace
        .wait(GIT_REPOSITORY, "repo", "is ready", |object| {
            is_ready(object, "True")
        })
        .await?;
    // SC-PROC-056
    assert_eq!(
        ready["metadata"]["finalizers"],
        json!(["finalizers.fluxcd.io"])
    );
    // RT-CON-007, SC-PROC-068
    assert_eq!(
        ready["status"]["observedGeneration"],
        ready["metadata"]["generation"]
    );
    // RT-CON-011
    assert_eq!(condition(&ready, "Reconciling"), None);
    let condition = condition(&ready, "Ready").cloned().unwrap_or_default();
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("Succeeded"), &json!("stored artifact"))
    );
    // RT-CON-001
    assert_eq!(condition["observedGeneration"], 1);
    // RT-KUB-006
    let managers = ready["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        managers.iter().any(
            |entry| entry["manager"] == "source-controller" && entry["subresource"] == "status"
        )
    );

    // RT-EVT-001, RT-EVT-012: posted, with the revision
    let posted = running
        .sink
        .wait("a NewArtifact event", |event| {
            event["reason"] == "NewArtifact"
        })
        .await?;
    assert_eq!(
        posted["metadata"],
        json!({"source.toolkit.fluxcd.io/revision": "main@sha1:1"})
    );
    // SC-PROC-081
    running.sink.check()?;
    // RT-EVT-001, RT-EVT-002: and recorded in Kubernetes
    let events = namespace
        .wait_all(EVENT, "the event is there", |events| {
            events
                .iter()
                .find(|event| event["reason"] == "NewArtifact")
                .cloned()
        })
        .await?;
    assert_eq!(events["involvedObject"]["uid"], ready["metadata"]["uid"]);
    // SC-PROC-080
    assert_eq!(
        (&events["type"], &events["source"]["component"]),
        (&json!("Normal"), &json!("source-controller"))
    );

    // RT-WAT-001, RT-CON-018: a label does not trigger a reconcile; a request does, and only changes its own field
    let runs = running.runs.load(Ordering::SeqCst);
    namespace
        .merge(
            GIT_REPOSITORY,
            "repo",
            json!({"metadata": {"labels": {"some": "label"}}}),
        )
        .await?;
    let token = namespace.request_reconcile(GIT_REPOSITORY, "repo").await?;
    let handled = namespace
        .wait(
            GIT_REPOSITORY,
            "repo",
            "has handled the request",
            |object| {
                object["status"]["lastHandledReconcileAt"] == token.as_str()
                    && is_ready(object, "True")
            },
        )
        .await?;
    // RT-ANN-001, SC-PROC-073
    assert_eq!(
        running.runs.load(Ordering::SeqCst),
        runs + 1,
        "one reconcile for the request, none for the label"
    );
    assert_eq!(
        handled["status"]["conditions"], ready["status"]["conditions"],
        "RT-CON-003: nothing else moved"
    );

    // RT-MET-004, RT-MET-012
    let page = String::from_utf8(running.metrics.page(Page::default())?)?;
    assert!(
        page.contains("gotk_reconcile_duration_seconds_count{kind=\"GitRepository\",name=\"repo\""),
        "{page}"
    );
    assert!(page.contains(
        "controller_runtime_reconcile_total{controller=\"gitrepository\",result=\"requeue_after\"}"
    ));
    Ok(())
}

#[tokio::test]
async fn failures_stall_or_retry() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-fail").await?;
    let running = start(&namespace).await?;
    for script in ["stall", "retry", "panic"] {
        namespace.apply(&repository(script, script)).await?;
    }
    // RT-CON-010, SC-PROC-070
    let stalled = namespace
        .wait(GIT_REPOSITORY, "stall", "is stalled", |object| {
            condition(object, "Stalled").is_some()
        })
        .await?;
    for kind in ["Stalled", "Ready", "FetchFailed"] {
        let condition = condition(&stalled, kind).cloned().unwrap_or_default();
        assert_eq!(
            (&condition["reason"], &condition["message"]),
            (&json!("URLInvalid"), &json!("no such scheme")),
            "{kind}"
        );
    }
    assert_eq!(condition(&stalled, "Reconciling"), None);
    assert_eq!(stalled["status"]["observedGeneration"], 1);

    // RT-CON-009, SC-PROC-069, SC-PROC-072: retried with back-off, the draft of the status kept
    let retried = namespace
        .wait(GIT_REPOSITORY, "retry", "is retried", |object| {
            condition(object, "Reconciling")
                .is_some_and(|condition| condition["reason"] == "ProgressingWithRetry")
        })
        .await?;
    let ready = condition(&retried, "Ready").cloned().unwrap_or_default();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("GitOperationFailed"))
    );
    assert_eq!(retried["status"]["observedGeneration"], -1);
    assert_eq!(retried["status"]["observedIgnore"], "retry");
    running
        .sink
        .wait("a warning", |event| {
            event["reason"] == "GitOperationFailed" && event["severity"] == "error"
        })
        .await?;

    // RT-LED-012, SC-PROC-053, KC-PROC-048: a panic is handled like any error, and retried
    let mut panics = running.panics.clone();
    namespace
        .wait_for("a second panic", panics.wait_for(|panics| *panics > 1))
        .await??;
    let page = String::from_utf8(running.metrics.page(Page::default())?)?;
    // IA-PROC-036, IR-PROC-045
    let counted = "controller_runtime_reconcile_panics_total{controller=\"gitrepository\"} ";
    assert!(
        page.lines()
            .any(|line| line.starts_with(counted) && !line.ends_with(" 0")),
        "{page}"
    );

    // the next valid spec recovers all of them
    for name in ["stall", "retry", "panic"] {
        namespace.apply(&repository(name, "ok")).await?;
        namespace
            .wait(GIT_REPOSITORY, name, "is ready", |object| {
                is_ready(object, "True")
            })
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn suspended_objects_are_skipped_and_deleted_ones_finalized() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-end").await?;
    let running = start(&namespace).await?;
    namespace.apply(&repository("repo", "ok")).await?;
    namespace
        .wait(GIT_REPOSITORY, "repo", "is ready", |object| {
            is_ready(object, "True")
        })
        .await?;
    let runs = running.runs.load(Ordering::SeqCst);
    namespace
        .merge(GIT_REPOSITORY, "repo", json!({"spec": {"suspend": true}}))
        .await?;
    let token = namespace.request_reconcile(GIT_REPOSITORY, "repo").await?;
    // RT-ANN-007, SC-PROC-057
    let suspended = namespace
        .wait(
            GIT_REPOSITORY,
            "repo",
            "has the request recorded",
            |object| object["status"]["lastHandledReconcileAt"] == token.as_str(),
        )
        .await?;
    assert_eq!(
        suspended["status"]["observedGeneration"],
        suspended["metadata"]["generation"]
    );
    assert_eq!(running.runs.load(Ordering::SeqCst), runs);

    // SC-PROC-056: deletion is handled even when suspended; RT-MET-005
    namespace.delete(GIT_REPOSITORY, "repo").await?;
    namespace.wait_gone(GIT_REPOSITORY, "repo").await?;
    assert_eq!(running.finalized.load(Ordering::SeqCst), 1);
    // The run that removes the finalizer ends shortly after the object is gone.
    let gone = async {
        while running
            .metrics
            .page(Page::default())
            .is_ok_and(|page| String::from_utf8_lossy(&page).contains("name=\"repo\""))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    namespace.wait_for("its metrics are gone", gone).await
}

#[tokio::test]
async fn conditions_of_other_controllers_are_kept() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-foreign").await?;
    let _running = start(&namespace).await?;
    namespace.apply(&repository("repo", "ok")).await?;
    let ready = namespace
        .wait(GIT_REPOSITORY, "repo", "is ready", |object| {
            is_ready(object, "True")
        })
        .await?;
    let mut conditions = ready["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions.push(
        json!({"type": "Audited", "status": "True", "reason": "ByHand", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}),
    );
    let api: Api<GitRepository> = Api::namespaced(namespace.client().clone(), namespace.name());
    let patch = kube::api::Patch::Merge(json!({"status": {"conditions": conditions}}));
    api.patch_status("repo", &kube::api::PatchParams::default(), &patch)
        .await?;
    // RT-CON-017, SC-PROC-076
    namespace.apply(&repository("repo", "stall")).await?;
    let stalled = namespace
        .wait(GIT_REPOSITORY, "repo", "is stalled", |object| {
            condition(object, "Stalled").is_some()
        })
        .await?;
    assert_eq!(
        condition(&stalled, "Audited").map(|condition| &condition["reason"]),
        Some(&json!("ByHand"))
    );
    Ok(())
}
