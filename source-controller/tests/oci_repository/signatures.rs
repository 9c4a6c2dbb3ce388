//! Signatures by cosign and notation: with keys of the tests, and as the real cosign made them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::read::GzDecoder;
use kind_tests::{OCI_REPOSITORY, Result, ensure};
use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose, SigningKey as _};
use registries::{Artifact, Registry, digest_of, tar_gz};
use serde_json::{Value, json};

use crate::support::message;
use crate::world::{APP, World};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const NOTATION: &str = "application/vnd.cncf.notary.signature";
const UNVERIFIED: &str = "failed to verify the signature using provider";

/// A layer of a signature in cosign's older layout: payload, and annotations of its descriptor.
type Layer = (Vec<u8>, Value);

impl World {
    async fn secret(&self, name: &str, data: Value) -> Result {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        self.namespace.apply(&secret.to_string()).await?;
        Ok(())
    }

    /// Pushes signatures in the older layout.
    fn push_signatures(&self, digest: &str, layers: &[Layer]) {
        let config = b"{}";
        self.registry.push_blob(APP, config);
        let layers = layers.iter().map(|(payload, annotations)| {
            self.registry.push_blob(APP, payload);
            json!({"mediaType": SIMPLE_SIGNING, "size": payload.len(), "digest": digest_of(payload), "annotations": annotations})
        });
        let layers: Vec<Value> = layers.collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(), "digest": digest_of(config)},
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let manifest = manifest.to_string();
        self.registry
            .push_manifest(APP, &tag, MANIFEST, manifest.as_bytes());
    }

    /// Pushes a signature that refers to a manifest of this size.
    fn push_referrer(&self, digest: &str, size: usize, kind: &str, media_type: &str, blob: &[u8]) {
        let artifact = Artifact {
            config: "application/vnd.oci.empty.v1+json".to_owned(),
            layers: vec![(media_type.to_owned(), blob.to_vec())],
            artifact_type: Some(kind.to_owned()),
            subject: Some((digest.to_owned(), size)),
            ..Artifact::flux(Vec::new())
        };
        self.registry.push_referrer(APP, &artifact);
    }

    async fn verified(&self, name: &str) -> Result<String> {
        self.condition(name, "SourceVerified", "True", "Succeeded")
            .await
    }

    /// The message of a failed verification, which is that of `Ready`, too.
    async fn unverified(&self, name: &str) -> Result<String> {
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
fn data(bytes: impl AsRef<[u8]>) -> Value {
    json!(STANDARD.encode(bytes))
}

/// A signature as cosign 2 makes it.
fn simple_signature(key: &KeyPair, digest: &str) -> Layer {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example.com/app"},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string().into_bytes();
    let signature = STANDARD.encode(key.sign(&payload).unwrap());
    (
        payload,
        json!({"dev.cosignproject.cosign/signature": signature}),
    )
}

/// What the real cosign and notation made.
fn recorded() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/signature/tests/material/material.json.gz"
    );
    let packed = std::fs::read(path).unwrap();
    serde_json::from_reader(GzDecoder::new(&*packed)).unwrap()
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
        world.push_referrer(&digest, 528, BUNDLE, BUNDLE, bundle.as_bytes());
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

/// A certificate of its own key, as `notation cert generate-test` makes it.
fn signer() -> Result<(KeyPair, rcgen::Certificate)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    for (kind, text) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, "Example"),
        (DnType::CommonName, "signer"),
    ] {
        name.push(kind, text);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?;
    Ok((key, certificate))
}

/// Both numbers of an ECDSA signature in DER, one after the other.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[length.saturating_sub(32)..];
        numbers.extend(vec![0; 32 - number.len()]);
        numbers.extend(number);
        rest = &rest[2 + length..];
    }
    numbers
}

/// A signature as notation makes it.
fn envelope(key: &KeyPair, certificate: &rcgen::Certificate, digest: &str, size: usize) -> Vec<u8> {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let payload =
        encode(json!({"targetArtifact": {"mediaType": MANIFEST, "digest": digest, "size": size}}));
    let protected = encode(json!({
        "alg": "ES256",
        "crit": ["io.cncf.notary.signingScheme"],
        "cty": "application/vnd.cncf.notary.payload.v1+json",
        "io.cncf.notary.signingScheme": "notary.x509",
        "io.cncf.notary.signingTime": "2026-03-01T12:00:00Z",
    }));
    let signed = key
        .sign(format!("{protected}.{payload}").as_bytes())
        .unwrap();
    let envelope = json!({
        "payload": payload,
        "protected": protected,
        "header": {"x5c": [STANDARD.encode(certificate.der())]},
        "signature": URL_SAFE_NO_PAD.encode(fixed(&signed)),
    });
    envelope.to_string().into_bytes()
}

// SC-VER-051, SC-VER-054
#[tokio::test]
async fn trust_policies_decide_on_notation_signatures() -> Result {
    let world = World::start("oci-notation", Registry::start()).await?;
    let artifact = Artifact::flux(tar_gz(&[("a", "")]));
    let digest = world.registry.push(APP, "latest", &artifact);
    let (key, certificate) = signer()?;
    let (_, stranger) = signer()?;
    let policy = |level: &str, trust: &str| {
        let policy = format!(
            r#"{{"version": "1.0", "trustPolicies": [{{"name": "all", "registryScopes": ["*"], "signatureVerification": {{"level": "{level}"}}{trust}}}]}}"#
        );
        data(policy)
    };
    let trust = r#", "trustStores": ["ca:app"], "trustedIdentities": ["*"]"#;
    let (ours, other) = (data(certificate.pem()), data(stranger.pem()));
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

    let manifest = artifact.manifest().len();
    let signature = envelope(&key, &certificate, &digest, manifest);
    world.push_referrer(
        &digest,
        manifest,
        NOTATION,
        "application/jose+json",
        &signature,
    );
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
