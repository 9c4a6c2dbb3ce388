//! The output of a failed wait.

use std::fmt::Write;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::failure::Result;

/// The Flux kinds in the cluster, each in its storage version.
pub(crate) async fn flux_resources(client: &Client) -> Result<Vec<ApiResource>> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut resources = Vec::new();
    for definition in definitions.list(&ListParams::default()).await? {
        let spec = definition.spec;
        if !spec.group.ends_with(".fluxcd.io") || spec.scope != "Namespaced" {
            continue;
        }
        if let Some(version) = spec.versions.iter().find(|version| version.storage) {
            let gvk = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
            resources.push(ApiResource::from_gvk_with_plural(&gvk, &spec.names.plural));
        }
    }
    Ok(resources)
}

/// The Flux objects, pods and events of a namespace, as text; includes errors of reading them.
pub(crate) async fn namespace(client: &Client, name: &str) -> String {
    let mut text = String::new();
    if let Err(failure) = write_namespace(client, name, &mut text).await {
        let _ = writeln!(text, "(no more could be read: {failure})");
    }
    text
}

async fn write_namespace(client: &Client, name: &str, text: &mut String) -> Result {
    for resource in flux_resources(client).await? {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), name, &resource);
        for object in api.list(&ListParams::default()).await? {
            let mut value = serde_json::to_value(&object)?;
            strip(&mut value);
            writeln!(
                text,
                "--- {} {}\n{value:#}",
                resource.kind,
                object.name_any()
            )?;
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    for pod in pods.list(&ListParams::default()).await? {
        let status = serde_json::to_value(&pod.status)?;
        writeln!(
            text,
            "--- Pod {}: {} {}",
            pod.name_any(),
            status["phase"],
            status["containerStatuses"]
        )?;
    }
    let events: Api<Event> = Api::namespaced(client.clone(), name);
    let mut events = events.list(&ListParams::default()).await?.items;
    events.sort_by_key(|event| event.last_timestamp.clone().map(|time| time.0));
    writeln!(text, "--- events")?;
    for event in events {
        let object = &event.involved_object;
        writeln!(
            text,
            "{} {} {}/{}: {}",
            event.type_.unwrap_or_default(),
            event.reason.unwrap_or_default(),
            object.kind.clone().unwrap_or_default(),
            object.name.clone().unwrap_or_default(),
            event.message.unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Removes fields that are irrelevant to a failure.
pub(crate) fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("uid");
        metadata.remove("creationTimestamp");
    }
}
