//! An in-memory API server for this crate's tests: one object, with faults on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A write request: its path, its field manager and its body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) path: String,
    pub(crate) manager: String,
    pub(crate) body: Value,
}

/// Stores one object, and the events that were posted.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    object: Value,
    /// Statuses with which the next patches are refused.
    faults: VecDeque<u16>,
    /// The size limit of a patch in bytes.
    limit: Option<usize>,
    written: Vec<Written>,
    events: Vec<Value>,
    reads: usize,
}

impl FakeApi {
    pub(crate) fn holding(object: Value) -> Self {
        let api = Self::default();
        api.state.lock().unwrap().object = object;
        api
    }

    /// Refuses the next patches with these statuses.
    pub(crate) fn failing(self, statuses: &[u16]) -> Self {
        self.state.lock().unwrap().faults.extend(statuses);
        self
    }

    /// Refuses larger patches with etcd's message.
    pub(crate) fn refusing_above(self, bytes: usize) -> Self {
        self.state.lock().unwrap().limit = Some(bytes);
        self
    }

    pub(crate) fn object(&self) -> Value {
        self.state.lock().unwrap().object.clone()
    }

    /// Changes the object as another client does.
    pub(crate) fn meddle(&self, patch: &Value) {
        self.state.lock().unwrap().merge(patch);
    }

    pub(crate) fn written(&self) -> Vec<Written> {
        self.state.lock().unwrap().written.clone()
    }

    /// The events as `type reason: message`.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let state = self.state.lock().unwrap();
        state
            .events
            .iter()
            .map(|event| {
                format!(
                    "{} {}: {}",
                    text(event, "type"),
                    text(event, "reason"),
                    text(event, "message")
                )
            })
            .collect()
    }

    /// The annotations of the last event.
    pub(crate) fn last_annotations(&self) -> Value {
        let state = self.state.lock().unwrap();
        let last = state.events.last();
        last.map(|event| event["metadata"]["annotations"].clone())
            .unwrap_or_default()
    }

    /// How often the object was read.
    pub(crate) fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }

    pub(crate) fn client(&self) -> Client {
        let state = self.state.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let state = state.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (status, answer) = state.lock().unwrap().answer(&parts, &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(status).body(answer).unwrap(),
                )
            }
        });
        Client::new(service, "default")
    }
}

impl State {
    fn answer(&mut self, request: &http::request::Parts, body: &Value) -> (u16, Value) {
        let path = request.uri.path();
        if path.ends_with("/events") {
            self.events.push(body.clone());
            return (201, body.clone());
        }
        if request.method == Method::GET {
            self.reads += 1;
            return (200, self.object.clone());
        }
        let query = url::form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes());
        let manager = query
            .into_iter()
            .find(|(key, _)| key == "fieldManager")
            .map(|(_, value)| value.into_owned());
        self.written.push(Written {
            path: path.to_owned(),
            manager: manager.unwrap_or_default(),
            body: body.clone(),
        });
        if self
            .limit
            .is_some_and(|limit| body.to_string().len() > limit)
        {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500,
                "message": "etcdserver: request is too large"});
            return (500, status);
        }
        let version = &body["metadata"]["resourceVersion"];
        let outdated = !version.is_null() && *version != self.object["metadata"]["resourceVersion"];
        let fault = self.faults.pop_front().or(outdated.then_some(409));
        if let Some(code) = fault {
            let reason = if code == 409 { "Conflict" } else { "No" };
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "message": format!("refused with {code}"), "reason": reason});
            return (code, status);
        }
        self.merge(body);
        (200, self.object.clone())
    }

    fn merge(&mut self, patch: &Value) {
        let version = self.object["metadata"]["resourceVersion"].clone();
        merge(&mut self.object, patch);
        let next = version
            .as_str()
            .and_then(|version| version.parse::<u64>().ok());
        self.object["metadata"]["resourceVersion"] =
            json!((next.unwrap_or_default() + 1).to_string());
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}
