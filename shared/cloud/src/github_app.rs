//! GitHub Apps: exchanges an App's key for a token of one of its installations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flux_http::{
    BodyError, GitHubAppData, GitHubAppId, Repeat, RequestError, Secret, read_body, shown_url,
};
use jiff::Timestamp;
use reqwest::{Client, Method, StatusCode, header};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{CacheKey, Token};

/// The Git user name that goes with an installation token as password (SC-AUTH-020).
pub const GIT_USER: &str = "x-access-token";

const PUBLIC_API: &str = "https://api.github.com/";
/// The timeout of one API call (SC-AUTH-073).
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// The tolerated clock drift, in seconds.
const CLOCK_DRIFT: u64 = 30;
/// The lifetime of the App's own token, in seconds; it is used once.
const APP_TOKEN_LIFE: u64 = 120;

/// A GitHub App installation that tokens can be requested for. `Debug` shows no key.
#[derive(Clone, Debug)]
pub struct GitHubApp {
    /// Its ID or client ID, by which it issues its own tokens (RT-SEC-017).
    issuer: Issuer,
    installation: Installation,
    api: Url,
    key: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Issuer {
    Id(u64),
    Client(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Installation {
    Id(u64),
    /// Looked up as an organisation, then as a user.
    Owner(String),
}

/// Why no token could be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitHubAppError {
    /// The App's ID is not a number, or its client ID is empty.
    #[error("app ID must be provided to use github app authentication")]
    AppId,
    /// The installation's ID is not a number, and no owner is given.
    #[error("app installation owner or ID must be provided to use github app authentication")]
    InstallationId,
    /// The private key cannot be used.
    #[error("could not parse private key: {0}")]
    PrivateKey(&'static str),
    /// The base URL is not a URL.
    #[error("invalid API URL")]
    BaseUrl(#[source] url::ParseError),
    /// The API could not be reached.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The API rejected the request. Its response is not shown: it may contain the App's token.
    #[error("{method} {url}: {status}{}", remedy(*status))]
    Refused {
        /// The method.
        method: Method,
        /// The address.
        url: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// The API's response cannot be read.
    #[error("{method} {url}: malformed answer")]
    Answer {
        /// The method.
        method: Method,
        /// The address.
        url: String,
        /// What is wrong with the response.
        #[source]
        source: AnswerError,
    },
    /// The owner is neither an organisation nor a user with an installation.
    #[error(
        "failed to find organization installation: {organization}\nfailed to find user installation: {user}"
    )]
    NoInstallation {
        /// The error of the lookup as organisation; both errors are part of upstream's text.
        organization: Box<GitHubAppError>,
        /// The error of the lookup as user.
        user: Box<GitHubAppError>,
    },
}

/// What is wrong with a response.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is incomplete or too large.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It does not have the documented form. The parser's own error is not kept since it may quote a token.
    #[error("the answer is not the JSON that the API documents (line {line}, column {column})")]
    Json {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
}

#[derive(Deserialize)]
struct Found {
    id: u64,
}

#[derive(Deserialize)]
struct Named {
    slug: String,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
    expires_at: Timestamp,
}

/// A hint for the user, by status.
fn remedy(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => ": the App's ID or private key is not accepted",
        403 => ": the App lacks a permission, or the API's rate limit is reached",
        404 => ": the App has no such installation",
        _ => "",
    }
}

impl GitHubApp {
    /// Creates a client from the data of a Secret (SC-AUTH-019).
    pub fn new(data: GitHubAppData) -> Result<Self, GitHubAppError> {
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|number| *number > 0);
        let issuer = match data.app {
            GitHubAppId::Id(id) => number(&id).map(Issuer::Id),
            GitHubAppId::Client(id) => (!id.trim().is_empty()).then_some(Issuer::Client(id)),
        };
        let issuer = issuer.ok_or(GitHubAppError::AppId)?;
        let owner = data.installation_owner.filter(|owner| !owner.is_empty());
        let installation = match (owner, data.installation_id) {
            (Some(owner), _) => Installation::Owner(owner),
            (None, id) => {
                let id = id.as_deref().and_then(number);
                Installation::Id(id.ok_or(GitHubAppError::InstallationId)?)
            }
        };
        let api = base_url(data.base_url.as_deref().unwrap_or_default())?;
        let app = Self {
            issuer,
            installation,
            api,
            key: data.private_key,
        };
        app.sign(b"")?; // a key that cannot sign is found out at once
        Ok(app)
    }

    /// The key of its tokens in a [`TokenCache`](crate::TokenCache) (SC-AUTH-071, RT-SEC-017).
    pub fn cache_key(&self) -> CacheKey {
        let app = match &self.issuer {
            Issuer::Id(id) => ("app", id.to_string()),
            Issuer::Client(id) => ("client", id.clone()),
        };
        let installation = match &self.installation {
            Installation::Id(id) => id.to_string(),
            Installation::Owner(owner) => format!("@{owner}"),
        };
        CacheKey::of(&[
            (app.0, app.1.as_bytes()),
            ("installation", installation.as_bytes()),
            ("api", self.api.as_str().as_bytes()),
            ("key", self.key.expose()),
        ])
    }

    /// Requests a token of the installation (SC-AUTH-020).
    pub async fn token(&self, client: &Client) -> Result<Token, GitHubAppError> {
        let bearer = self.app_token(SystemTime::now())?;
        let call = Call {
            client,
            bearer: &bearer,
        };
        let id = match &self.installation {
            Installation::Id(id) => *id,
            Installation::Owner(owner) => self.find(&call, owner).await?,
        };
        let url = self.url(&["app", "installations", &id.to_string(), "access_tokens"]);
        let issued: Issued = call.send(Method::POST, url).await?;
        Ok(Token {
            value: Secret::new(issued.token),
            expires: issued.expires_at.into(),
        })
    }

    /// The App's name in addresses, of which the name of its comments' author is made (NC-GITHUBPULLREQUESTCOMMENT-003).
    pub async fn slug(&self, client: &Client) -> Result<String, GitHubAppError> {
        let bearer = self.app_token(SystemTime::now())?;
        let call = Call {
            client,
            bearer: &bearer,
        };
        let app: Named = call.send(Method::GET, self.url(&["app"])).await?;
        Ok(app.slug)
    }

    async fn find(&self, call: &Call<'_>, owner: &str) -> Result<u64, GitHubAppError> {
        let url = self.url(&["orgs", owner, "installation"]);
        let organization = match call.send::<Found>(Method::GET, url).await {
            Ok(found) => return Ok(found.id),
            Err(error) => Box::new(error),
        };
        let url = self.url(&["users", owner, "installation"]);
        match call.send::<Found>(Method::GET, url).await {
            Ok(found) => Ok(found.id),
            Err(error) => Err(GitHubAppError::NoInstallation {
                organization,
                user: Box::new(error),
            }),
        }
    }

    fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// The token of the App itself: a JWT signed with RS256 (SC-AUTH-020).
    fn app_token(&self, now: SystemTime) -> Result<Secret, GitHubAppError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let issued = now.saturating_sub(CLOCK_DRIFT);
        let header = serde_json::json!({"alg": "RS256", "typ": "JWT"});
        let issuer = match &self.issuer {
            Issuer::Id(id) => id.to_string(),
            Issuer::Client(id) => id.clone(),
        };
        let claims =
            serde_json::json!({"iat": issued, "exp": issued + APP_TOKEN_LIFE, "iss": issuer});
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes())?);
        Ok(Secret::new(format!("{signed}.{signature}")))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, GitHubAppError> {
        let unusable = GitHubAppError::PrivateKey;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose());
        let key = key.map_err(|_| unusable("it is not a private key in PEM form"))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key);
        let key = key.map_err(|_| unusable("it is of a kind or size that is not supported"))?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signer = signer.ok_or(unusable("it is not an RSA key"))?;
        signer.sign(message).map_err(|_| unusable("it cannot sign"))
    }
}

