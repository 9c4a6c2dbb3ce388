//! Fetch failures are reported in conditions.

use kind_tests::controller::Settings;
use kind_tests::{GIT_REPOSITORY, Result, ensure};
use serde_json::Value;

use crate::support::World;

#[tokio::test]
async fn fetch_failures_are_reported_in_a_condition() -> Result {
    let world = World::start("git-failures").await?;
    let repo = world.repo("app.git");
    git_servers::Repo::init(world.git.root(), "empty.git");
    world
        .namespace
        .apply(
            "
{apiVersion: v1, kind: Secret, metadata: {name: password-only}, stringData: {password: s3cret}}
---
{apiVersion: v1, kind: Secret, metadata: {name: app-data}, stringData: {githubAppID: '1'}}
---
{apiVersion: v1, kind: Secret, metadata: {name: no-proxy}, stringData: {note: nothing}}
",
        )
        .await?;
    let ns = world.namespace.name().to_owned();
    let url = world.git.url("app.git");
    let gone = "0123456789012345678901234567890123456789";
    let main = repo.rev_parse("main");
    let cases: Vec<(&str, String, String, &str, String)> = vec![
        // SC-GIT-054
        ("branch", url.clone(), "ref: {branch: none}".into(), "GitOperationFailed", "failed to checkout and determine revision: unable to clone".into()),
        // SC-GIT-054
        ("tag", url.clone(), "ref: {tag: none}".into(), "GitOperationFailed", "couldn't find remote ref \"refs/tags/none\"".into()),
        // SC-GIT-045
        ("semver", url.clone(), "ref: {semver: '>9'}".into(), "GitOperationFailed", "no match found for semver: >9".into()),
        // SC-GIT-045
        ("range", url.clone(), "ref: {semver: 'x y'}".into(), "GitOperationFailed", "semver parse error: ".into()),
        // SC-GIT-047
        ("name", url.clone(), "ref: {name: refs/none}".into(), "GitOperationFailed", "unable to resolve ref 'refs/none' to a specific commit".into()),
        // SC-GIT-056: the end of references that a host does not list
        ("merge", url.clone(), "ref: {name: refs/pull/9/merge}".into(), "GitOperationFailed", "unable to resolve ref 'refs/pull/9/merge' to a specific commit".into()),
        // SC-GIT-047
        ("slash", url.clone(), "ref: {name: refs/none/}".into(), "GitOperationFailed", "Git refs cannot begin or end with a slash '/'".into()),
        // SC-GIT-053
        ("commit", url.clone(), format!("ref: {{commit: '{gone}'}}"), "GitOperationFailed", format!("unable to resolve commit object for '{gone}'")),
        // SC-GIT-053
        ("short", url.clone(), format!("ref: {{commit: '{}'}}", &main[..8]), "GitOperationFailed", format!("unable to resolve commit object for '{}'", &main[..8])),
        // SC-GIT-027
        ("empty", world.git.url("empty.git"), "ref: {branch: main}".into(), "EmptyGitRepository", "git repository is empty".into()),
        // SC-GIT-026
        ("missing", world.git.url("none.git"), "ref: {branch: main}".into(), "GitOperationFailed", "failed to checkout and determine revision: ".into()),
        ("refused", "http://127.0.0.1:1/app.git".into(), "ref: {branch: main}".into(), "GitOperationFailed", "failed to checkout and determine revision: ".into()),
        // SC-GIT-074
        ("sparse", url.clone(), "ref: {branch: main}, sparseCheckout: [nowhere]".into(), "GitOperationFailed", "failed to sparse checkout directories : sparse checkout dir 'nowhere' does not exist in repository: ".into()),
        // SC-GIT-024
        ("secret", url.clone(), "ref: {branch: main}, secretRef: {name: none}".into(), "AuthenticationFailed", format!("failed to get secret '{ns}/none'")),
        // SC-GIT-025, SC-AUTH-012
        ("password", url.clone(), "ref: {branch: main}, secretRef: {name: password-only}".into(), "AuthenticationFailed", "failed to configure authentication options: invalid 'http' auth option: 'password' requires 'username' to be set".into()),
        ("proxy", url.clone(), "ref: {branch: main}, proxySecretRef: {name: none}".into(), "AuthenticationFailed", format!("failed to configure proxy options: secret '{ns}/none' not found")),
        ("proxy-key", url.clone(), "ref: {branch: main}, proxySecretRef: {name: no-proxy}".into(), "AuthenticationFailed", format!("failed to configure proxy options: secret '{ns}/no-proxy': key 'address' not found")),
        // SC-AUTH-014
        ("ssh", "ssh://git@127.0.0.1/app.git".into(), "ref: {branch: main}".into(), "AuthenticationFailed", "failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required".into()),
        // SC-AUTH-017
        ("app-data", url.clone(), "ref: {branch: main}, secretRef: {name: app-data}".into(), "InvalidProviderConfiguration", format!("secretRef '{ns}/app-data' has github app data but provider is not set to github")),
        // SC-AUTH-018
        ("app-none", url.clone(), "ref: {branch: main}, provider: github".into(), "InvalidProviderConfiguration", "secretRef with github app data must be specified when provider is set to github".into()),
        ("app-lacks", url.clone(), "ref: {branch: main}, provider: github, secretRef: {name: no-proxy}".into(), "InvalidProviderConfiguration", "secretRef with github app data must be specified when provider is set to github".into()),
        // SC-AUTH-023, SC-AUTH-025
        ("cloud", url.clone(), "ref: {branch: main}, provider: aws".into(), "AuthenticationFailed", "failed to configure authentication options: AWS CodeCommit authentication requires an HTTPS Git URL".into()),
        ("other-cloud", "https://127.0.0.1:1/app.git".into(), "ref: {branch: main}, provider: aws".into(), "AuthenticationFailed", "failed to configure authentication options: invalid AWS CodeCommit Git URL: 127.0.0.1:1".into()),
        // RT-WID-002, RT-WID-029
        ("account", url.clone(), "ref: {branch: main}, provider: azure, serviceAccountName: x".into(), "AuthenticationFailed", format!("failed to configure authentication options: failed to get access token for Git repository: failed to get service account '{ns}/x': serviceaccounts \"x\" not found")),
        // SC-GIT-023
        ("url", "https://[".into(), "ref: {branch: main}".into(), "URLInvalid", "failed to parse url 'https://[': ".into()),
    ];
    for (name, url, spec, _, _) in &cases {
        world.apply_url(name, url, spec).await?;
    }
    for (name, _, _, reason, message) in &cases {
        let found = world.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(found.contains(message.as_str()), "{name}: {found}");
        let ready = world.condition(name, "Ready", "False", reason).await?;
        ensure!(ready == found, "{name}: {ready}");
        let is_stalled = ["app-none", "url"].contains(name);
        if is_stalled {
            let stalled = world.condition(name, "Stalled", "True", reason).await?;
            ensure!(stalled == found, "{name}: {stalled}");
        } else {
            world
                .condition(name, "Reconciling", "True", "ProgressingWithRetry")
                .await?;
        }
        let object = world
            .namespace
            .get(GIT_REPOSITORY, name)
            .await?
            .unwrap_or_default();
        let observed = &object["status"]["observedGeneration"];
        ensure!(
            *observed == if is_stalled { 1 } else { -1 } || (!is_stalled && observed.is_null()),
            "{name}: {object}"
        );
        let told =
            |event: &Value| event["involvedObject"]["name"] == *name && event["reason"] == *reason;
        let event = world.events.wait(&format!("tells of {name}"), told).await?;
        ensure!(
            event["severity"] == "error" && event["metadata"].is_null(),
            "{event}"
        );
    }
    world.events.check()
}

