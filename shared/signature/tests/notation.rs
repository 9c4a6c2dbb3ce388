//! Signatures that notation's libraries made, whole and tampered with, verified by ours and by those libraries.

mod material;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flux_signature::notation::{Artifact, Outcome, Policy, Responses, Signature, Verifier};
use jiff::Timestamp;
use material::{bytes, material, text};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const FORMATS: [&str; 2] = ["jws", "cose"];
const OCSP: &str = "http://ocsp.example.com";
const CRL: &str = "http://crl.example.com/ca.crl";

#[derive(Clone)]
struct Case {
    name: String,
    policy: Value,
    certificates: Vec<Vec<u8>>,
    /// Media types and envelopes.
    signatures: Vec<(String, Vec<u8>)>,
    /// What servers answer, by the beginning of the address.
    responses: BTreeMap<&'static str, Vec<u8>>,
    want: &'static str,
    /// Whether the text of the error is another than upstream's, which quotes its parsers.
    other_text: bool,
}

/// A policy with one statement for all.
fn policy(level: &str, stores: &[&str], identities: &[&str]) -> Value {
    json!({"version": "1.0", "trustPolicies": [{
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": level},
        "trustStores": stores,
        "trustedIdentities": identities,
    }]})
}

struct Cases {
    material: Value,
    all: Vec<Case>,
}

impl Cases {
    fn certificate(&self, name: &str) -> Vec<u8> {
        text(&self.material, &format!("/notation/certificates/{name}")).into_bytes()
    }

    fn signature(&self, name: &str) -> (String, Vec<u8>) {
        let at = format!("/notation/signatures/{name}");
        let media_type = text(&self.material, &format!("{at}/mediaType"));
        (media_type, bytes(&self.material, &format!("{at}/blob")))
    }

    fn response(&self, name: &str) -> Vec<u8> {
        bytes(&self.material, &format!("/notation/responses/{name}"))
    }

    fn chain(&self, name: &str) -> Vec<Vec<u8>> {
        let found = self.material.pointer(&format!("/notation/chains/{name}"));
        let chain = found.and_then(Value::as_array).unwrap().iter();
        chain
            .map(|one| STANDARD.decode(one.as_str().unwrap()).unwrap())
            .collect()
    }

    /// A signature under the strict level, trusted root, any identity.
    fn plain(&self, name: &str, signature: (String, Vec<u8>), want: &'static str) -> Case {
        Case {
            name: name.to_owned(),
            policy: policy("strict", &["ca:root"], &["*"]),
            certificates: vec![self.certificate("root")],
            signatures: vec![signature],
            responses: BTreeMap::new(),
            want,
            other_text: false,
        }
    }
}

/// Each signature under the levels that matter.
fn signatures(cases: &mut Cases) {
    for format in FORMATS {
        // SC-VER-053: both formats, each algorithm.
        for algorithm in ["es256", "es384", "es512", "ps256", "ps384", "ps512"] {
            let name = format!("{format}-{algorithm}");
            let case = cases.plain(&name, cases.signature(&name), "verified");
            cases.all.push(case);
        }
        for (signature, level, want) in [
            ("plain", "strict", "verified"),
            ("plain", "permissive", "verified"),
            ("plain", "audit", "verified"),
            // SC-VER-054
            ("plain", "skip", "ignored"),
            ("below", "strict", "verified"),
            ("other-image", "strict", "failed"),
            ("other-image", "audit", "failed"),
            ("other-size", "strict", "failed"),
            ("other-type", "strict", "failed"),
            ("not-a-target", "strict", "failed"),
            ("other-payload", "audit", "failed"),
            ("expired", "strict", "failed"),
            ("expired", "permissive", "verified"),
            ("expires", "strict", "verified"),
            ("old", "strict", "failed"),
            ("old", "permissive", "verified"),
            ("old", "audit", "verified"),
            ("future", "strict", "failed"),
            ("future", "permissive", "verified"),
            ("authority", "strict", "failed"),
            ("authority", "audit", "ignored"),
            ("alone", "strict", "failed"),
            ("alone", "audit", "ignored"),
            ("attribute", "strict", "verified"),
            ("critical", "strict", "verified"),
            ("plugin", "strict", "failed"),
            ("plugin", "audit", "failed"),
            ("plugin-loose", "strict", "failed"),
        ] {
            let name = format!("{format}-{signature}");
            let mut case = cases.plain(&format!("{name}, {level}"), cases.signature(&name), want);
            case.policy = policy(level, &["ca:root"], &["*"]);
            cases.all.push(case);
        }
        let vouched = policy("strict", &["signingAuthority:root"], &["*"]);
        for (signature, want) in [
            ("authority", "verified"),
            ("authority-old", "verified"),
            ("plain", "failed"),
        ] {
            let name = format!("{format}-{signature}");
            let mut case = cases.plain(
                &format!("{name}, by authority"),
                cases.signature(&name),
                want,
            );
            case.policy = vouched.clone();
            cases.all.push(case);
        }
        let name = format!("{format}-alone");
        let mut case = cases.plain(
            &format!("{name}, trusted"),
            cases.signature(&name),
            "verified",
        );
        case.certificates = vec![cases.certificate("alone")];
        cases.all.push(case);
    }
}

