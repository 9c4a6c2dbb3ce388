//! A Git repository with an encrypted Secret, a Kustomization that applies it, and an Alert about everything.

use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kind_tests::{
    CONFIG_MAP, DEPLOYMENT, GIT_REPOSITORY, KUSTOMIZATION, Kind, Result, SECRET, ensure,
};
use serde_json::Value;

use crate::follow::Goal;
use crate::screen::{say, table, text};
use crate::stage::Stage;

const SERVICE: Kind = Kind("v1", "Service");
/// What `deploy/login.yaml` hides.
const PASSWORD: &str = "correct horse battery staple";
/// The key that `deploy/login.yaml` is encrypted for, by `sops encrypt --encrypted-regex '^(data|stringData)$'`. It protects
/// nothing but this example.
const AGE_KEY: &str = "AGE-SECRET-KEY-19EQJ6TAUCZ74J3KFRQ496NJT3QXXK7Q5HW269C6TK9VVR6TCN8QSF0KUH5";

const KUSTOMIZATION_FILE: &str = include_str!("../files/deploy/kustomization.yaml");
const WEB: &str = include_str!("../files/deploy/web.yaml");
const SETTINGS: &str = include_str!("../files/deploy/settings.yaml");
const LOGIN: &str = include_str!("../files/deploy/login.yaml");
const FIRST: [(&str, &str); 5] = [
    ("deploy/kustomization.yaml", KUSTOMIZATION_FILE),
    ("deploy/web.yaml", WEB),
    (
        "deploy/service.yaml",
        include_str!("../files/deploy/service.yaml"),
    ),
    ("deploy/settings.yaml", SETTINGS),
    ("deploy/login.yaml", LOGIN),
];

const OBJECTS: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: app}
spec: {url: ${repository}, interval: 10s, ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec:
  interval: 10m
  targetNamespace: ${namespace}
  sourceRef: {kind: GitRepository, name: app}
  path: ./deploy
  prune: true
  wait: true
  decryption: {provider: sops, secretRef: {name: age}}
";

const ALERTS: &str = "
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Provider
metadata: {name: chat}
spec: {type: generic, address: '${chat}'}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Alert
metadata: {name: all}
spec:
  providerRef: {name: chat}
  eventSources:
  - {kind: GitRepository, name: '*'}
  - {kind: OCIRepository, name: '*'}
  - {kind: HelmChart, name: '*'}
  - {kind: Kustomization, name: '*'}
  - {kind: HelmRelease, name: '*'}
  - {kind: ArtifactGenerator, name: '*'}
  - {kind: ImagePolicy, name: '*'}
  - {kind: ImageUpdateAutomation, name: '*'}
";

/// An Alert about everything that follows.
pub(crate) async fn alerts(stage: &Stage) -> Result {
    stage
        .apply(&ALERTS.replace("${chat}", &stage.chat.url()))
        .await
}

/// The first commit becomes objects on the cluster.
pub(crate) async fn first(stage: &Stage) -> Result {
    say(&format!("served at {}", stage.repository()));
    let revision = commit(stage, "Deploy the web server", &FIRST, &[]);
    say("the password in deploy/login.yaml is encrypted with SOPS for an age key:");
    let encrypted = LOGIN.lines().find(|line| line.contains("password:"));
    let encrypted = encrypted.unwrap_or_default().trim();
    say(&format!(
        "  {}...",
        encrypted.get(..60).unwrap_or(encrypted)
    ));

    // The cluster has the key, in a Secret that the user has made.
    let key = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: age}}, stringData: {{demo.agekey: {AGE_KEY}}}}}"
    );
    stage.namespace.apply(&key).await?;
    let objects = OBJECTS.replace("${repository}", &stage.repository());
    let started = Instant::now();
    stage.apply(&objects).await?;
    applied(stage, started, &revision).await?;
    show(stage, &revision).await?;

    let secret = stage.namespace.get(SECRET, "login").await?;
    let decrypted = secret.map(|secret| data(&secret, "password"));
    ensure!(
        decrypted.as_deref() == Some(PASSWORD),
        "the Secret has {decrypted:?} in place of the password"
    );
    Ok(())
}

