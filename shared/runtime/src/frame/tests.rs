//! Tests of the reconciliation frame.

mod policies;

use std::sync::Arc;

use flux_api::source::GitRepository;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::conclude::{seconds, spread};
use super::*;
use crate::conditions::{
    ConditionType, Conditions, FAILED, Polarity, RECONCILING, SUCCEEDED, Summary,
};
use crate::controller::{Environment, FINALIZER};
use crate::events::Recorder;
use crate::fake::FakeApi;
use crate::metrics::{Metrics, Page};
use crate::outcome::Outcome;
use crate::policy::{Events, Ready, Stalls, Wording};
use crate::queue::{BackOff, Trigger};
use crate::run::{Context, Slot};
use crate::watch::Cache;

/// What the reconciler under test does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Script {
    Ready,
    /// Reports success while a condition contradicts it.
    Contradiction,
    Stall,
    Retry(Pace),
    Wait,
    Superseded,
    Ignored,
    Panic,
    Hang,
    /// Asks for another run.
    Requeue,
    /// Drafts a status that every server refuses.
    Grow,
    /// Reports progress twice.
    Progress,
    /// Finds that the object was changed during the run.
    Meddled,
    MeddledAndSlow,
}

struct Scripted {
    script: Script,
    api: FakeApi,
}

const MINUTE: Duration = Duration::from_mins(1);

impl Reconciler for Scripted {
    type Kind = GitRepository;

    fn suspended(&self, object: &GitRepository) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<GitRepository>) -> Result<Outcome, Failure> {
        run.conditions.remove(FETCH_FAILED);
        match self.script {
            Script::Ready => {}
            Script::Contradiction => {
                run.conditions
                    .set(FETCH_FAILED, Status::True, "Broken", "it is broken");
            }
            Script::Stall => {
                return Err(Failure::stalled("URLInvalid", "no such scheme").marking(FETCH_FAILED));
            }
            Script::Retry(pace) => {
                return Err(Failure::retry(FAILED, "remote hung up", pace).marking(FETCH_FAILED));
            }
            Script::Wait => return Err(Failure::waiting("DependencyNotReady", "not yet", MINUTE)),
            Script::Superseded => {
                return Err(Failure::superseded(
                    "HealthCheckCanceled",
                    "something newer",
                ));
            }
            Script::Ignored => {
                let next = Next::Ignored(MINUTE);
                return Err(Failure {
                    next,
                    ..Failure::waiting("Unchanged", "nothing to do", MINUTE)
                });
            }
            Script::Panic => panic!("at the disco"),
            Script::Requeue => {
                return Ok(Outcome {
                    again: outcome::Again::BackOff,
                    ..Outcome::summarized(MINUTE)
                });
            }
            Script::Grow => run.status.observed_ignore = Some("x".repeat(2000)),
            Script::Hang => std::future::pending().await,
            Script::Progress => {
                for step in ["fetching", "unpacking", "storing"] {
                    let is_short = step == "unpacking";
                    run.progress_of_step(step).await?;
                    tokio::time::sleep(Duration::from_millis(if is_short { 10 } else { 1500 }))
                        .await;
                }
            }
            Script::Meddled | Script::MeddledAndSlow => {
                let theirs = json!([{"type": "Theirs", "status": "True", "reason": "R", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2}]);
                self.api.meddle(&json!({"status": {"conditions": theirs}}));
                if matches!(self.script, Script::MeddledAndSlow) {
                    tokio::time::sleep(MINUTE).await;
                }
            }
        }
        run.conditions.set(
            ARTIFACT_IN_STORAGE,
            Status::True,
            SUCCEEDED,
            "stored artifact",
        );
        Ok(Outcome::summarized(MINUTE))
    }

    async fn finalize(&self, _: &mut Run<GitRepository>) -> Result<(), Failure> {
        Ok(())
    }
}

const FETCH_FAILED: ConditionType = ConditionType::new("FetchFailed");
const ARTIFACT_IN_STORAGE: ConditionType = ConditionType::new("ArtifactInStorage");

const SETTINGS: Settings = Settings {
    conditions: &[FETCH_FAILED, ARTIFACT_IN_STORAGE],
    ready: Ready::Summary(Summary {
        types: &[
            (FETCH_FAILED, Polarity::Negative),
            (ARTIFACT_IN_STORAGE, Polarity::Positive),
        ],
        bipolar: None,
    }),
    ..Settings::new("gitrepository")
};

