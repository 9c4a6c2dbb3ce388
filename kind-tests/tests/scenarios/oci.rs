//! From an artifact in a registry to objects on a cluster.

use kind_tests::{CONFIG_MAP, Flux, KUSTOMIZATION, OCI_REPOSITORY, Result, ensure, is_ready};
use registries::{Artifact, Registry, tar_gz};
use serde_json::Value;

use crate::config_map;

// KC-API-011
#[tokio::test]
async fn a_kustomization_applies_what_a_registry_holds() -> Result {
    let flux = Flux::start("oci").await?;
    let registry = Registry::start();
    let push = |value: &str, revision: &str| {
        let layer = tar_gz(&[("deploy/a.yaml", &config_map("a", value))]);
        let artifact = Artifact::flux(layer)
            .annotate("org.opencontainers.image.source", "https://git/app")
            .annotate("org.opencontainers.image.revision", revision);
        format!("latest@{}", registry.push("org/app", "latest", &artifact))
    };
    let applied = async |revision: String| {
        let fits = |object: &Value| {
            is_ready(object, "True") && object["status"]["lastAppliedRevision"] == revision
        };
        let goal = format!("is ready at {revision}");
        flux.namespace.wait(KUSTOMIZATION, "app", &goal, fits).await
    };
    let first = push("1", "main@sha1:0c4f");
    flux.namespace
        .apply(&format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {{name: app}}, spec: \
             {{url: 'oci://{}', interval: 10m}}}}",
            registry.repository("org/app")
        ))
        .await?;
    let kustomization = flux.kustomization("app", &["path: deploy", "prune: true"]);
    let kustomization = kustomization.replace("kind: GitRepository", "kind: OCIRepository");
    flux.namespace.apply(&kustomization).await?;
    let object = applied(first).await?;
    // KC-API-038, KC-SRC-016, SC-OCI-062
    ensure!(
        object["status"]["lastAppliedOriginRevision"] == "main@sha1:0c4f",
        "{object}"
    );

    // A new digest under the tag is applied without a request for the Kustomization.
    let second = push("2", "main@sha1:1d50");
    flux.namespace
        .request_reconcile(OCI_REPOSITORY, "app")
        .await?;
    applied(second).await?;
    let map = flux.namespace.get(CONFIG_MAP, "a").await?;
    ensure!(
        map.as_ref().is_some_and(|map| map["data"]["v"] == "2"),
        "{map:?}"
    );
    Ok(())
}