/// The API's address: GitHub's own, or that of an enterprise server, used unchanged (SC-AUTH-021, RT-WID-021).
fn base_url(text: &str) -> Result<Url, GitHubAppError> {
    let text = if text.is_empty() { PUBLIC_API } else { text };
    let mut url = Url::parse(text).map_err(GitHubAppError::BaseUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(GitHubAppError::BaseUrl(
            url::ParseError::RelativeUrlWithoutBase,
        ));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

struct Call<'c> {
    client: &'c Client,
    bearer: &'c Secret,
}

impl Call<'_> {
    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
    ) -> Result<T, GitHubAppError> {
        let request = self
            .client
            .request(method.clone(), url.clone())
            .timeout(TIMEOUT)
            .bearer_auth(self.bearer.expose_text())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::USER_AGENT, "flux");
        let url = shown_url(&url);
        // A repeated request leaves one token unused, which expires by itself.
        let response = flux_http::send(request, Repeat::Idempotent).await?;
        let status = response.status();
        let body = read_body(response, MAX_ANSWER).await;
        if !status.is_success() {
            return Err(GitHubAppError::Refused {
                method,
                url,
                status,
            });
        }
        let answer = body.map_err(AnswerError::from);
        let answer = answer.and_then(|body| {
            serde_json::from_slice(&body).map_err(|error| AnswerError::Json {
                line: error.line(),
                column: error.column(),
            })
        });
        answer.map_err(|source| GitHubAppError::Answer {
            method,
            url,
            source,
        })
    }
}

#[cfg(test)]
mod tests;
