//! Applying, pruning and waiting (`shared/apply`), on a real API server.

use std::time::Duration;

use flux_apply::{
    Cluster as Target, Memory, Object, ObjectId, Options, PruneOptions, WaitOptions,
    apply_in_stages, delete_all, inventory, managers, normalise, parse, wait_for_termination,
    wait_until_current,
};
use kind_tests::requests::Counter;
use kind_tests::{
    CONFIG_MAP, Cluster, DEPLOYMENT, Doing, Failure, Kind, Namespace, Result, SECRET,
};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

const MANAGER: &str = "kustomize-controller";
const GROUP: &str = "kustomize.toolkit.fluxcd.io";

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(Failure::new(format!($($text)+)));
        }
    };
}

/// Something to apply with: a namespace, a cluster seen by a user of its own, and what is remembered.
struct Bench {
    namespace: Namespace,
    user: String,
    target: Target,
    memory: Memory,
}

impl Bench {
    async fn new(topic: &str) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, topic).await?;
        let user = format!("{}-applier", namespace.name());
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_for(&user)?)?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let target = Target::new(Client::try_from(config)?, MANAGER);
        Ok(Self {
            namespace,
            user,
            target,
            memory: Memory::default(),
        })
    }

    /// The objects of a YAML text, in this namespace and ours; cluster-scoped ones stay as they are.
    fn objects(&self, yaml: &str) -> Result<Vec<Object>> {
        let text = yaml.replace("${namespace}", self.namespace.name());
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).doing("read the test's YAML")?;
        let mut objects = parse::objects(documents);
        let (name, namespace) = (self.namespace.name().to_owned(), "flux".to_owned());
        for object in &mut objects {
            let keys = [format!("{GROUP}/name"), format!("{GROUP}/namespace")];
            object.set_metadata(
                flux_apply::Metadata::Labels,
                keys.iter().zip([&name, &namespace]),
            );
            normalise::normalise(object);
        }
        Ok(objects)
    }

    fn selector(&self) -> String {
        format!(
            "{GROUP}/name={},{GROUP}/namespace=flux",
            self.namespace.name()
        )
    }

    fn options(&self) -> Options {
        let pair = |key: &str, value: &str| vec![(format!("{GROUP}/{key}"), value.to_owned())];
        let manager = |prefix: &str, operation| managers::FieldManager {
            prefix: prefix.to_owned(),
            operation,
        };
        Options {
            exclusions: [pair("reconcile", "disabled"), pair("ssa", "Ignore")].concat(),
            if_not_present: pair("ssa", "IfNotPresent"),
            force_selector: pair("force", "Enabled"),
            cleanup: managers::Cleanup {
                annotations: vec!["kubectl.kubernetes.io/last-applied-configuration".to_owned()],
                managers: vec![manager("kubectl", managers::Operation::Update)],
                exclusions: pair("ssa", "Merge"),
                ..managers::Cleanup::default()
            },
            concurrency: 4,
            known_by: Some(self.selector()),
            ..Options::default()
        }
    }

    fn prune_options(&self) -> PruneOptions {
        PruneOptions {
            owned_by: vec![
                (format!("{GROUP}/name"), self.namespace.name().to_owned()),
                (format!("{GROUP}/namespace"), "flux".to_owned()),
            ],
            exclusions: vec![
                (format!("{GROUP}/prune"), "disabled".to_owned()),
                (format!("{GROUP}/reconcile"), "disabled".to_owned()),
                (format!("{GROUP}/ssa"), "Ignore".to_owned()),
            ],
        }
    }

    async fn apply_with(&mut self, yaml: &str, options: &Options) -> Result<String> {
        let objects = self.objects(yaml)?;
        let changes = apply_in_stages(&self.target, objects, options, &mut self.memory).await?;
        Ok(changes.to_string().replace(self.namespace.name(), "ns"))
    }

    async fn apply(&mut self, yaml: &str) -> Result<String> {
        let options = self.options();
        self.apply_with(yaml, &options).await
    }

    /// Why applying fails.
    async fn refused(&mut self, yaml: &str, options: &Options) -> Result<String> {
        match self.apply_with(yaml, options).await {
            Ok(changes) => Err(Failure::new(format!("was applied: {changes}"))),
            Err(error) => Ok(error.to_string().replace(self.namespace.name(), "ns")),
        }
    }

    async fn uid(&self, kind: Kind, name: &str) -> Result<String> {
        let object = self.namespace.get(kind, name).await?.unwrap_or_default();
        Ok(object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }
}

