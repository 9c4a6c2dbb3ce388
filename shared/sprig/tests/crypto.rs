//! Tests of keys, certificates and passwords. The fixed texts are Go's results.

use std::cell::Cell;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use flux_gotemplate::{
    CallError, Environment, Limits, Session, Templates, Time, Value, with_stack,
};

/// Random bytes that are the same on every run.
#[derive(Default)]
struct Fixed(Cell<u64>);

impl Environment for Fixed {
    fn now(&self) -> Time {
        Time::unix(1_700_000_000, 0)
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        for byte in buffer {
            let n = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.0.set(n);
            let mixed = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed ^ mixed >> 27) as u8;
        }
        Ok(())
    }
}

fn render(template: &str) -> String {
    let mut functions = flux_sprig::functions();
    flux_sprig::add_cryptography(&mut functions);
    let mut templates = Templates::new("t", Arc::new(functions));
    templates
        .parse("t", template.as_bytes())
        .expect("it parses");
    with_stack(16 << 20, || {
        let mut session = Session::new(Fixed::default(), Limits::default());
        match templates.execute(&mut session, "t", Value::Nil) {
            Ok(out) => String::from_utf8_lossy(&out).into_owned(),
            Err(e) => format!("ERROR {e}"),
        }
    })
    .expect("a thread")
}

// HE-FNC-010
#[test]
fn derives_passwords() {
    for (template, expected) in [
        (
            r#"{{ derivePassword 1 "long" "password" "user" "example.com" }}"#,
            "ZedaFaxcZaso9*",
        ),
        (
            r#"{{ derivePassword 7 "maximum" "päss" "ü" "x" }}"#,
            "X3?E^3DKgI$4KG9jg(kA",
        ),
        (r#"{{ derivePassword 1 "pin" "a" "b" "c" }}"#, "9016"),
        (r#"{{ derivePassword 2 "basic" "a" "b" "c" }}"#, "GL16IDE8"),
        (
            r#"{{ derivePassword 1 "no" "a" "b" "c" }}"#,
            "cannot find password template no",
        ),
    ] {
        assert_eq!(render(template), expected, "{template}");
    }
}

// HE-FNC-011
#[test]
fn encrypts_and_decrypts() {
    let theirs = "BLkI4LzemS25VYYNcXcmmYZ/LIQ5zLIJAVYyezRQFgg=";
    assert_eq!(
        render(&format!("{{{{ decryptAES \"secretkey\" \"{theirs}\" }}}}")),
        "plaintext"
    );
    for text in ["x", "exactly sixteen!", "longer than a block of it"] {
        let both = format!("{{{{ \"{text}\" | encryptAES \"k\" | decryptAES \"k\" }}}}");
        assert_eq!(render(&both), text);
    }
    assert_eq!(
        render(r#"{{ encryptAES "k" "" }}{{ decryptAES "k" "" }}"#),
        ""
    );
}

// HE-FNC-005
#[test]
fn hashes_for_htpasswd() {
    let line = render(r#"{{ htpasswd "me" "secret" }}"#);
    assert!(line.starts_with("me:$2a$10$") && line.len() == 63, "{line}");
    assert_eq!(
        render(r#"{{ htpasswd "a:b" "x" }}"#),
        "invalid username: a:b"
    );
    let long = render(r#"{{ bcrypt (repeat 73 "x") }}"#);
    assert!(long.ends_with("password length exceeds 72 bytes"), "{long}");
}

/// The output of openssl for a text, or `None` if it is not installed.
fn openssl(args: &[&str], input: &str) -> Option<String> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let both = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&both).into_owned())
}

// HE-FNC-006
#[test]
fn makes_private_keys() {
    for (kind, label) in [
        ("ecdsa", "EC PRIVATE KEY"),
        ("ed25519", "PRIVATE KEY"),
        ("dsa", "DSA PRIVATE KEY"),
        ("rsa", "RSA PRIVATE KEY"),
    ] {
        let key = render(&format!("{{{{ genPrivateKey \"{kind}\" }}}}"));
        assert!(
            key.starts_with(&format!("-----BEGIN {label}-----\n")),
            "{key}"
        );
        let Some(text) = openssl(&["pkey", "-noout", "-check"], &key) else {
            println!("skipped: no openssl to check {kind} with");
            continue;
        };
        let valid =
            text.contains("valid") || text.contains("operation not supported for this keytype");
        assert!(valid, "{kind}: {text}");
    }
    assert_eq!(render("{{ genPrivateKey \"x\" }}"), "Unknown type x");
}

// HE-FNC-007, HE-FNC-008
#[test]
fn issues_certificates_that_verify() {
    let text = render(
        r#"{{ $ca := genCA "my ca" 365 }}{{ $leaf := genSignedCert "leaf" (list "10.0.0.1" "::1") (list "a.example" "b") 30 $ca -}}
{{ $ca.Cert }}|{{ $leaf.Cert }}|{{ $leaf.Key }}|{{ (genSelfSignedCertWithKey "é" nil (list "x") 1 (genPrivateKey "ecdsa")).Cert }}"#,
    );
    let parts: Vec<&str> = text.split('|').collect();
    let [ca, leaf, key, own] = parts.as_slice() else {
        panic!("{text}");
    };
    let Some(shown) = openssl(&["x509", "-noout", "-text"], leaf) else {
        println!("skipped: no openssl to read certificates with");
        return;
    };
    for fact in [
        "Version: 3",
        "Issuer: CN = my ca",
        "Subject: CN = leaf",
        "Not Before: Nov 14 22:13:20 2023 GMT",
        "Not After : Dec 14 22:13:20 2023 GMT",
        "DNS:a.example, DNS:b, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "Digital Signature, Key Encipherment",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "CA:FALSE",
    ] {
        assert!(shown.contains(fact), "{fact} is missing: {shown}");
    }
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = dir.join("ca.pem");
    std::fs::write(&file, ca).expect("a file");
    let file = file.to_string_lossy();
    let verified = openssl(
        &["verify", "-no_check_time", "-CAfile", &file, "-x509_strict"],
        leaf,
    );
    assert!(
        verified.is_some_and(|v| v.contains("stdin: OK")),
        "the leaf does not verify"
    );
    let modulus = |kind, text| openssl(&[kind, "-noout", "-modulus"], text);
    assert_eq!(modulus("x509", leaf), modulus("rsa", key));
    let own = openssl(&["x509", "-noout", "-text"], own).unwrap_or_default();
    assert!(
        own.contains("ecdsa-with-SHA256") && own.contains("DNS:x"),
        "{own}"
    );
}

// HE-FNC-008, HE-FNC-009
#[test]
fn invalid_certificates_are_refused() {
    for (template, expected) in [
        (
            r#"{{ genSelfSignedCert "x" (list "no") nil 1 }}"#,
            "error parsing ip: no",
        ),
        (
            r#"{{ genSelfSignedCert "x" (list 1) nil 1 }}"#,
            "error parsing ip: 1 is not a string",
        ),
        (
            r#"{{ genSelfSignedCert "x" nil (list 1) 1 }}"#,
            "error processing alternate dns name: 1 is not a string",
        ),
        (
            r#"{{ buildCustomCert "!" "!" }}"#,
            "unable to decode base64 certificate",
        ),
        (
            r#"{{ buildCustomCert "" "" }}"#,
            "unable to decode certificate",
        ),
        (
            r#"{{ genCAWithKey "x" 1 "no" }}"#,
            "parsing private key: no PEM data in input",
        ),
    ] {
        let text = render(template);
        assert!(text.ends_with(expected), "{template}: {text}");
    }
}
