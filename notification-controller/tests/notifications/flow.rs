//! The whole way: a commit breaks a Kustomization, its Alert arrives, the commit's status is set at the forge, and a webhook
//! of the forge triggers the reconcile of the fix.

use hmac::{Hmac, KeyInit as _, Mac as _};
use kind_tests::{ALERT, Cluster, Failure, Flux, KUSTOMIZATION, RECEIVER, Result, ensure};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::service::{Got, Service};

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
const BROKEN: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [\n";

/// A webhook as GitHub sends it.
async fn push(flux: &Flux, url: &str, client: &reqwest::Client) -> Result {
    let body =
        json!({"ref": "refs/heads/main", "repository": {"full_name": "org/app"}}).to_string();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(b"hook-t0ken").map_err(|_| Failure::new("no key"))?;
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let request = client
        .post(url)
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", "push")
        .header("X-Hub-Signature-256", format!("sha256={signature}"))
        .body(body);
    let code = request.send().await?.status().as_u16();
    ensure!(code == 200, "{code} in {}", flux.namespace.name());
    Ok(())
}

/// Waits for the status of a commit.
async fn status(forge: &Service, commit: &str, state: &str) -> Result<Value> {
    let line = format!("POST /api/v3/repos/org/app/statuses/{commit}");
    let fits = |got: &Got| got.line == line && got.json()["state"] == state;
    let got = forge.wait(fits).await;
    let got = got.ok_or_else(|| Failure::new(format!("no status {state} of {commit}")))?;
    ensure!(
        got.header("authorization") == "Bearer forge-t0ken",
        "{:?}",
        got.headers
    );
    Ok(got.json())
}

/// The commit of a revision.
fn commit_of(revision: &str) -> &str {
    revision.rsplit(':').next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_breaks_something_is_told_and_its_fix_is_fetched_at_once() -> Result {
    let flux = Flux::start_notified_on(&Cluster::shared().await?, "notify-whole").await?;
    let client = flux_http::ClientOptions::default().build()?;
    let (chat, forge) = (
        Service::willing().await,
        Service::start(vec![(200, vec![], "[]".to_owned())]).await,
    );
    let group = "notification.toolkit.fluxcd.io/v1";
    let sources = "[{kind: GitRepository, name: '*'}, {kind: Kustomization, name: '*'}]";
    for yaml in [
        "{apiVersion: v1, kind: Secret, metadata: {name: forge}, stringData: {token: forge-t0ken}}"
            .to_owned(),
        "{apiVersion: v1, kind: Secret, metadata: {name: hook}, stringData: {token: hook-t0ken}}"
            .to_owned(),
        format!(
            "{{apiVersion: {group}, kind: Provider, metadata: {{name: chat}}, spec: {{type: generic, address: '{}/chat'}}}}",
            chat.url
        ),
        format!(
            "{{apiVersion: {group}, kind: Provider, metadata: {{name: forge}}, spec: {{type: github, address: '{}/org/app', secretRef: {{name: forge}}}}}}",
            forge.url
        ),
        format!(
            "{{apiVersion: {group}, kind: Alert, metadata: {{name: chat}}, spec: {{providerRef: {{name: chat}}, eventSources: {sources}}}}}"
        ),
        format!(
            "{{apiVersion: {group}, kind: Alert, metadata: {{name: forge}}, spec: {{providerRef: {{name: forge}}, eventSources: [{{kind: Kustomization, name: app}}]}}}}"
        ),
        format!(
            "{{apiVersion: {group}, kind: Receiver, metadata: {{name: forge}}, spec: {{type: github, events: [push], secretRef: {{name: hook}}, resources: [{{kind: GitRepository, name: app}}]}}}}"
        ),
    ] {
        flux.namespace.apply(&yaml).await?;
    }
    let ready = flux.namespace.wait_ready(RECEIVER, "forge", "True").await?;
    let path = ready["status"]["webhookPath"].as_str().unwrap_or_default();
    let notification = flux
        .notification
        .as_ref()
        .ok_or_else(|| Failure::new("no controller"))?;
    let url = format!("{}{path}", notification.webhooks_url().unwrap_or_default());
    ensure!(
        flux.namespace.get(ALERT, "forge").await?.is_some(),
        "no Alert"
    );

    let first = flux.commit(&[("a.yaml", GOOD)]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &first).await?;
    // NC-EVT-064: the event at the end of each run that succeeded sets the status
    status(&forge, commit_of(&first), "success").await?;
    let update = chat
        .wait(|got| got.json()["metadata"]["commit_status"] == "update")
        .await;
    let update = update.ok_or_else(|| Failure::new("no update"))?.json();
    ensure!(update["reason"] == "ReconciliationSucceeded", "{update}");
    ensure!(
        update["reportingController"] == "kustomize-controller",
        "{update}"
    );
    // KC-EVT-001, RT-EVT-020: the action is the step
    let applied = chat
        .wait(|got| {
            got.json()["message"]
                .as_str()
                .is_some_and(|text| text.ends_with("/a created"))
        })
        .await;
    let applied = applied
        .ok_or_else(|| Failure::new("nothing of what was applied"))?
        .json();
    ensure!(applied["action"] == "Apply", "{applied}");

    // A commit breaks it; only the webhook tells of it: the interval is long.
    let broken = flux.commit(&[("a.yaml", BROKEN)]);
    push(&flux, &url, &client).await?;
    let told = chat
        .wait(|got| got.json()["severity"] == "error" && got.json()["reason"] == "BuildFailed")
        .await;
    let told = told.ok_or_else(|| Failure::new("no alert"))?.json();
    ensure!(told["involvedObject"]["kind"] == "Kustomization", "{told}");
    ensure!(told["metadata"]["revision"] == broken, "{told}");
    ensure!(
        told["message"]
            .as_str()
            .is_some_and(|text| text.contains("a.yaml")),
        "{told}"
    );
    // FR-N-026
    let failure = status(&forge, commit_of(&broken), "failure").await?;
    ensure!(failure["description"] == "build failed", "{failure}");

    let fixed = flux.commit(&[("a.yaml", GOOD)]);
    push(&flux, &url, &client).await?;
    flux.applied("app", &fixed).await?;
    status(&forge, commit_of(&fixed), "success").await?;
    let object = flux
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    ensure!(object["status"]["lastAppliedRevision"] == fixed, "{object}");
    Ok(())
}