fn config_map(name: &str, extra: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: '${{namespace}}'{extra}}}, data: {{k: v}}}}\n"
    )
}

// KC-SSA-018 KC-SSA-019 KC-SSA-020 KC-SSA-022 RT-SSA-008 RT-SSA-009 RT-SSA-010
#[tokio::test]
async fn objects_are_made_changed_when_they_drift_and_left_alone_otherwise() -> Result {
    let mut bench = Bench::new("apply-drift").await?;
    let yaml = config_map("a", "") + &config_map("b", ", labels: {x: z}");
    let made = bench.apply(&yaml).await?;
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
    // The Deployments' own controller writes their status meanwhile; this may not be taken for drift.
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

    // A single object that was touched is looked at, the others are not.
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

// RT-SSA-011 RT-SSA-012 KC-SSA-015 KC-SSA-016 KC-SSA-017
#[tokio::test]
async fn objects_that_say_so_are_left_alone() -> Result {
    let mut bench = Bench::new("apply-skip").await?;
    let note = |pair: &str| format!(", annotations: {{{GROUP}/{pair}}}");
    let yaml = config_map("ignored", &note("ssa: ignore"))
        + &config_map(
            "left",
            &format!(", labels: {{{GROUP}/reconcile: disabled}}"),
        )
        + &config_map("once", &note("ssa: IfNotPresent"));
    let changes = bench.apply(&yaml).await?;
    let want = "ConfigMap/ns/ignored skipped\nConfigMap/ns/left skipped\nConfigMap/ns/once created";
    ensure!(changes == want, "{changes}");
    bench
        .namespace
        .merge(CONFIG_MAP, "once", json!({ "data": { "k": "mine" } }))
        .await?;
    bench.memory.forget();
    let changes = bench.apply(&yaml).await?;
    ensure!(
        changes == want.replace("once created", "once skipped"),
        "{changes}"
    );
    ensure!(
        bench.namespace.names(CONFIG_MAP).await? == ["kube-root-ca.crt", "once"],
        "something else was made"
    );

    // What the live object says counts too, and at once.
    let plain = config_map("plain", "");
    bench.apply(&plain).await?;
    let off = json!({ "metadata": { "annotations": { format!("{GROUP}/reconcile"): "disabled" } }, "data": { "k": "x" } });
    bench.namespace.merge(CONFIG_MAP, "plain", off).await?;
    let changes = bench.apply(&plain).await?;
    ensure!(changes == "ConfigMap/ns/plain skipped", "{changes}");
    Ok(())
}

// RT-SSA-013 RT-SSA-017 KC-SSA-028 KC-SSA-031
#[tokio::test]
async fn an_immutable_field_needs_force() -> Result {
    let mut bench = Bench::new("apply-force").await?;
    let secret = |value: &str, extra: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: '${{namespace}}'{extra}}}, immutable: true, stringData: {{k: {value}}}}}"
        )
    };
    bench.apply(&secret("one", "")).await?;
    let uid = bench.uid(SECRET, "s").await?;
    let options = bench.options();
    let error = bench.refused(&secret("two", ""), &options).await?;
    let want = "Secret/ns/s dry-run failed (Invalid): Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set\n";
    ensure!(error == want, "{error:?}");
    ensure!(
        bench.uid(SECRET, "s").await? == uid,
        "it was recreated without leave"
    );

    let changes = bench
        .apply_with(
            &secret("two", ""),
            &Options {
                force: true,
                ..bench.options()
            },
        )
        .await?;
    ensure!(changes == "Secret/ns/s created", "{changes}");
    let second = bench.uid(SECRET, "s").await?;
    ensure!(second != uid, "it was not recreated");
    let changes = bench
        .apply(&secret(
            "three",
            &format!(", annotations: {{{GROUP}/force: enabled}}"),
        ))
        .await?;
    ensure!(changes == "Secret/ns/s created", "{changes}");
    Ok(())
}

