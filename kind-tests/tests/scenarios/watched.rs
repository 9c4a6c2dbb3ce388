//! Kustomizations whose objects are watched: a run without changes sends no lists, and what changed is seen all the same.

use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kind_tests::controller::Settings;
use kind_tests::requests::{Counter, Request};
use kind_tests::{
    Applier, CONFIG_MAP, Cluster, KUSTOMIZATION, Kind, Namespace, Result, Way, ensure, is_ready,
};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::config_map;
use crate::outage::Outside;

const SERVICE_ACCOUNT: Kind = Kind("v1", "ServiceAccount");
const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const REVISION: &str = "main@sha1:1";

/// Four objects of four kinds, as many applications have them.
const MANIFEST: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: app}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 0
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {v: '1'}
";

/// Applies a Kustomization that runs again at this interval, whether it fails or not.
async fn kustomization(applier: &Applier, name: &str, interval: &str, spec: &[&str]) -> Result {
    let yaml = applier.kustomization(name, spec);
    let yaml = yaml.replace("interval: 10m", &format!("interval: {interval}"));
    applier.namespace.apply(&yaml).await?;
    Ok(())
}

/// The requests for objects since the counter began: no events, leases and watches, and nothing about the kinds of Flux
/// but writes.
fn about_objects(counter: &Counter) -> Result<Vec<Request>> {
    let mut requests = counter.requests()?;
    requests.retain(|request| {
        let is_flux = request.uri.contains(".toolkit.fluxcd.io/");
        let is_other = matches!(&*request.resource, "events" | "leases" | "")
            || request.verb == "watch"
            || (is_flux && request.verb == "list");
        !is_other
            // With the label of configurations that are watched, whatever Kustomizations do.
            && !request.uri.contains("reconcile.fluxcd.io")
    });
    Ok(requests)
}

fn is_write_of_status(request: &Request) -> bool {
    request.verb == "patch" && request.resource == "kustomizations/status"
}

