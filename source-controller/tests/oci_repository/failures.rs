//! Runs that fail, and what stays of the last good one.

use kind_tests::{OCI_REPOSITORY, Result, ensure, is_ready};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use crate::support::{conditions, message};
use crate::world::{APP, World};

// SC-OCI-027, SC-OCI-029
#[tokio::test]
async fn each_failure_has_its_reason_and_message() -> Result {
    let world = World::start("oci-fail", Registry::start()).await?;
    world.push("latest", &[("a", "")]);
    let text = Artifact::flux(b"not an archive".to_vec());
    world.registry.push(APP, "text", &text);
    let none = Artifact {
        layers: Vec::new(),
        ..text
    };
    world.registry.push(APP, "none", &none);
    for (name, spec, reason, expected) in [
        (
            "tag",
            "ref: {tag: absent}",
            "OCIArtifactPullFailed",
            "failed to determine artifact digest: GET http://HOST/v2/org/app/manifests/absent: MANIFEST_UNKNOWN: manifest unknown",
        ),
        (
            "odd-tag",
            "ref: {tag: '../../x'}",
            "OCIArtifactPullFailed",
            "failed to determine artifact digest: tag can only contain the characters",
        ),
        // FR-H-070
        (
            "digest",
            "ref: {digest: c2ca}",
            "OCIArtifactPullFailed",
            "failed to determine artifact digest: cannot parse hash: \"c2ca\"",
        ),
        // SC-OCI-045
        (
            "range",
            "ref: {semver: '>=1.0.0'}",
            "ReadOperationFailed",
            "failed to determine the artifact tag for 'oci://HOST/org/app': no match found for semver: >=1.0.0",
        ),
        (
            "filter",
            "ref: {semver: '*', semverFilter: '['}",
            "ReadOperationFailed",
            "failed to determine the artifact tag for 'oci://HOST/org/app': error parsing regexp: missing closing ]: `[`",
        ),
        // SC-OCI-063
        (
            "layer",
            "layerSelector: {mediaType: a/b}",
            "OCIArtifactLayerOperationFailed",
            "failed to find layer with media type 'a/b' in artifact",
        ),
        (
            "empty",
            "ref: {tag: none}",
            "OCIArtifactLayerOperationFailed",
            "no layers found in artifact",
        ),
        // SC-ART-091
        (
            "text",
            "ref: {tag: text}",
            "OCIArtifactLayerOperationFailed",
            "failed to extract layer contents from artifact: requires gzip-compressed body: ",
        ),
    ] {
        world.apply(name, spec).await?;
        let text = world.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(text.starts_with(expected), "{name}: {text}");
        // SC-PROC-062
        assert_eq!(world.condition(name, "Ready", "False", reason).await?, text);
    }
    // SC-OCI-026
    let urls = [
        (
            "url",
            "oci://HOST/org/app:v1",
            "URL must not contain a tag; remove ':v1'",
        ),
        (
            "name",
            "oci://HOST/Org",
            "repository can only contain the characters",
        ),
    ];
    for (name, url, expected) in urls {
        let url = url.replace("HOST", &world.registry.host());
        world.apply_url(name, &url, "").await?;
        let text = world
            .condition(name, "Stalled", "True", "URLInvalid")
            .await?;
        ensure!(text.contains(expected), "{text}");
    }
    Ok(())
}

// SC-OCI-063
#[tokio::test]
async fn a_failure_keeps_the_artifact_until_the_recovery() -> Result {
    // The second version's layer is damaged on its way, as often as a client may try.
    let damaged = std::sync::atomic::AtomicUsize::new(0);
    let second = tar_gz(&[("v", "2")]);
    let wanted = registries::digest_of(&second);
    let registry = Registry::builder()
        .mangle(move |target, mut body| {
            if target.ends_with(&wanted)
                && damaged.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 1
            {
                body[20] ^= 1;
            }
            body
        })
        .start();
    let world = World::start("oci-recover", registry).await?;
    world.push("latest", &[("v", "1")]);
    world.apply("app", "").await?;
    let before = world.ready("app").await?;
    world.registry.push(APP, "latest", &Artifact::flux(second));
    let failed = |object: &Value| is_ready(object, "False");
    world
        .namespace
        .request_reconcile(OCI_REPOSITORY, "app")
        .await?;
    let object = world
        .namespace
        .wait(OCI_REPOSITORY, "app", "has failed", failed)
        .await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    let text = message(&object, "FetchFailed");
    ensure!(
        text.starts_with(
            "failed to extract layer contents from artifact: error verifying sha256 checksum after reading"
        ),
        "{text}"
    );
    // SC-OCI-031
    let outdated = message(&object, "ArtifactOutdated");
    ensure!(
        outdated.starts_with("new revision 'latest@sha256:")
            && outdated.contains("' for '127.0.0.1:"),
        "{outdated}"
    );
    let recovered = |object: &Value| {
        is_ready(object, "True")
            && object["status"]["artifact"]["revision"] != before["status"]["artifact"]["revision"]
    };
    let object = world
        .namespace
        .wait(OCI_REPOSITORY, "app", "has recovered", recovered)
        .await?;
    ensure!(
        conditions(&object)
            .iter()
            .all(|condition| !condition.starts_with("FetchFailed")
                && !condition.starts_with("ArtifactOutdated")),
        "{object}"
    );
    Ok(())
}

