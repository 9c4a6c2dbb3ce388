//! Credentials, certificates and proxies.

use git_servers::{Authority, Proxy};
use kind_tests::controller::Settings;
use kind_tests::{Kind, OCI_REPOSITORY, Result, ensure};
use rcgen::KeyPair;
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use crate::signing::{push_layers, simple_signature};
use crate::world::{APP, World, files};

const EVENT: Kind = Kind("v1", "Event");

/// A Secret with registry credentials for the host.
fn pull_secret(name: &str, host: &str, password: &str) -> String {
    let config = json!({"auths": {host: {"username": "flux", "password": password}}}).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config},
    })
    .to_string()
}

// SC-AUTH-030, SC-OCI-050, RT-SEC-013
#[tokio::test]
async fn pull_secrets_of_the_object_and_of_its_account_are_used() -> Result {
    let registry = Registry::builder().token_auth("flux", "s3cret").start();
    let world = World::start("oci-auth", registry).await?;
    world.push("latest", &[("a", "")]);
    let host = world.registry.host();
    world
        .namespace
        .apply(&pull_secret("pull", &host, "s3cret"))
        .await?;
    world
        .namespace
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: puller}, imagePullSecrets: [{name: pull}]}")
        .await?;
    world.apply("secret", "secretRef: {name: pull}").await?;
    world.apply("account", "serviceAccountName: puller").await?;
    // SC-AUTH-032, FR-H-079: a cloud is not asked where there are pull secrets
    world
        .apply("cloud", "provider: aws, secretRef: {name: pull}")
        .await?;
    for name in ["secret", "account", "cloud"] {
        world.ready(name).await?;
    }

    // no credentials for this host: anonymous
    world
        .namespace
        .apply(&pull_secret("other", "ghcr.io", "s3cret"))
        .await?;
    world.apply("anonymous", "secretRef: {name: other}").await?;
    let text = world
        .condition("anonymous", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    assert_eq!(
        text,
        "failed to determine artifact digest: GET http://HOST/token?scope=repository%3Aorg%2Fapp%3Apull&service=registry: UNAUTHORIZED: incorrect username or password"
    );

    // SC-AUTH-001: a Secret that was put right takes effect at the next run
    world
        .namespace
        .apply(&pull_secret("other", &host, "s3cret"))
        .await?;
    let object = world.reconcile("anonymous").await?;
    ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    Ok(())
}

// SC-OCI-021, SC-OCI-023, SC-AUTH-033
#[tokio::test]
async fn missing_secrets_and_accounts_are_reported() -> Result {
    let world = World::start("oci-missing", Registry::start()).await?;
    world.push("latest", &[("a", "")]);
    let namespace = world.namespace.name();
    world
        .namespace
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: puller}, imagePullSecrets: [{name: absent}]}")
        .await?;
    for (name, spec, expected) in [
        (
            "secret",
            "secretRef: {name: absent}",
            format!(
                "failed to get credential: failed to get secret '{namespace}/absent': secrets \"absent\" not found"
            ),
        ),
        (
            "account",
            "serviceAccountName: absent",
            format!("failed to get credential: serviceaccount '{namespace}/absent' not found"),
        ),
        (
            "of-account",
            "serviceAccountName: puller",
            format!(
                "failed to get credential: failed to get image pull secret for serviceaccount '{namespace}/puller': secret '{namespace}/absent' not found"
            ),
        ),
        (
            "proxy",
            "proxySecretRef: {name: absent}",
            format!("failed to get proxy address: secret '{namespace}/absent' not found"),
        ),
        (
            "certificates",
            "certSecretRef: {name: absent}",
            format!(
                "failed to generate transport for 'oci://HOST/org/app': secret '{namespace}/absent' not found"
            ),
        ),
    ] {
        world.apply(name, spec).await?;
        let text = world
            .condition(name, "FetchFailed", "True", "AuthenticationFailed")
            .await?;
        assert_eq!(text, expected);
    }
    // SC-OCI-023: a provider is asked when the registry is, and before it
    for (name, spec, reason, step) in [
        (
            "cloud",
            "provider: gcp",
            "OCIArtifactPullFailed",
            "artifact digest",
        ),
        (
            "cloud-tags",
            "provider: gcp, ref: {semver: '*'}",
            "ReadOperationFailed",
            "the artifact tag for 'oci://HOST/org/app'",
        ),
    ] {
        world.apply(name, spec).await?;
        let text = world.condition(name, "FetchFailed", "True", reason).await?;
        let pattern = r"^(((.+\.)?gcr\.io)|(.+-docker\.pkg\.dev)|(docker\.s3nsregistry\.fr))$";
        assert_eq!(
            text,
            format!(
                "failed to determine {step}: invalid GCP registry: 'HOST'. must match {pattern}"
            )
        );
    }
    assert_eq!(world.registry.asked(), [""; 0]);
    world
        .namespace
        .wait_all(EVENT, "tell of the missing Secret", |events| {
            let of_it = |event: &&Value| {
                event["involvedObject"]["name"] == "secret"
                    && event["reason"] == "AuthenticationFailed"
                    && event["message"] == "auth secret 'absent' not found"
            };
            events.iter().find(of_it).cloned()
        })
        .await?;
    Ok(())
}

