//! Amazon Web Services: credentials, signatures, and the logins made of them.
//!
//! - [`default_credentials`] are those of the process, found as the SDKs find them (RT-WID-007).
//! - [`assume_role_with_web_identity`] exchanges a token of a ServiceAccount (RT-WID-005).
//! - [`sign`] and [`presign`] sign requests with Signature Version 4; [`call`] makes one to an API of JSON.
//! - [`registry_login`] and [`git_login`] make credentials for ECR and CodeCommit.

mod chain;
mod container;
mod error;
mod git;
mod instance;
mod partition;
mod profile;
mod registry;
mod sign;
mod sts;

use std::time::SystemTime;

use flux_http::Secret;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use chain::default_credentials;
pub use error::Error;
pub use git::{git_login, git_region};
pub use partition::endpoint;
pub use registry::{REGISTRY_PATTERN, login_scope, registry_login, registry_region};
pub use sign::{Payload, Scope, SignError, presign, sign};
pub use sts::{
    Sts, assume_role, assume_role_with_web_identity, check_role_arn, check_sts_endpoint,
};

use crate::client::{self, Answer, CallError, CloudClient};
use crate::token_cache::Token;

/// The audience of tokens that are exchanged for credentials (RT-WID-005).
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// Access keys. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The ID of the access key, which is not secret.
    pub access_key_id: String,
    /// The key that requests are signed with.
    pub secret_access_key: Secret,
    /// The token that goes with temporary keys.
    pub session_token: Option<Secret>,
    /// When they expire; `None` for permanent keys.
    pub expires: Option<SystemTime>,
}

/// The form in which credentials are cached.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    key: String,
    token: Option<String>,
    expires: Option<u64>,
}

impl Credentials {
    /// Credentials as the value of a token, for a token cache. Permanent keys are not cached: they expire at once, as
    /// in upstream, so that a change of the file or variable that they come from takes effect.
    pub fn to_token(&self) -> Token {
        let text = |secret: &Secret| secret.expose_text().into_owned();
        let since = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        };
        let kept = Kept {
            id: self.access_key_id.clone(),
            key: text(&self.secret_access_key),
            token: self.session_token.as_ref().map(text),
            expires: self.expires.map(since),
        };
        Token {
            value: Secret::new(serde_json::to_vec(&kept).unwrap_or_default()),
            expires: self.expires.unwrap_or_else(SystemTime::now),
        }
    }

    /// The credentials in a token made by [`to_token`](Self::to_token); `None` if it is of another kind.
    pub fn of_token(token: &Token) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(token.value.expose()).ok()?;
        Some(Self {
            access_key_id: kept.id,
            secret_access_key: Secret::new(kept.key),
            session_token: kept.token.map(Secret::new),
            expires: kept
                .expires
                .map(|seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)),
        })
    }
}

/// A request to an API of the protocol "AWS JSON 1.1", such as those of ECR and KMS.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The name of the service in error texts, such as `KMS`.
    pub name: &'a str,
    /// Its name in signatures, such as `kms`.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// Where the service is: [`endpoint`] or an address that replaces it.
    pub url: &'a Url,
    /// The value of `X-Amz-Target`, such as `TrentService.Decrypt`. The operation is what follows the dot.
    pub target: &'a str,
}

/// Makes a signed request and returns the response, a JSON object.
///
/// # Errors
/// The service refuses ([`Error::Operation`], with the SDK's text), cannot be reached, or the credentials cannot sign.
pub async fn call(
    client: &CloudClient,
    credentials: &Credentials,
    call: &Call<'_>,
    body: &Value,
) -> Result<Value, Error> {
    let operation = call.target.rsplit('.').next().unwrap_or_default();
    let failed = |source: CallError| Error::operation(call.name, operation, source);
    let body = body.to_string();
    let request = client
        .http()
        .request(Method::POST, call.url.clone())
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", call.target)
        .body(body.clone());
    let scope = Scope {
        region: call.region,
        service: call.service,
        time: SystemTime::now(),
    };
    let answer = signed(request, credentials, &scope, body.as_bytes()).await;
    answer?
        .map_err(failed)
        .and_then(|answer| answer.json().map_err(failed))
}

/// Signs a request and sends it.
async fn signed(
    request: reqwest::RequestBuilder,
    credentials: &Credentials,
    scope: &Scope<'_>,
    body: &[u8],
) -> Result<Result<Answer, CallError>, Error> {
    let (http, request) = request.build_split();
    let mut request = request.map_err(|_| SignError::NoHost)?;
    sign(&mut request, credentials, scope, Payload::Bytes(body))?;
    let request = reqwest::RequestBuilder::from_parts(http, request);
    let none = Secret::default();
    let token = credentials.session_token.as_ref().unwrap_or(&none);
    let secrets = [&credentials.secret_access_key, token];
    Ok(client::call(request, error::json_reason, &secrets).await)
}
