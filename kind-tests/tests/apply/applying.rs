//! Applying objects to a cluster.

use flux_apply::{apply_in_stages, delete_all, inventory, wait_for_termination};
use kind_tests::requests::Counter;
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Kind, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::{Bench, GROUP, config_map};

const CLUSTER_ROLE: Kind = Kind("rbac.authorization.k8s.io/v1", "ClusterRole");

#[tokio::test]
async fn objects_are_created_corrected_on_drift_and_otherwise_unchanged() -> Result {
    let mut bench = Bench::new("apply-drift").await?;
    let yaml = config_map("a", "") + &config_map("b", ", labels: {x: z}");
    let made = bench.apply(&yaml).await?;
    // KC-SSA-022, RT-SSA-010
    ensure!(
        made == "ConfigMap/ns/a created\nConfigMap/ns/b created",
        "{made}"
    );
    let version = |object: &Option<Value>| {
        object
            .as_ref()
            .map(|o| o["metadata"]["resourceVersion"].clone())
    };
    let before = version(&bench.namespace.get(CONFIG_MAP, "a").await?);

    // KC-SSA-020: without drift there is no write
    bench.memory.forget();
    let again = bench.apply(&yaml).await?;
    ensure!(
        again == "ConfigMap/ns/a unchanged\nConfigMap/ns/b unchanged",
        "{again}"
    );
    ensure!(
        version(&bench.namespace.get(CONFIG_MAP, "a").await?) == before,
        "an unchanged object was written"
    );

    // KC-SSA-020, RT-SSA-009
    for drift in [
        json!({ "data": { "k": "changed" } }),
        json!({ "metadata": { "labels": { format!("{GROUP}/name"): null } } }),
        json!({ "data": { "k": null } }),
    ] {
        bench
            .namespace
            .merge(CONFIG_MAP, "b", drift.clone())
            .await?;
        let healed = bench.apply(&yaml).await?;
        ensure!(
            healed == "ConfigMap/ns/a unchanged\nConfigMap/ns/b configured",
            "{drift}: {healed}"
        );
        let live = bench
            .namespace
            .get(CONFIG_MAP, "b")
            .await?
            .unwrap_or_default();
        ensure!(live["data"]["k"] == "v", "{drift} was not undone: {live}");
    }
    bench.namespace.delete(CONFIG_MAP, "b").await?;
    let healed = bench.apply(&yaml).await?;
    ensure!(
        healed == "ConfigMap/ns/a unchanged\nConfigMap/ns/b created",
        "{healed}"
    );
    Ok(())
}

/// The steady state: one request per kind, whatever the number of objects.
#[tokio::test]
async fn a_run_that_changes_nothing_costs_one_request_per_kind() -> Result {
    let mut bench = Bench::new("apply-quiet").await?;
    let mut yaml = String::new();
    for index in 0..12 {
        let secret = format!(
            "---\n{{apiVersion: v1, kind: Secret, metadata: {{name: s{index}, namespace: '${{namespace}}'}}, stringData: {{k: v}}}}\n"
        );
        let deployment = format!(
            "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d{index}, namespace: '${{namespace}}'}},
               spec: {{replicas: 0, selector: {{matchLabels: {{app: d}}}}, template: {{metadata: {{labels: {{app: d}}}},
               spec: {{containers: [{{name: c, image: i, ports: [{{containerPort: 80}}]}}]}}}}}}}}\n"
        );
        yaml += &[config_map(&format!("m{index}"), ""), secret, deployment].concat();
    }
    bench.apply(&yaml).await?;
    // The Deployments' controller writes their status in the meantime; this must not count as drift.
    for index in 0..12 {
        let name = format!("d{index}");
        let observed = |object: &Value| object["status"]["observedGeneration"] == json!(1);
        bench
            .namespace
            .wait(DEPLOYMENT, &name, "is observed", observed)
            .await?;
    }
    let counter = Counter::start(bench.namespace.cluster(), &bench.user)?;
    let changes = bench.apply(&yaml).await?;
    ensure!(changes.lines().count() == 36, "{changes}");
    ensure!(
        changes.lines().all(|line| line.ends_with(" unchanged")),
        "{changes}"
    );
    let asked: Vec<String> = counter
        .requests()?
        .into_iter()
        .map(|request| format!("{} {}", request.verb, request.resource))
        .collect();
    let mut sorted = asked.clone();
    sorted.sort();
    ensure!(
        sorted == ["list configmaps", "list deployments", "list secrets"],
        "{asked:?}"
    );

    // Only the single changed object is compared.
    bench
        .namespace
        .merge(SECRET, "s3", json!({ "data": { "k": "eA==" } }))
        .await?;
    let counter = Counter::start(bench.namespace.cluster(), &bench.user)?;
    let changes = bench.apply(&yaml).await?;
    let changed: Vec<&str> = changes
        .lines()
        .filter(|line| !line.ends_with(" unchanged"))
        .collect();
    ensure!(changed == ["Secret/ns/s3 configured"], "{changes}");
    let asked = counter.requests()?.len();
    ensure!(
        asked == 3 + 3,
        "{asked} requests: three lists, then get, dry run and apply were expected"
    );
    Ok(())
}

