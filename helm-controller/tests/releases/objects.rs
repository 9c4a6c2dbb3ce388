//! Cases from the field: what becomes of the objects of a release.

use kind_tests::requests::Counter;
use kind_tests::{CONFIG_MAP, DEPLOYMENT, HELM_RELEASE, Kind, Result, SECRET, SHARD_LABEL, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK, has};
use crate::refusal::Refusal;

const CRD: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const JOB: Kind = Kind("batch/v1", "Job");
const INGRESS: Kind = Kind("networking.k8s.io/v1", "Ingress");

/// The definition of a kind `Widget` in a group of the namespace's own, with a schema of its spec.
struct Widgets {
    group: String,
    definition: String,
}

impl Widgets {
    fn new(bench: &Bench) -> Self {
        let group = format!("{}.example.com", bench.namespace.name());
        let spec = json!({"type": "object", "properties": {
            "role": {"type": "string"}, "items": {"type": "array", "items": {"type": "string"}}}});
        let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({"apiVersion": CRD.0, "kind": CRD.1,
            "metadata": {"name": format!("widgets.{group}")},
            "spec": {"group": group, "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}}}]}});
        let definition = definition.to_string();
        Self { group, definition }
    }

    /// A Widget with this specification.
    fn widget(&self, name: &str, spec: &str) -> String {
        let group = &self.group;
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: {name}}}\nspec:\n{spec}")
    }

    /// The kind, for the namespace's methods.
    fn kind(&self) -> Kind {
        // The few bytes live as long as the test.
        Kind(
            Box::leak(format!("{}/v1", self.group).into_boxed_str()),
            "Widget",
        )
    }

    async fn delete(&self, bench: &Bench) -> Result {
        let name = format!("widgets.{}", self.group);
        bench.namespace.delete(CRD, &name).await
    }
}

// FR-H-004
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_fields_are_sent_as_they_are_rendered() -> Result {
    let bench = Bench::start("hr-empty").await?;
    let widgets = Widgets::new(&bench);
    let widget = widgets.widget("{{ .Release.Name }}", "  role:\n  items:\n");
    let files = [
        ("crds/widget.yaml", &*widgets.definition),
        ("templates/widget.yaml", &widget),
    ];
    bench.publish("1.0.0", &files).await?;
    bench.release(json!({})).await?;
    // The API server's own words
    let said = "must be of type string: \"null\"";
    let object = bench.says("False", "InstallFailed", said).await?;
    ensure!(object.to_string().contains("spec.items"), "{object}");
    // Created client-side, the server drops them.
    let client_side = json!({"install": {"serverSideApply": false}});
    bench.release_named("old", client_side).await?;
    bench
        .named_says("old", "True", "InstallSucceeded", "")
        .await?;
    let live = bench.namespace.get(widgets.kind(), "old").await?;
    ensure!(
        live.is_some_and(|live| live["spec"] == json!({})),
        "it is not there"
    );
    widgets.delete(&bench).await
}

fn job(name: &str, annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  backoffLimit: 0\n{spec}\n  template:\n    spec:\n      restartPolicy: Never\n      nodeSelector: {{ {{{{ .Values.node | default \"\" }}}} }}\n      containers: [{{name: c, image: example.com/c}}]\n"
    )
}

// FR-H-038
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_with_a_log_policy_succeeds_and_its_controller_lives() -> Result {
    let mut bench = Bench::start("hr-logpolicy").await?;
    let annotations = "helm.sh/hook: 'post-install,post-upgrade', helm.sh/hook-output-log-policy: 'hook-succeeded,hook-failed'";
    let hook = job("noisy", annotations, "");
    bench
        .publish(
            "1.0.0",
            &[("templates/map.yaml", MAP), ("templates/job.yaml", &hook)],
        )
        .await?;
    let pid = bench.helm.pid();
    bench.release(json!({})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench.release(json!({"values": {"text": "two"}})).await?;
    bench.says("True", "UpgradeSucceeded", "").await?;
    ensure!(bench.helm.runs() && bench.helm.pid() == pid, "it ended");
    ensure!(bench.helm.log().panic().is_none(), "it panicked");
    Ok(())
}

// FR-H-039, FR-H-040
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_their_ttl_removes_are_complete() -> Result {
    let bench = Bench::start("hr-ttl").await?;
    let ttl = "  ttlSecondsAfterFinished: 0";
    let hook = job("hook", "helm.sh/hook: post-install", ttl);
    let plain = job("plain", "", ttl);
    let files = [
        ("templates/hook.yaml", &*hook),
        ("templates/plain.yaml", &plain),
    ];
    bench.publish("1.0.0", &files).await?;
    bench.release(json!({})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    for name in ["hook", "plain"] {
        bench.namespace.wait_gone(JOB, name).await?;
    }
    Ok(())
}

// FR-H-040
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_ends_the_wait_of_either_strategy() -> Result {
    let bench = Bench::start("hr-jobfails").await?;
    let ns = bench.namespace.name().to_owned();
    // No node takes its pod until the deadline, behind which the Job has failed.
    let limits = "  activeDeadlineSeconds: 1\n  ttlSecondsAfterFinished: 3600";
    let fails = job("{{ .Release.Name }}-job", "", limits);
    bench
        .publish("1.0.0", &[("templates/job.yaml", &fails)])
        .await?;
    for (strategy, said) in [
        (
            "poller",
            format!("failed early due to stalled resources: [Job/{ns}/poller-job status: 'Failed'"),
        ),
        ("legacy", format!("job is failed: {ns}/legacy-job")),
    ] {
        let spec = json!({"timeout": "5m", "waitStrategy": {"name": strategy},
            "values": {"node": "no: such-node"}});
        bench.release_named(strategy, spec).await?;
        bench
            .named_says(strategy, "False", "InstallFailed", &said)
            .await?;
    }
    Ok(())
}

// FR-H-040
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_gone_before_it_is_looked_at_fails_the_legacy_wait_only() -> Result {
    let bench = Bench::start("hr-jobgone").await?;
    let ttl = "  ttlSecondsAfterFinished: 0";
    // The Deployment is waited for first by `legacy`, the Ingress is applied last.
    let first = STUCK.replace("stuck", "{{ .Release.Name }}");
    let job = job("{{ .Release.Name }}-job", "", ttl);
    let last = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: {{ .Release.Name }}}\nspec: {defaultBackend: {service: {name: a, port: {number: 80}}}}\n";
    let templates = [
        ("templates/first.yaml", &*first),
        ("templates/job.yaml", &job),
        ("templates/last.yaml", last),
    ];
    bench.publish("1.0.0", &templates).await?;
    for (strategy, status, reason, said) in [
        ("poller", "True", "InstallSucceeded", ""),
        (
            "legacy",
            "False",
            "InstallFailed",
            "jobs.batch \"legacy-job\" not found",
        ),
    ] {
        let spec = json!({"timeout": "5m", "waitStrategy": {"name": strategy}});
        bench.release_named(strategy, spec).await?;
        bench
            .namespace
            .wait(INGRESS, strategy, "is applied", |_| true)
            .await?;
        let job = format!("{strategy}-job");
        bench.namespace.wait_gone(JOB, &job).await?;
        let freed = json!({"spec": {"template": {"spec": {"nodeSelector": null}}}});
        bench.namespace.merge(DEPLOYMENT, strategy, freed).await?;
        bench.named_says(strategy, status, reason, said).await?;
    }
    Ok(())
}

// FR-H-039
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_another_client_deletes_is_waited_for_until_the_timeout() -> Result {
    let bench = Bench::start("hr-hookgone").await?;
    let ns = bench.namespace.name().to_owned();
    let hook = job("hook", "helm.sh/hook: post-install", "");
    bench
        .publish("1.0.0", &[("templates/hook.yaml", &hook)])
        .await?;
    let nowhere = json!({"timeout": "4s", "values": {"node": "no: such-node"}});
    bench.release(nowhere).await?;
    bench
        .namespace
        .wait(JOB, "hook", "is there", |_| true)
        .await?;
    bench.namespace.delete(JOB, "hook").await?;
    let said =
        format!("failed post-install: timeout waiting for: [Job/{ns}/hook status: 'NotFound']");
    bench.says("False", "InstallFailed", &said).await?;
    Ok(())
}

// FR-H-042
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_are_waited_for_by_their_conditions() -> Result {
    let bench = Bench::start("hr-custom").await?;
    let widgets = Widgets::new(&bench);
    let widget = widgets.widget("one", "  role: {{ .Values.text }}\n");
    let files = [
        ("crds/widget.yaml", &*widgets.definition),
        ("templates/widget.yaml", &widget),
    ];
    bench.publish("1.0.0", &files).await?;
    bench.release(json!({})).await?;
    // HC-WAIT-014: without a condition it is current
    bench.says("True", "InstallSucceeded", "").await?;
    let ready = async |status: &str| {
        let condition = json!({"type": "Ready", "status": status, "reason": "Test", "message": ""});
        let status = json!({"conditions": [condition]});
        bench
            .namespace
            .set_status(widgets.kind(), "one", status)
            .await
    };
    ready("False").await?;
    bench
        .release(json!({"values": {"text": "two"}, "timeout": "2m"}))
        .await?;
    bench
        .wait_revisions(&[(1, "deployed"), (2, "pending-upgrade")])
        .await?;
    let applied = |widget: &Value| widget["spec"]["role"] == "two";
    bench
        .namespace
        .wait(widgets.kind(), "one", "is applied", applied)
        .await?;
    ready("True").await?;
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    widgets.delete(&bench).await
}

// FR-H-042
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_depends_on_its_parent_is_waited_for_in_vain() -> Result {
    let bench = Bench::start("hr-parent").await?;
    let ns = bench.namespace.name().to_owned();
    let child = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1,
        "metadata": {"name": "child", "labels": {SHARD_LABEL: ns}},
        "spec": {"interval": "1h", "dependsOn": [{"name": "web"}],
            "chartRef": {"kind": "HelmChart", "name": "other"}}});
    let other = bench.chart("2.0.0", &[("templates/map.yaml", MAP)])?;
    bench.serve(kind_tests::HELM_CHART, "other", &other).await?;
    bench
        .publish("1.0.0", &[("templates/child.yaml", &child.to_string())])
        .await?;
    bench.release(json!({"timeout": "3s"})).await?;
    let said = format!("timeout waiting for: [HelmRelease/{ns}/child status: 'InProgress']");
    bench.says("False", "InstallFailed", &said).await?;
    let waits = bench.named_says("child", "False", "DependencyNotReady", "");
    waits.await?;
    // Without the wait both become ready.
    bench
        .release(json!({"upgrade": {"disableWait": true}, "values": {"a": "b"}}))
        .await?;
    bench.says("True", "UpgradeSucceeded", "").await?;
    bench
        .named_says("child", "True", "InstallSucceeded", "")
        .await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    Ok(())
}

fn deployment(annotations: &str, env: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: extra, annotations: {{{annotations}}}}}\nspec:\n  replicas: 0\n  selector: {{matchLabels: {{app: extra}}}}\n  template:\n    metadata: {{labels: {{app: extra}}}}\n    spec: {{containers: [{{name: c, image: example.com/c, env: [{env}]}}]}}\n"
    )
}

// FR-H-044
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_a_chart_drops_go_from_objects_that_came_later() -> Result {
    let bench = Bench::installed("hr-fields", json!({})).await?;
    let version = async |version: &str, annotations: &str, env: &str| -> Result<Value> {
        let extra = deployment(annotations, env);
        let files = [
            ("templates/map.yaml", MAP),
            ("templates/extra.yaml", &extra),
        ];
        bench.publish(version, &files).await?;
        let said = format!("chart web@{version}");
        bench.says("True", "UpgradeSucceeded", &said).await?;
        let live = bench.namespace.get(DEPLOYMENT, "extra").await?;
        Ok(live.unwrap_or_default())
    };
    version("1.1.0", "a: '1', b: '1'", "{name: A, value: '1'}").await?;
    let by_hand = json!({"spec": {"replicas": 2}});
    bench.namespace.merge(DEPLOYMENT, "extra", by_hand).await?;
    let live = version("1.2.0", "a: '2', b: '1'", "{name: A, value: '2'}").await?;
    ensure!(live["spec"]["replicas"] == 0, "{live}");
    let live = version("1.3.0", "a: '2'", "").await?;
    let annotations = &live["metadata"]["annotations"];
    ensure!(
        annotations["a"] == "2" && annotations["b"].is_null(),
        "{annotations}"
    );
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    ensure!(container["env"].is_null(), "{container}");
    // An object without managed fields, as another client's that never applied.
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: before}, data: {text: theirs, gone: x}}";
    bench.namespace.apply(map).await?;
    let bare = json!({"metadata": {"managedFields": [{}]}});
    bench.namespace.merge(CONFIG_MAP, "before", bare).await?;
    let before = MAP.replace("{{ .Release.Name }}-map", "before");
    let files = [("templates/map.yaml", &*before)];
    bench.publish("1.4.0", &files).await?;
    bench
        .says("True", "UpgradeSucceeded", "chart web@1.4.0")
        .await?;
    let live = bench.namespace.get(CONFIG_MAP, "before").await?;
    let live = live.unwrap_or_default();
    ensure!(live["data"]["text"] == "default", "{live}");
    Ok(())
}

