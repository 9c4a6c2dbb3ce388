//! Credentials of an EC2 instance, from its metadata (IMDSv2, and version 1 where there are no sessions).

use flux_http::Secret;
use reqwest::{Method, RequestBuilder};

use super::container::Issued;
use super::error::is_without_sessions;
use super::{Credentials, Error};
use crate::client::{self, AnswerError, CallError, CloudClient};

const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";
const SESSION: &str = "/latest/api/token";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// For how long a session of the metadata server is asked for, in seconds.
const SESSION_LIFE: &str = "300";

/// The credentials of the role that the instance runs with.
///
/// # Errors
/// The environment forbids it, there is no metadata server, or the instance has no role.
pub(super) async fn credentials(client: &CloudClient) -> Result<Credentials, Error> {
    let environment = client.environment();
    if environment.is_true("AWS_EC2_METADATA_DISABLED") {
        return Err(Error::InstanceDisabled);
    }
    let base = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = base.unwrap_or_else(|| {
        let mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
        let is_ipv6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        if is_ipv6 { IPV6 } else { IPV4 }.to_owned()
    });
    let base = base.trim_end_matches('/').to_owned();
    let old_allowed = !environment.is_true("AWS_EC2_METADATA_V1_DISABLED");
    found(client, &base, old_allowed)
        .await
        .map_err(Error::Instance)
}

async fn found(
    client: &CloudClient,
    base: &str,
    old_allowed: bool,
) -> Result<Credentials, CallError> {
    let request = client
        .http()
        .request(Method::PUT, format!("{base}{SESSION}"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_LIFE);
    let session = match client::call(request, no_reason, &[]).await {
        Ok(answer) => Some(Secret::new(&answer.body)),
        Err(error) if old_allowed && is_without_sessions(&error) => None,
        Err(error) => return Err(error),
    };
    let get = |path: &str| -> RequestBuilder {
        let request = client.http().request(Method::GET, format!("{base}{path}"));
        match &session {
            Some(token) => request.header("x-aws-ec2-metadata-token", token.expose()),
            None => request,
        }
    };
    let none = Secret::default();
    let secret = session.as_ref().unwrap_or(&none);
    let roles = client::call(get(ROLES), no_reason, &[secret]).await?;
    let text = String::from_utf8_lossy(&roles.body);
    let role = text.lines().next().unwrap_or_default().trim();
    if role.is_empty() || role.contains(['/', '?', '#', '%']) {
        return Err(roles.malformed(AnswerError::Missing("role")));
    }
    let issued = client::call(get(&format!("{ROLES}{role}")), no_reason, &[secret]).await?;
    Ok(issued.json::<Issued>()?.into())
}

fn no_reason(_: &[u8]) -> Option<String> {
    None
}
