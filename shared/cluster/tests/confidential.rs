//! Values of a Secret that a server quotes appear neither in a message nor in a log line.

use std::convert::Infallible;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flux_cluster::{
    Cluster, Confidential, ObjectId, Resource, Target, WaitOptions, wait_until_current,
    wait_until_gone,
};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const VALUE: &str = "MARKED-77ab";

/// Whether the log of a controller leaves out the lines of this target: kube shows responses in them (`flux_runtime` has a
/// test of that).
fn is_left_out(target: &str) -> bool {
    ["kube_client::client", "kube_client::client::builder"].contains(&target)
        || target.starts_with("kube_runtime")
}

/// Collects every log line of every library that a controller may log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        if !is_left_out(event.metadata().target()) {
            event.record(&mut self.clone());
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A cluster that refuses every read and watch with this code, quoting the value.
fn refusing(code: u16) -> Cluster {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let kind = json!({"name": "configmaps", "singularName": "", "namespaced": true, "kind": "ConfigMap", "verbs": []});
        let (code, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/v1") => (
                200,
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [kind]}),
            ),
            _ => (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": "Refused", "message": format!("no: {VALUE}")}),
            ),
        };
        let response = Response::builder().status(code);
        Ok::<_, Infallible>(
            response
                .body(Body::from(body.to_string().into_bytes()))
                .unwrap(),
        )
    });
    let mut confidential = Confidential::default();
    confidential.add(VALUE.as_bytes());
    Cluster::new(Client::new(service, "default"), "test").masking(confidential)
}

fn id() -> ObjectId {
    ObjectId {
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: "c".into(),
        ..ObjectId::default()
    }
}

// KC-SUB-009
#[tokio::test(start_paused = true)]
async fn a_wait_masks_secret_values_in_server_messages() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(log.clone());
    // What may not be watched is read; other failures of a watch are retried.
    for code in [403, 500] {
        let options = WaitOptions {
            timeout: Duration::from_secs(20),
            ..WaitOptions::default()
        };
        let targets = [Target::of(&id(), "v1")];
        let cluster = refusing(code);
        let waited = wait_until_current(&cluster, &targets, &options).await;
        assert_eq!(
            waited.unwrap_err().to_string(),
            "timeout waiting for: [ConfigMap/n/c status: 'Unknown': no: *****]",
            "{code}"
        );
        let resource = Resource {
            group: String::new(),
            version: "v1".into(),
            kind: "ConfigMap".into(),
            plural: "configmaps".into(),
            namespaced: true,
        };
        let limit = Duration::from_secs(20);
        let gone = wait_until_gone(&cluster, &resource, &id(), limit).await;
        assert_eq!(gone.unwrap_err().to_string(), "no: *****", "{code}");
    }
    let logged = log.0.lock().unwrap();
    assert!(!logged.contains(VALUE), "{logged}");
}
