//! Discovery of servers with and without all versions in one document.

use std::convert::Infallible;

use flux_cluster::Cluster;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::capabilities;

fn cluster(answer: impl Fn(&str) -> (u16, Value) + Clone + Send + Sync + 'static) -> Cluster {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (code, body) = answer(request.uri().path());
        let body = Body::from(body.to_string().into_bytes());
        let response = Response::builder().status(code).body(body).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    Cluster::new(Client::new(service, "apps"), "helm-controller")
}

fn version() -> Value {
    json!({ "major": "1", "minor": "37+", "gitVersion": "v1.37.1-eks-1" })
}

// HE-OBJ-008 HE-OBJ-009 HC-REMOTE-014
#[tokio::test]
async fn versions_and_kinds_are_discovered() {
    let kind = |kind: &str| json!({ "group": "", "version": "", "kind": kind });
    let aggregated = move |path: &str| {
        let items = match path {
            "/version" => return (200, version()),
            "/api" => {
                json!([{ "metadata": {}, "versions": [{ "version": "v1", "freshness": "Current", "resources": [
                { "resource": "pods", "responseKind": kind("Pod"), "subresources": [{ "subresource": "eviction", "responseKind": kind("Eviction") }] },
                { "resource": "odd", "responseKind": { "group": "", "version": "", "kind": "" } },
            ] }] }])
            }
            "/apis" => json!([
                { "metadata": { "name": "apps" }, "versions": [{ "version": "v1", "resources": [{ "responseKind": kind("Deployment") }] }] },
                { "metadata": { "name": "metrics.k8s.io" }, "versions": [{ "version": "v1beta1", "freshness": "Stale" }] },
            ]),
            other => panic!("{other}"),
        };
        (
            200,
            json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items }),
        )
    };
    let (found, warnings) = capabilities(&cluster(aggregated), None).await.unwrap();
    assert_eq!(found.kube_version.version, "v1.37.1-eks-1");
    assert_eq!(found.kube_version.minor, "37+");
    assert_eq!(
        found.api_versions,
        [
            "apps/v1",
            "apps/v1/Deployment",
            "metrics.k8s.io/v1beta1",
            "v1",
            "v1/Eviction",
            "v1/Pod"
        ]
    );
    // HE-OBJ-010
    assert_eq!(
        warnings,
        [
            "the kubernetes server has an orphaned API service: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1: stale GroupVersion discovery: metrics.k8s.io/v1beta1",
            "to fix this, kubectl delete apiservice <service-name>",
        ]
    );
}

// HE-OBJ-010
#[tokio::test]
async fn servers_without_aggregated_discovery_are_asked_for_each_version() {
    let plain = |path: &str| match path {
        "/version" => (200, version()),
        "/api" => (200, json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => (
            200,
            json!({ "kind": "APIGroupList", "groups": [
            { "name": "apps", "versions": [{ "groupVersion": "apps/v1", "version": "v1" }] },
            { "name": "empty", "versions": [{ "groupVersion": "empty/v1", "version": "v1" }] },
            { "name": "gone", "versions": [{ "groupVersion": "gone/v1", "version": "v1" }] },
            { "name": "none", "versions": null },
        ] }),
        ),
        "/api/v1" => (
            200,
            json!({ "kind": "APIResourceList", "resources": [{ "kind": "Pod" }, { "kind": "Pod" }] }),
        ),
        "/apis/apps/v1" => (
            200,
            json!({ "kind": "APIResourceList", "resources": [{ "kind": "Scale" }] }),
        ),
        "/apis/empty/v1" => (200, json!({ "kind": "APIResourceList", "resources": null })),
        _ => (
            503,
            json!({ "kind": "Status", "status": "Failure", "code": 503, "reason": "ServiceUnavailable", "message": "unable to handle the request" }),
        ),
    };
    let (found, warnings) = capabilities(&cluster(plain), None).await.unwrap();
    assert_eq!(
        found.api_versions,
        [
            "apps/v1",
            "apps/v1/Scale",
            "empty/v1",
            "gone/v1",
            "v1",
            "v1/Pod"
        ]
    );
    assert!(
        warnings[0].ends_with("gone/v1: unable to handle the request"),
        "{warnings:?}"
    );
    let silent = |_: &str| {
        (
            500,
            json!({ "kind": "Status", "status": "Failure", "code": 500, "reason": "", "message": "no" }),
        )
    };
    assert!(capabilities(&cluster(silent), None).await.is_err());
}