/// What the policy trusts.
fn trust(cases: &mut Cases) {
    for format in FORMATS {
        let signature = cases.signature(&format!("{format}-plain"));
        let with = |cases: &Cases, name: &str, identities: &[&str], want| {
            let mut case = cases.plain(&format!("{format}, {name}"), signature.clone(), want);
            case.policy = policy("strict", &["ca:root"], identities);
            case
        };
        for (name, identity, want) in [
            (
                "identity",
                "x509.subject: C=US, ST=WA, O=Example",
                "verified",
            ),
            (
                "identity by other letters",
                "x509.subject: C=US, S=WA, O=Example, CN=notation signer",
                "verified",
            ),
            (
                "another name",
                "x509.subject: C=US, ST=WA, O=Example, CN=other",
                "failed",
            ),
            (
                "another organisation",
                "x509.subject: C=US, ST=WA, O=Other",
                "failed",
            ),
            ("identity of another kind", "x509.thumbprint: aa", "failed"),
        ] {
            let case = with(cases, name, &[identity], want);
            cases.all.push(case);
        }
        let mut case = with(
            cases,
            "one of two identities",
            &[
                "x509.subject: C=US, ST=WA, O=Other",
                "x509.subject: C=US, ST=WA, O=Example",
            ],
            "verified",
        );
        cases.all.push(case.clone());
        // SC-VER-054: what the level tolerates.
        case = with(
            cases,
            "another organisation, audit",
            &["x509.subject: C=US, ST=WA, O=Other"],
            "ignored",
        );
        case.policy["trustPolicies"][0]["signatureVerification"]["level"] = json!("audit");
        cases.all.push(case);
        // SC-VER-051
        for (name, files, want) in [
            (
                "another root",
                vec![cases.certificate("stranger")],
                "failed",
            ),
            (
                "second of two roots",
                vec![cases.certificate("stranger"), cases.certificate("root")],
                "verified",
            ),
            (
                "root in DER",
                vec![{
                    let pem = String::from_utf8(cases.certificate("root")).unwrap();
                    let inner: String = pem
                        .lines()
                        .filter(|line| !line.starts_with("---"))
                        .collect();
                    STANDARD.decode(inner).unwrap()
                }],
                "verified",
            ),
            (
                "second block of a file",
                vec![[cases.certificate("stranger"), cases.certificate("root")].concat()],
                "failed",
            ),
            ("no certificates", vec![], "failed"),
        ] {
            let mut case = cases.plain(&format!("{format}, {name}"), signature.clone(), want);
            case.certificates = files;
            cases.all.push(case);
        }
        let mut case = cases.plain(
            &format!("{format}, malformed root"),
            signature.clone(),
            "failed",
        );
        case.certificates = vec![b"certificate".to_vec()];
        case.other_text = true;
        cases.all.push(case);
    }
}

