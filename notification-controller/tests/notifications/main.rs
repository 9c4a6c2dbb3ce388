//! notification-controller on a real API server: events in, requests out; webhooks in, annotations out.

#[allow(dead_code, reason = "shared with the tests of the providers")]
#[path = "../../src/provider/tests/service.rs"]
mod service;

mod cli;
mod definitions;
mod delivery;
mod events;
mod failures;
mod flow;
mod forge;
mod hooks;
mod identities;
mod process;
mod receivers;
mod senders;
mod traces;

use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, Failure, Kind, Namespace, Result};
use serde_json::{Value, json};

use crate::service::Service;

/// Events in Kubernetes.
const EVENT: Kind = Kind("v1", "Event");

/// The environment of a test.
struct World {
    controller: Controller,
    namespace: Namespace,
    service: Service,
    client: reqwest::Client,
}

impl World {
    async fn start(topic: &str) -> Result<Self> {
        Self::start_with(topic, Settings::default()).await
    }

    async fn start_with(topic: &str, settings: Settings) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let controller = Controller::start("notification-controller", &namespace, settings).await?;
        Ok(Self {
            controller,
            namespace,
            service: Service::willing().await,
            client: flux_http::ClientOptions::default().build()?,
        })
    }

    /// Applies an object of the group in its version `v1`, its spec in YAML's flow form.
    async fn apply(&self, kind: &str, name: &str, spec: &str) -> Result {
        self.apply_as("v1", kind, name, spec).await
    }

    async fn apply_as(&self, version: &str, kind: &str, name: &str, spec: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: notification.toolkit.fluxcd.io/{version}, kind: {kind}, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Applies a Secret with these entries.
    async fn secret(&self, name: &str, data: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, stringData: {{{data}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// An event about a Kustomization of this namespace, with this message.
    fn event(&self, message: &str) -> Value {
        json!({
            "involvedObject": {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "namespace": self.namespace.name(),
                "name": "app",
                "uid": "u-1",
            },
            "severity": "info",
            "timestamp": "2026-08-01T10:00:00Z",
            "message": message,
            "reason": "ReconciliationSucceeded",
            "reportingController": "kustomize-controller",
            "reportingInstance": "host",
        })
    }

    /// Posts an event; the answer.
    async fn post(&self, event: &Value) -> Result<reqwest::Response> {
        let url = self.controller.events_url().unwrap_or_default();
        let request = self.client.post(url).body(event.to_string());
        Ok(request.send().await?)
    }

    /// Posts an event again and again, each time with another message that begins with `message`, until the service has
    /// got one of them: the caches of the controller follow the API server.
    async fn delivered(&self, message: &str) -> Result<service::Got> {
        self.delivered_with(message, &json!({})).await
    }

    /// As [`World::delivered`], with further fields of the event.
    async fn delivered_with(&self, message: &str, fields: &Value) -> Result<service::Got> {
        let mut number = 0;
        let posting = async {
            loop {
                let mut event = self.event(&format!("{message} {number}"));
                for (name, value) in fields.as_object().into_iter().flatten() {
                    event[name] = value.clone();
                }
                self.post(&event).await?;
                number += 1;
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        let got = self.service.wait(|got| {
            let text = String::from_utf8_lossy(&got.body).into_owned();
            text.contains(message)
        });
        tokio::select! {
            got = got => got.ok_or_else(|| Failure::new(format!("no request about {message}"))),
            failed = posting => failed,
        }
    }

    /// Waits for an event of an object in Kubernetes with this reason and this text in its message, while events about
    /// `message` are posted.
    async fn told(&self, name: &str, reason: &str, words: &str, message: &Value) -> Result<Value> {
        let mut number = 0;
        let posting = async {
            loop {
                let mut event = message.clone();
                let text = event["message"].as_str().unwrap_or_default();
                event["message"] = json!(format!("{text} {number}"));
                self.post(&event).await?;
                number += 1;
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            told = self.recorded(name, reason, words) => told,
            failed = posting => failed,
        }
    }

    /// Waits for an event of an object in Kubernetes.
    async fn recorded(&self, name: &str, reason: &str, words: &str) -> Result<Value> {
        let goal = format!("tell of {name}: {reason} {words:?}");
        let fits = |event: &&Value| {
            event["involvedObject"]["name"] == name
                && event["reason"] == reason
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
        };
        self.namespace
            .wait_all(EVENT, &goal, |events| events.iter().find(fits).cloned())
            .await
    }
}
