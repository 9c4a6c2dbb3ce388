//! Why objects are not ready, as far as the cluster says it elsewhere: in their conditions, their pods and their events.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use kube::api::ListParams;
use serde_json::Value;

use super::watches::selector_text;
use crate::cluster::Cluster;
use crate::object::ObjectId;

/// How many objects are looked into.
const OBJECTS: usize = 5;
/// How many pods and events of an object are read.
const PAGE: u32 = 100;
/// The characters of one cause at most.
const LONGEST: usize = 300;
/// How long looking may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// The causes that are found below these objects, which are not ready: one line for each object with a cause. What the
/// identity may not read is left out.
pub(super) async fn causes(
    cluster: &Cluster,
    objects: Vec<(ObjectId, Option<Value>)>,
) -> Vec<String> {
    let looked = stream::iter(objects.into_iter().take(OBJECTS))
        .map(|(id, object)| async move {
            let object = object.unwrap_or_default();
            let mut causes: Vec<String> = of_conditions(&object).into_iter().collect();
            if let Some(pod) = stuck_pod(cluster, &id, &object).await {
                causes.extend(of_pod(&pod));
                causes.extend(last_event(cluster, &id.namespace, &pod).await);
            } else {
                causes.extend(last_event(cluster, &id.namespace, &object).await);
            }
            for cause in &mut causes {
                cluster.confidential().mask(cause, &id);
                shorten(cause);
            }
            (!causes.is_empty()).then(|| format!("{id}: {}", causes.join(", ")))
        })
        .buffered(OBJECTS)
        .filter_map(std::future::ready)
        .collect();
    tokio::time::timeout(PATIENCE, looked)
        .await
        .unwrap_or_default()
}

fn shorten(text: &mut String) {
    if text.contains('\n') {
        *text = text.replace('\n', " ");
    }
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
}

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What a condition says that shows a failure.
fn of_conditions(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let failures = [
        ("Stalled", "True"),
        ("Failed", "True"),
        ("Ready", "False"),
        ("Progressing", "False"),
        ("PodScheduled", "False"),
    ];
    failures.iter().find_map(|(kind, status)| {
        let mut found = conditions.iter();
        let found = found
            .find(|found| text(found, "/type") == *kind && text(found, "/status") == *status)?;
        let (reason, message) = (text(found, "/reason"), text(found, "/message"));
        said(reason, message)
    })
}

fn said(reason: &str, message: &str) -> Option<String> {
    match (reason, message.trim()) {
        ("", "") => None,
        (reason, "") => Some(reason.to_owned()),
        ("", message) => Some(message.to_owned()),
        (reason, message) => Some(format!("{reason}: {message}")),
    }
}

/// A pod of an object that shows why the object is not ready.
async fn stuck_pod(cluster: &Cluster, owner: &ObjectId, object: &Value) -> Option<Value> {
    if owner.group.is_empty() && owner.kind == "Pod" {
        return Some(object.clone());
    }
    if !matches!(owner.group.as_str(), "apps" | "batch") {
        return None;
    }
    let labels = selector_text(object.pointer("/spec/selector")?)?;
    let params = ListParams::default().labels(&labels).limit(PAGE);
    let mut pods = list(cluster, "Pod", &owner.namespace, &params).await?;
    let stuck = pods.iter().position(|pod| of_pod(pod).is_some());
    (!pods.is_empty()).then(|| pods.swap_remove(stuck.unwrap_or(0)))
}

/// What a pod says about its containers, or about why it has no node.
fn of_pod(pod: &Value) -> Option<String> {
    let name = text(pod, "/metadata/name");
    let states = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let states = states
        .iter()
        .filter_map(|path| pod.pointer(path)?.as_array());
    for state in states.flatten() {
        let container = text(state, "/name");
        let waiting = text(state, "/state/waiting/reason");
        let ended = text(state, "/state/terminated/reason");
        let last = text(state, "/lastState/terminated/reason");
        // These two pass by themselves.
        let (reason, message) = match (waiting, ended) {
            ("ContainerCreating" | "PodInitializing", _) | ("", "" | "Completed") => continue,
            ("", ended) => (ended, text(state, "/state/terminated/message")),
            (waiting, _) => (waiting, text(state, "/state/waiting/message")),
        };
        let image = match text(state, "/image") {
            "" => image_of(pod, container),
            image => image,
        };
        let mut cause =
            format!("container '{container}' of Pod {name} with image '{image}': {reason}");
        if !last.is_empty() && last != reason {
            cause = format!("{cause} (last ended with {last})");
        }
        return Some(if message.is_empty() {
            cause
        } else {
            format!("{cause}: {message}")
        });
    }
    let conditions = pod.pointer("/status/conditions")?.as_array()?;
    let unplaced = conditions.iter().find(|condition| {
        text(condition, "/type") == "PodScheduled" && text(condition, "/status") == "False"
    })?;
    let said = said(text(unplaced, "/reason"), text(unplaced, "/message"))?;
    Some(format!("Pod {name} has no node: {said}"))
}