/// Certificates that are revoked, or may be.
fn revocation(cases: &mut Cases) {
    for format in FORMATS {
        for (signature, responses, want) in [
            ("ocsp", vec![(OCSP, "ocsp-good")], "verified"),
            ("ocsp", vec![(OCSP, "ocsp-delegated")], "verified"),
            ("ocsp", vec![(OCSP, "ocsp-revoked")], "failed"),
            ("ocsp", vec![(OCSP, "ocsp-unknown")], "failed"),
            ("ocsp", vec![(OCSP, "ocsp-expired")], "failed"),
            ("ocsp", vec![(OCSP, "ocsp-stranger")], "failed"),
            ("ocsp", vec![(OCSP, "ocsp-other")], "failed"),
            ("ocsp", vec![], "failed"),
            ("crl", vec![(CRL, "crl-good")], "verified"),
            ("crl", vec![(CRL, "crl-revoked")], "failed"),
            ("crl", vec![(CRL, "crl-held")], "failed"),
            ("crl", vec![(CRL, "crl-removed")], "verified"),
            ("crl", vec![(CRL, "crl-expired")], "failed"),
            ("crl", vec![(CRL, "crl-stranger")], "failed"),
            ("crl", vec![], "failed"),
            ("both", vec![(OCSP, "ocsp-both")], "verified"),
            ("both", vec![(CRL, "crl-good")], "verified"),
            (
                "both",
                vec![(OCSP, "ocsp-stranger"), (CRL, "crl-revoked")],
                "failed",
            ),
            (
                "both",
                vec![(OCSP, "ocsp-both"), (CRL, "crl-revoked")],
                "verified",
            ),
        ] {
            let names: Vec<&str> = responses.iter().map(|(_, name)| *name).collect();
            let name = format!("{format}-{signature}, {}", names.join(" and "));
            let mut case = cases.plain(
                &name,
                cases.signature(&format!("{format}-{signature}")),
                want,
            );
            case.responses = responses
                .iter()
                .map(|(url, name)| (*url, cases.response(name)))
                .collect();
            cases.all.push(case);
        }
        let revoked = |cases: &Cases, name: &str, want| {
            let signature = cases.signature(&format!("{format}-ocsp"));
            let mut case = cases.plain(&format!("{format}, {name}"), signature, want);
            case.responses.insert(OCSP, cases.response("ocsp-revoked"));
            case
        };
        let mut case = revoked(cases, "revoked and logged", "verified");
        case.policy["trustPolicies"][0]["signatureVerification"]["override"] =
            json!({"revocation": "log"});
        cases.all.push(case);
        let mut case = revoked(cases, "revoked and skipped", "verified");
        case.policy["trustPolicies"][0]["signatureVerification"]["override"] =
            json!({"revocation": "skip"});
        cases.all.push(case);
    }
}

/// Signatures by a certificate that has expired, with timestamps.
fn timestamps(cases: &mut Cases) {
    for format in FORMATS {
        for (signature, stores, option, want) in [
            ("stamped", vec!["ca:root", "tsa:tsa"], "", "verified"),
            (
                "stamped",
                vec!["ca:root", "tsa:tsa"],
                "afterCertExpiry",
                "verified",
            ),
            ("stamped", vec!["ca:root"], "", "failed"),
            ("stamped-late", vec!["ca:root", "tsa:tsa"], "", "failed"),
            ("old", vec!["ca:root", "tsa:tsa"], "", "failed"),
            ("plain", vec!["ca:root", "tsa:tsa"], "always", "failed"),
            (
                "plain",
                vec!["ca:root", "tsa:tsa"],
                "afterCertExpiry",
                "verified",
            ),
        ] {
            let name = format!("{format}-{signature}, {} {option}", stores.join(" "));
            let mut case = cases.plain(
                &name,
                cases.signature(&format!("{format}-{signature}")),
                want,
            );
            case.policy = policy("strict", &stores, &["*"]);
            case.policy["trustPolicies"][0]["signatureVerification"]["verifyTimestamp"] =
                json!(option);
            case.certificates.push(cases.certificate("tsa"));
            cases.all.push(case);
        }
        // The timestamp of a root that is not trusted.
        let name = format!("{format}-stamped, strange authority");
        let mut case = cases.plain(
            &name,
            cases.signature(&format!("{format}-stamped")),
            "failed",
        );
        case.policy = policy("strict", &["ca:root", "tsa:tsa"], &["*"]);
        case.other_text = true;
        cases.all.push(case);
    }
}

/// A JWS envelope with a change.
fn jws(cases: &Cases, change: impl FnOnce(&mut Value)) -> (String, Vec<u8>) {
    let (media_type, blob) = cases.signature("jws-plain");
    let mut envelope: Value = serde_json::from_slice(&blob).unwrap();
    change(&mut envelope);
    (media_type, envelope.to_string().into_bytes())
}

