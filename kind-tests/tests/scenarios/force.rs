//! `spec.force`: objects whose change the server rejects are recreated, and never lost.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, Kind, Result, ensure};
use serde_json::{Value, json};

const JOB: Kind = Kind("batch/v1", "Job");
const QUOTA: Kind = Kind("v1", "ResourceQuota");

fn uid(object: &Value) -> String {
    let uid = object["metadata"]["uid"].as_str();
    uid.unwrap_or_default().to_owned()
}

async fn running(topic: &str, manifest: &str) -> Result<Applier> {
    let applier = Applier::start(topic, Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("all.yaml", manifest)])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true", "force: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    Ok(applier)
}

#[tokio::test]
async fn nothing_is_deleted_if_another_object_of_its_stage_is_rejected() -> Result {
    let immutable = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\nimmutable: true\ndata: {{k: \"{value}\"}}\n"
        )
    };
    let applier = running("force-stage", &immutable("1")).await?;
    let before = applier.namespace.get(CONFIG_MAP, "a").await?;
    let before = uid(&before.unwrap_or_default());

    // KC-SSA-012, KC-SSA-030: the second object comes after the first, and is checked before the first is deleted
    let refused =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: zz}\ndata: {\"bad key!\": x}\n";
    let broken = immutable("2") + refused;
    applier
        .publish("main@sha1:2", &[("all.yaml", &broken)])
        .await?;
    let id = format!(
        "ConfigMap/{}/zz dry-run failed (Invalid)",
        applier.namespace.name()
    );
    applier.says("app", "ReconciliationFailed", &id).await?;
    let after = applier.namespace.get(CONFIG_MAP, "a").await?;
    assert_eq!(uid(&after.unwrap_or_default()), before, "it was deleted");

    // KC-SSA-028
    applier
        .publish("main@sha1:3", &[("all.yaml", &immutable("2"))])
        .await?;
    applier.applied("app", "main@sha1:3").await?;
    let made = applier.namespace.get(CONFIG_MAP, "a").await?;
    let made = made.unwrap_or_default();
    assert_eq!(made["data"]["k"], "2");
    assert_ne!(uid(&made), before);
    let created = format!("ConfigMap/{}/a created", applier.namespace.name());
    applier
        .events
        .wait("tells of the recreation", |event| {
            event["message"] == json!(created)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_job_is_recreated_although_the_quota_is_used_up() -> Result {
    let job = |image: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec:\n  suspend: true\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{{name: c, image: {image}}}]\n"
        )
    };
    let applier = running("force-quota", &job("x")).await?;
    let before = applier.namespace.get(JOB, "j").await?;
    let before = uid(&before.unwrap_or_default());
    let quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {count/jobs.batch: '1'}}}";
    applier.namespace.apply(quota).await?;
    applier
        .namespace
        .wait(QUOTA, "q", "counts the Job", |quota| {
            quota["status"]["used"]["count/jobs.batch"] == "1"
        })
        .await?;

    // KC-SSA-028, KC-SSA-030
    applier
        .publish("main@sha1:2", &[("all.yaml", &job("y"))])
        .await?;
    applier.applied("app", "main@sha1:2").await?;
    let made = applier.namespace.get(JOB, "j").await?.unwrap_or_default();
    assert_ne!(uid(&made), before);
    assert_eq!(
        made["spec"]["template"]["spec"]["containers"][0]["image"],
        "y"
    );
    let failures = applier.kustomize.log().entries();
    let failures: Vec<&Value> = failures
        .iter()
        .filter(|line| line["level"] == "error")
        .collect();
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(())
}
