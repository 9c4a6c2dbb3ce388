//! Tokens that an issuer of the test's own signs.

use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

/// An issuer with one key.
struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self { key, random }
    }

    /// The key as it is published.
    fn keys(&self, id: &str) -> Value {
        let point = self.key.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [
            {"kty": "RSA", "kid": "other", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "kid": id, "x": part(&point[1..33]), "y": part(&point[33..])},
        ]})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

const NOW: u64 = 1_700_000_000;

fn claims() -> Value {
    json!({
        "iss": "https://accounts.google.com",
        "aud": "https://hook",
        "email": "robot@p.iam.gserviceaccount.com",
        "email_verified": true,
        "exp": NOW + 60,
    })
}

fn verdict(token: &str, keys: &Value) -> Result<(), String> {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let checked = Token::parse(token).and_then(|token| {
        check_google(
            &token,
            "robot@p.iam.gserviceaccount.com",
            "https://hook",
            now,
        )?;
        token.verify(keys)
    });
    checked.map_err(|error| error.to_string())
}

#[test]
fn tokens_are_checked_by_signature_and_claims() {
    let issuer = Issuer::new();
    let header = json!({"alg": "ES256", "kid": "k1"});
    let keys = issuer.keys("k1");
    // NC-RECV-080
    assert_eq!(verdict(&issuer.sign(&header, &claims()), &keys), Ok(()));
    for (field, value, want) in [
        ("exp", json!(NOW - 1), "token is expired"),
        ("exp", json!("x"), "token is expired"),
        (
            "aud",
            json!("other"),
            "invalid ID token: audience is 'other', want 'https://hook'",
        ),
        (
            "iss",
            json!("evil"),
            "token issuer is 'evil', want 'accounts.google.com' or 'https://accounts.google.com'",
        ),
        (
            "email",
            json!("me"),
            "token email is 'me', want 'robot@p.iam.gserviceaccount.com'",
        ),
        (
            "email_verified",
            json!("true"),
            "token email 'robot@p.iam.gserviceaccount.com' is not verified",
        ),
    ] {
        let mut changed = claims();
        changed[field] = value;
        let token = issuer.sign(&header, &changed);
        assert_eq!(verdict(&token, &keys).unwrap_err(), want);
    }
    let mut short = claims();
    short["iss"] = json!("accounts.google.com");
    assert_eq!(verdict(&issuer.sign(&header, &short), &keys), Ok(()));
}

#[test]
fn forged_tokens_are_refused() {
    let issuer = Issuer::new();
    let header = json!({"alg": "ES256", "kid": "k1"});
    let good = issuer.sign(&header, &claims());
    let keys = issuer.keys("k1");
    // NC-RECV-080
    let other = Issuer::new().sign(&header, &claims());
    assert_eq!(
        verdict(&other, &keys).unwrap_err(),
        "failed to verify signature"
    );
    let (signed, _) = good.rsplit_once('.').unwrap();
    assert_eq!(
        verdict(&format!("{signed}."), &keys).unwrap_err(),
        "failed to verify signature"
    );
    assert_eq!(
        verdict(&good, &issuer.keys("k2")).unwrap_err(),
        "no key of the issuer has the token's key ID"
    );
    for algorithm in ["none", "HS256", "RS256"] {
        let header = json!({"alg": algorithm, "kid": "k1"});
        let token = issuer.sign(&header, &claims());
        assert_eq!(
            verdict(&token, &keys).unwrap_err(),
            "unsupported signing algorithm"
        );
    }
    for text in ["", "a.b", "a.b.c.d", "!.!.!"] {
        assert_eq!(
            verdict(text, &keys).unwrap_err(),
            "token is not a JWT",
            "{text}"
        );
    }
    assert!(bearer("bearer x").is_err() && bearer("").is_err());
    assert_eq!(bearer("Bearer x").unwrap(), "x");
}
