//! What is fetched and stored.

use flux_artifact::Algorithm;
use git_servers::{Authority, HttpGitServer};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{World, message};
use crate::{INDEX, plain, world};

/// The stored index.
fn stored_index(world: &World, object: &Value) -> Result<Value> {
    let path = object["status"]["artifact"]["path"]
        .as_str()
        .unwrap_or_default();
    Ok(serde_json::from_slice(&std::fs::read(
        world.storage().join(path),
    )?)?)
}

#[tokio::test]
async fn an_index_is_stored_as_json() -> Result {
    let world = plain("helm-index").await?;
    world.repository("charts", "").await?;
    let object = world.ready("charts").await?;
    let artifact = &object["status"]["artifact"];
    let digest = Algorithm::Sha256.digest(INDEX.as_bytes());
    // SC-HREPO-034
    ensure!(artifact["revision"] == digest.to_string(), "{artifact}");
    let hex = digest.hex();
    let name = world.namespace.name().to_owned();
    let path = format!("helmrepository/{name}/charts/index-{hex}.yaml");
    // SC-HREPO-036
    ensure!(artifact["path"] == path.as_str(), "{artifact}");
    let index = stored_index(&world, &object)?;
    ensure!(index["entries"]["web"][0]["apiVersion"] == "v1", "{index}");
    let bytes = std::fs::read(world.storage().join(&path))?;
    ensure!(
        bytes.starts_with(b"{\n  \"apiVersion\": \"v1\",\n"),
        "{index}"
    );
    let stored = Algorithm::Sha256.digest(&bytes).to_string();
    ensure!(artifact["digest"] == stored, "{artifact}");
    // SC-HREPO-037
    let url = object["status"]["url"].as_str().unwrap_or_default();
    ensure!(
        url.ends_with(&format!("/helmrepository/{name}/charts/index.yaml")),
        "{object}"
    );
    let text = message(&object, "ArtifactInStorage");
    ensure!(
        text == format!("stored artifact: revision '{digest}'"),
        "{text}"
    );
    // SC-HREPO-038
    let event = format!(
        "stored fetched index of size {}B from '{}'",
        bytes.len(),
        world.git.url("charts")
    );
    world.recorded("charts", "NewArtifact", &event).await?;
    let requests = world.git.requests();
    ensure!(requests.len() == 1, "{requests:?}");
    let request = &requests[0];
    // SC-HREPO-026
    ensure!(request.target == "/charts/index.yaml", "{request:?}");
    ensure!(
        request.user_agent.as_deref() == Some("Helm/4.3"),
        "{request:?}"
    );
    ensure!(request.authorization.is_none(), "{request:?}");
    Ok(())
}

// SC-HREPO-030, SC-HREPO-035
#[tokio::test]
async fn an_unchanged_index_is_not_stored_again() -> Result {
    let settings = Settings::default().telling_progress();
    let world = world("helm-same", settings, HttpGitServer::builder()).await?;
    world.repository("charts", "").await?;
    let before = world.ready("charts").await?;
    let after = world.reconcile("charts").await?;
    ensure!(
        after["status"]["artifact"] == before["status"]["artifact"],
        "{after}"
    );
    // SC-HREPO-044: the whole index is asked for, though the server gave an entity tag
    let requests = world.git.requests();
    ensure!(
        requests.len() == 2
            && requests
                .iter()
                .all(|request| !request.is_conditional && request.status == 200),
        "{requests:?}"
    );
    world
        .recorded("charts", "NewArtifact", "stored fetched index")
        .await?;

    world.publish(&INDEX.replace("1.0.0", "1.1.0"))?;
    let moved = |object: &Value| {
        object["status"]["artifact"]["revision"] != before["status"]["artifact"]["revision"]
    };
    let change = async { world.reconcile("charts").await.map(|_| ()) };
    let seen = Box::pin(world.history("charts", change, moved)).await?;
    let outdated = seen.iter().any(|object| {
        message(object, "ArtifactOutdated").starts_with("new index revision 'sha256:")
            && message(object, "Reconciling").starts_with("building artifact: new index revision")
    });
    ensure!(outdated, "{seen:#?}");
    let object = world.ready("charts").await?;
    let index = stored_index(&world, &object)?;
    ensure!(index["entries"]["web"][0]["version"] == "1.1.0", "{index}");
    Ok(())
}