/// Waits until runs at the interval send nothing but the status: three in a row.
async fn runs_send_no_lists(namespace: &Namespace, user: &str) -> Result {
    let cluster = namespace.cluster();
    let quiet = async {
        loop {
            let counter = Counter::start(cluster, user)?;
            loop {
                let asked = about_objects(&counter)?;
                if !asked.iter().all(is_write_of_status) {
                    break;
                }
                if asked.len() >= 3 {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    namespace
        .wait_for("runs send nothing but the status", quiet)
        .await?
}

async fn has_value(namespace: &Namespace, name: &str, value: &str) -> Result {
    let goal = format!("has the value {value}");
    let has = |map: &Value| map["data"]["v"] == value;
    namespace.wait(CONFIG_MAP, name, &goal, has).await?;
    Ok(())
}

#[tokio::test]
async fn a_run_without_changes_sends_only_its_status() -> Result {
    let applier = Applier::start("watched", Settings::default()).await?;
    let namespace = &applier.namespace;
    let user = applier.kustomize.user();
    applier.publish(REVISION, &[("app.yaml", MANIFEST)]).await?;
    let counter = Counter::start(namespace.cluster(), user)?;
    kustomization(&applier, "app", "1h", &["prune: true", "wait: true"]).await?;
    applier.applied("app", REVISION).await?;
    // KC-SSA-018, KC-SSA-019: the dry run shows that an object does not exist
    let first = counter.requests()?;
    for resource in ["serviceaccounts", "deployments", "services", "configmaps"] {
        let of = |verb: &str| {
            let of = |request: &&Request| request.resource == resource && request.verb == verb;
            first.iter().filter(of).count()
        };
        let (reads, writes) = (of("get"), of("patch"));
        ensure!((reads, writes) == (0, 2), "{resource}: {first:#?}");
        // KC-HEALTH-019, KC-HEALTH-020: the answers to the writes show that all others are healthy
        let is_waited_for = first.iter().any(|request| {
            request.resource == resource
                && matches!(&*request.verb, "list" | "watch")
                && !request.uri.contains("reconcile.fluxcd.io")
        });
        ensure!(
            is_waited_for == (resource == "deployments"),
            "{resource}: {first:#?}"
        );
    }

    let quiet = async {
        loop {
            let counter = Counter::start(namespace.cluster(), user)?;
            applier.run("app").await?;
            let asked = about_objects(&counter)?;
            if asked.iter().all(is_write_of_status) {
                return Ok::<_, kind_tests::Failure>(asked);
            }
        }
    };
    let asked = namespace.wait_for("a run sends no lists", quiet).await??;
    // KC-PROC-068: a requested run reports its end, and nothing before if that is within a second
    ensure!(asked.len() == 1, "{asked:#?}");

    // A new revision is compared as ever.
    let changed = MANIFEST.replace("v: '1'", "v: '2'");
    applier
        .publish("main@sha1:2", &[("app.yaml", &changed)])
        .await?;
    applier.applied("app", "main@sha1:2").await?;
    has_value(namespace, "app", "2").await
}

#[tokio::test]
async fn watched_objects_are_corrected_at_the_next_interval() -> Result {
    let applier = Applier::start("watched-drift", Settings::default()).await?;
    let namespace = &applier.namespace;
    let user = applier.kustomize.user();
    applier.publish(REVISION, &[("app.yaml", MANIFEST)]).await?;
    kustomization(&applier, "app", "1s", &["prune: true", "wait: true"]).await?;
    applier.applied("app", REVISION).await?;
    runs_send_no_lists(namespace, user).await?;
    // KC-SSA-019, KC-SSA-020
    let by_hand = json!({"data": {"v": "by hand"}});
    namespace.merge(CONFIG_MAP, "app", by_hand).await?;
    has_value(namespace, "app", "1").await?;
    let labels = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": null}}});
    namespace.merge(CONFIG_MAP, "app", labels).await?;
    let is_owned =
        |map: &Value| map["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "app";
    namespace
        .wait(CONFIG_MAP, "app", "has its label back", is_owned)
        .await?;
    runs_send_no_lists(namespace, user).await?;

    let first = namespace.get(SERVICE_ACCOUNT, "app").await?;
    let first = first.unwrap_or_default();
    namespace.delete(SERVICE_ACCOUNT, "app").await?;
    let again = |account: &Value| account["metadata"]["uid"] != first["metadata"]["uid"];
    namespace
        .wait(SERVICE_ACCOUNT, "app", "is back", again)
        .await?;
    runs_send_no_lists(namespace, user).await?;

    // What only has another status is known too.
    let status = json!({"replicas": 0, "observedGeneration": 1, "conditions": [
        {"type": "Other", "status": "True", "reason": "Test", "message": ""}]});
    let deployment = Kind("apps/v1", "Deployment");
    namespace.set_status(deployment, "app", status).await?;
    runs_send_no_lists(namespace, user).await
}

#[tokio::test]
async fn drift_is_corrected_as_soon_as_it_is_reported_where_that_is_wanted() -> Result {
    let settings = Settings::default().env("KUSTOMIZE_CORRECT_DRIFT_AT_ONCE", "true");
    let applier = Applier::start("at-once", settings).await?;
    let namespace = &applier.namespace;
    let user = applier.kustomize.user();
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: tenant}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: tenant, namespace: '${namespace}'}]
";
    namespace.apply(account).await?;
    let (own, tenant) = (config_map("own", "1"), config_map("tenant", "1"));
    applier
        .publish(
            REVISION,
            &[("own/a.yaml", &own), ("tenant/a.yaml", &tenant)],
        )
        .await?;
    let counter = Counter::start(namespace.cluster(), user)?;
    let specs: [(&str, &[&str]); 2] = [
        ("own", &["prune: true", "path: own"]),
        (
            "tenant",
            &["prune: true", "path: tenant", "serviceAccountName: tenant"],
        ),
    ];
    for (name, spec) in specs {
        kustomization(&applier, name, "1h", spec).await?;
        applier.applied(name, REVISION).await?;
        // The second run looks at what the first has left.
        applier.run(name).await?;
    }
    let opened = async {
        loop {
            let asked = counter.requests()?;
            if asked.iter().any(|request| {
                request.verb == "watch"
                    && request.uri.contains("kustomize.toolkit.fluxcd.io%2Fname")
            }) {
                return Result::<()>::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    namespace.wait_for("objects are watched", opened).await??;
    for (name, _) in specs {
        let by_hand = json!({"data": {"v": "by hand"}});
        namespace.merge(CONFIG_MAP, name, by_hand).await?;
        has_value(namespace, name, "1").await?;
    }
    // At the pace of the object, not at the interval of an hour.
    namespace.delete(CONFIG_MAP, "own").await?;
    has_value(namespace, "own", "1").await
}

#[tokio::test]
async fn a_tenant_whose_rights_are_withdrawn_fails() -> Result {
    let applier = Applier::start("withdrawn", Settings::default()).await?;
    let namespace = &applier.namespace;
    let user = applier.kustomize.user();
    let rights = |verbs: &str| {
        format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: tenant}}}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: tenant}},
  rules: [{{apiGroups: [''], resources: [configmaps], verbs: [{verbs}]}}]}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: tenant}},
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}},
  subjects: [{{kind: ServiceAccount, name: tenant, namespace: '${{namespace}}'}}]}}"
        )
    };
    namespace
        .apply(&rights("get, list, create, patch, delete"))
        .await?;
    let map = config_map("a", "1");
    applier.publish(REVISION, &[("a.yaml", &map)]).await?;
    // Another Kustomization has the kind watched.
    kustomization(&applier, "own", "1s", &["prune: true", "namePrefix: own-"]).await?;
    applier.applied("own", REVISION).await?;
    runs_send_no_lists(namespace, user).await?;
    let spec = ["prune: true", "serviceAccountName: tenant"];
    kustomization(&applier, "app", "1h", &spec).await?;
    applier.applied("app", REVISION).await?;
    let counter = Counter::start(namespace.cluster(), user)?;
    applier.run("app").await?;
    let listed = |request: &Request| request.verb == "list" && request.resource == "configmaps";
    let asked = about_objects(&counter)?;
    ensure!(asked.iter().any(listed), "{asked:#?}");
    // KC-REMOTE-001, KC-SSA-031
    namespace.apply(&rights("create")).await?;
    applier.run("app").await?;
    let refused = "cannot patch resource \"configmaps\"";
    applier.says("app", "ReconciliationFailed", refused).await?;
    Ok(())
}

