//! Credentials, certificates and proxies.

use std::collections::BTreeSet;

use git_servers::{Authority, Proxy};
use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Cluster, IMAGE_REPOSITORY, Namespace, Result, ensure};
use registries::Registry;
use serde_json::{Value, json};

use crate::world::{REFLECTOR, World};

fn secret(name: &str, kind: &str, data: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": data})
        .to_string()
}

const CONFIG: &str = "kubernetes.io/dockerconfigjson";

/// A Secret with registry credentials for the host.
fn pull_secret(name: &str, host: &str, entry: &Value) -> String {
    let config = json!({"auths": {host: entry}}).to_string();
    secret(name, CONFIG, &json!({".dockerconfigjson": config}))
}

#[tokio::test]
async fn pull_secrets_of_the_object_and_of_its_account_are_used() -> Result {
    let registry = Registry::builder().token_auth("flux", "s3cret").start();
    let world = World::start("img-auth", registry).await?;
    world.push(&["1.0.0"]);
    let host = world.registry.host();
    let entry = json!({"username": "flux", "password": "s3cret"});
    // IR-AUTH-007: base64 of flux:s3cret, which wins
    let encoded = json!({"auth": "Zmx1eDpzM2NyZXQ=", "username": "x", "password": "y"});
    let legacy = json!({&host: entry}).to_string();
    let broken = secret("broken", CONFIG, &json!({".dockerconfigjson": "{"}));
    // Kubernetes refuses what is not JSON only where the type is that of a docker configuration.
    let url = format!("https://{host}/v2/");
    for object in [
        pull_secret("pull", &host, &entry),
        pull_secret("encoded", &host, &encoded),
        pull_secret("url", &url, &entry),
        pull_secret("other", "ghcr.io", &entry),
        // IR-AUTH-004
        secret("legacy", "kubernetes.io/dockercfg", &json!({".dockercfg": legacy})),
        secret("opaque", "Opaque", &json!({"identity": "ssh", "known_hosts": "x"})),
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: puller}, imagePullSecrets: [{name: pull}]}".to_owned(),
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bare}}".to_owned(),
    ] {
        world.namespace.apply(&object).await?;
    }
    ensure!(world.namespace.apply(&broken).await.is_err(), "not JSON");
    for (name, spec) in [
        ("pull", "secretRef: {name: pull}"),
        ("encoded", "secretRef: {name: encoded}"),
        // IR-AUTH-006
        ("url", "secretRef: {name: url}"),
        ("legacy", "secretRef: {name: legacy}"),
        // IR-AUTH-009, IR-REPO-014
        ("account", "serviceAccountName: puller"),
        (
            "both",
            "secretRef: {name: other}, serviceAccountName: puller",
        ),
    ] {
        world.apply(name, spec).await?;
        world.scanned(name).await?;
    }
    // IR-REPO-081, IR-AUTH-040: a registry and a realm on loopback
    let asked = world.registry.asked();
    let token = "GET /token?scope=repository%3Aorg%2Fapp%3Apull&service=registry";
    ensure!(asked.iter().any(|line| line == token), "{asked:?}");
    // IR-AUTH-002, IR-AUTH-011: anonymous
    for (name, spec) in [
        ("none", ""),
        ("other", "secretRef: {name: other}"),
        ("opaque", "secretRef: {name: opaque}"),
        ("bare", "serviceAccountName: bare"),
    ] {
        world.apply(name, spec).await?;
        let text = world.failed(name, "ReadOperationFailed").await?;
        let expected = "scan failed: GET http://HOST/token?scope=repository%3Aorg%2Fapp%3Apull&service=registry: UNAUTHORIZED: incorrect username or password";
        assert_eq!(text, expected, "{name}");
    }
    // FR-N-083
    let hint = |line: &Value| {
        line["msg"] == "the Secret has no docker config, and is not used"
            && line["secret"] == "opaque"
    };
    world.controller.log().wait("of the Secret", hint).await?;
    // IR-AUTH-033
    let lines = world.controller.log().lines();
    ensure!(
        !lines.iter().any(|line| line.contains("s3cret")),
        "{lines:?}"
    );
    // IR-POL-120: a Secret that was put right takes effect at the next run
    world
        .namespace
        .apply(&pull_secret("other", &host, &entry))
        .await?;
    let object = world.reconcile(IMAGE_REPOSITORY, "other").await?;
    ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    Ok(())
}

