//! Feature gates and flags take effect.

use kind_tests::controller::Settings;
use kind_tests::requests::{Counter, Request};
use kind_tests::{Applier, CONFIG_MAP, DEPLOYMENT, Kind, Result, ensure};
use serde_json::{Value, json};

use crate::config_map;

const SUBSTITUTED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: out}\ndata: {map: '${map}', secret: '${secret}', both: '${both}', inline: '${inline}'}\n";

/// The sources of `out`.
const CONFIGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: vars, labels: {reconcile.fluxcd.io/watch: Enabled}}
data: {map: m, both: from-map, inline: from-map}
binaryData: {unused-because-binary: AAAA}
---
apiVersion: v1
kind: Secret
metadata: {name: vars}
stringData: {secret: \"s\\n\", both: from-secret}
";

const POST_BUILD: &str = "postBuild: {substitute: {inline: 'i'}, substituteFrom: [{kind: ConfigMap, name: vars}, \
    {kind: Secret, name: vars}, {kind: Secret, name: nowhere, optional: true}]}";

fn gate(gate: &str) -> Settings {
    Settings::default().flag(format!("--feature-gates={gate}"))
}

async fn substituting(topic: &str, settings: Settings) -> Result<Applier> {
    let applier = Applier::start(topic, settings).await?;
    applier.namespace.apply(CONFIGS).await?;
    applier
        .publish("main@sha1:1", &[("out.yaml", SUBSTITUTED)])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true", POST_BUILD]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    let out = applier
        .namespace
        .get(CONFIG_MAP, "out")
        .await?
        .unwrap_or_default();
    // KC-SUB-004, KC-SUB-005, KC-SUB-006
    assert_eq!(
        out["data"],
        json!({"map": "m", "secret": "s", "both": "from-secret", "inline": "i"})
    );
    Ok(applier)
}

/// The requests of one run for these resources.
///
/// Earlier changes by the test may trigger one more run when the controller sees them, so the count begins with a new
/// process: it finds everything in its initial lists, which trigger the run that is requested first.
async fn requests_of_a_run(applier: &mut Applier, resources: &[&str]) -> Result<Vec<Request>> {
    applier.kustomize.terminate().await?;
    applier.kustomize.restart().await?;
    applier.run("app").await?;
    let counter = Counter::start(applier.namespace.cluster(), applier.kustomize.user())?;
    applier.run("app").await?;
    let mut requests = counter.requests()?;
    requests.retain(|request| resources.contains(&request.resource.as_str()));
    Ok(requests)
}

#[tokio::test]
async fn configs_are_read_once_per_run_and_trigger_a_reconcile_on_change() -> Result {
    let mut applier = substituting("configs", Settings::default()).await?;
    // KC-SUB-011, KC-PROC-029: each reference once, from the API server
    let asked = requests_of_a_run(&mut applier, &["configmaps", "secrets"]).await?;
    let gets: Vec<&Request> = asked
        .iter()
        .filter(|request| request.verb == "get")
        .collect();
    assert_eq!(gets.len(), 3, "{asked:#?}");
    // KC-DEP-015, KC-PROC-025
    let changed = json!({"data": {"map": "changed"}});
    applier.namespace.merge(CONFIG_MAP, "vars", changed).await?;
    applier
        .namespace
        .wait(CONFIG_MAP, "out", "follows", |out| {
            out["data"]["map"] == "changed"
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn configs_can_be_cached() -> Result {
    let mut applier = substituting("cached", gate("CacheSecretsAndConfigMaps=true")).await?;
    // KC-PROC-029
    let asked = requests_of_a_run(&mut applier, &["configmaps", "secrets"]).await?;
    ensure!(
        !asked.iter().any(|request| request.verb == "get"),
        "{asked:#?}"
    );
    applier
        .namespace
        .merge(CONFIG_MAP, "vars", json!({"data": {"map": "changed"}}))
        .await?;
    applier
        .namespace
        .wait(CONFIG_MAP, "out", "follows", |out| {
            out["data"]["map"] == "changed"
        })
        .await?;
    // An object that is not in the cache is reported missing with the text of upstream's cache.
    applier.namespace.delete(CONFIG_MAP, "vars").await?;
    applier
        .says(
            "app",
            "BuildFailed",
            "post build failed for 'ConfigMap.v1.[noGrp]/out': substitute from 'ConfigMap/vars' error: ConfigMap \"vars\" not found",
        )
        .await?;
    Ok(())
}

#[tokio::test]
async fn flags_select_the_watched_objects() -> Result {
    let watched = async |settings: Settings, topic: &str| -> Result<Vec<String>> {
        let mut applier = Applier::start(topic, settings).await?;
        applier
            .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
            .await?;
        applier
            .namespace
            .apply(&applier.kustomization("app", &["prune: true"]))
            .await?;
        applier.applied("app", "main@sha1:1").await?;
        applier.kustomize.terminate().await?;
        let counter = Counter::start(applier.namespace.cluster(), applier.kustomize.user())?;
        applier.kustomize.restart().await?;
        applier.run("app").await?;
        let namespace = applier.namespace.name().to_owned();
        let requests = counter
            .requests()?
            .into_iter()
            .filter(|request| request.verb == "watch");
        Ok(requests
            .map(|request| request.uri.replace(&namespace, "NS"))
            .collect())
    };
    // KC-PROC-025
    let flag = Settings::default().flag("--watch-configs-label-selector=team=a");
    let uris = watched(flag, "labels").await?;
    for resource in ["configmaps", "secrets"] {
        let of = format!("/api/v1/{resource}?");
        ensure!(
            uris.iter()
                .any(|uri| uri.starts_with(&of) && uri.contains("labelSelector=team%3Da")),
            "{uris:#?}"
        );
    }
    // KC-PROC-037
    let uris = watched(gate("DisableConfigWatchers=true"), "no-configs").await?;
    ensure!(
        !uris
            .iter()
            .any(|uri| uri.contains("configmaps") || uri.contains("secrets")),
        "{uris:#?}"
    );
    ensure!(
        uris.iter()
            .any(|uri| uri.starts_with("/apis/source.toolkit.fluxcd.io/v1/gitrepositories?")),
        "{uris:#?}"
    );
    // KC-PROC-023, KC-PROC-042
    let uris = watched(
        Settings::default().flag("--watch-all-namespaces=false"),
        "one-ns",
    )
    .await?;
    ensure!(
        !uris.is_empty() && uris.iter().all(|uri| uri.contains("/namespaces/NS/")),
        "{uris:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn source_reads_can_bypass_the_cache() -> Result {
    let direct = gate("DirectSourceFetch=true");
    for (settings, reads) in [(Settings::default(), 0), (direct, 1)] {
        let mut applier = Applier::start("direct", settings).await?;
        applier
            .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
            .await?;
        applier
            .namespace
            .apply(&applier.kustomization("app", &["prune: true"]))
            .await?;
        applier.applied("app", "main@sha1:1").await?;
        // KC-PROC-038
        let asked = requests_of_a_run(&mut applier, &["gitrepositories"]).await?;
        assert_eq!(asked.len(), reads, "{asked:#?}");
        let said = applier.kustomize.log().entries();
        let said = said.iter().any(|line| {
            let text = line["msg"].as_str();
            line["level"] == "info" && text.is_some_and(|text| text.contains("DirectSourceFetch"))
        });
        assert_eq!(said, reads == 1);
    }
    Ok(())
}

// SC-EXT-005, SC-EXT-007, KC-PROC-035
#[tokio::test]
async fn external_artifacts_are_applied_behind_their_gate() -> Result {
    const SOURCE: Kind = Kind("source.toolkit.fluxcd.io/v1", "ExternalArtifact");
    let applier = Applier::start("external", gate("ExternalArtifact=true")).await?;
    let publish = async |revision: &str, value: &str| {
        let files = [("a.yaml", config_map("a", value))];
        let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
        let name = revision.replace([':', '@'], "-");
        let artifact = applier.artifacts.put(&name, revision, &files)?;
        applier.serve(SOURCE, "app", &artifact).await
    };
    publish("latest@sha256:1", "1").await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    let yaml = yaml.replace("kind: GitRepository", "kind: ExternalArtifact");
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "latest@sha256:1").await?;
    // A new revision is applied at once, as that of any source.
    publish("latest@sha256:2", "2").await?;
    applier.applied("app", "latest@sha256:2").await?;
    let map = applier.namespace.get(CONFIG_MAP, "a").await?;
    ensure!(
        map.as_ref().is_some_and(|map| map["data"]["v"] == "2"),
        "{map:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_change_log_can_be_grouped() -> Result {
    let applier = Applier::start("grouped", gate("GroupChangeLog=true")).await?;
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
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    // KC-PROC-033, KC-SSA-036
    let line = applier
        .kustomize
        .log()
        .wait("of what was applied", |line| {
            line["msg"] == "server-side apply completed"
        })
        .await?;
    let namespace = applier.namespace.name();
    let created = [
        format!("ConfigMap/{namespace}/a"),
        format!("ConfigMap/{namespace}/b"),
    ];
    assert_eq!(line["output"], json!({"created": created}));
    Ok(())
}

#[tokio::test]
async fn non_strict_substitution_can_be_enabled() -> Result {
    let lenient = gate("StrictPostBuildSubstitutions=false");
    let applier = Applier::start("lenient", lenient).await?;
    let text = config_map("a", "<${unset}>");
    applier.publish("main@sha1:1", &[("a.yaml", &text)]).await?;
    let spec = ["prune: true", "postBuild: {substituteStrategy: Always}"];
    applier
        .namespace
        .apply(&applier.kustomization("app", &spec))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    // KC-PROC-032
    let map = applier
        .namespace
        .get(CONFIG_MAP, "a")
        .await?
        .unwrap_or_default();
    assert_eq!(map["data"]["v"], "<>");
    Ok(())
}

// Its status comes later than the answer to the write, so that it is read.
const SCALED_TO_ZERO: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n\
    spec: {replicas: 0, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, \
    spec: {containers: [{name: a, image: a}]}}}\n";

#[tokio::test]
async fn the_status_poller_cache_can_be_enabled() -> Result {
    for (settings, by_kind) in [
        (Settings::default(), false),
        (gate("DisableStatusPollerCache=false"), true),
    ] {
        let applier = Applier::start("poller", settings).await?;
        applier
            .namespace
            .apply(&applier.kustomization("app", &["prune: true", "wait: true"]))
            .await?;
        applier.says("app", "ArtifactFailed", "").await?;
        let counter = Counter::start(applier.namespace.cluster(), applier.kustomize.user())?;
        applier
            .publish("main@sha1:1", &[("a.yaml", SCALED_TO_ZERO)])
            .await?;
        applier.applied("app", "main@sha1:1").await?;
        // KC-PROC-030
        let reads = counter.requests()?.into_iter();
        let reads: Vec<String> = reads
            .filter(|request| matches!(&*request.verb, "list" | "watch"))
            .filter(|request| request.resource == "deployments")
            .map(|request| request.uri)
            .collect();
        let by_name = |uri: &String| uri.contains("fieldSelector=metadata.name%3Da");
        ensure!(
            !reads.is_empty() && reads.iter().any(by_name) != by_kind,
            "{reads:#?}"
        );
        ensure!(
            !by_kind || reads.iter().any(|uri| uri.contains("labelSelector=")),
            "{reads:#?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn managed_fields_can_be_migrated() -> Result {
    const SCALER: Kind = Kind("autoscaling/v2", "HorizontalPodAutoscaler");
    let scaler = |version: &str, rest: &str| {
        format!(
            "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: web}}\n\
             spec: {{maxReplicas: 3, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}{rest}}}\n"
        )
    };
    let versions = |object: &Value| -> Vec<String> {
        let entries = object["metadata"]["managedFields"].as_array();
        let of = |entry: &Value| entry["apiVersion"].as_str().unwrap_or_default().to_owned();
        let mut versions: Vec<String> = entries.into_iter().flatten().map(of).collect();
        versions.sort();
        versions.dedup();
        versions
    };
    for (settings, migrated) in [
        (Settings::default(), false),
        (gate("MigrateAPIVersion=true"), true),
    ] {
        let applier = Applier::start("migrate", settings).await?;
        applier
            .namespace
            .apply(&scaler("v1", ", targetCPUUtilizationPercentage: 50"))
            .await?;
        applier
            .publish("main@sha1:1", &[("web.yaml", &scaler("v2", ""))])
            .await?;
        applier
            .namespace
            .apply(&applier.kustomization("app", &["prune: true"]))
            .await?;
        applier.applied("app", "main@sha1:1").await?;
        // KC-PROC-039, KC-SSA-027, RT-SSA-015
        let object = applier
            .namespace
            .get(SCALER, "web")
            .await?
            .unwrap_or_default();
        let found = versions(&object);
        assert_eq!(
            found.contains(&"autoscaling/v1".to_owned()),
            !migrated,
            "{found:?}"
        );
        ensure!(found.contains(&"autoscaling/v2".to_owned()), "{found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn other_managers_can_be_overridden() -> Result {
    for (flag, stays) in [
        ("--override-manager=somebody-else", true),
        ("--override-manager=kind-tests", false),
    ] {
        let applier = Applier::start("override", Settings::default().flag(flag)).await?;
        // The test's own field manager adds a key.
        let mine = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {mine: x}}";
        applier.namespace.apply(mine).await?;
        applier
            .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
            .await?;
        applier
            .namespace
            .apply(&applier.kustomization("app", &["prune: true"]))
            .await?;
        applier.applied("app", "main@sha1:1").await?;
        // KC-PROC-014, KC-SSA-024, KC-SSA-025
        let map = applier
            .namespace
            .get(CONFIG_MAP, "a")
            .await?
            .unwrap_or_default();
        assert_eq!(map["data"].get("mine").is_some(), stays, "{map:#}");
    }
    Ok(())
}

const TWO_CONTAINERS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: registry.k8s.io/pause:3.10}
      - {name: side, image: registry.k8s.io/pause:3.10}
";

#[tokio::test]
async fn a_manager_that_makes_every_dry_run_fail_is_overridden_before_it() -> Result {
    let one = TWO_CONTAINERS.replace(
        "      - {name: side, image: registry.k8s.io/pause:3.10}\n",
        "",
    );
    for (flag, recovers) in [
        // KC-SSA-045: the whole name counts
        ("--override-manager-before-dry-run=kind", false),
        ("--override-manager-before-dry-run=kind-tests", true),
    ] {
        let applier = Applier::start("override-early", Settings::default().flag(flag)).await?;
        applier
            .publish("main@sha1:1", &[("web.yaml", TWO_CONTAINERS)])
            .await?;
        applier
            .namespace
            .apply(&applier.kustomization("app", &["prune: true"]))
            .await?;
        applier.applied("app", "main@sha1:1").await?;
        // Another manager has a field of the container that is left out next, but not its image.
        let field = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: side, env: [{name: A, value: b}]}]}}}}";
        applier.namespace.apply(field).await?;
        applier
            .publish("main@sha1:2", &[("web.yaml", &one)])
            .await?;
        if recovers {
            // RT-SSA-026
            applier.applied("app", "main@sha1:2").await?;
            let web = applier.namespace.get(DEPLOYMENT, "web").await?;
            let web = web.unwrap_or_default();
            let containers = web["spec"]["template"]["spec"]["containers"].as_array();
            assert_eq!(containers.map(Vec::len), Some(1), "{web:#}");
        } else {
            applier
                .says("app", "ReconciliationFailed", "dry-run failed (Invalid)")
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn health_metrics_and_profiles_are_served() -> Result {
    // KC-PROC-072: temporary data is in memory, so a missing temporary folder does not matter
    let settings = Settings::default().env("TMPDIR", "/nowhere");
    let applier = Applier::start("serves", settings).await?;
    applier
        .publish("main@sha1:1", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    // KC-PROC-002, KC-PROC-045
    for path in ["healthz", "readyz"] {
        let (status, _) = get(&applier.kustomize.health_address(), path).await?;
        assert_eq!(status, 200, "{path}");
    }
    // KC-PROC-001
    // KC-PROC-049: the label; KC-PROC-058
    let duration = format!(
        "gotk_reconcile_duration_seconds_count{{kind=\"Kustomization\",name=\"app\",namespace=\"{}\"}}",
        applier.namespace.name()
    );
    let series = [
        "controller_runtime_reconcile_total{controller=\"kustomization\",result=",
        "controller_runtime_reconcile_errors_total{controller=\"kustomization\"}",
        "controller_runtime_reconcile_time_seconds_count{controller=\"kustomization\"}",
        // KC-PROC-004
        "controller_runtime_max_concurrent_reconciles{controller=\"kustomization\"} 4",
        "workqueue_adds_total{controller=\"kustomization\",name=\"kustomization\"}",
        "rest_client_requests_total{",
        "process_resident_memory_bytes",
        &duration,
    ];
    let text = applier.kustomize.metrics_with(&series).await?;
    // KC-PROC-054
    for family in ["gotk_reconcile_condition{", "gotk_suspend_status{"] {
        ensure!(!text.contains(family), "{family} in\n{text}");
    }
    Ok(())
}

/// A directory of this many ConfigMaps.
fn many(count: usize) -> Vec<(String, String)> {
    let file = |number: usize| {
        let name = format!("map-{number:03}");
        (format!("{name}.yaml"), config_map(&name, "1"))
    };
    (0..count).map(file).collect()
}

async fn publish_many(applier: &Applier, count: usize) -> Result {
    let files = many(count);
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    Ok(())
}

#[tokio::test]
async fn client_side_limits_are_off_if_the_server_limits_clients() -> Result {
    // KC-PROC-016: with these limits the objects would take hours
    let settings = Settings::default()
        .flag("--kube-api-qps=0.01")
        .flag("--kube-api-burst=1");
    let applier = Applier::start("unthrottled", settings).await?;
    publish_many(&applier, 20).await?;
    applier.applied("app", "main@sha1:1").await?;
    Ok(())
}

/// The highest number of concurrent requests.
fn max_concurrency(requests: &[Request]) -> usize {
    let at = |request: &Request| {
        let meets = |other: &&Request| other.came <= request.came && request.came < other.answered;
        requests.iter().filter(meets).count()
    };
    requests.iter().map(at).max().unwrap_or_default()
}

#[tokio::test]
async fn the_number_of_concurrent_comparisons_is_configurable() -> Result {
    for (flag, concurrent) in [("--concurrent-ssa=1", false), ("--concurrent-ssa=16", true)] {
        let applier = Applier::start("at-once", Settings::default().flag(flag)).await?;
        let counter = Counter::start(applier.namespace.cluster(), applier.kustomize.user())?;
        publish_many(&applier, 64).await?;
        applier.applied("app", "main@sha1:1").await?;
        let mut requests = counter.requests()?;
        requests.retain(|request| request.resource == "configmaps" && request.verb == "patch");
        // KC-PROC-005. A response is sent before the server logs it, so two requests may seem to overlap.
        let most = max_concurrency(&requests);
        assert_eq!(most > 2, concurrent, "{flag}: {most} at once");
    }
    Ok(())
}

#[tokio::test]
async fn the_report_of_each_success_can_be_left_out() -> Result {
    let applier = Applier::start("quiet", gate("DisableCommitStatusEvent=true")).await?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    applier.run("app").await?;
    let files = [("a.yaml", &*config_map("a", "2"))];
    applier.publish("main@sha1:2", &files).await?;
    applier.applied("app", "main@sha1:2").await?;
    let configured = format!("ConfigMap/{}/a configured", applier.namespace.name());
    let is_last = |event: &Value| event["message"] == configured;
    applier.events.wait("of the change", is_last).await?;
    // KC-PROC-075
    let events = applier.events.events();
    let finished = events
        .iter()
        .filter(|event| event["reason"] == "ReconciliationSucceeded");
    assert_eq!(finished.count(), 0, "{events:#?}");
    Ok(())
}

/// Status and body of a response from a server on loopback.
pub(crate) async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    Ok((status, body))
}