// SC-AUTH-040, SC-HREPO-027, RT-SEC-016
#[tokio::test]
async fn credentials_and_certificates_come_from_secrets() -> Result {
    let authority = Authority::new();
    let server = HttpGitServer::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .basic_auth("flux", "pass");
    let world = world("helm-auth", Settings::default(), server).await?;
    let pair = authority.issue(&["client"]);
    let tls = json!({"ca.crt": authority.pem(), "tls.crt": pair.certificate, "tls.key": pair.key});
    let mut both = tls.clone();
    both["username"] = json!("flux");
    both["password"] = json!("pass");
    for (name, data) in [
        ("basic", json!({"username": "flux", "password": "pass"})),
        ("tls", tls),
        ("both", both),
        ("half", json!({"username": "flux"})),
        ("no-pair", json!({"tls.crt": pair.certificate})),
        (
            "stranger",
            json!({"username": "flux", "password": "pass", "ca.crt": Authority::new().pem()}),
        ),
        (
            "no-key",
            json!({"username": "flux", "password": "pass", "ca.crt": authority.pem(), "tls.crt": pair.certificate}),
        ),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        world.namespace.apply(&secret.to_string()).await?;
    }
    let line = "warning: specifying TLS authentication data via `.spec.secretRef` is deprecated, please use `.spec.certSecretRef` instead";
    let deprecated = |found: &Value| found["msg"] == line;
    // SC-AUTH-042: the certificates of certSecretRef come first, and those of secretRef are not even looked at
    for secret in ["stranger", "no-key"] {
        let spec = format!("secretRef: {{name: {secret}}}, certSecretRef: {{name: tls}}");
        world.repository(secret, &spec).await?;
        world.ready(secret).await?;
    }
    // Without it, what is incomplete is no certificate, and nothing vouches for the server.
    world
        .repository("no-pair-used", "secretRef: {name: no-key}")
        .await?;
    let text = world
        .condition("no-pair-used", "FetchFailed", "True", "Failed")
        .await?;
    ensure!(text.contains("tls: failed to verify certificate"), "{text}");
    ensure!(
        !world.controller.log().entries().iter().any(deprecated),
        "nothing deprecated was used"
    );
    world
        .repository(
            "charts",
            "secretRef: {name: basic}, certSecretRef: {name: tls}",
        )
        .await?;
    world.ready("charts").await?;
    world
        .repository("deprecated", "secretRef: {name: both}")
        .await?;
    world.ready("deprecated").await?;
    world
        .controller
        .log()
        .wait("of the deprecated use", deprecated)
        .await?;
    let namespace = world.namespace.name().to_owned();
    // SC-AUTH-041: what Helm has no use for; SC-AUTH-046: a docker configuration
    let config = json!({"auths": {"example.com": {"username": "u", "password": "p"}}}).to_string();
    for (name, kind, data) in [
        (
            "unused",
            "Opaque",
            json!({"bearerToken": "b", "token": "t", "identity": "i", "known_hosts": "k"}),
        ),
        (
            "docker",
            "kubernetes.io/dockerconfigjson",
            json!({".dockerconfigjson": config}),
        ),
        (
            "app",
            "Opaque",
            json!({"githubAppID": "1", "githubAppPrivateKey": "k"}),
        ),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name}, "stringData": data});
        world.namespace.apply(&secret.to_string()).await?;
    }
    for name in ["unused", "docker"] {
        world.git.clear_requests();
        let spec = format!("certSecretRef: {{name: tls}}, secretRef: {{name: {name}}}");
        world.repository(name, &spec).await?;
        let text = world
            .condition(name, "FetchFailed", "True", "Failed")
            .await?;
        ensure!(text.ends_with("401 Unauthorized"), "{text}");
        let requests = world.git.requests();
        ensure!(
            requests
                .iter()
                .all(|request| request.authorization.is_none()),
            "{requests:?}"
        );
    }
    for (name, spec, text) in [
        // SC-AUTH-041
        (
            "app",
            "certSecretRef: {name: tls}, secretRef: {name: app}",
            format!(
                "failed to detect authentication methods: secret '{namespace}/app' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"
            ),
        ),
        (
            "half",
            "certSecretRef: {name: tls}, secretRef: {name: half}",
            format!(
                "failed to detect authentication methods: secret '{namespace}/half': malformed basic auth - has 'username' but missing 'password'"
            ),
        ),
        (
            // SC-AUTH-042
            "no-pair",
            "certSecretRef: {name: no-pair}",
            format!(
                "failed to construct Helm client's TLS config: secret '{namespace}/no-pair' contains 'tls.crt' but missing 'tls.key'"
            ),
        ),
        // SC-HREPO-023
        (
            "missing",
            "secretRef: {name: none}",
            format!(
                "failed to get authentication secret '{namespace}/none': secrets \"none\" not found"
            ),
        ),
    ] {
        world.repository(name, spec).await?;
        let found = world
            .condition(name, "FetchFailed", "True", "AuthenticationFailed")
            .await?;
        ensure!(found == text, "{found}");
    }
    Ok(())
}
