//! Git credentials for CodeCommit: a signature over the repository's address (RT-WID-009).

use std::time::{Duration, SystemTime};

use flux_http::Secret;
use url::Url;

use super::sign::sign_git;
use super::{Credentials, Error, Scope};
use crate::login::GitLogin;

/// For how long CodeCommit accepts a signature.
const VALIDITY: Duration = Duration::from_mins(15);

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
        bearer: None,
        // Whatever ends first; upstream's permanent keys have no expiry and are signed with at each use.
        expires: credentials
            .expires
            .map_or(now, |expires| expires.min(until)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    // RT-WID-009, SC-AUTH-023, SC-AUTH-054
    #[test]
    fn the_region_is_in_the_host() {
        for (text, region) in [
            (
                "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
                "us-east-1",
            ),
            (
                "https://git-codecommit-fips.us-gov-west-1.amazonaws.com/v1/repos/app",
                "us-gov-west-1",
            ),
            (
                "https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/app",
                "cn-north-1",
            ),
        ] {
            assert_eq!(git_region(&url(text)).unwrap(), region);
        }
        for (text, said) in [
            (
                "http://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
                "AWS CodeCommit authentication requires an HTTPS Git URL",
            ),
            (
                "ssh://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
                "AWS CodeCommit authentication requires an HTTPS Git URL",
            ),
            (
                "https://github.com:8443/org/app",
                "invalid AWS CodeCommit Git URL: github.com:8443",
            ),
            (
                "https://git-codecommit.amazonaws.com/v1/repos/app",
                "invalid AWS CodeCommit Git URL: git-codecommit.amazonaws.com",
            ),
        ] {
            assert_eq!(git_region(&url(text)).unwrap_err().to_string(), said);
        }
    }

    // RT-WID-009, SC-AUTH-023: as git-remote-codecommit signs: the canonical request ends after the signed headers
    #[test]
    fn a_login_is_a_signature_over_the_address() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let later = now + Duration::from_hours(1);
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: Some(Secret::from("session")),
            expires: Some(later),
        };
        let address = url("https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app");
        let login = git_login(&credentials, &address, now).unwrap();
        assert_eq!(login.username.expose(), b"AKIDEXAMPLE%session");
        let password = login.password.expose_text().into_owned();
        assert_eq!(password, PASSWORD);
        assert_eq!(login.expires, now + VALIDITY);
        let soon = now + Duration::from_mins(5);
        let expiring = Credentials {
            expires: Some(soon),
            ..credentials.clone()
        };
        assert_eq!(git_login(&expiring, &address, now).unwrap().expires, soon);
        let permanent = Credentials {
            session_token: None,
            expires: None,
            ..credentials
        };
        let login = git_login(&permanent, &address, now).unwrap();
        assert_eq!(login.username.expose(), b"AKIDEXAMPLE%");
        assert!(!format!("{login:?}").contains("AKID"));
    }

    /// Computed with the steps of the documentation by another program.
    const PASSWORD: &str =
        "20150830T123600Zc4a0249b9558f827049ef5b9439ef3fe64993f1109409b64186666098a251680";
}
