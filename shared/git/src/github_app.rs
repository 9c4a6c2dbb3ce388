//! Installation tokens of GitHub Apps (RT-WID-020, RT-WID-021).
//!
//! A token is minted anew for every call; keeping it is the work of a token cache.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flux_http::{ClientOptions, GitHubAppData, Secret, read_body};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use url::Url;

use crate::error::chain;

/// The user that goes with a token in Git's basic authentication.
pub const ACCESS_TOKEN_USER: &str = "x-access-token";
const DEFAULT_API: &str = "https://api.github.com/";
const MAX_ANSWER: usize = 1 << 20;

/// A GitHub App installation.
pub struct GitHubApp {
    app_id: i64,
    installation: Installation,
    key: Arc<dyn SigningKey>,
    api: Url,
    client: reqwest::Client,
}

enum Installation {
    Id(i64),
    Owner(String),
}

/// A token of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppToken {
    /// The token.
    pub token: Secret,
    /// When it stops working.
    pub expires_at: jiff::Timestamp,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitHubAppError {
    /// The ID of the App is not a positive number.
    #[error("app ID must be provided to use github app authentication")]
    AppId,
    /// Neither owner nor ID of the installation is usable.
    #[error("app installation owner or ID must be provided to use github app authentication")]
    Installation,
    /// The private key is not a PEM RSA key.
    #[error("could not parse private key: {0}")]
    PrivateKey(&'static str),
    /// The API's address is not a URL.
    #[error("invalid API URL")]
    ApiUrl(#[source] url::ParseError),
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] flux_http::BuildError),
    /// The installation of the owner could not be found, neither as an organisation nor as a user.
    #[error(
        "failed to find organization installation: {organization}\nfailed to find user installation: {user}"
    )]
    NotInstalled {
        /// The answer for an organisation.
        organization: String,
        /// The answer for a user.
        user: String,
    },
    /// The API did not give a token.
    #[error("failed to create an installation token: {0}")]
    Refused(String),
    /// The request could not be signed.
    #[error("failed to sign the request")]
    Signature,
}

#[derive(serde::Deserialize)]
struct InstallationAnswer {
    id: i64,
}

#[derive(serde::Deserialize)]
struct TokenAnswer {
    token: String,
    expires_at: jiff::Timestamp,
}

impl GitHubApp {
    /// Reads the credentials of a Secret; `http` brings proxy and TLS settings. Nothing is sent yet.
    pub fn new(data: &GitHubAppData, http: &ClientOptions) -> Result<Self, GitHubAppError> {
        let number = |text: &str| text.trim().parse::<i64>().ok().filter(|number| *number > 0);
        let app_id = number(&data.app_id).ok_or(GitHubAppError::AppId)?;
        let installation = match (&data.installation_id, &data.installation_owner) {
            (Some(id), _) => Installation::Id(number(id).ok_or(GitHubAppError::Installation)?),
            (None, Some(owner)) if !owner.is_empty() => Installation::Owner(owner.clone()),
            _ => return Err(GitHubAppError::Installation),
        };
        let key = PrivateKeyDer::from_pem_slice(data.private_key.expose())
            .map_err(|_| GitHubAppError::PrivateKey("it is not a PEM key"))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key)
            .map_err(|_| GitHubAppError::PrivateKey("the key is not supported"))?;
        if key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .is_none()
        {
            return Err(GitHubAppError::PrivateKey("it is not an RSA key"));
        }
        // The address is taken exactly as given, a slash at its end apart: upstream's detour over `/api/v3/` ends there too.
        let mut api = data
            .base_url
            .clone()
            .filter(|url| !url.is_empty())
            .unwrap_or_else(|| DEFAULT_API.to_owned());
        if !api.ends_with('/') {
            api.push('/');
        }
        let api = Url::parse(&api).map_err(GitHubAppError::ApiUrl)?;
        Ok(Self {
            app_id,
            installation,
            key,
            api,
            client: http.build()?,
        })
    }

    /// Asks for a token.
    pub async fn token(&self) -> Result<AppToken, GitHubAppError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        let jwt = self.jwt(now)?;
        let id = match &self.installation {
            Installation::Id(id) => *id,
            Installation::Owner(owner) => self.find(owner, &jwt).await?,
        };
        let path = format!("app/installations/{id}/access_tokens");
        let answer: TokenAnswer = self
            .ask(reqwest::Method::POST, &[&path], &jwt)
            .await
            .map_err(GitHubAppError::Refused)?;
        Ok(AppToken {
            token: Secret::new(answer.token),
            expires_at: answer.expires_at,
        })
    }

    /// The owner as organisation, then as user.
    async fn find(&self, owner: &str, jwt: &Secret) -> Result<i64, GitHubAppError> {
        let ask = async |kind: &str| {
            let path = [kind, owner, "installation"];
            self.ask::<InstallationAnswer>(reqwest::Method::GET, &path, jwt)
                .await
        };
        let organization = match ask("orgs").await {
            Ok(found) => return Ok(found.id),
            Err(reason) => reason,
        };
        match ask("users").await {
            Ok(found) => Ok(found.id),
            Err(user) => Err(GitHubAppError::NotInstalled { organization, user }),
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &[&str],
        jwt: &Secret,
    ) -> Result<T, String> {
        let mut url = self.api.clone();
        {
            let mut segments = url
                .path_segments_mut()
                .map_err(|()| "the API URL has no path".to_owned())?;
            segments.pop_if_empty();
            for (index, part) in path.iter().enumerate() {
                // The first part is ours and may have slashes; an owner is one segment, whatever it holds.
                if index == 0 {
                    segments.extend(part.split('/'));
                } else {
                    segments.push(part);
                }
            }
        }
        let shown = format!("{method} {url}");
        let request = self
            .client
            .request(method, url)
            .header("Accept", "application/vnd.github+json")
            .header(
                "User-Agent",
                concat!("flux-git/", env!("CARGO_PKG_VERSION")),
            )
            .bearer_auth(jwt.expose_text());
        let response = request
            .send()
            .await
            .map_err(|error| format!("{shown}: {}", chain(&error.without_url())))?;
        let status = response.status();
        let body = read_body(response, MAX_ANSWER)
            .await
            .map_err(|error| format!("{shown}: {}", chain(&error)))?;
        if !status.is_success() {
            let message = serde_json::from_slice::<serde_json::Value>(&body)
                .ok()
                .and_then(|answer| answer.get("message")?.as_str().map(str::to_owned))
                .unwrap_or_default();
            return Err(format!("{shown}: {} {message}", status.as_u16())
                .trim_end()
                .to_owned());
        }
        // The answer holds the token: what is wrong with it is said without quoting it.
        serde_json::from_slice(&body).map_err(|error| {
            format!(
                "{shown}: the answer is not what it should be (line {}, column {})",
                error.line(),
                error.column()
            )
        })
    }

    /// RS256; issued half a minute ago against clocks that differ, valid for two minutes.
    fn jwt(&self, now: u64) -> Result<Secret, GitHubAppError> {
        let issued = now.saturating_sub(30);
        let claims = serde_json::json!({ "iat": issued, "exp": issued + 120, "iss": self.app_id.to_string() });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signer = self
            .key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or(GitHubAppError::Signature)?;
        let signature = signer
            .sign(signed.as_bytes())
            .map_err(|_| GitHubAppError::Signature)?;
        Ok(Secret::new(format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

impl fmt::Debug for GitHubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHubApp")
            .field("app_id", &self.app_id)
            .field("api", &self.api.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "github_app_test.rs"]
mod tests;