#[tokio::test]
async fn missing_and_unusable_secrets_are_reported() -> Result {
    let world = World::start("img-missing", Registry::start()).await?;
    world.push(&["1.0.0"]);
    let namespace = world.namespace.name();
    for object in [
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: puller}, imagePullSecrets: [{name: absent}]}",
        "{apiVersion: v1, kind: Secret, metadata: {name: bare}, stringData: {a: b}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: half}, stringData: {tls.crt: b}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: text}, stringData: {ca.crt: b}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: ftp}, stringData: {address: 'ftp://proxy'}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: form}, type: kubernetes.io/dockerconfigjson, \
         stringData: {.dockerconfigjson: '{\"auths\": []}'}}",
    ] {
        world.namespace.apply(object).await?;
    }
    for (name, spec, expected) in [
        // IR-AUTH-003
        (
            "secret",
            "secretRef: {name: absent}",
            "secrets \"absent\" not found".to_owned(),
        ),
        // IR-AUTH-010
        (
            "account",
            "serviceAccountName: absent",
            format!("serviceaccount '{namespace}/absent' not found"),
        ),
        (
            "of-account",
            "serviceAccountName: puller",
            format!(
                "failed to get image pull secret for serviceaccount '{namespace}/puller': secret '{namespace}/absent' not found"
            ),
        ),
        // IR-AUTH-012
        (
            "proxy",
            "proxySecretRef: {name: absent}",
            format!("secret '{namespace}/absent' not found"),
        ),
        (
            "address",
            "proxySecretRef: {name: bare}",
            format!("secret '{namespace}/bare': key 'address' not found"),
        ),
        (
            "scheme",
            "proxySecretRef: {name: ftp}",
            format!(
                "secret '{namespace}/ftp': proxy URL must use one of the supported schemes (http, https, socks5), got 'ftp'"
            ),
        ),
        // IR-AUTH-015
        (
            "certificates",
            "certSecretRef: {name: absent}",
            "secrets \"absent\" not found".to_owned(),
        ),
        (
            "bare",
            "certSecretRef: {name: bare}",
            format!(
                "secret '{namespace}/bare' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"
            ),
        ),
        (
            "half",
            "certSecretRef: {name: half}",
            format!("secret '{namespace}/half' contains 'tls.crt' but missing 'tls.key'"),
        ),
        (
            "text",
            "certSecretRef: {name: text}",
            "failed to parse CA certificate".to_owned(),
        ),
        // IR-AUTH-005
        (
            "form",
            "secretRef: {name: form}",
            "the docker config is not valid JSON of its form".to_owned(),
        ),
        // IR-AUTH-001: the proxy comes first
        (
            "order",
            "proxySecretRef: {name: bare}, certSecretRef: {name: half}, secretRef: {name: absent}",
            format!("secret '{namespace}/bare': key 'address' not found"),
        ),
    ] {
        world.apply(name, spec).await?;
        let text = world.failed(name, "AuthenticationFailed").await?;
        // IR-REPO-053
        assert_eq!(
            text,
            format!("failed to configure authentication options: {expected}")
        );
    }
    assert_eq!(world.registry.asked(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn certificates_of_the_object_are_trusted_and_presented() -> Result {
    let authority = Authority::new();
    let registry = Registry::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .basic_auth("flux", "s3cret")
        .start();
    let world = World::start("img-tls", registry).await?;
    world.push(&["1.0.0"]);
    let pair = authority.issue(&["client"]);
    let host = world.registry.host();
    let config = json!({"auths": {&host: {"username": "flux", "password": "s3cret"}}}).to_string();
    let data = |names: [&str; 3]| {
        json!({names[0]: authority.pem(), names[1]: pair.certificate, names[2]: pair.key,
            ".dockerconfigjson": config})
    };
    // IR-AUTH-017, IR-AUTH-018, IR-REPO-017: one Secret for both
    let whole = data(["ca.crt", "tls.crt", "tls.key"]);
    world
        .namespace
        .apply(&secret("whole", CONFIG, &whole))
        .await?;
    world
        .apply(
            "whole",
            "secretRef: {name: whole}, certSecretRef: {name: whole}",
        )
        .await?;
    world.scanned("whole").await?;
    // IR-AUTH-014
    let older = data(["caFile", "certFile", "keyFile"]);
    world
        .namespace
        .apply(&secret("older", CONFIG, &older))
        .await?;
    world
        .apply(
            "older",
            "secretRef: {name: whole}, certSecretRef: {name: older}",
        )
        .await?;
    world.scanned("older").await?;
    let is_told =
        |line: &Value| line["msg"] == "using legacy key in secret data" && line["key"] == "keyFile";
    world
        .controller
        .log()
        .wait("of the older keys", is_told)
        .await?;
    Ok(())
}

// IR-AUTH-013, IR-REPO-015
#[tokio::test]
async fn the_proxy_of_the_object_is_used() -> Result {
    let proxy = Proxy::http(Some(("proxy-user", "proxy-pass")));
    let settings = Settings::default().env("HTTP_PROXY", "http://127.0.0.1:9");
    let world = World::start_with("img-proxy", settings, Registry::start()).await?;
    world.push(&["1.0.0"]);
    proxy.resolve("registry.local:80", world.registry.address());
    let data = json!({"address": proxy.url(), "username": "proxy-user", "password": "proxy-pass"});
    world
        .namespace
        .apply(&secret("proxy", "Opaque", &data))
        .await?;
    let image = "registry.local:80/org/app";
    world
        .apply_image(
            "app",
            image,
            "insecure: true, proxySecretRef: {name: proxy}",
        )
        .await?;
    // IR-POL-104, IR-POL-109: the digest too, and over plain HTTP
    let spec = "digestReflectionPolicy: IfNotPresent, policy: {semver: {range: '*'}}";
    world.policy("app", "app", spec).await?;
    world.scanned("app").await?;
    let object = world.selected("app", "1.0.0").await?;
    ensure!(
        object["status"]["latestRef"]["digest"].is_string(),
        "{object}"
    );
    // IR-PROC-032: without a proxy of its own, an object has the one of the process
    world
        .apply_image("env", image, "insecure: true, timeout: 5s")
        .await?;
    let text = world.failed("env", "ReadOperationFailed").await?;
    ensure!(text.contains("127.0.0.1:9"), "{text}");
    Ok(())
}

// IR-PROC-026: Secrets are read, not watched, unless the gate is on
#[tokio::test]
async fn secrets_are_watched_with_the_gate_only() -> Result {
    for (topic, gate, verbs) in [
        ("img-live", "false", &["get"][..]),
        ("img-cached", "true", &["list", "watch"]),
    ] {
        let flag = format!("--feature-gates=CacheSecretsAndConfigMaps={gate}");
        let registry = Registry::builder().basic_auth("flux", "s3cret").start();
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, topic).await?;
        let user = format!("{REFLECTOR}.{}", namespace.name());
        let counter = Counter::start(&cluster, &user)?;
        let settings = Settings::default().flag(flag);
        let world = World::start_in(namespace, settings, registry).await?;
        world.push(&["1.0.0"]);
        let host = world.registry.host();
        let entry = json!({"username": "flux", "password": "s3cret"});
        world
            .namespace
            .apply(&pull_secret("pull", &host, &entry))
            .await?;
        world.apply("app", "secretRef: {name: pull}").await?;
        world.scanned("app").await?;
        let made = counter.requests()?;
        // IR-PROC-012
        ensure!(
            made.iter().any(|request| request.uri == "/livez/ping"),
            "{made:?}"
        );
        let of_secrets: BTreeSet<_> = made
            .iter()
            .filter(|request| request.resource == "secrets")
            .map(|request| request.verb.as_str())
            .collect();
        assert_eq!(of_secrets, verbs.iter().copied().collect());
    }
    Ok(())
}
