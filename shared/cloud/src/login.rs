//! Logins for registries and for Git.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flux_http::Secret;
use serde::{Deserialize, Serialize};

use crate::token_cache::Token;

/// How a client identifies itself to a registry. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The user; empty if there is only a bearer token.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// A token that the registry takes as it is, in place of user and password.
    pub bearer: Option<Secret>,
    /// When it expires.
    pub expires: SystemTime,
}

/// The form in which a login is cached.
#[derive(Serialize, Deserialize)]
struct Kept {
    username: String,
    password: String,
    bearer: Option<String>,
    expires: u64,
}

impl RegistryLogin {
    /// A login as the value of a token, for a token cache.
    pub fn to_token(&self) -> Token {
        let text = |secret: &Secret| secret.expose_text().into_owned();
        let since = self.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = Kept {
            username: self.username.clone(),
            password: text(&self.password),
            bearer: self.bearer.as_ref().map(text),
            expires: since.as_secs(),
        };
        Token {
            value: Secret::new(serde_json::to_vec(&kept).unwrap_or_default()),
            expires: self.expires,
        }
    }

    /// The login in a token made by [`to_token`](Self::to_token); `None` if it is of another kind.
    pub fn of_token(token: &Token) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(token.value.expose()).ok()?;
        Some(Self {
            username: kept.username,
            password: Secret::new(kept.password),
            bearer: kept.bearer.map(Secret::new),
            expires: UNIX_EPOCH + Duration::from_secs(kept.expires),
        })
    }
}

/// How a client identifies itself to a Git host: by user and password, or by a bearer token. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitLogin {
    /// The user, which may contain a session token; empty if there is a bearer token.
    pub username: Secret,
    /// The password.
    pub password: Secret,
    /// A token in place of user and password.
    pub bearer: Option<Secret>,
    /// When it expires.
    pub expires: SystemTime,
}

impl GitLogin {
    /// A login as the value of a token, for a token cache.
    pub fn to_token(&self) -> Token {
        RegistryLogin {
            username: self.username.expose_text().into_owned(),
            password: self.password.clone(),
            bearer: self.bearer.clone(),
            expires: self.expires,
        }
        .to_token()
    }

    /// The login in a token made by [`to_token`](Self::to_token); `None` if it is of another kind.
    pub fn of_token(token: &Token) -> Option<Self> {
        let login = RegistryLogin::of_token(token)?;
        Some(Self {
            username: Secret::new(login.username),
            password: login.password,
            bearer: login.bearer,
            expires: login.expires,
        })
    }
}
