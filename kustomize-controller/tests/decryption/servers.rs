//! Servers of the test's own where no real one exists: they check each request, its signature included, before they answer.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use git_servers::Authority;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use kind_tests::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::material::data_key;

/// A request as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

type Answer = fn(&Received) -> (StatusCode, Value);

/// A server whose answers are made by one function; it keeps what it received.
pub(crate) struct Server {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    pub(crate) async fn start(answer: Answer) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .fallback(respond)
            .with_state((answer, received.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, received })
    }

    /// As [`Server::start`], over TLS.
    pub(crate) async fn start_tls(answer: Answer, authority: &Authority) -> Result<Self> {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", tcp.local_addr()?);
        let received = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .fallback(respond)
            .with_state((answer, received.clone()));
        let acceptor = authority.issue(&["127.0.0.1"]).acceptor(None);
        tokio::spawn(async move { axum::serve(Tls { tcp, acceptor }, router).await });
        Ok(Self { url, received })
    }

    /// What was received since the last call.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

/// Accepts connections over TLS; others are dropped.
struct Tls {
    tcp: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

async fn respond(
    State((answer, all)): State<(Answer, Arc<Mutex<Vec<Received>>>)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let received = Received {
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, 1 << 20)
            .await
            .unwrap_or_default(),
    };
    all.lock().unwrap().push(received.clone());
    let (status, body) = answer(&received);
    let challenge = body["challenge"].as_str().unwrap_or_default().to_owned();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("www-authenticate", challenge),
    ];
    (status, headers, body.to_string()).into_response()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

/// Whether a request to a service of AWS is signed with this key (Signature Version 4).
fn is_signed(received: &Received, secret: &str, service: &str) -> bool {
    let header = received.header("authorization");
    let field = |name: &str| {
        let at = header.find(name)? + name.len();
        Some(header[at..].split([',', ' ']).next().unwrap_or_default())
    };
    let (Some(credential), Some(signed), Some(signature)) = (
        field("Credential="),
        field("SignedHeaders="),
        field("Signature="),
    ) else {
        return false;
    };
    let scope: Vec<&str> = credential.split('/').collect();
    let [_, day, region, named, "aws4_request"] = scope.as_slice() else {
        return false;
    };
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", received.header(name).trim()))
        .collect();
    let hash = hex::encode(Sha256::digest(&received.body));
    let canonical = format!("POST\n{}\n\n{headers}\n{signed}\n{hash}", received.path);
    let date = received.header("x-amz-date");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{day}/{region}/{service}/aws4_request\n{}",
        hex::encode(Sha256::digest(canonical))
    );
    let key = [*day, *region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part)
        });
    *named == service && date.starts_with(day) && hex::encode(hmac(&key, &to_sign)) == signature
}

/// KMS and STS of AWS: keys of the account, or of the role that it may assume.
pub(crate) fn aws(received: &Received) -> (StatusCode, Value) {
    let refused = |code: &str, text: &str| {
        (
            StatusCode::BAD_REQUEST,
            json!({"__type": code, "message": text}),
        )
    };
    let token = received.header("x-amz-security-token");
    let secret = if token == "role-token" {
        "role-secret"
    } else {
        "secret"
    };
    if !is_signed(received, secret, "kms")
        || received.header("x-amz-target") != "TrentService.Decrypt"
    {
        return refused("InvalidSignatureException", "the signature does not match");
    }
    let body = received.json();
    let blob = STANDARD.decode(body["CiphertextBlob"].as_str().unwrap_or_default());
    let blob = blob.unwrap_or_default();
    let Some(plain) = blob.strip_prefix(b"wrapped:") else {
        return refused("InvalidCiphertextException", "");
    };
    if body["EncryptionContext"]["team"] == "wrong" {
        return refused("InvalidCiphertextException", "the context differs");
    }
    (
        StatusCode::OK,
        json!({"KeyId": body["KeyId"], "Plaintext": STANDARD.encode(plain)}),
    )
}

/// KMS of Google Cloud, and the service that gives tokens for a service account's key.
pub(crate) fn gcp(received: &Received) -> (StatusCode, Value) {
    if received.path == "/token" {
        let form = String::from_utf8_lossy(&received.body);
        let is_grant = form
            .contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer")
            && form.contains("assertion=");
        return if is_grant {
            (
                StatusCode::OK,
                json!({"access_token": "gcp-token", "expires_in": 3600, "token_type": "Bearer"}),
            )
        } else {
            (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}))
        };
    }
    let key = "projects/p/locations/global/keyRings/r/cryptoKeys/k";
    if received.header("authorization") != "Bearer gcp-token" {
        return (
            StatusCode::UNAUTHORIZED,
            json!({"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "no token"}}),
        );
    }
    if received.path != format!("/v1/{key}:decrypt")
        || received.json() != json!({"ciphertext": STANDARD.encode("cipher")})
    {
        return (
            StatusCode::FORBIDDEN,
            json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "not this key"}}),
        );
    }
    (StatusCode::OK, json!({"plaintext": data_key()}))
}

/// A vault of Azure, and the service that gives tokens for it.
pub(crate) fn azure(received: &Received) -> (StatusCode, Value) {
    let host = received.header("host");
    // The domain that the vault's host is in.
    let resource = format!("https://{}", host.trim_start_matches("127."));
    if received.path == "/tenant/oauth2/v2.0/token" {
        let form = String::from_utf8_lossy(&received.body).into_owned();
        let scope = format!("{resource}/.default")
            .replace(':', "%3A")
            .replace('/', "%2F");
        let wanted = [
            "client_id=client",
            "client_secret=azure-password",
            "grant_type=client_credentials",
        ];
        let is_valid = wanted.iter().all(|part| form.contains(part))
            && form.contains(&format!("scope={scope}"));
        return if is_valid {
            (
                StatusCode::OK,
                json!({"access_token": "azure-token", "expires_in": 3600, "token_type": "Bearer"}),
            )
        } else {
            (StatusCode::BAD_REQUEST, json!({"error": "invalid_request"}))
        };
    }
    if received.path != "/keys/flux/1/decrypt?api-version=2025-07-01" {
        return (
            StatusCode::NOT_FOUND,
            json!({"error": {"code": "KeyNotFound", "message": "no such key"}}),
        );
    }
    if received.header("authorization") != "Bearer azure-token" {
        let challenge =
            format!("Bearer authorization=\"https://{host}/tenant\", resource=\"{resource}\"");
        return (StatusCode::UNAUTHORIZED, json!({"challenge": challenge}));
    }
    if received.json() != json!({"alg": "RSA-OAEP-256", "value": "Y2lwaGVy"}) {
        return (
            StatusCode::BAD_REQUEST,
            json!({"error": {"code": "BadParameter", "message": "not this value"}}),
        );
    }
    let key = STANDARD.decode(data_key()).unwrap_or_default();
    (
        StatusCode::OK,
        json!({"kid": "k", "value": URL_SAFE_NO_PAD.encode(key)}),
    )
}
