//! Signatures that the real cosign made, whole and tampered with, verified by ours and by upstream's libraries.

mod material;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_signature::cosign::{
    Bundle, Candidate, Error, Identity, Layer, TrustedRoot, Verified, Verifier, bundle_blob,
    signatures,
};
use jiff::Timestamp;
use material::{flip, flipped, material, text};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

const ISSUER: &str = "^https://token.actions.example.com$";
const SUBJECT: &str = "^https://example.com/org/repo/.*$";

/// What is trusted.
#[derive(Clone)]
enum Trust {
    Keys(Vec<String>),
    Root(String, Vec<(&'static str, &'static str)>),
}

/// What is verified.
#[derive(Clone)]
enum Input {
    Layers(Vec<Value>),
    Bundle(String),
}

struct Case {
    name: String,
    trust: Trust,
    input: Input,
    digest: String,
    good: bool,
    /// Whether upstream decides otherwise, as docs/differences.md says.
    differs: bool,
}

/// The cases, and what they are made of.
struct Cases {
    material: Value,
    all: Vec<Case>,
}

impl Cases {
    fn key(&self, name: &str) -> String {
        text(&self.material, &format!("/keys/{name}"))
    }

    fn keys(&self, names: &[&str]) -> Trust {
        Trust::Keys(names.iter().map(|name| self.key(name)).collect())
    }

    fn root(&self, name: &str) -> Trust {
        self.identities(name, &[(ISSUER, SUBJECT)])
    }

    fn identities(&self, name: &str, identities: &[(&'static str, &'static str)]) -> Trust {
        Trust::Root(
            text(&self.material, &format!("/roots/{name}")),
            identities.to_vec(),
        )
    }

    fn layers(&self, name: &str) -> Vec<Value> {
        let found = self.material.pointer(&format!("/classic/{name}/layers"));
        found
            .and_then(Value::as_array)
            .unwrap_or_else(|| panic!("no {name}"))
            .clone()
    }

    fn bundle(&self, name: &str) -> String {
        text(&self.material, &format!("/bundles/{name}"))
    }

    /// A bundle with a change.
    fn changed(&self, name: &str, change: impl FnOnce(&mut Value)) -> Input {
        let mut bundle: Value = serde_json::from_str(&self.bundle(name)).unwrap();
        change(&mut bundle);
        Input::Bundle(bundle.to_string())
    }

    /// The only layer of a signature with a change.
    fn altered(&self, name: &str, change: impl FnOnce(&mut Value)) -> Input {
        let mut layers = self.layers(name);
        change(&mut layers[0]);
        Input::Layers(layers)
    }

    fn add(&mut self, name: &str, trust: Trust, input: Input, good: bool) {
        self.all.push(Case {
            name: name.to_owned(),
            trust,
            input,
            digest: text(&self.material, "/digest"),
            good,
            differs: false,
        });
    }

    /// As `add`, where upstream decides otherwise.
    fn add_differing(&mut self, name: &str, trust: Trust, input: Input, good: bool) {
        self.add(name, trust, input, good);
        self.all.last_mut().unwrap().differs = true;
    }
}

fn request(case: &Case) -> Value {
    let mut request = json!({"digest": case.digest});
    match &case.trust {
        Trust::Keys(keys) => request["keys"] = json!(keys),
        Trust::Root(root, identities) => {
            request["root"] = json!(root);
            let identities = identities.iter();
            let identities = identities
                .map(|(issuer, subject)| json!({"IssuerRegExp": issuer, "SubjectRegExp": subject}));
            request["identities"] = identities.collect();
        }
    }
    match &case.input {
        Input::Layers(layers) => {
            request["mode"] = json!("cosign");
            request["layers"] = json!(layers);
        }
        Input::Bundle(bundle) => {
            request["mode"] = json!("bundle");
            request["bundle"] = json!(bundle);
        }
    }
    request
}

fn layer(value: &Value) -> Layer {
    let annotations = value["annotations"].as_object().unwrap().iter();
    Layer {
        payload: STANDARD.decode(value["payload"].as_str().unwrap()).unwrap(),
        annotations: annotations
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
    }
}

fn ours(case: &Case) -> Result<Verified, String> {
    let verifier = match &case.trust {
        Trust::Keys(keys) => {
            let keys = keys.iter().map(String::as_bytes);
            Verifier::keyed(keys).map_err(|error| error.to_string())?
        }
        Trust::Root(root, identities) => {
            let root = TrustedRoot::parse(root.as_bytes()).map_err(|error| error.to_string())?;
            let identities = identities.iter();
            let identities = identities
                .map(|(issuer, subject)| Identity::new(issuer, subject))
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?;
            Verifier::keyless(Arc::new(root), identities)
        }
    };
    let now: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
    let verify = |candidate: &Candidate<'_>| {
        let verified = verifier.verify(candidate, &case.digest, now);
        verified.map_err(|error| error.to_string())
    };
    match &case.input {
        Input::Layers(layers) => {
            let layers: Vec<Layer> = layers.iter().map(layer).collect();
            verify(&Candidate::Layers(&layers))
        }
        Input::Bundle(bundle) => {
            let bundle = Bundle::parse(bundle.as_bytes()).map_err(|error| error.to_string())?;
            verify(&Candidate::Bundles(&[bundle]))
        }
    }
}

