//! The frame of the controllers (`shared/runtime`) on a real API server: in this process with a scripted reconciler,
//! and in the controllers themselves.

mod events;
mod fairness;
mod leader;
mod minimal;
mod objects;
mod process;
mod watches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flux_api::source::GitRepository;
use flux_runtime::conditions::{ConditionType, Polarity, Status, Summary};
use flux_runtime::controller::{Controller, Environment};
use flux_runtime::events::Recorder;
use flux_runtime::metrics::Metrics;
use flux_runtime::policy::Ready;
use flux_runtime::queue::BackOff;
use flux_runtime::watch::Cache;
use flux_runtime::{self as runtime, Outcome, Pace, Reconciler, Run, Settings};
use kind_tests::{EventSink, Kind, Namespace, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const EVENT: Kind = Kind("v1", "Event");

/// A reconciler that acts by the last part of `spec.url`.
#[derive(Default)]
struct Scripted {
    runs: Arc<AtomicUsize>,
    finalized: Arc<AtomicUsize>,
    panics: watch::Sender<usize>,
    /// The number of runs in `hold`, and whether they may continue.
    holding: watch::Sender<usize>,
    leave: watch::Sender<bool>,
}

impl Reconciler for Scripted {
    type Kind = GitRepository;

    fn suspended(&self, object: &GitRepository) -> bool {
        object.spec.suspend
    }

    async fn reconcile(
        &self,
        run: &mut Run<GitRepository>,
    ) -> std::result::Result<Outcome, runtime::Failure> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let hour = Duration::from_hours(1);
        let script = run
            .object()
            .spec
            .url
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        run.status.observed_ignore = Some(script.clone());
        match script.as_str() {
            "stall" => {
                Err(runtime::Failure::stalled("URLInvalid", "no such scheme").marking(FETCH_FAILED))
            }
            "retry" => {
                Err(
                    runtime::Failure::retry("GitOperationFailed", "remote hung up", Pace::BackOff)
                        .marking(FETCH_FAILED),
                )
            }
            "panic" => {
                self.panics.send_modify(|panics| *panics += 1);
                panic!("at the disco")
            }
            other => {
                if other == "hold" {
                    self.holding.send_modify(|holding| *holding += 1);
                    // The sender lives as long as this reconciler.
                    let _ = self.leave.subscribe().wait_for(|leave| *leave).await;
                    self.holding.send_modify(|holding| *holding -= 1);
                }
                run.conditions.remove(FETCH_FAILED);
                run.conditions.set(
                    ARTIFACT_IN_STORAGE,
                    Status::True,
                    "Succeeded",
                    "stored artifact",
                );
                let metadata = BTreeMap::from([("revision", "main@sha1:1".to_owned())]);
                if run.is_eager() {
                    run.event("NewArtifact", "stored artifact", &metadata);
                }
                Ok(Outcome::summarized(hour))
            }
        }
    }

    async fn finalize(
        &self,
        _run: &mut Run<GitRepository>,
    ) -> std::result::Result<(), runtime::Failure> {
        self.finalized.fetch_add(1, Ordering::SeqCst);
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

/// A controller on the objects of one namespace, in this process.
struct Running {
    runs: Arc<AtomicUsize>,
    finalized: Arc<AtomicUsize>,
    panics: watch::Receiver<usize>,
    holding: watch::Sender<usize>,
    leave: watch::Sender<bool>,
    metrics: Metrics,
    sink: EventSink,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a controller of the objects in this namespace gets from its process.
fn environment(
    namespace: &Namespace,
    metrics: &Metrics,
    sink: Option<&EventSink>,
) -> Result<Environment> {
    let client = namespace.client().clone();
    let url = sink.map(EventSink::url);
    let recorder = Recorder::new(
        client.clone(),
        "source-controller",
        "pod-1".into(),
        url.as_deref(),
    )?;
    Ok(Environment {
        client,
        namespace: Some(namespace.name().to_owned()),
        selector: None,
        workers: 2,
        back_off: BackOff {
            first: Duration::from_millis(50),
            last: Duration::from_secs(1),
        },
        jitter: 5,
        status_manager: "source-controller",
        recorder,
        metrics: metrics.clone(),
    })
}

async fn start(namespace: &Namespace) -> Result<Running> {
    let sink = EventSink::start().await?;
    let metrics = Metrics::new()?;
    let environment = environment(namespace, &metrics, Some(&sink))?;
    let scripted = Scripted::default();
    let (runs, finalized) = (scripted.runs.clone(), scripted.finalized.clone());
    let panics = scripted.panics.subscribe();
    let (holding, leave) = (scripted.holding.clone(), scripted.leave.clone());
    let stop = CancellationToken::new();
    let controller = Controller::new(scripted, SETTINGS, Cache::default(), environment);
    tokio::spawn(controller.run(stop.clone(), Duration::from_secs(1)));
    Ok(Running {
        runs,
        finalized,
        panics,
        holding,
        leave,
        metrics,
        sink,
        stop,
    })
}

fn repository(name: &str, script: &str) -> String {
    format!(
        "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}}}, \
         spec: {{interval: 1h, url: 'https://example.com/{script}'}}}}"
    )
}
