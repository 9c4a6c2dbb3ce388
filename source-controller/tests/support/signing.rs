//! Shared by the scenarios with signatures: what cosign and notation push to a registry, made with keys of the tests, and what
//! the real ones made.

#![allow(dead_code, reason = "no scenario file needs all of it")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::read::GzDecoder;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey as _, date_time_ymd,
};
use registries::{Artifact, Registry, digest_of};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of Sigstore bundles, which is their artifact type, too.
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The artifact type of notation's signatures.
const NOTATION: &str = "application/vnd.cncf.notary.signature";
/// When notation says that it signed.
const SIGNED: &str = "2026-03-01T12:00:00Z";
const SIGNED_SECONDS: u32 = 1_772_366_400;

/// A layer of a signature in cosign's older layout: payload, and annotations of its descriptor.
pub(crate) type Layer = (Vec<u8>, Value);

/// A signature as cosign 2 makes it.
pub(crate) fn simple_signature(key: &KeyPair, digest: &str) -> Layer {
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

/// Pushes signatures of the artifact with this digest in the older layout.
pub(crate) fn push_layers(registry: &Registry, repository: &str, digest: &str, layers: &[Layer]) {
    let config = b"{}";
    registry.push_blob(repository, config);
    let layers = layers.iter().map(|(payload, annotations)| {
        registry.push_blob(repository, payload);
        json!({"mediaType": SIMPLE_SIGNING, "size": payload.len(), "digest": digest_of(payload), "annotations": annotations})
    });
    let layers: Vec<Value> = layers.collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(), "digest": digest_of(config)},
    });
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let manifest = manifest.to_string();
    registry.push_manifest(repository, &tag, MANIFEST, manifest.as_bytes());
}

/// Pushes a Sigstore bundle of the artifact with this digest.
pub(crate) fn push_bundle(registry: &Registry, repository: &str, digest: &str, bundle: &str) {
    let size = 528; // the size is not checked that a bundle refers to
    let bundle = (BUNDLE, bundle.as_bytes());
    push_referrer(registry, repository, (digest, size), BUNDLE, bundle);
}

/// Pushes a signature, with its media type, that refers to a manifest of this digest and size.
fn push_referrer(
    registry: &Registry,
    repository: &str,
    (digest, size): (&str, usize),
    kind: &str,
    (media_type, blob): (&str, &[u8]),
) {
    let artifact = Artifact {
        config: "application/vnd.oci.empty.v1+json".to_owned(),
        layers: vec![(media_type.to_owned(), blob.to_vec())],
        artifact_type: Some(kind.to_owned()),
        subject: Some((digest.to_owned(), size)),
        ..Artifact::flux(Vec::new())
    };
    registry.push_referrer(repository, &artifact);
}

/// What the real cosign and notation made.
pub(crate) fn recorded() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/signature/tests/material/material.json.gz"
    );
    let packed = std::fs::read(path).unwrap();
    serde_json::from_reader(GzDecoder::new(&*packed)).unwrap()
}

/// A bundle by Sigstore's public instance.
pub(crate) const PUBLIC_BUNDLE: &str =
    include_str!("../../../shared/signature/tests/material/public_bundle.json");
/// What it signs.
pub(crate) const PUBLIC_DIGEST: &str =
    "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
/// Who signed it.
pub(crate) const PUBLIC_ISSUER: &str = "https://token.actions.githubusercontent.com";
pub(crate) const PUBLIC_SUBJECT: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";

/// The form of a signature by notation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Envelope {
    Jws,
    Cose,
}

/// Who signs for notation: a key with its certificates.
pub(crate) struct Notary {
    key: KeyPair,
    /// The signer's own first.
    chain: Vec<Vec<u8>>,
}

fn named(common: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = &mut params.distinguished_name;
    for (kind, text) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, "Example"),
        (DnType::CommonName, common),
    ] {
        name.push(kind, text);
    }
    params
}

