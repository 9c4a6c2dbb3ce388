//! Credentials of registries, and the docker configurations that hold them.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use flux_golang::path::Pattern;
use flux_http::{BasicAuth, Secret};
use serde::Deserialize;

use crate::name::Repository;

/// What opens a repository. The default is anonymous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User and password, for Basic authentication or for the token service.
    pub basic: Option<BasicAuth>,
    /// A refresh token for the token service (`identitytoken`).
    pub identity_token: Option<Secret>,
    /// A bearer token for the registry itself (`registrytoken`).
    pub registry_token: Option<Secret>,
}

impl Credentials {
    /// Whether this is anonymous access.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        *self == Self::default()
    }

    /// The value of a header `Authorization: Basic`, if both user and password are there.
    pub(crate) fn basic_header(&self) -> Option<Secret> {
        let basic = self.basic.as_ref()?;
        if basic.username.is_empty() || basic.password.is_empty() {
            return None;
        }
        let pair = [basic.username.as_bytes(), b":", basic.password.expose()].concat();
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
    }

    /// The texts that a server may repeat and no message may show, the longest first.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if let Some(basic) = &self.basic {
            texts.push(basic.password.expose_text().into_owned());
            let pair = [basic.username.as_bytes(), b":", basic.password.expose()].concat();
            texts.push(STANDARD.encode(&pair));
            texts.push(STANDARD_NO_PAD.encode(pair));
        }
        let tokens = [&self.identity_token, &self.registry_token];
        for token in tokens.into_iter().flatten() {
            texts.push(token.expose_text().into_owned());
        }
        texts
    }
}

/// Why a docker configuration is unusable. No text holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeychainError {
    /// It is not the JSON of a docker configuration.
    #[error("the docker config is not valid JSON of its form")]
    Json,
    /// An entry's `auth` is not base64.
    #[error("unable to decode auth field: illegal base64 data")]
    Base64,
    /// An entry's `auth` has no colon between user and password.
    #[error("unable to decode auth field: must be formatted as base64(username:password)")]
    NoPassword,
}

/// Docker configurations, searched as the kubelet does (SC-AUTH-030). An earlier one takes precedence over a later one for the
/// same key.
#[derive(Clone, Default)]
pub struct Keychain {
    /// By host and path; keys that sort later are tried first, so that longer ones take precedence.
    entries: BTreeMap<String, Credentials>,
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keychain")
            .field("keys", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
}

#[derive(Default, Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    #[serde(alias = "identityToken")]
    identitytoken: Option<String>,
    #[serde(alias = "registryToken")]
    registrytoken: Option<String>,
}

impl Keychain {
    /// Adds the configuration of a Secret of type `kubernetes.io/dockerconfigjson`, its key `.dockerconfigjson`
    /// (SC-AUTH-031).
    ///
    /// # Errors
    /// It is not such a configuration.
    pub fn add_config(&mut self, json: &[u8]) -> Result<(), KeychainError> {
        let config: Config = serde_json::from_slice(json).map_err(|_| KeychainError::Json)?;
        self.add(config.auths.unwrap_or_default())
    }

    /// Adds the configuration of a Secret of the older type `kubernetes.io/dockercfg`, its key `.dockercfg` (SC-AUTH-031).
    ///
    /// # Errors
    /// It is not such a configuration.
    pub fn add_legacy_config(&mut self, json: &[u8]) -> Result<(), KeychainError> {
        let auths = serde_json::from_slice(json).map_err(|_| KeychainError::Json)?;
        self.add(auths)
    }

