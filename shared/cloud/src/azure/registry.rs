//! Logins for Azure Container Registry (RT-WID-012).

use flux_http::Secret;
use reqwest::Method;
use serde::Deserialize;

use super::Error;
use super::cloud::CloudFile;
use crate::client::{self, AnswerError, CallError, CloudClient};
use crate::jwt;
use crate::login::RegistryLogin;
use crate::pattern;
use crate::token_cache::Token;

/// The hosts of ACR.
pub const REGISTRY_PATTERN: &str = r"^.+\.(azurecr\.io|azurecr\.cn|azurecr\.de|azurecr\.us)$";
/// The scope of registries in all clouds that Microsoft runs.
const SCOPE: &str = "https://containerregistry.azure.net/.default";
/// The user of a registry's refresh token.
const USER: &str = "00000000-0000-0000-0000-000000000000";

/// Checks that a host is one of ACR, or has the suffix that the environment file names (RT-WID-012, SC-AUTH-058).
///
/// # Errors
/// It is not, or the file cannot be used.
pub async fn check_registry(client: &CloudClient, host: &str) -> Result<(), Error> {
    if pattern::is_match(REGISTRY_PATTERN, host) {
        return Ok(());
    }
    let Some(file) = CloudFile::read(client.environment()).await? else {
        return Err(Error::Registry(host.to_owned()));
    };
    if file.registry_suffix.is_empty() {
        return Err(Error::EnvironmentFileSuffix);
    }
    if host.ends_with(&file.registry_suffix) {
        return Ok(());
    }
    Err(Error::RegistrySuffix {
        host: host.to_owned(),
        suffix: file.registry_suffix,
    })
}

/// The scope of tokens that are exchanged for a login (RT-WID-012, RT-WID-013).
///
/// # Errors
/// The environment file cannot be used.
pub async fn registry_scope(client: &CloudClient) -> Result<String, Error> {
    match CloudFile::read(client.environment()).await? {
        None => Ok(SCOPE.to_owned()),
        Some(file) => {
            let endpoint = file.checked()?.resource_manager_endpoint;
            Ok(format!("{endpoint}/.default"))
        }
    }
}

/// Exchanges a token for a login for the registry at this host (RT-WID-012).
///
/// # Errors
/// The registry refuses or cannot be reached.
pub async fn registry_login(
    client: &CloudClient,
    token: &Token,
    host: &str,
) -> Result<RegistryLogin, Error> {
    exchanged(client, token, host)
        .await
        .map_err(Error::Exchange)
}

async fn exchanged(
    cloud: &CloudClient,
    token: &Token,
    host: &str,
) -> Result<RegistryLogin, CallError> {
    #[derive(Deserialize)]
    struct Exchanged {
        refresh_token: String,
    }
    let body = client::form(&[
        ("grant_type", "access_token"),
        ("service", host),
        ("access_token", &token.value.expose_text()),
    ]);
    let request = cloud
        .http()
        .request(Method::POST, format!("https://{host}/oauth2/exchange"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(body);
    let answer = client::call(request, reason, &[&token.value]).await?;
    let exchanged: Exchanged = answer.json()?;
    let password = Secret::new(exchanged.refresh_token);
    let expires = jwt::expiry(&password);
    let expires = expires.ok_or_else(|| answer.malformed(AnswerError::Invalid("refresh_token")))?;
    Ok(RegistryLogin {
        username: USER.to_owned(),
        password,
        bearer: None,
        expires,
    })
}

/// Code and explanation in a registry's own form.
fn reason(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: String,
        #[serde(default)]
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let first = refusal.errors.into_iter().next()?;
    Some(format!("{}: {}", first.code, first.message))
}
