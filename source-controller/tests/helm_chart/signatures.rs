//! Charts in registries, and their signatures.

use git_servers::{Authority, HttpGitServer};
use kind_tests::controller::Settings;
use kind_tests::{HELM_REPOSITORY, Result, condition, ensure};
use rcgen::KeyPair;
use registries::{Artifact, Registry};
use serde_json::{Value, json};

use crate::signing::{
    Envelope, Notary, PUBLIC_BUNDLE, PUBLIC_DIGEST, PUBLIC_ISSUER, PUBLIC_SUBJECT, push_bundle,
    push_layers, simple_signature,
};
use crate::support::{World, message};
use crate::{packed, plain, world};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The repository of the chart.
pub(crate) const WEB: &str = "charts/web";

fn push(registry: &Registry, version: &str) -> String {
    let chart = packed("web", version, &[("values.yaml", "a: 1\n")]);
    let tag = version.replace('+', "_");
    registry.push(WEB, &tag, &Artifact::helm(chart))
}

impl World {
    /// Applies a HelmRepository in a registry.
    async fn oci(&self, name: &str, registry: &Registry, spec: &str) -> Result {
        let url = registry.repository("charts");
        let spec = format!("type: oci, url: 'oci://{url}', interval: 1h, {spec}");
        self.repository(name, &spec).await
    }

    async fn secret(&self, name: &str, kind: &str, data: Value) -> Result {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name}, "stringData": data});
        self.namespace.apply(&secret.to_string()).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_chart_of_a_registry() -> Result {
    let registry = Registry::start();
    let world = plain("chart-oci").await?;
    let digest = push(&registry, "1.0.0");
    world.oci("charts", &registry, "").await?;
    // SC-HCHART-024: a version of three parts is taken without listing the tags
    world
        .chart("web", "charts", "chart: web, version: 1.0.0")
        .await?;
    let object = world.revision("web", "1.0.0").await?;
    let asked = registry.asked();
    ensure!(
        !asked.iter().any(|line| line.contains("tags/list")),
        "{asked:?}"
    );
    // SC-VER-041, SC-VER-059: the tag is resolved once, and the chart pulled by its digest
    let by_tag = asked
        .iter()
        .filter(|line| line.ends_with("/manifests/1.0.0"));
    ensure!(by_tag.count() == 1, "{asked:?}");
    let by_digest = format!("GET /v2/{WEB}/manifests/{digest}");
    ensure!(asked.contains(&by_digest), "{asked:?}");
    // SC-HCHART-033
    let agents = registry.requests();
    ensure!(
        agents
            .iter()
            .all(|request| request.user_agent.as_deref() == Some("flux/v2/helm/v4/oras/v2")),
        "{agents:?}"
    );
    // SC-HCHART-015
    ensure!(
        object["status"]["observedSourceArtifactRevision"].is_null(),
        "{object}"
    );
    // SC-HCHART-032
    registry.clear_requests();
    world.reconcile("web").await?;
    ensure!(registry.asked().is_empty(), "{:?}", registry.asked());

    // SC-HCHART-024, FR-H-072: a range is looked up at each reconcile
    let range = json!({"spec": {"version": ">=1.0.0"}});
    world.namespace.merge(world.kind, "web", range).await?;
    world.ready("web").await?;
    push(&registry, "1.1.0+build");
    push(&registry, "1.2.0-rc.1");
    world.reconcile("web").await?;
    // SC-HCHART-025
    world.revision("web", "1.1.0+build").await?;
    let none = json!({"spec": {"version": ">=2"}});
    world.namespace.merge(world.kind, "web", none).await?;
    let text = world
        .condition("web", "FetchFailed", "True", "ChartPullError")
        .await?;
    ensure!(
        text == "chart pull error: failed to get chart version for remote reference: could not locate a version matching provided version string >=2",
        "{text}"
    );
    // SC-HCHART-024: retried, unlike with an index
    world
        .condition("web", "Reconciling", "True", "ProgressingWithRetry")
        .await?;
    let gone = json!({"spec": {"version": "3.0.0"}});
    world.namespace.merge(world.kind, "web", gone).await?;
    let goal = format!(
        "failed to get 'oci://{}:3.0.0': GET http",
        registry.repository(WEB)
    );
    world.recorded("web", "ChartPullError", &goal).await?;
    Ok(())
}

