//! Failures are reported in conditions, do not affect running objects, and recover automatically.

use kind_tests::controller::Settings;
use kind_tests::{
    Applier, CONFIG_MAP, Flux, GIT_REPOSITORY, KUSTOMIZATION, Result, condition, ensure,
};
use serde_json::{Value, json};

use crate::config_map;

fn message(object: &Value) -> String {
    condition(object, "Ready")
        .and_then(|ready| ready["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn reason(object: &Value) -> String {
    condition(object, "Ready")
        .and_then(|ready| ready["reason"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// A broken manifest, and the expected message.
struct Broken {
    file: &'static str,
    content: &'static str,
    reason: &'static str,
    named: &'static [&'static str],
}

const BROKEN: &[Broken] = &[
    // KC-BLD-003
    Broken {
        file: "deploy/broken.yaml",
        content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [\n",
        reason: "BuildFailed",
        named: &["broken.yaml"],
    },
    // KC-SSA-012, KC-SSA-031
    Broken {
        file: "deploy/broken.yaml",
        content: "apiVersion: v1\nkind: Service\nmetadata:\n  name: broken\nspec:\n  ports:\n  - port: 99999\n",
        reason: "ReconciliationFailed",
        named: &["Service/", "/broken dry-run failed", "spec.ports[0].port"],
    },
    // KC-SSA-031
    Broken {
        file: "deploy/broken.yaml",
        content: "apiVersion: example.com/v1\nkind: Unknown\nmetadata:\n  name: broken\n",
        reason: "ReconciliationFailed",
        named: &["Unknown/", "/broken dry-run failed", "no matches for kind"],
    },
];

#[tokio::test]
async fn a_broken_manifest_is_reported_and_the_next_valid_commit_recovers() -> Result {
    let flux = Flux::start("broken").await?;
    let good = flux.commit(&[("deploy/a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["path: deploy", "prune: true"]))
        .await?;
    let mut last_good = flux.applied("app", &good).await?["status"]["lastAppliedRevision"].clone();

    for (number, broken) in BROKEN.iter().enumerate() {
        let value = format!("broken {number}");
        flux.commit(&[
            ("deploy/a.yaml", &config_map("a", &value)),
            (broken.file, broken.content),
        ]);
        flux.fetch().await?;
        let failed = flux
            .namespace
            .wait(
                KUSTOMIZATION,
                "app",
                &format!("fails with {:?}", broken.named),
                |object| {
                    reason(object) == broken.reason
                        && broken
                            .named
                            .iter()
                            .all(|part| message(object).contains(part))
                },
            )
            .await?;
        // KC-PROC-069, KC-SSA-033: a broken object keeps its stage from being applied, and existing objects keep
        // running
        assert_eq!(failed["status"]["lastAppliedRevision"], last_good);
        let reconciling = condition(&failed, "Reconciling")
            .cloned()
            .unwrap_or_default();
        assert_eq!(reconciling["reason"], "ProgressingWithRetry");
        let map = flux
            .namespace
            .get(CONFIG_MAP, "a")
            .await?
            .unwrap_or_default();
        ensure!(
            map["data"]["v"] != json!(value),
            "a was changed by a commit that failed: {}",
            broken.content
        );

        let healed = flux.repo.commit("main").remove(broken.file).create();
        flux.fetch().await?;
        last_good = flux.applied("app", &format!("main@sha1:{healed}")).await?["status"]["lastAppliedRevision"].clone();
        let map = flux
            .namespace
            .get(CONFIG_MAP, "a")
            .await?
            .unwrap_or_default();
        assert_eq!(map["data"]["v"], value);
    }
    Ok(())
}

#[tokio::test]
async fn all_refusals_of_a_dry_run_are_reported_at_once() -> Result {
    let applier = Applier::start("refusals", Settings::default()).await?;
    let port = |name: &str, port: u32| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports: [{{port: {port}}}]\n"
        )
    };
    let files = [
        ("a.yaml", port("a", 99_999)),
        ("b.yaml", port("b", 80)),
        ("c.yaml", port("c", 99_998)),
        ("d.yaml", config_map("d", "1")),
        ("e.yaml", port("e", 0)),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, &**text)).collect();
    applier.publish("main@sha1:1", &files).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    let namespace = applier.namespace.name();
    // KC-SSA-012, KC-SSA-031, RT-SSA-008: upstream's text for the first is in front
    let failed = applier
        .says("app", "ReconciliationFailed", "also refused:")
        .await?;
    let text = message(&failed);
    let lines: Vec<&str> = text.lines().collect();
    for (at, name) in [(0, "a"), (2, "c"), (3, "e")] {
        let begin = format!("Service/{namespace}/{name} dry-run failed (Invalid): ");
        ensure!(
            lines.get(at).is_some_and(|line| line.starts_with(&begin)),
            "{at}: {text}"
        );
    }
    // Nothing of the stage is applied.
    assert_eq!(applier.namespace.get(CONFIG_MAP, "d").await?, None);
    let service = kind_tests::Kind("v1", "Service");
    assert_eq!(applier.namespace.get(service, "b").await?, None);
    applier
        .publish("main@sha1:2", &[("d.yaml", &config_map("d", "1"))])
        .await?;
    applier.applied("app", "main@sha1:2").await?;
    Ok(())
}

#[tokio::test]
async fn an_object_of_another_kustomization_is_taken_over_without_a_warning() -> Result {
    let applier = Applier::start("two-owners", Settings::default()).await?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    for name in ["first", "second"] {
        let yaml = applier.kustomization(name, &["prune: true"]);
        applier.namespace.apply(&yaml).await?;
        applier.applied(name, "main@sha1:1").await?;
    }
    let map = applier.namespace.get(CONFIG_MAP, "a").await?;
    let map = map.unwrap_or_default();
    let owner = &map["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"];
    assert_eq!(owner, "second", "{map:#}");
    // KC-EVT-016, RT-SSA-025
    let configured = |event: &Value| {
        event["message"] == format!("ConfigMap/{}/a configured", applier.namespace.name())
    };
    applier.events.wait("of the takeover", configured).await?;
    let warned = applier
        .events
        .events()
        .into_iter()
        .find(|event| event["severity"] == "error");
    assert_eq!(warned, None);
    Ok(())
}

#[tokio::test]
async fn a_missing_path_is_reported() -> Result {
    let flux = Flux::start("no-path").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["path: ./nowhere", "prune: true"]))
        .await?;
    let failed = flux
        .namespace
        .wait_ready(KUSTOMIZATION, "app", "False")
        .await?;
    // KC-SRC-015
    assert_eq!(reason(&failed), "ArtifactFailed");
    assert!(
        message(&failed).starts_with("kustomization path not found: "),
        "{}",
        message(&failed)
    );
    assert_eq!(failed["status"]["lastAttemptedRevision"], json!(null));
    Ok(())
}

#[tokio::test]
async fn a_missing_source_is_reported_and_its_creation_recovers() -> Result {
    let flux = Flux::start("no-source").await?;
    let revision = flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    let failed = flux
        .namespace
        .wait_ready(KUSTOMIZATION, "app", "False")
        .await?;
    // KC-SRC-002
    assert_eq!(reason(&failed), "ArtifactFailed");
    assert_eq!(
        message(&failed),
        "GitRepository.source.toolkit.fluxcd.io \"app\" not found"
    );

    flux.follow_main().await?;
    // KC-SRC-017
    flux.applied("app", &revision).await?;
    Ok(())
}

#[tokio::test]
async fn deleting_a_source_triggers_a_reconcile_even_before_the_first_attempt() -> Result {
    let applier = Applier::start("gone-source", Settings::default()).await?;
    let broken =
        applier
            .artifacts
            .put_bytes("broken.tar.gz", "main@sha1:1", b"no archive".to_vec());
    applier.serve(GIT_REPOSITORY, "app", &broken).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    let yaml = yaml.replace("retryInterval: 2s", "retryInterval: 1h");
    applier.namespace.apply(&yaml).await?;
    let failed = applier
        .says("app", "ArtifactFailed", "failed to extract archive")
        .await?;
    assert_eq!(failed["status"]["lastAttemptedRevision"], json!(null));

    applier.namespace.delete(GIT_REPOSITORY, "app").await?;
    // KC-SRC-002, KC-SRC-017: not only after the retry interval
    let gone = "GitRepository.source.toolkit.fluxcd.io \"app\" not found";
    applier.says("app", "ArtifactFailed", gone).await?;
    Ok(())
}

#[tokio::test]
async fn an_unreachable_remote_is_reported_and_the_last_artifact_stays_in_use() -> Result {
    let flux = Flux::start("unreachable").await?;
    let revision = flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &revision).await?;

    // The port is closed.
    let [port] = kind_tests::free_ports()?;
    let nowhere = format!("http://127.0.0.1:{port}/app.git");
    flux.namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"url": nowhere}}))
        .await?;
    let failed = flux
        .namespace
        .wait_ready(GIT_REPOSITORY, "app", "False")
        .await?;
    // SC-GIT-026
    let fetch_failed = condition(&failed, "FetchFailed")
        .cloned()
        .unwrap_or_default();
    assert_eq!(fetch_failed["status"], "True");
    assert_eq!(fetch_failed["reason"], "GitOperationFailed");
    let text = message(&failed);
    assert!(
        text.starts_with("failed to checkout and determine revision: ") && text.contains(&nowhere),
        "{text}"
    );
    assert_eq!(failed["status"]["artifact"]["revision"], revision);

    // KC-SRC-001: a source that fails but has an artifact is still applied
    flux.namespace.delete(CONFIG_MAP, "a").await?;
    flux.namespace
        .request_reconcile(KUSTOMIZATION, "app")
        .await?;
    flux.namespace
        .wait(CONFIG_MAP, "a", "is back", |_| true)
        .await?;

    let back = flux.git.url("app.git");
    flux.namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"url": back}}))
        .await?;
    flux.namespace
        .wait_ready(GIT_REPOSITORY, "app", "True")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_branch_and_a_missing_secret_are_reported() -> Result {
    let flux = Flux::start("no-branch").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.namespace
        .apply(&flux.git_repository("branch", "ref: {branch: nowhere}"))
        .await?;
    flux.namespace
        .apply(&flux.git_repository("secret", "secretRef: {name: nowhere}"))
        .await?;

    let failed = flux
        .namespace
        .wait_ready(GIT_REPOSITORY, "branch", "False")
        .await?;
    // SC-GIT-054
    let expected = format!(
        "failed to checkout and determine revision: unable to clone '{}': couldn't find remote ref \"refs/heads/nowhere\"",
        flux.git.url("app.git")
    );
    assert_eq!(message(&failed), expected);
    let failed = flux
        .namespace
        .wait_ready(GIT_REPOSITORY, "secret", "False")
        .await?;
    // SC-GIT-024
    assert_eq!(reason(&failed), "AuthenticationFailed");
    let named = format!("failed to get secret '{}/nowhere'", flux.namespace.name());
    assert!(message(&failed).contains(&named), "{}", message(&failed));
    Ok(())
}