/// The image that the specification of a pod names for a container.
fn image_of<'p>(pod: &'p Value, container: &str) -> &'p str {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let mut all = lists
        .iter()
        .filter_map(|path| pod.pointer(path)?.as_array())
        .flatten();
    let found = all.find(|entry| text(entry, "/name") == container);
    found.map_or("", |entry| text(entry, "/image"))
}

/// The last event of an object: the last warning, if there is any.
async fn last_event(cluster: &Cluster, namespace: &str, object: &Value) -> Option<String> {
    let uid = text(object, "/metadata/uid");
    if uid.is_empty() || namespace.is_empty() {
        return None;
    }
    let params = ListParams::default()
        .fields(&format!("involvedObject.uid={uid}"))
        .limit(PAGE);
    let events = list(cluster, "Event", namespace, &params).await?;
    let time = |event: &Value| {
        let times = [
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ];
        let mut times = times.iter().map(|path| text(event, path));
        times
            .find(|time| !time.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let last = events
        .iter()
        .max_by_key(|event| (text(event, "/type") == "Warning", time(event)))?;
    let said = said(text(last, "/reason"), text(last, "/message"))?;
    Some(format!("last event: {said}"))
}

/// Objects of a core kind; `None` if they cannot be read.
async fn list(
    cluster: &Cluster,
    kind: &str,
    namespace: &str,
    params: &ListParams,
) -> Option<Vec<Value>> {
    let id = ObjectId {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        ..ObjectId::default()
    };
    let resource = cluster.resource_of(&id, "v1").await.ok()?;
    let page = cluster
        .list_text(&resource, Some(namespace), params)
        .await
        .ok()?;
    let mut page: Value = serde_json::from_str(&page).ok()?;
    match page.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_says_why_its_containers_do_not_run() {
        let pod = |states: Value| {
            json!({
                "metadata": {"name": "web-1"},
                "spec": {"containers": [{"name": "web", "image": "org/web:2"}]},
                "status": {"containerStatuses": states, "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
                ]},
            })
        };
        for (states, cause) in [
            (
                json!([{"name": "web", "image": "", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}}]),
                "container 'web' of Pod web-1 with image 'org/web:2': ImagePullBackOff: Back-off",
            ),
            (
                json!([{"name": "web", "image": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"reason": "OOMKilled"}}}]),
                "container 'web' of Pod web-1 with image 'i': CrashLoopBackOff (last ended with OOMKilled)",
            ),
            (
                json!([{"name": "a", "state": {"terminated": {"reason": "Completed"}}},
                       {"name": "b", "image": "i", "state": {"terminated": {"reason": "Error", "message": "exit 1"}}}]),
                "container 'b' of Pod web-1 with image 'i': Error: exit 1",
            ),
            (
                json!([{"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}]),
                "Pod web-1 has no node: Unschedulable: 0/1 nodes are available",
            ),
        ] {
            assert_eq!(of_pod(&pod(states)).as_deref(), Some(cause));
        }
        assert_eq!(of_pod(&json!({"status": {}})), None);
    }

    #[test]
    fn a_condition_says_why_an_object_is_not_ready() {
        let conditions = json!([
            {"type": "Ready", "status": "False", "reason": "Broken", "message": "a\nb"},
            {"type": "Stalled", "status": "False", "reason": "Other"},
        ]);
        let object = json!({"status": {"conditions": conditions}});
        assert_eq!(of_conditions(&object).as_deref(), Some("Broken: a\nb"));
        assert_eq!(of_conditions(&json!({})), None);
        let mut long = "é\n".repeat(400);
        shorten(&mut long);
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(!long.contains('\n') && long.ends_with('…'));
    }
}
