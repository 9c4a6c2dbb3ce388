//! Signatures by cosign and notation: with keys of the tests, and as the real cosign made them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git_servers::Proxy;
use kind_tests::controller::Settings;
use kind_tests::{OCI_REPOSITORY, Result, ensure};
use rcgen::KeyPair;
use registries::{Artifact, Registry, digest_of, tar_gz};
use serde_json::{Value, json};

use crate::signing::{
    BUNDLE, Envelope, Layer, Notary, PUBLIC_BUNDLE, PUBLIC_DIGEST, PUBLIC_ISSUER, PUBLIC_SUBJECT,
    push_bundle, push_layers, recorded, simple_signature,
};
use crate::support::message;
use crate::world::{APP, World};

const UNVERIFIED: &str = "failed to verify the signature using provider";

impl World {
    pub(crate) async fn secret(&self, name: &str, data: Value) -> Result {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        self.namespace.apply(&secret.to_string()).await?;
        Ok(())
    }

    /// Pushes signatures in cosign's older layout.
    fn push_signatures(&self, digest: &str, layers: &[Layer]) {
        push_layers(&self.registry, APP, digest, layers);
    }

    pub(crate) async fn verified(&self, name: &str) -> Result<String> {
        self.condition(name, "SourceVerified", "True", "Succeeded")
            .await
    }

    /// The message of a failed verification, which is that of `Ready`, too.
    pub(crate) async fn unverified(&self, name: &str) -> Result<String> {
        let reason = "VerificationError";
        let text = self
            .condition(name, "SourceVerified", "False", reason)
            .await?;
        // SC-PROC-064
        assert_eq!(self.condition(name, "Ready", "False", reason).await?, text);
        Ok(text)
    }
}

/// A Secret's value.
pub(crate) fn data(bytes: impl AsRef<[u8]>) -> Value {
    json!(STANDARD.encode(bytes))
}

// SC-VER-030, SC-VER-037
#[tokio::test]
async fn only_artifacts_signed_by_a_key_are_pulled() -> Result {
    let world = World::start("oci-cosign", Registry::start()).await?;
    let digest = world.push("latest", &[("a", "")]);
    let (key, other) = (KeyPair::generate()?, KeyPair::generate()?);
    let (good, wrong) = (data(key.public_key_pem()), data(other.public_key_pem()));
    world.secret("keys", json!({"cosign.pub": good})).await?;
    let spec = "verify: {provider: cosign, secretRef: {name: keys}}";
    let none = format!(
        "{UNVERIFIED} 'cosign': no matching signatures were found for 'HOST/{APP}@{digest}'"
    );

    // SC-OCI-082, SC-OCI-084: without a signature nothing is pulled
    world.apply("app", spec).await?;
    assert_eq!(world.unverified("app").await?, none);
    let asked = world.registry.asked();
    let pulls = |line: &String| {
        line.starts_with("GET") && (line.contains("/blobs/") || line.ends_with("/manifests/latest"))
    };
    ensure!(!asked.iter().any(pulls), "{asked:?}");
    ensure!(!world.folder("app").exists(), "an artifact is stored");

    // SC-OCI-083, SC-VER-060
    world.push_signatures(&digest, &[simple_signature(&key, &digest)]);
    world.reconcile("app").await?;
    let object = world.ready("app").await?;
    assert_eq!(
        world.verified("app").await?,
        format!("verified signature of revision latest@{digest}")
    );
    let fingerprint = object["status"]["sourceVerificationFingerprint"].clone();
    ensure!(fingerprint.is_string(), "{object}");

    // SC-OCI-081: the same key under another name
    world.secret("keys", json!({"renamed.pub": good})).await?;
    world.registry.clear_requests();
    let object = world.reconcile("app").await?;
    assert_eq!(
        object["status"]["sourceVerificationFingerprint"],
        fingerprint
    );
    let asked = world.registry.asked();
    let looks = |line: &String| line.contains("referrers") || line.contains(".sig");
    ensure!(!asked.iter().any(looks), "{asked:?}");

    // SC-VER-061: another key: the artifact stays
    world.secret("keys", json!({"renamed.pub": wrong})).await?;
    world.reconcile("app").await?;
    assert_eq!(world.unverified("app").await?, none);
    let object = world.namespace.get(OCI_REPOSITORY, "app").await?;
    let object = object.unwrap_or_default();
    ensure!(object["status"]["artifact"].is_object(), "{object}");
    ensure!(
        object["status"]["sourceVerificationFingerprint"].is_null(),
        "{object}"
    );

    // SC-VER-031: one key of several suffices
    world
        .secret(
            "keys",
            json!({"a.pub": wrong, "renamed.pub": wrong, "z.pub": good}),
        )
        .await?;
    world.reconcile("app").await?;
    world.ready("app").await?;
    world.verified("app").await?;

    // SC-OCI-080
    let without = json!({"spec": {"verify": null}});
    world
        .namespace
        .merge(OCI_REPOSITORY, "app", without)
        .await?;
    let object = world.ready("app").await?;
    ensure!(message(&object, "SourceVerified").is_empty(), "{object}");
    ensure!(
        object["status"]["sourceVerificationFingerprint"].is_null(),
        "{object}"
    );

    // a Secret that does not exist, and a key that cannot be read
    let spec = "verify: {provider: cosign, secretRef: {name: absent}}";
    world.apply("absent", spec).await?;
    assert_eq!(
        world.unverified("absent").await?,
        format!("{UNVERIFIED} 'cosign': secrets \"absent\" not found")
    );
    world
        .secret("odd", json!({"a.pub": data("x"), "b.pub": good}))
        .await?;
    let spec = "verify: {provider: cosign, secretRef: {name: odd}}";
    world.apply("odd", spec).await?;
    assert_eq!(
        world.unverified("odd").await?,
        format!("{UNVERIFIED} 'cosign': PEM decoding failed")
    );
    Ok(())
}

