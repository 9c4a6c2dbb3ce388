//! The Security Token Service: temporary credentials of a role.

use std::time::SystemTime;

use flux_http::Secret;
use jiff::Timestamp;
use reqwest::Method;
use url::Url;

use super::{Credentials, Error, Scope, endpoint, error, signed};
use crate::client::{self, Answer, AnswerError, CallError, CloudClient};
use crate::pattern;

/// The version of the API.
const VERSION: &str = "2011-06-15";
/// The name of the service in error texts.
const NAME: &str = "STS";

pub(super) const ROLE_PATTERN: &str = r"^arn:aws[\w-]*:iam::[0-9]{1,30}:role/.{1,200}$";
pub(super) const ENDPOINT_PATTERN: &str =
    r"^https://(.+\.)?sts(-fips)?(\.[^.]+)?(\.vpce)?\.amazonaws\.com$";

/// Where tokens are exchanged.
#[derive(Clone, Copy, Debug)]
pub struct Sts<'a> {
    /// The region.
    pub region: &'a str,
    /// An address that replaces the region's, checked by [`check_sts_endpoint`] where it comes from an object.
    pub endpoint: Option<&'a str>,
}

impl Sts<'_> {
    fn url(&self) -> Result<Url, Error> {
        match self.endpoint {
            None => endpoint("sts", self.region),
            Some(text) => Url::parse(text).map_err(|_| Error::StsEndpoint(text.to_owned())),
        }
    }
}

/// Checks the address of a Security Token Service that an object names (RT-WID-006, SC-AUTH-055).
///
/// # Errors
/// [`Error::StsEndpoint`].
pub fn check_sts_endpoint(endpoint: &str) -> Result<(), Error> {
    if pattern::is_match(ENDPOINT_PATTERN, endpoint) {
        return Ok(());
    }
    Err(Error::StsEndpoint(flux_http::shown_text(endpoint)))
}

/// Checks the role in the annotation of a ServiceAccount (RT-WID-005, SC-AUTH-053).
///
/// # Errors
/// [`Error::RoleArn`].
pub fn check_role_arn(role: &str) -> Result<(), Error> {
    if pattern::is_match(ROLE_PATTERN, role) {
        return Ok(());
    }
    Err(Error::RoleArn(role.to_owned()))
}

/// Exchanges a token that the role's trust policy accepts, such as that of a ServiceAccount, for credentials of the
/// role (RT-WID-005). The request is not signed: the token is what it is believed for.
///
/// # Errors
/// The service refuses or cannot be reached.
pub async fn assume_role_with_web_identity(
    cloud: &CloudClient,
    sts: &Sts<'_>,
    role: &str,
    session: &str,
    token: &Secret,
) -> Result<Credentials, Error> {
    const OPERATION: &str = "AssumeRoleWithWebIdentity";
    let body = client::form(&[
        ("Action", OPERATION),
        ("Version", VERSION),
        ("RoleArn", role),
        ("RoleSessionName", session),
        ("WebIdentityToken", &token.expose_text()),
    ]);
    let request = cloud
        .http()
        .request(Method::POST, sts.url()?)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = client::call(request, error::xml_reason, &[token]).await;
    let found = answer.and_then(|answer| credentials(&answer));
    found.map_err(|source| Error::operation(NAME, OPERATION, source))
}

/// Exchanges credentials for those of another role, as the profiles of the SDK's configuration file ask for.
///
/// # Errors
/// The service refuses or cannot be reached.
pub async fn assume_role(
    cloud: &CloudClient,
    sts: &Sts<'_>,
    own: &Credentials,
    role: &str,
    session: &str,
    external_id: Option<&str>,
) -> Result<Credentials, Error> {
    const OPERATION: &str = "AssumeRole";
    let mut pairs = vec![
        ("Action", OPERATION),
        ("Version", VERSION),
        ("RoleArn", role),
        ("RoleSessionName", session),
    ];
    pairs.extend(external_id.map(|id| ("ExternalId", id)));
    let body = client::form(&pairs);
    let request = cloud
        .http()
        .request(Method::POST, sts.url()?)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.clone());
    let scope = Scope {
        region: sts.region,
        service: "sts",
        time: SystemTime::now(),
    };
    let answer = signed(request, own, &scope, body.as_bytes()).await?;
    let found = answer.and_then(|answer| credentials(&answer));
    found.map_err(|source| Error::operation(NAME, OPERATION, source))
}

/// The credentials in a response.
fn credentials(answer: &Answer) -> Result<Credentials, CallError> {
    let missing = |what| answer.malformed(AnswerError::Missing(what));
    let text = String::from_utf8_lossy(&answer.body);
    let field = |name: &'static str| {
        let value = crate::xml::element(&text, name).filter(|value| !value.is_empty());
        value.ok_or_else(|| missing(name))
    };
    let expires: Timestamp = field("Expiration")?
        .parse()
        .map_err(|_| answer.malformed(AnswerError::Invalid("Expiration")))?;
    Ok(Credentials {
        access_key_id: field("AccessKeyId")?,
        secret_access_key: Secret::new(field("SecretAccessKey")?),
        session_token: Some(Secret::new(field("SessionToken")?)),
        expires: Some(expires.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // RT-WID-005, SC-AUTH-053
    #[test]
    fn roles_are_checked() {
        for role in [
            "arn:aws:iam::1234567890:role/some-role",
            "arn:aws-us-gov:iam::1:role/path/role",
        ] {
            check_role_arn(role).unwrap();
        }
        for role in [
            "",
            "arn:aws:iam::1:user/x",
            "arn:aws:iam::x:role/y",
            "arn:aws:iam::1:role/",
        ] {
            assert_eq!(
                check_role_arn(role).unwrap_err().to_string(),
                format!(
                    r"invalid eks.amazonaws.com/role-arn annotation: '{role}'. must match ^arn:aws[\w-]*:iam::[0-9]{{1,30}}:role/.{{1,200}}$"
                )
            );
        }
    }

    // RT-WID-006, SC-AUTH-055
    #[test]
    fn endpoints_of_the_token_service_are_checked() {
        for endpoint in [
            "https://sts.amazonaws.com",
            "https://sts.us-east-1.amazonaws.com",
            "https://sts-fips.us-east-1.amazonaws.com",
            "https://vpce-002b7cc8966426bc6-njisq19r.sts.us-east-1.vpce.amazonaws.com",
            "https://vpce-002b7cc8966426bc6-njisq19r-us-east-1a.sts.us-east-1.vpce.amazonaws.com",
        ] {
            check_sts_endpoint(endpoint).unwrap();
        }
        for endpoint in [
            "",
            "http://sts.amazonaws.com",
            "https://something.amazonaws.com",
            "https://sts.us-east-1.amazonaws.com.example.com",
            "https://sts.amazonaws.com/",
        ] {
            assert_eq!(
                check_sts_endpoint(endpoint).unwrap_err().to_string(),
                format!(
                    r"invalid STS endpoint: '{endpoint}'. must match ^https://(.+\.)?sts(-fips)?(\.[^.]+)?(\.vpce)?\.amazonaws\.com$"
                )
            );
        }
    }
}
