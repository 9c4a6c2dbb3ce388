//! Git credentials for CodeCommit: a signature over the repository's address (RT-WID-009).

use std::time::{Duration, SystemTime};

use flux_http::Secret;
use url::Url;

use super::sign::sign_git;
use super::{Credentials, Error, Scope};

/// For how long CodeCommit accepts a signature.
const VALIDITY: Duration = Duration::from_mins(15);

/// User and password for Git over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitLogin {
    /// The user; of CodeCommit's it contains the session token.
    pub username: Secret,
    /// The password.
    pub password: Secret,
    /// When it stops working.
    pub expires: SystemTime,
}

/// The region of a repository in CodeCommit (RT-WID-009, SC-AUTH-054).
///
/// # Errors
/// The address is not an HTTPS address of CodeCommit.
pub fn git_region(url: &Url) -> Result<&str, Error> {
    if url.scheme() != "https" {
        return Err(Error::GitScheme);
    }
    let host = url.host_str().unwrap_or_default();
    let shown = || match url.port() {
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    let starts = host.starts_with("git-codecommit.") || host.starts_with("git-codecommit-fips.");
    let ends = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    match host.split('.').nth(1) {
        Some(region) if starts && ends && host.split('.').count() >= 4 => Ok(region),
        _ => Err(Error::GitHost(shown())),
    }
}

/// Makes a login for the repository at this address; no request is made (RT-WID-009).
///
/// # Errors
/// The address is none of CodeCommit.
pub fn git_login(credentials: &Credentials, url: &Url, now: SystemTime) -> Result<GitLogin, Error> {
    let scope = Scope {
        region: git_region(url)?,
        service: "codecommit",
        time: now,
    };
    let (time, signature) = sign_git(url, credentials, &scope)?;
    let token = credentials.session_token.as_ref();
    let token = token.map(Secret::expose).unwrap_or_default();
    let username = [credentials.access_key_id.as_bytes(), b"%", token].concat();
    let until = now + VALIDITY;
    Ok(GitLogin {
        username: Secret::new(username),
        password: Secret::new(format!("{time}Z{signature}")),
        // Whatever ends first; upstream's permanent keys have no expiry and are signed with at each use.
        expires: credentials
            .expires
            .map_or(now, |expires| expires.min(until)),
    })
}