// FR-H-064, FR-H-067
#[tokio::test]
async fn charts_are_found_among_layers_and_manifests() -> Result {
    let registry = Registry::start();
    let world = plain("chart-oci-layout").await?;
    let mut signed = Artifact::helm(packed("web", "1.0.0", &[]));
    let provenance = "application/vnd.cncf.helm.chart.provenance.v1.prov".to_owned();
    signed
        .layers
        .insert(0, (provenance, b"-----BEGIN PGP".to_vec()));
    let digest = registry.push(WEB, "1.0.0", &signed);
    let image = registry.push(WEB, "image", &Artifact::flux(Vec::new()));
    let child = |digest: &str, artifact: &Artifact| json!({"mediaType": MANIFEST, "digest": digest, "size": artifact.manifest().len()});
    let mut manifests = vec![
        child(&image, &Artifact::flux(Vec::new())),
        child(&digest, &signed),
    ];
    registry.push_index(WEB, "2.0.0", &manifests);
    let other = Artifact::helm(packed("web", "3.0.0", &[]));
    let second = registry.push(WEB, "other", &other);
    manifests.push(child(&second, &other));
    registry.push_index(WEB, "3.0.0", &manifests);
    world.oci("charts", &registry, "").await?;
    for (name, version) in [("signed", "1.0.0"), ("index", "2.0.0")] {
        let spec = format!("chart: web, version: {version}");
        world.chart(name, "charts", &spec).await?;
        world.revision(name, version).await?;
    }
    world
        .chart("two", "charts", "chart: web, version: 3.0.0")
        .await?;
    let text = world
        .condition("two", "FetchFailed", "True", "ChartPullError")
        .await?;
    ensure!(
        text.ends_with("the index has no chart, or more than one"),
        "{text}"
    );
    world
        .chart("image", "charts", "chart: web, version: image")
        .await?;
    world
        .condition("image", "FetchFailed", "True", "ChartPullError")
        .await?;
    Ok(())
}

// SC-AUTH-043, SC-AUTH-044
#[tokio::test]
async fn credentials_of_registries() -> Result {
    let registry = Registry::builder().token_auth("flux", "s3cret").start();
    let world = plain("chart-oci-auth").await?;
    push(&registry, "1.0.0");
    let host = registry.host();
    let config = |host: &str| json!({".dockerconfigjson": json!({"auths": {host: {"username": "flux", "password": "s3cret"}}}).to_string()});
    let docker = "kubernetes.io/dockerconfigjson";
    let basic = json!({"username": "flux", "password": "s3cret"});
    world.secret("basic", "Opaque", basic).await?;
    world.secret("config", docker, config(&host)).await?;
    world.secret("other", docker, config("ghcr.io")).await?;
    for name in ["basic", "config"] {
        // SC-AUTH-044: with a Secret the provider is ignored
        let spec = format!("secretRef: {{name: {name}}}, provider: aws");
        world.oci(name, &registry, &spec).await?;
        world.chart(name, name, "chart: web").await?;
        world.revision(name, "1.0.0").await?;
    }
    world
        .oci("other", &registry, "secretRef: {name: other}")
        .await?;
    world.chart("other", "other", "chart: web").await?;
    let text = world
        .condition("other", "FetchFailed", "True", "Unknown")
        .await?;
    ensure!(
        text == format!(
            "unknown build error: failed to configure OCI registry authentication: no auth config for '{host}' in the docker-registry Secret 'other'"
        ),
        "{text}"
    );
    // SC-HCHART-021
    world
        .recorded("other", "AuthenticationFailed", "no auth config for")
        .await?;
    // SC-HCHART-028
    world.oci("anonymous", &registry, "").await?;
    world.chart("anonymous", "anonymous", "chart: web").await?;
    let text = world
        .condition("anonymous", "FetchFailed", "True", "Unknown")
        .await?;
    ensure!(
        text.starts_with("unknown build error: failed to authenticate with the Helm repository: chart pull error: failed to get chart version for remote reference: could not get tags for \"web\": "),
        "{text}"
    );
    // SC-AUTH-044: without a Secret the provider logs in, which has no login for another's registry
    world.oci("cloud", &registry, "provider: gcp").await?;
    world.chart("cloud", "cloud", "chart: web").await?;
    let text = world
        .condition("cloud", "FetchFailed", "True", "Unknown")
        .await?;
    ensure!(
        text.starts_with("unknown build error: failed to get credential from 'gcp': "),
        "{text}"
    );
    // SC-HCHART-021
    let spec = format!("type: oci, url: 'https://{host}/charts', interval: 1h");
    world.repository("scheme", &spec).await?;
    world.chart("scheme", "scheme", "chart: web").await?;
    let text = world
        .condition("scheme", "Stalled", "True", "Failed")
        .await?;
    ensure!(
        text == format!(
            "failed to construct Helm client: invalid OCI registry URL: https://{host}/charts/"
        ),
        "{text}"
    );
    Ok(())
}

