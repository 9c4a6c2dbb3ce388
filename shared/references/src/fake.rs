//! An API server for this crate's tests that only answers reads.

use std::convert::Infallible;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A client whose API server answers a read of a path with `object`, and with 404 where that is `None`.
pub(crate) fn client(object: impl Fn(&str) -> Option<Value> + Clone + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let missing = || {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                "reason": "NotFound", "message": "the server has none"});
            (404, status)
        };
        let found = object(request.uri().path());
        let (code, answer) = found.map_or_else(missing, |object| (200, object));
        let body = Body::from(answer.to_string().into_bytes());
        let response = Response::builder().status(code).body(body).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    Client::new(service, "ns")
}
