//! Profiles of the files that the SDKs share: `~/.aws/config` and `~/.aws/credentials`, or where the environment says
//! they are.

use std::collections::HashMap;
use std::io::ErrorKind;

use flux_http::Secret;

use super::{Credentials, Error};
use crate::environment::Environment;
use crate::file;

/// Profiles by name.
pub(super) type Profiles = HashMap<String, Profile>;

/// What a profile says about credentials. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    id: Option<String>,
    key: Option<Secret>,
    token: Option<Secret>,
    source: Option<String>,
    credential_source: Option<String>,
    token_file: Option<String>,
    unsupported: bool,
    pub(super) role: Option<String>,
    pub(super) session: Option<String>,
    pub(super) external_id: Option<String>,
}

/// Where the credentials of a profile come from.
pub(super) enum Origin<'a> {
    /// Keys in the profile itself.
    Keys(Credentials),
    /// A role, of the credentials of this profile.
    Profile(&'a str),
    /// A role, of a token in a file.
    TokenFile { role: &'a str, path: &'a str },
    /// A role, of the keys in environment variables.
    Environment,
    /// A role, of the container's credentials.
    Container,
    /// A role, of the instance's credentials.
    Instance,
    /// Nothing: the container's credentials, then the instance's.
    Surroundings,
}

pub(super) fn error(profile: &str, reason: &'static str) -> Error {
    Error::Profile {
        profile: profile.chars().take(100).collect(),
        reason,
    }
}

impl Profile {
    /// Keys in the profile.
    pub(super) fn keys(&self) -> Option<Credentials> {
        Some(Credentials {
            access_key_id: self.id.clone()?,
            secret_access_key: self.key.clone()?,
            session_token: self.token.clone(),
            expires: None,
        })
    }

    /// Where this profile gets credentials.
    ///
    /// # Errors
    /// It is contradictory, or relies on a program or a login in a browser.
    pub(super) fn origin<'a>(&'a self, name: &str) -> Result<Origin<'a>, Error> {
        let role = self.role.as_deref();
        if let (Some(source), Some(_)) = (&self.source, role) {
            return Ok(Origin::Profile(source));
        }
        if let (Some(source), Some(_)) = (&self.credential_source, role) {
            return match source.as_str() {
                "Environment" => Ok(Origin::Environment),
                "EcsContainer" => Ok(Origin::Container),
                "Ec2InstanceMetadata" => Ok(Origin::Instance),
                _ => Err(error(name, "its credential_source is unknown")),
            };
        }
        if let Some(keys) = self.keys() {
            return Ok(Origin::Keys(keys));
        }
        if let (Some(path), Some(role)) = (&self.token_file, role) {
            return Ok(Origin::TokenFile { role, path });
        }
        if self.unsupported {
            let reason = "single sign-on and credential processes are not supported";
            return Err(error(name, reason));
        }
        if role.is_some() {
            return Err(error(name, "its role has no source of credentials"));
        }
        Ok(Origin::Surroundings)
    }

    fn set(&mut self, key: &str, value: &str) {
        let text = || Some(value.to_owned());
        match key {
            "aws_access_key_id" => self.id = text(),
            "aws_secret_access_key" => self.key = Some(Secret::from(value)),
            "aws_session_token" => self.token = Some(Secret::from(value)),
            "role_arn" => self.role = text(),
            "source_profile" => self.source = text(),
            "credential_source" => self.credential_source = text(),
            "web_identity_token_file" => self.token_file = text(),
            "role_session_name" => self.session = text(),
            "external_id" => self.external_id = text(),
            "credential_process" | "sso_session" | "sso_start_url" => self.unsupported = true,
            _ => {}
        }
    }
}

/// Reads the profiles of both files; a file that is absent has none.
///
/// # Errors
/// A file cannot be read.
pub(super) async fn read(environment: &Environment) -> Result<Profiles, Error> {
    let mut profiles = Profiles::new();
    let home = environment.get("HOME").unwrap_or_default();
    // What the second file says counts.
    for (variable, default, is_config) in [
        ("AWS_CONFIG_FILE", "config", true),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", false),
    ] {
        let path = environment.get(variable);
        let path = path.unwrap_or_else(|| format!("{home}/.aws/{default}"));
        match file::read("the AWS configuration", &path).await {
            Ok(content) => parse(&String::from_utf8_lossy(&content), is_config, &mut profiles),
            Err((_, _, source)) if source.kind() == ErrorKind::NotFound => {}
            Err((what, path, source)) => return Err(Error::File { what, path, source }),
        }
    }
    Ok(profiles)
}

/// Adds the profiles of a file, whose sections are `[profile NAME]` in a configuration and `[NAME]` otherwise.
fn parse(text: &str, is_config: bool, profiles: &mut Profiles) {
    let mut current: Option<String> = None;
    for line in text.lines() {
        // An indented line belongs to the value before it, which no setting of credentials has.
        if line.starts_with([' ', '\t', '#', ';']) || line.trim().is_empty() {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default().trim();
            let named = section.strip_prefix("profile").map(str::trim);
            current = match named {
                Some(name) if is_config && !name.is_empty() => Some(name.to_owned()),
                _ if is_config && section != "default" => None,
                _ => Some(section.to_owned()),
            };
            continue;
        }
        if let (Some(name), Some((key, value))) = (&current, line.split_once('=')) {
            let profile = profiles.entry(name.clone()).or_default();
            profile.set(&key.trim().to_ascii_lowercase(), value.trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_both_files_are_merged() {
        let mut profiles = Profiles::new();
        let config = "# comment\n[default]\nregion = eu-west-1\n  nested = x\n[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nexternal_id=e\n[sso-session x]\naws_access_key_id = no\n[profile odd]\ncredential_process = /bin/x\n";
        parse(config, true, &mut profiles);
        let keys = "[base]\nAWS_ACCESS_KEY_ID = id\naws_secret_access_key = s3cret\n";
        parse(keys, false, &mut profiles);
        assert!(matches!(
            profiles["role"].origin("role"),
            Ok(Origin::Profile("base"))
        ));
        assert_eq!(profiles["role"].external_id.as_deref(), Some("e"));
        let Ok(Origin::Keys(found)) = profiles["base"].origin("base") else {
            panic!("no keys");
        };
        assert_eq!(found.access_key_id, "id");
        assert!(!format!("{profiles:?}").contains("s3cret"));
        assert!(matches!(
            profiles["default"].origin("default"),
            Ok(Origin::Surroundings)
        ));
        assert!(profiles["odd"].origin("odd").is_err());
        assert!(!profiles.contains_key("sso-session x"));
    }
}
