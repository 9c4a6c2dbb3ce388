//! `cargo bench -p kind-tests --bench bucket`: publishes a bucket of a gibibyte, in a thousand small objects and fifteen large
//! ones, then a change of one object.

mod figures;

use std::process::ExitCode;

use figures::{Span, mebibytes, print, seconds};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{BUCKET, Namespace, Result};
use object_stores::{ACCESS_KEY, SECRET_KEY, Seaweed};
use serde_json::json;

const SMALL: usize = 1000;
const LARGE: usize = 15;
const LARGE_BYTES: usize = 64 << 20;
const SMALL_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let Some(store) = Seaweed::start() else {
        return Ok(());
    };
    store.make_bucket("big").await;
    for number in 0..SMALL {
        let key = format!("small/{:02}/{number:04}", number % 20);
        store.put("big", &key, content(number, SMALL_BYTES)).await;
    }
    for number in 0..LARGE {
        let key = format!("large/{number:02}");
        store.put("big", &key, content(number, LARGE_BYTES)).await;
    }
    let namespace = Namespace::create(&cluster, "bucket").await?;
    let settings = Settings::default();
    let controller = Controller::start("source-controller", &namespace, settings).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"accesskey": ACCESS_KEY, "secretkey": SECRET_KEY}});
    namespace.apply(&secret.to_string()).await?;
    let yaml = format!(
        "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: Bucket, metadata: {{name: big}}, \
         spec: {{endpoint: '{}', bucketName: big, insecure: true, secretRef: {{name: keys}}, interval: 10m, timeout: 10m}}}}",
        store.address()
    );
    let span = Span::start(&controller, &namespace)?;
    namespace.apply(&yaml).await?;
    namespace.wait_ready(BUCKET, "big", "True").await?;
    let took = span.end(&controller)?;
    print(
        "Bucket of 1 GiB to Ready: listed, downloaded, packed",
        &seconds(took.wall),
        "",
    );
    print("  processor time", &seconds(took.cpu), "");
    let peak = mebibytes(controller.peak_bytes()?);
    print("  peak memory of source-controller", &peak, "target 40 MiB");

    store.put("big", "small/00/0000", "changed").await;
    let span = Span::start(&controller, &namespace)?;
    let at = namespace.request_reconcile(BUCKET, "big").await?;
    let handled =
        |object: &serde_json::Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
    let goal = "has handled the request";
    namespace.wait(BUCKET, "big", goal, handled).await?;
    let took = span.end(&controller)?;
    print(
        "One changed object: the rest is taken from the last artifact",
        &seconds(took.wall),
        "",
    );
    let peak = mebibytes(controller.peak_bytes()?);
    print("  peak memory of source-controller", &peak, "target 40 MiB");
    Ok(())
}

/// Bytes that are the same for each number, and not compressible.
fn content(number: usize, bytes: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(bytes / 8).flatten().collect()
}