    fn add(&mut self, auths: BTreeMap<String, Option<Entry>>) -> Result<(), KeychainError> {
        for (key, entry) in auths {
            let credentials = entry.unwrap_or_default().credentials()?;
            self.entries.entry(normalised(&key)).or_insert(credentials);
        }
        Ok(())
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a host, whatever the path of its key, as docker's own client finds it (SC-AUTH-043).
    #[must_use]
    pub fn of_host(&self, host: &str) -> Option<&Credentials> {
        let of_key = |key: &str| key.split('/').next() == Some(host);
        let exact = self.entries.get(host);
        exact.or_else(|| {
            let mut entries = self.entries.iter();
            entries.find_map(|(key, credentials)| of_key(key).then_some(credentials))
        })
    }

    /// The credentials of a repository; anonymous if no entry matches.
    #[must_use]
    pub fn credentials(&self, repository: &Repository) -> Credentials {
        let mut entries = self.entries.iter().rev();
        let found = entries.find(|(key, _)| matches(key, repository));
        found
            .map(|(_, credentials)| credentials.clone())
            .unwrap_or_default()
    }
}

impl Entry {
    fn credentials(self) -> Result<Credentials, KeychainError> {
        let text = |value: Option<String>| value.filter(|text| !text.is_empty());
        let basic = match text(self.auth) {
            Some(auth) => Some(decoded(&auth)?),
            None => match (text(self.username), text(self.password)) {
                (None, None) => None,
                (username, password) => Some(BasicAuth {
                    username: username.unwrap_or_default(),
                    password: Secret::new(password.unwrap_or_default()),
                }),
            },
        };
        let secret = |value| text(value).map(Secret::new);
        Ok(Credentials {
            basic,
            identity_token: secret(self.identitytoken),
            registry_token: secret(self.registrytoken),
        })
    }
}

/// User and password of a field `auth`.
fn decoded(auth: &str) -> Result<BasicAuth, KeychainError> {
    // Go's decoder skips line breaks.
    let auth: String = auth
        .chars()
        .filter(|character| !matches!(character, '\r' | '\n'))
        .collect();
    let bytes = if auth.trim().ends_with('=') {
        STANDARD.decode(&auth)
    } else {
        STANDARD_NO_PAD.decode(&auth)
    };
    let bytes = bytes.map_err(|_| KeychainError::Base64)?;
    let colon = bytes.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or(KeychainError::NoPassword)?;
    Ok(BasicAuth {
        username: String::from_utf8_lossy(&bytes[..colon]).into_owned(),
        password: Secret::new(&bytes[colon + 1..]),
    })
}

/// The key of an entry as host and path: without scheme, and without the version of an older API.
fn normalised(key: &str) -> String {
    let key = ["https://", "http://"]
        .iter()
        .find_map(|scheme| key.strip_prefix(scheme))
        .unwrap_or(key);
    let key = key.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = match key.find('/') {
        Some(at) => key.split_at(at),
        None => (key, ""),
    };
    let path = match path {
        _ if path.starts_with("/v1/") || path.starts_with("/v2/") => &path[3..],
        _ => path,
    };
    let path = if path == "/" { "" } else { path };
    format!("{host}{path}")
}

/// Whether the entry of this key is for the repository: the ports are equal, each part of the host matches, and the path
/// begins alike.
fn matches(key: &str, repository: &Repository) -> bool {
    let (host, path) = match key.find('/') {
        Some(at) => key.split_at(at),
        None => (key, ""),
    };
    let (parts, port) = split_host(host);
    let (own_parts, own_port) = split_host(repository.registry());
    let own_path = format!("/{}", repository.path());
    let part_matches = |(pattern, part): (&&str, &&str)| {
        Pattern::compile(pattern.as_bytes()).is_ok_and(|p| p.matches(part.as_bytes()))
    };
    port == own_port
        && parts.len() == own_parts.len()
        && own_path.starts_with(path)
        && parts.iter().zip(&own_parts).all(part_matches)
}

fn split_host(host: &str) -> (Vec<&str>, &str) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    (name.split('.').collect(), port)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn user(config: &str, repository: &str) -> String {
        let mut keychain = Keychain::default();
        keychain.add_config(config.as_bytes()).unwrap();
        let credentials = keychain.credentials(&Repository::parse(repository).unwrap());
        credentials.basic.map_or_else(String::new, |basic| {
            format!("{}:{}", basic.username, basic.password.expose_text())
        })
    }

    // SC-AUTH-030: the user ends at the first colon
    #[test]
    fn passwords_may_contain_colons() {
        let auth = STANDARD.encode("flux:pa:ss:");
        let config = format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{auth}"}}}}}}"#);
        assert_eq!(user(&config, "ghcr.io/org/app"), "flux:pa:ss:");
    }

