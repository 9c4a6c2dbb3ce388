//! Flags, gates, variables, metrics and requests of the running process.

use std::path::PathBuf;

use kind_tests::controller::Settings;
use kind_tests::requests::{Counter, Request};
use kind_tests::{Failure, HELM_CHART, HELM_RELEASE, Kind, Result, SECRET, SHARD_LABEL, ensure};
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::bench::{Bench, MAP, get, until};

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");

/// A ConfigMap with the addresses of a name.
const NAMES: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: names}\ndata:\n  address: {{ getHostByName \"127.0.0.1\" | quote }}\n";

/// The lists and watches of these resources.
fn watched<'a>(requests: &'a [Request], resource: &'a str) -> impl Iterator<Item = &'a Request> {
    let wanted = move |request: &&Request| {
        matches!(&*request.verb, "list" | "watch") && request.resource == resource
    };
    requests.iter().filter(wanted)
}

fn count(requests: &[Request], verb: &str, resource: &str) -> usize {
    let wanted = |request: &&Request| request.verb == verb && request.resource == resource;
    requests.iter().filter(wanted).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_and_flags_change_what_the_process_does() -> Result {
    let mut prepared: Option<(Counter, PathBuf)> = None;
    let bench = Bench::prepared("hr-process", |namespace, artifacts| {
        let folder = namespace.folder();
        std::fs::create_dir_all(&folder)?;
        let (limit, used) = (folder.join("max"), folder.join("current"));
        std::fs::write(&limit, "1000000\n")?;
        std::fs::write(&used, "1000\n")?;
        let user = format!("helm-controller.{}", namespace.name());
        prepared = Some((Counter::start(namespace.cluster(), &user)?, used.clone()));
        Ok(Settings::default()
            .flag("--feature-gates=OOMWatch=true,AdoptLegacyReleases=true,DetectDrift=true,CorrectDrift=true")
            .flag("--feature-gates=DirectSourceFetch=true,DisableConfigWatchers=true,AllowDNSLookups=true")
            .flag("--feature-gates=ObjectLevelWorkloadIdentity=false")
            .flag(format!("--oom-watch-max-memory-path={}", limit.display()))
            .flag(format!("--oom-watch-current-memory-path={}", used.display()))
            .flag("--default-kubeconfig-service-account=default")
            .flag("--kube-api-qps=0.01")
            .flag("--kube-api-burst=1")
            .flag("--enable-leader-election")
            .flag("--log-level=debug")
            .env("HELM_DRIVER", "configmap")
            .env("SOURCE_CONTROLLER_LOCALHOST", artifacts.address().to_string()))
    });
    let mut bench = bench.await?;
    let (counter, used) = prepared.ok_or_else(|| Failure::new("nothing was prepared"))?;
    let ns = bench.namespace.name().to_owned();
    let templates = [("templates/map.yaml", MAP), ("templates/names.yaml", NAMES)];
    let mut artifact = bench.chart("1.0.0", &templates)?;
    // HC-CHART-020, HC-PROC-051: scheme and path stay, the host is replaced
    let url = artifact["url"].as_str().unwrap_or_default().to_owned();
    let own = bench.artifacts.address().to_string();
    artifact["url"] = url
        .replace(&own, "source-controller.flux-system.svc.cluster.local.")
        .into();
    bench.serve(HELM_CHART, "web", &artifact).await?;
    bench.release(json!({})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    ensure!(
        bench.artifacts.take_requests().len() == 1,
        "not fetched once"
    );
    // HC-PROC-033, HC-ACT-096
    let names = bench
        .namespace
        .get(kind_tests::CONFIG_MAP, "names")
        .await?
        .unwrap_or_default();
    ensure!(names["data"]["address"] == "127.0.0.1", "{names}");
    // HC-REL-001
    let secret = bench
        .namespace
        .get(SECRET, "sh.helm.release.v1.web.v1")
        .await?
        .unwrap_or_default();
    ensure!(secret["type"] == "helm.sh/release.v1", "{}", secret["type"]);

    let log = bench.helm.log().clone();
    for (logger, text) in [
        // HC-PROC-034
        ("setup", "setting up OOM watcher"),
        // HC-PROC-035
        (
            "setup",
            "warning: the 'AdoptLegacyReleases' feature gate is ignored and has no effect since v1.5.0",
        ),
        // HC-PROC-040
        ("setup", "DirectSourceFetch feature gate is enabled"),
        // HC-PROC-032
        (
            "setup",
            "the feature gates DetectDrift and CorrectDrift have no effect",
        ),
        // HC-PROC-044
        ("setup", "feature gate is now retired"),
    ] {
        let wanted = |line: &Value| {
            line["logger"] == logger
                && line["level"] == "info"
                && line["msg"]
                    .as_str()
                    .is_some_and(|msg| msg.starts_with(text))
        };
        log.wait(text, wanted).await?;
    }
    // HC-EVT-022, HC-PROC-018
    let running = |line: &Value| line["msg"] == "running 'install' action with timeout of 20s";
    let line = log.wait("of the action", running).await?;
    ensure!(
        line["level"] == "info"
            && line["controller"] == "helmrelease"
            && line["HelmRelease"] == json!({"name": "web", "namespace": ns}),
        "{line}"
    );
    // HC-PROC-057: what Helm logs, which names the objects, is only part of the debug level
    let of_helm = |line: &Value| line["level"] == "debug" && line["msg"] == "creating resource";
    let entries = log.entries();
    let helm: Vec<&Value> = entries
        .iter()
        .filter(|line| line["controller"] == "helmrelease" && line["level"] == "debug")
        .collect();
    ensure!(
        !helm.is_empty(),
        "no debug lines; {:?}",
        entries.iter().any(of_helm)
    );
    // HC-REL-014: that a record is stored is not logged at this level
    ensure!(
        !entries
            .iter()
            .any(|line| line.to_string().contains("sh.helm.release.v1")),
        "{entries:#?}"
    );

    let requests = counter.requests()?;
    // HC-REMOTE-001: without a kubeConfig the process's own client makes the release
    ensure!(count(&requests, "create", "secrets") == 1, "{requests:#?}");
    // HC-PROC-017: one request shows that the server limits clients itself, so that ours do not
    let probes = requests
        .iter()
        .filter(|request| request.uri == "/livez/ping")
        .count();
    ensure!(probes == 1, "{probes} probes");
    // HC-PROC-039
    for resource in ["secrets", "configmaps"] {
        let found: Vec<_> = watched(&requests, resource)
            .filter(|request| request.verb == "watch")
            .collect();
        ensure!(found.is_empty(), "{found:?}");
    }
    // HC-PROC-040
    let before = count(&requests, "get", "helmcharts");
    bench.run().await?;
    let after = count(&counter.requests()?, "get", "helmcharts");
    ensure!(before > 0 && after == before + 1, "{before} {after}");

    // HC-PROC-021
    let selector = hex::encode(Sha256::digest(bench.namespace.selector()));
    let lease = format!("helm-controller-leader-election-{}", &selector[..8]);
    ensure!(
        bench.namespace.get(LEASE, &lease).await?.is_some(),
        "no {lease}"
    );

    // HC-PROC-045
    for path in ["healthz", "readyz"] {
        let (status, body) = get(&bench.helm.health_address(), path).await?;
        ensure!((status, &*body) == (200, "ok"), "{path}: {status} {body}");
    }
    let metrics = bench.helm.metrics_address();
    let duration = format!("kind=\"HelmRelease\",name=\"web\",namespace=\"{ns}\"");
    let series = [
        // HC-PROC-050, HC-PROC-004
        "controller_runtime_reconcile_total{controller=\"helmrelease\",result=\"success\"}",
        "controller_runtime_reconcile_errors_total{controller=\"helmrelease\"} 0",
        "controller_runtime_terminal_reconcile_errors_total{controller=\"helmrelease\"} 0",
        "controller_runtime_reconcile_time_seconds_count{controller=\"helmrelease\"}",
        "controller_runtime_max_concurrent_reconciles{controller=\"helmrelease\"} 4",
        "workqueue_depth{controller=\"helmrelease\",name=\"helmrelease\"",
        "rest_client_requests_total{",
        &format!("leader_election_master_status{{name=\"{lease}\"}} 1"),
        // HC-PROC-047
        &format!("gotk_reconcile_duration_seconds_bucket{{{duration},le=\"0.01\"}}"),
        &format!("gotk_reconcile_duration_seconds_bucket{{{duration},le=\"1799.9999999999986\"}}"),
        &format!("gotk_reconcile_duration_seconds_count{{{duration}}}"),
        // HC-PROC-049
        "gotk_token_cached_items 0",
        "gotk_token_cache_evictions_total 0",
        "gotk_token_cache_requests_total{status=\"success\"} 0",
        // HC-PROC-052
        "controller_runtime_reconcile_panics_total{controller=\"helmrelease\"} 0",
    ];
    let page = bench.helm.metrics_with(&series).await?;
    let bounds = page
        .matches(&format!(
            "gotk_reconcile_duration_seconds_bucket{{{duration}"
        ))
        .count();
    ensure!(bounds == 11, "{bounds} buckets");
    // HC-PROC-048
    ensure!(
        !page.contains("gotk_reconcile_condition") && !page.contains("gotk_suspend_status"),
        "{page}"
    );
    // HC-PROC-046
    let (status, body) = get(&metrics, "debug/pprof/cmdline").await?;
    ensure!(
        status == 200 && body.contains("helm-controller"),
        "{status} {body}"
    );

    // HC-PROC-047: a run of a suspended object counts
    let runs = format!("gotk_reconcile_duration_seconds_count{{{duration}}} ");
    let counted = async || {
        let page = bench.helm.metrics().await?;
        let line = page.lines().find_map(|line| line.strip_prefix(&*runs));
        Ok::<_, Failure>(line.map(str::to_owned))
    };
    let before = counted().await?;
    bench
        .namespace
        .merge(HELM_RELEASE, "web", json!({"spec": {"suspend": true}}))
        .await?;
    until("the run is counted", async || {
        Ok((counted().await? != before).then_some(()))
    })
    .await?;
    // HC-UNI-018
    bench
        .namespace
        .merge(HELM_RELEASE, "web", json!({"spec": {"suspend": false}}))
        .await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    until("the series is gone", async || {
        Ok(counted().await?.is_none().then_some(()))
    })
    .await?;

    // HC-PROC-034, HC-PROC-055
    std::fs::write(&used, "990000\n")?;
    let near = |line: &Value| {
        line["msg"].as_str().is_some_and(|msg| {
            msg.starts_with("Memory usage is near OOM (") && msg.ends_with("), shutting down")
        })
    };
    log.wait("of the memory", near).await?;
    until("the process ends", async || {
        Ok((!bench.helm.runs()).then_some(()))
    })
    .await?;
    let status = bench.helm.terminate().await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_selected_objects_are_watched() -> Result {
    let mut started = None;
    let bench = Bench::prepared("hr-scope", |namespace, artifacts| {
        let user = format!("helm-controller.{}", namespace.name());
        started = Some(Counter::start(namespace.cluster(), &user)?);
        Ok(Settings::default()
            .flag("--watch-all-namespaces=false")
            .flag("--log-level=trace")
            .env("SOURCE_WATCHER_LOCALHOST", artifacts.address().to_string()))
    });
    let bench = bench.await?;
    let counter = started.ok_or_else(|| Failure::new("nothing was prepared"))?;
    let ns = bench.namespace.name().to_owned();
    // Another process's object: it has no label.
    let object = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1, "metadata": {"name": "other"},
        "spec": {"interval": "1h", "chartRef": {"kind": "HelmChart", "name": "web"}}});
    let object: DynamicObject = serde_json::from_value(object)?;
    let api = bench.namespace.api(HELM_RELEASE).await?;
    api.create(&PostParams::default(), &object).await?;

    let mut artifact = bench.chart(
        "1.0.0",
        &[("templates/map.yaml", MAP), ("templates/names.yaml", NAMES)],
    )?;
    // HC-CHART-020
    let url = artifact["url"].as_str().unwrap_or_default().to_owned();
    let own = bench.artifacts.address().to_string();
    artifact["url"] = url
        .replace(&own, "source-watcher.flux-system.svc.cluster.local.")
        .into();
    bench.serve(HELM_CHART, "web", &artifact).await?;
    let base = "{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {values.yaml: 'text: from-map'}}";
    bench.namespace.apply(base).await?;
    let annotated = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1,
        "metadata": {"name": "web", "annotations": {"event.toolkit.fluxcd.io/team": "a", "other": "b"}},
        "spec": {"interval": "1h", "timeout": "20s", "chartRef": {"kind": "HelmChart", "name": "web"},
            "valuesFrom": [{"kind": "ConfigMap", "name": "base"}]}});
    bench.namespace.apply(&annotated.to_string()).await?;
    let object = bench.says("True", "InstallSucceeded", "").await?;
    // HC-ACT-004: the finalizer is a write of its own, before any other
    ensure!(
        object["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"]),
        "{object}"
    );
    let requests = counter.requests()?;
    let first = requests.iter().find(|request| {
        request.resource.starts_with("helmreleases")
            && !matches!(&*request.verb, "list" | "watch" | "get")
    });
    let first = first.ok_or_else(|| Failure::new("no write"))?;
    ensure!(
        (&*first.verb, &*first.resource) == ("patch", "helmreleases"),
        "{first:?}"
    );
    // HC-ACT-011: the status has the controller's field manager
    let managers = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of_status = managers
        .iter()
        .filter(|entry| entry["subresource"] == "status");
    ensure!(
        of_status.clone().count() > 0
            && of_status
                .clone()
                .all(|entry| entry["manager"] == "helm-controller"),
        "{managers:?}"
    );
    // HC-PROC-033: without the gate no name is resolved
    let names = bench
        .namespace
        .get(kind_tests::CONFIG_MAP, "names")
        .await?
        .unwrap_or_default();
    ensure!(names["data"]["address"] == "", "{names}");
    // HC-EVT-014, HC-EVT-015
    let event = bench.event("InstallSucceeded", "").await?;
    ensure!(
        event["metadata"]["event.toolkit.fluxcd.io/team"] == "a",
        "{event}"
    );
    let about = json!([
        event["involvedObject"]["kind"],
        event["involvedObject"]["name"],
        event["involvedObject"]["namespace"]
    ]);
    ensure!(about == json!(["HelmRelease", "web", ns]), "{event}");
    ensure!(
        event["severity"] == "info"
            && event["reportingController"] == "helm-controller"
            && event["action"].is_string(),
        "{event}"
    );
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    ensure!(event["reportingInstance"] == host.trim(), "{event}"); // HC-PROC-051

    // HC-PROC-025
    let own = format!("/namespaces/{ns}/");
    let mut found = 0;
    for resource in [
        "helmreleases",
        "helmcharts",
        "ocirepositories",
        "configmaps",
        "secrets",
    ] {
        for request in watched(&requests, resource).filter(|request| request.uri.contains("watch="))
        {
            ensure!(request.uri.contains(&own), "{request:?}");
            found += 1;
            // HC-PROC-026: only HelmReleases are selected by it
            let sharded = request.uri.contains(&SHARD_LABEL.replace('/', "%2F"));
            ensure!(sharded == (resource == "helmreleases"), "{request:?}");
        }
    }
    ensure!(found >= 5, "{requests:#?}");
    // HC-PROC-031: values are read one by one
    ensure!(count(&requests, "get", "configmaps") > 0, "{requests:#?}");
    // HC-PROC-026: the other object is not even finalized
    let other = bench
        .namespace
        .get(HELM_RELEASE, "other")
        .await?
        .unwrap_or_default();
    ensure!(
        other["metadata"]["finalizers"].is_null()
            && other["status"] == json!({"observedGeneration": -1}),
        "{other}"
    );
    // HC-PROC-018, HC-PROC-052: nothing panicked, and everything is logged with its level
    let levels = ["trace", "debug", "info", "error"];
    let entries = bench.helm.log().entries();
    ensure!(
        entries
            .iter()
            .all(|line| levels.iter().any(|level| line["level"] == *level)),
        "{entries:#?}"
    );
    bench.events.check()
}

// HC-PROC-031
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configs_can_be_cached() -> Result {
    let gate = "--feature-gates=CacheSecretsAndConfigMaps=true";
    let bench = Bench::with("hr-cached", Settings::default().flag(gate)).await?;
    let base = "{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, data: {values.yaml: 'text: from-map'}}";
    bench.namespace.apply(base).await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let counter = Counter::start(bench.namespace.cluster(), bench.helm.user())?;
    bench.release(json!({"valuesFrom": [{"kind": "ConfigMap", "name": "base"}], "driftDetection": {"mode": "disabled"}})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    ensure!(bench.text().await? == "from-map", "the values");
    let requests = counter.requests()?;
    let reads = requests
        .iter()
        .filter(|request| request.verb == "get" && request.uri.contains("/configmaps/base"));
    ensure!(reads.count() == 0, "{requests:#?}");
    Ok(())
}
