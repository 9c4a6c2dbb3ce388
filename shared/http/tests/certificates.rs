//! Server and client certificates of all kinds, made and served by OpenSSL, compared with Go's client.

mod support;

use flux_http::{
    ClientOptions, ClientPair, Proxy, Repeat, RootCertificates, Secret, TlsSettings, read_body,
};
use oracle::{Answer, Oracle};
use serde_json::json;
use support::{AUTHORITY, Made, Recipe, SERVER, Server, Workshop};

/// Go's result and ours: `None`, or the error.
struct Asked {
    go: Option<String>,
    ours: Option<String>,
}

struct Bench {
    go: Oracle,
    shop: Workshop,
}

impl Bench {
    /// `None` without Go; prints that the test is skipped.
    fn new() -> Option<Self> {
        Some(Self {
            go: Oracle::live("http")?,
            shop: Workshop::new(),
        })
    }

    /// Requests a page of a server with both clients, which trust `roots` and use `client`.
    async fn ask(&mut self, url: &str, roots: &str, client: Option<&Made>) -> Asked {
        let (certificate, key) = client
            .map(|client| (client.pem(), client.key_pem()))
            .unwrap_or_default();
        let request =
            json!({"mode": "send", "url": url, "ca": roots, "cert": certificate, "key": key});
        let go = match self.go.ask(&request) {
            Answer::Output(_) => None,
            Answer::Error(error) => Some(error),
            Answer::Panic(panic) => panic!("{panic}"),
        };
        let options = ClientOptions {
            tls: TlsSettings {
                roots: RootCertificates::ReplaceSystem,
                authorities: Some(roots.as_bytes().to_vec()),
                client_pair: client.map(|_| ClientPair {
                    certificate: certificate.into_bytes(),
                    key: Secret::from(key.as_str()),
                }),
                accept_any_server: false,
            },
            proxy: Proxy::None,
            ..ClientOptions::default()
        };
        let ours = match options.build() {
            Err(error) => Some(error.to_string()),
            Ok(built) => match flux_http::send(built.get(url), Repeat::Never).await {
                Ok(answer) => read_body(answer, 1 << 20)
                    .await
                    .err()
                    .map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            },
        };
        Asked { go, ours }
    }
}

/// Removes the times of a message, which differ between the clients.
fn without_time(text: &str) -> String {
    match text.split_once("current time ") {
        Some((before, after)) => {
            let side = after.split_whitespace().nth(2).unwrap_or_default();
            format!("{before}{side}")
        }
        None => text.to_owned(),
    }
}

/// The expected comparison with Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Both accept.
    Accepted,
    /// Both reject with the same text.
    Refused,
    /// Both reject, with different texts.
    RefusedOtherwise,
    /// Go accepts and ours rejects, as documented in `docs/differences.md`.
    Different,
}
use Expected::{Accepted, Different, Refused, RefusedOtherwise};

/// A server: its recipe, the intermediates, and the root.
struct Case {
    name: &'static str,
    expected: Expected,
    root: Recipe<'static>,
    /// Recipes from the root downwards.
    between: Vec<Recipe<'static>>,
    server: Recipe<'static>,
    /// The server's certificate itself is what the client trusts.
    pinned: bool,
    /// The server's certificate signs itself.
    self_signed: bool,
    /// Whether the server presents the intermediates.
    shown: bool,
    arguments: &'static [&'static str],
}

fn case(name: &'static str, expected: Expected, change: impl FnOnce(&mut Case)) -> Case {
    let root = Recipe {
        extensions: AUTHORITY,
        ..Recipe::default()
    };
    let mut case = Case {
        name,
        expected,
        root,
        between: Vec::new(),
        server: Recipe::default(),
        pinned: false,
        self_signed: false,
        shown: true,
        arguments: &[],
    };
    change(&mut case);
    case
}

fn authority(extensions: &'static str) -> Recipe<'static> {
    Recipe {
        extensions,
        ..Recipe::default()
    }
}

fn with_key(key: &'static str, extensions: &'static str) -> Recipe<'static> {
    Recipe {
        key,
        extensions,
        ..Recipe::default()
    }
}

