//! A Kustomization's operations are carried out as its ServiceAccount.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, KUSTOMIZATION, Kind, Result, ensure};
use serde_json::json;

use crate::config_map;

const SERVICE_ACCOUNT: Kind = Kind("v1", "ServiceAccount");
const ROLE: Kind = Kind("rbac.authorization.k8s.io/v1", "Role");
const CLUSTER_ROLE_BINDING: Kind = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding");

/// A ServiceAccount `tenant` with these permissions for ConfigMaps, and all for Roles and RoleBindings.
fn tenant(verbs: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: tenant}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: tenant}}
rules:
- {{apiGroups: [''], resources: [configmaps], verbs: [{verbs}]}}
- {{apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: ['get', 'list', 'create', 'patch', 'delete']}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: tenant}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}}
subjects: [{{kind: ServiceAccount, name: tenant, namespace: '${{namespace}}'}}]
"
    )
}

const SPEC: [&str; 2] = ["prune: true", "serviceAccountName: tenant"];

#[tokio::test]
async fn the_service_account_limits_what_is_applied_and_pruned() -> Result {
    let settings = Settings::default()
        .flag("--min-retry-delay=10ms")
        .flag("--max-retry-delay=100ms");
    let applier = Applier::start("tenant", settings).await?;
    let namespace = applier.namespace.name().to_owned();
    applier
        .namespace
        .apply(&tenant("get, list, watch, create, patch"))
        .await?;
    // KC-SUB-010: the account may not read Secrets, the controller may
    applier
        .namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: vars}, stringData: {value: from-secret}}")
        .await?;
    applier
        .publish(
            "main@sha1:1",
            &[
                ("a.yaml", &config_map("a", "${value}")),
                ("b.yaml", &config_map("b", "1")),
            ],
        )
        .await?;
    let post_build = "postBuild: {substituteFrom: [{kind: Secret, name: vars}]}";
    let yaml = applier.kustomization("app", &[SPEC[0], SPEC[1], post_build]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    let map = applier
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    assert_eq!(map["data"]["v"], "from-secret");

    // KC-REMOTE-001, KC-SSA-031
    let user = format!("User \"system:serviceaccount:{namespace}:tenant\"");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    applier
        .publish("main@sha1:2", &[("s.yaml", secret)])
        .await?;
    let refused = format!(
        "Secret/{namespace}/s dry-run failed (Forbidden): secrets \"s\" is forbidden: {user} cannot patch"
    );
    let failed = applier
        .says("app", "ReconciliationFailed", &refused)
        .await?;
    // KC-SSA-033: the inventory is unchanged
    assert_eq!(
        failed["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    // KC-PRUNE-012, KC-PRUNE-008
    applier
        .publish("main@sha1:3", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let refused = format!(
        "delete failed, errors: ConfigMap/{namespace}/b delete failed: configmaps \"b\" is forbidden: {user} cannot delete"
    );
    let failed = applier.says("app", "PruneFailed", &refused).await?;
    // KC-PRUNE-009: what could not be deleted stays in the inventory
    assert_eq!(
        failed["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    // KC-API-046
    assert_eq!(
        failed["status"]["history"][0]["lastReconciledStatus"],
        "PruneFailed"
    );

    // KC-PRUNE-015: nor may it delete when the Kustomization is deleted, so the finalizer waits
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    let warned = applier
        .events
        .wait("of the failed deletion", |event| {
            event["message"] == "pruning for deleted resource failed"
        })
        .await?;
    // KC-PRUNE-021: reason and revision are the last ones
    assert_eq!(
        (&warned["severity"], &warned["reason"]),
        (&json!("error"), &json!("PruneFailed"))
    );
    assert_eq!(
        warned["metadata"]["kustomize.toolkit.fluxcd.io/revision"],
        "main@sha1:1"
    );
    let kept = applier
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(
        kept["metadata"]["finalizers"],
        json!(["finalizers.fluxcd.io"])
    );
    // KC-PROC-021: the twentieth attempt comes within seconds; after hours with the default delays, after minutes with
    // either of the two
    let failures = || {
        let lines = applier.kustomize.log().entries();
        let failed = lines
            .iter()
            .filter(|line| line["msg"] == "Reconciler error" && line["name"] == "app");
        failed.count()
    };
    let tried = async {
        while failures() < 20 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    applier.namespace.wait_for("twenty tries", tried).await?;
    applier
        .namespace
        .apply(&tenant("get, list, watch, create, patch, delete"))
        .await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;
    applier.namespace.wait_gone(CONFIG_MAP, "b").await?;
    applier.namespace.wait_gone(CONFIG_MAP, "a").await
}

#[tokio::test]
async fn another_service_account_has_to_be_allowed_what_is_applied_already() -> Result {
    let applier = Applier::start("other-account", Settings::default()).await?;
    let namespace = applier.namespace.name().to_owned();
    applier.namespace.apply(&tenant("get, list, watch")).await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    // KC-REMOTE-001: it sees that nothing has changed, which is not enough
    applier
        .namespace
        .apply(&applier.kustomization("app", &SPEC))
        .await?;
    let refused = format!(
        "ConfigMap/{namespace}/a dry-run failed (Forbidden): configmaps \"a\" is forbidden: User \"system:serviceaccount:{namespace}:tenant\" cannot patch"
    );
    applier
        .says("app", "ReconciliationFailed", &refused)
        .await?;
    Ok(())
}

#[tokio::test]
async fn deletion_without_the_service_account_keeps_all_objects() -> Result {
    let applier = Applier::start("orphaned", Settings::default()).await?;
    applier.namespace.apply(&tenant("'*'")).await?;
    applier
        .publish(
            "main@sha1:1",
            &[
                ("a.yaml", &config_map("a", "1")),
                ("b.yaml", &config_map("b", "1")),
            ],
        )
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &SPEC))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    applier.namespace.delete(SERVICE_ACCOUNT, "tenant").await?;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    // KC-PRUNE-017, RT-ACL-007
    let namespace = applier.namespace.name();
    let message =
        format!("unable to prune objects: \nConfigMap/{namespace}/a\nConfigMap/{namespace}/b");
    let warned = applier
        .events
        .wait("of what stays", |event| event["message"] == json!(message))
        .await?;
    assert_eq!(
        (&warned["severity"], &warned["reason"]),
        (&json!("error"), &json!("ReconciliationSucceeded"))
    );
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;
    for name in ["a", "b"] {
        let left = applier
            .namespace
            .get(CONFIG_MAP, name)
            .await?
            .unwrap_or_default();
        ensure!(
            left["data"]["v"] == "1" && left["metadata"]["deletionTimestamp"].is_null(),
            "{left:#}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_custom_stage_lets_a_tenant_bind_its_own_role() -> Result {
    const GRANT: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]
";
    let flag = "--custom-apply-stage-kinds= Pod , rbac.authorization.k8s.io/Role";
    let applier = Applier::start("grants", Settings::default().flag(flag)).await?;
    applier
        .namespace
        .apply(&tenant("get, list, watch, create, patch, delete"))
        .await?;
    applier
        .publish("main@sha1:1", &[("grant.yaml", GRANT)])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &SPEC))
        .await?;
    // KC-SSA-013, KC-PROC-015: in one stage the dry run of the binding finds no Role
    applier.applied("app", "main@sha1:1").await?;
    ensure!(
        applier.namespace.get(ROLE, "reader").await?.is_some(),
        "no role"
    );
    Ok(())
}

#[tokio::test]
async fn the_default_account_can_apply_custom_resources_of_new_crds() -> Result {
    let settings = Settings::default().flag("--default-service-account=admin");
    let applier = Applier::start("default-account", settings).await?;
    let namespace = applier.namespace.name().to_owned();
    let group = format!("{namespace}.example.com");
    let definition = format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gears.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Gear, plural: gears}}
  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]
"
    );
    let gear = format!("apiVersion: {group}/v1\nkind: Gear\nmetadata: {{name: first}}\n");
    applier
        .publish("main@sha1:1", &[("a.yaml", &gear), ("b.yaml", &definition)])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    // KC-PROC-009, RT-ACL-005
    let user = format!("User \"system:serviceaccount:{namespace}:admin\" cannot");
    applier.says("app", "ReconciliationFailed", &user).await?;

    let admin = format!(
        "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: admin}}}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: {namespace}}},
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}},
  subjects: [{{kind: ServiceAccount, name: admin, namespace: {namespace}}}]}}"
    );
    applier.namespace.apply(&admin).await?;
    // RT-ACL-008
    let applied = applier.applied("app", "main@sha1:1").await;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    let gone = applier.namespace.wait_gone(KUSTOMIZATION, "app").await;
    applier
        .namespace
        .delete(CLUSTER_ROLE_BINDING, &namespace)
        .await?;
    applied?;
    gone
}
