//! Kustomizations that apply to another cluster: a second control plane.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, Cluster, KUSTOMIZATION, Kind, Result, Source, ensure};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::config_map;

const SERVICE_ACCOUNT: Kind = Kind("v1", "ServiceAccount");
const SECRET: Kind = Kind("v1", "Secret");

/// A second control plane with a namespace of the same name.
struct Second {
    maps: Api<ConfigMap>,
    client: kube::Client,
    cluster: Cluster,
}

impl Second {
    async fn start(namespace: &str, trusts: Option<String>) -> Result<Self> {
        let settings = kind_tests::Settings {
            fake_node: false,
            trusts,
            ..kind_tests::Settings::default()
        };
        let cluster = Cluster::own(settings).await?;
        let client = cluster.client().await?;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let wanted = json!({ "metadata": { "name": namespace } });
        let wanted = serde_json::from_value(wanted)?;
        namespaces.create(&PostParams::default(), &wanted).await?;
        Ok(Self {
            maps: Api::namespaced(client.clone(), namespace),
            client,
            cluster,
        })
    }

    fn kubeconfig(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(
            self.cluster.kubeconfig(),
        )?)?)
    }

    /// The value of the ConfigMap `a`.
    async fn value(&self) -> Result<Option<String>> {
        let map = self.maps.get_opt("a").await?;
        Ok(map.and_then(|map| map.data?.remove("v")))
    }
}

/// A Secret with this under a key. Its changes are watched.
fn secret(key: &str, kubeconfig: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "remote", "labels": { "reconcile.fluxcd.io/watch": "Enabled" } },
        "stringData": { key: kubeconfig.to_string() },
    })
    .to_string()
}

const SPEC: [&str; 3] = [
    "prune: true",
    "wait: true",
    "kubeConfig: {secretRef: {name: remote}}",
];

#[tokio::test]
async fn a_kubeconfig_in_a_secret_names_the_cluster() -> Result {
    let applier = Applier::start("remote", Settings::default()).await?;
    let name = applier.namespace.name().to_owned();
    let second = Second::start(&name, None).await?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    // KC-API-049
    let both = "kubeConfig: {secretRef: {name: a}, configMapRef: {name: b}}";
    for reference in ["kubeConfig: {}", both] {
        let yaml = applier.kustomization("app", &["prune: true", reference]);
        let refused = applier.namespace.apply(&yaml).await.err();
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        // what follows is the server's status as the client's error shows it
        let (refused, _) = refused.split_once("(Status").unwrap_or((&refused, ""));
        let text = "spec.kubeConfig: Invalid value: exactly one of spec.kubeConfig.configMapRef or \
                    spec.kubeConfig.secretRef must be specified";
        assert_eq!(refused.matches(text).count(), 1, "{refused}");
    }
    // KC-REMOTE-007, RT-ACL-011
    let yaml = applier.kustomization("app", &SPEC);
    applier.namespace.apply(&yaml).await?;
    let text = format!(
        "unable to read KubeConfig secret '{name}/remote' error: secrets \"remote\" not found"
    );
    applier.says("app", "ReconciliationFailed", &text).await?;
    // KC-REMOTE-006
    let text = format!("failed to build kube client: {text}");
    let event = applier
        .events
        .wait("of the missing Secret", |event| event["message"] == text)
        .await?;
    assert_eq!(event["severity"], "error");
    // RT-ACL-010
    let kubeconfig = second.kubeconfig()?;
    applier
        .namespace
        .apply(&secret("other", &kubeconfig))
        .await?;
    let text = format!(
        "KubeConfig secret '{name}/remote' does not contain a 'value' key with a kubeconfig"
    );
    applier.says("app", "ReconciliationFailed", &text).await?;

    // KC-REMOTE-004: applied there, and not here; reported here
    applier
        .namespace
        .apply(&secret("value.yaml", &kubeconfig))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(second.value().await?.as_deref(), Some("1"));
    assert_eq!(applier.namespace.get(CONFIG_MAP, "a").await?, None);
    applier
        .events
        .wait("of what was applied", |event| {
            event["message"] == format!("ConfigMap/{name}/a created")
        })
        .await?;
    // drift there is corrected
    let patch = Patch::Merge(json!({ "data": { "v": "drifted" } }));
    second
        .maps
        .patch("a", &PatchParams::default(), &patch)
        .await?;
    applier.run("app").await?;
    assert_eq!(second.value().await?.as_deref(), Some("1"));

    // RT-ACL-020, KC-REMOTE-019, FR-N-146: a new content of the Secret takes effect, and no connection is made
    let with_user = |user: Value| {
        let mut changed = kubeconfig.clone();
        changed["users"][0]["user"] = user;
        changed
    };
    let file = with_user(json!({ "tokenFile": "/etc/passwd" }));
    applier
        .namespace
        .apply(&secret("value.yaml", &file))
        .await?;
    let text = format!(
        "invalid KubeConfig in secret '{name}/remote': user 'admin' references a tokenFile, only an inline token is supported"
    );
    applier.says("app", "ReconciliationFailed", &text).await?;
    // RT-ACL-012, KC-REMOTE-008: a command is not run, so that there are no credentials
    let command = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false", "interactiveMode": "Never" });
    let exec = with_user(json!({ "exec": command }));
    applier
        .namespace
        .apply(&secret("value.yaml", &exec))
        .await?;
    applier
        .says("app", "ReconciliationFailed", "system:anonymous")
        .await?;
    applier
        .namespace
        .apply(&secret("value.yaml", &kubeconfig))
        .await?;
    applier.applied("app", "main@sha1:1").await?;

    // KC-REMOTE-003: the account of the same namespace is impersonated there
    let account = ["serviceAccountName: tenant", SPEC[0], SPEC[1], SPEC[2]];
    let yaml = applier.kustomization("app", &account);
    applier.namespace.apply(&yaml).await?;
    let files = [("a.yaml", &*config_map("a", "2"))];
    applier.publish("main@sha1:2", &files).await?;
    let user = format!("User \"system:serviceaccount:{name}:tenant\" cannot patch");
    applier.says("app", "ReconciliationFailed", &user).await?;
    let yaml = applier.kustomization("app", &SPEC);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:2").await?;
    assert_eq!(second.value().await?.as_deref(), Some("2"));

    // pruned there
    let files = [("b.yaml", &*config_map("b", "1"))];
    applier.publish("main@sha1:3", &files).await?;
    applier.applied("app", "main@sha1:3").await?;
    assert_eq!(second.value().await?, None);
    ensure!(
        second.maps.get_opt("b").await?.is_some(),
        "b was not applied"
    );

    // KC-PRUNE-019: without the Secret nothing can be deleted there, and the Kustomization stays
    applier.namespace.delete(SECRET, "remote").await?;
    applier.namespace.wait_gone(SECRET, "remote").await?;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    let refused = |line: &Value| {
        line.to_string()
            .contains("unable to read KubeConfig secret")
    };
    let deleting = |line: &Value| refused(line) && line["level"] == "error";
    applier
        .kustomize
        .log()
        .wait("of the deletion", deleting)
        .await?;
    ensure!(
        applier.namespace.get(KUSTOMIZATION, "app").await?.is_some(),
        "the finalizer was removed"
    );
    ensure!(second.maps.get_opt("b").await?.is_some(), "b was deleted");
    applier
        .namespace
        .apply(&secret("value.yaml", &kubeconfig))
        .await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;
    ensure!(
        second.maps.get_opt("b").await?.is_none(),
        "b was left behind"
    );
    Ok(())
}

