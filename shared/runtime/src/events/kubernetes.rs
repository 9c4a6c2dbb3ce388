//! Events as Kubernetes objects (RT-EVT-002).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    correlate::{Correlator, Sort, Verdict},
    seconds,
};

/// Attempts to write one event, and the pause between them (RT-EVT-018).
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_secs(10);

/// One occurrence.
pub(super) struct Entry {
    pub(super) subject: ObjectReference,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) time: Timestamp,
}

/// Writes what comes in, until the senders are gone.
pub(super) async fn write(
    client: Client,
    controller: &'static str,
    mut entries: mpsc::Receiver<Entry>,
) {
    let mut correlator = Correlator::<String>::new();
    while let Some(entry) = entries.recv().await {
        for attempt in 1..=ATTEMPTS {
            match write_one(&client, controller, &mut correlator, &entry).await {
                Ok(()) => break,
                Err(error) if attempt == ATTEMPTS || !may_pass(&error) => {
                    tracing::error!(
                        logger = "events",
                        error = crate::outcome::chain(&error),
                        "unable to write Kubernetes event"
                    );
                    break;
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// Whether another try could succeed: the server was not reached, or is overloaded.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}

async fn write_one(
    client: &Client,
    controller: &'static str,
    correlator: &mut Correlator<String>,
    entry: &Entry,
) -> Result<(), kube::Error> {
    // Events about cluster-scoped objects live in the default namespace.
    let namespace = entry
        .subject
        .namespace
        .clone()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let object = [
        &entry.subject.uid,
        &entry.subject.api_version,
        &entry.subject.kind,
        &entry.subject.name,
    ]
    .map(|part| part.as_deref().unwrap_or_default())
    .join("/");
    let sort = Sort {
        object: format!("{namespace}/{object}"),
        warning: entry.warning,
        reason: entry.reason,
    };
    let message = match correlator.judge(&sort, entry.message.clone(), entry.time) {
        Verdict::Drop => return Ok(()),
        Verdict::Create(message) => message,
        Verdict::Count { id, count, message } => {
            let body =
                json!({"count": count, "lastTimestamp": seconds(entry.time), "message": message});
            match api
                .patch(&id, &PatchParams::default(), &Patch::Merge(&body))
                .await
            {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    correlator.lost(&sort, &message);
                }
                Err(error) => return Err(error),
            }
            message
        }
    };
    let made = api
        .create(
            &PostParams::default(),
            &event(controller, &namespace, entry, &message),
        )
        .await?;
    correlator.wrote(&sort, &message, made.name_any());
    Ok(())
}

fn event(controller: &str, namespace: &str, entry: &Entry, message: &str) -> Event {
    let subject = entry.subject.name.as_deref().unwrap_or_default();
    let time = Time(Timestamp::from_second(entry.time.as_second()).unwrap_or(entry.time));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{subject}.{:x}", entry.time.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            annotations: (!entry.annotations.is_empty()).then(|| entry.annotations.clone()),
            ..ObjectMeta::default()
        },
        involved_object: entry.subject.clone(),
        type_: Some(if entry.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(entry.reason.to_owned()),
        message: Some(message.to_owned()),
        source: Some(EventSource {
            component: Some(controller.to_owned()),
            host: None,
        }),
        reporting_component: Some(controller.to_owned()),
        count: Some(1),
        first_timestamp: Some(time.clone()),
        last_timestamp: Some(time),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_upstreams_fields() {
        // RT-EVT-002, SC-PROC-080
        let entry = Entry {
            subject: ObjectReference {
                name: Some("repo".into()),
                namespace: Some("apps".into()),
                ..ObjectReference::default()
            },
            warning: true,
            reason: "GitOperationFailed",
            message: "m".into(),
            annotations: BTreeMap::new(),
            time: Timestamp::from_nanosecond(0x1234_5678_9abc_def0).unwrap(),
        };
        let event = event("source-controller", "apps", &entry, "m");
        assert_eq!(
            event.metadata.name.as_deref(),
            Some("repo.123456789abcdef0")
        );
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.source.unwrap().component, event.reporting_component);
        assert_eq!(
            (event.count, event.first_timestamp),
            (Some(1), event.last_timestamp)
        );
    }
}
