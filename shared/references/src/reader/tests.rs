//! Tests of reading from a cache and from the API server.

use flux_api::source::Bucket;
use k8s_openapi::api::core::v1::Secret;
use kube::core::Status;
use serde_json::json;

use super::*;
use crate::fake;

fn key() -> Key {
    Key::new("ns", "vars")
}

#[tokio::test]
async fn missing_objects_are_named_as_upstreams_cache_and_the_api_server_do() {
    // KC-PROC-029, KC-SRC-002
    let empty = || fake::client(|_| None);
    let secret = |reader: Reader<Secret>| async move { reader.get(&key()).await.unwrap_err() };
    let bucket = |reader: Reader<Bucket>| async move { reader.get(&key()).await.unwrap_err() };
    let missing = [
        secret(Reader::Cached(Cache::default())).await,
        secret(Reader::Direct(empty())).await,
        bucket(Reader::Cached(Cache::default())).await,
        bucket(Reader::Direct(empty())).await,
    ];
    assert!(missing.iter().all(ReadError::is_not_found));
    assert_eq!(
        missing.map(|error| error.to_string()),
        [
            "Secret \"vars\" not found",
            "secrets \"vars\" not found",
            "Bucket.source.toolkit.fluxcd.io \"vars\" not found",
            "buckets.source.toolkit.fluxcd.io \"vars\" not found",
        ]
    );
}

#[tokio::test]
async fn a_direct_reader_asks_the_api_server_each_time() {
    // KC-PROC-038
    let client = fake::client(|path| {
        let metadata = json!({"name": "vars", "namespace": "ns"});
        let found = path == "/api/v1/namespaces/ns/secrets/vars";
        found.then(|| json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata}))
    });
    let reader = Reader::<Secret>::Direct(client);
    let found = reader.get(&key()).await.unwrap();
    assert_eq!(found.metadata.name.as_deref(), Some("vars"));
    let refused = reader.get(&Key::new("ns", "../vars")).await.unwrap_err();
    assert!(!refused.is_not_found(), "{refused}");
}

#[test]
fn only_what_does_not_exist_is_missing() {
    // KC-SUB-007
    for (code, reason, missing) in [
        (404, "NotFound", true),
        (403, "Forbidden", false),
        (401, "Unauthorized", false),
        (500, "InternalError", false),
        (503, "ServiceUnavailable", false),
    ] {
        let status = Status::failure("no", reason).with_code(code);
        let error = ReadError::Request(kube::Error::Api(status.boxed()).into());
        assert_eq!(error.is_not_found(), missing, "{reason}");
    }
}
