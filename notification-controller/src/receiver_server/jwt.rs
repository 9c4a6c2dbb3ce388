//! Tokens of OpenID Connect: their signatures, by keys that the issuer publishes, and their claims.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flux_http::{BodyError, Repeat, RequestError, read_body};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::Value;

/// Where Google publishes its keys (NC-RECV-080).
pub(super) const GOOGLE: &str = "https://www.googleapis.com/oauth2/v3/certs";
/// Who signs Google's tokens.
const GOOGLE_ISSUERS: [&str; 2] = ["accounts.google.com", "https://accounts.google.com"];
/// The largest set of keys that is read.
const MAX_KEYS: usize = 1 << 20;
/// The longest token that is read.
const MAX_TOKEN: usize = 64 << 10;
/// How long a document of an issuer is used.
const FRESH: Duration = Duration::from_mins(10);
/// How long at least, whatever keys tokens name: a sender of invalid tokens causes no more requests than this.
const SETTLED: Duration = Duration::from_secs(30);
/// How many documents are kept.
const DOCUMENTS: usize = 100;

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    /// There is no bearer token.
    #[error("the Authorization header is missing or malformed")]
    NoToken,
    /// It is not a JSON Web Token.
    #[error("token is not a JWT")]
    Form,
    /// Its algorithm is not one that issuers use.
    #[error("unsupported signing algorithm")]
    Algorithm,
    /// The issuer has no such key.
    #[error("no key of the issuer has the token's key ID")]
    NoKey,
    /// The signature is of another key or text.
    #[error("failed to verify signature")]
    Signature,
    /// It is too old.
    #[error("token is expired")]
    Expired,
    /// It is not valid yet.
    #[error("token is not valid yet")]
    Early,
    /// It does not say who issued it.
    #[error("token is missing the 'iss' claim")]
    NoIssuer,
    /// The issuer's document is about another issuer.
    #[error("issuer URL provided to client did not match the issuer URL returned by provider")]
    OtherIssuer,
    /// It is for another service.
    #[error("invalid ID token: audience is '{have}', want '{want}'")]
    Audience {
        /// The audience of the token.
        have: String,
        /// The audience that it must have.
        want: String,
    },
    /// It is of another issuer.
    #[error("token issuer is '{0}', want 'accounts.google.com' or 'https://accounts.google.com'")]
    Issuer(String),
    /// It is of another account.
    #[error("token email is '{have}', want '{want}'")]
    Email {
        /// The account of the token.
        have: String,
        /// The account that it must be of.
        want: String,
    },
    /// The issuer does not vouch for the account.
    #[error("token email '{0}' is not verified")]
    Unverified(String),
    /// The keys could not be fetched.
    #[error("failed to fetch keys")]
    Fetch(#[from] RequestError),
    /// The keys could not be read.
    #[error("failed to read keys")]
    Body(#[from] BodyError),
    /// The issuer answers something else.
    #[error("the issuer answers {0}")]
    Answer(u16),
}

/// The audience of tokens for a provider that names none (NC-RECV-011).
pub(super) const AUDIENCE: &str = "notification-controller";
/// How much later than now a token may begin to be valid, in seconds (NC-RECV-084).
const EARLY: f64 = 300.0;

/// Who issued a token, by its own words (NC-RECV-083).
pub(super) fn unverified_issuer(token: &str) -> Result<String, IssuerError> {
    let token = Token::parse(token)?;
    let issuer = token.claims["iss"].as_str().unwrap_or_default();
    if issuer.is_empty() {
        return Err(IssuerError::NoIssuer);
    }
    Ok(issuer.to_owned())
}

/// A document, and when it was fetched.
type Kept = (Instant, Arc<Value>);

/// The documents of issuers, each kept for a while. Clones share them.
#[derive(Clone)]
pub(super) struct Documents {
    client: reqwest::Client,
    kept: Arc<Mutex<HashMap<String, Kept>>>,
}

impl Documents {
    /// Documents that are fetched by this client.
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            kept: Arc::default(),
        }
    }

    /// The document at an address, which was fetched at most `age` ago.
    async fn get(&self, address: &str, age: Duration) -> Result<Arc<Value>, IssuerError> {
        if let Some((at, document)) = self.kept().get(address)
            && at.elapsed() < age
        {
            return Ok(document.clone());
        }
        let document = Arc::new(fetch(&self.client, address).await?);
        let mut kept = self.kept();
        if kept.len() >= DOCUMENTS && !kept.contains_key(address) {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                kept.remove(&oldest);
            }
        }
        kept.insert(address.to_owned(), (Instant::now(), document.clone()));
        Ok(document)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Arc<Value>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks a token's signature by the keys at an address. Keys that do not have the one that the token names are fetched
    /// anew: the issuer may have added it.
    async fn check(&self, token: &Token<'_>, keys: &str) -> Result<(), IssuerError> {
        let known = self.get(keys, FRESH).await?;
        match token.verify(&known) {
            Err(IssuerError::NoKey) => token.verify(&*self.get(keys, SETTLED).await?),
            verdict => verdict,
        }
    }
}

