//! Health checks. The checked objects are Buckets: without a controller for them, only the test sets their status.

use kind_tests::controller::Settings;
use kind_tests::requests::{Counter, Request};
use kind_tests::{Applier, DEPLOYMENT, KUSTOMIZATION, Kind, Result, condition, ensure};
use serde_json::{Value, json};

use crate::config_map;

const BUCKET: Kind = Kind("source.toolkit.fluxcd.io/v1", "Bucket");
const POD: Kind = Kind("v1", "Pod");

fn bucket(name: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: Bucket\nmetadata: {{name: {name}}}\n\
         spec: {{interval: 1h, endpoint: 127.0.0.1, bucketName: b}}\n"
    )
}

/// Sets a condition of a Bucket to True: `Ready`, `Stalled`.
async fn set_condition(applier: &Applier, name: &str, kind: &str) -> Result {
    let condition = json!({"type": kind, "status": "True", "reason": "Test", "message": "as the test says",
        "lastTransitionTime": "2001-01-01T00:00:00Z"});
    let status = json!({"observedGeneration": 1, "conditions": [condition]});
    applier.namespace.set_status(BUCKET, name, status).await?;
    Ok(())
}

async fn wait_in_progress(applier: &Applier) -> Result<Value> {
    let checks = |object: &Value| {
        condition(object, "Reconciling").is_some_and(|reconciling| {
            reconciling["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("Running health checks"))
        })
    };
    applier
        .namespace
        .wait(KUSTOMIZATION, "app", "runs its health checks", checks)
        .await
}

async fn start(topic: &str, settings: Settings) -> Result<Applier> {
    let applier = Applier::start(topic, settings).await?;
    check(&applier, &["one", "two"]).await?;
    Ok(applier)
}

/// Makes the controller apply these Buckets and wait for them.
async fn check(applier: &Applier, names: &[&str]) -> Result {
    let files: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{name}.yaml"), bucket(name)))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier.kustomization("app", &["prune: true", "wait: true"]);
    applier.namespace.apply(&yaml).await?;
    Ok(())
}

#[tokio::test]
async fn a_health_regression_without_a_new_revision_is_reported() -> Result {
    let applier = start("falls-ill", Settings::default()).await?;
    let waiting = wait_in_progress(&applier).await?;
    // KC-PRUNE-002: applied objects are in the inventory before they are healthy
    assert_eq!(
        waiting["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(waiting["status"]["lastAppliedRevision"], json!(null));
    set_condition(&applier, "one", "Ready").await?;
    set_condition(&applier, "two", "Ready").await?;
    let healthy = applier.applied("app", "main@sha1:1").await?;
    assert_eq!(
        condition(&healthy, "Healthy").map(|healthy| &healthy["reason"]),
        Some(&json!("Succeeded"))
    );

    // KC-HEALTH-012
    applier.run("app").await?;
    set_condition(&applier, "two", "Stalled").await?;
    let ill = applier.run("app").await?;
    let text = format!(
        "failed early due to stalled resources: [Bucket/{}/two status: 'Failed']",
        applier.namespace.name()
    );
    // KC-HEALTH-007, KC-API-046, FR-N-140
    for kind in ["Ready", "Healthy"] {
        let condition = condition(&ill, kind).cloned().unwrap_or_default();
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("HealthCheckFailed"))
        );
        // what the object itself says comes behind upstream's words
        let text = format!(
            "{text}; Bucket/{}/two: Test: as the test says",
            applier.namespace.name()
        );
        ensure!(
            condition["message"]
                .as_str()
                .is_some_and(|message| message.ends_with(&text)),
            "{condition:#}"
        );
    }
    assert_eq!(
        ill["status"]["history"][0]["lastReconciledStatus"],
        "HealthCheckFailed"
    );
    set_condition(&applier, "two", "Ready").await?;
    let healed = applier.applied("app", "main@sha1:1").await?;
    assert_eq!(
        condition(&healed, "Healthy").map(|healthy| &healthy["status"]),
        Some(&json!("True"))
    );
    // KC-API-044, KC-API-046: the same manifests with another result are another entry
    let statuses = |object: &Value| -> Vec<Value> {
        let history = object["status"]["history"].as_array();
        history
            .into_iter()
            .flatten()
            .map(|entry| entry["lastReconciledStatus"].clone())
            .collect()
    };
    assert_eq!(
        statuses(&healed),
        ["ReconciliationSucceeded", "HealthCheckFailed"]
    );

    // KC-API-046: a failed build adds no entry
    applier
        .publish("main@sha1:2", &[("one.yaml", "a: b\n c: d\n")])
        .await?;
    let broken = applier.says("app", "BuildFailed", "one.yaml").await?;
    assert_eq!(
        statuses(&broken),
        ["ReconciliationSucceeded", "HealthCheckFailed"]
    );
    Ok(())
}

#[tokio::test]
async fn failing_health_check_does_not_fail_fast_if_disabled() -> Result {
    let gate = Settings::default().flag("--feature-gates=DisableFailFastBehavior=true");
    let applier = Applier::start("patient", gate).await?;
    let counter = Counter::start(applier.namespace.cluster(), applier.kustomize.user())?;
    // Three objects of a kind have one watch, which delivers their changes in order.
    check(&applier, &["one", "two", "three"]).await?;
    wait_in_progress(&applier).await?;
    let of_namespace = format!("/namespaces/{}/buckets", applier.namespace.name());
    let watched = async {
        let is_watch =
            |request: &Request| request.verb == "watch" && request.uri.contains(&of_namespace);
        while !counter.requests()?.iter().any(is_watch) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Result::<()>::Ok(())
    };
    let goal = "the Buckets are watched";
    applier.namespace.wait_for(goal, watched).await??;
    // KC-PROC-031: by default the first of these ends the wait
    for (name, kind) in [
        ("one", "Stalled"),
        ("one", "Ready"),
        ("two", "Ready"),
        ("three", "Ready"),
    ] {
        set_condition(&applier, name, kind).await?;
    }
    let healthy = applier.applied("app", "main@sha1:1").await?;
    assert_eq!(
        healthy["status"]["history"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        healthy["status"]["history"][0]["lastReconciledStatus"],
        "ReconciliationSucceeded"
    );
    Ok(())
}

#[tokio::test]
async fn a_job_that_deletes_itself_does_not_block_the_wait() -> Result {
    // It has nothing to do, so it is done at once.
    const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: done}
spec:
  completions: 0
  ttlSecondsAfterFinished: 0
  template: {spec: {restartPolicy: Never, containers: [{name: job, image: registry.k8s.io/pause:3.10}]}}
";
    let applier = Applier::start("gone-job", Settings::default()).await?;
    applier
        .publish(
            "main@sha1:1",
            &[("job.yaml", JOB), ("one.yaml", &bucket("one"))],
        )
        .await?;
    let yaml = applier.kustomization("app", &["prune: true", "wait: true"]);
    applier.namespace.apply(&yaml).await?;
    wait_in_progress(&applier).await?;
    applier
        .namespace
        .wait_gone(Kind("batch/v1", "Job"), "done")
        .await?;
    set_condition(&applier, "one", "Ready").await?;
    // KC-HEALTH-010
    applier.applied("app", "main@sha1:1").await?;
    Ok(())
}

#[tokio::test]
async fn a_new_revision_ends_a_wait_for_the_old_one() -> Result {
    let gate = Settings::default().flag("--feature-gates=CancelHealthCheckOnNewRevision=true");
    let applier = start("cancelled", gate).await?;
    wait_in_progress(&applier).await?;
    applier
        .publish(
            "main@sha1:2",
            &[
                ("one.yaml", &bucket("one")),
                ("a.yaml", &config_map("a", "1")),
            ],
        )
        .await?;
    // KC-HEALTH-011, KC-PROC-036, FR-N-142: the run that follows is there
    let message = format!(
        "Health checks canceled due to new reconciliation triggered by GitRepository/{}/app",
        applier.namespace.name()
    );
    let told = applier
        .events
        .wait("of the cancellation", |event| {
            event["message"] == json!(message)
        })
        .await?;
    assert_eq!(
        (&told["severity"], &told["reason"]),
        (&json!("info"), &json!("HealthCheckCanceled"))
    );
    assert_eq!(
        told["metadata"]["kustomize.toolkit.fluxcd.io/revision"],
        "main@sha1:1"
    );
    set_condition(&applier, "one", "Ready").await?;
    let done = applier.applied("app", "main@sha1:2").await?;
    // A cancelled wait adds no entry.
    assert_eq!(done["status"]["history"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn stuck_pods_fail_their_owner() -> Result {
    const STATEFUL_SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      nodeSelector: {no: such-node}
      containers: [{name: db, image: registry.k8s.io/pause:3.10}]
";
    let applier = Applier::start("stuck-pods", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("db.yaml", STATEFUL_SET)])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true", "wait: true"]);
    applier.namespace.apply(&yaml).await?;
    wait_in_progress(&applier).await?;
    applier
        .namespace
        .wait(POD, "db-0", "is there", |_| true)
        .await?;
    // No node accepts the pod, so the test acts as the kubelet.
    let waiting = json!({"name": "db", "image": "", "imageID": "", "ready": false, "restartCount": 5,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    let status = json!({"phase": "Running", "containerStatuses": [waiting],
        "conditions": [{"type": "Ready", "status": "False"}]});
    applier.namespace.set_status(POD, "db-0", status).await?;
    // KC-HEALTH-025: the pod says why
    let namespace = applier.namespace.name();
    let text = format!(
        "failed early due to stalled resources: [StatefulSet/{namespace}/db status: 'Failed']; StatefulSet/{namespace}/db: \
         container 'db' of Pod db-0 with image 'registry.k8s.io/pause:3.10': CrashLoopBackOff, last event: "
    );
    applier.says("app", "HealthCheckFailed", &text).await?;
    Ok(())
}

/// The requests of each run, without its events, with its final patch last.
fn by_run(requests: &[Request]) -> Vec<Vec<String>> {
    let mut runs = vec![Vec::new()];
    for request in requests
        .iter()
        .filter(|request| request.resource != "events")
    {
        let asked = format!("{} {}", request.verb, request.resource);
        let ends = asked == "patch kustomizations/status";
        if let Some(run) = runs.last_mut() {
            run.push(asked);
        }
        if ends {
            runs.push(Vec::new());
        }
    }
    runs.pop();
    runs
}

#[tokio::test]
async fn an_unchanged_healthy_run_costs_two_requests() -> Result {
    const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: web, image: registry.k8s.io/pause:3.10}]}
";
    let applier = Applier::start("steady", Settings::default()).await?;
    let mut files = Vec::new();
    for name in ["a", "b", "c"] {
        files.push((format!("{name}/web.yaml"), WEB.replace("NAME", name)));
        files.push((format!("{name}/map.yaml"), config_map(name, "1")));
        files.push((
            format!("{name}/account.yaml"),
            format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n"),
        ));
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier
        .kustomization("app", &["prune: true", "wait: true"])
        .replace("interval: 10m", "interval: 1s");
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    let runs = |object: &Value| {
        object["status"]["history"][0]["totalReconciliations"]
            .as_u64()
            .unwrap_or_default()
    };
    let reaches = |count: u64| move |object: &Value| runs(object) >= count;
    // The first runs still see changes of the Deployments' controller.
    let settled = |deployment: &Value| {
        let conditions = deployment["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["reason"] == "NewReplicaSetAvailable")
    };
    for name in ["a", "b", "c"] {
        let last = applier
            .namespace
            .wait(DEPLOYMENT, name, "is written no more", settled);
        last.await?;
    }
    let namespace = &applier.namespace;
    let quiet = async {
        loop {
            let counter = Counter::start(namespace.cluster(), applier.kustomize.user())?;
            let object = namespace.get(KUSTOMIZATION, "app").await?;
            let seen = runs(&object.unwrap_or_default());
            namespace
                .wait(KUSTOMIZATION, "app", "has run again", reaches(seen + 4))
                .await?;
            let requests = counter.requests()?;
            let runs = by_run(&requests);
            // The first may have begun before the count, and every tenth is a full comparison. The kinds are listed until
            // they are watched.
            let mut counted = runs.iter().skip(1).take(2);
            let number = runs.len();
            if number >= 3 && counted.all(|run| run == &["patch kustomizations/status"]) {
                return Ok::<_, kind_tests::Failure>((requests, number));
            }
        }
    };
    // With the event about its end that is two requests.
    let (requests, number) = namespace
        .wait_for("runs only send their end", quiet)
        .await??;
    let events = requests
        .iter()
        .filter(|request| request.resource == "events")
        .count();
    ensure!(events <= number + 1, "{events} events of {number} runs");
    Ok(())
}
