//! The variables of post-build substitution and their sources.

use std::path::PathBuf;

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, Kind, Namespace, Result};
use kube::config::Kubeconfig;
use serde_json::json;

const CLUSTER_ROLE: Kind = Kind("rbac.authorization.k8s.io/v1", "ClusterRole");
const CLUSTER_ROLE_BINDING: Kind = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding");

const MAP: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: out}, data: {v: '${value}'}}\n";

/// A kubeconfig with all permissions of the controller, except for reading a Secret.
async fn without_secrets(namespace: &Namespace) -> Result<PathBuf> {
    let user = format!("kind-tests:{}", namespace.name());
    let rules = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: '${{namespace}}'}}
rules:
- {{apiGroups: [kustomize.toolkit.fluxcd.io, source.toolkit.fluxcd.io], resources: ['*'], verbs: ['*']}}
- {{apiGroups: [''], resources: [configmaps, events], verbs: ['*']}}
- {{apiGroups: [''], resources: [secrets], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: '${{namespace}}'}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: '${{namespace}}'}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: '{user}'}}]
"
    );
    namespace.apply(&rules).await?;
    let cluster = namespace.cluster();
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_for(&user)?)?;
    for named in &mut kubeconfig.auth_infos {
        if let Some(auth) = &mut named.auth_info {
            auth.impersonate = Some(user.clone());
        }
    }
    let folder = namespace.folder();
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("without-secrets.kubeconfig");
    std::fs::write(&path, serde_json::to_vec(&kubeconfig)?)?;
    Ok(path)
}

#[tokio::test]
async fn only_optional_variable_sources_may_be_missing() -> Result {
    let mut applier = Applier::start("optional", Settings::default()).await?;
    let kubeconfig = without_secrets(&applier.namespace).await?;
    let settings = Settings::default().env("KUBECONFIG", kubeconfig.display().to_string());
    applier.kustomize.terminate().await?;
    applier.kustomize =
        kind_tests::Controller::start("kustomize-controller", &applier.namespace, settings).await?;

    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: vars}, stringData: {value: s}}";
    applier.namespace.apply(secret).await?;
    applier.publish("main@sha1:1", &[("out.yaml", MAP)]).await?;
    let with = |from: &str| {
        let post_build =
            format!("postBuild: {{substitute: {{value: inline}}, substituteFrom: [{from}]}}");
        applier.kustomization("app", &["prune: true", &post_build])
    };
    // KC-SUB-007, RT-KUS-013
    applier
        .namespace
        .apply(&with("{kind: ConfigMap, name: nowhere, optional: true}"))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    applier
        .namespace
        .apply(&with("{kind: ConfigMap, name: nowhere}"))
        .await?;
    let missing = "post build failed for 'ConfigMap.v1.[noGrp]/out': substitute from 'ConfigMap/nowhere' error: configmaps \"nowhere\" not found";
    applier.says("app", "BuildFailed", missing).await?;
    applier
        .namespace
        .apply(&with("{kind: Secret, name: vars, optional: true}"))
        .await?;
    let forbidden = "post build failed for 'ConfigMap.v1.[noGrp]/out': substitute from 'Secret/vars' error: secrets \"vars\" is forbidden: ";
    applier.says("app", "BuildFailed", forbidden).await?;

    let name = applier.namespace.name().to_owned();
    for kind in [CLUSTER_ROLE_BINDING, CLUSTER_ROLE] {
        applier.namespace.delete(kind, &name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_variable_of_the_same_length_is_applied() -> Result {
    let applier = Applier::start("same-length", Settings::default()).await?;
    let vars = "{apiVersion: v1, kind: ConfigMap, metadata: {name: vars}, data: {value: one}}";
    applier.namespace.apply(vars).await?;
    applier.publish("main@sha1:1", &[("out.yaml", MAP)]).await?;
    let post_build = "postBuild: {substituteFrom: [{kind: ConfigMap, name: vars}]}";
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true", post_build]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    applier
        .namespace
        .merge(CONFIG_MAP, "vars", json!({"data": {"value": "two"}}))
        .await?;
    applier.run("app").await?;
    // KC-SUB-004: neither the revision nor the generation has changed
    let out = applier.namespace.get(CONFIG_MAP, "out").await?;
    assert_eq!(out.unwrap_or_default()["data"]["v"], "two");
    Ok(())
}