// RT-SSA-014 KC-SSA-023 KC-SSA-024 KC-SSA-025 KC-SSA-026
#[tokio::test]
async fn what_kubectl_left_behind_is_taken_over() -> Result {
    let mut bench = Bench::new("apply-takeover").await?;
    let api = bench.namespace.api(CONFIG_MAP).await?;
    let edited: kube::api::DynamicObject = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "c", "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
        "data": { "k": "v", "extra": "by hand" },
    }))?;
    let by = |manager: &str| kube::api::PostParams {
        field_manager: Some(manager.to_owned()),
        ..Default::default()
    };
    api.create(&by("kubectl-client-side-apply"), &edited)
        .await?;

    let merge = config_map("c", &format!(", annotations: {{{GROUP}/ssa: merge}}"));
    bench.apply(&merge).await?;
    let live = bench
        .namespace
        .get(CONFIG_MAP, "c")
        .await?
        .unwrap_or_default();
    ensure!(
        live["data"]["extra"] == "by hand",
        "merging took over: {live}"
    );

    // The annotation on the live object still counts in the run that takes it away.
    bench.apply(&config_map("c", "")).await?;
    let changes = bench.apply(&config_map("c", "")).await?;
    ensure!(changes == "ConfigMap/ns/c configured", "{changes}");
    let live = bench
        .namespace
        .get(CONFIG_MAP, "c")
        .await?
        .unwrap_or_default();
    ensure!(
        live["data"] == json!({ "k": "v" }),
        "the edit stayed: {live}"
    );
    ensure!(
        live["metadata"].get("annotations").is_none(),
        "the annotation stayed: {live}"
    );
    let managers: Vec<&Value> = live["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["manager"])
        .collect();
    ensure!(managers == [MANAGER], "{managers:?}");
    Ok(())
}

