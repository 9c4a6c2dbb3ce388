//! Logins for Artifact Registry and Container Registry (RT-WID-018).

use super::error::Error;
use crate::login::RegistryLogin;
use crate::pattern;
use crate::token_cache::Token;

/// The hosts of Google's registries, with that of a sovereign cloud.
pub const REGISTRY_PATTERN: &str =
    r"^(((.+\.)?gcr\.io)|(.+-docker\.pkg\.dev)|(docker\.s3nsregistry\.fr))$";
/// The user of an access token.
const USER: &str = "oauth2accesstoken";

/// Checks that a host is one of Google's registries (RT-WID-018).
///
/// # Errors
/// [`Error::Registry`].
pub fn check_registry(host: &str) -> Result<(), Error> {
    if pattern::is_match(REGISTRY_PATTERN, host) {
        return Ok(());
    }
    Err(Error::Registry(host.to_owned()))
}

/// The login of a token; no request is made.
pub fn registry_login(token: &Token) -> RegistryLogin {
    RegistryLogin {
        username: USER.to_owned(),
        password: token.value.clone(),
        bearer: None,
        expires: token.expires,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RT-WID-018
    #[test]
    fn registries_of_google_are_known_by_their_host() {
        for host in [
            "gcr.io",
            "eu.gcr.io",
            "europe-west4-docker.pkg.dev",
            "docker.s3nsregistry.fr",
        ] {
            check_registry(host).unwrap();
        }
        for host in ["ghcr.io", "xgcr.io", "docker.pkg.dev", "gcr.io.example.com"] {
            assert_eq!(
                check_registry(host).unwrap_err().to_string(),
                format!("invalid GCP registry: '{host}'. must match {REGISTRY_PATTERN}")
            );
        }
    }
}
