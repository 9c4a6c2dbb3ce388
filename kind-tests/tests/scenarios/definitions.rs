//! A cluster with the definitions of Flux 2.9, in which the images were changed first.

use git_servers::{PgpKey, gpg_available};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, Flux, GIT_REPOSITORY, HELM_REPOSITORY, KUSTOMIZATION, OCI_REPOSITORY,
    Result, cache, condition, ensure,
};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use crate::config_map;

/// Replaces the definitions of the cluster by those of Flux 2.9.
async fn replace(client: &Client) -> Result {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for entry in std::fs::read_dir(cache::workspace().join("kind-tests/conformance/crds"))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let definition: Value = serde_saphyr::from_str(&text)?;
        let definition: CustomResourceDefinition = serde_json::from_value(definition)?;
        let name = definition.name_any();
        // A newer version may be stored, which the older definition does not have.
        api.delete(&name, &DeleteParams::default()).await?;
        while api.get_opt(&name).await?.is_some() {
            tokio::task::yield_now().await;
        }
        let made = api.create(&PostParams::default(), &definition).await?;
        for version in made.spec.versions {
            let plural = &made.spec.names.plural;
            let path = format!(
                "/apis/{}/{}/{plural}?limit=1",
                made.spec.group, version.name
            );
            let request = || http::Request::get(&path).body(Vec::new());
            while client.request_text(request()?).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(())
}

/// FR-H-098: a controller that is newer than the definitions, one of which is not there, does what it can, and the rest as
/// soon as it is there.
async fn a_definition_comes_later(client: &Client, flux: &mut Flux, registry: &Registry) -> Result {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "ocirepositories.source.toolkit.fluxcd.io";
    let definition = api.get(name).await?;
    flux.source.terminate().await?;
    let objects = flux.namespace.api(OCI_REPOSITORY).await?;
    let keep = json!({"metadata": {"finalizers": null}});
    let params = PatchParams::default();
    objects
        .patch("ocirepository", &params, &Patch::Merge(keep))
        .await?;
    api.delete(name, &DeleteParams::default()).await?;
    let gone = async {
        while api.get_opt(name).await?.is_some() {
            tokio::task::yield_now().await;
        }
        Ok::<_, kube::Error>(())
    };
    flux.namespace
        .wait_for("the definition is gone", gone)
        .await??;
    flux.source.restart().await?;
    let revision = flux.commit(&[("a.yaml", &config_map("a", "3"))]);
    flux.follow_main().await?;
    flux.applied("app", &revision).await?;

    let definition = CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: definition.spec,
        status: None,
    };
    api.create(&PostParams::default(), &definition).await?;
    let path = "/apis/source.toolkit.fluxcd.io/v1/ocirepositories?limit=1";
    let served = async {
        loop {
            let request = http::Request::get(path).body(Vec::new())?;
            if client.request_text(request).await.is_ok() {
                return Ok::<_, http::Error>(());
            }
            tokio::task::yield_now().await;
        }
    };
    flux.namespace
        .wait_for("the definition is served", served)
        .await??;
    let url = registry.repository("org/app");
    let yaml = format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: later}}, spec: {{url: 'oci://{url}', interval: 10m}}}}",
        OCI_REPOSITORY.0, OCI_REPOSITORY.1
    );
    flux.namespace.apply(&yaml).await?;
    flux.namespace
        .wait_ready(OCI_REPOSITORY, "later", "True")
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_controllers_work_with_the_definitions_of_flux_2_9() -> Result {
    let cluster = Cluster::own(kind_tests::Settings::default()).await?;
    let client = cluster.client().await?;
    tokio::time::timeout(kind_tests::deadline(), replace(&client)).await??;
    let settings = Settings::default;
    let mut flux = Flux::start_on(&cluster, "definitions", settings(), settings()).await?;
    let namespace = &flux.namespace;

    let mut commit = flux.repo.commit("main");
    commit = commit.file("a.yaml", config_map("a", "1"));
    let mut spec = "ref: {branch: main}".to_owned();
    let signer = gpg_available().then(|| PgpKey::generate("ed25519", "0"));
    if let Some(key) = &signer {
        commit = commit.signed_pgp(key);
        let keys = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a.asc": key.public()}});
        namespace.apply(&keys.to_string()).await?;
        spec += "\n  verify: {mode: HEAD, secretRef: {name: keys}}";
    }
    let revision = format!("main@sha1:{}", commit.create());
    namespace.apply(&flux.git_repository("app", &spec)).await?;
    namespace.wait_ready(GIT_REPOSITORY, "app", "True").await?;
    namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &revision).await?;
    namespace
        .wait(CONFIG_MAP, "a", "is applied", |_| true)
        .await?;

    let registry = Registry::start();
    let artifact = Artifact::flux(tar_gz(&[("a.yaml", "")]));
    registry.push("org/app", "latest", &artifact);
    for (kind, url) in [
        (
            OCI_REPOSITORY,
            format!("oci://{}", registry.repository("org/app")),
        ),
        (HELM_REPOSITORY, "oci://127.0.0.1:1/charts".to_owned()),
    ] {
        let name = kind.1.to_lowercase();
        let static_type = if kind == HELM_REPOSITORY {
            ", type: oci"
        } else {
            ""
        };
        let yaml = format!(
            "{{apiVersion: {}, kind: {}, metadata: {{name: {name}}}, spec: {{url: '{url}', interval: 10m{static_type}}}}}",
            kind.0, kind.1
        );
        namespace.apply(&yaml).await?;
    }
    namespace
        .wait_ready(OCI_REPOSITORY, "ocirepository", "True")
        .await?;

    // Fields of the status that the definition lacks are dropped by the server, which leads to no further write.
    for (kind, name) in [(GIT_REPOSITORY, "app"), (KUSTOMIZATION, "app")] {
        let at = namespace.request_reconcile(kind, name).await?;
        let handled = |object: &Value| {
            object["status"]["lastHandledReconcileAt"] == at.as_str()
                && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
        };
        let object = namespace.wait(kind, name, "is reconciled", handled).await?;
        ensure!(
            object["status"]["sourceVerificationFingerprint"].is_null(),
            "{object}"
        );
    }
    a_definition_comes_later(&client, &mut flux, &registry).await
}
