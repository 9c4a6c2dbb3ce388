//! Events, as Kubernetes keeps them.

use std::collections::BTreeMap;

use flux_runtime::events::{Recorder, Severity, Subject};
use k8s_openapi::api::core::v1::ConfigMap;
use kind_tests::{Cluster, EventSink, Namespace, Result};
use kube::Api;
use serde_json::Value;

use crate::EVENT;

/// A ConfigMap of this name to tell of.
async fn subject(namespace: &Namespace, name: &str) -> Result<Subject> {
    namespace
        .apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}"
        ))
        .await?;
    let api: Api<ConfigMap> = Api::namespaced(namespace.client().clone(), namespace.name());
    Ok(Subject::of(&api.get(name).await?))
}

/// How often each message was told of this object.
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
async fn repeats_are_counted_floods_collapse_and_spam_is_dropped() -> Result {
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
            "NewArtifact",
            message,
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
    // RT-EVT-016: one event and its count
    namespace
        .wait_all(EVENT, "a repeated event is counted", |events| {
            (counts(events, "same").values().eq([&3])).then_some(())
        })
        .await?;
    // RT-EVT-016: ten of a sort stand for themselves, what follows is one event
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
    // RT-EVT-017: a burst of 25; the notification-controller is told of all
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
