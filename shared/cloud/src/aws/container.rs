//! Credentials of a container: EKS Pod Identity and ECS.

use std::net::IpAddr;

use flux_http::Secret;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use url::{Host, Url};

use super::{Credentials, Error, error};
use crate::client::{self, CloudClient};
use crate::file;

/// Where the agent of ECS answers.
const ECS: &str = "http://169.254.170.2";
/// The hosts without TLS that may have the token: the agents of ECS and EKS.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Credentials as agents and metadata servers name them.
#[derive(Deserialize)]
pub(super) struct Issued {
    #[serde(rename = "AccessKeyId")]
    id: String,
    #[serde(rename = "SecretAccessKey")]
    key: String,
    #[serde(rename = "Token", default)]
    token: Option<String>,
    #[serde(rename = "Expiration", default)]
    expires: Option<Timestamp>,
}

impl From<Issued> for Credentials {
    fn from(issued: Issued) -> Self {
        Self {
            access_key_id: issued.id,
            secret_access_key: Secret::new(issued.key),
            session_token: issued.token.map(Secret::new),
            expires: issued.expires.map(Into::into),
        }
    }
}

/// The credentials of the agent that the environment names; `None` if it names none.
///
/// # Errors
/// The address may not have the token, the token cannot be read, or the agent refuses.
pub(super) async fn credentials(client: &CloudClient) -> Result<Option<Credentials>, Error> {
    let environment = client.environment();
    let url = if let Some(text) = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        let url = Url::parse(&text).ok().filter(may_have_token);
        url.ok_or_else(|| Error::ContainerEndpoint(flux_http::shown_text(&text)))?
    } else if let Some(path) = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        let url = Url::parse(ECS).and_then(|base| base.join(&path)).ok();
        let url = url.filter(may_have_token);
        url.ok_or_else(|| Error::ContainerEndpoint(flux_http::shown_text(&path)))?
    } else {
        return Ok(None);
    };
    let token = match environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => {
            let read = file::read("the container authorization token", &path).await;
            let read = read.map_err(|(what, path, source)| Error::File { what, path, source })?;
            Some(Secret::new(read.trim_ascii()))
        }
        None => environment
            .get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(Secret::new),
    };
    let mut request = client
        .http()
        .request(Method::GET, url)
        .header("accept", "application/json");
    if let Some(token) = &token {
        request = request.header("authorization", token.expose());
    }
    let token = token.unwrap_or_default();
    let answer = client::call(request, error::json_reason, &[&token]).await;
    let issued = answer.and_then(|answer| answer.json::<Issued>());
    Ok(Some(issued.map_err(Error::Container)?.into()))
}

/// Whether an address may have the token: over TLS any, otherwise only this machine and the agents.
fn may_have_token(url: &Url) -> bool {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address),
        Some(Host::Ipv6(address)) => IpAddr::from(address),
        Some(Host::Domain(name)) => return url.scheme() == "https" || name == "localhost",
        None => return false,
    };
    let is_agent = AGENTS.iter().any(|agent| agent.parse() == Ok(address));
    match url.scheme() {
        "https" => true,
        "http" => is_agent || address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_agents_this_machine_and_over_tls_only() {
        let allowed = |url: &str| may_have_token(&url.parse().unwrap());
        for url in [
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:8080/",
            "http://localhost/",
            "https://example.com/",
        ] {
            assert!(allowed(url), "{url}");
        }
        for url in [
            "http://169.254.169.254/",
            "http://example.com/",
            "ftp://127.0.0.1/",
        ] {
            assert!(!allowed(url), "{url}");
        }
    }
}