// SC-HREPO-015, FR-H-073: HTTPS is not tried
#[tokio::test]
async fn an_insecure_registry_is_read_over_http() -> Result {
    let registry = Registry::start();
    let world = plain("chart-oci-http").await?;
    push(&registry, "1.0.0");
    world.oci("charts", &registry, "insecure: true").await?;
    world.chart("web", "charts", "chart: web").await?;
    world.revision("web", "1.0.0").await?;
    Ok(())
}

// FR-H-072: a registry that does not answer ends with the timeout
#[tokio::test]
async fn a_registry_that_hangs_is_given_up() -> Result {
    let registry = Registry::builder().hang("/v2/charts/web/tags").start();
    let world = plain("chart-oci-hang").await?;
    push(&registry, "1.0.0");
    world.oci("charts", &registry, "timeout: 1s").await?;
    world.chart("web", "charts", "chart: web").await?;
    let text = world
        .condition("web", "FetchFailed", "True", "ChartPullError")
        .await?;
    ensure!(text.ends_with("context deadline exceeded"), "{text}");
    Ok(())
}

/// Pushes a signature of a chart as cosign 2 makes it.
pub(crate) fn sign(registry: &Registry, key: &KeyPair, digest: &str) {
    push_layers(registry, WEB, digest, &[simple_signature(key, digest)]);
}

#[tokio::test]
async fn signed_charts() -> Result {
    let registry = Registry::start();
    let world = world(
        "chart-signed",
        Settings::default(),
        HttpGitServer::builder(),
    )
    .await?;
    // SC-HCHART-097: with build metadata, too
    let digest = push(&registry, "1.0.0+build");
    let (key, other) = (KeyPair::generate()?, KeyPair::generate()?);
    let (good, wrong) = (key.public_key_pem(), other.public_key_pem());
    world.oci("charts", &registry, "").await?;
    let keys = json!({"a.pub": wrong, "b.pub": good});
    world.secret("keys", "Opaque", keys).await?;
    world
        .secret("none", "Opaque", json!({"cosign.key": good}))
        .await?;
    let spec = |secret: &str| {
        format!(
            "chart: web, version: 1.0.0+build, verify: {{provider: cosign, secretRef: {{name: {secret}}}}}"
        )
    };
    world.chart("web", "charts", &spec("keys")).await?;
    let reference = registry.repository(WEB);
    let want = format!(
        "chart verification error: failed to verify oci://{reference}:1.0.0+build: no matching signatures were found for '{reference}@{digest}'"
    );
    // SC-HCHART-083, SC-HCHART-095
    for (kind, status, reason) in [
        ("BuildFailed", "True", "ChartVerificationError"),
        ("SourceVerified", "False", "VerificationError"),
        ("Ready", "False", "VerificationError"),
    ] {
        let text = world.condition("web", kind, status, reason).await?;
        ensure!(text == want, "{text}");
    }
    ensure!(world.stored("web").is_empty(), "{:?}", world.stored("web"));

    // SC-VER-033: all keys are tried
    sign(&registry, &key, &digest);
    registry.clear_requests();
    world.reconcile("web").await?;
    world.revision("web", "1.0.0+build").await?;
    // SC-HCHART-082
    let text = world
        .condition("web", "SourceVerified", "True", "Succeeded")
        .await?;
    ensure!(
        text == "verified signature of version 1.0.0+build",
        "{text}"
    );

    // SC-HCHART-095, SC-VER-042: the tag moves: what is stored stays, and is no longer verified
    let moved = packed("web", "1.0.0+build", &[("other", "x")]);
    registry.push(WEB, "1.0.0_build", &Artifact::helm(moved));
    world.reconcile("web").await?;
    world
        .condition("web", "SourceVerified", "False", "VerificationError")
        .await?;

    // SC-VER-032, SC-HCHART-096
    world.chart("none", "charts", &spec("none")).await?;
    let namespace = world.namespace.name();
    let want = format!(
        "failed to verify the signature using provider 'cosign': no public keys found in secret '{namespace}/none'"
    );
    let text = world
        .condition("none", "SourceVerified", "False", "VerificationError")
        .await?;
    ensure!(text == want, "{text}");
    let text = world
        .condition("none", "FetchFailed", "True", "Unknown")
        .await?;
    ensure!(text == format!("unknown build error: {want}"), "{text}");

    // SC-HCHART-016
    let without = json!({"spec": {"verify": null}});
    world.namespace.merge(world.kind, "web", without).await?;
    let object = world.ready("web").await?;
    let text = message(&object, "SourceVerified");
    ensure!(text.is_empty(), "{text}");
    Ok(())
}