#[tokio::test]
async fn the_account_to_impersonate_is_looked_for_on_the_own_cluster() -> Result {
    let applier = Applier::start("remote-account", Settings::default()).await?;
    let name = applier.namespace.name().to_owned();
    let second = Second::start(&name, None).await?;
    let kubeconfig = second.kubeconfig()?;
    applier
        .namespace
        .apply(&secret("value", &kubeconfig))
        .await?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier.kustomization("app", &SPEC);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    // KC-PRUNE-018, KC-PRUNE-017: it exists there only
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(second.client.clone(), &name);
    let account = serde_json::from_value(json!({ "metadata": { "name": "tenant" } }))?;
    accounts.create(&PostParams::default(), &account).await?;
    let spec = json!({ "spec": { "serviceAccountName": "tenant", "suspend": false } });
    applier.namespace.merge(KUSTOMIZATION, "app", spec).await?;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;
    assert_eq!(second.value().await?.as_deref(), Some("1"));
    let text = format!("unable to prune objects: \nConfigMap/{name}/a");
    applier
        .events
        .wait("of what is left", |event| event["message"] == text)
        .await?;
    Ok(())
}

#[tokio::test]
async fn moving_to_another_cluster_leaves_what_is_not_owned_there() -> Result {
    let applier = Applier::start("moving", Settings::default()).await?;
    let name = applier.namespace.name().to_owned();
    let files = [
        ("a.yaml", &*config_map("a", "1")),
        ("b.yaml", &*config_map("b", "1")),
    ];
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    // An object of another owner with the same name is on the other cluster.
    let second = Second::start(&name, None).await?;
    let foreign =
        serde_json::from_value(json!({"metadata": {"name": "b"}, "data": {"v": "theirs"}}))?;
    second.maps.create(&PostParams::default(), &foreign).await?;
    applier
        .namespace
        .apply(&secret("value", &second.kubeconfig()?))
        .await?;
    // Both change at once: otherwise the first revision would be applied there, and with it what is called b.
    let mut paused = SPEC.to_vec();
    paused.push("suspend: true");
    let yaml = applier.kustomization("app", &paused);
    applier.namespace.apply(&yaml).await?;
    // The revision must not be met by a run that does not know of it.
    let log = applier.kustomize.log();
    log.wait("of the suspension", |line| {
        let message = line["msg"].as_str().unwrap_or_default();
        message
            .to_lowercase()
            .contains("reconciliation is suspended")
    })
    .await?;
    let files = [("a.yaml", &*config_map("a", "2"))];
    applier.publish("main@sha1:2", &files).await?;
    let yaml = applier.kustomization("app", &SPEC);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:2").await?;
    assert_eq!(second.value().await?.as_deref(), Some("2"));
    // FR-N-145: the inventory names no cluster, and the owner labels are checked where it is pruned
    ensure!(
        second.maps.get_opt("b").await?.is_some(),
        "b was pruned there"
    );
    for left in ["a", "b"] {
        let found = applier.namespace.get(CONFIG_MAP, left).await?;
        ensure!(found.is_some(), "{left} is gone here");
    }
    Ok(())
}

