//! Registries and ServiceAccounts that make a controller hold or ask for much.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use std::fmt::Write as _;

use git_servers::Authority;
use k8s_openapi::api::core::v1::{LocalObjectReference, ServiceAccount};
use kind_tests::requests::Counter;
use kind_tests::{OCI_REPOSITORY, Result, ensure, is_ready};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use registries::{Artifact, Registry, digest_of, tar_gz};
use serde_json::{Value, json};

use crate::support::message;
use crate::world::{APP, World, files};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A page of referrers, almost all of which are annotations.
fn referrers(page: usize) -> String {
    let mut annotations = String::from("\"a\":\"\"");
    while annotations.len() < 4_000_000 {
        let number = annotations.len();
        let _ = write!(annotations, ",\"{page}.{number}\":\"\"");
    }
    let digest = format!("sha256:{page:064x}");
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{digest}\",\
         \"size\":1,\"artifactType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\",\"annotations\":{{{annotations}}}}}]}}"
    )
}

// SC-ART-068: tags, referrers and annotations, from registries of several tenants
#[tokio::test]
async fn registries_that_send_much_do_not_affect_others() -> Result {
    let tags = format!(
        "{{\"name\":\"org/tags\",\"tags\":[{}\"\"]}}",
        "\"\",".repeat(5_000_000)
    );
    let mut registry = Registry::builder().answer(100, "GET", "/v2/org/tags/tags/list", 200, &tags);
    for page in 0..16 {
        let path = |page: usize| match page {
            0 => "/v2/org/referrers/referrers/sha256:".to_owned(),
            page => format!("/v2/org/referrers/referrers/page-{page}-"),
        };
        let next = format!("<{}>; rel=\"next\"", path(page + 1));
        let headers = [("content-type", INDEX), ("link", next.as_str())];
        let body = referrers(page);
        registry = registry.answer_with(100, "GET", &path(page), 200, &headers, &body);
    }
    let world = World::start("oci-much", registry.start()).await?;
    let artifact = Artifact::flux(tar_gz(&[("a.yaml", "")]));
    let mut annotated = artifact.clone();
    for number in 0..150_000 {
        annotated = annotated.annotate(&format!("a{number}"), "");
    }
    for (repository, artifact) in [
        ("org/tags", &artifact),
        ("org/referrers", &artifact),
        ("org/annotated", &annotated),
        ("org/app", &artifact),
    ] {
        world.registry.push(repository, "1.0.0", artifact);
    }
    let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a.pub": key}});
    world.namespace.apply(&secret.to_string()).await?;
    let url = |repository: &str| format!("oci://{}", world.registry.repository(repository));
    let verify = "ref: {tag: 1.0.0}, verify: {provider: cosign, secretRef: {name: keys}}";
    for (kind, repository, spec) in [
        ("tags", "org/tags", "ref: {semver: '*'}"),
        ("referrers", "org/referrers", verify),
        ("annotated", "org/annotated", "ref: {tag: 1.0.0}"),
    ] {
        for tenant in ["one", "two"] {
            let name = format!("{kind}-{tenant}");
            world.apply_url(&name, &url(repository), spec).await?;
        }
    }
    world
        .apply_url("app", &url("org/app"), "ref: {tag: 1.0.0}")
        .await?;
    for kind in ["tags", "referrers", "annotated"] {
        for tenant in ["one", "two"] {
            let failed = |object: &Value| is_ready(object, "False");
            let name = format!("{kind}-{tenant}");
            world
                .namespace
                .wait(OCI_REPOSITORY, &name, "has failed", failed)
                .await?;
        }
    }
    world.ready("app").await?;
    world.controller.check_memory()
}

// SC-AUTH-033
#[tokio::test]
async fn a_pull_secret_that_is_named_often_is_read_once() -> Result {
    let registry = Registry::builder().basic_auth("flux", "s3cret").start();
    let world = World::start("oci-often", registry).await?;
    world.push("latest", &[("a", "")]);
    let config =
        json!({"auths": {world.registry.host(): {"username": "flux", "password": "s3cret"}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()},
    });
    world.namespace.apply(&secret.to_string()).await?;
    // Lists that are merged by name cannot be applied with a name twice, but created.
    let api: Api<ServiceAccount> =
        Api::namespaced(world.namespace.client().clone(), world.namespace.name());
    let often = vec!["pull".to_owned(); 10_000];
    let many = (0..10_000).map(|number| format!("pull-{number}")).collect();
    for (name, secrets) in [("often", often), ("many", many)] {
        let secrets = secrets
            .into_iter()
            .map(|name| LocalObjectReference { name });
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            image_pull_secrets: Some(secrets.collect()),
            ..ServiceAccount::default()
        };
        api.create(&PostParams::default(), &account).await?;
    }
    let counter = Counter::start(world.namespace.cluster(), world.controller.user())?;
    world.apply("often", "serviceAccountName: often").await?;
    world.ready("often").await?;
    world.apply("many", "serviceAccountName: many").await?;
    world
        .condition("many", "FetchFailed", "True", "AuthenticationFailed")
        .await?;
    let requests = counter.requests()?;
    let is_read = |name: &str| {
        requests
            .iter()
            .filter(|one| one.uri.ends_with(name))
            .count()
    };
    ensure!(
        is_read("/secrets/pull") < 10,
        "{}",
        is_read("/secrets/pull")
    );
    let of_many = requests
        .iter()
        .filter(|one| one.uri.contains("/secrets/pull-"));
    let of_many = of_many.count();
    ensure!(of_many < 1_000, "{of_many}");
    world.controller.check_memory()
}