// SC-VER-034, SC-VER-035: the chart itself is not there, so that a verification that succeeds shows in the pull that fails
#[tokio::test]
async fn identities_of_sigstore_vouch_for_charts() -> Result {
    let head = format!("/v2/{WEB}/manifests/1.0.0");
    let headers = [
        ("content-type", MANIFEST),
        ("content-length", "528"),
        ("docker-content-digest", PUBLIC_DIGEST),
    ];
    let registry = Registry::builder().answer_with(99, "HEAD", &head, 200, &headers, "");
    let registry = registry.start();
    push_bundle(&registry, WEB, PUBLIC_DIGEST, PUBLIC_BUNDLE);
    let world = plain("chart-keyless").await?;
    world.oci("charts", &registry, "").await?;
    for (name, issuer, subject) in [
        ("ours", PUBLIC_ISSUER, PUBLIC_SUBJECT),
        ("issuer", "https://accounts.example.com", PUBLIC_SUBJECT),
        ("subject", PUBLIC_ISSUER, "https://example.com/"),
    ] {
        let spec = format!(
            "chart: web, version: 1.0.0, verify: {{provider: cosign, matchOIDCIdentity: [{{issuer: '^{issuer}$', subject: '^{subject}$'}}]}}"
        );
        world.chart(name, "charts", &spec).await?;
    }
    let text = world
        .condition("ours", "FetchFailed", "True", "ChartPullError")
        .await?;
    ensure!(text.contains("MANIFEST_UNKNOWN"), "{text}");
    let told =
        |line: &Value| line["msg"] == "verified signature" && line["issuer"] == PUBLIC_ISSUER;
    world
        .controller
        .log()
        .wait("of the signature", told)
        .await?;
    let reference = registry.repository(WEB);
    for name in ["issuer", "subject"] {
        let text = world
            .condition(name, "BuildFailed", "True", "ChartVerificationError")
            .await?;
        let want = format!(
            "chart verification error: failed to verify oci://{reference}:1.0.0: no matching "
        );
        ensure!(
            text.starts_with(&want)
                && text.contains(
                    "none of the expected identities matched what was in the certificate"
                ),
            "{text}"
        );
        // SC-HCHART-083
        world
            .condition(name, "SourceVerified", "False", "VerificationError")
            .await?;
    }
    Ok(())
}