const NAMED: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost\n";

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("ordinary", Accepted, |_| {}),
        case("stranger", Refused, |case| case.root = authority(AUTHORITY)),
        // Pinned servers.
        case("pinned-issued", Accepted, |case| case.pinned = true),
        case("pinned-authority", Accepted, |case| {
            (case.pinned, case.self_signed) = (true, true);
            case.server.extensions =
                "basicConstraints=critical,CA:TRUE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n";
        }),
        case("pinned-no-authority", Accepted, |case| {
            (case.pinned, case.self_signed) = (true, true);
        }),
        case("pinned-without-constraints", Accepted, |case| {
            (case.pinned, case.self_signed) = (true, true);
            case.server.extensions = NAMED;
        }),
        case("pinned-for-clients-only", Refused, |case| {
            case.pinned = true;
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=clientAuth\n";
        }),
        case("pinned-expired", Refused, |case| {
            (case.pinned, case.server.days) = (true, -1);
        }),
        case("authority-as-server", Accepted, |case| {
            case.server.extensions =
                "basicConstraints=CA:TRUE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n";
        }),
        // Names.
        case("common-name-only", Refused, |case| {
            case.server.extensions = "basicConstraints=CA:FALSE\n";
        }),
        case("other-name", Refused, |case| {
            case.server.extensions = "subjectAltName=IP:10.0.0.1,DNS:elsewhere.example\n";
        }),
        case("address-as-dns-name", Refused, |case| {
            case.server.extensions = "subjectAltName=DNS:127.0.0.1,DNS:elsewhere\n";
        }),
        // Versions.
        case("server-version-1", Refused, |case| {
            case.server.extensions = "";
        }),
        case("root-version-1", Accepted, |case| case.root.extensions = ""),
        case("intermediate-version-1", Refused, |case| {
            case.between = vec![authority("")];
        }),
        // Allowed to sign.
        case("root-without-constraints", Refused, |case| {
            case.root.extensions = "subjectKeyIdentifier=hash\n";
        }),
        case("root-no-authority", Refused, |case| {
            case.root.extensions = "basicConstraints=CA:FALSE\n";
        }),
        case("root-may-not-sign", Refused, |case| {
            case.root.extensions = "basicConstraints=CA:TRUE\nkeyUsage=digitalSignature\n";
        }),
        case("intermediate", Accepted, |case| {
            case.between = vec![authority(AUTHORITY)];
        }),
        case("intermediates", Accepted, |case| {
            case.between = vec![authority(AUTHORITY), authority(AUTHORITY)];
        }),
        case("intermediate-not-shown", Refused, |case| {
            (case.between, case.shown) = (vec![authority(AUTHORITY)], false);
        }),
        case("intermediate-no-authority", Refused, |case| {
            case.between = vec![authority("basicConstraints=CA:FALSE\n")];
        }),
        case("path-too-long", Refused, |case| {
            case.root.extensions = "basicConstraints=critical,CA:TRUE,pathlen:0\n";
            case.between = vec![authority(AUTHORITY)];
        }),
        case("path-just-right", Accepted, |case| {
            case.root.extensions = "basicConstraints=critical,CA:TRUE,pathlen:1\n";
            case.between = vec![authority(AUTHORITY)];
        }),
        // Usages.
        case("usage-client", Refused, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=clientAuth\n";
        }),
        case("usage-any", Accepted, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=anyExtendedKeyUsage\n";
        }),
        case("usage-of-the-root", Refused, |case| {
            case.root.extensions = "basicConstraints=CA:TRUE\nextendedKeyUsage=clientAuth\n";
        }),
        // Extensions.
        case("unknown-critical", Refused, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\n1.2.3.4=critical,ASN1:NULL\n";
        }),
        case("unknown", Accepted, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\n1.2.3.4=ASN1:NULL\n";
        }),
        case("critical-policy", Accepted, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\ncertificatePolicies=critical,1.2.3.4\n";
        }),
        case("critical-policy-constraint", Different, |case| {
            case.between = vec![authority(
                "basicConstraints=critical,CA:TRUE\npolicyConstraints=critical,inhibitPolicyMapping:0\n",
            )];
        }),
        case("netscape-type", Accepted, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nnsCertType=server\nnsComment=old\n";
        }),
        case("critical-key-identifier", RefusedOtherwise, |case| {
            case.server.extensions =
                "subjectAltName=IP:127.0.0.1,DNS:localhost\nsubjectKeyIdentifier=critical,hash\n";
        }),
        // Serial numbers.
        case("serial-zero", Accepted, |case| {
            case.server.arguments = &["-set_serial", "0"];
        }),
        case("serial-negative", Refused, |case| {
            case.server.arguments = &["-set_serial", "-7"];
        }),
        case("serial-long", Accepted, |case| {
            case.server.arguments = &[
                "-set_serial",
                "0x7102030405060708091011121314151617181920212223242526",
            ];
        }),
        // Time.
        case("expired", Refused, |case| case.server.days = -1),
        case("root-expired", Refused, |case| case.root.days = -1),
        case("intermediate-expired", Refused, |case| {
            case.between = vec![Recipe {
                days: -1,
                ..authority(AUTHORITY)
            }];
        }),
        // TLS.
        case("tls-1.2", Accepted, |case| case.arguments = &["-tls1_2"]),
        case("p521-key-exchange", Accepted, |case| {
            case.arguments = &["-groups", "P-521"];
        }),
        case("p521-key-exchange-1.2", Accepted, |case| {
            case.arguments = &["-groups", "P-521", "-tls1_2"];
        }),
        case("p384-key-exchange", Accepted, |case| {
            case.arguments = &["-groups", "P-384"];
        }),
        case("tls-1.1", RefusedOtherwise, |case| {
            case.arguments = &["-tls1_1"];
        }),
        case("rsa-key-exchange", RefusedOtherwise, |case| {
            case.server.key = "rsa:2048";
            case.arguments = &["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"];
        }),
        case("cbc", Different, |case| {
            case.server.key = "rsa:2048";
            case.arguments = &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"];
        }),
    ];
    for (name, expected, constraints) in [
        (
            "names-permitted",
            Accepted,
            "permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0",
        ),
        (
            "names-address-not-permitted",
            RefusedOtherwise,
            "permitted;IP:10.0.0.0/255.0.0.0",
        ),
        (
            "names-not-permitted",
            RefusedOtherwise,
            "permitted;DNS:example.com",
        ),
        ("names-excluded", RefusedOtherwise, "excluded;DNS:localhost"),
        ("names-other-kind", Accepted, "excluded;email:example.com"),
        (
            "names-unknown-kind",
            Refused,
            "excluded;otherName:1.2.3.4;UTF8:x",
        ),
    ] {
        let line = format!("basicConstraints=CA:TRUE\nnameConstraints=critical,{constraints}\n");
        let line: &'static str = line.leak();
        cases.push(case(name, expected, |case| {
            case.between = vec![authority(line)];
        }));
    }
    for (name, expected, root, server, arguments) in [
        ("rsa", Accepted, "rsa:2048", "rsa:2048", &[][..]),
        ("rsa-1024-server", Accepted, "ec:P-256", "rsa:1024", &[]),
        ("rsa-1024-root", Accepted, "rsa:1024", "ec:P-256", &[]),
        (
            "rsa-1024-sha512",
            Accepted,
            "rsa:1024",
            "ec:P-256",
            &["-sha512"],
        ),
        ("rsa-512", RefusedOtherwise, "rsa:512", "ec:P-256", &[]),
        ("p384", Accepted, "ec:P-384", "ec:P-384", &["-sha384"]),
        ("p521", Accepted, "ec:P-521", "ec:P-521", &["-sha512"]),
        (
            "p521-sha256",
            Accepted,
            "ec:P-521",
            "ec:P-256",
            &["-sha256"],
        ),
        (
            "p256-sha512",
            Accepted,
            "ec:P-256",
            "ec:P-256",
            &["-sha512"],
        ),
        (
            "p384-sha512",
            Accepted,
            "ec:P-384",
            "ec:P-256",
            &["-sha512"],
        ),
        ("p224", Different, "ec:P-224", "ec:P-256", &[]),
        ("ed25519", Accepted, "ed25519", "ed25519", &[]),
        ("sha1", Refused, "rsa:2048", "ec:P-256", &["-sha1"]),
        ("sha1-ecdsa", Refused, "ec:P-256", "ec:P-256", &["-sha1"]),
        ("md5", RefusedOtherwise, "rsa:2048", "ec:P-256", &["-md5"]),
        (
            "pss",
            Accepted,
            "rsa:2048",
            "ec:P-256",
            &[
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:digest",
            ],
        ),
        (
            "pss-1024",
            Accepted,
            "rsa:1024",
            "ec:P-256",
            &[
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:digest",
            ],
        ),
        (
            "pss-other-salt",
            Refused,
            "rsa:2048",
            "ec:P-256",
            &[
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:20",
            ],
        ),
    ] {
        cases.push(case(name, expected, |case| {
            case.root = with_key(root, AUTHORITY);
            case.server = Recipe {
                arguments,
                ..with_key(server, SERVER)
            };
        }));
    }
    cases.push(case("root-sha1", Accepted, |case| {
        case.root.arguments = &["-sha1"];
    }));
    cases
}

