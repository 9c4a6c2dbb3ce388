//! The health and metrics endpoints (RT-PRB, RT-MET-001 rows).

use std::collections::BTreeSet;
use std::io;

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, negotiate};
use crate::profiles;

/// Listens on a Go-style address: `:8080` means the port on every address of the machine, including IPv6 if it is
/// available.
pub(crate) async fn listen(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':') {
        None => TcpListener::bind(address).await,
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(format!("0.0.0.0:{port}")).await
            }
            bound => bound,
        },
    }
}

/// Serves `router` until `stop`, then completes the requests in flight.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// `/healthz` and `/readyz`, each with the one check `ping`, which always passes (RT-PRB-001..003).
pub(crate) fn health() -> Router {
    let whole = |name: &'static str| {
        get(move |RawQuery(query): RawQuery| async move { checks(name, query.as_deref()) })
    };
    let mut router = Router::new();
    for name in ["healthz", "readyz"] {
        let one = get(|Path(check): Path<String>| async move {
            if check == "ping" {
                "ok".into_response()
            } else {
                StatusCode::NOT_FOUND.into_response()
            }
        });
        router = router
            .route(&format!("/{name}"), whole(name))
            .route(&format!("/{name}/"), whole(name))
            .route(&format!("/{name}/{{check}}"), one);
    }
    router
}

fn checks(name: &str, query: Option<&str>) -> String {
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let verbose = pairs.iter().any(|(key, _)| key == "verbose");
    let mut excluded: BTreeSet<&str> = pairs
        .iter()
        .filter(|(key, _)| key == "exclude")
        .map(|(_, value)| value.as_str())
        .collect();
    if !verbose {
        return "ok".to_owned();
    }
    let ping = if excluded.remove("ping") {
        "[+]ping excluded: ok\n"
    } else {
        "[+]ping ok\n"
    };
    let unknown: Vec<String> = excluded
        .into_iter()
        .map(|check| format!("{check:?}"))
        .collect();
    let warning = if unknown.is_empty() {
        String::new()
    } else {
        format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(",")
        )
    };
    format!("{ping}{warning}{name} check passed\n")
}

/// `/metrics` and `/debug/pprof`.
pub(crate) fn metrics(metrics: Metrics) -> Router {
    let profiles = profiles::router(metrics.clone());
    let page = get(move |headers: HeaderMap| {
        let metrics = metrics.clone();
        async move { scrape(&metrics, &headers) }
    });
    profiles.route("/metrics", page)
}

/// The metrics in the format that the client prefers (RT-MET-001).
fn scrape(metrics: &Metrics, headers: &HeaderMap) -> Response {
    let all = |name| {
        let values = headers.get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",")
    };
    let page = negotiate(&all(header::ACCEPT), &all(header::ACCEPT_ENCODING));
    match metrics.page(page) {
        Ok(body) => {
            let mut answer = ([(header::CONTENT_TYPE, page.content_type())], body).into_response();
            if page.gzip {
                let gzip = HeaderValue::from_static("gzip");
                answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            }
            answer
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{address}{path}"))
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn served(router: Router) -> std::net::SocketAddr {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, CancellationToken::new()));
        address
    }

    #[tokio::test]
    async fn health_endpoints_match_upstream() {
        // RT-PRB-001, SC-PROC-041, KC-PROC-045
        let address = served(health()).await;
        for name in ["healthz", "readyz"] {
            for path in [
                format!("/{name}"),
                // RT-PRB-002
                format!("/{name}/"),
                format!("/{name}/ping"),
            ] {
                assert_eq!(get(address, &path).await, (200, "ok".to_owned()), "{path}");
            }
            assert_eq!(get(address, &format!("/{name}/other")).await.0, 404);
            let verbose = get(address, &format!("/{name}?verbose")).await;
            assert_eq!(verbose, (200, format!("[+]ping ok\n{name} check passed\n")));
            let excluded = get(address, &format!("/{name}?verbose&exclude=ping"))
                .await
                .1;
            assert_eq!(
                excluded,
                format!("[+]ping excluded: ok\n{name} check passed\n")
            );
        }
    }

    #[tokio::test]
    async fn metrics_and_profiles_are_on_one_port() {
        // RT-MET-001
        let registry = Metrics::new().unwrap();
        registry.controller("kustomization", 4);
        let address = served(metrics(registry)).await;
        let (code, page) = get(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(page.contains(
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"success\"} 0"
        ));
        // RT-PRB-004, SC-PROC-047, KC-PROC-046
        for (path, code) in [
            ("", 200),
            ("/", 200),
            ("/cmdline", 200),
            ("/goroutine", 200),
            ("/profile", 501),
            ("/symbol", 501),
            ("/trace", 501),
            ("/heap", 501),
            ("/threadcreate", 501),
            ("/block", 501),
            ("/mutex", 501),
            ("/nothing", 404),
        ] {
            let (have, said) = get(address, &format!("/debug/pprof{path}")).await;
            assert_eq!(have, code, "{path}");
            assert!(code == 404 || !said.is_empty(), "{path}");
        }
    }

    #[tokio::test]
    async fn scrapes_are_answered_in_the_accepted_format() {
        // RT-MET-001
        let address = served(metrics(Metrics::new().unwrap())).await;
        let client = reqwest::Client::new();
        for (accept, encoding, kind, packed) in [
            (
                "*/*",
                "identity",
                "text/plain; version=0.0.4; charset=utf-8",
                false,
            ),
            (
                "application/openmetrics-text;version=1.0.0",
                "gzip",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                true,
            ),
        ] {
            let request = client
                .get(format!("http://{address}/metrics"))
                .header("accept", accept)
                .header("accept-encoding", encoding);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], kind);
            let encoded = answer.headers().get("content-encoding").cloned();
            assert_eq!(encoded.is_some_and(|value| value == "gzip"), packed);
            let body = answer.bytes().await.unwrap();
            assert_eq!(body.starts_with(&[0x1f, 0x8b]), packed);
        }
    }
}
