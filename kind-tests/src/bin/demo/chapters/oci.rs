//! Manifests as an OCI artifact, with a range of versions.

use std::time::Instant;

use kind_tests::{KUSTOMIZATION, Kind, OCI_REPOSITORY, Result};
use registries::{Artifact, tar_gz};

use crate::follow::Goal;
use crate::screen::{say, short};
use crate::stage::Stage;

const BUDGET: Kind = Kind("policy/v1", "PodDisruptionBudget");
const REPOSITORY: &str = "manifests/policies";
const INDEX: &str = include_str!("../files/policies/kustomization.yaml");
const POLICY: (&str, &str) = (
    "network-policy.yaml",
    include_str!("../files/policies/network-policy.yaml"),
);

const OBJECTS: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: policies}
spec: {url: 'oci://${repository}', interval: 1m, ref: {semver: 1.x}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: policies}
spec:
  interval: 10m
  targetNamespace: ${namespace}
  sourceRef: {kind: OCIRepository, name: policies}
  prune: true
  wait: true
";

/// An artifact is applied, and then the next version of it.
pub(crate) async fn show(stage: &Stage) -> Result {
    push(stage, "1.0.0", &[("kustomization.yaml", INDEX), POLICY]);
    let repository = stage.registry.repository(REPOSITORY);
    let started = Instant::now();
    stage
        .apply(&OBJECTS.replace("${repository}", &repository))
        .await?;
    applied(stage, started, "1.0.0@").await?;

    let index = format!("{INDEX}- budget.yaml\n");
    let budget = include_str!("../files/policies/budget.yaml");
    push(
        stage,
        "1.1.0",
        &[
            ("kustomization.yaml", &index),
            POLICY,
            ("budget.yaml", budget),
        ],
    );
    let started = Instant::now();
    stage.reconcile(OCI_REPOSITORY, "policies").await?;
    applied(stage, started, "1.1.0@").await?;
    stage
        .namespace
        .wait(BUDGET, "web", "is applied", |_| true)
        .await?;
    Ok(())
}

fn push(stage: &Stage, version: &str, files: &[(&str, &str)]) {
    let artifact = Artifact::flux(tar_gz(files));
    let digest = stage.registry.push(REPOSITORY, version, &artifact);
    let repository = stage.registry.repository(REPOSITORY);
    let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    say(&short(&format!(
        "pushed oci://{repository}:{version} ({digest}): {}",
        paths.join(", ")
    )));
}

async fn applied(stage: &Stage, started: Instant, revision: &str) -> Result {
    let goals = [
        Goal::at(OCI_REPOSITORY, "policies", revision),
        Goal::at(KUSTOMIZATION, "policies", revision),
    ];
    stage.follow(started, &goals).await?;
    Ok(())
}
