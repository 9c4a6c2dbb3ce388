//! Private authorities and client certificates.

use git_servers::{Authority, HttpGitServer};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::json;

use crate::support::World;

// SC-AUTH-010, SC-AUTH-013, SC-GIT-123
#[tokio::test]
async fn tls_uses_the_private_ca_and_client_certificate_of_the_secret() -> Result {
    let authority = Authority::new();
    let git = HttpGitServer::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .bearer_token("t0ken")
        .start();
    let world = World::start_with("git-tls", Settings::default(), git).await?;
    world.repo("app.git");
    let pair = authority.issue(&["client"]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "stringData": {
        "ca.crt": authority.pem(), "tls.crt": pair.certificate, "tls.key": pair.key, "bearerToken": "t0ken"}});
    world.namespace.apply(&secret.to_string()).await?;
    world
        .apply(
            "app",
            "app.git",
            "ref: {branch: main}, secretRef: {name: tls}",
        )
        .await?;
    world.ready("app").await?;
    world
        .apply("stranger", "app.git", "ref: {branch: main}")
        .await?;
    let message = world
        .condition("stranger", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(
        message.starts_with("failed to checkout and determine revision: "),
        "{message}"
    );
    Ok(())
}

// SC-AUTH-013, SC-GIT-123: a certificate's defects are reported
#[tokio::test]
async fn invalid_certificates_are_reported() -> Result {
    let authority = Authority::new();
    let git = HttpGitServer::builder().tls(&authority).start();
    let world = World::start_with("git-badtls", Settings::default(), git).await?;
    world.repo("app.git");
    let pair = authority.issue(&["client"]);
    for (name, data, words) in [
        (
            "no-authority",
            json!({"ca.crt": "no certificate"}),
            "failed to parse CA certificate",
        ),
        (
            "no-pair",
            json!({"ca.crt": authority.pem(), "tls.crt": "no certificate", "tls.key": pair.key}),
            "failed to parse TLS certificate and key",
        ),
        (
            "no-key",
            json!({"ca.crt": authority.pem(), "tls.crt": pair.certificate, "tls.key": "hidden-value"}),
            "failed to parse TLS certificate and key",
        ),
        (
            "stranger",
            json!({"ca.crt": Authority::new().pem()}),
            "certificate",
        ),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        world.namespace.apply(&secret.to_string()).await?;
        let spec = format!("ref: {{branch: main}}, secretRef: {{name: {name}}}");
        world.apply(name, "app.git", &spec).await?;
        let message = world
            .condition(name, "FetchFailed", "True", "GitOperationFailed")
            .await?;
        ensure!(
            message.contains(words) && !message.contains("hidden-value"),
            "{name}: {message}"
        );
    }
    // Those of servers, too.
    let ca = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"ca.crt": authority.pem()}});
    world.namespace.apply(&ca.to_string()).await?;
    for (name, pair, words) in [
        (
            "expired",
            authority.issue_expired(&["127.0.0.1"]),
            "x509: certificate has expired or is not yet valid",
        ),
        (
            "other-name",
            authority.issue(&["git.example.com"]),
            "x509: ",
        ),
    ] {
        let server = HttpGitServer::builder().tls_pair(&pair).start();
        let spec = "ref: {branch: main}, secretRef: {name: ca}";
        world.apply_url(name, &server.url("app.git"), spec).await?;
        let message = world
            .condition(name, "FetchFailed", "True", "GitOperationFailed")
            .await?;
        ensure!(message.contains(words), "{name}: {message}");
    }
    Ok(())
}
