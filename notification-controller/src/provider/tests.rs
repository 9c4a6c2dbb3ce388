//! Each type against what its service takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::service::Service;
use super::send::{Accepts, Call};
use super::settings::tests::settings;
use super::{Job, Sender, Settings, prepare};
use crate::event::Event;

mod capabilities;
mod chats;
mod comments;
mod incidents;
mod queues;
#[expect(dead_code, reason = "only the scenarios wait for requests")]
pub(crate) mod service;
mod statuses;

const HASH: &str = "7152fed34dd6149a7c75a276c510da27cb6f82b0";

/// An event of this severity about a Kustomization, with metadata.
pub(crate) fn event(severity: &str) -> Event {
    let mut event = Event::decode(
        br#"{
            "involvedObject": {"kind": "Kustomization", "namespace": "apps", "name": "web", "uid": "u-1",
                               "apiVersion": "kustomize.toolkit.fluxcd.io/v1"},
            "timestamp": "2022-10-28T07:26:19Z",
            "message": "applied <a>\nsecond line",
            "reason": "ReconciliationSucceeded",
            "metadata": {"revision": "main@sha1:7152fed34dd6149a7c75a276c510da27cb6f82b0", "summary": "S"},
            "reportingController": "kustomize-controller",
            "reportingInstance": "host"
        }"#,
    )
    .unwrap();
    severity.clone_into(&mut event.severity);
    event
}

fn bare(severity: &str) -> Event {
    Event {
        metadata: BTreeMap::new(),
        ..event(severity)
    }
}

fn revision() -> String {
    format!("main@sha1:{HASH}")
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn sender(settings: &Settings) -> Sender {
    Sender::new(settings).unwrap().pausing(Duration::ZERO)
}

async fn job(settings: &Settings, event: &Event) -> Result<Job, String> {
    let job = prepare(settings, event, &sender(settings), deadline()).await;
    job.map_err(|error| flux_errors::chain(&error))
}

async fn calls(settings: &Settings, event: &Event) -> Vec<Call> {
    match job(settings, event).await.unwrap() {
        Job::Calls(calls) => calls,
        Job::Nothing => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn header<'c>(call: &'c Call, name: &str) -> &'c str {
    let mut headers = call.request.headers.iter();
    let value = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
    value.map_or("", |(_, value)| std::str::from_utf8(value).unwrap())
}

fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.request.body).unwrap()
}

/// The one call of a type that sends one.
async fn call(kind: &str, spec: &Value, secret: &[(&str, &[u8])], event: &Event) -> Call {
    let mut calls = calls(&settings(kind, spec, secret), event).await;
    assert_eq!(calls.len(), 1, "{kind}");
    calls.remove(0)
}

async fn refusal(kind: &str, spec: &Value, secret: &[(&str, &[u8])]) -> String {
    job(&settings(kind, spec, secret), &event("info"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn only_services_that_know_success_and_failure_skip_progress() {
    // NC-PROVCAP-001, FR-N-043
    let token: [(&str, &[u8]); 1] = [("token", b"u:t")];
    let skipping = [
        "github",
        "gitlab",
        "bitbucketserver",
        "bitbucket",
        "azuredevops",
        "pagerduty",
        "incident.io",
    ];
    let all = [
        "slack",
        "discord",
        "msteams",
        "rocket",
        "generic",
        "generic-hmac",
        "googlechat",
        "webex",
        "sentry",
        "telegram",
        "lark",
        "matrix",
        "opsgenie",
        "alertmanager",
        "grafana",
        "githubdispatch",
        "datadog",
        "zulip",
        "zoom",
        "mastodon",
    ];
    let address = |kind: &str| match kind {
        "azuredevops" => "https://h/org/proj/_git/repo",
        "bitbucketserver" => "https://h/scm/o/r.git",
        "sentry" => "https://key@h/1",
        _ => "https://h/o/r",
    };
    for kind in skipping.iter().chain(&all) {
        let spec = json!({"address": address(kind), "channel": "a/b"});
        let settings = settings(kind, &spec, &token);
        for (reason, severity, is_progress) in [
            ("Progressing", "info", true),
            // FR-N-017
            ("DependencyNotReady", "info", true),
            ("HealthCheckCanceled", "info", true),
            ("DependencyNotReady", "error", false),
            ("ReconciliationSucceeded", "info", false),
        ] {
            let event = Event {
                reason: reason.to_owned(),
                ..event(severity)
            };
            let sends = !matches!(job(&settings, &event).await.unwrap(), Job::Nothing);
            assert_eq!(
                sends,
                !(is_progress && skipping.contains(kind)),
                "{kind} {reason}"
            );
        }
    }
}

#[tokio::test]
async fn events_without_metadata_are_sent_by_every_type() {
    // FR-N-011
    for kind in [
        "slack",
        "discord",
        "msteams",
        "rocket",
        "generic",
        "googlechat",
        "webex",
        "telegram",
        "lark",
        "matrix",
        "opsgenie",
        "alertmanager",
        "grafana",
        "pagerduty",
        "datadog",
        "zulip",
        "zoom",
        "incident.io",
        "mastodon",
        "sentry",
        "githubdispatch",
    ] {
        let address = if kind == "sentry" {
            "https://key@h/1"
        } else {
            "https://h/o/r"
        };
        let spec = json!({"address": address, "channel": "a/b"});
        let settings = settings(kind, &spec, &[("token", b"t")]);
        assert!(!calls(&settings, &bare("error")).await.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn unknown_types_are_refused() {
    // NC-PROV-081
    for kind in ["carrier-pigeon", "smoke"] {
        let error = refusal(kind, &json!({}), &[]).await;
        assert_eq!(error, format!("provider {kind} not supported"));
    }
}

/// Prepares and sends an event; the error's text, or nothing.
async fn post(
    kind: &str,
    address: &str,
    secret: &[(&str, &[u8])],
    event: &Event,
) -> Option<String> {
    let spec = json!({"address": address});
    let settings =
        settings(kind, &spec, secret).with_status("kustomization/web/0c9c2e41".into(), false);
    let sender = sender(&settings);
    let job = match prepare(&settings, event, &sender, deadline()).await {
        Ok(job) => job,
        Err(error) => return Some(flux_errors::chain(&error)),
    };
    job.run(&sender, deadline())
        .await
        .err()
        .map(|error| error.to_string())
}

const ID: &str = "kustomization/web/0c9c2e41";

fn ok(body: &Value) -> service::Answer {
    (200, vec![], body.to_string())
}
