//! Google Cloud KMS, by its REST API (KC-SOPS-043).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_cloud::Environment;
use flux_errors::chain;
use flux_golang::encoding::decode_base64;
use flux_http::{Repeat, Secret};
use serde_json::{Value, json};

use super::services::{Failure, MAX_RESPONSE, Services};

/// Asks KMS for a data key.
pub(super) async fn decrypt(
    services: &Services<'_>,
    resource: &str,
    encrypted: &str,
) -> Result<Vec<u8>, Failure> {
    let failed = |text: String| format!("failed to decrypt sops data key with GCP KMS key: {text}");
    if !is_key(resource) {
        return Err(Failure::once(format!(
            "cannot create GCP KMS service: no valid resource ID found in \"{resource}\""
        )));
    }
    let ciphertext = decode_base64(encrypted.as_bytes()).map_err(Failure::once)?;
    let token = token(services)
        .await
        .map_err(|text| Failure::lasting(failed(text)))?;
    let identity = services.identity("decrypt_with_gcp")?;
    let base = endpoint(&services.process.environment);
    let request = identity
        .cloud()
        .http()
        .post(format!("{base}/v1/{resource}:decrypt"))
        .header("content-type", "application/json")
        .bearer_auth(token.expose_text())
        .body(json!({"ciphertext": STANDARD.encode(ciphertext)}).to_string());
    let response = flux_http::send(request, Repeat::Idempotent).await;
    let response = response.map_err(|error| Failure::lasting(failed(chain(&error))))?;
    let status = response.status();
    let body = flux_http::read_body(response, MAX_RESPONSE).await;
    let body = body.map_err(|error| Failure::once(failed(chain(&error))))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !status.is_success() {
        return Err(Failure::once(failed(refusal(status.as_u16(), &answer))));
    }
    let plain = answer.get("plaintext").and_then(Value::as_str);
    let plain = plain.and_then(|plain| STANDARD.decode(plain).ok());
    plain.ok_or_else(|| Failure::once(failed("the answer has no plaintext".to_owned())))
}

async fn token(services: &Services<'_>) -> Result<Secret, String> {
    let identity = services.identity("decrypt_with_gcp");
    let identity = identity.map_err(|failure| failure.text)?;
    let token = match &services.keys.gcp {
        Some(key) => key
            .token(identity.cloud())
            .await
            .map_err(|error| chain(&error))?,
        None => identity.gcp_token().await.map_err(|error| chain(&error))?,
    };
    Ok(token.value)
}

/// Whether a text matches `^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`, of characters that need no
/// escape in a path.
fn is_key(resource: &str) -> bool {
    let parts: Vec<&str> = resource.split('/').collect();
    let is_name = |part: &&str| {
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:~@".contains(&byte);
        !part.is_empty() && part.bytes().all(permitted) && !matches!(*part, "." | "..")
    };
    let [
        "projects",
        a,
        "locations",
        b,
        "keyRings",
        c,
        "cryptoKeys",
        d,
    ] = parts.as_slice()
    else {
        return false;
    };
    [a, b, c, d].into_iter().all(is_name)
}

/// Where the API is, as SOPS' variables say.
fn endpoint(environment: &Environment) -> String {
    if let Some(endpoint) = environment.get("SOPS_GCP_KMS_ENDPOINT") {
        let endpoint = endpoint.trim_end_matches('/');
        return if endpoint.contains("://") {
            endpoint.to_owned()
        } else {
            format!("https://{endpoint}")
        };
    }
    let domain = environment.get("SOPS_GCP_KMS_UNIVERSE_DOMAIN");
    format!(
        "https://cloudkms.{}",
        domain.as_deref().unwrap_or("googleapis.com")
    )
}

/// A refusal in the words of upstream's client, which speaks gRPC.
fn refusal(status: u16, answer: &Value) -> String {
    let error = &answer["error"];
    let code = error["status"].as_str().unwrap_or_default();
    let code: String = code
        .split('_')
        .map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or_default();
            format!("{first}{}", rest.to_ascii_lowercase())
        })
        .collect();
    let code = if code.is_empty() {
        "Unknown".to_owned()
    } else {
        code
    };
    let message = error["message"].as_str().unwrap_or_default();
    let message: String = message.chars().take(1000).collect();
    if message.is_empty() {
        format!(
            "rpc error: code = {code} desc = unexpected HTTP status code received from server: {status}"
        )
    } else {
        format!("rpc error: code = {code} desc = {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_keys_become_addresses() {
        let key = "projects/p/locations/global/keyRings/r/cryptoKeys/k";
        assert!(is_key(key));
        for bad in [
            "",
            "projects/p",
            &format!("{key}/x"),
            &format!("x{key}"),
            &key.replace("/k", "/"),
            &key.replace("/k", "/k?a"),
            &key.replace("/p/", "/../"),
        ] {
            assert!(!is_key(bad), "{bad}");
        }
    }

    #[test]
    fn refusals_are_worded_as_by_grpc() {
        // KC-SOPS-043
        let answer =
            json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}});
        assert_eq!(
            refusal(403, &answer),
            "rpc error: code = PermissionDenied desc = no"
        );
        assert_eq!(
            refusal(502, &Value::Null),
            "rpc error: code = Unknown desc = unexpected HTTP status code received from server: 502"
        );
    }

    #[test]
    fn the_api_may_be_elsewhere() {
        let at = |name: &str, value: &str| endpoint(&Environment::of_values([(name, value)]));
        assert_eq!(at("X", ""), "https://cloudkms.googleapis.com");
        assert_eq!(
            at("SOPS_GCP_KMS_ENDPOINT", "kms.example:443"),
            "https://kms.example:443"
        );
        assert_eq!(
            at("SOPS_GCP_KMS_ENDPOINT", "http://127.0.0.1:1/"),
            "http://127.0.0.1:1"
        );
        assert_eq!(
            at("SOPS_GCP_KMS_UNIVERSE_DOMAIN", "example.goog"),
            "https://cloudkms.example.goog"
        );
    }
}
