//! Workload identity federation: tokens of another issuer exchanged for Google's (RT-WID-015 to RT-WID-017).

use flux_http::Secret;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::SCOPES;
use super::error::{Error, reason};
use crate::client::{self, Answer, AnswerError, CallError, CloudClient};
use crate::pattern;
use crate::token_cache::Token;

pub(super) const PROVIDER_PATTERN: &str =
    r"^projects/\d{1,30}/locations/global/workloadIdentityPools/[^/]{1,100}/providers/[^/]{1,100}$";
pub(super) const EMAIL_PATTERN: &str =
    r"^[a-zA-Z0-9-]{1,100}@[a-zA-Z0-9-]{1,100}\.iam\.gserviceaccount\.com$";

/// Where tokens are exchanged. Neither upstream nor Google's libraries let an environment variable replace it.
const TOKEN_URL: &str = "https://sts.googleapis.com/v1/token";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What is exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Federation<'a> {
    /// The audience of the exchange, of [`provider_audience`] or of a [`Cluster`](super::Cluster).
    pub audience: &'a str,
    /// The token of the other issuer.
    pub token: &'a Secret,
    /// The service account that is impersonated then, if any (RT-WID-017).
    pub email: Option<&'a str>,
}

/// The audience of a workload identity provider, as a ServiceAccount's annotation names it (RT-WID-015, SC-AUTH-059).
///
/// # Errors
/// [`Error::Provider`].
pub fn provider_audience(provider: &str) -> Result<String, Error> {
    if pattern::is_match(PROVIDER_PATTERN, provider) {
        return Ok(format!("//iam.googleapis.com/{provider}"));
    }
    Err(Error::Provider(provider.to_owned()))
}

/// Checks the service account that a ServiceAccount's annotation names (RT-WID-017, SC-AUTH-059).
///
/// # Errors
/// [`Error::Email`].
pub fn check_email(email: &str) -> Result<(), Error> {
    if pattern::is_match(EMAIL_PATTERN, email) {
        return Ok(());
    }
    Err(Error::Email(email.to_owned()))
}

/// Exchanges a token, and impersonates a service account with what it is exchanged for, if one is named.
///
/// # Errors
/// Google refuses or cannot be reached.
pub async fn federated_token(
    client: &CloudClient,
    federation: &Federation<'_>,
) -> Result<Token, Error> {
    let exchange = Exchange {
        url: TOKEN_URL,
        audience: federation.audience,
        subject_type: JWT,
        subject: federation.token,
    };
    match federation.email {
        None => exchange
            .token(client, &SCOPES)
            .await
            .map_err(Error::Exchange),
        Some(email) => {
            // The exchanged token is used for one thing only.
            let token = exchange.token(client, &SCOPES[..1]).await;
            let token = token.map_err(Error::Exchange)?;
            let url = format!(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
            );
            let url = impersonated(client, &url, &token.value).await;
            url.map_err(Error::Impersonation)
        }
    }
}

/// One exchange at a token service.
pub(super) struct Exchange<'a> {
    pub(super) url: &'a str,
    pub(super) audience: &'a str,
    pub(super) subject_type: &'a str,
    pub(super) subject: &'a Secret,
}

impl Exchange<'_> {
    pub(super) async fn token(
        &self,
        cloud: &CloudClient,
        scopes: &[&str],
    ) -> Result<Token, CallError> {
        let body = client::form(&[
            ("audience", self.audience),
            ("grant_type", GRANT),
            ("requested_token_type", ACCESS_TOKEN),
            ("scope", &scopes.join(" ")),
            ("subject_token", &self.subject.expose_text()),
            ("subject_token_type", self.subject_type),
        ]);
        let request = cloud
            .http()
            .request(Method::POST, self.url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        token(&client::call(request, reason, &[self.subject]).await?)
    }
}

/// A token of the service account in this address, for the one that `token` stands for.
pub(super) async fn impersonated(
    client: &CloudClient,
    url: &str,
    token: &Secret,
) -> Result<Token, CallError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Generated {
        access_token: String,
        expire_time: Timestamp,
    }
    let body = json!({"lifetime": "3600s", "scope": SCOPES});
    let request = client
        .http()
        .request(Method::POST, url)
        .bearer_auth(token.expose_text())
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = client::call(request, reason, &[token]).await?;
    let generated: Generated = answer.json()?;
    Ok(Token {
        value: Secret::new(generated.access_token),
        expires: generated.expire_time.into(),
    })
}

/// The token in a response.
pub(super) fn token(answer: &Answer) -> Result<Token, CallError> {
    #[derive(Deserialize)]
    struct Issued {
        access_token: String,
        #[serde(default)]
        expires_in: u64,
    }
    let issued: Issued = answer.json()?;
    if issued.access_token.is_empty() {
        return Err(answer.malformed(AnswerError::Missing("access_token")));
    }
    Ok(Token {
        value: Secret::new(issued.access_token),
        expires: client::after(issued.expires_in),
    })
}

/// The address of an API that a credential configuration names: HTTPS, or anything on this machine.
pub(super) fn is_usable(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| match url.scheme() {
        "https" => true,
        "http" => matches!(
            url.host_str(),
            Some("localhost" | "127.0.0.1" | "[::1]" | "169.254.169.254")
        ),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // RT-WID-015, RT-WID-017, SC-AUTH-059
    #[test]
    fn annotations_of_service_accounts_are_checked() {
        let provider =
            "projects/1234/locations/global/workloadIdentityPools/pool/providers/cluster";
        assert_eq!(
            provider_audience(provider).unwrap(),
            format!("//iam.googleapis.com/{provider}")
        );
        for wrong in [
            "",
            "projects/x/locations/global/workloadIdentityPools/a/providers/b",
        ] {
            assert_eq!(
                provider_audience(wrong).unwrap_err().to_string(),
                format!(
                    r"invalid gcp.auth.fluxcd.io/workload-identity-provider annotation: '{wrong}'. must match ^projects/\d{{1,30}}/locations/global/workloadIdentityPools/[^/]{{1,100}}/providers/[^/]{{1,100}}$"
                )
            );
        }
        check_email("flux@my-project.iam.gserviceaccount.com").unwrap();
        for wrong in [
            "flux",
            "flux@example.com",
            "flux@p.iam.gserviceaccount.com.evil",
        ] {
            assert_eq!(
                check_email(wrong).unwrap_err().to_string(),
                format!(
                    r"invalid iam.gke.io/gcp-service-account annotation: '{wrong}'. must match ^[a-zA-Z0-9-]{{1,100}}@[a-zA-Z0-9-]{{1,100}}\.iam\.gserviceaccount\.com$"
                )
            );
        }
    }
}
