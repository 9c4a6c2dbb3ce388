//! The transit engine of Vault or OpenBao (KC-SOPS-037 to KC-SOPS-040).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flux_cloud::{Environment, Token};
use flux_errors::chain;
use flux_golang::path;
use flux_http::{
    ClientOptions, ClientPair, Proxy, ProxyUrl, Redirects, Repeat, RootCertificates, Secret,
    TlsSettings,
};
use flux_objects::Objects;
use flux_runtime::queue::Key;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::services::{Failure, MAX_RESPONSE, Services};
use super::{Decryption, cache_key};

/// What tokens are counted as (KC-PROC-076).
const OPERATION: &str = "decrypt_with_transit_engine";
/// The entry of the ConfigMap.
const CONFIG: &str = "config.yaml";
/// The timeout of a request, and how often and with what pause it is repeated where a server is not ready, as in
/// upstream's client.
const TIMEOUT: Duration = Duration::from_mins(1);
const REPEATS: usize = 2;
const PAUSE: Duration = Duration::from_secs(1);
/// The controller's own ServiceAccount.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Asks a server for a data key.
pub(super) async fn decrypt(
    services: &Services<'_>,
    address: &str,
    engine: &str,
    name: &str,
    encrypted: &str,
) -> Result<Vec<u8>, Failure> {
    let environment = &services.process.environment;
    let token = match &services.keys.transit_token {
        Some(token) => Some(token.clone()),
        None if services.process.transit_servers.is_some() => Some(login(services, address).await?),
        None => None,
    };
    check_allowed(environment, address).map_err(Failure::lasting)?;
    let server = Server::new(environment, address)
        .await
        .map_err(|text| Failure::lasting(format!("cannot create Vault client: {text}")))?;
    let token = match token {
        Some(token) => token,
        None => own_token(environment)
            .await
            .map_err(|text| Failure::lasting(format!("cannot get Vault token: {text}")))?,
    };
    let full = path::join(path::join(engine, "decrypt").as_str(), name);
    let failed = |text: String| {
        format!("failed to decrypt sops data key from Vault transit backend '{full}': {text}")
    };
    let written = server
        .write(&full, &token, &json!({"ciphertext": encrypted}))
        .await;
    let answer = written.map_err(|error| Failure {
        text: failed(error.text),
        ..error
    })?;
    let once = |text: &str| Failure::once(failed(text.to_owned()));
    let data = answer.get("data").filter(|data| data.is_object());
    let plain = data
        .ok_or_else(|| once("transit backend is empty"))?
        .get("plaintext");
    let plain = plain.ok_or_else(|| once("no decrypted data"))?.as_str();
    let plain = plain.ok_or_else(|| once("decrypted plaintext data cannot be cast to string"))?;
    let plain = STANDARD.decode(plain);
    plain.map_err(|_| once("cannot decode base64 plaintext into data key bytes"))
}

/// The token of the process: `VAULT_TOKEN`, or the file in its home.
async fn own_token(environment: &Environment) -> Result<Secret, String> {
    if let Some(token) = environment.get("VAULT_TOKEN") {
        return Ok(Secret::new(token));
    }
    let home = environment.get("HOME");
    let home = home.ok_or("error getting user's home directory: $HOME is not defined")?;
    let path = format!("{home}/.vault-token");
    match tokio::fs::read(&path).await {
        Ok(token) => Ok(Secret::new(token.trim_ascii())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Secret::default()),
        Err(error) => Err(format!("open {path}: {}", flux_http::system_text(&error))),
    }
}

/// Whether `SOPS_HC_VAULT_ALLOWLIST` permits a server.
fn check_allowed(environment: &Environment, address: &str) -> Result<(), String> {
    const VARIABLE: &str = "SOPS_HC_VAULT_ALLOWLIST";
    let list = environment.get(VARIABLE);
    let refused = || Err(format!("Allowlist does not allow {address}"));
    let with_slash = |uri: &str| {
        if uri.ends_with('/') {
            uri.to_owned()
        } else {
            format!("{uri}/")
        }
    };
    let list = match list.as_deref() {
        None | Some("all") => return Ok(()),
        Some("none") => return refused(),
        Some(list) => list,
    };
    let mut allowed = false;
    for (at, uri) in list.split(',').enumerate() {
        let uri = uri.trim_matches(' ');
        if uri.is_empty() {
            return Err(format!("{VARIABLE}'s entry {} is empty", at + 1));
        }
        allowed |= with_slash(address).starts_with(&with_slash(uri));
    }
    if allowed { Ok(()) } else { refused() }
}