// SC-PROC-085, SC-GIT-064, SC-AUTH-001
#[tokio::test]
async fn an_artifact_outlives_a_failure_and_the_recovery_is_reported() -> Result {
    let git = git_servers::HttpGitServer::builder()
        .basic_auth("flux", "s3cret")
        .start();
    let world = World::start_with("git-recovery", Settings::default(), git).await?;
    let repo = world.repo("app.git");
    let revision = format!("main@sha1:{}", repo.rev_parse("main"));
    let secret = |password: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: login}}, stringData: {{username: flux, password: {password}}}}}"
        )
    };
    world.namespace.apply(&secret("s3cret")).await?;
    world
        .apply(
            "app",
            "app.git",
            "ref: {branch: main}, secretRef: {name: login}",
        )
        .await?;
    let before = world.ready("app").await?;

    world.namespace.apply(&secret("wrong")).await?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    world
        .condition("app", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    let log = world.controller.log().lines().join("\n");
    ensure!(
        !log.contains("s3cret") && !log.contains("wrong"),
        "a password in the log"
    );

    world.namespace.apply(&secret("s3cret")).await?;
    let object = world.reconcile("app").await?;
    ensure!(
        kind_tests::condition(&object, "FetchFailed").is_none(),
        "{object}"
    );
    let event = world
        .events
        .wait("tells of the recovery", |event| {
            event["reason"] == "Succeeded"
        })
        .await?;
    ensure!(
        event["message"] == format!("stored artifact for commit '{revision}'"),
        "{event}"
    );
    Ok(())
}

