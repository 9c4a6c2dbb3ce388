//! A cluster on which upstream's controllers were replaced by these, without changes in Git.

use kind_tests::{Flux, Kind, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const JOB: Kind = Kind("batch/v1", "Job");

/// The UID, and the fields that kustomize-controller owns.
async fn ownership(flux: &Flux, name: &str) -> Result<(Value, Value)> {
    let job = flux.namespace.get(JOB, name).await?.unwrap_or_default();
    let metadata = &job["metadata"];
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let entries = entries.filter(|entry| entry["manager"] == "kustomize-controller");
    Ok((metadata["uid"].clone(), entries.cloned().collect()))
}

// KC-SSA-003: the template of a Job is immutable, and upstream owns its empty `metadata`
#[tokio::test]
async fn jobs_that_upstream_applied_are_neither_refused_nor_recreated() -> Result {
    let flux = Flux::start("takeover").await?;
    let manifest = |name: &str| {
        format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}}}, spec: {{template: {{spec: {{restartPolicy: Never,
               containers: [{{name: c, image: example.org/job:1}}]}}}}}}}}\n"
        )
    };
    let namespace = flux.namespace.name();
    for name in ["plain", "forced"] {
        // The result of upstream's normalisation.
        let payload = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": name, "namespace": namespace, "creationTimestamp": null, "labels": {
                "kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": namespace,
            }},
            "spec": { "template": { "metadata": {}, "spec": { "restartPolicy": "Never",
                "containers": [{ "name": "c", "image": "example.org/job:1", "resources": {} }],
            }}},
        });
        let params = PatchParams::apply("kustomize-controller").force();
        let jobs = flux.namespace.api(JOB).await?;
        jobs.patch(name, &params, &Patch::Apply(&payload)).await?;
    }
    let before = [
        ownership(&flux, "plain").await?,
        ownership(&flux, "forced").await?,
    ];

    let revision = flux.commit(&[
        ("plain/job.yaml", &manifest("plain")),
        ("forced/job.yaml", &manifest("forced")),
    ]);
    flux.follow_main().await?;
    for (name, force) in [("plain", "force: false"), ("forced", "force: true")] {
        let path = format!("path: {name}");
        let yaml = flux.kustomization(name, &[path.as_str(), "prune: true", force]);
        flux.namespace.apply(&yaml).await?;
    }
    for name in ["plain", "forced"] {
        flux.applied(name, &revision).await?;
    }
    let after = [
        ownership(&flux, "plain").await?,
        ownership(&flux, "forced").await?,
    ];
    ensure!(before == after, "{before:#?} became {after:#?}");
    Ok(())
}
