//! Tests of controllers of static kinds.

use std::sync::Mutex;

use flux_api::notification::{Alert, Provider};
use serde_json::{Value, json};

use super::*;
use crate::events::Recorder;
use crate::fake::FakeApi;
use crate::metrics::{Metrics, Page};
use crate::queue::BackOff;

struct Alerts;

impl StaticKind for Alerts {
    type Kind = Alert;

    const FINALIZER: StaticFinalizer = StaticFinalizer::Removed {
        reason: "Migration",
    };

    fn suspended(&self, object: &Alert) -> bool {
        object.spec.suspend
    }
}

#[derive(Default)]
struct Providers {
    forgotten: Arc<Mutex<Vec<Key>>>,
}

impl StaticKind for Providers {
    type Kind = Provider;

    const FINALIZER: StaticFinalizer = StaticFinalizer::Kept;

    fn forget(&self, key: &Key) {
        self.forgotten.lock().unwrap().push(key.clone());
    }
}

fn object(finalizers: &[&str], suspend: bool, deleted: bool) -> Value {
    let mut object = json!({
        "metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "1", "finalizers": finalizers},
        "spec": {"suspend": suspend},
    });
    if deleted {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    object
}

struct World<S: StaticKind> {
    api: FakeApi,
    controller: StaticController<S>,
    metrics: Metrics,
}

impl<S: StaticKind> World<S> {
    /// A controller that has seen the object.
    fn of(kind: S, name: &'static str, object: Value) -> Self {
        let api = FakeApi::holding(object.clone());
        let metrics = Metrics::new().unwrap();
        let environment = Environment {
            client: api.client(),
            namespace: None,
            selector: None,
            workers: 1,
            back_off: BackOff {
                first: Duration::from_secs(1),
                last: Duration::from_secs(1),
            },
            jitter: 0,
            status_manager: "notification-controller",
            recorder: Recorder::new(api.client(), "notification-controller", "pod".into(), None)
                .unwrap(),
            metrics: metrics.clone(),
        };
        let controller = StaticController::new(kind, name, Cache::default(), environment);
        let new = controller
            .cache
            .upsert(serde_json::from_value(object).unwrap());
        controller.changed(&Change::Added {
            new,
            initial: false,
        });
        Self {
            api,
            controller,
            metrics,
        }
    }

    /// Processes the object if it was queued; returns whether it was.
    async fn work(&self) -> bool {
        let next = tokio::time::timeout(Duration::from_millis(1), self.controller.queue.next());
        let Ok(ticket) = next.await else {
            return false;
        };
        self.controller.work(&ticket.key, ticket.priority).await;
        let recorder = &self.controller.environment.recorder;
        recorder.flush(Duration::from_mins(1)).await;
        true
    }

    fn finalizers(&self) -> Value {
        self.api.object()["metadata"]["finalizers"].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn providers_have_the_finalizer_until_they_are_deleted() {
    for (before, suspend, deleted, after) in [
        // NC-PROV-015
        (
            &["other"][..],
            false,
            false,
            Some(json!(["other", FINALIZER])),
        ),
        (&[], true, false, Some(json!([FINALIZER]))),
        // NC-PROV-017
        (&[FINALIZER], false, false, None),
        (&["other"], false, true, None),
        // NC-PROV-016
        (&[FINALIZER, "other"], false, true, Some(json!(["other"]))),
    ] {
        let providers = Providers::default();
        let forgotten = providers.forgotten.clone();
        let world = World::of(providers, "provider", object(before, suspend, deleted));
        assert_eq!(world.work().await, after.is_some(), "{before:?}");
        assert_eq!(
            world.finalizers(),
            after.clone().unwrap_or_else(|| json!(before)),
            "{before:?}"
        );
        assert_eq!(
            forgotten.lock().unwrap().len(),
            usize::from(deleted && after.is_some())
        );
        assert_eq!(world.api.events(), [""; 0], "no event: NC-PROV-015");
        assert_eq!(world.api.object()["status"], Value::Null);
    }
}

#[tokio::test(start_paused = true)]
async fn alerts_lose_the_finalizer_of_older_versions() {
    for (before, suspend, deleted, migrated) in [
        // NC-ALERT-021
        (&[FINALIZER][..], false, false, true),
        // NC-ALERT-022
        (&[FINALIZER], true, false, false),
        (&[FINALIZER], true, true, true),
        // NC-ALERT-020, NC-ALERT-023
        (&[], false, false, false),
    ] {
        let world = World::of(Alerts, "alert", object(before, suspend, deleted));
        assert_eq!(
            world.work().await,
            migrated,
            "{before:?} {suspend} {deleted}"
        );
        let (finalizers, events) = if migrated {
            (
                json!([]),
                vec!["Normal Migration: removed finalizer from Alert to migrate to static Alert"],
            )
        } else {
            (json!(before), vec![])
        };
        assert_eq!(world.finalizers(), finalizers, "{before:?} {suspend}");
        assert_eq!(world.api.events(), events, "{before:?} {suspend}");
        assert_eq!(world.api.object()["status"], Value::Null);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_patch_is_retried() {
    let world = World::of(Providers::default(), "provider", object(&[], false, false));
    let _ = world.api.clone().failing(&[500]);
    assert!(world.work().await);
    assert_eq!(world.finalizers(), json!([]));
    let page = String::from_utf8(world.metrics.page(Page::default()).unwrap()).unwrap();
    let errors = "controller_runtime_reconcile_errors_total{controller=\"provider\"} 1";
    assert!(page.lines().any(|line| line == errors), "{page}");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(world.work().await, "RT-QUE-004");
    assert_eq!(world.finalizers(), json!([FINALIZER]));
}