/// A spec with two faults, and the one that is reported: the reason and part of the message of Ready.
const ORDER: &[(&str, &str, &str, &str)] = &[
    // SC-GIT-020, SC-GIT-021: source, includes, artifact; within the source from the proxy to the signature
    (
        "https://[",
        "proxySecretRef: {name: none}",
        "AuthenticationFailed",
        "failed to configure proxy options: ",
    ),
    (
        "https://[",
        "secretRef: {name: none}",
        "URLInvalid",
        "failed to parse url 'https://[': ",
    ),
    (
        "GIT",
        "secretRef: {name: none}, include: [{repository: {name: none}}]",
        "AuthenticationFailed",
        "failed to get secret ",
    ),
    (
        "GIT",
        "secretRef: {name: half}, provider: aws",
        "AuthenticationFailed",
        "'password' requires 'username' to be set",
    ),
    (
        "GIT",
        "provider: github, include: [{repository: {name: none}}]",
        "InvalidProviderConfiguration",
        "secretRef with github app data must be specified",
    ),
    (
        "GIT",
        "ref: {branch: none}, include: [{repository: {name: none}}]",
        "NotFound",
        "could not get resource for include 'none'",
    ),
    (
        "GIT",
        "ref: {branch: none}, sparseCheckout: [nowhere]",
        "GitOperationFailed",
        "couldn't find remote ref",
    ),
    (
        "GIT",
        "ref: {branch: main}, sparseCheckout: [nowhere], verify: {secretRef: {name: none}}",
        "GitOperationFailed",
        "failed to sparse checkout directories : ",
    ),
    (
        "GIT",
        "ref: {branch: main}, verify: {secretRef: {name: none}}, include: [{repository: {name: lib}, fromPath: nowhere}]",
        "VerificationError",
        "public keys secret error: ",
    ),
    (
        "GIT",
        "ref: {branch: loop}, include: [{repository: {name: lib}, fromPath: nowhere}]",
        "CopyFailure",
        "failed to copy 'lib' include from nowhere to lib: ",
    ),
];

#[tokio::test]
async fn the_first_of_two_failed_steps_is_reported() -> Result {
    let world = World::start("git-order").await?;
    let repo = world.repo("app.git");
    repo.commit("loop")
        .symlink(".sourceignore", ".sourceignore")
        .create();
    world
        .namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: half}, stringData: {password: s3cret}}")
        .await?;
    world.apply("lib", "app.git", "ref: {branch: main}").await?;
    world.ready("lib").await?;
    for (number, (url, spec, _, _)) in ORDER.iter().enumerate() {
        let url = url.replace("GIT", &world.git.url("app.git"));
        world
            .apply_url(&format!("case-{number}"), &url, spec)
            .await?;
    }
    for (number, (_, spec, reason, words)) in ORDER.iter().enumerate() {
        let message = world
            .condition(&format!("case-{number}"), "Ready", "False", reason)
            .await?;
        ensure!(message.contains(words), "{spec}: {message}");
    }
    Ok(())
}

// SC-PROC-026: with the default delays of 750 ms and more, twelve attempts would take most of an hour
#[tokio::test]
async fn failures_are_retried_with_the_configured_delays() -> Result {
    let settings = Settings::default()
        .flag("--min-retry-delay=1ms")
        .flag("--max-retry-delay=20ms");
    let world =
        World::start_with("git-retry", settings, git_servers::HttpGitServer::start()).await?;
    world
        .apply("app", "none.git", "ref: {branch: main}")
        .await?;
    let often = |_: &Value| {
        let entries = world.controller.log().entries();
        let tries = entries
            .iter()
            .filter(|line| line["msg"] == "Reconciler error");
        tries.count() >= 12
    };
    world
        .controller
        .log()
        .wait("of the twelfth try", often)
        .await?;
    let errors = "controller_runtime_reconcile_errors_total{controller=\"gitrepository\"}";
    world.controller.metrics_with(&[errors]).await?;
    Ok(())
}
