//! A fake GitHub Enterprise Server with one GitHub App.

use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::SignatureScheme;
use serde_json::{Value, json};

use crate::keys::SshKey;

/// The path of the API on an Enterprise Server.
const API: &str = "/api/v3/";

/// An App with one installation. It checks the App's own tokens (RS256 signature, issuer, times) and issues
/// installation tokens, which are the only credentials for its server's repositories, as password of `x-access-token`.
pub struct GitHubApp {
    id: u64,
    client: Option<String>,
    installation: u64,
    owner: Option<String>,
    life: Duration,
    key: SshKey,
    public_key: Vec<u8>,
    issued: Mutex<Vec<String>>,
}

impl GitHubApp {
    /// An App with this App ID and this installation ID.
    pub fn new(id: u64, installation: u64) -> Self {
        let key = SshKey::generate(&["-t", "rsa", "-b", "2048", "-m", "PEM"], "");
        let public_key = public_key(&key);
        Self {
            id,
            client: None,
            installation,
            owner: None,
            life: Duration::from_hours(1),
            key,
            public_key,
            issued: Mutex::default(),
        }
    }

    /// The App's client ID, which it may name as issuer of its own tokens in place of its ID.
    pub fn client_id(mut self, id: &str) -> Self {
        self.client = Some(id.to_owned());
        self
    }

    /// The organisation of the installation; users of the same name have no installation.
    pub fn organization(mut self, name: &str) -> Self {
        self.owner = Some(format!("orgs/{name}"));
        self
    }

    /// The user of the installation; organisations of the same name have no installation.
    pub fn user(mut self, name: &str) -> Self {
        self.owner = Some(format!("users/{name}"));
        self
    }

    /// The lifetime of its tokens; an hour by default, as on GitHub.
    pub fn token_life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// The App's private key, as GitHub issues them: RSA, PKCS #1, PEM.
    pub fn private_key(&self) -> String {
        self.key.private()
    }

    /// The response to an API call; `None` for other paths.
    pub(crate) fn answer(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
    ) -> Option<(u16, String)> {
        let path = path.strip_prefix(API)?;
        let refuse = |status, message: &str| (status, json!({"message": message}).to_string());
        if let Err(why) = self.check(authorization) {
            return Some(refuse(401, why));
        }
        let tokens = format!("app/installations/{}/access_tokens", self.installation);
        let installation = self
            .owner
            .as_ref()
            .map(|owner| format!("{owner}/installation"));
        Some(match method {
            "GET" if installation.as_deref() == Some(path) => {
                (200, json!({"id": self.installation}).to_string())
            }
            "POST" if path == tokens => (201, self.issue()),
            _ => refuse(404, "Not Found"),
        })
    }

    /// Whether this `Authorization` header gives access to Git.
    pub(crate) fn admits(&self, authorization: Option<&str>) -> bool {
        let issued = self.issued.lock().expect("issued tokens");
        issued.iter().any(|token| {
            let pair = STANDARD.encode(format!("x-access-token:{token}"));
            authorization == Some(&format!("Basic {pair}"))
        })
    }

    fn issue(&self) -> String {
        let mut issued = self.issued.lock().expect("issued tokens");
        let token = format!("ghs_{:04}", issued.len() + 1);
        issued.push(token.clone());
        let expires = jiff::Timestamp::try_from(SystemTime::now() + self.life).expect("a time");
        json!({"token": token, "expires_at": expires.to_string()}).to_string()
    }

    /// Checks the App's own token, as documented by GitHub.
    fn check(&self, authorization: Option<&str>) -> Result<(), &'static str> {
        const MALFORMED: &str = "A JSON web token could not be decoded";
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        let (signed, signature) = token
            .and_then(|token| token.rsplit_once('.'))
            .ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED);
        let read = |part: &str| -> Result<Value, &'static str> {
            serde_json::from_slice(&decode(part)?).map_err(|_| MALFORMED)
        };
        if read(header)?["alg"] != "RS256" || !self.signed(signed, &decode(signature)?) {
            return Err(MALFORMED);
        }
        let claims = read(claims)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        let time = |name: &str| claims[name].as_u64().unwrap_or_default();
        let issuer = claims["iss"].as_str();
        let is_client = self.client.is_some() && issuer == self.client.as_deref();
        if !is_client && issuer != Some(self.id.to_string().as_str()) {
            return Err("Integration not found");
        }
        if time("iat") > now {
            return Err(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
            );
        }
        if time("exp") <= now || time("exp") > now + 600 {
            return Err("'Expiration time' claim ('exp') is too far in the future");
        }
        Ok(())
    }

    fn signed(&self, message: &str, signature: &[u8]) -> bool {
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms;
        let rs256 = algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256);
        let (_, verifiers) = rs256.expect("ring verifies RSA");
        verifiers.iter().any(|verifier| {
            verifier
                .verify_signature(&self.public_key, message.as_bytes(), signature)
                .is_ok()
        })
    }
}

/// The public key in PKCS #1 form.
fn public_key(key: &SshKey) -> Vec<u8> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-e", "-m", "PEM", "-f"]).arg(key.path());
    let output = command.output().expect("start ssh-keygen");
    let pem = String::from_utf8(output.stdout).expect("PEM");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).expect("the body of a PEM file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_of_the_app_are_accepted() {
        let app = GitHubApp::new(7, 8).organization("org");
        let path = "/api/v3/app/installations/8/access_tokens";
        for header in [
            None,
            Some("Bearer x"),
            Some("Bearer e30.e30.e30"),
            Some("Basic e30"),
        ] {
            let (status, body) = app.answer("POST", path, header).unwrap();
            assert_eq!(status, 401, "{header:?} {body}");
        }
        assert!(app.answer("GET", "/app.git/info/refs", None).is_none());
        assert!(!app.admits(None) && !app.admits(Some("Basic x")));
        let issued: Value = serde_json::from_str(&app.issue()).unwrap();
        let token = issued["token"].as_str().unwrap();
        let pair = STANDARD.encode(format!("x-access-token:{token}"));
        assert!(app.admits(Some(&format!("Basic {pair}"))));
    }
}
