//! The controller's own credentials, found as the SDKs find them.

use std::time::{SystemTime, UNIX_EPOCH};

use flux_http::Secret;

use super::profile::{self, Origin, Profile};
use super::sts::{assume_role, assume_role_with_web_identity, check_sts_endpoint};
use super::{Credentials, Error, Sts, container, endpoint, instance};
use crate::client::CloudClient;
use crate::environment::Environment;
use crate::file;

/// How many profiles may refer to one another.
const MAX_PROFILES: usize = 8;

/// The credentials of this process: of environment variables, of a role with a token file (IRSA), of the profile that
/// `AWS_PROFILE` names, of the container (EKS Pod Identity, ECS), or of the instance's metadata, whichever comes first
/// (RT-WID-007, SC-AUTH-063).
///
/// `region` is that of the object, for which `AWS_REGION` stands in; `sts_endpoint` comes from the object and is
/// checked.
///
/// # Errors
/// No region is known, the endpoint is none of STS, or the first source that is configured yields nothing.
pub async fn default_credentials(
    client: &CloudClient,
    region: Option<&str>,
    sts_endpoint: Option<&str>,
) -> Result<Credentials, Error> {
    let environment = client.environment();
    let own = environment.get("AWS_REGION");
    let region = region.filter(|region| !region.is_empty());
    let region = region.or(own.as_deref()).ok_or(Error::ControllerRegion)?;
    endpoint("sts", region)?;
    let endpoint = match sts_endpoint.filter(|endpoint| !endpoint.is_empty()) {
        Some(endpoint) => {
            check_sts_endpoint(endpoint)?;
            Some(endpoint.to_owned())
        }
        None => configured_endpoint(environment, region),
    };
    let sts = Sts {
        region,
        endpoint: endpoint.as_deref(),
    };
    let profile = environment.get("AWS_PROFILE");
    if profile.is_none() {
        if let Some(credentials) = of_variables(environment) {
            return Ok(credentials);
        }
        if let Some(path) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let role = environment.get("AWS_ROLE_ARN").unwrap_or_default();
            let session = environment.get("AWS_ROLE_SESSION_NAME");
            return with_token_file(client, &sts, &role, session, &path).await;
        }
    }
    let name = profile.unwrap_or_else(|| "default".to_owned());
    let profiles = profile::read(environment).await?;
    if profiles.is_empty() && environment.get("AWS_PROFILE").is_some() {
        return Err(profile::error(&name, "there is no such profile"));
    }
    of_profile(client, &sts, &profiles, &name).await
}

/// The address of STS by the SDK's variables.
fn configured_endpoint(environment: &Environment, region: &str) -> Option<String> {
    if !environment.is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
        let set = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
        if let Some(url) = set.iter().find_map(|name| environment.get(name)) {
            return Some(url);
        }
    }
    let fips = environment.is_true("AWS_USE_FIPS_ENDPOINT");
    let address = endpoint(if fips { "sts-fips" } else { "sts" }, region).ok()?;
    fips.then(|| address.into())
}

/// Keys in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
fn of_variables(environment: &Environment) -> Option<Credentials> {
    let either =
        |first: &str, second: &str| environment.get(first).or_else(|| environment.get(second));
    Some(Credentials {
        access_key_id: either("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY")?,
        secret_access_key: Secret::new(either("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")?),
        session_token: environment.get("AWS_SESSION_TOKEN").map(Secret::new),
        expires: None,
    })
}

/// The role of a token in a file, which is read each time since it is renewed.
async fn with_token_file(
    client: &CloudClient,
    sts: &Sts<'_>,
    role: &str,
    session: Option<String>,
    path: &str,
) -> Result<Credentials, Error> {
    let token = file::read("the web identity token", path).await;
    let token = token.map_err(|(what, path, source)| Error::File { what, path, source })?;
    let token = Secret::new(token.trim_ascii());
    let session = session.unwrap_or_else(session_name);
    assume_role_with_web_identity(client, sts, role, &session, &token).await
}

/// The session name of the SDK where none is configured.
fn session_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    format!("aws-go-sdk-{}", since.unwrap_or_default().as_nanos())
}

/// The credentials of a profile, along the profiles that it gets them from.
async fn of_profile(
    client: &CloudClient,
    sts: &Sts<'_>,
    profiles: &profile::Profiles,
    name: &str,
) -> Result<Credentials, Error> {
    // From the named profile to the one that has credentials of its own.
    let mut roles: Vec<&Profile> = Vec::new();
    let none = Profile::default();
    let mut name = name;
    let mut credentials = loop {
        let profile = match profiles.get(name) {
            Some(profile) => profile,
            None if roles.is_empty() && name == "default" => &none,
            None => return Err(profile::error(name, "there is no such profile")),
        };
        if roles.len() >= MAX_PROFILES {
            return Err(profile::error(name, "its source profiles form a loop"));
        }
        match profile.origin(name)? {
            Origin::Profile(source) if source == name => {
                roles.push(profile);
                let keys = profile.keys();
                break keys.ok_or_else(|| profile::error(name, "it has no access keys"))?;
            }
            Origin::Profile(source) => {
                roles.push(profile);
                name = source;
            }
            Origin::Keys(keys) => break keys,
            Origin::TokenFile { role, path } => {
                let session = profile.session.clone();
                break with_token_file(client, sts, role, session, path).await?;
            }
            Origin::Environment => {
                roles.push(profile);
                let keys = of_variables(client.environment());
                break keys
                    .ok_or_else(|| profile::error(name, "the environment has no access keys"))?;
            }
            Origin::Container => {
                roles.push(profile);
                let found = container::credentials(client).await?;
                break found.ok_or_else(|| {
                    profile::error(name, "the environment names no container credentials")
                })?;
            }
            Origin::Instance => {
                roles.push(profile);
                break instance::credentials(client).await?;
            }
            Origin::Surroundings => match container::credentials(client).await? {
                Some(found) => break found,
                None => break instance::credentials(client).await?,
            },
        }
    };
    for profile in roles.into_iter().rev() {
        let role = profile.role.as_deref().unwrap_or_default();
        let session = profile.session.clone().unwrap_or_else(session_name);
        let external_id = profile.external_id.as_deref();
        credentials = assume_role(client, sts, &credentials, role, &session, external_id).await?;
    }
    Ok(credentials)
}