/// A GitRepository of generation 2; a run has observed the first.
fn object(status: &Value) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "app", "namespace": "ns", "uid": "u", "generation": 2, "resourceVersion": "1",
            "finalizers": [FINALIZER], "annotations": {"reconcile.fluxcd.io/requestedAt": "now"}},
        "spec": {"url": "https://example.com/app", "interval": "1m"},
        "status": status,
    })
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Before", "message": "as it was",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
}

struct World {
    api: FakeApi,
    metrics: Metrics,
    /// `--interval-jitter-percentage`.
    jitter: u8,
    /// The kind's workers.
    slots: Arc<Semaphore>,
    /// Triggers the object during its run.
    trigger: watch::Sender<Option<Trigger>>,
    /// Cancelled when the process ends.
    stop: CancellationToken,
    /// How long progress waits.
    pause: Duration,
}

impl World {
    fn holding(object: Value) -> Self {
        Self {
            api: FakeApi::holding(object),
            metrics: Metrics::new().unwrap(),
            jitter: 0,
            slots: Arc::new(Semaphore::new(1)),
            trigger: watch::channel(None).0,
            stop: CancellationToken::new(),
            pause: Duration::from_secs(1),
        }
    }

    /// Reconciles the object once, as it is on the API server.
    async fn reconcile(&self, script: Script, settings: Settings) -> Again {
        let reconciler = Scripted {
            script,
            api: self.api.clone(),
        };
        self.run(reconciler, settings).await
    }

    /// Reconciles once with `reconciler`, and waits for its events.
    async fn run<R: Reconciler>(&self, reconciler: R, settings: Settings) -> Again {
        let client = self.api.client();
        let recorder =
            Recorder::new(client.clone(), "source-controller", "pod-1".into(), None).unwrap();
        let environment = Environment {
            client: client.clone(),
            namespace: None,
            selector: None,
            workers: 1,
            back_off: BackOff {
                first: Duration::from_secs(1),
                last: Duration::from_secs(1),
            },
            jitter: self.jitter,
            status_manager: "source-controller",
            recorder: recorder.clone(),
            metrics: self.metrics.clone(),
        };
        let cache = Cache::default();
        let controller = Controller::new(reconciler, settings, cache.clone(), environment);
        let context = Arc::new(Context {
            client,
            settings,
            status_manager: "source-controller",
            recorder: recorder.clone(),
            cache,
            pause: self.pause,
        });
        let slot = Slot {
            permit: self.slots.clone().try_acquire_owned().ok(),
            slots: self.slots.clone(),
            active: controller.metrics.active.clone(),
        };
        let object = Arc::new(serde_json::from_value(self.api.object()).unwrap());
        let interrupt = self.trigger.subscribe();
        let run = Run::new(object, context, slot, interrupt, self.stop.clone());
        let again = reconcile(&controller, run).await;
        recorder.flush(MINUTE).await;
        again
    }

    fn conditions(&self) -> Vec<String> {
        let object = self.api.object();
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .map(|condition| {
                let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
                format!(
                    "{}={} {}: {}",
                    text("type"),
                    text("status"),
                    text("reason"),
                    text("message")
                )
            })
            .collect()
    }

    fn counted(&self, series: &str) -> bool {
        let page = String::from_utf8(self.metrics.page(Page::default()).unwrap()).unwrap();
        page.lines().any(|line| line == series)
    }

    fn kstatus(&self) -> flux_kstatus::Status {
        flux_kstatus::assess(&self.api.object(), jiff::Timestamp::now())
            .unwrap()
            .status
    }
}

const RESULT: &str = "controller_runtime_reconcile_total{controller=\"gitrepository\",result=";