/// The value of a metric with these parts of its name and labels.
async fn metric(applier: &Applier, parts: &[&str]) -> Result<Option<f64>> {
    let page = applier.kustomize.metrics().await?;
    let line = page
        .lines()
        .find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()))
}

#[tokio::test]
async fn a_config_map_names_a_cluster_that_trusts_the_own_one() -> Result {
    if Source::find()? != Source::Local {
        println!("skipped: only a local control plane can be told to trust another");
        return Ok(());
    }
    let settings = Settings::default()
        .flag("--default-kubeconfig-service-account=reacher")
        // KC-PROC-040
        .flag("--feature-gates=ObjectLevelWorkloadIdentity=true");
    let applier = Applier::start("trusted", settings).await?;
    let name = applier.namespace.name().to_owned();
    // the second control plane reads the first one's keys without credentials
    let own = applier.namespace.client().clone();
    let bindings: Api<ClusterRoleBinding> = Api::all(own);
    let discovery = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated" }],
    }))?;
    bindings.create(&PostParams::default(), &discovery).await?;
    let kubeconfig = std::fs::read(applier.namespace.cluster().kubeconfig())?;
    let kubeconfig: Value = serde_json::from_slice(&kubeconfig)?;
    let issuer = kubeconfig["clusters"][0]["cluster"]["server"].as_str();
    let second = Second::start(&name, issuer.map(str::to_owned)).await?;
    let admins: Api<ClusterRoleBinding> = Api::all(second.client.clone());
    let admin = serde_json::from_value(json!({
        "metadata": { "name": "reacher" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("trusted:system:serviceaccount:{name}:reacher") }],
    }))?;
    admins.create(&PostParams::default(), &admin).await?;

    let cluster = second.kubeconfig()?["clusters"][0]["cluster"].clone();
    let ca = cluster["certificate-authority-data"]
        .as_str()
        .unwrap_or_default();
    let ca = String::from_utf8(oracle::from_base64(ca)?)?;
    let map = |provider: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "remote", "labels": { "reconcile.fluxcd.io/watch": "Enabled" } },
            "data": { "provider": provider, "address": cluster["server"], "ca.crt": ca, "audiences": " \nsecond\n" },
        })
        .to_string()
    };
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    let reference = "kubeConfig: {configMapRef: {name: remote}}";
    let yaml = applier.kustomization("app", &["prune: true", "wait: true", reference]);
    applier.namespace.apply(&yaml).await?;
    // KC-REMOTE-010, RT-ACL-014
    let text = format!("failed to get configmap {name}/remote: configmaps \"remote\" not found");
    applier.says("app", "ReconciliationFailed", &text).await?;
    applier.namespace.apply(&map("mainframe")).await?;
    applier
        .says(
            "app",
            "ReconciliationFailed",
            "provider 'mainframe' not implemented",
        )
        .await?;
    // KC-REMOTE-011, KC-PROC-011
    applier.namespace.apply(&map("generic")).await?;
    let text = format!(
        "failed to get access token for cluster: failed to get service account '{name}/reacher': the specified default service \
         account does not exist in the object namespace"
    );
    applier.says("app", "ReconciliationFailed", &text).await?;
    // KC-REMOTE-013, KC-REMOTE-018, RT-ACL-016: the token of the account for the audience is accepted there
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: reacher}}";
    applier.namespace.apply(account).await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(second.value().await?.as_deref(), Some("1"));
    assert_eq!(applier.namespace.get(CONFIG_MAP, "a").await?, None);
    // RT-ACL-015, KC-REMOTE-017, KC-PROC-055: a token for each request, from the cache
    let hits = [
        "gotk_token_cache_events_total",
        "cache_hit",
        "fetch_kubeconfig",
        "app",
    ];
    let before = metric(&applier, &hits).await?.unwrap_or_default();
    applier.run("app").await?;
    let after = metric(&applier, &hits).await?.unwrap_or_default();
    ensure!(before > 1.0 && after > before, "{before} {after}");
    // KC-PROC-056
    let items = metric(&applier, &["gotk_token_cached_items "]).await?;
    assert_eq!(items, Some(1.0));

    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    applier.namespace.wait_gone(KUSTOMIZATION, "app").await?;
    assert_eq!(second.value().await?, None);
    // KC-PROC-057
    let series = async {
        while metric(&applier, &hits).await?.is_some() {
            tokio::task::yield_now().await;
        }
        Ok::<_, kind_tests::Failure>(())
    };
    applier
        .namespace
        .wait_for("its series are gone", series)
        .await??;
    applier.namespace.delete(SERVICE_ACCOUNT, "reacher").await?;
    bindings.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}