// FR-H-046
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misplaced_and_repeated_fields_are_errors_of_the_server() -> Result {
    let bench = Bench::start("hr-strict").await?;
    let twice = deployment("", "{name: A, value: '1'}, {name: A, value: '2'}");
    let ports = deployment("", "").replace(
        "env: []",
        "ports: [{containerPort: 80}, {containerPort: 80}]",
    );
    let misplaced = deployment("", "").replace("  replicas: 0", "  replicas: 0\n  image: x");
    for (name, template, said) in [
        ("twice", twice, "duplicate entries for key [name=\"A\"]"),
        (
            "ports",
            ports,
            "duplicate entries for key [containerPort=80,protocol=\"TCP\"]",
        ),
        (
            "misplaced",
            misplaced,
            ".spec.image: field not declared in schema",
        ),
    ] {
        let files = [("templates/extra.yaml", &*template)];
        let artifact = bench.chart("1.0.0", &files)?;
        bench.serve(kind_tests::HELM_CHART, name, &artifact).await?;
        let spec = json!({"chartRef": {"name": name}});
        bench.release_named(name, spec).await?;
        bench
            .named_says(name, "False", "InstallFailed", said)
            .await?;
        ensure!(
            bench.namespace.get(DEPLOYMENT, "extra").await?.is_none(),
            "{name}: it was made"
        );
    }
    Ok(())
}