/// The second commit becomes their change.
pub(crate) async fn second(stage: &Stage) -> Result {
    for line in [
        "deploy/web.yaml         replicas: 2 -> 3",
        "deploy/settings.yaml    greeting: hello -> hello again",
        "deploy/service.yaml     removed",
    ] {
        say(line);
    }
    let revision = commit(
        stage,
        "More replicas, no Service",
        &[
            (
                "deploy/kustomization.yaml",
                &KUSTOMIZATION_FILE.replace("- service.yaml\n", ""),
            ),
            (
                "deploy/web.yaml",
                &WEB.replace("replicas: 2", "replicas: 3"),
            ),
            (
                "deploy/settings.yaml",
                &SETTINGS.replace("hello", "hello again"),
            ),
        ],
        &["deploy/service.yaml"],
    );
    let started = Instant::now();
    stage.reconcile(GIT_REPOSITORY, "app").await?;
    applied(stage, started, &revision).await?;
    stage.namespace.wait_gone(SERVICE, "web").await?;
    show(stage, &revision).await
}

/// Commits the files to the branch `main`, says so, and returns the revision as Flux writes it.
pub(crate) fn commit(
    stage: &Stage,
    message: &str,
    files: &[(&str, &str)],
    removed: &[&str],
) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut commit = stage.repo.commit("main").message(message).when(now);
    for (path, content) in files {
        let content = content.replace("${namespace}", stage.namespace.name());
        commit = commit.file(path, content);
    }
    for path in removed {
        commit = commit.remove(path);
    }
    let hash = commit.create();
    let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    say(&format!(
        "commit {} \"{message}\": {}",
        &hash[..8],
        paths.join(", ")
    ));
    format!("main@sha1:{hash}")
}

/// Waits until source and Kustomization are at the revision.
pub(crate) async fn applied(stage: &Stage, started: Instant, revision: &str) -> Result {
    let goals = [
        Goal::at(GIT_REPOSITORY, "app", revision),
        Goal::at(KUSTOMIZATION, "app", revision),
    ];
    stage.follow(started, &goals).await?;
    say(&format!(
        "applied and healthy after {:.2} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Prints what the Kustomization has applied.
async fn show(stage: &Stage, revision: &str) -> Result {
    let found = stage.namespace.get(KUSTOMIZATION, "app").await?;
    let found = found.unwrap_or_default();
    ensure!(
        found["status"]["lastAppliedRevision"] == revision,
        "another revision is applied"
    );
    let entries = found["status"]["inventory"]["entries"].as_array();
    let mut rows = Vec::new();
    for entry in entries.into_iter().flatten() {
        let id = text(&entry["id"]);
        let Some((kind, name)) = read_id(&id) else {
            continue;
        };
        let object = stage.namespace.get(kind, &name).await?;
        let state = object.as_ref().map_or_else(|| "gone".to_owned(), state);
        rows.push(vec![format!("{}/{name}", kind.1), state]);
    }
    table(&["APPLIED", "STATE"], &rows);
    Ok(())
}

/// Parses `<namespace>_<name>_<group>_<kind>`.
fn read_id(id: &str) -> Option<(Kind, String)> {
    let parts: Vec<&str> = id.split('_').collect();
    let [_, name, group, kind] = parts.as_slice() else {
        return None;
    };
    let known = [DEPLOYMENT, SERVICE, CONFIG_MAP, SECRET];
    let is_it = |known: &&Kind| {
        known.1 == *kind && known.0.rsplit_once('/').map_or("", |(group, _)| group) == *group
    };
    Some((*known.iter().find(is_it)?, (*name).to_owned()))
}

/// A short summary of an object's state.
fn state(object: &Value) -> String {
    match object["kind"].as_str() {
        Some("Deployment") => {
            let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
            format!(
                "{ready} of {} pods ready, image {}",
                object["spec"]["replicas"],
                text(&object["spec"]["template"]["spec"]["containers"][0]["image"])
            )
        }
        Some("ConfigMap") => format!("greeting: {}", text(&object["data"]["greeting"])),
        Some("Secret") => format!("password, decrypted: {}", data(object, "password")),
        Some("Service") => format!("address {}", text(&object["spec"]["clusterIP"])),
        _ => String::new(),
    }
}

/// A value of a Secret.
fn data(secret: &Value, key: &str) -> String {
    let encoded = text(&secret["data"][key]);
    let bytes = BASE64_STANDARD.decode(encoded);
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_ids_name_kind_and_object() {
        assert_eq!(
            read_id("demo_web_apps_Deployment"),
            Some((DEPLOYMENT, "web".to_owned()))
        );
        assert_eq!(
            read_id("demo_settings__ConfigMap"),
            Some((CONFIG_MAP, "settings".to_owned()))
        );
        assert_eq!(read_id("demo_web_extensions_Deployment"), None);
        assert_eq!(read_id("nonsense"), None);
    }
}
