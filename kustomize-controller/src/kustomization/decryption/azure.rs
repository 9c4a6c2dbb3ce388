//! Azure Key Vault (KC-SOPS-042).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flux_errors::chain;
use flux_http::{Repeat, Secret};
use flux_sops::MasterKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::services::{Failure, MAX_RESPONSE, Services};

const VERSION: &str = "2025-07-01";
const ALGORITHM: &str = "RSA-OAEP-256";
/// What is escaped in a part of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Asks a vault for a data key.
pub(super) async fn decrypt(
    services: &Services<'_>,
    key: &MasterKey,
    [vault, name, version]: [&String; 3],
    encrypted: &str,
) -> Result<Vec<u8>, Failure> {
    let failed = |text: String| {
        format!("failed to decrypt sops data key with Azure Key Vault key '{key}': {text}")
    };
    // Upstream sends it as it is decoded, so that it has to be valid.
    URL_SAFE_NO_PAD.decode(encrypted).map_err(|_| {
        Failure::once("failed to base64 decode Azure Key Vault encrypted key: illegal base64 data")
    })?;
    let part = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    let url = format!(
        "{}/keys/{}/{}/decrypt?api-version={VERSION}",
        vault.trim_end_matches('/'),
        part(name),
        part(version)
    );
    let url =
        Url::parse(&url).map_err(|_| Failure::once(failed("invalid vault URL".to_owned())))?;
    if url.scheme() != "https" {
        let text =
            "authenticated requests are not permitted for non TLS protected (https) endpoints";
        return Err(Failure::once(failed(text.to_owned())));
    }
    let identity = services.identity("decrypt_with_azure")?;
    let http = identity.cloud().http();
    // A vault says itself whom tokens have to be for.
    let challenge = flux_http::send(http.post(url.clone()), Repeat::Idempotent).await;
    let challenge = challenge.map_err(|error| Failure::lasting(failed(chain(&error))))?;
    if challenge.status() != StatusCode::UNAUTHORIZED {
        return Err(Failure::once(failed(refusal(&url, challenge).await)));
    }
    let scope = scope(&url, &challenge).map_err(|text| Failure::once(failed(text)))?;
    let token = token(services, &scope)
        .await
        .map_err(|text| Failure::lasting(failed(text)))?;
    let request = http
        .post(url.clone())
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .bearer_auth(token.expose_text())
        .body(json!({"alg": ALGORITHM, "value": encrypted}).to_string());
    let response = flux_http::send(request, Repeat::Idempotent).await;
    let response = response.map_err(|error| Failure::lasting(failed(chain(&error))))?;
    if !response.status().is_success() {
        return Err(Failure::once(failed(refusal(&url, response).await)));
    }
    let body = flux_http::read_body(response, MAX_RESPONSE).await;
    let body = body.map_err(|error| Failure::once(failed(chain(&error))))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let plain = answer.get("value").and_then(Value::as_str);
    let plain = plain.and_then(|plain| URL_SAFE_NO_PAD.decode(plain.trim_end_matches('=')).ok());
    plain.ok_or_else(|| Failure::once(failed("the answer has no value".to_owned())))
}

/// The scope that a vault asks for. Its host has to be of the same domain: a token for one service is not sent to another.
fn scope(url: &Url, challenge: &Response) -> Result<String, String> {
    let header = challenge.headers().get("www-authenticate");
    let header = header
        .and_then(|header| header.to_str().ok())
        .ok_or("response has no WWW-Authenticate header for challenge authentication")?;
    scope_of(url, header)
}

fn scope_of(url: &Url, header: &str) -> Result<String, String> {
    let header = header.replace("Bearer ", "");
    let field = |wanted: &str| {
        let mut fields = header.split(' ').filter_map(|part| part.split_once('='));
        let (_, value) = fields.find(|(name, _)| *name == wanted)?;
        Some(value.replace('"', "").trim_end_matches(',').to_owned())
    };
    let scope = field("scope")
        .or_else(|| field("resource"))
        .filter(|scope| !scope.is_empty())
        .ok_or("could not find a valid resource in the WWW-Authenticate header")?;
    let asked = flux_golang::url::Url::parse(scope.as_bytes());
    let asked = asked.map(|asked| String::from_utf8_lossy(&asked.host).into_owned());
    let own = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let is_own = asked.is_ok_and(|asked| !asked.is_empty() && own.ends_with(&format!(".{asked}")));
    if !is_own {
        return Err(format!(
            "challenge resource '{scope}' doesn't match the requested domain"
        ));
    }
    Ok(if scope.ends_with("/.default") {
        scope
    } else {
        format!("{scope}/.default")
    })
}

async fn token(services: &Services<'_>, scope: &str) -> Result<Secret, String> {
    let identity = services.identity("decrypt_with_azure");
    let identity = identity.map_err(|failure| failure.text)?;
    let token = match &services.keys.azure {
        Some(credential) => {
            let token = credential.token(identity.cloud(), scope).await;
            token.map_err(|error| chain(&error))?
        }
        None => identity
            .azure_token(scope)
            .await
            .map_err(|error| chain(&error))?,
    };
    Ok(token.value)
}

/// A refusal in the layout of upstream's client, without the body that it would quote.
async fn refusal(url: &Url, response: Response) -> String {
    const LINE: &str =
        "--------------------------------------------------------------------------------";
    let status = response.status();
    let body = flux_http::read_body(response, MAX_RESPONSE)
        .await
        .unwrap_or_default();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let field = |name: &str| {
        let text = answer["error"][name].as_str().unwrap_or_default();
        text.chars().take(500).collect::<String>()
    };
    let code = match &*field("code") {
        "" => "ERROR CODE UNAVAILABLE".to_owned(),
        code => format!("ERROR CODE: {code}"),
    };
    let mut shown = url.clone();
    shown.set_query(None);
    format!(
        "POST {shown}\n{LINE}\nRESPONSE {}: {status}\n{code}\n{LINE}\n{}",
        status.as_u16(),
        field("message")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_only_for_the_domain_of_the_vault() {
        // KC-SOPS-042
        let url = Url::parse("https://kv.vault.azure.net/keys/k/1/decrypt").unwrap();
        let header = |resource: &str| {
            format!(
                "Bearer authorization=\"https://login.microsoftonline.com/t\", resource=\"{resource}\""
            )
        };
        let scope = |resource: &str| scope_of(&url, &header(resource));
        assert_eq!(
            scope("https://vault.azure.net"),
            Ok("https://vault.azure.net/.default".to_owned())
        );
        for other in [
            "https://management.azure.com",
            "https://ault.azure.net",
            "https://",
            "",
        ] {
            assert!(scope(other).is_err(), "{other}");
        }
        let both = "Bearer authorization=\"https://login/t\" scope=\"https://vault.azure.net/.default\" resource=\"x\"";
        assert_eq!(
            scope_of(&url, both),
            Ok("https://vault.azure.net/.default".to_owned())
        );
        assert!(scope_of(&url, "Basic").is_err());
    }
}
