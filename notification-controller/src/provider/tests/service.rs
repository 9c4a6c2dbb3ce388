//! A service that answers as it is told, and keeps the requests that it got.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request that the service got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap_or("(no text)"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer: status, headers, body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, String);

/// A service.
pub(crate) struct Service {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    count: watch::Receiver<usize>,
}

impl Service {
    /// Starts one that gives these answers, the last one again and again. Status 0 closes the connection.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        Self::start_at("127.0.0.1:0", answers).await
    }

    /// The same at an address that is known before.
    pub(crate) async fn start_at(address: &str, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (counted, count) = watch::channel(0);
        let (seen, counted) = (got.clone(), Arc::new(counted));
        let answers = Arc::new(answers);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, answers, counted) = (seen.clone(), answers.clone(), counted.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let answered = answer(request, seen.clone(), answers.clone());
                        let counted = counted.clone();
                        async move {
                            let answered = answered.await;
                            counted.send_modify(|count| *count += 1);
                            answered
                        }
                    });
                    let io = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        Self { url, got, count }
    }

    /// Waits for a request that satisfies `wanted`, including past ones.
    pub(crate) async fn wait(&self, wanted: impl Fn(&Got) -> bool) -> Option<Got> {
        let mut count = self.count.clone();
        let found = tokio::time::timeout(std::time::Duration::from_mins(2), async {
            loop {
                count.borrow_and_update();
                if let Some(got) = self.got().into_iter().find(&wanted) {
                    return got;
                }
                if count.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        });
        found.await.ok()
    }

    /// One that accepts everything.
    pub(crate) async fn willing() -> Self {
        Self::start(vec![(200, vec![], "{}".to_owned())]).await
    }

    /// The requests so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Method, path and query of the requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.got().into_iter().map(|got| got.line).collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Vec<Answer>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(Got {
            line: format!("{} {}", head.method, head.uri),
            headers: head.headers,
            body,
        });
        seen.len() - 1
    };
    let (status, headers, body) = answers[number.min(answers.len() - 1)].clone();
    if status == 0 {
        return Err(std::io::Error::other("closed by the test"));
    }
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

/// An address that nothing listens at.
pub(crate) async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}