// RT-SEC-004, RT-SEC-005, SC-GIT-123
// OpenSSL serves one connection at a time: ours must be able to close while waiting for Go.
#[tokio::test(flavor = "multi_thread")]
async fn server_certificates_are_verified_as_in_go() {
    let Some(mut bench) = Bench::new() else {
        return;
    };
    let mut wrong = Vec::new();
    for case in cases() {
        let name = |part: &str| format!("{}-{part}", case.name);
        let root = bench.shop.make(&name("root"), &case.root, None);
        let mut issuer = root.clone();
        let mut between = Vec::new();
        for (index, recipe) in case.between.iter().enumerate() {
            issuer = bench
                .shop
                .make(&name(&format!("ca{index}")), recipe, Some(&issuer));
            between.insert(0, issuer.clone());
        }
        let signer = (!case.self_signed).then_some(&issuer);
        // The common name is the host's, for certificates without other names.
        let server = bench.shop.make("localhost", &case.server, signer);
        let chain = (case.shown && !between.is_empty()).then(|| {
            let parts: Vec<&Made> = between.iter().collect();
            bench.shop.bundle(&name("chain.pem"), &parts)
        });
        let roots = match case.name {
            "stranger" => bench.shop.make("stranger-other", &case.root, None).pem(),
            _ if case.pinned => server.pem(),
            _ => root.pem(),
        };
        let running = Server::start(&server, chain.as_deref(), case.arguments);
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("https://{host}:{}/", running.port);
            let asked = bench.ask(&url, &roots, None).await;
            let (go, ours) = (
                asked.go.as_deref().map(without_time),
                asked.ours.as_deref().map(without_time),
            );
            let fits = match case.expected {
                Accepted => go.is_none() && ours.is_none(),
                Refused => go.is_some() && go == ours,
                RefusedOtherwise => go.is_some() && ours.is_some() && go != ours,
                Different => go.is_none() && ours.is_some(),
            };
            // A certificate may be valid for only one of the names.
            let alike = go == ours && case.name.starts_with("names-");
            if !(fits || alike) {
                wrong.push(format!(
                    "{} ({host}): {:?}\n    go:   {go:?}\n    ours: {ours:?}",
                    case.name, case.expected
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

// RT-SEC-001, SC-AUTH-013
// OpenSSL serves one connection at a time: ours must be able to close while waiting for Go.
#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_selected_as_in_go() {
    let Some(mut bench) = Bench::new() else {
        return;
    };
    let authority = bench.shop.make("ca", &authority(AUTHORITY), None);
    let server = bench
        .shop
        .make("localhost", &Recipe::default(), Some(&authority));
    let trusted = authority.certificate.display().to_string();
    let mut wrong = Vec::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let running = Server::start(
            &server,
            None,
            &[
                "-Verify",
                "1",
                "-CAfile",
                &trusted,
                "-verify_return_error",
                version,
            ],
        );
        let url = format!("https://127.0.0.1:{}/", running.port);
        for (name, key, extensions) in [
            ("version-1", "ec:P-256", ""),
            ("version-1-rsa", "rsa:2048", ""),
            ("version-3", "ec:P-256", "extendedKeyUsage=clientAuth\n"),
            ("p384", "ec:P-384", ""),
            ("p521", "ec:P-521", ""),
            ("ed25519", "ed25519", ""),
            ("rsa-1024", "rsa:1024", ""),
            ("rsa-1536", "rsa:1536", "basicConstraints=CA:FALSE\n"),
        ] {
            let client = bench
                .shop
                .make(name, &with_key(key, extensions), Some(&authority));
            let asked = bench.ask(&url, &authority.pem(), Some(&client)).await;
            if asked.go.is_some() || asked.ours.is_some() {
                wrong.push(format!(
                    "{name} {version}: go {:?}, ours {:?}",
                    asked.go, asked.ours
                ));
            }
        }
        let asked = bench.ask(&url, &authority.pem(), None).await;
        if asked.ours.is_none() {
            wrong.push(format!("none {version}: go {:?}", asked.go));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