const KINDS: [&str; 6] = ["p256", "p384", "p521", "rsa2048", "rsa4096", "ed25519"];

/// Signatures in the older layout by keys.
fn classic_with_keys(cases: &mut Cases) {
    // SC-VER-030: SHA-256 only. Newer versions of cosign sign with the hash that fits the curve, and with Ed25519ph.
    for kind in KINDS {
        let (trust, layers) = (cases.keys(&[kind]), cases.layers(kind));
        let good = matches!(kind, "p256" | "rsa2048" | "rsa4096");
        cases.add(
            &format!("classic {kind}"),
            trust,
            Input::Layers(layers),
            good,
        );
        let (trust, layers) = (cases.keys(&[kind]), cases.layers(&format!("older-{kind}")));
        cases.add(
            &format!("classic {kind}, by SHA-256"),
            trust,
            Input::Layers(layers),
            true,
        );
    }
    let p256 = || Input::Layers(cases.layers("p256"));
    let mut add = Vec::new();
    // SC-VER-031: one key that verifies suffices; a malformed one fails all.
    add.push((
        "classic, second key",
        cases.keys(&["stranger", "p256"]),
        p256(),
        true,
    ));
    add.push((
        "classic, strange key",
        cases.keys(&["stranger"]),
        p256(),
        false,
    ));
    add.push((
        "classic, key of another kind",
        cases.keys(&["rsa2048"]),
        p256(),
        false,
    ));
    let malformed = Trust::Keys(vec![
        cases.key("p256"),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(),
    ]);
    add.push(("classic, malformed key", malformed, p256(), false));
    add.push((
        "classic, empty key",
        Trust::Keys(vec![String::new(), cases.key("p256")]),
        p256(),
        false,
    ));
    let certificate = text(&cases.material, "/notation/certificates/root");
    add.push((
        "classic, certificate for a key",
        Trust::Keys(vec![certificate]),
        p256(),
        false,
    ));
    let two = || Input::Layers(cases.layers("two"));
    add.push((
        "classic, second of two signatures",
        cases.keys(&["p256"]),
        two(),
        true,
    ));
    add.push((
        "classic, none of two signatures",
        cases.keys(&["p384"]),
        two(),
        false,
    ));
    // SC-VER-040: the payload is of this image.
    add.push((
        "classic, replayed of another image",
        cases.keys(&["p256"]),
        Input::Layers(cases.layers("other-image")),
        false,
    ));
    for (name, pointer) in [
        ("classic, tampered payload", "/payload"),
        (
            "classic, tampered signature",
            "/annotations/dev.cosignproject.cosign~1signature",
        ),
    ] {
        add.push((
            name,
            cases.keys(&["p256"]),
            cases.altered("p256", |layer| flip(layer, pointer)),
            false,
        ));
    }
    for (name, signature) in [
        ("classic, no signature", ""),
        ("classic, not base64", "?"),
        ("classic, short signature", "MEUC"),
    ] {
        let input = cases.altered("p256", |layer| {
            layer["annotations"]["dev.cosignproject.cosign/signature"] = json!(signature);
        });
        add.push((name, cases.keys(&["p256"]), input, false));
    }
    add.push((
        "classic, no layers",
        cases.keys(&["p256"]),
        Input::Layers(Vec::new()),
        false,
    ));
    for (name, trust, input, good) in add {
        cases.add(name, trust, input, good);
    }
    let mut other = cases
        .all
        .iter()
        .position(|case| case.name == "classic p256")
        .map(|at| {
            let case = &cases.all[at];
            (case.trust.clone(), case.input.clone())
        })
        .unwrap();
    cases.add(
        "classic, another digest",
        other.0.clone(),
        other.1.clone(),
        false,
    );
    cases.all.last_mut().unwrap().digest = text(&cases.material, "/other");
    other.1 = Input::Layers(cases.layers("other-image"));
    cases.add("classic, the other image", other.0, other.1, true);
    cases.all.last_mut().unwrap().digest = text(&cases.material, "/other");
    // A certificate that has expired comes with the signature of a key.
    let certificate =
        cases.layers("keyless-workflow")[0]["annotations"]["dev.sigstore.cosign/certificate"]
            .clone();
    let input = cases.altered("p256", |layer| {
        layer["annotations"]["dev.sigstore.cosign/certificate"] = certificate;
    });
    cases.add(
        "classic, key with an expired certificate",
        cases.keys(&["p256"]),
        input,
        false,
    );
}

