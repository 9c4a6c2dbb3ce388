//! Google's token services.

use serde_json::{Value, json};

use crate::clusters::may_use_platform;
use crate::jwt;
use crate::server::{Answer, Request, State, json as answer};

const PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const BOTH: &str =
    "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email";

fn refuse(status: u16, code: &str, description: &str) -> Answer {
    answer(
        status,
        &json!({"error": code, "error_description": description}),
    )
}

fn issued(state: &mut State, kind: &str) -> Answer {
    let token = format!("google-{kind}-{}", state.next());
    state.tokens.insert(token.clone(), kind.to_owned());
    let life = state.life.as_secs();
    answer(
        200,
        &json!({"access_token": token, "expires_in": life, "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}),
    )
}

/// Exchanges tokens of other issuers.
pub(crate) fn exchange(state: &mut State, request: &Request) -> Answer {
    let expected = [
        "audience",
        "grant_type",
        "requested_token_type",
        "scope",
        "subject_token",
        "subject_token_type",
    ];
    let scope = request.field("scope");
    if request.method != "POST"
        || request.target != "/v1/token"
        || request.header("content-type") != "application/x-www-form-urlencoded"
        || request.fields() != expected
        || request.field("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange"
        || request.field("requested_token_type") != "urn:ietf:params:oauth:token-type:access_token"
        || request.field("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt"
        || ![PLATFORM, BOTH].contains(&scope.as_str())
    {
        return refuse(400, "invalid_request", "malformed request");
    }
    if !state.is_trusted(&request.field("audience"), &request.field("subject_token")) {
        return refuse(400, "invalid_grant", "the subject token is not accepted");
    }
    let kind = if scope == BOTH { "direct" } else { "federated" };
    issued(state, kind)
}

/// Issues tokens of a service account to those who were issued a token of the platform.
pub(crate) fn impersonate(state: &mut State, request: &Request) -> Answer {
    let bearer = request.header("authorization").strip_prefix("Bearer ");
    let kind = bearer.and_then(|token| state.tokens.get(token));
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let path =
        "/v1/projects/-/serviceAccounts/flux@project-1.iam.gserviceaccount.com:generateAccessToken";
    if kind.map(String::as_str) != Some("federated") || request.path() != path {
        let error = json!({"code": 403, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.getAccessToken' denied"});
        return answer(403, &json!({"error": error}));
    }
    let scopes: Vec<&str> = BOTH.split(' ').collect();
    if request.method != "POST" || body != json!({"lifetime": "3600s", "scope": scopes}) {
        let error =
            json!({"code": 400, "status": "INVALID_ARGUMENT", "message": "malformed request"});
        return answer(400, &json!({"error": error}));
    }
    let token = format!("google-impersonated-{}", state.next());
    state
        .tokens
        .insert(token.clone(), "impersonated".to_owned());
    let expires = format!("{:.0}", state.expiry());
    answer(200, &json!({"accessToken": token, "expireTime": expires}))
}

/// Decrypts what it is given: the plaintext is the ciphertext.
pub(crate) fn kms(state: &State, request: &Request) -> Answer {
    let bearer = request.header("authorization").strip_prefix("Bearer ");
    let kind = bearer.and_then(|token| state.tokens.get(token));
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let key = "/v1/projects/project-1/locations/global/keyRings/r/cryptoKeys/k:decrypt";
    if !kind.is_some_and(|kind| may_use_platform(kind)) || request.path() != key {
        let error = json!({"code": 403, "status": "PERMISSION_DENIED", "message": "not this key"});
        return answer(403, &json!({"error": error}));
    }
    answer(200, &json!({"plaintext": body["ciphertext"]}))
}

/// Issues tokens for assertions that a service account's key has signed. Its audience and times are checked.
pub(crate) fn assertion(state: &mut State, request: &Request) -> Answer {
    let claims = jwt::claims(&request.field("assertion"));
    let (from, until) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    let life = from.zip(until).map(|(from, until)| until - from);
    if request.method != "POST"
        || request.target != "/token"
        || request.fields() != ["assertion", "grant_type"]
        || request.field("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer"
        || claims["aud"] != "https://oauth2.googleapis.com/token"
        || claims["scope"] != BOTH
        || claims["iss"] != "flux@project-1.iam.gserviceaccount.com"
        || life != Some(3600)
    {
        return refuse(400, "invalid_grant", "Invalid JWT");
    }
    issued(state, "key")
}