// FR-H-047, HC-ACT-094
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_upgrade_replaces_nothing_that_is_applied_server_side() -> Result {
    let bench = Bench::start("hr-replace").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let spec = |text: &str| json!({"values": {"text": text}, "upgrade": {"force": true}});
    bench.release(spec("one")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let before = bench.namespace.get(CONFIG_MAP, "web-map").await?;
    let counter = Counter::start(bench.namespace.cluster(), bench.helm.user())?;
    bench.release(spec("two")).await?;
    bench.says("True", "UpgradeSucceeded", "").await?;
    let requests = counter.requests()?;
    let writes: Vec<&str> = requests
        .iter()
        .filter(|request| request.resource == "configmaps")
        .map(|request| &*request.verb)
        .filter(|verb| !["get", "list", "watch"].contains(verb))
        .collect();
    ensure!(writes == ["patch"], "{writes:?}");
    let after = bench.namespace.get(CONFIG_MAP, "web-map").await?;
    let uid = |map: Option<Value>| map.unwrap_or_default()["metadata"]["uid"].clone();
    ensure!(uid(before) == uid(after), "it was replaced");
    Ok(())
}

// FR-H-052
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_of_secrets_are_masked_in_the_log_only() -> Result {
    let settings = kind_tests::controller::Settings::default().flag("--log-level=debug");
    let bench = Bench::with("hr-masked", settings).await?;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: web-secret}\nstringData: {password: hunter2secret}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-map}\ndata: {text: plain}\n";
    let files = [
        ("templates/secret.yaml", secret),
        ("templates/map.yaml", map),
    ];
    bench.publish("1.0.0", &files).await?;
    bench
        .release(json!({"driftDetection": {"mode": "enabled"}}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let before = bench.namespace.get(SECRET, "web-secret").await?;
    let before = before.unwrap_or_default()["data"].clone();
    let theirs = json!({"stringData": {"password": "theirs9secret"}});
    bench.namespace.merge(SECRET, "web-secret", theirs).await?;
    let theirs = json!({"data": {"text": "by hand"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", theirs).await?;
    bench.run().await?;
    bench.event("DriftCorrected", "Secret/").await?;
    let after = bench.namespace.get(SECRET, "web-secret").await?;
    let after = after.unwrap_or_default()["data"].clone();
    ensure!(
        before == after && !after.is_null(),
        "it has another password now"
    );
    ensure!(bench.text().await? == "plain", "{}", bench.text().await?);
    let said = bench.helm.log().lines().join("\n");
    // What is no Secret is shown.
    ensure!(
        said.contains("\"plain\""),
        "the patch of the map is not shown"
    );
    for secret in [
        "hunter2",
        "theirs9",
        "aHVudGVyMnNlY3JldA",
        "dGhlaXJzOXNlY3JldA",
    ] {
        ensure!(!said.contains(secret), "the log has {secret}");
    }
    Ok(())
}

// FR-H-055
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_custom_resource_stay_where_it_is_patched_client_side() -> Result {
    let bench = Bench::start("hr-crback").await?;
    let widgets = Widgets::new(&bench);
    let widget = widgets.widget("one", "  role: {{ .Values.role | default \"first\" }}\n");
    let files = [
        ("crds/widget.yaml", &*widgets.definition),
        ("templates/widget.yaml", &widget),
        ("templates/map.yaml", MAP),
    ];
    bench.publish("1.0.0", &files).await?;
    let spec = |values: Value, method: &str| {
        json!({"values": values, "install": {"serverSideApply": false},
            "upgrade": {"serverSideApply": method, "remediation": {"retries": 0, "remediateLastFailure": true}}})
    };
    let role = async || -> Result<String> {
        let live = bench.namespace.get(widgets.kind(), "one").await?;
        let live = live.unwrap_or_default();
        Ok(live["spec"]["role"].as_str().unwrap_or_default().to_owned())
    };
    bench.release(spec(json!({}), "disabled")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    // The Widget is patched and the map refused: a rollback brings back both.
    let refusal = Refusal::of_text(&bench.namespace, "bad").await?;
    bench
        .release(spec(json!({"role": "second", "text": "bad"}), "disabled"))
        .await?;
    bench
        .condition("Remediated", "True", "RollbackSucceeded", "")
        .await?;
    refusal.lift().await?;
    ensure!(role().await? == "first", "{}", role().await?);
    // A change by hand, and an upgrade in which the Widget is the same.
    for (round, (method, wanted)) in [("disabled", "by-hand"), ("enabled", "first")]
        .into_iter()
        .enumerate()
    {
        let by_hand = json!({"spec": {"role": "by-hand"}});
        bench
            .namespace
            .merge(widgets.kind(), "one", by_hand)
            .await?;
        let values = json!({"text": format!("round {round}")});
        bench.release(spec(values, method)).await?;
        let upgraded = |object: &Value| {
            has(object, "Ready", "True", "UpgradeSucceeded", "")
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        };
        bench
            .namespace
            .wait(HELM_RELEASE, "web", "is upgraded", upgraded)
            .await?;
        ensure!(role().await? == wanted, "{method}: {}", role().await?);
    }
    widgets.delete(&bench).await
}

// FR-H-062
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_clients_and_of_other_releases_are_adopted() -> Result {
    let bench = Bench::start("hr-adopt").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    for (name, server_side) in [("server", true), ("client", false)] {
        let owned = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("{name}-map"), "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "living", "meta.helm.sh/release-namespace": ns}},
            "data": {"text": "theirs", "more": "kept"}});
        bench.namespace.apply(&owned.to_string()).await?;
        bench
            .release_named(name, json!({"install": {"serverSideApply": server_side}}))
            .await?;
        bench
            .named_says(name, "True", "InstallSucceeded", "")
            .await?;
        let live = bench
            .namespace
            .get(CONFIG_MAP, &format!("{name}-map"))
            .await?;
        let live = live.unwrap_or_default();
        ensure!(
            live["metadata"]["annotations"]["meta.helm.sh/release-name"] == name,
            "{live}"
        );
        ensure!(
            live["data"]["text"] == "default" && live["data"]["more"] == "kept",
            "{live}"
        );
    }
    Ok(())
}
