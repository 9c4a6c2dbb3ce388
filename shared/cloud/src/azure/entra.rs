//! Tokens of Entra ID by the grant of client credentials.

use flux_http::Secret;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::certificate::Certificate;
use super::{Error, cloud, managed};
use crate::client::{self, Answer, AnswerError, CallError, CloudClient};
use crate::token_cache::Token;

/// The type of an assertion in place of a client secret.
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a Secret holds for Azure (SC-AUTH-065). `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A service principal with a secret.
    ClientSecret {
        /// The tenant.
        tenant: String,
        /// The client.
        client: String,
        /// Its secret.
        secret: Secret,
        /// The authority, `None` for the environment's.
        authority: Option<String>,
    },
    /// A service principal with a certificate.
    ClientCertificate {
        /// The tenant.
        tenant: String,
        /// The client.
        client: String,
        /// Its certificate with key.
        certificate: Box<Certificate>,
        /// The authority, `None` for the environment's.
        authority: Option<String>,
    },
    /// The identity that Azure has assigned to the machine.
    ManagedIdentity {
        /// The client, `None` for the only identity.
        client: Option<String>,
    },
}

impl Credential {
    /// Requests a token for a scope.
    ///
    /// # Errors
    /// Entra ID refuses or cannot be reached.
    pub async fn token(&self, client: &CloudClient, scope: &str) -> Result<Token, Error> {
        match self {
            Self::ClientSecret {
                tenant,
                client: id,
                secret,
                authority,
            } => {
                let proof = Proof::Secret(secret);
                let url = token_url(client, authority.as_deref(), tenant)?;
                let asked = request(client, url, id, &proof, scope).await;
                asked.map_err(|source| Error::Token {
                    credential: "ClientSecretCredential",
                    source,
                })
            }
            Self::ClientCertificate {
                tenant,
                client: id,
                certificate,
                authority,
            } => {
                let url = token_url(client, authority.as_deref(), tenant)?;
                let assertion = certificate.assertion(id, url.as_str())?;
                let proof = Proof::Assertion(&assertion);
                let asked = request(client, url, id, &proof, scope).await;
                asked.map_err(|source| Error::Token {
                    credential: "ClientCertificateCredential",
                    source,
                })
            }
            Self::ManagedIdentity { client: id } => {
                managed::token(client, id.as_deref(), scope).await
            }
        }
    }
}

/// Exchanges a token of another issuer, such as that of a ServiceAccount (RT-WID-010).
///
/// # Errors
/// Entra ID refuses or cannot be reached.
pub async fn federated_token(
    client: &CloudClient,
    tenant: &str,
    id: &str,
    assertion: &Secret,
    scope: &str,
) -> Result<Token, Error> {
    let url = token_url(client, None, tenant)?;
    let proof = Proof::Assertion(assertion);
    let asked = request(client, url, id, &proof, scope).await;
    asked.map_err(|source| Error::Token {
        credential: "ClientAssertionCredential",
        source,
    })
}

/// How a client proves who it is.
enum Proof<'a> {
    Secret(&'a Secret),
    Assertion(&'a Secret),
}

async fn request(
    cloud: &CloudClient,
    url: Url,
    id: &str,
    proof: &Proof<'_>,
    scope: &str,
) -> Result<Token, CallError> {
    let (Proof::Secret(secret) | Proof::Assertion(secret)) = proof;
    let text = secret.expose_text();
    let mut pairs = vec![
        ("client_id", id),
        ("grant_type", "client_credentials"),
        ("scope", scope),
    ];
    match proof {
        Proof::Secret(_) => pairs.push(("client_secret", &text)),
        Proof::Assertion(_) => {
            pairs.push(("client_assertion_type", ASSERTION));
            pairs.push(("client_assertion", &text));
        }
    }
    let request = cloud
        .http()
        .request(Method::POST, url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(client::form(&pairs));
    token(&client::call(request, reason, &[secret]).await?)
}

/// The address of a tenant's tokens.
fn token_url(client: &CloudClient, authority: Option<&str>, tenant: &str) -> Result<Url, Error> {
    let own = cloud::authority(client.environment());
    let authority = authority.filter(|text| !text.is_empty()).unwrap_or(&own);
    let is_valid = !tenant.is_empty()
        && tenant
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && tenant != "."
        && tenant != "..";
    if !is_valid {
        return Err(Error::InvalidTenant);
    }
    let authority = authority.trim_end_matches('/');
    let url = Url::parse(&format!("{authority}/{tenant}/oauth2/v2.0/token"));
    let url = url.map_err(|_| Error::InvalidAuthority)?;
    if url.scheme() != "https" {
        return Err(Error::InvalidAuthority);
    }
    Ok(url)
}

/// A response with a token. Entra ID writes numbers, the metadata server texts.
#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: Option<Value>,
    expires_on: Option<Value>,
}

/// The token in a response.
pub(super) fn token(answer: &Answer) -> Result<Token, CallError> {
    let issued: Issued = answer.json()?;
    let number = |value: Option<&Value>| match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let expires = match (number(issued.expires_in.as_ref()), issued.expires_on) {
        (Some(seconds), _) => client::after(seconds),
        (None, on) => {
            let on = number(on.as_ref());
            let on = on.ok_or_else(|| answer.malformed(AnswerError::Missing("expires_in")))?;
            client::at(on as f64)
        }
    };
    if issued.access_token.is_empty() {
        return Err(answer.malformed(AnswerError::Missing("access_token")));
    }
    Ok(Token {
        value: Secret::new(issued.access_token),
        expires,
    })
}

/// Code and explanation of a refusal, without the trace that follows them.
pub(super) fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let description = refusal.error_description;
    let description = description.split("Trace ID:").next().unwrap_or_default();
    Some(format!("{}: {}", refusal.error, description.trim()))
}