// SC-AUTH-002, SC-AUTH-004, SC-AUTH-035
#[tokio::test]
async fn certificates_of_the_object_are_trusted_and_presented() -> Result {
    let authority = Authority::new();
    let registry = Registry::builder()
        .tls(&authority)
        .client_certificates(&authority)
        .start();
    let world = World::start("oci-tls", registry).await?;
    world.push("latest", &[("a", "")]);
    let pair = authority.issue(&["client"]);
    let secret = |name: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
            .to_string()
    };
    let whole =
        json!({"ca.crt": authority.pem(), "tls.crt": pair.certificate, "tls.key": pair.key});
    let half = json!({"ca.crt": authority.pem(), "tls.crt": pair.certificate});
    world.namespace.apply(&secret("whole", whole)).await?;
    world.namespace.apply(&secret("half", half)).await?;
    world.apply("whole", "certSecretRef: {name: whole}").await?;
    world.ready("whole").await?;
    // RT-SEC-003: older names of the keys
    let older =
        json!({"caFile": authority.pem(), "certFile": pair.certificate, "keyFile": pair.key});
    world.namespace.apply(&secret("older", older)).await?;
    world.apply("older", "certSecretRef: {name: older}").await?;
    world.ready("older").await?;
    let is_told =
        |line: &Value| line["msg"] == "using legacy key in secret data" && line["key"] == "keyFile";
    world
        .controller
        .log()
        .wait("of the older keys", is_told)
        .await?;

    // SC-OCI-025
    world.apply("half", "certSecretRef: {name: half}").await?;
    let text = world
        .condition("half", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    let namespace = world.namespace.name();
    assert_eq!(
        text,
        format!(
            "failed to generate transport for 'oci://HOST/org/app': secret '{namespace}/half' contains 'tls.crt' but missing 'tls.key'"
        )
    );
    world.apply("none", "").await?;
    let text = world
        .condition("none", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    let begin = "failed to determine artifact digest: Get \"https://HOST/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority";
    ensure!(text.starts_with(begin), "{text}");
    Ok(())
}

// SC-OCI-049
#[tokio::test]
async fn an_insecure_registry_needs_no_valid_certificate() -> Result {
    let registry = Registry::builder().tls(&Authority::new()).start();
    let world = World::start("oci-insecure", registry).await?;
    let digest = world.push("latest", &[("a", "")]);
    world.apply("app", "insecure: true").await?;
    world.ready("app").await?;

    // SC-VER-038, FR-H-092: signatures are looked for in the same way
    let key = KeyPair::generate()?;
    let signature = simple_signature(&key, &digest);
    push_layers(&world.registry, APP, &digest, &[signature]);
    let keys = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"a.pub": key.public_key_pem()}});
    world.namespace.apply(&keys.to_string()).await?;
    let spec = "insecure: true, verify: {provider: cosign, secretRef: {name: keys}}";
    world.apply("signed", spec).await?;
    world.ready("signed").await?;
    world
        .condition("signed", "SourceVerified", "True", "Succeeded")
        .await?;
    Ok(())
}