/// Exchanges a token of the object's ServiceAccount for one of the server, once in a run (KC-SOPS-039, KC-SOPS-040).
async fn login(services: &Services<'_>, address: &str) -> Result<Secret, Failure> {
    let mut logins = services.logins.lock().await;
    if let Some(token) = logins.get(address) {
        return Ok(token.clone());
    }
    let path = login_path(services.process, address)
        .await
        .map_err(Failure::lasting)?;
    let jwt = kubernetes_token(services, address).await.map_err(|text| {
        Failure::lasting(format!(
            "failed to issue Kubernetes token for Vault authentication: {text}"
        ))
    })?;
    let (namespace, name) = subject(&jwt).map_err(|text| {
        Failure::lasting(format!(
            "failed to derive Vault role for authentication: {text}"
        ))
    })?;
    let role = format!("{namespace}_{name}");
    let server = Server::new(&services.process.environment, address).await;
    let server = server.map_err(|text| {
        Failure::lasting(format!(
            "failed to create Vault client for '{address}': {text}"
        ))
    })?;
    let body = json!({"role": role, "jwt": jwt.expose_text()});
    let answer = server.write(&path, &Secret::default(), &body).await;
    let answer = answer.map_err(|error| {
        let text = error.text;
        Failure::lasting(format!(
            "failed to authenticate with Vault '{address}' at login path '{path}' as role '{role}': {text}"
        ))
    })?;
    let token = answer["auth"]["client_token"]
        .as_str()
        .filter(|token| !token.is_empty());
    let token = token.map(Secret::new).ok_or_else(|| {
        Failure::lasting(format!(
            "Vault '{address}' returned no token for login at '{path}' as role '{role}'"
        ))
    })?;
    logins.insert(address.to_owned(), token.clone());
    Ok(token)
}

