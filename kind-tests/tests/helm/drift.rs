//! Drift of a release on a real API server, and its correction.

use flux_api::meta::IgnoreRule;
use flux_helm::Release;
use flux_release::drift::{Detected, DriftOptions, correct, detect};
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Kind, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, files};

const ALL: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map, labels: {own: 'yes'}}\ndata: {a: '1', b: '2'}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: secret}\nstringData: {password: hunter2}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: example.com/web, ports: [{containerPort: 80}]}]}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: role}\nrules: []\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-install}}\n";

async fn found(ours: &Bench, release: &Release, ignore: &[IgnoreRule]) -> Result<Detected> {
    let options = DriftOptions {
        ignore,
        ..DriftOptions::default()
    };
    let cluster = ours.target_as(None).await?;
    Ok(detect(&cluster, release, &options).await)
}

/// The summary, without the namespace's name.
fn summary(ours: &Bench, detected: &Detected) -> String {
    detected.summary().replace(ours.namespace.name(), "ns")
}

fn rule(paths: &[&str], target: Value) -> Result<IgnoreRule> {
    Ok(IgnoreRule {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        target: serde_json::from_value(target)?,
    })
}

// HC-DRIFT-002 HC-DRIFT-003 HC-DRIFT-004
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_release_are_detected_and_corrected() -> Result {
    let ours = Bench::new("helm-drift", &files(&[("templates/all.yaml", ALL)])).await?;
    let release = ours.install("{}").await?;
    let detected = found(&ours, &release, &[]).await?;
    let names: Vec<String> = detected
        .differences
        .iter()
        .map(|d| d.object().to_string())
        .collect();
    ensure!(names.len() == 5, "hooks are not compared: {names:?}");
    ensure!(
        !detected.has_changes(),
        "just installed: {}",
        detected.summary()
    );
    ensure!(detected.errors.is_empty(), "{:?}", detected.errors);

    let namespace = &ours.namespace;
    namespace.merge(CONFIG_MAP, "map", json!({ "data": { "a": "9", "more": "x" }, "metadata": { "labels": { "foreign": "1" } } })).await?;
    namespace
        .merge(
            SECRET,
            "secret",
            json!({ "data": { "password": "Y2hhbmdlZA==" } }),
        )
        .await?;
    namespace
        .merge(DEPLOYMENT, "web", json!({ "spec": { "replicas": 2 } }))
        .await?;
    namespace.delete(Kind("v1", "Service"), "web").await?;
    let detected = found(&ours, &release, &[]).await?;
    // HC-DRIFT-006, HC-DRIFT-012, HC-DRIFT-013
    let want = "Secret/ns/secret changed (0 additions, 1 changes, 0 removals)\nConfigMap/ns/map changed (0 additions, 1 changes, 0 removals)\nService/ns/web removed\nDeployment/ns/web changed (0 additions, 1 changes, 0 removals)";
    let told = summary(&ours, &detected);
    let (mut told, mut want): (Vec<&str>, Vec<&str>) =
        (told.lines().collect(), want.lines().collect());
    told.sort_unstable();
    want.sort_unstable();
    ensure!(told == want, "{told:?}");
    let shown = format!("{detected:?}");
    let logged: String = detected
        .differences
        .iter()
        .map(|d| d.patch_for_log().to_string())
        .collect();
    for secret in ["hunter2", "aHVudGVyMg==", "Y2hhbmdlZA=="] {
        ensure!(
            !shown.contains(secret) && !logged.contains(secret),
            "{secret} is shown"
        );
    }

    // HC-DRIFT-017, HC-DRIFT-018
    let cluster = ours.target_as(None).await?;
    let corrected = correct(&cluster, &detected).await;
    ensure!(corrected.errors.is_empty(), "{:?}", corrected.errors);
    let changes: Vec<String> = corrected
        .changes
        .iter()
        .map(|line| line.replace(namespace.name(), "ns"))
        .collect();
    ensure!(
        changes
            == [
                "Service/ns/web created",
                "ConfigMap/ns/map configured",
                "Secret/ns/secret configured",
                "Deployment/ns/web configured"
            ],
        "{changes:?}"
    );
    let detected = found(&ours, &release, &[]).await?;
    ensure!(!detected.has_changes(), "corrected: {}", detected.summary());
    let map = namespace.get(CONFIG_MAP, "map").await?.unwrap_or_default();
    ensure!(
        map["metadata"]["labels"]["foreign"] == "1",
        "a foreign label is gone"
    );
    let history = ours.releaser().records().history("web").await?;
    ensure!(history.len() == 1, "a correction is no revision");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn excluded_objects_and_ignored_fields_are_no_drift() -> Result {
    let excluded = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: listed, annotations: {helm.toolkit.fluxcd.io/driftDetection: Disabled}}\ndata: {a: '1'}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: live}\ndata: {a: '1'}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ruled}\ndata: {a: '1'}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: part}\ndata: {a: '1', b: '1'}\n";
    let ours = Bench::new(
        "helm-drift-not",
        &files(&[("templates/all.yaml", excluded)]),
    )
    .await?;
    let release = ours.install("{}").await?;
    for name in ["listed", "live", "ruled", "part"] {
        ours.namespace
            .merge(CONFIG_MAP, name, json!({ "data": { "a": "2" } }))
            .await?;
    }
    // HC-DRIFT-005
    let disabled = json!({ "metadata": { "labels": { "helm.toolkit.fluxcd.io/driftDetection": "disabled" } } });
    ours.namespace.merge(CONFIG_MAP, "live", disabled).await?;
    // HC-DRIFT-008, HC-DRIFT-009
    let ignore = [
        rule(&[""], json!({ "kind": "ConfigMap", "name": "rul.*" }))?,
        rule(&["/data/a"], json!({ "name": "part" }))?,
    ];
    let detected = found(&ours, &release, &ignore).await?;
    let told = summary(&ours, &detected);
    ensure!(
        told == "ConfigMap/ns/listed excluded\nConfigMap/ns/live excluded\nConfigMap/ns/ruled excluded",
        "{told}"
    );
    // HC-DRIFT-016
    ensure!(!detected.has_changes(), "excluded objects are drift");
    let invalid = [rule(&["/data"], json!({ "name": "(" }))?];
    let detected = found(&ours, &release, &invalid).await?;
    let error = detected.error().unwrap_or_default();
    ensure!(
        error.starts_with("failed to create ignore rule selector: invalid name regex"),
        "{error}"
    );
    Ok(())
}