// RT-SSA-005 KC-SSA-009 KC-SSA-010 KC-SSA-012 KC-SSA-033
#[tokio::test]
async fn definitions_come_first_and_a_bad_object_stops_its_stage_only() -> Result {
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

    // The whole goes in the reverse order.
    let objects = bench.objects(&yaml)?;
    let tracked: Vec<inventory::Tracked> = objects
        .iter()
        .map(|object| inventory::Tracked {
            id: object.id(),
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

// RT-SSA-018 RT-SSA-022 KC-PRUNE-006 KC-PRUNE-007 KC-PRUNE-016
#[tokio::test]
async fn only_what_is_provably_ours_is_deleted() -> Result {
    let mut bench = Bench::new("apply-prune").await?;
    let note = |pair: &str| format!(", annotations: {{{GROUP}/{pair}}}");
    let yaml = config_map("gone", "")
        + &config_map("kept", &note("prune: disabled"))
        + &config_map("once", &note("ssa: IfNotPresent"))
        + &config_map("held", ", finalizers: [example.com/hold]")
        + &config_map("taken", "");
    let objects = bench.objects(&yaml)?;
    let options = bench.options();
    let changes = apply_in_stages(&bench.target, objects, &options, &mut bench.memory).await?;
    let others = json!({ "metadata": { "labels": { format!("{GROUP}/name"): "another" } } });
    bench.namespace.merge(CONFIG_MAP, "taken", others).await?;
    let mut tracked = inventory::list(&inventory::of(&changes))?;
    let ghost = ObjectId {
        name: "ghost".into(),
        kind: "ConfigMap".into(),
        namespace: bench.namespace.name().into(),
        group: String::new(),
    };
    tracked.push(inventory::Tracked {
        id: ghost,
        version: "v1".into(),
    });

    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    let text = pruned
        .changes
        .to_string()
        .replace(bench.namespace.name(), "ns");
    let want = "ConfigMap/ns/taken skipped\nConfigMap/ns/once deleted\nConfigMap/ns/kept skipped\nConfigMap/ns/held deleted\nConfigMap/ns/gone deleted\nConfigMap/ns/ghost deleted";
    ensure!(text == want, "{text}");
    ensure!(pruned.error.is_none(), "{:?}", pruned.error);
    let held =
        wait_for_termination(&bench.target, &pruned.changes, Duration::from_millis(300)).await;
    let held = held
        .err()
        .map(|error| error.to_string().replace(bench.namespace.name(), "ns"));
    ensure!(
        held.as_deref() == Some("ConfigMap/ns/held termination timeout: context deadline exceeded"),
        "{held:?}"
    );
    let (waiting, freeing) = tokio::join!(
        wait_for_termination(&bench.target, &pruned.changes, kind_tests::deadline()),
        bench.namespace.merge(
            CONFIG_MAP,
            "held",
            json!({ "metadata": { "finalizers": null } })
        ),
    );
    waiting?;
    freeing?;
    ensure!(
        bench.namespace.names(CONFIG_MAP).await? == ["kept", "kube-root-ca.crt", "taken"],
        "not what was expected is left"
    );
    Ok(())
}

// RT-SSA-020 KC-HEALTH-005 KC-HEALTH-006 KC-HEALTH-008
#[tokio::test]
async fn a_wait_ends_with_the_event_that_decides_it() -> Result {
    let bench = Bench::new("apply-wait").await?;
    let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {suspend: false, backoffLimit: 0, template: {spec: {restartPolicy: Never,
        nodeSelector: {nowhere: 'true'}, containers: [{name: c, image: i}]}}}}";
    bench.namespace.apply(job).await?;
    let id = |kind: &str, group: &str, name: &str| flux_apply::Target {
        id: ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: bench.namespace.name().into(),
            name: name.into(),
        },
        version: None,
    };
    let targets = [
        id("Job", "batch", "j"),
        id("ConfigMap", "", "later"),
        id("Thing", "nowhere.io", "t"),
    ];
    let options = |timeout| WaitOptions {
        timeout,
        ..WaitOptions::default()
    };
    let error = wait_until_current(&bench.target, &targets, &options(Duration::from_secs(2))).await;
    let error = error
        .err()
        .map(|error| error.to_string().replace(bench.namespace.name(), "ns"))
        .unwrap_or_default();
    let want = "timeout waiting for: [Job/ns/j status: 'InProgress', ConfigMap/ns/later status: 'NotFound', Thing/ns/t status: 'Unknown': no matches for kind \"Thing\" in group \"nowhere.io\"]";
    ensure!(error == want, "{error}");

    let targets = [id("Job", "batch", "j"), id("ConfigMap", "", "later")];
    let options = options(kind_tests::deadline());
    let (waited, changed) = tokio::join!(
        wait_until_current(&bench.target, &targets, &options),
        async {
            bench
                .namespace
                .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: later}}")
                .await?;
            bench
                .namespace
                .merge(
                    Kind("batch/v1", "Job"),
                    "j",
                    json!({ "spec": { "suspend": true } }),
                )
                .await
        }
    );
    changed?;
    waited?;

    let homeless = flux_apply::Target {
        id: ObjectId {
            kind: "Pod".into(),
            name: "p".into(),
            ..ObjectId::default()
        },
        version: None,
    };
    let error = wait_until_current(&bench.target, &[homeless], &options)
        .await
        .err()
        .map(|error| error.to_string());
    ensure!(
        error.as_deref() == Some("resource Pod p is namespace scoped, but namespace is not set"),
        "{error:?}"
    );
    Ok(())
}

// RT-SSA-016 KC-SSA-040 KC-SSA-041
#[tokio::test]
async fn ignored_fields_belong_to_others() -> Result {
    let mut bench = Bench::new("apply-ignore").await?;
    let deployment = |image: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d, namespace: '${{namespace}}'}}, spec: {{replicas: 0, selector: {{matchLabels: {{a: b}}}},
               template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: {image}}}]}}}}}}}}"
        )
    };
    let rule = flux_api::meta::IgnoreRule {
        paths: vec!["/spec/replicas".to_owned()],
        target: None,
    };
    let options = |bench: &Bench| -> Result<Options> {
        Ok(Options {
            ignore: flux_apply::ignore::IgnoreRules::compile(std::slice::from_ref(&rule))?,
            ..bench.options()
        })
    };
    let first = options(&bench)?;
    bench.apply_with(&deployment("one"), &first).await?;
    bench
        .namespace
        .merge(DEPLOYMENT, "d", json!({ "spec": { "replicas": 3 } }))
        .await?;
    let changes = bench.apply_with(&deployment("one"), &first).await?;
    ensure!(changes == "Deployment/ns/d unchanged", "{changes}");
    let changes = bench.apply_with(&deployment("two"), &first).await?;
    ensure!(changes == "Deployment/ns/d configured", "{changes}");
    let live = bench
        .namespace
        .get(DEPLOYMENT, "d")
        .await?
        .unwrap_or_default();
    ensure!(
        live["spec"]["replicas"] == json!(3),
        "the scaled value was lost"
    );
    Ok(())
}