/// Issuers that publish where their keys are (NC-RECV-084).
pub(super) struct Issuers {
    documents: Documents,
}

impl Issuers {
    /// Issuers with these documents.
    pub(super) fn new(documents: Documents) -> Self {
        Self { documents }
    }

    /// The claims of a token, if the issuer has signed it for this audience.
    pub(super) async fn verify(
        &self,
        issuer: &str,
        token: &str,
        audience: &str,
    ) -> Result<Value, IssuerError> {
        let token = Token::parse(token)?;
        // What the token says against itself needs no request (NC-RECV-087).
        check_times_and_audience(&token.claims, audience, SystemTime::now())?;
        let base = issuer.trim_end_matches('/');
        let address = format!("{base}/.well-known/openid-configuration");
        let document = self.documents.get(&address, FRESH).await?;
        if document["issuer"] != issuer {
            return Err(IssuerError::OtherIssuer);
        }
        let algorithm = token.header["alg"].as_str().unwrap_or_default();
        let allowed = document["id_token_signing_alg_values_supported"].as_array();
        let is_allowed = match allowed.filter(|allowed| !allowed.is_empty()) {
            Some(allowed) => allowed.iter().any(|other| other == algorithm),
            None => algorithm == "RS256",
        };
        if !is_allowed {
            return Err(IssuerError::Algorithm);
        }
        let keys = document["jwks_uri"].as_str().unwrap_or_default();
        self.documents.check(&token, keys).await?;
        Ok(token.claims)
    }
}

fn check_times_and_audience(
    claims: &Value,
    audience: &str,
    now: SystemTime,
) -> Result<(), IssuerError> {
    let is_for = |value: &Value| value == audience;
    let audiences = &claims["aud"];
    let among = audiences
        .as_array()
        .is_some_and(|all| all.iter().any(is_for));
    if !is_for(audiences) && !among {
        return Err(IssuerError::Audience {
            have: audiences.as_str().unwrap_or_default().to_owned(),
            want: audience.to_owned(),
        });
    }
    let now = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    if claims["exp"].as_f64().is_none_or(|until| until < now) {
        return Err(IssuerError::Expired);
    }
    if claims["nbf"]
        .as_f64()
        .is_some_and(|from| from > now + EARLY)
    {
        return Err(IssuerError::Early);
    }
    Ok(())
}

/// A JSON document of an issuer.
async fn fetch(client: &reqwest::Client, address: &str) -> Result<Value, IssuerError> {
    let response = flux_http::send(client.get(address), Repeat::Idempotent).await?;
    let status = response.status();
    let body = read_body(response, MAX_KEYS).await?;
    if !status.is_success() {
        return Err(IssuerError::Answer(status.as_u16()));
    }
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

/// The published keys of an issuer.
pub(super) struct Keys {
    documents: Documents,
    address: String,
}

impl Keys {
    /// The keys at an address.
    pub(super) fn new(documents: Documents, address: impl Into<String>) -> Self {
        Self {
            documents,
            address: address.into(),
        }
    }
}

/// A token that was taken apart; nothing in it is verified.
struct Token<'t> {
    signed: &'t str,
    signature: Vec<u8>,
    header: Value,
    claims: Value,
}