#[tokio::test]
async fn objects_with_opt_out_annotations_are_not_changed() -> Result {
    let mut bench = Bench::new("apply-skip").await?;
    let note = |pair: &str| format!(", annotations: {{{GROUP}/{pair}}}");
    let yaml = config_map("ignored", &note("ssa: ignore"))
        + &config_map(
            "left",
            &format!(", labels: {{{GROUP}/reconcile: disabled}}"),
        )
        + &config_map("once", &note("ssa: IfNotPresent"));
    let changes = bench.apply(&yaml).await?;
    // KC-SSA-015, RT-SSA-011
    let want = "ConfigMap/ns/ignored skipped\nConfigMap/ns/left skipped\nConfigMap/ns/once created";
    ensure!(changes == want, "{changes}");
    bench
        .namespace
        .merge(CONFIG_MAP, "once", json!({ "data": { "k": "mine" } }))
        .await?;
    bench.memory.forget();
    let changes = bench.apply(&yaml).await?;
    // KC-SSA-016, RT-SSA-012
    ensure!(
        changes == want.replace("once created", "once skipped"),
        "{changes}"
    );
    let names = bench.config_maps().await?;
    ensure!(names == ["once"], "something else was made: {names:?}");

    // KC-SSA-015: the live object's annotation counts as well, and at once
    let plain = config_map("plain", "");
    bench.apply(&plain).await?;
    let off = json!({ "metadata": { "annotations": { format!("{GROUP}/reconcile"): "disabled" } }, "data": { "k": "x" } });
    bench.namespace.merge(CONFIG_MAP, "plain", off).await?;
    let changes = bench.apply(&plain).await?;
    ensure!(changes == "ConfigMap/ns/plain skipped", "{changes}");
    Ok(())
}

#[tokio::test]
async fn crds_are_applied_first_and_an_invalid_object_only_fails_its_stage() -> Result {
    let mut bench = Bench::new("apply-stages").await?;
    let group = format!("{}.example.com", bench.namespace.name());
    let yaml = format!(
        "{{apiVersion: {group}/v1, kind: Widget, metadata: {{name: w, namespace: '${{namespace}}-new'}}, spec: {{size: 1}}}}
---
{{apiVersion: v1, kind: Namespace, metadata: {{name: '${{namespace}}-new'}}}}
---
{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: widgets.{group}}}, spec: {{
  group: {group}, scope: Namespaced, names: {{kind: Widget, plural: widgets}}, versions: [{{name: v1, served: true, storage: true,
  schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{size: {{type: integer}}}}}}}}}}}}}}]}}}}
