//! The controllers work with the installed roles.

use git_servers::{HttpGitServer, Repo};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{
    Cluster, GIT_REPOSITORY, HELM_REPOSITORY, Kind, Namespace, OCI_REPOSITORY, Result, cache,
    ensure,
};
use kube::Api;
use kube::api::DeleteParams;
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use crate::config_map;

const EVENT: Kind = Kind("v1", "Event");

/// Grants the user the permissions of source-controller's manifest, under names of this namespace.
async fn grant(namespace: &Namespace, user: &str) -> Result {
    let manifest = cache::workspace().join("manifests/rbac/source-controller.yaml");
    let text = std::fs::read_to_string(manifest)?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    for mut object in objects {
        object["metadata"]["name"] = json!(namespace.name());
        if object.get("roleRef").is_some() {
            object["roleRef"]["name"] = json!(namespace.name());
            let group = "rbac.authorization.k8s.io";
            object["subjects"] = json!([{"kind": "User", "name": user, "apiGroup": group}]);
        }
        namespace.apply(&object.to_string()).await?;
    }
    Ok(())
}

// SC-PROC-050, SC-PROC-051, DI-RBAC-005
#[tokio::test]
async fn source_controller_needs_no_more_than_its_own_role() -> Result {
    let cluster = Cluster::shared().await?;
    let namespace = Namespace::create(&cluster, "own-role").await?;
    let user = format!("role.{}", namespace.name());
    let Some(kubeconfig) = cluster.kubeconfig_without_rights(&user)? else {
        println!("skipped: no users can be made in this cluster");
        return Ok(());
    };
    grant(&namespace, &user).await?;
    let git = HttpGitServer::builder().files("/charts").start();
    std::fs::write(
        git.root().join("index.yaml"),
        "apiVersion: v1\nentries: {}\n",
    )?;
    let repo = Repo::init(git.root(), "app.git");
    repo.commit("main")
        .file("a.yaml", config_map("a", "1"))
        .create();
    namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {username: a, password: b}}")
        .await?;

    let registry = Registry::start();
    let artifact = Artifact::flux(tar_gz(&[("a.yaml", "")]));
    registry.push("org/app", "latest", &artifact);
    namespace
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: puller}, imagePullSecrets: [{name: login}]}")
        .await?;

    for cached in [false, true] {
        let settings = Settings::default()
            .env("KUBECONFIG", kubeconfig.to_string_lossy())
            .flag("--enable-leader-election")
            .flag(format!(
                "--feature-gates=CacheSecretsAndConfigMaps={cached}"
            ));
        let controller = Controller::start("source-controller", &namespace, settings).await?;
        let name = format!("app-{cached}");
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}}}, spec: \
             {{url: '{}', interval: 10m, ref: {{branch: main}}, secretRef: {{name: login}}}}}}",
            git.url("app.git")
        );
        namespace.apply(&yaml).await?;
        namespace.wait_ready(GIT_REPOSITORY, &name, "True").await?;
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {{name: {name}}}, spec: \
             {{url: 'oci://{}', interval: 10m, serviceAccountName: puller}}}}",
            registry.repository("org/app")
        );
        namespace.apply(&yaml).await?;
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmRepository, metadata: {{name: {name}}}, spec: \
             {{url: '{}', interval: 10m, secretRef: {{name: login}}}}}}",
            git.url("charts")
        );
        namespace.apply(&yaml).await?;
        for kind in [GIT_REPOSITORY, OCI_REPOSITORY, HELM_REPOSITORY] {
            namespace.wait_ready(kind, &name, "True").await?;
            namespace
                .wait_all(EVENT, "tell of the artifact", |events| {
                    let of_it = |event: &&Value| {
                        event["involvedObject"]["kind"] == kind.1
                            && event["involvedObject"]["name"] == *name
                            && event["reason"] == "NewArtifact"
                            && event["involvedObject"]["resourceVersion"].is_string()
                    };
                    events.iter().find(of_it).cloned()
                })
                .await?;
            namespace.delete(kind, &name).await?;
            namespace.wait_gone(kind, &name).await?;
        }
        let page = controller.metrics().await?;
        let denied = page
            .lines()
            .find(|line| line.starts_with("rest_client_requests_total{code=\"403\""));
        ensure!(denied.is_none(), "{denied:?}");
    }

    // These are cluster-scoped and not deleted with the namespace.
    let client = namespace.client().clone();
    let params = DeleteParams::default();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.delete(namespace.name(), &params).await?;
    let roles: Api<ClusterRole> = Api::all(client);
    roles.delete(namespace.name(), &params).await?;
    Ok(())
}