// SC-HCHART-095, SC-VER-050, SC-VER-054
#[tokio::test]
async fn notation_vouches_for_charts() -> Result {
    let registry = Registry::start();
    let world = plain("chart-notation").await?;
    let chart = Artifact::helm(packed("web", "1.0.0", &[]));
    registry.push(WEB, "1.0.0", &chart);
    world.oci("charts", &registry, "").await?;
    let (notary, certificate) = Notary::alone();
    let (_, stranger) = Notary::alone();
    let policy = |level: &str| {
        let statement = json!({
            "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": level},
            "trustStores": ["ca:any"], "trustedIdentities": ["*"]});
        json!({"version": "1.0", "trustPolicies": [statement]}).to_string()
    };
    for (name, level, certificate) in [
        ("good", "strict", &certificate),
        ("wrong", "strict", &stranger),
        ("audit", "audit", &stranger),
    ] {
        let trust = json!({"trustpolicy.json": policy(level), "a.crt": certificate});
        world.secret(name, "Opaque", trust).await?;
    }
    let spec =
        |more: &str| format!("chart: web, version: 1.0.0, verify: {{provider: notation{more}}}");
    let chart_of = async |name: &str| {
        let spec = spec(&format!(", secretRef: {{name: {name}}}"));
        world.chart(name, "charts", &spec).await
    };
    chart_of("good").await?;
    let text = world
        .condition("good", "SourceVerified", "False", "VerificationError")
        .await?;
    // SC-VER-057
    ensure!(
        text.contains(": no signature is associated with \"")
            && text.contains("/charts/web@sha256:"),
        "{text}"
    );
    ensure!(
        world.stored("good").is_empty(),
        "{:?}",
        world.stored("good")
    );

    notary.sign(&registry, WEB, &chart.manifest(), Envelope::Jws);
    world.reconcile("good").await?;
    world.revision("good", "1.0.0").await?;
    let text = world
        .condition("good", "SourceVerified", "True", "Succeeded")
        .await?;
    ensure!(text == "verified signature of version 1.0.0", "{text}");
    chart_of("wrong").await?;
    let text = world
        .condition("wrong", "BuildFailed", "True", "ChartVerificationError")
        .await?;
    ensure!(text.contains("signature verification failed"), "{text}");
    // SC-VER-055: what the policy lets pass is used, but not verified
    chart_of("audit").await?;
    let object = world.revision("audit", "1.0.0").await?;
    ensure!(condition(&object, "SourceVerified").is_none(), "{object}");

    // SC-VER-050, SC-HCHART-096: messages name the object
    world.chart("none", "charts", &spec("")).await?;
    let text = world
        .condition("none", "SourceVerified", "False", "VerificationError")
        .await?;
    ensure!(
        text == "failed to verify the signature using provider 'notation': verification secret cannot be empty: 'none'",
        "{text}"
    );
    Ok(())
}

// SC-VER-038, SC-VER-043: unlike with upstream, signatures of a chart are looked for as the chart itself is
#[tokio::test]
async fn signatures_are_looked_for_with_the_settings_of_the_repository() -> Result {
    let authority = Authority::new();
    let secure = Registry::builder().tls(&authority).start();
    let plain_http = Registry::start();
    let world = plain("chart-sig-tls").await?;
    let key = KeyPair::generate()?;
    for registry in [&secure, &plain_http] {
        let digest = push(registry, "1.0.0");
        sign(registry, &key, &digest);
    }
    world
        .secret("ca", "Opaque", json!({"ca.crt": authority.pem()}))
        .await?;
    world
        .secret("keys", "Opaque", json!({"a.pub": key.public_key_pem()}))
        .await?;
    world
        .oci("secure", &secure, "certSecretRef: {name: ca}")
        .await?;
    world.oci("insecure", &plain_http, "insecure: true").await?;
    for name in ["secure", "insecure"] {
        let spec =
            "chart: web, version: 1.0.0, verify: {provider: cosign, secretRef: {name: keys}}";
        world.chart(name, name, spec).await?;
        world.revision(name, "1.0.0").await?;
        world
            .condition(name, "SourceVerified", "True", "Succeeded")
            .await?;
    }
    Ok(())
}

// FR-H-074: authorities of its own do not make a public repository one that is logged in to
#[tokio::test]
async fn a_public_registry_with_an_authority_is_read_anonymously() -> Result {
    let authority = Authority::new();
    let registry = Registry::builder().tls(&authority).anonymous_tokens();
    let registry = registry.start();
    let world = plain("chart-public").await?;
    push(&registry, "1.0.0");
    // FR-H-076: the authority of the registry and another one that has nothing to do with it
    let both = format!("{}{}", Authority::new().pem(), authority.pem());
    let data = json!({"ca.crt": both});
    world.secret("ca", "Opaque", data).await?;
    world
        .oci("charts", &registry, "certSecretRef: {name: ca}")
        .await?;
    world.chart("web", "charts", "chart: web").await?;
    world.revision("web", "1.0.0").await?;
    let asked = registry.requests();
    let logins = asked.iter().filter(|request| {
        let header = request.authorization.as_deref().unwrap_or_default();
        header.starts_with("Basic ")
    });
    assert_eq!(logins.count(), 0, "{asked:?}");
    // With a Secret that has nothing, too.
    world
        .secret("empty", "Opaque", json!({"other": "x"}))
        .await?;
    let secret = json!({"spec": {"secretRef": {"name": "empty"}}});
    world
        .namespace
        .merge(HELM_REPOSITORY, "charts", secret)
        .await?;
    world.chart("again", "charts", "chart: web").await?;
    world.revision("again", "1.0.0").await?;
    Ok(())
}
