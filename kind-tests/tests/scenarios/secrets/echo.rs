//! A server whose responses repeat the requests, credentials included: of Git, a registry, a token service, or charts.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use kind_tests::Result;
use serde_json::json;

use super::MARK;

/// What a path begins with decides how it is answered; the rest of it does not matter.
pub(super) struct Echo {
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Echo {
    pub(super) async fn start() -> Result<Self> {
        Self::registry(Ipv4Addr::LOCALHOST, "Basic realm=\"echo\"").await
    }

    /// One that answers registry clients with this challenge, in which `HOST` is its own address.
    pub(super) async fn registry(address: Ipv4Addr, challenge: &str) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let challenge = challenge.replace("HOST", &address.to_string());
        let router = Router::new().fallback(answer).with_state(challenge);
        let server = tokio::spawn(async move {
            // It only ends with the runtime.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, server })
    }

    /// Host and port.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// All of the request that a careless server may quote, basic credentials as plain text as well.
fn quoted(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> String {
    let mut text = format!("{method} {uri}");
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = write!(text, "; {name}: {value}");
        let basic = value.strip_prefix("Basic ");
        if let Some(plain) = basic.and_then(|encoded| BASE64.decode(encoded).ok()) {
            let _ = write!(text, " which is {}", String::from_utf8_lossy(&plain));
        }
    }
    let _ = write!(text, "; {}", String::from_utf8_lossy(body));
    text
}

/// A line of Git's protocol.
fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

async fn answer(
    State(challenge): State<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = quoted(&method, &uri, &headers, &body);
    let path = uri.path();
    if path == "/v2/" {
        let header = [(header::WWW_AUTHENTICATE, challenge)];
        return (StatusCode::UNAUTHORIZED, header).into_response();
    }
    let path = path.strip_prefix("/v2").unwrap_or(path);
    let first = path.split('/').nth(1).unwrap_or_default();
    let git = |body: String| {
        let kind = "application/x-git-upload-pack-advertisement";
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    };
    match first {
        "html" => ([(header::CONTENT_TYPE, "text/html")], text).into_response(),
        "text" => git(text),
        "err" => git(line("# service=git-upload-pack\n") + "0000" + &line(&format!("ERR {text}"))),
        "err-at-once" => git(line(&format!("ERR {text}"))),
        "reference" => {
            let reference = format!("{text} refs/heads/main\n");
            git(line("# service=git-upload-pack\n") + "0000" + &line(&reference) + "0000")
        }
        "moved" => {
            let target = format!("/403{path}?said={}", hidden(&text));
            (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
        }
        "astray" => {
            let target = format!("http://user:{MARK}astray@[::1/{}", hidden(&text));
            (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
        }
        "json" => {
            let error = json!({"code": "DENIED", "message": text, "detail": {"request": text}});
            let errors = as_json(&json!({"errors": [error]}));
            (StatusCode::FORBIDDEN, errors).into_response()
        }
        "internal" => (StatusCode::FORBIDDEN, format!("{MARK}internal")).into_response(),
        // A token service, whose refresh token opens nothing.
        "renewed" if String::from_utf8_lossy(&body).contains("refresh1") => {
            (StatusCode::FORBIDDEN, text).into_response()
        }
        "granted" | "renewed" => as_json(&json!({
            "token": format!("{MARK}granted"),
            "refresh_token": format!("{MARK}refresh1"),
        }))
        .into_response(),
        // A list of tags whose next page is not given out.
        "pages" if uri.query().unwrap_or_default().contains("token=") => {
            (StatusCode::FORBIDDEN, text).into_response()
        }
        "pages" => {
            let next = format!("<{}?n=1&token={MARK}page>; rel=\"next\"", uri.path());
            let tags = as_json(&json!({"name": "a", "tags": ["1.0.0"]}));
            ([(header::LINK, next)], tags).into_response()
        }
        "app" => {
            let token =
                json!({"token": format!("{MARK}apptoken"), "expires_at": "2099-01-01T00:00:00Z"});
            (StatusCode::CREATED, as_json(&token)).into_response()
        }
        code => {
            let status = code
                .parse()
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok());
            let challenge = format!("Basic realm=\"{}\"", text.replace('"', "'"));
            (
                status.unwrap_or(StatusCode::IM_A_TEAPOT),
                [(header::WWW_AUTHENTICATE, challenge)],
                text,
            )
                .into_response()
        }
    }
}

/// The letters and digits of a text, which are valid anywhere in a URL.
fn hidden(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn as_json(value: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, value.to_string()).into_response()
}