// What the real cosign signed is not in the registry, so that the verification succeeds and the pull fails.
// SC-VER-034, SC-VER-036, SC-VER-040
#[tokio::test]
async fn keyless_signatures_of_the_real_cosign_are_verified() -> Result {
    let world = World::start("oci-sigstore", Registry::start()).await?;
    let recorded = recorded();
    let text = |pointer: &str| {
        recorded
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let digest = text("/digest");
    let layers = |name: &str| -> Vec<Layer> {
        let layers = recorded["classic"][name]["layers"].as_array().unwrap();
        let payload = |layer: &Value| STANDARD.decode(layer["payload"].as_str().unwrap()).unwrap();
        layers
            .iter()
            .map(|layer| (payload(layer), layer["annotations"].clone()))
            .collect()
    };
    let signed = [layers("p256"), layers("keyless-workflow")].concat();
    world.push_signatures(&digest, &signed);
    for (name, value) in [
        ("key", json!({"a.pub": data(text("/keys/p256"))})),
        ("stranger", json!({"a.pub": data(text("/keys/stranger"))})),
        (
            "root",
            json!({"trusted_root.json": data(text("/roots/ours"))}),
        ),
    ] {
        world.secret(name, value).await?;
    }
    let keyed = |secret: &str| format!("secretRef: {{name: {secret}}}");
    let keyless = |subject: &str| {
        format!(
            "trustedRootSecretRef: {{name: root}}, matchOIDCIdentity: [{{issuer: '^https://token.actions.example.com$', subject: '{subject}'}}]"
        )
    };
    let ours = "^https://example.com/org/repo/.*$";
    let apply = async |name: &str, verify: String| {
        let spec = format!("ref: {{digest: '{digest}'}}, verify: {{provider: cosign, {verify}}}");
        world.apply(name, &spec).await
    };
    let expected = format!("verified signature of revision {digest}");
    for (name, verify) in [("keyed", keyed("key")), ("keyless", keyless(ours))] {
        apply(name, verify).await?;
        assert_eq!(world.verified(name).await?, expected);
        let reason = "OCIArtifactPullFailed";
        world.condition(name, "FetchFailed", "True", reason).await?;
    }
    for (name, verify, expected) in [
        (
            "stranger",
            keyed("stranger"),
            " 'cosign': no matching signatures were found",
        ),
        (
            "other",
            keyless("^https://example.com/other$"),
            " 'cosign keyless': no matching signatures: ",
        ),
        (
            "no-root",
            "trustedRootSecretRef: {name: key}".to_owned(),
            " 'cosign keyless': failed to read trusted root from secret '",
        ),
    ] {
        apply(name, verify).await?;
        let text = world.unverified(name).await?;
        ensure!(
            text.starts_with(&format!("{UNVERIFIED}{expected}")),
            "{text}"
        );
    }

    // SC-VER-037: the same as bundles
    world.push_signatures(&digest, &[]);
    for name in ["p256", "keyless-workflow"] {
        let bundle = text(&format!("/bundles/{name}"));
        push_bundle(&world.registry, APP, &digest, &bundle);
    }
    for (name, verify) in [("bundle", keyed("key")), ("keyless-bundle", keyless(ours))] {
        apply(name, verify).await?;
        assert_eq!(world.verified(name).await?, expected);
    }
    apply("stranger-bundle", keyed("stranger")).await?;
    let text = world.unverified("stranger-bundle").await?;
    ensure!(text.contains("no matching signatures were found"), "{text}");
    Ok(())
}

/// A trust policy of this level, with further lines of its statement.
pub(crate) fn policy(level: &str, trust: &str) -> Value {
    let policy = format!(
        r#"{{"version": "1.0", "trustPolicies": [{{"name": "all", "registryScopes": ["*"], "signatureVerification": {{"level": "{level}"}}{trust}}}]}}"#
    );
    data(policy)
}

/// Everyone whom the certificates of the Secret vouch for.
pub(crate) const ANYONE: &str = r#", "trustStores": ["ca:app"], "trustedIdentities": ["*"]"#;

// SC-VER-051, SC-VER-054
#[tokio::test]
async fn trust_policies_decide_on_notation_signatures() -> Result {
    let world = World::start("oci-notation", Registry::start()).await?;
    let artifact = Artifact::flux(tar_gz(&[("a", "")]));
    let digest = world.registry.push(APP, "latest", &artifact);
    let (notary, certificate) = Notary::alone();
    let (_, stranger) = Notary::alone();
    let trust = ANYONE;
    let (ours, other) = (data(certificate), data(stranger));
    for (name, level, trust, certificate) in [
        ("good", "strict", trust, &ours),
        ("wrong", "strict", trust, &other),
        ("audit", "audit", trust, &other),
        ("skip", "skip", "", &other),
    ] {
        let value = json!({"trustpolicy.json": policy(level, trust), "a.crt": certificate});
        world.secret(name, value).await?;
    }
    let apply = async |name: &str, secret: &str| {
        let spec = format!("verify: {{provider: notation, secretRef: {{name: {secret}}}}}");
        world.apply(name, &spec).await
    };
    apply("good", "good").await?;
    // SC-VER-057
    assert_eq!(
        world.unverified("good").await?,
        format!(
            "{UNVERIFIED} 'notation': no signature is associated with \"HOST/{APP}@{digest}\", make sure the artifact was signed successfully"
        )
    );
    ensure!(!world.folder("good").exists(), "an artifact is stored");

    let manifest = artifact.manifest();
    notary.sign(&world.registry, APP, &manifest, Envelope::Jws);
    world.reconcile("good").await?;
    let object = world.ready("good").await?;
    let expected = format!("verified signature of revision latest@{digest}");
    assert_eq!(world.verified("good").await?, expected);
    ensure!(
        object["status"]["sourceVerificationFingerprint"].is_string(),
        "{object}"
    );

    apply("wrong", "wrong").await?;
    let text = world.unverified("wrong").await?;
    let failed = format!("{UNVERIFIED} 'notation': signature verification failed");
    ensure!(text.starts_with(&failed), "{text}");
    // SC-VER-055: what is tolerated is used, but not verified
    for name in ["audit", "skip"] {
        apply(name, name).await?;
        let object = world.ready(name).await?;
        ensure!(message(&object, "SourceVerified").is_empty(), "{object}");
        ensure!(
            object["status"]["sourceVerificationFingerprint"].is_null(),
            "{object}"
        );
    }
    // An earlier success does not stand for it.
    let audit = json!({"trustpolicy.json": policy("audit", trust), "a.crt": other});
    world.secret("good", audit).await?;
    let object = world.reconcile("good").await?;
    ensure!(message(&object, "SourceVerified").is_empty(), "{object}");

    // SC-VER-050
    world.apply("none", "verify: {provider: notation}").await?;
    assert_eq!(
        world.unverified("none").await?,
        format!(
            "{UNVERIFIED} 'notation': verification secret cannot be empty: 'HOST/{APP}@{digest}'"
        )
    );
    Ok(())
}

// SC-VER-035: the trusted root of the public instance is in the program, and no server is asked for it
#[tokio::test]
async fn signatures_by_the_public_instance_are_verified() -> Result {
    let proxy = Proxy::http(None);
    let settings = Settings::default().env("HTTPS_PROXY", proxy.url());
    let world = World::start_with("oci-public", settings, Registry::start()).await?;
    push_bundle(&world.registry, APP, PUBLIC_DIGEST, PUBLIC_BUNDLE);
    for (name, subject) in [("ours", PUBLIC_SUBJECT), ("other", "https://example.com/")] {
        let spec = format!(
            "ref: {{digest: '{PUBLIC_DIGEST}'}}, verify: {{provider: cosign, matchOIDCIdentity: [{{issuer: '^{PUBLIC_ISSUER}$', subject: '^{subject}$'}}]}}"
        );
        world.apply(name, &spec).await?;
    }
    assert_eq!(
        world.verified("ours").await?,
        format!("verified signature of revision {PUBLIC_DIGEST}")
    );
    let text = world.unverified("other").await?;
    let want = format!(
        "{UNVERIFIED} 'cosign keyless': no matching signatures: none of the expected identities matched"
    );
    ensure!(
        text.replace("attestations", "signatures")
            .starts_with(&want),
        "{text}"
    );
    // SC-VER-038, SC-VER-039: neither Rekor nor another service is asked
    let destinations = proxy.destinations();
    ensure!(destinations.is_empty(), "{destinations:?}");
    Ok(())
}

// SC-VER-037, FR-H-091: how bundles are found, and that the older layout is looked at only where bundles are missing
#[tokio::test]
async fn bundles_come_before_the_older_layout() -> Result {
    let recorded = recorded();
    let text = |pointer: &str| {
        let found = recorded.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let digest = text("/digest");
    let layers = recorded["classic"]["p256"]["layers"].as_array().cloned();
    let layers: Vec<Layer> = layers
        .unwrap_or_default()
        .iter()
        .map(|layer| {
            let payload = layer["payload"].as_str().unwrap_or_default();
            let payload = STANDARD.decode(payload).unwrap_or_default();
            (payload, layer["annotations"].clone())
        })
        .collect();
    let keys = json!({"a.pub": data(text("/keys/p256"))});
    let referrers = format!("/v2/{APP}/referrers/");
    let none = r#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}"#;
    let index = [("content-type", "application/vnd.oci.image.index.v1+json")];
    let world = World::start("oci-bundles", Registry::start()).await?;
    world.secret("keys", keys).await?;
    let apply = async |name: &str, registry: &Registry| {
        let url = format!("oci://{}", registry.repository(APP));
        let spec = format!(
            "ref: {{digest: '{digest}'}}, verify: {{provider: cosign, secretRef: {{name: keys}}}}"
        );
        world.apply_url(name, &url, &spec).await
    };
    let reads_classic = |registry: &Registry| {
        let asked = registry.asked();
        asked.iter().any(|line| line.contains(".sig"))
    };
    let without = || Registry::builder().without_referrers();
    // How a registry answers, and whether it has a bundle; without, it has a signature in the older layout.
    for (name, registry, has_bundle) in [
        ("listed", Registry::builder(), true),
        ("tagged", without(), true),
        ("absent", without(), false),
        (
            "refused",
            Registry::builder().answer(99, "GET", &referrers, 405, ""),
            false,
        ),
        (
            "empty",
            Registry::builder().answer_with(99, "GET", &referrers, 200, &index, none),
            false,
        ),
    ] {
        let registry = registry.start();
        let bundle = text("/bundles/p256");
        match (has_bundle, name) {
            (false, _) => push_layers(&registry, APP, &digest, &layers),
            (true, "tagged") => tag_bundle(&registry, &digest, &bundle),
            (true, _) => push_bundle(&registry, APP, &digest, &bundle),
        }
        apply(name, &registry).await?;
        world.verified(name).await?;
        assert_eq!(reads_classic(&registry), !has_bundle, "{name}");
    }

    // A registry that does not say what it has does not stand for one without bundles.
    let registry = Registry::builder().answer(99, "GET", &referrers, 403, "{}");
    let registry = registry.start();
    push_layers(&registry, APP, &digest, &layers);
    apply("denied", &registry).await?;
    let text = world.unverified("denied").await?;
    ensure!(text.contains("/referrers/"), "{text}");
    ensure!(!reads_classic(&registry), "{:?}", registry.asked());
    Ok(())
}

/// Pushes a bundle as clients do where the registry keeps no lists: named by an index under the tag of the digest.
fn tag_bundle(registry: &Registry, digest: &str, bundle: &str) {
    let artifact = Artifact {
        config: "application/vnd.oci.empty.v1+json".to_owned(),
        layers: vec![(BUNDLE.to_owned(), bundle.as_bytes().to_vec())],
        artifact_type: Some(BUNDLE.to_owned()),
        ..Artifact::flux(Vec::new())
    };
    let manifest = artifact.manifest();
    registry.push(APP, "bundle", &artifact);
    let child = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(&manifest), "size": manifest.len(),
        "artifactType": BUNDLE,
    });
    registry.push_index(APP, &digest.replace(':', "-"), &[child]);
}

