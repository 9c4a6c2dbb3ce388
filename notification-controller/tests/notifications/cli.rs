//! The real flux command with Alerts, Providers and Receivers.

use std::process::{Command, Output};

use kind_tests::{GIT_REPOSITORY, RECEIVER, Result, SECRET, ensure, flux_cli};
use serde_json::Value;

use crate::World;

/// What flux does in the namespace.
fn flux(world: &World, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(flux_cli::program()?)
        .args(arguments)
        .args(["--namespace", world.namespace.name(), "--timeout", "60s"])
        .env("KUBECONFIG", world.namespace.cluster().kubeconfig())
        .output()?;
    Ok(output)
}

/// What flux prints in the namespace.
fn printed(world: &World, arguments: &[&str]) -> Result<String> {
    let output = flux(world, arguments)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "flux {}:\n{text}{errors}",
        arguments.join(" ")
    );
    Ok(text)
}

/// Runs flux in the namespace; the cells of the row that begins with `name`, if the output is a table.
fn run(world: &World, arguments: &[&str], name: &str) -> Result<Vec<String>> {
    let text = printed(world, arguments)?;
    let row = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default();
    Ok(row
        .trim_end()
        .split('\t')
        .map(|cell| cell.trim().to_owned())
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_lists_and_reconciles() -> Result {
    let world = World::start("notify-cli").await?;
    world.secret("token", "token: t").await?;
    world
        .apply("Provider", "out", "type: generic, address: 'https://h'")
        .await?;
    world
        .apply(
            "Alert",
            "all",
            "providerRef: {name: out}, eventSources: [{kind: Kustomization, name: '*'}]",
        )
        .await?;
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    // NC-COMPAT-012
    let cells = run(&world, &["get", "alert-providers"], "out")?;
    ensure!(cells == ["out", "True", "Provider is Ready"], "{cells:?}");
    let cells = run(&world, &["get", "alerts"], "all")?;
    ensure!(
        cells == ["all", "False", "True", "Alert is Ready"],
        "{cells:?}"
    );
    // NC-COMPAT-013
    let cells = run(&world, &["get", "receivers"], "hook")?;
    ensure!(cells[..3] == ["hook", "False", "True"], "{cells:?}");
    ensure!(
        cells[3].starts_with("Receiver initialized for path: /hook/"),
        "{cells:?}"
    );
    // NC-COMPAT-014, NC-COMPAT-015
    run(&world, &["reconcile", "receiver", "hook"], "")?;
    run(&world, &["suspend", "receiver", "hook"], "")?;
    run(&world, &["resume", "receiver", "hook"], "")?;
    Ok(())
}

/// A GitRepository that nothing fetches.
async fn target(world: &World) -> Result {
    let yaml = "{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: app}, \
                spec: {url: 'https://h/r', interval: 1h, suspend: true}}";
    world.namespace.apply(yaml).await?;
    Ok(())
}

async fn is_requested(world: &World) -> Result<Value> {
    let requested = |object: &Value| {
        object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].is_string()
    };
    world
        .namespace
        .wait(GIT_REPOSITORY, "app", "is requested", requested)
        .await
}

// NC-COMPAT-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_of_the_flux_cli_are_for_receivers_of_their_name() -> Result {
    let world = World::start("notify-cli-hook").await?;
    target(&world).await?;
    let create = ["create", "secret", "receiver"];
    let create = |name: &'static str, more: &[&'static str]| {
        let host = "--hostname=flux.example.com";
        [&create[..], &[name, host], more].concat()
    };
    printed(&world, &create("hook", &["--type=generic"]))?;
    let secret = world
        .namespace
        .get(SECRET, "hook")
        .await?
        .unwrap_or_default();
    let spec =
        "type: generic, secretRef: {name: hook}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    let receiver = world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    let path = receiver["status"]["webhookPath"]
        .as_str()
        .unwrap_or_default();
    let url = &secret["metadata"]["annotations"]["notification.toolkit.fluxcd.io/webhook"];
    assert_eq!(*url, format!("https://flux.example.com{path}").as_str());

    // a Receiver of another name has another path
    let other = spec.replace("app", "other");
    world.apply("Receiver", "other", &other).await?;
    let other = world
        .namespace
        .wait_ready(RECEIVER, "other", "True")
        .await?;
    ensure!(other["status"]["webhookPath"] != path, "{other}");

    let more = [
        "--type=gcr",
        "--email-claim=a@b.example",
        "--token=t0ken",
        "--export",
    ];
    let exported = printed(&world, &create("gcr", &more))?;
    world.namespace.apply(&exported).await?;
    let spec = "type: gcr, secretRef: {name: gcr}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "gcr", spec).await?;
    let receiver = world.namespace.wait_ready(RECEIVER, "gcr", "True").await?;
    let path = receiver["status"]["webhookPath"]
        .as_str()
        .unwrap_or_default();
    for line in [
        "email: a@b.example".to_owned(),
        "token: t0ken".to_owned(),
        format!("audience: https://flux.example.com{path}"),
    ] {
        ensure!(
            exported.lines().any(|other| other.trim() == line),
            "{exported}"
        );
    }
    Ok(())
}