impl<'t> Token<'t> {
    fn parse(text: &'t str) -> Result<Self, IssuerError> {
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = *parts else {
            return Err(IssuerError::Form);
        };
        if text.len() > MAX_TOKEN {
            return Err(IssuerError::Form);
        }
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| IssuerError::Form);
        let json = |part: &str| {
            serde_json::from_slice::<Value>(&bytes(part)?).map_err(|_| IssuerError::Form)
        };
        let (header, claims) = (json(header)?, json(claims)?);
        Ok(Self {
            signed: text.rsplit_once('.').map_or("", |(signed, _)| signed),
            signature: bytes(signature)?,
            header,
            claims,
        })
    }

    /// Checks the signature by the key of the set that the token names.
    fn verify(&self, keys: &Value) -> Result<(), IssuerError> {
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (algorithm, id) = (text(&self.header, "alg"), text(&self.header, "kid"));
        let keys = keys["keys"].as_array().into_iter().flatten();
        let mut named = keys
            .filter(|key| id.is_empty() || text(key, "kid") == id)
            .peekable();
        if named.peek().is_none() {
            return Err(IssuerError::NoKey);
        }
        for key in named {
            match self.verify_by(key, &algorithm) {
                Err(IssuerError::Signature) => {}
                other => return other,
            }
        }
        Err(IssuerError::Signature)
    }

    fn verify_by(&self, key: &Value, algorithm: &str) -> Result<(), IssuerError> {
        let part = |name: &str| {
            let text = key[name].as_str().unwrap_or_default();
            URL_SAFE_NO_PAD.decode(text).map_err(|_| IssuerError::NoKey)
        };
        let signed = self.signed.as_bytes();
        let rsa = |parameters: &signature::RsaParameters| {
            let key = RsaPublicKeyComponents {
                n: part("n")?,
                e: part("e")?,
            };
            key.verify(parameters, signed, &self.signature)
                .map_err(|_| IssuerError::Signature)
        };
        let point = |verification: &'static dyn signature::VerificationAlgorithm| {
            let point = [&[4][..], &part("x")?, &part("y")?].concat();
            UnparsedPublicKey::new(verification, point)
                .verify(signed, &self.signature)
                .map_err(|_| IssuerError::Signature)
        };
        match (algorithm, key["kty"].as_str().unwrap_or_default()) {
            ("RS256", "RSA") => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            ("RS384", "RSA") => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            ("RS512", "RSA") => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            ("PS256", "RSA") => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            ("PS384", "RSA") => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            ("PS512", "RSA") => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            ("ES256", "EC") => point(&signature::ECDSA_P256_SHA256_FIXED),
            ("ES384", "EC") => point(&signature::ECDSA_P384_SHA384_FIXED),
            _ => Err(IssuerError::Algorithm),
        }
    }
}

/// Checks that a request carries a token of Google's for an account and an audience (NC-RECV-080).
pub(super) async fn verify_google(
    keys: &Keys,
    authorization: &str,
    email: &str,
    audience: &str,
) -> Result<(), IssuerError> {
    let token = bearer(authorization)?;
    let token = Token::parse(token)?;
    // Without need, nothing is fetched (NC-RECV-087).
    check_google(&token, email, audience, SystemTime::now())?;
    keys.documents.check(&token, &keys.address).await
}

pub(super) fn bearer(authorization: &str) -> Result<&str, IssuerError> {
    authorization
        .strip_prefix("Bearer ")
        .ok_or(IssuerError::NoToken)
}

fn check_google(
    token: &Token<'_>,
    email: &str,
    audience: &str,
    now: SystemTime,
) -> Result<(), IssuerError> {
    let claims = &token.claims;
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let now = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    if claims["exp"].as_f64().is_none_or(|until| until < now) {
        return Err(IssuerError::Expired);
    }
    if text("aud") != audience {
        return Err(IssuerError::Audience {
            have: text("aud"),
            want: audience.to_owned(),
        });
    }
    if !GOOGLE_ISSUERS.contains(&&*text("iss")) {
        return Err(IssuerError::Issuer(text("iss")));
    }
    if text("email") != email {
        return Err(IssuerError::Email {
            have: text("email"),
            want: email.to_owned(),
        });
    }
    if claims["email_verified"] != true {
        return Err(IssuerError::Unverified(text("email")));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