/// Envelopes that were changed, and bytes that are not envelopes.
fn envelopes(cases: &mut Cases) {
    let url = |value: &Value, change: fn(&mut Value)| {
        let raw = URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap();
        let mut inner: Value = serde_json::from_slice(&raw).unwrap();
        change(&mut inner);
        json!(URL_SAFE_NO_PAD.encode(inner.to_string()))
    };
    let other = serde_json::from_slice::<Value>(&cases.signature("jws-other-image").1).unwrap();
    let mut changed = vec![
        (
            "payload of another",
            jws(cases, |e| e["payload"] = other["payload"].clone()),
        ),
        (
            "signature of another",
            jws(cases, |e| e["signature"] = other["signature"].clone()),
        ),
        (
            "tampered payload",
            jws(cases, |e| {
                e["payload"] = url(&e["payload"], |p| p["targetArtifact"]["size"] = json!(1));
            }),
        ),
        (
            "later signing time",
            jws(cases, |e| {
                e["protected"] = url(&e["protected"], |p| {
                    p["io.cncf.notary.signingTime"] = json!("2030-01-01T00:00:00Z");
                });
            }),
        ),
        (
            "other algorithm",
            jws(cases, |e| {
                e["protected"] = url(&e["protected"], |p| p["alg"] = json!("ES384"));
            }),
        ),
        (
            "no algorithm",
            jws(cases, |e| {
                e["protected"] = url(&e["protected"], |p| p["alg"] = json!("none"));
            }),
        ),
        (
            "symmetric algorithm",
            jws(cases, |e| {
                e["protected"] = url(&e["protected"], |p| p["alg"] = json!("HS256"));
            }),
        ),
        ("no signature", jws(cases, |e| e["signature"] = json!(""))),
        ("no chain", jws(cases, |e| e["header"]["x5c"] = json!([]))),
        (
            "malformed chain",
            jws(cases, |e| e["header"]["x5c"] = json!(["AAAA"])),
        ),
    ];
    // Chains that the same key may not sign with.
    for name in [
        "server",
        "no-usage",
        "encipher",
        "is-ca",
        "stranger",
        "not-issued",
    ] {
        let chain = cases.chain(name);
        let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
        changed.push((name, jws(cases, |e| e["header"]["x5c"] = json!(chain))));
    }
    changed.push((
        "reversed chain",
        jws(cases, |e| {
            e["header"]["x5c"].as_array_mut().unwrap().reverse();
        }),
    ));
    changed.push((
        "chain without root",
        jws(cases, |e| {
            e["header"]["x5c"].as_array_mut().unwrap().pop();
        }),
    ));
    changed.push((
        "chain with its root twice",
        jws(cases, |e| {
            let root = e["header"]["x5c"][1].clone();
            e["header"]["x5c"].as_array_mut().unwrap().push(root);
        }),
    ));
    for (name, signature) in changed {
        let mut case = cases.plain(&format!("jws, {name}"), signature, "failed");
        case.other_text = matches!(
            name,
            "no signature"
                | "signature of another"
                | "malformed chain"
                | "other algorithm"
                | "no algorithm"
        );
        cases.all.push(case);
    }
    let unusual = cases.chain("other-usage");
    let unusual: Vec<String> = unusual.iter().map(|der| STANDARD.encode(der)).collect();
    let signature = jws(cases, |e| e["header"]["x5c"] = json!(unusual));
    let case = cases.plain("jws, chain without extended usage", signature, "verified");
    cases.all.push(case);
    let (cose, blob) = cases.signature("cose-plain");
    for at in [1, 5, 30, 100, 300, blob.len() - 1] {
        let mut blob = blob.clone();
        blob[at] ^= 1;
        let mut case = cases.plain(
            &format!("cose, changed byte {at}"),
            (cose.clone(), blob),
            "failed",
        );
        case.other_text = true;
        cases.all.push(case);
    }
    for (media_type, blob) in [
        ("application/jose+json", b"".to_vec()),
        ("application/jose+json", b"{}".to_vec()),
        ("application/jose+json", b"[]".to_vec()),
        ("application/jose+json", vec![b'['; 100_000]),
        ("application/jose+json", blob.clone()),
        ("application/cose", b"".to_vec()),
        ("application/cose", b"{}".to_vec()),
        (
            "application/cose",
            [vec![0xd2, 0x84], vec![0x81; 100_000]].concat(),
        ),
        ("application/cose", blob[..blob.len() / 2].to_vec()),
        ("application/cose", [&blob[..], b"x"].concat()),
        ("application/json", blob.clone()),
        ("", blob.clone()),
    ] {
        let head = String::from_utf8_lossy(&blob[..blob.len().min(4)]).into_owned();
        let name = format!("{media_type:?}, {} bytes, {head:?}", blob.len());
        let mut case = cases.plain(&name, (media_type.to_owned(), blob), "failed");
        case.other_text = true;
        cases.all.push(case);
    }
}

