//! Logins for the Elastic Container Registry (RT-WID-008).

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_http::Secret;
use regex::Regex;
use serde_json::json;

use super::{Call, Credentials, Error, call, endpoint};
use crate::client::{self, CloudClient};
use crate::login::RegistryLogin;

/// The hosts of ECR, from the project's own credential helper.
pub const REGISTRY_PATTERN: &str = r"([0-9+]*).dkr[.-]ecr(?:-fips)?\.([^/.]*)\.(amazonaws\.com[.cn]*|amazonaws\.eu|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov|on\.aws)";
/// The host of the public registry, whose API exists in one region only.
const PUBLIC: &str = "public.ecr.aws";
const PUBLIC_REGION: &str = "us-east-1";

/// The region in the host of a registry (RT-WID-008, SC-AUTH-056).
///
/// # Errors
/// The host is none of ECR.
pub fn registry_region(host: &str) -> Result<String, Error> {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(REGISTRY_PATTERN).ok());
    if host == PUBLIC {
        return Ok(PUBLIC_REGION.to_owned());
    }
    let found = PATTERN.as_ref().and_then(|regex| regex.captures(host));
    let region = found.and_then(|found| found.get(2));
    region
        .map(|region| region.as_str().to_owned())
        .ok_or_else(|| Error::Registry(host.to_owned()))
}

/// The part of a registry's host that a login depends on: one login is for all registries of a region, and that for the
/// public registry is another (SC-AUTH-071).
pub fn login_scope(host: &str) -> Result<String, Error> {
    if host == PUBLIC {
        return Ok(PUBLIC.to_owned());
    }
    registry_region(host)
}

/// Asks ECR for a login for the registry at this host.
///
/// # Errors
/// The host is none of ECR, or the service refuses.
pub async fn registry_login(
    client: &CloudClient,
    credentials: &Credentials,
    host: &str,
) -> Result<RegistryLogin, Error> {
    let region = registry_region(host)?;
    let is_public = host == PUBLIC;
    let (name, service, target, dns) = if is_public {
        let target = "SpencerFrontendService.GetAuthorizationToken";
        ("ECR PUBLIC", "ecr-public", target, "api.ecr-public")
    } else {
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        ("ECR", "ecr", target, "api.ecr")
    };
    let url = endpoint(dns, &region)?;
    let request = Call {
        name,
        service,
        region: &region,
        url: &url,
        target,
    };
    let answer = call(client, credentials, &request, &json!({})).await?;
    let data = &answer["authorizationData"];
    let data = if is_public { data } else { &data[0] };
    let token = data["authorizationToken"].as_str();
    let expires = data["expiresAt"].as_f64();
    let (Some(token), Some(expires)) = (token, expires) else {
        return Err(Error::RegistryTokenFormat);
    };
    let decoded = STANDARD.decode(token).map_err(|_| Error::RegistryToken)?;
    let decoded = String::from_utf8(decoded).map_err(|_| Error::RegistryToken)?;
    match decoded.split(':').collect::<Vec<_>>()[..] {
        [username, password] => Ok(RegistryLogin {
            username: username.to_owned(),
            password: Secret::new(password),
            bearer: None,
            expires: client::at(expires),
        }),
        _ => Err(Error::RegistryTokenFormat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RT-WID-008, SC-AUTH-056
    #[test]
    fn the_region_is_in_the_host() {
        for (host, region) in [
            ("012345678901.dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
            (
                "012345678901.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "012345678901.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
            ),
            ("012345678901.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
            (
                "012345678901.dkr.ecr.us-iso-east-1.c2s.ic.gov",
                "us-iso-east-1",
            ),
            ("public.ecr.aws", "us-east-1"),
        ] {
            assert_eq!(registry_region(host).unwrap(), region);
        }
        assert_eq!(login_scope(PUBLIC).unwrap(), PUBLIC);
        for host in ["ghcr.io", "012345678901.dkr.ecr.us-east-1.example.com", ""] {
            assert_eq!(
                registry_region(host).unwrap_err().to_string(),
                format!("invalid AWS registry: '{host}'. must match {REGISTRY_PATTERN}")
            );
        }
    }
}
