//! Upstream's side of a swap, from recorded facts: what its controllers leave behind, and how they go on.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::State;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{StatusCode, Uri};
use kind_tests::{
    ARTIFACT_GENERATOR, EXTERNAL_ARTIFACT, FIELD_MANAGER, Kind, Namespace, Result, ensure,
};
use kube::api::{Patch, PatchParams};
use registries::digest_of;
use serde_json::{Value, json};

/// The controllers' Leases.
const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");
/// As a pod of upstream names itself.
const HOLDER: &str = "controller-5d8c9f7b6-x2x9k_0b0ad5a4-8a2f-4f5c-9f0e-2f6f1b1c7a51";

/// The manager of the statuses that the controller writes.
pub(super) fn manager(controller: &str) -> &str {
    match controller {
        // KC-PROC-049
        "kustomize-controller" => "gotk-kustomize-controller",
        other => other,
    }
}

/// Packs the artifact once more, with other bytes for the same files, as another implementation of gzip does, and names it
/// in the status as the controller would.
pub(super) async fn repack(
    namespace: &Namespace,
    controller: &str,
    kind: Kind,
    name: &str,
) -> Result {
    let object = namespace.get(kind, name).await?.unwrap_or_default();
    let mut artifact = object["status"]["artifact"].clone();
    let path = artifact["path"].as_str().unwrap_or_default().to_owned();
    let file = namespace.folder().join(controller).join(&path);
    let packed = std::fs::read(&file)?;
    let mut unpacked = Vec::new();
    GzDecoder::new(&*packed).read_to_end(&mut unpacked)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&unpacked)?;
    let packed_anew = encoder.finish()?;
    ensure!(packed != packed_anew, "{path} has the same bytes");
    artifact["digest"] = digest_of(&packed_anew).into();
    artifact["size"] = packed_anew.len().into();
    std::fs::write(&file, packed_anew)?;
    if kind == EXTERNAL_ARTIFACT {
        return apply_external_artifact(namespace, controller, &object, artifact).await;
    }
    let patch = json!({"artifact": artifact});
    write_status(namespace, manager(controller), kind, name, patch).await?;
    Ok(())
}

/// Writes the status of an ExternalArtifact, and what its generator says of it, as upstream's source-watcher does
/// (SW-ART-057).
async fn apply_external_artifact(
    namespace: &Namespace,
    controller: &str,
    object: &Value,
    mut artifact: Value,
) -> Result {
    let digest = artifact["digest"].clone();
    artifact["revision"] = format!("latest@{}", digest.as_str().unwrap_or_default()).into();
    let (api_version, kind) = (EXTERNAL_ARTIFACT.0, EXTERNAL_ARTIFACT.1);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut status = object["status"].clone();
    status["artifact"] = artifact;
    let applied = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "status": status});
    let api = namespace.api(EXTERNAL_ARTIFACT).await?;
    let params = PatchParams::apply(controller);
    api.patch_status(name, &params, &Patch::Apply(&applied))
        .await?;
    let generator = object["spec"]["sourceRef"]["name"]
        .as_str()
        .unwrap_or_default();
    let live = namespace.get(ARTIFACT_GENERATOR, generator).await?;
    let mut inventory = live.unwrap_or_default()["status"]["inventory"].clone();
    for entry in inventory.as_array_mut().into_iter().flatten() {
        if entry["name"] == name {
            entry["digest"] = digest.clone();
        }
    }
    let patch = json!({"inventory": inventory});
    write_status(
        namespace,
        manager(controller),
        ARTIFACT_GENERATOR,
        generator,
        patch,
    )
    .await?;
    Ok(())
}

/// Writes a status as upstream's controllers do (RT-KUB-006).
pub(super) async fn write_status(
    namespace: &Namespace,
    manager: &str,
    kind: Kind,
    name: &str,
    status: Value,
) -> Result<Value> {
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": status}));
    let api = namespace.api(kind).await?;
    let written = api.patch_status(name, &params, &patch).await?;
    Ok(serde_json::to_value(written)?)
}

/// The name of the controller's Lease, of its label selector.
fn lease_name(controller: &str, selector: &str) -> String {
    let digest = digest_of(selector.as_bytes());
    let suffix = digest.trim_start_matches("sha256:").get(..8);
    match selector {
        "" => format!("{controller}-leader-election"),
        _ => format!(
            "{controller}-leader-election-{}",
            suffix.unwrap_or_default()
        ),
    }
}

fn lease_of(namespace: &Namespace, controller: &str) -> String {
    match controller {
        "notification-controller" => lease_name(controller, ""),
        _ => lease_name(controller, &namespace.selector()),
    }
}

/// Leaves the Lease as client-go does that releases it.
pub(super) async fn release_lease(namespace: &Namespace, controller: &str) -> Result {
    write_lease(namespace, controller, "", 1, 7).await
}