// SC-OCI-030: a registry that does not answer holds no worker
#[tokio::test]
async fn a_registry_that_hangs_is_given_up() -> Result {
    let prefix = format!("/v2/{APP}/");
    let registry = Registry::builder().hang(&prefix).start();
    let world = World::start("oci-hang", registry).await?;
    world.apply("app", "timeout: 1s").await?;
    let text = world
        .condition("app", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    assert_eq!(
        text,
        "failed to determine artifact digest: Head \"http://HOST/v2/org/app/manifests/latest\": context deadline exceeded"
    );
    Ok(())
}

// SC-OCI-082, SC-OCI-084: what cannot be verified is not pulled
#[tokio::test]
async fn an_artifact_that_must_be_verified_is_not_pulled() -> Result {
    let world = World::start("oci-verify", Registry::start()).await?;
    world.push("latest", &[("a", "")]);
    world.apply("app", "verify: {provider: cosign}").await?;
    let text = world
        .condition("app", "SourceVerified", "False", "VerificationError")
        .await?;
    assert_eq!(
        text,
        "failed to verify the signature using provider 'cosign keyless': no signatures found"
    );
    // SC-PROC-064
    assert_eq!(
        world
            .condition("app", "Ready", "False", "VerificationError")
            .await?,
        text
    );
    let pulled =
        |line: &String| line.contains("/blobs/") || line == "GET /v2/org/app/manifests/latest";
    ensure!(
        !world.registry.asked().iter().any(pulled),
        "{:?}",
        world.registry.asked()
    );

    // SC-OCI-080
    world
        .namespace
        .merge(OCI_REPOSITORY, "app", json!({"spec": {"verify": null}}))
        .await?;
    let object = world.ready("app").await?;
    ensure!(message(&object, "SourceVerified").is_empty(), "{object}");
    Ok(())
}

// SC-OCI-051
#[tokio::test]
async fn a_rate_limit_is_a_failure_with_the_registrys_words() -> Result {
    let limited = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    let registry = Registry::builder()
        .answer_with(
            1,
            "",
            &format!("/v2/{APP}/tags"),
            429,
            &[("retry-after", "11")],
            limited,
        )
        .start();
    let world = World::start("oci-limit", registry).await?;
    world.push("1.0.0", &[("a", "")]);
    world.apply("app", "ref: {semver: '*'}").await?;
    let text = world
        .condition("app", "FetchFailed", "True", "ReadOperationFailed")
        .await?;
    ensure!(text.ends_with("TOOMANYREQUESTS: slow down"), "{text}");
    world.ready("app").await?;
    Ok(())
}

// SC-OCI-020
#[tokio::test]
async fn the_first_of_two_failed_steps_is_reported() -> Result {
    let world = World::start("oci-order", Registry::start()).await?;
    world.push("latest", &[("a", "")]);
    let verify = "verify: {provider: cosign, secretRef: {name: absent}}";
    let host = world.registry.host();
    let invalid = format!("oci://{host}/org/app:v1");
    for (name, url, spec, reason, begin) in [
        (
            "credentials",
            world.url(),
            "secretRef: {name: absent}, proxySecretRef: {name: absent}".to_owned(),
            "AuthenticationFailed",
            "failed to get credential: ",
        ),
        (
            "proxy",
            world.url(),
            "proxySecretRef: {name: absent}, certSecretRef: {name: absent}".to_owned(),
            "AuthenticationFailed",
            "failed to get proxy address: ",
        ),
        (
            "certificates",
            invalid.clone(),
            "certSecretRef: {name: absent}".to_owned(),
            "AuthenticationFailed",
            "failed to generate transport for ",
        ),
        (
            "url",
            invalid,
            format!("ref: {{tag: absent}}, {verify}"),
            "URLInvalid",
            "URL validation failed for ",
        ),
        (
            "digest",
            world.url(),
            format!("ref: {{tag: absent}}, {verify}"),
            "OCIArtifactPullFailed",
            "failed to determine artifact digest: ",
        ),
    ] {
        world.apply_url(name, &url, &spec).await?;
        let text = world.condition(name, "FetchFailed", "True", reason).await?;
        ensure!(text.starts_with(begin), "{name}: {text}");
    }
    // The signature comes before the content.
    let selector = "layerSelector: {mediaType: a/b}";
    world
        .apply("layer", &format!("{selector}, {verify}"))
        .await?;
    let unverified = |object: &Value| !message(object, "SourceVerified").is_empty();
    let object = world
        .namespace
        .wait(OCI_REPOSITORY, "layer", "is not verified", unverified)
        .await?;
    ensure!(message(&object, "FetchFailed").is_empty(), "{object}");
    // What the last run found out of the signature is dropped first.
    let spec = json!({"spec": {"proxySecretRef": {"name": "absent"}}});
    world.namespace.merge(OCI_REPOSITORY, "layer", spec).await?;
    world
        .condition("layer", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    let object = world.reconcile("layer").await?;
    ensure!(message(&object, "SourceVerified").is_empty(), "{object}");

    // Storage comes before the source.
    world.apply("lost", "").await?;
    world.ready("lost").await?;
    std::fs::remove_dir_all(world.folder("lost"))?;
    world.apply("lost", "ref: {tag: absent}").await?;
    world
        .condition("lost", "FetchFailed", "True", "OCIArtifactPullFailed")
        .await?;
    let object = world.reconcile("lost").await?;
    ensure!(object["status"]["artifact"].is_null(), "{object}");
    Ok(())
}
