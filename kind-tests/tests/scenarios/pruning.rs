//! What is pruned, and what is kept.

use futures::TryStreamExt as _;
use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, KUSTOMIZATION, Kind, Result, condition, ensure};
use kube::ResourceExt as _;
use kube::api::{DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::config_map;

const HELD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: held\n  finalizers: [kind-tests.fluxcd.io/hold]\n";

async fn release(applier: &Applier) -> Result {
    let patch = json!({"metadata": {"finalizers": null}});
    applier
        .namespace
        .merge(CONFIG_MAP, "held", patch)
        .await
        .map(drop)
}

fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

#[tokio::test]
async fn an_object_can_move_between_kustomizations_without_being_deleted() -> Result {
    let applier = Applier::start("moved-object", Settings::default()).await?;
    let (own, moving) = (config_map("own", "1"), config_map("moving", "1"));
    applier
        .publish(
            "main@sha1:1",
            &[
                ("old/own.yaml", &own),
                ("old/moving.yaml", &moving),
                ("new/.keep", ""),
            ],
        )
        .await?;
    for name in ["old", "new"] {
        let path = format!("path: {name}");
        applier
            .namespace
            .apply(&applier.kustomization(name, &[&path, "prune: true"]))
            .await?;
        applier.applied(name, "main@sha1:1").await?;
    }
    let before = applier
        .namespace
        .get(CONFIG_MAP, "moving")
        .await?
        .unwrap_or_default();

    applier
        .namespace
        .merge(KUSTOMIZATION, "old", json!({"spec": {"suspend": true}}))
        .await?;
    applier
        .publish(
            "main@sha1:2",
            &[("old/own.yaml", &own), ("new/moving.yaml", &moving)],
        )
        .await?;
    applier.applied("new", "main@sha1:2").await?;
    applier
        .namespace
        .merge(KUSTOMIZATION, "old", json!({"spec": {"suspend": false}}))
        .await?;
    let old = applier.applied("old", "main@sha1:2").await?;
    // KC-PRUNE-013, KC-PRUNE-006: the labels name the new owner
    let after = applier
        .namespace
        .get(CONFIG_MAP, "moving")
        .await?
        .unwrap_or_default();
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    ensure!(!is_going(&after), "{after:#}");
    assert_eq!(
        after["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"],
        "new"
    );
    assert_eq!(
        old["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let skipped = format!("ConfigMap/{}/moving skipped", applier.namespace.name());
    applier
        .events
        .wait("of what was left", |event| {
            event["message"] == json!(skipped)
        })
        .await?;
    Ok(())
}

/// The events of the object after the resource version `from`, with their resource versions, until `last` matches.
async fn events(
    applier: &Applier,
    kind: Kind,
    name: &str,
    from: &Value,
    last: impl Fn(&WatchEvent<DynamicObject>) -> bool,
) -> Result<Vec<(u64, WatchEvent<DynamicObject>)>> {
    let api = applier.namespace.api(kind).await?;
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let from = from["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    let collected = async {
        let mut events = Vec::new();
        let mut stream = std::pin::pin!(api.watch(&params, from).await?);
        while let Some(event) = stream.try_next().await? {
            let (WatchEvent::Added(object)
            | WatchEvent::Modified(object)
            | WatchEvent::Deleted(object)) = &event
            else {
                continue;
            };
            // All kinds are in one etcd, whose revisions these are.
            let version = object.resource_version().unwrap_or_default().parse()?;
            let is_last = last(&event);
            events.push((version, event));
            if is_last {
                break;
            }
        }
        Result::<_>::Ok(events)
    };
    let goal = format!("all events of {} {name} have come", kind.1);
    applier.namespace.wait_for(&goal, collected).await?
}

#[tokio::test]
async fn objects_stay_in_the_inventory_until_they_are_deleted() -> Result {
    let applier = Applier::start("both", Settings::default()).await?;
    let (old, new) = (config_map("old", "1"), config_map("new", "1"));
    applier
        .publish("main@sha1:1", &[("old.yaml", &old)])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    let before = applier.applied("app", "main@sha1:1").await?;
    let map = applier.namespace.get(CONFIG_MAP, "old").await?;
    applier
        .publish("main@sha1:2", &[("new.yaml", &new)])
        .await?;
    applier.applied("app", "main@sha1:2").await?;

    let is_deleted = |event: &WatchEvent<DynamicObject>| matches!(event, WatchEvent::Deleted(_));
    let map = map.unwrap_or_default();
    let deleted = events(&applier, CONFIG_MAP, "old", &map, is_deleted).await?;
    let deleted = deleted.last().map(|(version, _)| *version);
    let inventory = |event: &WatchEvent<DynamicObject>| -> Vec<String> {
        let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
            return Vec::new();
        };
        let entries = object.data["status"]["inventory"]["entries"].as_array();
        let ids = entries.into_iter().flatten();
        let ids = ids.filter_map(|entry| entry["id"].as_str());
        ids.map(|id| id.replace(applier.namespace.name(), "ns"))
            .collect()
    };
    let is_over = |event: &WatchEvent<DynamicObject>| match event {
        WatchEvent::Modified(object) => {
            object.data["status"]["lastAppliedRevision"] == "main@sha1:2"
        }
        _ => false,
    };
    let states = events(&applier, KUSTOMIZATION, "app", &before, is_over).await?;
    let inventories: Vec<(u64, Vec<String>)> = states
        .iter()
        .map(|(version, event)| (*version, inventory(event)))
        .collect();
    // KC-PRUNE-009: a process that dies while deleting leaves nothing that the next one does not know
    let both = ["ns_new__ConfigMap", "ns_old__ConfigMap"];
    let written = inventories.iter().find(|(_, ids)| *ids == both);
    ensure!(
        written.map(|(version, _)| *version) < deleted && written.is_some(),
        "deleted in version {deleted:?}: {inventories:?}"
    );
    ensure!(
        inventories
            .last()
            .is_some_and(|(_, ids)| *ids == ["ns_new__ConfigMap"]),
        "{inventories:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_garbage_collection_event_lists_all_objects() -> Result {
    let applier = Applier::start("collected", Settings::default()).await?;
    let files = [
        ("a.yaml", config_map("a", "1")),
        ("b.yaml", config_map("b", "1")),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, &**text));
    applier.publish("main@sha1:1", &files).await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    let keep =
        json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/prune": "disabled"}}});
    applier.namespace.merge(CONFIG_MAP, "a", keep).await?;
    applier
        .publish("main@sha1:2", &[("c.yaml", &config_map("c", "1"))])
        .await?;
    applier.applied("app", "main@sha1:2").await?;
    // KC-PRUNE-010
    let namespace = applier.namespace.name();
    let lines = format!("ConfigMap/{namespace}/b deleted\nConfigMap/{namespace}/a skipped");
    let told = applier
        .events
        .wait("of what was collected", |event| {
            event["message"] == json!(lines)
        })
        .await?;
    assert_eq!(told["severity"], "info");
    let logged = format!("garbage collection completed: {lines}");
    applier
        .kustomize
        .log()
        .wait("of what was collected", |line| line["msg"] == json!(logged))
        .await?;
    Ok(())
}

#[tokio::test]
async fn runs_do_not_wait_for_terminating_objects() -> Result {
    let applier = Applier::start("on-its-way", Settings::default()).await?;
    applier
        .publish(
            "main@sha1:1",
            &[("a.yaml", &config_map("a", "1")), ("held.yaml", HELD)],
        )
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true", "wait: true"]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    applier
        .publish("main@sha1:2", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    // KC-PRUNE-011
    let ready = applier.applied("app", "main@sha1:2").await?;
    assert_eq!(
        ready["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let held = applier
        .namespace
        .get(CONFIG_MAP, "held")
        .await?
        .unwrap_or_default();
    ensure!(is_going(&held), "{held:#}");
    release(&applier).await?;
    applier.namespace.wait_gone(CONFIG_MAP, "held").await
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_terminating_objects() -> Result {
    let mut applier = Applier::start("terminating", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("held.yaml", HELD)])
        .await?;
    let spec = ["prune: true", "deletionPolicy: WaitForTermination"];
    applier
        .namespace
        .apply(&applier.kustomization("app", &spec))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    applier
        .namespace
        .wait(CONFIG_MAP, "held", "is on its way out", is_going)
        .await?;
    let deleted = format!("ConfigMap/{}/held deleted", applier.namespace.name());
    applier
        .events
        .wait("of the deletion", |event| {
            event["message"] == json!(deleted)
        })
        .await?;

    let status = applier.kustomize.terminate().await?;
    ensure!(status.success(), "{status}");
    let late = |line: &Value| {
        line["msg"]
            .as_str()
            .is_some_and(|text| text.contains("did not finish in time"))
    };
    ensure!(
        !applier.kustomize.log().entries().iter().any(late),
        "{}",
        applier.kustomize.log().tail(20)
    );
    // KC-PRUNE-016
    let kept = applier
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(
        kept["metadata"]["finalizers"],
        json!(["finalizers.fluxcd.io"])
    );
    applier.kustomize.restart().await?;
    release(&applier).await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await
}

#[tokio::test]
async fn a_blocked_kustomization_can_still_be_deleted() -> Result {
    let applier = Applier::start("blocked", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    let blocked = json!({"spec": {"dependsOn": [{"name": "nowhere"}]}});
    applier
        .namespace
        .merge(KUSTOMIZATION, "app", blocked)
        .await?;
    applier.says("app", "DependencyNotReady", "nowhere").await?;
    applier
        .namespace
        .delete(kind_tests::GIT_REPOSITORY, "app")
        .await?;
    // KC-DEP-013, KC-PROC-060: neither dependencies nor the source matter for deletion
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;
    applier.namespace.wait_gone(CONFIG_MAP, "a").await
}

#[tokio::test]
async fn a_dependency_in_another_shard_is_read_from_the_api_server() -> Result {
    let flag = Settings::default().flag("--no-cross-namespace-refs");
    let applier = Applier::start("elsewhere", flag).await?;
    // Another namespace is another shard: this controller does not watch it.
    let other = kind_tests::Namespace::create(applier.namespace.cluster(), "dependency").await?;
    other
        .apply(&applier.kustomization("base", &["prune: true"]))
        .await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let depends = format!("dependsOn: [{{name: base, namespace: {}}}]", other.name());
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true", &depends]))
        .await?;
    // KC-DEP-002, KC-DEP-004
    let message = format!("dependency '{}/base' is not ready", other.name());
    applier.says("app", "DependencyNotReady", &message).await?;
    // KC-DEP-001: before anything is downloaded
    assert_eq!(applier.artifacts.take_requests(), [""; 0]);
    let ready = json!({"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": "2001-01-01T00:00:00Z"});
    other
        .set_status(
            KUSTOMIZATION,
            "base",
            json!({"observedGeneration": 1, "conditions": [ready]}),
        )
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    Ok(())
}

#[tokio::test]
async fn the_force_at_annotation_is_ignored() -> Result {
    let applier = Applier::start("force-at", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    let map = applier
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    let at = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/forceAt": "2026-01-01T00:00:00Z"}}});
    applier.namespace.merge(KUSTOMIZATION, "app", at).await?;
    let after = applier.run("app").await?;
    // KC-DEP-017: one run for the request, none for the other annotation, and nothing is reapplied
    assert_eq!(after["status"]["history"][0]["totalReconciliations"], 2);
    ensure!(
        condition(&after, "Ready").is_some_and(|ready| ready["status"] == "True"),
        "{after:#}"
    );
    let same = applier
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    assert_eq!(
        map["metadata"]["resourceVersion"],
        same["metadata"]["resourceVersion"]
    );
    Ok(())
}