    fn auths(keys: &[&str]) -> String {
        let entries: Vec<String> = keys
            .iter()
            .enumerate()
            .map(|(number, key)| {
                format!(r#""{key}": {{"username": "u{number}", "password": "p"}}"#)
            })
            .collect();
        format!(r#"{{"auths": {{{}}}}}"#, entries.join(", "))
    }

    // SC-AUTH-030, SC-AUTH-031, RT-SEC-013
    #[rstest]
    #[case(&["ghcr.io"], "ghcr.io/org/app", "u0:p")]
    #[case(&["https://ghcr.io"], "ghcr.io/org/app", "u0:p")]
    #[case(&["https://ghcr.io/v2/"], "ghcr.io/org/app", "u0:p")]
    #[case(&["ghcr.io", "ghcr.io/org"], "ghcr.io/org/app", "u1:p")]
    #[case(&["ghcr.io/org", "ghcr.io"], "ghcr.io/org/app", "u0:p")]
    #[case(&["ghcr.io/other", "ghcr.io"], "ghcr.io/org/app", "u1:p")]
    #[case(&["*.azurecr.io"], "team.azurecr.io/app", "u0:p")]
    #[case(&["*.azurecr.io"], "a.team.azurecr.io/app", "")]
    #[case(&["registry.local:5000"], "registry.local:5000/app", "u0:p")]
    #[case(&["registry.local"], "registry.local:5000/app", "")]
    #[case(&["https://index.docker.io/v1/"], "nginx", "u0:p")]
    #[case(&["index.docker.io"], "docker.io/org/app", "u0:p")]
    #[case(&["quay.io"], "ghcr.io/org/app", "")]
    #[case(&[], "ghcr.io/org/app", "")]
    fn entries_are_found_by_host_and_path(
        #[case] keys: &[&str],
        #[case] repository: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(user(&auths(keys), repository), expected);
    }

    // SC-AUTH-043
    #[rstest]
    #[case(&["ghcr.io"], "ghcr.io", Some("u0"))]
    #[case(&["https://ghcr.io/v1/"], "ghcr.io", Some("u0"))]
    #[case(&["ghcr.io/org", "ghcr.io"], "ghcr.io", Some("u1"))]
    #[case(&["ghcr.io/org"], "ghcr.io", Some("u0"))]
    #[case(&["*.io"], "ghcr.io", None)]
    #[case(&["ghcr.io:443"], "ghcr.io", None)]
    fn the_entry_of_a_host(
        #[case] keys: &[&str],
        #[case] host: &str,
        #[case] expected: Option<&str>,
    ) {
        let mut keychain = Keychain::default();
        keychain.add_config(auths(keys).as_bytes()).unwrap();
        let found = keychain.of_host(host);
        let found = found.and_then(|credentials| credentials.basic.as_ref());
        assert_eq!(found.map(|basic| basic.username.as_str()), expected);
    }

    // SC-AUTH-031
    #[test]
    fn forms_of_an_entry() {
        let repository = "ghcr.io/app";
        for entry in [
            r#"{"auth": "Zmx1eDpzM2NyZXQ="}"#,
            r#"{"auth": "Zmx1eDpzM2NyZXQ"}"#,
            r#"{"username": "flux", "password": "s3cret"}"#,
            r#"{"username": "other", "password": "x", "auth": "Zmx1eDpzM2NyZXQ="}"#,
        ] {
            let config = format!(r#"{{"auths": {{"ghcr.io": {entry}}}}}"#);
            assert_eq!(user(&config, repository), "flux:s3cret", "{entry}");
        }
        let mut keychain = Keychain::default();
        let legacy = br#"{"ghcr.io": {"identitytoken": "t", "registrytoken": "r"}, "x.io": null}"#;
        keychain.add_legacy_config(legacy).unwrap();
        let found = keychain.credentials(&Repository::parse(repository).unwrap());
        assert_eq!(found.identity_token, Some(Secret::from("t")));
        assert_eq!(found.registry_token, Some(Secret::from("r")));
        assert!(keychain.add_config(br#"{"auths": null}"#).is_ok());
    }

    // SC-AUTH-030: the Secret of the object before those of its account
    #[test]
    fn an_earlier_configuration_takes_precedence() {
        let mut keychain = Keychain::default();
        for user in ["first", "second"] {
            let config =
                format!(r#"{{"auths": {{"ghcr.io": {{"username": "{user}", "password": "p"}}}}}}"#);
            keychain.add_config(config.as_bytes()).unwrap();
        }
        let found = keychain.credentials(&Repository::parse("ghcr.io/app").unwrap());
        assert_eq!(found.basic.unwrap().username, "first");
    }

    #[rstest]
    #[case("S3CRET", KeychainError::Json)]
    #[case(r#"{"auths": ["S3CRET"]}"#, KeychainError::Json)]
    #[case(r#"{"auths": {"S3CRET": {"auth": "S3CRET%"}}}"#, KeychainError::Base64)]
    #[case(
        r#"{"auths": {"S3CRET": {"auth": "UzNDUkVU"}}}"#,
        KeychainError::NoPassword
    )]
    fn errors_show_nothing(#[case] config: &str, #[case] expected: KeychainError) {
        let mut keychain = Keychain::default();
        let error = keychain.add_config(config.as_bytes()).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("S3CRET"));
        keychain
            .add_config(br#"{"auths": {"ghcr.io": {"username": "S3CRET", "password": "S3CRET"}}}"#)
            .unwrap();
        let found = keychain.credentials(&Repository::parse("ghcr.io/app").unwrap());
        assert!(!format!("{keychain:?} {found:?}").contains("S3CRET"));
    }
}