// KC-SSA-030
#[tokio::test]
async fn force_deletes_nothing_that_could_not_be_made_again() -> Result {
    let mut bench = Bench::new("apply-invalid").await?;
    let service = |ports: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: '${{namespace}}'}}, spec: {{selector: {{a: b}}, ports: [{ports}]}}}}"
        )
    };
    bench.apply(&service("{port: 80}")).await?;
    let kind = Kind("v1", "Service");
    let uid = bench.uid(kind, "s").await?;
    let force = Options {
        force: true,
        ..bench.options()
    };
    let error = bench.refused(&service("{port: 70000}"), &force).await?;
    let head =
        "Service/ns/s dry-run failed (Invalid): Service \"s\" is invalid: [spec.ports[0].port:";
    ensure!(error.starts_with(head), "{error}");
    ensure!(bench.uid(kind, "s").await? == uid, "it was deleted");
    Ok(())
}

// KC-BLD-037 KC-SSA-008
#[tokio::test]
async fn a_namespace_on_an_object_that_has_none_is_dropped() -> Result {
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

    let objects = bench.objects(yaml)?;
    let options = bench.options();
    let changes = apply_in_stages(&bench.target, objects, &options, &mut bench.memory).await?;
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
    ensure!(bench.apply("").await?.is_empty(), "nothing was asked for");
    Ok(())
}

/// Whoever acts for a tenant may have leave to read and to write, but neither to list nor to watch.
// KC-SSA-014
#[tokio::test]
async fn reading_is_enough_where_watching_is_not_allowed() -> Result {
    let mut bench = Bench::new("apply-tenant").await?;
    let user = format!("tenant-of-{}", bench.namespace.name());
    let rules = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: tenant}}, rules: [
           {{apiGroups: [''], resources: [configmaps], verbs: [get, create, patch, delete]}}]}}
---
{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: tenant}},
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}},
  subjects: [{{kind: User, apiGroup: rbac.authorization.k8s.io, name: {user}}}]}}"
    );
    bench.namespace.apply(&rules).await?;
    let kubeconfig = Kubeconfig::read_from(bench.namespace.cluster().kubeconfig_for(&bench.user)?)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user);
    bench.target = bench.target.acting_as(Client::try_from(config)?);

    let changes = bench.apply(&config_map("c", "")).await?;
    ensure!(changes == "ConfigMap/ns/c created", "{changes}");
    let changes = bench.apply(&config_map("c", "")).await?;
    ensure!(changes == "ConfigMap/ns/c unchanged", "{changes}");
    let id = |kind: &str| ObjectId {
        kind: kind.into(),
        namespace: bench.namespace.name().into(),
        name: "c".into(),
        ..ObjectId::default()
    };
    let options = WaitOptions {
        timeout: kind_tests::deadline(),
        ..WaitOptions::default()
    };
    wait_until_current(
        &bench.target,
        &[flux_apply::Target::of(&id("ConfigMap"), "v1")],
        &options,
    )
    .await?;
    let brief = WaitOptions {
        timeout: Duration::from_secs(1),
        ..options
    };
    let secret = flux_apply::Target::of(&id("Secret"), "v1");
    let error = wait_until_current(&bench.target, &[secret], &brief).await;
    let error = error
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(
        error.contains("status: 'Unknown': secrets \"c\" is forbidden:"),
        "{error}"
    );

    let tracked = [inventory::Tracked {
        id: id("ConfigMap"),
        version: "v1".into(),
    }];
    let pruned = delete_all(&bench.target, &tracked, &bench.prune_options()).await;
    wait_for_termination(&bench.target, &pruned.changes, kind_tests::deadline()).await?;
    Ok(())
}