"
    );
    let bad = format!(
        "{yaml}---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: 'Not Valid', namespace: '${{namespace}}'}}}}\n{}",
        config_map("good", "")
    );
    let options = bench.options();
    // KC-SSA-012, KC-SSA-033: nothing of the stage is applied, and the message lists the earlier stages
    let error = bench.refused(&bad, &options).await?;
    let head =
        "ConfigMap/ns/Not Valid dry-run failed (Invalid): ConfigMap \"Not Valid\" is invalid:";
    ensure!(error.starts_with(head), "{error}");
    let done =
        "\nCustomResourceDefinition/widgets.ns.example.com created\nNamespace/ns-new created\n";
    ensure!(error.ends_with(done), "{error}");
    ensure!(
        bench.namespace.get(CONFIG_MAP, "good").await?.is_none(),
        "part of the broken stage was applied"
    );

    // RT-SSA-005, KC-SSA-009, KC-SSA-010: the definition and the namespace are ready before the Widget is applied
    let changes = bench.apply(&yaml).await?;
    let want = "CustomResourceDefinition/widgets.ns.example.com unchanged\nNamespace/ns-new unchanged\nWidget/ns-new/w created";
    ensure!(changes == want, "{changes}");
    let unknown = bench
        .refused(
            "{apiVersion: nowhere.io/v1, kind: Thing, metadata: {name: t, namespace: x}}",
            &options,
        )
        .await?;
    ensure!(
        unknown
            == "Thing/x/t dry-run failed: no matches for kind \"Thing\" in version \"nowhere.io/v1\"\n",
        "{unknown:?}"
    );
    // KC-SSA-034
    let homeless = bench
        .refused(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}",
            &options,
        )
        .await?;
    let want = "ConfigMap/c namespace not specified: the server could not find the requested resource (patch configmaps c)\n";
    ensure!(homeless == want, "{homeless:?}");
    let lost = bench
        .refused(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: nowhere}}",
            &options,
        )
        .await?;
    ensure!(
        lost == "ConfigMap/nowhere/c not found: namespaces \"nowhere\" not found\n",
        "{lost:?}"
    );

    // Everything is deleted in reverse order.
    let objects = bench.objects(&yaml)?;
    let tracked: Vec<inventory::Tracked> = objects
        .iter()
        .map(|object| inventory::Tracked {
            id: object.id().clone(),
            version: object.version().to_owned(),
        })
        .collect();
    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    let text = pruned
        .changes
        .to_string()
        .replace(bench.namespace.name(), "ns");
    let want = "Widget/ns-new/w deleted\nNamespace/ns-new deleted\nCustomResourceDefinition/widgets.ns.example.com deleted";
    ensure!(
        text == want && pruned.error.is_none(),
        "{text} {:?}",
        pruned.error
    );
    wait_for_termination(&bench.target, &pruned.changes, kind_tests::deadline()).await?;
    Ok(())
}

#[tokio::test]
async fn the_namespace_of_a_cluster_scoped_object_is_dropped() -> Result {
    let mut bench = Bench::new("apply-scope").await?;
    let yaml = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: '${namespace}', namespace: '${namespace}'}, rules: []}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: '${namespace}', namespace: '${namespace}'}, value: 5}";
    let changes = bench.apply(yaml).await?;
    ensure!(
        changes == "ClusterRole/ns created\nPriorityClass/ns created",
        "{changes}"
    );
    let counter = Counter::start(bench.namespace.cluster(), &bench.user)?;
    let changes = bench.apply(yaml).await?;
    ensure!(
        changes == "ClusterRole/ns unchanged\nPriorityClass/ns unchanged",
        "{changes}"
    );
    let asked = counter.requests()?;
    ensure!(
        asked.iter().all(|request| request.verb == "list"),
        "{asked:?}"
    );

    // KC-SSA-017: the inventory entry of a skipped object is that of the live one
    let name = bench.namespace.name().to_owned();
    let disabled = |value: Value| json!({ "metadata": { "annotations": { format!("{GROUP}/reconcile"): value } } });
    let off = disabled(json!("disabled"));
    bench.namespace.merge(CLUSTER_ROLE, &name, off).await?;
    let objects = bench.objects(yaml)?;
    let options = bench.options();
    let changes = apply_in_stages(&bench.target, &objects, &options, &mut bench.memory).await?;
    let text = changes.to_string().replace(&name, "ns");
    ensure!(
        text == "ClusterRole/ns skipped\nPriorityClass/ns unchanged",
        "{text}"
    );
    let tracked = inventory::list(&inventory::of(&changes))?;
    ensure!(
        tracked.len() == 2 && tracked.iter().all(|entry| entry.id.namespace.is_empty()),
        "{tracked:?}"
    );
    let on = disabled(Value::Null);
    bench.namespace.merge(CLUSTER_ROLE, &name, on).await?;

    let objects = bench.objects(yaml)?;
    let options = bench.options();
    let changes = apply_in_stages(&bench.target, &objects, &options, &mut bench.memory).await?;
    let tracked = inventory::list(&inventory::of(&changes))?;
    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    let text = pruned
        .changes
        .to_string()
        .replace(bench.namespace.name(), "ns");
    ensure!(
        text == "PriorityClass/ns deleted\nClusterRole/ns deleted",
        "{text}"
    );
    // KC-SSA-008
    ensure!(bench.apply("").await?.is_empty(), "nothing was asked for");
    Ok(())
}