impl Notary {
    /// A signer that vouches for itself, as `notation cert generate-test` makes it, with its certificate.
    pub(crate) fn alone() -> (Self, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = named("signer");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).unwrap();
        let chain = vec![certificate.der().to_vec()];
        (Self { key, chain }, certificate.pem())
    }

    /// Signs an artifact with this manifest, and pushes the signature.
    pub(crate) fn sign(
        &self,
        registry: &Registry,
        repository: &str,
        manifest: &[u8],
        envelope: Envelope,
    ) {
        let digest = digest_of(manifest);
        let payload = json!({"targetArtifact": {"mediaType": MANIFEST, "digest": digest, "size": manifest.len()}});
        let payload = payload.to_string();
        let (media_type, blob) = match envelope {
            Envelope::Jws => ("application/jose+json", self.jws(&payload)),
            Envelope::Cose => ("application/cose", self.cose(&payload)),
        };
        let subject = (&*digest, manifest.len());
        push_referrer(registry, repository, subject, NOTATION, (media_type, &blob));
    }

    fn jws(&self, payload: &str) -> Vec<u8> {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let protected = json!({
            "alg": "ES256",
            "crit": ["io.cncf.notary.signingScheme"],
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": SIGNED,
        });
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        let signed = format!("{protected}.{payload}");
        let signature = fixed(&self.key.sign(signed.as_bytes()).unwrap());
        let chain: Vec<String> = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
        let envelope = json!({
            "payload": payload,
            "protected": protected,
            "header": {"x5c": chain},
            "signature": URL_SAFE_NO_PAD.encode(signature),
        });
        envelope.to_string().into_bytes()
    }

    /// `COSE_Sign1` of RFC 9052, written by hand.
    fn cose(&self, payload: &str) -> Vec<u8> {
        let scheme = cbor_text("io.cncf.notary.signingScheme");
        let headers = [
            &[0xa5][..],   // a map of five
            &[0x01, 0x26], // algorithm: ES256
            &[0x02, 0x81], // critical: one label
            &scheme,
            &[0x03], // content type
            &cbor_text("application/vnd.cncf.notary.payload.v1+json"),
            &scheme,
            &cbor_text("notary.x509"),
            &cbor_text("io.cncf.notary.signingTime"),
            &[0xc1, 0x1a], // seconds since 1970
            &SIGNED_SECONDS.to_be_bytes(),
        ];
        let protected = cbor_bytes(&headers.concat());
        let payload = cbor_bytes(payload.as_bytes());
        let signed = [
            &[0x84][..],
            &cbor_text("Signature1"),
            &protected,
            &[0x40],
            &payload,
        ];
        let signature = fixed(&self.key.sign(&signed.concat()).unwrap());
        let count = u8::try_from(self.chain.len()).unwrap();
        let chain: Vec<u8> = self.chain.iter().flat_map(|der| cbor_bytes(der)).collect();
        [
            &[0xd2, 0x84][..],
            &protected,
            &[0xa1, 0x18, 33, 0x80 | count], // x5chain
            &chain,
            &payload,
            &cbor_bytes(&signature),
        ]
        .concat()
    }
}

fn cbor_head(major: u8, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).unwrap();
    match length {
        0..24 => vec![(major << 5) | length.to_be_bytes()[1]],
        24..256 => vec![(major << 5) | 0x18, length.to_be_bytes()[1]],
        _ => [&[(major << 5) | 0x19][..], &length.to_be_bytes()].concat(),
    }
}

fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    [&cbor_head(2, bytes.len())[..], bytes].concat()
}

fn cbor_text(text: &str) -> Vec<u8> {
    [&cbor_head(3, text.len())[..], text.as_bytes()].concat()
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

/// An authority of signers, which may revoke them.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = named("root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its certificate and key.
    pub(crate) fn own(&self) -> Pem {
        Pem {
            certificate: self.0.pem(),
            key: self.0.key().serialize_pem(),
        }
    }

    /// A certificate that it issued: for a responder that tells which others are revoked, or else for something else.
    pub(crate) fn responder(&self, may_respond: bool) -> Pem {
        let mut params = named("responder");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![if may_respond {
            ExtendedKeyUsagePurpose::OcspSigning
        } else {
            ExtendedKeyUsagePurpose::CodeSigning
        }];
        let key = KeyPair::generate().unwrap();
        Pem {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A signer whose certificate has this serial number, and the addresses of a responder and of a list of revoked
    /// certificates.
    pub(crate) fn signer(
        &self,
        serial: u64,
        responder: Option<&str>,
        list: Option<&str>,
    ) -> Notary {
        let mut params = named("signer");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(serial));
        params.custom_extensions = responder.map(ocsp_server).into_iter().collect();
        params.crl_distribution_points = list
            .map(|list| CrlDistributionPoint {
                uris: vec![list.to_owned()],
            })
            .into_iter()
            .collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let chain = vec![certificate.der().to_vec(), self.0.der().to_vec()];
        Notary { key, chain }
    }

    /// The list of revoked certificates, with these serial numbers.
    pub(crate) fn list(&self, revoked: &[u64]) -> Vec<u8> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2125, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().der().to_vec()
    }
}

/// A certificate with its key, both in PEM.
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The extension with the address of a responder (RFC 5280, 4.2.2.1).
fn ocsp_server(url: &str) -> CustomExtension {
    const ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    /// 1.3.6.1.5.5.7.48.1
    const OCSP: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 48, 1];
    let element = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128, "a longer form of the length would be needed");
        [&[tag, length], content].concat()
    };
    let location = element(0x86, url.as_bytes());
    let access = element(0x30, &[&OCSP, &*location].concat());
    CustomExtension::from_oid_content(&ACCESS, element(0x30, &access))
}