/// Grants the user what kustomize-controller needs here, but no watches of ServiceAccounts.
async fn grant(namespace: &Namespace, user: &str) -> Result {
    let name = namespace.name();
    let yaml = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {name}}}
rules:
- {{apiGroups: [kustomize.toolkit.fluxcd.io, source.toolkit.fluxcd.io, coordination.k8s.io], resources: ['*'], verbs: ['*']}}
- {{apiGroups: ['', events.k8s.io], resources: [events, configmaps, secrets], verbs: ['*']}}
- {{apiGroups: [''], resources: [serviceaccounts], verbs: [get, list, create, patch, delete]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}
subjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]
"
    );
    namespace.apply(&yaml).await?;
    Ok(())
}

#[tokio::test]
async fn objects_that_may_not_be_watched_are_listed() -> Result {
    let cluster = Cluster::shared().await?;
    let user = format!("unwatched-{:08x}", rand::random::<u32>());
    let Some(kubeconfig) = cluster.kubeconfig_without_rights(&user)? else {
        println!("skipped: no users can be made in this cluster");
        return Ok(());
    };
    let settings = Settings::default().env("KUBECONFIG", kubeconfig.to_string_lossy());
    let granting = Namespace::create(&cluster, "unwatched-role").await?;
    grant(&granting, &user).await?;
    let applier = Applier::start_on(&cluster, "unwatched", settings).await?;
    let namespace = &applier.namespace;
    applier
        .publish(
            REVISION,
            &[(
                "app.yaml",
                "{apiVersion: v1, kind: ServiceAccount, metadata: {name: app, labels: {v: '1'}}}",
            )],
        )
        .await?;
    kustomization(&applier, "app", "1s", &["prune: true"]).await?;
    applier.applied("app", REVISION).await?;
    let refused = |line: &Value| {
        line["msg"] == "objects of ServiceAccount in v1 are not watched, each run lists them"
            && line["error"]
                .as_str()
                .is_some_and(|error| error.contains("forbidden"))
    };
    applier
        .kustomize
        .log()
        .wait("of the refusal", refused)
        .await?;
    let by_hand = json!({"metadata": {"labels": {"v": "by-hand"}}});
    namespace.merge(SERVICE_ACCOUNT, "app", by_hand).await?;
    let corrected = |account: &Value| account["metadata"]["labels"]["v"] == "1";
    namespace
        .wait(SERVICE_ACCOUNT, "app", "has its label back", corrected)
        .await?;
    // It is not tried again and again.
    let counter = Counter::start(&cluster, &user)?;
    let listed = async {
        loop {
            let asked = counter.requests()?;
            let of = |verb: &str| {
                let of = |request: &&Request| {
                    request.verb == verb && request.resource == "serviceaccounts"
                };
                asked.iter().filter(of).count()
            };
            ensure!(of("watch") == 0, "{asked:#?}");
            if of("list") > 2 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    namespace.wait_for("runs list", listed).await??;
    let client = namespace.client().clone();
    let params = DeleteParams::default();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.delete(granting.name(), &params).await?;
    let roles: Api<ClusterRole> = Api::all(client);
    roles.delete(granting.name(), &params).await?;
    Ok(())
}

#[tokio::test]
async fn what_changes_while_the_watch_is_broken_is_corrected_afterwards() -> Result {
    let cluster = Cluster::shared().await?;
    for way in [Way::Broken, Way::Silent] {
        let outside = Outside::of(&cluster).await?;
        let applier = Applier::start_on(&cluster, "broken", outside.settings(&[])).await?;
        let namespace = &applier.namespace;
        let (a, b) = (config_map("a", "1"), config_map("b", "1"));
        applier
            .publish(REVISION, &[("a.yaml", &a), ("b.yaml", &b)])
            .await?;
        kustomization(&applier, "app", "1s", &["prune: true"]).await?;
        applier.applied("app", REVISION).await?;
        runs_send_no_lists(namespace, &outside.user).await?;
        outside.gate.set(way);
        // RT-WAT-004
        let by_hand = json!({"data": {"v": "by hand"}});
        namespace.merge(CONFIG_MAP, "a", by_hand).await?;
        namespace.delete(CONFIG_MAP, "b").await?;
        if way == Way::Broken {
            let tried = outside.gate.wait_for_connections(3);
            namespace.wait_for("it has tried again", tried).await?;
        }
        outside.gate.set(Way::Open);
        for name in ["a", "b"] {
            has_value(namespace, name, "1").await?;
        }
        runs_send_no_lists(namespace, &outside.user).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_kind_that_is_defined_anew_is_watched_anew() -> Result {
    let applier = Applier::start("defined-anew", Settings::default()).await?;
    let namespace = &applier.namespace;
    let user = applier.kustomize.user();
    let group = format!("{}.example.com", namespace.name());
    let definition = format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gears.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Gear, plural: gears}}
  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]
"
    );
    let name = format!("gears.{group}");
    namespace.apply(&definition).await?;
    let gear = format!(
        "apiVersion: {group}/v1\nkind: Gear\nmetadata: {{name: first}}\ndata: {{v: '1'}}\n"
    );
    applier.publish(REVISION, &[("a.yaml", &gear)]).await?;
    kustomization(&applier, "app", "1s", &["prune: true"]).await?;
    applier.applied("app", REVISION).await?;
    runs_send_no_lists(namespace, user).await?;

    namespace.delete(DEFINITION, &name).await?;
    applier
        .says(
            "app",
            "ReconciliationFailed",
            "no matches for kind \"Gear\"",
        )
        .await?;
    namespace.apply(&definition).await?;
    namespace
        .wait(KUSTOMIZATION, "app", "is ready again", |object| {
            is_ready(object, "True")
        })
        .await?;
    let kind = Kind(format!("{group}/v1").leak(), "Gear");
    namespace
        .wait(kind, "first", "is back", |gear| gear["data"]["v"] == "1")
        .await?;
    runs_send_no_lists(namespace, user).await?;
    let by_hand = json!({"data": {"v": "by hand"}});
    namespace.merge(kind, "first", by_hand).await?;
    namespace
        .wait(kind, "first", "has its value back", |gear| {
            gear["data"]["v"] == "1"
        })
        .await?;
    namespace.delete(DEFINITION, &name).await
}