// HC-DRIFT-010
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_overridden_managers_are_taken_over() -> Result {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {a: '1'}\n";
    let ours = Bench::new(
        "helm-drift-managers",
        &files(&[("templates/all.yaml", map)]),
    )
    .await?;
    let release = ours.install("{}").await?;
    let namespace = &ours.namespace;
    namespace
        .merge(CONFIG_MAP, "map", json!({ "data": { "added": "x" } }))
        .await?;
    let managers = |map: &Value| {
        let entries = map["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten();
        let entries = entries.filter(|entry| entry["fieldsV1"].to_string().contains("f:added"));
        entries
            .map(|entry| entry["manager"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let before = namespace.get(CONFIG_MAP, "map").await?.unwrap_or_default();
    let foreign = managers(&before);
    ensure!(
        foreign.len() == 1 && foreign[0] != "helm-controller",
        "{foreign:?}"
    );
    let options = DriftOptions {
        override_managers: &foreign,
        ..DriftOptions::default()
    };
    let cluster = ours.target_as(None).await?;
    let detected = detect(&cluster, &release, &options).await;
    ensure!(detected.errors.is_empty(), "{:?}", detected.errors);
    // Once the field is this manager's, applying without it removes it.
    let told = summary(&ours, &detected);
    ensure!(
        told == "ConfigMap/ns/map changed (0 additions, 0 changes, 1 removals)",
        "{told}"
    );
    let after = namespace.get(CONFIG_MAP, "map").await?.unwrap_or_default();
    ensure!(
        managers(&after) == ["helm-controller"],
        "{:?}",
        managers(&after)
    );
    Ok(())
}

// HC-DRIFT-011 HC-DRIFT-004
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_single_objects_do_not_stop_the_others() -> Result {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {a: '1'}\n";
    let ours = Bench::new("helm-drift-errors", &files(&[("templates/all.yaml", map)])).await?;
    let mut release = ours.install("{}").await?;
    release
        .manifest
        .push_str("---\napiVersion: no.such.group/v1\nkind: Widget\nmetadata: {name: w}\n");
    ours.namespace
        .merge(CONFIG_MAP, "map", json!({ "data": { "a": "2" } }))
        .await?;
    let detected = found(&ours, &release, &[]).await?;
    ensure!(detected.has_changes(), "the other object is not compared");
    let error = detected.error().unwrap_or_default();
    ensure!(
        error
            == "[failed to determine if Widget is namespace scoped: no matches for kind \"Widget\" in version \"no.such.group/v1\", no matches for kind \"Widget\" in version \"no.such.group/v1\"]",
        "{error}"
    );
    Ok(())
}
