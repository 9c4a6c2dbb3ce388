//! One artifact made of parts of two sources, and a Kustomization that applies it.

use std::time::Instant;

use kind_tests::{
    ARTIFACT_GENERATOR, EXTERNAL_ARTIFACT, GIT_REPOSITORY, KUSTOMIZATION, Kind, Result, ensure,
};
use serde_json::Value;

use crate::chapters::git::commit;
use crate::follow::Goal;
use crate::screen::{say, text};
use crate::stage::Stage;

const POLICY: Kind = Kind("networking.k8s.io/v1", "NetworkPolicy");
const PATH: &str = "environments/prod/kustomization.yaml";
const FILE: &str = include_str!("../files/prod/kustomization.yaml");

const OBJECTS: &str = "
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {name: prod}
spec:
  sources:
  - {alias: git, kind: GitRepository, name: app}
  - {alias: oci, kind: OCIRepository, name: policies}
  artifacts:
  - name: prod
    originRevision: '@git'
    copy:
    - {from: '@oci/**', to: '@artifact/base/'}
    - {from: '@git/environments/prod/**', to: '@artifact/prod/'}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: prod}
spec:
  interval: 10m
  targetNamespace: ${namespace}
  sourceRef: {kind: ExternalArtifact, name: prod}
  path: ./prod
  prune: true
  wait: true
";

/// The manifests of the registry are applied with an overlay from Git, and again when the overlay changes.
pub(crate) async fn show(stage: &Stage) -> Result {
    say("the overlay in Git builds on the manifests in the registry:");
    let revision = commit(stage, "Add production", &[(PATH, FILE)], &[]);
    let started = Instant::now();
    stage.reconcile(GIT_REPOSITORY, "app").await?;
    let goal = [Goal::at(GIT_REPOSITORY, "app", &revision)];
    stage.follow(started, &goal).await?;
    let started = Instant::now();
    stage.apply(OBJECTS).await?;
    applied(stage, started, &revision, "team-a").await?;

    let changed = FILE.replace("team-a", "team-b");
    let revision = commit(stage, "Give production to team-b", &[(PATH, &changed)], &[]);
    let started = Instant::now();
    stage.reconcile(GIT_REPOSITORY, "app").await?;
    applied(stage, started, &revision, "team-b").await
}

/// Waits until the content of this commit is applied, and checks whom it belongs to.
async fn applied(stage: &Stage, started: Instant, revision: &str, owner: &str) -> Result {
    let composed = |artifact: &Value| origin(artifact) == revision;
    let built = |object: &Value| object["status"]["lastAppliedOriginRevision"] == revision;
    let goals = [
        Goal::ready(ARTIFACT_GENERATOR, "prod"),
        Goal::new(EXTERNAL_ARTIFACT, "prod", composed),
        Goal::new(KUSTOMIZATION, "prod", built),
    ];
    stage.follow(started, &goals).await?;
    let policy = stage.namespace.get(POLICY, "prod-web").await?;
    let policy = policy.unwrap_or_default();
    let found = &policy["metadata"]["annotations"]["example.com/owner"];
    ensure!(found == owner, "NetworkPolicy/prod-web belongs to {found}");
    say(&format!("NetworkPolicy/prod-web belongs to {owner}"));
    Ok(())
}

/// The commit that an artifact is made of.
pub(crate) fn origin(artifact: &Value) -> String {
    text(&artifact["status"]["artifact"]["metadata"]["org.opencontainers.image.revision"])
}