/// Bundles by keys.
fn bundles_with_keys(cases: &mut Cases) {
    for (kind, good) in [
        ("p256", true),
        ("rsa2048", true),
        ("rsa4096", true),
        ("p384", false),
        ("p521", false),
    ] {
        // Upstream verifies with SHA-256, but cosign signs with the hash that fits the curve.
        let (trust, bundle) = (cases.keys(&[kind]), cases.bundle(kind));
        cases.add(
            &format!("bundle {kind}"),
            trust,
            Input::Bundle(bundle),
            good,
        );
    }
    let key = || cases.keys(&["p256"]);
    let envelope = |name: &str, change: fn(&mut Value)| {
        (name.to_owned(), key(), cases.changed("p256", change), false)
    };
    let mut add = vec![
        (
            "bundle, second key".to_owned(),
            cases.keys(&["stranger", "p256"]),
            Input::Bundle(cases.bundle("p256")),
            true,
        ),
        (
            "bundle, strange key".to_owned(),
            cases.keys(&["stranger"]),
            Input::Bundle(cases.bundle("p256")),
            false,
        ),
        (
            "bundle of another image".to_owned(),
            key(),
            Input::Bundle(cases.bundle("other-image")),
            false,
        ),
        (
            "bundle by a certificate".to_owned(),
            key(),
            Input::Bundle(cases.bundle("keyless-workflow")),
            false,
        ),
        (
            "bundle by a key for identities".to_owned(),
            cases.root("ours"),
            Input::Bundle(cases.bundle("p256")),
            false,
        ),
        envelope("bundle, tampered payload", |b| {
            flip(b, "/dsseEnvelope/payload");
        }),
        envelope("bundle, tampered signature", |b| {
            flip(b, "/dsseEnvelope/signatures/0/sig");
        }),
        envelope("bundle, no signatures", |b| {
            b["dsseEnvelope"]["signatures"] = json!([]);
        }),
        envelope("bundle, the same signature twice", |b| {
            let one = b["dsseEnvelope"]["signatures"][0].clone();
            b["dsseEnvelope"]["signatures"] = json!([one, one]);
        }),
        envelope("bundle, other payload type", |b| {
            b["dsseEnvelope"]["payloadType"] = json!("text/plain");
        }),
        envelope("bundle, no content", |b| {
            b.as_object_mut().unwrap().remove("dsseEnvelope");
        }),
        envelope("bundle, no material", |b| {
            b.as_object_mut().unwrap().remove("verificationMaterial");
        }),
        envelope("bundle, unknown version", |b| {
            b["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.4+json");
        }),
        envelope("bundle, unknown type", |b| {
            b["mediaType"] = json!("application/json");
        }),
        envelope("bundle, unknown field", |b| b["more"] = json!(1)),
        envelope("bundle, field of another type", |b| {
            b["dsseEnvelope"]["signatures"] = json!("x");
        }),
        envelope("bundle, not base64", |b| {
            b["dsseEnvelope"]["payload"] = json!("?");
        }),
        envelope(
            "bundle, two contents",
            |b| b["messageSignature"] = json!({"messageDigest": {"algorithm": "SHA2_256", "digest": "AAAA"}, "signature": "AAAA"}),
        ),
    ];
    for (name, text) in [
        ("bundle, not JSON", "bundle".to_owned()),
        ("bundle, nothing", String::new()),
        ("bundle, null", "null".to_owned()),
        ("bundle, deep", "[".repeat(100_000)),
        (
            "bundle, deep value",
            format!(r#"{{"mediaType":{}"#, r#"{"a":"#.repeat(20_000)),
        ),
    ] {
        add.push((name.to_owned(), key(), Input::Bundle(text), false));
    }
    // Both spellings of names, and numbers as texts: protobuf's JSON.
    let snake = cases
        .bundle("p256")
        .replace("dsseEnvelope", "dsse_envelope")
        .replace("verificationMaterial", "verification_material");
    add.push((
        "bundle, other spelling".to_owned(),
        key(),
        Input::Bundle(snake),
        true,
    ));
    let older = cases.changed("p256", |b| {
        b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
    });
    add.push(("bundle, older version".to_owned(), key(), older, true));
    for (name, trust, input, good) in add {
        cases.add(&name, trust, input, good);
    }
}

/// Identities: what holds in both layouts.
fn identities(cases: &mut Cases) {
    for layout in ["classic", "bundle"] {
        let input = |cases: &Cases, name: &str| match layout {
            "classic" => Input::Layers(cases.layers(&format!("keyless-{name}"))),
            _ => Input::Bundle(cases.bundle(&format!("keyless-{name}"))),
        };
        // SC-VER-034
        for (name, good) in [
            ("workflow", true),
            ("old-issuer", true),
            ("new-issuer", true),
            ("no-sct", false),
            ("strange-sct", false),
            ("server", false),
            ("unknown-issuer", false),
            ("late", false),
            ("early", false),
            ("other-image", false),
            ("email", false),
        ] {
            let input = input(cases, name);
            let name = format!("{layout}, {name}");
            if name == "classic, new-issuer" {
                cases.add_differing(&name, cases.root("ours"), input, good);
            } else {
                cases.add(&name, cases.root("ours"), input, good);
            }
        }
        for (name, identity, good) in [
            (
                "other issuer",
                ("^https://accounts.example.com$", SUBJECT),
                false,
            ),
            (
                "other subject",
                (ISSUER, "^https://example.com/org/other/.*$"),
                false,
            ),
            ("part of the subject", ("actions", "org/repo"), true),
            ("subject to its end", (ISSUER, "repo$"), false),
            (
                "subject in other letters",
                (ISSUER, "(?i)^HTTPS://EXAMPLE.COM/"),
                true,
            ),
            ("malformed issuer", ("(", SUBJECT), false),
            ("malformed subject", (ISSUER, "[a"), false),
        ] {
            let input = input(cases, "workflow");
            cases.add(
                &format!("{layout}, {name}"),
                cases.identities("ours", &[identity]),
                input,
                good,
            );
        }
        let email = input(cases, "email");
        cases.add(
            &format!("{layout}, address"),
            cases.identities("ours", &[(ISSUER, "^dev@example\\.com$")]),
            email,
            true,
        );
        // SC-VER-036: another root, or one whose parts do not belong together.
        for (root, good) in [("theirs", false), ("mixed", false), ("later-logs", false)] {
            let input = input(cases, "workflow");
            cases.add(
                &format!("{layout}, root {root}"),
                cases.root(root),
                input,
                good,
            );
        }
        let several = [("^https://other", SUBJECT), (ISSUER, SUBJECT)];
        let none: [(&str, &str); 0] = [];
        let workflow = input(cases, "workflow");
        if layout == "classic" {
            cases.add(
                "classic, second identity",
                cases.identities("ours", &several),
                workflow.clone(),
                true,
            );
            cases.add(
                "classic, any identity",
                cases.identities("ours", &none),
                workflow,
                true,
            );
        } else {
            cases.add_differing(
                "bundle, second identity",
                cases.identities("ours", &several),
                workflow.clone(),
                true,
            );
            cases.add(
                "bundle, no identities",
                cases.identities("ours", &none),
                workflow,
                false,
            );
        }
    }
    cases.add(
        "malformed root",
        Trust::Root("{}".to_owned(), vec![]),
        Input::Bundle(cases.bundle("keyless-workflow")),
        false,
    );
}

/// Rekor's entries in the older layout.
fn classic_entries(cases: &mut Cases) {
    const BUNDLE: &str = "dev.sigstore.cosign/bundle";
    let entry = |cases: &Cases, change: &dyn Fn(&mut Value)| {
        cases.altered("keyless-workflow", |layer| {
            let text = layer["annotations"][BUNDLE].as_str().unwrap();
            let mut bundle: Value = serde_json::from_str(text).unwrap();
            change(&mut bundle);
            layer["annotations"][BUNDLE] = json!(bundle.to_string());
        })
    };
    let foreign = cases.layers("keyless-old-issuer")[0]["annotations"].clone();
    let changes: Vec<(&str, Input)> = vec![
        (
            "classic, tampered promise",
            entry(cases, &|b| flip(b, "/SignedEntryTimestamp")),
        ),
        (
            "classic, other time of the entry",
            entry(cases, &|b| {
                b["Payload"]["integratedTime"] = json!(1_772_366_461);
            }),
        ),
        (
            "classic, other index of the entry",
            entry(cases, &|b| b["Payload"]["logIndex"] = json!(2)),
        ),
        (
            "classic, other log",
            entry(cases, &|b| b["Payload"]["logID"] = json!("00".repeat(32))),
        ),
        (
            "classic, tampered body",
            entry(cases, &|b| flip(b, "/Payload/body")),
        ),
        (
            "classic, no entry",
            cases.altered("keyless-workflow", |layer| {
                layer["annotations"].as_object_mut().unwrap().remove(BUNDLE);
            }),
        ),
        (
            "classic, malformed entry",
            cases.altered("keyless-workflow", |layer| {
                layer["annotations"][BUNDLE] = json!("{");
            }),
        ),
        (
            "classic, entry of another signature",
            cases.altered("keyless-workflow", |layer| {
                layer["annotations"][BUNDLE] = foreign[BUNDLE].clone();
            }),
        ),
        (
            "classic, certificate of another signature",
            cases.altered("keyless-workflow", |layer| {
                let name = "dev.sigstore.cosign/certificate";
                layer["annotations"][name] = foreign[name].clone();
            }),
        ),
        (
            "classic, no certificate",
            cases.altered("keyless-workflow", |layer| {
                layer["annotations"]
                    .as_object_mut()
                    .unwrap()
                    .remove("dev.sigstore.cosign/certificate");
            }),
        ),
        (
            "classic, tampered payload with an entry",
            cases.altered("keyless-workflow", |layer| flip(layer, "/payload")),
        ),
    ];
    for (name, input) in changes {
        cases.add(name, cases.root("ours"), input, false);
    }
    let without = cases.altered("keyless-workflow", |layer| {
        layer["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("dev.sigstore.cosign/chain");
    });
    cases.add("classic, no chain", cases.root("ours"), without, true);
}

/// Rekor's entries in bundles.
fn bundle_entries(cases: &mut Cases) {
    const ENTRY: &str = "/verificationMaterial/tlogEntries/0";
    for (name, good) in [
        ("keyless-message", true),
        ("keyless-stamped", true),
        ("keyless-p384", true),
        ("rekor2", true),
        ("rekor2-late", false),
        ("rekor2-early", false),
        ("rekor2-strange-stamp", false),
    ] {
        let bundle = cases.bundle(name);
        cases.add(name, cases.root("ours"), Input::Bundle(bundle), good);
    }
    let entry = |cases: &Cases, bundle: &str, change: &dyn Fn(&mut Value)| {
        cases.changed(bundle, |b| change(b.pointer_mut(ENTRY).unwrap()))
    };
    let checkpoint = |e: &mut Value, from: &str, to: &str| {
        let at = e
            .pointer_mut("/inclusionProof/checkpoint/envelope")
            .unwrap();
        let changed = at.as_str().unwrap().replacen(from, to, 1);
        assert_ne!(*at, json!(changed));
        *at = changed.into();
    };
    let foreign: Value = serde_json::from_str(&cases.bundle("keyless-old-issuer")).unwrap();
    let w = "keyless-workflow";
    let changes: Vec<(&str, Input)> = vec![
        ("entry, tampered hash", entry(cases, w, &|e| flip(e, "/inclusionProof/hashes/0"))),
        ("entry, missing hash", entry(cases, w, &|e| { e["inclusionProof"]["hashes"].as_array_mut().unwrap().pop(); })),
        ("entry, another hash", entry(cases, w, &|e| {
            let one = e["inclusionProof"]["hashes"][0].clone();
            e["inclusionProof"]["hashes"].as_array_mut().unwrap().push(one);
        })),
        ("entry, tampered root", entry(cases, w, &|e| flip(e, "/inclusionProof/rootHash"))),
        ("entry, other size", entry(cases, w, &|e| e["inclusionProof"]["treeSize"] = json!("5"))),
        ("entry, index beyond the tree", entry(cases, w, &|e| e["inclusionProof"]["logIndex"] = json!("7"))),
        ("entry, negative index", entry(cases, w, &|e| e["inclusionProof"]["logIndex"] = json!("-1"))),
        ("entry, other checkpoint size", entry(cases, w, &|e| checkpoint(e, "\n3\n", "\n4\n"))),
        ("entry, other checkpoint origin", entry(cases, w, &|e| checkpoint(e, "rekor.sigstore", "rekor.elsewhere"))),
        ("entry, checkpoint without signature", entry(cases, w, &|e| checkpoint(e, "\u{2014} ", "- "))),
        ("entry, empty checkpoint", entry(cases, w, &|e| e["inclusionProof"]["checkpoint"]["envelope"] = json!(""))),
        ("entry, tampered promise", entry(cases, w, &|e| flip(e, "/inclusionPromise/signedEntryTimestamp"))),
        ("entry, other time", entry(cases, w, &|e| e["integratedTime"] = json!("1772366461"))),
        ("entry, no proof", entry(cases, w, &|e| { e.as_object_mut().unwrap().remove("inclusionProof"); })),
        ("entry, no promise", entry(cases, w, &|e| { e.as_object_mut().unwrap().remove("inclusionPromise"); })),
        ("entry, other log", entry(cases, w, &|e| e["logId"]["keyId"] = json!("AAAA"))),
        ("entry, body of another", entry(cases, w, &|e| e["canonicalizedBody"] = foreign.pointer(&format!("{ENTRY}/canonicalizedBody")).unwrap().clone())),
        ("entry, malformed body", entry(cases, w, &|e| e["canonicalizedBody"] = json!("e30="))),
        ("entry, no kind", entry(cases, w, &|e| { e.as_object_mut().unwrap().remove("kindVersion"); })),
        ("entry of another bundle", cases.changed(w, |b| *b.pointer_mut(ENTRY).unwrap() = foreign.pointer(ENTRY).unwrap().clone())),
        ("no entries", cases.changed(w, |b| b["verificationMaterial"]["tlogEntries"] = json!([]))),
        ("the same entry twice", cases.changed(w, |b| {
            let one = b.pointer(ENTRY).unwrap().clone();
            b["verificationMaterial"]["tlogEntries"] = json!([one, one]);
        })),
        ("many entries", cases.changed(w, |b| {
            let one = b.pointer(ENTRY).unwrap().clone();
            b["verificationMaterial"]["tlogEntries"] = json!(vec![one; 40]);
        })),
        ("certificate of another bundle", cases.changed(w, |b| b["verificationMaterial"]["certificate"] = foreign["verificationMaterial"]["certificate"].clone())),
        ("malformed certificate", cases.changed(w, |b| b["verificationMaterial"]["certificate"]["rawBytes"] = json!("AAAA"))),
        ("chain in the third version", cases.changed(w, |b| {
            let one = b["verificationMaterial"]["certificate"].take();
            let material = b["verificationMaterial"].as_object_mut().unwrap();
            material.remove("certificate");
            material.insert("x509CertificateChain".to_owned(), json!({"certificates": [one]}));
        })),
        ("message, tampered signature", cases.changed("keyless-message", |b| flip(b, "/messageSignature/signature"))),
        ("message, tampered digest", cases.changed("keyless-message", |b| flip(b, "/messageSignature/messageDigest/digest"))),
        ("message, other hash", cases.changed("keyless-message", |b| b["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_512"))),
        ("second version, tampered hash", entry(cases, "rekor2", &|e| flip(e, "/inclusionProof/hashes/0"))),
        ("second version, other index", entry(cases, "rekor2", &|e| e["logIndex"] = json!("2"))),
        ("second version, other origin", entry(cases, "rekor2", &|e| checkpoint(e, "rekor.sigstore", "rekor.elsewhere"))),
        ("second version, other size", entry(cases, "rekor2", &|e| checkpoint(e, "\n3\n", "\n4\n"))),
        ("second version, no timestamp", cases.changed("rekor2", |b| { b["verificationMaterial"].as_object_mut().unwrap().remove("timestampVerificationData"); })),
        ("second version, tampered timestamp", cases.changed("rekor2", |b| flip(b, "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp"))),
        ("second version, tampered payload", cases.changed("rekor2", |b| flip(b, "/dsseEnvelope/payload"))),
    ];
    for (name, input) in changes {
        cases.add(name, cases.root("ours"), input, false);
    }
    // Upstream does not compare the size with that of the checkpoint; the path to the root is the same.
    let equal = entry(cases, w, &|e| {
        e["inclusionProof"]["treeSize"] = json!("4");
    });
    cases.add(
        "entry, size with an equal path",
        cases.root("ours"),
        equal,
        true,
    );
    let older = cases.changed(w, |b| {
        let one = b["verificationMaterial"]["certificate"].take();
        let material = b["verificationMaterial"].as_object_mut().unwrap();
        material.remove("certificate");
        material.insert(
            "x509CertificateChain".to_owned(),
            json!({"certificates": [one]}),
        );
        b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
    });
    cases.add(
        "chain in the second version",
        cases.root("ours"),
        older,
        true,
    );
    // The body is made again from the signature, so that what stands there does not matter.
    let body = entry(cases, "rekor2", &|e| {
        let body = e["canonicalizedBody"].as_str().unwrap();
        let mut body: Value = serde_json::from_slice(&STANDARD.decode(body).unwrap()).unwrap();
        body["spec"]["hashedRekordV002"]["data"]["digest"] = json!("AAAA");
        e["canonicalizedBody"] = json!(STANDARD.encode(body.to_string()));
    });
    cases.add("second version, other body", cases.root("ours"), body, true);
}

fn all() -> Cases {
    let mut cases = Cases {
        material: material(),
        all: Vec::new(),
    };
    classic_with_keys(&mut cases);
    bundles_with_keys(&mut cases);
    identities(&mut cases);
    classic_entries(&mut cases);
    bundle_entries(&mut cases);
    cases
}

#[test]
fn verdicts_are_those_of_cosign() {
    let Some(mut go) = Oracle::start("signature") else {
        return;
    };
    let cases = all().all;
    assert!(cases.len() >= 40, "{}", cases.len());
    let requests: Vec<Value> = cases.iter().map(request).collect();
    let answers = go.ask_all(&requests);
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().zip(answers) {
        let ours = ours(case);
        let theirs = matches!(answer, Answer::Output(_));
        if ours.is_ok() != case.good || theirs != (case.good != case.differs) {
            wrong.push(format!("{}: ours {ours:?}, upstream {answer:?}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_signer_is_returned() {
    let cases = all().all;
    let verified = |name: &str| {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        ours(case).unwrap()
    };
    assert_eq!(verified("classic, second key"), Verified::Key { index: 1 });
    assert_eq!(verified("bundle, second key"), Verified::Key { index: 1 });
    let address = Verified::Certificate {
        issuer: "https://token.actions.example.com".to_owned(),
        subject: vec!["dev@example.com".to_owned()],
        time: "2026-03-01T12:01:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_second(),
    };
    assert_eq!(verified("classic, address"), address);
    assert_eq!(verified("bundle, address"), address);
}

// SC-VER-031, SC-VER-040
#[test]
fn errors_have_the_texts_of_cosign() {
    let cases = all().all;
    for (name, want) in [
        ("classic, no layers", "no signatures found"),
        (
            "classic, strange key",
            "no matching signatures: invalid signature when validating ASN.1 encoded signature",
        ),
        ("classic, empty key", "PEM decoding failed"),
        (
            "classic, certificate for a key",
            "unknown Public key PEM file type: CERTIFICATE. Are you passing the correct public key?",
        ),
        (
            "classic, other subject",
            "no matching signatures: none of the expected identities matched what was in the certificate, got subjects [https://example.com/org/repo/.github/workflows/release.yaml@refs/tags/v1] with issuer https://token.actions.example.com",
        ),
        (
            "classic, late",
            "no matching signatures: certificate expired before observed time: 2026-03-01T12:10:00Z is before 2026-03-01T13:00:00Z",
        ),
        (
            "classic, early",
            "no matching signatures: certificate was issued after observed time: 2026-03-01T12:00:00Z is after 2026-03-01T11:00:00Z",
        ),
        (
            "bundle, late",
            "no matching attestations: integrated time outside certificate validity",
        ),
        (
            "bundle, malformed subject",
            "malformed subject in identity: [a : error parsing regexp: missing closing ]: `[a`",
        ),
    ] {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        assert_eq!(ours(case).unwrap_err(), want, "{name}");
    }
    let digest = text(&material(), "/other");
    let replayed = cases
        .iter()
        .find(|case| case.name == "classic, replayed of another image")
        .unwrap();
    let want = format!("no matching signatures: invalid or missing digest in claim: {digest}");
    assert_eq!(ours(replayed).unwrap_err(), want);
}

#[test]
fn blobs_are_found_in_the_manifests_of_cosign() {
    let material = material();
    let manifest = text(&material, "/classic/two/manifest");
    let blobs = signatures(manifest.as_bytes()).unwrap();
    assert_eq!(blobs.len(), 2);
    assert!(
        blobs[0]
            .annotations
            .contains_key("dev.cosignproject.cosign/signature")
    );
    assert!(bundle_blob(manifest.as_bytes()).is_err());
}

// SC-VER-060: the fingerprint depends on the keys alone.
#[test]
fn fingerprints_change_with_the_keys() {
    let cases = Cases {
        material: material(),
        all: Vec::new(),
    };
    let keyed = |names: &[&str]| {
        let keys: Vec<String> = names.iter().map(|name| cases.key(name)).collect();
        Verifier::keyed(keys.iter().map(String::as_bytes))
            .unwrap()
            .fingerprint()
    };
    assert_eq!(keyed(&["p256", "p384"]), keyed(&["p384", "p256"]));
    assert_ne!(keyed(&["p256"]), keyed(&["p384"]));
    assert_ne!(keyed(&["p256"]), keyed(&["p256", "p384"]));
    // White space in the file is not key material.
    let spaced = cases.key("p256").replace('\n', "\n\n");
    assert_eq!(
        Verifier::keyed([spaced.as_bytes()]).unwrap().fingerprint(),
        keyed(&["p256"])
    );
    let rooted = |root: Arc<TrustedRoot>| Verifier::keyless(root, Vec::new()).fingerprint();
    let ours =
        Arc::new(TrustedRoot::parse(text(&cases.material, "/roots/ours").as_bytes()).unwrap());
    assert_ne!(
        rooted(Arc::clone(&ours)),
        rooted(TrustedRoot::public_good())
    );
    assert_eq!(rooted(Arc::clone(&ours)), rooted(ours));
}

// SC-VER-036
#[test]
fn trusted_roots_are_read_as_sigstore_reads_them() {
    let Some(mut go) = Oracle::start("signature") else {
        return;
    };
    let material = material();
    let ours = text(&material, "/roots/ours");
    let change = |change: fn(&mut Value)| {
        let mut root: Value = serde_json::from_str(&ours).unwrap();
        change(&mut root);
        root.to_string()
    };
    let roots = [
        ours.clone(),
        include_str!("../src/cosign/trusted_root.json").to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        String::new(),
        change(|root| root["mediaType"] = json!("application/json")),
        change(|root| root["more"] = json!(1)),
        change(|root| root["tlogs"][0]["hashAlgorithm"] = json!("SHA2_512")),
        change(|root| {
            root["tlogs"][0]["publicKey"]["keyDetails"] = json!("PKIX_RSA_PSS_2048_SHA256");
        }),
        change(|root| root["tlogs"][0]["publicKey"]["rawBytes"] = json!("AAAA")),
        change(|root| {
            root["tlogs"][0]["publicKey"]
                .as_object_mut()
                .unwrap()
                .remove("validFor");
        }),
        change(|root| {
            root["tlogs"][0]["publicKey"]["validFor"] = json!({"end": "2030-01-01T00:00:00Z"});
        }),
        change(|root| root["tlogs"][0]["publicKey"]["validFor"] = json!({"start": "yesterday"})),
        change(|root| {
            root["ctlogs"][0]
                .as_object_mut()
                .unwrap()
                .remove("publicKey");
        }),
        change(|root| root["certificateAuthorities"][0]["certChain"]["certificates"] = json!([])),
        change(|root| {
            root["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] =
                json!("AAAA");
        }),
        change(|root| {
            root.as_object_mut().unwrap().remove("timestampAuthorities");
        }),
        change(|root| root["tlogs"] = json!([])),
    ];
    for root in roots {
        let answer = go.ask(&json!({"mode": "trusted-root", "root": root}));
        let ours = TrustedRoot::parse(root.as_bytes());
        match (&ours, &answer) {
            (Ok(ours), Answer::Output(theirs)) => {
                assert_eq!(json!(ours.counts()), *theirs, "{root}");
            }
            (Err(_), Answer::Error(_)) => {}
            _ => panic!("{ours:?}, upstream {answer:?}: {root}"),
        }
    }
}

// SC-VER-035: the root in the program vouches for what Sigstore's public instance signs. The bundle is that of the case
// `happy-path-intoto-in-dsse-v3` of sigstore-conformance (Apache License 2.0).
#[test]
fn the_public_instance_is_trusted() {
    let bundle = include_bytes!("material/public_bundle.json");
    let digest = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    let issuer = "^https://token.actions.githubusercontent.com$";
    let subject =
        "^https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/";
    let verify = |bundle: &[u8], digest: &str, subject: &str| {
        let bundle = Bundle::parse(bundle).map_err(|error| error.to_string())?;
        let identity = Identity::new(issuer, subject).map_err(|error| error.to_string())?;
        let verifier = Verifier::keyless(TrustedRoot::public_good(), vec![identity]);
        let now: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
        let verified = verifier.verify(&Candidate::Bundles(&[bundle]), digest, now);
        verified.map_err(|error| error.to_string())
    };
    assert!(matches!(
        verify(bundle, digest, subject),
        Ok(Verified::Certificate { .. })
    ));
    assert!(verify(bundle, &digest.replace("a0cf", "a0ce"), subject).is_err());
    assert!(verify(bundle, digest, "^https://github.com/sigstore/").is_err());
    let mut tampered: Value = serde_json::from_slice(bundle).unwrap();
    flip(&mut tampered, "/dsseEnvelope/signatures/0/sig");
    assert!(verify(tampered.to_string().as_bytes(), digest, subject).is_err());
}

// SC-VER-036
#[test]
fn the_address_of_rekor_has_to_be_there() {
    let ours = text(&material(), "/roots/ours");
    let url = |change: fn(&mut Value)| {
        let mut root: Value = serde_json::from_str(&ours).unwrap();
        change(&mut root);
        let root = TrustedRoot::parse(root.to_string().as_bytes()).unwrap();
        root.rekor_url()
            .map(str::to_owned)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        url(|_| {}).as_deref(),
        Ok("https://rekor.sigstore.example.com")
    );
    assert_eq!(
        url(|root| root["tlogs"] = json!([])).unwrap_err(),
        "no transparency log entries found in trusted root"
    );
    assert_eq!(
        url(|root| root["tlogs"][0]["baseUrl"] = json!("")).unwrap_err(),
        "no transparency log entry with a BaseURL found in trusted root"
    );
}

// SC-VER-036: a trusted root may come from a Secret
#[test]
fn errors_do_not_quote_the_trusted_root() {
    let ours = text(&material(), "/roots/ours");
    let hidden = "S3CRET";
    let broken: [fn(&mut Value); 7] = [
        |root| root["mediaType"] = json!("S3CRET"),
        |root| root["tlogs"] = json!("S3CRET, expected S3CRET"),
        |root| root["tlogs"][0]["S3CRET"] = json!(1),
        |root| root["tlogs"][0]["publicKey"]["keyDetails"] = json!("S3CRET"),
        |root| root["tlogs"][0]["publicKey"]["rawBytes"] = json!("S3CRET!"),
        |root| root["certificateAuthorities"][0]["uri"] = json!({"S3CRET": 1}),
        |root| {
            root["certificateAuthorities"][0]["uri"] = json!("S3CRET");
            root["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] =
                json!("AAAA");
        },
    ];
    for change in broken {
        let mut root: Value = serde_json::from_str(&ours).unwrap();
        change(&mut root);
        let error = TrustedRoot::parse(root.to_string().as_bytes()).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(hidden), "{shown}");
    }
    let mut root: Value = serde_json::from_str(&ours).unwrap();
    root["tlogs"] = json!(1);
    let error = TrustedRoot::parse(root.to_string().as_bytes()).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "failed to proto-json unmarshal trusted root: unexpected value, expected a sequence at line 1 column"
        ),
        "{error}"
    );
    let pem = "-----BEGIN S3CRET-----\nAAAA\n-----END S3CRET-----";
    assert_eq!(
        Verifier::keyed([pem.as_bytes()]).unwrap_err().to_string(),
        "unknown Public key PEM file type: unknown. Are you passing the correct public key?"
    );
}

// SC-VER-034
#[test]
fn messages_and_identities_are_bounded() {
    let long = Error::Claim("x".repeat(5000));
    let shown = Error::NoMatchingSignatures(vec![long; 256]).to_string();
    assert!(
        shown.len() < 5000 && shown.ends_with("and 248 more"),
        "{}",
        shown.len()
    );

    assert!(Identity::new(r"^\pL+@example\.com$", "^https://github.com/(a|b)/.*$").is_ok());
    let error = Identity::new(&r"\pL".repeat(4000), "").unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.starts_with("malformed issuer in identity: ") && shown.len() < 2000,
        "{shown}"
    );
}

#[test]
fn hostile_sizes_are_refused() {
    let big = vec![b' '; 17 << 20];
    assert!(Bundle::parse(&big).is_err());
    assert!(TrustedRoot::parse(&big).is_err());
    let cases = Cases {
        material: material(),
        all: Vec::new(),
    };
    let key = cases.key("p256");
    let verifier = Verifier::keyed([key.as_bytes()]).unwrap();
    let mut layer = layer(&cases.layers("p256")[0]);
    layer.payload.resize(2 << 20, b' ');
    let digest = text(&cases.material, "/digest");
    let now = Timestamp::UNIX_EPOCH;
    let error = verifier
        .verify(&Candidate::Layers(&[layer]), &digest, now)
        .unwrap_err();
    assert_eq!(error, Error::NoMatchingSignatures(vec![Error::TooLarge]));
    assert!(flipped("AAAA") != "AAAA");
}