#[tokio::test(start_paused = true)]
async fn results_determine_conditions_and_requeue() {
    use flux_kstatus::Status::{Current, Failed, InProgress};
    let progressing =
        "Reconciling=True ProgressingWithRetry: processing object: new generation 1 -> 2";
    let hung_up = [
        "Ready=False Failed: remote hung up",
        "FetchFailed=True Failed: remote hung up",
    ];
    for (script, again, result, observed, kstatus, conditions) in [
        // RT-CON-007, RT-CON-011, RT-QUE-005
        (
            Script::Ready,
            Again::At(MINUTE),
            "requeue_after",
            2,
            Current,
            vec![
                "Ready=True Succeeded: stored artifact",
                "ArtifactInStorage=True Succeeded: stored artifact",
            ],
        ),
        // RT-CON-010, RT-QUE-006: a stall is not an error that is retried
        (
            Script::Stall,
            Again::Never,
            "success",
            2,
            Failed,
            vec![
                "Stalled=True URLInvalid: no such scheme",
                "Ready=False URLInvalid: no such scheme",
                "FetchFailed=True URLInvalid: no such scheme",
            ],
        ),
        // RT-CON-009
        (
            Script::Retry(Pace::BackOff),
            Again::BackOff,
            "error",
            1,
            InProgress,
            vec![progressing, hung_up[0], hung_up[1]],
        ),
        (
            Script::Retry(Pace::Exactly(MINUTE)),
            Again::At(MINUTE),
            "requeue_after",
            1,
            InProgress,
            vec![progressing, hung_up[0], hung_up[1]],
        ),
        // RT-CON-012, SC-PROC-074
        (
            Script::Contradiction,
            Again::BackOff,
            "error",
            1,
            InProgress,
            vec![
                "Ready=False Broken: it is broken",
                "ArtifactInStorage=True Succeeded: stored artifact",
                "FetchFailed=True Broken: it is broken",
            ],
        ),
        // SC-PROC-077: the run ends without a message and is requeued with a growing delay
        (
            Script::Requeue,
            Again::BackOff,
            "requeue",
            1,
            InProgress,
            vec![
                progressing,
                "Ready=False ProgressingWithRetry: processing object: new generation 1 -> 2",
            ],
        ),
        (
            Script::Wait,
            Again::At(MINUTE),
            "requeue_after",
            1,
            InProgress,
            vec![
                progressing,
                "Ready=False ProgressingWithRetry: processing object: new generation 1 -> 2",
            ],
        ),
        (
            Script::Superseded,
            Again::At(Duration::ZERO),
            "requeue_after",
            1,
            InProgress,
            vec![
                progressing,
                "Ready=False ProgressingWithRetry: processing object: new generation 1 -> 2",
            ],
        ),
        // SC-PROC-072
        (
            Script::Ignored,
            Again::At(MINUTE),
            "requeue_after",
            2,
            InProgress,
            vec!["Ready=Unknown Progressing: processing object: new generation 1 -> 2"],
        ),
    ] {
        let world = World::holding(object(&json!({"observedGeneration": 1})));
        assert_eq!(world.reconcile(script, SETTINGS).await, again, "{script:?}");
        assert_eq!(world.conditions(), conditions, "{script:?}");
        let status = world.api.object()["status"].clone();
        assert_eq!(status["observedGeneration"], observed, "{script:?}");
        // RT-CON-006: as kubectl and flux assess the object
        if script != Script::Ignored {
            assert_eq!(world.kstatus(), kstatus, "{script:?}");
        }
        // RT-ANN-001: handled, whatever the result
        assert_eq!(status["lastHandledReconcileAt"], "now", "{script:?}");
        // RT-MET-012, RT-MET-013
        assert!(
            world.counted(&format!("{RESULT}\"{result}\"}} 1")),
            "{script:?}"
        );
        let errors = u8::from(result == "error");
        assert!(
            world.counted(&format!(
                "controller_runtime_reconcile_errors_total{{controller=\"gitrepository\"}} {errors}"
            )),
            "{script:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_result_can_count_as_a_terminal_error() {
    // RT-QUE-006, RT-MET-013
    let world = World::holding(object(&json!({})));
    let settings = Settings {
        stalls: Stalls::Fail,
        ..SETTINGS
    };
    assert_eq!(world.reconcile(Script::Stall, settings).await, Again::Never);
    assert!(world.counted(&format!("{RESULT}\"error\"}} 1")));
    assert!(world.counted(
        "controller_runtime_terminal_reconcile_errors_total{controller=\"gitrepository\"} 1"
    ));
}

#[tokio::test(start_paused = true)]
async fn panics_and_timeouts_are_counted_as_errors() {
    // RT-LED-012, RT-QUE-009, RT-MET-013
    for (script, family) in [
        // NC-PROC-031, HC-PROC-052
        // SW-PROC-041
        (Script::Panic, "controller_runtime_reconcile_panics_total"),
        (Script::Hang, "controller_runtime_reconcile_timeouts_total"),
    ] {
        let world = World::holding(object(&json!({})));
        let settings = Settings {
            timeout: Some(MINUTE),
            ..SETTINGS
        };
        assert_eq!(
            world.reconcile(script, settings).await,
            Again::BackOff,
            "{script:?}"
        );
        assert!(
            world.counted(&format!("{family}{{controller=\"gitrepository\"}} 1")),
            "{script:?}"
        );
        assert!(
            world.counted(&format!("{RESULT}\"error\"}} 1")),
            "{script:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_start_of_a_reconcile_is_reported() {
    // RT-CON-008
    let starting = "processing object: new generation 1 -> 2";
    for (before, ready) in [
        (json!([]), format!("Ready=Unknown Progressing: {starting}")),
        (
            json!([condition(READY, "Unknown")]),
            format!("Ready=Unknown Progressing: {starting}"),
        ),
        (
            json!([condition(READY, "True")]),
            "Ready=True Before: as it was".to_owned(),
        ),
        (
            json!([condition(READY, "False")]),
            "Ready=False Before: as it was".to_owned(),
        ),
    ] {
        let world = World::holding(object(
            &json!({"observedGeneration": 1, "conditions": before}),
        ));
        // The stored state when the work itself begins, which never ends here.
        let working = world.reconcile(Script::Hang, SETTINGS);
        assert!(tokio::time::timeout(MINUTE, working).await.is_err());
        assert_eq!(
            world.conditions(),
            [format!("Reconciling=True Progressing: {starting}"), ready]
        );
        assert_eq!(
            world.kstatus(),
            flux_kstatus::Status::InProgress,
            "RT-CON-006"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn progress_and_result_are_separate_patches() {
    let world = World::holding(object(&json!({"observedGeneration": 1})));
    world.reconcile(Script::Progress, SETTINGS).await;
    let written = world.api.written();
    let messages: Vec<_> = written
        .iter()
        .map(|written| {
            let conditions = written.body["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions
                .iter()
                .find(|condition| condition["type"] == RECONCILING)
                .and_then(|condition| condition["message"].as_str().map(str::to_owned))
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    // RT-CON-019
    assert_eq!(
        messages,
        [
            // Not "processing object": the first step followed within a second, as the last did.
            some("fetching"),
            some("storing"),
            None
        ]
    );
    for (at, written) in written.iter().enumerate() {
        // RT-KUB-006
        assert_eq!(
            written.path,
            "/apis/source.toolkit.fluxcd.io/v1/namespaces/ns/gitrepositories/app/status"
        );
        // SC-PROC-075
        assert_eq!(written.manager, "source-controller");
        // RT-CON-016
        assert_eq!(
            written.body["metadata"]["resourceVersion"],
            (at + 1).to_string()
        );
    }
    // RT-CON-018: a run without changes writes nothing
    world.reconcile(Script::Ready, SETTINGS).await;
    assert_eq!(world.api.written().len(), written.len());

    // As upstream
    let world = World {
        pause: Duration::ZERO,
        ..World::holding(object(&json!({"observedGeneration": 1})))
    };
    world.reconcile(Script::Progress, SETTINGS).await;
    assert_eq!(world.api.written().len(), 5, "{:?}", world.api.written());

    // A run that is over within a second writes its result only.
    let world = World::holding(object(&json!({"observedGeneration": 1})));
    world.reconcile(Script::Ready, SETTINGS).await;
    let written = world.api.written();
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(written[0].body["status"]["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn progress_keeps_what_others_write() {
    // RT-CON-017
    let theirs = json!([{"type": "Theirs", "status": "True", "reason": "R", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2}]);
    let world = World::holding(object(&json!({"observedGeneration": 1})));
    world.reconcile(Script::MeddledAndSlow, SETTINGS).await;
    let progress = world.api.written();
    let conditions = |at: usize| progress[at].body["status"]["conditions"].clone();
    let has = |conditions: &Value, kind: &str| {
        let mut listed = conditions.as_array().into_iter().flatten();
        listed.any(|condition| condition["type"] == kind)
    };
    // The first is refused, since the object has changed.
    assert_eq!(progress.len(), 3, "{progress:?}");
    assert!(has(&conditions(1), RECONCILING) && has(&conditions(1), "Theirs"));
    assert!(!has(&conditions(2), RECONCILING) && has(&conditions(2), "Theirs"));
    assert_eq!(world.api.object()["status"]["conditions"][2], theirs[0]);
}

#[tokio::test(start_paused = true)]
async fn patch_conflicts_are_retried_on_the_latest_object() {
    let quiet = || object(&json!({"observedGeneration": 2, "lastHandledReconcileAt": "now"}));
    // RT-CON-016, RT-CON-017, SC-PROC-075: conditions of other writers are kept, and so are ours
    let world = World::holding(quiet());
    assert_eq!(
        world.reconcile(Script::Meddled, SETTINGS).await,
        Again::At(MINUTE)
    );
    assert_eq!(
        world.conditions(),
        [
            "Ready=True Succeeded: stored artifact",
            "ArtifactInStorage=True Succeeded: stored artifact",
            "Theirs=True R: "
        ]
    );
    for (faults, again, patches, least) in [
        (&[409][..], Again::At(MINUTE), 2, 0),
        (&[409; 4], Again::At(MINUTE), 5, 600),
        (&[409; 20], Again::BackOff, 5, 600),
        // RT-CON-020
        (&[404], Again::At(MINUTE), 1, 0),
        (&[500], Again::BackOff, 1, 0),
    ] {
        let world = World::holding(quiet());
        let api = world.api.clone().failing(faults);
        let started = tokio::time::Instant::now();
        assert_eq!(
            world.reconcile(Script::Ready, SETTINGS).await,
            again,
            "{faults:?}"
        );
        assert_eq!(api.written().len(), patches, "{faults:?}");
        let conflicts = faults.iter().filter(|code| **code == 409).count().min(5);
        assert_eq!(api.reads(), conflicts, "{faults:?}: one for each conflict");
        assert!(
            started.elapsed() >= Duration::from_millis(least),
            "{faults:?}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_successful_run_with_an_unready_object_is_logged_as_an_error() {
    // RT-CON-012, SC-PROC-074
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = World::holding(object(&json!({"observedGeneration": 1})));
    let lines = crate::logging::tests::logged("info", "json", || {
        runtime.block_on(world.reconcile(Script::Contradiction, SETTINGS));
    });
    let lines = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let errors: Vec<Value> = lines
        .filter(|line| line["msg"] == "Reconciler error")
        .map(|line| line["error"].clone())
        .collect();
    assert_eq!(errors, ["it is broken"]);
    assert!(
        world
            .conditions()
            .contains(&"Ready=False Broken: it is broken".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_run_only_adds_the_finalizer_and_requeues_at_once() {
    // SC-PROC-077, SC-PROC-056
    let mut new = object(&json!({"observedGeneration": -1}));
    new["metadata"]["finalizers"] = json!([]);
    let world = World::holding(new);
    let again = world.reconcile(Script::Panic, SETTINGS).await;
    assert_eq!(again, Again::At(Duration::ZERO));
    let written = world.api.written();
    assert_eq!(written.len(), 1);
    assert_eq!(
        written[0].body["metadata"]["finalizers"],
        json!([FINALIZER])
    );
}

#[tokio::test(start_paused = true)]
async fn a_too_large_status_is_replaced_by_a_small_one_that_reports_it() {
    // KC-PRUNE-023
    let before = json!({"observedGeneration": 1, "lastHandledReconcileAt": "earlier", "observedIgnore": "kept"});
    let world = World::holding(object(&before));
    let refusing = world.api.clone().refusing_above(2000);
    assert_eq!(
        world.reconcile(Script::Grow, SETTINGS).await,
        Again::BackOff
    );
    let ready = world
        .conditions()
        .into_iter()
        .find(|said| said.starts_with("Ready="));
    let ready = ready.unwrap_or_default();
    assert!(
        ready.starts_with("Ready=False Failed: failed to update status: the object has grown too large for the API server, with ")
            && ready.ends_with(" let it hold less, or split it into several: etcdserver: request is too large"),
        "{ready}"
    );
    let status = world.api.object()["status"].clone();
    assert_eq!(status["observedIgnore"], "kept", "what was written stays");
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["lastHandledReconcileAt"], "now");
    assert_eq!(refusing.written().len(), 2, "one more request, no more");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_loses_its_finalizer_and_its_metrics() {
    // RT-WAT-003, RT-MET-005, RT-CON-020
    for faults in [&[][..], &[404]] {
        let mut deleted = object(&json!({"observedGeneration": 1}));
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let world = World::holding(deleted);
        let api = world.api.clone().failing(faults);
        world.metrics.reconciled("GitRepository", "app", "ns", 1.0);
        assert_eq!(world.reconcile(Script::Ready, SETTINGS).await, Again::Never);
        let written = api.written();
        assert_eq!(written.len(), 1);
        assert_eq!(written[0].body["metadata"]["finalizers"], json!([]));
        let page = String::from_utf8(world.metrics.page(Page::default()).unwrap()).unwrap();
        assert!(!page.contains("name=\"app\""), "{page}");
    }
}

/// When the object is reconciled again, with intervals spread by half.
async fn spread_by_half(script: Script) -> Again {
    let world = World {
        jitter: 50,
        ..World::holding(object(&json!({"observedGeneration": 2})))
    };
    world.reconcile(script, SETTINGS).await
}

#[tokio::test(start_paused = true)]
async fn only_intervals_are_jittered() {
    // RT-QUE-007, SC-PROC-033, KC-PROC-026
    for script in [Script::Ready, Script::Ignored] {
        let mut delays = Vec::new();
        for _ in 0..4 {
            let Again::At(delay) = spread_by_half(script).await else {
                panic!("{script:?} has an interval");
            };
            assert!(
                delay >= MINUTE / 2 && delay <= MINUTE * 3 / 2,
                "{script:?}: {delay:?}"
            );
            delays.push(delay);
        }
        // Four draws from 2^52 values.
        delays.dedup();
        assert!(delays.len() > 1, "{script:?} is not spread: {delays:?}");
    }
    for script in [Script::Retry(Pace::Exactly(MINUTE)), Script::Wait] {
        assert_eq!(spread_by_half(script).await, Again::At(MINUTE));
    }
}

#[test]
fn intervals_are_jittered_by_the_percentage() {
    // RT-QUE-007
    let interval = Duration::from_secs(100);
    assert_eq!(spread(interval, 5, -1.0), Duration::from_secs(95));
    assert_eq!(spread(interval, 5, 0.5), Duration::from_millis(102_500));
    assert_eq!(spread(interval, 5, 1.0), Duration::from_secs(105));
    // RT-QUE-008: controllers without the flag pass zero
    assert_eq!(spread(interval, 0, 0.7), interval);
}

#[test]
fn waiting_and_stalled_results_are_logged_in_the_wording_of_the_kind() {
    // SC-PROC-071, RT-LOG-005
    let line = |script, wording| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let settings = Settings {
            wording,
            ..SETTINGS
        };
        let reconcile = async {
            let world = World::holding(object(&json!({})));
            world.reconcile(script, settings).await
        };
        let mut lines = crate::logging::tests::logged("info", "json", || {
            runtime.block_on(reconcile);
        });
        lines.retain(|line| !line.contains("reconciler kind")); // that of the event
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        let fields = ["level", "msg", "error", "reason", "duration"];
        fields.map(|field| line[field].clone())
    };
    assert_eq!(
        line(Script::Wait, Wording::Named).map(|field| field.to_string()),
        [
            "\"info\"",
            "\"reconciliation waiting\"",
            "null",
            "\"not yet\"",
            "60"
        ]
    );
    assert_eq!(
        line(Script::Stall, Wording::Named),
        [
            json!("error"),
            json!("reconciliation stalled"),
            json!("no such scheme"),
            Value::Null,
            Value::Null
        ]
    );
    assert_eq!(line(Script::Wait, Wording::Message)[1], "not yet");
    assert_eq!(line(Script::Stall, Wording::Message)[1], "Reconciler error");
    assert_eq!(seconds(Duration::from_millis(1500)), json!(1.5));
}