/// Several signatures, and statements for some repositories.
fn several(cases: &mut Cases) {
    let (good, bad) = (
        cases.signature("jws-plain"),
        cases.signature("jws-other-image"),
    );
    let also = cases.signature("cose-other-image");
    let third = cases.signature("cose-plain");
    for (name, signatures, want) in [
        ("no signature", vec![], "failed"),
        ("second of two", vec![bad.clone(), good.clone()], "verified"),
        (
            "third of three",
            vec![bad.clone(), also.clone(), third.clone()],
            "verified",
        ),
        // SC-VER-053
        (
            "fourth of four",
            vec![
                bad.clone(),
                also.clone(),
                cases.signature("jws-other-size"),
                good.clone(),
            ],
            "failed",
        ),
        ("none of two", vec![bad.clone(), also.clone()], "failed"),
        (
            "none of three",
            vec![bad.clone(), also, cases.signature("jws-other-size")],
            "failed",
        ),
    ] {
        let mut case = cases.plain(name, good.clone(), want);
        case.signatures = signatures;
        cases.all.push(case);
    }
    for (name, scope, want) in [
        (
            "statement for the repository",
            "registry.example.com/app",
            "verified",
        ),
        (
            "statement for another repository",
            "registry.example.com/other",
            "failed",
        ),
        (
            "statement for a part of the name",
            "registry.example.com/ap",
            "failed",
        ),
    ] {
        let mut case = cases.plain(name, good.clone(), want);
        case.policy["trustPolicies"][0]["registryScopes"] = json!([scope]);
        cases.all.push(case);
    }
}

fn all() -> Cases {
    let mut cases = Cases {
        material: material(),
        all: Vec::new(),
    };
    signatures(&mut cases);
    trust(&mut cases);
    revocation(&mut cases);
    timestamps(&mut cases);
    envelopes(&mut cases);
    several(&mut cases);
    cases
}

fn digest_of(envelope: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(envelope)))
}

fn reference(digest: &str) -> String {
    format!("registry.example.com/app@{digest}")
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn request(case: &Case, digest: &str) -> Value {
    let signatures = case.signatures.iter();
    let signatures: Vec<Value> = signatures
        .map(|(kind, blob)| json!({"mediaType": kind, "blob": STANDARD.encode(blob)}))
        .collect();
    let responses = case.responses.iter();
    let responses: BTreeMap<_, _> = responses
        .map(|(url, body)| (url, STANDARD.encode(body)))
        .collect();
    let certificates: Vec<String> = case
        .certificates
        .iter()
        .map(|file| STANDARD.encode(file))
        .collect();
    json!({
        "mode": "notation",
        "policy": case.policy.to_string(),
        "certificates": certificates,
        "reference": reference(digest),
        "artifact": {"mediaType": MANIFEST, "digest": digest, "size": 528},
        "signatures": signatures,
        "responses": responses,
    })
}

fn ours(case: &Case, digest: &str) -> Result<&'static str, String> {
    let policy = Policy::parse(case.policy.to_string().as_bytes());
    let policy = policy.map_err(|error| error.to_string())?;
    let verifier = Verifier::new(policy, case.certificates.iter().map(Vec::as_slice));
    let artifact = Artifact {
        reference: reference(digest),
        media_type: MANIFEST.to_owned(),
        digest: digest.to_owned(),
        size: 528,
    };
    let signatures = case.signatures.iter().map(|(kind, blob)| Signature {
        digest: digest_of(blob),
        media_type: kind.clone(),
        envelope: blob.clone(),
    });
    let signatures: Vec<Signature> = signatures.collect();
    let now: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
    let mut responses = Responses::new();
    for _ in 0..8 {
        let outcome = verifier.verify(&artifact, &signatures, &responses, now);
        match outcome.map_err(|error| error.to_string())? {
            Outcome::Verified(_) => return Ok("verified"),
            Outcome::Ignored(_) => return Ok("ignored"),
            Outcome::Needs(requests) => {
                assert!(!requests.is_empty());
                for request in requests {
                    let mut known = case.responses.iter();
                    let found = known.find(|(url, _)| request.url.starts_with(**url));
                    let body = found.map(|(_, body)| body.clone());
                    responses.insert(request, body.ok_or_else(|| "no such host".to_owned()));
                }
            }
        }
    }
    panic!("{}: it needs more and more", case.name);
}