// SC-VER-053: the other form of envelope; SC-VER-056: with the credentials of the object, and one token for all requests
#[tokio::test]
async fn cose_envelopes_are_verified_in_a_registry_that_wants_tokens() -> Result {
    let registry = Registry::builder().token_auth("flux", "s3cret").start();
    let world = World::start("oci-cose", registry).await?;
    let artifact = Artifact::flux(tar_gz(&[("a", "")]));
    let digest = world.registry.push(APP, "latest", &artifact);
    let (notary, certificate) = Notary::alone();
    let manifest = artifact.manifest();
    notary.sign(&world.registry, APP, &manifest, Envelope::Cose);
    let trust = json!({"trustpolicy.json": policy("strict", ANYONE), "a.crt": data(certificate)});
    world.secret("trust", trust).await?;
    let config =
        json!({"auths": {world.registry.host(): {"username": "flux", "password": "s3cret"}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()},
    });
    world.namespace.apply(&secret.to_string()).await?;
    let spec = "secretRef: {name: pull}, verify: {provider: notation, secretRef: {name: trust}}";
    world.apply("app", spec).await?;
    world.ready("app").await?;
    assert_eq!(
        world.verified("app").await?,
        format!("verified signature of revision latest@{digest}")
    );
    let requests = world.registry.requests();
    let tokens = requests
        .iter()
        .filter(|request| request.target.starts_with("/token"));
    assert_eq!(tokens.count(), 1, "{requests:?}");
    ensure!(
        requests
            .iter()
            .all(|request| request.user_agent.as_deref() == Some("flux/v2")),
        "{requests:?}"
    );
    Ok(())
}

// SC-OCI-082, SC-VER-031: looking for signatures ends with the timeout
#[tokio::test]
async fn a_registry_that_hangs_over_signatures_is_given_up() -> Result {
    let referrers = format!("/v2/{APP}/referrers/");
    let world = World::start("oci-sig-hang", Registry::builder().hang(&referrers).start()).await?;
    world.push("latest", &[("a", "")]);
    let (key, certificate) = (KeyPair::generate()?, Notary::alone().1);
    let trust = json!({"trustpolicy.json": policy("strict", ANYONE), "a.crt": data(certificate)});
    world.secret("trust", trust).await?;
    let keys = json!({"a.pub": data(key.public_key_pem())});
    world.secret("keys", keys).await?;
    for (provider, secret) in [("cosign", "keys"), ("notation", "trust")] {
        let spec =
            format!("timeout: 1s, verify: {{provider: {provider}, secretRef: {{name: {secret}}}}}");
        world.apply(provider, &spec).await?;
        let text = world.unverified(provider).await?;
        ensure!(text.ends_with("context deadline exceeded"), "{text}");
    }
    Ok(())
}
