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

#[test]
fn tokens_are_for_one_audience_and_a_time() {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let check = |claims: Value| {
        let checked = check_times_and_audience(&claims, "us", now);
        checked.map_err(|error| error.to_string())
    };
    // NC-RECV-084
    assert_eq!(check(json!({"aud": "us", "exp": NOW})), Ok(()));
    assert_eq!(
        check(json!({"aud": ["them", "us"], "exp": NOW, "nbf": NOW + 299})),
        Ok(())
    );
    for (claims, want) in [
        (
            json!({"aud": "them", "exp": NOW}),
            "invalid ID token: audience is 'them', want 'us'",
        ),
        (
            json!({"exp": NOW}),
            "invalid ID token: audience is '', want 'us'",
        ),
        (json!({"aud": "us", "exp": NOW - 1}), "token is expired"),
        (json!({"aud": "us"}), "token is expired"),
        (
            json!({"aud": "us", "exp": NOW, "nbf": NOW + 301}),
            "token is not valid yet",
        ),
    ] {
        assert_eq!(check(claims.clone()).unwrap_err(), want, "{claims}");
    }
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_where_its_document_says() {
    use crate::provider::service::Service;

    let issuer = Issuer::new();
    let until = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 600;
    let header = json!({"alg": "ES256", "kid": "k1"});
    let ok = |body: Value| (200, vec![], body.to_string());
    let keys = Service::start(vec![ok(issuer.keys("k1"))]).await;
    let client = flux_http::ClientOptions::default().build().unwrap();
    let issuers = Issuers::new(Documents::new(client));
    let document = |issuer: &str, algorithms: Value| json!({"issuer": issuer, "jwks_uri": format!("{}/keys", keys.url), "id_token_signing_alg_values_supported": algorithms});
    // The service does not know its address before it runs, so the document is about a fixed one.
    let good = Service::start(vec![ok(document("x", json!(["ES256"])))]).await;
    let token = issuer.sign(
        &header,
        &json!({"iss": good.url, "aud": AUDIENCE, "exp": until, "sub": "me"}),
    );
    // NC-RECV-083
    assert_eq!(unverified_issuer(&token).unwrap(), good.url);
    // NC-RECV-084
    let other = issuers
        .verify(&good.url, &token, AUDIENCE)
        .await
        .unwrap_err();
    assert!(matches!(other, IssuerError::OtherIssuer), "{other}");
    assert_eq!(good.lines(), ["GET /.well-known/openid-configuration"]);
    for (algorithms, is_good) in [(json!(["RS256", "ES256"]), true), (json!(null), false)] {
        let address = crate::provider::service::free_address().await;
        let service = Service::start_at(
            &address,
            vec![ok(document(&format!("http://{address}"), algorithms))],
        )
        .await;
        let claims = issuers.verify(&service.url, &token, AUDIENCE).await;
        assert_eq!(claims.is_ok(), is_good);
        if let Ok(claims) = claims {
            assert_eq!(claims["sub"], "me");
            assert_eq!(keys.lines(), ["GET /keys"]);
        }
    }
    // NC-RECV-087: what the token says against itself needs no request
    let before = good.lines().len();
    let late = issuer.sign(
        &header,
        &json!({"iss": good.url, "aud": AUDIENCE, "exp": 1}),
    );
    assert!(matches!(
        issuers.verify(&good.url, &late, AUDIENCE).await,
        Err(IssuerError::Expired)
    ));
    assert_eq!(good.lines().len(), before);
    assert!(matches!(unverified_issuer("a.b"), Err(IssuerError::Form)));
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_the_issuer_has_a_new_one() {
    use crate::provider::service::Service;

    let issuer = Issuer::new();
    let token = |id: &str| {
        let claims = json!({"sub": "me"});
        issuer.sign(&json!({"alg": "ES256", "kid": id}), &claims)
    };
    let ok = |id: &str| (200, vec![], issuer.keys(id).to_string());
    let keys = Service::start(vec![ok("k1"), ok("k2")]).await;
    let client = flux_http::ClientOptions::default().build().unwrap();
    let documents = Documents::new(client);
    let check = async |token: &str| {
        let token = Token::parse(token).unwrap();
        documents.check(&token, &keys.url).await
    };
    // NC-RECV-084
    for _ in 0..3 {
        check(&token("k1")).await.unwrap();
    }
    assert_eq!(keys.lines().len(), 1);
    // Whatever keys tokens name, the issuer is not asked all the time.
    for _ in 0..3 {
        let unknown = check(&token("k2")).await.unwrap_err();
        assert!(matches!(unknown, IssuerError::NoKey), "{unknown}");
    }
    assert_eq!(keys.lines().len(), 1);
    // As if the pause were over.
    for (at, _) in documents.kept().values_mut() {
        *at = at.checked_sub(SETTLED).unwrap();
    }
    check(&token("k2")).await.unwrap();
    assert_eq!(keys.lines().len(), 2);
    // What is kept has a bound.
    for number in 0..2 * DOCUMENTS {
        let address = format!("{}/{number}", keys.url);
        documents.get(&address, FRESH).await.unwrap();
    }
    assert_eq!(documents.kept().len(), DOCUMENTS);
}
