//! The policies in which kinds differ: each test fails if its policy has no effect.

#![expect(
    clippy::result_large_err,
    reason = "closures stand for reconcilers, whose failures are large"
)]

use std::collections::BTreeMap;

use flux_api::extensions::ArtifactGenerator;
use flux_api::helm::HelmRelease;
use flux_api::source::{HelmRepository, HelmRepositoryType};

use super::*;
use crate::conditions::Condition;
use crate::controller::is_disabled;
use crate::policy::{FirstPass, Suspension, SuspensionNotice};
use crate::run::{Cancel, Canceled};

/// A reconciler that is a closure.
struct Closure<K, F> {
    work: F,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Kind, F> Closure<K, F>
where
    F: for<'a> Fn(&'a mut Run<K>) -> futures::future::BoxFuture<'a, Result<Outcome, Failure>>
        + Send
        + Sync
        + 'static,
{
    fn new(work: F) -> Self {
        Self {
            work,
            kind: std::marker::PhantomData,
        }
    }
}

impl<K: Kind, F> Reconciler for Closure<K, F>
where
    F: for<'a> Fn(&'a mut Run<K>) -> futures::future::BoxFuture<'a, Result<Outcome, Failure>>
        + Send
        + Sync
        + 'static,
{
    type Kind = K;

    fn suspended(&self, object: &K) -> bool {
        is_disabled(object, "source.extensions.fluxcd.io/reconcile")
    }

    async fn reconcile(&self, run: &mut Run<K>) -> Result<Outcome, Failure> {
        (self.work)(run).await
    }

    async fn finalize(&self, _: &mut Run<K>) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn immediate_requeues_can_be_rate_limited() {
    // HC-ACT-022, NC-RECV-023
    for (at_once, again, result) in [
        (AtOnce::Now, Again::At(Duration::ZERO), "requeue_after"),
        (AtOnce::Limited, Again::BackOff, "requeue"),
    ] {
        let settings = Settings {
            at_once,
            ..SETTINGS
        };
        let mut new = object(&json!({}));
        new["metadata"]["finalizers"] = json!([]);
        let world = World::holding(new);
        assert_eq!(world.reconcile(Script::Panic, settings).await, again);
        assert!(world.counted(&format!("{RESULT}\"{result}\"}} 1")));
        let world = World::holding(object(&json!({})));
        assert_eq!(world.reconcile(Script::Superseded, settings).await, again);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_can_report_the_start_itself() {
    // KC-PROC-066, HC-ACT-008: Ready is unchanged
    let settings = Settings {
        start: Start::ByReconciler,
        ..SETTINGS
    };
    let before = json!({"observedGeneration": 1, "conditions": [condition(READY, "True")]});
    let world = World::holding(object(&before));
    let working = world.reconcile(Script::Hang, settings);
    assert!(tokio::time::timeout(MINUTE, working).await.is_err());
    assert_eq!(world.conditions(), ["Ready=True Before: as it was"]);
    assert!(world.api.written().is_empty());

    let world = World::holding(object(&before));
    let work = Closure::new(|run: &mut Run<GitRepository>| {
        FutureExt::boxed(async move {
            run.progress_of_step("Fulfilling prerequisites").await?;
            std::future::pending().await
        })
    });
    let working = world.run(work, settings);
    assert!(tokio::time::timeout(MINUTE, working).await.is_err());
    assert_eq!(
        world.conditions(),
        [
            "Reconciling=True Progressing: Fulfilling prerequisites",
            "Ready=True Before: as it was"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_is_updated_by_the_policy_of_its_kind() {
    let known = || json!([condition(READY, "False")]);
    let ready = || json!([condition(READY, "True")]);
    let stalled = || json!([condition(STALLED, "True"), condition(READY, "False")]);
    let kept = || {
        vec![
            "Stalled=True Before: as it was",
            "Ready=False Before: as it was",
        ]
    };
    for (status, conditions, observed, handled, after) in [
        // SC-PROC-057
        (SuspendedStatus::ObservedIfKnown, known(), 2, true, None),
        (SuspendedStatus::ObservedIfKnown, json!([]), 1, true, None),
        (
            SuspendedStatus::ObservedIfKnown,
            stalled(),
            2,
            true,
            Some(vec!["Ready=False Before: as it was"]),
        ),
        // KC-PROC-062
        (SuspendedStatus::ObservedIfReady, known(), 1, true, None),
        (SuspendedStatus::ObservedIfReady, ready(), 2, true, None),
        (
            SuspendedStatus::ObservedIfReady,
            stalled(),
            1,
            true,
            Some(kept()),
        ),
        // HC-ACT-005
        (SuspendedStatus::Observed, stalled(), 2, true, Some(kept())),
        // IR-REPO-045
        (SuspendedStatus::RequestOnly, ready(), 1, true, None),
        (
            SuspendedStatus::RequestOnly,
            stalled(),
            1,
            true,
            Some(kept()),
        ),
        // IA-STATUS-005
        (
            SuspendedStatus::Untouched,
            stalled(),
            1,
            false,
            Some(kept()),
        ),
    ] {
        let mut suspended = object(&json!({"observedGeneration": 1, "conditions": conditions}));
        suspended["spec"]["suspend"] = json!(true);
        let world = World::holding(suspended);
        let settings = Settings {
            suspension: Suspension {
                message: "suspended",
                status,
                notice: SuspensionNotice::Logged,
            },
            ..SETTINGS
        };
        let case = format!("{status:?} {conditions}");
        assert_eq!(
            world.reconcile(Script::Panic, settings).await,
            Again::Never,
            "{case}"
        );
        let now = world.api.object()["status"].clone();
        assert_eq!(now["observedGeneration"], observed, "{case}");
        let request = if handled { json!("now") } else { Value::Null };
        assert_eq!(now["lastHandledReconcileAt"], request, "{case}");
        if let Some(after) = after {
            assert_eq!(world.conditions(), after, "{case}");
        }
        let writes = usize::from(handled);
        assert_eq!(world.api.written().len(), writes, "{case}");
    }
}

fn generator(annotation: Option<&str>, status: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
        "metadata": {"name": "app", "namespace": "ns", "uid": "u", "generation": 2, "resourceVersion": "1",
            "finalizers": ["source.extensions.fluxcd.io/finalizer"],
            "annotations": {"reconcile.fluxcd.io/requestedAt": "now"}},
        "spec": {},
        "status": status,
    });
    if let Some(annotation) = annotation {
        object["metadata"]["annotations"]["source.extensions.fluxcd.io/reconcile"] =
            json!(annotation);
    }
    object
}

/// As source-watcher treats ArtifactGenerators.
const GENERATORS: Settings = Settings {
    finalizer: "source.extensions.fluxcd.io/finalizer",
    first_pass: FirstPass::Reported {
        message: "Reconciliation in progress",
        suspended: (
            "ReconciliationDisabled",
            "Initialized with reconciliation suspended",
        ),
    },
    suspension: Suspension {
        message: "Reconciliation is disabled",
        status: SuspendedStatus::RequestOnly,
        notice: SuspensionNotice::Traced {
            error: "can't reconcile instance",
            reason: "ReconciliationDisabled",
        },
    },
    durations: Durations::Unobserved,
    ..Settings::new("artifactgenerator")
};

fn idle_generator() -> impl Reconciler<Kind = ArtifactGenerator> {
    Closure::new(|_: &mut Run<ArtifactGenerator>| panic!("nothing is to be done"))
}

#[tokio::test(start_paused = true)]
async fn the_first_pass_may_report() {
    let first = async |annotation| {
        let mut new = generator(annotation, &json!({}));
        new["metadata"]["finalizers"] = json!([]);
        let world = World::holding(new);
        let again = world.run(idle_generator(), GENERATORS).await;
        assert_eq!(again, Again::At(Duration::ZERO));
        let object = world.api.object();
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["source.extensions.fluxcd.io/finalizer"])
        );
        assert_eq!(object["status"]["lastHandledReconcileAt"], "now");
        assert_eq!(world.api.events(), [""; 0]);
        world.conditions()
    };
    // SW-GEN-034
    assert_eq!(
        first(None).await,
        [
            "Reconciling=True Progressing: Reconciliation in progress",
            "Ready=Unknown Progressing: Reconciliation in progress"
        ]
    );
    // SW-GEN-035
    assert_eq!(
        first(Some("disabled")).await,
        ["Ready=True ReconciliationDisabled: Initialized with reconciliation suspended"]
    );
    // Other kinds write the finalizer and nothing else (SC-PROC-056).
    let mut new = object(&json!({}));
    new["metadata"]["finalizers"] = json!([]);
    let world = World::holding(new);
    world.reconcile(Script::Panic, SETTINGS).await;
    assert_eq!(world.conditions(), [""; 0]);
    assert_eq!(world.api.written().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_may_be_an_event() {
    // SW-GEN-036
    let before = json!({"conditions": [condition(STALLED, "True"), condition(READY, "False")]});
    let world = World::holding(generator(Some("Disabled"), &before));
    assert_eq!(world.run(idle_generator(), GENERATORS).await, Again::Never);
    assert_eq!(
        world.conditions(),
        [
            "Stalled=True Before: as it was",
            "Ready=False Before: as it was"
        ]
    );
    assert_eq!(
        world.api.events(),
        ["Normal ReconciliationDisabled: Reconciliation is disabled"]
    );

    let suspended = object(&json!({"conditions": [condition(READY, "True")]}));
    let world = World::holding(suspended);
    world.api.meddle(&json!({"spec": {"suspend": true}}));
    world.reconcile(Script::Panic, SETTINGS).await;
    assert_eq!(world.api.events(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_is_finalized() {
    // SW-GEN-037
    let world = World::holding(generator(Some("Disabled"), &json!({})));
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    world.api.meddle(&deleted);
    assert_eq!(world.run(idle_generator(), GENERATORS).await, Again::Never);
    assert_eq!(world.api.object()["metadata"]["finalizers"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_kind_can_have_another_finalizer_and_no_observed_generation() {
    let work = || {
        Closure::new(|run: &mut Run<ArtifactGenerator>| {
            FutureExt::boxed(async move {
                // SW-GEN-023: the generation that Ready was computed for
                assert_eq!(run.observed_generation(), 1);
                Ok(Outcome::ready(SUCCEEDED, "generated", MINUTE))
            })
        })
    };
    let before = json!({"conditions": [condition(READY, "True")]});

    // SW-GEN-021, SW-GEN-023, RT-MET-004
    let world = World::holding(generator(None, &before));
    world.run(work(), GENERATORS).await;
    let status = world.api.object()["status"].clone();
    assert_eq!(status["observedGeneration"], Value::Null);
    assert_eq!(status["lastHandledReconcileAt"], "now");
    assert_eq!(status["conditions"][0]["observedGeneration"], 2);
    let page = String::from_utf8(world.metrics.page(Page::default()).unwrap()).unwrap();
    assert!(!page.contains("kind=\"ArtifactGenerator\""), "{page}");

    // SW-GEN-024
    for (value, disabled) in [("Disabled", true), ("disabled", true), ("enabled", false)] {
        let world = World::holding(generator(Some(value), &before));
        world.run(work(), GENERATORS).await;
        let generation = if disabled { 1 } else { 2 };
        let status = world.api.object()["status"].clone();
        assert_eq!(
            status["conditions"][0]["observedGeneration"], generation,
            "{value}"
        );
        assert_eq!(status["lastHandledReconcileAt"], "now", "{value}");
    }

    // SW-GEN-025
    let mut new = generator(None, &before);
    new["metadata"]["finalizers"] = json!([FINALIZER]);
    let world = World::holding(new);
    world.run(work(), GENERATORS).await;
    assert_eq!(
        world.api.object()["metadata"]["finalizers"],
        json!([FINALIZER, "source.extensions.fluxcd.io/finalizer"])
    );
}

const RELEASED: ConditionType = ConditionType::new("Released");

/// As in helm-controller: Ready mirrors Released.
fn released(conditions: &Conditions) -> Option<(Status, &Condition)> {
    let released = conditions.get(RELEASED)?;
    Some((released.status, released))
}

fn release(status: &Value) -> Value {
    let mut object = object(status);
    object["apiVersion"] = json!("helm.toolkit.fluxcd.io/v2");
    object["kind"] = json!("HelmRelease");
    object["spec"] = json!({"interval": "1m"});
    object
}

const RELEASES: Settings = Settings {
    conditions: &[RELEASED],
    ready: Ready::Rule(released),
    start: Start::ByReconciler,
    ..Settings::new("helmrelease")
};

#[tokio::test(start_paused = true)]
async fn ready_can_follow_a_rule_of_the_kind() {
    type Work = fn(&mut Run<HelmRelease>) -> Result<Outcome, Failure>;
    let cases: [(Work, &[&str]); 4] = [
        (
            |run| {
                run.conditions
                    .set(RELEASED, Status::True, "InstallSucceeded", "installed");
                Ok(Outcome::summarized(MINUTE))
            },
            &[
                "Ready=True InstallSucceeded: installed",
                "Released=True InstallSucceeded: installed",
            ],
        ),
        // a failure that sets a condition follows the rule, one that sets none sets Ready itself
        (
            |_| {
                Err(Failure::retry("InstallFailed", "timed out", Pace::BackOff)
                    .marking_false(RELEASED))
            },
            &[
                "Ready=False InstallFailed: timed out",
                "Released=False InstallFailed: timed out",
            ],
        ),
        (
            |_| Err(Failure::waiting("DependencyNotReady", "not yet", MINUTE)),
            &["Ready=False DependencyNotReady: not yet"],
        ),
        // HC-ACT-007: reported by the log only
        (
            |_| Err(Failure::retry("Failed", "no", Pace::BackOff).leaving_conditions()),
            &["Ready=True Before: as it was"],
        ),
    ];
    for (work, after) in cases {
        let before = json!({"observedGeneration": 2, "conditions": [condition(READY, "True")]});
        let world = World::holding(release(&before));
        let work = Closure::new(move |run: &mut Run<HelmRelease>| {
            let result = work(run);
            FutureExt::boxed(async move { result })
        });
        world.run(work, RELEASES).await;
        assert_eq!(world.conditions(), after);
        if after[0].contains("Before") {
            assert_eq!(world.api.events(), [""; 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn status_set_by_an_action_is_patched_before_the_next_action() {
    // HC-ACT-063
    let world = World::holding(release(&json!({"observedGeneration": 2})));
    let work = Closure::new(|run: &mut Run<HelmRelease>| {
        FutureExt::boxed(async move {
            run.status.install_failures = Some(1);
            run.patch_now().await?;
            std::future::pending().await
        })
    });
    let working = world.run(work, RELEASES);
    assert!(tokio::time::timeout(MINUTE, working).await.is_err());
    assert_eq!(world.api.object()["status"]["installFailures"], 1);
}

#[tokio::test(start_paused = true)]
async fn events_can_follow_the_transition_of_ready() {
    type Work = fn() -> Result<Outcome, Failure>;
    let was_ready = || json!([condition(READY, "True")]);
    let was_not = || json!([condition(READY, "False")]);
    let cases: [(Value, Work, &[&str]); 8] = [
        // IR-REPO-100
        (
            was_ready(),
            || Ok(Outcome::ready("Scanned", "found 3 tags", MINUTE)),
            &["Normal Succeeded: found 3 tags"],
        ),
        // IA-STATUS-030
        (
            was_ready(),
            || Ok(Outcome::ready(SUCCEEDED, "as it was", MINUTE).with_news("pushed commit")),
            &["Normal Succeeded: pushed commit"],
        ),
        // IR-REPO-101
        (
            was_not(),
            || Ok(Outcome::ready("Scanned", "found 3 tags", MINUTE)),
            &["Normal Scanned: found 3 tags"],
        ),
        // IA-STATUS-031
        (
            json!([]),
            || Ok(Outcome::ready(SUCCEEDED, "as it was", MINUTE).with_news("pushed commit")),
            &["Normal Succeeded: pushed commit"],
        ),
        // IR-REPO-102, IA-STATUS-032: even if the failure itself would emit no event
        (
            was_ready(),
            || Err(Failure::retry("ReadOperationFailed", "refused", Pace::BackOff).quietly()),
            &["Warning ReadOperationFailed: refused"],
        ),
        (
            was_not(),
            || Err(Failure::stalled("ImageURLInvalid", "no such scheme")),
            &["Warning ImageURLInvalid: no such scheme"],
        ),
        // IR-REPO-103, IA-STATUS-033
        (
            was_ready(),
            || Ok(Outcome::ready("Before", "as it was", MINUTE).with_routine("next scan in 1m0s")),
            &["Normal Succeeded: next scan in 1m0s"],
        ),
        (
            was_ready(),
            || Ok(Outcome::ready("Before", "as it was", MINUTE)),
            &[],
        ),
    ];
    let settings = Settings {
        events: Events::Transition,
        ..Settings::new("imagerepository")
    };
    for (before, work, events) in cases {
        let world = World::holding(object(
            &json!({"observedGeneration": 2, "conditions": before}),
        ));
        let work = Closure::new(move |_: &mut Run<GitRepository>| {
            let result = work();
            FutureExt::boxed(async move { result })
        });
        world.run(work, settings).await;
        assert_eq!(world.api.events(), events, "{before}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_events_of_a_run_carry_its_metadata() {
    // RT-EVT-012
    let world = World::holding(object(&json!({"observedGeneration": 2})));
    let work = Closure::new(|run: &mut Run<GitRepository>| {
        FutureExt::boxed(async move {
            run.about(BTreeMap::from([
                ("revision", "main@sha1:1".to_owned()),
                ("digest", "sha256:1".to_owned()),
            ]));
            let own = BTreeMap::from([("digest", "sha256:2".to_owned())]);
            Err(Failure::retry(FAILED, "no", Pace::BackOff).with_metadata(own))
        })
    });
    world.run(work, SETTINGS).await;
    assert_eq!(
        world.api.last_annotations(),
        json!({"source.toolkit.fluxcd.io/revision": "main@sha1:1", "source.toolkit.fluxcd.io/digest": "sha256:2"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_holds_no_worker_and_ends_by_trigger_or_shutdown() {
    // RT-WAT-013, RT-LED-009
    let trigger = || Trigger {
        kind: "GitRepository".into(),
        namespace: "ns".into(),
        name: "repo".into(),
        uid: "u".into(),
        resource_version: "7".into(),
    };
    for (cancel, triggered, stopped, want) in [
        (
            Cancel::OnTrigger,
            true,
            false,
            Err(Canceled::Triggered(trigger())),
        ),
        (Cancel::OnTrigger, false, true, Err(Canceled::ShuttingDown)),
        (
            Cancel::OnShutdownOnly,
            true,
            true,
            Err(Canceled::ShuttingDown),
        ),
        (Cancel::OnShutdownOnly, true, false, Ok("done")),
        (Cancel::OnTrigger, false, false, Ok("done")),
    ] {
        let world = World::holding(object(&json!({"observedGeneration": 2})));
        let (slots, sender, stop) = (
            world.slots.clone(),
            world.trigger.clone(),
            world.stop.clone(),
        );
        let ended = Arc::<std::sync::Mutex<Option<Result<&str, Canceled>>>>::default();
        let result = ended.clone();
        let work = Closure::new(move |run: &mut Run<GitRepository>| {
            let (slots, sender, stop) = (slots.clone(), sender.clone(), stop.clone());
            let ended = ended.clone();
            FutureExt::boxed(async move {
                assert_eq!(slots.available_permits(), 0, "the run has the worker");
                let free = slots.clone();
                let work = async move {
                    assert_eq!(free.available_permits(), 1, "another run could have it");
                    if triggered {
                        sender.send_replace(Some(trigger()));
                    }
                    if stopped {
                        stop.cancel();
                    }
                    tokio::time::sleep(MINUTE).await;
                    "done"
                };
                *ended.lock().unwrap() = Some(run.wait(work, cancel).await);
                assert_eq!(slots.available_permits(), 0, "the run has a worker again");
                Ok(Outcome::summarized(MINUTE))
            })
        });
        world.run(work, SETTINGS).await;
        assert_eq!(
            *result.lock().unwrap(),
            Some(want),
            "{cancel:?} {triggered} {stopped}"
        );
    }
}

/// Sets a condition when its object is deleted.
struct Leaving;

impl Reconciler for Leaving {
    type Kind = HelmRelease;

    fn suspended(&self, _: &HelmRelease) -> bool {
        false
    }

    async fn reconcile(&self, _: &mut Run<HelmRelease>) -> Result<Outcome, Failure> {
        Ok(Outcome::ready(SUCCEEDED, "reconciled", MINUTE))
    }

    async fn finalize(&self, run: &mut Run<HelmRelease>) -> Result<(), Failure> {
        run.conditions
            .set(RELEASED, Status::False, "Uninstalled", "it is gone");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_status_is_written_if_another_finalizer_holds_the_object() {
    let settings = Settings {
        conditions: &[RELEASED],
        ..SETTINGS
    };
    for (other, writes) in [(None, 1), (Some("foregroundDeletion"), 2)] {
        let mut object = release(&json!({}));
        let finalizers = object["metadata"]["finalizers"].as_array_mut().unwrap();
        finalizers.extend(other.map(Value::from));
        let world = World::holding(object);
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        world.api.meddle(&deleted);
        assert_eq!(world.run(Leaving, settings).await, Again::Never);
        assert_eq!(world.api.written().len(), writes, "{other:?}");
    }
}

/// Reconciles HelmRepositories of type default only.
struct Repositories;

impl Reconciler for Repositories {
    type Kind = HelmRepository;

    fn suspended(&self, object: &HelmRepository) -> bool {
        object.spec.suspend
    }

    fn is_static(&self, object: &HelmRepository) -> bool {
        object.spec.type_ == Some(HelmRepositoryType::Oci)
    }

    async fn reconcile(&self, _: &mut Run<HelmRepository>) -> Result<Outcome, Failure> {
        Ok(Outcome::ready(SUCCEEDED, "reconciled", MINUTE))
    }

    async fn finalize(&self, run: &mut Run<HelmRepository>) -> Result<(), Failure> {
        run.trace("GarbageCollectionSucceeded", "garbage collected artifacts");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn static_kinds_are_cleaned_up_once() {
    let settings = Settings::new("helmrepository");
    let repository = |kind: &str, finalizers: Value, status: Value, suspend: bool| {
        let mut object = object(&status);
        object["spec"] = json!({"url": "oci://example.com", "type": kind, "suspend": suspend});
        object["metadata"]["finalizers"] = finalizers;
        World::holding(object)
    };
    let cleaned = ["Normal GarbageCollectionSucceeded: garbage collected artifacts"];
    let status =
        || json!({"observedGeneration": 1, "conditions": [condition(READY, "True")], "url": "u"});
    // SC-HREPO-011, SC-HREPO-012: including the default status that the CRD gives to a new object
    for (finalizers, before) in [
        (json!([FINALIZER]), status()),
        (json!([]), json!({"observedGeneration": -1})),
        (json!([FINALIZER]), json!({})),
    ] {
        let world = repository("oci", finalizers, before, false);
        assert_eq!(world.run(Repositories, settings).await, Again::Never);
        let now = world.api.object();
        assert_eq!(now["metadata"]["finalizers"], json!([]));
        assert_eq!(now["status"], json!({}));
        assert_eq!(world.api.events(), cleaned);
        // SC-HREPO-010, SC-HREPO-013
        let object: HelmRepository = serde_json::from_value(now).unwrap();
        assert!(!has_leftovers(&object, FINALIZER));
        let writes = world.api.written().len();
        assert_eq!(world.run(Repositories, settings).await, Again::Never);
        assert_eq!(world.api.written().len(), writes);
    }
    // SC-HREPO-011: not while suspended
    let world = repository("oci", json!([FINALIZER]), status(), true);
    assert_eq!(world.run(Repositories, settings).await, Again::Never);
    assert!(world.api.written().is_empty());
    // SC-HREPO-014
    let world = repository("default", json!([FINALIZER]), json!({}), false);
    assert_eq!(world.run(Repositories, settings).await, Again::At(MINUTE));
    assert_eq!(world.conditions(), ["Ready=True Succeeded: reconciled"]);
}

/// The policies of a kind that sets Ready during its runs.
const BY_RUN: Settings = Settings {
    ready: Ready::ByRun,
    start: Start::ByReconciler,
    at_once: AtOnce::Limited,
    stalls: Stalls::Fail,
    ..SETTINGS
};

/// What the runs of such a kind end with.
type Ended = fn() -> Result<Outcome, Failure>;

/// One run that sets Ready from a condition of the kind with this status. Returns the conditions, when the next run follows,
/// and whether the generation was observed.
async fn ended(status: Status, end: Ended) -> (Vec<String>, Again, bool) {
    let before = json!({"observedGeneration": 1, "conditions": [condition(READY, "True")]});
    let world = World::holding(object(&before));
    let work = Closure::new(move |run: &mut Run<GitRepository>| {
        FutureExt::boxed(async move {
            run.progress("working").await?;
            let reason = "Released";
            run.conditions
                .set(ARTIFACT_IN_STORAGE, status, reason, "as the kind says");
            run.set_ready_from(ARTIFACT_IN_STORAGE, status);
            end()
        })
    });
    let again = world.run(work, BY_RUN).await;
    let observed = world.api.object()["status"]["observedGeneration"] == 2;
    let mut conditions = world.conditions();
    conditions.retain(|condition| !condition.starts_with("ArtifactInStorage"));
    (conditions, again, observed)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_sets_ready_may_end_well_whatever_ready_is() {
    // HC-ACT-012, HC-ACT-021, HC-ACT-068
    for status in [Status::True, Status::False, Status::Unknown] {
        let (conditions, again, observed) = ended(status, || Ok(Outcome::summarized(MINUTE))).await;
        assert_eq!(
            conditions,
            [format!(
                "Ready={} Released: as the kind says",
                status.as_str()
            )]
        );
        assert_eq!((again, observed), (Again::At(MINUTE), true));
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_is_not_done_continues() {
    // HC-ACT-012, HC-ACT-064
    let later = || {
        Ok(Outcome::continuing(
            "retrying after 1m0s",
            outcome::Again::After(MINUTE),
        ))
    };
    let at_once = || Ok(Outcome::continuing("retrying", outcome::Again::BackOff));
    let ends: [(Ended, &str, Again, bool); 2] = [
        (later, "retrying after 1m0s", Again::At(MINUTE), true),
        (at_once, "retrying", Again::BackOff, false),
    ];
    for (end, message, want, is_observed) in ends {
        let (conditions, again, observed) = ended(Status::False, end).await;
        assert_eq!(
            conditions,
            [
                format!("Reconciling=True ProgressingWithRetry: {message}"),
                "Ready=False Released: as the kind says".to_owned()
            ]
        );
        assert_eq!((again, observed), (want, is_observed));
    }
}

#[tokio::test(start_paused = true)]
async fn failures_may_leave_ready_and_say_something_else() {
    let stalled = || {
        let failure = Failure::stalled("RetriesExceeded", "exceeded maximum retries");
        Err(failure.saying("Failed to install").leaving_ready())
    };
    // HC-ACT-067
    let (conditions, again, observed) = ended(Status::False, stalled).await;
    assert_eq!(
        conditions,
        [
            "Stalled=True RetriesExceeded: Failed to install",
            "Ready=False Released: as the kind says"
        ]
    );
    assert_eq!((again, observed), (Again::Never, true));
    // HC-DEP-008, HC-CHART-019: Reconciling stays as it is
    let waiting = || Err(Failure::waiting("SourceNotReady", "not yet", MINUTE).spread());
    let (conditions, again, observed) = ended(Status::True, waiting).await;
    assert_eq!(
        conditions,
        [
            "Reconciling=True Progressing: working",
            "Ready=False SourceNotReady: not yet"
        ]
    );
    assert_eq!((again, observed), (Again::At(MINUTE), false));
    // HC-ACT-007, HC-ACT-012: a run that leaves the conditions alone has not observed the generation
    let failed = || Err(Failure::retry("R", "no", Pace::BackOff).leaving_conditions());
    let (conditions, again, observed) = ended(Status::True, failed).await;
    assert_eq!(
        conditions,
        [
            "Reconciling=True Progressing: working",
            "Ready=True Released: as the kind says"
        ]
    );
    assert_eq!((again, observed), (Again::BackOff, false));
}