// The server does not know that nothing follows a full page, and the page that says so has null in place of its objects.
#[tokio::test]
async fn a_list_that_ends_with_a_full_page_is_complete() -> Result {
    const PAGE: usize = 500;
    let namespace = Namespace::create(&Cluster::shared().await?, "full-page").await?;
    let maps: Api<ConfigMap> = Api::namespaced(namespace.client().clone(), namespace.name());
    let mut made: Vec<ConfigMap> = Vec::new();
    for number in 0..PAGE {
        let metadata =
            json!({"name": format!("map-{number:03}"), "labels": {"page": namespace.name()}});
        made.push(serde_json::from_value(json!({ "metadata": metadata }))?);
    }
    made.push(serde_json::from_value(
        json!({"metadata": {"name": "other"}}),
    )?);
    let params = PostParams::default();
    futures::stream::iter(made.iter().map(Ok))
        .try_for_each_concurrent(8, async |map| maps.create(&params, map).await.map(drop))
        .await?;

    let cluster = flux_cluster::Cluster::new(namespace.client().clone(), "kind-tests");
    let kind = flux_cluster::Resource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
    };
    let selector = format!("page={}", namespace.name());
    let full = cluster.list_live(&kind, &selector, None).await?;
    ensure!(full.objects.len() == PAGE, "{}", full.objects.len());
    ensure!(full.next.is_some(), "the server knows that it is the last");
    let last = cluster
        .list_live(&kind, &selector, full.next.as_deref())
        .await?;
    ensure!(last.objects.is_empty() && last.next.is_none(), "{last:?}");
    ensure!(last.version == full.version, "{last:?}");
    Ok(())
}
