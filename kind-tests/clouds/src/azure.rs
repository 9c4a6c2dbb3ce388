//! Entra ID and Azure Container Registry.

use serde_json::json;

use crate::jwt;
use crate::server::{Answer, Request, State, json as answer};

/// The type of an assertion.
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The scope of Blob Storage.
const STORAGE: &str = "https://storage.azure.com/.default";

/// A token of the form that Azurite reads.
fn storage_token(state: &State, id: &str) -> String {
    let now = jiff::Timestamp::now().as_second();
    jwt::token(&json!({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant-1/", "jti": id,
        "iat": now, "nbf": now, "exp": state.expiry().as_second(),
    }))
}

/// Issues tokens to clients that prove themselves by a secret or an assertion. The tenant is `tenant-1`.
pub(crate) fn tokens(state: &mut State, request: &Request) -> Answer {
    let refuse = |code: &str, description: &str| {
        answer(
            400,
            &json!({"error": code, "error_description": format!("{description} Trace ID: 123 Correlation ID: 456")}),
        )
    };
    if request.method != "POST"
        || request.target != "/tenant-1/oauth2/v2.0/token"
        || request.header("content-type") != "application/x-www-form-urlencoded"
        || request.field("grant_type") != "client_credentials"
    {
        return refuse("invalid_request", "AADSTS900144: malformed request.");
    }
    let (client, scope) = (request.field("client_id"), request.field("scope"));
    if !scope.ends_with("/.default") {
        return refuse("invalid_scope", "AADSTS70011: the scope is not valid.");
    }
    let names = request.fields();
    let assertion = request.field("client_assertion");
    let proven = if assertion.is_empty() {
        names == ["client_id", "client_secret", "grant_type", "scope"]
            && request.field("client_secret") == format!("secret of {client}")
    } else {
        names
            == [
                "client_assertion",
                "client_assertion_type",
                "client_id",
                "grant_type",
                "scope",
            ]
            && request.field("client_assertion_type") == ASSERTION
            && state.is_trusted(&client, &assertion)
    };
    if !proven {
        let text =
            "AADSTS700213: No matching federated identity record found for presented assertion.";
        return refuse("invalid_client", text);
    }
    let mut token = format!("azure-token-{}", state.next());
    if scope == STORAGE {
        token = storage_token(state, &token);
    }
    state.tokens.insert(token.clone(), scope);
    let life = state.life.as_secs();
    answer(
        200,
        &json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token}),
    )
}

/// A vault that decrypts what it is given: the plaintext is the ciphertext.
pub(crate) fn vault(state: &State, request: &Request) -> Answer {
    let bearer = request.header("authorization").strip_prefix("Bearer ");
    let scope = bearer.and_then(|token| state.tokens.get(token));
    if scope.map(String::as_str) != Some("https://vault.azure.net/.default") {
        let error = json!({"code": "Unauthorized", "message": "the token is not for vaults"});
        return answer(401, &json!({"error": error}));
    }
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
    if request.path() != "/keys/flux/1/decrypt" || body["alg"] != "RSA-OAEP-256" {
        let error = json!({"code": "KeyNotFound", "message": "no such key"});
        return answer(404, &json!({"error": error}));
    }
    answer(200, &json!({"kid": "k", "value": body["value"]}))
}

/// Exchanges tokens of Entra ID for logins of the registry.
pub(crate) fn exchange(state: &State, request: &Request) -> Answer {
    let scope = state.tokens.get(&request.field("access_token"));
    if request.method != "POST"
        || request.target != "/oauth2/exchange"
        || request.header("content-type") != "application/x-www-form-urlencoded"
        || request.fields() != ["access_token", "grant_type", "service"]
        || request.field("grant_type") != "access_token"
        || request.field("service") != request.host
        || scope.map(String::as_str) != Some("https://containerregistry.azure.net/.default")
    {
        let errors = json!([{"code": "UNAUTHORIZED", "message": "authentication required"}]);
        return answer(401, &json!({"errors": errors}));
    }
    let claims = json!({"exp": state.expiry().as_second(), "aud": request.host});
    answer(200, &json!({"refresh_token": jwt::token(&claims)}))
}
