//! Transports and credentials of repositories.

use git_servers::{Authority, HttpGitServer, Repo, SshGitServer, SshKey, sshd_available};
use kind_tests::{Flux, GIT_REPOSITORY, Result, condition};
use serde_json::json;

use crate::config_map;

fn repository(url: &str) -> String {
    format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{url: '{url}', interval: 10m, ref: {{branch: main}}, secretRef: {{name: access}}}}
"
    )
}

async fn secret(flux: &Flux, data: serde_json::Value) -> Result {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "access"}, "stringData": data});
    flux.namespace.apply(&secret.to_string()).await?;
    Ok(())
}

#[tokio::test]
async fn a_repository_is_cloned_over_https_with_password_and_private_ca() -> Result {
    let authority = Authority::new();
    let server = HttpGitServer::builder()
        .tls(&authority)
        .basic_auth("flux", "s3cret")
        .start();
    let repo = Repo::init(server.root(), "app.git");
    let commit = repo
        .commit("main")
        .file("map.yaml", config_map("settings", "1"))
        .create();

    let flux = Flux::start("https").await?;
    secret(
        &flux,
        json!({"username": "flux", "password": "wrong", "ca.crt": authority.pem()}),
    )
    .await?;
    flux.namespace
        .apply(&repository(&server.url("app.git")))
        .await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    let refused = flux
        .namespace
        .wait_ready(GIT_REPOSITORY, "app", "False")
        .await?;
    // SC-GIT-026
    let failed = condition(&refused, "FetchFailed")
        .cloned()
        .unwrap_or_default();
    assert_eq!(failed["reason"], "GitOperationFailed");
    assert!(
        !failed["message"].to_string().contains("wrong"),
        "the password is in the message: {failed}"
    );

    secret(
        &flux,
        json!({"username": "flux", "password": "s3cret", "ca.crt": authority.pem()}),
    )
    .await?;
    flux.fetch().await?;
    // SC-GIT-121, SC-GIT-123
    flux.applied("app", &format!("main@sha1:{commit}")).await?;
    Ok(())
}

#[tokio::test]
async fn a_repository_is_cloned_over_ssh_with_a_deploy_key() -> Result {
    if !sshd_available() {
        eprintln!("skipped: no sshd here");
        return Ok(());
    }
    let key = SshKey::ed25519();
    let server = SshGitServer::builder().authorize(&key.public()).start();
    let repo = Repo::init(server.root(), "app.git");
    let commit = repo
        .commit("main")
        .file("map.yaml", config_map("settings", "1"))
        .create();

    let flux = Flux::start("ssh").await?;
    let known_hosts = server.known_hosts();
    secret(&flux, json!({"identity": key.private(), "identity.pub": key.public(), "known_hosts": known_hosts})).await?;
    flux.namespace
        .apply(&repository(&server.url("app.git")))
        .await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    // SC-GIT-124, SC-GIT-126
    flux.applied("app", &format!("main@sha1:{commit}")).await?;
    Ok(())
}
