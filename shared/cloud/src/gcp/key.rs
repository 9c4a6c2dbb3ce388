//! JSON keys of service accounts.

use std::time::{SystemTime, UNIX_EPOCH};

use flux_http::Secret;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::error::{Error, reason};
use super::{SCOPES, federation};
use crate::client::{self, CloudClient};
use crate::jwt::{self, Algorithm};
use crate::token_cache::Token;

/// The only type of credentials that a Secret may hold (SC-AUTH-075).
const TYPE: &str = "service_account";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// For how long an assertion is valid, in seconds.
const ASSERTION_LIFE: u64 = 3600;

/// The JSON key of a service account. `Debug` shows no key.
#[derive(Clone, Debug)]
pub struct ServiceAccountKey {
    email: String,
    key_id: String,
    key: Secret,
    token_url: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    #[serde(default)]
    private_key: String,
    #[serde(default)]
    token_uri: String,
}

impl ServiceAccountKey {
    /// Reads a key. Credential configurations of every other kind are refused, since they can name files and addresses
    /// of the controller's surroundings (SC-AUTH-064, SC-AUTH-075).
    ///
    /// # Errors
    /// It is no JSON, of another type, incomplete, or its private key cannot sign.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        // The parser's own error could quote the key.
        let written: Written =
            serde_json::from_slice(text).map_err(|_| Error::Key("it is not valid JSON"))?;
        if written.kind != TYPE {
            let kind = written.kind.chars().take(100).collect();
            return Err(Error::KeyType(kind));
        }
        if written.client_email.is_empty() || written.private_key.is_empty() {
            return Err(Error::Key("client_email and private_key are needed"));
        }
        let token_url = match written.token_uri.as_str() {
            "" => TOKEN_URL.to_owned(),
            url if federation::is_usable(url) => url.to_owned(),
            _ => return Err(Error::Key("token_uri is not an https URL")),
        };
        let key = Self {
            email: written.client_email,
            key_id: written.private_key_id,
            key: Secret::new(written.private_key),
            token_url,
        };
        key.assertion(0)?; // a key that cannot sign is found out at once
        Ok(key)
    }

    /// The address of the service account.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// Requests a token.
    ///
    /// # Errors
    /// Google refuses or cannot be reached.
    pub async fn token(&self, cloud: &CloudClient) -> Result<Token, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let assertion = self.assertion(now.unwrap_or_default().as_secs())?;
        let body = client::form(&[
            ("grant_type", GRANT),
            ("assertion", &assertion.expose_text()),
        ]);
        let request = cloud
            .http()
            .request(Method::POST, &self.token_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = client::call(request, reason, &[&assertion]).await;
        let token = answer.and_then(|answer| federation::token(&answer));
        token.map_err(Error::Exchange)
    }

    fn assertion(&self, now: u64) -> Result<Secret, Error> {
        let key = jwt::private_key(&self.key).map_err(Error::Key)?;
        let claims = json!({
            "iss": self.email,
            "scope": SCOPES.join(" "),
            "aud": self.token_url,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
        });
        let header = json!({"kid": self.key_id});
        jwt::signed(&key, Algorithm::Rs256, header, &claims).map_err(Error::Key)
    }
}