// SC-OCI-026, SC-OCI-027, SC-OCI-029
#[tokio::test]
async fn what_is_no_artifact_keeps_the_last_one() -> Result {
    let layer = tar_gz(&[("b", &"content\n".repeat(1000))]);
    let blob = digest_of(&layer);
    let of_blob = |change: fn(&mut Vec<u8>)| {
        let blob = blob.clone();
        Registry::builder().mangle(move |target, mut body| {
            if target.ends_with(&blob) {
                change(&mut body);
            }
            body
        })
    };
    let damaged = Registry::builder().mangle(|target, mut body| {
        if target.contains("/manifests/") {
            body.push(b' ');
        }
        body
    });
    let (manifests, tags, blobs) = (
        format!("/v2/{APP}/manifests/"),
        format!("/v2/{APP}/tags/"),
        format!("/v2/{APP}/blobs/"),
    );
    let html = "<html><body>Sign in</body></html>";
    let answer = |path: &str| Registry::builder().answer(99, "", path, 200, html);
    let redirect = |path: &str, to: &str| {
        let headers = [("location", to)];
        Registry::builder().answer_with(99, "", path, 307, &headers, "")
    };
    let authority = Authority::new();
    let secure = |pair| Registry::builder().tls_pair(&pair);
    let (pull, tag) = ("OCIArtifactPullFailed", "ReadOperationFailed");
    let of_layer = "OCIArtifactLayerOperationFailed";
    let range = "{semver: '*'}";
    let latest = "{tag: latest}";
    let metadata = "http://169.254.169.254/latest";
    let tls = "tls: failed to verify certificate: x509: ";
    let world = World::start("oci-hostile", Registry::start()).await?;
    world.push("latest", &[("a", "1")]);
    let ca = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"ca.crt": authority.pem()}});
    world.namespace.apply(&ca.to_string()).await?;
    for (name, registry, reference, reason, words) in [
        (
            "html-tags",
            answer(&tags),
            range,
            tag,
            "failed to determine the artifact tag",
        ),
        ("html", answer(&manifests), latest, "", ""),
        (
            "loop",
            redirect(&manifests, "http://{host}/v2/org/app/manifests/latest"),
            latest,
            pull,
            "redirect",
        ),
        (
            "metadata",
            redirect(&manifests, metadata),
            latest,
            pull,
            "SSRF protection",
        ),
        (
            "metadata-blob",
            redirect(&blobs, metadata),
            latest,
            "",
            "SSRF protection",
        ),
        ("damaged", damaged, latest, pull, "manifest digest"),
        (
            "cut",
            of_blob(|body| body.truncate(50)),
            latest,
            of_layer,
            "failed to extract ",
        ),
        (
            "long",
            of_blob(|body| body.push(0)),
            latest,
            of_layer,
            "failed to extract ",
        ),
        (
            "expired",
            secure(authority.issue_expired(&["127.0.0.1"])),
            latest,
            pull,
            "certificate has expired or is not yet valid",
        ),
        (
            "other-name",
            secure(authority.issue(&["registry.example.com"])),
            latest,
            pull,
            tls,
        ),
    ] {
        let registry = registry.start();
        registry.push(APP, "latest", &Artifact::flux(layer.clone()));
        registry.push(APP, "1.0.0", &Artifact::flux(layer.clone()));
        world.apply(name, "ref: {tag: latest}").await?;
        let before = world.ready(name).await?;
        let url = format!("oci://{}", registry.repository(APP));
        let spec = format!("ref: {reference}, certSecretRef: {{name: ca}}");
        world.apply_url(name, &url, &spec).await?;
        let failed = |object: &Value| is_ready(object, "False");
        let object = world
            .namespace
            .wait(OCI_REPOSITORY, name, "has failed", failed)
            .await?;
        let text = message(&object, "FetchFailed");
        ensure!(text.contains(words), "{name}: {text}");
        if !reason.is_empty() {
            world.condition(name, "FetchFailed", "True", reason).await?;
        }
        world
            .condition(name, "Reconciling", "True", "ProgressingWithRetry")
            .await?;
        ensure!(
            object["status"]["artifact"] == before["status"]["artifact"],
            "{name}: {object}"
        );
        assert_eq!(world.files(&object).await?, files(&[("a", "1")]));
    }
    ensure!(world.controller.log().panic().is_none(), "a panic");
    Ok(())
}
