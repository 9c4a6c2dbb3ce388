//! Events in Kubernetes.

use std::collections::BTreeMap;

use flux_runtime::events::{Recorder, Severity, Subject, What};
use k8s_openapi::api::core::v1::{ConfigMap, Event as KubeEvent};
use kind_tests::requests::Counter;
use kind_tests::{Cluster, EventSink, Failure, Kind, Namespace, Result};
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::EVENT;

/// The interval between reads of what cannot be watched.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// A ConfigMap of this name as the subject of events.
async fn subject(namespace: &Namespace, name: &str) -> Result<Subject> {
    namespace
        .apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}"
        ))
        .await?;
    let api: Api<ConfigMap> = Api::namespaced(namespace.client().clone(), namespace.name());
    Ok(Subject::of(&api.get(name).await?))
}

/// The count of each message for this object.
fn counts(events: &[Value], name: &str) -> BTreeMap<String, i64> {
    let ours = events.iter().filter(|event| {
        event["involvedObject"]["name"] == name
            && event["source"]["component"] == "source-controller"
    });
    ours.map(|event| {
        (
            event["message"].as_str().unwrap_or_default().to_owned(),
            event["count"].as_i64().unwrap_or_default(),
        )
    })
    .collect()
}

#[tokio::test]
async fn repeated_events_are_counted_aggregated_and_rate_limited() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-events").await?;
    let sink = EventSink::start().await?;
    let client = namespace.client().clone();
    let recorder = Recorder::new(
        client,
        "source-controller",
        "pod-1".into(),
        Some(&sink.url()),
    )?;
    let record = |subject: &Subject, message: String| {
        recorder.record(
            subject,
            Severity::Info,
            What::new("NewArtifact", message),
            &BTreeMap::new(),
        );
    };
    let (same, many, spam) = (
        subject(&namespace, "same").await?,
        subject(&namespace, "many").await?,
        subject(&namespace, "spam").await?,
    );
    for _ in 0..3 {
        record(&same, "stored artifact".into());
    }
    for number in 0..12 {
        record(&many, format!("stored artifact {number}"));
    }
    for _ in 0..40 {
        record(&spam, "stored artifact".into());
    }
    // RT-EVT-016, KC-EVT-010: one event and its count
    namespace
        .wait_all(EVENT, "a repeated event is counted", |events| {
            (counts(events, "same").values().eq([&3])).then_some(())
        })
        .await?;
    // RT-EVT-016: ten of a kind are stored individually, further ones as a single event
    let flood = namespace
        .wait_all(EVENT, "a flood collapses", |events| {
            let flood = counts(events, "many");
            (flood.values().sum::<i64>() == 12).then_some(flood)
        })
        .await?;
    assert_eq!(flood.len(), 11, "{flood:?}");
    assert_eq!(
        flood.get("(combined from similar events): stored artifact 11"),
        Some(&2),
        "{flood:?}"
    );
    // RT-EVT-017: a burst of 25; notification-controller gets all
    namespace
        .wait_all(EVENT, "a burst has passed", |events| {
            (counts(events, "spam").values().eq([&25])).then_some(())
        })
        .await?;
    let told = namespace.wait_for("every post", async {
        loop {
            let posts = sink.events();
            let spam = posts
                .iter()
                .filter(|post| post["involvedObject"]["name"] == "spam")
                .count();
            if spam == 40 {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    told.await?;
    let events = namespace
        .wait_all(EVENT, "the events are there", |events| {
            Some(events.to_vec())
        })
        .await?;
    assert!(
        counts(&events, "spam").values().eq([&25]),
        "what was dropped stays dropped"
    );
    sink.check()
}

/// Makes the server fail to create events in the namespace: it calls a webhook that does not respond.
fn closed_counter(namespace: &str) -> String {
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {namespace}}}
webhooks:
- name: events.example.com
  clientConfig: {{url: 'https://127.0.0.1:1/'}}
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
  rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [events]}}]
"
    )
}

#[tokio::test]
async fn events_are_retried_after_server_failures() -> Result {
    const WEBHOOK: Kind = Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    );
    let cluster = Cluster::shared().await?;
    let namespace = Namespace::create(&cluster, "frame-closed").await?;
    let subject = subject(&namespace, "told").await?;
    namespace.apply(&closed_counter(namespace.name())).await?;
    let user = format!("{}-recorder", namespace.name());
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_for(&user)?)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let client = Client::try_from(config)?;

    // The server applies the webhook at some point; this cannot be watched.
    let events: Api<KubeEvent> = Api::namespaced(namespace.client().clone(), namespace.name());
    let trial: KubeEvent = serde_json::from_value(json!({
        "metadata": {"name": "trial", "namespace": namespace.name()},
        "involvedObject": {"kind": "ConfigMap", "name": "told", "namespace": namespace.name()},
        "reason": "Trial", "type": "Normal",
    }))?;
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let closed = async {
        let fails =
            |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 500);
        while !events
            .create(&dry_run, &trial)
            .await
            .is_err_and(|error| fails(&error))
        {
            tokio::time::sleep(PAUSE).await;
        }
    };
    namespace.wait_for("the server fails", closed).await?;

    let counter = Counter::start(&cluster, &user)?;
    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), None)?;
    let message = "stored artifact".to_owned();
    let none = BTreeMap::new();
    let stored = What::new("NewArtifact", message);
    recorder.record(&subject, Severity::Info, stored, &none);
    let refused = async {
        loop {
            let requests = counter.requests()?;
            if requests
                .iter()
                .any(|request| request.verb == "create" && request.code == 500)
            {
                return Ok::<_, Failure>(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    namespace
        .wait_for("the event is refused", refused)
        .await??;
    namespace.delete(WEBHOOK, namespace.name()).await?;
    // RT-EVT-018: some seconds later
    namespace
        .wait_all(EVENT, "the event is there", |events| {
            (counts(events, "told").values().eq([&1])).then_some(())
        })
        .await
}
