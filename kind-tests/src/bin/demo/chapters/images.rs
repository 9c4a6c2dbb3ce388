//! A new tag in a registry becomes a commit, and the commit a rollout.

use std::time::Instant;

use kind_tests::{
    DEPLOYMENT, EXTERNAL_ARTIFACT, GIT_REPOSITORY, IMAGE_POLICY, IMAGE_REPOSITORY,
    IMAGE_UPDATE_AUTOMATION, Result, ensure,
};
use registries::{Artifact, tar_gz};
use serde_json::Value;

use crate::chapters::generator::origin;
use crate::chapters::git::applied;
use crate::follow::{Goal, revision};
use crate::screen::say;
use crate::stage::Stage;

/// A mirror: its tags are those of the image that the pods run.
const REPOSITORY: &str = "mirror/pause";

const OBJECTS: &str = "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: pause}
spec: {image: '${image}', interval: 1m}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: pause}
spec:
  imageRepositoryRef: {name: pause}
  policy: {semver: {range: 3.x}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {name: app}
spec:
  interval: 10m
  sourceRef: {kind: GitRepository, name: app}
  git:
    commit:
      author: {name: Flux, email: flux@example.com}
      messageTemplate: 'Update{{ range .Changed.Changes }} {{ .OldValue }} to {{ .NewValue }}{{ end }}'
  update: {path: ./deploy}
";

/// A tag is pushed, committed, and rolled out.
pub(crate) async fn show(stage: &Stage) -> Result {
    let image = stage.registry.repository(REPOSITORY);
    push(stage, "3.4.1");
    let started = Instant::now();
    stage.apply(&OBJECTS.replace("${image}", &image)).await?;
    let goals = [
        Goal::ready(IMAGE_REPOSITORY, "pause"),
        Goal::at(IMAGE_POLICY, "pause", "3.4.1"),
        Goal::ready(IMAGE_UPDATE_AUTOMATION, "app"),
    ];
    stage.follow(started, &goals).await?;
    let before = artifact(stage).await?;

    push(stage, "3.10.1");
    let started = Instant::now();
    stage.reconcile(IMAGE_REPOSITORY, "pause").await?;
    let pushed = |object: &Value| object["status"]["lastPushCommit"].is_string();
    let goals = [
        Goal::at(IMAGE_POLICY, "pause", "3.10.1"),
        Goal::new(IMAGE_UPDATE_AUTOMATION, "app", pushed),
    ];
    stage.follow(started, &goals).await?;
    let log = stage
        .repo
        .git(&["log", "-1", "--format=%h \"%s\" by %an", "main"]);
    say(&format!("commit {log}:"));
    let difference = ["show", "--format=", "--unified=0", "main", "--", "deploy"];
    for line in stage.repo.git(&difference).lines() {
        if line.contains("newTag") {
            say(&format!("  {line}"));
        }
    }

    stage.reconcile(GIT_REPOSITORY, "app").await?;
    let head = format!("main@sha1:{}", stage.repo.rev_parse("main"));
    applied(stage, started, &head).await?;
    let web = stage.namespace.get(DEPLOYMENT, "web").await?;
    let web = web.unwrap_or_default();
    let runs = &web["spec"]["template"]["spec"]["containers"][0]["image"];
    ensure!(
        runs == "registry.k8s.io/pause:3.10.1",
        "the pods run {runs}"
    );
    say(&format!(
        "from the tag to running pods in {:.2} s",
        started.elapsed().as_secs_f64()
    ));
    // The commit changed nothing in the folder that the generator copies.
    let same = |artifact: &Value| origin(artifact) == head;
    let goal = [Goal::new(EXTERNAL_ARTIFACT, "prod", same)];
    stage.follow(Instant::now(), &goal).await?;
    let after = artifact(stage).await?;
    ensure!(after == before, "the artifact has moved to {after}");
    say("ExternalArtifact/prod is of the same content: the commit touched another folder");
    Ok(())
}

fn push(stage: &Stage, tag: &str) {
    let image = Artifact::flux(tar_gz(&[("tag", tag)]));
    stage.registry.push(REPOSITORY, tag, &image);
    say(&format!(
        "pushed {}:{tag}",
        stage.registry.repository(REPOSITORY)
    ));
}

/// The revision of the composed artifact.
async fn artifact(stage: &Stage) -> Result<String> {
    let object = stage.namespace.get(EXTERNAL_ARTIFACT, "prod").await?;
    Ok(revision(EXTERNAL_ARTIFACT, &object.unwrap_or_default()))
}