#[tokio::test]
async fn a_controller_killed_during_an_apply_finishes_after_its_restart() -> Result {
    const OBJECTS: usize = 120;
    let mut flux = Flux::start("killed").await?;
    let files: Vec<(String, String)> = (0..OBJECTS)
        .map(|n| {
            (
                format!("{n:03}.yaml"),
                config_map(&format!("map-{n:03}"), "1"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let revision = flux.commit(&files);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;

    // The first object exists and the last does not: the apply is under way.
    let is_ours = |map: &Value| {
        map["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("map-"))
    };
    flux.namespace
        .wait_all(CONFIG_MAP, "begin to appear", |maps| {
            maps.iter().any(is_ours).then_some(())
        })
        .await?;
    flux.kustomize.kill()?;
    let names = flux.namespace.names(CONFIG_MAP).await?;
    let applied = names.iter().filter(|name| name.starts_with("map-")).count();
    println!("killed after {applied} of {OBJECTS} objects");
    let killed = flux
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(
        killed["status"]["lastAppliedRevision"],
        json!(null),
        "it was killed too late to prove anything"
    );

    flux.kustomize.restart().await?;
    let done = flux.applied("app", &revision).await?;
    assert_eq!(
        done["status"]["inventory"]["entries"]
            .as_array()
            .map(Vec::len),
        Some(OBJECTS)
    );

    // The first half is in the inventory: everything can be pruned.
    let mut commit = flux.repo.commit("main").clear();
    commit = commit.file("only.yaml", config_map("only", "1"));
    let revision = format!("main@sha1:{}", commit.create());
    flux.fetch().await?;
    flux.applied("app", &revision).await?;
    flux.namespace
        .wait_all(CONFIG_MAP, "are pruned", |maps| {
            (!maps.iter().any(is_ours)).then_some(())
        })
        .await
}

#[tokio::test]
async fn a_source_controller_killed_during_a_fetch_recovers_after_its_restart() -> Result {
    let mut flux = Flux::start("refetch").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;

    let revision = flux.commit(&[("a.yaml", &config_map("a", "2"))]);
    flux.fetch().await?;
    flux.source.kill()?;
    flux.source.restart().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &revision).await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_artifact_is_rebuilt() -> Result {
    let mut flux = Flux::start("vanished").await?;
    let revision = flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    let before = flux.follow_main().await?;
    flux.source.kill()?;
    // As when the pod moves and its emptyDir is lost.
    std::fs::remove_dir_all(
        flux.namespace
            .folder()
            .join("source-controller")
            .join("gitrepository"),
    )?;
    flux.source.restart().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    // SC-ART-031, KC-SRC-008
    flux.applied("app", &revision).await?;
    let after = flux
        .namespace
        .wait_ready(GIT_REPOSITORY, "app", "True")
        .await?;
    // SC-ART-064
    assert_eq!(
        before["status"]["artifact"]["digest"],
        after["status"]["artifact"]["digest"]
    );
    Ok(())
}