/// The Lease while ours leads.
pub(super) async fn held_lease(namespace: &Namespace, controller: &str) -> Result {
    let name = lease_of(namespace, controller);
    let lease = namespace
        .wait(LEASE, &name, "is held", |lease| {
            lease["spec"]["holderIdentity"]
                .as_str()
                .is_some_and(|holder| !holder.is_empty())
        })
        .await?;
    let spec = &lease["spec"];
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    let id = holder.rsplit_once('_').map_or("", |(_, id)| id);
    // RT-LED-004
    ensure!(id.len() == 36 && id.matches('-').count() == 4, "{holder}");
    assert_eq!(spec["leaseDurationSeconds"], 35);
    assert_eq!(spec["leaseTransitions"], 8);
    Ok(())
}

/// Takes the Lease that ours has left, as the next pod of upstream does: at once, since it is released.
pub(super) async fn take_lease(namespace: &Namespace, controller: &str) -> Result {
    let name = lease_of(namespace, controller);
    // DI-TRP-001, RT-LED-002
    let lease = namespace.get(LEASE, &name).await?;
    let spec = lease.unwrap_or_default()["spec"].clone();
    // FO-ALT-005: the next pod need not wait until the Lease expires
    assert_eq!(spec["holderIdentity"], "", "{controller}: {spec}");
    assert_eq!(spec["leaseDurationSeconds"], 1, "{controller}: {spec}");
    let transitions = spec["leaseTransitions"].as_u64();
    assert_eq!(transitions, Some(8), "{controller}: {spec}");
    for time in ["acquireTime", "renewTime"] {
        let text = spec[time].as_str().unwrap_or_default();
        // The six digits that Go's MicroTime reads and writes.
        ensure!(text.len() == 27 && text.ends_with('Z'), "{time}: {text}");
    }
    write_lease(namespace, controller, HOLDER, 35, 9).await
}

async fn write_lease(
    namespace: &Namespace,
    controller: &str,
    holder: &str,
    seconds: u32,
    transitions: u32,
) -> Result {
    let name = lease_of(namespace, controller);
    let now = "2026-01-02T03:04:05.678901Z";
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": transitions,
        "acquireTime": now, "renewTime": now});
    let lease =
        json!({"apiVersion": LEASE.0, "kind": LEASE.1, "metadata": {"name": name}, "spec": spec});
    let api = namespace.api(LEASE).await?;
    let params = PatchParams::apply(controller).force();
    api.patch(&name, &params, &Patch::Apply(&lease)).await?;
    Ok(())
}

/// Upstream's controller handles a request without a change, and finds itself the owner of what it wrote before.
pub(super) async fn go_on(
    namespace: &Namespace,
    controller: &str,
    kind: Kind,
    name: &str,
) -> Result {
    let owners = |object: &Value| -> Vec<Value> {
        let entries = object["metadata"]["managedFields"].as_array();
        let entries = entries.into_iter().flatten();
        entries
            .filter(|entry| entry["manager"] != FIELD_MANAGER && entry["subresource"] == "status")
            .map(|entry| json!([entry["manager"], entry["operation"], entry["fieldsV1"]]))
            .collect()
    };
    let token = namespace.request_reconcile(kind, name).await?;
    let before = namespace.get(kind, name).await?.unwrap_or_default();
    let handled = json!({"lastHandledReconcileAt": token});
    let after = write_status(namespace, manager(controller), kind, name, handled).await?;
    // RT-KUB-006
    assert_eq!(owners(&before), owners(&after), "{} {name}", kind.1);
    Ok(())
}

/// The files below a folder by their path, with their digest; links with their target.
pub(super) fn files_below(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = match std::fs::read_dir(&next) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let kind = std::fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let content = if kind.is_symlink() {
                std::fs::read_link(&path)?.display().to_string()
            } else {
                digest_of(&std::fs::read(&path)?)
            };
            let name = path.strip_prefix(folder).unwrap_or(&path);
            files.insert(name.display().to_string(), content);
        }
    }
    Ok(files)
}

/// Serves the volume of a controller of upstream, at the address that its artifacts name.
pub(super) struct Volume(tokio::task::JoinHandle<()>);

impl Volume {
    pub(super) async fn serve(folder: PathBuf, port: u16) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let router = Router::new().fallback(file).with_state(folder);
        Ok(Self(tokio::spawn(async move {
            // It ends with the value.
            let _ = axum::serve(listener, router).await;
        })))
    }

    /// Ends it, so that its port is free.
    pub(super) async fn end(self) {
        self.0.abort();
        // That it was aborted is no news.
        let _ = self.0.await;
    }
}

async fn file(State(folder): State<PathBuf>, uri: Uri) -> Result<Vec<u8>, StatusCode> {
    let path = folder.join(uri.path().trim_start_matches('/'));
    tokio::fs::read(path)
        .await
        .map_err(|_| StatusCode::NOT_FOUND)
}