/// Whether a text is notation's without the parts that quote the policy: it has no other words but for places, and nothing
/// in quotes that notation does not say of any policy.
fn is_unquoted(ours: &str, theirs: &str) -> bool {
    const RULES: [&str; 9] = [
        "always",
        "afterCertExpiry",
        "enforce",
        "log",
        "skip",
        "=#",
        "C",
        "ST",
        "O",
    ];
    const CHECKS: [&str; 5] = [
        "integrity",
        "authenticity",
        "authenticTimestamp",
        "expiry",
        "revocation",
    ];
    const PLACES: [&str; 9] = [
        "a",
        "an",
        "as",
        "in",
        "of",
        "statement",
        "trust",
        "policy",
        "attributes",
    ];
    let quoted = |text: &str, odd: bool| {
        let parts = text.split('"').enumerate();
        let parts = parts.filter(move |(at, _)| (at % 2 == 1) == odd);
        parts.map(|(_, part)| part.to_owned()).collect::<Vec<_>>()
    };
    let words = |text: &str| {
        let words = quoted(text, false).join(" ");
        let words = words.split(|c: char| !c.is_alphabetic());
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // What names the artifact is no part of the policy.
    let known = |part: &String| {
        let known = [&RULES[..], &CHECKS].concat();
        known.contains(&part.as_str())
            || part.starts_with("registry.example.com/app@")
            || part.starts_with("app@")
            || part == "app"
            || part == "registry.example.com/app:v1"
    };
    let theirs = words(theirs);
    quoted(ours, true).iter().all(known)
        && words(ours)
            .iter()
            .all(|word| theirs.contains(word) || PLACES.contains(&word.as_str()))
}

// SC-VER-050, SC-VER-052
#[test]
fn errors_do_not_quote_the_policy() {
    let hidden = "S3CRET";
    let broken: [fn(&mut Value); 12] = [
        |s| s["name"] = json!(["S3CRET"]),
        |s| s["signatureVerification"]["level"] = json!("S3CRET"),
        |s| s["signatureVerification"]["verifyTimestamp"] = json!("S3CRET"),
        |s| s["signatureVerification"]["override"] = json!({"S3CRET": "skip"}),
        |s| s["signatureVerification"]["override"] = json!({"revocation": "S3CRET"}),
        |s| s["trustStores"] = json!(["S3CRET"]),
        |s| s["trustStores"] = json!(["S3CRET:a"]),
        |s| s["trustStores"] = json!(["ca:S3CRET!"]),
        |s| s["trustedIdentities"] = json!(["S3CRET"]),
        |s| s["trustedIdentities"] = json!(["x509.subject: O=S3CRET"]),
        |s| s["trustedIdentities"] = json!(["x509.subject: C=US, ST=WA, O=a, S3CRET=b, S3CRET=c"]),
        |s| s["registryScopes"] = json!(["S3CRET"]),
    ];
    for change in broken {
        let mut document = policy("strict", &["ca:one"], &["*"]);
        document["trustPolicies"][0]["name"] = json!(hidden);
        change(&mut document["trustPolicies"][0]);
        let error = Policy::parse(document.to_string().as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(hidden), "{shown}");
    }
    for document in [
        json!({"version": hidden}).to_string(),
        r#"{"version": "1.0", S3CRET"#.to_owned(),
        json!({"version": "1.0", "trustPolicies": [hidden]}).to_string(),
    ] {
        let error = Policy::parse(document.as_bytes()).unwrap_err();
        assert!(!format!("{error:?}").contains(hidden), "{error:?}");
    }
    let mut two = policy("strict", &["ca:one"], &["*", "x509.subject: a"]);
    two["trustPolicies"][0]["name"] = json!(hidden);
    let error = Policy::parse(two.to_string().as_bytes()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("trust policy: trust policy statement 1 uses a wildcard"),
        "{error}"
    );
}

#[test]
fn verdicts_are_those_of_notation() {
    let Some(mut go) = Oracle::start("signature") else {
        return;
    };
    let cases = all();
    let digest = text(&cases.material, "/digest");
    assert!(cases.all.len() >= 40, "{}", cases.all.len());
    let requests: Vec<Value> = cases
        .all
        .iter()
        .map(|case| request(case, &digest))
        .collect();
    let answers = go.ask_all(&requests);
    let mut wrong = Vec::new();
    for (case, answer) in cases.all.iter().zip(answers) {
        let ours = ours(case, &digest);
        let verdict = ours.as_ref().map_or("failed", |outcome| outcome);
        let agrees = match (&ours, &answer) {
            (Ok(ours), Answer::Output(theirs)) => *theirs == json!(ours),
            (Err(ours), Answer::Error(theirs)) => {
                case.other_text || ours == theirs || is_unquoted(ours, theirs)
            }
            _ => false,
        };
        if verdict != case.want || !agrees {
            wrong.push(format!(
                "{}:\n  ours     {ours:?}\n  upstream {answer:?}",
                case.name
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.all.len(),
        wrong.join("\n")
    );
}

/// A statement with a change to it.
fn statement(change: impl FnOnce(&mut Value)) -> Value {
    let mut document = policy("strict", &["ca:one"], &["*"]);
    change(&mut document["trustPolicies"][0]);
    document
}

fn documents() -> Vec<String> {
    let full = policy("strict", &["ca:one"], &["*"]);
    let with = |change: fn(&mut Value)| {
        let mut document = full.clone();
        change(&mut document);
        document
    };
    let verification =
        |name: &str, value: Value| statement(|s| s["signatureVerification"][name] = value);
    let mut documents = vec![
        full.clone(),
        with(|d| d["version"] = json!("")),
        with(|d| d["version"] = json!("2.0")),
        with(|d| {
            d.as_object_mut().unwrap().remove("version");
        }),
        with(|d| d["trustPolicies"] = json!([])),
        with(|d| d["trustPolicies"] = json!(null)),
        with(|d| {
            let one = d["trustPolicies"][0].clone();
            d["trustPolicies"] = json!([one, one]);
        }),
        with(|d| {
            let mut other = d["trustPolicies"][0].clone();
            other["name"] = json!("other");
            d["trustPolicies"].as_array_mut().unwrap().push(other);
        }),
        with(|d| {
            let mut other = d["trustPolicies"][0].clone();
            other["name"] = json!("other");
            other["registryScopes"] = json!(["registry.example.com/app"]);
            d["trustPolicies"].as_array_mut().unwrap().push(other);
        }),
        with(|d| d["extra"] = json!(1)),
        // SC-VER-052: what statements name that skip is dropped.
        verification("level", json!("skip")),
        statement(|s| s["name"] = json!("")),
        verification("level", json!("")),
        verification("level", json!("Strict")),
        verification("level", json!("permissive")),
        verification("level", json!("audit")),
        verification("override", json!({"revocation": "skip", "expiry": "log"})),
        verification("override", json!({"integrity": "log"})),
        verification("override", json!({"expiry": "skip"})),
        verification("override", json!({"expiry": "ignore"})),
        verification("override", json!({"time": "log"})),
        verification("override", json!({})),
        statement(|s| {
            s["signatureVerification"] =
                json!({"level": "skip", "override": {"revocation": "log"}});
        }),
        verification("verifyTimestamp", json!("always")),
        verification("verifyTimestamp", json!("afterCertExpiry")),
        verification("verifyTimestamp", json!("never")),
        statement(|s| s["trustStores"] = json!([])),
        statement(|s| s["trustStores"] = json!(["one"])),
        statement(|s| s["trustStores"] = json!(["tpm:one"])),
        statement(|s| s["trustStores"] = json!(["ca:"])),
        statement(|s| s["trustStores"] = json!(["ca:../one"])),
        statement(|s| s["trustStores"] = json!(["ca:one", "signingAuthority:two", "tsa:three"])),
        statement(|s| s["trustedIdentities"] = json!([])),
        statement(|s| s["trustedIdentities"] = json!([""])),
        statement(|s| s["trustedIdentities"] = json!(["*", "x509.subject: C=US, ST=WA, O=a"])),
        statement(|s| s["trustedIdentities"] = json!(["anyone"])),
        statement(|s| s["trustedIdentities"] = json!(["x509.subject:"])),
        statement(|s| s["trustedIdentities"] = json!(["other: thing"])),
        statement(|s| s["registryScopes"] = json!([])),
        statement(|s| s["registryScopes"] = json!(["*", "registry.example.com/app"])),
        statement(|s| s["registryScopes"] = json!(["registry.example.com/*"])),
        statement(|s| s["registryScopes"] = json!(["registry.example.com"])),
        statement(|s| s["registryScopes"] = json!(["https://registry.example.com/app"])),
        statement(|s| s["registryScopes"] = json!(["registry.example.com/app:v1"])),
        statement(|s| s["registryScopes"] = json!(["Registry.Example.com:5000/a/b_c/d-e"])),
        statement(|s| s["registryScopes"] = json!(["registry.example.com/App"])),
        statement(|s| {
            s["registryScopes"] = json!(["registry.example.com/app", "registry.example.com/app"]);
        }),
        statement(|s| s["registryScopes"] = json!(["registry.example.com/other"])),
    ];
    for name in [
        "C=US, ST=WA, O=a",
        "C=US, S=WA, O=a, CN=b",
        "C=US, O=a",
        "C=US, ST=WA",
        "C=US, ST=WA, O=a, O=b",
        "C=US, ST=WA, O=a+OU=b",
        "C=US, ST=WA, O=#0c",
        r"C=US, ST=WA, O=a\, b",
        r"C=US, ST=WA, O=\41",
    ] {
        let identity = format!("x509.subject: {name}");
        documents.push(statement(|s| s["trustedIdentities"] = json!([identity])));
    }
    for (one, other) in [
        ("C=US, ST=WA, O=a", "C=US, ST=WA, O=a, CN=b"),
        ("C=US, ST=WA, O=a", "C=US, ST=WA, O=b"),
    ] {
        let both = [
            format!("x509.subject: {one}"),
            format!("x509.subject: {other}"),
        ];
        documents.push(statement(|s| s["trustedIdentities"] = json!(both)));
    }
    documents.iter().map(Value::to_string).collect()
}

// SC-VER-050, SC-VER-052
#[test]
fn policies_are_judged_as_by_notation() {
    let Some(mut go) = Oracle::start("signature") else {
        return;
    };
    let digest = text(&material(), "/digest");
    let documents = documents();
    let references = [
        reference(&digest),
        "registry.example.com/app:v1".to_owned(),
        format!("app@{digest}"),
    ];
    let mut wrong = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let references = if at == 0 {
            &references[..]
        } else {
            &references[..1]
        };
        for reference in references {
            let answer =
                go.ask(&json!({"mode": "policy", "policy": document, "reference": reference}));
            let ours = Policy::parse(document.as_bytes()).and_then(|policy| {
                let (name, level) = policy.applicable(reference)?;
                Ok((name.to_owned(), level.to_owned()))
            });
            let agrees = match (&ours, &answer) {
                (Ok((name, level)), Answer::Output(theirs)) => {
                    theirs[0] == json!(name) && theirs[1] == json!(level)
                }
                (Err(error), Answer::Error(theirs)) => is_unquoted(&error.to_string(), theirs),
                _ => false,
            };
            if !agrees {
                wrong.push(format!(
                    "{document}\n  ours     {ours:?}\n  upstream {answer:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        documents.len(),
        wrong.join("\n")
    );
}

// SC-VER-050: whatever is malformed is refused, with the sentence that the row has.
#[test]
fn malformed_policies_are_refused() {
    let Some(mut go) = Oracle::start("signature") else {
        return;
    };
    for document in [
        "",
        "{",
        "[]",
        "1",
        r#"{"version": 1}"#,
        r#"{"version": "1.0", "trustPolicies": {}}"#,
        r#"{"version": "1.0", "trustPolicies": [1]}"#,
        r#"{"version": "1.0", "trustPolicies": [{"registryScopes": "*"}]}"#,
    ] {
        let answer =
            go.ask(&json!({"mode": "policy", "policy": document, "reference": "a/b@sha256:00"}));
        assert!(matches!(answer, Answer::Error(_)), "{document}: {answer:?}");
        let error = Policy::parse(document.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("error occurred while parsing trustpolicy.json: "),
            "{error}"
        );
    }
    assert!(Policy::parse(&vec![b' '; 2 << 20]).is_err());
}

#[test]
fn names_of_fields_may_be_written_in_other_letters() {
    let document = policy("strict", &["ca:one"], &["*"]).to_string();
    let document = document
        .replace("trustPolicies", "TrustPolicies")
        .replace("registryScopes", "registryscopes");
    let policy = Policy::parse(document.as_bytes()).unwrap();
    assert_eq!(
        policy.applicable("a/b@sha256:00").unwrap(),
        ("all", "strict")
    );
}

// SC-VER-052, SC-VER-054
#[test]
fn statements_that_skip_need_no_signatures() {
    let mut document = policy("skip", &["ca:one"], &["*"]);
    let parse = |document: &Value| Policy::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(parse(&document).ignored(), [1]);
    let verifier = Verifier::new(parse(&document), [&b""[..]]);
    assert!(verifier.skips("a/b@sha256:00").unwrap());
    document["trustPolicies"][0]["trustStores"] = json!([]);
    document["trustPolicies"][0]["trustedIdentities"] = json!([]);
    assert!(parse(&document).ignored().is_empty());
    let strict = Verifier::new(parse(&policy("strict", &["ca:one"], &["*"])), [&b""[..]]);
    assert!(!strict.skips("a/b@sha256:00").unwrap());
}

// SC-VER-060: the fingerprint depends on the policy and the certificates, not on names of files or their order.
#[test]
fn fingerprints_change_with_the_material() {
    let cases = Cases {
        material: material(),
        all: Vec::new(),
    };
    let (root, stranger) = (cases.certificate("root"), cases.certificate("stranger"));
    let of = |document: &Value, files: &[&[u8]]| {
        let policy = Policy::parse(document.to_string().as_bytes()).unwrap();
        Verifier::new(policy, files.iter().copied())
            .fingerprint()
            .to_owned()
    };
    let strict = policy("strict", &["ca:one"], &["*"]);
    let both = of(&strict, &[&root, &stranger]);
    assert_eq!(both, of(&strict, &[&stranger, &root]));
    assert_ne!(both, of(&strict, &[&root]));
    assert_ne!(
        both,
        of(&policy("audit", &["ca:one"], &["*"]), &[&root, &stranger])
    );
}