// NC-RECV-059
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_triggers_receivers() -> Result {
    let world = World::start("notify-cli-call").await?;
    target(&world).await?;
    world.secret("token", "token: t0ken").await?;
    let base = world.controller.webhooks_url().unwrap_or_default();
    let url = format!("--url={base}");
    let url = url.as_str();
    let trigger = |name: &'static str| ["trigger", "receiver", name, "--token=t0ken"];
    let resources = "secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    // The first calls are answered with 404: the Receiver is created later.
    let calls = [
        &trigger("hook")[..],
        &[url, "--retries=200", "--retry-delay=100ms"],
    ]
    .concat();
    let calling = tokio::task::block_in_place(|| {
        let command = Command::new(flux_cli::program()?)
            .args(&calls)
            .args(["--namespace", world.namespace.name()])
            .env("KUBECONFIG", world.namespace.cluster().kubeconfig())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        Ok::<_, kind_tests::Failure>(command)
    });
    let mut calling = calling?;
    let refused = |page: &str| {
        page.lines().any(|line| {
            line.starts_with("gotk_receiver_http_request_duration_seconds_count{")
                && line.contains("code=\"404\"")
        })
    };
    world
        .controller
        .metrics_when("the call is refused", refused)
        .await?;
    world
        .apply("Receiver", "hook", &format!("type: generic, {resources}"))
        .await?;
    is_requested(&world).await?;
    let status = tokio::task::block_in_place(|| calling.wait())?;
    ensure!(status.success(), "{status}");

    // 400 is final: the call is not signed
    let spec = format!("type: generic-hmac, {resources}");
    world.apply("Receiver", "signed", &spec).await?;
    world
        .namespace
        .wait_ready(RECEIVER, "signed", "True")
        .await?;
    let signed = [
        &trigger("signed")[..],
        &[url, "--retry-delay=100ms", "--retries=200"],
    ]
    .concat();
    printed(&world, &[&signed[..], &["--type=generic-hmac"]].concat())?;
    let unsigned = [&trigger("signed")[..], &[url, "--retry-delay=1h"]].concat();
    let output = flux(&world, &unsigned)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && errors.contains("400"),
        "{errors}"
    );
    Ok(())
}

// NC-COMPAT-017
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_shows_events() -> Result {
    let world = World::start("notify-cli-news").await?;
    world.secret("token", "token: t").await?;
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    world.recorded("hook", "Succeeded", "").await?;
    let spec = "providerRef: {name: absent}, eventSources: [{kind: Kustomization, name: '*'}]";
    world.apply("Alert", "all", spec).await?;
    world
        .told(
            "all",
            "NotificationDispatchFailed",
            "",
            &world.event("failing"),
        )
        .await?;
    let shown = printed(&world, &["events", "--for", "Receiver/hook"])?;
    ensure!(
        shown.contains("Succeeded") && shown.contains("Reconciliation finished, next run in "),
        "{shown}"
    );
    let warnings = ["events", "--for", "Alert/all", "--types", "Warning"];
    let shown = printed(&world, &warnings)?;
    ensure!(
        shown.contains("NotificationDispatchFailed") && shown.contains("\"absent\" not found"),
        "{shown}"
    );
    Ok(())
}