/// Where the operator says that a server takes logins: only such servers get tokens.
async fn login_path(process: &Decryption, address: &str) -> Result<String, String> {
    let map = process.transit_servers.clone();
    let map = map.unwrap_or_else(|| Key::new("", ""));
    let read = process.configs.config_maps.get(&map).await;
    let read =
        read.map_err(|error| format!("failed to get Vault ConfigMap '{map}': {}", chain(&error)))?;
    let text = read.data.as_ref().and_then(|data| data.get(CONFIG));
    let text =
        text.ok_or_else(|| format!("Vault ConfigMap '{map}' is missing the '{CONFIG}' key"))?;
    let config = flux_yaml::sigs::from_str(text);
    let config = config.map_err(|error| {
        format!("failed to parse '{CONFIG}' in Vault ConfigMap '{map}': {error}")
    })?;
    let instances = config.get("instances").and_then(flux_yaml::Value::as_seq);
    let text = |instance: &flux_yaml::Value, field| {
        let value = instance.get(field).and_then(flux_yaml::Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    // Of several entries for one server the last counts.
    let mut instances = instances.unwrap_or_default().iter().rev();
    let found = instances.find(|instance| text(instance, "address") == address);
    let path = found.map(|instance| text(instance, "loginPath"));
    path.filter(|path| !path.is_empty()).ok_or_else(|| {
        format!("no Vault login path configured for address '{address}' in ConfigMap '{map}'")
    })
}

/// A token for the server: of the ServiceAccount that the object names, of the default one, or of the controller's own.
async fn kubernetes_token(services: &Services<'_>, address: &str) -> Result<Secret, String> {
    let audiences = [address.to_owned()];
    let identity = services
        .identity(OPERATION)
        .map_err(|failure| failure.text)?;
    let token = identity.kubernetes_token(&audiences).await;
    if let Some(token) = token.map_err(|error| chain(&error))? {
        return Ok(token.value);
    }
    let own = tokio::fs::read(OWN_TOKEN).await;
    let own = own.map_err(|error| {
        format!(
            "failed to read the controller's own token: open {OWN_TOKEN}: {}",
            flux_http::system_text(&error)
        )
    })?;
    let (namespace, name) = subject(&Secret::new(own.trim_ascii()))?;
    let process = services.process;
    let key = cache_key(&[
        ("provider", "generic"),
        ("namespace", &namespace),
        ("controller", &name),
        ("audience", address),
    ]);
    let issue = || async {
        let accounts = Objects::<ServiceAccount>::in_namespace(process.client.clone(), &namespace);
        let accounts = accounts.map_err(flux_objects::Error::from)?;
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(audiences.to_vec()),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let issued = accounts.create_subresource::<_, TokenRequest>("token", &name, &request);
        let token = issued.await?.status.and_then(|status| status.token);
        let value = token.map(Secret::new).unwrap_or_default();
        let expires = flux_cloud::expiry(&value).unwrap_or(std::time::SystemTime::UNIX_EPOCH);
        Ok::<_, flux_objects::Error>(Token { value, expires })
    };
    let tokens = process.identities.tokens();
    let token = tokens.get_for(OPERATION, services.object, key, issue).await;
    Ok(token.map_err(|error| chain(&error))?.value)
}

/// Namespace and name of the ServiceAccount that a token is of.
fn subject(token: &Secret) -> Result<(String, String), String> {
    let text = token.expose_text();
    let parts: Vec<&str> = text.split('.').collect();
    let [_, payload, _] = parts.as_slice() else {
        return Err("not a JWT".to_owned());
    };
    let payload = URL_SAFE_NO_PAD.decode(payload);
    let payload = payload.map_err(|_| "failed to decode token payload".to_owned())?;
    let claims: Value = serde_json::from_slice(&payload)
        .map_err(|_| "failed to unmarshal token payload".to_owned())?;
    let subject = claims["sub"].as_str().unwrap_or_default();
    let account = subject.strip_prefix("system:serviceaccount:");
    let account = account.and_then(|account| account.split_once(':'));
    match account {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("unexpected token subject '{subject}'")),
    }
}

/// A server, as the variables `VAULT_*` say how to reach it.
struct Server {
    client: Client,
    address: Url,
    namespace: Option<String>,
}

impl Server {
    async fn new(environment: &Environment, address: &str) -> Result<Self, String> {
        let url = Url::parse(address).map_err(|_| "the address is no URL".to_owned())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("unsupported scheme '{}'", url.scheme()));
        }
        let file = |path: String| async move {
            let read = tokio::fs::read(&path).await;
            read.map_err(|error| format!("open {path}: {}", flux_http::system_text(&error)))
        };
        let authorities = match (
            environment.get("VAULT_CACERT_BYTES"),
            environment.get("VAULT_CACERT"),
        ) {
            (Some(bytes), _) => Some(bytes.into_bytes()),
            (None, Some(path)) => Some(file(path).await?),
            (None, None) => None,
        };
        let pair = (
            environment.get("VAULT_CLIENT_CERT"),
            environment.get("VAULT_CLIENT_KEY"),
        );
        let client_pair = match pair {
            (Some(certificate), Some(key)) => Some(ClientPair {
                certificate: file(certificate).await?,
                key: Secret::new(file(key).await?),
            }),
            (None, None) => None,
            _ => return Err("both client cert and client key must be provided".to_owned()),
        };
        let skipped = environment.get("VAULT_SKIP_VERIFY");
        let skipped = skipped.map(|text| flux_golang::strconv::parse_bool(text.as_bytes()));
        let skipped = match skipped {
            None => false,
            Some(Ok(skipped)) => skipped,
            Some(Err(_)) => return Err("could not parse VAULT_SKIP_VERIFY".to_owned()),
        };
        let proxy = environment
            .get("VAULT_PROXY_ADDR")
            .or_else(|| environment.get("VAULT_HTTP_PROXY"));
        let proxy = match proxy {
            None => Proxy::Environment,
            Some(address) => {
                let proxy = ProxyUrl::parse(&address);
                Proxy::Url(proxy.map_err(|error| error.to_string())?)
            }
        };
        let options = ClientOptions {
            tls: TlsSettings {
                roots: RootCertificates::ReplaceSystem,
                authorities,
                client_pair,
                accept_any_server: skipped,
            },
            proxy,
            redirects: Redirects::Refuse,
            timeout: Some(TIMEOUT),
            ..ClientOptions::default()
        };
        let client = options.build().map_err(|error| chain(&error))?;
        let namespace = environment.get("VAULT_NAMESPACE");
        Ok(Self {
            client,
            address: url,
            namespace,
        })
    }

    /// Writes to a path, which is below `v1`, and returns the answer.
    async fn write(&self, path: &str, token: &Secret, body: &Value) -> Result<Value, Failure> {
        let mut url = self.address.clone();
        {
            let mut parts = url
                .path_segments_mut()
                .map_err(|()| Failure::lasting("the address is no base"))?;
            parts.pop_if_empty().push("v1");
            parts.extend(
                path.split('/')
                    .filter(|part| !matches!(*part, "" | "." | "..")),
            );
        }
        let mut attempt = 0;
        loop {
            let response = self.send(&url, token, body).await;
            let is_unready = match &response {
                Ok(response) => {
                    let status = response.status();
                    status == StatusCode::PRECONDITION_FAILED
                        || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
                }
                Err(_) => true,
            };
            if is_unready && attempt < REPEATS {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let response = response?;
            // A server that is not the leader names the one that is.
            if let Some(leader) = leader(&url, &response) {
                return read(&leader, self.send(&leader, token, body).await?).await;
            }
            return read(&url, response).await;
        }
    }

    async fn send(
        &self,
        url: &Url,
        token: &Secret,
        body: &Value,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self
            .client
            .put(url.clone())
            .header("x-vault-request", "true")
            .header("content-type", "application/json")
            .body(body.to_string());
        if !token.is_empty() {
            let mut value = reqwest::header::HeaderValue::from_bytes(token.expose())
                .map_err(|_| Failure::lasting("configured Vault token contains non-printable characters and cannot be used"))?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let sent = flux_http::send(request, Repeat::Idempotent).await;
        sent.map_err(|error| Failure::lasting(chain(&error)))
    }
}

/// Where a redirect leads to, unless it gives up TLS.
fn leader(url: &Url, response: &reqwest::Response) -> Option<Url> {
    let is_moved = matches!(response.status().as_u16(), 301 | 302 | 307);
    let location = response.headers().get("location").filter(|_| is_moved)?;
    let leader = url.join(location.to_str().ok()?).ok()?;
    (leader.scheme() == url.scheme() || leader.scheme() == "https").then_some(leader)
}

async fn read(url: &Url, response: reqwest::Response) -> Result<Value, Failure> {
    let status = response.status();
    let body = flux_http::read_body(response, MAX_RESPONSE).await;
    let body = body.map_err(|error| Failure::once(chain(&error)))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let errors = answer["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let errors = errors.iter().filter_map(Value::as_str).take(10);
    let errors: String = errors
        .map(|text| format!("\n* {}", text.chars().take(500).collect::<String>()))
        .collect();
    Err(Failure::once(format!(
        "Error making API request.\n\nURL: PUT {}\nCode: {}. Errors:\n{errors}",
        flux_http::shown_url(url),
        status.as_u16()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowlist_restricts_the_servers() {
        // KC-SOPS-037
        let check = |list: &str, address: &str| {
            let environment = Environment::of_values([("SOPS_HC_VAULT_ALLOWLIST", list)]);
            check_allowed(&environment, address)
        };
        let refused = |address: &str| Err(format!("Allowlist does not allow {address}"));
        let address = "https://vault.example:8200";
        assert_eq!(check("", address), Ok(()));
        assert_eq!(check("all", address), Ok(()));
        assert_eq!(check("none", address), refused(address));
        assert_eq!(
            check("https://other, https://vault.example:8200/", address),
            Ok(())
        );
        assert_eq!(check("https://vault.example:82", address), refused(address));
        assert_eq!(
            check("https://other,,", address),
            Err("SOPS_HC_VAULT_ALLOWLIST's entry 2 is empty".to_owned())
        );
    }

    #[test]
    fn the_role_is_that_of_the_tokens_subject() {
        // KC-SOPS-040
        let token =
            |claims: &str| Secret::new(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)));
        let found = subject(&token(r#"{"sub": "system:serviceaccount:apps:sops"}"#));
        assert_eq!(found, Ok(("apps".to_owned(), "sops".to_owned())));
        assert_eq!(
            subject(&token(r#"{"sub": "system:node:a"}"#)),
            Err("unexpected token subject 'system:node:a'".to_owned())
        );
        assert_eq!(subject(&Secret::new("a.b")), Err("not a JWT".to_owned()));
        assert!(subject(&Secret::new("a.*.b")).is_err());
    }

    #[tokio::test]
    async fn the_process_has_a_token_of_its_own() {
        // KC-SOPS-038
        let token = async |values: &[(&str, &str)]| {
            let environment = Environment::of_values(values.iter().copied());
            let token = own_token(&environment).await;
            token.map(|token| token.expose_text().into_owned())
        };
        let home = std::env::temp_dir().join(format!("sops-transit-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join(".vault-token"), "of the file\n").unwrap();
        let path = home.display().to_string();
        let both = [("HOME", path.as_str()), ("VAULT_TOKEN", "of the variable")];
        assert_eq!(token(&both).await.as_deref(), Ok("of the variable"));
        assert_eq!(token(&both[..1]).await.as_deref(), Ok("of the file"));
        assert_eq!(token(&[("HOME", "/nowhere")]).await.as_deref(), Ok(""));
        assert!(token(&[]).await.is_err());
        std::fs::remove_dir_all(home).unwrap();
    }
}