// FR-H-076: authorities of the object and of the environment hold for the token service and the store of blobs, too
#[tokio::test]
async fn authorities_hold_for_all_servers_of_a_registry() -> Result {
    let authority = Authority::new();
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem())?;
    let (file, dir) = (file.to_string_lossy(), folder.path().to_string_lossy());
    for (topic, settings) in [
        ("object", Settings::default()),
        ("file", Settings::default().env("SSL_CERT_FILE", file)),
        ("dir", Settings::default().env("SSL_CERT_DIR", dir)),
    ] {
        // The other server issues tokens, and has the blobs.
        let other = Registry::builder().tls(&authority).start();
        let registry = Registry::builder()
            .tls(&authority)
            .realm(&format!("{}/token", other.url()))
            .accept("token-1", "repository:org/app:pull")
            .blob_store(&other.url());
        let topic = format!("oci-ca-{topic}");
        let world = World::start_with(&topic, settings, registry.start()).await?;
        world.push("latest", &[("a", "1")]);
        other.push(APP, "latest", &Artifact::flux(tar_gz(&[("a", "1")])));
        let is_object = topic.ends_with("object");
        if is_object {
            world.apply("none", "").await?;
            let text = world
                .condition("none", "FetchFailed", "True", "OCIArtifactPullFailed")
                .await?;
            ensure!(
                text.contains("certificate signed by unknown authority"),
                "{text}"
            );
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
                "stringData": {"ca.crt": authority.pem()}});
            world.namespace.apply(&secret.to_string()).await?;
        }
        let spec = if is_object {
            "certSecretRef: {name: ca}"
        } else {
            ""
        };
        world.apply("app", spec).await?;
        let object = world.ready("app").await?;
        assert_eq!(world.files(&object).await?, files(&[("a", "1")]));
        let asked = other.asked();
        ensure!(
            asked.len() == 2 && asked[0].starts_with("GET /token?") && asked[1].contains("/blobs/"),
            "{asked:?}"
        );
    }
    Ok(())
}

// SC-OCI-022, SC-AUTH-005
#[tokio::test]
async fn the_proxy_of_the_object_is_used() -> Result {
    let proxy = Proxy::http(Some(("proxy-user", "proxy-pass")));
    let world = World::start("oci-proxy", Registry::start()).await?;
    let digest = world.push("latest", &[("a", "")]);
    proxy.resolve("registry.local:80", world.registry.address());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "proxy"},
        "stringData": {"address": proxy.url(), "username": "proxy-user", "password": "proxy-pass"},
    });
    world.namespace.apply(&secret.to_string()).await?;
    world
        .apply_url(
            "app",
            "oci://registry.local:80/org/app",
            "insecure: true, proxySecretRef: {name: proxy}",
        )
        .await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == format!("latest@{digest}"),
        "{object}"
    );
    let bad = json!({"stringData": {"address": "ftp://proxy"}});
    world
        .namespace
        .merge(kind_tests::SECRET, "proxy", bad)
        .await?;
    world
        .namespace
        .request_reconcile(OCI_REPOSITORY, "app")
        .await?;
    let text = world
        .condition("app", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    let namespace = world.namespace.name();
    assert_eq!(
        text,
        format!(
            "failed to get proxy address: secret '{namespace}/proxy': proxy URL must use one of the supported schemes (http, https, socks5), got 'ftp'"
        )
    );
    Ok(())
}
